#!/usr/bin/python3
# test/integration/relay_life.py: relay workers in the life of a server: secrets, reload, dropped databases, few slots, promotion.
#
# No broker is needed: sinks of kind memory, and a Redis that only refuses.
import time

import relay_lib
from relay_lib import Log, lib, promptly
from lib import ensure, ensure_empty, note
from sinks import FakeServer, free_port

SECRET = "correct-horse-7319"
RELAYS = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'pg_usher relay' AND datname = %s"


class Test:
    def __init__(self):
        self.cluster = lib.Cluster(lib.work_directory(), conf={"autovacuum": "off", "max_logical_replication_workers": "0",
                                                                "usher.max_relays": "12"})
        self.cluster.initdb().start()
        for role in ("reader", "admin"):
            self.cluster.rows("CREATE ROLE a_%s LOGIN" % role)

    def log(self, name):
        return Log(self.cluster, "life_" + name)

    # what is seen

    def secrets(self):
        """The peer gets the password; nobody else sees it, whatever goes wrong."""
        log, heard = self.log("secrets"), []

        def refuse(client, number):
            while True:
                data = client.recv(65536)
                if not data:
                    return
                heard.append(data)
                client.sendall(b"-WRONGPASS invalid username-password pair or user is disabled.\r\n")

        url = "redis://relay@127.0.0.1:%d" % FakeServer(refuse).port
        log.run("GRANT usher_reader TO a_reader")
        log.run("GRANT usher_admin TO a_admin")
        text = log.fails("US018", "SELECT usher.add_sink('s', 'redis', %s)", '{"password": "%s"}' % SECRET)
        ensure(SECRET not in text.split("CONTEXT")[0], "the refusal shows the password: " + text)
        log.fails("US018", "SELECT usher.add_sink('s', 'redis', %s)", '{"url": "redis://relay:%s@localhost"}' % SECRET)
        log.run("SET log_min_error_statement = 'panic'")        # from here on our own statements are not in the log
        refused = self.cluster.log_count(SECRET)
        log.run("SELECT usher.add_sink('s', 'redis', jsonb_build_object('url', %s, 'password', jsonb_build_object('secret', 'p'))),"
                " usher.set_sink_secret('s', 'p', %s)", url, SECRET)
        lib.wait_until(lambda: log.status("s")[0].last_error, 10, "the peer's refusal")
        ensure("WRONGPASS" in log.status("s")[0].last_error, "the cause is told as " + log.status("s")[0].last_error)
        ensure(SECRET.encode() in b"".join(heard), "the peer did not get the password")
        for role, tables in (("a_reader", ("usher.sinks", "usher.sink_secrets", "usher.sink_options(1)", "usher.memory_messages('s')")),
                             ("a_admin", ("usher.sink_secrets", "usher.sink_options(1)"))):
            session = Log(self.cluster, log.database, create=False)
            session.run("SET ROLE " + role)
            for table in tables:
                session.fails("42501", "SELECT * FROM " + table)
            shown = session.rows("SELECT s::text FROM usher.sink_status s UNION ALL SELECT a::text FROM pg_stat_activity a"
                                 " WHERE pid <> pg_backend_pid()")
            ensure(shown and SECRET not in str(shown), "%s sees the password" % role)
            session.close()
        ensure(SECRET not in str(log.rows("SELECT * FROM usher.sinks")), "the configuration contains the password")
        ensure(self.cluster.log_count(SECRET) == refused, "the server's log contains the password")
        line = [line for line in self.cluster.log_text().splitlines() if 'sink "s"' in line and "at position 0" in line]
        ensure(line and "WRONGPASS" in line[0] + self.cluster.log_text(), "the log says %s" % line)
        log.drop()

    def away(self):
        """Nobody listens: it tries again, later and later, and says so."""
        log = self.log("away")
        log.add_sink("a", "redis", {"url": "redis://127.0.0.1:%d" % free_port(), "breaker_failures": 3, "backoff_ms": 10})
        log.wait_state("a", "waiting")
        log.append(10)
        lib.wait_until(lambda: log.status("a")[0].breaker != "closed", 10, "the circuit breaker")
        status = log.status("a")[0]
        ensure(status.position == 0 and status.lag_events == 10 and status.delivered == 0, "it says %s" % (status,))
        ensure(status.last_error and status.last_error_at and status.lag_seconds > 0, "it says %s" % (status,))
        lib.wait_until(lambda: log.status("a")[0].next_try_at, 5, "the time of the next try")
        query = log.value("SELECT query FROM pg_stat_activity WHERE pid = %s", log.pids()[0])
        ensure(query.startswith("sink a: "), "pg_stat_activity says " + query)
        log.drop()

    def watched(self):
        """What pg_stat_activity shows, and a setting that is changed meanwhile."""
        log = self.log("watched")
        log.add_sink("w")
        log.wait_state("w", "running")
        log.append()
        log.wait_messages("w", 1)

        def activity():
            return log.rows("SELECT pid, application_name, wait_event_type, wait_event, state, query FROM pg_stat_activity"
                            " WHERE backend_type = 'pg_usher relay' AND datname = current_database()")
        lib.wait_until(lambda: activity()[0][2] == "Extension", 5, "it to wait")
        (pid, name, wait_type, event, state, query), = activity()
        ensure((name, state, query) == ("pg_usher relay w/0", "idle", "sink w: waiting for events"), "it shows %s" % activity())
        ensure(event in ("Extension", "UsherRelay"), "it waits for %s" % event)      # named since PostgreSQL 17
        log.run("ALTER SYSTEM SET track_activities = off")
        log.run("SELECT pg_reload_conf()")
        try:
            log.append()
            log.wait_messages("w", 2)
            promptly(lambda: log.append() and activity()[0][4] in (None, "disabled"), "a worker that has heard of the setting")
            ensure(log.status("w")[0].pid == pid, "it is another worker")
        finally:
            log.run("ALTER SYSTEM RESET track_activities")
            log.run("SELECT pg_reload_conf()")
        log.drop()

    def ring(self):
        """10,000 messages and 16 MB; the oldest are dropped, and the numbers show it."""
        log = self.log("ring")
        log.append(12000, 10)
        log.add_sink("r", position=0)
        log.caught_up("r")
        found = log.messages("r")
        ensure([m.number for m in found] == list(range(2001, 12001)), "%d messages, from %d" % (len(found), found[0].number))
        ensure([m.position for m in found] == [m.number for m in found], "other positions")
        ensure([m.number for m in log.messages("r", after=11000, most=5)] == list(range(11001, 11006)), "another page")
        log.append(400, size=100000)
        log.caught_up("r")
        found = log.messages("r")
        size = sum(len(m.body) for m in found)
        ensure(12 << 20 < size <= 16 << 20 and found[-1].number == 12400, "%d bytes up to number %d" % (size, found[-1].number))
        ensure([m.number for m in found] == list(range(12401 - len(found), 12401)), "something is missing in between")
        ensure(log.messages("r", topic="nothing") == [], "another topic")
        log.drop()

    # what is dropped

    def dropped_extension(self):
        log = self.log("extension")
        log.append(20000, 50, size=100)
        log.add_sink("e", config={"parallel": 3}, position=0)
        lib.wait_until(log.pids, 10, "workers")
        log.run("BEGIN")
        log.run("DROP EXTENSION pg_usher")
        log.run("ROLLBACK")
        lib.wait_until(lambda: log.messages("e"), 20, "workers to come back to a log that was not dropped")
        log.run("DROP EXTENSION pg_usher")
        promptly(lambda: not log.pids() and not log.pids("pg_usher housekeeping"), "workers to leave a log that is gone")
        log.run("CREATE EXTENSION pg_usher")
        ensure(not log.pids() and not log.rows("SELECT FROM usher.sink_status"), "a sink came back")
        log.add_sink("e")
        log.append(3)
        ensure([m.position for m in log.wait_messages("e", 3)] == [1, 2, 3], "the new log's sink has something else")
        log.drop()

    def dropped_database(self):
        """With workers attached that have much to do: it must not hang."""
        log = self.log("database")
        log.append(60000, 500, size=100)
        log.add_sink("d", config={"parallel": 4, "batch_events": 10}, position=0)
        log.add_sink("away", "redis", {"url": "redis://127.0.0.1:%d" % free_port()})
        log.run("SELECT usher.replay('d', 1, 60000)")
        lib.wait_until(lambda: len(log.pids()) >= 5, 10, "workers")
        log.close()
        began = time.monotonic()
        self.cluster.rows("DROP DATABASE " + log.database)
        note("DROP DATABASE took %.0f ms with six workers" % ((time.monotonic() - began) * 1000))
        ensure(time.monotonic() - began < relay_lib.STALL_S, "DROP DATABASE took %.1f s" % (time.monotonic() - began))
        ensure(not self.cluster.rows(RELAYS, (log.database,)), "workers of a database that is gone")
        # the entries of its relays are free again: there are fewer than both need
        log = Log(self.cluster, log.database)
        log.add_sink("d", config={"parallel": 8})
        lib.wait_until(lambda: log.states("d") == ["running"] * 8, 30, "eight lanes")
        log.drop()

    # servers

    def promoted(self):
        """No worker on a standby; with its promotion they start there and go on where the primary's were."""
        log = self.log("promoted")
        log.add_sink("p")
        log.append(100, 5)
        log.wait_messages("p", 100)
        ensure(log.status("p")[0].pid, "no worker")
        lib.wait_until(lambda: log.value("SELECT usher.cursor_position(1, 0)") == 100, 5, "the cursor to be written")
        standby = self.cluster.standby()
        log.append(10, 5)
        log.wait_messages("p", 110)
        lib.wait_until(lambda: log.value("SELECT usher.cursor_position(1, 0)") == 110, 5, "the cursor to be written")
        lsn = self.cluster.value("SELECT pg_current_wal_flush_lsn()")
        lib.wait_until(lambda: standby.value("SELECT pg_last_wal_replay_lsn() >= %s", (lsn,)), 20, "the standby to follow")
        ensure(not standby.rows("SELECT FROM pg_stat_activity WHERE backend_type LIKE 'pg_usher%%'"), "workers on a standby")
        log.close()
        self.cluster.stop()
        standby.promote()
        other = Log(standby, log.database, create=False)
        other.wait_state("p", "running")
        first = other.append(20, 5) - 19
        other.caught_up("p")
        found = [m.position for m in other.messages("p")]
        ensure(found[-20:] == list(range(first, first + 20)), "after the promotion %s" % found)
        ensure(set(found[:-20]) <= set(range(91, 111)), "repeated: %s" % found[:-20])
        other.close()
        standby.stop()
        self.cluster.start()
        log.wait_state("p", "running")
        log.drop()

    def no_slot(self):
        """One worker slot for two sinks: it says so, and helps itself to the first that is free."""
        self.cluster.configure(max_worker_processes="3")        # launcher, housekeeping, one more
        self.cluster.restart()
        log = self.log("slots")
        log.add_sink("one")
        log.wait_state("one", "running")
        log.add_sink("two")
        log.wait_state("two", "no worker slot")
        log.append(5)
        log.wait_messages("one", 5)
        ensure(log.status("two")[0].lag_events == 5, "the lag is %s" % log.status("two")[0].lag_events)
        ensure('no worker slot is free for sink "two"' in self.cluster.log_text(), "the log does not say so")
        log.run("SELECT usher.drop_sink('one')")
        ensure([m.position for m in log.wait_messages("two", 5)] == [1, 2, 3, 4, 5], "it has something else")
        log.drop()

    def quiet(self):
        """Nothing of it all was an internal error."""
        ensure_empty(self.cluster.log_crashes(), "the server's log")


def main():
    test = Test()
    lib.main([(name, getattr(test, name)) for name in (
        "secrets", "away", "watched", "ring", "dropped_extension", "dropped_database", "promoted", "no_slot", "quiet")], 100)


if __name__ == "__main__":
    main()
