/* SPDX-License-Identifier: MIT */
/* message.c: requests, replies, tokens and proxies; exceptions.c and address.c have the
 * rest of message.h. Readers go by Python's structure of each and trust no length. */
#include "manager/message.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

#include "base/base.h"
#include "base/error.h"
#include "value/inside.h"

/* ---- what readers share ---- */

/* A str without NULs, of 1 to `most` bytes. */
static bool read_name(const covey_value *value, size_t most, const char **ret)
{
    const char *text = NULL;
    size_t size = 0;
    if (covey_value_kind(value) != COVEY_VALUE_STR ||
        covey_value_get_str(value, &text, &size) < 0 || !size || size > most ||
        strlen(text) != size)
        return false;
    *ret = text;
    return true;
}

static bool is_tuple_of(const covey_value *value, size_t count)
{
    return covey_value_kind(value) == COVEY_VALUE_TUPLE &&
           covey_value_count(value) == count;
}

/* What a peer sent, for details: types only, since a value's text may be endless. */
static int fail_type(const char *what, const covey_value *value)
{
    return cvy_fail(COVEY_EPROTOCOL, "%s: it is a %.60s of %zu", what,
                    covey_value_type(value), covey_value_count(value));
}

static bool all_are_names(const covey_value *container, size_t most)
{
    const covey_value *key = NULL;
    const char *name = NULL;
    size_t position = 0;
    while (covey_value_next(container, &position, &key, NULL))
        if (!read_name(key, most, &name))
            return false;
    return true;
}

/* A finished value, or its error: what is put into a container in vain sticks to it. */
static int finish(covey_value **out, covey_value *value)
{
    int r = covey_value_check(value);
    if (r < 0)
        covey_value_free(value);
    else
        *out = value;
    return r;
}

/* ---- requests ---- */

/* Whether these can be arguments; NULLs are replaced. */
static int check_args(const char *method, covey_value **args, covey_value **kwargs)
{
    if (!*args)
        *args = covey_value_tuple();
    if (!*kwargs)
        *kwargs = covey_value_dict();
    int r = covey_value_check(*args);
    if (r >= 0)
        r = covey_value_check(*kwargs);
    if (r < 0)
        return r;
    if (covey_value_kind(*args) != COVEY_VALUE_TUPLE)
        return cvy_fail(COVEY_ETYPE, "%s: the arguments are a %.60s instead of a tuple",
                        method, covey_value_type(*args));
    if (covey_value_kind(*kwargs) != COVEY_VALUE_DICT)
        return cvy_fail(COVEY_ETYPE,
                        "%s: the keyword arguments are a %.60s instead of a dict",
                        method, covey_value_type(*kwargs));
    return 0;
}

int cvy_request_make(covey_value **out, const char *ident, const char *method,
                     covey_value *args, covey_value *kwargs)
{
    int r = check_args(method, &args, &kwargs);
    if (r < 0) {
        covey_value_free(args);
        covey_value_free(kwargs);
        return r;
    }
    covey_value *message = covey_value_tuple();
    (void)covey_value_append(message,
                             ident ? covey_value_str(ident) : covey_value_none());
    (void)covey_value_append(message, covey_value_str(method));
    (void)covey_value_append(message, args);
    (void)covey_value_append(message, kwargs);
    return finish(out, message);
}

/* What is in the pickle of a request around its arguments:
 *
 *   ( SHORT_BINUNICODE size ident MEMOIZE SHORT_BINUNICODE size method MEMOIZE
 *   ... the arguments ...
 *   EMPTY_DICT MEMOIZE TUPLE MEMOIZE STOP        if there are no keywords
 *
 * PROTO 4 and FRAME with the size of the rest come first. */
#define PICKLE_HEAD 11
static const unsigned char no_keywords[] = {'}', 0x94, 't', 0x94, '.'};

static size_t put_name(unsigned char *to, const char *name, size_t size)
{
    to[0] = 0x8c;
    to[1] = (unsigned char)size;
    memcpy(to + 2, name, size);
    to[2 + size] = 0x94;
    return size + 3;
}

