/* SPDX-License-Identifier: MIT */
/**
 * process.h: what the files of the process layer share.
 *
 *   object.c     the shared object: making it, its fields, its text
 *   start.c      what all methods have in common; start_fork.c, start_spawn.c,
 *                start_forkserver.c, start_thread.c what they have not
 *   server.c     the fork server's own life
 *   child.c      the life of a child, from its first instruction of ours to its end
 *   join.c       waiting for ends, reaping, signals, reports
 *   self.c       which process one is, its children, its authentication key
 *   exit.c       exit hooks and the order of an end
 *   method.c     which start method is the default
 *   init.c       covey_init: telling a child from a program
 *   code.c       functions as module and offset
 *
 * A process has a shared object, which outlives it as long as somebody holds that. A part
 * of it (cvy_child) is its creator's alone: descriptors, and the list of children.
 */
#ifndef CVY_PROCESS_PROCESS_H
#define CVY_PROCESS_PROCESS_H

#include <pthread.h>

#include "os/code.h"
#include "region/layout.h"
#include "region/member.h"

#include <covey/process.h>

enum cvy_process_state {
    CVY_PROCESS_INITIAL = 0,
    CVY_PROCESS_STARTING, /* a start is under way */
    CVY_PROCESS_STARTED,
    CVY_PROCESS_STOPPED, /* ended and reaped */
};

enum cvy_process_flag {
    CVY_PROCESS_DAEMON = 1,
    CVY_PROCESS_DIES_WITH_PARENT = 2,
    CVY_PROCESS_NEW_GROUP = 4,
    CVY_PROCESS_KEEP_STDIN = 8,
    CVY_PROCESS_CAPTURE = 16,
    CVY_PROCESS_CRASH_HANDLER = 32,
    CVY_PROCESS_CORE_DUMPED = 64,
    CVY_PROCESS_STATUS_UNKNOWN = 128, /* the program reaped it before us */
    CVY_PROCESS_CLOSED = 256,
    CVY_PROCESS_OWN_HOLDS = 512, /* the options name what it holds */
    CVY_PROCESS_MAIN = 1024,     /* not started by covey */
    CVY_PROCESS_LEFT = 16384,    /* by the child: it ended in order, by exit_status */
    CVY_PROCESS_BY_MAIN_THREAD = 8192,  /* started by its parent's first thread */
    CVY_PROCESS_RELEASED = 32768,       /* its creator freed it while it ran */
    CVY_PROCESS_WANTS_LIFELINE = 65536, /* the parent-death signal is not enough */
    CVY_PROCESS_CHILDREN = 131072       /* may have some, also as a daemon */
};

/* Where the clone of a fork server waits until its starter knows what the child is to take
 * over. By the starter: SHUT before it asks for the clone; SHUT, WAITED_AT -> OPEN; any ->
 * GIVEN_UP. By the clone: SHUT -> WAITED_AT; OPEN -> PASSED. */
enum cvy_gate {
    CVY_GATE_SHUT = 0,
    CVY_GATE_OPEN,
    CVY_GATE_WAITED_AT,
    CVY_GATE_PASSED, /* it is the child */
    CVY_GATE_GIVEN_UP
};

#define CVY_NAME_SIZE  64
#define CVY_INLINE_ARG 256

/* The parts of a process's crash area: backtrace, tail of stderr, what is on its way there. */
#define CVY_BACKTRACE_BYTES 4096u
#define CVY_TAIL_BYTES      4096u
#define CVY_PIECE_BYTES     1024u
#define CVY_CRASH_BYTES     (CVY_BACKTRACE_BYTES + CVY_TAIL_BYTES + CVY_PIECE_BYTES)

/** What a fork server's clone takes over from the starter at its gate. */
struct cvy_settings {
    int32_t log_level, log_to_stderr;
    uint32_t method; /* the default one */
    uint32_t authkey_size;
    unsigned char authkey[256];
};

enum cvy_thread_end {
    CVY_THREAD_RUNS = 0,
    CVY_THREAD_ENDED = 1,
    CVY_THREAD_STAYS = 2 /* it is in exit(): ended as a process, but cannot be joined */
};

