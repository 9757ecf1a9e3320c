/* SPDX-License-Identifier: MIT */
/* cases_semaphore.c: semaphores. The dead one's permits are back, exactly; what was given
 * as a signal was given or not, and is not lost. */
#include "crash.h"

enum { PLAIN, BOUNDED };

static unsigned first_value; /* the case's; set by the hook that makes it */

static covey_semaphore *sem(void)
{
    return stage->object;
}
static unsigned value(void)
{
    return (uint32_t)atomic_load(&sem()->word) & 0x7fffffffu;
}

static int acquire(covey_nsec timeout)
{
    return stage->variant == BOUNDED
               ? covey_bounded_semaphore_acquire(stage->object, timeout)
               : covey_semaphore_acquire(stage->object, timeout);
}
static int release(unsigned n)
{
    return stage->variant == BOUNDED ? covey_bounded_semaphore_release(stage->object, n)
                                     : covey_semaphore_release(stage->object, n);
}

/* ---- jobs ----------------------------------------------------------------------- */

static int job_take(void)
{
    return acquire(COVEY_FOREVER);
}
static int job_give(void)
{
    return release(1);
}
static int job_pass(void)
{
    int r = job_take();
    return r < 0 ? r : job_give();
}

/* ---- what the victim does --------------------------------------------------------- */

static void make(unsigned first)
{
    first_value = first;
    int r =
        stage->variant == BOUNDED
            ? covey_bounded_semaphore_create((covey_bounded_semaphore **)&stage->object,
                                             first, NULL)
            : covey_semaphore_create((covey_semaphore **)&stage->object, first, NULL);
    if (r < 0)
        abort();
}
static void make_none(void)
{
    make(0);
}
static void make_one(void)
{
    make(1);
}
static void make_two(void)
{
    make(2);
}
static void make_taken(void)
{
    make(1);
    HELPER(0, job_take);
    (void)helper_settle(0);
}
/* All entries in the object are living processes'. */
static void make_full(void)
{
    make(2);
    for (unsigned i = 0; i < CVY_TABLE_INLINE; i++) {
        HELPER(i, job_pass);
        (void)helper_settle(i);
    }
}
static void make_signalled(void)
{
    make(0);
    (void)release(1);
}

static void acquires(void)
{
    stage->result = acquire(COVEY_FOREVER);
}
static void acquires_soon(void)
{
    stage->result = acquire(COVEY_MSEC(15));
}
static void acquires_now(void)
{
    stage->result = acquire(COVEY_NOWAIT);
}
static void releases(void)
{
    stage->result = release(1);
}
static void releases_two(void)
{
    stage->result = release(2);
}
static void passes(void)
{
    acquires();
    releases();
}
static void acquires_two(void)
{
    acquires();
    acquires();
}

/* ---- helpers ---------------------------------------------------------------------- */

static void one_sleeps(void)
{
    if (!helper_is_started(0))
        HELPER(0, job_take);
    (void)helper_settle(0);
}
static void two_sleep(void)
{
    one_sleeps();
    HELPER(1, job_take);
    (void)helper_settle(1);
}
static void one_passes(void)
{
    HELPER(0, job_pass);
    (void)helper_settle(0);
}
static void two_pass(void)
{
    one_passes();
    HELPER(1, job_pass);
    (void)helper_settle(1);
}
static void another_comes(void)
{
    if (!helper_is_started(1))
        HELPER(1, job_pass);
    (void)helper_settle(1);
}
static void another_sleeps_owner_gives(void)
{
    another_comes();
    if (stage->helpers[0].job == job_take)
        HELPER(0, job_give);
    (void)helper_settle(0);
}
static void another_sleeps_first_dies(void)
{
    another_comes();
    crash_first_kill();
}

/* ---- afterwards ------------------------------------------------------------------- */

static unsigned given_at_point;

static unsigned signals_heard(void)
{
    unsigned heard = 0;
    for (unsigned i = 0; i < 2; i++)
        heard += helper_is_started(i) && !helper_is_busy(i);
    return heard;
}
static void look(void)
{
    given_at_point = value() + signals_heard();
}
static bool is_given(void)
{
    return value() > 0;
}

/* There are just so many permits, and they can be had; then they are given back. */
static const char *permits_are(unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        int64_t begun = cvy_os_now();
        int r = acquire(helpers_limit);
        if (r < 0)
            return wrong("permit %u of %u cannot be had: %s", i + 1, count,
                         covey_strerror(r));
        if (cvy_os_now() - begun > helpers_slowest)
            helpers_slowest = cvy_os_now() - begun;
    }
    int r = acquire(COVEY_NOWAIT);
    if (r != -ETIMEDOUT)
        return wrong("a permit more than %u can be had", count);
    if (count && release(count) < 0)
        return wrong("%u permits cannot be given back", count);
    return value() == count ? NULL : wrong("the value is %u, not %u", value(), count);
}

/* All who took a permit give it back; all are there then. */
static const char *all_are_back(void)
{
    const char *is = NULL;
    for (unsigned i = 0; i < CVY_TABLE_INLINE && !is; i++) {
        if (!helper_is_started(i))
            continue;
        is = helper_await(i);
        if (!is && helper_result(i) < 0)
            is = wrong("helper %u: %s", i, covey_strerror(helper_result(i)));
        if (!is && stage->helpers[i].job == job_take) {
            HELPER(i, job_give);
            is = helper_await(i);
        }
    }
    return is ? is : permits_are(first_value);
}

/* Helpers 0 (and 1) hold what they waited for while the victim's end is looked at: each
 * must come through without the other's release. */
