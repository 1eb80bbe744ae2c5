#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# tests/tidy/include_edges.sh ROOT EDGES -- name every #include below ROOT that EDGES does not allow.
# Exit code 0: none; 1: some, one line each on stdout.
#
# Looks at "..." and <...>; a name counts as the project's when its first part is a folder of
# EDGES, or when it is a header of include/.  Everything else in <...> is the system's.
root=$1
edges=$2
folders=$(sed -n 's/^\([a-z/]*\):.*/\1/p' "$edges" | cut -d/ -f1 | sort -u)
headers=$(ls "$root/include" 2>/dev/null | tr '\n' ' ')

for folder in $folders; do
    [ -d "$root/$folder" ] && find "$root/$folder" -type f \( -name '*.c' -o -name '*.h' -o -name '*.cc' \)
done | sort | while read -r file; do
    grep -n '^[ 	]*#[ 	]*include' "$file" | sed "s|^|${file#"$root/"}:|"
done | awk -v edges="$edges" -v headers="$headers" '
    function wrong(text) { printf "%s:%s: %s\n", path, line, text; bad = 1 }
    # The folder of the list that a path lies in: a room (engine/page) before its house (tests).
    function place(name,    two, one) {
        two = name
        if (match(name, /^[a-z_]+\/[a-z_]+\//)) {
            two = substr(name, 1, RLENGTH - 1)
            if (two in known) return two
        }
        one = name
        sub(/\/.*/, "", one)
        return one
    }
    BEGIN {
        while ((getline text < edges) > 0)
            if (text ~ /^[a-z\/]+:/) {
                folder = text; sub(/:.*/, "", folder)
                sub(/^[a-z\/]+:/, "", text)
                count = split(text, part, " ")
                known[folder] = 1
                for (i = 1; i <= count; i++) allowed[folder, part[i]] = 1
            }
        count = split(headers, part, " ")
        for (i = 1; i <= count; i++) public_header[part[i]] = 1
    }
    {
        path = $0; sub(/:.*/, "", path)
        line = $0; sub(/^[^:]*:/, "", line); sub(/:.*/, "", line)
        match($0, /#[ \t]*include[ \t]*/)
        name = substr($0, RSTART + RLENGTH)
        system_form = name ~ /^</
        if (name !~ /^[<"]/) { wrong("include of a macro"); next }
        sub(/^[<"]/, "", name); sub(/[>"].*/, "", name)
        from = place(path)

        if (name ~ /(^|\/)\.\.?\//) { wrong("\"" name "\" is relative: start at the top of the tree"); next }
        if (name in public_header) name = "include/" name
        to = place(name)
        if (!(from in known)) { wrong("lies in no folder of the list"); next }
        if (!(to in known)) {
            if (!system_form && from != "tests") wrong("\"" name "\" is in no folder of the list")
            next
        }
        if (to == from) next
        if (name ~ /_internal\.h$/ && from != "tests") {
            wrong("\"" name "\" is internal to " to); next
        }
        if (((from, to) in allowed) || ((from, name) in allowed) || ((from, "*") in allowed)) next
        wrong(from " must not include \"" name "\"")
    }
    END { exit bad }'
