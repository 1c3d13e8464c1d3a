# scripts/suites.sh: the suites of tests, each found in its directory.
#
# A suite's function reports every test through passed and failed, which count
# them; what a failed test said is shown with it.  A suite whose directory does
# not exist is left out, one with a directory but no test has failed.
#
# The programs of unit and fuzz run on all processors, those of integration and
# chaos, which mostly wait, one more at a time.  Among the first lines of such a
# program may stand "# slow: 60 s", so long does it take, and the slowest begin
# first; or "# alone: WHY": it runs after the others, with nothing beside it.
# shellcheck shell=bash

suites_all="unit fuzz regress isolation pgtap integration chaos"
suite_seconds_max=700

passed_count=0
failed_count=0
suite_count=0
verbose=no
filters=()

passed() {
	passed_count=$((passed_count + 1))
	suite_count=$((suite_count + 1))
	if [ $verbose = yes ]; then
		printf 'ok      %s\n' "$1"
	fi
}

# failed NAME [REASON [FILE with what it said]]
failed() {
	failed_count=$((failed_count + 1))
	suite_count=$((suite_count + 1))
	printf 'FAILED  %s%s\n' "$1" "${2:+: $2}"
	if [ -n "${3:-}" ]; then
		show_output "$3"
	fi
}

# What a failed program said, without the tests that passed.
show_output() {
	grep -v '^ok ' "$1" | tail -n 80 | sed 's/^/        /' || true
}

# wanted SUITE [TEST]: does the user's choice include it?
wanted() {
	local filter

	[ ${#filters[@]} -gt 0 ] || return 0
	for filter in "${filters[@]}"; do
		case $filter in
			"$1" | "${2:-}" | "$1/${2:-}") return 0 ;;
		esac
	done
	return 1
}

# The names of the tests of a suite.
suite_tests() {
	local dir pattern tests=(-true)

	case $1 in
		unit) dir=test/unit pattern='*.c' ;;
		# The other files there are what the targets share.
		fuzz) dir=test/fuzz pattern='*.c' tests=(-exec grep -q '^LLVMFuzzerTestOneInput' {} \;) ;;
		regress) dir=test/sql pattern='*.sql' ;;
		isolation) dir=test/specs pattern='*.spec' ;;
		pgtap) dir=test/pgtap pattern='*.sql' ;;
		integration) dir=test/integration pattern='*' tests=(-perm -u+x) ;;
		# The other files there are what these programs share.
		chaos) dir=test/chaos pattern='*.py' tests=(-exec grep -q __main__ {} \;) ;;
		*) return 0 ;;
	esac
	[ -d "$root/$dir" ] || return 0
	find "$root/$dir" -maxdepth 1 -type f -name "$pattern" "${tests[@]}" -printf '%f\n' |
		sed 's/\.[a-z]*$//' | sort
}

suite_directory() {
	case $1 in
		regress) echo test/sql ;;
		isolation) echo test/specs ;;
		*) echo "test/$1" ;;
	esac
}

# tests_wanted SUITE: the tests of a suite that the user chose.
tests_wanted() {
	local name

	for name in $(suite_tests "$1"); do
		if wanted "$1" "$name"; then
			printf '%s\n' "$name"
		fi
	done
}

# tap_count NAME STATUS FILE: counts the "ok" and "not ok" lines of a program's
# output.  A program without such lines is one test, decided by its status.
tap_count() {
	local name=$1 status=$2 file=$3 line plan="" count=0 bad=0

	while IFS= read -r line; do
		case $line in
			"ok "*)
				count=$((count + 1))
				passed "$name: $(tap_title "${line#ok }")"
				;;
			"not ok "*'# TODO'*)
				count=$((count + 1))
				passed "$name: $(tap_title "${line#not ok }")"
				;;
			"not ok "*)
				count=$((count + 1))
				bad=$((bad + 1))
				failed "$name: $(tap_title "${line#not ok }")"
				;;
			"1.."[0-9]*) plan=${line#1..} plan=${plan%% *} ;;
		esac
	done <"$file"

	if [ "$status" -eq 124 ] || [ "$status" -eq 137 ]; then
		failed "$name" "did not end in time" "$file"
	elif [ -n "$plan" ] && [ "$plan" -ne $count ]; then
		failed "$name" "planned $plan tests and ran $count" "$file"
	elif [ $count -eq 0 ] && [ "$status" -eq 0 ] && [ -z "$plan" ]; then
		passed "$name"
	elif [ $bad -gt 0 ]; then
		show_output "$file"
	elif [ "$status" -ne 0 ]; then
		failed "$name" "exit status $status" "$file"
	fi
}

