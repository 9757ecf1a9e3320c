/* SPDX-License-Identifier: MIT */
/**
 * channel/usual.h: the put and the get of a small message when nothing stands in the way,
 * for queues and pipes each in one piece, since calls would be half of what they cost. The
 * stores are those of ring.c, in the same order. Whatever is unusual is left to the others,
 * with nothing changed.
 */
#ifndef CVY_CHANNEL_USUAL_H
#define CVY_CHANNEL_USUAL_H

#include "channel/queue.h"
#include "channel/record.h"
#include "region/lock.h"

static inline void cvy_usual_unlock(cvy_word *word)
{
    uint32_t mine = cvy_thread_owner();
    if (cvy_unlikely(!atomic_compare_exchange_strong_explicit(
            word, &mine, 0, memory_order_release, memory_order_relaxed)))
        cvy_lock_release(word);
}

static inline void cvy_usual_wake(cvy_word *word, uint32_t n)
{
    cvy_os_fence_after_swap(); /* pairs with cvy_waiters_announce */
    if (cvy_unlikely(atomic_load_explicit(word, memory_order_relaxed) & CVY_WAITERS))
        cvy_waiters_wake(word, n);
}

/** put_lock held: whether a record can be written at the tail as things were last seen. */
static inline bool cvy_usual_fits(const struct cvy_ring *ring, uint64_t record)
{
    uint64_t tail = atomic_load_explicit(&ring->tail, memory_order_relaxed);
    const struct cvy_segment *s =
        &ring->segments[cvy_position_number_of(tail) % CVY_SEGMENTS];
    uint64_t head = ring->head_seen, used = cvy_position_offset_of(tail);
    uint64_t place = used & (s->capacity - 1);
    if (cvy_position_number_of(head) == cvy_position_number_of(tail))
        used -= cvy_position_offset_of(head);
    return s->at && cvy_position_offset_of(tail) < ring->look_at &&
           place + record <= s->capacity &&
           used + record + CVY_RECORD_HEADER <= s->capacity;
}

/* The word of the next record. */
static inline uint64_t cvy_usual_next_word(struct cvy_ring *ring, uint64_t head)
{
    const struct cvy_segment *s = cvy_ring_segment(ring, cvy_position_number_of(head));
    return __atomic_load_n(&s->at, __ATOMIC_RELAXED)
               ? atomic_load_explicit(&cvy_record_at(ring, head)->word,
                                      memory_order_acquire)
               : 0;
}

/** Take the next message. Returns: whether it was there, as usual, and not larger than
 * `capacity`; then cvy_record_note_arrival is due when it is the caller's. */
static inline bool cvy_usual_take(struct cvy_ring *ring, void *to, size_t capacity,
                                  size_t *ret_size)
{
    /* A first look, so that who waits for messages does not keep others from getting. */
    if (!cvy_usual_next_word(ring,
                             atomic_load_explicit(&ring->head, memory_order_acquire)) ||
        !cvy_lock_at_once(&ring->get_lock))
        return false;
    uint64_t head = atomic_load_explicit(&ring->head, memory_order_relaxed);
    uint64_t word = cvy_usual_next_word(ring, head), size = cvy_record_size_in(word);
    uint64_t unusual = word & (CVY_RECORD_PAD | CVY_RECORD_JUMP | CVY_RECORD_EXTENT |
                               CVY_RECORD_TICKET);
    if (cvy_unlikely(!word || unusual || size > capacity)) {
        cvy_usual_unlock(&ring->get_lock);
        return false;
    }
    if (size)
        memcpy(to, cvy_record_at(ring, head)->payload, size);
    cvy_record_note_taking(ring, 1);
    atomic_store_explicit(&ring->head, head + cvy_record_size(size),
                          memory_order_release);
    cvy_usual_unlock(&ring->get_lock);
    *ret_size = size;
    return true;
}

#endif
