/* SPDX-License-Identifier: MIT */
/* custom.c: classes of the program: their functions get a covey_request, which is on the
 * stack of the call, or part of a job if the method runs in a thread. */
#include "manager/custom.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "base/error.h"
#include "base/memory.h"
#include "manager/job.h"
#include "manager/server.h"

struct cvy_custom_class {
    struct cvy_class cls; /* first */
    char *name;
    struct cvy_method *methods;
    struct covey_method *own; /* the same, as the program gave them */
    int (*create)(covey_request *request, void **ret_self);
    covey_method_fn *repr, *value;
};

static const struct cvy_custom_class *custom_of(const struct cvy_call *call)
{
    return (const struct cvy_custom_class *)(const void *)call->object->cls;
}

/* ---- calls ---- */

static void begin(covey_request *request, const struct cvy_call *call)
{
    *request = (covey_request){
        .args = call->args,
        .kwargs = call->kwds,
        .client = call->session->name,
        .server = call->server,
    };
}

int cvy_custom_finish(struct cvy_call *call, covey_request *request, int result)
{
    covey_value *reply = request->reply;
    request->reply = NULL;
    if (result < 0) {
        covey_value_free(reply);
        cvy_custom_drop_made(request);
        (void)cvy_fail(result, "%s",
                       request->detail[0] ? request->detail : covey_error_detail());
        return result;
    }
    if (result == CVY_RAISED)
        return cvy_raise_value(call, reply);
    if (request->made) {
        struct cvy_type *type = request->made;
        covey_value *of = request->made_of;
        request->made = NULL;
        request->made_of = NULL;
        return of ? cvy_return_new(call, type, type->cls, of)
                  : cvy_return_typed(call, type, type->cls, request->made_self);
    }
    return cvy_return(call, reply ? reply : covey_value_none());
}

static int call_here(struct cvy_call *call, void *self, covey_method_fn *fn)
{
    covey_request request;
    begin(&request, call);
    int r = fn(&request, self);
    return cvy_custom_finish(call, &request, r);
}

static int call_method(struct cvy_call *call, void *self)
{
    const struct cvy_custom_class *custom = custom_of(call);
    const struct covey_method *method = custom->own;
    while (strcmp(method->name, call->method) != 0)
        method++;
    if (method->flags & COVEY_METHOD_BLOCKS)
        return cvy_job_start(call, self, method->fn);
    return call_here(call, self, method->fn);
}

static int call_create(struct cvy_call *call, void **ret_self)
{
    covey_request request;
    begin(&request, call);
    int r = custom_of(call)->create(&request, ret_self);
    if (r < 0 || r == CVY_RAISED)
        return cvy_custom_finish(call, &request, r);
    covey_value_free(request.reply);
    cvy_custom_drop_made(&request);
    return 0;
}

static int call_repr(struct cvy_call *call, void *self)
{
    const struct cvy_custom_class *custom = custom_of(call);
    if (custom->repr)
        return call_here(call, self, custom->repr);
    return cvy_return(call, covey_value_str_format("<%s object>", custom->name));
}

static int call_value(struct cvy_call *call, void *self)
{
    return call_here(call, self, custom_of(call)->value);
}

/* ---- classes ---- */

const struct cvy_class *cvy_custom_class_of(const struct cvy_custom_class *custom)
{
    return &custom->cls;
}

static void free_custom(struct cvy_custom_class *custom)
{
    for (size_t i = 0; custom->own && i < custom->cls.method_count; i++) {
        char *name;
        memcpy(&name, &custom->own[i].name, sizeof name);
        cvy_free(name);
    }
    cvy_free(custom->own);
    cvy_free(custom->methods);
    cvy_free(custom->name);
    cvy_free(custom);
}

void cvy_custom_class_free(const struct cvy_class *cls)
{
    struct cvy_custom_class *custom;
    memcpy(&custom, &cls, sizeof custom);
    free_custom(custom);
}

static int copy_methods(struct cvy_custom_class *custom, const struct covey_class *cls)
{
    custom->own = cvy_calloc(cls->method_count + 1, sizeof *custom->own);
    custom->methods = cvy_calloc(cls->method_count + 1, sizeof *custom->methods);
    if (!custom->own || !custom->methods)
        return -ENOMEM;
    for (size_t i = 0; i < cls->method_count; i++) {
        const struct covey_method *from = &cls->methods[i];
        char *name = cvy_strdup(from->name);
        if (!name)
            return -ENOMEM;
        custom->own[i] = (struct covey_method){name, from->fn, from->flags};
        custom->methods[i] = (struct cvy_method){
            name, call_method, from->flags & COVEY_METHOD_GROWS ? CVY_GROWS : 0};
        custom->cls.method_count = i + 1;
    }
    return 0;
}

static int check(const char *name, const struct covey_class *cls)
{
    if (cls->method_count && !cls->methods)
        return cvy_fail(-EINVAL, "class %s: %zu methods at NULL", name,
                        cls->method_count);
    for (size_t i = 0; i < cls->method_count; i++) {
        const struct covey_method *m = &cls->methods[i];
        if (!m->name || !m->name[0] || !m->fn)
            return cvy_fail(-EINVAL, "class %s: method %zu has no %s", name, i,
                            m->name && m->name[0] ? "function" : "name");
        if (m->flags & ~(unsigned)(COVEY_METHOD_BLOCKS | COVEY_METHOD_GROWS))
            return cvy_fail(-EINVAL, "class %s: method %s has unknown flags %#x", name,
                            m->name, m->flags);
    }
    return 0;
}

