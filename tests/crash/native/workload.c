/* SPDX-License-Identifier: Apache-2.0 */
/* tests/crash/native/workload.c -- see workload.h. */
#include "tests/crash/native/workload.h"

#include <dirent.h>
#include <inttypes.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ftk/bytes.h"
#include "ftk/random.h"

enum { FORMS = 6 }; /* of paths */
enum { THREADS_MAX = 4, SCRIPT_MAX = 16, VALUE_MAX = 1 << 20 };

/* ---- words ---------------------------------------------------------------------------------- */

static char words[1024];

__attribute__((format(printf, 1, 2))) static const char *
say(const char *format, ...)
{
    char text[sizeof words];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    memcpy(words, text, sizeof words);
    return words;
}

static const char *
say_failed(const char *what, kiln_status status)
{
    return say("%s: %s: %s", what, kiln_status_name(status), kiln_error_last()->text);
}

/* ---- promises ------------------------------------------------------------------------------- */

static void
note_read(struct promise *p, const struct op *op)
{
    switch (op->note) {
    case NOTE_BEGIN:
        p->epochs[op->number] = op->epoch;
        p->high = op->number;
        break;
    case NOTE_FULL:
    case NOTE_SAVED:
        p->low = op->number > p->low ? op->number : p->low;
        /* fall through */
    case NOTE_OS: p->low_os = op->number > p->low_os ? op->number : p->low_os; break;
    case NOTE_ADOPT:
        p->high = p->low_os = op->number;
        p->epoch_last = op->epoch;
        break;
    case NOTE_MOVED: p->moved = op->number; break;
    default: /* the process was killed while it noted it */ break;
    }
}

void
promise_read(struct promise *promise, const struct recording *recording, uint32_t ops)
{
    for (uint32_t i = 0; i < ops; i++) {
        if (recording->ops[i].kind == OP_NOTE)
            note_read(promise, &recording->ops[i]);
    }
}

/* ---- scripts -------------------------------------------------------------------------------- */

enum script_kind { PUT, DELETE, DROP, BULK };

struct script_op {
    enum script_kind kind;
    unsigned coll, key;
};

/* A transaction: what it does follows from this alone. */
struct script {
    const struct workload *w;
    uint64_t seed;
    uint32_t n, epoch;
};

static struct ftk_random
script_random(const struct script *s, uint64_t place)
{
    struct ftk_random random;

    ftk_random_seed(&random, s->seed ^ s->n * 0x9e3779b97f4a7c15u ^ s->epoch * 0xd6e8feb86659fd93u ^
                                 place * 0xa0761d6478bd642fu);
    return random;
}

static bool
one_in(struct ftk_random *random, unsigned n)
{
    return n > 0 && ftk_random_below(random, n) == 0;
}

static unsigned
script_make(const struct script *s, struct script_op *ops)
{
    const struct workload *w = s->w;
    struct ftk_random random = script_random(s, 0);
    unsigned count = 1 + (unsigned)ftk_random_below(&random, w->ops_max);

    for (unsigned i = 0; i < count; i++) {
        ops[i].coll = (unsigned)ftk_random_below(&random, COLLS);
        ops[i].key = (unsigned)ftk_random_below(&random, w->keys);
        ops[i].kind = one_in(&random, w->drop_one_in)   ? DROP
                      : one_in(&random, w->bulk_one_in) ? BULK
                      : one_in(&random, 6)              ? DELETE
                                                        : PUT;
    }
    return count;
}

/* The value that a transaction puts; into bytes, VALUE_MAX of them. */
static size_t
value_make(const struct script *s, const struct script_op *op, unsigned char *bytes)
{
    const struct workload *w = s->w;
    struct ftk_random random = script_random(s, 1 + op->coll * KEYS_MAX + op->key);
    uint64_t word;

    bool large = op->kind == PUT && one_in(&random, w->large_one_in);
    size_t size = large ? ftk_random_below(&random, w->large_max + 1)
                        : ftk_random_below(&random, w->value_max + 1);
    for (size_t at = 0; at < size; at += sizeof word) {
        word = ftk_random_next(&random);
        memcpy(bytes + at, &word, size - at < sizeof word ? size - at : sizeof word);
    }
    return size;
}

