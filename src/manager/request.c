/* SPDX-License-Identifier: MIT */
/* request.c: requests for objects. */
#include <errno.h>
#include <string.h>

#include "base/base.h"
#include "base/error.h"
#include "base/memory.h"
#include "manager/server.h"
#include "value/node.h"

/* A pickle may take so many times its size in memory, and no less than this. */
#define UNFOLDING    64
#define LEAST_MEMORY ((size_t)1 << 20)

/* ---- replies ---- */

static const char *python_name(int code)
{
    switch (code) {
    case -ENOMEM:
    case -EMSGSIZE:
        return "MemoryError";
    case COVEY_EPICKLE:
        return "_pickle.UnpicklingError";
    case -ENOTSUP:
        return "NotImplementedError";
    default:
        return "ValueError";
    }
}

/* The call is over: let go of what it had. Returns: its reply, which is the caller's. */
static covey_value *end_call(struct cvy_connection *c)
{
    struct cvy_hosted *hosted = c->hosted;
    covey_value *reply = c->call.reply, *request = c->request;
    c->call.reply = NULL;
    c->server->since_look += c->call.budget.used;
    cvy_call_end(&c->call);
    c->hosted = NULL;
    c->request = NULL;
    if (c->state == CVY_PARKED_CALL)
        c->state = CVY_SERVING;
    hosted->busy--;
    cvy_hosted_release(c->server, hosted);
    covey_value_free(request);
    return reply;
}

/* One of covey's has it handed on to its family when it is where others find it,
 * CVY_RECEIPT_REQUEST. */
static void reply_hosted(struct cvy_connection *c, const struct cvy_type *type,
                         struct cvy_hosted *hosted)
{
    covey_value *message = NULL;
    int r =
        cvy_client_incref(c->is_coveys ? c->client : cvy_connection_holder(c), hosted);
    if (r < 0) {
        cvy_hosted_release(c->server, hosted);
        cvy_connection_traceback(c, python_name(r), "%s", covey_error_detail());
        return;
    }
    const struct cvy_token token = {.type_id = type->name,
                                    .address = c->server->address_value,
                                    .ident = hosted->ident};
    r = covey_value_pack(&message, "(O, N)", type->exposed, cvy_token_make(&token));
    cvy_connection_reply(c, CVY_REPLY_PROXY, r < 0 ? NULL : message);
}

/* What a method made becomes an object of this client's. */
static void reply_made(struct cvy_connection *c)
{
    struct cvy_server *server = c->server;
    const struct cvy_class *cls = c->call.made;
    void *self = c->call.made_self;
    struct cvy_hosted *made = NULL;
    c->call.made = NULL;
    struct cvy_type *type = c->call.made_type;
    if (!type)
        type = cvy_registry_of_class(server->registry, cls);
    if (!type && cls->destroy)
        cls->destroy(self);
    int r = type ? cvy_hosted_add(server, type, self, &made) : -ENOMEM;
    covey_value_free(end_call(c));
    if (r < 0)
        cvy_connection_traceback(c, python_name(r), "%s", covey_error_detail());
    else
        reply_hosted(c, type, made);
}

/* The same of what is to be made now, as if the client had asked for it. */
static void reply_new(struct cvy_connection *c)
{
    struct cvy_type *type = c->call.made_type;
    covey_value *of = c->call.made_of;
    struct cvy_hosted *made = NULL;
    c->call.made = NULL;
    c->call.made_of = NULL;
    covey_value_free(end_call(c));
    const covey_value *args = covey_value_at(of, 0), *kwargs = covey_value_at(of, 1);
    int r = cvy_control_make(c, type, args, kwargs, &made);
    if (r < 0)
        cvy_connection_traceback(c, python_name(r), "%s", covey_error_detail());
    else if (!r)
        reply_hosted(c, type, made);
    covey_value_free(of);
}

/* The pickle of a result is as long as what is in it, wherever it is shared. */
static bool is_affordable(struct cvy_connection *c)
{
    uint64_t weight = c->call.reply ? cvy_weight(c->call.reply) : 0;
    return weight <= c->call.budget.steps;
}

static void reply_value(struct cvy_connection *c, enum cvy_reply_kind kind)
{
    if (kind == CVY_REPLY_RETURN && !is_affordable(c)) {
        kind = CVY_REPLY_ERROR;
        (void)cvy_raise(&c->call, "RuntimeError",
                        "the result has more values than the manager grants a request");
    }
    covey_value *reply = end_call(c);
    cvy_connection_reply(c, kind, reply ? reply : covey_value_none());
}

