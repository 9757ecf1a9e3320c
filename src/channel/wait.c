/* SPDX-License-Identifier: MIT */
/* wait.c: waiting for several things.
 *
 * Things in the family's memory are slept on by futexes, descriptors by poll. Where both
 * are wanted, this thread sleeps on the futexes and a helper polls: a thread that lives as
 * long as the call and changes a word, which is slept on like the others. */
#include "region/wait.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#include "base/error.h"
#include "base/memory.h"
#include "channel/conn.h"

#define FEW 32

/* The descriptors and words of a call; item numbers tell what they are of. */
struct waiting {
    struct covey_wait_item *items;
    size_t count;
    struct cvy_os_poll *polls; /* room for one more each */
    size_t *poll_items;
    size_t poll_count;
    struct cvy_os_wait *words;
    size_t *word_items;
    size_t word_count;
};

/* ---- the helper ---- */

struct helper {
    struct cvy_os_poll *polls; /* the last is `stop` */
    size_t count;
    int stop;
    cvy_word word; /* 1: something is ready */
    cvy_word done;
};

static void *help(void *arg)
{
    struct helper *h = arg;
    (void)cvy_os_poll_many(h->polls, h->count, INT64_MAX);
    atomic_store(&h->word, 1);
    (void)cvy_os_futex_wake(&h->word, INT_MAX);
    atomic_store(&h->done, 1);
    (void)cvy_os_futex_wake(&h->done, INT_MAX);
    return NULL;
}

static int helper_start(struct helper *h, const struct waiting *w, const char *call)
{
    *h = (struct helper){.count = w->poll_count + 1, .stop = cvy_os_flag_create()};
    if (h->stop < 0)
        return cvy_fail_os(h->stop, "%s: a descriptor", call);
    h->polls = cvy_malloc(h->count * sizeof *h->polls);
    int r = -ENOMEM;
    if (h->polls) {
        memcpy(h->polls, w->polls, w->poll_count * sizeof *h->polls);
        h->polls[w->poll_count] = (struct cvy_os_poll){.fd = h->stop};
        r = cvy_os_run_aside(help, h);
    }
    if (r >= 0)
        return 0;
    cvy_free(h->polls);
    h->polls = NULL;
    cvy_os_close(h->stop);
    return cvy_fail_os(r, "%s: a thread", call);
}

static void helper_end(struct helper *h)
{
    if (!h->polls)
        return;
    cvy_os_flag_raise(h->stop);
    while (!atomic_load(&h->done))
        (void)cvy_os_futex_wait_for(&h->done, 0, COVEY_SEC(1));
    cvy_free(h->polls);
    h->polls = NULL;
    cvy_os_close(h->stop);
}

/* ---- items ---- */

static int fd_of(struct covey_wait_item *item, int *ret_fd)
{
    switch (item->kind) {
    case COVEY_WAIT_PROCESS:
        return covey_process_sentinel(item->object, ret_fd);
    case COVEY_WAIT_LISTENER:
        return covey_listener_fd(item->object, ret_fd);
    case COVEY_WAIT_CONN:
        *ret_fd = cvy_stream_of(item->object)->fd;
        return 0;
    default:
        *ret_fd = item->fd;
        return item->fd < 0 ? cvy_fail(-EBADF, "covey_wait: descriptor %d", item->fd)
                            : 0;
    }
}

/* Check item `i`, and enter it where it is to be waited for. */
static int enter_item(struct waiting *w, size_t i, const char *call)
{
    struct covey_wait_item *item = &w->items[i];
    bool is_word = false;
    int r = 0, fd = -1;
    if (item->kind == COVEY_WAIT_CONN) {
        r = cvy_conn_enter(item->object, CVY_TO_RECEIVE, call);
        is_word = r >= 0 && !cvy_conn_stream(item->object);
    } else if (item->kind == COVEY_WAIT_QUEUE) {
        r = cvy_queue_enter(item->object, call);
        is_word = true;
    } else if ((unsigned)item->kind > COVEY_WAIT_FD) {
        r = cvy_fail(-EINVAL, "%s: item %zu is of no known kind", call, i);
    }
    item->ready = 0;
    if (r < 0 || item->kind == COVEY_WAIT_NOTHING)
        return r;
    if (is_word) {
        w->word_items[w->word_count++] = i;
        return 0;
    }
    r = fd_of(item, &fd);
    if (r < 0)
        return r;
    w->poll_items[w->poll_count] = i;
    w->polls[w->poll_count++] = (struct cvy_os_poll){.fd = fd};
    return 0;
}

static cvy_word *word_of(const struct covey_wait_item *item)
{
    return item->kind == COVEY_WAIT_QUEUE ? &((covey_queue *)item->object)->items
                                          : cvy_pipe_word(item->object);
}

static bool is_ready(const struct covey_wait_item *item)
{
    if (item->kind == COVEY_WAIT_CONN)
        return cvy_pipe_is_ready(item->object);
    covey_queue *q = item->object;
    return atomic_load(&q->closed) || !cvy_ring_is_empty(&q->ring) ||
           cvy_queue_is_lonely(q);
}

/* ---- looking and sleeping ---- */

static size_t look_at_memory(struct waiting *w)
{
    size_t ready = 0;
    for (size_t i = 0; i < w->word_count; i++) {
        struct covey_wait_item *item = &w->items[w->word_items[i]];
        item->ready = is_ready(item);
        ready += (size_t)item->ready;
        /* This thread may have been woken in place of one that takes. */
        if (item->ready)
            cvy_waiters_wake(word_of(item), 1);
    }
    return ready;
}

