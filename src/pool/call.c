/* SPDX-License-Identifier: MIT */
/* call.c: what a task can say about itself. A call is the first part of its worker's
 * record; nothing here touches shared memory, the worker commits afterwards. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/error.h"
#include "base/mutant.h"
#include "pool/worker.h"

int covey_call_return_other(struct covey_call *call, const void *data, size_t size)
{
    struct cvy_worker *w = CVY_CONTAINER_OF(call, struct cvy_worker, call);
    if (w->entries)
        return cvy_task_return(w, data, size);
    call->result_size = size;
    return -EMSGSIZE;
}

int covey_call_fail(struct covey_call *call, const char *format, ...)
{
    struct cvy_worker *w = CVY_CONTAINER_OF(call, struct cvy_worker, call);
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(w->text, sizeof w->text, format, arguments);
    va_end(arguments);
    cvy_flatten(w->text);
    return COVEY_EREMOTE;
}

/* A call is never changed by who asks about it, but its worker's record is not constant. */
static const struct cvy_worker *worker_of(const struct covey_call *call)
{
    return (const struct cvy_worker *)(const void *)((const char *)call -
                                                     offsetof(struct cvy_worker, call));
}

/* Tuples: a count, then offset and size of each part. */
const void *covey_call_arg_at(const struct covey_call *call, size_t part,
                              size_t *ret_size)
{
    const struct cvy_worker *w = worker_of(call);
    const uint64_t *head = call->arg_data;
    const char *data = call->arg_data;
    uint64_t size = call->arg_size, at = 0;
    if (w->entries && w->flags & CVY_BATCH_TUPLES) {
        bool is_there = head && part < head[0];
        at = is_there ? head[1 + 2 * part] : 0;
        size = is_there ? head[2 + 2 * part] : 0;
    } else if (part) {
        size = 0;
    }
    if (ret_size)
        *ret_size = (size_t)size;
    return size ? data + at : NULL;
}

size_t covey_call_index(const struct covey_call *call)
{
    const struct cvy_worker *w = worker_of(call);
    uint64_t item =
        w->entries ? w->item
                   : atomic_load_explicit(&w->line->begun, memory_order_relaxed) - 1;
    return (size_t)(w->batch->base + item);
}

covey_nsec covey_call_time_left(const struct covey_call *call)
{
    int64_t deadline =
        atomic_load_explicit(&worker_of(call)->deadline, memory_order_relaxed);
    if (deadline == INT64_MAX)
        return COVEY_FOREVER;
    int64_t left = deadline - cvy_os_now();
    return left > 0 ? left : COVEY_NOWAIT;
}

int covey_call_cancelled(const struct covey_call *call)
{
    const struct cvy_worker *w = worker_of(call);
    if (atomic_load_explicit(&w->batch->canceled, memory_order_relaxed) ||
        (w->flags & CVY_BATCH_BOUND && cvy_bounds_canceled(&w->batch->bounds)))
        return 1;
    return w->entries &&
           atomic_load_explicit(&w->line->warned, memory_order_relaxed) ==
               atomic_load_explicit(&w->line->serial, memory_order_relaxed);
}

int covey_call_progress(struct covey_call *call, uint64_t done, uint64_t total)
{
    struct cvy_worker *w = CVY_CONTAINER_OF(call, struct cvy_worker, call);
    struct cvy_pool_line *line = w->line;
    if (w->entries) { /* pairs with cvy_limits_said */
        if (!CVY_MUTANT(pool_progress))
            atomic_store(&line->said_by, 0);
        atomic_store_explicit(&line->said_done, done, memory_order_relaxed);
        atomic_store_explicit(&line->said_total, total, memory_order_relaxed);
        atomic_store_explicit(&line->said_by,
                              atomic_load_explicit(&line->serial, memory_order_relaxed),
                              memory_order_release);
    }
    return covey_call_cancelled(call);
}

int covey_call_value(const struct covey_call *call, covey_value **out)
{
    if (!out)
        return cvy_fail(-EINVAL, "covey_call_value: `out` is NULL");
    return covey_value_unpickle(out, call->arg_data, call->arg_size, NULL);
}

int covey_call_return_value(struct covey_call *call, const covey_value *value)
{
    struct covey_bytes bytes = {0};
    int r = covey_value_pickle(value, &bytes);
    if (r >= 0)
        r = covey_call_return(call, bytes.data, bytes.size);
    covey_bytes_free(&bytes);
    return r;
}

/* ---- a worker's own ---- */

static _Thread_local void *state __attribute__((tls_model("initial-exec")));

void covey_worker_set_state(void *pointer)
{
    state = pointer;
}

void *covey_worker_state(void)
{
    return state;
}
