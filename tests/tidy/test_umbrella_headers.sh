#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# No header stands for others; and the check can fail.
set -u
check=$KILN_SRC/tests/tidy/umbrella_headers.sh
faults=0

for folder in ftk cache rfl engine; do
    (cd "$KILN_SRC" && bash "$check" "$folder") || { echo "umbrella headers, see above"; faults=1; }
done

canary() { # WANTED
    local said=good
    bash "$check" engine >said.txt || said=bad
    [ $said = "$1" ] || { echo "canary: must be $1, the check said $said"; faults=1; }
}
mkdir -p engine/a
printf '/* a.h */\n#ifndef A_H\n#define A_H\n#include "b.h"\n/*\n * int a;\n */\n#endif\n' >engine/a/a.h
canary bad
printf '#ifndef A_H\n#define A_H\n#include "b.h"\nint a(void); /* of b */\n#endif\n' >engine/a/a.h
canary good
for i in 1 2 3 4 5 6; do echo 'int x;' >engine/a/x$i.c; done
for i in 1 2 3; do echo '#include "engine/a/a.h"' >>engine/a/x$i.c; done
canary good
echo '#include "engine/a/a.h"' >>engine/a/x4.c
canary bad
exit $faults
