/* SPDX-License-Identifier: MIT */
/**
 * channel/ring.h: the bytes of a queue, and how they get in and out; no waiting here.
 *
 * Records follow each other in a segment, a run of shared memory that is used as a ring:
 *
 *   | record | record | record | 0 .... free .... | record | record |
 *              ^ head            ^ tail: a header of 0
 *
 *   record:  before 8 | word 8 | payload, up to a multiple of 16
 *            before: payload bytes ever put before this one
 *            word:   63 ... 32   31      30    29   28      27 ..... 0
 *                    ordinal     TICKET  JUMP  PAD  EXTENT  size + 1   0: nothing here yet
 *
 * A put writes payload and the 0 behind it, then the record's word: that one store is the
 * commit. What the producers' side notes about itself (tail, put_ordinal, put_bytes) can
 * be had again by walking on from tail. A take reads the record and stores the new head:
 * that store is its commit. Both sides have a lock with an owner (Michael and Scott's
 * two-lock queue, 1996, with the commit moved into the record, as in Aeron's log buffers).
 *
 * PAD fills the end of a segment where a record does not fit. When a segment is full the
 * next one is twice as large, and a JUMP leads there; when a large one is empty a JUMP
 * leads back to the first. What is larger than CVY_LARGEST_RECORD lies in a run of its own,
 * an extent, and the record says where: ref 8 | size 8. TICKET marks what is no message of
 * the program's, but tells where a descriptor is to be fetched (offer.h).
 *
 * A position is  63 .. 48 segment's number | 47 .. 0 offset, ever growing in a segment. At
 * CVY_POSITION_FAR a JUMP leads to another segment that is as large.
 */
#ifndef CVY_CHANNEL_RING_H
#define CVY_CHANNEL_RING_H

#include "region/layout.h"

#include <covey/base.h>

#define CVY_FIRST_SEGMENT  (UINT64_C(64) << 10)
#define CVY_LARGEST_RECORD (UINT64_C(256) << 10)
#define CVY_SEGMENTS       32u
/* Of a ring through which so much has passed, and with several items in it; see ring.c. */
#define CVY_STREAM_SEGMENT (UINT64_C(2) << 20)
#define CVY_STREAM_BYTES   (UINT64_C(4) << 20)

struct cvy_segment {
    cvy_ref at; /* [R] 0: none */
    uint64_t capacity;
};

struct cvy_ring {
    /* Producers' line; all but the lock is written under it. */
    _Alignas(64) cvy_word put_lock; /* slot's owner word */
    _Atomic uint32_t put_ordinal;   /* of the next item; put before `tail` */
    _Atomic uint64_t tail;          /* position of the next record */
    _Atomic uint64_t put_bytes;     /* payload bytes ever put; put before `tail` */
    uint64_t head_seen;             /* a former head: what lies before it is free */
    cvy_ref put_extent;         /* [R] an extent or segment that is being put, 0 none */
    uint64_t put_extent_at;     /* [R] the tail before that */
    uint32_t head_ordinal_seen; /* of a former head: items before it were taken */
    uint32_t put_reserved;
    uint64_t look_at; /* the offset at which to see whether another segment is better */

    /* Here, since a processor may fetch the lines next to the one it wants: those of the
     * two sides would be taken from each other with every message if they were neighbours. */
    _Alignas(64) struct cvy_segment segments[CVY_SEGMENTS]; /* by number, modulo */
    cvy_ref object;                                         /* which owns the runs */
    cvy_ref first_run; /* [R] of segment 0, which is kept */

    /* Consumers' line; all but the lock is written under it. */
    _Alignas(64) cvy_word get_lock; /* slot's owner word */
    uint32_t first_segment;         /* [R] the oldest that has not been given back */
    _Atomic uint64_t head;          /* position of the next record to take */
    cvy_ref get_extent;             /* an extent that is being taken, 0 none */
    uint64_t get_extent_at;         /* the position of its record */
    _Atomic uint64_t lost;          /* [R] items that the dead had taken */
    _Atomic int64_t idle_since;     /* when a large ring was found empty first ... */
    _Atomic uint64_t idle_head;     /* ... with its head there */
    _Atomic uint32_t taken;         /* items, about; for consumers who wait */
    _Atomic uint32_t taken_before;  /* the last time that one found nothing */
};

