CREATE VIEW usher.subscription_status WITH (security_invoker = true) AS
    SELECT s.name AS subscription, s.paused, p.partition, p.position, g.events AS lag_events, g.seconds AS lag_seconds,
           p.lease, p.delivered_up_to, coalesce(k.parked, 0) AS parked_keys, coalesce(k.held, 0) AS held_keys,
           coalesce(k.parked, 0) >= s.max_parked_keys AS blocked
    FROM usher.subscriptions s
    CROSS JOIN LATERAL usher.subscription_partitions(s.subscription_id) p
    CROSS JOIN LATERAL usher.sink_lag(p.position) g
    LEFT JOIN LATERAL (
        SELECT count(*) AS parked, count(*) FILTER (WHERE k.held) AS held FROM usher.parked_keys k
        WHERE k.subscription_id = s.subscription_id AND k.partition = p.partition) k ON true
    WHERE s.tenant_id = (SELECT usher.current_tenant());
COMMENT ON VIEW usher.subscription_status IS
'One row for each partition of the tenant''s subscriptions: everything at or below position is acknowledged but for parked keys; lag behind the stable position in positions of the whole log and in seconds; the lease under which events up to delivered_up_to are out; keys that are parked, those of them that wait for a decision about a dead letter, and whether there are too many.';
