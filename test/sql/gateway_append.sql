-- append_requests: many clients' requests in one transaction, each with its own tenant, actor and outcome.
\getenv inputdir PG_ABS_SRCDIR
\set include :inputdir '/sql/include/try.sql'
\set ECHO none
\i :include
\set ECHO all
\pset format unaligned
\pset tuples_only on
\pset null -
SELECT usher.create_tenant('ga-red') > 1, usher.create_tenant('ga-blue') > 1;
CREATE FUNCTION pg_temp.e(stream text, type text DEFAULT 'ga.made', data text DEFAULT '{}', expected bigint DEFAULT NULL, id uuid DEFAULT NULL,
    metadata text DEFAULT NULL, topic text DEFAULT NULL, key text DEFAULT NULL) RETURNS usher.request_event
LANGUAGE sql AS $$ SELECT ROW(stream, type, data, metadata, expected, id, topic, key)::usher.request_event $$;
CREATE FUNCTION pg_temp.r(tenant text, VARIADIC events usher.request_event[]) RETURNS usher.append_request
LANGUAGE sql AS $$ SELECT ROW(tenant, 'u1', 'user', NULL, NULL, NULL, NULL, NULL, events)::usher.append_request $$;
CREATE FUNCTION pg_temp.k(tenant text, user_id text, key text, fingerprint bytea, VARIADIC events usher.request_event[]) RETURNS usher.append_request
LANGUAGE sql AS $$ SELECT ROW(tenant, user_id, 'user', key, fingerprint, NULL, NULL, NULL, events)::usher.append_request $$;
-- what does not differ from run to run: of positions only whether they are those of the events
CREATE FUNCTION pg_temp.show(VARIADIC requests usher.append_request[]) RETURNS SETOF text
LANGUAGE sql AS $$
    SELECT concat_ws(' ', element, CASE WHEN replayed THEN 'replayed' END, sqlstate, '"' || message || '"', 'detail "' || detail || '"',
                     'event ' || event_index, 'actual ' || actual_version, 'versions ' || versions::text,
                     'ordinals ' || ordinals::text, cardinality(ids) || ' ids',
                     'positions ' || CASE WHEN positions IS NOT NULL THEN
                         (SELECT bool_and(EXISTS (SELECT FROM usher.log l WHERE l.id = i AND l.position = p)) FROM unnest(ids, positions) u (i, p))::text END)
    FROM usher.append_requests(requests)
$$;

-- one, and several
SELECT pg_temp.show(pg_temp.r('default', pg_temp.e('ga-1')));
SELECT stream, version, type, data, metadata FROM usher.read_stream('ga-1');
SELECT pg_temp.show(pg_temp.r('default', pg_temp.e('ga-1'), pg_temp.e('ga-2', data => '{"n": 1}'), pg_temp.e('ga-1', 'ga.changed')),
                    pg_temp.r('default', pg_temp.e('ga-2', expected => 1), pg_temp.e('ga-1', expected => 3)));
-- positions are those of the session's last commit
SELECT r.first + o.ordinal - 1 = (usher.event_by_id(e.id)).position
FROM usher.committed_range() r, unnest(ARRAY[1, 2, 3, 4, 5]) o (ordinal)
JOIN LATERAL (SELECT id, row_number() OVER (ORDER BY position) AS n FROM usher.events WHERE stream IN ('ga-1', 'ga-2') AND version + (stream = 'ga-2')::int > 1) e ON e.n = o.ordinal;
SELECT last - first FROM usher.committed_range();

-- expected versions are of the stream when the event's turn comes
SELECT pg_temp.show(pg_temp.r('default', pg_temp.e('ga-3', expected => 0), pg_temp.e('ga-3', expected => 1), pg_temp.e('ga-3', expected => -1)),
                    pg_temp.r('default', pg_temp.e('ga-3', expected => 0)),
                    pg_temp.r('default', pg_temp.e('ga-3', expected => 3), pg_temp.e('ga-3', expected => 3)),
                    pg_temp.r('default', pg_temp.e('ga-3', expected => 3)));
