/* SPDX-License-Identifier: MIT */
/* pass.c: descriptors over connections.
 *
 * Over an AF_UNIX socket a descriptor goes with a byte, as CPython's send_handle has it.
 * The family's memory cannot carry one: over a pipe goes an offer, and a thread of the
 * sender gives the descriptor to whoever comes with the offer's key. The thread listens at
 * an abstract name, to processes of the same user, and ends with the last offer. Offers
 * are forgotten when the sender closes the pipe, and in a fork child. */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/memory.h"
#include "channel/conn.h"
#include "region/lock.h"

#define PATIENCE COVEY_SEC(1) /* for one that comes to fetch */

/* What goes over the pipe. */
struct message {
    char mark[8];
    uint64_t key[2];
    char name[40];
};
static const char mark[8] = "covey fd";

struct offer {
    struct offer *next;
    const struct cvy_end *end;
    uint64_t key[2];
    int fd;
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct offer *offers;
static int counter = -1,
           stop = -1; /* a socket that listens, and a flag; -1: no thread */
static char name[40];
static bool prepared;

/* ---- offers; mutex held ---- */

static void remove_offer(struct offer **place)
{
    struct offer *o = *place;
    *place = o->next;
    cvy_os_close(o->fd);
    cvy_free(o);
}

/* Forget those of `end`, or with NULL all. */
static void forget(const struct cvy_end *end)
{
    for (struct offer **place = &offers; *place;)
        if (!end || (*place)->end == end)
            remove_offer(place);
        else
            place = &(*place)->next;
    if (!offers && stop >= 0)
        cvy_os_flag_raise(stop);
}

void cvy_pass_end(const struct cvy_end *end)
{
    (void)pthread_mutex_lock(&mutex);
    forget(end);
    (void)pthread_mutex_unlock(&mutex);
}

static void before_fork(void)
{
    (void)pthread_mutex_lock(&mutex);
}
static void after_fork(void)
{
    (void)pthread_mutex_unlock(&mutex);
}
static void in_fork_child(void)
{
    int old = stop;
    stop = -1;
    forget(NULL);
    (void)cvy_os_close(old);
    counter = cvy_os_close(counter);
    (void)pthread_mutex_unlock(&mutex);
}

static void end_all(void)
{
    cvy_pass_end(NULL);
}

/* ---- the thread ---- */

/* Give what `peer` has the key of. */
static void serve(int peer)
{
    uint64_t key[2];
    size_t got = 0;
    int64_t deadline = cvy_os_now() + PATIENCE;
    while (got < sizeof key && cvy_os_poll_in(peer, deadline) > 0) {
        ssize_t n = cvy_os_read(peer, (char *)key + got, sizeof key - got);
        if (n <= 0)
            return;
        got += (size_t)n;
    }
    if (got < sizeof key)
        return;
    (void)pthread_mutex_lock(&mutex);
    struct offer **place = &offers;
    while (*place && memcmp((*place)->key, key, sizeof key) != 0)
        place = &(*place)->next;
    if (*place && cvy_os_stream_send_fd(peer, 1, (*place)->fd) >= 0)
        remove_offer(place);
    (void)pthread_mutex_unlock(&mutex);
}

/* Whether there is nothing left to do; then this thread's descriptors are closed. */
static bool is_over(int listening, int flag)
{
    (void)pthread_mutex_lock(&mutex);
    bool over = !offers;
    if (over) {
        counter = stop = -1;
        cvy_os_close(listening);
        cvy_os_close(flag);
    } else {
        cvy_os_flag_lower(flag);
    }
    (void)pthread_mutex_unlock(&mutex);
    return over;
}

static void *serve_all(void *unused)
{
    int listening = counter, flag = stop;
    (void)unused;
    cvy_os_set_comm("covey-fds");
    while (!is_over(listening, flag)) {
        struct cvy_os_poll polls[2] = {{.fd = listening}, {.fd = flag}};
        struct cvy_os_address address;
        (void)cvy_os_poll_many(polls, 2, INT64_MAX);
        int peer = cvy_os_accept(listening, &address);
        if (peer >= 0 && cvy_os_peer_is_own(peer))
            serve(peer);
        cvy_os_close(peer);
    }
    return NULL;
}

/* mutex held: have the thread, and a name. */
static int start_serving(void)
{
    struct cvy_os_address address;
    uint64_t random[2];
    int r = cvy_os_random(random, sizeof random);
    if (r < 0)
        return r;
    (void)snprintf(name, sizeof name, "covey-%016llx%016llx",
                   (unsigned long long)random[0], (unsigned long long)random[1]);
    cvy_os_address_abstract(name, &address);
    counter = r = cvy_os_listen(&address, 64);
    if (r >= 0)
        stop = r = cvy_os_flag_create();
    if (r >= 0)
        r = cvy_os_run_aside(serve_all, NULL);
    if (r < 0) {
        counter = cvy_os_close(counter);
        stop = cvy_os_close(stop);
    }
    return r;
}

static void prepare(void)
{
    if (prepared)
        return;
    prepared = true;
    cvy_leave_add(end_all);
    (void)pthread_atfork(before_fork, after_fork, in_fork_child);
}

/* Make an offer of a copy of `fd`. */
static int make_offer(const struct cvy_end *end, int fd, struct message *ret_message)
{
    struct offer *o = cvy_calloc(1, sizeof *o);
    int r = o ? cvy_os_dup(fd, 3) : -ENOMEM;
    if (r >= 0) {
        o->fd = r;
        r = cvy_os_random(o->key, sizeof o->key);
    }
    (void)pthread_mutex_lock(&mutex);
    prepare();
    if (r >= 0 && counter < 0)
        r = start_serving();
    if (r >= 0) {
        o->end = end;
        o->next = offers;
        offers = o;
        memcpy(ret_message->mark, mark, sizeof mark);
        memcpy(ret_message->key, o->key, sizeof o->key);
        memcpy(ret_message->name, name, sizeof name);
    }
    (void)pthread_mutex_unlock(&mutex);
    if (r < 0 && o) {
        if (o->fd)
            cvy_os_close(o->fd);
        cvy_free(o);
    }
    return r;
}

static void take_offer_back(const uint64_t key[2])
{
    (void)pthread_mutex_lock(&mutex);
    struct offer **place = &offers;
    while (*place && memcmp((*place)->key, key, sizeof(*place)->key) != 0)
        place = &(*place)->next;
    if (*place)
        remove_offer(place);
    if (!offers && stop >= 0)
        cvy_os_flag_raise(stop);
    (void)pthread_mutex_unlock(&mutex);
}

/* ---- over a pipe ---- */

static int send_over_pipe(struct cvy_end *end, int fd, int64_t deadline,
                          const char *call)
{
    struct message m = {.name = ""};
    int r = make_offer(end, fd, &m);
    if (r < 0)
        return cvy_fail_os(r, "%s: descriptor %d", call, fd);
    atomic_store(&end->offers, 1);
    r = cvy_pipe_send(end, COVEY_VIEW_OF(m), deadline, call);
    if (r < 0)
        take_offer_back(m.key);
    return r;
}

/* Fetch what was offered. */
static int fetch(const struct message *m, int64_t deadline, int *ret_fd)
{
    struct cvy_os_address address;
    unsigned char byte;
    cvy_os_address_abstract(m->name, &address);
    int peer = cvy_os_connect(&address, cvy_max_i64(deadline, 1));
    if (peer < 0)
        return peer;
    int r = cvy_os_write_all(peer, m->key, sizeof m->key);
    while (r >= 0) {
        r = cvy_os_poll_in(peer, deadline);
        if (r > 0)
            r = cvy_os_stream_recv_fd(peer, &byte, ret_fd);
        else if (!r)
            r = -ETIMEDOUT;
        if (r != -EAGAIN)
            break;
        r = 0;
    }
    cvy_os_close(peer);
    if (r == -EPIPE || r == -ECONNRESET) /* it went while this one was in its queue */
        return -ECONNREFUSED;
    return r > 0 && *ret_fd >= 0 ? 0 : r < 0 ? r : -ECONNREFUSED;
}

static int recv_over_pipe(struct cvy_end *end, int *ret_fd, int64_t deadline,
                          const char *call)
{
    struct message m;
    struct covey_bytes got = {0};
    size_t size = 0;
    struct cvy_landing t = {NULL, 0, &got, SIZE_MAX, &size};
    int fd = -1, r = cvy_pipe_recv(end, &t, deadline, call);
    bool is_offer = r >= 0 && size == sizeof m;
    if (is_offer)
        memcpy(&m, got.data, sizeof m);
    covey_bytes_free(&got);
    if (r < 0)
        return r;
    if (!is_offer || memcmp(m.mark, mark, sizeof mark) != 0)
        return cvy_fail(COVEY_EPROTOCOL, "%s: a message without a descriptor", call);
    m.name[sizeof m.name - 1] = 0;
    /* It was there in time; fetching it does not count. */
    r = fetch(&m, cvy_max_i64(deadline, cvy_os_now() + PATIENCE), &fd);
    if (r == -ECONNREFUSED)
        return cvy_fail(COVEY_EPEERDIED, "%s: who sent the descriptor is gone", call);
    if (r < 0)
        return cvy_fail_os(r, "%s: fetching the descriptor", call);
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
    struct cvy_stream *s = cvy_conn_stream(conn);
    return s ? cvy_stream_send_fd(s, fd, deadline, call)
             : send_over_pipe((struct cvy_end *)(void *)conn, fd, deadline, call);
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
    struct cvy_stream *s = cvy_conn_stream(conn);
    return s ? cvy_stream_recv_fd(s, ret_fd, deadline, call)
             : recv_over_pipe((struct cvy_end *)(void *)conn, ret_fd, deadline, call);
}
