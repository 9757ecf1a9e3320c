/* SPDX-License-Identifier: MIT */
/* proxy.c: proxies: making, passing on, letting go.
 *
 * A proxy is an object of the region, and one reference in the manager as long as anybody
 * of the family holds it. Who drops the last hold gives the reference back; a process that
 * ends in order drops what it holds itself, so that it can do so. For one that was killed
 * others do it: its manager, if that is of the family and sees the end, or who next asks
 * the manager for something.
 *
 * So that no kill leaves a reference behind, the proxy's object is there before the manager
 * is asked for one, with the number by which it is asked for, its receipt; and until the
 * manager has answered that it is given back. Whoever finds the object without a holder
 * gives back what has that receipt, which the manager does once at most. Servers of others
 * do not know of receipts; to them a reference is given back once at most, so who is killed
 * after it has taken that upon itself leaves it there. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/log.h"
#include "manager/client.h"
#include "region/member.h"

/* The longest that a reference's way back may take. */
#define DECREF_PATIENCE COVEY_SEC(10)
/* So many are given back at a time for others: few, so that no request takes long for them,
 * and more than one, since making a proxy is one request. */
#define SETTLED_AT_ONCE 4

/* ---- letting go ---- */

/* The manager was asked for a reference or given one back. If what has become of that is
 * open, who finds the object gives it back once more. */
static void end(covey_proxy *p, bool is_open)
{
    bool last;
    if (is_open)
        (void)cvy_object_release_owing(p, &last);
    else
        (void)cvy_object_release(p);
}

/* Nobody asked for it, so failures are only logged. Returns: as the request; it is to be
 * tried again unless that was answered, or no manager is there. */
static int give_back_by(covey_manager *manager, const char *ident, uint64_t receipt,
                        int64_t deadline)
{
    struct cvy_reference reference = {.receipt = receipt};
    covey_value *message = NULL;
    int r = cvy_link_ask(manager, &message, "decref",
                         cvy_remote_args1(covey_value_str(ident)), NULL, &reference,
                         CVY_ASK_ONCE, deadline);
    if (r < 0 && cvy_log_is_on(COVEY_LOG_DEBUG))
        (void)covey_log(COVEY_LOG_DEBUG, "the reference to %s in manager %s: %s", ident,
                        manager->address, covey_error_detail());
    covey_value_free(message);
    return r;
}

static int give_back(covey_manager *manager, const char *ident, uint64_t receipt)
{
    return give_back_by(
        manager, ident, receipt,
        cvy_min_i64(cvy_manager_deadline(manager), cvy_os_deadline(DECREF_PATIENCE)));
}

static bool is_open(int r)
{
    return r < 0 && r != -ECONNREFUSED && r != -ENOENT;
}

static bool is_at(const void *proxy, const void *address)
{
    const covey_proxy *p = proxy;
    return strcmp(cvy_manager_of(p)->address, address) == 0;
}

static covey_proxy *find_owed(const char *address)
{
    covey_proxy *p = cvy_object_take_owed(CVY_KIND_PROXY, is_at, address);
    if (p)
        return p;
    cvy_members_sweep(); /* the dead of whom nobody took notice */
    return cvy_object_take_owed(CVY_KIND_PROXY, is_at, address);
}

bool cvy_proxy_take_owed(const char *address, struct cvy_owed *ret)
{
    if (!cvy_head || !cvy_head_has(CVY_HEAD_PROXIES) || cvy_enter() < 0)
        return false;
    covey_proxy *p = find_owed(address);
    if (!p)
        return false;
    *ret = (struct cvy_owed){.first = cvy_member_first_pid(), .proxy = p};
    memcpy(ret->ident, p->ident, sizeof p->ident);
    if (p->has_receipt)
        ret->receipt = p->receipt;
    else
        cvy_proxy_settled(ret, 0);
    return true;
}

void cvy_proxy_settled(struct cvy_owed *owed, int result)
{
    if (owed->proxy)
        end(owed->proxy, is_open(result));
    owed->proxy = NULL;
}

void cvy_proxy_settle(covey_manager *manager, int64_t deadline)
{
    struct cvy_owed owed;
    int r = 0;
    for (int i = 0;
         i < SETTLED_AT_ONCE && r >= 0 && cvy_proxy_take_owed(manager->address, &owed);
         i++) {
        r = give_back_by(manager, owed.ident, owed.receipt, deadline);
        cvy_proxy_settled(&owed, r);
    }
}

void cvy_proxy_write_off(const covey_manager *manager)
{
    struct cvy_owed owed;
    while (cvy_proxy_take_owed(manager->address, &owed))
        cvy_proxy_settled(&owed, 0);
}

