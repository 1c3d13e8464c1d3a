#!/bin/bash
# test/integration/house.sh: ./dev up, down and psql, on directories of their own, with and without brokers.
# slow: 100 s
#
# Builds afresh, so it also shows that a first build works.  Prints TAP lines.

set -uo pipefail
root=$(cd "$(dirname "$(readlink -f "$0")")/../.." && pwd)
work=$(mktemp -d "${TMPDIR:-/tmp}/pg_usher.XXXXXX")
chmod 0755 "$work"
export PG_USHER_CACHE=$work/cache PG_USHER_STATE=$work/state
# Ports that no other test takes. The first one is held: up must go on to another one.
exec 5< <(exec /usr/bin/python3 -c '
import socket, sys, time
sys.path.insert(0, sys.argv[1])
import ports
first = ports.free_ports(10)
held = socket.socket()
held.bind(("127.0.0.1", first))
held.listen()
print(first, flush=True)
time.sleep(1000)' "$root/test/chaos")
holder=$!
read -r PG_USHER_PORT <&5
export PG_USHER_PORT PG_USHER_HTTP_PORT=$((PG_USHER_PORT + 5))
status=0

cleanup() {
	"$root/dev" down --purge >/dev/null 2>&1
	kill "$holder" 2>/dev/null
	rm -rf "$work"
}
trap cleanup EXIT

dev() { "$root/dev" "$@" >"$work/out" 2>&1; }
value() { "$root/dev" psql -X -A -t -c "$1" 2>&1; }
says() { grep -qE "$1" "$work/out"; }
setting() { sed -n "s/^$1=//p" "$work/state/settings"; }

# expect NAME COMMAND...
expect() {
	local name=$1

	shift
	if "$@"; then
		echo "ok $name"
	else
		echo "not ok $name"
		tail -n 40 "$work/out" | sed 's/^/# /'
		status=1
	fi
}

# connect [VARIABLE=VALUE]: over TCP, as a program would.
connect() {
	local psql

	psql=$("$root/dev" tree)/psql
	env "$@" "$psql" -X -w -h 127.0.0.1 -p "$(setting port)" -U postgres -c "SELECT 1" usher \
		>/dev/null 2>>"$work/out"
}

# 1234567 as the report writes it.
count() { printf "%'d" "$1" | sed ':a;s/^\([0-9]\+\)\([0-9]\{3\}\)/\1,\2/;ta'; }
broker_serves() { (: <"/dev/tcp/127.0.0.1/$(setting "$1_port")") 2>/dev/null; }

shown_commands() {
	local line

	cp "$work/out" "$work/shown"
	while read -r line; do
		(cd "$root" && eval "$line") >>"$work/out" 2>&1 </dev/null || return 1
	done < <(grep '^ *\./dev psql' "$work/shown")
}

expect "up on nothing" dev up
expect "it tells events and streams" says 'events in the log +[0-9,]+ +in [0-9,]+ streams'
expect "it tells the rates" says 'append +[0-9,]+ +events a second'
expect "it tells the slowest wake-up" says 'wake-up, slowest +[0-9.]+ +ms'
expect "it shows three commands" test "$(grep -c '^  ./dev psql' "$work/out")" -eq 3
expect "a taken port is passed over" test "$(setting port)" -gt "$PG_USHER_PORT"
expect "the shown commands work" shown_commands
expect "a connection over TCP needs the password" eval '! connect PGPASSFILE=/dev/null'
expect "and works with it" connect PGPASSFILE="$work/state/pgpass"
expect "pg_usher is loaded first" test "$(value "SHOW shared_preload_libraries")" = "pg_usher,pg_cron"
expect "pg_cron is there" test "$(value "SELECT count(*) FROM pg_extension WHERE extname = 'pg_cron'")" = 1

# But for those of the sale, which is another one each time.
events=$(value "SELECT count(*) FROM usher.events WHERE type ~ '^(changelog|greeting|order)[.]'")
sed -i 's/^fingerprint=.*/fingerprint=older/' "$work/state/settings"
expect "up again, on an older build" dev up
expect "it restarts the server" says 'restarting the cluster'
expect "it says that the data is kept" says 'is kept'
expect "nothing is appended twice" says 'nothing new'
expect "the events are the same" test "$(value "SELECT count(*) FROM usher.events WHERE type ~ '^(changelog|greeting|order)[.]'")" = "$events"

expect "down" dev down
expect "psql on a stopped cluster says what to do" eval '! dev psql && says "run ./dev up"'
expect "down on a stopped cluster" dev down
expect "up after down" dev up
expect "the events are still there" test "$(value "SELECT count(*) FROM usher.events WHERE type ~ '^(changelog|greeting|order)[.]'")" = "$events"
expect "the log is sound" test "$(value "SELECT bool_and(ok) FROM usher.check()")" = t
expect "a broker that nobody knows is an error" eval '! dev up --with redis,rabbit && says "no broker \"rabbit\""'
expect "up with brokers" dev up --with redis,nats
events=$(value "SELECT count(*) FROM usher.events") # the brokers' packages have changelogs, too
expect "Redis has the log" says "in redis +$(count "$events") +messages.* 0 missing, 0 twice"
expect "NATS has the log" says "in nats +$(count "$events") +messages.* 0 missing, 0 twice"
expect "down stops brokers, too" eval 'dev down && ! broker_serves redis && ! broker_serves nats'
expect "up remembers them" eval 'dev up && broker_serves redis && says "in nats .* 0 missing, 0 twice"'
expect "down with the data" dev down --purge
expect "nothing of the data is left" eval '! test -e "$work/state/data" && ! test -e "$work/state/servers/nats-"*/data'
expect "an unknown command is an error" eval '! dev nonsense'
expect "an unknown test is an error" eval '! dev test nonsense && says "there is no test"'
exit $status
