/* SPDX-License-Identifier: MIT */
/* pipe.c: pipes in the family's memory: a ring for each way, and two ends.
 *
 * Each end is an object with holds of its own and keeps the pipe alive. That an end is
 * gone is not written down anywhere: whoever would wait looks whether its object is there
 * and who holds it. So a death at any instruction leaves nothing to be put right here, and
 * what is half-put in a ring is the ring's.
 *
 * Who frees or closes an end wakes those who sleep on either way, so that they look; who
 * dies is heard by the bell. Waiting for messages and room is as in queue.c. */
#include <errno.h>
#include <limits.h>
#include <string.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/opts.h"
#include "channel/conn.h"
#include "channel/offer.h"
#include "region/alloc.h"
#include "region/undo.h"
#include "region/wait.h"

/* By default, and in a family with less memory. */
#define DEFAULT_CAPACITY (UINT64_C(1) << 20)
#define LITTLE_CAPACITY  (UINT64_C(64) << 10)
/* An answer of somebody who has just been written to comes within so many looks. */
#define CLOSE_LOOKS 16

/* Whether nobody can use the other end any more; see covey_pipe_create. */
static bool peer_is_gone(const struct cvy_end *end)
{
    struct cvy_end *peer = cvy_pipe_peer_of(end);
    if (!peer)
        return true;
    unsigned held = cvy_object_who_holds(peer);
    if (held & CVY_HELD_BY_OTHERS)
        return false;
    uint32_t me = CVY_INDEX_OF(cvy_member_owner());
    return !(held & CVY_HELD_BY_ME) ||
           (held & CVY_HELD_BY_OTHERS_ONCE &&
            cvy_load32(&cvy_member_at(me)->thread_count) <= 1);
}

static int fail(const struct cvy_end *end, int r, const char *call)
{
    const char *name = cvy_pipe_of(end)->name;
    if (r == COVEY_EEOF)
        return cvy_fail(r, "%s: nobody holds the other end of pipe %s any more", call,
                        name);
    if (r == -EPIPE)
        return cvy_fail(r, "%s: nobody receives from pipe %s any more", call, name);
    return r == -EINTR ? cvy_fail(r, "%s: a signal came", call) : r;
}

/* ---- sending ---- */

static int64_t room_in(const struct cvy_pipe *pipe, struct cvy_way *way)
{
    uint32_t items;
    uint64_t bytes;
    cvy_ring_load(&way->ring, &items, &bytes);
    return (int64_t)pipe->capacity -
           (int64_t)(bytes + (uint64_t)items * CVY_PIPE_MESSAGE_COST);
}

/* put_lock held. */
static bool has_budget(const struct cvy_pipe *pipe, struct cvy_way *way)
{
    if (cvy_likely(way->budget > 0))
        return true;
    way->budget = room_in(pipe, way);
    if (way->budget > 0 && way->budget < (int64_t)(pipe->capacity / 4)) {
        cvy_spin_behind();
        way->budget = room_in(pipe, way);
    }
    return way->budget > 0;
}

static int fail_full(const struct cvy_end *end, int r, const char *call)
{
    return r == -ETIMEDOUT
               ? cvy_fail(r, "%s: pipe %s is full", call, cvy_pipe_of(end)->name)
               : fail(end, r, call);
}

static int await_space(const struct cvy_end *end, struct cvy_way *way, uint32_t gong,
                       int64_t deadline)
{
    uint32_t word = cvy_waiters_announce(&way->space);
    if (room_in(cvy_pipe_of(end), way) > 0)
        return 0;
    if (peer_is_gone(end))
        return -EPIPE;
    return cvy_sleep(&way->space, word, gong, deadline, cvy_ref_of(cvy_pipe_of(end)));
}

