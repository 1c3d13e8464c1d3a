-- usher.watch: what is refused, to whom, and whose tenant the events are of.
\getenv inputdir PG_ABS_SRCDIR
\set try :inputdir '/sql/include/try.sql'
\set ECHO none
\i :try
\set ECHO all
\pset format unaligned
\pset tuples_only on
\pset null '(null)'
GRANT ALL ON FUNCTION pg_temp.try TO PUBLIC;
CREATE SCHEMA watched_rights;
CREATE TABLE watched_rights.t (id int PRIMARY KEY, v text);
CREATE TABLE watched_rights.keyless (v text);
CREATE VIEW watched_rights.v AS SELECT * FROM watched_rights.t;
CREATE MATERIALIZED VIEW watched_rights.m AS SELECT * FROM watched_rights.t;
CREATE SEQUENCE watched_rights.s;
CREATE TYPE watched_rights.composite AS (a int);
CREATE TEMPORARY TABLE temporary (id int PRIMARY KEY);
CREATE UNLOGGED TABLE watched_rights.unlogged (id int PRIMARY KEY);
CREATE TABLE watched_rights."a.b ""c"" *" (id int PRIMARY KEY);

-- what cannot be watched
SELECT pg_temp.try(format('SELECT usher.watch(%L)', t)) FROM unnest(ARRAY['watched_rights.v', 'watched_rights.m', 'watched_rights.s', 'watched_rights.t_pkey',
    'watched_rights.composite', 'temporary', 'pg_class', 'pg_catalog.pg_statistic', 'information_schema.sql_features', 'usher.tenants', 'usher.log', 'watched_rights.keyless', 'nowhere']) t;
SELECT pg_temp.try('SELECT usher.watch(NULL)'), pg_temp.try('SELECT usher.watch(4711)');
SELECT pg_temp.try(format($$SELECT usher.watch('watched_rights.t', %s)$$, a)) FROM unnest(ARRAY[
    $$'{}'$$, 'NULL', $$'{insert}'$$, $$'{create,NULL}'$$, $$'{read}'$$, $$key => '{}'$$, $$key => '{nr}'$$, $$key => '{id,id}'$$, $$key => '{ctid}'$$,
    $$columns => '{v,nr}'$$, $$columns => '{v,v}'$$, $$columns => '{NULL}'$$, $$columns => '{tableoid}'$$, $$'{update}', snapshot => true$$]) a;
-- a condition is one expression, over the columns of the row
SELECT pg_temp.try(format($$SELECT usher.watch('watched_rights.t', condition => %L)$$, c)) FROM unnest(ARRAY[
    '', 'v', 'nr > 1', 'OLD.nr > 1', 'v = 1)', 'v > ''a'', true', 'true; DROP TABLE watched_rights.t', 'v = ''a'' GROUP BY v', 'true AS x',
    '(SELECT true)', 'count(*) > 1', 'NEW.ctid IS NULL', 'other.v = ''a''', 'id /* */ > -- x']) c;
SELECT count(*) FROM usher.watches;
SELECT usher.watch('watched_rights.unlogged'), usher.watch('watched_rights."a.b ""c"" *"');
INSERT INTO watched_rights."a.b ""c"" *" VALUES (1);
SELECT type, topic FROM usher.events ORDER BY position DESC LIMIT 1;
SELECT pg_temp.try($$SELECT usher.unwatch('watched_rights.t')$$), pg_temp.try($$SELECT usher.unwatch('watched_rights.v')$$);
CALL usher.watch_snapshot('watched_rights.t');
CALL usher.watch_snapshot('watched_rights.unlogged', 0);
SELECT pg_temp.try($$CALL usher.watch_snapshot('watched_rights.unlogged')$$);

