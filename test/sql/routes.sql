-- Routes: which one takes an event, to which topic, with which key. No worker is asked. In a database of its own.
\pset format unaligned
\pset tuples_only on
\pset null '(null)'
\getenv inputdir PG_ABS_SRCDIR
\set include :inputdir '/sql/include/try.sql'
CREATE DATABASE regress_usher_routes;
\c regress_usher_routes
SET client_min_messages = warning;
CREATE EXTENSION pg_usher;
\set ECHO none
\i :include
\set ECHO all
BEGIN;
SELECT usher.add_sink('bus', 'memory');
SELECT usher.add_sink('other', 'memory');

-- without routes everything goes to its category or topic, by stream or key
SELECT usher.explain_route('bus', 'order.placed', 'order-42');
SELECT usher.explain_route('bus', 'mail.sent', NULL, published_topic => 'mail', published_key => 'k-1');
SELECT usher.explain_route('bus', 'mail.sent', NULL, published_topic => 'mail');
SELECT usher.explain_route('bus', 'a', '-42');
SELECT usher.explain_route('bus', 'a', NULL, published_topic => repeat('t', 249));
SELECT usher.explain_route('bus', 'a', NULL, published_topic => repeat('t', 250));

-- the first route replaces that
SELECT usher.add_route('bus', 'order.*', 'txova.{category}s.v1');
SELECT usher.explain_route('bus', 'order.placed', 'order-42');
SELECT usher.explain_route('bus', 'order.placed.late', 'order-42');
SELECT usher.explain_route('bus', 'invoice.sent', 'invoice-1');
SELECT usher.explain_route('other', 'invoice.sent', 'invoice-1');
-- {stream} is the key, events without one have their own
SELECT usher.explain_route('bus', 'order.placed', NULL, published_topic => 'orders', published_key => 'k-1');

-- every place
SELECT t.template, (usher.explain_route('bus', 'order.placed.v1', 'order-42',
        '{"region": "eu", "customer": {"id": "c-7", "vip": true}, "total": 1299.50, "big": 12345678901234567890123, "n": null, "items": [1], "empty": "", "a.b": "dotted"}',
        '{"source": "shop"}')).topic
FROM (VALUES ('{category}'), ('{tenant}'), ('{type}'), ('{type[0]}'), ('{type[2]}'), ('{type[3]}'), ('{stream}'), ('{topic}'), ('{key}'),
    ('{data.region}'), ('{data.customer.id}'), ('{data.customer.vip}'), ('{data.total}'), ('{data.big}'), ('{data.n}'), ('{data.items}'),
    ('{data.customer}'), ('{data.missing}'), ('{data.region.x}'), ('{data.items.0}'), ('{data.empty}'), ('a{data.empty}b'), ('{data.a.b}'),
    ('{metadata.source}'), ('{metadata.region}'), ('{{{type[1]}}}'), ('{tenant}.{category}.{type[1]}-{data.total}')) AS t (template),
    LATERAL (SELECT usher.alter_route(1, pattern => '**', topic => t.template)) AS altered;
SELECT t.template, usher.explain_route('bus', 'mail.sent', NULL, published_topic => 'mail', published_key => 'k-1')
FROM (VALUES ('{category}'), ('{stream}'), ('{topic}'), ('{key}'), ('{type[0]}')) AS t (template),
    LATERAL (SELECT usher.alter_route(1, topic => t.template)) AS altered;

-- keys: a place without a value gives the event's own key, an empty template none
SELECT usher.alter_route(1, topic => '{category}', key => '{data.customer}');
SELECT usher.explain_route('bus', 'order.placed', 'order-42', '{"customer": 7}');
SELECT usher.explain_route('bus', 'order.placed', 'order-42', '{"customer": {}}');
SELECT usher.explain_route('bus', 'order.placed', 'order-42', '{"customer": ""}');
SELECT usher.explain_route('bus', 'order.placed', 'order-42');
SELECT length((usher.explain_route('bus', 'order.placed', 'order-42', jsonb_build_object('customer', repeat('c', 1023)))).key);
SELECT (usher.explain_route('bus', 'order.placed', 'order-42', jsonb_build_object('customer', repeat('c', 1024)))).key;
SELECT usher.alter_route(1, key => '');
SELECT usher.explain_route('bus', 'order.placed', 'order-42');
-- a topic that is too long
SELECT usher.alter_route(1, topic => '{data.t}', key => '{stream}');
SELECT length((usher.explain_route('bus', 'a', 's-1', jsonb_build_object('t', repeat('t', 249)))).topic);
SELECT usher.explain_route('bus', 'a', 's-1', jsonb_build_object('t', repeat('t', 250)));
SELECT usher.drop_route(1);
SELECT usher.explain_route('bus', 'invoice.sent', 'invoice-1');

