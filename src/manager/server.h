/* SPDX-License-Identifier: MIT */
/**
 * manager/server.h: the server of a manager, inside.
 *
 *   server.c      the loop: newcomers, connections that are ready, time
 *   connection.c  frames in and replies out
 *   lanes.c       sessions of the family's own, which frames reach without a socket
 *   request.c     requests for objects
 *   control.c     requests for the manager itself
 *   hosted.c      the objects, and how long they live
 *   segments.c    named memory that clients have it look after
 *   holder.c      which clients hold how many references
 *   receipt.c     references that are given back once, however often that is tried
 *   nested.c      proxies inside of values, and what only they keep alive
 *   registry.c    the types
 *   custom.c      classes of the program; their methods may run in threads: job.c
 *   crew.c        pools; errand.c: what clients ask of them
 *   door.c        newcomers
 *
 * One thread runs all of it but the methods that run in threads.
 *
 * An object lives while one of these holds:
 *   - a client has a reference: `refs`, the sum over all clients;
 *   - a call on it is parked or runs in a thread: `busy`;
 *   - its type is shared: the server itself keeps it;
 *   - a proxy of it lies in a value that a living object, or a parked request, keeps
 *     (`nested` says that this is possible). Nobody counts these: when an object with
 *     `nested` set has lost everything else, the values are walked.
 */
#ifndef CVY_MANAGER_SERVER_H
#define CVY_MANAGER_SERVER_H

#include "manager/class.h"
#include "manager/door.h"
#include "manager/lane.h"
#include "manager/message.h"
#include "os/events.h"
#include "os/os.h"

#include <covey/connection.h>

struct cvy_server;
struct cvy_connection;
struct cvy_function;

/* ---- events ---- */

/* What may tell the loop of an event. */
enum cvy_source_kind {
    CVY_SOURCE_LISTENER,
    CVY_SOURCE_FLAG,
    CVY_SOURCE_PARENT,
    CVY_SOURCE_REAPER,
    CVY_SOURCE_CONNECTION,
    CVY_SOURCE_CLIENT,
    CVY_SOURCE_CREW
};
struct cvy_source {
    enum cvy_source_kind kind;
};

/* ---- types ---- */

struct cvy_type {
    struct cvy_type *next;
    char *name;
    const struct cvy_class *cls;
    covey_value *exposed;   /* a tuple of str, what clients are told */
    bool limited;           /* not every method of the class is in it */
    bool is_shared;         /* all who create it get the same object */
    bool is_custom;         /* `cls` is the program's, a cvy_custom_class, and stays */
    covey_value *args;      /* of a shared one's constructor */
    struct cvy_hosted *one; /* that object */
};

struct cvy_registry {
    struct cvy_type *first;         /* stays as it is while the server serves */
    struct cvy_type *hidden;        /* those of objects that only methods make */
    struct cvy_function *functions; /* that clients can name */
};

/** Add a type; a name that is there already is replaced. `exposed` NULL: all methods.
 * Returns: 0; -EINVAL for a name in `exposed` that is no method; -ENOMEM. */
int cvy_registry_add(struct cvy_registry *registry, const char *name,
                     const struct cvy_class *cls, const char *const *exposed,
                     size_t exposed_count, struct cvy_type **ret) COVEY_MUST_CHECK;
struct cvy_type *cvy_registry_find(const struct cvy_registry *registry,
                                   const char *name);
/** The type that shows all of a class, for what a method has made; NULL: no memory. */
struct cvy_type *cvy_registry_of_class(struct cvy_registry *registry,
                                       const struct cvy_class *cls);
/** Add the types that every manager has. */
int cvy_registry_add_standard(struct cvy_registry *registry) COVEY_MUST_CHECK;
void cvy_registry_free(struct cvy_registry *registry);

/* ---- objects ---- */

/* A reference that can be given back by a number, see receipt.c. */
struct cvy_receipt {
    struct cvy_receipt *next; /* of its object */
    uint64_t number;
    struct cvy_client *client; /* whose reference it is */
};

/* How many are remembered that came back before what they are for was asked. Each thread of
 * who is killed leaves one at most, and its requests are read or dropped soon after. */