static size_t
key_make(unsigned key, char *text)
{
    return (size_t)sprintf(text, "key %05u of the workload", key);
}

/* ---- contents ------------------------------------------------------------------------------- */

struct contents {
    bool there[COLLS];
    struct {
        uint32_t n; /* transaction that put it; 0: no such key */
        bool bulk;
    } keys[COLLS][KEYS_MAX];
};

static void
contents_apply(struct contents *contents, const struct workload *w, const struct script_op *op,
               uint32_t n)
{
    if (op->kind == DROP || op->kind == BULK)
        memset(contents->keys[op->coll], 0, sizeof contents->keys[0]);
    contents->there[op->coll] =
        op->kind == PUT || op->kind == BULK || (op->kind == DELETE && contents->there[op->coll]);
    for (unsigned k = 0; op->kind == BULK && k < w->keys; k++) {
        contents->keys[op->coll][k].n = n;
        contents->keys[op->coll][k].bulk = true;
    }
    if (op->kind == PUT || op->kind == DELETE) {
        contents->keys[op->coll][op->key].n = op->kind == PUT ? n : 0;
        contents->keys[op->coll][op->key].bulk = false;
    }
}

static void
contents_make(struct contents *contents, const struct workload *w, uint64_t seed,
              const struct promise *promise, uint32_t n)
{
    struct script_op ops[SCRIPT_MAX];

    memset(contents, 0, sizeof *contents);
    for (uint32_t i = 1; i <= n; i++) {
        struct script script = {.w = w, .seed = seed, .n = i, .epoch = promise->epochs[i]};
        unsigned count = script_make(&script, ops);
        for (unsigned k = 0; k < count; k++)
            contents_apply(contents, w, &ops[k], i);
    }
}

/* ---- writing -------------------------------------------------------------------------------- */

#define TRY(call)                                                                                  \
    do {                                                                                           \
        kiln_status tried = (call);                                                                \
        if (tried != KILN_OK)                                                                      \
            return tried;                                                                          \
    } while (0)

static kiln_status
bulk_fill(kiln_txn *txn, kiln_coll coll, const struct script *s, struct script_op op,
          unsigned char *value)
{
    kiln_bulk *bulk;
    kiln_status rc = kiln_bulk_begin(txn, coll, &bulk);
    char key[64];

    if (rc != KILN_OK)
        return rc;
    for (op.key = 0; rc == KILN_OK && op.key < s->w->keys; op.key++) {
        size_t size = value_make(s, &op, value);
        rc = kiln_bulk_add(bulk, key, key_make(op.key, key), value, size);
    }
    kiln_status ended = kiln_bulk_end(bulk);
    return rc != KILN_OK ? rc : ended;
}

static kiln_status
op_apply(kiln_txn *txn, const struct script *s, const struct script_op *op, unsigned char *value)
{
    char name[8], key[64];
    kiln_coll coll;
    kiln_status rc;

    snprintf(name, sizeof name, "c%u", op->coll);
    rc = kiln_coll_open(txn, name, 0, &coll);
    if (rc != KILN_OK && rc != KILN_NOTFOUND)
        return rc;
    if (rc == KILN_OK && (op->kind == DROP || op->kind == BULK)) {
        TRY(kiln_coll_drop(txn, coll));
        rc = KILN_NOTFOUND;
    }
    if (rc == KILN_NOTFOUND && (op->kind == DROP || op->kind == DELETE))
        return KILN_OK;
    if (rc == KILN_NOTFOUND)
        TRY(kiln_coll_open(txn, name, KILN_COLL_CREATE, &coll));
    if (op->kind == BULK)
        return bulk_fill(txn, coll, s, *op, value);
    size_t key_size = key_make(op->key, key);
    if (op->kind == DELETE) {
        rc = kiln_delete(txn, coll, key, key_size);
        return rc == KILN_NOTFOUND ? KILN_OK : rc;
    }
    size_t size = value_make(s, op, value);
    return kiln_put(txn, coll, key, key_size, value, size, KILN_PUT_REPLACE);
}

