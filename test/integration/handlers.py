#!/usr/bin/python3
# test/integration/handlers.py: functions that the pool of workers calls, and what they may do to each other: nothing.
# slow: 55 s
import contextlib
import os
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "chaos"))

import lib      # noqa: E402
from lib import ensure, ensure_empty, note      # noqa: E402

FUNCTIONS = """
CREATE TABLE seen (id bigint GENERATED ALWAYS AS IDENTITY, handler text, pos bigint, stream text, version bigint, type text,
                   role text, tenant text, actor text, causation text, correlation text,
                   at timestamptz DEFAULT clock_timestamp());
CREATE TABLE parent (id integer PRIMARY KEY);
CREATE TABLE child (parent integer REFERENCES parent DEFERRABLE INITIALLY DEFERRED, pos bigint);
GRANT ALL ON seen, parent, child TO PUBLIC;
CREATE FUNCTION note(handler text, e usher.event) RETURNS void LANGUAGE sql AS $$
    INSERT INTO public.seen (handler, pos, stream, version, type, role, tenant, actor, causation, correlation)
    VALUES (handler, e.position, e.stream, e.version, e.type, current_user, current_setting('usher.tenant'),
            current_setting('usher.actor'), current_setting('usher.causation_id'), current_setting('usher.correlation_id')) $$;
CREATE FUNCTION one(e usher.event) RETURNS void LANGUAGE sql AS $$ SELECT public.note('one', e) $$;
CREATE FUNCTION two(e usher.event) RETURNS void LANGUAGE sql AS $$ SELECT public.note('two', e) $$;
CREATE FUNCTION bad(e usher.event) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    big text[];
BEGIN
    PERFORM public.note('bad', e);
    CASE e.type
        WHEN 'bad.raise' THEN RAISE EXCEPTION 'not %', e.stream;
        WHEN 'bad.twice' THEN
            PERFORM nextval('public.tries');
            IF (SELECT last_value FROM public.tries) < 3 THEN RAISE EXCEPTION 'not yet'; END IF;
        WHEN 'bad.loop' THEN LOOP PERFORM 1; END LOOP;
        WHEN 'bad.recursion' THEN PERFORM public.bad(e);
        WHEN 'bad.memory' THEN FOR i IN 1 .. 100 LOOP big := big || repeat('x', 10000000); END LOOP;
        WHEN 'bad.commit' THEN INSERT INTO public.child VALUES (99, e.position);
        WHEN 'bad.role' THEN SET ROLE postgres;
        WHEN 'bad.lock' THEN PERFORM FROM public.parent WHERE id = 1 FOR UPDATE;
        WHEN 'bad.stubborn' THEN
            LOOP BEGIN PERFORM pg_sleep(60); EXCEPTION WHEN query_canceled THEN NULL; END; END LOOP;
        ELSE NULL;
    END CASE;
END $$;
CREATE SEQUENCE tries;
"""