-- what was refused left no trace, not even of the streams that it would have made
SELECT pg_temp.show(pg_temp.r('default', pg_temp.e('ga-new-1'), pg_temp.e('ga-new-2', expected => 5)),
                    pg_temp.r('default', pg_temp.e('ga-new-3', expected => -1)),
                    pg_temp.r('default', pg_temp.e('ga-new-4', expected => 0), pg_temp.e('ga-new-4', expected => 0)),
                    pg_temp.r('default', pg_temp.e('ga-new-5')));
SELECT stream, version FROM usher.streams WHERE stream LIKE 'ga-new%' ORDER BY 1;
SELECT pg_temp.show(pg_temp.r('default', pg_temp.e('ga-new-1', expected => 0)));
-- also inside a transaction, where others may have been made before
BEGIN;
SELECT usher.append('ga-new-6', 'ga.made');
SELECT pg_temp.show(pg_temp.r('default', pg_temp.e('ga-new-7'), pg_temp.e('ga-new-8'), pg_temp.e('ga-new-6', expected => 7)));
SELECT pg_temp.show(pg_temp.r('default', pg_temp.e('ga-new-8', expected => 0), pg_temp.e('ga-new-6', expected => 1)));
COMMIT;
SELECT stream, version FROM usher.streams WHERE stream LIKE 'ga-new%' ORDER BY 1;

-- refusals, one element each; the others are appended
SELECT usher.delete_stream('ga-2');
SELECT pg_temp.show(
    pg_temp.r('default', pg_temp.e('ga-4')),
    pg_temp.r('nobody', pg_temp.e('ga-4')),
    pg_temp.r(NULL, pg_temp.e('ga-4')),
    pg_temp.r('default', pg_temp.e('ga-2')),
    pg_temp.r('default', pg_temp.e('')),
    pg_temp.r('default', pg_temp.e(NULL)),
    pg_temp.r('default', pg_temp.e('ga-4'), pg_temp.e(E'ga\t4')),
    pg_temp.r('default', pg_temp.e(repeat('x', 256))),
    pg_temp.r('default', pg_temp.e('ga-4', 'usher.stream_deleted')),
    pg_temp.r('default', pg_temp.e('ga-4', NULL)),
    pg_temp.r('default', pg_temp.e('ga-4'), pg_temp.e('ga-4', data => '{"a": ')),
    pg_temp.r('default', pg_temp.e('ga-4', data => '[]')),
    pg_temp.r('default', pg_temp.e('ga-4', data => '{"a": "\u0000"}')),
    pg_temp.r('default', pg_temp.e('ga-4', data => '{"a": 1e999999}')),
    pg_temp.r('default', pg_temp.e('ga-4', metadata => 'null')),
    pg_temp.r('default', pg_temp.e('ga-4', expected => -2)),
    pg_temp.r('default', pg_temp.e('ga-4', key => 'k')),
    pg_temp.r('default', pg_temp.e('ga-4', topic => 't', key => 'k')),
    pg_temp.r('default', pg_temp.e(NULL, topic => 't')),
    pg_temp.r('default', pg_temp.e(NULL, topic => 't', key => 'k', expected => 1)),
    pg_temp.r('default', pg_temp.e('ga-4', data => json_build_object('x', repeat('y', 1100000))::text)),
    pg_temp.r('default', NULL::usher.request_event),
    ROW('default', 'u', 'user', NULL, NULL, NULL, NULL, NULL, '{}'::usher.request_event[])::usher.append_request,
    ROW('default', 'u', 'user', NULL, NULL, NULL, NULL, NULL, NULL)::usher.append_request,
    ROW('default', E'u\n', 'user', NULL, NULL, NULL, NULL, NULL, ARRAY[pg_temp.e('ga-4')])::usher.append_request,
    ROW('default', 'u', 'user', NULL, NULL, repeat('c', 300), NULL, NULL, ARRAY[pg_temp.e('ga-4')])::usher.append_request,
    ROW('default', 'u', 'user', 'key', NULL, NULL, NULL, NULL, ARRAY[pg_temp.e('ga-4')])::usher.append_request,
    ROW('default', 'u', 'user', '', '\x01', NULL, NULL, NULL, ARRAY[pg_temp.e('ga-4')])::usher.append_request,
    NULL::usher.append_request,
    pg_temp.r('default', pg_temp.e('ga-4', expected => 1)));
