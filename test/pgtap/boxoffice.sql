-- The box office's interface, and the rules for everything in its schema.
BEGIN;
CREATE TEMPORARY TABLE interface (n int GENERATED ALWAYS AS IDENTITY, name text, arguments text, result text);
INSERT INTO interface (name, arguments, result) VALUES
    ('reserve', 'show bigint, zone bigint, user_id text, quantity integer, seats text[] DEFAULT NULL::text[], idempotency_key text DEFAULT NULL::text, ttl interval DEFAULT ''00:10:00''::interval, price_type bigint DEFAULT NULL::bigint', 'boxoffice.booking'),
    ('reserve_items', 'show bigint, user_id text, items boxoffice.reserve_item[], idempotency_key text DEFAULT NULL::text, ttl interval DEFAULT ''00:10:00''::interval', 'boxoffice.booking'),
    ('reserve_many', 'requests boxoffice.reserve_request[], tokens text[] DEFAULT NULL::text[]', 'SETOF boxoffice.reserve_result'),
    ('confirm', 'booking uuid, payment_ref text, user_id text DEFAULT NULL::text', 'boxoffice.booking'),
    ('cancel', 'booking uuid, reason text DEFAULT NULL::text, items integer[] DEFAULT NULL::integer[], user_id text DEFAULT NULL::text', 'boxoffice.booking'),
    ('booking', 'booking uuid, user_id text DEFAULT NULL::text', 'boxoffice.booking'),
    ('availability', 'show bigint', 'TABLE(zone_id bigint, name text, capacity bigint, free bigint, numbered boolean)'),
    ('create_category', 'slug text, name text', 'bigint'),
    ('create_event', 'title text, currency text, category bigint DEFAULT NULL::bigint, description text DEFAULT ''''::text, venue text DEFAULT ''''::text, organiser text DEFAULT ''''::text, user_limit integer DEFAULT NULL::integer, sale_from timestamp with time zone DEFAULT NULL::timestamp with time zone, sale_until timestamp with time zone DEFAULT NULL::timestamp with time zone, max_expired_holds integer DEFAULT 3', 'bigint'),
    ('publish_event', 'event bigint', 'void'),
    ('create_show', 'event bigint, time_zone text, starts_local timestamp without time zone', 'bigint'),
    ('create_zone', 'show bigint, name text, capacity bigint, numbered boolean DEFAULT false', 'bigint'),
    ('create_price_type', 'zone bigint, name text, unit_price bigint, tax_bp integer DEFAULT 0, fee_bp integer DEFAULT 0, ordinal integer DEFAULT 0', 'bigint'),
    ('set_capacity', 'zone bigint, capacity bigint', 'void'),
    ('add_seats', 'zone bigint, row_name text, row_rank integer, first integer, last integer, accessible integer[] DEFAULT NULL::integer[]', 'bigint'),
    ('begin_payment', 'booking uuid, provider_ref text, user_id text DEFAULT NULL::text', 'boxoffice.booking'),
    ('begin_refund', 'booking uuid', 'boxoffice.booking'),
    ('best_available', 'show bigint, zone bigint, user_id text, quantity integer, accessible boolean DEFAULT false, split boolean DEFAULT false, idempotency_key text DEFAULT NULL::text, ttl interval DEFAULT ''00:10:00''::interval, price_type bigint DEFAULT NULL::bigint', 'boxoffice.booking'),
    ('bookings', 'user_id text, status text DEFAULT NULL::text, after uuid DEFAULT NULL::uuid, max integer DEFAULT 100', 'SETOF boxoffice.booking'),
    ('cancel_event', 'event bigint, reason text DEFAULT NULL::text', 'void'),
    ('cancel_show', 'show bigint, reason text DEFAULT NULL::text', 'void'),
    ('end_event', 'event bigint', 'void'),
    ('extend', 'booking uuid, more interval, user_id text DEFAULT NULL::text', 'boxoffice.booking'),
    ('finish_refund', 'booking uuid, succeeded boolean', 'boxoffice.booking'),
    ('move_show', 'show bigint, starts_local timestamp without time zone, time_zone text DEFAULT NULL::text', 'void'),
    ('pending', 'user_id text', 'SETOF boxoffice.booking'),
    ('update_event', 'event bigint, title text DEFAULT NULL::text, description text DEFAULT NULL::text, venue text DEFAULT NULL::text, organiser text DEFAULT NULL::text, category bigint DEFAULT NULL::bigint, user_limit integer DEFAULT NULL::integer, sale_from timestamp with time zone DEFAULT NULL::timestamp with time zone, sale_until timestamp with time zone DEFAULT NULL::timestamp with time zone, max_expired_holds integer DEFAULT NULL::integer, clear text[] DEFAULT NULL::text[]', 'void'),
    ('update_zone', 'zone bigint, name text', 'void'),
    ('update_price_type', 'price_type bigint, name text DEFAULT NULL::text, unit_price bigint DEFAULT NULL::bigint, tax_bp integer DEFAULT NULL::integer, fee_bp integer DEFAULT NULL::integer, ordinal integer DEFAULT NULL::integer, active boolean DEFAULT NULL::boolean', 'void'),
    ('currency_exponent', 'currency text', 'integer'),
    ('check', 'wait interval DEFAULT ''00:00:05''::interval', 'TABLE(invariant text, ok boolean, detail text)');
CREATE TEMPORARY VIEW functions AS
    SELECT p.oid, p.oid::regprocedure::text AS name, p.proname, p.proconfig, p.proacl, p.prosecdef, l.lanname
    FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang WHERE p.pronamespace = 'boxoffice'::regnamespace;
CREATE TEMPORARY VIEW tables AS
    SELECT c.oid, c.relname, c.relrowsecurity, c.relacl, c.relowner FROM pg_class c WHERE c.relnamespace = 'boxoffice'::regnamespace AND c.relkind = 'r';

SELECT plan((SELECT count(*)::int FROM interface) * 2 + 12);
SELECT is((SELECT pg_get_function_arguments(p.oid) FROM pg_proc p WHERE p.pronamespace = 'boxoffice'::regnamespace AND p.proname = i.name), i.arguments,
    'arguments of ' || i.name) FROM interface i ORDER BY n;
SELECT is((SELECT pg_get_function_result(p.oid) FROM pg_proc p WHERE p.pronamespace = 'boxoffice'::regnamespace AND p.proname = i.name), i.result,
    'result of ' || i.name) FROM interface i ORDER BY n;
SELECT set_eq($$SELECT proname::text FROM functions f WHERE EXISTS (SELECT FROM aclexplode(f.proacl) a
        WHERE a.grantee IN (SELECT oid FROM pg_roles WHERE rolname LIKE 'usher\_%'))$$,
    'SELECT name FROM interface', 'what roles may call is the interface');
SELECT is_empty($$SELECT name FROM functions WHERE obj_description(oid, 'pg_proc') IS NULL$$, 'every function has a comment');
SELECT is_empty($$SELECT name FROM functions WHERE proacl IS NULL OR EXISTS (SELECT FROM aclexplode(proacl) WHERE grantee = 0)$$, 'PUBLIC may execute nothing');
SELECT is_empty($$SELECT name FROM functions WHERE prosecdef$$, 'no function runs with its owner''s rights by itself');
SELECT is_empty($$SELECT name FROM functions WHERE lanname <> 'c'
    AND NOT EXISTS (SELECT FROM unnest(proconfig) s WHERE s = 'search_path=pg_catalog, pg_temp')$$, 'every function that is not in C pins its search_path');
SELECT is_empty($$SELECT relname FROM tables WHERE NOT relrowsecurity$$, 'every table has row-level security');
SELECT is_empty($$SELECT relname FROM tables t WHERE NOT EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = t.oid
    AND pg_get_expr(p.polqual, p.polrelid) LIKE '%current_tenant%')$$, 'the policy of every table is the session''s tenant');
SELECT is_empty($$SELECT relname, grantee::regrole, privilege_type FROM tables t, aclexplode(relacl)
    WHERE grantee <> t.relowner AND privilege_type <> 'SELECT'$$, 'nobody but the owner may write a table');
SELECT is_empty($$SELECT relname FROM tables WHERE obj_description(oid, 'pg_class') IS NULL$$, 'every table has a comment');
SELECT is_empty($$SELECT relname FROM tables t WHERE NOT EXISTS (SELECT FROM pg_trigger g WHERE g.tgrelid = t.oid AND g.tgname = 'guard')$$, 'every table is guarded');
SELECT is_empty($$SELECT conname FROM pg_constraint WHERE connamespace = 'boxoffice'::regnamespace AND contype = 'f'$$, 'no foreign key: its lock would be a hot row');
SELECT is(array_agg(boxoffice.currency_exponent(c) ORDER BY c), ARRAY[3, 4, 2, 0], 'exponents of ISO 4217') FROM unnest(ARRAY['EUR', 'JPY', 'BHD', 'CLF']) c;
SELECT * FROM finish();
ROLLBACK;
