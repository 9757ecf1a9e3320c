/* SPDX-License-Identifier: MIT */
/* What a test leaves behind: descriptors, names in /dev/shm, processes. */
#include <dirent.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "check_internal.h"

/* ---- names ------------------------------------------------------------------- */

static char *add_name(struct check_names *names)
{
    names->name = realloc(names->name, (names->count + 1) * sizeof *names->name);
    if (!names->name)
        abort();
    return names->name[names->count++];
}

struct check_names check_descriptors(void)
{
    struct check_names names = {NULL, 0};
    DIR *dir = opendir("/proc/self/fd");
    struct dirent *entry;
    while (dir && (entry = readdir(dir))) {
        char target[100];
        ssize_t length =
            readlinkat(dirfd(dir), entry->d_name, target, sizeof target - 1);
        if (length < 0 || atoi(entry->d_name) == dirfd(dir))
            continue;
        target[length] = '\0';
        snprintf(add_name(&names), sizeof *names.name, "%.9s -> %s", entry->d_name,
                 target);
    }
    if (dir)
        closedir(dir);
    return names;
}

struct check_names check_shm_names(void)
{
    struct check_names names = {NULL, 0};
    DIR *dir = opendir("/dev/shm");
    struct dirent *entry;
    while (dir && (entry = readdir(dir)))
        if (entry->d_name[0] != '.')
            snprintf(add_name(&names), sizeof *names.name, "%.127s", entry->d_name);
    if (dir)
        closedir(dir);
    return names;
}

static void note_missing(const struct check_names *in, const struct check_names *from,
                         const char *what, const char *happened)
{
    for (size_t i = 0; i < in->count; i++) {
        size_t j = 0;
        while (j < from->count && strcmp(in->name[i], from->name[j]) != 0)
            j++;
        if (j == from->count)
            check_note("%s %s: %s", what, happened, in->name[i]);
    }
}

void check_compare_names(struct check_names *before, struct check_names *after,
                         const char *what, bool both)
{
    note_missing(after, before, what, "left behind");
    if (both)
        note_missing(before, after, what, "gone");
    free(before->name);
    free(after->name);
}

/* Test programs run side by side; with a common /dev/shm one would be blamed for what
 * another has there at the moment. Needs root, else the common one is watched. */
void check_private_shm(void)
{
    if (unshare(CLONE_NEWNS) == 0 &&
        mount("none", "/", "none", MS_REC | MS_SLAVE, "") == 0 &&
        mount("check", "/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777") < 0)
        perror("check: a /dev/shm of our own");
}

/* ---- processes --------------------------------------------------------------- */

struct process {
    int pid, parent;
    char state;
    bool descends;
    char name[32];
};

static bool read_process(const char *pid, struct process *ret)
{
    char path[64], line[512];
    snprintf(path, sizeof path, "/proc/%.20s/stat", pid);
    FILE *file = fopen(path, "re");
    if (!file)
        return false;
    char *got = fgets(line, sizeof line, file);
    fclose(file);
    /* "7 (a name) S 1 ...": a name may hold parentheses, the last one ends it */
    char *name = got ? strchr(line, '(') : NULL;
    char *end = got ? strrchr(line, ')') : NULL;
    if (!name || !end || sscanf(end, ") %c %d", &ret->state, &ret->parent) != 2)
        return false;
    if (ret->state == 'X') /* it was joined, or needs no join, and is just vanishing */
        return false;
    *end = '\0';
    ret->pid = atoi(line);
    ret->descends = false;
    snprintf(ret->name, sizeof ret->name, "%.31s", name + 1);
    return true;
}

static size_t read_processes(struct process **ret)
{
    size_t count = 0, capacity = 0;
    DIR *dir = opendir("/proc");
    struct dirent *entry;
    *ret = NULL;
    while (dir && (entry = readdir(dir))) {
        if (entry->d_name[0] < '1' || entry->d_name[0] > '9')
            continue;
        if (count == capacity) {
            capacity = capacity * 2 + 64;
            *ret = realloc(*ret, capacity * sizeof **ret);
            if (!*ret)
                abort();
        }
        if (read_process(entry->d_name, &(*ret)[count]))
            count++;
    }
    if (dir)
        closedir(dir);
    return count;
}

static bool is_descendant(const struct process *process, const struct process *all,
                          size_t count)
{
    if (process->parent == getpid())
        return true;
    for (size_t i = 0; i < count; i++)
        if (all[i].descends && all[i].pid == process->parent)
            return true;
    return false;
}

/* The processes below this one, in a list to be freed. */
static size_t read_descendants(struct process **ret)
{
    struct process *all;
    size_t count = read_processes(&all), found = 0;
    bool more = true;
    while (more) {
        more = false;
        for (size_t i = 0; i < count; i++)
            if (!all[i].descends && is_descendant(&all[i], all, count))
                more = all[i].descends = true;
    }
    for (size_t i = 0; i < count; i++)
        if (all[i].descends)
            all[found++] = all[i];
    *ret = all;
    return found;
}

static void print_backtrace(int pid)
{
    char command[128];
    snprintf(command, sizeof command,
             "gdb -p %d -batch -ex 'thread apply all bt' >&2 2>/dev/null </dev/null",
             pid);
    if (system(command) != 0)
        fprintf(stderr, "no backtrace of %d\n", pid);
}

size_t check_list_descendants(const char *what, bool backtraces)
{
    struct process *list;
    size_t count = read_descendants(&list);
    for (size_t i = 0; i < count; i++) {
        check_note("%s: pid %d (%s), state %c, parent %d", what, list[i].pid,
                   list[i].name, list[i].state, list[i].parent);
        if (backtraces)
            print_backtrace(list[i].pid);
    }
    free(list);
    return count;
}

size_t check_count_descendants(void)
{
    struct process *list;
    size_t count = read_descendants(&list);
    free(list);
    return count;
}

/* Kills what the killed have started meanwhile, until nothing is left. */
void check_kill_descendants(void)
{
    for (int tries = 0; tries < 10000; tries++) {
        struct process *list;
        size_t count = read_descendants(&list);
        for (size_t i = 0; i < count; i++)
            kill(list[i].pid, SIGKILL);
        free(list);
        while (waitpid(-1, NULL, WNOHANG | __WALL) > 0)
            ;
        if (count == 0)
            return;
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
}
