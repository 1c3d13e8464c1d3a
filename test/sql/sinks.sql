-- Sinks: their configuration, cursors, replays and dead letters, and who may do what. No worker runs: all are paused. In a
-- database of its own.
\pset format unaligned
\pset tuples_only on
\pset null '(null)'
\getenv inputdir PG_ABS_SRCDIR
\set include :inputdir '/sql/include/try.sql'
ALTER SYSTEM SET usher.partition_size = 1000;
SELECT pg_reload_conf();
CREATE ROLE regress_usher_reader IN ROLE usher_reader;
CREATE ROLE regress_usher_admin IN ROLE usher_admin;
CREATE ROLE regress_usher_files IN ROLE usher_admin, pg_read_server_files;
CREATE DATABASE regress_usher_sinks;
\c regress_usher_sinks
SET client_min_messages = warning;
CREATE EXTENSION pg_usher;
\set ECHO none
\i :include
\set ECHO all
CREATE PROCEDURE wait_until(condition text) LANGUAGE plpgsql AS $$
DECLARE
    met boolean;
BEGIN
    FOR i IN 1..2000 LOOP
        COMMIT;
        EXECUTE 'SELECT ' || condition INTO met;
        EXIT WHEN met;
        PERFORM pg_sleep(0.01);
    END LOOP;
    IF NOT met THEN
        RAISE EXCEPTION 'not met: %', condition;
    END IF;
END
$$;
CREATE FUNCTION fill(n int) RETURNS bigint LANGUAGE sql AS
$$ SELECT usher.append_many(array_agg('order-' || i % 10), array_agg('order.placed'::text), array_agg(format('{"i": %s}', i)))
   FROM generate_series(1, n) i $$;
CREATE FUNCTION lanes(name text) RETURNS SETOF text LANGUAGE sql AS
$$ SELECT format('lane %s at %s, epoch %s, repeats up to %s', l.lane, usher.cursor_position(l.sink_id, l.lane), l.epoch, l.repeat_upto)
   FROM usher.sink_lanes l JOIN usher.sinks s USING (sink_id) WHERE s.name = lanes.name ORDER BY l.lane $$;
CREATE FUNCTION cursors() RETURNS SETOF text LANGUAGE sql AS
$$ SELECT relname::text FROM pg_class WHERE relnamespace = 'usher'::regnamespace AND relkind = 'S' AND relname ~ '^sink_[0-9]' ORDER BY 1 $$;
SELECT fill(2500);

-- an administrator who owns nothing
SET ROLE regress_usher_admin;
BEGIN;
SELECT usher.add_sink('now', 'memory'), usher.pause_sink('now');
SELECT usher.add_sink('all', 'memory', '{"parallel": 3}', 0), usher.pause_sink('all');
SELECT usher.add_sink('some', 'memory', '{}', 1234), usher.pause_sink('some');
COMMIT;
SELECT name, kind, config, paused FROM usher.sinks ORDER BY sink_id;
RESET ROLE;
SELECT * FROM lanes('now');
SELECT * FROM lanes('all');
SELECT * FROM lanes('some');
SELECT * FROM cursors();
-- a lane's sequence depends on its table, so that it goes with the extension
SELECT count(*) FROM pg_depend WHERE objid = 'usher.sink_1_0'::regclass AND refobjid = 'usher.sink_lanes'::regclass AND deptype = 'a';

-- options: set, removed with null, others stay
SET ROLE regress_usher_admin;
SELECT usher.alter_sink('some', '{"mode": "structured", "batch_events": 10}');
SELECT usher.alter_sink('some', '{"mode": null, "in_flight": "100"}');
SELECT config FROM usher.sinks WHERE name = 'some';
SELECT usher.alter_sink('some', '{"batch_events": null, "in_flight": null}');
SELECT config FROM usher.sinks WHERE name = 'some';
RESET ROLE;
SELECT * FROM lanes('some');