/* Wait for room, and hold put_lock then. */
static int await_room(const struct cvy_end *end, struct cvy_way *way, int64_t deadline,
                      const char *call)
{
    const struct cvy_pipe *pipe = cvy_pipe_of(end);
    struct cvy_spin spin = {0};
    for (;;) {
        uint32_t gong = cvy_gong();
        if (cvy_unlikely(!cvy_pipe_peer_of(end)))
            return fail(end, -EPIPE, call);
        int r = cvy_ring_lock_put(&way->ring, deadline);
        if (cvy_unlikely(r < 0)) {
            cvy_waiters_wake(&way->space, 1); /* it may have been woken for room */
            return fail_full(end, r, call);
        }
        if (cvy_likely(has_budget(pipe, way)))
            return 0;
        cvy_ring_unlock_put(&way->ring);
        do {
            if (deadline <= 0)
                return fail_full(end, -ETIMEDOUT, call);
        } while (room_in(pipe, way) <= 0 && cvy_spin(&spin));
        if (room_in(pipe, way) > 0)
            continue;
        r = await_space(end, way, gong, deadline);
        if (r < 0)
            return fail_full(end, r, call);
        spin = (struct cvy_spin){0};
    }
}

static bool others_may_receive(const struct cvy_end *end)
{
    struct cvy_end *peer = cvy_pipe_peer_of(end);
    uint32_t me = CVY_INDEX_OF(cvy_member_owner());
    return (peer && cvy_object_who_holds(peer) & CVY_HELD_BY_OTHERS) ||
           cvy_load32(&cvy_member_at(me)->thread_count) > 1;
}

static int await_memory(const struct cvy_end *end, struct cvy_way *way,
                        struct cvy_shortage *shortage, size_t size, int64_t deadline,
                        const char *call)
{
    if (peer_is_gone(end))
        return fail(end, -EPIPE, call);
    int r =
        cvy_shortage_wait(shortage, &way->ring, &way->space, others_may_receive(end),
                          deadline, cvy_ref_of(cvy_pipe_of(end)));
    if (r == -ENOMEM)
        return cvy_fail_budget("a message in a pipe", size);
    if (r == -ETIMEDOUT)
        return cvy_fail(r, "%s: the family has no memory for %zu bytes in pipe %s",
                        call, size, cvy_pipe_of(end)->name);
    return r < 0 ? fail(end, r, call) : 0;
}

static void sent(struct cvy_way *way, size_t size)
{
    way->budget -= (int64_t)size + CVY_PIPE_MESSAGE_COST;
    cvy_ring_unlock_put(&way->ring);
    cvy_waiters_wake(&way->items, 1);
}

static int send_small(struct cvy_end *end, struct cvy_way *way,
                      struct covey_view message, bool is_ticket, int64_t deadline,
                      const char *call)
{
    struct cvy_shortage shortage = {0};
    for (;;) {
        int r = await_room(end, way, deadline, call);
        if (cvy_unlikely(r < 0))
            return r;
        r = is_ticket ? cvy_ring_put_ticket(&way->ring, message)
                      : cvy_ring_put(&way->ring, &message, 1);
        if (cvy_likely(r >= 0)) {
            sent(way, message.size);
            return 0;
        }
        cvy_ring_unlock_put(&way->ring);
        r = await_memory(end, way, &shortage, message.size, deadline, call);
        if (r < 0)
            return r;
    }
}

/* A large message lies in an extent, which is filled before anybody is held up. */
static int send_extent(struct cvy_end *end, struct cvy_way *way, cvy_ref extent,
                       size_t size, int64_t deadline, const char *call)
{
    struct cvy_shortage shortage = {0};
    for (;;) {
        int r = await_room(end, way, deadline, call);
        if (r < 0)
            return r;
        r = cvy_ring_put_extent(&way->ring, extent, size);
        if (r >= 0) {
            sent(way, size);
            return 0;
        }
        cvy_ring_unlock_put(&way->ring);
        r = await_memory(end, way, &shortage, size, deadline, call);
        if (r < 0)
            return r;
    }
}

static int send_large(struct cvy_end *end, struct cvy_way *way,
                      struct covey_view message, int64_t deadline, const char *call)
{
    struct cvy_shortage shortage = {0};
    cvy_ref extent = 0;
    while (cvy_extent_take(message.size, &extent) < 0) {
        int r = await_memory(end, way, &shortage, message.size, deadline, call);
        if (r < 0)
            return r;
    }
    memcpy(cvy_at(extent), message.data, message.size);
    int r = send_extent(end, way, extent, message.size, deadline, call);
    if (r < 0)
        cvy_extent_give(extent);
    return r;
}

int cvy_pipe_send(struct cvy_end *end, struct covey_view message, int64_t deadline,
                  const char *call)
{
    struct cvy_way *way = &cvy_pipe_of(end)->ways[end->index];
    return cvy_likely(message.size <= CVY_LARGEST_RECORD)
               ? send_small(end, way, message, false, deadline, call)
               : send_large(end, way, message, deadline, call);
}

