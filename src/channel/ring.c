/* SPDX-License-Identifier: MIT */
/* ring.c: see ring.h. Locks are taken in the order put_lock or get_lock, region lock; who
 * has get_lock only tries put_lock. */
#include <errno.h>

#include "base/mutant.h"
#include "channel/record.h"
#include "region/alloc.h"
#include "region/lock.h"
#include "region/look.h"
#include "region/slot.h"
#include "region/spin.h"
#include "region/undo.h"

#define MOST_CAPACITY (UINT64_C(1) << 40)
#define STREAM_ITEMS  4

int64_t cvy_ring_keeps = COVEY_MSEC(100);
uint64_t cvy_ring_part = 256;

void cvy_ring_init(struct cvy_ring *ring, void *object)
{
    ring->object = cvy_ref_of(object);
}

/* ---- locks ---- */

int cvy_ring_lock_put(struct cvy_ring *ring, int64_t deadline)
{
    uint32_t dead;
    if (cvy_lock_at_once(&ring->put_lock))
        return 0;
    int r = cvy_lock_wait_briefly(&ring->put_lock, deadline, &dead);
    if (r == CVY_OWNER_DIED)
        cvy_ring_repair_put(ring);
    return r < 0 ? r : 0;
}

int cvy_ring_lock_get(struct cvy_ring *ring, int64_t deadline)
{
    uint32_t dead;
    if (cvy_lock_at_once(&ring->get_lock))
        return 0;
    int r = cvy_lock_wait_briefly(&ring->get_lock, deadline, &dead);
    if (r == CVY_OWNER_DIED)
        cvy_ring_repair_get(ring, dead);
    return r < 0 ? r : 0;
}

void cvy_ring_unlock_put(struct cvy_ring *ring)
{
    cvy_lock_release(&ring->put_lock);
}
void cvy_ring_unlock_get(struct cvy_ring *ring)
{
    cvy_lock_release(&ring->get_lock);
}

void cvy_ring_settle(struct cvy_ring *ring)
{
    uint32_t owner = atomic_load(&ring->put_lock) & CVY_OWNER_MASK;
    if (owner && cvy_slot_is_dead(owner, false) &&
        cvy_ring_lock_put(ring, cvy_os_now() + COVEY_SEC(1)) >= 0)
        cvy_ring_unlock_put(ring);
}

/* ---- producers ---- */

void cvy_ring_load(struct cvy_ring *ring, uint32_t *ret_items, uint64_t *ret_bytes)
{
    for (;;) {
        uint64_t head = atomic_load_explicit(&ring->head, memory_order_acquire);
        uint64_t tail = atomic_load_explicit(&ring->tail, memory_order_acquire);
        uint32_t ordinal = atomic_load(&ring->put_ordinal);
        uint64_t bytes = atomic_load(&ring->put_bytes);
        *ret_items = 0;
        *ret_bytes = 0;
        const struct cvy_segment *s =
            cvy_ring_segment(ring, cvy_position_number_of(head));
        if (__atomic_load_n(&s->at, __ATOMIC_ACQUIRE)) {
            const struct cvy_record *r = cvy_record_at(ring, head);
            uint64_t word = atomic_load_explicit(&r->word, memory_order_acquire);
            uint32_t items = ordinal - (uint32_t)(word >> 32);
            /* A producer may have stopped before it noted what it has put: the first of
             * that, what others have left of several, or nothing. */
            if (word && items - 1 < UINT32_MAX / 2) {
                *ret_items = items;
                *ret_bytes = bytes - r->before;
            } else if (word && !(word & (CVY_RECORD_PAD | CVY_RECORD_JUMP))) {
                *ret_items = 1;
                *ret_bytes = cvy_record_items_size(r, word);
            }
        }
        atomic_thread_fence(memory_order_acquire);
        if (atomic_load(&ring->head) == head && atomic_load(&ring->tail) == tail)
            return;
    }
}

