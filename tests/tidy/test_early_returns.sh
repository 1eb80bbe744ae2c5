#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# After its first FTK_TRY a function has one way out; and the check can fail.
set -u
check=$KILN_SRC/tests/tidy/early_returns.sh
faults=0

(cd "$KILN_SRC" && sh tests/tidy/early_returns.sh ftk cache rfl engine utils gigatest) ||
    { echo "returns behind an FTK_TRY, see above: go to the label"; faults=1; }

canary() { # WANTED LINE... (of a function's body)
    local wanted=$1 said=good
    shift
    mkdir -p tree
    { printf "ftk_status\nf(void)\n{\n"; printf "    %s\n" "$@"; printf "out:\n    return rc;\n}\n"; } >tree/a.c
    printf 'int\ng(void)\n{\n    return 0;\n}\n' >>tree/a.c
    sh "$check" tree >said.txt || said=bad
    [ $said = "$wanted" ] || { echo "canary: '$*' must be $wanted, the check said $said"; faults=1; }
}
canary bad 'FTK_TRY(a());' 'return FTK_OK;'
canary bad 'FTK_TRY(a());' 'if (b)' '    return c(d);' 'rc = FTK_OK;'
canary bad 'while (more())' '    FTK_TRY(a());' 'if (b) return rc;'
canary bad 'FTK_TRY(a());' 'return FTK_OK;' 'return rc;'
canary good 'FTK_TRY(a());' 'rc = b();'
canary good 'if (a == NULL)' '    return FTK_FAIL(FTK_INVALID, "no");' 'FTK_TRY(b());'
canary good 'rc = a();' 'return rc;'
canary good 'FTK_TRY(a());' '/* what the callers return */' 'returns = 1;'
exit $faults
