/* SPDX-License-Identifier: MIT */
/*
 * A child whose parent is the caller's parent.
 *
 * fork cannot do that, and a raw clone leaves two things of glibc wrong in the child: the
 * thread id that it keeps for mutex ownership, and the registration of the robust list.
 * The kernel writes the former, given its address; the latter is done here. Locks of
 * malloc and stdio are as they were: hence only for a process with one thread.
 */
#include <errno.h>
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/base.h"
#include "os/faults.h"
#include "os/linux/linux.h"
#include "os/linux/raw.h"
#include "os/os.h"

/* Where glibc keeps this thread's id: the kernel was told, since it clears that word at
 * the thread's end. Kernels without checkpoint-restore do not tell; then it is 16 bytes
 * in front of the robust list's head, as in all versions since 2.4. Both are believed
 * only if the id is there. */
static int *find_tid_word(struct robust_list_head *head)
{
    int *word = NULL;
    int tid = cvy_os_tid();

    if (prctl(PR_GET_TID_ADDRESS, &word) == 0 && word && *word == tid)
        return word;
    word = (int *)(void *)((char *)head - 16);
    return *word == tid ? word : NULL;
}

/* clone(2) with the caller's stack, as fork. */
static inline long call_clone(unsigned long flags, int32_t *pid, int *tid_word)
{
#if defined(__aarch64__)
    return cvy_raw_call5(SYS_clone, (long)flags, 0, (long)pid, 0, (long)tid_word);
#else
    return cvy_raw_call5(SYS_clone, (long)flags, 0, (long)pid, (long)tid_word, 0);
#endif
}

CVY_CHILD_CODE int cvy_os_clone_sibling(int32_t *ret_pid)
{
    const unsigned long flags = CLONE_PARENT | CLONE_CHILD_SETTID |
                                CLONE_CHILD_CLEARTID |
                                (ret_pid ? CLONE_PARENT_SETTID : 0) | SIGCHLD;
    struct robust_list_head *head = cvy_thread_robust_head();
    int *tid_word = head ? find_tid_word(head) : NULL;
    long pid;

    CVY_FAULT_POINT("clone", EAGAIN);
    if (!tid_word)
        return -ENOTSUP;
    pid = call_clone(flags, ret_pid, tid_word);
    if (pid == 0) { /* robust mutexes that the caller holds are not the child's */
        head->list.next = &head->list;
        (void)cvy_raw_call(SYS_set_robust_list, (long)head, sizeof(*head), 0);
    }
    return (int)pid;
}
