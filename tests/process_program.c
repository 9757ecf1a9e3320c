/* SPDX-License-Identifier: MIT */
/* Programs that tests run, or let covey run. Built twice: as process_program, and with
 * NO_INIT as process_no_init, whose main does not call covey_init.
 *
 *   METHOD        start a process by it: exit status 0 and "ok" if it ran,
 *                 else the error's name and the detail
 *   init          what covey_init says
 * PROCESS_PROGRAM in the environment comes first: pause, close, die, or exit. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <covey.h>

static int seven(struct covey_view arg)
{
    (void)arg;
    return 7;
}

static int start(const char *name)
{
    enum covey_start_method method;
    covey_process *p;
    int code = -1, r = covey_start_method_from_name(name, &method);
    if (r >= 0)
        r = covey_process_create(&p, seven, COVEY_NO_VIEW,
                                 COVEY_PROCESS_OPTS(.method = method));
    if (r >= 0)
        r = covey_process_start(p);
    if (r >= 0)
        r = covey_process_join(p, COVEY_FOREVER);
    if (r >= 0)
        r = covey_process_exitcode(p, &code);
    printf("%s\n", r < 0 ? covey_error_name(r) : code == 7 ? "ok" : "wrong code");
    if (r < 0)
        printf("%s\n", covey_error_detail());
    return r < 0 || code != 7;
}

static void behave(const char *how)
{
    if (strcmp(how, "close") == 0)
        close(3);
    if (strcmp(how, "die") == 0)
        raise(SIGKILL);
    if (strcmp(how, "exit") == 0)
        _exit(9);
    for (;;)
        pause();
}

int main(int argc, char **argv)
{
    const char *how = getenv("PROCESS_PROGRAM");
    int r = 0;
    if (how && *how)
        behave(how);
#ifndef NO_INIT
    r = covey_init(argc, argv);
#endif
    const char *what = argc > 1 ? argv[argc - 1] : "init";
    if (strcmp(what, "init") != 0)
        return start(what);
    printf("%s\n", covey_error_name(r));
    return 0;
}
