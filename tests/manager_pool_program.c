/* SPDX-License-Identifier: MIT */
/* Serves at the address that it is given, with functions under names of Python's, for
 * manager/pools. */
#include <stdio.h>

#include "os/events.h"
#include "pool_functions.h"

static void say_ready(void *context, const char *address)
{
    (void)context;
    printf("serving at %s\n", address);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    covey_init(argc, argv);
    cvy_os_on_terminate(covey_manager_stop);
    if (argc == 2 && functions_register() >= 0 &&
        covey_manager_serve_forever(
            COVEY_MANAGER_OPTS(.address = argv[1], .authkey = COVEY_VIEW("a key", 5),
                               .allow_md5 = COVEY_ON, .ready = say_ready)) >= 0)
        return 0;
    fprintf(stderr, "%s\n", covey_error_detail());
    return 1;
}
