/* SPDX-License-Identifier: MIT */
/* Who am I, who started me: ids and names of a parent, a child and a grandchild. */
#include <unistd.h>

#include "tour.h"

static void introduce(void)
{
    covey_process *self = covey_current_process(), *parent = covey_parent_process();
    int parent_pid = 0;
    if (parent)
        must(covey_process_pid(parent, &parent_pid));
    printf("%s: id %d", covey_process_name(self), (int)getpid());
    if (parent)
        printf(", started by %s with id %d", covey_process_name(parent), parent_pid);
    printf("\n");
}

static void run(covey_target_fn *fn, const char *name)
{
    covey_process *process;
    must(covey_process_create(&process, fn, COVEY_NO_VIEW,
                              COVEY_PROCESS_OPTS(.name = name)));
    must(covey_process_start(process));
    must(covey_process_join(process, COVEY_FOREVER));
    covey_process_free(process);
}

static int grandchild(struct covey_view arg)
{
    (void)arg;
    introduce();
    return 0;
}

static int child(struct covey_view arg)
{
    (void)arg;
    introduce();
    run(grandchild, NULL); /* no name of its own: the parent's and a number */
    return 0;
}

int main(int argc, char **argv)
{
    covey_init(argc, argv);
    introduce();
    run(child, NULL);
    run(grandchild, "Huey");
}
