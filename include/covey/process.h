/* SPDX-License-Identifier: MIT */
/**
 * covey/process.h: processes under the start methods fork, spawn, forkserver and thread,
 * and the family they form.
 *
 * All processes that covey starts from one program are a family. Its shared memory lies
 * at the same address in each of them, so a pointer to a covey object is valid in all,
 * whatever the start method, and may be part of an argument's bytes. An object lives
 * while a living process holds it: `create` takes a hold, a child is born with the holds
 * of its starter, `free` and death drop them. Using a freed object is COVEY_EFREED.
 *
 * The defaults of covey/base.h hold. A process object is operated by the process that
 * created it; in others its name, pid and repr can be read, the rest is COVEY_ENOTOWNER.
 * What is no handle of covey's, NULL among it, and a NULL where an answer should go are
 * -EINVAL; a handle whose object was freed is COVEY_EFREED.
 */
#ifndef COVEY_PROCESS_H
#define COVEY_PROCESS_H

#include <covey/base.h>

#ifdef __cplusplus
extern "C" {
#endif

/** How a child comes to be. */
enum covey_start_method {
    COVEY_DEFAULT_METHOD =
        0,            /**< what covey_set_start_method or the environment says */
    COVEY_FORK,       /**< a copy of this process, by fork() */
    COVEY_SPAWN,      /**< a fresh run of this program */
    COVEY_FORKSERVER, /**< a copy of a fresh, single-threaded run of this program */
    COVEY_THREAD      /**< a thread of this process */
};

/** A function that runs in a child; its result is the exit code, modulo 256. `arg.data`
 * is aligned to 16 bytes and valid until the function returns. */
typedef int covey_target_fn(struct covey_view arg);

/** A process: its name, its options, and when started its life. */
typedef struct covey_process covey_process;

/* ---- the program ------------------------------------------------------------ */

/**
 * The first line of main(). In a program that a user started it notes the arguments and
 * returns; in a child under spawn or forkserver it runs the target and never returns.
 * Without it those two methods are refused (COVEY_ESTATE), never a fork bomb.
 *
 * Returns:  0; -EINVAL if argc is negative or argv is NULL with argc > 0.
 * Threads:  call it before the program starts any.
 */
COVEY_API int covey_init(int argc, char **argv);

/** Options of the family; zero means the default. */
struct covey_family_opts {
    size_t size; /**< sizeof(struct covey_family_opts); COVEY_FAMILY_OPTS fills it */
    size_t reservation; /**< bytes of address space, a power of two from 16 MiB;
                             default: the largest of 1 TiB, 256, 64, 16 GiB that fits */
    size_t budget;      /**< most bytes of shared memory in use; default: half of the
                             smaller of RAM and cgroup limit */
    covey_nsec slice; /**< longest sleep before a waiter asks the kernel whether the one
                             it waits for still lives; default 500 ms (20 ms where the
                             kernel lacks futex_waitv) */
    enum covey_switch core_dump; /**< shared memory in core dumps; default off */
    enum covey_switch bell; /**< off: deaths are found by slices alone (for tests) */
};
#define COVEY_FAMILY_OPTS(...)                                                         \
    (&(struct covey_family_opts){.size = sizeof(struct covey_family_opts), __VA_ARGS__})

/**
 * Choose the family's options. The first call that shares something founds the family
 * and fixes them; children have those of their family.
 *
 * Returns:  0; -EINVAL for a bad option; COVEY_ESTATE once the family exists.
 */
COVEY_API int
covey_family_configure(const struct covey_family_opts *opts) COVEY_MUST_CHECK;

/** What the family uses now. */
struct covey_family_usage {
    uint64_t reservation; /**< bytes of address space */
    uint64_t budget;      /**< most bytes of shared memory */
    uint64_t used;        /**< bytes allocated in shared memory */
    uint64_t resident;    /**< bytes of memory the system has given to it */
    uint64_t objects;     /**< objects that some process holds */
    uint64_t members;     /**< processes that are attached or being started */
    uint64_t threads;     /**< attached threads of all members */
    uint64_t deaths;      /**< members that ended without saying so */
};

/**
 * Read what the family uses now; zeros while there is none.
 *
 * Returns:  0; the errors of founding a family do not occur.
 */
COVEY_API int covey_family_usage(struct covey_family_usage *ret_usage);

/**
 * Hold an object that came in by a message or an argument, while its sender still does.
 * Each hold is dropped by one call of the object's free function.
 *
 * Returns:  0; COVEY_EFREED if no process holds it any more; -EINVAL if `object` is not
 *           a covey object of this family.
 */
COVEY_API int covey_hold(const void *object) COVEY_MUST_CHECK;

/* ---- start methods ---------------------------------------------------------- */

/**
 * Choose what COVEY_DEFAULT_METHOD stands for in this process and, as their default, in
 * children it starts from now on. May be done once, unless `force` is not 0; with force,
 * COVEY_DEFAULT_METHOD makes it unchosen again. The environment's COVEY_START_METHOD
 * (fork, spawn, forkserver, thread) is used when nothing was chosen; else it is fork.
 *
 * Returns:  0; -EINVAL for an unknown method; COVEY_ESTATE if chosen or used before.
 */
COVEY_API int covey_set_start_method(enum covey_start_method method, int force);

/**
 * What COVEY_DEFAULT_METHOD stands for. Asking fixes it, unless `allow_none` is not 0:
 * then the answer is COVEY_DEFAULT_METHOD while nothing has been chosen.
 *
 * Returns:  0; -EINVAL if COVEY_START_METHOD in the environment names no method.
 */
COVEY_API int covey_get_start_method(int allow_none,
                                     enum covey_start_method *ret_method);

/**
 * The methods of this system, the default one first.
 *
 * Returns:  0. `*ret_methods` points to memory that lives as long as the program.
 */
COVEY_API int covey_get_all_start_methods(const enum covey_start_method **ret_methods,
                                          size_t *ret_count);

/**
 * The name of a start method: "fork", "spawn", "forkserver", "thread".
 *
 * Returns:  a string that lives as long as the program; NULL for any other number.
 */
COVEY_API const char *covey_start_method_name(enum covey_start_method method);

/**
 * The start method of that name.
 *
 * Returns:  0; -EINVAL if there is none.
 */
COVEY_API int covey_start_method_from_name(const char *name,
                                           enum covey_start_method *ret_method);

/**
 * Run spawned children and fork servers by this program instead of /proc/self/exe; it
 * must contain the targets. NULL: back to the default.
 *
 * Returns:  0; -ENOMEM; -EINVAL for an empty path.
 * Threads:  none may start a process meanwhile.
 */
COVEY_API int covey_set_executable(const char *path);

/**
 * What this process's fork server does before its first fork: load these shared objects,
 * then call `init(arg)` if it is not NULL. Replaces what was set before; takes effect
 * when a server starts, so call it before the first start by forkserver.
 *
 * Returns:  0; -ENOMEM; COVEY_ESTATE if the server runs already.
 */
COVEY_API int covey_set_forkserver_preload(const char *const *objects, size_t count,
                                           covey_target_fn *init,
                                           struct covey_view arg);

/**
 * How many children this process's fork server keeps ready beforehand; default 1, most 64.
 * A start that finds one costs a wake-up instead of a fork; others are made meanwhile.
 *
 * Returns:  0; -EINVAL above 64.
 */
COVEY_API int covey_set_forkserver_spares(size_t count);

/* ---- a process -------------------------------------------------------------- */

/** Limits of a child, see setrlimit(2); zero: as its parent has it. */
struct covey_limits {
    uint64_t cpu_seconds; /**< processor time */
    uint64_t data_bytes;  /**< private writable memory */
    uint64_t stack_bytes;
    uint64_t file_bytes;          /**< size of a file it writes */
    uint64_t open_files;          /**< descriptors */
    enum covey_switch core_dumps; /**< off: none */
};

/** Options of a process; zero means the default. Strings and arrays are copied. */
struct covey_process_opts {
    size_t size; /**< sizeof(struct covey_process_opts); COVEY_PROCESS_OPTS fills it */
    const char *name; /**< default "Process-1", a child's children "Process-1:2" */
    enum covey_start_method method;
    enum covey_switch daemon; /**< ended at its parent's exit instead of joined, and may
                                   not start processes; default: as the creator */
    enum covey_switch children; /**< on: may start processes although it is a daemon */
    enum covey_switch die_with_parent; /**< killed when its parent dies; default on. If
                                            it is set to on, rather than left alone, then
                                            also when a user id changed meanwhile, and
                                            when the parent runs another program; a
                                            start costs some 20 us more */
    enum covey_switch new_group;       /**< a process group of its own; default off */
    enum covey_switch keep_stdin;      /**< default off: its stdin is the null device */
    /** the last 4 KiB it writes to stderr become part of its report; default off. What it
     * writes as a signal ends it may be shown twice, and not at all if the starter's stderr
     * takes nothing for a second. What its own processes write counts as its, but for those
     * that it forks without covey. Programs that it starts can write until it has been joined
     * (then SIGPIPE). If it executes one itself, that can write 64 KiB and then waits for ever */
    enum covey_switch capture_stderr;
    enum covey_switch crash_handler; /**< a backtrace in the report when it crashes;
                                            default on, where the signal is unhandled */
    const void *holds[16]; /**< if given: the objects it is born holding, instead
                                            of all that its starter holds; {COVEY_NO_HOLDS}
                                            for none */
    const int *fds;   /**< spawn and forkserver: descriptors it inherits, as the same
                               numbers, besides 0, 1 and 2 */
    size_t fd_count;  /**< at most 60 */
    const char *cpus; /**< processors it may run on, as "0-3,6" */
    covey_nsec start_timeout; /**< spawn, forkserver: how long it may take to reach
                                   covey_init; default 30 s */
    struct covey_limits limits;
};
#define COVEY_PROCESS_OPTS(...)                                                        \
    (&(struct covey_process_opts){.size = sizeof(struct covey_process_opts),           \
                                  __VA_ARGS__})
/** For `.holds`: born holding nothing. */
#define COVEY_NO_HOLDS ((const void *)-1)

/**
 * Make a process object; covey_process_start runs it. The bytes of `arg` are copied
 * and reach `fn` in the child; pointers in them are valid there only if they point to
 * covey objects. `fn` NULL: the child ends at once with exit code 0.
 *
 * Returns:  0; -EINVAL for bad options or a `fn` that lies in no program or shared
 *           object; -ENOMEM when the family's budget is used up; -ENOTSUP for an option
 *           that the method cannot do.
 */
COVEY_API int
covey_process_create(covey_process **out, covey_target_fn *fn, struct covey_view arg,
                     const struct covey_process_opts *opts) COVEY_MUST_CHECK;

/**
 * Start it. When this returns 0 the child runs: under spawn it has reached covey_init
 * and found its target. stdout and stderr are flushed first. The child has the starter's
 * working folder, umask, environment, signal mask, limits and processors.
 *
 * Returns:  0; COVEY_ESTATE if it was started before, if this process is a daemon, if
 *           covey_init was not called (spawn, forkserver) or the family's descriptor was
 *           closed by the program; COVEY_ENOTOWNER outside of the creating process;
 *           -EAGAIN, -ENOMEM, -EMFILE, -ENOENT ... of the system; COVEY_ESTART if the
 *           child ended or did not come up in time, COVEY_EBUILD if it is another build;
 *           the detail names the step and the cause. No child is left then.
 * Blocks:   spawn: until the child is up; forkserver: until it is forked.
 */
COVEY_API int covey_process_start(covey_process *process) COVEY_MUST_CHECK;

/**
 * Wait until it has ended.
 *
 * Returns:  0; -ETIMEDOUT; COVEY_ENOTSTARTED; COVEY_ENOTOWNER; COVEY_ECLOSED;
 *           COVEY_ESTATE for the calling process itself.
 * Blocks:   at most `timeout`. A grandchild that lives on does not matter.
 */
COVEY_API int covey_process_join(covey_process *process, covey_nsec timeout);

/**
 * Ask whether it runs.
 *
 * Returns:  1 or 0; COVEY_ENOTOWNER; COVEY_ECLOSED; COVEY_EFREED.
 */
COVEY_API int covey_process_is_alive(covey_process *process);

/**
 * How it ended: 0..255, or -N when signal N killed it. A thread that ended by pthread_exit or
 * was cancelled has 255.
 *
 * Returns:  0; COVEY_ENOTSTARTED; -EBUSY while it runs; COVEY_ECLOSED; COVEY_ENOTOWNER.
 */
COVEY_API int covey_process_exitcode(covey_process *process, int *ret_exitcode);

/**
 * Its process id (under COVEY_THREAD: the thread's id).
 *
 * Returns:  0; COVEY_ENOTSTARTED; COVEY_ECLOSED; COVEY_EFREED.
 */
COVEY_API int covey_process_pid(covey_process *process, int *ret_pid);

/**
 * Its name.
 *
 * Returns:  a string that lives as long as the object, at most 63 bytes; NULL if it was
 *           freed.
 */
COVEY_API const char *covey_process_name(covey_process *process);

/**
 * Rename it; names need not be unique. Seen by children that start afterwards.
 *
 * Returns:  0; -EINVAL if NULL, empty, or longer than 63 bytes; COVEY_ENOTOWNER.
 */
COVEY_API int covey_process_set_name(covey_process *process, const char *name);

/**
 * Ask whether it is a daemon.
 *
 * Returns:  1 or 0; COVEY_EFREED.
 */
COVEY_API int covey_process_daemon(covey_process *process);

/**
 * Make it a daemon or not, before it starts.
 *
 * Returns:  0; COVEY_ESTATE once started; COVEY_ENOTOWNER; COVEY_ECLOSED.
 */
COVEY_API int covey_process_set_daemon(covey_process *process, int daemon);

/**
 * A descriptor that polls readable when the process has ended. It belongs to the object.
 * Nobody else's copy of anything can keep it from becoming ready.
 *
 * Returns:  0; COVEY_ENOTSTARTED; COVEY_ECLOSED; COVEY_ENOTOWNER; -ENOTSUP for the
 *           process itself; -EMFILE.
 */
COVEY_API int covey_process_sentinel(covey_process *process, int *ret_fd);

/**
 * Send SIGTERM; nothing happens if it has ended.
 *
 * Returns:  0; COVEY_ENOTSTARTED; COVEY_ECLOSED; COVEY_ENOTOWNER; -ENOTSUP for a thread.
 */
COVEY_API int covey_process_terminate(covey_process *process);

/**
 * Send SIGKILL; nothing happens if it has ended.
 *
 * Returns:  as covey_process_terminate.
 */
COVEY_API int covey_process_kill(covey_process *process);

/**
 * Send SIGINT; nothing happens if it has ended.
 *
 * Returns:  as covey_process_terminate.
 */
COVEY_API int covey_process_interrupt(covey_process *process);

/**
 * Give back the descriptors of an object whose process has ended or was never started.
 * Twice is fine. Name, daemon flag and repr still work.
 *
 * Returns:  0; COVEY_ESTATE while it runs; COVEY_ENOTOWNER.
 */
COVEY_API int covey_process_close(covey_process *process);

/**
 * Drop this process's hold of the object, NULL is fine. A process that runs goes on.
 *
 * Threads:  none may be in a call with the object, as with all that is freed.
 */
COVEY_API void covey_process_free(covey_process *process);

/**
 * The text `<Process name='Process-1' pid=12 parent=3 stopped exitcode=-SIGTERM>`.
 *
 * Returns:  0; -ENOMEM; COVEY_EFREED. `ret_text` ends with a NUL that its size omits.
 */
COVEY_API int covey_process_repr(covey_process *process, struct covey_bytes *ret_text);

/** What is known about an ended process. */
struct covey_process_report {
    int pid;
    int exitcode;         /**< as of covey_process_exitcode */
    int core_dumped;      /**< 1 if the system wrote a core file */
    covey_nsec user_time; /**< processor time in its own code */
    covey_nsec system_time;
    uint64_t max_rss; /**< most resident memory, in bytes, shared pages counted */
    const char *stderr_tail; /**< last 4 KiB with .capture_stderr, else "" */
    const char *backtrace;   /**< one frame per line if it crashed, else "" */
    const char *text;        /**< one line: who ended how */
};

/**
 * Read how it ended. The strings live until the object is closed or freed.
 *
 * Returns:  0; COVEY_ENOTSTARTED; -EBUSY while it runs; COVEY_ECLOSED; COVEY_ENOTOWNER;
 *           -ENOMEM.
 */
COVEY_API int covey_process_report(covey_process *process,
                                   struct covey_process_report *ret_report);

/* ---- the process one is ----------------------------------------------------- */

/**
 * The object of the calling process: "MainProcess" in one that covey did not start.
 * Under COVEY_THREAD that of the calling thread.
 *
 * Returns:  an object that lives as long as the process; NULL if the family cannot be
 *           founded (see covey_error_detail).
 */
COVEY_API covey_process *covey_current_process(void);

/**
 * The object of the process that started this one; name, pid, is_alive and join (which
 * waits for its end) work on it.
 *
 * Returns:  an object that lives as long as the process; NULL in the main process.
 */
COVEY_API covey_process *covey_parent_process(void);

/**
 * The started children of this process that have not ended; those that have are reaped.
 *
 * `children`: receives up to `capacity` of them; their creator's hold is the only one.
 * Returns:  0. `*ret_count` is how many there are, which can be more than `capacity`.
 */
COVEY_API int covey_active_children(covey_process **children, size_t capacity,
                                    size_t *ret_count);

/**
 * End this process as a return from its target would: exit hooks, children joined or
 * terminated, output flushed. In the main process it is exit(code). In a
 * COVEY_THREAD process only the thread ends; exit() ends the whole process there, too.
 *
 * Threads: one ends the process; another one that calls this or exit() meanwhile waits until
 *          it has ended, so no hook may wait for that thread.
 */
COVEY_API void covey_exit(int code) __attribute__((noreturn));

/**
 * Call `fn(arg)` when this process ends in order: by return of its target, covey_exit,
 * exit or return from main. Higher priorities first, within one the last registered
 * first. Priorities >= 0 run before daemons are ended and children joined, the others
 * after. The bytes of `arg` are copied. A process's hooks are not run by its children.
 *
 * Returns:  0; -ENOMEM; -EINVAL if `fn` is NULL.
 */
COVEY_API int covey_at_exit(covey_target_fn *fn, struct covey_view arg, int priority);

/**
 * The key this process authenticates itself with; 32 random bytes in the main process,
 * the parent's in a child.
 *
 * Returns:  0; -ENOMEM.
 */
COVEY_API int covey_authkey(struct covey_bytes *ret_key) COVEY_MUST_CHECK;

/**
 * Set that key, for this process and the children it starts from now on.
 *
 * Returns:  0; -EINVAL for no bytes or over 256.
 */
COVEY_API int covey_set_authkey(struct covey_view key) COVEY_MUST_CHECK;

/**
 * How many processors this process may use: its affinity, cut by its cgroup's quota.
 *
 * Returns:  0; -errno of the system.
 */
COVEY_API int covey_cpu_count(size_t *ret_count);

#ifdef __cplusplus
}
#endif

#endif
