/* SPDX-License-Identifier: MIT */
/* start.c: a manager in a child process.
 *
 * The starter gives the child a plan, a pickled value, and one end of a pipe, over which
 * the child says (0, address) or (code, detail). */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/memory.h"
#include "manager/custom.h"
#include "manager/function.h"
#include "manager/serve.h"
#include "manager/started.h"
#include "manager/stop.h"
#include "os/events.h"
#include "os/os.h"

#include <covey/connection.h>

static _Atomic unsigned count;
static _Atomic uint64_t last_ticket;

/* ---- in the child ---- */

static int tell(covey_conn *pipe, int code, const char *text)
{
    covey_value *value = NULL;
    int r = covey_value_pack(&value, "(i, s)", code, text);
    if (r >= 0)
        r = covey_conn_send_value(pipe, value, COVEY_SEC(10));
    covey_value_free(value);
    return r;
}

struct child {
    covey_value *plan; /* and what in it is to be registered: */
    const covey_value *types, *functions;
    covey_conn *pipe; /* NULL: something was said */
    void *initarg;
    int is_thread;
    uint64_t ticket;
};

/* Only the first time something is said. */
static int tell_once(struct child *child, int code, const char *text)
{
    if (!child->pipe)
        return 0;
    int r = tell(child->pipe, code, text);
    covey_conn_free(child->pipe);
    child->pipe = NULL;
    return r;
}

/* If the starter has given up nobody wants a manager. */
static void tell_address(void *context, const char *address)
{
    struct child *child = context;
    if (tell_once(child, 0, address) < 0)
        cvy_serve_stop(child->ticket);
}

/* What is in a plan: see plan_value. */
static int read_plan(struct child *child, struct covey_manager_opts *o,
                     struct cvy_tls_settings *tls)
{
    const void *key = NULL, *settings = NULL;
    size_t key_size = 0, settings_size = 0;
    unsigned long long pipe = 0, ticket = 0, memory = 0, steps = 0, bytes = 0;
    long long handshake = 0, sending = 0;
    int md5 = 0, standard = 0, segments = 0;
    const covey_value *sizes, *code;
    cvy_code_fn *fn = NULL;
    int r = covey_value_unpack(
        child->plan, "(K, K, z, y#, y#, i, i, i, i, O, O, y#, O, O)", &pipe, &ticket,
        &o->address, &key, &key_size, &settings, &settings_size, &md5, &standard,
        &segments, &child->is_thread, &sizes, &code, &o->initarg.data, &o->initarg.size,
        &child->types, &child->functions);
    if (r >= 0)
        r = cvy_code_from_value(code, &fn);
    if (r >= 0)
        r = covey_value_unpack(sizes, "(n, n, n, n, n, K, K, K, L, L)", &o->max_message,
                               &o->max_reply, &o->max_objects, &o->max_sessions,
                               &o->max_workers, &memory, &steps, &bytes, &handshake,
                               &sending);
    if (r >= 0 && settings_size == sizeof *tls)
        memcpy(tls, settings, sizeof *tls);
    o->initializer = (covey_target_fn *)fn;
    o->authkey = COVEY_VIEW(key, key_size);
    o->allow_md5 = md5 ? COVEY_ON : COVEY_OFF;
    o->standard_types = standard ? COVEY_ON : COVEY_OFF;
    o->segments = segments ? COVEY_ON : COVEY_OFF;
    o->max_memory = memory;
    o->max_steps = steps;
    o->max_bytes = bytes;
    o->handshake_timeout = handshake;
    o->send_timeout = sending;
    uintptr_t address = (uintptr_t)pipe;
    memcpy(&child->pipe, &address, sizeof address);
    child->ticket = ticket;
    return r;
}

/* The end of a thread by its initializer, which is the end of all that calls that. */
static void end_early(void *arg)
{
    struct child *child = arg;
    covey_conn_free(child->pipe);
    covey_value_free(child->plan);
    cvy_free(child->initarg);
}

