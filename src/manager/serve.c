/* SPDX-License-Identifier: MIT */
/* serve.c: a manager's options, and serving in this process. */
#include "manager/serve.h"

#include <errno.h>
#include <string.h>

#include "base/base.h"
#include "base/error.h"
#include "base/opts.h"
#include "manager/door.h"
#include "manager/segments.h"
#include "manager/stop.h"
#include "os/os.h"

#define MOST_SERVERS 16

/* Servers of this process, which covey_manager_stop finds without a lock. Who takes one out
 * waits until nobody looks. */
static struct cvy_server *_Atomic serving[MOST_SERVERS];
static _Atomic int lookers;
/* How often they were asked to stop: one that is not in there yet asks when it is. */
static _Atomic unsigned stops;

static int enter_serving(struct cvy_server *server)
{
    for (int i = 0; i < MOST_SERVERS; i++) {
        struct cvy_server *nobody = NULL;
        if (atomic_compare_exchange_strong(&serving[i], &nobody, server))
            return 0;
    }
    return cvy_fail(-EAGAIN, "this process serves %d managers already", MOST_SERVERS);
}

static void leave_serving(struct cvy_server *server)
{
    for (int i = 0; i < MOST_SERVERS; i++) {
        struct cvy_server *expected = server;
        (void)atomic_compare_exchange_strong(&serving[i], &expected, NULL);
    }
    while (atomic_load(&lookers) > 0)
        cvy_os_yield();
}

/* Those with this ticket; 0: all. */
static void stop_serving(uint64_t ticket)
{
    atomic_fetch_add(&lookers, 1);
    for (int i = 0; i < MOST_SERVERS; i++) {
        struct cvy_server *server = atomic_load(&serving[i]);
        if (server && (!ticket || server->ticket == ticket))
            cvy_server_stop(server);
    }
    atomic_fetch_sub(&lookers, 1);
}

unsigned cvy_serve_stops(void)
{
    return atomic_load(&stops);
}

void covey_manager_stop(void)
{
    atomic_fetch_add(&stops, 1);
    stop_serving(0);
}

void cvy_serve_stop(uint64_t ticket)
{
    if (ticket)
        stop_serving(ticket);
}

/* ---- options ---- */

#define DEFAULT(field, value)                                                          \
    do {                                                                               \
        if (!(field))                                                                  \
            (field) = (value);                                                         \
    } while (0)

int cvy_serve_take_opts(struct covey_manager_opts *to,
                        const struct covey_manager_opts *from, const char *call)
{
    int r = CVY_TAKE_OPTS(to, from, call);
    if (r >= 0)
        r = CVY_CHECK_SWITCHES(
            call, {".allow_md5", to->allow_md5}, {".outlive", to->outlive},
            {".standard_types", to->standard_types}, {".segments", to->segments});
    if (r < 0)
        return r;
    if (!to->authkey.data && to->authkey.size)
        return cvy_fail(-EINVAL, "%s: a key of %zu bytes at NULL", call,
                        to->authkey.size);
    if (!to->initarg.data && to->initarg.size)
        return cvy_fail(-EINVAL, "%s: an argument of %zu bytes at NULL", call,
                        to->initarg.size);
    if (to->handshake_timeout < 0 || to->send_timeout < 0 || to->start_timeout < 0)
        return cvy_fail(-EINVAL, "%s: a negative time", call);
    if (to->listen_fd < 0 || (to->listen_fd && to->address))
        return cvy_fail(-EINVAL, "%s: .listen_fd is no descriptor, or beside .address",
                        call);
    if (to->name && (!to->name[0] || strlen(to->name) > 63))
        return cvy_fail(-EINVAL, "%s: a name of %zu bytes, 1 to 63 are possible", call,
                        strlen(to->name));
    DEFAULT(to->max_message, (size_t)256 << 20);
    DEFAULT(to->max_reply, (size_t)1 << 30);
    DEFAULT(to->max_objects, 1000000);
    DEFAULT(to->max_sessions, 20000);
    if (!to->max_workers && covey_cpu_count(&to->max_workers) >= 0)
        to->max_workers = cvy_max_size(4 * to->max_workers, 64);
    DEFAULT(to->max_memory, cvy_os_memory_limit() / 2);
    DEFAULT(to->max_steps, (uint64_t)50 * 1000 * 1000);
    DEFAULT(to->max_bytes, (uint64_t)256 << 20);
    DEFAULT(to->handshake_timeout, COVEY_SEC(10));
    DEFAULT(to->send_timeout, COVEY_SEC(60));
    DEFAULT(to->start_timeout, COVEY_SEC(30));
    return 0;
}

