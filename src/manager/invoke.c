/* SPDX-License-Identifier: MIT */
/* invoke.c: calls of methods, and what comes of them.
 *
 * An exception that the method raised is a value; what went wrong around it is the text of
 * a traceback, whose last line names the exception there. Both become this thread's
 * error. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/base.h"
#include "base/bytes.h"
#include "base/error.h"
#include "base/memory.h"
#include "manager/client.h"
#include "manager/reconnect.h"
#include "value/pack.h"

/* For sending what nobody wants. */
#define RETURN_PATIENCE COVEY_SEC(10)

/* ---- this thread's error ---- */

void cvy_remote_forget(void)
{
    struct cvy_remote_error *e = cvy_client_error_seen();
    if (!e)
        return;
    covey_value_free(e->exception);
    e->exception = NULL;
    e->type.size = 0;
    e->text.size = 0;
}

static int set_text(struct covey_bytes *to, const char *text, size_t size)
{
    to->size = 0;
    int r = cvy_bytes_append(to, text, size);
    return r < 0 ? r : cvy_bytes_append(to, "", 1);
}

static const char *text_of(const struct covey_bytes *bytes)
{
    return bytes->size ? bytes->data : "";
}

const char *covey_proxy_error_type(void)
{
    const struct cvy_remote_error *e = cvy_client_error_seen();
    return e ? text_of(&e->type) : "";
}

const char *covey_proxy_error_text(void)
{
    const struct cvy_remote_error *e = cvy_client_error_seen();
    return e ? text_of(&e->text) : "";
}

const covey_value *covey_proxy_error_value(void)
{
    const struct cvy_remote_error *e = cvy_client_error_seen();
    return e ? e->exception : NULL;
}

/* Set the detail: one line, the end of it if it is long. */
static int fail_remote(const char *what, const char *type, const char *text)
{
    char line[320];
    (void)snprintf(line, sizeof line, "%s", text);
    cvy_flatten(line);
    return cvy_fail(COVEY_EREMOTE, "%s: %.100s%s%s", what, type, *line ? ": " : "",
                    line);
}

static int raised(struct cvy_remote_error *e, const covey_value *value,
                  const char *what)
{
    struct cvy_exception exception;
    int r = cvy_exception_read(value, &exception);
    if (r < 0)
        return r;
    r = set_text(&e->type, exception.name, strlen(exception.name));
    if (r >= 0)
        r = cvy_exception_str(&exception, &e->text);
    if (r >= 0)
        r = cvy_bytes_append(&e->text, "", 1);
    if (r < 0)
        return r;
    e->exception = covey_value_ref(value);
    return fail_remote(what, exception.name, e->text.data);
}

/* The last line of a traceback that is not empty. */
static void last_line(const char *text, size_t size, char *line, size_t room)
{
    size_t end = size, begin;
    while (end && (text[end - 1] == '\n' || text[end - 1] == '-'))
        end--;
    for (begin = end; begin && text[begin - 1] != '\n'; begin--)
        continue;
    (void)snprintf(line, room, "%.*s", (int)cvy_min_size(end - begin, room - 1),
                   text + begin);
}

static int went_wrong(struct cvy_remote_error *e, enum cvy_reply_kind kind,
                      const covey_value *value, const char *what)
{
    char line[320];
    const char *text = NULL;
    size_t size = 0;
    int r = covey_value_get_str(value, &text, &size);
    if (r >= 0)
        r = set_text(&e->type, "RemoteError", strlen("RemoteError"));
    e->text.size = 0;
    if (r >= 0 && kind == CVY_REPLY_UNSERIALIZABLE)
        r = cvy_bytes_append(&e->text, "Unserializable message: ", 24);
    if (r >= 0)
        r = cvy_bytes_append(&e->text, text, size);
    if (r >= 0)
        r = cvy_bytes_append(&e->text, "", 1);
    if (r < 0)
        return r;
    last_line(e->text.data, e->text.size - 1, line, sizeof line);
    return fail_remote(what, "RemoteError", line);
}

