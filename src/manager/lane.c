/* SPDX-License-Identifier: MIT */
/* lane.c: see lane.h. */
#include "manager/lane.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#include "base/base.h"
#include "base/error.h"
#include "channel/queue.h"
#include "os/socket.h"
#include "region/member.h"
#include "region/object.h"
#include "region/undo.h"
#include "region/wait.h"

#define RING   ((uint64_t)16 << 10)
#define LINE   ((uint64_t)64)
#define WORD   sizeof(uint64_t)
#define BLANK  (4 * LINE) /* lines from `put` on whose first words are 0 */
#define LITTLE (RING / 4) /* of a long message no less is put in at once */
/* How a client looks for an answer before it sleeps. */
#define CLOSE_LOOKS 100
#define LOOK_TIME   COVEY_USEC(50)
_Static_assert((RING & (RING - 1)) == 0, "positions are masked");

enum rest {
    AWAKE = 0,
    WANTS_BYTES = 1, /* the server looks no more: tell it by the socket */
    WANTS_ROOM = 2   /* also when there is room again */
};

struct cvy_lane {
    struct cvy_object object;
    _Atomic cvy_ref rings; /* set before anybody else knows of it */
    cvy_ref reserved;
    struct {
        _Alignas(64) _Atomic uint64_t taken; /* bytes; written by who receives */
    } ways[2];                               /* 0: to the server */
    /* enum rest. The server sets it before it looks for the last time, the client
     * takes it away before it tells the server; pairs: fences on both sides between that
     * and the rings' words. */
    _Alignas(64) _Atomic uint32_t rests;
    _Atomic uint32_t is_closed; /* by the server, after its last byte */
    _Atomic uint32_t server;    /* its thread's slot, written when it takes the lane */
    cvy_word waits;             /* slept on by the client, as in channel/queue.h */
};

/* ---- making ---- */

static void open_end(struct cvy_lane_end *end, struct cvy_lane *lane, bool is_server)
{
    char *rings = cvy_at(lane->rings);
    *end = (struct cvy_lane_end){
        .lane = lane,
        .out = rings + (is_server ? RING : 0),
        .in = rings + (is_server ? 0 : RING),
        .out_taken = &lane->ways[is_server].taken,
        .in_taken = &lane->ways[!is_server].taken,
    };
}

static _Atomic uint64_t *word_at(char *ring, uint64_t position)
{
    return (_Atomic uint64_t *)(void *)(ring + (position & (RING - 1)));
}

static void blank(char *ring, uint64_t from, uint64_t to)
{
    for (; from < to; from += LINE)
        atomic_store_explicit(word_at(ring, from), 0, memory_order_relaxed);
}

int cvy_lane_create(struct cvy_lane_end *ret)
{
    void *made = NULL;
    cvy_ref rings = 0;
    int r = cvy_object_create(CVY_KIND_LANE, sizeof(struct cvy_lane),
                              CVY_OBJECT_PRIVATE, 2 * RING, &made, &rings);
    if (r < 0)
        return r;
    struct cvy_lane *lane = made;
    atomic_store_explicit(&lane->rings, rings, memory_order_release);
    open_end(ret, lane, false);
    blank(ret->in, 0, BLANK);
    blank(ret->out, 0, BLANK);
    return 0;
}

struct cvy_lane_ticket cvy_lane_ticket(const struct cvy_lane_end *end)
{
    return (struct cvy_lane_ticket){cvy_head->device, cvy_head->inode,
                                    cvy_ref_of(end->lane)};
}

int cvy_lane_take(struct cvy_lane_ticket ticket, struct cvy_lane_end *ret)
{
    static const char call[] = "a client's lane";
    if (!cvy_head || ticket.device != cvy_head->device ||
        ticket.inode != cvy_head->inode || ticket.ref >= cvy_head->reservation)
        return cvy_fail(-EINVAL, "%s: it is not in this family's memory", call);
    struct cvy_lane *lane = cvy_at(ticket.ref);
    int r = cvy_enter();
    if (r >= 0)
        r = cvy_object_check(lane, CVY_KIND_LANE, call);
    if (r >= 0)
        r = cvy_object_hold(lane, cvy_member_owner(), call);
    if (r < 0)
        return r;
    cvy_ref rings = atomic_load_explicit(&lane->rings, memory_order_acquire);
    if (rings % CVY_PAGE || rings < cvy_head->heap ||
        rings > cvy_head->reservation - 2 * RING) {
        (void)cvy_object_release(lane);
        return cvy_fail(-EINVAL, "%s: its rings are nowhere", call);
    }
    open_end(ret, lane, true);
    atomic_store(&lane->server, cvy_thread_owner());
    return 0;
}

bool cvy_lane_is_taken(const struct cvy_lane_end *end)
{
    return atomic_load(&end->lane->server) != 0;
}

