/* SPDX-License-Identifier: Apache-2.0 */
/* gigatest: what every object must look like, against a plain replay of all that was done. */
#include <stdlib.h>
#include <string.h>

#include "gigatest/giga_database.h"
#include "gigatest/giga_mix.h"
#include "gigatest/giga_names.h"
#include "tests/support/test.h"

enum { COUNT = 3000 };

static struct giga_model model;
static struct giga_state replayed[COUNT + 1];

static void
model_begin(enum giga_order order, enum giga_ids ids)
{
    struct giga_plan plan = {.count = COUNT, .seed = 5, .order = order, .ids = ids, .indexes = 1};

    giga_model_init(&model, &plan);
    memset(replayed, 0, sizeof(replayed));
}

static void
load_replay(uint64_t until)
{
    for (; model.loaded < until; model.loaded++) {
        struct giga_state state;
        uint64_t id = giga_model_load(&model, model.loaded, &state);

        REQUIRE(id >= 1 && id <= COUNT);
        CHECK(!replayed[id].alive && state.alive);
        replayed[id] = state;
    }
}

/* As the loader does it: by positions of the round's order. */
static void
round_replay(enum giga_kind kind, uint64_t target)
{
    uint32_t number = model.round_count;
    struct giga_round *round = &model.rounds[number];

    REQUIRE(giga_model_round_add(&model, kind, target));
    while (round->done < target && round->walked < COUNT) {
        uint64_t id = giga_permute_forward(&round->permute, round->walked) + 1;

        round->done += giga_round_step(round, id, &replayed[id]) != GIGA_STEP_NONE;
        round->walked++;
    }
}

static void
states_agree(void)
{
    uint64_t wrong = 0;

    for (uint64_t id = 1; id <= COUNT; id++) {
        struct giga_state state;

        giga_model_state(&model, id, model.round_count, &state);
        wrong +=
            state.alive != replayed[id].alive ||
            (state.alive && (state.age != replayed[id].age || state.given != replayed[id].given ||
                             state.family != replayed[id].family));
    }
    CHECK_EQ(wrong, 0);
}

static void
a_load_is_known_at_every_point(void)
{
    static const struct {
        enum giga_order order;
        enum giga_ids ids;
    } kinds[] = {{GIGA_SEQUENTIAL, GIGA_IDS_AUTO},
                 {GIGA_RANDOM, GIGA_IDS_AUTO},
                 {GIGA_RANDOM, GIGA_IDS_GIVEN},
                 {GIGA_SEQUENTIAL, GIGA_IDS_SCATTERED}};

    for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
        model_begin(kinds[i].order, kinds[i].ids);
        for (uint64_t until = 0; until <= COUNT; until += 500) {
            load_replay(until);
            states_agree();
        }
    }
}

static void
ids_follow_each_other_unless_scattered(void)
{
    struct giga_state state;

    model_begin(GIGA_RANDOM, GIGA_IDS_AUTO);
    for (uint64_t i = 0; i < COUNT; i++)
        CHECK_EQ(giga_model_load(&model, i, &state), i + 1);
}

static void
given_names_run_fastest_and_repeat_beyond_all(void)
{
    struct giga_plan plan = {.count = 2 * GIGA_COMBINATIONS, .seed = 1};
    struct giga_state state;
    struct giga_state again;

    giga_model_init(&model, &plan);
    giga_model_load(&model, GIGA_GIVEN_COUNT + 7, &state);
    CHECK_EQ(state.given, 7);
    CHECK_EQ(state.family, 1);
    giga_model_load(&model, GIGA_COMBINATIONS + GIGA_GIVEN_COUNT + 7, &again);
    CHECK_EQ(again.given, 7);
    CHECK_EQ(again.family, 1);
}

static void
rounds_are_known_at_every_point(void)
{
    struct ftk_random random = test_random();

    for (uint64_t run = 0; run < test_rounds(4); run++) {
        model_begin(run % 2 ? GIGA_RANDOM : GIGA_SEQUENTIAL,
                    run % 3 == 2 ? GIGA_IDS_SCATTERED : GIGA_IDS_AUTO);
        load_replay(COUNT);
        for (int i = 0; i < 12; i++) {
            round_replay((enum giga_kind)ftk_random_below(&random, 3),
                         1 + ftk_random_below(&random, COUNT));
            states_agree();
        }
    }
}

static void
deletes_stop_when_nothing_is_left(void)
{
    struct giga_state state;

    model_begin(GIGA_SEQUENTIAL, GIGA_IDS_AUTO);
    load_replay(COUNT);
    round_replay(GIGA_DELETE, COUNT);
    round_replay(GIGA_UPDATE, 10);
    CHECK_EQ(model.rounds[0].done, COUNT);
    CHECK_EQ(model.rounds[1].done, 0);
    giga_model_state(&model, 1, 2, &state);
    CHECK(!state.alive);
}

static void
mixed_rounds_do_everything(void)
{
    uint32_t steps[5] = {0};
    struct giga_round *round = &model.rounds[1];

    model_begin(GIGA_SEQUENTIAL, GIGA_IDS_AUTO);
    load_replay(COUNT);
    round_replay(GIGA_DELETE, COUNT / 2);
    REQUIRE(giga_model_round_add(&model, GIGA_MIXED, COUNT));
    for (uint64_t id = 1; id <= COUNT; id++)
        steps[giga_round_step(round, id, &replayed[id])]++;
    CHECK_EQ(steps[GIGA_STEP_NONE], 0);
    CHECK_EQ(steps[GIGA_STEP_ADD], COUNT / 2);
    CHECK(steps[GIGA_STEP_READ] > 600 && steps[GIGA_STEP_READ] < 900);
    CHECK(steps[GIGA_STEP_UPDATE] > 400 && steps[GIGA_STEP_UPDATE] < 650);
    CHECK(steps[GIGA_STEP_DELETE] > 150 && steps[GIGA_STEP_DELETE] < 300);
}

