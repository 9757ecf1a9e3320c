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

/** clone3(2) with a stack for the child, which calls `fn(context)` there and never comes
 * back from it. Returns: the child's id; -errno. */
static inline long cvy_raw_clone_call(const void *args, size_t size,
                                      void (*fn)(void *context), void *context)
{
    register long r8 __asm__("r8") = (long)fn;
    register long r9 __asm__("r9") = (long)context;
    long r;

    __asm__ volatile("syscall\n\t"
                     "test %%rax, %%rax\n\t"
                     "jnz 1f\n\t"
                     "xor %%ebp, %%ebp\n\t" /* the end of the child's frames */
                     "mov %%r9, %%rdi\n\t"
                     "call *%%r8\n\t"
                     "hlt\n"
                     "1:"
                     : "=a"(r)
                     : "0"(SYS_clone3), "D"(args), "S"(size), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory", "cc");
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

static inline long cvy_raw_clone_call(const void *args, size_t size,
                                      void (*fn)(void *context), void *context)
{
    register long x8 __asm__("x8") = SYS_clone3;
    register long x0 __asm__("x0") = (long)args;
    register long x1 __asm__("x1") = (long)size;
    register long x2 __asm__("x2") = (long)fn;
    register long x3 __asm__("x3") = (long)context;

    __asm__ volatile("svc 0\n\t"
                     "cbnz x0, 1f\n\t"
                     "mov x29, xzr\n\t" /* the end of the child's frames */
                     "mov x0, x3\n\t"
                     "blr x2\n\t"
                     "brk 1\n"
                     "1:"
                     : "+r"(x0)
                     : "r"(x8), "r"(x1), "r"(x2), "r"(x3)
                     : "memory", "cc");
    return x0;
}

#else

static inline long cvy_raw_call5(long number, long a, long b, long c, long d, long e)
{
    long r = syscall(number, a, b, c, d, e);

    return r < 0 ? -errno : r;
}

static inline long cvy_raw_clone_call(const void *args, size_t size,
                                      void (*fn)(void *context), void *context)
{
    (void)args, (void)size, (void)fn, (void)context;
    return -ENOSYS;
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
