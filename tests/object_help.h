/* SPDX-License-Identifier: MIT */
/* Short ways to end managers and to make objects in them, and to see what those are. */
#ifndef TESTS_OBJECT_HELP_H
#define TESTS_OBJECT_HELP_H

#include "check.h"

/* The process of the manager that is this process's only child. */
static inline int manager_pid(void)
{
    covey_process *child;
    size_t count;
    int pid = 0;
    CHECK_OK(covey_active_children(&child, 1, &count));
    CHECK_EQ(count, 1);
    CHECK_OK(covey_process_pid(child, &pid));
    return pid;
}

/* It has to end well. */
static inline void manager_end(covey_manager *manager)
{
    CHECK_OK(covey_manager_shutdown(manager, COVEY_SEC(20)));
    covey_manager_free(manager);
}

/* An object made of `arg`, which it takes; NULL: of nothing. */
static inline covey_proxy *created(covey_manager *m, const char *type, covey_value *arg)
{
    covey_proxy *proxy = NULL;
    covey_value *args = NULL;
    if (arg)
        CHECK_OK(covey_value_pack(&args, "(N)", arg));
    CHECK_OK(covey_proxy_create(&proxy, m, type, args, NULL));
    return proxy;
}

static inline covey_proxy *new_object(covey_manager *m, const char *type)
{
    return created(m, type, NULL);
}

/* The object's repr is this. */
static inline void holds(covey_proxy *proxy, const char *wanted)
{
    struct covey_bytes text = {0};
    CHECK_OK(covey_proxy_str(proxy, &text));
    CHECK_STR_EQ((const char *)text.data, wanted);
    covey_bytes_free(&text);
}

#endif
