/* SPDX-License-Identifier: MIT */
/* nested.c: proxies inside of values, and the objects that only they keep alive.
 *
 * A proxy that a client puts into a list of this server keeps its object alive, as long as
 * the list lives and has it. Counting that would mean to be told of each value that goes;
 * instead the values are walked when an object that may be in one has lost its last
 * reference: from all that lives by itself, through what it keeps. So objects that keep
 * each other alive, and nothing else does, go too. What only values keep may lose them by
 * any request: as long as there is such a one, requests are followed by a walk, too.
 *
 * Only what is marked as having objects is walked into, and what occurs in several places
 * once. The next walk waits for twenty times as long as the last one took. */
#include <errno.h>
#include <string.h>

#include "base/error.h"
#include "base/log.h"
#include "base/memory.h"
#include "manager/server.h"
#include "os/os.h"
#include "value/node.h"

/* How long what a reply has told of lives without a reference: time for the receiver to
 * take one. */
#define GRACE       COVEY_SEC(2)
#define REST_FACTOR 20
/* The least time between two looks at what only values keep, while requests come, each of
 * which may take the last of these away. */
#define KEPT_REST COVEY_SEC(1)

typedef void found_fn(void *context, struct cvy_hosted *hosted);

struct walk {
    struct cvy_server *server;
    found_fn *found;
    void *context;
    const covey_value **seen; /* hashed; values with several references */
    size_t seen_count, seen_capacity;
    bool failed; /* no memory */
};

/* ---- what was seen ---- */

static size_t place_of(const struct walk *w, const covey_value *value)
{
    size_t at = ((uintptr_t)value >> 4) * 0x9E3779B97F4A7C15u >> 20;
    at &= w->seen_capacity - 1;
    while (w->seen[at] && w->seen[at] != value)
        at = (at + 1) & (w->seen_capacity - 1);
    return at;
}

static bool grow(struct walk *w)
{
    struct walk bigger = *w;
    bigger.seen_capacity = w->seen_capacity ? 2 * w->seen_capacity : 64;
    bigger.seen = cvy_calloc(bigger.seen_capacity, sizeof *bigger.seen);
    if (!bigger.seen)
        return false;
    for (size_t i = 0; i < w->seen_capacity; i++)
        if (w->seen[i])
            bigger.seen[place_of(&bigger, w->seen[i])] = w->seen[i];
    cvy_free(w->seen);
    *w = bigger;
    return true;
}

/* Whether it was seen before. */
static bool see(struct walk *w, const covey_value *value)
{
    if (atomic_load_explicit(&value->refs, memory_order_relaxed) == 1)
        return false;
    if (2 * (w->seen_count + 1) > w->seen_capacity && !grow(w)) {
        w->failed = true;
        return true;
    }
    size_t at = place_of(w, value);
    if (w->seen[at])
        return true;
    w->seen[at] = value;
    w->seen_count++;
    return false;
}

static void end_walk(struct walk *w)
{
    cvy_free(w->seen);
    w->seen = NULL;
}

/* ---- proxies ---- */

/* Whose proxy it is; NULL: another manager's. A client writes the address by which it
 * reaches this manager, and there may be many. So with a strange one ident and type count:
 * idents begin at random, so those of another manager name nothing here. */
static struct cvy_hosted *hosted_of(const struct cvy_server *server,
                                    const covey_value *value)
{
    struct cvy_pickled_proxy proxy;
    if (cvy_pickled_proxy_read(value, &proxy) < 0)
        return NULL;
    struct cvy_hosted *h = cvy_hosted_find(server, proxy.token.ident);
    if (h && !covey_value_equal(proxy.token.address, server->address_value) &&
        strcmp(h->type->name, proxy.token.type_id) != 0)
        return NULL;
    return h;
}

/* ---- walking ---- */

static void walk_into(struct walk *w, const covey_value *value);

static void found_proxy(struct walk *w, const covey_value *value)
{
    struct cvy_hosted *h = hosted_of(w->server, value);
    if (h)
        w->found(w->context, h);
}

