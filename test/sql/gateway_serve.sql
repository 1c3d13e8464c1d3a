-- What else the HTTP gateway asks: subscriptions, lists, dead letters, revocations, API keys, rate limits.
\getenv inputdir PG_ABS_SRCDIR
\set include :inputdir '/sql/include/try.sql'
\set ECHO none
\i :include
\set ECHO all
\pset format unaligned
\pset tuples_only on
\pset null -
SELECT usher.create_tenant('gs-red') > 1, usher.create_tenant('gs-blue') > 1;
CREATE ROLE regress_usher_gateway IN ROLE usher_gateway;
SET usher.tenant = 'gs-red';
SELECT usher.subscribe('work', '*', 0, 2, '{"max_attempts": 1}');
SELECT usher.subscribe('other', 'gs.*', 0);
SELECT usher.append('gs-' || n, 'gs.made', jsonb_build_object('n', n)) FROM generate_series(1, 4) n;
SET usher.tenant = 'gs-blue';
SELECT usher.subscribe('blue', '*', 0);
SELECT usher.append('gs-1', 'gs.blue');
RESET usher.tenant;

-- a member polls, acknowledges, extends, and sets aside
SET ROLE regress_usher_gateway;
SELECT lease AS lease FROM usher.gateway_poll('gs-red', 'anna', 'work', 100, 'm1') LIMIT 1 \gset
SELECT tenant, stream, version, type, attempt FROM usher.gateway_poll('gs-red', 'anna', 'work', 100, 'm1') ORDER BY stream;
SELECT lease AS lease, position AS failing FROM usher.gateway_poll('gs-red', 'anna', 'work', 100, 'm1') WHERE stream = 'gs-2' \gset
-- another user's member of the same name is another one, and finds nothing free
SELECT count(*) FROM usher.gateway_poll('gs-red', 'bert', 'work', 100, 'm1');
-- another tenant has no such subscription, and cannot reach the lease by one of its own
SELECT replace(pg_temp.try(format(call, :lease, :failing)), :'lease', 'N') FROM (VALUES
    ('SELECT count(*) FROM usher.gateway_poll(''gs-blue'', ''anna'', ''work'', 100, ''m1'', %1$s)'),
    ('SELECT usher.gateway_ack(''gs-blue'', ''anna'', ''work'', %1$s)'),
    ('SELECT usher.gateway_ack(''gs-blue'', ''anna'', ''blue'', %1$s)'),
    ('SELECT usher.gateway_nack(''gs-blue'', ''anna'', ''blue'', %1$s, %2$s)'),
    ('SELECT usher.gateway_extend(''gs-blue'', ''anna'', ''blue'', %1$s)'),
    ('SELECT usher.gateway_ack(''default'', ''anna'', ''work'', %1$s)'),
    ('SELECT usher.gateway_ack(''nobody'', ''anna'', ''work'', %1$s)'),
    ('SELECT count(*) FROM usher.gateway_poll(''gs-red'', ''anna'', ''work'', 100, NULL)'),
    ('SELECT count(*) FROM usher.gateway_poll(''gs-red'', ''anna'', ''work'', 100, '''')'),
    ('SELECT count(*) FROM usher.gateway_poll(''gs-red'', ''anna'', ''work'', 0, ''m1'')')) calls (call);
SELECT usher.gateway_extend('gs-red', 'anna', 'work', :lease, '1 min');
SELECT usher.gateway_nack('gs-red', 'anna', 'work', :lease, :failing, 'broken');
SELECT usher.gateway_ack('gs-red', 'anna', 'work', :lease);
SELECT pg_temp.try(format('SELECT usher.gateway_ack(''gs-red'', ''anna'', ''work'', %s)', :lease)) LIKE 'US026%';
SELECT count(*) FROM usher.gateway_poll('gs-red', 'anna', 'work', 100, 'm1');
SELECT current_setting('usher.tenant'), current_setting('usher.actor');

-- lists
SELECT name, item ->> 'position' IS NOT NULL, item - 'position' - 'created_at' - 'lag_seconds' - 'lag_events' FROM usher.gateway_subscriptions('gs-red');
SELECT name, item ->> 'lag_events' > '0' FROM usher.gateway_subscriptions('gs-red', NULL, 1);
SELECT name FROM usher.gateway_subscriptions('gs-red', 'other', 1);
SELECT name FROM usher.gateway_subscriptions('gs-blue');
SELECT usher.gateway_subscription_pattern('gs-red', 'other'), pg_temp.try('SELECT usher.gateway_subscription_pattern(''gs-blue'', ''other'')');
SELECT item - 'id' - 'position' - 'first_failure' - 'last_failure' - 'event', item #>> '{event,subject}' FROM usher.gateway_dead_letters('gs-red');
SELECT count(*) FROM usher.gateway_dead_letters('gs-red', 'other');
SELECT count(*) FROM usher.gateway_dead_letters('gs-blue');
SELECT id AS letter FROM usher.gateway_dead_letters('gs-red', 'work') \gset
SELECT count(*) FROM usher.gateway_dead_letters('gs-red', 'work', NULL, :letter);
SELECT pg_temp.try(call) FROM (VALUES
    ('SELECT usher.gateway_replay_dead_letters(''gs-blue'', ''anna'', ''work'', NULL)'),
    ('SELECT usher.gateway_replay_dead_letters(''gs-red'', ''anna'', NULL, NULL)'),
    ('SELECT usher.gateway_replay_dead_letters(''gs-red'', ''anna'', ''work'', ''a sink'')'),
    ('SELECT usher.gateway_replay_dead_letters(''gs-red'', ''anna'', NULL, ''no sink'')'),
    ('SELECT usher.gateway_replay_dead_letters(''gs-red'', ''anna'', ''work'', NULL, ''[]'')'),
    ('SELECT usher.gateway_replay_dead_letters(''gs-red'', ''anna'', ''work'', NULL, NULL)'),
    ('SELECT count(*) FROM usher.gateway_subscriptions(''nobody'')'),
    ('SELECT count(*) FROM usher.gateway_subscriptions(''gs-red'', NULL, 0)'),
    ('SELECT count(*) FROM usher.gateway_dead_letters(''nobody'')'),
    ('SELECT count(*) FROM usher.gateway_sinks(NULL, NULL)')) calls (call);
SELECT usher.gateway_replay_dead_letters('gs-red', 'anna', 'work', NULL) > 0;
SELECT stream, data FROM usher.gateway_poll('gs-red', 'anna', 'work', 100, 'm1');
RESET ROLE;
-- sinks, without their configuration; of a sink's dead letters a tenant replays its own
SET client_min_messages = warning;
SELECT usher.add_sink('gs-sink', 'memory', '{}') > 0;
RESET client_min_messages;
SELECT usher.pause_sink('gs-sink');
INSERT INTO usher.dead_letters (tenant_id, sink_id, position, type, envelope, error_code, error)
SELECT t.tenant_id, s.sink_id, l.position, l.type, '{"subject": "gs-1"}', 'x', 'too large' FROM usher.tenants t, usher.sinks s, usher.log l
WHERE t.slug LIKE 'gs-%' AND s.name = 'gs-sink' AND l.tenant_id = t.tenant_id AND l.stream = 'gs-1';
SET ROLE regress_usher_gateway;
SELECT name, item - 'lanes' - 'created_at', item #>> '{lanes,0,state}', item::text LIKE '%config%' FROM usher.gateway_sinks() WHERE name = 'gs-sink';
SELECT item ->> 'sink', item ->> 'error', item ->> 'replaying' FROM usher.gateway_dead_letters('gs-blue', NULL, 'gs-sink');
SELECT usher.gateway_replay_dead_letters('gs-blue', 'anna', NULL, 'gs-sink', '{"tenant": "gs-red"}') > 0;
SELECT 'gs-red', item ->> 'replaying' FROM usher.gateway_dead_letters('gs-red', NULL, 'gs-sink')
UNION ALL SELECT 'gs-blue', item ->> 'replaying' FROM usher.gateway_dead_letters('gs-blue', NULL, 'gs-sink');
RESET ROLE;
DELETE FROM usher.dead_letters d USING usher.sinks s WHERE s.sink_id = d.sink_id AND s.name = 'gs-sink';
SELECT usher.drop_sink('gs-sink');

-- revocations
CREATE ROLE regress_usher_admin IN ROLE usher_admin;
CREATE ROLE regress_usher_writer IN ROLE usher_writer;
SELECT usher.append('gs-1', 'gs.mark');
SELECT first AS before FROM usher.committed_range() \gset
SET ROLE regress_usher_admin;
SELECT usher.revoke('user', 'anna', '2026-01-02 03:04:05.5+00');
SET usher.tenant = 'gs-red';
SELECT usher.revoke('session', 'sid "1"'), usher.revoke('tenant', 'gs-red');
SELECT pg_temp.try(call) FROM (VALUES
    ('SELECT usher.revoke(''tenant'', ''gs-blue'')'), ('SELECT usher.revoke(''device'', ''x'')'), ('SELECT usher.revoke(NULL, ''x'')'),
    ('SELECT usher.revoke(''user'', '''')'), ('SELECT usher.revoke(''user'', ''x'', NULL)'), ('SELECT usher.revoke(''user'', ''x'', ''infinity'')')) calls (call);
