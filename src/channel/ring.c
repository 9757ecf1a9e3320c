/* SPDX-License-Identifier: MIT */
/* ring.c: see ring.h. Locks are taken in the order put_lock or get_lock, region lock; who
 * has get_lock only tries put_lock. */
#include "channel/ring.h"

#include <errno.h>
#include <string.h>

#include "base/base.h"
#include "region/alloc.h"
#include "region/lock.h"
#include "region/look.h"
#include "region/member.h"
#include "region/slot.h"
#include "region/undo.h"

#define HEADER  16u
#define EXTENT  (UINT64_C(1) << 28)
#define PAD     (UINT64_C(1) << 29)
#define JUMP    (UINT64_C(1) << 30)
#define SIZES   (EXTENT - 1)
#define OFFSETS ((UINT64_C(1) << 48) - 1)

#define MOST_CAPACITY (UINT64_C(1) << 40)

struct record {
    uint64_t before;
    _Atomic uint64_t word;
    char payload[];
};
struct extent_record {
    cvy_ref ref;
    uint64_t size;
};

/* What a thread has taken and not yet returned to its caller, in its slot's journal. */
enum journal { J_RING, J_POSITION, J_COUNT };

/* ---- positions and records ---- */

static uint16_t number_of(uint64_t position)
{
    return (uint16_t)(position >> 48);
}
static uint64_t offset_of(uint64_t position)
{
    return position & OFFSETS;
}
static uint64_t start_of(uint16_t number)
{
    return (uint64_t)number << 48;
}
static struct cvy_segment *segment_of(struct cvy_ring *ring, uint16_t number)
{
    return &ring->segments[number % CVY_SEGMENTS];
}
static struct record *record_at(struct cvy_ring *ring, uint64_t position)
{
    const struct cvy_segment *s = segment_of(ring, number_of(position));
    return (struct record *)(void *)((char *)cvy_at(s->at) +
                                     (offset_of(position) & (s->capacity - 1)));
}
static uint64_t record_size(uint64_t payload)
{
    return HEADER + cvy_round_up(payload, 16);
}
static uint64_t size_in(uint64_t word)
{
    return (word & SIZES) - 1;
}
static uint64_t word_of(uint32_t ordinal, uint64_t flags, uint64_t payload)
{
    return (uint64_t)ordinal << 32 | flags | (payload + 1);
}

/* The position behind a record. */
static uint64_t behind(uint64_t position, uint64_t word)
{
    if (word & JUMP)
        return start_of((uint16_t)(number_of(position) + 1));
    return position + record_size(size_in(word));
}

void cvy_ring_init(struct cvy_ring *ring, void *object)
{
    ring->object = cvy_ref_of(object);
}

/* ---- locks ---- */

static uint64_t items_size(const struct record *r, uint64_t word)
{
    const struct extent_record *e = (const void *)r->payload;
    return word & EXTENT ? e->size : size_in(word);
}

/* What was committed and not noted, and an extent that was not committed. */
static void repair_put(struct cvy_ring *ring)
{
    uint64_t tail = atomic_load(&ring->tail), word;
    while (segment_of(ring, number_of(tail))->at &&
           (word = atomic_load(&record_at(ring, tail)->word))) {
        const struct record *r = record_at(ring, tail);
        if (!(word & (PAD | JUMP))) {
            atomic_store(&ring->put_ordinal, (uint32_t)(word >> 32) + 1);
            atomic_store(&ring->put_bytes, r->before + items_size(r, word));
        }
        tail = behind(tail, word);
        atomic_store(&ring->tail, tail);
    }
    cvy_region_lock();
    if (ring->put_extent) {
        if (ring->put_extent_at == tail) /* its record was not committed */
            cvy_run_give(ring->put_extent);
        cvy_set64(&ring->put_extent, 0);
    }
    cvy_region_unlock();
}

