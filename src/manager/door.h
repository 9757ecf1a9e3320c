/* SPDX-License-Identifier: MIT */
/**
 * manager/door.h: those who come to a server.
 */
#ifndef CVY_MANAGER_DOOR_H
#define CVY_MANAGER_DOOR_H

#include <stdint.h>

#include "channel/tls.h"

#include <covey/connection.h>

/** Listen. A path whose socket nobody listens at any more is taken over. `fd` not 0: that
 * listens already. */
int cvy_door_open(covey_listener **out, const char *address, int fd,
                  struct covey_view key,
                  const struct covey_listener_opts *opts) COVEY_MUST_CHECK;

/** Close it, but for `fd` of cvy_door_open, which is the caller's again. */
void cvy_door_give_back(covey_listener *listener);

struct cvy_newcomer {
    int fd;
    struct cvy_tls *tls; /* NULL: none */
    char peer[256];      /* its address */
};

/**
 * Let those who prove that they know the key go on.
 * Returns: 1: `*ret` is one who has; 0: nobody yet; -errno.
 */
int cvy_door_next(covey_listener *listener, struct cvy_newcomer *ret);

/** When the first of those who have not proved it runs out of time; INT64_MAX: never. */
int64_t cvy_door_deadline(covey_listener *listener);

#endif