-- JSON that is too deep
SELECT sqlstate FROM usher.append_requests(ARRAY[pg_temp.r('default', pg_temp.e('ga-4', data => repeat('{"a":', 100000) || '1' || repeat('}', 100000)))]);
SET usher.max_transaction_events = 2;
SELECT pg_temp.show(pg_temp.r('default', pg_temp.e('ga-4'), pg_temp.e('ga-4'), pg_temp.e('ga-4')), pg_temp.r('default', pg_temp.e('ga-4')));
RESET usher.max_transaction_events;
SELECT pg_temp.try('SELECT count(*) FROM usher.append_requests(NULL)'), pg_temp.try('SELECT count(*) FROM usher.append_requests(''{}'')');
BEGIN READ ONLY;
SELECT pg_temp.try('SELECT count(*) FROM usher.append_requests(''{}'')');
ROLLBACK;

-- tenants and actors: what projections and events are given
CREATE TABLE seen (n int GENERATED ALWAYS AS IDENTITY, tenant text, actor text, correlation text, trace text, metadata jsonb);
CREATE FUNCTION see(e usher.event) RETURNS void LANGUAGE sql SET search_path = public, pg_temp AS $$
    INSERT INTO seen (tenant, actor, correlation, trace, metadata)
    SELECT usher.tenant_name(usher.current_tenant()), current_setting('usher.actor'), current_setting('usher.correlation_id'), current_setting('usher.traceparent'), (e).metadata $$;
SELECT usher.project('ga', 'ga.seen', 'see(usher.event)');
SET usher.tenant = 'ga-red';
SELECT usher.project('ga', 'ga.seen', 'see(usher.event)');
RESET usher.tenant;
SET usher.actor = 'somebody else';
SET usher.correlation_id = 'another';
SELECT pg_temp.show(
    ROW('ga-red', 'anna "{" é', 'user', NULL, NULL, 'c-1', 'cause-1', '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01', ARRAY[pg_temp.e('ga-same-1', 'ga.seen')])::usher.append_request,
    ROW('default', 'key-7', 'service', NULL, NULL, NULL, NULL, NULL, ARRAY[pg_temp.e('ga-same-1', 'ga.seen', metadata => '{"actor": {"id": "root"}, "correlation_id": "own", "x": 1}')])::usher.append_request,
    ROW('ga-blue', 'bert', 'user', NULL, NULL, NULL, NULL, NULL, ARRAY[pg_temp.e('ga-same-1', 'ga.seen'), pg_temp.e('ga-same-1')])::usher.append_request,
    ROW('default', '', 'anonymous', NULL, NULL, NULL, NULL, NULL, ARRAY[pg_temp.e('ga-same-1', 'ga.seen', metadata => '{"actor": "root"}')])::usher.append_request,
    ROW('ga-red', 'anna', NULL, NULL, NULL, NULL, NULL, NULL, ARRAY[pg_temp.e('ga-same-1', 'ga.seen', expected => 1)])::usher.append_request);
SELECT tenant, actor, correlation, trace, metadata FROM seen ORDER BY n;
SELECT current_setting('usher.tenant'), current_setting('usher.actor'), current_setting('usher.correlation_id'), current_setting('usher.traceparent');
RESET usher.actor;
RESET usher.correlation_id;
SELECT tenant, version, metadata FROM usher.gateway_read_stream('ga-red', 'ga-same-1')
UNION ALL SELECT tenant, version, metadata FROM usher.gateway_read_stream('ga-blue', 'ga-same-1')
UNION ALL SELECT tenant, version, metadata FROM usher.gateway_read_stream('default', 'ga-same-1') ORDER BY 1, 2;
-- a projection that raises ends the call, and its context says whose
CREATE FUNCTION refuse(e usher.event) RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = 'XX123'; END $$;
SELECT usher.project('ga-refuse', 'ga.refused', 'refuse(usher.event)');
DO $$
DECLARE
    context text;
