/* SPDX-License-Identifier: MIT */
/* A plug-in that uses covey; linked with the archive it brings a copy of its own. */
#include <stdint.h>
#include <unistd.h>

#include <covey.h>

static int return_arg(struct covey_view arg)
{
    return *(const int *)arg.data;
}

/* The exit code of a process that was started by method `method`, or what failed. */
int plugin_run(int method, int code);
int plugin_run(int method, int code)
{
    covey_process *p = NULL;
    int got = 0;
    int r = covey_process_create(
        &p, return_arg, COVEY_VIEW_OF(code),
        COVEY_PROCESS_OPTS(.method = (enum covey_start_method)method));
    if (r >= 0)
        r = covey_process_start(p);
    if (r >= 0)
        r = covey_process_join(p, COVEY_FOREVER);
    if (r >= 0)
        r = covey_process_exitcode(p, &got);
    covey_process_free(p);
    return r < 0 ? r : got;
}

/* Where its family lies. */
uintptr_t plugin_family(void);
uintptr_t plugin_family(void)
{
    return (uintptr_t)covey_current_process() >> 36;
}
