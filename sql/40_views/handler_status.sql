CREATE VIEW usher.handler_status WITH (security_invoker = true) AS
    SELECT s.name, s.pattern, h.handler, 'async' AS mode, h.owner, s.paused OR h.restored AS paused, h.timeout_ms,
           (SELECT count(*) FROM usher.handler_workers_list() w WHERE w.subscription_id = s.subscription_id) AS running,
           g.events AS lag_events, g.seconds AS lag_seconds,
           (SELECT count(*) FROM usher.parked_keys k WHERE k.subscription_id = s.subscription_id) AS parked_keys,
           (SELECT count(*) FROM usher.dead_letters d WHERE d.subscription_id = s.subscription_id) AS dead_letters
    FROM usher.handlers h
    JOIN usher.subscriptions s USING (subscription_id)
    CROSS JOIN LATERAL (SELECT min(p.position) AS position FROM usher.subscription_partitions(s.subscription_id) p) c
    CROSS JOIN LATERAL usher.sink_lag(c.position) g
    WHERE s.tenant_id = (SELECT usher.current_tenant())
    UNION ALL
    SELECT p.name, p.pattern, p.handler, 'sync', p.owner, p.state <> 'live', NULL, 0, 0, 0, 0, 0
    FROM usher.projections p
    WHERE p.tenant_id = (SELECT usher.current_tenant());
COMMENT ON VIEW usher.handler_status IS
'The handlers of the session''s tenant: mode async (usher.handle) or sync (usher.project); running: workers that run it at this moment; lag behind the stable position of its slowest partition, in positions of the whole log and in seconds; keys that are parked, and its dead letters.';
