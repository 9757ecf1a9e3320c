/* SPDX-License-Identifier: MIT */
/* stream.c: CPython's messages over a descriptor.
 *
 * One write for header (frame.h) and body up to 16 KiB, else one for each part.
 *
 * Nothing is read ahead: a descriptor that polls readable has a message, or a part of one,
 * and what follows a message is still there for another process or program. Whose turn it
 * is to use a direction: see turn.h. */
#include <errno.h>
#include <limits.h>
#include <string.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/memory.h"
#include "channel/talk.h"
#include "channel/turn.h"
#include "region/spin.h"

#define LARGEST_JOINT 16384u
#define FIRST_PIECE   (UINT64_C(1) << 20)
#define MOST_AT_ONCE  ((size_t)1 << 20)    /* between looks at the clock */
#define MOST_NOT_WAIT (UINT64_C(4) << 20)  /* for who does not want to wait */
#define LEAST_PIECE   (MOST_NOT_WAIT / 64) /* a smaller one costs as much */

/* Whether the time is up in a message that could go on at once, after a piece of `size`
 * bytes: one that is sent as fast as it is received must not keep either side for longer.
 * `spent` is what pieces have cost who does not want to wait. */
static bool is_late(int64_t deadline, uint64_t size, uint64_t *spent)
{
    if (deadline == INT64_MAX)
        return false;
    *spent += cvy_max_u64(size, LEAST_PIECE);
    return deadline > 0 ? cvy_os_now() >= deadline : *spent >= MOST_NOT_WAIT;
}

/* How much of `size` bytes to ask the system for: as long as the other side keeps up it
 * would go on with all of them, whatever the time. */
static uint64_t at_once(uint64_t size, int64_t deadline)
{
    return deadline == INT64_MAX ? size : cvy_min_u64(size, MOST_AT_ONCE);
}

/* Returns: the end that it is, which cvy_stream_fail says more about. */
static int note_given_up(struct cvy_stream *s, int end)
{
    atomic_store(&s->state->is_given_up, 1);
    return end;
}

/* ---- sending ---- */

struct outgoing {
    unsigned char header[CVY_FRAME_HEADER];
    size_t header_size;
    struct covey_view body;
    uint64_t done, total;
    bool has_begun; /* some of the message went out before */
};

static struct outgoing outgoing_of(struct covey_view body)
{
    struct outgoing o = {.body = body};
    o.header_size = cvy_frame_put(o.header, body.size);
    o.total = o.header_size + body.size;
    return o;
}

/* What the next write has in it. */
static void next_parts(const struct outgoing *o, int64_t deadline,
                       struct covey_view parts[2])
{
    parts[1] = COVEY_NO_VIEW;
    if (o->done >= o->header_size) {
        uint64_t at = o->done - o->header_size;
        parts[0] = COVEY_VIEW((const char *)o->body.data + at,
                              at_once(o->body.size - at, deadline));
        return;
    }
    bool is_long = o->header_size == CVY_FRAME_HEADER;
    size_t until = is_long && o->done < 4 ? 4 : o->header_size;
    parts[0] = COVEY_VIEW(o->header + o->done, until - o->done);
    if (o->body.size <= LARGEST_JOINT)
        parts[1] = o->body;
}

/* Write all of it. Returns: 0; -ETIMEDOUT: `o->done` bytes are written; -EAGAIN: nothing
 * of the message is, and nothing can be at once. */
static int write_out(struct cvy_stream *s, struct outgoing *o, int64_t deadline)
{
    uint64_t spent = 0;
    while (o->done < o->total) {
        struct covey_view parts[2];
        next_parts(o, deadline, parts);
        ssize_t n =
            cvy_socket_write(s->tls, s->fd, s->fd_kind, parts, deadline == INT64_MAX);
        if (n == -ECONNABORTED)
            return note_given_up(s, -EPIPE);
        if (n >= 0) {
            o->done += (uint64_t)n;
            if (o->done < o->total && is_late(deadline, (uint64_t)n, &spent))
                return -ETIMEDOUT;
            continue;
        }
        if (n != -EAGAIN || !(o->done || o->has_begun))
            return (int)n;
        int r = cvy_os_poll_out(s->fd, deadline);
        if (r <= 0)
            return r < 0 ? r : -ETIMEDOUT;
    }
    return 0;
}

