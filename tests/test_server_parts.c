/* SPDX-License-Identifier: MIT */
/* Clients that send a part of a request and no more. */
#include <sys/socket.h>

#include "server_help.h"

static struct server start_impatient(char lock[64])
{
    struct server server =
        server_start((struct covey_manager_opts){.send_timeout = COVEY_MSEC(300)});
    server_create(&server, "Lock", lock);
    return server;
}

static void send_bytes(covey_conn *conn, const void *bytes, size_t size)
{
    int fd;
    CHECK_OK(covey_conn_fd(conn, &fd));
    CHECK_EQ(send(fd, bytes, size, MSG_NOSIGNAL), (ssize_t)size);
}

static void gets(covey_conn *conn, const char *lock)
{
    REQUEST(conn, lock, "acquire", "()");
    REPLIES(conn, "#RETURN", "True");
}

/* So much time passes in the manager, too. */
static void let_pass(const struct server *server, double seconds)
{
    char queue[64];
    server_create(server, "Queue", queue);
    covey_conn *conn = server_session(server, "patient");
    REQUEST(conn, queue, "get", "(i, d)", 1, seconds);
    REPLIES(conn, "#ERROR", "Empty");
    covey_conn_free(conn);
    control_ok(server, "decref", queue);
}

static void has_ended(covey_conn *conn)
{
    struct covey_bytes got = {0};
    CHECK_EQ(covey_conn_recv(conn, &got, COVEY_SEC(20)), COVEY_EEOF);
    covey_bytes_free(&got);
    covey_conn_free(conn);
}

TEST(a_session_that_stops_amid_a_request_ends)
{
    char lock[64];
    struct server server = start_impatient(lock);
    covey_conn *half = server_session(&server, "half"), *control_half,
               *next = server_session(&server, "next");
    gets(half, lock);
    send_bytes(half, "\0\0\1\0abc", 7);
    gets(next, lock); /* when the other session has ended */
    has_ended(half);
    control_half = server_connect(&server);
    send_bytes(control_half, "\0\0", 2);
    has_ended(control_half);
    covey_conn_free(next);
    control_ok(&server, "decref", lock);
    server_stop(&server);
}

TEST(who_sends_on_or_waits_for_an_answer_may_take_long)
{
    char lock[64];
    struct covey_bytes request = {0}, frame = {0};
    covey_value *value;
    struct server server = start_impatient(lock);
    covey_conn *owner = server_session(&server, "owner");
    covey_conn *slow = server_session(&server, "slow");
    gets(owner, lock);
    CHECK_OK(covey_value_pack(&value, "(s, s, (), {})", lock, "acquire"));
    CHECK_OK(covey_value_pickle(value, &request));
    covey_value_free(value);
    size_t size = request.size + 4, half = size + size / 2;
    CHECK_OK(covey_bytes_resize(&frame, 2 * size));
    for (int i = 0; i < 2; i++) {
        char *at = (char *)frame.data + (size_t)i * size;
        memcpy(at, (char[]){0, 0, 0, (char)request.size}, 4);
        memcpy(at + 4, request.data, request.size);
    }
    send_bytes(slow, frame.data, half); /* its first call waits, the next has begun */
    let_pass(&server, 0.5);
    REQUEST(owner, lock, "release", "()");
    REPLIES(owner, "#RETURN", "None");
    REPLIES(slow, "#RETURN", "True");
    for (; half < 2 * size - 1; half++) { /* slower than the limit in all */
        let_pass(&server, 0.02);
        send_bytes(slow, (char *)frame.data + half, 1);
    }
    send_bytes(slow, (char *)frame.data + half, 1);
    REQUEST(owner, lock, "release", "()"); /* anybody may */
    REPLIES(owner, "#RETURN", "None");
    REPLIES(slow, "#RETURN", "True");
    let_pass(&server, 0.5);
    REQUEST(slow, lock, "release", "()");
    REPLIES(slow, "#RETURN", "None");
    covey_bytes_free(&request);
    covey_bytes_free(&frame);
    covey_conn_free(owner);
    covey_conn_free(slow);
    control_ok(&server, "decref", lock);
    server_stop(&server);
}

TEST(names_of_sessions_are_short)
{
    char name[258] = {0}, lock[64];
    struct server server = start_impatient(lock);
    memset(name, 'n', 257);
    covey_conn *conn = server_connect(&server);
    REQUEST(conn, NULL, "accept_connection", "(s)", name);
    REPLIES(conn, "#TRACEBACK", "ValueError: a name of 257 bytes");
    covey_conn_free(conn);
    name[256] = '\0';
    covey_conn_free(server_session(&server, name));
    control_ok(&server, "decref", lock);
    server_stop(&server);
}

CHECK_MAIN()
