CREATE FUNCTION usher.subscription_metrics()
RETURNS TABLE (name text, type text, help text, labels jsonb, value double precision)
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
    WITH subscriptions AS MATERIALIZED (
        SELECT s.name, s.paused, p.queue, p.leased, p.leases, l.events, l.seconds, k.parked, k.held, k.blocked, d.dead,
               jsonb_build_object('tenant', t.slug, 'subscription', s.name) AS labels
        FROM usher.subscriptions s
        LEFT JOIN usher.tenants t USING (tenant_id)
        CROSS JOIN LATERAL (
            SELECT min(p.position) AS slowest, sum(greatest(usher.stable_position() - p.position, 0)) / count(*) AS queue,
                   count(p.lease) AS leased, count(DISTINCT p.lease) AS leases
            FROM usher.any_subscription_partitions(s.subscription_id) p) p
        CROSS JOIN LATERAL usher.sink_lag(p.slowest) l
        CROSS JOIN LATERAL (
            SELECT coalesce(sum(k.n), 0) AS parked, coalesce(sum(k.held), 0) AS held, count(*) FILTER (WHERE k.n >= s.max_parked_keys) AS blocked
            FROM (SELECT count(*) AS n, count(*) FILTER (WHERE k.held) AS held FROM usher.parked_keys k
                  WHERE k.subscription_id = s.subscription_id GROUP BY k.partition) k) k
        CROSS JOIN LATERAL (SELECT count(*) AS dead FROM usher.dead_letters d WHERE d.subscription_id = s.subscription_id) d
    )
    SELECT m.name, 'gauge', m.help, s.labels, m.value::double precision
    FROM subscriptions s, LATERAL (VALUES
        ('usher_subscription_lag_events', 'Positions between the slowest partition and the stable position.', s.events::numeric),
        ('usher_subscription_lag_seconds', 'Age of the oldest event behind the slowest partition.', s.seconds::numeric),
        ('usher_subscription_leased_partitions', 'Partitions of which events are out.', s.leased),
        ('usher_subscription_parked_keys', 'Keys of which an event failed and that have not caught up.', s.parked),
        ('usher_subscription_held_keys', 'Keys that wait for a decision about a dead letter.', s.held),
        ('usher_subscription_blocked_partitions', 'Partitions with too many parked keys, that deliver only those.', s.blocked),
        ('usher_subscription_dead_letters', 'Dead letters of the subscription.', s.dead),
        ('usher_subscription_paused', 'Whether the subscription is paused.', s.paused::int),
        ('eventbroker_queue_size', 'Positions that wait for the subscription, averaged over its partitions; a pattern may want only some of them.', s.queue),
        ('eventbroker_workers_active', 'Leases that are out: pollers that have events.', s.leases)
    ) AS m (name, help, value)
$$;
COMMENT ON FUNCTION usher.subscription_metrics IS 'Internal, for usher.metrics: of the subscriptions of all tenants.';