int cvy_request_pickle(struct covey_bytes *pickle, const char *ident,
                       const char *method, covey_value *args, covey_value *kwargs)
{
    unsigned char before[2 * (UINT8_MAX + 3) + 1];
    size_t ident_size = strlen(ident), method_size = strlen(method), size = 1;
    bool has_kwargs = kwargs != NULL;
    if (ident_size > UINT8_MAX || method_size > UINT8_MAX) {
        covey_value_free(args);
        covey_value_free(kwargs);
        return cvy_fail(-EINVAL, "a method's name of %zu bytes", method_size);
    }
    before[0] = '(';
    size += put_name(before + size, ident, ident_size);
    size += put_name(before + size, method, method_size);
    size_t skip = has_kwargs ? 2 : 0;
    const struct cvy_around around = {
        .before = COVEY_VIEW(before, size),
        .after = COVEY_VIEW(no_keywords + skip, 4 - skip),
        .memoized = 2,
    };
    covey_value *given[2] = {args, kwargs};
    int r = 0;
    if (!args || has_kwargs || covey_value_kind(args) != COVEY_VALUE_TUPLE ||
        covey_value_check(args) < 0)
        r = check_args(method, &given[0], &given[1]);
    const covey_value *const values[2] = {given[0], given[1]};
    if (r >= 0)
        r = cvy_pickle_around(pickle, &around, values, has_kwargs ? 2 : 1);
    covey_value_free(given[0]);
    covey_value_free(given[1]);
    return r;
}

/* Whether it is the head of a pickle in one frame. */
static bool has_head(const unsigned char *at, size_t size)
{
    uint64_t frame;
    if (size < PICKLE_HEAD || at[0] != 0x80 || at[1] != 4 || at[2] != 0x95)
        return false;
    memcpy(&frame, at + 3, sizeof frame);
    return le64toh(frame) == size - PICKLE_HEAD;
}

static const unsigned char *get_name(const unsigned char *at, const unsigned char *end,
                                     struct covey_view *ret)
{
    if (end - at < 3 || at[0] != 0x8c || end - at < at[1] + 3 || at[at[1] + 2] != 0x94)
        return NULL;
    *ret = COVEY_VIEW(at + 2, at[1]);
    return at + at[1] + 3;
}

bool cvy_request_split(const void *pickle, size_t size, struct cvy_request_parts *ret)
{
    const unsigned char *at = pickle, *end = at + size;
    if (!has_head(at, size) || size < PICKLE_HEAD + 1 + sizeof no_keywords ||
        at[PICKLE_HEAD] != '(')
        return false;
    end -= sizeof no_keywords;
    at = get_name(at + PICKLE_HEAD + 1, end, &ret->ident);
    if (at)
        at = get_name(at, end, &ret->method);
    if (!at || memcmp(end, no_keywords, sizeof no_keywords) != 0)
        return false;
    ret->args = COVEY_VIEW(at, (size_t)(end - at));
    return true;
}

int cvy_request_args(covey_value **out, const struct cvy_request_parts *parts,
                     const struct covey_unpickle_opts *limits)
{
    covey_value *args = NULL;
    int r = cvy_unpickle_inside(&args, parts->args.data, parts->args.size, 2, limits);
    if (r < 0)
        return r;
    if (covey_value_kind(args) != COVEY_VALUE_TUPLE) {
        r = fail_type("the arguments of a request are no tuple", args);
        covey_value_free(args);
        return r;
    }
    *out = args;
    return 0;
}

int cvy_request_read(const covey_value *message, struct cvy_request *ret)
{
    struct cvy_request request = {0};
    if (!is_tuple_of(message, 4))
        return fail_type("a request is no (ident, method, args, kwargs)", message);
    const covey_value *ident = covey_value_at(message, 0);
    if (!covey_value_is_none(ident) && !read_name(ident, CVY_IDENT_MAX, &request.ident))
        return fail_type("the ident of a request is no short str", ident);
    if (!read_name(covey_value_at(message, 1), CVY_METHOD_MAX, &request.method))
        return fail_type("the method of a request is no short str",
                         covey_value_at(message, 1));
    request.args = covey_value_at(message, 2);
    if (covey_value_kind(request.args) != COVEY_VALUE_TUPLE)
        return fail_type("the arguments of a request are no tuple", request.args);
    request.kwargs = covey_value_at(message, 3);
    if (covey_value_kind(request.kwargs) != COVEY_VALUE_DICT ||
        !all_are_names(request.kwargs, CVY_METHOD_MAX))
        return fail_type("the keyword arguments of a request are no dict of names",
                         request.kwargs);
    *ret = request;
    return 0;
}

/* ---- replies ---- */

static const char *const reply_names[] = {
    [CVY_REPLY_RETURN] = "#RETURN",
    [CVY_REPLY_ERROR] = "#ERROR",
    [CVY_REPLY_TRACEBACK] = "#TRACEBACK",
    [CVY_REPLY_UNSERIALIZABLE] = "#UNSERIALIZABLE",
    [CVY_REPLY_PROXY] = "#PROXY",
};

int cvy_reply_make(covey_value **out, enum cvy_reply_kind kind, covey_value *value)
{
    covey_value *message = covey_value_tuple();
    (void)covey_value_append(message, covey_value_str(reply_names[kind]));
    (void)covey_value_append(message, value);
    return finish(out, message);
}

/* The end of a reply's pickle: TUPLE2 MEMOIZE STOP. */
static const unsigned char reply_end[] = {0x86, 0x94, '.'};

