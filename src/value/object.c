/* SPDX-License-Identifier: MIT */
/*
 * Globals, and objects of classes that covey does not know: what a pickle says of them,
 * kept so that it can be written again. List and dict items of an object are a list and a
 * dict that nobody else changes; the object's depth and weight follow theirs.
 */
#include "value/object.h"

#include <errno.h>

#include "base/error.h"
#include "base/memory.h"
#include "value/keys.h"
#include "value/list.h"
#include "value/text.h"

/* ---- globals ----------------------------------------------------------------- */

covey_value *cvy_global(struct cvy_heap *heap, covey_value *module, covey_value *name)
{
    struct cvy_global *global = NULL;

    if (module && name)
        global = cvy_node(heap, COVEY_VALUE_GLOBAL, sizeof(*global));
    if (!global) {
        covey_value_free(module);
        covey_value_free(name);
        return NULL;
    }
    global->module = module;
    global->name = name;
    return &global->head;
}

covey_value *covey_value_global(const char *module, const char *name)
{
    covey_value *str = covey_value_str(module);

    if (str)
        cvy_set_flags(str, CVY_BY_CONTENT);
    return cvy_global(NULL, str, str ? covey_value_str(name) : NULL);
}

bool cvy_is_global(const covey_value *value, const char *module, const char *name)
{
    return cvy_is_kind(value, COVEY_VALUE_GLOBAL) &&
           cvy_text_is(cvy_as_global(value)->name, name) &&
           cvy_text_is(cvy_as_global(value)->module, module);
}

int covey_value_get_global(const covey_value *value, const char **ret_module,
                           const char **ret_name)
{
    if (!cvy_is_kind(value, COVEY_VALUE_GLOBAL))
        return cvy_wrong_type(value, "global");
    if (!ret_module || !ret_name)
        return cvy_no_place();
    *ret_module = cvy_as_text(cvy_as_global(value)->module)->data;
    *ret_name = cvy_as_text(cvy_as_global(value)->name)->data;
    return 0;
}

/* ---- objects, inside --------------------------------------------------------- */

covey_value *cvy_object(struct cvy_heap *heap, bool calls, covey_value *callable,
                        covey_value *args, covey_value *kwargs)
{
    covey_value *parts[] = {callable, args, kwargs};
    struct cvy_object *object = NULL;
    size_t i = 0, count = kwargs ? 3 : 2;

    if (callable && args)
        object = cvy_compound_node(heap, COVEY_VALUE_OBJECT, sizeof(*object));
    while (object && i < count && cvy_adopt(heap, &object->base, parts[i]) == 0)
        i++;
    if (i < count) {
        for (i = 0; i < count; i++)
            covey_value_free(parts[i]);
        cvy_free(object);
        return NULL;
    }
    object->calls = calls;
    object->callable = callable;
    object->args = args;
    object->kwargs = kwargs;
    return &object->base.head;
}

/* Put `value` in the place of a part. */
static int put_part(struct cvy_heap *heap, struct cvy_object *object,
                    covey_value **part, covey_value *value)
{
    int r = cvy_adopt(heap, &object->base, value);

    if (r < 0) {
        covey_value_free(value);
        return r;
    }
    if (*part) {
        cvy_disown(&object->base, *part);
        covey_value_free(*part);
    }
    *part = value;
    return 0;
}

/* Make the list or dict of items one that only this object has. */
static int own_part(struct cvy_heap *heap, struct cvy_object *object,
                    covey_value **part, unsigned kind)
{
    covey_value *own;

    if (*part && atomic_load_explicit(&(*part)->refs, memory_order_acquire) == 1)
        return 0;
    if (*part)
        own = covey_value_copy(*part);
    else
        own = kind == COVEY_VALUE_LIST ? (void *)cvy_seq_new(heap, kind)
                                       : (void *)cvy_keys_new(heap, kind);
    return put_part(heap, object, part, own);
}

/* Check beforehand that an object with `more` in a part of it would not be too much. */
static int part_fits(const struct cvy_heap *heap, const struct cvy_object *object,
                     const covey_value *more)
{
    unsigned max_depth = heap ? heap->max_depth : COVEY_VALUE_DEPTH_MAX;

    if (!more)
        return cvy_last_code();
    if (more == &object->base.head)
        return cvy_fail(-ENOTSUP, "value: an object in itself: a cycle");
    if (cvy_settle(more) + 2 > max_depth)
        return cvy_fail(-EMSGSIZE, "value: nested deeper than %u", max_depth);
    if (heap && object->base.weight > heap->max_weight)
        return cvy_fail(-EMSGSIZE, "it has more values than the limit of %llu",
                        (unsigned long long)heap->max_weight);
    return 0;
}

