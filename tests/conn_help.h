/* SPDX-License-Identifier: MIT */
/* What the tests of connections share: a connection and the bare socket on the other side
 * of it, clients in threads, bytes in hexadecimal, and texts as messages. */
#ifndef TESTS_CONN_HELP_H
#define TESTS_CONN_HELP_H

#include <pthread.h>
#include <stdio.h>
#include <sys/socket.h>

#include "process_help.h"

struct bare {
    covey_conn *conn;
    int fd; /* the other side */
};

static inline struct bare bare_of(int type)
{
    struct bare b;
    int ends[2];
    CHECK_EQ(socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, ends), 0);
    CHECK_OK(covey_conn_open_fd(&b.conn, ends[0], NULL));
    b.fd = ends[1];
    return b;
}

static inline struct bare bare_new(void)
{
    return bare_of(SOCK_STREAM);
}

static inline void bare_free(struct bare *b)
{
    covey_conn_free(b->conn);
    if (b->fd >= 0)
        close(b->fd);
}

/* Both ends of a pipe. */
struct pair {
    covey_conn *a, *b;
};

static inline struct pair pair_new(const struct covey_pipe_opts *opts)
{
    struct pair p;
    CHECK_OK(covey_pipe_create(&p.a, &p.b, opts));
    return p;
}

static inline void pair_free(struct pair *p)
{
    covey_conn_free(p->a);
    covey_conn_free(p->b);
}

/* A client in a thread of its own. */
struct client {
    pthread_t thread;
    char address[256];
    struct covey_client_opts opts;
    covey_conn *conn;
    int result;
    char detail[512];
};

static inline void *connect_in_thread(void *arg)
{
    struct client *c = arg;
    c->result = covey_client_connect(&c->conn, c->address, &c->opts, COVEY_SEC(20));
    snprintf(c->detail, sizeof c->detail, "%s", covey_error_detail());
    return NULL;
}

static inline void client_start(struct client *c, const char *address,
                                const struct covey_client_opts *opts)
{
    *c = (struct client){.opts = *opts};
    snprintf(c->address, sizeof c->address, "%s", address);
    CHECK_EQ(pthread_create(&c->thread, NULL, connect_in_thread, c), 0);
}

static inline int client_result(struct client *c)
{
    CHECK_EQ(pthread_join(c->thread, NULL), 0);
    return c->result;
}

/* "0000 0a" as bytes. Returns: how many. */
static inline size_t unhex(const char *hex, unsigned char *to)
{
    size_t n = 0;
    for (; *hex; hex++) {
        unsigned byte;
        if (*hex == ' ')
            continue;
        CHECK_EQ(sscanf(hex, "%2x", &byte), 1);
        to[n++] = (unsigned char)byte;
        hex++;
    }
    return n;
}

static inline void write_hex(int fd, const char *hex)
{
    unsigned char bytes[1024];
    size_t size = unhex(hex, bytes);
    CHECK_EQ(send(fd, bytes, size, MSG_NOSIGNAL), (ssize_t)size);
}

/* Just these bytes come. */
static inline void reads_hex(int fd, const char *hex)
{
    unsigned char wanted[1024], got[1024];
    size_t size = unhex(hex, wanted), have = 0;
    while (have < size) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        CHECK_EQ(poll(&p, 1, 20000), 1);
        ssize_t n = read(fd, got + have, size - have);
        CHECK_GT(n, 0);
        have += (size_t)n;
    }
    CHECK_MEM_EQ(got, wanted, size);
}

static inline void send_text(covey_conn *conn, const char *text)
{
    CHECK_OK(covey_conn_send(conn, COVEY_VIEW(text, strlen(text)), COVEY_FOREVER));
}

static inline void recv_text(covey_conn *conn, const char *wanted)
{
    char text[256];
    size_t size = 0;
    CHECK_OK(covey_conn_recv_into(conn, text, sizeof text - 1, &size, COVEY_SEC(20)));
    text[size] = 0;
    CHECK_STR_EQ(text, wanted);
}

/* Bytes that tell where they belong. */
static inline void fill(unsigned char *to, size_t size, unsigned seed)
{
    CHECK(to != NULL);
    for (size_t i = 0; i < size; i++)
        to[i] = (unsigned char)(seed * 31 + i * 7 + (i >> 8));
}

/* ---- listeners ---- */

static inline covey_listener *listener_at(const char *address,
                                          const struct covey_listener_opts *opts)
{
    covey_listener *l = NULL;
    CHECK_OK(covey_listener_create(&l, address, opts));
    return l;
}

#endif
