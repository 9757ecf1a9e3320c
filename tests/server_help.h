/* SPDX-License-Identifier: MIT */
/* A manager in a child of the test, and clients that speak its protocol by hand. */
#ifndef TESTS_SERVER_HELP_H
#define TESTS_SERVER_HELP_H

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "process_help.h"

#define SERVER_KEY COVEY_VIEW("secret", 6)

struct server {
    int pid;
    char address[256];
    const struct covey_tls *tls;
};

static inline void server_ready(void *context, const char *address)
{
    int fd = *(int *)context;
    CHECK_EQ(write(fd, address, strlen(address) + 1), (ssize_t)strlen(address) + 1);
    close(fd);
}

/* Fork a manager with these options; `address`, key and ready are filled in. */
static inline struct server server_start(struct covey_manager_opts opts)
{
    struct server server = {.tls = opts.tls};
    int ends[2], status = 1;
    size_t size = 0;
    CHECK_EQ(pipe(ends), 0);
    fflush(NULL);
    server.pid = fork();
    CHECK_GE(server.pid, 0);
    if (!server.pid) {
        close(ends[0]);
        opts.size = sizeof opts;
        if (!opts.authkey.data)
            opts.authkey = SERVER_KEY;
        opts.ready = server_ready;
        opts.context = &ends[1];
        CHECK_OK(covey_manager_serve_forever(&opts));
        exit(0);
    }
    close(ends[1]);
    while (size < sizeof server.address &&
           read(ends[0], server.address + size, 1) == 1 && server.address[size])
        size++;
    close(ends[0]);
    if (!size)
        (void)waitpid(server.pid, &status, 0);
    CHECK_GT(size, 0);
    return server;
}

/* It has to end well. */
static inline void server_ends(struct server *server)
{
    int status = -1;
    CHECK_EQ(waitpid(server->pid, &status, 0), server->pid);
    CHECK_EQ(status, 0);
}

/* Nothing comes to it any more until it may go on. */
static inline void server_pause(const struct server *server)
{
    int status = 0;
    CHECK_EQ(kill(server->pid, SIGSTOP), 0);
    CHECK_EQ(waitpid(server->pid, &status, WUNTRACED), server->pid);
    CHECK(WIFSTOPPED(status));
}

static inline void server_goes_on(const struct server *server)
{
    CHECK_EQ(kill(server->pid, SIGCONT), 0);
}

static inline covey_conn *server_connect(const struct server *server)
{
    covey_conn *conn = NULL;
    CHECK_OK(covey_client_connect(
        &conn, server->address,
        COVEY_CLIENT_OPTS(.authkey = SERVER_KEY, .tls = server->tls), COVEY_SEC(20)));
    return conn;
}

/* A reply and what is in it, borrowed. */
struct reply {
    covey_value *message;
    const char *kind;
    const covey_value *value;
};

static inline struct reply reply_get(covey_conn *conn)
{
    struct reply reply = {0};
    CHECK_OK(covey_conn_recv_value(conn, &reply.message, NULL, COVEY_SEC(20)));
    CHECK_OK(covey_value_unpack(reply.message, "(s, O)", &reply.kind, &reply.value));
    return reply;
}

static inline void request_send(covey_conn *conn, covey_value *request)
{
    CHECK(request);
    CHECK_OK(covey_conn_send_value(conn, request, COVEY_SEC(20)));
    covey_value_free(request);
}

/* A request, its arguments by a format of covey_value_pack. */
#define REQUEST(conn, ident, method, ...)                                              \
    do {                                                                               \
        covey_value *args_, *request_;                                                 \
        CHECK_OK(covey_value_pack(&args_, __VA_ARGS__));                               \
        CHECK_OK(                                                                      \
            covey_value_pack(&request_, "(z, s, N, {})", (ident), (method), args_));   \
        request_send((conn), request_);                                                \
    } while (0)

/* The reply has to be of this kind, and its repr to have this in it; NULL: whatever. */
#define REPLIES(conn, wanted_kind, wanted_repr)                                        \
    reply_is(__FILE__, __LINE__, (conn), (wanted_kind), (wanted_repr))

static inline void reply_is(const char *file, int line, covey_conn *conn,
                            const char *kind, const char *repr)
{
    struct covey_bytes text = {0};
    struct reply reply = reply_get(conn);
    if (repr || strcmp(reply.kind, kind) != 0)
        CHECK_OK(covey_value_repr(reply.value, &text));
    if (strcmp(reply.kind, kind) != 0 ||
        (repr && !strstr((const char *)text.data, repr)))
        check_failed(file, line, "reply %s %s, not %s %s", reply.kind,
                     (const char *)text.data, kind, repr ? repr : "");
    covey_bytes_free(&text);
    covey_value_free(reply.message);
}

/* One request for the manager itself, over a connection of its own. */
static inline struct reply control(const struct server *server, const char *method,
                                   covey_value *args)
{
    covey_conn *conn = server_connect(server);
    covey_value *request;
    CHECK_OK(covey_value_pack(&request, "(z, s, N, {})", NULL, method, args));
    request_send(conn, request);
    struct reply reply = reply_get(conn);
    covey_conn_free(conn);
    return reply;
}

static inline covey_value *args_of(const char *text)
{
    covey_value *args;
    CHECK_OK(text ? covey_value_pack(&args, "(s)", text)
                  : covey_value_pack(&args, "()"));
    return args;
}

static inline void control_ok(const struct server *server, const char *method,
                              const char *arg)
{
    struct reply reply = control(server, method, args_of(arg));
    if (strcmp(reply.kind, "#RETURN") != 0) {
        struct covey_bytes text = {0};
        CHECK_OK(covey_value_repr(reply.value, &text));
        check_failed(__FILE__, __LINE__, "%s: %s %s", method, reply.kind,
                     (const char *)text.data);
    }
    covey_value_free(reply.message);
}

/* Make an object; its ident goes to `ident`. */
static inline void server_create(const struct server *server, const char *type,
                                 char ident[64])
{
    const char *made;
    const covey_value *exposed;
    struct reply reply = control(server, "create", args_of(type));
    CHECK_STR_EQ(reply.kind, "#RETURN");
    CHECK_OK(covey_value_unpack(reply.value, "(s, O)", &made, &exposed));
    snprintf(ident, 64, "%s", made);
    covey_value_free(reply.message);
}

static inline int64_t server_count(const struct server *server)
{
    int64_t count;
    struct reply reply = control(server, "number_of_objects", args_of(NULL));
    CHECK_OK(covey_value_get_int(reply.value, &count));
    covey_value_free(reply.message);
    return count;
}

/* A connection that calls objects. */
static inline covey_conn *server_session(const struct server *server, const char *name)
{
    covey_conn *conn = server_connect(server);
    REQUEST(conn, NULL, "accept_connection", "(s)", name);
    REPLIES(conn, "#RETURN", "None");
    return conn;
}

/* Ask it to shut down, and wait for its end: two replies come, as from CPython's. */
static inline void server_stop(struct server *server)
{
    covey_conn *conn = server_connect(server);
    covey_value *value;
    REQUEST(conn, NULL, "shutdown", "()");
    REPLIES(conn, "#RETURN", "None");
    REPLIES(conn, "#RETURN", "None");
    CHECK_EQ(covey_conn_recv_value(conn, &value, NULL, COVEY_SEC(20)), COVEY_EEOF);
    covey_conn_free(conn);
    server_ends(server);
}

#endif