/** What only the creator uses, protected by cvy_children_lock. It lies in the object, since
 * private memory that a starter writes is copied at its next fork. What it points to lies
 * in runs of the object: leak checkers would take private memory for lost. */
struct cvy_child {
    struct covey_process *process;
    struct cvy_child *next, *previous; /* in the list of children, while started */
    const void *holds[16];
    const int *fds;
    size_t fd_count;
    int sentinel; /* -1 until wanted; for the program, which may replace it by anything */
    struct cvy_os_kept_fd tail_fd; /* what the child's stderr reader may leave behind */
    bool listed;
    bool released;                       /* the program freed its object while it ran */
    const char *tail, *backtrace, *text; /* of the report; NULL until wanted */
    pthread_t thread;                    /* COVEY_THREAD */
    cvy_word thread_done;                /* enum cvy_thread_end */
    struct cvy_os_kept_fd thread_bell;   /* written to at its end, if that is wanted */
};

/* Fields are written by the creator before the start and after the reaping, by the child
 * in between where it says so. */
struct covey_process {
    struct cvy_object object;
    _Atomic uint32_t state;
    uint32_t creator; /* owner word of the member that made it */
    uint32_t member;  /* owner word of the member it is, 0 before the start */
    int32_t pid;
    _Atomic uint32_t flags;
    uint32_t method;
    int32_t exit_status;
    int32_t parent_pid;
    _Atomic uint32_t made;   /* by the process: how many process objects it made */
    uint32_t backtrace_size; /* by the child's crash handler */
    _Atomic uint64_t tail_written; /* by the child's stderr reader */
    cvy_ref parent;                /* process object of the creator */
    cvy_ref arg;                   /* the bytes of its argument */
    uint64_t arg_size;
    cvy_ref crash; /* its area, see above; 0 if not wanted */
    int64_t user_time, system_time;
    uint64_t max_rss;
    cvy_word gate;   /* enum cvy_gate */
    cvy_ref context; /* the starter's struct cvy_os_context, 0: as the server's */
    uint64_t context_size;
    struct cvy_settings settings;
    uint64_t local;         /* of the creator: &child, 0 once it freed the object */
    uint64_t start_timeout; /* ns */
    cvy_word setup;         /* by the child: 1 = set up, 2 = failed */
    int32_t setup_error;
    struct covey_limits limits;
    char name[CVY_NAME_SIZE];
    char identity[CVY_NAME_SIZE]; /* "1:2", "" in a main process */
    char cpus[CVY_NAME_SIZE];
    char setup_text[128]; /* by the child: what failed */
    _Alignas(16) unsigned char inline_arg[CVY_INLINE_ARG];
    struct cvy_code code; /* kind NONE: no function */
    struct cvy_child child;
};
_Static_assert(sizeof(struct covey_process) <= 2048, "an object's header");

/* What a process knows of itself, where a fork child finds zeros: it begins as nobody, with
 * its mutexes unlocked (which is what zeros are), and has no page of its parent's to copy. */
struct cvy_own {
    /* Set once, under children_mutex; read without it, by threads that must find the object
     * filled in. */
    struct covey_process *_Atomic self;
    struct cvy_child *children; /* that were started; under children_mutex */
    pthread_mutex_t children_mutex, hooks_mutex, server_mutex, capture_mutex;
    uint32_t birth;  /* child.c: how it will end */
    cvy_word ending; /* exit.c: the id of the thread that ends it */
};
_Static_assert(sizeof(struct cvy_own) <= sizeof(((struct cvy_process_page *)0)->room),
               "the room");
static inline struct cvy_own *cvy_own(void)
{
    return cvy_process_room;
}

/* ---- self.c ---- */

