/* SPDX-License-Identifier: MIT */
/* object.c: making process objects, reading and setting their fields, their text. */
#include "region/object.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/base.h"
#include "base/error.h"
#include "base/memory.h"
#include "base/opts.h"
#include "process/message.h"
#include "region/look.h"
#include "region/member.h"

/* ---- checks ---- */

struct cvy_child *cvy_process_local(const struct covey_process *p)
{
    return (struct cvy_child *)(uintptr_t)p->local;
}

/* Its creator knows by the state. A child, and whoever it tells of itself, may ask before
 * its creator's start has returned. */
static bool has_started(struct covey_process *p)
{
    if (atomic_load(&p->state) >= CVY_PROCESS_STARTED)
        return true;
    return p->pid && (p->creator != cvy_member_owner() || p == cvy_self());
}

int cvy_process_enter(struct covey_process *p, const char *call, unsigned what)
{
    int r = cvy_enter();
    if (r >= 0)
        r = cvy_object_check(p, CVY_KIND_PROCESS, call);
    if (r < 0)
        return r;
    bool mine = p->creator == cvy_member_owner();
    if (mine && cvy_process_has(p, CVY_PROCESS_RELEASED))
        return cvy_fail(COVEY_EFREED, "%s: %s was freed while it ran", call, p->name);
    if ((what & CVY_WANT_OWNER) && (!mine || !p->local))
        return cvy_fail(COVEY_ENOTOWNER, "%s: %s was made by another process", call,
                        p->name);
    if ((what & CVY_WANT_OPEN) && cvy_process_has(p, CVY_PROCESS_CLOSED))
        return cvy_fail(COVEY_ECLOSED, "%s: process object %s is closed", call,
                        p->name);
    if ((what & CVY_WANT_STARTED) && !has_started(p))
        return cvy_fail(COVEY_ENOTSTARTED, "%s: %s is not started", call, p->name);
    return 0;
}

int cvy_process_enter_for(struct covey_process *p, const char *call, const void *answer,
                          unsigned what)
{
    int r = cvy_process_enter(p, call, what);
    return r < 0 || answer ? r : cvy_fail(-EINVAL, "%s: no room for the answer", call);
}

/* ---- creating ---- */

static uint32_t flag_if(bool condition, uint32_t flag)
{
    return condition ? flag : 0;
}

static bool chosen(enum covey_switch value, bool otherwise)
{
    return value == COVEY_UNSET ? otherwise : value == COVEY_ON;
}

static uint32_t flags_of(const struct covey_process_opts *o,
                         const struct covey_process *self)
{
    return flag_if(chosen(o->daemon, cvy_process_has(self, CVY_PROCESS_DAEMON)),
                   CVY_PROCESS_DAEMON) |
           flag_if(chosen(o->children, false), CVY_PROCESS_CHILDREN) |
           flag_if(chosen(o->die_with_parent, true), CVY_PROCESS_DIES_WITH_PARENT) |
           flag_if(o->die_with_parent == COVEY_ON, CVY_PROCESS_WANTS_LIFELINE) |
           flag_if(chosen(o->new_group, false), CVY_PROCESS_NEW_GROUP) |
           flag_if(chosen(o->keep_stdin, false), CVY_PROCESS_KEEP_STDIN) |
           flag_if(chosen(o->capture_stderr, false), CVY_PROCESS_CAPTURE) |
           flag_if(chosen(o->crash_handler, true), CVY_PROCESS_CRASH_HANDLER) |
           flag_if(o->holds[0] != NULL, CVY_PROCESS_OWN_HOLDS);
}

CVY_CHILD_CODE bool cvy_process_has_limits(const struct covey_limits *l)
{
    return l->cpu_seconds || l->data_bytes || l->stack_bytes || l->file_bytes ||
           l->open_files || l->core_dumps != COVEY_UNSET;
}

static int check_thread_opts(const struct covey_process_opts *o)
{
    if (o->new_group == COVEY_ON || o->capture_stderr == COVEY_ON || o->cpus ||
        o->fd_count || cvy_process_has_limits(&o->limits))
        return cvy_fail(-ENOTSUP,
                        "covey_process_create: a thread has no process group, "
                        "stderr, processors, descriptors or limits of its own");
    return 0;
}

