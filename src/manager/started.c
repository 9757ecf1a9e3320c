/* SPDX-License-Identifier: MIT */
/* started.c: the managers that this process has started, and their ends.
 *
 * One is in the list while it runs, while a call uses it, and until its handle is gone: so
 * covey_manager_join can be asked again, and at the same time as others end it. Its process
 * goes with the last call that uses it after its end. */
#include "manager/started.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/log.h"
#include "base/memory.h"
#include "manager/client.h"
#include "manager/stop.h"
#include "os/fork.h"
#include "os/os.h"

#include <covey/manager.h>

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct cvy_started *list;

__attribute__((constructor)) static void guard_forks(void)
{
    static struct cvy_os_fork_guard guard = {.mutex = &mutex};
    cvy_os_guard_forks(&guard);
}

static void end_process(covey_process *process, int64_t deadline)
{
    int r = covey_process_join(process, cvy_os_time_left(deadline));
    if (r == -ETIMEDOUT) {
        (void)covey_process_terminate(process);
        r = covey_process_join(process, CVY_END_PATIENCE);
    }
    if (r == -ETIMEDOUT) {
        (void)covey_log(COVEY_LOG_WARNING, "%s did not end by SIGTERM and is killed",
                        covey_process_name(process));
        (void)covey_process_kill(process);
        (void)covey_process_join(process, COVEY_FOREVER);
    }
}

void cvy_started_free(struct cvy_started *s)
{
    covey_process_free(s->process);
    cvy_free(s);
}

/* A thread cannot be ended from outside: it stops when the method that runs returns.
 * Returns: 0; -ETIMEDOUT: it is a thread that still runs. */
static int await_end(const struct cvy_started *s, int64_t deadline)
{
    if (!s->process)
        return 0;
    if (!s->is_thread) {
        end_process(s->process, deadline);
        return 0;
    }
    cvy_serve_stop(s->ticket);
    if (covey_process_join(s->process, cvy_os_time_left(deadline)) != -ETIMEDOUT)
        return 0;
    return cvy_fail(-ETIMEDOUT, "%s, a thread, still runs a method",
                    covey_process_name(s->process));
}

/* The same when nobody can ask for its end again. */
static void await_for_good(const struct cvy_started *s, int64_t deadline)
{
    if (await_end(s, deadline) < 0)
        (void)covey_log(COVEY_LOG_WARNING, "%s; it ends later", covey_error_detail());
}

void cvy_started_end_for_good(struct cvy_started *s, int64_t deadline)
{
    await_for_good(s, deadline);
    cvy_started_free(s);
}

/* ---- the list ---- */

static bool runs(const struct cvy_started *s, const covey_manager *unused)
{
    (void)unused;
    return !s->has_ended;
}

static bool is_of(const struct cvy_started *s, const covey_manager *handle)
{
    return s->handle == handle && s->serial == handle->serial;
}

static bool is_of_or_there(const struct cvy_started *s, const covey_manager *handle)
{
    return is_of(s, handle) ||
           (!s->has_ended && strcmp(s->address, handle->address) == 0);
}

/* The newest of this process's that fits, rather one that runs; see leave. */
static struct cvy_started *use(bool (*fits)(const struct cvy_started *,
                                            const covey_manager *),
                               const covey_manager *handle)
{
    struct cvy_started *found = NULL;
    int pid = cvy_os_pid();
    (void)pthread_mutex_lock(&mutex);
    for (struct cvy_started *s = list; s; s = s->next)
        if (s->pid == pid && fits(s, handle) &&
            (!found || (found->has_ended && !s->has_ended)))
            found = s;
    if (found)
        found->users++;
    (void)pthread_mutex_unlock(&mutex);
    return found;
}

