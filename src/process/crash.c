/* SPDX-License-Identifier: MIT */
/* crash.c: a crashing child writes where it crashed into its process object's area, which
 * its creator reads after the end. */
#include "process/process.h"

static struct covey_process *reporting;

static void write_report(int signal, void *context)
{
    (void)context;
    struct covey_process *p = reporting;
    if (!p || !p->crash)
        return;
    char *text = cvy_at(p->crash);
    size_t size = cvy_os_backtrace(signal, text, CVY_BACKTRACE_BYTES);
    p->backtrace_size = (uint32_t)size;
}

void cvy_crash_handler_install(struct covey_process *p)
{
    reporting = p;
    cvy_os_on_crash(write_report);
}
