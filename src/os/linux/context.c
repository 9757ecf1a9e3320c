/* SPDX-License-Identifier: MIT */
/*
 * What children inherit: reading it cheaply, since it is compared at every start by fork
 * server, and taking it over.
 */
#include "os/context.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/single_threaded.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/base.h"
#include "os/linux/calls.h"
#include "os/linux/linux.h"
#include "os/linux/raw.h"

_Static_assert(sizeof(sigset_t) <= 128 && sizeof(cpu_set_t) <= 128,
               "room in the struct");
_Static_assert(RLIM_NLIMITS <= CVY_OS_LIMITS, "room in the struct");

/* FNV-1a; a collision would need an adversary who is the starter itself. */
static uint64_t hash_bytes(uint64_t hash, const void *data, size_t size)
{
    const unsigned char *bytes = data;

    for (size_t i = 0; i < size; i++)
        hash = (hash ^ bytes[i]) * UINT64_C(0x100000001b3);
    return hash;
}

enum { SIGNAL_BYTES = (_NSIG - 1) / 8 }; /* of the system's signal sets */
static const uint64_t hash_start = UINT64_C(0xcbf29ce484222325);

/* ---- identity ---- */

static uint64_t hash_groups(void)
{
    gid_t list[256];
    int n = getgroups((int)CVY_ARRAY_SIZE(list), list);

    return hash_bytes(hash_start + (uint64_t)n, list,
                      n > 0 ? (size_t)n * sizeof(*list) : 0);
}

/* The folder of this process's namespaces, kept open: walking through /proc would be most
 * of the cost. It is another process's in a fork child, and maybe another file's when the
 * program closed it. */
static int open_namespaces(void)
{
    static struct {
        int fd, pid;
        uint64_t inode;
    } kept = {.fd = -1};
    struct stat info;
    int pid = getpid();

    if (kept.fd >= 0 && kept.pid == pid && fstat(kept.fd, &info) == 0 &&
        info.st_ino == kept.inode)
        return kept.fd;
    if (kept.fd >= 0 && kept.pid != pid && fstat(kept.fd, &info) == 0 &&
        info.st_ino == kept.inode)
        cvy_call_close(kept.fd);
    kept.fd = cvy_fd_above_std(
        cvy_call_open("/proc/self/ns", O_PATH | O_DIRECTORY | O_CLOEXEC));
    kept.pid = pid;
    if (kept.fd >= 0 && fstat(kept.fd, &info) == 0)
        kept.inode = info.st_ino;
    return kept.fd;
}

/* The link's text names the namespace; following it would cost several times as much. */
static uint64_t namespace_of(int folder, const char *name)
{
    char text[64];
    ssize_t n = readlinkat(folder, name, text, sizeof(text));

    return n < 0 ? 0 : hash_bytes(hash_start, text, (size_t)n);
}

void cvy_os_identity_get(struct cvy_os_identity *ret_identity)
{
    static const char *const names[CVY_OS_NAMESPACES] = {
        "mnt",    "pid_for_children", "net", "user", "ipc", "uts",
        "cgroup", "time_for_children"};
    uid_t u[3];
    gid_t g[3];
    struct stat root;
    int folder = open_namespaces();

    memset(ret_identity, 0, sizeof(*ret_identity));
    if (getresuid(&u[0], &u[1], &u[2]) == 0 && getresgid(&g[0], &g[1], &g[2]) == 0) {
        for (int i = 0; i < 3; i++) {
            ret_identity->users[i] = u[i];
            ret_identity->groups[i] = g[i];
        }
    }
    ret_identity->group_list = hash_groups();
    if (stat("/", &root) == 0) {
        ret_identity->root[0] = root.st_dev;
        ret_identity->root[1] = root.st_ino;
    }
    for (size_t i = 0; i < CVY_OS_NAMESPACES; i++)
        ret_identity->namespaces[i] = namespace_of(folder, names[i]);
}

/* ---- context ---- */

/* With other threads about, setting and resetting it would give their files the wrong
 * mode, so the slow way is taken. */
