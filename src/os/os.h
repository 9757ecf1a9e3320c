/* SPDX-License-Identifier: MIT */
/**
 * os.h: the whole contract with the operating system. Nothing outside of src/os/ makes a
 * system call that is not declared here, or includes a system header for one.
 *
 * Unless a comment says otherwise a function
 *   - returns 0 (or what it says, >= 0), or exactly -errno,
 *   - does not block, restarts after EINTR,
 *   - is async-signal-safe, so that a fork child of a threaded program may call it,
 *   - makes descriptors close-on-exec,
 *   - is no cancellation point: pthread_cancel waits until the covey call is over.
 *
 * In a build with CVY_FAULTS each call that can fail is a fault point: the n-th one fails
 * with a chosen errno, see faults.h.
 */
#ifndef CVY_OS_H
#define CVY_OS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include <covey/base.h>

/* ---- time ---- */

/** Nanoseconds of the monotonic clock (vDSO, about 20 ns). Never fails. */
int64_t cvy_os_now(void);
/** The same at the kernel's last tick, 1 to 10 ms ago at most; a fraction of the cost. */
int64_t cvy_os_last_tick(void);
/** Now, in the unit of cvy_os_start_time, rounded up. */
uint64_t cvy_os_boot_ticks(void);
/** Now + timeout; a timeout <= 0 gives 0 (long past), COVEY_FOREVER gives INT64_MAX. */
int64_t cvy_os_deadline(covey_nsec timeout);
/** The inverse: COVEY_FOREVER, COVEY_NOWAIT when it has passed, or the time left. */
covey_nsec cvy_os_time_left(int64_t deadline);
/** Let others run. */
void cvy_os_yield(void);
/** Order a store before an atomic read-modify-write before loads after it, where those
 * by themselves do not. Async-signal-safe. */
static inline void cvy_os_fence_after_swap(void)
{
#if defined(__x86_64__)
    atomic_signal_fence(memory_order_seq_cst); /* its locked instructions do */
#else
    atomic_thread_fence(memory_order_seq_cst);
#endif
}
/** Tell the processor that this is a spin loop (about 25 ns). */
static inline void cvy_os_pause(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb" ::: "memory");
#endif
}

/* ---- futexes: 32-bit words in shared memory ---- */

typedef _Atomic uint32_t cvy_word;

struct cvy_os_wait {
    cvy_word *word;
    uint32_t expected;
};

/** What the kernel sleeps on at most (FUTEX_WAITV_MAX). */
#define CVY_OS_MOST_WAITS 128u

/** Whether cvy_os_futex_waitv works here (asked once per process, then remembered). */
bool cvy_os_has_waitv(void);
/**
 * Sleep while every word has its expected value.
 * Returns: the index of a woken word (the kernel's choice; with the one-word fallback 0),
 *          -EAGAIN a word differs, -ETIMEDOUT, -EINTR, -ENOSYS (n > 1, no waitv),
 *          -EINVAL (n is 0 or more than CVY_OS_MOST_WAITS).
 * Blocks:  until `deadline` (monotonic; INT64_MAX = for ever).
 */
int cvy_os_futex_waitv(const struct cvy_os_wait *waits, unsigned n, int64_t deadline);
/** Sleep while the word is `expected`, at most for `timeout`, without asking for the time.
 * Returns: 0, -EAGAIN, -ETIMEDOUT, -EINTR. */
int cvy_os_futex_wait_for(cvy_word *word, uint32_t expected, covey_nsec timeout);
/** Wake at most `n` sleepers. Returns: how many were woken. */
int cvy_os_futex_wake(cvy_word *word, int n);

/* ---- threads ---- */

/** Let no thread be cancelled (pthread_cancel) at a system call in between. Returns: what
 * to restore. Calls of covey that open, read or close something are made like this. */
int cvy_os_disable_cancel(void);
void cvy_os_restore_cancel(int old);
int cvy_os_tid(void);
/** How many threads this process has; 1 if that cannot be told. */
int cvy_os_thread_count(void);
int cvy_os_pid(void);
int cvy_os_ppid(void);
/** Make the calling thread's exit or death wake one sleeper of `bell`, whose low 30 bits
 * must be 0 for ever, by the pending slot of its robust list; NULL disarms. A fork child
 * inherits it armed. Its memory must not be unmapped before it is disarmed.
 * No system call after the first in a thread. -ENOTSUP where there is no such list. */
int cvy_os_arm_bell(cvy_word *bell);

/** What cvy_os_arm_bell remembers per thread; only for the function below. */
struct cvy_os_bell {
    void *volatile *slot; /* where the system looks; NULL before the first arming */
    void *pending;        /* what has to be there */
    long offset;          /* from there to the bell */
};
extern _Thread_local struct cvy_os_bell cvy_os_bell
    __attribute__((tls_model("initial-exec")));

