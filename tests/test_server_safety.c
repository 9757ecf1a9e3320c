/* SPDX-License-Identifier: MIT */
/* Clients that do not know the key, send rubbish, die, or do not read: the manager stays
 * up, serves others, and frees what was held. */
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "server_box.h"
#include "server_help.h"

static struct server start(struct covey_manager_opts opts)
{
    box_register();
    return server_start(opts);
}

/* It serves, and nothing is left of what went before. */
static void still_serves(struct server *server)
{
    char ident[64];
    while (server_count(server) > 0)
        continue; /* what a client had goes when the manager has seen its end */
    server_create(server, "Box", ident);
    covey_conn *conn = server_session(server, "me");
    REQUEST(conn, ident, "set", "(i)", 42);
    REPLIES(conn, "#RETURN", "None");
    REQUEST(conn, ident, "get", "()");
    REPLIES(conn, "#RETURN", "42");
    covey_conn_free(conn);
    server_stop(server);
}

/* ---- the key ---- */

TEST(a_wrong_key_and_no_key_are_refused)
{
    covey_conn *conn;
    struct server server = start((struct covey_manager_opts){0});
    CHECK_ERR(covey_client_connect(&conn, server.address,
                                   COVEY_CLIENT_OPTS(.authkey = COVEY_VIEW("wrong", 5)),
                                   COVEY_SEC(20)),
              COVEY_EAUTH);
    CHECK_OK(covey_client_connect(&conn, server.address, NULL, COVEY_SEC(20)));
    REQUEST(conn, NULL, "dummy", "()"); /* taken for the proof */
    struct covey_bytes got = {0};
    CHECK_OK(covey_conn_recv(conn, &got, COVEY_SEC(20)));
    CHECK_STR_HAS((const char *)got.data, "#CHALLENGE#");
    CHECK_OK(covey_conn_recv(conn, &got, COVEY_SEC(20)));
    CHECK_MEM_EQ(got.data, "#FAILURE#", 9);
    CHECK_EQ(covey_conn_recv(conn, &got, COVEY_SEC(20)), COVEY_EEOF);
    covey_bytes_free(&got);
    covey_conn_free(conn);
    still_serves(&server);
}

TEST(a_made_up_proof_is_refused)
{
    static char answer[40] = "{sha256}";
    struct covey_bytes got = {0};
    covey_conn *conn;
    struct server server = start((struct covey_manager_opts){0});
    CHECK_OK(covey_client_connect(&conn, server.address, NULL, COVEY_SEC(20)));
    CHECK_OK(covey_conn_recv(conn, &got, COVEY_SEC(20)));
    CHECK_OK(covey_conn_send(conn, COVEY_VIEW(answer, sizeof answer), COVEY_SEC(20)));
    CHECK_OK(covey_conn_recv(conn, &got, COVEY_SEC(20)));
    CHECK_MEM_EQ(got.data, "#FAILURE#", 9);
    covey_conn_free(conn);
    covey_bytes_free(&got);
    still_serves(&server);
}