BEGIN
    PERFORM usher.append_requests(ARRAY[pg_temp.r('default', pg_temp.e('ga-5')), pg_temp.r('ga-red', pg_temp.e('ga-5')), pg_temp.r('default', pg_temp.e('ga-5', 'ga.refused'))]);
EXCEPTION WHEN SQLSTATE 'XX123' THEN
    GET STACKED DIAGNOSTICS context = PG_EXCEPTION_CONTEXT;
    RAISE INFO '%', substring(context FROM 'append_requests element \d+');
END $$;
SELECT usher.stream_version('ga-5'), current_setting('usher.tenant'), current_setting('usher.actor');
SELECT usher.unproject('ga-refuse'), usher.unproject('ga');
SET usher.tenant = 'ga-red';
SELECT usher.unproject('ga');
RESET usher.tenant;
DROP FUNCTION see(usher.event), refuse(usher.event);
DROP TABLE seen;

-- published events
SELECT pg_temp.show(pg_temp.r('default', pg_temp.e(NULL, 'ga.published', topic => 'ga', key => 'k1'), pg_temp.e('ga-6'), pg_temp.e(NULL, 'ga.published', topic => 'ga', key => 'k2')));
SELECT topic, key, stream, version, type FROM usher.events WHERE type = 'ga.published' ORDER BY position;

-- given event ids: a repeat is the original
\set id1 '''00000000-0000-4000-8000-0000000ea001'''
\set id2 '''00000000-0000-4000-8000-0000000ea002'''
\set id3 '''00000000-0000-4000-8000-0000000ea003'''
SELECT pg_temp.show(pg_temp.r('default', pg_temp.e('ga-7', id => :id1, expected => 0), pg_temp.e(NULL, topic => 'ga', key => 'k', id => :id2)),
                    pg_temp.r('ga-red', pg_temp.e('ga-7', id => :id1)));
SELECT pg_temp.show(
    pg_temp.r('default', pg_temp.e('ga-7', id => :id1, expected => 0), pg_temp.e(NULL, topic => 'ga', key => 'k', id => :id2)),
    pg_temp.r('default', pg_temp.e('ga-7', id => :id1, data => '{"other": 1}')),
    pg_temp.r('default', pg_temp.e('ga-8', id => :id1)),
    pg_temp.r('default', pg_temp.e('ga-7', id => :id3), pg_temp.e('ga-7', id => :id1)),
    pg_temp.r('default', pg_temp.e('ga-7', id => :id3), pg_temp.e('ga-7', id => :id3)),
    pg_temp.r('default', pg_temp.e('ga-7', id => :id3, metadata => '{"actor": "me"}')));
-- twice in one call: the second has what the first will have
SELECT element, replayed, ids = ARRAY['00000000-0000-4000-8000-0000000ea004'::uuid], versions, positions, ordinals FROM usher.append_requests(ARRAY[
    pg_temp.r('default', pg_temp.e('ga-7', id => '00000000-0000-4000-8000-0000000ea004')),
    pg_temp.r('default', pg_temp.e('ga-7')),
    pg_temp.r('default', pg_temp.e('ga-7', id => '00000000-0000-4000-8000-0000000ea004'))]);
SELECT version, type FROM usher.read_stream('ga-7');

-- idempotency keys
SELECT pg_temp.show(pg_temp.k('default', 'u1', 'key-1', '\x01', pg_temp.e('ga-9', expected => 0), pg_temp.e('ga-9'), pg_temp.e(NULL, topic => 'ga', key => 'k')),
                    pg_temp.k('default', 'u2', 'key-1', '\x02', pg_temp.e('ga-9')),
                    pg_temp.k('default', 'u1', 'key-1', '\x01', pg_temp.e('ga-9')),
                    pg_temp.k('ga-red', 'u1', 'key-1', '\x03', pg_temp.e('ga-9')),
                    pg_temp.k('default', '', 'key-1', '\x04', pg_temp.e('ga-9')),
                    pg_temp.k('default', 'u1', 'key-2', '\x01', pg_temp.e('ga-9', expected => 0)));
