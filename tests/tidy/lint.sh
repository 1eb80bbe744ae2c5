#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# tests/tidy/lint.sh BUILD CPPFLAG... -- format check, clang-tidy, cppcheck, gcc's and clang's own
# checks.  Exit code 0: nothing found.  Files below tests/ are held to the format and to warnings.
set -u
build=$1
shift
shopt -s nullglob
code=({ftk,cache,rfl,engine/*,replication,utils,gigatest}/*.c)
every=({ftk,cache,rfl,replication,utils,gigatest,include,examples,engine/*}/*.[ch]
    tests/{unit,crash,crash/native,sim,fuzz,schedules,support,cluster}/*.[ch])
[ ${#code[@]} -gt 0 ] || { echo "lint: there is no source file yet" >&2; exit 1; }
mkdir -p "$build"
bad=0
jobs=$(nproc 2>/dev/null || echo 2)

echo "lint: clang-format on ${#every[@]} files"
clang-format --style=file --dry-run -Werror "${every[@]}" || bad=1

echo "lint: clang-tidy on ${#code[@]} files"
checks='-*,bugprone-*,clang-analyzer-*,concurrency-*,performance-*,misc-redundant-expression,misc-misplaced-const'
checks+=',-bugprone-easily-swappable-parameters,-bugprone-reserved-identifier,-bugprone-narrowing-conversions'
checks+=',-bugprone-assignment-in-if-condition,-bugprone-branch-clone,-concurrency-mt-unsafe'
checks+=',-clang-analyzer-security.insecureAPI.DeprecatedOrUnsafeBufferHandling,-performance-no-int-to-ptr'
# The padding of our structures is there on purpose: it keeps apart what several processors write.
checks+=',-clang-analyzer-optin.performance.Padding'
# One file per process: with several, the analyser takes a va_list of one file for that of another.
# A file in which nothing was found is looked at again when it, a header or the checks are others.
tidy() {
    local file=$1 stamp=$build/lint/${1//\//_} key
    shift
    key=$({ clang -std=c11 "$@" -E "$file" && clang-tidy --version && echo "$checks"; } | sha256sum)
    [ "$key" = "$(cat "$stamp" 2>/dev/null)" ] && return
    rm -f "$stamp"
    clang-tidy --quiet --warnings-as-errors='*' --checks="$checks" "$file" -- -std=c11 "$@" &&
        echo "$key" >"$stamp"
}
export build checks
export -f tidy
mkdir -p "$build/lint"
printf '%s\0' "${code[@]}" | xargs -0 -P "$jobs" -I '{}' bash -c 'tidy "$@"' lint '{}' "$@" \
    >"$build/lint.txt" 2>&1 || bad=1
grep -v -E '^[0-9]+ warnings? (generated|treated)|^Suppressed |^Use -header-filter' "$build/lint.txt"

# autoVariables: a thread that waits queues a variable of its own stack frame and takes it out before
# it returns.  What outlives a frame is clang-analyzer-core.StackAddressEscape's to find.
echo "lint: cppcheck"
cppcheck --quiet --std=c11 --enable=warning,performance,portability --inline-suppr -j "$jobs" \
    --error-exitcode=1 --suppress=missingIncludeSystem --suppress=unknownMacro \
    --suppress=autoVariables \
    -I. -Iinclude "${code[@]}" || bad=1

[ "$bad" -eq 0 ] && echo "lint: nothing found"
exit "$bad"
