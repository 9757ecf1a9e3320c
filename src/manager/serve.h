/* SPDX-License-Identifier: MIT */
/**
 * manager/serve.h: what the files of the managers that a program runs share.
 *
 *   registered.c  what the program has registered
 *   serve.c       options, and serving in this process
 *   start.c       serving in a child
 *   started.c     the children, and their ends
 */
#ifndef CVY_MANAGER_SERVE_H
#define CVY_MANAGER_SERVE_H

#include "manager/server.h"

#include <covey/manager.h>

/* ---- what is registered ---- */

/** Fill a registry: the standard types if `standard`, then what the program has registered.
 * Its classes stay the program's. */
int cvy_types_get(struct cvy_registry *registry, bool standard) COVEY_MUST_CHECK;
/** What the program has registered, as a value that holds in its other processes. */
int cvy_types_to_value(covey_value **out) COVEY_MUST_CHECK;
/** Register here what such a value tells. */
int cvy_types_adopt(const covey_value *value) COVEY_MUST_CHECK;

/* ---- serving ---- */

/** Copy the options and check them. */
int cvy_serve_take_opts(struct covey_manager_opts *to,
                        const struct covey_manager_opts *from,
                        const char *call) COVEY_MUST_CHECK;
/** Who serves and for whom. */
struct cvy_serving {
    const char *call; /* for details of errors */
    uint64_t ticket;  /* for cvy_serve_stop; 0: none */
    unsigned stops_before;
};
/** Serve until the end. `o` is checked, its key is there. It stops if that has been asked
 * for since there were `stops_before`. */
int cvy_serve(const struct covey_manager_opts *o, struct cvy_registry *registry,
              const struct cvy_serving *how) COVEY_MUST_CHECK;

#endif
