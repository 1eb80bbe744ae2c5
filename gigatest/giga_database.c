/* SPDX-License-Identifier: Apache-2.0 */
/* gigatest/giga_database.c -- see giga_database.h. */
#include "gigatest/giga_database.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ftk/clock.h"
#include "ftk/number.h"
#include "gigatest/giga_device.h"

#define META_COLLECTION "gigatest"
#define META_PLAN "options"
#define PATH_BYTES 4096

/* ---- files ---------------------------------------------------------------------------------- */

bool
giga_database_exists(const struct giga_options *options)
{
    char path[PATH_BYTES];

    snprintf(path, sizeof(path), "%s/data.kdb", options->db);
    return access(path, F_OK) == 0;
}

/* 16 hexadecimal digits and ".rfl", or ".spare" for one kept ready. */
static bool
is_segment(const char *name)
{
    return strspn(name, "0123456789abcdef") == 16 &&
           (strcmp(name + 16, ".rfl") == 0 || strcmp(name + 16, ".spare") == 0 ||
            strcmp(name + 16, ".new") == 0);
}

/* The segments and the lock of a log in `path`, and the directory when nothing else is in it. */
static bool
segments_remove(struct giga_run *run, const char *path)
{
    struct dirent *entry;
    DIR *directory = opendir(path);
    bool good = true;

    if (directory == NULL)
        return errno == ENOENT ||
               giga_fail(run, KILN_OK, "cannot read directory %s: %s", path, strerror(errno));
    while (good && (entry = readdir(directory)) != NULL) {
        bool ours = is_segment(entry->d_name) || strcmp(entry->d_name, "rfl.lock") == 0;
        if (ours && unlinkat(dirfd(directory), entry->d_name, 0) != 0)
            good = giga_fail(run, KILN_OK, "cannot remove %s/%s: %s", path, entry->d_name,
                             strerror(errno));
    }
    closedir(directory);
    if (good)
        rmdir(path);
    return good;
}

static bool
has_segments(const char *path)
{
    struct dirent *entry;
    DIR *directory = opendir(path);
    bool found = false;

    while (directory != NULL && !found && (entry = readdir(directory)) != NULL)
        found = is_segment(entry->d_name);
    if (directory != NULL)
        closedir(directory);
    return found;
}

bool
giga_database_may_make(const struct giga_options *options)
{
    char path[PATH_BYTES];

    snprintf(path, sizeof(path), "%s/data.kdb.new", options->db); /* begun: the log is its own */
    return options->rfl_dir == NULL || access(path, F_OK) == 0 || !has_segments(options->rfl_dir);
}

bool
giga_database_may_remove(const struct giga_options *options, char *reason, size_t reason_size)
{
    kiln_options open_options;
    kiln_db *db = NULL;
    kiln_status rc;

    kiln_options_init(&open_options);
    open_options.flags = KILN_OPEN_READONLY;
    open_options.rfl_dir = options->rfl_dir;
    rc = kiln_open(options->db, &open_options, &db);
    if (rc == KILN_OK) {
        kiln_close(db);
        return true;
    }
    if (rc == KILN_FOREIGN)
        snprintf(reason, reason_size,
                 "data.kdb is not a kiln database: --overwrite leaves it alone; remove it "
                 "yourself, or give another --db");
    else if (rc == KILN_INUSE)
        snprintf(reason, reason_size,
                 "the database is in use: --overwrite removes none that is open");
    else if (options->rfl_dir != NULL && has_segments(options->rfl_dir))
        snprintf(reason, reason_size,
                 "--overwrite leaves the log in %s alone, which may be another database's: %s",
                 options->rfl_dir, kiln_error_last()->text);
    else
        return true; /* damaged, of another version, too long a log for the cache: kiln's it is */
    return false;
}

bool
giga_database_remove(struct giga_run *run)
{
    static const char *const files[] = {"data.kdb", "lock"};
    const char *db = run->options->db;
    char path[PATH_BYTES];

    for (unsigned i = 0; i < sizeof(files) / sizeof(*files); i++) {
        snprintf(path, sizeof(path), "%s/%s", db, files[i]);
        if (unlink(path) != 0 && errno != ENOENT)
            return giga_fail(run, KILN_OK, "cannot remove %s: %s", path, strerror(errno));
    }
    snprintf(path, sizeof(path), "%s/rfl", db);
    if (!segments_remove(run, path) ||
        (run->options->rfl_dir != NULL && !segments_remove(run, run->options->rfl_dir)))
        return false;
    rmdir(db);
    return true;
}