static kiln_status
script_apply(kiln_txn *txn, const struct script *s)
{
    struct script_op ops[SCRIPT_MAX];
    unsigned count = script_make(s, ops);
    unsigned char *value = malloc(VALUE_MAX);
    kiln_status rc = value == NULL ? KILN_NOMEM : KILN_OK;

    for (unsigned i = 0; rc == KILN_OK && i < count; i++)
        rc = op_apply(txn, s, &ops[i], value);
    free(value);
    return rc;
}

static kiln_status
meta_put(kiln_txn *txn, uint32_t n, uint32_t epoch)
{
    unsigned char value[8];
    kiln_coll meta;

    ftk_put_le32(value, n);
    ftk_put_le32(value + 4, epoch);
    TRY(kiln_coll_open(txn, "meta", KILN_COLL_CREATE, &meta));
    return kiln_put(txn, meta, "commit", 6, value, sizeof value, KILN_PUT_REPLACE);
}

static kiln_status
meta_get(kiln_txn *txn, uint32_t *n_out, uint32_t *epoch_out)
{
    kiln_slice value;
    kiln_coll meta;
    kiln_status rc = kiln_coll_open(txn, "meta", 0, &meta);

    *n_out = *epoch_out = 0;
    if (rc == KILN_NOTFOUND)
        return KILN_OK; /* commit 0: a new database */
    if (rc == KILN_OK)
        rc = kiln_get(txn, meta, "commit", 6, &value);
    if (rc != KILN_OK)
        return rc;
    if (value.size != 8)
        return KILN_CORRUPT;
    *n_out = ftk_get_le32(value.data);
    *epoch_out = ftk_get_le32((const unsigned char *)value.data + 4);
    return KILN_OK;
}

/* Do a script and commit. */
static kiln_status
commit_one(kiln_txn *txn, const struct script *s)
{
    kiln_status rc = script_apply(txn, s);

    if (rc == KILN_OK)
        rc = meta_put(txn, s->n, s->epoch);
    if (rc == KILN_OK && (s->w->flags & KILN_EXTERNAL_LOG))
        rc = kiln_txn_set_applied(txn, s->n);
    if (rc != KILN_OK) {
        kiln_txn_abort(txn);
        return rc;
    }
    recorder_note(NOTE_BEGIN, s->n, s->epoch);
    return kiln_txn_commit(txn);
}

/* ---- reading -------------------------------------------------------------------------------- */

/* What a database is compared with. */
struct survey {
    const struct workload *w;
    uint64_t seed;
    const struct promise *promise;
    uint32_t low;
    unsigned form; /* of paths */
    struct contents contents;
    unsigned char value[VALUE_MAX];
};

static struct survey survey;

static void
survey_begin(const struct workload *w, uint64_t seed, const struct promise *promise, uint32_t low)
{
    survey.w = w;
    survey.seed = seed;
    survey.promise = promise;
    survey.low = low;
    survey.form = w->odd_names ? (unsigned)((seed + promise->epoch_last) % FORMS) : 0;
}

/* The cursor's next item is the one of key k of collection c. */
static const char *
item_differs(kiln_cursor *cursor, unsigned c, unsigned k)
{
    uint32_t n = survey.contents.keys[c][k].n;
    struct script script = {
        .w = survey.w, .seed = survey.seed, .n = n, .epoch = survey.promise->epochs[n]};
    struct script_op op = {
        .kind = survey.contents.keys[c][k].bulk ? BULK : PUT, .coll = c, .key = k};
    kiln_slice got_key, got;
    char key[64];
    size_t key_size = key_make(k, key);
    size_t size = value_make(&script, &op, survey.value);
    kiln_status rc = kiln_cursor_next(cursor);

    if (rc == KILN_OK)
        rc = kiln_cursor_item(cursor, &got_key, &got);
    if (rc != KILN_OK)
        return say_failed(key, rc);
    if (got_key.size != key_size || memcmp(got_key.data, key, key_size) != 0)
        return say("c%u: \"%.*s\" in place of \"%s\"", c, (int)got_key.size,
                   (const char *)got_key.data, key);
    if (got.size != size || memcmp(got.data, survey.value, size) != 0)
        return say("c%u, \"%s\": not the value of transaction %u", c, key, n);
    return NULL;
}