static bool has(const void *proxy, const void *receipt)
{
    return ((const covey_proxy *)proxy)->receipt == *(const uint64_t *)receipt;
}

/* One hold less; with the last one the reference is given back. */
static int let_go(covey_proxy *proxy, covey_manager *m)
{
    char ident[CVY_IDENT_MAX + 1];
    bool last = false, has_receipt = proxy->has_receipt;
    uint64_t receipt = proxy->receipt;
    memcpy(ident, proxy->ident, sizeof ident);
    if (!has_receipt) {
        int r = cvy_object_release_told(proxy, &last);
        if (last)
            (void)give_back(m, ident, 0);
        return r;
    }
    int r = cvy_object_release_owing(proxy, &last);
    covey_proxy *p = last ? cvy_object_take_owed(CVY_KIND_PROXY, has, &receipt) : NULL;
    if (!p) /* others hold it, or have taken it upon them */
        return r;
    end(p, is_open(give_back(m, ident, receipt)));
    return r;
}

static int free_proxy(covey_proxy *proxy, const char *call)
{
    int r = cvy_proxy_enter(proxy, call);
    if (r < 0)
        return r;
    covey_manager *m = cvy_manager_of(proxy);
    uint64_t serial = m->serial;
    r = cvy_object_hold(m, cvy_member_owner(), call);
    if (r < 0)
        return r;
    r = let_go(proxy, m);
    if (r >= 0)
        r = cvy_object_release(m);
    cvy_manager_gone(m, serial);
    return r;
}

void covey_proxy_free(covey_proxy *proxy)
{
    static const char call[] = "covey_proxy_free";
    if (proxy && free_proxy(proxy, call) < 0)
        (void)covey_log(COVEY_LOG_WARNING, "%s", covey_error_detail());
}

/* The process ends, maybe one that only was born with a hold, of a proxy that was not ready.
 * What cannot be freed is left to others. */
CVY_CHILD_CODE static void let_all_go(void)
{
    bool last;
    if (!cvy_head_has(CVY_HEAD_PROXIES))
        return;
    for (covey_proxy *p; (p = cvy_object_held(CVY_KIND_PROXY));)
        if ((!p->manager || free_proxy(p, "the end of a process") < 0) &&
            cvy_object_release_owing(p, &last) < 0)
            return;
}

__attribute__((constructor)) static void prepare(void)
{
    cvy_leave_add(let_all_go);
}

/* ---- making ---- */

static bool copy_name(char *to, size_t room, const char *name)
{
    size_t size = strlen(name) + 1;
    if (size > room)
        return false;
    memcpy(to, name, size);
    return true;
}

/* A proxy of nothing yet. From its end on, however that comes, the manager is to be told. */
static int make(covey_proxy **out, covey_manager *manager, const char *call)
{
    void *made = NULL;
    uint64_t receipt = 0;
    int r = cvy_os_random(&receipt, sizeof receipt);
    if (r < 0)
        return cvy_fail(r, "%s: no random number for a receipt", call);
    r = cvy_object_create(CVY_KIND_PROXY, sizeof(struct covey_proxy), 0, 0, &made,
                          NULL);
    if (r < 0)
        return r;
    covey_proxy *p = made;
    p->receipt = receipt | 1; /* 0 is none */
    p->has_receipt = true;
    r = cvy_object_keep(p, manager, call);
    if (r < 0) {
        (void)cvy_object_release(p);
        return r;
    }
    cvy_head_flag(CVY_HEAD_PROXIES);
    cvy_object_owe(p);
    *out = p;
    return 0;
}

/* What it is a proxy of. Without an ident it is given back by its receipt alone, so that
 * comes last, and its first byte after the others. */
static int describe(covey_proxy *p, const struct cvy_pickled_proxy *pickled,
                    const char *call)
{
    const char *module = pickled->class_module;
    const char *name = pickled->class_name, *ident = pickled->token.ident;
    if (!name)
        name = cvy_proxy_class_of(pickled->token.type_id);
    if (!copy_name(p->type_id, sizeof p->type_id, pickled->token.type_id) ||
        !copy_name(p->class_name, sizeof p->class_name, name ? name : "AutoProxy") ||
        !copy_name(p->class_module, sizeof p->class_module,
                   module ? module : CVY_MANAGERS) ||
        !copy_name(p->ident + 1, sizeof p->ident - 1, *ident ? ident + 1 : ident))
        return cvy_fail(COVEY_EPROTOCOL, "%s: a name of the proxy is too long", call);
    atomic_signal_fence(memory_order_seq_cst);
    p->ident[0] = *ident;
    return 0;
}