/* What one connection has proved with is sent again over another. */
TEST(a_replayed_handshake_is_refused)
{
    struct covey_bytes challenge = {0}, proof = {0}, got = {0};
    covey_conn *real, *conn, *ends[2];
    struct server server = start((struct covey_manager_opts){0});
    int pair[2];
    CHECK_OK(covey_client_connect(&real, server.address, NULL, COVEY_SEC(20)));
    CHECK_OK(covey_conn_recv(real, &challenge, COVEY_SEC(20)));
    CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    for (int i = 0; i < 2; i++)
        CHECK_OK(covey_conn_open_fd(&ends[i], pair[i], NULL));
    CHECK_OK(covey_conn_send(ends[0], COVEY_VIEW(challenge.data, challenge.size),
                             COVEY_SEC(20)));
    CHECK_ERR(covey_answer_challenge(ends[1], SERVER_KEY, NULL, COVEY_MSEC(1)),
              -ETIMEDOUT); /* the proof is sent, and nobody welcomes it */
    CHECK_OK(covey_conn_recv(ends[0], &proof, COVEY_SEC(20)));
    CHECK_OK(covey_conn_send(real, COVEY_VIEW(proof.data, proof.size), COVEY_SEC(20)));
    CHECK_OK(covey_conn_recv(real, &got, COVEY_SEC(20)));
    CHECK_MEM_EQ(got.data, "#WELCOME#", 9);
    CHECK_OK(covey_client_connect(&conn, server.address, NULL, COVEY_SEC(20)));
    CHECK_OK(covey_conn_recv(conn, &got, COVEY_SEC(20)));
    CHECK_OK(covey_conn_send(conn, COVEY_VIEW(proof.data, proof.size), COVEY_SEC(20)));
    CHECK_OK(covey_conn_recv(conn, &got, COVEY_SEC(20)));
    CHECK_MEM_EQ(got.data, "#FAILURE#", 9);
    covey_conn_free(conn);
    covey_conn_free(real);
    covey_conn_free(ends[0]);
    covey_conn_free(ends[1]);
    covey_bytes_free(&challenge);
    covey_bytes_free(&proof);
    covey_bytes_free(&got);
    still_serves(&server);
}

TEST(handshakes_that_stop_run_out_of_time)
{
    struct covey_bytes got = {0};
    covey_conn *conns[20];
    struct server server =
        start((struct covey_manager_opts){.handshake_timeout = COVEY_MSEC(200)});
    for (int i = 0; i < 20; i++) {
        CHECK_OK(covey_client_connect(&conns[i], server.address, NULL, COVEY_SEC(20)));
        CHECK_OK(covey_conn_recv(conns[i], &got, COVEY_SEC(20)));
    }
    for (int i = 0; i < 20; i++) {
        CHECK_EQ(covey_conn_recv(conns[i], &got, COVEY_SEC(20)), COVEY_EEOF);
        covey_conn_free(conns[i]);
    }
    covey_bytes_free(&got);
    still_serves(&server);
}

/* ---- rubbish ---- */

/* The bare socket of a client that has proved itself. */
static int bare_client(const struct server *server, covey_conn **conn)
{
    int fd;
    *conn = server_connect(server);
    CHECK_OK(covey_conn_fd(*conn, &fd));
    return fd;
}

static void send_raw(const struct server *server, const char *bytes, size_t size,
                     const char *kind, const char *text)
{
    covey_conn *conn;
    struct covey_bytes got = {0};
    int fd = bare_client(server, &conn);
    CHECK_EQ(send(fd, bytes, size, MSG_NOSIGNAL), (ssize_t)size);
    if (kind) {
        REPLIES(conn, kind, text);
    } else {
        CHECK_EQ(shutdown(fd, SHUT_WR), 0);
    }
    CHECK_EQ(covey_conn_recv(conn, &got, COVEY_SEC(20)), COVEY_EEOF);
    covey_bytes_free(&got);
    covey_conn_free(conn);
}

TEST(malformed_requests_are_told_so)
{
    struct server server =
        start((struct covey_manager_opts){.max_message = 100 * 1000});
    static const char too_big[] = "\x00\x01\x86\xa1xxxx",
                      negative[] = "\xff\xff\xff\xfexxxx",
                      huge[] = "\xff\xff\xff\xff\x7f\xff\xff\xff\xff\xff\xff\xffxxx",
                      empty[] = "\0\0\0\0", rubbish[] = "\0\0\0\3abc",
                      name[] = "\0\0\0\x12"
                               "cos\nsystem\n(S'x'\ntR",
                      number[] = "\0\0\0\5\x80\4K\7.";
    send_raw(&server, too_big, 8, "#TRACEBACK",
             "ValueError: a message of 100001 bytes; the manager takes at most 100000");
    send_raw(&server, negative, 8, "#TRACEBACK", "ValueError: a message of negative");
    send_raw(&server, huge, 15, "#TRACEBACK",
             "ValueError: a message of 9223372036854775");
    send_raw(&server, empty, 4, "#TRACEBACK", "UnpicklingError: ");
    send_raw(&server, rubbish, 7, "#TRACEBACK", "UnpicklingError: ");
    send_raw(&server, name, 22, "#TRACEBACK", "UnpicklingError: ");
    send_raw(&server, number, 9, "#TRACEBACK", "ValueError: ");
    send_raw(&server, too_big, 2, NULL, NULL);
    send_raw(&server, rubbish, 6, NULL, NULL);
    send_raw(&server, "", 0, NULL, NULL);
    still_serves(&server);
}