static void walk_object(struct walk *w, const covey_value *value)
{
    struct covey_object parts;
    if (cvy_pickled_proxy_is(value)) {
        found_proxy(w, value);
        return;
    }
    if (covey_value_get_object(value, &parts) < 0)
        return;
    walk_into(w, parts.callable);
    walk_into(w, parts.args);
    walk_into(w, parts.kwargs);
    walk_into(w, parts.state);
    walk_into(w, parts.items);
    walk_into(w, parts.pairs);
}

/* Values are at most COVEY_VALUE_DEPTH_MAX deep. NOLINTNEXTLINE(misc-no-recursion) */
static void walk_into(struct walk *w, const covey_value *value)
{
    if (!value || !(cvy_flags(value) & CVY_HAS_OBJECT) || see(w, value))
        return;
    if (cvy_kind(value) == COVEY_VALUE_OBJECT) {
        walk_object(w, value);
        return;
    }
    const covey_value *slice[3];
    if (cvy_kind(value) == COVEY_VALUE_SLICE &&
        covey_value_get_slice(value, &slice[0], &slice[1], &slice[2]) == 0) {
        for (int i = 0; i < 3; i++)
            walk_into(w, slice[i]);
        return;
    }
    const covey_value *key, *item;
    size_t position = 0;
    while (covey_value_next(value, &position, &key, &item)) {
        walk_into(w, key);
        walk_into(w, item);
    }
}

/* ---- what comes and goes ---- */

static void note_nested(void *context, struct cvy_hosted *hosted)
{
    (void)context;
    hosted->nested = true;
}

static void note_pinned(void *context, struct cvy_hosted *hosted)
{
    (void)context;
    if (!hosted->pinned) {
        hosted->pinned = true;
        hosted->busy++;
    }
}

static void walk_once(struct cvy_server *server, const covey_value *value,
                      found_fn *found, void *context)
{
    struct walk w = {.server = server, .found = found, .context = context};
    walk_into(&w, value);
    end_walk(&w);
}

void cvy_nested_note_request(struct cvy_server *server, const covey_value *args,
                             const covey_value *kwargs, bool may_keep)
{
    if (server->hosts.keeps)
        server->hosts.has_suspects = true;
    if (cvy_flags(args) & CVY_HAS_OBJECT)
        walk_once(server, args, may_keep ? note_pinned : note_nested, NULL);
    if (kwargs && cvy_flags(kwargs) & CVY_HAS_OBJECT)
        walk_once(server, kwargs, may_keep ? note_pinned : note_nested, NULL);
}

static void note_sent(void *context, struct cvy_hosted *hosted)
{
    hosted->sent_at = *(const int64_t *)context;
}

void cvy_nested_note_reply(struct cvy_server *server, const covey_value *reply)
{
    if (!reply || !(cvy_flags(reply) & CVY_HAS_OBJECT))
        return;
    int64_t now = cvy_os_now();
    walk_once(server, reply, note_sent, &now);
}

void *cvy_call_find(struct cvy_call *call, const covey_value *value,
                    const struct cvy_class **ret_cls)
{
    struct cvy_server *server = call->server;
    if (!server || !cvy_pickled_proxy_is(value))
        return NULL;
    struct cvy_hosted *h = hosted_of(server, value);
    if (!h)
        return NULL;
    *ret_cls = h->referent.cls;
    return h->referent.self;
}

/* ---- what lives ---- */

/* Marked ones whose values are to be walked yet. */
struct living {
    struct walk walk;
    struct cvy_hosted **found;
    size_t count;
};

static void mark(void *context, struct cvy_hosted *hosted)
{
    struct living *living = context;
    if (hosted->marked)
        return;
    hosted->marked = true;
    living->found[living->count++] = hosted;
}

static void visit_value(void *context, const covey_value *value)
{
    walk_into(context, value);
}

