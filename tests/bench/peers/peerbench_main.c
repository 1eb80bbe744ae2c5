/* SPDX-License-Identifier: Apache-2.0 */
/* peerbench_main.c -- options of the comparison program. */
#include "peerbench.h"

#include <getopt.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

static const struct peer_ops *const compiled[] = {
#ifdef HAVE_PEER_KILN
    &peer_kiln,
#endif
#ifdef HAVE_PEER_LMDB
    &peer_lmdb,
#endif
#ifdef HAVE_PEER_ROCKSDB
    &peer_rocksdb,
#endif
#ifdef HAVE_PEER_LEVELDB
    &peer_leveldb,
#endif
#ifdef HAVE_PEER_WIREDTIGER
    &peer_wiredtiger,
#endif
#ifdef HAVE_PEER_BDB
    &peer_bdb,
#endif
#ifdef HAVE_PEER_SQLITE
    &peer_sqlite,
#endif
    NULL,
};

static const char *const all_names[] = {"kiln",       "lmdb", "rocksdb", "leveldb",
                                        "wiredtiger", "bdb",  "sqlite"};

static const char usage_text[] =
    "usage: peerbench [options]\n"
    "  --engines LIST     kiln,lmdb,rocksdb,leveldb,wiredtiger,bdb,sqlite (all compiled in)\n"
    "  --workloads LIST   names, or beginnings of names (default: all); --list shows them\n"
    "  --rounds R         rounds, engines alternating in each (3)\n"
    "  --n N              records of the loads in cache (10m); k, m, g: thousands\n"
    "  --cache BYTES      cache of every engine (4G); K, M, G: powers of 1024\n"
    "  --big-n N          records of bigload (20m)\n"
    "  --big-cache BYTES  cache of bigload (256M)\n"
    "  --big-extra BYTES  its memory limit above the cache (256M)\n"
    "  --recovery-n N     records after the checkpoint, before the kill (1m)\n"
    "  --ckpt-bytes BYTES unwritten data of ckpt (2G)\n"
    "  --file-n N         keys of filesize (1m)\n"
    "  --file-updates N   updates of filesize (10m)\n"
    "  --seconds S        length of the workloads that run for a time (10)\n"
    "  --max-seconds S    loops of one run stop after that time (600)\n"
    "  --touch BYTES      memory touched and freed before each run, so that a machine which backs\n"
    "                     its memory lazily does not charge that to whoever comes first (4G; 0)\n"
    "  --disk-max BYTES   a run that uses more disk is stopped (15G)\n"
    "  --dir DIR          where the stores go, in a folder of their own ($TMPDIR, or /tmp)\n"
    "  --seed N           default: random, printed\n"
    "  --json FILE  --html FILE   reports\n"
    "  --list             engines and workloads\n"
    "  --selftest         check the measuring tools themselves\n";

enum {
    OPT_ENGINES = 1000,
    OPT_WORKLOADS,
    OPT_ROUNDS,
    OPT_N,
    OPT_CACHE,
    OPT_BIG_N,
    OPT_BIG_CACHE,
    OPT_BIG_EXTRA,
    OPT_RECOVERY_N,
    OPT_CKPT_BYTES,
    OPT_FILE_N,
    OPT_FILE_UPDATES,
    OPT_SECONDS,
    OPT_MAX_SECONDS,
    OPT_DISK_MAX,
    OPT_TOUCH,
    OPT_DIR,
    OPT_SEED,
    OPT_JSON,
    OPT_HTML,
    OPT_LIST,
    OPT_SELFTEST,
    OPT_HELP
};

