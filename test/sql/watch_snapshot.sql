-- Rows that exist already: at once with usher.watch, in batches with usher.watch_snapshot.
\getenv inputdir PG_ABS_SRCDIR
\set try :inputdir '/sql/include/try.sql'
\set watch :inputdir '/sql/include/watch.sql'
\set ECHO none
\i :try
\i :watch
\set ECHO all
\pset format unaligned
\pset tuples_only on
SET client_min_messages = warning;
CREATE SCHEMA watched_snapshot;
CREATE TABLE watched_snapshot.t (id int PRIMARY KEY, v text, n int);
INSERT INTO watched_snapshot.t SELECT n, 'row ' || n, n % 7 FROM generate_series(1, 3000) n;
DELETE FROM watched_snapshot.t WHERE id % 10 = 0;
UPDATE watched_snapshot.t SET v = 'changed' WHERE id % 100 = 1;
SELECT usher.stable_position() AS start \gset
-- rows of the transaction itself are there, before and after it
BEGIN;
INSERT INTO watched_snapshot.t VALUES (5001, 'before', 0);
SELECT usher.watch('watched_snapshot.t', snapshot => true);
INSERT INTO watched_snapshot.t VALUES (5002, 'after', 0);
COMMIT;
UPDATE watched_snapshot.t SET n = -1 WHERE id = 1;
DELETE FROM watched_snapshot.t WHERE id = 2;
SELECT type, count(*), min(position) - :start AS first FROM usher.events WHERE position > :start GROUP BY type ORDER BY 3;
SELECT type, key, data FROM usher.events WHERE topic = 'watched_snapshot.t' AND key = '1' ORDER BY position;
SELECT * FROM pg_temp.differs('watched_snapshot.t', :start);
-- again, with a watch that has changed; in batches; with a condition and some columns
SELECT usher.stable_position() AS start \gset
SELECT usher.watch('watched_snapshot.t', snapshot => true);
SELECT * FROM pg_temp.differs('watched_snapshot.t', :start);
SELECT usher.stable_position() AS start \gset
CALL usher.watch_snapshot('watched_snapshot.t', 100);
SELECT count(*), count(DISTINCT metadata ->> 'transaction_id') = 28 FROM usher.events WHERE position > :start;
SELECT * FROM pg_temp.differs('watched_snapshot.t', :start);
SELECT usher.watch('watched_snapshot.t', key => '{v,id}', columns => '{n}', condition => $$n = 3 AND NEW.id < 50 AND OLD.id IS NULL$$);
SELECT usher.stable_position() AS start \gset
CALL usher.watch_snapshot('watched_snapshot.t');
SELECT type, key, data -> 'new' FROM usher.events WHERE position > :start ORDER BY position;
SELECT usher.stable_position() AS start \gset
SELECT usher.watch('watched_snapshot.t', key => '{v,id}', columns => '{n}', condition => $$n = 3 AND NEW.id < 50 AND OLD.id IS NULL$$, snapshot => true);
SELECT type, key, data -> 'new' FROM usher.events WHERE position > :start ORDER BY position;
-- one row after the other, from wherever a batch goes on
SELECT usher.watch('watched_snapshot.t');
BEGIN;
SELECT rows, next_partition = 'watched_snapshot.t'::regclass, next_row FROM usher.watch_snapshot_batch('watched_snapshot.t', 0, 0, 3);
SELECT rows, next_row FROM usher.watch_snapshot_batch('watched_snapshot.t', 'watched_snapshot.t'::regclass, 5, 3);
SELECT key FROM usher.pending_events();
SELECT rows, next_row FROM usher.watch_snapshot_batch('watched_snapshot.t', 'watched_snapshot.t'::regclass, 1000000::bigint << 16, 1);
SELECT rows, next_row FROM usher.watch_snapshot_batch('watched_snapshot.t', 4294967295, 7, 1);
ROLLBACK;
SELECT pg_temp.try(format($$SELECT usher.watch_snapshot_batch('watched_snapshot.t', 0, %s)$$, a)) FROM unnest(ARRAY['-1, 1', '9223372036854775807, 1', '0, 0', '0, 100001']) a;
-- partitions, a moved partition column, an empty table
CREATE TABLE watched_snapshot.parted (id int, area text, v text, PRIMARY KEY (id, area)) PARTITION BY LIST (area);
CREATE TABLE watched_snapshot.parted_a PARTITION OF watched_snapshot.parted FOR VALUES IN ('a');
CREATE TABLE watched_snapshot.parted_b (v text, area text NOT NULL, x int, id int NOT NULL);
ALTER TABLE watched_snapshot.parted_b DROP x;
ALTER TABLE watched_snapshot.parted ATTACH PARTITION watched_snapshot.parted_b FOR VALUES IN ('b');
CREATE TABLE watched_snapshot.parted_c PARTITION OF watched_snapshot.parted FOR VALUES IN ('c') PARTITION BY RANGE (id);
CREATE TABLE watched_snapshot.parted_c_1 PARTITION OF watched_snapshot.parted_c FOR VALUES FROM (0) TO (1000);
INSERT INTO watched_snapshot.parted SELECT n, chr(97 + n % 3), 'v' FROM generate_series(1, 500) n;
SELECT usher.stable_position() AS start \gset
SELECT usher.watch('watched_snapshot.parted', snapshot => true);
SELECT * FROM pg_temp.differs('watched_snapshot.parted', :start);
SELECT usher.stable_position() AS start \gset
CALL usher.watch_snapshot('watched_snapshot.parted', 7);
SELECT type, count(*) FROM usher.events WHERE position > :start GROUP BY type;
SELECT count(*) FROM pg_temp.differs('watched_snapshot.parted', :start);
CREATE TABLE watched_snapshot.empty (id int PRIMARY KEY);
SELECT usher.watch('watched_snapshot.empty', snapshot => true);
CALL usher.watch_snapshot('watched_snapshot.empty');
-- more rows than a transaction may have events
SET usher.max_transaction_events = 1000;
SELECT pg_temp.try($$SELECT usher.watch('watched_snapshot.t', '{create,delete}', snapshot => true)$$);
SELECT operations FROM usher.watches WHERE "table" = 'watched_snapshot.t'::regclass;
RESET usher.max_transaction_events;
-- a transaction with an older snapshot
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT count(*) FROM watched_snapshot.t;
SELECT usher.watch('watched_snapshot.t', '{create,delete}', snapshot => true);
COMMIT;
DROP SCHEMA watched_snapshot CASCADE;
