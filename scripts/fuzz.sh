# scripts/fuzz.sh: ./dev fuzz, and the suite of the same name.
#
# A target is a file of test/fuzz with LLVMFuzzerTestOneInput. It runs under
# libFuzzer where clang has it, else under test/fuzz/driver.c with gcc; both with
# the address and undefined-behaviour sanitizers. A target that needs more sources
# than extension/lib and gateway/lib names them in a line "fuzz sources: PATH ...".
# shellcheck shell=bash

fuzz_suite_seconds=5
fuzz_flags="-std=gnu11 -D_GNU_SOURCE -O1 -g -Wall -Wextra -Werror -fno-omit-frame-pointer"

fuzz_has_libfuzzer() {
	command -v clang-14 >/dev/null &&
		[ -e "$(clang-14 -print-resource-dir)/lib/linux/libclang_rt.fuzzer-$(uname -m).a" ]
}

# fuzz_library DIRECTORY: libpure.a for the targets.
fuzz_library() {
	# shellcheck disable=SC2086
	if fuzz_has_libfuzzer; then
		pure_library "$1" clang-14 $fuzz_flags -fsanitize=fuzzer-no-link,address,undefined \
			-fno-sanitize-recover=all
	else
		pure_library "$1" gcc $fuzz_flags -fsanitize=address,undefined -fno-sanitize-recover=all
	fi
}

# fuzz_build TARGET PROGRAM LIBRARY: says what it says when it fails.
fuzz_build() {
	local target=$root/test/fuzz/$1.c program=$2 library=$3/libpure.a sources

	sources=$(test_sources fuzz "$target")
	# shellcheck disable=SC2086
	if fuzz_has_libfuzzer; then
		clang-14 $fuzz_flags -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all \
			$pure_includes -I"$root/bgworkers" -I"$("$pg_config" --includedir)" -o "$program" "$target" \
			"$library" $sources "$library" -lm
	else
		gcc $fuzz_flags -fsanitize=address,undefined -fno-sanitize-recover=all \
			$pure_includes -I"$root/bgworkers" -I"$("$pg_config" --includedir)" -o "$program" "$target" \
			"$root/test/fuzz/driver.c" "$library" $sources "$library" -lm
	fi
}

# fuzz_run PROGRAM SECONDS SEED: what it found stays in its working directory.
fuzz_run() {
	USHER_FUZZ_INPUT=crash-input "$1" "-max_total_time=$2" "-seed=$3" -max_len=1024 -timeout=10 \
		-print_final_stats=1 -verbosity=0
}

# The number of inputs that a run's output tells of.
fuzz_count() { sed -n 's/^stat::number_of_executed_units: *//p' "$1" | tail -n 1; }

# ./dev fuzz [SECONDS [TARGET ...]]: each target for so long, from a seed of the clock.
fuzz_main() {
	local seconds=${1:-60} target targets dir=$cache/fuzz status=0 seed

	[[ $seconds =~ ^[1-9][0-9]*$ ]] || fail "fuzz takes a number of seconds, and targets"
	[ $# -eq 0 ] || shift
	# shellcheck disable=SC2086
	packages_need $packages_fuzz
	seed=$(date +%s)
	targets=("$@")
	[ $# -gt 0 ] || mapfile -t targets < <(suite_tests fuzz)
	mkdir -p "$dir"
	fuzz_library "$dir/.library" || fail "the libraries do not compile"
	for target in "${targets[@]}"; do
		[ -e "$root/test/fuzz/$target.c" ] || fail "there is no target \"$target\""
		mkdir -p "$dir/$target"
		fuzz_build "$target" "$dir/$target/program" "$dir/.library" || fail "$target does not compile"
		if (cd "$dir/$target" && fuzz_run ./program "$seconds" "$seed" >log 2>&1); then
			say "ok      $target: $(fuzz_count "$dir/$target/log") inputs in $seconds seconds, seed $seed"
		else
			tail -n 40 "$dir/$target/log"
			say "FAILED  $target (seed $seed; the input is in $dir/$target)"
			status=1
		fi
	done
	return $status
}

# In ./dev check: each target for a few seconds.
suite_fuzz() {
	local out=$work/fuzz tests

	mkdir -p "$out"
	if ! fuzz_library "$out/.library" >"$out/library.log" 2>&1; then
		failed "fuzz" "the libraries do not compile" "$out/library.log"
		return 0
	fi
	mapfile -t tests < <(tests_wanted fuzz)
	pool_run "$jobs" fuzz_one fuzz_report "" "${tests[@]}"
}

# fuzz_one TARGET: its output, and how far it came.
fuzz_one() {
	mkdir -p "$out/$1"
	if ! fuzz_build "$1" "$out/$1/program" "$out/.library" >"$out/$1.log" 2>&1; then
		echo compiler >"$out/$1.status"
	elif (cd "$out/$1" && fuzz_run ./program $fuzz_suite_seconds 1 >"$out/$1.log" 2>&1) &&
		[ "$(fuzz_count "$out/$1.log")" -gt 1000 ]; then
		echo fine >"$out/$1.status"
	else
		echo crash >"$out/$1.status"
	fi
}

fuzz_report() {
	case $(cat "$out/$1.status") in
		fine) passed "fuzz/$1: $(fuzz_count "$out/$1.log") inputs" ;;
		compiler) failed "fuzz/$1" "does not compile" "$out/$1.log" ;;
		*) failed "fuzz/$1" "see its output" "$out/$1.log" ;;
	esac
}
