/* SPDX-License-Identifier: MIT */
/* cases_barrier.c: barriers. Who had come and dies breaks it, and all who wait are told;
 * whose coming was not counted changes nothing. */
#include "crash.h"

#define BROKEN (UINT64_C(1) << 32) /* as in barrier.c */

static covey_barrier *barrier(void)
{
    return stage->object;
}
static uint64_t state(void)
{
    return atomic_load(&barrier()->state);
}
static unsigned arrived(void)
{
    return (unsigned)(state() >> 48);
}
static uint32_t generation(void)
{
    return (uint32_t)state() & 0x7fffffffu;
}

static _Thread_local unsigned index_had;
static int job_wait(void)
{
    return covey_barrier_wait(barrier(), COVEY_FOREVER, &index_had);
}
static int job_look_in(void)
{
    return covey_barrier_wait(barrier(), COVEY_NOWAIT, NULL);
}

static int act(void)
{
    atomic_fetch_add(&stage->acted, 1);
    return 0;
}

static void make_for(unsigned parties, covey_action_fn *action)
{
    if (covey_barrier_create((covey_barrier **)&stage->object, parties,
                             COVEY_BARRIER_OPTS(.action = action)) < 0)
        abort();
}
static void make(void)
{
    make_for(3, NULL);
}
static void make_of_four(void)
{
    make_for(4, NULL);
}
static void make_with_action(void)
{
    make_for(3, act);
}
static void make_full(void)
{
    make();
    for (unsigned i = 0; i < CVY_TABLE_INLINE; i++) {
        HELPER(i, job_look_in);
        (void)helper_settle(i);
        (void)covey_barrier_reset(barrier());
    }
    helpers_forget();
}

static void waits(void)
{
    stage->result = covey_barrier_wait(barrier(), COVEY_FOREVER, &index_had);
}
static void waits_a_little(void)
{
    stage->result = covey_barrier_wait(barrier(), COVEY_MSEC(15), NULL);
}
static void aborts(void)
{
    stage->result = covey_barrier_abort(barrier());
}
static void resets(void)
{
    stage->result = covey_barrier_reset(barrier());
}

static void let_wait(unsigned i)
{
    if (!helper_is_started(i))
        HELPER(i, job_wait);
    (void)helper_settle(i);
}
static void one_comes(void)
{
    let_wait(0);
}
static void two_come(void)
{
    let_wait(0);
    let_wait(1);
}

/* One of two looks only when the operation is over. */
static void two_come_one_sleeps_long(void)
{
    two_come();
    helper_freeze(0);
}
static void it_looks(void)
{
    helper_thaw(0);
}

/* ---- afterwards ------------------------------------------------------------------- */

static uint32_t generation_at_point;
static bool counted, broken;

/* Whether the victim was counted in a generation that is not over. */
static void look(void)
{
    unsigned helpers = 0;
    for (unsigned i = 0; i < 3; i++)
        helpers += helper_is_started(i) && helper_is_busy(i);
    generation_at_point = generation();
    broken = state() & BROKEN;
    counted = !broken && arrived() > helpers;
}
static bool is_over(void)
{
    return generation() || state() & BROKEN;
}

static const char *result_is(unsigned i, int expected)
{
    const char *is = helper_await(i);
    if (!is && helper_result(i) != expected)
        is = wrong("helper %u gets %d (%s), not %d", i, helper_result(i),
                   covey_strerror(helper_result(i)), expected);
    return is;
}
static const char *results_are(int expected)
{
    const char *is = NULL;
    for (unsigned i = 0; i < 4 && !is; i++)
        if (helper_is_started(i))
            is = result_is(i, expected);
    return is;
}

/* A reset makes it as new: as many helpers meet as it is for. */
static const char *as_new(void)
{
    if (covey_barrier_reset(barrier()) < 0 || covey_barrier_broken(barrier()))
        return "it cannot be reset";
    for (unsigned i = 0; i < barrier()->parties; i++)
        HELPER(i, job_wait);
    const char *is = results_are(0);
    return is ? wrong("after a reset: %s", is) : NULL;
}

