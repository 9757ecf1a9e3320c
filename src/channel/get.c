/* SPDX-License-Identifier: MIT */
/* get.c: getting from queues. A message is copied while get_lock is held, to where there
 * is room for it already: whoever has too little lets go, gets more and comes again. */
#include <errno.h>
#include <limits.h>
#include <string.h>

#include "base/bytes.h"
#include "base/error.h"
#include "channel/queue.h"
#include "region/wait.h"

/* ---- waiting for one ---- */

static int fail_get(covey_queue *q, int r, const char *call)
{
    if (r == -ETIMEDOUT)
        return cvy_fail(r, "%s: queue %s is empty", call, q->name);
    if (r == COVEY_ECLOSED)
        return cvy_fail(r, "%s: queue %s is empty and closed", call, q->name);
    if (r == COVEY_EPEERDIED)
        return cvy_fail(r,
                        "%s: queue %s is empty, and no other process holds it any more",
                        call, q->name);
    return r == -EINTR ? cvy_fail(r, "%s: a signal came", call) : r;
}

static struct covey_joinable_queue *joinable(covey_queue *q)
{
    return q->object.kind == CVY_KIND_JOINABLE_QUEUE
               ? (struct covey_joinable_queue *)(void *)q
               : NULL;
}

/* Take an item, if there is one. Returns: as the taker; -ENODATA: there is none. */
static int try_take(covey_queue *q, cvy_queue_taker *take, void *ctx,
                    uint32_t *ret_taken, int64_t deadline)
{
    struct cvy_item item;
    if (!cvy_ring_leads_on(&q->ring))
        return -ENODATA;
    int r = cvy_ring_lock_get(&q->ring, deadline);
    if (cvy_unlikely(r < 0)) {
        cvy_waiters_wake(&q->items, 1); /* it may have been woken for what it leaves */
        return r;
    }
    r = cvy_ring_look(&q->ring, 0, &item);
    r = r == -EAGAIN ? -ENODATA : take(q, &item, ctx);
    if (cvy_likely(r >= 0) && joinable(q))
        cvy_joinable_took(joinable(q), *ret_taken);
    cvy_ring_unlock_get(&q->ring);
    if (r >= 0)
        cvy_waiters_wake(&q->space, q->max_bytes ? INT_MAX : *ret_taken);
    else if (r != -ENODATA)
        cvy_waiters_wake(&q->items, 1); /* who has room for it may sleep */
    return r;
}

static int await_item(covey_queue *q, uint32_t gong, int64_t deadline)
{
    cvy_ring_give_back(&q->ring);
    uint32_t word = cvy_waiters_announce(&q->items);
    bool closed = atomic_load(&q->closed);
    if (!cvy_ring_is_empty(&q->ring))
        return 0;
    if (closed)
        return COVEY_ECLOSED;
    if (cvy_queue_is_lonely(q)) /* the last one may have put something before it went */
        return cvy_ring_is_empty(&q->ring) ? COVEY_EPEERDIED : 0;
    return cvy_sleep(&q->items, word, gong, deadline, cvy_ref_of(q));
}

int cvy_queue_take(covey_queue *q, cvy_queue_taker *take, void *ctx,
                   uint32_t *ret_taken, int64_t deadline, const char *call)
{
    struct cvy_spin spin = {0};
    int r = joinable(q) ? cvy_joinable_prepare(joinable(q)) : 0;
    if (r < 0)
        return r;
    for (;;) {
        uint32_t gong = cvy_gong();
        bool closed = atomic_load_explicit(&q->closed, memory_order_acquire);
        r = try_take(q, take, ctx, ret_taken, deadline);
        cvy_watch_taken(q);
        if (cvy_likely(r != -ENODATA))
            return r < 0 ? fail_get(q, r, call) : r;
        if (closed)
            return fail_get(q, COVEY_ECLOSED, call);
        if (deadline <= 0) {
            cvy_ring_give_back(&q->ring);
            return fail_get(q, -ETIMEDOUT, call);
        }
        cvy_ring_fall_behind(&q->ring);
        if (cvy_spin(&spin))
            continue;
        r = await_item(q, gong, deadline);
        if (r == -ETIMEDOUT)
            cvy_ring_give_back(&q->ring);
        if (r < 0)
            return fail_get(q, r, call);
        spin = (struct cvy_spin){0};
    }
}

/* ---- one message ---- */

static int take_into(covey_queue *q, const struct cvy_item *item, void *ctx)
{
    struct cvy_target *t = ctx;
    *t->ret_size = item->size;
    if (cvy_unlikely(item->size > t->capacity))
        return t->bytes ? -EAGAIN : -EMSGSIZE;
    if (cvy_unlikely(item->extent)) {
        cvy_ring_take_extent(&q->ring, item);
        t->extent = item->extent;
        return 0;
    }
    if (item->size)
        memcpy(t->to, item->data, item->size);
    cvy_ring_take(&q->ring, item, 1);
    return 0;
}

int cvy_queue_get(covey_queue *q, struct cvy_target *t, int64_t deadline,
                  const char *call)
{
    uint32_t taken = 1;
    for (;;) {
        int r = cvy_queue_take(q, take_into, t, &taken, deadline, call);
        if (cvy_likely(r >= 0))
            break;
        if (r != -EAGAIN || !t->bytes) /* which only a resizable target is told */
            return r == -EMSGSIZE
                       ? cvy_fail(r,
                                  "%s: a message of %zu bytes; there is room for %zu",
                                  call, *t->ret_size, t->capacity)
                       : r;
        size_t want = *t->ret_size;
        r = covey_bytes_resize(t->bytes, want);
        if (r < 0)
            return r;
        t->to = t->bytes->data;
        t->capacity = t->bytes->capacity;
    }
    if (cvy_unlikely(t->extent)) {
        memcpy(t->to, cvy_at(t->extent), *t->ret_size);
        cvy_extent_give(t->extent);
        cvy_waiters_wake(&q->space, INT_MAX); /* there is memory */
    }
    cvy_ring_arrived();
    return 0;
}

