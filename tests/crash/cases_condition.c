/* SPDX-License-Identifier: MIT */
/* cases_condition.c: conditions. A notification that was given reaches one who lives; a
 * notify that had begun is carried through. */
#include "crash.h"

enum { OWN_RLOCK, PLAIN_LOCK };

#define NOTIFIED 0x40000000u /* as in condition.c */

static covey_condition *cond(void)
{
    return stage->object;
}

/* ---- jobs ----------------------------------------------------------------------- */

static int job_wait(void)
{
    int r = covey_condition_acquire(cond(), COVEY_FOREVER);
    if (r < 0)
        return r;
    r = covey_condition_wait(cond(), COVEY_FOREVER);
    int released = covey_condition_release(cond());
    return released < 0 ? released : r;
}
/* Come and go, which leaves an entry in the table. */
static int job_look_in(void)
{
    int r = covey_condition_acquire(cond(), COVEY_FOREVER);
    if (r >= 0)
        r = covey_condition_wait(cond(), COVEY_NOWAIT);
    (void)covey_condition_release(cond());
    return r;
}
static int job_notify(void)
{
    int r = covey_condition_acquire(cond(), COVEY_FOREVER), n;
    if (r < 0)
        return r;
    n = covey_condition_notify(cond(), 1);
    (void)covey_condition_release(cond());
    return n < 0 ? n : r;
}

/* ---- what the victim does --------------------------------------------------------- */

static void make(void)
{
    covey_lock *lock = NULL;
    if (stage->variant == PLAIN_LOCK && covey_lock_create(&lock, NULL) < 0)
        abort();
    stage->other = lock;
    if (covey_condition_create((covey_condition **)&stage->object,
                               COVEY_CONDITION_OPTS(.lock = lock)) < 0)
        abort();
}
static void let_wait(unsigned i)
{
    if (!helper_is_started(i))
        HELPER(i, job_wait);
    (void)helper_settle(i);
}
static void make_one_waiting(void)
{
    make();
    let_wait(1);
}
static void make_two_waiting(void)
{
    make();
    let_wait(0);
    let_wait(1);
}
static void make_three_waiting(void)
{
    make_two_waiting();
    let_wait(2);
}
/* All entries in the object are living threads'. */
static void make_full(void)
{
    make();
    for (unsigned i = 0; i < CVY_TABLE_INLINE; i++) {
        HELPER(i, job_look_in);
        (void)helper_settle(i);
    }
    helpers_forget();
}

static void acquires(void)
{
    stage->result = covey_condition_acquire(cond(), COVEY_FOREVER);
}
static void waits(void)
{
    stage->result = covey_condition_wait(cond(), COVEY_FOREVER);
}
static void waits_a_little(void)
{
    stage->result = covey_condition_wait(cond(), COVEY_MSEC(15));
}
static void acquires_and_waits(void)
{
    acquires();
    waits();
}
static void notifies_one(void)
{
    stage->result = covey_condition_notify(cond(), 1);
}
static void notifies_two(void)
{
    stage->result = covey_condition_notify(cond(), 2);
}
static void notifies_all(void)
{
    stage->result = covey_condition_notify_all(cond());
}
static void releases(void)
{
    stage->result = covey_condition_release(cond());
}
static void notifies_and_releases(void)
{
    notifies_all();
    releases();
}

/* ---- helpers ---------------------------------------------------------------------- */

static cvy_entry *entry_of(uint32_t slot)
{
    return slot ? cvy_table_search(&cond()->waiters, slot, NULL, NULL) : NULL;
}

/* Helper 1 waits, and helper 0 notifies if it does so by now: while the victim has the
 * lock, neither gets so far. */
static void one_waits_one_notifies(void)
{
    let_wait(1);
    if (!helper_is_started(0) && helper_sleeps_on(1, cond())) {
        HELPER(0, job_notify);
        (void)helper_settle(0);
    }
}
static void another_waits(void)
{
    let_wait(1);
}

