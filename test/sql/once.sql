-- Idempotency keys: the first request is fresh, its repeats get its response, anything else is refused.
\getenv inputdir PG_ABS_SRCDIR
\set include :inputdir '/sql/include/try.sql'
\set ECHO none
\i :include
\set ECHO all
\pset format unaligned
\pset tuples_only on

-- a request and its repeats
BEGIN;
SELECT fresh, response FROM usher.once('once-1', '\x01');
SELECT usher.once_done('once-1', '{"status": 201, "body": {"id": 7}}');
COMMIT;
SELECT fresh, response FROM usher.once('once-1', '\x01');
SELECT fresh, response FROM usher.once('once-1', '\x01', '7 days');
SELECT pg_temp.try($$SELECT usher.once('once-1', '\x02')$$);
SELECT pg_temp.try($$SELECT usher.once('once-1', '\x0100')$$);
SELECT pg_temp.try($$SELECT usher.once('once-1', '')$$);
-- its response is final; saying it again is no harm
SELECT usher.once_done('once-1', '{"body": {"id": 7}, "status": 201.0}');
SELECT pg_temp.try($$SELECT usher.once_done('once-1', '{"status": 500}')$$);
SELECT pg_temp.try($$SELECT usher.once_done('once-1', NULL)$$);
-- one row, written once
SELECT count(*), bool_and(done) FROM usher.idempotency_keys WHERE key = 'once-1';

-- a response may be any JSON value, or null
BEGIN;
SELECT (usher.once(k, '')).fresh FROM unnest(ARRAY['once-2', 'once-3', 'once-4']) k;
SELECT usher.once_done('once-2', NULL);
SELECT usher.once_done('once-3', 'null');
SELECT usher.once_done('once-4', to_jsonb(repeat('x', 100000)));
-- in their own transaction too
SELECT fresh, response IS NULL FROM usher.once('once-2', '');
COMMIT;
SELECT fresh, response IS NULL FROM usher.once('once-2', '');
SELECT fresh, response FROM usher.once('once-3', '');
SELECT fresh, response = to_jsonb(repeat('x', 100000)) FROM usher.once('once-4', '');
SELECT usher.once_done('once-2', NULL);

-- arguments
SELECT call, pg_temp.try(call) FROM (VALUES
    ($$SELECT usher.once(NULL, '')$$),
    ($$SELECT usher.once('', '')$$),
    ($$SELECT usher.once(repeat('k', 256), '')$$),
    ($$SELECT usher.once(E'a\tb', '')$$),
    ($$SELECT usher.once('k', NULL)$$),
    ($$SELECT usher.once('k', decode(repeat('00', 65), 'hex'))$$),
    ($$SELECT usher.once('k', '', NULL)$$),
    ($$SELECT usher.once('k', '', '0')$$),
    ($$SELECT usher.once('k', '', '-1 day')$$),
    ($$SELECT usher.once('k', '', '7 days 1 microsecond')$$),
    ($$SELECT usher.once('k', '', '1 month')$$),
    ($$SELECT usher.once_done(NULL, '1')$$),
    ($$SELECT usher.once_done('nobody-claimed-it', '1')$$),
    ($$SELECT usher.once_many(NULL, '{}')$$),
    ($$SELECT usher.once_many('{a,b}', '{""}')$$),
    ($$SELECT usher.once_many('{a,NULL}', '{"",""}')$$),
    ($$SELECT usher.once_many('{a,b}', '{"",NULL}')$$),
    ($$SELECT usher.once_done_many('{a,b}', '{1}')$$),
    ($$SELECT usher.once_done_many('{a,b,a}', '{1,2,1}')$$),
    ($$SELECT usher.once_done_many('{once-1}', '{no json}')$$)
) AS c (call);
SELECT (usher.once(repeat('k', 255), decode(repeat('00', 64), 'hex'), '7 days')).fresh;
BEGIN READ ONLY;
SELECT pg_temp.try($$SELECT usher.once('once-1', '\x01')$$);
SELECT pg_temp.try($$SELECT usher.once_done('once-1', '1')$$);
ROLLBACK;
BEGIN;
SET LOCAL usher.max_event_size = '1kB';
SELECT fresh FROM usher.once('once-large', '');
SELECT pg_temp.try($$SELECT usher.once_done('once-large', to_jsonb(repeat('x', 2000)))$$);
ROLLBACK;

