/* SPDX-License-Identifier: MIT */
/**
 * covey/family.h: a look at a family: its processes, what they share, who has it and who
 * waits for it. Of one's own family, or from outside of another's, by the pid of any of
 * its processes. Looking changes nothing and takes no lock, so it works when all others
 * are stuck; what changes meanwhile may be seen half.
 *
 * The defaults of covey/base.h hold.
 */
#ifndef COVEY_FAMILY_H
#define COVEY_FAMILY_H

#include <covey/base.h>

#ifdef __cplusplus
extern "C" {
#endif

/** A process of a family. */
struct covey_family_member {
    char name[60];
    char state[12];   /**< "starting", "running", "ended" or "dead" */
    int pid;          /**< 0 while it is not known */
    int starter;      /**< the pid of the process that started it, 0: none or gone */
    unsigned threads; /**< that use covey */
};

/** A thread of a family that has used covey. */
struct covey_family_thread {
    int tid;
    int pid;
    /** the object's address in the family, NULL: it does not wait */
    const void *waits_for;
    covey_nsec waiting; /**< for how long it has waited */
};

/** An object that a family shares. */
struct covey_family_object {
    const void *address; /**< in the family */
    char kind[20];       /**< "lock", "queue", "process" ... */
    char name[64];       /**< as given by `.name`, else "" */
    char state[160];  /**< e.g. "had by Process-1 (pid 12)", "3 messages, 96 bytes" */
    unsigned holders; /**< holds of all processes */
    unsigned waiting; /**< threads that wait for it */
    uint64_t bytes;   /**< of shared memory */
};

/** A family at one moment. */
struct covey_family_snapshot {
    const struct covey_family_member *members;
    size_t member_count;
    const struct covey_family_thread *threads;
    size_t thread_count;
    const struct covey_family_object *objects;
    size_t object_count;
    uint64_t used;   /**< bytes allocated in shared memory */
    uint64_t budget; /**< most of them */
    uint64_t deaths; /**< members that ended without saying so */
};

/**
 * Look at a family.
 *
 * `pid`:    of any of its processes; 0: the caller's own family.
 * Returns:  0; -ESRCH if there is no such process, or it is in no family; -EACCES if this
 *           user may not look at it; -EPERM if it has closed all descriptors, and this
 *           process lacks CAP_CHECKPOINT_RESTORE; -EPROTO if its covey is of another
 *           version; -ENOMEM.
 * Owner:    the snapshot is the caller's, for covey_family_snapshot_free.
 */
COVEY_API int
covey_family_snapshot(int pid, struct covey_family_snapshot **out) COVEY_MUST_CHECK;

/** Free a snapshot; NULL is fine. */
COVEY_API void covey_family_snapshot_free(struct covey_family_snapshot *snapshot);

/**
 * Look at a family and write down what is seen, line by line, for people.
 *
 * `pid`:    as for covey_family_snapshot.
 * Returns:  as covey_family_snapshot. `ret_text` ends with a NUL that its size omits.
 */
COVEY_API int covey_family_describe(int pid, struct covey_bytes *ret_text);

#ifdef __cplusplus
}
#endif

#endif
