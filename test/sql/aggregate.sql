-- Folding a stream, with snapshots that are used only while they are right.
\getenv inputdir PG_ABS_SRCDIR
\set include :inputdir '/sql/include/try.sql'
\set ECHO none
\i :include
\set ECHO all
\pset format unaligned
\pset tuples_only on
CREATE SEQUENCE agg_calls;
CREATE FUNCTION agg_sum(state jsonb, event usher.event) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    PERFORM nextval('agg_calls');
    RETURN jsonb_build_object('sum', coalesce((state->>'sum')::int, 0) + (event.data->>'i')::int, 'last', event.version);
END
$$;
-- The fold, and how many events it looked at.
CREATE FUNCTION pg_temp.fold(stream text, initial jsonb DEFAULT NULL, until_version bigint DEFAULT NULL) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    state jsonb;
BEGIN
    PERFORM setval('agg_calls', 1, false);
    state := usher.aggregate(stream, 'agg_sum(jsonb, usher.event)', initial, until_version);
    RETURN coalesce(state::text, 'null') || ', calls: ' || nextval('agg_calls') - 1;
END
$$;
SET usher.snapshot_every = 10;
SELECT usher.append_batch('agg-1', array_agg(('n', jsonb_build_object('i', i), NULL, NULL)::usher.new_event)) FROM generate_series(1, 25) i;

-- the first fold keeps a snapshot, the next starts from it
SELECT pg_temp.fold('agg-1');
SELECT stream, reducer, version, state FROM usher.snapshots;
SELECT pg_temp.fold('agg-1');
SELECT usher.append('agg-1', 'n', '{"i": 100}');
SELECT pg_temp.fold('agg-1');
SELECT version FROM usher.snapshots;
SELECT usher.append_batch('agg-1', array_agg(('n', '{"i": 1}', NULL, NULL)::usher.new_event)) FROM generate_series(1, 9) i;
SELECT pg_temp.fold('agg-1');
SELECT version, state FROM usher.snapshots;
SELECT pg_temp.fold('agg-1');

-- up to a version: before the snapshot, at it, behind it
SELECT pg_temp.fold('agg-1', NULL, 0);
SELECT pg_temp.fold('agg-1', NULL, 1);
SELECT pg_temp.fold('agg-1', NULL, 12);
SELECT pg_temp.fold('agg-1', NULL, 35);
SELECT pg_temp.fold('agg-1', NULL, 1000);
-- the older fold has not displaced the newer snapshot
SELECT version, state FROM usher.snapshots;

-- another initial state is another fold
SELECT pg_temp.fold('agg-1', '{"sum": 1000}');
SELECT version, state FROM usher.snapshots;
SELECT pg_temp.fold('agg-1', '{"sum": 1000}');
SELECT pg_temp.fold('agg-1');

-- a changed reducer makes the snapshot useless, and gets its own
CREATE OR REPLACE FUNCTION agg_sum(state jsonb, event usher.event) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    PERFORM nextval('agg_calls');
    RETURN jsonb_build_object('sum', coalesce((state->>'sum')::int, 0) - (event.data->>'i')::int, 'last', event.version);
END
$$;
SELECT pg_temp.fold('agg-1');
SELECT version, state FROM usher.snapshots;
SELECT pg_temp.fold('agg-1');

-- pending events are folded, but never kept
BEGIN;
SELECT usher.append_batch('agg-1', array_agg(('n', '{"i": 1}', NULL, NULL)::usher.new_event)) FROM generate_series(1, 20) i;
SELECT pg_temp.fold('agg-1');
SELECT version FROM usher.snapshots;
ROLLBACK;
SELECT pg_temp.fold('agg-1');
BEGIN;
SELECT usher.append_batch('agg-2', array_agg(('n', '{"i": 2}', NULL, NULL)::usher.new_event)) FROM generate_series(1, 20) i;
SELECT pg_temp.fold('agg-2');
COMMIT;
SELECT count(*) FROM usher.snapshots WHERE stream = 'agg-2';
SELECT pg_temp.fold('agg-2');
SELECT version FROM usher.snapshots WHERE stream = 'agg-2';

