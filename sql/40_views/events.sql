CREATE VIEW usher.events WITH (security_invoker = true) AS
    SELECT l.position, usher.tenant_name(l.tenant_id) AS tenant, l.stream, l.category, l.version, l.id, l.type,
           l.topic, coalesce(l.key, l.stream) AS key, l.slot, l.data, l.metadata, l.recorded_at
    FROM usher.log l
    UNION ALL
    SELECT p.position, p.tenant, p.stream, usher.category(p.stream), p.version, p.id, p.type,
           p.topic, p.key, p.slot, p.data, p.metadata, p.recorded_at
    FROM usher.pending_events() p;
COMMENT ON VIEW usher.events IS
'The log as this role may see it, and the pending events of this transaction (position null). For looking around: a cursor over it is not gap-safe, follow the log with usher.read.';
