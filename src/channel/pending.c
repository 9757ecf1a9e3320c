/* SPDX-License-Identifier: MIT */
/* pending.c: peers of a listener that have not proved yet that they know the key.
 *
 * Each has a handshake that goes on whenever its descriptor is ready, and a deadline that
 * counts from when it came. Nobody waits for one of them, but who comes when all places are
 * taken: until somebody is done, or the oldest has had a part of its time and makes room. So
 * of a crowd that comes at once nobody is lost, and those who stop keep others for a short
 * time only. */
#include <errno.h>
#include <string.h>

#include "base/error.h"
#include "base/log.h"
#include "base/memory.h"
#include "channel/listener.h"

#define TAGS      16
#define TIMER_TAG UINT32_MAX
#define STAY_PART                                                                      \
    10 /* of the time for a handshake, that nobody is dropped for others in */

/* Take `*link` out of the list and the set. Returns: it. */
static struct cvy_pending *take_out(struct covey_listener *l, struct cvy_pending **link)
{
    struct cvy_pending *p = *link; /* NOLINTNEXTLINE: there is one */
    *link = p->next;
    l->pending_count--;
    cvy_os_set_remove(l->set, p->fd); /* a fork child's copy would keep it in there */
    return p;
}

static void drop(struct cvy_pending *p)
{
    cvy_auth_end(&p->auth);
    covey_conn_free(p->conn);
    cvy_free(p);
}

void cvy_pending_drop_all(struct covey_listener *l)
{
    while (l->pending)
        drop(take_out(l, &l->pending));
}

int64_t cvy_pending_deadline(const struct covey_listener *l)
{
    if (!l->pending)
        return INT64_MAX;
    int64_t deadline = l->pending->deadline; /* the oldest comes first */
    return l->is_shut ? cvy_min_i64(deadline, l->pending->yields_at) : deadline;
}

int cvy_pending_add_timer(struct covey_listener *l)
{
    if (l->timer >= 0 || !(l->has_key || l->tls))
        return 0;
    int timer = cvy_os_timer_create();
    int r = timer < 0 ? timer : cvy_os_set_add(l->set, timer, TIMER_TAG);
    if (r < 0) {
        cvy_os_close(timer);
        return r;
    }
    l->timer = timer;
    l->rings_at = INT64_MAX;
    cvy_pending_set_timer(l);
    return 0;
}

/* ---- the door ---- */

static bool is_crowded(const struct covey_listener *l)
{
    return l->pending_count >= l->max_pending && cvy_os_now() < l->pending->yields_at;
}

/* While all places are taken others wait where the system keeps them. A timer tells who polls
 * the set, and other threads that accept, when that is over. */
static void tend_door(struct covey_listener *l)
{
    bool shuts = is_crowded(l) && cvy_pending_add_timer(l) >= 0;
    if (shuts != l->is_shut)
        cvy_os_set_heed(l->set, l->fd, 0, !shuts);
    l->is_shut = shuts;
}

/* It is not put off each time that somebody has proved himself, but when it has rung. */
void cvy_pending_set_timer(struct covey_listener *l)
{
    int64_t deadline = cvy_pending_deadline(l);
    if (l->timer < 0 || (deadline >= l->rings_at && cvy_os_now() < l->rings_at))
        return;
    cvy_os_timer_set(l->timer, deadline);
    l->rings_at = deadline;
}

/* A peer has failed. Returns: `r`, or 0 if nobody wants to know. The program's hook, which may
 * use the listener, is called without the mutex: what the list is may have changed then. */
static int refuse(struct covey_listener *l, const char *peer, int r)
{
    cvy_detail_prefix("%s was refused", *peer ? peer : "a peer");
    l->refused++;
    if (l->report_refused)
        return r;
    (void)pthread_mutex_unlock(&l->mutex);
    (void)covey_log(COVEY_LOG_INFO, "listener %s: %s", l->address,
                    covey_error_detail());
    (void)pthread_mutex_lock(&l->mutex);
    return 0;
}

static int refuse_pending(struct covey_listener *l, struct cvy_pending **link, int r)
{
    struct cvy_pending *p = take_out(l, link);
    r = refuse(l, covey_conn_peer(p->conn), r);
    drop(p);
    return r;
}

/* Of its connection, which is a stream; NULL: none. */
static struct cvy_tls *tls_of(const struct cvy_pending *p)
{
    return cvy_stream_of(p->conn)->tls;
}

/* Let the handshake of `*link` go on; if it is done, it is `*out`. */
static int go_on(struct covey_listener *l, struct cvy_pending **link, covey_conn **out)
{
    struct cvy_tls *tls = tls_of(*link);
    int r = tls ? cvy_tls_shake(tls) : 0;
    if (r >= 0 && l->has_key)
        r = cvy_auth_go_on(&(*link)->auth, (*link)->conn, 0);
    if (r == -ETIMEDOUT || r == -EAGAIN)
        return 0;
    if (r < 0)
        return refuse_pending(l, link, r);
    struct cvy_pending *p = take_out(l, link);
    cvy_os_acknowledge(p->fd); /* its "welcome", which its first message follows */
    *out = p->conn;
    cvy_auth_end(&p->auth);
    cvy_free(p);
    return 0;
}