int cvy_remote_result(const covey_value *message, const char *what,
                      enum cvy_reply_kind *ret_kind, const covey_value **ret_value)
{
    const covey_value *value = NULL;
    enum cvy_reply_kind kind;
    int r = cvy_reply_read(message, &kind, &value);
    if (r < 0) {
        cvy_detail_prefix("%s", what);
        return r;
    }
    if (kind == CVY_REPLY_RETURN || kind == CVY_REPLY_PROXY) {
        *ret_kind = kind;
        *ret_value = value;
        return 0;
    }
    struct cvy_remote_error *e = cvy_client_error();
    if (!e)
        return -ENOMEM;
    r = kind == CVY_REPLY_ERROR ? raised(e, value, what)
                                : went_wrong(e, kind, value, what);
    if (r != COVEY_EREMOTE)
        cvy_detail_prefix("%s", what);
    return r;
}

/* ---- answers ---- */

/* "list.append at 127.0.0.1:5000", for details. */
static void name_call(const struct covey_reply *reply, char *text, size_t size)
{
    (void)snprintf(text, size, "%.60s.%.60s at %.100s", reply->proxy->type_id,
                   reply->method, cvy_manager_of(reply->proxy)->address);
}

static int fail_answer(const struct covey_reply *reply, int r)
{
    char what[256];
    name_call(reply, what, sizeof what);
    if (r == COVEY_EEOF && reply->is_sent)
        return cvy_fail(
            r,
            "%s: the manager closed the connection, or died, before it "
            "answered; the method may have run%s",
            what, reply->lost_locks ? ", and the locks that were held are lost" : "");
    if (r == -ETIMEDOUT && reply->is_sent)
        return cvy_fail(r, "%s: no answer in time", what);
    if (r == -ECANCELED)
        return cvy_fail(r, "%s: a later call on the same connection ran out of time",
                        what);
    if (r == COVEY_ECLOSED)
        return cvy_fail(r, "%s: the manager was freed", what);
    cvy_detail_prefix("%s", what);
    return r;
}

int cvy_remote_refine(int r, const char *ident, const char *what)
{
    char line[CVY_IDENT_MAX + 32], wanted[CVY_IDENT_MAX + 32];
    const struct cvy_remote_error *e = cvy_client_error_seen();
    if (r != COVEY_EREMOTE || !e || e->exception || !e->text.size)
        return r;
    last_line(e->text.data, e->text.size - 1, line, sizeof line);
    (void)snprintf(wanted, sizeof wanted, "KeyError: '%s'", ident);
    if (strcmp(line, wanted) != 0)
        return r;
    return cvy_fail(-ESTALE,
                    "%s: the manager has no object %s; perhaps it was restarted", what,
                    ident);
}

/* Take the object that a method has returned. */
static int take_object(const struct covey_reply *reply, const covey_value *value,
                       covey_proxy **out_proxy, int64_t deadline, const char *what)
{
    int r = out_proxy ? cvy_proxy_adopt(out_proxy, cvy_manager_of(reply->proxy), value,
                                        deadline)
                      : cvy_proxy_refuse(reply->proxy, value);
    if (r < 0) {
        cvy_detail_prefix("%s", what);
        return r;
    }
    return out_proxy ? 0
                     : cvy_fail(COVEY_ETYPE,
                                "%s: the result is an object that stays in the manager",
                                what);
}

/* Take what came; `out` or `out_proxy` receives it. */
static int take_answer(const struct covey_reply *reply, covey_value **out,
                       covey_proxy **out_proxy, int64_t deadline)
{
    char what[256];
    const covey_value *value = NULL;
    enum cvy_reply_kind kind;
    if (cvy_likely(reply->is_value && !out_proxy)) {
        if (out)
            *out = covey_value_ref(reply->message);
        return 0;
    }
    name_call(reply, what, sizeof what);
    kind = CVY_REPLY_RETURN;
    value = reply->message;
    int r =
        reply->is_value ? 0 : cvy_remote_result(reply->message, what, &kind, &value);
    if (r < 0)
        return cvy_remote_refine(r, reply->proxy->ident, what);
    if (kind == CVY_REPLY_PROXY)
        return take_object(reply, value, out_proxy, deadline, what);
    if (out_proxy && !covey_value_is_proxy(value))
        return cvy_fail(COVEY_ETYPE, "%s: the result is a %.60s, no proxy", what,
                        covey_value_type(value));
    if (out_proxy)
        return covey_proxy_from_value(out_proxy, cvy_manager_of(reply->proxy), value);
    if (out)
        *out = covey_value_ref(value);
    return 0;
}

