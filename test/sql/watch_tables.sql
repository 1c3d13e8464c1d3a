-- usher.watch on tables with partitions, children, foreign keys; and what ALTER TABLE does to a watch.
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
CREATE SCHEMA watched_tables;
SET search_path = watched_tables, public;

-- partitions: the events are those of the table, whatever partition the row is in and however it was reached
CREATE TABLE parted (id int, area text, v text, PRIMARY KEY (area, id)) PARTITION BY LIST (area);
CREATE TABLE parted_north PARTITION OF parted FOR VALUES IN ('north');
CREATE TABLE parted_south (v text, dropped int, id int NOT NULL, area text NOT NULL);
ALTER TABLE parted_south DROP dropped, ADD PRIMARY KEY (area, id);
ALTER TABLE parted ATTACH PARTITION parted_south FOR VALUES IN ('south');
SELECT usher.stable_position() AS start \gset
SELECT usher.watch('parted', key => '{id}', columns => '{id,area,v}', condition => $$v IS DISTINCT FROM 'quiet'$$);
CREATE TABLE parted_east PARTITION OF parted FOR VALUES IN ('east') PARTITION BY RANGE (id);
CREATE TABLE parted_east_1 PARTITION OF parted_east FOR VALUES FROM (0) TO (100);
INSERT INTO parted VALUES (1, 'north', 'n'), (2, 'south', 's'), (3, 'east', 'e'), (4, 'south', 'quiet');
INSERT INTO parted_south (id, area, v) VALUES (5, 'south', 'direct');
COPY parted (v, area, id) FROM stdin;
copied	east	6
\.
UPDATE parted SET v = v || '!' WHERE id IN (2, 3);
UPDATE parted SET area = 'south' WHERE id = 1;
INSERT INTO parted VALUES (5, 'south', 'again') ON CONFLICT (area, id) DO UPDATE SET v = EXCLUDED.v;
DELETE FROM parted_east_1 WHERE id = 6;
SELECT type, key, data FROM pg_temp.seen(:start) WHERE type LIKE 'watched_tables.parted%';
SELECT "table", operations, key, columns FROM usher.watches ORDER BY 1;
DELETE FROM parted WHERE v = 'quiet';
SELECT * FROM pg_temp.differs('parted', :start);
SELECT pg_temp.try($$SELECT usher.watch('watched_tables.parted_north')$$);
SELECT pg_temp.try($$SELECT usher.unwatch('watched_tables.parted_north')$$);
SELECT usher.record_read('parted_south', '5') IS NOT NULL;
SELECT type, key FROM usher.events WHERE type LIKE 'watched_tables.%.read';
TRUNCATE parted;
SELECT * FROM pg_temp.differs('parted', :start);
-- a partition that is detached is watched no more; one that is attached is
ALTER TABLE parted DETACH PARTITION parted_north;
INSERT INTO parted_north VALUES (9, 'north', 'alone');
SELECT usher.watch('parted_north');
SELECT pg_temp.try($$ALTER TABLE watched_tables.parted ATTACH PARTITION watched_tables.parted_north FOR VALUES IN ('north')$$);
SELECT usher.unwatch('parted');
ALTER TABLE parted ATTACH PARTITION parted_north FOR VALUES IN ('north');
SELECT pg_temp.try($$SELECT usher.watch('watched_tables.parted')$$);
SELECT usher.unwatch('parted_north');
SELECT usher.watch('parted');
SELECT usher.stable_position() AS start \gset
INSERT INTO parted VALUES (10, 'north', 'back');
SELECT type, key FROM usher.events WHERE position > :start;

-- children of plain inheritance are tables of their own
CREATE TABLE parent (id int PRIMARY KEY, v text);
CREATE TABLE child (extra int) INHERITS (parent);
SELECT usher.watch('parent');
SELECT usher.watch('child', key => '{id}');
SELECT usher.stable_position() AS start \gset
INSERT INTO parent VALUES (1, 'p');
INSERT INTO child VALUES (2, 'c', 20);
UPDATE parent SET v = upper(v);
DELETE FROM ONLY parent;
SELECT type, key, data -> 'new' FROM usher.events WHERE position > :start ORDER BY position;

