/* SPDX-License-Identifier: MIT */
/* What the tests of processes share: starting one and seeing how it ends, words in the
 * family's memory, and a look at the books when the test is over. */
#ifndef TESTS_PROCESS_HELP_H
#define TESTS_PROCESS_HELP_H

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdarg.h>

#include "family.h"
#include "process/process.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#else
#define SANITIZED 0
#endif

/* A leak checker takes for lost what only another thread's stack of the forking process
 * points to. From here on this process and its fork children are not checked. */
static bool leaks_are_unknown;
static int only_checked_process;
__attribute__((visibility("default"))) int __lsan_is_turned_off(void);
int __lsan_is_turned_off(void)
{
    return leaks_are_unknown ||
           (only_checked_process && (int)getpid() != only_checked_process);
}

/* The same where this process's own threads fork, of whose children that is true. */
static inline void threads_fork(void)
{
    only_checked_process = (int)getpid();
}

static inline void forks_beside_threads(void)
{
    leaks_are_unknown = true;
}

/* Options for the method this run is about. */
#define OPTS(...) COVEY_PROCESS_OPTS(.method = check_method(), __VA_ARGS__)

/* What a test and its processes, also those of theirs, see at one address. */
struct shared {
    cvy_word begun, go, told, ended;
    int32_t numbers[16];
    char text[2048], other_text[2048];
};

static inline struct shared *share(void)
{
    void *object = NULL;
    cvy_ref body = 0;
    CHECK(cvy_self() != NULL); /* founds the family */
    CHECK_OK(cvy_object_create(CVY_KIND_TEST, sizeof(struct cvy_object), 0,
                               sizeof(struct shared), &object, &body));
    memset(cvy_at(body), 0, sizeof(struct shared));
    return cvy_at(body);
}

/* The pointer that a process got as its argument. */
static inline struct shared *shared_of(struct covey_view arg)
{
    CHECK_GE(arg.size, sizeof(struct shared *));
    return *(struct shared *const *)arg.data;
}

static inline covey_process *made(covey_target_fn *fn, struct covey_view arg,
                                  const struct covey_process_opts *opts)
{
    covey_process *p = NULL;
    CHECK_OK(covey_process_create(&p, fn, arg, opts));
    return p;
}

static inline covey_process *started(covey_target_fn *fn, struct covey_view arg,
                                     const struct covey_process_opts *opts)
{
    covey_process *p = made(fn, arg, opts);
    CHECK_OK(covey_process_start(p));
    return p;
}

static inline int exitcode_of(covey_process *p)
{
    int code = INT_MIN;
    CHECK_OK(covey_process_join(p, COVEY_FOREVER));
    CHECK_OK(covey_process_exitcode(p, &code));
    return code;
}

/* Wait for its end, free it, and tell the exit code. */
static inline int end_of(covey_process *p)
{
    int code = exitcode_of(p);
    covey_process_free(p);
    return code;
}

static inline int run(covey_target_fn *fn, struct covey_view arg,
                      const struct covey_process_opts *opts)
{
    return end_of(started(fn, arg, opts));
}

static inline int pid_of(covey_process *p)
{
    int pid = -1;
    CHECK_OK(covey_process_pid(p, &pid));
    return pid;
}

/* Says that it runs, and ends when told to: with numbers[0]. */
static inline int run_until_told(struct covey_view arg)
{
    struct shared *s = shared_of(arg);
    family_tell(&s->begun);
    family_await(&s->go, 1);
    return s->numbers[0];
}

static inline int run_for_ever(struct covey_view arg)
{
    if (arg.size)
        family_tell(&shared_of(arg)->begun);
    family_pause();
}

static inline int do_nothing(struct covey_view arg)
{
    (void)arg;
    return 0;
}

/* "...": a check of a text made like printf's. */
static inline void check_text(const char *text, const char *format, ...)
    COVEY_PRINTF(2, 3);
static inline void check_text(const char *text, const char *format, ...)
{
    char wanted[512];
    va_list args;
    va_start(args, format);
    vsnprintf(wanted, sizeof wanted, format, args);
    va_end(args);
    CHECK_STR_EQ(text, wanted);
}

