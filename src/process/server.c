/* SPDX-License-Identifier: MIT */
/* server.c: the life of a fork server and its clones until they are a child.
 *
 * The server has one thread, blocks all signals, is no member of the family, and dies
 * with the process it serves. It clones by a raw system call, which is sound only because
 * it has one thread: no lock of libc can be held by another. A preloaded object that
 * starts threads is refused at each fork. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/single_threaded.h>

#include "base/base.h"
#include "base/error.h"
#include "os/modules.h"
#include "process/message.h"
#include "region/member.h"

/* What clones need of the room once they are on their way lies here, as the starter may
 * give the room up meanwhile. */
struct server {
    struct cvy_server_room *room;
    int socket, lifeline, owner_pid;
    bool by_main_thread, multicore;
    struct cvy_os_context context;
};

/* ---- clones ---- */

static void fail_child(struct covey_process *p)
{
    p->setup_error = COVEY_ESTART;
    snprintf(p->setup_text, sizeof p->setup_text, "%s", covey_error_detail());
    atomic_store(&p->setup, 2);
    (void)cvy_os_futex_wake(&p->setup, 1);
    cvy_os_exit(1);
}

/* The spare's starter is just looking at what it has to hand over, which takes less than
 * to fall asleep and to be woken. Without asking for the time: that is three pages. */
CVY_CHILD_CODE static void spin_at_gate(const struct server *s, struct covey_process *p)
{
    for (int round = 0; s->multicore && round < 32; round++) {
        for (int i = 0; i < 64; i++) {
            if (atomic_load_explicit(&p->gate, memory_order_relaxed) != CVY_GATE_SHUT)
                return;
            cvy_os_pause();
        }
        cvy_os_yield();
    }
}

/* The clone is made while the starter still looks whether this server may serve it, and
 * at what the child is to take over; here it waits for that, or to be given up. Returns:
 * whether it is the child. */
CVY_CHILD_CODE static bool pass_gate(const struct server *s, struct covey_process *p)
{
    spin_at_gate(s, p);
    for (bool orphaned = false;;) {
        uint32_t gate = atomic_load(&p->gate), shut = CVY_GATE_SHUT;
        if (gate == CVY_GATE_OPEN &&
            atomic_compare_exchange_strong(&p->gate, &gate, CVY_GATE_PASSED))
            return true;
        if (gate != CVY_GATE_SHUT && gate != CVY_GATE_WAITED_AT)
            return false;
        if (orphaned)
            return false; /* nobody opens */
        /* The starter may have opened, and died then: the gate is looked at once more. */
        orphaned = cvy_os_ppid() != s->owner_pid;
        if (orphaned)
            continue;
        (void)atomic_compare_exchange_strong(&p->gate, &shut, CVY_GATE_WAITED_AT);
        (void)cvy_os_futex_wait_for(&p->gate, CVY_GATE_WAITED_AT, COVEY_MSEC(200));
    }
}

CVY_CHILD_CODE static int take_context(const struct server *s,
                                       const struct covey_process *p)
{
    const char *what = "";
    const struct cvy_os_context *is = &s->context, *wanted = is;
    if (p->context) {
        size_t at = cvy_round_up(sizeof *wanted, 16);
        wanted = cvy_at(p->context);
        int r = cvy_os_context_become(is, wanted, (char *)cvy_at(p->context) + at,
                                      p->context_size - at, &what);
        if (r < 0)
            return cvy_fail_os(r, "the starter's %s", what);
    }
    cvy_os_context_unblock(wanted);
    return 0;
}

/* The life-line that the clone has to watch; -1 if none, or the parent's first thread. */
CVY_CHILD_CODE static int lifeline_of(const struct server *s, struct covey_process *p)
{
    if (s->by_main_thread)
        atomic_fetch_or(&p->flags, CVY_PROCESS_BY_MAIN_THREAD);
    else
        atomic_fetch_and(&p->flags, ~(uint32_t)CVY_PROCESS_BY_MAIN_THREAD);
    return cvy_lifeline_is_needed(p) ? s->lifeline : cvy_os_close(s->lifeline);
}

