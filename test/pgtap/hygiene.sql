-- Rules for everything in the schema usher: comments, least privilege, pinned search paths, row-level security.
BEGIN;
CREATE TEMPORARY VIEW functions AS
    SELECT p.oid, p.oid::regprocedure::text AS name, p.prokind, p.proconfig, p.proacl, p.proowner, p.prosecdef, l.lanname, p.prosqlbody IS NOT NULL AS parsed
    FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang WHERE p.pronamespace = 'usher'::regnamespace;
CREATE TEMPORARY VIEW tables AS
    SELECT c.oid, c.relname, c.relkind, c.relrowsecurity, c.relacl, c.reloptions, c.relispartition FROM pg_class c WHERE c.relnamespace = 'usher'::regnamespace;

SELECT plan(16);

SELECT is_empty($$SELECT name FROM functions WHERE obj_description(oid, 'pg_proc') IS NULL$$, 'every function has a comment');
SELECT is_empty($$SELECT relname FROM tables WHERE relkind IN ('r', 'p', 'v') AND NOT relispartition AND obj_description(oid, 'pg_class') IS NULL$$,
    'every table and view has a comment');
SELECT is_empty($$SELECT typname FROM pg_type t JOIN pg_class c ON c.oid = t.typrelid
    WHERE t.typnamespace = 'usher'::regnamespace AND c.relkind = 'c' AND obj_description(t.oid, 'pg_type') IS NULL$$, 'every type has a comment');
SELECT isnt(obj_description('usher'::regnamespace, 'pg_namespace'), NULL, 'the schema has a comment');

SELECT is_empty($$SELECT name FROM functions WHERE proacl IS NULL OR EXISTS (SELECT FROM aclexplode(proacl) WHERE grantee = 0)$$,
    'PUBLIC may execute nothing');
SELECT is_empty($$SELECT relname FROM tables WHERE EXISTS (SELECT FROM aclexplode(relacl) WHERE grantee = 0)$$, 'PUBLIC may touch no table, view or sequence');
SELECT is_empty($$SELECT nspname FROM pg_namespace, aclexplode(nspacl) WHERE nspname = 'usher' AND grantee = 0$$, 'PUBLIC may not use the schema');
SELECT is_empty($$SELECT relname, grantee::regrole, privilege_type FROM tables, aclexplode(relacl)
    WHERE relname = 'log' AND grantee <> (SELECT relowner FROM pg_class WHERE oid = 'usher.log'::regclass) AND privilege_type <> 'SELECT'$$,
    'nobody but the owner may write the log with SQL');
SELECT is_empty($$SELECT relname FROM tables WHERE relispartition AND EXISTS (SELECT FROM aclexplode(relacl) WHERE grantee IN (
        SELECT oid FROM pg_roles WHERE rolname LIKE 'usher%'))$$, 'no role reads a partition past the log''s policies');
-- (Retention judges by every tenant's events, and tells nothing of them. Sinks have the events of every tenant, and so do those who
-- look after them; cursors are sequences, which only their owner can make; what is told of sinks to readers has no config. Metrics are
-- numbers of every tenant, for who watches the server, and no events. The gateway acts for the tenant that it names.)
SELECT set_eq($$SELECT name FROM functions WHERE prosecdef$$, ARRAY['usher.apply_retention()',
    'usher.set_cursor(integer,integer,bigint)', 'usher.cursor_position(integer,integer)', 'usher.drop_cursor()', 'usher.delete_sink_parts()', 'usher.delete_handler()',
    'usher.delete_subscription_parts()', 'usher.replay_sink_dead_letters(text,jsonb)', 'usher.purge_dead_letters(text,jsonb)', 'usher.cancel_replay(bigint)',
    'usher.memory_messages(text,text,bigint,integer)', 'usher.verify_sink(text,bigint,bigint)',
    'usher.sink_status_list()', 'usher.replay_status_list()', 'usher.metrics()',
    'usher.gateway_claim(text,text,text,bytea)', 'usher.gateway_keep(text,text,text,jsonb)',
    'usher.gateway_poll(text,text,text,integer,text,bigint)', 'usher.gateway_ack(text,text,text,bigint,bigint)',
    'usher.gateway_nack(text,text,text,bigint,bigint,text,interval)', 'usher.gateway_extend(text,text,text,bigint,interval)',
    'usher.gateway_subscription_pattern(text,text)', 'usher.gateway_subscriptions(text,text,integer)', 'usher.gateway_sinks(text,integer)', 'usher.gateway_dead_letters(text,text,text,bigint,integer)',
    'usher.gateway_replay_dead_letters(text,text,text,text,jsonb)', 'usher.gateway_status()', 'usher.gateway_revocations(bigint)',
    'usher.gateway_api_key(bytea)', 'usher.gateway_rate_limits()',
    'usher.gateway_box_booking(text,text,uuid)',
    'usher.gateway_box_bookings(text,text,text,uuid,integer,bigint,bigint)',
    'usher.gateway_box_change(text,text,text,uuid,text,jsonb)',
    'usher.gateway_box_availability(text,bigint,boolean)',
    'usher.gateway_box_list(text,text,boolean,jsonb,bigint,integer)',
    'usher.gateway_box_one(text,text,boolean,bigint)',
    'usher.gateway_box_organise(text,text,text,bigint,jsonb)',
    'usher.gateway_box_seats(text,boolean,bigint,boolean,boolean,text,integer)',
    'usher.gateway_issue_ticket(bytea,text,text,text,text,text,boolean,text,text,text,bigint,bigint)', 'usher.gateway_use_ticket(bytea,text)', 'usher.gateway_snapshot(text,text,text,jsonb)'], 'no other function runs with its owner''s rights');

SELECT is_empty($$SELECT name FROM functions WHERE lanname <> 'c' AND prokind = 'f'
    AND NOT EXISTS (SELECT FROM unnest(proconfig) s WHERE s = 'search_path=pg_catalog, pg_temp')$$, 'every function that is not in C pins its search_path');
-- (A procedure that commits cannot; it names every operator and function with its schema instead.)
SELECT is_empty($$SELECT name FROM functions WHERE prokind = 'p' AND lanname = 'plpgsql' AND name <> ALL (ARRAY['usher.rebuild(text)', 'usher.watch_snapshot(regclass,integer)'])$$,
    'no other procedure goes without a pinned search_path');

SELECT is_empty($$SELECT relname FROM tables WHERE relkind IN ('r', 'p') AND NOT relrowsecurity$$, 'every table has row-level security');
SELECT is_empty($$SELECT relname FROM tables t WHERE relkind IN ('r', 'p') AND NOT relispartition
    AND NOT EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = t.oid)$$, 'every table has a policy');
SELECT is_empty($$SELECT t.relname FROM tables t JOIN pg_attribute a ON a.attrelid = t.oid AND a.attname = 'tenant_id' AND a.attnotnull
    WHERE relkind IN ('r', 'p') AND NOT relispartition AND t.relname <> 'tenants' AND EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = t.oid
        AND pg_get_expr(p.polqual, p.polrelid) NOT LIKE '%current_tenant%')$$, 'the policy of every table with tenants is the session''s tenant');
SELECT is_empty($$SELECT relname FROM tables WHERE relkind = 'v' AND relname <> 'log_partitions'
    AND NOT coalesce(reloptions @> '{security_invoker=true}', false)$$, 'every view of tenants'' rows checks the rights of who looks');

SELECT * FROM finish();
ROLLBACK;
