/* SPDX-License-Identifier: Apache-2.0 */
/* gigatest/giga_gauges.c -- see giga_gauges.h. */
#include "gigatest/giga_gauges.h"

#include <stdio.h>
#include <string.h>

#include "ftk/clock.h"

static const char *const stage_texts[GIGA_STAGE_COUNT] = {
#define X(id, text) text,
    GIGA_STAGES(X)
#undef X
};

const char *
giga_stage_text(enum giga_stage stage)
{
    return stage < GIGA_STAGE_COUNT ? stage_texts[stage] : "?";
}

void
giga_gauges_init(struct giga_gauges *gauges)
{
    memset(gauges, 0, sizeof(*gauges));
    pthread_mutex_init(&gauges->db_lock, NULL);
    pthread_mutex_init(&gauges->notes_lock, NULL);
    atomic_store(&gauges->stage_ns, ftk_clock_ns());
}

void
giga_gauges_release(struct giga_gauges *gauges)
{
    pthread_mutex_destroy(&gauges->db_lock);
    pthread_mutex_destroy(&gauges->notes_lock);
}

static void
stage_end_note(struct giga_gauges *gauges)
{
    struct giga_stage_end end = {
        .stage = (enum giga_stage)atomic_load(&gauges->stage),
        .total = atomic_load(&gauges->total),
        .before = atomic_load(&gauges->before),
        .done = atomic_load(&gauges->done),
        .start_ns = atomic_load(&gauges->stage_ns),
        .end_ns = ftk_clock_ns(),
    };

    pthread_mutex_lock(&gauges->notes_lock);
    if (end.total > 0 && gauges->stage_end_count < GIGA_STAGE_ENDS_MAX)
        gauges->stage_ends[gauges->stage_end_count++] = end;
    pthread_mutex_unlock(&gauges->notes_lock);
}

bool
giga_gauges_stage_end(struct giga_gauges *gauges, uint32_t number, struct giga_stage_end *end_out)
{
    bool found;

    pthread_mutex_lock(&gauges->notes_lock);
    found = number < gauges->stage_end_count;
    if (found)
        *end_out = gauges->stage_ends[number];
    pthread_mutex_unlock(&gauges->notes_lock);
    return found;
}

void
giga_gauges_stage(struct giga_gauges *gauges, enum giga_stage stage, uint64_t total,
                  uint64_t before)
{
    stage_end_note(gauges);
    atomic_store(&gauges->total, total);
    atomic_store(&gauges->before, before);
    atomic_store(&gauges->done, before);
    atomic_store(&gauges->stage_ns, ftk_clock_ns());
    atomic_store(&gauges->stage, stage);
}

void
giga_gauges_db(struct giga_gauges *gauges, kiln_db *db)
{
    pthread_mutex_lock(&gauges->db_lock);
    gauges->db = db;
    pthread_mutex_unlock(&gauges->db_lock);
}

bool
giga_gauges_stat(struct giga_gauges *gauges, kiln_stat *stat_out)
{
    bool known = false;

    memset(stat_out, 0, sizeof(*stat_out));
    stat_out->size = sizeof(*stat_out);
    pthread_mutex_lock(&gauges->db_lock);
    if (gauges->db != NULL)
        known = kiln_stat_get(gauges->db, stat_out) == KILN_OK;
    pthread_mutex_unlock(&gauges->db_lock);
    return known;
}

void
giga_gauges_note(struct giga_gauges *gauges, const char *text)
{
    pthread_mutex_lock(&gauges->notes_lock);
    snprintf(gauges->notes[gauges->note_count % GIGA_NOTES_MAX], GIGA_NOTE_BYTES, "%s", text);
    gauges->note_count++;
    pthread_mutex_unlock(&gauges->notes_lock);
}

bool
giga_gauges_note_get(struct giga_gauges *gauges, uint32_t number, char text[GIGA_NOTE_BYTES])
{
    bool found;

    pthread_mutex_lock(&gauges->notes_lock);
    found = number < gauges->note_count && number + GIGA_NOTES_MAX >= gauges->note_count;
    if (found)
        memcpy(text, gauges->notes[number % GIGA_NOTES_MAX], GIGA_NOTE_BYTES);
    pthread_mutex_unlock(&gauges->notes_lock);
    return found;
}