int cvy_pipe_send_ticket(struct cvy_end *end, const struct cvy_ticket *ticket,
                         int64_t deadline, const char *call)
{
    return send_small(end, &cvy_pipe_of(end)->ways[end->index],
                      COVEY_VIEW(ticket, sizeof *ticket), true, deadline, call);
}

/* ---- receiving ---- */

static struct cvy_way *way_to(const struct cvy_end *end)
{
    return &cvy_pipe_of(end)->ways[!end->index];
}

/* What was taken and is not in its place yet. */
struct arrival {
    cvy_ref extent; /* 0: none */
    bool is_ticket; /* and no message */
    struct cvy_ticket ticket;
};

/* Take what is at the head, under get_lock. `t` NULL: only a ticket is wanted. */
static int take(struct cvy_ring *ring, const struct cvy_item *item,
                struct cvy_landing *t, struct arrival *arrival)
{
    if (cvy_unlikely(item->is_ticket)) {
        memcpy(&arrival->ticket, item->data, sizeof arrival->ticket);
        arrival->is_ticket = true;
        cvy_ring_take(ring, item, 1);
        return 0;
    }
    if (cvy_unlikely(!t))
        return COVEY_EPROTOCOL;
    *t->ret_size = item->size;
    if (cvy_unlikely(item->size > t->most))
        return -EMSGSIZE;
    if (cvy_unlikely(item->size > t->capacity))
        return t->bytes ? -EAGAIN : -EMSGSIZE;
    if (cvy_unlikely(item->extent)) {
        cvy_ring_take_extent(ring, item);
        arrival->extent = item->extent;
        return 0;
    }
    if (item->size)
        memcpy(t->to, item->data, item->size);
    cvy_ring_take(ring, item, 1);
    return 0;
}

/* Returns: 0; -ENODATA: there is nothing; -EAGAIN: the target has to grow. */
static int try_take(struct cvy_way *way, struct cvy_landing *t, struct arrival *arrival,
                    int64_t deadline)
{
    struct cvy_item item;
    if (!cvy_ring_leads_on(&way->ring))
        return -ENODATA;
    int r = cvy_ring_lock_get(&way->ring, deadline);
    if (cvy_unlikely(r < 0)) {
        /* It may have been woken for what it leaves. */
        cvy_waiters_wake(&way->items, 1);
        return r;
    }
    r = cvy_ring_look(&way->ring, 0, &item);
    r = r == -EAGAIN ? -ENODATA : take(&way->ring, &item, t, arrival);
    cvy_ring_unlock_get(&way->ring);
    if (cvy_likely(r >= 0))
        cvy_waiters_wake(&way->space, INT_MAX);
    else if (r != -ENODATA)
        cvy_waiters_wake(&way->items, 1); /* who has room for it may sleep */
    return r;
}

/* Sleep until there may be something. */
static int await_item(const struct cvy_end *end, struct cvy_way *way, uint32_t gong,
                      int64_t deadline)
{
    cvy_ring_give_back(&way->ring);
    uint32_t word = cvy_waiters_announce(&way->items);
    bool gone = peer_is_gone(end);
    if (!cvy_ring_is_empty(&way->ring))
        return 0;
    return gone ? COVEY_EEOF
                : cvy_sleep(&way->items, word, gong, deadline,
                            cvy_ref_of(cvy_pipe_of(end)));
}

static int fail_empty(struct cvy_end *end, int r, const char *call)
{
    if (r != -ETIMEDOUT)
        return fail(end, r, call);
    cvy_watch_taken(end);
    return cvy_fail(r, "%s: nothing comes from pipe %s", call, cvy_pipe_of(end)->name);
}

/* Wait until there is something. Returns: 0; -EAGAIN: look again; as the public calls. */
static int await(struct cvy_end *end, struct cvy_way *way, uint32_t gong,
                 struct cvy_spin *spin, int64_t deadline, const char *call)
{
    if (deadline <= 0) {
        bool gone = peer_is_gone(end);
        if (!cvy_ring_is_empty(&way->ring))
            return 0;
        cvy_ring_give_back(&way->ring);
        return fail_empty(end, gone ? COVEY_EEOF : -ETIMEDOUT, call);
    }
    if (cvy_spin(spin))
        return 0;
    int r = await_item(end, way, gong, deadline);
    *spin = (struct cvy_spin){0};
    return r < 0 ? fail_empty(end, r, call) : 0;
}