/* Let the object follow what was added to a part of it, which weighed `old` before. */
static void follow(struct cvy_object *object, const covey_value *part, uint64_t old)
{
    uint64_t more = cvy_weight(part) - old;

    if (__builtin_add_overflow(object->base.weight, more, &object->base.weight))
        object->base.weight = UINT64_MAX;
    if (cvy_depth(part) + 1 > cvy_depth(&object->base.head))
        cvy_set_depth(&object->base.head, cvy_depth(part) + 1);
    cvy_set_flags(&object->base.head,
                  cvy_flags(&object->base.head) | (cvy_flags(part) & CVY_LOOSE));
    atomic_store_explicit(&object->base.hash, 0, memory_order_relaxed);
}

int cvy_object_append(struct cvy_heap *heap, struct cvy_object *object,
                      covey_value *item)
{
    uint64_t old;
    int r;

    if ((r = part_fits(heap, object, item)) < 0 ||
        (r = own_part(heap, object, &object->items, COVEY_VALUE_LIST)) < 0) {
        covey_value_free(item);
        return r;
    }
    old = cvy_weight(object->items);
    r = cvy_seq_append(heap, cvy_as_seq(object->items), item);
    follow(object, object->items, old);
    return r;
}

int cvy_object_put(struct cvy_heap *heap, struct cvy_object *object, covey_value *key,
                   covey_value *value)
{
    uint64_t old;
    int r;

    if ((r = part_fits(heap, object, key)) < 0 ||
        (r = part_fits(heap, object, value)) < 0 ||
        (r = own_part(heap, object, &object->pairs, COVEY_VALUE_DICT)) < 0) {
        covey_value_free(key);
        covey_value_free(value);
        return r;
    }
    old = cvy_weight(object->pairs);
    r = cvy_keys_put(heap, cvy_as_keys(object->pairs), key, value);
    follow(object, object->pairs, old);
    return r;
}

int cvy_object_put_state(struct cvy_heap *heap, struct cvy_object *object,
                         covey_value *state)
{
    return put_part(heap, object, &object->state, state);
}

void cvy_object_destroy(struct cvy_object *object)
{
    covey_value_free(object->callable);
    covey_value_free(object->args);
    covey_value_free(object->kwargs);
    covey_value_free(object->state);
    covey_value_free(object->items);
    covey_value_free(object->pairs);
}

covey_value *cvy_object_copy(const struct cvy_object *object)
{
    struct cvy_object *copy =
        cvy_compound_node(NULL, COVEY_VALUE_OBJECT, sizeof(*copy));

    if (!copy)
        return NULL;
    cvy_set_depth(&copy->base.head, cvy_depth(&object->base.head));
    cvy_set_flags(&copy->base.head,
                  cvy_flags(&object->base.head) & ~(unsigned)CVY_CONTAINED);
    copy->base.weight = object->base.weight;
    copy->calls = object->calls;
    copy->callable = covey_value_ref(object->callable);
    copy->args = covey_value_ref(object->args);
    copy->kwargs = covey_value_ref(object->kwargs);
    copy->state = covey_value_ref(object->state);
    copy->items = covey_value_ref(object->items);
    copy->pairs = covey_value_ref(object->pairs);
    return &copy->base.head;
}

/* ---- objects, public --------------------------------------------------------- */

static covey_value *new_object(bool calls, covey_value *callable, covey_value *args)
{
    if (callable && args &&
        ((!cvy_is_kind(callable, COVEY_VALUE_GLOBAL) &&
          !cvy_is_kind(callable, COVEY_VALUE_OBJECT)) ||
         !cvy_is_kind(args, COVEY_VALUE_TUPLE))) {
        cvy_fail(COVEY_ETYPE, "value: an object of %s and %s, not of global and tuple",
                 covey_value_type(callable), covey_value_type(args));
        covey_value_free(callable);
        covey_value_free(args);
        return NULL;
    }
    return cvy_object(NULL, calls, callable, args, NULL);
}

covey_value *covey_value_call(covey_value *callable, covey_value *args)
{
    return new_object(true, callable, args);
}

covey_value *covey_value_instance(covey_value *cls, covey_value *args)
{
    return new_object(false, cls, args);
}

