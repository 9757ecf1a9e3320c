/* SPDX-License-Identifier: MIT */
/*
 * Addresses of sockets, and their texts.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/base.h"
#include "os/faults.h"
#include "os/socket.h"

#define PATH_AT offsetof(struct sockaddr_un, sun_path)

_Static_assert(sizeof(((struct cvy_os_address *)0)->raw) >=
                       sizeof(struct sockaddr_un) &&
                   sizeof(((struct cvy_os_address *)0)->raw) >=
                       sizeof(struct sockaddr_in6),
               "every address fits");

static void set(struct cvy_os_address *address, const void *raw, size_t size)
{
    memset(address->raw, 0, sizeof(address->raw));
    memcpy(address->raw, raw, size);
    address->size = (uint32_t)size;
}

static int read_path(const char *path, struct cvy_os_address *ret, const char **ret_why)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    size_t size = strlen(path);

    if (size >= sizeof(un.sun_path)) {
        *ret_why = "a path has at most 107 bytes";
        return -ENAMETOOLONG;
    }
    memcpy(un.sun_path, path, size + 1);
    set(ret, &un, PATH_AT + size + 1);
    return 0;
}

void cvy_os_address_abstract(const char *name, struct cvy_os_address *ret_address)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    size_t size = strnlen(name, sizeof(un.sun_path) - 1);

    memcpy(un.sun_path + 1, name, size);
    set(ret_address, &un, PATH_AT + 1 + size);
}

static int read_abstract(const char *name, struct cvy_os_address *ret,
                         const char **ret_why)
{
    size_t size = strlen(name);

    if (!size) {
        *ret_why = "the abstract name is empty";
        return -EINVAL;
    }
    if (size >= sizeof(((struct sockaddr_un *)0)->sun_path)) {
        *ret_why = "an abstract name has at most 107 bytes";
        return -ENAMETOOLONG;
    }
    cvy_os_address_abstract(name, ret);
    return 0;
}

static int read_port(const char *text, uint16_t *ret_port, const char **ret_why)
{
    unsigned long port = 0;

    *ret_why = "the port is no number from 0 to 65535";
    if (!*text || strlen(text) > 5)
        return -EINVAL;
    for (; *text; text++) {
        if (*text < '0' || *text > '9')
            return -EINVAL;
        port = port * 10 + (unsigned long)(*text - '0');
    }
    if (port > 65535)
        return -EINVAL;
    *ret_port = (uint16_t)port;
    return 0;
}

/* A host by its name. Returns: how many addresses it has, of those that there is room for;
 * negative. */
static int look_up(const char *host, uint16_t port, struct cvy_os_address *ret,
                   size_t capacity, const char **ret_why)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    char service[8];
    size_t count = 0;
    int r;

    CVY_FAULT_POINT("getaddrinfo", EADDRNOTAVAIL);
    snprintf(service, sizeof(service), "%u", port);
    r = getaddrinfo(host, service, &hints, &found);
    if (r) {
        *ret_why = gai_strerror(r);
        return -EADDRNOTAVAIL;
    }
    for (struct addrinfo *a = found; a && count < capacity; a = a->ai_next)
        set(&ret[count++], a->ai_addr,
            cvy_min_size(a->ai_addrlen, sizeof(struct sockaddr_in6)));
    freeaddrinfo(found);
    return (int)count;
}

static int read_host(const char *host, uint16_t port, bool is_v6,
                     struct cvy_os_address *ret, size_t capacity, const char **ret_why)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};

    if (is_v6) {
        if (inet_pton(AF_INET6, host, &v6.sin6_addr) == 1) {
            set(ret, &v6, sizeof(v6));
            return 1;
        }
        if (strchr(host, '%')) /* with a scope */
            return look_up(host, port, ret, capacity, ret_why);
        *ret_why = "what is in brackets is no IPv6 address";
        return -EINVAL;
    }
    if (!*host)
        v4.sin_addr.s_addr = htonl(ret->is_listening ? INADDR_ANY : INADDR_LOOPBACK);
    else if (!strcmp(host, "localhost"))
        v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    else if (inet_pton(AF_INET, host, &v4.sin_addr) != 1)
        return look_up(host, port, ret, capacity, ret_why);
    set(ret, &v4, sizeof(v4));
    return 1;
}

