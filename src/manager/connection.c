/* SPDX-License-Identifier: MIT */
/* connection.c: frames in and replies out.
 *
 *   CVY_CONTROL ---(accept_connection)---> CVY_SERVING <---> CVY_PARKED_CALL
 *        |                                     |                   |
 *        +----(replied)----> CVY_FLUSHING <----+                   |
 *                                 |                                |
 *                                 +----------> CVY_ENDED <---------+
 *
 * What is read goes to the server's scratch memory; only what is left over there becomes
 * the connection's own, so one that is idle has no buffer. No request is begun while a
 * reply waits to be written or a call is parked: a client that does not read, or sends
 * ahead, costs one reply and one frame. Of what has come some requests are done at once,
 * then it is the others' turn. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/base.h"
#include "base/bytes.h"
#include "base/error.h"
#include "base/log.h"
#include "base/memory.h"
#include "channel/frame.h"
#include "manager/server.h"
#include "os/os.h"
#include "value/text.h"

/* Requests of one client that are done before it is the others' turn; fewer if they are
 * long. */
#define MOST_AT_ONCE 16
#define KEPT_BUFFER  ((size_t)64 << 10)

const char *cvy_connection_describe(const struct cvy_connection *c, char text[320])
{
    int pid = c->client ? c->client->pid : 0;
    const char *name = c->name ? c->name : "a client";
    if (pid > 0)
        (void)snprintf(text, 320, "%.63s (process %d)", name, pid);
    else
        (void)snprintf(text, 320, "%.63s at %s", name, c->peer ? c->peer : "?");
    return text;
}

bool cvy_connection_has_output(const struct cvy_connection *c)
{
    return c->out_done < c->out.size;
}

static bool may_read(const struct cvy_connection *c)
{
    return (c->state == CVY_CONTROL || c->state == CVY_SERVING) && !c->runs &&
           !cvy_connection_has_output(c);
}

/* ---- lists ---- */

static void link_all(struct cvy_connection *c)
{
    struct cvy_server *server = c->server;
    c->next = server->connections;
    if (c->next)
        c->next->prev = c;
    server->connections = c;
    server->connection_count++;
}

static void unlink_all(struct cvy_connection *c)
{
    if (c->prev)
        c->prev->next = c->next;
    else
        c->server->connections = c->next;
    if (c->next)
        c->next->prev = c->prev;
    c->server->connection_count--;
}

/* The slow ones, who do not read their reply or stopped amid a message, are in the order of
 * their deadlines. */
static void not_slow(struct cvy_connection *c)
{
    struct cvy_server *server = c->server;
    if (!c->is_slow)
        return;
    if (c->prev_slow)
        c->prev_slow->next_slow = c->next_slow;
    else
        server->slow_first = c->next_slow;
    if (c->next_slow)
        c->next_slow->prev_slow = c->prev_slow;
    else
        server->slow_last = c->prev_slow;
    c->next_slow = c->prev_slow = NULL;
    c->is_slow = false;
}

static void now_slow(struct cvy_connection *c)
{
    struct cvy_server *server = c->server;
    not_slow(c);
    c->slow_until = cvy_os_deadline(server->limits.send_timeout);
    c->prev_slow = server->slow_last;
    if (c->prev_slow)
        c->prev_slow->next_slow = c;
    else
        server->slow_first = c;
    server->slow_last = c;
    c->is_slow = true;
}

static bool is_amid_a_message(const struct cvy_connection *c)
{
    return c->in.size > c->in_done || c->refused;
}

/* After it was worked on: what it has begun to send has to come on. */
static void time_rest(struct cvy_connection *c)
{
    bool awaits = !c->runs && (c->state == CVY_CONTROL || c->state == CVY_SERVING) &&
                  is_amid_a_message(c);
    if (c->state == CVY_ENDED || cvy_connection_has_output(c))
        return;
    if (awaits)
        now_slow(c);
    else
        not_slow(c);
}

static void run_later(struct cvy_connection *c)
{
    struct cvy_server *server = c->server;
    if (c->runs)
        return;
    c->runs = true;
    c->next_run = NULL;
    if (server->run_last)
        server->run_last->next_run = c;
    else
        server->run_first = c;
    server->run_last = c;
}

static void not_run(struct cvy_connection *c)
{
    struct cvy_server *server = c->server;
    struct cvy_connection **link = &server->run_first, *last = NULL;
    if (!c->runs)
        return;
    for (; *link != c; link = &(*link)->next_run)
        last = *link;
    *link = c->next_run;
    if (server->run_last == c)
        server->run_last = last;
    c->runs = false;
}

