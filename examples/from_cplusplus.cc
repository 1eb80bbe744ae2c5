// SPDX-License-Identifier: Apache-2.0
// examples/from_cplusplus.cc -- kiln.h from C++17: smart pointers to handles, exceptions.
#include <kiln.h>

#include <cstdio>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>

static void
check(kiln_status status)
{
    if (status != KILN_OK)
        throw std::runtime_error(kiln_error_last()->text);
}

struct Abort {
    void operator()(kiln_txn *txn) const
    {
        kiln_txn_abort(txn);
    }
};
using Transaction = std::unique_ptr<kiln_txn, Abort>;

struct Close {
    void operator()(kiln_db *db) const
    {
        kiln_close(db);
    }
};
using Database = std::unique_ptr<kiln_db, Close>;

static Transaction
begin(const Database &db, uint32_t kind)
{
    kiln_txn *txn;
    check(kiln_txn_begin(db.get(), kind, &txn));
    return Transaction(txn);
}

static std::string
get(const Transaction &txn, kiln_coll coll, std::string_view key)
{
    kiln_slice value;
    check(kiln_get(txn.get(), coll, key.data(), key.size(), &value));
    return std::string(static_cast<const char *>(value.data), value.size);
}

static void
run()
{
    kiln_options options;
    kiln_options_init(&options);
    options.flags = KILN_CREATE;
    kiln_db *handle;
    check(kiln_open("from_cplusplus.db", &options, &handle));
    Database db(handle);

    kiln_coll coll;
    Transaction writer = begin(db, KILN_WRITE);
    check(kiln_coll_open(writer.get(), "rivers", KILN_COLL_CREATE, &coll));
    std::string_view key = "Glomma", value = "621 km";
    check(kiln_put(writer.get(), coll, key.data(), key.size(), value.data(), value.size(),
                   KILN_PUT_REPLACE));
    check(kiln_txn_commit(writer.release()));

    Transaction reader = begin(db, KILN_READ);
    if (get(reader, coll, key) != value)
        throw std::runtime_error("another value came back");
    std::puts(get(reader, coll, key).c_str());
}

int
main()
{
    try {
        run();
        return 0;
    } catch (const std::exception &error) {
        std::fprintf(stderr, "from_cplusplus: %s\n", error.what());
        return 1;
    }
}