static int check_opts(const struct covey_process_opts *o)
{
    static const char call[] = "covey_process_create";
    if (o->method < COVEY_DEFAULT_METHOD || o->method > COVEY_THREAD)
        return cvy_fail(-EINVAL, "%s: start method %d does not exist", call,
                        (int)o->method);
    if (o->name && (!*o->name || strlen(o->name) >= CVY_NAME_SIZE))
        return cvy_fail(-EINVAL, "%s: a name has 1 to %d bytes", call,
                        CVY_NAME_SIZE - 1);
    if (o->fd_count > CVY_MOST_FDS || (o->fd_count && !o->fds))
        return cvy_fail(-EINVAL, "%s: at most %u descriptors, and where they are", call,
                        CVY_MOST_FDS);
    for (size_t i = 0; i < o->fd_count; i++)
        if (o->fds[i] < 3)
            return cvy_fail(-EINVAL, "%s: descriptor %d is inherited anyway or none",
                            call, o->fds[i]);
    if (o->cpus && (strlen(o->cpus) >= CVY_NAME_SIZE || cvy_os_check_cpus(o->cpus) < 0))
        return cvy_fail(-EINVAL, "%s: '%s' is no list of processors such as 0-3,6",
                        call, o->cpus);
    if (o->start_timeout < 0)
        return cvy_fail(-EINVAL, "%s: negative start_timeout", call);
    return 0;
}

static int fill_child(struct cvy_child *child, const struct covey_process_opts *o)
{
    cvy_ref ref;
    child->sentinel = child->tail_fd.fd = child->thread_bell.fd = -1;
    memcpy(child->holds, o->holds, sizeof child->holds);
    if (!o->fd_count || o->method == COVEY_FORK) /* a copy of this process has all */
        return 0;
    int r = cvy_object_add_run(child->process, o->fd_count * sizeof *o->fds, &ref);
    if (r < 0)
        return r;
    child->fds = cvy_at(ref);
    memcpy(cvy_at(ref), o->fds, o->fd_count * sizeof *o->fds);
    child->fd_count = o->fd_count;
    return 0;
}

void cvy_child_free(struct cvy_child *child)
{
    if (!child)
        return;
    cvy_os_close(child->sentinel);
    cvy_os_close_kept(&child->tail_fd);
    cvy_os_close_kept(&child->thread_bell);
}

/* "1:2" for the second one that "1" makes, and the name made of it. */
static void give_names(struct covey_process *p, struct covey_process *self,
                       const char *name)
{
    unsigned number = atomic_fetch_add(&self->made, 1) + 1;
    char digits[12];
    /* A chain of generations that outgrows the room keeps its beginning. */
    size_t at = strnlen(self->identity, sizeof p->identity - 12), n = 0;
    memcpy(p->identity, self->identity, at);
    if (at)
        p->identity[at++] = ':';
    /* By hand, as stdio needs a page of stack, which is one to copy after each fork. */
    do
        digits[n++] = (char)('0' + number % 10);
    while (number /= 10);
    while (n)
        p->identity[at++] = digits[--n];
    if (name) {
        memcpy(p->name, name, strlen(name));
    } else {
        memcpy(p->name, "Process-", 8);
        memcpy(p->name + 8, p->identity, strnlen(p->identity, CVY_NAME_SIZE - 9));
    }
}

static int give_arg(struct covey_process *p, struct covey_view arg, cvy_ref body)
{
    p->arg_size = arg.size;
    p->arg = arg.size > CVY_INLINE_ARG ? body : cvy_ref_of(p->inline_arg);
    if (arg.size)
        memcpy(cvy_at(p->arg), arg.data, arg.size);
    if (!cvy_process_has(p, CVY_PROCESS_CRASH_HANDLER | CVY_PROCESS_CAPTURE))
        return 0;
    bool capture = cvy_process_has(p, CVY_PROCESS_CAPTURE);
    return cvy_object_add_run(p, capture ? CVY_CRASH_BYTES : CVY_BACKTRACE_BYTES,
                              &p->crash);
}

static int fill(struct covey_process *p, struct covey_process *self,
                const struct covey_process_opts *o, const struct cvy_code *code)
{
    p->creator = cvy_member_owner();
    p->method = o->method;
    p->parent = cvy_ref_of(self);
    p->parent_pid = cvy_os_pid();
    p->limits = o->limits;
    p->start_timeout = (uint64_t)(o->start_timeout ? o->start_timeout : COVEY_SEC(30));
    p->code = *code;
    if (o->cpus)
        memcpy(p->cpus, o->cpus, strlen(o->cpus));
    atomic_store(&p->flags, flags_of(o, self));
    give_names(p, self, o->name);
    p->child.process = p;
    p->local = (uint64_t)(uintptr_t)&p->child;
    return fill_child(&p->child, o);
}

static int check_switches(const struct covey_process_opts *o)
{
    return CVY_CHECK_SWITCHES(
        "covey_process_create", {".daemon", o->daemon}, {".children", o->children},
        {".die_with_parent", o->die_with_parent}, {".new_group", o->new_group},
        {".keep_stdin", o->keep_stdin}, {".capture_stderr", o->capture_stderr},
        {".crash_handler", o->crash_handler},
        {".limits.core_dumps", o->limits.core_dumps});
}

