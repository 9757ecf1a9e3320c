/* SPDX-License-Identifier: MIT */
/**
 * os/service.h: the service manager that has started this process, such as systemd: part
 * of the contract with the system, os.h has its rules.
 */
#ifndef CVY_OS_SERVICE_H
#define CVY_OS_SERVICE_H

/** Look where it wants to be told: $NOTIFY_SOCKET, a path or "@name". */
void cvy_os_find_service_manager(void);
/** The first socket that it hands on, if it does. */
#define CVY_OS_FIRST_HANDED 3
/** How many listening sockets it hands on ($LISTEN_FDS). Told once: children are not to
 * take them for theirs. */
int cvy_os_handed_sockets(void);
/**
 * Tell it a state, such as "READY=1", as sd_notify does. Async-signal-safe.
 * Returns: 0, also if there is none; -errno of the system.
 */
int cvy_os_tell_service_manager(const char *state);

#endif
