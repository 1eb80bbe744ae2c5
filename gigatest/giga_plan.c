/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gigatest/giga_plan.c -- the texts kept in the collection "gigatest".
 *
 *   options      format=1 count=1000000 seed=1 order=random ids=auto index=name
 *   round.0000   kind=update target=500000 walked=500000 done=500000
 *
 * Words in this order, one blank between.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "gigatest/giga_database.h"

int
giga_plan_text(const struct giga_plan *plan, char text[GIGA_PLAN_BYTES])
{
    return snprintf(text, GIGA_PLAN_BYTES,
                    "format=1 count=%" PRIu64 " seed=%" PRIu64 " order=%s ids=%s index=%s",
                    plan->count, plan->seed, giga_order_text(plan->order), giga_ids_text(plan->ids),
                    giga_indexes_text(plan->indexes));
}

/* Copy into a terminated text; false when it is too long or holds a zero. */
static bool
terminated(const char *text, size_t text_size, char copy[GIGA_PLAN_BYTES])
{
    if (text_size >= GIGA_PLAN_BYTES || memchr(text, 0, text_size) != NULL)
        return false;
    memcpy(copy, text, text_size);
    copy[text_size] = 0;
    return true;
}

bool
giga_plan_parse(const char *text, size_t text_size, struct giga_plan *plan_out)
{
    char copy[GIGA_PLAN_BYTES];
    char again[GIGA_PLAN_BYTES];
    char order[32];
    char ids[32];
    char index[32];
    struct giga_plan plan;

    memset(plan_out, 0, sizeof(*plan_out));
    memset(&plan, 0, sizeof(plan));
    if (!terminated(text, text_size, copy) ||
        sscanf(copy, "format=1 count=%" SCNu64 " seed=%" SCNu64 " order=%31s ids=%31s index=%31s",
               &plan.count, &plan.seed, order, ids, index) != 5 ||
        plan.count < 1 || plan.count > GIGA_COUNT_MAX || !giga_order_parse(order, &plan.order) ||
        !giga_ids_parse(ids, &plan.ids) || !giga_indexes_parse(index, &plan.indexes))
        return false;
    giga_plan_text(&plan, again);
    if (strcmp(copy, again) != 0)
        return false;
    *plan_out = plan;
    return true;
}

int
giga_round_text(const struct giga_round *round, char text[GIGA_PLAN_BYTES])
{
    return snprintf(text, GIGA_PLAN_BYTES,
                    "kind=%s target=%" PRIu64 " walked=%" PRIu64 " done=%" PRIu64,
                    giga_kind_text(round->kind), round->target, round->walked, round->done);
}

bool
giga_round_parse(const char *text, size_t text_size, struct giga_round *round_out)
{
    char copy[GIGA_PLAN_BYTES];
    char again[GIGA_PLAN_BYTES];
    char kind[32];
    struct giga_round round;

    memset(&round, 0, sizeof(round));
    if (!terminated(text, text_size, copy) ||
        sscanf(copy, "kind=%31s target=%" SCNu64 " walked=%" SCNu64 " done=%" SCNu64, kind,
               &round.target, &round.walked, &round.done) != 4 ||
        !giga_kind_parse(kind, &round.kind) || round.done > round.target ||
        round.done > round.walked)
        return false;
    giga_round_text(&round, again);
    if (strcmp(copy, again) != 0)
        return false;
    round_out->kind = round.kind;
    round_out->target = round.target;
    round_out->walked = round.walked;
    round_out->done = round.done;
    return true;
}
