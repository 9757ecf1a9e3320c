/* SPDX-License-Identifier: MIT */
/* report.c: what is known about an ended process, as text. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/base.h"
#include "base/error.h"
#include "process/process.h"
#include "region/object.h"

static size_t tail_size(struct covey_process *p)
{
    return p->crash ? (size_t)cvy_min_u64(atomic_load(&p->tail_written), CVY_TAIL_BYTES)
                    : 0;
}

static void write_tail(struct covey_process *p, char *text, size_t size)
{
    const char *ring = (char *)cvy_at(p->crash) + CVY_BACKTRACE_BYTES;
    uint64_t begin = atomic_load(&p->tail_written) - size;
    for (size_t i = 0; i < size; i++)
        text[i] = ring[(begin + i) % CVY_TAIL_BYTES];
}

static size_t write_line(struct covey_process *p, char *line, size_t size)
{
    char how[48];
    cvy_process_how(p->exit_status, how, sizeof how);
    int n =
        snprintf(line, size, "%s (pid %d) ended with %s%s", p->name, p->pid,
                 cvy_process_has(p, CVY_PROCESS_STATUS_UNKNOWN)
                     ? "an unknown result: the program reaped it first"
                     : how,
                 cvy_process_has(p, CVY_PROCESS_CORE_DUMPED) ? ", core dumped" : "");
    return cvy_min_size((size_t)n, size - 1);
}

/* All three in one run of the object, each with a zero at its end. */
static int make_texts(struct covey_process *p, struct cvy_child *child)
{
    char line[256];
    cvy_ref ref;
    if (child->text)
        return 0;
    size_t tail = tail_size(p), length = write_line(p, line, sizeof line),
           backtrace =
               p->crash ? cvy_min_size(p->backtrace_size, CVY_BACKTRACE_BYTES) : 0;
    int r = cvy_object_add_run(p, tail + backtrace + length + 3, &ref);
    if (r < 0)
        return r;
    char *at = cvy_at(ref);
    memset(at, 0, tail + backtrace + length + 3);
    child->tail = at;
    write_tail(p, at, tail);
    at += tail + 1;
    child->backtrace = at;
    if (backtrace)
        memcpy(at, cvy_at(p->crash), backtrace);
    at += backtrace + 1;
    memcpy(at, line, length);
    child->text = at;
    return 0;
}

int covey_process_report(covey_process *p, struct covey_process_report *ret_report)
{
    static const char call[] = "covey_process_report";
    int r = cvy_process_enter_for(p, call, ret_report,
                                  CVY_WANT_OWNER | CVY_WANT_OPEN | CVY_WANT_STARTED);
    if (r < 0)
        return r;
    if (cvy_process_wait(p, 0) == -ETIMEDOUT)
        return cvy_fail(-EBUSY, "%s: %s still runs", call, p->name);
    struct cvy_child *child = cvy_process_local(p);
    cvy_children_lock();
    r = make_texts(p, child);
    cvy_children_unlock();
    if (r < 0)
        return r;
    *ret_report = (struct covey_process_report){
        .pid = p->pid,
        .exitcode = p->exit_status,
        .core_dumped = cvy_process_has(p, CVY_PROCESS_CORE_DUMPED),
        .user_time = p->user_time,
        .system_time = p->system_time,
        .max_rss = p->max_rss,
        .stderr_tail = child->tail,
        .backtrace = child->backtrace,
        .text = child->text,
    };
    return 0;
}
