-- Inline projections: a handler inside the append call, and its rebuild.
\getenv inputdir PG_ABS_SRCDIR
\set include :inputdir '/sql/include/try.sql'
\set ECHO none
\i :include
\set ECHO all
\pset format unaligned
\pset tuples_only on
CREATE TABLE proj_seen (id bigint GENERATED ALWAYS AS IDENTITY, who text, stream text, version bigint, type text, pending boolean, role text);
CREATE FUNCTION proj_note(event usher.event) RETURNS void LANGUAGE sql AS
$$ INSERT INTO public.proj_seen (who, stream, version, type, pending, role)
   VALUES ('note', event.stream, event.version, event.type, event.position IS NULL, current_user) $$;
CREATE FUNCTION proj_reset() RETURNS void LANGUAGE sql AS 'TRUNCATE public.proj_seen RESTART IDENTITY';
CREATE FUNCTION pg_temp.seen() RETURNS SETOF text LANGUAGE sql AS
$$ SELECT concat_ws('|', who, stream, version, type, CASE WHEN pending THEN 'pending' END) FROM proj_seen ORDER BY id $$;

-- what exists already waits for a rebuild
SELECT usher.append('proj-1', 'proj.early');
SELECT usher.project('note', 'proj.**', 'proj_note(usher.event)', 'proj_reset()');
SELECT name, pattern, handler, reset, state FROM usher.projections;
SELECT usher.append('proj-1', 'proj.one');
SELECT usher.append('proj-1', 'other.one');
SELECT usher.append_batch('proj-1', ARRAY[('proj.two', '{}', NULL, NULL), ('proj.three.more', '{}', NULL, NULL)]::usher.new_event[]);
SELECT usher.append_many(ARRAY['proj-2', 'proj-1'], ARRAY['proj.four', 'proj.five'], ARRAY['{}', '{}']);
SELECT usher.publish('topic', 'key', 'proj.six') IS NOT NULL;
SELECT pg_temp.seen();

-- a repeat is not an event; a rollback takes the projection's work along
SELECT usher.append('proj-3', 'proj.once', '{}', NULL, '{}', '00000000-0000-4000-8000-00000000f001');
SELECT usher.append('proj-3', 'proj.once', '{}', NULL, '{}', '00000000-0000-4000-8000-00000000f001');
BEGIN;
SAVEPOINT s;
SELECT usher.append('proj-3', 'proj.lost');
ROLLBACK TO s;
SELECT usher.append('proj-3', 'proj.kept');
COMMIT;
SELECT pg_temp.seen() OFFSET 6;

-- the rebuild gives the same, and what was before
CALL usher.rebuild('note');
SELECT pg_temp.seen();
SELECT name, state FROM usher.projections;
SELECT usher.append('proj-1', 'proj.after');
SELECT pg_temp.seen() OFFSET 9;
-- it cannot run inside a transaction
BEGIN;
CALL usher.rebuild('note');
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;
SELECT state FROM usher.projections;
SELECT usher.append('proj-1', 'proj.still');
SELECT pg_temp.seen() OFFSET 10;

-- an error of the handler fails the append, all of it
CREATE FUNCTION proj_refuse(event usher.event) RETURNS void LANGUAGE plpgsql AS
$$ BEGIN IF event.data ? 'bad' THEN RAISE EXCEPTION 'refused' USING ERRCODE = 'ZZ002'; END IF; END $$;
SELECT usher.project('refuse', 'proj.*', 'proj_refuse(usher.event)');
SELECT pg_temp.try($$SELECT usher.append('proj-4', 'proj.a', '{"bad": 1}')$$);
SELECT pg_temp.try($$SELECT usher.append_batch('proj-4', ARRAY[('proj.a', '{}', NULL, NULL), ('proj.b', '{"bad": 1}', NULL, NULL)]::usher.new_event[])$$);
SELECT usher.stream_version('proj-4'), current_user;
BEGIN;
SELECT usher.append('proj-4', 'proj.a');
SAVEPOINT s;
SELECT usher.append('proj-4', 'proj.b', '{"bad": 1}');
ROLLBACK TO s;
SELECT usher.append('proj-4', 'proj.c');
COMMIT;
SELECT version, type FROM usher.read_stream('proj-4');
-- registered again it is changed
SELECT usher.project('refuse', 'nothing.*', 'proj_refuse(usher.event)');
SELECT usher.append('proj-4', 'proj.d', '{"bad": 1}');
SELECT pg_temp.try($$CALL usher.rebuild('refuse')$$);
SELECT usher.unproject('refuse');

-- several handlers run in the order of their registration; one that appends sees its own events
CREATE FUNCTION proj_chain(event usher.event) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO public.proj_seen (who, stream, version, type) VALUES ('chain', event.stream, event.version, event.type);
    IF (event.data->>'left')::int > 0 THEN
        PERFORM usher.append('proj-chain', 'proj.chained', jsonb_build_object('left', (event.data->>'left')::int - 1));
    END IF;
