/* SPDX-License-Identifier: MIT */
/* The command `covey serve` in a child of the test. It lies beside the tests' folder. */
#ifndef TESTS_TOOL_HELP_H
#define TESTS_TOOL_HELP_H

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

struct tool {
    int pid, out;
    char address[256];
};

static inline void tool_path(char path[600])
{
    char self[512];
    ssize_t size = readlink("/proc/self/exe", self, sizeof self - 1);
    CHECK_GT(size, 0);
    self[size] = 0;
    *strrchr(self, '/') = 0;
    snprintf(path, 600, "%s/../covey", self);
}

/* Serve at `address`, for who knows `key`, with further options as in a shell, whose files
 * are in `folder`, unless that is NULL. */
static inline struct tool tool_start(const char *address, const char *key,
                                     const char *folder, const char *options)
{
    struct tool tool = {0};
    char path[600], script[2000], key_path[64], line[300];
    int ends[2];
    size_t size = 0;
    tool_path(path);
    snprintf(key_path, sizeof key_path, "/tmp/covey-test-key-%d", (int)getpid());
    FILE *file = fopen(key_path, "w");
    CHECK(file);
    CHECK_GT(fprintf(file, "%s\n", key), 0);
    CHECK_EQ(fclose(file), 0);
    snprintf(script, sizeof script,
             "cd '%s' && exec '%s' serve --address '%s' --authkey-file %s %s",
             folder ? folder : ".", path, address, key_path, options);
    CHECK_EQ(pipe2(ends, O_CLOEXEC), 0);
    fflush(NULL);
    tool.pid = fork();
    CHECK_GE(tool.pid, 0);
    if (!tool.pid) {
        dup2(ends[1], 1);
        execlp("sh", "sh", "-c", script, (char *)NULL);
        _exit(127);
    }
    close(ends[1]);
    while (size + 1 < sizeof line && read(ends[0], line + size, 1) == 1 &&
           line[size] != '\n')
        size++;
    line[size] = 0;
    tool.out = ends[0];
    CHECK_EQ(unlink(key_path), 0);
    CHECK_EQ(sscanf(line, "serving at %255s", tool.address), 1);
    return tool;
}

/* It ends well: by `signal`, or if that is 0 by itself. */
static inline void tool_ends(struct tool *tool, int signal)
{
    int status = -1;
    if (signal)
        CHECK_EQ(kill(tool->pid, signal), 0);
    CHECK_EQ(waitpid(tool->pid, &status, 0), tool->pid);
    CHECK_EQ(status, 0);
    close(tool->out);
}

#endif