void cvy_lane_release(struct cvy_lane_end *end)
{
    if (end->lane && cvy_enter() >= 0) /* a thread that ends may have left before */
        (void)cvy_object_release(end->lane);
    *end = (struct cvy_lane_end){0};
}

/* ---- putting ---- */

/* How long a chunk may be as things were last seen, its word included: up to the ring's
 * end, and so that the lines behind it that are to be blank are free. */
static uint64_t room_seen(const struct cvy_lane_end *end)
{
    uint64_t used = end->put - end->out_taken_seen;
    uint64_t before_end = RING - (end->put & (RING - 1));
    uint64_t room = used + BLANK < RING ? RING - used - BLANK : 0;
    return cvy_min_u64(room, before_end);
}

/* The same after a look at what the other side has taken. */
static uint64_t room_now(struct cvy_lane_end *end)
{
    uint64_t taken = atomic_load_explicit(end->out_taken, memory_order_acquire);
    if (end->put - taken > RING || taken % LINE) {
        end->is_broken = true;
        return 0;
    }
    end->out_taken_seen = taken;
    return room_seen(end);
}

/* Whether a chunk of that room is worth while: to the ring's end it always is. */
static bool is_enough(const struct cvy_lane_end *end, uint64_t room, uint64_t wanted)
{
    uint64_t before_end = RING - (end->put & (RING - 1));
    return room >= wanted || room >= LITTLE || (room && room == before_end);
}

static uint64_t room_for(struct cvy_lane_end *end, uint64_t wanted)
{
    uint64_t room = room_seen(end);
    if (cvy_likely(room >= wanted))
        return room;
    room = room_now(end);
    return is_enough(end, room, wanted) ? room : 0;
}

bool cvy_lane_has_room(struct cvy_lane_end *end)
{
    return room_for(end, LITTLE) > 0;
}

/* Copy `size` bytes of both parts together, from `from` on. */
static void gather(char *to, const struct covey_view parts[2], size_t from, size_t size)
{
    for (int i = 0; i < 2 && size; i++) {
        size_t skip = cvy_min_size(from, parts[i].size);
        size_t some = cvy_min_size(parts[i].size - skip, size);
        if (some)
            memcpy(to, (const char *)parts[i].data + skip, some);
        from -= skip;
        to += some;
        size -= some;
    }
}

size_t cvy_lane_write(struct cvy_lane_end *end, const struct covey_view parts[2])
{
    size_t total = parts[0].size + parts[1].size, done = 0;
    while (done < total) {
        uint64_t room = room_for(end, cvy_round_up(total - done + WORD, LINE));
        if (!room)
            break;
        size_t size = cvy_min_size(total - done, (size_t)(room - WORD));
        uint64_t next = end->put + cvy_round_up(size + WORD, LINE);
        uint64_t blank_to = end->put + BLANK;
        _Atomic uint64_t *word = word_at(end->out, end->put);
        if (next >= blank_to) {
            blank_to = next + LINE;
            blank(end->out, next, blank_to);
        }
        gather(end->out + (end->put & (RING - 1)) + WORD, parts, done, size);
        atomic_store_explicit(word, size, memory_order_release); /* cvy_lane_peek */
        blank(end->out, blank_to, next + BLANK);
        end->put = next;
        done += size;
    }
    return done;
}

/* ---- taking ---- */

const char *cvy_lane_peek(struct cvy_lane_end *end, size_t *ret_size)
{
    uint64_t at = end->got & (RING - 1);
    if (!end->chunk) {
        uint64_t size = /* cvy_lane_write */
            atomic_load_explicit(word_at(end->in, at), memory_order_acquire);
        if (!size)
            return NULL;
        if (size > RING - at - WORD) {
            end->is_broken = true;
            return NULL;
        }
        end->chunk = (size_t)size;
    }
    *ret_size = end->chunk - end->chunk_done;
    return end->in + at + WORD + end->chunk_done;
}

void cvy_lane_taken(struct cvy_lane_end *end, size_t size)
{
    end->chunk_done += size;
    if (end->chunk_done < end->chunk)
        return;
    end->got += cvy_round_up(end->chunk + WORD, LINE);
    end->chunk = end->chunk_done = 0;
    atomic_store_explicit(end->in_taken, end->got, memory_order_release); /* room_now */
}

/* ---- the server's side ---- */

void cvy_lane_rest(struct cvy_lane_end *end, bool wants_room)
{
    cvy_bell_arm(); /* who waits for an answer is to hear it if this process dies */
    atomic_store(&end->lane->rests, WANTS_BYTES | (wants_room ? WANTS_ROOM : 0));
    atomic_thread_fence(memory_order_seq_cst); /* pairs with cvy_lane_tell and doze */
}

void cvy_lane_awake(struct cvy_lane_end *end)
{
    atomic_store(&end->lane->rests, AWAKE);
}