/* Keep what has not been written. */
static int keep_rest(struct cvy_stream *s, const struct outgoing *o)
{
    size_t headers = o->done < o->header_size ? o->header_size - o->done : 0;
    uint64_t at = o->done > o->header_size ? o->done - o->header_size : 0;
    int r = covey_bytes_resize(&s->out, headers + (o->body.size - at));
    if (r < 0)
        return r;
    memcpy(s->out.data, o->header + (o->header_size - headers), headers);
    memcpy((char *)s->out.data + headers, (const char *)o->body.data + at,
           o->body.size - at);
    s->out_done = 0;
    return 0;
}

bool cvy_stream_count_down(_Atomic uint32_t *count)
{
    uint32_t n = atomic_load(count);
    while (n && !atomic_compare_exchange_weak(count, &n, n - 1))
        continue;
    return n > 0;
}

/* Between messages: send what answers descriptors that have come. */
static int write_answers(struct cvy_stream *s)
{
    const struct covey_view answer[2] = {
        COVEY_VIEW(&(const unsigned char){CVY_TALK_THANKS}, 1), COVEY_NO_VIEW};
    while (cvy_unlikely(atomic_load(&s->state->answers_owed))) {
        ssize_t n = cvy_os_stream_write(s->fd, s->fd_kind, answer, false);
        if (n < 0)
            return n == -ECONNABORTED ? note_given_up(s, -EPIPE) : (int)n;
        (void)cvy_stream_count_down(&s->state->answers_owed);
    }
    return 0;
}

/* What a write that failed in the middle of a message leaves. */
static enum cvy_after after_failure(int r)
{
    if (r == -ETIMEDOUT)
        return CVY_IN_A_MESSAGE;
    return r == -EPIPE ? CVY_BETWEEN_MESSAGES
                       : CVY_IS_TORN; /* nobody will see the next one */
}

int cvy_stream_write_rest(struct cvy_stream *s, int64_t deadline,
                          enum cvy_after *ret_after)
{
    *ret_after = CVY_BETWEEN_MESSAGES;
    if (cvy_likely(s->out_done == s->out.size))
        return write_answers(s);
    struct outgoing o = {
        .body = COVEY_VIEW(s->out.data, s->out.size),
        .done = s->out_done,
        .total = s->out.size,
        .has_begun = true,
    };
    int r = write_out(s, &o, deadline);
    s->out_done = o.done;
    if (r < 0)
        *ret_after = after_failure(r);
    if (*ret_after == CVY_IN_A_MESSAGE)
        return r;
    covey_bytes_free(&s->out);
    s->out_done = 0;
    return r < 0 ? r : write_answers(s);
}

/* It is this process's turn. Returns: as covey_conn_send; -EAGAIN: wait, and come again. */
static int send_in_turn(struct cvy_stream *s, struct covey_view message,
                        int64_t deadline, enum cvy_after *ret_after)
{
    int r = cvy_stream_write_rest(s, deadline, ret_after);
    if (r < 0)
        return r;
    struct outgoing o = outgoing_of(message);
    r = write_out(s, &o, deadline);
    if (cvy_likely(r >= 0) || (!o.done && !(s->tls && cvy_tls_is_torn(s->tls))))
        return r;
    if (r == -ETIMEDOUT) {
        r = keep_rest(s, &o);
        *ret_after = r < 0 ? CVY_IS_TORN : CVY_IN_A_MESSAGE;
        return r < 0 ? r : COVEY_PENDING;
    }
    *ret_after = after_failure(r);
    return r;
}

int cvy_stream_send(struct cvy_stream *s, struct covey_view message, int64_t deadline,
                    const char *call)
{
    for (;;) {
        enum cvy_after after;
        int r = cvy_turn_begin_to_send(s, deadline);
        if (cvy_unlikely(r < 0))
            return cvy_stream_fail(s, r, call);
        r = send_in_turn(s, message, deadline, &after);
        cvy_turn_end_sending(s, after);
        if (cvy_likely(r >= 0))
            return r;
        if (r != -EAGAIN)
            return cvy_stream_fail(s, r, call);
        r = cvy_os_poll_out(s->fd, deadline);
        if (r <= 0)
            return cvy_stream_fail(s, r < 0 ? r : -ETIMEDOUT, call);
    }
}

