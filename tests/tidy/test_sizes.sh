#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Functions, files and lines are no larger than tests/tidy/ratchet.txt says; and the check can fail.
set -u
sizes=$KILN_SRC/tests/tidy/sizes.sh
ratchet=$KILN_SRC/tests/tidy/ratchet.txt
faults=0

# compare MEASURED LIMITS -- one line for each that is worse, or that has no limit
compare() {
    awk 'FILENAME == ARGV[1] { if (/^[a-z]/) limit[$1] = $2; next }
         !($1 in limit) { print $1 " has no line in ratchet.txt"; bad = 1; next }
         $2 > limit[$1] { printf "%s is %d, at most %d is allowed\n", $1, $2, limit[$1]; bad = 1 }
         $2 < limit[$1] && $1 !~ /_max$/ { printf "note: %s is %d, ratchet.txt could say so\n", $1, $2 }
         END { exit bad }' "$2" "$1"
}

sh "$sizes" -v "$KILN_SRC" >measured.txt 2>named.txt
[ "$(grep -c . measured.txt)" -eq 14 ] || { echo "sizes.sh measured too little"; cat measured.txt; faults=1; }
if ! compare measured.txt "$ratchet"; then
    cat named.txt
    faults=1
fi

# Canary: a tree with one of each fault.
mkdir -p tree/ftk
{
    printf 'int\nlong_one(int a)\n{\n'
    for ((i = 0; i < 69; i++)); do echo '    a++;'; done
    printf '}\n\nstatic int\nmany(int a, int b, int c,\n     int d, int e, int f, int g)\n{\n'
    printf '                        if (a) {\n                        }\n}\n'
    printf '/* %0120d */\n' 0
} >tree/ftk/faulty.c
{
    printf 'int\nshort_one(int a, int b, int c, int d, int e, int f)\n{\n'
    for ((i = 0; i < 68; i++)); do echo '    a++;'; done
    printf '}\nstruct table {\n'
    for ((i = 0; i < 930; i++)); do echo '    int a;'; done
    printf '};\n'
} >tree/ftk/long_file.c
sh "$sizes" tree >canary.txt
cat >wanted.txt <<'END'
code.function_lines_max 71
code.functions_over_70 1
code.parameters_over_6 1
code.file_lines_max 1004
code.files_over_1000 1
code.columns_over_100 1
code.nesting_over_4 1
END
head -n 7 canary.txt | diff wanted.txt - || { echo "canary: sizes.sh measures wrongly"; faults=1; }
sed 's/ [0-9]*$/ 0/' canary.txt >zero.txt
compare canary.txt zero.txt >said.txt && { echo "canary: worse numbers pass"; faults=1; }
[ "$(grep -c 'at most 0' said.txt)" -eq 7 ] || { echo "canary: not all are named"; cat said.txt; faults=1; }
compare canary.txt /dev/null >/dev/null && { echo "canary: a measure without limit passes"; faults=1; }

exit $faults
