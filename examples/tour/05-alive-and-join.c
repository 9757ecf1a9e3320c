/* SPDX-License-Identifier: MIT */
/*
 * Asking whether a process runs, and waiting for it with a time limit. The child works
 * until a byte comes through a pipe, whose descriptor it inherits by `.fds`.
 */
#include <errno.h>
#include <unistd.h>

#include "tour.h"

static int wait_for_byte(struct covey_view arg)
{
    const int *fd = arg.data;
    char byte;
    return read(*fd, &byte, 1) == 1 ? 3 : 1;
}

int main(int argc, char **argv)
{
    covey_init(argc, argv);

    int fds[2], exitcode;
    if (pipe(fds) < 0)
        return 1;
    covey_process *process;
    must(covey_process_create(&process, wait_for_byte, COVEY_VIEW_OF(fds[0]),
                              COVEY_PROCESS_OPTS(.fds = fds, .fd_count = 1)));
    printf("created: alive %d, ", covey_process_is_alive(process));
    printf("exit code: %s\n",
           covey_strerror(covey_process_exitcode(process, &exitcode)));

    must(covey_process_start(process));
    printf("started: alive %d, ", covey_process_is_alive(process));
    printf("exit code: %s\n",
           covey_error_name(covey_process_exitcode(process, &exitcode)));

    int r = covey_process_join(process, COVEY_MSEC(20));
    printf("join for 20 ms: %s, alive %d\n", covey_error_name(r),
           covey_process_is_alive(process));

    if (write(fds[1], "!", 1) != 1)
        return 1;
    r = covey_process_join(process, COVEY_FOREVER);
    must(covey_process_exitcode(process, &exitcode));
    printf("join: %s, alive %d, exit code %d\n", covey_error_name(r),
           covey_process_is_alive(process), exitcode);
    covey_process_free(process);
}
