/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/unit/test_utils_shortages.c -- the commands of kiln while memory, descriptors, reads,
 * writes or syncs are refused: each says so in one line and exits with 1, or has done its work; a
 * load is all or nothing; the same command succeeds when nothing is refused.
 */
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/engine_testing.h"
#include "utils/kiln_command.h"

enum { KEYS = 150, TEXT_BYTES = 1 << 18 };

/* ---- a command, and what it wrote ------------------------------------------------------------ */

struct said {
    int result;
    char out[TEXT_BYTES], err[1000];
};

static const char *path_db, *path_in, *path_out, *path_err;

static void
text_read(const char *path, char *text, size_t room)
{
    FILE *file = fopen(path, "r");
    size_t size;

    REQUIRE(file != NULL);
    size = fread(text, 1, room - 1, file);
    REQUIRE(size < room - 1);
    text[size] = '\0';
    fclose(file);
}

static void
text_write(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");

    REQUIRE(file != NULL);
    REQUIRE(fputs(text, file) >= 0);
    REQUIRE(fclose(file) == 0);
}

/* The standard stream writes to a file; what it was before. */
static int
stream_to(FILE *stream, const char *path)
{
    int before = dup(fileno(stream));
    FILE *file = fopen(path, "w");

    REQUIRE(before >= 0 && file != NULL);
    fflush(stream);
    REQUIRE(dup2(fileno(file), fileno(stream)) >= 0);
    fclose(file);
    return before;
}

static void
stream_back(FILE *stream, int before)
{
    fflush(stream);
    clearerr(stream);
    REQUIRE(dup2(before, fileno(stream)) >= 0);
    close(before);
}

struct command {
    const char *name;
    int (*run)(const struct utils_call *call);
    unsigned options;
    int argument_count;
    const char *arguments[4]; /* behind the database's path */
};

/* fault FTK_FAULT_COUNT: nothing is refused. */
static bool
command_run(const struct command *command, enum ftk_fault fault, uint64_t n, struct said *said)
{
    struct utils_command about = {.name = command->name, .synopsis = "..."};
    char *arguments[5] = {(char *)(uintptr_t)path_db};
    struct utils_call call = {.command = &about,
                              .options = command->options,
                              .batch = 10000,
                              .arguments = arguments,
                              .argument_count = 1 + command->argument_count};
    bool hit = false;
    int out, err;

    for (int i = 0; i < command->argument_count; i++)
        arguments[1 + i] = (char *)(uintptr_t)command->arguments[i];
    REQUIRE(freopen(path_in, "r", stdin) != NULL);
    out = stream_to(stdout, path_out);
    err = stream_to(stderr, path_err);
    if (fault != FTK_FAULT_COUNT)
        ftk_fault_arm(fault, n, 1);
    said->result = command->run(&call);
    if (fault != FTK_FAULT_COUNT)
        hit = ftk_fault_hits(fault) > 0;
    ftk_fault_disarm();
    stream_back(stderr, err);
    stream_back(stdout, out);
    text_read(path_out, said->out, sizeof said->out);
    text_read(path_err, said->err, sizeof said->err);
    return hit;
}

static const struct command dump = {"dump", utils_dump, 0, 1, {"c"}};

static const char *
dumped(void)
{
    static struct said said;

    (void)command_run(&dump, FTK_FAULT_COUNT, 0, &said);
    REQUIRE_MSG(said.result == UTILS_OK, "%s", said.err);
    return said.out;
}

static unsigned
lines_in(const char *text)
{
    unsigned lines = 0;

    for (; *text != '\0'; text++)
        lines += *text == '\n';
    return lines;
}

/* ---- commands that read, and those that write ------------------------------------------------ */

static const struct command load = {"load", utils_load, UTILS_CREATE, 1, {"c"}};

static const struct command readers[] = {
    {"dump", utils_dump, 0, 1, {"c"}},          {"dump", utils_dump, UTILS_HEX, 1, {"c"}},
    {"check", utils_check, 0, 0, {NULL}},       {"stat", utils_stat, 0, 0, {NULL}},
    {"stat", utils_stat, UTILS_JSON, 1, {"c"}}, {"list", utils_list, 0, 0, {NULL}},
    {"get", utils_get, 0, 2, {"c", "key 7"}},
};

static const struct command writers[] = {
    {"load", utils_load, UTILS_CREATE, 1, {"c"}},
    {"put", utils_put, UTILS_CREATE, 3, {"c", "key 7", "other"}},
    {"delete", utils_delete, 0, 2, {"c", "key 8"}},
    {"recover", utils_recover, 0, 0, {NULL}},
};

static const struct {
    enum ftk_fault fault;
    const char *name;
    unsigned every; /* about one in so many calls, by the run's seed */
} refusals[] = {
    {FTK_FAULT_ALLOC, "allocation", 40}, {FTK_FAULT_DESCRIPTOR, "descriptor", 6},
    {FTK_FAULT_THREAD, "thread", 1},     {FTK_FAULT_READ, "read", 24},
    {FTK_FAULT_WRITE, "write", 6},       {FTK_FAULT_SYNC, "sync", 6},
};
#define REFUSALS (sizeof refusals / sizeof refusals[0])

