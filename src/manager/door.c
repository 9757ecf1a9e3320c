/* SPDX-License-Identifier: MIT */
/* door.c: those who come to a server. A connection whose peer has proved that it knows the
 * key is taken apart to its descriptor: the server reads ahead, which covey_conn does not. */
#include "manager/door.h"

#include <errno.h>
#include <string.h>

#include "channel/listener.h"

int cvy_door_open(covey_listener **out, const char *address, int fd,
                  struct covey_view key, const struct covey_listener_opts *opts)
{
    struct covey_listener_opts o = *opts;
    o.authkey = key;
    return fd > 0 ? cvy_listener_adopt(out, fd, &o)
                  : cvy_listener_replace(out, address, &o);
}

void cvy_door_give_back(covey_listener *listener)
{
    cvy_listener_give_back(listener);
}

int cvy_door_next(covey_listener *listener, struct cvy_newcomer *ret)
{
    covey_conn *conn;
    int r = covey_listener_accept(listener, &conn, COVEY_NOWAIT);
    if (r == -ETIMEDOUT)
        return 0;
    if (r < 0)
        return r;
    struct cvy_stream *s = cvy_stream_of(conn); /* no end of a pipe */
    *ret = (struct cvy_newcomer){0};
    memcpy(ret->peer, s->peer, strnlen(s->peer, sizeof ret->peer - 1));
    ret->fd = cvy_stream_dissolve(s, &ret->tls);
    return 1;
}

int64_t cvy_door_deadline(covey_listener *listener)
{
    (void)pthread_mutex_lock(&listener->mutex);
    int64_t deadline = cvy_pending_deadline(listener);
    (void)pthread_mutex_unlock(&listener->mutex);
    return deadline;
}
