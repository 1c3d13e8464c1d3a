-- usher.watch: what a change of a row becomes.
\getenv inputdir PG_ABS_SRCDIR
\set try :inputdir '/sql/include/try.sql'
\set watch :inputdir '/sql/include/watch.sql'
\set ECHO none
\i :try
\i :watch
\set ECHO all
\pset format unaligned
\pset tuples_only on
\pset null '(null)'
SET client_min_messages = warning;
CREATE SCHEMA watched;
SELECT usher.stable_position() AS start \gset

-- create, update, delete of a plain table
CREATE TABLE watched.orders (id int PRIMARY KEY, status text, total numeric(10, 2));
SELECT usher.watch('watched.orders');
INSERT INTO watched.orders VALUES (1, 'new', 9.5), (2, NULL, NULL);
UPDATE watched.orders SET status = 'paid' WHERE id = 1;
-- an update that changes nothing is no event
UPDATE watched.orders SET status = 'paid' WHERE id = 1;
-- another key: the end of one row, and the beginning of another
UPDATE watched.orders SET id = 3 WHERE id = 1;
DELETE FROM watched.orders WHERE id = 2;
SELECT * FROM pg_temp.seen(:start);
SELECT * FROM pg_temp.differs('watched.orders');
SELECT usher.stable_position() AS start \gset

-- a transaction, a savepoint, an error: as everything else in the log
BEGIN;
INSERT INTO watched.orders VALUES (10);
SAVEPOINT s;
INSERT INTO watched.orders VALUES (11);
ROLLBACK TO s;
UPDATE watched.orders SET total = 1 WHERE id = 10;
SELECT type, key FROM usher.pending_events() WHERE topic = 'watched.orders';
COMMIT;
BEGIN;
DELETE FROM watched.orders;
ROLLBACK;
SELECT pg_temp.try($$INSERT INTO watched.orders VALUES (12), (10)$$);
SELECT type, key FROM pg_temp.seen(:start);
SELECT usher.stable_position() AS start \gset

-- ON CONFLICT, MERGE, COPY, FROM and USING, a trigger that changes the row before and one that changes it after
INSERT INTO watched.orders VALUES (10, 'again', 2), (20, 'more', 3) ON CONFLICT (id) DO UPDATE SET status = EXCLUDED.status;
INSERT INTO watched.orders VALUES (10, 'never') ON CONFLICT DO NOTHING;
MERGE INTO watched.orders o USING (VALUES (10, 'merged'), (21, 'made'), (20, NULL)) v(id, status) ON o.id = v.id
    WHEN MATCHED AND v.status IS NULL THEN DELETE
    WHEN MATCHED THEN UPDATE SET status = v.status
    WHEN NOT MATCHED THEN INSERT VALUES (v.id, v.status);
COPY watched.orders FROM stdin;
30	copied	1.5
31	\N	\N
\.
UPDATE watched.orders o SET total = v.n FROM (VALUES (30, 7)) v(id, n) WHERE v.id = o.id;
DELETE FROM watched.orders o USING (VALUES (31)) v(id) WHERE v.id = o.id;
SELECT type, key, data -> 'changed' AS changed, data -> 'new' ->> 'status' AS status FROM pg_temp.seen(:start);
SELECT usher.stable_position() AS start \gset
CREATE FUNCTION watched.upper() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN NEW.status := upper(NEW.status); RETURN NEW; END$$;
CREATE FUNCTION watched.again() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN UPDATE watched.orders SET total = 99 WHERE id = NEW.id; RETURN NULL; END$$;
CREATE TRIGGER aa_upper BEFORE INSERT OR UPDATE ON watched.orders FOR EACH ROW EXECUTE FUNCTION watched.upper();
CREATE TRIGGER aa_again AFTER INSERT ON watched.orders FOR EACH ROW EXECUTE FUNCTION watched.again();
INSERT INTO watched.orders VALUES (40, 'quiet', 1);
SELECT type, data FROM pg_temp.seen(:start);
SELECT * FROM pg_temp.differs('watched.orders');
DROP TRIGGER aa_upper ON watched.orders;
DROP TRIGGER aa_again ON watched.orders;
-- TRUNCATE
TRUNCATE watched.orders;
INSERT INTO watched.orders VALUES (1, 'after');
SELECT * FROM pg_temp.differs('watched.orders');
SELECT type, key, data FROM pg_temp.seen(:start) OFFSET 2;
SELECT usher.stable_position() AS start \gset

-- who, in which session, instance and transaction; what the session's settings say
BEGIN;
SET LOCAL usher.correlation_id = 'c-1';
UPDATE watched.orders SET total = 2;
UPDATE watched.orders SET total = 3;
COMMIT;
SELECT e.metadata -> 'actor' = jsonb_build_object('id', current_user, 'type', 'role') AS actor, e.metadata ->> 'correlation_id' AS correlation,
    e.metadata ->> 'session_id' = (SELECT to_hex(trunc(extract(epoch FROM backend_start))::int) || '.' || to_hex(pid) FROM pg_stat_activity WHERE pid = pg_backend_pid()) AS session,
    e.metadata ->> 'instance_id' = coalesce(nullif(current_setting('cluster_name'), ''), (SELECT system_identifier::text FROM pg_control_system())) AS instance,
    count(*) OVER (PARTITION BY e.metadata ->> 'transaction_id') AS transaction, e.stream, e.version