-- more lanes, fewer lanes: all begin where the slowest was
SELECT usher.set_cursor(2, 0, 2000), usher.set_cursor(2, 1, 1500), usher.set_cursor(2, 2, 1700);
SET ROLE regress_usher_admin;
SELECT usher.alter_sink('all', '{"parallel": 5}');
RESET ROLE;
SELECT * FROM lanes('all');
SELECT usher.set_cursor(2, 4, 1400);
SELECT usher.alter_sink('all', '{"parallel": null}');
SELECT * FROM lanes('all');
SELECT * FROM cursors();

-- seek: backwards repeats, forwards leaves out, and a rollback leaves all as it was
SET ROLE regress_usher_admin;
SELECT usher.seek_sink('some', 500);
RESET ROLE;
SELECT * FROM lanes('some');
SELECT usher.seek_sink('some', 2000);
SELECT * FROM lanes('some');
BEGIN;
SELECT usher.seek_sink('some', 7), usher.drop_sink('now');
ROLLBACK;
SELECT * FROM lanes('some');
SELECT usher.seek_sink('some', 0);
SELECT * FROM lanes('some');
SELECT usher.seek_sink('some', usher.stable_position());
SELECT * FROM lanes('some');

-- retention stops at the slowest cursor, also of a paused sink
SELECT usher.seek_sink('all', 1300);
SELECT usher.drop_partitions_before(2001);
CALL wait_until('NOT EXISTS (SELECT FROM usher.removal_requests)');
SELECT usher.oldest_position();
SELECT pg_temp.try($$SELECT usher.seek_sink('all', 999)$$);
SELECT pg_temp.try($$SELECT usher.add_sink('late', 'memory', '{}', 17)$$);
SELECT usher.seek_sink('all', 1000);
SELECT usher.seek_sink('all', 0);
SELECT * FROM lanes('all');
SELECT usher.seek_sink('all', 2000), usher.drop_partitions_before(2001);
CALL wait_until('NOT EXISTS (SELECT FROM usher.removal_requests)');
SELECT usher.oldest_position();
-- by force it goes further
SELECT fill(1000);
SELECT usher.drop_partitions_before(3001, true);
CALL wait_until('NOT EXISTS (SELECT FROM usher.removal_requests)');
SELECT usher.oldest_position();

-- replays
SET ROLE regress_usher_admin;
SELECT usher.replay('some', 3100, 3200), usher.replay('some', 0, 3400, 'order.*'), usher.replay('now', 3500, 3500);
SELECT replay_id, sink, kind, from_position, to_position, pattern, state, position, replayed, failed, skipped, ended_at FROM usher.replay_status;
SELECT usher.cancel_replay(2);
SELECT replay_id, state, ended_at IS NOT NULL FROM usher.replay_status ORDER BY 1;
RESET ROLE;

-- dead letters, as a relay would have recorded them
SELECT usher.create_tenant('blue') AS blue \gset
INSERT INTO usher.dead_letters (tenant_id, sink_id, position, type, topic, partition, key, envelope, error_code, error)
SELECT CASE WHEN n <= 6 THEN 1 ELSE :blue END, 3, 3000 + n, CASE WHEN n % 2 = 0 THEN 'order.placed' ELSE 'order.paid' END, 'orders', n % 3, 'k-' || n,
       jsonb_build_object('id', n, 'subject', 'order-' || n), CASE WHEN n % 4 = 0 THEN 'TOPIC_AUTHORIZATION_FAILED' ELSE 'MSG_SIZE_TOO_LARGE' END, 'no'