/* What knows better than the item's descriptor whether there is something; or NULL. */
static struct cvy_tls *tls_of(const struct covey_wait_item *item)
{
    return item->kind == COVEY_WAIT_CONN ? cvy_stream_of(item->object)->tls : NULL;
}

/* Returns: how many are ready, -EBADF ... */
static int look_at_descriptors(struct waiting *w)
{
    int r = w->poll_count ? cvy_os_poll_many(w->polls, w->poll_count, 0) : 0;
    if (r < 0)
        return cvy_fail_os(r, "covey_wait: a descriptor");
    int ready = 0;
    for (size_t i = 0; i < w->poll_count; i++) {
        struct covey_wait_item *item = &w->items[w->poll_items[i]];
        struct cvy_tls *tls = tls_of(item);
        item->ready = tls ? cvy_tls_has_input(tls) : w->polls[i].ready;
        ready += item->ready != 0;
    }
    return ready;
}

/* What is empty when this thread goes to sleep, and still is when it wakes up. */
static void give_back_memory(struct waiting *w)
{
    for (size_t i = 0; i < w->word_count; i++) {
        struct covey_wait_item *item = &w->items[w->word_items[i]];
        cvy_ring_give_back(item->kind == COVEY_WAIT_QUEUE
                               ? &((covey_queue *)item->object)->ring
                               : cvy_pipe_ring(item->object));
    }
}

/* Sleep until one of the words changes, or the helper says that a descriptor is ready. */
static int sleep_on_words(struct waiting *w, struct helper *helper, uint32_t gong,
                          int64_t deadline, const char *call)
{
    size_t n = w->word_count;
    for (size_t i = 0; i < n; i++) {
        cvy_word *word = word_of(&w->items[w->word_items[i]]);
        w->words[i] = (struct cvy_os_wait){word, cvy_waiters_announce(word)};
    }
    if (look_at_memory(w))
        return 0;
    if (w->poll_count && !helper->polls) {
        int r = helper_start(helper, w, call);
        if (r < 0)
            return r;
    }
    if (w->poll_count) { /* first, since where few words can be slept on those count */
        w->words[n] = w->words[0];
        w->words[0] = (struct cvy_os_wait){&helper->word, 0};
        n++;
    }
    give_back_memory(w);
    int r = cvy_sleep_many(w->words, (unsigned)n, gong, deadline, 0);
    give_back_memory(w);
    if (w->poll_count && atomic_load(&helper->word))
        helper_end(helper);
    return r == -EINTR ? cvy_fail(r, "%s: a signal came", call) : r;
}

/* Mark what is ready. Returns: 0; -EBADF ... */
static int look(struct waiting *w, size_t *ret_ready)
{
    size_t ready = look_at_memory(w);
    int found = look_at_descriptors(w);
    if (found < 0)
        return found;
    *ret_ready = ready + (size_t)found;
    return 0;
}

static int wait_for_any(struct waiting *w, struct helper *helper, int64_t deadline,
                        const char *call, size_t *ret_ready)
{
    for (;;) {
        uint32_t gong = cvy_gong();
        int r = look(w, ret_ready);
        if (r < 0 || *ret_ready)
            return r;
        if (deadline <= 0 || (deadline != INT64_MAX && cvy_os_now() >= deadline))
            return cvy_fail(-ETIMEDOUT, "%s: none of %zu is ready", call, w->count);
        if (w->word_count) {
            r = sleep_on_words(w, helper, gong, deadline, call);
        } else {
            r = cvy_os_poll_many(w->polls, w->poll_count, deadline);
            if (r < 0)
                return cvy_fail_os(r, "%s: a descriptor", call);
        }
        if (r < 0 && r != -ETIMEDOUT)
            return r;
    }
}

int covey_wait(struct covey_wait_item *items, size_t count, covey_nsec timeout,
               size_t *ret_ready)
{
    static const char call[] = "covey_wait";
    struct cvy_os_poll polls[FEW + 1];
    struct cvy_os_wait words[FEW + 1];
    size_t poll_items[FEW], word_items[FEW], ready = 0;
    struct waiting w = {items, count, polls, poll_items, 0, words, word_items, 0};
    struct helper helper = {0};
    int64_t deadline = cvy_os_deadline(timeout);
    int r = cvy_enter();
    if (r >= 0 && !items && count)
        r = cvy_fail(-EINVAL, "%s: the items are NULL", call);
    if (r < 0)
        return r;
    if (count > FEW) {
        w.polls = cvy_calloc(count + 1, sizeof *polls);
        w.words = cvy_calloc(count + 1, sizeof *words);
        w.poll_items = cvy_calloc(count, sizeof *poll_items);
        w.word_items = cvy_calloc(count, sizeof *word_items);
        if (!w.polls || !w.words || !w.poll_items || !w.word_items)
            r = cvy_fail(-ENOMEM, "%s: no memory for %zu items", call, count);
    }
    for (size_t i = 0; i < count && r >= 0; i++)
        r = enter_item(&w, i, call);
    if (r >= 0)
        r = wait_for_any(&w, &helper, deadline, call, &ready);
    helper_end(&helper);
    if (count > FEW) {
        cvy_free(w.polls);
        cvy_free(w.words);
        cvy_free(w.poll_items);
        cvy_free(w.word_items);
    }
    if (r >= 0 && ret_ready)
        *ret_ready = ready;
    return r;
}
