/* SPDX-License-Identifier: MIT */
/* How pools end: with their process, and in order. */
#include "pool/pool.h"
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

/* ---- in order ------------------------------------------------------------------- */

static int end_slowly(struct covey_view arg)
{
    struct shared *s = shared_of(arg);
    nanosleep(&(struct timespec){1, 500000000}, NULL); /* longer than it has by right */
    family_tell(&s->ended);
    return 0;
}

/* Of each worker, also of one that has not left its last batch yet: that says its line. */
TEST_EACH_METHOD_AND_THREAD(a_join_waits_for_exit_hooks)
{
    struct shared *s = share();
    covey_pool *pool =
        pool_with(2, POOL_OPTS(.exit_hook = end_slowly, .exitarg = COVEY_VIEW_OF(s)));
    struct cvy_pool *inner = (struct cvy_pool *)(uintptr_t)pool->state;
    for (int i = 0; i < 2; i++)
        while (!atomic_load(&inner->shared->lines[i].thread))
            cvy_os_yield();
    atomic_store(&inner->shared->lines[0].batch, 1);
    CHECK_OK(covey_pool_close(pool));
    CHECK_OK(covey_pool_join(pool, COVEY_FOREVER));
    CHECK_EQ(s->ended, 2);
    covey_pool_free(pool);
}

CHECK_MAIN()
