-- Subscriptions in one session: deliveries, acknowledgements, retries, dead letters, seeks. (Races are tested between sessions.)
\getenv inputdir PG_ABS_SRCDIR
\set include :inputdir '/sql/include/try.sql'
\set ECHO none
\i :include
-- What a poll delivers, as stream/n, with #attempt from the second on; its lease is kept.
CREATE FUNCTION pg_temp.got(name text, max integer DEFAULT 100, wait interval DEFAULT '0', member text DEFAULT NULL, ack bigint DEFAULT NULL)
RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    r      record;
    result text;
    leases bigint[] := '{}';
BEGIN
    FOR r IN SELECT * FROM usher.poll(name, max, wait, member, ack) LOOP
        result := concat_ws(' ', result, coalesce(r.stream, r.key) || '/' || (r.data ->> 'n') || CASE WHEN r.attempt > 1 THEN '#' || r.attempt ELSE '' END);
        leases := leases || r.lease;
    END LOOP;
    IF (SELECT count(DISTINCT l) FROM unnest(leases) l) > 1 THEN
        RETURN 'several leases';
    END IF;
    PERFORM set_config('test.lease', coalesce(leases[1], 0)::text, false);
    RETURN coalesce(result, 'nothing');
END
$$;
CREATE FUNCTION pg_temp.lease() RETURNS bigint LANGUAGE sql AS $$ SELECT current_setting('test.lease')::bigint $$;
SELECT set_config('test.start', usher.stable_position()::text, false) AS start \gset
CREATE FUNCTION pg_temp.at(what text) RETURNS bigint LANGUAGE sql STABLE AS $$
    SELECT position FROM usher.log WHERE position > current_setting('test.start')::bigint AND tenant_id = usher.current_tenant() AND coalesce(stream, key) = split_part(what, '/', 1) AND data ->> 'n' = split_part(what, '/', 2)
    ORDER BY position DESC LIMIT 1 $$;
CREATE FUNCTION pg_temp.add(VARIADIC what text[]) RETURNS void LANGUAGE sql AS $$
    SELECT usher.append(split_part(w, '/', 1), 'sub.made', jsonb_build_object('n', split_part(w, '/', 2)::integer)) FROM unnest(what) w $$;
CREATE FUNCTION pg_temp.fail(name text, what text, retry_after interval DEFAULT '0') RETURNS void LANGUAGE sql AS $$
    SELECT usher.nack(name, pg_temp.lease(), pg_temp.at(what), 'no ' || what, retry_after) $$;
CREATE FUNCTION pg_temp.done(name text, up_to text DEFAULT NULL) RETURNS void LANGUAGE sql AS $$
    SELECT usher.ack(name, pg_temp.lease(), pg_temp.at(up_to)) $$;
CREATE FUNCTION pg_temp.parked(sub text) RETURNS SETOF text LANGUAGE sql AS $$
    SELECT format('%s attempts %s%s%s', replace(k.key, E'\x1f', '|'), k.attempts, CASE WHEN k.failed IS NULL THEN ' catches up' ELSE '' END, CASE WHEN k.held THEN ' held' ELSE '' END)
    FROM usher.parked_keys k JOIN usher.subscriptions s USING (subscription_id) WHERE s.name = sub ORDER BY k.key COLLATE "C" $$;
CREATE FUNCTION pg_temp.dead(sub text) RETURNS SETOF text LANGUAGE sql AS $$
    SELECT format('%s/%s: %s after %s attempts', d.key, d.envelope -> 'data' ->> 'n', d.error, d.attempts)
    FROM usher.dead_letters d JOIN usher.subscriptions s USING (subscription_id) WHERE s.name = sub ORDER BY d.position $$;
\set ECHO all
\pset format unaligned
\pset tuples_only on
\pset null '(null)'
SELECT usher.create_tenant('subs') > 1;
SET usher.tenant = 'subs';

