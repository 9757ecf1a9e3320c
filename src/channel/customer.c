/* SPDX-License-Identifier: MIT */
/* customer.c: one who comes to fetch a descriptor, step by step.
 *
 *   PROVES   that it knows the key of the process, and is shown the same
 *   ASKS     for one offer
 *   WAITS    while another one gets that
 *   GETS     the descriptor is on its way to it, after the proof of who gives it
 *
 * Nobody is waited for, so one that is silent or stopped holds up nobody else. An offer is
 * used up when its customer answers or closes, which CPython before 3.14 does. When it
 * went without reading, the system says so, and the offer is there again. */
#include <errno.h>
#include <string.h>

#include "base/error.h"
#include "channel/offer.h"
#include "os/os.h"

#define PATIENCE COVEY_SEC(10) /* with one customer */

void cvy_customer_begin(struct cvy_customer *c, enum cvy_counter counter, int fd,
                        struct covey_view authkey)
{
    *c = (struct cvy_customer){.counter = counter,
                               .deadline = cvy_os_deadline(PATIENCE),
                               .moved_at = cvy_os_now(),
                               .fd = cvy_os_keep(fd),
                               .talk.fd = fd};
    if (counter == CVY_COUNTER_PIPES) {
        c->step = CVY_CUSTOMER_ASKS;
        return;
    }
    /* The system says that it is the same user, who could trace this process: MD5, which
     * CPython before 3.12 wants, will do. */
    size_t size = cvy_min_size(authkey.size, sizeof c->authkey);
    if (size)
        memcpy(c->authkey, authkey.data, size);
    cvy_auth_begin(&c->talk.auth, COVEY_VIEW(c->authkey, size), true, CVY_AUTH_DELIVER,
                   CVY_AUTH_ANSWER);
}

static int hear_bytes(struct cvy_customer *c)
{
    while (c->key_got < sizeof c->key) {
        ssize_t n = cvy_os_stream_read(c->talk.fd, CVY_OS_STREAM_UNIX,
                                       (char *)&c->key + c->key_got,
                                       sizeof c->key - c->key_got);
        if (n <= 0)
            return n < 0 ? (int)n : COVEY_EEOF;
        c->key_got += (size_t)n;
    }
    return 0;
}

/* The pickle of (key, pid). */
static int hear_pickle(struct cvy_customer *c)
{
    const struct covey_unpickle_opts *limits =
        COVEY_UNPICKLE_OPTS(.max_memory = (size_t)64 << 10, .max_count = 64,
                            .max_depth = 8);
    const covey_value *pid;
    covey_value *request = NULL;
    struct cvy_auth_message m;
    unsigned long long key = 0;
    int r = cvy_talk_hear(&c->talk, &m);
    if (r >= 0)
        r = covey_value_unpickle(&request, m.data, m.size, limits);
    if (r >= 0)
        r = covey_value_unpack(request, "(K, O)", &key, &pid);
    covey_value_free(request);
    c->key = key;
    return r;
}

/* What its fetcher wants to see before it takes anything. */
static int show(const struct cvy_customer *c, uint64_t proof)
{
    const struct covey_view parts[2] = {COVEY_VIEW_OF(proof), COVEY_NO_VIEW};
    if (c->counter != CVY_COUNTER_PIPES)
        return 0; /* they have proved themselves to each other */
    ssize_t n = cvy_os_stream_write(c->talk.fd, CVY_OS_STREAM_UNIX, parts, false);
    if (n < 0)
        return (int)n;
    return n == (ssize_t)sizeof proof ? 0 : COVEY_EPROTOCOL;
}

static int give(struct cvy_customer *c)
{
    uint64_t proof = 0;
    int fd = cvy_offer_begin(c->counter, c->key, &proof);
    if (fd < 0)
        return fd;
    int r = show(c, proof);
    if (r >= 0)
        r = cvy_os_stream_send_fd(c->talk.fd, 1, fd);
    if (r < 0)
        cvy_offer_end(c->key, false);
    return r == -EAGAIN ? COVEY_EPROTOCOL : r; /* it does not read what it was sent */
}

/* Whether it has the descriptor. Returns: 0: it has come to an end; -EAGAIN. */
static int hear_thanks(struct cvy_customer *c)
{
    unsigned char answer;
    ssize_t n = cvy_os_read_now(c->talk.fd, &answer, 1);
    if (n == -EAGAIN)
        return -EAGAIN;
    cvy_offer_end(c->key, n != -ECONNRESET);
    c->step = CVY_CUSTOMER_ASKS; /* nothing is in hand any more */
    return 0;
}

static int take_step(struct cvy_customer *c)
{
    int r;
    switch (c->step) {
    case CVY_CUSTOMER_PROVES:
        r = cvy_talk_prove(&c->talk);
        if (r >= 0)
            c->step = CVY_CUSTOMER_ASKS;
        return r;
    case CVY_CUSTOMER_ASKS:
        r = c->counter == CVY_COUNTER_PIPES ? hear_bytes(c) : hear_pickle(c);
        if (r >= 0)
            c->step = CVY_CUSTOMER_WAITS;
        return r;
    case CVY_CUSTOMER_WAITS:
        r = give(c);
        if (r >= 0)
            c->step = CVY_CUSTOMER_GETS;
        return r;
    default:
        r = hear_thanks(c);
        return r < 0 ? r : COVEY_EEOF;
    }
}

/* Grows with each byte that comes and each step. */
static size_t progress_of(const struct cvy_customer *c)
{
    size_t steps = ((size_t)c->step * 4 + c->talk.auth.half) * 4 + c->talk.auth.step;
    return steps * 2 * sizeof c->talk.in + c->key_got + c->talk.got;
}

bool cvy_customer_go_on(struct cvy_customer *c)
{
    size_t before = progress_of(c);
    int r = cvy_os_is_kept(&c->fd) ? 0 : -EBADF; /* the program has closed it */
    while (r >= 0)
        r = take_step(c);
    if (progress_of(c) != before)
        c->moved_at = cvy_os_now();
    return r == -EAGAIN && cvy_os_now() < c->deadline;
}

void cvy_customer_leave(struct cvy_customer *c)
{
    /* Out of time: it can still read what lies ready for it. */
    if (c->step == CVY_CUSTOMER_GETS)
        cvy_offer_end(c->key, true);
    cvy_auth_end(&c->talk.auth);
    explicit_bzero(c->authkey, sizeof c->authkey);
    cvy_os_close_kept(&c->fd);
}
