CREATE VIEW usher.streams WITH (security_invoker = true) AS
    SELECT usher.tenant_name(r.tenant_id) AS tenant, r.stream, r.category,
           usher.stream_head_of(r.tenant_id, r.stream) AS version,
           coalesce(l.deleted AND l.hidden_before = usher.stream_head_of(r.tenant_id, r.stream), false) AS deleted,
           l.max_age, l.max_count, l.truncate_before, r.created_at
    FROM usher.stream_registry r
    LEFT JOIN usher.stream_limits l USING (tenant_id, stream);
COMMENT ON VIEW usher.streams IS 'Every stream with the version of its newest event; deleted: it ends in a tombstone.';
