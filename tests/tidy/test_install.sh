#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What `make install` leaves is what a user needs, and `make uninstall` takes all of it away.
set -u
faults=0
[ -f "$KILN_BUILD/lib/libkiln.so" ] || { echo "libkiln.so has not been built"; exit 1; }
stage=$PWD/stage
make_quietly() {
    # -o all: install what is there; another test may be reading it just now.
    make -C "$KILN_SRC" --no-print-directory -o all "$@" BUILD="$KILN_BUILD" DESTDIR="$stage" PREFIX=/usr \
        >make.txt 2>&1 || { cat make.txt; faults=1; }
}

make_quietly install
for file in include/kiln.h lib/libkiln.a lib/libkiln.so lib/pkgconfig/kiln.pc; do
    [ -e "$stage/usr/$file" ] || { echo "$file was not installed"; faults=1; }
done
[ -z "$(find "$stage" -xtype l)" ] || { echo "a link leads nowhere"; faults=1; }
grep -n '@[A-Z]*@' "$stage/usr/lib/pkgconfig/kiln.pc" && faults=1

if [ -z "${KILN_SANITIZE:-}${CFLAGS:-}" ]; then
    cat >user.c <<'END'
#include <kiln.h>
int
main(void)
{
#ifdef KILN_VERSION_MAJOR
    return KILN_VERSION_MAJOR < 0;
#else
    return 1;
#endif
}
END
    flags() {
        PKG_CONFIG_PATH=$stage/usr/lib/pkgconfig PKG_CONFIG_SYSROOT_DIR=$stage pkg-config "$@" kiln
    }
    # shellcheck disable=SC2046 # words on purpose
    "${KILN_CC:-gcc}" -std=c11 -o user user.c $(flags --cflags --libs) &&
        LD_LIBRARY_PATH=$stage/usr/lib ./user || { echo "the shared library cannot be used"; faults=1; }
    rm -f "$stage"/usr/lib/libkiln.so*
    # shellcheck disable=SC2046
    "${KILN_CC:-gcc}" -std=c11 -o user user.c -Wl,--whole-archive "$stage/usr/lib/libkiln.a" \
        -Wl,--no-whole-archive $(flags --cflags --static --libs) && ./user ||
        { echo "the static library cannot be used"; faults=1; }
fi

make_quietly uninstall
left=$(find "$stage" ! -type d)
[ -z "$left" ] || { echo "uninstall leaves $left"; faults=1; }
exit $faults