TEST(malformed_requests_do_not_end_a_session)
{
    char ident[64];
    struct server server = start((struct covey_manager_opts){0});
    server_create(&server, "Box", ident);
    covey_conn *conn = server_session(&server, "me");
    CHECK_OK(covey_conn_send(conn, COVEY_VIEW("rubbish", 7), COVEY_SEC(20)));
    REPLIES(conn, "#TRACEBACK", "UnpicklingError");
    request_send(conn, covey_value_int(7));
    REPLIES(conn, "#TRACEBACK", "ValueError");
    REQUEST(conn, ident, "get", "()");
    REPLIES(conn, "#RETURN", "None");
    covey_conn_free(conn);
    control_ok(&server, "decref", ident);
    still_serves(&server);
}

/* What a pickle names is kept as a name; it is not looked for, let alone called. */
TEST(pickles_that_name_functions_call_nothing)
{
    char ident[64];
    covey_value *args, *call;
    struct server server = start((struct covey_manager_opts){0});
    server_create(&server, "Box", ident);
    covey_conn *conn = server_session(&server, "me");
    CHECK_OK(covey_value_pack(&args, "(s)", "touch /tmp/covey-was-here"));
    call = covey_value_call(covey_value_global("os", "system"), args);
    REQUEST(conn, ident, "set", "(N)", call);
    REPLIES(conn, "#RETURN", "None");
    REQUEST(conn, ident, "__repr__", "()");
    REPLIES(conn, "#RETURN", "system('touch");
    CHECK_NE(access("/tmp/covey-was-here", F_OK), 0);
    covey_conn_free(conn);
    control_ok(&server, "decref", ident);
    still_serves(&server);
}

/* ---- clients that go ---- */

/* A process that does something as a client, says so, and is killed. */
static void killed_client(const struct server *server,
                          void (*work)(const struct server *server, const char *ident),
                          const char *ident)
{
    int ends[2];
    char byte;
    CHECK_EQ(pipe(ends), 0);
    fflush(NULL);
    int pid = fork();
    CHECK_GE(pid, 0);
    if (!pid) {
        work(server, ident);
        CHECK_EQ(write(ends[1], "", 1), 1);
        pause();
    }
    CHECK_EQ(read(ends[0], &byte, 1), 1);
    close(ends[0]);
    close(ends[1]);
    CHECK_EQ(kill(pid, SIGKILL), 0);
    CHECK_EQ(waitpid(pid, NULL, 0), pid);
}

static void make_three(const struct server *server, const char *unused)
{
    char ident[64];
    (void)unused;
    for (int i = 0; i < 3; i++)
        server_create(server, "Box", ident);
    control_ok(server, "incref", ident);
}

TEST(references_of_a_killed_client_are_dropped)
{
    char ident[64];
    struct server server = start((struct covey_manager_opts){0});
    server_create(&server, "Box", ident);
    killed_client(&server, make_three, NULL);
    while (server_count(&server) > 1)
        continue;
    control_ok(&server, "decref", ident);
    still_serves(&server);
}

/* A client that is gone when the server hears of it. It proves that it knows the key, lets
 * the server prove that, too, and has it wait for the word that this is well. */