/* ---- the collection "gigatest" -------------------------------------------------------------- */

static int
round_key(uint32_t number, char key[32])
{
    return snprintf(key, 32, "round.%04" PRIu32, number);
}

bool
giga_round_read(struct giga_run *run, kiln_txn *txn, uint32_t number, struct giga_round *round)
{
    char key[32];
    int key_size = round_key(number, key);
    kiln_slice value;
    kiln_status rc = kiln_get(txn, run->meta, key, (size_t)key_size, &value);

    if (rc != KILN_OK)
        return giga_fail(run, rc, "cannot read %s of collection " META_COLLECTION, key);
    if (!giga_round_parse(value.data, value.size, round) || round->walked > run->model.plan.count)
        return giga_fail(run, KILN_OK,
                         "%s of collection " META_COLLECTION " is not what gigatest writes", key);
    return true;
}

bool
giga_round_write(struct giga_run *run, kiln_txn *txn, uint32_t number,
                 const struct giga_round *round)
{
    char key[32];
    char text[GIGA_PLAN_BYTES];
    int key_size = round_key(number, key);
    int text_size = giga_round_text(round, text);
    kiln_status rc =
        kiln_put(txn, run->meta, key, (size_t)key_size, text, (size_t)text_size, KILN_PUT_REPLACE);

    return rc == KILN_OK ||
           giga_fail(run, rc, "cannot write %s of collection " META_COLLECTION, key);
}

static bool
rounds_read(struct giga_run *run, kiln_txn *txn)
{
    char key[32];
    kiln_slice value;

    for (uint32_t i = 0; i < GIGA_ROUNDS_MAX; i++) {
        kiln_status rc = kiln_get(txn, run->meta, key, (size_t)round_key(i, key), &value);

        if (rc == KILN_NOTFOUND)
            break;
        if (rc != KILN_OK)
            return giga_fail(run, rc, "cannot read %s of collection " META_COLLECTION, key);
        giga_model_round_add(&run->model, GIGA_UPDATE, 0);
        if (!giga_round_read(run, txn, i, &run->model.rounds[i]))
            return false;
    }
    return true;
}

/* ---- plan and dictionary -------------------------------------------------------------------- */

/* As "1,000 of 2,000 objects, --order random ..., 2 rounds of changes". */
static void
there_text(const struct giga_run *run, const struct giga_plan *plan, char *text, size_t text_size)
{
    char loaded[FTK_NUMBER_TEXT_MAX];
    char count[FTK_NUMBER_TEXT_MAX];

    snprintf(text, text_size,
             "%s of %s objects, --order %s --ids %s --index %s --seed %" PRIu64 ", %" PRIu32
             " rounds of changes",
             ftk_count_text(loaded, run->model.loaded), ftk_count_text(count, plan->count),
             giga_order_text(plan->order), giga_ids_text(plan->ids),
             giga_indexes_text(plan->indexes), plan->seed, run->model.round_count);
}

static bool
differs(struct giga_run *run, const char *what, const char *there, const char *here)
{
    char all[256];

    there_text(run, &run->model.plan, all, sizeof(all));
    return giga_fail(run, KILN_OK,
                     "the database in %s was made with %s %s, this command says %s: leave the "
                     "option out, or give another --db; there is: %s",
                     run->options->db, what, there, here, all);
}

/* What the command line says about the plan must be what the database was made with. */
static bool
plan_agrees(struct giga_run *run, const struct giga_plan *there)
{
    const struct giga_options *options = run->options;
    const struct giga_plan *here = &options->plan;
    char left[FTK_NUMBER_TEXT_MAX];
    char right[FTK_NUMBER_TEXT_MAX];

    if (options->count_given && here->count != there->count)
        return differs(run, "COUNT", ftk_count_text(left, there->count),
                       ftk_count_text(right, here->count));
    if (options->given[GIGA_OPT_SEED] && here->seed != there->seed) {
        snprintf(left, sizeof(left), "%" PRIu64, there->seed);
        snprintf(right, sizeof(right), "%" PRIu64, here->seed);
        return differs(run, "--seed", left, right);
    }
    if (options->given[GIGA_OPT_ORDER] && here->order != there->order)
        return differs(run, "--order", giga_order_text(there->order), giga_order_text(here->order));
    if (options->given[GIGA_OPT_IDS] && here->ids != there->ids)
        return differs(run, "--ids", giga_ids_text(there->ids), giga_ids_text(here->ids));
    if (options->given[GIGA_OPT_INDEX] && here->indexes != there->indexes)
        return differs(run, "--index", giga_indexes_text(there->indexes),
                       giga_indexes_text(here->indexes));
    return true;
}

