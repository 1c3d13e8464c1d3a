-- More events in a transaction than usher.append_buffer holds: they go through a temporary file and come out the same.
\pset format unaligned
\pset tuples_only on
SET usher.append_buffer = '64kB';
SELECT usher.stable_position() AS start \gset

BEGIN;
SELECT count(usher.append('spill-1', 'n', jsonb_build_object('i', i, 'pad', repeat('x', i % 300)))) FROM generate_series(1, 3000) i;
SAVEPOINT a;
SELECT count(usher.append('spill-1', 'lost', jsonb_build_object('i', i, 'pad', repeat('y', i % 500)))) FROM generate_series(1, 2000) i;
SELECT count(usher.append('spill-2', 'lost', jsonb_build_object('i', i))) FROM generate_series(1, 2000) i;
-- reading back in the middle moves the file's position
SELECT count(*), sum(length(data->>'pad')), max(version) FROM usher.read_stream('spill-1', 1, 10000);
SELECT data->>'i' FROM usher.last_event('spill-1', 'n');
ROLLBACK TO a;
SELECT usher.stream_version('spill-1'), usher.stream_version('spill-2');
SELECT count(usher.append('spill-1', 'n', jsonb_build_object('i', i, 'pad', repeat('x', i % 300)))) FROM generate_series(3001, 6000) i;
SAVEPOINT b;
SELECT count(usher.append('spill-2', 'n', jsonb_build_object('i', i))) FROM generate_series(1, 1500) i;
RELEASE b;
SAVEPOINT c;
-- less than a buffer, then more
SELECT usher.append('spill-2', 'lost');
ROLLBACK TO c;
SELECT count(usher.append('spill-2', 'lost')) FROM generate_series(1, 5000) i;
ROLLBACK TO c;
SELECT count(usher.append('spill-2', 'n', jsonb_build_object('i', i))) FROM generate_series(1501, 3000) i;
SELECT version, data->>'i' FROM usher.read_stream('spill-2', 1499, 4);
SELECT version, data->>'i' FROM usher.read_stream('spill-2', backwards => true, max => 3);
SELECT count(*) FROM usher.events WHERE position IS NULL;
COMMIT;

SELECT count(*), min(position) - :start, max(position) - :start,
       bool_and(CASE stream WHEN 'spill-1' THEN position - :start = version + CASE WHEN version > 6000 THEN NULL ELSE 0 END
                            ELSE position - :start = 6000 + version END) AS in_order,
       bool_and(version = (data->>'i')::int) AS right_data,
       bool_and(stream <> 'spill-1' OR data->>'pad' = repeat('x', (data->>'i')::int % 300)) AS right_padding,
       string_agg(DISTINCT type, ',') AS types
FROM usher.read(:start, 100000);

-- one event that is larger than the buffer, between small ones
BEGIN;
SELECT usher.append('spill-3', 'small', '{"n": 1}');
SELECT usher.append('spill-3', 'large', jsonb_build_object('x', (SELECT string_agg(md5(i::text), '') FROM generate_series(1, 5000) i)));
SELECT usher.append('spill-3', 'small', '{"n": 3}');
SELECT version, type, length(data::text) FROM usher.read_stream('spill-3');
COMMIT;
SELECT version, type, length(data::text) FROM usher.read_stream('spill-3');
SELECT md5(data->>'x') = (SELECT md5(string_agg(md5(i::text), '')) FROM generate_series(1, 5000) i)
FROM usher.last_event('spill-3', 'large');

-- a spilled event is found by its id, and is a repeat
BEGIN;
SELECT usher.append('spill-4', 'a', '{"n": 1}', NULL, '{}', '00000000-0000-4000-8000-00000000e001');
SELECT count(usher.append('spill-4', 'n', jsonb_build_object('pad', repeat('z', 100)))) FROM generate_series(1, 2000) i;
SELECT usher.append('spill-4', 'a', '{"n": 1}', NULL, '{}', '00000000-0000-4000-8000-00000000e001') AS repeat;
SELECT version, data FROM usher.event_by_id('00000000-0000-4000-8000-00000000e001');
COMMIT;

-- a spilled transaction that rolls back, and one that fails
SELECT usher.stable_position() AS start \gset
BEGIN;
SELECT count(usher.append('spill-5', 'n', jsonb_build_object('pad', repeat('z', 100)))) FROM generate_series(1, 2000) i;
ROLLBACK;
SELECT usher.stable_position() - :start, usher.stream_version('spill-5');

-- spilled, and then all of it taken back: nothing is left to commit
BEGIN;
SAVEPOINT a;
SELECT count(usher.append('spill-5', 'n', jsonb_build_object('pad', repeat('z', 100)))) FROM generate_series(1, 2000) i;
ROLLBACK TO a;
COMMIT;
BEGIN;
SAVEPOINT a;
SELECT count(usher.append('spill-5', 'n', jsonb_build_object('pad', repeat('z', 100)))) FROM generate_series(1, 2000) i;
ROLLBACK TO a;
PREPARE TRANSACTION 'spill';
COMMIT PREPARED 'spill';
SELECT usher.stable_position() - :start, usher.stream_version('spill-5');

-- in a loop of savepoints: spilled in one, dropped in the next
DO $$
BEGIN
    FOR round IN 1..20 LOOP
        BEGIN
            FOR i IN 1..200 LOOP
                PERFORM usher.append('spill-6', 'n', jsonb_build_object('round', round, 'i', i, 'pad', repeat('p', 100)));
            END LOOP;
            IF round % 2 = 0 THEN
                RAISE EXCEPTION 'no';
            END IF;
        EXCEPTION WHEN raise_exception THEN
        END;
    END LOOP;
END
$$;
SELECT count(*), bool_and(((data->>'round')::int - 1) / 2 * 200 + (data->>'i')::int = version) AS in_order
FROM usher.read_stream('spill-6', 1, 100000);

-- append_many and publish spill as well
SELECT usher.stable_position() AS start \gset
BEGIN;
SELECT usher.append_many(array_agg('spill-7-' || i % 50), array_agg('m'::text), array_agg(format('{"i": %s}', i)))
FROM generate_series(1, 5000) i;
SELECT count(usher.publish('spill', 'k' || i, 'p', jsonb_build_object('i', i))) FROM generate_series(1, 2000) i;
COMMIT;
SELECT type, count(*), bool_and(position - :start = (data->>'i')::int + CASE type WHEN 'm' THEN 0 ELSE 5000 END) AS in_order
FROM usher.read(:start, 100000) GROUP BY type ORDER BY type;
SELECT bool_and(version = 100), count(*) FROM usher.streams WHERE stream LIKE 'spill-7-%';
RESET usher.append_buffer;
SELECT invariant FROM usher.check() WHERE NOT ok;