bool cvy_ring_has_place(struct cvy_ring *ring, uint32_t most)
{
    uint32_t items,
        next = atomic_load_explicit(&ring->put_ordinal, memory_order_relaxed);
    uint64_t bytes;
    if (cvy_likely(next - ring->head_ordinal_seen < most))
        return true;
    cvy_ring_load(ring, &items, &bytes);
    if (items < most && most - items < most / 4) {
        cvy_spin_behind();
        cvy_ring_load(ring, &items, &bytes);
    }
    ring->head_ordinal_seen = next - items;
    return items < most;
}

/* The run of the segment `number`. Consumers look at its first record as soon as they see
 * where it is, without a lock of ours: it is entered last. Until then it is noted, as an
 * extent that is being put is. */
static int make_segment(struct cvy_ring *ring, uint16_t number, uint64_t capacity)
{
    struct cvy_segment *s = cvy_ring_segment(ring, number);
    cvy_ref ref = 0;
    cvy_region_lock();
    int r = cvy_run_take(capacity, CVY_RUN_OBJECT, ring->object, &ref);
    if (r < 0) {
        cvy_rollback();
    } else {
        cvy_set64(&s->capacity, capacity);
        cvy_set64(&ring->put_extent, ref);
        cvy_set64(&ring->put_extent_at, atomic_load(&ring->tail));
        if (!ring->first_run)
            cvy_set64(&ring->first_run, ref);
    }
    cvy_region_unlock();
    if (r < 0)
        return r;
    atomic_store_explicit(&((struct cvy_record *)cvy_at(ref))->word, 0,
                          memory_order_relaxed);
    __atomic_store_n(&s->at, ref, __ATOMIC_RELEASE);
    __atomic_store_n(&ring->put_extent, 0, __ATOMIC_RELEASE);
    return 0;
}

/* Lead on to the next segment, which is ready. */
static void jump(struct cvy_ring *ring)
{
    uint64_t tail = atomic_load_explicit(&ring->tail, memory_order_relaxed);
    struct cvy_record *r = cvy_record_at(ring, tail);
    r->before = atomic_load_explicit(&ring->put_bytes, memory_order_relaxed);
    ring->look_at = 0;
    atomic_store_explicit(
        &r->word, cvy_record_word(atomic_load(&ring->put_ordinal), CVY_RECORD_JUMP, 0),
        memory_order_release);
    atomic_store_explicit(
        &ring->tail,
        cvy_position_start_of((uint16_t)(cvy_position_number_of(tail) + 1)),
        memory_order_release);
}

/* Make a segment of at least `capacity`, and lead on there. */
static int lead_on(struct cvy_ring *ring, uint64_t capacity, uint64_t need)
{
    uint16_t number = cvy_position_number_of(atomic_load(&ring->tail));
    while (capacity < 2 * need)
        capacity *= 2;
    uint16_t alive = (uint16_t)(number - (uint16_t)ring->first_segment);
    if (alive + 2u > CVY_SEGMENTS || capacity > MOST_CAPACITY)
        return -ENOMEM;
    int r = make_segment(ring, (uint16_t)(number + 1), capacity);
    if (r >= 0)
        jump(ring);
    return r;
}

static uint64_t room_in(const struct cvy_ring *ring, uint64_t tail, uint64_t capacity)
{
    uint64_t head = ring->head_seen;
    uint64_t from = cvy_position_number_of(head) == cvy_position_number_of(tail)
                        ? cvy_position_offset_of(head)
                        : 0;
    return capacity - (cvy_position_offset_of(tail) - from);
}

/* The tail has come far: lead on, or if there is no memory for that stay while it is possible.
 * The head is looked at, though it stops nobody here: a head seen that stays behind while
 * the tail leads on again and again would some day seem to be in the tail's segment. */
static int leave_far_segment(struct cvy_ring *ring, uint64_t tail, uint64_t need)
{
    ring->head_seen = atomic_load_explicit(&ring->head, memory_order_acquire);
    int r = lead_on(
        ring, cvy_ring_segment(ring, cvy_position_number_of(tail))->capacity, need);
    return r < 0 && cvy_position_offset_of(tail) < CVY_POSITION_LAST ? 0 : r;
}