/* One more; the oldest makes room. */
static int add_pending(struct covey_listener *l, covey_conn *conn, int fd,
                       covey_conn **out)
{
    int r = 0;
    while (l->pending_count >= l->max_pending && r >= 0) {
        r = cvy_fail(COVEY_EAUTH, "others came while it was slow");
        r = refuse_pending(l, &l->pending, r);
    }
    struct cvy_pending *p = cvy_calloc(1, sizeof *p), **link = &l->pending;
    if (!p) {
        covey_conn_free(conn);
        return cvy_fail(-ENOMEM, "no memory for a handshake");
    }
    p->conn = conn;
    p->fd = fd;
    p->deadline = cvy_os_deadline(l->handshake_timeout);
    p->yields_at = cvy_os_deadline(l->handshake_timeout / STAY_PART);
    do
        p->tag = ++l->last_tag;
    while (!p->tag || p->tag == TIMER_TAG);
    cvy_auth_begin(&p->auth, COVEY_VIEW(l->key.data, l->key.size), l->allow_md5,
                   CVY_AUTH_DELIVER, CVY_AUTH_ANSWER);
    while (*link)
        link = &(*link)->next;
    *link = p;
    l->pending_count++;
    int added = cvy_os_set_add(l->set, fd, p->tag);
    if (added < 0) {
        (void)cvy_fail_os(added, "a handshake");
        drop(take_out(l, link));
        return added;
    }
    int went = go_on(l, link, out);
    return r < 0 ? r : went;
}

/* Take in the next who has come, if there is one. */
static int take_in(struct covey_listener *l, covey_conn **out, const char *call)
{
    struct cvy_os_address address;
    struct cvy_stream *stream = NULL;
    char peer[CVY_OS_ADDRESS_TEXT];
    int fd = cvy_os_accept(l->fd, &address);
    if (fd == -EAGAIN)
        return 0;
    if (fd < 0)
        return cvy_fail_os(fd, "%s: %s", call, l->address);
    cvy_os_address_write(&address, peer);
    if (l->same_user && !cvy_os_peer_is_own(fd)) {
        cvy_os_close(fd);
        return refuse(l, peer, cvy_fail(COVEY_EAUTH, "it runs as another user"));
    }
    int r = cvy_stream_open(&stream, fd, peer, call);
    if (r < 0) {
        cvy_os_close(fd);
        return r;
    }
    covey_conn *conn = (covey_conn *)(void *)stream;
    if (l->tls)
        r = cvy_tls_begin(&stream->tls, l->tls, fd, stream->fd_kind);
    if (r < 0) {
        covey_conn_free(conn);
        return r;
    }
    if (l->has_key || l->tls)
        return add_pending(l, conn, fd, out);
    *out = conn;
    return 0;
}

static int expire(struct covey_listener *l)
{
    while (l->pending && l->pending->deadline <= cvy_os_now()) {
        struct cvy_tls *tls = tls_of(l->pending);
        int r =
            tls && !cvy_tls_is_shaken(tls)
                ? cvy_fail(COVEY_EAUTH, "TLS: it did not come to an agreement in time")
                : cvy_fail(COVEY_EAUTH,
                           "it did not prove in time that it knows the key");
        r = refuse_pending(l, &l->pending, r);
        if (r < 0)
            return r;
    }
    return 0;
}

static struct cvy_pending **find(struct covey_listener *l, uint32_t tag)
{
    struct cvy_pending **link = &l->pending;
    while (*link && (*link)->tag != tag)
        link = &(*link)->next;
    return link;
}

int cvy_pending_go_on(struct covey_listener *l, covey_conn **out, const char *call)
{
    uint32_t tags[TAGS];
    int r = expire(l);
    tend_door(l);
    int count = r < 0 ? 0 : cvy_os_set_wait(l->set, tags, TAGS, 0);
    if (count < 0)
        return cvy_fail_os(count, "%s: %s", call, l->address);
    bool has_come = false;
    for (int i = 0; i < count && r >= 0 && !*out; i++) {
        struct cvy_pending **link = find(l, tags[i]);
        if (!tags[i])
            has_come = true;
        else if (*link) /* no timer, nor one that has gone meanwhile */
            r = go_on(l, link, out);
    }
    /* Last: it fails as long as descriptors are short, and those who are in have theirs. */
    if (has_come && r >= 0 && !*out)
        r = take_in(l, out, call);
    tend_door(l);
    return r;
}
