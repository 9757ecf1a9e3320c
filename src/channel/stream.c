/* SPDX-License-Identifier: MIT */
/* stream.c: CPython's messages over a descriptor.
 *
 * One write for header (frame.h) and body up to 16 KiB, else one for each part.
 *
 * Nothing is read ahead: a descriptor that polls readable has a message, or a part of one,
 * and what follows a message is still there for another process or program.
 *
 * Two locks in shared memory keep the messages of several users apart. Waiting for the
 * first byte happens without a lock. In the middle of a message its user is noted in
 * `sender` or `receiver`; who finds the note of a dead one knows that the rest of that
 * message is nowhere, and the direction is of no more use (TORN). A user that runs out of
 * time in the middle of a body keeps the note, and the rest in private memory; then others
 * wait for it. */
#include <errno.h>
#include <limits.h>
#include <string.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/memory.h"
#include "channel/conn.h"
#include "channel/talk.h"
#include "region/lock.h"
#include "region/slot.h"
#include "region/spin.h"

#define LARGEST_JOINT 16384u
#define FIRST_PIECE   (UINT64_C(1) << 20)
#define TORN          1u /* no member */
#define NAP           COVEY_MSEC(2)
#define MOST_PIECES   64u /* of a message, for who does not want to wait */

/* ---- taking turns ---- */

struct turn {
    cvy_word *lock;
    _Atomic uint32_t *user;
};

static struct turn turn_to_send(struct cvy_stream *s)
{
    return (struct turn){&s->state->send_lock, &s->state->sender};
}

static struct turn turn_to_receive(struct cvy_stream *s)
{
    return (struct turn){&s->state->recv_lock, &s->state->receiver};
}

static int lock(cvy_word *word, int64_t deadline)
{
    uint32_t free_word = 0;
    if (atomic_compare_exchange_strong(word, &free_word, cvy_thread_owner()))
        return 0;
    /* Between messages it is held for a moment only. */
    if (deadline <= 0)
        deadline = cvy_os_now() + COVEY_MSEC(1);
    struct cvy_taker taker = {.me = cvy_thread_owner(),
                              .is_dead = cvy_slot_is_dead,
                              .what = cvy_ref_of(word)};
    int r = cvy_lock_take(word, &taker, deadline);
    return r < 0 ? r : 0;
}

/* Be the one who uses this direction. Returns: 0; -ETIMEDOUT; COVEY_EBROKEN. */
static int begin(const struct turn *turn, int64_t deadline)
{
    for (;;) {
        int r = lock(turn->lock, deadline);
        if (r < 0)
            return r;
        uint32_t user = atomic_load(turn->user), me = cvy_member_owner();
        if (cvy_likely(!user || user == me)) {
            atomic_store(turn->user, me);
            return 0;
        }
        /* Its life word knows of ends that the kernel does not tell as such: by exec, or
         * where there is no /proc. */
        if (user != TORN &&
            (cvy_member_is_dead(user, false) || cvy_member_is_dead(user, true)))
            atomic_store(turn->user, TORN);
        cvy_lock_release(turn->lock);
        if (atomic_load(turn->user) == TORN)
            return COVEY_EBROKEN;
        if (cvy_os_now() >= deadline)
            return -ETIMEDOUT;
        (void)cvy_os_futex_wait_for((cvy_word *)turn->user, user, NAP);
    }
}

enum after { BETWEEN_MESSAGES, IN_A_MESSAGE, IS_TORN };

static void end(const struct turn *turn, enum after after)
{
    if (after != IN_A_MESSAGE)
        atomic_store(turn->user, after == IS_TORN ? TORN : 0);
    cvy_lock_release(turn->lock);
}

