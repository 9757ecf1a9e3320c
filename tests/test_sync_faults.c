/* SPDX-License-Identifier: MIT */
/* Each system call on the way of making, using and freeing synchronization objects fails
 * once: the call says so and leaves nothing behind, or goes on without it. */
#include "os/faults.h"
#include "sync_help.h"

/* One of each. */

struct life {
    covey_lock *lock;
    covey_rlock *rlock;
    covey_semaphore *semaphore;
    covey_bounded_semaphore *bounded;
    covey_condition *condition;
    covey_event *event;
    covey_barrier *barrier;
};

static int make(struct life *l)
{
    int r = covey_lock_create(&l->lock, NULL);
    if (r >= 0)
        r = covey_rlock_create(&l->rlock, NULL);
    if (r >= 0)
        r = covey_semaphore_create(&l->semaphore, 1, NULL);
    if (r >= 0)
        r = covey_bounded_semaphore_create(&l->bounded, 1, NULL);
    if (r >= 0)
        r = covey_condition_create(&l->condition,
                                   COVEY_CONDITION_OPTS(.lock = l->lock));
    if (r >= 0)
        r = covey_event_create(&l->event, NULL);
    if (r >= 0)
        r = covey_barrier_create(&l->barrier, 2, COVEY_BARRIER_OPTS(.timeout = 1));
    return r;
}

static void use(const struct life *l)
{
    CHECK_EQ(covey_rlock_acquire(l->rlock, COVEY_FOREVER), 0);
    CHECK_EQ(covey_rlock_release(l->rlock), 0);
    CHECK_EQ(covey_semaphore_acquire(l->semaphore, COVEY_FOREVER), 0);
    CHECK_ERR(covey_semaphore_acquire(l->semaphore, COVEY_USEC(1)), -ETIMEDOUT);
    CHECK_EQ(covey_semaphore_release(l->semaphore, 1), 0);
    CHECK_EQ(covey_bounded_semaphore_acquire(l->bounded, COVEY_FOREVER), 0);
    CHECK_EQ(covey_bounded_semaphore_release(l->bounded, 1), 0);
    CHECK_EQ(covey_condition_acquire(l->condition, COVEY_FOREVER), 0);
    CHECK_ERR(covey_condition_wait(l->condition, COVEY_USEC(1)), -ETIMEDOUT);
    CHECK_EQ(covey_condition_notify(l->condition, 1), 0);
    CHECK_EQ(covey_condition_release(l->condition), 0);
    CHECK_ERR(covey_event_wait(l->event, COVEY_USEC(1)), -ETIMEDOUT);
    CHECK_EQ(covey_event_set(l->event), 0);
    CHECK_ERR(covey_barrier_wait(l->barrier, COVEY_FOREVER, NULL), -ETIMEDOUT);
    CHECK_EQ(covey_barrier_reset(l->barrier), 0);
}

static void drop(const struct life *l)
{
    covey_lock_free(l->lock);
    covey_rlock_free(l->rlock);
    covey_semaphore_free(l->semaphore);
    covey_bounded_semaphore_free(l->bounded);
    covey_condition_free(l->condition);
    covey_event_free(l->event);
    covey_barrier_free(l->barrier);
}

static int live(void)
{
    struct life l = {0};
    int r = make(&l);
    if (r >= 0)
        use(&l);
    else
        CHECK_STR_HAS(covey_error_detail(), " ");
    drop(&l);
    return r;
}

TEST_TIMEOUT(any_failing_call_is_a_clean_error, 60)
{
    CHECK_OK(covey_set_log_level(COVEY_LOG_OFF));
    CHECK_EQ(live(), 0);
    uint64_t objects = family_usage().objects;
    for (long n = 1;; n++) {
        CHECK_LT(n, 1000);
        cvy_faults_arm(n, 0);
        int r = live();
        bool hit = cvy_faults_last() != NULL;
        cvy_faults_arm(0, 0);
        CHECK_EQ(family_usage().objects, objects);
        CHECK_EQ(live(), 0); /* nothing is spoilt */
        if (!hit) {
            CHECK_EQ(r, 0);
            break;
        }
    }
}

/* Founding the family is the first thing that the first create does. */
TEST_TIMEOUT(founding_fails_cleanly_at_any_call, 60)
{
    CHECK_OK(covey_set_log_level(COVEY_LOG_OFF));
    int failures = 0;
    for (long n = 1;; n++) {
        covey_lock *lock = NULL;
        CHECK_LT(n, 1000);
        cvy_faults_arm(n, 0);
        int r = covey_lock_create(&lock, NULL);
        bool hit = cvy_faults_last() != NULL;
        cvy_faults_arm(0, 0);
        if (r < 0) {
            CHECK(hit);
            CHECK(lock == NULL);
            CHECK_STR_HAS(covey_error_detail(), " ");
            failures++;
            continue;
        }
        CHECK_EQ(covey_lock_acquire(lock, COVEY_NOWAIT), 0);
        CHECK_EQ(covey_lock_release(lock), 0);
        covey_lock_free(lock);
        break; /* founded: what failed on the way was not needed */
    }
    CHECK_GE(failures, 1);
}

CHECK_MAIN()
