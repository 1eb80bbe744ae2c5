/* SPDX-License-Identifier: Apache-2.0 */
/* utils/kiln_recover.c -- kiln recover: open what needs words to be opened. */
#include <stdio.h>

#include "utils/kiln_command.h"

static kiln_status
recover_open(const struct utils_call *call, uint32_t flags, kiln_db **db_out)
{
    kiln_options options = KILN_OPTIONS_INIT;

    options.flags = flags | (call->options & UTILS_LOG_MOVED ? KILN_LOG_MOVED : 0);
    options.cache_bytes = call->cache_bytes;
    options.rfl_dir = call->rfl_dir;
    options.checkpoint_ms = UINT32_MAX; /* the close makes one */
    return kiln_open(call->arguments[0], &options, db_out);
}

/* What the database has now, and what it may have lost. */
static kiln_status
tell(const struct utils_call *call, kiln_db *db, const char *about)
{
    kiln_stat stat = {.size = sizeof(stat)};
    kiln_status status = kiln_stat_get(db, &stat);

    if (status == KILN_OK)
        printf("%s: at transaction %llu, %llu of them recovered from the log; %s\n",
               call->arguments[0], (unsigned long long)stat.txn_id,
               (unsigned long long)stat.recovered_txns, about);
    return status;
}

int
utils_recover(const struct utils_call *call)
{
    bool without = (call->options & UTILS_WITHOUT_LOG) != 0;
    bool accepts = (call->options & UTILS_ACCEPT_LOSS) != 0;
    bool moved = (call->options & UTILS_LOG_MOVED) != 0;
    const char *about = "nothing is lost";
    kiln_db *db = NULL;
    kiln_status status, closed;
    int result = UTILS_OK;

    if ((accepts && !without) || (moved && (without || call->rfl_dir == NULL))) {
        utils_complain(call, "usage: kiln %s %s", call->command->name, call->command->synopsis);
        return UTILS_USAGE;
    }
    status = recover_open(call, without ? KILN_WITHOUT_LOG : 0, &db);
    if (status == KILN_CORRUPT && accepts) { /* not closed cleanly: is it that alone? */
        about = "commits that were in the log alone, if there were any, are lost";
        status = recover_open(call, KILN_WITHOUT_LOG | KILN_ACCEPT_LOSS, &db);
    }
    if (status != KILN_OK)
        return utils_fail(call, status, call->arguments[0]);
    status = tell(call, db, about);
    if (status != KILN_OK)
        result = utils_fail(call, status, call->arguments[0]);
    closed = kiln_close(db);
    if (closed != KILN_OK && result == UTILS_OK)
        result = utils_fail(call, closed, "close");
    return result;
}
