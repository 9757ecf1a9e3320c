/* SPDX-License-Identifier: MIT */
/* ring_repair.c: what the dead left in rings: messages that were committed and not noted, or
 * taken and not returned, and memory that was on its way in or out. Each may be interrupted
 * by a death and done again. */
#include "base/mutant.h"
#include "channel/record.h"
#include "region/alloc.h"
#include "region/lock.h"
#include "region/slot.h"
#include "region/undo.h"

/* Region lock held: what a producer had taken, give it back if it is nowhere entered. */
static void settle_put_extent(struct cvy_ring *ring, uint64_t tail)
{
    cvy_ref run = ring->put_extent;
    bool is_segment = cvy_ring_segment(ring, cvy_position_number_of(tail))->at == run;
    if (ring->put_extent_at == tail && !is_segment) {
        cvy_run_give(run);
        if (ring->first_run == run)
            cvy_set64(&ring->first_run, 0);
    }
    cvy_set64(&ring->put_extent, 0);
}

/* Region lock held: a segment behind that of `tail`, to which nothing leads yet. Its place
 * may be that of the oldest one. */
static void settle_next_segment(struct cvy_ring *ring, uint64_t tail)
{
    uint16_t number = cvy_position_number_of(tail);
    struct cvy_segment *next = cvy_ring_segment(ring, (uint16_t)(number + 1));
    uint16_t alive = (uint16_t)(number - (uint16_t)ring->first_segment);
    if (!next->at || alive + 2u > CVY_SEGMENTS)
        return;
    if (next->at == ring->put_extent)
        cvy_set64(&ring->put_extent, 0);
    if (next->at != ring->first_run)
        cvy_run_give(next->at);
    cvy_set64(&next->at, 0);
}

/* Whether consumers are in a later segment than `tail`: all that was not noted there is the
 * JUMP that led them on, and they may have given the segment back with it. */
static bool is_left_behind(struct cvy_ring *ring, uint64_t tail)
{
    return (int16_t)(cvy_position_number_of(atomic_load(&ring->head)) -
                     cvy_position_number_of(tail)) > 0;
}

/* The word of the record at `tail`, if it was committed, else 0. */
static uint64_t committed_at(struct cvy_ring *ring, uint64_t tail)
{
    uint64_t word = 0;
    if (!is_left_behind(ring, tail) &&
        cvy_ring_segment(ring, cvy_position_number_of(tail))->at)
        word = atomic_load(&cvy_record_at(ring, tail)->word);
    return is_left_behind(ring, tail) ? CVY_RECORD_JUMP : word;
}

/* What was committed and not noted, and what was not committed. */
void cvy_ring_repair_put(struct cvy_ring *ring)
{
    uint64_t tail = atomic_load(&ring->tail), word;
    while (!CVY_MUTANT(queue_put_repair) && (word = committed_at(ring, tail))) {
        if (!(word & (CVY_RECORD_PAD | CVY_RECORD_JUMP))) {
            const struct cvy_record *r = cvy_record_at(ring, tail);
            atomic_store(&ring->put_ordinal, (uint32_t)(word >> 32) + 1);
            atomic_store(&ring->put_bytes, r->before + cvy_record_items_size(r, word));
        }
        tail = cvy_position_behind(tail, word);
        atomic_store(&ring->tail, tail);
    }
    cvy_region_lock();
    settle_next_segment(ring, tail);
    if (ring->put_extent)
        settle_put_extent(ring, tail);
    cvy_region_unlock();
}

void cvy_ring_give_old_segments(struct cvy_ring *ring)
{
    while (ring->first_segment != cvy_position_number_of(atomic_load(&ring->head))) {
        cvy_region_lock();
        struct cvy_segment *s = cvy_ring_segment(ring, (uint16_t)ring->first_segment);
        if (s->at != ring->first_run)
            cvy_run_give(s->at);
        cvy_set64(&s->at, 0);
        cvy_set32(&ring->first_segment, (ring->first_segment + 1) & 0xffff);
        cvy_region_unlock();
    }
}

/* Region lock held: what the dead thread of `slot` had taken from `ring` is lost, unless
 * the head shows that it had not been taken. Nobody moves the head after such a death
 * before this was done: either by who takes the lock over, or because the slot is freed. */
static void settle_journal(struct cvy_slot *slot, struct cvy_ring *ring)
{
    if (slot->journal[CVY_J_POSITION] != atomic_load(&ring->head) &&
        !CVY_MUTANT(queue_lost))
        cvy_set64((uint64_t *)(uintptr_t)&ring->lost,
                  atomic_load(&ring->lost) + slot->journal[CVY_J_COUNT]);
    cvy_set64(&slot->journal[CVY_J_RING], 0);
}

/* For whoever frees the slot of a dead thread. */
static void thread_died(struct cvy_slot *slot)
{
    if (slot->journal[CVY_J_RING])
        settle_journal(slot, cvy_at(slot->journal[CVY_J_RING]));
}

__attribute__((constructor)) static void hear_of_deaths(void)
{
    cvy_on_slot_death = thread_died;
}

static bool takes_from(const struct cvy_slot *slot, struct cvy_ring *ring)
{
    return __atomic_load_n(&slot->journal[CVY_J_RING], __ATOMIC_ACQUIRE) ==
           cvy_ref_of(ring);
}

/* Region lock held: settle what the dead had taken. Not only `dead`, from whom the lock was
 * taken over: it may have died before it had done this for the one before it. Journals are
 * looked at again once their threads are known to be dead, since until then they write. */
static void settle_takers(struct cvy_ring *ring, uint32_t dead)
{
    uint32_t high = atomic_load(&cvy_head->slot_high);
    for (uint32_t i = 0; i < high; i++) {
        struct cvy_slot *slot = cvy_slot_at(i);
        uint32_t owner = cvy_slot_owner(i);
        if (takes_from(slot, ring) &&
            (owner == dead || cvy_slot_is_dead(owner, true)) && takes_from(slot, ring))
            settle_journal(slot, ring);
    }
}

void cvy_ring_repair_get(struct cvy_ring *ring, uint32_t dead)
{
    cvy_region_lock();
    if (ring->get_extent && ring->get_extent_at != atomic_load(&ring->head))
        cvy_run_give(ring->get_extent);
    cvy_set64(&ring->get_extent, 0);
    settle_takers(ring, dead);
    cvy_region_unlock();
    cvy_ring_give_old_segments(ring);
}
