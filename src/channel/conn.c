/* SPDX-License-Identifier: MIT */
/* conn.c: the calls on connections. One load tells an end of a pipe from a stream. */
#include "channel/conn.h"

#include <errno.h>
#include <string.h>

#include "base/error.h"
#include "base/opts.h"

static uint32_t kind_of(const covey_conn *conn)
{
    return conn ? atomic_load_explicit(&conn->kind, memory_order_relaxed) : 0;
}

static struct cvy_end *end_of(covey_conn *conn)
{
    return (struct cvy_end *)(void *)conn;
}

static int check_open(covey_conn *conn, bool *ret_readable, bool *ret_writable,
                      const char *call)
{
    uint32_t kind = kind_of(conn);
    if (cvy_likely(kind == CVY_KIND_CONN)) {
        *ret_readable = end_of(conn)->readable;
        *ret_writable = end_of(conn)->writable;
        if (cvy_likely(!cvy_pipe_is_closed(end_of(conn))))
            return 0;
    } else if (kind == CVY_CONN_IS_STREAM) {
        struct cvy_stream *s = cvy_stream_of(conn);
        *ret_readable = s->readable;
        *ret_writable = s->writable;
        if (s->fd >= 0)
            return cvy_stream_share(s);
    } else {
        return cvy_object_check(conn, CVY_KIND_CONN, call);
    }
    return cvy_fail(COVEY_ECLOSED, "%s: this process has closed the connection", call);
}

/* Whether it is a copy that a fork child can only close. */
static bool is_anothers(covey_conn *conn)
{
    struct cvy_stream *s = cvy_conn_stream(conn);
    return s && s->tls && !cvy_tls_is_own(s->tls);
}

int cvy_conn_enter(covey_conn *conn, enum cvy_direction direction, const char *call)
{
    bool readable = false, writable = false;
    int r = cvy_enter();
    if (cvy_likely(r >= 0))
        r = check_open(conn, &readable, &writable, call);
    if (cvy_unlikely(r < 0))
        return r;
    if (cvy_unlikely(direction != CVY_ANY_WAY && is_anothers(conn)))
        return cvy_fail(COVEY_EFORKED,
                        "%s: a connection with TLS is of the process that made it",
                        call);
    if (cvy_unlikely(direction == CVY_TO_SEND && !writable))
        return cvy_fail(-EBADF, "%s: the connection only receives", call);
    if (cvy_unlikely(direction == CVY_TO_RECEIVE && !readable))
        return cvy_fail(-EBADF, "%s: the connection only sends", call);
    return 0;
}

/* Whether cvy_conn_enter would say yes, for an end of a pipe that nobody has closed. */
static inline bool is_entered(const covey_conn *conn)
{
    return cvy_likely(cvy_is_attached() && conn) &&
           cvy_likely(kind_of(conn) == CVY_KIND_CONN) &&
           cvy_likely(!atomic_load_explicit(
               &((const struct cvy_end *)(const void *)conn)->closers,
               memory_order_relaxed));
}

/* ---- messages ---- */

static int send_message(covey_conn *conn, struct covey_view message, int64_t deadline,
                        const char *call)
{
    if (cvy_unlikely(!message.data && message.size))
        return cvy_fail(-EINVAL, "%s: %zu bytes at NULL", call, message.size);
    if (cvy_unlikely(message.size > INT64_MAX))
        return cvy_fail(-EMSGSIZE, "%s: a message of %zu bytes", call, message.size);
    struct cvy_stream *s = cvy_conn_stream(conn);
    cvy_process_owns(); /* others may wait for this process to send more, or to end */
    return s ? cvy_stream_send(s, message, deadline, call)
             : cvy_pipe_send(end_of(conn), message, deadline, call);
}

static int recv_message(covey_conn *conn, struct cvy_landing *target, int64_t deadline,
                        const char *call)
{
    struct cvy_stream *s = cvy_conn_stream(conn);
    cvy_process_owns();
    return s ? cvy_stream_recv(s, target, deadline, call)
             : cvy_pipe_recv(end_of(conn), target, deadline, call);
}

int covey_conn_send(covey_conn *conn, struct covey_view message, covey_nsec timeout)
{
    static const char call[] = "covey_conn_send";
    if (is_entered(conn) && end_of(conn)->writable &&
        cvy_likely(message.data || !message.size) &&
        cvy_likely(cvy_pipe_send_at_once(end_of(conn), message.data, message.size))) {
        cvy_process_owns();
        return 0;
    }
    int r = cvy_conn_enter(conn, CVY_TO_SEND, call);
    return cvy_unlikely(r < 0)
               ? r
               : send_message(conn, message, cvy_os_deadline(timeout), call);
}

int covey_conn_flush(covey_conn *conn, covey_nsec timeout)
{
    static const char call[] = "covey_conn_flush";
    int r = cvy_conn_enter(conn, CVY_TO_SEND, call);
    struct cvy_stream *s = r < 0 ? NULL : cvy_conn_stream(conn);
    return s ? cvy_stream_flush(s, cvy_os_deadline(timeout), call) : r;
}

