/* SPDX-License-Identifier: MIT */
/* method.c: the start methods by name, and which one is the default. */
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/error.h"
#include "process/process.h"

static const char *const names[] = {
    [COVEY_FORK] = "fork",
    [COVEY_SPAWN] = "spawn",
    [COVEY_FORKSERVER] = "forkserver",
    [COVEY_THREAD] = "thread",
};
static _Atomic int chosen = COVEY_DEFAULT_METHOD;

const char *covey_start_method_name(enum covey_start_method method)
{
    if (method <= COVEY_DEFAULT_METHOD || method > COVEY_THREAD)
        return NULL;
    return names[method];
}

int covey_start_method_from_name(const char *name, enum covey_start_method *ret_method)
{
    if (!ret_method)
        return cvy_fail(-EINVAL,
                        "covey_start_method_from_name: no room for the answer");
    for (size_t i = COVEY_FORK; name && i < CVY_ARRAY_SIZE(names); i++) {
        if (strcmp(name, names[i]) == 0) {
            *ret_method = (enum covey_start_method)i;
            return 0;
        }
    }
    return cvy_fail(-EINVAL, "there is no start method '%s'", name ? name : "(null)");
}

static int from_environment(enum covey_start_method *ret_method)
{
    const char *name = getenv("COVEY_START_METHOD");
    *ret_method = COVEY_FORK;
    if (!name || !*name)
        return 0;
    int r = covey_start_method_from_name(name, ret_method);
    if (r < 0)
        cvy_detail_prefix("COVEY_START_METHOD");
    return r;
}

CVY_CHILD_CODE enum covey_start_method cvy_method_chosen(void)
{
    return (enum covey_start_method)atomic_load(&chosen);
}

CVY_CHILD_CODE void cvy_method_inherit(enum covey_start_method method)
{
    if (cvy_method_chosen() != method) /* writing would copy a page */
        atomic_store(&chosen, (int)method);
}

int cvy_method_default(enum covey_start_method *ret_method)
{
    enum covey_start_method method = cvy_method_chosen();
    int unchosen = COVEY_DEFAULT_METHOD;
    if (method == COVEY_DEFAULT_METHOD) {
        int r = from_environment(&method);
        if (r < 0)
            return r;
        if (!atomic_compare_exchange_strong(&chosen, &unchosen, (int)method))
            method = (enum covey_start_method)unchosen;
    }
    *ret_method = method;
    return 0;
}

int covey_set_start_method(enum covey_start_method method, int force)
{
    int unchosen = COVEY_DEFAULT_METHOD;
    bool unset = method == COVEY_DEFAULT_METHOD;
    if (!force && cvy_method_chosen() != COVEY_DEFAULT_METHOD)
        return cvy_fail(COVEY_ESTATE, "covey_set_start_method: it is %s already",
                        names[cvy_method_chosen()]);
    if (!covey_start_method_name(method) && !(unset && force))
        return cvy_fail(-EINVAL, "covey_set_start_method: method %d does not exist",
                        (int)method);
    if (force)
        atomic_store(&chosen, (int)method);
    else if (!atomic_compare_exchange_strong(&chosen, &unchosen, (int)method))
        return cvy_fail(COVEY_ESTATE, "covey_set_start_method: it is %s already",
                        names[unchosen]);
    return 0;
}

int covey_get_start_method(int allow_none, enum covey_start_method *ret_method)
{
    if (!ret_method)
        return cvy_fail(-EINVAL, "covey_get_start_method: no room for the answer");
    if (!allow_none)
        return cvy_method_default(ret_method);
    *ret_method = cvy_method_chosen();
    return 0;
}

int covey_get_all_start_methods(const enum covey_start_method **ret_methods,
                                size_t *ret_count)
{
    static const enum covey_start_method all[] = {COVEY_FORK, COVEY_SPAWN,
                                                  COVEY_FORKSERVER, COVEY_THREAD};
    if (!ret_methods || !ret_count)
        return cvy_fail(-EINVAL, "covey_get_all_start_methods: no room for the answer");
    *ret_methods = all;
    *ret_count = CVY_ARRAY_SIZE(all);
    return 0;
}
