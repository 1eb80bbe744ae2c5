/* SPDX-License-Identifier: Apache-2.0 */
/* gigatest/giga_model.h -- what every object must look like, computed from a few numbers.  Frozen:
 * see README.md, rules 3 to 7. */
#ifndef GIGATEST_GIGA_MODEL_H
#define GIGATEST_GIGA_MODEL_H

#include <stdbool.h>
#include <stdint.h>

#include "gigatest/giga_permute.h"

enum giga_order { GIGA_SEQUENTIAL = 0, GIGA_RANDOM = 1 };
enum giga_ids {
    GIGA_IDS_AUTO = 0,     /* chosen by the database: 1, 2, 3 ... */
    GIGA_IDS_GIVEN = 1,    /* the same ids, told by gigatest */
    GIGA_IDS_SCATTERED = 2 /* told by gigatest, in a random order */
};
enum giga_kind { GIGA_UPDATE = 0, GIGA_DELETE = 1, GIGA_MIXED = 2 };

#define GIGA_ROUNDS_MAX 256
#define GIGA_COUNT_MAX 1000000000000000ull /* 10^15: an eighth of it would fill a petabyte */

/* One walk over the objects in an order of its own, after the load; rounds follow each other. */
struct giga_round {
    enum giga_kind kind;
    uint64_t target; /* objects to change (GIGA_MIXED: steps to take) */
    uint64_t walked; /* positions of the round's order done with, <= the model's count */
    uint64_t done;   /* of the target */
    uint64_t seed;
    struct giga_permute permute;
};

/* Chosen when the database is made, and kept in it. */
struct giga_plan {
    uint64_t count;
    uint64_t seed;
    enum giga_order order;
    enum giga_ids ids;
    uint32_t indexes; /* GIGA_INDEX_... */
};
enum { GIGA_INDEX_NAME = 1, GIGA_INDEX_AGE = 2 };

struct giga_model {
    struct giga_plan plan;
    uint64_t loaded; /* positions of the load done with; count once there are rounds */
    struct giga_permute permute;
    uint32_t round_count;
    struct giga_round rounds[GIGA_ROUNDS_MAX];
};

struct giga_state {
    bool alive;
    uint32_t age;           /* 0..99 */
    uint32_t given, family; /* numbers in the lists */
};

/* 1 <= plan->count <= GIGA_COUNT_MAX */
void giga_model_init(struct giga_model *model, const struct giga_plan *plan);
/* False: there are GIGA_ROUNDS_MAX already. */
bool giga_model_round_add(struct giga_model *model, enum giga_kind kind, uint64_t target);

/* The object that the load adds at `position` < count, whether or not it has done so: its id, and
 * its state, alive. */
uint64_t giga_model_load(const struct giga_model *model, uint64_t position,
                         struct giga_state *state_out);
/* The object `id`, 1 <= id <= count, after the load so far and the first `rounds` rounds so far. */
void giga_model_state(const struct giga_model *model, uint64_t id, uint32_t rounds,
                      struct giga_state *state_out);

enum giga_step {
    GIGA_STEP_NONE,
    GIGA_STEP_READ,
    GIGA_STEP_UPDATE,
    GIGA_STEP_DELETE,
    GIGA_STEP_ADD
};
/* What the round does to object `id` when it comes by, and the state after it.  READ and NONE leave
 * the state as it is; NONE does not count as done. */
enum giga_step giga_round_step(const struct giga_round *round, uint64_t id,
                               struct giga_state *state);

#endif
