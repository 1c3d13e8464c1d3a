-- Retention: whole partitions go, survivors and holds stay, streams remember their versions. In a database of its own.
\pset format unaligned
\pset tuples_only on
\getenv inputdir PG_ABS_SRCDIR
\set include :inputdir '/sql/include/try.sql'
ALTER SYSTEM SET usher.partition_size = 1000;
SELECT pg_reload_conf();
CREATE DATABASE regress_usher_retention;
\c regress_usher_retention
SET client_min_messages = warning;
SHOW usher.partition_size;
CREATE EXTENSION pg_usher;
\set ECHO none
\i :include
\set ECHO all
CREATE PROCEDURE wait_until(condition text) LANGUAGE plpgsql AS $$
DECLARE
    met boolean;
BEGIN
    FOR i IN 1..2000 LOOP
        COMMIT;
        EXECUTE 'SELECT ' || condition INTO met;
        EXIT WHEN met;
        PERFORM pg_sleep(0.01);
    END LOOP;
    IF NOT met THEN
        RAISE EXCEPTION 'not met: %', condition;
    END IF;
END
$$;
-- Requests are carried out by the worker; wait until it has done what it can.
CREATE PROCEDURE settle() LANGUAGE plpgsql AS
$$ BEGIN CALL wait_until('NOT EXISTS (SELECT FROM usher.removal_requests)'); END $$;
CREATE FUNCTION fill(category text, n int) RETURNS bigint LANGUAGE sql AS
$$ SELECT usher.append_many(array_agg(category || '-' || i % 10), array_agg('filled'::text), array_agg(format('{"i": %s}', i)))
   FROM generate_series(1, n) i $$;

-- off by default
SELECT usher.apply_retention();
SELECT count(*) FROM usher.retention;

-- 4,500 events: 4 full partitions and a half
SELECT usher.append('gone-1', 'a'), usher.append('gone-1', 'b'), usher.append('gone-1', 'c');
SELECT usher.append('gone-2', 'a'), usher.delete_stream('gone-2');
SELECT usher.append('gone-3', 'a'), usher.delete_stream('gone-3', NULL, true);
SELECT usher.append('gone-4', 'a', '{}', 0, '{}', '00000000-0000-4000-8000-00000000aa01');
SELECT fill('drop', 742), fill('keep', 250);
SELECT fill('drop', 750), fill('keep', 250);
SELECT fill('drop', 750), fill('keep', 250);
SELECT fill('drop', 750), fill('keep', 250);
SELECT fill('drop', 500);
SELECT usher.stable_position();
SELECT from_position, to_position, kept_categories FROM usher.log_partitions WHERE from_position <= usher.stable_position();
-- some are ahead
CALL wait_until('count(*) >= 2 FROM usher.log_partitions WHERE from_position > usher.stable_position()');
SELECT count(*), min(version), max(version) FROM usher.read_stream('keep-1');
SELECT string_agg(version::text, ' ') FROM usher.read_stream('keep-1', 24, 4);
SELECT string_agg(version::text, ' ') FROM usher.read_stream('keep-1', max => 4, backwards => true);
SELECT count(*), max(position) FROM usher.read_category('keep', 0, 10000);

