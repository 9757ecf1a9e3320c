/* SPDX-License-Identifier: MIT */
/* hosted.c: the objects of a server. Their numbers are never used twice, so an ident that
 * a client kept too long names nothing, instead of another object. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/memory.h"
#include "manager/server.h"
#include "os/os.h"

#define FIRST_PLACES 64

static size_t place_of(const struct cvy_hosts *hosts, uint64_t number)
{
    return number & (hosts->capacity - 1);
}

static int grow(struct cvy_hosts *hosts)
{
    struct cvy_hosts bigger = *hosts;
    bigger.capacity = hosts->capacity ? 2 * hosts->capacity : FIRST_PLACES;
    bigger.places = cvy_calloc(bigger.capacity, sizeof(struct cvy_hosted *));
    if (!bigger.places)
        return cvy_fail(-ENOMEM, "no memory for more objects");
    for (size_t i = 0; i < hosts->capacity; i++) {
        for (struct cvy_hosted *h = hosts->places[i], *next; h; h = next) {
            size_t place = place_of(&bigger, h->number);
            next = h->next;
            h->next = bigger.places[place];
            bigger.places[place] = h;
        }
    }
    cvy_free(hosts->places);
    *hosts = bigger;
    return 0;
}

/* The first number is random, so that idents of an earlier server name nothing here. */
static uint64_t next_number(struct cvy_hosts *hosts)
{
    if (!hosts->last_number) {
        uint64_t random = 0;
        (void)cvy_os_random(&random, sizeof random);
        hosts->last_number = ((random >> 18) | (uint64_t)1 << 45) & ~(uint64_t)0xffff;
    }
    return ++hosts->last_number;
}

int cvy_hosted_add(struct cvy_server *server, struct cvy_type *type, void *self,
                   struct cvy_hosted **ret)
{
    struct cvy_hosts *hosts = &server->hosts;
    struct cvy_hosted *h = NULL;
    int r = 0;
    if (hosts->count >= server->limits.max_objects)
        r = cvy_fail(-EMSGSIZE, "the manager has %zu objects, which is its limit",
                     hosts->count);
    if (r >= 0 && hosts->count >= hosts->capacity)
        r = grow(hosts);
    if (r >= 0) {
        h = cvy_calloc(1, sizeof *h);
        r = h ? 0 : cvy_fail(-ENOMEM, "no memory for one more object");
    }
    if (r < 0) {
        if (type->cls->destroy)
            type->cls->destroy(self);
        return r;
    }
    h->referent = (struct cvy_referent){.cls = type->cls, .self = self};
    h->type = type;
    h->number = next_number(hosts);
    (void)snprintf(h->ident, sizeof h->ident, "%llx", (unsigned long long)h->number);
    size_t place = place_of(hosts, h->number);
    h->next = hosts->places[place];
    hosts->places[place] = h;
    hosts->count++;
    *ret = h;
    return 0;
}

/* Lower-case hex without leading zeros, which is what we give out. */
static bool read_ident(const char *ident, uint64_t *ret)
{
    uint64_t number = 0;
    size_t size = 0;
    for (; ident[size]; size++) {
        char c = ident[size];
        bool is_digit = c >= '0' && c <= '9', is_letter = c >= 'a' && c <= 'f';
        if (!(is_digit || is_letter) || size == 16)
            return false;
        number = number << 4 | (uint64_t)(is_digit ? c - '0' : c - 'a' + 10);
    }
    *ret = number;
    return size > 0 && ident[0] != '0';
}

struct cvy_hosted *cvy_hosted_find(const struct cvy_server *server, const char *ident)
{
    const struct cvy_hosts *hosts = &server->hosts;
    uint64_t number;
    if (!hosts->count || !read_ident(ident, &number))
        return NULL;
    struct cvy_hosted *h = hosts->places[place_of(hosts, number)];
    while (h && h->number != number)
        h = h->next;
    return h;
}

static void take_out(struct cvy_hosts *hosts, const struct cvy_hosted *hosted)
{
    struct cvy_hosted **link = &hosts->places[place_of(hosts, hosted->number)];
    while (*link != hosted)
        link = &(*link)->next;
    *link = hosted->next;
    hosts->count--;
    if (hosts->recent == hosted)
        hosts->recent = NULL;
}

void cvy_hosted_destroy(struct cvy_server *server, struct cvy_hosted *hosted)
{
    take_out(&server->hosts, hosted);
    cvy_receipts_drop(server, hosted);
    if (hosted->type->one == hosted)
        hosted->type->one = NULL;
    if (hosted->referent.cls->destroy)
        hosted->referent.cls->destroy(hosted->referent.self);
    cvy_free(hosted);
}

void cvy_hosted_release(struct cvy_server *server, struct cvy_hosted *hosted)
{
    if (hosted->refs || hosted->busy || hosted->type->one == hosted)
        return;
    if (hosted->nested)
        server->hosts.has_suspects = true;
    else
        cvy_hosted_destroy(server, hosted);
}

struct cvy_hosted *cvy_hosted_next(const struct cvy_server *server, size_t *place,
                                   const struct cvy_hosted *last)
{
    const struct cvy_hosts *hosts = &server->hosts;
    if (last && last->next)
        return last->next;
    while (*place < hosts->capacity) {
        struct cvy_hosted *h = hosts->places[(*place)++];
        if (h)
            return h;
    }
    return NULL;
}

size_t cvy_hosted_count(const struct cvy_server *server)
{
    size_t count = server->hosts.count - server->hosts.lingering;
    for (const struct cvy_type *t = server->registry->first; t; t = t->next)
        if (t->one && !t->one->refs)
            count--;
    return count;
}

void cvy_hosted_free_all(struct cvy_server *server)
{
    struct cvy_hosts *hosts = &server->hosts;
    for (size_t i = 0; i < hosts->capacity; i++)
        while (hosts->places[i])
            cvy_hosted_destroy(server, hosts->places[i]);
    cvy_free(hosts->places);
    *hosts = (struct cvy_hosts){0};
}
