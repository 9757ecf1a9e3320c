/* SPDX-License-Identifier: MIT */
/*
 * One datagram for each state: see sd_notify(3).
 */
#include "os/service.h"

#include <errno.h>
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
