/* SPDX-License-Identifier: MIT */
/* bell.c: one thread's death on purpose, to see whether the kernel tells of it.
 *
 * The thread is a bare clone: it has no libc state of its own, so it does not make the
 * program threaded in libc's eyes. It uses system calls only. */
#include <errno.h>
#include <linux/futex.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "os/faults.h"
#include "os/os.h"

#define STACK_BYTES 65536u
#define DELAY       200000 /* ns, for the other to fall asleep */

/* glibc's other name for clone: ThreadSanitizer replaces that by one that takes the new
 * thread for a fork child. */
int __clone(int (*fn)(void *arg), void *stack, int flags, void *arg, ...);

struct bell_ringer {
    struct robust_list_head list;
    struct timespec delay;
};

__attribute__((no_sanitize("address", "thread", "undefined"))) static int
ring(void *arg)
{
    struct bell_ringer *ringer = arg;
    (void)syscall(SYS_nanosleep, &ringer->delay, NULL);
    (void)syscall(SYS_set_robust_list, &ringer->list, sizeof ringer->list);
    return 0;
}

/* Wait for the kernel's word that the thread is off its stack. */
static void wait_until_gone(cvy_word *alive)
{
    for (uint32_t tid = atomic_load(alive); tid; tid = atomic_load(alive)) {
        struct cvy_os_wait wait = {alive, tid};
        (void)cvy_os_futex_waitv(&wait, 1, cvy_os_now() + COVEY_MSEC(1));
    }
}

int cvy_os_bell_rings(cvy_word *bell, int64_t deadline)
{
    static const int flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND |
                             CLONE_THREAD | CLONE_SYSVSEM | CLONE_CHILD_CLEARTID;
    cvy_word alive = 1;
    struct cvy_os_wait wait = {bell, 0};
    CVY_FAULT_POINT("clone", EAGAIN);
    char *stack = mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    if (stack == MAP_FAILED)
        return -errno;
    struct bell_ringer *ringer = (struct bell_ringer *)(void *)stack;
    ringer->list.list.next = &ringer->list.list;
    ringer->list.list_op_pending = (struct robust_list *)(uintptr_t)bell;
    ringer->delay = (struct timespec){.tv_nsec = DELAY};
    int r = __clone(ring, stack + STACK_BYTES, flags, ringer, NULL, NULL, &alive);
    if (r < 0) {
        r = -errno;
    } else {
        r = cvy_os_futex_waitv(&wait, 1, deadline) == 0;
        wait_until_gone(&alive);
    }
    munmap(stack, STACK_BYTES);
    return r;
}