/* A call has ended with this result, or could not begin. */
static void reply_result(struct cvy_connection *c, int result)
{
    if (result < 0)
        result = cvy_raise_code(&c->call, result);
    if (result == 0 && c->call.made_of)
        reply_new(c);
    else if (result == 0 && c->call.made)
        reply_made(c);
    else if (result == 0)
        reply_value(c, CVY_REPLY_RETURN);
    else if (result == CVY_RAISED)
        reply_value(c, CVY_REPLY_ERROR);
    else {
        covey_value_free(end_call(c));
        cvy_connection_traceback(c, "MemoryError", "%s", covey_error_detail());
    }
}

void cvy_request_done(struct cvy_call *call, int result)
{
    struct cvy_connection *c = CVY_CONTAINER_OF(call, struct cvy_connection, call);
    reply_result(c, result);
    cvy_connection_resume(c);
}

void cvy_request_cancel(struct cvy_connection *c)
{
    if (c->call.waiters)
        cvy_cancel(&c->call);
    covey_value_free(end_call(c));
}

/* ---- calls ---- */

static const struct cvy_method *method_of(const struct cvy_class *cls, const char *name)
{
    for (size_t i = 0; i < cls->method_count; i++)
        if (strcmp(cls->methods[i].name, name) == 0)
            return &cls->methods[i];
    return NULL;
}

static bool is_exposed(const struct cvy_type *type, const char *method)
{
    if (!type->limited)
        return true;
    for (size_t i = 0; i < covey_value_count(type->exposed); i++) {
        const char *name;
        if (covey_value_get_str(covey_value_at(type->exposed, i), &name, NULL) == 0 &&
            strcmp(name, method) == 0)
            return true;
    }
    return strcmp(method, "__str__") == 0 || strcmp(method, "__repr__") == 0 ||
           strcmp(method, "#GETVALUE") == 0;
}

static void refuse_method(struct cvy_connection *c, const char *method)
{
    const struct cvy_class *cls = c->hosted->referent.cls;
    covey_value *request = covey_value_ref(c->request); /* which has the name */
    covey_value_free(end_call(c));
    cvy_connection_traceback(c, "AttributeError",
                             "method '%.80s' of '%s' object is not exposed", method,
                             cls->name);
    covey_value_free(request);
}

static void refuse_value(struct cvy_connection *c)
{
    const struct cvy_class *cls = c->hosted->referent.cls;
    covey_value_free(end_call(c));
    cvy_connection_reply(
        c, CVY_REPLY_UNSERIALIZABLE,
        covey_value_str_format("Traceback (most recent call last):\n"
                               "TypeError: cannot pickle '%s' object\n",
                               cls->name));
}

static void begin_call(struct cvy_connection *c, struct cvy_hosted *hosted,
                       const struct cvy_request *request)
{
    struct cvy_server *server = c->server;
    struct cvy_call *call = &c->call;
    cvy_call_begin(call, &server->parking, &c->session, &hosted->referent,
                   request->args, request->kwargs);
    call->server = server;
    cvy_server_grant(server, &call->budget);
    c->hosted = hosted;
    hosted->busy++;
}

/* `method`: if it is known. */
static void call_object(struct cvy_connection *c, struct cvy_hosted *hosted,
                        const struct cvy_request *request,
                        const struct cvy_method *method)
{
    struct cvy_server *server = c->server;
    const struct cvy_class *cls = hosted->referent.cls;
    begin_call(c, hosted, request);
    cvy_client_uses(c->client, hosted);
    cvy_nested_note_request(server, request->args, request->kwargs,
                            !cls->visit && hosted->type->is_custom);
    if (!is_exposed(hosted->type, request->method)) {
        refuse_method(c, request->method);
        return;
    }
    int r;
    if (cvy_unlikely(server->is_full) && method && method->flags & CVY_GROWS)
        r = cvy_raise(&c->call, "MemoryError", "the manager's memory is used up");
    else if (method)
        r = cvy_call_method(&c->call, method);
    else
        r = cvy_call_run(&c->call, request->method);
    if (r == CVY_PARKED)
        c->state = CVY_PARKED_CALL;
    else if (r == -ENOENT)
        refuse_method(c, request->method);
    else if (r == -ENOTSUP)
        refuse_value(c);
    else
        reply_result(c, r);
}