static void create_and_die(const struct server *server)
{
    covey_conn *conn = NULL;
    covey_value *request;
    struct covey_bytes digest = {0};
    char challenge[] = "#CHALLENGE#{sha256}01234567890123456789";
    CHECK_OK(covey_client_connect(&conn, server->address, NULL, COVEY_SEC(20)));
    CHECK_OK(covey_answer_challenge(conn, SERVER_KEY, NULL, COVEY_SEC(20)));
    CHECK_OK(
        covey_conn_send(conn, COVEY_VIEW(challenge, strlen(challenge)), COVEY_SEC(20)));
    CHECK_OK(covey_conn_recv(conn, &digest, COVEY_SEC(20)));
    CHECK_EQ(kill(server->pid, SIGSTOP), 0);
    CHECK_OK(covey_conn_send(conn, COVEY_VIEW("#WELCOME#", 9), COVEY_SEC(20)));
    CHECK_OK(covey_value_pack(&request, "(z, s, (s), {})", NULL, "create", "list"));
    request_send(conn, request);
    raise(SIGKILL);
}

TEST(a_client_that_died_before_it_was_heard_leaves_nothing)
{
    struct server server = start((struct covey_manager_opts){0});
    fflush(NULL);
    int status, pid = fork();
    CHECK_GE(pid, 0);
    if (!pid)
        create_and_die(&server);
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK_EQ(status, SIGKILL);
    CHECK_EQ(kill(server.pid, SIGCONT), 0);
    while (server_count(&server) > 0)
        continue;
    still_serves(&server);
}

static void begin_request(const struct server *server, const char *ident)
{
    covey_conn *conn = server_session(server, "doomed");
    int fd;
    control_ok(server, "incref", ident);
    CHECK_OK(covey_conn_fd(conn, &fd));
    CHECK_EQ(send(fd, "\0\0\1\0abc", 7, MSG_NOSIGNAL), 7);
}

TEST(a_client_killed_in_the_middle_of_a_request_leaves_nothing)
{
    char ident[64];
    struct server server = start((struct covey_manager_opts){0});
    server_create(&server, "Box", ident);
    killed_client(&server, begin_request, ident);
    control_ok(&server, "decref", ident);
    still_serves(&server);
}

static void wait_for_lock(const struct server *server, const char *ident)
{
    covey_conn *conn = server_session(server, "doomed");
    REQUEST(conn, ident, "acquire", "()");
    REPLIES(conn, "#RETURN", "True");
}

TEST(a_lock_of_a_killed_client_goes_to_who_waits_for_it)
{
    static const char *const types[] = {"Lock", "RLock", "Semaphore",
                                        "BoundedSemaphore"};
    struct server server = start((struct covey_manager_opts){0});
    for (int i = 0; i < 4; i++) {
        char ident[64];
        server_create(&server, types[i], ident);
        killed_client(&server, wait_for_lock, ident);
        covey_conn *conn = server_session(&server, "next");
        REQUEST(conn, ident, "acquire", "()");
        REPLIES(conn, "#RETURN", "True");
        covey_conn_free(conn);
        control_ok(&server, "decref", ident);
    }
    still_serves(&server);
}

static void wait_in_vain(const struct server *server, const char *ident)
{
    covey_conn *conn = server_session(server, "doomed");
    REQUEST(conn, ident, "get", "()");
    server_count(server); /* it has come by then */
}

TEST(what_a_killed_client_waited_for_goes_to_the_next)
{
    char ident[64];
    struct server server = start((struct covey_manager_opts){0});
    server_create(&server, "Queue", ident);
    covey_conn *conn = server_session(&server, "next");
    for (int i = 0; i < 3; i++)
        killed_client(&server, wait_in_vain, ident);
    covey_conn *putter = server_session(&server, "putter");
    REQUEST(conn, ident, "get", "()");
    for (int64_t size = 0; size == 0;) { /* put until the dead are known to be so */
        REQUEST(putter, ident, "put", "(i)", 7);
        REPLIES(putter, "#RETURN", "None");
        REQUEST(putter, ident, "qsize", "()");
        struct reply reply = reply_get(putter);
        CHECK_OK(covey_value_get_int(reply.value, &size));
        covey_value_free(reply.message);
    }
    REPLIES(conn, "#RETURN", "7");
    covey_conn_free(conn);
    covey_conn_free(putter);
    control_ok(&server, "decref", ident);
    still_serves(&server);
}

/* ---- all at once ---- */