int covey_queue_get(covey_queue *queue, struct covey_bytes *ret_message,
                    covey_nsec timeout)
{
    static const char call[] = "covey_queue_get";
    if (cvy_queue_is_entered(queue) && cvy_likely(ret_message) &&
        cvy_likely(cvy_queue_get_at_once(queue, ret_message->data,
                                         ret_message->capacity, &ret_message->size))) {
        cvy_watch_taken(queue);
        return 0;
    }
    int r = cvy_queue_enter(queue, call);
    if (cvy_likely(r >= 0) && cvy_unlikely(!ret_message))
        r = cvy_fail(-EINVAL, "%s: ret_message is NULL", call);
    if (cvy_unlikely(r < 0))
        return r;
    size_t size = 0;
    struct cvy_target t = {ret_message->data, ret_message->capacity, ret_message, &size,
                           0};
    r = cvy_queue_get(queue, &t, cvy_os_deadline(timeout), call);
    if (cvy_likely(r >= 0))
        ret_message->size = size;
    return r;
}

int covey_queue_get_into(covey_queue *queue, void *to, size_t capacity,
                         size_t *ret_size, covey_nsec timeout)
{
    static const char call[] = "covey_queue_get_into";
    if (cvy_queue_is_entered(queue) && cvy_likely(to && ret_size) &&
        cvy_likely(cvy_queue_get_at_once(queue, to, capacity, ret_size))) {
        cvy_watch_taken(queue);
        return 0;
    }
    int r = cvy_queue_enter(queue, call);
    if (r >= 0 && ((!to && capacity) || !ret_size))
        r = cvy_fail(-EINVAL, "%s: a NULL where the message goes", call);
    if (r < 0)
        return r;
    struct cvy_target t = {to, capacity, NULL, ret_size, 0};
    return cvy_queue_get(queue, &t, cvy_os_deadline(timeout), call);
}

/* ---- several ---- */

/* Memory that targets of messages get which may not be there. */
#define MOST_AHEAD ((size_t)1 << 20)

/* Several messages; `got` of them so far. */
struct targets {
    struct covey_bytes *messages;
    size_t count;
    size_t want;   /* of memory for the first, when it does not fit */
    uint32_t *got; /* taken */
};

static bool fits(const struct covey_bytes *bytes, const struct cvy_item *item)
{
    return item->size <= bytes->capacity;
}

/* Take items of the ring whose memory is ready; growing them here would hold up others. */
static int take_many(covey_queue *q, const struct cvy_item *first, void *ctx)
{
    struct targets *t = ctx;
    struct cvy_item item = *first, last = *first;
    uint32_t n = 0;
    t->want = first->size;
    if (!fits(t->messages, first))
        return -EAGAIN;
    if (first->extent)
        return -EXDEV; /* by itself */
    do {
        if (item.size)
            memcpy(t->messages[n].data, item.data, item.size);
        t->messages[n].size = item.size;
        last = item;
        n++;
    } while (n < t->count && cvy_ring_look(&q->ring, last.after, &item) == 0 &&
             !item.extent && fits(&t->messages[n], &item));
    *t->got = n;
    cvy_ring_take(&q->ring, &last, n);
    return 0;
}

/* Make the first large enough; and the others, since messages of one queue are often alike,
 * as long as that takes little memory, and there is some. */
static int ready_targets(const struct targets *t)
{
    int r = cvy_bytes_reserve(t->messages, t->want);
    size_t spent = 0;
    for (size_t i = 1; r >= 0 && i < t->count && t->want <= CVY_LARGEST_RECORD; i++) {
        struct covey_bytes *bytes = &t->messages[i];
        if (bytes->capacity >= t->want)
            continue;
        if (spent + t->want > MOST_AHEAD || cvy_bytes_reserve(bytes, t->want) < 0)
            break;
        spent += bytes->capacity;
    }
    return r;
}

int covey_queue_get_many(covey_queue *queue, struct covey_bytes *messages, size_t count,
                         covey_nsec timeout, size_t *ret_count)
{
    static const char call[] = "covey_queue_get_many";
    uint32_t got = 0;
    int r = cvy_queue_enter(queue, call);
    if (r >= 0 && (!messages || !count || !ret_count))
        r = cvy_fail(-EINVAL, "%s: no messages, or ret_count is NULL", call);
    if (r < 0)
        return r;
    *ret_count = 0;
    int64_t deadline = cvy_os_deadline(timeout);
    struct targets t = {messages, cvy_min_size(count, CVY_MOST_ITEMS), 0, &got};
    while ((r = cvy_queue_take(queue, take_many, &t, &got, deadline, call)) ==
           -EAGAIN) {
        r = ready_targets(&t);
        if (r < 0)
            return r;
    }
    if (r == -EXDEV) {
        size_t size = 0;
        struct cvy_target one = {messages->data, messages->capacity, messages, &size,
                                 0};
        r = cvy_queue_get(queue, &one, deadline, call);
        got = r >= 0;
        if (r >= 0)
            messages->size = size;
    } else if (r >= 0) {
        cvy_ring_arrived();
    }
    if (r >= 0)
        *ret_count = got;
    return r;
}