static int take_next(struct cvy_end *end, struct cvy_landing *t,
                     struct arrival *arrival, int64_t deadline, const char *call)
{
    struct cvy_way *way = way_to(end);
    struct cvy_spin spin = {.close_looks = CLOSE_LOOKS};
    for (;;) {
        uint32_t gong = cvy_gong();
        int r = try_take(way, t, arrival, deadline);
        if (cvy_likely(r != -ENODATA))
            return r == -ETIMEDOUT ? fail_empty(end, r, call) : r;
        if (deadline > 0)
            cvy_ring_fall_behind(&way->ring);
        r = await(end, way, gong, &spin, deadline, call);
        if (r < 0)
            return r;
    }
}

int cvy_pipe_recv(struct cvy_end *end, struct cvy_landing *t, int64_t deadline,
                  const char *call)
{
    struct arrival arrival = {0};
    for (;;) {
        int r = take_next(end, t, &arrival, deadline, call);
        if (cvy_likely(r >= 0))
            break;
        if (r == -EMSGSIZE)
            return cvy_fail(r, "%s: a message of %zu bytes; there is room for %zu",
                            call, *t->ret_size, t->bytes ? t->most : t->capacity);
        if (r != -EAGAIN)
            return r;
        r = cvy_bytes_reserve(t->bytes, *t->ret_size);
        if (r < 0)
            return r;
        t->to = t->bytes->data;
        t->capacity = t->bytes->capacity;
    }
    if (cvy_unlikely(arrival.extent)) {
        memcpy(t->to, cvy_at(arrival.extent), *t->ret_size);
        cvy_extent_give(arrival.extent);
        cvy_waiters_wake(&way_to(end)->space, INT_MAX); /* there is memory */
    }
    cvy_ring_arrived();
    cvy_watch_taken(end);
    if (cvy_likely(!arrival.is_ticket))
        return 0;
    cvy_ticket_refuse(end, &arrival.ticket);
    return cvy_fail(COVEY_EPROTOCOL,
                    "%s: a descriptor came in place of a message, and was closed",
                    call);
}

int cvy_pipe_recv_ticket(struct cvy_end *end, struct cvy_ticket *ret_ticket,
                         int64_t deadline, const char *call)
{
    struct arrival arrival = {0};
    int r = take_next(end, NULL, &arrival, deadline, call);
    if (r == COVEY_EPROTOCOL)
        return cvy_fail(r, "%s: a message comes, and no descriptor", call);
    if (r < 0)
        return r;
    *ret_ticket = arrival.ticket;
    cvy_ring_arrived();
    cvy_watch_taken(end);
    return 0;
}

bool cvy_pipe_is_ready(void *end)
{
    return !cvy_ring_is_empty(&way_to(end)->ring) || peer_is_gone(end);
}

cvy_word *cvy_pipe_word(struct cvy_end *end)
{
    return &way_to(end)->items;
}
struct cvy_ring *cvy_pipe_ring(struct cvy_end *end)
{
    return &way_to(end)->ring;
}

int cvy_pipe_poll(struct cvy_end *end, int64_t deadline, const char *call)
{
    struct cvy_way *way = way_to(end);
    struct cvy_spin spin = {0};
    int r = 0;
    while (r >= 0) {
        uint32_t gong = cvy_gong();
        if (!cvy_ring_is_empty(&way->ring)) {
            /* Who only looks may have been woken in place of one who takes. */
            cvy_waiters_wake(&way->items, 1);
            return 0;
        }
        r = await(end, way, gong, &spin, deadline, call);
    }
    return r == COVEY_EEOF ? 0 : r;
}

/* ---- making and closing ---- */

static int make_end(struct cvy_pipe *pipe, uint16_t index, bool readable, bool writable,
                    struct cvy_end **out)
{
    void *made = NULL;
    int r = cvy_object_create(CVY_KIND_CONN, sizeof(struct cvy_end), 0, 0, &made, NULL);
    if (r < 0)
        return r;
    struct cvy_end *end = made;
    end->index = index;
    end->readable = readable;
    end->writable = writable;
    r = cvy_object_keep(end, pipe, "covey_pipe_create");
    if (r < 0) {
        (void)cvy_object_release(end);
        return r;
    }
    pipe->ends[index] = cvy_ref_of(end);
    *out = end;
    return 0;
}