/* A dump of values that begin with this word. */
static char *
dump_of(const char *word)
{
    struct said said;
    char *lines = malloc(TEXT_BYTES);
    size_t size = 0;

    REQUIRE(lines != NULL);
    for (unsigned i = 0; i < KEYS; i++)
        size += (size_t)snprintf(lines + size, TEXT_BYTES - size, "key %u\t%s %.*u\n", i, word,
                                 i % 50 == 0 ? 9000 : 9, i);
    text_write(path_in, lines);
    free(lines);
    (void)command_run(&load, FTK_FAULT_COUNT, 0, &said);
    REQUIRE_MSG(said.result == UTILS_OK, "%s", said.err);
    return strdup(dumped());
}

static void
paths_make(void)
{
    path_db = test_path("db");
    path_in = test_path("in");
    path_out = test_path("out");
    path_err = test_path("err");
}

static void
failure_verify(const struct said *said, const char *how)
{
    CHECK_MSG(said->result == UTILS_FAILED, "%s: exit status %d", how, said->result);
    CHECK_MSG(lines_in(said->err) == 1 && strlen(said->err) > 20, "%s: said \"%s\"", how,
              said->err);
}

static uint64_t
step(struct ftk_random *random, unsigned every)
{
    uint64_t stride = 2 * every / test_rounds(1);

    return 1 + (stride > 1 ? ftk_random_below(random, stride) : 0);
}

/* A command that reads says all, or that it could not. */
static void
a_command_that_reads_says_what_it_was_refused(void)
{
    struct ftk_random random = test_random();
    static struct said wanted, said;
    uint64_t heap, count = 0;

    paths_make();
    free(dump_of("first"));
    heap = ftk_mem_bytes();
    for (size_t i = 0; i < sizeof readers / sizeof readers[0]; i++) {
        (void)command_run(&readers[i], FTK_FAULT_COUNT, 0, &wanted);
        CHECK_EQ(wanted.result, UTILS_OK);
        for (size_t what = 0; what < REFUSALS; what++) {
            uint64_t n = 1;
            while (command_run(&readers[i], refusals[what].fault, n, &said)) {
                char how[100];
                snprintf(how, sizeof how, "%s, %s %llu", readers[i].name, refusals[what].name,
                         (unsigned long long)n);
                if (said.result != UTILS_OK)
                    failure_verify(&said, how);
                else
                    CHECK_MSG(lines_in(said.out) == lines_in(wanted.out) && said.err[0] == '\0',
                              "%s: succeeded, and said %s", how, said.err);
                CHECK_MSG(ftk_mem_bytes() == heap, "%s: memory is lost", how);
                count++;
                n += step(&random, refusals[what].every);
            }
        }
    }
    CHECK(count > 0);
    printf("    %llu refusals\n", (unsigned long long)count);
}

/* One writer with the n-th call refused: before, or after. */
static bool
writer_refused(const struct command *command, size_t what, uint64_t n, const char *before,
               const char *after)
{
    static struct said said;
    uint64_t heap = ftk_mem_bytes();
    const char *found;
    char how[100];
    bool hit;

    snprintf(how, sizeof how, "%s, %s %llu", command->name, refusals[what].name,
             (unsigned long long)n);
    text_write(path_in, command->run == utils_load ? after : "");
    hit = command_run(command, refusals[what].fault, n, &said);
    found = dumped();
    if (said.result != UTILS_OK) {
        failure_verify(&said, how);
        CHECK_MSG(strcmp(found, before) == 0 || strcmp(found, after) == 0,
                  "%s: neither before nor after: %s", how, said.err);
        if (command->run != utils_delete || strcmp(found, before) == 0) {
            text_write(path_in, command->run == utils_load ? after : "");
            (void)command_run(command, FTK_FAULT_COUNT, 0, &said);
            CHECK_MSG(said.result == UTILS_OK, "%s, again: %s", how, said.err);
        }
    }
    CHECK_MSG(strcmp(dumped(), after) == 0, "%s: done, and it is not there", how);
    CHECK_MSG(ftk_mem_bytes() == heap, "%s: memory is lost", how);
    text_write(path_in, before);
    (void)command_run(&load, FTK_FAULT_COUNT, 0, &said);
    REQUIRE_MSG(said.result == UTILS_OK, "%s", said.err);
    return hit;
}

static void
a_command_that_writes_does_all_or_nothing(void)
{
    struct ftk_random random = test_random();
    static struct said said;
    uint64_t count = 0;

    paths_make();
    for (size_t i = 0; i < sizeof writers / sizeof writers[0]; i++) {
        char *after = dump_of("second"), *before = dump_of("first");

        if (writers[i].run != utils_load) {
            free(after);
            text_write(path_in, "");
            (void)command_run(&writers[i], FTK_FAULT_COUNT, 0, &said);
            REQUIRE_MSG(said.result == UTILS_OK, "%s: %s", writers[i].name, said.err);
            after = strdup(dumped());
            text_write(path_in, before);
            (void)command_run(&load, FTK_FAULT_COUNT, 0, &said);
        }
        for (size_t what = 0; what < REFUSALS; what++)
            for (uint64_t n = 1; writer_refused(&writers[i], what, n, before, after);
                 n += step(&random, refusals[what].every))
                count++;
        free(before);
        free(after);
    }
    CHECK(count > 0);
    printf("    %llu refusals\n", (unsigned long long)count);
}

TEST_MAIN("utils_shortages", TEST(a_command_that_reads_says_what_it_was_refused),
          TEST(a_command_that_writes_does_all_or_nothing))
