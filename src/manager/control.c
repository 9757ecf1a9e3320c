/* SPDX-License-Identifier: MIT */
/* control.c: requests for the manager itself. A stock client makes a connection for each.
 * On one that serves objects they are taken, too: then references belong to it. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/error.h"
#include "base/log.h"
#include "base/memory.h"
#include "manager/segments.h"
#include "manager/server.h"
#include "os/os.h"

/* Bytes of the name of a session. */
#define NAME_MOST 256

typedef int control_fn(struct cvy_connection *c, const struct cvy_request *request);

/* Each replies itself, or returns a negative code with the detail: a KeyError for -ENOENT,
 * a TypeError for COVEY_ETYPE. */

static int reply(struct cvy_connection *c, covey_value *value)
{
    cvy_connection_reply(c, CVY_REPLY_RETURN, value);
    return 0;
}

/* ---- arguments ---- */

/* The only argument, a str; it may be given by this keyword. */
static int one_text(const struct cvy_request *request, const char *keyword,
                    const char **ret)
{
    const covey_value *arg = covey_value_at(request->args, 0);
    size_t count = covey_value_count(request->args);
    if (!count)
        arg = covey_value_find_str(request->kwargs, keyword);
    if (!arg || count + covey_value_count(request->kwargs) != 1)
        return cvy_fail(COVEY_ETYPE, "%s() takes one argument, %s", request->method,
                        keyword);
    return covey_value_get_str(arg, ret, NULL);
}

static int no_arguments(const struct cvy_request *request)
{
    size_t count =
        covey_value_count(request->args) + covey_value_count(request->kwargs);
    return count ? cvy_fail(COVEY_ETYPE, "%s() takes no arguments, %zu were given",
                            request->method, count)
                 : 0;
}

static int find(const struct cvy_connection *c, const char *ident,
                struct cvy_hosted **ret)
{
    *ret = cvy_hosted_find(c->server, ident);
    return *ret ? 0 : cvy_fail(-ENOENT, "'%s'", ident);
}

/* ---- creating ---- */

/* Who counts by the connection over which it calls is gone when that ends. */
static void count_by_connection(struct cvy_connection *c)
{
    if (c->state != CVY_SERVING || c->client != &c->server->unknown)
        return;
    struct cvy_client *own = cvy_client_alone(c->server);
    if (!own)
        return;
    cvy_client_leave(c->server, c->client);
    c->client = own;
}

static int check_receipt(struct cvy_connection *c, uint64_t receipt)
{
    return cvy_receipt_is_early(c->server, receipt)
               ? cvy_fail(-EINVAL, "the reference was given back before")
               : 0;
}

/* One more reference. Returns: 1: it has the receipt that was asked for; 0: it has none. */
static int refer(struct cvy_connection *c, struct cvy_hosted *hosted)
{
    count_by_connection(c);
    struct cvy_client *holder = cvy_connection_holder(c);
    int r = cvy_client_incref(holder, hosted);
    return r < 0 ? r : cvy_receipt_add(c->server, hosted, holder, c->receipt);
}

/* All arguments but the type's name. */
static covey_value *rest_of(const covey_value *args)
{
    covey_value *rest = covey_value_tuple();
    for (size_t i = 1; i < covey_value_count(args); i++)
        (void)covey_value_append(rest, covey_value_ref(covey_value_at(args, i)));
    return rest;
}

/* Run a constructor. Returns: 0; CVY_RAISED: the exception is `call->reply`; a code. */
static int construct(struct cvy_connection *c, struct cvy_type *type,
                     struct cvy_call *call, struct cvy_hosted **ret)
{
    struct cvy_server *server = c->server;
    void *self = NULL;
    call->server = server;
    call->method = type->name;
    cvy_server_grant(server, &call->budget);
    int r = type->cls->create(call, &self);
    return r ? r : cvy_hosted_add(server, type, self, ret);
}

