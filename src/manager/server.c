/* SPDX-License-Identifier: MIT */
/* server.c: the loop.
 *
 * A turn: do what has come over lanes; wait for events or the next time that something is
 * due, unless more may come there soon; serve those that are
 * ready, then those with requests left over from earlier turns, then newcomers; let what
 * was woken go on after each of them; free what has ended. Who asks for much at once gets a
 * part of it in each turn, by number and by time. When it is stopped nobody is
 * served any more, and replies that wait to be written have a second to go out. */
#include "manager/server.h"

#include <errno.h>
#include <string.h>

#include "base/base.h"
#include "base/error.h"
#include "base/log.h"
#include "base/memory.h"
#include "manager/crew.h"
#include "manager/door.h"
#include "manager/segments.h"
#include "os/os.h"
#include "region/spin.h"

#define EVENTS        64
#define NEWCOMERS     32
#define MEMORY_UNIT   ((uint64_t)1 << 20)
#define ACCEPT_PAUSE  COVEY_MSEC(100)
#define LAST_PATIENCE COVEY_SEC(1)

/* ---- newcomers ---- */

static void pause_accepting(struct cvy_server *server, const char *why)
{
    int fd;
    if (!server->is_short)
        (void)covey_log(COVEY_LOG_WARNING, "manager %s: %s; newcomers wait",
                        server->address, why);
    server->is_short = true;
    if (covey_listener_fd(server->listener, &fd) == 0)
        (void)cvy_os_events_change(server->events, fd, 0, &server->listener_source);
    server->accept_again = cvy_os_deadline(ACCEPT_PAUSE);
}

static void accept_again(struct cvy_server *server)
{
    int fd;
    server->accept_again = 0;
    if (covey_listener_fd(server->listener, &fd) == 0)
        (void)cvy_os_events_change(server->events, fd, CVY_OS_CAN_READ,
                                   &server->listener_source);
}

static void refuse(struct cvy_server *server, const struct cvy_newcomer *n,
                   const char *why)
{
    (void)covey_log(COVEY_LOG_WARNING, "manager %s: %s is refused: %s", server->address,
                    n->peer[0] ? n->peer : "a client", why);
    cvy_tls_free(n->tls);
    cvy_os_close(n->fd);
}

static void accept_some(struct cvy_server *server)
{
    struct cvy_newcomer newcomer;
    for (int i = 0; i < NEWCOMERS && !(i && cvy_server_is_late(server)); i++) {
        int r = cvy_door_next(server->listener, &newcomer);
        if (r < 0)
            pause_accepting(server, covey_error_detail());
        if (!r)
            server->is_short = false; /* nobody waits any more */
        if (r <= 0)
            return;
        if (server->connection_count >= server->limits.max_sessions)
            refuse(server, &newcomer,
                   "the manager has as many connections as it may have");
        else if (cvy_connection_add(server, &newcomer) < 0)
            refuse(server, &newcomer, covey_error_detail());
    }
}

/* ---- events ---- */

static void serve_event(struct cvy_server *server, const struct cvy_os_event *event)
{
    struct cvy_source *source = event->about;
    switch (source->kind) {
    case CVY_SOURCE_LISTENER:
        accept_some(server);
        break;
    case CVY_SOURCE_FLAG:
        cvy_os_flag_lower(server->flag);
        cvy_custom_collect(server);
        cvy_crews_collect(server);
        break;
    case CVY_SOURCE_PARENT:
        (void)covey_log(COVEY_LOG_INFO, "manager %s: its parent has ended",
                        server->address);
        cvy_server_stop(server);
        break;
    case CVY_SOURCE_REAPER:
        cvy_segments_reaper_ended(server);
        break;
    case CVY_SOURCE_CONNECTION: {
        struct cvy_connection *c =
            CVY_CONTAINER_OF(source, struct cvy_connection, source);
        if (c->state != CVY_ENDED)
            cvy_connection_ready(c, event->kinds);
        break;
    }
    case CVY_SOURCE_CLIENT: {
        struct cvy_client *client = CVY_CONTAINER_OF(source, struct cvy_client, source);
        if (client->pidfd >= 0)
            cvy_client_dead(server, client);
        break;
    }
    case CVY_SOURCE_CREW:
        cvy_crew_ready(CVY_CONTAINER_OF(source, struct cvy_crew, source));
        break;
    }
    cvy_server_go_on(server);
}