/* Works until it is killed: takes a lock, changes what others change, makes objects. */
static void work_for_ever(const struct server *server, const char *list,
                          const char *lock, int progress)
{
    char own[64];
    covey_conn *conn = server_session(server, "worker");
    control_ok(server, "incref", list);
    for (;;) {
        REQUEST(conn, lock, "acquire", "()");
        REPLIES(conn, "#RETURN", "True");
        REQUEST(conn, list, "append", "(i)", 1);
        REPLIES(conn, "#RETURN", "None");
        server_create(server, "dict", own);
        REQUEST(conn, list, "pop", "()");
        REPLIES(conn, "#RETURN", "1");
        REQUEST(conn, lock, "release", "()");
        REPLIES(conn, "#RETURN", "None");
        CHECK_EQ(write(progress, "", 1), 1);
    }
}

/* Some of the children of the test work; each is killed after some rounds of anybody, and
 * replaced. Whoever has the lock then was in the middle of something. */
TEST_TIMEOUT(clients_killed_at_random_leave_nothing, 60)
{
    enum { WORKERS = 4, ROUNDS = 60 };
    char list[64], lock[64], bytes[16];
    int pids[WORKERS] = {0}, progress[2];
    unsigned seed = 7;
    struct server server = start((struct covey_manager_opts){0});
    server_create(&server, "list", list);
    server_create(&server, "Lock", lock);
    CHECK_EQ(pipe(progress), 0);
    for (int round = 0; round < ROUNDS; round++) {
        int i = round % WORKERS;
        if (pids[i]) {
            ssize_t rounds = 1 + rand_r(&seed) % 16;
            CHECK_GT(read(progress[0], bytes, (size_t)rounds), 0);
            CHECK_EQ(kill(pids[i], SIGKILL), 0);
            CHECK_EQ(waitpid(pids[i], NULL, 0), pids[i]);
        }
        fflush(NULL);
        pids[i] = fork();
        CHECK_GE(pids[i], 0);
        if (!pids[i])
            work_for_ever(&server, list, lock, progress[1]);
    }
    for (int i = 0; i < WORKERS; i++) {
        CHECK_EQ(kill(pids[i], SIGKILL), 0);
        CHECK_EQ(waitpid(pids[i], NULL, 0), pids[i]);
    }
    close(progress[0]);
    close(progress[1]);
    covey_conn *conn = server_session(&server, "last");
    REQUEST(conn, lock, "acquire", "()");
    REPLIES(conn, "#RETURN", "True");
    while (server_count(&server) > 2)
        continue;
    covey_conn_free(conn);
    control_ok(&server, "decref", list);
    control_ok(&server, "decref", lock);
    still_serves(&server);
}

/* ---- clients that do not read ---- */

TEST(a_client_that_never_reads_is_left_after_a_while)
{
    char ident[64];
    struct covey_bytes got = {0};
    struct server server =
        start((struct covey_manager_opts){.send_timeout = COVEY_MSEC(300)});
    server_create(&server, "Box", ident);
    covey_conn *lazy = server_session(&server, "lazy");
    covey_conn *other = server_session(&server, "other");
    for (int i = 0; i < 20; i++)
        REQUEST(lazy, ident, "big", "(i)", 1 << 20);
    for (int i = 0; i < 100; i++) {
        REQUEST(other, ident, "get", "()");
        REPLIES(other, "#RETURN", "None");
    }
    int r = 0;
    while (covey_conn_poll(other, COVEY_NOWAIT) == -ETIMEDOUT &&
           server_count(&server) &&
           (r = covey_conn_send(lazy, COVEY_VIEW("x", 1), COVEY_NOWAIT)) != -EPIPE)
        continue;
    CHECK_EQ(r, -EPIPE); /* the manager has closed it */
    while ((r = covey_conn_recv(lazy, &got, COVEY_SEC(20))) >= 0)
        continue;
    CHECK(r == COVEY_EEOF || r == COVEY_ETRUNCATED);
    covey_bytes_free(&got);
    covey_conn_free(lazy);
    covey_conn_free(other);
    control_ok(&server, "decref", ident);
    still_serves(&server);
}