-- deliver, acknowledge, and on
SELECT pg_temp.add('a-1/0');
SELECT usher.subscribe('plain', 'sub.*');
SELECT pg_temp.got('plain');
SELECT pg_temp.add('a-1/1', 'a-2/1', 'a-1/2', 'a-3/1');
SELECT usher.append('a-1', 'other.made', '{"n": 9}') > 0;
SELECT pg_temp.got('plain');
-- whoever asks again has given up what it had
SELECT pg_temp.lease() AS lost \gset
SELECT pg_temp.got('plain');
SELECT pg_temp.try(format('SELECT usher.ack(''plain'', %s)', :lost)) ~ '^US026: lease \d+ of subscription "plain" is not held any more';
SELECT pg_temp.done('plain');
SELECT pg_temp.try(format('SELECT usher.ack(''plain'', %s)', pg_temp.lease())) ~ '^US026';
SELECT pg_temp.got('plain');
-- the next poll acknowledges the last, in one commit
SELECT pg_temp.add('a-1/3', 'a-1/4');
SELECT pg_temp.got('plain', 1);
SELECT pg_temp.got('plain', 1, ack => pg_temp.lease());
SELECT pg_temp.got('plain', 1, ack => pg_temp.lease());
SELECT partition, position = max(position) OVER (), lease, parked_keys, blocked FROM usher.subscription_status WHERE subscription = 'plain' ORDER BY 1;

-- a part is acknowledged, the rest stays under the lease
SELECT pg_temp.add('b-1/1', 'b-2/1', 'b-1/2', 'b-2/2');
SELECT pg_temp.got('plain');
SELECT pg_temp.done('plain', 'b-1/2');
SELECT pg_temp.done('plain', 'b-1/1');
BEGIN;
SELECT pg_temp.done('plain', 'b-2/2');
SELECT pg_temp.done('plain', 'b-2/1');
ROLLBACK;
SELECT pg_temp.got('plain');
BEGIN;
SELECT pg_temp.done('plain', 'b-2/2');
SELECT pg_temp.done('plain', 'b-2/1');
COMMIT;
SELECT pg_temp.got('plain');

-- an acknowledgement that is rolled back did not happen
SELECT pg_temp.add('c-1/1', 'c-2/1');
SELECT pg_temp.got('plain');
BEGIN;
SELECT pg_temp.done('plain');
SELECT pg_temp.try(format('SELECT usher.ack(''plain'', %s)', pg_temp.lease())) ~ '^US026';
ROLLBACK;
SELECT pg_temp.got('plain');
BEGIN;
SAVEPOINT a;
SELECT pg_temp.done('plain');
ROLLBACK TO a;
SELECT pg_temp.done('plain');
COMMIT;
SELECT pg_temp.got('plain');
-- nor a poll
SELECT pg_temp.add('c-1/2');
BEGIN;
SELECT pg_temp.got('plain');
ROLLBACK;
SELECT lease FROM usher.subscription_status WHERE subscription = 'plain' AND lease IS NOT NULL;
BEGIN;
SAVEPOINT a;
SELECT pg_temp.got('plain');
ROLLBACK TO a;
SELECT pg_temp.got('plain', ack => NULL);
SELECT pg_temp.got('plain', ack => pg_temp.lease());
COMMIT;
SELECT pg_temp.got('plain');

-- a key that fails is set aside, the others go on; then it catches up, in its order
SELECT usher.subscribe('retry', 'sub.*', NULL, 2, '{"backoff": "1 h"}');
SELECT pg_temp.add('d-1/1', 'd-2/1', 'd-1/2', 'd-2/2');
SELECT pg_temp.got('retry');
SELECT pg_temp.fail('retry', 'd-1/1');
SELECT pg_temp.fail('retry', 'd-1/2');      -- behind it in its key: it comes again anyway
SELECT pg_temp.fail('retry', 'd-1/1');      -- once is enough
SELECT pg_temp.parked('retry');
SELECT pg_temp.add('d-1/3', 'd-2/3');
SELECT pg_temp.got('retry', ack => pg_temp.lease());
SELECT pg_temp.fail('retry', 'd-1/1');
SELECT pg_temp.got('retry', ack => pg_temp.lease());
SELECT pg_temp.got('retry', ack => pg_temp.lease());
SELECT pg_temp.parked('retry');
SELECT pg_temp.add('d-1/4');
SELECT pg_temp.got('retry', ack => pg_temp.lease());
SELECT pg_temp.got('retry', ack => NULLIF(pg_temp.lease(), 0));
SELECT pg_temp.parked('retry');
-- by the backoff: not yet
SELECT pg_temp.add('d-3/1', 'd-3/2', 'd-4/1');
SELECT pg_temp.got('retry');
SELECT usher.nack('retry', pg_temp.lease(), pg_temp.at('d-3/1'));
SELECT pg_temp.got('retry', ack => pg_temp.lease());
SELECT next_at - now() BETWEEN interval '0' AND interval '1 h' FROM usher.parked_keys WHERE key = 's:d-3';
UPDATE usher.parked_keys SET next_at = now() WHERE key = 's:d-3';
SELECT pg_temp.got('retry');
SELECT pg_temp.got('retry', ack => pg_temp.lease());
SELECT pg_temp.got('retry', ack => pg_temp.lease());