/** Arm again as the last cvy_os_arm_bell of this thread did: libc's operations on robust
 * mutexes disarm. One compare if nothing happened; nothing if never armed. */
static inline void cvy_os_rearm_bell(void)
{
    if (cvy_os_bell.slot && *cvy_os_bell.slot != cvy_os_bell.pending)
        *cvy_os_bell.slot = cvy_os_bell.pending;
}

/** Let a thread die with `bell` in its robust list's pending slot while this one sleeps on
 * it. Returns: 1 woken, 0 not by the deadline. Not async-signal-safe. */
int cvy_os_bell_rings(cvy_word *bell, int64_t deadline);
/** Whether another thread can run while this one spins. */
bool cvy_os_is_multicore(void);

/** Run `fn(arg)` in a detached thread that takes no signals: those are the program's.
 * Not async-signal-safe. */
int cvy_os_run_aside(void *(*fn)(void *), void *arg);

/* ---- memory ---- */

/** A new memory file of `size` bytes, sparse, sealed against shrinking and growing.
 * -EFBIG over RLIMIT_FSIZE. */
int cvy_os_memfd_create(const char *name, uint64_t size);
/** Map all of `fd` shared, read-write, at exactly `address`.
 * Returns: 0; -EEXIST if something is mapped there; -ENOMEM (RLIMIT_AS) ... */
int cvy_os_map_at(void *address, uint64_t size, int fd, bool in_core_dumps);
int cvy_os_unmap(void *address, uint64_t size);
/** Map the memfd called `name` that process `pid` has open or mapped, to read it only.
 * -ESRCH if there is no such process or memfd, -EACCES if this user may not look, -EPERM
 * if it is only mapped and this process may not open what others map. */
int cvy_os_map_memfd_of(int pid, const char *name, const void **ret_memory,
                        uint64_t *ret_size);
/** Give the pages back to the system; they read as zero afterwards. Page-aligned. */
int cvy_os_punch(void *address, uint64_t size);
/** Make the pages present for writing now. -EINVAL where the kernel cannot. */
int cvy_os_populate(void *address, uint64_t size);
/** memcpy to memory that is not read soon: faster from about a MiB in all on, slower if it
 * is read at once. Whoever synchronizes afterwards sees it as after memcpy. */
void cvy_os_copy_past_caches(void *to, const void *from, size_t size);
/** Memory of zeros that this process's fork children share with it; its storage comes page
 * by page when it is touched. */
int cvy_os_map_common(uint64_t size, void **out);
/** A private zeroed page that a fork child finds zeroed again (MADV_WIPEONFORK); where the
 * kernel cannot wipe: -ENOSYS. */
int cvy_os_wipe_page(void **out);

struct cvy_os_file_id {
    uint64_t device, inode;
    uint64_t resident; /* bytes that have storage */
};
int cvy_os_file_id(int fd, struct cvy_os_file_id *ret_id);
/** The smaller of RAM and of the memory limits of the cgroups this process is in. */
uint64_t cvy_os_memory_limit(void);
uint64_t cvy_os_page_size(void);

/* ---- descriptors ---- */

/** Returns: -1, for `fd = cvy_os_close(fd)`. Negative is fine. */
int cvy_os_close(int fd);
/** A descriptor that is kept for long. The program may close it without asking, and have
 * another file by that number then. */
struct cvy_os_kept_fd {
    int fd; /* -1: none */
    /* others have the same inode, as all eventfds do: another one by this number would
     * pass for it */
    bool is_alike;
    uint64_t device, inode;
};
struct cvy_os_kept_fd cvy_os_keep(int fd);
/** Whether it is still open, and the same file. */
bool cvy_os_is_kept(const struct cvy_os_kept_fd *kept);
/** Close it, unless the program did. */
void cvy_os_close_kept(struct cvy_os_kept_fd *kept);
int cvy_os_pipe(int ret_ends[2]);
/** One whose ends never wait; a flag with an inode of its own: the first one is lowered,
 * once for each time that the second one was raised. */
int cvy_os_flag_pipe(int ret_ends[2]);
int cvy_os_socketpair(int ret_ends[2]); /* AF_UNIX SEQPACKET */
/** A duplicate >= `lowest`. */
int cvy_os_dup(int fd, int lowest);
/** Make `to` a copy of `from`; `to` stays open over exec. */
int cvy_os_dup_to(int from, int to);
int cvy_os_open_null(void);
/** Keep the null device open, so that children need not open it. Failure is harmless. */
void cvy_os_null_prepare(void);
/** Make it stdin. Returns: 0; -errno, as when the program closed that descriptor. */
int cvy_os_null_to_stdin(void);
/** A descriptor that polls readable from the start. */
int cvy_os_ready_fd(void);
/** Give the calling thread a table of descriptors of its own, where `first` and `second`, both
 * above 1, are 0 and 1, and nothing else is open. -errno: it has the others' still. */
