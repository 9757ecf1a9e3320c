/* SPDX-License-Identifier: MIT */
/* What the tests of the system contract share. */
#ifndef OS_HELP_H
#define OS_HELP_H

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "base/base.h"
#include "check.h"
#include "os/os.h"
#include "thread_state.h"

/* Words that children share with the test. */
struct shared {
    cvy_word object, gong, bell, ready, result;
};

static inline struct shared *share(void)
{
    void *memory = mmap(NULL, sizeof(struct shared), PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    CHECK(memory != MAP_FAILED);
    /* It asks the kernel once, by a wait that ends at once: in a child, that could be
     * taken for the sleep that await_sleep() is for. */
    (void)cvy_os_has_waitv();
    return memory;
}

static inline void raise_word(cvy_word *word)
{
    atomic_fetch_add(word, 1);
    cvy_os_futex_wake(word, INT32_MAX);
}

static inline void await_word(cvy_word *word, uint32_t value)
{
    for (uint32_t now = atomic_load(word); now < value; now = atomic_load(word))
        cvy_os_futex_waitv(&(struct cvy_os_wait){word, now}, 1, INT64_MAX);
}

static inline int reap(pid_t pid)
{
    int status;

    CHECK_EQ(waitpid(pid, &status, 0), pid);
    return status;
}

/* From now on, system call `number` gives `error` in this process. */
static inline void deny(long number, int error)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)number, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned)error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {CVY_ARRAY_SIZE(code), code};

    CHECK_EQ(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    CHECK_EQ(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
}

#endif