/* The manager has answered a request for a reference. */
static void note_receipt(covey_proxy *p, bool has_receipt)
{
    p->has_receipt = has_receipt;
    atomic_signal_fence(memory_order_seq_cst); /* before the ident */
}

/* The reference is there. */
static int finish(covey_proxy **out, covey_proxy *p, bool has_receipt,
                  const struct cvy_pickled_proxy *pickled, const char *call)
{
    note_receipt(p, has_receipt);
    int r = describe(p, pickled, call);
    if (r < 0)
        covey_proxy_free(p);
    else
        *out = p;
    return r;
}

/* What `create` answers: (ident, exposed), and a third one of servers that know of receipts
 * and have noted this one. */
static int read_created(const covey_value *value, const char *type_id,
                        struct cvy_pickled_proxy *ret)
{
    const char *ident = NULL;
    if (covey_value_kind(value) != COVEY_VALUE_TUPLE || covey_value_count(value) < 2 ||
        covey_value_get_str(covey_value_at(value, 0), &ident, NULL) < 0 || !*ident ||
        strlen(ident) > CVY_IDENT_MAX)
        return cvy_fail(COVEY_EPROTOCOL,
                        "creating a %.60s: the answer is a %.60s of %zu", type_id,
                        covey_value_type(value), covey_value_count(value));
    ret->token = (struct cvy_token){.type_id = type_id, .ident = ident};
    return 0;
}

/* Takes `args` and `kwargs`. */
static int create(covey_proxy **out, covey_manager *manager, const char *type_id,
                  covey_value *args, covey_value *kwargs, const char *call)
{
    struct cvy_pickled_proxy pickled = {0};
    struct cvy_reference reference = {0};
    covey_value *value = NULL;
    covey_proxy *p = NULL;
    int r = make(&p, manager, call);
    if (r < 0) {
        covey_value_free(args);
        covey_value_free(kwargs);
        return r;
    }
    reference.receipt = p->receipt;
    r = cvy_remote_ask_for(manager, &value, "create", args, kwargs, &reference);
    if (r >= 0) {
        r = read_created(value, type_id, &pickled);
        reference.is_open = r < 0;
    }
    if (r >= 0)
        r = finish(out, p, covey_value_count(value) > 2, &pickled, call);
    else
        end(p, reference.is_open);
    covey_value_free(value);
    return r;
}

int covey_proxy_create(covey_proxy **out, covey_manager *manager, const char *type_id,
                       covey_value *args, covey_value *kwargs)
{
    static const char call[] = "covey_proxy_create";
    covey_value *all = covey_value_tuple();
    int r = cvy_sync_enter(manager, CVY_KIND_MANAGER, call);
    if (r >= 0 && (!out || !type_id || strlen(type_id) > CVY_METHOD_MAX))
        r = cvy_fail(-EINVAL, "%s: out or the type id is NULL, or too long", call);
    if (r >= 0 && args && covey_value_kind(args) != COVEY_VALUE_TUPLE)
        r = cvy_fail(COVEY_ETYPE, "%s: the arguments are no tuple", call);
    if (r >= 0)
        r = covey_value_append(all, covey_value_str(type_id));
    if (r >= 0 && args)
        r = covey_value_extend(all, args);
    covey_value_free(args);
    if (r < 0) {
        covey_value_free(all);
        covey_value_free(kwargs);
        return r;
    }
    return create(out, manager, type_id, all, kwargs, call);
}

/* Until the manager has noted the receipt it is a reference of this process's own, which it
 * has given back if it refuses that. */
static int sign(covey_proxy *p, int64_t deadline)
{
    bool has_receipt = false;
    int r = cvy_remote_sign(p, deadline, &has_receipt);
    if (r >= 0)
        p->has_receipt = has_receipt;
    else
        end(p, r != COVEY_EREMOTE);
    return r;
}

int cvy_proxy_adopt(covey_proxy **out, covey_manager *manager, const covey_value *value,
                    int64_t deadline)
{
    static const char call[] = "a proxy that a method returned";
    char home[CVY_OS_ADDRESS_TEXT];
    struct cvy_pickled_proxy pickled = {0};
    const covey_value *exposed = NULL;
    covey_proxy *p = NULL;
    bool knows_receipts = cvy_link_knows_receipts(manager);
    int r = cvy_reply_read_proxy(value, &exposed, &pickled.token);
    if (r < 0)
        return r;
    if (cvy_address_from_value(pickled.token.address, home) >= 0)
        cvy_manager_learn_home(manager, home);
    r = make(&p, manager, call);
    if (r < 0 && !knows_receipts)
        (void)give_back(manager, pickled.token.ident, 0);
    if (r >= 0)
        r = finish(&p, p, knows_receipts, &pickled, call);
    if (r >= 0 && knows_receipts)
        r = sign(p, deadline);
    if (r >= 0)
        *out = p;
    return r;
}

