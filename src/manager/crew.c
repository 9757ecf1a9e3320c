/* SPDX-License-Identifier: MIT */
/* crew.c: pools of a manager; see crew.h. The pool has no thread of its own: the server's
 * loop polls its descriptor and dispatches. */
#include "manager/crew.h"

#include <errno.h>
#include <pthread.h>

#include "base/base.h"
#include "base/error.h"
#include "base/log.h"
#include "base/memory.h"
#include "manager/pool_end.h"
#include "os/os.h"

/* What a pool has at a time. The loop submits that much, and collects as much, before others
 * get their turn; workers want so much to be busy until it is theirs again. */
#define MOST_OUT       ((size_t)128)
#define OUT_PER_WORKER ((size_t)4)
#define MOST_OUT_BYTES ((size_t)64 << 20)
/* What it tries to submit in a turn: parts that fail at once are never out. */
#define MOST_TRIED ((size_t)1024)

struct cvy_crews {
    pthread_mutex_t mutex; /* of `ended` and `ending` */
    pthread_cond_t is_done;
    struct cvy_crew *ended;
    size_t ending;
    size_t workers;          /* of all pools; this and what follows is the loop's */
    struct cvy_crew *hungry; /* to be fed in the next turn */
    struct cvy_crew *gone;   /* to be freed when no event is about them any more */
};

static struct cvy_crews *crews_of(struct cvy_server *server)
{
    if (server->crews)
        return server->crews;
    struct cvy_crews *crews = cvy_calloc(1, sizeof *crews);
    if (!crews)
        return NULL;
    (void)pthread_mutex_init(&crews->mutex, NULL);
    (void)pthread_cond_init(&crews->is_done, NULL);
    server->crews = crews;
    return crews;
}

/* ---- making ---- */

/* Workers are processes, whatever children of this program are else: threads could be
 * neither killed nor told from the manager. */
static int choose_method(enum covey_start_method *ret)
{
    int r = covey_get_start_method(0, ret);
    if (r >= 0 && *ret == COVEY_THREAD)
        *ret = COVEY_FORK;
    return r;
}

static int make_pool(struct cvy_crew *crew, const struct cvy_crew_plan *plan)
{
    struct covey_bytes initarg = {0};
    struct covey_pool_opts opts = {
        .size = sizeof opts,
        .max_tasks = plan->max_tasks,
        .max_workers = crew->workers,
        .own_loop = COVEY_ON,
        .initializer = cvy_function_initialize,
    };
    int fd, r = choose_method(&opts.method);
    if (r >= 0)
        r = cvy_function_initarg(opts.method == COVEY_FORK ? crew->server : NULL,
                                 plan->initializer, plan->initargs, &initarg);
    opts.initarg = COVEY_VIEW(initarg.data, initarg.size);
    if (r >= 0)
        r = covey_pool_create(&crew->pool, crew->workers, &opts);
    covey_bytes_free(&initarg);
    if (r >= 0)
        r = covey_pool_fd(crew->pool, &fd);
    if (r >= 0)
        r = cvy_os_events_add(crew->server->events, fd, CVY_OS_CAN_READ, &crew->source);
    if (r < 0) {
        covey_pool_free(crew->pool);
        cvy_detail_prefix("Pool");
    }
    return r;
}