static void give_old_segments(struct cvy_ring *ring)
{
    while (ring->first_segment != number_of(atomic_load(&ring->head))) {
        cvy_region_lock();
        struct cvy_segment *s = segment_of(ring, (uint16_t)ring->first_segment);
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
    if (slot->journal[J_POSITION] != atomic_load(&ring->head))
        cvy_set64((uint64_t *)(uintptr_t)&ring->lost,
                  atomic_load(&ring->lost) + slot->journal[J_COUNT]);
    cvy_set64(&slot->journal[J_RING], 0);
}

/* For whoever frees the slot of a dead thread. */
static void thread_died(struct cvy_slot *slot)
{
    if (slot->journal[J_RING])
        settle_journal(slot, cvy_at(slot->journal[J_RING]));
}

__attribute__((constructor)) static void hear_of_deaths(void)
{
    cvy_on_slot_death = thread_died;
}

static void repair_get(struct cvy_ring *ring, uint32_t dead)
{
    cvy_region_lock();
    if (ring->get_extent && ring->get_extent_at != atomic_load(&ring->head))
        cvy_run_give(ring->get_extent);
    cvy_set64(&ring->get_extent, 0);
    struct cvy_slot *slot = cvy_slot_at(CVY_INDEX_OF(dead));
    if (cvy_slot_owner(CVY_INDEX_OF(dead)) == dead &&
        slot->journal[J_RING] == cvy_ref_of(ring))
        settle_journal(slot, ring);
    cvy_region_unlock();
    give_old_segments(ring);
}

/* It is held for a moment only: who does not want to wait for a message waits for that. */
static int lock(cvy_word *word, int64_t deadline, uint32_t *ret_dead)
{
    if (deadline <= 0)
        deadline = cvy_os_now() + COVEY_MSEC(1);
    struct cvy_taker taker = {.me = cvy_thread_owner(),
                              .is_dead = cvy_slot_is_dead,
                              .what = cvy_ref_of(word)};
    int r = cvy_lock_take(word, &taker, deadline);
    *ret_dead = taker.dead;
    return r;
}

static inline bool lock_at_once(cvy_word *word)
{
    uint32_t free_word = 0;
    return cvy_likely(atomic_compare_exchange_strong_explicit(
        word, &free_word, cvy_thread_owner(), memory_order_acquire,
        memory_order_relaxed));
}

int cvy_ring_lock_put(struct cvy_ring *ring, int64_t deadline)
{
    uint32_t dead;
    if (lock_at_once(&ring->put_lock))
        return 0;
    int r = lock(&ring->put_lock, deadline, &dead);
    if (r == CVY_OWNER_DIED)
        repair_put(ring);
    return r < 0 ? r : 0;
}

int cvy_ring_lock_get(struct cvy_ring *ring, int64_t deadline)
{
    uint32_t dead;
    if (lock_at_once(&ring->get_lock))
        return 0;
    int r = lock(&ring->get_lock, deadline, &dead);
    if (r == CVY_OWNER_DIED)
        repair_get(ring, dead);
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
        if (head != tail) {
            const struct record *r = record_at(ring, head);
            *ret_items =
                ordinal -
                (uint32_t)(atomic_load_explicit(&r->word, memory_order_acquire) >> 32);
            *ret_bytes = bytes - r->before;
        }
        atomic_thread_fence(memory_order_acquire);
        if (atomic_load(&ring->head) == head && atomic_load(&ring->tail) == tail)
            return;
    }
}

/* The run of the segment `number`, entered together. */
static int make_segment(struct cvy_ring *ring, uint16_t number, uint64_t capacity)
{
    struct cvy_segment *s = segment_of(ring, number);
    cvy_ref ref = 0;
    cvy_region_lock();
    int r = 0;
    if (s->at && s->at != ring->first_run)
        cvy_run_give(s->at); /* of a producer who died before it led there */
    r = cvy_run_take(capacity, CVY_RUN_OBJECT, ring->object, &ref);
    if (r < 0) {
        cvy_rollback();
    } else {
        cvy_set64(&s->at, ref);
        cvy_set64(&s->capacity, capacity);
        if (!ring->first_run)
            cvy_set64(&ring->first_run, ref);
        atomic_store_explicit(&((struct record *)cvy_at(ref))->word, 0,
                              memory_order_relaxed);
    }
    cvy_region_unlock();
    return r;
}

/* Lead on to the next segment, which is ready. */
static void jump(struct cvy_ring *ring)
{
    uint64_t tail = atomic_load_explicit(&ring->tail, memory_order_relaxed);
    struct record *r = record_at(ring, tail);
    r->before = atomic_load_explicit(&ring->put_bytes, memory_order_relaxed);
    atomic_store_explicit(&r->word, word_of(atomic_load(&ring->put_ordinal), JUMP, 0),
                          memory_order_release);
    atomic_store_explicit(&ring->tail, start_of((uint16_t)(number_of(tail) + 1)),
                          memory_order_release);
}

static int grow(struct cvy_ring *ring, uint64_t need)
{
    uint16_t number = number_of(atomic_load(&ring->tail));
    uint64_t capacity = segment_of(ring, number)->capacity * 2;
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
    uint64_t from = number_of(head) == number_of(tail) ? offset_of(head) : 0;
    return capacity - (offset_of(tail) - from);
}