/* Whether much is passing through, with several items on their way at a time. */
static bool is_stream(struct cvy_ring *ring, uint64_t tail)
{
    uint32_t items;
    uint64_t bytes;
    if (cvy_position_offset_of(tail) < CVY_STREAM_BYTES)
        return false;
    cvy_ring_load(ring, &items, &bytes);
    return items >= STREAM_ITEMS;
}

/* A stream gets a segment larger than a core's own cache, if the family has plenty of
 * memory. In a smaller one producers write where the consumers' core still has what it
 * read last time, and wait for each line to be taken from there; in a larger one that has
 * left for the cache they share, from where lines come several times as fast. */
static void widen(struct cvy_ring *ring, uint64_t tail, uint64_t need)
{
    const struct cvy_segment *s = cvy_ring_segment(ring, cvy_position_number_of(tail));
    uint64_t offset = cvy_position_offset_of(tail), later = CVY_POSITION_FAR;
    if (s->capacity < CVY_STREAM_SEGMENT && is_stream(ring, tail)) {
        cvy_region_lock();
        bool is_little = cvy_alloc_is_little(CVY_STREAM_SEGMENT, cvy_ring_part);
        cvy_region_unlock();
        if (is_little && lead_on(ring, CVY_STREAM_SEGMENT, need) >= 0)
            return;
        later = offset + CVY_STREAM_BYTES;
    } else if (s->capacity < CVY_STREAM_SEGMENT) {
        later = cvy_max_u64(CVY_STREAM_BYTES, offset + CVY_STREAM_BYTES / 4);
    }
    ring->look_at = cvy_min_u64(later, CVY_POSITION_FAR);
}

/* The tail has come to where it is time to see whether this is the right segment. */
static int reconsider_segment(struct cvy_ring *ring, uint64_t tail, uint64_t need)
{
    if (tail & CVY_POSITION_FAR)
        return leave_far_segment(ring, tail, need);
    widen(ring, tail, need);
    return 0;
}

/* Fill the end of the segment. */
static void pad_segment(struct cvy_ring *ring, uint64_t tail, uint64_t pad)
{
    struct cvy_record *r = cvy_record_at(ring, tail);
    atomic_store_explicit(&cvy_record_at(ring, tail + pad)->word, 0,
                          memory_order_relaxed);
    r->before = atomic_load_explicit(&ring->put_bytes, memory_order_relaxed);
    atomic_store_explicit(&r->word,
                          cvy_record_word(atomic_load(&ring->put_ordinal),
                                          CVY_RECORD_PAD, pad - CVY_RECORD_HEADER),
                          memory_order_release);
    atomic_store_explicit(&ring->tail, tail + pad, memory_order_release);
}

/* Make the ring such that `size` bytes of record fit at the tail, without a gap. */
static int make_room(struct cvy_ring *ring, uint64_t size)
{
    for (;;) {
        uint64_t tail = atomic_load_explicit(&ring->tail, memory_order_relaxed);
        const struct cvy_segment *s =
            cvy_ring_segment(ring, cvy_position_number_of(tail));
        if (cvy_unlikely(!s->at)) {
            int r = make_segment(ring, cvy_position_number_of(tail), CVY_FIRST_SEGMENT);
            if (r < 0)
                return r;
            continue;
        }
        if (cvy_unlikely(cvy_position_offset_of(tail) >= ring->look_at)) {
            int r = reconsider_segment(ring, tail, size + CVY_RECORD_HEADER);
            if (r < 0)
                return r;
            tail = atomic_load_explicit(&ring->tail, memory_order_relaxed);
            s = cvy_ring_segment(ring, cvy_position_number_of(tail));
        }
        uint64_t place = cvy_position_offset_of(tail) & (s->capacity - 1), pad = 0;
        if (place + size > s->capacity)
            pad = s->capacity - place;
        if (cvy_unlikely(pad + size + CVY_RECORD_HEADER >
                         room_in(ring, tail, s->capacity))) {
            uint64_t head = atomic_load_explicit(&ring->head, memory_order_acquire);
            if (head != ring->head_seen) {
                ring->head_seen = head;
                continue;
            }
            int r = lead_on(ring, s->capacity * 2, size + CVY_RECORD_HEADER);
            if (r < 0)
                return r;
            continue;
        }
        if (cvy_likely(!pad))
            return 0;
        pad_segment(ring, tail, pad);
    }
}

