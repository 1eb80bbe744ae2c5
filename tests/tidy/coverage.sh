#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# tests/tidy/coverage.sh BUILD -- lines reached, by source file and in all, from gcov's data.
# Every object of the library and programs counts, whether a test touched it or not.
set -u
build=$1
find "$build/obj" -name '*.gcno' ! -path '*/obj/tests/*' | while read -r notes; do
    gcov -n -o "$notes" "${notes%.gcno}.o" 2>/dev/null
done | awk '
    /^File / { file = $2; gsub(/\047/, "", file) }
    /^Lines executed:/ && file != "" {
        split($0, part, /[:% ]+/)
        reached = part[3]; lines = part[5]
        if (file !~ /^\// && lines > best[file]) { best[file] = lines; share[file] = reached }
        file = ""
    }
    END {
        for (file in best) {
            printf "%6.1f %%  %6d  %s\n", share[file], best[file], file | "sort -k 4"
            all += best[file]; hit += share[file] * best[file] / 100
        }
        close("sort -k 4")
        if (all) printf "%6.1f %%  %6d  lines reached in all\n", 100 * hit / all, all
        else { print "coverage: no data below " ARGV[1]; exit 1 }
    }'