static void mark_all_from(struct living *living)
{
    while (living->count > 0) {
        const struct cvy_referent *r = &living->found[--living->count]->referent;
        if (r->cls->visit)
            r->cls->visit(r->self, visit_value, &living->walk);
    }
}

static void mark_roots(struct cvy_server *server, struct living *living)
{
    size_t place = 0;
    for (struct cvy_hosted *h = NULL; (h = cvy_hosted_next(server, &place, h));)
        h->marked = false;
    place = 0;
    for (struct cvy_hosted *h = NULL; (h = cvy_hosted_next(server, &place, h));)
        if (h->refs || h->busy || h->type->one == h)
            mark(living, h);
    for (const struct cvy_connection *c = server->connections; c; c = c->next)
        walk_into(&living->walk, c->request);
    mark_all_from(living);
}

/* Those a reply has told of not long ago, and what they keep. Returns: how many; `*until`
 * is when to look again. */
static size_t mark_lingering(struct cvy_server *server, struct living *living,
                             int64_t now, int64_t *until)
{
    size_t place = 0, before = 0, after = 0;
    struct cvy_hosted *h = NULL;
    while ((h = cvy_hosted_next(server, &place, h)))
        before += h->marked;
    for (place = 0, h = NULL; (h = cvy_hosted_next(server, &place, h));) {
        if (h->marked || !h->sent_at || h->sent_at + GRACE <= now)
            continue;
        *until = h->sent_at + GRACE < *until ? h->sent_at + GRACE : *until;
        mark(living, h);
    }
    mark_all_from(living);
    for (place = 0, h = NULL; (h = cvy_hosted_next(server, &place, h));)
        after += h->marked;
    return after - before;
}

/* Whether any lives without a reference, in some value. */
static bool any_is_kept(const struct cvy_server *server)
{
    size_t place = 0;
    for (struct cvy_hosted *h = NULL; (h = cvy_hosted_next(server, &place, h));)
        if (!h->refs && !h->busy && h->type->one != h)
            return true;
    return false;
}

static size_t sweep(struct cvy_server *server)
{
    struct cvy_hosted *doomed = NULL, *h = NULL;
    size_t place = 0, count = 0;
    while ((h = cvy_hosted_next(server, &place, h))) {
        if (h->marked)
            continue;
        h->next_doomed = doomed;
        doomed = h;
    }
    for (; doomed; doomed = h, count++) {
        h = doomed->next_doomed;
        cvy_hosted_destroy(server, doomed);
    }
    return count;
}

void cvy_nested_look(struct cvy_server *server, int64_t now)
{
    struct cvy_hosts *hosts = &server->hosts;
    struct living living = {.walk = {.server = server, .found = mark}};
    int64_t until = INT64_MAX;
    size_t freed = 0;
    if (!hosts->has_suspects)
        return;
    living.walk.context = &living;
    living.found = cvy_malloc((hosts->count + 1) * sizeof(struct cvy_hosted *));
    if (living.found) {
        mark_roots(server, &living);
        hosts->lingering = mark_lingering(server, &living, now, &until);
        if (!living.walk.failed)
            freed = sweep(server);
    }
    bool failed = !living.found || living.walk.failed;
    end_walk(&living.walk);
    cvy_free(living.found);
    int64_t after = cvy_os_now(), rest = after + (after - now) * REST_FACTOR;
    hosts->has_suspects = failed || hosts->lingering > 0;
    hosts->keeps = any_is_kept(server);
    hosts->next_look =
        cvy_max_i64(failed ? now + GRACE : rest, hosts->lingering ? until : 0);
    if (hosts->keeps && !hosts->has_suspects)
        hosts->next_look = cvy_max_i64(rest, now + KEPT_REST);
    if (freed > 0)
        (void)covey_log(COVEY_LOG_DEBUG,
                        "manager %s: %zu objects were in values only, and are gone",
                        server->address, freed);
}

int64_t cvy_nested_next(const struct cvy_server *server)
{
    return server->hosts.has_suspects ? server->hosts.next_look : INT64_MAX;
}
