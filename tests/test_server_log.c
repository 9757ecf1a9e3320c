/* SPDX-License-Identifier: MIT */
/* What a manager says in its log of clients that go wrong. */
#include <stdatomic.h>

#include "server_help.h"

/* Lines that the manager, which is another process, has logged. */
struct heard {
    _Atomic size_t size;
    char text[60000];
};

static struct heard *heard;

static void hear(void *context, int level, const char *line)
{
    struct heard *h = context;
    (void)level;
    size_t size = atomic_load(&h->size), more = strlen(line) + 1;
    if (size + more > sizeof h->text)
        return;
    memcpy(h->text + size, line, more);
    atomic_store(&h->size, size + more);
}

static struct server start(void)
{
    heard = family_shared(sizeof *heard);
    CHECK_OK(covey_set_log_level(COVEY_LOG_INFO));
    CHECK_OK(covey_set_log_hook(hear, heard));
    return server_start((struct covey_manager_opts){0});
}

static bool was_heard(const char *one, const char *two)
{
    size_t size = atomic_load(&heard->size);
    for (size_t at = 0; at < size; at += strlen(heard->text + at) + 1)
        if (strstr(heard->text + at, one) && strstr(heard->text + at, two))
            return true;
    return false;
}

/* Wait for a line that has both in it. */
static void await_line(const char *one, const char *two)
{
    while (!was_heard(one, two))
        cvy_os_yield();
}

TEST(it_says_who_was_refused_and_why)
{
    struct server server = start();
    covey_conn *conn = NULL;
    CHECK(covey_client_connect(&conn, server.address,
                               COVEY_CLIENT_OPTS(.authkey = COVEY_VIEW("wrong", 5)),
                               COVEY_SEC(20)) < 0);
    await_line("was refused", "the other side has another key");
    server_stop(&server);
}

TEST(it_says_what_an_ended_session_held)
{
    char lock[64];
    struct server server = start();
    server_create(&server, "Lock", lock);
    covey_conn *me = server_session(&server, "me");
    REQUEST(me, lock, "acquire", "()");
    REPLIES(me, "#RETURN", "True");
    covey_conn_free(me);
    await_line("ended holding 1 things", "the first a Lock");
    server_stop(&server);
}

TEST(it_says_what_was_wrong_with_a_request)
{
    struct server server = start();
    covey_conn *me = server_session(&server, "me");
    CHECK_OK(covey_conn_send(me, COVEY_VIEW("no pickle", 9), COVEY_SEC(20)));
    REPLIES(me, "#TRACEBACK", "UnpicklingError");
    await_line(server.address, "UnpicklingError");
    REQUEST(me, "1", "append", "(i)", 1);
    REPLIES(me, "#TRACEBACK", "KeyError");
    await_line(server.address, "KeyError");
    covey_conn_free(me);
    server_stop(&server);
}

static void make_and_die(const struct server *server)
{
    char ident[64];
    server_create(server, "list", ident);
    covey_conn *me = server_session(server, "me");
    REQUEST(me, ident, "append", "(i)", 1);
    REPLIES(me, "#RETURN", "None");
    (void)raise(SIGKILL);
}

TEST(it_says_what_a_killed_process_referred_to)
{
    struct server server = start();
    int status, pid = fork();
    if (pid == 0)
        make_and_die(&server);
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK(WIFSIGNALED(status));
    await_line("has ended with references to 1 objects", server.address);
    server_stop(&server);
}

CHECK_MAIN()
