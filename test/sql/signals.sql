-- Signals: kept in memory, in order, by tenant, and lost when there are too many.
\getenv inputdir PG_ABS_SRCDIR
\set include :inputdir '/sql/include/try.sql'
\set ECHO none
\i :include
\set ECHO all
\pset format unaligned
\pset tuples_only on
\pset null -
SELECT usher.create_tenant('sg-red') > 1, usher.create_tenant('sg-blue') > 1;
CREATE ROLE regress_usher_signaller IN ROLE usher_writer, usher_reader;
SELECT usher.grant_tenant('sg-red', 'regress_usher_signaller');

-- in order, with numbers that follow each other; at once, also when the transaction rolls back
SET usher.tenant = 'sg-red';
SELECT usher.signal('room.1', '{"n": 1}') AS first \gset
BEGIN;
SELECT usher.signal('room.2', '[1, "zwei"]') - :first;
ROLLBACK;
SELECT usher.signal('room.1') - :first;
SELECT next - :first, lost, number - :first, topic, data, sender, sent_at BETWEEN now() - interval '1 min' AND now() + interval '1 min'
FROM usher.read_signals(:first - 1);
SELECT number - :first FROM usher.read_signals(:first - 1, 2);
SELECT next - :first, lost, number, topic, data, sender, sent_at FROM usher.read_signals(:first + 2);
-- what was not there, or is another server's: nobody knows how many are lost, and all that is there comes
SELECT DISTINCT lost, count(*) OVER () >= 3 FROM usher.read_signals(1);
SELECT DISTINCT lost, count(*) OVER () >= 3 FROM usher.read_signals(:first + 1000000);
SELECT count(*) >= 3 FROM usher.read_signals();

-- another tenant has none of it
SET usher.tenant = 'sg-blue';
SELECT count(number) FROM usher.read_signals(:first - 1);
SELECT usher.signal('room.1', '"blue"') - :first;
SELECT number - :first, data FROM usher.read_signals(:first - 1);
CALL usher.wait_for_signal(:first + 3, '0');
CALL usher.wait_for_signal(:first - 1, '10 s') \gset
SELECT :found - :first;

-- who may
SET ROLE regress_usher_signaller;
SELECT pg_temp.try('SELECT usher.signal(''room.1'')'), pg_temp.try('SELECT * FROM usher.read_signals()');
SET usher.tenant = 'sg-red';
SELECT usher.signal('room.3', '3') - :first;
SELECT number - :first, topic FROM usher.read_signals(:first - 1);
SELECT pg_temp.try('SELECT usher.gateway_signal(''sg-blue'', ''room.1'', ''{}'', '''')'), pg_temp.try('SELECT usher.gateway_signals()');
RESET ROLE;

-- limits
SELECT pg_temp.try('SELECT usher.signal(' || arguments || ')') FROM (VALUES ('''usher.presence'''), (''''''), ('NULL'), ('''a'', NULL'),
    ('repeat(''x'', 256)'), ('''a'', to_jsonb(repeat(''x'', 7999))')) v (arguments);
SELECT usher.signal('a', to_jsonb(repeat('x', 7998))) > 0;
SELECT pg_temp.try('SELECT usher.read_signals(' || arguments || ')') FROM (VALUES ('-1'), ('0, 0'), ('0, NULL'), ('0, 10001')) v (arguments);
SELECT pg_temp.try('CALL usher.wait_for_signal(0, ''-1 s'')');

-- the gateway's: every tenant's, and what cannot be sent is null
SELECT usher.gateway_signal('sg-red', 'usher.presence', '{"from": "gateway"}', 'ann') AS own \gset
SELECT tenant, topic, data, sender FROM usher.gateway_signals(:first + 2) WHERE length(data) < 100;
SELECT count(number) FROM usher.read_signals(:own - 1);
SELECT usher.gateway_signal('nobody', 'a', '{}', ''), usher.gateway_signal('sg-red', '', '{}', ''), usher.gateway_signal('sg-red', repeat('x', 256), '{}', ''),
    usher.gateway_signal('sg-red', 'a', repeat('x', 8001), ''), usher.gateway_signal('sg-red', 'a', '{}', repeat('x', 256)), usher.gateway_signal(NULL, 'a', '{}', '');

-- the ring is full: the oldest give way, and who reads is told how many
SELECT usher.signal('flood', to_jsonb(repeat('x', 1000))) AS last FROM generate_series(1, 1000) \g /dev/null
SELECT usher.signal('flood') AS last \gset
SELECT min(number) > :own, max(number) = :last, min(lost) = min(number) - :own - 1, count(*) BETWEEN 200 AND 300, max(number) - min(number) + 1 = count(*)
FROM usher.read_signals(:own);

-- a flood takes nothing from the other tenants, as long as they have no more than their share; they lose their oldest then
SET usher.tenant = 'sg-blue';
SELECT usher.signal('quiet', to_jsonb(n)) AS last FROM generate_series(1, 50) n \g /dev/null
SELECT min(number) - 1 AS before FROM usher.read_signals(:last) WHERE topic = 'quiet' AND data::text = '1' \gset
SET usher.tenant = 'sg-red';
SELECT usher.signal('flood', to_jsonb(repeat('x', 900))) FROM generate_series(1, 2000) \g /dev/null
SET usher.tenant = 'sg-blue';
SELECT count(*), string_agg(data::text, ',' ORDER BY number) = (SELECT string_agg(n::text, ',') FROM generate_series(1, 50) n), min(lost) > 1000, max(number) - min(number)
FROM usher.read_signals(:before);
SELECT usher.signal('loud', to_jsonb(repeat('y', 900))) FROM generate_series(1, 2000) \g /dev/null
SELECT count(*) BETWEEN 100 AND 150, bool_and(topic = 'loud') FROM usher.read_signals(:before);
SET usher.tenant = 'sg-red';
SELECT count(*) BETWEEN 100 AND 150, bool_and(topic = 'flood') FROM usher.read_signals(:before);
SELECT count(DISTINCT tenant), count(*) BETWEEN 200 AND 270, bool_and(number > coalesce(previous, 0)), min(lost) = max(number) - :before - count(*)
FROM (SELECT *, lag(number) OVER () AS previous FROM usher.gateway_signals(:before, 10000)) s;
SELECT usher.revoke_tenant('sg-red', 'regress_usher_signaller');
DROP ROLE regress_usher_signaller;
