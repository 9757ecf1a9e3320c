/* SPDX-License-Identifier: MIT */
/* registry.c: the types that clients can name. */
#include <errno.h>
#include <string.h>

#include "base/error.h"
#include "base/memory.h"
#include "manager/function.h"
#include "manager/server.h"

/* All methods of a class, or those that are named. */
static covey_value *exposed_of(const struct cvy_class *cls, const char *const *names,
                               size_t count)
{
    covey_value *exposed = covey_value_tuple();
    for (size_t i = 0; !names && i < cls->method_count; i++)
        (void)covey_value_append(exposed, covey_value_str(cls->methods[i].name));
    for (size_t i = 0; names && i < count; i++)
        (void)covey_value_append(exposed, covey_value_str(names[i]));
    return exposed;
}

static int check_exposed(const char *type, const struct cvy_class *cls,
                         const char *const *names, size_t count)
{
    for (size_t i = 0; names && i < count; i++) {
        size_t k = 0;
        while (k < cls->method_count && names[i] &&
               strcmp(cls->methods[k].name, names[i]) != 0)
            k++;
        if (!names[i] || k == cls->method_count)
            return cvy_fail(-EINVAL, "type %s: '%s' is exposed and is no method", type,
                            names[i] ? names[i] : "NULL");
    }
    return 0;
}

static void free_type(struct cvy_type *type)
{
    covey_value_free(type->exposed);
    covey_value_free(type->args);
    cvy_free(type->name);
    cvy_free(type);
}

static void remove_named(struct cvy_registry *registry, const char *name)
{
    struct cvy_type **link = &registry->first;
    while (*link && strcmp((*link)->name, name) != 0)
        link = &(*link)->next;
    struct cvy_type *old = *link;
    if (!old)
        return;
    *link = old->next;
    free_type(old);
}

static int make_type(const char *name, const struct cvy_class *cls,
                     const char *const *exposed, size_t exposed_count,
                     struct cvy_type **ret)
{
    struct cvy_type *type = cvy_calloc(1, sizeof *type);
    if (type) {
        type->name = cvy_strdup(name);
        type->cls = cls;
        type->exposed = exposed_of(cls, exposed, exposed_count);
        type->limited = exposed != NULL;
    }
    if (!type || !type->name || covey_value_check(type->exposed) < 0) {
        if (type)
            free_type(type);
        return cvy_fail(-ENOMEM, "no memory for type %s", name);
    }
    *ret = type;
    return 0;
}

int cvy_registry_add(struct cvy_registry *registry, const char *name,
                     const struct cvy_class *cls, const char *const *exposed,
                     size_t exposed_count, struct cvy_type **ret)
{
    struct cvy_type *type = NULL;
    int r = check_exposed(name, cls, exposed, exposed_count);
    if (r >= 0)
        r = make_type(name, cls, exposed, exposed_count, &type);
    if (r < 0)
        return r;
    remove_named(registry, name);
    type->next = registry->first;
    registry->first = type;
    *ret = type;
    return 0;
}

struct cvy_type *cvy_registry_find(const struct cvy_registry *registry,
                                   const char *name)
{
    for (struct cvy_type *t = registry->first; t; t = t->next)
        if (strcmp(t->name, name) == 0)
            return t;
    return NULL;
}

struct cvy_type *cvy_registry_of_class(struct cvy_registry *registry,
                                       const struct cvy_class *cls)
{
    struct cvy_type *type = NULL;
    for (struct cvy_type *t = registry->first; t; t = t->next)
        if (t->cls == cls && !t->limited && !t->is_shared)
            return t;
    for (struct cvy_type *t = registry->hidden; t; t = t->next)
        if (t->cls == cls)
            return t;
    if (make_type(cls->name, cls, NULL, 0, &type) < 0)
        return NULL;
    type->next = registry->hidden;
    registry->hidden = type;
    return type;
}

int cvy_registry_add_standard(struct cvy_registry *registry)
{
    for (size_t i = 0; i < cvy_type_count; i++) {
        struct cvy_type *type;
        int r = cvy_registry_add(registry, cvy_types[i]->name, cvy_types[i], NULL, 0,
                                 &type);
        if (r < 0)
            return r;
    }
    return 0;
}

static void free_list(struct cvy_type *first)
{
    while (first) {
        struct cvy_type *type = first;
        first = type->next;
        free_type(type);
    }
}

void cvy_registry_free(struct cvy_registry *registry)
{
    free_list(registry->first);
    free_list(registry->hidden);
    cvy_functions_free(&registry->functions);
    *registry = (struct cvy_registry){0};
}
