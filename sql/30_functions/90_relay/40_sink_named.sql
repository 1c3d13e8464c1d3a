CREATE FUNCTION usher.sink_named(sink text)
RETURNS integer
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    found_id integer;
BEGIN
    -- Changes of one sink follow each other.
    SELECT s.sink_id INTO found_id FROM usher.sinks s WHERE s.name = sink_named.sink FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'sink "%" does not exist', sink
            USING ERRCODE = 'US022', HINT = 'SELECT DISTINCT sink FROM usher.sink_status lists them.';
    END IF;
    RETURN found_id;
END
$$;
COMMENT ON FUNCTION usher.sink_named IS
'Internal: id of a sink, which is locked against other changes until the end of the transaction. Error: US022 unknown_sink.';