-- what was delivered of a key before the one that failed is not forgotten when nobody acknowledges it
SELECT pg_temp.add('e-1/1', 'e-1/2', 'e-1/3');
SELECT pg_temp.got('retry');
SELECT pg_temp.fail('retry', 'e-1/1');
SELECT pg_temp.got('retry', ack => pg_temp.lease());
SELECT pg_temp.got('retry', ack => pg_temp.lease());
SELECT pg_temp.fail('retry', 'e-1/3', '1 h');
SELECT pg_temp.got('retry');                 -- gives up the lease: e-1/2 was not acknowledged
SELECT pg_temp.got('retry', ack => pg_temp.lease());
UPDATE usher.parked_keys SET next_at = now() WHERE key = 's:e-1';
SELECT pg_temp.got('retry');
SELECT pg_temp.got('retry', ack => pg_temp.lease());
SELECT pg_temp.parked('retry');
-- nor is what comes before it in the partition
SELECT pg_temp.add('e-2/1', 'e-3/1', 'e-2/2');
SELECT pg_temp.got('retry');
SELECT pg_temp.fail('retry', 'e-2/2');
SELECT pg_temp.got('retry');
SELECT pg_temp.got('retry', ack => pg_temp.lease());
SELECT pg_temp.got('retry', ack => pg_temp.lease());

-- a part is acknowledged of what is new and of what catches up
SELECT pg_temp.add('f-1/1', 'f-1/2', 'f-1/3', 'f-1/4');
SELECT pg_temp.got('retry');
SELECT pg_temp.fail('retry', 'f-1/1');
SELECT pg_temp.got('retry', ack => pg_temp.lease());
SELECT pg_temp.got('retry', ack => pg_temp.lease());
SELECT pg_temp.add('f-2/1', 'f-1/5');
SELECT pg_temp.done('retry', 'f-1/3');
SELECT pg_temp.got('retry');
SELECT pg_temp.done('retry', 'f-2/1');
SELECT pg_temp.got('retry');
SELECT pg_temp.got('retry', ack => pg_temp.lease());
SELECT pg_temp.parked('retry');

-- dead letters: the key goes on
SELECT usher.subscribe('dead', 'sub.*', NULL, 4, '{"max_attempts": 2}');
SELECT pg_temp.add('g-1/1', 'g-1/2', 'g-2/1');
SELECT pg_temp.got('dead');
SELECT pg_temp.fail('dead', 'g-1/1');
SELECT pg_temp.got('dead', ack => pg_temp.lease());
SELECT pg_temp.fail('dead', 'g-1/1');
SELECT pg_temp.dead('dead');
SELECT first_failure < last_failure, partition IS NOT NULL, envelope - '{id,time,position,data}'::text[], envelope ->> 'position' = position::text, error_code
FROM usher.dead_letters d JOIN usher.subscriptions USING (subscription_id) WHERE name = 'dead';
SELECT pg_temp.got('dead', ack => pg_temp.lease());
SELECT pg_temp.got('dead', ack => pg_temp.lease());
SELECT pg_temp.parked('dead');
-- once more, apart from its key
SELECT usher.replay_dead_letters('dead', '{"type": "nothing"}') AS replay \gset
SELECT kind, state, replayed, failed, skipped, sink, subscription FROM usher.replay_status WHERE replay_id = :replay;
SELECT usher.replay_dead_letters('dead') AS replay \gset
SELECT pg_temp.add('g-1/3');
SELECT pg_temp.got('dead');
SELECT pg_temp.fail('dead', 'g-1/1');
SELECT pg_temp.got('dead', ack => pg_temp.lease());
SELECT pg_temp.fail('dead', 'g-1/1');
SELECT pg_temp.got('dead', ack => pg_temp.lease());
SELECT pg_temp.dead('dead');
SELECT kind, state, replayed, failed, skipped, sink, subscription FROM usher.replay_status WHERE replay_id = :replay;
SELECT usher.replay_dead_letters('dead', '{"key": "g-1"}') AS replay \gset
SELECT pg_temp.got('dead');
SELECT pg_temp.got('dead', ack => pg_temp.lease());
SELECT pg_temp.dead('dead'), pg_temp.parked('dead');
SELECT kind, state, replayed, failed, skipped, sink, subscription FROM usher.replay_status WHERE replay_id = :replay;

