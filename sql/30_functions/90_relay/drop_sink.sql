CREATE FUNCTION usher.drop_sink(name text)
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    dropped CONSTANT integer := usher.sink_named(drop_sink.name);
BEGIN
    DELETE FROM usher.sinks s WHERE s.sink_id = dropped;
END
$$;
COMMENT ON FUNCTION usher.drop_sink IS
'Remove a sink with its cursor, routes, secrets, replays and dead letters. What the broker has stays there. Error: US022 unknown_sink.';