class Test:
    """All tests share a cluster; each has a database."""

    def __init__(self):
        self.cluster = lib.Cluster(lib.work_directory(), conf={"max_worker_processes": "40", "usher.handler_memory": "128MB"})
        self.cluster.initdb().start()
        self.database = None

    def fresh(self, name):
        self.database = "handlers_" + name
        self.cluster.rows("CREATE DATABASE " + self.database)
        self.run("CREATE EXTENSION pg_usher; " + FUNCTIONS)

    def drop(self):
        self.cluster.rows("DROP DATABASE " + self.database)

    def rows(self, sql, *arguments):
        return self.cluster.rows(sql, arguments or None, self.database)

    run = rows

    def value(self, sql, *arguments):
        return self.rows(sql, *arguments)[0][0]

    def append(self, n=1, streams=1, kind="t.one", prefix="a"):
        return self.value("SELECT usher.append_many(array_agg(%s || '-' || i %% %s), array_agg(%s::text), array_agg('{}'::text))"
                          " FROM generate_series(1, %s) i", prefix, streams, kind, n)

    def done(self, handler, n, seconds=20):
        lib.wait_until(lambda: self.value("SELECT count(*) FROM seen WHERE handler = %s", handler) >= n, seconds,
                       "%d calls of %s" % (n, handler))

    def check_once(self, handler, pattern="*"):
        """Every event was handled once, each stream's in its order."""
        ensure_empty(self.rows("SELECT e.position, count(s.id) FROM usher.events e LEFT JOIN seen s ON s.pos = e.position"
                               " AND s.handler = %s WHERE usher.matches(e.type, %s) GROUP BY 1 HAVING count(s.id) <> 1",
                               handler, pattern), "not handled once")
        ensure_empty(self.rows("SELECT pos, stream FROM (SELECT *, lag(version) OVER (PARTITION BY stream ORDER BY id) AS before"
                               " FROM seen WHERE handler = %s) o WHERE before > version", handler), "out of order")

    def dead(self):
        return {row[0]: row[1] for row in self.rows("SELECT position, error FROM usher.dead_letters")}

    def workers(self):
        return [row[0] for row in self.rows("SELECT pid FROM pg_stat_activity WHERE backend_type = 'pg_usher handlers'"
                                            " AND datname = current_database()")]

    # what it does

    def events(self):
        """Each event once, in its own tenant, for who did it; what is appended is caused by it."""
        self.fresh("events")
        self.append(50)
        self.run("SELECT usher.handle('early', 't.*', 'one(usher.event)', '{}', 'async', 0)")
        self.done("one", 50)
        self.run("SELECT usher.handle('late', 't.**', 'two(usher.event)')")
        began = time.monotonic()
        self.run("SET usher.actor = 'ann'; SET usher.correlation_id = 'c-1'; SELECT usher.append('b-1', 't.two')")
        self.done("two", 1)
        note("%.0f ms from a commit to what its handler wrote" % ((time.monotonic() - began) * 1000))
        self.append(5000, 100)
        self.done("one", 5051)
        self.done("two", 5001)
        self.check_once("one", "t.*")
        ensure(self.value("SELECT count(*) FROM seen WHERE handler = 'two'") == 5001, "more than was asked for")
        ((actor, tenant, causation, correlation),) = self.rows(
            "SELECT s.actor, s.tenant, s.causation = e.id::text, s.correlation FROM seen s JOIN usher.events e ON e.position = s.pos"
            " WHERE s.handler = 'two' AND e.type = 't.two'")
        ensure((actor, tenant, causation, correlation) == ('{"id": "ann"}', "default", True, "c-1"),
               "surroundings: %s" % [actor, tenant, causation, correlation])
        self.run("INSERT INTO usher.tenants (slug, name) VALUES ('acme', 'Acme')")
        self.run("SET usher.tenant = 'acme'; SELECT usher.append('x-1', 't.one');"
                 " SELECT usher.handle('hers', 't.*', 'one(usher.event)', '{}', 'async', 0)")
        lib.wait_until(lambda: self.rows("SELECT 1 FROM seen WHERE tenant = 'acme'"), 10, "the event of another tenant")
        ensure(self.value("SELECT count(*) FROM seen WHERE tenant = 'acme'") == 1, "a handler has seen another tenant's events")
        self.drop()

    def order(self):
        """A worker alone: exact patterns before wildcards."""
        self.cluster.reload(**{"usher.handler_workers": 1})
        self.fresh("order")
        self.run("SELECT usher.handle('any', '**', 'one(usher.event)'), usher.handle('exact', 't.one', 'two(usher.event)')")
        lib.wait_until(lambda: len(self.workers()) == 1, 10, "one worker")
        time.sleep(0.2)
        self.append()
        self.done("one", 1)
        self.done("two", 1)
        ensure(self.value("SELECT string_agg(handler, ',' ORDER BY id) FROM seen") == "two,one", "the wildcard came first")
        self.cluster.reload(**{"usher.handler_workers": 4})
        lib.wait_until(lambda: len(self.workers()) == 4, 10, "four workers")
        self.run("SELECT usher.unhandle('any'), usher.unhandle('exact')")
        lib.wait_until(lambda: not self.workers(), 10, "workers without work to leave")
        self.drop()

    def sync(self):
        """In the appending call: one mechanism with usher.project."""
        self.fresh("sync")
        self.run("SELECT usher.handle('s', 't.*', 'one(usher.event)', mode => 'sync')")
        self.append()
        ensure(self.rows("SELECT handler FROM seen") == [("one",)], "it did not run in the call")
        ensure(self.rows("SELECT name, mode FROM usher.handler_status") == [("s", "sync")], "it is not shown")
        self.run("SELECT usher.unhandle('s')")
        self.append()
        ensure(self.value("SELECT count(*) FROM seen") == 1, "it runs on")
        self.drop()

    # what goes wrong

    def failures(self):
        """A handler that raises, loops, fills the memory, cannot commit, or wants another's rights: alone."""
        self.fresh("failures")
        self.run("""SELECT usher.handle('bad', 'bad.*', 'bad(usher.event)',
                                        '{"timeout": "2s", "backoff": "50ms", "max_attempts": 2}'),
                           usher.handle('good', '**', 'one(usher.event)')""")
        kinds = ["raise", "loop", "recursion", "memory", "commit", "role"]
        for kind in kinds:
            self.append(1, 1, "bad." + kind, kind)
            self.append(20, 1, "bad.not", kind)
        self.append(200, 50)
        self.done("bad", 20 * len(kinds), 30)
        self.done("one", 21 * len(kinds) + 200)
        self.check_once("one")
        lib.wait_until(lambda: len(self.dead()) == len(kinds), 30, "%d dead letters" % len(kinds))
        for kind, error in (("raise", "not raise-0"), ("loop", "did not end within 2000 ms"), ("recursion", "stack depth"),
                            ("memory", "out of memory"), ("commit", "foreign key"), ("role", "cannot set parameter")):
            ensure(self.value("SELECT error LIKE %s FROM usher.dead_letters WHERE type = %s", "%" + error + "%", "bad." + kind),
                   "%s: %s" % (kind, self.dead()))
        ensure(self.value("SELECT count(*) FROM seen WHERE handler = 'bad' AND type <> 'bad.not'") == 0, "what failed has left something")
        ensure_empty(self.rows("SELECT e.position, count(s.id) FROM usher.events e LEFT JOIN seen s ON s.pos = e.position AND"
                               " s.handler = 'bad' WHERE e.type = 'bad.not' GROUP BY 1 HAVING count(s.id) <> 1"), "not handled once")
        self.append(1, 1, "bad.twice", "twice")
        lib.wait_until(lambda: len(self.dead()) == len(kinds) + 1, 10, "two attempts to be too few")
        self.drop()

    def counted(self):
        """What became of each event, and how long it took, is in the metrics."""
        self.fresh("counted")
        self.run("CREATE FUNCTION slow(e usher.event) RETURNS void LANGUAGE sql AS $$ SELECT pg_sleep(0.02); SELECT public.note('slow', e) $$")
        self.run("SELECT usher.handle('bad', 'bad.*', 'bad(usher.event)', '{\"max_attempts\": 3, \"backoff\": \"10 ms\"}')")
        self.run("SELECT usher.handle('slow', 't.slow', 'slow(usher.event)')")
        self.append(1, 1, "bad.raise", "raise")
        self.append(40, 7, "bad.good", "good")
        self.append(60, 7, "t.slow", "slow")     # more than a transaction runs within its second

        def processed():
            return {(row[0], row[1]): row[2] for row in self.rows(
                "SELECT labels ->> 'type', labels ->> 'status', value FROM usher.metrics()"
                " WHERE name = 'eventbroker_events_processed_total' AND value > 0")}
        expected = {("bad.raise", "retried"): 2, ("bad.raise", "failed"): 1, ("bad.good", "completed"): 40, ("t.slow", "completed"): 60}
        lib.wait_until(lambda: processed() == expected, 20, "%s to be %s" % (processed(), expected))
        histogram = dict(self.rows(
            "SELECT m.name || ' ' || (m.labels ->> 'type') || coalesce(' ' || (m.labels ->> 'le'), ''), m.value FROM usher.metrics() m"
            " WHERE m.name LIKE 'eventbroker_event_processing%'"))
        name = "eventbroker_event_processing_duration_seconds"
        ensure(histogram[name + "_count t.slow"] == 60 and histogram[name + "_bucket t.slow 0.01"] == 0,
               "60 events of 20 ms are counted as %s" % histogram)
        ensure(histogram[name + "_sum t.slow"] >= 60 * 0.02 and histogram[name + "_bucket bad.good 0.01"] > 0,
               "times are %s" % histogram)
        self.drop()

    def begun(self):
        """A handler that is registered, moved or resumed finds what is there, though its transaction is still ending when it looks."""
        self.fresh("begun")
        self.run("SELECT usher.handle('first', 'none', 'one(usher.event)')")
        for n in range(60):
            self.run("SELECT usher.append('x-%d', 't.x'); SELECT usher.handle('h%d', 't.x', 'two(usher.event)', '{\"stream\": \"x-%d\"}',"
                     " 'async', 0)" % (n, n, n))
            self.done("two", n + 1, 5)
            self.run("SELECT usher.unhandle('h%d')" % n)
        self.drop()

    def stubborn(self):
        """One that catches every cancellation takes its worker with it, and is set aside all the same."""
        self.fresh("stubborn")
        self.run("""SELECT usher.handle('bad', 'bad.*', 'bad(usher.event)', '{"timeout": "100ms", "max_attempts": 1}')""")
        self.append(1, 1, "bad.stubborn", "s")
        self.append(10, 1, "bad.not", "s")
        lib.wait_until(lambda: self.rows("SELECT 1 FROM usher.handler_status WHERE running = 1"), 5, "it to run")
        self.append(10, 5, "bad.not", "t")
        self.done("bad", 20, 30)
        ensure("the worker ended" in list(self.dead().values())[0], "dead letters: %s" % self.dead())
        self.drop()

    def deadlock(self):
        """A deadlock with a session, and a lock that is not given."""
        self.fresh("deadlock")
        self.run("INSERT INTO parent VALUES (1)")
        self.run("""SELECT usher.handle('bad', 'bad.*', 'bad(usher.event)', '{"timeout": "500ms", "backoff": "100ms", "max_attempts": 100}')""")
        session = self.cluster.connect(self.database)
        session.autocommit = False
        session.cursor().execute("SELECT FROM parent FOR UPDATE")
        self.append(1, 1, "bad.lock", "l")
        self.append(10, 5, "bad.not", "t")
        self.done("bad", 10)
        lib.wait_until(lambda: self.rows("SELECT 1 FROM usher.parked_keys WHERE attempts > 0"), 10, "the attempt to fail")
        session.rollback()
        session.close()
        self.done("bad", 11)
        self.drop()

    def roles(self):
        """A handler is its owner, and nobody else; nothing of it is met by another's."""
        self.fresh("roles")
        self.run("CREATE ROLE handler_ann LOGIN; CREATE ROLE handler_bob LOGIN; GRANT usher_writer TO handler_ann, handler_bob;"
                 " GRANT CREATE ON SCHEMA public TO handler_ann, handler_bob")
        self.cluster.reload(**{"usher.handler_workers": 1})
        for who in ("ann", "bob"):
            with contextlib.closing(self.cluster.connect(self.database, user="handler_" + who)) as session:
                session.autocommit = True
                session.cursor().execute("""CREATE FUNCTION public.of_%s(e usher.event) RETURNS void LANGUAGE plpgsql AS $$
                    BEGIN
                        PERFORM public.note('%s', e);
                        PERFORM pg_advisory_lock(%d);
                        IF EXISTS (SELECT FROM pg_class WHERE oid = to_regclass('pg_temp.mine') AND relowner <> current_user::regrole)
                        THEN RAISE EXCEPTION 'somebody was here'; END IF;
                        CREATE TEMP TABLE IF NOT EXISTS mine (t text);
                        PERFORM set_config('search_path', 'nowhere', false);
                    END $$;
                    SELECT usher.handle('of-%s', '**', 'public.of_%s(usher.event)', '{"max_attempts": 1}')"""
                                         % (who, who, 1 if who == "ann" else 2, who, who))
        for _ in range(3):
            self.append()
            time.sleep(0.1)
        self.done("ann", 3)
        self.done("bob", 3)
        ensure(not self.dead(), "dead letters: %s" % self.dead())
        ensure(self.rows("SELECT DISTINCT handler, role FROM seen ORDER BY 1") == [("ann", "handler_ann"), ("bob", "handler_bob")],
               "roles: %s" % self.rows("SELECT DISTINCT handler, role FROM seen"))
        ensure(not self.rows("SELECT 1 FROM pg_locks WHERE locktype = 'advisory'"), "a session lock is left")
        with contextlib.closing(self.cluster.connect(self.database, user="handler_bob")) as session:
            session.autocommit = True
            for sql, state in (("INSERT INTO usher.handlers VALUES (99, 1, 'public.of_bob(usher.event)', 'postgres')", "42501"),
                               ("UPDATE usher.handlers SET owner = 'postgres'", "42501"),
                               ("SELECT usher.handle('x', '**', 'bad(text)'::regprocedure)", "42883"),
                               ("SELECT usher.handle('x', '**', 'lower(text)')", "US018")):
                try:
                    session.cursor().execute(sql)
                    ensure(False, "%s was allowed" % sql)
                except lib.psycopg2.Error as error:
                    ensure(error.pgcode == state, "%s: %s %s" % (sql, error.pgcode, error))
        # A function that is gone, or forbidden, holds up its own handler only.
        self.run("REVOKE EXECUTE ON FUNCTION note FROM PUBLIC; REVOKE EXECUTE ON FUNCTION of_bob FROM PUBLIC, handler_bob;"
                 " GRANT EXECUTE ON FUNCTION note TO handler_ann")
        self.append()
        self.done("ann", 4)
        time.sleep(0.3)
        ensure(self.value("SELECT count(*) FROM seen WHERE handler = 'bob'") == 3, "a revoked function was called")
        self.run("GRANT EXECUTE ON FUNCTION note TO PUBLIC; GRANT EXECUTE ON FUNCTION of_bob TO handler_bob;"
                 " ALTER FUNCTION of_ann RENAME TO gone")
        self.append()
        self.done("bob", 5)
        self.run("ALTER FUNCTION gone RENAME TO of_ann")
        self.done("ann", 5, 40)
        self.cluster.reload(**{"usher.handler_workers": 4})
        self.run("SELECT usher.unhandle('of-ann'), usher.unhandle('of-bob'); DROP OWNED BY handler_ann, handler_bob;"
                 " DROP ROLE handler_ann, handler_bob")
        self.drop()

    def strangers(self):
        """Nobody becomes somebody else by a setting that outlives the batch; nobody is called for another tenant's events."""
        self.fresh("strangers")
        self.run("CREATE ROLE handler_eve LOGIN; GRANT usher_writer TO handler_eve; CREATE SCHEMA eve AUTHORIZATION handler_eve;"
                 " SELECT usher.create_tenant('acme'), usher.create_tenant('eve'); SELECT usher.grant_tenant('eve', 'handler_eve')")
        self.run("SET usher.tenant = 'acme'; SELECT usher.subscribe('secret', '**'), usher.append('s-1', 'a.secret')")
        self.cluster.reload(**{"usher.handler_workers": 1})
        with contextlib.closing(self.cluster.connect(self.database, user="handler_eve")) as session:
            session.autocommit = True
            cursor = session.cursor()
            cursor.execute("""SET usher.tenant = 'eve';
                CREATE TABLE eve.seen (who text, tenant text, path text);
                CREATE TABLE eve.t (i integer);
                CREATE FUNCTION eve.equal(integer, integer) RETURNS boolean LANGUAGE plpgsql AS $$
                BEGIN
                    INSERT INTO eve.seen VALUES (current_user, 'an operator', current_setting('search_path'));
                    RETURN $1 OPERATOR(pg_catalog.=) $2;
                END $$;
                CREATE OPERATOR eve.= (LEFTARG = integer, RIGHTARG = integer, FUNCTION = eve.equal);
                CREATE FUNCTION eve.deferred() RETURNS trigger LANGUAGE plpgsql AS $$
                BEGIN
                    INSERT INTO eve.seen VALUES (current_user, current_setting('usher.tenant'), current_setting('search_path'));
                    PERFORM set_config('search_path', 'eve, pg_catalog', false);
                    RETURN NULL;
                END $$;
                CREATE CONSTRAINT TRIGGER late AFTER INSERT ON eve.t DEFERRABLE INITIALLY DEFERRED
                    FOR EACH ROW EXECUTE FUNCTION eve.deferred();
                CREATE FUNCTION eve.run(e usher.event) RETURNS void LANGUAGE sql AS 'INSERT INTO eve.t VALUES (1)';
                CREATE FUNCTION pg_temp.run(e usher.event) RETURNS void LANGUAGE sql AS '';
                SELECT usher.handle('of-eve', '**', 'eve.run(usher.event)')""")
            cursor.execute("SELECT usher.append('e-1', 'a')")
            lib.wait_until(lambda: self.rows("SELECT 1 FROM eve.seen"), 10, "the deferred trigger")
            cursor.execute("SELECT usher.handle('again', 'nothing', 'eve.run(usher.event)')")      # the list is read anew
            cursor.execute("SELECT usher.append('e-1', 'a')")
            lib.wait_until(lambda: self.value("SELECT count(*) FROM eve.t") == 2, 10, "the second event")
            for sql, state in (
                    ("INSERT INTO usher.handlers VALUES (1, 3, 'eve.run(usher.event)', 'handler_eve')", "42501"),
                    ("UPDATE usher.handlers SET subscription_id = 1", "42501"),
                    ("UPDATE usher.parked_keys SET subscription_id = 1", "42501"),
                    ("INSERT INTO usher.subscriptions (subscription_id, tenant_id, name) VALUES (77, 3, 'far')", "42501"),
                    ("SELECT usher.handle('x', '**', 'pg_temp.run(usher.event)')", "US018")):
                try:
                    cursor.execute(sql)
                    ensure(False, "%s was allowed" % sql)
                except lib.psycopg2.Error as error:
                    ensure(error.pgcode == state, "%s: %s %s" % (sql, error.pgcode, error))
        ensure(self.rows("SELECT DISTINCT * FROM eve.seen") == [("handler_eve", "eve", "pg_catalog, pg_temp")],
               "around a deferred trigger: %s" % self.rows("SELECT DISTINCT * FROM eve.seen"))
        # A row that was put there by the owner of the tables.
        self.run("INSERT INTO usher.handlers VALUES (1, 3, 'eve.run(usher.event)', 'handler_eve')")
        self.run("SELECT usher.revoke_tenant('eve', 'handler_eve')")
        self.run("SET usher.tenant = 'eve'; SELECT usher.append('e-1', 'a')")
        self.run("SET usher.tenant = 'acme'; SELECT usher.append('s-1', 'a.secret')")
        time.sleep(0.5)
        ensure(self.value("SELECT count(*) FROM eve.t") == 2, "called for a tenant that its owner may not use")
        self.cluster.reload(**{"usher.handler_workers": 4})
        self.run("DROP OWNED BY handler_eve CASCADE; DROP ROLE handler_eve")
        self.drop()

    def selfish(self):
        """One that takes its own worker's lease away fails, and does not go round for ever."""
        self.fresh("selfish")
        self.run("CREATE FUNCTION selfish(e usher.event) RETURNS void LANGUAGE sql AS"
                 " $$ SELECT FROM usher.poll('h') WHERE e.type = 't.bad'; SELECT public.note('one', e) $$;"
                 """ SELECT usher.handle('h', '**', 'selfish(usher.event)', '{"max_attempts": 1}')""")
        self.run("SELECT usher.append('a-1', 't.good'), usher.append('a-2', 't.bad'), usher.append('a-3', 't.good')")
        lib.wait_until(self.dead, 20, "the dead letter")
        self.done("one", 2)
        ensure(len(self.dead()) == 1 and "lease" in list(self.dead().values())[0], "dead letters: %s" % self.dead())
        self.drop()

    def settings(self):
        """What is set for the database does not change what the workers' statements mean."""
        self.fresh("settings")
        self.run("SELECT usher.handle('h', 't.*', 'one(usher.event)')")
        self.run("ALTER DATABASE handlers_settings SET default_transaction_isolation = 'serializable'")
        self.run("ALTER DATABASE handlers_settings SET search_path = public, pg_catalog")
        for pid in self.workers():
            self.run("SELECT pg_terminate_backend(%s)", pid)
        self.append(10)
        self.done("one", 10)
        self.drop()

    # administration

    def changes(self):
        self.fresh("changes")
        self.run("SELECT usher.handle('h', 't.*', 'one(usher.event)')")
        self.append(10)
        self.done("one", 10)
        self.run("SELECT usher.pause_subscription('h')")
        self.append(10)
        time.sleep(0.3)
        ensure(self.value("SELECT count(*) FROM seen") == 10, "it runs though it is paused")
        self.run("SELECT usher.resume_subscription('h')")
        self.done("one", 20)
        self.run("SELECT usher.seek_subscription('h', 0)")
        self.done("one", 40)
        self.run("SELECT usher.handle('h', 't.one', 'two(usher.event)')")
        self.append(5)
        self.done("two", 5)
        ensure(self.value("SELECT count(*) FROM seen WHERE handler = 'one'") == 40, "the old function was called")
        for sql in ("SELECT usher.handle('h', 't.one', 'two(usher.event)', mode => 'sync')",
                    "SELECT usher.subscribe('h')"):
            try:
                self.run(sql)
                ensure(False, sql + " was allowed")
            except lib.psycopg2.Error as error:
                ensure(error.pgcode == "42710", "%s: %s" % (sql, error))
        self.run("SELECT usher.unhandle('h')")
        self.append(5)
        time.sleep(0.2)
        ensure(self.value("SELECT count(*) FROM seen WHERE handler = 'two'") == 5, "it runs though it is gone")
        self.run("SELECT usher.handle('h', 't.one', 'one(usher.event)')")
        self.append(2000, 10)
        self.run("DROP EXTENSION pg_usher CASCADE")
        lib.wait_until(lambda: not self.workers(), 10, "the workers to leave")
        self.run("CREATE EXTENSION pg_usher; CREATE FUNCTION slow(e usher.event) RETURNS void LANGUAGE sql AS 'SELECT pg_sleep(20)'")
        self.run("SELECT usher.handle('slow', '**', 'slow(usher.event)')")
        self.append(100, 50)
        lib.wait_until(lambda: self.rows("SELECT 1 FROM usher.handler_status WHERE running > 0"), 10, "it to run")
        began = time.monotonic()
        self.drop()
        ensure(time.monotonic() - began < 15, "DROP DATABASE waited %.1f s for handlers" % (time.monotonic() - began))

    def dropped(self):
        """The extension is dropped again and again while handlers are busy: no deadlock, and nobody stays behind."""
        self.fresh("dropped")
        self.run("CREATE TABLE worked (at timestamptz)")
        slowest, before = 0, self.cluster.log_count("deadlock detected")
        for number in range(8):
            self.run("CREATE FUNCTION busy(e usher.event) RETURNS void LANGUAGE sql AS"
                     " 'INSERT INTO public.worked VALUES (clock_timestamp()); SELECT usher.publish(''topic'', ''key'', ''t.two'')'")
            self.run("DELETE FROM worked")
            self.run("SELECT count(usher.handle('h' || i, 't.one', 'busy(usher.event)')) FROM generate_series(1, 4) i")
            self.append(5000, 50)
            lib.wait_until(lambda: self.value("SELECT count(*) FROM worked") > 10 * number, 20, "handlers to work in round %d" % number)
            began = time.monotonic()
            self.run("DROP EXTENSION pg_usher CASCADE")
            slowest = max(slowest, time.monotonic() - began)
            lib.wait_until(lambda: not self.workers(), 10, "the workers to leave")
            self.run("CREATE EXTENSION pg_usher")
        note("the slowest DROP EXTENSION took %.2f s" % slowest)
        ensure(self.cluster.log_count("deadlock detected") == before, "a deadlock")
        self.run("BEGIN; DROP EXTENSION pg_usher CASCADE; ROLLBACK")
        self.run("CREATE OR REPLACE FUNCTION busy(e usher.event) RETURNS void LANGUAGE sql AS 'INSERT INTO public.worked VALUES (now())'")
        self.run("DELETE FROM worked; SELECT usher.handle('h', '**', 'busy(usher.event)')")
        self.append(10)
        lib.wait_until(lambda: self.value("SELECT count(*) FROM worked") == 10, 10, "workers to come back to a log that was not dropped")
        self.drop()

    def killed(self):
        """Workers end in the middle, the server is killed: what is written and where it is go together."""
        self.fresh("killed")
        self.run("SELECT usher.handle('h', 't.*', 'one(usher.event)', '{\"max_attempts\": 100, \"backoff\": \"20ms\"}')")
        stop = threading.Event()
        total = 0

        def terminate():
            while not stop.wait(0.15):
                for pid in self.workers()[:2]:
                    self.run("SELECT pg_terminate_backend(%s)", pid)

        thread = threading.Thread(target=terminate)
        thread.start()
        try:
            for _ in range(10):
                total += self.append(1000, 100)
                time.sleep(0.1)
        finally:
            stop.set()
            thread.join()
        self.done("one", total, 40)
        for _ in range(2):
            total += self.append(3000, 100)
            time.sleep(0.1)
            self.cluster.kill9()
            self.cluster.start()
        total += self.append(100, 100)
        self.done("one", total, 40)
        time.sleep(0.2)
        self.check_once("one")
        ensure(not self.dead(), "dead letters: %s" % self.dead())
        self.drop()


def main():
    test = Test()
    lib.main([(name, getattr(test, name)) for name in (
        "events", "order", "sync", "failures", "counted", "begun", "stubborn", "deadlock", "roles",
        "strangers", "selfish", "settings", "changes", "dropped", "killed")], 240)


if __name__ == "__main__":
    main()
