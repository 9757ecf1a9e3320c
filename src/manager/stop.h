/* SPDX-License-Identifier: MIT */
/**
 * manager/stop.h: stopping managers that this process serves. It is apart from serve.h so
 * that clients' files can include it.
 */
#ifndef CVY_MANAGER_STOP_H
#define CVY_MANAGER_STOP_H

#include <stdint.h>

/** How often covey_manager_stop was called. */
unsigned cvy_serve_stops(void);
/** Let the one of this process with that ticket return soon, if it serves. */
void cvy_serve_stop(uint64_t ticket);

#endif
