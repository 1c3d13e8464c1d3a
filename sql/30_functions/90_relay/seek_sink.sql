CREATE FUNCTION usher.seek_sink(name text, "position" bigint)
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    moved CONSTANT integer := usher.sink_named(seek_sink.name);
    at    CONSTANT bigint := usher.sink_start(seek_sink."position");
BEGIN
    UPDATE usher.sink_lanes l
    -- The cursor is written behind what is acknowledged; a running worker tells how far that is.
    SET epoch = l.epoch + 1,
        repeat_upto = greatest(l.repeat_upto, usher.cursor_position(l.sink_id, l.lane),
                               (SELECT r."position" FROM usher.relay_list() r
                                WHERE r.sink_id = l.sink_id AND r.lane = l.lane AND r.replay_id IS NULL))
    WHERE l.sink_id = moved;
    PERFORM usher.set_cursor(l.sink_id, l.lane, at) FROM usher.sink_lanes l WHERE l.sink_id = moved;
END
$$;
COMMENT ON FUNCTION usher.seek_sink IS
'Let a sink go on behind a position (0: with the oldest that is retained), when this transaction commits. Backwards: what it had delivered is delivered again, marked as a replay. Forwards: what lies between is never delivered. Errors: US022 unknown_sink, US004 position_gone, US018 for a position that is null, negative or ahead of the stable position.';