/* ---- calls ---- */

/* `*ret_is_lost`: no answer will come, and trying again would do no harm. */
static int invoke_once(struct covey_reply *reply, covey_value **out,
                       covey_proxy **out_proxy, covey_value *args, covey_value *kwargs,
                       struct cvy_patience *patience, bool *ret_is_lost)
{
    cvy_remote_forget();
    int r = cvy_link_send(reply, args, kwargs, patience);
    if (r >= 0)
        r = cvy_link_await(reply, patience->deadline);
    if (r == -ETIMEDOUT)
        cvy_link_give_up(reply);
    *ret_is_lost = r == COVEY_EEOF && reply->is_sent && !reply->lost_locks;
    r = r < 0 ? fail_answer(reply, r)
              : take_answer(reply, out, out_proxy, patience->deadline);
    covey_value_free(reply->message);
    return r;
}

static int invoke_repeatedly(covey_proxy *proxy, covey_value **out,
                             covey_proxy **out_proxy, const char *method,
                             covey_value *args, covey_value *kwargs,
                             struct cvy_patience *patience)
{
    bool is_lost;
    int r;
    do {
        struct covey_reply reply = {
            .proxy = proxy, .ident = proxy->ident, .method = method};
        r = invoke_once(&reply, out, out_proxy, covey_value_ref(args),
                        covey_value_ref(kwargs), patience, &is_lost);
        if (is_lost)
            r = cvy_patience_pause(patience, cvy_manager_of(proxy), r);
    } while (is_lost && r == 0);
    covey_value_free(args);
    covey_value_free(kwargs);
    return r;
}

static int invoke(covey_proxy *proxy, covey_value **out, covey_proxy **out_proxy,
                  const char *method, covey_value *args, covey_value *kwargs,
                  int64_t deadline)
{
    const struct covey_manager *m = cvy_manager_of(proxy);
    struct cvy_patience patience = {.deadline = deadline};
    struct covey_reply reply = {
        .proxy = proxy, .ident = proxy->ident, .method = method};
    bool is_lost;
    if (cvy_unlikely(m->repeat) && cvy_repeat_has(m, proxy->type_id, method))
        return invoke_repeatedly(proxy, out, out_proxy, method, args, kwargs,
                                 &patience);
    return invoke_once(&reply, out, out_proxy, args, kwargs, &patience, &is_lost);
}

static int enter(const covey_proxy *proxy, const char *method, covey_value *args,
                 covey_value *kwargs, const char *call)
{
    int r = cvy_proxy_enter(proxy, call);
    if (r >= 0 && (!method || !*method || strlen(method) > CVY_METHOD_MAX))
        r = cvy_fail(-EINVAL, "%s: the method's name is NULL, empty or too long", call);
    if (r < 0) {
        covey_value_free(args);
        covey_value_free(kwargs);
    }
    return r;
}

int cvy_invoke(covey_proxy *proxy, covey_value **out, const char *method,
               covey_value *args, covey_value *kwargs, covey_nsec wait,
               const char *call)
{
    int r = enter(proxy, method, args, kwargs, call);
    return r < 0 ? r
                 : invoke(proxy, out, NULL, method, args, kwargs,
                          cvy_manager_deadline_after(cvy_manager_of(proxy), wait));
}

int covey_proxy_call_values(covey_proxy *proxy, covey_value **out, const char *method,
                            covey_value *args, covey_value *kwargs, covey_nsec timeout)
{
    int r = enter(proxy, method, args, kwargs, "covey_proxy_call_values");
    return r < 0 ? r
                 : invoke(proxy, out, NULL, method, args, kwargs,
                          cvy_os_deadline(timeout));
}

int covey_proxy_call(covey_proxy *proxy, covey_value **out, const char *method,
                     const char *format, ...)
{
    static const char call[] = "covey_proxy_call";
    covey_value *args = NULL;
    int r = 0;
    if (format) {
        va_list list;
        va_start(list, format);
        r = cvy_value_pack_list(&args, format, list);
        va_end(list);
    }
    if (r < 0)
        return r;
    return cvy_invoke(proxy, out, method, args, NULL, 0, call);
}

