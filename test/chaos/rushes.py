# test/chaos/rushes.py: rushes on the box office over HTTP, and what must be true of their bookings; also for bench/.
#
# bench/src/rush.c asks. It writes down what each request was answered, and compare() holds that against the rows and the log.
import json
import os
import subprocess
import time

import tokens

USERS = 200000
PATH = "/v1/boxoffice/bookings/reserve"
# What a sale is allowed to answer; anything else is an error.
REFUSALS = ("sold-out", "user-limit")
CUSTOMER, OFFICE = "boxoffice:customer", "boxoffice:box-office"
# Longer than any rush, so that nothing expires in it.
HOLD_SECONDS = 1700


def request(body, **headers):
    """The text of a request; numbers in the body may be marks of one digit, as N."""
    lines = ["POST %s HTTP/1.1" % PATH, "Host: 127.0.0.1", "Content-Type: application/json"]
    lines += ["%s: %s" % (name.replace("_", "-"), value) for name, value in headers.items()]
    length = len(body.replace("@N@", "1").replace("@USER@", "1234567"))
    return "\r\n".join(lines + ["Content-Length: %d" % length, "", body])


def reserve(show, zone):
    """With a token of each user and a key."""
    body = '{"show":%d,"zone":%d,"quantity":@N@,"ttl":%d}' % (show, zone, HOLD_SECONDS)
    return request(body, Authorization="Bearer @TOKEN@", Idempotency_Key="@KEY@")


def bare(show, zone, token):
    """Without a key; a box office's token for all, or none."""
    if token is None:
        return request('{"show":%d,"zone":%d,"quantity":@N@}' % (show, zone), User="@USER@")
    body = '{"show":%d,"zone":%d,"quantity":@N@,"ttl":%d,"on_behalf_of":"user-@USER@"}' % (show, zone, HOLD_SECONDS)
    return request(body, Authorization="Bearer " + token)


def office_token(key):
    return tokens.token(key, user="office", scopes=OFFICE)


class Figures:
    """What the generator, or another client, has found; the count of each (status, kind)."""

    p99 = spent = None
    kinds, cpu, written, maintained = {}, 0, 0, 0

    def __init__(self, **figures):
        self.__dict__.update(figures)

    def refused(self):
        return {kind: count for (status, kind), count in self.kinds.items() if kind in REFUSALS}

    def errors(self):
        answered = sum(count for (status, kind), count in self.kinds.items() if status >= 300 and kind not in REFUSALS)
        return answered + int(self.broken)

    def shown(self):
        p99 = "" if self.p99 is None else " p99 %.1f ms" % self.p99
        return "{:,.0f}/s".format(self.rate) + p99 + self.costs(self.events)

    def costs(self, requests):
        """Of a request: CPU time of the database, of other servers, and of the generator; WAL; and autovacuum's runs in the meantime."""
        if self.spent is None:
            return ""
        written = ", WAL %.0f bytes" % (self.written / requests) if self.written >= requests else ""
        maintained = ", autovacuum %d" % self.maintained if self.maintained else ""
        return " (CPU %s us%s%s)" % ("+".join("%.0f" % (seconds / requests * 1e6) for seconds in self.spent), written, maintained)


