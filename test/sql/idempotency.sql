-- A given event_id makes an append repeatable: the same event is not appended twice, another one is refused.
\getenv inputdir PG_ABS_SRCDIR
\set include :inputdir '/sql/include/try.sql'
\set ECHO none
\i :include
\set ECHO all
\pset format unaligned
\pset tuples_only on
\set id1 '00000000-0000-4000-8000-00000000d001'
\set id2 '00000000-0000-4000-8000-00000000d002'
\set id3 '00000000-0000-4000-8000-00000000d003'
\set id4 '00000000-0000-4000-8000-00000000d004'
\set id5 '00000000-0000-4000-8000-00000000d005'
\set id6 '00000000-0000-4000-8000-00000000d006'
\set id7 '00000000-0000-4000-8000-00000000d007'
\set id8 '00000000-0000-4000-8000-00000000d008'

-- append: the original version comes back
SELECT usher.append('idem-1', 'a', '{"n": 1, "m": [1, {"x": null}]}', 0, '{"user_id": "u"}', :'id1');
SELECT usher.append('idem-1', 'b');
SELECT usher.append('idem-1', 'a', '{"m": [1, {"x": null}], "n": 1.0}', 0, '{"user_id": "u"}', :'id1') AS repeat;
-- the check precedes expected_version, also an impossible one
SELECT usher.append('idem-1', 'a', '{"m": [1, {"x": null}], "n": 1}', 99, '{"user_id": "u"}', :'id1') AS repeat;
SELECT usher.append('idem-1', 'a', '{"m": [1, {"x": null}], "n": 1}', -1, '{"user_id": "u"}', :'id1') AS repeat;
SELECT version, type FROM usher.read_stream('idem-1');

-- anything else under the same id is another event
SELECT call, pg_temp.try(call) FROM (VALUES
    ($$SELECT usher.append('idem-2', 'a', '{"n": 1, "m": [1, {"x": null}]}', 0, '{"user_id": "u"}', '00000000-0000-4000-8000-00000000d001')$$),
    ($$SELECT usher.append('idem-1', 'b', '{"n": 1, "m": [1, {"x": null}]}', 0, '{"user_id": "u"}', '00000000-0000-4000-8000-00000000d001')$$),
    ($$SELECT usher.append('idem-1', 'a', '{"n": 2, "m": [1, {"x": null}]}', 0, '{"user_id": "u"}', '00000000-0000-4000-8000-00000000d001')$$),
    ($$SELECT usher.append('idem-1', 'a', '{"n": 1, "m": [1, {"x": null}]}', 0, '{"user_id": "v"}', '00000000-0000-4000-8000-00000000d001')$$),
    ($$SELECT usher.append('idem-1', 'a', '{"n": 1, "m": [1, {"x": null}]}', 0, '{}', '00000000-0000-4000-8000-00000000d001')$$),
    ($$SELECT usher.publish('idem-1', 'idem-1', 'a', '{"n": 1, "m": [1, {"x": null}]}', '{"user_id": "u"}', '00000000-0000-4000-8000-00000000d001')$$)
) AS c (call);

-- a repeat of an event whose stream is deleted by now is still a repeat
SELECT usher.append('idem-gone', 'a', '{}', NULL, '{}', :'id2');
SELECT usher.delete_stream('idem-gone');
SELECT usher.append('idem-gone', 'a', '{}', NULL, '{}', :'id2') AS repeat;

-- metadata that the session fills in is not part of the comparison, given metadata is
SET usher.actor = 'alice';
SET usher.correlation_id = 'c1';
SELECT usher.append('idem-3', 'a', '{}', NULL, '{"x": 1}', :'id3');
SET usher.actor = 'bob';
RESET usher.correlation_id;
SELECT usher.append('idem-3', 'a', '{}', NULL, '{"x": 1}', :'id3') AS repeat;
SELECT metadata FROM usher.read_stream('idem-3');
SELECT pg_temp.try($$SELECT usher.append('idem-3', 'a', '{}', NULL, '{"x": 1, "correlation_id": "c2"}', '00000000-0000-4000-8000-00000000d003')$$);
SELECT usher.append('idem-3', 'a', '{}', NULL, '{"x": 1, "correlation_id": "c1"}', :'id3') AS repeat;
RESET usher.actor;

