#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# tests/tidy/plain_errors.sh FOLDER... -- name every place that makes an error without words.
#
# A status other than OK is compared, or handed on, or born by FTK_FAIL, FTK_FAIL_OS or FTK_ANSWER
# (ftk/status.c, rule 3): else kiln_error_last would tell of an older call.
# Exit code 0: none; 1: some, one line each on stdout.
names='NOTFOUND|EXISTS|INVALID|NOMEM|IO|NOSPACE|CORRUPT|INUSE|FOREIGN|VERSION|READONLY|TIMEOUT|TOOBIG|STATE|FAILED|CANCELED|UNSUPPORTED|TRUNCATED|CONSTRAINT'
! find "$@" -name '*.c' ! -path ftk/status.c -exec grep -nHE \
    "(return|[^=!<>]=|[?:]) *\(?(FTK|KILN)_($names)\b *[;?:,)]" {} + |
    grep -vE '^[^:]*:[0-9]+: \*|\.status = |FTK_FAIL(_OS)?\(|FTK_ANSWER\(|(==|!=) *\(|case (FTK|KILN)_'
