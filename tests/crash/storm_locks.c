/* SPDX-License-Identifier: MIT */
/* storm_locks.c: locks, rlocks, the lock of a shared value, and semaphores of both kinds
 * while who uses them is killed. What a lock protects is changed by one at a time, and who
 * finds it half-changed has been told so; permits are neither lost nor made. */
#include "storm.h"

#include <covey/shared.h>

enum { LOCK, RLOCK, VALUE, SEMAPHORE, BOUNDED };

/* ---- locks: a pair of numbers that are equal whenever nobody changes them ---------- */

struct pair {
    volatile uint32_t owner; /* id of who changes it */
    volatile uint64_t a, b;
};

static struct pair *pair(void)
{
    return storm->data;
}

static void set_up_pair(void)
{
    int r = 0;
    storm->data = storm_data(sizeof(struct pair));
    if (storm_variant == LOCK)
        r = covey_lock_create((covey_lock **)&storm->object, NULL);
    else if (storm_variant == RLOCK)
        r = covey_rlock_create((covey_rlock **)&storm->object, NULL);
    else
        r = covey_shared_value_create_struct((covey_shared_value **)&storm->object,
                                             sizeof(struct pair), NULL, NULL);
    if (r < 0)
        abort();
    if (storm_variant == VALUE)
        storm->data = covey_shared_value_data(storm->object);
}

static int take(covey_nsec timeout)
{
    if (storm_variant == LOCK)
        return covey_lock_acquire(storm->object, timeout);
    return storm_variant == RLOCK ? covey_rlock_acquire(storm->object, timeout)
                                  : covey_shared_value_acquire(storm->object, timeout);
}

static int give(void)
{
    if (storm_variant == LOCK)
        return covey_lock_release(storm->object);
    return storm_variant == RLOCK ? covey_rlock_release(storm->object)
                                  : covey_shared_value_release(storm->object);
}

static bool owns(unsigned place)
{
    const struct covey_lock *lock = storm->object;
    if (storm_variant == VALUE)
        lock = (const void *)covey_shared_value_get_lock(storm->object);
    uint32_t owner = atomic_load(&lock->word) & CVY_OWNER_MASK;
    const struct storm_place *p = &storm->places[place];
    return owner && owner == (storm_variant == LOCK ? p->member : p->slot);
}

/* Who has just got the lock, with result `r`, looks at what it protects. Returns: NULL, or
 * what is wrong. */
static const char *see_pair(int r)
{
    uint32_t owner = pair()->owner;
    if (r == COVEY_ABANDONED) {
        atomic_fetch_add(&storm->told, 1);
        if (owner && !atomic_load(&storm->doomed[owner]))
            return wrong("worker %u is alive, and its lock was abandoned", owner);
        pair()->b = pair()->a;
        pair()->owner = 0;
    } else if (owner) {
        return wrong("worker %u has the lock, or left it, and nobody was told", owner);
    } else if (pair()->a != pair()->b) {
        return "it is half-changed, and nobody was told";
    }
    return NULL;
}

static void change_pair(struct storm_place *place)
{
    pair()->owner = place->id;
    pair()->a++;
    atomic_fetch_add_explicit(&place->count, 1, memory_order_relaxed);
    for (uint64_t n = storm_random(64); n > 0; n--)
        cvy_os_pause();
    pair()->b++;
    if (pair()->owner != place->id)
        storm_wrong("workers %u and %u had the lock at once", place->id, pair()->owner);
    pair()->owner = 0;
}

/* An rlock is acquired once more, and released twice. */
static void again(unsigned i)
{
    int r = take(COVEY_NOWAIT);
    if (r == 0)
        r = give();
    if (r != 0)
        storm_wrong("place %u: acquired again, it gives %d", i, r);
}

static void work_pair(unsigned i)
{
    storm_phase(i, STORM_TAKING);
    int r = take(storm_timeout());
    if (r >= 0) {
        storm_phase(i, STORM_HAS);
        const char *is = see_pair(r);
        if (is)
            storm_wrong("place %u: %s", i, is);
        change_pair(&storm->places[i]);
        if (storm_variant != LOCK && storm_random(2))
            again(i);
        storm_phase(i, STORM_GIVING);
        r = give();
    }
    if (r < 0 && r != -ETIMEDOUT)
        storm_wrong("place %u: %s", i, covey_error_detail());
    storm_phase(i, STORM_AWAY);
}