#define CVY_EARLY_RECEIPTS 256

struct cvy_receipts {
    size_t count; /* of all objects */
    uint64_t early[CVY_EARLY_RECEIPTS];
    size_t next_early;
};

struct cvy_hosted {
    struct cvy_referent referent;
    struct cvy_hosted *next; /* in its place of the table */
    uint64_t number;
    char ident[24]; /* the same as text */
    struct cvy_type *type;
    uint64_t refs;
    struct cvy_receipt *receipts; /* of some of them */
    uint32_t busy;
    bool nested; /* a proxy of it has come in a request */
    bool pinned; /* a class whose values are not walked may keep a proxy of it */
    bool marked; /* while values are walked: it lives */
    struct cvy_hosted *next_doomed;
    struct cvy_client *borrower; /* who has last called it without a reference */
    int64_t sent_at; /* when a reply last had a proxy of it inside of a value */
};

struct cvy_hosts {
    struct cvy_hosted **places;
    size_t count, capacity;
    uint64_t last_number;
    struct cvy_hosted *recent; /* what a usual call was for, as long as it lives */
    bool has_suspects;         /* some nested one may live only by values */
    bool keeps;                /* some live in values only; each request may end that */
    size_t lingering;          /* those that only wait for who was told of them */
    int64_t next_look;         /* not before that time */
};

/** Take in an object of a class's state, which is destroyed on failure. */
int cvy_hosted_add(struct cvy_server *server, struct cvy_type *type, void *self,
                   struct cvy_hosted **ret) COVEY_MUST_CHECK;
/** NULL: there is none. */
struct cvy_hosted *cvy_hosted_find(const struct cvy_server *server, const char *ident);
/** Something that kept it alive is gone: free it if nothing is left. */
void cvy_hosted_release(struct cvy_server *server, struct cvy_hosted *hosted);
/** All of them, at the end. */
void cvy_hosted_free_all(struct cvy_server *server);
/** The next one from place `*place` on; NULL at the end. Both begin with 0 and NULL. */
struct cvy_hosted *cvy_hosted_next(const struct cvy_server *server, size_t *place,
                                   const struct cvy_hosted *last);
/** How many there are for clients: all but shared ones that nobody refers to. */
size_t cvy_hosted_count(const struct cvy_server *server);
/** Free one that nothing keeps. */
void cvy_hosted_destroy(struct cvy_server *server, struct cvy_hosted *hosted);

/* ---- proxies in values ---- */

/** A request has come: note which objects its arguments have proxies of. `may_keep`: it is
 * for a class that does not tell what it keeps, so they are kept for ever. */
void cvy_nested_note_request(struct cvy_server *server, const covey_value *args,
                             const covey_value *kwargs, bool may_keep);
/** A reply goes: its receiver needs time to take references of what is in it. */
void cvy_nested_note_reply(struct cvy_server *server, const covey_value *reply);
/** Free what nothing keeps alive any more. */
void cvy_nested_look(struct cvy_server *server, int64_t now);
/** When there is something to look for; INT64_MAX: nothing. */
int64_t cvy_nested_next(const struct cvy_server *server);

/* ---- clients ---- */

struct cvy_client_ref {
    struct cvy_hosted *hosted; /* NULL: free */
    uint64_t count;
};

/* Who holds references: the process at the other end of local sockets, whose end is seen;
 * or, with pid 0, all whose end cannot be seen. */
struct cvy_client {
    struct cvy_source source;
    struct cvy_client *next;
    int pid;
    int pidfd; /* -1 */
    size_t connections;
    bool is_dead;                /* only what its process has sent is left */
    bool borrows;                /* it may be the borrower of objects */
    struct cvy_client_ref *refs; /* hashed by address */
    size_t ref_count, ref_capacity;
};

/** The client of a new connection; NULL: no memory. */
struct cvy_client *cvy_client_of(struct cvy_server *server, int fd);
/** The client that is this process, for one more connection; NULL: it does not run. */
struct cvy_client *cvy_client_of_process(struct cvy_server *server, int pid);
/** A connection of one whose end is seen by that of the connection itself. */
struct cvy_client *cvy_client_alone(struct cvy_server *server);
void cvy_client_leave(struct cvy_server *server, struct cvy_client *client);
int cvy_client_incref(struct cvy_client *client,
                      struct cvy_hosted *hosted) COVEY_MUST_CHECK;
