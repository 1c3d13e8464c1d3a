#!/usr/bin/python3
# test/chaos/dump.py: pg_dump, pg_restore and pg_upgrade carry everything, and the log goes on where it stood.
# slow: 25 s
#
# A log with several partitions, tenants, retention settings, holds, limits, sinks, subscriptions and a deleted stream is dumped (plain, custom and
# parallel directory format) into another database and into another cluster, and a cluster is upgraded in place. Each time the
# events, the tables of settings and what the functions say are the same; then appends go on: versions continue, positions
# lie above all that were given. A restored sink stands still until it is resumed, and goes on at its cursor.
import os

import lib
import load
from lib import ensure, ensure_empty, note

EVENTS = 3500

SETUP = """
SELECT usher.create_tenant('other', 'The other', '{"a": 1}', '{"b": 2}');
CREATE ROLE app;
SELECT usher.grant_tenant('other', 'app');
SELECT usher.set_category_retention('order', '100 days');
SELECT usher.set_retention('90 days', NULL, NULL);
SELECT usher.set_stream_limits('order-1', NULL, 1000, NULL);
SELECT usher.hold('slow reader', 17);
SELECT usher.create_api_key('importer', '{log:read}', '2100-01-01'), usher.set_rate_limit('other', 'general', 1000, 50);
SELECT usher.add_sink('live', 'memory', '{"parallel": 2}', 0);
SELECT usher.add_sink('still', 'memory', '{"mode": "structured"}', 0), usher.pause_sink('still');
CREATE TABLE watched (dropped int, key text UNIQUE, "shown, too" int, hidden int);
ALTER TABLE watched DROP dropped;
INSERT INTO watched SELECT 'k' || n, n FROM generate_series(1, 20) AS n;
SELECT usher.watch('watched', key => '{key}', columns => '{key,"shown, too"}', condition => $$hidden IS DISTINCT FROM 7 AND NEW.key <> ''$$, snapshot => true);
SELECT usher.set_sink_secret('still', 'password', 'x'), usher.add_route('still', 'load.*', '{category}s', filter => '{"data": {"tag": 1}}');
"""

# what must be the same before and after, whatever became of oids
FINGERPRINTS = {
    "events": "SELECT count(*), min(position), max(position), md5(string_agg(l::text, '|' ORDER BY position)) FROM usher.log AS l",
    "streams": "SELECT count(*), md5(string_agg(s::text, '|' ORDER BY s::text)) FROM usher.streams AS s",
    "registry": "SELECT md5(string_agg(r::text, '|' ORDER BY r::text)) FROM usher.stream_registry AS r",
    "segments": "SELECT md5(string_agg(r::text, '|' ORDER BY r::text)) FROM usher.stream_segments AS r",
    "limits": "SELECT md5(string_agg(r::text, '|' ORDER BY r::text)) FROM usher.stream_limits AS r",
    "tenants": "SELECT md5(string_agg(r::text, '|' ORDER BY r::text)) FROM usher.tenants AS r",
    "grants": "SELECT md5(string_agg(r::text, '|' ORDER BY r::text)) FROM usher.tenant_grants AS r",
    "retention": "SELECT md5(string_agg(r::text, '|' ORDER BY r::text)) FROM usher.retention AS r",
    "category_retention": "SELECT md5(string_agg(r::text, '|' ORDER BY r::text)) FROM usher.category_retention AS r",
    "api keys": "SELECT string_agg(k::text, '|' ORDER BY k::text) FROM usher.api_keys AS k",
    "rate limits": "SELECT string_agg(r::text, '|' ORDER BY r::text) FROM usher.rate_limits AS r",
    "holds": "SELECT md5(string_agg(r::text, '|' ORDER BY r::text)) FROM usher.holds AS r",
    "partitions with events": "SELECT string_agg(p.from_position || '-' || p.to_position, ' ' ORDER BY p.from_position)"
                              " FROM usher.log_partitions AS p"
                              " WHERE p.from_position <= (SELECT max(position) FROM usher.log)",
    "indexes": "SELECT string_agg(indexdef, '|' ORDER BY indexdef) FROM pg_indexes WHERE schemaname = 'usher' AND tablename IN"
               " (SELECT 'log_p' || from_position FROM usher.log_partitions"
               " WHERE from_position <= (SELECT max(position) FROM usher.log))",
    "read": "SELECT count(*), md5(string_agg(e::text, '|' ORDER BY position)) FROM usher.read(0, 100000) AS e",
    "read_stream": "SELECT md5(string_agg(e::text, '|' ORDER BY version)) FROM usher.read_stream('order-1', 1, 10000) AS e",
    "deleted stream": "SELECT count(*) FROM usher.read_stream('gone-1')",
    "sinks": "SELECT string_agg(format('%s %s %s', name, kind, config), '|' ORDER BY name) FROM usher.sinks",
    "cursors": "SELECT string_agg(format('%s/%s %s', l, least(c.last_value, (SELECT max(position) FROM usher.log)), c.is_called), '|' ORDER BY c.tableoid::regclass::text)"
               " FROM (SELECT tableoid, * FROM usher.sink_1_0 UNION ALL SELECT tableoid, * FROM usher.sink_1_1"
               " UNION ALL SELECT tableoid, * FROM usher.sink_2_0) AS c"
               " JOIN usher.sink_lanes AS l ON c.tableoid = usher.cursor_name(l.sink_id, l.lane)::regclass",
    "routes": "SELECT string_agg(r::text, '|' ORDER BY r::text) FROM usher.routes AS r",
    "secrets": "SELECT string_agg(s::text, '|' ORDER BY s::text) FROM usher.sink_secrets AS s",
    "dead letters": "SELECT string_agg(d::text, '|' ORDER BY d::text) FROM usher.dead_letters AS d",
    "watches": 'SELECT string_agg(w::text, \'|\') FROM usher.watches AS w',
    "subscriptions": "SELECT string_agg(s::text, '|' ORDER BY s::text) FROM usher.subscriptions AS s",
    "subscriptions' cursors": "SELECT string_agg(c::text, '|' ORDER BY c::text) FROM usher.subscription_cursors AS c",
    "parked keys": "SELECT string_agg(p::text, '|' ORDER BY p::text) FROM usher.parked_keys AS p",
    "extension": "SELECT extversion FROM pg_extension WHERE extname = 'pg_usher'",
}


