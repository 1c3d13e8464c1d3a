CREATE FUNCTION usher.resume_sink(name text)
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    resumed CONSTANT integer := usher.sink_named(resume_sink.name);
BEGIN
    UPDATE usher.sinks s SET paused = false WHERE s.sink_id = resumed;
END
$$;
COMMENT ON FUNCTION usher.resume_sink IS
'Let a paused sink go on where it was, and a blocked one try again, when this transaction commits. Error: US022 unknown_sink.';
