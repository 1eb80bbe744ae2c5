#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# tests/tidy/dialect.sh FOLDER... -- name every place that says a thing in another way than the rest.
#
# `sizeof(x)` has parentheses, whatever x is.  What an array or a buffer can hold is its capacity;
# what is left of something is room (CONTRIBUTING.md, one word per thing).
# Exit code 0: none; 1: some, one line each on stdout.
! find "$@" -name '*.[ch]' -exec perl -0777 -ne '
    s!("(?:[^"\\\n]|\\.)*")|/\*.*?\*/|//[^\n]*! my $x = $&; $x =~ tr/\n//cd; $x !gse;
    my $line = 0;
    for (split /\n/) {
        $line++;
        print "$ARGV:$line: $_\n"
            if /\bsizeof\s+[\w*]|^\s*(?:size_t|unsigned|u?int\d+_t)\s[^()=]*, \w*room\b/;
    }' {} + | grep .
