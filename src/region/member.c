/* SPDX-License-Identifier: MIT */
/* member.c: the tables of processes and threads, and telling the dead from the living. */
#include "region/member.h"

#include <errno.h>
#include <string.h>

#include "base/error.h"
#include "base/mutant.h"
#include "region/alloc.h"
#include "region/lock.h"
#include "region/object.h"
#include "region/region.h"
#include "region/slot.h"
#include "region/undo.h"
#include "region/wait.h"

/* Records are reused first in first out, and not before so many are free: a word that
 * names a former user stays distinguishable for 2^26 process starts. */
#define FREE_MEMBERS_KEPT 8192u

static uint64_t *word_for_undo(struct cvy_member *m)
{
    return (uint64_t *)(uintptr_t)&m->word;
}

/* ---- asking ---- */

enum cvy_member_state cvy_member_state(uint32_t owner, int *ret_pid)
{
    uint64_t word = atomic_load(&cvy_member_at(CVY_INDEX_OF(owner))->word);
    if (cvy_user_generation(word) != CVY_GENERATION_OF(owner))
        return CVY_MEMBER_FREE;
    if (ret_pid)
        *ret_pid = cvy_user_id(word);
    return cvy_user_state(word);
}

uint32_t cvy_member_owner_at(uint32_t index)
{
    return CVY_OWNER(index,
                     cvy_user_generation(atomic_load(&cvy_member_at(index)->word)));
}

/* By its witness' life word, or by asking the kernel if there is no witness. Witnesses
 * change: what a former one's word says now is not about this process. */
static bool running_is_dead(struct cvy_member *m, uint64_t word, bool ask_kernel)
{
    for (;;) {
        uint32_t witness = __atomic_load_n(&m->witness, __ATOMIC_ACQUIRE);
        if (!witness || ask_kernel)
            return !cvy_os_is_running(cvy_user_id(word), m->known_ticks);
        if (!cvy_slot_life_ended(witness))
            return false;
        if (__atomic_load_n(&m->witness, __ATOMIC_ACQUIRE) == witness)
            return atomic_load(&m->word) == word;
    }
}

bool cvy_member_is_dead(uint32_t owner, bool ask_kernel)
{
    struct cvy_member *m = cvy_member_at(CVY_INDEX_OF(owner));
    uint64_t word = atomic_load(&m->word);
    if (cvy_user_generation(word) != CVY_GENERATION_OF(owner))
        return true;
    uint32_t starter;
    switch (cvy_user_state(word)) {
    case CVY_MEMBER_STARTING:
        if (cvy_user_id(word))
            return !cvy_os_is_running(cvy_user_id(word), m->known_ticks);
        starter = cvy_load32(&m->starter);
        return starter && cvy_member_is_dead(starter, ask_kernel);
    case CVY_MEMBER_RUNNING:
        return running_is_dead(m, word, ask_kernel);
    default:
        return true;
    }
}

int cvy_member_first_pid(void)
{
    return cvy_user_id(
        atomic_load_explicit(&cvy_member_at(0)->word, memory_order_relaxed));
}

bool cvy_member_is_gone(uint32_t owner)
{
    struct cvy_member *m = cvy_member_at(CVY_INDEX_OF(owner));
    uint64_t word = atomic_load(&m->word);
    return cvy_user_generation(word) != CVY_GENERATION_OF(owner) ||
           !cvy_os_is_running(cvy_user_id(word), m->known_ticks);
}

/* ---- making ---- */

/* The record to use next; region lock held. */
static int take_record(uint32_t *ret_index)
{
    struct cvy_head *h = cvy_head;
    uint32_t free_count = h->member_high - h->member_count;
    if (h->member_high < h->member_limit && free_count < FREE_MEMBERS_KEPT) {
        *ret_index = h->member_high;
        cvy_set32(&h->member_high, h->member_high + 1);
        return 0;
    }
    if (!h->member_free)
        return -EAGAIN;
    *ret_index = h->member_free - 1;
    cvy_set32(&h->member_free, cvy_member_at(*ret_index)->next_free);
    if (!h->member_free)
        cvy_set32(&h->member_free_last, 0);
    return 0;
}

/* With the region lock, if there is a record; else without it. */
static int lock_and_take_record(uint32_t *ret_index)
{
    cvy_region_lock();
    int r = take_record(ret_index);
    if (r == 0)
        return 0;
    cvy_region_unlock();
    cvy_members_sweep(); /* the dead of whom nobody took notice */
    cvy_region_lock();
    r = take_record(ret_index);
    if (r < 0)
        cvy_region_unlock();
    return r;
}