-- or it is held, until somebody has decided
SELECT usher.subscribe('held', 'sub.*', NULL, 1, '{"max_attempts": 1, "on_dead": "hold"}');
SELECT pg_temp.add('h-1/1', 'h-1/2', 'h-2/1');
SELECT pg_temp.got('held');
SELECT pg_temp.fail('held', 'h-1/1');
SELECT pg_temp.got('held', ack => pg_temp.lease());
SELECT pg_temp.parked('held');
SELECT parked_keys, held_keys, blocked FROM usher.subscription_status WHERE subscription = 'held';
SELECT pg_temp.add('h-1/3', 'h-2/2');
SELECT pg_temp.got('held');
SELECT pg_temp.done('held');
SELECT usher.replay_dead_letters('held') > 0;
SELECT pg_temp.got('held');
SELECT pg_temp.fail('held', 'h-1/1');
SELECT pg_temp.got('held', ack => pg_temp.lease());
SELECT pg_temp.dead('held');
SELECT usher.skip_dead_letter('held', pg_temp.at('h-1/1'));
SELECT pg_temp.got('held');
SELECT pg_temp.done('held');
SELECT pg_temp.got('held'), pg_temp.parked('held'), pg_temp.dead('held');
SELECT pg_temp.try(format('SELECT usher.skip_dead_letter(''held'', %s)', pg_temp.at('h-1/1'))) ~ '^US018: subscription "held" has no dead letter at position';

-- too many parked keys: only they are delivered, and it says so
SELECT usher.subscribe('blocked', 'sub.*', NULL, 1, '{"max_parked_keys": 2}');
SELECT pg_temp.add('i-1/1', 'i-2/1', 'i-3/1');
SELECT pg_temp.got('blocked');
SELECT pg_temp.fail('blocked', 'i-1/1', '1 h'), pg_temp.fail('blocked', 'i-2/1', '1 h');
SELECT pg_temp.add('i-3/2');
SELECT pg_temp.got('blocked', ack => pg_temp.lease());
SELECT parked_keys, blocked FROM usher.subscription_status WHERE subscription = 'blocked';
CALL usher.wait_for_delivery('blocked', '10 ms', NULL);
UPDATE usher.parked_keys SET next_at = now() WHERE key = 's:i-1';
CALL usher.wait_for_delivery('blocked', '10 ms', NULL);
SELECT pg_temp.got('blocked');
SELECT pg_temp.got('blocked', ack => pg_temp.lease());
SELECT pg_temp.got('blocked', ack => NULLIF(pg_temp.lease(), 0));
SELECT parked_keys, blocked FROM usher.subscription_status WHERE subscription = 'blocked';
-- blocked before anything was acknowledged
SELECT usher.unsubscribe('blocked');
SELECT usher.subscribe('blocked', 'sub.*', pg_temp.at('i-1/1') - 1, 1, '{"max_parked_keys": 2}');
SELECT pg_temp.got('blocked');
SELECT pg_temp.fail('blocked', 'i-1/1'), pg_temp.fail('blocked', 'i-2/1');
SELECT pg_temp.got('blocked');               -- the lease is given up: what was delivered before is delivered again, and no more
SELECT pg_temp.got('blocked', ack => NULLIF(pg_temp.lease(), 0));
SELECT pg_temp.got('blocked', ack => pg_temp.lease());

