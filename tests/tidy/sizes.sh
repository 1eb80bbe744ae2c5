#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# tests/tidy/sizes.sh [-v] ROOT -- measure the source below ROOT: one "group.measure number" a line.
#
# Groups: code (library, programs, public header, examples) and tests.  A function is what stands
# between a line "{" and the next line "}", as the house style writes it.  -v names each function,
# file and line that counts, on stderr.
#   function_lines_max    lines of the longest function body, braces included
#   functions_over_70     how many functions have more than 70 lines
#   parameters_over_6     how many functions take more than 6 parameters
#   file_lines_max        lines of the longest file
#   files_over_1000       how many files have more than 1,000 lines
#   columns_over_100      how many lines are wider than 100 columns
#   nesting_over_4        how many lines open a fifth block inside a function (an opening brace at
#                         the end of a line that starts at column 20 or further right)
verbose=0
if [ "$1" = -v ]; then
    verbose=1
    shift
fi
cd "$1" || exit 2

measure() {
    group=$1
    shift
    for folder in "$@"; do
        [ -d "$folder" ] && find "$folder" -type f \( -name '*.c' -o -name '*.h' -o -name '*.cc' \)
    done | sort | tr '\n' '\0' | xargs -0 awk -v group="$group" -v verbose="$verbose" '
        function tell(text) { if (verbose) print text > "/dev/stderr" }
        function file_done() {
            if (file == "") return
            if (lines > file_max) file_max = lines
            if (lines > 1000) { files_over++; tell(file ": " lines " lines") }
        }
        FNR == 1 { file_done(); file = FILENAME; head = ""; open = 0 }
        { lines = FNR }
        {
            # Columns, not bytes: bytes that continue a UTF-8 character have no width.
            text = $0
            if (length(text) > 100) {
                gsub(/[\200-\277]/, "", text)
                if (length(text) > 100) { wide++; tell(FILENAME ":" FNR ": wider than 100 columns") }
            }
        }
        open && /\{$/ && !/^ *[}.]/ && !/= *\{$/ && match($0, /[^ ]/) && RSTART > 20 {
            deep++; tell(FILENAME ":" FNR ": deeper than 4 blocks")
        }
        /^\{/ && !open { open = FNR; named = head; head = ""; next }
        /^\}/ && open {
            size = FNR - open + 1
            name = named; sub(/\(.*/, "", name); sub(/.*[ *]/, "", name)
            if (size > longest) longest = size
            if (size > 70) { long_count++; tell(FILENAME ":" open ": " name ": " size " lines") }
            parameters = named; sub(/^[^(]*\(/, "", parameters)
            if (gsub(/,/, "", parameters) + 1 > 6) { many++; tell(FILENAME ":" open ": " name ": more than 6 parameters") }
            open = 0; head = ""
            next
        }
        !open {
            if (/^[A-Za-z_].*\(/) head = $0
            else if (/^ /) head = head $0
            else head = ""
        }
        END {
            file_done()
            printf "%s.function_lines_max %d\n", group, longest
            printf "%s.functions_over_70 %d\n", group, long_count
            printf "%s.parameters_over_6 %d\n", group, many
            printf "%s.file_lines_max %d\n", group, file_max
            printf "%s.files_over_1000 %d\n", group, files_over
            printf "%s.columns_over_100 %d\n", group, wide
            printf "%s.nesting_over_4 %d\n", group, deep
        }'
}

LC_ALL=C
export LC_ALL
measure code include ftk cache rfl engine replication utils gigatest examples
measure tests tests
