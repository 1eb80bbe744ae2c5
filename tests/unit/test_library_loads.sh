#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# libkiln.so is a guest: programs that know nothing of it load it at run time, use it from several
# threads, and let it go again.  From C by dlopen, from Python by ctypes, from Node by an addon.
set -u
faults=0
shared=$KILN_BUILD/lib/libkiln.so
[ -f "$shared" ] || { echo "libkiln.so has not been built"; exit 1; }
[ -z "${KILN_SANITIZE:-}" ] || { echo "a sanitizer's runtime must come first: nothing to test"; exit 0; }
cc=${KILN_CC:-gcc}

fail() {
    echo "$*"
    faults=1
}

# It brings no allocator: its malloc is the program's.
for name in malloc free calloc realloc posix_memalign mallctl je_malloc; do
    nm -D --defined-only "$shared" | grep -qw "$name" && fail "libkiln.so defines $name"
done
ldd "$shared" | grep -qE 'jemalloc|tcmalloc|mimalloc' && fail "libkiln.so brings an allocator"

# ---- C: loaded privately, used by threads that outlive their last call, unloaded, twenty times ----
cat >guest.c <<'END'
#include <dlfcn.h>
#include <kiln.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#define NAME(f) __typeof__(&f) f##_p
static NAME(kiln_open);
static NAME(kiln_close);
static NAME(kiln_txn_begin);
static NAME(kiln_txn_commit);
static NAME(kiln_coll_open);
static NAME(kiln_put);
static NAME(kiln_get);
static NAME(kiln_txn_abort);
static NAME(kiln_error_last);
static kiln_db *db;

static void *
work(void *argument)
{
    kiln_txn *txn;
    kiln_coll coll;
    kiln_slice value;
    char key = (char)(long)argument;

    if (kiln_txn_begin_p(db, KILN_WRITE, &txn) != KILN_OK ||
        kiln_coll_open_p(txn, "c", KILN_COLL_CREATE, &coll) != KILN_OK ||
        kiln_put_p(txn, coll, &key, 1, "value", 5, 0) != KILN_OK ||
        kiln_txn_commit_p(txn) != KILN_OK || kiln_txn_begin_p(db, KILN_READ, &txn) != KILN_OK)
        return "a call failed";
    if (kiln_get_p(txn, coll, &key, 1, &value) != KILN_OK || value.size != 5)
        return "the value is not there";
    if (kiln_get_p(txn, coll, "none", 4, &value) != KILN_NOTFOUND || kiln_error_last_p() == NULL)
        return "an absent key is there";
    kiln_txn_abort_p(txn);
    return NULL;
}

int
main(int argc, char **argv)
{
    for (int round = 0; argc == 2 && round < 20; round++) {
        kiln_options options = KILN_OPTIONS_INIT;
        pthread_t threads[4];
        void *lib = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
        if (lib == NULL)
            return printf("round %d: %s\n", round, dlerror()), 1;
#define FIND(f) (f##_p = (__typeof__(f##_p))dlsym(lib, #f))
        if (!FIND(kiln_open) || !FIND(kiln_close) || !FIND(kiln_txn_begin) ||
            !FIND(kiln_txn_commit) || !FIND(kiln_coll_open) || !FIND(kiln_put) ||
            !FIND(kiln_get) || !FIND(kiln_txn_abort) || !FIND(kiln_error_last))
            return printf("a name is missing\n"), 1;
        options.flags = KILN_CREATE;
        if (kiln_open_p("guest-db", &options, &db) != KILN_OK)
            return printf("round %d: %s\n", round, kiln_error_last_p()->text), 1;
        for (long i = 0; i < 4; i++)
            pthread_create(&threads[i], NULL, work, (void *)i);
        for (long i = 0; i < 4; i++) {
            void *words = NULL;
            pthread_join(threads[i], &words);
            if (words != NULL)
                return printf("round %d: %s\n", round, (char *)words), 1;
        }
        if (kiln_close_p(db) != KILN_OK || dlclose(lib) != 0)
            return printf("round %d: not closed\n", round), 1;
    }
    return argc != 2;
}
END
"$cc" -std=gnu11 -O1 -I"$KILN_SRC/include" -o guest guest.c -ldl -pthread && ./guest "$shared" ||
    fail "dlopen from C"

