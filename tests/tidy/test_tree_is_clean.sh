#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The tree holds no path of some machine, no stray blanks, no two files of one name; and the check
# can fail.
set -u
faults=0

# files ROOT -- the files of the tree, committed or about to be; without git, all that is there
files() {
    (
        cd "$1" || exit 1
        if [ -e .git ] && git -c safe.directory='*' ls-files -z -c -o --exclude-standard 2>/dev/null; then
            exit 0
        fi
        find . -name .git -prune -o -path './build*' -prune -o -type f -print0 | sed -z 's|^\./||'
    ) | sort -zu | while IFS= read -r -d '' file; do
        [ -f "$1/$file" ] && printf '%s\n' "$file"
    done
}

# check ROOT -- one line for each fault
check() {
    local root=$1 file duplicates bad=0
    # Written in pieces, so that this file does not hold what it looks for.
    local machine='(^|[^A-Za-z0-9_.)}*$-])/(wo''rk|ro''ot|ho''me/[a-z]+)/'
    files "$root" >list.txt
    while IFS= read -r file; do
        case $file in
        */corpus/* | */golden/* | *.png | *.kdb | *.gz) continue ;;
        esac
        if grep -n -I -E "$machine" "$root/$file" | head -n 3 | sed "s|^|$file: a path of some machine: |" | grep .; then
            bad=1
        fi
        case $file in
        LICENSE) continue ;;
        *.c | *.h | *.cc)
            if grep -n "$(printf '\t')" "$root/$file" | head -n 3 | sed "s|^|$file: a tab: |" | grep .; then
                bad=1
            fi
            ;;
        esac
        if grep -n -I '[[:blank:]]$' "$root/$file" | head -n 3 | sed "s|^|$file: blanks at the end: |" | grep .; then
            bad=1
        fi
        if [ -s "$root/$file" ] && [ -n "$(tail -c 1 "$root/$file")" ] && grep -qI . "$root/$file"; then
            echo "$file: no newline at the end"
            bad=1
        fi
    done <list.txt
    duplicates=$(grep -v -E '/(corpus|golden)/' list.txt | sed 's|.*/||' |
        grep -v -x -E 'README\.md|Makefile|\.gitignore' | sort | uniq -d)
    for file in $duplicates; do
        echo "more than one file is called $file:" $(grep -E "(^|/)${file//./\\.}\$" list.txt)
        bad=1
    done
    return $bad
}

check "$KILN_SRC" || faults=1

# canary WANTED NAME TEXT
canary() {
    local said=good
    rm -rf tree
    mkdir -p tree/a tree/b
    printf 'x\n' >tree/a/same.c
    printf "$3" >"tree/b/$2"
    check tree >said.txt || said=bad
    if [ $said != "$1" ]; then
        echo "canary: $2 with '$3' must be $1"
        cat said.txt
        faults=1
    fi
}

canary good x.c 'int a;\n'
canary good README.md 'see network/shard and ${dir}/wo''rk/x\n'
canary bad x.c '/* /wo''rk/main */\n'
canary bad x.sh 'cd /ro''ot/x\n'
canary bad x.sh 'cd "/ho''me/me/x"\n'
canary bad x.c 'int a; \n'
canary bad x.c '\tint a;\n'
canary good x.mk '\tcc\n'
canary bad x.md 'a\t\n'
canary bad x.c 'int a;'
canary bad same.c 'int a;\n'
canary good other.c 'int a;\n'

exit $faults
