/* SPDX-License-Identifier: MIT */
/* registered.c: what the program has registered, for all managers that it runs. It lasts as
 * long as the process: managers in other threads may use a class that was replaced. A child
 * that is to be a manager adopts what its starter has, unless it is a copy of that. */
#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include "base/error.h"
#include "base/memory.h"
#include "base/opts.h"
#include "manager/custom.h"
#include "manager/function.h"
#include "manager/serve.h"

/* A registered name: of a class, or of an object that all share. */
struct entry {
    struct entry *next;
    char *name;
    struct cvy_custom_class *custom; /* NULL: shared */
    covey_value *exposed;            /* a tuple of str; NULL: all */
    char *of;                        /* shared: the type, and its arguments */
    covey_value *args;
};

/* The newest first. Entries are never taken out, so no lock is needed, which a fork could find
 * taken. */
static struct entry *_Atomic entries;

static void free_entry(struct entry *e)
{
    if (!e)
        return;
    if (e->custom)
        cvy_custom_class_free(cvy_custom_class_of(e->custom));
    covey_value_free(e->exposed);
    covey_value_free(e->args);
    cvy_free(e->of);
    cvy_free(e->name);
    cvy_free(e);
}

static void add(struct entry *e)
{
    e->next = atomic_load(&entries);
    while (!atomic_compare_exchange_weak(&entries, &e->next, e))
        continue;
}

static const struct entry *first_entry(void)
{
    return atomic_load_explicit(&entries, memory_order_acquire);
}

static const struct entry *find_entry(const char *name)
{
    const struct entry *e = first_entry();
    while (e && strcmp(e->name, name) != 0)
        e = e->next;
    return e;
}

static const struct cvy_class *find_standard(const char *name)
{
    for (size_t i = 0; i < cvy_type_count; i++)
        if (strcmp(cvy_types[i]->name, name) == 0)
            return cvy_types[i];
    return NULL;
}

static int check_name(const char *name, const char *call)
{
    size_t size = name ? strnlen(name, CVY_METHOD_MAX + 1) : 0;
    if (!size || size > CVY_METHOD_MAX)
        return cvy_fail(-EINVAL, "%s: a name of %zu bytes, 1 to %d are possible", call,
                        size, CVY_METHOD_MAX);
    return 0;
}

/* ---- registering ---- */

static int take_exposed(struct entry *e, const struct covey_register_opts *o)
{
    if (!o->exposed)
        return 0;
    e->exposed = covey_value_tuple();
    for (size_t i = 0; i < o->exposed_count; i++)
        (void)covey_value_append(e->exposed, covey_value_str(o->exposed[i]));
    return covey_value_check(e->exposed);
}

/* Whether the names that are exposed are methods: ask a registry. */
static int try_entry(const struct entry *e, const struct covey_register_opts *o)
{
    struct cvy_registry registry = {0};
    struct cvy_type *type;
    int r = cvy_registry_add(&registry, e->name, cvy_custom_class_of(e->custom),
                             o->exposed, o->exposed_count, &type);
    cvy_registry_free(&registry);
    return r;
}

int covey_manager_register(const char *type_id, const struct covey_class *cls,
                           const struct covey_register_opts *opts)
{
    static const char call[] = "covey_manager_register";
    struct covey_register_opts o;
    struct covey_class class_copy;
    int r = CVY_TAKE_OPTS(&o, opts, call);
    if (r >= 0)
        r = check_name(type_id, call);
    if (r >= 0 && !cls)
        r = cvy_fail(-EINVAL, "%s: the class is NULL", call);
    if (r >= 0)
        r = CVY_TAKE_OPTS(&class_copy, cls, call);
    if (r < 0)
        return r;
    struct entry *e = cvy_calloc(1, sizeof *e);
    if (!e)
        return cvy_fail(-ENOMEM, "%s: no memory", call);
    e->name = cvy_strdup(type_id);
    r = e->name ? cvy_custom_make(&e->custom, type_id, &class_copy) : -ENOMEM;
    if (r >= 0)
        r = take_exposed(e, &o);
    if (r >= 0)
        r = try_entry(e, &o);
    if (r < 0) {
        cvy_detail_prefix("%s", call);
        free_entry(e);
        return r;
    }
    add(e);
    return 0;
}

int covey_manager_share(const char *type_id, const char *of, const covey_value *args)
{
    static const char call[] = "covey_manager_share";
    int r = check_name(type_id, call);
    if (r >= 0)
        r = check_name(of, call);
    if (r < 0)
        return r;
    const struct entry *base = find_entry(of);
    if (base ? !base->custom : !find_standard(of))
        return cvy_fail(-EINVAL, "%s: there is no type '%s' that could be shared", call,
                        of);
    if (args && covey_value_kind(args) != COVEY_VALUE_TUPLE)
        return cvy_fail(COVEY_ETYPE, "%s: the arguments are no tuple", call);
    struct entry *e = cvy_calloc(1, sizeof *e);
    if (!e)
        return cvy_fail(-ENOMEM, "%s: no memory", call);
    e->name = cvy_strdup(type_id);
    e->of = cvy_strdup(of);
    e->args = args ? covey_value_ref(args) : covey_value_tuple();
    if (!e->name || !e->of || !e->args) {
        free_entry(e);
        return cvy_fail(-ENOMEM, "%s: no memory", call);
    }
    add(e);
    return 0;
}

