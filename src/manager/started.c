/* SPDX-License-Identifier: MIT */
/* started.c: the managers that this process has started, and their ends. */
#include "manager/started.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "base/error.h"
#include "base/log.h"
#include "base/memory.h"
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

/* Await its end, and free it then. A thread cannot be ended from outside: it stops when the
 * method that runs returns. Returns: 0; -ETIMEDOUT: it is a thread that still runs. */
static int end_started(struct cvy_started *s, int64_t deadline)
{
    if (!s->is_thread) {
        end_process(s->process, deadline);
    } else {
        cvy_serve_stop(s->ticket);
        if (covey_process_join(s->process, cvy_os_time_left(deadline)) == -ETIMEDOUT)
            return cvy_fail(-ETIMEDOUT, "%s, a thread, still runs a method",
                            covey_process_name(s->process));
    }
    cvy_started_free(s);
    return 0;
}

/* The same when nobody can ask for its end again. */
void cvy_started_end_for_good(struct cvy_started *s, int64_t deadline)
{
    if (end_started(s, deadline) == 0)
        return;
    (void)covey_log(COVEY_LOG_WARNING, "%s; it ends later", covey_error_detail());
    cvy_started_free(s);
}

static void put_in(struct cvy_started *s)
{
    (void)pthread_mutex_lock(&mutex);
    s->next = list;
    list = s;
    (void)pthread_mutex_unlock(&mutex);
}

/* The first of this process's, or the one at this address, out of the list. */
static struct cvy_started *take_out(const char *address)
{
    int pid = cvy_os_pid();
    (void)pthread_mutex_lock(&mutex);
    struct cvy_started **link = &list;
    while (*link &&
           ((*link)->pid != pid || (address && strcmp((*link)->address, address) != 0)))
        link = &(*link)->next;
    struct cvy_started *s = *link;
    if (s)
        *link = s->next;
    (void)pthread_mutex_unlock(&mutex);
    return s;
}

int cvy_started_end(const char *address, int64_t deadline, bool was_asked)
{
    struct cvy_started *s = take_out(address);
    if (!s)
        return 0;
    int r = end_started(s, was_asked || s->is_thread ? deadline : 0);
    if (r < 0)
        put_in(s);
    return r < 0 ? r : 1;
}

/* At the end of this process: all of them, before it waits for its children. */
static int end_all(struct covey_view unused)
{
    (void)unused;
    covey_manager_stop(); /* those in threads */
    for (struct cvy_started *s = take_out(NULL); s; s = take_out(NULL)) {
        (void)covey_process_terminate(s->process);
        cvy_started_end_for_good(s, cvy_os_deadline(CVY_END_PATIENCE));
    }
    return 0;
}

int cvy_started_note(struct cvy_started *s)
{
    static _Atomic int hooked; /* pid of the process that has the hook */
    int me = cvy_os_pid(), was = atomic_exchange(&hooked, me);
    int r = was == me ? 0 : covey_at_exit(end_all, COVEY_NO_VIEW, 0);
    if (r < 0)
        return r;
    s->pid = me;
    put_in(s);
    return 0;
}