/* Many at once: all but the first are complete when the first one's word is stored. */
static void put_several(struct cvy_ring *ring, const struct covey_view *messages,
                        size_t count)
{
    uint64_t tail = atomic_load_explicit(&ring->tail, memory_order_relaxed), at = tail;
    uint32_t ordinal = atomic_load_explicit(&ring->put_ordinal, memory_order_relaxed);
    uint64_t bytes = atomic_load_explicit(&ring->put_bytes, memory_order_relaxed);
    uint64_t before = bytes;
    for (size_t i = 0; i < count; i++) {
        cvy_record_write(ring, at, before, messages[i].data, messages[i].size);
        if (i)
            atomic_store_explicit(
                &cvy_record_at(ring, at)->word,
                cvy_record_word(ordinal + (uint32_t)i, 0, messages[i].size),
                memory_order_relaxed);
        before += messages[i].size;
        at += cvy_record_size(messages[i].size);
    }
    atomic_store_explicit(&cvy_record_at(ring, tail)->word,
                          cvy_record_word(ordinal, 0, messages[0].size),
                          memory_order_release);
    cvy_record_note(ring, (uint32_t)count, before - bytes, at);
}

int cvy_ring_put(struct cvy_ring *ring, const struct covey_view *messages, size_t count)
{
    uint64_t size = 0;
    for (size_t i = 0; i < count; i++)
        size += cvy_record_size(messages[i].size);
    int r = make_room(ring, size);
    if (r < 0)
        return r;
    if (cvy_likely(count == 1))
        cvy_record_put(ring, messages->data, messages->size, 0, messages->size);
    else
        put_several(ring, messages, count);
    return 0;
}

int cvy_ring_put_ticket(struct cvy_ring *ring, struct covey_view ticket)
{
    int r = make_room(ring, cvy_record_size(ticket.size));
    if (r >= 0)
        cvy_record_put(ring, ticket.data, ticket.size, CVY_RECORD_TICKET, ticket.size);
    return r;
}

int cvy_extent_take(size_t size, cvy_ref *ret_ref)
{
    cvy_region_lock();
    int r = cvy_run_take(size, CVY_RUN_MEMBER, cvy_member_owner(), ret_ref);
    if (r < 0)
        cvy_rollback();
    cvy_region_unlock();
    return r;
}

void cvy_extent_give(cvy_ref ref)
{
    cvy_region_lock();
    cvy_run_give(ref);
    cvy_region_unlock();
}

bool cvy_extents_are_out(void)
{
    uint32_t me = CVY_INDEX_OF(cvy_member_owner());
    bool out = false;
    cvy_region_lock();
    for (uint32_t i = 0; i < cvy_head->member_high && !out; i++) {
        const struct cvy_member *m = cvy_member_at(i);
        out = m->extents && (i != me || m->thread_count > 1);
    }
    cvy_region_unlock();
    return out;
}

int cvy_ring_put_extent(struct cvy_ring *ring, cvy_ref ref, size_t size)
{
    struct cvy_extent_record e = {ref, size};
    int r = make_room(ring, cvy_record_size(sizeof e));
    if (r < 0)
        return r;
    cvy_region_lock();
    cvy_run_pass(ref, CVY_RUN_OBJECT, ring->object);
    if (!CVY_MUTANT(queue_put_extent))
        cvy_set64(&ring->put_extent, ref);
    cvy_set64(&ring->put_extent_at, atomic_load(&ring->tail));
    cvy_region_unlock();
    cvy_record_put(ring, &e, sizeof e, CVY_RECORD_EXTENT, size);
    atomic_signal_fence(memory_order_seq_cst);
    __atomic_store_n(&ring->put_extent, 0, __ATOMIC_RELEASE);
    return 0;
}

/* ---- consumers ---- */

