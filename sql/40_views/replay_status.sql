CREATE VIEW usher.replay_status WITH (security_invoker = true) AS
    SELECT l.*, NULL::text AS subscription FROM usher.replay_status_list() l
    UNION ALL
    SELECT r.replay_id, NULL, r.kind, r.from_position, r.to_position, r.pattern, r.state, r.position, r.replayed, r.failed, r.skipped,
           r.error, r.created_at, r.ended_at, s.name
    FROM usher.replays r JOIN usher.subscriptions s USING (subscription_id)
    WHERE s.tenant_id = (SELECT usher.current_tenant());
COMMENT ON VIEW usher.replay_status IS
'Every replay of the sinks, and of the tenant''s subscriptions: kind range (from_position to to_position, pattern) or dead_letters; state running, done, failed (error says why) or cancelled; how far it is (position), and how many events were replayed, failed again, or were skipped (removed by retention, or not matched by a route any more).';