SELECT pg_temp.show(pg_temp.k('default', 'u1', 'key-1', '\x01', pg_temp.e('ga-9', expected => 0), pg_temp.e('ga-9'), pg_temp.e(NULL, topic => 'ga', key => 'k')),
                    pg_temp.k('default', 'u2', 'key-1', '\x02', pg_temp.e('ga-9')),
                    pg_temp.k('default', 'u2', 'key-3', '\x02', pg_temp.e('ga-9')),
                    pg_temp.k('ga-red', 'u1', 'key-1', '\x03', pg_temp.e('ga-9')),
                    pg_temp.k('default', '', 'key-1', '\x05', pg_temp.e('ga-9')),
                    -- what was refused may be sent again
                    pg_temp.k('default', 'u1', 'key-2', '\x01', pg_temp.e('ga-9')));
-- they do not meet those of usher.once, expire after a day, and vanish with the transaction
SELECT fresh FROM usher.once('key-1', '\x01');
SELECT count(*), bool_and(done), bool_and(expires_at - created_at = '24 hours') FROM usher.idempotency_keys WHERE key LIKE 'gateway %' AND tenant_id = 1;
BEGIN;
SELECT pg_temp.show(pg_temp.k('default', 'u1', 'key-4', '\x01', pg_temp.e('ga-9')));
ROLLBACK;
SELECT pg_temp.show(pg_temp.k('default', 'u1', 'key-4', '\x02', pg_temp.e('ga-9')));
-- a repeat of event ids alone is not kept under a key
SELECT pg_temp.show(pg_temp.k('default', 'u1', 'key-5', '\x01', pg_temp.e('ga-7', id => :id3)));
SELECT pg_temp.show(pg_temp.k('default', 'u1', 'key-5', '\x02', pg_temp.e('ga-9')));

