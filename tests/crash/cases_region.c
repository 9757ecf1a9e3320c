/* SPDX-License-Identifier: MIT */
/* cases_region.c: objects made, held and freed, and threads attached, as far as all kinds
 * of objects share it; tests/test_region_kills.c does more. The books are looked at after
 * each case's each point, so there is nothing to do here but the operations. */
#include "crash.h"
#include "region/slot.h"

static void make_first(void)
{
    cvy_ref ref = 0;
    if (cvy_object_create(CVY_KIND_TEST, 256, 0, 3 * CVY_PAGE, &stage->object, &ref) <
        0)
        abort();
}
static void creates(void)
{
    void *object;
    cvy_ref ref = 0;
    stage->result =
        cvy_object_create(CVY_KIND_TEST, 640, 0, 5 * CVY_PAGE, &object, &ref);
}
static void holds(void)
{
    stage->result = cvy_object_hold(stage->object, cvy_member_owner(), "crash");
}
static void releases(void)
{
    stage->result = cvy_object_release(stage->object);
}
static void attaches_again(void)
{
    cvy_slot_detach(cvy_thread_owner());
    cvy_thread.epoch = 0;
    stage->result = cvy_enter();
}
static void leaves(void)
{
    cvy_member_leave(0);
}

static int job_create(void)
{
    void *object;
    int r = cvy_object_create(CVY_KIND_TEST, 640, 0, CVY_PAGE, &object, &(cvy_ref){0});
    return r < 0 ? r : cvy_object_release(object);
}
static void another_creates(void)
{
    HELPER(0, job_create);
    (void)helper_settle(0);
}
static const char *another_could(void)
{
    const char *is = helper_await(0);
    return !is && helper_result(0) < 0 ? "nobody can make an object" : is;
}

const struct crash_case crash_regions[] = {
    {"object create", "contended", .set_up = make_first, .operate = creates,
     .against = another_creates, .after = another_could, .flags = CRASH_LIVES},
    {"object hold", "contended", .set_up = make_first, .operate = holds,
     .against = another_creates, .after = another_could, .flags = CRASH_LIVES},
    {"object release", "contended", .set_up = make_first, .prepare = holds,
     .operate = releases, .against = another_creates, .after = another_could,
     .flags = CRASH_LIVES},
    {"thread attach", "contended", .operate = attaches_again,
     .against = another_creates, .after = another_could,
     .flags = CRASH_LIVES | CRASH_BRIEF},
    {"member leave", "contended", .set_up = make_first, .prepare = holds,
     .operate = leaves, .against = another_creates, .after = another_could,
     .flags = CRASH_LIVES | CRASH_BRIEF},
    {0}};
