#!/usr/bin/python3
# examples/changelog/report.py: what the log holds, and how fast it went.
#
# A wake-up is the time from the moment when the writer has its commit's reply
# to the moment when the follower's wait has returned.  Both clocks are the
# machine's monotonic clock.  Only waits that had begun before the commit was
# sent count; otherwise the follower was still busy with earlier events.

import argparse
import json
import os
import statistics
import sys

import psycopg2


def options():
    parser = argparse.ArgumentParser(description="report on the log and on an import")
    parser.add_argument("--dsn", default="", help="libpq connection string (default: PG* environment)")
    parser.add_argument("--commits", help="timings of import.py")
    parser.add_argument("--waits", help="timings of follow.py")
    return parser.parse_args()


def load(path):
    if not path or not os.path.exists(path):
        return []
    with open(path) as file:
        return [json.loads(line) for line in file if line.endswith("\n")]


def wakeups(commits, waits):
    """Seconds from reply to return; below zero when the follower knew first."""
    result = []
    following = iter(commits)
    commit = next(following, None)
    for wait in waits:
        while commit and commit["position"] <= wait["after"]:
            commit = next(following, None)
        if commit and commit["position"] <= wait["stable"] and wait["entered"] < commit["sent"]:
            result.append(wait["returned"] - commit["replied"])
    return result


def main():
    arguments = options()
    connection = psycopg2.connect(arguments.dsn)
    cursor = connection.cursor()
    cursor.execute("SELECT count(*), count(DISTINCT stream) FROM usher.events")
    events, streams = cursor.fetchone()
    cursor.execute("SELECT max(length(data::text)) FROM usher.events")
    largest = cursor.fetchone()[0] or 0
    print()
    print(f"  events in the log    {events:>10,}   in {streams:,} streams, the largest has {largest:,} bytes")

    commits = load(arguments.commits)
    for kind, what in (("bulk", "append_many"), ("live", "append")):
        chosen = [commit for commit in commits if commit["kind"] == kind]
        if chosen:
            seconds = sum(commit["replied"] - commit["sent"] for commit in chosen)
            appended = sum(commit["events"] for commit in chosen)
            print(f"  {what:<20} {appended / seconds:>10,.0f}   events a second: one session,"
                  f" {len(chosen)} durable commits of {chosen[0]['events']}")
    times = [1000 * max(0.0, time) for time in wakeups(commits, load(arguments.waits))]
    if times:
        print(f"  wake-up, median      {statistics.median(times):>10.2f}   ms from the writer's commit"
              f" to the follower's return ({len(times)} waits)")
        print(f"  wake-up, slowest     {max(times):>10.2f}   ms")


if __name__ == "__main__":
    try:
        main()
    except psycopg2.Error as error:
        sys.exit(f"report.py: {str(error).strip()}")