/* Each that has requests left gets one turn; those that still have some come again. */
static void serve_left_over(struct cvy_server *server)
{
    struct cvy_connection *last = server->run_last;
    while (server->run_first) {
        struct cvy_connection *c = server->run_first;
        bool is_last = c == last;
        cvy_connection_run(c);
        cvy_server_go_on(server);
        if (is_last)
            return;
    }
}

/* ---- time ---- */

/* Woken calls are due at once: what is done about time wakes some, too. */
static int64_t next_time(const struct cvy_server *server)
{
    if (server->run_first)
        return 0;
    int64_t next = server->parking.woken.first ? 0 : cvy_parking_next(&server->parking);
    next = cvy_min_i64(next, cvy_nested_next(server));
    next = cvy_min_i64(next, cvy_door_deadline(server->listener));
    if (server->slow_first)
        next = cvy_min_i64(next, server->slow_first->slow_until);
    if (server->accept_again)
        next = cvy_min_i64(next, server->accept_again);
    return next;
}

static void serve_time(struct cvy_server *server)
{
    int64_t now = cvy_os_now();
    cvy_parking_run(&server->parking, now);
    for (struct cvy_connection *c; (c = server->slow_first) && c->slow_until <= now;)
        cvy_connection_end(c, cvy_connection_has_output(c)
                                  ? "it does not read its replies"
                                  : "it does not send the rest of a message");
    if (server->accept_again && server->accept_again <= now)
        accept_again(server);
    if (cvy_door_deadline(server->listener) <= now)
        accept_some(server);
    if (cvy_nested_next(server) <= now)
        cvy_nested_look(server, now);
}

/* What objects have counts first: parts of requests are let go of. */
static void refuse_parts(struct cvy_server *server)
{
    for (struct cvy_connection *c = server->slow_first; c; c = c->next_slow)
        cvy_connection_refuse_large(c);
}

/* Asking how much is allocated takes some microseconds, so not at each request. */
void cvy_server_look_at_memory(struct cvy_server *server)
{
    if (server->since_look < MEMORY_UNIT && !server->is_full)
        return;
    server->since_look = 0;
    uint64_t used = cvy_os_allocated();
    uint64_t most = server->base_memory + server->limits.max_memory;
    if (used > most && !server->is_full) {
        refuse_parts(server);
        used = cvy_os_allocated();
    }
    bool is_full = used > most;
    if (is_full && !server->is_full)
        (void)covey_log(COVEY_LOG_WARNING,
                        "manager %s: %llu bytes are used, more than %llu: objects may "
                        "not grow",
                        server->address,
                        (unsigned long long)(used - server->base_memory),
                        (unsigned long long)server->limits.max_memory);
    server->is_full = is_full;
}

/* ---- the whole ---- */

static int add_sources(struct cvy_server *server)
{
    int fd, r = covey_listener_fd(server->listener, &fd);
    server->listener_source.kind = CVY_SOURCE_LISTENER;
    server->flag_source.kind = CVY_SOURCE_FLAG;
    server->parent_source.kind = CVY_SOURCE_PARENT;
    if (r >= 0)
        r = cvy_os_events_add(server->events, fd, CVY_OS_CAN_READ,
                              &server->listener_source);
    if (r >= 0)
        r = cvy_os_events_add(server->events, server->flag, CVY_OS_CAN_READ,
                              &server->flag_source);
    if (r >= 0 && server->parent >= 0)
        r = cvy_os_events_add(server->events, server->parent, CVY_OS_CAN_READ,
                              &server->parent_source);
    if (r >= 0)
        r = cvy_segments_listen(server);
    return r;
}

static int open_server(struct cvy_server *server)
{
    server->parking.done = cvy_request_done;
    server->unknown = (struct cvy_client){.pidfd = -1};
    server->base_memory = cvy_os_allocated();
    server->events = cvy_os_events_create();
    if (server->events < 0)
        return cvy_fail_os(server->events, "manager %s", server->address);
    server->scratch = cvy_malloc(CVY_SCRATCH_SIZE);
    server->no_keywords = covey_value_dict();
    int r = server->scratch && server->no_keywords
                ? cvy_address_to_value(&server->address_value, server->address)
                : -ENOMEM;
    if (r >= 0)
        r = add_sources(server);
    return r < 0 ? cvy_fail_os(r, "manager %s", server->address) : 0;
}