static void set_limits(struct cvy_server *server, const struct covey_manager_opts *o)
{
    server->limits = (struct cvy_server_limits){
        .max_message = o->max_message,
        .max_reply = o->max_reply,
        .max_objects = o->max_objects,
        .max_sessions = o->max_sessions,
        .max_workers = o->max_workers,
        .max_memory = o->max_memory,
        .max_steps = o->max_steps,
        .max_bytes = o->max_bytes,
        .send_timeout = o->send_timeout,
    };
}

/* ---- serving ---- */

static int open_door(struct cvy_server *server, const struct covey_manager_opts *o)
{
    struct covey_listener_opts opts = {
        .size = sizeof opts,
        .allow_md5 = o->allow_md5,
        .handshake_timeout = o->handshake_timeout,
        .backlog = 1024,
        .max_pending = 1024,
        .tls = o->tls,
    };
    int r =
        cvy_door_open(&server->listener, o->address, o->listen_fd, o->authkey, &opts);
    if (r >= 0)
        server->address = covey_listener_address(server->listener);
    return r;
}

int cvy_serve(const struct covey_manager_opts *o, struct cvy_registry *registry,
              const struct cvy_serving *how)
{
    const char *call = how->call;
    struct cvy_server server = {
        .ticket = how->ticket, .registry = registry, .parent = -1, .events = -1};
    set_limits(&server, o);
    server.flag = cvy_os_flag_create();
    int r = server.flag < 0 ? cvy_fail_os(server.flag, "%s", call) : 0;
    if (r >= 0 && o->segments == COVEY_ON)
        r = cvy_segments_open(&server);
    if (r >= 0)
        r = open_door(&server, o);
    if (r >= 0)
        r = enter_serving(&server);
    if (r >= 0) {
        if (o->ready)
            o->ready(o->context, server.address);
        if (cvy_serve_stops() != how->stops_before)
            cvy_server_stop(&server);
        r = cvy_server_run(&server);
        leave_serving(&server);
    }
    cvy_segments_close(&server);
    if (r < 0 && o->listen_fd)
        cvy_door_give_back(server.listener);
    else
        covey_listener_free(server.listener);
    cvy_os_close(server.flag);
    if (r < 0)
        cvy_detail_prefix("%s", call);
    return r;
}

int covey_manager_serve_forever(const struct covey_manager_opts *opts)
{
    static const char call[] = "covey_manager_serve_forever";
    struct covey_manager_opts o;
    struct cvy_registry registry = {0};
    struct covey_bytes own = {0};
    unsigned before = cvy_serve_stops();
    int r = cvy_serve_take_opts(&o, opts, call);
    if (r >= 0 && o.initializer)
        r = cvy_fail(-EINVAL, "%s: .initializer is for a manager in a child", call);
    if (r >= 0 && !o.authkey.data) {
        r = covey_authkey(&own);
        o.authkey = COVEY_VIEW(own.data, own.size);
    }
    if (r >= 0)
        r = cvy_types_get(&registry, o.standard_types != COVEY_OFF);
    if (r >= 0)
        r = cvy_serve(&o, &registry,
                      &(struct cvy_serving){.call = call, .stops_before = before});
    cvy_registry_free(&registry);
    covey_bytes_free(&own);
    return r;
}