-- in the same transaction, and after a savepoint that took the original away
BEGIN;
SELECT usher.append('idem-4', 'a', '{"n": 1}', 0, '{}', :'id4');
SELECT usher.append('idem-4', 'a', '{"n": 1}', 0, '{}', :'id4') AS repeat;
SAVEPOINT s;
SELECT pg_temp.try($$SELECT usher.append('idem-4', 'a', '{"n": 2}', 1, '{}', '00000000-0000-4000-8000-00000000d004')$$);
SELECT usher.append('idem-4', 'b', '{}', 1, '{}', :'id5');
ROLLBACK TO s;
SELECT usher.append('idem-4', 'c', '{}', 1, '{}', :'id5') AS anew;
SELECT usher.append('idem-4', 'c', '{}', 1, '{}', :'id5') AS repeat;
COMMIT;
SELECT usher.append('idem-4', 'c', '{}', 1, '{}', :'id5') AS repeat;
SELECT version, type, data FROM usher.read_stream('idem-4');
BEGIN;
SELECT usher.append('idem-4', 'd', '{}', NULL, '{}', :'id6');
ROLLBACK;
SELECT usher.append('idem-4', 'e', '{}', NULL, '{}', :'id6') AS anew;

-- publish: the id comes back, topic and key belong to the event
SELECT usher.publish('idem', 'k', 'a', '{"n": 1}', '{}', :'id7');
SELECT usher.publish('idem', 'k', 'a', '{"n": 1}', '{}', :'id7') AS repeat;
SELECT call, pg_temp.try(call) FROM (VALUES
    ($$SELECT usher.publish('idem2', 'k', 'a', '{"n": 1}', '{}', '00000000-0000-4000-8000-00000000d007')$$),
    ($$SELECT usher.publish('idem', 'k2', 'a', '{"n": 1}', '{}', '00000000-0000-4000-8000-00000000d007')$$),
    ($$SELECT usher.publish('idem', 'k', 'a', '{"n": 2}', '{}', '00000000-0000-4000-8000-00000000d007')$$),
    ($$SELECT usher.append('k', 'a', '{"n": 1}', NULL, '{}', '00000000-0000-4000-8000-00000000d007')$$)
) AS c (call);
BEGIN;
SELECT usher.publish('idem', 'k', 'b', '{}', '{}', :'id8');
SELECT usher.publish('idem', 'k', 'b', '{}', '{}', :'id8') AS repeat;
COMMIT;
SELECT count(*) FROM usher.events WHERE topic = 'idem';

-- a batch is a repeat as a whole, or new as a whole
SELECT usher.append_batch('idem-5', ARRAY[
    ('a', '{}', NULL, '00000000-0000-4000-8000-00000000d101'),
    ('b', '{}', NULL, '00000000-0000-4000-8000-00000000d102')]::usher.new_event[], 0);
SELECT usher.append('idem-5', 'z');
SELECT call, pg_temp.try(call) FROM (VALUES
    -- the same
    ($$SELECT usher.append_batch('idem-5', ARRAY[('a', '{}', NULL, '00000000-0000-4000-8000-00000000d101'), ('b', '{}', NULL, '00000000-0000-4000-8000-00000000d102')]::usher.new_event[], 0)$$),
    -- a part of it, more than it, half of it new, without an id, in another order, twice the same
    ($$SELECT usher.append_batch('idem-5', ARRAY[('a', '{}', NULL, '00000000-0000-4000-8000-00000000d101'), ('b', '{}', NULL, '00000000-0000-4000-8000-00000000d102'), ('c', '{}', NULL, '00000000-0000-4000-8000-00000000d103')]::usher.new_event[])$$),
    ($$SELECT usher.append_batch('idem-5', ARRAY[('c', '{}', NULL, '00000000-0000-4000-8000-00000000d103'), ('b', '{}', NULL, '00000000-0000-4000-8000-00000000d102')]::usher.new_event[])$$),
    ($$SELECT usher.append_batch('idem-5', ARRAY[('a', '{}', NULL, '00000000-0000-4000-8000-00000000d101'), ('b', '{}', NULL, NULL)]::usher.new_event[])$$),
    ($$SELECT usher.append_batch('idem-5', ARRAY[('a', '{"n": 1}', NULL, '00000000-0000-4000-8000-00000000d101'), ('b', '{}', NULL, '00000000-0000-4000-8000-00000000d102')]::usher.new_event[])$$),
    ($$SELECT usher.append_batch('idem-6', ARRAY[('a', '{}', NULL, '00000000-0000-4000-8000-00000000d101'), ('b', '{}', NULL, '00000000-0000-4000-8000-00000000d102')]::usher.new_event[])$$),
    ($$SELECT usher.append_batch('idem-5', ARRAY[('a', '{}', NULL, '00000000-0000-4000-8000-00000000d104'), ('a', '{}', NULL, '00000000-0000-4000-8000-00000000d104')]::usher.new_event[])$$)
) AS c (call);
SELECT version, type FROM usher.read_stream('idem-5');
SELECT usher.stream_version('idem-6');
-- within a transaction
BEGIN;
SELECT usher.append_batch('idem-6', ARRAY[('a', '{}', NULL, '00000000-0000-4000-8000-00000000d111'), ('b', '{}', NULL, '00000000-0000-4000-8000-00000000d112')]::usher.new_event[]);
SELECT usher.append_batch('idem-6', ARRAY[('a', '{}', NULL, '00000000-0000-4000-8000-00000000d111'), ('b', '{}', NULL, '00000000-0000-4000-8000-00000000d112')]::usher.new_event[]) AS repeat;
COMMIT;
SELECT version, type FROM usher.read_stream('idem-6');

