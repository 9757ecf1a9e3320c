/* SPDX-License-Identifier: MIT */
/* cases_lock.c: locks and rlocks. Who comes next gets the lock, told that it was abandoned
 * if a dead one had it, once; then it is as new. */
#include "crash.h"

enum { LOCK, RLOCK, HANDOFF };

static struct covey_lock *lock(void)
{
    return stage->object;
}
static uint32_t word(void)
{
    return atomic_load(&lock()->word);
}

static int acquire(covey_nsec timeout)
{
    return stage->variant == RLOCK
               ? covey_rlock_acquire((covey_rlock *)stage->object, timeout)
               : covey_lock_acquire(stage->object, timeout);
}
static int release(void)
{
    return stage->variant == RLOCK ? covey_rlock_release((covey_rlock *)stage->object)
                                   : covey_lock_release(stage->object);
}

/* ---- jobs ----------------------------------------------------------------------- */

static void enter(void)
{
    if (atomic_fetch_add(&stage->inside, 1))
        atomic_fetch_add(&stage->collisions, 1);
}
static int job_take(void)
{
    int r = acquire(COVEY_FOREVER);
    if (r >= 0)
        enter();
    return r;
}
static int job_give(void)
{
    atomic_fetch_sub(&stage->inside, 1);
    return release();
}
static int job_pass(void)
{
    int r = job_take(), released = r >= 0 ? job_give() : 0;
    return released < 0 ? released : r;
}
static int job_give_only(void)
{
    return release();
}

/* ---- what the victim does --------------------------------------------------------- */

static void make(void)
{
    int r = stage->variant == RLOCK
                ? covey_rlock_create((covey_rlock **)&stage->object, NULL)
                : covey_lock_create((covey_lock **)&stage->object,
                                    COVEY_LOCK_OPTS(.handoff = stage->variant == HANDOFF
                                                                   ? COVEY_ON
                                                                   : COVEY_OFF));
    if (r < 0)
        abort();
}
static void make_taken(void)
{
    make();
    HELPER(0, job_take);
    (void)helper_settle(0);
}
static void acquires(void)
{
    stage->result = acquire(COVEY_FOREVER);
}
static void acquires_soon(void)
{
    stage->result = acquire(COVEY_MSEC(10));
}
static void acquires_now(void)
{
    stage->result = acquire(COVEY_NOWAIT);
}
static void acquires_twice(void)
{
    acquires();
    acquires();
}
static void releases(void)
{
    stage->result = release();
}

/* ---- helpers ---------------------------------------------------------------------- */

static void one_sleeps(void)
{
    HELPER(0, job_pass);
    (void)helper_settle(0);
}
static void two_sleep(void)
{
    one_sleeps();
    HELPER(1, job_pass);
    (void)helper_settle(1);
}
static void another_comes(void)
{
    if (!helper_is_started(1))
        HELPER(1, job_pass);
    (void)helper_settle(1);
}
static void owner_gives(void)
{
    if (helper_is_busy(0))
        return;
    HELPER(0, job_give);
    (void)helper_settle(0);
}
/* One goes to sleep behind the victim; then the owner releases. */
static void another_sleeps_owner_gives(void)
{
    another_comes();
    owner_gives();
}

/* ---- afterwards ------------------------------------------------------------------- */

static bool first_had_it, dead_has_it;
static unsigned told_before;

static bool is_had_by(uint32_t member, uint32_t slot)
{
    uint32_t owner = word() & CVY_OWNER_MASK;
    return owner && (owner == member || owner == slot);
}
static void look_first(void)
{
    first_had_it = is_had_by(stage->first_member, stage->first_slot);
}
static void look(void)
{
    dead_has_it = is_had_by(stage->member, stage->slot) ||
                  is_had_by(stage->first_member, stage->first_slot);
    told_before = helpers_with(COVEY_ABANDONED);
}
static bool is_released(void)
{
    return !is_had_by(stage->member, stage->slot);
}

/* Nobody has it, nobody waits, and nobody is told of a death any more. */
static const char *as_new(void)
{
    for (int i = 0; i < 2; i++) {
        int r = acquire(COVEY_NOWAIT);
        if (r != 0)
            return wrong("a last acquire gives %d (%s), not 0", r, covey_strerror(r));
        if (release() < 0)
            return "a last release fails";
    }
    return word() ? wrong("the word is %#x at last", word()) : NULL;
}

