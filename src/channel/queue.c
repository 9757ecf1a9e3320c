/* SPDX-License-Identifier: MIT */
/* queue.c: waiting, limits and the end of queues; the bytes are ring.c's.
 *
 * A put that finds room commits and unlocks, then looks at `items`; a getter that finds
 * nothing sets WAITERS in `items`, then looks again: one of them sees the other. The same
 * with `space` the other way around. Who dies between commit and wake is heard by the
 * bell, and sleepers look for themselves. */
#include "channel/queue.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#include "base/error.h"
#include "base/opts.h"
#include "region/alloc.h"
#include "region/undo.h"
#include "region/wait.h"

#define MOST_ITEMS 0x7fffffffu
#define CLOSE_TIME COVEY_SEC(1)

int cvy_queue_enter(const void *queue, const char *call)
{
    int r = cvy_enter();
    if (cvy_unlikely(r < 0))
        return r;
    uint32_t kind =
        queue ? atomic_load_explicit(&((const covey_queue *)queue)->object.kind,
                                     memory_order_relaxed)
              : 0;
    if (cvy_likely(kind == CVY_KIND_QUEUE || kind == CVY_KIND_JOINABLE_QUEUE ||
                   kind == CVY_KIND_SIMPLE_QUEUE))
        return 0;
    return cvy_object_check(queue, CVY_KIND_QUEUE, call);
}

/* ---- waiting ---- */

uint32_t cvy_waiters_announce(cvy_word *word)
{
    return atomic_fetch_or(word, CVY_WAITERS) | CVY_WAITERS;
}

static void wake_slowly(cvy_word *word, uint32_t n)
{
    uint32_t seen = atomic_load(word);
    cvy_bell_arm(); /* who dies before the wake is to be heard */
    while (seen & CVY_WAITERS)
        if (atomic_compare_exchange_weak(word, &seen, (seen + 1) | CVY_WAITERS))
            break;
    if (!(seen & CVY_WAITERS) ||
        cvy_os_futex_wake(word, n > INT_MAX ? INT_MAX : (int)n) > 0)
        return;
    seen = (seen + 1) | CVY_WAITERS;
    if (atomic_compare_exchange_strong(word, &seen, seen & ~CVY_WAITERS))
        (void)cvy_os_futex_wake(word, INT_MAX); /* who has just announced itself */
}

void cvy_waiters_wake(cvy_word *word, uint32_t n)
{
    cvy_os_fence_after_swap(); /* pairs with cvy_waiters_announce */
    if (cvy_unlikely(atomic_load_explicit(word, memory_order_relaxed) & CVY_WAITERS))
        wake_slowly(word, n);
}

/* Whether nobody else can do what is waited for; see the header. */
static bool is_lonely(covey_queue *q)
{
    return cvy_object_is_lonely(q) &&
           cvy_load32(&cvy_member_at(CVY_INDEX_OF(cvy_member_owner()))->thread_count) <=
               1;
}

/* ---- putting ---- */

static bool has_room(covey_queue *q, size_t size)
{
    uint32_t items;
    uint64_t bytes;
    if (cvy_likely(!q->max_items && !q->max_bytes))
        return true;
    cvy_ring_load(&q->ring, &items, &bytes);
    return (!q->max_items || items < q->max_items) &&
           (!q->max_bytes || bytes + size <= q->max_bytes);
}

static int fail_put(covey_queue *q, int r, const char *call)
{
    if (r == -ETIMEDOUT)
        return cvy_fail(r, "%s: queue %s is full", call, q->name);
    if (r == COVEY_ECLOSED)
        return cvy_fail(r, "%s: queue %s is closed", call, q->name);
    if (r == COVEY_EPEERDIED)
        return cvy_fail(r,
                        "%s: queue %s is full, and no other process holds it any more",
                        call, q->name);
    return r == -EINTR ? cvy_fail(r, "%s: a signal came", call) : r;
}

/* Sleep until there may be room. `first`: it is the first time. */
static int await_space(covey_queue *q, size_t size, uint32_t gong, int64_t deadline)
{
    uint32_t word = cvy_waiters_announce(&q->space);
    if (has_room(q, size) || atomic_load(&q->closed))
        return 0;
    if (is_lonely(q))
        return COVEY_EPEERDIED;
    return cvy_sleep(&q->space, word, gong, deadline, cvy_ref_of(q));
}