int cvy_crew_make(struct cvy_call *call, const struct cvy_crew_plan *plan,
                  struct cvy_crew **ret)
{
    struct cvy_server *server = call->server;
    if (!server || server->flag < 0)
        return cvy_raise(call, "NotImplementedError",
                         "a Pool needs a manager's server");
    if (!server->registry->functions)
        return cvy_raise(call, "NotImplementedError",
                         "a Pool has nothing to call: the manager's program has "
                         "registered no functions");
    struct cvy_crews *crews = crews_of(server);
    struct cvy_crew *crew = crews ? cvy_calloc(1, sizeof *crew) : NULL;
    if (!crew)
        return cvy_fail(-ENOMEM, "no memory for a Pool");
    size_t workers = plan->workers;
    int r = workers ? 0 : covey_cpu_count(&workers);
    if (r >= 0 && workers > server->limits.max_workers - crews->workers)
        r = cvy_raise(call, "RuntimeError",
                      "the manager's pools have %zu workers, %zu more are over its "
                      "limit of %zu",
                      crews->workers, workers, server->limits.max_workers);
    crew->source.kind = CVY_SOURCE_CREW;
    crew->server = server;
    crew->workers = workers;
    crew->is_hosted = true;
    if (!r)
        r = make_pool(crew, plan);
    if (r) {
        cvy_free(crew);
        return r;
    }
    crews->workers += workers;
    *ret = crew;
    return 0;
}

/* ---- ending ---- */

static void note_ended(struct cvy_crew *crew)
{
    struct cvy_crews *crews = crew->server->crews;
    int flag = crew->server->flag;
    (void)pthread_mutex_lock(&crews->mutex);
    crew->next_ended = crews->ended;
    crews->ended = crew;
    crews->ending--;
    cvy_os_flag_raise(flag); /* under the lock: the server waits for it at its end */
    (void)pthread_cond_signal(&crews->is_done);
    (void)pthread_mutex_unlock(&crews->mutex);
}

static void *run_end(void *arg)
{
    struct cvy_crew *crew = arg;
    cvy_pool_end(crew->pool, crew->is_done);
    note_ended(crew);
    return NULL;
}

static void begin_end(struct cvy_crew *crew)
{
    struct cvy_crews *crews = crew->server->crews;
    int fd;
    crew->ends = true;
    crew->is_done = crew->state == CVY_CREW_CLOSED && !crew->errands;
    while (crew->errands)
        cvy_errand_cancel(crew->errands);
    for (struct cvy_task *t = crew->tasks; t; t = t->next)
        t->errand = NULL;
    crew->tasks = NULL;
    if (covey_pool_fd(crew->pool, &fd) >= 0)
        cvy_os_events_remove(crew->server->events, fd);
    (void)pthread_mutex_lock(&crews->mutex);
    crews->ending++;
    (void)pthread_mutex_unlock(&crews->mutex);
    if (cvy_os_run_aside(run_end, crew) >= 0)
        return;
    (void)covey_log(COVEY_LOG_WARNING, "manager %s: waits for the end of a pool",
                    crew->server->address);
    covey_pool_free(crew->pool); /* without a thread everybody waits for it */
    note_ended(crew);
}

/* Whether it is to end. What nobody can ask for any more is not waited for. */
static bool is_over(const struct cvy_crew *crew)
{
    if (crew->state == CVY_CREW_TERMINATED)
        return true;
    return !crew->errands ? crew->state == CVY_CREW_CLOSED || !crew->is_hosted
                          : !crew->is_hosted && !crew->wanted;
}

/* What was tried in this turn. */
struct meal {
    size_t parts, bytes;
};

static bool is_sated(const struct meal *meal)
{
    return meal->parts >= MOST_TRIED || meal->bytes >= MOST_OUT_BYTES;
}

static bool can_eat(const struct cvy_crew *crew, const struct meal *meal)
{
    size_t most = cvy_max_size(MOST_OUT, OUT_PER_WORKER * crew->workers);
    return crew->out < most && crew->out_bytes < MOST_OUT_BYTES && !is_sated(meal);
}

/* The next turn goes on, when others have had theirs. */
static void feed_later(struct cvy_crew *crew)
{
    struct cvy_crews *crews = crew->server->crews;
    if (crew->is_hungry)
        return;
    crew->is_hungry = true;
    crew->next_hungry = crews->hungry;
    crews->hungry = crew;
    cvy_os_flag_raise(crew->server->flag);
}

