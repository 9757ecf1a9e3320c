/* SPDX-License-Identifier: MIT */
/* Events: set, cleared, waited for. */
#include "sync_help.h"

static covey_event *event_made(void)
{
    covey_event *event = NULL;
    CHECK_OK(covey_event_create(&event, NULL));
    return event;
}

static struct stage *stage_with_event(void)
{
    struct stage *s = stage_made();
    s->object = event_made();
    return s;
}

TEST(new_event_is_not_set)
{
    covey_event *event = event_made();
    CHECK_EQ(covey_event_is_set(event), 0);
    CHECK_REPR(event, event, "<Event at %p unset>", (void *)event);
    CHECK_ERR(covey_event_wait(event, COVEY_NOWAIT), -ETIMEDOUT);
    CHECK_EQ(covey_event_set(event), 0);
    CHECK_EQ(covey_event_set(event), 0);
    CHECK_EQ(covey_event_is_set(event), 1);
    CHECK_REPR(event, event, "<Event at %p set>", (void *)event);
    CHECK_EQ(covey_event_wait(event, COVEY_NOWAIT), 0);
    CHECK_EQ(covey_event_wait(event, COVEY_FOREVER), 0);
    CHECK_EQ(covey_event_clear(event), 0);
    CHECK_EQ(covey_event_clear(event), 0);
    CHECK_EQ(covey_event_is_set(event), 0);
    CHECK_ERR(covey_event_wait(event, 0), -ETIMEDOUT);
    CHECK_ERR(covey_event_repr(event, NULL), -EINVAL);
    covey_event_free(event);
    covey_event_free(NULL);
}

TEST(bad_options_make_no_event)
{
    covey_event *event = NULL;
    CHECK_ERR(covey_event_create(NULL, NULL), -EINVAL);
    CHECK_ERR(covey_event_create(&event, &(struct covey_event_opts){.name = "no size"}),
              -EINVAL);
    CHECK(event == NULL);
}

TEST(events_cost_what_the_header_says)
{
    covey_event *a = event_made(), *b = event_made();
    CHECK_EQ((char *)b - (char *)a, 128);
    covey_event_free(a);
    covey_event_free(b);
}

TEST(wait_for_an_event_times_out)
{
    covey_event *event;
    CHECK_OK(covey_event_create(&event, COVEY_EVENT_OPTS(.name = "ready")));
    int64_t start = cvy_os_now();
    CHECK_ERR(covey_event_wait(event, COVEY_MSEC(30)), -ETIMEDOUT);
    CHECK_GE(cvy_os_now() - start, COVEY_MSEC(30));
    CHECK_STR_HAS(covey_error_detail(), "covey_event_wait: event ready is not set");
    covey_event_free(event);
}

static int wait_once(struct covey_view arg)
{
    struct stage *s = stage_of(arg);
    CHECK_EQ(covey_event_wait(s->object, COVEY_FOREVER), 0);
    family_tell(&s->told);
    return 0;
}

TEST_EACH_METHOD_AND_THREAD(set_wakes_all)
{
    struct stage *s = stage_with_event();
    covey_process *processes[5];
    for (int i = 0; i < 5; i++)
        processes[i] = acting(wait_once, s);
    await_sleepers(s->object, 5);
    CHECK_EQ(s->told, 0);
    CHECK_OK(covey_event_set(s->object));
    for (int i = 0; i < 5; i++)
        CHECK_EQ(end_of(processes[i]), 0);
    CHECK_EQ(s->told, 5);
    CHECK_EQ(covey_event_is_set(s->object), 1);
    covey_event_free(s->object);
}

TEST_EACH_METHOD_AND_THREAD(set_and_clear_frees_who_waits)
{
    struct stage *s = stage_with_event();
    for (int round = 0; round < 20; round++) {
        covey_process *a = acting(wait_once, s), *b = acting(wait_once, s);
        await_sleepers(s->object, 2);
        CHECK_OK(covey_event_set(s->object));
        CHECK_OK(covey_event_clear(s->object));
        CHECK_EQ(end_of(a), 0);
        CHECK_EQ(end_of(b), 0);
        CHECK_ERR(covey_event_wait(s->object, COVEY_NOWAIT), -ETIMEDOUT);
    }
    covey_event_free(s->object);
}

static int set_it(struct covey_view arg)
{
    struct stage *s = stage_of(arg);
    CHECK_EQ(covey_event_is_set(s->object), 0);
    CHECK_OK(covey_event_set(s->object));
    return 0;
}

TEST_EACH_METHOD_AND_THREAD(children_set_and_see_it)
{
    struct stage *s = stage_with_event();
    covey_process *p = acting(set_it, s);
    CHECK_EQ(covey_event_wait(s->object, COVEY_FOREVER), 0);
    CHECK_EQ(end_of(p), 0);
    CHECK_EQ(act_alone(wait_once, s), 0);
    CHECK_OK(covey_event_clear(s->object));
    CHECK_EQ(act_alone(set_it, s), 0);
    covey_event_free(s->object);
}

static int answer(struct covey_view arg)
{
    struct stage *s = stage_of(arg);
    for (int i = 0; i < 3000; i++) {
        CHECK_EQ(covey_event_wait(s->object, COVEY_FOREVER), 0);
        CHECK_OK(covey_event_clear(s->object));
        CHECK_EQ(s->counter++, 2 * i);
        CHECK_OK(covey_event_set(s->other));
    }
    return 0;
}

TEST_EACH_METHOD_AND_THREAD(two_events_make_strict_turns)
{
    struct stage *s = stage_with_event();
    s->other = event_made();
    covey_process *p = acting(answer, s);
    for (int i = 0; i < 3000; i++) {
        CHECK_OK(covey_event_set(s->object));
        CHECK_EQ(covey_event_wait(s->other, COVEY_FOREVER), 0);
        CHECK_OK(covey_event_clear(s->other));
        CHECK_EQ(s->counter++, 2 * i + 1);
    }
    CHECK_EQ(end_of(p), 0);
    covey_event_free(s->object);
    covey_event_free(s->other);
}

/* Whoever waits when it is set returns, though it is cleared at once, again and again. */
static int wait_often(struct covey_view arg)
{
    struct stage *s = stage_of(arg);
    for (int i = 0; i < 200; i++)
        CHECK_EQ(covey_event_wait(s->object, COVEY_FOREVER), 0);
    atomic_fetch_sub(&s->counter, 1);
    return 0;
}

TEST_EACH_METHOD_AND_THREAD(flashes_of_an_event_are_seen)
{
    struct stage *s = stage_with_event();
    s->counter = 3;
    covey_process *processes[3];
    for (int i = 0; i < 3; i++)
        processes[i] = acting(wait_often, s);
    while (s->counter) {
        CHECK_OK(covey_event_set(s->object));
        CHECK_OK(covey_event_clear(s->object));
        cvy_os_yield();
    }
    for (int i = 0; i < 3; i++)
        CHECK_EQ(end_of(processes[i]), 0);
    covey_event_free(s->object);
}

CHECK_MAIN()