static void
ages_cover_a_century_evenly(void)
{
    struct giga_plan plan = {.count = 1000000, .seed = 1};
    uint32_t ages[100] = {0};

    giga_model_init(&model, &plan);
    for (uint64_t i = 0; i < 1000000; i++) {
        struct giga_state state;

        giga_model_load(&model, i, &state);
        REQUIRE(state.age < 100);
        ages[state.age]++;
    }
    for (int i = 0; i < 100; i++)
        CHECK(ages[i] > 9500 && ages[i] < 10500);
}

/* Databases of older versions must verify: the rule is frozen. */
static void
states_are_those_of_the_first_version(void)
{
    struct giga_plan plan = {.count = 1000, .seed = 1, .order = GIGA_RANDOM, .indexes = 1};
    uint64_t hash = 0;

    giga_model_init(&model, &plan);
    model.loaded = 1000;
    for (int i = 0; i < 3; i++) {
        giga_model_round_add(&model, (enum giga_kind)i, 500);
        model.rounds[i].walked = 500;
    }
    for (uint64_t id = 1; id <= 1000; id++) {
        struct giga_state state;

        giga_model_state(&model, id, 3, &state);
        hash = giga_mix(hash ^ state.alive);
        hash = giga_mix(hash ^ state.age);
        hash = giga_mix(hash ^ state.given);
        hash = giga_mix(hash ^ state.family);
    }
    CHECK_MSG(hash == 0xe1dc1c17562b19d2, "the hash is 0x%llx", (unsigned long long)hash);
}

static void
plans_and_rounds_survive_as_text(void)
{
    struct giga_plan plan = {
        .count = 12345, .seed = 99, .order = GIGA_RANDOM, .ids = GIGA_IDS_GIVEN, .indexes = 3};
    struct giga_round round = {.kind = GIGA_MIXED, .target = 50, .walked = 20, .done = 10};
    struct giga_plan plan_back;
    struct giga_round round_back = {.seed = 7};
    char text[GIGA_PLAN_BYTES];
    int size = giga_plan_text(&plan, text);

    CHECK_STR(text, "format=1 count=12345 seed=99 order=random ids=given index=name,age");
    REQUIRE(giga_plan_parse(text, (size_t)size, &plan_back));
    CHECK(plan_back.count == 12345 && plan_back.seed == 99 && plan_back.order == GIGA_RANDOM &&
          plan_back.ids == GIGA_IDS_GIVEN && plan_back.indexes == 3);
    size = giga_round_text(&round, text);
    CHECK_STR(text, "kind=mixed target=50 walked=20 done=10");
    REQUIRE(giga_round_parse(text, (size_t)size, &round_back));
    CHECK(round_back.kind == GIGA_MIXED && round_back.target == 50 && round_back.walked == 20 &&
          round_back.done == 10 && round_back.seed == 7);
}

static void
other_texts_are_refused(void)
{
    static const char *const plans[] = {
        "",
        "format=2 count=1 seed=1 order=random ids=auto index=name",
        "format=1 count=0 seed=1 order=random ids=auto index=name",
        "format=1 count=1 seed=1 order=up ids=auto index=name",
        "format=1 count=1 seed=1 order=random ids=auto index=name more",
        "format=1 count=-1 seed=1 order=random ids=auto index=name",
        "format=1 count=99999999999999999999 seed=1 order=random ids=auto index=name",
    };
    static const char *const rounds[] = {
        "",
        "kind=none target=1 walked=1 done=1",
        "kind=update target=1 walked=1 done=2",
        "kind=update target=5 walked=1 done=2",
        "kind=update target=1 walked=1 done=1 ",
    };
    struct giga_plan plan;
    struct giga_round round;
    char long_text[2 * GIGA_PLAN_BYTES];

    for (size_t i = 0; i < sizeof(plans) / sizeof(*plans); i++)
        CHECK_MSG(!giga_plan_parse(plans[i], strlen(plans[i]), &plan), "\"%s\"", plans[i]);
    for (size_t i = 0; i < sizeof(rounds) / sizeof(*rounds); i++)
        CHECK_MSG(!giga_round_parse(rounds[i], strlen(rounds[i]), &round), "\"%s\"", rounds[i]);
    memset(long_text, 'x', sizeof(long_text));
    CHECK(!giga_plan_parse(long_text, sizeof(long_text), &plan));
    CHECK(!giga_round_parse(long_text, sizeof(long_text), &round));
}

TEST_MAIN("gigatest_model", TEST(a_load_is_known_at_every_point),
          TEST(ids_follow_each_other_unless_scattered),
          TEST(given_names_run_fastest_and_repeat_beyond_all),
          TEST(rounds_are_known_at_every_point), TEST(deletes_stop_when_nothing_is_left),
          TEST(mixed_rounds_do_everything), TEST(ages_cover_a_century_evenly),
          TEST(states_are_those_of_the_first_version), TEST(plans_and_rounds_survive_as_text),
          TEST(other_texts_are_refused))
