CREATE FUNCTION usher.event_metrics()
RETURNS TABLE (name text, type text, help text, labels jsonb, value double precision)
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
    WITH series AS MATERIALIZED (
        SELECT jsonb_build_object('source', s.source, 'type', s.type) AS labels, sum(s.published) AS published,
               sum(s.completed) AS completed, sum(s.retried) AS retried, sum(s.failed) AS failed, sum(s.seconds) AS seconds
        FROM usher.series_list() s GROUP BY s.source, s.type
    ), buckets AS MATERIALIZED (
        SELECT jsonb_build_object('source', s.source, 'type', s.type) AS labels, b.n, sum(b.events) AS events
        FROM usher.series_list() s, unnest(s.durations) WITH ORDINALITY AS b (events, n) GROUP BY s.source, s.type, b.n
    ), histogram AS MATERIALIZED (
        SELECT b.labels, b.n, sum(b.events) OVER (PARTITION BY b.labels ORDER BY b.n) AS upto,
               sum(b.events) OVER (PARTITION BY b.labels) AS total
        FROM buckets b
    )
    SELECT 'eventbroker_events_published_total', 'counter', 'Events that were committed.', s.labels, s.published::double precision
    FROM series s WHERE s.published > 0
    UNION ALL
    SELECT 'eventbroker_events_processed_total', 'counter', 'Events by what became of their deliveries: completed, retried (failed, and tried again), failed (dead letters).',
           s.labels || jsonb_build_object('status', p.status), p.n
    FROM series s, LATERAL (VALUES ('completed', s.completed), ('retried', s.retried), ('failed', s.failed)) p (status, n)
    WHERE s.completed + s.retried + s.failed > 0
    UNION ALL
    SELECT 'eventbroker_event_processing_duration_seconds_bucket', 'histogram', 'Time from delivery to acknowledgement; of a batch each event has an equal share.',
           h.labels || jsonb_build_object('le', coalesce((usher.duration_bounds())[h.n]::text, '+Inf')), h.upto
    FROM histogram h WHERE h.total > 0
    UNION ALL
    SELECT 'eventbroker_event_processing_duration_seconds_sum', 'histogram', 'Time from delivery to acknowledgement; of a batch each event has an equal share.', s.labels, s.seconds
    FROM series s JOIN histogram h ON h.labels = s.labels AND h.n = 1 AND h.total > 0
    UNION ALL
    SELECT 'eventbroker_event_processing_duration_seconds_count', 'histogram', 'Time from delivery to acknowledgement; of a batch each event has an equal share.', h.labels, h.total
    FROM histogram h WHERE h.n = 1 AND h.total > 0
$$;
COMMENT ON FUNCTION usher.event_metrics IS 'Internal, for usher.metrics: what an event broker counts, by source and type.';
