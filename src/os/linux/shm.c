/* SPDX-License-Identifier: MIT */
/*
 * Named memory: files of /dev/shm, where shm_open(3) of every libc has them.
 *
 * A file is made without a name and linked when it is complete, so nobody ever finds one
 * that has no size, no storage or no lock, and a maker that is killed leaves nothing.
 * Where that cannot be (no O_TMPFILE, no /proc) it is made by a hidden name and renamed.
 *
 * The mark is the sticky bit, which Linux gives no meaning for files. Unlike an extended
 * attribute (which such files have since Linux 6.6) it is there from the first instant.
 */
#include "os/shm.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/base.h"
#include "os/faults.h"
#include "os/linux/calls.h"
#include "os/linux/linux.h"
#include "os/os.h"

#define FOLDER "/dev/shm"
#define HIDDEN ".covey-"
#define MARK   S_ISVTX

/* Storage is reserved in pieces: a signal undoes the one that is under way. */
#define PIECE ((uint64_t)1 << 20)

#ifndef RENAME_NOREPLACE
#define RENAME_NOREPLACE 1
#endif

struct path {
    char text[sizeof(FOLDER) + 1 + CVY_OS_SHM_NAME];
};

static struct path path_of(const char *name)
{
    struct path path = {FOLDER "/"};

    strncat(path.text, name, CVY_OS_SHM_NAME);
    return path;
}

/* Without O_CREAT `mode` does not matter. */
static int open_mode(const char *path, int flags, unsigned mode)
{
    return cvy_fd_above_std((int)syscall(
        SYS_openat, AT_FDCWD, path, flags | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, mode));
}

/* -ENOENT means two things. */
static int missing(int error)
{
    struct stat info;

    return error == ENOENT && stat(FOLDER, &info) < 0 ? -ENOSYS : -error;
}

/* ---- making one ------------------------------------------------------------------ */

/* Where the file system reserves nothing: by writing. */
static int fill(int fd, uint64_t size)
{
    static const char zeros[4096];

    for (uint64_t at = 0; at < size;) {
        ssize_t r =
            syscall(SYS_pwrite64, fd, zeros, cvy_min_u64(sizeof(zeros), size - at), at);

        if (r < 0 && errno != EINTR)
            return -errno;
        at += r > 0 ? (uint64_t)r : 0;
    }
    return 0;
}

static int reserve(int fd, uint64_t size)
{
    uint64_t at = 0;

    CVY_FAULT_POINT("fallocate", ENOSPC);
    while (at < size) {
        uint64_t piece = cvy_min_u64(PIECE, size - at);

        if (syscall(SYS_fallocate, fd, 0, at, piece) == 0)
            at += piece;
        else if (errno == EOPNOTSUPP)
            return fill(fd, size);
        else if (errno != EINTR)
            return -errno;
    }
    return 0;
}

static int set_size(int fd, uint64_t size, unsigned flags)
{
    if (!(flags & CVY_OS_SHM_SPARSE))
        return reserve(fd, size);
    CVY_FAULT_POINT("ftruncate", ENOSPC);
    return ftruncate(fd, (off_t)size) < 0 ? -errno : 0;
}

/* Files without a name cannot be linked here. */
static _Atomic bool needs_hidden;

/* Returns: a descriptor. -EEXIST has one chance in 2^64. */
static int open_hidden(char place[32], unsigned mode)
{
    unsigned long long number;
    struct path path;
    int r = cvy_os_random(&number, sizeof(number));

    if (r < 0)
        return r;
    snprintf(place, 32, HIDDEN "%016llx", number);
    path = path_of(place);
    r = open_mode(path.text, O_CREAT | O_EXCL | O_RDWR, mode);
    return r < 0 ? missing(errno) : r;
}

static int open_draft(char place[32], unsigned mode)
{
    int fd;

    CVY_FAULT_POINT("open(O_TMPFILE)", EMFILE);
    place[0] = 0;
    if (atomic_load(&needs_hidden))
        return open_hidden(place, mode);
    /* Not O_NOFOLLOW: the folder may be a symbolic link. */
    fd = (int)syscall(SYS_openat, AT_FDCWD, FOLDER, O_TMPFILE | O_RDWR | O_CLOEXEC,
                      mode);
    fd = cvy_fd_above_std(fd);
    if (fd >= 0)
        return fd;
    if (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL)
        return missing(errno);
    return open_hidden(place, mode);
}

int cvy_os_shm_draft(uint64_t size, unsigned permissions, unsigned flags,
                     struct cvy_os_shm_draft *ret_draft)
{
    struct cvy_os_shm_draft draft;
    int r;

    if (!cvy_size_is_allowed(size))
        return -EFBIG;
    draft.fd =
        open_draft(draft.place, permissions | (flags & CVY_OS_SHM_MARKED ? MARK : 0));
    if (draft.fd < 0)
        return draft.fd;
    r = cvy_os_shm_lock(draft.fd, false);
    if (r == 0)
        r = set_size(draft.fd, size, flags);
    if (r < 0)
        cvy_os_shm_drop(&draft);
    else
        *ret_draft = draft;
    return r;
}