static int initialize(struct child *child, const struct covey_manager_opts *o)
{
    int result = 0;
    if (!o->initializer)
        return 0;
    child->initarg = cvy_malloc(o->initarg.size + 1); /* aligned, as a target's */
    if (!child->initarg)
        return cvy_fail(-ENOMEM, "no memory for the initializer's argument");
    memcpy(child->initarg, o->initarg.data, o->initarg.size);
    pthread_cleanup_push(end_early, child);
    result = o->initializer(COVEY_VIEW(child->initarg, o->initarg.size));
    pthread_cleanup_pop(0);
    cvy_free(child->initarg);
    if (result < 0 && result == cvy_last_code())
        cvy_detail_prefix("the initializer returned %d", result);
    else if (result)
        (void)cvy_fail(COVEY_ESTART, "the initializer returned %d", result);
    return result ? COVEY_ESTART : 0;
}

/* Fill the registry: with what the initializer registers, too. */
static int prepare(struct child *child, const struct covey_manager_opts *o,
                   struct cvy_registry *registry)
{
    int r = cvy_types_adopt(child->types);
    if (r >= 0)
        r = cvy_functions_adopt(child->functions);
    if (r >= 0)
        r = initialize(child, o);
    return r < 0 ? r : cvy_types_get(registry, o->standard_types == COVEY_ON);
}

static int serve_plan(struct child *child)
{
    struct covey_manager_opts o = {.size = sizeof o};
    struct cvy_tls_settings settings = {0};
    struct covey_tls tls;
    struct cvy_registry registry = {0};
    int r = read_plan(child, &o, &settings);
    o.tls = cvy_tls_options(&settings, &tls);
    struct cvy_serving serving = {.call = "covey_manager_start",
                                  .ticket = child->ticket,
                                  .stops_before = cvy_serve_stops()};
    if (!child->is_thread) {
        cvy_os_ignore_interrupt();
        cvy_os_on_terminate(covey_manager_stop);
    }
    o.ready = tell_address;
    o.context = child;
    if (r >= 0)
        r = prepare(child, &o, &registry);
    if (r >= 0)
        r = cvy_serve(&o, &registry, &serving);
    if (r < 0)
        (void)tell_once(child, r, covey_error_detail());
    cvy_registry_free(&registry);
    return r;
}

static int serve_child(struct covey_view arg)
{
    struct child child = {0};
    int r = covey_value_unpickle(&child.plan, arg.data, arg.size, NULL);
    if (r >= 0)
        r = serve_plan(&child);
    covey_value_free(child.plan);
    return r < 0 ? 1 : 0;
}

/* ---- in the starter ---- */

/* What the child has to register: a thread has it, and so has a copy of this process. */
static int registered_values(enum covey_start_method method, covey_value **types,
                             covey_value **functions)
{
    if (method == COVEY_FORK || method == COVEY_THREAD) {
        *types = covey_value_list();
        *functions = covey_value_list();
        return 0;
    }
    int r = cvy_types_to_value(types);
    return r < 0 ? r : cvy_functions_to_value(functions);
}

static int plan_value(covey_value **out, const struct covey_manager_opts *o,
                      const covey_conn *pipe, uint64_t ticket)
{
    struct cvy_tls_settings tls;
    covey_value *types = NULL, *functions = NULL, *sizes = NULL;
    int r = cvy_tls_take(&tls, o->tls, o->authkey, "covey_manager_start");
    if (r >= 0)
        r = registered_values(o->method, &types, &functions);
    if (r >= 0)
        r = covey_value_pack(
            &sizes, "(n, n, n, n, n, K, K, K, L, L)", o->max_message, o->max_reply,
            o->max_objects, o->max_sessions, o->max_workers,
            (unsigned long long)o->max_memory, (unsigned long long)o->max_steps,
            (unsigned long long)o->max_bytes, (long long)o->handshake_timeout,
            (long long)o->send_timeout);
    if (r < 0) {
        covey_value_free(types);
        covey_value_free(functions);
        return r;
    }
    return covey_value_pack(
        out, "(K, K, z, y#, y#, i, i, i, i, N, N, y#, N, N)",
        (unsigned long long)(uintptr_t)pipe, (unsigned long long)ticket, o->address,
        o->authkey.data, o->authkey.size, &tls, sizeof tls, o->allow_md5 == COVEY_ON,
        o->standard_types != COVEY_OFF, o->segments == COVEY_ON,
        o->method == COVEY_THREAD, sizes,
        cvy_code_to_value((cvy_code_fn *)o->initializer),
        o->initarg.size ? o->initarg.data : "", o->initarg.size, types, functions);
}

