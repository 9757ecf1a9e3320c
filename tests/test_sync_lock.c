/* SPDX-License-Identifier: MIT */
/* Locks: acquiring, releasing, by whom, for how long, and the scoped form. */
#include "sync_help.h"

static covey_lock *lock_made(void)
{
    covey_lock *lock = NULL;
    CHECK_OK(covey_lock_create(&lock, NULL));
    return lock;
}

static struct stage *stage_with_lock(void)
{
    struct stage *s = stage_made();
    s->object = lock_made();
    return s;
}

/* ---- making ------------------------------------------------------------------- */

TEST(new_lock_is_free)
{
    covey_lock *lock = lock_made();
    CHECK_EQ(covey_lock_locked(lock), 0);
    CHECK_EQ(covey_lock_abandoned(lock), 0);
    CHECK_ERR(covey_lock_release(lock), COVEY_ERELEASED);
    CHECK_STR_HAS(covey_error_detail(), "covey_lock_release: lock is not acquired");
    CHECK_EQ(covey_lock_acquire(lock, COVEY_FOREVER), 0);
    CHECK_EQ(covey_lock_locked(lock), 1);
    CHECK_EQ(covey_lock_abandoned(lock), 0);
    CHECK_EQ(covey_lock_release(lock), 0);
    CHECK_EQ(covey_lock_locked(lock), 0);
    CHECK_ERR(covey_lock_release(lock), COVEY_ERELEASED);
    covey_lock_free(lock);
    covey_lock_free(NULL);
}

TEST(bad_options_make_no_lock)
{
    struct {
        struct covey_lock_opts opts;
        int more;
    } newer = {{.size = sizeof newer}, 1};
    covey_lock *lock = NULL;
    CHECK_ERR(covey_lock_create(NULL, NULL), -EINVAL);
    CHECK_ERR(covey_lock_create(&lock, &newer.opts), -EINVAL);
    CHECK_ERR(covey_lock_create(&lock, &(struct covey_lock_opts){.name = "no size"}),
              -EINVAL);
    CHECK_ERR(
        covey_lock_create(&lock, COVEY_LOCK_OPTS(.handoff = (enum covey_switch)7)),
        -EINVAL);
    CHECK_STR_HAS(covey_error_detail(), ".handoff is none of COVEY_ON, COVEY_OFF, 0");
    CHECK(lock == NULL);
    newer.more = 0;
    CHECK_OK(covey_lock_create(&lock, &newer.opts));
    covey_lock_free(lock);
}

TEST(details_name_the_lock_and_its_owner)
{
    char name[100], wanted[128];
    covey_lock *lock;
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = 0;
    CHECK_OK(covey_lock_create(&lock, COVEY_LOCK_OPTS(.name = name)));
    snprintf(wanted, sizeof wanted, "release: lock %.47s is not acquired", name);
    CHECK_ERR(covey_lock_release(lock), COVEY_ERELEASED);
    CHECK_STR_HAS(covey_error_detail(), wanted);
    CHECK_OK(covey_lock_acquire(lock, COVEY_NOWAIT));
    CHECK_ERR(covey_lock_acquire(lock, COVEY_NOWAIT), -ETIMEDOUT);
    snprintf(wanted, sizeof wanted, "is had by MainProcess (pid %d)", (int)getpid());
    CHECK_STR_HAS(covey_error_detail(), wanted);
    covey_lock_free(lock);
}

TEST(locks_cost_what_the_header_says)
{
    covey_lock *a = lock_made(), *b = lock_made();
    CHECK_EQ((char *)b - (char *)a, 128);
    covey_lock_free(a);
    covey_lock_free(b);
}

/* ---- acquiring ---------------------------------------------------------------- */

TEST(lock_is_not_recursive)
{
    covey_lock *lock = lock_made();
    CHECK_OK(covey_lock_acquire(lock, COVEY_FOREVER));
    CHECK_ERR(covey_lock_acquire(lock, COVEY_NOWAIT), -ETIMEDOUT);
    CHECK_ERR(covey_lock_acquire(lock, 0), -ETIMEDOUT);
    int64_t start = cvy_os_now();
    CHECK_ERR(covey_lock_acquire(lock, COVEY_MSEC(30)), -ETIMEDOUT);
    CHECK_GE(cvy_os_now() - start, COVEY_MSEC(30));
    CHECK_OK(covey_lock_release(lock));
    CHECK_EQ(covey_lock_acquire(lock, COVEY_NOWAIT), 0);
    CHECK_OK(covey_lock_release(lock));
    covey_lock_free(lock);
}

static int meet_a_taken_lock(struct covey_view arg)
{
    struct stage *s = stage_of(arg);
    CHECK_EQ(covey_lock_locked(s->object), 1);
    CHECK_EQ(covey_lock_abandoned(s->object), 0);
    CHECK_ERR(covey_lock_acquire(s->object, COVEY_NOWAIT), -ETIMEDOUT);
    CHECK_STR_HAS(covey_error_detail(), "is had by MainProcess (pid ");
    CHECK_ERR(covey_lock_acquire(s->object, COVEY_MSEC(5)), -ETIMEDOUT);
    CHECK_REPR(lock, s->object, "<Lock(owner=%s)>",
               is_thread_run() ? "SomeOtherThread" : "SomeOtherProcess");
    return 0;
}