static inline bool recv_at_once(covey_conn *conn, void *to, size_t capacity,
                                size_t *ret_size)
{
    if (!is_entered(conn) || !end_of(conn)->readable ||
        !cvy_pipe_recv_at_once(end_of(conn), to, capacity, ret_size))
        return false;
    cvy_process_owns();
    cvy_watch_taken(conn);
    return true;
}

static int recv_bytes(covey_conn *conn, struct covey_bytes *message, size_t most,
                      covey_nsec timeout, const char *call)
{
    int r = cvy_conn_enter(conn, CVY_TO_RECEIVE, call);
    if (cvy_likely(r >= 0) && cvy_unlikely(!message))
        r = cvy_fail(-EINVAL, "%s: ret_message is NULL", call);
    if (cvy_unlikely(r < 0))
        return r;
    size_t size = 0, before = message->size;
    struct cvy_landing t = {message->data, message->capacity, message, most, &size};
    r = recv_message(conn, &t, cvy_os_deadline(timeout), call);
    /* A connection may have kept the memory, with what has come of the message. */
    message->size = cvy_likely(r >= 0) ? size : cvy_min_size(before, message->capacity);
    return r;
}

int covey_conn_recv(covey_conn *conn, struct covey_bytes *ret_message,
                    covey_nsec timeout)
{
    if (ret_message && recv_at_once(conn, ret_message->data, ret_message->capacity,
                                    &ret_message->size))
        return 0;
    return recv_bytes(conn, ret_message, SIZE_MAX, timeout, "covey_conn_recv");
}

int covey_conn_recv_max(covey_conn *conn, struct covey_bytes *ret_message,
                        size_t max_size, covey_nsec timeout)
{
    return recv_bytes(conn, ret_message, max_size, timeout, "covey_conn_recv_max");
}

int covey_conn_recv_into(covey_conn *conn, void *to, size_t capacity, size_t *ret_size,
                         covey_nsec timeout)
{
    static const char call[] = "covey_conn_recv_into";
    if (to && ret_size && recv_at_once(conn, to, capacity, ret_size))
        return 0;
    int r = cvy_conn_enter(conn, CVY_TO_RECEIVE, call);
    if (r >= 0 && ((!to && capacity) || !ret_size))
        r = cvy_fail(-EINVAL, "%s: a NULL where the message goes", call);
    if (r < 0)
        return r;
    size_t size = 0;
    struct cvy_landing t = {to, capacity, NULL, SIZE_MAX, &size};
    r = recv_message(conn, &t, cvy_os_deadline(timeout), call);
    if (r >= 0 || r == -EMSGSIZE)
        *ret_size = size;
    return r;
}

int covey_conn_send_value(covey_conn *conn, const covey_value *value,
                          covey_nsec timeout)
{
    static const char call[] = "covey_conn_send_value";
    struct covey_bytes pickle = {0};
    int r = cvy_conn_enter(conn, CVY_TO_SEND, call);
    if (r >= 0)
        r = covey_value_pickle(value, &pickle);
    if (r >= 0)
        r = send_message(conn, COVEY_VIEW(pickle.data, pickle.size),
                         cvy_os_deadline(timeout), call);
    covey_bytes_free(&pickle);
    return r;
}

/* The most bytes that a pickle may have. */
static size_t most_of(const struct covey_unpickle_opts *limits)
{
    const size_t end_of_field =
        offsetof(struct covey_unpickle_opts, max_memory) + sizeof(size_t);
    return limits && limits->size >= end_of_field && limits->max_memory
               ? limits->max_memory
               : (size_t)1 << 30;
}

int covey_conn_recv_value(covey_conn *conn, covey_value **out,
                          const struct covey_unpickle_opts *limits, covey_nsec timeout)
{
    static const char call[] = "covey_conn_recv_value";
    struct covey_bytes pickle = {0};
    int r = cvy_check_limits(out, limits, call);
    if (r >= 0)
        r = recv_bytes(conn, &pickle, most_of(limits), timeout, call);
    if (r >= 0)
        r = covey_value_unpickle(out, pickle.data, pickle.size, limits);
    covey_bytes_free(&pickle);
    return r;
}

int covey_conn_poll(covey_conn *conn, covey_nsec timeout)
{
    static const char call[] = "covey_conn_poll";
    int r = cvy_conn_enter(conn, CVY_TO_RECEIVE, call);
    if (r < 0)
        return r;
    struct cvy_stream *s = cvy_conn_stream(conn);
    int64_t deadline = cvy_os_deadline(timeout);
    return s ? cvy_stream_poll(s, deadline, call)
             : cvy_pipe_poll(end_of(conn), deadline, call);
}

/* ---- the connection itself ---- */

