/* SPDX-License-Identifier: MIT */
/**
 * os/shm.h: named memory, which any program of this machine can open: part of the
 * contract with the system, os.h has its rules.
 *
 * The files are those of shm_open(3), where POSIX programs and CPython look for them. A
 * name is what comes after the leading slashes of theirs.
 *
 * Locks belong to an open file: a descriptor, its copies, and every map that was made by
 * it, in fork children too. They go when the last of these goes, however it does.
 */
#ifndef CVY_OS_SHM_H
#define CVY_OS_SHM_H

#include <stdbool.h>
#include <stdint.h>

/** Most bytes of a name, without its end. */
#define CVY_OS_SHM_NAME 255

/** A file that is not to be found yet: filled in by cvy_os_shm_draft. */
struct cvy_os_shm_draft {
    int fd;
    char place[32]; /* where the system wants one to have a name; "" if it does not */
};

struct cvy_os_shm_info {
    uint64_t device, inode, size;
    bool is_memory; /* a regular file */
    bool is_marked;
    bool is_named; /* not unlinked since */
};

enum cvy_os_shm_flag {
    CVY_OS_SHM_MARKED =
        1, /* stays with a file, costs nothing, and is nothing to others */
    CVY_OS_SHM_SPARSE = 2, /* storage comes when it is touched, or SIGBUS */
};

/**
 * Make a file of `size` bytes of zeros, all of them with storage, locked shared.
 * `permissions` are those of open(2), cut by the umask; `flags` as above.
 * Returns: 0; -ENOSPC; -EFBIG over RLIMIT_FSIZE; -ENOSYS where there is no place for
 *          named memory; -EMFILE ...
 */
int cvy_os_shm_draft(uint64_t size, unsigned permissions, unsigned flags,
                     struct cvy_os_shm_draft *ret_draft);
/** Give it its name, by which it appears as a whole.
 * Returns: 0; -EEXIST; -EAGAIN the draft was cleaned away, make another. */
int cvy_os_shm_publish(struct cvy_os_shm_draft *draft, const char *name);
/** Close it; unless it was published it is gone then. */
void cvy_os_shm_drop(struct cvy_os_shm_draft *draft);

/** Open a file, without a lock.
 * Returns: the descriptor; -ENOENT; -EACCES; -ENOSYS as above; -ELOOP a symbolic link. */
int cvy_os_shm_open(const char *name, bool writable);
/** Take the lock, shared or exclusive, in exchange for the one that this open file has.
 * Returns: 0; -EAGAIN another open file's is in the way, and this one has none now. */
int cvy_os_shm_lock(int fd, bool exclusive);
/** Have no lock. */
void cvy_os_shm_unlock(int fd);
/** Another lock, always exclusive, that is beside that one; `fd` must be writable. Maps
 * do not keep it. Returns: 0; -EAGAIN. */
int cvy_os_shm_lock_name(int fd);
int cvy_os_shm_info(int fd, struct cvy_os_shm_info *ret_info);
/** Take the mark off a file that one owns. */
int cvy_os_shm_unmark(int fd);
/** Map the file, in place of what is at `at` if that is not NULL. */
int cvy_os_shm_map(int fd, uint64_t size, bool writable, void *at, void **out);
/** -ENOENT; -EPERM or -EACCES: it is another user's. */
int cvy_os_shm_unlink(const char *name);
/** Call `fn` for each name, until it does not return 0. Not async-signal-safe.
 * Returns: 0 or what `fn` did; -ENOSYS; -ENOMEM ... */
int cvy_os_shm_each(int (*fn)(void *context, const char *name), void *context);

#endif
