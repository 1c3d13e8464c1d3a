# scripts/cluster.sh: makes, starts and stops a PostgreSQL cluster from a tree.
#
# A cluster is a directory: data/, run/ (the sockets) and server.log.  Its
# socket directory can only be entered by its owner and root, so connections
# there need no password; TCP connections, where there are any, do.
# shellcheck shell=bash

# cluster_make DIR BIN DATABASES [initdb options]: the databases are made before
# the first start, so that pg_cron, which serves one of them, finds it.
cluster_make() {
	local dir=$1 bin=$2 databases=$3 database

	shift 3
	mkdir -p "$dir"
	chmod 0755 "$dir"
	mkdir -p "$dir/run"
	chmod 0700 "$dir/run"
	rm -rf "$dir/data.new"
	mkdir -m 0700 "$dir/data.new"
	touch "$dir/server.log"
	give_to_server "$dir" "$dir/run" "$dir/data.new" "$dir/server.log"
	quietly "$dir/initdb.log" as_server "$bin/initdb" -D "$dir/data.new" --username=postgres \
		--auth-local=trust --auth-host=scram-sha-256 --locale=C.UTF-8 --encoding=UTF8 "$@" ||
		fail "initdb failed"
	for database in $databases; do
		as_server "$bin/postgres" --single -F -D "$dir/data.new" postgres >"$dir/initdb.log" 2>&1 \
			<<<"CREATE DATABASE $database" || fail "cannot make the database $database"
	done
	echo "include_if_exists = 'pg_usher.conf'" >>"$dir/data.new/postgresql.conf"
	rm -f "$dir/initdb.log"
	mv "$dir/data.new" "$dir/data"
}

# Sockets have short names (107 bytes); a deep directory gets another place.
cluster_sockets() {
	local run=$1/run

	if [ ${#run} -gt 85 ]; then
		run=/tmp/pg_usher-$(printf '%s' "$1" | sha256sum | cut -c1-12)
		if ! mkdir -m 0700 "$run" 2>/dev/null; then
			[ "$(stat -c %U "$run")" = "$server_user" ] || fail "$run belongs to somebody else"
		fi
		give_to_server "$run"
	fi
	printf '%s\n' "$run"
}

# The kind of shared memory that works here: a chroot may lack /dev/shm.
cluster_dsm() {
	local probe=/dev/shm/pg_usher.$$

	if as_server sh -c "touch $probe && rm $probe" 2>/dev/null; then
		echo posix
	else
		echo mmap
	fi
}

# cluster_configure DIR PORT: writes our settings; more of them come from stdin.
cluster_configure() {
	local dir=$1 port=$2 conf

	conf=$(
		echo "# Written by dev at each start."
		echo "port = $port"
		echo "unix_socket_directories = '$(cluster_sockets "$dir")'"
		echo "unix_socket_permissions = 0700"
		echo "dynamic_shared_memory_type = $(cluster_dsm)"
		echo "shared_preload_libraries = 'pg_usher,pg_cron'"
		echo "max_worker_processes = 32"
		echo "max_locks_per_transaction = 256"
		echo "cron.use_background_workers = on"
		cat
	)
	printf '%s\n' "$conf" >"$dir/data/pg_usher.conf"
	give_to_server "$dir/data/pg_usher.conf"
}

cluster_running() {
	[ -e "$1/data/postmaster.pid" ] &&
		as_server "$2/pg_ctl" -D "$1/data" status >/dev/null 2>&1
}

cluster_start() {
	local dir=$1 bin=$2

	touch "$dir/server.log"
	give_to_server "$dir/server.log"
	# The server must not inherit the lock of a build (descriptor 9).
	if ! as_server "$bin/pg_ctl" -D "$dir/data" -l "$dir/server.log" -w -t 60 start \
		>/dev/null 2>&1 9>&-; then
		tail -n 30 "$dir/server.log" >&2
		return 1
	fi
}

cluster_stop() {
	local dir=$1 bin=$2 mode=${3:-fast}

	if cluster_running "$dir" "$bin"; then
		as_server "$bin/pg_ctl" -D "$dir/data" -m "$mode" -w -t 60 stop >/dev/null
	fi
}

# cluster_environment DIR PORT BIN: makes libpq's programs find the cluster.
cluster_environment() {
	PGHOST=$(cluster_sockets "$1")
	export PGHOST PGPORT=$2 PGUSER=postgres PGDATABASE=postgres
	export PGCONNECT_TIMEOUT=10
	export USHER_BIN=$3
	unset PGPASSWORD PGPASSFILE PGSERVICE PGOPTIONS PGSSLMODE PGHOSTADDR
}

# sql [psql arguments]: one value or plain rows; stops at the first error.
sql() {
	"$USHER_BIN/psql" -X -q -A -t -v ON_ERROR_STOP=1 "$@"
}
