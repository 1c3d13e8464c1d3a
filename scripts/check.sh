# scripts/check.sh: ./dev check and ./dev test.
#
# The tests run on a tree and a cluster of their own, made for the run and
# removed after it; the cluster of ./dev up is never touched. Tests that need other
# servers start them on loopback ports.
# shellcheck shell=bash

check_cleanup() {
	local status=$?

	trap - EXIT
	trap '' INT TERM HUP
	pool_end
	if [ -n "${USHER_BIN:-}" ] && [ -d "$work/cluster/data" ]; then
		cluster_stop "$work/cluster" "$USHER_BIN" immediate || true
	fi
	rm -rf "$work" "$temporary"
	exit $status
}

# What the run has written, for a look after it.
check_keep_logs() {
	rm -rf "$cache/last-failure"
	mkdir -p "$cache/last-failure"
	(cd "$work" && find . -path ./tree -prune -o -path ./cluster/data -prune -o \
		\( -name '*.log' -o -name regression.diffs -o -path '*/results/*' \) -type f \
		-exec cp --parents -t "$cache/last-failure" {} +) || true
	say "logs are kept in $cache/last-failure"
}

check_prepare() {
	local database

	# shellcheck disable=SC2086
	packages_need $packages_check
	work=$(mktemp -d "${TMPDIR:-/tmp}/pg_usher.XXXXXX")
	chmod 0755 "$work"
	# Of the programs; their servers may run as another user. Short, for the names of sockets.
	temporary=$(mktemp -d "${TMPDIR:-/var/tmp}/pg_usher.XXXXXX")
	chmod 1777 "$temporary"
	trap check_cleanup EXIT
	trap 'exit 130' INT TERM HUP

	step "building"
	tree_install "$work/tree"
	USHER_BIN=$(tree_bin "$work/tree")

	cluster_make "$work/cluster" "$USHER_BIN" "regress isolation pgtap" --no-sync
	cluster_configure "$work/cluster" 5432 <<'CONF'
listen_addresses = ''
cron.database_name = 'regress'
fsync = off
max_prepared_transactions = 10
statement_timeout = '120s'
log_line_prefix = '%m [%p] %q%a@%d '
CONF
	cluster_environment "$work/cluster" 5432 "$USHER_BIN"
	export PG_USHER_CACHE=$cache
	cluster_start "$work/cluster" "$USHER_BIN" || fail "the test cluster does not start"
	for database in regress isolation pgtap; do
		check_extensions $database
	done
}

check_extensions() {
	local extension extensions="pg_usher"

	case $1 in
		regress) extensions="pg_cron pg_usher" ;;
		pgtap) extensions="pg_usher pgtap" ;;
	esac
	for extension in $extensions; do
		sql -d "$1" -c "SET client_min_messages = warning" -c "CREATE EXTENSION $extension"
	done
}

check_server_alive() {
	if grep -A2 'terminated by signal\|TRAP: \|PANIC: ' "$work/cluster/server.log" >"$work/crash.log"; then
		failed server "a process of the test cluster crashed" "$work/crash.log"
	fi
}

check_sum() {
	say ""
	[ "$failed_count" -eq 0 ] || check_keep_logs
	say "$passed_count passed, $failed_count failed"
	[ "$failed_count" -eq 0 ] && [ "$passed_count" -gt 0 ]
}

check_main() {
	local suite begin=$SECONDS

	case ${1:-} in
		"") ;;
		-v) verbose=yes ;;
		*) fail "check takes no arguments but -v; ./dev test runs a choice" ;;
	esac
	check_prepare
	for suite in $suites_all invariants; do
		suite_run "$suite"
	done
	check_server_alive
	say "$((SECONDS - begin)) seconds"
	check_sum
}

test_main() {
	local suite

	if [ "${1:-}" = -l ]; then
		for suite in $suites_all; do
			suite_tests "$suite" | sed "s|^|$suite/|"
		done
		return
	fi
	[ $# -gt 0 ] || fail "test which? ./dev test -l lists them, ./dev check runs them all"
	filters=("$@")
	verbose=yes
	test_known
	check_prepare
	for suite in $suites_all; do
		suite_run "$suite"
	done
	if wanted invariants; then
		suite_run invariants
	fi
	check_server_alive
	check_sum
}

# A name that matches no test is most likely misspelt.
test_known() {
	local filter suite name

	for filter in "${filters[@]}"; do
		for suite in $suites_all invariants; do
			[ "$filter" != "$suite" ] || continue 2
			for name in $(suite_tests "$suite"); do
				case $filter in
					"$name" | "$suite/$name") continue 3 ;;
				esac
			done
		done
		fail "there is no test \"$filter\"; ./dev test -l lists them"
	done
}
