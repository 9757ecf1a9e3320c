/* SPDX-License-Identifier: MIT */
/* values.c: queues of values, which travel as their pickles. Pickles are made before and
 * read after the queue is touched, in private memory: what another process does to shared
 * memory cannot get at the reader. */
#include <errno.h>

#include "base/error.h"
#include "base/opts.h"
#include "channel/queue.h"

/* Most pickles fit into it, so that getting them allocates nothing. */
#define USUAL_BYTES 2048u

static int put_value(covey_queue *q, const covey_value *value, covey_nsec timeout,
                     const char *call)
{
    struct covey_bytes pickle = {0};
    int r = covey_value_pickle(value, &pickle);
    if (r < 0)
        cvy_detail_prefix("%s", call);
    else
        r = covey_queue_put(q, COVEY_VIEW(pickle.data, pickle.size), timeout);
    covey_bytes_free(&pickle);
    return r;
}

int cvy_check_limits(const void *out, const struct covey_unpickle_opts *limits,
                     const char *call)
{
    struct covey_unpickle_opts copy;
    int r = CVY_TAKE_OPTS(&copy, limits, call);
    if (r >= 0 && !out)
        r = cvy_fail(-EINVAL, "%s: out is NULL", call);
    if (r >= 0 && copy.max_depth > COVEY_VALUE_DEPTH_MAX)
        r = cvy_fail(-EINVAL, "%s: max_depth %zu is more than %d", call, copy.max_depth,
                     COVEY_VALUE_DEPTH_MAX);
    return r;
}

static int get_value(covey_queue *q, covey_value **out, covey_nsec timeout,
                     const struct covey_unpickle_opts *limits, const char *call)
{
    char usual[USUAL_BYTES];
    struct covey_bytes more = {0};
    size_t size = 0;
    struct cvy_target t = {usual, sizeof usual, &more, &size, 0};
    int r = cvy_check_limits(out, limits, call);
    if (r >= 0)
        r = cvy_queue_get(q, &t, cvy_os_deadline(timeout), call);
    if (r >= 0) {
        r = covey_value_unpickle(out, t.to, size, limits);
        if (r < 0)
            cvy_detail_prefix("%s: a message of %zu bytes from queue %s is gone", call,
                              size, q->name);
    }
    covey_bytes_free(&more);
    return r;
}

int covey_queue_put_value(covey_queue *queue, const covey_value *value,
                          covey_nsec timeout)
{
    static const char call[] = "covey_queue_put_value";
    int r = cvy_queue_enter(queue, call);
    return r < 0 ? r : put_value(queue, value, timeout, call);
}

int covey_queue_get_value(covey_queue *queue, covey_value **out, covey_nsec timeout,
                          const struct covey_unpickle_opts *limits)
{
    static const char call[] = "covey_queue_get_value";
    int r = cvy_queue_enter(queue, call);
    return r < 0 ? r : get_value(queue, out, timeout, limits, call);
}

int covey_joinable_queue_put_value(covey_joinable_queue *queue,
                                   const covey_value *value, covey_nsec timeout)
{
    static const char call[] = "covey_joinable_queue_put_value";
    int r = cvy_sync_enter(queue, CVY_KIND_JOINABLE_QUEUE, call);
    return r < 0 ? r : put_value(&queue->queue, value, timeout, call);
}

int covey_joinable_queue_get_value(covey_joinable_queue *queue, covey_value **out,
                                   covey_nsec timeout,
                                   const struct covey_unpickle_opts *limits)
{
    static const char call[] = "covey_joinable_queue_get_value";
    int r = cvy_sync_enter(queue, CVY_KIND_JOINABLE_QUEUE, call);
    return r < 0 ? r : get_value(&queue->queue, out, timeout, limits, call);
}

int covey_simple_queue_put_value(covey_simple_queue *queue, const covey_value *value)
{
    static const char call[] = "covey_simple_queue_put_value";
    int r = cvy_sync_enter(queue, CVY_KIND_SIMPLE_QUEUE, call);
    return r < 0 ? r : put_value(&queue->queue, value, COVEY_FOREVER, call);
}

int covey_simple_queue_get_value(covey_simple_queue *queue, covey_value **out,
                                 const struct covey_unpickle_opts *limits)
{
    static const char call[] = "covey_simple_queue_get_value";
    int r = cvy_sync_enter(queue, CVY_KIND_SIMPLE_QUEUE, call);
    return r < 0 ? r : get_value(&queue->queue, out, COVEY_FOREVER, limits, call);
}