END
$$;
SELECT usher.project('chain', 'proj.chained', 'proj_chain(usher.event)', 'proj_reset()');
TRUNCATE proj_seen;
SELECT usher.append('proj-chain', 'proj.chained', '{"left": 2}');
SELECT pg_temp.seen();
SELECT version, data FROM usher.read_stream('proj-chain');
-- endless recursion ends in an error, not in a crash
CREATE OR REPLACE FUNCTION proj_chain(event usher.event) RETURNS void LANGUAGE sql AS
$$ SELECT usher.append('proj-chain', 'proj.chained') $$;
SET usher.max_transaction_events = 2000;
SELECT pg_temp.try($$SELECT usher.append('proj-chain', 'proj.chained')$$) ~ '^(54001|US009): ';
RESET usher.max_transaction_events;
SELECT usher.stream_version('proj-chain');
SELECT usher.unproject('chain');

-- tombstones are events too
CREATE FUNCTION proj_gone(event usher.event) RETURNS void LANGUAGE sql AS
$$ INSERT INTO public.proj_seen (who, stream, type) VALUES ('gone', event.stream, event.type) $$;
SELECT usher.project('gone', 'usher.*', 'proj_gone(usher.event)');
TRUNCATE proj_seen;
SELECT usher.delete_stream('proj-2');
SELECT pg_temp.seen();
SELECT usher.unproject('gone');

-- a handler that has vanished says so
CREATE FUNCTION proj_vanishes(event usher.event) RETURNS void LANGUAGE sql AS '';
SELECT usher.project('vanishes', 'proj.vanish', 'proj_vanishes(usher.event)');
SELECT usher.append('proj-5', 'proj.vanish');
DROP FUNCTION proj_vanishes;
SELECT pg_temp.try($$SELECT usher.append('proj-5', 'proj.vanish')$$);
CREATE FUNCTION proj_vanishes(event usher.event) RETURNS void LANGUAGE sql AS '';
SELECT usher.append('proj-5', 'proj.vanish');
-- replaced, it does the new thing at once
CREATE OR REPLACE FUNCTION proj_vanishes(event usher.event) RETURNS void LANGUAGE sql AS
$$ INSERT INTO public.proj_seen (who, type) VALUES ('replaced', event.type) $$;
TRUNCATE proj_seen;
SELECT usher.append('proj-5', 'proj.vanish');
SELECT pg_temp.seen();
SELECT usher.unproject('vanishes');

-- the handler runs as who registered it
CREATE ROLE regress_usher_owner IN ROLE usher_admin;
CREATE ROLE regress_usher_writer IN ROLE usher_writer;
CREATE TABLE proj_owned (role text, session_role text);
ALTER TABLE proj_owned OWNER TO regress_usher_owner;
CREATE FUNCTION proj_own(event usher.event) RETURNS void LANGUAGE sql AS
$$ INSERT INTO public.proj_owned VALUES (current_user) $$;
CREATE FUNCTION proj_own_reset() RETURNS void LANGUAGE sql AS 'DELETE FROM public.proj_owned';
SET ROLE regress_usher_owner;
SELECT usher.project('owned', 'proj.owned', 'proj_own(usher.event)', 'proj_own_reset()');
SET ROLE regress_usher_writer;
SELECT pg_temp.try('INSERT INTO proj_owned VALUES (1)');
SELECT usher.append('proj-6', 'proj.owned');
SELECT current_user;
SELECT pg_temp.try($$SELECT usher.project('mine', '*', 'proj_own(usher.event)')$$);
SELECT pg_temp.try($$SELECT usher.unproject('owned')$$);
RESET ROLE;
SELECT * FROM proj_owned;
-- a rebuild by somebody else runs it as its owner as well
CALL usher.rebuild('owned');
SELECT * FROM proj_owned;
SET ROLE regress_usher_owner;
CALL usher.rebuild('owned');
RESET ROLE;
SELECT * FROM proj_owned;
-- it cannot take over another role through the handler
CREATE OR REPLACE FUNCTION proj_own(event usher.event) RETURNS void LANGUAGE plpgsql AS
$$ BEGIN SET ROLE postgres; END $$;
SELECT pg_temp.try($$SELECT usher.append('proj-6', 'proj.owned')$$);
SELECT current_user;
-- nor through the table: handlers run only as a role that the administrator has
SET ROLE regress_usher_owner;
SELECT pg_temp.try($$UPDATE usher.projections SET owner = 'postgres' WHERE name = 'owned'$$);
SELECT pg_temp.try($$INSERT INTO usher.projections (tenant_id, name, pattern, handler, owner) VALUES (1, 'takeover', '*', 'public.proj_own(usher.event)', 'postgres')$$);
SELECT pg_temp.try($$UPDATE usher.projections SET handler = 'public.proj_own(usher.event)' WHERE name = 'note'$$);
SELECT usher.unproject('owned');
RESET ROLE;
DROP TABLE proj_owned;

