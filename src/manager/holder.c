/* SPDX-License-Identifier: MIT */
/* holder.c: which client holds how many references to what.
 *
 * Stock clients count by short connections of their own, so a reference belongs to a
 * process, not to a connection. Of a local socket the system tells the process at the
 * other end, and a pidfd tells its end, however it comes. What comes over TCP belongs to
 * `unknown` and stays until somebody gives it back, as with CPython's server; unless the
 * client counts by the connection over which it calls, whose end is then its own.
 *
 * Programs that share proxies among their processes may count once for all of them. So who
 * calls an object without having a reference is its borrower, and inherits that of one
 * that has ended; and who gives back what it has not, gives back another's. Theirs have
 * receipts, see receipt.c. */
#include <errno.h>
#include <string.h>

#include "base/error.h"
#include "base/log.h"
#include "base/memory.h"
#include "manager/server.h"
#include "os/os.h"

#define FIRST_PLACES 8

/* ---- its references: linear probing ---- */

static size_t home_of(const struct cvy_client *client, const struct cvy_hosted *hosted)
{
    return hosted->number * 0x9E3779B97F4A7C15u >> 17 & (client->ref_capacity - 1);
}

/* Its place, or where it would be. */
static size_t place_of(const struct cvy_client *client, const struct cvy_hosted *hosted)
{
    size_t at = home_of(client, hosted);
    while (client->refs[at].hosted && client->refs[at].hosted != hosted)
        at = (at + 1) & (client->ref_capacity - 1);
    return at;
}

static int grow(struct cvy_client *client)
{
    struct cvy_client bigger = *client;
    bigger.ref_capacity =
        client->ref_capacity ? 2 * client->ref_capacity : FIRST_PLACES;
    bigger.refs = cvy_calloc(bigger.ref_capacity, sizeof *bigger.refs);
    if (!bigger.refs)
        return cvy_fail(-ENOMEM, "no memory for one more reference");
    for (size_t i = 0; i < client->ref_capacity; i++)
        if (client->refs[i].hosted)
            bigger.refs[place_of(&bigger, client->refs[i].hosted)] = client->refs[i];
    cvy_free(client->refs);
    *client = bigger;
    return 0;
}

int cvy_client_incref(struct cvy_client *client, struct cvy_hosted *hosted)
{
    int r = 2 * (client->ref_count + 1) > client->ref_capacity ? grow(client) : 0;
    if (r < 0)
        return r;
    struct cvy_client_ref *ref = &client->refs[place_of(client, hosted)];
    if (!ref->hosted)
        client->ref_count++;
    ref->hosted = hosted;
    ref->count++;
    hosted->refs++;
    return 0;
}

/* Empty a place, and move what follows to where it is found. */
static void vacate(struct cvy_client *client, size_t at)
{
    size_t mask = client->ref_capacity - 1;
    client->refs[at] = (struct cvy_client_ref){0};
    client->ref_count--;
    for (size_t i = (at + 1) & mask; client->refs[i].hosted; i = (i + 1) & mask) {
        struct cvy_client_ref ref = client->refs[i];
        client->refs[i] = (struct cvy_client_ref){0};
        client->refs[place_of(client, ref.hosted)] = ref;
    }
}

/* A client without references to an object has no receipts for any. */
static bool take_one(struct cvy_server *server, struct cvy_client *client,
                     struct cvy_hosted *hosted)
{
    if (!client->ref_count)
        return false;
    size_t at = place_of(client, hosted);
    if (!client->refs[at].hosted)
        return false;
    if (!--client->refs[at].count) {
        vacate(client, at);
        (void)cvy_receipts_move(server, hosted, client, NULL);
    }
    return true;
}

static bool take_others(struct cvy_server *server, struct cvy_hosted *hosted)
{
    struct cvy_client *client = server->clients;
    while (client && !take_one(server, client, hosted))
        client = client->next;
    return client != NULL;
}

static void drop_one(struct cvy_server *server, struct cvy_hosted *hosted)
{
    hosted->refs--;
    cvy_hosted_release(server, hosted);
}

bool cvy_client_give_back(struct cvy_server *server, struct cvy_client *client,
                          struct cvy_hosted *hosted)
{
    if (!take_one(server, client, hosted))
        return false;
    drop_one(server, hosted);
    return true;
}

