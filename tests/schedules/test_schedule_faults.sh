#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Faults that are put back are found by their worlds; and a fault that no world finds is noticed.
# One of each world; with KILN_SCHEDULE_SECONDS (make schedules) all of them.
set -u
[ -z "${KILN_SANITIZE:-}" ] || { echo "one thread of the operating system: nothing for a sanitizer"; exit 0; }
faults=0
bash "$KILN_SRC/tests/schedules/build_worlds.sh" >/dev/null || exit 1
export KILN_BUILD=$KILN_BUILD/sched KILN_JOBS=${KILN_TEST_JOBS:-2}

patches=() seen=' '
for patch in "$KILN_SRC"/tests/schedules/faults/*.patch; do
    world=$(sed -n 's/^World: //p' "$patch")
    [[ ${KILN_SCHEDULE_SECONDS:-0} -eq 0 && $seen == *" $world "* ]] && continue
    seen+="$world "
    patches+=("$patch")
done
bash "$KILN_SRC/tests/schedules/run_faults.sh" "${patches[@]}" || faults=1

# Canary: a patch that changes nothing.
cat >nothing.patch <<'END'
Fault: none.
World: window
Within: 20

--- a/tests/schedules/README.md
+++ b/tests/schedules/README.md
@@ -1,1 +1,1 @@
-# schedules: threads whose order a seed decides
+# schedules: threads whose order no seed decides
END
if bash "$KILN_SRC/tests/schedules/run_faults.sh" nothing.patch >said.txt 2>&1 || ! grep -q '^MISSED' said.txt; then
    echo "canary: a fault that is not there is found"
    cat said.txt
    faults=1
fi
exit $faults