def fill(cluster, database="postgres"):
    cluster.psql(SETUP, database)
    done = 0
    while done < EVENTS:
        cluster.rows("SELECT usher.append_many(array_agg('order-' || n %% 37), array_agg('load.small'::text),"
                     " array_agg(format('{\"tag\": %%s}', n))) FROM generate_series(%s, %s) AS n", (done + 1, done + 250),
                     database=database)
        done += 250
    with lib.contextlib.closing(cluster.connect(database, settings={"usher.tenant": "other"})) as connection:
        for _ in range(3):
            connection.cursor().execute("SELECT usher.append('order-1', 'load.small', '{}')")
    cluster.rows("SELECT usher.append('gone-1', 'load.small', '{}'); SELECT usher.delete_stream('gone-1')", database=database)
    cluster.rows("SELECT usher.publish('mail', 'k', 'load.small', '{}')", database=database)
    # positions that were taken, passed and never seen again
    cluster.rows("SELECT usher.append('last-1', 'load.small', '{}')", database=database)
    cluster.rows("SELECT usher.seek_sink('still', 1234)", database=database)
    cluster.rows("INSERT INTO usher.dead_letters (tenant_id, sink_id, position, type, envelope, error_code, error)"
                 " VALUES (1, 2, 17, 'load.small', '{}', 'MSG_SIZE_TOO_LARGE', 'no')", database=database)
    # a subscription that has done a hundred events, but for one that failed, and has delivered more
    cluster.rows("SELECT usher.subscribe('kept', 'load.*', 0, 4)", database=database)
    with lib.contextlib.closing(cluster.connect(database)) as connection:
        cursor = connection.cursor()
        cursor.execute("SELECT lease, position FROM usher.poll('kept', 100)")
        delivered = cursor.fetchall()
        cursor.execute("SELECT usher.nack('kept', %s, %s, 'no', '1 hour')", delivered[0])
        cursor.execute("SELECT usher.ack('kept', %s)", delivered[0][:1])
        cursor.execute("SELECT count(*) FROM usher.poll('kept', 50)")
    wait_for_cursor(cluster, database)


def wait_for_cursor(cluster, database):
    lib.wait_until(lambda: cluster.value("SELECT min(usher.cursor_position(1, n)) = usher.stable_position()"
                                         " FROM generate_series(0, 1) AS n", database=database), 30, "the cursors of the live sink")


def fingerprints(cluster, database="postgres"):
    return {name: cluster.rows(sql, database=database) for name, sql in FINGERPRINTS.items()}


