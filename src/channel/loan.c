/* SPDX-License-Identifier: MIT */
/* loan.c: messages that are filled and read where they lie: an extent each, which is in
 * the hands of the process and goes back when that dies. */
#include <errno.h>
#include <limits.h>
#include <string.h>

#include "base/error.h"
#include "channel/queue.h"
#include "region/alloc.h"
#include "region/member.h"

int covey_queue_reserve(covey_queue *queue, size_t size, struct covey_loan *ret_loan)
{
    static const char call[] = "covey_queue_reserve";
    int r = cvy_queue_enter(queue, call);
    if (r >= 0 && !ret_loan)
        r = cvy_fail(-EINVAL, "%s: ret_loan is NULL", call);
    if (r >= 0 && queue->max_bytes && size > queue->max_bytes)
        r = cvy_fail(-EMSGSIZE, "%s: %zu bytes; queue %s takes %llu in all", call, size,
                     queue->name, (unsigned long long)queue->max_bytes);
    if (r < 0)
        return r;
    cvy_ref extent = 0;
    r = cvy_extent_take(size, &extent);
    if (r < 0) {
        cvy_members_sweep_asking(); /* what the dead had */
        r = cvy_extent_take(size, &extent);
    }
    if (r < 0)
        return cvy_fail_budget("a message", size);
    *ret_loan =
        (struct covey_loan){.data = cvy_at(extent), .size = size, .extent = extent};
    return 0;
}

int covey_queue_commit(covey_queue *queue, struct covey_loan *loan, covey_nsec timeout)
{
    static const char call[] = "covey_queue_commit";
    int r = cvy_queue_enter(queue, call);
    if (r >= 0 && (!loan || !loan->extent))
        r = cvy_fail(-EINVAL, "%s: there is no loan", call);
    if (r >= 0 && loan->size > cvy_run_of(loan->extent)->size)
        r = cvy_fail(-EINVAL, "%s: %zu bytes, but %llu were reserved", call, loan->size,
                     (unsigned long long)cvy_run_of(loan->extent)->size);
    if (r >= 0)
        r = cvy_queue_put_extent(queue, loan->extent, loan->size,
                                 cvy_os_deadline(timeout), call);
    if (r >= 0)
        *loan = (struct covey_loan){0};
    return r;
}

static int take_view(covey_queue *q, const struct cvy_item *item, void *ctx)
{
    struct covey_loan *loan = ctx;
    if (item->extent) {
        cvy_ring_take_extent(&q->ring, item);
        loan->extent = item->extent;
        loan->data = cvy_at(item->extent);
    } else {
        loan->size = item->size;
        if (item->size > loan->copy.capacity || !loan->copy.data)
            return -EAGAIN;
        if (item->size)
            memcpy(loan->copy.data, item->data, item->size);
        loan->data = loan->copy.data;
        cvy_ring_take(&q->ring, item, 1);
    }
    loan->size = item->size;
    return 0;
}

int covey_queue_view(covey_queue *queue, struct covey_loan *ret_loan,
                     covey_nsec timeout)
{
    static const char call[] = "covey_queue_view";
    struct covey_loan loan = {0};
    uint32_t taken = 1;
    int r = cvy_queue_enter(queue, call);
    if (r >= 0 && !ret_loan)
        r = cvy_fail(-EINVAL, "%s: ret_loan is NULL", call);
    int64_t deadline = cvy_os_deadline(timeout);
    while (r >= 0 || r == -EAGAIN) {
        r = cvy_queue_take(queue, take_view, &loan, &taken, deadline, call);
        if (r >= 0)
            break;
        if (r == -EAGAIN &&
            covey_bytes_resize(&loan.copy, loan.size ? loan.size : 1) < 0)
            r = -ENOMEM;
    }
    if (r < 0) {
        covey_bytes_free(&loan.copy);
        return r;
    }
    cvy_ring_arrived();
    *ret_loan = loan;
    return 0;
}

void covey_queue_done(covey_queue *queue, struct covey_loan *loan)
{
    if (!loan || cvy_queue_enter(queue, "covey_queue_done") < 0)
        return;
    if (loan->extent) {
        cvy_extent_give(loan->extent);
        cvy_waiters_wake(&queue->space, INT_MAX); /* there is memory */
    }
    covey_bytes_free(&loan->copy);
    *loan = (struct covey_loan){0};
}
