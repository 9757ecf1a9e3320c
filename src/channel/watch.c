/* SPDX-License-Identifier: MIT */
/* watch.c: see watch.h.
 *
 * A watch is an eventfd and a thread of this process for one object. The thread is set
 * aside: it sleeps on `items` as a getter does, but counts neither as somebody who could
 * still put, nor as one who uses the family.
 *
 *   lowered: the thread sleeps on `items`; when it finds the object ready it raises
 *   raised:  the thread sleeps on `turn`; a get of this process that leaves the object
 *            not ready lowers, looks once more, and gives the thread its turn
 *
 * `mutex` protects the list and who raises and lowers. A fork child has no threads of its
 * parent's: it closes its copies of the descriptors and begins with none. */
#include "channel/watch.h"

#include <errno.h>
#include <pthread.h>

#include "base/error.h"
#include "base/memory.h"
#include "channel/queue.h"
#include "os/fork.h"
#include "os/socket.h"
#include "region/wait.h"

struct watch {
    struct watch *next;
    void *object;
    cvy_word *items;
    cvy_watch_look_fn *is_ready;
    struct cvy_os_kept_fd fd;
    bool raised;      /* under mutex */
    cvy_word turn;    /* changes when the thread is to look */
    cvy_word stops;   /* 1: the thread is to end */
    cvy_word is_over; /* 1: it touches this no more */
    cvy_word is_up;   /* 1: `result` says whether the thread can look */
    int result;
};

_Atomic uint32_t cvy_watches;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct watch *watches;

static void give_turn(struct watch *w)
{
    atomic_fetch_add(&w->turn, 1);
    (void)cvy_os_futex_wake(&w->turn, 1);
}

/* mutex held. Returns: whether it is raised now. The program may have closed it. */
static bool raise_if_ready(struct watch *w)
{
    if (!w->raised && w->is_ready(w->object)) {
        w->raised = true;
        if (cvy_os_is_kept(&w->fd))
            cvy_os_flag_raise(w->fd.fd);
    }
    return w->raised;
}

static void lower_if_not_ready(struct watch *w)
{
    if (!w->raised || w->is_ready(w->object))
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
    uint32_t turn = atomic_load(&w->turn), gong = cvy_gong();
    struct cvy_os_wait waits[2] = {{w->items, cvy_waiters_announce(w->items)},
                                   {&w->turn, turn}};
    (void)pthread_mutex_lock(&mutex);
    bool stops = atomic_load(&w->stops);
    bool raised = !stops && raise_if_ready(w);
    (void)pthread_mutex_unlock(&mutex);
    /* This thread may have been woken in place of one that gets. */
    if (raised)
        cvy_waiters_wake(w->items, 1);
    if (raised)
        (void)cvy_os_futex_waitv(&waits[1], 1, INT64_MAX);
    else if (!stops)
        (void)cvy_sleep_many(waits, 2, gong, INT64_MAX, cvy_ref_of(w->object));
}

