CREATE FUNCTION usher.sink_metrics()
RETURNS TABLE (name text, type text, help text, labels jsonb, value double precision)
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
    WITH sinks AS MATERIALIZED (
        SELECT s.*, jsonb_build_object('sink', s.sink, 'kind', s.kind, 'lane', s.lane::text) AS labels
        FROM usher.sink_status_list() s WHERE s.replay_id IS NULL
    )
    SELECT m.name, m.type, m.help, s.labels, m.value::double precision
    FROM sinks s, LATERAL (VALUES
        ('usher_sink_running', 'gauge', 'Whether the lane is running: connected to its peer, and neither paused nor blocked.', (s.state = 'running')::int::numeric),
        ('usher_sink_blocked', 'gauge', 'Whether the lane has stopped until somebody mends the cause.', (s.state = 'blocked')::int),
        ('usher_sink_position', 'gauge', 'Everything up to here is acknowledged.', s.position),
        ('usher_sink_lag_events', 'gauge', 'Positions behind the stable position.', s.lag_events),
        ('usher_sink_lag_seconds', 'gauge', 'Age of the oldest event behind the cursor.', s.lag_seconds::numeric),
        ('usher_sink_in_flight', 'gauge', 'Messages sent and not acknowledged.', s.in_flight),
        ('usher_sink_delivered_total', 'counter', 'Messages that the peer acknowledged.', s.delivered),
        ('usher_sink_duplicates_total', 'counter', 'Messages that the peer had already.', s.duplicates),
        ('usher_sink_retried_total', 'counter', 'Messages sent again.', s.retried),
        ('usher_sink_dead_total', 'counter', 'Messages that became dead letters.', s.dead),
        ('usher_sink_unmatched_total', 'counter', 'Events that no route wanted.', s.unmatched)
    ) AS m (name, type, help, value)
    WHERE m.value IS NOT NULL
    UNION ALL
    SELECT 'usher_sink_dead_letters', 'gauge', 'Dead letters of the sink.', jsonb_build_object('sink', s.name, 'kind', s.kind),
           (SELECT count(*) FROM usher.dead_letters d WHERE d.sink_id = s.sink_id)
    FROM usher.sinks s
$$;
COMMENT ON FUNCTION usher.sink_metrics IS 'Internal, for usher.metrics: of sinks.';
