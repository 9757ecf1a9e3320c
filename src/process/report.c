/* SPDX-License-Identifier: MIT */
/* report.c: what is known about an ended process, as text. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/base.h"
#include "base/error.h"
#include "process/process.h"

static int set_text(struct covey_bytes *bytes, const char *text, size_t size)
{
    int r = covey_bytes_resize(bytes, size + 1);
    if (r < 0)
        return r;
    memcpy(bytes->data, text, size);
    ((char *)bytes->data)[size] = 0;
    return 0;
}

static int set_tail(struct covey_process *p, struct covey_bytes *bytes)
{
    uint64_t written = atomic_load(&p->tail_written);
    size_t size = (size_t)cvy_min_u64(written, CVY_TAIL_BYTES);
    char tail[CVY_TAIL_BYTES];
    const char *ring = (char *)cvy_at(p->crash) + CVY_BACKTRACE_BYTES;
    if (!p->crash)
        size = 0;
    for (size_t i = 0; i < size; i++)
        tail[i] = ring[(written - size + i) % CVY_TAIL_BYTES];
    return set_text(bytes, tail, size);
}

static int set_line(struct covey_process *p, struct covey_bytes *bytes)
{
    char how[48], line[256];
    cvy_process_how(p->exit_status, how, sizeof how);
    int n =
        snprintf(line, sizeof line, "%s (pid %d) ended with %s%s", p->name, p->pid,
                 cvy_process_has(p, CVY_PROCESS_STATUS_UNKNOWN)
                     ? "an unknown result: the program reaped it first"
                     : how,
                 cvy_process_has(p, CVY_PROCESS_CORE_DUMPED) ? ", core dumped" : "");
    return set_text(bytes, line, cvy_min_size((size_t)n, sizeof line - 1));
}

static int make_texts(struct covey_process *p, struct cvy_child *child)
{
    if (child->reported)
        return 0;
    int r = set_tail(p, &child->tail);
    if (r >= 0)
        r = set_text(&child->backtrace, p->crash ? cvy_at(p->crash) : "",
                     p->crash ? cvy_min_size(p->backtrace_size, CVY_BACKTRACE_BYTES)
                              : 0);
    if (r >= 0)
        r = set_line(p, &child->text);
    child->reported = r >= 0;
    return r;
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
        .stderr_tail = child->tail.data,
        .backtrace = child->backtrace.data,
        .text = child->text.data,
    };
    return 0;
}