FROM usher.events e WHERE e.topic = 'watched.orders' AND e.position > :start;
SET usher.actor = 'alice';
UPDATE watched.orders SET total = 4;
RESET usher.actor;
SELECT metadata -> 'actor' FROM usher.events WHERE topic = 'watched.orders' ORDER BY position DESC LIMIT 1;
SELECT usher.stable_position() AS start \gset

-- some operations, some columns, another key, a condition
SELECT usher.watch('watched.orders', '{update}');
INSERT INTO watched.orders VALUES (2, 'quiet');
UPDATE watched.orders SET status = 'seen' WHERE id = 2;
UPDATE watched.orders SET id = 4 WHERE id = 2;
DELETE FROM watched.orders WHERE id = 4;
SELECT type, key, data -> 'changed' FROM pg_temp.seen(:start);
SELECT usher.stable_position() AS start \gset
SELECT usher.watch('watched.orders', '{delete}', columns => '{status}');
INSERT INTO watched.orders VALUES (2, 'moves');
UPDATE watched.orders SET status = 'quiet' WHERE id = 2;
UPDATE watched.orders SET id = 4 WHERE id = 2;
DELETE FROM watched.orders WHERE id = 4;
SELECT * FROM pg_temp.seen(:start);
SELECT usher.stable_position() AS start \gset
SELECT usher.watch('watched.orders', key => '{status,id}', columns => '{id,total}', condition => 'total > 5');
INSERT INTO watched.orders VALUES (5, 'a', 5), (6, 'a', 6), (7, NULL, 7);
UPDATE watched.orders SET total = 8 WHERE id IN (5, 6, 7);
UPDATE watched.orders SET total = 1 WHERE id = 5;
UPDATE watched.orders SET status = 'b' WHERE id = 6;
DELETE FROM watched.orders WHERE id IN (5, 6, 7);
SELECT * FROM pg_temp.seen(:start);
SELECT usher.stable_position() AS start \gset
SELECT usher.watch('watched.orders', condition => $$NEW.status = 'paid' AND OLD.status IS DISTINCT FROM 'paid'$$);
INSERT INTO watched.orders VALUES (5, 'open'), (6, 'paid');
UPDATE watched.orders SET status = 'paid' WHERE id IN (5, 6);
UPDATE watched.orders SET total = 1 WHERE id IN (5, 6);
DELETE FROM watched.orders WHERE id IN (5, 6);
SELECT type, key FROM pg_temp.seen(:start);
SELECT usher.stable_position() AS start \gset

-- what it is asked for twice it does not do again; something else replaces it
SELECT xmin AS before FROM pg_trigger WHERE tgrelid = 'watched.orders'::regclass AND tgname = '00_usher_watch_create' \gset
SELECT usher.watch('watched.orders', condition => $$NEW.status = 'paid' AND OLD.status IS DISTINCT FROM 'paid'$$);
SELECT xmin = :before FROM pg_trigger WHERE tgrelid = 'watched.orders'::regclass AND tgname = '00_usher_watch_create';
SELECT usher.watch('watched.orders', '{truncate,create}', columns => '{}');
SELECT "table", operations, key, columns, enabled, cardinality(triggers) FROM usher.watches WHERE "table" = 'watched.orders'::regclass;
INSERT INTO watched.orders VALUES (5, 'x');
SELECT * FROM pg_temp.seen(:start);
SELECT usher.unwatch('watched.orders');
INSERT INTO watched.orders VALUES (6, 'x');
SELECT count(*) FROM pg_temp.seen(:start);
SELECT count(*) FROM usher.watches;
SELECT count(*) FROM pg_trigger WHERE tgrelid = 'watched.orders'::regclass;
SELECT usher.stable_position() AS start \gset

-- a transaction cannot have more changes than events
SELECT usher.watch('watched.orders');
SET usher.max_transaction_events = 10;
SELECT pg_temp.try('INSERT INTO watched.orders SELECT n FROM generate_series(100, 110) n RETURNING id');
SELECT pg_temp.try('INSERT INTO watched.orders SELECT n FROM generate_series(100, 109) n RETURNING id');
RESET usher.max_transaction_events;
SELECT usher.stable_position() AS start \gset
-- reads
SELECT usher.record_read('watched.orders', '5') = (SELECT id FROM usher.pending_events()) AS id;
SELECT usher.record_read('watched.orders', '{"id": "6"}') IS NOT NULL, usher.record_read('watched.orders', '[7]') IS NOT NULL;
SELECT * FROM pg_temp.seen(:start);
SELECT pg_temp.try(format('SELECT usher.record_read(''watched.orders'', %L)', k)) FROM unnest(ARRAY['{}', '{"nr": 1}', '[1, 2]', '"x"', NULL]) k;
SELECT usher.unwatch('watched.orders');
SELECT pg_temp.try($$SELECT usher.record_read('watched.orders', '5')$$);
DROP SCHEMA watched CASCADE;
SELECT count(*) FROM usher.watches;
