#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The include edges of the tree are those of tests/tidy/edges.txt; and the check can fail.
set -u
check=$KILN_SRC/tests/tidy/include_edges.sh
edges=$KILN_SRC/tests/tidy/edges.txt
faults=0

if ! sh "$check" "$KILN_SRC" "$edges"; then
    echo "include edges that tests/tidy/edges.txt does not allow, see above"
    faults=1
fi

# canary WANTED FILE LINE -- WANTED is good or bad: what the check must say of FILE with LINE in it
canary() {
    local said=good
    rm -rf tree
    mkdir -p tree/{ftk,rfl,cache,engine/{page,space,txn,tree,db,records,api},replication,utils,gigatest,include,examples,tests/unit}
    : >tree/include/kiln.h
    printf '/* text */\n%s\n' "$3" >"tree/$2"
    sh "$check" tree "$edges" >said.txt || said=bad
    if [ $said != "$1" ] || { [ $said = bad ] && ! grep -q "^$2:2: " said.txt; }; then
        echo "canary: '$3' in $2 must be $1, the check said $said"
        cat said.txt
        faults=1
    fi
}

canary good ftk/a.c '#include "ftk/status.h"'
canary good ftk/a.c '#include <stdio.h>'
canary good ftk/a.c '#include <sys/stat.h>'
canary bad ftk/a.c '#include "rfl/rfl.h"'
canary bad ftk/a.h '#include "include/kiln.h"'
canary bad ftk/a.h '#include <kiln.h>'
canary bad ftk/a.c '#include "kiln.h"'
canary good rfl/a.c '#include "ftk/status.h"'
canary bad rfl/a.c '#  include "cache/cache.h"'
canary bad cache/a.c '#include "rfl/rfl.h"'
canary bad cache/a.c '#include "engine/db/open.h"'
canary bad cache/a.c '#include <engine/db/open.h>'
canary good engine/txn/a.c '#include "cache/cache.h"'
canary good engine/txn/a.c '#include "engine/txn/txn_internal.h"'
canary bad engine/tree/a.c '#include "engine/txn/txn_internal.h"'
canary bad engine/txn/a.c '#include "cache/cache_internal.h"'
canary bad engine/txn/a.c '#include "engine/tree/tree.h"'
canary bad engine/txn/a.c '#include "engine/db/open.h"'
canary bad engine/page/a.c '#include "engine/space/space.h"'
canary bad engine/space/a.c '#include "engine/txn/db_state.h"'
canary bad engine/tree/a.c '#include "engine/db/coll.h"'
canary bad engine/db/a.c '#include "engine/records/dict.h"'
canary good engine/records/a.c '#include "engine/db/extension.h"'
canary bad engine/records/a.c '#include "engine/db/txn.h"'
canary bad engine/records/a.c '#include "engine/txn/txn_state.h"'
canary bad engine/api/a.c '#include "engine/records/dict.h"'
canary bad engine/db/a.c '#include "replication/shard.h"'
canary good replication/a.c '#include "engine/db/extension.h"'
canary bad replication/a.c '#include "engine/tree/tree.h"'
canary bad replication/a.c '#include "cache/cache.h"'
canary good utils/a.c '#include "include/kiln.h"'
canary bad utils/a.c '#include "engine/db/open.h"'
canary bad gigatest/a.c '#include "engine/db/open.h"'
canary bad gigatest/a.c '#include "../engine/db/open.h"'
canary bad examples/a.c '#include "ftk/status.h"'
canary good tests/unit/a.c '#include "engine/txn/txn_internal.h"'
canary bad utils/a.c '#include "helper.h"'

exit $faults