/** The object of this process, founding the family if needed; NULL with the detail. */
struct covey_process *cvy_self(void);
/** The same in a child that has not attached yet; NULL in any other process. */
struct covey_process *cvy_self_unattached(void);
/** Be `process` (in a child), whose parent's object is `parent`. */
void cvy_self_become(struct covey_process *process);
/** The lock of the private records; held for short times, never while waiting. */
void cvy_children_lock(void);
void cvy_children_unlock(void);
/** Reap those children that have ended. */
void cvy_children_reap(void);
/** The first of the started children; lock held. */
struct cvy_child *cvy_children(void);
void cvy_children_add(struct cvy_child *child);
void cvy_children_remove(struct cvy_child *child);
/** Whether this thread is a COVEY_THREAD process, and which. */
struct covey_process *cvy_self_thread(void);
void cvy_self_set_thread(struct covey_process *process);
/** Its name has changed: log under the new one if it is this process or thread. */
void cvy_self_renamed(const struct covey_process *process);
/** Forget what the parent's memory image says about itself; in a child. */
void cvy_self_forget(void);
size_t cvy_self_authkey(unsigned char key[256]);
/** Have one, for a fork child to inherit. */
int cvy_self_make_authkey(void);
/** In a child that has one thread: the starter's key. */
void cvy_self_take_authkey(const unsigned char *key, size_t size);

/* ---- object.c ---- */

/** Checks of a public call: attached, a process object, open, of this process. */
int cvy_process_enter(struct covey_process *p, const char *call, unsigned what);
/** The same for a call that needs room for its answer. */
int cvy_process_enter_for(struct covey_process *p, const char *call, const void *answer,
                          unsigned what);
enum { CVY_WANT_OWNER = 1, CVY_WANT_OPEN = 2, CVY_WANT_STARTED = 4 };
/** Close and free what a private record has; NULL is fine. */
void cvy_child_free(struct cvy_child *child);
struct cvy_child *cvy_process_local(const struct covey_process *p);
static inline bool cvy_process_has(const struct covey_process *p, uint32_t flag)
{
    return (atomic_load_explicit(&p->flags, memory_order_relaxed) & flag) != 0;
}
/** Whether any limit is given. */
bool cvy_process_has_limits(const struct covey_limits *limits);
/** The text for an exit status: "exit code 3", "signal SIGTERM". */
void cvy_process_how(int status, char *text, size_t size);

/* ---- start_*.c: each starts `p`, whose member is made. Detail set on failure. ---- */

int cvy_start_fork(struct covey_process *p, struct cvy_child *child);
int cvy_start_spawn(struct covey_process *p, struct cvy_child *child);
int cvy_start_forkserver(struct covey_process *p, struct cvy_child *child);
int cvy_start_thread(struct covey_process *p, struct cvy_child *child);
/** End the calling thread, which is a process. */
void cvy_thread_end(int status) __attribute__((noreturn));
/** The calling thread, which is a process, ends the one it is in, or waits for that: who
 * joins it must not wait for it. */
void cvy_thread_exits_process(int status);
/** A descriptor that becomes readable at its end; lock held. */
int cvy_thread_sentinel(struct cvy_child *child);
/** The end of the life-line pipe that children watch; -errno. */
int cvy_lifeline(void);
/** Whether a child needs it, or the parent-death signal is enough. */
bool cvy_lifeline_is_needed(const struct covey_process *p);
/** What a child of `p`'s options needs of it: -1 if nothing; another negative: -errno. */
int cvy_lifeline_for(const struct covey_process *p);
/** Whether the calling thread is the process's first, which ends with it; if so see to it
 * that it does not end earlier while children rely on that. */
bool cvy_lifeline_is_main_thread(void);
/** In a child: the parent's life-line is not ours to keep open. */
void cvy_lifeline_drop(void);
/** In a child: close the write end, so that the parent's death shows. */
void cvy_lifeline_drop_write(void);
/** Whether the child has something to do before its target that may fail, so that start
 * waits for its word that it is set up. */
bool cvy_start_waits(const struct covey_process *p);
/** Wait for the child's word that it is set up. Kills and reaps nothing. */
int cvy_start_await_setup(struct covey_process *p);
/** In a started child whose start failed: be sure it ended, and reap it. */
void cvy_start_undo(int pid);
/** What a start failure says first: "starting Process-1 by spawn". */
const char *cvy_start_what(const struct covey_process *p, char *text, size_t size);

