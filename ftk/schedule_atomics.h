/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ftk/schedule_atomics.h -- a point before each atomic that orders others.
 *
 * A build with FTK_SCHEDULE includes this file before every other of the library, so that the
 * library itself need not name the points: loads, stores, exchanges, additions and fences that are
 * acquire, release or sequentially consistent are steps.  Relaxed ones are not: they are counters
 * and hints (a protocol must not rest on them).  GCC only.
 */
#ifndef FTK_SCHEDULE_ATOMICS_H
#define FTK_SCHEDULE_ATOMICS_H

#include <stdatomic.h>

#include "ftk/schedule.h"

void ftk_schedule_at(struct ftk_site *site);    /* the next step of this thread is there */
void ftk_schedule_point(struct ftk_site *site); /* another thread may go on first */

#define FTK_SITE(text)                                                                             \
    __extension__({                                                                                \
        static struct ftk_site ftk_site_ = {__FILE__, text, __LINE__, 0, 0};                       \
        &ftk_site_;                                                                                \
    })
#define FTK_SCHEDULE_AT(text) ftk_schedule_at(FTK_SITE(text))
#define FTK_SCHEDULE_ATOMIC(order, text)                                                           \
    ((order) == memory_order_relaxed ? (void)0 : ftk_schedule_point(FTK_SITE(text)))

#ifndef FTK_SCHEDULE_QUIET /* the test's own parts, such as its disk, are one step each */

#undef atomic_load_explicit
#undef atomic_load
#undef atomic_store_explicit
#undef atomic_store
#undef atomic_exchange_explicit
#undef atomic_exchange
#undef atomic_compare_exchange_strong_explicit
#undef atomic_compare_exchange_strong
#undef atomic_compare_exchange_weak_explicit
#undef atomic_compare_exchange_weak
#undef atomic_fetch_add_explicit
#undef atomic_fetch_add
#undef atomic_fetch_sub_explicit
#undef atomic_fetch_sub
#undef atomic_fetch_or_explicit
#undef atomic_fetch_or
#undef atomic_fetch_and_explicit
#undef atomic_fetch_and
#undef atomic_thread_fence

#define FTK_ATOMIC_LOAD(p, order, text)                                                            \
    __extension__({                                                                                \
        FTK_SCHEDULE_ATOMIC(order, text);                                                          \
        __auto_type ftk_p_ = (p);                                                                  \
        __typeof__((void)0, *ftk_p_) ftk_loaded_;                                                  \
        __atomic_load(ftk_p_, &ftk_loaded_, (order));                                              \
        ftk_loaded_;                                                                               \
    })
#define FTK_ATOMIC_STORE(p, value, order, text)                                                    \
    __extension__({                                                                                \
        FTK_SCHEDULE_ATOMIC(order, text);                                                          \
        __auto_type ftk_p_ = (p);                                                                  \
        __typeof__((void)0, *ftk_p_) ftk_stored_ = (value);                                        \
        __atomic_store(ftk_p_, &ftk_stored_, (order));                                             \
    })
#define FTK_ATOMIC_EXCHANGE(p, value, order, text)                                                 \
    __extension__({                                                                                \
        FTK_SCHEDULE_ATOMIC(order, text);                                                          \
        __auto_type ftk_p_ = (p);                                                                  \
        __typeof__((void)0, *ftk_p_) ftk_new_ = (value), ftk_old_;                                 \
        __atomic_exchange(ftk_p_, &ftk_new_, &ftk_old_, (order));                                  \
        ftk_old_;                                                                                  \
    })
#define FTK_ATOMIC_COMPARE(p, expected, value, order, failure, text)                               \
    __extension__({                                                                                \
        FTK_SCHEDULE_ATOMIC(order, text);                                                          \
        __auto_type ftk_p_ = (p);                                                                  \
        __typeof__((void)0, *ftk_p_) ftk_new_ = (value);                                           \
        __atomic_compare_exchange(ftk_p_, (expected), &ftk_new_, 0, (order), (failure));           \
    })
#define FTK_ATOMIC_FETCH(op, p, value, order, text)                                                \
    __extension__({                                                                                \
        FTK_SCHEDULE_ATOMIC(order, text);                                                          \
        __atomic_fetch_##op((p), (value), (order));                                                \
    })

#define FTK_SEQ __ATOMIC_SEQ_CST
#define atomic_load_explicit(p, order) FTK_ATOMIC_LOAD(p, order, "load " #p)
#define atomic_load(p) FTK_ATOMIC_LOAD(p, FTK_SEQ, "load " #p)
#define atomic_store_explicit(p, value, order) FTK_ATOMIC_STORE(p, value, order, "store " #p)
#define atomic_store(p, value) FTK_ATOMIC_STORE(p, value, FTK_SEQ, "store " #p)
#define atomic_exchange_explicit(p, value, order)                                                  \
    FTK_ATOMIC_EXCHANGE(p, value, order, "exchange " #p)
#define atomic_exchange(p, value) FTK_ATOMIC_EXCHANGE(p, value, FTK_SEQ, "exchange " #p)
#define atomic_compare_exchange_strong_explicit(p, expected, value, order, failure)                \
    FTK_ATOMIC_COMPARE(p, expected, value, order, failure, "compare " #p)
#define atomic_compare_exchange_strong(p, expected, value)                                         \
    FTK_ATOMIC_COMPARE(p, expected, value, FTK_SEQ, FTK_SEQ, "compare " #p)
#define atomic_compare_exchange_weak_explicit(p, expected, value, order, failure)                  \
    FTK_ATOMIC_COMPARE(p, expected, value, order, failure, "compare " #p)
#define atomic_compare_exchange_weak(p, expected, value)                                           \
    FTK_ATOMIC_COMPARE(p, expected, value, FTK_SEQ, FTK_SEQ, "compare " #p)
#define atomic_fetch_add_explicit(p, value, order) FTK_ATOMIC_FETCH(add, p, value, order, "add " #p)
#define atomic_fetch_add(p, value) FTK_ATOMIC_FETCH(add, p, value, FTK_SEQ, "add " #p)
#define atomic_fetch_sub_explicit(p, value, order) FTK_ATOMIC_FETCH(sub, p, value, order, "sub " #p)
#define atomic_fetch_sub(p, value) FTK_ATOMIC_FETCH(sub, p, value, FTK_SEQ, "sub " #p)
#define atomic_fetch_or_explicit(p, value, order) FTK_ATOMIC_FETCH(or, p, value, order, "or " #p)
#define atomic_fetch_or(p, value) FTK_ATOMIC_FETCH(or, p, value, FTK_SEQ, "or " #p)
#define atomic_fetch_and_explicit(p, value, order) FTK_ATOMIC_FETCH(and, p, value, order, "and " #p)
#define atomic_fetch_and(p, value) FTK_ATOMIC_FETCH(and, p, value, FTK_SEQ, "and " #p)
#define atomic_thread_fence(order)                                                                 \
    (FTK_SCHEDULE_ATOMIC(order, "fence"), __atomic_thread_fence(order))

#endif /* FTK_SCHEDULE_QUIET */
#endif
