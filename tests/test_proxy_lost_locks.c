/* SPDX-License-Identifier: MIT */
/* Locks and permits of a manager whose holder's connection ends and may be replaced. */
#include "reconnect_help.h"

TEST(who_held_locks_is_told_that_they_are_lost)
{
    struct cut c = cut_begin("*.*");
    covey_proxy *lock = new_object(c.m, "Lock");
    covey_manager *other = CONNECT(c.target, .reconnect = PATIENT);
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
    covey_manager_free(other);
    cut_end(&c);
}

CHECK_MAIN()
