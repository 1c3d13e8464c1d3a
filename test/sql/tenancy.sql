-- Tenants and roles: who sees, appends and configures what, whatever it sets.
\getenv inputdir PG_ABS_SRCDIR
\set include :inputdir '/sql/include/try.sql'
\set ECHO none
\i :include
\set ECHO all
\pset format unaligned
\pset tuples_only on
\pset null '(null)'
CREATE ROLE regress_usher_reader IN ROLE usher_reader;
CREATE ROLE regress_usher_writer IN ROLE usher_writer;
CREATE ROLE regress_usher_admin IN ROLE usher_admin;
CREATE ROLE regress_usher_nobody;
CREATE ROLE regress_usher_bound IN ROLE usher_writer;
CREATE ROLE regress_usher_group IN ROLE usher_writer;
CREATE ROLE regress_usher_member IN ROLE regress_usher_group;
CREATE ROLE regress_usher_all IN ROLE usher_reader;
SELECT usher.create_tenant('red') > 1, usher.create_tenant('blue') > 1;
SELECT usher.grant_tenant('red', 'regress_usher_bound');
SELECT usher.grant_tenant('red', 'regress_usher_group');
SELECT usher.grant_tenant('blue', 'regress_usher_member');
SELECT usher.grant_tenant('*', 'regress_usher_all');
SELECT tenant_id AS red FROM usher.tenants WHERE slug = 'red' \gset
SELECT tenant_id AS blue FROM usher.tenants WHERE slug = 'blue' \gset
SELECT usher.stable_position() AS start \gset
-- each tenant has its own stream of the same name
SELECT usher.append('same-1', 'default.made', '{}', 0, '{}', '00000000-0000-4000-8000-00000000bb01');
SET usher.tenant = 'red';
SELECT usher.append('same-1', 'red.made', '{}', 0, '{}', '00000000-0000-4000-8000-00000000bb02');
SELECT usher.append('red-1', 'red.made', '{}', 0);
SELECT usher.set_stream_limits('red-1', max_count => 5);
SET usher.tenant = 'blue';
SELECT usher.append('same-1', 'blue.made', '{}', 0), usher.append('same-1', 'blue.changed', '{}', 1);
SELECT usher.publish('blue', 'k', 'blue.made', '{}', '{}', '00000000-0000-4000-8000-00000000bb03');
RESET usher.tenant;

-- what a role sees of the tenants, in every way there is to look
CREATE FUNCTION pg_temp.look(start bigint, red integer, blue integer) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
    statement text;
BEGIN
    FOREACH statement IN ARRAY ARRAY[
        'SELECT usher.tenant_name(usher.current_tenant())',
        format('SELECT string_agg(type, '' '') FROM usher.read(%s)', start),
        format('SELECT string_agg(e.type, '' '') FROM usher.read_page(%s, 10, ''*'') p, unnest(p.events) e', start),
        format('SELECT string_agg(type, '' '') FROM usher.read_category(''same'', %s)', start),
        'SELECT string_agg(type, '' '') FROM usher.read_stream(''same-1'')',
        'SELECT usher.stream_version(''same-1'') || '' '' || usher.stream_version(''red-1'')',
        'SELECT (usher.last_event(''same-1'')).type',
        'SELECT (usher.event_by_id(''00000000-0000-4000-8000-00000000bb02'')).type',
        'SELECT (usher.event_by_id(''00000000-0000-4000-8000-00000000bb03'')).type',
        format('SELECT string_agg(type, '' '' ORDER BY position) FROM usher.events WHERE position > %s', start),
        format('SELECT string_agg(type, '' '' ORDER BY position) FROM usher.log WHERE position > %s', start),
        'SELECT string_agg(tenant || ''/'' || stream || '' '' || version, '' '' ORDER BY tenant, stream) FROM usher.streams WHERE stream IN (''same-1'', ''red-1'')',
        'SELECT string_agg(stream, '' '' ORDER BY tenant_id, stream) FROM usher.stream_registry WHERE stream IN (''same-1'', ''red-1'')',
        'SELECT string_agg(stream, '' '') FROM usher.stream_limits WHERE stream IN (''same-1'', ''red-1'')',
        'SELECT string_agg(slug, '' '' ORDER BY slug) FROM usher.tenants WHERE slug IN (''default'', ''red'', ''blue'')',
        format('SELECT usher.tenant_name(%s) || '' '' || usher.tenant_name(%s)', red, blue),
        format('SELECT usher.stream_head_of(%s, ''same-1'') || '' '' || usher.stream_head_of(%s, ''same-1'')', red, blue)
    ] LOOP
        RETURN NEXT regexp_replace(regexp_replace(regexp_replace(statement, '_page\(\d+|read\(\d+|_category\(''same'', \d+|position > \d+', '...', 'g'),
            '_name\(\d+\)', '_name(N)', 'g'), '_of\(\d+', '_of(N', 'g') || ' => ' || pg_temp.try(statement);
    END LOOP;