-- reading
SELECT more, version, type FROM usher.gateway_read_stream('default', 'ga-9', 2, 2);
SELECT more, version, type FROM usher.gateway_read_stream('default', 'ga-9', 1, 2, true);
SELECT more, version, type FROM usher.gateway_read_stream('default', 'ga-9', 1, 2, true, 3);
SELECT count(*) FROM usher.gateway_read_stream('default', 'no such stream');
SELECT count(*), bool_or(more) FROM usher.gateway_read_category('ga-red', 'ga');
SELECT count(*), bool_or(more) FROM usher.gateway_read_category('ga-red', 'ga', 0, 1);
SELECT first - 1 AS after FROM usher.committed_range() \gset
SELECT pg_temp.show(pg_temp.r('default', pg_temp.e('ga-10', 'a.b'), pg_temp.e('ga-10', 'a.c'), pg_temp.e('ga-10', 'b.c')), pg_temp.r('ga-red', pg_temp.e('ga-10', 'a.b')));
SELECT first - 1 AS after, last FROM usher.committed_range() \gset
CALL usher.gateway_wait(:last - 1, '10 s') \gset
SELECT :stable >= :last;
SELECT type, next - :after FROM usher.gateway_read_log('default', :after);
SELECT type, next - :after FROM usher.gateway_read_log('default', :after, 1);
SELECT type, next - :after FROM usher.gateway_read_log('default', :after, 100, '{b.*,a.c}');
SELECT type, next - :after FROM usher.gateway_read_log('default', :after, 100, '{b.*,a.c}', 2);
SELECT type, next - :after FROM usher.gateway_read_log('default', :after, 100, '{x}', 2);
SELECT type, next - :after FROM usher.gateway_read_log('default', :after, 100, '{x}');
SELECT type, next - :after FROM usher.gateway_read_log('ga-red', :after, 100, '{}');
SELECT tenant, stream, version, type, position - :after, next - :after FROM usher.gateway_heads(:after);
SELECT tenant, type, position - :after, next - :after FROM usher.gateway_heads(:after, 2);
SELECT tenant, type, position - :after, next - :after FROM usher.gateway_heads(:after, 10, '{a.*,x}');
SELECT tenant, type, position - :after, next - :after FROM usher.gateway_heads(:after, 2, '{a.b}');
SELECT tenant, type, next - :after FROM usher.gateway_heads(:after, 1, '{x}');
SELECT tenant, type, next - :last FROM usher.gateway_heads(:last);
SELECT tenant, type, position - :after, next - :after, data FROM usher.gateway_tail(:after, 3);
SELECT tenant, type, next - :last FROM usher.gateway_tail(:last);
-- pages end behind a megabyte
SELECT pg_temp.show(pg_temp.r('default', VARIADIC ARRAY(SELECT pg_temp.e('ga-11', 'ga.big', json_build_object('x', repeat('y', 300000))::text) FROM generate_series(1, 6))));
SELECT more, version, length(data ->> 'x') FROM usher.gateway_read_stream('default', 'ga-11');
SELECT pg_temp.try(call) FROM (VALUES
    ($$SELECT * FROM usher.gateway_read_stream('nobody', 'ga-9')$$),
    ($$SELECT * FROM usher.gateway_read_stream(NULL, 'ga-9')$$),
    ($$SELECT * FROM usher.gateway_read_stream('default', NULL)$$),
    ($$SELECT * FROM usher.gateway_read_stream('default', 'ga-9', -1)$$),
    ($$SELECT * FROM usher.gateway_read_stream('default', 'ga-9', 1, 0)$$),
    ($$SELECT * FROM usher.gateway_read_category('nobody', 'ga')$$),
    ($$SELECT * FROM usher.gateway_read_log('nobody')$$),
    ($$SELECT * FROM usher.gateway_read_log('default', -1)$$),
    ($$SELECT * FROM usher.gateway_read_log('default', 0, 10001)$$),
    ($$SELECT * FROM usher.gateway_read_log('default', 0, 1, '{NULL}')$$),
    ($$SELECT * FROM usher.gateway_read_log('default', 0, 1, '{a}', 100001)$$),
    ($$SELECT * FROM usher.gateway_heads(0, 1, '{NULL}')$$),
    ($$SELECT * FROM usher.gateway_heads(NULL)$$)) calls (call);
BEGIN;
CALL usher.gateway_wait(0, '0');
ROLLBACK;

-- the gateway's role has these functions, and nothing else
CREATE ROLE regress_usher_gateway IN ROLE usher_gateway;
SET ROLE regress_usher_gateway;
SELECT usher.gateway_protocol();
SELECT sqlstate, versions FROM usher.append_requests(ARRAY[
    ROW('ga-red', 'u', 'user', NULL, NULL, NULL, NULL, NULL, ARRAY[ROW('ga-12', 't', NULL, NULL, NULL, NULL, NULL, NULL)::usher.request_event])::usher.append_request]);
SELECT tenant, version FROM usher.gateway_read_stream('ga-red', 'ga-12');
RESET ROLE;
SELECT count(*) > 0 FROM usher.gateway_heads(0);
SELECT p.oid::regprocedure FROM pg_proc p
WHERE p.pronamespace = 'usher'::regnamespace AND has_function_privilege('usher_gateway', p.oid, 'execute') ORDER BY p.proname;
SELECT c.relname FROM pg_class c
WHERE c.relnamespace = 'usher'::regnamespace AND has_table_privilege('usher_gateway', c.oid, 'select, insert, update, delete, truncate, references, trigger');
SELECT r.rolname FROM pg_roles r WHERE pg_has_role('usher_gateway', r.oid, 'member') AND r.rolname <> 'usher_gateway';
SELECT r.rolname FROM pg_roles r WHERE r.rolname IN ('usher_reader', 'usher_writer', 'usher_admin')
    AND has_function_privilege(r.oid, 'usher.append_requests(usher.append_request[])', 'execute');
DROP ROLE regress_usher_gateway;