int cvy_queue_await_room(covey_queue *q, size_t size, int64_t deadline,
                         const char *call)
{
    struct cvy_spin spin = {0};
    if (cvy_unlikely(q->max_bytes && size > q->max_bytes))
        return cvy_fail(-EMSGSIZE, "%s: %zu bytes; queue %s takes %llu in all", call,
                        size, q->name, (unsigned long long)q->max_bytes);
    for (;;) {
        uint32_t gong = cvy_gong();
        int r = cvy_ring_lock_put(&q->ring, deadline);
        if (r < 0)
            return fail_put(q, r, call);
        if (cvy_unlikely(atomic_load_explicit(&q->closed, memory_order_relaxed))) {
            cvy_ring_unlock_put(&q->ring);
            return fail_put(q, COVEY_ECLOSED, call);
        }
        if (cvy_likely(has_room(q, size)))
            return 0;
        cvy_ring_unlock_put(&q->ring);
        do { /* without the lock: others shall take what is there */
            if (deadline <= 0)
                return fail_put(q, -ETIMEDOUT, call);
        } while (!has_room(q, size) && cvy_spin(&spin));
        if (has_room(q, size))
            continue;
        r = await_space(q, size, gong, deadline);
        if (r < 0)
            return fail_put(q, r, call);
        spin = (struct cvy_spin){0};
    }
}

void cvy_queue_put_done(covey_queue *q, uint32_t n)
{
    cvy_ring_unlock_put(&q->ring);
    cvy_waiters_wake(&q->items, n);
}

/* The family has no memory: wait until something is taken, if there is anything. */
static int await_memory(covey_queue *q, size_t size, int64_t deadline, const char *call)
{
    uint32_t items, gong = cvy_gong(), word = cvy_waiters_announce(&q->space);
    uint64_t bytes;
    cvy_ring_load(&q->ring, &items, &bytes);
    if (!items)
        return cvy_fail_budget("a message in a queue", size);
    int r = deadline <= 0 ? -ETIMEDOUT
                          : cvy_sleep(&q->space, word, gong, deadline, cvy_ref_of(q));
    return r < 0 ? fail_put(q, r, call) : 0;
}

static int put_small(covey_queue *q, struct covey_view message, int64_t deadline,
                     const char *call)
{
    for (;;) {
        int r = cvy_queue_await_room(q, message.size, deadline, call);
        if (cvy_unlikely(r < 0))
            return r;
        r = cvy_ring_put(&q->ring, &message, 1);
        if (cvy_likely(r >= 0)) {
            cvy_queue_put_done(q, 1);
            return 0;
        }
        cvy_ring_unlock_put(&q->ring);
        r = await_memory(q, message.size, deadline, call);
        if (r < 0)
            return r;
    }
}

static int put_large(covey_queue *q, struct covey_view message, int64_t deadline,
                     const char *call)
{
    struct covey_loan loan;
    int r;
    for (;;) {
        r = cvy_extent_take(message.size, &loan.extent);
        if (r >= 0)
            break;
        r = await_memory(q, message.size, deadline, call);
        if (r < 0)
            return r;
    }
    memcpy(cvy_at(loan.extent), message.data, message.size);
    r = cvy_queue_put_extent(q, loan.extent, message.size, deadline, call);
    if (r < 0)
        cvy_extent_give(loan.extent);
    return r;
}

int cvy_queue_put_extent(covey_queue *q, cvy_ref extent, size_t size, int64_t deadline,
                         const char *call)
{
    for (;;) {
        int r = cvy_queue_await_room(q, size, deadline, call);
        if (r < 0)
            return r;
        r = cvy_ring_put_extent(&q->ring, extent, size);
        if (r >= 0) {
            cvy_queue_put_done(q, 1);
            return 0;
        }
        cvy_ring_unlock_put(&q->ring);
        r = await_memory(q, size, deadline, call);
        if (r < 0)
            return r;
    }
}

