# scripts/gateway.sh: usherd beside the private cluster of ./dev up.
#
# It runs as the servers' user, with a role of its own that may do nothing but
# what usher_gateway may, and listens on loopback.  Files: usherd.conf,
# usherd.jwks (the key that signs development tokens), usherd.log, usherd.pid.
# shellcheck shell=bash

gateway_port_first=${PG_USHER_HTTP_PORT:-8080}

gateway_pid() {
	local pid

	pid=$(cat "$state/usherd.pid" 2>/dev/null) || return 1
	# The number may belong to somebody else by now.
	[ "$(cat "/proc/$pid/comm" 2>/dev/null)" = usherd ] && printf '%s\n' "$pid"
}

# gateway_admin PATH: asks the administration's listener.
gateway_admin() {
	curl -fsS -m 5 "http://127.0.0.1:$(up_state_get http_admin_port)$1"
}

gateway_configure() {
	local sockets

	sockets=$(cluster_sockets "$state")
	(
		umask 077
		cat >"$state/usherd.conf" <<CONF
# Written by dev at each start.
database = host=$sockets port=$(up_state_get port) dbname=$up_database user=usherd
listen = 127.0.0.1:$(up_state_get http_port)
listen_admin = 127.0.0.1:$(up_state_get http_admin_port)
jwt_keys = $state/usherd.jwks
jwt_audience = usher
jwt_issuer = dev
error_log = $state/usherd.log
access_log = $state/usherd-access.log
rate_limits = general=60000/1000 key=60000/1000
CONF
	)
	touch "$state/usherd.log" "$state/usherd-access.log"
	give_to_server "$state/usherd.conf" "$state/usherd.log" "$state/usherd-access.log"
}

gateway_role() {
	sql >/dev/null <<'SQL'
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'usherd') THEN
        CREATE ROLE usherd LOGIN IN ROLE usher_gateway;
    END IF;
END
$$;
SQL
}

# gateway_token [ARGUMENTS]: a token for development.
gateway_token() {
	as_server "$bin/usherd" token -c "$state/usherd.conf" "$@"
}

gateway_start() {
	local pid build

	build=$(sha256sum <"$bin/usherd" | cut -c1-32)
	if pid=$(gateway_pid); then
		if [ "$(up_state_get usherd)" = "$build" ]; then
			say "usherd is running on port $(up_state_get http_port)"
			return
		fi
		gateway_stop
	fi
	up_state_set http_port "$(up_port_choose "$(up_state_get http_port)" "$gateway_port_first")"
	up_state_set http_admin_port "$(up_port_choose "$(up_state_get http_admin_port)" $((gateway_port_first + 1)) \
		"$(up_state_get http_port)")"
	gateway_role
	gateway_configure
	if ! [ -e "$state/usherd.jwks" ]; then
		"$bin/usherd" keygen "$state/usherd.jwks"
		give_to_server "$state/usherd.jwks"
	fi
	touch "$state/usherd.pid"
	give_to_server "$state/usherd.pid"
	# shellcheck disable=SC2016
	as_server sh -c 'echo $$ >"$1"; shift; exec setsid "$@"' sh "$state/usherd.pid" \
		"$bin/usherd" -c "$state/usherd.conf" </dev/null >>"$state/usherd.log" 2>&1 9>&- &
	for _ in $(seq 100); do
		if gateway_admin /readyz >/dev/null 2>&1; then
			up_state_set usherd "$build"
			say "usherd is running on port $(up_state_get http_port)"
			return
		fi
		sleep 0.1
	done
	tail -n 20 "$state/usherd.log" >&2
	fail "usherd does not get ready ($state/usherd.log)"
}

gateway_stop() {
	local pid

	pid=$(gateway_pid) || return 0
	kill "$pid"
	for _ in $(seq 100); do
		gateway_pid >/dev/null || break
		sleep 0.1
	done
	rm -f "$state/usherd.pid"
}

# An append and a read over HTTP, for all to see.
gateway_show() {
	local token url

	token=$(gateway_token --tenant default --user demo --scope log:read --scope log:append --ttl 3600)
	url=http://127.0.0.1:$(up_state_get http_port)/v1/streams/greeting-1/events
	step "appending and reading an event over HTTP"
	if [[ $(curl -fsS -m 10 -H "Authorization: Bearer $token" "$url") = *'"items":[]'* ]]; then
		curl -fsS -m 10 -H "Authorization: Bearer $token" -H 'Content-Type: application/json' \
			-d '{"type": "greeting.sent", "data": {"text": "hello from curl"}}' "$url"
		printf '\n'
	fi
	curl -fsS -m 10 -H "Authorization: Bearer $token" "$url?direction=backward&max=1"
	printf '\n'
}

# A sale over HTTP: places go while one watches.
gateway_sale() {
	local n

	step "selling the places of a concert over HTTP"
	{
		gateway_token --tenant default --user organiser --role organiser --ttl 600
		gateway_token --tenant default --user cash-desk --role box-office --ttl 600
		for n in $(seq 16); do
			gateway_token --tenant default --user "guest-$n" --role customer --ttl 600
		done
	} | "$python" "$root/examples/sale/sale.py" --url "http://127.0.0.1:$(up_state_get http_port)" --page "$(gateway_page)"
}

# The page of the live log. What stands behind the # stays in the browser; the token lives for an hour.
gateway_page() {
	printf 'http://127.0.0.1:%s/#after=0&token=%s\n' "$(up_state_get http_port)" \
		"$(gateway_token --tenant default --user demo --scope subscribe --scope boxoffice:read --ttl 3600)"
}

# ./dev token
token_main() {
	up_environment
	[ -e "$state/usherd.conf" ] || fail "there is no gateway yet; run ./dev up"
	if [ $# -eq 0 ]; then
		set -- --tenant default --user dev --scope log:read --scope log:append --scope subscribe --ttl 3600
	fi
	gateway_token "$@"
}