-- append_many: 0 for a repeat
SELECT usher.append_many(ARRAY['idem-7', 'idem-8'], ARRAY['a', 'b'], ARRAY['{}', '{"n": 1}'], NULL,
    ARRAY['00000000-0000-4000-8000-00000000d201', '00000000-0000-4000-8000-00000000d202']::uuid[]);
SELECT usher.append_many(ARRAY['idem-7', 'idem-8'], ARRAY['a', 'b'], ARRAY['{}', '{"n": 1}'], NULL,
    ARRAY['00000000-0000-4000-8000-00000000d201', '00000000-0000-4000-8000-00000000d202']::uuid[]) AS repeat;
SELECT call, pg_temp.try(call) FROM (VALUES
    ($$SELECT usher.append_many(ARRAY['idem-7', 'idem-8', 'idem-8'], ARRAY['a', 'b', 'c'], ARRAY['{}', '{"n": 1}', '{}'], NULL, ARRAY['00000000-0000-4000-8000-00000000d201', '00000000-0000-4000-8000-00000000d202', NULL]::uuid[])$$),
    ($$SELECT usher.append_many(ARRAY['idem-7', 'idem-8'], ARRAY['a', 'b'], ARRAY['{}', '{"n": 2}'], NULL, ARRAY['00000000-0000-4000-8000-00000000d201', '00000000-0000-4000-8000-00000000d202']::uuid[])$$),
    ($$SELECT usher.append_many(ARRAY['idem-7', 'idem-7'], ARRAY['a', 'a'], ARRAY['{}', '{}'], NULL, ARRAY['00000000-0000-4000-8000-00000000d203', '00000000-0000-4000-8000-00000000d203']::uuid[])$$)
) AS c (call);
SELECT stream, version, type FROM usher.read_stream('idem-7');
SELECT stream, version, type FROM usher.read_stream('idem-8');

-- another tenant's ids are its own
SELECT usher.create_tenant('idem') > 1;
SET usher.tenant = 'idem';
SELECT usher.append('idem-1', 'other', '{}', 0, '{}', :'id1');
SELECT usher.append('idem-1', 'other', '{}', 0, '{}', :'id1') AS repeat;
RESET usher.tenant;

-- beyond the window an id is not looked up (only events older than the window are forgotten)
SET usher.dedupe_window = 0;
SELECT usher.append('idem-1', 'later', '{}', NULL, '{}', :'id1') AS anew;
RESET usher.dedupe_window;

-- a repeat appends nothing: the log stands still
SELECT usher.stable_position() AS before \gset
SELECT usher.append('idem-3', 'a', '{}', NULL, '{"x": 1}', :'id3') AS repeat;
SELECT usher.stable_position() - :before;

-- a repeat takes no lock on the stream and creates none
SELECT count(*) FROM usher.stream_registry WHERE stream = 'idem-2';
