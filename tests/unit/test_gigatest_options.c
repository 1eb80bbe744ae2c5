/* SPDX-License-Identifier: Apache-2.0 */
/* gigatest: the command line, and the command that resumes. */
#include <string.h>

#include "gigatest/giga_options.h"
#include "tests/support/test.h"

static struct giga_options options;
static char error[512];

/* Words separated by blanks. */
static bool
parse(const char *line)
{
    static char words[512];
    char *argv[64] = {(char[]){"gigatest"}};
    int argc = 1;

    snprintf(words, sizeof(words), "%s", line);
    error[0] = 0;
    for (char *word = strtok(words, " "); word != NULL && argc < 63; word = strtok(NULL, " "))
        argv[argc++] = word;
    return giga_options_parse(&options, argc, argv, error, sizeof(error));
}

static void
nothing_said_means_a_million(void)
{
    REQUIRE(parse(""));
    CHECK_EQ(options.plan.count, 1000000);
    CHECK(!options.count_given);
    CHECK_EQ(options.txn, 100);
    CHECK_EQ(options.plan.indexes, GIGA_INDEX_NAME);
    CHECK_EQ(options.durability, KILN_FULL);
    CHECK_EQ(options.threads, 4);
    CHECK_STR(options.db, "gigatest.db");
}

static void
every_option_is_understood(void)
{
    REQUIRE(parse("2b --db d --rfl-dir=l --txn 1k --order random --ids given --index age,name "
                  "--seed 0x10 --page 8k --cache 8G --dirty-max 1G --log-max 2G "
                  "--checkpoint-interval 30 --segment 64M --durability lazy --lazy 0.2 --threads 3 "
                  "--io-depth 32 --no-direct --update 5 --delete 6 --mixed 7 --verify --remove "
                  "--json j --html h --plain --interval 0.5 --quiet"));
    CHECK_EQ(options.plan.count, 2000000000);
    CHECK_EQ(options.txn, 1000);
    CHECK_EQ(options.plan.order, GIGA_RANDOM);
    CHECK_EQ(options.plan.ids, GIGA_IDS_GIVEN);
    CHECK_EQ(options.plan.indexes, GIGA_INDEX_NAME | GIGA_INDEX_AGE);
    CHECK_EQ(options.plan.seed, 16);
    CHECK_EQ(options.page_bytes, 8192);
    CHECK_EQ(options.cache_bytes, 8ull << 30);
    CHECK_EQ(options.dirty_bytes, 1ull << 30);
    CHECK_EQ(options.log_bytes, 2ull << 30);
    CHECK_EQ(options.checkpoint_ms, 30000);
    CHECK_EQ(options.segment_bytes, 64u << 20);
    CHECK_EQ(options.durability, KILN_LAZY);
    CHECK_EQ(options.lazy_ms, 200);
    CHECK_EQ(options.threads, 3);
    CHECK_EQ(options.io_depth, 32);
    CHECK_EQ(options.interval_ms, 500);
    REQUIRE_EQ(options.phase_count, 3);
    CHECK_EQ(options.phases[0].kind, GIGA_UPDATE);
    CHECK_EQ(options.phases[1].kind, GIGA_DELETE);
    CHECK_EQ(options.phases[2].kind, GIGA_MIXED);
    CHECK_EQ(options.phases[2].count, 7);
    CHECK(options.no_direct && options.verify && options.remove && options.plain && options.quiet);
    CHECK_STR(options.rfl_dir, "l");
}

static void
wrong_words_get_one_clear_line(void)
{
    static const char *const wrong[][2] = {
        {"--frobnicate", "no such option: --frobnicate"},
        {"-x", "no such option: -x"},
        {"--d", "no such option: --d"},
        {"ten", "COUNT: \"ten\" is not a count"},
        {"0", "COUNT: \"0\" is not between 1 and"},
        {"1 2", "\"2\" is a second"},
        {"--txn", "--txn wants an argument: N"},
        {"--txn 0", "--txn: \"0\" is not between"},
        {"--txn -5", "--txn: \"-5\" is not a count"},
        {"--cache 1k", "--cache: \"1k\" is not between 4.00 MiB"},
        {"--seed 0x", "--seed: \"0x\" is not a number"},
        {"--seed 1f", "--seed: \"1f\" is not a number"},
        {"--seed 18446744073709551616", "is not a number from 0 to 2^64 - 1"},
        {"--page 5000", "--page: \"5000\" is not a power of two"},
        {"--page 2k", "--page: \"2k\" is not between"},
        {"--order up", "--order: \"up\" is neither"},
        {"--ids some", "--ids: \"some\""},
        {"--index first", "--index: \"first\""},
        {"--durability strong", "--durability: \"strong\""},
        {"--durability default", "--durability: \"default\""},
        {"--seed -1", "--seed: \"-1\" is not a number"},
        {"--seed 12x", "--seed: \"12x\" is not a number"},
        {"--checkpoint-interval soon", "is not a time"},
        {"--verify=yes", "--verify takes no argument"},
        {"--resume --overwrite", "do not go together"},
        {"--keep --remove", "do not go together"},
        {"--ids scattered --order random", "do not go together"},
        {"--db=", "--db: no directory"},
    };

    for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
        CHECK_MSG(!parse(wrong[i][0]), "\"%s\" must be refused", wrong[i][0]);
        CHECK_HAS(error, wrong[i][1]);
        CHECK(strchr(error, '\n') == NULL);
    }
}

static void
verify_alone_loads_nothing(void)
{
    REQUIRE(parse("--verify --db d"));
    CHECK(options.verify_only);
    REQUIRE(parse("1m --verify --db d"));
    CHECK(!options.verify_only);
    REQUIRE(parse("--verify --resume --db d"));
    CHECK(!options.verify_only);
    REQUIRE(parse("--verify --update 5 --resume"));
    CHECK(!options.verify_only);
}

static void
resume_command_keeps_what_matters_and_is_quoted(void)
{
    struct giga_phase left = {.kind = GIGA_DELETE, .count = 9};
    char command[512];
    char *argv[] = {(char[]){"gigatest"},  (char[]){"5m"},       (char[]){"--db"},
                    (char[]){"it's here"}, (char[]){"--order"},  (char[]){"random"},
                    (char[]){"--cache"},   (char[]){"1G"},       (char[]){"--overwrite"},
                    (char[]){"--verify"},  (char[]){"--update"}, (char[]){"10"}};

    REQUIRE(giga_options_parse(&options, 12, argv, error, sizeof(error)));
    CHECK(giga_options_resume_command(&options, "gigatest", &left, 1, command, sizeof(command)));
    CHECK_STR(command, "gigatest --resume --db 'it'\\''s here' --cache 1G --verify --delete 9");
    CHECK(!giga_options_resume_command(&options, "gigatest", &left, 1, command, 20));
    REQUIRE(parse("5m"));
    CHECK(giga_options_resume_command(&options, "./gigatest", NULL, 0, command, sizeof(command)));
    CHECK_STR(command, "./gigatest --resume --db gigatest.db");
}

TEST_MAIN("gigatest_options", TEST(nothing_said_means_a_million), TEST(every_option_is_understood),
          TEST(wrong_words_get_one_clear_line), TEST(verify_alone_loads_nothing),
          TEST(resume_command_keeps_what_matters_and_is_quoted))