/* ---- child.c ---- */

struct cvy_child_plan {
    struct covey_process *process;
    uint32_t member;
    int lifeline;    /* read end, -1 none */
    int stderr_read; /* the pipe of captured stderr, -1 none */
    int stderr_write;
    int reply;    /* socket for the word "set up" (spawn), -1: process->setup */
    bool by_exec; /* ends by exit(), not by _exit() */
    bool owns_lifeline;
    bool prepared; /* by cvy_child_prepare */
    bool watches;  /* the parent's end already, or need not */
};
/** What any child of a process that starts no other ones does first, so that clones find
 * it done; in a fork server. */
void cvy_child_prepare(void);
/** Live as the child. `plan` descriptors are taken over. */
void cvy_child_live(const struct cvy_child_plan *plan) __attribute__((noreturn));
/** Whether this process is a child that did not come by exec. */
bool cvy_child_is_fork(void);
/** End a child with this status, in order. */
void cvy_child_end(int status) __attribute__((noreturn));
/** Run a process's function. Returns: its exit code, 0..255. */
int cvy_process_run(struct covey_process *p);

/* ---- capture.c ---- */

/** Child: let descriptor 2 write through a reader that keeps the tail. Takes the pipe. */
int cvy_capture_begin(struct covey_process *p, int read_end, int write_end);
/** In a child: the parent's capture is not ours. */
void cvy_capture_forget(void);
/** Around the fork of `p`: what it writes counts as its captured starter's, if it cannot
 * outlive that. */
void cvy_capture_fork_begins(const struct covey_process *p);
void cvy_capture_fork_ends(void);
/** Child, before an orderly end: what is still in the pipe. */
void cvy_capture_finish(void);
/** Creator, after the end: the rest that is in the pipe becomes part of the tail; lock held. */
void cvy_capture_collect(struct covey_process *p,
                         const struct cvy_os_kept_fd *read_end);
/** Show what this thread has collected; lock not held. */
void cvy_capture_show(void);

/* ---- crash.c ---- */

/** In the starter: what children need not do themselves then. */
void cvy_crash_handler_prepare(void);
/** Write a backtrace into this process's object when a signal ends it whose action is the
 * default one. */
void cvy_crash_handler_install(void);

/* ---- exit.c ---- */

/** Flush stdout and stderr, if there is something to flush. */
void cvy_flush_streams(void);
/** The end of this process in order, once: hooks, children, leaving the family. */
void cvy_process_end(int status);
/** See to it that exit() comes to cvy_process_end. */
void cvy_exit_prepare(void);
/** Who starts daemons anew, when they end, is told by this that the process ends. Always the
 * same function. */
void cvy_exit_set_before_daemons(void (*fn)(void));
/** In a child: the parent's hooks are not ours. */
void cvy_exit_forget(void);

/* ---- join.c ---- */

/** Reap `p` if it ended by `deadline`; without checks. Returns: 0, -ETIMEDOUT. */
int cvy_process_wait(struct covey_process *p, int64_t deadline);

/** Signal it if it is a child still that has not ended; lock held. Returns: 0; -EPERM. */
int cvy_process_signal(struct covey_process *p, int signal);

/* ---- method.c ---- */

enum covey_start_method cvy_method_chosen(void); /* COVEY_DEFAULT_METHOD if none */
void cvy_method_inherit(enum covey_start_method method);
/** The default method; -EINVAL from the environment. Fixes it. */
int cvy_method_default(enum covey_start_method *ret_method);

/* ---- init.c ---- */

bool cvy_init_was_called(void);
/** argv[0] of the program, never NULL. */
const char *cvy_init_argv0(void);
const char *cvy_executable(void);

/* ---- start_forkserver.c ---- */

/** End this process's server and wait for it, if there is one. */
void cvy_forkserver_stop(void);
/** In a child: the parent's server is not ours. */
void cvy_forkserver_forget(void);

#endif