def ensure_same(before, cluster, database, what):
    after = fingerprints(cluster, database)
    ensure_empty(["%s: %s became %s" % (name, str(before[name])[:200], str(after[name])[:200]) for name in before
                  if before[name] != after[name]], "not carried by " + what)
    cluster.check(database)


def ensure_sinks(cluster, database, top, paused, what):
    """A copy's sinks stand still until they are resumed; then they go on behind their cursors."""
    ensure(cluster.value("SELECT paused FROM usher.sinks WHERE name = 'live'", database=database) == paused,
           "a sink %s after %s" % ("runs" if paused else "is paused", what))
    if paused:
        cluster.rows("SELECT usher.resume_sink('live')", database=database)
    wait_for_cursor(cluster, database)
    first = cluster.value("SELECT min(position) FROM usher.memory_messages('live')", database=database)
    ensure(first > top, "after %s the sink began with %s, not behind %d" % (what, first, top))


def ensure_subscription(cluster, database, what):
    """It goes on behind what was acknowledged, without the key that failed; that one comes when it is due."""
    acked = cluster.value("SELECT max(position) FROM usher.subscription_status", database=database)
    first = cluster.rows("SELECT min(position), count(*), count(*) FILTER (WHERE stream = 'order-1') FROM usher.poll('kept', 50)",
                         database=database)[0]
    ensure(first == (acked + 1, 50, 0), "after %s a subscription at %s went on with %s" % (what, acked, first))
    again = cluster.rows("UPDATE usher.parked_keys SET next_at = now();"
                         "SELECT stream, attempt FROM usher.poll('kept', 50) WHERE attempt > 1", database=database)
    ensure(again == [("order-1", 2)], "after %s the key that had failed came as %s" % (what, again))


def ensure_goes_on(cluster, database, top, what):
    """Versions continue, positions lie above all that were given, deleted streams stay deleted, readers follow."""
    with lib.contextlib.closing(cluster.connect(database)) as connection:
        cursor = connection.cursor()

        def value(sql, *arguments):
            cursor.execute(sql, arguments)
            return cursor.fetchone()[0]
        cursor.execute("UPDATE watched SET hidden = 7 WHERE key = 'k2'")
        cursor.execute("UPDATE watched SET \"shown, too\" = -1 WHERE key IN ('k2', 'k3')")
        change = value("SELECT data - 'old' FROM usher.events WHERE topic = 'public.watched' ORDER BY position DESC LIMIT 1")
        ensure(change == {"key": {"key": "k3"}, "new": {"key": "k3", "shown, too": -1}, "changed": ["shown, too"]},
               "the watched table's event is %s after %s" % (change, what))
        version = value("SELECT usher.stream_version('order-1')")
        ensure(version > 0, "stream_version is %s after %s" % (version, what))
        ensure(value("SELECT usher.append('order-1', 'load.small', '{}', %s)", version) == version + 1, "the version did not go on")
        position = value("SELECT usher.last_position()")
        ensure(position > top, "position %d was given after %s although %d had been" % (position, what, top))
        ensure(value("SELECT count(*) FROM usher.read(%s, 10)", position - 1) == 1, "a reader does not see what follows " + what)
        ensure(value("SELECT usher.append('quite-new-1', 'load.small', '{}', 0)") == 1, "a new stream cannot begin")
        value("SELECT usher.append_many(array_agg('order-' || n % 37), array_agg('load.small'::text), array_agg('{}'::text))"
              .replace("%", "%%") + " FROM generate_series(1, 1500) AS n")
        try:
            value("SELECT usher.append('gone-1', 'load.small', '{}')")
            raise lib.Failure("a deleted stream lives again after " + what)
        except load.psycopg2.Error as error:
            ensure(error.pgcode == "US002", "append to a deleted stream said %s" % error)
    cluster.check(database)
    note("%s: went on at %d after %d" % (what, position, top))


def top_of(cluster, database="postgres"):
    return max(cluster.value("SELECT usher.stable_position()", database=database),
               cluster.value("SELECT max(position) FROM usher.log", database=database))


def new_cluster(base, name):
    return lib.Cluster(base, name, {"usher.partition_size": "1000"}).initdb()


