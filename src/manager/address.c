/* SPDX-License-Identifier: MIT */
/* address.c: addresses as Python has them and as covey's texts. Two sides that compare
 * them, as servers do to know their own proxies, need the same bytes: so nothing is
 * looked up, and only what is left out is filled in. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "manager/message.h"

static int host_and_port(covey_value **out, const char *text)
{
    const char *colon = strrchr(text, ':');
    const char *host = text;
    unsigned long port = 0;
    if (!colon || !colon[1] || strlen(colon + 1) > 5)
        return cvy_fail(-EINVAL,
                        "address %.200s: it is neither host:port nor a path "
                        "nor @name",
                        text);
    size_t size = (size_t)(colon - text);
    for (const char *digit = colon + 1; *digit; digit++) {
        if (*digit < '0' || *digit > '9')
            return cvy_fail(-EINVAL, "address %.200s: the port is no number", text);
        port = port * 10 + (unsigned long)(*digit - '0');
    }
    if (size >= 2 && host[0] == '[' && host[size - 1] == ']') {
        host++;
        size -= 2;
    } else if (!size) {
        host = "127.0.0.1";
        size = strlen(host);
    }
    return covey_value_pack(out, "(s#, k)", host, size, port);
}

int cvy_address_to_value(covey_value **out, const char *text)
{
    covey_value *name = NULL;
    if (text[0] != '@' && !strchr(text, '/'))
        return host_and_port(out, text);
    if (text[0] == '@') {
        char abstract[CVY_OS_ADDRESS_TEXT] = {0};
        size_t size = strlen(text);
        if (size >= sizeof abstract)
            return cvy_fail(-EINVAL, "address %.200s: it is too long", text);
        memcpy(abstract + 1, text + 1, size - 1);
        name = covey_value_bytes(abstract, size); /* what getsockname gives in Python */
    } else {
        name = covey_value_str(text);
    }
    if (!name)
        return covey_value_check(NULL);
    *out = name;
    return 0;
}

static int fail(const char *why)
{
    return cvy_fail(COVEY_EPROTOCOL, "the address of a Token %s", why);
}

static int name_to_text(const char *name, size_t size, char *text)
{
    bool is_abstract = size && !name[0];
    bool has_slash = memchr(name, '/', size) != NULL;
    if (size < 1 || size + 3 > CVY_OS_ADDRESS_TEXT)
        return fail("is empty or too long");
    if (memchr(name + 1, 0, size - 1))
        return fail("has a NUL inside");
    (void)snprintf(text, CVY_OS_ADDRESS_TEXT, "%s%.*s",
                   is_abstract ? "@"
                   : has_slash ? ""
                               : "./",
                   (int)(size - is_abstract), name + is_abstract);
    return 0;
}

int cvy_address_from_value(const covey_value *value, char text[CVY_OS_ADDRESS_TEXT])
{
    struct covey_view bytes = {0};
    const char *name = NULL;
    int64_t port = 0;
    size_t size = 0;
    if (covey_value_kind(value) == COVEY_VALUE_BYTES)
        return covey_value_get_bytes(value, &bytes) < 0
                   ? fail("is none")
                   : name_to_text(bytes.data, bytes.size, text);
    if (covey_value_kind(value) == COVEY_VALUE_STR)
        return covey_value_get_str(value, &name, &size) < 0
                   ? fail("is none")
                   : name_to_text(name, size, text);
    if (covey_value_kind(value) != COVEY_VALUE_TUPLE || covey_value_count(value) != 2 ||
        covey_value_get_str(covey_value_at(value, 0), &name, NULL) < 0 ||
        covey_value_get_int_in(covey_value_at(value, 1), 0, 65535, &port) < 0)
        return fail("is none");
    if (strlen(name) + 9 > CVY_OS_ADDRESS_TEXT)
        return fail("is too long");
    (void)snprintf(text, CVY_OS_ADDRESS_TEXT, strchr(name, ':') ? "[%s]:%d" : "%s:%d",
                   name, (int)port);
    return 0;
}
