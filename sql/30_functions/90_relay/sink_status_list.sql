CREATE FUNCTION usher.sink_status_list()
RETURNS TABLE (sink text, kind text, lane integer, replay_id bigint, state text, breaker text, "position" bigint,
               lag_events bigint, lag_seconds double precision, rate double precision, in_flight integer,
               delivered bigint, duplicates bigint, retried bigint, dead bigint, unmatched bigint,
               next_try_at timestamptz, last_error_at timestamptz, last_error text, pid integer)
LANGUAGE plpgsql VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    one record;
BEGIN
    FOR one IN
        SELECT s.name, s.kind, s.paused, s.sink_id, l.lane, NULL::bigint AS replay_id,
               pg_catalog.format('usher.sink_%s_%s', s.sink_id, l.lane)::regclass AS cursor, NULL::bigint AS replayed
        FROM usher.sinks s JOIN usher.sink_lanes l USING (sink_id)
        UNION ALL
        SELECT s.name, s.kind, s.paused, s.sink_id, 0, r.replay_id, NULL, r.position
        FROM usher.sinks s JOIN usher.replays r USING (sink_id)
        WHERE r.state = 'running'
        ORDER BY 1, 6 NULLS FIRST, 5
    LOOP
        RETURN QUERY
            SELECT one.name, one.kind, one.lane, one.replay_id,
                   CASE WHEN one.paused THEN 'paused' ELSE coalesce(r.state, 'starting') END,
                   coalesce(r.breaker, 'closed'), p.at,
                   CASE WHEN one.replay_id IS NULL THEN g.events END, CASE WHEN one.replay_id IS NULL THEN g.seconds END,
                   coalesce(r.rate, 0), coalesce(r.in_flight, 0), coalesce(r.delivered, 0), coalesce(r.duplicates, 0),
                   coalesce(r.retried, 0), coalesce(r.dead, 0), coalesce(r.unmatched, 0),
                   r.next_try_at, r.last_error_at, r.last_error, r.pid
            FROM (SELECT 1) dummy
            LEFT JOIN usher.relay_list() r
                ON r.sink_id = one.sink_id AND r.lane = one.lane AND r.replay_id IS NOT DISTINCT FROM one.replay_id
            CROSS JOIN LATERAL (
                SELECT greatest(r.position, coalesce(one.replayed, pg_catalog.pg_sequence_last_value(one.cursor), 0)) AS at) p
            CROSS JOIN LATERAL usher.sink_lag(p.at) g;
    END LOOP;
END
$$;
COMMENT ON FUNCTION usher.sink_status_list IS 'Internal, for the view usher.sink_status.';
