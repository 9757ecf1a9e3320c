/* SPDX-License-Identifier: MIT */
/* spread.c: workers that wake up on one processor while another one is idle.
 *
 * Who wakes several workers goes on for a moment, so that its processor looks busy, and Linux
 * puts two of them on the other one. Until it balances, which takes 10 to 20 ms when the
 * first one's goes idle only for moments at a time, they run in turns. So who has slept looks
 * where the others run before it takes anything.
 *
 * What lines say of that is old where the kernel has moved a worker since: a hint, by which
 * the kernel is asked. */
#include "pool/worker.h"

void cvy_worker_say_where(struct cvy_worker *w)
{
    int cpu = w->is_thread ? -1 : cvy_os_cpu();
    uint64_t where = cpu < 0 ? 0 : (uint64_t)w->pid << 32 | ((uint32_t)cpu + 1);
    atomic_store_explicit(&w->line->where, where, memory_order_relaxed);
}

void cvy_worker_spread(struct cvy_worker *w)
{
    struct cvy_os_cpus taken = {{0}};
    uint32_t workers = atomic_load_explicit(&w->shared->workers, memory_order_relaxed);
    uint64_t mine = atomic_load_explicit(&w->line->where, memory_order_relaxed);
    int other = 0;
    for (uint32_t i = 0; i < workers && mine; i++) {
        const struct cvy_pool_line *line = &w->shared->lines[i];
        uint64_t where = atomic_load_explicit(&line->where, memory_order_relaxed);
        if (!where || !cvy_line_batch(line))
            continue;
        cvy_os_add_cpu(&taken, (int)(uint32_t)where - 1);
        if (i != w->index && (uint32_t)where == (uint32_t)mine)
            other = (int)(where >> 32);
    }
    if (other && cvy_os_part_from(other, &taken) == 0)
        cvy_worker_say_where(w);
}