int cvy_reply_pickle(struct covey_bytes *pickle, enum cvy_reply_kind kind,
                     covey_value *value)
{
    unsigned char before[32];
    const char *name = reply_names[kind];
    const struct cvy_around around = {
        .before = COVEY_VIEW(before, put_name(before, name, strlen(name))),
        .after = COVEY_VIEW(reply_end, 2),
        .memoized = 1,
    };
    const covey_value *const values[1] = {value};
    int r = covey_value_check(value);
    if (r >= 0)
        r = cvy_pickle_around(pickle, &around, values, 1);
    covey_value_free(value);
    return r;
}

int cvy_reply_unpickle(covey_value **out, const void *pickle, size_t size,
                       const struct covey_unpickle_opts *limits, bool *ret_is_value)
{
    static const unsigned char name[] = {0x8c, 7,   '#', 'R', 'E',
                                         'T',  'U', 'R', 'N', 0x94};
    const size_t head = PICKLE_HEAD + sizeof name, tail = sizeof reply_end;
    const unsigned char *at = pickle;
    *ret_is_value =
        has_head(at, size) && size > head + tail &&
        memcmp(at + PICKLE_HEAD, name, sizeof name) == 0 &&
        memcmp(at + size - tail, reply_end, tail) == 0 &&
        cvy_unpickle_inside(out, at + head, size - head - tail, 1, limits) >= 0;
    return *ret_is_value ? 0 : covey_value_unpickle(out, pickle, size, limits);
}

int cvy_reply_read(const covey_value *message, enum cvy_reply_kind *ret_kind,
                   const covey_value **ret_value)
{
    const char *name = NULL;
    size_t kind = 0;
    if (!is_tuple_of(message, 2) ||
        !read_name(covey_value_at(message, 0), CVY_METHOD_MAX, &name))
        return fail_type("a reply is no (kind, value)", message);
    while (kind < CVY_ARRAY_SIZE(reply_names) && strcmp(name, reply_names[kind]) != 0)
        kind++;
    if (kind == CVY_ARRAY_SIZE(reply_names))
        return cvy_fail(COVEY_EPROTOCOL, "a reply of the unknown kind '%.40s'", name);
    const covey_value *value = covey_value_at(message, 1);
    if ((kind == CVY_REPLY_TRACEBACK || kind == CVY_REPLY_UNSERIALIZABLE) &&
        covey_value_kind(value) != COVEY_VALUE_STR)
        return fail_type("a reply that tells of an error has no text", value);
    *ret_kind = (enum cvy_reply_kind)kind;
    *ret_value = value;
    return 0;
}

/* ---- tokens ---- */

covey_value *cvy_token_make(const struct cvy_token *token)
{
    covey_value *made = covey_value_instance(covey_value_global(CVY_MANAGERS, "Token"),
                                             covey_value_tuple());
    covey_value *state = covey_value_tuple();
    (void)covey_value_append(state, covey_value_str(token->type_id));
    (void)covey_value_append(state, covey_value_ref(token->address));
    (void)covey_value_append(state, covey_value_str(token->ident));
    (void)covey_value_put_state(made, state);
    return made;
}

static bool is_address(const covey_value *value)
{
    enum covey_kind kind = covey_value_kind(value);
    return kind == COVEY_VALUE_STR || kind == COVEY_VALUE_BYTES ||
           (is_tuple_of(value, 2) &&
            covey_value_kind(covey_value_at(value, 0)) == COVEY_VALUE_STR &&
            covey_value_kind(covey_value_at(value, 1)) == COVEY_VALUE_INT);
}

int cvy_token_read(const covey_value *value, struct cvy_token *ret)
{
    struct cvy_token token = {0};
    struct covey_object object = {0};
    if (!covey_value_is(value, CVY_MANAGERS, "Token") ||
        covey_value_get_object(value, &object) < 0)
        return fail_type("something is no Token", value);
    if (!is_tuple_of(object.state, 3))
        return fail_type("a Token has another state than (type id, address, ident)",
                         object.state);
    if (!read_name(covey_value_at(object.state, 0), CVY_METHOD_MAX, &token.type_id))
        return fail_type("the type id of a Token is no short str",
                         covey_value_at(object.state, 0));
    token.address = covey_value_at(object.state, 1);
    if (!is_address(token.address))
        return fail_type("the address of a Token is none", token.address);
    if (!read_name(covey_value_at(object.state, 2), CVY_IDENT_MAX, &token.ident))
        return fail_type("the ident of a Token is no short str",
                         covey_value_at(object.state, 2));
    *ret = token;
    return 0;
}

