/* SPDX-License-Identifier: MIT */
/* link.c: the connections of this process's threads to managers.
 *
 *   clients -> client of a thread -> its links, one per manager -> replies awaited
 *
 * A thread's list is changed by that thread alone, under `mutex`; so it reads it without,
 * and others with it. Who frees a manager closes the links of other threads to it, which
 * nobody can be using then: it takes their connections away and leaves the empty link.
 *
 * Answers come in the order of requests. Each link has a list of what waits for them; who
 * receives hands what comes to the first of it. A link on which anything goes wrong is
 * given up as a whole, since nobody knows where the next answer would begin.
 *
 * In a fork child the links of the parent are worthless: two processes on one connection
 * would read each other's answers. Their descriptors are closed at once, so that the manager
 * sees the parent's end, the memory is freed when the child first uses a manager. */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/base.h"
#include "base/error.h"
#include "base/memory.h"
#include "channel/conn.h"
#include "manager/client.h"
#include "manager/held_locks.h"
#include "manager/reconnect.h"
#include "manager/wire.h"
#include "os/fork.h"

/* How long a send that finds no room waits before it looks for answers. */
#define SEND_SLICE COVEY_MSEC(1)
/* Buffers that a thread keeps. */
#define KEEP_BYTES (UINT64_C(1) << 20)

struct cvy_link {
    struct cvy_link *next;
    const struct covey_manager *manager;
    uint64_t serial;
    struct cvy_wire wire; /* its connection NULL: closed by who freed the manager */
    bool knows_receipts;
    struct covey_reply *first, *last;
    struct cvy_held_locks
        held; /* by it, under `mutex`; counted if it may be replaced */
};