static int check_message(struct covey_view message, const char *call)
{
    if (cvy_unlikely(!message.data && message.size))
        return cvy_fail(-EINVAL, "%s: %zu bytes at NULL", call, message.size);
    return 0;
}

static int put(covey_queue *q, struct covey_view message, int64_t deadline,
               const char *call)
{
    return cvy_likely(message.size <= CVY_LARGEST_RECORD)
               ? put_small(q, message, deadline, call)
               : put_large(q, message, deadline, call);
}

int covey_queue_put(covey_queue *queue, struct covey_view message, covey_nsec timeout)
{
    static const char call[] = "covey_queue_put";
    int r = cvy_queue_enter(queue, call);
    if (cvy_likely(r >= 0))
        r = check_message(message, call);
    return cvy_unlikely(r < 0) ? r
                               : put(queue, message, cvy_os_deadline(timeout), call);
}

/* How many of the messages may be put at once, at least 1; put_lock held. */
static size_t fitting(covey_queue *q, const struct covey_view *messages, size_t count)
{
    uint32_t items = 0;
    uint64_t bytes = 0, record_bytes = 0;
    size_t n = 0;
    cvy_ring_load(&q->ring, &items, &bytes);
    while (n < count && messages[n].size <= CVY_LARGEST_RECORD &&
           record_bytes <= CVY_LARGEST_RECORD &&
           (!q->max_items || items + n < q->max_items) &&
           (!q->max_bytes || bytes + messages[n].size <= q->max_bytes)) {
        bytes += messages[n].size;
        record_bytes += messages[n].size + 32;
        n++;
    }
    return n ? n : 1;
}

/* Put some messages. Returns: 0, and how many; or the failure of the first. */
static int put_some(covey_queue *q, const struct covey_view *messages, size_t count,
                    int64_t deadline, const char *call, size_t *ret_count)
{
    *ret_count = 1;
    if (messages->size > CVY_LARGEST_RECORD)
        return put_large(q, *messages, deadline, call);
    int r = cvy_queue_await_room(q, messages->size, deadline, call);
    if (r < 0)
        return r;
    size_t n = fitting(q, messages, count);
    r = cvy_ring_put(&q->ring, messages, n);
    if (r >= 0) {
        cvy_queue_put_done(q, (uint32_t)n);
        *ret_count = n;
        return 0;
    }
    cvy_ring_unlock_put(&q->ring);
    return put_small(q, *messages, deadline, call);
}

int covey_queue_put_many(covey_queue *queue, const struct covey_view *messages,
                         size_t count, covey_nsec timeout, size_t *ret_count)
{
    static const char call[] = "covey_queue_put_many";
    size_t done = 0, n = 0;
    int r = cvy_queue_enter(queue, call);
    if (r >= 0 && !messages && count)
        r = cvy_fail(-EINVAL, "%s: the messages are NULL", call);
    for (size_t i = 0; i < count && r >= 0; i++)
        r = check_message(messages[i], call);
    int64_t deadline = cvy_os_deadline(timeout);
    while (r >= 0 && done < count) {
        r = put_some(queue, messages + done, count - done, deadline, call, &n);
        if (r >= 0)
            done += n;
    }
    if (ret_count)
        *ret_count = done;
    return r;
}

/* ---- getting ---- */

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
    if (cvy_ring_is_empty(&q->ring))
        return -ENODATA;
    int r = cvy_ring_lock_get(&q->ring, deadline);
    if (cvy_unlikely(r < 0))
        return r;
    r = cvy_ring_look(&q->ring, 0, &item);
    r = r == -EAGAIN ? -ENODATA : take(q, &item, ctx);
    if (cvy_likely(r >= 0) && joinable(q))
        cvy_joinable_took(joinable(q), *ret_taken);
    cvy_ring_unlock_get(&q->ring);
    if (r >= 0)
        cvy_waiters_wake(&q->space, q->max_bytes ? INT_MAX : *ret_taken);
    return r;
}

/* An empty queue keeps little memory; producers make it grow again when it is needed. */
static void give_memory_back(covey_queue *q)
{
    if (q->ring.segments[0].at == 0 && !q->ring.first_run)
        return;
    if (cvy_ring_lock_get(&q->ring, 0) < 0)
        return;
    cvy_ring_shrink(&q->ring);
    cvy_ring_unlock_get(&q->ring);
}