TEST_EACH_METHOD_AND_THREAD(taken_lock_is_taken_for_all)
{
    struct stage *s = stage_with_lock();
    CHECK_OK(covey_lock_acquire(s->object, COVEY_FOREVER));
    CHECK_EQ(act_alone(meet_a_taken_lock, s), 0);
    CHECK_OK(covey_lock_release(s->object));
    covey_lock_free(s->object);
}

static int count_up(struct covey_view arg)
{
    struct stage *s = stage_of(arg);
    for (int i = 0; i < 3000; i++) {
        CHECK_EQ(covey_lock_acquire(s->object, COVEY_FOREVER), 0);
        int64_t seen = atomic_load_explicit(&s->counter, memory_order_relaxed);
        atomic_store_explicit(&s->counter, seen + 1, memory_order_relaxed);
        CHECK_EQ(covey_lock_release(s->object), 0);
    }
    return 0;
}

TEST_EACH_METHOD_AND_THREAD(one_at_a_time_is_inside)
{
    struct stage *s = stage_with_lock();
    covey_process *processes[4];
    for (int i = 0; i < 4; i++)
        processes[i] = acting(count_up, s);
    for (int i = 0; i < 4; i++)
        CHECK_EQ(end_of(processes[i]), 0);
    CHECK_EQ(s->counter, 4 * 3000);
    CHECK_EQ(covey_lock_locked(s->object), 0);
    covey_lock_free(s->object);
}

static int acquire_and_release(struct covey_view arg)
{
    struct stage *s = stage_of(arg);
    CHECK_EQ(covey_lock_acquire(s->object, COVEY_FOREVER), 0);
    family_tell(&s->told);
    CHECK_OK(covey_lock_release(s->object));
    return 0;
}

TEST_EACH_METHOD_AND_THREAD(release_wakes_who_waits)
{
    struct stage *s = stage_with_lock();
    CHECK_OK(covey_lock_acquire(s->object, COVEY_FOREVER));
    covey_process *a = acting(acquire_and_release, s);
    covey_process *b = acting(acquire_and_release, s);
    await_sleepers(s->object, 2);
    CHECK_EQ(s->told, 0);
    CHECK_OK(covey_lock_release(s->object));
    CHECK_EQ(end_of(a), 0);
    CHECK_EQ(end_of(b), 0);
    CHECK_EQ(s->told, 2);
    CHECK_EQ(covey_lock_acquire(s->object, COVEY_NOWAIT), 0);
    covey_lock_free(s->object);
}

/* ---- releasing ---------------------------------------------------------------- */

static int take_and_wait(struct covey_view arg)
{
    struct stage *s = stage_of(arg);
    CHECK_EQ(covey_lock_acquire(s->object, COVEY_FOREVER), 0);
    CHECK_REPR(lock, s->object,
               is_thread_run() ? "<Lock(owner=%s|Thread-%d)>" : "<Lock(owner=%s)>",
               is_thread_run() ? "MainProcess" : "Process-1", cvy_os_tid());
    family_tell(&s->begun);
    family_await(&s->go, 1);
    CHECK_ERR(covey_lock_release(s->object), COVEY_ERELEASED);
    return 0;
}

TEST_EACH_METHOD_AND_THREAD(anybody_may_release)
{
    struct stage *s = stage_with_lock();
    covey_process *p = acting(take_and_wait, s);
    family_await(&s->begun, 1);
    CHECK_REPR(lock, s->object, "<Lock(owner=%s)>",
               is_thread_run() ? "SomeOtherThread" : "SomeOtherProcess");
    CHECK_OK(covey_lock_release(s->object));
    CHECK_REPR(lock, s->object, "<Lock(owner=None)>");
    family_tell(&s->go);
    CHECK_EQ(end_of(p), 0);
    covey_lock_free(s->object);
}

static void *take(void *lock)
{
    CHECK_EQ(covey_lock_acquire(lock, COVEY_NOWAIT), 0);
    return NULL;
}

static int give(struct covey_view arg)
{
    CHECK_OK(covey_lock_release(stage_of(arg)->object));
    return 0;
}

TEST_EACH_METHOD_AND_THREAD(lock_of_a_thread_that_ended_is_still_the_processs)
{
    struct stage *s = stage_with_lock();
    run_thread(take, s->object);
    CHECK_EQ(covey_lock_locked(s->object), 1);
    CHECK_REPR(lock, s->object, "<Lock(owner=SomeOtherThread)>");
    CHECK_ERR(covey_lock_acquire(s->object, COVEY_MSEC(30)), -ETIMEDOUT);
    CHECK_EQ(act_alone(give, s), 0);
    CHECK_EQ(covey_lock_acquire(s->object, COVEY_NOWAIT), 0);
    covey_lock_free(s->object);
}