/* Wait until a process that may be nobody's child of ours is gone, or a zombie. */
static inline void await_gone(int pid)
{
    int fd = cvy_os_pidfd_open(pid);
    if (fd >= 0)
        CHECK_EQ(cvy_os_poll_in(fd, cvy_os_deadline(COVEY_SEC(20))), 1);
    cvy_os_close(fd);
}

/* Catch what is written to a descriptor, by this process and its children. */
struct catcher {
    int fd, old, pipe;
};

static inline struct catcher catch_output(int fd)
{
    int ends[2];
    struct catcher c = {.fd = fd};
    CHECK_EQ(pipe2(ends, O_CLOEXEC), 0);
    fflush(NULL);
    c.old = fcntl(fd, F_DUPFD_CLOEXEC, 10);
    CHECK_EQ(dup2(ends[1], fd), fd);
    close(ends[1]);
    c.pipe = ends[0];
    return c;
}

/* What was written, at most what a pipe holds. */
static inline const char *caught(struct catcher *c)
{
    static char text[65536];
    size_t size = 0;
    ssize_t n;
    fflush(NULL);
    cvy_forkserver_stop(); /* it has the pipe, too */
    dup2(c->old, c->fd);
    close(c->old);
    while ((n = read(c->pipe, text + size, sizeof text - 1 - size)) > 0)
        size += (size_t)n;
    text[size] = 0;
    close(c->pipe);
    return text;
}

/* The system layer keeps one for the looks at this process's namespaces, on purpose. */
static inline void close_kept_descriptors(void)
{
    for (int fd = 3; fd < 100; fd++) {
        char path[64], target[64], kept[64];
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        snprintf(kept, sizeof kept, "/proc/%d/ns", (int)getpid());
        ssize_t n = readlink(path, target, sizeof target - 1);
        target[n > 0 ? n : 0] = 0;
        if (strcmp(target, kept) == 0)
            close(fd);
    }
}

static inline int processes_end(char *why, size_t size)
{
    if (!cvy_head)
        return 0;
    cvy_forkserver_stop();
    close_kept_descriptors();
    cvy_children_reap();
    cvy_lifeline_drop();
    cvy_members_sweep();
    uint64_t members = family_usage().members;
    if (members != 1)
        snprintf(why, size, "%d members are left", (int)members);
    cvy_region_lock();
    const char *wrong = cvy_alloc_check();
    cvy_region_unlock();
    if (wrong)
        snprintf(why, size, "the region: %s", wrong);
    cvy_attach_no_more(); /* so that exit() has nothing to end */
    cvy_region_abandon();
    return wrong || members != 1 ? -1 : 0;
}

__attribute__((constructor)) static void prepare_end(void)
{
    check_at_end = processes_end;
    cvy_os_null_prepare(); /* opened once per program: not a test's leftover */
}

/* Pids of the children of all threads, each with a blank. */
static inline void read_children(char *pids, size_t size)
{
    size_t n = 0;
    const struct dirent *entry;
    memset(pids, 0, size);
    DIR *threads = opendir("/proc/self/task");
    CHECK(threads != NULL);
    while ((entry = readdir(threads))) {
        char path[64];
        snprintf(path, sizeof path, "/proc/self/task/%.20s/children", entry->d_name);
        FILE *file = fopen(path, "re");
        if (!file)
            continue; /* . and .., or it has ended */
        n += fread(pids + n, 1, size - 1 - n, file);
        fclose(file);
    }
    closedir(threads);
}

/* How many who connect can wait for being accepted, at any listener of this system. */
static inline size_t backlog_most(void)
{
    size_t most = 0;
    FILE *file = fopen("/proc/sys/net/core/somaxconn", "re");
    CHECK(file != NULL);
    CHECK_EQ(fscanf(file, "%zu", &most), 1);
    fclose(file);
    return most;
}

/* How many descriptors a process has, and two: what is in that folder. */
static inline long descriptors_of(int pid)
{
    char path[64];
    long count = 0;
    snprintf(path, sizeof path, "/proc/%d/fd", pid);
    DIR *folder = opendir(path);
    CHECK(folder != NULL);
    while (readdir(folder))
        count++;
    closedir(folder);
    return count;
}

#endif