struct client {
    struct client *next, *previous;
    struct cvy_link *links;
    struct covey_bytes out, in;
    struct cvy_remote_error error;
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct client *clients;   /* of this process */
static struct client *inherited; /* of its parent */
static pthread_key_t key;
static bool prepared;
static _Thread_local struct client *mine __attribute__((tls_model("initial-exec")));

/* ---- replies ---- */

/* mutex held. */
static bool take_from_any(const struct covey_manager *m, const char *ident)
{
    for (struct client *c = clients; c; c = c->next)
        for (struct cvy_link *link = c->links; link; link = link->next)
            if (link->wire.conn && strcmp(link->manager->address, m->address) == 0 &&
                cvy_held_locks_take(&link->held, ident))
                return true;
    return false;
}

/* A Lock or a permit may be released by another thread than the one that acquired it. */
static void count_locks(struct cvy_link *link, const struct covey_reply *reply)
{
    int change = cvy_reply_locks(reply);
    const char *ident = reply->proxy->ident;
    if (!change)
        return;
    (void)pthread_mutex_lock(&mutex);
    if (change > 0)
        cvy_held_locks_add(&link->held, ident);
    else if (!cvy_held_locks_take(&link->held, ident))
        (void)take_from_any(link->manager, ident);
    (void)pthread_mutex_unlock(&mutex);
}

static unsigned count_held(const struct cvy_link *link)
{
    if (cvy_likely(!link->manager->reconnect))
        return 0;
    (void)pthread_mutex_lock(&mutex);
    unsigned count = cvy_held_locks_count(&link->held);
    (void)pthread_mutex_unlock(&mutex);
    return count;
}

static void answer(struct cvy_link *link, int result, covey_value *message,
                   bool is_value)
{
    struct covey_reply *reply = link->first;
    link->first = reply->next;
    if (!link->first)
        link->last = NULL;
    reply->link = NULL;
    reply->result = result;
    reply->message = message;
    reply->is_value = is_value;
    if (result >= 0 && cvy_unlikely(link->manager->reconnect))
        count_locks(link, reply);
    if (reply->is_dropped) {
        covey_value_free(message);
        cvy_free(reply);
    }
}

static void await_answer(struct cvy_link *link, struct covey_reply *reply)
{
    reply->next = NULL;
    reply->link = link;
    reply->is_sent = true;
    if (link->last)
        link->last->next = reply;
    else
        link->first = reply;
    link->last = reply;
}

void cvy_link_drop(struct covey_reply *reply)
{
    if (reply->link) {
        reply->is_dropped = true;
        return;
    }
    covey_value_free(reply->message);
    cvy_free(reply);
}

/* ---- clients ---- */

static void free_link(struct cvy_link *link, int why)
{
    while (link->first) {
        link->first->lost_locks = cvy_held_locks_count(&link->held) > 0;
        answer(link, why, NULL, false);
    }
    cvy_wire_close(&link->wire);
    cvy_held_locks_clear(&link->held);
    cvy_free(link);
}

/* Not what waits on its links: in a fork child that is the parent's. */
static void free_client(struct client *c)
{
    covey_value_free(c->error.exception);
    covey_bytes_free(&c->error.type);
    covey_bytes_free(&c->error.text);
    covey_bytes_free(&c->out);
    covey_bytes_free(&c->in);
    cvy_free(c);
}

static void unlink_client(struct client *c)
{
    (void)pthread_mutex_lock(&mutex);
    if (c->previous)
        c->previous->next = c->next;
    else
        clients = c->next;
    if (c->next)
        c->next->previous = c->previous;
    (void)pthread_mutex_unlock(&mutex);
}

/* The thread ends. That of a fork child has the parent's pointer still. */
static void thread_ends(void *pointer)
{
    struct client *c = pointer;
    if (c != mine)
        return;
    mine = NULL;
    unlink_client(c);
    while (c->links) {
        struct cvy_link *link = c->links;
        c->links = link->next;
        free_link(link, COVEY_ECLOSED);
    }
    free_client(c);
}

static void in_fork_child(void)
{
    struct client **end = &inherited;
    while (*end)
        end = &(*end)->next;
    *end = clients;
    for (struct client *c = clients; c; c = c->next)
        for (struct cvy_link *link = c->links; link; link = link->next)
            cvy_wire_disown(&link->wire);
    clients = NULL;
    mine = NULL;
}

/* Links are freed with the mutex, and their connections take another one. */
__attribute__((constructor)) static void guard_forks(void)
{
    static struct cvy_os_fork_guard guard = {
        .mutex = &mutex, .in_child = in_fork_child, .is_outer = true};
    cvy_os_guard_forks(&guard);
}

/* mutex held. */
static void free_inherited(void)
{
    while (inherited) {
        struct client *c = inherited;
        inherited = c->next;
        while (c->links) {
            struct cvy_link *link = c->links;
            c->links = link->next;
            link->first = NULL;
            free_link(link, COVEY_EFORKED);
        }
        free_client(c);
    }
}

/* The process ends: what its last thread has open. */
static void end_all(void)
{
    if (mine)
        thread_ends(mine);
}

/* mutex held. */
static int prepare(void)
{
    if (prepared)
        return 0;
    if (pthread_key_create(&key, thread_ends))
        return cvy_fail(-EAGAIN, "no key for thread-specific data is left");
    prepared = true;
    cvy_leave_add(end_all);
    return 0;
}

static int new_client(void)
{
    struct client *c = cvy_calloc(1, sizeof *c);
    if (!c)
        return cvy_fail(-ENOMEM, "no memory for this thread's connections");
    (void)pthread_mutex_lock(&mutex);
    int r = prepare();
    if (r >= 0)
        free_inherited();
    if (r >= 0 && pthread_setspecific(key, c))
        r = cvy_fail(-ENOMEM, "no memory for this thread's connections");
    if (r >= 0) {
        c->next = clients;
        if (clients)
            clients->previous = c;
        clients = c;
    }
    (void)pthread_mutex_unlock(&mutex);
    if (r < 0)
        cvy_free(c);
    else
        mine = c;
    return r;
}

struct cvy_remote_error *cvy_client_error(void)
{
    return mine || new_client() >= 0 ? &mine->error : NULL;
}

struct cvy_remote_error *cvy_client_error_seen(void)
{
    return mine ? &mine->error : NULL;
}

/* ---- links ---- */

static void remove_link(struct cvy_link *link, int why)
{
    struct cvy_link **place = &mine->links;
    (void)pthread_mutex_lock(&mutex);
    while (*place != link)
        place = &(*place)->next;
    *place = link->next;
    (void)pthread_mutex_unlock(&mutex);
    free_link(link, why);
}

static void remove_closed(void)
{
    for (struct cvy_link *link = mine->links, *next; link; link = next) {
        next = link->next;
        if (!link->wire.conn)
            remove_link(link, COVEY_ECLOSED);
    }
}

void cvy_link_close_all(const covey_manager *manager, uint64_t serial)
{
    (void)pthread_mutex_lock(&mutex);
    for (struct client *c = clients; c; c = c->next)
        for (struct cvy_link *link = c->links; link; link = link->next)
            if (link->manager == manager && link->serial == serial)
                cvy_wire_close(&link->wire);
    (void)pthread_mutex_unlock(&mutex);
}

/* ---- connecting ---- */

/* The ends of a connection, which look different from case to case, are one. */
static int unify(int r)
{
    bool is_end =
        r == COVEY_ETRUNCATED || r == COVEY_EBROKEN || r == -EPIPE || r == -ECONNRESET;
    return is_end ? COVEY_EEOF : r;
}

static int connect_to(const struct covey_manager *m, covey_conn **out, int64_t deadline)
{
    struct covey_view authkey = {m->has_key ? m->key : NULL, m->key_size};
    struct cvy_tls_context *tls = NULL;
    int r = cvy_tls_context_create(&tls, &m->tls, authkey, false);
    if (r == -ENOENT) /* of connecting it means that no manager is there */
        r = -EINVAL;
    if (r >= 0)
        r = cvy_client_connect(
            out, m->address,
            COVEY_CLIENT_OPTS(.authkey = authkey,
                              .allow_md5 = m->allow_md5 ? COVEY_ON : COVEY_OFF),
            tls, deadline);
    cvy_tls_context_free(tls);
    return unify(r);
}

/* What servers call us in their logs, as CPython does: "Process-1|Thread-1234". */
static covey_value *own_name(void)
{
    covey_process *self = covey_current_process();
    const char *name = self ? covey_process_name(self) : "MainProcess";
    int tid = cvy_os_tid();
    return tid == cvy_os_pid() ? covey_value_str(name)
                               : covey_value_str_format("%s|Thread-%d", name, tid);
}

static struct covey_unpickle_opts limits_of(const struct covey_manager *m)
{
    return (struct covey_unpickle_opts){.size = sizeof(struct covey_unpickle_opts),
                                        .max_memory = m->max_reply};
}

/* A request and its answer on a connection that nobody else uses. */
static int ask(const struct covey_manager *m, covey_conn *conn, covey_value *request,
               covey_value **out, int64_t deadline, bool *ret_is_sent)
{
    struct covey_unpickle_opts limits = limits_of(m);
    int r = covey_conn_send_value(conn, request, cvy_os_time_left(deadline));
    if (r == COVEY_PENDING)
        r = -ETIMEDOUT;
    *ret_is_sent = r >= 0;
    if (r >= 0)
        r = covey_conn_recv_value(conn, out, &limits, cvy_os_time_left(deadline));
    return unify(r);
}

/* Whose references these are: the family's, which ends with its first process. Of requests
 * for the manager itself CPython's servers do not look at the ident. The own pid shows that
 * client and server count processes alike. */
static const char *family_ident(char ident[CVY_IDENT_MAX + 1], uint64_t receipt)
{
    (void)snprintf(ident, CVY_IDENT_MAX + 1, "covey-%u-%u-%llx",
                   (unsigned)cvy_member_first_pid(), (unsigned)cvy_os_pid(),
                   (unsigned long long)receipt);
    return ident;
}

/* Tell the server that this connection is for the calls of one thread. One of covey's
 * answers True. */
static int introduce(const struct covey_manager *m, covey_conn *conn,
                     bool *ret_knows_receipts, int64_t deadline)
{
    covey_value *request = NULL, *message = NULL;
    enum cvy_reply_kind kind;
    const covey_value *value;
    char ident[CVY_IDENT_MAX + 1];
    bool is_sent;
    int r = cvy_request_make(&request, family_ident(ident, 0), "accept_connection",
                             cvy_remote_args1(own_name()), NULL);
    if (r >= 0)
        r = ask(m, conn, request, &message, deadline, &is_sent);
    if (r >= 0)
        r = cvy_remote_result(message, m->address, &kind, &value);
    *ret_knows_receipts = r >= 0 && covey_value_kind(value) == COVEY_VALUE_BOOL;
    covey_value_free(request);
    covey_value_free(message);
    return r;
}

/* Have a lane, if the manager is of this family and there is memory for one. A server that
 * does not know of lanes answers with an exception. */
static int open_lane(const struct covey_manager *m, struct cvy_wire *wire,
                     int64_t deadline)
{
    struct cvy_lane_end lane = {0};
    covey_value *args = NULL, *request = NULL, *message = NULL;
    const covey_value *value = NULL;
    enum cvy_reply_kind kind;
    bool is_sent;
    if (!cvy_wire_may_have_lane(wire) || cvy_lane_create(&lane) < 0)
        return 0;
    struct cvy_lane_ticket ticket = cvy_lane_ticket(&lane);
    int r =
        covey_value_pack(&args, "(K, K, K)", ticket.device, ticket.inode, ticket.ref);
    if (r >= 0)
        r = cvy_request_make(&request, CVY_LANE_REQUEST, CVY_LANE_REQUEST, args, NULL);
    if (r >= 0)
        r = ask(m, wire->conn, request, &message, deadline, &is_sent);
    if (r >= 0 && cvy_remote_result(message, m->address, &kind, &value) >= 0 &&
        covey_value_truth(value) && cvy_lane_is_taken(&lane))
        cvy_wire_use_lane(wire, &lane);
    if (r >= 0)
        cvy_remote_forget();
    cvy_lane_release(&lane);
    covey_value_free(request);
    covey_value_free(message);
    return r;
}

static int new_link(const struct covey_manager *m, struct cvy_link **out,
                    int64_t deadline)
{
    struct cvy_wire wire = {0};
    bool knows_receipts = false;
    int r = connect_to(m, &wire.conn, deadline);
    if (r >= 0)
        r = introduce(m, wire.conn, &knows_receipts, deadline);
    if (r >= 0)
        r = open_lane(m, &wire, deadline);
    struct cvy_link *link = r < 0 ? NULL : cvy_calloc(1, sizeof *link);
    if (r >= 0 && !link)
        r = cvy_fail(-ENOMEM, "no memory for a connection to %s", m->address);
    if (!link) {
        cvy_wire_close(&wire);
        return r;
    }
    link->manager = m;
    link->serial = m->serial;
    link->wire = wire;
    link->knows_receipts = knows_receipts;
    (void)pthread_mutex_lock(&mutex);
    link->next = mine->links;
    mine->links = link;
    (void)pthread_mutex_unlock(&mutex);
    *out = link;
    return 0;
}

/* ---- messages ---- */

/* Receive the next answer. Returns: 0; -ETIMEDOUT: nothing has changed; otherwise the link
 * is gone, and what waited on it has the same result. */
static int receive(struct cvy_link *link, int64_t deadline)
{
    struct covey_unpickle_opts limits = limits_of(link->manager);
    covey_value *message = NULL;
    bool is_value;
    int r = cvy_wire_recv(&link->wire, &mine->in, link->manager->max_reply, deadline);
    if (r == -ETIMEDOUT || r == -EINTR)
        return -ETIMEDOUT;
    if (r >= 0 && !link->first)
        r = cvy_fail(COVEY_EPROTOCOL, "%s sent an answer that nobody asked for",
                     link->manager->address);
    if (r < 0) {
        r = unify(r);
        remove_link(link, r);
        return r;
    }
    r = cvy_reply_unpickle(&message, mine->in.data, mine->in.size, &limits, &is_value);
    answer(link, r, message, is_value);
    if (mine->in.capacity > KEEP_BYTES)
        covey_bytes_free(&mine->in);
    return 0;
}

static int fail_lost_locks(const struct covey_manager *m, unsigned locks)
{
    return cvy_fail(COVEY_EEOF,
                    "the connection to %s has ended, by which this thread held %u "
                    "locks or permits; the next call makes another one",
                    m->address, locks);
}

/* One that has ended while nobody waited is not used, as far as that can be seen: what is
 * sent over it may or may not run. But who holds locks has to learn that they are lost. */
static int leave_if_ended(struct cvy_link *link)
{
    const struct covey_manager *m = link->manager;
    if (cvy_likely(!m->reconnect) || link->first ||
        !cvy_wire_may_have_ended(&link->wire))
        return 0;
    unsigned locks = count_held(link);
    int r = receive(link, 0);
    if (r == COVEY_EEOF)
        return locks ? fail_lost_locks(m, locks) : 1;
    return r == -ETIMEDOUT ? 0 : r;
}

static int new_link_patiently(const struct covey_manager *m, struct cvy_link **out,
                              struct cvy_patience *patience)
{
    for (;;) {
        int r = new_link(m, out, patience->deadline);
        if (r < 0)
            r = cvy_patience_pause(patience, m, r);
        else
            return 0;
        if (r < 0)
            return r;
    }
}

static int link_to(const struct covey_manager *m, struct cvy_link **out,
                   struct cvy_patience *patience)
{
    if (cvy_unlikely(!mine)) {
        int r = new_client();
        if (r < 0)
            return r;
    }
    for (struct cvy_link *link = mine->links; link; link = link->next)
        if (link->manager == m && link->serial == m->serial && link->wire.conn) {
            int r = leave_if_ended(link);
            *out = link;
            if (r <= 0)
                return r;
            break;
        }
    remove_closed();
    return new_link_patiently(m, out, patience);
}

bool cvy_link_knows_receipts(const covey_manager *m)
{
    for (struct cvy_link *link = mine ? mine->links : NULL; link; link = link->next)
        if (link->manager == m && link->serial == m->serial && link->wire.conn)
            return link->knows_receipts;
    return false;
}

int cvy_link_await(struct covey_reply *reply, int64_t deadline)
{
    while (reply->link) {
        int r = receive(reply->link, deadline);
        if (r < 0)
            return r;
    }
    return reply->result;
}

void cvy_link_give_up(struct covey_reply *reply)
{
    if (reply->link)
        remove_link(reply->link, -ECANCELED);
}

/* Both sides may be waiting for room, so answers have to be taken meanwhile. Returns: 0;
 * -ETIMEDOUT: nothing was sent; COVEY_PENDING: a part was; `*ret_gone`: the link is. */
static int push(struct cvy_link *link, int64_t deadline, bool *ret_gone)
{
    struct covey_view message = {mine->out.data, mine->out.size};
    size_t done = 0;
    for (;;) {
        int64_t until = deadline;
        if (link->first)
            until = cvy_min_i64(deadline, cvy_os_deadline(SEND_SLICE));
        int r = cvy_wire_send(&link->wire, message, &done, until);
        if (r != -ETIMEDOUT)
            return r == -EINTR && done ? COVEY_PENDING : r;
        if (cvy_os_now() >= deadline)
            return done ? COVEY_PENDING : -ETIMEDOUT;
        if (!link->first || !cvy_wire_has_input(&link->wire))
            continue;
        r = receive(link, deadline);
        if (r < 0 && r != -ETIMEDOUT) {
            *ret_gone = true;
            return r;
        }
    }
}

static int pickle_request(const struct covey_reply *reply, covey_value *args,
                          covey_value *kwargs)
{
    if (mine->out.capacity > KEEP_BYTES)
        covey_bytes_free(&mine->out);
    return cvy_request_pickle(&mine->out, reply->ident, reply->method, args, kwargs);
}

/* Send what is in `out`. Returns: 0; -ETIMEDOUT; COVEY_EEOF: the connection has ended
 * before all was sent, and was given up; other failures of it. */
static int send_over(struct cvy_link *link, struct covey_reply *reply, int64_t deadline)
{
    bool is_gone = false;
    int r = push(link, deadline, &is_gone);
    if (r == 0) {
        await_answer(link, reply);
        return 0;
    }
    if (!is_gone && r != -ETIMEDOUT && r != -EINTR && r != -ENOMEM)
        remove_link(link, r == COVEY_PENDING ? -ECANCELED : unify(r));
    if (r == COVEY_PENDING || r == -ETIMEDOUT)
        return cvy_fail(-ETIMEDOUT, "the request could not be sent in time");
    return unify(r);
}

int cvy_link_send(struct covey_reply *reply, covey_value *args, covey_value *kwargs,
                  struct cvy_patience *patience)
{
    const struct covey_manager *m = cvy_manager_of(reply->proxy);
    struct cvy_link *link = NULL;
    int r = mine ? 0 : new_client();
    if (r < 0) {
        covey_value_free(args);
        covey_value_free(kwargs);
        return r;
    }
    r = pickle_request(reply, args, kwargs);
    while (r >= 0) {
        r = link_to(m, &link, patience);
        if (r < 0)
            break;
        unsigned locks = count_held(link);
        r = send_over(link, reply, patience->deadline);
        if (r == 0)
            return 0;
        if (r == COVEY_EEOF && locks)
            return fail_lost_locks(m, locks);
        if (r == COVEY_EEOF)
            r = cvy_patience_pause(patience, m, r);
    }
    return r;
}

static int ask_once(covey_manager *m, covey_value *request, covey_value **out,
                    bool until_end, int64_t deadline, bool *ret_is_sent)
{
    covey_conn *conn = NULL;
    covey_value *more = NULL;
    int r = connect_to(m, &conn, deadline);
    *ret_is_sent = false;
    if (r >= 0)
        r = ask(m, conn, request, out, deadline, ret_is_sent);
    /* CPython answers this one twice, unless it has ended before. */
    for (int i = 0;
         r >= 0 && until_end && i < 2 &&
         covey_conn_recv_value(conn, &more, NULL, cvy_os_time_left(deadline)) >= 0;
         i++)
        covey_value_free(more);
    covey_conn_free(conn);
    return r;
}

int cvy_link_ask(covey_manager *m, covey_value **out, const char *method,
                 covey_value *args, covey_value *kwargs, struct cvy_reference *about,
                 enum cvy_ask how, int64_t deadline)
{
    struct cvy_patience patience = {.deadline = deadline};
    covey_value *request = NULL;
    char ident[CVY_IDENT_MAX + 1];
    bool is_sent, only_looks = cvy_request_only_looks(method);
    int r = cvy_request_make(&request, family_ident(ident, about ? about->receipt : 0),
                             method, args, kwargs);
    while (r >= 0) {
        r = ask_once(m, request, out, how == CVY_ASK_TO_END, deadline, &is_sent);
        if (about)
            about->is_open = r < 0 && is_sent;
        if (r >= 0 || how != CVY_ASK_PATIENTLY)
            break;
        if (!is_sent || (r == COVEY_EEOF && only_looks))
            r = cvy_patience_pause(&patience, m, r);
        else if (r == COVEY_EEOF)
            cvy_detail_prefix("it may have been done");
    }
    covey_value_free(request);
    return r;
}