int cvy_ring_look(struct cvy_ring *ring, uint64_t position, struct cvy_item *ret_item)
{
    bool is_head = !position;
    uint64_t at =
        is_head ? atomic_load_explicit(&ring->head, memory_order_relaxed) : position;
    for (;;) {
        if (cvy_unlikely(!cvy_ring_segment(ring, cvy_position_number_of(at))->at))
            return -EAGAIN;
        const struct cvy_record *r = cvy_record_at(ring, at);
        uint64_t word = atomic_load_explicit(&r->word, memory_order_acquire);
        if (!word)
            return -EAGAIN;
        if (cvy_likely(!(word & (CVY_RECORD_PAD | CVY_RECORD_JUMP)))) {
            const struct cvy_extent_record *e = (const void *)r->payload;
            bool is_extent = word & CVY_RECORD_EXTENT;
            *ret_item = (struct cvy_item){
                .position = at,
                .after = cvy_position_behind(at, word),
                .data = is_extent ? cvy_at(e->ref) : r->payload,
                .size = is_extent ? e->size : cvy_record_size_in(word),
                .extent = is_extent ? e->ref : 0,
                .is_ticket = word & CVY_RECORD_TICKET,
            };
            return 0;
        }
        at = cvy_position_behind(at, word);
        if (is_head) {
            atomic_store_explicit(&ring->head, at, memory_order_release);
            if (word & CVY_RECORD_JUMP)
                cvy_ring_give_old_segments(ring);
        }
    }
}

void cvy_ring_take(struct cvy_ring *ring, const struct cvy_item *last, uint32_t count)
{
    uint16_t number =
        cvy_position_number_of(atomic_load_explicit(&ring->head, memory_order_relaxed));
    cvy_record_note_taking(ring, count);
    atomic_store_explicit(&ring->head, last->after, memory_order_release);
    if (cvy_unlikely(number != cvy_position_number_of(last->after)))
        cvy_ring_give_old_segments(ring);
}

void cvy_ring_take_extent(struct cvy_ring *ring, const struct cvy_item *item)
{
    ring->get_extent_at = item->position;
    if (!CVY_MUTANT(queue_get_extent))
        __atomic_store_n(&ring->get_extent, item->extent, __ATOMIC_RELEASE);
    cvy_ring_take(ring, item, 1);
    cvy_region_lock();
    cvy_run_pass(item->extent, CVY_RUN_MEMBER, cvy_member_owner());
    cvy_set64(&ring->get_extent, 0);
    cvy_region_unlock();
}

void cvy_ring_arrived(void)
{
    cvy_record_note_arrival();
}

static bool is_large(struct cvy_ring *ring, uint64_t head)
{
    return __atomic_load_n(
               &cvy_ring_segment(ring, cvy_position_number_of(head))->capacity,
               __ATOMIC_RELAXED) > CVY_FIRST_SEGMENT;
}

static bool is_idle(struct cvy_ring *ring, uint64_t head)
{
    return atomic_load_explicit(&ring->idle_head, memory_order_relaxed) == head &&
           cvy_os_now() -
                   atomic_load_explicit(&ring->idle_since, memory_order_relaxed) >=
               cvy_ring_keeps;
}

static bool may_shrink(struct cvy_ring *ring)
{
    uint64_t head = atomic_load_explicit(&ring->head, memory_order_relaxed);
    return is_large(ring, head) &&
           (atomic_load_explicit(&ring->idle_head, memory_order_relaxed) != head ||
            is_idle(ring, head));
}

/* Lead on to the first segment; both locks held, the ring is empty. */
static void go_back(struct cvy_ring *ring)
{
    uint64_t tail = atomic_load(&ring->tail);
    struct cvy_segment *next =
        cvy_ring_segment(ring, (uint16_t)(cvy_position_number_of(tail) + 1));
    cvy_region_lock();
    cvy_set64(&next->at, ring->first_run);
    cvy_set64(&next->capacity, CVY_FIRST_SEGMENT);
    atomic_store(&((struct cvy_record *)cvy_at(ring->first_run))->word, 0);
    cvy_region_unlock();
    jump(ring);
    atomic_store(&ring->head, atomic_load(&ring->tail));
    cvy_ring_give_old_segments(ring);
}