/* ---- afterwards ------------------------------------------------------------------- */

static unsigned owed;     /* of helpers 0 to 2: how many must come through */
static bool was_consumed; /* the victim had the notification, and its wait was over */

static unsigned heard(void)
{
    unsigned count = 0;
    for (unsigned i = 0; i < 3; i++)
        count += helper_is_started(i) && stage->helpers[i].job == job_wait &&
                 !helper_is_busy(i);
    return count;
}
static unsigned waiting(void)
{
    unsigned count = 0;
    for (unsigned i = 0; i < 3; i++)
        count += helper_is_started(i) && stage->helpers[i].job == job_wait;
    return count;
}

/* How many of the helpers are marked, or through. */
static unsigned marked(void)
{
    unsigned count = heard();
    for (unsigned i = 0; i < 3; i++) {
        cvy_entry *entry = entry_of(stage->helpers[i].slot);
        count += helper_is_busy(i) && entry && atomic_load(entry) & NOTIFIED;
    }
    return count;
}

/* A notify that was noted, or has marked one, is carried through whatever happens. */
static void look_at_notify(unsigned n)
{
    bool begun = atomic_load(&cond()->notify) || marked();
    owed = begun ? n : 0;
}
static void look_at_one(void)
{
    look_at_notify(1);
}
static void look_at_two(void)
{
    look_at_notify(2);
}
static void look_at_all(void)
{
    look_at_notify(waiting());
}

static void look_at_wait(void)
{
    cvy_entry *entry = entry_of(stage->slot);
    was_consumed = helper_is_started(0) && !helper_is_busy(0) && entry &&
                   !cvy_entry_has(atomic_load(entry));
}

/* Nobody waits any more, and the lock is free. */
static const char *as_new(void)
{
    for (int i = 0; i < 2; i++) {
        int r = covey_condition_acquire(cond(), COVEY_NOWAIT);
        if (r < 0 || (i && r))
            return wrong("a last acquire gives %d (%s)", r, covey_strerror(r));
        r = covey_condition_notify(cond(), 1);
        if (r >= 0)
            r = covey_condition_wait(cond(), COVEY_NOWAIT);
        if (r != -ETIMEDOUT)
            return wrong("a last wait gives %d (%s)", r, covey_strerror(r));
        if (covey_condition_release(cond()) < 0)
            return "a last release fails";
    }
    return NULL;
}

static const char *notify_rest(void)
{
    int r = covey_condition_acquire(cond(), helpers_limit);
    if (r >= 0)
        r = covey_condition_notify_all(cond());
    if (r < 0)
        return wrong("nobody can notify any more: %s", covey_strerror(r));
    return covey_condition_release(cond()) < 0 ? "a release fails" : NULL;
}

static const char *all_who_are_owed(void)
{
    int64_t until = cvy_os_now() + helpers_limit;
    while (heard() < owed)
        if (cvy_os_now() > until)
            return wrong("of %u to be notified some did not come through", owed);
    const char *is = NULL;
    for (unsigned i = 0; i < 3 && !is; i++)
        if (helper_is_started(i) && !helper_is_busy(i))
            is = helper_await(i); /* for its time */
    if (!is)
        is = notify_rest();
    for (unsigned i = 0; i < 3 && !is; i++)
        if (helper_is_started(i))
            is = helper_await(i);
    return is ? is : as_new();
}

static const char *comes_to_wait(unsigned i)
{
    int64_t until = cvy_os_now() + helpers_limit;
    while (!helper_sleeps_on(i, cond()) && helper_is_busy(i))
        if (cvy_os_now() > until)
            return wrong("helper %u does not come to wait", i);
    return NULL;
}
/* Helper 1 waits; helper 0 has notified, or does now. */
static const char *the_other_hears(void)
{
    const char *is = helper_is_started(0) ? NULL : comes_to_wait(1);
    if (is)
        return is;
    if (!helper_is_started(0))
        HELPER(0, job_notify);
    is = helper_await(0);
    if (!is && was_consumed)
        is = notify_rest();
    if (!is)
        is = helper_await(1);
    return is ? is : as_new();
}