/* The last lines of what Python would print for an exception: `ValueError: text`. */
static void traceback_of(struct cvy_connection *c, const covey_value *value)
{
    struct cvy_exception exception;
    struct covey_bytes text = {0};
    if (cvy_exception_read(value, &exception) == 0 &&
        cvy_exception_str(&exception, &text) == 0)
        cvy_connection_traceback(c, exception.name, "%s", (const char *)text.data);
    else
        cvy_connection_traceback(c, "RuntimeError", "%s", covey_error_detail());
    covey_bytes_free(&text);
}

static int make_object(struct cvy_connection *c, struct cvy_type *type,
                       const covey_value *args, const covey_value *kwargs,
                       struct cvy_hosted **ret)
{
    struct cvy_call call;
    struct cvy_referent nobody = {.cls = type->cls};
    cvy_nested_note_request(c->server, args, kwargs,
                            !type->cls->visit && type->is_custom);
    cvy_call_begin(&call, &c->server->parking, &c->session, &nobody, args, kwargs);
    int r = construct(c, type, &call, ret);
    if (r == CVY_RAISED)
        traceback_of(c, call.reply);
    cvy_call_end(&call);
    return r;
}

/* The object that all get. */
static int shared_object(struct cvy_connection *c, struct cvy_type *type,
                         struct cvy_hosted **ret)
{
    int r = type->one ? 0 : make_object(c, type, type->args, NULL, &type->one);
    *ret = type->one;
    return r;
}

int cvy_control_make(struct cvy_connection *c, struct cvy_type *type,
                     const covey_value *args, const covey_value *kwargs,
                     struct cvy_hosted **ret)
{
    if (type->is_shared)
        return shared_object(c, type, ret);
    if (c->server->is_full)
        return cvy_fail(-ENOMEM, "the manager's memory is used up");
    return make_object(c, type, args, kwargs, ret);
}

static int create_any(struct cvy_connection *c, struct cvy_type *type,
                      const struct cvy_request *request, struct cvy_hosted **ret)
{
    covey_value *args = rest_of(request->args);
    int r = covey_value_check(args);
    if (r >= 0)
        r = cvy_control_make(c, type, args, request->kwargs, ret);
    covey_value_free(args);
    return r;
}

static int do_create(struct cvy_connection *c, const struct cvy_request *request)
{
    const char *name;
    struct cvy_hosted *made = NULL;
    covey_value *result = NULL;
    if (!covey_value_count(request->args))
        return cvy_fail(COVEY_ETYPE, "create() needs the name of a type");
    int r = covey_value_get_str(covey_value_at(request->args, 0), &name, NULL);
    if (r < 0)
        return r;
    struct cvy_type *type = cvy_registry_find(c->server->registry, name);
    if (!type || !type->cls->create)
        return cvy_fail(-ENOENT, "'%s'", name);
    r = check_receipt(c, c->receipt);
    if (r >= 0)
        r = create_any(c, type, request, &made);
    if (r)
        return r < 0 ? r : 0;
    r = refer(c, made);
    if (r < 0) {
        cvy_hosted_release(c->server, made);
        return r;
    }
    r = r ? covey_value_pack(&result, "(s, O, N)", made->ident, type->exposed,
                             covey_value_bool(1))
          : covey_value_pack(&result, "(s, O)", made->ident, type->exposed);
    return r < 0 ? r : reply(c, result);
}

/* ---- references ---- */

static int do_incref(struct cvy_connection *c, const struct cvy_request *request)
{
    const char *ident;
    struct cvy_hosted *hosted;
    int r = one_text(request, "ident", &ident);
    if (r >= 0)
        r = find(c, ident, &hosted);
    if (r >= 0)
        r = check_receipt(c, c->receipt);
    if (r >= 0)
        r = refer(c, hosted);
    return r < 0 ? r : reply(c, r ? covey_value_bool(1) : covey_value_none());
}

/* What a method returned is the calling process's until now, or of a process that cannot be
 * seen the session's. */