static uint32_t get_umask(void)
{
    char status[2048], *line;

    if (!__libc_single_threaded &&
        cvy_file_read("/proc/thread-self/status", status, sizeof(status)) > 0) {
        line = strstr(status, "\nUmask:");
        if (line)
            return (uint32_t)strtoul(line + 7, NULL, 8);
    }
    mode_t mask = umask(022);
    umask(mask);
    return mask;
}

size_t cvy_os_environment_size(void)
{
    size_t size = 0;

    for (char **entry = environ; entry && *entry; entry++)
        size += strlen(*entry) + 1;
    return size;
}

void cvy_os_environment_copy(char *text, size_t size)
{
    size_t used = 0;

    for (char **entry = environ; entry && *entry; entry++) {
        size_t n = strlen(*entry) + 1;

        if (used + n > size)
            return;
        memcpy(text + used, *entry, n);
        used += n;
    }
}

/* Eight bytes at a time, with the NUL. */
static uint64_t hash_text(uint64_t hash, const char *text)
{
    size_t left = strlen(text) + 1;
    uint64_t word;

    for (; left >= sizeof(word); left -= sizeof(word), text += sizeof(word)) {
        memcpy(&word, text, sizeof(word));
        hash = (hash ^ word) * UINT64_C(0x9e3779b97f4a7c15);
        hash ^= hash >> 32;
    }
    return hash_bytes(hash, text, left);
}

static uint64_t hash_environment(void)
{
    uint64_t hash = hash_start;

    for (char **entry = environ; entry && *entry; entry++)
        hash = hash_text(hash, *entry);
    return hash;
}

size_t cvy_os_context_size(const struct cvy_os_context *context)
{
    return offsetof(struct cvy_os_context, cwd) + context->cwd_size;
}

/* The old system call, where there is one, costs a third of what libc uses. */
static int get_limit(int which, struct rlimit *ret_limit)
{
#if defined(__LP64__) && defined(SYS_getrlimit)
    return (int)cvy_raw_call(SYS_getrlimit, which, (long)ret_limit, 0);
#else
    return getrlimit((__rlimit_resource_t)which, ret_limit);
#endif
}

/* Which the working folder is, also where it has no name or may not be searched; zeros if
 * that cannot be told. */
static void get_folder(uint64_t ret_folder[2])
{
    struct stat info;

    if (fstatat(AT_FDCWD, "", &info, AT_EMPTY_PATH) < 0)
        memset(&info, 0, sizeof(info));
    ret_folder[0] = info.st_dev;
    ret_folder[1] = info.st_ino;
}

void cvy_os_context_get(struct cvy_os_context *ret_context)
{
    struct cvy_os_context *c = ret_context;
    struct rlimit limit;
    cpu_set_t cpus;
    sigset_t mask;

    memset(c, 0, offsetof(struct cvy_os_context, cwd));
    c->environment = hash_environment();
    c->umask = get_umask();
    if (getcwd(c->cwd, sizeof(c->cwd)) && c->cwd[0] == '/')
        c->cwd_size = (uint32_t)strlen(c->cwd) + 1;
    get_folder(c->folder);
    memset(&mask, 0, sizeof(mask)); /* the system fills in less than all of it */
    if (pthread_sigmask(SIG_SETMASK, NULL, &mask) == 0)
        memcpy(c->signal_mask, &mask, sizeof(mask));
    CPU_ZERO(&cpus);
    if (sched_getaffinity(0, sizeof(cpus), &cpus) == 0)
        memcpy(c->cpus, &cpus, sizeof(cpus));
    for (int i = 0; i < RLIM_NLIMITS; i++) {
        limit = (struct rlimit){0};
        if (get_limit(i, &limit) == 0) {
            c->limits[i][0] = limit.rlim_cur;
            c->limits[i][1] = limit.rlim_max;
        }
    }
}

