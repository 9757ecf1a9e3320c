/* SPDX-License-Identifier: MIT */
/* Clients that send a part of a request and no more. */
#include <poll.h>
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

/* A frame of a request. */
static struct covey_bytes frame_of(covey_value *request)
{
    struct covey_bytes pickle = {0}, frame = {0};
    CHECK_OK(covey_value_pickle(request, &pickle));
    covey_value_free(request);
    CHECK_OK(covey_bytes_resize(&frame, pickle.size + 4));
    for (int i = 0; i < 4; i++)
        ((char *)frame.data)[i] = (char)(pickle.size >> (24 - 8 * i));
    memcpy((char *)frame.data + 4, pickle.data, pickle.size);
    covey_bytes_free(&pickle);
    return frame;
}

/* Send a frame such that the manager has read `first` bytes before the rest comes. */
static void send_in_two(const struct server *server, covey_conn *conn,
                        const struct covey_bytes *frame, size_t first)
{
    send_bytes(conn, frame->data, first);
    let_pass(server, 0.01);
    send_bytes(conn, (char *)frame->data + first, frame->size - first);
}

/* A frame with a call that has no arguments; `ident` NULL: of the manager itself. */
static struct covey_bytes call_of(const char *ident, const char *method)
{
    covey_value *request;
    CHECK_OK(covey_value_pack(&request, "(z, s, (), {})", ident, method));
    return frame_of(request);
}

TEST(requests_for_the_manager_itself_come_in_parts)
{
    char lock[64];
    struct server server = start_impatient(lock);
    struct covey_bytes frame = call_of(NULL, "dummy");
    for (size_t first = 1; first < frame.size; first += 7) {
        covey_conn *conn = server_connect(&server);
        send_in_two(&server, conn, &frame, first);
        REPLIES(conn, "#RETURN", "None");
        has_ended(conn);
    }
    covey_bytes_free(&frame);
    control_ok(&server, "decref", lock);
    server_stop(&server);
}

TEST(who_goes_before_the_answer_to_a_request_in_parts_harms_nobody)
{
    char lock[64];
    struct server server = start_impatient(lock);
    struct covey_bytes frame = call_of(lock, "acquire");
    for (size_t first = 1; first < frame.size; first += 7) {
        covey_conn *conn = server_session(&server, "in a hurry");
        send_in_two(&server, conn, &frame, first);
        covey_conn_free(conn);
    }
    covey_conn *next = server_session(&server, "next");
    gets(next, lock);
    covey_conn_free(next);
    covey_bytes_free(&frame);
    control_ok(&server, "decref", lock);
    server_stop(&server);
}

/* ---- large ones ---- */

enum { LARGE = 16 << 20, SENT_FIRST = 12 << 20, STEP = 128 << 10, SENDERS = 16 };

static void send_all(covey_conn *conn, const char *bytes, size_t size)
{
    int fd;
    CHECK_OK(covey_conn_fd(conn, &fd));
    while (size) {
        ssize_t n = send(fd, bytes, size, MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN)
            CHECK_EQ(poll(&(struct pollfd){.fd = fd, .events = POLLOUT}, 1, 20000), 1);
        else
            CHECK_GT(n, 0);
        bytes += n > 0 ? n : 0;
        size -= n > 0 ? (size_t)n : 0;
    }
}

/* A frame with a request that has LARGE bytes as argument; `ident` NULL: for the manager. */
static struct covey_bytes large(const char *ident, const char *method)
{
    covey_value *request;
    char *bytes = calloc(1, LARGE);
    CHECK_OK(covey_value_pack(&request, "(z, s, (y#), {})", ident, method, bytes,
                              (size_t)LARGE));
    free(bytes);
    return frame_of(request);
}

static struct server start_small(void)
{
    if (family_is_sanitized())
        SKIP("nobody knows there what is allocated");
    return server_start((struct covey_manager_opts){.max_memory = 20 << 20});
}

