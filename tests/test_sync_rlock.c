/* SPDX-License-Identifier: MIT */
/* Recursive locks: the thread they belong to, how often it has them, and its end. */
#include "sync_help.h"

static covey_rlock *rlock_made(void)
{
    covey_rlock *lock = NULL;
    CHECK_OK(covey_rlock_create(&lock, NULL));
    return lock;
}

static struct stage *stage_with_rlock(void)
{
    struct stage *s = stage_made();
    s->object = rlock_made();
    return s;
}

TEST(new_rlock_is_free)
{
    covey_rlock *lock = rlock_made();
    CHECK_EQ(covey_rlock_locked(lock), 0);
    CHECK_EQ(covey_rlock_abandoned(lock), 0);
    CHECK_REPR(rlock, lock, "<RLock(None, 0)>");
    CHECK_ERR(covey_rlock_release(lock), COVEY_ENOTOWNER);
    CHECK_STR_HAS(covey_error_detail(), "this thread does not have lock");
    covey_rlock_free(lock);
    covey_rlock_free(NULL);
}

TEST(bad_options_make_no_rlock)
{
    covey_rlock *lock = NULL;
    CHECK_ERR(covey_rlock_create(NULL, NULL), -EINVAL);
    CHECK_ERR(covey_rlock_create(&lock, &(struct covey_rlock_opts){.name = "no size"}),
              -EINVAL);
    CHECK(lock == NULL);
    CHECK_OK(covey_rlock_create(&lock, COVEY_RLOCK_OPTS(.name = "tree")));
    CHECK_ERR(covey_rlock_release(lock), COVEY_ENOTOWNER);
    CHECK_STR_HAS(covey_error_detail(), "covey_rlock_release: this thread does not "
                                        "have lock tree");
    CHECK_ERR(covey_rlock_repr(lock, NULL), -EINVAL);
    covey_rlock_free(lock);
}

static void check_depth(covey_rlock *lock, int depth)
{
    CHECK_REPR(rlock, lock, "<RLock(MainProcess, %d)>", depth);
}

TEST(rlock_counts_how_often_it_was_acquired)
{
    covey_rlock *lock = rlock_made();
    for (int round = 0; round < 2; round++) {
        for (int i = 1; i <= 1000; i++) {
            CHECK_EQ(covey_rlock_acquire(lock, i % 2 ? COVEY_NOWAIT : COVEY_FOREVER),
                     0);
            check_depth(lock, i);
        }
        for (int i = 1000; i > 0; i--) {
            CHECK_EQ(covey_rlock_locked(lock), 1);
            CHECK_EQ(covey_rlock_release(lock), 0);
        }
        CHECK_EQ(covey_rlock_locked(lock), 0);
        CHECK_ERR(covey_rlock_release(lock), COVEY_ENOTOWNER);
    }
    covey_rlock_free(lock);
}

static int meet_a_taken_rlock(struct covey_view arg)
{
    struct stage *s = stage_of(arg);
    CHECK_EQ(covey_rlock_locked(s->object), 1);
    CHECK_ERR(covey_rlock_acquire(s->object, COVEY_NOWAIT), -ETIMEDOUT);
    CHECK_STR_HAS(covey_error_detail(), "is had by MainProcess (pid ");
    int64_t start = cvy_os_now();
    CHECK_ERR(covey_rlock_acquire(s->object, COVEY_MSEC(20)), -ETIMEDOUT);
    CHECK_GE(cvy_os_now() - start, COVEY_MSEC(20));
    CHECK_ERR(covey_rlock_release(s->object), COVEY_ENOTOWNER);
    CHECK_REPR(rlock, s->object, "<RLock(%s, nonzero)>",
               is_thread_run() ? "SomeOtherThread" : "SomeOtherProcess");
    CHECK_EQ(covey_rlock_abandoned(s->object), 0);
    return 0;
}

TEST_EACH_METHOD_AND_THREAD(only_the_thread_that_has_it_releases_it)
{
    struct stage *s = stage_with_rlock();
    CHECK_OK(covey_rlock_acquire(s->object, COVEY_FOREVER));
    CHECK_OK(covey_rlock_acquire(s->object, COVEY_FOREVER));
    CHECK_EQ(act_alone(meet_a_taken_rlock, s), 0);
    CHECK_OK(covey_rlock_release(s->object));
    CHECK_EQ(act_alone(meet_a_taken_rlock, s), 0);
    CHECK_OK(covey_rlock_release(s->object));
    covey_rlock_free(s->object);
}