/* Of each death of one who had it somebody was told, once. */
static const char *told_right(void)
{
    unsigned told = helpers_with(COVEY_ABANDONED);
    if (told_before > first_had_it)
        return "it was taken from the living";
    if (word() & CVY_OWNER_MASK) { /* no helper has come after the victim */
        int r = acquire(helpers_limit);
        if (r != COVEY_ABANDONED)
            return wrong("an acquire after the dead one gives %d", r);
        (void)release();
        told++;
    }
    if (told != told_before + dead_has_it)
        return wrong("%u were told that it was abandoned, a dead one %s it", told,
                     dead_has_it ? "had" : "did not have");
    return as_new();
}

static const char *all_pass(void)
{
    const char *is = NULL;
    for (unsigned i = 0; i < 3 && !is; i++)
        if (helper_is_started(i))
            is = helper_await(i);
    return is ? is : told_right();
}

/* Helper 0 had it first, and releases it now unless it has before. */
static const char *all_pass_owner(void)
{
    if (stage->helpers[0].job == job_take)
        owner_gives();
    return all_pass();
}

/* Another than the owner may release a lock; then the owner need not. */
static uint32_t owned, seen_at_point;

static void owner_leaves_it(void)
{
    make_taken();
    atomic_store(&stage->inside, 0);
    owned = word() & CVY_OWNER_MASK;
}
static void look_whose(void)
{
    look();
    seen_at_point = word() & CVY_OWNER_MASK;
}
static const char *released_by_any(void)
{
    if (seen_at_point == owned)
        HELPER(0, job_give_only);
    return all_pass();
}

/* A lock to be handed on: nobody's death frees it. */
static const char *still_taken(void)
{
    bool taken = word() & CVY_OWNER_MASK;
    if (taken && acquire(COVEY_MSEC(1)) != -ETIMEDOUT)
        return "a lock that is handed on was taken from the dead";
    if (taken && release() < 0)
        return "it cannot be released by another";
    return all_pass();
}

/* An rlock that was acquired twice: its depth is that of who has it. */
static const char *depth_is_new(void)
{
    const char *is = all_pass();
    if (!is && atomic_load(&lock()->depth) != 1)
        is = wrong("the depth is %u", atomic_load(&lock()->depth));
    return is;
}

/* Two victims: the first dies while the other sleeps. */
static void another_sleeps_first_dies(void)
{
    another_comes();
    crash_first_kill();
}

