/* SPDX-License-Identifier: MIT */
/* condition.c: waiting for a change of what a lock protects.
 *
 * Each waiting thread has an entry in the table, whose upper half is its ticket, and
 * sleeps on the lower:
 *
 *     entry:  63 .... 32   31       30         29 ....... 0
 *             ticket       ASLEEP   NOTIFIED   owner word of the slot
 *
 *     {0, me}  ->  {ticket, me}            it waits; with the lock held
 *              ->  {ticket, me | ASLEEP}   by itself
 *              ->  {ticket, me | NOTIFIED} by a notify, lowest tickets first, or inherited
 *              ->  {0, me}                 with the lock held again
 *
 * Every step is one compare-and-swap. What a death leaves:
 *   - a waiter that is dead: passed over, its entry is freed with the lock held;
 *   - a waiter that is dead and was notified: another waiter who hears of the death marks
 *     itself notified, then frees the dead one's entry. If it dies in between, or two do
 *     it at once, there is one notification too many, never one too few. A mark that comes
 *     too late, since the waiter has another by then, is therefore no notification: it is
 *     for somebody else;
 *   - a notify that was not carried through: `notify` says whose it is and how many are
 *     left. Waiters who find that owner dead mark themselves and count down. Who comes to
 *     wait later was not meant: it first finishes that notify for those who were there. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>

#include "base/error.h"
#include "base/mutant.h"
#include "base/opts.h"
#include "region/look.h"
#include "region/wait.h"
#include "sync/sync.h"

#define ASLEEP   CVY_WAITERS
#define NOTIFIED 0x40000000u
#define ALL      UINT32_MAX

_Static_assert(offsetof(struct covey_condition, lock) == sizeof(struct cvy_object),
               "as cvy_object_keep has it");

static struct covey_lock *lock_of(const covey_condition *c)
{
    return cvy_at(c->lock);
}

static int enter(covey_condition *c, const char *call)
{
    return cvy_sync_enter(c, CVY_KIND_CONDITION, call);
}

static int enter_with_lock(covey_condition *c, const char *call)
{
    int r = enter(c, call);
    if (r >= 0 && !cvy_lock_is_mine(lock_of(c)))
        return cvy_fail(COVEY_ENOTOWNER, "%s: the lock of condition %s is not acquired",
                        call, c->name);
    return r;
}

/* ---- entries ---- */

static bool is_waiting(uint64_t entry)
{
    return cvy_entry_has(entry) && !(entry & NOTIFIED);
}

static bool entry_is_free(void *object, uint64_t entry)
{
    (void)object;
    return !cvy_entry_has(entry) && cvy_slot_is_dead(cvy_entry_owner(entry), false);
}

/* Mark a waiting entry. Returns: whether it was waiting. */
static bool mark(cvy_entry *entry)
{
    uint64_t seen = atomic_load(entry);
    while (is_waiting(seen)) {
        uint64_t marked = (seen & ~(uint64_t)ASLEEP) | NOTIFIED;
        if (!atomic_compare_exchange_weak(entry, &seen, marked))
            continue;
        if (seen & ASLEEP)
            (void)cvy_os_futex_wake(cvy_low_half(entry), 1);
        return true;
    }
    return false;
}

/* Tickets are counted modulo 2^32. */
static bool is_before(covey_condition *c, uint32_t ticket, uint32_t other)
{
    uint32_t last = atomic_load(&c->tickets);
    return last - ticket > last - other;
}

/* The living waiter with the lowest ticket, NULL if there is none. Tells of dead ones, if
 * asked to. */
static cvy_entry *longest_waiting(covey_condition *c, bool *ret_any_dead)
{
    cvy_entry *entry, *best = NULL;
    uint32_t at = 0, best_ticket = 0;
    while ((entry = cvy_table_next(&c->waiters, &at))) {
        uint64_t seen = atomic_load(entry);
        uint32_t ticket = cvy_entry_has(seen);
        if (!ticket)
            continue;
        if (cvy_slot_is_dead(cvy_entry_owner(seen), false)) {
            if (ret_any_dead)
                *ret_any_dead = true;
        } else if (is_waiting(seen) && (!best || is_before(c, ticket, best_ticket))) {
            __builtin_prefetch(entry, 1); /* its waiter has it, and it will be marked */
            best = entry;
            best_ticket = ticket;
        }
    }
    return best;
}

/* Notify who has waited longest. Who marks itself between choice and mark has inherited a
 * notification: this one is another's. Returns: false if nobody waits. */