FROM generate_series(1, 8) n;
-- a reader sees those of his tenant
SET ROLE regress_usher_reader;
SELECT count(*) FROM usher.dead_letters;
SELECT count(*) FROM usher.replay_status;
SELECT count(*) FROM usher.sink_status;
RESET ROLE;
SET ROLE regress_usher_admin;
SELECT usher.replay_dead_letters('some', '{"type": "order.placed", "error_code": "MSG_SIZE_TOO_LARGE"}');
RESET ROLE;
SELECT position, replay_id FROM usher.dead_letters ORDER BY 1;
SET ROLE regress_usher_admin;
-- those that are being sent again are not taken twice, nor purged
SELECT usher.replay_dead_letters('some', '{"type": "order.placed", "position": {"to": 3004}}');
SELECT usher.purge_dead_letters('some', '{"position": {"from": 3001, "to": 3002}}');
SELECT usher.purge_dead_letters('some', '{"tenant": "blue", "partition": 1}');
SELECT usher.purge_dead_letters('some', '{"stream": "order-5"}'), usher.purge_dead_letters('some', '{"key": "k-5"}');
SELECT usher.purge_dead_letters('now');
-- nothing to send: done at once
SELECT usher.replay_dead_letters('some', '{"topic": "nothing"}');
SELECT replay_id, kind, state, ended_at IS NOT NULL FROM usher.replay_status WHERE kind = 'dead_letters' ORDER BY 1;
SELECT usher.cancel_replay(4);
RESET ROLE;
SELECT position, replay_id FROM usher.dead_letters ORDER BY 1;

-- secrets: stored, replaced, removed, never shown
SET ROLE regress_usher_admin;
SELECT usher.set_sink_secret('some', 'password', 'first'), usher.set_sink_secret('some', 'password', 'second'), usher.set_sink_secret('some', 'other', 'x');
SELECT usher.drop_sink_secret('some', 'other');
SELECT sink_id, name FROM usher.sink_secrets;
SELECT pg_temp.try($$SELECT value FROM usher.sink_secrets$$);
SELECT pg_temp.try($$SELECT usher.sink_options(3)$$);
RESET ROLE;
SELECT * FROM usher.sink_secrets;
-- a reader sees neither config nor secrets, and configures nothing
SET ROLE regress_usher_reader;
SELECT call, pg_temp.try(call) FROM (VALUES
    ($$SELECT config FROM usher.sinks$$), ($$SELECT * FROM usher.sink_secrets$$), ($$SELECT * FROM usher.routes$$), ($$SELECT * FROM usher.replays$$),
    ($$SELECT * FROM usher.sink_lanes$$), ($$SELECT usher.add_sink('mine', 'memory')$$), ($$SELECT usher.pause_sink('some')$$),
    ($$SELECT usher.replay_dead_letters('some')$$), ($$SELECT usher.set_cursor(1, 0, 0)$$), ($$SELECT usher.explain_route('some', 'a', 's-1')$$),
    ($$DELETE FROM usher.dead_letters$$), ($$SELECT usher.memory_messages('some')$$)) AS c (call);
RESET ROLE;

