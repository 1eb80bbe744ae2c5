#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# tests/tidy/demo.sh BUILD NAME COUNT ARGUMENT... -- load COUNT records with gigatest, and say what to
# try next.
#
# The database is BUILD/NAME/db, or KILN_DEMO_DIR/db, and stays there; a later run replaces it.  On a
# terminal gigatest shows its screen, elsewhere lines (--plain).
set -u
build=$1
name=$2
count=$3
shift 3
gigatest=$build/bin/gigatest
kiln=$build/bin/kiln
for program in "$gigatest" "$kiln"; do
    if [ ! -x "$program" ]; then
        echo "demo: $program has not been built" >&2
        exit 1
    fi
done
dir=${KILN_DEMO_DIR:-$build/$name}
mkdir -p "$dir" || exit 1
db=$dir/db

cat <<END
$count records (two names, an age, an index on the names) go into a new database, in transactions of
100 that are durable when they return. Then it is opened again, and every record and index entry is
compared with what it must be.

END
plain=--plain
[ -t 1 ] && [ -t 0 ] && plain=
status=0
"$gigatest" "$count" --db "$db" --overwrite ${plain:+"$plain"} --verify "$@" || status=$?

q() {
    printf '%q' "$1"
}
[ -e "$db/data.kdb" ] || exit $status
cat <<END

The database is in $dir ($(du -sh "$dir" | cut -f 1)). To try next:

    $(q "$kiln") check $(q "$db") --progress
    $(q "$kiln") stat $(q "$db")
    $(q "$gigatest") --db $(q "$db") --resume --mixed 100k --verify

and to remove it:

    rm -r $(q "$dir")
END
exit $status
