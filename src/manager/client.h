/* SPDX-License-Identifier: MIT */
/**
 * manager/client.h: what the client's files share.
 *
 *   link.c      the connections of this process's threads, and messages on them
 *   connect.c   managers
 *   reconnect.c managers that are not there, and calls that may be repeated
 *   proxy.c     proxies: making, passing on, letting go
 *   invoke.c    calls, and what comes of them
 *   remote*.c   the standard objects, and named memory
 *
 * Managers and proxies are objects of the region; nothing in them changes after they were
 * made, but for what says so. All the rest is private to the process.
 */
#ifndef CVY_MANAGER_CLIENT_H
#define CVY_MANAGER_CLIENT_H

#include "channel/tls.h"
#include "manager/message.h"
#include "os/os.h"
#include "sync/sync.h"

#include <covey/connection.h>
#include <covey/proxy.h>
#include <covey/remote.h>

#define CVY_KEY_MAX    256
#define CVY_CLASS_MAX  127
#define CVY_REPEAT_MAX 511

/* A manager. `kept`, if it is not 0, is what has to live as long: its process. */
struct covey_manager {
    struct cvy_object object;
    cvy_ref kept;
    cvy_ref repeat;    /* methods that may run twice, a text in a run; 0: none */
    uint64_t serial;   /* no other manager of the family has it */
    int64_t timeout;   /* COVEY_FOREVER: none */
    int64_t reconnect; /* how long to go on trying; 0: not at all */
    uint64_t max_reply;
    uint32_t has_key, key_size, allow_md5;
    /* [cas] 0: `home` unknown, 1: being written, 2: known */
    _Atomic uint32_t home_state;
    unsigned char key[CVY_KEY_MAX];
    struct cvy_tls_settings tls;
    char address[CVY_OS_ADDRESS_TEXT]; /* by which we reach it */
    char home[CVY_OS_ADDRESS_TEXT];    /* by which it knows its own objects */
};
_Static_assert(sizeof(struct covey_manager) <= 2048, "an object's header");

/* A proxy: one reference in the manager. */
struct covey_proxy {
    struct cvy_object object;
    cvy_ref manager;  /* kept */
    uint64_t receipt; /* by which the reference is asked for */
    /* That the manager knows it so, or has not answered yet; else by `ident` alone. */
    uint32_t has_receipt;
    char ident[CVY_IDENT_MAX + 1];
    char type_id[CVY_METHOD_MAX + 1];
    char class_name[CVY_CLASS_MAX + 1]; /* of CPython's proxies, in `class_module` */
    char class_module[CVY_METHOD_MAX + 1];
};
_Static_assert(sizeof(struct covey_proxy) <= 2048, "an object's header");

static inline struct covey_manager *cvy_manager_of(const covey_proxy *proxy)
{
    return cvy_at(proxy->manager);
}

/* ---- managers (connect.c) ---- */

/** Make the object of a manager at an address, with defaults for what `o` leaves out;
 * nothing is sent. */
int cvy_manager_make(covey_manager **out, const char *address,
                     const struct covey_connect_opts *o,
                     const char *call) COVEY_MUST_CHECK;
/** When a call without a timeout of its own has to be over. */
int64_t cvy_manager_deadline(const covey_manager *manager);
/** The same, where the manager itself is to wait for `timeout`. */
int64_t cvy_manager_deadline_after(const covey_manager *manager, covey_nsec timeout);
/** Whether this is still the manager that had this serial. */
bool cvy_manager_is(const covey_manager *manager, uint64_t serial);
/** A hold of it was dropped: if that was the last, close this process's links to it. */
void cvy_manager_gone(const covey_manager *manager, uint64_t serial);
/** Remember by which address it knows its own objects. */
void cvy_manager_learn_home(covey_manager *manager, const char *address);

/* ---- threads and their links (link.c) ---- */

struct cvy_patience;