/** Returns: 0; -ENOENT: it has none. */
int cvy_client_decref(struct cvy_server *server, struct cvy_client *client,
                      struct cvy_hosted *hosted) COVEY_MUST_CHECK;
/** The same, but only one of its own. Returns: whether it had one. */
bool cvy_client_give_back(struct cvy_server *server, struct cvy_client *client,
                          struct cvy_hosted *hosted);
bool cvy_client_has(const struct cvy_client *client, const struct cvy_hosted *hosted);
/** It calls an object. */
void cvy_client_uses(struct cvy_client *client, struct cvy_hosted *hosted);
/** Its process has ended: drop its references. */
void cvy_client_dead(struct cvy_server *server, struct cvy_client *client);
/** Free those that have gone: no event is about them any more. */
void cvy_client_sweep(struct cvy_server *server);
void cvy_client_free_all(struct cvy_server *server);

/* ---- receipts ---- */

/** A client has taken a reference by that number; 0: none. Returns: whether it can be given
 * back by it. */
bool cvy_receipt_add(struct cvy_server *server, struct cvy_hosted *hosted,
                     struct cvy_client *client, uint64_t number);
/** Give the reference with that number back, if there is one. `ident`: to what; empty: that
 * is not known. */
void cvy_receipt_redeem(struct cvy_server *server, const char *ident, uint64_t number);
/** Whether it was given back before there was one: there is to be none. */
bool cvy_receipt_is_early(const struct cvy_server *server, uint64_t number);
/** Another client has the references of `from` now; NULL: nobody. Returns: how many. */
size_t cvy_receipts_move(struct cvy_server *server, struct cvy_hosted *hosted,
                         const struct cvy_client *from, struct cvy_client *to);
/** The object goes. */
void cvy_receipts_drop(struct cvy_server *server, struct cvy_hosted *hosted);

/* ---- connections ---- */

enum cvy_connection_state {
    CVY_CONTROL, /* a request for the manager, then the end */
    CVY_SERVING, /* requests for objects until it ends */
    CVY_PARKED_CALL,
    CVY_FLUSHING, /* nothing is read any more; it ends when all is written */
    CVY_ENDED     /* in the list of those to be freed */
};

struct cvy_connection {
    struct cvy_source source;
    struct cvy_session session;
    struct cvy_server *server;
    struct cvy_client *client; /* the process at the other end */
    struct cvy_client *family; /* for which it counts; NULL: for itself */
    bool is_coveys;            /* its client knows of receipts */
    uint64_t receipt; /* of the reference that its only request is about; 0: none */
    struct cvy_connection *next, *prev;           /* of all */
    struct cvy_connection *next_run;              /* those with requests left to do */
    struct cvy_connection *next_slow, *prev_slow; /* that do not read or send on */
    struct cvy_connection *next_lane, *prev_lane; /* those whose lanes are looked at */
    bool runs, is_slow, is_looked_at, is_served;
    enum cvy_connection_state state;
    int fd;
    enum cvy_os_stream_kind fd_kind;
    struct cvy_tls *tls; /* NULL: bytes go as they are */
    unsigned kinds;      /* what the loop watches; of sessions with a lane, to read */
    struct cvy_lane_end lane; /* its `lane` NULL: all goes over `fd` */
    unsigned quiet_passes;    /* looks at it, one after the other, that found nothing */
    char *peer;               /* NULL: has no address */
    char *name;               /* as its client calls itself */
    struct covey_bytes in;    /* read and not done; `in_done` of it are */
    size_t in_done;
    size_t refused; /* so much of what comes belongs to a request that is not kept */
    struct covey_bytes out; /* to be written, from `out_done` on */
    size_t out_done;
    int64_t slow_until;   /* when it is closed if it still does not */
    covey_value *request; /* of the call */
    struct cvy_call call;
    struct cvy_hosted *hosted; /* of the call, busy by it */
};