/* Who waits passes if the victim's coming let them; is told if it was counted and died;
 * else waits on, and passes when others come in its place. */
static const char *pass_or_told(void)
{
    const char *is;
    if (generation_at_point) {
        is = results_are(0);
    } else if (counted || broken) {
        is = results_are(COVEY_EBROKEN);
    } else {
        for (unsigned i = 0; i < 3; i++)
            let_wait(i);
        is = results_are(0);
    }
    return is ? is : as_new();
}

/* With an action: who passes does so after exactly one call of it. */
static const char *pass_after_action(void)
{
    unsigned acted = atomic_load(&stage->acted);
    if (generation_at_point && acted != 1)
        return wrong("they were released after %u calls of the action", acted);
    return pass_or_told();
}

/* An abort or a reset: told if it had begun; else it is done now. */
static const char *told_then(void)
{
    if (!broken && !generation_at_point && covey_barrier_abort(barrier()) < 0)
        return "it cannot be aborted";
    const char *is = results_are(COVEY_EBROKEN);
    return is ? is : as_new();
}

/* Two victims: the first came and died, the other hears of it while it waits. */
static void another_waits_first_dies(void)
{
    let_wait(0);
    crash_first_kill();
}
static const char *told_if_counted(void)
{
    if (!counted && !broken && !generation_at_point && !helper_settle(0))
        (void)covey_barrier_abort(barrier());
    const char *is = results_are(COVEY_EBROKEN);
    return is ? is : as_new();
}
static const char *grown_is_right(void)
{
    (void)covey_barrier_reset(barrier());
    return as_new();
}

const struct crash_case crash_barriers[] = {
    {"barrier wait", "asleep, woken", .set_up = make, .operate = waits,
     .asleep = two_come, .against = two_come, .look = look, .after = pass_or_told},
    {"barrier wait", "one asleep", .set_up = make, .operate = waits, .asleep = two_come,
     .against = one_comes, .look = look, .after = pass_or_told},
    {"barrier wait", "the last, two asleep", .set_up = make, .ready = two_come,
     .operate = waits, .look = look, .after = pass_or_told, .flags = CRASH_LIVES},
    {"barrier wait", "the last, disarmed", .set_up = make, .ready = two_come,
     .operate = waits, .look = look, .after = pass_or_told, .committed = is_over,
     .flags = CRASH_LIVES | CRASH_DISARMED},
    {"barrier wait", "action", .set_up = make_with_action, .ready = two_come,
     .operate = waits, .look = look, .after = pass_after_action, .flags = CRASH_LIVES},
    {"barrier wait", "action of another", .set_up = make_with_action, .operate = waits,
     .asleep = two_come, .against = two_come, .look = look, .after = pass_or_told},
    {"barrier wait", "timed out", .set_up = make, .ready = one_comes,
     .operate = waits_a_little, .look = look, .after = pass_or_told,
     .flags = CRASH_BREAKS},
    {"barrier wait", "grown", .set_up = make_full, .operate = waits_a_little,
     .after = grown_is_right, .helpers = CVY_TABLE_INLINE},
    {"barrier wait", "recovery", .set_up = make_of_four, .first_operate = waits,
     .operate = waits, .asleep = another_waits_first_dies, .against = one_comes,
     .look = look, .after = told_if_counted, .helpers = 4,
     .flags =
         CRASH_FIRST_ENDS | CRASH_FIRST_DIES_LATE | CRASH_NOT_STOPPED | CRASH_BREAKS},
    {"barrier abort", "two asleep", .set_up = make, .ready = two_come,
     .operate = aborts, .look = look, .after = told_then,
     .flags = CRASH_LIVES | CRASH_BREAKS},
    {"barrier abort", "uncontended", .set_up = make, .operate = aborts, .look = look,
     .after = told_then},
    {"barrier reset", "two asleep", .set_up = make, .ready = two_come_one_sleeps_long,
     .against = it_looks, .operate = resets, .look = look, .after = told_then,
     .flags = CRASH_LIVES | CRASH_BREAKS},
    {0}};