void cvy_started_sweep(void)
{
    struct cvy_started *done = NULL;
    int pid = cvy_os_pid();
    (void)pthread_mutex_lock(&mutex);
    for (struct cvy_started **link = &list, *s = *link; s; s = *link) {
        if (s->pid != pid || !s->has_ended || s->users ||
            cvy_manager_is(s->handle, s->serial)) {
            link = &s->next;
            continue;
        }
        *link = s->next;
        s->next = done;
        done = s;
    }
    (void)pthread_mutex_unlock(&mutex);
    for (struct cvy_started *s = done; s; s = done) {
        done = s->next;
        cvy_started_free(s);
    }
}

/* It has ended: keep how, unless another call has. */
static void note_end(struct cvy_started *s)
{
    struct covey_process_report report;
    char how[sizeof s->how] = "";
    int code = 0;
    if (s->process && covey_process_exitcode(s->process, &code) >= 0 && code != 0)
        (void)snprintf(how, sizeof how, "%s",
                       covey_process_report(s->process, &report) < 0
                           ? covey_error_detail()
                           : report.text);
    (void)pthread_mutex_lock(&mutex);
    if (!s->has_ended)
        memcpy(s->how, how, sizeof how);
    s->has_ended = true;
    (void)pthread_mutex_unlock(&mutex);
}

static void leave(struct cvy_started *s)
{
    covey_process *ended = NULL;
    (void)pthread_mutex_lock(&mutex);
    if (--s->users == 0 && s->has_ended) {
        ended = s->process;
        s->process = NULL;
    }
    (void)pthread_mutex_unlock(&mutex);
    covey_process_free(ended);
    cvy_started_sweep();
}

/* ---- their ends ---- */

int cvy_started_end(const covey_manager *manager, int64_t deadline, bool was_asked)
{
    struct cvy_started *s = use(is_of_or_there, manager);
    if (!s)
        return 0;
    int r = await_end(s, was_asked || s->is_thread ? deadline : 0);
    if (r >= 0)
        note_end(s);
    leave(s);
    return r < 0 ? r : 1;
}

int covey_manager_join(covey_manager *manager, covey_nsec timeout)
{
    static const char call[] = "covey_manager_join";
    int r = cvy_sync_enter(manager, CVY_KIND_MANAGER, call);
    if (r < 0)
        return r;
    struct cvy_started *s = use(is_of, manager);
    if (!s)
        return cvy_fail(COVEY_ENOTOWNER, "%s: this process has not started manager %s",
                        call, manager->address);
    r = s->process ? covey_process_join(s->process, timeout) : 0;
    if (r >= 0) {
        note_end(s);
        r = s->how[0] ? cvy_fail(COVEY_ECRASHED, "%s", s->how) : 0;
    } else if (r == -ETIMEDOUT) {
        r = cvy_fail(r, "%s still runs", covey_process_name(s->process));
    }
    if (r < 0)
        cvy_detail_prefix("%s", call);
    leave(s);
    return r;
}

/* At the end of this process: all of them, before it waits for its children. */
static int end_all(struct covey_view unused)
{
    (void)unused;
    covey_manager_stop(); /* those in threads */
    for (struct cvy_started *s; (s = use(runs, NULL));) {
        (void)covey_process_terminate(s->process);
        await_for_good(s, cvy_os_deadline(CVY_END_PATIENCE));
        note_end(s);
        leave(s);
    }
    return 0;
}

int cvy_started_note(struct cvy_started *s, const covey_manager *handle)
{
    static _Atomic int hooked; /* pid of the process that has the hook */
    int me = cvy_os_pid(), was = atomic_exchange(&hooked, me);
    int r = was == me ? 0 : covey_at_exit(end_all, COVEY_NO_VIEW, 0);
    if (r < 0)
        return r;
    cvy_started_sweep();
    s->pid = me;
    s->handle = handle;
    s->serial = handle->serial;
    (void)pthread_mutex_lock(&mutex);
    s->next = list;
    list = s;
    (void)pthread_mutex_unlock(&mutex);
    return 0;
}
