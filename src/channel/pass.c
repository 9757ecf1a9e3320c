/* SPDX-License-Identifier: MIT */
/* pass.c: descriptors over connections.
 *
 * Over an AF_UNIX socket a descriptor goes with a byte, as CPython's send_handle has it.
 * The family's memory cannot carry one: over a pipe goes what tells where to fetch it, see
 * offer.h. Offers are forgotten when the sender closes the pipe.
 *
 * The name of where to fetch it is no secret, and anybody's once the sender is gone. So who
 * is there shows first that it has the family's memory, and is waited for only while the
 * sender could still come. */
#include <errno.h>

#include "base/error.h"
#include "channel/conn.h"
#include "channel/offer.h"
#include "channel/talk.h"

#define PATIENCE  COVEY_SEC(1) /* with the thread that is to give it */
#define NEXT_LOOK COVEY_MSEC(100)

/* ---- sending over a pipe ---- */

static int send_over_pipe(struct cvy_end *end, int fd, int64_t deadline,
                          const char *call)
{
    struct cvy_ticket ticket;
    int r =
        cvy_offer_make(CVY_COUNTER_PIPES, end, fd, INT64_MAX, COVEY_NO_VIEW, &ticket);
    if (r < 0)
        return cvy_fail_os(r, "%s: descriptor %d", call, fd);
    atomic_store(&end->offers, 1);
    ticket.is_holder = cvy_object_is_held_by(end, ticket.member);
    r = cvy_pipe_send_ticket(end, &ticket, deadline, call);
    if (r < 0)
        cvy_offer_take_back(&ticket);
    return r;
}

/* ---- fetching ---- */

/* What came, and whom from. */
struct errand {
    const struct cvy_end *end; /* that it came by */
    const struct cvy_ticket *ticket;
    int64_t deadline;
};

/* Whether nobody can give it any more: who has offered it is dead, or has closed its end. */
static bool giver_is_gone(const struct errand *e)
{
    struct cvy_end *peer = cvy_pipe_peer_of(e->end);
    uint32_t giver = e->ticket->member;
    return !peer || cvy_member_is_dead(giver, true) ||
           (e->ticket->is_holder && !cvy_object_is_held_by(peer, giver));
}

/* For how long to wait before looking at the giver again: who has its name may be another
 * one by now, who says nothing. */
static int64_t next_look(const struct errand *e)
{
    return cvy_min_i64(e->deadline, cvy_os_now() + NEXT_LOOK);
}

/* It did not come until then. Returns: -EAGAIN: look again; COVEY_EEOF; -ETIMEDOUT. */
static int go_on_waiting(const struct errand *e)
{
    if (giver_is_gone(e))
        return COVEY_EEOF;
    return cvy_os_now() >= e->deadline ? -ETIMEDOUT : -EAGAIN;
}

/* Go to where the giver is, or whoever has its name. Returns: a descriptor. */
static int go_there(const struct errand *e)
{
    struct cvy_os_address address;
    int r = -EAGAIN;
    cvy_os_address_abstract(e->ticket->name, &address);
    while (r == -EAGAIN) {
        r = cvy_os_connect(&address, cvy_max_i64(next_look(e), 1));
        if (r == -ETIMEDOUT)
            r = go_on_waiting(e);
    }
    return r;
}

/* Be shown what only the giver can. Returns: 0; COVEY_EAUTH: it is another one. */
static int await_proof(const struct errand *e, int fd)
{
    unsigned char proof[sizeof e->ticket->key[1]];
    size_t got = 0;
    while (got < sizeof proof) {
        ssize_t n =
            cvy_os_stream_read(fd, CVY_OS_STREAM_UNIX, proof + got, sizeof proof - got);
        if (n == 0)
            return COVEY_EEOF;
        if (n < 0 && n != -EAGAIN)
            return (int)n;
        got += n > 0 ? (size_t)n : 0;
        int r = n > 0 ? 1 : cvy_os_poll_in(fd, next_look(e));
        if (!r)
            r = go_on_waiting(e);
        if (r < 0 && r != -EAGAIN)
            return r;
    }
    return cvy_auth_same(proof, &e->ticket->key[1], sizeof proof) ? 0 : COVEY_EAUTH;
}

/* Fetch what was offered. */
static int fetch(const struct errand *e, int *ret_fd)
{
    int fd = go_there(e);
    if (fd < 0)
        return fd;
    int place = cvy_talk_ask(fd, COVEY_VIEW_OF(e->ticket->key[0]), e->deadline);
    int r = place < 0 ? place : await_proof(e, fd);
    if (r >= 0)
        r = cvy_talk_take(fd, place, e->deadline, ret_fd);
    else
        cvy_os_close(place);
    cvy_os_close(fd);
    return r;
}

void cvy_ticket_refuse(const struct cvy_end *end, const struct cvy_ticket *ticket)
{
    const struct errand e = {end, ticket, cvy_os_now() + PATIENCE};
    int fd;
    if (fetch(&e, &fd) >= 0)
        cvy_os_close(fd);
}

/* ---- receiving over a pipe ---- */

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
    case COVEY_EAUTH: /* another one has its name */
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
    const struct errand e = {end, &ticket,
                             cvy_max_i64(deadline, cvy_os_now() + PATIENCE)};
    r = fetch(&e, &fd);
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