static int read_ip(const char *text, struct cvy_os_address *ret, size_t capacity,
                   const char **ret_why)
{
    const char *colon = strrchr(text, ':');
    char host[256];
    uint16_t port;
    size_t size;
    bool is_v6 = *text == '[';
    int r;

    *ret_why = "it is neither host:port nor a path nor @name";
    if (!colon)
        return -EINVAL;
    size = (size_t)(colon - text);
    if (is_v6 && (size < 2 || colon[-1] != ']'))
        return -EINVAL;
    if (is_v6) {
        text++;
        size -= 2;
    }
    if (size >= sizeof(host))
        return -EINVAL;
    memcpy(host, text, size);
    host[size] = '\0';
    if (!is_v6 && strchr(host, ':')) {
        *ret_why = "an IPv6 address stands in brackets";
        return -EINVAL;
    }
    r = read_port(colon + 1, &port, ret_why);
    return r < 0 ? r : read_host(host, port, is_v6, ret, capacity, ret_why);
}

static int read_any(const char *text, struct cvy_os_address *ret, size_t capacity,
                    const char **ret_why)
{
    int r;

    if (*text != '@' && !strchr(text, '/'))
        return read_ip(text, ret, capacity, ret_why);
    r = *text == '@' ? read_abstract(text + 1, ret, ret_why)
                     : read_path(text, ret, ret_why);
    return r < 0 ? r : 1;
}

int cvy_os_address_read(const char *text, bool to_listen,
                        struct cvy_os_address *ret_address, const char **ret_why)
{
    struct cvy_os_address address = {.is_listening = to_listen};
    int r = read_any(text, &address, 1, ret_why);

    if (r < 0)
        return r;
    *ret_address = address;
    return 0;
}

int cvy_os_address_read_all(const char *text, struct cvy_os_address *ret_addresses,
                            size_t capacity, const char **ret_why)
{
    memset(ret_addresses, 0, capacity * sizeof(*ret_addresses));
    return read_any(text, ret_addresses, capacity, ret_why);
}

/* An abstract name's bytes are written as they are, by which it is read. Control characters
 * would make a mess of logs, and 0 ends a text: they are written as %XX, and stay so. */
static void write_unix(const struct sockaddr_un *un, size_t size, char *text)
{
    size_t at = 0, count = size > PATH_AT ? size - PATH_AT : 0;

    if (count && un->sun_path[0]) {
        snprintf(text, CVY_OS_ADDRESS_TEXT, "%.*s", (int)strnlen(un->sun_path, count),
                 un->sun_path);
        return;
    }
    text[0] = '\0';
    if (count)
        text[at++] = '@';
    for (size_t i = 1; i < count && at + 4 < CVY_OS_ADDRESS_TEXT; i++) {
        unsigned char c = (unsigned char)un->sun_path[i];

        if (c >= ' ' && c != 0x7f)
            text[at++] = (char)c;
        else
            at += (size_t)snprintf(text + at, 4, "%%%02X", c);
    }
    text[at] = '\0';
}

/* A link-local address is one of many without its link. */
static void write_v6(const struct sockaddr_in6 *v6, char *text)
{
    char host[INET6_ADDRSTRLEN] = "", link[IF_NAMESIZE + 1] = "";

    inet_ntop(AF_INET6, &v6->sin6_addr, host, sizeof(host));
    if (v6->sin6_scope_id) {
        link[0] = '%';
        if (!if_indextoname(v6->sin6_scope_id, link + 1))
            snprintf(link + 1, IF_NAMESIZE, "%u", v6->sin6_scope_id);
    }
    snprintf(text, CVY_OS_ADDRESS_TEXT, "[%s%s]:%u", host, link, ntohs(v6->sin6_port));
}

void cvy_os_address_write(const struct cvy_os_address *address,
                          char text[CVY_OS_ADDRESS_TEXT])
{
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
        struct sockaddr_un un;
    } a;
    char host[INET_ADDRSTRLEN] = "";

    memset(&a, 0, sizeof(a));
    memcpy(&a, address->raw, cvy_min_size(address->size, sizeof(a)));
    text[0] = '\0';
    if (a.any.sa_family == AF_UNIX) {
        write_unix(&a.un, address->size, text);
    } else if (a.any.sa_family == AF_INET) {
        inet_ntop(AF_INET, &a.v4.sin_addr, host, sizeof(host));
        snprintf(text, CVY_OS_ADDRESS_TEXT, "%s:%u", host, ntohs(a.v4.sin_port));
    } else if (a.any.sa_family == AF_INET6) {
        write_v6(&a.v6, text);
    }
}

bool cvy_os_address_is_path(const struct cvy_os_address *address)
{
    struct sockaddr_un un;

    if (address->size <= PATH_AT)
        return false;
    memcpy(&un, address->raw, sizeof(un));
    return un.sun_family == AF_UNIX && un.sun_path[0];
}