# A TAP line without its number: "3 - adds up" is "adds up".
tap_title() {
	local title=$1

	[[ ! $title =~ ^[0-9]+([[:space:]]+-)?[[:space:]]+(.*)$ ]] || title=${BASH_REMATCH[2]}
	printf '%s' "${title#- }"
}

# run_limited FILE COMMAND...: with its output in FILE; the status is in $status.
run_limited() {
	local file=$1

	shift
	status=0
	"$root/scripts/limited" $suite_seconds_max "$@" >"$file" 2>&1 </dev/null || status=$?
}

# What test_build gives every compiler; a test finds headers of both rooms.
pure_includes="-I$root/extension -I$root/extension/lib -I$root/gateway -I$root/gateway/lib"

# pure_library DIRECTORY COMPILER FLAG...: DIRECTORY/libpure.a of extension/lib and
# gateway/lib; a program takes of it what it needs.
pure_library() {
	local dir=$1

	shift
	rm -rf "$dir"
	mkdir -p "$dir"
	# shellcheck disable=SC2016,SC2086
	(cd "$root" && find extension/lib gateway/lib -name '*.c') |
		xargs -P "$jobs" -I{} sh -c 'source=$1 dir=$2; shift 2
			"$@" -c -o "$dir/$(printf %s "$source" | tr / _).o" "$source"' sh "$root/{}" "$dir" \
			"$@" $pure_includes &&
		ar crs "$dir/libpure.a" "$dir"/*.o
}

# test_sources KIND FILE: what its line "KIND sources: PATH ..." adds to a test; -l... are libraries.
test_sources() {
	sed -n "s/^.*$1 sources: //p" "$2" | tr ' ' '\n' | sed "/./{/^-l/!s|^|$root/|}"
}

# Each program twice: as it is, and with the sanitizers.
suite_unit() {
	local out=$work/unit variant name tests
	local flags="-std=c11 -D_GNU_SOURCE -O1 -g -Wall -Wextra -Werror"
	local -A extra=([plain]=""
		[sanitized]="-fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer")

	mkdir -p "$out"
	for variant in plain sanitized; do
		# shellcheck disable=SC2086
		if ! pure_library "$out/$variant" cc $flags ${extra[$variant]} >"$out/$variant.log" 2>&1; then
			failed "unit ($variant)" "the libraries do not compile" "$out/$variant.log"
			continue
		fi
		mapfile -t tests < <(for name in $(tests_wanted unit); do echo "$name.$variant"; done)
		pool_run "$jobs" unit_one unit_report "" "${tests[@]}"
	done
}

# unit_one NAME.VARIANT: its output and status, or what the compiler said.
unit_one() {
	local name=${1%.*} variant=${1##*.} status

	# shellcheck disable=SC2046,SC2086
	if ! cc $flags ${extra[$variant]} $pure_includes -I"$("$pg_config" --includedir)" -o "$out/$1" \
		"$root/test/unit/$name.c" "$out/$variant/libpure.a" \
		$(test_sources unit "$root/test/unit/$name.c") "$out/$variant/libpure.a" \
		-lm >"$out/$1.log" 2>&1; then
		echo compiler >"$out/$1.status"
	else
		run_limited "$out/$1.log" "$out/$1"
		echo "$status" >"$out/$1.status"
	fi
}

unit_report() {
	local name="unit/${1%.*} (${1##*.})" status

	status=$(cat "$out/$1.status")
	if [ "$status" = compiler ]; then
		failed "$name" "does not compile" "$out/$1.log"
	else
		tap_count "$name" "$status" "$out/$1.log"
	fi
}

suite_regress() {
	pg_regress_run regress "$(dirname "$("$pg_config" --pgxs)")/../test/regress/pg_regress"
}

suite_isolation() {
	pg_regress_run isolation \
		"$(dirname "$("$pg_config" --pgxs)")/../test/isolation/pg_isolation_regress"
}

# pg_regress_run SUITE PROGRAM: the database of the suite's name exists already.
pg_regress_run() {
	local suite=$1 program=$2 out=$work/$1 names status line seen=0

	names=$(tests_wanted "$suite")
	mkdir -p "$out"
	# shellcheck disable=SC2086
	run_limited "$out.log" "$program" --inputdir="$root/test" --outputdir="$out" \
		--bindir="$USHER_BIN" --host="$PGHOST" --port="$PGPORT" --user=postgres \
		--use-existing --dbname="$suite" $names
	while IFS= read -r line; do
		if [[ $line =~ ^test\ +([^ ]+)\ +\.\.\.\ +(ok|FAILED) ]]; then
			seen=$((seen + 1))
			if [ "${BASH_REMATCH[2]}" = ok ]; then
				passed "$suite/${BASH_REMATCH[1]}"
			else
				failed "$suite/${BASH_REMATCH[1]}"
			fi
		fi
	done <"$out.log"
	if [ -s "$out/regression.diffs" ]; then
		head -n 300 "$out/regression.diffs"
	fi
	if [ $seen -ne "$(wc -w <<<"$names")" ]; then
		failed "$suite" "not all tests ran (status $status)" "$out.log"
	fi
}

suite_pgtap() {
	local name out=$work/pgtap status

	mkdir -p "$out"
	for name in $(tests_wanted pgtap); do
		run_limited "$out/$name.log" "$USHER_BIN/psql" -X -q -A -t -d pgtap -P pager=off \
			-v ON_ERROR_STOP=1 -v ON_ERROR_ROLLBACK=1 -f "$root/test/pgtap/$name.sql"
		if [ "$status" -eq 0 ] && ! grep -q '^1\.\.' "$out/$name.log"; then
			failed "pgtap/$name" "has no plan" "$out/$name.log"
		else
			tap_count "pgtap/$name" "$status" "$out/$name.log"
		fi
	done
}

# Programs that test what is around the code; they print TAP lines.
suite_integration() { programs_run integration; }
suite_chaos() { programs_run chaos; }

# test_mark KIND FILE: what its line "# KIND: ..." says, if it has one.
test_mark() { sed -n "1,10s/^# $1: //p" "$2"; }

program_file() {
	local file

	for file in "$root/test/$1/$2"{,.sh,.py}; do
		if [ -f "$file" ]; then
			printf '%s\n' "$file"
			return
		fi
	done
}

# programs_run SUITE: each program with a directory of its own.
programs_run() {
	local suite=$1 out=$work/$1 name file slow="" alone=() others=()

	for name in $(tests_wanted "$suite"); do
		mkdir -p "$out/$name"
		file=$(program_file "$suite" "$name")
		if [ -n "$(test_mark alone "$file")" ]; then
			alone+=("$name")
		else
			others+=("$name")
			slow+="$(test_mark slow "$file") $name"$'\n'
		fi
	done
	slow=$(grep '^[0-9]' <<<"$slow" | sort -rn | sed 's/.* //') || true
	pool_run "$programs" program_one program_report "$slow" "${others[@]}"
	pool_run 1 program_one program_report "" "${alone[@]}"
}

program_one() {
	local begin=$SECONDS status command

	command=("$(program_file "$suite" "$1")")
	[ "$suite" != chaos ] || command=("$python" "${command[@]}" --short)
	PYTHONUNBUFFERED=1 TMPDIR=$temporary TEST_TMP=$out/$1 run_limited "$out/$1.log" "${command[@]}"
	echo "$status $((SECONDS - begin))" >"$out/$1.status"
}

program_report() {
	local status seconds

	read -r status seconds <"$out/$1.status"
	tap_count "$suite/$1" "$status" "$out/$1.log"
	if [ $verbose = yes ]; then
		printf '%7d s %s\n' "$seconds" "$suite/$1"
	fi
}

# The invariants of each database that a suite has used.
suite_invariants() {
	local database invariant ok detail rows

	for database in regress isolation pgtap; do
		if ! rows=$(sql -d $database -F $'\t' -c "SELECT * FROM usher.check()" 2>"$work/check.log"); then
			failed "invariants/$database" "usher.check() failed" "$work/check.log"
			continue
		fi
		[ -n "$rows" ] || failed "invariants/$database" "usher.check() returned nothing"
		while IFS=$'\t' read -r invariant ok detail; do
			case $ok in
				t) passed "invariants/$database: $invariant" ;;
				*) failed "invariants/$database: $invariant" "$detail" ;;
			esac
		done <<<"$rows"
	done
}

# suite_run SUITE: runs it, if it is wanted and exists, and prints its sum.
suite_run() {
	local suite=$1 passed_before=$passed_count failed_before=$failed_count begin=$SECONDS dir

	dir=$(suite_directory "$suite")
	if [ "$suite" != invariants ]; then
		[ -d "$root/$dir" ] || return 0
		if [ -z "$(suite_tests "$suite")" ] && wanted "$suite"; then
			failed "$suite" "there is no test in $dir"
			return 0
		fi
		[ -n "$(tests_wanted "$suite")" ] || return 0
	fi
	suite_count=0
	"suite_$suite"
	[ $suite_count -gt 0 ] || failed "$suite" "no test has run"
	printf '%-12s %4d passed, %d failed, %d s\n' "$suite" $((passed_count - passed_before)) \
		$((failed_count - failed_before)) $((SECONDS - begin))
}