-- seek and unsubscribe beside a lease, pause
SELECT pg_temp.got('plain', ack => NULL);
SELECT pg_temp.done('plain');
SELECT pg_temp.add('j-1/1', 'j-2/1');
SELECT pg_temp.got('plain');
SELECT usher.seek_subscription('plain', pg_temp.at('j-1/1'));
SELECT pg_temp.try(format('SELECT usher.ack(''plain'', %s)', pg_temp.lease())) ~ '^US026';
SELECT pg_temp.try(format('SELECT usher.nack(''plain'', %s, 5)', pg_temp.lease())) ~ '^US026';
SELECT pg_temp.try(format('SELECT usher.extend(''plain'', %s)', pg_temp.lease())) ~ '^US026';
SELECT pg_temp.got('plain');
SELECT pg_temp.fail('plain', 'j-2/1');
SELECT pg_temp.done('plain');
SELECT usher.seek_subscription('plain', pg_temp.at('j-1/1') - 1);
SELECT pg_temp.parked('plain');
SELECT pg_temp.got('plain');
SELECT usher.pause_subscription('plain');
SELECT pg_temp.done('plain', 'j-1/1');
SELECT pg_temp.got('plain'), paused FROM usher.subscription_status WHERE subscription = 'plain' LIMIT 1;
CALL usher.wait_for_delivery('plain', '10 ms', NULL);
SELECT usher.resume_subscription('plain');
CALL usher.wait_for_delivery('plain', '10 ms', NULL);
SELECT pg_temp.got('plain');
SELECT usher.seek_subscription_time('plain', (SELECT recorded_at FROM usher.log WHERE position = pg_temp.at('j-2/1'))) = pg_temp.at('j-1/1') - 1;     -- one transaction, one time
SELECT pg_temp.got('plain');
SELECT usher.seek_subscription_time('plain', 'infinity') = usher.stable_position();
SELECT pg_temp.got('plain');
SELECT usher.seek_subscription('plain', NULL);
SELECT usher.unsubscribe('plain');
SELECT pg_temp.try(format('SELECT usher.ack(''plain'', %s)', pg_temp.lease()));
SELECT count(*) FROM usher.parked_keys k WHERE NOT EXISTS (SELECT FROM usher.subscriptions s WHERE s.subscription_id = k.subscription_id);

-- what was acknowledged and taken anew is as it was when that is undone, wholly or down to a savepoint
SELECT usher.subscribe('undone', 'sub.*', partitions => 2);
SELECT pg_temp.add('u-1/1', 'u-1/2', 'u-1/3', 'u-1/4');
SELECT pg_temp.got('undone', 1);
BEGIN;
SELECT pg_temp.got('undone', 1, ack => pg_temp.lease());
SAVEPOINT a;
SELECT pg_temp.got('undone', 1, ack => pg_temp.lease());
SELECT pg_temp.got('undone', 1, ack => pg_temp.lease());
ROLLBACK TO a;
SELECT pg_temp.got('undone', 1, ack => pg_temp.lease());
SAVEPOINT b;
SELECT pg_temp.got('undone', 1, ack => pg_temp.lease());
RELEASE b;
ROLLBACK;
SELECT pg_temp.got('undone', 1, ack => pg_temp.lease());
SELECT pg_temp.done('undone');
SELECT pg_temp.got('undone');
SELECT pg_temp.done('undone');
SELECT pg_temp.got('undone');
SELECT usher.unsubscribe('undone');

-- category, stream, published events
SELECT usher.subscribe('category', '*', NULL, 8, '{"category": "k"}'), usher.subscribe('stream', '**', NULL, 8, '{"stream": "k-*"}');
SELECT pg_temp.add('k-1/1', 'kk-1/1', 'k-2/1');
SELECT usher.publish('topic', 'k-9', 'sub.published', '{"n": 1}') IS NOT NULL, usher.publish('topic', 'k-9', 'sub.published', '{"n": 2}') IS NOT NULL;
-- (the same key in another topic is another key)
SELECT usher.publish('topic 2', 'k-9', 'sub.published', '{"n": 3}') IS NOT NULL;
SELECT pg_temp.got('category');
SELECT pg_temp.got('stream');
SELECT usher.subscribe('published', 'sub.published', pg_temp.at('k-1/1'));
SELECT pg_temp.got('published');
SELECT pg_temp.fail('published', 'k-9/1');
SELECT pg_temp.got('published', ack => pg_temp.lease());
SELECT pg_temp.parked('published');
SELECT pg_temp.got('published', ack => pg_temp.lease());
SELECT pg_temp.got('published', ack => pg_temp.lease());
SELECT pg_temp.parked('published');

