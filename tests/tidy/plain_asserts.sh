#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# tests/tidy/plain_asserts.sh FOLDER... -- name every assertion that does something beside looking.
#
# An assertion may be taken out, and the program does the same: so it assigns nothing, counts
# nothing, and calls nothing that changes what it is given.  Such a call stands before it, and its
# result in a variable.
# Exit code 0: none; 1: some, one line each on stdout.
find "$@" -name '*.[ch]' -exec perl -0777 -ne '
    my $verbs = "put|insert|remove|delete|take|give|push|pop|add|set|alloc|realloc|free|lock|unlock" .
                "|try|release|open|close|append|init|reset|clear|move|wait|signal";
    while (/\bFTK_(?:DEBUG_)?ASSERT(?:_SOUND)?(\((?:[^()]|(?1))*\))/g) {
        my ($text, $line) = ($1, 1 + (substr($_, 0, $-[0]) =~ tr/\n//));
        (my $code = $text) =~ s!/\*.*?\*/|"(?:[^"\\]|\\.)*"|\x27(?:[^\x27\\]|\\.)*\x27!!gs;
        next if $code !~ /\+\+|--|(?<![=!<>])=(?!=)|<<=|>>=
                         |atomic_(?:\w*fetch|\w*exchange|store|flag|test_and|clear|init)
                         |\b\w+_(?:$verbs)(?:_many|_one|_all|_last|_first|_next)?\s*\(/x;
        $text =~ s/\s+/ /g;
        print "$ARGV:$line: $text\n";
        $bad = 1;
    }
    END { exit($bad ? 1 : 0) }' {} +
