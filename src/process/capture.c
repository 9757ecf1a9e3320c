/* SPDX-License-Identifier: MIT */
/* capture.c: the last bytes a child writes to its stderr.
 *
 *   child: 2 --> pipe --> reader thread --> the old 2, and the tail in shared memory
 *
 * Whatever the reader has not taken from the pipe when the child dies is taken by the
 * creator, who holds the read end too: nothing is lost by a SIGKILL. The tail is a ring
 * of CVY_TAIL_BYTES, `tail_written` counts all bytes ever. */
#include "base/base.h"
#include "base/error.h"
#include "process/process.h"
#include <string.h>

static struct covey_process *process;
static int from = -1, to = -1;
static pthread_mutex_t draining = PTHREAD_MUTEX_INITIALIZER;

static void keep(struct covey_process *p, const char *data, size_t size)
{
    char *ring = (char *)cvy_at(p->crash) + CVY_BACKTRACE_BYTES;
    uint64_t written = atomic_load(&p->tail_written);
    for (size_t i = 0; i < size;) {
        size_t at = (written + i) % CVY_TAIL_BYTES;
        size_t n = cvy_min_size(size - i, CVY_TAIL_BYTES - at);
        memcpy(ring + at, data + i, n);
        i += n;
    }
    atomic_store(&p->tail_written, written + size);
}

static void drain(struct covey_process *p, int read_end, int write_end)
{
    char buffer[1024];
    for (;;) {
        ssize_t n = cvy_os_read_now(read_end, buffer, sizeof buffer);
        if (n <= 0)
            return;
        keep(p, buffer, (size_t)n);
        (void)cvy_os_write_all(write_end, buffer, (size_t)n);
    }
}

static void drain_own(void)
{
    (void)pthread_mutex_lock(&draining);
    if (from >= 0)
        drain(process, from, to);
    (void)pthread_mutex_unlock(&draining);
}

static void *read_on(void *unused)
{
    while (cvy_os_poll_in(from, INT64_MAX) > 0)
        drain_own();
    return unused;
}

int cvy_capture_begin(struct covey_process *p, int read_end, int write_end)
{
    pthread_t thread;
    process = p;
    from = read_end;
    to = cvy_os_dup(2, 3);
    if (to < 0) { /* stderr is closed: keep the tail, show nothing */
        to = cvy_os_open_null();
        if (to < 0)
            return cvy_fail_os(to, "capturing stderr: a descriptor");
    }
    int r = cvy_os_dup_to(write_end, 2);
    if (r < 0)
        return cvy_fail_os(r, "capturing stderr: dup2");
    cvy_os_close(write_end);
    r = -pthread_create(&thread, NULL, read_on, NULL);
    if (r < 0)
        return cvy_fail_os(r, "capturing stderr: a thread");
    (void)pthread_detach(thread);
    return 0;
}

void cvy_capture_finish(void)
{
    drain_own();
}

void cvy_capture_collect(struct covey_process *p, int read_end)
{
    if (read_end >= 0)
        drain(p, read_end, 2);
}
