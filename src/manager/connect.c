/* SPDX-License-Identifier: MIT */
/* connect.c: managers as their clients see them: where one is, and how to prove oneself
 * to it. What is asked of a manager itself goes over a connection for each request. */
#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/opts.h"
#include "manager/client.h"
#include "manager/reconnect.h"
#include "manager/started.h"

#define USUAL_REPLY ((size_t)1 << 30)

/* ---- making one ---- */

static int take_key(covey_manager *m, const struct covey_connect_opts *o,
                    const char *call)
{
    struct covey_bytes own = {0};
    struct covey_view authkey = o->authkey;
    int r = 0;
    if (o->no_key == COVEY_ON && authkey.data)
        return cvy_fail(-EINVAL, "%s: .no_key and .authkey exclude each other", call);
    if (o->no_key == COVEY_ON)
        return 0;
    if (!authkey.data) {
        r = covey_authkey(&own);
        authkey = COVEY_VIEW(own.data, own.size);
    }
    if (r >= 0 && authkey.size > sizeof m->key)
        r = cvy_fail(-EINVAL, "%s: a key of %zu bytes", call, authkey.size);
    if (r >= 0) {
        m->has_key = 1;
        m->key_size = (uint32_t)authkey.size;
        if (authkey.size)
            memcpy(m->key, authkey.data, authkey.size);
    }
    covey_bytes_free(&own);
    return r;
}

static int check_repeat(const struct covey_connect_opts *o, const char *call)
{
    if (!o->repeat || !*o->repeat)
        return 0;
    if (strlen(o->repeat) > CVY_REPEAT_MAX || !cvy_repeat_is_valid(o->repeat))
        return cvy_fail(-EINVAL, "%s: .repeat is no list of TYPE.METHOD up to %d bytes",
                        call, CVY_REPEAT_MAX);
    return o->reconnect > 0 ? 0
                            : cvy_fail(-EINVAL, "%s: .repeat without .reconnect", call);
}

static int take_repeat(covey_manager *m, const char *repeat)
{
    size_t size = repeat && *repeat ? strlen(repeat) + 1 : 0;
    int r = size ? cvy_object_add_run(m, size, &m->repeat) : 0;
    if (r >= 0 && size)
        memcpy(cvy_at(m->repeat), repeat, size);
    return r;
}

static struct covey_view key_of(const covey_manager *m)
{
    return (struct covey_view){m->has_key ? m->key : NULL, m->key_size};
}

int cvy_manager_make(covey_manager **out, const char *address,
                     const struct covey_connect_opts *o, const char *call)
{
    void *made = NULL;
    covey_value *checked = NULL;
    if (!address || strlen(address) >= CVY_OS_ADDRESS_TEXT)
        return cvy_fail(-EINVAL, "%s: the address is NULL or too long", call);
    int r = check_repeat(o, call);
    if (r < 0)
        return r;
    r = cvy_address_to_value(&checked, address);
    covey_value_free(checked);
    if (r >= 0)
        r = cvy_object_create(CVY_KIND_MANAGER, sizeof(struct covey_manager), 0, 0,
                              &made, NULL);
    if (r < 0)
        return r;
    covey_manager *m = made;
    m->serial = (uint64_t)cvy_os_now();
    m->timeout = o->timeout > 0 ? o->timeout : COVEY_FOREVER;
    m->reconnect = cvy_max_i64(o->reconnect, 0);
    m->max_reply = o->max_reply ? o->max_reply : USUAL_REPLY;
    m->allow_md5 = o->allow_md5 == COVEY_ON;
    memcpy(m->address, address, strlen(address));
    r = take_key(m, o, call);
    if (r >= 0)
        r = take_repeat(m, o->repeat);
    if (r >= 0)
        r = cvy_tls_take(&m->tls, o->tls, key_of(m), call);
    if (r < 0) {
        (void)cvy_object_release(m);
        return r;
    }
    *out = m;
    return 0;
}

int64_t cvy_manager_deadline(const covey_manager *manager)
{
    return cvy_os_deadline(manager->timeout);
}

int64_t cvy_manager_deadline_after(const covey_manager *manager, covey_nsec timeout)
{
    int64_t deadline = cvy_os_deadline(manager->timeout);
    if (timeout <= 0)
        return deadline;
    return deadline > INT64_MAX - timeout ? INT64_MAX : deadline + timeout;
}

void cvy_manager_learn_home(covey_manager *manager, const char *address)
{
    uint32_t unknown = 0;
    if (!atomic_compare_exchange_strong(&manager->home_state, &unknown, 1))
        return;
    memcpy(manager->home, address, strnlen(address, sizeof manager->home - 1));
    atomic_store_explicit(&manager->home_state, 2, memory_order_release);
}

/* ---- the calls ---- */

static int enter(const covey_manager *manager, const char *call)
{
    return cvy_sync_enter(manager, CVY_KIND_MANAGER, call);
}

/* Ask it for something and look into the answer. */
static int ask(covey_manager *m, covey_value **out, const char *method,
               covey_value *args, covey_value *kwargs, struct cvy_reference *about,
               enum cvy_ask how, int64_t deadline)
{
    covey_value *message = NULL;
    const covey_value *value = NULL;
    enum cvy_reply_kind kind;
    cvy_remote_forget();
    int r = cvy_link_ask(m, &message, method, args, kwargs, about, how, deadline);
    if ((r >= 0 && how == CVY_ASK_TO_END) || r == -ECONNREFUSED || r == -ENOENT)
        cvy_proxy_write_off(m);
    else if (r >= 0)
        cvy_proxy_settle(m, deadline);
    if (r < 0)
        cvy_detail_prefix("manager %s, %s", m->address, method);
    else
        r = cvy_remote_result(message, method, &kind, &value);
    if (about && message && r < 0 && r != COVEY_EREMOTE)
        about->is_open = true; /* it cannot be read */
    if (r >= 0 && kind != CVY_REPLY_RETURN)
        r = cvy_fail(COVEY_EPROTOCOL, "manager %s, %s: the answer is a proxy",
                     m->address, method);
    if (r >= 0)
        *out = covey_value_ref(value);
    covey_value_free(message);
    return r;
}

