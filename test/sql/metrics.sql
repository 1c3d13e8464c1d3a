-- usher.metrics and usher.event_stats: what is counted, and who may see it.
CREATE FUNCTION pg_temp.m(name text, labels jsonb DEFAULT '{}') RETURNS double precision LANGUAGE sql AS $$
    SELECT sum(m.value) FROM usher.metrics() m WHERE m.name = $1 AND m.labels @> $2 $$;
CREATE FUNCTION pg_temp.events() RETURNS TABLE (source text, type text, what text, n double precision) LANGUAGE sql AS $$
    SELECT m.labels ->> 'source', m.labels ->> 'type', coalesce(m.labels ->> 'status', 'published'), m.value
    FROM usher.metrics() m WHERE m.labels ->> 'type' LIKE 'mt.%' AND m.name LIKE 'eventbroker%total' ORDER BY 1, 2, 3 $$;

-- every name has one type and one help, and labels that tell its rows apart
SELECT name FROM usher.metrics() GROUP BY name HAVING count(DISTINCT type) > 1 OR count(DISTINCT help) > 1 OR count(*) > count(DISTINCT labels);
SELECT name FROM usher.metrics() WHERE name !~ '^(usher|eventbroker)_[a-z_]+$' OR (type = 'counter') <> (name LIKE '%\_total') OR help !~ '^[A-Z].*\.$';

-- committed events are counted, by source and type
SELECT pg_temp.m('usher_events_appended_total') AS events, pg_temp.m('usher_transactions_total') AS transactions \gset
BEGIN;
SELECT usher.append('mt-1', 'mt.made');
SELECT usher.append('mt-1', 'mt.made', '{}', NULL, '{"source": "shop"}');
SAVEPOINT s;
SELECT usher.append('mt-1', 'mt.lost');
ROLLBACK TO s;
SET LOCAL usher.source = 'till';
SELECT usher.append('mt-1', 'mt.made');
SELECT usher.append('mt-1', 'mt.paid', '{}', NULL, '{"source": 7}');
COMMIT;
BEGIN;
SELECT usher.append('mt-1', 'mt.lost');
ROLLBACK;
SELECT usher.append_many(array_agg('mt-' || n % 10), array_agg('mt.' || CASE WHEN n % 2 = 0 THEN 'even' ELSE 'odd' END), array_agg('{}'::text)) > 0 FROM generate_series(1, 100) n;
SELECT * FROM pg_temp.events();
SELECT pg_temp.m('usher_events_appended_total') - :events AS events, pg_temp.m('usher_transactions_total') - :transactions AS transactions;
-- a source as long as none can be is counted as other
SELECT usher.append('mt-1', 'mt.made', '{}', NULL, jsonb_build_object('source', repeat('s', 300))) > 0;
SELECT count(*) FROM usher.metrics() WHERE labels ->> 'source' LIKE 'sss%';

-- deliveries, by what became of them
SELECT usher.subscribe('mt', 'mt.*', usher.stable_position(), 4, '{"max_attempts": 2}');
SELECT usher.append('mt-' || n, CASE WHEN n % 2 = 0 THEN 'mt.even' ELSE 'mt.odd' END) FROM generate_series(1, 9) n;
SELECT pg_temp.m('usher_subscription_lag_events', '{"subscription": "mt"}') AS lag, pg_temp.m('eventbroker_queue_size', '{"subscription": "mt"}') AS queue,
    pg_temp.m('eventbroker_workers_active', '{"subscription": "mt"}') AS workers;
