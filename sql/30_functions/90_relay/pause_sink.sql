CREATE FUNCTION usher.pause_sink(name text)
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    paused_id CONSTANT integer := usher.sink_named(pause_sink.name);
BEGIN
    UPDATE usher.sinks s SET paused = true WHERE s.sink_id = paused_id;
END
$$;
COMMENT ON FUNCTION usher.pause_sink IS
'Stop a sink and its replays when this transaction commits. Its cursor stays, and holds retention. Error: US022 unknown_sink.';
