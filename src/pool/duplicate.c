/* SPDX-License-Identifier: MIT */
/* duplicate.c: second runs of tasks that take long.
 *
 *   a task runs for `duplicate_after` --> a copy waits behind all others --> it runs, too
 *
 * A copy is a submission of one item that no program knows of. Of the two runs the first
 * counts that ends by itself, well or not; the other is taken back, or ended with its
 * worker. A run that ends with its worker or by a limit counts only if it is the last one.
 * The copy goes when both have ended, and keeps the result until then. */
#include "base/memory.h"
#include "pool/submit.h"

struct cvy_duplicate {
    struct covey_result copy; /* first */
    struct covey_result *of;
    uint64_t index; /* of the item in it */
    bool is_decided, first_ended, copy_ended;
    bool is_withdrawn;          /* the copy, before it was begun */
    struct cvy_duplicate *next; /* of the same result */
};

static struct cvy_duplicate *find(const struct covey_result *result, uint64_t index)
{
    struct cvy_duplicate *d = result->duplicates;
    while (d && d->index != index)
        d = d->next;
    return d;
}

/* ---- making ---- */

/* The same item again, for any worker: the one it prefers may be the reason. */
static void copy_item(struct cvy_duplicate *d)
{
    const struct covey_result *of = d->of;
    struct covey_result *copy = &d->copy;
    copy->is_copy = true;
    copy->owner = of->owner;
    copy->pool = of->pool;
    copy->fn = of->fn;
    copy->limits = of->limits;
    copy->bounds = of->bounds;
    copy->limits.duplicate = 0;
    copy->submitted = of->submitted;
    copy->deadline = copy->key = INT64_MAX;
    copy->memory = of->memory;
    copy->work.call = of->work.call;
    copy->work.n = 1;
    copy->work.width = of->work.width;
    copy->work.views = &copy->arg;
    if (of->work.views)
        copy->work.views = of->work.views + d->index * cvy_max_u64(of->work.width, 1);
    else
        copy->arg =
            COVEY_VIEW(of->work.in ? of->work.in + d->index * of->work.in_size : NULL,
                       of->work.in_size);
}

void cvy_duplicate_make(struct cvy_pool *pool, uint32_t slot, uint64_t at)
{
    const struct cvy_cookie *cookie = &pool->rooms[slot].cookies[at];
    struct covey_result *of = cookie->owner;
    if (pool->tasks->drops_all || pool->closing || of->is_canceled ||
        find(of, cookie->index) ||
        atomic_load(&pool->slots[slot].batch->outcomes[at]) != CVY_OUTCOME_RUNNING)
        return;
    struct cvy_duplicate *d = cvy_calloc(1, sizeof *d);
    if (!d)
        return; /* it is one run then */
    d->of = of;
    d->index = cookie->index;
    copy_item(d);
    if (cvy_heap_add(pool->tasks, &d->copy) < 0) {
        cvy_free(d);
        return;
    }
    atomic_fetch_add(&of->refs, 1);
    d->next = of->duplicates;
    of->duplicates = d;
    cvy_tasks_tell(pool);
}

/* ---- ending ---- */

/* Take a copy back that is not out. Returns: false if it is. */
static bool withdraw(struct cvy_submissions *tasks, struct cvy_duplicate *d)
{
    const struct cvy_flow *flow = &tasks->flow;
    if (d->copy.place)
        cvy_heap_remove(tasks, &d->copy);
    else if (flow->has_held && flow->held.cookie.owner == &d->copy)
        cvy_tasks_give_back(tasks, &d->copy);
    else
        return false;
    d->is_withdrawn = true;
    return true;
}

/* The outcome is there: what the other run becomes does not matter. */
static void end_other(struct cvy_submissions *tasks, struct cvy_duplicate *d)
{
    const struct covey_result *other = d->first_ended ? &d->copy : d->of;
    (void)cvy_tasks_take_out(tasks, other, d->first_ended ? 0 : d->index,
                             COVEY_OUTCOME_CANCELLED, COVEY_OUTCOME_CANCELLED);
}

static void unlink_copy(struct cvy_duplicate *d)
{
    struct cvy_duplicate **link = &d->of->duplicates;
    while (*link != d)
        link = &(*link)->next;
    *link = d->next;
}

/* A run of the item has ended. Returns: whether its outcome is the item's. */
static bool judge(struct cvy_submissions *tasks, struct cvy_duplicate *d, bool is_copy,
                  uint8_t outcome)
{
    if (is_copy)
        d->copy_ended = true;
    else
        d->first_ended = true;
    /* A copy that waits behind all others is not waited for. */
    if (!is_copy && !d->copy_ended && withdraw(tasks, d))
        d->copy_ended = true;
    bool is_last = d->first_ended && d->copy_ended;
    bool counts = !d->is_decided && (is_last || outcome == COVEY_OUTCOME_OK ||
                                     outcome == COVEY_OUTCOME_ERROR);
    d->is_decided |= counts;
    if (counts && !is_last)
        end_other(tasks, d);
    return counts;
}

struct covey_result *cvy_duplicate_judge(struct cvy_submissions *tasks,
                                         struct cvy_done *done)
{
    struct covey_result *result = done->cookie.owner;
    struct cvy_pool *pool = tasks->flow.map.pool;
    if (cvy_likely(!result->is_copy && !result->limits.duplicate))
        return result;
    (void)pthread_mutex_lock(&pool->lock);
    struct cvy_duplicate *d = result->is_copy ? (struct cvy_duplicate *)(void *)result
                                              : find(result, done->cookie.index);
    bool counts = !d || judge(tasks, d, result->is_copy, done->outcome);
    bool is_over = d && d->first_ended && d->copy_ended;
    if (d) {
        result = d->of;
        done->cookie.index = d->index;
        done->more_runs = !d->is_withdrawn;
    }
    if (is_over)
        unlink_copy(d);
    (void)pthread_mutex_unlock(&pool->lock);
    if (is_over) {
        cvy_free(d);
        cvy_result_unref(result); /* it stays if this outcome is the item's */
    }
    return counts ? result : NULL;
}

bool cvy_duplicates_cancel(struct cvy_submissions *tasks,
                           const struct covey_result *result,
                           enum covey_outcome outcome, enum covey_outcome running)
{
    bool any = false;
    for (struct cvy_duplicate *d = result->duplicates; d; d = d->next)
        if (!d->is_decided && !d->copy_ended)
            any |= cvy_tasks_take_out(tasks, &d->copy, 0, outcome, running);
    return any;
}

struct covey_result *cvy_duplicates_withdraw(struct cvy_submissions *tasks,
                                             const struct covey_result *result)
{
    struct cvy_pool *pool = tasks->flow.map.pool;
    (void)pthread_mutex_lock(&pool->lock);
    struct cvy_duplicate *d = result->duplicates;
    while (d && (d->copy_ended || !withdraw(tasks, d)))
        d = d->next;
    (void)pthread_mutex_unlock(&pool->lock);
    return d ? &d->copy : NULL;
}
