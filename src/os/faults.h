/* SPDX-License-Identifier: MIT */
/**
 * os/faults.h: making system calls fail, in builds with CVY_FAULTS.
 *
 * Calls of os.h that can fail for want of something are fault points and are counted, all
 * together, per process; a fork child inherits the count. Waiting for a futex, a
 * descriptor or a child is none: how often that happens depends on timing, and a test
 * that goes through n = 1, 2, 3... wants the same calls each time.
 *
 * A child by exec starts with what COVEY_FAULT=nth:errno says (errno 0: the call's own).
 */
#ifndef CVY_OS_FAULTS_H
#define CVY_OS_FAULTS_H

#ifdef CVY_FAULTS

#include <stdbool.h>

/** Let the `nth` call from now on fail, once, with `error`; 0: what is typical of that
 * call. An `nth` of 0 disarms and goes on counting from 0. */
void cvy_faults_arm(long nth, int error);
/** Calls seen since arming. */
long cvy_faults_count(void);
/** The call that failed; NULL if none did since arming. */
const char *cvy_faults_last(void);

/** Whether this call is the one; `*error` is the typical errno, and receives the one to
 * fail with. */
bool cvy_faults_hit(const char *call, int *error);

#define CVY_FAULT_POINT(call, typical_error)                                           \
    do {                                                                               \
        int fault_error_ = (typical_error);                                            \
        if (cvy_faults_hit(call, &fault_error_))                                       \
            return -fault_error_;                                                      \
    } while (0)

#else

#define CVY_FAULT_POINT(call, typical_error) ((void)0)

#endif

#endif