/* Make the ring such that `size` bytes of record fit at the tail, without a gap. */
static int make_room(struct cvy_ring *ring, uint64_t size)
{
    for (;;) {
        uint64_t tail = atomic_load_explicit(&ring->tail, memory_order_relaxed);
        const struct cvy_segment *s = segment_of(ring, number_of(tail));
        if (cvy_unlikely(!s->at)) {
            int r = make_segment(ring, number_of(tail), CVY_FIRST_SEGMENT);
            if (r < 0)
                return r;
            continue;
        }
        uint64_t place = offset_of(tail) & (s->capacity - 1), pad = 0;
        if (place + size > s->capacity)
            pad = s->capacity - place;
        if (cvy_unlikely(pad + size + HEADER > room_in(ring, tail, s->capacity))) {
            uint64_t head = atomic_load_explicit(&ring->head, memory_order_acquire);
            if (head != ring->head_seen) {
                ring->head_seen = head;
                continue;
            }
            int r = grow(ring, size + HEADER);
            if (r < 0)
                return r;
            continue;
        }
        if (cvy_likely(!pad))
            return 0;
        struct record *r = record_at(ring, tail);
        atomic_store_explicit(&record_at(ring, tail + pad)->word, 0,
                              memory_order_relaxed);
        r->before = atomic_load_explicit(&ring->put_bytes, memory_order_relaxed);
        atomic_store_explicit(
            &r->word, word_of(atomic_load(&ring->put_ordinal), PAD, pad - HEADER),
            memory_order_release);
        atomic_store_explicit(&ring->tail, tail + pad, memory_order_release);
    }
}

/* Write all of a record but its word; and a 0 behind it, where nothing is yet. */
static void write_record(struct cvy_ring *ring, uint64_t at, uint64_t before,
                         const void *payload, uint64_t size)
{
    struct record *r = record_at(ring, at);
    atomic_store_explicit(&record_at(ring, at + record_size(size))->word, 0,
                          memory_order_relaxed);
    r->before = before;
    if (size)
        memcpy(r->payload, payload, size);
}

static void note_put(struct cvy_ring *ring, uint32_t items, uint64_t bytes,
                     uint64_t tail)
{
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

static void put_one(struct cvy_ring *ring, const void *payload, uint64_t size,
                    uint64_t flags, uint64_t bytes)
{
    uint64_t tail = atomic_load_explicit(&ring->tail, memory_order_relaxed);
    uint32_t ordinal = atomic_load_explicit(&ring->put_ordinal, memory_order_relaxed);
    write_record(ring, tail,
                 atomic_load_explicit(&ring->put_bytes, memory_order_relaxed), payload,
                 size);
    atomic_store_explicit(&record_at(ring, tail)->word, word_of(ordinal, flags, size),
                          memory_order_release);
    note_put(ring, 1, bytes, tail + record_size(size));
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
        write_record(ring, at, before, messages[i].data, messages[i].size);
        if (i)
            atomic_store_explicit(&record_at(ring, at)->word,
                                  word_of(ordinal + (uint32_t)i, 0, messages[i].size),
                                  memory_order_relaxed);
        before += messages[i].size;
        at += record_size(messages[i].size);
    }
    atomic_store_explicit(&record_at(ring, tail)->word,
                          word_of(ordinal, 0, messages[0].size), memory_order_release);
    note_put(ring, (uint32_t)count, before - bytes, at);
}

int cvy_ring_put(struct cvy_ring *ring, const struct covey_view *messages, size_t count)
{
    uint64_t size = 0;
    for (size_t i = 0; i < count; i++)
        size += record_size(messages[i].size);
    int r = make_room(ring, size);
    if (r < 0)
        return r;
    if (cvy_likely(count == 1))
        put_one(ring, messages->data, messages->size, 0, messages->size);
    else
        put_several(ring, messages, count);
    return 0;
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

int cvy_ring_put_extent(struct cvy_ring *ring, cvy_ref ref, size_t size)
{
    struct extent_record e = {ref, size};
    int r = make_room(ring, record_size(sizeof e));
    if (r < 0)
        return r;
    cvy_region_lock();
    cvy_run_pass(ref, CVY_RUN_OBJECT, ring->object);
    cvy_set64(&ring->put_extent, ref);
    cvy_set64(&ring->put_extent_at, atomic_load(&ring->tail));
    cvy_region_unlock();
    put_one(ring, &e, sizeof e, EXTENT, size);
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
        if (cvy_unlikely(!segment_of(ring, number_of(at))->at))
            return -EAGAIN;
        const struct record *r = record_at(ring, at);
        uint64_t word = atomic_load_explicit(&r->word, memory_order_acquire);
        if (!word)
            return -EAGAIN;
        if (cvy_likely(!(word & (PAD | JUMP)))) {
            const struct extent_record *e = (const void *)r->payload;
            bool is_extent = word & EXTENT;
            *ret_item = (struct cvy_item){
                .position = at,
                .after = behind(at, word),
                .data = is_extent ? cvy_at(e->ref) : r->payload,
                .size = is_extent ? e->size : size_in(word),
                .extent = is_extent ? e->ref : 0,
            };
            return 0;
        }
        at = behind(at, word);
        if (is_head) {
            atomic_store_explicit(&ring->head, at, memory_order_release);
            if (word & JUMP)
                give_old_segments(ring);
        }
    }
}

