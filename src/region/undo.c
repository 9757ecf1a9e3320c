/* SPDX-License-Identifier: MIT */
/* undo.c: taking back what a dead process left half-done. Needs the region lock. */
#include "region/undo.h"

void cvy_rollback(void)
{
    struct cvy_head *h = cvy_head;
    uint32_t n = atomic_load_explicit(&h->undo_count, memory_order_acquire);
    while (n > 0) {
        const struct cvy_undo *u = &h->undo[--n];
        void *word = cvy_at(u->where >> 2);
        switch (u->where & 3) {
        case 1:
            __atomic_store_n((uint16_t *)word, (uint16_t)u->old, __ATOMIC_RELAXED);
            break;
        case 2:
            __atomic_store_n((uint32_t *)word, (uint32_t)u->old, __ATOMIC_RELAXED);
            break;
        default:
            __atomic_store_n((uint64_t *)word, u->old, __ATOMIC_RELAXED);
        }
    }
    cvy_commit();
}
