#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Library and programs speak one dialect; and the check can fail.
set -u
check=$KILN_SRC/tests/tidy/dialect.sh
faults=0

(cd "$KILN_SRC" && sh tests/tidy/dialect.sh ftk cache rfl engine gigatest utils) ||
    { echo "another dialect, see above"; faults=1; }

. "$KILN_SRC/tests/tidy/line_canary.sh"
canary bad '    memset(&none, 0, sizeof none);'
canary bad '    rc = ftk_alloc(count * sizeof *list, &list);'
canary bad '    uint32_t count, room;'
canary bad '    size_t keys_bytes, keys_room;'
canary good '    memset(&none, 0, sizeof(none));'
canary good '    uint32_t count, capacity;'
canary good '    uint64_t room = segment->lsn_end - buffer->lsn_end; /* sizeof x */'
canary good '    puts("sizeof x");'
exit $faults