END
$$;
SET ROLE regress_usher_reader;
SELECT pg_temp.look(:start, :red, :blue);
SET usher.tenant = 'red';
SELECT pg_temp.try('SELECT count(*) FROM usher.read()');
SELECT pg_temp.try('SELECT count(*) FROM usher.log');
SELECT pg_temp.try('SELECT count(*) FROM usher.events');
SELECT pg_temp.try('SELECT count(*) FROM usher.streams');
SELECT pg_temp.try('SELECT count(*) FROM usher.tenants');
RESET usher.tenant;
RESET ROLE;

-- a role with one tenant is in it without setting anything, and cannot leave it
SET ROLE regress_usher_bound;
SELECT pg_temp.look(:start, :red, :blue);
SELECT usher.append('same-1', 'red.changed', '{}', 1);
SELECT pg_temp.try($$SELECT usher.append('same-1', 'x', '{}', NULL, '{}', '00000000-0000-4000-8000-00000000bb03')$$);
SET usher.tenant = 'red';
SELECT usher.stream_version('same-1');
SET usher.tenant = 'blue';
SELECT pg_temp.look(:start, :red, :blue);
SELECT pg_temp.try($$SELECT usher.append('same-1', 'x')$$);
SELECT pg_temp.try($$SELECT usher.publish('t', 'k', 'x')$$);
SELECT pg_temp.try($$SELECT usher.wait(0, '0')$$);
-- whether another tenant exists is not told
SET usher.tenant = 'green';
SELECT pg_temp.try('SELECT usher.current_tenant()');
SET usher.tenant = '*';
SELECT pg_temp.try('SELECT usher.current_tenant()');
SET usher.tenant = 'default';
SELECT pg_temp.try('SELECT usher.tenant_name(usher.current_tenant())');
RESET usher.tenant;
SET row_security = off;
SELECT pg_temp.try('SELECT count(*) FROM usher.log');
RESET row_security;
-- not through a prepared plan, nor a partition, nor a session variable within a function
PREPARE mine AS SELECT count(*) FROM usher.log WHERE position > $1;
EXECUTE mine(:start);
SET usher.tenant = 'blue';
EXECUTE mine(:start);
RESET usher.tenant;
RESET ROLE;
SELECT partition AS partition FROM usher.log_partitions ORDER BY from_position LIMIT 1 \gset
SET ROLE regress_usher_bound;
SELECT regexp_replace(pg_temp.try(format('SELECT count(*) FROM %s', :'partition')), 'log_p\d+', 'log_p...');
SELECT pg_temp.try(format($$SET usher.tenant = 'blue'; SELECT count(*) FROM usher.log WHERE position > %s$$, :start));
RESET usher.tenant;
RESET ROLE;
-- the plan of the owner before does not serve the role after
EXECUTE mine(:start);
DEALLOCATE mine;

-- through a group, and with two tenants of which none is the default
SET ROLE regress_usher_group;
SELECT usher.tenant_name(usher.current_tenant());
RESET ROLE;
SET ROLE regress_usher_member;
SELECT pg_temp.try('SELECT usher.current_tenant()');
SET usher.tenant = 'red';
SELECT usher.tenant_name(usher.current_tenant());
SET usher.tenant = 'blue';
SELECT usher.tenant_name(usher.current_tenant());
RESET ROLE;
RESET usher.tenant;
-- all of them
SET ROLE regress_usher_all;
SELECT usher.tenant_name(usher.current_tenant());
SET usher.tenant = 'blue';
SELECT usher.tenant_name(usher.current_tenant()), usher.stream_version('same-1');
SET usher.tenant = 'green';
SELECT pg_temp.try('SELECT usher.current_tenant()');
RESET usher.tenant;
RESET ROLE;
-- grants and memberships take effect at once
SELECT usher.revoke_tenant('blue', 'regress_usher_member');
SET ROLE regress_usher_member;
SELECT usher.tenant_name(usher.current_tenant());
RESET ROLE;
REVOKE regress_usher_group FROM regress_usher_member;
GRANT usher_reader TO regress_usher_member;
SET ROLE regress_usher_member;
SELECT usher.tenant_name(usher.current_tenant());
RESET ROLE;
SELECT usher.grant_tenant('blue', 'regress_usher_bound');
SET ROLE regress_usher_bound;
SET usher.tenant = 'blue';
SELECT usher.stream_version('same-1');
RESET usher.tenant;
SELECT pg_temp.try('SELECT usher.current_tenant()');
RESET ROLE;
SELECT usher.revoke_tenant('blue', 'regress_usher_bound');

-- an administrator names any tenant, and sees the one it has named
SET ROLE regress_usher_admin;
SELECT pg_temp.look(:start, :red, :blue);
SET usher.tenant = 'blue';
SELECT pg_temp.look(:start, :red, :blue) LIMIT 5;
RESET usher.tenant;
RESET ROLE;

