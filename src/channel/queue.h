/* SPDX-License-Identifier: MIT */
/** channel/queue.h: how queues lie in shared memory, and what their files share. */
#ifndef CVY_CHANNEL_QUEUE_H
#define CVY_CHANNEL_QUEUE_H

#include "channel/ring.h"
#include "channel/watch.h"
#include "sync/sync.h"

#include <covey/queue.h>

#define CVY_MOST_ITEMS 0x7fffffffu

/*
 *   | header, limits | producers | consumers | items | space | name | segments | joinable |
 *     line 1           line 2      line 3      4       5       6      7 ...
 *
 * `items` and `space` are slept on while the queue is empty (full):
 *     31        30 ... 0
 *     WAITERS   changes
 * Who puts (takes) when WAITERS is set changes the word and wakes as many as it has put
 * (taken); the bit stays, since a woken sleeper may die, until nobody is found asleep.
 */
struct covey_queue {
    struct cvy_object object;
    _Atomic uint32_t closed; /* under put_lock, 0 -> 1 */
    uint32_t max_items;      /* 0: no limit */
    uint64_t max_bytes;      /* 0: no limit */
    struct cvy_ring ring;
    _Alignas(64) cvy_word space;
    _Alignas(64) cvy_word items;
    char name[CVY_NAME_BYTES];
};

struct covey_joinable_queue {
    struct covey_queue queue;
    /* All under the ring's get_lock; see joinable.c. */
    _Alignas(64) _Atomic uint32_t done; /* messages worked off, modulo 2^32 */
    _Atomic uint32_t untracked;         /* 1: somebody worked off what others had got */
    _Atomic uint64_t abandoned;
    cvy_word joined;        /* slept on by those who join; as `items` */
    struct cvy_table users; /* members; has: got and not worked off */
};
struct covey_simple_queue {
    struct covey_queue queue;
};

/** Attach and check; a joinable or simple queue is a queue too. */
int cvy_queue_enter(const void *queue, const char *call);
/** Drop a hold of it; a failure is logged. */
void cvy_queue_free(covey_queue *queue, enum cvy_kind kind, const char *call);
/** Whether that would say yes, for queues that are just queues. */
static inline bool cvy_queue_is_entered(const covey_queue *queue)
{
    return cvy_likely(cvy_is_attached() && queue) &&
           cvy_likely(atomic_load_explicit(&queue->object.kind, memory_order_relaxed) ==
                      CVY_KIND_QUEUE);
}
/** Put or get a message if that needs no waiting, growing or repair. Returns: whether it
 * was done; else nothing has changed. Not for gets from joinable queues. */
bool cvy_queue_put_at_once(covey_queue *queue, const void *data, size_t size);
bool cvy_queue_get_at_once(covey_queue *queue, void *to, size_t capacity,
                           size_t *ret_size);
/** Make a queue of `kind` and `size` bytes. */
int cvy_queue_create(enum cvy_kind kind, size_t size, size_t maxsize,
                     const struct covey_queue_opts *opts, void **out, const char *call);

/** What one wants of the head of a queue, with get_lock held. Returns: as the public call;
 * -EAGAIN: unlock, grow what is to receive, and come again. */
typedef int cvy_queue_taker(covey_queue *queue, const struct cvy_item *first,
                            void *ctx);
/** Wait for an item and let `take` have it; joinable queues note who has it. */
int cvy_queue_take(covey_queue *queue, cvy_queue_taker *take, void *ctx,
                   uint32_t *ret_taken, int64_t deadline, const char *call);
/** Wait for room for `size` bytes and hold put_lock then. */
int cvy_queue_await_room(covey_queue *queue, size_t size, int64_t deadline,
                         const char *call);
/** Put an extent that is in this process's hands. */
int cvy_queue_put_extent(covey_queue *queue, cvy_ref extent, size_t size,
                         int64_t deadline, const char *call);
/** Release put_lock after `n` messages were put, and wake who waits for them. */
void cvy_queue_put_done(covey_queue *queue, uint32_t n);

/** Whether nobody else can do what is waited for; see COVEY_EPEERDIED in the header. */
bool cvy_queue_is_lonely(covey_queue *queue);

/** Where one message goes. */
struct cvy_target {
    void *to;
    size_t capacity;
    /* replaces `to` if that is too small; NULL: nothing does */
    struct covey_bytes *bytes;
    size_t *ret_size;
    cvy_ref extent; /* taken, still to be copied */
};
/** Wait for a message and get it. Returns: as covey_queue_get_into. */
int cvy_queue_get(covey_queue *queue, struct cvy_target *target, int64_t deadline,
                  const char *call);

/** Set WAITERS. Returns: the word to sleep on. */
uint32_t cvy_waiters_announce(cvy_word *word);
/** Change the word and wake up to `n`, if somebody may sleep. */
void cvy_waiters_wake(cvy_word *word, uint32_t n);

/** Somebody who waits for memory; zero at first. */
struct cvy_shortage {
    bool announced, had_hope; /* that somebody gives some back */
    uint32_t word, gong;      /* when it was announced */
    int64_t latest; /* until when others are waited for who have the last messages */
};
/**
 * The family has no memory for a message in `ring`. The first call announces that and
 * returns, for another try; the next sleeps on `space`, and so on in turns.
 * `others`: somebody else may take messages out.
 * Returns: 0: try again; -ENOMEM: nobody is going to give any back; -ETIMEDOUT; -EINTR.
 */
int cvy_shortage_wait(struct cvy_shortage *shortage, struct cvy_ring *ring,
                      cvy_word *space, bool others, int64_t deadline, cvy_ref what);

/** What is wrong with the caller's limits must be known before a message is gone. */
int cvy_check_limits(const void *out, const struct covey_unpickle_opts *limits,
                     const char *call);

/** Joinable queues, get_lock held: `n` messages have been taken by this process. */
int cvy_joinable_prepare(struct covey_joinable_queue *queue);
void cvy_joinable_took(struct covey_joinable_queue *queue, uint32_t n);

#endif
