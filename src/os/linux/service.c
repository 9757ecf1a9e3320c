/* SPDX-License-Identifier: MIT */
/*
 * See sd_notify(3), one datagram for each state, and sd_listen_fds(3).
 */
#include "os/service.h"

#include <errno.h>
#include <limits.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static struct sockaddr_un manager = {.sun_family = AF_UNIX};
static socklen_t manager_size; /* 0: there is none */

void cvy_os_find_service_manager(void)
{
    const char *name = getenv("NOTIFY_SOCKET");
    size_t size = name ? strlen(name) : 0;

    manager_size = 0;
    if (size < 2 || size >= sizeof(manager.sun_path) || (*name != '/' && *name != '@'))
        return;
    memcpy(manager.sun_path, name, size + 1);
    if (*name == '@')
        manager.sun_path[0] = 0;
    manager_size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + size);
}

static long number_in(const char *variable)
{
    const char *text = getenv(variable);

    return text ? strtol(text, NULL, 10) : 0;
}

int cvy_os_handed_sockets(void)
{
    long count = number_in("LISTEN_PID") == getpid() ? number_in("LISTEN_FDS") : 0;

    (void)unsetenv("LISTEN_PID");
    (void)unsetenv("LISTEN_FDS");
    (void)unsetenv("LISTEN_FDNAMES");
    return count > 0 && count <= INT_MAX ? (int)count : 0;
}

int cvy_os_tell_service_manager(const char *state)
{
    int fd, r = 0;

    if (!manager_size)
        return 0;
    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    if (sendto(fd, state, strlen(state), MSG_NOSIGNAL,
               (const struct sockaddr *)(const void *)&manager, manager_size) < 0)
        r = -errno;
    (void)close(fd);
    return r;
}