-- each tenant has its own keys
SELECT usher.create_tenant('once') > 1;
SET usher.tenant = 'once';
SELECT (usher.once('once-1', '\x02')).fresh;
SELECT usher.once_done('once-1', '"theirs"');
SELECT fresh, response FROM usher.once('once-1', '\x02');
RESET usher.tenant;
SELECT fresh, response FROM usher.once('once-1', '\x01');

-- writers may; readers may not, and nobody writes the table
CREATE ROLE once_writer IN ROLE usher_writer;
CREATE ROLE once_reader IN ROLE usher_reader;
CREATE ROLE once_admin IN ROLE usher_admin;
SELECT usher.grant_tenant('once', 'once_admin');
SET ROLE once_writer;
SELECT fresh, response FROM usher.once('once-1', '\x01');
SELECT pg_temp.try($$SELECT count(*) FROM usher.idempotency_keys$$);
SET ROLE once_reader;
SELECT pg_temp.try($$SELECT usher.once('once-1', '\x01')$$);
SET ROLE once_admin;
SELECT DISTINCT tenant_id FROM usher.idempotency_keys;
SELECT pg_temp.try($$DELETE FROM usher.idempotency_keys$$);
SELECT pg_temp.try($$SELECT count(*) FROM usher.idempotency_keys_1$$);
SELECT pg_temp.try($$SELECT usher.drop_expired_keys()$$);
RESET ROLE;
DROP ROLE once_writer;
DROP ROLE once_reader;
DROP OWNED BY once_admin;
SELECT usher.revoke_tenant('once', 'once_admin');
DROP ROLE once_admin;

-- committed without a response: in progress for a while, then the next one takes it over
SELECT (usher.once('once-5', '\x05', '2 days')).fresh;
SELECT regexp_replace(pg_temp.try($$SELECT usher.once('once-5', '\x05')$$), 'at [^\n]*', 'at TIME');
SELECT pg_temp.try($$SELECT usher.once('once-5', '\x06')$$);
SET usher.once_timeout = 0;
SELECT (usher.once('once-5', '\x05', '1 hour')).fresh AS taken_over;
RESET usher.once_timeout;
SELECT regexp_replace(pg_temp.try($$SELECT usher.once('once-5', '\x05')$$), 'at [^\n]*', 'at TIME');
-- the first one's answer, late, is as good as the second's; then there is one
SELECT usher.once_done('once-5', '1');
SELECT pg_temp.try($$SELECT usher.once_done('once-5', '2')$$);
SELECT fresh, response FROM usher.once('once-5', '\x05');
-- all its rows expire together
SELECT count(*), count(DISTINCT expires_at), max(expires_at) - min(created_at) = '2 days' FROM usher.idempotency_keys WHERE key = 'once-5';

-- expired is as if it had never been
SELECT (usher.once('once-6', '\x01', '1 microsecond')).fresh;
SELECT (usher.once('once-6', '\x02', '1 microsecond')).fresh AS again;
SELECT pg_temp.try($$SELECT usher.once_done('once-6', '1')$$);
SELECT (usher.once('once-6', '\x03')).fresh AS again;
SELECT usher.once_done('once-6', '3');
SELECT fresh, response FROM usher.once('once-6', '\x03');
-- but not for the transaction that has claimed it
BEGIN;
SELECT (usher.once('once-7', '', '1 microsecond')).fresh;
SELECT usher.once_done('once-7', '1');
SELECT fresh, response FROM usher.once('once-7', '');
COMMIT;
SELECT (usher.once('once-7', '')).fresh AS again;