-- a named member: its lease ends by its time
SELECT usher.subscribe('member', 'sub.*', NULL, 8, '{"lease": "200 ms"}');
SELECT pg_temp.add('l-1/1');
SELECT pg_temp.got('member', member => 'one');
SELECT pg_temp.got('member', member => 'two');
SELECT pg_temp.got('member', member => 'two', wait => '5 s');
SELECT usher.extend('member', pg_temp.lease(), '1 h');
SELECT pg_temp.got('member', member => 'one', wait => '300 ms');
-- the same member again, restarted: it need not wait
SELECT pg_temp.got('member', member => 'two');
SELECT usher.extend('member', pg_temp.lease(), '0');
SELECT pg_temp.try(format('SELECT usher.ack(''member'', %s)', pg_temp.lease())) ~ '^US026';
SELECT pg_temp.got('member', member => 'one');
SELECT pg_temp.done('member');
SELECT pg_temp.got('member');

-- tenants have their own
SELECT usher.subscribe('ours', 'sub.*', 0);
SET usher.tenant = 'default';
SELECT pg_temp.try('SELECT usher.poll(''ours'')');
SELECT usher.subscribe('ours', 'sub.*', NULL);
SELECT pg_temp.got('ours');
SELECT count(*) FROM usher.subscription_status WHERE subscription = 'member';
SELECT usher.unsubscribe('ours');
SET usher.tenant = 'subs';
SELECT pg_temp.got('ours', 3);

-- two groups do not know of each other
SELECT usher.subscribe('group one', 'sub.*', pg_temp.at('l-1/1') - 1), usher.subscribe('group two', 'sub.*', pg_temp.at('l-1/1') - 1);
SELECT pg_temp.got('group one'), pg_temp.got('group two');
SELECT pg_temp.done('group two');
SELECT pg_temp.got('group one'), pg_temp.got('group two');

-- retention keeps what they need
SELECT usher.least_cursor() = (SELECT min(position) FROM usher.subscription_status);

-- the newest cursors are carried over when a table is emptied
CREATE TEMPORARY TABLE before AS SELECT subscription, partition, position FROM usher.subscription_status;
RESET usher.tenant;
SELECT usher.rotate_cursors(0), usher.rotate_cursors(1);
SET usher.tenant = 'subs';
SELECT count(*) > 0, count(*) FILTER (WHERE s.position IS DISTINCT FROM b.position) FROM before b LEFT JOIN usher.subscription_status s USING (subscription, partition);

