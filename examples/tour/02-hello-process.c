/* SPDX-License-Identifier: MIT */
/* A function runs in a process of its own; its argument travels as bytes. */
#include "tour.h"

static int hello(struct covey_view arg)
{
    const char *name = arg.data;
    printf("hello %s\n", name);
    return 0; /* the exit code */
}

int main(int argc, char **argv)
{
    covey_init(argc, argv); /* a spawned child goes to work here, and never returns */

    const char name[] = "bob";
    covey_process *process;
    must(covey_process_create(&process, hello, COVEY_VIEW_OF(name), NULL));
    must(covey_process_start(process));
    must(covey_process_join(process, COVEY_FOREVER));
    covey_process_free(process);
}
