/* SPDX-License-Identifier: MIT */
/* start.c: a manager in a child process.
 *
 * The starter gives the child a plan, a pickled value, and one end of a pipe, over which
 * the child says (0, address) or (code, detail). */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/memory.h"
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
    covey_conn *pipe; /* NULL: something was said */
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
static int read_plan(const covey_value *plan, struct covey_manager_opts *o,
                     struct cvy_tls_settings *tls, struct child *ret_child,
                     const covey_value **ret_types, const covey_value **ret_functions)
{
    const void *key = NULL, *settings = NULL;
    size_t key_size = 0, settings_size = 0;
    unsigned long long pipe = 0, ticket = 0, memory = 0, steps = 0, bytes = 0;
    long long handshake = 0, sending = 0;
    int md5 = 0, standard = 0, segments = 0;
    const covey_value *sizes;
    int r = covey_value_unpack(plan, "(K, K, z, y#, y#, i, i, i, i, O, O, O)", &pipe,
                               &ticket, &o->address, &key, &key_size, &settings,
                               &settings_size, &md5, &standard, &segments,
                               &ret_child->is_thread, &sizes, ret_types, ret_functions);
    if (r >= 0)
        r = covey_value_unpack(sizes, "(n, n, n, n, n, K, K, K, L, L)", &o->max_message,
                               &o->max_reply, &o->max_objects, &o->max_sessions,
                               &o->max_workers, &memory, &steps, &bytes, &handshake,
                               &sending);
    if (r >= 0 && settings_size == sizeof *tls)
        memcpy(tls, settings, sizeof *tls);
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
    memcpy(&ret_child->pipe, &address, sizeof address);
    ret_child->ticket = ticket;
    return r;
}

static int serve_plan(const covey_value *plan)
{
    struct covey_manager_opts o = {.size = sizeof o};
    struct cvy_tls_settings settings = {0};
    struct covey_tls tls;
    struct cvy_registry registry = {0};
    const covey_value *types, *functions;
    struct child child = {0};
    int r = read_plan(plan, &o, &settings, &child, &types, &functions);
    if (r < 0)
        return r;
    o.tls = cvy_tls_options(&settings, &tls);
    struct cvy_serving serving = {.call = "covey_manager_start",
                                  .ticket = child.ticket,
                                  .stops_before = cvy_serve_stops()};
    if (!child.is_thread) {
        cvy_os_ignore_interrupt();
        cvy_os_on_terminate(covey_manager_stop);
    }
    o.ready = tell_address;
    o.context = &child;
    r = cvy_types_adopt(types);
    if (r >= 0)
        r = cvy_functions_adopt(functions);
    if (r >= 0)
        r = cvy_types_get(&registry, o.standard_types == COVEY_ON);
    if (r >= 0)
        r = cvy_serve(&o, &registry, &serving);
    if (r < 0)
        (void)tell_once(&child, r, covey_error_detail());
    cvy_registry_free(&registry);
    return r;
}

static int serve_child(struct covey_view arg)
{
    covey_value *plan = NULL;
    int r = covey_value_unpickle(&plan, arg.data, arg.size, NULL);
    if (r >= 0)
        r = serve_plan(plan);
    covey_value_free(plan);
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
    return covey_value_pack(out, "(K, K, z, y#, y#, i, i, i, i, N, N, N)",
                            (unsigned long long)(uintptr_t)pipe,
                            (unsigned long long)ticket, o->address, o->authkey.data,
                            o->authkey.size, &tls, sizeof tls, o->allow_md5 == COVEY_ON,
                            o->standard_types != COVEY_OFF, o->segments == COVEY_ON,
                            o->method == COVEY_THREAD, sizes, types, functions);
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

/* Wait for what the child says. */
static int hear(covey_conn *pipe, covey_nsec timeout, char address[256])
{
    covey_value *said = NULL;
    const char *text = "";
    int code = 0, r = covey_conn_recv_value(pipe, &said, NULL, timeout);
    if (r >= 0)
        r = covey_value_unpack(said, "(i, s)", &code, &text);
    if (r >= 0 && code < 0)
        r = cvy_fail(code, "in the child: %s", text);
    else if (r >= 0)
        (void)snprintf(address, 256, "%s", text);
    else
        r = cvy_fail(COVEY_ESTART, "the child did not say that it serves: %s",
                     covey_error_detail());
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

/* It serves, but cannot be connected to: it has what is left of the time to end. */
static void let_end(const struct cvy_started *s, int64_t deadline)
{
    if (s->is_thread)
        return;
    (void)covey_process_terminate(s->process);
    (void)covey_process_join(s->process, cvy_os_time_left(deadline));
}

/* Nobody knows of it. A thread that says so from now on hears that nobody
 * listens; one that has said so is stopped. */
static void give_up(struct cvy_started *s)
{
    if (!s->is_thread)
        (void)covey_process_kill(s->process);
    cvy_started_end_for_good(s, s->is_thread ? cvy_os_deadline(CVY_END_PATIENCE)
                                             : INT64_MAX);
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
        r = hear(ours, cvy_os_time_left(deadline), s->address);
    covey_conn_free(ours);
    if (r >= 0)
        *out = s;
    else if (runs)
        give_up(s);
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
            let_end(s, deadline);
            give_up(s);
        }
    }
    covey_bytes_free(&own);
    if (r < 0)
        cvy_detail_prefix("%s", call);
    return r;
}
