-- Deleting a stream: final or reusable, what is hidden, what is not.
\getenv inputdir PG_ABS_SRCDIR
\set include :inputdir '/sql/include/try.sql'
\set ECHO none
\i :include
\set ECHO all
\pset format unaligned
\pset tuples_only on
SELECT usher.stable_position() AS start \gset

-- final
SELECT usher.append_batch('del-1', ARRAY[('a', '{}', NULL, NULL), ('b', '{}', NULL, NULL)]::usher.new_event[]);
SELECT usher.append('del-2', 'a');
SELECT usher.delete_stream('del-1', 2);
SELECT version, type, data FROM usher.read_stream('del-1');
SELECT version, type FROM usher.read_stream('del-1', 1, 10, true);
SELECT version, type FROM usher.read_stream('del-1', 2, 1);
SELECT type FROM usher.last_event('del-1');
SELECT usher.last_event('del-1', 'a') IS NULL AS hidden;
SELECT usher.stream_version('del-1');
SELECT stream, version, type FROM usher.read_category('del', :start);
-- the log keeps all of it
SELECT stream, version, type FROM usher.read(:start);
SELECT deleted, version FROM usher.streams WHERE stream = 'del-1';
SELECT call, pg_temp.try(call) FROM (VALUES
    ($$SELECT usher.append('del-1', 'c')$$),
    ($$SELECT usher.append('del-1', 'c', '{}', 0)$$),
    ($$SELECT usher.append('del-1', 'c', '{}', -1)$$),
    ($$SELECT usher.append('del-1', 'c', '{}', 3)$$),
    ($$SELECT usher.append_batch('del-1', ARRAY[('c', '{}', NULL, NULL)]::usher.new_event[])$$),
    ($$SELECT usher.append_many(ARRAY['del-2', 'del-1'], ARRAY['c', 'c'], ARRAY['{}', '{}'])$$),
    ($$SELECT usher.delete_stream('del-1')$$),
    ($$SELECT usher.delete_stream('del-1', 3, true)$$)
) AS c (call);
SELECT usher.stream_version('del-2');

-- reusable: it does not exist, and its versions go on
SELECT usher.delete_stream('del-2', NULL, true);
SELECT usher.stream_version('del-2');
SELECT deleted, version FROM usher.streams WHERE stream = 'del-2';
SELECT pg_temp.try($$SELECT usher.append('del-2', 'b', '{}', -1)$$);
SELECT pg_temp.try($$SELECT usher.append('del-2', 'b', '{}', 1)$$);
SELECT pg_temp.try($$SELECT usher.delete_stream('del-2')$$);
SELECT usher.append('del-2', 'b', '{}', 0);
SELECT pg_temp.try($$SELECT usher.append('del-2', 'c', '{}', 0)$$);
SELECT usher.append('del-2', 'c', '{}', -1);
SELECT usher.append('del-2', 'd', '{}', 4);
SELECT version, type FROM usher.read_stream('del-2');
SELECT stream, version, type FROM usher.read_category('del', :start) WHERE stream = 'del-2';
SELECT deleted, version FROM usher.streams WHERE stream = 'del-2';
-- again, and now for good; the last tombstone decides
SELECT usher.delete_stream('del-2', 5, true);
SELECT usher.append('del-2', 'e');
SELECT usher.delete_stream('del-2');
SELECT version, type, data FROM usher.read_stream('del-2');
SELECT pg_temp.try($$SELECT usher.append('del-2', 'f', '{}', 0)$$);
-- a reusable one without an expected version
SELECT usher.append('del-3', 'a');
SELECT usher.delete_stream('del-3', -1, true);
SELECT usher.append('del-3', 'b');
SELECT version, type FROM usher.read_stream('del-3');
-- by exact version of the tombstone
SELECT usher.append('del-4', 'a');
SELECT usher.delete_stream('del-4', 1, true);
SELECT usher.append('del-4', 'b', '{}', 2);
SELECT version, type FROM usher.read_stream('del-4');