-- a key is found wherever its day has put it
SELECT d, (usher.once('once-day-' || d, '', d * interval '1 day')).fresh FROM generate_series(1, 7) d;
SELECT count(usher.once_done('once-day-' || d, to_jsonb(d))) FROM generate_series(1, 7) d;
SELECT d, o.* FROM generate_series(1, 7) d, usher.once('once-day-' || d, '') o;
SELECT (usher.once('once-hour', '', '1 hour')).fresh;
SELECT usher.once_done('once-hour', '"h"');
SELECT fresh, response FROM usher.once('once-hour', '');
SELECT count(DISTINCT tableoid) FROM usher.idempotency_keys WHERE key LIKE 'once-day-%';
SELECT DISTINCT slot = floor(extract(epoch FROM expires_at) / 86400)::bigint % 10 FROM usher.idempotency_keys;

-- another key with the same hash does not count
INSERT INTO usher.idempotency_keys
    SELECT tenant_id, slot, false, key_hash, created_at + interval '1 second', expires_at, 'once-collision', '\xff'
    FROM usher.idempotency_keys WHERE key = 'once-1' AND tenant_id = 1;
SELECT fresh, response FROM usher.once('once-1', '\x01');

-- savepoints take claims and responses with them
BEGIN;
SAVEPOINT a;
SELECT (usher.once('once-8', '\x01')).fresh;
SELECT regexp_replace(pg_temp.try($$SELECT usher.once('once-8', '\x01')$$), 'at [^\n]*', 'at TIME') AS same_transaction;
SELECT pg_temp.try($$SELECT usher.once('once-8', '\x02')$$);
ROLLBACK TO a;
SELECT pg_temp.try($$SELECT usher.once_done('once-8', '1')$$);
SELECT (usher.once('once-8', '\x02')).fresh;
SAVEPOINT b;
SELECT usher.once_done('once-8', '"taken back"');
SELECT fresh, response FROM usher.once('once-8', '\x02');
SAVEPOINT c;
SELECT (usher.once('once-9', '')).fresh;
SELECT usher.once_done('once-9', '9');
RELEASE c;
ROLLBACK TO b;
SELECT usher.once_done('once-8', '"kept"');
SAVEPOINT d;
SELECT (usher.once('once-10', '')).fresh;
RELEASE d;
SAVEPOINT e;
SELECT usher.once_done('once-10', '10');
RELEASE e;
COMMIT;
SELECT fresh, response FROM usher.once('once-8', '\x02');
SELECT fresh, response FROM usher.once('once-9', '');
SELECT fresh, response FROM usher.once('once-10', '');
-- the work failed, its answer is kept
BEGIN;
SELECT (usher.once('once-11', '')).fresh;
SAVEPOINT work;
SELECT usher.append('once-11', 'order.placed', '{}', 99);
ROLLBACK TO work;
SELECT usher.once_done('once-11', '{"status": 409}');
COMMIT;
SELECT fresh, response FROM usher.once('once-11', '');

-- with events, and prepared: the claim is there before the commit is decided, and goes with it
BEGIN;
SELECT (usher.once('once-12', '')).fresh;
SELECT usher.append('once-12', 'order.placed', '{}', 0);
COMMIT;
SELECT pg_temp.try($$SELECT usher.once('once-12', '')$$) LIKE 'US027%' AS begun;
BEGIN;
SELECT (usher.once(k, '')).fresh FROM unnest(ARRAY['once-13', 'once-14']) k;
SELECT usher.once_done('once-13', '13');
PREPARE TRANSACTION 'once';
SET lock_timeout = '10ms';
SELECT pg_temp.try($$SELECT usher.once('once-13', '')$$);
SELECT n, state FROM usher.once_many('{once-13,once-14,once-1}', '{"","","\\x01"}', wait => false);
SELECT pg_temp.try($$SELECT usher.once('once-13', '', wait => false)$$);
SELECT fresh FROM usher.once('once-1', '\x01', wait => false);
RESET lock_timeout;
COMMIT PREPARED 'once';
SELECT n, state, response FROM usher.once_many('{once-13,once-14}', '{"",""}');
BEGIN;
SELECT (usher.once('once-15', '')).fresh;
PREPARE TRANSACTION 'once';
ROLLBACK PREPARED 'once';
SELECT (usher.once('once-15', '')).fresh AS again;

