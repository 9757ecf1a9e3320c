/* SPDX-License-Identifier: MIT */
/* Members killed at any instruction of what they do to the region: the others go on, and
 * its books are right. */
#include <sched.h>
#include <time.h>

#include "family.h"
#include "kill_points.h"
#include "region/slot.h"

/* What must be as before once the victim is dead and swept. */
static struct covey_family_usage start;
static char text[256];

static const char *compare(const char *what, uint64_t now, uint64_t before)
{
    if (now == before)
        return NULL;
    snprintf(text, sizeof text, "%llu %s, not %llu", (unsigned long long)now, what,
             (unsigned long long)before);
    return text;
}

static const char *check_books(void *unused)
{
    (void)unused;
    struct covey_family_usage now = family_usage();
    cvy_region_lock();
    const char *wrong = cvy_alloc_check();
    if (!wrong && cvy_head->undo_count)
        wrong = "the undo log is not empty";
    if (!wrong && cvy_head->graves)
        wrong = "an object that nobody holds is left";
    if (!wrong && cvy_head->limbo)
        wrong = "a run is left in limbo";
    cvy_region_unlock();
    for (uint32_t i = 0; i < atomic_load(&cvy_head->slot_high) && !wrong; i++)
        if (atomic_load(&cvy_slot_at(i)->word) >> 48 && !cvy_slot_at(i)->member)
            wrong = "a slot is neither free nor in a list";
    if (!wrong)
        wrong = compare("objects", now.objects, start.objects);
    if (!wrong)
        wrong = compare("members", now.members, start.members);
    if (!wrong)
        wrong = compare("threads", now.threads, start.threads);
    return wrong ? wrong : compare("bytes in use", now.used, start.used);
}

/* A family with little memory, so that what is freed takes the longest way. */
static void begin(void)
{
    kill_points_need();
    family_found(COVEY_FAMILY_OPTS(.budget = MIB));
    for (int i = 0; i < 3; i++)
        family_object(64, CVY_PAGE);
    start = family_usage();
}

struct operation {
    void *object;
    uint32_t member;
    cvy_ref run;
    cvy_word *ready;
};

/* `after` is to look at the books if it says nothing else. */
static void kill_at_some(struct kill_points points, long most)
{
    struct operation *context = family_shared(sizeof *context);
    context->ready = family_shared(sizeof *context->ready);
    points.context = context;
    if (!points.after)
        points.after = check_books;
    kill_points_run(&points, most);
}

static void kill_at_each(const char *name, void (*before)(void *),
                         void (*prepare)(void *), void (*operate)(void *))
{
    kill_at_some(
        (struct kill_points){
            .name = name, .before = before, .prepare = prepare, .operate = operate},
        family_long(40, 0));
}

/* ---- objects ---- */

static void enter(void *unused)
{
    (void)unused;
    CHECK_OK(cvy_enter());
}

static void make_object(void *context)
{
    struct operation *o = context;
    CHECK_OK(cvy_enter());
    o->object = family_object(256, 100 * CVY_PAGE);
}

static void release_object(void *context)
{
    (void)cvy_object_release(((struct operation *)context)->object);
}

static void create_object(void *context)
{
    struct operation *o = context;
    cvy_ref ref = 0;
    (void)cvy_object_create(CVY_KIND_TEST, 640, 0, 10 * CVY_PAGE, &o->object, &ref);
}

static void create_too_big(void *context)
{
    struct operation *o = context;
    cvy_ref ref = 0;
    (void)cvy_object_create(CVY_KIND_TEST, 640, 0, MIB, &o->object, &ref);
}

static void hold_object(void *context)
{
    CHECK_OK(covey_hold(((struct operation *)context)->object));
}

static void add_run(void *context)
{
    struct operation *o = context;
    (void)cvy_object_add_run(o->object, 5 * CVY_PAGE, &o->run);
}

static void make_object_with_run(void *context)
{
    make_object(context);
    add_run(context);
}

static void give_run(void *context)
{
    cvy_object_give_run(((struct operation *)context)->run);
}

static void make_second_hold(void *context)
{
    make_object(context);
    hold_object(context);
}

TEST_TIMEOUT(killed_while_creating, 300)
{
    begin();
    kill_at_each("create", NULL, enter, create_object);
    /* Most of it is text for people, with the lock released. */
    kill_at_some((struct kill_points){.name = "create, refused",
                                      .prepare = enter,
                                      .operate = create_too_big},
                 family_long(20, 500));
}

TEST_TIMEOUT(killed_while_releasing, 300)
{
    begin();
    kill_at_each("release", NULL, make_object, release_object);
    kill_at_each("release one of two", NULL, make_second_hold, release_object);
}

TEST_TIMEOUT(killed_while_holding, 300)
{
    begin();
    kill_at_each("hold again", NULL, make_object, hold_object);
}

TEST_TIMEOUT(killed_while_changing_runs, 300)
{
    begin();
    kill_at_each("add a run", NULL, make_object, add_run);
    kill_at_each("give a run", NULL, make_object_with_run, give_run);
}