int cvy_member_new(const char *name, uint32_t *ret_member)
{
    uint32_t index = 0;
    int r = lock_and_take_record(&index);
    if (r < 0) {
        return cvy_fail(r, "the family has %u processes, which is its limit",
                        cvy_head->member_limit);
    }
    struct cvy_member *m = cvy_member_at(index);
    uint64_t word = atomic_load(&m->word);
    cvy_set32(&m->next_free, 0);
    cvy_set32(&m->starter, cvy_process_page->member);
    cvy_set32(&cvy_head->member_count, cvy_head->member_count + 1);
    /* A process that nobody started makes its own record: it may die before it is in it. */
    int pid = cvy_process_page->member ? 0 : cvy_os_pid();
    atomic_store_explicit(&m->known_ticks, pid ? cvy_os_boot_ticks() : 0,
                          memory_order_relaxed);
    m->exit_status = 0;
    memset(m->name, 0, sizeof m->name);
    memcpy(m->name, name, strnlen(name, sizeof m->name - 1));
    cvy_set64(word_for_undo(m),
              cvy_user_word(CVY_MEMBER_STARTING, cvy_user_generation(word), pid));
    *ret_member = CVY_OWNER(index, cvy_user_generation(word));
    cvy_region_unlock();
    return 0;
}

void cvy_member_rename(const char *name)
{
    struct cvy_member *m = cvy_member_at(CVY_INDEX_OF(cvy_member_owner()));
    cvy_region_lock();
    memset(m->name, 0, sizeof m->name);
    memcpy(m->name, name, strnlen(name, sizeof m->name - 1));
    cvy_region_unlock();
}

void cvy_member_set_pid(uint32_t member, int pid)
{
    struct cvy_member *m = cvy_member_at(CVY_INDEX_OF(member));
    uint32_t generation = CVY_GENERATION_OF(member);
    uint64_t expected = cvy_user_word(CVY_MEMBER_STARTING, generation, 0);
    /* It has begun. This spares the child the clock. */
    atomic_store_explicit(&m->known_ticks, cvy_os_boot_ticks(), memory_order_relaxed);
    (void)atomic_compare_exchange_strong(
        &m->word, &expected, cvy_user_word(CVY_MEMBER_STARTING, generation, pid));
}

int cvy_member_become(uint32_t member)
{
    struct cvy_member *m = cvy_member_at(CVY_INDEX_OF(member));
    uint32_t generation = CVY_GENERATION_OF(member);
    uint64_t word = atomic_load(&m->word);
    if (!m->starter)
        atomic_store_explicit(&m->known_ticks, cvy_os_boot_ticks(),
                              memory_order_relaxed);
    int pid;
    do {
        if (cvy_user_state(word) != CVY_MEMBER_STARTING ||
            cvy_user_generation(word) != generation)
            return cvy_fail(-ECANCELED, "this process was given up before it came up");
        /* The starter's number counts: this process may be in a namespace of its own. */
        pid = cvy_user_id(word) ? cvy_user_id(word) : cvy_os_pid();
    } while (!atomic_compare_exchange_weak(
        &m->word, &word, cvy_user_word(CVY_MEMBER_RUNNING, generation, pid)));
    cvy_process_page->member = member;
    return 0;
}

/* ---- ending ---- */

/* Drop what the member holds, in transactions that each leave a consistent state.
 * Region lock held, nothing uncommitted. */
static void drop_all(uint32_t index)
{
    struct cvy_member *m = cvy_member_at(index);
    while (m->holds) {
        cvy_hold_drop_first(index);
        cvy_commit();
    }
    while (m->extents) {
        cvy_extent_drop_first(index);
        cvy_commit();
    }
}

/* Free its threads' slots, then drop what it holds: what a thread was about to do is put
 * right in objects that are still there, also if this sweeper is killed in between. */
static void sweep(uint32_t index)
{
    struct cvy_member *m = cvy_member_at(index);
    while (m->slots) {
        uint32_t slot = m->slots - 1;
        cvy_slot_unlink(slot);
        cvy_commit();
        cvy_slot_free_unlinked(slot);
    }
    if (!CVY_MUTANT(region_holds))
        drop_all(index);
}

/* Other threads that are attached may be inside of calls, working on what this process
 * holds. What is theirs goes when the kernel has ended them. */
