/* SPDX-License-Identifier: MIT */
/* slot.c: claiming, linking and giving back the threads' records. */
#include "region/slot.h"

#include <errno.h>
#include <linux/futex.h>
#include <string.h>

#include "base/error.h"
#include "region/lock.h"
#include "region/member.h"
#include "region/undo.h"

/* Slots are claimed in turn from a window of at least so many, so that the longest
 * unused comes first and an owner word does not come again for 2^26 claims. */
#define WINDOW_LEAST 8192u

static uint64_t *word_for_undo(struct cvy_slot *s)
{
    return (uint64_t *)(uintptr_t)&s->word;
}

uint32_t cvy_slot_owner(uint32_t index)
{
    return CVY_OWNER(index,
                     cvy_user_generation(atomic_load(&cvy_slot_at(index)->word)));
}

/* ---- life ---- */

/* An unlocked life mutex to copy: making one anew would cost a fork child two page faults
 * in libc's code. glibc's mutexes have no address in themselves while unlocked. */
static pthread_mutex_t blank;

int cvy_slot_prepare(void)
{
    pthread_mutexattr_t attr;
    int r = pthread_mutexattr_init(&attr);
    if (r)
        return -r;
    r = pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
    if (!r)
        r = pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
    if (!r)
        r = pthread_mutex_init(&blank, &attr);
    (void)pthread_mutexattr_destroy(&attr);
    return -r;
}

static int lock_life(struct cvy_slot *s)
{
    memcpy(&s->life, &blank, sizeof blank);
    return -pthread_mutex_lock(&s->life);
}

bool cvy_slot_life_ended(uint32_t owner)
{
    struct cvy_slot *s = cvy_slot_at(CVY_INDEX_OF(owner));
    uint64_t word = atomic_load(&s->word);
    if (cvy_user_generation(word) != CVY_GENERATION_OF(owner) ||
        cvy_user_state(word) == CVY_SLOT_FREE)
        return true;
    uint32_t life = __atomic_load_n((uint32_t *)(void *)&s->life, __ATOMIC_ACQUIRE);
    return (life & FUTEX_OWNER_DIED) && atomic_load(&s->word) == word;
}

bool cvy_slot_is_dead(uint32_t owner, bool ask_kernel)
{
    struct cvy_slot *s = cvy_slot_at(CVY_INDEX_OF(owner));
    if (cvy_slot_life_ended(owner))
        return true;
    if (!ask_kernel)
        return false;
    uint32_t member = __atomic_load_n(&s->member, __ATOMIC_ACQUIRE);
    if (member) /* which may have said that it leaves, while this thread is in a call */
        return cvy_member_is_gone(member) || cvy_slot_life_ended(owner);
    /* It holds a lock while it is being linked: only its thread id is known. */
    int tid = (int)(uint32_t)atomic_load(&s->word);
    return !cvy_os_is_running(tid, 0) || cvy_slot_life_ended(owner);
}

void cvy_thread_waits(cvy_ref what, int64_t since)
{
    struct cvy_slot *s = cvy_slot_at(CVY_INDEX_OF(cvy_thread.owner));
    atomic_store_explicit(&s->waits_since, (uint64_t)since, memory_order_relaxed);
    atomic_store_explicit(&s->waits_for, what, memory_order_relaxed);
}

/* ---- claiming ---- */

/* All slots but the last, which is kept for make_room. */
static uint32_t most_slots(void)
{
    return cvy_head->slot_limit - 1;
}

static uint32_t window(void)
{
    uint32_t wanted = WINDOW_LEAST;
    while (wanted < 4 * cvy_load32(&cvy_head->thread_count))
        wanted *= 2;
    return wanted < most_slots() ? wanted : most_slots();
}

static void note_high(uint32_t index)
{
    uint32_t high = atomic_load(&cvy_head->slot_high);
    while (high <= index &&
           !atomic_compare_exchange_weak(&cvy_head->slot_high, &high, index + 1))
        ;
}