static const char *
coll_differs(kiln_txn *txn, unsigned c)
{
    bool wanted = survey.contents.there[c];
    const char *wrong = NULL;
    char name[8];
    kiln_cursor *cursor;
    kiln_coll coll;

    snprintf(name, sizeof name, "c%u", c);
    kiln_status rc = kiln_coll_open(txn, name, 0, &coll);
    if (rc == KILN_NOTFOUND)
        return wanted ? say("collection %s is missing", name) : NULL;
    if (rc == KILN_OK)
        rc = kiln_cursor_open(txn, coll, 0, &cursor);
    if (rc != KILN_OK)
        return say_failed(name, rc);
    for (unsigned k = 0; wrong == NULL && k < survey.w->keys; k++) {
        if (survey.contents.keys[c][k].n != 0)
            wrong = item_differs(cursor, c, k);
    }
    if (wrong == NULL && kiln_cursor_next(cursor) != KILN_NOTFOUND)
        wrong = say("%s has keys behind the last", name);
    kiln_cursor_close(cursor);
    return wrong != NULL || wanted ? wrong : say("collection %s is there", name);
}

static const char *
contents_differ(kiln_txn *txn, uint32_t n)
{
    const char *wrong = NULL;
    uint64_t colls = 0, wanted = n > 0;
    char name[KILN_COLLECTION_NAME_MAX + 1];
    kiln_coll coll;

    contents_make(&survey.contents, survey.w, survey.seed, survey.promise, n);
    for (unsigned c = 0; wrong == NULL && c < COLLS; c++) {
        wrong = coll_differs(txn, c);
        wanted += survey.contents.there[c];
    }
    while (wrong == NULL && kiln_coll_name(txn, colls, name, sizeof name, &coll) == KILN_OK)
        colls++;
    if (wrong == NULL && colls != wanted)
        wrong = say("%" PRIu64 " collections, wanted %" PRIu64, colls, wanted);
    return wrong;
}

/* The database is one commit from survey.low on, whole. */
static const char *
database_differs(kiln_db *db, uint32_t *n_out)
{
    const struct promise *promise = survey.promise;
    const char *wrong = NULL;
    uint64_t applied;
    uint32_t epoch;
    kiln_txn *txn;
    kiln_status rc = kiln_txn_begin(db, KILN_READ, &txn);

    *n_out = 0;
    if (rc != KILN_OK)
        return say_failed("begin", rc);
    rc = meta_get(txn, n_out, &epoch);
    if (rc != KILN_OK)
        wrong = say_failed("the commit's number", rc);
    else if (*n_out < survey.low)
        wrong = say("%u was promised", survey.low);
    else if (*n_out > promise->high)
        wrong = say("%u was the last", promise->high);
    else if (*n_out > 0 && epoch != promise->epochs[*n_out])
        wrong = say("it is of epoch %u, wanted %u", epoch, promise->epochs[*n_out]);
    else
        wrong = contents_differ(txn, *n_out);
    if (wrong == NULL && (survey.w->flags & KILN_EXTERNAL_LOG) &&
        (kiln_txn_applied(txn, &applied) != KILN_OK || applied != *n_out))
        wrong = "another position is applied";
    if (wrong != NULL)
        wrong = say("commit %u: %s", *n_out, wrong);
    kiln_txn_abort(txn);
    return wrong;
}

/* ---- living --------------------------------------------------------------------------------- */

struct life {
    const struct workload *w;
    uint64_t seed;
    kiln_db *db;
    uint32_t epoch, last;
    uint32_t next;          /* guarded by the writer's turn */
    _Atomic uint32_t acked; /* the newest commit that has returned */
    _Atomic kiln_status failed;
    char failure[512]; /* set by who set failed */
};

static void
life_failed(struct life *life, kiln_status status)
{
    kiln_status none = KILN_OK;

    if (atomic_compare_exchange_strong(&life->failed, &none, status))
        snprintf(life->failure, sizeof life->failure, "%s: %s", kiln_status_name(status),
                 kiln_error_last()->text);
}

