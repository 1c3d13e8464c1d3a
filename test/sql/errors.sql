-- Every refusal has its own SQLSTATE, says what is wrong, and hints where the user can act.
\getenv inputdir PG_ABS_SRCDIR
\set include :inputdir '/sql/include/try.sql'
\set ECHO none
\i :include
\set ECHO all
\pset format unaligned
\pset tuples_only on
\pset null '(null)'
SELECT usher.append('errors-1', 'errors.made');
CREATE FUNCTION errors_reducer(jsonb, usher.event) RETURNS jsonb LANGUAGE sql AS
$$ SELECT jsonb_build_object('n', coalesce(($1->>'n')::int, 0) + 1) $$;
CREATE FUNCTION errors_handler(usher.event) RETURNS void LANGUAGE sql AS '';

-- names
SELECT call, pg_temp.try(call) FROM (VALUES
    ($$SELECT usher.append('', 'a')$$),
    ($$SELECT usher.append(NULL, 'a')$$),
    ($$SELECT usher.append('errors-1', '')$$),
    ($$SELECT usher.append('errors-1', NULL)$$),
    ($$SELECT usher.append(E'a\nb', 'a')$$),
    ($$SELECT usher.append(E'a\x7f', 'a')$$),
    ($$SELECT usher.append('errors-1', E'\ta')$$),
    ($$SELECT usher.append(repeat('s', 256), 'a')$$),
    ($$SELECT usher.append(repeat('é', 128), 'a')$$),
    ($$SELECT usher.append('errors-1', repeat('t', 256))$$),
    ($$SELECT usher.append('errors-1', 'usher.stream_deleted')$$),
    ($$SELECT usher.append('errors-1', 'usher.')$$),
    ($$SELECT usher.append_batch('', ARRAY[('a', '{}', NULL, NULL)]::usher.new_event[])$$),
    ($$SELECT usher.append_batch('errors-1', ARRAY[('', '{}', NULL, NULL)]::usher.new_event[])$$),
    ($$SELECT usher.append_batch('errors-1', ARRAY[(NULL, '{}', NULL, NULL)]::usher.new_event[])$$),
    ($$SELECT usher.append_batch('errors-1', ARRAY[('usher.a', '{}', NULL, NULL)]::usher.new_event[])$$),
    ($$SELECT usher.append_many(ARRAY['errors-1', ''], ARRAY['a', 'a'], ARRAY['{}', '{}'])$$),
    ($$SELECT usher.append_many(ARRAY['errors-1', NULL], ARRAY['a', 'a'], ARRAY['{}', '{}'])$$),
    ($$SELECT usher.append_many(ARRAY['errors-1'], ARRAY[''], ARRAY['{}'])$$),
    ($$SELECT usher.append_many(ARRAY['errors-1'], ARRAY[NULL], ARRAY['{}'])$$),
    ($$SELECT usher.append_many(ARRAY['errors-1'], ARRAY['usher.a'], ARRAY['{}'])$$),
    ($$SELECT usher.publish('', 'k', 'a')$$),
    ($$SELECT usher.publish('t', '', 'a')$$),
    ($$SELECT usher.publish('t', 'k', '')$$),
    ($$SELECT usher.publish(NULL, 'k', 'a')$$),
    ($$SELECT usher.publish('t', NULL, 'a')$$),
    ($$SELECT usher.publish('t', 'k', 'usher.a')$$),
    ($$SELECT usher.set_stream_limits(NULL)$$),
    ($$SELECT usher.set_stream_limits('', max_count => 1)$$),
    ($$SELECT usher.set_stream_limits(E'a\nb', max_count => 1)$$),
    ($$SELECT usher.set_category_retention(repeat('c', 256), '1 day')$$),
    ($$SELECT usher.set_category_retention(NULL, '1 day')$$),
    ($$SELECT usher.hold('', 1)$$),
    ($$SELECT usher.project('', '*', 'errors_handler(usher.event)')$$),
    ($$SELECT usher.project('p', E'a.\x7f', 'errors_handler(usher.event)')$$),
    ($$SELECT usher.matches('', 'a')$$),
    ($$SELECT usher.matches(repeat('**.a.', 52), 'a')$$),
    ($$SELECT usher.matches('**.a', repeat('a.', 128))$$),
    ($$SELECT usher.delete_stream('')$$),
    ($$SELECT usher.delete_stream(NULL)$$),
    ($$SELECT usher.read_stream('')$$),
    ($$SELECT usher.read_stream(NULL)$$),
    ($$SELECT usher.read_category(repeat('c', 256))$$),
    ($$SELECT usher.read(0, 1, '')$$),
    ($$SELECT usher.stream_version('')$$),
    ($$SELECT usher.last_event(E'\x01')$$),
    ($$SELECT usher.aggregate('', 'errors_reducer(jsonb, usher.event)')$$),
    ($$SELECT usher.wait(0, '0', '')$$)
) AS c (call);