TEST(repr_shows_the_owner)
{
    covey_lock *lock = lock_made();
    CHECK_REPR(lock, lock, "<Lock(owner=None)>");
    CHECK_OK(covey_lock_acquire(lock, COVEY_FOREVER));
    CHECK_REPR(lock, lock, "<Lock(owner=MainProcess)>");
    CHECK_OK(covey_process_set_name(covey_current_process(), "renamed"));
    CHECK_REPR(lock, lock, "<Lock(owner=renamed)>");
    CHECK_ERR(covey_lock_repr(lock, NULL), -EINVAL);
    covey_lock_free(lock);
}

/* ---- locks that are handed on -------------------------------------------------- */

static int take_and_end(struct covey_view arg)
{
    covey_lock *lock = stage_of(arg)->object;
    CHECK_EQ(covey_lock_acquire(lock, COVEY_FOREVER), 0);
    CHECK_REPR(lock, lock,
               is_thread_run() ? "<Lock(owner=%s|Thread-%d)>" : "<Lock(owner=%s)>",
               covey_process_name(is_thread_run() ? covey_parent_process()
                                                  : covey_current_process()),
               cvy_os_tid());
    return 0;
}

TEST_EACH_METHOD_AND_THREAD(handoff_leaves_the_lock_to_another_process)
{
    struct stage *s = stage_made();
    covey_lock *lock;
    CHECK_OK(covey_lock_create(&lock, COVEY_LOCK_OPTS(.handoff = COVEY_ON)));
    s->object = lock;
    CHECK_EQ(act_alone(take_and_end, s), 0);
    CHECK_EQ(covey_lock_locked(lock), 1);
    CHECK_ERR(covey_lock_acquire(lock, COVEY_MSEC(30)), -ETIMEDOUT);
    CHECK_STR_HAS(covey_error_detail(), "lock is had by somebody");
    CHECK_REPR(lock, lock, "<Lock(owner=SomeOtherProcess)>");
    CHECK_OK(covey_lock_release(lock));
    CHECK_EQ(covey_lock_acquire(lock, COVEY_NOWAIT), 0);
    CHECK_EQ(covey_lock_abandoned(lock), 0);
    CHECK_REPR(lock, lock, "<Lock(owner=MainProcess)>");
    CHECK_OK(covey_lock_release(lock));
    covey_lock_free(lock);
}

TEST(handoff_lock_wakes_who_waits)
{
    struct stage *s = stage_made();
    covey_lock *lock;
    CHECK_OK(covey_lock_create(&lock, COVEY_LOCK_OPTS(.handoff = COVEY_ON)));
    s->object = lock;
    CHECK_OK(covey_lock_acquire(lock, COVEY_FOREVER));
    covey_process *p = started(acquire_and_release, COVEY_VIEW_OF(s), NULL);
    await_sleepers(lock, 1);
    CHECK_OK(covey_lock_release(lock));
    CHECK_EQ(end_of(p), 0);
    covey_lock_free(lock);
}

/* ---- the scoped form ----------------------------------------------------------- */

static int return_from_inside(covey_lock *lock)
{
    COVEY_WITH_LOCK(lock)
    {
        CHECK_EQ(covey_lock_locked(lock), 1);
        return 7;
    }
    return 8;
}

TEST(with_lock_releases_however_it_is_left)
{
    covey_lock *lock = lock_made();
    int rounds = 0;
    COVEY_WITH_LOCK(lock)
    {
        rounds++;
        CHECK_EQ(covey_lock_locked(lock), 1);
    }
    CHECK_EQ(covey_lock_locked(lock), 0);
    CHECK_EQ(rounds, 1);
    COVEY_WITH_LOCK(lock)
    {
        if (rounds++)
            break;
        CHECK(false);
    }
    CHECK_EQ(covey_lock_locked(lock), 0);
    COVEY_WITH_LOCK(lock)
    continue;
    CHECK_EQ(covey_lock_locked(lock), 0);
    CHECK_EQ(return_from_inside(lock), 7);
    CHECK_EQ(covey_lock_locked(lock), 0);
    COVEY_WITH_LOCK(lock)
    goto out;
    CHECK(false);
out:
    CHECK_EQ(covey_lock_locked(lock), 0);
    CHECK_EQ(rounds, 2);
    covey_lock_free(lock);
}

TEST(with_lock_of_no_lock_does_not_run)
{
    covey_lock *lock = lock_made();
    covey_lock_free(lock);
    COVEY_WITH_LOCK(lock)
    CHECK(false);
    CHECK_STR_HAS(covey_error_detail(), "covey_lock_acquire: the lock at ");
    COVEY_WITH_LOCK(NULL)
    CHECK(false);
}

TEST(with_lock_may_be_nested)
{
    covey_lock *a = lock_made(), *b = lock_made();
    COVEY_WITH_LOCK(a)
    {
        COVEY_WITH_LOCK(b)
        CHECK_EQ(covey_lock_locked(a) + covey_lock_locked(b), 2);
        CHECK_EQ(covey_lock_locked(b), 0);
    }
    CHECK_EQ(covey_lock_locked(a), 0);
    covey_lock_free(a);
    covey_lock_free(b);
}

CHECK_MAIN()