static const struct option long_options[] = {
    {"engines", 1, NULL, OPT_ENGINES},
    {"workloads", 1, NULL, OPT_WORKLOADS},
    {"rounds", 1, NULL, OPT_ROUNDS},
    {"n", 1, NULL, OPT_N},
    {"cache", 1, NULL, OPT_CACHE},
    {"big-n", 1, NULL, OPT_BIG_N},
    {"big-cache", 1, NULL, OPT_BIG_CACHE},
    {"big-extra", 1, NULL, OPT_BIG_EXTRA},
    {"recovery-n", 1, NULL, OPT_RECOVERY_N},
    {"ckpt-bytes", 1, NULL, OPT_CKPT_BYTES},
    {"file-n", 1, NULL, OPT_FILE_N},
    {"file-updates", 1, NULL, OPT_FILE_UPDATES},
    {"seconds", 1, NULL, OPT_SECONDS},
    {"max-seconds", 1, NULL, OPT_MAX_SECONDS},
    {"disk-max", 1, NULL, OPT_DISK_MAX},
    {"touch", 1, NULL, OPT_TOUCH},
    {"dir", 1, NULL, OPT_DIR},
    {"seed", 1, NULL, OPT_SEED},
    {"json", 1, NULL, OPT_JSON},
    {"html", 1, NULL, OPT_HTML},
    {"list", 0, NULL, OPT_LIST},
    {"selftest", 0, NULL, OPT_SELFTEST},
    {"help", 0, NULL, OPT_HELP},
    {NULL, 0, NULL, 0},
};

struct arguments {
    struct pb_options options;
    const char *engines;
    const char *workloads;
    const char *dir;
    uint64_t rounds, seconds, seconds_max;
    bool seed_given, list, selftest, help;
};

/* Where an option's number goes; bytes or a count. */
static bool
number_store(struct arguments *a, int option, const char *text)
{
    struct pb_options *o = &a->options;
    const struct {
        int option;
        uint64_t *count, *bytes;
    } all[] = {
        {OPT_ROUNDS, &a->rounds, NULL},
        {OPT_N, &o->records, NULL},
        {OPT_CACHE, NULL, &o->cache_bytes},
        {OPT_BIG_N, &o->big_records, NULL},
        {OPT_BIG_CACHE, NULL, &o->big_cache_bytes},
        {OPT_BIG_EXTRA, NULL, &o->big_extra_bytes},
        {OPT_RECOVERY_N, &o->recovery_records, NULL},
        {OPT_CKPT_BYTES, NULL, &o->ckpt_bytes},
        {OPT_FILE_N, &o->file_records, NULL},
        {OPT_FILE_UPDATES, &o->file_updates, NULL},
        {OPT_SECONDS, &a->seconds, NULL},
        {OPT_MAX_SECONDS, &a->seconds_max, NULL},
        {OPT_DISK_MAX, NULL, &o->disk_bytes_max},
        {OPT_TOUCH, NULL, &o->touch_bytes},
        {OPT_SEED, &o->seed, NULL},
    };

    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        if (all[i].option != option)
            continue;
        if (all[i].count != NULL && option == OPT_SEED) {
            char *end;

            *all[i].count = strtoull(text, &end, 0);
            a->seed_given = true;
            return end != text && *end == '\0';
        }
        return all[i].count != NULL ? pb_parse_count(text, all[i].count)
                                    : pb_parse_bytes(text, all[i].bytes);
    }
    return false;
}

static bool
arguments_parse(struct arguments *a, int argc, char **argv)
{
    int option;

    while ((option = getopt_long(argc, argv, "h", long_options, NULL)) != -1) {
        switch (option) {
        case OPT_ENGINES: a->engines = optarg; break;
        case OPT_WORKLOADS: a->workloads = optarg; break;
        case OPT_DIR: a->dir = optarg; break;
        case OPT_JSON: a->options.json_path = optarg; break;
        case OPT_HTML: a->options.html_path = optarg; break;
        case OPT_LIST: a->list = true; break;
        case OPT_SELFTEST: a->selftest = true; break;
        case 'h':
        case OPT_HELP: a->help = true; break;
        case '?': return false;
        default:
            if (!number_store(a, option, optarg)) {
                fprintf(stderr, "peerbench: not a number: %s\n", optarg);
                return false;
            }
        }
    }
    if (optind < argc) {
        fprintf(stderr, "peerbench: what is %s?\n", argv[optind]);
        return false;
    }
    return true;
}

