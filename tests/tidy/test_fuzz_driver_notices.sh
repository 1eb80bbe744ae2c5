#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Canary of tests/fuzz/driver.c: a target that fails on some input is caught, the line it prints
# replays that very input, the corpus is read, and a sound target passes.
set -u
faults=0
cc=${KILN_CC:-gcc}

cat >fuzz_faulty.c <<'END'
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > 1 && data[0] == FIRST && data[1] == 0x7f)
        abort();
    return 0;
}
END
"$cc" -std=c11 -D_GNU_SOURCE -O2 -DFIRST=0x66 -o fuzz_faulty fuzz_faulty.c "$KILN_SRC/tests/fuzz/driver.c" &&
    "$cc" -std=c11 -D_GNU_SOURCE -O2 -DFIRST=256 -o fuzz_sound fuzz_faulty.c "$KILN_SRC/tests/fuzz/driver.c" ||
    exit 1
ulimit -c 0

mkdir -p tree/tests/fuzz/corpus/{faulty,sound}
printf 'f text' >tree/tests/fuzz/corpus/faulty/a
printf 'g text' >tree/tests/fuzz/corpus/sound/a
export KILN_SRC=$PWD/tree
KILN_SEED=1 ./fuzz_sound >said.txt 2>&1 || { echo "a sound target fails"; cat said.txt; faults=1; }
grep -q '^1 inputs as they are' said.txt || { echo "the corpus was not read"; faults=1; }
grep -q '^20000 mutated inputs' said.txt || { echo "too few mutated inputs"; cat said.txt; faults=1; }

KILN_SEED=1 ./fuzz_faulty >said.txt 2>&1 && { echo "a fault passes unnoticed"; faults=1; }
replay=$(sed -n 's/^replay: //p' said.txt)
[ -n "$replay" ] || { echo "no replay line"; cat said.txt; faults=1; }
(eval "${replay/fuzz_faulty/.\/fuzz_faulty}") >again.txt 2>&1 && { echo "does not replay: $replay"; faults=1; }
grep -qF "$replay" again.txt || { echo "another input failed on replay"; cat again.txt; faults=1; }

printf 'f\177' >tree/tests/fuzz/corpus/faulty/b
./fuzz_faulty >said.txt 2>&1 && { echo "a failing corpus file passes"; faults=1; }
grep -q '^replay: .*corpus/faulty/b' said.txt || { echo "the corpus file is not named"; faults=1; }
exit $faults