/* The whole way of freed memory: out of the tables, back to the system, in again. */
static void take_and_give_big(void *context)
{
    struct operation *o = context;
    cvy_region_lock();
    (void)cvy_run_take(100 * CVY_PAGE, CVY_RUN_MEMBER, cvy_member_owner(), &o->run);
    cvy_region_unlock();
    cvy_region_lock();
    cvy_run_give(o->run);
    cvy_region_unlock();
}

static void trim(void *unused)
{
    (void)unused;
    cvy_region_trim();
}

static void free_some_runs(void *context)
{
    struct operation *o = context;
    cvy_ref refs[6];
    CHECK_OK(cvy_enter());
    cvy_region_lock();
    for (int i = 0; i < 6; i++)
        CHECK_OK(cvy_run_take(CVY_PAGE, CVY_RUN_MEMBER, cvy_member_owner(), &refs[i]));
    for (int i = 0; i < 6; i += 2)
        cvy_run_give(refs[i]);
    cvy_region_unlock();
    o->run = refs[0];
}

TEST_TIMEOUT(killed_while_giving_memory_back, 300)
{
    begin();
    kill_at_each("big extent", NULL, enter, take_and_give_big);
    kill_at_each("trim", NULL, free_some_runs, trim);
}

/* ---- members and threads ---- */

static void attach(void *unused)
{
    (void)unused;
    (void)cvy_enter();
}

static void leave(void *unused)
{
    (void)unused;
    cvy_member_leave(7);
}

static void detach(void *unused)
{
    (void)unused;
    cvy_slot_detach(cvy_thread_owner());
    cvy_thread.epoch = 0;
}

static void detach_and_attach(void *unused)
{
    detach(unused);
    attach(unused);
}

static void make_member(void *context)
{
    (void)cvy_member_new("Process-1", &((struct operation *)context)->member);
}

static void make_two_objects(void *context)
{
    make_object(context);
    cvy_region_lock();
    cvy_region_unlock();
    family_object(64, 0);
}

static void make_objects_and_member(void *context)
{
    make_two_objects(context);
    make_member(context);
}

static void copy_holds(void *context)
{
    (void)cvy_holds_copy(cvy_member_owner(), ((struct operation *)context)->member);
}

static void make_member_with_holds(void *context)
{
    make_objects_and_member(context);
    copy_holds(context);
}

static void release_member(void *context)
{
    cvy_member_release(((struct operation *)context)->member, NULL, NULL);
}

TEST_TIMEOUT(killed_while_attaching, 300)
{
    begin();
    kill_at_each("attach", NULL, NULL, attach);
    kill_at_each("detach, attach", NULL, enter, detach_and_attach);
}

TEST_TIMEOUT(killed_while_leaving, 300)
{
    begin();
    kill_at_each("leave", NULL, make_object, leave);
}

TEST_TIMEOUT(killed_while_making_members, 300)
{
    begin();
    kill_at_each("new member", NULL, enter, make_member);
    kill_at_each("copy the holds", NULL, make_objects_and_member, copy_holds);
    kill_at_each("release a member", NULL, make_member_with_holds, release_member);
}

/* Come up as a member that the test's process has made. */
static void make_member_for_victim(void *context)
{
    struct operation *o = context;
    CHECK_OK(cvy_member_new("Process-1", &o->member));
    CHECK_OK(cvy_holds_copy(cvy_member_owner(), o->member));
}

static void attach_as(void *context)
{
    (void)cvy_attach_as(((struct operation *)context)->member);
}

static const char *release_and_check(void *context)
{
    struct operation *o = context;
    cvy_member_release(o->member, NULL, NULL);
    return check_books(context);
}

TEST_TIMEOUT(killed_while_coming_up, 300)
{
    begin();
    kill_at_some((struct kill_points){.name = "come up",
                                      .before = make_member_for_victim,
                                      .operate = attach_as,
                                      .after = release_and_check},
                 family_long(60, 0));
}

/* ---- killed while repairing what another one left ---- */

/* Let a member do this and die, without being swept. */
static void die_after(void *context, void (*act)(void *))
{
    struct operation *o = context;
    atomic_store(o->ready, 0);
    int pid = family_fork();
    if (pid == 0) {
        act(context);
        family_tell(o->ready);
        family_pause();
    }
    family_await(o->ready, 1);
    family_kill(pid);
}

static void use_much(void *context)
{
    make_member_with_holds(context);
    free_some_runs(context);
}

static void leave_a_corpse(void *context)
{
    die_after(context, use_much);
}

static void begin_a_change(void *context)
{
    struct operation *o = context;
    make_object(context);
    cvy_region_lock();
    (void)cvy_run_take(3 * CVY_PAGE, CVY_RUN_MEMBER, cvy_member_owner(), &o->run);
    cvy_hold_drop_first(CVY_INDEX_OF(cvy_member_owner()));
}

static void leave_a_half_change(void *context)
{
    die_after(context, begin_a_change);
}

static void sweep(void *unused)
{
    (void)unused;
    cvy_members_sweep();
}