class Generator:
    """bench/src/rush.c, built as `program`; its files lie in `directory`."""

    def __init__(self, directory, program):
        self.directory, self.program, self.started = str(directory), str(program), 0

    def start(self, ports, template, key=None, **options):
        """A process; figures() has its answer."""
        now = int(time.time())
        claims = {"iss": tokens.ISSUER, "aud": tokens.AUDIENCE, "sub": "user-@USER@", "tenant": "default", "scope": CUSTOMER,
                  "iat": now, "exp": now + 86400}
        paths = {}
        for name, text in (("template", template), ("claims", json.dumps(claims, separators=(",", ":")))):
            paths[name] = os.path.join(self.directory, "rush.%d.%s" % (self.started, name))     # another one may still be reading its own
            with open(paths[name], "w", newline="") as file:
                file.write(text)
        self.started += 1
        header = json.dumps({"alg": "HS256", "typ": "JWT", "kid": tokens.KEY_ID}, separators=(",", ":"))
        options = dict({"ports": ",".join(map(str, ports)), "users": USERS, "id": "booking", "header": header,
                        "secret": key.hex() if key else ""}, **paths, **options)
        return subprocess.Popen([self.program] + ["%s=%s" % pair for pair in options.items()], stdout=subprocess.PIPE, text=True)

    def figures(self, process):
        output = process.communicate()[0]
        if process.returncode != 0:
            raise RuntimeError("the load generator ended with %d: %s" % (process.returncode, output[-500:]))
        *replies, last = output.strip().split("\n")
        figures = Figures(**{name: float(value) for name, value in (pair.split("=") for pair in last.split())})
        figures.kinds = {(int(status), kind): int(count) for _, status, kind, count in (line.split() for line in replies)}
        figures.rate = figures.events / figures.seconds
        figures.p99_all, figures.p99 = figures.p99, figures.granted_p99
        return figures

    def run(self, *arguments, **options):
        return self.figures(self.start(*arguments, **options))


def ensure_granted(side, figures):
    """A side of a comparison in which there is enough for all."""
    other = {kind: count for kind, count in figures.kinds.items() if kind[0] >= 300}
    if other or getattr(figures, "broken", 0):
        raise RuntimeError("%s refused %s" % (side, other))


CHECKS = (
    ("oversold by {}", "SELECT greatest(0, sum(quantity) - %(places)s) FROM boxoffice.bookings WHERE show_id = %(show)s AND status = 'reserved'"),
    ("users above their limit: {}", """SELECT count(*) FROM (SELECT FROM boxoffice.bookings WHERE show_id = %(show)s AND status = 'reserved'
        GROUP BY tenant_id, user_id HAVING sum(quantity) > %(limit)s) AS above"""),
    ("bookings without their event: {}", """SELECT count(*) FROM boxoffice.bookings AS b WHERE show_id = %(show)s AND NOT EXISTS (
        SELECT FROM usher.log AS l WHERE l.tenant_id = b.tenant_id AND l.stream = 'booking-' || b.booking_id AND l.version = 1
            AND l.type = 'booking.reserved' AND (l.data ->> 'quantity')::integer = b.quantity AND l.data ->> 'user' = b.user_id)"""),
    ("answered and not there, or another: {}", """SELECT count(*) FROM outcomes AS o WHERE status BETWEEN 200 AND 299 AND NOT EXISTS (
        SELECT FROM boxoffice.bookings AS b WHERE b.booking_id = o.told::uuid AND b.user_id = o.user_id AND b.idempotency_key = o.key
            AND b.quantity = o.quantity AND b.show_id = %(show)s)"""),
    ("refused and there: {}", """SELECT count(*) FROM boxoffice.bookings AS b WHERE show_id = %(show)s AND NOT EXISTS (
        SELECT FROM outcomes AS o WHERE o.key = b.idempotency_key AND o.told = b.booking_id::text)"""),
    ("keys with two bookings: {}", """SELECT count(*) FROM (SELECT FROM outcomes WHERE status BETWEEN 200 AND 299
        GROUP BY key HAVING count(DISTINCT told) > 1) AS two"""),
)


def compare(connection, show, places, limit, *outcomes):
    """What was answered, by the generators' files, beside rows and log: (text, whether it is as it must be)."""
    cursor = connection.cursor()
    cursor.execute("CREATE TEMP TABLE outcomes (key text, user_id text, quantity integer, status integer, told text)")
    for path in outcomes:
        with open(path) as file:
            cursor.copy_expert("COPY outcomes FROM STDIN", file)
    cursor.execute("CREATE INDEX ON outcomes (key); ANALYZE outcomes; ANALYZE boxoffice.bookings")
    found = []
    for text, query in CHECKS:
        cursor.execute(query, {"show": show, "places": places, "limit": limit})
        count = cursor.fetchone()[0]
        found.append((text.format(count), count == 0))
    connection.close()
    return found