-- 255 bytes are enough for anybody, and are kept whole
SELECT usher.append(repeat('s', 255), repeat('t', 255));
SELECT length(stream), length(type) FROM usher.last_event(repeat('s', 255));
SELECT usher.append('errors "quoted" -- é 漢字', 'errors.usher.made', '{"ключ": "значение"}');
SELECT version, type, data FROM usher.read_stream('errors "quoted" -- é 漢字');

-- data and metadata
SELECT call, pg_temp.try(call) FROM (VALUES
    ($$SELECT usher.append('errors-1', 'a', NULL)$$),
    ($$SELECT usher.append('errors-1', 'a', 'null')$$),
    ($$SELECT usher.append('errors-1', 'a', '[1, 2]')$$),
    ($$SELECT usher.append('errors-1', 'a', '"text"')$$),
    ($$SELECT usher.append('errors-1', 'a', '1')$$),
    ($$SELECT usher.append('errors-1', 'a', '{', 1)$$),
    ($$SELECT usher.append('errors-1', 'a', '{}', NULL, '[]')$$),
    ($$SELECT usher.append_batch('errors-1', ARRAY[('a', '[]', NULL, NULL)]::usher.new_event[])$$),
    ($$SELECT usher.append_batch('errors-1', ARRAY[('a', '{}', '1', NULL)]::usher.new_event[])$$),
    ($$SELECT usher.append_many(ARRAY['errors-1'], ARRAY['a'], ARRAY['[]'])$$),
    ($$SELECT usher.append_many(ARRAY['errors-1'], ARRAY['a'], ARRAY[NULL])$$),
    ($$SELECT usher.append_many(ARRAY['errors-1'], ARRAY['a'], ARRAY['{}'], ARRAY['true'])$$),
    ($$SELECT usher.append_many(ARRAY['errors-1'], ARRAY['a'], ARRAY['{"a": }'])$$),
    ($$SELECT usher.append_many(ARRAY['errors-1'], ARRAY['a'], ARRAY['{}'], ARRAY['{"a": "\u0000"}'])$$),
    ($$SELECT usher.publish('t', 'k', 'a', NULL)$$),
    ($$SELECT usher.publish('t', 'k', 'a', '3')$$),
    ($$SELECT usher.publish('t', 'k', 'a', '{}', '"m"')$$)
) AS c (call);

-- size
SET usher.max_event_size = '2kB';
SELECT regexp_replace(pg_temp.try(call), '\d+ bytes', 'N bytes') FROM (VALUES
    ($$SELECT usher.append('errors-1', 'a', jsonb_build_object('x', repeat('x', 3000)))$$),
    ($$SELECT usher.append('errors-1', 'a', '{}', NULL, jsonb_build_object('x', repeat('x', 3000)))$$),
    ($$SELECT usher.append_batch('errors-1', ARRAY[('a', jsonb_build_object('x', repeat('x', 3000)), NULL, NULL)]::usher.new_event[])$$),
    ($$SELECT usher.append_many(ARRAY['errors-1'], ARRAY['a'], ARRAY[jsonb_build_object('x', repeat('x', 3000))::text])$$),
    ($$SELECT usher.publish('t', 'k', 'a', jsonb_build_object('x', repeat('x', 3000)))$$)
) AS c (call);
SELECT usher.append('errors-1', 'a', jsonb_build_object('x', repeat('x', 1900)));
-- what the session adds counts as well
SET usher.source = 'a source';
SELECT pg_temp.try(format($$SELECT usher.append('errors-1', 'a', '{}', NULL, '{"x": "%s"}')$$, repeat('x', 2010))) LIKE 'US008: %';
RESET usher.source;
RESET usher.max_event_size;
-- large data within the limit, compressible or not, comes back whole
SELECT usher.append('errors-large', 'a', jsonb_build_object('x', repeat('x', 1000000)));
SELECT usher.append('errors-large', 'a',
    jsonb_build_object('x', (SELECT string_agg(md5(i::text), '') FROM generate_series(1, 10000) i)));