int cvy_reply_make_proxy(covey_value **out, covey_value *exposed,
                         const struct cvy_token *token)
{
    covey_value *pair = covey_value_tuple();
    (void)covey_value_append(pair, exposed);
    (void)covey_value_append(pair, cvy_token_make(token));
    return cvy_reply_make(out, CVY_REPLY_PROXY, pair);
}

static bool is_exposed(const covey_value *value)
{
    enum covey_kind kind = covey_value_kind(value);
    return (kind == COVEY_VALUE_TUPLE || kind == COVEY_VALUE_LIST) &&
           all_are_names(value, CVY_METHOD_MAX);
}

int cvy_reply_read_proxy(const covey_value *value, const covey_value **ret_exposed,
                         struct cvy_token *ret)
{
    const covey_value *exposed = covey_value_at(value, 0);
    if (!is_tuple_of(value, 2) || !is_exposed(exposed))
        return fail_type("a #PROXY reply has no (exposed, token)", value);
    int r = cvy_token_read(covey_value_at(value, 1), ret);
    if (r >= 0)
        *ret_exposed = exposed;
    return r;
}

/* ---- proxies ---- */

bool cvy_pickled_proxy_is(const covey_value *value)
{
    return covey_value_is(value, CVY_MANAGERS, "RebuildProxy") &&
           covey_value_kind(value) == COVEY_VALUE_OBJECT;
}

covey_value *cvy_pickled_proxy_make(const struct cvy_pickled_proxy *proxy)
{
    const char *module = proxy->class_module ? proxy->class_module : CVY_MANAGERS;
    covey_value *args = covey_value_tuple();
    covey_value *kwargs = covey_value_dict();
    if (proxy->exposed)
        (void)covey_value_put_str(kwargs, "exposed", covey_value_ref(proxy->exposed));
    (void)covey_value_append(args, covey_value_global(module, proxy->class_name));
    (void)covey_value_append(args, cvy_token_make(&proxy->token));
    (void)covey_value_append(args, covey_value_str("pickle"));
    (void)covey_value_append(args, kwargs);
    return covey_value_call(covey_value_global(CVY_MANAGERS, "RebuildProxy"), args);
}

int cvy_pickled_proxy_read(const covey_value *value, struct cvy_pickled_proxy *ret)
{
    struct cvy_pickled_proxy proxy = {0};
    struct covey_object object = {0};
    const char *serializer = NULL;
    if (!cvy_pickled_proxy_is(value) || covey_value_get_object(value, &object) < 0 ||
        !object.calls || !is_tuple_of(object.args, 4))
        return fail_type("something is no pickled proxy", value);
    if (covey_value_get_global(covey_value_at(object.args, 0), &proxy.class_module,
                               &proxy.class_name) < 0)
        return fail_type("the class of a pickled proxy is none",
                         covey_value_at(object.args, 0));
    int r = cvy_token_read(covey_value_at(object.args, 1), &proxy.token);
    if (r < 0)
        return r;
    if (!read_name(covey_value_at(object.args, 2), CVY_METHOD_MAX, &serializer) ||
        strcmp(serializer, "pickle") != 0)
        return cvy_fail(COVEY_EPROTOCOL,
                        "the proxy of a '%.60s' has the serializer "
                        "'%.20s', not pickle",
                        proxy.token.type_id, serializer ? serializer : "");
    const covey_value *kwargs = covey_value_at(object.args, 3);
    if (covey_value_kind(kwargs) != COVEY_VALUE_DICT)
        return fail_type("the keyword arguments of a pickled proxy are no dict",
                         kwargs);
    proxy.exposed = covey_value_find_str(kwargs, "exposed");
    if (proxy.exposed && !is_exposed(proxy.exposed))
        return fail_type("the exposed methods of a pickled proxy are no names",
                         proxy.exposed);
    *ret = proxy;
    return 0;
}

const char *cvy_proxy_class_of(const char *type_id)
{
    static const struct {
        const char *type_id, *name;
    } known[] = {
        {"list", "ListProxy"},
        {"dict", "DictProxy"},
        {"Namespace", "NamespaceProxy"},
        {"Value", "ValueProxy"},
        {"Array", "ArrayProxy"},
        {"Lock", "AcquirerProxy"},
        {"RLock", "AcquirerProxy"},
        {"Semaphore", "AcquirerProxy"},
        {"BoundedSemaphore", "AcquirerProxy"},
        {"Condition", "ConditionProxy"},
        {"Event", "EventProxy"},
        {"Barrier", "BarrierProxy"},
        {"Pool", "PoolProxy"},
        {"Iterator", "IteratorProxy"},
        {"set", "SetProxy"},
    };
    for (size_t i = 0; i < CVY_ARRAY_SIZE(known); i++)
        if (strcmp(known[i].type_id, type_id) == 0)
            return known[i].name;
    return NULL;
}