static bool
index_define(struct giga_run *run, kiln_txn *txn, const char *name, const kiln_field *fields,
             uint32_t field_count, kiln_index *index_out)
{
    kiln_index_part parts[2] = {{.field = fields[0]}, {.field = fields[field_count - 1]}};
    kiln_index_options options = KILN_INDEX_OPTIONS_INIT;
    kiln_status rc;

    options.name = name;
    options.container = run->container;
    options.parts = parts;
    options.part_count = field_count;
    rc = kiln_index_define(txn, &options, index_out);
    return rc == KILN_OK || giga_fail(run, rc, "cannot define index %s", name);
}

static bool
dictionary_define(struct giga_run *run, kiln_txn *txn)
{
    uint32_t indexes = run->model.plan.indexes;
    kiln_field names[2];
    kiln_status rc;

    if ((rc = kiln_field_define(txn, "first", KILN_TEXT, &run->first)) != KILN_OK ||
        (rc = kiln_field_define(txn, "last", KILN_TEXT, &run->last)) != KILN_OK ||
        (rc = kiln_field_define(txn, "age", KILN_INT, &run->age)) != KILN_OK)
        return giga_fail(run, rc, "cannot define the fields");
    rc = kiln_container_define(txn, "person", &run->container);
    if (rc != KILN_OK)
        return giga_fail(run, rc, "cannot define container person");
    names[0] = run->last;
    names[1] = run->first;
    return ((indexes & GIGA_INDEX_NAME) == 0 ||
            index_define(run, txn, "name", names, 2, &run->index_name)) &&
           ((indexes & GIGA_INDEX_AGE) == 0 ||
            index_define(run, txn, "age", &run->age, 1, &run->index_age));
}

/* The first transaction: dictionary, plan. */
static bool
plan_store(struct giga_run *run)
{
    kiln_txn_options txn_options = KILN_TXN_OPTIONS_INIT;
    char text[GIGA_PLAN_BYTES];
    kiln_txn *txn;
    kiln_status rc;
    int size;

    txn_options.kind = KILN_WRITE;
    txn_options.durability = KILN_FULL;
    rc = kiln_txn_begin_with(run->db, &txn_options, &txn);
    if (rc != KILN_OK)
        return giga_fail(run, rc, "cannot begin the first transaction");
    giga_model_init(&run->model, &run->options->plan);
    size = giga_plan_text(&run->model.plan, text);
    rc = kiln_coll_open(txn, META_COLLECTION, KILN_COLL_CREATE, &run->meta);
    if (rc == KILN_OK)
        rc = kiln_put(txn, run->meta, META_PLAN, sizeof(META_PLAN) - 1, text, (size_t)size, 0);
    if (rc != KILN_OK || !dictionary_define(run, txn)) {
        kiln_txn_abort(txn);
        return giga_fail(run, rc, "cannot store the options in collection " META_COLLECTION);
    }
    rc = kiln_txn_commit(txn);
    run->made = rc == KILN_OK;
    return run->made || giga_fail(run, rc, "cannot commit the first transaction");
}

static bool
dictionary_find(struct giga_run *run, kiln_txn *txn)
{
    uint32_t indexes = run->model.plan.indexes;
    kiln_type type;
    kiln_status rc;

    if ((rc = kiln_field_find(txn, "first", &run->first, &type)) != KILN_OK ||
        (rc = kiln_field_find(txn, "last", &run->last, &type)) != KILN_OK ||
        (rc = kiln_field_find(txn, "age", &run->age, &type)) != KILN_OK ||
        (rc = kiln_container_find(txn, "person", &run->container)) != KILN_OK)
        return giga_fail(run, rc, "container person or a field of it is not there");
    if ((indexes & GIGA_INDEX_NAME) != 0 &&
        (rc = kiln_index_find(txn, "name", &run->index_name)) != KILN_OK)
        return giga_fail(run, rc, "index name is not there");
    if ((indexes & GIGA_INDEX_AGE) != 0 &&
        (rc = kiln_index_find(txn, "age", &run->index_age)) != KILN_OK)
        return giga_fail(run, rc, "index age is not there");
    return true;
}