-- a snapshot taken in a transaction that rolls back is gone; none is taken when reading only
SELECT usher.append_batch('agg-3', array_agg(('n', '{"i": 2}', NULL, NULL)::usher.new_event)) FROM generate_series(1, 20) i;
BEGIN;
SELECT usher.aggregate('agg-3', 'agg_sum(jsonb, usher.event)');
ROLLBACK;
CREATE FUNCTION agg_count(state jsonb, event usher.event) RETURNS jsonb LANGUAGE sql IMMUTABLE AS
$$ SELECT to_jsonb(coalesce((state #>> '{}')::int, 0) + 1) $$;
BEGIN READ ONLY;
SELECT usher.aggregate('agg-3', 'agg_count(jsonb, usher.event)');
COMMIT;
SET usher.snapshot_every = 0;
SELECT usher.aggregate('agg-3', 'agg_count(jsonb, usher.event)');
SET usher.snapshot_every = 10;
SELECT count(*) FROM usher.snapshots WHERE stream = 'agg-3';
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT usher.aggregate('agg-3', 'agg_count(jsonb, usher.event)');
SELECT usher.aggregate('agg-3', 'agg_count(jsonb, usher.event)');
COMMIT;
SELECT reducer, version FROM usher.snapshots WHERE stream = 'agg-3';

-- one snapshot a reducer and a tenant
SELECT usher.create_tenant('agg') > 1;
SET usher.tenant = 'agg';
SELECT usher.append_batch('agg-1', array_agg(('n', '{"i": 5}', NULL, NULL)::usher.new_event)) FROM generate_series(1, 10) i;
SELECT usher.aggregate('agg-1', 'agg_count(jsonb, usher.event)'), pg_temp.fold('agg-1');
RESET usher.tenant;
SELECT usher.aggregate('agg-1', 'agg_count(jsonb, usher.event)'), pg_temp.fold('agg-1');
SELECT usher.tenant_name(tenant_id), reducer, version, state FROM usher.snapshots WHERE stream = 'agg-1' ORDER BY 1, 2;

-- null states, strict reducers, reducers that fail, streams that do not exist
SELECT usher.aggregate('agg-none', 'agg_count(jsonb, usher.event)') IS NULL;
SELECT usher.aggregate('agg-none', 'agg_count(jsonb, usher.event)', '7');
CREATE FUNCTION agg_null(state jsonb, event usher.event) RETURNS jsonb LANGUAGE sql AS 'SELECT NULL::jsonb';
SELECT usher.aggregate('agg-1', 'agg_null(jsonb, usher.event)', '{}') IS NULL;
SELECT version, state FROM usher.snapshots WHERE reducer LIKE '%agg_null%';
SELECT usher.aggregate('agg-1', 'agg_null(jsonb, usher.event)', '{}') IS NULL;
CREATE FUNCTION agg_strict(state jsonb, event usher.event) RETURNS jsonb LANGUAGE sql STRICT AS
$$ SELECT to_jsonb((state #>> '{}')::int + 1) $$;
SELECT usher.aggregate('agg-1', 'agg_strict(jsonb, usher.event)') IS NULL, usher.aggregate('agg-1', 'agg_strict(jsonb, usher.event)', '0');
CREATE FUNCTION agg_fails(state jsonb, event usher.event) RETURNS jsonb LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'at %', event.version USING ERRCODE = 'ZZ001'; END $$;
SELECT pg_temp.try($$SELECT usher.aggregate('agg-1', 'agg_fails(jsonb, usher.event)')$$);
-- a state that grows beyond what fits in a page, and a reducer that reads the log itself
CREATE FUNCTION agg_grow(state jsonb, event usher.event) RETURNS jsonb LANGUAGE sql AS
$$ SELECT coalesce(state, '[]') || jsonb_build_array(repeat(md5(event.version::text), 100)) $$;
SELECT jsonb_array_length(usher.aggregate('agg-1', 'agg_grow(jsonb, usher.event)')),
       jsonb_array_length(usher.aggregate('agg-1', 'agg_grow(jsonb, usher.event)')),
       length((usher.aggregate('agg-1', 'agg_grow(jsonb, usher.event)'))->>34);
CREATE FUNCTION agg_nested(state jsonb, event usher.event) RETURNS jsonb LANGUAGE sql AS
$$ SELECT usher.aggregate('agg-2', 'agg_count(jsonb, usher.event)') $$;
SELECT usher.aggregate('agg-1', 'agg_nested(jsonb, usher.event)');
-- a reducer must be the caller's to execute
CREATE ROLE regress_usher_fold IN ROLE usher_reader;
REVOKE EXECUTE ON FUNCTION agg_count FROM PUBLIC;
SET ROLE regress_usher_fold;
SELECT pg_temp.try($$SELECT usher.aggregate('agg-1', 'agg_count(jsonb, usher.event)')$$);
-- a reader has no right to usher.snapshots, and needs none
SELECT usher.aggregate('agg-3', 'agg_grow(jsonb, usher.event)') IS NOT NULL;
SELECT pg_temp.try('SELECT count(*) FROM usher.snapshots');
RESET ROLE;
DROP ROLE regress_usher_fold;
RESET usher.snapshot_every;
DROP FUNCTION agg_sum, agg_count, agg_null, agg_strict, agg_fails, agg_grow, agg_nested;
DROP SEQUENCE agg_calls;
