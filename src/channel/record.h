/* SPDX-License-Identifier: MIT */
/**
 * channel/record.h: records and positions, as ring.h draws them, for the files that work
 * on them. The order of the stores is what makes a put and a take happen whole or not at
 * all; who changes it has to run the kill tests at all points (CHECK_LONG=1).
 */
#ifndef CVY_CHANNEL_RECORD_H
#define CVY_CHANNEL_RECORD_H

#include <string.h>

#include "base/base.h"
#include "base/mutant.h"
#include "channel/ring.h"
#include "region/member.h"

#define CVY_RECORD_HEADER  16u
#define CVY_RECORD_EXTENT  (UINT64_C(1) << 28)
#define CVY_RECORD_PAD     (UINT64_C(1) << 29)
#define CVY_RECORD_JUMP    (UINT64_C(1) << 30)
#define CVY_RECORD_TICKET  (UINT64_C(1) << 31)
#define CVY_RECORD_SIZES   (CVY_RECORD_EXTENT - 1)
#define CVY_RECORD_OFFSETS ((UINT64_C(1) << 48) - 1)

/* From this offset on producers lead to another segment as soon as there is memory for
 * one; behind the last they need it. What is put at once is far less than what is left
 * then, so that no offset overflows into the segment's number. */
#define CVY_POSITION_FAR  (UINT64_C(1) << 47)
#define CVY_POSITION_LAST (CVY_POSITION_FAR | CVY_POSITION_FAR >> 1)

struct cvy_record {
    uint64_t before;
    _Atomic uint64_t word;
    char payload[];
};
struct cvy_extent_record {
    cvy_ref ref;
    uint64_t size;
};

/* What a thread has taken and not yet returned to its caller, in its slot's journal. */
enum cvy_ring_journal { CVY_J_RING, CVY_J_POSITION, CVY_J_COUNT };

static inline uint16_t cvy_position_number_of(uint64_t position)
{
    return (uint16_t)(position >> 48);
}
static inline uint64_t cvy_position_offset_of(uint64_t position)
{
    return position & CVY_RECORD_OFFSETS;
}
static inline uint64_t cvy_position_start_of(uint16_t number)
{
    return (uint64_t)number << 48;
}
static inline struct cvy_segment *cvy_ring_segment(struct cvy_ring *ring,
                                                   uint16_t number)
{
    return &ring->segments[number % CVY_SEGMENTS];
}
static inline struct cvy_record *cvy_record_at(struct cvy_ring *ring, uint64_t position)
{
    const struct cvy_segment *s =
        cvy_ring_segment(ring, cvy_position_number_of(position));
    return (struct cvy_record *)(void *)((char *)cvy_at(s->at) +
                                         (cvy_position_offset_of(position) &
                                          (s->capacity - 1)));
}
static inline uint64_t cvy_record_size(uint64_t payload)
{
    return CVY_RECORD_HEADER + cvy_round_up(payload, 16);
}
static inline uint64_t cvy_record_size_in(uint64_t word)
{
    return (word & CVY_RECORD_SIZES) - 1;
}
/* The bytes of the message of a record. */
static inline uint64_t cvy_record_items_size(const struct cvy_record *r, uint64_t word)
{
    const struct cvy_extent_record *e = (const void *)r->payload;
    return word & CVY_RECORD_EXTENT ? e->size : cvy_record_size_in(word);
}
static inline uint64_t cvy_record_word(uint32_t ordinal, uint64_t flags,
                                       uint64_t payload)
{
    return (uint64_t)ordinal << 32 | flags | (payload + 1);
}

/* The position behind a record. */
static inline uint64_t cvy_position_behind(uint64_t position, uint64_t word)
{
    if (word & CVY_RECORD_JUMP)
        return cvy_position_start_of((uint16_t)(cvy_position_number_of(position) + 1));
    return position + cvy_record_size(cvy_record_size_in(word));
}

/* Write all of a record but its word; and a 0 behind it, where nothing is yet. */
static inline void cvy_record_write(struct cvy_ring *ring, uint64_t at, uint64_t before,
                                    const void *payload, uint64_t size)
{
    struct cvy_record *r = cvy_record_at(ring, at);
    atomic_store_explicit(&cvy_record_at(ring, at + cvy_record_size(size))->word, 0,
                          memory_order_relaxed);
    r->before = before;
    if (size)
        memcpy(r->payload, payload, size);
}

static inline void cvy_record_note(struct cvy_ring *ring, uint32_t items,
                                   uint64_t bytes, uint64_t tail)
{
    cvy_thread.puts++;
    atomic_store_explicit(
        &ring->put_ordinal,
        atomic_load_explicit(&ring->put_ordinal, memory_order_relaxed) + items,
        memory_order_relaxed);
    atomic_store_explicit(&ring->put_bytes,
                          atomic_load_explicit(&ring->put_bytes, memory_order_relaxed) +
                              bytes,
                          memory_order_relaxed);
    atomic_store_explicit(&ring->tail, tail, memory_order_release);
}

static inline void cvy_record_put(struct cvy_ring *ring, const void *payload,
                                  uint64_t size, uint64_t flags, uint64_t bytes)
{
    uint64_t tail = atomic_load_explicit(&ring->tail, memory_order_relaxed);
    uint32_t ordinal = atomic_load_explicit(&ring->put_ordinal, memory_order_relaxed);
    cvy_record_write(ring, tail,
                     atomic_load_explicit(&ring->put_bytes, memory_order_relaxed),
                     payload, size);
    if (CVY_MUTANT(queue_early_note))
        cvy_record_note(ring, 0, 0, tail + cvy_record_size(size));
    atomic_store_explicit(&cvy_record_at(ring, tail)->word,
                          cvy_record_word(ordinal, flags, size), memory_order_release);
    cvy_record_note(ring, 1, bytes, tail + cvy_record_size(size));
}

static inline void cvy_record_note_taking(struct cvy_ring *ring, uint32_t count)
{
    struct cvy_slot *slot = cvy_slot_at(CVY_INDEX_OF(cvy_thread_owner()));
    slot->journal[CVY_J_POSITION] =
        atomic_load_explicit(&ring->head, memory_order_relaxed);
    slot->journal[CVY_J_COUNT] = count;
    atomic_store_explicit(
        &ring->taken, atomic_load_explicit(&ring->taken, memory_order_relaxed) + count,
        memory_order_relaxed);
    __atomic_store_n(&slot->journal[CVY_J_RING], cvy_ref_of(ring), __ATOMIC_RELEASE);
}

static inline void cvy_record_note_arrival(void)
{
    struct cvy_slot *slot = cvy_slot_at(CVY_INDEX_OF(cvy_thread_owner()));
    __atomic_store_n(&slot->journal[CVY_J_RING], 0, __ATOMIC_RELEASE);
}

/* ---- for ring.c, by ring_repair.c ---- */

/* put_lock held: note what a dead producer had committed, drop what it had not. */
void cvy_ring_repair_put(struct cvy_ring *ring);
/* get_lock held, taken over from `dead`: count what the dead had taken. */
void cvy_ring_repair_get(struct cvy_ring *ring, uint32_t dead);
/* get_lock held: give back the segments that lie behind the head's. */
void cvy_ring_give_old_segments(struct cvy_ring *ring);

#endif