/* get_lock held. */
static void shrink(struct cvy_ring *ring)
{
    struct cvy_item item;
    if (cvy_ring_look(ring, 0, &item) >= 0) /* or what only leads on is behind it now */
        return;
    uint64_t head = atomic_load(&ring->head);
    if (!is_large(ring, head))
        return;
    if (atomic_load(&ring->idle_head) != head) {
        atomic_store(&ring->idle_since, cvy_os_now());
        atomic_store(&ring->idle_head, head);
    }
    if (!is_idle(ring, head) || !cvy_lock_at_once(&ring->put_lock))
        return;
    uint64_t tail = atomic_load(&ring->tail);
    if (head == tail && !atomic_load(&cvy_record_at(ring, tail)->word))
        go_back(ring);
    cvy_ring_unlock_put(ring);
}

void cvy_ring_give_back(struct cvy_ring *ring)
{
    if (cvy_likely(!may_shrink(ring)) || cvy_ring_lock_get(ring, 0) < 0)
        return;
    shrink(ring);
    cvy_ring_unlock_get(ring);
}

/* Whether there is something at the head; or an item, there or behind what leads on: a PAD
 * and a JUMP as a rule. Behind more of them, which only several deaths leave, something is
 * taken for granted. */
static bool is_there(struct cvy_ring *ring, bool an_item)
{
    uint64_t head = atomic_load_explicit(&ring->head, memory_order_acquire), before;
    do {
        uint64_t at = head, word = 1;
        for (int i = 0; word; i++) {
            const struct cvy_segment *s =
                cvy_ring_segment(ring, cvy_position_number_of(at));
            word = __atomic_load_n(&s->at, __ATOMIC_ACQUIRE)
                       ? atomic_load_explicit(&cvy_record_at(ring, at)->word,
                                              memory_order_acquire)
                       : 0;
            bool leads_on = word & (CVY_RECORD_PAD | CVY_RECORD_JUMP);
            if (word && (!an_item || !leads_on || i == 2))
                return true;
            at = cvy_position_behind(at, word);
        }
        /* Another consumer may have moved on, and what was looked at means nothing. */
        before = head;
        head = atomic_load_explicit(&ring->head, memory_order_acquire);
    } while (cvy_unlikely(head != before));
    return false;
}

bool cvy_ring_is_empty(struct cvy_ring *ring)
{
    return !is_there(ring, true);
}

bool cvy_ring_leads_on(struct cvy_ring *ring)
{
    return is_there(ring, false);
}

void cvy_ring_fall_behind(struct cvy_ring *ring)
{
    uint32_t taken = atomic_load_explicit(&ring->taken, memory_order_relaxed);
    uint32_t before = atomic_load_explicit(&ring->taken_before, memory_order_relaxed);
    static _Thread_local uint32_t puts_before;
    bool answers = cvy_thread.puts != puts_before;
    puts_before = cvy_thread.puts;
    if (taken == before)
        return;
    atomic_store_explicit(&ring->taken_before, taken, memory_order_relaxed);
    if (taken - before > 1 && !answers)
        cvy_spin_behind();
}

uint32_t cvy_ring_count_in(const struct cvy_ring *ring, const struct cvy_head *head)
{
    uint64_t position = atomic_load(&ring->head);
    const struct cvy_segment *s =
        &ring->segments[cvy_position_number_of(position) % CVY_SEGMENTS];
    cvy_ref at = s->at + (cvy_position_offset_of(position) & (s->capacity - 1));
    const struct cvy_record *r = cvy_look_at(head, at);
    uint64_t word = s->at && r ? atomic_load(&r->word) : 0;
    uint32_t items = atomic_load(&ring->put_ordinal) - (uint32_t)(word >> 32);
    if (!word)
        return 0;
    /* One that has not been noted is there, too. */
    return items ? items : !(word & (CVY_RECORD_PAD | CVY_RECORD_JUMP));
}
