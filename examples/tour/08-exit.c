/* SPDX-License-Identifier: MIT */
/*
 * Leaving in order: covey_exit from anywhere, exit hooks by priority, and what happens
 * to children that still run: daemons are ended, the others waited for.
 */
#include <unistd.h>

#include "tour.h"

static int say(struct covey_view arg)
{
    printf("%s: %s\n", covey_process_name(covey_current_process()),
           (const char *)arg.data);
    return 0;
}

static void at_exit(const char *text, int priority)
{
    must(covey_at_exit(say, COVEY_VIEW(text, strlen(text) + 1), priority));
}

static void deep_inside(void)
{
    covey_exit(300); /* modulo 256, as from a return */
}

static int leave_early(struct covey_view arg)
{
    (void)arg;
    at_exit("first come, last served", 0);
    at_exit("last come, first served", 0);
    at_exit("urgent", 10);
    deep_inside();
    return 0;
}

static int sleep_for_ever(struct covey_view arg)
{
    (void)arg;
    while (pause() < 0) /* it returns after a signal that is handled */
        ;
    return 0;
}

int main(int argc, char **argv)
{
    covey_init(argc, argv);
    at_exit("the daemon is gone", -1); /* below 0: after children are ended or joined */
    at_exit("leaving", 0);

    covey_process *process, *daemon;
    int exitcode;
    must(covey_process_create(&process, leave_early, COVEY_NO_VIEW, NULL));
    must(covey_process_start(process));
    must(covey_process_join(process, COVEY_FOREVER));
    must(covey_process_exitcode(process, &exitcode));
    printf("exit code %d\n", exitcode);
    covey_process_free(process);

    must(covey_process_create(&daemon, sleep_for_ever, COVEY_NO_VIEW,
                              COVEY_PROCESS_OPTS(.daemon = COVEY_ON)));
    must(covey_process_start(daemon));
}