TEST(a_manager_that_ends_sleeps_until_its_replies_are_read)
{
    char ident[64];
    struct rusage used;
    int status = -1;
    struct server server = start((struct covey_manager_opts){0});
    server_create(&server, "Box", ident);
    covey_conn *lazy = server_session(&server, "lazy");
    covey_conn *newcomer = NULL;
    REQUEST(lazy, ident, "big", "(i)", 4 << 20);
    CHECK_OK(covey_conn_poll(lazy, COVEY_SEC(20)));
    control_ok(&server, "shutdown", NULL);
    /* One who comes too late is no reason to look again and again. */
    int r =
        covey_client_connect(&newcomer, server.address,
                             COVEY_CLIENT_OPTS(.authkey = SERVER_KEY), COVEY_NOWAIT);
    CHECK_LT(r, 0);
    CHECK_EQ(wait4(server.pid, &status, 0, &used), server.pid);
    CHECK_EQ(status, 0);
    CHECK_EQ(used.ru_utime.tv_sec + used.ru_stime.tv_sec, 0);
    CHECK_LT(used.ru_utime.tv_usec + used.ru_stime.tv_usec, 150000);
    covey_conn_free(newcomer);
    covey_conn_free(lazy);
}

/* ---- limits ---- */

TEST(limits_are_told)
{
    char ident[64], other[64];
    const char *text;
    struct server server = start((struct covey_manager_opts){
        .max_objects = 2, .max_sessions = 3, .max_reply = 5000});
    server_create(&server, "Box", ident);
    server_create(&server, "Box", other);
    struct reply reply = control(&server, "create", args_of("Box"));
    CHECK_STR_EQ(reply.kind, "#TRACEBACK");
    CHECK_OK(covey_value_get_str(reply.value, &text, NULL));
    CHECK_STR_HAS(text, "MemoryError: the manager has 2 objects, which is its limit");
    covey_value_free(reply.message);
    covey_conn *conn = server_session(&server, "me");
    REQUEST(conn, ident, "big", "(i)", 6000);
    REPLIES(conn, "#UNSERIALIZABLE", "the manager sends at most 5000");
    covey_conn *second = server_session(&server, "second");
    covey_conn *third = server_session(&server, "third");
    covey_conn *fourth = server_connect(&server);
    struct covey_bytes got = {0};
    CHECK_EQ(covey_conn_recv(fourth, &got, COVEY_SEC(20)), COVEY_EEOF);
    covey_conn_free(fourth);
    covey_conn_free(third);
    REQUEST(second, ident, "get", "()");
    REPLIES(second, "#RETURN", "None");
    covey_conn_free(second);
    covey_conn_free(conn);
    control_ok(&server, "decref", ident);
    control_ok(&server, "decref", other);
    still_serves(&server);
}

TEST(used_up_memory_stops_growth_and_not_the_rest)
{
    enum { PIECE = 1 << 20 };
    char ident[64];
    if (family_is_sanitized())
        return; /* there nobody knows what is allocated */
    struct server server = start((struct covey_manager_opts){.max_memory = 20 << 20});
    server_create(&server, "list", ident);
    covey_conn *conn = server_session(&server, "me");
    char *bytes = calloc(1, PIECE);
    int pieces = 0;
    for (;; pieces++) {
        CHECK_LT(pieces, 60);
        REQUEST(conn, ident, "append", "(y#)", bytes, (size_t)PIECE);
        struct reply reply = reply_get(conn);
        bool failed = strcmp(reply.kind, "#ERROR") == 0;
        if (failed)
            CHECK(covey_value_is(covey_value_class(reply.value), "builtins",
                                 "MemoryError"));
        covey_value_free(reply.message);
        if (failed)
            break;
    }
    CHECK_GT(pieces, 10);
    REQUEST(conn, ident, "__len__", "()");
    REPLIES(conn, "#RETURN", NULL);
    for (int i = 0; i < pieces; i++) {
        REQUEST(conn, ident, "pop", "()");
        REPLIES(conn, "#RETURN", NULL);
    }
    REQUEST(conn, ident, "append", "(i)", 1);
    REPLIES(conn, "#RETURN", "None");
    free(bytes);
    covey_conn_free(conn);
    control_ok(&server, "decref", ident);
    still_serves(&server);
}

