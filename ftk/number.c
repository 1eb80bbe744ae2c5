/* SPDX-License-Identifier: Apache-2.0 */
/* ftk/number.c -- see number.h. */
#include "ftk/number.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "ftk/status.h"

struct unit {
    const char *suffix; /* compared without regard to case */
    uint64_t factor;
};

static const struct unit count_units[] = {
    {"", 1},           {"k", 1000},       {"m", 1000000},
    {"b", 1000000000}, {"g", 1000000000}, {"t", 1000000000000},
};
static const struct unit size_units[] = {
    {"", 1},
    {"k", 1ull << 10},
    {"m", 1ull << 20},
    {"g", 1ull << 30},
    {"t", 1ull << 40},
    {"kib", 1ull << 10},
    {"mib", 1ull << 20},
    {"gib", 1ull << 30},
    {"tib", 1ull << 40},
};
static const struct unit time_units[] = {
    {"", 1000}, {"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000},
};

#define UNITS(table) table, sizeof(table) / sizeof(*(table))

/* By enum ftk_number_kind. */
static const struct kind {
    const struct unit *units;
    size_t unit_count;
    const char *words;
} kinds[] = {
    [FTK_NUMBER_COUNT] = {UNITS(count_units), "a count such as 500k, 10m or 2b"},
    [FTK_NUMBER_SIZE] = {UNITS(size_units), "a size such as 500k, 64m or 8G"},
    [FTK_NUMBER_TIME] = {UNITS(time_units), "a time such as 60, 0.5 or 200ms"},
};

/* whole + fraction/scale, times the unit's factor; false: the result is not whole, or too big. */
static bool
scale(uint64_t whole, uint64_t fraction, uint64_t fraction_scale, uint64_t factor, uint64_t *out)
{
    uint64_t high;
    uint64_t low;

    if (__builtin_mul_overflow(whole, factor, &high) ||
        __builtin_mul_overflow(fraction, factor, &low) || low % fraction_scale != 0 ||
        __builtin_add_overflow(high, low / fraction_scale, out))
        return false;
    return *out <= INT64_MAX;
}

/* The digits before and behind the point; *text moves to the unit. */
static bool
digits_take(const char **text, uint64_t *whole, uint64_t *fraction, uint64_t *fraction_scale)
{
    const char *at = *text;

    *whole = *fraction = 0;
    *fraction_scale = 1;
    if (!isdigit((unsigned char)*at))
        return false;
    for (; isdigit((unsigned char)*at); at++) {
        if (__builtin_mul_overflow(*whole, 10u, whole) ||
            __builtin_add_overflow(*whole, (uint64_t)(*at - '0'), whole))
            return false;
    }
    if (*at == '.') {
        if (!isdigit((unsigned char)*++at))
            return false;
        for (; isdigit((unsigned char)*at); at++) {
            if (*fraction_scale >= 1000000)
                return false;
            *fraction = *fraction * 10 + (uint64_t)(*at - '0');
            *fraction_scale *= 10;
        }
    }
    *text = at;
    return true;
}

static bool
number_read(const struct kind *kind, const char *text, uint64_t *number_out)
{
    uint64_t whole, fraction, fraction_scale;

    if (!digits_take(&text, &whole, &fraction, &fraction_scale))
        return false;
    for (size_t i = 0; i < kind->unit_count; i++) {
        if (strcasecmp(text, kind->units[i].suffix) == 0)
            return scale(whole, fraction, fraction_scale, kind->units[i].factor, number_out);
    }
    return false;
}

static char *
kind_text(enum ftk_number_kind kind, char buffer[FTK_NUMBER_TEXT_MAX], uint64_t number)
{
    switch (kind) {
    case FTK_NUMBER_SIZE: return ftk_bytes_text(buffer, number);
    case FTK_NUMBER_TIME: return ftk_seconds_text(buffer, (double)number / 1e3);
    default: return ftk_count_text(buffer, number);
    }
}

bool
ftk_number_parse(const struct ftk_number_rule *rule, const char *text, uint64_t *number_out,
                 char error[FTK_NUMBER_ERROR_MAX])
{
    const struct kind *kind = &kinds[rule->kind];
    char low[FTK_NUMBER_TEXT_MAX];
    char high[FTK_NUMBER_TEXT_MAX];
    uint64_t number;

    FTK_ASSERT(rule->min <= rule->max);
    *number_out = 0;
    error[0] = 0;
    if (!number_read(kind, text, &number)) {
        snprintf(error, FTK_NUMBER_ERROR_MAX, "\"%.60s\" is not %s", text, kind->words);
        return false;
    }
    if (number < rule->min || number > rule->max) {
        snprintf(error, FTK_NUMBER_ERROR_MAX, "\"%.60s\" is not between %s and %s", text,
                 kind_text(rule->kind, low, rule->min), kind_text(rule->kind, high, rule->max));
        return false;
    }
    *number_out = number;
    return true;
}

char *
ftk_count_text(char buffer[FTK_NUMBER_TEXT_MAX], uint64_t count)
{
    char digits[24];
    int size = snprintf(digits, sizeof(digits), "%llu", (unsigned long long)count);
    char *out = buffer;

    for (int i = 0; i < size; i++) {
        if (i > 0 && (size - i) % 3 == 0)
            *out++ = ',';
        *out++ = digits[i];
    }
    *out = 0;
    return buffer;
}

char *
ftk_bytes_text(char buffer[FTK_NUMBER_TEXT_MAX], uint64_t bytes)
{
    static const char *const names[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double value = (double)bytes / 1024.0;
    size_t unit = 0;

    if (bytes < 1024) {
        snprintf(buffer, FTK_NUMBER_TEXT_MAX, "%llu B", (unsigned long long)bytes);
        return buffer;
    }
    while (value >= 1024.0 && unit + 1 < sizeof(names) / sizeof(*names)) {
        value /= 1024.0;
        unit++;
    }
    snprintf(buffer, FTK_NUMBER_TEXT_MAX,
             value < 10    ? "%.2f %s"
             : value < 100 ? "%.1f %s"
                           : "%.0f %s",
             value, names[unit]);
    return buffer;
}

char *
ftk_rate_text(char buffer[FTK_NUMBER_TEXT_MAX], double bytes_per_s)
{
    double mega = bytes_per_s / 1e6;

    snprintf(buffer, FTK_NUMBER_TEXT_MAX, mega < 100 ? "%.1f MB/s" : "%.0f MB/s", mega);
    return buffer;
}

char *
ftk_seconds_text(char buffer[FTK_NUMBER_TEXT_MAX], double seconds)
{
    if (seconds < 0)
        seconds = 0;
    if (seconds < 1e-3) {
        snprintf(buffer, FTK_NUMBER_TEXT_MAX, "%.0f us", seconds * 1e6);
    } else if (seconds < 1) {
        snprintf(buffer, FTK_NUMBER_TEXT_MAX, "%.0f ms", seconds * 1e3);
    } else if (seconds < 60) {
        snprintf(buffer, FTK_NUMBER_TEXT_MAX, "%.1f s", seconds);
    } else if (seconds < 1e9) {
        unsigned long whole = (unsigned long)seconds;

        snprintf(buffer, FTK_NUMBER_TEXT_MAX, "%lu:%02lu:%02lu", whole / 3600, whole / 60 % 60,
                 whole % 60);
    } else {
        snprintf(buffer, FTK_NUMBER_TEXT_MAX, "never");
    }
    return buffer;
}

char *
ftk_latency_text(char buffer[FTK_NUMBER_TEXT_MAX], uint64_t ns)
{
    double us = (double)ns / 1000.0;

    if (us < 1000)
        snprintf(buffer, FTK_NUMBER_TEXT_MAX, us < 10 ? "%.1f us" : "%.0f us", us);
    else if (us < 1e6)
        snprintf(buffer, FTK_NUMBER_TEXT_MAX, us < 1e4 ? "%.2f ms" : "%.0f ms", us / 1e3);
    else
        snprintf(buffer, FTK_NUMBER_TEXT_MAX, "%.1f s", us / 1e6);
    return buffer;
}
