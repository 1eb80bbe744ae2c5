/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/fuzz/driver.c -- runs one fuzz target without libFuzzer, as an ordinary test.
 *
 * Each fuzz_<name>.c defines LLVMFuzzerTestOneInput.  `make fuzz` links it with libFuzzer; here it
 * is linked with this main, which feeds it
 *   1. nothing (size 0), then every file of tests/fuzz/corpus/<name>/, as it is;
 *   2. a bounded number of mutated inputs.  Input i is a function of the seed, i and the corpus
 *      alone, so one failing input replays by itself.
 *
 *   fuzz_<name>                          all of it
 *   fuzz_<name> FILE...                  these inputs only
 *   KILN_SEED=s KILN_FUZZ_ONLY=i ...     one mutated input
 *   KILN_FUZZ_RUNS=n                     how many (default RUNS_DEFAULT)
 *   KILN_SRC=dir                         the source tree, for the corpus (default .)
 */
#include <dirent.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    RUNS_DEFAULT = 20000,
    SECONDS_MAX = 20,         /* a slow target runs fewer than RUNS_DEFAULT */
    INPUT_SECONDS_MAX = 120,  /* of one input: no end is a fault, too */
    INPUTS_MAX = 4096,        /* corpus files read; more are named as an error, not skipped */
    INPUT_BYTES_MAX = 1 << 20 /* a corpus file; page images are 64 KiB at most */
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
__attribute__((weak)) int LLVMFuzzerInitialize(int *argc, char ***argv);
__attribute__((weak)) void __sanitizer_set_death_callback(void (*callback)(void));

struct input {
    uint8_t *bytes;
    size_t size;
    char *path;
};

static struct input inputs[INPUTS_MAX];
static size_t input_count;
static char where[512]; /* what is being run, ready for a signal handler to print */

static void
die(const char *what, const char *detail)
{
    fprintf(stderr, "fuzz driver: %s: %s\n", what, detail);
    exit(2);
}

static void
print_where(void)
{
    ssize_t ignored = write(STDERR_FILENO, where, strlen(where));

    (void)ignored;
}

static void
on_signal(int number)
{
    print_where();
    signal(number, SIG_DFL);
    raise(number);
}

/* splitmix64 (Steele, Lea, Flood, 2014) */
static uint64_t
random_next(uint64_t *state)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static size_t
random_below(uint64_t *state, size_t limit)
{
    return limit == 0 ? 0 : (size_t)(random_next(state) % limit);
}

/* An exact copy, so that AddressSanitizer sees the first byte read past the end. */
static void
run_copy(const uint8_t *bytes, size_t size)
{
    uint8_t *copy = malloc(size > 0 ? size : 1);

    if (copy == NULL)
        die("malloc", "out of memory");
    if (size > 0)
        memcpy(copy, bytes, size);
    alarm(INPUT_SECONDS_MAX);
    LLVMFuzzerTestOneInput(copy, size);
    alarm(0);
    free(copy);
}

static void
input_read(const char *path)
{
    FILE *file = fopen(path, "rb");
    struct input *input = &inputs[input_count];

    if (file == NULL)
        die("cannot open", path);
    if (input_count == INPUTS_MAX)
        die("more corpus files than INPUTS_MAX", path);
    input->bytes = malloc(INPUT_BYTES_MAX + 1);
    input->path = strdup(path);
    if (input->bytes == NULL || input->path == NULL)
        die("malloc", path);
    input->size = fread(input->bytes, 1, INPUT_BYTES_MAX + 1, file);
    if (ferror(file) || input->size > INPUT_BYTES_MAX)
        die("cannot read, or larger than INPUT_BYTES_MAX", path);
    input->bytes = realloc(input->bytes, input->size > 0 ? input->size : 1);
    fclose(file);
    input_count++;
}

