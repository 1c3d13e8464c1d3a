CREATE FUNCTION usher.log_metrics()
RETURNS TABLE (name text, type text, help text, labels jsonb, value double precision)
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
    WITH counts AS MATERIALIZED (
        SELECT jsonb_object_agg(c.name, c.value) AS c FROM usher.count_list() c
    ), counter AS MATERIALIZED (
        SELECT c.next, c.committing, usher.stable_position() AS stable FROM usher.counter() c
    ), partitions AS MATERIALIZED (
        SELECT count(*) AS n, coalesce(sum(pg_total_relation_size(p.partition)), 0) AS bytes, max(p.to_position) AS upto
        FROM usher.partition_list() p
    )
    SELECT m.name, m.type, m.help, coalesce(m.labels, '{}'), m.value::double precision
    FROM counts, counter, partitions, LATERAL (VALUES
        ('usher_metrics_start_time_seconds', 'gauge', 'Unix time since which counters count.', NULL::jsonb, extract(epoch FROM usher.metrics_since())),
        ('usher_metrics_uncounted_total', 'counter', 'Events of the whole cluster for which usher.metric_series had no place.', NULL, (c ->> 'uncounted')::numeric),
        ('usher_events_appended_total', 'counter', 'Events that were committed.', NULL, (c ->> 'events')::numeric),
        ('usher_transactions_total', 'counter', 'Transactions that committed with events.', NULL, (c ->> 'transactions')::numeric),
        ('usher_stable_position', 'gauge', 'Newest position at or below which everything is decided.', NULL, counter.stable),
        ('usher_next_position', 'gauge', 'Next position to be given.', NULL, counter.next),
        ('usher_commits_in_progress', 'gauge', 'Transactions in the middle of their commit that have taken positions.', NULL, counter.committing),
        ('usher_waiters', 'gauge', 'Sessions that wait for events.', NULL, (c ->> 'waiters')::numeric),
        ('usher_partitions', 'gauge', 'Partitions of the log.', NULL, partitions.n),
        ('usher_log_bytes', 'gauge', 'Size of the log with its indexes.', NULL, partitions.bytes),
        ('usher_positions_ready', 'gauge', 'Positions left in the partitions that exist.', NULL, partitions.upto - 1 - counter.stable),
        ('usher_projections_stopped', 'gauge', 'Projections that are not live.', NULL, (SELECT count(*) FROM usher.projections p WHERE p.state <> 'live')),
        ('usher_housekeeping_running', 'gauge', 'Whether the housekeeping worker of this database runs.', NULL, (c ->> 'housekeeping')::numeric),
        ('usher_removals_pending', 'gauge', 'Requests to remove partitions that are not done.', NULL, (SELECT count(*) FROM usher.removal_requests)),
        ('usher_idempotency_requests_total', 'counter', 'Answers of usher.once.', '{"answer": "fresh"}', (c ->> 'once_fresh')::numeric),
        ('usher_idempotency_requests_total', 'counter', 'Answers of usher.once.', '{"answer": "repeated"}', (c ->> 'once_repeated')::numeric),
        ('usher_idempotency_requests_total', 'counter', 'Answers of usher.once.', '{"answer": "in_progress"}', (c ->> 'once_in_progress')::numeric),
        ('usher_idempotency_requests_total', 'counter', 'Answers of usher.once.', '{"answer": "conflict"}', (c ->> 'once_conflict')::numeric),
        ('usher_idempotency_bytes', 'gauge', 'Size of the tables of idempotency keys.', NULL,
            (SELECT sum(pg_total_relation_size(t.relid)) FROM pg_partition_tree('usher.idempotency_keys') t))
    ) AS m (name, type, help, labels, value)
    WHERE m.value IS NOT NULL
$$;
COMMENT ON FUNCTION usher.log_metrics IS 'Internal, for usher.metrics: of the log, housekeeping, idempotency keys.';
