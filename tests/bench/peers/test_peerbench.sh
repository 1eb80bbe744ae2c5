#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The comparison program builds with whatever peers are installed, its tools are right, and every
# workload runs and verifies on few records.  Peers beyond kiln are not needed, nor tried.
set -eu

: "${KILN_BUILD:?the build directory}"
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
build=$PWD/build
mkdir -p "$build/lib"
cp "$KILN_BUILD/lib/libkiln.a" "$build/lib/"
make -C "$here" BUILD="$build" \
    CC="${KILN_CC:-gcc}" SANITIZE="${KILN_SANITIZE:-}" WERROR=1 OPT=-O1 >make.out 2>&1 || { cat make.out; exit 1; }

"$build/bin/peerbench" --selftest
"$build/bin/peerbench" --engines kiln --n 5k --big-n 5k --big-cache 32M --recovery-n 5k \
    --ckpt-bytes 1M --file-n 2k --file-updates 4k --cache 64M --seconds 1 --rounds 1 \
    --max-seconds 60 --disk-max 2G --dir "$PWD" --json out.json --html out.html \
    --workloads raw_sync_1t,seq,rand,get,scan,cold,commit,mixed,latency,recovery,filesize,bigload

grep -q '"kiln"' out.json
grep -q '</html>' out.html
left=$(find . -maxdepth 1 -name 'peerbench.*' | wc -l)
[ "$left" -eq 0 ] || { echo "stores were left behind"; exit 1; }
! "$build/bin/peerbench" --engines nosuch 2>/dev/null || { echo "an unknown engine passed"; exit 1; }
! "$build/bin/peerbench" --workloads nosuch 2>/dev/null || { echo "an unknown workload passed"; exit 1; }