static void
acknowledged(struct life *life, uint32_t n, kiln_durability durability)
{
    uint32_t before = atomic_load(&life->acked);

    while (before < n && !atomic_compare_exchange_weak(&life->acked, &before, n))
        continue;
    if (durability != KILN_LAZY || life->w->overclaims)
        recorder_note(durability == KILN_FULL ? NOTE_FULL : NOTE_OS, n, 0);
}

static kiln_durability
durability_draw(const struct workload *w, struct ftk_random *random)
{
    uint64_t at = ftk_random_below(random, w->full + w->os + w->lazy);

    return at < w->full ? KILN_FULL : at < w->full + w->os ? KILN_OS : KILN_LAZY;
}

/* Changes that nobody may ever see: of a transaction or a savepoint that is dropped. */
static kiln_status
garbage(struct life *life, kiln_txn *txn, uint64_t chance)
{
    struct script script = {
        .w = life->w, .seed = life->seed ^ UINT64_MAX, .n = (uint32_t)chance, .epoch = life->epoch};

    return script_apply(txn, &script);
}

static kiln_status
nest(struct life *life, kiln_txn *txn, uint64_t chance)
{
    TRY(kiln_savepoint(txn));
    TRY(garbage(life, txn, chance));
    return kiln_savepoint_rollback(txn);
}

static kiln_status
writer_turn(struct life *life, struct ftk_random *random, bool *done_out)
{
    const struct workload *w = life->w;
    kiln_txn_options options = KILN_TXN_OPTIONS_INIT;
    kiln_status rc = KILN_OK;
    kiln_txn *txn;

    options.kind = KILN_WRITE;
    options.durability = durability_draw(w, random);
    TRY(kiln_txn_begin_with(life->db, &options, &txn));
    *done_out = life->next > life->last;
    if (*done_out || one_in(random, w->abort_one_in)) {
        if (!*done_out)
            rc = garbage(life, txn, ftk_random_next(random));
        kiln_txn_abort(txn);
        return rc;
    }
    if (one_in(random, w->nest_one_in))
        rc = nest(life, txn, ftk_random_next(random));
    if (rc != KILN_OK) {
        kiln_txn_abort(txn);
        return rc;
    }
    struct script script = {.w = w, .seed = life->seed, .n = life->next++, .epoch = life->epoch};
    TRY(commit_one(txn, &script));
    acknowledged(life, script.n, options.durability);
    if (one_in(random, w->checkpoint_one_in)) {
        uint32_t before = atomic_load(&life->acked);
        TRY(kiln_checkpoint(life->db));
        recorder_note(NOTE_SAVED, before, 0);
    }
    return KILN_OK;
}

struct writer {
    struct life *life;
    uint64_t seed;
    pthread_t thread;
};

static void *
writer_run(void *context)
{
    struct writer *writer = context;
    struct ftk_random random;
    bool done = false;

    ftk_random_seed(&random, writer->seed);
    while (!done && atomic_load(&writer->life->failed) == KILN_OK) {
        kiln_status rc = writer_turn(writer->life, &random, &done);
        if (rc != KILN_OK)
            life_failed(writer->life, rc);
    }
    return NULL;
}

/* An archive function makes a durable copy.  Here the note is the copy. */
static kiln_status
archive_note(void *context, const char *path)
{
    const char *name = strrchr(path, '/');

    (void)context;
    recorder_note(NOTE_MOVED, (uint32_t)strtoul(name == NULL ? path : name + 1, NULL, 16), 0);
    return KILN_OK;
}

/* One of the ways to say "name in directory dir". */
static void
path_make(const char *dir, const char *name, char *path, size_t path_size)
{
    static const struct {
        const char *between, *behind;
    } forms[FORMS] = {{"/", ""}, {"/", "/"}, {"//", "///"}, {"/./", ""}, {NULL, ""}, {NULL, "/"}};
    const char *between = forms[survey.form].between, *behind = forms[survey.form].behind;

    if (between != NULL) {
        snprintf(path, path_size, "%s%s%s%s", dir, between, name, behind);
    } else { /* relative to the working directory */
        snprintf(path, path_size, "%s%s", name, behind);
        if (chdir(dir) != 0)
            abort();
    }
}

