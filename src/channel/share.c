/* SPDX-License-Identifier: MIT */
/* share.c: what the processes that have a stream share of it: who holds that.
 *
 * Its locks, and the header of a message that has begun to come, lie in an object of the
 * family. Children that covey starts hold what their starter does. A process that the
 * program forked by itself has the address only, so it takes a hold when it first uses the
 * stream. If nobody had one any more it makes the state anew, by the stream's serial, so
 * that others who come from the same parent find it. */
#include <errno.h>
#include <pthread.h>

#include "channel/conn.h"
#include "os/fork.h"
#include "region/member.h"

/* Threads of a process that use an inherited connection first. */
static pthread_mutex_t sharing = PTHREAD_MUTEX_INITIALIZER;

__attribute__((constructor)) static void guard_forks(void)
{
    static struct cvy_os_fork_guard guard = {.mutex = &sharing};
    cvy_os_guard_forks(&guard);
}

/* Whether its state lives, and its memory is not that of another one's. */
static bool has_state(const struct cvy_stream *s)
{
    return s->state &&
           atomic_load_explicit(&s->state->object.kind, memory_order_acquire) ==
               CVY_KIND_STREAM &&
           atomic_load(&s->state->serial) == s->serial;
}

/* Hold the state that there is. Returns: 0; COVEY_EFREED: there is none any more. */
static int hold_state(const struct cvy_stream *s)
{
    if (!has_state(s))
        return COVEY_EFREED;
    if (cvy_object_who_holds(s->state) & CVY_HELD_BY_ME)
        return 0;
    int r = cvy_object_hold(s->state, cvy_member_owner(), "a connection");
    if (r < 0 || has_state(s))
        return r;
    (void)cvy_object_release(s->state);
    return COVEY_EFREED;
}

/* Of this process, which no other one has at the same time, and of a stream in it. */
static uint64_t new_serial(void)
{
    static _Atomic uint32_t count;
    return (uint64_t)cvy_member_owner() << 32 | atomic_fetch_add(&count, 1);
}

/* Make a state; or, for a stream that had one, hold that of another who has made it. */
static int make_state(struct cvy_stream *s)
{
    void *made = NULL, *shared = NULL;
    int r = cvy_object_create(CVY_KIND_STREAM, sizeof(struct cvy_stream_state), 0, 0,
                              &made, NULL);
    if (r < 0)
        return r;
    if (s->state) {
        r = cvy_object_join(made, offsetof(struct cvy_stream_state, serial), s->serial,
                            &shared);
        if (r < 0 || shared != made)
            (void)cvy_object_release(made);
        if (r >= 0)
            s->state = shared;
        return r;
    }
    s->state = made;
    s->serial = new_serial();
    atomic_store(&s->state->serial, s->serial);
    return 0;
}

/* mutex held. */
static int share(struct cvy_stream *s)
{
    if (atomic_load(&s->sharer) == cvy_member_owner())
        return 0;
    int r = hold_state(s);
    if (r == COVEY_EFREED || r == -EINVAL)
        r = make_state(s);
    if (r >= 0)
        atomic_store_explicit(&s->sharer, cvy_member_owner(), memory_order_release);
    return r;
}

int cvy_stream_share(struct cvy_stream *s)
{
    if (cvy_likely(atomic_load_explicit(&s->sharer, memory_order_acquire) ==
                   cvy_member_owner()))
        return 0;
    (void)pthread_mutex_lock(&sharing);
    int r = share(s);
    (void)pthread_mutex_unlock(&sharing);
    return r;
}

void cvy_stream_leave(struct cvy_stream *s)
{
    if (has_state(s))
        (void)cvy_object_release(s->state);
    s->state = NULL;
    atomic_store(&s->sharer, 0);
}
