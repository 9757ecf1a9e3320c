/* SPDX-License-Identifier: MIT */
/* pass.c: descriptors over connections.
 *
 * Over an AF_UNIX socket a descriptor goes with a byte, as CPython's send_handle has it.
 * The family's memory cannot carry one: over a pipe goes what tells where to fetch it, see
 * offer.h. Offers are forgotten when the sender closes the pipe. */
#include <errno.h>

#include "base/error.h"
#include "channel/conn.h"
#include "channel/offer.h"
#include "channel/talk.h"

#define PATIENCE COVEY_SEC(1) /* with the thread that is to give it */

/* ---- over a pipe ---- */

static int send_over_pipe(struct cvy_end *end, int fd, int64_t deadline,
                          const char *call)
{
    struct cvy_ticket ticket;
    int r =
        cvy_offer_make(CVY_COUNTER_PIPES, end, fd, INT64_MAX, COVEY_NO_VIEW, &ticket);
    if (r < 0)
        return cvy_fail_os(r, "%s: descriptor %d", call, fd);
    atomic_store(&end->offers, 1);
    r = cvy_pipe_send_ticket(end, &ticket, deadline, call);
    if (r < 0)
        cvy_offer_take_back(&ticket);
    return r;
}

/* Fetch what was offered. */
static int fetch(const struct cvy_ticket *ticket, int64_t deadline, int *ret_fd)
{
    struct cvy_os_address address;
    cvy_os_address_abstract(ticket->name, &address);
    int peer = cvy_os_connect(&address, cvy_max_i64(deadline, 1));
    if (peer < 0)
        return peer;
    int r = cvy_talk_fetch(peer, COVEY_VIEW_OF(ticket->key), deadline, ret_fd);
    cvy_os_close(peer);
    return r;
}

void cvy_ticket_refuse(const struct cvy_ticket *ticket)
{
    int fd;
    if (fetch(ticket, cvy_os_now() + PATIENCE, &fd) >= 0)
        cvy_os_close(fd);
}

/* Take the next ticket if there are places for two descriptors, that of the way to the
 * sender and the one to fetch; else it stays for another call. */
static int recv_ticket(struct cvy_end *end, struct cvy_ticket *ret_ticket,
                       int64_t deadline, const char *call)
{
    int r = cvy_pipe_poll(end, deadline, call);
    if (r < 0)
        return r;
    int first = cvy_os_open_null(), second = first < 0 ? first : cvy_os_dup(first, 3);
    if (second < 0)
        r = cvy_fail_os(second, "%s: no place for a descriptor", call);
    cvy_os_close(second);
    cvy_os_close(first);
    return r < 0 ? r : cvy_pipe_recv_ticket(end, ret_ticket, deadline, call);
}

static int fail_fetch(int r, const char *call)
{
    switch (r) {
    case -ECONNREFUSED:
    case COVEY_EEOF:
        return cvy_fail(COVEY_EPEERDIED, "%s: who sent the descriptor is gone", call);
    case COVEY_EPROTOCOL:
        return cvy_fail(r, "%s: what came has no descriptor with it", call);
    default:
        return cvy_fail_os(r, "%s: fetching the descriptor", call);
    }
}

static int recv_over_pipe(struct cvy_end *end, int *ret_fd, int64_t deadline,
                          const char *call)
{
    struct cvy_ticket ticket;
    int fd = -1, r = recv_ticket(end, &ticket, deadline, call);
    if (r < 0)
        return r;
    /* It was there in time; fetching it does not count. */
    r = fetch(&ticket, cvy_max_i64(deadline, cvy_os_now() + PATIENCE), &fd);
    if (r < 0)
        return fail_fetch(r, call);
    *ret_fd = fd;
    return 0;
}

/* ---- the calls ---- */

int covey_conn_send_fd(covey_conn *conn, int fd, covey_nsec timeout)
{
    static const char call[] = "covey_conn_send_fd";
    enum cvy_os_stream_kind kind;
    bool readable, writable;
    int64_t deadline = cvy_os_deadline(timeout);
    int r = cvy_conn_enter(conn, CVY_TO_SEND, call);
    if (r < 0)
        return r;
    r = cvy_os_stream_kind(fd, &kind, &readable, &writable);
    if (r < 0)
        return cvy_fail_os(r, "%s: descriptor %d", call, fd);
    cvy_process_owns();
    struct cvy_stream *s = cvy_conn_stream(conn);
    return s ? cvy_stream_send_fd(s, fd, deadline, call)
             : send_over_pipe((struct cvy_end *)(void *)conn, fd, deadline, call);
}

int covey_conn_set_fd_answers(covey_conn *conn, int answers)
{
    static const char call[] = "covey_conn_set_fd_answers";
    int r = cvy_conn_enter(conn, CVY_ANY_WAY, call);
    struct cvy_stream *s = r < 0 ? NULL : cvy_conn_stream(conn);
    if (r >= 0 && (!s || s->fd_kind != CVY_OS_STREAM_UNIX))
        r = cvy_fail(-ENOTSUP, "%s: only AF_UNIX sockets carry descriptors", call);
    if (r >= 0)
        r = cvy_stream_check_plain(s, call);
    if (r < 0 || !s)
        return r;
    s->answers_fds = answers;
    return 0;
}

int covey_conn_recv_fd(covey_conn *conn, int *ret_fd, covey_nsec timeout)
{
    static const char call[] = "covey_conn_recv_fd";
    int64_t deadline = cvy_os_deadline(timeout);
    int r = cvy_conn_enter(conn, CVY_TO_RECEIVE, call);
    if (r >= 0 && !ret_fd)
        r = cvy_fail(-EINVAL, "%s: ret_fd is NULL", call);
    if (r < 0)
        return r;
    cvy_process_owns();
    struct cvy_stream *s = cvy_conn_stream(conn);
    return s ? cvy_stream_recv_fd(s, ret_fd, deadline, call)
             : recv_over_pipe((struct cvy_end *)(void *)conn, ret_fd, deadline, call);
}
