#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# docs/format.md says what the *_format.h headers say: each table row that begins with a number and
# names a constant or a field in `backticks` becomes a static assertion; offsets and sizes of a table
# leave no gap; each constant of the headers that is an offset or a value on disk is in the document.
set -u
faults=0
headers="engine/page/page_format.h engine/records/records_format.h rfl/rfl_format.h"

# Constants that are not bytes on disk.
absent='RECORD_ITEM_HEAD_MAX|DICT_ROW_BYTES_MAX|DICT_COLLECTION_BYTES|PAGE_ID_MAX|RFL_DURABLE_UNKNOWN'
absent="$absent|RFL_ALIGN_.*|RFL__.*|KEYCODE_.*BYTES.*|KEYCODE_BASE_.*|KEYCODE_DOUBLE_NAN|.*_SUFFIX|.*_H"
absent="$absent|RFL_MAGIC|HEADER_MAGIC|DICT_COLLECTION|RECORDS_NAME_BYTE"

# assertions DOCUMENT -- a C program of static assertions
assertions() {
    for header in $headers; do echo "#include \"$header\""; done
    awk -F '|' '
        function trim(s) { gsub(/^ +| +$/, "", s); return s }
        /^\|/ {
            number = trim($2); name = ""
            if (number !~ /^-?[0-9]+$/) next
            for (i = 3; i <= 4 && name == ""; i++)
                if (trim($i) ~ /^`[A-Za-z0-9_.]+`$/) { name = trim($i); at = i }
            gsub(/`/, "", name)
            if (name == "" || name !~ /_/) next
            size = at == 4 ? trim($3) : ""
            if (split(name, part, ".") == 2) {
                printf "static_assert(offsetof(struct %s, %s) == %s, \"%s\");\n", part[1], part[2], number, name
                printf "static_assert(sizeof(((struct %s *)0)->%s) == %s, \"%s\");\n", part[1], part[2], size, name
            } else
                printf "static_assert((long long)%s == %sLL, \"%s\");\n", name, number, name
        }' "$1"
    echo 'int main(void) { return 0; }'
}

# gaps DOCUMENT -- rows of offset tables that do not begin where the row before ends
gaps() {
    awk -F '|' '
        function trim(s) { gsub(/^ +| +$/, "", s); return s }
        !/^\|/ { inside = 0; next }
        trim($2) == "offset" { inside = 1; expected = 0; next }
        inside && trim($2) ~ /^[0-9]+$/ {
            if (trim($2) != expected) print "line " NR ": offset " trim($2) ", not " expected
            expected = trim($2) + trim($3)
        }' "$1"
}

# constants -- names that the headers define
constants() {
    for header in $headers; do
        # Comments away, then enumerators and #define with a value.
        sed -e ':a' -e 's|/\*[^*]*\*/||g' "$KILN_SRC/$header" | awk '
            /^\/\*/ { comment = 1 }
            comment { if (/\*\//) comment = 0; next }
            /^#define [A-Z][A-Z0-9_]* [^ ]/ { print $2; next }
            /^ *[A-Z][A-Z0-9_]* = / || /^enum .*\{/ {
                line = $0
                while (match(line, /[A-Z][A-Z0-9_]+ = /)) {
                    print substr(line, RSTART, RLENGTH - 3)
                    line = substr(line, RSTART + RLENGTH)
                }
            }'
    done | sort -u | grep -v -x -E "$absent"
}

# check DOCUMENT
check() {
    local bad=0 name
    assertions "$1" >document.c
    [ "$(grep -c '^static_assert' document.c)" -ge 100 ] || { echo "few assertions: is the document whole?"; bad=1; }
    "${KILN_CC:-gcc}" -std=c11 -fsyntax-only -I"$KILN_SRC" -I"$KILN_SRC/include" document.c 2>compile.txt ||
        { grep error compile.txt | head; bad=1; }
    gaps "$1" | grep . && bad=1
    for name in $(constants); do
        grep -q "\`$name\`" "$1" || { echo "$name is not in the document"; bad=1; }
    done
    return $bad
}

document=$KILN_SRC/docs/format.md
[ "$(constants | wc -l)" -ge 80 ] || { echo "few constants found in the headers"; faults=1; }
check "$document" || faults=1

# Canaries: each kind of error is noticed.
canary() {
    sed "$1" "$document" >changed.md
    check changed.md >said.txt && { echo "canary: $1 goes unnoticed"; faults=1; }
}
canary 's/^| 48 | 8 | `HEADER_LSN`/| 56 | 8 | `HEADER_LSN`/'
canary 's/^| 8 | 8 | `dict_header_row.version`/| 8 | 4 | `dict_header_row.version`/'
canary 's/^| 7 | `OP_RELEASE`/| 17 | `OP_RELEASE`/'
canary '/`PAGE_GARBAGE_BYTES`/d'
canary '/`RFL_FLAG_CLOSE`/d'

exit $faults
