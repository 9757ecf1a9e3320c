/* SPDX-License-Identifier: MIT */
/* joinable.c: queues that know which messages have been worked off.
 *
 *   got in all = got and not worked off + done
 *
 * The table says how many each process has got and not worked off. Table, done and the
 * head change only under the ring's get_lock, so whoever has it sees
 *   got in all - done  >=  what the living have;
 * the rest is what the dead had: it counts as done, and as abandoned. It does not matter
 * what a dead process's own entry says, so nothing needs to be undone. */
#include <errno.h>
#include <limits.h>

#include "base/error.h"
#include "base/mutant.h"
#include "channel/queue.h"
#include "channel/record.h"
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

static cvy_entry *my_entry(covey_joinable_queue *q)
{
    return cvy_table_search(&q->users, cvy_member_owner(), NULL, NULL);
}

int cvy_joinable_prepare(covey_joinable_queue *q)
{
    while (!my_entry(q)) {
        if (cvy_table_search(&q->users, cvy_member_owner(), cvy_entry_member_is_dead,
                             q))
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

/* The word of the record at a position; 0: there is none. */
static uint64_t word_at(struct cvy_ring *ring, uint64_t position)
{
    return cvy_ring_segment(ring, cvy_position_number_of(position))->at
               ? atomic_load(&cvy_record_at(ring, position)->word)
               : 0;
}

/* The ordinal behind what a producer has committed and not noted yet, which others have
 * got: it lies from the tail up to the head. `*put`: what has been noted, receives it.
 * Returns: false if the tail has moved on meanwhile. */
static bool find_ordinal(struct cvy_ring *ring, uint64_t tail, uint64_t head,
                         uint32_t *put)
{
    uint64_t word = 1;
    for (uint64_t at = tail; at != head && word;) {
        word = word_at(ring, at); /* 0: of a JUMP whose segment has been given back */
        if (atomic_load(&ring->tail) != tail)
            return false;
        if (word && !(word & (CVY_RECORD_PAD | CVY_RECORD_JUMP)))
            *put = (uint32_t)(word >> 32) + 1;
        at = cvy_position_behind(at, word);
    }
    return atomic_load(&ring->tail) == tail;
}

/* Messages got in all, modulo 2^32: the ordinal of the next. get_lock held. */
static uint32_t count_got(struct cvy_ring *ring)
{
    uint64_t head = atomic_load(&ring->head);
    for (;;) {
        uint64_t tail = atomic_load(&ring->tail);
        uint32_t put = atomic_load(&ring->put_ordinal);
        uint64_t word = word_at(ring, head);
        if (word)
            return (uint32_t)(word >> 32);
        if (find_ordinal(ring, tail, head, &put))
            return put;
    }
}

/* Messages that were got and not worked off. get_lock held. */
static uint32_t outstanding(covey_joinable_queue *q)
{
    return count_got(&q->queue.ring) - atomic_load(&q->done);
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

/* get_lock held. Not what was put counts, but what there is: a producer may have stopped,
 * or died, before it counted what others have got already. */
static bool all_done(covey_joinable_queue *q)
{
    struct cvy_item item;
    return cvy_ring_look(&q->queue.ring, 0, &item) == -EAGAIN && !outstanding(q);
}

int covey_joinable_queue_task_done(covey_joinable_queue *queue)
{
    static const char call[] = "covey_joinable_queue_task_done";
    bool all = false;
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
        all = all_done(queue);
    }
    cvy_ring_unlock_get(&queue->queue.ring);
    if (all)
        cvy_waiters_wake(&queue->joined, INT_MAX);
    return r;
}

/* Whether all is done once what the dead had is; others who join are woken then.
 * Returns: 1 or 0; -ETIMEDOUT: a process that is stopped is in the middle of a get. */
static int is_joined(covey_joinable_queue *q, bool ask_kernel, int64_t deadline)
{
    int r = cvy_ring_lock_get(&q->queue.ring, deadline);
    if (r < 0)
        return r;
    if (!CVY_MUTANT(queue_joined))
        settle(q, ask_kernel);
    r = all_done(q);
    cvy_ring_unlock_get(&q->queue.ring);
    if (r)
        cvy_waiters_wake(&q->joined, INT_MAX);
    return r;
}

static int await_joined(covey_joinable_queue *q, int64_t deadline)
{
    bool ask_kernel = false;
    int r;
    while (!(r = is_joined(q, ask_kernel, deadline))) {
        uint32_t gong = cvy_gong(), word = cvy_waiters_announce(&q->joined);
        r = is_joined(q, ask_kernel, deadline);
        if (r)
            break;
        r = cvy_sleep(&q->joined, word, gong, deadline, cvy_ref_of(q));
        if (r < 0)
            break;
        ask_kernel = r == CVY_SLICE;
    }
    return r;
}

int covey_joinable_queue_join(covey_joinable_queue *queue, covey_nsec timeout)
{
    static const char call[] = "covey_joinable_queue_join";
    int r = enter(queue, call);
    if (r < 0)
        return r;
    r = await_joined(queue, cvy_os_deadline(timeout));
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
    (void)is_joined(queue, false, cvy_os_now() + COVEY_SEC(1));
    *ret_count = atomic_load(&queue->abandoned);
    return 0;
}

void covey_joinable_queue_free(covey_joinable_queue *queue)
{
    cvy_queue_free(queue ? &queue->queue : NULL, CVY_KIND_JOINABLE_QUEUE,
                   "covey_joinable_queue_free");
}
