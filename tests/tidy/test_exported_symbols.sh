#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The library shows only kiln_*, prints nothing and ends no process; and the check can fail.
#
# One object of ftk, the one that holds the assertion, may write to stderr and abort.
set -u
faults=0
assert_object=none
cc=${KILN_CC:-gcc}

# foreign_names SHARED -- names that a shared library defines and kiln does not own
foreign_names() {
    nm -D --defined-only "$1" | awk '$2 != "A" && $3 !~ /^kiln_/ { print $3 }'
}

# loud_names OBJECT -- what in an object prints or ends the process
loud_names() {
    nm --undefined-only "$1" | awk '{ print $2 }' | sed 's/@.*//' | grep -x -E \
        '_*(v?f?printf|v?dprintf)(_chk)?|puts|putchar|fputs|fputc|putc|_IO_putc|fwrite|perror|psignal|stdout|stderr|exit|_exit|_Exit|quick_exit|abort|__assert_fail|err|errx|warn|warnx|syslog'
}

object_of() {
    echo "$KILN_BUILD/obj/${1%.c}.o"
}

cd "$KILN_SRC" || exit 1
sources=$(ls ftk/*.c cache/*.c rfl/*.c engine/*/*.c replication/*.c 2>/dev/null | grep -v -e '^replication/kilnd' -e '^ftk/schedule')
cd - >/dev/null || exit 1

if [ -n "$sources" ]; then
    shared=$KILN_BUILD/lib/libkiln.so
    [ -f "$shared" ] || { echo "$shared is not there"; exit 1; }
    for name in $(foreign_names "$shared"); do
        echo "libkiln.so shows $name"
        faults=1
    done
    # A sanitizer's own calls are not ours; KILN_SANITIZE builds check the names above only.
    if [ -z "${KILN_SANITIZE:-}" ]; then
        for name in $(nm --defined-only --extern-only "$KILN_BUILD/lib/libkiln.a" | awk 'NF == 3 { print $3 }'); do
            case $name in
            kiln_*) ;;
            *) echo "libkiln.a shows $name"; faults=1 ;;
            esac
        done
    fi
    # assert_object: the one object of ftk that calls abort.
    for source in $sources; do
        object=$(object_of "$source")
        [ -f "$object" ] || { echo "$source has not been compiled"; faults=1; continue; }
        loud=$(loud_names "$object")
        [ -n "$loud" ] || continue
        if [ "$assert_object" = none ] && [[ $source == ftk/* ]] && grep -qx abort <<<"$loud" &&
            ! grep -qxE 'stdout|puts|putchar|printf|_*exit|_Exit|quick_exit' <<<"$loud"; then
            assert_object=$source
            continue
        fi
        echo "$source uses" $loud
        faults=1
    done
fi

# Canary.
printf '%s\n' '#include <stdio.h>' '#include <stdlib.h>' 'int ftk_leak(void);' 'int kiln_good(void);' \
    'int ftk_leak(void) { printf("%d\n", rand()); fprintf(stderr, "x %d", rand()); puts("a"); exit(1); }' \
    'int kiln_good(void) { return 1; }' >leak.c
"$cc" -O2 -fPIC -c leak.c -o leak.o && "$cc" -shared -o leak.so leak.o || faults=1
[ "$(foreign_names leak.so)" = ftk_leak ] || { echo "canary: a foreign name is not noticed"; faults=1; }
for name in printf stderr exit; do
    loud_names leak.o | grep -q "$name" || { echo "canary: $name is not noticed"; faults=1; }
done
printf '%s\n' '#include <stdio.h>' 'int f(char *a, int b);' \
    'int f(char *a, int b) { return snprintf(a, 9, "%d", b); }' >quiet.c
"$cc" -O2 -c quiet.c -o quiet.o || faults=1
[ -z "$(loud_names quiet.o)" ] || { echo "canary: snprintf is taken for printing"; faults=1; }

exit $faults
