# test/chaos/follow.py: followers that know what they saw, and the comparison of promises, sights and the log.
import contextlib
import time

import psycopg2

from load import LOST_CODES, PATTERN, SLOW_SECONDS, matches_pattern


class Follower:
    """Follows the log with a bigint cursor, and checks what it can while it goes.

    how: read     usher.read, polling
         wait     usher.read, and CALL usher.wait_for when there is nothing
         page     usher.read_page with a pattern
         max      plain SQL without any care (loses events: a negative control)
         same-statement   the stable position taken in the reading statement (loses events: a negative control)
    """

    COLUMNS = "position, stream, version, (data->>'tag')::bigint"
    READ = "SELECT " + COLUMNS + " FROM usher.read(%(cursor)s, %(page)s)"
    SQL = {
        "read": READ,
        "wait": READ,
        "page": "SELECT e.position, e.stream, e.version, (e.data->>'tag')::bigint, p.next"
                " FROM usher.read_page(%(cursor)s, %(page)s, '" + PATTERN + "', 1000) AS p LEFT JOIN unnest(p.events) AS e ON true",
        "max": "SELECT " + COLUMNS + " FROM usher.log WHERE position > %(cursor)s ORDER BY position",
        "same-statement": "SELECT " + COLUMNS + " FROM usher.log WHERE position > %(cursor)s"
                          " AND position <= usher.stable_position() ORDER BY position",
    }

    def __init__(self, cluster, how, page=1000, tenant="default"):
        self.cluster = cluster
        self.how = how
        self.page = page
        self.tenant = tenant
        self.cursor = 0
        self.passed = 0             # nothing may appear at or below it any more
        self.seen = {}              # position → tag
        self.tags = set()
        self.heads = {}             # stream → version
        self.seen_at = {}           # tag → monotonic seconds
        self.findings = []
        self.slow = []
        self.connection = None
        self.reads = 0
        self.waits_are_polls = False
        self.audited = [0, 0]

    def connect(self):
        settings = {"usher.tenant": self.tenant} if self.tenant != "default" else None
        self.connection = self.cluster.connect(name="reader", settings=settings, connect_timeout=5)
        self.db = self.connection.cursor()

    def disconnect(self):
        if self.connection is not None:
            with contextlib.suppress(psycopg2.Error):
                self.connection.close()
        self.connection = None

    def execute(self, sql, arguments=None):
        start = time.monotonic()
        self.db.execute(sql, arguments)
        end = time.monotonic()
        if end - start > SLOW_SECONDS and not sql.startswith("CALL"):
            self.slow.append((start, end, "reader: " + sql[:60]))
        return self.db.fetchall()

    def step(self):
        """Read one page; return how many events it had."""
        stable = 0
        if self.how in ("read", "wait"):
            stable = self.execute("SELECT usher.stable_position()")[0][0]
        rows = self.execute(self.SQL[self.how], {"cursor": self.cursor, "page": self.page})
        self.reads += 1
        after = self.cursor
        if self.how == "page":
            after = rows[0][4]
            rows = [row[:4] for row in rows if row[0] is not None]
            stable = after
        now = time.monotonic()
        for position, stream, version, tag in rows:
            self.see(position, stream, version, tag, now)
        # what was stable before the read has been read, unless the page was full
        if stable and (self.how == "page" or len(rows) < self.page):
            self.passed = max(self.passed, stable)
        self.cursor = max(self.cursor, after)
        return len(rows)

    def see(self, position, stream, version, tag, now):
        if position <= self.cursor:
            self.findings.append("position %d after %d" % (position, self.cursor))
        if position <= self.passed:
            self.findings.append("position %d appeared although %d had been passed" % (position, self.passed))
        if tag in self.tags:
            self.findings.append("event %d twice" % tag)
        if stream is not None and self.how != "page":
            if version != self.heads.get(stream, 0) + 1:
                self.findings.append("stream %s: version %s after %s" % (stream, version, self.heads.get(stream, 0)))
            self.heads[stream] = version
        self.cursor = max(self.cursor, position)
        self.seen[position] = tag
        self.tags.add(tag)
        self.seen_at[tag] = now

    def rest(self):
        """Nothing to read: wait for more."""
        if self.how == "wait" and not self.waits_are_polls:
            self.execute("CALL usher.wait_for(%s, '1 s', '*', NULL)", (self.cursor,))
        elif self.how not in ("max", "same-statement"):
            time.sleep(0.003)

    def audit(self):
        """How many events at or below the cursor exist that were not seen (looks at the last two audits' range)."""
        start, end = self.audited[0], self.cursor
        self.audited = [self.audited[1], end]
        there = self.execute("SELECT l.position FROM usher.log AS l WHERE position > %s AND position <= %s", (start, end))
        return sum(1 for row in there if row[0] not in self.seen)

    def follow(self, gate, until=None, found=None):
        """Until the gate stops, and, given `until`, all up to that position has been read.

        `found` is set when an audit finds a loss.
        """
        audit_at = time.monotonic() + 0.5
        while gate.enter():
            try:
                if self.attempt() == 0:
                    self.rest()
                if found is not None and time.monotonic() > audit_at:
                    audit_at = time.monotonic() + 0.5
                    if self.audit():
                        found.set()
            except psycopg2.OperationalError as error:
                self.lost(error)
                time.sleep(0.02)
            except Exception as error:
                self.findings.append("error: %r" % error)
                break
            finally:
                gate.leave()
        if until is not None and not self.findings:
            self.finish(until)
        self.disconnect()
        return self

    def attempt(self):
        if self.connection is None:
            self.connect()
        return self.step()

    def lost(self, error):
        """The connection broke, or else it was no accident."""
        if self.connection is not None and not self.connection.closed and error.pgcode not in LOST_CODES:
            self.findings.append("error %s: %s" % (error.pgcode, error))
        self.disconnect()

    def finish(self, until):
        """Read on to the end, which is told when all writers have ended."""
        deadline = time.monotonic() + 40
        while self.attempt() > 0 or not max(self.cursor, self.passed) >= until.value > 0:
            if time.monotonic() > deadline:
                self.findings.append("cursor %d, passed %d: never came to the end, %d" % (self.cursor, self.passed, until.value))
                break
            time.sleep(0.003)

    def forget(self, log):
        """A crash lost events that were seen: their positions stay passed, their versions are given again."""
        self.seen = {position: tag for position, tag in self.seen.items() if position in log}
        self.tags = set(self.seen.values())
        self.heads = {}
        for position in sorted(self.seen):
            stream, version = log[position][1:3]
            if stream is not None:
                self.heads[stream] = version

    def result(self):
        self.cluster = self.connection = self.db = None
        return self


