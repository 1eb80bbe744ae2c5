/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ftk/number.h -- numbers of command lines, and numbers as people read them.
 *
 * A number is decimal digits, perhaps with a fraction ("1.5m") where the result is whole, and
 * a unit, in small or capital letters, that the kind of number decides:
 *
 *     count   k = 10^3, m = 10^6, b or g = 10^9, t = 10^12
 *     size    k, m, g, t = 2^10, 2^20, 2^30, 2^40 bytes; also kib, mib, gib, tib
 *     time    s (also if no unit is given), ms, m = 60 s, h = 3600 s; the result is milliseconds
 *
 * There are no signs, spaces, separators, exponents or other bases.  The result is at most
 * 2^63 - 1.
 */
#ifndef FTK_NUMBER_H
#define FTK_NUMBER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum ftk_number_kind {
    FTK_NUMBER_COUNT,
    FTK_NUMBER_SIZE,
    FTK_NUMBER_TIME,
};

/* What is accepted: a number of this kind, min <= number <= max. */
struct ftk_number_rule {
    enum ftk_number_kind kind;
    uint64_t min, max;
};

#define FTK_NUMBER_ERROR_MAX 200 /* bytes of the words below, with their end */

/*
 * false: *number_out = 0, and `error` has words that fit behind the option's name and ": ", such as
 * "10x" is not a count such as 500k, 10m or 2b
 */
bool ftk_number_parse(const struct ftk_number_rule *rule, const char *text, uint64_t *number_out,
                      char error[FTK_NUMBER_ERROR_MAX]);

#define FTK_NUMBER_TEXT_MAX 40 /* bytes of any text below, with its end */
/* Each writes into `buffer` and returns it. */
char *ftk_count_text(char buffer[FTK_NUMBER_TEXT_MAX], uint64_t count);    /* 1,234,567 */
char *ftk_bytes_text(char buffer[FTK_NUMBER_TEXT_MAX], uint64_t bytes);    /* 1.50 GiB */
char *ftk_rate_text(char buffer[FTK_NUMBER_TEXT_MAX], double bytes_per_s); /* 93.1 MB/s, decimal */
char *ftk_seconds_text(char buffer[FTK_NUMBER_TEXT_MAX], double seconds);  /* 12.3 s, 1:02:03 */
char *ftk_latency_text(char buffer[FTK_NUMBER_TEXT_MAX], uint64_t ns);     /* 110 us, 1.2 ms */

#endif
