/* SPDX-License-Identifier: MIT */
/* joinable.c: queues that know which messages have been worked off.
 *
 *   put in all = in the queue + got and not worked off + done
 *
 * The table says how many each process has got and not worked off. Table, done and the
 * head change only under the ring's get_lock, so whoever has it sees
 *   got in all - done  >=  what the living have;
 * the rest is what the dead had: it counts as done, and as abandoned. It does not matter
 * what a dead process's own entry says, so nothing needs to be undone. */
#include <errno.h>
#include <limits.h>

#include "base/error.h"
#include "channel/queue.h"
#include "region/wait.h"

int covey_joinable_queue_create(covey_joinable_queue **out, size_t maxsize,
                                const struct covey_queue_opts *opts)
{
    void *made = NULL;
    int r = cvy_queue_create(CVY_KIND_JOINABLE_QUEUE,
                             sizeof(struct covey_joinable_queue), maxsize, opts,
                             out ? &made : NULL, "covey_joinable_queue_create");
    if (r >= 0 && out)
        *out = made;
    return r;
}

static int enter(covey_joinable_queue *q, const char *call)
{
    return cvy_sync_enter(q, CVY_KIND_JOINABLE_QUEUE, call);
}

covey_queue *covey_joinable_queue_queue(covey_joinable_queue *queue)
{
    int r = enter(queue, "covey_joinable_queue_queue");
    return r < 0 ? NULL : &queue->queue;
}

int covey_joinable_queue_put(covey_joinable_queue *queue, struct covey_view message,
                             covey_nsec timeout)
{
    int r = enter(queue, "covey_joinable_queue_put");
    return r < 0 ? r : covey_queue_put(&queue->queue, message, timeout);
}

int covey_joinable_queue_get(covey_joinable_queue *queue,
                             struct covey_bytes *ret_message, covey_nsec timeout)
{
    int r = enter(queue, "covey_joinable_queue_get");
    return r < 0 ? r : covey_queue_get(&queue->queue, ret_message, timeout);
}

/* ---- who has how many ---- */

static bool entry_is_free(void *object, uint64_t entry)
{
    (void)object;
    return cvy_member_is_dead(cvy_entry_owner(entry), false);
}

static cvy_entry *my_entry(covey_joinable_queue *q)
{
    return cvy_table_search(&q->users, cvy_member_owner(), NULL, NULL);
}

int cvy_joinable_prepare(covey_joinable_queue *q)
{
    while (!my_entry(q)) {
        if (cvy_table_search(&q->users, cvy_member_owner(), entry_is_free, q))
            return 0;
        int r = cvy_table_grow(&q->users, q);
        if (r < 0)
            return r;
    }
    return 0;
}

void cvy_joinable_took(covey_joinable_queue *q, uint32_t n)
{
    cvy_entry *mine = my_entry(q);
    if (mine)
        (void)atomic_fetch_add(mine, cvy_entry_of(0, n));
}

/* Messages put, and in the queue. */
static void counts(covey_joinable_queue *q, uint32_t *ret_put, uint32_t *ret_queued)
{
    uint64_t bytes;
    do {
        *ret_put = atomic_load(&q->queue.ring.put_ordinal);
        cvy_ring_load(&q->queue.ring, ret_queued, &bytes);
    } while (*ret_put != atomic_load(&q->queue.ring.put_ordinal));
}

/* Messages that were got and not worked off. get_lock held. */
static uint32_t outstanding(covey_joinable_queue *q)
{
    uint32_t put, queued;
    counts(q, &put, &queued);
    return put - queued - atomic_load(&q->done);
}

/* get_lock held. What the dead had counts as done. */
static void settle(covey_joinable_queue *q, bool ask_kernel)
{
    uint32_t at = 0, living = 0, have = outstanding(q);
    cvy_entry *entry;
    if (atomic_load(&q->untracked))
        return;
    while ((entry = cvy_table_next(&q->users, &at))) {
        uint64_t seen = atomic_load(entry);
        if (!cvy_member_is_dead(cvy_entry_owner(seen), ask_kernel))
            living += cvy_entry_has(seen);
    }
    if (have <= living)
        return;
    atomic_fetch_add(&q->abandoned, have - living);
    atomic_fetch_add(&q->done, have - living);
}

static bool all_done(covey_joinable_queue *q)
{
    return atomic_load(&q->queue.ring.put_ordinal) == atomic_load(&q->done);
}

int covey_joinable_queue_task_done(covey_joinable_queue *queue)
{
    static const char call[] = "covey_joinable_queue_task_done";
    int r = enter(queue, call);
    if (r >= 0)
        r = cvy_joinable_prepare(queue);
    if (r >= 0)
        r = cvy_ring_lock_get(&queue->queue.ring, INT64_MAX);
    if (r < 0)
        return r;
    if (!outstanding(queue))
        r = cvy_fail(COVEY_ERELEASED, "%s: called more often than messages were got",
                     call);
    if (r >= 0) {
        cvy_entry *mine = my_entry(queue);
        if (mine && cvy_entry_has(atomic_load(mine)))
            (void)atomic_fetch_sub(mine, cvy_entry_of(0, 1));
        else
            atomic_store(&queue->untracked, 1);
        (void)atomic_fetch_add(&queue->done, 1);
    }
    cvy_ring_unlock_get(&queue->queue.ring);
    if (r >= 0 && all_done(queue))
        cvy_waiters_wake(&queue->joined, INT_MAX);
    return r;
}

/* Whether all is done once what the dead had is; others who join are woken then. */
static bool is_joined(covey_joinable_queue *q, bool ask_kernel)
{
    if (!all_done(q) && cvy_ring_lock_get(&q->queue.ring, INT64_MAX) >= 0) {
        settle(q, ask_kernel);
        cvy_ring_unlock_get(&q->queue.ring);
        if (all_done(q))
            cvy_waiters_wake(&q->joined, INT_MAX);
    }
    return all_done(q);
}

int covey_joinable_queue_join(covey_joinable_queue *queue, covey_nsec timeout)
{
    static const char call[] = "covey_joinable_queue_join";
    bool ask_kernel = false;
    int r = enter(queue, call);
    int64_t deadline = cvy_os_deadline(timeout);
    while (r >= 0 && !is_joined(queue, ask_kernel)) {
        uint32_t gong = cvy_gong(), word = cvy_waiters_announce(&queue->joined);
        if (is_joined(queue, ask_kernel))
            return 0;
        r = cvy_sleep(&queue->joined, word, gong, deadline, cvy_ref_of(queue));
        ask_kernel = r == CVY_SLICE;
    }
    if (r == -ETIMEDOUT)
        return cvy_fail(r, "%s: messages of queue %s are not worked off", call,
                        queue->queue.name);
    return r == -EINTR ? cvy_fail(r, "%s: a signal came", call) : r < 0 ? r : 0;
}

int covey_joinable_queue_abandoned(covey_joinable_queue *queue, uint64_t *ret_count)
{
    static const char call[] = "covey_joinable_queue_abandoned";
    int r = enter(queue, call);
    if (r >= 0 && !ret_count)
        r = cvy_fail(-EINVAL, "%s: ret_count is NULL", call);
    if (r < 0)
        return r;
    (void)is_joined(queue, false);
    *ret_count = atomic_load(&queue->abandoned);
    return 0;
}

void covey_joinable_queue_free(covey_joinable_queue *queue)
{
    cvy_watch_end(queue);
    cvy_sync_free(queue, CVY_KIND_JOINABLE_QUEUE, "covey_joinable_queue_free");
}
