/* SPDX-License-Identifier: MIT */
/* cases_event.c: events. One that was set wakes all, and nothing depends on who waits. */
#include "crash.h"

static covey_event *event(void)
{
    return stage->object;
}

static int job_wait(void)
{
    return covey_event_wait(event(), COVEY_FOREVER);
}

static void make(void)
{
    if (covey_event_create((covey_event **)&stage->object, NULL) < 0)
        abort();
}
static void make_set(void)
{
    make();
    (void)covey_event_set(event());
}
static void sets(void)
{
    stage->result = covey_event_set(event());
}
static void clears(void)
{
    stage->result = covey_event_clear(event());
}
static void sets_and_clears(void)
{
    sets();
    clears();
}
static void waits(void)
{
    stage->result = covey_event_wait(event(), COVEY_FOREVER);
}
static void waits_a_little(void)
{
    stage->result = covey_event_wait(event(), COVEY_MSEC(15));
}

static void let_wait(unsigned i)
{
    if (!helper_is_started(i))
        HELPER(i, job_wait);
    (void)helper_settle(i);
}
static void two_sleep(void)
{
    let_wait(0);
    let_wait(1);
}
static void another_comes(void)
{
    let_wait(2);
}
/* One looks only when the operation is over. */
static void one_sleeps_long(void)
{
    two_sleep();
    helper_freeze(0);
}
static void it_looks(void)
{
    helper_thaw(0);
}
static void another_sleeps_then_set(void)
{
    let_wait(2);
    (void)covey_event_set(event());
}

static bool was_set;

static void look(void)
{
    uint32_t word = atomic_load(&event()->word);
    was_set = (word & ~CVY_WAITERS) != 0; /* now, or before: the upper bits count */
}
static bool is_set(void)
{
    return covey_event_is_set(event()) > 0;
}

/* All who wait come through if it was set at the point; else when it is set now. */
static const char *all_hear(void)
{
    const char *is = NULL;
    if (!was_set && covey_event_set(event()) < 0)
        return "it cannot be set any more";
    for (unsigned i = 0; i < 3 && !is; i++)
        if (helper_is_started(i))
            is = helper_await(i);
    if (is)
        return is;
    (void)covey_event_clear(event());
    if (covey_event_wait(event(), COVEY_NOWAIT) != -ETIMEDOUT || is_set())
        return "it cannot be cleared any more";
    return covey_event_set(event()) < 0 || covey_event_wait(event(), COVEY_NOWAIT)
               ? "it cannot be set any more"
               : NULL;
}

const struct crash_case crash_events[] = {
    {"event set", "uncontended", .set_up = make, .operate = sets, .look = look,
     .after = all_hear},
    {"event set", "two asleep", .set_up = make, .ready = two_sleep, .operate = sets,
     .look = look, .after = all_hear, .flags = CRASH_LIVES},
    {"event set", "two asleep, one comes", .set_up = make, .ready = two_sleep,
     .operate = sets, .against = another_comes, .look = look, .after = all_hear,
     .flags = CRASH_LIVES},
    {"event set", "two asleep, disarmed", .set_up = make, .ready = two_sleep,
     .operate = sets, .look = look, .after = all_hear, .committed = is_set,
     .flags = CRASH_LIVES | CRASH_DISARMED},
    {"event set, clear", "two asleep", .set_up = make, .ready = one_sleeps_long,
     .operate = sets_and_clears, .against = it_looks, .look = look, .after = all_hear,
     .flags = CRASH_LIVES},
    {"event clear", "uncontended", .set_up = make_set, .operate = clears,
     .after = all_hear},
    {"event wait", "uncontended", .set_up = make_set, .operate = waits,
     .after = all_hear},
    {"event wait", "asleep, woken", .set_up = make, .operate = waits,
     .asleep = another_sleeps_then_set, .against = another_comes, .after = all_hear},
    {"event wait", "timed out", .set_up = make, .operate = waits_a_little,
     .asleep = another_comes, .against = another_comes, .after = all_hear},
    {0}};
