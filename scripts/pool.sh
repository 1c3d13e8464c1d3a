# scripts/pool.sh: several tests at a time, reported in order.
#
# Each test runs in a process group of its own in the background; what it says
# goes to files, which the caller's report reads.  Counts are thus made in one
# process, ours.
# shellcheck shell=bash

declare -A pool_running=() # process group -> test
declare -A pool_ended=()

# pool_run WIDTH ACTION REPORT STARTS NAME...: calls ACTION NAME, WIDTH of them at a
# time, and REPORT NAME for each in the order of the names.  STARTS is a list of
# some of the names, those that begin first.
pool_run() {
	local width=$1 action=$2 report=$3 name next=0 starts names

	mapfile -t starts < <(printf '%s\n' "$4" "${@:5}" | awk 'NF && !seen[$0]++')
	names=("${@:5}")
	pool_ended=()
	for name in "${starts[@]}"; do
		[ ${#pool_running[@]} -lt "$width" ] || pool_wait
		pool_report
		# A process group of its own, so that all of it can be ended.
		set -m
		(set +m && "$action" "$name") </dev/null &
		set +m
		pool_running[$!]=$name
	done
	while [ ${#pool_running[@]} -gt 0 ]; do
		pool_wait
		pool_report
	done
}

pool_wait() {
	local pid

	wait -n -p pid "${!pool_running[@]}" || true
	pool_ended[${pool_running[$pid]}]=yes
	unset "pool_running[$pid]"
}

# What has ended, as far as all before it has; the variables are those of pool_run.
pool_report() {
	while [ $next -lt ${#names[@]} ] && [ -n "${pool_ended[${names[$next]}]:-}" ]; do
		"$report" "${names[$next]}"
		next=$((next + 1))
	done
}

# Ends what is still running, and waits until it has cleaned up.
pool_end() {
	local pid deadline=$((SECONDS + 60))

	for pid in "${!pool_running[@]}"; do
		kill -TERM -- "-$pid" 2>/dev/null || true
	done
	for pid in "${!pool_running[@]}"; do
		while kill -0 -- "-$pid" 2>/dev/null && [ $SECONDS -lt $deadline ]; do
			sleep 0.1
		done
	done
}