int cvy_proxy_refuse(const covey_proxy *of, const covey_value *value)
{
    covey_manager *m = cvy_manager_of(of);
    struct cvy_token token;
    const covey_value *exposed;
    int r = cvy_reply_read_proxy(value, &exposed, &token);
    if (r < 0)
        return r;
    if (cvy_link_knows_receipts(m))
        cvy_remote_return(of, token.ident);
    else
        (void)give_back(m, token.ident, 0);
    return 0;
}

/* ---- in values ---- */

/* The address by which the manager knows its own objects, as far as we know. */
static int home_of(covey_manager *m, covey_value **out)
{
    bool known = atomic_load_explicit(&m->home_state, memory_order_acquire) == 2;
    return cvy_address_to_value(out, known ? m->home : m->address);
}

static bool is_auto(const covey_proxy *p)
{
    return strcmp(p->class_name, "AutoProxy") == 0 &&
           strcmp(p->class_module, CVY_MANAGERS) == 0;
}

static int methods_of(covey_proxy *p, const covey_value *address, covey_value **out)
{
    struct cvy_token token = {p->type_id, address, p->ident};
    int r = cvy_remote_ask(cvy_manager_of(p), out, "get_methods",
                           cvy_remote_args1(cvy_token_make(&token)), NULL);
    r = cvy_remote_refine(r, p->ident, p->type_id);
    if (r >= 0 && covey_value_kind(*out) != COVEY_VALUE_TUPLE &&
        covey_value_kind(*out) != COVEY_VALUE_LIST) {
        r = cvy_fail(COVEY_EPROTOCOL, "the methods of a %.60s came as a %.60s",
                     p->type_id, covey_value_type(*out));
        covey_value_free(*out);
        *out = NULL;
    }
    return r;
}

int covey_proxy_methods(covey_proxy *proxy, covey_value **out)
{
    static const char call[] = "covey_proxy_methods";
    covey_value *address = NULL;
    int r = cvy_proxy_enter(proxy, call);
    if (r >= 0 && !out)
        r = cvy_fail(-EINVAL, "%s: out is NULL", call);
    if (r >= 0)
        r = home_of(cvy_manager_of(proxy), &address);
    if (r >= 0)
        r = methods_of(proxy, address, out);
    covey_value_free(address);
    return r;
}

int covey_proxy_to_value(covey_proxy *proxy, covey_value **out)
{
    static const char call[] = "covey_proxy_to_value";
    covey_value *address = NULL, *exposed = NULL;
    int r = cvy_proxy_enter(proxy, call);
    if (r >= 0 && !out)
        r = cvy_fail(-EINVAL, "%s: out is NULL", call);
    if (r >= 0)
        r = home_of(cvy_manager_of(proxy), &address);
    if (r >= 0 && is_auto(proxy))
        r = methods_of(proxy, address, &exposed);
    if (r >= 0) {
        struct cvy_pickled_proxy pickled = {
            .token = {proxy->type_id, address, proxy->ident},
            .class_name = proxy->class_name,
            .class_module = proxy->class_module,
            .exposed = exposed,
        };
        covey_value *value = cvy_pickled_proxy_make(&pickled);
        r = covey_value_check(value);
        if (r >= 0)
            *out = value;
    }
    covey_value_free(exposed);
    covey_value_free(address);
    return r;
}

int covey_value_is_proxy(const covey_value *value)
{
    return cvy_pickled_proxy_is(value);
}

/* Whether a server that calls itself `home` may be the one that we know as `m`: it is at
 * one port of all its addresses, as one that listens at any of them calls itself. */
static bool is_home(const covey_manager *m, const char *home)
{
    static const char *const any[] = {"0.0.0.0:", "[::]:"};
    const char *port = strrchr(m->address, ':');
    if (strcmp(home, m->address) == 0 ||
        (atomic_load_explicit(&m->home_state, memory_order_acquire) == 2 &&
         strcmp(home, m->home) == 0))
        return true;
    for (size_t i = 0; port && m->address[0] != '@' && i < CVY_ARRAY_SIZE(any); i++)
        if (strncmp(home, any[i], strlen(any[i])) == 0 &&
            strcmp(home + strlen(any[i]) - 1, port) == 0)
            return true;
    return false;
}