static void call_named(struct cvy_connection *c, const struct cvy_request *request)
{
    struct cvy_hosted *hosted = cvy_hosted_find(c->server, request->ident);
    if (hosted) {
        call_object(c, hosted, request,
                    method_of(hosted->referent.cls, request->method));
        return;
    }
    covey_value *message = c->request; /* which has the ident */
    c->request = NULL;
    cvy_connection_traceback(c, "KeyError", "'%s'", request->ident);
    covey_value_free(message);
}

/* ---- usual calls ---- */

static bool is_named(const struct cvy_method *method, struct covey_view name)
{
    return strlen(method->name) == name.size &&
           memcmp(method->name, name.data, name.size) == 0;
}

/* The method of a class with this name, which has at least one byte; NULL: none. */
static const struct cvy_method *find_method(struct cvy_server *server,
                                            const struct cvy_class *cls,
                                            struct covey_view name)
{
    const unsigned char *text = name.data;
    size_t place = (uintptr_t)cls / sizeof(void *) + 7 * name.size +
                   text[name.size / 2] + (size_t)5 * text[name.size / 3];
    struct cvy_recent *recent = &server->recent[place % CVY_RECENT];
    if (cvy_likely(recent->cls == cls && is_named(recent->method, name)))
        return recent->method;
    for (size_t i = 0; i < cls->method_count; i++)
        if (is_named(&cls->methods[i], name)) {
            *recent = (struct cvy_recent){cls, &cls->methods[i]};
            return recent->method;
        }
    return NULL;
}

/* Mostly the one of the call before. */
static struct cvy_hosted *find_hosted(struct cvy_server *server, const char *ident)
{
    struct cvy_hosted *recent = server->hosts.recent;
    if (cvy_unlikely(!recent || strcmp(recent->ident, ident) != 0))
        server->hosts.recent = recent = cvy_hosted_find(server, ident);
    return recent;
}

/* Do a request that is a call of a method with nothing unusual in it, without making a value
 * of the whole. Returns: whether it was one. */
static bool do_usual(struct cvy_connection *c, const void *data, size_t size,
                     const struct covey_unpickle_opts *limits)
{
    struct cvy_request_parts parts;
    char ident[CVY_IDENT_MAX + 1];
    if (!cvy_request_split(data, size, &parts) || !parts.method.size ||
        parts.ident.size > CVY_IDENT_MAX)
        return false;
    memcpy(ident, parts.ident.data, parts.ident.size);
    ident[parts.ident.size] = 0;
    struct cvy_hosted *hosted = find_hosted(c->server, ident);
    const struct cvy_method *method =
        hosted ? find_method(c->server, hosted->referent.cls, parts.method) : NULL;
    if (!method || cvy_request_args(&c->request, &parts, limits) < 0)
        return false;
    const struct cvy_request request = {
        .ident = hosted->ident,
        .method = method->name,
        .args = c->request,
        .kwargs = c->server->no_keywords,
    };
    call_object(c, hosted, &request, method);
    return true;
}

static bool is_for_manager(const struct cvy_request *request)
{
    return !request->ident || strcmp(request->ident, CVY_LANE_REQUEST) == 0 ||
           strcmp(request->ident, CVY_RECEIPT_REQUEST) == 0;
}

void cvy_request_do(struct cvy_connection *c, const void *data, size_t size)
{
    struct cvy_request request;
    const struct covey_unpickle_opts opts = {
        .size = sizeof opts,
        .max_memory = cvy_max_size(size * UNFOLDING, LEAST_MEMORY),
        .max_count = (size_t)c->server->limits.max_steps,
    };
    c->server->requests++;
    if (c->state == CVY_SERVING && do_usual(c, data, size, &opts))
        return;
    int r = covey_value_unpickle(&c->request, data, size, &opts);
    if (r >= 0)
        r = cvy_request_read(c->request, &request);
    if (r < 0) {
        covey_value_free(c->request);
        c->request = NULL;
        cvy_connection_traceback(c, python_name(r), "%s", covey_error_detail());
        if (c->state == CVY_CONTROL)
            cvy_connection_finish(c);
        return;
    }
    if (c->state == CVY_SERVING && !is_for_manager(&request)) {
        call_named(c, &request);
        return;
    }
    cvy_control_do(c, &request);
    covey_value_free(c->request);
    c->request = NULL;
}
