/* SPDX-License-Identifier: MIT */
/* call.c: what a task can say about itself. A call is the first part of its worker's
 * record; nothing here touches shared memory, the worker commits afterwards. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "pool/worker.h"

int covey_call_return_other(struct covey_call *call, const void *data, size_t size)
{
    (void)data;
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
