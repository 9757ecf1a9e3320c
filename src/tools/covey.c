/* SPDX-License-Identifier: MIT */
/* covey.c: the command, which has a verb for each of its parts. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/tools.h"

#include <covey.h>

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *what;
} verbs[] = {
    {"serve", cvy_tool_serve, "be a manager: a server of shared objects"},
};
#define VERBS (sizeof verbs / sizeof verbs[0])

int cvy_tool_printed(void)
{
    errno = 0;
    if (!ferror(stdout) && fflush(stdout) == 0)
        return EXIT_SUCCESS;
    fprintf(stderr, "covey: stdout: %s\n",
            errno ? strerror(errno) : "it could not be written");
    return CVY_TOOL_FAILED;
}

static int usage(FILE *out)
{
    fputs("usage: covey VERB [OPTION...]\n\n", out);
    for (size_t i = 0; i < VERBS; i++)
        fprintf(out, "  %-10s %s\n", verbs[i].name, verbs[i].what);
    fputs("  --version  print the version\n"
          "\n`covey VERB --help` tells more.\n",
          out);
    return out == stdout ? cvy_tool_printed() : CVY_TOOL_USAGE;
}

int main(int argc, char **argv)
{
    covey_init(argc, argv);
    const char *verb = argc > 1 ? argv[1] : "";
    for (size_t i = 0; i < VERBS; i++)
        if (strcmp(verb, verbs[i].name) == 0)
            return verbs[i].run(argc - 1, argv + 1);
    if (strcmp(verb, "--version") == 0) {
        printf("covey %d.%d.%d\n", COVEY_VERSION_MAJOR, COVEY_VERSION_MINOR,
               COVEY_VERSION_PATCH);
        return cvy_tool_printed();
    }
    if (strcmp(verb, "--help") == 0 || strcmp(verb, "help") == 0)
        return usage(stdout);
    if (*verb)
        fprintf(stderr, "covey: there is no verb '%s'\n", verb);
    return usage(stderr);
}
