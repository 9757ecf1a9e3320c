/* SPDX-License-Identifier: MIT */
/* door.c: those who come to a server. A connection whose peer has proved that it knows the
 * key is taken apart to its descriptor: the server reads ahead, which covey_conn does not. */
#include "manager/door.h"

#include <errno.h>
#include <string.h>

#include "base/error.h"
#include "base/log.h"
#include "channel/listener.h"

/* Whether a path's socket has nobody who listens. Connecting to a file of another kind is
 * refused, too. */
static bool is_left_over(const char *path)
{
    struct cvy_os_address address;
    const char *why;
    if (cvy_os_address_read(path, false, &address, &why) < 0 ||
        !cvy_os_address_is_path(&address) || !cvy_os_path_is_socket(path))
        return false;
    int fd = cvy_os_connect(&address, cvy_os_deadline(COVEY_SEC(1)));
    if (fd >= 0)
        cvy_os_close(fd);
    return fd == -ECONNREFUSED;
}

int cvy_door_open(covey_listener **out, const char *address, int fd,
                  struct covey_view key, const struct covey_listener_opts *opts)
{
    struct covey_listener_opts o = *opts;
    o.authkey = key;
    if (fd > 0)
        return cvy_listener_adopt(out, fd, &o);
    int r = covey_listener_create(out, address, &o);
    if (r == -EADDRINUSE && address && is_left_over(address)) {
        (void)covey_log(COVEY_LOG_INFO,
                        "%s: nobody listens at this socket; it is replaced", address);
        if (cvy_os_unlink(address) == 0)
            r = covey_listener_create(out, address, &o);
    }
    return r;
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
