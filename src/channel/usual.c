/* SPDX-License-Identifier: MIT */
/* usual.c: the put and the get of a small message when nothing stands in the way, each in
 * one piece, since calls would be half of what they cost. The stores are those of ring.c,
 * in the same order. Whatever is unusual is left to the others, with nothing changed. */
#include <limits.h>

#include "channel/queue.h"
#include "channel/record.h"
#include "region/lock.h"

static inline void unlock(cvy_word *word)
{
    uint32_t mine = cvy_thread_owner();
    if (cvy_unlikely(!atomic_compare_exchange_strong_explicit(
            word, &mine, 0, memory_order_release, memory_order_relaxed)))
        cvy_lock_release(word);
}

static inline void wake(cvy_word *word, uint32_t n)
{
    cvy_os_fence_after_swap(); /* pairs with cvy_waiters_announce */
    if (cvy_unlikely(atomic_load_explicit(word, memory_order_relaxed) & CVY_WAITERS))
        cvy_waiters_wake(word, n);
}

/* Whether the record can be written at the tail as things were last seen. */
static inline bool has_room(covey_queue *q, uint64_t record)
{
    struct cvy_ring *ring = &q->ring;
    uint64_t tail = atomic_load_explicit(&ring->tail, memory_order_relaxed);
    const struct cvy_segment *s = cvy_ring_segment(ring, cvy_position_number_of(tail));
    uint64_t head = ring->head_seen, used = cvy_position_offset_of(tail);
    uint64_t place = used & (s->capacity - 1);
    uint32_t items = atomic_load_explicit(&ring->put_ordinal, memory_order_relaxed) -
                     ring->head_ordinal_seen;
    if (cvy_position_number_of(head) == cvy_position_number_of(tail))
        used -= cvy_position_offset_of(head);
    return s->at && place + record <= s->capacity &&
           used + record + CVY_RECORD_HEADER <= s->capacity &&
           (!q->max_items || items < q->max_items) &&
           !atomic_load_explicit(&q->closed, memory_order_relaxed);
}

bool cvy_queue_put_at_once(covey_queue *q, const void *data, size_t size)
{
    if (cvy_unlikely(size > CVY_LARGEST_RECORD || q->max_bytes ||
                     !cvy_ring_lock_at_once(&q->ring.put_lock)))
        return false;
    bool fits = has_room(q, cvy_record_size(size));
    if (cvy_likely(fits))
        cvy_record_put(&q->ring, data, size, 0, size);
    unlock(&q->ring.put_lock);
    if (cvy_likely(fits))
        wake(&q->items, 1);
    return fits;
}

/* The word of the next record. */
static inline uint64_t next_word(struct cvy_ring *ring, uint64_t head)
{
    const struct cvy_segment *s = cvy_ring_segment(ring, cvy_position_number_of(head));
    return __atomic_load_n(&s->at, __ATOMIC_RELAXED)
               ? atomic_load_explicit(&cvy_record_at(ring, head)->word,
                                      memory_order_acquire)
               : 0;
}

bool cvy_queue_get_at_once(covey_queue *q, void *to, size_t capacity, size_t *ret_size)
{
    struct cvy_ring *ring = &q->ring;
    /* A first look, so that who waits for messages does not keep others from getting. */
    if (!next_word(ring, atomic_load_explicit(&ring->head, memory_order_acquire)) ||
        !cvy_ring_lock_at_once(&ring->get_lock))
        return false;
    uint64_t head = atomic_load_explicit(&ring->head, memory_order_relaxed);
    uint64_t word = next_word(ring, head), size = cvy_record_size_in(word);
    uint64_t unusual = word & (CVY_RECORD_PAD | CVY_RECORD_JUMP | CVY_RECORD_EXTENT);
    if (cvy_unlikely(!word || unusual || size > capacity)) {
        unlock(&ring->get_lock);
        return false;
    }
    if (size)
        memcpy(to, cvy_record_at(ring, head)->payload, size);
    cvy_record_note_taking(ring, 1);
    atomic_store_explicit(&ring->head, head + cvy_record_size(size),
                          memory_order_release);
    unlock(&ring->get_lock);
    wake(&q->space, q->max_bytes ? INT_MAX : 1);
    cvy_record_note_arrival();
    *ret_size = size;
    return true;
}
