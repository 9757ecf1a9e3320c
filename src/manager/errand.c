/* SPDX-License-Identifier: MIT */
/* errand.c: what one call asked of a pool; see crew.h.
 *
 *   part:  not submitted --> a task of the pool --> finished, with results or an exception
 *
 * Callbacks of the pool only note what came: they run in covey_pool_dispatch, which the
 * loop calls, or, when the pool ends, in its thread, and find no errand then. */
#include <errno.h>
#include <string.h>

#include "base/base.h"
#include "base/error.h"
#include "base/log.h"
#include "base/memory.h"
#include "manager/crew.h"

/* ---- what is kept ---- */

void cvy_errand_ref(struct cvy_errand *errand)
{
    errand->refs++;
}

static void free_parts(struct cvy_errand *errand)
{
    for (size_t i = 0; errand->results && i < errand->parts; i++)
        covey_value_free(errand->results[i]);
    cvy_free(errand->results);
    cvy_free(errand->outcomes);
    cvy_free(errand->arrived);
    errand->results = NULL;
    errand->outcomes = NULL;
    errand->arrived = NULL;
}

void cvy_errand_drop(struct cvy_errand *errand)
{
    if (--errand->refs > 0)
        return;
    free_parts(errand);
    covey_value_free(errand->function.code);
    covey_value_free(errand->fault);
    covey_value_free(errand->items);
    covey_value_free(errand->whole);
    cvy_free(errand->function.name);
    cvy_free(errand->client);
    cvy_free(errand);
}

void cvy_errand_visit(const struct cvy_errand *errand, cvy_visit_fn *fn, void *context)
{
    if (errand->items)
        fn(context, errand->items);
    if (errand->whole)
        fn(context, errand->whole);
    for (size_t i = 0; errand->results && i < errand->parts; i++)
        if (errand->results[i])
            fn(context, errand->results[i]);
}

void cvy_errand_watch(struct cvy_errand *errand)
{
    cvy_errand_ref(errand);
    if (!errand->watchers++ && errand->crew)
        errand->crew->wanted++;
}

void cvy_errand_unwatch(struct cvy_errand *errand)
{
    struct cvy_crew *crew = errand->crew;
    if (!--errand->watchers && crew)
        crew->wanted--;
    cvy_errand_drop(errand);
    if (crew)
        cvy_crew_settle(crew);
}

/* ---- finishing ---- */

/* All lists in one. NULL: no memory. */
static covey_value *join_results(struct cvy_errand *errand)
{
    covey_value *whole = covey_value_list();
    if (errand->spread == CVY_SPREAD_NONE) {
        covey_value_free(whole);
        return covey_value_ref(covey_value_at(errand->results[0], 0));
    }
    for (size_t i = 0; i < errand->parts; i++) {
        for (size_t k = 0; k < covey_value_count(errand->results[i]); k++)
            (void)covey_value_append(
                whole, covey_value_ref(covey_value_at(errand->results[i], k)));
        covey_value_free(errand->results[i]);
        errand->results[i] = NULL;
    }
    if (covey_value_check(whole) >= 0)
        return whole;
    covey_value_free(whole);
    return NULL;
}

static void make_whole(struct cvy_errand *errand)
{
    if (errand->first_raised == SIZE_MAX)
        errand->whole = join_results(errand);
    else
        errand->whole = covey_value_ref(errand->results[errand->first_raised]);
    free_parts(errand);
}

static void leave_crew(struct cvy_errand *errand)
{
    struct cvy_crew *crew = errand->crew;
    if (errand->previous)
        errand->previous->next = errand->next;
    else
        crew->errands = errand->next;
    if (errand->next)
        errand->next->previous = errand->previous;
    else
        crew->last_errand = errand->previous;
    if (errand->watchers)
        crew->wanted--;
    errand->crew = NULL;
    covey_value_free(errand->items); /* results may be kept for long */
    errand->items = NULL;
}

/* Who waits for all of it wakes at its end, who waits for a part each time one is there. */
static void finish_part(struct cvy_errand *errand, size_t part, bool is_ok,
                        covey_value *result)
{
    if (!is_ok && errand->first_raised == SIZE_MAX)
        errand->first_raised = part;
    errand->results[part] = result;
    errand->outcomes[part] = is_ok ? CVY_PART_OK : CVY_PART_RAISED;
    errand->arrived[errand->done++] = part;
    if (errand->done < errand->parts) {
        if (!errand->is_whole)
            (void)cvy_wake_first(&errand->waiters);
        return;
    }
    if (errand->is_whole)
        make_whole(errand);
    leave_crew(errand);
    cvy_wake_all(&errand->waiters);
    cvy_errand_drop(errand);
}