/* ---- what the loop watches ---- */

static void watch(struct cvy_connection *c, unsigned kinds)
{
    if (kinds == c->kinds || c->state == CVY_ENDED)
        return;
    c->kinds = kinds;
    if (cvy_os_events_change(c->server->events, c->fd, kinds, &c->source) < 0)
        cvy_connection_end(c, "it cannot be watched any more");
}

/* Whether TLS has read more than was taken in, of which the loop would hear nothing. */
static bool is_ahead(const struct cvy_connection *c)
{
    return c->tls && may_read(c) && cvy_tls_is_ahead(c->tls);
}

static void watch_usual(struct cvy_connection *c)
{
    if (c->lane.lane) {
        cvy_lanes_look_at(c);
        return;
    }
    if (is_ahead(c))
        run_later(c);
    watch(c, (may_read(c) ? CVY_OS_CAN_READ : 0) |
                 (cvy_connection_has_output(c) ? CVY_OS_CAN_WRITE : 0));
}

/* ---- beginning and end ---- */

int cvy_connection_add(struct cvy_server *server, const struct cvy_newcomer *newcomer)
{
    const char *peer = newcomer->peer;
    bool readable, writable;
    int r = 0;
    struct cvy_connection *c = cvy_calloc(1, sizeof *c);
    if (!c)
        return cvy_fail(-ENOMEM, "no memory for a connection");
    c->source.kind = CVY_SOURCE_CONNECTION;
    c->server = server;
    c->fd = newcomer->fd;
    c->session.name = "a client";
    c->kinds = CVY_OS_CAN_READ;
    c->client = cvy_client_of(server, c->fd);
    c->peer = *peer ? cvy_strdup(peer) : NULL;
    if (!c->client || (*peer && !c->peer))
        r = cvy_fail(-ENOMEM, "no memory for a connection");
    if (r >= 0)
        r = cvy_os_stream_kind(c->fd, &c->fd_kind, &readable, &writable);
    if (r >= 0)
        r = cvy_os_events_add(server->events, c->fd, c->kinds, &c->source);
    if (r < 0) {
        if (c->client)
            cvy_client_leave(server, c->client);
        cvy_free(c->peer);
        cvy_free(c);
        return r;
    }
    c->tls = newcomer->tls;
    link_all(c);
    watch_usual(c);
    return 0;
}

static void log_end(const struct cvy_connection *c, const char *why)
{
    char text[320];
    const struct cvy_session *s = &c->session;
    if (s->watch_count > 0)
        (void)covey_log(COVEY_LOG_WARNING,
                        "manager %s: %s ended holding %zu things, the first a %s; "
                        "they are given back",
                        c->server->address, cvy_connection_describe(c, text),
                        s->watch_count, s->watches[0].what);
    if (why)
        (void)covey_log(COVEY_LOG_INFO, "manager %s: %s: %s", c->server->address,
                        cvy_connection_describe(c, text), why);
}

void cvy_connection_end(struct cvy_connection *c, const char *why)
{
    struct cvy_server *server = c->server;
    if (c->state == CVY_ENDED)
        return;
    log_end(c, why);
    bool parked = c->state == CVY_PARKED_CALL;
    c->state = CVY_ENDED;
    if (parked)
        cvy_request_cancel(c);
    cvy_session_end(&c->session);
    not_slow(c);
    not_run(c);
    cvy_lanes_leave(c);
    unlink_all(c);
    cvy_os_events_remove(server->events, c->fd);
    if (c->tls)
        cvy_tls_end(c->tls);
    c->tls = cvy_tls_free(c->tls);
    c->fd = cvy_os_close(c->fd);
    if (c->family)
        cvy_client_leave(server, c->family);
    cvy_client_leave(server, c->client);
    c->client = c->family = NULL;
    covey_bytes_free(&c->in);
    covey_bytes_free(&c->out);
    c->in_done = c->out_done = 0;
    c->next = server->ended;
    server->ended = c;
}

void cvy_connection_sweep(struct cvy_server *server)
{
    while (server->ended) {
        struct cvy_connection *c = server->ended;
        server->ended = c->next;
        cvy_free(c->peer);
        cvy_free(c->name);
        cvy_free(c);
    }
}

/* ---- writing ---- */

/* Returns: bytes; -EAGAIN: there is no room. */
static ssize_t write_some(struct cvy_connection *c, const struct covey_view parts[2])
{
    if (!c->lane.lane)
        return cvy_socket_write(c->tls, c->fd, c->fd_kind, parts, false);
    size_t n = cvy_lane_write(&c->lane, parts);
    return n ? (ssize_t)n : -EAGAIN;
}