/* It is over with the victim; the helper that waits is notified now. */
static const char *the_other_can_hear(void)
{
    HELPER(0, job_notify);
    const char *is = helpers_await(0, 1);
    return is ? is : as_new();
}
static const char *nothing_is_left(void)
{
    (void)covey_condition_acquire(cond(), helpers_limit);
    return covey_condition_release(cond()) < 0 ? "nobody can have the lock" : as_new();
}

/* ---- two victims ------------------------------------------------------------------ */

/* The second sleeps in its wait: then the first notifies and dies. Helper 1 comes when the
 * second is stopped, or it would be faster than that each time. */
static void first_notifies_and_dies(void)
{
    crash_first_start();
    cvy_entry *entry = entry_of(stage->slot);
    owed = atomic_load(&cond()->notify) || (entry && atomic_load(entry) & NOTIFIED);
    crash_first_kill();
    if (!owed)
        HELPER(0, job_notify);
}

/* The first sleeps in its wait, the second behind it; the first is notified and dies
 * before it can act. */
static void first_is_notified_and_dies(void)
{
    HELPER(0, job_notify);
    (void)helper_settle(0);
    (void)crash_first_wakes();
    crash_first_kill();
    owed = 1;
}
/* The first waits, two helpers behind it; it is notified, and dies before it can act. */
static void first_dies_notified(void)
{
    let_wait(0);
    let_wait(1);
    (void)covey_condition_acquire(cond(), COVEY_FOREVER);
    (void)covey_condition_notify(cond(), 1);
    (void)crash_first_wakes();
    crash_first_kill();
    (void)covey_condition_release(cond());
}
/* The first's notification, and the victim's if it has begun one. */
static void look_at_two_notifies(void)
{
    owed = atomic_load(&cond()->notify) || marked() > 1 ? 2 : 1;
}
static void forget_owed(void)
{
    owed = 0;
    was_consumed = false;
}
/* The second has died too: the first's notification is helper 1's, unless the second had
 * it and was through. */
static void look_if_through(void)
{
    cvy_entry *entry = entry_of(stage->slot);
    was_consumed = entry && !cvy_entry_has(atomic_load(entry));
}
static const char *the_heir_hears(void)
{
    const char *is = helper_is_started(0) ? helper_await(0) : NULL;
    if (!is && (was_consumed || !owed)) {
        is = comes_to_wait(1);
        if (!is)
            is = notify_rest();
    }
    if (!is)
        is = helper_await(1);
    return is ? is : as_new();
}