-- bad input
SELECT call, pg_temp.try(call) FROM (VALUES
    ($$SELECT usher.subscribe(NULL)$$), ($$SELECT usher.subscribe('')$$), ($$SELECT usher.subscribe(repeat('x', 256))$$),
    ($$SELECT usher.subscribe('bad', NULL)$$), ($$SELECT usher.subscribe('bad', '')$$),
    ($$SELECT usher.subscribe('ours')$$),
    ($$SELECT usher.subscribe('bad', from_position => -1)$$),
    ($$SELECT usher.subscribe('bad', partitions => 0)$$), ($$SELECT usher.subscribe('bad', partitions => 1025)$$), ($$SELECT usher.subscribe('bad', partitions => NULL)$$),
    ($$SELECT usher.subscribe('bad', options => NULL)$$), ($$SELECT usher.subscribe('bad', options => '[]')$$),
    ($$SELECT usher.subscribe('bad', options => '{"x": 1}')$$),
    ($$SELECT usher.subscribe('bad', options => '{"max_attempts": 0}')$$), ($$SELECT usher.subscribe('bad', options => '{"max_attempts": "3"}')$$),
    ($$SELECT usher.subscribe('bad', options => '{"max_attempts": 1.5}')$$), ($$SELECT usher.subscribe('bad', options => '{"lease": "1 ms"}')$$),
    ($$SELECT usher.subscribe('bad', options => '{"lease": "soon"}')$$), ($$SELECT usher.subscribe('bad', options => '{"backoff": 5}')$$),
    ($$SELECT usher.subscribe('bad', options => '{"backoff": "-1 s"}')$$), ($$SELECT usher.subscribe('bad', options => '{"on_dead": "drop"}')$$),
    ($$SELECT usher.subscribe('bad', options => '{"category": ""}')$$), ($$SELECT usher.subscribe('bad', options => '{"stream": 5}')$$),
    ($$SELECT usher.unsubscribe('nobody')$$), ($$SELECT usher.unsubscribe(NULL)$$), ($$SELECT usher.pause_subscription('nobody')$$),
    ($$SELECT usher.resume_subscription('nobody')$$), ($$SELECT usher.seek_subscription('nobody', 0)$$),
    ($$SELECT usher.seek_subscription('ours', -1)$$), ($$SELECT usher.seek_subscription_time('ours', NULL)$$), ($$SELECT usher.seek_subscription_time('nobody', now())$$),
    ($$SELECT usher.poll('nobody')$$), ($$SELECT usher.poll(NULL)$$), ($$SELECT usher.poll('ours', 0)$$), ($$SELECT usher.poll('ours', 10001)$$),
    ($$SELECT usher.poll('ours', NULL)$$), ($$SELECT usher.poll('ours', 1, '-1 s')$$), ($$SELECT usher.poll('ours', 1, '0', '')$$),
    ($$SELECT usher.ack('nobody', 1)$$), ($$SELECT usher.ack('ours', NULL)$$), ($$SELECT usher.ack('ours', 1)$$),
    ($$SELECT usher.nack('ours', NULL, 1)$$), ($$SELECT usher.nack('ours', 1, NULL)$$), ($$SELECT usher.nack('ours', 1, 0)$$), ($$SELECT usher.nack('ours', 1, 1)$$),
    ($$SELECT usher.nack('ours', 1, 1, 'x', '-1 s')$$), ($$SELECT usher.extend('ours', 1)$$), ($$SELECT usher.extend('ours', NULL)$$),
    ($$SELECT usher.extend('ours', 1, '-1 s')$$),
    ($$SELECT usher.skip_dead_letter('nobody', 1)$$), ($$SELECT usher.skip_dead_letter('ours', NULL)$$),
    ($$SELECT usher.replay_dead_letters('nobody')$$), ($$SELECT usher.replay_dead_letters('ours', '[]')$$), ($$SELECT usher.replay_dead_letters('ours', NULL)$$),
    ($$SELECT usher.replay_dead_letters('ours', '{"x": 1}')$$), ($$SELECT usher.replay_subscription_dead_letters('nobody')$$),
    ($$SELECT usher.subscription_start(0, 0)$$), ($$SELECT usher.replay_of_subscription(0, '{}')$$)) AS c (call);
CALL usher.wait_for_delivery('nobody', '1 s', NULL);
CALL usher.wait_for_delivery(NULL, '1 s', NULL);
CALL usher.wait_for_delivery('ours', NULL, NULL);
CALL usher.wait_for_delivery('ours', '-1 s', NULL);
BEGIN;
CALL usher.wait_for_delivery('ours', '1 s', NULL);
ROLLBACK;
-- an event that the lease does not have
SELECT pg_temp.add('m-1/1', 'm-2/1');
SELECT usher.seek_subscription('ours', pg_temp.at('m-1/1') - 1);
SELECT pg_temp.got('ours', 1);
SELECT pg_temp.try(format('SELECT usher.nack(''ours'', %s, %s)', pg_temp.lease(), pg_temp.at('m-2/1'))) ~ '^US018: the event at position \d+ was not delivered under lease';
SELECT pg_temp.try(format('SELECT usher.nack(''ours'', %s, %s)', pg_temp.lease(), pg_temp.at('l-1/1'))) ~ '^US018: the event at position \d+ was not delivered under lease';
-- transactions that cannot
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT pg_temp.try('SELECT usher.poll(''ours'')');
SELECT pg_temp.done('ours');                 -- an acknowledgement can: it is what is committed that counts
COMMIT;
SELECT pg_temp.got('ours', 1);
BEGIN READ ONLY;
SELECT pg_temp.try('SELECT usher.poll(''ours'')'), pg_temp.try('SELECT usher.ack(''ours'', 1)'), pg_temp.try('SELECT usher.nack(''ours'', 1, 1)');
ROLLBACK;