static bool mark_longest_waiting(covey_condition *c)
{
    cvy_entry *entry;
    while ((entry = longest_waiting(c, NULL)))
        if (mark(entry))
            return true;
    return false;
}

/* Free the entries of the dead; the lock is held. Who was notified bequeaths that. */
static void bury_waiters(covey_condition *c)
{
    cvy_entry *entry;
    uint32_t at = 0;
    while ((entry = cvy_table_next(&c->waiters, &at))) {
        uint64_t seen = atomic_load(entry);
        if (!cvy_entry_has(seen) || !cvy_slot_is_dead(cvy_entry_owner(seen), false))
            continue;
        if (seen & NOTIFIED && !CVY_MUTANT(condition_bury))
            (void)mark_longest_waiting(c);
        (void)atomic_compare_exchange_strong(entry, &seen, 0);
    }
}

static int find_entry(covey_condition *c, cvy_entry **ret)
{
    uint32_t me = cvy_thread_owner();
    *ret = cvy_table_search(&c->waiters, me, entry_is_free, c);
    if (*ret)
        return 0;
    bury_waiters(c);
    while (!(*ret = cvy_table_search(&c->waiters, me, entry_is_free, c))) {
        int r = cvy_table_grow(&c->waiters, c);
        if (r < 0)
            return r;
    }
    return 0;
}

/* ---- what the dead leave ---- */

/* One notification of a notify whose thread died in it, if there is such a one. */
static bool inherit_notify(covey_condition *c, cvy_entry *mine, bool ask_kernel)
{
    uint64_t seen = atomic_load(&c->notify);
    if (!seen || CVY_MUTANT(condition_inherit_notify) ||
        !cvy_slot_is_dead(cvy_entry_owner(seen), ask_kernel) || !mark(mine))
        return false;
    uint32_t left = cvy_entry_has(seen);
    uint64_t next = left == ALL ? seen : left > 1 ? seen - cvy_entry_of(0, 1) : 0;
    (void)atomic_compare_exchange_strong(&c->notify, &seen, next);
    return true;
}

/* The notification of a waiter who died having it. */
static bool inherit_from_waiter(covey_condition *c, cvy_entry *mine, bool ask_kernel)
{
    cvy_entry *entry;
    uint32_t at = 0;
    while ((entry = cvy_table_next(&c->waiters, &at))) {
        uint64_t seen = atomic_load(entry);
        if (!cvy_entry_has(seen) || !(seen & NOTIFIED) ||
            CVY_MUTANT(condition_inherit_waiter) ||
            !cvy_slot_is_dead(cvy_entry_owner(seen), ask_kernel))
            continue;
        if (CVY_MUTANT(condition_heir_late))
            atomic_store(entry, 0);
        if (!mark(mine)) /* notified meanwhile: what the dead one had is another's */
            return false;
        (void)atomic_compare_exchange_strong(entry, &seen, 0);
        return true;
    }
    return false;
}

/* ---- notify ---- */

/* One mark is one compare-and-swap: there is nothing to carry through. */
static void notify_one(covey_condition *c)
{
    bool any_dead = false;
    __builtin_prefetch(&c->tickets, 1); /* what a wait, often the next call, writes */
    cvy_entry *entry = longest_waiting(c, &any_dead);
    cvy_bell_arm(); /* who dies before the wake is to be heard */
    if (any_dead)
        bury_waiters(c);
    if (any_dead || (entry && !mark(entry)))
        (void)mark_longest_waiting(c);
}

static void notify_some(covey_condition *c, uint32_t n)
{
    uint64_t inherited = atomic_load(&c->notify);
    if (inherited) /* of one who died in it */
        n = cvy_entry_has(inherited) > ALL - n ? ALL : n + cvy_entry_has(inherited);
    if (!CVY_MUTANT(condition_notify_note))
        atomic_store(&c->notify, cvy_entry_of(cvy_thread_owner(), n));
    cvy_bell_arm(); /* who dies before the last wake is to be heard */
    bury_waiters(c);
    for (uint32_t left = n; left && mark_longest_waiting(c); left--) {
        if (!CVY_MUTANT(condition_notify_note))
            atomic_store(&c->notify, cvy_entry_of(cvy_thread_owner(), left - 1));
    }
    atomic_store(&c->notify, 0);
}