-- precedence: priority, exact before wildcard, longer before shorter, oldest first
SELECT usher.add_route('bus', '**', 'everything'), usher.add_route('bus', 'order.*', 'some'), usher.add_route('bus', 'order.placed', 'exact'),
    usher.add_route('bus', 'order.p*', 'longer'), usher.add_route('bus', 'order.*', 'younger'), usher.add_route('bus', 'o', 'short'),
    usher.add_route('bus', '*', 'last'), usher.add_route('bus', 'audit.**', 'first', priority => 5), usher.add_route('bus', 'audit.x', 'never', priority => 4);
SELECT t.type, (usher.explain_route('bus', t.type, 's-1')).topic
FROM (VALUES ('order.placed'), ('order.paid'), ('order.sent'), ('o'), ('order.placed.late'), ('audit.x'), ('audit'), ('x')) AS t (type);
SELECT usher.alter_route(4, priority => -1), usher.drop_route(5);
SELECT t.type, (usher.explain_route('bus', t.type, 's-1')).topic FROM (VALUES ('order.placed'), ('order.paid')) AS t (type);
DELETE FROM usher.routes;

-- filters: the same as containment
SELECT usher.add_route('bus', '**', 'hit');
CREATE TEMPORARY TABLE filters (n int GENERATED ALWAYS AS IDENTITY, filter jsonb);
INSERT INTO filters (filter) VALUES ('{}'), ('{"type": "order.placed"}'), ('{"type": "order.*"}'), ('{"stream": "order-42"}'), ('{"stream": "order-4"}'),
    ('{"type": "order.placed", "stream": "order-42"}'), ('{"data": {}}'), ('{"data": {"a": 1}}'), ('{"data": {"a": 1.0}}'), ('{"data": {"a": "1"}}'),
    ('{"data": {"a": 2}}'), ('{"data": {"s": "x"}}'), ('{"data": {"s": "xy"}}'), ('{"data": {"t": true}}'), ('{"data": {"t": false}}'),
    ('{"data": {"z": null}}'), ('{"data": {"missing": null}}'), ('{"data": {"o": {}}}'), ('{"data": {"o": {"p": {"q": "deep"}}}}'),
    ('{"data": {"o": {"p": {"q": "other"}}}}'), ('{"data": {"o": {"p": {}, "r": 3}}}'), ('{"data": {"o": "p"}}'), ('{"data": {"o": []}}'),
    ('{"data": {"l": []}}'), ('{"data": {"l": [2]}}'), ('{"data": {"l": [3, 1]}}'), ('{"data": {"l": [4]}}'), ('{"data": {"l": [{"k": "v"}]}}'),
    ('{"data": {"l": {}}}'), ('{"data": {"l": 2}}'), ('{"data": {"a": [1]}}'), ('{"data": {"a": {"b": 1}}}'), ('{"metadata": {"source": "shop"}}'),
    ('{"metadata": {"source": "x"}}'), ('{"data": {"a": 1, "s": "x"}, "metadata": {"source": "shop"}, "type": "order.placed"}'),
    ('{"data": {"a": 1, "s": "y"}}'), ('{"data": {"e": ""}}'), ('{"data": {"ключ": "значение"}}');
CREATE TEMPORARY TABLE data AS SELECT '{"a": 1, "s": "x", "t": true, "z": null, "o": {"p": {"q": "deep"}, "r": 3}, "l": [1, 2, 3, {"k": "v"}], "e": "", "ключ": "значение"}'::jsonb AS data;
CREATE TEMPORARY TABLE found (n int, hit boolean);
DO $$
DECLARE
    f record;
