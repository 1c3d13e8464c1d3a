# scripts/up.sh: the private cluster of ./dev up, and the main job on it.
# shellcheck shell=bash

up_port_first=${PG_USHER_PORT:-54329}
up_database=usher

up_state_get() {
	[ ! -e "$state/settings" ] || sed -n "s/^$1=//p" "$state/settings"
}

up_state_set() {
	local rest

	rest=$(grep -v "^$1=" "$state/settings" 2>/dev/null || true)
	printf '%s\n' ${rest:+"$rest"} "$1=$2" >"$state/settings.new"
	mv "$state/settings.new" "$state/settings"
}

up_port_free() {
	"$python" - "$1" <<'PYTHON'
import socket, sys
with socket.socket() as probe:
    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        probe.bind(("127.0.0.1", int(sys.argv[1])))
    except (OSError, OverflowError):
        sys.exit(1)
PYTHON
}

# up_port_choose [PORT [FIRST [OTHER]]]: a free port from PORT on, or from FIRST when that is empty; not OTHER.
up_port_choose() {
	local port=${1:-${2:-$up_port_first}} last

	[[ $port =~ ^[0-9]+$ ]] || fail "\"$port\" is not a port number"
	for ((last = port + 100; port <= last; port++)); do
		if [ "$port" != "${3:-}" ] && up_port_free "$port"; then
			printf '%s\n' "$port"
			return
		fi
	done
	fail "no free port from $up_port_first on"
}

# The cluster's data, with a random password for connections over TCP.
up_make_cluster() {
	local secret

	step "making a private cluster in $state"
	secret=$(od -An -N18 -tx1 /dev/urandom | tr -d ' \n')
	mkdir -p "$state"
	(
		umask 077
		printf '%s\n' "$secret" >"$state/password"
	)
	give_to_server "$state/password"
	cluster_make "$state" "$bin" $up_database --pwfile="$state/password"
}

up_pgpass() {
	(
		umask 077
		printf '127.0.0.1:%s:*:postgres:%s\n' "$1" "$(cat "$state/password")" >"$state/pgpass"
	)
}

up_start() {
	local port fingerprint

	fingerprint=$(tree_fingerprint "$tree")
	if cluster_running "$state" "$bin"; then
		port=$(up_state_get port)
		if [ "$fingerprint" = "$(up_state_get fingerprint)" ]; then
			say "the cluster is running on port $port"
			return
		fi
		step "restarting the cluster: it runs an older build"
		cluster_stop "$state" "$bin"
	fi

	port=$(up_port_choose "$(up_state_get port)")
	cluster_configure "$state" "$port" <<CONF
listen_addresses = '127.0.0.1'
cron.database_name = '$up_database'
log_line_prefix = '%m [%p] %q%u@%d '
CONF
	up_state_set port "$port"
	up_pgpass "$port"
	cluster_start "$state" "$bin" || fail "the server does not start ($state/server.log)"
	up_state_set fingerprint "$fingerprint"
	say "the cluster is running on port $port"
}

up_environment() {
	[ -e "$state/data/PG_VERSION" ] || fail "there is no cluster yet; run ./dev up"
	bin=$(tree_bin "$tree")
	[ -x "$bin/psql" ] || install_main >&2
	cluster_environment "$state" "$(up_state_get port)" "$bin"
	export PGDATABASE=$up_database
}

up_extension() {
	local script installed wanted

	sql -c "SET client_min_messages = warning" -c "CREATE EXTENSION IF NOT EXISTS pg_cron"
	wanted=$(sed -n "s/^default_version *= *'\(.*\)'/\1/p" "$root/pg_usher.control")
	script=$(sha256sum <"$tree/usr/share/postgresql/$pg_major/extension/pg_usher--$wanted.sql")
	installed=$(sql -c "SELECT extversion FROM pg_extension WHERE extname = 'pg_usher'")
	if [ -z "$installed" ]; then
		sql -c "CREATE EXTENSION pg_usher"
		up_state_set script "${script%% *}"
	elif [ "$installed" != "$wanted" ]; then
		step "updating pg_usher from $installed to $wanted"
		sql -c "ALTER EXTENSION pg_usher UPDATE"
		up_state_set script "${script%% *}"
	elif [ "${script%% *}" != "$(up_state_get script)" ]; then
		warn "the SQL of version $wanted has changed since this database was made; to get the" \
			"new objects, start afresh: ./dev down --purge && ./dev up"
	fi
}