static void lock_and_unlock(void *unused)
{
    (void)unused;
    cvy_region_lock();
    cvy_region_unlock();
}

/* Attached before the other one dies, so that it is the one who repairs. */
TEST_TIMEOUT(killed_while_repairing, 300)
{
    begin();
    kill_at_each("sweep", leave_a_corpse, enter, sweep);
    kill_at_each("take back", leave_a_half_change, NULL, attach);
    kill_at_each("lock", NULL, enter, lock_and_unlock);
}

/* ---- objects of whose end somebody has to be told ---- */

static bool any(const void *object, const void *unused)
{
    (void)object;
    (void)unused;
    return true;
}

static bool take_over(void)
{
    void *object = cvy_object_take_owed(CVY_KIND_TEST, any, NULL);
    if (object)
        CHECK_OK(cvy_object_release(object));
    return object != NULL;
}

static void owe(void *context)
{
    cvy_object_owe(((struct operation *)context)->object);
}

static void make_owing(void *context)
{
    make_object(context);
    owe(context);
}

static void leave_an_owing_corpse(void *context)
{
    die_after(context, make_owing);
}

static void leave_a_debt(void *context)
{
    leave_an_owing_corpse(context);
    cvy_members_sweep();
}

static void take_over_once(void *unused)
{
    (void)unused;
    (void)take_over();
}

/* Whoever was killed: it is taken over once at most, and then nothing is left. */
static const char *at_most_once(void *context)
{
    cvy_members_sweep();
    (void)take_over();
    return take_over() ? "an object was owed twice" : check_books(context);
}

static const char *once(void *context)
{
    cvy_members_sweep();
    return take_over() ? at_most_once(context) : "nobody is to be told";
}

static void kill_and_settle(const char *name, void (*before)(void *),
                            void (*prepare)(void *), void (*operate)(void *),
                            const char *(*after)(void *))
{
    kill_at_some((struct kill_points){.name = name,
                                      .before = before,
                                      .prepare = prepare,
                                      .operate = operate,
                                      .after = after},
                 family_long(40, 0));
}

TEST_TIMEOUT(killed_while_owing, 300)
{
    begin();
    kill_and_settle("owe", NULL, make_object, owe, at_most_once);
    kill_and_settle("release", NULL, make_owing, release_object, at_most_once);
    kill_and_settle("sweep", leave_an_owing_corpse, enter, sweep, once);
    kill_and_settle("take over", leave_a_debt, enter, take_over_once, at_most_once);
}

/* ---- objects in objects ---- */

static void *inner_of(const struct operation *o)
{
    return (char *)o->object + 128;
}

static void embed(void *context)
{
    struct operation *o = context;
    cvy_object_embed(o->object, inner_of(o), CVY_KIND_TEST);
}

static void make_whole(void *context)
{
    make_object(context);
    embed(context);
}

static void hold_and_release_inner(void *context)
{
    const struct operation *o = context;
    CHECK_OK(covey_hold(inner_of(o)));
    CHECK_OK(covey_hold(inner_of(o)));
    CHECK_OK(cvy_object_release(inner_of(o)));
}

static void keep_inner(void *context)
{
    const struct operation *o = context;
    void *keeper = family_object(128, 0);
    CHECK_OK(cvy_object_keep(keeper, inner_of(o), "test"));
    (void)cvy_object_release(keeper);
}

static void make_whole_held_by_inner(void *context)
{
    make_whole(context);
    CHECK_OK(covey_hold(inner_of(context)));
}

static void release_whole_and_inner(void *context)
{
    (void)cvy_object_release(((struct operation *)context)->object);
    (void)cvy_object_release(inner_of(context));
}

static const char *both_are_gone(void *context)
{
    const struct operation *o = context;
    cvy_members_sweep();
    if (cvy_object_check(o->object, CVY_KIND_TEST, "test") != COVEY_EFREED)
        return "the whole object is not gone";
    if (cvy_object_check(inner_of(o), CVY_KIND_TEST, "test") != COVEY_EFREED)
        return "the inner object is not gone";
    return check_books(context);
}

/* The survivor's own hold is the only one left. */
static const char *both_are_left(void *context)
{
    const struct operation *o = context;
    cvy_members_sweep();
    if (cvy_object_check(o->object, CVY_KIND_TEST, "test") < 0 ||
        cvy_object_check(inner_of(o), CVY_KIND_TEST, "test") < 0)
        return "an object that is held has ended";
    CHECK_OK(cvy_object_release(o->object));
    return both_are_gone(context);
}

TEST_TIMEOUT(killed_while_using_inner_objects, 300)
{
    begin();
    kill_and_settle("embed", NULL, make_object, embed, both_are_gone);
    kill_and_settle("release both", NULL, make_whole_held_by_inner,
                    release_whole_and_inner, both_are_gone);
    kill_and_settle("hold an inner one", make_whole, enter, hold_and_release_inner,
                    both_are_left);
    kill_and_settle("keep an inner one", make_whole, enter, keep_inner, both_are_left);
}

CHECK_MAIN()