int covey_conn_open_fd(covey_conn **out, int fd, const struct covey_conn_opts *opts)
{
    static const char call[] = "covey_conn_open_fd";
    struct covey_conn_opts o;
    enum cvy_os_stream_kind kind;
    bool readable = false, writable = false;
    struct cvy_stream *s = NULL;
    int r = CVY_TAKE_OPTS(&o, opts, call);
    if (r >= 0)
        r = cvy_sync_begin(out, call);
    if (r >= 0)
        r = CVY_CHECK_SWITCHES(call, {".readable", o.readable},
                               {".writable", o.writable});
    if (r < 0)
        return r;
    r = cvy_os_stream_kind(fd, &kind, &readable, &writable);
    if (r < 0)
        return cvy_fail_os(r, "%s: descriptor %d", call, fd);
    if ((o.readable == COVEY_ON && !readable) || (o.writable == COVEY_ON && !writable))
        return cvy_fail(-EBADF, "%s: descriptor %d does not go in that direction", call,
                        fd);
    readable = readable && o.readable != COVEY_OFF;
    writable = writable && o.writable != COVEY_OFF;
    if (!readable && !writable)
        return cvy_fail(-EINVAL, "%s: it is to go in neither direction", call);
    r = cvy_stream_open(&s, fd, "", call);
    if (r < 0)
        return r;
    s->readable = readable;
    s->writable = writable;
    *out = (covey_conn *)(void *)s;
    return 0;
}

int covey_conn_fd(covey_conn *conn, int *ret_fd)
{
    static const char call[] = "covey_conn_fd";
    int r = cvy_conn_enter(conn, CVY_ANY_WAY, call);
    if (r >= 0 && !ret_fd)
        r = cvy_fail(-EINVAL, "%s: ret_fd is NULL", call);
    struct cvy_stream *s = r < 0 ? NULL : cvy_conn_stream(conn);
    if (r >= 0 && !s)
        r = cvy_conn_enter(conn, CVY_TO_RECEIVE, call);
    if (r < 0)
        return r;
    if (s && !cvy_os_is_kept(&s->kept))
        return cvy_fail(-EBADF, "%s: the program has closed descriptor %d", call,
                        s->fd);
    if (s) {
        r = cvy_stream_check_plain(s, call);
        if (r >= 0)
            *ret_fd = s->fd;
        return r;
    }
    r = cvy_watch_fd(conn, cvy_pipe_word(end_of(conn)), cvy_pipe_is_ready, ret_fd);
    return r < 0 ? cvy_fail_os(r, "%s: a descriptor for a pipe", call) : 0;
}

int covey_conn_close(covey_conn *conn)
{
    if (conn && cvy_conn_stream(conn)) { /* also of who has no place in the family */
        cvy_stream_close(cvy_conn_stream(conn));
        return 0;
    }
    int r = cvy_conn_enter(conn, CVY_ANY_WAY, "covey_conn_close");
    if (r == COVEY_ECLOSED || r == COVEY_EFREED)
        return 0;
    return r < 0 ? r : cvy_pipe_drop(end_of(conn), true);
}

int covey_conn_closed(covey_conn *conn)
{
    int r = cvy_conn_enter(conn, CVY_ANY_WAY, "covey_conn_closed");
    return r == COVEY_ECLOSED || r == COVEY_EFREED ? 1 : r;
}

int covey_conn_readable(covey_conn *conn)
{
    int r = cvy_conn_enter(conn, CVY_ANY_WAY, "covey_conn_readable");
    if (r < 0 && r != COVEY_ECLOSED)
        return r;
    struct cvy_stream *s = cvy_conn_stream(conn);
    return s ? s->readable : end_of(conn)->readable;
}

int covey_conn_writable(covey_conn *conn)
{
    int r = cvy_conn_enter(conn, CVY_ANY_WAY, "covey_conn_writable");
    if (r < 0 && r != COVEY_ECLOSED)
        return r;
    struct cvy_stream *s = cvy_conn_stream(conn);
    return s ? s->writable : end_of(conn)->writable;
}

const char *covey_conn_peer(covey_conn *conn)
{
    int r = cvy_conn_enter(conn, CVY_ANY_WAY, "covey_conn_peer");
    if (r < 0 && r != COVEY_ECLOSED)
        return NULL;
    struct cvy_stream *s = cvy_conn_stream(conn);
    return s ? s->peer : "";
}

void covey_conn_free(covey_conn *conn)
{
    if (!conn)
        return;
    if (cvy_conn_stream(conn)) {
        cvy_stream_free(cvy_conn_stream(conn));
        return;
    }
    int r = cvy_conn_enter(conn, CVY_ANY_WAY, "covey_conn_free");
    if (r >= 0)
        r = cvy_pipe_drop(end_of(conn), false);
    if (r < 0 && r != COVEY_ECLOSED && r != COVEY_EFREED)
        (void)covey_log(COVEY_LOG_WARNING, "%s", covey_error_detail());
}