static size_t resident(int pid)
{
    char path[64];
    size_t pages = 0;
    snprintf(path, sizeof path, "/proc/%d/statm", pid);
    FILE *file = fopen(path, "re");
    CHECK(file != NULL);
    CHECK_EQ(fscanf(file, "%*s %zu", &pages), 1);
    fclose(file);
    return pages * (size_t)sysconf(_SC_PAGESIZE);
}

/* Returns: whether it was refused. */
static bool is_refused(covey_conn *conn)
{
    struct reply reply = reply_get(conn);
    bool is_error = strcmp(reply.kind, "#ERROR") == 0;
    if (is_error)
        CHECK(
            covey_value_is(covey_value_class(reply.value), "builtins", "MemoryError"));
    else
        CHECK_STR_EQ(reply.kind, "#RETURN");
    covey_value_free(reply.message);
    return is_error;
}

TEST(requests_that_are_not_finished_use_no_more_memory_than_there_may_be)
{
    char list[64];
    covey_conn *conns[SENDERS];
    int refused = 0;
    struct server server = start_small();
    server_create(&server, "list", list);
    struct covey_bytes frame = large(list, "append");
    for (int i = 0; i < SENDERS; i++) {
        conns[i] = server_session(&server, "sender");
        send_all(conns[i], frame.data, SENT_FIRST);
    }
    CHECK_LT(resident(server.pid), 6 * (size_t)LARGE);
    for (int i = 0; i < SENDERS; i++) {
        send_all(conns[i], (char *)frame.data + SENT_FIRST, frame.size - SENT_FIRST);
        refused += is_refused(conns[i]);
    }
    CHECK_GE(refused, SENDERS - 3);
    REQUEST(conns[0], list, "clear", "()");
    REPLIES(conns[0], "#RETURN", "None");
    REQUEST(conns[SENDERS - 1], list, "append", "(i)", 1);
    REPLIES(conns[SENDERS - 1], "#RETURN", "None");
    for (int i = 0; i < SENDERS; i++)
        covey_conn_free(conns[i]);
    covey_bytes_free(&frame);
    control_ok(&server, "decref", list);
    server_stop(&server);
}

/* Nobody else is refused because of those who stop amid their requests. */
TEST(requests_that_are_not_finished_leave_room_for_others)
{
    char list[64];
    covey_conn *stopped[3];
    struct server server = start_small();
    server_create(&server, "list", list);
    struct covey_bytes frame = large(list, "append");
    covey_conn *conn = server_session(&server, "small");
    for (int i = 0; i < 3; i++) {
        stopped[i] = server_session(&server, "stopped");
        for (size_t sent = 0; sent < SENT_FIRST; sent += STEP) {
            send_all(stopped[i], (char *)frame.data + sent, STEP);
            REQUEST(conn, list, "append", "(i)", 1);
            REPLIES(conn, "#RETURN", "None");
        }
    }
    for (int i = 0; i < 3; i++)
        covey_conn_free(stopped[i]);
    covey_conn_free(conn);
    covey_bytes_free(&frame);
    control_ok(&server, "decref", list);
    server_stop(&server);
}

static void fill(covey_conn *conn, const struct covey_bytes *frame)
{
    do
        send_all(conn, frame->data, frame->size);
    while (!is_refused(conn));
}

TEST(requests_for_the_manager_itself_are_refused_as_others)
{
    char list[64];
    struct server server = start_small();
    server_create(&server, "list", list);
    covey_conn *conn = server_session(&server, "me");
    struct covey_bytes frame = large(list, "append"), create = large(NULL, "create");
    fill(conn, &frame);
    covey_conn *newcomer = server_connect(&server);
    send_all(newcomer, create.data, create.size);
    CHECK(is_refused(newcomer));
    has_ended(newcomer);
    REQUEST(conn, list, "clear", "()");
    REPLIES(conn, "#RETURN", "None");
    covey_conn_free(conn);
    covey_bytes_free(&frame);
    covey_bytes_free(&create);
    control_ok(&server, "decref", list);
    server_stop(&server);
}

CHECK_MAIN()