-- what nobody asked for does not go; a hold keeps what is behind it
SELECT usher.hold('reader', 1500);
SELECT usher.set_category_retention('keep');
SELECT usher.drop_partitions_before(3001);
CALL settle();
SELECT from_position, to_position, kept_categories FROM usher.log_partitions WHERE from_position <= usher.stable_position();
SELECT usher.oldest_position(), usher.oldest_position('keep'), usher.oldest_position('drop');
-- a cursor of what is gone is told so, and never jumps
SELECT call, pg_temp.try(call) FROM (VALUES
    ($$SELECT usher.read(0)$$),
    ($$SELECT usher.read(999)$$),
    ($$SELECT usher.read_page(999, 10, '*')$$),
    ($$SELECT usher.read_category('drop', 0)$$),
    ($$SELECT usher.read_category('unknown', 500)$$),
    ($$SELECT count(*) FROM usher.read(1000, 10)$$),
    ($$SELECT count(*) FROM usher.read_category('drop', 1000, 10)$$),
    ($$SELECT count(*) FROM usher.read_category('keep', 0, 10000)$$)
) AS c (call);
-- streams of the dropped part: no events, but their versions and ends are known
SELECT stream, version, deleted FROM usher.streams WHERE category = 'gone' ORDER BY stream;
SELECT count(*) FROM usher.read_stream('gone-1');
SELECT usher.stream_version('gone-1'), usher.last_event('gone-1') IS NULL;
SELECT usher.append('gone-1', 'd', '{}', 3);
SELECT version, type FROM usher.read_stream('gone-1');
SELECT version, type FROM usher.read_stream('gone-1', backwards => true);
SELECT pg_temp.try($$SELECT usher.append('gone-2', 'b')$$);
SELECT pg_temp.try($$SELECT usher.append('gone-2', 'b', '{}', 0)$$);
SELECT pg_temp.try($$SELECT usher.append('gone-3', 'b', '{}', -1)$$);
SELECT usher.append('gone-3', 'b', '{}', 0);
SELECT version, type FROM usher.read_stream('gone-3');
SELECT usher.event_by_id('00000000-0000-4000-8000-00000000aa01') IS NULL;
-- streams over the edge, and survivors
SELECT count(*), min(version), max(version) FROM usher.read_stream('drop-1');
SELECT count(*), min(version), max(version) FROM usher.read_stream('keep-1');
SELECT usher.append('drop-1', 'more', '{}', 350), usher.append('keep-1', 'more', '{}', 100);
SELECT position, version FROM usher.read_stream('keep-1', 24, 4);

-- the hold moves: the next ones go
SELECT usher.hold('reader', 3000);
SELECT usher.drop_partitions_before(3001);
CALL settle();
SELECT from_position, to_position, kept_categories FROM usher.log_partitions WHERE from_position <= usher.stable_position();
-- force passes the hold; the partition in use stays whatever is asked
SELECT usher.drop_partitions_before(1000000, true);
CALL settle();
SELECT from_position, to_position, kept_categories FROM usher.log_partitions WHERE from_position <= usher.stable_position();
SELECT usher.release('reader');
SELECT count(*), min(version), max(version) FROM usher.read_stream('keep-1');
SELECT count(*), min(position) FROM usher.read(4000, 10000);
SELECT count(*), count(DISTINCT position) FROM usher.read_category('keep', 0, 10000);
SELECT invariant, detail FROM usher.check() WHERE NOT ok;

-- asked for again, nothing happens
SELECT usher.drop_partitions_before(1000000);
CALL settle();
SELECT count(*) FROM usher.log_partitions WHERE from_position <= usher.stable_position();

-- a category whose time is over goes as well
SELECT usher.set_category_retention('keep', '1 microsecond');
SELECT usher.drop_partitions_before(2001);
CALL settle();
SELECT from_position, to_position, kept_categories FROM usher.log_partitions WHERE from_position <= usher.stable_position();
SELECT usher.oldest_position(), usher.oldest_position('keep');
DELETE FROM usher.category_retention;
SELECT usher.drop_partitions_before(4001);
CALL settle();
SELECT from_position, to_position, kept_categories FROM usher.log_partitions WHERE from_position <= usher.stable_position();
SELECT usher.oldest_position(), usher.oldest_position('keep');
SELECT usher.stream_version('keep-1'), count(*) FROM usher.read_stream('keep-1');
SELECT count(*) FROM usher.log_removals;

-- by size and age, with an archive hook that runs as its owner
CREATE ROLE regress_usher_archiver;
CREATE TABLE archived (from_position bigint, to_position bigint, events bigint, role text);
CREATE FUNCTION archive(from_position bigint, to_position bigint) RETURNS void LANGUAGE sql AS
$$ INSERT INTO public.archived SELECT archive.from_position, archive.to_position, count(*), current_user
   FROM usher.log l WHERE l.position BETWEEN archive.from_position AND archive.to_position $$;
