# scripts/env.sh: who runs us, where things lie, and how we talk to the user.
#
# Sourced by dev and by the scripts of test/integration; expects $root, the
# repository.  As root everything lies under /var and servers run as user
# postgres, because PostgreSQL refuses to run as root.
# shellcheck shell=bash

export LC_ALL=C.UTF-8 LANG=C.UTF-8
export DEBIAN_FRONTEND=noninteractive

pg_major=15
pg_home=/usr/lib/postgresql/$pg_major
pg_config=$pg_home/bin/pg_config
python=/usr/bin/python3

say() { printf '%s\n' "$*"; }
step() { printf '==> %s\n' "$*"; }
warn() { printf 'dev: %s\n' "$*" >&2; }
fail() {
	warn "$@"
	exit 1
}

# A home directory that we can write to; chroot and setpriv keep that of root.
own_home() {
	local home=${HOME:-}

	if [ -z "$home" ] || ! [ -w "$home" ]; then
		home=$(getent passwd "$(id -u)" | cut -d: -f6)
	fi
	if [ -z "$home" ] || ! [ -w "$home" ]; then
		home=/var/tmp/pg_usher-$(id -u)
		mkdir -m 0700 "$home" 2>/dev/null || true
		[ -O "$home" ] || fail "$home belongs to somebody else; set HOME to a directory of yours"
	fi
	printf '%s\n' "$home"
}

if [ "$(id -u)" -eq 0 ]; then
	cache=${PG_USHER_CACHE:-/var/cache/pg_usher}
	state=${PG_USHER_STATE:-/var/lib/pg_usher}
	server_user=postgres
else
	home=$(own_home)
	cache=${PG_USHER_CACHE:-${XDG_CACHE_HOME:-$home/.cache}/pg_usher}
	state=${PG_USHER_STATE:-${XDG_STATE_HOME:-$home/.local/state}/pg_usher}
	server_user=$(id -un 2>/dev/null || id -u)
fi
tree=$cache/tree
jobs=${PG_USHER_JOBS:-$(nproc)}
# programs that mostly wait, at a time
programs=${PG_USHER_JOBS:-$(($(nproc) + 1))}

# Run a command as the user that owns the servers.  Its working directory is /,
# since ours may be one that user postgres cannot enter.
as_server() {
	if [ "$(id -u)" -eq 0 ]; then
		(cd / && exec setpriv --reuid="$server_user" --regid="$server_user" --init-groups \
			env HOME=/var/lib/postgresql "$@")
	else
		(cd / && exec "$@")
	fi
}

give_to_server() {
	if [ "$(id -u)" -eq 0 ]; then
		chown "$server_user": "$@"
	fi
}

# Run a command with its output in a log, which is shown only if it fails.
quietly() {
	local log=$1

	shift
	"$@" >"$log" 2>&1 && return
	tail -n 60 "$log" >&2
	return 1
}
