/* SPDX-License-Identifier: MIT */
/**
 * os/context.h: what a process hands down to its children without being asked, for
 * children whose real parent is a fork server: they shall have the starter's, not the
 * server's, and a server that is of another user or namespace cannot serve at all.
 */
#ifndef CVY_OS_CONTEXT_H
#define CVY_OS_CONTEXT_H

#include "os/os.h"

#define CVY_OS_NAMESPACES 8
#define CVY_OS_LIMITS     16

/** Fixed-width, without pointers: it travels through shared memory. */
struct cvy_os_identity {
    uint32_t users[3], groups[3]; /* real, effective, saved */
    uint64_t group_list;          /* a hash of the supplementary groups */
    uint64_t root[2];             /* device and inode of / */
    uint64_t namespaces[CVY_OS_NAMESPACES];
};

struct cvy_os_context {
    uint64_t environment; /* a hash of the strings */
    uint32_t umask;
    uint32_t cwd_size; /* 0: it has none that can be named */
    unsigned char signal_mask[128];
    uint64_t limits[CVY_OS_LIMITS][2];
    unsigned char cpus[128];
    uint64_t folder[2]; /* device and inode of the working folder */
    char cwd[4096];     /* its name when it was looked at */
};

/** Bytes of a context that are in use. */
size_t cvy_os_context_size(const struct cvy_os_context *context);

void cvy_os_identity_get(struct cvy_os_identity *ret_identity);
/** Not async-signal-safe. */
void cvy_os_context_get(struct cvy_os_context *ret_context);

/** Bytes that cvy_os_environment_copy needs. */
size_t cvy_os_environment_size(void);
/** The strings of the environment one after the other, each with its NUL. */
void cvy_os_environment_copy(char *text, size_t size);

/** Become as `wanted`, which is the parent's, in all that differs from `is`; the strings of
 * `environment`, which must stay, replace this process's if their hash differs. For a
 * single-threaded process.
 * Returns: 0; -errno with `*ret_what` naming it. */
int cvy_os_context_become(const struct cvy_os_context *is,
                          const struct cvy_os_context *wanted, char *environment,
                          size_t environment_size, const char **ret_what);

/** Block all signals, so that a server is not ended by those meant for its parent. */
void cvy_os_block_signals(void);
/** Take over the signal mask of `context`. */
void cvy_os_context_unblock(const struct cvy_os_context *context);
/** The signals that the calling thread blocks, a bit each; to block just these. */
uint64_t cvy_os_blocked_signals(void);
void cvy_os_set_blocked_signals(uint64_t signals);

#endif