class Dump:
    def __init__(self):
        self.base = lib.work_directory()
        self.cluster = new_cluster(self.base, "primary").start().create()
        fill(self.cluster)
        self.before = fingerprints(self.cluster)
        self.top = top_of(self.cluster)

    def file(self, name):
        return os.path.join(self.base, name)

    def plain(self):
        """pg_dump | psql into another database of the same cluster."""
        self.cluster.tool("pg_dump", "-f", self.file("plain.sql"), *self.cluster.connection_arguments())
        self.cluster.rows("CREATE DATABASE restored")
        self.cluster.tool("psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-f", self.file("plain.sql"),
                          *self.cluster.connection_arguments("restored"))
        ensure_same(self.before, self.cluster, "restored", "pg_dump | psql")
        ensure_goes_on(self.cluster, "restored", self.top, "pg_dump | psql")
        ensure_subscription(self.cluster, "restored", "pg_dump | psql")
        ensure_sinks(self.cluster, "restored", self.top, True, "pg_dump | psql")
        ensure_same(self.before, self.cluster, "postgres", "being dumped")

    def custom(self):
        """pg_dump -Fc, pg_restore into a new cluster, where somebody looks before it is complete (and workers run)."""
        self.cluster.tool("pg_dump", "-Fc", "-f", self.file("custom"), *self.cluster.connection_arguments())
        other = new_cluster(self.base, "other").start()
        other.rows("CREATE ROLE app")
        contents = self.cluster.tool("pg_restore", "-l", self.file("custom")).stdout.splitlines(True)
        first = [line for line in contents if " EXTENSION " in line or " SCHEMA " in line]
        rest = [line for line in contents if line not in first]
        for name, lines, sections in (("first", first, ["pre-data"]), ("rest", rest, ["pre-data", "data", "post-data"])):
            with open(self.file(name), "w") as file:
                file.writelines(lines)
            os.chmod(self.file(name), 0o644)
            for section in sections:
                other.tool("pg_restore", "--exit-on-error", "-L", self.file(name), "--section=" + section, self.file("custom"),
                           *other.connection_arguments())
                self.look_at(other)
        ensure_same(self.before, other, "postgres", "pg_restore")
        ensure_goes_on(other, "postgres", self.top, "pg_restore")
        ensure_subscription(other, "postgres", "pg_restore")
        ensure_sinks(other, "postgres", self.top, True, "pg_restore")
        other.restart()
        other.check()
        ensure_empty(other.log_crashes(), "server log")
        other.stop()

    @staticmethod
    def look_at(cluster):
        """What monitoring would do to a log that is being restored; it may be refused."""
        try:
            cluster.rows("SELECT usher.stable_position()")
        except load.psycopg2.Error as error:
            note("in the middle of a restore: " + str(error).strip().split("\n")[0])

    def parallel(self):
        """pg_dump -Fd -j2, pg_restore -j2."""
        self.cluster.tool("pg_dump", "-Fd", "-j2", "-f", self.file("directory"), *self.cluster.connection_arguments())
        self.cluster.rows("CREATE DATABASE parallel")
        self.cluster.tool("pg_restore", "-j2", "--exit-on-error", self.file("directory"),
                          *self.cluster.connection_arguments("parallel"))
        ensure_same(self.before, self.cluster, "parallel", "pg_restore -j2")
        ensure_goes_on(self.cluster, "parallel", self.top, "pg_restore -j2")
        ensure_subscription(self.cluster, "parallel", "pg_restore -j2")

    def upgrade(self):
        """pg_upgrade to a cluster of the same version."""
        self.cluster.stop()
        ensure_empty(self.cluster.log_crashes(), "server log")
        target = new_cluster(self.base, "upgraded")
        self.cluster.tool("pg_upgrade", "-U", "postgres", "-b", self.cluster.bin, "-B", self.cluster.bin, "-d",
                          self.cluster.data, "-D", target.data, "-p", self.cluster.port, "-P", target.port, "-s", self.base)
        target.start()
        ensure_same(self.before, target, "postgres", "pg_upgrade")
        ensure_goes_on(target, "postgres", self.top, "pg_upgrade")
        ensure_subscription(target, "postgres", "pg_upgrade")
        ensure_sinks(target, "postgres", self.top, False, "pg_upgrade")
        ensure_empty(target.log_crashes(), "server log")
        target.stop()


def main():
    lib.arguments("Dumps, restores and upgrades.")
    dump = []

    def prepared():
        if not dump:
            dump.append(Dump())
        return dump[0]
    lib.main([("dump plain", lambda: prepared().plain()), ("dump custom", lambda: prepared().custom()),
              ("dump parallel", lambda: prepared().parallel()), ("dump pg_upgrade", lambda: prepared().upgrade())], 120)


if __name__ == "__main__":
    main()
