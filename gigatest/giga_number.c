/* gigatest/giga_number.c -- see giga_number.h. */
#include "gigatest/giga_number.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

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

static bool
number_parse(const char *text, const struct unit *units, size_t unit_count, uint64_t *out)
{
    uint64_t whole = 0;
    uint64_t fraction = 0;
    uint64_t fraction_scale = 1;
    const char *at = text;

    *out = 0;
    if (!isdigit((unsigned char)*at))
        return false;
    for (; isdigit((unsigned char)*at); at++) {
        if (__builtin_mul_overflow(whole, 10u, &whole) ||
            __builtin_add_overflow(whole, (uint64_t)(*at - '0'), &whole))
            return false;
    }
    if (*at == '.') {
        if (!isdigit((unsigned char)*++at))
            return false;
        for (; isdigit((unsigned char)*at); at++) {
            if (fraction_scale >= 1000000)
                return false;
            fraction = fraction * 10 + (uint64_t)(*at - '0');
            fraction_scale *= 10;
        }
    }
    for (size_t i = 0; i < unit_count; i++) {
        if (strcasecmp(at, units[i].suffix) == 0) {
            uint64_t value;

            if (!scale(whole, fraction, fraction_scale, units[i].factor, &value))
                return false;
            *out = value;
            return true;
        }
    }
    return false;
}

bool
giga_count_parse(const char *text, uint64_t *count_out)
{
    return number_parse(text, count_units, sizeof(count_units) / sizeof(*count_units), count_out);
}

bool
giga_size_parse(const char *text, uint64_t *bytes_out)
{
    return number_parse(text, size_units, sizeof(size_units) / sizeof(*size_units), bytes_out);
}

bool
giga_time_parse(const char *text, uint64_t *ms_out)
{
    return number_parse(text, time_units, sizeof(time_units) / sizeof(*time_units), ms_out);
}

char *
giga_count_text(char buffer[GIGA_NUMBER_MAX], uint64_t count)
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
giga_bytes_text(char buffer[GIGA_NUMBER_MAX], uint64_t bytes)
{
    static const char *const names[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double value = (double)bytes / 1024.0;
    size_t unit = 0;

    if (bytes < 1024) {
        snprintf(buffer, GIGA_NUMBER_MAX, "%llu B", (unsigned long long)bytes);
        return buffer;
    }
    while (value >= 1024.0 && unit + 1 < sizeof(names) / sizeof(*names)) {
        value /= 1024.0;
        unit++;
    }
    snprintf(buffer, GIGA_NUMBER_MAX,
             value < 10    ? "%.2f %s"
             : value < 100 ? "%.1f %s"
                           : "%.0f %s",
             value, names[unit]);
    return buffer;
}

char *
giga_rate_text(char buffer[GIGA_NUMBER_MAX], double bytes_per_s)
{
    double mega = bytes_per_s / 1e6;

    snprintf(buffer, GIGA_NUMBER_MAX, mega < 100 ? "%.1f MB/s" : "%.0f MB/s", mega);
    return buffer;
}

char *
giga_seconds_text(char buffer[GIGA_NUMBER_MAX], double seconds)
{
    if (seconds < 0)
        seconds = 0;
    if (seconds < 1e-3) {
        snprintf(buffer, GIGA_NUMBER_MAX, "%.0f us", seconds * 1e6);
    } else if (seconds < 1) {
        snprintf(buffer, GIGA_NUMBER_MAX, "%.0f ms", seconds * 1e3);
    } else if (seconds < 60) {
        snprintf(buffer, GIGA_NUMBER_MAX, "%.1f s", seconds);
    } else if (seconds < 1e9) {
        unsigned long whole = (unsigned long)seconds;

        snprintf(buffer, GIGA_NUMBER_MAX, "%lu:%02lu:%02lu", whole / 3600, whole / 60 % 60,
                 whole % 60);
    } else {
        snprintf(buffer, GIGA_NUMBER_MAX, "never");
    }
    return buffer;
}

char *
giga_latency_text(char buffer[GIGA_NUMBER_MAX], uint64_t ns)
{
    double us = (double)ns / 1000.0;

    if (us < 1000)
        snprintf(buffer, GIGA_NUMBER_MAX, us < 10 ? "%.1f us" : "%.0f us", us);
    else if (us < 1e6)
        snprintf(buffer, GIGA_NUMBER_MAX, us < 1e4 ? "%.2f ms" : "%.0f ms", us / 1e3);
    else
        snprintf(buffer, GIGA_NUMBER_MAX, "%.1f s", us / 1e6);
    return buffer;
}