# ---- Python ----
cat >guest.py <<'END'
import ctypes, sys, threading

lib = ctypes.CDLL(sys.argv[1])
lib.kiln_status_name.restype = ctypes.c_char_p
lib.kiln_version.restype = ctypes.c_char_p
assert lib.kiln_version().count(b".") == 2
options = (ctypes.c_char * 4096)()
lib.kiln_options_init(options)
ctypes.cast(ctypes.byref(options, ctypes.sizeof(ctypes.c_size_t)), ctypes.POINTER(ctypes.c_uint32))[0] = 1
db = ctypes.c_void_p()
assert lib.kiln_open(b"python-db", options, ctypes.byref(db)) == 0

def work(n):
    txn, coll, value = ctypes.c_void_p(), ctypes.c_uint32(), (ctypes.c_size_t * 2)()
    key = b"key%d" % n
    assert lib.kiln_txn_begin(db, 1, ctypes.byref(txn)) == 0
    assert lib.kiln_coll_open(txn, b"c", 1, ctypes.byref(coll)) == 0
    assert lib.kiln_put(txn, coll, key, ctypes.c_size_t(len(key)), b"text", ctypes.c_size_t(4), 0) == 0
    assert lib.kiln_txn_commit(txn) == 0
    assert lib.kiln_txn_begin(db, 0, ctypes.byref(txn)) == 0
    assert lib.kiln_get(txn, coll, key, ctypes.c_size_t(len(key)), ctypes.byref(value)) == 0
    assert ctypes.string_at(value[0], value[1]) == b"text"
    lib.kiln_txn_abort(txn)
    done.append(n)

done = []
threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
[t.start() for t in threads]
[t.join() for t in threads]
assert len(done) == 4
assert lib.kiln_close(db) == 0
END
python3 guest.py "$shared" || fail "ctypes from Python"

# ---- Node: an addon of three functions of its interface, declared here ----
cat >addon.c <<'END'
#include <kiln.h>
#include <stddef.h>

typedef struct napi_env__ *napi_env;
typedef struct napi_value__ *napi_value;
int napi_create_int32(napi_env env, int value, napi_value *result);
napi_value napi_register_module_v1(napi_env env, napi_value exports);

static int
use(void)
{
    kiln_options options = KILN_OPTIONS_INIT;
    kiln_db *db;
    kiln_txn *txn;
    kiln_coll coll;

    options.flags = KILN_CREATE;
    if (kiln_open("node-db", &options, &db) != KILN_OK)
        return 1;
    if (kiln_txn_begin(db, KILN_WRITE, &txn) != KILN_OK ||
        kiln_coll_open(txn, "c", KILN_COLL_CREATE, &coll) != KILN_OK ||
        kiln_put(txn, coll, "k", 1, "v", 1, 0) != KILN_OK || kiln_txn_commit(txn) != KILN_OK)
        return 2;
    return kiln_close(db) == KILN_OK ? 42 : 3;
}

napi_value
napi_register_module_v1(napi_env env, napi_value exports)
{
    napi_value result = NULL;

    (void)exports;
    napi_create_int32(env, use(), &result);
    return result;
}
END
"$cc" -std=gnu11 -O1 -fPIC -shared -I"$KILN_SRC/include" -o addon.node addon.c \
    -L"$KILN_BUILD/lib" -Wl,-rpath,"$KILN_BUILD/lib" -lkiln &&
    node -e 'process.exit(require("./addon.node") === 42 ? 0 : 1)' || fail "an addon of Node"

exit $faults