SELECT version, length(data->>'x'), md5(data->>'x') = md5(CASE version WHEN 1 THEN repeat('x', 1000000)
    ELSE (SELECT string_agg(md5(i::text), '') FROM generate_series(1, 10000) i) END) FROM usher.read_stream('errors-large');

-- versions
SELECT call, pg_temp.try(call) FROM (VALUES
    ($$SELECT usher.append('errors-1', 'a', '{}', 0)$$),
    ($$SELECT usher.append('errors-1', 'a', '{}', 1)$$),
    ($$SELECT usher.append('errors-1', 'a', '{}', 99)$$),
    ($$SELECT usher.append('errors-1', 'a', '{}', -2)$$),
    ($$SELECT usher.append('errors-1', 'a', '{}', -9223372036854775808)$$),
    ($$SELECT usher.append('errors-none', 'a', '{}', 1)$$),
    ($$SELECT usher.append('errors-none', 'a', '{}', -1)$$),
    ($$SELECT usher.append('errors-none', 'a', '{}', -2)$$),
    ($$SELECT usher.append_batch('errors-1', ARRAY[('a', '{}', NULL, NULL)]::usher.new_event[], 7)$$),
    ($$SELECT usher.append_batch('errors-1', ARRAY[('a', '{}', NULL, NULL)]::usher.new_event[], -7)$$),
    ($$SELECT usher.delete_stream('errors-1', 7)$$),
    ($$SELECT usher.delete_stream('errors-1', 0)$$),
    ($$SELECT usher.delete_stream('errors-none')$$),
    ($$SELECT usher.delete_stream('errors-none', 0)$$),
    ($$SELECT usher.read_stream('errors-1', -1)$$),
    ($$SELECT usher.read_stream('errors-1', NULL)$$),
    ($$SELECT usher.read_stream('errors-1', 1, -1)$$),
    ($$SELECT usher.read_stream('errors-1', 1, NULL)$$),
    ($$SELECT usher.read_stream('errors-1', 1, 1, NULL)$$),
    ($$SELECT usher.read_stream('errors-1', before => -1)$$),
    ($$SELECT usher.aggregate('errors-1', 'errors_reducer(jsonb, usher.event)', '{}', -1)$$)
) AS c (call);
SELECT count(*) FROM usher.stream_registry WHERE stream = 'errors-none';
SELECT usher.aggregate('errors-1', 'errors_reducer(jsonb, usher.event)', '{"n": 100}', 9223372036854775807);

-- the largest numbers are numbers like others
SELECT call, pg_temp.try(call) FROM (VALUES
    ($$SELECT count(*) FROM usher.read(9223372036854775807)$$),
    ($$SELECT count(*) FROM usher.read(9223372036854775806, 2147483647)$$),
    ($$SELECT count(*) FROM usher.read_category('errors', 9223372036854775807)$$),
    ($$SELECT usher.read_page(9223372036854775807, 10, '*')$$),
    ($$SELECT usher.wait(9223372036854775807, '10 ms') > 0$$),
    ($$SELECT count(*) FROM usher.read_stream('errors-1', 9223372036854775807)$$),
    ($$SELECT count(*) FROM usher.read_stream('errors-1', 1, 2147483647, true, 9223372036854775807)$$),
    ($$SELECT usher.append('errors-1', 'a', '{}', 9223372036854775807)$$)
) AS c (call);