/* Whether this is an object that may be changed by putting `item` into it. */
static int check_object(covey_value *object, const covey_value *item)
{
    if (!object)
        return cvy_last_code();
    if (!cvy_is_kind(object, COVEY_VALUE_OBJECT))
        return cvy_wrong_type(object, "object");
    return cvy_takes(object, item);
}

int cvy_object_append_checked(covey_value *object, covey_value *item)
{
    int r;

    if ((r = check_object(object, item)) < 0) {
        cvy_refuse(object, item);
        return r;
    }
    r = cvy_object_append(NULL, cvy_as_object(object), item);
    return r < 0 ? cvy_stick(object, r) : 0;
}

int cvy_object_put_checked(covey_value *object, covey_value *key, covey_value *value)
{
    int r;

    if ((r = check_object(object, key)) < 0 || (r = check_object(object, value)) < 0) {
        cvy_refuse(object, key);
        cvy_refuse(object, value);
        return r;
    }
    r = cvy_object_put(NULL, cvy_as_object(object), key, value);
    return r < 0 ? cvy_stick(object, r) : 0;
}

int covey_value_put_state(covey_value *object, covey_value *state)
{
    int r;

    if ((r = check_object(object, state)) < 0) {
        cvy_refuse(object, state);
        return r;
    }
    r = cvy_object_put_state(NULL, cvy_as_object(object), state);
    return r < 0 ? cvy_stick(object, r) : 0;
}

int covey_value_put_kwargs(covey_value *object, covey_value *kwargs)
{
    int r;

    if ((r = check_object(object, kwargs)) < 0) {
        cvy_refuse(object, kwargs);
        return r;
    }
    if (kwargs &&
        (!cvy_is_kind(kwargs, COVEY_VALUE_DICT) || cvy_as_object(object)->calls)) {
        r = cvy_fail(COVEY_ETYPE,
                     "value: keyword arguments go to an instance, as dict");
        covey_value_free(kwargs);
    } else {
        r = put_part(NULL, cvy_as_object(object), &cvy_as_object(object)->kwargs,
                     kwargs);
    }
    return r < 0 ? cvy_stick(object, r) : 0;
}

int covey_value_get_object(const covey_value *value, struct covey_object *ret)
{
    const struct cvy_object *object = cvy_as_object(value);

    if (!cvy_is_kind(value, COVEY_VALUE_OBJECT))
        return cvy_wrong_type(value, "object");
    if (!ret)
        return cvy_no_place();
    *ret = (struct covey_object){(int)object->calls, object->callable, object->args,
                                 object->kwargs,     object->state,    object->items,
                                 object->pairs};
    return 0;
}

const covey_value *covey_value_class(const covey_value *value)
{
    const covey_value *class;

    if (!cvy_is_kind(value, COVEY_VALUE_OBJECT))
        return NULL;
    class = cvy_as_object(value)->callable;
    /* How protocols 0 and 1 make instances of plain classes. */
    if (cvy_is_global(class, "copyreg", "_reconstructor"))
        class = covey_value_at(cvy_as_object(value)->args, 0);
    return cvy_is_kind(class, COVEY_VALUE_GLOBAL) ? class : NULL;
}

int covey_value_is(const covey_value *value, const char *module, const char *name)
{
    if (!module || !name)
        return 0;
    if (cvy_is_kind(value, COVEY_VALUE_GLOBAL))
        return cvy_is_global(value, module, name);
    return cvy_is_global(covey_value_class(value), module, name);
}

/* ---- ranges ------------------------------------------------------------------ */

covey_value *cvy_range(struct cvy_heap *heap, int64_t start, int64_t stop, int64_t step)
{
    struct cvy_range *range;

    if (!step) {
        cvy_fail(-EINVAL, "value: range with step 0");
        return NULL;
    }
    range = cvy_node(heap, COVEY_VALUE_RANGE, sizeof(*range));
    if (!range)
        return NULL;
    range->start = start;
    range->stop = stop;
    range->step = step;
    return &range->head;
}

covey_value *covey_value_range(int64_t start, int64_t stop, int64_t step)
{
    return cvy_range(NULL, start, stop, step);
}

int covey_value_get_range(const covey_value *value, int64_t *ret_start,
                          int64_t *ret_stop, int64_t *ret_step)
{
    if (!cvy_is_kind(value, COVEY_VALUE_RANGE))
        return cvy_wrong_type(value, "range");
    if (!ret_start || !ret_stop || !ret_step)
        return cvy_no_place();
    *ret_start = cvy_as_range(value)->start;
    *ret_stop = cvy_as_range(value)->stop;
    *ret_step = cvy_as_range(value)->step;
    return 0;
}
