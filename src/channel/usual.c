/* SPDX-License-Identifier: MIT */
/* usual.c: see usual.h. */
#include "channel/usual.h"

#include <limits.h>

#include "channel/conn.h"

bool cvy_queue_put_at_once(covey_queue *q, const void *data, size_t size)
{
    struct cvy_ring *ring = &q->ring;
    if (cvy_unlikely(size > CVY_LARGEST_RECORD || q->max_bytes ||
                     !cvy_lock_at_once(&ring->put_lock)))
        return false;
    uint32_t items = atomic_load_explicit(&ring->put_ordinal, memory_order_relaxed) -
                     ring->head_ordinal_seen;
    bool fits = (!q->max_items || items < q->max_items) &&
                !atomic_load_explicit(&q->closed, memory_order_relaxed) &&
                cvy_usual_fits(ring, cvy_record_size(size));
    if (cvy_likely(fits))
        cvy_record_put(ring, data, size, 0, size);
    cvy_usual_unlock(&ring->put_lock);
    if (cvy_likely(fits))
        cvy_usual_wake(&q->items, 1);
    return fits;
}

bool cvy_queue_get_at_once(covey_queue *q, void *to, size_t capacity, size_t *ret_size)
{
    if (!cvy_usual_take(&q->ring, to, capacity, ret_size))
        return false;
    cvy_usual_wake(&q->space, q->max_bytes ? INT_MAX : 1);
    cvy_record_note_arrival();
    return true;
}

bool cvy_pipe_send_at_once(const struct cvy_end *end, const void *data, size_t size)
{
    struct cvy_way *way = &cvy_pipe_of(end)->ways[end->index];
    if (cvy_unlikely(size > CVY_LARGEST_RECORD || !cvy_pipe_peer_of(end) ||
                     !cvy_lock_at_once(&way->ring.put_lock)))
        return false;
    bool fits = way->budget > 0 && cvy_usual_fits(&way->ring, cvy_record_size(size));
    if (cvy_likely(fits)) {
        cvy_record_put(&way->ring, data, size, 0, size);
        way->budget -= (int64_t)size + CVY_PIPE_MESSAGE_COST;
    }
    cvy_usual_unlock(&way->ring.put_lock);
    if (cvy_likely(fits))
        cvy_usual_wake(&way->items, 1);
    return fits;
}

bool cvy_pipe_recv_at_once(const struct cvy_end *end, void *to, size_t capacity,
                           size_t *ret_size)
{
    struct cvy_way *way = &cvy_pipe_of(end)->ways[!end->index];
    if (!cvy_usual_take(&way->ring, to, capacity, ret_size))
        return false;
    cvy_usual_wake(&way->space, INT_MAX);
    cvy_record_note_arrival();
    return true;
}