-- positions and arguments
SELECT call, pg_temp.try(call) FROM (VALUES
    ($$SELECT usher.read(-1)$$),
    ($$SELECT usher.read(NULL)$$),
    ($$SELECT usher.read(0, -1)$$),
    ($$SELECT usher.read(0, NULL)$$),
    ($$SELECT usher.read(0, 1, NULL)$$),
    ($$SELECT usher.read_category('errors', -1)$$),
    ($$SELECT usher.read_category('errors', NULL)$$),
    ($$SELECT usher.read_category(NULL)$$),
    ($$SELECT usher.read_category('errors', 0, -1)$$),
    ($$SELECT usher.read_page(-1, 1, '*')$$),
    ($$SELECT usher.read_page(0, -1, '*')$$),
    ($$SELECT usher.read_page(0, 1, NULL)$$),
    ($$SELECT usher.read_page(0, 1, '*', 0)$$),
    ($$SELECT usher.read_page(0, 1, '*', NULL)$$),
    ($$SELECT usher.wait(NULL)$$),
    ($$SELECT usher.wait(0, NULL)$$),
    ($$SELECT usher.wait(0, '-1 s')$$),
    ($$SELECT usher.append_batch('errors-1', NULL)$$),
    ($$SELECT usher.append_batch('errors-1', '{}')$$),
    ($$SELECT usher.append_batch('errors-1', ARRAY[NULL]::usher.new_event[])$$),
    ($$SELECT usher.append_many(NULL, '{}', '{}')$$),
    ($$SELECT usher.append_many('{}', NULL, '{}')$$),
    ($$SELECT usher.append_many('{}', '{}', NULL)$$),
    ($$SELECT usher.append_many(ARRAY['errors-1'], ARRAY['a', 'b'], ARRAY['{}'])$$),
    ($$SELECT usher.append_many(ARRAY['errors-1'], ARRAY['a'], ARRAY[]::text[])$$),
    ($$SELECT usher.append_many(ARRAY['errors-1'], ARRAY['a'], ARRAY['{}'], ARRAY['{}', '{}'])$$),
    ($$SELECT usher.append_many(ARRAY['errors-1'], ARRAY['a'], ARRAY['{}'], NULL, '{}')$$),
    ($$SELECT usher.aggregate(NULL, 'errors_reducer(jsonb, usher.event)')$$),
    ($$SELECT usher.aggregate('errors-1', NULL)$$),
    ($$SELECT usher.aggregate('errors-1', 'lower(text)')$$),
    ($$SELECT usher.aggregate('errors-1', 'jsonb_concat(jsonb, jsonb)')$$),
    ($$SELECT usher.project('p', '*', 'lower(text)')$$),
    ($$SELECT usher.project('p', '*', NULL)$$),
    ($$SELECT usher.project(NULL, '*', 'errors_handler(usher.event)')$$),
    ($$SELECT usher.project('p', NULL, 'errors_handler(usher.event)')$$),
    ($$SELECT usher.project('p', '*', 'errors_handler(usher.event)', 'lower(text)')$$),
    ($$SELECT usher.unproject('none')$$),
    ($$SELECT usher.set_retention('1 day', NULL, 'lower(text)')$$),
    ($$SELECT usher.set_retention('-1 day')$$),
    ($$SELECT usher.set_retention(NULL, 0)$$),
    ($$SELECT usher.set_category_retention('errors', '-1 day')$$),
    ($$SELECT usher.set_stream_limits('errors-1', max_count => 0)$$),
    ($$SELECT usher.set_stream_limits('errors-1', max_age => '-1 day')$$),
    ($$SELECT usher.set_stream_limits('errors-1', max_age => '100000000 years')$$),
    ($$SELECT usher.set_retention('100000000 years')$$),
    ($$SELECT usher.set_category_retention('errors', '100000000 years')$$),
    ($$SELECT usher.set_stream_limits('errors-1', truncate_before => -1)$$),
    ($$SELECT usher.hold('h', -1)$$),
    ($$SELECT usher.drop_partitions_before(-1)$$),
    ($$SELECT usher.drop_partitions_before(NULL)$$),
    ($$SELECT usher.create_tenant('No Slug')$$),
    ($$SELECT usher.create_tenant('*')$$),
    ($$SELECT usher.create_tenant('default')$$),
    ($$SELECT usher.grant_tenant('nobody', 'pg_monitor')$$)
) AS c (call);
CALL usher.rebuild('none');
\echo :LAST_ERROR_SQLSTATE

-- tenants
SET usher.tenant = 'nobody';
SELECT pg_temp.try($$SELECT usher.append('errors-1', 'a')$$);
SELECT pg_temp.try($$SELECT count(*) FROM usher.read()$$);
SET usher.tenant = '';
SELECT pg_temp.try($$SELECT usher.append('errors-1', 'a')$$);
SELECT set_config('usher.tenant', repeat('t', 100), false) IS NOT NULL;
SELECT pg_temp.try($$SELECT usher.current_tenant()$$) LIKE 'US010: %';
RESET usher.tenant;

