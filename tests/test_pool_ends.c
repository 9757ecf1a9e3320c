/* SPDX-License-Identifier: MIT */
/* How pools end: with their process, and in order. */
#include "pool_help.h"

#include <covey.h>

/* ---- with the process ----------------------------------------------------------- */

/* Ends by SIGKILL only. */
static int block_without_sigterm(struct covey_call *call)
{
    struct shared *const *s = covey_call_arg(call, NULL);
    (void)signal(SIGTERM, SIG_IGN);
    family_tell(&(*s)->begun);
    return task_block(call);
}

static int leave_a_pool(struct covey_view arg)
{
    struct shared *s = shared_of(arg);
    covey_pool *pool = NULL;
    CHECK_OK(covey_log_to_stderr(COVEY_LOG_WARNING));
    CHECK_OK(covey_pool_create(&pool, 2, NULL));
    CHECK_OK(covey_pool_apply_async(NULL, pool, block_without_sigterm, COVEY_VIEW_OF(s),
                                    NULL));
    family_await(&s->begun, 1);
    return 7;
}

/* A daemon that is left to itself is awaited for 5 s, and then named. */
TEST_EACH_METHOD(a_process_ends_the_workers_of_its_pools)
{
    struct shared *s = share();
    struct catcher c = catch_output(2);
    int code = run(leave_a_pool, COVEY_VIEW_OF(s), OPTS(.daemon = COVEY_OFF));
    const char *text = caught(&c);
    CHECK_STR_EQ(text, "");
    CHECK_EQ(code, 7);
}

CHECK_MAIN()
