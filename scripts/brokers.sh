# scripts/brokers.sh: ./dev up --with: real brokers on loopback, and sinks that carry the log to them.
# shellcheck shell=bash

brokers_known="kafka redis nats"

# brokers_parse LIST: kafka,redis,nats -> words; fails on others.
brokers_parse() {
	local kind

	for kind in ${1//,/ }; do
		[[ " $brokers_known " = *" $kind "* ]] || fail "there is no broker \"$kind\"; --with knows ${brokers_known// /,}"
		printf '%s ' "$kind"
	done
}

# broker KIND COMMAND...: its script, on the port that up has chosen.
broker() {
	local kind=$1

	env "${kind^^}_PORT=$(up_state_get "${kind}_port")" "$root/scripts/servers/$kind" "${@:2}"
}

broker_port_first() {
	case $1 in
		kafka) printf 19092 ;;
		redis) printf 16379 ;;
		nats) printf 14222 ;;
	esac
}

# Its own port as long as it runs; Kafka takes the next one, too.
broker_port_choose() {
	local kind=$1 port

	port=$(up_state_get "${kind}_port")
	if [ -n "$port" ] && broker "$kind" pid >/dev/null 2>&1; then
		return
	fi
	port=$(up_port_choose "${port:-$(broker_port_first "$kind")}")
	while [ "$kind" = kafka ] && ! up_port_free $((port + 1)); do
		port=$(up_port_choose $((port + 1)))
	done
	up_state_set "${kind}_port" "$port"
}

broker_config() {
	case $1 in
		kafka) printf '{"brokers": "%s"}' "$2" ;;
		redis) printf '{"url": "redis://%s"}' "$2" ;;
		nats) printf '{"url": "nats://%s", "stream": "USHER", "create_stream": true, "subjects": ["*"]}' "$2" ;;
	esac
}

# brokers_start KIND...: they serve, and a sink of that name sends them the whole log.
brokers_start() {
	local kind address

	for kind in "$@"; do
		broker_port_choose "$kind"
		step "starting $kind"
		address=$(broker "$kind" up)
		say "$kind serves on $address"
		"$bin/psql" -X -q -v ON_ERROR_STOP=1 -v kind="$kind" -v config="$(broker_config "$kind" "$address")" <<-'SQL' >/dev/null
			SET client_min_messages = warning;
			SELECT CASE WHEN EXISTS (SELECT FROM usher.sinks WHERE name = :'kind')
			            THEN format('SELECT usher.alter_sink(%1$L, %2$L), usher.resume_sink(%1$L)', :'kind', :'config')
			            ELSE format('SELECT usher.add_sink(%1$L, %1$L, %2$L, 0)', :'kind', :'config') END \gexec
		SQL
	done
	up_state_set with "$*"
}

# The counts that foreign clients read back.
brokers_report() {
	local kind arguments=()

	for kind in "$@"; do
		arguments+=("--$kind" "127.0.0.1:$(up_state_get "${kind}_port")")
	done
	[ $# -eq 0 ] || "$python" "$root/examples/changelog/brokers.py" "${arguments[@]}"
}

# brokers_stop yes|no: yes removes their data, too.
brokers_stop() {
	local kind wipe=()

	[ "$1" = no ] || wipe=(--wipe)
	for kind in $(up_state_get with); do
		broker "$kind" down "${wipe[@]}" || warn "$kind does not stop"
	done
}
