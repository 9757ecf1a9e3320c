/* SPDX-License-Identifier: MIT */
/* remote.c: calls of standard objects, whose exceptions have codes. */
#include <errno.h>
#include <string.h>

#include "base/base.h"
#include "base/error.h"
#include "manager/client.h"
#include "value/pack.h"

/* What exceptions of Python's own are in covey. */
static int code_of(const char *type)
{
    static const struct {
        const char *type;
        int code;
    } known[] = {
        {"IndexError", -ENOENT},      {"KeyError", -ENOENT},
        {"AttributeError", -ENOENT},  {"Empty", -ETIMEDOUT},
        {"Full", -ETIMEDOUT},         {"ShutDown", COVEY_ECLOSED},
        {"TypeError", COVEY_ETYPE},   {"BrokenBarrierError", COVEY_EBROKEN},
        {"ValueError", -EINVAL},      {"RuntimeError", COVEY_ESTATE},
        {"TimeoutError", -ETIMEDOUT},
    };
    for (size_t i = 0; i < CVY_ARRAY_SIZE(known); i++)
        if (strcmp(known[i].type, type) == 0)
            return known[i].code;
    return COVEY_EREMOTE;
}

static int call(covey_proxy *proxy, covey_value **out, const char *method,
                covey_value *args, covey_value *kwargs, covey_nsec wait)
{
    int r = covey_value_check(args);
    if (r >= 0 && kwargs)
        r = covey_value_check(kwargs);
    if (r < 0) {
        covey_value_free(args);
        covey_value_free(kwargs);
        return r;
    }
    r = cvy_invoke(proxy, out, method, args, kwargs, wait, method);
    return r == COVEY_EREMOTE ? code_of(covey_proxy_error_type()) : r;
}

int cvy_remote_call(covey_proxy *proxy, covey_value **out, const char *method,
                    covey_value *args)
{
    return call(proxy, out, method, args, NULL, 0);
}

int cvy_remote_call_with(covey_proxy *proxy, covey_value **out, const char *method,
                         covey_value *args, covey_value *kwargs)
{
    return call(proxy, out, method, args, kwargs, 0);
}

int cvy_remote_call_for(covey_proxy *proxy, covey_value **out, const char *method,
                        covey_value *args, covey_nsec timeout)
{
    return call(proxy, out, method, args, NULL, timeout);
}

int cvy_remote_call_proxy(covey_proxy *proxy, covey_proxy **out, const char *method,
                          covey_value *args)
{
    int r = covey_value_check(args);
    if (r >= 0)
        r = cvy_proxy_enter(proxy, method);
    if (r < 0) {
        covey_value_free(args);
        return r;
    }
    r = covey_proxy_call_proxy(proxy, out, method, args, NULL,
                               cvy_manager_of(proxy)->timeout);
    return r == COVEY_EREMOTE ? code_of(covey_proxy_error_type()) : r;
}

int cvy_remote_count(covey_proxy *proxy, const char *method, covey_value *args,
                     size_t *ret_count)
{
    covey_value *value = NULL;
    uint64_t count = 0;
    int r = call(proxy, &value, method, args, NULL, 0);
    if (r >= 0 && !ret_count)
        r = cvy_fail(-EINVAL, "%s: a NULL where the number goes", method);
    if (r >= 0)
        r = covey_value_get_uint(value, &count);
    covey_value_free(value);
    if (r >= 0)
        *ret_count = count;
    return r;
}

int cvy_remote_truth(covey_proxy *proxy, const char *method, covey_value *args)
{
    covey_value *value = NULL;
    int r = call(proxy, &value, method, args, NULL, 0);
    if (r >= 0)
        r = covey_value_truth(value);
    covey_value_free(value);
    return r;
}

/* What is NULL sticks to the tuple as an error. */
static covey_value *args_of(covey_value *const *items, size_t count)
{
    covey_value *args = cvy_value_tuple_of(items, count);
    if (cvy_unlikely(!args)) {
        args = covey_value_tuple();
        (void)covey_value_append(args, NULL);
    }
    return args;
}

covey_value *cvy_remote_args1(covey_value *first)
{
    return args_of(&first, 1);
}

covey_value *cvy_remote_args2(covey_value *first, covey_value *second)
{
    covey_value *const items[] = {first, second};
    return args_of(items, 2);
}
