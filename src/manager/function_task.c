/* SPDX-License-Identifier: MIT */
/* function_task.c: registered functions in the workers of a manager's pool.
 *
 * A worker is given pickles and gives pickles. Exceptions are results as far as its pool
 * knows; a task that fails there has met something that is not the function's. */
#include <errno.h>
#include <string.h>

#include "base/error.h"
#include "manager/custom.h"
#include "manager/function.h"
#include "manager/job.h"
#include "manager/server.h"
#include "manager/types/help.h"
#include "os/os.h"
#include "value/walk.h"

/* ---- pickles: (code, name, client, spread, items) ---- */

int cvy_function_pickle(const struct cvy_function *function, const char *client,
                        enum cvy_spread spread, const covey_value *items,
                        struct covey_bytes *ret)
{
    covey_value *part = NULL;
    int r = covey_value_pack(&part, "(O, s, s, i, O)", function->code, function->name,
                             client, (int)spread, items);
    if (r >= 0)
        r = covey_value_pickle(part, ret);
    covey_value_free(part);
    return r;
}

struct part {
    covey_function_fn *fn;
    const char *name, *client;
    const covey_value *items;
    enum cvy_spread spread;
    const struct covey_call *task;
};

/* The one that came last most often comes again. A worker has one thread. */
static int decode(const covey_value *value, covey_function_fn **ret)
{
    static covey_value *last;
    static covey_function_fn *last_fn;
    struct covey_view code = {0}, known = {0};
    cvy_code_fn *fn;
    int r = covey_value_get_bytes(value, &code);
    if (r < 0)
        return r;
    if (last && covey_value_get_bytes(last, &known) == 0 && known.size == code.size &&
        memcmp(known.data, code.data, code.size) == 0) {
        *ret = last_fn;
        return 0;
    }
    r = cvy_code_from_value(value, &fn);
    if (r < 0)
        return r;
    covey_value_free(last);
    last = covey_value_ref(value);
    last_fn = (covey_function_fn *)fn;
    *ret = last_fn;
    return 0;
}

static int read_part(const covey_value *value, struct part *ret)
{
    const covey_value *code;
    int spread;
    int r = covey_value_unpack(value, "(O, s, s, i, O)", &code, &ret->name,
                               &ret->client, &spread, &ret->items);
    if (r < 0)
        return r;
    ret->spread = (enum cvy_spread)spread;
    return decode(code, &ret->fn);
}

/* ---- calls ---- */

static int run(struct cvy_call *call, covey_function_fn *fn, const char *client,
               const struct covey_call *task)
{
    covey_request request = {
        .args = call->args, .kwargs = call->kwds, .client = client, .task = task};
    int r = fn(&request);
    r = cvy_custom_finish(call, &request, r);
    return r < 0 ? cvy_raise_code(call, r) : r;
}

int cvy_function_run(struct cvy_call *call, covey_function_fn *fn, const char *client)
{
    return run(call, fn, client, NULL);
}

/* What follows the star of a call. `*ret`: a tuple, the caller's. */
static int take_star(struct cvy_call *call, const char *name, const covey_value *value,
                     covey_value **ret)
{
    struct cvy_walk walk;
    covey_value *item, *args;
    int r = 0;
    if (covey_value_kind(value) == COVEY_VALUE_TUPLE) {
        *ret = covey_value_ref(value);
        return 0;
    }
    if (cvy_walk_begin(&walk, value) < 0) {
        const char *type = cvy_type_of(value);
        bool is_builtin = name && strncmp(name, "builtins.", 9) == 0;
        return name ? cvy_raise(call, "TypeError",
                                "%s() argument after * must be an iterable, not %s",
                                is_builtin ? name + 9 : name, type)
                    : cvy_raise(call, "TypeError", "'%s' object is not iterable", type);
    }
    args = covey_value_tuple();
    while (r >= 0 && (r = cvy_walk_next(&walk, &call->budget, &item)) > 0)
        r = covey_value_append(args, item);
    if (r < 0) {
        covey_value_free(args);
        return r;
    }
    *ret = args;
    return 0;
}

static int take_args(struct cvy_call *call, const struct part *part,
                     const covey_value *item, covey_value **ret_args)
{
    const covey_value *args, *kwds;
    int r;
    switch (part->spread) {
    case CVY_SPREAD_MAP:
        *ret_args = covey_value_tuple();
        return covey_value_append(*ret_args, covey_value_ref(item));
    case CVY_SPREAD_STAR:
        return take_star(call, NULL, item, ret_args);
    default:
        r = covey_value_unpack(item, "(O, O)", &args, &kwds);
        call->kwds = kwds;
        if (r >= 0)
            r = cvy_check_names(call, kwds);
        return r ? r : take_star(call, part->name, args, ret_args);
    }
}