int cvy_stream_flush(struct cvy_stream *s, int64_t deadline, const char *call)
{
    bool has_rest = s->out_done != s->out.size && s->out_of == cvy_member_owner();
    int r = has_rest || atomic_load(&s->state->answers_owed) ? -EAGAIN : 0;
    while (r == -EAGAIN) {
        enum cvy_after after;
        r = cvy_turn_begin_to_send(s, deadline);
        if (r < 0)
            break;
        r = cvy_stream_write_rest(s, deadline, &after);
        cvy_turn_end_sending(s, after);
        int ready = r == -EAGAIN ? cvy_os_poll_out(s->fd, deadline) : 1;
        if (ready <= 0)
            r = ready < 0 ? ready : -ETIMEDOUT;
    }
    return r < 0 ? cvy_stream_fail(s, r, call) : 0;
}

/* ---- receiving ---- */

/* `ret_had_fd`: NULL: in a message. */
static ssize_t read_now(const struct cvy_stream *s, void *to, uint64_t size,
                        bool *ret_had_fd)
{
    if (ret_had_fd && !s->tls && s->fd_kind == CVY_OS_STREAM_UNIX)
        return cvy_os_stream_read_noting(s->fd, to, size, ret_had_fd);
    return cvy_socket_read(s->tls, s->fd, s->fd_kind, to, size);
}

/* Read more. `ret_had_fd`: no message has begun; becomes true if a descriptor came with the
 * last byte. NULL: one has. Returns: bytes; -EAGAIN: nothing, if none has; -ETIMEDOUT;
 * COVEY_EEOF; COVEY_ETRUNCATED. */
static ssize_t read_some(struct cvy_stream *s, void *to, uint64_t size,
                         bool *ret_had_fd, int64_t deadline)
{
    bool any = !ret_had_fd;
    for (;;) {
        ssize_t n = read_now(s, to, size, ret_had_fd);
        if (cvy_likely(n > 0))
            return n;
        if (n == -ECONNABORTED)
            n = note_given_up(s, 0);
        if (!n)
            return any ? COVEY_ETRUNCATED : COVEY_EEOF;
        if (n != -EAGAIN || !any)
            return n;
        int r = cvy_os_poll_in(s->fd, deadline);
        if (r <= 0)
            return r < 0 ? r : -ETIMEDOUT;
    }
}

bool cvy_stream_is_answer(const struct cvy_stream_state *state, unsigned char byte)
{
    return cvy_unlikely(atomic_load(&state->answers_due)) && byte == CVY_TALK_THANKS;
}

/* Between messages: take out an answer that has come as the first of `size` bytes. Returns:
 * whether it was one. */
static bool take_answer(struct cvy_stream_state *state, unsigned char *bytes,
                        uint32_t size)
{
    if (!size || cvy_likely(!cvy_stream_is_answer(state, bytes[0])) ||
        !cvy_stream_count_down(&state->answers_due))
        return false;
    memmove(bytes, bytes + 1, size - 1);
    return true;
}

/* The byte that came with it begins no message, and is answered: its sender may wait. */
static int refuse_fd(struct cvy_stream *s, const char *call)
{
    s->state->header_size = 0;
    if (s->answers_fds)
        atomic_fetch_add(&s->state->answers_owed, 1);
    return cvy_fail(COVEY_EPROTOCOL,
                    "%s: a descriptor came in place of a message, and was closed",
                    call);
}

static int read_header(struct cvy_stream *s, int64_t deadline, const char *call)
{
    struct cvy_stream_state *state = s->state;
    uint32_t length;
    while ((length = cvy_frame_length(state->header, state->header_size)) >
           state->header_size) {
        bool had_fd = false;
        ssize_t n = read_some(s, state->header + state->header_size,
                              length - state->header_size,
                              state->header_size ? NULL : &had_fd, deadline);
        if (n < 0)
            return (int)n;
        state->header_size += (uint32_t)n;
        while (take_answer(state, state->header, state->header_size))
            state->header_size--;
        if (cvy_unlikely(had_fd) && state->header_size == 1)
            return refuse_fd(s, call);
    }
    state->body_size = cvy_frame_size(state->header);
    if (state->body_size > INT64_MAX)
        return cvy_fail(COVEY_EPROTOCOL, "%s: a message of %lld bytes", call,
                        (long long)state->body_size);
    state->has_header = 1;
    return 0;
}

