-- A savepoint that rolls back takes its events, versions and locks with it.
\pset format unaligned
\pset tuples_only on
CREATE FUNCTION pg_temp.pending() RETURNS text LANGUAGE sql AS
$$ SELECT string_agg(stream || '@' || version || ' ' || type, ', ' ORDER BY stream, version) FROM usher.events WHERE position IS NULL $$;
SELECT usher.append('save-1', 'old');
SELECT usher.stable_position() AS start \gset

BEGIN;
SELECT usher.append('save-1', 'kept-1');
SAVEPOINT a;
SELECT usher.append('save-1', 'lost-1');
SELECT usher.append('save-2', 'lost-2');
SELECT usher.stream_version('save-1'), usher.stream_version('save-2');
SELECT pg_temp.pending();
ROLLBACK TO a;
SELECT usher.stream_version('save-1'), usher.stream_version('save-2');
SELECT pg_temp.pending();
SELECT version, type, position IS NULL AS pending FROM usher.read_stream('save-1');
SELECT type FROM usher.last_event('save-1');
-- rolled back to, the savepoint is still there
SELECT usher.append('save-2', 'kept-2', '{}', 0);
ROLLBACK TO a;
SELECT usher.append('save-2', 'kept-3', '{}', 0);
RELEASE a;
SELECT usher.append('save-1', 'kept-4', '{}', 2);
COMMIT;
SELECT stream, version, type FROM usher.read(:start);

-- nested: release hands the events to the parent, whose rollback drops them
SELECT usher.stable_position() AS start \gset
BEGIN;
SAVEPOINT a;
SELECT usher.append('save-3', 'a');
SAVEPOINT b;
SELECT usher.append('save-3', 'b');
SAVEPOINT c;
SELECT usher.append('save-3', 'c');
SELECT usher.append('save-4', 'c');
RELEASE c;
SELECT usher.append('save-3', 'b2');
RELEASE b;
SELECT pg_temp.pending();
SAVEPOINT d;
SELECT usher.append('save-3', 'd');
ROLLBACK TO d;
SELECT usher.append('save-3', 'a2');
SELECT pg_temp.pending();
ROLLBACK TO a;
SELECT pg_temp.pending() IS NULL;
SELECT usher.stream_version('save-3'), usher.stream_version('save-4');
SELECT usher.append('save-4', 'kept', '{}', 0);
COMMIT;
SELECT stream, version, type FROM usher.read(:start);

-- an inner rollback, then an outer release
SELECT usher.stable_position() AS start \gset
BEGIN;
SAVEPOINT a;
SELECT usher.append('save-5', '1');
SAVEPOINT b;
SELECT usher.append('save-5', 'lost');
SELECT usher.append('save-6', 'lost');
ROLLBACK TO b;
SELECT usher.append('save-6', '1');
RELEASE a;
SELECT usher.append('save-5', '2');
SELECT usher.append('save-6', '2');
COMMIT;
SELECT stream, version, type FROM usher.read(:start);

-- blocks with exceptions in plpgsql are savepoints; so are failed calls
SELECT usher.stable_position() AS start \gset
DO $$
BEGIN
    FOR i IN 1..10 LOOP
        BEGIN
            PERFORM usher.append('save-7', 'try', jsonb_build_object('i', i));
            PERFORM usher.append('save-8', 'try', jsonb_build_object('i', i));
            IF i % 3 <> 0 THEN
                RAISE EXCEPTION 'no';
            END IF;
        EXCEPTION WHEN raise_exception THEN
            PERFORM usher.append('save-8', 'failed', jsonb_build_object('i', i));
        END;
    END LOOP;
END
$$;
SELECT stream, version, type, data FROM usher.read(:start) ORDER BY stream, version;
DO $$
BEGIN
    BEGIN
        -- the second event of the batch is bad: the first one must go as well
        PERFORM usher.append_many(ARRAY['save-9', 'save-9'], ARRAY['a', 'b'], ARRAY['{}', '[]']);
    EXCEPTION WHEN OTHERS THEN
        RAISE NOTICE '%', SQLSTATE;
    END;
    PERFORM usher.append('save-9', 'c', '{}', 0);
END
$$;
SELECT version, type FROM usher.read_stream('save-9');

-- the whole transaction
BEGIN;
SELECT usher.append('save-10', 'lost');
ROLLBACK;
SELECT usher.stream_version('save-10'), count(*) FROM usher.stream_registry WHERE stream = 'save-10';
SELECT usher.append('save-10', 'kept', '{}', 0);

-- deleting within a savepoint
BEGIN;
SAVEPOINT a;
SELECT usher.delete_stream('save-10');
SELECT version, type FROM usher.read_stream('save-10');
ROLLBACK TO a;
SELECT version, type FROM usher.read_stream('save-10');
SELECT usher.append('save-10', 'still', '{}', 1);
COMMIT;
SELECT version, type FROM usher.read_stream('save-10');
-- an event behind the tombstone, taken back
BEGIN;
SELECT usher.delete_stream('save-10', NULL, true);
SAVEPOINT a;
SELECT usher.append('save-10', 'reborn', '{}', 0);
ROLLBACK TO a;
SELECT usher.append('save-10', 'reborn again', '{}', 0);
COMMIT;
SELECT version, type FROM usher.read_stream('save-10');

-- a savepoint without an event, and many of them
BEGIN;
SAVEPOINT a;
ROLLBACK TO a;
RELEASE a;
DO $$
BEGIN
    FOR i IN 1..300 LOOP
        BEGIN
            PERFORM usher.append('save-11-' || i % 7, 'n', jsonb_build_object('i', i));
            IF i % 2 = 0 THEN
                RAISE EXCEPTION 'no';
            END IF;
        EXCEPTION WHEN raise_exception THEN
        END;
    END LOOP;
END
$$;
COMMIT;
SELECT stream, count(*), max(version), min((data->>'i')::int), max((data->>'i')::int)
FROM usher.events WHERE stream LIKE 'save-11-%' GROUP BY stream ORDER BY stream;
SELECT invariant FROM usher.check() WHERE NOT ok;