/* One whose process has ended, though the loop has not been told: its number may be
 * another's by now. */
static bool is_over(const struct cvy_client *client)
{
    return cvy_os_poll_in(client->pidfd, 0) != 0;
}

/* Of who has ended, his own are gone: to take those of others for what he still has sent
 * would leave them without. */
int cvy_client_decref(struct cvy_server *server, struct cvy_client *client,
                      struct cvy_hosted *hosted)
{
    bool is_dead = client->is_dead || (client->pidfd >= 0 && is_over(client));
    if (!take_one(server, client, hosted) &&
        (is_dead ||
         (!take_one(server, &server->unknown, hosted) && !take_others(server, hosted))))
        return cvy_fail(-ENOENT, "nobody has a reference to %s", hosted->ident);
    drop_one(server, hosted);
    return 0;
}

bool cvy_client_has(const struct cvy_client *client, const struct cvy_hosted *hosted)
{
    return client->ref_count > 0 && client->refs[place_of(client, hosted)].hosted;
}

void cvy_client_uses(struct cvy_client *client, struct cvy_hosted *hosted)
{
    if (hosted->borrower == client || !client->pid || cvy_client_has(client, hosted))
        return;
    hosted->borrower = client;
    client->borrows = true;
}

static void stop_borrowing(struct cvy_server *server, const struct cvy_client *client)
{
    size_t place = 0;
    if (!client->borrows)
        return;
    for (struct cvy_hosted *h = NULL; (h = cvy_hosted_next(server, &place, h));)
        if (h->borrower == client)
            h->borrower = NULL;
}

/* A borrower has those of who has ended, if nobody else has any. */
static bool inherit(struct cvy_server *server, const struct cvy_client *client,
                    const struct cvy_client_ref *ref)
{
    struct cvy_hosted *h = ref->hosted;
    if (h->refs || !h->borrower || h->borrower == client ||
        cvy_client_incref(h->borrower, h) < 0)
        return false;
    uint64_t receipts = cvy_receipts_move(server, h, client, h->borrower);
    uint64_t wanted = receipts + (ref->count > receipts); /* and one of all others */
    while (h->refs < wanted && cvy_client_incref(h->borrower, h) == 0)
        continue;
    return true;
}

static void drop_references(struct cvy_server *server, struct cvy_client *client)
{
    for (size_t i = 0; i < client->ref_capacity; i++) {
        struct cvy_hosted *h = client->refs[i].hosted;
        if (!h)
            continue;
        h->refs -= client->refs[i].count;
        if (inherit(server, client, &client->refs[i]))
            continue;
        (void)cvy_receipts_move(server, h, client, NULL);
        cvy_hosted_release(server, h);
    }
    cvy_free(client->refs);
    client->refs = NULL;
    client->ref_count = client->ref_capacity = 0;
}

/* ---- clients ---- */

static struct cvy_client *add(struct cvy_server *server, int pid, int pidfd)
{
    struct cvy_client *client = cvy_calloc(1, sizeof *client);
    if (!client)
        return NULL;
    client->source.kind = CVY_SOURCE_CLIENT;
    client->pid = pid;
    client->pidfd = pidfd;
    client->next = server->clients;
    server->clients = client;
    return client;
}

static void free_client(struct cvy_server *server, struct cvy_client *client)
{
    struct cvy_client **link = &server->clients;
    while (*link != client)
        link = &(*link)->next;
    *link = client->next;
    stop_borrowing(server, client);
    if (client->pidfd >= 0)
        cvy_os_events_remove(server->events, client->pidfd);
    client->pidfd = cvy_os_close(client->pidfd);
    cvy_free(client->refs);
    client->refs = NULL;
    client->next = server->dead_clients;
    server->dead_clients = client;
}

void cvy_client_sweep(struct cvy_server *server)
{
    while (server->dead_clients) {
        struct cvy_client *client = server->dead_clients;
        server->dead_clients = client->next;
        cvy_free(client);
    }
}

static struct cvy_client *noted(struct cvy_server *server, int pid)
{
    struct cvy_client *client = server->clients;
    while (client && client->pid != pid)
        client = client->next;
    return client;
}

static struct cvy_client *find(struct cvy_server *server, int pid)
{
    struct cvy_client *client = noted(server, pid);
    if (!client || !is_over(client))
        return client;
    cvy_client_dead(server, client);
    return NULL;
}