int covey_proxy_call_proxy(covey_proxy *proxy, covey_proxy **out, const char *method,
                           covey_value *args, covey_value *kwargs, covey_nsec timeout)
{
    static const char call[] = "covey_proxy_call_proxy";
    int r = enter(proxy, method, args, kwargs, call);
    if (r >= 0 && !out) {
        covey_value_free(args);
        covey_value_free(kwargs);
        r = cvy_fail(-EINVAL, "%s: out is NULL", call);
    }
    return r < 0 ? r
                 : invoke(proxy, NULL, out, method, args, kwargs,
                          cvy_os_deadline(timeout));
}

int cvy_remote_sign(covey_proxy *proxy, int64_t deadline, bool *ret_has)
{
    struct cvy_patience patience = {.deadline = deadline};
    struct covey_reply reply = {
        .proxy = proxy, .ident = CVY_RECEIPT_REQUEST, .method = CVY_RECEIPT_REQUEST};
    covey_value *args = NULL, *has = NULL;
    bool is_lost;
    int r = covey_value_pack(&args, "(s, K)", proxy->ident, proxy->receipt);
    if (r >= 0)
        r = invoke_once(&reply, &has, NULL, args, NULL, &patience, &is_lost);
    *ret_has = r >= 0 && covey_value_truth(has) > 0;
    covey_value_free(has);
    return r;
}

void cvy_remote_return(const covey_proxy *proxy, const char *ident)
{
    struct cvy_patience patience = {.deadline = cvy_os_deadline(RETURN_PATIENCE)};
    covey_value *args = NULL;
    struct covey_reply *reply = cvy_calloc(1, sizeof *reply);
    int r = reply ? covey_value_pack(&args, "(s, i)", ident, 0) : -ENOMEM;
    if (r >= 0) {
        reply->proxy = proxy;
        reply->ident = reply->method = CVY_RECEIPT_REQUEST;
        r = cvy_link_send(reply, args, NULL, &patience);
    }
    if (r >= 0)
        cvy_link_drop(reply);
    else
        cvy_free(reply);
}

/* ---- calls that are not awaited ---- */

int covey_proxy_send(covey_reply **out, covey_proxy *proxy, const char *method,
                     covey_value *args, covey_value *kwargs, covey_nsec timeout)
{
    static const char call[] = "covey_proxy_send";
    struct covey_reply *reply = NULL;
    int r = enter(proxy, method, args, kwargs, call);
    if (r < 0)
        return r;
    if (out)
        reply = cvy_calloc(1, sizeof *reply + strlen(method) + 1);
    if (!reply) {
        covey_value_free(args);
        covey_value_free(kwargs);
        return out ? cvy_fail(-ENOMEM, "%s: no memory", call)
                   : cvy_fail(-EINVAL, "%s: out is NULL", call);
    }
    memcpy(reply->method_room, method, strlen(method) + 1);
    reply->method = reply->method_room;
    reply->proxy = proxy;
    reply->ident = proxy->ident;
    reply->thread = cvy_thread_owner();
    struct cvy_patience patience = {.deadline = cvy_os_deadline(timeout)};
    cvy_remote_forget();
    r = cvy_link_send(reply, args, kwargs, &patience);
    if (r < 0) {
        r = fail_answer(reply, r);
        cvy_free(reply);
        return r;
    }
    *out = reply;
    return 0;
}

int covey_reply_get(covey_reply *reply, covey_value **out, covey_nsec timeout)
{
    static const char call[] = "covey_reply_get";
    int r = cvy_enter();
    if (r < 0)
        return r;
    if (!reply)
        return cvy_fail(-EINVAL, "%s: the reply is NULL", call);
    if (reply->thread != cvy_thread_owner())
        return cvy_fail(COVEY_ENOTOWNER, "%s: another thread has sent the call", call);
    if (!reply->link && reply->result >= 0 && !reply->message)
        return cvy_fail(COVEY_ESTATE, "%s: the answer was taken before", call);
    cvy_remote_forget();
    r = cvy_link_await(reply, cvy_os_deadline(timeout));
    int entered = cvy_proxy_enter(reply->proxy, call);
    if (entered < 0)
        return entered;
    if (r < 0)
        return fail_answer(reply, r);
    r = take_answer(reply, out, NULL, 0);
    covey_value_free(reply->message);
    reply->message = NULL;
    return r;
}

void covey_reply_free(covey_reply *reply)
{
    if (reply)
        cvy_link_drop(reply);
}