static void write_out(struct cvy_connection *c)
{
    while (cvy_connection_has_output(c)) {
        const struct covey_view parts[2] = {
            COVEY_VIEW((const char *)c->out.data + c->out_done,
                       c->out.size - c->out_done),
            COVEY_NO_VIEW,
        };
        ssize_t n = write_some(c, parts);
        if (n == -EAGAIN) {
            watch_usual(c);
            return;
        }
        if (n < 0) {
            cvy_connection_end(c, "it went without reading its reply");
            return;
        }
        c->out_done += (size_t)n;
        now_slow(c);
    }
    covey_bytes_free(&c->out);
    c->out_done = 0;
    not_slow(c);
    if (c->state == CVY_FLUSHING)
        cvy_connection_end(c, NULL);
    else
        cvy_connection_resume(c);
}

/* Keep what could not be written of a header and a body. */
static void keep_rest(struct cvy_connection *c, const struct covey_view parts[2],
                      size_t done)
{
    size_t total = parts[0].size + parts[1].size, old = c->out.size;
    if (covey_bytes_resize(&c->out, old + total - done) < 0) {
        cvy_connection_end(c, "no memory for the rest of a reply");
        return;
    }
    for (int i = 0; i < 2; i++) {
        size_t skip = cvy_min_size(done, parts[i].size);
        done -= skip;
        if (parts[i].size > skip)
            memcpy((char *)c->out.data + old, (const char *)parts[i].data + skip,
                   parts[i].size - skip);
        old += parts[i].size - skip;
    }
    now_slow(c);
    watch_usual(c);
}

static void send_frame(struct cvy_connection *c, const struct covey_bytes *body)
{
    unsigned char header[CVY_FRAME_HEADER];
    size_t header_size = cvy_frame_put(header, body->size);
    ssize_t n = 0;
    if (c->state == CVY_ENDED)
        return;
    const struct covey_view parts[2] = {COVEY_VIEW(header, header_size),
                                        COVEY_VIEW(body->data, body->size)};
    if (!cvy_connection_has_output(c))
        n = write_some(c, parts);
    if (n == -EAGAIN)
        n = 0;
    if (n < 0)
        cvy_connection_end(c, "it went without reading its reply");
    else if ((size_t)n < header_size + body->size)
        keep_rest(c, parts, (size_t)n);
}

/* ---- replies ---- */

static int pickle_reply(struct cvy_server *server, enum cvy_reply_kind kind,
                        covey_value *value)
{
    int r = cvy_reply_pickle(&server->reply, kind, value);
    if (r >= 0 && server->reply.size > server->limits.max_reply)
        r = cvy_fail(-EMSGSIZE, "a reply of %zu bytes; the manager sends at most %zu",
                     server->reply.size, server->limits.max_reply);
    return r;
}

void cvy_connection_reply(struct cvy_connection *c, enum cvy_reply_kind kind,
                          covey_value *value)
{
    struct cvy_server *server = c->server;
    cvy_nested_note_reply(server, value);
    int r = pickle_reply(server, kind, value);
    if (r < 0)
        r = pickle_reply(server, CVY_REPLY_UNSERIALIZABLE,
                         covey_value_str(covey_error_detail()));
    if (r < 0)
        cvy_connection_end(c, covey_error_detail());
    else
        send_frame(c, &server->reply);
    if (server->reply.capacity > KEPT_BUFFER)
        covey_bytes_free(&server->reply);
}

void cvy_connection_traceback(struct cvy_connection *c, const char *name,
                              const char *format, ...)
{
    static const char head[] = "Traceback (most recent call last):\n"
                               "  in the manager at";
    char who[320];
    va_list list;
    va_start(list, format);
    covey_value *said = cvy_str_format_any(format, list);
    va_end(list);
    const char *detail = said ? cvy_as_text(said)->data : covey_error_detail();
    (void)covey_log(COVEY_LOG_INFO, "manager %s: %s: %s: %s", c->server->address,
                    cvy_connection_describe(c, who), name, detail);
    covey_value *text = covey_value_str_format("%s %s\n%s: %s\n", head,
                                               c->server->address, name, detail);
    covey_value_free(said);
    cvy_connection_reply(c, CVY_REPLY_TRACEBACK, text);
}

void cvy_connection_finish(struct cvy_connection *c)
{
    if (c->state == CVY_ENDED)
        return;
    c->state = CVY_FLUSHING;
    if (cvy_connection_has_output(c))
        watch_usual(c);
    else
        cvy_connection_end(c, NULL);
}

/* ---- reading ---- */

struct frame {
    const unsigned char *body;
    uint64_t size;
    size_t whole; /* header and body */
};