-- a name that a sink has as well
SET client_min_messages = warning;
SELECT usher.add_sink('ours', 'memory', '{}') > 0;
RESET client_min_messages;
SELECT pg_temp.try('SELECT usher.replay_dead_letters(''ours'')');
SELECT usher.replay_subscription_dead_letters('ours') > 0, usher.replay_sink_dead_letters('ours') > 0;
SELECT usher.drop_sink('ours');

-- who may
CREATE ROLE regress_subs_reader IN ROLE usher_reader;
CREATE ROLE regress_subs_writer IN ROLE usher_writer;
SELECT usher.grant_tenant('subs', 'regress_subs_reader'), usher.grant_tenant('subs', 'regress_subs_writer');
RESET usher.tenant;
GRANT USAGE ON SCHEMA usher TO regress_subs_reader;
SET ROLE regress_subs_reader;
SELECT call, pg_temp.try(call) FROM (VALUES
    ($$SELECT count(*) > 0 FROM usher.subscription_status$$), ($$SELECT count(*) FROM usher.parked_keys$$), ($$SELECT count(*) > 0 FROM usher.replay_status$$),
    ($$SELECT usher.poll('ours')$$), ($$SELECT usher.ack('ours', 1)$$), ($$SELECT usher.subscribe('theirs')$$), ($$SELECT usher.unsubscribe('ours')$$),
    ($$SELECT usher.seek_subscription('ours', 0)$$), ($$SELECT usher.replay_dead_letters('ours')$$), ($$DELETE FROM usher.dead_letters$$),
    ($$UPDATE usher.subscriptions SET paused = true$$), ($$SELECT count(*) FROM usher.subscription_cursors_a$$)) AS c (call);
SET ROLE regress_subs_writer;
SELECT call, pg_temp.try(call) FROM (VALUES
    ($$SELECT usher.subscribe('theirs', 'sub.*', 0, 4, '{"max_attempts": 1}')$$)) AS c (call);
SELECT pg_temp.got('theirs', 1);
SELECT usher.nack('theirs', pg_temp.lease(), (SELECT position FROM usher.read(0, 1, 'sub.*')), 'broken');
SELECT pg_temp.done('theirs');
SELECT pg_temp.dead('theirs');
SELECT usher.replay_dead_letters('theirs') > 0;
SELECT pg_temp.got('theirs', 1);
SELECT pg_temp.done('theirs');
SELECT pg_temp.dead('theirs');
SELECT call, pg_temp.try(call) FROM (VALUES
    ($$SELECT usher.pause_subscription('theirs')$$), ($$SELECT usher.resume_subscription('theirs')$$), ($$SELECT usher.seek_subscription('theirs', 0)$$),
    ($$SELECT usher.seek_subscription_time('theirs', now()) > 0$$), ($$SELECT usher.unsubscribe('theirs')$$),
    ($$UPDATE usher.subscriptions SET partitions = 3$$), ($$INSERT INTO usher.parked_keys VALUES (1)$$), ($$SELECT usher.rotate_cursors(0)$$),
    ($$SELECT usher.bury(1, 1, '', 1, 0, '')$$), ($$SELECT usher.park_dead_letters(1, '{}')$$),
    ($$INSERT INTO usher.dead_letters VALUES (1)$$)) AS c (call);
SET usher.tenant = 'default';
SELECT DISTINCT tenant FROM usher.poll('ours');
RESET usher.tenant;
RESET ROLE;
SELECT invariant, ok FROM usher.check() WHERE invariant ~ 'subscription|parked';
SET usher.tenant = 'subs';
SELECT usher.unsubscribe(name) FROM usher.subscriptions WHERE tenant_id = usher.current_tenant();
SELECT count(*) FROM usher.parked_keys;
SELECT count(*) FROM usher.dead_letters WHERE subscription_id IS NOT NULL;
RESET usher.tenant;
SELECT usher.revoke_tenant('subs', 'regress_subs_reader'), usher.revoke_tenant('subs', 'regress_subs_writer');
DROP OWNED BY regress_subs_reader, regress_subs_writer;
DROP ROLE regress_subs_reader, regress_subs_writer;