static struct cvy_client *watch_process(struct cvy_server *server, int pid)
{
    int pidfd = cvy_os_pidfd_open(pid);
    if (pidfd == -ESRCH) { /* only what it has sent is left: until that is read */
        struct cvy_client *dead = add(server, 0, -1);
        if (dead)
            dead->is_dead = true;
        return dead;
    }
    if (pidfd < 0)
        return &server->unknown;
    struct cvy_client *client = add(server, pid, pidfd);
    if (!client) {
        cvy_os_close(pidfd);
        return NULL;
    }
    if (cvy_os_events_add(server->events, pidfd, CVY_OS_CAN_READ, &client->source) <
        0) {
        client->pidfd = cvy_os_close(pidfd);
        free_client(server, client);
        return &server->unknown;
    }
    return client;
}

struct cvy_client *cvy_client_of(struct cvy_server *server, int fd)
{
    struct cvy_os_peer peer;
    struct cvy_client *client = &server->unknown;
    if (cvy_os_peer(fd, &peer) == 0 && peer.pid > 0) {
        client = find(server, peer.pid);
        if (!client)
            client = watch_process(server, peer.pid);
    }
    if (client)
        client->connections++;
    return client;
}

/* The client that a process has just become. NULL: it has ended, or cannot be watched. */
static struct cvy_client *watch_living(struct cvy_server *server, int pid)
{
    struct cvy_client *client = watch_process(server, pid);
    if (!client || client == &server->unknown)
        return NULL;
    if (client->pidfd >= 0 && !is_over(client))
        return client;
    free_client(server, client);
    return NULL;
}

/* One that was there may end after the look of `find`: it has connections and references,
 * and goes when the loop is told. */
struct cvy_client *cvy_client_of_process(struct cvy_server *server, int pid)
{
    struct cvy_client *client = pid > 0 ? find(server, pid) : NULL;
    if (!client && pid > 0)
        client = watch_living(server, pid);
    if (client)
        client->connections++;
    return client;
}

struct cvy_client *cvy_client_alone(struct cvy_server *server)
{
    struct cvy_client *client = add(server, 0, -1);
    if (client)
        client->connections++;
    return client;
}

/* One of this process's family has ended, maybe as the last holder of proxies. Those are
 * references of the family's first process, see count_for_family, unless that has ended. */
static void settle_for_family(struct cvy_server *server)
{
    struct cvy_owed owed;
    while (cvy_proxy_take_owed(server->address, &owed)) {
        struct cvy_hosted *hosted = cvy_hosted_find(server, owed.ident);
        struct cvy_client *family = noted(server, owed.first);
        if (owed.receipt)
            cvy_receipt_redeem(server, owed.ident, owed.receipt);
        else if (hosted && family)
            (void)cvy_client_give_back(server, family, hosted);
        cvy_proxy_settled(&owed, 0);
    }
}

void cvy_client_leave(struct cvy_server *server, struct cvy_client *client)
{
    client->connections--;
    if (client == &server->unknown || client->connections)
        return;
    if (client->pidfd < 0)
        drop_references(server, client);
    /* Which may have ended, and that be heard later. */
    bool has_process = client->pid > 0;
    if (!client->ref_count)
        free_client(server, client);
    if (has_process)
        settle_for_family(server);
}

void cvy_client_dead(struct cvy_server *server, struct cvy_client *client)
{
    if (client->ref_count > 0)
        (void)covey_log(
            COVEY_LOG_INFO,
            "manager %s: process %d has ended with references to %zu objects",
            server->address, client->pid, client->ref_count);
    client->connections++; /* it must not go before its last connection has */
    for (struct cvy_connection *c = server->connections, *next; c; c = next) {
        next = c->next;
        if (c->client == client) {
            cvy_connection_end(c, "its process has ended");
        } else if (c->family == client) {
            c->family = NULL;
            client->connections--;
        }
    }
    drop_references(server, client);
    client->connections--;
    free_client(server, client);
    settle_for_family(server);
}

void cvy_client_free_all(struct cvy_server *server)
{
    while (server->clients)
        free_client(server, server->clients);
    cvy_client_sweep(server);
    cvy_free(server->unknown.refs);
    server->unknown.refs = NULL;
}