/* Link a file that has no name. By the descriptor alone it is a matter of privileges, or
 * of Linux 6.10; by /proc of there being one. */
static int link_draft(int fd, const char *path)
{
    char by_number[CVY_PROC_PATH_SIZE];

    if (linkat(fd, "", AT_FDCWD, path, AT_EMPTY_PATH) == 0)
        return 0;
    if (errno == ENOENT || errno == EPERM) {
        cvy_proc_path(by_number, "/proc/self/fd/", fd, "");
        if (linkat(AT_FDCWD, by_number, AT_FDCWD, path, AT_SYMLINK_FOLLOW) == 0)
            return 0;
    }
    if (errno != ENOENT && errno != EPERM && errno != EACCES && errno != ENOSYS)
        return -errno;
    atomic_store(&needs_hidden, true);
    return -EAGAIN;
}

int cvy_os_shm_publish(struct cvy_os_shm_draft *draft, const char *name)
{
    struct path to = path_of(name), from;

    CVY_FAULT_POINT("linkat", ENOSPC);
    if (!draft->place[0])
        return link_draft(draft->fd, to.text);
    from = path_of(draft->place);
    if (syscall(SYS_renameat2, AT_FDCWD, from.text, AT_FDCWD, to.text,
                RENAME_NOREPLACE) < 0)
        return errno == ENOENT ? -EAGAIN : -errno;
    draft->place[0] = 0;
    return 0;
}

void cvy_os_shm_drop(struct cvy_os_shm_draft *draft)
{
    struct path path;

    if (draft->place[0]) {
        path = path_of(draft->place);
        unlink(path.text);
        draft->place[0] = 0;
    }
    draft->fd = cvy_os_close(draft->fd);
}

/* ---- using one ------------------------------------------------------------------- */

int cvy_os_shm_open(const char *name, bool writable)
{
    struct path path = path_of(name);
    int fd;

    CVY_FAULT_POINT("open", EMFILE);
    fd = open_mode(path.text, writable ? O_RDWR : O_RDONLY, 0);
    return fd < 0 ? missing(errno) : fd;
}

int cvy_os_shm_lock(int fd, bool exclusive)
{
    int r;

    CVY_FAULT_POINT("flock", ENOLCK);
    do {
        r = flock(fd, (exclusive ? LOCK_EX : LOCK_SH) | LOCK_NB);
    } while (r < 0 && errno == EINTR);
    return r < 0 ? -errno : 0; /* EWOULDBLOCK is EAGAIN */
}

void cvy_os_shm_unlock(int fd)
{
    flock(fd, LOCK_UN);
}

int cvy_os_shm_lock_name(int fd)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 1};

    CVY_FAULT_POINT("fcntl(F_OFD_SETLK)", ENOLCK);
    if (fcntl(fd, F_OFD_SETLK, &lock) == 0)
        return 0;
    return errno == EACCES ? -EAGAIN : -errno;
}

int cvy_os_shm_info(int fd, struct cvy_os_shm_info *ret_info)
{
    struct stat info;

    CVY_FAULT_POINT("fstat", ENOMEM);
    if (fstat(fd, &info) < 0)
        return -errno;
    *ret_info = (struct cvy_os_shm_info){
        .device = info.st_dev,
        .inode = info.st_ino,
        .size = (uint64_t)info.st_size,
        .is_memory = S_ISREG(info.st_mode),
        .is_marked = (info.st_mode & MARK) != 0,
        .is_named = info.st_nlink > 0,
    };
    return 0;
}

int cvy_os_shm_unmark(int fd)
{
    struct stat info;

    CVY_FAULT_POINT("fchmod", EPERM);
    if (fstat(fd, &info) < 0 || fchmod(fd, info.st_mode & 0777) < 0)
        return -errno;
    return 0;
}

int cvy_os_shm_map(int fd, uint64_t size, bool writable, void *at, void **out)
{
    void *got;

    CVY_FAULT_POINT("mmap", ENOMEM);
    got = mmap(at, size, PROT_READ | (writable ? PROT_WRITE : 0),
               MAP_SHARED | (at ? MAP_FIXED : 0), fd, 0);
    if (got == MAP_FAILED)
        return -errno;
    *out = got;
    return 0;
}

int cvy_os_shm_unlink(const char *name)
{
    struct path path = path_of(name);

    CVY_FAULT_POINT("unlink", EACCES);
    return unlink(path.text) < 0 ? missing(errno) : 0;
}

static int each_entry(int (*fn)(void *context, const char *name), void *context)
{
    DIR *folder = opendir(FOLDER);
    struct dirent *entry;
    int r = 0;

    if (!folder)
        return missing(errno);
    while (r == 0 && (entry = readdir(folder))) {
        if (entry->d_type == DT_REG || entry->d_type == DT_UNKNOWN)
            r = fn(context, entry->d_name);
    }
    closedir(folder);
    return r;
}

int cvy_os_shm_each(int (*fn)(void *context, const char *name), void *context)
{
    int cancel, r;

    CVY_FAULT_POINT("opendir", EMFILE);
    cancel = cvy_os_disable_cancel();
    r = each_entry(fn, context);
    cvy_os_restore_cancel(cancel);
    return r;
}