-- who may do what
CREATE TABLE pg_temp.calls (n int GENERATED ALWAYS AS IDENTITY, call text);
GRANT SELECT ON pg_temp.calls TO PUBLIC;
INSERT INTO pg_temp.calls (call) VALUES
    ($$SELECT count(*) FROM usher.read_stream('same-1')$$),
    ($$SELECT usher.stable_position() > 0$$),
    ($$SELECT usher.append('same-2', 'role.made') > 0$$),
    ($$SELECT usher.publish('t', 'k', 'role.made') IS NOT NULL$$),
    ($$SELECT usher.append_batch('same-2', ARRAY[('a', '{}', NULL, NULL)]::usher.new_event[]) > 0$$),
    ($$SELECT usher.append_many(ARRAY['same-2'], ARRAY['a'], ARRAY['{}'])$$),
    ($$SELECT usher.delete_stream('same-2', NULL, true) > 0$$),
    ($$SELECT usher.set_stream_limits('same-2', max_count => 1)$$),
    ($$SELECT usher.set_category_retention('same', '1 year')$$),
    ($$SELECT usher.set_retention(NULL, NULL)$$),
    ($$SELECT usher.apply_retention()$$),
    ($$SELECT usher.drop_partitions_before(0)$$),
    ($$SELECT usher.hold('role', 1)$$),
    ($$SELECT usher.release('role')$$),
    ($$SELECT usher.create_tenant('role') > 1$$),
    ($$SELECT usher.grant_tenant('role', 'regress_usher_nobody')$$),
    ($$SELECT usher.revoke_tenant('role', 'regress_usher_nobody')$$),
    ($$SELECT count(*) > 0 FROM usher.log_partitions$$),
    ($$SELECT count(*) > 0 FROM usher.check()$$),
    ($$SELECT usher.make_partition(0, 1)$$),
    ($$SELECT usher.carry_out_removals()$$),
    ($$SELECT count(*) FROM usher.tenant_grants WHERE role = 'usher_admin'::regrole$$),
    ($$SELECT count(*) FROM usher.snapshots WHERE stream = 'none'$$),
    ($$SELECT count(*) FROM usher.projections$$),
    ($$SELECT count(*) FROM usher.holds$$),
    ($$SELECT count(*) FROM usher.stream_segments WHERE stream = 'none'$$),
    ($$SELECT last_value > 0 FROM usher.position_mark$$),
    ($$SELECT nextval('usher.position_mark')$$),
    ($$INSERT INTO usher.log SELECT * FROM usher.log LIMIT 1$$),
    ($$UPDATE usher.log SET type = 'x' WHERE position = 0$$),
    ($$DELETE FROM usher.log WHERE position = 0$$),
    ($$TRUNCATE usher.log$$),
    ($$INSERT INTO usher.stream_registry VALUES (1, 's', 's', 1, now())$$),
    ($$DELETE FROM usher.stream_registry WHERE stream = 'none'$$),
    ($$SELECT stream FROM usher.stream_registry WHERE stream = 'same-1' FOR UPDATE$$),
    ($$LOCK TABLE usher.log IN ACCESS EXCLUSIVE MODE$$),
    ($$SET usher.dedupe_window = 0$$),
    ($$SET usher.max_event_size = '512MB'$$),
    ($$SET usher.max_transaction_events = 10000000$$);
SET ROLE regress_usher_nobody;
SELECT DISTINCT left(pg_temp.try(call), 5) FROM pg_temp.calls;
SELECT pg_temp.try('SELECT count(*) FROM usher.log');
SET ROLE regress_usher_reader;
SELECT call, pg_temp.try(call) FROM pg_temp.calls ORDER BY n;
SET ROLE regress_usher_writer;
SELECT call, pg_temp.try(call) FROM pg_temp.calls ORDER BY n;
SET ROLE regress_usher_admin;
SELECT call, pg_temp.try(call) FROM pg_temp.calls ORDER BY n;
RESET ROLE;

-- a writer of one tenant locks nothing of another
SELECT relname FROM pg_class WHERE relnamespace = 'usher'::regnamespace AND relkind IN ('r', 'p') AND NOT relrowsecurity;
DELETE FROM usher.retention;
DELETE FROM usher.category_retention WHERE category = 'same';
DELETE FROM usher.tenants WHERE slug = 'role';
SELECT usher.revoke_tenant('red', 'regress_usher_bound');
SELECT usher.revoke_tenant('red', 'regress_usher_group');
SELECT usher.revoke_tenant('*', 'regress_usher_all');
SELECT count(*) FROM usher.tenant_grants;
DROP ROLE regress_usher_reader, regress_usher_writer, regress_usher_admin, regress_usher_nobody, regress_usher_bound,
    regress_usher_group, regress_usher_member, regress_usher_all;
