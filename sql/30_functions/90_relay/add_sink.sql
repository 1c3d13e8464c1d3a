CREATE FUNCTION usher.add_sink(name text, kind text, config jsonb DEFAULT '{}', from_position bigint DEFAULT NULL)
RETURNS integer
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    new_id  integer;
    at      bigint;
BEGIN
    at := CASE WHEN from_position IS NULL THEN usher.stable_position() ELSE usher.sink_start(from_position) END;
    INSERT INTO usher.sinks AS s (name, kind, config) VALUES (add_sink.name, add_sink.kind, add_sink.config)
    ON CONFLICT ON CONSTRAINT sinks_name_key DO NOTHING
    RETURNING s.sink_id INTO new_id;
    IF new_id IS NULL THEN
        RAISE EXCEPTION 'sink "%" exists already', add_sink.name
            USING ERRCODE = 'US018', HINT = 'Change it with usher.alter_sink.';
    END IF;
    PERFORM usher.set_lanes(new_id, coalesce((config ->> 'parallel')::integer, 1), at);
    RETURN new_id;
END
$$;
COMMENT ON FUNCTION usher.add_sink IS
'Relay every committed event to a broker. name: 1 to 63 of a-z 0-9 _ -; kind: kafka, redis, nats or memory; config: its options (docs/relay.md); from_position: begin behind it (null: with what is committed from now on, 0: with the oldest that is retained). Until a route is added everything goes to {topic} with {key}: events of streams to their category, by stream. Returns its id. It starts when this transaction commits. Errors: US018 for a name, kind or option that cannot be, US004 position_gone, 42501 for an option that names a file of the server, unless by a superuser or member of pg_read_server_files.';