void cvy_lane_wake_client(struct cvy_lane_end *end)
{
    cvy_waiters_wake(&end->lane->waits, INT_MAX);
}

void cvy_lane_close(struct cvy_lane_end *end)
{
    struct cvy_lane *lane = end->lane;
    atomic_store_explicit(&lane->is_closed, 1, memory_order_release);
    cvy_lane_fence();
    cvy_lane_wake_client(end);
    bool is_left = cvy_load32(&lane->object.holds) > 1 &&
                   !(cvy_object_who_holds(lane) & CVY_HELD_BY_OTHERS);
    cvy_lane_release(end);
    if (is_left) /* by a client that is dead, which nobody may look for otherwise */
        cvy_members_sweep();
}

/* ---- the client's side ---- */

static int ring_server(struct cvy_lane_end *end, int fd)
{
    const struct covey_view parts[2] = {COVEY_VIEW("", 1), COVEY_NO_VIEW};
    if (atomic_exchange(&end->lane->rests, AWAKE) == AWAKE)
        return 0;
    /* -EAGAIN: it has many such bytes to read, and wakes. */
    ssize_t n = cvy_os_stream_write(fd, CVY_OS_STREAM_UNIX, parts, false);
    return n < 0 && n != -EAGAIN ? COVEY_EEOF : 0;
}

int cvy_lane_tell(struct cvy_lane_end *end, int fd)
{
    atomic_thread_fence(memory_order_seq_cst); /* pairs with cvy_lane_rest */
    return cvy_likely(!atomic_load_explicit(&end->lane->rests, memory_order_relaxed))
               ? 0
               : ring_server(end, fd);
}

typedef bool ready_fn(struct cvy_lane_end *end);

static bool has_bytes(struct cvy_lane_end *end)
{
    size_t size;
    return cvy_lane_peek(end, &size) || end->is_broken;
}

static bool has_room(struct cvy_lane_end *end)
{
    return cvy_lane_has_room(end) || end->is_broken;
}

/* Sleep until something may have changed. A server that was killed is heard by the bell
 * before its socket ends, so its thread is looked at. */
static int doze(struct cvy_lane_end *end, int fd, ready_fn *is_ready, uint32_t gong,
                int64_t deadline)
{
    struct cvy_lane *lane = end->lane;
    uint32_t word = cvy_waiters_announce(&lane->waits);
    uint32_t server = atomic_load(&lane->server);
    bool is_over = atomic_load_explicit(&lane->is_closed, memory_order_acquire) ||
                   cvy_slot_is_dead(server, false);
    if (atomic_load(&lane->rests) & WANTS_ROOM)
        is_over |= ring_server(end, fd) < 0;
    if (is_ready(end))
        return 0;
    if (is_over)
        return COVEY_EEOF;
    int r = cvy_sleep(&lane->waits, word, gong, deadline, cvy_ref_of(lane));
    if (r == CVY_SLICE && cvy_slot_is_dead(server, true))
        return is_ready(end) ? 0 : COVEY_EEOF;
    return r < 0 ? r : 0;
}

/* Look closely for about as long as a call takes, then between other processes: where
 * there are more of them than processors, the server or who it serves is among those.
 * Returns: whether it is ready. */
static bool look_for_a_while(struct cvy_lane_end *end, ready_fn *is_ready)
{
    if (!cvy_os_is_multicore())
        return is_ready(end);
    for (int i = 0; i < CLOSE_LOOKS; i++) {
        if (is_ready(end))
            return true;
        cvy_os_pause();
    }
    int64_t until = cvy_os_deadline(LOOK_TIME);
    do {
        if (is_ready(end))
            return true;
        cvy_os_yield();
    } while (cvy_os_now() < until);
    return false;
}

static int await(struct cvy_lane_end *end, int fd, ready_fn *is_ready, int64_t deadline)
{
    for (;;) {
        uint32_t gong = cvy_gong();
        if (look_for_a_while(end, is_ready))
            return 0;
        int r = doze(end, fd, is_ready, gong, deadline);
        if (r < 0 && r != -EINTR) /* as over a socket */
            return r;
    }
}

int cvy_lane_await(struct cvy_lane_end *end, int fd, int64_t deadline)
{
    if (deadline > 0)
        return await(end, fd, has_bytes, deadline);
    /* It rests in the middle of an answer that has no room in the lane. */
    if (atomic_load(&end->lane->rests) & WANTS_ROOM && ring_server(end, fd) < 0)
        return COVEY_EEOF;
    bool is_over = atomic_load(&end->lane->is_closed) ||
                   cvy_slot_is_dead(atomic_load(&end->lane->server), false);
    if (has_bytes(end))
        return 0;
    return is_over ? COVEY_EEOF : -ETIMEDOUT;
}

int cvy_lane_await_room(struct cvy_lane_end *end, int fd, int64_t deadline)
{
    return await(end, fd, has_room, deadline);
}
