#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# No error is made without words; and the check can fail.
set -u
check=$KILN_SRC/tests/tidy/plain_errors.sh
faults=0

(cd "$KILN_SRC" && sh tests/tidy/plain_errors.sh ftk cache rfl engine) ||
    { echo "errors without words, see above: use FTK_FAIL or FTK_ANSWER"; faults=1; }

. "$KILN_SRC/tests/tidy/line_canary.sh"
canary bad '    return FTK_NOTFOUND;'
canary bad '    return KILN_NOTFOUND;'
canary bad '    rc = FTK_IO;'
canary bad '    rc = found ? FTK_OK : FTK_STATE;'
canary good '    return FTK_FAIL(FTK_NOTFOUND, "no");'
canary good '    return FTK_ANSWER(FTK_NOTFOUND, "no");'
canary good '    return FTK_OK;'
canary good '    if (rc == FTK_NOTFOUND)'
canary good '    return rc != FTK_NOTFOUND;'
exit $faults