/** A record as a consumer sees it. */
struct cvy_item {
    uint64_t position, after; /* where it is, and where the next one is */
    const void *data;         /* in shared memory */
    size_t size;
    cvy_ref extent; /* 0: none */
    bool is_ticket;
};

/** The rings of `object`; its memory comes with the first put. */
void cvy_ring_init(struct cvy_ring *ring, void *object);

/* ---- producers; put_lock held ---- */

/** Take put_lock, and put right what a dead owner left. Returns: 0, -ETIMEDOUT. */
int cvy_ring_lock_put(struct cvy_ring *ring, int64_t deadline);
void cvy_ring_unlock_put(struct cvy_ring *ring);
/** Whether fewer than `most` items are in it. Rarely looks at what consumers write. */
bool cvy_ring_has_place(struct cvy_ring *ring, uint32_t most);
/** How many items and bytes there are at the moment, at most. */
void cvy_ring_load(struct cvy_ring *ring, uint32_t *ret_items, uint64_t *ret_bytes);
/** Append messages, all at once or none. -ENOMEM without a detail: no memory for more. */
int cvy_ring_put(struct cvy_ring *ring, const struct covey_view *messages,
                 size_t count);
/** Append one that is no message, but a ticket. -ENOMEM. */
int cvy_ring_put_ticket(struct cvy_ring *ring, struct covey_view ticket);
/** Append the extent at `ref`, which this process has in its hands. -ENOMEM. */
int cvy_ring_put_extent(struct cvy_ring *ring, cvy_ref ref, size_t size);
/** An extent that is large enough, in this process's hands. Takes no lock of the ring.
 * -ENOMEM. */
int cvy_extent_take(size_t size, cvy_ref *ret_ref);
void cvy_extent_give(cvy_ref ref);
/** Whether another thread may have extents in its hands, which it is going to give back. */
bool cvy_extents_are_out(void);

/* ---- consumers; get_lock held ---- */

/** Take get_lock, and put right what a dead owner left. Returns: 0, -ETIMEDOUT. */
int cvy_ring_lock_get(struct cvy_ring *ring, int64_t deadline);
void cvy_ring_unlock_get(struct cvy_ring *ring);
/** Look at the record at `position`, or if that is 0 at the next one. -EAGAIN: none. */
int cvy_ring_look(struct cvy_ring *ring, uint64_t position, struct cvy_item *ret_item);
/** Commit that `count` records, the last of which is `last`, are taken. */
void cvy_ring_take(struct cvy_ring *ring, const struct cvy_item *last, uint32_t count);
/** The same for one that is an extent, which is in this process's hands then. */
void cvy_ring_take_extent(struct cvy_ring *ring, const struct cvy_item *item);
/** What was taken has arrived: it is not lost any more if this process dies. */
void cvy_ring_arrived(void);
/** How long a large ring stays when it is empty: a ring that is drained again and again
 * would else lose its pages each time, and touching new ones is dear. */
extern int64_t cvy_ring_keeps;
/** A stream gets a wide segment if that is at most such a part of the family's memory that
 * nobody uses: wide rings that have come to rest are not to be missed by others. */
extern uint64_t cvy_ring_part;
/** For who found it empty: note that, and go back to the first segment if it has been so
 * for cvy_ring_keeps. Waits for nobody. */
void cvy_ring_give_back(struct cvy_ring *ring);

/* ---- no lock ---- */

/** Note what a producer had put that is dead now, before the ring is asked for numbers. */
void cvy_ring_settle(struct cvy_ring *ring);
/** How many items there are, for who has the family's memory mapped at `head` only. */
uint32_t cvy_ring_count_in(const struct cvy_ring *ring, const struct cvy_head *head);
/** Whether there is nothing to take; right for a moment at best. What only leads on to
 * where a record will be is nothing. */
bool cvy_ring_is_empty(struct cvy_ring *ring);
/** Whether there is something at the head: an item, or what leads on. */
bool cvy_ring_leads_on(struct cvy_ring *ring);
/** For who found nothing and may wait: pause for a moment if items have come one right
 * after the other, and this thread has put none since the last time, so that nobody waits
 * for its answer; see cvy_spin_behind. */
void cvy_ring_fall_behind(struct cvy_ring *ring);

#endif
