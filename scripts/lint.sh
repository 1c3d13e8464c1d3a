# scripts/lint.sh: ./dev lint and ./dev format.
# shellcheck shell=bash

lint_rooms="extension bgworkers gateway test/unit test/fuzz"

lint_sources() {
	local room

	for room in $lint_rooms; do
		[ -d "$root/$room" ] || continue
		find "$root/$room" -name '*.[ch]'
	done | sort
}

# What is compiled; the unit and fuzz tests have flags of their own, and are built
# with -Wall -Wextra -Werror whenever they run.
lint_programs() { lint_sources | grep '\.c$' | grep -v '/test/'; }

lint_scripts() {
	{
		printf '%s\n' "$root/dev" "$root/.ci/run"
		find "$root/scripts" "$root/test" "$root/bench" -type f ! -name '*.py' -exec \
			grep -lE -m1 '^#!/bin/(ba)?sh|^# shellcheck shell=' {} +
	} | sort -u
}

# The compiler's flags; headers of others are not ours to mend.
lint_flags() {
	echo "-std=gnu11 -D_GNU_SOURCE -I$root/extension -I$root/bgworkers" \
		"-isystem $("$pg_config" --includedir-server) -isystem $("$pg_config" --includedir)"
}

lint_report() {
	if [ "$2" -eq 0 ]; then
		say "ok      $1"
	else
		say "FAILED  $1"
		lint_status=1
	fi
}

lint_compiler() {
	local status=0 flags

	flags="$(lint_flags) -O2 -fsyntax-only -Wall -Wextra -Wshadow=compatible-local -Wvla
		-Wno-unused-parameter -Wno-sign-compare -Wno-missing-field-initializers -Werror"
	# shellcheck disable=SC2086
	lint_programs | xargs -r -P "$jobs" -n 1 gcc $flags || status=1
	lint_report "compiler warnings" $status
}

lint_tidy() {
	local status=0 out

	out=$(mktemp)
	# shellcheck disable=SC2046
	lint_programs | xargs -r -P "$jobs" -I{} clang-tidy-14 --quiet \
		--config-file="$root/.clang-tidy" {} -- $(lint_flags) >"$out" 2>&1 || status=1
	if [ $status -ne 0 ]; then
		grep -vE '^[0-9]+ warnings? (generated|treated)|^Suppressed|^Use -header-filter' "$out" || true
	fi
	rm -f "$out"
	lint_report "clang-tidy" $status
}

lint_shell() {
	local status=0

	lint_scripts | xargs -r shellcheck -x -S warning -e SC1090,SC1091,SC2154,SC2034 || status=1
	lint_report "shellcheck" $status
}

lint_python() {
	local status=0

	grep -rlE --exclude-dir=__pycache__ '^#!/usr/bin/python3|^# .*\.py: ' \
		"$root/examples" "$root/scripts" "$root/test" "$root/bench" |
		xargs -r -d '\n' "$python" -c 'import ast, sys
for path in sys.argv[1:]:
    ast.parse(open(path).read(), path)' || status=1
	lint_report "Python syntax" $status
}

lint_rules() {
	local status=0

	"$root/test/integration/source_rules.sh" | grep '^not ok' && status=1
	lint_report "rules of the source" $status
}

lint_main() {
	local lint_status=0

	# shellcheck disable=SC2086
	packages_need $packages_lint
	lint_compiler
	lint_tidy
	lint_shell
	lint_python
	lint_rules
	return $lint_status
}

format_main() {
	local options=(-i)

	case ${1:-} in
		"") ;;
		--check) options=(--dry-run -Werror) ;;
		*) fail "format knows only --check" ;;
	esac
	# shellcheck disable=SC2086
	packages_need $packages_format
	lint_sources | xargs -r clang-format-14 --style=file "${options[@]}"
}
