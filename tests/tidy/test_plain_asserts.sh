#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# No assertion does anything beside looking; and the check can fail.
set -u
check=$KILN_SRC/tests/tidy/plain_asserts.sh
faults=0

(cd "$KILN_SRC" && sh tests/tidy/plain_asserts.sh ftk cache rfl engine utils gigatest) ||
    { echo "assertions that do something, see above: do it first, assert what came of it"; faults=1; }

. "$KILN_SRC/tests/tidy/line_canary.sh"
canary bad '    FTK_ASSERT(atomic_fetch_add(&x->references, 1) > 0);'
canary bad '    FTK_ASSERT(!atomic_exchange(&x->open, true));'
canary bad '    FTK_ASSERT(count++ < room);'
canary bad '    FTK_ASSERT(--x->depth > 0);'
canary bad '    FTK_ASSERT((rc = look()) == FTK_OK);'
canary bad '    FTK_ASSERT(total == first &&\\n               (sum += last) > 0);'
canary bad '    FTK_DEBUG_ASSERT(window_move(window, FROM, TO));'
canary bad '    FTK_ASSERT(node_insert(node, 0, key, size, &value, scratch));'
canary bad '    FTK_DEBUG_ASSERT_SOUND(batch_add(batch, key));'
canary good '    FTK_DEBUG_ASSERT_SOUND(space_check(space));'
canary good '    FTK_ASSERT(atomic_load(&x->references) > 0);'
canary good '    FTK_ASSERT(first <= last && last >= 1 && first != 0); /* last++ comes later */'
canary good '    FTK_ASSERT(strcmp(name, "a = b++") == 0);'
canary good '    FTK_ASSERT(tree->height == 0 || trees_find(txn, tree->id) == tree);'
canary good '    FTK_DEBUG_ASSERT((dict_check(dict), true));'
canary good '    count++;'
exit $faults
