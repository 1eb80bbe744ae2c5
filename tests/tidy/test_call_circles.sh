#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# No circle of calls crosses a room of engine/, nor a folder of the library; and the check can fail.
set -u
check=$KILN_SRC/tests/tidy/call_circles.sh
faults=0
cc=${KILN_CC:-gcc}

# circles OBJECTS -- the check's words; nothing: no circle
circles() {
    sh "$check" "$1"
}

said=$(circles "$KILN_BUILD/obj/engine")
[ -z "$said" ] || { echo "circles among the rooms of engine/:"; echo "$said"; faults=1; }
mkdir -p folders/{ftk,cache,rfl,engine}
for folder in ftk cache rfl; do
    ln -s "$KILN_BUILD/obj/$folder"/*.o folders/$folder/
done
ln -s "$KILN_BUILD"/obj/engine/*/*.o folders/engine/
said=$(circles folders)
[ -z "$said" ] || { echo "circles among the folders of the library:"; echo "$said"; faults=1; }

# canary WANTED -- what the check must say (good, bad) of the three rooms that stand below tree/
canary() {
    local said=good
    [ -z "$(circles tree)" ] || said=bad
    [ $said = "$1" ] || { echo "canary: the check said $said, wanted $1: $2"; faults=1; }
}
mkdir -p tree/{low,middle,high}
compile() { # ROOM TEXT
    printf '%s\n' "$2" >text.c && "$cc" -c -o "tree/$1/x.o" text.c || faults=1
}
compile low 'extern int (*const door)(void); int low(void) { return door(); }'
compile middle 'int low(void); int middle(void); int middle(void) { return low(); }'
compile high 'int middle(void); static int high(void) { return middle(); } int (*const door)(void) = high;'
canary good "a table of functions is no call"
compile low 'int high(void); int low(void); int low(void) { return high(); }'
compile high 'int middle(void); int high(void); int high(void) { return middle(); }'
canary bad "low, high, middle, low is a circle"

exit $faults
