CREATE FUNCTION usher.verify_sink(name text, from_position bigint DEFAULT NULL, to_position bigint DEFAULT NULL)
RETURNS TABLE (problem text, "position" bigint, topic text, detail text)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    sink  integer;
    first bigint;
    last  bigint;
BEGIN
    SELECT s.sink_id INTO sink FROM usher.sinks s WHERE s.name = verify_sink.name;
    IF sink IS NULL THEN
        RAISE EXCEPTION 'sink "%" does not exist', verify_sink.name USING ERRCODE = 'US022';
    END IF;
    SELECT min(s.position) INTO last FROM usher.sink_status_list() s
    WHERE s.sink = verify_sink.name AND s.replay_id IS NULL;
    last := least(coalesce(verify_sink.to_position, last), usher.stable_position());
    first := greatest(coalesce(verify_sink.from_position, greatest(usher.oldest_position(), last - 999999)), 1);
    IF last - first >= 20000000 THEN
        RAISE EXCEPTION 'a range of more than 20,000,000 positions cannot be verified at once'
            USING ERRCODE = 'US018', HINT = 'Verify it in parts.';
    END IF;
    IF first > last THEN
        RETURN;
    END IF;
    RETURN QUERY SELECT * FROM usher.verify_run(sink, verify_sink.name, first, last);
END
$$;
COMMENT ON FUNCTION usher.verify_sink IS
'Read the peer of a sink back and compare it with the log, from_position (default: the newest million, as far as retained) to to_position (default: what the sink has delivered), at most 20 million positions. problem: missing, duplicate, out of order (behind a later event of the same key), unexpected (the peer has a position that the log lacks or routes nowhere), trimmed (older than all that the peer keeps); at most 1,000 rows of each, and a last row, summary, with all counts. Dead letters are not missing; what was replayed on purpose is no duplicate. The routes as they are now decide what is expected. A worker of its own reads the peer. Errors: US022 unknown_sink, US018, 08006 when the peer cannot be read.';