static int take_twice(struct covey_view arg)
{
    struct stage *s = stage_of(arg);
    CHECK_EQ(covey_rlock_acquire(s->object, COVEY_FOREVER), 0);
    CHECK_EQ(covey_rlock_acquire(s->object, COVEY_FOREVER), 0);
    CHECK_REPR(rlock, s->object,
               is_thread_run() ? "<RLock(MainProcess|Thread-%d, 2)>"
                               : "<RLock(Process-1, 2)>",
               cvy_os_tid());
    family_tell(&s->begun);
    family_await(&s->go, 1);
    CHECK_OK(covey_rlock_release(s->object));
    family_tell(&s->begun);
    family_await(&s->go, 2);
    CHECK_OK(covey_rlock_release(s->object));
    return 0;
}

TEST_EACH_METHOD_AND_THREAD(rlock_is_free_after_as_many_releases)
{
    struct stage *s = stage_with_rlock();
    covey_process *p = acting(take_twice, s);
    for (uint32_t i = 1; i <= 2; i++) {
        family_await(&s->begun, i);
        CHECK_ERR(covey_rlock_acquire(s->object, COVEY_MSEC(5)), -ETIMEDOUT);
        CHECK_REPR(rlock, s->object, "<RLock(%s, nonzero)>",
                   is_thread_run() ? "SomeOtherThread" : "SomeOtherProcess");
        family_tell(&s->go);
    }
    CHECK_EQ(covey_rlock_acquire(s->object, COVEY_FOREVER), 0);
    CHECK_REPR(rlock, s->object, "<RLock(MainProcess, 1)>");
    CHECK_OK(covey_rlock_release(s->object));
    CHECK_EQ(end_of(p), 0);
    covey_rlock_free(s->object);
}

static int count_up(struct covey_view arg)
{
    struct stage *s = stage_of(arg);
    for (int i = 0; i < 2000; i++) {
        for (int k = 0; k <= i % 3; k++)
            CHECK_EQ(covey_rlock_acquire(s->object, COVEY_FOREVER), 0);
        int64_t seen = atomic_load_explicit(&s->counter, memory_order_relaxed);
        atomic_store_explicit(&s->counter, seen + 1, memory_order_relaxed);
        for (int k = 0; k <= i % 3; k++)
            CHECK_EQ(covey_rlock_release(s->object), 0);
    }
    return 0;
}

TEST_EACH_METHOD_AND_THREAD(one_at_a_time_is_inside)
{
    struct stage *s = stage_with_rlock();
    covey_process *processes[4];
    for (int i = 0; i < 4; i++)
        processes[i] = acting(count_up, s);
    for (int i = 0; i < 4; i++)
        CHECK_EQ(end_of(processes[i]), 0);
    CHECK_EQ(s->counter, 4 * 2000);
    CHECK_REPR(rlock, s->object, "<RLock(None, 0)>");
    covey_rlock_free(s->object);
}

TEST(too_many_acquires_overflow)
{
    covey_rlock *lock = rlock_made();
    CHECK_OK(covey_rlock_acquire(lock, COVEY_FOREVER));
    /* The depth is the fourth word behind the object's header: 2^32 calls take too long. */
    _Atomic uint32_t *depth =
        (_Atomic uint32_t *)(void *)((char *)lock + sizeof(struct cvy_object) + 12);
    CHECK_EQ(*depth, 1);
    *depth = UINT32_MAX;
    CHECK_ERR(covey_rlock_acquire(lock, COVEY_FOREVER), -EOVERFLOW);
    CHECK_REPR(rlock, lock, "<RLock(MainProcess, 4294967295)>");
    CHECK_OK(covey_rlock_release(lock));
    CHECK_EQ(covey_rlock_acquire(lock, COVEY_FOREVER), 0);
    *depth = 1;
    CHECK_OK(covey_rlock_release(lock));
    covey_rlock_free(lock);
}

/* ---- a thread ends having it --------------------------------------------------- */