-- what cannot be
SET ROLE regress_usher_admin;
SELECT call, pg_temp.try(call) FROM (VALUES
    ($$SELECT usher.add_sink('some', 'memory')$$),
    ($$SELECT usher.add_sink('', 'memory')$$),
    ($$SELECT usher.add_sink(NULL, 'memory')$$),
    ($$SELECT usher.add_sink('Upper', 'memory')$$),
    ($$SELECT usher.add_sink(repeat('s', 64), 'memory')$$),
    ($$SELECT usher.add_sink('x', 'rabbit')$$),
    ($$SELECT usher.add_sink('x', NULL)$$),
    ($$SELECT usher.add_sink('x', 'memory', NULL)$$),
    ($$SELECT usher.add_sink('x', 'memory', '[]')$$),
    ($$SELECT usher.add_sink('x', 'memory', '{"brokers": "h:1"}')$$),
    ($$SELECT usher.add_sink('x', 'memory', '{"parallel": 0}')$$),
    ($$SELECT usher.add_sink('x', 'memory', '{"parallel": 33}')$$),
    ($$SELECT usher.add_sink('x', 'memory', '{"parallel": 1.5}')$$),
    ($$SELECT usher.add_sink('x', 'memory', '{"parallel": "many"}')$$),
    ($$SELECT usher.add_sink('x', 'memory', '{"parallel": [1]}')$$),
    ($$SELECT usher.add_sink('x', 'memory', '{"parallel": null}')$$),
    ($$SELECT usher.add_sink('x', 'memory', '{"parallel": 99999999999999999999}')$$),
    ($$SELECT usher.add_sink('x', 'memory', '{"mode": "xml"}')$$),
    ($$SELECT usher.add_sink('x', 'memory', '{"metadata": "yes"}')$$),
    ($$SELECT usher.add_sink('x', 'memory', '{"source": {"a": 1}}')$$),
    ($$SELECT usher.add_sink('x', 'memory', '{"source": {"secret": "a", "file": "b"}}')$$),
    ($$SELECT usher.add_sink('x', 'memory', '{"source": {"secret": ""}}')$$),
    ($$SELECT usher.add_sink('x', 'memory', '{"source": {"secret": 1}}')$$),
    ($$SELECT usher.add_sink('x', 'memory', '{"source": {"file": "/etc/passwd"}}')$$),
    ($$SELECT usher.add_sink('x', 'memory', '{"source": "http://me:secret@host/"}')$$),
    ($$SELECT usher.add_sink('x', 'memory', '{}', -1)$$),
    ($$SELECT usher.add_sink('x', 'memory', '{}', 999999)$$),
    ($$SELECT usher.alter_sink('nobody', '{}')$$),
    ($$SELECT usher.alter_sink('some', NULL)$$),
    ($$SELECT usher.alter_sink('some', '[]')$$),
    ($$SELECT usher.alter_sink('some', '{"nothing": 1}')$$),
    ($$UPDATE usher.sinks SET config = '{"source": {"file": "/etc/passwd"}}' WHERE name = 'some'$$),
    ($$UPDATE usher.sinks SET kind = 'x' WHERE name = 'some'$$),
    ($$SELECT usher.drop_sink('nobody')$$),
    ($$SELECT usher.pause_sink('nobody')$$),
    ($$SELECT usher.resume_sink(NULL)$$),
    ($$SELECT usher.seek_sink('nobody', 1)$$),
    ($$SELECT usher.seek_sink('some', NULL)$$),
    ($$SELECT usher.seek_sink('some', -1)$$),
    ($$SELECT usher.seek_sink('some', 999999)$$),
    ($$SELECT usher.set_sink_secret('nobody', 'a', 'b')$$),
    ($$SELECT usher.set_sink_secret('some', 'a', NULL)$$),
    ($$SELECT usher.set_sink_secret('some', '', 'b')$$),
    ($$SELECT usher.drop_sink_secret('some', 'nothing')$$),
    ($$SELECT usher.replay('nobody', 3001, 3002)$$),
    ($$SELECT usher.replay('some', 1, 3002)$$),
    ($$SELECT usher.replay('some', 3002, 3001)$$),
    ($$SELECT usher.replay('some', 3001, 999999)$$),
    ($$SELECT usher.replay('some', NULL, 3001)$$),
    ($$SELECT usher.replay('some', 3001, NULL)$$),
    ($$SELECT usher.replay('some', 3001, 3002, '')$$),
    ($$SELECT usher.replay('some', 3001, 3002, NULL)$$),
    ($$SELECT usher.cancel_replay(2)$$),
    ($$SELECT usher.cancel_replay(0)$$),
    ($$SELECT usher.replay_dead_letters('nobody')$$),
    ($$SELECT usher.replay_dead_letters('some', '[]')$$),
    ($$SELECT usher.replay_dead_letters('some', NULL)$$),
    ($$SELECT usher.replay_dead_letters('some', '{"sink": "some"}')$$),
    ($$SELECT usher.purge_dead_letters('some', '{"position": 5}')$$),
    ($$SELECT usher.purge_dead_letters('some', '{"position": {"from": "x"}}')$$),
    ($$SELECT usher.purge_dead_letters('some', '{"position": {"after": 1}}')$$),
    ($$SELECT usher.set_cursor(1, 7, 0)$$)
) AS c (call);

