/* SPDX-License-Identifier: MIT */
/* wire.c: see wire.h. Over a lane go the frames of CPython's connections, as over the
 * socket. */
#include "manager/wire.h"

#include <errno.h>
#include <string.h>

#include "base/base.h"
#include "base/bytes.h"
#include "base/error.h"
#include "channel/conn.h"
#include "os/os.h"
#include "region/member.h"
#include "region/undo.h"

#define KEEP_BYTES ((size_t)64 << 10)

/* ---- with a lane or without ---- */

bool cvy_wire_may_have_lane(const struct cvy_wire *wire)
{
    const struct cvy_stream *s = cvy_conn_stream(wire->conn);
    struct cvy_os_peer peer;
    int pid;
    if (!s || s->fd_kind != CVY_OS_STREAM_UNIX || cvy_os_peer(s->fd, &peer) < 0)
        return false;
    uint32_t high = cvy_load32(&cvy_head->member_high);
    for (uint32_t i = 0; i < high; i++)
        if (cvy_member_state(cvy_member_owner_at(i), &pid) == CVY_MEMBER_RUNNING &&
            pid == peer.pid)
            return true;
    return false;
}

void cvy_wire_use_lane(struct cvy_wire *wire, struct cvy_lane_end *lane)
{
    struct cvy_stream *s = cvy_conn_stream(wire->conn);
    wire->fd = s->fd;
    wire->lane = *lane;
    s->tls = cvy_tls_free(s->tls); /* the socket carries no messages any more */
    *lane = (struct cvy_lane_end){0};
}

void cvy_wire_disown(struct cvy_wire *wire)
{
    struct cvy_stream *s = wire->conn ? cvy_conn_stream(wire->conn) : NULL;
    if (s)
        cvy_stream_disown(s);
    wire->lane = (struct cvy_lane_end){0};
}

void cvy_wire_close(struct cvy_wire *wire)
{
    cvy_lane_release(&wire->lane);
    covey_bytes_free(&wire->part);
    covey_conn_free(wire->conn);
    wire->conn = NULL;
}

/* ---- sending ---- */

/* The connection keeps what it has begun to send; `*done` says only that it has. */
static int send_by_socket(struct cvy_wire *wire, struct covey_view message,
                          size_t *done, int64_t deadline)
{
    int r = *done ? covey_conn_flush(wire->conn, cvy_os_time_left(deadline))
                  : covey_conn_send(wire->conn, message, cvy_os_time_left(deadline));
    if (r != COVEY_PENDING)
        return r;
    *done = 1;
    return -ETIMEDOUT;
}

static int fail_broken(void)
{
    return cvy_fail(COVEY_EPROTOCOL,
                    "what is in the memory shared with the manager makes no sense");
}

/* `*done` counts the bytes of the frame. */
static int send_by_lane(struct cvy_wire *wire, struct covey_view message, size_t *done,
                        int64_t deadline)
{
    unsigned char header[CVY_FRAME_HEADER];
    size_t size = cvy_frame_put(header, message.size);
    for (;;) {
        size_t skip = cvy_min_size(*done, size), body = *done - skip;
        const struct covey_view rest[2] = {
            COVEY_VIEW(header + skip, size - skip),
            COVEY_VIEW((const char *)message.data + body, message.size - body),
        };
        size_t some = cvy_lane_write(&wire->lane, rest);
        *done += some;
        int r = some ? cvy_lane_tell(&wire->lane, wire->fd) : 0;
        if (*done == size + message.size)
            return 0; /* also to one that is gone: it may have taken it before */
        if (r < 0)
            return cvy_fail(r, "the manager is gone");
        if (wire->lane.is_broken)
            return fail_broken();
        r = cvy_lane_await_room(&wire->lane, wire->fd, deadline);
        if (r < 0)
            return r == COVEY_EEOF ? cvy_fail(r, "the manager is gone") : r;
    }
}