/* Claim the slot if it is free. Returns: 0; -EBUSY; other: no robust mutexes here. */
void (*cvy_on_slot_death)(struct cvy_slot *slot);

static int claim(uint32_t index, uint32_t *ret_owner)
{
    struct cvy_slot *s = cvy_slot_at(index);
    uint64_t word = atomic_load(&s->word);
    uint32_t generation = cvy_user_generation(word);
    if (cvy_user_state(word) != CVY_SLOT_FREE ||
        !atomic_compare_exchange_strong(
            &s->word, &word, cvy_user_word(CVY_SLOT_CLAIMED, generation, cvy_os_tid())))
        return -EBUSY;
    int r = lock_life(s);
    if (r < 0) {
        atomic_store(&s->word, cvy_user_left(word));
        return r;
    }
    atomic_store_explicit(&s->waits_for, 0, memory_order_relaxed);
    *ret_owner = CVY_OWNER(index, generation);
    return 0;
}

/* Claim one of the first `limit` slots, the longest unused first. */
static int claim_in_turn(uint32_t limit, uint32_t *ret_owner)
{
    int r = -EBUSY;
    for (uint32_t tried = 0; tried < limit && r == -EBUSY; tried++) {
        uint32_t index = atomic_fetch_add(&cvy_head->slot_cursor, 1) % limit;
        r = claim(index, ret_owner);
        if (r == 0)
            note_high(index);
    }
    return r;
}

/* Free what belongs to dead threads. That needs the region lock, hence a slot: there is
 * one that nobody keeps. Who is at it at the moment is not waited for if it is dead. */
static int make_room(void)
{
    uint32_t last = most_slots();
    int r;
    while ((r = claim(last, &cvy_thread.owner)) == -EBUSY) {
        uint64_t word = atomic_load(&cvy_slot_at(last)->word);
        if (cvy_user_state(word) != CVY_SLOT_FREE &&
            !cvy_os_is_running(cvy_user_id(word), 0))
            (void)atomic_compare_exchange_strong(&cvy_slot_at(last)->word, &word,
                                                 cvy_user_left(word));
        else
            cvy_os_yield();
    }
    if (r < 0)
        return r;
    cvy_members_sweep_asking();
    cvy_slot_let_go(cvy_thread.owner);
    return 0;
}

int cvy_slot_claim(uint32_t *ret_owner)
{
    int r = claim_in_turn(window(), ret_owner);
    if (r == -EBUSY)
        r = make_room();
    else
        return r < 0 ? cvy_fail_os(r, "attach: a robust mutex") : 0;
    if (r == 0)
        r = claim_in_turn(most_slots(), ret_owner);
    if (r == -EBUSY)
        return cvy_fail(-EAGAIN,
                        "attach: the family has %u threads, which is its limit",
                        most_slots());
    return r < 0 ? cvy_fail_os(r, "attach: a robust mutex") : 0;
}

void cvy_slot_link(uint32_t owner, uint32_t member)
{
    uint32_t index = CVY_INDEX_OF(owner);
    struct cvy_slot *s = cvy_slot_at(index);
    struct cvy_member *m = cvy_member_at(CVY_INDEX_OF(member));
    cvy_region_lock();
    enum cvy_member_state state = cvy_member_state(member, NULL);
    if (state == CVY_MEMBER_FREE || state == CVY_MEMBER_DEAD) {
        cvy_region_unlock(); /* the process is being killed, this thread has not noticed */
        return;
    }
    cvy_set32(&s->previous, 0);
    cvy_set32(&s->next, m->slots);
    if (m->slots)
        cvy_set32(&cvy_slot_at(m->slots - 1)->previous, index + 1);
    cvy_set32(&m->slots, index + 1);
    cvy_set32(&s->member, member);
    if (!m->witness)
        cvy_set32(&m->witness, owner);
    cvy_set32(&m->thread_count, m->thread_count + 1);
    cvy_set32(&cvy_head->thread_count, cvy_head->thread_count + 1);
    uint64_t word = atomic_load(&s->word);
    cvy_set64(
        word_for_undo(s),
        cvy_user_word(CVY_SLOT_ATTACHED, cvy_user_generation(word), cvy_user_id(word)));
    cvy_region_unlock();
}

