#!/bin/bash
# test/integration/preload.sh: a server that has not preloaded the library refuses the extension, and says what to do.
#
# Runs CREATE EXTENSION in a single-user server on a data directory of its own, without and with the library.

set -uo pipefail
: "${USHER_BIN:?run this with ./dev test preload}"
root=$(cd "$(dirname "$(readlink -f "$0")")/../.." && pwd)
for part in env cluster; do
	# shellcheck source=/dev/null
	. "$root/scripts/$part.sh"
done
work=$(mktemp -d /tmp/pg_usher_preload.XXXXXX)
trap 'rm -rf "$work"' EXIT
status=0

# single LIBRARIES STATEMENT: what the server says.
single() {
	as_server "$USHER_BIN/postgres" --single -F -D "$work/data" \
		-c shared_preload_libraries="$1" postgres <<<"$2" 2>&1
}

# expect NAME PATTERN TEXT
expect() {
	if grep -Eq "$2" <<<"$3"; then
		echo "ok $1"
	else
		echo "not ok $1"
		head -n 30 <<<"$3" | sed 's/^/# /'
		status=1
	fi
}

cluster_make "$work" "$USHER_BIN" "" --no-sync
said=$(single "" "CREATE EXTENSION pg_usher;")
expect "refused without the library" 'ERROR: +pg_usher must be loaded through shared_preload_libraries' "$said"
expect "with a hint" "HINT: +Set shared_preload_libraries = 'pg_usher'" "$said"
said=$(single "" "DO \$\$ BEGIN CREATE EXTENSION pg_usher; EXCEPTION WHEN SQLSTATE 'US015' THEN RAISE WARNING 'not preloaded'; END \$\$;")
expect "with an SQLSTATE of its own" 'WARNING: +not preloaded' "$said"
said=$(single "" $'LOAD \'pg_usher\';\nCREATE EXTENSION pg_usher;')
expect "also when it is loaded later" 'ERROR: +pg_usher must be loaded through shared_preload_libraries' "$said"
said=$(single "" "SELECT count(*) AS schemas FROM pg_namespace WHERE nspname = 'usher';")
expect "nothing is left behind" 'schemas = "0"' "$said"

# The database has a log, and the next start forgets the library: errors, no crash.
said=$(single pg_usher "CREATE EXTENSION pg_usher;")
expect "created with the library" 'backend>' "$(grep -v 'ERROR\|FATAL\|PANIC' <<<"$said")"
for call in "usher.append('a-1', 'b')" "usher.read_stream('a-1')" "usher.read()" "usher.stable_position()" \
	"usher.current_tenant()" "usher.wait(0, '1 s')" "usher.append_many('{}', '{}', '{}')" "usher.check()" \
	"usher.aggregate('a-1', 'jsonb_concat(jsonb, jsonb)')" "usher.publish('t', 'k', 'b')"; do
	said=$(single "" "SELECT $call;")
	expect "$call without the library" 'ERROR: +pg_usher must be loaded through shared_preload_libraries' "$said"
done
said=$(single "" "SELECT count(*) AS rows FROM usher.log;")
expect "the log can be read as a table without the library" 'rows = "0"' "$said"
exit $status
