/* SPDX-License-Identifier: MIT */
/** manager/reconnect.h: how long a client tries to reach a manager that is not there, and
 * what it may send a second time. */
#ifndef CVY_MANAGER_RECONNECT_H
#define CVY_MANAGER_RECONNECT_H

#include "manager/client.h"

/** What one call does to reach its manager. */
struct cvy_patience {
    int64_t deadline; /* of the call */
    int64_t until;    /* no try begins later; 0: none has failed yet */
    int64_t pause;    /* the longest before the next try */
};

/**
 * A try to reach the manager has ended by `r`. Returns: 0: it is worth another one; else
 * what to give up with: `r`, or -ETIMEDOUT if the call's time is over.
 * Blocks: for a pause.
 */
int cvy_patience_pause(struct cvy_patience *patience, const struct covey_manager *m,
                       int r) COVEY_MUST_CHECK;

/** Whether a text is what `.repeat` may be: names such as "dict.get", "*.read". */
bool cvy_repeat_is_valid(const char *text);
/** Whether `.repeat` names this method: it may run a second time. */
bool cvy_repeat_has(const struct covey_manager *m, const char *type_id,
                    const char *method);
/** Whether a request to the manager itself only looks. */
bool cvy_request_only_looks(const char *method);

/** What a call that was answered does to the number of locks and permits that are held:
 * 1, -1, 0. */
int cvy_reply_locks(const struct covey_reply *reply);

#endif