/* The manager at another address, which is reached as `like` is. */
static int another(covey_manager **out, const covey_manager *like, const char *address,
                   const char *call)
{
    struct covey_tls tls;
    struct covey_connect_opts o = {
        .authkey = {like->has_key ? like->key : NULL, like->key_size},
        .no_key = like->has_key ? COVEY_UNSET : COVEY_ON,
        .allow_md5 = like->allow_md5 ? COVEY_ON : COVEY_UNSET,
        .timeout = like->timeout,
        .max_reply = like->max_reply,
        .reconnect = like->reconnect,
        .repeat = like->repeat ? cvy_at(like->repeat) : NULL,
        .tls = cvy_tls_options(&like->tls, &tls),
    };
    return cvy_manager_make(out, address, &o, call);
}

static int refer(covey_proxy **out, covey_manager *m,
                 const struct cvy_pickled_proxy *pickled, const char *call)
{
    struct cvy_reference reference = {0};
    covey_value *answer = NULL;
    covey_proxy *p = NULL;
    int r = make(&p, m, call);
    if (r < 0)
        return r;
    reference.receipt = p->receipt;
    r = cvy_remote_ask_for(m, &answer, "incref",
                           cvy_remote_args1(covey_value_str(pickled->token.ident)),
                           NULL, &reference);
    r = cvy_remote_refine(r, pickled->token.ident, call);
    if (r >= 0)
        r = finish(out, p, covey_value_kind(answer) == COVEY_VALUE_BOOL, pickled, call);
    else
        end(p, reference.is_open);
    covey_value_free(answer);
    return r;
}

int covey_proxy_from_value(covey_proxy **out, covey_manager *manager,
                           const covey_value *value)
{
    static const char call[] = "covey_proxy_from_value";
    char home[CVY_OS_ADDRESS_TEXT];
    struct cvy_pickled_proxy pickled = {0};
    covey_manager *m = manager, *other = NULL;
    int r = cvy_sync_enter(manager, CVY_KIND_MANAGER, call);
    if (r >= 0 && !out)
        r = cvy_fail(-EINVAL, "%s: out is NULL", call);
    if (r >= 0)
        r = cvy_pickled_proxy_read(value, &pickled);
    if (r >= 0)
        r = cvy_address_from_value(pickled.token.address, home);
    if (r < 0 || !manager) /* NULL is an error above */
        return r;
    if (!is_home(manager, home)) {
        r = another(&other, manager, home, call);
        m = other;
    } else {
        cvy_manager_learn_home(manager, home);
    }
    if (r >= 0)
        r = refer(out, m, &pickled, call);
    covey_manager_free(other);
    return r;
}

/* ---- texts ---- */

const char *covey_proxy_type(covey_proxy *proxy)
{
    return cvy_proxy_enter(proxy, "covey_proxy_type") < 0 ? NULL : proxy->type_id;
}

const char *covey_proxy_ident(covey_proxy *proxy)
{
    return cvy_proxy_enter(proxy, "covey_proxy_ident") < 0 ? NULL : proxy->ident;
}

int covey_proxy_repr(covey_proxy *proxy, struct covey_bytes *ret_text)
{
    static const char call[] = "covey_proxy_repr";
    int r = cvy_proxy_enter(proxy, call);
    if (r < 0 || !proxy) /* NULL is an error above */
        return r;
    bool is_auto_proxy = is_auto(proxy);
    return cvy_sync_text(ret_text, call,
                         "<%.100s%s%.60s%s object, typeid '%.60s' at %p>",
                         proxy->class_name, is_auto_proxy ? "[" : "",
                         is_auto_proxy ? proxy->type_id : "", is_auto_proxy ? "]" : "",
                         proxy->type_id, (void *)proxy);
}

int covey_proxy_str(covey_proxy *proxy, struct covey_bytes *ret_text)
{
    covey_value *value = NULL;
    int r = covey_proxy_call(proxy, &value, "__repr__", NULL);
    if (r >= 0 && !ret_text)
        r = cvy_fail(-EINVAL, "covey_proxy_str: ret_text is NULL");
    if (r >= 0)
        r = cvy_remote_text(value, ret_text);
    covey_value_free(value);
    return r;
}

int covey_proxy_copy(covey_proxy *proxy, covey_value **out)
{
    return out ? covey_proxy_call(proxy, out, "#GETVALUE", NULL)
               : cvy_fail(-EINVAL, "covey_proxy_copy: out is NULL");
}