-- a function of another kind, put into the table by hand, is not called
SELECT usher.project('odd', 'proj.odd', 'proj_note(usher.event)', 'proj_reset()');
UPDATE usher.projections SET handler = 'pg_catalog.textcat(text,text)', reset = 'pg_catalog.upper(text)' WHERE name = 'odd';
SELECT pg_temp.try($$SELECT usher.append('proj-6', 'proj.odd')$$);
CALL usher.rebuild('odd');
\echo :LAST_ERROR_SQLSTATE
SELECT usher.unproject('odd');

-- when a rebuild fails the projection stays off until the next one
CREATE TABLE proj_trap (armed boolean);
INSERT INTO proj_trap VALUES (true);
CREATE FUNCTION proj_trapped(event usher.event) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF (SELECT armed FROM public.proj_trap) AND event.type = 'proj.trap2' THEN
        RAISE EXCEPTION 'trapped';
    END IF;
    INSERT INTO public.proj_seen (who, type) VALUES ('trapped', event.type);
END
$$;
SELECT usher.append('proj-7', 'proj.trap1'), usher.append('proj-7', 'proj.trap2'), usher.append('proj-7', 'proj.trap3');
SELECT usher.project('trapped', 'proj.trap*', 'proj_trapped(usher.event)', 'proj_reset()');
CALL usher.rebuild('trapped');
SELECT state FROM usher.projections WHERE name = 'trapped';
SELECT usher.append('proj-7', 'proj.trap2');
SELECT pg_temp.seen();
UPDATE proj_trap SET armed = false;
CALL usher.rebuild('trapped');
SELECT state FROM usher.projections WHERE name = 'trapped';
SELECT pg_temp.seen();
SELECT usher.unproject('trapped');

-- a tenant's projections are its own
SELECT usher.create_tenant('proj') > 1;
SET usher.tenant = 'proj';
TRUNCATE proj_seen;
SELECT usher.append('proj-1', 'proj.tenant');
SELECT pg_temp.seen();
SELECT usher.project('note', 'proj.**', 'proj_note(usher.event)', 'proj_reset()');
SELECT usher.append('proj-1', 'proj.tenant');
SELECT pg_temp.seen();
CALL usher.rebuild('note');
SELECT pg_temp.seen();
SELECT usher.unproject('note');
RESET usher.tenant;
SELECT usher.append('proj-1', 'proj.default');
SELECT pg_temp.seen();

-- a rebuild of more than one transaction's worth
SELECT usher.append_many(array_agg('proj-8-' || i % 10), array_agg('proj.bulk'::text), array_agg('{}'::text)) FROM generate_series(1, 3500) i;
SELECT count(*), count(DISTINCT (stream, version)) FROM proj_seen WHERE type = 'proj.bulk';
CALL usher.rebuild('note');
SELECT count(*), count(DISTINCT (stream, version)), bool_or(pending) FROM proj_seen WHERE type = 'proj.bulk';

-- rebuild cannot pin its search_path, and does not need to
CREATE SCHEMA proj_hostile;
CREATE FUNCTION proj_hostile.trap(bigint, bigint) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'trapped'; END $$;
CREATE FUNCTION proj_hostile.trap(integer, integer) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'trapped'; END $$;
CREATE FUNCTION proj_hostile.trap(text, text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'trapped'; END $$;
CREATE FUNCTION proj_hostile.trap_minus(bigint, bigint) RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'trapped'; END $$;
CREATE OPERATOR proj_hostile.= (LEFTARG = integer, RIGHTARG = integer, FUNCTION = proj_hostile.trap);
CREATE OPERATOR proj_hostile.= (LEFTARG = text, RIGHTARG = text, FUNCTION = proj_hostile.trap);
CREATE OPERATOR proj_hostile.< (LEFTARG = bigint, RIGHTARG = bigint, FUNCTION = proj_hostile.trap);
CREATE OPERATOR proj_hostile.- (LEFTARG = bigint, RIGHTARG = bigint, FUNCTION = proj_hostile.trap_minus);
SET search_path = proj_hostile, pg_catalog, public;
CALL usher.rebuild('note');
RESET search_path;
SELECT state FROM usher.projections;
SET client_min_messages = warning;
DROP SCHEMA proj_hostile CASCADE;
RESET client_min_messages;

SELECT usher.unproject('note');
SELECT pg_temp.try($$SELECT usher.unproject('note')$$);
SELECT count(*) FROM usher.projections;
DROP ROLE regress_usher_owner, regress_usher_writer;
DROP TABLE proj_seen, proj_trap;
DROP FUNCTION proj_note, proj_reset, proj_refuse, proj_chain, proj_gone, proj_vanishes, proj_own, proj_own_reset, proj_trapped;