#define CASES(WHAT, VARIANT)                                                           \
    {.operation = WHAT " acquire",                                                     \
     .path = "uncontended",                                                            \
     .set_up = make,                                                                   \
     .operate = acquires,                                                              \
     .against = one_sleeps,                                                            \
     .look = look,                                                                     \
     .after = all_pass,                                                                \
     .variant = VARIANT},                                                              \
        {.operation = WHAT " acquire",                                                 \
         .path = "contended",                                                          \
         .set_up = make_taken,                                                         \
         .operate = acquires_now,                                                      \
         .against = another_comes,                                                     \
         .look = look,                                                                 \
         .after = all_pass_owner,                                                      \
         .variant = VARIANT},                                                          \
        {.operation = WHAT " acquire",                                                 \
         .path = "asleep, woken",                                                      \
         .set_up = make_taken,                                                         \
         .operate = acquires,                                                          \
         .asleep = another_sleeps_owner_gives,                                         \
         .against = another_comes,                                                     \
         .look = look,                                                                 \
         .after = all_pass_owner,                                                      \
         .variant = VARIANT},                                                          \
        {.operation = WHAT " acquire",                                                 \
         .path = "timed out",                                                          \
         .set_up = make_taken,                                                         \
         .operate = acquires_soon,                                                     \
         .asleep = another_comes,                                                      \
         .against = another_comes,                                                     \
         .look = look,                                                                 \
         .after = all_pass_owner,                                                      \
         .variant = VARIANT},                                                          \
        {.operation = WHAT " acquire",                                                 \
         .path = "recovery",                                                           \
         .set_up = make,                                                               \
         .first_prepare = acquires,                                                    \
         .ready = look_first,                                                          \
         .operate = acquires,                                                          \
         .against = another_comes,                                                     \
         .look = look,                                                                 \
         .after = all_pass,                                                            \
         .flags = CRASH_NOT_STOPPED,                                                   \
         .variant = VARIANT},                                                          \
        {.operation = WHAT " release",                                                 \
         .path = "uncontended",                                                        \
         .set_up = make,                                                               \
         .prepare = acquires,                                                          \
         .operate = releases,                                                          \
         .against = one_sleeps,                                                        \
         .look = look,                                                                 \
         .after = all_pass,                                                            \
         .flags = CRASH_LIVES,                                                         \
         .variant = VARIANT},                                                          \
        {.operation = WHAT " release",                                                 \
         .path = "one asleep",                                                         \
         .set_up = make,                                                               \
         .prepare = acquires,                                                          \
         .ready = one_sleeps,                                                          \
         .operate = releases,                                                          \
         .look = look,                                                                 \
         .after = all_pass,                                                            \
         .flags = CRASH_LIVES,                                                         \
         .variant = VARIANT},                                                          \
        {.operation = WHAT " release",                                                 \
         .path = "two asleep",                                                         \
         .set_up = make,                                                               \
         .prepare = acquires,                                                          \
         .ready = two_sleep,                                                           \
         .operate = releases,                                                          \
         .look = look,                                                                 \
         .after = all_pass,                                                            \
         .flags = CRASH_LIVES,                                                         \
         .variant = VARIANT},                                                          \
        {.operation = WHAT " release",                                                 \
         .path = "one asleep, one comes",                                              \
         .set_up = make,                                                               \
         .prepare = acquires,                                                          \
         .ready = one_sleeps,                                                          \
         .operate = releases,                                                          \
         .against = another_comes,                                                     \
         .look = look,                                                                 \
         .after = all_pass,                                                            \
         .flags = CRASH_LIVES,                                                         \
         .variant = VARIANT},                                                          \
        {.operation = WHAT " release",                                                 \
         .path = "one asleep, disarmed",                                               \
         .set_up = make,                                                               \
         .prepare = acquires,                                                          \
         .ready = one_sleeps,                                                          \
         .operate = releases,                                                          \
         .look = look,                                                                 \
         .committed = is_released,                                                     \
         .after = all_pass,                                                            \
         .flags = CRASH_LIVES | CRASH_DISARMED,                                        \
         .variant = VARIANT},                                                          \
    {                                                                                  \
        .operation = WHAT " release", .path = "recovery, asleep", .set_up = make,      \
        .first_prepare = acquires, .ready = look_first, .first_operate = releases,     \
        .operate = acquires, .asleep = another_sleeps_first_dies,                      \
        .against = another_comes, .look = look, .after = all_pass,                     \
        .flags = CRASH_NOT_STOPPED | CRASH_FIRST_DIES_LATE, .variant = VARIANT         \
    }

const struct crash_case crash_locks[] = {CASES("lock", LOCK),
                                         CASES("rlock", RLOCK),
                                         {.operation = "lock release",
                                          .path = "another's",
                                          .set_up = owner_leaves_it,
                                          .ready = another_comes,
                                          .operate = releases,
                                          .look = look_whose,
                                          .after = released_by_any,
                                          .flags = CRASH_LIVES},
                                         {.operation = "lock acquire",
                                          .path = "handed on",
                                          .set_up = make,
                                          .operate = acquires,
                                          .after = still_taken,
                                          .variant = HANDOFF},
                                         {.operation = "rlock acquire",
                                          .path = "again",
                                          .set_up = make,
                                          .prepare = acquires,
                                          .operate = acquires,
                                          .against = one_sleeps,
                                          .look = look,
                                          .after = depth_is_new,
                                          .variant = RLOCK},
                                         {.operation = "rlock release",
                                          .path = "one of two",
                                          .set_up = make,
                                          .prepare = acquires_twice,
                                          .operate = releases,
                                          .against = one_sleeps,
                                          .look = look,
                                          .after = depth_is_new,
                                          .variant = RLOCK},
                                         {0}};