int cvy_custom_make(struct cvy_custom_class **out, const char *name,
                    const struct covey_class *cls)
{
    int r = check(name, cls);
    if (r < 0)
        return r;
    struct cvy_custom_class *custom = cvy_calloc(1, sizeof *custom);
    if (!custom)
        return cvy_fail(-ENOMEM, "no memory for class %s", name);
    custom->name = cvy_strdup(name);
    r = custom->name ? copy_methods(custom, cls) : -ENOMEM;
    if (r < 0) {
        free_custom(custom);
        return cvy_fail(r, "no memory for class %s", name);
    }
    custom->create = cls->create;
    custom->repr = cls->repr;
    custom->value = cls->value;
    custom->cls.name = custom->name;
    custom->cls.methods = custom->methods;
    custom->cls.create = cls->create ? call_create : NULL;
    custom->cls.destroy = cls->destroy;
    custom->cls.repr = call_repr;
    custom->cls.value = cls->value ? call_value : NULL;
    *out = custom;
    return 0;
}

/* ---- to other processes: (name, [(method, flags, code)...], create, destroy, ...) ---- */

/* A code without the room that its path does not need. */
covey_value *cvy_code_to_value(cvy_code_fn *fn)
{
    struct cvy_code code;
    if (!fn)
        return covey_value_none();
    int r = cvy_code_encode(fn, &code);
    if (r < 0) {
        (void)cvy_fail_os(r, "a function of the program");
        return NULL;
    }
    return covey_value_bytes(&code, offsetof(struct cvy_code, path) + code.path_size);
}

int cvy_code_from_value(const covey_value *value, cvy_code_fn **ret)
{
    struct covey_view view;
    struct cvy_code code = {0};
    *ret = NULL;
    if (covey_value_is_none(value))
        return 0;
    int r = covey_value_get_bytes(value, &view);
    if (r >= 0 &&
        (view.size < offsetof(struct cvy_code, path) || view.size >= sizeof code))
        r = cvy_fail(-EINVAL, "a function of %zu bytes", view.size);
    if (r < 0)
        return r;
    memcpy(&code, view.data, view.size);
    return cvy_code_decode(&code, ret);
}

int cvy_custom_to_value(const struct cvy_class *cls, covey_value **out)
{
    const struct cvy_custom_class *custom =
        (const struct cvy_custom_class *)(const void *)cls;
    covey_value *methods = covey_value_list();
    for (size_t i = 0; i < cls->method_count; i++) {
        covey_value *method = NULL;
        if (covey_value_pack(&method, "(s, I, N)", custom->own[i].name,
                             custom->own[i].flags,
                             cvy_code_to_value((cvy_code_fn *)custom->own[i].fn)) < 0)
            method = NULL;
        (void)covey_value_append(methods, method);
    }
    return covey_value_pack(out, "(s, N, N, N, N, N)", custom->name, methods,
                            cvy_code_to_value((cvy_code_fn *)custom->create),
                            cvy_code_to_value((cvy_code_fn *)cls->destroy),
                            cvy_code_to_value((cvy_code_fn *)custom->repr),
                            cvy_code_to_value((cvy_code_fn *)custom->value));
}

static int read_methods(const covey_value *list, struct covey_method *methods)
{
    int r = 0;
    for (size_t i = 0; i < covey_value_count(list) && r >= 0; i++) {
        const covey_value *code;
        cvy_code_fn *fn = NULL;
        r = covey_value_unpack(covey_value_at(list, i), "(s, I, O)", &methods[i].name,
                               &methods[i].flags, &code);
        if (r >= 0)
            r = cvy_code_from_value(code, &fn);
        methods[i].fn = (covey_method_fn *)fn;
    }
    return r;
}

static int read_functions(const covey_value *const codes[4], struct covey_class *cls)
{
    cvy_code_fn *fns[4] = {NULL};
    int r = 0;
    for (int i = 0; i < 4 && r >= 0; i++)
        r = cvy_code_from_value(codes[i], &fns[i]);
    cls->create = (int (*)(covey_request *, void **))fns[0];
    cls->destroy = (void (*)(void *))fns[1];
    cls->repr = (covey_method_fn *)fns[2];
    cls->value = (covey_method_fn *)fns[3];
    return r;
}

int cvy_custom_from_value(const covey_value *value, struct cvy_custom_class **out)
{
    const char *name;
    const covey_value *list, *codes[4];
    struct covey_class cls = {.size = sizeof cls};
    int r = covey_value_unpack(value, "(s, O, O, O, O, O)", &name, &list, &codes[0],
                               &codes[1], &codes[2], &codes[3]);
    if (r < 0)
        return r;
    cls.method_count = covey_value_count(list);
    struct covey_method *methods = cvy_calloc(cls.method_count + 1, sizeof *methods);
    if (!methods)
        return cvy_fail(-ENOMEM, "no memory for class %s", name);
    cls.methods = methods;
    r = read_methods(list, methods);
    if (r >= 0)
        r = read_functions(codes, &cls);
    if (r >= 0)
        r = cvy_custom_make(out, name, &cls);
    cvy_free(methods);
    return r;
}