-- kafka: brokers, files and programs of the server, secrets
BEGIN;
SELECT call, pg_temp.try(call) FROM (VALUES
    ($$SELECT usher.add_sink('k1', 'kafka', '{"brokers": ["a:9092", "b:9092"], "compression": "zstd", "exactly_once": true, "rdkafka": {"linger.ms": 0, "security.protocol": "SASL_SSL", "sasl.password": {"secret": "p"}}}') > 0$$),
    ($$SELECT usher.add_sink('k2', 'kafka', '{"brokers": [{"a": 1}]}')$$),
    ($$SELECT usher.add_sink('k2', 'kafka', '{"compression": "rar"}')$$),
    ($$SELECT usher.add_sink('k2', 'kafka', '{"rdkafka": "x"}')$$),
    ($$SELECT usher.add_sink('k2', 'kafka', '{"rdkafka": {"sasl.password": "plain"}}')$$),
    ($$SELECT usher.add_sink('k2', 'kafka', '{"rdkafka": {"ssl.key.password": "plain"}}')$$),
    ($$SELECT usher.add_sink('k2', 'kafka', '{"rdkafka": {"ssl.key.pem": "plain"}}')$$),
    ($$SELECT usher.add_sink('k2', 'kafka', '{"rdkafka": {"sasl.password": {"file": "/etc/passwd"}}}')$$),
    ($$SELECT usher.add_sink('k2', 'kafka', '{"rdkafka": {"ssl.ca.location": "/etc/ssl/certs"}}')$$),
    ($$SELECT usher.add_sink('k2', 'kafka', '{"rdkafka": {"sasl.kerberos.keytab": "/etc/krb5.keytab"}}')$$),
    ($$SELECT usher.add_sink('k2', 'kafka', '{"rdkafka": {"plugin.library.paths": "evil.so"}}')$$),
    ($$SELECT usher.add_sink('k2', 'kafka', '{"rdkafka": {"sasl.kerberos.kinit.cmd": "evil"}}')$$),
    ($$SELECT usher.add_sink('k2', 'kafka', '{"rdkafka": {"ssl.engine.location": "evil.so"}}')$$),
    ($$SELECT usher.add_sink('k2', 'kafka', '{"rdkafka": {"transactional.id": "x"}}')$$),
    ($$SELECT usher.add_sink('k2', 'kafka', '{"rdkafka": {"linger.ms": [1]}}')$$)
) AS c (call);
SET ROLE regress_usher_files;
SELECT usher.add_sink('k2', 'kafka', '{"rdkafka": {"ssl.ca.location": "/etc/ssl/certs", "sasl.password": {"file": "/etc/passwd"}}}') > 0;
SELECT pg_temp.try($$SELECT usher.add_sink('k3', 'kafka', '{"rdkafka": {"plugin.library.paths": "evil.so"}}')$$);
-- who may not read files may not change such a sink either: it could be led elsewhere
SET ROLE regress_usher_admin;
SELECT pg_temp.try($$SELECT usher.alter_sink('k2', '{"brokers": "elsewhere:9092"}')$$);
SELECT usher.pause_sink('k2');
ROLLBACK;
RESET ROLE;

-- a row that a dump restores is paused, whatever it says
BEGIN;
INSERT INTO usher.sinks (name, kind, created_at) VALUES ('restored', 'memory', '2026-01-01');
SELECT name, paused FROM usher.sinks WHERE name = 'restored';
ROLLBACK;

-- a sink goes with all that is its own
SET ROLE regress_usher_admin;
SELECT usher.add_route('some', '**', 't') > 0;
SELECT usher.drop_sink('some');
SELECT usher.drop_sink('all');
RESET ROLE;
SELECT (SELECT count(*) FROM usher.sink_secrets), (SELECT count(*) FROM usher.dead_letters), (SELECT count(*) FROM usher.routes), (SELECT count(*) FROM usher.replays);
SELECT * FROM cursors();
DROP EXTENSION pg_usher;
SELECT count(*) FROM pg_class WHERE relname ~ '^sink_[0-9]';
\c regress
DROP DATABASE regress_usher_sinks;
DROP ROLE regress_usher_reader, regress_usher_admin, regress_usher_files;
ALTER SYSTEM RESET usher.partition_size;
SELECT pg_reload_conf();