BEGIN
    FOR f IN SELECT * FROM filters ORDER BY n LOOP
        PERFORM usher.alter_route((SELECT r.route_id FROM usher.routes r), filter => f.filter);
        INSERT INTO found SELECT f.n, (usher.explain_route('bus', 'order.placed', 'order-42', d.data, '{"source": "shop"}')).topic IS NOT NULL FROM data d;
    END LOOP;
END
$$;
SELECT f.filter, found.hit FROM filters f JOIN found USING (n) ORDER BY n;
SELECT f.filter FROM filters f JOIN found USING (n), data d
WHERE found.hit <> (jsonb_build_object('type', 'order.placed', 'stream', 'order-42', 'data', d.data, 'metadata', '{"source": "shop"}'::jsonb) @> f.filter);
-- a filter on a stream is not for events without one
SELECT usher.alter_route(route_id, filter => '{"stream": "order-42"}') FROM usher.routes;
SELECT usher.explain_route('bus', 'order.placed', NULL, published_topic => 'orders', published_key => 'order-42');
-- an empty filter removes it
SELECT usher.alter_route(route_id, filter => '{}') FROM usher.routes;
SELECT filter FROM usher.routes;

-- what is unchanged stays
SELECT usher.alter_route(route_id, 'a.b', 't', 'k', '{"type": "x"}', 7, true) FROM usher.routes;
SELECT pattern, topic, key, filter, priority, tombstones FROM usher.routes;
SELECT usher.alter_route(route_id) FROM usher.routes;
SELECT pattern, topic, key, filter, priority, tombstones FROM usher.routes;

-- refusals
SELECT call, pg_temp.try(call) FROM (VALUES
    ($$SELECT usher.add_route('nobody', '**', 't')$$),
    ($$SELECT usher.add_route(NULL, '**', 't')$$),
    ($$SELECT usher.add_route('bus', '', 't')$$),
    ($$SELECT usher.add_route('bus', NULL, 't')$$),
    ($$SELECT usher.add_route('bus', E'a\nb', 't')$$),
    ($$SELECT usher.add_route('bus', '**', '')$$),
    ($$SELECT usher.add_route('bus', '**', NULL)$$),
    ($$SELECT usher.add_route('bus', '**', '{categories}')$$),
    ($$SELECT usher.add_route('bus', '**', '{category')$$),
    ($$SELECT usher.add_route('bus', '**', 'a}')$$),
    ($$SELECT usher.add_route('bus', '**', 't', '{data.}')$$),
    ($$SELECT usher.add_route('bus', '**', 't', NULL)$$),
    ($$SELECT usher.add_route('bus', '**', 't', filter => '[]')$$),
    ($$SELECT usher.add_route('bus', '**', 't', filter => '"x"')$$),
    ($$SELECT usher.add_route('bus', '**', 't', filter => '{"tenant": "default"}')$$),
    ($$SELECT usher.add_route('bus', '**', 't', filter => '{"type": 1}')$$),
    ($$SELECT usher.add_route('bus', '**', 't', filter => '{"stream": null}')$$),
    ($$SELECT usher.add_route('bus', '**', 't', filter => '{"data": [1]}')$$),
    ($$SELECT usher.add_route('bus', '**', 't', filter => '{"metadata": "x"}')$$),
    ($$UPDATE usher.routes SET topic = '{nothing}'$$),
    ($$SELECT usher.alter_route(0)$$),
    ($$SELECT usher.alter_route(NULL)$$),
    ($$SELECT usher.drop_route(0)$$),
    ($$SELECT usher.explain_route('nobody', 'a', 's-1')$$),
    ($$SELECT usher.explain_route('bus', NULL, 's-1')$$),
    ($$SELECT usher.explain_route('bus', 'a', NULL)$$),
    ($$SELECT usher.explain_route('bus', 'a', 's-1', published_topic => 't')$$),
    ($$SELECT usher.explain_route('bus', 'a', 's-1', '[]')$$),
    ($$SELECT usher.explain_route('bus', 'a', 's-1', NULL)$$),
    ($$SELECT usher.explain_route('bus', 'a', 's-1', '{}', '1')$$)
) AS c (call);
ROLLBACK;

\c regress
DROP DATABASE regress_usher_routes;