/* Returns: 0; CVY_RAISED; a code. `*ret`: the result or exception. */
static int run_item(const struct part *part, const covey_value *item, covey_value **ret)
{
    struct cvy_call call;
    covey_value *args = NULL;
    cvy_call_begin(&call, NULL, NULL, NULL, NULL, NULL);
    call.budget.steps = UINT64_MAX;
    call.budget.limit = UINT64_MAX;
    int r = take_args(&call, part, item, &args);
    if (r < 0)
        r = cvy_raise_code(&call, r);
    if (!r) {
        call.args = args;
        r = run(&call, part->fn, part->client, part->task);
    }
    *ret = call.reply;
    call.reply = NULL;
    cvy_call_end(&call);
    covey_value_free(args);
    return r;
}

static int run_items(const struct part *part, covey_value **ret)
{
    covey_value *results = covey_value_list();
    for (size_t i = 0; i < covey_value_count(part->items); i++) {
        covey_value *result = NULL;
        int r = run_item(part, covey_value_at(part->items, i), &result);
        if (!r)
            r = covey_value_append(results, result);
        if (!r)
            continue;
        covey_value_free(results);
        *ret = r == CVY_RAISED ? result : NULL;
        return r;
    }
    *ret = results;
    return covey_value_check(results);
}

int cvy_function_task(struct covey_call *task)
{
    covey_value *value = NULL, *result = NULL, *reply = NULL;
    struct part part = {.task = task};
    int r = covey_call_value(task, &value);
    if (r >= 0)
        r = read_part(value, &part);
    if (r >= 0)
        r = run_items(&part, &result);
    if (r >= 0)
        r = covey_value_pack(&reply, "(N, N)", covey_value_bool(r == 0), result);
    if (r >= 0)
        r = covey_call_return_value(task, reply);
    if (r < 0)
        r = covey_call_fail(task, "%s", covey_error_detail());
    covey_value_free(reply);
    covey_value_free(value);
    return r;
}

/* ---- what a worker does first: (server, code or None, name, args) ---- */

int cvy_function_initarg(const void *server, const struct cvy_function *function,
                         const covey_value *args, struct covey_bytes *ret)
{
    covey_value *value = NULL,
                *given = args ? covey_value_ref(args) : covey_value_tuple();
    int r = covey_value_pack(
        &value, "(K, N, s, N)", (unsigned long long)(uintptr_t)server,
        function ? covey_value_ref(function->code) : covey_value_none(),
        function ? function->name : "", given);
    if (r >= 0)
        r = covey_value_pickle(value, ret);
    covey_value_free(value);
    return r;
}

/* A fork child has copies of the sockets of all clients, who would wait for their ends. */
static void let_go(struct cvy_server *server)
{
    for (struct cvy_connection *c = server->connections; c; c = c->next)
        cvy_os_close(c->fd);
    covey_listener_free(server->listener);
}

static void log_raised(const char *name, const covey_value *exception)
{
    struct cvy_exception e = {0};
    struct covey_bytes text = {0};
    if (cvy_exception_read(exception, &e) == 0 && cvy_exception_str(&e, &text) == 0)
        (void)covey_log(COVEY_LOG_ERROR, "initializer %s: %s: %s", name, e.name,
                        (const char *)text.data);
    covey_bytes_free(&text);
}

static int initialize(const covey_value *code, const char *name,
                      const covey_value *args)
{
    covey_value *pair = NULL, *result = NULL;
    struct part part = {.name = name, .client = ""};
    int r = decode(code, &part.fn);
    if (r >= 0)
        r = covey_value_pack(&pair, "(O, {})", args);
    if (r >= 0)
        r = run_item(&part, pair, &result);
    if (r == CVY_RAISED)
        log_raised(name, result);
    covey_value_free(result);
    covey_value_free(pair);
    return r;
}

int cvy_function_initialize(struct covey_view arg)
{
    covey_value *value = NULL;
    const covey_value *code, *args;
    const char *name;
    unsigned long long server = 0;
    int r = covey_value_unpickle(&value, arg.data, arg.size, NULL);
    if (r >= 0)
        r = covey_value_unpack(value, "(K, O, s, O)", &server, &code, &name, &args);
    if (r >= 0 && server) {
        struct cvy_server *copy;
        uintptr_t address = (uintptr_t)server;
        memcpy(&copy, &address, sizeof copy);
        let_go(copy);
    }
    if (r >= 0 && !covey_value_is_none(code))
        r = initialize(code, name, args);
    covey_value_free(value);
    return r ? 1 : 0;
}