-- cascades of foreign keys, deferred triggers, updates of updates
CREATE TABLE customers (id int PRIMARY KEY);
CREATE TABLE invoices (id int PRIMARY KEY, customer int REFERENCES customers ON DELETE CASCADE ON UPDATE CASCADE);
SELECT usher.watch('customers'), usher.watch('invoices');
INSERT INTO customers VALUES (1), (2);
INSERT INTO invoices VALUES (10, 1), (20, 2);
CREATE FUNCTION late() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN INSERT INTO watched_tables.invoices VALUES (NEW.id * 100, NULL); RETURN NULL; END$$;
CREATE CONSTRAINT TRIGGER late AFTER INSERT ON customers DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION late();
SELECT usher.stable_position() AS start \gset
UPDATE customers SET id = 3 WHERE id = 1;
DELETE FROM customers WHERE id = 2;
INSERT INTO customers VALUES (5);
SELECT type, key, data -> 'changed' FROM usher.events WHERE position > :start ORDER BY position;

-- ALTER TABLE
CREATE TABLE altered (id int PRIMARY KEY, a text, b text, c int);
SELECT usher.watch('altered', columns => '{id,a,b}', condition => $$a <> 'quiet'$$);
INSERT INTO altered VALUES (1, 'one', 'b', 3);
SELECT usher.stable_position() AS start \gset
ALTER TABLE altered RENAME a TO renamed;
ALTER TABLE altered ADD d int DEFAULT 7, DROP c;
UPDATE altered SET renamed = 'two';
UPDATE altered SET d = 8;
SELECT key, columns FROM usher.watches WHERE "table" = 'altered'::regclass;
SELECT pg_temp.try('ALTER TABLE watched_tables.altered DROP b');
SELECT pg_temp.try('ALTER TABLE watched_tables.altered ALTER b TYPE varchar(10)');
SELECT usher.watch('altered');
ALTER TABLE altered ALTER b TYPE int USING 5, ALTER id TYPE bigint;
UPDATE altered SET d = 9;
ALTER TABLE altered RENAME id TO number;
ALTER TABLE altered DROP renamed, ADD e jsonb DEFAULT '{"x": 1}';
UPDATE altered SET d = 10;
ALTER TABLE altered RENAME TO renamed;
UPDATE renamed SET d = 11;
CREATE SCHEMA watched_tables_2;
ALTER TABLE renamed SET SCHEMA watched_tables_2;
UPDATE watched_tables_2.renamed SET d = 12;
SELECT type, topic, key, data -> 'new' FROM usher.events WHERE position > :start ORDER BY position;
ALTER SCHEMA watched_tables_2 RENAME TO watched_tables_3;
UPDATE watched_tables_3.renamed SET d = 13;
SELECT type FROM usher.events WHERE position > :start ORDER BY position DESC LIMIT 1;
-- without its primary key it needs another key
ALTER TABLE watched_tables_3.renamed DROP CONSTRAINT altered_pkey;
SELECT pg_temp.try('UPDATE watched_tables_3.renamed SET d = 14');
ALTER TABLE watched_tables_3.renamed ADD PRIMARY KEY (d);
UPDATE watched_tables_3.renamed SET d = 15;
SELECT type, key FROM usher.events WHERE position > :start ORDER BY position DESC LIMIT 2;
-- triggers that are switched off say so
ALTER TABLE watched_tables_3.renamed DISABLE TRIGGER USER;
SELECT enabled FROM usher.watches WHERE "table" = 'watched_tables_3.renamed'::regclass;
SELECT usher.watch('watched_tables_3.renamed');
SELECT enabled FROM usher.watches WHERE "table" = 'watched_tables_3.renamed'::regclass;
-- in one transaction: watch, change, alter, change
BEGIN;
SELECT usher.stable_position() AS start \gset
CREATE TABLE fresh (id int PRIMARY KEY);
SELECT usher.watch('fresh');
INSERT INTO fresh VALUES (1);
ALTER TABLE fresh ADD x int;
INSERT INTO fresh VALUES (2, 2);
SAVEPOINT s;
ALTER TABLE fresh DROP x;
INSERT INTO fresh VALUES (3);
ROLLBACK TO s;
INSERT INTO fresh VALUES (4, 4);
SELECT type, data -> 'new' FROM usher.pending_events();
SELECT usher.unwatch('fresh');
INSERT INTO fresh VALUES (5);
DROP TABLE fresh;
COMMIT;
SELECT count(*) FROM usher.events WHERE position > :start;
SET client_min_messages = warning;
RESET search_path;
DROP SCHEMA watched_tables, watched_tables_3 CASCADE;
SELECT count(*) FROM usher.watches;
