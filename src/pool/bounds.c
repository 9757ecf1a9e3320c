/* SPDX-License-Identifier: MIT */
/* bounds.c: what a task hands on to the tasks that it gives to pools itself.
 *
 *   outer task --gives--> inner task --gives--> innermost task
 *      deadline      >=      deadline     >=      deadline
 *      asked to end -------> asked to end ------> asked to end, or not begun at all
 *
 * A deadline is a time, so it goes along as a number. Whether a task was asked to end stands
 * in the line of its worker: a batch says where the lines of those outside of it are, and
 * which task was there. When that one has ended, or its pool is gone, nobody is asked. */
#include "pool/worker.h"

static _Thread_local struct cvy_worker *here __attribute__((tls_model("initial-exec")));

void cvy_worker_is_here(struct cvy_worker *w)
{
    here = w;
}

struct cvy_worker *cvy_worker_here(void)
{
    return here;
}

void cvy_bounds_take(struct cvy_bounds *ret, covey_nsec timeout, bool detached)
{
    *ret =
        (struct cvy_bounds){.deadline = timeout ? cvy_os_deadline(timeout) : INT64_MAX};
    const struct cvy_worker *w = here;
    uint32_t count = 0;
    if (!w || detached || w->pid != cvy_os_pid()) /* a child by fork is no task */
        return;
    ret->deadline = cvy_min_i64(
        ret->deadline, atomic_load_explicit(&w->deadline, memory_order_relaxed));
    if (w->entries) /* of other items nobody is asked by itself */
        ret->outers[count++] = (struct cvy_outer){
            cvy_distance(w->line),
            atomic_load_explicit(&w->line->serial, memory_order_relaxed)};
    for (uint32_t i = 0; w->flags & CVY_BATCH_BOUND && count < CVY_OUTERS; i++)
        ret->outers[count++] = w->batch->bounds.outers[i];
}

bool cvy_bounds_canceled(const struct cvy_bounds *bounds)
{
    for (uint32_t i = 0; i < CVY_OUTERS && bounds->outers[i].line; i++) {
        const struct cvy_outer *outer = &bounds->outers[i];
        const struct cvy_pool_line *line = (const void *)cvy_pool_address(outer->line);
        if (atomic_load_explicit(&line->warned, memory_order_relaxed) ==
                outer->serial &&
            atomic_load_explicit(&line->serial, memory_order_relaxed) == outer->serial)
            return true;
    }
    return false;
}

/* ---- of the task that runs ---- */

int64_t cvy_worker_set_deadline(struct cvy_worker *w, uint64_t i, int64_t now)
{
    const struct cvy_bounds *bounds = &w->batch->bounds;
    int64_t deadline = bounds->deadline, over;
    if (w->deadlines)
        deadline = cvy_min_i64(deadline, w->deadlines[i]);
    if (bounds->time && !__builtin_add_overflow(now, bounds->time, &over))
        deadline = cvy_min_i64(deadline, over);
    atomic_store_explicit(&w->deadline, deadline, memory_order_relaxed);
    return deadline;
}