static int prepare_opts(struct covey_process_opts *o,
                        const struct covey_process_opts *opts)
{
    int r = CVY_TAKE_OPTS(o, opts, "covey_process_create");
    if (r >= 0)
        r = check_switches(o);
    if (r >= 0)
        r = check_opts(o);
    if (r >= 0 && o->method == COVEY_DEFAULT_METHOD)
        r = cvy_method_default(&o->method);
    if (r >= 0 && o->method == COVEY_THREAD)
        r = check_thread_opts(o);
    return r;
}

int covey_process_create(covey_process **out, covey_target_fn *fn,
                         struct covey_view arg, const struct covey_process_opts *opts)
{
    struct covey_process_opts o;
    struct cvy_code code = {.kind = CVY_CODE_NONE};
    if (!out || (arg.size && !arg.data))
        return cvy_fail(-EINVAL, "covey_process_create: out or the argument is NULL");
    struct covey_process *self = cvy_self();
    if (!self)
        return cvy_last_code();
    int r = prepare_opts(&o, opts);
    if (r >= 0 && fn)
        r = cvy_code_encode((cvy_code_fn *)fn, &code);
    if (r < 0)
        return r;

    void *made = NULL;
    cvy_ref body = 0;
    r = cvy_object_create(CVY_KIND_PROCESS, sizeof(struct covey_process),
                          CVY_OBJECT_PRIVATE, arg.size > CVY_INLINE_ARG ? arg.size : 0,
                          &made, &body);
    if (r < 0)
        return r;
    struct covey_process *p = made;
    r = fill(p, self, &o, &code);
    if (r >= 0)
        r = give_arg(p, arg, body);
    if (r < 0) {
        cvy_child_free(cvy_process_local(p));
        (void)cvy_object_release(p);
        return r;
    }
    *out = p;
    return 0;
}

/* ---- closing and freeing ---- */

static void close_descriptors(struct cvy_child *child)
{
    child->sentinel = cvy_os_close(child->sentinel);
    cvy_os_close_kept(&child->tail_fd);
    cvy_os_close_kept(&child->thread_bell);
}

int covey_process_close(covey_process *p)
{
    int r = cvy_process_enter(p, "covey_process_close", CVY_WANT_OWNER);
    if (r < 0 || cvy_process_has(p, CVY_PROCESS_CLOSED))
        return r;
    if (atomic_load(&p->state) == CVY_PROCESS_STARTED && cvy_process_wait(p, 0) < 0)
        return cvy_fail(COVEY_ESTATE,
                        "covey_process_close: %s runs; join or kill it first", p->name);
    if (atomic_load(&p->state) == CVY_PROCESS_STARTING)
        return cvy_fail(COVEY_ESTATE, "covey_process_close: %s is being started",
                        p->name);
    cvy_children_lock();
    close_descriptors(cvy_process_local(p));
    atomic_fetch_or(&p->flags, CVY_PROCESS_CLOSED);
    cvy_children_unlock();
    return 0;
}

/* A process that runs goes on: its record stays in the list of children, with the object,
 * until it is reaped. */
void covey_process_free(covey_process *p)
{
    if (!p || cvy_process_enter(p, "covey_process_free", 0) < 0 ||
        cvy_process_has(p, CVY_PROCESS_MAIN))
        return;
    bool mine = p->creator == cvy_member_owner() && p->local;
    if (mine && atomic_load(&p->state) == CVY_PROCESS_STARTED)
        (void)cvy_process_wait(p, 0);
    struct cvy_child *child = NULL;
    if (mine) {
        cvy_children_lock();
        child = cvy_process_local(p);
        if (child->listed) {
            child->released = true;
            atomic_fetch_or(&p->flags, CVY_PROCESS_RELEASED);
            cvy_children_unlock();
            return;
        }
        p->local = 0;
        cvy_children_unlock();
    }
    cvy_child_free(child);
    (void)cvy_object_release(p);
}

/* ---- fields ---- */

int covey_process_pid(covey_process *p, int *ret_pid)
{
    int r = cvy_process_enter_for(p, "covey_process_pid", ret_pid,
                                  CVY_WANT_OPEN | CVY_WANT_STARTED);
    if (r >= 0)
        *ret_pid = p->pid;
    return r;
}

const char *covey_process_name(covey_process *p)
{
    return cvy_process_enter(p, "covey_process_name", 0) < 0 ? NULL : p->name;
}

int covey_process_set_name(covey_process *p, const char *name)
{
    int r = cvy_process_enter(p, "covey_process_set_name", 0);
    if (r < 0)
        return r;
    if (p->creator != cvy_member_owner() && p->member != cvy_member_owner())
        return cvy_fail(COVEY_ENOTOWNER, "covey_process_set_name: %s is another's",
                        p->name);
    if (!name || !*name || strlen(name) >= CVY_NAME_SIZE)
        return cvy_fail(-EINVAL, "covey_process_set_name: a name has 1 to %d bytes",
                        CVY_NAME_SIZE - 1);
    snprintf(p->name, sizeof p->name, "%s", name);
    cvy_self_renamed(p);
    return 0;
}

