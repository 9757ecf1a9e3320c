/* SPDX-License-Identifier: MIT */
/* answer.c: what functions of a program's classes may do with a request. They may run in
 * threads; of the server they look at the named types only, which stay while it serves. */
#include <errno.h>
#include <stdarg.h>
#include <string.h>

#include "base/error.h"
#include "manager/job.h"
#include "manager/server.h"
#include "value/text.h"

const covey_value *covey_request_args(const covey_request *request)
{
    return request->args;
}

const covey_value *covey_request_kwargs(const covey_request *request)
{
    return request->kwargs;
}

const char *covey_request_client(const covey_request *request)
{
    return request->client;
}

int covey_request_cancelled(const covey_request *request)
{
    return request->task ? covey_call_cancelled(request->task)
                         : atomic_load(&request->cancelled);
}

void cvy_custom_drop_made(covey_request *request)
{
    if (request->made && !request->made_of && request->made->cls->destroy)
        request->made->cls->destroy(request->made_self);
    covey_value_free(request->made_of);
    request->made = NULL;
    request->made_self = NULL;
    request->made_of = NULL;
}

static void set_reply(covey_request *request, covey_value *reply)
{
    covey_value_free(request->reply);
    cvy_custom_drop_made(request);
    request->reply = reply;
}

int covey_request_return(covey_request *request, covey_value *value)
{
    int r = covey_value_check(value);
    set_reply(request, r < 0 ? NULL : value);
    if (r < 0)
        covey_value_free(value);
    return r;
}

/* Takes `args` and `kwargs`. */
static covey_value *arguments(covey_value *args, covey_value *kwargs)
{
    covey_value *all = NULL;
    if (!args)
        args = covey_value_tuple();
    if (!kwargs)
        kwargs = covey_value_dict();
    return covey_value_pack(&all, "(N, N)", args, kwargs) < 0 ? NULL : all;
}

int covey_request_return_new(covey_request *request, const char *type_id,
                             covey_value *args, covey_value *kwargs)
{
    static const char call[] = "covey_request_return_new";
    struct cvy_type *type = request->server && type_id
                                ? cvy_registry_find(request->server->registry, type_id)
                                : NULL;
    int r = 0;
    if ((args && covey_value_kind(args) != COVEY_VALUE_TUPLE) ||
        (kwargs && covey_value_kind(kwargs) != COVEY_VALUE_DICT))
        r = cvy_fail(COVEY_ETYPE, "%s: the arguments are no tuple or no dict", call);
    covey_value *of = arguments(args, kwargs);
    if (!of)
        return -ENOMEM;
    if (!request->server)
        r = cvy_fail(-ENOTSUP, "%s: in a function", call);
    else if (!type || !type->cls->create)
        r = cvy_fail(-EINVAL, "%s: clients cannot create a '%s'", call,
                     type_id ? type_id : "NULL");
    if (r < 0) {
        covey_value_free(of);
        return r;
    }
    set_reply(request, NULL);
    request->made = type;
    request->made_of = of;
    return 0;
}

int covey_request_return_object(covey_request *request, const char *type_id, void *self)
{
    if (!request->server)
        return cvy_fail(-ENOTSUP, "covey_request_return_object: in a function");
    struct cvy_type *type =
        type_id ? cvy_registry_find(request->server->registry, type_id) : NULL;
    if (!type || !type->is_custom)
        return cvy_fail(-EINVAL,
                        "covey_request_return_object: the program has no type '%s'",
                        type_id ? type_id : "NULL");
    set_reply(request, NULL);
    request->made = type;
    request->made_self = self;
    return 0;
}

/* "queue.Empty" is Empty of queue. */
static covey_value *exception_of(const char *name, covey_value *args)
{
    char module[128] = "builtins";
    const char *dot = strrchr(name, '.');
    size_t size = dot ? (size_t)(dot - name) : 0;
    if (size >= sizeof module) {
        covey_value_free(args);
        (void)cvy_fail(-EINVAL, "an exception's module of %zu bytes", size);
        return NULL;
    }
    if (dot) {
        memcpy(module, name, size);
        module[size] = 0;
    }
    return cvy_exception_make(module, dot ? dot + 1 : name, args);
}

int covey_request_raise(covey_request *request, const char *name, const char *format,
                        ...)
{
    covey_value *args = covey_value_tuple();
    if (format) {
        va_list list;
        va_start(list, format);
        (void)covey_value_append(args, cvy_str_format_any(format, list));
        va_end(list);
    }
    int r = covey_request_return(request, exception_of(name, args));
    return r < 0 ? r : CVY_RAISED;
}