static bool
plan_read(struct giga_run *run, kiln_txn *txn)
{
    struct giga_plan plan;
    kiln_slice value;
    kiln_status rc = kiln_get(txn, run->meta, META_PLAN, sizeof(META_PLAN) - 1, &value);

    if (rc != KILN_OK)
        return giga_fail(run, rc, "collection " META_COLLECTION " holds no options");
    if (!giga_plan_parse(value.data, value.size, &plan))
        return giga_fail(run, KILN_OK,
                         "the options in collection " META_COLLECTION
                         " are not what gigatest writes");
    giga_model_init(&run->model, &plan);
    if (!dictionary_find(run, txn) || !rounds_read(run, txn))
        return false;
    rc = kiln_container_count(txn, run->container, &run->model.loaded);
    if (rc != KILN_OK)
        return giga_fail(run, rc, "cannot count the records");
    if (run->model.round_count > 0) /* rounds begin after the load has ended */
        run->model.loaded = plan.count;
    if (!plan_agrees(run, &plan))
        return false;
    run->made = true;
    return true;
}

/* Another program's: the names of its first collections. */
static bool
not_ours(struct giga_run *run, kiln_txn *txn)
{
    char name[KILN_COLLECTION_NAME_MAX + 1];
    char names[300] = "";
    size_t used = 0;
    kiln_coll coll = 0;
    kiln_status rc;

    while ((rc = kiln_coll_next(txn, coll, name, sizeof(name), &coll)) == KILN_OK) {
        const char *comma = used > 0 ? ", " : "";

        if (used + strlen(comma) + strlen(name) + sizeof(", ...") > sizeof(names)) {
            snprintf(names + used, sizeof(names) - used, ", ...");
            break;
        }
        used += (size_t)snprintf(names + used, sizeof(names) - used, "%s%s", comma, name);
    }
    return giga_fail(run, KILN_OK,
                     "the database in %s was not made by gigatest: it has the collections %s",
                     run->options->db, names);
}

/* An interrupted creation may leave a database without anything: then the plan is stored now. */
static bool
plan_find(struct giga_run *run)
{
    kiln_txn *txn;
    bool good;
    kiln_status rc = kiln_txn_begin(run->db, KILN_READ, &txn);

    if (rc != KILN_OK)
        return giga_fail(run, rc, "cannot begin a transaction");
    rc = kiln_coll_open(txn, META_COLLECTION, 0, &run->meta);
    if (rc == KILN_OK) {
        good = plan_read(run, txn);
        kiln_txn_abort(txn);
        return good;
    }
    if (rc == KILN_NOTFOUND) {
        char name[KILN_COLLECTION_NAME_MAX + 1];
        kiln_coll coll;
        bool empty = kiln_txn_id(txn) <= 1 ||
                     kiln_coll_next(txn, 0, name, sizeof(name), &coll) == KILN_NOTFOUND;

        if (!empty)
            not_ours(run, txn);
        kiln_txn_abort(txn);
        if (empty && !run->options->verify_only)
            return plan_store(run);
        return empty ? giga_fail(run, KILN_OK, "the database in %s holds nothing yet",
                                 run->options->db)
                     : false;
    }
    giga_fail(run, rc, "cannot open collection " META_COLLECTION);
    kiln_txn_abort(txn);
    return false;
}

/* ---- open and close ------------------------------------------------------------------------- */

static void
on_log(void *context, kiln_log_level level, const char *text)
{
    struct giga_run *run = context;

    (void)level;
    giga_gauges_note(&run->gauges, text);
}