static void *watch(void *arg)
{
    struct watch *w = arg;
    cvy_os_set_comm("covey-watch");
    int r = w->result = cvy_enter();
    if (r >= 0)
        cvy_thread_set_aside();
    atomic_store(&w->is_up, 1);
    (void)cvy_os_futex_wake(&w->is_up, 1); /* a mere number, too, if it failed */
    if (r < 0)
        return NULL;
    while (!atomic_load(&w->stops))
        look_once(w);
    cvy_thread_detach();
    atomic_store(&w->is_over, 1);
    /* A mere number if it was freed meanwhile. */
    (void)cvy_os_futex_wake(&w->is_over, 1);
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

static struct watch **find(const void *object)
{
    struct watch **place = &watches;
    while (*place && (*place)->object != object)
        place = &(*place)->next;
    return place;
}

static struct watch *take_out(struct watch **place)
{
    struct watch *w = *place;
    if (w) {
        *place = w->next;
        atomic_fetch_sub(&cvy_watches, 1);
    }
    return w;
}

void cvy_watch_look(const void *object)
{
    (void)pthread_mutex_lock(&mutex);
    struct watch *w = *find(object);
    if (w)
        lower_if_not_ready(w);
    (void)pthread_mutex_unlock(&mutex);
}

void cvy_watch_end(const void *object)
{
    if (!atomic_load(&cvy_watches))
        return;
    (void)pthread_mutex_lock(&mutex);
    struct watch *w = take_out(find(object));
    (void)pthread_mutex_unlock(&mutex);
    if (w)
        end_watch(w);
}

int cvy_watch_release(void *object)
{
    if (atomic_load(&cvy_watches) && cvy_object_release_spare(object) > 0)
        return 0;
    cvy_watch_end(object);
    return cvy_object_release(object);
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
}

static void in_fork_child(void)
{
    struct watch *w;
    while ((w = take_out(&watches))) {
        cvy_os_close_kept(&w->fd);
        cvy_free(w);
    }
}

__attribute__((constructor)) static void guard_forks(void)
{
    static struct cvy_os_fork_guard guard = {.mutex = &mutex,
                                             .in_child = in_fork_child};
    cvy_os_guard_forks(&guard);
}

/* ---- making one ---------------------------------------------------------------- */

/* Returns: 0; why it cannot look, so that it has ended. */
static int await_thread(struct watch *w)
{
    struct cvy_os_wait wait = {&w->is_up, 0};
    while (!atomic_load(&w->is_up))
        (void)cvy_os_futex_waitv(&wait, 1, INT64_MAX);
    return w->result;
}

/* A new descriptor has this number: whoever had it before was closed by the program, which
 * cannot be seen by the descriptor, since all eventfds look alike. */
static void forget_number(int fd)
{
    for (struct watch *w = watches; w; w = w->next)
        if (w->fd.fd == fd)
            w->fd.fd = -1;
}

/* mutex held. */
static int new_watch(struct watch **ret_watch, void *object, cvy_word *items,
                     cvy_watch_look_fn *is_ready)
{
    struct watch *w = cvy_calloc(1, sizeof *w);
    if (!w)
        return -ENOMEM;
    w->object = object;
    w->items = items;
    w->is_ready = is_ready;
    int r = cvy_os_flag_create();
    if (r >= 0)
        forget_number(r);
    w->fd = cvy_os_keep(r);
    if (r >= 0)
        (void)raise_if_ready(w); /* it is right from the start */
    if (r >= 0)
        r = cvy_os_run_aside(watch, w);
    if (r >= 0)
        r = await_thread(w);
    if (r < 0) {
        cvy_os_close_kept(&w->fd);
        cvy_free(w);
        return r;
    }
    w->next = watches;
    watches = w;
    atomic_fetch_add(&cvy_watches, 1);
    *ret_watch = w;
    return 0;
}

int cvy_watch_fd(void *object, cvy_word *items, cvy_watch_look_fn *is_ready,
                 int *ret_fd)
{
    int r = 0;
    struct watch *lost = NULL;
    cvy_leave_add(end_all);
    (void)pthread_mutex_lock(&mutex);
    struct watch *w = *find(object);
    if (w && !cvy_os_is_kept(&w->fd)) { /* the program has closed it */
        lost = take_out(find(object));
        lost->fd.fd = -1;
        w = NULL;
    }
    if (!w)
        r = new_watch(&w, object, items, is_ready);
    if (r >= 0)
        *ret_fd = w->fd.fd;
    (void)pthread_mutex_unlock(&mutex);
    if (lost)
        end_watch(lost);
    return r;
}

static bool queue_is_ready(void *queue)
{
    covey_queue *q = queue;
    return atomic_load(&q->closed) || !cvy_ring_is_empty(&q->ring);
}

int covey_queue_fd(covey_queue *queue, int *ret_fd)
{
    static const char call[] = "covey_queue_fd";
    int r = cvy_queue_enter(queue, call);
    if (r >= 0 && !ret_fd)
        r = cvy_fail(-EINVAL, "%s: ret_fd is NULL", call);
    if (r < 0)
        return r;
    r = cvy_watch_fd(queue, &queue->items, queue_is_ready, ret_fd);
    return r < 0 ? cvy_fail_os(r, "%s: a descriptor for queue %s", call, queue->name)
                 : 0;
}
