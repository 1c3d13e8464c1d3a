#!/bin/bash
# test/integration/upgrade.sh: an upgraded database has the catalog of a fresh one.
#
# For every frozen release: install its script, append, ALTER EXTENSION UPDATE,
# and compare all objects with a fresh installation.  Without a release yet, two
# fresh installations are compared, which keeps the comparison itself honest.
# Runs on the cluster that PG* and USHER_BIN name (./dev test upgrade).

set -uo pipefail
: "${USHER_BIN:?run this with ./dev test upgrade}"
root=$(cd "$(dirname "$(readlink -f "$0")")/../.." && pwd)
work=${TEST_TMP:-$(mktemp -d)}
share=$USHER_BIN/../../../../share/postgresql/15/extension
status=0

sql() { "$USHER_BIN/psql" -X -q -A -t -v ON_ERROR_STOP=1 "$@"; }
database_make() { sql -c "DROP DATABASE IF EXISTS $1 (FORCE)" -c "CREATE DATABASE $1"; }
database_drop() { sql -c "DROP DATABASE IF EXISTS $1 (FORCE)"; }

# expect NAME COMMAND...
expect() {
	local name=$1

	shift
	if "$@" >"$work/out" 2>&1; then
		echo "ok $name"
	else
		echo "not ok $name"
		head -n 60 "$work/out" | sed 's/^/# /'
		status=1
	fi
}

# Everything that the extension owns or made, one line an object, without oids.
# Partitions of the log are data, not catalog.
catalog() {
	sql -d "$1" <<'SQL'
SET search_path = pg_catalog;
SELECT 'member', pg_describe_object(classid, objid, 0)
  FROM pg_depend WHERE refclassid = 'pg_extension'::regclass AND deptype = 'e'
   AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'pg_usher')
 ORDER BY 2;
SELECT 'function', pg_get_functiondef(p.oid), obj_description(p.oid, 'pg_proc'), p.proacl::text
  FROM pg_proc p WHERE pronamespace = 'usher'::regnamespace AND prokind IN ('f', 'p')
 ORDER BY 2;
SELECT 'relation', c.oid::regclass, relkind, relpersistence, relrowsecurity, relforcerowsecurity,
       reloptions, relacl::text, obj_description(c.oid, 'pg_class'), pg_get_viewdef(c.oid)
  FROM pg_class c WHERE relnamespace = 'usher'::regnamespace AND NOT relispartition
   AND c.relname !~ '^log_p[0-9]' ORDER BY c.relname;
SELECT 'column', c.oid::regclass, attnum, attname, format_type(atttypid, atttypmod), attnotnull,
       attstorage, attcompression, attacl::text, pg_get_expr(adbin, adrelid), col_description(c.oid, attnum)
  FROM pg_class c JOIN pg_attribute a ON attrelid = c.oid AND attnum > 0 AND NOT attisdropped
  LEFT JOIN pg_attrdef d ON adrelid = c.oid AND adnum = attnum
 WHERE relnamespace = 'usher'::regnamespace AND NOT relispartition AND c.relname !~ '^log_p[0-9]'
 ORDER BY c.relname, attname;
SELECT 'constraint', conrelid::regclass, conname, pg_get_constraintdef(oid)
  FROM pg_constraint WHERE connamespace = 'usher'::regnamespace
   AND conrelid::regclass::text !~ '^usher\.log_p[0-9]' ORDER BY conrelid::regclass::text, 3;
SELECT 'index', pg_get_indexdef(indexrelid) FROM pg_index JOIN pg_class c ON c.oid = indrelid
 WHERE relnamespace = 'usher'::regnamespace AND NOT relispartition
   AND relname !~ '^log_p[0-9]' ORDER BY 2;
SELECT 'trigger', tgrelid::regclass, pg_get_triggerdef(t.oid) FROM pg_trigger t
  JOIN pg_class c ON c.oid = tgrelid
 WHERE relnamespace = 'usher'::regnamespace AND NOT tgisinternal AND NOT relispartition ORDER BY 3;
