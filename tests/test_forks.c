/* SPDX-License-Identifier: MIT */
/* Forks of a program beside its other threads. */
#include <dlfcn.h>

#include "channel/conn.h"
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

/* ---- connections in the middle of messages ---- */

enum { LARGE = 1 << 20 };

/* The child's copies as they are when another thread was between freeing what is kept and
 * noting so; the size is nobody else's. */
static void make_stale(struct covey_bytes *kept)
{
    kept->data = malloc(1111);
    CHECK(kept->data != NULL);
    free(kept->data);
}

/* One that is in the middle of a message each way. Returns: in the child 0. */
static int fork_in_messages(struct bare *b)
{
    static char large[LARGE];
    struct covey_bytes got = {0};
    forks_beside_threads();
    *b = bare_new();
    struct cvy_stream *s = cvy_stream_of(b->conn);
    write_hex(b->fd, "00000004 6162");
    CHECK_ERR(covey_conn_recv(b->conn, &got, COVEY_NOWAIT), -ETIMEDOUT);
    CHECK_EQ(covey_conn_send(b->conn, COVEY_VIEW_OF(large), COVEY_NOWAIT),
             COVEY_PENDING);
    void *in = s->in.data, *out = s->out.data;
    make_stale(&s->in);
    make_stale(&s->out);
    int pid = family_fork();
    if (pid) {
        s->in.data = in;
        s->out.data = out;
    }
    return pid;
}

/* The parent goes on with both. */
static void finish_messages(struct bare *b)
{
    static char bytes[4096];
    write_hex(b->fd, "6364");
    recv_text(b->conn, "abcd");
    for (size_t left = 4 + LARGE; left;) {
        int r = covey_conn_flush(b->conn, COVEY_NOWAIT);
        CHECK(r == 0 || r == -ETIMEDOUT);
        ssize_t n = read(b->fd, bytes, left < sizeof bytes ? left : sizeof bytes);
        CHECK_GT(n, 0);
        left -= (size_t)n;
    }
}

TEST(child_goes_on_with_a_connection_in_the_middle_of_messages)
{
    struct bare b;
    int pid = fork_in_messages(&b);
    if (!pid) {
        recv_text(b.conn, "next");
        send_text(b.conn, "from the child");
        bare_free(&b);
        exit(0);
    }
    finish_messages(&b);
    write_hex(b.fd, "00000004 6e657874");
    reads_hex(b.fd, "0000000e 66726f6d20746865206368696c64");
    family_join(pid);
    bare_free(&b);
}

TEST(child_closes_a_connection_in_the_middle_of_messages)
{
    struct bare b;
    int pid = fork_in_messages(&b);
    if (!pid) {
        bare_free(&b);
        exit(0);
    }
    family_join(pid);
    finish_messages(&b);
    bare_free(&b);
}

/* ---- beside who registers ---- */

enum { FORKS = 150, BETWEEN = 5000 };

static _Atomic int forks;

static int nothing(covey_request *request)
{
    return covey_request_return(request, covey_value_none());
}

static void *register_on(void *unused)
{
    for (int i = 0; forks < FORKS;) { /* what is registered stays, so not too much */
        if (i < (forks + 1) * BETWEEN) {
            CHECK_OK(covey_manager_register_function("covey.nothing", nothing));
            i++;
        }
    }
    return unused;
}

TEST(who_is_forked_while_another_registers_can_register)
{
    pthread_t thread;
    int status;
    if (SANITIZED)
        SKIP("the sanitizers' allocators do not survive such forks");
    forks_beside_threads();
    CHECK_EQ(pthread_create(&thread, NULL, register_on, NULL), 0);
    for (; forks < FORKS; forks++) {
        int pid = fork();
        CHECK_GE(pid, 0);
        if (!pid)
            _exit(covey_manager_register_function("covey.nothing", nothing) != 0);
        CHECK_EQ(waitpid(pid, &status, 0), pid);
        CHECK_EQ(status, 0);
    }
    CHECK_EQ(pthread_join(thread, NULL), 0);
}

CHECK_MAIN()
