/* SPDX-License-Identifier: MIT */
/* door.c: those who come to a server. A connection whose peer has proved that it knows the
 * key is taken apart to its descriptor: the server reads ahead, which covey_conn does not. */
#include "manager/door.h"

#include <errno.h>
#include <string.h>

#include "base/error.h"
#include "base/log.h"
#include "channel/listener.h"

/* Whether a path's socket has nobody who listens. */
static bool is_left_over(const char *path)
{
    struct cvy_os_address address;
    const char *why;
    if (cvy_os_address_read(path, false, &address, &why) < 0 ||
        !cvy_os_address_is_path(&address))
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

int cvy_door_next(covey_listener *listener, int *ret_fd, char peer[256])
{
    covey_conn *conn;
    int fd, r = covey_listener_accept(listener, &conn, COVEY_NOWAIT);
    if (r == -ETIMEDOUT)
        return 0;
    if (r < 0)
        return r;
    r = covey_conn_fd(conn, &fd);
    if (r >= 0) {
        fd = cvy_os_dup(fd, 3);
        r = fd;
    }
    const char *name = covey_conn_peer(conn);
    size_t size = strnlen(name, 255);
    memcpy(peer, name, size);
    peer[size] = 0;
    covey_conn_free(conn);
    if (r < 0)
        return cvy_fail_os(r, "one more connection");
    *ret_fd = fd;
    return 1;
}

int64_t cvy_door_deadline(covey_listener *listener)
{
    (void)pthread_mutex_lock(&listener->mutex);
    int64_t deadline = cvy_pending_deadline(listener);
    (void)pthread_mutex_unlock(&listener->mutex);
    return deadline;
}