/* A client that asks again soon costs no sleep, and no wake-up. */
static int await_events(const struct cvy_server *server, struct cvy_os_event *events,
                        int64_t until)
{
    struct cvy_spin spin = {.is_handover = true, .is_costly = true};
    int count;
    do
        count = cvy_os_events_wait(server->events, events, EVENTS, 0);
    while (!count && until > 0 && cvy_spin(&spin));
    return count || until <= 0
               ? count
               : cvy_os_events_wait(server->events, events, EVENTS, until);
}

static int turn(struct cvy_server *server)
{
    struct cvy_os_event events[EVENTS];
    int64_t until = cvy_lanes_work(server) ? 0 : next_time(server);
    int count = await_events(server, events, until);
    cvy_server_turns(server);
    for (int i = 0; i < count && !server->stop; i++)
        serve_event(server, &events[i]);
    if (!server->stop) {
        serve_left_over(server);
        serve_time(server);
        cvy_server_look_at_memory(server);
    }
    cvy_connection_sweep(server);
    cvy_client_sweep(server);
    cvy_crews_sweep(server);
    return count;
}

/* Whether some reply waits to be written: nobody else is slow by now. */
static bool has_output(const struct cvy_server *server)
{
    return server->slow_first != NULL;
}

/* All else that the loop watches stays ready from now on: nobody heeds it any more. */
static void watch_only_connections(struct cvy_server *server)
{
    cvy_os_close(server->events);
    server->events = cvy_os_events_create();
    for (struct cvy_connection *c = server->connections, *next; c; c = next) {
        next = c->next;
        if (cvy_os_events_add(server->events, c->fd, c->kinds, &c->source) < 0)
            cvy_connection_end(c, "it cannot be watched any more");
    }
}

static void write_the_rest(struct cvy_server *server)
{
    struct cvy_os_event events[EVENTS];
    int64_t until = cvy_os_deadline(LAST_PATIENCE);
    for (struct cvy_connection *c = server->connections, *next; c; c = next) {
        next = c->next;
        if (c->state == CVY_PARKED_CALL)
            cvy_connection_end(c, "the manager ends while its call waits");
        else
            cvy_connection_finish(c);
    }
    watch_only_connections(server);
    while (has_output(server) && cvy_os_now() < until) {
        int64_t next = server->lanes.first ? cvy_os_deadline(COVEY_MSEC(1)) : until;
        int count = cvy_os_events_wait(server->events, events, EVENTS, next);
        cvy_lanes_flush(server);
        for (int i = 0; i < count; i++) {
            struct cvy_source *source = events[i].about;
            struct cvy_connection *c =
                CVY_CONTAINER_OF(source, struct cvy_connection, source);
            if (source->kind == CVY_SOURCE_CONNECTION && c->state != CVY_ENDED)
                cvy_connection_ready(c, events[i].kinds);
        }
    }
    while (server->connections)
        cvy_connection_end(server->connections, "it does not read its last reply");
}

static void close_server(struct cvy_server *server)
{
    cvy_custom_stop(server);
    cvy_connection_sweep(server);
    cvy_client_free_all(server);
    cvy_hosted_free_all(server);
    cvy_crews_stop(server);
    cvy_parking_free(&server->parking);
    covey_value_free(server->address_value);
    covey_value_free(server->no_keywords);
    covey_bytes_free(&server->reply);
    cvy_free(server->scratch);
    server->events = cvy_os_close(server->events);
}

void cvy_server_stop(struct cvy_server *server)
{
    atomic_store(&server->stop, 1);
    cvy_os_flag_raise(server->flag);
}

int cvy_server_run(struct cvy_server *server)
{
    int r = open_server(server);
    if (r >= 0)
        (void)covey_log(COVEY_LOG_INFO, "manager %s: serves", server->address);
    while (r >= 0 && !atomic_load(&server->stop))
        r = turn(server);
    if (r < 0)
        (void)cvy_fail_os(r, "manager %s", server->address);
    if (server->events >= 0)
        write_the_rest(server);
    (void)covey_log(COVEY_LOG_INFO, "manager %s: ends after %llu requests",
                    server->address, (unsigned long long)server->requests);
    close_server(server);
    return r < 0 ? r : 0;
}