/* ---- to registries ---- */

/* `exposed`: a tuple of str; NULL: all. */
static int add_type(struct cvy_registry *registry, const char *name,
                    const struct cvy_class *cls, const covey_value *exposed,
                    struct cvy_type **ret)
{
    size_t count = exposed ? covey_value_count(exposed) : 0;
    const char **names = exposed ? cvy_calloc(count + 1, sizeof *names) : NULL;
    int r = exposed && !names ? cvy_fail(-ENOMEM, "no memory for type %s", name) : 0;
    for (size_t i = 0; i < count && r >= 0; i++)
        r = covey_value_get_str(covey_value_at(exposed, i), &names[i], NULL);
    if (r >= 0)
        r = cvy_registry_add(registry, name, cls, names, count, ret);
    cvy_free(names);
    return r;
}

static int add_class(struct cvy_registry *registry, const char *name,
                     const struct cvy_class *cls, const covey_value *exposed)
{
    struct cvy_type *type;
    int r = add_type(registry, name, cls, exposed, &type);
    if (r >= 0)
        type->is_custom = true;
    return r;
}

static int add_shared(struct cvy_registry *registry, const char *name, const char *of,
                      const covey_value *args)
{
    struct cvy_type *type;
    const struct cvy_type *base = cvy_registry_find(registry, of);
    const struct cvy_class *cls = base ? base->cls : find_standard(of);
    if (!cls)
        return cvy_fail(-EINVAL, "type %s shares a '%s', which there is not", name, of);
    bool is_custom = base && base->is_custom;
    int r = add_type(registry, name, cls, base && base->limited ? base->exposed : NULL,
                     &type); /* which may replace the base */
    if (r < 0)
        return r;
    type->is_shared = true;
    type->is_custom = is_custom;
    type->args = covey_value_ref(args);
    return 0;
}

/* From the oldest on, so that later ones replace. NOLINTNEXTLINE(misc-no-recursion) */
static int add_entries(struct cvy_registry *registry, const struct entry *e)
{
    int r = e ? add_entries(registry, e->next) : 0;
    if (r < 0 || !e)
        return r;
    return e->custom ? add_class(registry, e->name, cvy_custom_class_of(e->custom),
                                 e->exposed)
                     : add_shared(registry, e->name, e->of, e->args);
}

int cvy_types_get(struct cvy_registry *registry, bool standard)
{
    int r = standard ? cvy_registry_add_standard(registry) : 0;
    if (r >= 0)
        r = cvy_functions_get(&registry->functions);
    return r < 0 ? r : add_entries(registry, first_entry());
}

/* ---- to other processes: [(name, class or None, exposed or None, of, args)] ---- */

static covey_value *entry_value(const struct entry *e)
{
    covey_value *value = NULL, *cls = covey_value_none();
    if (e->custom && cvy_custom_to_value(cvy_custom_class_of(e->custom), &cls) < 0)
        return NULL;
    covey_value *exposed =
        e->exposed ? covey_value_ref(e->exposed) : covey_value_none();
    covey_value *args = e->args ? covey_value_ref(e->args) : covey_value_none();
    return covey_value_pack(&value, "(s, N, N, z, N)", e->name, cls, exposed, e->of,
                            args) < 0
               ? NULL
               : value;
}

int cvy_types_to_value(covey_value **out)
{
    covey_value *list = covey_value_list();
    size_t count = 0;
    for (const struct entry *e = first_entry(); e; e = e->next)
        count++;
    for (; count > 0; count--) { /* the oldest first */
        const struct entry *e = first_entry();
        for (size_t i = 1; i < count; i++)
            e = e->next;
        (void)covey_value_append(list, entry_value(e));
    }
    int r = covey_value_check(list);
    if (r < 0)
        covey_value_free(list);
    else
        *out = list;
    return r;
}

static int fill_entry(struct entry *e, const covey_value *value)
{
    const char *name, *of = NULL;
    const covey_value *cls, *exposed, *args;
    int r =
        covey_value_unpack(value, "(s, O, O, z, O)", &name, &cls, &exposed, &of, &args);
    if (r < 0)
        return r;
    e->name = cvy_strdup(name);
    if (of)
        e->of = cvy_strdup(of);
    if (!e->name || (of && !e->of))
        return cvy_fail(-ENOMEM, "no memory for type %s", name);
    if (of)
        e->args = covey_value_ref(args);
    else if (!covey_value_is_none(exposed))
        e->exposed = covey_value_ref(exposed);
    return of ? 0 : cvy_custom_from_value(cls, &e->custom);
}

int cvy_types_adopt(const covey_value *value)
{
    int r = 0;
    for (size_t i = 0; i < covey_value_count(value) && r >= 0; i++) {
        struct entry *e = cvy_calloc(1, sizeof *e);
        r = e ? fill_entry(e, covey_value_at(value, i))
              : cvy_fail(-ENOMEM, "no memory for a type");
        if (r >= 0)
            add(e);
        else
            free_entry(e);
    }
    return r;
}
