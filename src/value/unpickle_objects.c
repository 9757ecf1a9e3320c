/* SPDX-License-Identifier: MIT */
/* Opcodes that name globals and make objects of them. */
#include <errno.h>
#include <string.h>

#include "base/error.h"
#include "value/object.h"
#include "value/text.h"
#include "value/unpickle.h"
#include "value/unpickle_names.h"

/* Make a global of two strs, whose references it takes; names of Python 2 become those of
 * Python 3. NULL on failure. */
static covey_value *make_global(struct cvy_unpickler *u, covey_value *module,
                                covey_value *name)
{
    const char *new_module = cvy_as_text(module)->data;
    const char *new_name = cvy_as_text(name)->data;

    if (u->protocol < 3) {
        cvy_unpickle_rename(&new_module, &new_name);
        if (new_module != cvy_as_text(module)->data) {
            covey_value_free(module);
            module = cvy_str(&u->heap, new_module, strlen(new_module));
        }
        if (new_name != cvy_as_text(name)->data) {
            covey_value_free(name);
            name = cvy_str(&u->heap, new_name, strlen(new_name));
        }
    }
    return cvy_global(&u->heap, module, name);
}

/* A str that is the next line. */
static int read_name(struct cvy_unpickler *u, covey_value **ret)
{
    const char *text;
    size_t size;
    int r = cvy_unpickle_line(u, &text, &size);

    if (r < 0)
        return r;
    *ret = cvy_str(&u->heap, text, size);
    return *ret ? 0 : cvy_last_code();
}

int cvy_unpickle_global(struct cvy_unpickler *u)
{
    covey_value *module, *name;
    int r;

    if ((r = read_name(u, &module)) < 0)
        return r;
    if ((r = read_name(u, &name)) < 0) {
        covey_value_free(module);
        return r;
    }
    return cvy_unpickle_push(u, make_global(u, module, name));
}

int cvy_unpickle_stack_global(struct cvy_unpickler *u)
{
    covey_value *module, *name;
    int r;

    if ((r = cvy_unpickle_pop(u, &name)) < 0)
        return r;
    if ((r = cvy_unpickle_pop(u, &module)) < 0) {
        covey_value_free(name);
        return r;
    }
    if (!cvy_is_kind(module, COVEY_VALUE_STR) || !cvy_is_kind(name, COVEY_VALUE_STR)) {
        covey_value_free(module);
        covey_value_free(name);
        return cvy_unpickle_bad("a global whose name is no str");
    }
    return cvy_unpickle_push(u, make_global(u, module, name));
}

/* Push an object, or what it is known to be. Takes all. */
static int push_object(struct cvy_unpickler *u, bool calls, covey_value *callable,
                       covey_value *args, covey_value *kwargs)
{
    covey_value *value = NULL;
    int r = 0;

    if (!cvy_is_kind(args, COVEY_VALUE_TUPLE) ||
        (kwargs && !cvy_is_kind(kwargs, COVEY_VALUE_DICT)))
        r = cvy_unpickle_bad("arguments that are no tuple and dict");
    else if (!cvy_is_kind(callable, COVEY_VALUE_GLOBAL) &&
             !cvy_is_kind(callable, COVEY_VALUE_OBJECT))
        r = cvy_unpickle_no_target(callable, "a call");
    else if (calls)
        r = cvy_unpickle_known(u, callable, args, &value);
    if (r == 0)
        return cvy_unpickle_push(u,
                                 cvy_object(&u->heap, calls, callable, args, kwargs));
    covey_value_free(callable);
    covey_value_free(args);
    covey_value_free(kwargs);
    return r < 0 ? r : cvy_unpickle_push(u, value);
}

/* Pop callable and arguments, and keyword arguments if `parts` is 3. */
static int pop_object(struct cvy_unpickler *u, bool calls, size_t parts)
{
    covey_value *popped[3] = {NULL, NULL, NULL};
    int r = 0;

    for (size_t i = parts; i-- > 0 && r == 0;)
        r = cvy_unpickle_pop(u, &popped[i]);
    if (r == 0)
        return push_object(u, calls, popped[0], popped[1], popped[2]);
    for (size_t i = 0; i < parts; i++)
        covey_value_free(popped[i]);
    return r;
}

int cvy_unpickle_reduce(struct cvy_unpickler *u)
{
    return pop_object(u, true, 2);
}

int cvy_unpickle_newobj(struct cvy_unpickler *u)
{
    return pop_object(u, false, 2);
}

int cvy_unpickle_newobj_ex(struct cvy_unpickler *u)
{
    return pop_object(u, false, 3);
}

/* Protocols 0 and 1: a class, and arguments above a mark. Without arguments Python does
 * not call the class. */
static int old_object(struct cvy_unpickler *u, covey_value *class, size_t first)
{
    covey_value *args;
    int r = cvy_unpickle_make_tuple(u, first);

    if (r < 0 || (r = cvy_unpickle_pop(u, &args)) < 0) {
        covey_value_free(class);
        return r;
    }
    return push_object(u, covey_value_count(args) > 0, class, args, NULL);
}

int cvy_unpickle_inst(struct cvy_unpickler *u)
{
    covey_value *class;
    size_t first;
    int r;

    if ((r = cvy_unpickle_global(u)) < 0 || (r = cvy_unpickle_pop(u, &class)) < 0)
        return r;
    if ((r = cvy_unpickle_unmark(u, &first)) < 0) {
        covey_value_free(class);
        return r;
    }
    return old_object(u, class, first);
}

int cvy_unpickle_obj(struct cvy_unpickler *u)
{
    covey_value *class;
    size_t first;
    int r = cvy_unpickle_unmark(u, &first);

    if (r < 0)
        return r;
    if (first == u->depth)
        return cvy_unpickle_bad("an object without a class");
    class = cvy_unpickle_take_from(u, first);
    memmove(u->stack + first, u->stack + first + 1,
            (u->depth - first - 1) * sizeof(u->stack[0]));
    u->depth--;
    return old_object(u, class, first);
}

int cvy_unpickle_build(struct cvy_unpickler *u)
{
    covey_value *state, *target;
    int r = cvy_unpickle_pop(u, &state);

    if (r < 0)
        return r;
    if ((r = cvy_unpickle_top(u, &target)) == 0 &&
        (r = cvy_unpickle_changing(target)) == 0) {
        if (!cvy_is_kind(target, COVEY_VALUE_OBJECT))
            r = cvy_unpickle_no_target(target, "a state");
        else if (cvy_as_object(target)->state)
            r = cvy_fail(-ENOTSUP, "an object with two states");
    }
    if (r == 0)
        return cvy_object_put_state(&u->heap, cvy_as_object(target), state);
    covey_value_free(state);
    return r;
}