static kiln_options
options_make(const struct workload *w, const char *rfl_dir)
{
    kiln_options options = KILN_OPTIONS_INIT;

    options.flags = KILN_CREATE | w->flags;
    options.page_bytes = w->page_bytes;
    options.cache_bytes = w->cache_bytes != 0 ? w->cache_bytes : 16 << 20;
    options.lazy_ms = 2;
    options.rfl_dir = w->log_elsewhere ? rfl_dir : NULL;
    options.rfl_segment_bytes = 2 << 20;
    options.rfl_bytes_max = w->rfl_bytes_max;
    options.dirty_bytes_max = w->dirty_bytes_max;
    options.checkpoint_ms = UINT32_MAX;
    if (w->archive)
        options.archive = archive_note;
    return options;
}

static kiln_status
database_open(const struct workload *w, const char *dir, uint32_t flags, kiln_db **db_out)
{
    char path[2048], rfl_dir[2048];

    path_make(dir, "db", path, sizeof path);
    path_make(dir, "log", rfl_dir, sizeof rfl_dir);
    if (w->made_before)
        (void)mkdir(path, 0777);
    kiln_options options = options_make(w, rfl_dir);
    options.flags |= flags;
    if (flags & KILN_OPEN_READONLY)
        options.flags &= ~(uint32_t)KILN_CREATE;
    kiln_status rc = kiln_open(path, &options, db_out);
    if (rc == KILN_INVALID && w->log_elsewhere) { /* a crash state stands in another directory */
        options.flags |= KILN_LOG_MOVED;
        rc = kiln_open(path, &options, db_out);
    }
    return rc;
}

static const char *
life_write(struct life *life)
{
    struct writer writers[THREADS_MAX];
    unsigned started = 0;

    for (; started < life->w->threads; started++) {
        struct writer *writer = &writers[started];
        writer->life = life;
        writer->seed = life->seed + life->epoch * 16 + started;
        if (pthread_create(&writer->thread, NULL, writer_run, writer) != 0)
            return say("no thread");
    }
    while (started > 0)
        pthread_join(writers[--started].thread, NULL);
    return atomic_load(&life->failed) == KILN_OK ? NULL : life->failure;
}

const char *
workload_live(const struct workload *w, uint64_t seed, const char *dir,
              const struct promise *promise, uint32_t last)
{
    static struct life life;
    uint32_t found = 0;

    memset(&life, 0, sizeof life);
    life.w = w;
    life.seed = seed;
    life.last = last;
    life.epoch = promise->epoch_last + 1;
    survey_begin(w, seed, promise, promise->low_os);
    kiln_status rc = database_open(w, dir, 0, &life.db);
    if (rc != KILN_OK)
        return say_failed("open", rc);
    const char *wrong = database_differs(life.db, &found);
    if (wrong != NULL)
        return wrong;
    recorder_note(NOTE_ADOPT, found, life.epoch);
    life.next = found + 1;
    atomic_store(&life.acked, found);
    wrong = life_write(&life);
    if (wrong != NULL)
        return wrong;
    rc = kiln_close(life.db);
    if (rc != KILN_OK)
        return say_failed("close", rc);
    recorder_note(NOTE_SAVED, atomic_load(&life.acked), 0);
    return NULL;
}

/* ---- surviving ------------------------------------------------------------------------------ */

static void
finding_keep(void *context, const char *text)
{
    char *finding = context;

    if (finding[0] == '\0')
        snprintf(finding, 256, "%s", text);
}

static const char *
check_differs(kiln_db *db)
{
    char finding[256] = "";
    kiln_check_options options = KILN_CHECK_OPTIONS_INIT;

    options.finding = finding_keep;
    options.context = finding;
    kiln_status rc = kiln_check(db, &options);
    return rc == KILN_OK && finding[0] == '\0'
               ? NULL
               : say("check: %s: %s", kiln_status_name(rc), finding);
}