static bool
arguments_check(struct arguments *a)
{
    struct pb_options *o = &a->options;

    o->rounds = (unsigned)a->rounds;
    o->seconds = (double)a->seconds;
    o->seconds_max = (double)a->seconds_max;
    if (a->rounds < 1 || a->rounds > PB_ROUNDS_MAX || a->seconds < 1 || a->seconds_max < 1 ||
        o->records < PB_PER_TXN || o->big_records < PB_PER_TXN || o->file_records < PB_PER_TXN ||
        o->file_updates < PB_PER_TXN || o->recovery_records < PB_PER_TXN ||
        o->cache_bytes < 32 << 20 || o->big_cache_bytes < 32 << 20) {
        fprintf(stderr,
                "peerbench: at least 1 and at most %d rounds, 1 second, %d records, 32M of cache\n",
                PB_ROUNDS_MAX, PB_PER_TXN);
        return false;
    }
    return true;
}

/* ---- choosing -------------------------------------------------------------------------------- */

static bool
is_compiled(const char *name, const struct peer_ops **ops_out)
{
    for (size_t i = 0; compiled[i] != NULL; i++) {
        if (strcmp(compiled[i]->name, name) == 0) {
            *ops_out = compiled[i];
            return true;
        }
    }
    return false;
}

static bool
engines_choose(struct pb_plan *plan, const char *list)
{
    char names[256];
    char *rest = names;

    if (list == NULL) {
        for (size_t i = 0; compiled[i] != NULL; i++)
            plan->engines[plan->engine_count++] = compiled[i];
        return plan->engine_count > 0;
    }
    snprintf(names, sizeof names, "%s", list);
    for (char *name; (name = strsep(&rest, ",")) != NULL;) {
        const struct peer_ops *ops;

        if (pb_engine_find(plan, name) >= 0)
            continue;
        if (!is_compiled(name, &ops)) {
            fprintf(stderr, "peerbench: there is no engine %s in this program\n", name);
            return false;
        }
        plan->engines[plan->engine_count++] = ops;
    }
    return true;
}

/* Whether the list, or a workload chosen, wants this one. */
static bool
wanted(const char *list, const struct pb_workload *workload)
{
    char names[512];
    char *rest = names;

    if (list == NULL)
        return true;
    snprintf(names, sizeof names, "%s", list);
    for (char *name; (name = strsep(&rest, ",")) != NULL;) {
        if (strcmp(name, "all") == 0 ||
            (name[0] != '\0' && strncmp(workload->name, name, strlen(name)) == 0))
            return true;
    }
    return false;
}

/* Every name of the list must name something. */
static bool
names_known(const char *list)
{
    char names[512];
    char *rest = names;

    snprintf(names, sizeof names, "%s", list != NULL ? list : "all");
    for (char *name; (name = strsep(&rest, ",")) != NULL;) {
        unsigned w = 0;

        while (w < pb_workload_count && !wanted(name, &pb_workloads[w]))
            w++;
        if (w == pb_workload_count) {
            fprintf(stderr, "peerbench: there is no workload %s\n", name);
            return false;
        }
    }
    return true;
}

static void
workloads_choose(struct pb_plan *plan, const char *list)
{
    for (unsigned w = 0; w < pb_workload_count; w++) {
        bool chosen = wanted(list, &pb_workloads[w]);

        /* A raw limit comes along with what it is the limit of. */
        for (unsigned k = 0; k < pb_workload_count && !chosen; k++)
            chosen = pb_workloads[k].beside != NULL &&
                     strcmp(pb_workloads[k].beside, pb_workloads[w].name) == 0 &&
                     wanted(list, &pb_workloads[k]);
        if (chosen)
            plan->workloads[plan->workload_count++] = &pb_workloads[w];
    }
}

static void
engines_print(FILE *out)
{
    fprintf(out, "engines:");
    for (size_t i = 0; i < sizeof all_names / sizeof all_names[0]; i++) {
        const struct peer_ops *ops;
        char version[64] = "not compiled in: its library was not found";

        if (is_compiled(all_names[i], &ops))
            ops->version(version, sizeof version);
        fprintf(out, "%s %s (%s)", i == 0 ? "" : ",", all_names[i], version);
    }
    fprintf(out, "\n");
}

static int
list_print(void)
{
    engines_print(stdout);
    printf("workloads:\n");
    for (unsigned w = 0; w < pb_workload_count; w++)
        printf("  %-15s %s\n", pb_workloads[w].name, pb_workloads[w].what);
    return 0;
}

/* ---- running --------------------------------------------------------------------------------- */