static void feed(struct cvy_crew *crew)
{
    struct meal meal = {0};
    struct cvy_errand *errand = crew->errands, *next;
    for (; errand && can_eat(crew, &meal); errand = next) {
        next = errand->next;
        cvy_errand_ref(errand); /* its last part may finish it */
        for (; errand->next_part < errand->parts && can_eat(crew, &meal); meal.parts++)
            meal.bytes += cvy_errand_submit(errand);
        cvy_errand_drop(errand);
    }
    if (is_sated(&meal) && crew->errands)
        feed_later(crew);
}

void cvy_crew_settle(struct cvy_crew *crew)
{
    if (crew->ends)
        return;
    feed(crew);
    if (is_over(crew))
        begin_end(crew);
}

void cvy_crew_close(struct cvy_crew *crew)
{
    if (crew->state == CVY_CREW_RUNS)
        crew->state = CVY_CREW_CLOSED;
    cvy_crew_settle(crew);
}

void cvy_crew_terminate(struct cvy_crew *crew)
{
    crew->state = CVY_CREW_TERMINATED;
    cvy_crew_settle(crew);
}

static void bury(struct cvy_crew *crew)
{
    struct cvy_crews *crews = crew->server->crews;
    crew->next_ended = crews->gone;
    crews->gone = crew;
}

void cvy_crew_drop(struct cvy_crew *crew)
{
    crew->is_hosted = false;
    if (crew->has_ended)
        bury(crew);
    else
        cvy_crew_settle(crew);
}

/* ---- for the server ---- */

void cvy_crew_ready(struct cvy_crew *crew)
{
    if (crew->ends)
        return; /* the event came before that */
    int r = covey_pool_dispatch(crew->pool, COVEY_NOWAIT);
    if (r < 0 && r != -ETIMEDOUT) { /* nothing would come of it, in any turn */
        (void)covey_log(COVEY_LOG_ERROR, "manager %s: a pool ends: %s",
                        crew->server->address, covey_error_detail());
        crew->state = CVY_CREW_TERMINATED;
    }
    cvy_crew_settle(crew);
}

/* Before those that have ended are looked at: none of them is hungry then. */
static void feed_hungry(struct cvy_crews *crews)
{
    struct cvy_crew *crew = crews->hungry, *next;
    crews->hungry = NULL;
    for (; crew; crew = next) {
        next = crew->next_hungry;
        crew->is_hungry = false;
        cvy_crew_settle(crew);
    }
}

void cvy_crews_collect(struct cvy_server *server)
{
    struct cvy_crews *crews = server->crews;
    if (!crews)
        return;
    feed_hungry(crews);
    (void)pthread_mutex_lock(&crews->mutex);
    struct cvy_crew *ended = crews->ended, *next;
    crews->ended = NULL;
    (void)pthread_mutex_unlock(&crews->mutex);
    for (; ended; ended = next) {
        next = ended->next_ended;
        ended->has_ended = true;
        crews->workers -= ended->workers;
        cvy_wake_all(&ended->ends_awaited);
        if (!ended->is_hosted)
            bury(ended);
    }
}

void cvy_crews_sweep(struct cvy_server *server)
{
    struct cvy_crews *crews = server->crews;
    while (crews && crews->gone) {
        struct cvy_crew *crew = crews->gone;
        crews->gone = crew->next_ended;
        cvy_free(crew);
    }
}

void cvy_crews_stop(struct cvy_server *server)
{
    struct cvy_crews *crews = server->crews;
    if (!crews)
        return;
    (void)pthread_mutex_lock(&crews->mutex);
    while (crews->ending > 0)
        (void)pthread_cond_wait(&crews->is_done, &crews->mutex);
    (void)pthread_mutex_unlock(&crews->mutex);
    cvy_crews_collect(server);
    cvy_crews_sweep(server);
    (void)pthread_mutex_destroy(&crews->mutex);
    (void)pthread_cond_destroy(&crews->is_done);
    cvy_free(crews);
    server->crews = NULL;
}