static int await_item(covey_queue *q, uint32_t gong, int64_t deadline)
{
    give_memory_back(q);
    uint32_t word = cvy_waiters_announce(&q->items);
    bool closed = atomic_load(&q->closed);
    if (!cvy_ring_is_empty(&q->ring))
        return 0;
    if (closed)
        return COVEY_ECLOSED;
    if (is_lonely(q))
        return COVEY_EPEERDIED;
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
        if (cvy_likely(r != -ENODATA))
            return r < 0 ? fail_get(q, r, call) : r;
        if (closed)
            return fail_get(q, COVEY_ECLOSED, call);
        if (deadline <= 0) {
            give_memory_back(q);
            return fail_get(q, -ETIMEDOUT, call);
        }
        if (cvy_spin(&spin))
            continue;
        r = await_item(q, gong, deadline);
        if (r < 0)
            return fail_get(q, r, call);
        spin = (struct cvy_spin){0};
    }
}

/* Where one message goes. */
struct target {
    void *to;
    size_t capacity;
    struct covey_bytes *bytes; /* NULL: `to` does not grow */
    size_t *ret_size;
    cvy_ref extent; /* taken, still to be copied */
};

static int take_into(covey_queue *q, const struct cvy_item *item, void *ctx)
{
    struct target *t = ctx;
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

static int get_into(covey_queue *q, struct target *t, int64_t deadline,
                    const char *call)
{
    uint32_t taken = 1;
    for (;;) {
        int r = cvy_queue_take(q, take_into, t, &taken, deadline, call);
        if (cvy_likely(r >= 0))
            break;
        if (r != -EAGAIN)
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
    }
    cvy_ring_arrived();
    return 0;
}

int covey_queue_get(covey_queue *queue, struct covey_bytes *ret_message,
                    covey_nsec timeout)
{
    static const char call[] = "covey_queue_get";
    int r = cvy_queue_enter(queue, call);
    if (cvy_likely(r >= 0) && cvy_unlikely(!ret_message))
        r = cvy_fail(-EINVAL, "%s: ret_message is NULL", call);
    if (cvy_unlikely(r < 0))
        return r;
    size_t size = 0;
    struct target t = {ret_message->data, ret_message->capacity, ret_message, &size, 0};
    r = get_into(queue, &t, cvy_os_deadline(timeout), call);
    if (cvy_likely(r >= 0))
        ret_message->size = size;
    return r;
}

int covey_queue_get_into(covey_queue *queue, void *to, size_t capacity,
                         size_t *ret_size, covey_nsec timeout)
{
    static const char call[] = "covey_queue_get_into";
    int r = cvy_queue_enter(queue, call);
    if (r >= 0 && ((!to && capacity) || !ret_size))
        r = cvy_fail(-EINVAL, "%s: a NULL where the message goes", call);
    if (r < 0)
        return r;
    struct target t = {to, capacity, NULL, ret_size, 0};
    return get_into(queue, &t, cvy_os_deadline(timeout), call);
}

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
    struct targets t = {messages, cvy_min_size(count, MOST_ITEMS), 0, &got};
    while ((r = cvy_queue_take(queue, take_many, &t, &got, deadline, call)) ==
           -EAGAIN) {
        /* messages of one queue are often alike */
        for (size_t i = 0; i < count && (i == 0 || t.want <= CVY_LARGEST_RECORD); i++) {
            size_t size = messages[i].size;
            r = t.want > messages[i].capacity ? covey_bytes_resize(&messages[i], t.want)
                                              : 0;
            if (r < 0)
                return r;
            messages[i].size = size;
        }
    }
    if (r == -EXDEV) {
        r = covey_queue_get(queue, messages, timeout);
        got = r >= 0;
    } else if (r >= 0) {
        cvy_ring_arrived();
    }
    if (r >= 0)
        *ret_count = got;
    return r;
}

/* ---- the other calls ---- */