static void note_taking(struct cvy_ring *ring, uint32_t count)
{
    struct cvy_slot *slot = cvy_slot_at(CVY_INDEX_OF(cvy_thread_owner()));
    slot->journal[J_POSITION] = atomic_load_explicit(&ring->head, memory_order_relaxed);
    slot->journal[J_COUNT] = count;
    __atomic_store_n(&slot->journal[J_RING], cvy_ref_of(ring), __ATOMIC_RELEASE);
}

void cvy_ring_take(struct cvy_ring *ring, const struct cvy_item *last, uint32_t count)
{
    uint16_t number =
        number_of(atomic_load_explicit(&ring->head, memory_order_relaxed));
    note_taking(ring, count);
    atomic_store_explicit(&ring->head, last->after, memory_order_release);
    if (cvy_unlikely(number != number_of(last->after)))
        give_old_segments(ring);
}

void cvy_ring_take_extent(struct cvy_ring *ring, const struct cvy_item *item)
{
    ring->get_extent_at = item->position;
    __atomic_store_n(&ring->get_extent, item->extent, __ATOMIC_RELEASE);
    cvy_ring_take(ring, item, 1);
    cvy_region_lock();
    cvy_run_pass(item->extent, CVY_RUN_MEMBER, cvy_member_owner());
    cvy_set64(&ring->get_extent, 0);
    cvy_region_unlock();
}

void cvy_ring_arrived(void)
{
    struct cvy_slot *slot = cvy_slot_at(CVY_INDEX_OF(cvy_thread_owner()));
    __atomic_store_n(&slot->journal[J_RING], 0, __ATOMIC_RELEASE);
}

void cvy_ring_shrink(struct cvy_ring *ring)
{
    uint64_t head = atomic_load(&ring->head);
    if (segment_of(ring, number_of(head))->capacity <= CVY_FIRST_SEGMENT ||
        !lock_at_once(&ring->put_lock))
        return;
    uint64_t tail = atomic_load(&ring->tail);
    struct cvy_segment *next = segment_of(ring, (uint16_t)(number_of(tail) + 1));
    if (head == tail && !atomic_load(&record_at(ring, tail)->word)) {
        cvy_region_lock();
        if (next->at && next->at != ring->first_run)
            cvy_run_give(next->at);
        cvy_set64(&next->at, ring->first_run);
        cvy_set64(&next->capacity, CVY_FIRST_SEGMENT);
        atomic_store(&((struct record *)cvy_at(ring->first_run))->word, 0);
        cvy_region_unlock();
        jump(ring);
        atomic_store(&ring->head, atomic_load(&ring->tail));
        give_old_segments(ring);
    }
    cvy_ring_unlock_put(ring);
}

bool cvy_ring_is_empty(struct cvy_ring *ring)
{
    uint64_t head = atomic_load_explicit(&ring->head, memory_order_relaxed);
    struct cvy_segment *s = segment_of(ring, number_of(head));
    if (!__atomic_load_n(&s->at, __ATOMIC_RELAXED))
        return true;
    return !atomic_load_explicit(&record_at(ring, head)->word, memory_order_acquire);
}

uint32_t cvy_ring_count_in(const struct cvy_ring *ring, const struct cvy_head *head)
{
    uint64_t position = atomic_load(&ring->head);
    const struct cvy_segment *s = &ring->segments[number_of(position) % CVY_SEGMENTS];
    cvy_ref at = s->at + (offset_of(position) & (s->capacity - 1));
    const struct record *r = cvy_look_at(head, at);
    if (position == atomic_load(&ring->tail) || !s->at || !r)
        return 0;
    return atomic_load(&ring->put_ordinal) - (uint32_t)(atomic_load(&r->word) >> 32);
}
