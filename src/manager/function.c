/* SPDX-License-Identifier: MIT */
/* function.c: registered functions. Those of the program last as long as the process, like
 * its classes; each manager has a list of its own of them, since values belong to a thread. */
#include "manager/function.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/memory.h"
#include "manager/custom.h"
#include "manager/types/help.h"
#include "os/code.h"

#define BUILTINS  "builtins."
#define NAME_MOST 511

struct entry {
    struct entry *next;
    char *name;
    covey_function_fn *fn;
};

/* The newest first. None is ever taken out, so no lock is needed, which a fork could find
 * taken. */
static struct entry *_Atomic entries;

static const struct entry *first_entry(void)
{
    return atomic_load_explicit(&entries, memory_order_acquire);
}

/* ---- registering ---- */

/* "abs" is "builtins.abs". */
static char *whole_name(const char *name)
{
    if (strchr(name, '.'))
        return cvy_strdup(name);
    size_t size = strlen(name) + 1;
    char *whole = cvy_malloc(sizeof BUILTINS - 1 + size);
    if (whole) {
        memcpy(whole, BUILTINS, sizeof BUILTINS - 1);
        memcpy(whole + sizeof BUILTINS - 1, name, size);
    }
    return whole;
}

static int check(const char *name, covey_function_fn *fn, const char *call)
{
    struct cvy_code code;
    size_t size = name ? strnlen(name, NAME_MOST + 1) : 0;
    if (!size || size > NAME_MOST)
        return cvy_fail(-EINVAL, "%s: a name of %zu bytes, 1 to %d are possible", call,
                        size, NAME_MOST);
    if (name[0] == '.' || name[size - 1] == '.')
        return cvy_fail(-EINVAL, "%s: '%s' lacks a module or a name", call, name);
    if (!fn)
        return cvy_fail(-EINVAL, "%s: %s: the function is NULL", call, name);
    int r = cvy_code_encode((cvy_code_fn *)fn, &code);
    return r < 0 ? cvy_fail_os(r, "%s: %s", call, name) : 0;
}

static int enter(const char *name, covey_function_fn *fn, const char *call)
{
    struct entry *e = cvy_calloc(1, sizeof *e);
    char *whole = whole_name(name);
    if (!e || !whole) {
        cvy_free(e);
        cvy_free(whole);
        return cvy_fail(-ENOMEM, "%s: no memory", call);
    }
    e->name = whole;
    e->fn = fn;
    e->next = atomic_load(&entries);
    while (!atomic_compare_exchange_weak(&entries, &e->next, e))
        continue;
    return 0;
}

int covey_manager_register_function(const char *name, covey_function_fn *fn)
{
    static const char call[] = "covey_manager_register_function";
    int r = check(name, fn, call);
    return r < 0 ? r : enter(name, fn, call);
}

/* ---- lists ---- */

static const struct cvy_function *find_name(const struct cvy_function *list,
                                            const char *name)
{
    while (list && strcmp(list->name, name) != 0)
        list = list->next;
    return list;
}

static void free_function(struct cvy_function *f)
{
    covey_value_free(f->code);
    cvy_free(f->name);
    cvy_free(f);
}

/* One that is there already stays: newer ones come first. */
static int add(struct cvy_function **list, const char *name, covey_function_fn *fn)
{
    if (find_name(*list, name))
        return 0;
    struct cvy_function *f = cvy_calloc(1, sizeof *f);
    if (!f)
        return cvy_fail(-ENOMEM, "no memory for function %s", name);
    f->name = cvy_strdup(name);
    f->fn = fn;
    f->code = cvy_code_to_value((cvy_code_fn *)fn);
    if (!f->name || !f->code) {
        free_function(f);
        return cvy_fail(-ENOMEM, "no memory for function %s", name);
    }
    f->next = *list;
    *list = f;
    return 0;
}

int cvy_functions_get(struct cvy_function **list)
{
    int r = 0;
    for (const struct entry *e = first_entry(); e && r >= 0; e = e->next)
        r = add(list, e->name, e->fn);
    return r;
}

int cvy_functions_to_value(covey_value **out)
{
    covey_value *list = covey_value_list();
    for (const struct entry *e = first_entry(); e; e = e->next) {
        covey_value *pair = NULL;
        if (covey_value_pack(&pair, "(s, N)", e->name,
                             cvy_code_to_value((cvy_code_fn *)e->fn)) < 0)
            pair = NULL;
        (void)covey_value_append(list, pair);
    }
    int r = covey_value_check(list);
    if (r < 0)
        covey_value_free(list);
    else
        *out = list;
    return r;
}

int cvy_functions_adopt(const covey_value *value)
{
    int r = 0;
    for (size_t i = covey_value_count(value);
         i-- > 0 && r >= 0;) { /* the oldest first */
        const char *name;
        const covey_value *code;
        cvy_code_fn *fn = NULL;
        r = covey_value_unpack(covey_value_at(value, i), "(s, O)", &name, &code);
        if (r >= 0)
            r = cvy_code_from_value(code, &fn);
        if (r >= 0)
            r = enter(name, (covey_function_fn *)fn, "a function of the program");
    }
    return r;
}

void cvy_functions_free(struct cvy_function **list)
{
    while (*list) {
        struct cvy_function *f = *list;
        *list = f->next;
        free_function(f);
    }
}

/* ---- finding ---- */

int cvy_function_find(struct cvy_call *call, const struct cvy_function *list,
                      const covey_value *value, const struct cvy_function **ret)
{
    const char *module, *name;
    char whole[NAME_MOST + 1];
    *ret = NULL;
    if (covey_value_kind(value) == COVEY_VALUE_OBJECT)
        return cvy_raise(call, "NotImplementedError",
                         "the manager calls registered functions, and no %s object",
                         cvy_type_of(value));
    if (covey_value_get_global(value, &module, &name) < 0)
        return 0;
    if (snprintf(whole, sizeof whole, "%s.%s", module, name) < (int)sizeof whole)
        *ret = find_name(list, whole);
    if (*ret)
        return 0;
    return cvy_raise(call, "NotImplementedError",
                     "the manager has no function '%.200s.%.200s' registered", module,
                     name);
}
