/* SPDX-License-Identifier: MIT */
/* Running the CPythons of this machine, for tests that talk to them. */
#ifndef TESTS_PYTHON_HELP_H
#define TESTS_PYTHON_HELP_H

#include <fcntl.h>
#include <glob.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

#define PYTHON_OUTPUT 8192

/* For scripts: an address as Python writes it. */
#define PYTHON_ADDRESS                                                                 \
    "def address(a):\n"                                                                \
    "    if a[0] == '@': return '\\0' + a[1:]\n"                                       \
    "    if a[0] == '/': return a\n"                                                   \
    "    host, port = a.rsplit(':', 1)\n"                                              \
    "    return host, int(port)\n"

struct python {
    char path[256];
    int minor; /* of 3.minor */
};

/* Run `script` with two arguments. Its output, that of stderr included, goes to
 * `ret_output`, without the last newline. It and what it started have closed it then: the
 * resource tracker has ended, too. Returns: its exit status. */
static inline int python_run(const struct python *python, const char *script,
                             const char *arg, const char *other_arg,
                             char ret_output[PYTHON_OUTPUT])
{
    int ends[2], status;
    size_t size = 0;
    ssize_t r;

    CHECK_EQ(pipe(ends), 0);
    fflush(NULL);
    pid_t pid = fork();
    CHECK_GE(pid, 0);
    if (pid == 0) {
        unsetenv("LD_PRELOAD");
        dup2(ends[1], 1);
        dup2(ends[1], 2);
        close(ends[0]);
        close(ends[1]);
        execl(python->path, python->path, "-c", script, arg, other_arg, (char *)NULL);
        _exit(127);
    }
    close(ends[1]);
    while ((r = read(ends[0], ret_output + size, PYTHON_OUTPUT - 1 - size)) > 0)
        size += (size_t)r;
    close(ends[0]);
    ret_output[size] = '\0';
    if (size && ret_output[size - 1] == '\n')
        ret_output[size - 1] = '\0';
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    return status;
}

/* The same, which has to go well and to print just this. */
static inline void python_prints(const struct python *python, const char *script,
                                 const char *arg, const char *other_arg,
                                 const char *wanted)
{
    char output[PYTHON_OUTPUT];
    int status = python_run(python, script, arg, other_arg, output);

    if (status != 0 || strcmp(output, wanted) != 0)
        check_failed(__FILE__, __LINE__, "%s: status %#x, '%s' instead of '%s'",
                     python->path, (unsigned)status, output, wanted);
}

/* Add one if it is a Python 3 of another version than those there are. */
static inline void python_add(const char *path, struct python *list, size_t *count,
                              size_t most)
{
    struct python python;
    char output[PYTHON_OUTPUT];

    snprintf(python.path, sizeof python.path, "%s", path);
    if (*count == most ||
        python_run(&python, "import sys; print(sys.version_info[1])", "", "", output))
        return;
    python.minor = atoi(output);
    for (size_t i = 0; i < *count; i++)
        if (list[i].minor == python.minor)
            return;
    list[(*count)++] = python;
}

/* The Pythons from 3.`oldest` on: those of the PATH, and those of pyenv. A test without
 * any is skipped. */
static inline size_t pythons_find(int oldest, struct python *list, size_t most)
{
    const char *home = getenv("HOME");
    char pattern[300];
    memset(list, 0, most * sizeof *list);
    size_t count = 0, kept = 0;
    glob_t found;

    snprintf(pattern, sizeof pattern, "%s/.pyenv/versions/*/bin/python3",
             home ? home : "");
    if (glob(pattern, 0, NULL, &found) == 0) {
        for (size_t i = 0; i < found.gl_pathc; i++)
            python_add(found.gl_pathv[i], list, &count, most);
        globfree(&found);
    }
    python_add("/usr/bin/python3", list, &count, most);
    for (size_t i = 0; i < count; i++)
        if (list[i].minor >= oldest)
            list[kept++] = list[i];
    if (!kept)
        SKIP("no Python 3.%d or later", oldest);
    return kept;
}

#define MOST_PYTHON 16

/* All from 3.6 on, found once per process. */
static inline const struct python *pythons_found(size_t *ret_count)
{
    static struct python list[MOST_PYTHON];
    static size_t count;
    if (!count)
        count = pythons_find(6, list, MOST_PYTHON);
    if (ret_count)
        *ret_count = count;
    return list;
}

static inline const struct python *pythons_end(void)
{
    size_t count = 0;
    const struct python *list = pythons_found(&count);
    return list + count;
}

/* Run the test for each Python there is. */
#define EACH_PYTHON(p)                                                                 \
    for (const struct python *p = pythons_found(NULL); p < pythons_end(); p++)

/* A Python beside the test. */
struct beside {
    int pid, out;
};

static inline struct beside python_start(const struct python *python,
                                         const char *script, const char *arg,
                                         const char *other)
{
    int ends[2];
    struct beside b;
    CHECK_EQ(pipe2(ends, O_CLOEXEC), 0);
    fflush(NULL);
    b.pid = fork();
    CHECK_GE(b.pid, 0);
    if (!b.pid) {
        unsetenv("LD_PRELOAD");
        dup2(ends[1], 1);
        dup2(ends[1], 2);
        execl(python->path, python->path, "-u", "-c", script, arg, other, (char *)NULL);
        _exit(127);
    }
    close(ends[1]);
    b.out = ends[0];
    return b;
}

/* It has to print just this to its end, and end well. */
static inline void python_ends(struct beside *b, const struct python *python,
                               const char *wanted)
{
    char output[PYTHON_OUTPUT];
    size_t size = 0;
    ssize_t n;
    int status;
    while ((n = read(b->out, output + size, sizeof output - 1 - size)) > 0)
        size += (size_t)n;
    output[size] = 0;
    close(b->out);
    CHECK_EQ(waitpid(b->pid, &status, 0), b->pid);
    if (status || strcmp(output, wanted) != 0)
        check_failed(__FILE__, __LINE__, "%s: status %#x, '%s' instead of '%s'",
                     python->path, (unsigned)status, output, wanted);
}

/* The first line of what it prints. */
static inline void python_line(struct beside *b, char *line, size_t size)
{
    size_t n = 0;
    while (n + 1 < size && read(b->out, line + n, 1) == 1 && line[n] != '\n')
        n++;
    line[n] = 0;
}

#endif