RESET usher.tenant;
RESET ROLE;
SET ROLE regress_usher_writer;
SELECT pg_temp.try('SELECT usher.revoke(''user'', ''anna'')');
-- clients cannot write what would be taken for one
SELECT pg_temp.try('SELECT usher.append(''usher.revocations'', ''usher.revoked'')');
SELECT usher.append('usher.revocations', 'forged', '{"kind": "user", "id": "bert", "not_before": "2026-01-01"}');
RESET ROLE;
-- who is granted it stays in its tenants
GRANT EXECUTE ON FUNCTION usher.revoke TO regress_usher_writer;
SET ROLE regress_usher_writer;
SELECT usher.revoke('user', 'carl', '2026-01-01 00:00:00+00');
SET usher.tenant = 'gs-red';
SELECT pg_temp.try('SELECT usher.revoke(''user'', ''anna'')');
RESET usher.tenant;
RESET ROLE;
SELECT last FROM usher.committed_range() \gset
CALL usher.gateway_wait(:last - 1, '10 s') \gset
SET ROLE regress_usher_gateway;
SELECT tenant, kind, id, not_before_unix - 1767225600, not_before_unix - extract(epoch FROM not_before) BETWEEN 0 AND 1, position > :before FROM usher.gateway_revocations(:before)
WHERE tenant = 'default';
SELECT tenant, kind, id, not_before_unix - extract(epoch FROM not_before) BETWEEN 0 AND 1, position > :before FROM usher.gateway_revocations() WHERE tenant = 'gs-red';
SELECT count(*) FROM usher.gateway_revocations(:last);
RESET ROLE;

