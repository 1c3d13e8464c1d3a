CREATE FUNCTION usher.set_lanes(sink_id integer, lanes integer, "position" bigint)
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    old_epoch  bigint;
    old_repeat bigint;
BEGIN
    SELECT max(l.epoch), max(l.repeat_upto) INTO old_epoch, old_repeat FROM usher.sink_lanes l WHERE l.sink_id = set_lanes.sink_id;
    DELETE FROM usher.sink_lanes l WHERE l.sink_id = set_lanes.sink_id;
    INSERT INTO usher.sink_lanes (sink_id, lane, epoch, repeat_upto)
    SELECT set_lanes.sink_id, n, coalesce(old_epoch + 1, 1), coalesce(old_repeat, 0) FROM generate_series(0, lanes - 1) n;
    PERFORM usher.set_cursor(set_lanes.sink_id, n, set_lanes."position") FROM generate_series(0, lanes - 1) n;
END
$$;
COMMENT ON FUNCTION usher.set_lanes IS
'Internal: give a sink so many lanes, all of them at a position.';