SELECT min(position) AS first, max(lease) AS lease FROM usher.poll('mt', member => 'm') \gset
SELECT pg_temp.m('eventbroker_workers_active', '{"subscription": "mt"}') AS workers, pg_temp.m('usher_subscription_leased_partitions', '{"subscription": "mt"}') > 0 AS leased;
-- not what is rolled back
BEGIN;
SELECT usher.ack('mt', :lease);
ROLLBACK;
SELECT count(*) FROM pg_temp.events() WHERE what <> 'published';
SELECT usher.nack('mt', :lease, :first, 'no', '0');
BEGIN;
SAVEPOINT s;
SELECT usher.nack('mt', :lease, :first + 1, 'no', '0');
ROLLBACK TO s;
SELECT usher.ack('mt', :lease);
COMMIT;
SELECT * FROM pg_temp.events() WHERE what <> 'published';
SELECT max(lease) AS lease FROM usher.poll('mt', member => 'm') \gset
SELECT usher.nack('mt', :lease, :first, 'never'), usher.ack('mt', :lease);
SELECT * FROM pg_temp.events() WHERE what <> 'published';
SELECT pg_temp.m('usher_subscription_dead_letters', '{"subscription": "mt"}') AS dead;
-- part of a lease, and a lease that was lost, count when they are acknowledged
SELECT usher.append('mt-' || n, 'mt.even') FROM generate_series(1, 4) n;
SELECT min(position) AS first, max(lease) AS lease FROM usher.poll('mt', member => 'm') \gset
SELECT usher.ack('mt', :lease, :first + 1);
SELECT usher.ack('mt', :lease);
SELECT * FROM pg_temp.events() WHERE what = 'completed';
SELECT usher.unsubscribe('mt'), usher.subscribe('mt', 'mt.*', NULL, 1);
SELECT usher.append('mt-1', 'mt.even');
SELECT max(lease) AS lease FROM usher.poll('mt', member => 'm') \gset
SELECT usher.extend('mt', :lease, '0'), pg_sleep(0.002);
SELECT max(lease) AS lease FROM usher.poll('mt', member => 'm2') \gset
SELECT usher.ack('mt', :lease);
SELECT * FROM pg_temp.events() WHERE what = 'completed';
-- each of them took some time
SELECT labels ->> 'le' AS le, sum(value) OVER () > 0 AS counted FROM usher.metrics()
WHERE name = 'eventbroker_event_processing_duration_seconds_bucket' AND labels @> '{"type": "mt.odd"}' ORDER BY replace(labels ->> 'le', '+Inf', 'inf')::float8;
SELECT pg_temp.m('eventbroker_event_processing_duration_seconds_bucket', '{"type": "mt.even", "le": "+Inf"}') AS inf,
    pg_temp.m('eventbroker_event_processing_duration_seconds_count', '{"type": "mt.even"}') AS count,
    pg_temp.m('eventbroker_event_processing_duration_seconds_sum', '{"type": "mt.even"}') > 0 AS sum;
-- buckets are cumulative
SELECT count(*) FROM (SELECT value < lag(value) OVER (PARTITION BY labels - 'le' ORDER BY replace(labels ->> 'le', '+Inf', 'inf')::float8) AS falls
    FROM usher.metrics() WHERE name = 'eventbroker_event_processing_duration_seconds_bucket') b WHERE falls;
-- more kinds in a batch than a lease remembers: some are counted as other, none is lost
SELECT pg_temp.m('eventbroker_events_processed_total', '{"status": "completed"}') AS before \gset
SELECT usher.append('mt-1', 'mt.kind' || n) FROM generate_series(1, 12) n;
SELECT max(lease) AS lease FROM usher.poll('mt') \gset
SELECT usher.ack('mt', :lease);
SELECT pg_temp.m('eventbroker_events_processed_total', '{"status": "completed"}') - :before AS completed, (SELECT count(*) FROM pg_temp.events() WHERE type LIKE 'mt.kind%' AND what = 'completed') AS by_name;
-- a poll that acknowledges the one before takes the same partitions anew in that transaction: what was done counts, what failed there does not
SELECT usher.append(CASE WHEN n <= 6 THEN 'mt-1' ELSE 'mt-3' END, 'mt.next') FROM generate_series(1, 9) n;
SELECT max(lease) AS lease FROM usher.poll('mt', 3) \gset
SELECT max(lease) AS lease, min(position) AS first FROM usher.poll('mt', 3, ack => :lease) \gset
SELECT count(*) FILTER (WHERE what = 'completed'), sum(n) FILTER (WHERE what = 'completed') AS completed FROM pg_temp.events() WHERE type = 'mt.next';
BEGIN;
SELECT usher.nack('mt', :lease, :first + 2, 'no', '1 hour');
SELECT count(*) FROM usher.poll('mt', 3, ack => :lease);
COMMIT;
SELECT what, sum(n) FROM pg_temp.events() WHERE type = 'mt.next' AND what <> 'published' GROUP BY 1 ORDER BY 1;
-- also when that one is given back with its savepoint
SELECT usher.seek_subscription('mt', NULL);
SELECT usher.append('mt-2', 'mt.back') FROM generate_series(1, 4) n;
SELECT max(lease) AS lease FROM usher.poll('mt', 3) \gset
BEGIN;
SELECT usher.ack('mt', :lease);
SAVEPOINT s;
SELECT count(*) FROM usher.poll('mt', 3);
ROLLBACK TO s;
COMMIT;
SELECT what, sum(n) FROM pg_temp.events() WHERE type = 'mt.back' AND what <> 'published' GROUP BY 1 ORDER BY 1;
BEGIN;
SELECT max(lease) AS lease FROM usher.poll('mt', 3) \gset
SELECT count(*) FROM usher.poll('mt', 3, ack => :lease);
ROLLBACK;
SELECT what, sum(n) FROM pg_temp.events() WHERE type = 'mt.back' AND what <> 'published' GROUP BY 1 ORDER BY 1;
SELECT usher.unsubscribe('mt');

