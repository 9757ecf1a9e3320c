/* SPDX-License-Identifier: MIT */
/**
 * manager/message.h: what clients and servers of managers say to each other, as values.
 * Each message is one pickled tuple, as CPython's multiprocessing.managers has them:
 *
 *   request     (ident or None, method, args, kwargs)
 *   reply       ('#RETURN', value)            what the method returned
 *               ('#ERROR', exception)         what it raised
 *               ('#TRACEBACK', text)          what went wrong around it
 *               ('#UNSERIALIZABLE', text)     the result could not be pickled
 *               ('#PROXY', (exposed, token))  the result stays in the server
 *   token       Token, with (type id, address, ident) as its state
 *   proxy       RebuildProxy(class, token, 'pickle', {})
 *               RebuildProxy(AutoProxy, token, 'pickle', {'exposed': (...)})
 *   exception   class(*args)
 *
 * Requests with an ident are for that object, others for the manager itself. Nothing of
 * what is read is believed: the readers look at every type and length they tell of, and
 * say COVEY_EPROTOCOL where something is wrong. What they return is borrowed from the
 * message. None of these waits, or makes anything longer than a few times what it got.
 */
#ifndef CVY_MANAGER_MESSAGE_H
#define CVY_MANAGER_MESSAGE_H

#include <stdbool.h>

#include "os/socket.h"

#include <covey/value.h>

/** Where CPython's classes of managers live. */
#define CVY_MANAGERS "multiprocessing.managers"

/** The longest names: of a method or type, and what an object is called by. */
#define CVY_METHOD_MAX 255
#define CVY_IDENT_MAX  63

/* ---- requests ---- */

/** A request of covey's own clients on a session: (device, inode, ref) of a lane in the
 * family's memory, over which the session is to go on. The reply is True if it does. To
 * servers of others it is a call of an object that they do not have. */
#define CVY_LANE_REQUEST "#COVEY_LANE"
/** Another one: (ident, receipt). What a method has returned belongs to the process that
 * asked, or to its session if that cannot be seen, and by this to who that counts for. The reply is True if the reference has
 * the receipt then. */
#define CVY_RECEIPT_REQUEST "#COVEY_RECEIPT"

struct cvy_request {
    const char *ident; /* NULL: for the manager itself */
    const char *method;
    const covey_value *args;   /* a tuple */
    const covey_value *kwargs; /* a dict with str keys */
};

/** Make one. Takes `args` and `kwargs`, also on failure; NULL are none of them.
 * Returns: 0; the errors that stick to them; COVEY_ETYPE; -ENOMEM. */
int cvy_request_make(covey_value **out, const char *ident, const char *method,
                     covey_value *args, covey_value *kwargs) COVEY_MUST_CHECK;
/** The same as a pickle, in `pickle`; without making a value of it. */
int cvy_request_pickle(struct covey_bytes *pickle, const char *ident,
                       const char *method, covey_value *args,
                       covey_value *kwargs) COVEY_MUST_CHECK;
/** A pickled request as clients write it who give no keywords: where its parts are. */
struct cvy_request_parts {
    struct covey_view ident, method;
    struct covey_view args; /* see cvy_request_args */
};
/** Find them. Returns: whether it is one; if not, it is to be read as a whole. */
bool cvy_request_split(const void *pickle, size_t size, struct cvy_request_parts *ret);
/** Read the arguments. Returns: 0, with a tuple; an error: it is to be read as a whole. */
int cvy_request_args(covey_value **out, const struct cvy_request_parts *parts,
                     const struct covey_unpickle_opts *limits) COVEY_MUST_CHECK;
/** Look into one. Returns: 0; COVEY_EPROTOCOL. */
int cvy_request_read(const covey_value *message,
                     struct cvy_request *ret) COVEY_MUST_CHECK;

/* ---- replies ---- */

enum cvy_reply_kind {
    CVY_REPLY_RETURN = 0,
    CVY_REPLY_ERROR,
    CVY_REPLY_TRACEBACK,
    CVY_REPLY_UNSERIALIZABLE,
    CVY_REPLY_PROXY
};

/** Make one; PROXY by cvy_reply_make_proxy. Takes `value`, also on failure. */
int cvy_reply_make(covey_value **out, enum cvy_reply_kind kind,
                   covey_value *value) COVEY_MUST_CHECK;
/** The same as a pickle, in `pickle`; without making a value of it. */
int cvy_reply_pickle(struct covey_bytes *pickle, enum cvy_reply_kind kind,
                     covey_value *value) COVEY_MUST_CHECK;
/** Read the pickle of a reply. `*ret_is_value`: it is a RETURN, and `*out` the value in it;
 * otherwise a message for cvy_reply_read. Returns: as covey_value_unpickle. */