int cvy_wire_send(struct cvy_wire *wire, struct covey_view message, size_t *done,
                  int64_t deadline)
{
    return wire->lane.lane ? send_by_lane(wire, message, done, deadline)
                           : send_by_socket(wire, message, done, deadline);
}

/* ---- receiving ---- */

/* Take a message out of the bytes at `data`. Returns: how many bytes it had; 0: it is not
 * all there; -EMSGSIZE; -ENOMEM; COVEY_EPROTOCOL. */
static int64_t cut(const void *data, size_t size, struct covey_bytes *message,
                   size_t most)
{
    size_t header = cvy_frame_length(data, size);
    if (size < header)
        return 0;
    uint64_t body = cvy_frame_size(data);
    if (body > INT64_MAX)
        return fail_broken();
    if (body > most)
        return cvy_fail(-EMSGSIZE, "a message of %llu bytes; there is room for %zu",
                        (unsigned long long)body, most);
    if (size - header < body)
        return 0;
    int r = cvy_bytes_reserve(message, (size_t)body);
    if (r < 0)
        return r;
    if (body)
        memcpy(message->data, (const char *)data + header, (size_t)body);
    message->size = (size_t)body;
    return (int64_t)(header + body);
}

/* The same out of what was kept. Returns: 1; 0; a negative code. */
static int cut_part(struct cvy_wire *wire, struct covey_bytes *message, size_t most)
{
    struct covey_bytes *part = &wire->part;
    int64_t n = part->size ? cut(part->data, part->size, message, most) : 0;
    if (n <= 0)
        return (int)n;
    part->size -= (size_t)n;
    if (part->size)
        memmove(part->data, (const char *)part->data + n, part->size);
    else if (part->capacity > KEEP_BYTES)
        covey_bytes_free(part);
    return 1;
}

/* Take a message, or at least a part of it, out of the lane. Returns: as cut_part. */
static int take(struct cvy_wire *wire, struct covey_bytes *message, size_t most)
{
    size_t size = 0;
    for (const char *data; (data = cvy_lane_peek(&wire->lane, &size));) {
        int64_t n = wire->part.size ? 0 : cut(data, size, message, most);
        if (n < 0)
            return (int)n;
        int r = n ? 1 : cvy_bytes_append(&wire->part, data, size);
        if (r < 0)
            return r;
        cvy_lane_taken(&wire->lane, n ? (size_t)n : size);
        if (r == 0)
            r = cut_part(wire, message, most);
        if (r)
            return r;
    }
    return wire->lane.is_broken ? fail_broken() : 0;
}

static int recv_by_lane(struct cvy_wire *wire, struct covey_bytes *message, size_t most,
                        int64_t deadline)
{
    int r = cut_part(wire, message, most);
    while (!r) {
        r = take(wire, message, most);
        if (r)
            break;
        r = cvy_lane_await(&wire->lane, wire->fd, deadline);
        if (r == COVEY_EEOF)
            r = cvy_fail(r, "the manager is gone");
    }
    return r < 0 ? r : 0;
}

int cvy_wire_recv(struct cvy_wire *wire, struct covey_bytes *message, size_t most,
                  int64_t deadline)
{
    return wire->lane.lane ? recv_by_lane(wire, message, most, deadline)
                           : covey_conn_recv_max(wire->conn, message, most,
                                                 cvy_os_time_left(deadline));
}

bool cvy_wire_has_input(struct cvy_wire *wire)
{
    if (wire->lane.lane)
        return wire->part.size > 0 ||
               cvy_lane_await(&wire->lane, wire->fd, 0) != -ETIMEDOUT;
    return covey_conn_poll(wire->conn, COVEY_NOWAIT) >= 0;
}

bool cvy_wire_may_have_ended(struct cvy_wire *wire)
{
    if (wire->lane.lane)
        return cvy_wire_has_input(wire);
    const struct cvy_stream *stream = cvy_conn_stream(wire->conn);
    return stream && cvy_os_poll_in(stream->fd, 0) != 0;
}