/** Whose references it takes and gives back. */
static inline struct cvy_client *cvy_connection_holder(const struct cvy_connection *c)
{
    return c->family ? c->family : c->client;
}
/** Serve a newcomer, whose descriptor and TLS it takes on success. */
int cvy_connection_add(struct cvy_server *server,
                       const struct cvy_newcomer *newcomer) COVEY_MUST_CHECK;
/** Something can be read or written. */
void cvy_connection_ready(struct cvy_connection *c, unsigned kinds);
/** Do some of the requests that have come. */
void cvy_connection_run(struct cvy_connection *c);
/** Take what is in its lane, and do some of that; write what waits. The caller wakes the
 * client. Returns: whether there was something to do. */
bool cvy_connection_look(struct cvy_connection *c);
/** Whether cvy_connection_look would find something. */
bool cvy_connection_can_go_on(struct cvy_connection *c);
/** Whether a reply waits to be written. */
bool cvy_connection_has_output(const struct cvy_connection *c);
/** End it: its calls are cancelled, what it held is given back. */
void cvy_connection_end(struct cvy_connection *c, const char *why);
/** Free those that have ended. */
void cvy_connection_sweep(struct cvy_server *server);
/** Send a reply; takes `value`. What cannot be pickled becomes #UNSERIALIZABLE. */
void cvy_connection_reply(struct cvy_connection *c, enum cvy_reply_kind kind,
                          covey_value *value);
/** What Python shows for a failure around a call: a traceback whose last line is
 * `name: text`. */
void cvy_connection_traceback(struct cvy_connection *c, const char *name,
                              const char *format, ...) COVEY_PRINTF(3, 4);
/** Send no more but what is waiting, and end. */
void cvy_connection_finish(struct cvy_connection *c);
/** The connection is not parked any more. */
void cvy_connection_resume(struct cvy_connection *c);
/** There is no memory for more: let go of a large request that is not all there. */
void cvy_connection_refuse_large(struct cvy_connection *c);
/** What is kept is a part of a request, which has `whole` bytes with its header: let go of
 * it if it is large. */
void cvy_refusal_begin(struct cvy_connection *c, size_t whole);
/** Pass over what belongs to a refused request, and answer when it was all.
 * Returns: how many of the first of `size` bytes that is. */
size_t cvy_refusal_pass_over(struct cvy_connection *c, size_t size);
/** For log lines: "Process-1 at 127.0.0.1:4000". */
const char *cvy_connection_describe(const struct cvy_connection *c, char text[320]);

/* ---- lanes ---- */

struct cvy_lanes {
    struct cvy_connection *first; /* those that are looked at */
    struct cvy_connection *next;  /* the one that comes next, while they are */
    int64_t quiet_since;          /* 0: something has come */
};

/** Let a session go on over a lane, which it takes; all that was said by its socket has
 * gone out. */
void cvy_lanes_use(struct cvy_connection *c, struct cvy_lane_end *lane);
/** The session ends, or goes on over its socket. */
void cvy_lanes_leave(struct cvy_connection *c);
/** There may be something to do: look at it until it has been quiet for long. */
void cvy_lanes_look_at(struct cvy_connection *c);
/** Do what has come over lanes. Returns: whether more may come soon, so that the loop is
 * not to sleep; if not, all clients know that they have to wake it. */
bool cvy_lanes_work(struct cvy_server *server);
/** Write what waits, when nothing is read any more. */
void cvy_lanes_flush(struct cvy_server *server);

/* ---- requests ---- */

/** Do what a message says, and reply or park. */
void cvy_request_do(struct cvy_connection *c, const void *data, size_t size);
/** A call of it has a result. */
void cvy_request_done(struct cvy_call *call, int result);
/** The connection ends while its call is parked. */
void cvy_request_cancel(struct cvy_connection *c);
/** An object of a type for whoever asks: a new one, or the shared one. Returns: 0; CVY_RAISED
 * if its constructor did, and that was replied; a code. */
int cvy_control_make(struct cvy_connection *c, struct cvy_type *type,
                     const covey_value *args, const covey_value *kwargs,
                     struct cvy_hosted **ret) COVEY_MUST_CHECK;
