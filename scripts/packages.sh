# scripts/packages.sh: the Debian packages that each command needs.
# shellcheck shell=bash

packages_build="postgresql-15 postgresql-server-dev-15 postgresql-15-cron gcc libc6-dev make \
	librdkafka-dev libhiredis-dev libnats-dev libssl-dev \
	libwebsockets-dev libwebsockets-evlib-ev libev-dev libpq-dev libjansson-dev libcjose-dev zlib1g-dev"
packages_up="$packages_build python3 python3-psycopg2 curl openssl"
packages_check="$packages_up postgresql-15-pgtap python3-websockets"
packages_lint="$packages_build clang-tidy-14 shellcheck"
packages_format="clang-format-14"
packages_fuzz="gcc libc6-dev clang-14 libclang-rt-14-dev"
# For scripts/servers/kafka, when java, mvn or kcat is missing.
packages_kafka="default-jre-headless maven kcat"
# For scripts/servers/redis and scripts/servers/nats.
packages_redis="redis-server redis-tools"
packages_nats="nats-server"
# For scripts/servers/nginx, the clients of test/integration/gateway_clients.py, and bench/gateway.
packages_nginx="nginx-light openssl"
packages_clients="curl python3-requests nghttp2-client chromium wrk"
packages_valgrind="valgrind"
packages_venv="python3-venv"
# When node, or npm, is missing.
packages_node="nodejs"
packages_npm="nodejs npm"
# When go is missing.
packages_go="golang-go"

packages_missing() {
	local package

	for package in "$@"; do
		case $(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null) in
			installed) ;;
			*) printf '%s ' "$package" ;;
		esac
	done
}

# packages_need PACKAGE...: installs what is missing, or says what to install.
packages_need() {
	local missing

	missing=$(packages_missing "$@")
	missing=${missing% }
	[ -n "$missing" ] || return 0

	command -v apt-get >/dev/null || fail "this needs the Debian packages: $missing"
	step "installing packages: $missing"
	if [ "$(id -u)" -eq 0 ]; then
		packages_install "$missing"
	elif command -v sudo >/dev/null && { [ -t 0 ] || sudo -n true 2>/dev/null; }; then
		sudo env root="$root" bash -c \
			'. "$root/scripts/env.sh"; . "$root/scripts/packages.sh"; packages_install "$1"' \
			dev "$missing"
	else
		fail "packages are missing and we may not install them; as root: apt-get install $missing"
	fi

	missing=$(packages_missing "$@")
	[ -z "$missing" ] || fail "still missing after the installation: $missing"
}

packages_install() {
	local log config=/etc/postgresql-common/createcluster.conf ours=no

	log=$(mktemp)
	apt_retry "$log" update || packages_failed "$log"

	# The server's package makes and starts a cluster "main" of its own when it
	# is installed.  Nobody asked for that one, so it is switched off for this
	# installation, unless the administrator has said what he wants.
	if ! [ -e "$config" ]; then
		mkdir -p "${config%/*}"
		printf 'create_main_cluster = false\n' >"$config"
		ours=yes
	fi
	# shellcheck disable=SC2086
	UCF_FORCE_CONFFOLD=1 apt_retry "$log" install -y --no-install-recommends $1 ||
		packages_failed "$log"
	if [ $ours = yes ] && [ -e /usr/share/postgresql-common/createcluster.conf ]; then
		cp /usr/share/postgresql-common/createcluster.conf "$config"
	fi
	rm -f "$log"
}

packages_failed() {
	tail -n 40 "$1" >&2
	rm -f "$1"
	fail "apt-get failed"
}

# Another apt or dpkg may be at work: wait for its locks up to five minutes.
# "update" takes a lock that apt itself does not wait for.
apt_retry() {
	local log=$1 try

	shift
	for try in $(seq 60); do
		if apt-get -q -o DPkg::Lock::Timeout=300 "$@" </dev/null >"$log" 2>&1; then
			return 0
		fi
		grep -q 'Could not get lock' "$log" || return 1
		[ "$try" -gt 1 ] || warn "waiting for another apt-get"
		sleep 5
	done
	return 1
}
