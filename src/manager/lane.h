/* SPDX-License-Identifier: MIT */
/**
 * manager/lane.h: the way of a session through the family's memory, for a client and a
 * server that are both of it. It carries bytes in both directions, the same that would go
 * over the session's socket, and takes nothing else from it: the socket stays, tells each
 * of the other's end, and wakes a server that sleeps.
 *
 *   object   | header, where the rings are | taken 0 | taken 1 | rests, closed, waits |
 *   rings    | ring 0: client to server    | ring 1: server to client                 |
 *   a ring   | chunk | chunk | 0 .... free .... | chunk | chunk |
 *                     ^ put   four lines at least are free     ^ taken
 *   a chunk  | size 8 | bytes, up to a multiple of a line |
 *
 * A chunk begins on a line of its own, so that a small message moves in one line
 * together with the word that tells of it. Who sends writes the bytes and then the size:
 * that store is the commit. Where the next chunk will be is a 0 before it. The first
 * words of the four lines from `put` on are 0 already, so that a small message touches
 * no other line than its own before it is seen; the lines that it used up of them are
 * made good after the commit, while its reader is at work. Behind a longer one the 0 is
 * written before the commit.
 *
 * Who receives reads the size once, looks whether it can be, and stores how much was
 * taken. What a dead client has not committed was never there, and what it has committed
 * is read like what comes over a socket: bytes that the server does not believe.
 *
 * Where each side is in the rings it knows by itself (struct cvy_lane_end). In shared memory
 * is only what the other side has to see, and each word has one writer, but for `rests`.
 *
 * The client holds the object from the beginning, the server from when it is told of it
 * until it has seen the session's end; children are not born with it.
 */
#ifndef CVY_MANAGER_LANE_H
#define CVY_MANAGER_LANE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <covey/base.h>

struct cvy_lane;

/** One side's private part. All zero: none. */
struct cvy_lane_end {
    struct cvy_lane *lane; /* NULL: none */
    char *out, *in;        /* the rings */
    _Atomic uint64_t *out_taken, *in_taken;
    uint64_t put, out_taken_seen; /* bytes; of `out` */
    uint64_t got;                 /* where the chunk begins, in `in` */
    size_t chunk, chunk_done;     /* 0: not looked at yet */
    bool is_broken;               /* the other side writes what cannot be */
};

/* ---- making ---- */

/** The client's end of a new one. -ENOMEM. */
int cvy_lane_create(struct cvy_lane_end *ret) COVEY_MUST_CHECK;
/** What a client tells the server: where it is, and in which family's memory. */
struct cvy_lane_ticket {
    unsigned long long device, inode, ref;
};
struct cvy_lane_ticket cvy_lane_ticket(const struct cvy_lane_end *end);
/** The server's end of one that a client tells of; takes a hold. -EINVAL: it is of another
 * family, or none; COVEY_EFREED. */
int cvy_lane_take(struct cvy_lane_ticket ticket,
                  struct cvy_lane_end *ret) COVEY_MUST_CHECK;
/** Whether a server has taken the client's. */
bool cvy_lane_is_taken(const struct cvy_lane_end *end);
/** Let go of it; `*end` is zero then. */
void cvy_lane_release(struct cvy_lane_end *end);

/* ---- bytes ---- */

/** Put in what there is room for, of two parts. Returns: how many bytes. */
size_t cvy_lane_write(struct cvy_lane_end *end, const struct covey_view parts[2]);
/** Whether cvy_lane_write would put in something. */
bool cvy_lane_has_room(struct cvy_lane_end *end);
/** The next bytes, in place; NULL: there are none, or it is broken. */
const char *cvy_lane_peek(struct cvy_lane_end *end, size_t *ret_size);
/** Take `size` of them. */
void cvy_lane_taken(struct cvy_lane_end *end, size_t size);

/* ---- the server's side ---- */

/** The client is to tell by the socket from now on. The caller looks once more. */
void cvy_lane_rest(struct cvy_lane_end *end, bool wants_room);
/** It need not any more. */
void cvy_lane_awake(struct cvy_lane_end *end);
/** Bytes were put in or taken: wake the client if it sleeps. cvy_lane_fence comes before. */
void cvy_lane_wake_client(struct cvy_lane_end *end);
static inline void cvy_lane_fence(void)
{
    atomic_thread_fence(memory_order_seq_cst); /* pairs with a sleeping client's swap */
}
/** Nothing more comes; lets go of it. */
void cvy_lane_close(struct cvy_lane_end *end);

/* ---- the client's side; `fd` is the session's socket ---- */

/** Bytes were put in: tell the server if it sleeps. COVEY_EEOF: it is gone. */
int cvy_lane_tell(struct cvy_lane_end *end, int fd);
/** Wait until there are bytes to take. Returns: 0; COVEY_EEOF: the server is gone;
 * -ETIMEDOUT; -EINTR. */
int cvy_lane_await(struct cvy_lane_end *end, int fd, int64_t deadline);
/** Wait until there is room to put some in. Returns: the same. */
int cvy_lane_await_room(struct cvy_lane_end *end, int fd, int64_t deadline);

#endif