-- many at a time, in the order of the call
BEGIN;
SELECT * FROM usher.once_many('{m1,once-1,m2,once-1,m1,m1}', '{"\\x01","\\x01","","\\x02","\\x01","\\x02"}', '1 hour');
SELECT usher.once_done_many('{m2,m1}', '{"{\"n\": 2}",NULL}');
SELECT * FROM usher.once_many('{m1,m2}', '{"\\x01",""}');
COMMIT;
SELECT * FROM usher.once_many('{m1,m2}', '{"\\x01",""}');
SELECT * FROM usher.once_many('{}', '{}');
SELECT usher.once_done_many('{}', '{}');
-- more than one run of rows, in several tables
BEGIN;
SELECT state, count(*) FROM generate_series(1, 7) d,
    usher.once_many((SELECT array_agg('many-' || d || '-' || n) FROM generate_series(1, 150) n), array_fill(''::bytea, ARRAY[150]), d * interval '1 day') GROUP BY 1;
SELECT usher.once_done_many(array_agg('many-' || d || '-' || n), array_agg((d * 1000 + n)::text)) FROM generate_series(1, 7) d, generate_series(1, 150) n WHERE n % 3 > 0;
COMMIT;
SELECT state, count(*), count(*) FILTER (WHERE response = to_jsonb(d * 1000 + o.n)) FROM generate_series(1, 7) d,
    usher.once_many((SELECT array_agg('many-' || d || '-' || n ORDER BY n) FROM generate_series(1, 150) n), array_fill(''::bytea, ARRAY[150])) o GROUP BY 1 ORDER BY 1;
SELECT invariant, ok FROM usher.check() WHERE invariant LIKE '%idempotency%';

-- tables whose day is over are emptied, by the worker too; nothing that lives is touched
CREATE FUNCTION pg_temp.put_expired(days integer) RETURNS void LANGUAGE sql AS $$
    INSERT INTO usher.idempotency_keys
    SELECT 1, d % 10, true, 1, to_timestamp(d * 86400), to_timestamp(d * 86400 + 1), 'once-expired', '', '1'
    FROM (SELECT floor(extract(epoch FROM clock_timestamp() - days * interval '1 day' - interval '1 hour') / 86400)::bigint AS d) day $$;
SELECT count(*) AS living FROM usher.idempotency_keys \gset
SELECT pg_temp.put_expired(1);
SELECT count(*) FROM usher.idempotency_keys WHERE key = 'once-expired';
SELECT usher.drop_expired_keys();
SELECT count(*) FROM usher.idempotency_keys WHERE key = 'once-expired';
SELECT count(*) = :living FROM usher.idempotency_keys;
SELECT pg_temp.put_expired(1);
SELECT count(*) FROM usher.idempotency_keys WHERE key = 'once-expired';
SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'pg_usher housekeeping';
DO $$
BEGIN
    FOR i IN 1 .. 2000 LOOP
        EXIT WHEN NOT EXISTS (SELECT FROM usher.idempotency_keys WHERE key = 'once-expired');
        COMMIT;
        PERFORM pg_sleep(0.01);
    END LOOP;
END
$$;
SELECT count(*) FROM usher.idempotency_keys WHERE key = 'once-expired';
SELECT count(*) = :living FROM usher.idempotency_keys;