static void
kiln_options_fill(const struct giga_options *options, kiln_options *out)
{
    kiln_options_init(out);
    out->flags = options->no_direct ? KILN_NO_DIRECT_IO : 0;
    out->page_bytes = options->page_bytes;
    out->cache_bytes = options->cache_bytes;
    out->durability = options->durability;
    out->lazy_ms = options->lazy_ms;
    out->rfl_dir = options->rfl_dir;
    /* 0 takes the default: never is a bound that no run reaches, 49 days */
    out->checkpoint_ms = options->checkpoint_ms != 0 ? options->checkpoint_ms : UINT32_MAX;
    if (options->segment_bytes != 0)
        out->rfl_segment_bytes = options->segment_bytes;
    if (options->log_bytes != 0)
        out->rfl_bytes_max = options->log_bytes;
    if (options->dirty_bytes != 0)
        out->dirty_bytes_max = options->dirty_bytes;
    if (options->io_depth != 0)
        out->io_depth = options->io_depth;
}

bool
giga_database_open(struct giga_run *run, bool create)
{
    uint64_t start_ns = ftk_clock_ns();
    kiln_options options;
    kiln_status rc;

    giga_gauges_stage(&run->gauges, GIGA_STAGE_OPEN, 0, 0);
    kiln_options_fill(run->options, &options);
    options.log = on_log;
    options.log_context = run;
    options.log_level = KILN_LOG_WARNING;
    if (create)
        options.flags |= KILN_CREATE | KILN_EXCLUSIVE;
    rc = kiln_open(run->options->db, &options, &run->db);
    if (rc != KILN_OK)
        return giga_fail(run, rc, "cannot %s the database in %s", create ? "make" : "open",
                         run->options->db);
    giga_gauges_db(&run->gauges, run->db);
    run->results.open_seconds = (double)(ftk_clock_ns() - start_ns) / 1e9;
    return create ? plan_store(run) : plan_find(run);
}

static void
count_objects(struct giga_run *run)
{
    kiln_txn *txn;

    if (kiln_txn_begin(run->db, KILN_READ, &txn) == KILN_OK) {
        kiln_container_count(txn, run->container, &run->results.objects);
        kiln_txn_abort(txn);
    }
}

static void
sizes_take(struct giga_run *run)
{
    const char *db = run->options->db;
    char path[PATH_BYTES];

    snprintf(path, sizeof(path), "%s/data.kdb", db);
    run->results.data_bytes = giga_file_size(path, &run->results.data_allocated_bytes);
    snprintf(path, sizeof(path), "%s/rfl", db);
    run->results.log_bytes =
        giga_directory_size(run->options->rfl_dir != NULL ? run->options->rfl_dir : path);
    run->results.device_bytes_written = giga_device_written() - run->device_before;
    run->results.cpu_seconds = giga_cpu_seconds() - run->cpu_before;
}

bool
giga_database_finish(struct giga_run *run)
{
    uint64_t start_ns = ftk_clock_ns();
    kiln_status rc;

    giga_gauges_stage(&run->gauges, GIGA_STAGE_CHECKPOINT, 0, 0);
    rc = kiln_checkpoint(run->db);
    run->results.checkpoint_seconds = (double)(ftk_clock_ns() - start_ns) / 1e9;
    if (rc != KILN_OK)
        return giga_fail(run, rc, "the final checkpoint failed");
    count_objects(run);
    run->results.stat_known = giga_gauges_stat(&run->gauges, &run->results.stat);
    run->results.heap_bytes = giga_heap_bytes();
    start_ns = ftk_clock_ns();
    giga_gauges_stage(&run->gauges, GIGA_STAGE_CLOSE, 0, 0);
    giga_gauges_db(&run->gauges, NULL);
    rc = kiln_close(run->db);
    if (rc != KILN_STATE)
        run->db = NULL;
    run->results.close_seconds = (double)(ftk_clock_ns() - start_ns) / 1e9;
    sizes_take(run);
    return rc == KILN_OK || giga_fail(run, rc, "closing the database failed");
}

void
giga_database_abandon(struct giga_run *run)
{
    if (run->db == NULL)
        return;
    giga_gauges_stage(&run->gauges, GIGA_STAGE_CLOSE, 0, 0);
    count_objects(run);
    run->results.stat_known = giga_gauges_stat(&run->gauges, &run->results.stat);
    run->results.heap_bytes = giga_heap_bytes();
    giga_gauges_db(&run->gauges, NULL);
    kiln_close(run->db);
    run->db = NULL;
    sizes_take(run);
}
