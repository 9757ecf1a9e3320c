/* SPDX-License-Identifier: MIT */
/* storm_waits.c: conditions, events and barriers while who waits and who wakes is killed.
 * Nobody sleeps on what has come, and nobody goes on too early. */
#include <sched.h>

#include "storm.h"

#define WAKERS 2u /* of the places: who makes, notifies, sets */

static bool wakers_have_parked(void)
{
    for (unsigned i = 0; i < WAKERS; i++)
        if (!storm_has_parked(i))
            return false;
    return true;
}

/* All who wait are asleep on the object, or have parked. */
static bool waiters_sleep(unsigned places)
{
    for (unsigned i = WAKERS; i < places; i++) {
        const struct storm_place *p = &storm->places[i];
        if (storm_has_parked(i))
            continue;
        if (!p->slot)
            return false;
        struct cvy_slot *slot = cvy_slot_at(CVY_INDEX_OF(p->slot));
        if (atomic_load(&slot->waits_for) != cvy_ref_of(storm->object) ||
            stepper_state_of(p->pid) != 'S' ||
            atomic_load(&slot->waits_for) != cvy_ref_of(storm->object))
            return false;
    }
    return true;
}

/* ---- condition: things that are made and taken ------------------------------------ */

#define CONDITION_PLACES 6u
#define MOST_THINGS      50u
#define MOST_AT_ONCE     3u

struct things {
    _Atomic uint64_t made, taken;
};

static struct things *things(void)
{
    return storm->data;
}

static uint64_t things_there(void)
{
    return atomic_load(&things()->made) - atomic_load(&things()->taken);
}

static void set_up_condition(void)
{
    storm->data = storm_data(sizeof(struct things));
    if (covey_condition_create((covey_condition **)&storm->object, NULL) < 0)
        abort();
}

static int note_remark(int r)
{
    if (r == COVEY_ABANDONED)
        atomic_fetch_add(&storm->told, 1);
    return r;
}

static bool owns_condition(unsigned place)
{
    const struct covey_condition *c = storm->object;
    uint32_t owner = atomic_load(&c->own.word) & CVY_OWNER_MASK;
    return owner && owner == storm->places[place].slot;
}

static int make_things(unsigned i)
{
    uint64_t n = storm_random(MOST_AT_ONCE) + 1;
    if (things_there() >= MOST_THINGS)
        return 0;
    atomic_fetch_add(&things()->made, n);
    atomic_fetch_add(&storm->places[i].count, n);
    return storm_random(4) ? covey_condition_notify(storm->object, (unsigned)n)
                           : covey_condition_notify_all(storm->object);
}

/* A time-out does not tell that the lock was a dead one's. */
static int wait_for_things(unsigned i)
{
    const struct covey_condition *c = storm->object;
    storm_phase(i, STORM_TAKING);
    int r = covey_condition_wait(storm->object,
                                 storm_random(8) ? COVEY_FOREVER : COVEY_USEC(200));
    storm_phase(i, STORM_HAS);
    if (r != -ETIMEDOUT)
        return note_remark(r);
    (void)note_remark(cvy_lock_is_abandoned(&c->own) ? COVEY_ABANDONED : 0);
    return 0;
}

static int take_thing(unsigned i)
{
    int r = 0;
    while (!things_there() && !storm_is_parking() && r >= 0)
        r = wait_for_things(i);
    if (r >= 0 && things_there())
        atomic_fetch_add(&things()->taken, 1);
    return r;
}

static void work_condition(unsigned i)
{
    storm_phase(i, STORM_TAKING);
    int r = note_remark(covey_condition_acquire(storm->object, COVEY_FOREVER));
    storm_phase(i, STORM_HAS);
    if (r >= 0)
        r = i < WAKERS ? make_things(i) : take_thing(i);
    storm_phase(i, STORM_GIVING);
    if (r >= 0)
        r = covey_condition_release(storm->object);
    storm_phase(i, STORM_AWAY);
    if (r < 0)
        storm_wrong("place %u: %s", i, covey_error_detail());
    if (i < WAKERS && things_there() >= MOST_THINGS / 2)
        sched_yield();
}

/* Those who died with the lock may have made things and notified nobody, or have been the
 * one who was notified. Without such deaths nobody sleeps while there is something. */
static void calm_condition(void)
{
    uint64_t unknown =
        MOST_AT_ONCE * (uint64_t)(storm->stops ? storm->owned : storm_deaths_inside());
    if (!wakers_have_parked() || !waiters_sleep(CONDITION_PLACES) ||
        things_there() > unknown)
        return;
    if (note_remark(covey_condition_acquire(storm->object, COVEY_SEC(1))) >= 0) {
        (void)covey_condition_notify_all(storm->object);
        (void)covey_condition_release(storm->object);
    }
}

static const char *audit_condition(void)
{
    static uint64_t uncounted;
    uint64_t more = atomic_load(&things()->made) - storm_counts() - uncounted;
    if (note_remark(covey_condition_acquire(storm->object, COVEY_SEC(1))) < 0)
        return "all have parked, and the lock cannot be acquired";
    (void)covey_condition_release(storm->object);
    if (atomic_load(&things()->taken) > atomic_load(&things()->made))
        return "more was taken than made";
    if (more > MOST_AT_ONCE * (uint64_t)storm->deaths[STORM_HAS])
        return wrong("%lld were made more than were counted", (long long)more);
    uncounted += more;
    return NULL;
}

