#!/usr/bin/python3
# test/chaos/acks.py: which acknowledgements wait for the disk, and what a crash takes from those that do not.
#
# With the walwriter stopped nothing reaches the disk but what a commit flushes. A transaction that only acknowledges must flush
# nothing; one that did anything else, at whatever point, must. Then the server is killed with such acknowledgements in its memory,
# again and again: their events come again, what was written in the transaction of its acknowledgement is there once, and no lease
# has a number that another had.
import contextlib
import random

import lib
from lib import ensure, ensure_empty, note

BATCH = 5
FAR = 9 * 10 ** 15      # no clock is there yet: numbers that begin with the time would begin again

POLL = "SELECT lease, position FROM usher.poll('cases', %d)" % BATCH
ACK = "SELECT usher.ack('cases', {lease})"
WRITE = "INSERT INTO mine VALUES (1)"

# name, whether it must be flushed, statements; what is before the last statement is not looked at.
CASES = [
    ("an acknowledgement alone", False, [ACK]),
    ("one with the next poll", False, ["SELECT * FROM usher.poll('cases', 5, '0', NULL, {lease})"]),
    ("one of a part", False, ["SELECT usher.ack('cases', {lease}, {position})"]),
    ("one in a transaction that reads", False, ["BEGIN", "SELECT count(*) FROM mine", ACK, "SELECT count(*) FROM usher.log", "COMMIT"]),
    ("several", False, ["BEGIN", "SELECT usher.ack('cases', {lease}, {position})", ACK, "COMMIT"]),
    ("one in a savepoint", False, ["BEGIN", "SAVEPOINT s", ACK, "RELEASE s", "COMMIT"]),
    ("a write before it", True, ["BEGIN", WRITE, ACK, "COMMIT"]),
    ("a write behind it", True, ["BEGIN", ACK, WRITE, "COMMIT"]),
    ("a write between two", True, ["BEGIN", "SELECT usher.ack('cases', {lease}, {position})", WRITE, ACK, "COMMIT"]),
    ("a write in a savepoint", True, ["BEGIN", ACK, "SAVEPOINT s", WRITE, "RELEASE s", "COMMIT"]),
    ("a write in the same statement", True, ["WITH w AS (INSERT INTO mine VALUES (2)) " + ACK]),
    ("a write from the poll in the same statement", True,
     ["INSERT INTO mine SELECT lease FROM usher.poll('cases', 5, '0', NULL, {lease})"]),
    ("a write of a function behind it", True, ["SELECT usher.ack('cases', {lease}), writes()"]),
    ("a write of a deferred trigger", True, ["BEGIN", "UPDATE tried SET n = n + 1", ACK, "COMMIT"]),
    ("a row that is locked", True, ["BEGIN", ACK, "SELECT * FROM tried FOR UPDATE", "COMMIT"]),
    ("a number of a sequence", True, ["BEGIN", ACK, "SELECT nextval('numbers'), setval('numbers', 1)", "COMMIT"]),
    ("a message in the WAL", True, ["BEGIN", ACK, "SELECT pg_logical_emit_message(true, 'a', 'b')", "COMMIT"]),
    ("an event", True, ["BEGIN", ACK, "SELECT usher.append('other', 'other.thing', '{{}}')", "COMMIT"]),
    ("an event that failed", True, ["BEGIN", "SELECT usher.nack('cases', {lease}, {position}, 'no')", ACK, "COMMIT"]),
    ("a table", True, ["BEGIN", ACK, "CREATE TABLE made (n integer)", "DROP TABLE made", "COMMIT"]),
    ("usher.synchronous_ack", True, ["BEGIN", "SET LOCAL usher.synchronous_ack = on", ACK, "COMMIT"]),
    ("a seek", True, ["SELECT usher.seek_subscription('cases', 0)"]),
    ("a prepared transaction", True, ["BEGIN", ACK, "PREPARE TRANSACTION 'p'"]),
]


def create(cluster):
    for statement in ("CREATE TABLE mine (n bigint)", "CREATE SEQUENCE numbers", "CREATE TABLE tried (n integer)", "INSERT INTO tried VALUES (0)",
                      "CREATE FUNCTION writes() RETURNS integer LANGUAGE sql AS 'INSERT INTO mine VALUES (3) RETURNING 1'",
                      "CREATE FUNCTION fires() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO mine VALUES (4); RETURN NULL; END'",
                      "CREATE CONSTRAINT TRIGGER deferred AFTER UPDATE ON tried DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION fires()",
                      "CREATE TABLE done (position bigint)",
                      "SELECT setval('usher.lease_mark', %d)" % FAR,
                      "SELECT usher.subscribe('cases', 'work.*', 0)", "SELECT usher.subscribe('work', 'work.*', 0)",
                      "SELECT usher.append_many(array_agg('key-' || n), array_agg('work.todo'::text), array_agg('{}'::text))"
                      " FROM generate_series(1, 2000) AS n"):
        cluster.rows(statement)


