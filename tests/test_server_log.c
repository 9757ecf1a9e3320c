/* SPDX-License-Identifier: MIT */
/* What a manager says in its log of clients that go wrong. */
#include "server_heard.h"

TEST(it_says_who_was_refused_and_why)
{
    struct server server = server_start_heard((struct covey_manager_opts){0});
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
    struct server server = server_start_heard((struct covey_manager_opts){0});
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
    struct server server = server_start_heard((struct covey_manager_opts){0});
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
    struct server server = server_start_heard((struct covey_manager_opts){0});
    int status, pid = fork();
    if (pid == 0)
        make_and_die(&server);
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK(WIFSIGNALED(status));
    await_line("has ended with references to 1 objects", server.address);
    server_stop(&server);
}

CHECK_MAIN()
