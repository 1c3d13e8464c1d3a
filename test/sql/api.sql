-- Every public function once, as a first user would call it.
SELECT usher.stable_position() AS start \gset

-- append: versions count from 1
SELECT usher.append('api-1', 'api.opened', '{"n": 1}');
SELECT usher.append('api-1', 'api.changed', '{"n": 2}', 1);
SELECT usher.append(stream => 'api-1', type => 'api.changed', data => '{"n": 3}', expected_version => -1,
                    metadata => '{"user_id": "u1"}', event_id => '00000000-0000-4000-8000-000000000001');
SELECT usher.append('api-2', 'api.opened', expected_version => 0);

-- several at once, to one stream and to many
SELECT usher.append_batch('api-1', ARRAY[
    ('api.changed', '{"n": 4}', NULL, NULL),
    ('api.closed', NULL, '{"why": "done"}', '00000000-0000-4000-8000-000000000002')]::usher.new_event[], 3);
SELECT usher.append_many(ARRAY['api-2', 'api-3', 'api-2'], ARRAY['api.changed', 'api.opened', 'api.closed'],
                         ARRAY['{"n": 2}', '{}', '{"n": 3}']);
SELECT usher.append_many(ARRAY['api-3'], ARRAY['api.closed'], ARRAY['{}'], ARRAY['{"user_id": "u2"}'],
                         ARRAY['00000000-0000-4000-8000-000000000003']::uuid[]);
SELECT usher.append_many('{}', '{}', '{}');

-- an event without a stream
SELECT usher.publish('mail', 'customer-7', 'api.mail', '{"to": "a@example.org"}', '{"user_id": "u3"}',
                     '00000000-0000-4000-8000-000000000004');
SELECT usher.publish('mail', 'customer-7', 'api.mail') IS NOT NULL AS id_is_generated;

-- reading a stream
SELECT version, type, data, metadata FROM usher.read_stream('api-1');
SELECT version, type FROM usher.read_stream('api-1', 2, 2);
SELECT version, type FROM usher.read_stream('api-1', backwards => true, max => 2);
SELECT version, type FROM usher.read_stream('api-1', backwards => true, before => 4);
SELECT version, type FROM usher.read_stream('api-1', 2, before => 4);
SELECT version, type FROM usher.read_stream('api-1', 6);
SELECT version, type FROM usher.read_stream('api-1', 0, 1);
SELECT version, type FROM usher.read_stream('api-1', max => 0);
SELECT version, type FROM usher.read_stream('api-unknown');
SELECT usher.stream_version('api-1'), usher.stream_version('api-3'), usher.stream_version('api-unknown');
SELECT version, type, data FROM usher.last_event('api-1');
SELECT version, type, data FROM usher.last_event('api-1', 'api.changed');
SELECT usher.last_event('api-1', 'api.unknown') IS NULL AS none, usher.last_event('api-unknown') IS NULL AS none;
SELECT stream, version, type, metadata FROM usher.event_by_id('00000000-0000-4000-8000-000000000002');
SELECT stream, version, topic, key, type FROM usher.event_by_id('00000000-0000-4000-8000-000000000004');
SELECT usher.event_by_id('00000000-0000-4000-8000-0000000000ff') IS NULL AS none;

-- reading a category, and the whole log
SELECT stream, version, type FROM usher.read_category('api', :start);
SELECT stream, version, type FROM usher.read_category('api', :start, 3);
SELECT count(*) FROM usher.read_category('api-1', :start);
SELECT position - :start AS position, tenant, stream, version, topic, key, type FROM usher.read(:start);
SELECT position - :start AS position, type FROM usher.read(:start, 2, 'api.*ed');
SELECT position - :start AS position, type FROM usher.read(:start, 10, 'api.mail');
SELECT count(*) FROM usher.read(:start, 10, 'nothing.*');
SELECT count(*) FROM usher.read(:start, 0);
SELECT count(*) FROM usher.read(:start + 1000000);

-- a page: how far it looked, and what it found
SELECT p.next - :start AS next, cardinality(p.events) AS found, (p.events)[1].type
FROM usher.read_page(:start, 10, 'api.mail') p;
SELECT p.next - :start AS next, cardinality(p.events) AS found FROM usher.read_page(:start, 10, 'api.mail', 4) p;
SELECT p.next - :start AS next, cardinality(p.events) AS found FROM usher.read_page(:start, 2, '*') p;
SELECT p.next - :start AS next, cardinality(p.events) AS found FROM usher.read_page(:start, 0, '*') p;
SELECT p.next - :start AS next, cardinality(p.events) AS found FROM usher.read_page(:start + 1000, 2, '*') p;

-- positions
SELECT usher.stable_position() - :start AS stable, usher.committed_position() - :start AS committed,
       usher.last_position() - :start AS last;
