/* SPDX-License-Identifier: MIT */
/**
 * wait.h: how anything in the family waits.
 *
 * Every sleep is futex_waitv{word, gong, bell} for at most one slice. The kernel wakes
 * one sleeper of `bell` whenever an attached thread dies (its robust list's pending slot
 * points there); who is woken by the bell adds 1 to `gong` and wakes all who sleep on
 * it, and everybody looks again whether what they wait for is still to come. Being
 * woken by the gong is never passed on: passing it on makes storms.
 *
 * The bell only makes recovery fast. A death in the moment between the last look and the
 * sleep is not heard; then the slice ends, and the sleeper asks the kernel.
 *
 *     for (;;) {
 *         uint32_t gong = cvy_gong();       before looking, or a ring in between is lost
 *         if (what we wait for is there)
 *             return 0;
 *         if (who should bring it is dead)  cvy_slot_is_dead / cvy_member_is_dead
 *             repair;
 *         r = cvy_sleep(&word, seen, gong, deadline, ref);
 *         if (r < 0)
 *             return r;
 *         ask_kernel = r == CVY_SLICE;
 *     }
 *
 * The slice of a thread at a word goes on from one wait to the next, so who waits again and
 * again, each time for a shorter time than that, asks too; and so does who only looks, by
 * cvy_slice_is_over.
 */
#ifndef CVY_REGION_WAIT_H
#define CVY_REGION_WAIT_H

#include "region/layout.h"
#include "region/spin.h"

enum { CVY_WOKEN = 0, CVY_SLICE = 1 };

static inline uint32_t cvy_gong(void)
{
    return atomic_load_explicit(&cvy_head->gong, memory_order_acquire);
}

/**
 * Sleep while *word == expected and no death was heard since `gong`.
 * `what`: the object one waits for, for those who look at the family from outside.
 * Returns: CVY_WOKEN (look again), CVY_SLICE (look again and ask the kernel; at once if a
 *          slice is over that began with an earlier wait), -ETIMEDOUT at the deadline,
 *          -EINTR after a signal handler without SA_RESTART.
 */
int cvy_sleep(cvy_word *word, uint32_t expected, uint32_t gong, int64_t deadline,
              cvy_ref what);

/**
 * The same for several words, each with the value that it is expected to have, until any
 * of them changes. Where the system cannot do that, or not for so many, the end of each
 * short slice is CVY_SLICE.
 */
int cvy_sleep_many(const struct cvy_os_wait *words, unsigned count, uint32_t gong,
                   int64_t deadline, cvy_ref what);

/** For who does not sleep, when a look was in vain: whether to ask the kernel. */
bool cvy_slice_is_over(const cvy_word *word);

/**
 * Whether the caller, whose slice has ended, is to ask the kernel about all whom an object
 * knows. Where many sleep each of them would ask about many; one of them each half slice
 * is enough. `asked`: when somebody did, in ms, [cas]; 0 at first.
 */
bool cvy_may_ask(_Atomic uint32_t *asked);

/** Let all sleepers look again: who ends in order may be whom they wait for. */
void cvy_gong_strike(void);

/** Let the end of this thread ring the bell; libc forgets it after robust mutexes. */
void cvy_bell_arm(void);
void cvy_bell_disarm(void);

/** Whether a death is heard on this system; costs about 0.5 ms. */
bool cvy_bell_works(void);

#endif