static uint64_t default_capacity(void)
{
    uint64_t part = cvy_max_u64(cvy_head->budget / 64, LITTLE_CAPACITY);
    return cvy_min_u64(part, DEFAULT_CAPACITY);
}

int covey_pipe_create(covey_conn **a, covey_conn **b,
                      const struct covey_pipe_opts *opts)
{
    static const char call[] = "covey_pipe_create";
    struct covey_pipe_opts o;
    struct cvy_end *ends[2] = {NULL, NULL};
    void *made = NULL;
    int r = CVY_TAKE_OPTS(&o, opts, call);
    if (r >= 0)
        r = CVY_CHECK_SWITCHES(call, {".oneway", o.oneway});
    if (r >= 0)
        r = cvy_sync_begin(a && b ? a : NULL, call);
    if (r >= 0 && o.capacity > INT64_MAX / 2)
        r = cvy_fail(-EINVAL, "%s: a capacity of %llu bytes", call,
                     (unsigned long long)o.capacity);
    if (r >= 0)
        r = cvy_sync_create(CVY_KIND_PIPE, sizeof(struct cvy_pipe), o.name,
                            offsetof(struct cvy_pipe, name), &made);
    if (r < 0)
        return r;
    struct cvy_pipe *pipe = made;
    bool oneway = o.oneway == COVEY_ON;
    pipe->capacity = o.capacity ? o.capacity : default_capacity();
    cvy_ring_init(&pipe->ways[0].ring, pipe);
    cvy_ring_init(&pipe->ways[1].ring, pipe);
    r = make_end(pipe, 0, true, !oneway, &ends[0]);
    if (r >= 0)
        r = make_end(pipe, 1, !oneway, true, &ends[1]);
    if (r < 0 && ends[0])
        (void)cvy_object_release(ends[0]);
    (void)cvy_object_release(pipe); /* its ends keep it */
    if (r < 0 || !a || !b)          /* a NULL is an error above */
        return r;
    cvy_process_owns();
    *a = (covey_conn *)(void *)ends[0];
    *b = (covey_conn *)(void *)ends[1];
    return 0;
}

bool cvy_pipe_is_closed(struct cvy_end *end)
{
    return cvy_unlikely(atomic_load_explicit(&end->closers, memory_order_relaxed)) &&
           cvy_table_search(&end->closed, cvy_member_owner(), NULL, NULL);
}

static int note_closed(struct cvy_end *end)
{
    uint32_t me = cvy_member_owner();
    while (!cvy_table_search(&end->closed, me, cvy_entry_member_is_dead, end)) {
        int r = cvy_table_grow(&end->closed, end);
        if (r < 0)
            return r;
    }
    atomic_store(&end->closers, 1);
    return 0;
}

/* Let all who wait look whether they wait for this end. It keeps the pipe meanwhile. */
static void wake_all(struct cvy_pipe *pipe)
{
    for (int i = 0; i < 2; i++) {
        cvy_waiters_wake(&pipe->ways[i].items, INT_MAX);
        cvy_waiters_wake(&pipe->ways[i].space, INT_MAX);
    }
}

int cvy_pipe_drop(struct cvy_end *end, bool wholly)
{
    struct cvy_pipe *pipe = cvy_pipe_of(end);
    if (!wholly && cvy_object_release_spare(end) > 0)
        return 0;
    int r = cvy_object_hold(pipe, cvy_member_owner(), "covey_conn_free");
    cvy_watch_end(end);
    if (end->offers) /* of some process */
        cvy_offer_forget(end);
    if (r < 0)
        return r;
    if (wholly)
        r = note_closed(end);
    if (r >= 0)
        r = cvy_object_release(end);
    if (r >= 0 && wholly)
        while (cvy_pipe_has_end(end, cvy_ref_of(pipe)) &&
               cvy_object_who_holds(end) & CVY_HELD_BY_ME &&
               cvy_object_release(end) >= 0)
            continue;
    wake_all(pipe);
    (void)cvy_object_release(pipe);
    return r;
}
