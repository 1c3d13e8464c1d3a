#!/bin/bash
# test/integration/catalog.sh: rules that every SQL object of ours obeys.
#
# Reads the catalog of the regress database and prints a TAP line for each rule.

set -uo pipefail
: "${USHER_BIN:?run this with ./dev test catalog}"
status=0

# rule NAME QUERY: ok if the query returns no row.
rule() {
	local rows

	if rows=$("$USHER_BIN/psql" -X -q -A -t -d regress -v ON_ERROR_STOP=1 -c "$2" 2>&1) &&
		[ -z "$rows" ]; then
		echo "ok $1"
	else
		echo "not ok $1"
		printf '%s\n' "$rows" | head -n 40 | sed 's/^/# /'
		status=1
	fi
}

member="EXISTS (SELECT FROM pg_depend WHERE objid = %s.oid AND classid = '%s'::regclass AND deptype = 'e'
	AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'pg_usher'))"
# shellcheck disable=SC2059
function_member=$(printf "$member" p pg_proc)
# shellcheck disable=SC2059
table_member=$(printf "$member" c pg_class)

rule "every function has a comment" "SELECT oid::regprocedure FROM pg_proc p
	WHERE $function_member AND obj_description(oid, 'pg_proc') IS NULL"
# (A procedure that commits cannot have settings of its own.)
rule "every SQL function locks its search_path" "SELECT oid::regprocedure FROM pg_proc p
	WHERE $function_member AND prokind = 'f' AND prolang IN (SELECT oid FROM pg_language WHERE lanname IN ('sql', 'plpgsql'))
	AND prosqlbody IS NULL AND NOT EXISTS (SELECT FROM unnest(proconfig) s WHERE s LIKE 'search_path=%')"
rule "every table and view has a comment" "SELECT oid::regclass FROM pg_class c
	WHERE $table_member AND relkind IN ('r', 'p', 'v') AND obj_description(oid, 'pg_class') IS NULL"
rule "every table has row-level security" "SELECT oid::regclass FROM pg_class c
	WHERE relnamespace = 'usher'::regnamespace AND relkind IN ('r', 'p') AND NOT relrowsecurity"
rule "no table can be written by PUBLIC" "SELECT oid::regclass FROM pg_class c
	WHERE relnamespace = 'usher'::regnamespace AND relkind IN ('r', 'p', 'v')
	AND EXISTS (SELECT FROM aclexplode(relacl) WHERE grantee = 0 AND privilege_type <> 'SELECT')"
rule "no view of tenants' rows runs with its owner's rights" "SELECT oid::regclass FROM pg_class c
	WHERE $table_member AND relkind = 'v' AND NOT coalesce(reloptions && '{security_invoker=true,security_invoker=on}', false)
	AND EXISTS (SELECT FROM pg_attribute WHERE attrelid = c.oid AND attname IN ('tenant', 'tenant_id'))"
exit $status
