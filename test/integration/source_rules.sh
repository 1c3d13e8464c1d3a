#!/bin/bash
# test/integration/source_rules.sh: rules that the compiler does not know.
#
# Reads the sources only, and prints a TAP line for each rule.

set -uo pipefail
cd "$(dirname "$(readlink -f "$0")")/../.." || exit 1
export LC_ALL=C.UTF-8
status=0

# rule NAME: ok if stdin is empty; its lines are the violations.
rule() {
	local violations

	violations=$(cat)
	if [ -z "$violations" ]; then
		echo "ok $1"
	else
		echo "not ok $1"
		printf '%s\n' "$violations" | head -n 40 | sed 's/^/# /'
		status=1
	fi
}

c_files() { find extension bgworkers gateway -name '*.[ch]' 2>/dev/null | sort; }
documentation=$(cat README.md docs/*.md 2>/dev/null)

# Every call of ereport(ERROR or above, or WARNING) up to its semicolon on one
# line must name an errcode.
calls_without_errcode() {
	c_files | grep -v '/compat\.h$' | xargs -r awk '
		/(^|[^a-z_])ereport\(/ { call = ""; line = FNR; open = 1 }
		open { call = call $0 }
		open && /;[ \t]*$/ {
			if (call ~ /ereport\((ERROR|FATAL|PANIC|WARNING|elevel)/ && call !~ /errcode/)
				print FILENAME ":" line
			open = 0
		}'
}

settings_without_documentation() {
	local name

	grep -ohE '"(usher|boxoffice)\.[a-z_]+",' extension/guc.c 2>/dev/null | tr -d '",' | sort -u |
		while read -r name; do
			grep -qF "\`$name\`" <<<"$documentation" || echo "$name"
		done
}

documented_settings_that_do_not_exist() {
	local name

	[ -e docs/settings.md ] || return 0
	grep -oE '^\| *`(usher|boxoffice)\.[a-z_]+`' docs/settings.md | grep -oE '(usher|boxoffice)\.[a-z_]+' | sort -u |
		while read -r name; do
			grep -qF "\"$name\"" extension/guc.c || echo "$name"
		done
}

sqlstates() {
	grep -oE "USHER_SQLSTATE\('[0-9A-Z]', '[0-9A-Z]', '[0-9A-Z]'\)" extension/errors.h 2>/dev/null |
		grep -oE "'.'" | tr -d "'\n" | fold -w 3 | sed 's|^|US|'; echo
}

sqlstates_without_documentation() {
	local code

	sqlstates | while read -r code; do
		grep -qw "$code" <<<"$documentation" || echo "$code"
	done
}

problem_sqlstates() {
	grep -oE '^[[:space:]]*\{"US[0-9A-Z]{3}"' gateway/lib/problem.c | grep -oE 'US[0-9A-Z]{3}' | sort
}

problem_kinds() {
	tr -d '\n' <gateway/lib/problem.c | grep -oE '\{"[^"]*",[[:space:]]*[0-9]{3},[[:space:]]*"[a-z-]+"' |
		sed -E 's/.*([0-9]{3}),[[:space:]]*"([a-z-]+)"/\2 \1/' | sort -u
}

# "| `kind` | status |" in docs/errors.md.
documented_kinds() {
	sed -nE 's/^\| `([a-z-]+)` \| ([0-9]{3}) \|.*/\1 \2/p' docs/errors.md | sort -u
}

# "name default" a line: of the gateway's table of settings, and of docs/usherd.md.
gateway_settings() {
	tr -s '\n\t ' ' ' <gateway/config.c | grep -oE '(TEXT|INTEGER|BYTES|SECONDS)\([a-z_]+, "[^"]*"' |
		sed -E 's/.*\(([a-z_]+), "(.*)"/\1 \2/' | grep -v '^name '
}

documented_gateway_settings() {
	sed -nE 's/^\| `([a-z_]+)` \| [a-z]+ \| (empty|`([^`]*)`) \|.*/\1 \3/p' docs/usherd.md | sort
}