SELECT usher.oldest_position() >= 1 AS oldest, usher.oldest_position('api') >= 1 AS oldest_of_category;

-- an event's own fields
SELECT e.tenant, e.key = e.stream AS key_is_stream, e.slot BETWEEN 0 AND 65535 AS slot,
       e.id::text ~ '^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$' AS uuid_version_7,
       e.recorded_at BETWEEN now() - interval '1 h' AND clock_timestamp() AS recorded_at
FROM usher.read_stream('api-1', 1, 1) e;
SELECT count(DISTINCT id) = count(*) AS ids_differ,
       bool_and(left(id::text, 18) >= previous) IS NOT FALSE AS ids_sort_by_time
FROM (SELECT id, lag(left(id::text, 18)) OVER (ORDER BY position) AS previous
      FROM usher.read(:start) WHERE id::text NOT LIKE '00000000-%') e;
SELECT count(DISTINCT slot) AS slots FROM usher.read_stream('api-1');

-- small things
SELECT usher.matches('order.*', 'order.placed'), usher.category('order-42');

-- folding
CREATE FUNCTION api_sum(state jsonb, event usher.event) RETURNS jsonb LANGUAGE sql AS
$$ SELECT jsonb_build_object('sum', coalesce((state->>'sum')::int, 0) + coalesce((event.data->>'n')::int, 0)) $$;
SELECT usher.aggregate('api-1', 'api_sum(jsonb, usher.event)');
SELECT usher.aggregate('api-1', 'api_sum(jsonb, usher.event)', '{"sum": 100}', 2);

-- an inline projection
CREATE TABLE api_counts (stream text PRIMARY KEY, n bigint);
CREATE FUNCTION api_count(event usher.event) RETURNS void LANGUAGE sql AS
$$ INSERT INTO public.api_counts VALUES (event.stream, 1) ON CONFLICT (stream) DO UPDATE SET n = api_counts.n + 1 $$;
CREATE FUNCTION api_count_reset() RETURNS void LANGUAGE sql AS 'TRUNCATE public.api_counts';
SELECT usher.project('api counts', 'api.*', 'api_count(usher.event)', 'api_count_reset()');
SELECT usher.append('api-4', 'api.opened');
SELECT * FROM api_counts ORDER BY stream;
CALL usher.rebuild('api counts');
SELECT * FROM api_counts ORDER BY stream;
SELECT usher.unproject('api counts');

-- deleting
SELECT usher.delete_stream('api-4');
SELECT version, type, data FROM usher.read_stream('api-4');

-- waiting for what is there already
SELECT usher.wait(:start, '10 s', 'api.mail') - :start AS stable;
CALL usher.wait_for(0, '10 s', '*', NULL) \gset
SELECT :stable - :start AS stable;

-- views
SELECT stream, category, version, deleted FROM usher.streams WHERE category = 'api' ORDER BY stream;
SELECT position - :start AS position, stream, category, version, type, topic, key FROM usher.events
WHERE position > :start AND type <> 'api.changed' ORDER BY position;
SELECT count(*) > 0 AS some, bool_and(from_position <= to_position) AS bounds, bool_and(bytes > 0) AS bytes
FROM usher.log_partitions;

-- retention, holds, limits, tenants
SELECT usher.set_stream_limits('api-1', max_count => 1);
SELECT version FROM usher.read_stream('api-1');
SELECT usher.set_stream_limits('api-1');
SELECT usher.hold('api', 0);
SELECT name, position FROM usher.holds;
SELECT usher.release('api');
SELECT name, position FROM usher.holds;
SELECT usher.apply_retention();
SELECT usher.create_tenant('api-tenant', 'API', '{"a": 1}', '{"b": 2}') > 1 AS id;
SELECT slug, name, config, branding FROM usher.tenants WHERE slug LIKE 'api%';
SELECT usher.current_tenant(), usher.tenant_name(usher.current_tenant());
SELECT usher.schedule_maintenance('1 2 * * *') = usher.schedule_maintenance('3 4 * * *') AS same_job;
SELECT schedule, command FROM cron.job;
SELECT cron.unschedule('usher maintenance');

-- what the log says of itself
SELECT invariant, ok FROM usher.check();

DROP FUNCTION api_sum, api_count, api_count_reset;
DROP TABLE api_counts;

-- two categories with the same hash are two categories
SELECT usher.category_hash('c45356') = usher.category_hash('c129728') AS same_hash;
SELECT usher.append_many(ARRAY['c45356-1', 'c129728-1', 'c45356-2'], ARRAY['one', 'other', 'one'], ARRAY['{}', '{}', '{}']);
SELECT stream, type FROM usher.read_category('c45356', :start);
SELECT stream, type FROM usher.read_category('c129728', :start, 1);
