#!/usr/bin/python3
# examples/changelog/import.py: appends this machine's package changelogs to the log.
#
# One stream a package, one event a release, all in order of time.  Every event
# has an id that follows from its package and version.  The log refuses a
# repeat only within usher.dedupe_window, so what is there already is read
# first: running this again appends only what is new.

import argparse
import json
import os
import sys
import time

import psycopg2
import psycopg2.extras

import changelogs

PAGE = 10_000
LIVE_PAUSE_S = 0.003


def options():
    parser = argparse.ArgumentParser(description="append package changelogs to pg_usher's log")
    parser.add_argument("--dsn", default="", help="libpq connection string (default: PG* environment)")
    parser.add_argument("--root", default="/usr/share/doc", help="directory of the packages' documentation")
    parser.add_argument("--batch", type=int, default=500, help="events a transaction")
    parser.add_argument("--live", type=int, default=300,
                        help="the newest events, appended one by one as they would come in")
    parser.add_argument("--timings", help="file to write each commit's time to")
    return parser.parse_args()


def known_ids(cursor):
    """The ids of the category's events in the log."""
    known = set()
    after = 0
    while True:
        cursor.execute("SELECT position, id FROM usher.read_category('changelog', %s, %s)", (after, PAGE))
        rows = cursor.fetchall()
        if not rows:
            return known
        known.update(row[1] for row in rows)
        after = rows[-1][0]


def gather(root):
    """All releases in order of time; sorting is stable, so streams keep their order."""
    releases = list(changelogs.from_changelogs(root))
    if not releases:
        print(f"no Debian changelogs below {root} (images often leave documentation out):"
              " taking the installations that dpkg knows of instead")
        releases = list(changelogs.from_dpkg())
    releases.sort(key=lambda release: release.when)
    return releases


def timed(cursor, timings, kind, count, statement, arguments):
    """Executes one transaction and notes when it was sent and when the reply was there."""
    begin = time.monotonic()
    cursor.execute(statement, arguments)
    end = time.monotonic()
    if timings:
        cursor.execute("SELECT usher.last_position()")
        timings.write(json.dumps({"kind": kind, "position": cursor.fetchone()[0], "sent": begin,
                                  "replied": end, "events": count}) + "\n")


def append_bulk(cursor, releases, batch_size, timings):
    for start in range(0, len(releases), batch_size):
        batch = releases[start:start + batch_size]
        timed(cursor, timings, "bulk", len(batch),
              "SELECT usher.append_many(%s::text[], %s::text[], %s::text[], %s::text[], %s::uuid[])",
              ([r.stream for r in batch], [r.type for r in batch],
               [json.dumps(r.data) for r in batch], [json.dumps(r.metadata) for r in batch],
               [str(r.event_id) for r in batch]))


def append_live(cursor, releases, timings):
    """One by one, with a little time between them for others to be waiting again."""
    for r in releases:
        time.sleep(LIVE_PAUSE_S)
        timed(cursor, timings, "live", 1,
              "SELECT usher.append(%s, %s, %s, metadata => %s, event_id => %s)",
              (r.stream, r.type, json.dumps(r.data), json.dumps(r.metadata), r.event_id))


def main():
    arguments = options()
    if arguments.batch < 1 or arguments.live < 0:
        sys.exit("import.py: --batch must be at least 1, --live at least 0")
    connection = psycopg2.connect(arguments.dsn)
    connection.autocommit = True
    psycopg2.extras.register_uuid(conn_or_curs=connection)
    cursor = connection.cursor()
    cursor.execute("SET usher.source = 'examples/changelog'")

    releases = gather(arguments.root)
    known = known_ids(cursor)
    news = [release for release in releases if release.event_id not in known]
    streams = len({release.stream for release in releases})
    if not news:
        print(f"nothing new: all {len(releases)} events of {streams} packages are in the log already")
        return

    live = min(arguments.live, len(news))
    timings = open(arguments.timings, "w") if arguments.timings else None
    append_bulk(cursor, news[:len(news) - live], arguments.batch, timings)
    append_live(cursor, news[len(news) - live:], timings)
    if timings:
        timings.close()
    cursor.execute("SELECT usher.append('import-changelogs', 'changelog.imported', %s)",
                   (json.dumps({"events": len(news), "known": len(known), "packages": streams}),))
    print(f"appended {len(news)} events of {len({r.stream for r in news})} packages"
          f" ({len(releases) - len(news)} were in the log already)")


if __name__ == "__main__":
    try:
        main()
    except psycopg2.Error as error:
        sys.exit(f"import.py: {str(error).strip()}")
    except BrokenPipeError:
        os._exit(1)