-- in one transaction with appends
BEGIN;
SELECT usher.append('del-5', 'a');
SELECT usher.delete_stream('del-5', 1);
SELECT version, type FROM usher.read_stream('del-5');
SELECT pg_temp.try($$SELECT usher.append('del-5', 'b')$$);
ROLLBACK;
SELECT usher.stream_version('del-5');
BEGIN;
SELECT usher.append('del-5', 'a');
SELECT usher.delete_stream('del-5', 1, true);
SELECT usher.append('del-5', 'b', '{}', 0);
COMMIT;
SELECT version, type FROM usher.read_stream('del-5');

-- folding begins behind the tombstone, also with a snapshot from before
CREATE FUNCTION del_types(state jsonb, event usher.event) RETURNS jsonb LANGUAGE sql AS
$$ SELECT coalesce(state, '[]') || to_jsonb(event.type) $$;
SET usher.snapshot_every = 1;
SELECT usher.append('del-6', 'a'), usher.append('del-6', 'b');
SELECT usher.aggregate('del-6', 'del_types(jsonb, usher.event)');
SELECT version, state FROM usher.snapshots WHERE stream = 'del-6';
SELECT usher.delete_stream('del-6', NULL, true);
SELECT usher.append('del-6', 'c');
SELECT usher.aggregate('del-6', 'del_types(jsonb, usher.event)');
RESET usher.snapshot_every;
DROP FUNCTION del_types;

-- limits of a stream hide, and the log keeps
SELECT usher.append_batch('lim-1', array_agg(('n', jsonb_build_object('i', i), NULL, NULL)::usher.new_event))
FROM generate_series(1, 10) i;
SELECT usher.set_stream_limits('lim-1', max_count => 3);
SELECT string_agg(version::text, ' ') FROM usher.read_stream('lim-1');
SELECT string_agg(version::text, ' ') FROM usher.read_stream('lim-1', backwards => true);
SELECT string_agg(version::text, ' ') FROM usher.read_stream('lim-1', 2, 2);
SELECT string_agg(version::text, ' ') FROM usher.read_category('lim', :start);
SELECT count(*) FROM usher.read(:start) WHERE stream = 'lim-1';
-- pending events count
BEGIN;
SELECT usher.append('lim-1', 'n');
SELECT string_agg(version::text, ' ') FROM usher.read_stream('lim-1');
ROLLBACK;
SELECT usher.set_stream_limits('lim-1', truncate_before => 5);
SELECT string_agg(version::text, ' ') FROM usher.read_stream('lim-1');
SELECT string_agg(version::text, ' ') FROM usher.read_category('lim', :start);
SELECT usher.set_stream_limits('lim-1', truncate_before => 9, max_count => 5);
SELECT string_agg(version::text, ' ') FROM usher.read_stream('lim-1');
SELECT usher.set_stream_limits('lim-1', truncate_before => 100);
SELECT count(*) FROM usher.read_stream('lim-1');
SELECT usher.stream_version('lim-1'), usher.last_event('lim-1') IS NULL AS hidden;
SELECT usher.append('lim-1', 'n', '{}', 10);
-- by age
SELECT usher.set_stream_limits('lim-1', max_age => '0 s');
SELECT count(*) FROM usher.read_stream('lim-1');
SELECT count(*) FROM usher.read_category('lim', :start);
BEGIN;
SELECT usher.append('lim-1', 'n');
SELECT string_agg(version::text, ' ') FROM usher.read_stream('lim-1');
COMMIT;
SELECT usher.set_stream_limits('lim-1', max_age => '1 day');
SELECT count(*) FROM usher.read_stream('lim-1');
SELECT max_age, max_count, truncate_before, deleted FROM usher.streams WHERE stream = 'lim-1';
SELECT usher.set_stream_limits('lim-1');
SELECT count(*) FROM usher.read_stream('lim-1');
-- limits before the first event
SELECT usher.set_stream_limits('lim-2', max_count => 1);
SELECT usher.append('lim-2', 'a', '{}', 0), usher.append('lim-2', 'b', '{}', 1);
SELECT version, type FROM usher.read_stream('lim-2');
-- a deleted stream keeps its limits, and stays deleted when they change
SELECT usher.delete_stream('lim-2');
SELECT usher.set_stream_limits('lim-2', max_count => 5);
SELECT version, type FROM usher.read_stream('lim-2');
SELECT pg_temp.try($$SELECT usher.append('lim-2', 'c')$$);
SELECT invariant FROM usher.check() WHERE NOT ok;
