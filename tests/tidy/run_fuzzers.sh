#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# tests/tidy/run_fuzzers.sh FUZZER... -- run each libFuzzer program for FUZZ_SECONDS seconds.
# Starts from tests/fuzz/corpus/<name>; inputs that reach new code go to $KILN_BUILD/corpus/<name>,
# an input that fails is left in $KILN_BUILD/findings/ and named.  Exit code 0: no finding.
set -u
source_dir=$(cd "$(dirname "$0")/../.." && pwd)
build=${KILN_BUILD:?}
seconds=${FUZZ_SECONDS:-30}
bad=0
[ $# -gt 0 ] || { echo "there is no fuzz target below tests/fuzz" >&2; exit 1; }
mkdir -p "$build/findings"
for fuzzer in "$@"; do
    name=$(basename "$fuzzer")
    name=${name#fuzz_}
    mkdir -p "$build/corpus/$name"
    folders=("$build/corpus/$name")
    [ -d "$source_dir/tests/fuzz/corpus/$name" ] && folders+=("$source_dir/tests/fuzz/corpus/$name")
    if "$fuzzer" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=4096 -max_len=131072 \
        -artifact_prefix="$build/findings/$name-" -print_final_stats=1 "${folders[@]}" \
        >"$build/findings/$name.log" 2>&1; then
        runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$build/findings/$name.log")
        echo "ok    $name: $runs inputs in $seconds s"
    else
        tail -n 40 "$build/findings/$name.log"
        echo "FAIL  $name: input in $build/findings/, log $build/findings/$name.log"
        bad=$((bad + 1))
    fi
done
[ "$bad" -eq 0 ]
