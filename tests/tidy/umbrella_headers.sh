#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# tests/tidy/umbrella_headers.sh FOLDER... -- name every umbrella header.
#
# That is a header that declares nothing and only includes others, or one of engine/ that two in
# three of the sources below the folders include: whoever includes it does not say what it needs.
# Exit code 0: none; 1: some, one line each on stdout.
set -u
found=0
mapfile -t sources < <(find "$@" -name '*.c' | sort)
mapfile -t headers < <(find "$@" -name '*.h' | sort)
for header in "${headers[@]}"; do
    # Without comments, includes, guards and empty lines.
    own=$(sed -e 's://.*::' -e 's:/\*.*\*/::' -e '/\/\*/,/\*\//d' "$header" |
        grep -cvE '^ *$|^ *# *(include|ifndef|endif|if|pragma)|^ *# *define +[A-Za-z0-9_]+ *$')
    if [ "$own" -eq 0 ]; then
        echo "$header: declares nothing"
        found=1
    fi
done
for header in "${headers[@]}"; do
    [[ $header == */engine/* || $header == engine/* ]] || continue
    by=$(grep -lF "#include \"${header#./}\"" "${sources[@]}" | wc -l)
    if [ "$by" -gt 3 ] && [ $((by * 3)) -ge $((${#sources[@]} * 2)) ]; then
        echo "$header: $by of ${#sources[@]} sources include it"
        found=1
    fi
done
exit $found