int cvy_remote_ask(covey_manager *manager, covey_value **out, const char *method,
                   covey_value *args, covey_value *kwargs)
{
    return cvy_remote_ask_for(manager, out, method, args, kwargs, NULL);
}

int cvy_remote_ask_for(covey_manager *manager, covey_value **out, const char *method,
                       covey_value *args, covey_value *kwargs,
                       struct cvy_reference *about)
{
    return ask(manager, out, method, args, kwargs, about, CVY_ASK_PATIENTLY,
               cvy_manager_deadline(manager));
}

int covey_manager_connect(covey_manager **out, const char *address,
                          const struct covey_connect_opts *opts, covey_nsec timeout)
{
    static const char call[] = "covey_manager_connect";
    struct covey_connect_opts o;
    covey_manager *m = NULL;
    covey_value *nothing = NULL;
    int64_t deadline = cvy_os_deadline(timeout);
    int r = CVY_TAKE_OPTS(&o, opts, call);
    if (r >= 0)
        r = CVY_CHECK_SWITCHES(call, {".no_key", o.no_key},
                               {".allow_md5", o.allow_md5});
    if (r >= 0)
        r = cvy_sync_begin(out, call);
    if (r >= 0)
        r = cvy_manager_make(&m, address, &o, call);
    if (r < 0)
        return r;
    r = ask(m, &nothing, "dummy", NULL, NULL, NULL, CVY_ASK_PATIENTLY, deadline);
    covey_value_free(nothing);
    if (r < 0)
        covey_manager_free(m);
    else
        *out = m;
    return r;
}

const char *covey_manager_address(covey_manager *manager)
{
    return enter(manager, "covey_manager_address") < 0 ? NULL : manager->address;
}

int covey_manager_count(covey_manager *manager, size_t *ret_count)
{
    static const char call[] = "covey_manager_count";
    covey_value *value = NULL;
    uint64_t count = 0;
    int r = enter(manager, call);
    if (r >= 0 && !ret_count)
        r = cvy_fail(-EINVAL, "%s: ret_count is NULL", call);
    if (r >= 0)
        r = cvy_remote_ask(manager, &value, "number_of_objects", NULL, NULL);
    if (r < 0)
        return r;
    r = covey_value_get_uint(value, &count);
    if (r < 0)
        r = cvy_fail(COVEY_EPROTOCOL, "%s: manager %s counts a %.60s", call,
                     manager->address, covey_value_type(value));
    else
        *ret_count = count;
    covey_value_free(value);
    return r;
}

int cvy_remote_text(const covey_value *value, struct covey_bytes *ret_text)
{
    const char *text = NULL;
    size_t size = 0;
    if (covey_value_get_str(value, &text, &size) < 0)
        return cvy_fail(COVEY_EPROTOCOL, "a %.60s came where a text is wanted",
                        covey_value_type(value));
    int r = covey_bytes_resize(ret_text, size + 1);
    if (r < 0)
        return r;
    memcpy(ret_text->data, text, size + 1);
    ret_text->size = size;
    return 0;
}

int covey_manager_debug_info(covey_manager *manager, struct covey_bytes *ret_text)
{
    static const char call[] = "covey_manager_debug_info";
    covey_value *value = NULL;
    int r = enter(manager, call);
    if (r >= 0 && !ret_text)
        r = cvy_fail(-EINVAL, "%s: ret_text is NULL", call);
    if (r >= 0)
        r = cvy_remote_ask(manager, &value, "debug_info", NULL, NULL);
    if (r >= 0)
        r = cvy_remote_text(value, ret_text);
    covey_value_free(value);
    return r;
}

int covey_manager_shutdown(covey_manager *manager, covey_nsec timeout)
{
    covey_value *nothing = NULL;
    int64_t deadline = cvy_os_deadline(timeout);
    int r = enter(manager, "covey_manager_shutdown");
    if (r < 0)
        return r;
    r = ask(manager, &nothing, "shutdown", NULL, NULL, NULL, CVY_ASK_TO_END, deadline);
    covey_value_free(nothing);
    int ended = cvy_started_end(manager, deadline, r >= 0);
    if (ended < 0)
        cvy_detail_prefix("covey_manager_shutdown");
    return ended > 0 ? 0 : ended < 0 ? ended : r;
}

void covey_manager_free(covey_manager *manager)
{
    uint64_t serial = 0;
    if (!manager)
        return;
    if (enter(manager, "covey_manager_free") >= 0)
        serial = manager->serial;
    cvy_sync_free(manager, CVY_KIND_MANAGER, "covey_manager_free");
    cvy_manager_gone(manager, serial);
}

void cvy_manager_gone(const covey_manager *manager, uint64_t serial)
{
    if (!serial || cvy_manager_is(manager, serial))
        return;
    cvy_link_close_all(manager, serial);
    cvy_started_sweep();
}

bool cvy_manager_is(const covey_manager *manager, uint64_t serial)
{
    return atomic_load(&manager->object.kind) == CVY_KIND_MANAGER &&
           manager->serial == serial;
}