static int make_process(struct cvy_started *s, const struct covey_manager_opts *o,
                        const covey_conn *pipe, int64_t deadline)
{
    struct covey_bytes pickle = {0};
    covey_value *plan = NULL;
    char name[64];
    struct covey_process_opts opts = {
        .size = sizeof opts,
        .name = o->name,
        .method = o->method,
        .die_with_parent = o->outlive == COVEY_ON ? COVEY_OFF : 0,
        .holds = {pipe},
        .start_timeout =
            cvy_max_i64(cvy_os_time_left(deadline), 1), /* 0: the default */
    };
    if (!o->name) {
        (void)snprintf(name, sizeof name, "Manager-%u",
                       atomic_fetch_add(&count, 1) + 1);
        opts.name = name;
    }
    int r = plan_value(&plan, o, pipe, s->ticket);
    if (r >= 0)
        r = covey_value_pickle(plan, &pickle);
    if (r >= 0)
        r = covey_process_create(&s->process, serve_child,
                                 COVEY_VIEW(pickle.data, pickle.size), &opts);
    covey_value_free(plan);
    if (pickle.data)
        explicit_bzero(pickle.data, pickle.capacity); /* it has the key */
    covey_bytes_free(&pickle);
    return r;
}

/* It has not said that it serves: that failed by `r`. One that has hung up is about to end. */
static int tell_silence(const struct cvy_started *s, int r, int64_t deadline)
{
    char reason[CVY_DETAIL_SIZE];
    struct covey_process_report report;
    (void)snprintf(reason, sizeof reason, "%s", covey_error_detail());
    int64_t patience = r == COVEY_EEOF ? cvy_os_time_left(deadline) : COVEY_NOWAIT;
    if (covey_process_join(s->process, patience) >= 0 &&
        covey_process_report(s->process, &report) >= 0)
        (void)snprintf(reason, sizeof reason, "%s", report.text);
    else if (r == -ETIMEDOUT)
        (void)snprintf(reason, sizeof reason, "%s took too long",
                       covey_process_name(s->process));
    return cvy_fail(COVEY_ESTART, "the child did not say that it serves: %s", reason);
}

/* Wait for what the child says, or for its end: another process may have the pipe, too. */
static int hear(struct cvy_started *s, covey_conn *pipe, int64_t deadline)
{
    struct covey_wait_item items[] = {covey_wait_conn(pipe),
                                      covey_wait_process(s->process)};
    covey_value *said = NULL;
    const char *text = "";
    int code = 0, r = covey_wait(items, 2, cvy_os_time_left(deadline), NULL);
    bool is_over = r >= 0 && !items[0].ready;
    r = covey_conn_recv_value(pipe, &said, NULL,
                              is_over ? COVEY_NOWAIT : cvy_os_time_left(deadline));
    if (r >= 0)
        r = covey_value_unpack(said, "(i, s)", &code, &text);
    if (r < 0)
        r = tell_silence(s, r, deadline);
    else if (code < 0)
        r = cvy_fail(code, "in the child: %s", text);
    else
        (void)snprintf(s->address, sizeof s->address, "%s", text);
    covey_value_free(said);
    return r;
}