int covey_process_daemon(covey_process *p)
{
    int r = cvy_process_enter(p, "covey_process_daemon", 0);
    return r < 0 ? r : cvy_process_has(p, CVY_PROCESS_DAEMON);
}

int covey_process_set_daemon(covey_process *p, int daemon)
{
    int r = cvy_process_enter(p, "covey_process_set_daemon",
                              CVY_WANT_OWNER | CVY_WANT_OPEN);
    if (r < 0)
        return r;
    if (atomic_load(&p->state) != CVY_PROCESS_INITIAL)
        return cvy_fail(COVEY_ESTATE,
                        "covey_process_set_daemon: %s was started already", p->name);
    if (daemon)
        atomic_fetch_or(&p->flags, CVY_PROCESS_DAEMON);
    else
        atomic_fetch_and(&p->flags, ~(uint32_t)CVY_PROCESS_DAEMON);
    return 0;
}

/* ---- text ---- */

void cvy_process_how(int status, char *text, size_t size)
{
    const char *name = status < 0 ? sigabbrev_np(-status) : NULL;
    if (status >= 0)
        snprintf(text, size, "exit code %d", status);
    else if (name)
        snprintf(text, size, "signal SIG%s", name);
    else
        snprintf(text, size, "signal %d", -status);
}

static const char *state_name(struct covey_process *p)
{
    if (cvy_process_has(p, CVY_PROCESS_CLOSED))
        return "closed";
    if (p == cvy_self())
        return "started";
    if (p->creator != cvy_member_owner() || !p->local)
        return "unknown";
    switch (atomic_load(&p->state)) {
    case CVY_PROCESS_INITIAL:
    case CVY_PROCESS_STARTING:
        return "initial";
    case CVY_PROCESS_STARTED:
        return cvy_process_wait(p, 0) < 0 ? "started" : "stopped";
    default:
        return "stopped";
    }
}

static int append(struct covey_bytes *text, const char *format, ...) COVEY_PRINTF(2, 3);
static int append(struct covey_bytes *text, const char *format, ...)
{
    char piece[128];
    va_list ap;
    va_start(ap, format);
    int n = vsnprintf(piece, sizeof piece, format, ap);
    va_end(ap);
    size_t old = text->size,
           more = (size_t)n < sizeof piece ? (size_t)n : sizeof piece - 1;
    int r = covey_bytes_resize(text, old + more + 1);
    if (r < 0)
        return r;
    memcpy((char *)text->data + old, piece, more + 1);
    text->size = old + more;
    return 0;
}

int covey_process_repr(covey_process *p, struct covey_bytes *ret_text)
{
    int r = cvy_process_enter_for(p, "covey_process_repr", ret_text, 0);
    if (r < 0)
        return r;
    const char *state = state_name(p);
    bool closed = cvy_process_has(p, CVY_PROCESS_CLOSED);
    ret_text->size = 0;
    r = append(ret_text, "<Process name='%s'", p->name);
    if (r >= 0 && !closed && has_started(p))
        r = append(ret_text, " pid=%d", p->pid);
    if (r >= 0)
        r = append(ret_text, " parent=%d %s", p->parent_pid, state);
    if (r >= 0 && !closed && atomic_load(&p->state) == CVY_PROCESS_STOPPED) {
        const char *name = p->exit_status < 0 ? sigabbrev_np(-p->exit_status) : NULL;
        r = name ? append(ret_text, " exitcode=-SIG%s", name)
                 : append(ret_text, " exitcode=%d", p->exit_status);
    }
    if (r >= 0 && cvy_process_has(p, CVY_PROCESS_DAEMON))
        r = append(ret_text, " daemon");
    return r < 0 ? r : append(ret_text, ">");
}

/* ---- from outside ---- */

static void look(const struct cvy_head *head, const struct cvy_object *object,
                 char *text, size_t size)
{
    (void)head;
    const struct covey_process *p = (const void *)object;
    int pid = p->pid;
    switch (atomic_load(&p->state)) {
    case CVY_PROCESS_STARTED:
        (void)snprintf(text, size, "started, pid %d", pid);
        break;
    case CVY_PROCESS_STOPPED:
        (void)snprintf(text, size, "ended, pid was %d", pid);
        break;
    default:
        (void)snprintf(text, size, "not started");
    }
}

__attribute__((constructor)) static void show_processes(void)
{
    cvy_look_register(CVY_KIND_PROCESS, offsetof(struct covey_process, name),
                      sizeof((struct covey_process *)0)->name, look);
}