option_list=sql/30_functions/90_relay/10_sink_option_list.sql

# The options that a sink's sources, or the relay, read: "kind name" a line; kind NULL: of every kind.
options_read() {
	local file kind

	for file in bgworkers/*.c bgworkers/sinks/*.c; do
		case $file in
			*/sinks/kafka*) kind=kafka ;;
			*/sinks/redis*) kind=redis ;;
			*/sinks/nats*) kind=nats ;;
			*) kind=NULL ;;
		esac
		tr -s '\n\t ' '   ' <"$file" |
			grep -oE 'usher_option[a-z_]*\([^,()]*, ?"", ?"[a-z_]+"|text_option\([^,()]*, ?"[a-z_]+"|set_option\([^,()]*, ?"[^"]*", ?"[a-z_]+"' |
			grep -oE '"[a-z_]+"$' | tr -d '"' | sed "s/^/$kind /"
	done | sort -u
}

# "kind name" a line.
options_listed() {
	sed -nE "s/^ *\((NULL|'([a-z]+)'), *'([a-z_]+)'.*/\1 \3/p" "$option_list" | tr -d "'" | sort -u
}

options_read_but_not_listed() {
	local listed

	listed=$(options_listed)
	options_read | while read -r kind name; do
		grep -qxE "(NULL|$kind) $name" <<<"$listed" || echo "$kind $name"
	done
}

options_listed_but_not_read() {
	local read

	read=$(options_read; printf 'NULL parallel\nkafka rdkafka\n')
	options_listed | while read -r kind name; do
		grep -qx "$kind $name" <<<"$read" || echo "$kind $name"
	done
}

options_without_documentation() {
	options_listed | while read -r _ name; do
		grep -qF "\`$name\`" docs/relay.md || echo "$name"
	done
}

calls_without_errcode | rule "every error has an SQLSTATE"
grep -rnE 'elog\((ERROR|FATAL|PANIC)' extension bgworkers gateway --include='*.[ch]' 2>/dev/null |
	grep -v '^extension/compat\.h' | rule "no elog for errors"
settings_without_documentation | rule "every setting is documented"
documented_settings_that_do_not_exist | rule "every documented setting exists"
sqlstates | sort | uniq -d | rule "no SQLSTATE stands for two errors"
sqlstates_without_documentation | rule "every SQLSTATE is documented"
diff <(sqlstates | grep . | sort) <(problem_sqlstates) | rule "usherd has an HTTP status for every SQLSTATE of ours"
problem_kinds | grep -vxF "$(documented_kinds)" | rule "every kind of problem is documented, with its status"
diff <(gateway_settings | sort) <(documented_gateway_settings) |
	rule "docs/usherd.md has usherd's settings and their defaults"
gateway_settings | sort -c 2>&1 | rule "usherd's settings stand in order"
options_read_but_not_listed | rule "add_sink knows every option that a sink reads"
options_listed_but_not_read | rule "every option that add_sink knows is read"
options_without_documentation | rule "every option of a sink is documented"
c_files | xargs -r grep -n 'PG_VERSION_NUM' | grep -v '^extension/compat\.h' |
	rule "PostgreSQL version tests stand in compat.h"
grep -rnE '#include.*(postgres\.h|fmgr\.h|libwebsockets)' extension/lib 2>/dev/null |
	rule "extension/lib includes neither PostgreSQL nor libwebsockets"
{ c_files; find dev scripts test examples -type f \( -name '*.sh' -o -name '*.py' -o -name dev \); } |
	xargs wc -l | awk '$2 != "total" && $1 >= 600 { print $2 ": " $1 " lines" }' |
	rule "no source has 600 lines"
c_files | while read -r file; do
	sed -n 2p "$file" | grep -qF "$file" || echo "$file"
done | rule "every C file begins with its path"
grep -rnE 'CREATE OR REPLACE' sql 2>/dev/null | rule "sql/ creates, and replaces nothing"
exit $status
