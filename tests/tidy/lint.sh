#!/bin/bash
# tests/tidy/lint.sh BUILD CPPFLAG... -- format check, clang-tidy, cppcheck, gcc's and clang's own
# checks.  Exit code 0: nothing found.  Files below tests/ are held to the format and to warnings.
set -u
build=$1
shift
shopt -s nullglob
code=({ftk,cache,rfl,engine,replication,utils,gigatest}/*.c)
every=({ftk,cache,rfl,engine,replication,utils,gigatest,include,examples}/*.[ch]
    tests/{unit,crash,sim,fuzz,support,cluster}/*.[ch])
[ ${#code[@]} -gt 0 ] || { echo "lint: there is no source file yet" >&2; exit 1; }
mkdir -p "$build"
bad=0

echo "lint: clang-format on ${#every[@]} files"
clang-format --style=file --dry-run -Werror "${every[@]}" || bad=1

echo "lint: clang-tidy on ${#code[@]} files"
checks='-*,bugprone-*,clang-analyzer-*,concurrency-*,performance-*,misc-redundant-expression,misc-misplaced-const'
checks+=',-bugprone-easily-swappable-parameters,-bugprone-reserved-identifier,-bugprone-narrowing-conversions'
checks+=',-bugprone-assignment-in-if-condition,-bugprone-branch-clone,-concurrency-mt-unsafe'
checks+=',-clang-analyzer-security.insecureAPI.DeprecatedOrUnsafeBufferHandling,-performance-no-int-to-ptr'
printf '%s\0' "${code[@]}" | xargs -0 -n 4 -P 2 sh -c '
    checks=$1; flags=$2; shift 2
    exec clang-tidy --quiet --warnings-as-errors="*" --checks="$checks" "$@" -- -std=c11 $flags' \
    lint "$checks" "$*" >"$build/lint.txt" 2>&1 || bad=1
grep -v -E '^[0-9]+ warnings? (generated|treated)|^Suppressed |^Use -header-filter' "$build/lint.txt"

echo "lint: cppcheck"
cppcheck --quiet --std=c11 --enable=warning,performance,portability --inline-suppr -j 2 \
    --error-exitcode=1 --suppress=missingIncludeSystem --suppress=unknownMacro \
    -I. -Iinclude "${code[@]}" || bad=1

[ "$bad" -eq 0 ] && echo "lint: nothing found"
exit "$bad"
