/* SPDX-License-Identifier: Apache-2.0 */
/* gigatest/giga_model.c -- see giga_model.h. */
#include "gigatest/giga_model.h"

#include <string.h>

#include "gigatest/giga_mix.h"
#include "gigatest/giga_names.h"

void
giga_model_init(struct giga_model *model, const struct giga_plan *plan)
{
    memset(model, 0, sizeof(*model));
    model->plan = *plan;
    giga_permute_init(&model->permute, plan->count, giga_mix(plan->seed));
}

bool
giga_model_round_add(struct giga_model *model, enum giga_kind kind, uint64_t target)
{
    struct giga_round *round;

    if (model->round_count == GIGA_ROUNDS_MAX)
        return false;
    round = &model->rounds[model->round_count];
    memset(round, 0, sizeof(*round));
    round->kind = kind;
    round->target = target;
    round->seed = giga_mix(model->plan.seed ^ giga_mix(1000 + model->round_count));
    giga_permute_init(&round->permute, model->plan.count, round->seed);
    model->round_count++;
    return true;
}

static inline void
combination_set(struct giga_state *state, uint64_t combination)
{
    if (combination >= GIGA_COMBINATIONS)
        combination %= GIGA_COMBINATIONS;
    state->given = (uint32_t)(combination % GIGA_GIVEN_COUNT);
    state->family = (uint32_t)(combination / GIGA_GIVEN_COUNT);
}

static inline uint32_t
age_at_load(const struct giga_model *model, uint64_t id)
{
    return giga_scale(giga_mix(id ^ (model->plan.seed << 32)), 100);
}

uint64_t
giga_model_load(const struct giga_model *model, uint64_t position, struct giga_state *state_out)
{
    uint64_t number = position;
    uint64_t id = position + 1;

    if (model->plan.ids == GIGA_IDS_SCATTERED) {
        number = giga_permute_forward(&model->permute, position);
        id = number + 1;
    } else if (model->plan.order == GIGA_RANDOM) {
        number = giga_permute_forward(&model->permute, position);
    }
    combination_set(state_out, number);
    state_out->age = age_at_load(model, id);
    state_out->alive = true;
    return id;
}

static void
state_at_load(const struct giga_model *model, uint64_t id, struct giga_state *state)
{
    uint64_t position = id - 1;

    if (model->plan.ids == GIGA_IDS_SCATTERED && model->loaded < model->plan.count)
        position = giga_permute_back(&model->permute, id - 1);
    state->alive = position < model->loaded;
    if (model->plan.ids != GIGA_IDS_SCATTERED && model->plan.order == GIGA_RANDOM)
        combination_set(state, giga_permute_forward(&model->permute, id - 1));
    else
        combination_set(state, id - 1);
    state->age = age_at_load(model, id);
}

void
giga_model_state(const struct giga_model *model, uint64_t id, uint32_t rounds,
                 struct giga_state *state_out)
{
    state_at_load(model, id, state_out);
    for (uint32_t i = 0; i < rounds; i++) {
        const struct giga_round *round = &model->rounds[i];

        if (round->walked != 0 && giga_permute_back(&round->permute, id - 1) < round->walked)
            giga_round_step(round, id, state_out);
    }
}

/* A new age always; new names every other time, so that the index on names changes too. */
static void
state_renew(struct giga_state *state, uint64_t hash)
{
    state->age = giga_scale(hash, 100);
    if (hash & 1)
        combination_set(state, giga_mix(hash) % GIGA_COMBINATIONS);
}

enum giga_step
giga_round_step(const struct giga_round *round, uint64_t id, struct giga_state *state)
{
    uint64_t hash = giga_mix(round->seed ^ giga_mix(id));
    uint32_t share = (uint32_t)(hash >> 8) % 100;

    if (!state->alive) {
        if (round->kind != GIGA_MIXED)
            return GIGA_STEP_NONE;
        state->alive = true;
        state_renew(state, hash | 1);
        return GIGA_STEP_ADD;
    }
    if (round->kind == GIGA_DELETE || (round->kind == GIGA_MIXED && share < 15)) {
        state->alive = false;
        return GIGA_STEP_DELETE;
    }
    if (round->kind == GIGA_MIXED && share >= 50)
        return GIGA_STEP_READ;
    state_renew(state, hash);
    return GIGA_STEP_UPDATE;
}
