#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Each source file says its licence in its first two lines; and the check can fail.
set -u
faults=0

# without FOLDER -- source files below it that do not say it
without() {
    find "$1" \( -name '*.c' -o -name '*.h' -o -name '*.cc' -o -name '*.sh' \) -not -path '*/build*/*' \
        -not -path '*/.git/*' | while read -r file; do
        head -n 2 "$file" | grep -q 'SPDX-License-Identifier: Apache-2.0' || echo "$file"
    done
}

said=$(without "$KILN_SRC")
[ -z "$said" ] || { echo "these files do not say their licence:"; echo "$said"; faults=1; }
mkdir -p tree
printf '/* nothing */\n' >tree/a.c
[ "$(without tree)" = tree/a.c ] || { echo "canary: a file without its line is not noticed"; faults=1; }
printf '/* SPDX-License-Identifier: Apache-2.0 */\n' >tree/a.c
[ -z "$(without tree)" ] || { echo "canary: a good file is refused"; faults=1; }
exit $faults