int cvy_reply_unpickle(covey_value **out, const void *pickle, size_t size,
                       const struct covey_unpickle_opts *limits,
                       bool *ret_is_value) COVEY_MUST_CHECK;
/** Look into one. `*ret_value`: a str for TRACEBACK and UNSERIALIZABLE; for PROXY see
 * cvy_reply_read_proxy. Returns: 0; COVEY_EPROTOCOL. */
int cvy_reply_read(const covey_value *message, enum cvy_reply_kind *ret_kind,
                   const covey_value **ret_value) COVEY_MUST_CHECK;

/* ---- tokens and proxies ---- */

struct cvy_token {
    const char *type_id;
    const covey_value *address; /* a str, bytes, or (host, port) */
    const char *ident;
};

/** Make one. Returns: a value; NULL as all makers. */
covey_value *cvy_token_make(const struct cvy_token *token);
/** Look into one. Returns: 0; COVEY_EPROTOCOL. */
int cvy_token_read(const covey_value *value, struct cvy_token *ret) COVEY_MUST_CHECK;

/** A #PROXY reply. Takes `exposed`, a tuple of str. */
int cvy_reply_make_proxy(covey_value **out, covey_value *exposed,
                         const struct cvy_token *token) COVEY_MUST_CHECK;
/** Look into the value of a #PROXY reply. */
int cvy_reply_read_proxy(const covey_value *value, const covey_value **ret_exposed,
                         struct cvy_token *ret) COVEY_MUST_CHECK;

/** A proxy as it lies in values. */
struct cvy_pickled_proxy {
    struct cvy_token token;
    const char *class_name;   /* "ListProxy"; "AutoProxy" where `exposed` tells more */
    const char *class_module; /* NULL when made: CVY_MANAGERS */
    const covey_value *exposed; /* NULL, or a tuple of str: for AutoProxy only */
};

/** Whether a value is a pickled proxy, maybe a malformed one. */
bool cvy_pickled_proxy_is(const covey_value *value);
covey_value *cvy_pickled_proxy_make(const struct cvy_pickled_proxy *proxy);
int cvy_pickled_proxy_read(const covey_value *value,
                           struct cvy_pickled_proxy *ret) COVEY_MUST_CHECK;

/** The name of the class that CPython's SyncManager has for a type id; NULL: AutoProxy. */
const char *cvy_proxy_class_of(const char *type_id);

/* ---- exceptions ---- */

struct cvy_exception {
    const char *module, *name; /* "builtins", "KeyError"; "_queue", "Empty" */
    const covey_value *args;   /* a tuple */
};

/** Make one. Takes `args`, a tuple; NULL: (). Returns: a value; NULL as all makers. */
covey_value *cvy_exception_make(const char *module, const char *name,
                                covey_value *args);
/** The same with one str, made as by printf. */
covey_value *cvy_exception_text(const char *module, const char *name,
                                const char *format, ...) COVEY_PRINTF(3, 4);
/** Look into one. Returns: 0; COVEY_EPROTOCOL. */
int cvy_exception_read(const covey_value *value,
                       struct cvy_exception *ret) COVEY_MUST_CHECK;
/** What str() of it gives in Python; long values in its arguments become "...". `text` is
 * overwritten, and a NUL follows that its size omits. */
int cvy_exception_str(const struct cvy_exception *exception,
                      struct covey_bytes *text) COVEY_MUST_CHECK;

/* ---- addresses ---- */

/** A text as of covey_listener_create as Python has it: ("127.0.0.1", 5000), "/path",
 * b"\0abstract". Names of hosts are not looked up; no host is this machine. Returns: 0;
 * -EINVAL with what is wrong in the detail. */
int cvy_address_to_value(covey_value **out, const char *text) COVEY_MUST_CHECK;
/** The converse. Returns: 0; COVEY_EPROTOCOL if it is none, or cannot be written so. */
int cvy_address_from_value(const covey_value *value,
                           char text[CVY_OS_ADDRESS_TEXT]) COVEY_MUST_CHECK;

/* ---- references whose last holders were killed (proxy.c) ---- */

struct covey_proxy;

/** The caller's to give back. */
struct cvy_owed {
    char ident[CVY_IDENT_MAX + 1]; /* empty: only the receipt is known */
    uint64_t receipt;              /* 0: none */
    int first;                     /* the number of the family's first process */
    struct covey_proxy *proxy; /* until it is settled; NULL: it cannot be repeated */
};
/** One of this process's family to an object in the manager at that address. Returns:
 * whether there was one. */
bool cvy_proxy_take_owed(const char *address, struct cvy_owed *ret);
/** It was tried, with this result. Who ends before that leaves it to others. */
void cvy_proxy_settled(struct cvy_owed *owed, int result);

#endif