-- API keys
SET usher.tenant = 'gs-red';
SET ROLE regress_usher_admin;
SELECT usher.create_api_key('importer', '{log:append:order,log:read}') AS secret \gset
SELECT usher.create_api_key('short', '{}', now() + '1 hour', 'service') AS second \gset
SELECT :'secret' ~ '^usk_[A-Za-z0-9_-]{43}$', :'secret' <> :'second';
SELECT name, scopes, rate_class, expires_at IS NULL FROM usher.api_keys ORDER BY name;
SELECT pg_temp.try(call) FROM (VALUES
    ('SELECT hash FROM usher.api_keys'), ('SELECT usher.create_api_key(''importer'', ''{}'')'), ('SELECT usher.create_api_key('''', ''{}'')'),
    ('SELECT usher.create_api_key(''a'', NULL)'), ('SELECT usher.create_api_key(''a'', ''{"two words"}'')'), ('SELECT usher.create_api_key(''a'', ''{NULL}'')'),
    ('SELECT usher.create_api_key(''a'', ''{}'', now())'), ('SELECT usher.drop_api_key(''nobody'')')) calls (call);
RESET usher.tenant;
SELECT count(*) FROM usher.api_keys;
RESET ROLE;
SELECT bool_or(k::text LIKE '%' || :'secret' || '%') FROM usher.api_keys k;
SET ROLE regress_usher_gateway;
SELECT tenant, name, scopes, rate_class, abs(issued_at - extract(epoch FROM now())) < 600, expires_at FROM usher.gateway_api_key(sha256(:'secret'));
SELECT tenant, name, scopes, rate_class, expires_at - issued_at BETWEEN 3590 AND 3610 FROM usher.gateway_api_key(sha256(:'second'));
SELECT count(*) FROM usher.gateway_api_key(sha256('usk_'));
RESET ROLE;
UPDATE usher.api_keys SET expires_at = now() WHERE name = 'short';
SELECT count(*) FROM usher.gateway_api_key(sha256(:'second'));
SET ROLE regress_usher_admin;
SET usher.tenant = 'gs-red';
SELECT usher.drop_api_key('importer');
RESET usher.tenant;
RESET ROLE;
SET ROLE regress_usher_gateway;
SELECT count(*) FROM usher.gateway_api_key(sha256(:'secret'));
SELECT tenant, kind, id FROM usher.gateway_revocations(:last);
RESET ROLE;

-- rate limits
SET ROLE regress_usher_admin;
SELECT usher.set_rate_limit('gs-red', 'general', 1000), usher.set_rate_limit('gs-red', 'login', 5, 3), usher.set_rate_limit('gs-blue', 'general', 10, 1);
SELECT usher.set_rate_limit('gs-red', 'general', 2000, 50), usher.set_rate_limit('gs-red', 'login', NULL), usher.set_rate_limit('gs-red', 'no such class', 0);
SELECT pg_temp.try(call) FROM (VALUES
    ('SELECT usher.set_rate_limit(''nobody'', ''general'', 1)'), ('SELECT usher.set_rate_limit(''gs-red'', '''', 1)'),
    ('SELECT usher.set_rate_limit(''gs-red'', ''general'', -1)'), ('SELECT usher.set_rate_limit(''gs-red'', ''general'', 1, 0)')) calls (call);
SELECT current_setting('usher.tenant');
RESET ROLE;
SET ROLE regress_usher_writer;
SELECT pg_temp.try('SELECT usher.set_rate_limit(''default'', ''general'', 1)');
RESET ROLE;
SET ROLE regress_usher_gateway;
SELECT * FROM usher.gateway_rate_limits();

-- how it is
SELECT version IS NOT NULL, protocol, in_recovery, stable_position >= :last, oldest_position >= 1, now - now() < '1 min' FROM usher.gateway_status();
SELECT count(*) > 10 FROM usher.metrics();
RESET ROLE;
SET usher.tenant = 'gs-red';
SELECT usher.unsubscribe('work'), usher.unsubscribe('other');
SET usher.tenant = 'gs-blue';
SELECT usher.unsubscribe('blue');
RESET usher.tenant;
REVOKE EXECUTE ON FUNCTION usher.revoke FROM regress_usher_writer;
DROP ROLE regress_usher_gateway, regress_usher_admin, regress_usher_writer;
