CREATE VIEW usher.sink_status WITH (security_invoker = true) AS
    SELECT * FROM usher.sink_status_list();
COMMENT ON VIEW usher.sink_status IS
'One row for each lane of a sink and for each replay that runs. state: starting, running, waiting (the peer is away; next_try_at), paused, blocked (last_error says why; usher.resume_sink), no worker slot. breaker: closed, open, half-open. position: everything up to here is acknowledged. lag_events, lag_seconds: behind the stable position. rate: acknowledged messages a second. in_flight: sent and not acknowledged. delivered, duplicates (the peer had them), retried, dead (dead letters), unmatched (no route): since the server started.';