/* A spare watches the life-line since its birth: the parent-death signal would be lost if
 * the starter became another user. Now as its process is to watch its parent. */
CVY_CHILD_CODE static void watch_as_wanted(const struct covey_process *p)
{
    if (cvy_lifeline_is_needed(p))
        return;
    if (cvy_os_die_with_thread(p->parent_pid) == -ESRCH)
        cvy_os_die();
    cvy_os_line_drop();
}

static void be_child(const struct server *s, const struct cvy_server_request *request,
                     const int *fds, bool is_spare) __attribute__((noreturn));
CVY_CHILD_CODE static void be_child(const struct server *s,
                                    const struct cvy_server_request *request,
                                    const int *fds, bool is_spare)
{
    struct covey_process *p = cvy_at(request->process);
    struct cvy_child_plan plan = {.process = p,
                                  .stderr_read = -1,
                                  .stderr_write = -1,
                                  .reply = -1,
                                  .owns_lifeline = true,
                                  .prepared = true};
    if (!is_spare)
        cvy_os_close(s->socket);
    if (request->has_tail) {
        plan.stderr_read = fds[0];
        plan.stderr_write = fds[1];
        fds += 2;
    }
    if (!pass_gate(s, p))
        cvy_os_exit(1);
    plan.member = p->member;
    plan.lifeline = lifeline_of(s, p);
    if (is_spare) {
        watch_as_wanted(p);
        plan.watches = true;
        plan.lifeline = cvy_os_close(plan.lifeline);
    }
    cvy_settings_take(&p->settings);
    int *keep[] = {&plan.lifeline, &plan.stderr_read, &plan.stderr_write};
    int r = cvy_region_make_way(request->fd_numbers, request->fd_count);
    if (r >= 0)
        r = cvy_place_fds(fds, request->fd_numbers, request->fd_count, keep,
                          request->fd_count ? CVY_ARRAY_SIZE(keep) : 0);
    if (r >= 0)
        r = take_context(s, p);
    if (r < 0)
        fail_child(p);
    cvy_child_live(&plan);
}

CVY_CHILD_CODE static int clone_one(int32_t *ret_pid)
{
    if (!__libc_single_threaded)
        return -EDEADLK;
    return cvy_os_clone_sibling(ret_pid);
}

/* ---- spares ---- */

static void be_spare(const struct server *s, struct cvy_spare *spare, int line)
    __attribute__((noreturn));
CVY_CHILD_CODE static void be_spare(const struct server *s, struct cvy_spare *spare,
                                    int line)
{
    cvy_os_close(s->socket);
    cvy_self_forget();
    if (cvy_os_line_watch(line) < 0)
        cvy_os_die();
    uint32_t state = CVY_SPARE_BORN;
    if (atomic_compare_exchange_strong(&spare->state, &state, CVY_SPARE_IDLE))
        state = CVY_SPARE_IDLE;
    for (; state != CVY_SPARE_GO; state = atomic_load(&spare->state)) {
        if (state == CVY_SPARE_NONE)
            cvy_os_exit(0);
        (void)cvy_os_futex_wait_for(&spare->state, state, COVEY_SEC(3600));
    }
    struct cvy_server_request request = {.process = spare->process};
    spare->pid = 0;
    atomic_store(&spare->state, CVY_SPARE_NONE);
    (void)cvy_os_futex_wake(&spare->state, 1);
    static const int no_fds[1] = {-1};
    be_child(s, &request, no_fds, true);
}