/* Read-only first: it sees the same commit. */
static const char *
reader_differs(const char *dir, uint32_t *n_out)
{
    kiln_db *db;
    const char *wrong;
    kiln_status rc = database_open(survey.w, dir, KILN_OPEN_READONLY, &db);

    *n_out = UINT32_MAX;
    if (rc == KILN_NOTFOUND && survey.low == 0)
        return NULL; /* it was not made yet */
    if (rc == KILN_NOMEM && survey.w->cache_bytes != 0)
        return NULL; /* what it would replay in memory does not fit */
    if (rc != KILN_OK)
        return say_failed("open for reading", rc);
    wrong = database_differs(db, n_out);
    if (kiln_close(db) != KILN_OK && wrong == NULL)
        wrong = "close";
    return wrong == NULL ? NULL : say("read-only: %s", wrong);
}

/* Commit n + 1 of a new epoch, and find it after the close. */
static const char *
goes_on(kiln_db *db, const char *dir, struct promise *promise, uint32_t n)
{
    struct script script = {
        .w = survey.w, .seed = survey.seed, .n = n + 1, .epoch = promise->epoch_last + 1};
    const char *wrong = NULL;
    uint32_t found;
    kiln_txn *txn;
    kiln_status rc = kiln_txn_begin(db, KILN_WRITE, &txn);

    if (rc == KILN_OK)
        rc = commit_one(txn, &script);
    if (rc != KILN_OK)
        wrong = say_failed("a commit after the recovery", rc);
    promise->high = survey.low = n + 1;
    promise->epochs[n + 1] = script.epoch;
    if (wrong == NULL)
        wrong = database_differs(db, &found);
    rc = kiln_close(db);
    if (wrong == NULL && rc != KILN_OK)
        wrong = say_failed("close", rc);
    if (wrong != NULL || n % 3 != 0)
        return wrong;
    rc = database_open(survey.w, dir, 0, &db);
    if (rc != KILN_OK)
        return say_failed("open after the close", rc);
    wrong = database_differs(db, &found);
    if (wrong == NULL)
        wrong = check_differs(db);
    (void)kiln_close(db);
    return wrong;
}

/* No segment is gone before it was archived. */
static const char *
archive_differs(const char *dir, const struct workload *w, const struct promise *promise)
{
    char path[2048];
    unsigned long first = ULONG_MAX;
    struct dirent *entry;
    DIR *list;

    snprintf(path, sizeof path, w->log_elsewhere ? "%s/log" : "%s/db/rfl", dir);
    list = opendir(path);
    while (list != NULL && (entry = readdir(list)) != NULL) {
        char *end;
        unsigned long number = strtoul(entry->d_name, &end, 16);
        if (strcmp(end, ".rfl") == 0 && number < first)
            first = number;
    }
    if (list != NULL)
        closedir(list);
    return first != ULONG_MAX && first > promise->moved + 1ul
               ? say("segment %lu is the first, archived are those up to %u", first, promise->moved)
               : NULL;
}

const char *
workload_survives(const struct workload *w, uint64_t seed, const char *dir,
                  const struct promise *promise_then, bool with_reader)
{
    static struct promise promise;
    uint32_t found = 0, read = UINT32_MAX;
    const char *wrong = NULL;
    kiln_db *db;

    promise = *promise_then;
    survey_begin(w, seed, &promise, promise.low);
    if (w->archive)
        wrong = archive_differs(dir, w, &promise);
    if (wrong == NULL && with_reader)
        wrong = reader_differs(dir, &read);
    if (wrong != NULL)
        return wrong;
    kiln_status rc = database_open(w, dir, 0, &db);
    if (rc != KILN_OK)
        return say_failed("open", rc);
    wrong = database_differs(db, &found);
    if (wrong == NULL && read != UINT32_MAX && read != found)
        wrong = say("commit %u, but read-only it was %u", found, read);
    if (wrong == NULL)
        wrong = check_differs(db);
    if (wrong == NULL)
        return goes_on(db, dir, &promise, found);
    (void)kiln_close(db);
    return wrong;
}