-- the trigger function by itself
SELECT pg_temp.try('SELECT usher.watch_event()');
CREATE TRIGGER mine BEFORE INSERT ON watched_rights.t FOR EACH ROW EXECUTE FUNCTION usher.watch_event('create', '0', 'all');
SELECT pg_temp.try($$INSERT INTO watched_rights.t VALUES (1)$$);
DROP TRIGGER mine ON watched_rights.t;
CREATE TRIGGER mine AFTER INSERT ON watched_rights.t EXECUTE FUNCTION usher.watch_event('create', '0', 'all');
SELECT pg_temp.try($$INSERT INTO watched_rights.t VALUES (1)$$);
DROP TRIGGER mine ON watched_rights.t;
CREATE FUNCTION pg_temp.by_hand(arguments text, condition text DEFAULT 'true') RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    result text;
BEGIN
    EXECUTE format('CREATE TRIGGER mine AFTER INSERT ON watched_rights.t FOR EACH ROW WHEN (%s) EXECUTE FUNCTION usher.watch_event(%s)', condition, arguments);
    result := pg_temp.try('INSERT INTO watched_rights.t VALUES (1) RETURNING id');
    DROP TRIGGER mine ON watched_rights.t;
    RETURN result;
END $$;
SELECT pg_temp.by_hand(a) FROM unnest(ARRAY['', $$'create'$$, $$'make', '0', 'all'$$, $$'create,', '0', 'all'$$, $$'create', '-1', 'all'$$, $$'create', '99', 'all'$$,
    $$'create', '1', 'all'$$, $$'create', '0', '2'$$, $$'create', '0', 'none'$$, $$'create', '0', '99999999999999999999'$$]) a;
SELECT pg_temp.by_hand($$'create', '1', '1'$$, c) FROM unnest(ARRAY['NEW.id = 1', 'true OR NEW.id = 1', 'true OR ROW(NEW.id) IS NULL', 'true OR ROW(NEW.id, NEW.id + 1) IS NULL', 'true OR ROW(NEW.id, NEW.v, NEW.v) IS NULL']) c;
SELECT pg_temp.by_hand($$'create', '1', '1'$$, 'true OR ROW(NEW.id, NEW.v) IS NULL');
SELECT type, key, data FROM usher.events WHERE topic = 'watched_rights.t';

-- who may watch: the owner, if he may append; others write without knowing of it
CREATE ROLE regress_watch_owner IN ROLE usher_writer;
CREATE ROLE regress_watch_writer IN ROLE usher_writer;
CREATE ROLE regress_watch_app;
CREATE ROLE regress_watch_poor;
GRANT USAGE, CREATE ON SCHEMA watched_rights TO regress_watch_owner, regress_watch_poor, regress_watch_app, regress_watch_writer;
SET ROLE regress_watch_owner;
CREATE TABLE watched_rights.owned (id int PRIMARY KEY, v text);
GRANT ALL ON watched_rights.owned TO regress_watch_writer, regress_watch_app;
SET ROLE regress_watch_writer;
SELECT pg_temp.try($$SELECT usher.watch('watched_rights.owned')$$);
SET ROLE regress_watch_app;
SELECT pg_temp.try($$SELECT usher.watch('watched_rights.owned')$$);
SET ROLE regress_watch_owner;
SELECT usher.watch('watched_rights.owned');
SET ROLE regress_watch_writer;
SELECT pg_temp.try($$SELECT usher.unwatch('watched_rights.owned')$$), pg_temp.try($$SELECT usher.watch('watched_rights.owned', '{delete}')$$),
    pg_temp.try($$SELECT usher.watch_snapshot_batch('watched_rights.owned', 0, 0, 1)$$);