def flushes(cursor, statements):
    """Whether the last one flushed the WAL up to its commit."""
    cursor.execute(POLL)
    rows = cursor.fetchall()
    ensure(len(rows) == BATCH, "a poll returned %s" % rows)
    known = {"lease": rows[0][0], "position": rows[0][1]}
    for statement in statements[:-1]:
        cursor.execute(statement.format(**known))
    cursor.execute("SELECT pg_current_wal_insert_lsn()")
    before = cursor.fetchone()[0]
    cursor.execute(statements[-1].format(**known))
    cursor.execute("SELECT pg_current_wal_flush_lsn() > %s::pg_lsn, current_setting('synchronous_commit')", (before,))
    flushed, setting = cursor.fetchone()
    ensure(setting == "on", "synchronous_commit is %s behind it" % setting)
    cursor.execute("SELECT count(*) FROM pg_prepared_xacts")
    if cursor.fetchone()[0]:
        cursor.execute("COMMIT PREPARED 'p'")
    return flushed


def cases(cluster):
    walwriter = cluster.stop_walwriter()
    wrong = []
    with contextlib.closing(cluster.connect()) as connection:
        cursor = connection.cursor()
        for name, wanted, statements in CASES:
            # a worker that commits meanwhile flushes ours, too
            if not any(flushes(cursor, statements) == wanted for _ in range(1 if wanted else 5)):
                wrong.append("%s: %s" % (name, "not flushed" if wanted else "flushed"))
    note("%d kinds of transactions" % len(CASES))
    cluster.kill9([walwriter])
    cluster.start()
    ensure_empty(wrong, "flushed or not")


def poll(cursor, ack=None):
    cursor.execute("SELECT lease, position FROM usher.poll('work', %s, '0', NULL, %s)", (BATCH, ack))
    rows = cursor.fetchall()
    ensure(len(rows) == BATCH, "a poll returned %s" % rows)
    return rows[0][0], [row[1] for row in rows]


def round_of(cluster, choice, leases, alone, kept):
    """Some batches are acknowledged alone, some with a write; then the server dies. Returns what was acknowledged alone and is lost."""
    walwriter = cluster.stop_walwriter()
    pending, lost = [], None
    with contextlib.closing(cluster.connect()) as connection:
        cursor = connection.cursor()
        lease, positions = poll(cursor)
        for left in reversed(range(choice.randint(3, 8))):
            leases.append(lease)
            if left and choice.random() < 0.4:
                cursor.execute("BEGIN")
                cursor.execute("INSERT INTO done SELECT unnest(%s::bigint[])", (positions,))
                cursor.execute("SELECT usher.ack('work', %s)", (lease,))
                cursor.execute("COMMIT")
                kept += positions
                pending = []        # what was acknowledged before is flushed with it
                lease, positions = poll(cursor)
            else:
                alone += positions
                pending += positions
                lease, positions = poll(cursor, lease)
        leases.append(lease)
        cluster.kill9([walwriter])
        lost = pending
    cluster.start()
    return lost


def crashes(cluster, rounds, seed):
    choice = random.Random(seed)
    leases, alone, kept = [], [], []
    again = 0
    for _ in range(rounds):
        lost = set(round_of(cluster, choice, leases, alone, kept))
        with contextlib.closing(cluster.connect()) as connection:
            lease, positions = poll(connection.cursor())
        leases.append(lease)
        again += bool(lost & set(positions))
    note("%d crashes; %d times acknowledgements were lost" % (rounds, again))
    ensure(again > 0, "no acknowledgement was lost: nothing was tried")
    ensure_empty([pair for pair in zip(leases, leases[1:]) if pair[0] >= pair[1]], "numbers of leases that do not rise")
    ensure(leases[0] > FAR, "the first lease has the number %s" % leases[0])
    ensure_empty(cluster.rows("SELECT position, count(*) FROM done GROUP BY 1 HAVING count(*) > 1"), "done more than once")
    ensure(sorted(kept) == [row[0] for row in cluster.rows("SELECT position FROM done ORDER BY 1")], "what was acknowledged with its write is not there")
    # what is acknowledged is behind the cursor, whatever was lost: the rest comes, each key's in order
    rest, at = [], None
    with contextlib.closing(cluster.connect()) as connection:
        cursor = connection.cursor()
        while True:
            cursor.execute("SELECT lease, position FROM usher.poll('work', 1000, '0', NULL, %s)", (at,))
            rows = cursor.fetchall()
            if not rows:
                break
            at = rows[0][0]
            rest += [row[1] for row in rows]
    ensure_empty(set(kept) & set(rest), "done, and delivered again")
    everything = {row[0] for row in cluster.rows("SELECT position FROM usher.log WHERE type = 'work.todo'")}
    ensure_empty(everything - set(rest) - set(kept) - set(alone), "never delivered")
    cluster.check()


def run(rounds, seed):
    cluster = lib.Cluster(lib.work_directory(), conf={"autovacuum": "off", "bgwriter_lru_maxpages": "0", "checkpoint_timeout": "1h"})
    cluster.initdb().start().create()
    try:
        create(cluster)
        cases(cluster)
        crashes(cluster, rounds, seed)
        ensure_empty(cluster.log_crashes(), "server log")
    finally:
        cluster.destroy()


def main():
    options = lib.arguments("Acknowledgements that do not wait for the disk.", rounds=(int, 0, "crashes"))
    rounds = options.rounds or (4 if options.short else 20)
    lib.main([("acks", lambda: run(rounds, options.seed))], 240 if options.short else 600)


if __name__ == "__main__":
    main()