# what must be true in the end

def log_contents(cluster, database="postgres"):
    """Every row of the log: position → (tenant, stream, version, tag)."""
    rows = cluster.rows("SELECT l.position, t.slug, l.stream, l.version, (l.data->>'tag')::bigint"
                        " FROM usher.log AS l JOIN usher.tenants AS t USING (tenant_id)", database=database)
    return {row[0]: row[1:] for row in rows}


def findings_of_log(log, ledger, complete=True):
    """I1: what the writers were promised against what is there. complete: nothing acknowledged may be missing."""
    findings = list(ledger.unexpected)
    there = {}
    for position, (tenant, stream, version, tag) in log.items():
        if tag in there:
            findings.append("event %d at %d and at %d" % (tag, there[tag], position))
        there[tag] = position
        promised = ledger.acked.get(tag) or ledger.doubt.get(tag)
        if promised is None:
            findings.append("event %d at %d was %s" % (tag, position, "rolled back" if tag in ledger.aborted else "never sent"))
        elif promised[:2] != (tenant, stream) or promised[2] not in (None, version):
            findings.append("event %d is %s, was acknowledged as %s" % (tag, (tenant, stream, version), promised))
    if complete:
        findings += ["event %d was acknowledged and is not there" % tag for tag in ledger.acked if tag not in there]
    findings += ["last_position() said %d for event %d at %d" % (position, tag, there[tag])
                 for tag, position in ledger.positions.items() if tag in there and there[tag] != position]
    return findings


def findings_of_versions(log):
    """I3: in each stream 1, 2, 3 … in the order of positions."""
    heads, findings = {}, []
    for position in sorted(log):
        tenant, stream, version, _ = log[position]
        if stream is None:
            continue
        if version != heads.get((tenant, stream), 0) + 1:
            findings.append("%s of %s: version %d at %d after %d" % (stream, tenant, version, position,
                                                                   heads.get((tenant, stream), 0)))
        heads[tenant, stream] = version
    return findings


def findings_of_follower(follower, log, at_end=True):
    """I2: all that is there at or below its cursor was seen, and nothing else; at_end: and it saw everything."""
    passed = max(follower.cursor, follower.passed)
    expected = {position: row[3] for position, row in log.items()
                if row[0] == follower.tenant and (at_end or position <= passed)
                and (follower.how != "page" or matches_pattern(row[3]))}
    findings = list(follower.findings)
    findings += ["reader %s never saw event %d at %d" % (follower.how, tag, position)
                 for position, tag in sorted(expected.items()) if position not in follower.seen]
    findings += ["reader %s saw event %d at %d, where there is %s" % (follower.how, tag, position, expected.get(position, "none"))
                 for position, tag in sorted(follower.seen.items()) if expected.get(position) != tag]
    return findings
