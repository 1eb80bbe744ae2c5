#!/bin/bash
# tests/tidy/demo.sh BUILD ARGUMENT... -- run gigatest on a database in a temporary directory.
# On a terminal gigatest shows its screen, elsewhere lines (--plain).  KILN_DEMO_DIR keeps the
# database in a directory of your choice.
set -u
build=$1
shift
if [ ! -x "$build/bin/gigatest" ]; then
    echo "demo: $build/bin/gigatest has not been built (is gigatest/ there?)" >&2
    exit 1
fi
if [ -n "${KILN_DEMO_DIR:-}" ]; then
    dir=$KILN_DEMO_DIR
    mkdir -p "$dir" || exit 1
else
    mkdir -p "$build/tmp" || exit 1
    dir=$(mktemp -d "$build/tmp/demo.XXXXXX") || exit 1
    trap 'rm -rf "$dir"' EXIT
    trap 'exit 130' INT TERM
fi
plain=--plain
[ -t 1 ] && [ -t 0 ] && plain=
"$build/bin/gigatest" "$@" ${plain:+"$plain"} --db "$dir/db"