/* Slots of spares that are becoming children are not free yet, but others are. */
CVY_CHILD_CODE static void fill_spares(struct server *s)
{
    uint32_t wanted = __atomic_load_n(&s->room->spares_wanted, __ATOMIC_ACQUIRE),
             ready = 0;
    for (uint32_t i = 0; i < CVY_MOST_SPARES; i++) {
        uint32_t state = atomic_load(&s->room->spares[i].state);
        ready += state == CVY_SPARE_BORN || state == CVY_SPARE_IDLE;
    }
    for (uint32_t i = 0; ready < wanted && i < CVY_MOST_SPARES; i++) {
        struct cvy_spare *spare = &s->room->spares[i];
        uint32_t none = CVY_SPARE_NONE;
        if (!atomic_compare_exchange_strong(&spare->state, &none, CVY_SPARE_BORN))
            continue;
        int line = cvy_os_line_open(s->lifeline);
        int pid = line < 0 ? line : clone_one(&spare->pid);
        if (pid == 0)
            be_spare(s, spare, line);
        cvy_os_close(line);
        if (pid < 0) {
            atomic_store(&spare->state, CVY_SPARE_NONE);
            return;
        }
        ready++;
    }
}

/* ---- the server ---- */

static int preload(const struct cvy_server_room *room)
{
    const char *path = cvy_at(room->preload);
    for (uint32_t i = 0; i < room->preload_count; i++, path += strlen(path) + 1) {
        char why[256] = "";
        void *handle = NULL;
        uintptr_t base = 0;
        int r = cvy_os_module_load(path, &handle, &base, why, sizeof why);
        if (r < 0)
            return cvy_fail(r, "preloading %s: %s", path, why);
    }
    if (room->init.kind == CVY_CODE_NONE)
        return 0;
    cvy_code_fn *fn = NULL;
    int r = cvy_code_decode(&room->init, &fn);
    if (r < 0)
        return r;
    struct covey_view arg = {room->init_arg_size ? cvy_at(room->init_arg) : NULL,
                             room->init_arg_size};
    r = ((covey_target_fn *)fn)(arg);
    return r ? cvy_fail(COVEY_ESTART, "the preload function returned %d", r) : 0;
}

CVY_CHILD_CODE static void serve_fork(struct server *s,
                                      const struct cvy_server_request *request,
                                      int *fds, size_t count)
{
    int pid = clone_one(&s->room->cloned);
    if (pid == 0)
        be_child(s, request, fds, false);
    struct cvy_server_answer answer = {pid};
    for (size_t i = 0; i < count; i++)
        cvy_os_close(fds[i]);
    if (cvy_os_send(s->socket, &answer, sizeof answer, NULL, 0) < 0)
        cvy_os_exit(1); /* that tells it, too */
}

void cvy_server_live(cvy_ref room, int socket, int lifeline)
{
    struct server s = {.room = cvy_at(room), .socket = socket, .lifeline = lifeline};
    struct cvy_start_reply reply = {0};
    s.owner_pid = s.room->owner_pid;
    s.by_main_thread = s.room->by_main_thread;
    s.context = s.room->context;
    if (cvy_os_die_with_pipe(lifeline) == -EPIPE)
        cvy_os_exit(1);
    reply.code = preload(s.room);
    if (reply.code < 0)
        snprintf(reply.text, sizeof reply.text, "%s", covey_error_detail());
    fflush(NULL); /* what the preload function printed is not the children's */
    cvy_child_prepare();
    s.multicore = cvy_os_is_multicore();
    cvy_os_block_signals();
    if (cvy_os_send(socket, &reply, sizeof reply, NULL, 0) < 0 || reply.code < 0)
        cvy_os_exit(1);
    fill_spares(&s);
    for (;;) {
        struct cvy_server_request request;
        int fds[CVY_MOST_FDS + 2];
        size_t count = 0;
        ssize_t n = cvy_os_recv(socket, &request, sizeof request, fds,
                                CVY_ARRAY_SIZE(fds), &count, INT64_MAX);
        if (n != (ssize_t)sizeof request)
            cvy_os_exit(0); /* the starter closed its end */
        if (request.op == CVY_SERVER_FORK)
            serve_fork(&s, &request, fds, count);
        fill_spares(&s);
    }
}
