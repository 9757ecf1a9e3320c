/* SPDX-License-Identifier: MIT */
/* Forks of a program beside its other threads. */
#include <dlfcn.h>

#include "conn_help.h"
#include "object_help.h"
#include "pool_help.h"
#include "server_help.h"

/* ---- what is asked of libc ---- */

typedef void handler_fn(void);
typedef int register_fn(handler_fn *before, handler_fn *in_parent, handler_fn *in_child,
                        void *library);

static int registrations;

#ifndef __SANITIZE_THREAD__ /* which registers before it can run instrumented code */

/* What pthread_atfork, which programs are linked to statically, calls. */
/* NOLINTNEXTLINE(bugprone-reserved-identifier) */
register_fn __register_atfork __attribute__((visibility("default")));
/* NOLINTNEXTLINE(bugprone-reserved-identifier) */
int __register_atfork(handler_fn *before, handler_fn *in_parent, handler_fn *in_child,
                      void *library)
{
    register_fn *real;
    void *symbol = dlsym(RTLD_NEXT, "__register_atfork");
    memcpy(&real, &symbol, sizeof real);
    registrations++;
    return real(before, in_parent, in_child, library);
}
#endif

static void use_connections(void)
{
    struct bare b = bare_new();
    struct pair p = pair_new(NULL);
    int fd = -1;
    CHECK_ERR(covey_conn_poll(b.conn, COVEY_NOWAIT), -ETIMEDOUT);
    CHECK_OK(covey_conn_fd(p.b, &fd));
    CHECK_OK(covey_conn_send_fd(p.a, 0, COVEY_SEC(20)));
    CHECK_OK(covey_conn_recv_fd(p.b, &fd, COVEY_SEC(20)));
    close(fd);
    bare_free(&b);
    pair_free(&p);
}

static void use_pool(void)
{
    covey_pool *pool = pool_with(1, COVEY_POOL_OPTS(.method = COVEY_FORK));
    covey_result *result = NULL;
    CHECK_OK(covey_pool_apply_async(&result, pool, task_echo, text_view("x"), NULL));
    CHECK_OK(covey_result_wait(result, COVEY_FOREVER));
    covey_result_free(result);
    covey_pool_free(pool);
}

static void use_manager(void)
{
    covey_manager *manager = NULL;
    covey_proxy *list;
    CHECK_OK(covey_manager_start(&manager, COVEY_MANAGER_OPTS(.method = COVEY_FORK)));
    list = new_object(manager, "list");
    CHECK_OK(covey_proxy_call(list, NULL, "append", "(i)", 1));
    covey_proxy_free(list);
    manager_end(manager);
}

/* What is registered at the first use of something comes too late for a fork in another
 * thread that has begun: it would leave the child with a mutex that is taken. */
TEST(all_that_forks_have_to_await_is_known_before_the_program_begins)
{
    forks_beside_threads();
    int before = registrations;
#ifdef __SANITIZE_THREAD__
    SKIP("ThreadSanitizer registers before it can run a test's code");
#endif
    CHECK_GT(before, 0);
    use_connections();
    CHECK_EQ(registrations, before);
    use_pool();
    CHECK_EQ(registrations, before);
    use_manager();
    CHECK_EQ(registrations, before);
}

CHECK_MAIN()