up_main() {
	local bin list with=()

	case ${1:-} in
		"") read -ra with <<<"$(up_state_get with)" ;;
		--with)
			[ $# -eq 2 ] || fail "--with needs a list of brokers: ${brokers_known// /,}"
			list=$(brokers_parse "$2") || exit 1
			read -ra with <<<"$list"
			;;
		*) fail "up knows only --with" ;;
	esac
	# shellcheck disable=SC2086
	packages_need $packages_up
	step "building"
	tree_install "$tree"
	bin=$(tree_bin "$tree")

	if [ -e "$state/data/PG_VERSION" ]; then
		say "the data in $state is kept"
	else
		up_make_cluster
	fi
	up_start
	up_environment
	up_extension
	gateway_start
	brokers_start "${with[@]}"
	say "the log, live, in a browser: $(gateway_page)"
	up_import
	gateway_show
	gateway_sale
	brokers_report "${with[@]}"
	up_hints
}

# The main job: package changelogs go in while a second session follows.
up_import() {
	local work follower status=0 examples=$root/examples/changelog

	work=$(mktemp -d)
	# shellcheck disable=SC2064
	trap "rm -rf '$work'" EXIT
	step "importing the changelogs of this machine's packages"
	"$python" "$examples/follow.py" --until changelog.imported --ready "$work/ready" \
		--timings "$work/waits" >"$work/follow.log" 2>&1 &
	follower=$!
	while [ ! -e "$work/ready" ] && kill -0 "$follower" 2>/dev/null; do
		sleep 0.05
	done
	"$python" "$examples/import.py" --timings "$work/commits" || status=$?
	if [ "$status" -ne 0 ] || [ ! -e "$work/commits" ]; then
		# Nothing was appended, so nothing will end the follower.
		kill "$follower" 2>/dev/null || true
	fi
	wait "$follower" || [ ! -e "$work/commits" ] || status=$?
	if [ "$status" -ne 0 ]; then
		cat "$work/follow.log" >&2
		fail "the import failed"
	fi
	cat "$work/follow.log"
	"$python" "$examples/report.py" --commits "$work/commits" --waits "$work/waits"
}

up_hints() {
	cat <<HINTS

Try next:
  ./dev psql -c "SELECT stream, version FROM usher.streams ORDER BY version DESC LIMIT 5"
  ./dev psql -c "SELECT version, data->>'version' AS release, recorded_at FROM usher.read_stream('changelog-bash', 1, 5, true)"
  ./dev psql -c "SELECT usher.append('demo-1', 'order.placed', '{\"total\": 20}')" -c "SELECT * FROM usher.read_stream('demo-1')"

The log, live, in a browser (for an hour; ./dev token --tenant default --user you --scope subscribe makes other tokens):
  $(gateway_page)

Over HTTP (the API is described at http://127.0.0.1:$(up_state_get http_port)/docs):
  TOKEN=\$(./dev token)
  curl -H "Authorization: Bearer \$TOKEN" "http://127.0.0.1:$(up_state_get http_port)/v1/log?types=changelog.**&max=3"

Programs connect with: PGPASSFILE=$state/pgpass psql -h 127.0.0.1 -p $(up_state_get port) -U postgres $up_database
HINTS
}

down_main() {
	local bin purge=no

	case ${1:-} in
		"") ;;
		--purge) purge=yes ;;
		*) fail "down knows only --purge" ;;
	esac
	if [ ! -e "$state/data/PG_VERSION" ]; then
		say "there is no cluster in $state"
		return
	fi
	bin=$(tree_bin "$tree")
	# Any pg_ctl of this major version can stop the server.
	[ -x "$bin/pg_ctl" ] || bin=$pg_home/bin
	gateway_stop
	cluster_stop "$state" "$bin" || fail "the server does not stop"
	brokers_stop $purge
	if [ $purge = yes ]; then
		rm -rf "$state/data" "$state/run" "$state/settings" "$state/password" "$state/pgpass" \
			"$state/server.log" "$state"/usherd.* "$state/usherd-access.log"
		say "the cluster is stopped, and its data deleted"
	else
		say "the cluster is stopped; its data stays in $state"
	fi
}

psql_main() {
	up_environment
	cluster_running "$state" "$bin" || fail "the cluster is not running; run ./dev up"
	exec "$bin/psql" "$@"
}

logs_main() {
	[ -e "$state/server.log" ] || fail "there is no server log yet; run ./dev up"
	case ${1:-} in
		-f) exec tail -n 100 -F "$state/server.log" ;;
		"") cat "$state/server.log" ;;
		*) fail "logs knows only -f" ;;
	esac
}

bench_main() {
	local name

	if [ $# -eq 0 ]; then
		say "benchmarks:"
		find "$root/bench" -maxdepth 1 -type f -perm -u+x -printf '  %f\n' | sort
		return
	fi
	name=$1
	shift
	[[ $name != */* && -f $root/bench/$name && -x $root/bench/$name ]] ||
		fail "there is no benchmark \"$name\"; ./dev bench lists them"
	# shellcheck disable=SC2086
	packages_need $packages_up
	tree_install "$tree"
	USHER_BIN=$(tree_bin "$tree")
	export USHER_BIN
	exec "$root/bench/$name" "$@"
}