/* Start the process. Takes `pipe`, its end. A thread shares this process's hold of it. */
static int start_process(struct cvy_started *s, const struct covey_manager_opts *o,
                         covey_conn *pipe, int64_t deadline)
{
    int r = make_process(s, o, pipe, deadline);
    if (r >= 0)
        r = covey_process_start(s->process);
    if (r < 0 || !s->is_thread)
        covey_conn_free(pipe);
    return r;
}

/* Nobody knows of it. A process has what is left of the time to end. A thread that says that
 * it serves from now on hears that nobody listens; one that has said so is stopped.
 * The detail of `r`, why, stays. */
static void give_up(struct cvy_started *s, int r, int64_t deadline)
{
    char detail[CVY_DETAIL_SIZE];
    (void)snprintf(detail, sizeof detail, "%s", covey_error_detail());
    if (!s->is_thread && covey_process_join(s->process, cvy_os_time_left(deadline)) < 0)
        (void)covey_process_kill(s->process);
    cvy_started_end_for_good(s, s->is_thread ? cvy_os_deadline(CVY_END_PATIENCE)
                                             : INT64_MAX);
    (void)cvy_fail(r, "%s", detail);
}

static int start(struct cvy_started **out, const struct covey_manager_opts *o,
                 int64_t deadline)
{
    covey_conn *ours, *its;
    struct cvy_started *s = cvy_calloc(1, sizeof *s);
    int r = s ? covey_pipe_create(&ours, &its, NULL)
              : cvy_fail(-ENOMEM, "no memory for a manager");
    if (r < 0) {
        cvy_free(s);
        return r;
    }
    s->is_thread = o->method == COVEY_THREAD;
    s->ticket = atomic_fetch_add(&last_ticket, 1) + 1;
    r = start_process(s, o, its, deadline);
    bool runs = r >= 0;
    if (runs)
        r = hear(s, ours, deadline);
    covey_conn_free(ours);
    if (r >= 0)
        *out = s;
    else if (runs)
        give_up(s, r, deadline);
    else
        cvy_started_free(s);
    return r;
}

/* Connect to it and note it. What fails leaves it to the caller. */
static int connect_started(covey_manager **out, struct cvy_started *s,
                           const struct covey_manager_opts *o, int64_t deadline)
{
    covey_manager *manager = NULL;
    int r = covey_manager_connect(&manager, s->address,
                                  COVEY_CONNECT_OPTS(.authkey = o->authkey,
                                                     .allow_md5 = o->allow_md5,
                                                     .tls = o->tls),
                                  cvy_os_time_left(deadline));
    if (r >= 0)
        r = cvy_started_note(s, manager);
    if (r >= 0)
        *out = manager;
    else
        covey_manager_free(manager);
    return r;
}

int covey_manager_start(covey_manager **out, const struct covey_manager_opts *opts)
{
    static const char call[] = "covey_manager_start";
    struct covey_manager_opts o;
    struct covey_bytes own = {0};
    struct cvy_started *s;
    int r = cvy_serve_take_opts(&o, opts, call);
    if (r >= 0 && o.listen_fd)
        r = cvy_fail(-EINVAL, "%s: .listen_fd is for a manager in this process", call);
    if (r >= 0 && !out)
        r = cvy_fail(-EINVAL, "%s: out is NULL", call);
    if (r >= 0 && o.method == COVEY_DEFAULT_METHOD)
        r = covey_get_start_method(0, &o.method);
    if (r >= 0 && !o.authkey.data) {
        r = covey_authkey(&own);
        o.authkey = COVEY_VIEW(own.data, own.size);
    }
    int64_t deadline = r < 0 ? 0 : cvy_os_deadline(o.start_timeout);
    if (r >= 0)
        r = start(&s, &o, deadline);
    if (r >= 0) {
        r = connect_started(out, s, &o, deadline);
        if (r < 0) {
            if (o.method != COVEY_THREAD)
                (void)covey_process_terminate(s->process);
            give_up(s, r, deadline);
        }
    }
    covey_bytes_free(&own);
    if (r < 0)
        cvy_detail_prefix("%s", call);
    return r;
}
