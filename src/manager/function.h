/* SPDX-License-Identifier: MIT */
/**
 * manager/function.h: functions that a program has registered by the names that Python's
 * functions have in pickles, and how workers of a pool call them.
 */
#ifndef CVY_MANAGER_FUNCTION_H
#define CVY_MANAGER_FUNCTION_H

#include "manager/class.h"

#include <covey/manager.h>
#include <covey/pool.h>

struct cvy_function {
    struct cvy_function *next;
    char *name; /* "math.sqrt" */
    covey_function_fn *fn;
    covey_value *code; /* where it lies, for workers */
};

/** Add what the program has registered to a list, which the caller owns. */
int cvy_functions_get(struct cvy_function **list) COVEY_MUST_CHECK;
/** What the program has registered, as a value that holds in its other processes. */
int cvy_functions_to_value(covey_value **out) COVEY_MUST_CHECK;
/** Register here what such a value tells. */
int cvy_functions_adopt(const covey_value *value) COVEY_MUST_CHECK;
void cvy_functions_free(struct cvy_function **list);

/** Find what a value of a request names. Returns: 0; `*ret` is NULL if the value is nothing
 * that Python could call; CVY_RAISED (NotImplementedError) if it can be called there and is
 * not registered; a code. */
int cvy_function_find(struct cvy_call *call, const struct cvy_function *list,
                      const covey_value *value,
                      const struct cvy_function **ret) COVEY_MUST_CHECK;

/* ---- workers ---- */

/** How the items of a part of an errand become calls. */
enum cvy_spread {
    CVY_SPREAD_NONE, /* one item, (args, kwds) */
    CVY_SPREAD_MAP,  /* each item is the only argument */
    CVY_SPREAD_STAR  /* each item is walked for the arguments */
};

/** The pickle of a part, for cvy_function_task. `client`: as covey_request_client. */
int cvy_function_pickle(const struct cvy_function *function, const char *client,
                        enum cvy_spread spread, const covey_value *items,
                        struct covey_bytes *ret) COVEY_MUST_CHECK;
/** A task: calls the function for each item until one raises. Its result is a pickle of
 * (True, [result...]) or (False, exception). */
int cvy_function_task(struct covey_call *call);

/** Call it here, and set the reply of `call`. Returns: 0; CVY_RAISED; -ENOMEM. */
int cvy_function_run(struct cvy_call *call, covey_function_fn *fn, const char *client);

/** What a worker does first: `server` is what it has a copy of and is to let go, or NULL;
 * `function` NULL: nothing else. */
int cvy_function_initarg(const void *server, const struct cvy_function *function,
                         const covey_value *args,
                         struct covey_bytes *ret) COVEY_MUST_CHECK;
int cvy_function_initialize(struct covey_view arg);

#endif
