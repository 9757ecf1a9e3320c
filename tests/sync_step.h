/* SPDX-License-Identifier: MIT */
/* Locks and their kin, used by processes that run one instruction at a time. */
#ifndef TESTS_SYNC_STEP_H
#define TESTS_SYNC_STEP_H

#include "stepper.h"
#include "sync_help.h"

/* Slices are too long to help, and all processes share one processor from now on. */
static inline void begin_to_step(void)
{
    cpu_set_t before;
    if (SANITIZED || !stepper_works())
        SKIP(
            "processes may not be traced here, or a sanitizer makes ten steps of each");
    (void)stage_with_bell_only();
    CHECK_EQ(stepper_pin(&before, sizeof before), 0);
}

#endif