/* Returns: 1: `*ret` is there; 0: not all of it; COVEY_EPROTOCOL. */
static int find_frame(const struct cvy_connection *c, const unsigned char *data,
                      size_t size, struct frame *ret)
{
    size_t header = cvy_frame_length(data, size);
    if (size < header)
        return 0;
    uint64_t body = cvy_frame_size(data);
    if (body > INT64_MAX)
        return cvy_fail(COVEY_EPROTOCOL, "a message of negative size");
    if (body > c->server->limits.max_message)
        return cvy_fail(COVEY_EPROTOCOL,
                        "a message of %llu bytes; the manager takes at most %zu",
                        (unsigned long long)body, c->server->limits.max_message);
    ret->body = data + header;
    ret->size = body;
    ret->whole = header + (size_t)body;
    return size >= ret->whole;
}

static bool may_work(const struct cvy_connection *c)
{
    return (c->state == CVY_CONTROL || c->state == CVY_SERVING) &&
           !cvy_connection_has_output(c);
}

/* Do some of the requests in these bytes. Returns: how many bytes they had. */
static size_t work(struct cvy_connection *c, const unsigned char *data, size_t size)
{
    size_t done = 0;
    struct frame frame;
    for (int i = 0; i < MOST_AT_ONCE && may_work(c); i++) {
        int r = find_frame(c, data + done, size - done, &frame);
        if (!r)
            return done;
        if (r < 0) {
            cvy_connection_traceback(c, "ValueError", "%s", covey_error_detail());
            cvy_connection_finish(c);
            return done;
        }
        done += frame.whole;
        cvy_request_do(c, frame.body, (size_t)frame.size);
        cvy_server_go_on(c->server); /* before the next, which would overtake them */
        if (done < size && cvy_server_is_late(c->server))
            break;
    }
    if (c->state != CVY_ENDED && find_frame(c, data + done, size - done, &frame) != 0)
        run_later(c);
    return done;
}

/* Keep these bytes for later. */
static int keep(struct cvy_connection *c, const unsigned char *data, size_t size)
{
    size_t old = c->in.size;
    if (!size || c->state == CVY_ENDED)
        return 0;
    int r = old + size > c->in.capacity
                ? cvy_bytes_reserve(&c->in, cvy_max_size(old + size, 2 * old))
                : 0;
    if (r < 0)
        return r;
    memcpy((char *)c->in.data + old, data, size);
    c->in.size = old + size;
    return 0;
}

/* Do some of what was kept. */
static void work_kept(struct cvy_connection *c)
{
    size_t left = c->in.size - c->in_done;
    c->in_done += work(c, (const unsigned char *)c->in.data + c->in_done, left);
    if (c->state == CVY_ENDED)
        return;
    left = c->in.size - c->in_done;
    if (!left) {
        covey_bytes_free(&c->in);
        c->in_done = 0;
    } else if (c->in_done > c->in.size / 2) {
        memmove(c->in.data, (char *)c->in.data + c->in_done, left);
        c->in.size = left;
        c->in_done = 0;
    }
}

void cvy_connection_refuse_large(struct cvy_connection *c)
{
    struct frame frame = {0};
    size_t left = c->in.size - c->in_done;
    if (c->state != CVY_ENDED && left &&
        find_frame(c, (const unsigned char *)c->in.data + c->in_done, left, &frame) ==
            0)
        cvy_refusal_begin(c, frame.whole);
}

/* Take what has come: `size` bytes at the server's scratch memory. */
static void take_in(struct cvy_connection *c, size_t size)
{
    const unsigned char *scratch = c->server->scratch;
    size_t done = cvy_unlikely(c->refused) ? cvy_refusal_pass_over(c, size) : 0;
    c->server->since_look += size;
    if (!c->in.size)
        done += work(c, scratch + done, size - done);
    if (keep(c, scratch + done, size - done) < 0) {
        cvy_connection_end(c, covey_error_detail());
        return;
    }
    if (c->state != CVY_ENDED && !done && c->in.size)
        work_kept(c);
    if (cvy_unlikely(c->server->is_full))
        cvy_connection_refuse_large(c);
    time_rest(c);
}

static void read_some(struct cvy_connection *c)
{
    void *scratch = c->server->scratch;
    ssize_t n = cvy_socket_read(c->tls, c->fd, c->fd_kind, scratch, CVY_SCRATCH_SIZE);
    if (n == -EAGAIN)
        return;
    if (n == COVEY_EPROTOCOL || n == COVEY_EAUTH) {
        cvy_connection_end(c, covey_error_detail());
        return;
    }
    if (n <= 0) {
        cvy_connection_end(
            c, is_amid_a_message(c) ? "it ended in the middle of a message" : NULL);
        return;
    }
    take_in(c, (size_t)n);
}