int cvy_os_own_descriptors(int first, int second);
/** Close every descriptor >= `lowest`. */
int cvy_os_close_from(int lowest);
/** One message, not empty, with at most 64 descriptors. Blocks while the buffer is full.
 * -EPIPE. */
int cvy_os_send(int fd, const void *data, size_t size, const int *fds, size_t fd_count);
/** End a socket for both sides, also where other processes have it. */
void cvy_os_hang_up(int fd);
/** Receive one message. Returns: its size, 0 at the end; -ETIMEDOUT; -EMSGSIZE if it (or
 * its descriptors) did not fit, -EMFILE if this process may not have so many: the message
 * is gone then. Blocks: until `deadline`. */
ssize_t cvy_os_recv(int fd, void *data, size_t size, int *ret_fds, size_t fd_capacity,
                    size_t *ret_fd_count, int64_t deadline);
/** Wait until readable or hung up. Returns: 1, or 0 at the deadline. Blocks. */
int cvy_os_poll_in(int fd, int64_t deadline);
/** Read at most `size` bytes without waiting; by one reader at a time. Returns: bytes, 0
 * end, -EAGAIN. */
ssize_t cvy_os_read_now(int fd, void *data, size_t size);
/** How many bytes are in a pipe or socket. -errno. */
int cvy_os_readable(int fd);
/** Read; blocks. */
ssize_t cvy_os_read(int fd, void *data, size_t size);
/** Write all; blocks. SIGPIPE is not raised. */
int cvy_os_write_all(int fd, const void *data, size_t size);
/** The same, but -ETIMEDOUT when for `patience` nothing more could be written. */
int cvy_os_write_patiently(int fd, const void *data, size_t size, covey_nsec patience);
struct cvy_os_peer {
    int pid;
    uint32_t uid, gid;
};
int cvy_os_peer(int fd, struct cvy_os_peer *ret_peer);
int cvy_os_random(void *data, size_t size);

/* ---- processes ---- */

/** glibc's fork(), with its handlers. Returns: pid, 0 in the child. */
int cvy_os_fork(void);
/**
 * Raw clone for a single-threaded server: the child's parent is the caller's parent, and
 * glibc's cached thread id and robust list are right in the child. `ret_pid`, if not NULL,
 * has the pid before the child runs, and also if the caller is killed meanwhile.
 * Returns: pid, 0 in the child; -ENOTSUP where glibc's thread id cannot be found.
 */
int cvy_os_clone_sibling(int32_t *ret_pid);
/**
 * Run `path` (NULL: /proc/self/exe) with `argv`, the descriptors 0, 1, 2 as they are, `fd`
 * as descriptor 3, and no others; the environment is this process's.
 * Returns: pid; -errno, also of a failed exec. Not async-signal-safe.
 */
int cvy_os_spawn(const char *path, char *const argv[], int fd);
/**
 * Run `fn(context)` in a fork child that nothing of this process's fate concerns: it has a
 * session of its own, the root as its folder, no signals but SIGKILL, and no descriptors
 * but `fd` as 0, unless that is -1. It ends when `fn` returns, without exit hooks. Other
 * threads may have held locks, so `fn` takes none of those.
 * Returns: its pid, which is to be waited for; -errno.
 */
int cvy_os_fork_apart(int fd, void (*fn)(void *context), void *context);
/** A descriptor of process `pid` that polls readable at its end. -ENOSYS, -ESRCH, -EPERM. */
int cvy_os_pidfd_open(int pid);
/** Send `signal` to a process by pidfd if >= 0, else by pid. -ESRCH when it is gone. */
int cvy_os_kill(int pid, int pidfd, int signal);

struct cvy_os_exit {
    int pid;
    int status; /* 0..255, or -N for signal N */
    bool core_dumped;
    int64_t user_time, system_time; /* ns */
    uint64_t max_rss;               /* bytes */
};
/** Wait for a child's end and reap it.
 * Returns: 0; -ETIMEDOUT; -ECHILD not (or no longer) a child of ours.
 * Blocks:  until `deadline`. Where the system has no pidfds, one other than 0 and
 *          INT64_MAX means looking every 1 to 20 ms. */
int cvy_os_wait_child(int pid, int pidfd, int64_t deadline,
                      struct cvy_os_exit *ret_exit);
/** Wait for a child's end without reaping it. Several threads may at once.
 * Returns: 0: it can be reaped; -ETIMEDOUT; -ECHILD not, or no longer, a child of ours. */
int cvy_os_await_end(int pid, int64_t deadline);
/** When process `pid` began, in ticks since boot; identifies it with its pid.
 * -ESRCH; -ENOENT without /proc. A zombie counts as gone (-ESRCH). */