static int fail(const struct cvy_stream *s, int r, const char *call)
{
    const char *peer = s->peer[0] ? s->peer : "the other side";
    switch (r) {
    case COVEY_EEOF:
        return cvy_fail(r, "%s: %s has closed the connection", call, peer);
    case -EPIPE:
        return cvy_fail(r, "%s: %s does not receive any more", call, peer);
    case COVEY_ETRUNCATED:
        return cvy_fail(r, "%s: %s ended in the middle of a message", call, peer);
    case COVEY_EBROKEN:
        return cvy_fail(
            r, "%s: a user of the connection died or failed in the middle of a message",
            call);
    case -ETIMEDOUT:
        return cvy_fail(r, "%s: %s is not ready", call, peer);
    case -ENOMEM:
    case COVEY_EPROTOCOL:
    case -EMSGSIZE:
        return r; /* they have set it */
    default:
        return cvy_fail_os(r, "%s", call);
    }
}

/* It is this process's turn: drop what is a copy of another process's. */
static void drop_copies(struct covey_bytes *kept, uint32_t *member)
{
    if (cvy_likely(*member == cvy_member_owner()))
        return;
    covey_bytes_free(kept);
    *member = cvy_member_owner();
}

static int begin_to_send(struct cvy_stream *s, int64_t deadline)
{
    const struct turn turn = turn_to_send(s);
    int r = begin(&turn, deadline);
    if (cvy_unlikely(r < 0))
        return r;
    if (s->out_of != cvy_member_owner())
        s->out_done = 0;
    drop_copies(&s->out, &s->out_of);
    return 0;
}

static int begin_to_receive(struct cvy_stream *s, int64_t deadline)
{
    const struct turn turn = turn_to_receive(s);
    int r = begin(&turn, deadline);
    if (cvy_likely(r >= 0))
        drop_copies(&s->in, &s->in_of);
    return r;
}

/* Whether the time is up in a message that could go on at once: one that is sent as fast
 * as it is received must not keep either side for longer. */