static int do_receipt(struct cvy_connection *c, const struct cvy_request *request)
{
    const char *ident;
    uint64_t receipt;
    struct cvy_hosted *hosted;
    struct cvy_client *holder = cvy_connection_holder(c);
    if (!holder->pid) /* so it is the session's alone */
        holder = &c->server->unknown;
    int r = covey_value_unpack(request->args, "(s, K)", &ident, &receipt);
    if (r >= 0)
        r = find(c, ident, &hosted);
    if (r >= 0 && !cvy_client_has(c->client, hosted))
        r = cvy_fail(-ENOENT, "this client has no reference to %s", ident);
    if (r < 0)
        return r;
    r = check_receipt(c, receipt);
    if (r >= 0 && receipt)
        r = cvy_client_incref(holder, hosted);
    bool has_receipt =
        r >= 0 && receipt && cvy_receipt_add(c->server, hosted, holder, receipt);
    (void)cvy_client_give_back(c->server, c->client, hosted);
    return r < 0 ? r : reply(c, covey_value_bool(has_receipt));
}

static int do_decref(struct cvy_connection *c, const struct cvy_request *request)
{
    const char *ident;
    struct cvy_hosted *hosted;
    int r = one_text(request, "ident", &ident);
    if (r >= 0 && c->receipt) {
        cvy_receipt_redeem(c->server, ident, c->receipt);
        return reply(c, covey_value_none());
    }
    if (r >= 0)
        r = find(c, ident, &hosted);
    if (r >= 0)
        r = cvy_client_decref(c->server, cvy_connection_holder(c), hosted);
    return r < 0 ? r : reply(c, covey_value_none());
}

/* ---- questions ---- */

static int do_get_methods(struct cvy_connection *c, const struct cvy_request *request)
{
    struct cvy_token token;
    struct cvy_hosted *hosted;
    if (covey_value_count(request->args) != 1)
        return cvy_fail(COVEY_ETYPE, "get_methods() takes one argument, a Token");
    int r = cvy_token_read(covey_value_at(request->args, 0), &token);
    if (r >= 0)
        r = find(c, token.ident, &hosted);
    return r < 0 ? r : reply(c, covey_value_ref(hosted->type->exposed));
}

static int do_number_of_objects(struct cvy_connection *c,
                                const struct cvy_request *request)
{
    int r = no_arguments(request);
    if (r < 0)
        return r;
    cvy_nested_look(c->server, cvy_os_now());
    return reply(c, covey_value_uint(cvy_hosted_count(c->server)));
}

static int by_ident(const void *a, const void *b)
{
    const struct cvy_hosted *const *x = a, *const *y = b;
    return strcmp((*x)->ident, (*y)->ident);
}

/* "  7f...:       refcount=1\n    [1, 2, 3]". All of them share a budget; when that is used
 * up, objects are told by their classes. */
static int describe(struct cvy_connection *c, struct cvy_hosted *hosted,
                    struct cvy_heap *budget, struct covey_bytes *text)
{
    char line[512];
    const char *repr = "?";
    struct cvy_call call;
    covey_value *none = covey_value_tuple();
    cvy_call_begin(&call, &c->server->parking, &c->session, &hosted->referent, none,
                   NULL);
    call.server = c->server;
    call.budget = *budget;
    if (cvy_call_run(&call, "__str__") != 0 ||
        covey_value_get_str(call.reply, &repr, NULL) < 0)
        repr = hosted->referent.cls->name;
    size_t cut = strnlen(repr, 75);
    while (cut > 0 && ((unsigned char)repr[cut] & 0xC0) == 0x80)
        cut--;
    int size = snprintf(line, sizeof line, "%s  %s:       refcount=%llu\n    %.*s",
                        text->size ? "\n" : "", hosted->ident,
                        (unsigned long long)hosted->refs, (int)cut, repr);
    *budget = call.budget;
    cvy_call_end(&call);
    covey_value_free(none);
    size_t old = text->size;
    int r = covey_bytes_resize(text, old + (size_t)size);
    if (r >= 0)
        memcpy((char *)text->data + old, line, (size_t)size);
    return r;
}