static void *take(void *lock)
{
    CHECK_EQ(covey_rlock_acquire(lock, COVEY_FOREVER), 0);
    CHECK_EQ(covey_rlock_acquire(lock, COVEY_FOREVER), 0);
    return NULL;
}

TEST(rlock_of_a_thread_that_ended_is_abandoned)
{
    covey_rlock *lock = rlock_made();
    run_thread(take, lock);
    CHECK_EQ(covey_rlock_locked(lock), 0);
    CHECK_REPR(rlock, lock, "<RLock(None, 0)>");
    CHECK_EQ(covey_rlock_abandoned(lock), 0);
    CHECK_ERR(covey_rlock_release(lock), COVEY_ENOTOWNER);
    CHECK_EQ(covey_rlock_acquire(lock, COVEY_NOWAIT), COVEY_ABANDONED);
    CHECK_EQ(covey_rlock_abandoned(lock), 1);
    CHECK_EQ(covey_rlock_acquire(lock, COVEY_NOWAIT), 0);
    CHECK_REPR(rlock, lock, "<RLock(MainProcess, 2)>");
    CHECK_EQ(covey_rlock_abandoned(lock), 1);
    CHECK_OK(covey_rlock_release(lock));
    CHECK_EQ(covey_rlock_abandoned(lock), 1);
    CHECK_OK(covey_rlock_release(lock));
    CHECK_EQ(covey_rlock_abandoned(lock), 0);
    CHECK_EQ(covey_rlock_acquire(lock, COVEY_NOWAIT), 0);
    CHECK_EQ(covey_rlock_abandoned(lock), 0);
    CHECK_OK(covey_rlock_release(lock));
    covey_rlock_free(lock);
}

static void *take_and_wait(void *stage)
{
    struct stage *s = stage;
    CHECK_EQ(covey_rlock_acquire(s->object, COVEY_FOREVER), 0);
    family_tell(&s->begun);
    await_sleepers(s->object, 1);
    return NULL;
}

/* Nobody but the end of the thread tells that. */
TEST(end_of_a_thread_wakes_who_waits_for_its_rlock)
{
    struct stage *s = stage_with_bell_only();
    s->object = rlock_made();
    pthread_t thread = thread_of(take_and_wait, s);
    family_await(&s->begun, 1);
    CHECK_EQ(covey_rlock_acquire(s->object, COVEY_FOREVER), COVEY_ABANDONED);
    CHECK_OK(covey_rlock_release(s->object));
    CHECK_EQ(pthread_join(thread, NULL), 0);
    covey_rlock_free(s->object);
}

static int let_a_thread_end(struct covey_view arg)
{
    struct stage *s = stage_of(arg);
    pthread_t thread = thread_of(take_and_wait, s);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    family_await(&s->go, 1); /* the process itself goes on */
    return 0;
}

TEST_EACH_METHOD_AND_THREAD(end_of_another_processs_thread_is_heard)
{
    struct stage *s = stage_with_bell_only();
    s->object = rlock_made();
    covey_process *p = acting(let_a_thread_end, s);
    family_await(&s->begun, 1);
    CHECK_EQ(covey_rlock_acquire(s->object, COVEY_FOREVER), COVEY_ABANDONED);
    CHECK_REPR(rlock, s->object, "<RLock(MainProcess, 1)>");
    CHECK_OK(covey_rlock_release(s->object));
    family_tell(&s->go);
    CHECK_EQ(end_of(p), 0);
    covey_rlock_free(s->object);
}

/* ---- the scoped form ----------------------------------------------------------- */

static int return_from_inside(covey_rlock *lock)
{
    COVEY_WITH_RLOCK(lock)
    return 7;
    return 8;
}

TEST(with_rlock_releases_however_it_is_left)
{
    covey_rlock *lock = rlock_made();
    COVEY_WITH_RLOCK(lock)
    {
        COVEY_WITH_RLOCK(lock)
        {
            check_depth(lock, 2);
            break;
        }
        check_depth(lock, 1);
        CHECK_EQ(return_from_inside(lock), 7);
        check_depth(lock, 1);
    }
    CHECK_EQ(covey_rlock_locked(lock), 0);
    COVEY_WITH_RLOCK(NULL)
    CHECK(false);
    covey_rlock_free(lock);
}

CHECK_MAIN()
