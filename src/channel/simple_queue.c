/* SPDX-License-Identifier: MIT */
/* simple_queue.c: a queue without limits and timeouts. */
#include "channel/queue.h"

static int enter(covey_simple_queue *q, const char *call)
{
    return cvy_sync_enter(q, CVY_KIND_SIMPLE_QUEUE, call);
}

int covey_simple_queue_create(covey_simple_queue **out)
{
    void *made = NULL;
    int r = cvy_queue_create(CVY_KIND_SIMPLE_QUEUE, sizeof(struct covey_simple_queue),
                             0, NULL, out ? &made : NULL, "covey_simple_queue_create");
    if (r >= 0 && out)
        *out = made;
    return r;
}

int covey_simple_queue_put(covey_simple_queue *queue, struct covey_view message)
{
    int r = enter(queue, "covey_simple_queue_put");
    return r < 0 ? r : covey_queue_put(&queue->queue, message, COVEY_FOREVER);
}

int covey_simple_queue_get(covey_simple_queue *queue, struct covey_bytes *ret_message)
{
    int r = enter(queue, "covey_simple_queue_get");
    return r < 0 ? r : covey_queue_get(&queue->queue, ret_message, COVEY_FOREVER);
}

int covey_simple_queue_empty(covey_simple_queue *queue)
{
    int r = enter(queue, "covey_simple_queue_empty");
    return r < 0 ? r : covey_queue_empty(&queue->queue);
}

int covey_simple_queue_close(covey_simple_queue *queue)
{
    int r = enter(queue, "covey_simple_queue_close");
    return r < 0 ? r : covey_queue_close(&queue->queue);
}

void covey_simple_queue_free(covey_simple_queue *queue)
{
    cvy_queue_free(queue ? &queue->queue : NULL, CVY_KIND_SIMPLE_QUEUE,
                   "covey_simple_queue_free");
}
