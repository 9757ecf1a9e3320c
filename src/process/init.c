/* SPDX-License-Identifier: MIT */
/* init.c: covey_init, and what later starts need of the program's arguments. */
#include <errno.h>

#include "base/error.h"
#include "base/memory.h"
#include "process/message.h"

static bool called;
static const char *argv0 = "covey";
static char *executable;

bool cvy_init_was_called(void)
{
    return called;
}
const char *cvy_init_argv0(void)
{
    return argv0;
}
const char *cvy_executable(void)
{
    return executable;
}

int covey_init(int argc, char **argv)
{
    if (argc < 0 || (argc > 0 && !argv))
        return cvy_fail(-EINVAL, "covey_init: %d arguments at %p", argc, (void *)argv);
    if (argc > 0 && argv[0])
        argv0 = argv[0];
    called = true;
    int r = cvy_image_live(argc, argv); /* of a child it does not return */
    called = r >= 0; /* who only claims to be one shall not start others like it */
    return r;
}

int covey_set_executable(const char *path)
{
    if (path && !*path)
        return cvy_fail(-EINVAL, "covey_set_executable: the path is empty");
    char *copy = path ? cvy_strdup(path) : NULL;
    if (path && !copy)
        return cvy_fail(-ENOMEM, "covey_set_executable: no memory");
    cvy_free(executable);
    executable = copy;
    return 0;
}

int covey_cpu_count(size_t *ret_count)
{
    if (!ret_count)
        return cvy_fail(-EINVAL, "covey_cpu_count: no room for the answer");
    int r = cvy_os_cpu_count(ret_count);
    return r < 0 ? cvy_fail_os(r, "covey_cpu_count") : 0;
}
