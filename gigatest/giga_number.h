/* gigatest/giga_number.h -- numbers of the command line and for people. */
#ifndef GIGATEST_GIGA_NUMBER_H
#define GIGATEST_GIGA_NUMBER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* "10m", "2b", "500k", "1.5m": decimal, k = 10^3, m = 10^6, b or g = 10^9, t = 10^12.  The result
 * must be a whole number.  False: not a count, *count_out = 0. */
bool giga_count_parse(const char *text, uint64_t *count_out);
/* "8G", "500k", "64MiB", "4096": binary, k = 2^10, m = 2^20, g = 2^30, t = 2^40. */
bool giga_size_parse(const char *text, uint64_t *bytes_out);
/* "60", "0.5", "200ms", "5s", "2m", "1h", as milliseconds. */
bool giga_time_parse(const char *text, uint64_t *ms_out);

#define GIGA_NUMBER_MAX 40 /* bytes of any text below, with its end */
/* Each writes into `buffer` and returns it. */
char *giga_count_text(char buffer[GIGA_NUMBER_MAX], uint64_t count);    /* 1,234,567 */
char *giga_bytes_text(char buffer[GIGA_NUMBER_MAX], uint64_t bytes);    /* 1.50 GiB */
char *giga_rate_text(char buffer[GIGA_NUMBER_MAX], double bytes_per_s); /* 93.1 MB/s, decimal */
char *giga_seconds_text(char buffer[GIGA_NUMBER_MAX], double seconds);  /* 12.3 s, 1:02:03 */
char *giga_latency_text(char buffer[GIGA_NUMBER_MAX], uint64_t ns);     /* 110 us, 1.2 ms */

#endif