/* ---- event ------------------------------------------------------------------------ */

struct sets {
    _Atomic uint64_t begun;
};

static struct sets *event_sets(void)
{
    return storm->data;
}

static void set_up_event(void)
{
    storm->data = storm_data(sizeof(struct sets));
    if (covey_event_create((covey_event **)&storm->object, NULL) < 0)
        abort();
}

static void set_and_clear(unsigned i)
{
    storm_phase(i, STORM_HAS);
    atomic_fetch_add(&event_sets()->begun, 1);
    int r = covey_event_set(storm->object);
    storm_phase(i, STORM_GIVING);
    for (uint64_t n = storm_random(500); n > 0; n--)
        cvy_os_pause();
    if (r == 0 && !storm_is_parking())
        r = covey_event_clear(storm->object);
    storm_phase(i, STORM_AWAY);
    if (r < 0)
        storm_wrong("place %u: %s", i, covey_error_detail());
}

/* Whether a set that has begun may not have ended. */
static bool is_being_set(void)
{
    for (unsigned i = 0; i < WAKERS; i++)
        if (atomic_load(&storm->places[i].phase) == STORM_HAS)
            return true;
    return false;
}

static void wait_for_event(unsigned i)
{
    uint64_t begun = atomic_load(&event_sets()->begun);
    bool may_be_set = is_being_set() || covey_event_is_set(storm->object);
    storm_phase(i, STORM_TAKING);
    int r = covey_event_wait(storm->object, storm_timeout());
    storm_phase(i, STORM_AWAY);
    if (r < 0 && r != -ETIMEDOUT)
        storm_wrong("place %u: %s", i, covey_error_detail());
    if (r == 0 && !may_be_set && atomic_load(&event_sets()->begun) == begun)
        storm_wrong("place %u went on, and the event was not set", i);
}

static void work_event(unsigned i)
{
    if (i < WAKERS)
        set_and_clear(i);
    else
        wait_for_event(i);
}

/* If it is set by now, all wake up by themselves. */
static void calm_event(void)
{
    if (wakers_have_parked() && !covey_event_is_set(storm->object))
        (void)covey_event_set(storm->object);
}

static const char *audit_event(void)
{
    return covey_event_clear(storm->object) < 0 || covey_event_is_set(storm->object)
               ? "all have parked, and it cannot be cleared"
               : NULL;
}

/* ---- barrier ---------------------------------------------------------------------- */

#define PARTIES 3u

struct passes {
    _Atomic uint64_t by_index[PARTIES];
};

static struct passes *passes(void)
{
    return storm->data;
}

static void set_up_barrier(void)
{
    storm->data = storm_data(sizeof(struct passes));
    if (covey_barrier_create((covey_barrier **)&storm->object, PARTIES, NULL) < 0)
        abort();
}

static void work_barrier(unsigned i)
{
    unsigned index = PARTIES;
    storm_phase(i, STORM_TAKING);
    int r = covey_barrier_wait(storm->object, COVEY_FOREVER, &index);
    if (r == 0 && index < PARTIES)
        atomic_fetch_add(&passes()->by_index[index], 1);
    else if (r != COVEY_EBROKEN)
        storm_wrong("place %u: result %d, index %u: %s", i, r, index,
                    covey_error_detail());
    storm_phase(i, STORM_AWAY);
    if (r < 0 && !storm_is_parking() && covey_barrier_broken(storm->object) == 1)
        (void)covey_barrier_reset(storm->object);
}

static void calm_barrier(void)
{
    (void)covey_barrier_abort(storm->object);
}

/* Each time all have come, each of them has another number. */
static const char *audit_barrier(void)
{
    static uint64_t before[PARTIES];
    uint64_t most = 0, least = UINT64_MAX;
    for (unsigned i = 0; i < PARTIES; i++) {
        uint64_t now = atomic_load(&passes()->by_index[i]), n = now - before[i];
        before[i] = now;
        most = n > most ? n : most;
        least = n < least ? n : least;
    }
    if (most - least > (uint64_t)storm->deaths[STORM_TAKING])
        return wrong("numbers were given %lld to %lld times, and %ld died waiting",
                     (long long)least, (long long)most, storm->deaths[STORM_TAKING]);
    unsigned waiting = 0;
    if (covey_barrier_reset(storm->object) < 0 ||
        covey_barrier_broken(storm->object) != 0 ||
        covey_barrier_n_waiting(storm->object, &waiting) < 0 || waiting)
        return wrong("all have parked, and %u wait after a reset", waiting);
    return NULL;
}

const struct storm_noun storm_waits[] = {
    {"condition", 0, CONDITION_PLACES, set_up_condition, work_condition, calm_condition,
     audit_condition, owns_condition},
    {"event", 0, 6, set_up_event, work_event, calm_event, audit_event, NULL},
    {"barrier", 0, PARTIES, set_up_barrier, work_barrier, calm_barrier, audit_barrier,
     NULL},
    {0}};