#define CASES(WHAT, VARIANT)                                                           \
    {WHAT " wait",                                                                     \
     "asleep, woken",                                                                  \
     .set_up = make,                                                                   \
     .prepare = acquires,                                                              \
     .operate = waits,                                                                 \
     .asleep = one_waits_one_notifies,                                                 \
     .against = one_waits_one_notifies,                                                \
     .look = look_at_wait,                                                             \
     .after = the_other_hears,                                                         \
     .variant = VARIANT},                                                              \
        {WHAT " wait",                                                                 \
         "timed out",                                                                  \
         .set_up = make_one_waiting,                                                   \
         .prepare = acquires,                                                          \
         .operate = waits_a_little,                                                    \
         .after = the_other_can_hear,                                                  \
         .variant = VARIANT},                                                          \
        {WHAT " wait",                                                                 \
         "timed out, notified",                                                        \
         .set_up = make,                                                               \
         .prepare = acquires,                                                          \
         .operate = waits_a_little,                                                    \
         .asleep = another_waits,                                                      \
         .against = one_waits_one_notifies,                                            \
         .look = look_at_wait,                                                         \
         .after = the_other_hears,                                                     \
         .variant = VARIANT},                                                          \
        {WHAT " notify",      "nobody waits",          .set_up = make,                 \
         .prepare = acquires, .operate = notifies_one, .after = nothing_is_left,       \
         .variant = VARIANT},                                                          \
        {WHAT " notify",                                                               \
         "one of two asleep",                                                          \
         .set_up = make_two_waiting,                                                   \
         .prepare = acquires,                                                          \
         .operate = notifies_one,                                                      \
         .look = look_at_one,                                                          \
         .after = all_who_are_owed,                                                    \
         .variant = VARIANT},                                                          \
        {WHAT " notify",                                                               \
         "two of three asleep",                                                        \
         .set_up = make_three_waiting,                                                 \
         .prepare = acquires,                                                          \
         .operate = notifies_two,                                                      \
         .look = look_at_two,                                                          \
         .after = all_who_are_owed,                                                    \
         .variant = VARIANT},                                                          \
        {WHAT " notify_all",           "three asleep",                                 \
         .set_up = make_three_waiting, .prepare = acquires,                            \
         .operate = notifies_all,      .look = look_at_all,                            \
         .after = all_who_are_owed,    .variant = VARIANT},                            \
    {                                                                                  \
        WHAT " notify_all", "and release",                                             \
            .set_up = make_two_waiting, .prepare = acquires,                           \
            .operate = notifies_and_releases, .look = look_at_all,                     \
            .after = all_who_are_owed, .flags = CRASH_LIVES, .variant = VARIANT        \
    }

const struct crash_case crash_conditions[] = {
    CASES("condition", OWN_RLOCK),
    CASES("cond. of lock", PLAIN_LOCK),
    {"condition wait", "grown", .set_up = make_full, .prepare = acquires,
     .operate = waits_a_little, .after = nothing_is_left, .helpers = CVY_TABLE_INLINE},
    {"condition notify", "first waiter dead", .set_up = make,
     .first_operate = acquires_and_waits, .prepare = acquires, .operate = notifies_one,
     .after = nothing_is_left, .flags = CRASH_FIRST_ENDS | CRASH_NOT_STOPPED},
    {"condition notify", "notified one dead", .set_up = make,
     .first_operate = acquires_and_waits, .first_stopped = first_dies_notified,
     .prepare = acquires, .operate = notifies_one, .look = look_at_two_notifies,
     .after = all_who_are_owed, .flags = CRASH_FIRST_ENDS | CRASH_NOT_STOPPED},
    {"condition wait", "recovery of notify", .set_up = make, .prepare = acquires,
     .ready = forget_owed, .first_prepare = acquires, .first_operate = notifies_one,
     .operate = waits, .asleep = first_notifies_and_dies, .against = another_waits,
     .look = look_if_through, .after = the_heir_hears,
     .flags = CRASH_NOT_STOPPED | CRASH_FIRST_STARTS_LATE | CRASH_FIRST_DIES_LATE |
              CRASH_BRIEF},
    {"condition wait", "recovery of notify_all", .set_up = make, .prepare = acquires,
     .ready = forget_owed, .first_prepare = acquires, .first_operate = notifies_all,
     .operate = waits, .asleep = first_notifies_and_dies, .against = another_waits,
     .look = look_if_through, .after = the_heir_hears,
     .flags = CRASH_NOT_STOPPED | CRASH_FIRST_STARTS_LATE | CRASH_FIRST_DIES_LATE |
              CRASH_BRIEF},
    {"condition wait", "recovery of a waiter", .set_up = make,
     .first_operate = acquires_and_waits, .prepare = acquires, .ready = forget_owed,
     .operate = waits, .asleep = first_is_notified_and_dies, .against = another_waits,
     .look = look_if_through, .after = the_heir_hears,
     .flags = CRASH_FIRST_ENDS | CRASH_NOT_STOPPED | CRASH_FIRST_DIES_LATE},
    {0}};