SET ROLE regress_watch_app;
INSERT INTO watched_rights.owned VALUES (1, 'app');
SELECT pg_temp.try($$SELECT usher.record_read('watched_rights.owned', '1')$$);
RESET ROLE;
SELECT type, tenant, metadata -> 'actor' ->> 'id' FROM usher.events ORDER BY position DESC LIMIT 1;
SET ROLE regress_watch_writer;
SELECT usher.record_read('watched_rights.owned', '1') IS NOT NULL;
RESET ROLE;
SELECT type, metadata -> 'actor' ->> 'id' FROM usher.events ORDER BY position DESC LIMIT 1;
REVOKE ALL ON watched_rights.owned FROM regress_watch_writer;
SET ROLE regress_watch_writer;
SELECT pg_temp.try($$SELECT usher.record_read('watched_rights.owned', '1')$$);
-- an owner who may not append, from the beginning or later
SET ROLE regress_watch_poor;
CREATE TABLE watched_rights.poor (id int PRIMARY KEY);
RESET ROLE;
SELECT pg_temp.try($$SELECT usher.watch('watched_rights.poor')$$);
REVOKE usher_writer FROM regress_watch_owner;
SELECT pg_temp.try($$INSERT INTO watched_rights.owned VALUES (2)$$);
GRANT usher_writer TO regress_watch_owner;
INSERT INTO watched_rights.owned VALUES (2);
ALTER TABLE watched_rights.owned OWNER TO regress_watch_poor;
SELECT pg_temp.try($$INSERT INTO watched_rights.owned VALUES (3)$$);
ALTER TABLE watched_rights.owned OWNER TO regress_watch_owner;

-- the tenant is that of the session, whoever the change runs as
SELECT usher.create_tenant('watch-red') > 1, usher.create_tenant('watch-blue') > 1;
SELECT usher.grant_tenant('watch-red', 'regress_watch_app');
SELECT usher.stable_position() AS start \gset
CREATE FUNCTION watched_rights.as_owner(n int) RETURNS void LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'INSERT INTO watched_rights.owned VALUES (n, current_user)';
ALTER FUNCTION watched_rights.as_owner OWNER TO regress_watch_owner;
SET ROLE regress_watch_app;
INSERT INTO watched_rights.owned VALUES (10, 'red by its grant');
SELECT watched_rights.as_owner(11);
SET usher.tenant = 'watch-blue';
SELECT pg_temp.try($$INSERT INTO watched_rights.owned VALUES (12)$$);
RESET usher.tenant;
RESET ROLE;
SET usher.tenant = 'watch-blue';
INSERT INTO watched_rights.owned VALUES (13, 'blue by its setting');
RESET usher.tenant;
SELECT t.slug, l.type, l.key, l.data -> 'new' ->> 'v', l.metadata -> 'actor' ->> 'id' FROM usher.log l JOIN usher.tenants t USING (tenant_id)
WHERE l.position > :start ORDER BY l.position;
-- the condition is the owner's, also when a superuser takes the snapshot
CREATE TABLE watched_rights.evaluated (who text);
GRANT ALL ON watched_rights.evaluated TO PUBLIC;
GRANT CREATE, USAGE ON SCHEMA watched_rights TO regress_watch_owner;
SET ROLE regress_watch_owner;
CREATE TABLE watched_rights.conditional (id int PRIMARY KEY);
INSERT INTO watched_rights.conditional VALUES (1);
CREATE FUNCTION watched_rights.note_me(id int) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO watched_rights.evaluated VALUES (current_user);
    PERFORM set_config('search_path', 'watched_rights', false);
    RETURN true;
END $$;
SELECT usher.watch('watched_rights.conditional', condition => 'watched_rights.note_me(id)');
RESET ROLE;
CALL usher.watch_snapshot('watched_rights.conditional');
SELECT who, current_setting('search_path') FROM watched_rights.evaluated;
-- a read-only transaction
BEGIN READ ONLY;
SELECT usher.record_read('watched_rights.owned', '1');
ROLLBACK;
SET client_min_messages = warning;
DROP SCHEMA watched_rights CASCADE;
DROP ROLE regress_watch_owner, regress_watch_writer, regress_watch_app, regress_watch_poor;
