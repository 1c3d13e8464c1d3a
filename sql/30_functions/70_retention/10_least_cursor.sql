CREATE FUNCTION usher.least_cursor()
RETURNS bigint
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT min(c.position)
    FROM (SELECT h.position FROM usher.holds h
          UNION ALL
          SELECT usher.cursor_position(l.sink_id, l.lane) FROM usher.sink_lanes l
          UNION ALL
          SELECT a.position FROM usher.subscription_cursors a JOIN usher.subscriptions s USING (subscription_id)
          UNION ALL
          SELECT p.position - 1 FROM usher.parked_keys p) c
$$;
COMMENT ON FUNCTION usher.least_cursor IS
'Internal: the position that retention must not pass, of cursors of usher.hold, of sinks and of subscriptions with their parked keys, also paused ones; null when there is none.';
