/* SPDX-License-Identifier: MIT */
/* Options that are on, off or not given: whatever else they are is refused everywhere. */
#include "process_help.h"

#include <covey.h>

/* That no switch is, however it is looked at. */
#define WRONG ((enum covey_switch)5)

#define CHECK_REFUSED(call, option)                                                    \
    do {                                                                               \
        CHECK_ERR((call), -EINVAL);                                                    \
        CHECK_STR_HAS(covey_error_detail(), option);                                   \
    } while (0)

TEST(of_queues_and_connections)
{
    covey_conn *a = NULL, *b = NULL;
    covey_listener *listener = NULL;
    struct covey_tls tls = {.size = sizeof tls, .from_key = WRONG};
    struct covey_view key = COVEY_VIEW("key", 3);
    CHECK_REFUSED(covey_pipe_create(&a, &b, COVEY_PIPE_OPTS(.oneway = WRONG)),
                  ".oneway");
    CHECK_REFUSED(covey_client_connect(&a, "127.0.0.1:1",
                                       COVEY_CLIENT_OPTS(.allow_md5 = WRONG), 0),
                  ".allow_md5");
    CHECK_REFUSED(covey_client_connect(&a, "127.0.0.1:1",
                                       COVEY_CLIENT_OPTS(.authkey = key, .tls = &tls),
                                       0),
                  ".from_key");
    CHECK_REFUSED(
        covey_listener_create(&listener, NULL, COVEY_LISTENER_OPTS(.allow_md5 = WRONG)),
        ".allow_md5");
    CHECK_REFUSED(covey_listener_create(&listener, NULL,
                                        COVEY_LISTENER_OPTS(.report_refused = WRONG)),
                  ".report_refused");
    CHECK_OK(covey_pipe_create(&a, &b, NULL));
    CHECK_REFUSED(
        covey_answer_challenge(a, key, COVEY_AUTH_OPTS(.allow_md5 = WRONG), 0),
        ".allow_md5");
    covey_conn_free(a);
    covey_conn_free(b);
}

static int nothing(struct covey_view arg)
{
    (void)arg;
    return 0;
}

#define CHECK_PROCESS(option)                                                          \
    CHECK_REFUSED(covey_process_create(&p, nothing, COVEY_NO_VIEW,                     \
                                       COVEY_PROCESS_OPTS(.option = WRONG)),           \
                  "." #option)

TEST(of_processes)
{
    covey_process *p = NULL;
    CHECK_PROCESS(daemon);
    CHECK_PROCESS(children);
    CHECK_PROCESS(die_with_parent);
    CHECK_PROCESS(new_group);
    CHECK_PROCESS(keep_stdin);
    CHECK_PROCESS(capture_stderr);
    CHECK_PROCESS(crash_handler);
    CHECK_PROCESS(limits.core_dumps);
}

TEST(of_locks_and_shared_memory)
{
    covey_lock *lock = NULL;
    covey_semaphore *semaphore = NULL;
    covey_shared_value *shared = NULL;
    CHECK_REFUSED(covey_lock_create(&lock, COVEY_LOCK_OPTS(.handoff = WRONG)),
                  ".handoff");
    CHECK_REFUSED(
        covey_semaphore_create(&semaphore, 1, COVEY_SEMAPHORE_OPTS(.signal = WRONG)),
        ".signal");
    CHECK_REFUSED(covey_shared_value_create(&shared, 'i', NULL,
                                            COVEY_SHARED_OPTS(.synchronized = WRONG)),
                  ".synchronized");
}

TEST(of_managers)
{
    covey_manager *m = NULL;
    CHECK_REFUSED(covey_manager_connect(&m, "127.0.0.1:1",
                                        COVEY_CONNECT_OPTS(.no_key = WRONG), 0),
                  ".no_key");
    CHECK_REFUSED(covey_manager_connect(&m, "127.0.0.1:1",
                                        COVEY_CONNECT_OPTS(.allow_md5 = WRONG), 0),
                  ".allow_md5");
    CHECK_REFUSED(covey_manager_start(&m, COVEY_MANAGER_OPTS(.allow_md5 = WRONG)),
                  ".allow_md5");
    CHECK_REFUSED(covey_manager_start(&m, COVEY_MANAGER_OPTS(.outlive = WRONG)),
                  ".outlive");
    CHECK_REFUSED(covey_manager_start(&m, COVEY_MANAGER_OPTS(.standard_types = WRONG)),
                  ".standard_types");
    CHECK_REFUSED(covey_manager_start(&m, COVEY_MANAGER_OPTS(.segments = WRONG)),
                  ".segments");
}

static int task(struct covey_call *call)
{
    (void)call;
    return 0;
}

static int no_more(void *ctx, struct covey_view *ret_item)
{
    (void)ctx;
    (void)ret_item;
    return 0;
}

TEST(of_pools)
{
    covey_pool *pool = NULL;
    covey_result *result = NULL;
    covey_iterator *iterator = NULL;
    struct covey_bytes bytes = {0};
    struct covey_view item = COVEY_VIEW("x", 1);
    int in = 0, out = 0;
    CHECK_REFUSED(covey_pool_create(&pool, 1, COVEY_POOL_OPTS(.own_loop = WRONG)),
                  ".own_loop");
    CHECK_REFUSED(covey_pool_create(&pool, 1, COVEY_POOL_OPTS(.measure = WRONG)),
                  ".measure");
    CHECK_OK(covey_pool_create(&pool, 1, NULL));
    struct covey_map_opts *map = COVEY_MAP_OPTS(.detached = WRONG);
    struct covey_task_opts *one = COVEY_TASK_OPTS(.detached = WRONG);
    CHECK_REFUSED(covey_pool_map(pool, task, &in, 4, &out, 4, 1, map), ".detached");
    CHECK_REFUSED(covey_pool_map_bytes(pool, task, &item, &bytes, 1, map), ".detached");
    CHECK_REFUSED(covey_pool_starmap(pool, task, &item, 1, &bytes, 1, map),
                  ".detached");
    CHECK_REFUSED(covey_pool_apply(pool, task, item, &bytes, one), ".detached");
    CHECK_REFUSED(covey_pool_apply_async(&result, pool, task, item, one), ".detached");
    CHECK_REFUSED(covey_pool_map_async(&result, pool, task, &in, 4, &out, 4, 1, map),
                  ".detached");
    CHECK_REFUSED(
        covey_pool_starmap_async(&result, pool, task, &item, 1, &bytes, 1, map),
        ".detached");
    CHECK_REFUSED(covey_pool_imap(&iterator, pool, task, no_more, NULL,
                                  COVEY_IMAP_OPTS(.detached = WRONG)),
                  ".detached");
    CHECK_OK(covey_pool_close(pool));
    CHECK_OK(covey_pool_join(pool, COVEY_FOREVER));
    covey_pool_free(pool);
}

CHECK_MAIN()