static int
name_order(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static void
corpus_read(const char *target)
{
    const char *source = getenv("KILN_SRC");
    struct dirent **entries = NULL;
    char folder[2048];
    char path[4096];
    int count;

    snprintf(folder, sizeof folder, "%s/tests/fuzz/corpus/%s", source != NULL ? source : ".",
             target);
    count = scandir(folder, &entries, NULL, name_order);
    for (int i = 0; i < count; i++) {
        if (entries[i]->d_name[0] != '.') {
            snprintf(path, sizeof path, "%s/%s", folder, entries[i]->d_name);
            input_read(path);
        }
        free(entries[i]);
    }
    free(entries);
}

/* One change.  bytes has room for `room`; returns the new size. */
static size_t
mutate_once(uint8_t *bytes, size_t size, size_t room, uint64_t *state)
{
    static const uint64_t edges[] = {
        0,         1,       0x7f,       0x80,     0xff,       0x7fff,    0x8000,
        0xffff,    0x10000, 0x7fffffff, 1u << 31, UINT32_MAX, INT64_MAX, (uint64_t)1 << 63,
        UINT64_MAX};
    size_t at = random_below(state, size);
    size_t length = 1 + random_below(state, 16);
    uint64_t value;

    switch (size == 0 ? 3 : random_below(state, 7)) {
    case 0: /* flip a bit */ bytes[at] ^= (uint8_t)(1u << random_below(state, 8)); break;
    case 1: /* any byte */ bytes[at] = (uint8_t)random_next(state); break;
    case 2: /* an edge value of 1, 2, 4 or 8 bytes, or near one */
        value = edges[random_below(state, sizeof edges / sizeof edges[0])];
        value += random_below(state, 3) - 1;
        length = (size_t)1 << random_below(state, 4);
        if (length > size - at)
            length = size - at;
        memcpy(bytes + at, &value, length);
        break;
    case 3: /* insert */
        if (length > room - size)
            break;
        memmove(bytes + at + length, bytes + at, size - at);
        for (size_t i = 0; i < length; i++)
            bytes[at + i] = (uint8_t)random_next(state);
        size += length;
        break;
    case 4: /* delete */
        if (length > size - at)
            length = size - at;
        memmove(bytes + at, bytes + at + length, size - at - length);
        size -= length;
        break;
    case 5: /* copy a piece over another place */
        value = random_below(state, size);
        if (length > size - at)
            length = size - at;
        if (length > size - value)
            length = size - value;
        memmove(bytes + at, bytes + value, length);
        break;
    default: /* cut off */ size = at; break;
    }
    return size;
}

static void
run_mutated(uint64_t seed, uint64_t index, uint8_t *scratch, size_t room)
{
    uint64_t state = seed ^ (index * 0xd1342543de82ef95u);
    const struct input *base = &inputs[random_below(&state, input_count)];
    size_t size = input_count > 0 ? base->size : 0;
    size_t changes = 1 + random_below(&state, 8);

    if (size > 0)
        memcpy(scratch, base->bytes, size);
    for (size_t i = 0; i < changes; i++)
        size = mutate_once(scratch, size, room, &state);
    run_copy(scratch, size);
}

static uint64_t
number_from(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);

    return text != NULL ? strtoull(text, NULL, 0) : otherwise;
}

static void
run_all_mutated(const char *program)
{
    uint64_t seed = number_from("KILN_SEED", (uint64_t)time(NULL));
    uint64_t runs = number_from("KILN_FUZZ_RUNS", RUNS_DEFAULT);
    uint64_t first = number_from("KILN_FUZZ_ONLY", 0);
    uint64_t index = first;
    time_t end = time(NULL) + SECONDS_MAX;
    size_t room = INPUT_BYTES_MAX + 256;
    uint8_t *scratch = malloc(room);

    if (scratch == NULL)
        die("malloc", "out of memory");
    if (getenv("KILN_FUZZ_ONLY") != NULL)
        runs = first + 1;
    printf("seed %llu\n", (unsigned long long)seed);
    fflush(stdout);
    for (; index < runs && time(NULL) <= end; index++) {
        snprintf(where, sizeof where, "replay: KILN_SEED=%llu KILN_FUZZ_ONLY=%llu %s\n",
                 (unsigned long long)seed, (unsigned long long)index, program);
        run_mutated(seed, index, scratch, room);
    }
    printf("%llu mutated inputs\n", (unsigned long long)(index - first));
    free(scratch);
}

int
main(int argc, char **argv)
{
    static const int signals[] = {SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL, SIGTERM, SIGALRM};
    const char *slash = strrchr(argv[0], '/');
    const char *program = slash != NULL ? slash + 1 : argv[0];
    const char *target = strncmp(program, "fuzz_", 5) == 0 ? program + 5 : program;

    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++)
        signal(signals[i], on_signal);
    if (__sanitizer_set_death_callback != NULL)
        __sanitizer_set_death_callback(print_where);
    if (LLVMFuzzerInitialize != NULL)
        LLVMFuzzerInitialize(&argc, &argv);

    for (int i = 1; i < argc; i++)
        input_read(argv[i]);
    if (argc == 1)
        corpus_read(target);
    snprintf(where, sizeof where, "replay: %s, the empty input\n", program);
    run_copy(NULL, 0);
    for (size_t i = 0; i < input_count; i++) {
        snprintf(where, sizeof where, "replay: %s %s\n", program, inputs[i].path);
        run_copy(inputs[i].bytes, inputs[i].size);
    }
    printf("%zu inputs as they are\n", input_count);
    if (argc == 1)
        run_all_mutated(program);
    for (size_t i = 0; i < input_count; i++) {
        free(inputs[i].bytes);
        free(inputs[i].path);
    }
    return 0;
}
