/* SPDX-License-Identifier: MIT */
/* Named memory that managers look after, with one system call after another failing. */
#include "memory_names.h"
#include "object_help.h"
#include "os/faults.h"
#include "process_help.h"

static void stop(void *unused, const char *address)
{
    (void)unused;
    (void)address;
    covey_manager_stop();
}

/* What it has begun it takes back: the harness looks for children and descriptors. */
TEST(a_manager_that_cannot_begin_leaves_nothing)
{
    const char *failed;
    int refused = 0, forks = 0;
    for (long nth = 1;; nth++) {
        cvy_faults_arm(nth, 0);
        int r = covey_manager_serve_forever(
            COVEY_MANAGER_OPTS(.segments = COVEY_ON, .authkey = COVEY_VIEW("key", 3),
                               .ready = stop));
        failed = cvy_faults_last();
        cvy_faults_arm(0, 0);
        if (failed && strcmp(failed, "fork") == 0) {
            CHECK_ERR(r, -EAGAIN);
            forks++;
        }
        refused += r < 0;
        if (!failed)
            break;
    }
    CHECK_EQ(forks, 1);
    CHECK_GT(refused, 3);
}

TEST_TIMEOUT(a_segment_that_cannot_be_made_is_not_there, 60)
{
    covey_manager *manager;
    covey_memory *memory = NULL;
    const char *failed;
    int refused = 0;
    CHECK_OK(covey_manager_start(&manager, COVEY_MANAGER_OPTS(.segments = COVEY_ON)));
    for (long nth = 1;; nth++) {
        cvy_faults_arm(nth, 0);
        int r = covey_segment_create(&memory, manager, "x", 10, NULL);
        failed = cvy_faults_last();
        cvy_faults_arm(0, 0);
        CHECK_EQ(exists("x"), r == 0);
        refused += r < 0;
        if (r == 0) {
            CHECK_OK(covey_segment_release(manager, "x"));
            covey_memory_free(memory);
        }
        if (!failed)
            break;
    }
    CHECK_GT(refused, 3);
    manager_end(manager);
}

CHECK_MAIN()