TEST(a_request_that_unfolds_is_stopped_by_its_budget)
{
    char ident[64];
    struct server server = start((struct covey_manager_opts){0});
    server_create(&server, "list", ident);
    covey_conn *conn = server_session(&server, "me");
    covey_value *nested = covey_value_list();
    for (int depth = 0; depth < 60; depth++) {
        covey_value *outer = covey_value_list();
        CHECK_OK(covey_value_append(outer, covey_value_ref(nested)));
        CHECK_OK(covey_value_append(outer, nested));
        nested = outer;
    }
    REQUEST(conn, ident, "append", "(N)", nested);
    struct reply reply = reply_get(conn); /* it may be refused at once */
    covey_value_free(reply.message);
    REQUEST(conn, ident, "__repr__", "()");
    reply = reply_get(conn);
    covey_value_free(reply.message);
    REQUEST(conn, ident, "extend", "([i])", 1);
    reply = reply_get(conn);
    covey_value_free(reply.message);
    REQUEST(conn, ident, "__mul__", "(L)", (long long)1 << 60);
    REPLIES(conn, "#ERROR", "MemoryError(");
    covey_conn_free(conn);
    control_ok(&server, "decref", ident);
    still_serves(&server);
}

static size_t occurrences(const char *text, const char *of)
{
    size_t count = 0;
    for (; (text = strstr(text, of)); text++)
        count++;
    return count;
}

TEST(a_list_of_all_objects_has_one_budget)
{
    char idents[8][64];
    const char *text;
    struct server server = start((struct covey_manager_opts){.max_steps = 1000});
    covey_conn *conn = server_session(&server, "me");
    for (int i = 0; i < 8; i++) {
        server_create(&server, "list", idents[i]);
        REQUEST(conn, idents[i], "append", "(i)", 7);
        REPLIES(conn, "#RETURN", "None");
        REQUEST(conn, idents[i], "__imul__", "(i)", 400);
        struct reply reply = reply_get(conn);
        covey_value_free(reply.message);
    }
    struct reply reply = control(&server, "debug_info", args_of(NULL));
    CHECK_STR_EQ(reply.kind, "#RETURN");
    CHECK_OK(covey_value_get_str(reply.value, &text, NULL));
    CHECK_EQ(occurrences(text, "    [7, 7, 7, "), 2); /* the rest is not looked at */
    CHECK_EQ(occurrences(text, "    list"), 6);
    CHECK_EQ(occurrences(text, "refcount=1"), 8);
    covey_value_free(reply.message);
    covey_conn_free(conn);
    for (int i = 0; i < 8; i++)
        control_ok(&server, "decref", idents[i]);
    still_serves(&server);
}

/* ---- many connections ---- */

TEST_TIMEOUT(ten_thousand_idle_connections_cost_nobody_anything, 120)
{
    struct rlimit limit;
    CHECK_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
    size_t count = 10 * 1000, room = (size_t)limit.rlim_cur - 200;
    if (family_is_sanitized())
        count = 500;
    count = count < room ? count : room;
    struct server server = start((struct covey_manager_opts){0});
    covey_conn **conns = calloc(count, sizeof *conns);
    CHECK(conns != NULL);
    for (size_t i = 0; i < count; i++)
        conns[i] = server_connect(&server);
    char ident[64];
    server_create(&server, "Box", ident);
    for (size_t i = 0; i < count; i += 997) {
        REQUEST(conns[i], NULL, "accept_connection", "(s)", "late");
        REPLIES(conns[i], "#RETURN", "None");
        REQUEST(conns[i], ident, "get", "()");
        REPLIES(conns[i], "#RETURN", "None");
    }
    for (size_t i = 0; i < count; i++)
        covey_conn_free(conns[i]);
    free(conns);
    control_ok(&server, "decref", ident);
    still_serves(&server);
}

CHECK_MAIN()
