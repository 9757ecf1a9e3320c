/* SPDX-License-Identifier: MIT */
/* talk.c: see talk.h. Nothing is read ahead, and nothing here waits, but for the fetching
 * of a descriptor. */
#include "channel/talk.h"

#include <errno.h>

#include "base/error.h"
#include "os/os.h"
#include "os/socket.h"

int cvy_talk_say(const struct cvy_talk *t, struct covey_view message)
{
    unsigned char header[CVY_FRAME_HEADER];
    size_t size = cvy_frame_put(header, message.size);
    const struct covey_view parts[2] = {COVEY_VIEW(header, size), message};
    ssize_t n = cvy_os_stream_write(t->fd, CVY_OS_STREAM_UNIX, parts, false);
    if (n == -EPIPE)
        return cvy_fail(COVEY_EEOF, "the other side has closed the connection");
    if (n < 0 && n != -EAGAIN)
        return cvy_fail_os((int)n, "writing to the other side");
    return n == (ssize_t)(size + message.size)
               ? 0
               : cvy_fail(COVEY_EPROTOCOL,
                          "the other side does not read what it is sent");
}

/* Bytes that the message has with its header, as far as that is known. */
static int wanted(const struct cvy_talk *t, size_t *ret_size)
{
    *ret_size = CVY_TALK_HEADER;
    if (t->got < CVY_TALK_HEADER)
        return 0;
    uint64_t size = cvy_frame_size(t->in);
    if (cvy_frame_length(t->in, t->got) > CVY_TALK_HEADER || size > CVY_AUTH_MESSAGE)
        return cvy_fail(COVEY_EPROTOCOL, "a message that is too long for its purpose");
    *ret_size += size;
    return 0;
}

int cvy_talk_hear(struct cvy_talk *t, struct cvy_auth_message *ret)
{
    size_t want;
    for (;;) {
        int r = wanted(t, &want);
        if (r < 0)
            return r;
        if (t->got >= CVY_TALK_HEADER && t->got == want)
            break;
        ssize_t n = cvy_os_stream_read(t->fd, CVY_OS_STREAM_UNIX, t->in + t->got,
                                       want - t->got);
        if (!n)
            return cvy_fail(COVEY_EEOF, "the other side has closed the connection");
        if (n < 0)
            return n == -EAGAIN ? -EAGAIN
                                : cvy_fail_os((int)n, "reading from the other side");
        t->got += (size_t)n;
    }
    ret->size = want - CVY_TALK_HEADER;
    memcpy(ret->data, t->in + CVY_TALK_HEADER, ret->size);
    t->got = 0;
    return 0;
}

static int take_turn(struct cvy_talk *t, enum cvy_auth_turn turn)
{
    struct cvy_auth_message m;
    int r;
    if (turn == CVY_AUTH_SPEAKS) {
        r = cvy_auth_speak(&t->auth, &m);
        if (r >= 0)
            r = cvy_talk_say(t, COVEY_VIEW(m.data, m.size));
        if (r >= 0)
            cvy_auth_said(&t->auth);
        return r;
    }
    r = cvy_talk_hear(t, &m);
    if (r >= 0)
        r = cvy_auth_hear(&t->auth, &m);
    if (r == COVEY_EAUTH && cvy_auth_refusal(&t->auth, &m))
        (void)cvy_talk_say(t, COVEY_VIEW(m.data, m.size));
    return r;
}

int cvy_talk_prove(struct cvy_talk *t)
{
    enum cvy_auth_turn turn;
    int r = 0;
    while (r >= 0 && (turn = cvy_auth_turn(&t->auth)) != CVY_AUTH_IS_DONE)
        r = take_turn(t, turn);
    return r;
}

/* ---- fetching a descriptor ---- */

/* A descriptor comes. `place` keeps one for it until the last moment. */
static int receive(int fd, int place, int64_t deadline, int *ret_fd)
{
    unsigned char count;
    int r = cvy_os_poll_in(fd, deadline);
    cvy_os_close(place);
    if (r <= 0)
        return r < 0 ? r : -ETIMEDOUT;
    r = cvy_os_stream_recv_fd(fd, &count, ret_fd);
    if (r <= 0)
        return r < 0 ? r : COVEY_EEOF;
    return *ret_fd < 0 ? COVEY_EPROTOCOL : 0;
}

static int send_request(int fd, struct covey_view request, int64_t deadline)
{
    size_t done = 0;
    if (request.size > CVY_TALK_REQUEST)
        return COVEY_EPROTOCOL;
    while (done < request.size) {
        const struct covey_view rest[2] = {
            COVEY_VIEW((const char *)request.data + done, request.size - done),
            COVEY_NO_VIEW};
        ssize_t n = cvy_os_stream_write(fd, CVY_OS_STREAM_UNIX, rest, false);
        if (n < 0 && n != -EAGAIN)
            return (int)n;
        done += n < 0 ? 0 : (size_t)n;
        int r = n < 0 ? cvy_os_poll_out(fd, deadline) : 1;
        if (r <= 0)
            return r < 0 ? r : -ETIMEDOUT;
    }
    return 0;
}

int cvy_talk_ask(int fd, struct covey_view request, int64_t deadline)
{
    int place = cvy_os_dup(fd, 3);
    int r = place < 0 ? place : send_request(fd, request, deadline);
    if (r >= 0)
        return place;
    cvy_os_close(place);
    return r == -EPIPE || r == -ECONNRESET ? COVEY_EEOF : r;
}

int cvy_talk_take(int fd, int place, int64_t deadline, int *ret_fd)
{
    const struct covey_view thanks[2] = {
        COVEY_VIEW(&(const unsigned char){CVY_TALK_THANKS}, 1), COVEY_NO_VIEW};
    int r = receive(fd, place, deadline, ret_fd);
    /* Who waits for no answer does not mind: it has closed, or will not read it. */
    if (r >= 0)
        (void)cvy_os_stream_write(fd, CVY_OS_STREAM_UNIX, thanks, false);
    return r;
}

int cvy_talk_fetch(int fd, struct covey_view request, int64_t deadline, int *ret_fd)
{
    int place = cvy_talk_ask(fd, request, deadline);
    return place < 0 ? place : cvy_talk_take(fd, place, deadline, ret_fd);
}
