/* SPDX-License-Identifier: MIT */
/* What the tests of pools share: tasks, and arguments for them. */
#ifndef TESTS_POOL_HELP_H
#define TESTS_POOL_HELP_H

#include <signal.h>
#include <time.h>

#include "process_help.h"

#define POOL_OPTS(...) COVEY_POOL_OPTS(.method = check_method(), __VA_ARGS__)

/* From now on the end of a slice makes no forgotten wake-up good. Before all else. */
static inline void slices_never_end(void)
{
    CHECK_OK(covey_family_configure(COVEY_FAMILY_OPTS(.slice = COVEY_SEC(3600))));
}

static inline covey_pool *pool_with(size_t workers, const struct covey_pool_opts *opts)
{
    covey_pool *pool = NULL;
    threads_fork(); /* workers that come later */
    CHECK_OK(covey_pool_create(&pool, workers, opts));
    return pool;
}

static inline struct covey_view text_view(const char *text)
{
    return COVEY_VIEW(text, strlen(text));
}

static inline void check_bytes_are(const struct covey_bytes *bytes, const char *text)
{
    CHECK_EQ(bytes->size, strlen(text));
    CHECK_MEM_EQ(bytes->data, text, bytes->size);
}

/* ---- tasks ------------------------------------------------------------------- */

static inline int task_echo(struct covey_call *call)
{
    size_t size;
    const void *data = covey_call_arg(call, &size);
    return covey_call_return(call, data, size);
}

static inline int task_square(struct covey_call *call)
{
    const uint64_t *x = covey_call_arg(call, NULL);
    uint64_t y = *x * *x;
    return covey_call_return(call, &y, sizeof y);
}

static inline int task_pid(struct covey_call *call)
{
    int pid = (int)getpid();
    return covey_call_return(call, &pid, sizeof pid);
}

static inline int task_fail(struct covey_call *call)
{
    size_t size;
    const char *text = covey_call_arg(call, &size);
    return covey_call_fail(call, "no %.*s today", (int)size, text);
}

static inline int task_die(struct covey_call *call)
{
    (void)call;
    raise(SIGKILL);
    return 0;
}

/* Ends when it is asked to, or with its process. */
static inline int task_hang(struct covey_call *call)
{
    while (!covey_call_cancelled(call))
        nanosleep(&(struct timespec){0, 1000000}, NULL);
    return covey_call_fail(call, "was asked to end");
}

/* Says that it runs first. */
static inline int task_hang_told(struct covey_call *call)
{
    struct shared *const *s = covey_call_arg(call, NULL);
    family_tell(&(*s)->begun);
    return task_hang(call);
}

/* Does not end at all. */
static inline int task_block(struct covey_call *call)
{
    (void)call;
    family_pause();
}

/* Says that it runs, then waits until it is told to go on. */
static inline int task_wait(struct covey_call *call)
{
    struct shared *const *s = covey_call_arg(call, NULL);
    atomic_fetch_add(&(*s)->begun, 1);
    cvy_os_futex_wake(&(*s)->begun, 100);
    family_await(&(*s)->go, 1);
    return covey_call_return(call, "done", 4);
}

static inline void await_count(cvy_word *word, uint32_t least)
{
    struct cvy_os_wait wait = {word, 0};
    while ((wait.expected = atomic_load(word)) < least)
        (void)cvy_os_futex_waitv(&wait, 1, cvy_os_deadline(COVEY_SEC(20)));
}

#endif
