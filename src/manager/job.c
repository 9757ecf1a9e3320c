/* SPDX-License-Identifier: MIT */
/* job.c: methods that block, in threads of their own.
 *
 *   queued --> running --> done (in the list, the flag is raised) --> collected
 *
 * A job belongs to its thread until it is in the list of those that are done, then to the
 * server. Its call is parked meanwhile. If that is cancelled the job is told and goes on
 * alone: it has references of its own of all that it uses, and keeps the object busy. */
#include "manager/job.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "base/base.h"
#include "base/log.h"
#include "base/memory.h"
#include "manager/server.h"
#include "os/os.h"

#define MOST_THREADS 64

struct cvy_job {
    struct cvy_job *next;
    covey_request request; /* its args are references of its own */
    struct cvy_jobs *jobs;
    struct cvy_server *server;
    struct cvy_hosted *hosted;
    struct cvy_call *call;     /* NULL: cancelled */
    struct cvy_waiters caller; /* that call, while it waits */
    covey_method_fn *fn;
    void *self;
    char *client;
    int result;
    bool is_collected; /* its call is woken */
};

struct cvy_jobs {
    pthread_mutex_t mutex; /* of `done` and `running` */
    pthread_cond_t is_done;
    struct cvy_job *done;
    size_t running;
    struct cvy_job *queued, **queued_end; /* the server's */
};

static void free_job(struct cvy_job *job)
{
    covey_value *args, *kwargs;
    memcpy(&args, &job->request.args, sizeof args);
    memcpy(&kwargs, &job->request.kwargs, sizeof kwargs);
    covey_value_free(args);
    covey_value_free(kwargs);
    covey_value_free(job->request.reply);
    cvy_custom_drop_made(&job->request);
    cvy_free(job->client);
    cvy_free(job);
}

/* ---- in its thread ---- */

static void *run_job(void *arg)
{
    struct cvy_job *job = arg;
    struct cvy_jobs *jobs = job->jobs;
    int flag = job->server->flag;
    job->result = job->fn(&job->request, job->self);
    if (job->result < 0) {
        const char *detail = covey_error_detail();
        memcpy(job->request.detail, detail, strnlen(detail, CVY_DETAIL_SIZE - 1));
    }
    (void)pthread_mutex_lock(&jobs->mutex);
    job->next = jobs->done;
    jobs->done = job;
    jobs->running--;
    cvy_os_flag_raise(flag); /* under the lock: the server waits for it at its end */
    (void)pthread_cond_signal(&jobs->is_done);
    (void)pthread_mutex_unlock(&jobs->mutex);
    return NULL;
}

/* ---- in the server's ---- */

static int start_thread(struct cvy_job *job)
{
    (void)pthread_mutex_lock(&job->jobs->mutex);
    job->jobs->running++;
    (void)pthread_mutex_unlock(&job->jobs->mutex);
    int r = cvy_os_run_aside(run_job, job);
    if (r >= 0)
        return 0;
    (void)pthread_mutex_lock(&job->jobs->mutex);
    job->jobs->running--;
    (void)pthread_mutex_unlock(&job->jobs->mutex);
    return cvy_fail_os(r, "a thread for a method that blocks");
}

static struct cvy_jobs *jobs_of(struct cvy_server *server)
{
    if (server->jobs)
        return server->jobs;
    struct cvy_jobs *jobs = cvy_calloc(1, sizeof *jobs);
    if (!jobs)
        return NULL;
    (void)pthread_mutex_init(&jobs->mutex, NULL);
    (void)pthread_cond_init(&jobs->is_done, NULL);
    jobs->queued_end = &jobs->queued;
    server->jobs = jobs;
    return jobs;
}

static struct cvy_job *make_job(struct cvy_call *call, void *self, covey_method_fn *fn)
{
    struct cvy_server *server = call->server;
    struct cvy_jobs *jobs = jobs_of(server);
    struct cvy_job *job = jobs ? cvy_calloc(1, sizeof *job) : NULL;
    if (!job)
        return NULL;
    job->client = cvy_strdup(call->session->name);
    job->request = (covey_request){
        .args = covey_value_ref(call->args),
        .kwargs = covey_value_ref(call->kwds),
        .client = job->client,
        .server = server,
    };
    job->jobs = jobs;
    job->server = server;
    job->hosted = CVY_CONTAINER_OF(call->object, struct cvy_hosted, referent);
    job->call = call;
    job->fn = fn;
    job->self = self;
    if (job->client)
        return job;
    free_job(job);
    return NULL;
}

