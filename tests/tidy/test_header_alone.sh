#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# include/kiln.h stands alone: C11 and C++, all warnings, included twice; and the check can fail.
set -u
faults=0
header=$KILN_SRC/include/kiln.h
[ -f "$header" ] || { echo "include/kiln.h is not there"; exit 1; }

# accepted DIR -- does kiln.h of DIR compile in every language?
accepted() {
    local ok=0
    printf '#include <kiln.h>\n#include <kiln.h>\nint main(void) { return 0; }\n' >user.c
    cp user.c user.cc
    "${KILN_CC:-gcc}" -std=c11 -pedantic -Wall -Wextra -Wshadow -Wstrict-prototypes -Werror -I"$1" \
        -fsyntax-only user.c || ok=1
    for standard in c++11 c++17; do
        "${KILN_CXX:-g++}" -std=$standard -pedantic -Wall -Wextra -Werror -I"$1" -fsyntax-only user.cc || ok=1
    done
    return $ok
}

accepted "$KILN_SRC/include" || faults=1

# Canary: faults of C, of C++, and a missing guard.
mkdir -p bad
for text in 'int kiln_a();' 'int kiln_a(int class);' 'typedef int kiln_t[0];' 'struct kiln_s { int a; };'; do
    echo "$text" >bad/kiln.h
    if accepted bad 2>/dev/null; then
        echo "canary: '$text' passes"
        faults=1
    fi
done
exit $faults
