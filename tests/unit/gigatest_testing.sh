# SPDX-License-Identifier: Apache-2.0
# tests/unit/gigatest_testing.sh -- sourced by the tests that run the real gigatest.
# shellcheck shell=bash
set -u
gigatest=$KILN_BUILD/bin/gigatest
faults=0

if [ ! -x "$gigatest" ]; then
    echo "there is no $gigatest: was it built?"
    exit 1
fi

# Under a sanitizer loads are slower: COUNTs are divided by this.
slow=1
[ -n "${KILN_SANITIZE:-}" ] && slow=10

# fault TEXT... -- note a failure and go on
fault() {
    echo "FAULT: $*"
    faults=$((faults + 1))
}

# run STATUS ARGUMENT... -- run gigatest; its exit status must be STATUS; output in out.txt, err.txt
run() {
    local wanted=$1 status=0
    shift
    "$gigatest" "$@" >out.txt 2>err.txt </dev/null || status=$?
    if [ "$status" -ne "$wanted" ]; then
        fault "gigatest $*: exit status $status, not $wanted"
        head -20 out.txt err.txt
        return 1
    fi
}

# says FILE TEXT -- the file must contain the text
says() {
    if ! grep -qF -e "$2" "$1"; then
        fault "$1 does not say \"$2\":"
        head -20 "$1"
    fi
}

# json FILE FIELD -- a top-level number or word of a report
json() {
    sed -n "s/^  \"$2\": \"\{0,1\}\([^,\"]*\)\"\{0,1\},\{0,1\}\$/\1/p" "$1" | head -n 1
}

finish() {
    [ "$faults" -eq 0 ] || exit 1
    exit 0
}