-- cursor functions need snapshots of their own
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT call, pg_temp.try(call) FROM (VALUES
    ($$SELECT count(*) FROM usher.read()$$),
    ($$SELECT count(*) FROM usher.read_category('errors')$$),
    ($$SELECT usher.read_page(0, 1, '*')$$),
    ($$SELECT usher.wait(0)$$)
) AS c (call);
-- what is not a cursor works
SELECT usher.append('errors-rr', 'a'), usher.append_batch('errors-rr', ARRAY[('a', '{}', NULL, NULL)]::usher.new_event[]);
SELECT version, position FROM usher.read_stream('errors-rr');
COMMIT;
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT pg_temp.try($$SELECT count(*) FROM usher.read()$$);
SELECT usher.append('errors-rr', 'a');
COMMIT;
SELECT usher.stream_version('errors-rr');

-- two-phase commit
BEGIN;
SELECT usher.append('errors-1', 'a');
PREPARE TRANSACTION 'errors';
\echo :LAST_ERROR_SQLSTATE
SELECT usher.stream_version('errors-1');
-- who waits for a subscription could not be told of the commit
BEGIN;
SELECT usher.subscribe('errors');
PREPARE TRANSACTION 'errors';
\echo :LAST_ERROR_SQLSTATE
-- nothing was appended: fine
BEGIN;
SELECT count(*) FROM usher.read_stream('errors-rr');
PREPARE TRANSACTION 'errors';
COMMIT PREPARED 'errors';
-- an append that was rolled back leaves a lock at most
BEGIN;
SAVEPOINT s;
SELECT usher.append('errors-1', 'a');
ROLLBACK TO s;
PREPARE TRANSACTION 'errors';
ROLLBACK PREPARED 'errors';

-- too many events
SET usher.max_transaction_events = 3;
BEGIN;
SELECT usher.append_batch('errors-many', ARRAY[('a', '{}', NULL, NULL), ('b', '{}', NULL, NULL)]::usher.new_event[]);
SAVEPOINT s;
SELECT pg_temp.try($$SELECT usher.append_batch('errors-many', ARRAY[('c', '{}', NULL, NULL), ('d', '{}', NULL, NULL)]::usher.new_event[])$$);
SELECT usher.append('errors-many', 'c');
SELECT pg_temp.try($$SELECT usher.publish('t', 'k', 'd')$$);
COMMIT;
SELECT version, type FROM usher.read_stream('errors-many');
SELECT pg_temp.try($$SELECT usher.append_many(array_fill('errors-many'::text, ARRAY[4]), array_fill('e'::text, ARRAY[4]), array_fill('{}'::text, ARRAY[4]))$$);
RESET usher.max_transaction_events;
SELECT usher.stream_version('errors-many');

-- read-only transactions
BEGIN READ ONLY;
SELECT pg_temp.try($$SELECT usher.append('errors-1', 'a')$$);
SELECT pg_temp.try($$SELECT usher.publish('t', 'k', 'a')$$);
SELECT pg_temp.try($$SELECT usher.delete_stream('errors-1')$$);
SELECT count(*) FROM usher.read_stream('errors-rr');
COMMIT;

-- appending while the transaction commits
CREATE TABLE errors_deferred (n int);
CREATE FUNCTION errors_append() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN PERFORM usher.append('errors-deferred', 'a'); RETURN NULL; END $$;
CREATE CONSTRAINT TRIGGER errors_late AFTER INSERT ON errors_deferred
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION errors_append();
-- deferred triggers run before the flush: they may append
INSERT INTO errors_deferred VALUES (1);
SELECT usher.stream_version('errors-deferred');

-- nothing outside of our functions writes the log
SELECT pg_temp.try($$INSERT INTO usher.log SELECT * FROM usher.log LIMIT 1$$) ~ '^(23505|42501): ';
SELECT pg_temp.try($$SET usher.unknown_setting = 1$$);
SELECT pg_temp.try($$SET usher.append_buffer = '1kB'$$);
SELECT pg_temp.try($$CALL usher.wait_for(0, '1 s', '*', NULL)$$);

DROP TABLE errors_deferred;
DROP FUNCTION errors_append, errors_reducer, errors_handler;