/* ---- giving back ---- */

bool cvy_slot_is_linked(uint32_t owner)
{
    return cvy_slot_at(CVY_INDEX_OF(owner))->member != 0;
}

static void take_out(uint32_t index)
{
    struct cvy_slot *s = cvy_slot_at(index);
    struct cvy_member *m = cvy_member_at(CVY_INDEX_OF(s->member));
    if (s->next)
        cvy_set32(&cvy_slot_at(s->next - 1)->previous, s->previous);
    if (s->previous)
        cvy_set32(&cvy_slot_at(s->previous - 1)->next, s->next);
    else
        cvy_set32(&m->slots, s->next);
    if (CVY_INDEX_OF(m->witness) == index && m->witness) {
        uint32_t heir = m->slots;
        cvy_set32(&m->witness, heir ? cvy_slot_owner(heir - 1) : 0);
    }
    cvy_set32(&s->next, 0);
    cvy_set32(&s->previous, 0);
    cvy_set32(&s->member, 0);
    if (s->aside)
        cvy_set32(&s->aside, 0);
    else
        cvy_set32(&m->thread_count, m->thread_count - 1);
    cvy_set32(&cvy_head->thread_count, cvy_head->thread_count - 1);
}

void cvy_thread_set_aside(void)
{
    struct cvy_slot *s = cvy_slot_at(CVY_INDEX_OF(cvy_thread_owner()));
    cvy_region_lock();
    if (s->member && !s->aside) {
        struct cvy_member *m = cvy_member_at(CVY_INDEX_OF(s->member));
        cvy_set32(&s->aside, 1);
        cvy_set32(&m->thread_count, m->thread_count - 1);
    }
    cvy_region_unlock();
}

void cvy_slot_unlink_alive(uint32_t owner)
{
    take_out(CVY_INDEX_OF(owner));
}

void cvy_slot_unlink(uint32_t index)
{
    struct cvy_slot *s = cvy_slot_at(index);
    if (cvy_on_slot_death)
        cvy_on_slot_death(s);
    take_out(index);
    uint32_t generation = cvy_user_generation(atomic_load(&s->word));
    cvy_set64(word_for_undo(s), cvy_user_word(CVY_SLOT_CLAIMED, generation, 0));
}

void cvy_slot_free_unlinked(uint32_t index)
{
    struct cvy_slot *s = cvy_slot_at(index);
    atomic_store(&s->word, cvy_user_left(atomic_load(&s->word)));
}

void cvy_slot_let_go(uint32_t owner)
{
    struct cvy_slot *s = cvy_slot_at(CVY_INDEX_OF(owner));
    uint64_t word = atomic_load(&s->word);
    (void)pthread_mutex_unlock(&s->life);
    atomic_store(&s->word, cvy_user_left(word));
}

void cvy_slot_detach(uint32_t owner)
{
    cvy_region_lock();
    if (cvy_slot_is_linked(owner))
        cvy_slot_unlink_alive(owner);
    cvy_region_unlock();
    cvy_slot_let_go(owner);
}

void cvy_slots_reclaim(void)
{
    uint32_t high = atomic_load(&cvy_head->slot_high);
    for (uint32_t i = 0; i < high; i++) {
        struct cvy_slot *s = cvy_slot_at(i);
        uint64_t word = atomic_load(&s->word);
        if (cvy_user_state(word) == CVY_SLOT_FREE || s->member)
            continue;
        if (cvy_os_is_running(cvy_user_id(word), 0))
            continue;
        (void)atomic_compare_exchange_strong(&s->word, &word, cvy_user_left(word));
    }
}
