-- The public interface: names, arguments with their defaults, results, volatility. Programs depend on each of them.
BEGIN;
CREATE TEMPORARY TABLE interface (n int GENERATED ALWAYS AS IDENTITY, name text, arguments text, result text, volatility text, kind text DEFAULT 'f');
INSERT INTO interface (name, arguments, result, volatility) VALUES
    -- appending
    ('append', 'stream text, type text, data jsonb DEFAULT ''{}''::jsonb, expected_version bigint DEFAULT NULL::bigint, metadata jsonb DEFAULT ''{}''::jsonb, event_id uuid DEFAULT NULL::uuid', 'bigint', 'volatile'),
    ('append_batch', 'stream text, events usher.new_event[], expected_version bigint DEFAULT NULL::bigint', 'bigint', 'volatile'),
    ('append_many', 'streams text[], types text[], data text[], metadata text[] DEFAULT NULL::text[], event_ids uuid[] DEFAULT NULL::uuid[]', 'bigint', 'volatile'),
    ('publish', 'topic text, key text, type text, data jsonb DEFAULT ''{}''::jsonb, metadata jsonb DEFAULT ''{}''::jsonb, event_id uuid DEFAULT NULL::uuid', 'uuid', 'volatile'),
    ('delete_stream', 'stream text, expected_version bigint DEFAULT NULL::bigint, reusable boolean DEFAULT false', 'bigint', 'volatile'),
    -- reading (before is read_stream's last argument: calls without it are as they were)
    ('read_stream', 'stream text, from_version bigint DEFAULT 1, max integer DEFAULT 1000, backwards boolean DEFAULT false, before bigint DEFAULT NULL::bigint', 'SETOF usher.event', 'volatile'),
    ('read_category', 'category text, after bigint DEFAULT 0, max integer DEFAULT 1000', 'SETOF usher.event', 'volatile'),
    ('read', 'after bigint DEFAULT 0, max integer DEFAULT 1000, pattern text DEFAULT ''*''::text', 'SETOF usher.event', 'volatile'),
    ('read_page', 'after bigint, max integer, pattern text, scan_max integer DEFAULT 100000, OUT next bigint, OUT events usher.event[]', 'record', 'volatile'),
    ('last_event', 'stream text, type text DEFAULT NULL::text', 'usher.event', 'volatile'),
    ('event_by_id', 'id uuid', 'usher.event', 'volatile'),
    ('stream_version', 'stream text', 'bigint', 'volatile'),
    ('stable_position', '', 'bigint', 'volatile'),
    ('committed_position', '', 'bigint', 'volatile'),
    ('last_position', '', 'bigint', 'volatile'),
    ('oldest_position', 'category text DEFAULT NULL::text', 'bigint', 'volatile'),
    ('matches', 'pattern text, type text', 'boolean', 'immutable'),
    ('category', 'stream text', 'text', 'immutable'),
    ('category_hash', 'category text', 'integer', 'immutable'),
    -- waiting
    ('wait', 'after bigint, timeout interval DEFAULT ''00:00:05''::interval, pattern text DEFAULT ''*''::text', 'bigint', 'volatile'),
    -- folding and projecting
    ('aggregate', 'stream text, reducer regprocedure, initial jsonb DEFAULT NULL::jsonb, until_version bigint DEFAULT NULL::bigint', 'jsonb', 'volatile'),
    ('project', 'name text, pattern text, handler regprocedure, reset regprocedure DEFAULT NULL::regprocedure', 'void', 'volatile'),
    ('unproject', 'name text', 'void', 'volatile'),
    -- retention
    ('set_retention', 'max_age interval DEFAULT NULL::interval, max_bytes bigint DEFAULT NULL::bigint, archive regprocedure DEFAULT NULL::regprocedure', 'void', 'volatile'),
    ('set_category_retention', 'category text, max_age interval DEFAULT NULL::interval', 'void', 'volatile'),
    ('set_stream_limits', 'stream text, max_age interval DEFAULT NULL::interval, max_count bigint DEFAULT NULL::bigint, truncate_before bigint DEFAULT NULL::bigint', 'void', 'volatile'),
    ('drop_partitions_before', '"position" bigint, force boolean DEFAULT false', 'void', 'volatile'),
    ('apply_retention', '', 'bigint', 'volatile'),
    ('schedule_maintenance', 'schedule text DEFAULT ''17 * * * *''::text', 'bigint', 'volatile'),
    ('hold', 'name text, "position" bigint', 'void', 'volatile'),
    ('release', 'name text', 'void', 'volatile'),
    -- tenants
    ('create_tenant', 'slug text, name text DEFAULT NULL::text, config jsonb DEFAULT ''{}''::jsonb, branding jsonb DEFAULT ''{}''::jsonb', 'integer', 'volatile'),
    ('grant_tenant', 'tenant text, role regrole', 'void', 'volatile'),
    ('revoke_tenant', 'tenant text, role regrole', 'void', 'volatile'),
    ('current_tenant', '', 'integer', 'stable'),
    -- relaying
    ('add_sink', 'name text, kind text, config jsonb DEFAULT ''{}''::jsonb, from_position bigint DEFAULT NULL::bigint', 'integer', 'volatile'),
    ('alter_sink', 'name text, config jsonb', 'void', 'volatile'),
    ('drop_sink', 'name text', 'void', 'volatile'),
    ('pause_sink', 'name text', 'void', 'volatile'),
    ('resume_sink', 'name text', 'void', 'volatile'),
    ('seek_sink', 'name text, "position" bigint', 'void', 'volatile'),
    ('set_sink_secret', 'sink text, name text, value text', 'void', 'volatile'),
    ('drop_sink_secret', 'sink text, name text', 'void', 'volatile'),
    ('add_route', 'sink text, pattern text, topic text, key text DEFAULT ''{stream}''::text, filter jsonb DEFAULT NULL::jsonb, priority integer DEFAULT 0, tombstones boolean DEFAULT false', 'bigint', 'volatile'),
    ('alter_route', 'route_id bigint, pattern text DEFAULT NULL::text, topic text DEFAULT NULL::text, key text DEFAULT NULL::text, filter jsonb DEFAULT NULL::jsonb, priority integer DEFAULT NULL::integer, tombstones boolean DEFAULT NULL::boolean', 'void', 'volatile'),
    ('drop_route', 'route_id bigint', 'void', 'volatile'),
    ('explain_route', 'sink text, type text, stream text, data jsonb DEFAULT ''{}''::jsonb, metadata jsonb DEFAULT ''{}''::jsonb, published_topic text DEFAULT NULL::text, published_key text DEFAULT NULL::text, OUT route_id bigint, OUT topic text, OUT key text, OUT reason text', 'record', 'stable'),
    ('replay', 'sink text, from_position bigint, to_position bigint, pattern text DEFAULT ''**''::text', 'bigint', 'volatile'),
    ('cancel_replay', 'replay_id bigint', 'void', 'volatile'),
    ('replay_dead_letters', 'name text, filter jsonb DEFAULT ''{}''::jsonb', 'bigint', 'volatile'),
    ('replay_sink_dead_letters', 'sink text, filter jsonb DEFAULT ''{}''::jsonb', 'bigint', 'volatile'),
    ('purge_dead_letters', 'sink text, filter jsonb DEFAULT ''{}''::jsonb', 'bigint', 'volatile'),
    ('memory_messages', 'sink text, topic text DEFAULT NULL::text, after bigint DEFAULT 0, max integer DEFAULT 1000', 'SETOF usher.memory_message', 'volatile'),
    ('verify_sink', 'name text, from_position bigint DEFAULT NULL::bigint, to_position bigint DEFAULT NULL::bigint', 'TABLE(problem text, "position" bigint, topic text, detail text)', 'volatile'),
    -- subscriptions
    ('subscribe', 'name text, pattern text DEFAULT ''*''::text, from_position bigint DEFAULT NULL::bigint, partitions integer DEFAULT 8, options jsonb DEFAULT ''{}''::jsonb', 'void', 'volatile'),
    ('unsubscribe', 'name text', 'void', 'volatile'),
    ('pause_subscription', 'name text', 'void', 'volatile'),
    ('resume_subscription', 'name text', 'void', 'volatile'),
    ('seek_subscription', 'name text, "position" bigint', 'void', 'volatile'),
    ('seek_subscription_time', 'name text, at timestamp with time zone', 'bigint', 'volatile'),
    ('poll', 'subscription text, max integer DEFAULT 100, wait interval DEFAULT ''00:00:00''::interval, member text DEFAULT NULL::text, ack bigint DEFAULT NULL::bigint', 'SETOF usher.delivery', 'volatile'),
    ('ack', 'subscription text, lease bigint, up_to bigint DEFAULT NULL::bigint', 'void', 'volatile'),
    ('nack', 'subscription text, lease bigint, "position" bigint, error text DEFAULT NULL::text, retry_after interval DEFAULT NULL::interval', 'void', 'volatile'),
    ('extend', 'subscription text, lease bigint, "interval" interval DEFAULT NULL::interval', 'void', 'volatile'),
    ('skip_dead_letter', 'subscription text, "position" bigint', 'void', 'volatile'),
    ('replay_subscription_dead_letters', 'subscription text, filter jsonb DEFAULT ''{}''::jsonb', 'bigint', 'volatile'),
    -- idempotency keys
    ('once', 'key text, fingerprint bytea, ttl interval DEFAULT ''24:00:00''::interval, wait boolean DEFAULT true, OUT fresh boolean, OUT response jsonb', 'record', 'volatile'),
    ('once_done', 'key text, response jsonb', 'void', 'volatile'),
    ('once_many', 'keys text[], fingerprints bytea[], ttl interval DEFAULT ''24:00:00''::interval, wait boolean DEFAULT true', 'TABLE(n integer, state text, response jsonb)', 'volatile'),
    ('once_done_many', 'keys text[], responses text[]', 'void', 'volatile'),
    -- handlers
    ('handle', 'name text, pattern text, handler regprocedure, options jsonb DEFAULT ''{}''::jsonb, mode text DEFAULT ''async''::text, from_position bigint DEFAULT NULL::bigint', 'void', 'volatile'),
    ('unhandle', 'name text', 'void', 'volatile'),
    -- watching tables
    ('watch', '"table" regclass, operations text[] DEFAULT ''{create,update,delete}''::text[], key text[] DEFAULT NULL::text[], columns text[] DEFAULT NULL::text[], condition text DEFAULT NULL::text, snapshot boolean DEFAULT false', 'void', 'volatile'),
    ('unwatch', '"table" regclass', 'void', 'volatile'),
    ('record_read', '"table" regclass, key jsonb', 'uuid', 'volatile'),
    ('watch_event', '', 'trigger', 'volatile'),
    -- metrics
    ('metrics', '', 'TABLE(name text, type text, help text, labels jsonb, value double precision)', 'volatile'),
    ('event_stats', 'OUT published bigint, OUT processed bigint, OUT retried bigint, OUT failed bigint, OUT queue_size bigint, OUT workers_active integer, OUT processing_ms double precision, OUT since timestamp with time zone', 'record', 'volatile'),
    ('metrics_since', '', 'timestamp with time zone', 'stable'),
    -- the HTTP gateway
    ('gateway_protocol', '', 'integer', 'immutable'),
    ('append_requests', 'requests usher.append_request[]', 'SETOF usher.append_result', 'volatile'),
    ('committed_range', 'OUT first bigint, OUT last bigint', 'record', 'volatile'),
    ('gateway_read_stream', 'tenant_name text, stream_name text, from_version bigint DEFAULT 1, max integer DEFAULT 100, backwards boolean DEFAULT false, before bigint DEFAULT NULL::bigint', 'TABLE(more boolean, "position" bigint, tenant text, stream text, version bigint, id uuid, type text, topic text, key text, slot integer, data jsonb, metadata jsonb, recorded_at timestamp with time zone)', 'volatile'),
    ('gateway_read_category', 'tenant_name text, category text, after bigint DEFAULT 0, max integer DEFAULT 100', 'TABLE(more boolean, "position" bigint, tenant text, stream text, version bigint, id uuid, type text, topic text, key text, slot integer, data jsonb, metadata jsonb, recorded_at timestamp with time zone)', 'volatile'),
    ('gateway_read_log', 'tenant_name text, after bigint DEFAULT 0, max integer DEFAULT 100, patterns text[] DEFAULT NULL::text[], scan_max integer DEFAULT 100000', 'TABLE(next bigint, more boolean, "position" bigint, tenant text, stream text, version bigint, id uuid, type text, topic text, key text, slot integer, data jsonb, metadata jsonb, recorded_at timestamp with time zone)', 'volatile'),
    ('gateway_tail', 'after bigint, max integer DEFAULT 1000', 'TABLE(next bigint, "position" bigint, tenant text, stream text, version bigint, id uuid, type text, topic text, key text, slot integer, data jsonb, metadata jsonb, recorded_at timestamp with time zone)', 'volatile'),
    ('gateway_heads', 'after bigint, max integer DEFAULT 10000, patterns text[] DEFAULT NULL::text[]', 'TABLE(next bigint, "position" bigint, tenant text, stream text, version bigint, id uuid, type text, topic text, key text, recorded_at timestamp with time zone)', 'volatile'),
    ('gateway_status', 'OUT version text, OUT protocol integer, OUT in_recovery boolean, OUT stable_position bigint, OUT oldest_position bigint, OUT now timestamp with time zone', 'record', 'volatile'),
    ('gateway_claim', 'tenant_name text, user_id text, idempotency_key text, fingerprint bytea, OUT fresh boolean, OUT response jsonb', 'record', 'volatile'),
    ('gateway_keep', 'tenant_name text, user_id text, idempotency_key text, response jsonb', 'jsonb', 'volatile'),
    ('gateway_poll', 'tenant_name text, user_id text, subscription text, max integer, member text, ack bigint DEFAULT NULL::bigint', 'SETOF usher.delivery', 'volatile'),
    ('gateway_ack', 'tenant_name text, user_id text, subscription text, lease bigint, up_to bigint DEFAULT NULL::bigint', 'void', 'volatile'),
    ('gateway_nack', 'tenant_name text, user_id text, subscription text, lease bigint, "position" bigint, error text DEFAULT NULL::text, retry_after interval DEFAULT NULL::interval', 'void', 'volatile'),
    ('gateway_extend', 'tenant_name text, user_id text, subscription text, lease bigint, "interval" interval DEFAULT NULL::interval', 'void', 'volatile'),
    ('gateway_subscription_pattern', 'tenant_name text, subscription text', 'text', 'stable'),
    ('gateway_subscriptions', 'tenant_name text, after text DEFAULT NULL::text, max integer DEFAULT 100', 'TABLE(name text, item jsonb)', 'volatile'),
    ('gateway_sinks', 'after text DEFAULT NULL::text, max integer DEFAULT 100', 'TABLE(name text, item jsonb)', 'volatile'),
    ('gateway_dead_letters', 'tenant_name text, subscription_name text DEFAULT NULL::text, sink_name text DEFAULT NULL::text, after bigint DEFAULT 0, max integer DEFAULT 100', 'TABLE(id bigint, item jsonb)', 'volatile'),
    ('gateway_replay_dead_letters', 'tenant_name text, user_id text, subscription_name text, sink_name text, filter jsonb DEFAULT ''{}''::jsonb', 'bigint', 'volatile'),
    ('gateway_revocations', 'after bigint DEFAULT 0', 'TABLE("position" bigint, tenant text, kind text, id text, not_before timestamp with time zone, not_before_unix bigint, recorded_at timestamp with time zone)', 'volatile'),
    ('gateway_api_key', 'hash bytea', 'TABLE(tenant text, name text, scopes text, rate_class text, issued_at bigint, expires_at bigint)', 'stable'),
    ('offer_snapshot', 'name text, function regprocedure', 'void', 'volatile'),
    ('withdraw_snapshot', 'name text', 'void', 'volatile'),
    ('gateway_snapshot', 'tenant_name text, user_id text, name text, arguments jsonb', 'TABLE("position" bigint, data jsonb)', 'volatile'),
    ('signal', 'topic text, data jsonb DEFAULT ''{}''::jsonb', 'bigint', 'volatile'),
    ('read_signals', 'after bigint DEFAULT NULL::bigint, max integer DEFAULT 1000', 'TABLE(next bigint, lost bigint, number bigint, topic text, data json, sender text, sent_at timestamp with time zone)', 'volatile'),
    ('gateway_signal', 'tenant text, topic text, data text, sender text', 'bigint', 'volatile'),
    ('gateway_signals', 'after bigint DEFAULT NULL::bigint, max integer DEFAULT 1000', 'TABLE(next bigint, lost bigint, number bigint, tenant text, topic text, data text, sender text, sent_at timestamp with time zone)', 'volatile'),
    ('gateway_issue_ticket', 'hash bytea, kind text, tenant text, user_id text, session text, actor_type text, is_key boolean, rate_class text, roles text, scopes text, issued_at bigint, token_expires_at bigint', 'bigint', 'volatile'),
    ('gateway_use_ticket', 'hash bytea, kind text', 'TABLE(tenant text, user_id text, session text, actor_type text, is_key boolean, rate_class text, roles text, scopes text, issued_at bigint, expires_at bigint)', 'volatile'),
    ('gateway_rate_limits', '', 'TABLE(tenant text, class text, per_minute integer, burst integer)', 'stable'),
    ('gateway_box_booking', 'tenant_name text, owner text, booking uuid', 'jsonb', 'volatile'),
    ('gateway_box_bookings', 'tenant_name text, owner text, status text DEFAULT NULL::text, after uuid DEFAULT NULL::uuid, max integer DEFAULT 100, event bigint DEFAULT NULL::bigint, show bigint DEFAULT NULL::bigint', 'TABLE(id uuid, item jsonb)', 'volatile'),
    ('gateway_box_change', 'tenant_name text, user_id text, owner text, booking uuid, action text, body jsonb DEFAULT ''{}''::jsonb', 'jsonb', 'volatile'),
    ('gateway_box_availability', 'tenant_name text, show bigint, drafts boolean DEFAULT false', 'jsonb', 'volatile'),
    ('gateway_box_list', 'tenant_name text, what text, drafts boolean, filter jsonb DEFAULT ''{}''::jsonb, after bigint DEFAULT 0, max integer DEFAULT 100', 'TABLE(id bigint, item jsonb)', 'volatile'),
    ('gateway_box_one', 'tenant_name text, what text, drafts boolean, id bigint', 'jsonb', 'volatile'),
    ('gateway_box_organise', 'tenant_name text, user_id text, work text, id bigint, body jsonb', 'jsonb', 'volatile'),
    ('gateway_box_seats', 'tenant_name text, drafts boolean, zone bigint, free boolean DEFAULT NULL::boolean, accessible boolean DEFAULT NULL::boolean, after text DEFAULT NULL::text, max integer DEFAULT 100', 'TABLE(id text, item jsonb)', 'volatile'),
    ('revoke', 'kind text, id text, not_before timestamp with time zone DEFAULT now()', 'bigint', 'volatile'),
    ('create_api_key', 'name text, scopes text[], expires_at timestamp with time zone DEFAULT NULL::timestamp with time zone, rate_class text DEFAULT ''general''::text', 'text', 'volatile'),
    ('drop_api_key', 'name text', 'void', 'volatile'),
    ('set_rate_limit', 'tenant_name text, class text, per_minute integer, burst integer DEFAULT NULL::integer', 'void', 'volatile'),
    -- looking after it
    ('check', '', 'TABLE(invariant text, ok boolean, detail text)', 'volatile');
INSERT INTO interface (name, arguments, kind) VALUES
    ('wait_for', 'IN after bigint, IN timeout interval, IN pattern text, INOUT stable bigint', 'p'),
    ('wait_for_delivery', 'IN subscription text, IN timeout interval, INOUT ready boolean DEFAULT NULL::boolean', 'p'),
    ('gateway_wait', 'IN "position" bigint, IN timeout interval, INOUT stable bigint DEFAULT NULL::bigint, INOUT signals bigint DEFAULT NULL::bigint', 'p'),
    ('wait_for_signal', 'IN after bigint, IN timeout interval, INOUT found bigint DEFAULT NULL::bigint', 'p'),
    ('rebuild', 'IN name text', 'p'),
    ('watch_snapshot', 'IN "table" regclass, IN batch integer DEFAULT 1000', 'p');
CREATE TEMPORARY TABLE settings (name text, value text, context text);
INSERT INTO settings VALUES
    ('usher.tenant', 'default', 'user'), ('usher.correlation_id', '', 'user'), ('usher.causation_id', '', 'user'),
    ('usher.actor', '', 'user'), ('usher.traceparent', '', 'user'), ('usher.source', '', 'user'),
    ('usher.dedupe_window', '604800', 'superuser'), ('usher.append_buffer', '16384', 'user'),
    ('usher.max_transaction_events', '100000', 'superuser'), ('usher.max_event_size', '1024', 'superuser'),
    ('usher.failover_gap', '1000000', 'sighup'), ('usher.position_chunk', '65536', 'sighup'),
    ('usher.partition_size', '10000000', 'sighup'), ('usher.partitions_ahead', '2', 'sighup'),
    ('usher.snapshot_every', '100', 'user'), ('usher.stable_mark_interval', '50', 'sighup'),
    ('usher.handler_workers', '4', 'sighup'), ('usher.handler_memory', '524288', 'sighup'),
    ('usher.max_leases', '4096', 'postmaster'), ('usher.synchronous_ack', 'off', 'user'), ('usher.once_timeout', '60', 'superuser'), ('usher.metric_series', '1024', 'postmaster'), ('usher.signal_buffer', '256', 'postmaster'),
    ('usher.max_databases', '64', 'postmaster'), ('usher.max_relays', '64', 'postmaster'),
    ('usher.before_reserve', '', 'superuser');

SELECT plan((SELECT count(*)::int FROM interface) * 2 + (SELECT count(*)::int FROM interface WHERE kind = 'f') * 2
    + (SELECT count(*)::int FROM settings) + 41);

SELECT CASE kind WHEN 'f' THEN has_function('usher', name, 'function usher.' || name || ' exists')
                 ELSE ok(EXISTS (SELECT FROM pg_proc p WHERE p.pronamespace = 'usher'::regnamespace AND p.proname = name AND p.prokind = 'p'),
                         'procedure usher.' || name || ' exists') END
FROM interface ORDER BY n;
SELECT is((SELECT string_agg(pg_get_function_arguments(p.oid), ' | ') FROM pg_proc p WHERE p.pronamespace = 'usher'::regnamespace AND p.proname = i.name),
          i.arguments, 'arguments of usher.' || i.name)
FROM interface i ORDER BY n;
SELECT is((SELECT string_agg(pg_get_function_result(p.oid), ' | ') FROM pg_proc p WHERE p.pronamespace = 'usher'::regnamespace AND p.proname = i.name),
          i.result, 'result of usher.' || i.name)
FROM interface i WHERE kind = 'f' ORDER BY n;
SELECT volatility_is('usher'::name, name::name, volatility) FROM interface WHERE kind = 'f' ORDER BY n;

-- types
SELECT has_composite('usher', 'event', 'type usher.event exists');
SELECT has_composite('usher', 'new_event', 'type usher.new_event exists');
SELECT is((SELECT string_agg(a.attname || ' ' || format_type(a.atttypid, a.atttypmod), ', ' ORDER BY a.attnum)
           FROM pg_attribute a WHERE a.attrelid = 'usher.event'::regclass AND a.attnum > 0),
          'position bigint, tenant text, stream text, version bigint, id uuid, type text, topic text, key text, slot integer, data jsonb, metadata jsonb, recorded_at timestamp with time zone',
          'attributes of usher.event');
SELECT is((SELECT string_agg(a.attname || ' ' || format_type(a.atttypid, a.atttypmod), ', ' ORDER BY a.attnum)
           FROM pg_attribute a WHERE a.attrelid = 'usher.new_event'::regclass AND a.attnum > 0),
          'type text, data jsonb, metadata jsonb, event_id uuid', 'attributes of usher.new_event');

SELECT has_composite('usher', 'append_request', 'type usher.append_request exists');
SELECT is((SELECT string_agg(a.attname || ' ' || format_type(a.atttypid, a.atttypmod), ', ' ORDER BY a.attnum)
           FROM pg_attribute a WHERE a.attrelid = 'usher.request_event'::regclass AND a.attnum > 0),
          'stream text, type text, data text, metadata text, expected_version bigint, event_id uuid, topic text, key text', 'attributes of usher.request_event');
SELECT is((SELECT string_agg(a.attname || ' ' || format_type(a.atttypid, a.atttypmod), ', ' ORDER BY a.attnum)
           FROM pg_attribute a WHERE a.attrelid = 'usher.append_request'::regclass AND a.attnum > 0),
          'tenant text, user_id text, actor_type text, idempotency_key text, fingerprint bytea, correlation_id text, causation_id text, traceparent text, events usher.request_event[]',
          'attributes of usher.append_request');
SELECT is((SELECT string_agg(a.attname || ' ' || format_type(a.atttypid, a.atttypmod), ', ' ORDER BY a.attnum)
           FROM pg_attribute a WHERE a.attrelid = 'usher.append_result'::regclass AND a.attnum > 0),
          'element integer, sqlstate text, message text, detail text, hint text, event_index integer, actual_version bigint, replayed boolean, ids uuid[], versions bigint[], positions bigint[], ordinals integer[]',
          'attributes of usher.append_result');

-- tables and views
SELECT columns_are('usher', 'api_keys', ARRAY['tenant_id', 'name', 'hash', 'scopes', 'rate_class', 'created_at', 'expires_at', 'changed_at']);
SELECT has_table('usher', 'log'::name, 'table usher.log exists');
SELECT is_partitioned('usher', 'log', 'table usher.log is partitioned');
SELECT has_table('usher', 'tenants'::name, 'table usher.tenants exists');
SELECT columns_are('usher', 'tenants', ARRAY['tenant_id', 'slug', 'name', 'config', 'branding', 'created_at']);
SELECT has_table('usher', 'snapshots'::name, 'table usher.snapshots exists');
SELECT has_view('usher', 'events', 'view usher.events exists');
SELECT columns_are('usher', 'events', ARRAY['position', 'tenant', 'stream', 'category', 'version', 'id', 'type', 'topic', 'key', 'slot', 'data', 'metadata', 'recorded_at']);
SELECT has_view('usher', 'streams', 'view usher.streams exists');
SELECT columns_are('usher', 'streams', ARRAY['tenant', 'stream', 'category', 'version', 'deleted', 'max_age', 'max_count', 'truncate_before', 'created_at']);
SELECT has_view('usher', 'log_partitions', 'view usher.log_partitions exists');

SELECT has_view('usher', 'watches', 'view usher.watches exists');
SELECT columns_are('usher', 'watches', ARRAY['table', 'operations', 'key', 'columns', 'enabled', 'triggers']);
SELECT has_view('usher', 'deliveries', 'view usher.deliveries exists');
SELECT columns_are('usher', 'deliveries', ARRAY['subscription', 'partition', 'position', 'stream', 'version', 'id', 'type', 'topic', 'key', 'status', 'retry_count', 'error', 'next_attempt_at', 'lease', 'recorded_at']);
SELECT has_composite('usher', 'delivery', 'type usher.delivery exists');
SELECT is((SELECT string_agg(a.attname || ' ' || format_type(a.atttypid, a.atttypmod), ', ' ORDER BY a.attnum)
           FROM pg_attribute a WHERE a.attrelid = 'usher.delivery'::regclass AND a.attnum > 0),
          'lease bigint, partition integer, attempt integer, ' ||
          (SELECT string_agg(a.attname || ' ' || format_type(a.atttypid, a.atttypmod), ', ' ORDER BY a.attnum)
           FROM pg_attribute a WHERE a.attrelid = 'usher.event'::regclass AND a.attnum > 0),
          'attributes of usher.delivery: the lease''s, then those of an event');
SELECT has_view('usher', 'subscription_cursors', 'view usher.subscription_cursors exists');
SELECT has_view('usher', 'subscription_status', 'view usher.subscription_status exists');
SELECT columns_are('usher', 'subscription_status', ARRAY['subscription', 'paused', 'partition', 'position', 'lag_events', 'lag_seconds', 'lease', 'delivered_up_to', 'parked_keys', 'held_keys', 'blocked']);
SELECT columns_are('usher', 'dead_letters', ARRAY['dead_letter_id', 'tenant_id', 'sink_id', 'subscription_id', 'position', 'type', 'topic', 'partition', 'key', 'envelope', 'error_code', 'error', 'attempts', 'first_failure', 'last_failure', 'replay_id']);

SELECT has_view('usher', 'sink_status', 'view usher.sink_status exists');
SELECT has_view('usher', 'replay_status', 'view usher.replay_status exists');
SELECT columns_are('usher', 'replay_status', ARRAY['replay_id', 'sink', 'kind', 'from_position', 'to_position', 'pattern', 'state', 'position', 'replayed', 'failed', 'skipped', 'error', 'created_at', 'ended_at', 'subscription']);

-- roles
SELECT has_role('usher_reader');
SELECT has_role('usher_writer');
SELECT has_role('usher_admin');
SELECT has_role('usher_gateway');
SELECT ok(NOT pg_has_role('usher_gateway', 'usher_reader', 'member'), 'the gateway is no reader');
SELECT is_member_of('usher_reader', 'usher_writer', 'a writer is a reader');
SELECT is_member_of('usher_writer', 'usher_admin', 'an administrator is a writer');
SELECT ok(NOT rolcanlogin, 'usher_admin cannot log in by itself') FROM pg_roles WHERE rolname = 'usher_admin';

-- settings
SELECT is((SELECT g.boot_val || ' ' || g.context FROM pg_settings g WHERE g.name = s.name), s.value || ' ' || s.context, 'setting ' || s.name)
FROM settings s ORDER BY s.name;
SELECT is((SELECT count(*) FROM pg_settings g WHERE g.name LIKE 'usher.%' AND NOT EXISTS (SELECT FROM settings s WHERE s.name = g.name)), 0::bigint,
          'no other setting exists');

SELECT * FROM finish();
ROLLBACK;