/* ---- over a lane ---- */

/* Move what is in the lane to the scratch memory. Returns: bytes. */
static size_t unload(struct cvy_connection *c)
{
    size_t size = 0, some;
    for (const char *data; (data = cvy_lane_peek(&c->lane, &some));) {
        some = cvy_min_size(some, CVY_SCRATCH_SIZE - size);
        if (!some)
            break;
        memcpy(c->server->scratch + size, data, some);
        cvy_lane_taken(&c->lane, some);
        size += some;
    }
    return size;
}

bool cvy_connection_can_go_on(struct cvy_connection *c)
{
    size_t some;
    if (cvy_connection_has_output(c))
        return cvy_lane_has_room(&c->lane) || c->lane.is_broken;
    return may_read(c) && (cvy_lane_peek(&c->lane, &some) || c->lane.is_broken);
}

bool cvy_connection_look(struct cvy_connection *c)
{
    if (!cvy_connection_can_go_on(c))
        return false;
    if (cvy_connection_has_output(c) && !c->lane.is_broken)
        write_out(c);
    size_t size = c->state != CVY_ENDED && may_read(c) ? unload(c) : 0;
    if (size)
        take_in(c, size);
    if (c->lane.lane && c->lane.is_broken)
        cvy_connection_end(c, "what is in its lane makes no sense");
    return true;
}

/* Its client has closed the socket: what it has put into the lane before is the last. From
 * now on it is a session like others, and its end is the socket's. */
static void leave_lane(struct cvy_connection *c)
{
    struct frame frame;
    size_t size = unload(c); /* the lane is shorter than that */
    size_t passed = cvy_refusal_pass_over(c, size);
    int r = keep(c, c->server->scratch + passed, size - passed);
    cvy_lanes_leave(c);
    if (r < 0)
        cvy_connection_end(c, covey_error_detail());
    if (c->state == CVY_PARKED_CALL)
        cvy_connection_end(c, "it ended while its call waited");
    else if (c->in.size && find_frame(c, (const unsigned char *)c->in.data + c->in_done,
                                      c->in.size - c->in_done, &frame) != 0)
        run_later(c);
    time_rest(c);
    watch_usual(c);
}

/* A session with a lane says only one thing over its socket: look at the lane. */
static void hear(struct cvy_connection *c)
{
    char bytes[64];
    ssize_t n = cvy_os_stream_read(c->fd, c->fd_kind, bytes, sizeof bytes);
    if (n == 0 || (n < 0 && n != -EAGAIN))
        leave_lane(c);
    else
        cvy_lanes_look_at(c);
}

/* ---- both ---- */

/* After what was not done by looking at the lane. */
static void wake_client(struct cvy_connection *c)
{
    if (!c->lane.lane)
        return;
    cvy_lane_fence();
    cvy_lane_wake_client(&c->lane);
}

void cvy_connection_run(struct cvy_connection *c)
{
    not_run(c);
    if (may_work(c))
        work_kept(c);
    time_rest(c);
    if (is_ahead(c))
        read_some(c);
    if (may_read(c) || cvy_connection_has_output(c))
        watch_usual(c);
    wake_client(c);
}

void cvy_connection_resume(struct cvy_connection *c)
{
    struct frame frame;
    if (c->state == CVY_ENDED)
        return;
    if (c->in.size && find_frame(c, (const unsigned char *)c->in.data + c->in_done,
                                 c->in.size - c->in_done, &frame) != 0)
        run_later(c);
    time_rest(c);
    watch_usual(c);
    wake_client(c);
}

void cvy_connection_ready(struct cvy_connection *c, unsigned kinds)
{
    if (c->lane.lane) {
        hear(c);
        return;
    }
    if (kinds & CVY_OS_CAN_READ && !may_read(c))
        watch_usual(c); /* only now: most calls go on before more comes */
    if (kinds & CVY_OS_CAN_WRITE && cvy_connection_has_output(c))
        write_out(c);
    if (c->state == CVY_PARKED_CALL && kinds & CVY_OS_GONE)
        cvy_connection_end(c, "it ended while its call waited");
    else if (kinds & CVY_OS_CAN_READ && may_read(c))
        read_some(c);
    else if (cvy_connection_has_output(c) && kinds & CVY_OS_GONE)
        cvy_connection_end(c, "it ended without reading its reply");
    if (may_read(c) || cvy_connection_has_output(c))
        watch_usual(c);
}
