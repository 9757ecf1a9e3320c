/* SPDX-License-Identifier: MIT */
/* A program as users write it, with its own main, that tests run in odd ways. It says what
 * covey_init returned, and with the argument "run METHOD" starts a process. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <covey.h>

static int return_five(struct covey_view arg)
{
    (void)arg;
    return 5;
}

/* Prints the exit code of a process, or why it could not be started. */
static void run(const char *method)
{
    struct covey_process_opts opts = {.size = sizeof opts};
    covey_process *p = NULL;
    int code = 0, r = covey_start_method_from_name(method, &opts.method);
    if (r >= 0)
        r = covey_process_create(&p, return_five, COVEY_NO_VIEW, &opts);
    if (r >= 0)
        r = covey_process_start(p);
    if (r >= 0)
        r = covey_process_join(p, COVEY_FOREVER);
    if (r >= 0)
        r = covey_process_exitcode(p, &code);
    if (r < 0)
        printf("%s: %s\n", covey_error_name(r), covey_error_detail());
    else
        printf("exit code %d\n", code);
    covey_process_free(p);
}

int main(int argc, char **argv)
{
    int r = covey_init(argc, argv);
    printf("init %s: %s\n", r == 0 ? "0" : covey_error_name(r), covey_error_detail());
    fflush(stdout);
    if (argc > 2 && strcmp(argv[argc - 2], "run") == 0)
        run(argv[argc - 1]);
    return 0;
}