static void notify_all(covey_condition *c)
{
    cvy_entry *entry;
    uint32_t at = 0;
    if (!CVY_MUTANT(condition_notify_note))
        atomic_store(&c->notify, cvy_entry_of(cvy_thread_owner(), ALL));
    cvy_bell_arm();
    while ((entry = cvy_table_next(&c->waiters, &at)))
        (void)mark(entry);
    atomic_store(&c->notify, 0);
}

/* The lock is held: what a notify has left to do, whose thread died in it. */
static void finish_notify(covey_condition *c)
{
    uint64_t left = atomic_load_explicit(&c->notify, memory_order_relaxed);
    if (cvy_likely(!left))
        return;
    if (cvy_entry_has(left) == ALL)
        notify_all(c);
    else
        notify_some(c, 0);
}

/* ---- wait ---- */

/* Until notified, without the lock. Returns: 0, -ETIMEDOUT, -EINTR. */
static int sleep_on(covey_condition *c, cvy_entry *mine, int64_t deadline)
{
    struct cvy_spin spin = {.is_handover = true};
    bool ask_kernel = false; /* never for a look: the dead were told before it came */
    for (;;) {
        uint32_t gong = cvy_gong();
        uint64_t seen = atomic_load(mine);
        if (seen & NOTIFIED)
            return 0;
        if (deadline > 0 && cvy_spin(&spin))
            continue;
        if (inherit_notify(c, mine, ask_kernel) ||
            inherit_from_waiter(c, mine, ask_kernel))
            return 0;
        if (deadline <= 0)
            return -ETIMEDOUT;
        if (!(seen & ASLEEP) &&
            !atomic_compare_exchange_strong(mine, &seen, seen | ASLEEP))
            continue;
        int r = cvy_sleep(cvy_low_half(mine), (uint32_t)seen | ASLEEP, gong, deadline,
                          cvy_ref_of(c));
        if (r < 0)
            return r;
        ask_kernel = r == CVY_SLICE;
    }
}

/* Returns: 0, COVEY_ABANDONED, -ETIMEDOUT, -EINTR, -ENOMEM. */
static int wait(covey_condition *c, int64_t deadline)
{
    cvy_entry *mine;
    uint32_t me = cvy_thread_owner(), ticket;
    int r = find_entry(c, &mine);
    if (r < 0)
        return r;
    finish_notify(c);
    ticket = atomic_load_explicit(&c->tickets, memory_order_relaxed) + 1;
    ticket += !ticket; /* 0 is for who does not wait */
    atomic_store_explicit(&c->tickets, ticket, memory_order_relaxed);
    atomic_store_explicit(mine, cvy_entry_of(me, ticket), memory_order_release);
    uint32_t depth = cvy_lock_release_all(lock_of(c));
    r = sleep_on(c, mine, deadline);
    if (r == 0)
        cvy_os_pause(); /* who notified has the lock, and is about to release it */
    int locked = cvy_lock_reacquire(lock_of(c), depth);
    uint64_t seen = atomic_exchange(mine, cvy_entry_of(me, 0));
    return seen & NOTIFIED ? locked : r;
}

static int wait_failed(covey_condition *c, int r, const char *call)
{
    if (r == -ETIMEDOUT)
        return cvy_fail(r, "%s: condition %s was not notified", call, c->name);
    return r == -EINTR ? cvy_fail(r, "%s: a signal came", call) : r;
}

int covey_condition_wait(covey_condition *condition, covey_nsec timeout)
{
    static const char call[] = "covey_condition_wait";
    int r = enter_with_lock(condition, call);
    if (r < 0)
        return r;
    return wait_failed(condition, wait(condition, cvy_os_deadline(timeout)), call);
}

int covey_condition_wait_for(covey_condition *condition, covey_predicate_fn *predicate,
                             void *ctx, covey_nsec timeout)
{
    static const char call[] = "covey_condition_wait_for";
    int r = predicate ? enter_with_lock(condition, call)
                      : cvy_fail(-EINVAL, "%s: predicate is NULL", call);
    if (r < 0)
        return r;
    int64_t deadline = cvy_os_deadline(timeout);
    int remark = 0;
    for (;;) {
        int is = predicate(ctx);
        if (is)
            return is < 0 ? is : remark;
        if (r < 0)
            return wait_failed(condition, r, call);
        r = deadline > 0 ? wait(condition, deadline) : -ETIMEDOUT;
        if (r == -EINTR)
            return wait_failed(condition, r, call);
        if (r == COVEY_ABANDONED)
            remark = r;
    }
}

/* ---- the calls of notify ---- */

