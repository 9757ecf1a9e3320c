/* SPDX-License-Identifier: MIT */
/* refusal.c: large requests that are not all there when the manager's memory is used up.
 *
 * What has come of such a request is let go of, what still comes is passed over, and its
 * answer is a MemoryError, as that of a method which would let an object grow. So clients
 * can use no more memory by requests they do not finish than by objects. */
#include "base/base.h"
#include "manager/server.h"

void cvy_refusal_begin(struct cvy_connection *c, size_t whole)
{
    if (whole <= CVY_SCRATCH_SIZE)
        return;
    c->refused = whole - (c->in.size - c->in_done);
    covey_bytes_free(&c->in);
    c->in_done = 0;
}

size_t cvy_refusal_pass_over(struct cvy_connection *c, size_t size)
{
    size_t some = cvy_min_size(c->refused, size);
    c->refused -= some;
    if (!some || c->refused)
        return some;
    covey_value *args = covey_value_tuple();
    (void)covey_value_append(args, covey_value_str("the manager's memory is used up"));
    cvy_connection_reply(
        c, CVY_REPLY_ERROR,
        covey_value_call(covey_value_global("builtins", "MemoryError"), args));
    if (c->state == CVY_CONTROL)
        cvy_connection_finish(c);
    return some;
}