/* What the pool itself says: the worker died, there was no memory, workers cannot be started.
 * It begins with a call that the client has not made. */
static covey_value *failure(const struct cvy_errand *errand, int code)
{
    static const char call[] = "covey_pool_apply_async: ";
    bool is_memory = code == -ENOMEM || code == -EMSGSIZE;
    const char *detail = covey_error_detail();
    if (strncmp(detail, call, sizeof call - 1) == 0)
        detail += sizeof call - 1;
    return cvy_exception_text("builtins", is_memory ? "MemoryError" : "RuntimeError",
                              "%s: %s", errand->function.name, detail);
}

/* One exception does for all parts: there may be millions. */
void cvy_errand_cancel(struct cvy_errand *errand)
{
    size_t left = errand->parts - errand->done;
    covey_value *exception;
    if (errand->refs == 1) { /* nobody will ask what has come of it */
        leave_crew(errand);
        cvy_errand_drop(errand);
        return;
    }
    exception = cvy_exception_text("builtins", "RuntimeError",
                                   "the pool was terminated before this was done");
    cvy_errand_ref(errand);
    errand->next_part = errand->parts;
    for (size_t i = 0; left > 0; i++) {
        if (errand->outcomes[i] != CVY_PART_PENDING)
            continue;
        left--;
        finish_part(errand, i, false, covey_value_ref(exception));
    }
    covey_value_free(exception);
    cvy_errand_drop(errand);
}

/* ---- parts ---- */

static void leave_tasks(struct cvy_crew *crew, struct cvy_task *task)
{
    if (task->previous)
        task->previous->next = task->next;
    else
        crew->tasks = task->next;
    if (task->next)
        task->next->previous = task->previous;
    crew->out--;
    crew->out_bytes -= task->bytes;
}

static int check_memory(struct cvy_server *server)
{
    cvy_server_look_at_memory(server);
    return server->is_full
               ? cvy_fail(-ENOMEM, "the manager uses more memory than it may")
               : 0;
}

/* Workers are not asked how much they give. */
static int unpickle(struct cvy_server *server, const struct covey_bytes *bytes,
                    covey_value **ret)
{
    struct covey_unpickle_opts limits = {.size = sizeof limits,
                                         .max_memory = server->limits.max_reply};
    server->since_look += bytes->size;
    int r = check_memory(server);
    if (r >= 0 && bytes->size > server->limits.max_reply)
        r = cvy_fail(-EMSGSIZE, "results of %zu bytes, the most is %zu", bytes->size,
                     server->limits.max_reply);
    return r < 0 ? r : covey_value_unpickle(ret, bytes->data, bytes->size, &limits);
}

/* What the worker gave: (True, results) or (False, exception). */
static int read_result(struct cvy_server *server, covey_result *result, int *ret_ok,
                       covey_value **ret)
{
    struct covey_bytes bytes = {0};
    covey_value *pair = NULL;
    const covey_value *ok, *value;
    int r = covey_result_get(result, &bytes, COVEY_NOWAIT);
    if (r >= 0)
        r = unpickle(server, &bytes, &pair);
    if (r >= 0)
        r = covey_value_unpack(pair, "(O, O)", &ok, &value);
    if (r >= 0) {
        *ret_ok = covey_value_truth(ok);
        *ret = covey_value_ref(value);
    }
    covey_value_free(pair);
    covey_bytes_free(&bytes);
    return r;
}

static void task_done(void *context, covey_result *result)
{
    struct cvy_task *task = context;
    struct cvy_errand *errand = task->errand;
    covey_value *value = NULL;
    int ok = 0;
    if (errand) {
        leave_tasks(errand->crew, task);
        int r = read_result(errand->crew->server, result, &ok, &value);
        if (r < 0)
            finish_part(errand, task->part, false, failure(errand, r));
        else
            finish_part(errand, task->part, ok, value);
    }
    cvy_free(task);
}

static int pickle_part(struct cvy_errand *errand, size_t part, struct covey_bytes *ret)
{
    covey_value *items = covey_value_tuple();
    size_t from = part * errand->chunk;
    size_t to = cvy_min_size(from + errand->chunk, errand->count);
    for (size_t i = from; i < to; i++)
        (void)covey_value_append(items,
                                 covey_value_ref(covey_value_at(errand->items, i)));
    int r = covey_value_check(items);
    if (r >= 0)
        r = cvy_function_pickle(&errand->function, errand->client, errand->spread,
                                items, ret);
    covey_value_free(items);
    return r;
}