static const char *both_come(void)
{
    const char *is = helpers_await(0, 1);
    return is ? is : all_are_back();
}

/* A helper had it, and gives it back if it has not done so. */
static const char *owner_gives_back(void)
{
    if (stage->helpers[0].job == job_take && !helper_is_busy(0))
        HELPER(0, job_give);
    return all_are_back();
}

/* Signals: what the word says at the victim's death is what others get. */
static const char *signals_are_right(unsigned sleepers)
{
    unsigned given = given_at_point, owed = given < sleepers ? given : sleepers;
    for (int64_t until = cvy_os_now() + helpers_limit; signals_heard() < owed;)
        if (cvy_os_now() >= until)
            return wrong("%u signals were given, %u were heard", owed, signals_heard());
    if (owed < sleepers && release(sleepers - owed) < 0)
        return "it cannot be released any more";
    const char *is = sleepers ? helpers_await(0, sleepers - 1) : NULL;
    return is ? is : permits_are(given - owed);
}
static const char *one_signal(void)
{
    return signals_are_right(1);
}
static const char *two_signals(void)
{
    return signals_are_right(2);
}
static const char *value_is_kept(void)
{
    return signals_are_right(0);
}

#define SEM "semaphore "
const struct crash_case crash_semaphores[] = {
    {SEM "acquire", "uncontended", .set_up = make_two, .prepare = passes,
     .operate = acquires, .against = one_passes, .after = all_are_back},
    {SEM "acquire", "its first", .set_up = make_two, .operate = acquires,
     .against = one_passes, .after = all_are_back},
    {SEM "acquire", "grown", .set_up = make_full, .operate = acquires,
     .after = all_are_back, .helpers = CVY_TABLE_INLINE},
    {SEM "acquire", "contended", .set_up = make_taken, .operate = acquires_now,
     .against = another_comes, .after = owner_gives_back},
    {SEM "acquire", "asleep, woken", .set_up = make_taken, .operate = acquires,
     .asleep = another_sleeps_owner_gives, .against = another_comes,
     .after = owner_gives_back},
    {SEM "acquire", "timed out", .set_up = make_taken, .operate = acquires_soon,
     .asleep = another_comes, .against = another_comes, .after = owner_gives_back},
    {SEM "acquire", "recovery", .set_up = make_one, .first_prepare = acquires,
     .operate = acquires, .against = another_comes, .after = all_are_back,
     .flags = CRASH_NOT_STOPPED},
    {SEM "acquire", "recovery of acquire", .set_up = make_two, .first_prepare = passes,
     .first_operate = acquires, .operate = acquires, .against = another_comes,
     .after = all_are_back, .flags = CRASH_NOT_STOPPED},
    {SEM "acquire", "recovery, asleep", .set_up = make_one, .first_prepare = acquires,
     .first_operate = releases, .operate = acquires,
     .asleep = another_sleeps_first_dies, .against = another_comes,
     .after = all_are_back,
     .flags = CRASH_NOT_STOPPED | CRASH_FIRST_DIES_LATE | CRASH_BRIEF},
    {SEM "acquire", "a signal's", .set_up = make_signalled, .operate = acquires,
     .look = look, .after = value_is_kept},
    {SEM "release", "uncontended", .set_up = make_two, .prepare = acquires,
     .operate = releases, .against = one_passes, .after = all_are_back,
     .flags = CRASH_LIVES},
    {SEM "release", "one asleep", .set_up = make_one, .prepare = acquires,
     .ready = one_sleeps, .operate = releases, .after = all_are_back,
     .flags = CRASH_LIVES},
    {SEM "release", "one after the other", .set_up = make_one, .prepare = acquires,
     .ready = two_pass, .operate = releases, .after = all_are_back,
     .flags = CRASH_LIVES},
    {SEM "release", "two asleep", .set_up = make_two, .prepare = acquires_two,
     .ready = two_sleep, .operate = releases_two, .after = both_come,
     .flags = CRASH_LIVES},
    {SEM "release", "as a signal, one asleep", .set_up = make_none, .ready = one_sleeps,
     .operate = releases, .look = look, .after = one_signal, .flags = CRASH_LIVES},
    {SEM "release", "as a signal, two asleep", .set_up = make_none, .ready = two_sleep,
     .operate = releases_two, .look = look, .after = two_signals, .flags = CRASH_LIVES},
    {SEM "release", "as a signal, disarmed", .set_up = make_none, .ready = one_sleeps,
     .operate = releases, .look = look, .after = one_signal, .committed = is_given,
     .flags = CRASH_LIVES | CRASH_DISARMED},
    {SEM "release", "becomes a signal", .set_up = make_one, .operate = releases,
     .look = look, .after = value_is_kept},
    {"bounded acquire", "uncontended", .set_up = make_two, .prepare = passes,
     .operate = acquires, .against = one_passes, .after = all_are_back,
     .variant = BOUNDED},
    {"bounded acquire", "asleep, woken", .set_up = make_taken, .operate = acquires,
     .asleep = another_sleeps_owner_gives, .against = another_comes,
     .after = owner_gives_back, .variant = BOUNDED},
    {"bounded release", "one asleep", .set_up = make_one, .prepare = acquires,
     .ready = one_sleeps, .operate = releases, .after = all_are_back,
     .flags = CRASH_LIVES, .variant = BOUNDED},
    {"bounded release", "full", .set_up = make_two, .prepare = passes,
     .operate = releases, .against = one_passes, .after = all_are_back,
     .variant = BOUNDED},
    {0}};