SELECT 'policy', polrelid::regclass, polname, polcmd, polroles::regrole[],
       pg_get_expr(polqual, polrelid), pg_get_expr(polwithcheck, polrelid)
  FROM pg_policy JOIN pg_class c ON c.oid = polrelid
 WHERE relnamespace = 'usher'::regnamespace AND NOT relispartition ORDER BY relname, polname;
SELECT 'event trigger', evtname, evtevent, evtfoid::regproc, evtenabled, evttags
  FROM pg_event_trigger ORDER BY 2;
SELECT 'schema', nspname, nspacl::text, obj_description(oid, 'pg_namespace')
  FROM pg_namespace WHERE nspname ~ '^usher';
SELECT 'dumped', c::regclass, w FROM pg_extension, unnest(extconfig, extcondition) AS u(c, w)
 WHERE extname = 'pg_usher' ORDER BY c::regclass::text;
SQL
}

install_frozen() {
	cp "$root/migrations/frozen/pg_usher--$1.sql" "$share/" &&
		database_make usher_upgraded &&
		sql -d usher_upgraded -c "CREATE EXTENSION pg_usher VERSION '$1'"
}

append_some() {
	sql -d "$1" -c "SELECT usher.append('order-' || i, 'order.placed', '{}') FROM generate_series(1, 20) i"
}

same_catalog() {
	catalog "$1" >"$work/$1.catalog" && catalog usher_fresh >"$work/fresh.catalog" &&
		[ -s "$work/fresh.catalog" ] && diff "$work/$1.catalog" "$work/fresh.catalog"
}

all_events_there() {
	[ "$(sql -d "$1" -c "SELECT count(*) FROM usher.read(0, 1000)")" = 20 ] && append_some "$1"
}

# Roles are shared by all databases of a cluster, and stay.
nothing_left() {
	local left

	sql -d usher_fresh -c "SET client_min_messages = warning" -c "DROP EXTENSION pg_usher CASCADE"
	left=$(sql -d usher_fresh -c "
		SELECT oid::regclass::text FROM pg_class WHERE oid >= 16384
		UNION ALL SELECT oid::regprocedure::text FROM pg_proc WHERE oid >= 16384
		UNION ALL SELECT oid::regtype::text FROM pg_type WHERE oid >= 16384
		UNION ALL SELECT nspname FROM pg_namespace WHERE oid >= 16384 AND nspname !~ '^pg_'
		UNION ALL SELECT evtname FROM pg_event_trigger")
	printf '%s' "$left"
	[ -z "$left" ]
}

install_again() {
	sql -d usher_fresh -c "CREATE EXTENSION pg_usher" && append_some usher_fresh
}

trap 'database_drop usher_fresh; database_drop usher_upgraded; database_drop usher_second' EXIT

expect "a fresh installation" eval 'database_make usher_fresh && sql -d usher_fresh -c "CREATE EXTENSION pg_usher"'
append_some usher_fresh >/dev/null

releases=$(find "$root/migrations/frozen" -name 'pg_usher--*.sql' 2>/dev/null |
	sed 's/.*pg_usher--\(.*\)\.sql/\1/' | sort -V)
current=$(sql -d usher_fresh -c "SELECT extversion FROM pg_extension WHERE extname = 'pg_usher'")
for release in $releases; do
	[ "$release" != "$current" ] || continue
	expect "release $release installs" install_frozen "$release"
	expect "release $release appends" append_some usher_upgraded
	expect "release $release updates" sql -d usher_upgraded -c "ALTER EXTENSION pg_usher UPDATE"
	expect "release $release has the catalog of $current" same_catalog usher_upgraded
	expect "release $release has kept its events" all_events_there usher_upgraded
done

expect "a second installation" eval 'database_make usher_second && sql -d usher_second -c "CREATE EXTENSION pg_usher"'
append_some usher_second >/dev/null
expect "two installations have the same catalog" same_catalog usher_second
expect "both have their own events" all_events_there usher_second
expect "DROP EXTENSION leaves nothing behind" nothing_left
expect "the extension can be made again" install_again
exit $status
