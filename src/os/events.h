/* SPDX-License-Identifier: MIT */
/**
 * os/events.h: waiting for many descriptors in one thread for long: part of the contract
 * with the system, os.h has its rules.
 */
#ifndef CVY_OS_EVENTS_H
#define CVY_OS_EVENTS_H

#include <stddef.h>
#include <stdint.h>

enum cvy_os_event_kind {
    CVY_OS_CAN_READ = 1,  /* there is something, or the end */
    CVY_OS_CAN_WRITE = 2, /* there is room, or it is broken */
    CVY_OS_GONE = 4 /* the other side sends nothing more; told without being asked */
};

struct cvy_os_event {
    void *about;
    unsigned kinds;
};

/** What descriptors are added to. */
int cvy_os_events_create(void);
/** Watch `fd` for these kinds, of which there may be none; `about` comes with its events. */
int cvy_os_events_add(int events, int fd, unsigned kinds, void *about);
int cvy_os_events_change(int events, int fd, unsigned kinds, void *about);
void cvy_os_events_remove(int events, int fd);
/** Returns: how many; 0 at the deadline, which is met to the millisecond. */
int cvy_os_events_wait(int events, struct cvy_os_event *ret_events, size_t capacity,
                       int64_t deadline);

/** Bytes that this process has allocated from libc; 0 where that is not known. */
uint64_t cvy_os_allocated(void);
/** Give what is free back to the system. */
void cvy_os_trim(void);
/** Raise the soft limit of open descriptors to the hard one. Returns: what it is now. */
uint64_t cvy_os_raise_open_files(void);

/** Call `fn` when SIGTERM comes, in a process that is covey's own; it has to be
 * async-signal-safe. */
void cvy_os_on_terminate(void (*fn)(void));
/** The same for SIGINT. */
void cvy_os_on_interrupt(void (*fn)(void));
/** Writing where nobody reads is an error only, no signal, in such a process. */
void cvy_os_ignore_lost_readers(void);

#endif
