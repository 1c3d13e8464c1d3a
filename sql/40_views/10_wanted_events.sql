-- `first` and `last` are there so that the planner can leave out what lies before the slowest or behind the fastest partition.
CREATE VIEW usher.wanted_events WITH (security_invoker = true) AS
    SELECT s.subscription_id, s.name AS subscription, p.partition, e.position, e.stream, e.version, e.id, e.type, e.topic,
           coalesce(e.key, e.stream) AS key, e.recorded_at,
           CASE WHEN e.stream IS NOT NULL THEN 's:' || e.stream ELSE 'k:' || coalesce(e.topic, '') || E'\x1f' || coalesce(e.key, '') END AS parked_key,
           c.cursors[p.partition + 1] AS cursor, c.delivered[p.partition + 1] AS delivered, c.leases[p.partition + 1] AS lease,
           c.first, c.last
    FROM usher.subscriptions s
    CROSS JOIN LATERAL (
        SELECT array_agg(p.position ORDER BY p.partition) AS cursors,
               array_agg(greatest(p.delivered_up_to, p.position) ORDER BY p.partition) AS delivered,
               array_agg(p.lease ORDER BY p.partition) AS leases,
               min(p.position) AS first, max(greatest(p.delivered_up_to, p.position)) AS last
        FROM usher.subscription_partitions(s.subscription_id) p) c
    CROSS JOIN usher.log e
    CROSS JOIN LATERAL (SELECT (e.slot::bigint * s.partitions / 65536)::integer AS partition) p
    WHERE s.tenant_id = (SELECT usher.current_tenant()) AND e.tenant_id = s.tenant_id AND usher.matches(s.pattern, e.type)
      AND (s.category IS NULL OR e.category = s.category) AND (s.stream IS NULL OR usher.matches(s.stream, e.stream));
COMMENT ON VIEW usher.wanted_events IS
'Internal, for usher.deliveries: the events that each subscription of the tenant wants, with where their partition is.';
