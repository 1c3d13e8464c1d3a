-- A branch for each status, with a constant in it, so that asking for one reads only what can have it: pending and
-- processing the log behind the slowest partition, failed the dead letters, completed the log up to the fastest one.
CREATE VIEW usher.deliveries WITH (security_invoker = true) AS
    SELECT w.subscription, w.partition, w.position, w.stream, w.version, w.id, w.type, w.topic, w.key,
           'completed' AS status, 0 AS retry_count, NULL::text AS error, NULL::timestamptz AS next_attempt_at,
           NULL::bigint AS lease, w.recorded_at
    FROM usher.wanted_events w
    WHERE w.position <= w.last AND w.position <= w.cursor
      AND NOT EXISTS (SELECT FROM usher.parked_keys k
                      WHERE k.subscription_id = w.subscription_id AND k.key = w.parked_key AND k.position <= w.position)
      AND NOT EXISTS (SELECT FROM usher.dead_letters d WHERE d.subscription_id = w.subscription_id AND d.position = w.position)
    UNION ALL
    SELECT w.subscription, w.partition, w.position, w.stream, w.version, w.id, w.type, w.topic, w.key,
           'processing', 0, NULL, NULL, w.lease, w.recorded_at
    FROM usher.wanted_events w
    WHERE w.position > w.first AND w.position <= w.last AND w.position > w.cursor AND w.position <= w.delivered
      AND NOT EXISTS (SELECT FROM usher.parked_keys k
                      WHERE k.subscription_id = w.subscription_id AND k.key = w.parked_key AND k.position <= w.position)
      AND NOT EXISTS (SELECT FROM usher.dead_letters d WHERE d.subscription_id = w.subscription_id AND d.position = w.position)
    UNION ALL
    SELECT w.subscription, w.partition, w.position, w.stream, w.version, w.id, w.type, w.topic, w.key,
           'pending', 0, NULL, NULL, NULL, w.recorded_at
    FROM usher.wanted_events w
    WHERE w.position > w.first AND w.position > w.delivered
      AND NOT EXISTS (SELECT FROM usher.parked_keys k
                      WHERE k.subscription_id = w.subscription_id AND k.key = w.parked_key AND k.position <= w.position)
      AND NOT EXISTS (SELECT FROM usher.dead_letters d WHERE d.subscription_id = w.subscription_id AND d.position = w.position)
    UNION ALL
    -- keys that are parked: the event that failed, and those that wait behind it; of streams, then of published events
    SELECT w.subscription, w.partition, w.position, w.stream, w.version, w.id, w.type, w.topic, w.key,
           CASE WHEN k.lease = w.lease AND w.position <= CASE WHEN k.lease_done THEN greatest(k.lease_upto, w.delivered) ELSE k.lease_upto END THEN 'processing' ELSE 'pending' END,
           CASE WHEN w.position = k.failed THEN k.attempts ELSE 0 END, CASE WHEN w.position = k.failed THEN k.error END,
           CASE WHEN NOT k.held THEN k.next_at END,
           CASE WHEN k.lease = w.lease AND w.position <= CASE WHEN k.lease_done THEN greatest(k.lease_upto, w.delivered) ELSE k.lease_upto END THEN w.lease END, w.recorded_at
    FROM usher.parked_keys k
    JOIN usher.wanted_events w ON w.subscription_id = k.subscription_id AND w.stream = substr(k.key, 3) AND w.position >= k.position
    WHERE k.key LIKE 's:%'
      AND NOT EXISTS (SELECT FROM usher.dead_letters d WHERE d.subscription_id = w.subscription_id AND d.position = w.position)
    UNION ALL
    SELECT w.subscription, w.partition, w.position, w.stream, w.version, w.id, w.type, w.topic, w.key,
           CASE WHEN k.lease = w.lease AND w.position <= CASE WHEN k.lease_done THEN greatest(k.lease_upto, w.delivered) ELSE k.lease_upto END THEN 'processing' ELSE 'pending' END,
           CASE WHEN w.position = k.failed THEN k.attempts ELSE 0 END, CASE WHEN w.position = k.failed THEN k.error END,
           CASE WHEN NOT k.held THEN k.next_at END,
           CASE WHEN k.lease = w.lease AND w.position <= CASE WHEN k.lease_done THEN greatest(k.lease_upto, w.delivered) ELSE k.lease_upto END THEN w.lease END, w.recorded_at
    FROM usher.parked_keys k
    JOIN usher.wanted_events w ON w.subscription_id = k.subscription_id AND w.parked_key = k.key AND w.position >= k.position
    WHERE k.key LIKE 'k:%'
      AND NOT EXISTS (SELECT FROM usher.dead_letters d WHERE d.subscription_id = w.subscription_id AND d.position = w.position)
    UNION ALL
    -- dead letters, and those of them that are tried again: apart, or with the key that was held for them
    SELECT s.name, coalesce(k.partition, (e.slot::bigint * s.partitions / 65536)::integer), d.position, e.stream, e.version,
           e.id, d.type, e.topic, coalesce(e.key, e.stream),
           CASE WHEN k.key IS NULL THEN 'failed'
                WHEN k.lease IS NOT NULL AND usher.lease_held(s.subscription_id, k.lease, k.partition) THEN 'processing'
                ELSE 'pending' END,
           d.attempts, d.error, k.next_at,
           CASE WHEN usher.lease_held(s.subscription_id, k.lease, k.partition) THEN k.lease END, e.recorded_at
    FROM usher.dead_letters d
    JOIN usher.subscriptions s ON s.subscription_id = d.subscription_id AND s.tenant_id = (SELECT usher.current_tenant())
    LEFT JOIN usher.log e ON e.position = d.position
    LEFT JOIN LATERAL (
        SELECT k.key, k.partition, k.lease, k.next_at FROM usher.parked_keys k
        WHERE k.subscription_id = d.subscription_id AND k.failed = d.position AND NOT k.held
          AND (k.key = 'd:' || d.position OR k.key = CASE WHEN e.stream IS NOT NULL THEN 's:' || e.stream ELSE 'k:' || coalesce(e.topic, '') || E'\x1f' || coalesce(e.key, '') END)
        LIMIT 1) k ON true;
COMMENT ON VIEW usher.deliveries IS
'One row for each event that a subscription of the tenant wants: pending, processing (delivered under lease and not acknowledged), completed (acknowledged, or before the subscription''s start or seek), failed (a dead letter). retry_count: failed attempts; error: of the last one; next_attempt_at: not before. partition: of the subscription. Derived when it is asked from cursors, leases, parked keys and dead letters; nothing is stored for an event. Ask with a status or a range of positions: completed reads the log.';