/** What waits for an answer; in its link's list until there is one. */
struct covey_reply {
    struct covey_reply *next;
    struct cvy_link *link; /* NULL: there is an answer, or none will come */
    const covey_proxy *proxy;
    const char *ident; /* of the proxy's object; or a request for the manager itself */
    uint32_t thread;   /* owner word of who sent it */
    int result;        /* 0: `message` */
    bool is_dropped;   /* nobody wants it */
    bool is_value;     /* `message` is what the method returned, without its message */
    bool is_sent;      /* as a whole: it may run, or have run */
    bool lost_locks;   /* its connection has ended, by which locks were held */
    covey_value *message;
    const char *method;
    char method_room[]; /* of those that are not on the stack */
};

/** What this thread knows of its last failed call. NULL: no memory. */
struct cvy_remote_error {
    covey_value *exception; /* NULL: none, or not one of the method's */
    struct covey_bytes type, text;
};
struct cvy_remote_error *cvy_client_error(void);
/** The same if there is one. */
struct cvy_remote_error *cvy_client_error_seen(void);

/** Send a request to a proxy's object over this thread's connection, which is made if there
 * is none, and again if it ends before the request is sent; `reply` waits for the answer
 * then. Takes `args` and `kwargs`. */
int cvy_link_send(struct covey_reply *reply, covey_value *args, covey_value *kwargs,
                  struct cvy_patience *patience) COVEY_MUST_CHECK;
/** Wait for it. Returns: 0 with `reply->message`; -ETIMEDOUT: nothing has changed; why
 * there will be none. */
int cvy_link_await(struct covey_reply *reply, int64_t deadline) COVEY_MUST_CHECK;
/** Give up a connection whose answer does not come in time. */
void cvy_link_give_up(struct covey_reply *reply);
/** Nobody waits for it any more; it may be freed at once, or when the answer comes. */
void cvy_link_drop(struct covey_reply *reply);

enum cvy_ask {
    CVY_ASK_PATIENTLY, /* as long as `.reconnect` says */
    CVY_ASK_ONCE,      /* if it is there */
    CVY_ASK_TO_END     /* the same, and wait for the end of the connection */
};
/** What a request asks for, or gives back. */
struct cvy_reference {
    uint64_t receipt; /* 0: none */
    bool is_open;     /* it was sent, and what has become of it is not known */
};
/** One request to the manager itself, over a connection of its own. `about`: NULL: no
 * reference. `*out`: the reply's message. Takes `args` and `kwargs`. */
int cvy_link_ask(covey_manager *manager, covey_value **out, const char *method,
                 covey_value *args, covey_value *kwargs, struct cvy_reference *about,
                 enum cvy_ask how, int64_t deadline) COVEY_MUST_CHECK;
/** Whether this thread has a connection to it, and it knows of receipts. */
bool cvy_link_knows_receipts(const covey_manager *manager);
/** A manager is gone: close the connections of this process's threads to it. */
void cvy_link_close_all(const covey_manager *manager, uint64_t serial);

/* ---- what comes of a call (invoke.c) ---- */

/** Forget the last error of this thread. */
void cvy_remote_forget(void);
/** Look into a reply. `*ret_value` is borrowed from it; `*ret_kind`: RETURN or PROXY.
 * COVEY_EREMOTE with the detail "`what`: KeyError: 'x'" and the thread's error. */
int cvy_remote_result(const covey_value *message, const char *what,
                      enum cvy_reply_kind *ret_kind,
                      const covey_value **ret_value) COVEY_MUST_CHECK;
/** What became of a request about the object `ident`: -ESTALE in place of COVEY_EREMOTE if
 * the manager has said that there is none; else `r`. */
int cvy_remote_refine(int r, const char *ident, const char *what);
/** Ask the manager itself for something, with the usual deadline. `*out`: the value. */
int cvy_remote_ask(covey_manager *manager, covey_value **out, const char *method,
                   covey_value *args, covey_value *kwargs) COVEY_MUST_CHECK;
