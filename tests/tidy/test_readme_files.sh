#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Each folder of the library has a README that names all its sources and names no file that is not
# there; and the check can fail.
set -u
faults=0

# names README -- files that it names, one a line; `x.[ch]` is two
names() {
    grep -o '`[A-Za-z0-9_./]*\.\(\[ch\]\|c\|h\)`' "$1" | tr -d '`' |
        sed -n -e 's|^\(.*\)\.\[ch\]$|\1.c\n\1.h|p' -e t -e p | sort -u
}

# look ROOT FOLDER -- what is wrong with the folder's README
look() {
    local readme=$1/$2/README.md name source
    [ -f "$readme" ] || { echo "$2 has no README.md"; return; }
    for name in $(names "$readme"); do
        [ -f "$1/$2/$name" ] || [ -f "$1/$name" ] || [ -f "$1/engine/$name" ] ||
            [ -n "$(find "$1" -path "*/$name" -not -path '*/build/*' -print -quit)" ] ||
            echo "$2/README.md names $name, which is not there"
    done
    for source in "$1/$2"/*.c "$1/$2"/*.h; do
        [ -f "$source" ] || continue
        name=$(basename "$source")
        names "$readme" | grep -qx "$name" || echo "$2/README.md does not name $name"
    done
}

folders=$(cd "$KILN_SRC" && ls -d ftk cache rfl engine/*/ | sed 's|/$||')
for folder in $folders; do
    said=$(look "$KILN_SRC" "$folder")
    [ -z "$said" ] || { echo "$said"; faults=1; }
done

mkdir -p tree/a
: >tree/a/one.c
: >tree/a/two.h
printf '`one.c` `two.h`\n' >tree/a/README.md
[ -z "$(look tree a)" ] || { echo "canary: a good README is refused"; faults=1; }
printf '`one.c`\n' >tree/a/README.md
[ -n "$(look tree a)" ] || { echo "canary: a source that is not named is not noticed"; faults=1; }
printf '`one.c` `two.h` `three.c`\n' >tree/a/README.md
[ -n "$(look tree a)" ] || { echo "canary: a name without a file is not noticed"; faults=1; }
exit $faults
