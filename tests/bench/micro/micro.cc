// SPDX-License-Identifier: Apache-2.0
// tests/bench/micro/micro.cc -- Google Benchmark over the C harness.  `make bench` runs it.
#include <benchmark/benchmark.h>

#include <cstdint>

#include "micro_harness.h"

namespace {

constexpr std::uint64_t kRecords = 1000000;

micro_db *
database(bool random_order)
{
    static micro_db *ascending = nullptr;
    static micro_db *random = nullptr;
    micro_db *&db = random_order ? random : ascending;
    if (db == nullptr)
        db = micro_db_open(kRecords, random_order);
    return db;
}

void
BM_Get(benchmark::State &state)
{
    micro_db *db = database(true);
    while (state.KeepRunningBatch(1000))
        micro_get(db, 1000);
    state.SetItemsProcessed(state.iterations());
}
BENCHMARK(BM_Get);

void
BM_GetMany(benchmark::State &state)
{
    micro_db *db = database(true);
    auto batch = static_cast<std::size_t>(state.range(0));
    while (state.KeepRunningBatch(1024))
        micro_get_many(db, 1024, batch);
    state.SetItemsProcessed(state.iterations());
}
BENCHMARK(BM_GetMany)->Arg(8)->Arg(64)->Arg(1024);

void
BM_ReadTxnWithOneGet(benchmark::State &state)
{
    micro_db *db = database(true);
    while (state.KeepRunningBatch(1000))
        micro_read_txn(db, 1000);
    state.SetItemsProcessed(state.iterations());
}
BENCHMARK(BM_ReadTxnWithOneGet);

void
BM_Scan100(benchmark::State &state)
{
    micro_db *db = database(true);
    std::int64_t records = 0;
    while (state.KeepRunningBatch(10))
        records += static_cast<std::int64_t>(micro_scan(db, 10, 100));
    state.SetItemsProcessed(records);
}
BENCHMARK(BM_Scan100);

void
BM_UpdateRandom(benchmark::State &state)
{
    micro_db *db = database(true);
    auto per_txn = static_cast<std::uint64_t>(state.range(0));
    while (state.KeepRunningBatch(1000))
        micro_put(db, 1000, per_txn);
    state.SetItemsProcessed(state.iterations());
}
BENCHMARK(BM_UpdateRandom)->Arg(1)->Arg(10)->Arg(100)->Arg(1000)->UseRealTime();

void
BM_Append(benchmark::State &state)
{
    micro_db *db = database(false);
    auto per_txn = static_cast<std::uint64_t>(state.range(0));
    while (state.KeepRunningBatch(1000))
        micro_append(db, 1000, per_txn);
    state.SetItemsProcessed(state.iterations());
}
BENCHMARK(BM_Append)->Arg(1)->Arg(100)->Arg(1000)->UseRealTime();

void
BM_NodeSearch(benchmark::State &state)
{
    micro_node *node = micro_node_new(static_cast<std::uint32_t>(state.range(0)));
    while (state.KeepRunningBatch(1000))
        benchmark::DoNotOptimize(micro_node_search(node, 1000));
    micro_node_free(node);
}
BENCHMARK(BM_NodeSearch)->Arg(4096)->Arg(16384)->Arg(65536);

void
BM_NodeFill(benchmark::State &state)
{
    micro_node *node = micro_node_new(static_cast<std::uint32_t>(state.range(0)));
    std::int64_t entries = 0;
    for (auto _ : state)
        entries += static_cast<std::int64_t>(micro_node_fill(node));
    state.SetItemsProcessed(entries);
    micro_node_free(node);
}
BENCHMARK(BM_NodeFill)->Arg(4096)->Arg(16384)->Arg(65536);

void
BM_PageChecksum(benchmark::State &state)
{
    auto bytes = static_cast<std::uint32_t>(state.range(0));
    while (state.KeepRunningBatch(100))
        benchmark::DoNotOptimize(micro_checksum(bytes, 100));
    state.SetBytesProcessed(state.iterations() * state.range(0));
}
BENCHMARK(BM_PageChecksum)->Arg(4096)->Arg(65536);

void
BM_BatchSort(benchmark::State &state)
{
    auto keys = static_cast<std::size_t>(state.range(0));
    for (auto _ : state)
        micro_sort(keys, 1);
    state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(BM_BatchSort)->Arg(64)->Arg(1000)->Arg(16384);

} // namespace

int
main(int argc, char **argv)
{
    benchmark::Initialize(&argc, argv);
    if (benchmark::ReportUnrecognizedArguments(argc, argv))
        return 1;
    benchmark::RunSpecifiedBenchmarks();
    benchmark::Shutdown();
    micro_db_close(database(true));
    micro_db_close(database(false));
    return 0;
}