int cvy_os_start_time(int pid, uint64_t *ret_ticks);
/** Whether process `pid` still runs, which began at `ticks` at the latest (0: unknown); one
 * that began later only has its number. A zombie does not run. */
bool cvy_os_is_running(int pid, uint64_t ticks);
/** Be killed by SIGKILL when all write ends of the pipe whose read end is `fd` are closed,
 * whichever thread or process closes last, without a thread of ours. Data written to the
 * pipe kills too. `fd` may be closed afterwards; a second call replaces the first. A fork
 * child is not concerned until it calls this itself. Needs /proc.
 * Returns: 0; -EPIPE if they are closed already; other: cannot, use die_with_thread. */
int cvy_os_die_with_pipe(int fd);
/** Be killed by SIGKILL when the thread that created this process ends.
 * -ESRCH if this process's parent is not (or no longer) `parent_pid`. */
int cvy_os_die_with_thread(int parent_pid);
/** Its two halves: open the pipe once more, which a fork server can do for its clones at a
 * quarter of the cost; and watch that, which is taken over. */
int cvy_os_line_open(int fd);
int cvy_os_line_watch(int copy);
/** Do not die by it any more. */
void cvy_os_line_drop(void);
int cvy_os_new_group(void);
int cvy_os_set_cpus(const char *list); /* "0-3,6"; -EINVAL */
/** Check such a list without applying it. */
int cvy_os_check_cpus(const char *list);
enum cvy_os_limit {
    CVY_OS_LIMIT_CPU,
    CVY_OS_LIMIT_DATA,
    CVY_OS_LIMIT_STACK,
    CVY_OS_LIMIT_FILE,
    CVY_OS_LIMIT_OPEN,
    CVY_OS_LIMIT_CORE
};
/** Set the soft and the hard limit. For processor time the hard one is a second more: the
 * process gets SIGXCPU first. -EPERM over the old hard one without privileges. */
int cvy_os_set_limit(enum cvy_os_limit which, uint64_t value);
/** The memory that is a process's own, in RAM and swapped out; 0: this process. Bytes.
 * -ESRCH; -ENOENT without /proc. */
int cvy_os_own_memory(int pid, uint64_t *ret_bytes);
/** Let this process's private memory grow by at most so much from now on; can be called
 * again. UINT64_MAX: as far as it may. Whatever is not possible is left as it is. */
void cvy_os_limit_growth(uint64_t bytes);
/** Processors this process may use: affinity cut by cgroup quota, at least 1. */
int cvy_os_cpu_count(size_t *ret_count);
/** A set of processors, those of the largest numbers left out. */
#define CVY_OS_CPUS 1024u
struct cvy_os_cpus {
    uint64_t words[CVY_OS_CPUS / 64];
};
/** Numbers that no processor in such a set has are left out. */
void cvy_os_add_cpu(struct cvy_os_cpus *cpus, int cpu);
/** The processor that this thread is on; -1: not known. */
int cvy_os_cpu(void);
/** The one that the first thread of a process runs on; -1: it does not run, or nobody
 * knows. */
int cvy_os_cpu_of(int pid);
/** If the first thread of that process runs on this thread's processor, go to another one,
 * not in `taken`, at once and without staying bound to it.
 * -EBUSY: there is none; -ESRCH: it does not; -EPERM and others of the system. */
int cvy_os_part_from(int pid, const struct cvy_os_cpus *taken);
/** Whether the process runs with raised privileges (AT_SECURE). */
bool cvy_os_is_secure(void);
/** Whether a program that this process runs would. */
bool cvy_os_makes_secure(void);
/** Whether a person reads this stream. */
bool cvy_os_is_terminal(FILE *stream);
/** Whether the stream has output that was not written yet. */
bool cvy_os_has_output(FILE *stream);
/** _exit; builds with sanitizers or coverage check for leaks and write their data first,
 * and a leak makes the status another one. */
void cvy_os_exit(int status) __attribute__((noreturn));
/** By SIGKILL, as the kernel would have done for who came too late to ask for that. */
void cvy_os_die(void) __attribute__((noreturn));
/** Let this process ignore SIGINT. */
void cvy_os_ignore_interrupt(void);
/** Get what cvy_os_on_crash needs, so that children need not: a stack, and whom to call. */
void cvy_os_crash_prepare(void (*fn)(int signal, void *context));
/** Call that function when a signal that tells of a crash comes and its action is the
 * default one; afterwards the process ends by that signal. On a stack of its own. */
void cvy_os_on_crash(void);
/** Take that back. */
void cvy_os_off_crash(void);
/** In such a call: the frames that led to the crash, a line each. Ends the process by the
 * signal if that takes a second, as it can when the crash hit libc itself.
 * Returns: bytes written, at most `size`. */
size_t cvy_os_backtrace(int signal, char *text, size_t size);
void cvy_os_set_comm(const char *name);

#endif