/** Requests for the manager itself. */
void cvy_control_do(struct cvy_connection *c, const struct cvy_request *request);

/* ---- methods in threads ---- */

struct cvy_job;
struct cvy_jobs;
/** Let what threads have done go on; called when the flag is raised. */
void cvy_custom_collect(struct cvy_server *server);
/** Wait for all that run. */
void cvy_custom_stop(struct cvy_server *server);

/* ---- pools: crew.h ---- */

struct cvy_crews;

/* ---- the server ---- */

/** Bytes that are read at once. */
#define CVY_SCRATCH_SIZE ((size_t)64 << 10)

struct cvy_server_limits {
    size_t max_message, max_reply, max_objects, max_sessions, max_workers;
    uint64_t max_memory, max_steps, max_bytes;
    int64_t send_timeout;
};

/** Methods that were called lately, so that they need not be searched. */
struct cvy_recent {
    const struct cvy_class *cls;
    const struct cvy_method *method;
};
#define CVY_RECENT 64

struct cvy_server {
    uint64_t ticket; /* by which its starter finds it in this process; 0: has none */
    const char *address;
    covey_value *address_value; /* as in tokens */
    struct cvy_registry *registry;
    struct cvy_server_limits limits;
    covey_listener *listener;
    int events;
    int flag;   /* raised to stop, and by threads that have done something */
    int parent; /* a descriptor that tells of the parent's end; -1 */
    _Atomic int stop;
    struct cvy_source listener_source, flag_source, parent_source;
    struct cvy_parking parking;
    struct cvy_hosts hosts;
    struct cvy_client *clients,
        *dead_clients;         /* the latter until no event is about them */
    struct cvy_client unknown; /* pid 0 */
    struct cvy_receipts receipts;
    struct cvy_connection *connections, *ended;
    struct cvy_connection *run_first, *run_last;
    struct cvy_connection *slow_first, *slow_last;
    struct cvy_lanes lanes;
    size_t connection_count;
    int64_t accept_again; /* newcomers wait until then; 0: they need not */
    bool is_short;        /* of what it takes to accept all who have come */
    struct cvy_jobs *jobs;
    struct cvy_crews *crews;
    struct cvy_segments *segments; /* NULL: it looks after none */
    struct covey_bytes reply;
    covey_value *no_keywords; /* an empty dict */
    struct cvy_recent recent[CVY_RECENT];
    unsigned char *scratch; /* what is read goes there first */
    uint64_t base_memory;   /* allocated before it began */
    uint64_t since_look;    /* bytes that have come since memory was looked at */
    bool is_full;           /* of memory */
    uint64_t requests;
    int64_t tick; /* of the clock, when it last turned to somebody else */
};

/** Serve until somebody stops it. The listener, flag, registry, address and limits are
 * set. Returns: 0; -errno. */
int cvy_server_run(struct cvy_server *server);
/** Say whether it is full, if so much has come that this may have changed. */
void cvy_server_look_at_memory(struct cvy_server *server);
/** What one request may use. Not by value: that is slow, since it is written in small parts
 * and copied in large ones. */
static inline void cvy_server_grant(const struct cvy_server *server,
                                    struct cvy_heap *ret)
{
    *ret = (struct cvy_heap){.steps = server->limits.max_steps,
                             .limit = server->limits.max_bytes,
                             .max_weight = UINT64_MAX,
                             .max_depth = COVEY_VALUE_DEPTH_MAX};
}
/** Let those who were woken go on. */
static inline void cvy_server_go_on(struct cvy_server *server)
{
    if (server->parking.woken.first)
        cvy_parking_run(&server->parking, 0);
}
/** The loop turns to others now. */
static inline void cvy_server_turns(struct cvy_server *server)
{
    server->tick = cvy_os_last_tick();
}
/** Whether that was so long ago, some ms at most, that others are due. */
static inline bool cvy_server_is_late(const struct cvy_server *server)
{
    return cvy_os_last_tick() != server->tick;
}
/** Async-signal-safe. */
void cvy_server_stop(struct cvy_server *server);

#endif