static bool is_late(int64_t deadline, unsigned *pieces)
{
    if (deadline == INT64_MAX)
        return false;
    return deadline > 0 ? cvy_os_now() >= deadline : ++*pieces >= MOST_PIECES;
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
static void next_parts(const struct outgoing *o, struct covey_view parts[2])
{
    parts[1] = COVEY_NO_VIEW;
    if (o->done >= o->header_size) {
        uint64_t at = o->done - o->header_size;
        parts[0] = COVEY_VIEW((const char *)o->body.data + at, o->body.size - at);
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
    unsigned pieces = 0;
    while (o->done < o->total) {
        struct covey_view parts[2];
        next_parts(o, parts);
        ssize_t n =
            cvy_os_stream_write(s->fd, s->fd_kind, parts, deadline == INT64_MAX);
        if (n >= 0) {
            o->done += (uint64_t)n;
            if (o->done < o->total && is_late(deadline, &pieces))
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

/* One less, if there is one. */
static bool count_down(_Atomic uint32_t *count)
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
            return (int)n;
        (void)count_down(&s->state->answers_owed);
    }
    return 0;
}

/* What a write that failed in the middle of a message leaves. */
static enum after after_failure(int r)
{
    if (r == -ETIMEDOUT)
        return IN_A_MESSAGE;
    return r == -EPIPE ? BETWEEN_MESSAGES : IS_TORN; /* nobody will see the next one */
}

/* It is this process's turn: write what was kept, and what is owed. Returns: as write_out;
 * -EAGAIN: what is owed cannot be at once. */
static int write_rest(struct cvy_stream *s, int64_t deadline, enum after *ret_after)
{
    *ret_after = BETWEEN_MESSAGES;
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
    if (*ret_after == IN_A_MESSAGE)
        return r;
    covey_bytes_free(&s->out);
    s->out_done = 0;
    return r < 0 ? r : write_answers(s);
}

/* It is this process's turn. Returns: as covey_conn_send; -EAGAIN: wait, and come again. */
static int send_in_turn(struct cvy_stream *s, struct covey_view message,
                        int64_t deadline, enum after *ret_after)
{
    int r = write_rest(s, deadline, ret_after);
    if (r < 0)
        return r;
    struct outgoing o = outgoing_of(message);
    r = write_out(s, &o, deadline);
    if (cvy_likely(r >= 0) || !o.done)
        return r;
    if (r == -ETIMEDOUT) {
        r = keep_rest(s, &o);
        *ret_after = r < 0 ? IS_TORN : IN_A_MESSAGE;
        return r < 0 ? r : COVEY_PENDING;
    }
    *ret_after = after_failure(r);
    return r;
}

int cvy_stream_send(struct cvy_stream *s, struct covey_view message, int64_t deadline,
                    const char *call)
{
    const struct turn turn = turn_to_send(s);
    for (;;) {
        enum after after;
        int r = begin_to_send(s, deadline);
        if (cvy_unlikely(r < 0))
            return fail(s, r, call);
        r = send_in_turn(s, message, deadline, &after);
        end(&turn, after);
        if (cvy_likely(r >= 0))
            return r;
        if (r != -EAGAIN)
            return fail(s, r, call);
        r = cvy_os_poll_out(s->fd, deadline);
        if (r <= 0)
            return fail(s, r < 0 ? r : -ETIMEDOUT, call);
    }
}

int cvy_stream_flush(struct cvy_stream *s, int64_t deadline, const char *call)
{
    const struct turn turn = turn_to_send(s);
    bool has_rest = s->out_done != s->out.size && s->out_of == cvy_member_owner();
    int r = has_rest || atomic_load(&s->state->answers_owed) ? -EAGAIN : 0;
    while (r == -EAGAIN) {
        enum after after;
        r = begin_to_send(s, deadline);
        if (r < 0)
            break;
        r = write_rest(s, deadline, &after);
        end(&turn, after);
        int ready = r == -EAGAIN ? cvy_os_poll_out(s->fd, deadline) : 1;
        if (ready <= 0)
            r = ready < 0 ? ready : -ETIMEDOUT;
    }
    return r < 0 ? fail(s, r, call) : 0;
}

/* ---- receiving ---- */

/* Read more. `any`: a message has begun. Returns: bytes; -EAGAIN: nothing, if not `any`;
 * -ETIMEDOUT; COVEY_EEOF; COVEY_ETRUNCATED. */
static ssize_t read_some(struct cvy_stream *s, void *to, uint64_t size, bool any,
                         int64_t deadline)
{
    for (;;) {
        ssize_t n = cvy_os_stream_read(s->fd, s->fd_kind, to, size);
        if (cvy_likely(n > 0))
            return n;
        if (!n)
            return any ? COVEY_ETRUNCATED : COVEY_EEOF;
        if (n != -EAGAIN || !any)
            return n;
        int r = cvy_os_poll_in(s->fd, deadline);
        if (r <= 0)
            return r < 0 ? r : -ETIMEDOUT;
    }
}

/* Between messages: take out an answer to a descriptor that has come as the first of
 * `size` bytes. Returns: whether it was one. */
static bool take_answer(struct cvy_stream_state *state, unsigned char *bytes,
                        uint32_t size)
{
    if (cvy_likely(!atomic_load(&state->answers_due)) || !size ||
        bytes[0] != CVY_TALK_THANKS || !count_down(&state->answers_due))
        return false;
    memmove(bytes, bytes + 1, size - 1);
    return true;
}

static int read_header(struct cvy_stream *s, int64_t deadline, const char *call)
{
    struct cvy_stream_state *state = s->state;
    uint32_t length;
    while ((length = cvy_frame_length(state->header, state->header_size)) >
           state->header_size) {
        ssize_t n =
            read_some(s, state->header + state->header_size,
                      length - state->header_size, state->header_size > 0, deadline);
        if (n < 0)
            return (int)n;
        state->header_size += (uint32_t)n;
        while (take_answer(state, state->header, state->header_size))
            state->header_size--;
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
static enum after keep_body(struct cvy_stream *s, struct cvy_landing *t, uint64_t got)
{
    if (!got)
        return BETWEEN_MESSAGES;
    if (!t->bytes) {
        if (covey_bytes_resize(&s->in, got) < 0)
            return IS_TORN;
        memcpy(s->in.data, t->to, got);
    } else if (t->bytes != &s->in) {
        s->in = *t->bytes;
        *t->bytes = (struct covey_bytes){0};
    }
    s->in.size = got;
    return IN_A_MESSAGE;
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
                     enum after *ret_after)
{
    uint64_t size = s->state->body_size, got = s->in.size;
    struct cvy_landing kept = {
        .to = s->in.data, .capacity = s->in.capacity, .bytes = &s->in};
    struct cvy_landing *to = got ? &kept : t;
    unsigned pieces = 0;
    int r = grow(to, size, got);
    while (r >= 0 && got < size) {
        ssize_t n = read_some(s, (char *)to->to + got,
                              cvy_min_u64(size, to->capacity) - got, true, deadline);
        got += n > 0 ? (uint64_t)n : 0;
        if (n < 0)
            r = (int)n;
        else if (got < size && is_late(deadline, &pieces))
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
    *ret_after = r == COVEY_ETRUNCATED ? BETWEEN_MESSAGES : keep_body(s, to, got);
    return r;
}

/* It is this process's turn. Returns: as the public calls; -EAGAIN: wait and come again. */
static int recv_in_turn(struct cvy_stream *s, struct cvy_landing *t, int64_t deadline,
                        const char *call, enum after *ret_after)
{
    struct cvy_stream_state *state = s->state;
    *ret_after = BETWEEN_MESSAGES;
    int r = state->has_header ? 0 : read_header(s, deadline, call);
    if (r < 0)
        return r;
    *t->ret_size = state->body_size;
    if (state->body_size > t->most || (!t->bytes && state->body_size > t->capacity)) {
        *ret_after = s->in.size ? IN_A_MESSAGE : BETWEEN_MESSAGES;
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
    const struct turn turn = turn_to_receive(s);
    struct cvy_spin spin = {.is_handover = true, .is_costly = true};
    for (;;) {
        enum after after;
        int r = begin_to_receive(s, deadline);
        if (cvy_unlikely(r < 0))
            return fail(s, r, call);
        r = recv_in_turn(s, t, deadline, call, &after);
        end(&turn, after);
        if (cvy_likely(r >= 0))
            return 0;
        if (r != -EAGAIN)
            return fail(s, r, call);
        /* An answer that comes soon costs no sleep, and its sender no wake-up. */
        if (deadline > 0 && cvy_spin(&spin))
            continue;
        r = cvy_os_poll_in(s->fd, deadline);
        if (r <= 0)
            return fail(s, r < 0 ? r : -ETIMEDOUT, call);
    }
}

int cvy_stream_poll(struct cvy_stream *s, int64_t deadline, const char *call)
{
    int r = cvy_os_poll_in(s->fd, deadline);
    return r > 0 ? 0 : fail(s, r < 0 ? r : -ETIMEDOUT, call);
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

/* ---- descriptors, as CPython's send_handle and recv_handle ---- */

static int check_unix(const struct cvy_stream *s, const char *call)
{
    return s->fd_kind == CVY_OS_STREAM_UNIX
               ? 0
               : cvy_fail(-ENOTSUP, "%s: only AF_UNIX sockets carry descriptors", call);
}

/* Its answer may come before this goes on, so it is due before. Who is killed in between
 * leaves one too many, which only the `A` of a message of more than a GiB is taken for. */
static int send_fd_in_turn(struct cvy_stream *s, int fd)
{
    if (s->answers_fds)
        atomic_fetch_add(&s->state->answers_due, 1);
    int r = cvy_os_stream_send_fd(s->fd, 1, fd);
    if (r < 0 && s->answers_fds)
        (void)count_down(&s->state->answers_due);
    return r;
}

int cvy_stream_send_fd(struct cvy_stream *s, int fd, int64_t deadline, const char *call)
{
    const struct turn turn = turn_to_send(s);
    int r = check_unix(s, call);
    while (r >= 0) {
        r = begin_to_send(s, deadline);
        if (r < 0)
            break;
        enum after after;
        r = write_rest(s, deadline, &after);
        if (r >= 0)
            r = send_fd_in_turn(s, fd);
        end(&turn, after);
        if (r >= 0)
            return 0;
        if (r != -EAGAIN)
            break;
        r = cvy_os_poll_out(s->fd, deadline);
        if (!r)
            r = -ETIMEDOUT;
    }
    return r == -ENOTSUP ? r : fail(s, r, call);
}

/* A descriptor has come. It is the caller's, whether or not this gets through by now. */
static void answer_fd(struct cvy_stream *s, int64_t deadline)
{
    atomic_fetch_add(&s->state->answers_owed, 1);
    (void)cvy_stream_flush(s, deadline, "covey_conn_recv_fd");
}

/* Returns: 0; -EAGAIN: wait, and come again; of this process's turn; as the call. */
static int take_fd(struct cvy_stream *s, int *ret_fd, int64_t deadline,
                   const char *call)
{
    const struct turn turn = turn_to_receive(s);
    unsigned char count;
    int r = begin_to_receive(s, deadline);
    if (r < 0)
        return r;
    bool between = !s->state->header_size;
    do
        r = between ? cvy_os_stream_recv_fd(s->fd, &count, ret_fd) : 0;
    while (r > 0 && *ret_fd < 0 && take_answer(s->state, &count, 1));
    end(&turn, s->in.size ? IN_A_MESSAGE : BETWEEN_MESSAGES);
    if (!between)
        return cvy_fail(COVEY_ESTATE, "%s: a message has been begun", call);
    if (r <= 0)
        return r < 0 ? r : COVEY_EEOF;
    return *ret_fd < 0
               ? cvy_fail(COVEY_EPROTOCOL, "%s: a message without a descriptor", call)
               : 0;
}

int cvy_stream_recv_fd(struct cvy_stream *s, int *ret_fd, int64_t deadline,
                       const char *call)
{
    int fd = -1, r = check_unix(s, call);
    if (r < 0)
        return r;
    while ((r = take_fd(s, &fd, deadline, call)) == -EAGAIN) {
        r = cvy_os_poll_in(s->fd, deadline);
        if (r <= 0)
            return fail(s, r < 0 ? r : -ETIMEDOUT, call);
    }
    if (r == COVEY_ESTATE || r == COVEY_EPROTOCOL) /* they have set it */
        return r;
    if (r < 0)
        return fail(s, r, call);
    *ret_fd = fd;
    if (s->answers_fds)
        answer_fd(s, deadline);
    return 0;
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
    memcpy(s->peer, peer, strnlen(peer, sizeof s->peer - 1));
    atomic_store(&s->kind, CVY_CONN_IS_STREAM);
    *out = s;
    return 0;
}

/* This process goes in the middle of a message: nobody else can go on with it. */
static void give_up(struct turn turn)
{
    bool is_mine = atomic_load(turn.user) == cvy_member_owner();
    if (is_mine && lock(turn.lock, 0) == 0)
        end(&turn, IS_TORN);
}

void cvy_stream_close(struct cvy_stream *s)
{
    if (s->fd < 0)
        return;
    (void)cvy_stream_flush(s, 0, "covey_conn_close");
    give_up(turn_to_send(s));
    give_up(turn_to_receive(s));
    s->fd = cvy_os_close(s->fd);
    covey_bytes_free(&s->in);
    covey_bytes_free(&s->out);
    s->out_done = 0;
    cvy_stream_leave(s);
}

void cvy_stream_free(struct cvy_stream *s)
{
    cvy_stream_close(s);
    atomic_store(&s->kind, 0);
    cvy_free(s);
}
