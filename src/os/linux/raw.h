/* SPDX-License-Identifier: MIT */
/**
 * os/linux/raw.h: system calls without libc, for what a fresh child does on its way to its
 * target: there each part of libc that is touched first costs a page fault of 2 us, and
 * even asking for errno is one. They return -errno.
 */
#ifndef CVY_OS_LINUX_RAW_H
#define CVY_OS_LINUX_RAW_H

#include <errno.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__x86_64__) && defined(__LP64__)

static inline long cvy_raw_call5(long number, long a, long b, long c, long d, long e)
{
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    long r;

    __asm__ volatile("syscall"
                     : "=a"(r)
                     : "0"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8)
                     : "rcx", "r11", "memory");
    return r;
}

#elif defined(__aarch64__) && defined(__LP64__)

static inline long cvy_raw_call5(long number, long a, long b, long c, long d, long e)
{
    register long x8 __asm__("x8") = number;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    register long x3 __asm__("x3") = d;
    register long x4 __asm__("x4") = e;

    __asm__ volatile("svc 0"
                     : "+r"(x0)
                     : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4)
                     : "memory", "cc");
    return x0;
}

#else

static inline long cvy_raw_call5(long number, long a, long b, long c, long d, long e)
{
    long r = syscall(number, a, b, c, d, e);

    return r < 0 ? -errno : r;
}

#endif

static inline long cvy_raw_call(long number, long a, long b, long c)
{
    return cvy_raw_call5(number, a, b, c, 0, 0);
}

/** fstat; where the kernel's struct is not libc's, by libc. */
static inline int cvy_raw_fstat(int fd, struct stat *ret_info)
{
#if (defined(__x86_64__) || defined(__aarch64__)) && defined(__LP64__)
    return (int)cvy_raw_call(SYS_fstat, fd, (long)ret_info, 0);
#else
    return fstat(fd, ret_info) < 0 ? -errno : 0;
#endif
}

#endif
