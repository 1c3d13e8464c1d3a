CREATE FUNCTION usher.replay(sink text, from_position bigint, to_position bigint, pattern text DEFAULT '**')
RETURNS bigint
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    target CONSTANT integer := usher.sink_named(replay.sink);
    -- the last position that is not sent
    behind CONSTANT bigint := CASE WHEN from_position = 0 THEN usher.sink_start(0) ELSE usher.check_cursor(from_position - 1) END;
    new_id bigint;
BEGIN
    IF to_position IS NULL OR to_position <= behind THEN
        RAISE EXCEPTION 'a replay from % to % has no positions', from_position, to_position USING ERRCODE = 'US018';
    ELSIF to_position > usher.stable_position() THEN
        RAISE EXCEPTION 'position % is ahead of the log, which is at %', to_position, usher.stable_position() USING ERRCODE = 'US018';
    END IF;
    PERFORM usher.check_route(coalesce(replay.pattern, ''), '{topic}', '{key}', NULL);
    INSERT INTO usher.replays AS r (sink_id, kind, from_position, to_position, pattern, position)
    VALUES (target, 'range', behind + 1, replay.to_position, replay.pattern, behind)
    RETURNING r.replay_id INTO new_id;
    RETURN new_id;
END
$$;
COMMENT ON FUNCTION usher.replay IS
'Send the events from one position to another (both included; from_position 0: from the oldest that is retained) once more, those whose type matches the pattern, beside the live flow, by the routes of now; every message says by its attribute replay that it is a repetition. Returns the number of the replay; usher.replay_status tells of its progress. Errors: US022 unknown_sink, US004 position_gone, US018 for a range that is empty or ahead of the stable position, US006 invalid_name for the pattern.';
