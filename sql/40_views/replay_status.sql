CREATE VIEW usher.replay_status WITH (security_invoker = true) AS
    SELECT * FROM usher.replay_status_list();
COMMENT ON VIEW usher.replay_status IS
'Every replay: kind range (from_position to to_position, pattern) or dead_letters; state running, done, failed (error says why) or cancelled; how far it is (position), and how many events were replayed, failed again, or were skipped (removed by retention, or not matched by a route any more).';