/* Who dies between a change and its count makes the difference, once. */
static const char *audit_sum(uint64_t sum, const char *what)
{
    static uint64_t uncounted;
    uint64_t more = sum - storm_counts() - uncounted;
    if (more > (uint64_t)storm->deaths[STORM_HAS])
        return wrong("%lld %s more than were counted, and %ld died in one",
                     (long long)more, what, storm->deaths[STORM_HAS]);
    uncounted += more;
    return NULL;
}

static const char *audit_pair(void)
{
    const char *is = NULL;
    for (int i = 0; i < 2 && !is; i++) {
        int r = take(COVEY_SEC(1));
        if (r < 0 || (i && r != 0))
            return wrong("all have parked, and acquire %d gives %d", i + 1, r);
        is = see_pair(r);
        if (give() < 0)
            return "it cannot be released";
    }
    return is ? is : audit_sum(pair()->a, "changes");
}

/* ---- semaphores: as many things to use as there are permits ------------------------- */

#define PERMITS 3u

/* Who uses each thing. */
static _Atomic uint32_t *things(void)
{
    return storm->data;
}

static void set_up_permits(void)
{
    storm->data = storm_data(PERMITS * sizeof(uint32_t));
    int r =
        storm_variant == BOUNDED
            ? covey_bounded_semaphore_create((covey_bounded_semaphore **)&storm->object,
                                             PERMITS, NULL)
            : covey_semaphore_create((covey_semaphore **)&storm->object, PERMITS, NULL);
    if (r < 0)
        abort();
}

static int take_permit(covey_nsec timeout)
{
    return storm_variant == BOUNDED
               ? covey_bounded_semaphore_acquire(storm->object, timeout)
               : covey_semaphore_acquire(storm->object, timeout);
}

static int give_permit(void)
{
    return storm_variant == BOUNDED ? covey_bounded_semaphore_release(storm->object, 1)
                                    : covey_semaphore_release(storm->object, 1);
}

/* There is a thing for who has a permit: free, or a dead one's. */
static _Atomic uint32_t *find_thing(uint32_t id)
{
    int64_t until = cvy_os_now() + COVEY_SEC(2);
    for (unsigned i = 0;; i++) {
        uint32_t user = atomic_load(&things()[i % PERMITS]);
        if ((!user || atomic_load(&storm->doomed[user])) &&
            atomic_compare_exchange_strong(&things()[i % PERMITS], &user, id))
            return &things()[i % PERMITS];
        if (i % 1000 == 999 && cvy_os_now() > until)
            storm_wrong("more than %u have a permit", PERMITS);
    }
}

static void work_permit(unsigned i)
{
    storm_phase(i, STORM_TAKING);
    int r = take_permit(storm_timeout());
    if (r >= 0) {
        storm_phase(i, STORM_HAS);
        uint32_t id = storm->places[i].id;
        _Atomic uint32_t *thing = find_thing(id);
        for (uint64_t n = storm_random(64); n > 0; n--)
            cvy_os_pause();
        (void)atomic_compare_exchange_strong(thing, &id, 0);
        storm_phase(i, STORM_GIVING);
        r = give_permit();
    }
    if (r < 0 && r != -ETIMEDOUT)
        storm_wrong("place %u: %s", i, covey_error_detail());
    storm_phase(i, STORM_AWAY);
}

static const char *audit_permits(void)
{
    unsigned value = 0, taken = 0;
    int r = storm_variant == BOUNDED
                ? covey_bounded_semaphore_get_value(storm->object, &value)
                : covey_semaphore_get_value(storm->object, &value);
    if (r < 0 || value != PERMITS)
        return wrong("all have parked, and there are %u permits, not %u", value,
                     PERMITS);
    while (taken <= PERMITS && take_permit(COVEY_NOWAIT) == 0)
        taken++;
    for (unsigned i = 0; i < taken; i++)
        if (give_permit() < 0)
            return "a permit cannot be released";
    return taken == PERMITS ? NULL : wrong("%u permits can be acquired", taken);
}

const struct storm_noun storm_locks[] = {
    {"lock", LOCK, 6, set_up_pair, work_pair, NULL, audit_pair, owns},
    {"rlock", RLOCK, 6, set_up_pair, work_pair, NULL, audit_pair, owns},
    {"shared value", VALUE, 6, set_up_pair, work_pair, NULL, audit_pair, owns},
    {"semaphore", SEMAPHORE, 6, set_up_permits, work_permit, NULL, audit_permits, NULL},
    {"bounded semaphore", BOUNDED, 6, set_up_permits, work_permit, NULL, audit_permits,
     NULL},
    {0}};
