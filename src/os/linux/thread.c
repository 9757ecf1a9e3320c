/* SPDX-License-Identifier: MIT */
/*
 * Threads: their ids, and the bell that rings when one dies.
 *
 * When a thread ends the kernel looks at its robust list's pending slot, where libc notes
 * the mutex it is just working on. If the futex word found from there has no owner (its
 * low 30 bits are 0), the kernel takes it for one being unlocked and wakes one sleeper.
 * So the slot points to the bell: slot + futex_offset == bell. libc clears the slot after
 * each operation on a robust mutex, hence re-arming.
 *
 * The list's head is found once per thread. A fork child's one thread is a copy of the
 * forking one, with its list at the same address, and libc (or cvy_os_clone_sibling)
 * registers it anew: what is remembered here stays right.
 */
#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/base.h"
#include "os/faults.h"
#include "os/linux/linux.h"
#include "os/linux/raw.h"
#include "os/os.h"

_Thread_local struct cvy_os_bell cvy_os_bell __attribute__((tls_model("initial-exec")));

int cvy_os_disable_cancel(void)
{
    int old = PTHREAD_CANCEL_ENABLE;

    (void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &old);
    return old;
}

void cvy_os_restore_cancel(int old)
{
    (void)pthread_setcancelstate(old, &old);
}

int cvy_os_tid(void)
{
    return (int)cvy_raw_call(SYS_gettid, 0, 0, 0);
}

CVY_CHILD_CODE int cvy_os_pid(void)
{
    return (int)cvy_raw_call(SYS_getpid, 0, 0, 0);
}

CVY_CHILD_CODE int cvy_os_ppid(void)
{
    return (int)cvy_raw_call(SYS_getppid, 0, 0, 0);
}

struct robust_list_head *cvy_thread_robust_head(void)
{
    struct robust_list_head *head = NULL;
    size_t size = 0;

    if (syscall(SYS_get_robust_list, 0, &head, &size) < 0 || size != sizeof(*head))
        return NULL;
    return head;
}

int cvy_os_arm_bell(cvy_word *bell)
{
    struct robust_list_head *head;

    if (!cvy_os_bell.slot) {
        head = cvy_thread_robust_head();
        if (!head)
            return -ENOTSUP;
        cvy_os_bell.offset = head->futex_offset;
        cvy_os_bell.slot = (void *volatile *)&head->list_op_pending;
    }
    cvy_os_bell.pending =
        bell ? (void *)((intptr_t)bell - (intptr_t)cvy_os_bell.offset) : NULL;
    *cvy_os_bell.slot = cvy_os_bell.pending;
    return 0;
}

void cvy_os_set_comm(const char *name)
{
    prctl(PR_SET_NAME, name);
}

#ifdef __SANITIZE_ADDRESS__
/* A thread that comes up takes memory for the sanitizer, whose allocator's locks stay
 * taken in a child that is forked meanwhile. So it is awaited. */
struct coming_up {
    void *(*fn)(void *);
    void *arg;
    sem_t is_up;
};

static void *come_up(void *arg)
{
    struct coming_up *c = arg;
    void *(*fn)(void *) = c->fn;

    arg = c->arg;
    sem_post(&c->is_up);
    return fn(arg);
}

static int create_thread(pthread_t *out, void *(*fn)(void *), void *arg)
{
    struct coming_up c = {.fn = fn, .arg = arg};
    int r;

    sem_init(&c.is_up, 0, 0);
    r = pthread_create(out, NULL, come_up, &c);
    while (r == 0 && sem_wait(&c.is_up) < 0)
        ;
    return r;
}
#else
static int create_thread(pthread_t *out, void *(*fn)(void *), void *arg)
{
    return pthread_create(out, NULL, fn, arg);
}
#endif

int cvy_os_run_aside(void *(*fn)(void *), void *arg)
{
    sigset_t all, old;
    pthread_t thread;
    int r;

    CVY_FAULT_POINT("pthread_create", EAGAIN);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old); /* which the thread inherits */
    r = create_thread(&thread, fn, arg);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (r == 0)
        pthread_detach(thread);
    return -r;
}
