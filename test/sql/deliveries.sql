-- usher.deliveries: where each event of a subscription is, through delivery, failure, retry, dead letter and acknowledgement.
SELECT usher.subscribe('dl', 'dl.*', NULL, 4, '{"max_attempts": 2, "on_dead": "hold", "lease": "1 hour"}');
SELECT usher.subscribe('dl orders', '*', NULL, 1, '{"category": "dl", "stream": "dl-2"}');
SELECT usher.append('dl-' || n, CASE n WHEN 5 THEN 'other' ELSE 'dl.made' END) FROM generate_series(1, 5) n;
SELECT usher.append('dl-1', 'dl.changed');
SELECT usher.publish('mails', 'k', 'dl.mailed') IS NOT NULL;
SELECT usher.publish('mails', 'k', 'dl.sent') IS NOT NULL;
SELECT min(position) - 1 AS base FROM usher.deliveries WHERE subscription = 'dl' \gset
CREATE FUNCTION pg_temp.seen(base bigint) RETURNS TABLE (n bigint, stream text, key text, type text, status text, retries integer, error text, leased boolean, later boolean)
LANGUAGE sql AS $$
    SELECT d.position - base, d.stream, d.key, d.type, d.status, d.retry_count, d.error, d.lease IS NOT NULL, d.next_attempt_at > now() + interval '1 minute'
    FROM usher.deliveries d WHERE d.subscription = 'dl' ORDER BY 1 $$;

-- all are wanted but for the other type, and none has been delivered
SELECT * FROM pg_temp.seen(:base);
-- other subscriptions have their own view of the same events
SELECT position - :base AS n, stream, partition, status FROM usher.deliveries WHERE subscription = 'dl orders';

-- delivered, and not acknowledged
SELECT count(*), min(lease) AS lease FROM usher.poll('dl', 100, member => 'm') \gset
SELECT :count AS delivered;
SELECT status, count(*), count(lease) FROM usher.deliveries WHERE subscription = 'dl' GROUP BY 1;
SELECT status FROM usher.deliveries WHERE subscription = 'dl orders';

-- one fails: its key waits, the others are done
SELECT usher.nack('dl', :lease, :base + 1, 'no stock', '1 hour');
SELECT usher.nack('dl', :lease, :base + 7, 'no mail', '1 hour');
SELECT * FROM pg_temp.seen(:base);
SELECT usher.ack('dl', :lease);
SELECT * FROM pg_temp.seen(:base);

-- tried again: it is out, what is behind it is not
UPDATE usher.parked_keys SET next_at = now() - interval '1 s' WHERE key = 's:dl-1';
SELECT lease, "position" - :base AS n, attempt FROM usher.poll('dl', 100, member => 'm') \gset
SELECT :n AS n, :attempt AS attempt;
SELECT * FROM pg_temp.seen(:base) WHERE stream = 'dl-1';
-- and fails for good; the key is held for it
SELECT usher.nack('dl', :lease, :base + 1, 'never', '1 hour');
SELECT usher.ack('dl', :lease);
SELECT * FROM pg_temp.seen(:base) WHERE stream = 'dl-1';
SELECT position - :base AS n, retry_count, error FROM usher.deliveries WHERE subscription = 'dl' AND status = 'failed';

-- tried again by hand
SELECT usher.replay_dead_letters('dl') > 0 AS replayed;
SELECT * FROM pg_temp.seen(:base) WHERE stream = 'dl-1';
SELECT max(lease) AS lease FROM usher.poll('dl', 1, member => 'm') \gset
SELECT * FROM pg_temp.seen(:base) WHERE stream = 'dl-1';
SELECT usher.ack('dl', :lease);
SELECT * FROM pg_temp.seen(:base) WHERE stream = 'dl-1';

-- and all the rest
UPDATE usher.parked_keys SET next_at = now() - interval '1 s' WHERE key LIKE E'k:%\x1fk';
CREATE FUNCTION pg_temp.finish() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    l bigint;
BEGIN
    LOOP
        SELECT max(lease) INTO l FROM usher.poll('dl', member => 'm');
        EXIT WHEN l IS NULL;
        PERFORM usher.ack('dl', l);
    END LOOP;
END $$;
SELECT pg_temp.finish();
SELECT status, count(*) FROM usher.deliveries WHERE subscription = 'dl' GROUP BY 1;

-- a dead letter that is tried again apart from its key
SELECT usher.subscribe('dl apart', 'dl.made', :base, 4, '{"max_attempts": 1, "stream": "dl-3"}');
SELECT lease FROM usher.poll('dl apart') \gset
SELECT usher.nack('dl apart', :lease, :base + 3, 'no'), usher.ack('dl apart', :lease);
SELECT position - :base AS n, status, retry_count, error, lease IS NOT NULL AS leased FROM usher.deliveries WHERE subscription = 'dl apart';
SELECT usher.replay_dead_letters('dl apart') > 0 AS replayed;
SELECT position - :base AS n, status, retry_count, error, lease IS NOT NULL AS leased FROM usher.deliveries WHERE subscription = 'dl apart';
SELECT lease FROM usher.poll('dl apart') \gset
SELECT position - :base AS n, status, retry_count, error, lease IS NOT NULL AS leased FROM usher.deliveries WHERE subscription = 'dl apart';
SELECT usher.ack('dl apart', :lease);
SELECT position - :base AS n, status, retry_count, error, lease IS NOT NULL AS leased FROM usher.deliveries WHERE subscription = 'dl apart';
SELECT usher.unsubscribe('dl apart');

-- a lease that is over: pending again
SELECT usher.append('dl-9', 'dl.late');
SELECT lease FROM usher.poll('dl', 100, member => 'm') \gset
SELECT status FROM usher.deliveries WHERE subscription = 'dl' AND stream = 'dl-9';
SELECT usher.extend('dl', :lease, '0');
SELECT pg_sleep(0.002);
SELECT status FROM usher.deliveries WHERE subscription = 'dl' AND stream = 'dl-9';

-- the same events in each status once, whatever is asked for
SELECT count(*), count(DISTINCT (subscription, position)) FROM usher.deliveries WHERE position > :base;
SELECT sum(n) FROM (SELECT (SELECT count(*) FROM usher.deliveries d WHERE d.status = s.status AND d.position > :base) AS n
                    FROM unnest('{pending,processing,completed,failed}'::text[]) s (status)) c;
-- asking for one status leaves the other branches out
CREATE FUNCTION pg_temp.branches(status text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    line text;
    n bigint := 0;
BEGIN
    FOR line IN EXECUTE format('EXPLAIN (COSTS off) SELECT * FROM usher.deliveries WHERE status = %L', status) LOOP
        n := n + (line LIKE '%Function Scan on subscription_partitions%')::int;
    END LOOP;
    RETURN n;
END $$;
SELECT s, pg_temp.branches(s) FROM unnest('{completed,processing,pending,failed}'::text[]) s;

-- readers see their tenant's
SELECT usher.create_tenant('dl') > 1 AS created;
CREATE ROLE dl_reader IN ROLE usher_reader;
SELECT usher.grant_tenant('dl', 'dl_reader');
SET ROLE dl_reader;
SELECT count(*) FROM usher.deliveries;
RESET ROLE;
SELECT usher.revoke_tenant('dl', 'dl_reader');
SET ROLE dl_reader;
SELECT count(*) > 0 FROM usher.deliveries WHERE subscription = 'dl';
RESET ROLE;
DROP ROLE dl_reader;
SELECT usher.unsubscribe('dl'), usher.unsubscribe('dl orders');
