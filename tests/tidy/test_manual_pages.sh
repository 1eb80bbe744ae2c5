#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# kiln.3 has each function of kiln.h with its very arguments, and each status; kiln.1 has each option
# of the kiln command; the pages are free of errors where mandoc or groff is there to tell.
set -u
faults=0
fault() {
    echo "FAULT: $*"
    faults=1
}
man=$KILN_SRC/docs/man

# of_header FILE -- "type name(arguments)", one a line, sorted
of_header() {
    sed 's|/\*[^*]*\*/||g' "$1" | awk '
        /^KILN_API/ && /\(/ { on = 1; text = "" }
        on { sub(/^KILN_API /, ""); text = text " " $0; if (/;[ ]*(\/\*.*)?$/) { on = 0; print text } }' |
        sed -e 's/;.*//' -e 's/[[:space:]]\{1,\}/ /g' -e 's/^ //' -e 's/ \*\(kiln_[a-z_]*(\)/ * \1/' | sort
}

# of_page FILE -- the same
of_page() {
    awk '
        /^\.Vt / { type = substr($0, 5) }
        /^\.Fo / { text = type " " $2 "("; comma = ""; on = 1; next }
        on && /^\.Fa / { sub(/^\.Fa /, ""); gsub(/^"|"$/, ""); text = text comma $0; comma = ", " }
        /^\.Fc/ { print text ")"; on = 0 }' "$1" | sort
}

of_header "$KILN_SRC/include/kiln.h" >header.txt
of_page "$man/kiln.3" >page.txt
[ "$(wc -l <header.txt)" -ge 80 ] || fault "few functions were found in kiln.h"
diff header.txt page.txt || fault "kiln.h (<) and kiln.3 (>) differ"
sed 's/const char \*path/char *path/' "$man/kiln.3" >changed.3
of_page changed.3 | cmp -s header.txt - && fault "canary: a changed argument goes unnoticed"

awk '/^typedef enum kiln_status/ { on = 1 } /^}/ { on = 0 } on && / = / { print $1 }' \
    "$KILN_SRC/include/kiln.h" >statuses.txt
awk '/^\.Sh RETURN VALUES/ { on = 1 } /^\.El/ { on = 0 } on && /^\.It Dv/ { print $3 }' "$man/kiln.3" |
    diff statuses.txt - || fault "statuses of kiln.h (<) and of kiln.3 (>) differ"

if [ -x "$KILN_BUILD/bin/kiln" ]; then
    "$KILN_BUILD/bin/kiln" help | grep -o -e '--[a-z-]*' | sort -u >options.txt
    sed -n 's/^\.It Fl -\([a-z-]*\).*/--\1/p' "$man/kiln.1" | sort -u | diff options.txt - ||
        fault "options of kiln help (<) and of kiln.1 (>) differ"
fi

for page in kiln.1 kiln.3 kiln_format.5; do
    if command -v mandoc >/dev/null 2>&1; then
        mandoc -Tlint -Wstyle "$man/$page" | grep -v 'referenced manual not found' && fault "mandoc: $page"
    fi
    if command -v groff >/dev/null 2>&1; then
        groff -mandoc -Tutf8 -ww "$man/$page" 2>&1 >/dev/null | grep . && fault "groff: $page"
    fi
done

exit $faults