int cvy_queue_create(enum cvy_kind kind, size_t size, size_t maxsize,
                     const struct covey_queue_opts *opts, void **out, const char *call)
{
    struct covey_queue_opts o;
    int r = CVY_TAKE_OPTS(&o, opts, call);
    if (r >= 0)
        r = cvy_sync_begin(out, call);
    if (r >= 0 && maxsize > MOST_ITEMS)
        r = cvy_fail(-EINVAL, "%s: a maxsize of %zu, most is 2^31 - 1", call, maxsize);
    if (r >= 0)
        r = cvy_sync_create(kind, size, o.name, offsetof(struct covey_queue, name),
                            out);
    if (r < 0)
        return r;
    covey_queue *q = *out;
    q->max_items = (uint32_t)maxsize;
    q->max_bytes = o.max_bytes;
    cvy_ring_init(&q->ring, q);
    return 0;
}

int covey_queue_create(covey_queue **out, size_t maxsize,
                       const struct covey_queue_opts *opts)
{
    void *made;
    int r = cvy_queue_create(CVY_KIND_QUEUE, sizeof(struct covey_queue), maxsize, opts,
                             out ? &made : NULL, "covey_queue_create");
    if (r >= 0)
        *out = made;
    return r;
}

int covey_queue_count(covey_queue *queue, size_t *ret_count)
{
    static const char call[] = "covey_queue_count";
    uint32_t items;
    uint64_t bytes;
    int r = cvy_queue_enter(queue, call);
    if (r >= 0 && !ret_count)
        r = cvy_fail(-EINVAL, "%s: ret_count is NULL", call);
    if (r < 0)
        return r;
    cvy_ring_settle(&queue->ring);
    cvy_ring_load(&queue->ring, &items, &bytes);
    *ret_count = items;
    return 0;
}

int covey_queue_bytes(covey_queue *queue, uint64_t *ret_bytes)
{
    static const char call[] = "covey_queue_bytes";
    uint32_t items;
    int r = cvy_queue_enter(queue, call);
    if (r >= 0 && !ret_bytes)
        r = cvy_fail(-EINVAL, "%s: ret_bytes is NULL", call);
    if (r < 0)
        return r;
    cvy_ring_settle(&queue->ring);
    cvy_ring_load(&queue->ring, &items, ret_bytes);
    return 0;
}

int covey_queue_empty(covey_queue *queue)
{
    size_t count = 0;
    int r = covey_queue_count(queue, &count);
    return r < 0 ? r : count == 0;
}

int covey_queue_full(covey_queue *queue)
{
    int r = cvy_queue_enter(queue, "covey_queue_full");
    if (r < 0)
        return r;
    cvy_ring_settle(&queue->ring);
    return !has_room(queue, 1);
}

int covey_queue_lost(covey_queue *queue, uint64_t *ret_lost)
{
    static const char call[] = "covey_queue_lost";
    int r = cvy_queue_enter(queue, call);
    if (r >= 0 && !ret_lost)
        r = cvy_fail(-EINVAL, "%s: ret_lost is NULL", call);
    if (r < 0)
        return r;
    cvy_members_sweep();
    *ret_lost = atomic_load(&queue->ring.lost);
    return 0;
}

int covey_queue_close(covey_queue *queue)
{
    static const char call[] = "covey_queue_close";
    int r = cvy_queue_enter(queue, call);
    if (r >= 0)
        r = cvy_ring_lock_put(&queue->ring, cvy_os_deadline(CLOSE_TIME));
    if (r == -ETIMEDOUT)
        return cvy_fail(r, "%s: a process that is stopped is putting to queue %s", call,
                        queue->name);
    if (r < 0)
        return r;
    atomic_store(&queue->closed, 1);
    cvy_ring_unlock_put(&queue->ring);
    cvy_waiters_wake(&queue->items, INT_MAX);
    cvy_waiters_wake(&queue->space, INT_MAX);
    return 0;
}

int covey_queue_closed(covey_queue *queue)
{
    int r = cvy_queue_enter(queue, "covey_queue_closed");
    return r < 0 ? r : (int)atomic_load(&queue->closed);
}

void covey_queue_free(covey_queue *queue)
{
    cvy_sync_free(queue, CVY_KIND_QUEUE, "covey_queue_free");
}
