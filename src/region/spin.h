/* SPDX-License-Identifier: MIT */
/** spin.h: looking again for a while before a sleep. */
#ifndef CVY_REGION_SPIN_H
#define CVY_REGION_SPIN_H

#include <stdbool.h>
#include <stdint.h>

/**
 * Spin while that is cheaper than a sleep: pauses that double up to 64, then a yield
 * about every 1.6 us, no more after 50 us. Zero-initialize; false means: sleep.
 *
 * `is_handover`: for what one other process brings, soon or not: looks follow each other
 * closely, and if that was in vain the last time, which is so where there are not enough
 * processors, this thread looks for about 1 us only, but every 16th time. `is_costly`: each
 * look of that kind is a system call; others may run in between.
 *
 * `close_looks`: so many looks come before the pauses double, for what is often there within
 * a fraction of a microsecond.
 *
 * `yields_often`: after those a yield every 0.2 us instead, for who may have the processor
 * that somebody needs who does what is waited for.
 */
struct cvy_spin {
    uint32_t rounds, close_looks;
    bool is_handover, is_costly, yields_often;
    int64_t until;
};
bool cvy_spin(struct cvy_spin *spin);

/** Pause for about 1.5 us, without a look: to let the other side of a stream get ahead, so
 * that the two do not take the same cache lines from each other with every item. */
void cvy_spin_behind(void);

#endif