static int become_limits(const struct cvy_os_context *is,
                         const struct cvy_os_context *wanted)
{
    for (int i = 0; i < RLIM_NLIMITS; i++) {
        struct rlimit limit = {wanted->limits[i][0], wanted->limits[i][1]};

        if (memcmp(is->limits[i], wanted->limits[i], sizeof(is->limits[i])) != 0 &&
            setrlimit((__rlimit_resource_t)i, &limit) < 0)
            return -errno;
    }
    return 0;
}

static int become_environment(char *environment, size_t size)
{
    if (clearenv() != 0)
        return -ENOMEM;
    for (char *entry = environment; entry < environment + size;
         entry += strlen(entry) + 1)
        if (strchr(entry, '=') && putenv(entry) != 0)
            return -ENOMEM;
    return 0;
}

static int become_cpus(const struct cvy_os_context *wanted)
{
    cpu_set_t cpus;

    memcpy(&cpus, wanted->cpus, sizeof(cpus));
    cvy_multicore_forget();
    return sched_setaffinity(0, sizeof(cpus), &cpus) < 0 ? -errno : 0;
}

static bool is_in_folder(const struct cvy_os_context *wanted)
{
    uint64_t folder[2];

    get_folder(folder);
    return !wanted->folder[1] || memcmp(folder, wanted->folder, sizeof(folder)) == 0;
}

/* A folder that was moved or removed, or may not be searched from the root, is found through
 * the parent, while that stays there. */
static int become_folder(const struct cvy_os_context *is,
                         const struct cvy_os_context *wanted, const char **ret_what)
{
    char path[CVY_PROC_PATH_SIZE];
    int error = ENOENT;

    *ret_what =
        wanted->cwd_size ? "working folder" : "working folder, which has no path";
    if (is->cwd_size == wanted->cwd_size &&
        memcmp(is->cwd, wanted->cwd, wanted->cwd_size) == 0 &&
        memcmp(is->folder, wanted->folder, sizeof(is->folder)) == 0)
        return 0;
    if (wanted->cwd_size) {
        if (chdir(wanted->cwd) < 0)
            error = errno;
        else if (is_in_folder(wanted))
            return 0;
    }
    cvy_proc_path(path, "/proc/", getppid(), "/cwd");
    return chdir(path) == 0 && is_in_folder(wanted) ? 0 : -error;
}

int cvy_os_context_become(const struct cvy_os_context *is,
                          const struct cvy_os_context *wanted, char *environment,
                          size_t environment_size, const char **ret_what)
{
    int r = become_folder(is, wanted, ret_what);

    if (r < 0)
        return r;
    umask((mode_t)wanted->umask);
    *ret_what = "processors";
    if (memcmp(is->cpus, wanted->cpus, sizeof(is->cpus)) != 0)
        r = become_cpus(wanted);
    if (r < 0)
        return r;
    *ret_what = "limits";
    r = become_limits(is, wanted);
    if (r < 0)
        return r;
    *ret_what = "environment";
    if (is->environment != wanted->environment)
        r = become_environment(environment, environment_size);
    return r;
}

/* ---- signals ---- */

void cvy_os_block_signals(void)
{
    sigset_t all;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, NULL);
}

CVY_CHILD_CODE void cvy_os_context_unblock(const struct cvy_os_context *context)
{
    /* The mask is what the system wrote: nothing of libc's is in it. */
    (void)cvy_raw_call5(SYS_rt_sigprocmask, SIG_SETMASK, (long)context->signal_mask, 0,
                        SIGNAL_BYTES, 0);
}

uint64_t cvy_os_blocked_signals(void)
{
    sigset_t mask;
    uint64_t signals = 0;

    if (pthread_sigmask(SIG_SETMASK, NULL, &mask) == 0)
        memcpy(&signals, &mask, sizeof(signals));
    return signals;
}

void cvy_os_set_blocked_signals(uint64_t signals)
{
    sigset_t mask;

    sigemptyset(&mask);
    memcpy(&mask, &signals, sizeof(signals));
    pthread_sigmask(SIG_SETMASK, &mask, NULL);
}
