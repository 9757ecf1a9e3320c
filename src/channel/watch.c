/* SPDX-License-Identifier: MIT */
/* watch.c: descriptors that event loops poll for messages.
 *
 * A watch is an eventfd and a thread of this process for one queue. The thread is attached
 * to nothing: it holds no lock and no slot, only sleeps on `items` as a getter does, so it
 * counts neither as somebody who could still put nor as one to be repaired.
 *
 *   lowered: the thread sleeps on `items`; when it finds the queue ready it raises
 *   raised:  the thread sleeps on `turn`; a get of this process that leaves the queue
 *            not ready lowers, looks once more, and gives the thread its turn
 *
 * `mutex` protects the list and who raises and lowers. A fork child has no threads of its
 * parent's: it closes its copies of the descriptors and begins with none. */
#include <errno.h>
#include <pthread.h>

#include "base/error.h"
#include "base/memory.h"
#include "channel/queue.h"
#include "os/socket.h"
#include "region/wait.h"

struct watch {
    struct watch *next;
    covey_queue *queue;
    struct cvy_os_kept_fd fd;
    bool raised;      /* under mutex */
    cvy_word turn;    /* changes when the thread is to look */
    cvy_word stops;   /* 1: the thread is to end */
    cvy_word is_over; /* 1: it touches this no more */
};

_Atomic uint32_t cvy_queue_watches;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct watch *watches;
static bool prepared;
static void (*next_on_leave)(void);

static bool is_ready(covey_queue *q)
{
    return atomic_load(&q->closed) || !cvy_ring_is_empty(&q->ring);
}

static void give_turn(struct watch *w)
{
    atomic_fetch_add(&w->turn, 1);
    (void)cvy_os_futex_wake(&w->turn, 1);
}

/* mutex held. Returns: whether it is raised now. The program may have closed it. */
static bool raise_if_ready(struct watch *w)
{
    if (!w->raised && is_ready(w->queue)) {
        w->raised = true;
        if (cvy_os_is_kept(&w->fd))
            cvy_os_flag_raise(w->fd.fd);
    }
    return w->raised;
}

static void lower_if_not_ready(struct watch *w)
{
    if (!w->raised || is_ready(w->queue))
        return;
    if (cvy_os_is_kept(&w->fd))
        cvy_os_flag_lower(w->fd.fd);
    w->raised = false;
    if (!raise_if_ready(w))
        give_turn(w);
}

/* ---- the thread ---------------------------------------------------------------- */

static void look_once(struct watch *w)
{
    covey_queue *q = w->queue;
    uint32_t turn = atomic_load(&w->turn), gong = cvy_gong();
    if (atomic_load(&w->stops))
        return;
    uint32_t word = cvy_waiters_announce(&q->items);
    if (!is_ready(q)) {
        cvy_sleep_aside(&q->items, word, &w->turn, turn, gong);
        return;
    }
    (void)pthread_mutex_lock(&mutex);
    bool raised = !atomic_load(&w->stops) && raise_if_ready(w);
    (void)pthread_mutex_unlock(&mutex);
    struct cvy_os_wait wait = {&w->turn, turn};
    if (raised)
        (void)cvy_os_futex_waitv(&wait, 1, INT64_MAX);
}

static void *watch_queue(void *arg)
{
    struct watch *w = arg;
    cvy_os_set_comm("covey-queue-fd");
    while (!atomic_load(&w->stops))
        look_once(w);
    atomic_store(&w->is_over, 1);
    (void)cvy_os_futex_wake(&w->is_over,
                            1); /* a mere number if it was freed meanwhile */
    return NULL;
}

/* mutex not held; it is out of the list. */
static void end_watch(struct watch *w)
{
    struct cvy_os_wait wait = {&w->is_over, 0};
    atomic_store(&w->stops, 1);
    give_turn(w);
    while (!atomic_load(&w->is_over))
        (void)cvy_os_futex_waitv(&wait, 1, INT64_MAX);
    cvy_os_close_kept(&w->fd);
    cvy_free(w);
}

/* ---- the list ------------------------------------------------------------------ */

static struct watch **find(const covey_queue *queue)
{
    struct watch **place = &watches;
    while (*place && (*place)->queue != queue)
        place = &(*place)->next;
    return place;
}

static struct watch *take_out(struct watch **place)
{
    struct watch *w = *place;
    if (w) {
        *place = w->next;
        atomic_fetch_sub(&cvy_queue_watches, 1);
    }
    return w;
}

void cvy_queue_watch_look(covey_queue *queue)
{
    (void)pthread_mutex_lock(&mutex);
    struct watch *w = *find(queue);
    if (w)
        lower_if_not_ready(w);
    (void)pthread_mutex_unlock(&mutex);
}

void cvy_queue_watch_end(const void *queue)
{
    if (!atomic_load(&cvy_queue_watches))
        return;
    (void)pthread_mutex_lock(&mutex);
    struct watch *w = take_out(find(queue));
    (void)pthread_mutex_unlock(&mutex);
    if (w)
        end_watch(w);
}

/* The process gives up its holds: no thread may look at the queues any more. */
static void end_all(void)
{
    for (struct watch *w = (void *)&mutex; w;) {
        (void)pthread_mutex_lock(&mutex);
        w = take_out(&watches);
        (void)pthread_mutex_unlock(&mutex);
        if (w)
            end_watch(w);
    }
    if (next_on_leave)
        next_on_leave();
}

static void before_fork(void)
{
    (void)pthread_mutex_lock(&mutex);
}
static void after_fork(void)
{
    (void)pthread_mutex_unlock(&mutex);
}
static void in_fork_child(void)
{
    struct watch *w;
    while ((w = take_out(&watches))) {
        cvy_os_close_kept(&w->fd);
        cvy_free(w);
    }
    (void)pthread_mutex_unlock(&mutex);
}

/* ---- making one ---------------------------------------------------------------- */

/* mutex held. */
static int new_watch(covey_queue *queue, struct watch **ret_watch)
{
    struct watch *w = cvy_calloc(1, sizeof *w);
    if (!w)
        return -ENOMEM;
    w->queue = queue;
    int r = cvy_os_flag_create();
    w->fd = cvy_os_keep(r);
    if (r >= 0)
        r = cvy_os_run_aside(watch_queue, w);
    if (r < 0) {
        cvy_os_close_kept(&w->fd);
        cvy_free(w);
        return r;
    }
    w->next = watches;
    watches = w;
    atomic_fetch_add(&cvy_queue_watches, 1);
    *ret_watch = w;
    return 0;
}

/* mutex held. */
static void prepare(void)
{
    if (prepared)
        return;
    prepared = true;
    next_on_leave = cvy_on_leave;
    cvy_on_leave = end_all;
    (void)pthread_atfork(before_fork, after_fork, in_fork_child);
}

int covey_queue_fd(covey_queue *queue, int *ret_fd)
{
    static const char call[] = "covey_queue_fd";
    int r = cvy_queue_enter(queue, call);
    if (r >= 0 && !ret_fd)
        r = cvy_fail(-EINVAL, "%s: ret_fd is NULL", call);
    if (r < 0)
        return r;
    (void)pthread_mutex_lock(&mutex);
    prepare();
    struct watch *w = *find(queue);
    if (!w)
        r = new_watch(queue, &w);
    if (r >= 0)
        *ret_fd = w->fd.fd;
    (void)pthread_mutex_unlock(&mutex);
    return r < 0 ? cvy_fail_os(r, "%s: a descriptor for queue %s", call, queue->name)
                 : 0;
}
