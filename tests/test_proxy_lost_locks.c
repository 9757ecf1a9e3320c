/* SPDX-License-Identifier: MIT */
/* Locks and permits of a manager whose holder's connection ends and may be replaced. */
#include "reconnect_help.h"

TEST(who_held_locks_is_told_that_they_are_lost)
{
    struct cut c = cut_begin("*.*");
    covey_proxy *lock = new_object(c.m, "Lock");
    CHECK_OK(covey_proxy_lock_acquire(lock, PATIENT));
    relay_tell(&c.relay, RELAY_CUT);
    CHECK_ERR(covey_proxy_call(c.counter, NULL, "add", "()"), COVEY_EEOF);
    CHECK_STR_HAS(covey_error_detail(), "this thread held 1 locks");
    CHECK_EQ(number(c.counter, "add"), 2);
    /* The manager has released it. */
    CHECK_OK(covey_proxy_lock_acquire(lock, PATIENT));
    relay_tell(&c.relay, RELAY_CUT_ANSWER);
    CHECK_ERR(covey_proxy_call(c.counter, NULL, "add", "()"), COVEY_EEOF);
    CHECK_STR_HAS(covey_error_detail(), "the locks that were held are lost");
    CHECK_OK(covey_proxy_lock_acquire(lock, PATIENT));
    CHECK_OK(covey_proxy_lock_release(lock));
    relay_tell(&c.relay, RELAY_CUT);
    CHECK_EQ(number(c.counter, "add"), 4);
    covey_proxy_free(lock);
    cut_end(&c);
}

TEST(who_held_permits_is_told_that_they_are_lost)
{
    static const char *const types[] = {"Semaphore", "BoundedSemaphore"};
    struct cut c = cut_begin(NULL);
    for (int i = 0; i < 2; i++) {
        covey_proxy *semaphore = new_object(c.m, types[i]);
        CHECK_OK(covey_proxy_call(semaphore, NULL, "acquire", "()"));
        relay_tell(&c.relay, RELAY_CUT);
        CHECK_ERR(covey_proxy_call(c.counter, NULL, "add", "()"), COVEY_EEOF);
        CHECK_STR_HAS(covey_error_detail(), "this thread held 1 locks or permits");
        /* The manager has given it back. */
        CHECK_OK(covey_proxy_call(semaphore, NULL, "acquire", "()"));
        CHECK_OK(covey_proxy_call(semaphore, NULL, "release", "()"));
        relay_tell(&c.relay, RELAY_CUT);
        CHECK_EQ(number(c.counter, "add"), 2 + i);
        covey_proxy_free(semaphore);
    }
    cut_end(&c);
}

static void *release(void *lock)
{
    CHECK_OK(covey_proxy_call(lock, NULL, "release", "()"));
    return NULL;
}

/* It does not hold it any more, and its connection may be replaced. */
TEST(what_another_thread_has_released_is_not_lost)
{
    static const char *const types[] = {"Lock", "Semaphore"};
    struct cut c = cut_begin(NULL);
    pthread_t thread;
    forks_beside_threads();
    for (int i = 0; i < 2; i++) {
        covey_proxy *lock = new_object(c.m, types[i]);
        covey_proxy *other = new_object(c.m, types[i]);
        CHECK_OK(covey_proxy_call(lock, NULL, "acquire", "()"));
        CHECK_OK(covey_proxy_call(other, NULL, "acquire", "()"));
        CHECK_EQ(pthread_create(&thread, NULL, release, lock), 0);
        CHECK_EQ(pthread_join(thread, NULL), 0);
        CHECK_OK(covey_proxy_call(other, NULL, "release", "()"));
        relay_tell(&c.relay, RELAY_CUT);
        CHECK_EQ(number(c.counter, "add"), 2 + i);
        covey_proxy_free(other);
        covey_proxy_free(lock);
    }
    cut_end(&c);
}

CHECK_MAIN()