static int do_debug_info(struct cvy_connection *c, const struct cvy_request *request)
{
    struct covey_bytes text = {0};
    const struct cvy_hosts *hosts = &c->server->hosts;
    struct cvy_heap budget;
    cvy_server_grant(c->server, &budget);
    size_t count = 0, place = 0;
    int r = no_arguments(request);
    if (r < 0)
        return r;
    cvy_nested_look(c->server, cvy_os_now());
    struct cvy_hosted **all =
        cvy_malloc((hosts->count + 1) * sizeof(struct cvy_hosted *));
    if (!all)
        return cvy_fail(-ENOMEM, "no memory for a list of all objects");
    for (struct cvy_hosted *h = NULL; (h = cvy_hosted_next(c->server, &place, h));)
        all[count++] = h;
    qsort(all, count, sizeof *all, by_ident);
    for (size_t i = 0; i < count && r >= 0; i++)
        r = describe(c, all[i], &budget, &text);
    cvy_free(all);
    covey_value *result = covey_value_str_size(text.data ? text.data : "", text.size);
    covey_bytes_free(&text);
    if (r < 0)
        covey_value_free(result);
    return r < 0 ? r : reply(c, result);
}

static int do_dummy(struct cvy_connection *c, const struct cvy_request *request)
{
    int r = no_arguments(request);
    return r < 0 ? r : reply(c, covey_value_none());
}

/* ---- sessions and the end ---- */

static int do_accept_connection(struct cvy_connection *c,
                                const struct cvy_request *request)
{
    const char *name;
    int r = one_text(request, "name", &name);
    if (r < 0)
        return r;
    if (c->state == CVY_SERVING)
        return cvy_fail(COVEY_ETYPE, "the connection is accepted already");
    if (strlen(name) > NAME_MOST)
        return cvy_fail(-EINVAL, "a name of %zu bytes; a session's has at most %d",
                        strlen(name), NAME_MOST);
    char *copy = cvy_strdup(name);
    if (!copy)
        return cvy_fail(-ENOMEM, "no memory for the name of a session");
    c->name = copy;
    c->session.name = copy;
    c->state = CVY_SERVING;
    if (c->is_coveys) /* until it has signed for what a method returned */
        count_by_connection(c);
    return reply(c, c->is_coveys ? covey_value_bool(1) : covey_value_none());
}

/* A client of the same family may ask again, and is told no. */
static int do_lane(struct cvy_connection *c, const struct cvy_request *request)
{
    struct cvy_lane_ticket ticket = {0};
    struct cvy_lane_end lane;
    if (c->state != CVY_SERVING)
        return cvy_fail(COVEY_ETYPE, "only sessions have lanes");
    int r = covey_value_unpack(request->args, "(K, K, K)", &ticket.device,
                               &ticket.inode, &ticket.ref);
    if (r < 0)
        return r;
    bool has_lane = !c->lane.lane && cvy_lane_take(ticket, &lane) == 0;
    (void)reply(c, covey_value_bool(has_lane));
    if (has_lane)
        cvy_lanes_use(c, &lane);
    return 0;
}

/* CPython's server sends a second reply, since what it does ends like any request. */
static int do_shutdown(struct cvy_connection *c, const struct cvy_request *request)
{
    char text[320];
    int r = no_arguments(request);
    if (r < 0)
        return r;
    (void)covey_log(COVEY_LOG_INFO, "manager %s: %s asks it to shut down",
                    c->server->address, cvy_connection_describe(c, text));
    cvy_segments_clear(c->server);
    (void)reply(c, covey_value_none());
    cvy_server_stop(c->server);
    return reply(c, covey_value_none());
}

/* ---- segments ---- */

/* CPython's server answers None: by True clients know that the manager is a user. */
static int do_track_segment(struct cvy_connection *c, const struct cvy_request *request)
{
    const char *name;
    int r = one_text(request, "segment_name", &name);
    if (r >= 0)
        r = cvy_segments_track(c->server, name);
    if (r == -ENOENT) {
        cvy_connection_traceback(c, "FileNotFoundError",
                                 "[Errno 2] No such file or directory: '/%.255s'",
                                 name);
        return 0;
    }
    return r < 0 ? r : reply(c, covey_value_bool(1));
}