GRANT INSERT ON archived TO regress_usher_archiver;
GRANT usher_reader TO regress_usher_archiver;
GRANT CREATE ON SCHEMA public TO regress_usher_archiver;
ALTER FUNCTION archive OWNER TO regress_usher_archiver;
SELECT fill('size', 2000);
SELECT usher.set_retention(max_bytes => 1000000000000, archive => 'archive(bigint, bigint)');
SELECT usher.apply_retention();
SELECT usher.set_retention('1 hour', NULL, 'archive(bigint, bigint)');
SELECT usher.apply_retention();
SELECT usher.set_retention(NULL, 1, 'archive(bigint, bigint)');
SELECT usher.apply_retention() > 6000;
CALL settle();
SELECT * FROM archived ORDER BY 1;
SELECT from_position, to_position FROM usher.log_partitions WHERE from_position <= usher.stable_position();

-- a hook that fails keeps the partition; once it is mended the worker goes on by itself
CREATE SEQUENCE attempts;
GRANT USAGE ON SEQUENCE attempts TO regress_usher_archiver;
CREATE OR REPLACE FUNCTION archive(from_position bigint, to_position bigint) RETURNS void LANGUAGE plpgsql AS
$$ BEGIN PERFORM nextval('public.attempts'); RAISE EXCEPTION 'the archive is full'; END $$;
SELECT fill('size', 1000);
SELECT usher.set_retention('1 microsecond', NULL, 'archive(bigint, bigint)');
SELECT usher.apply_retention();
CALL wait_until('last_value > 1 FROM attempts');
SELECT count(*) FROM usher.removal_requests;
SELECT from_position, to_position FROM usher.log_partitions WHERE from_position <= usher.stable_position();
-- appends go on meanwhile
SELECT usher.append('size-1', 'meanwhile') > 0;
CREATE OR REPLACE FUNCTION archive(from_position bigint, to_position bigint) RETURNS void LANGUAGE sql AS
$$ INSERT INTO public.archived VALUES (from_position, to_position) $$;
CALL settle();
SELECT * FROM archived ORDER BY 1;
SELECT from_position, to_position FROM usher.log_partitions WHERE from_position <= usher.stable_position();
-- a request that is rolled back is none
BEGIN;
SELECT usher.drop_partitions_before(1000000);
ROLLBACK;
SELECT count(*) FROM usher.removal_requests;

-- a transaction of many partitions
SELECT fill('wide', 12345);
SELECT count(*), min(version), max(version), count(DISTINCT position) FROM usher.read_stream('wide-3', 1, 10000);
SELECT bool_and(version = n) FROM (SELECT version, row_number() OVER () AS n FROM usher.read_stream('wide-3', 1, 10000)) e;
SELECT bool_and(version = 1236 - n) FROM (SELECT version, row_number() OVER () AS n FROM usher.read_stream('wide-3', 1, 10000, true)) e;
SELECT version FROM usher.read_stream('wide-3', 600, 3);
SELECT version FROM usher.read_stream('wide-3', backwards => true, before => 600, max => 3);
SELECT usher.stream_version('wide-3');
SELECT count(*), count(DISTINCT position) FROM usher.read_category('wide', usher.oldest_position() - 1, 100000);
SELECT invariant, detail FROM usher.check() WHERE NOT ok;

-- a category that is kept loses nothing where it has nothing
SELECT usher.set_retention();
SELECT usher.set_category_retention('left'), usher.set_category_retention('right');
SELECT fill('left', 1500), fill('other', 1000), fill('right', 1500), fill('other', 3000);
SELECT usher.drop_partitions_before(1000000);
CALL settle();
SELECT count(*), min(version), max(version) FROM usher.read_category('left', usher.oldest_position('left') - 1, 100000);
SELECT count(*), min(version), max(version) FROM usher.read_category('right', usher.oldest_position('right') - 1, 100000);
SELECT usher.oldest_position('left') < usher.oldest_position('other');
SELECT invariant, detail FROM usher.check() WHERE NOT ok;

-- nobody changes the log, its owner neither
SELECT pg_temp.try('TRUNCATE usher.log');
SELECT pg_temp.try('DELETE FROM usher.log');
SELECT pg_temp.try('UPDATE usher.log SET version = version + 1');

\c regress
ALTER SYSTEM RESET usher.partition_size;
SELECT pg_reload_conf();
DROP DATABASE regress_usher_retention;
DROP ROLE regress_usher_archiver;
