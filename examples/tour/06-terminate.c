/* SPDX-License-Identifier: MIT */
/* Ending a process from outside; its exit code is then the signal, negative. */
#include <signal.h>
#include <unistd.h>

#include "tour.h"

static int sleep_for_ever(struct covey_view arg)
{
    (void)arg;
    while (pause() < 0) /* it returns after a signal that is handled */
        ;
    return 0;
}

static void show(covey_process *process)
{
    struct covey_bytes text = {0};
    must(covey_process_repr(process, &text));
    printf("%s\n", (const char *)text.data);
    covey_bytes_free(&text);
}

static void run_and_end(int (*end)(covey_process *process))
{
    covey_process *process;
    int exitcode;
    must(covey_process_create(&process, sleep_for_ever, COVEY_NO_VIEW, NULL));
    show(process);
    must(covey_process_start(process));
    show(process);
    must(end(process));
    must(covey_process_join(process, COVEY_FOREVER));
    show(process);
    must(covey_process_exitcode(process, &exitcode));
    printf("exit code %d is -SIGTERM: %d, -SIGKILL: %d\n", exitcode,
           exitcode == -SIGTERM, exitcode == -SIGKILL);
    must(covey_process_close(process));
    show(process);
    covey_process_free(process);
}

int main(int argc, char **argv)
{
    covey_init(argc, argv);
    run_and_end(covey_process_terminate);
    run_and_end(covey_process_kill);
}