void cvy_member_leave(int status)
{
    uint32_t member = cvy_process_page->member, mine = cvy_thread_owner();
    struct cvy_member *m = cvy_member_at(CVY_INDEX_OF(member));
    uint32_t counted = !cvy_slot_at(CVY_INDEX_OF(mine))->aside; /* of this thread */
    cvy_attach_no_more();
    m->exit_status = status;
    cvy_region_lock();
    /* Private objects are its starter's, who drops these holds when reaping it. */
    if (m->thread_count <= counted && (m->shared_holds || m->extents || !m->starter))
        drop_all(CVY_INDEX_OF(member));
    cvy_set32(&m->witness, 0);
    if (cvy_slot_is_linked(mine))
        cvy_slot_unlink_alive(mine);
    cvy_set64(word_for_undo(m),
              cvy_user_word(CVY_MEMBER_ENDED, CVY_GENERATION_OF(member),
                            cvy_user_id(atomic_load(&m->word))));
    cvy_region_unlock();
    cvy_bell_disarm();
    cvy_slot_let_go(mine);
    cvy_thread.epoch = 0;
    if (atomic_load(&cvy_process_page->owns))
        cvy_gong_strike();
}

static void free_record(uint32_t index)
{
    struct cvy_head *h = cvy_head;
    struct cvy_member *m = cvy_member_at(index);
    cvy_set32(&m->witness, 0);
    cvy_set32(&m->starter, 0);
    cvy_set64(&m->process, 0);
    cvy_set64(word_for_undo(m), cvy_user_left(atomic_load(&m->word)));
    if (h->member_free_last)
        cvy_set32(&cvy_member_at(h->member_free_last - 1)->next_free, index + 1);
    else
        cvy_set32(&h->member_free, index + 1);
    cvy_set32(&h->member_free_last, index + 1);
    cvy_set32(&h->member_count, h->member_count - 1);
}

void cvy_member_release(uint32_t member, bool *ret_left, int *ret_status)
{
    uint32_t index = CVY_INDEX_OF(member);
    struct cvy_member *m = cvy_member_at(index);
    cvy_region_lock();
    enum cvy_member_state state = cvy_member_state(member, NULL);
    if (ret_left)
        *ret_left = state == CVY_MEMBER_ENDED;
    if (ret_status && state == CVY_MEMBER_ENDED)
        *ret_status = m->exit_status;
    if (state != CVY_MEMBER_FREE) {
        if (state == CVY_MEMBER_RUNNING)
            atomic_fetch_add(&cvy_head->deaths, 1);
        sweep(index);
        free_record(index);
    }
    cvy_region_unlock();
}

/* Whether none of its threads runs any more. That it said so, or its witness' end, is not
 * enough: others may be in a call, or have not noticed yet that they are killed. */
static bool is_over(const struct cvy_member *m, uint64_t word)
{
    for (uint32_t slot = m->slots; slot; slot = cvy_slot_at(slot - 1)->next)
        if (!cvy_slot_life_ended(cvy_slot_owner(slot - 1)))
            return !cvy_os_is_running(cvy_user_id(word), m->known_ticks);
    return true;
}

/* Sweep a dead member. Its record is freed if nobody is left to release it. */
static void bury(uint32_t index, uint64_t word)
{
    struct cvy_member *m = cvy_member_at(index);
    uint32_t starter = m->starter;
    enum cvy_member_state state = cvy_user_state(word);
    if (!is_over(m, word))
        return;
    if (state == CVY_MEMBER_STARTING || state == CVY_MEMBER_RUNNING) {
        uint64_t dead = cvy_user_word(CVY_MEMBER_DEAD, cvy_user_generation(word),
                                      cvy_user_id(word));
        if (!atomic_compare_exchange_strong(&m->word, &word, dead))
            return;
        atomic_fetch_add(&cvy_head->deaths, 1);
    }
    sweep(index);
    if (!starter || cvy_member_is_dead(starter, false))
        free_record(index);
    cvy_commit();
}

static void sweep_members(bool ask_kernel)
{
    cvy_region_lock();
    for (uint32_t i = 0; i < cvy_head->member_high; i++) {
        uint64_t word = atomic_load(&cvy_member_at(i)->word);
        if (cvy_user_state(word) == CVY_MEMBER_FREE)
            continue;
        uint32_t owner = CVY_OWNER(i, cvy_user_generation(word));
        if (cvy_member_is_dead(owner, false) ||
            (ask_kernel && cvy_member_is_dead(owner, true)))
            bury(i, word);
    }
    cvy_slots_reclaim();
    cvy_region_unlock();
}

void cvy_members_sweep(void)
{
    sweep_members(false);
}

void cvy_members_sweep_asking(void)
{
    sweep_members(true);
}
