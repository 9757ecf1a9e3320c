/* SPDX-License-Identifier: MIT */
/* handle.c: descriptors over streams, as CPython's send_handle and recv_handle have them:
 * with a byte each, and maybe a byte for an answer. */
#include <errno.h>

#include "base/error.h"
#include "channel/turn.h"

static int check_unix(const struct cvy_stream *s, const char *call)
{
    return s->fd_kind == CVY_OS_STREAM_UNIX
               ? cvy_stream_check_plain(s, call)
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
        (void)cvy_stream_count_down(&s->state->answers_due);
    return r;
}

int cvy_stream_send_fd(struct cvy_stream *s, int fd, int64_t deadline, const char *call)
{
    int r = check_unix(s, call);
    while (r >= 0) {
        r = cvy_turn_begin_to_send(s, deadline);
        if (r < 0)
            break;
        enum cvy_after after;
        r = cvy_stream_write_rest(s, deadline, &after);
        if (r >= 0)
            r = send_fd_in_turn(s, fd);
        cvy_turn_end_sending(s, after);
        if (r >= 0)
            return 0;
        if (r != -EAGAIN)
            break;
        r = cvy_os_poll_out(s->fd, deadline);
        if (!r)
            r = -ETIMEDOUT;
    }
    return r == -ENOTSUP ? r : cvy_stream_fail(s, r, call);
}

/* Take the next byte, and a descriptor with it, if it is for this call. Returns: 1; 0:
 * something else comes, and stays; COVEY_EEOF; of the system. */
static int take_byte(struct cvy_stream *s, int *ret_fd)
{
    unsigned char byte;
    int r = cvy_os_stream_peek_fd(s->fd, &byte, ret_fd);
    if (r <= 0)
        return r < 0 ? r : COVEY_EEOF;
    if (*ret_fd < 0 && !cvy_stream_is_answer(s->state, byte))
        return 0;
    r = (int)cvy_os_stream_read(s->fd, s->fd_kind, &byte, 1);
    if (r > 0 && *ret_fd < 0)
        (void)cvy_stream_count_down(&s->state->answers_due);
    else if (r > 0 && s->answers_fds) /* in the turn: who dies now ends in a message */
        atomic_fetch_add(&s->state->answers_owed, 1);
    if (r <= 0)
        *ret_fd = cvy_os_close(*ret_fd);
    return r ? r : COVEY_EEOF;
}

/* Returns: 0; -EAGAIN: wait, and come again; of this process's turn; as the call. */
static int take_fd(struct cvy_stream *s, int *ret_fd, int64_t deadline,
                   const char *call)
{
    int r = cvy_turn_begin_to_receive(s, deadline);
    if (r < 0)
        return r;
    bool between = !s->state->header_size;
    do
        r = between ? take_byte(s, ret_fd) : 0;
    while (r > 0 && *ret_fd < 0);
    cvy_turn_end_receiving(s, s->in.size ? CVY_IN_A_MESSAGE : CVY_BETWEEN_MESSAGES);
    if (!between)
        return cvy_fail(COVEY_ESTATE, "%s: a message has been begun", call);
    if (!r)
        return cvy_fail(COVEY_EPROTOCOL, "%s: a message comes, and no descriptor",
                        call);
    return r < 0 ? r : 0;
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
            return cvy_stream_fail(s, r < 0 ? r : -ETIMEDOUT, call);
    }
    if (r == COVEY_ESTATE || r == COVEY_EPROTOCOL) /* they have set it */
        return r;
    if (r < 0)
        return cvy_stream_fail(s, r, call);
    *ret_fd = fd; /* whether or not the answer gets through by now */
    if (s->answers_fds)
        (void)cvy_stream_flush(s, deadline, call);
    return 0;
}
