/* SPDX-License-Identifier: MIT */
/* A client that a manager knows: by it a test sees whether others are served, and whether
 * anything is left of those who have gone. */
#ifndef TESTS_SERVER_KNOWN_H
#define TESTS_SERVER_KNOWN_H

#include "server_heard.h"

/* A client that is known to the manager. */
struct known {
    char ident[64];
    covey_conn *conn;
    long descriptors; /* that the manager has while nobody else is there */
};

static inline struct known known_to(const struct server *server)
{
    struct known k;
    server_create(server, "list", k.ident);
    k.conn = server_session(server, "known");
    k.descriptors = descriptors_of(server->pid);
    return k;
}

/* By then the manager has seen what came before this. */
static inline void is_served(const struct known *k)
{
    REQUEST(k->conn, k->ident, "__len__", "()");
    REPLIES(k->conn, "#RETURN", "0");
}

static inline void newcomer_is_served(const struct server *server,
                                      const struct known *k)
{
    covey_conn *conn = server_session(server, "newcomer");
    REQUEST(conn, k->ident, "__len__", "()");
    REPLIES(conn, "#RETURN", "0");
    covey_conn_free(conn);
}

/* Nothing is left of the others. */
static inline void ends_as_it_began(struct server *server, struct known *k)
{
    newcomer_is_served(server, k);
    while (descriptors_of(server->pid) != k->descriptors)
        cvy_os_yield();
    is_served(k);
    covey_conn_free(k->conn);
    control_ok(server, "decref", k->ident);
    server_stop(server);
}

#endif