/* Give the target more room, for a message of `size` of which `got` have come. */
static int grow(struct cvy_landing *t, uint64_t size, uint64_t got)
{
    uint64_t want = cvy_min_u64(size, cvy_max_u64(FIRST_PIECE, got * 2));
    int r;
    if (want <= t->capacity || !t->bytes)
        return 0;
    t->bytes->size = cvy_min_size(got, t->bytes->capacity);
    r = cvy_bytes_reserve(t->bytes, want);
    t->to = t->bytes->data;
    t->capacity = t->bytes->capacity;
    return r;
}

/* Keep what has come of a body in `t`: no copy of it, but of what is the caller's memory
 * for good. What else comes goes to where it is kept. */
static enum cvy_after keep_body(struct cvy_stream *s, struct cvy_landing *t,
                                uint64_t got)
{
    if (!got)
        return CVY_BETWEEN_MESSAGES;
    if (!t->bytes) {
        if (covey_bytes_resize(&s->in, got) < 0)
            return CVY_IS_TORN;
        memcpy(s->in.data, t->to, got);
    } else if (t->bytes != &s->in) {
        s->in = *t->bytes;
        *t->bytes = (struct covey_bytes){0};
    }
    s->in.size = got;
    return CVY_IN_A_MESSAGE;
}

/* All of a body has come to where it is kept: it goes to the target. */
static void hand_over(struct cvy_stream *s, struct cvy_landing *t, uint64_t size)
{
    struct covey_bytes old = s->in;
    if (t->bytes) {
        old = *t->bytes;
        *t->bytes = s->in;
    } else {
        memcpy(t->to, s->in.data, size);
    }
    s->in = (struct covey_bytes){0};
    covey_bytes_free(&old);
}

static int read_body(struct cvy_stream *s, struct cvy_landing *t, int64_t deadline,
                     enum cvy_after *ret_after)
{
    uint64_t size = s->state->body_size, got = s->in.size;
    struct cvy_landing kept = {
        .to = s->in.data, .capacity = s->in.capacity, .bytes = &s->in};
    struct cvy_landing *to = got ? &kept : t;
    uint64_t spent = 0;
    int r = grow(to, size, got);
    while (r >= 0 && got < size) {
        uint64_t room = cvy_min_u64(size, to->capacity) - got;
        ssize_t n =
            read_some(s, (char *)to->to + got, at_once(room, deadline), NULL, deadline);
        got += n > 0 ? (uint64_t)n : 0;
        if (n < 0)
            r = (int)n;
        else if (got < size && is_late(deadline, (uint64_t)n, &spent))
            r = -ETIMEDOUT;
        else if (got == to->capacity)
            r = grow(to, size, got);
    }
    if (r >= 0) {
        if (to == &kept)
            hand_over(s, t, size);
        return 0;
    }
    if (r == COVEY_ETRUNCATED)
        covey_bytes_free(&s->in);
    *ret_after = r == COVEY_ETRUNCATED ? CVY_BETWEEN_MESSAGES : keep_body(s, to, got);
    return r;
}

/* It is this process's turn. Returns: as the public calls; -EAGAIN: wait and come again. */
static int recv_in_turn(struct cvy_stream *s, struct cvy_landing *t, int64_t deadline,
                        const char *call, enum cvy_after *ret_after)
{
    struct cvy_stream_state *state = s->state;
    *ret_after = CVY_BETWEEN_MESSAGES;
    int r = state->has_header ? 0 : read_header(s, deadline, call);
    if (r < 0)
        return r;
    *t->ret_size = state->body_size;
    if (state->body_size > t->most || (!t->bytes && state->body_size > t->capacity)) {
        *ret_after = s->in.size ? CVY_IN_A_MESSAGE : CVY_BETWEEN_MESSAGES;
        return cvy_fail(-EMSGSIZE, "%s: a message of %llu bytes; there is room for %zu",
                        call, (unsigned long long)state->body_size,
                        t->bytes ? t->most : t->capacity);
    }
    r = read_body(s, t, deadline, ret_after);
    if (r < 0)
        return r;
    state->has_header = 0;
    state->header_size = 0;
    return 0;
}

