/* SPDX-License-Identifier: MIT */
/*
 * Memory that processes share, as a sealed memfd, and one private page for fork.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/base.h"
#include "os/faults.h"
#include "os/linux/calls.h"
#include "os/linux/linux.h"
#include "os/os.h"

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U
#endif
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

bool cvy_size_is_allowed(uint64_t size)
{
    struct rlimit limit;

    return size <= INT64_MAX &&
           (getrlimit(RLIMIT_FSIZE, &limit) < 0 || limit.rlim_cur == RLIM_INFINITY ||
            size <= limit.rlim_cur);
}

int cvy_os_memfd_create(const char *name, uint64_t size)
{
    const unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
    int fd, error;

    CVY_FAULT_POINT("memfd_create", EMFILE);
    if (!cvy_size_is_allowed(size))
        return -EFBIG;
    fd = memfd_create(name, flags | MFD_NOEXEC_SEAL);
    if (fd < 0 && errno == EINVAL) /* before Linux 6.3 */
        fd = memfd_create(name, flags);
    fd = cvy_fd_above_std(fd);
    if (fd < 0)
        return -errno;
    if (ftruncate(fd, (off_t)size) == 0 &&
        fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0)
        return fd;
    error = errno;
    cvy_call_close(fd);
    return -error;
}

int cvy_os_map_at(void *address, uint64_t size, int fd, bool in_core_dumps)
{
    void *got;

    CVY_FAULT_POINT("mmap", ENOMEM);
    /* Not by mmap(): ThreadSanitizer's makes another address of one that it does not want,
     * address 0 for root, and then ends the program. */
    got = (void *)syscall(SYS_mmap, address, size, PROT_READ | PROT_WRITE,
                          MAP_SHARED | MAP_NORESERVE | MAP_FIXED_NOREPLACE, fd, 0L);
    if (got == MAP_FAILED)
        return -errno;
    if (got != address) { /* the flag was taken for a mere wish */
        munmap(got, size);
        return -EEXIST;
    }
    if (!in_core_dumps)
        madvise(address, size, MADV_DONTDUMP);
    return 0;
}

int cvy_os_unmap(void *address, uint64_t size)
{
    return munmap(address, size) < 0 ? -errno : 0;
}

static int advise(void *address, uint64_t size, int advice)
{
    int r;

    do {
        r = madvise(address, size, advice);
    } while (r < 0 && errno == EINTR);
    return r < 0 ? -errno : 0;
}

int cvy_os_punch(void *address, uint64_t size)
{
    CVY_FAULT_POINT("madvise(MADV_REMOVE)", ENOMEM);
    return advise(address, size, MADV_REMOVE);
}

int cvy_os_populate(void *address, uint64_t size)
{
    CVY_FAULT_POINT("madvise(MADV_POPULATE_WRITE)", ENOMEM);
    return advise(address, size, MADV_POPULATE_WRITE);
}

int cvy_os_map_common(uint64_t size, void **out)
{
    void *got;

    CVY_FAULT_POINT("mmap", ENOMEM);
    got = mmap(NULL, size, PROT_READ | PROT_WRITE,
               MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (got == MAP_FAILED)
        return -errno;
    *out = got;
    return 0;
}

int cvy_os_wipe_page(void **out)
{
    size_t size = cvy_os_page_size();
    void *page;

    CVY_FAULT_POINT("madvise(MADV_WIPEONFORK)", ENOMEM);
    page = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED)
        return -errno;
    if (madvise(page, size, MADV_WIPEONFORK) < 0) {
        munmap(page, size);
        return -ENOSYS;
    }
    *out = page;
    return 0;
}

int cvy_os_file_id(int fd, struct cvy_os_file_id *ret_id)
{
    struct stat info;

    if (fstat(fd, &info) < 0)
        return -errno;
    *ret_id = (struct cvy_os_file_id){
        .device = info.st_dev,
        .inode = info.st_ino,
        .resident = (uint64_t)info.st_blocks * 512,
    };
    return 0;
}

uint64_t cvy_os_page_size(void)
{
    return (uint64_t)sysconf(_SC_PAGESIZE);
}