int covey_condition_notify(covey_condition *condition, unsigned n)
{
    static const char call[] = "covey_condition_notify";
    int r = enter_with_lock(condition, call);
    if (r >= 0 && !n)
        r = cvy_fail(-EINVAL, "%s: n is 0", call);
    if (r < 0)
        return r;
    if (n == ALL)
        notify_all(condition);
    else if (n == 1 && !atomic_load(&condition->notify))
        notify_one(condition);
    else
        notify_some(condition, n);
    return 0;
}

int covey_condition_notify_all(covey_condition *condition)
{
    int r = enter_with_lock(condition, "covey_condition_notify_all");
    if (r >= 0)
        notify_all(condition);
    return r;
}

/* ---- the other calls ---- */

static int check_locks(const struct covey_condition_opts *o, const char *call)
{
    if (o->lock && o->rlock)
        return cvy_fail(-EINVAL, "%s: both .lock and .rlock", call);
    if (o->lock)
        return cvy_sync_enter(o->lock, CVY_KIND_LOCK, call);
    return o->rlock ? cvy_sync_enter(o->rlock, CVY_KIND_RLOCK, call) : 0;
}

int covey_condition_create(covey_condition **out,
                           const struct covey_condition_opts *opts)
{
    static const char call[] = "covey_condition_create";
    struct covey_condition_opts o;
    void *made;
    int r = CVY_TAKE_OPTS(&o, opts, call);
    if (r >= 0)
        r = cvy_sync_begin(out, call);
    if (r >= 0)
        r = check_locks(&o, call);
    if (r >= 0)
        r = cvy_sync_create(CVY_KIND_CONDITION, sizeof(struct covey_condition), o.name,
                            offsetof(struct covey_condition, name), &made);
    if (r < 0)
        return r;
    covey_condition *c = made;
    if (o.lock || o.rlock) {
        r = cvy_object_keep(c, o.lock ? (void *)o.lock : o.rlock, call);
    } else {
        atomic_store(&c->own.depth, 1);
        cvy_object_embed(c, &c->own, CVY_KIND_RLOCK);
        c->lock = cvy_ref_of(&c->own);
    }
    if (r < 0)
        (void)cvy_object_release(c);
    else
        *out = c;
    return r;
}

int covey_condition_acquire(covey_condition *condition, covey_nsec timeout)
{
    static const char call[] = "covey_condition_acquire";
    int r = enter(condition, call);
    if (r < 0)
        return r;
    struct covey_lock *lock = lock_of(condition);
    return lock->object.kind == CVY_KIND_RLOCK ? cvy_rlock_acquire(lock, timeout, call)
                                               : covey_lock_acquire(lock, timeout);
}

int covey_condition_release(covey_condition *condition)
{
    static const char call[] = "covey_condition_release";
    int r = enter(condition, call);
    if (r < 0)
        return r;
    struct covey_lock *lock = lock_of(condition);
    return lock->object.kind == CVY_KIND_RLOCK ? cvy_rlock_release(lock, call)
                                               : covey_lock_release(lock);
}

int covey_condition_repr(covey_condition *condition, struct covey_bytes *ret_text)
{
    static const char call[] = "covey_condition_repr";
    int r = enter(condition, call);
    if (r < 0)
        return r;
    char lock[128];
    unsigned waiters = 0;
    uint32_t at = 0;
    cvy_entry *entry;
    while ((entry = cvy_table_next(&condition->waiters, &at)))
        waiters += is_waiting(atomic_load(entry)) &&
                   !cvy_slot_is_dead(cvy_entry_owner(atomic_load(entry)), false);
    cvy_lock_text(lock_of(condition), lock, sizeof lock);
    return cvy_sync_text(ret_text, call, "<Condition(%s, %u)>", lock, waiters);
}

void covey_condition_free(covey_condition *condition)
{
    cvy_sync_free(condition, CVY_KIND_CONDITION, "covey_condition_free");
}

static void look(const struct cvy_head *head, const struct cvy_object *object,
                 char *text, size_t size)
{
    const struct covey_condition *c = (const void *)object;
    const struct cvy_object *lock = cvy_look_at(head, c->lock);
    char state[128] = "";
    if (lock)
        cvy_lock_look(head, lock, state, sizeof state);
    (void)snprintf(text, size, "its lock is %s", state);
}

__attribute__((constructor)) static void show_conditions(void)
{
    cvy_look_register(CVY_KIND_CONDITION, offsetof(struct covey_condition, name),
                      CVY_NAME_BYTES, look);
}
