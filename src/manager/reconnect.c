/* SPDX-License-Identifier: MIT */
/* reconnect.c: see reconnect.h. */
#include "manager/reconnect.h"

#include <errno.h>
#include <string.h>

#include "base/base.h"
#include "base/error.h"

/* Pauses grow from the one to the other. Each is drawn between its half and its whole, so
 * that the clients of a manager that comes back do not all come at once. */
#define FIRST_PAUSE COVEY_MSEC(10)
#define LAST_PAUSE  COVEY_SEC(1)

/* ---- patience ---- */

/* Errors of somebody who is not there, or just going. A wrong key or nonsense is not. */
static bool is_absence(int r)
{
    switch (r) {
    case -ECONNREFUSED:
    case -ENOENT: /* of a socket's path */
    case -ECONNRESET:
    case -ECONNABORTED:
    case -EPIPE:
    case -EHOSTUNREACH:
    case -EHOSTDOWN:
    case -ENETUNREACH:
    case -ENETDOWN:
    case -ETIMEDOUT: /* of the call's own time, which is over by then */
    case COVEY_EEOF:
    case COVEY_ETRUNCATED:
        return true;
    default:
        return false;
    }
}

static int64_t draw(int64_t pause)
{
    uint32_t random = 0;
    (void)cvy_os_random(&random, sizeof random);
    return pause / 2 + pause / 2 * (int64_t)(random >> 16) / UINT16_MAX;
}

static int fail_late(const struct covey_manager *m)
{
    cvy_detail_prefix("%s could not be reached in time", m->address);
    return -ETIMEDOUT;
}

int cvy_patience_pause(struct cvy_patience *patience, const struct covey_manager *m,
                       int r)
{
    int64_t now = cvy_os_now();
    if (!m->reconnect || !is_absence(r))
        return r;
    if (!patience->until) {
        patience->until = cvy_os_deadline(m->reconnect);
        patience->pause = FIRST_PAUSE;
    }
    if (now >= patience->deadline)
        return fail_late(m);
    if (now >= patience->until) {
        cvy_detail_prefix("not reached within %.3g s", (double)m->reconnect / 1e9);
        return r;
    }
    /* The last try is at the end of the time. */
    int64_t wake = cvy_min_i64(now + draw(patience->pause), patience->until);
    patience->pause = cvy_min_i64(2 * patience->pause, LAST_PAUSE);
    (void)cvy_os_poll_many(NULL, 0, cvy_min_i64(wake, patience->deadline));
    return wake < patience->deadline ? 0 : fail_late(m);
}

/* ---- what may be repeated ---- */

#define BETWEEN " ,"

/* Cut the next name off a list. NULL: there is none. */
static const char *next_name(const char **list, size_t *ret_size)
{
    const char *name = *list + strspn(*list, BETWEEN);
    *ret_size = strcspn(name, BETWEEN);
    *list = name + *ret_size;
    return *ret_size ? name : NULL;
}

/* The point between type and method, which is the last one. */
static size_t point_in(const char *name, size_t size)
{
    size_t at = size;
    while (at && name[at - 1] != '.')
        at--;
    return at ? at - 1 : size;
}

static bool is_same(const char *part, size_t size, const char *name)
{
    return (size == 1 && *part == '*') ||
           (size == strlen(name) && memcmp(part, name, size) == 0);
}

bool cvy_repeat_is_valid(const char *text)
{
    size_t size;
    for (const char *name; (name = next_name(&text, &size));) {
        size_t point = point_in(name, size);
        if (!point || point + 1 >= size)
            return false;
    }
    return true;
}

bool cvy_repeat_has(const struct covey_manager *m, const char *type_id,
                    const char *method)
{
    const char *list = cvy_at(m->repeat);
    size_t size;
    for (const char *name; (name = next_name(&list, &size));) {
        size_t point = point_in(name, size);
        if (is_same(name, point, type_id) &&
            is_same(name + point + 1, size - point - 1, method))
            return true;
    }
    return false;
}

bool cvy_request_only_looks(const char *method)
{
    static const char *const looks[] = {"dummy", "number_of_objects", "debug_info",
                                        "get_methods"};
    for (size_t i = 0; i < CVY_ARRAY_SIZE(looks); i++)
        if (strcmp(method, looks[i]) == 0)
            return true;
    return false;
}

/* ---- locks ---- */

int cvy_reply_locks(const struct covey_reply *reply)
{
    int sign = strcmp(reply->method, "acquire") == 0   ? 1
               : strcmp(reply->method, "release") == 0 ? -1
                                                       : 0;
    if (!sign || reply->result < 0 || !reply->is_value)
        return 0;
    if (sign > 0 && covey_value_truth(reply->message) <= 0)
        return 0;
    return sign;
}
