#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# tests/tidy/early_returns.sh FOLDER... -- name every return between a function's first FTK_TRY and
# its label.
#
# Before the first FTK_TRY a function may return early, as nothing is to be undone yet; after it
# there is one way out, so that what is added to the end of it happens on every way.  A function
# ends with a brace in the first column.
# Exit code 0: none; 1: some, one line each on stdout.
find "$@" -name '*.c' | sort | xargs awk '
    /^[}]/ || FNR == 1 { tried = labelled = 0 }
    /^[a-z_][a-z0-9_]*:/ { labelled = 1 }
    tried && !labelled && /(^|[ ;)}])return([ ;(]|$)/ && !/^ *[*\/]/ {
        print FILENAME ":" FNR ":" $0
        found = 1
    }
    /FTK_TRY\(/ { tried = 1 }
    END { exit found }'