-- idempotency keys
SELECT pg_temp.m('usher_idempotency_requests_total', '{"answer": "fresh"}') AS fresh, pg_temp.m('usher_idempotency_requests_total', '{"answer": "repeated"}') AS repeated,
    pg_temp.m('usher_idempotency_requests_total', '{"answer": "conflict"}') AS conflict, pg_temp.m('usher_idempotency_requests_total', '{"answer": "in_progress"}') AS in_progress \gset
SELECT fresh FROM usher.once('mt', '');
SELECT n, state FROM usher.once_many('{mt,mt}', '{"","\\x01"}');
SELECT usher.once_done('mt', '1');
SELECT response FROM usher.once('mt', '');
SELECT pg_temp.m('usher_idempotency_requests_total', '{"answer": "fresh"}') - :fresh AS fresh, pg_temp.m('usher_idempotency_requests_total', '{"answer": "repeated"}') - :repeated AS repeated,
    pg_temp.m('usher_idempotency_requests_total', '{"answer": "conflict"}') - :conflict AS conflict, pg_temp.m('usher_idempotency_requests_total', '{"answer": "in_progress"}') - :in_progress AS in_progress;

-- sinks
SET client_min_messages = warning;
SELECT usher.add_sink('mt-sink', 'memory') > 0 AS added;
RESET client_min_messages;
SELECT name, labels, value FROM usher.metrics() WHERE labels @> '{"sink": "mt-sink"}' AND name IN ('usher_sink_blocked', 'usher_sink_dead_letters');
SELECT usher.drop_sink('mt-sink');

-- a tenant sees its own numbers
SELECT usher.create_tenant('mt') > 1 AS created;
SET usher.tenant = 'mt';
SELECT published, processed, retried, failed, queue_size, workers_active, processing_ms, since = usher.metrics_since() AS since FROM usher.event_stats();
SELECT usher.subscribe('mt', 'mt.*', 0);
SELECT usher.append('mt-' || n, 'mt.theirs') FROM generate_series(1, 5) n;
SELECT published, processed, retried, failed, queue_size, workers_active, processing_ms IS NULL AS untimed FROM usher.event_stats();
SELECT max(lease) AS lease, max(position) AS last FROM usher.poll('mt', 3) \gset
SELECT published, processed, retried, failed, queue_size, workers_active FROM usher.event_stats();
SELECT usher.nack('mt', :lease, :last, 'no', '1 hour'), usher.ack('mt', :lease);
SELECT published, processed, retried, failed, queue_size, workers_active, processing_ms > 0 AS timed FROM usher.event_stats();
SELECT usher.unsubscribe('mt');
RESET usher.tenant;

-- who may
CREATE ROLE mt_reader IN ROLE usher_reader;
CREATE ROLE mt_admin IN ROLE usher_admin;
CREATE ROLE mt_monitor IN ROLE pg_monitor;
SET ROLE mt_reader;
SELECT count(*) FROM usher.metrics();
SELECT count(*) FROM usher.event_stats();
SELECT count(*) FROM usher.series_list();
SET ROLE mt_admin;
SELECT count(*) > 20 FROM usher.metrics();
SELECT count(*) FROM usher.any_subscription_partitions(1);
SET ROLE mt_monitor;
SELECT count(*) > 20 FROM usher.metrics();
SELECT count(*) FROM usher.log;
RESET ROLE;
DROP ROLE mt_reader;
DROP ROLE mt_admin;
DROP ROLE mt_monitor;
