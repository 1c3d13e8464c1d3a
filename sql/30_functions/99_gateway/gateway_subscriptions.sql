CREATE FUNCTION usher.gateway_subscriptions(tenant_name text, after text DEFAULT NULL, max integer DEFAULT 100)
RETURNS TABLE (name text, item jsonb)
LANGUAGE sql VOLATILE ROWS 100
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT s.name,
           jsonb_build_object('name', s.name, 'pattern', s.pattern, 'category', s.category, 'stream', s.stream, 'paused', s.paused,
                              'partitions', s.partitions, 'max_attempts', s.max_attempts, 'lease_ms', s.lease_ms, 'created_at', s.created_at,
                              'position', p.position, 'lag_events', g.events, 'lag_seconds', g.seconds, 'leased_partitions', p.leased,
                              'parked_keys', k.parked, 'held_keys', k.held, 'dead_letters', d.n)
    FROM (SELECT * FROM usher.subscriptions s
          WHERE s.tenant_id = usher.gateway_tenant(tenant_name) AND (after IS NULL OR s.name > after COLLATE "C")
          ORDER BY s.name LIMIT usher.gateway_page(max)) s
    CROSS JOIN LATERAL (SELECT min(l.position) AS position, count(l.lease) AS leased
                        FROM usher.any_subscription_partitions(s.subscription_id) l) p
    CROSS JOIN LATERAL usher.sink_lag(p.position) g
    CROSS JOIN LATERAL (SELECT count(*) AS parked, count(*) FILTER (WHERE k.held) AS held
                        FROM usher.parked_keys k WHERE k.subscription_id = s.subscription_id) k
    CROSS JOIN LATERAL (SELECT count(*) AS n FROM usher.dead_letters d WHERE d.subscription_id = s.subscription_id) d
    ORDER BY s.name
$$;
COMMENT ON FUNCTION usher.gateway_subscriptions IS
'A page of a tenant''s subscriptions, by name behind after, at most max (1 to 10,000). In item: how it was made; position: everything up to here is acknowledged in all partitions but for parked keys, lag behind the stable position, and how many partitions, keys and dead letters are where. Errors: US010 unknown_tenant, US018. For usher_gateway.';
