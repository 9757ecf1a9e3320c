/* SPDX-License-Identifier: MIT */
/* spread.c: workers that wake up on one processor while another one is idle.
 *
 * Who wakes several workers goes on for a moment, so that its processor looks busy, and Linux
 * puts two of them on the other one. Until it balances, which takes 10 to 20 ms when the
 * first one's goes idle only for moments at a time, they run in turns. So who has slept looks
 * where the others run before it takes anything. It may be the first of them, and then the
 * one behind it cannot look: so it looks for that one, too, if there are items for both.
 *
 * What lines say of that is old where the kernel has moved a worker since: a hint, by which
 * the kernel is asked. */
#include <errno.h>

#include "pool/worker.h"

void cvy_worker_say_where(struct cvy_worker *w)
{
    int cpu = w->is_thread ? -1 : cvy_os_cpu();
    uint64_t where = cpu < 0 ? 0 : (uint64_t)w->pid << 32 | ((uint32_t)cpu + 1);
    atomic_store_explicit(&w->line->where, where, memory_order_relaxed);
}

/* Whether one call may have been for several workers. */
static bool is_for_several(const struct cvy_worker *w)
{
    return w->n > 1 && (!w->cost || w->n >= CVY_WORTH_A_CALL / w->cost);
}

void cvy_worker_spread(struct cvy_worker *w)
{
    struct cvy_os_cpus taken = {{0}}, all = {{0}};
    uint32_t workers = atomic_load_explicit(&w->shared->workers, memory_order_relaxed);
    uint64_t mine = atomic_load_explicit(&w->line->where, memory_order_relaxed);
    int other = 0, behind = 0;
    for (uint32_t k = 0; k < workers && mine; k++) {
        uint32_t i = (w->index + k) % workers;
        const struct cvy_pool_line *line = &w->shared->lines[i];
        uint64_t where = atomic_load_explicit(&line->where, memory_order_relaxed);
        bool is_here = (uint32_t)where == (uint32_t)mine, works = cvy_line_batch(line);
        if (!where)
            continue;
        cvy_os_add_cpu(&all, (int)(uint32_t)where - 1);
        if (works)
            cvy_os_add_cpu(&taken, (int)(uint32_t)where - 1);
        if (i == w->index)
            continue;
        if (!works)
            behind = is_here || !behind ? (int)(where >> 32) : behind;
        else if (is_here)
            other = (int)(where >> 32);
    }
    int r = -EBUSY;
    if (other) {
        r = cvy_os_part_from(other, &taken);
    } else if (behind &&
               is_for_several(w)) { /* others may be called, too, where they were */
        r = cvy_os_part_from(behind, &all);
        if (r == -EBUSY)
            r = cvy_os_part_from(behind, &taken);
    }
    if (r == 0)
        cvy_worker_say_where(w);
}