/* `*ret_bytes`: what was pickled. */
static int submit(struct cvy_errand *errand, size_t part, size_t *ret_bytes)
{
    struct cvy_crew *crew = errand->crew;
    struct covey_bytes pickle = {0};
    struct cvy_task *task = cvy_calloc(1, sizeof *task);
    int r =
        task ? check_memory(crew->server) : cvy_fail(-ENOMEM, "no memory for a task");
    if (r >= 0)
        r = pickle_part(errand, part, &pickle);
    *ret_bytes = pickle.size;
    if (r >= 0 && pickle.size > errand->grant)
        r = cvy_fail(-EMSGSIZE, "more memory than the manager grants a request");
    if (r >= 0) {
        *task = (struct cvy_task){
            .next = crew->tasks, .errand = errand, .part = part, .bytes = pickle.size};
        r = covey_pool_apply_async(
            NULL, crew->pool, cvy_function_task, COVEY_VIEW(pickle.data, pickle.size),
            COVEY_TASK_OPTS(.callback = task_done, .error_callback = task_done,
                            .callback_ctx = task));
    }
    covey_bytes_free(&pickle);
    if (r < 0) {
        cvy_free(task);
        return r;
    }
    errand->grant -= task->bytes;
    if (crew->tasks)
        crew->tasks->previous = task;
    crew->tasks = task;
    crew->out++;
    crew->out_bytes += task->bytes;
    return 0;
}

/* If one cannot be submitted, because there is no memory left for it, or no pool, those
 * after it are not tried: each would be pickled only to fail. */
size_t cvy_errand_submit(struct cvy_errand *errand)
{
    size_t part = errand->next_part++, bytes = 0;
    if (!errand->fault) {
        int r = submit(errand, part, &bytes);
        if (r >= 0)
            return bytes;
        errand->fault = failure(errand, r);
    }
    finish_part(errand, part, false, covey_value_ref(errand->fault));
    return bytes;
}

/* ---- making ---- */

static void enter_crew(struct cvy_errand *errand, struct cvy_crew *crew)
{
    errand->crew = crew;
    errand->previous = crew->last_errand;
    if (crew->last_errand)
        crew->last_errand->next = errand;
    else
        crew->errands = errand;
    crew->last_errand = errand;
    cvy_errand_ref(errand);
}

/* Returns: 0; CVY_RAISED; -ENOMEM. */
static int divide(struct cvy_errand *errand, struct cvy_call *call,
                  const struct cvy_crew *crew, size_t chunk)
{
    size_t per_part = sizeof(covey_value *) + 1 + sizeof *errand->arrived;
    size_t quarters = 4 * crew->workers;
    errand->count = covey_value_count(errand->items);
    errand->chunk = chunk ? chunk : (errand->count + quarters - 1) / quarters;
    if (!errand->chunk)
        errand->chunk = 1;
    errand->parts = errand->count / errand->chunk;
    errand->parts += errand->count % errand->chunk > 0;
    int r = cvy_charge_bytes(call, (uint64_t)errand->parts * per_part);
    if (r)
        return r;
    errand->results = cvy_calloc(errand->parts, sizeof(covey_value *));
    errand->outcomes = cvy_calloc(errand->parts, 1);
    errand->arrived = cvy_calloc(errand->parts, sizeof *errand->arrived);
    return errand->results && errand->outcomes && errand->arrived
               ? 0
               : cvy_fail(-ENOMEM, "no memory for %zu items", errand->count);
}

int cvy_errand_begin(struct cvy_errand **out, struct cvy_call *call,
                     struct cvy_crew *crew, const struct cvy_order *order)
{
    struct cvy_errand *errand = cvy_calloc(1, sizeof *errand);
    if (!errand) {
        covey_value_free(order->fault);
        covey_value_free(order->items);
        return cvy_fail(-ENOMEM, "no memory for an errand");
    }
    errand->refs = 1;
    errand->spread = order->spread;
    errand->is_whole = order->is_whole;
    errand->fault = order->fault;
    errand->items = order->items;
    errand->first_raised = SIZE_MAX;
    errand->client = cvy_strdup(call->session->name ? call->session->name : "");
    errand->function.name =
        cvy_strdup(order->function ? order->function->name : "the call");
    if (order->function)
        errand->function.code = covey_value_ref(order->function->code);
    errand->grant =
        crew->server->limits.max_message + (size_t)crew->server->limits.max_bytes;
    int r = covey_value_check(order->items);
    if (r >= 0 && order->fault)
        r = covey_value_check(order->fault);
    if (r >= 0 && (!errand->client || !errand->function.name))
        r = cvy_fail(-ENOMEM, "no memory for an errand");
    if (r >= 0)
        r = divide(errand, call, crew, order->chunk);
    if (r) {
        cvy_errand_drop(errand);
        return r;
    }
    if (errand->parts > 0)
        enter_crew(errand, crew);
    else if (errand->is_whole)
        errand->whole = covey_value_list();
    cvy_crew_settle(crew);
    *out = errand;
    return 0;
}
