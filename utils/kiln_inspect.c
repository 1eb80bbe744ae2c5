/* SPDX-License-Identifier: Apache-2.0 */
/* utils/kiln_inspect.c -- kiln check, kiln stat, kiln list. */
#include <stdio.h>
#include <string.h>

#include "utils/kiln_command.h"
#include "utils/kiln_text.h"

/* ---- check ---------------------------------------------------------------------------------- */

static void
check_finding(void *context, const char *text)
{
    uint64_t *findings = context;

    (*findings)++;
    puts(text);
}

/* A line when the percentage changes: a terminal and a file get at most 101 of them. */
static int
check_progress(void *context, uint64_t done, uint64_t total)
{
    int *shown = context;
    int percent = total == 0 || done >= total ? 100 : (int)(100.0 * (double)done / (double)total);

    if (percent <= *shown)
        return 0;
    *shown = percent;
    fprintf(stderr, "\r%3d %% of %llu pages and records", percent, (unsigned long long)total);
    return 0;
}

int
utils_check(const struct utils_call *call)
{
    struct utils_session session;
    uint64_t findings = 0;
    int shown = -1;
    kiln_check_options options = KILN_CHECK_OPTIONS_INIT;
    kiln_status status;
    int result = utils_begin(call, KILN_READ, &session);

    if (result != UTILS_OK)
        return result;
    options.finding = check_finding;
    options.context = &findings;
    if (call->options & UTILS_PROGRESS)
        options.progress = check_progress;
    options.progress_context = &shown;
    status = kiln_check(session.db, &options);
    if (shown >= 0)
        fputc('\n', stderr);
    if (findings > 0)
        result = utils_complain(call, "%s: %llu findings", call->arguments[0],
                                (unsigned long long)findings);
    else if (status != KILN_OK)
        result = utils_fail(call, status, call->arguments[0]);
    else
        puts("ok");
    return utils_end(call, &session, result);
}

/* ---- list ----------------------------------------------------------------------------------- */

/* Calls each for every collection; reports errors. */
static int
each_collection(const struct utils_call *call, const struct utils_session *session,
                void (*each)(uint64_t n, const char *name, uint64_t keys))
{
    char name[KILN_COLLECTION_NAME_MAX + 1];
    uint64_t keys;
    kiln_coll coll = 0;
    kiln_status status;

    for (uint64_t n = 0;; n++) {
        status = kiln_coll_next(session->txn, coll, name, sizeof(name), &coll);
        if (status == KILN_NOTFOUND)
            return UTILS_OK;
        if (status == KILN_OK)
            status = kiln_coll_count(session->txn, coll, &keys);
        if (status != KILN_OK)
            return utils_fail(call, status, call->arguments[0]);
        each(n, name, keys);
    }
}

static void
list_text(uint64_t n, const char *name, uint64_t keys)
{
    (void)n;
    printf("%llu\t", (unsigned long long)keys);
    utils_write_escaped(stdout, name, strlen(name));
    putchar('\n');
}

static void
list_json(uint64_t n, const char *name, uint64_t keys)
{
    printf("%s{\"name\": ", n == 0 ? "" : ",\n  ");
    utils_write_json(stdout, name);
    printf(", \"keys\": %llu}", (unsigned long long)keys);
}

int
utils_list(const struct utils_call *call)
{
    bool json = (call->options & UTILS_JSON) != 0;
    struct utils_session session;
    int result = utils_begin(call, KILN_READ, &session);

    if (result != UTILS_OK)
        return result;
    if (json)
        fputs("[", stdout);
    result = each_collection(call, &session, json ? list_json : list_text);
    if (json)
        fputs("]\n", stdout);
    return utils_end(call, &session, result);
}

/* ---- stat ----------------------------------------------------------------------------------- */

/* Names are those of kiln.h. */
struct row {
    const char *name;
    uint64_t value;
};

static void
rows_write(const struct row *rows, size_t count, bool json)
{
    if (json)
        fputs("{", stdout);
    for (size_t i = 0; i < count; i++) {
        if (json)
            printf("%s\"%s\": %llu", i == 0 ? "" : ",\n ", rows[i].name,
                   (unsigned long long)rows[i].value);
        else
            printf("%-28s %20llu\n", rows[i].name, (unsigned long long)rows[i].value);
    }
    if (json)
        fputs("}\n", stdout);
}

static kiln_status
stat_database(const struct utils_session *session, bool json)
{
    kiln_stat stat = {.size = sizeof(stat)};
    kiln_status status = kiln_stat_get(session->db, &stat);

    if (status != KILN_OK)
        return status;
    const struct row rows[] = {
        {"page_bytes", stat.page_bytes},
        {"file_bytes", stat.file_bytes},
        {"file_pages_free", stat.file_pages_free},
        {"pages_pending", stat.pages_pending},
        {"txn_id", stat.txn_id},
        {"rfl_disk_bytes", stat.rfl_disk_bytes},
        {"rfl_since_checkpoint_bytes", stat.rfl_since_checkpoint_bytes},
        {"recovered_txns", stat.recovered_txns},
        {"recovered_ops", stat.recovered_ops},
        {"recovery_ns", stat.recovery_ns},
        {"cache_limit_bytes", stat.cache_limit_bytes},
        {"cache_used_bytes", stat.cache_used_bytes},
        {"heap_bytes", stat.heap_bytes},
    };
    rows_write(rows, sizeof(rows) / sizeof(rows[0]), json);
    return KILN_OK;
}

static kiln_status
stat_collection(const struct utils_session *session, bool json)
{
    kiln_coll_stat stat = {.size = sizeof(stat)};
    kiln_status status = kiln_coll_stat_get(session->txn, session->coll, &stat);

    if (status != KILN_OK)
        return status;
    const struct row rows[] = {
        {"keys", stat.keys},
        {"height", stat.height},
        {"leaf_pages", stat.leaf_pages},
        {"inner_pages", stat.inner_pages},
        {"large_pages", stat.large_pages},
        {"key_bytes", stat.key_bytes},
        {"value_bytes", stat.value_bytes},
        {"used_bytes", stat.used_bytes},
    };
    rows_write(rows, sizeof(rows) / sizeof(rows[0]), json);
    return KILN_OK;
}

int
utils_stat(const struct utils_call *call)
{
    bool json = (call->options & UTILS_JSON) != 0;
    struct utils_session session;
    kiln_status status;
    int result = utils_begin(call, KILN_READ, &session);

    if (result != UTILS_OK)
        return result;
    status =
        call->argument_count > 1 ? stat_collection(&session, json) : stat_database(&session, json);
    if (status != KILN_OK)
        result = utils_fail(call, status, call->arguments[0]);
    return utils_end(call, &session, result);
}