static void
command_store(struct pb_options *options, int argc, char **argv)
{
    size_t used = 0;

    for (int i = 0; i < argc && used < sizeof options->command; i++)
        used += (size_t)snprintf(options->command + used, sizeof options->command - used, "%s%s",
                                 i == 0 ? "" : " ", i == 0 ? "peerbench" : argv[i]);
}

static bool
dir_make(struct arguments *a)
{
    const char *dir = a->dir != NULL             ? a->dir
                      : getenv("TMPDIR") != NULL ? getenv("TMPDIR")
                                                 : "/tmp";

    snprintf(a->options.dir, sizeof a->options.dir, "%.380s/peerbench.XXXXXX", dir);
    if (mkdtemp(a->options.dir) != NULL)
        return true;
    fprintf(stderr, "peerbench: no folder can be made in %s\n", dir);
    return false;
}

static bool
reports_write(const struct pb_options *options, const struct pb_machine *machine,
              const struct pb_plan *plan)
{
    bool good = true;

    pb_report_table(stdout, options, plan);
    if (options->json_path != NULL && !pb_report_json(options->json_path, options, machine, plan)) {
        fprintf(stderr, "peerbench: %s cannot be written\n", options->json_path);
        good = false;
    }
    if (options->html_path != NULL && !pb_report_html(options->html_path, options, machine, plan)) {
        fprintf(stderr, "peerbench: %s cannot be written\n", options->html_path);
        good = false;
    }
    return good;
}

static int
plan_run(struct arguments *a, struct pb_plan *plan)
{
    struct pb_machine machine;
    unsigned failed;
    bool good;

    plan->run_max = plan->workload_count * (plan->engine_count + 1) * a->options.rounds;
    plan->runs = calloc(plan->run_max, sizeof plan->runs[0]);
    if (plan->runs == NULL || !dir_make(a)) {
        free(plan->runs);
        return 1;
    }
    (void)signal(SIGINT, pb_interrupt);
    (void)signal(SIGTERM, pb_interrupt);
    (void)signal(SIGPIPE, SIG_IGN);
    pb_machine_read(a->options.dir, &machine);
    printf("seed %llu\n", (unsigned long long)a->options.seed);
    engines_print(stdout);
    printf("machine: %s, %u cores, %.1f GiB, %s, %s\n", machine.cpu, machine.cores,
           (double)machine.memory_bytes / (1 << 30), machine.kernel, machine.filesystem);
    fflush(stdout);
    failed = pb_run_all(&a->options, plan);
    pb_dir_remove(a->options.dir);
    good = reports_write(&a->options, &machine, plan);
    if (failed > 0)
        fprintf(stderr, "peerbench: %u runs failed\n", failed);
    free(plan->runs);
    return failed == 0 && good ? 0 : 1;
}

int
main(int argc, char **argv)
{
    struct arguments a = {
        .options = {.records = 10000000,
                    .big_records = 20000000,
                    .big_cache_bytes = 256 << 20,
                    .big_extra_bytes = 256 << 20,
                    .recovery_records = 1000000,
                    .ckpt_bytes = (uint64_t)2 << 30,
                    .file_records = 1000000,
                    .file_updates = 10000000,
                    .cache_bytes = (uint64_t)4 << 30,
                    .disk_bytes_max = (uint64_t)15 << 30,
                    .touch_bytes = (uint64_t)4 << 30},
        .rounds = 3,
        .seconds = 10,
        .seconds_max = 600,
    };
    struct pb_plan plan = {0};

    command_store(&a.options, argc, argv);
    if (!arguments_parse(&a, argc, argv) || !arguments_check(&a)) {
        fputs(usage_text, stderr);
        return 2;
    }
    if (a.help) {
        fputs(usage_text, stdout);
        return 0;
    }
    if (a.list)
        return list_print();
    if (a.selftest)
        return pb_selftest();
    if (!a.seed_given && getrandom(&a.options.seed, sizeof a.options.seed, 0) > 0)
        a.options.seed >>= 16; /* short enough to type */
    if (!engines_choose(&plan, a.engines) || !names_known(a.workloads))
        return 2;
    workloads_choose(&plan, a.workloads);
    return plan_run(&a, &plan);
}
