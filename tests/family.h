/* SPDX-License-Identifier: MIT */
/* What the tests of the region share: a family of this test, its children, and a look at
 * its books when the test is over. */
#ifndef TESTS_FAMILY_H
#define TESTS_FAMILY_H

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "region/alloc.h"
#include "region/lock.h"
#include "region/member.h"
#include "region/object.h"
#include "region/region.h"
#include "thread_state.h"

#define MIB (UINT64_C(1) << 20)

/* How long a loop may be: the short form, or what CHECK_LONG=1 asks for. */
static inline long family_long(long normal, long at_length)
{
    const char *wanted = getenv("CHECK_LONG");
    return wanted && *wanted == '1' ? at_length : normal;
}

/* What is drawn next; not 0. */
static uint64_t random_state = 88172645463325252u;

static inline uint64_t random_below(uint64_t n)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state % n;
}

static inline bool family_is_sanitized(void)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    return true;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
    return true;
#else
    return false;
#endif
#else
    return false;
#endif
}

static inline struct covey_family_usage family_usage(void)
{
    struct covey_family_usage usage;
    CHECK_OK(covey_family_usage(&usage));
    return usage;
}

/* The tables agree with each other and nothing is left to be done. */
static inline void family_check(void)
{
    cvy_members_sweep();
    cvy_region_lock();
    const char *wrong = cvy_alloc_check();
    CHECK_STR_EQ(wrong ? wrong : "consistent", "consistent");
    CHECK_EQ(cvy_head->undo_count, 0);
    CHECK_EQ(cvy_head->graves, 0);
    CHECK_EQ(cvy_head->limbo, 0);
    cvy_region_unlock();
}

static inline int family_end(char *why, size_t size)
{
    if (!cvy_head)
        return 0;
    cvy_region_lock();
    const char *wrong = cvy_alloc_check();
    cvy_region_unlock();
    if (wrong)
        snprintf(why, size, "the region: %s", wrong);
    cvy_region_abandon();
    return wrong ? -1 : 0;
}

/* A family of this test's own, with these options. */
static inline void family_found(const struct covey_family_opts *opts)
{
    check_at_end = family_end;
    if (opts)
        CHECK_OK(covey_family_configure(opts));
    CHECK_OK(cvy_enter());
}

static inline void *family_object(uint32_t size, uint64_t body)
{
    void *object = NULL;
    cvy_ref ref = 0;
    CHECK_OK(
        cvy_object_create(CVY_KIND_TEST, size, 0, body, &object, body ? &ref : NULL));
    return object;
}

/* ---- children: forked by the program itself, so new members of their own ---- */

static inline int family_fork(void)
{
    fflush(NULL);
    int pid = fork();
    CHECK_GE(pid, 0);
    return pid;
}

static inline void family_kill(int pid)
{
    CHECK_GT(pid, 0);
    int status = 0;
    CHECK_EQ(kill(pid, SIGKILL), 0);
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK_EQ(status, SIGKILL); /* it had not ended by itself, with a failed check */
}

/* The child has to end by itself, with status 0. */
static inline void family_join(int pid)
{
    int status = 0;
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK_EQ(status, 0);
}

/* Words that this test's processes share besides the region. */
static inline void *family_shared(size_t size)
{
    void *map =
        mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(map != MAP_FAILED);
    return map;
}

static inline void family_await(cvy_word *word, uint32_t least)
{
    for (uint32_t now = atomic_load(word); now < least; now = atomic_load(word)) {
        struct cvy_os_wait wait = {word, now};
        (void)cvy_os_futex_waitv(&wait, 1, cvy_os_now() + COVEY_MSEC(100));
    }
}

static inline void family_tell(cvy_word *word)
{
    atomic_fetch_add(word, 1);
    (void)cvy_os_futex_wake(word, 1 << 20);
}

static inline _Noreturn void family_pause(void)
{
    for (;;)
        pause();
}

#endif