static int resume_job(struct cvy_call *call, void *self, enum cvy_why why)
{
    struct cvy_job *job = call->kept[0].pointer;
    (void)self;
    if (why == CVY_CANCELLED && job->is_collected) {
        free_job(job);
        return 0;
    }
    if (why == CVY_CANCELLED) {
        job->call = NULL;
        job->hosted->busy++;
        atomic_store(&job->request.cancelled, 1);
        return 0;
    }
    int r = cvy_custom_finish(call, &job->request, job->result);
    free_job(job);
    return r;
}

int cvy_job_start(struct cvy_call *call, void *self, covey_method_fn *fn)
{
    struct cvy_job *job = make_job(call, self, fn);
    if (!job)
        return cvy_fail(-ENOMEM, "no memory for a method that blocks");
    struct cvy_jobs *jobs = job->jobs;
    call->kept[0].pointer = job;
    (void)pthread_mutex_lock(&jobs->mutex);
    bool must_wait = jobs->running >= MOST_THREADS;
    (void)pthread_mutex_unlock(&jobs->mutex);
    int r = must_wait ? 0 : start_thread(job);
    if (r < 0) {
        free_job(job);
        return r;
    }
    if (must_wait) {
        *jobs->queued_end = job;
        jobs->queued_end = &job->next;
    }
    return cvy_park(call, &job->caller, INT64_MAX, resume_job);
}

/* A job of which nobody wants the result. */
static void drop_job(struct cvy_job *job)
{
    struct cvy_server *server = job->server;
    struct cvy_hosted *hosted = job->hosted;
    free_job(job);
    hosted->busy--;
    cvy_hosted_release(server, hosted);
}

static struct cvy_job *next_queued(struct cvy_jobs *jobs)
{
    struct cvy_job *job = jobs->queued;
    jobs->queued = job->next;
    if (!jobs->queued)
        jobs->queued_end = &jobs->queued;
    return job;
}

/* Those that were given up take no room. */
static void start_queued(struct cvy_jobs *jobs, size_t room)
{
    while (jobs->queued && (room > 0 || !jobs->queued->call)) {
        struct cvy_job *job = next_queued(jobs);
        if (!job->call) {
            drop_job(job);
        } else if (start_thread(job) >= 0) {
            room--;
        } else {
            job->result = cvy_last_code();
            job->is_collected = true;
            cvy_wake(job->call);
        }
    }
}

void cvy_custom_collect(struct cvy_server *server)
{
    struct cvy_jobs *jobs = server->jobs;
    if (!jobs)
        return;
    (void)pthread_mutex_lock(&jobs->mutex);
    struct cvy_job *done = jobs->done, *next;
    jobs->done = NULL;
    size_t room = MOST_THREADS - cvy_min_size(jobs->running, MOST_THREADS);
    (void)pthread_mutex_unlock(&jobs->mutex);
    for (; done; done = next) {
        next = done->next;
        done->is_collected = true;
        if (done->call)
            cvy_wake(done->call);
        else
            drop_job(done);
    }
    start_queued(jobs, room);
}

void cvy_custom_stop(struct cvy_server *server)
{
    struct cvy_jobs *jobs = server->jobs;
    if (!jobs)
        return;
    start_queued(jobs, 0); /* all are cancelled, so all go */
    (void)pthread_mutex_lock(&jobs->mutex);
    if (jobs->running > 0)
        (void)covey_log(COVEY_LOG_INFO, "manager %s: waits for %zu methods that run",
                        server->address, jobs->running);
    while (jobs->running > 0)
        (void)pthread_cond_wait(&jobs->is_done, &jobs->mutex);
    (void)pthread_mutex_unlock(&jobs->mutex);
    cvy_custom_collect(server);
    (void)pthread_mutex_destroy(&jobs->mutex);
    (void)pthread_cond_destroy(&jobs->is_done);
    cvy_free(jobs);
    server->jobs = NULL;
}