static int do_release_segment(struct cvy_connection *c,
                              const struct cvy_request *request)
{
    const char *name;
    int r = one_text(request, "segment_name", &name);
    if (r >= 0)
        r = cvy_segments_release(c->server, name);
    return r < 0 ? r : reply(c, covey_value_none());
}

static int do_list_segments(struct cvy_connection *c, const struct cvy_request *request)
{
    int r = no_arguments(request);
    return r < 0 ? r : reply(c, cvy_segments_names(c->server));
}

/* ---- all ---- */

static const struct {
    const char *name;
    control_fn *fn;
    bool is_of_segments;
} controls[] = {
    {"shutdown", do_shutdown, false},
    {"create", do_create, false},
    {"accept_connection", do_accept_connection, false},
    {"get_methods", do_get_methods, false},
    {"debug_info", do_debug_info, false},
    {"number_of_objects", do_number_of_objects, false},
    {"dummy", do_dummy, false},
    {"incref", do_incref, false},
    {"decref", do_decref, false},
    {CVY_LANE_REQUEST, do_lane, false},
    {CVY_RECEIPT_REQUEST, do_receipt, false},
    {"track_segment", do_track_segment, true},
    {"release_segment", do_release_segment, true},
    {"list_segments", do_list_segments, true},
};

static void fail(struct cvy_connection *c, int code)
{
    const char *name = "RuntimeError";
    if (code == -ENOENT)
        name = "KeyError";
    else if (code == COVEY_ETYPE)
        name = "TypeError";
    else if (code == -ENOMEM || code == -EMSGSIZE)
        name = "MemoryError";
    else if (code == COVEY_EPROTOCOL || code == -EINVAL)
        name = "ValueError";
    cvy_connection_traceback(c, name, "%s", covey_error_detail());
}

/* The number at `*at`, which `stop` ends. */
static bool read_number(const char **at, int base, char stop, uint64_t *ret)
{
    char *end;
    *ret = strtoull(*at, &end, base);
    bool is_number = end > *at && *end == stop;
    *at = end + 1;
    return is_number;
}

/* A client of covey's counts for its whole family: "covey-FIRST-OWN-RECEIPT" are the numbers
 * of the family's first process, of its own, and of the reference that it asks for or gives
 * back, in hex. When the first has ended it counts for itself. A session does so, too, but
 * it is its own process whose end it ends with. */
static void count_for_family(struct cvy_connection *c, const char *ident)
{
    static const char mark[] = "covey-";
    uint64_t first, own, receipt;
    if (!ident || strncmp(ident, mark, sizeof mark - 1) != 0)
        return;
    ident += sizeof mark - 1;
    if (!read_number(&ident, 10, '-', &first) || !read_number(&ident, 10, '-', &own) ||
        !read_number(&ident, 16, 0, &receipt))
        return;
    c->is_coveys = true;
    c->receipt = receipt;
    if (c->client->pid > 0 && own == (uint64_t)c->client->pid && first != own &&
        first <= INT_MAX)
        c->family = cvy_client_of_process(c->server, (int)first);
}

void cvy_control_do(struct cvy_connection *c, const struct cvy_request *request)
{
    bool once = c->state == CVY_CONTROL;
    if (once)
        count_for_family(c, request->ident);
    size_t i = 0;
    while (i < CVY_ARRAY_SIZE(controls) &&
           strcmp(controls[i].name, request->method) != 0)
        i++;
    if (i == CVY_ARRAY_SIZE(controls) ||
        (controls[i].is_of_segments && !c->server->segments)) {
        cvy_connection_traceback(c, "AssertionError", "'%.80s' unrecognized",
                                 request->method);
    } else {
        int r = controls[i].fn(c, request);
        if (r < 0)
            fail(c, r);
    }
    if (once && c->state == CVY_CONTROL)
        cvy_connection_finish(c);
}
