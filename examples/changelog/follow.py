#!/usr/bin/python3
# examples/changelog/follow.py: follows the log live.
#
# The whole of a reader's state is one number, the position of the last event
# that it has seen.  Read what comes after it; when that was all, wait with
# CALL usher.wait_for, which returns as soon as something is committed.

import argparse
import json
import signal
import sys
import time

import psycopg2

PAGE = 1000


def options():
    parser = argparse.ArgumentParser(description="follow pg_usher's log live")
    parser.add_argument("--dsn", default="", help="libpq connection string (default: PG* environment)")
    parser.add_argument("--after", type=int, help="start behind this position (default: now)")
    parser.add_argument("--until", metavar="TYPE", help="stop after an event of this type")
    parser.add_argument("--ready", metavar="FILE", help="file to create when following begins")
    parser.add_argument("--timings", metavar="FILE", help="file to write the waits' times to")
    parser.add_argument("--show", action="store_true", help="print each event")
    return parser.parse_args()


def show(row):
    position, stream, version, kind, data = row
    print(f"{position:>8}  {stream or '-'}#{version or '-'}  {kind}  {json.dumps(data)[:100]}", flush=True)


def main():
    arguments = options()
    connection = psycopg2.connect(arguments.dsn)
    connection.autocommit = True
    cursor = connection.cursor()
    after = arguments.after
    if after is None:
        cursor.execute("SELECT usher.stable_position()")
        after = cursor.fetchone()[0]
    if arguments.ready:
        open(arguments.ready, "w").close()

    timings = open(arguments.timings, "w") if arguments.timings else None
    events = 0
    done = False
    while not done:
        cursor.execute("SELECT position, stream, version, type, data FROM usher.read(%s, %s)", (after, PAGE))
        rows = cursor.fetchall()
        for row in rows:
            if row[0] <= after:
                sys.exit(f"follow.py: position {row[0]} came after {after}")
            after = row[0]
            if arguments.show:
                show(row)
            done = done or row[3] == arguments.until
        events += len(rows)
        if len(rows) < PAGE and not done:
            entered = time.monotonic()
            cursor.execute("CALL usher.wait_for(%s, '5 s', '*', NULL)", (after,))
            returned = time.monotonic()
            stable = cursor.fetchone()[0]
            if timings and stable > after:
                timings.write(json.dumps({"after": after, "stable": stable, "entered": entered,
                                          "returned": returned}) + "\n")
    if timings:
        timings.close()
    print(f"a second session followed live: {events} events, each once and in order")


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        main()
    except KeyboardInterrupt:
        pass
    except psycopg2.Error as error:
        sys.exit(f"follow.py: {str(error).strip()}")
