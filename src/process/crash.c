/* SPDX-License-Identifier: MIT */
/* crash.c: a crashing child writes where it crashed into its process object's area, which
 * its creator reads after the end. */
#include "base/base.h"
#include "process/process.h"

static void write_report(int signal, void *context)
{
    (void)context;
    struct covey_process *p = cvy_own()->self;
    if (!p || !p->crash)
        return;
    char *text = cvy_at(p->crash);
    size_t size = cvy_os_backtrace(signal, text, CVY_BACKTRACE_BYTES);
    p->backtrace_size = (uint32_t)size;
}

CVY_CHILD_CODE void cvy_crash_handler_prepare(void)
{
    cvy_os_crash_prepare(write_report);
}

CVY_CHILD_CODE void cvy_crash_handler_install(void)
{
    cvy_crash_handler_prepare(); /* a child by exec */
    cvy_os_on_crash();
}
