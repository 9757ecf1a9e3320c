/* SPDX-License-Identifier: MIT */
/* What the tests of connections inside of values share. */
#ifndef TESTS_CARRY_HELP_H
#define TESTS_CARRY_HELP_H

#include "conn_help.h"

/* The thread that gives descriptors has its own open until it ends. */
static inline void await_end_of_thread(void)
{
    int64_t limit = cvy_os_deadline(COVEY_SEC(1)); /* a sanitizer has a thread, too */
    while (cvy_os_thread_count() > 1 && cvy_os_now() < limit)
        cvy_os_yield();
}

/* A value for one side of a pair of sockets; the other side. */
static inline covey_value *value_new(struct bare *ret_other, covey_nsec keep)
{
    covey_value *value = NULL;
    *ret_other = bare_new();
    CHECK_OK(covey_conn_to_value(ret_other->conn, keep, &value));
    covey_conn_close(ret_other->conn);
    return value;
}

static inline void is_used_up(const covey_value *value)
{
    covey_conn *conn = NULL;
    CHECK_ERR(covey_conn_from_value(&conn, value, COVEY_SEC(20)), COVEY_EEOF);
    CHECK_STR_HAS(covey_error_detail(), "fetched before");
    CHECK(conn == NULL);
}

/* What it stands for leads to `fd`. */
static inline void works(const covey_value *value, int fd)
{
    covey_conn *conn = NULL;
    CHECK_OK(covey_conn_from_value(&conn, value, COVEY_SEC(20)));
    write_hex(fd, "00000002 6869");
    recv_text(conn, "hi");
    send_text(conn, "ho");
    reads_hex(fd, "00000002 686f");
    covey_conn_free(conn);
}

static inline covey_value *value_from(covey_conn *conn)
{
    covey_value *value = NULL;
    CHECK_OK(covey_conn_recv_value(conn, &value, NULL, COVEY_SEC(20)));
    return value;
}

/* A Connection that is to be fetched by `key` at `address`, both of which it takes. */
static inline covey_value *conn_by(covey_value *address, covey_value *key)
{
    covey_value *id = NULL, *args = NULL;
    covey_value *fd = covey_value_instance(
        covey_value_global("multiprocessing.resource_sharer", "DupFd"),
        covey_value_tuple());
    CHECK_OK(covey_value_pack(&id, "{s: (N, N)}", "_id", address, key));
    CHECK_OK(covey_value_put_state(fd, id));
    CHECK_OK(covey_value_pack(&args, "(N, p, p)", fd, 1, 1));
    return covey_value_call(
        covey_value_global("multiprocessing.connection", "rebuild_connection"), args);
}

static inline covey_value *conn_at(covey_value *address, int64_t key)
{
    return conn_by(address, covey_value_int(key));
}

static inline int fetched_from(covey_value *address, covey_nsec timeout)
{
    covey_conn *conn = NULL;
    covey_value *value = conn_at(address, 1);
    int r = covey_conn_from_value(&conn, value, timeout);
    CHECK(conn == NULL);
    covey_value_free(value);
    return r;
}

/* An abstract address that is this process's own; in Python it begins with a NUL. */
struct own_name {
    char text[48]; /* with an '@' for that */
    size_t size;
};

static inline struct own_name own_name(void)
{
    struct own_name own;
    own.size = (size_t)snprintf(own.text, sizeof own.text, "@covey-test-%d", getpid());
    return own;
}

static inline covey_value *python_of(struct own_name own)
{
    own.text[0] = 0;
    return covey_value_bytes(own.text, own.size);
}

/* The address and the key in a value. */
static inline const char *ticket_of(const covey_value *value, size_t *ret_size,
                                    int64_t *ret_key)
{
    struct covey_object object;
    const covey_value *fd;
    const char *address = NULL;
    long long key = 0;
    CHECK_OK(covey_value_get_object(value, &object));
    fd = covey_value_at(object.args, 0);
    CHECK_OK(covey_value_get_object(fd, &object));
    CHECK_OK(covey_value_unpack(object.state, "{s: (s#, L)}", "_id", &address, ret_size,
                                &key));
    *ret_key = key;
    return address;
}

#endif
