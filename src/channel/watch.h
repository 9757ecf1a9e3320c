/* SPDX-License-Identifier: MIT */
/**
 * channel/watch.h: descriptors that event loops poll, for what processes wait for by
 * futexes: messages in queues and pipes.
 */
#ifndef CVY_CHANNEL_WATCH_H
#define CVY_CHANNEL_WATCH_H

#include "base/base.h"
#include "region/layout.h"

/** Whether there is something to be had of `object`, or never will be. */
typedef bool cvy_watch_look_fn(void *object);

/** The descriptor of `object`, made at the first call in this process: it polls readable
 * while `is_ready` says so. `items` changes as by cvy_waiters_wake when it may be.
 * Returns: 0; -EMFILE, -EAGAIN, -ENOMEM, without a detail. */
int cvy_watch_fd(void *object, cvy_word *items, cvy_watch_look_fn *is_ready,
                 int *ret_fd);

/** How many objects of this process have one. */
extern _Atomic uint32_t cvy_watches;
void cvy_watch_look(const void *object);
/** After something was taken, or looked for in vain. */
static inline void cvy_watch_taken(const void *object)
{
    if (cvy_unlikely(atomic_load_explicit(&cvy_watches, memory_order_relaxed)))
        cvy_watch_look(object);
}
/** Close the descriptor, if there is one, before this process gives the object up. */
void cvy_watch_end(const void *object);
/** Drop a hold of this process; with the last one the descriptor goes, before. Returns: as
 * cvy_object_release. */
int cvy_watch_release(void *object);

#endif
