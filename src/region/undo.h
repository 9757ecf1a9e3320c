/* SPDX-License-Identifier: MIT */
/**
 * undo.h: changes to the shared tables that happen whole or not at all.
 *
 * Who holds the region lock writes what a word was into the undo log, then changes the
 * word; cvy_commit forgets the log by one store, which is the moment the whole change
 * has happened. Who finds the lock's owner dead first puts every logged word back, last
 * first. That can itself be interrupted and repeated at any point, since it only ever
 * stores the same values again. (Write-ahead undo logging as in Gray and Reuter,
 * "Transaction Processing", 1993, chapter 10.)
 */
#ifndef CVY_REGION_UNDO_H
#define CVY_REGION_UNDO_H

#include "base/mutant.h"
#include "region/layout.h"

/** Log the word of 1 << log2_bytes bytes at `word`, whose value is `old`. */
static inline void cvy_undo_log(void *word, uint64_t old, unsigned log2_bytes)
{
    struct cvy_head *h = cvy_head;
    uint32_t n = atomic_load_explicit(&h->undo_count, memory_order_relaxed);
    if (__builtin_expect(n >= CVY_UNDO_MAX, 0))
        __builtin_trap(); /* a transaction without bound: a bug, never input */
    h->undo[n] = (struct cvy_undo){cvy_ref_of(word) << 2 | log2_bytes, old};
    /* The entry is there before it counts, and counts before the word changes. */
    atomic_store_explicit(&h->undo_count, n + 1, memory_order_release);
    atomic_thread_fence(memory_order_release);
    atomic_signal_fence(memory_order_seq_cst);
}

static inline void cvy_set64(uint64_t *word, uint64_t value)
{
    uint64_t old = *word;
    if (CVY_MUTANT(region_late_undo))
        __atomic_store_n(word, value, __ATOMIC_RELAXED);
    cvy_undo_log(word, old, 3);
    __atomic_store_n(word, value, __ATOMIC_RELAXED);
}
static inline void cvy_set32(uint32_t *word, uint32_t value)
{
    cvy_undo_log(word, *word, 2);
    __atomic_store_n(word, value, __ATOMIC_RELAXED);
}
static inline void cvy_set16(uint16_t *word, uint16_t value)
{
    cvy_undo_log(word, *word, 1);
    __atomic_store_n(word, value, __ATOMIC_RELAXED);
}

/** Read such a word without the lock: to show it, or as a first guess. */
static inline uint64_t cvy_load64(const uint64_t *word)
{
    return __atomic_load_n(word, __ATOMIC_ACQUIRE);
}
static inline uint32_t cvy_load32(const uint32_t *word)
{
    return __atomic_load_n(word, __ATOMIC_ACQUIRE);
}

/** All changes since the last commit have happened. The compiler moves nothing over it:
 * what was changed before is forgotten by it, what comes after is not covered. */
static inline void cvy_commit(void)
{
    atomic_signal_fence(memory_order_seq_cst);
    atomic_store_explicit(&cvy_head->undo_count, 0, memory_order_release);
    atomic_signal_fence(memory_order_seq_cst);
}

/** Take back all changes since the last commit. */
void cvy_rollback(void);

#endif