int cvy_stream_recv(struct cvy_stream *s, struct cvy_landing *t, int64_t deadline,
                    const char *call)
{
    struct cvy_spin spin = {.is_handover = true, .is_costly = true};
    for (;;) {
        enum cvy_after after;
        int r = cvy_turn_begin_to_receive(s, deadline);
        if (cvy_unlikely(r < 0))
            return cvy_stream_fail(s, r, call);
        r = recv_in_turn(s, t, deadline, call, &after);
        cvy_turn_end_receiving(s, after);
        if (cvy_likely(r >= 0))
            return 0;
        if (r != -EAGAIN)
            return cvy_stream_fail(s, r, call);
        /* An answer that comes soon costs no sleep, and its sender no wake-up. */
        if (deadline > 0 && cvy_spin(&spin))
            continue;
        r = cvy_os_poll_in(s->fd, deadline);
        if (r <= 0)
            return cvy_stream_fail(s, r < 0 ? r : -ETIMEDOUT, call);
    }
}

int cvy_stream_poll(struct cvy_stream *s, int64_t deadline, const char *call)
{
    for (;;) {
        if (s->tls && cvy_tls_has_input(s->tls))
            return 0;
        int r = cvy_os_poll_in(s->fd, deadline);
        if (r <= 0)
            return cvy_stream_fail(s, r < 0 ? r : -ETIMEDOUT, call);
        if (!s->tls) /* else it may be a part of a record only */
            return 0;
    }
}

int cvy_stream_check_plain(const struct cvy_stream *s, const char *call)
{
    return s->tls
               ? cvy_fail(-ENOTSUP, "%s: a connection with TLS is this process's", call)
               : 0;
}

bool cvy_stream_is_between(const struct cvy_stream *s)
{
    bool is_sending = s->out_done != s->out.size && s->out_of == cvy_member_owner();
    return !is_sending && !s->state->header_size && !atomic_load(&s->state->sender) &&
           !atomic_load(&s->state->receiver);
}

bool cvy_stream_awaits_answers(const struct cvy_stream *s)
{
    return atomic_load(&s->state->answers_due) > 0;
}

/* ---- making and closing ---- */

int cvy_stream_open(struct cvy_stream **out, int fd, const char *peer, const char *call)
{
    struct cvy_stream *s = cvy_calloc(1, sizeof *s);
    if (!s)
        return cvy_fail(-ENOMEM, "%s: no memory for a connection", call);
    int r = cvy_os_stream_kind(fd, &s->fd_kind, &s->readable, &s->writable);
    if (r < 0)
        r = cvy_fail_os(r, "%s: descriptor %d", call, fd);
    if (r >= 0)
        r = cvy_stream_share(s);
    if (r < 0) {
        cvy_free(s);
        return r;
    }
    s->fd = fd;
    s->kept = cvy_os_keep(fd);
    memcpy(s->peer, peer, strnlen(peer, sizeof s->peer - 1));
    atomic_store(&s->kind, CVY_CONN_IS_STREAM);
    *out = s;
    return 0;
}

void cvy_stream_disown(struct cvy_stream *s)
{
    cvy_os_close_kept(&s->kept);
    s->fd = -1;
}

void cvy_stream_close(struct cvy_stream *s)
{
    if (s->fd < 0)
        return;
    /* A fork child that has not used it has nothing of it but the descriptor. */
    bool is_sharer = cvy_process_page && s->sharer == cvy_member_owner();
    if (is_sharer && cvy_os_is_kept(&s->kept) && cvy_enter() >= 0)
        (void)cvy_stream_flush(s, 0, "covey_conn_close");
    if (is_sharer)
        cvy_turns_give_up(s);
    if (s->tls && cvy_os_is_kept(&s->kept))
        cvy_tls_end(s->tls);
    cvy_stream_disown(s);
    s->tls = cvy_tls_free(s->tls);
    cvy_turns_drop_kept(s);
    if (is_sharer && cvy_is_attached())
        cvy_stream_leave(s);
}

void cvy_stream_free(struct cvy_stream *s)
{
    cvy_stream_close(s);
    cvy_tls_free(s->tls); /* of one whose descriptor is gone */
    atomic_store(&s->kind, 0);
    cvy_free(s);
}

int cvy_stream_dissolve(struct cvy_stream *s, struct cvy_tls **ret_tls)
{
    int fd = s->fd;
    (void)cvy_stream_flush(s, 0, "covey_conn_close");
    *ret_tls = s->tls;
    s->tls = NULL;
    s->kept.fd = -1;
    cvy_stream_free(s);
    return fd;
}
