/* SPDX-License-Identifier: MIT */
/* What the tests of locks, semaphores and their kind share: a stage that a test and its
 * processes see at one address, and knowing that somebody sleeps on an object. */
#ifndef TESTS_SYNC_HELP_H
#define TESTS_SYNC_HELP_H

#include <pthread.h>

#include "process_help.h"
#include "region/slot.h"
#include "region/wait.h"

struct stage {
    cvy_word begun, go, told, ended;
    void *object, *other;
    _Atomic int64_t counter;
    int32_t numbers[32];
    char text[512];
};

static inline struct stage *stage_made(void)
{
    void *object = NULL;
    cvy_ref body = 0;
    CHECK(cvy_self() != NULL); /* founds the family */
    CHECK_OK(cvy_object_create(CVY_KIND_TEST, sizeof(struct cvy_object), 0,
                               sizeof(struct stage), &object, &body));
    struct stage *s = cvy_at(body);
    CHECK(s != NULL);
    memset(s, 0, sizeof *s);
    return s;
}

/* In a family whose slices are too long to help, so that what dies must be heard. */
static inline struct stage *stage_with_bell_only(void)
{
    CHECK_OK(covey_family_configure(COVEY_FAMILY_OPTS(.slice = COVEY_SEC(100))));
    struct stage *s = stage_made();
    if (cvy_head->flags & CVY_HEAD_NO_WAITV)
        SKIP("no futex_waitv, deaths are found by slices only");
    return s;
}

static inline struct stage *stage_of(struct covey_view arg)
{
    CHECK_GE(arg.size, sizeof(struct stage *));
    return *(struct stage *const *)arg.data;
}

static inline covey_process *acting(covey_target_fn *fn, struct stage *s)
{
    return started(fn, COVEY_VIEW_OF(s), OPTS());
}

static inline int act_alone(covey_target_fn *fn, struct stage *s)
{
    return run(fn, COVEY_VIEW_OF(s), OPTS());
}

static inline void kill_and_free(covey_process *p)
{
    CHECK_OK(covey_process_kill(p));
    CHECK_EQ(end_of(p), -SIGKILL);
}

static inline bool is_thread_run(void)
{
    return check_method() == COVEY_THREAD;
}

/* ---- who sleeps ---- */

/* How many threads sleep, in the kernel, on the object. */
static inline unsigned sleepers(const void *object)
{
    unsigned count = 0;
    for (uint32_t i = 0; i < atomic_load(&cvy_head->slot_high); i++) {
        struct cvy_slot *slot = cvy_slot_at(i);
        if (atomic_load(&slot->waits_for) == cvy_ref_of(object) &&
            !cvy_slot_is_dead(cvy_slot_owner(i), false))
            count += state_of_thread((int)(uint32_t)atomic_load(&slot->word)) == 'S';
    }
    return count;
}

static inline void await_sleepers(const void *object, unsigned n)
{
    while (sleepers(object) != n)
        cvy_os_yield();
}

/* ---- texts ---- */

/* `repr` of an object has written `text`. */
#define CHECK_REPR(noun, object, ...)                                                  \
    do {                                                                               \
        struct covey_bytes repr_ = {0};                                                \
        CHECK_OK(covey_##noun##_repr((object), &repr_));                               \
        CHECK_EQ(strlen(repr_.data), repr_.size);                                      \
        check_text(repr_.data, __VA_ARGS__);                                           \
        covey_bytes_free(&repr_);                                                      \
    } while (0)

/* ---- threads of this process ---- */

static inline pthread_t thread_of(void *(*fn)(void *), void *arg)
{
    pthread_t thread;
    CHECK_EQ(pthread_create(&thread, NULL, fn, arg), 0);
    return thread;
}

static inline void run_thread(void *(*fn)(void *), void *arg)
{
    CHECK_EQ(pthread_join(thread_of(fn, arg), NULL), 0);
}

#endif