/** The same about a reference. */
int cvy_remote_ask_for(covey_manager *manager, covey_value **out, const char *method,
                       covey_value *args, covey_value *kwargs,
                       struct cvy_reference *about) COVEY_MUST_CHECK;
/** The reference to what a method has returned, but nobody wants, is given back; nobody waits
 * for that. */
void cvy_remote_return(const covey_proxy *proxy, const char *ident);
/** Have the manager give the reference to what a method has returned that receipt.
 * `*ret_has`: whether it has. */
int cvy_remote_sign(covey_proxy *proxy, int64_t deadline,
                    bool *ret_has) COVEY_MUST_CHECK;

/** Call a method that may wait in the manager for `wait`. Takes `args` and `kwargs`. */
int cvy_invoke(covey_proxy *proxy, covey_value **out, const char *method,
               covey_value *args, covey_value *kwargs, covey_nsec wait,
               const char *call) COVEY_MUST_CHECK;

/* ---- standard objects (remote.c) ---- */

/** Call a method of a standard object. Like covey_proxy_call, but exceptions that have a
 * code are that one: see covey/remote.h. Takes `args`. */
int cvy_remote_call(covey_proxy *proxy, covey_value **out, const char *method,
                    covey_value *args) COVEY_MUST_CHECK;
/** The same with keyword arguments, which it takes, too. */
int cvy_remote_call_with(covey_proxy *proxy, covey_value **out, const char *method,
                         covey_value *args, covey_value *kwargs) COVEY_MUST_CHECK;
/** The same for a method that returns a number that counts something. */
int cvy_remote_count(covey_proxy *proxy, const char *method, covey_value *args,
                     size_t *ret_count) COVEY_MUST_CHECK;
/** The same for a question. Returns: 1 or 0; as cvy_remote_call. */
int cvy_remote_truth(covey_proxy *proxy, const char *method,
                     covey_value *args) COVEY_MUST_CHECK;
/** The same for a method that waits itself for at most `timeout`. */
int cvy_remote_call_for(covey_proxy *proxy, covey_value **out, const char *method,
                        covey_value *args, covey_nsec timeout) COVEY_MUST_CHECK;
/** The same for a method that makes an object. */
int cvy_remote_call_proxy(covey_proxy *proxy, covey_proxy **out, const char *method,
                          covey_value *args) COVEY_MUST_CHECK;
/** A timeout as Python wants it: None for ever, or seconds. */
covey_value *cvy_remote_seconds(covey_nsec timeout);
/** Tuples of values, which they take. */
covey_value *cvy_remote_args1(covey_value *first);
covey_value *cvy_remote_args2(covey_value *first, covey_value *second);
/** Set `ret_text` to a str that came. Returns: 0; COVEY_EPROTOCOL; -ENOMEM. */
int cvy_remote_text(const covey_value *value,
                    struct covey_bytes *ret_text) COVEY_MUST_CHECK;

/* ---- proxies (proxy.c) ---- */

/** A proxy of what a #PROXY reply says; on failure its reference is given back. */
int cvy_proxy_adopt(covey_proxy **out, covey_manager *manager, const covey_value *value,
                    int64_t deadline) COVEY_MUST_CHECK;
/** The same when nobody wants the object, which a method of `of` has returned: its reference
 * is given back, if that can be. Returns: 0; COVEY_EPROTOCOL: no proxy can be read. */
int cvy_proxy_refuse(const covey_proxy *of, const covey_value *value) COVEY_MUST_CHECK;
/** Give some of the references back whose last holders were killed, to a manager that has
 * just answered; failures are only logged. */
void cvy_proxy_settle(covey_manager *manager, int64_t deadline);
/** The manager is gone, and with it what there were references to. */
void cvy_proxy_write_off(const covey_manager *manager);
static inline int cvy_proxy_enter(const covey_proxy *proxy, const char *call)
{
    return cvy_sync_enter(proxy, CVY_KIND_PROXY, call);
}

#endif
