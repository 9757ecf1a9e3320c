/* SPDX-License-Identifier: MIT */
/* queue.c: putting, limits and the end of queues, and how both sides wait; the bytes are
 * ring.c's, getting is get.c's.
 *
 * A put that finds room commits and unlocks, then looks at `items`; a getter that finds
 * nothing sets WAITERS in `items`, then looks again: one of them sees the other. The same
 * with `space` the other way around. Who dies between commit and wake is heard by the
 * bell, and sleepers look for themselves. */
#include "channel/queue.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/opts.h"
#include "region/alloc.h"
#include "region/look.h"
#include "region/undo.h"
#include "region/wait.h"

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

bool cvy_queue_is_lonely(covey_queue *q)
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

/* Sleep until there may be room. */
static int await_space(covey_queue *q, size_t size, uint32_t gong, int64_t deadline)
{
    uint32_t word = cvy_waiters_announce(&q->space);
    if (has_room(q, size) || atomic_load(&q->closed))
        return 0;
    if (cvy_queue_is_lonely(q)) /* the last one may have made room before it went */
        return has_room(q, size) ? 0 : COVEY_EPEERDIED;
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
        if (r < 0) {
            cvy_waiters_wake(&q->space, 1); /* it may have been woken for room */
            return fail_put(q, r, call);
        }
        if (cvy_unlikely(atomic_load_explicit(&q->closed, memory_order_relaxed))) {
            cvy_ring_unlock_put(&q->ring);
            return fail_put(q, COVEY_ECLOSED, call);
        }
        if (cvy_likely(q->max_bytes ? has_room(q, size)
                                    : !q->max_items ||
                                          cvy_ring_has_place(&q->ring, q->max_items)))
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

static bool others_may_take(covey_queue *q)
{
    return cvy_object_who_holds(q) & CVY_HELD_BY_OTHERS ||
           cvy_load32(&cvy_member_at(CVY_INDEX_OF(cvy_member_owner()))->thread_count) >
               1;
}

static int await_memory(covey_queue *q, struct cvy_shortage *shortage, size_t size,
                        int64_t deadline, const char *call)
{
    int r = cvy_shortage_wait(shortage, &q->ring, &q->space, others_may_take(q),
                              deadline, cvy_ref_of(q));
    if (r < 0)
        cvy_waiters_wake(&q->space, 1); /* it may have been woken for room */
    if (r == -ENOMEM)
        return deadline > 0 && cvy_queue_is_lonely(q)
                   ? fail_put(q, COVEY_EPEERDIED, call)
                   : cvy_fail_budget("a message in a queue", size);
    if (r == -ETIMEDOUT)
        return cvy_fail(r, "%s: the family has no memory for %zu bytes in queue %s",
                        call, size, q->name);
    return r < 0 ? fail_put(q, r, call) : 0;
}

static int put_small(covey_queue *q, struct covey_view message, int64_t deadline,
                     const char *call)
{
    struct cvy_shortage shortage = {0};
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
        r = await_memory(q, &shortage, message.size, deadline, call);
        if (r < 0)
            return r;
    }
}

static int put_large(covey_queue *q, struct covey_view message, int64_t deadline,
                     const char *call)
{
    struct cvy_shortage shortage = {0};
    cvy_ref extent = 0;
    int r;
    while (cvy_extent_take(message.size, &extent) < 0) {
        r = await_memory(q, &shortage, message.size, deadline, call);
        if (r < 0)
            return r;
    }
    memcpy(cvy_at(extent), message.data, message.size);
    r = cvy_queue_put_extent(q, extent, message.size, deadline, call);
    if (r < 0)
        cvy_extent_give(extent);
    return r;
}

int cvy_queue_put_extent(covey_queue *q, cvy_ref extent, size_t size, int64_t deadline,
                         const char *call)
{
    struct cvy_shortage shortage = {0};
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
        r = await_memory(q, &shortage, size, deadline, call);
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
    if (cvy_queue_is_entered(queue) && cvy_likely(message.data || !message.size) &&
        cvy_likely(cvy_queue_put_at_once(queue, message.data, message.size)))
        return 0;
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

/* ---- the other calls ---- */

int cvy_queue_create(enum cvy_kind kind, size_t size, size_t maxsize,
                     const struct covey_queue_opts *opts, void **out, const char *call)
{
    struct covey_queue_opts o;
    int r = CVY_TAKE_OPTS(&o, opts, call);
    if (r >= 0)
        r = cvy_sync_begin(out, call);
    if (r >= 0 && maxsize > CVY_MOST_ITEMS)
        r = cvy_fail(-EINVAL, "%s: a maxsize of %zu, most is 2^31 - 1", call, maxsize);
    if (r >= 0)
        r = cvy_sync_create(kind, size, o.name, offsetof(struct covey_queue, name),
                            out);
    if (r < 0 || !out) /* which is an error above */
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
    void *made = NULL;
    int r = cvy_queue_create(CVY_KIND_QUEUE, sizeof(struct covey_queue), maxsize, opts,
                             out ? &made : NULL, "covey_queue_create");
    if (r >= 0 && out)
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
    cvy_members_sweep_asking();
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

void cvy_queue_free(covey_queue *queue, enum cvy_kind kind, const char *call)
{
    if (!queue)
        return;
    int r = cvy_sync_enter(queue, kind, call);
    if (r >= 0)
        r = cvy_watch_release(queue);
    if (r < 0)
        (void)covey_log(COVEY_LOG_WARNING, "%s", covey_error_detail());
}

void covey_queue_free(covey_queue *queue)
{
    cvy_queue_free(queue, CVY_KIND_QUEUE, "covey_queue_free");
}

static void look(const struct cvy_head *head, const struct cvy_object *object,
                 char *text, size_t size)
{
    const covey_queue *q = (const void *)object;
    char limit[32] = "";
    if (q->max_items)
        (void)snprintf(limit, sizeof limit, " of %u", q->max_items);
    (void)snprintf(text, size, "%u%s messages, %llu put in all%s",
                   cvy_ring_count_in(&q->ring, head), limit,
                   (unsigned long long)atomic_load(&q->ring.put_ordinal),
                   atomic_load(&q->closed) ? ", closed" : "");
}

__attribute__((constructor)) static void show_queues(void)
{
    size_t name = offsetof(struct covey_queue, name);
    cvy_look_register(CVY_KIND_QUEUE, name, CVY_NAME_BYTES, look);
    cvy_look_register(CVY_KIND_JOINABLE_QUEUE, name, CVY_NAME_BYTES, look);
    cvy_look_register(CVY_KIND_SIMPLE_QUEUE, name, CVY_NAME_BYTES, look);
}
