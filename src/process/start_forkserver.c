/* SPDX-License-Identifier: MIT */
/* start_forkserver.c: children by a fork server, as the starter sees it.
 *
 * Each process that starts children this way has a server of its own: a fresh,
 * single-threaded run of this program, whose clones are made children of the starter
 * (CLONE_PARENT), so that waiting, exit status and resources work as for any child. The
 * server is started at the first need, anew when it died, and anew when this process
 * became another user or entered other namespaces. Spares are clones made beforehand. */
#include <errno.h>
#include <signal.h>
#include <string.h>

#include "base/base.h"
#include "base/error.h"
#include "base/memory.h"
#include "process/message.h"
#include "region/member.h"
#include "region/object.h"

struct preload {
    char *objects; /* paths, each with its NUL */
    size_t size;
    uint32_t count;
    covey_target_fn *init;
    struct covey_bytes arg;
};

/* All below under server_mutex. */
static struct {
    int pid; /* 0: there is none */
    struct cvy_os_kept_fd socket;
    struct cvy_object *object;
    struct cvy_server_room *room;
    struct cvy_os_identity identity;
} server;
static struct preload preload;
static size_t spares_wanted = 1; /* see docs/design/start.md */

/* ---- settings ---- */

int covey_set_forkserver_spares(size_t count)
{
    if (count > CVY_MOST_SPARES)
        return cvy_fail(-EINVAL, "covey_set_forkserver_spares: at most %u",
                        CVY_MOST_SPARES);
    (void)pthread_mutex_lock(&cvy_own()->server_mutex);
    spares_wanted = count;
    if (server.pid)
        __atomic_store_n(&server.room->spares_wanted, (uint32_t)count,
                         __ATOMIC_RELEASE);
    (void)pthread_mutex_unlock(&cvy_own()->server_mutex);
    return 0;
}

static int take_objects(const char *const *objects, size_t count, struct preload *new)
{
    for (size_t i = 0; i < count; i++) {
        if (!objects || !objects[i])
            return cvy_fail(-EINVAL, "covey_set_forkserver_preload: path %zu is NULL",
                            i);
        size_t more = strlen(objects[i]) + 1;
        char *longer = cvy_realloc(new->objects, new->size + more);
        if (!longer)
            return cvy_fail(-ENOMEM, "covey_set_forkserver_preload: no memory");
        memcpy(longer + new->size, objects[i], more);
        new->objects = longer;
        new->size += more;
    }
    new->count = (uint32_t)count;
    return 0;
}

static void preload_free(struct preload *p)
{
    cvy_free(p->objects);
    covey_bytes_free(&p->arg);
}

int covey_set_forkserver_preload(const char *const *objects, size_t count,
                                 covey_target_fn *init, struct covey_view arg)
{
    struct preload new = {.init = init};
    if (arg.size && !arg.data)
        return cvy_fail(-EINVAL, "covey_set_forkserver_preload: the argument is NULL");
    int r = take_objects(objects, count, &new);
    if (r >= 0 && arg.size)
        r = covey_bytes_resize(&new.arg, arg.size);
    if (r < 0) {
        preload_free(&new);
        return r;
    }
    if (arg.size)
        memcpy(new.arg.data, arg.data, arg.size);
    (void)pthread_mutex_lock(&cvy_own()->server_mutex);
    if (server.pid) {
        preload_free(&new);
        r = cvy_fail(COVEY_ESTATE,
                     "covey_set_forkserver_preload: the server runs already");
    } else {
        preload_free(&preload);
        preload = new;
    }
    (void)pthread_mutex_unlock(&cvy_own()->server_mutex);
    return r;
}

/* ---- the server's life, from outside; mutex held ---- */

/* One that was just told who it is reads that here, so wait until it has. */
static void stop_spare(struct cvy_spare *spare)
{
    int64_t patience = cvy_os_deadline(COVEY_SEC(1));
    struct cvy_os_wait reading = {&spare->state, CVY_SPARE_GO};
    while (atomic_load(&spare->state) == CVY_SPARE_GO && cvy_os_now() < patience)
        (void)cvy_os_futex_waitv(&reading, 1, cvy_os_deadline(COVEY_MSEC(10)));
    uint32_t state = atomic_load(&spare->state);
    while (state == CVY_SPARE_BORN || state == CVY_SPARE_IDLE)
        if (atomic_compare_exchange_strong(&spare->state, &state, CVY_SPARE_NONE))
            break;
    (void)cvy_os_futex_wake(&spare->state, 1); /* it may not be ours to kill any more */
    if ((state == CVY_SPARE_BORN || state == CVY_SPARE_IDLE) && spare->pid)
        cvy_start_undo(spare->pid);
}

/* The server is dead: what it cloned and the starter has not used. */
static void stop_clones(void)
{
    for (size_t i = 0; i < CVY_MOST_SPARES; i++)
        stop_spare(&server.room->spares[i]);
    if (server.room->cloned) /* it could not tell of that one */
        cvy_start_undo(server.room->cloned);
}

/* A server ends when its socket does, which a child of the program's own fork may have, too;
 * its spares are ended here, being our children. */
static void stop_server(void)
{
    struct cvy_os_exit ended;
    int pid = server.pid;
    if (!pid)
        return;
    if (cvy_os_is_kept(&server.socket))
        cvy_os_hang_up(server.socket.fd);
    cvy_os_close_kept(&server.socket);
    if (cvy_os_wait_child(pid, -1, cvy_os_deadline(COVEY_SEC(1)), &ended) == -ETIMEDOUT)
        cvy_start_undo(pid);
    stop_clones();
    (void)cvy_object_release(server.object);
    memset(&server, 0, sizeof server);
}

void cvy_forkserver_stop(void)
{
    (void)pthread_mutex_lock(&cvy_own()->server_mutex);
    stop_server();
    (void)pthread_mutex_unlock(&cvy_own()->server_mutex);
}

CVY_CHILD_CODE void cvy_forkserver_forget(void)
{
    if (!server.pid) /* writing would copy a page */
        return;
    cvy_os_close_kept(&server.socket);
    memset(&server, 0, sizeof server);
}

/* What the server needs to know, in shared memory. */
static int make_room(void)
{
    void *object = NULL;
    cvy_ref body = 0;
    struct cvy_server_room *room;
    size_t size = sizeof *room + preload.size + 16 + preload.arg.size;
    int r = cvy_object_create(CVY_KIND_SERVER, sizeof(struct cvy_object) + 16,
                              CVY_OBJECT_PRIVATE, size, &object, &body);
    if (r < 0)
        return r;
    room = cvy_at(body);
    memset(room, 0, sizeof *room);
    *(cvy_ref *)((struct cvy_object *)object + 1) = body;
    cvy_os_context_get(&room->context);
    room->spares_wanted = (uint32_t)spares_wanted;
    room->preload_count = preload.count;
    room->preload = body + sizeof *room;
    room->init_arg = cvy_round_up(room->preload + preload.size, 16);
    room->init_arg_size = preload.arg.size;
    if (preload.size)
        memcpy(cvy_at(room->preload), preload.objects, preload.size);
    if (preload.arg.size)
        memcpy(cvy_at(room->init_arg), preload.arg.data, preload.arg.size);
    if (preload.init)
        r = cvy_code_encode((cvy_code_fn *)preload.init, &room->init);
    if (r < 0) {
        (void)cvy_object_release(object);
        return r;
    }
    server.object = object;
    server.room = room;
    return 0;
}

static int start_server(const struct covey_process *p)
{
    struct cvy_start_message m = {.role = CVY_ROLE_SERVER, .has_lifeline = 1};
    int lifeline = cvy_lifeline();
    int r = lifeline < 0 ? lifeline : make_room();
    if (r < 0)
        return r;
    cvy_os_identity_get(&server.identity);
    server.room->owner_pid = cvy_os_pid();
    server.room->by_main_thread = cvy_lifeline_is_main_thread();
    m.object = cvy_ref_of(server.room);
    int socket = -1;
    r = cvy_exec_image(&m, &lifeline, 1, "fork server", (covey_nsec)p->start_timeout,
                       &socket, NULL, NULL);
    if (r < 0) {
        cvy_detail_prefix("its fork server");
        stop_clones();
        (void)cvy_object_release(server.object);
        memset(&server, 0, sizeof server);
        return r;
    }
    server.pid = r;
    server.socket = cvy_os_keep(socket);
    return 0;
}

/* ---- a start; mutex held ---- */

/* What the starter has now, in a run of the process object, if it is not what it had when
 * the server started. */
static int note_context(struct covey_process *p)
{
    struct cvy_os_context now;
    cvy_os_context_get(&now);
    size_t size = cvy_os_context_size(&now), room = cvy_round_up(sizeof now, 16);
    p->context = 0; /* a start of it that failed may have left one */
    if (memcmp(&now, &server.room->context, size) == 0)
        return 0;
    size_t environment = now.environment == server.room->context.environment
                             ? 0
                             : cvy_os_environment_size();
    int r = cvy_object_add_run(p, room + environment, &p->context);
    if (r < 0)
        return r;
    memcpy(cvy_at(p->context), &now, size);
    cvy_os_environment_copy((char *)cvy_at(p->context) + room, environment);
    p->context_size = room + environment;
    return 0;
}

static void fill_request(const struct covey_process *p,
                         struct cvy_server_request *request, bool has_tail)
{
    *request = (struct cvy_server_request){
        .op = CVY_SERVER_FORK,
        .process = (cvy_ref)((const char *)p - (const char *)cvy_head),
        .has_tail = has_tail,
        .fd_count = (uint32_t)p->child.fd_count,
    };
    for (size_t i = 0; i < p->child.fd_count; i++)
        request->fd_numbers[i] = p->child.fds[i];
}

static void set_gate(struct covey_process *p, enum cvy_gate gate, uint32_t *ret_was)
{
    *ret_was = atomic_exchange(&p->gate, gate);
    if (*ret_was == CVY_GATE_WAITED_AT)
        (void)cvy_os_futex_wake(&p->gate, 1);
}

static void open_gate(struct covey_process *p)
{
    uint32_t was;
    set_gate(p, CVY_GATE_OPEN, &was);
}

/* Returns: whether it is too late, as a clone has passed the gate and is the child. */
static bool give_up(struct covey_process *p)
{
    uint32_t was;
    set_gate(p, CVY_GATE_GIVEN_UP, &was);
    return was == CVY_GATE_PASSED;
}

/* It was killed before it read who it is; the start it was used for has its status. */
static void free_if_dead(struct cvy_spare *spare, int pid)
{
    uint32_t go = CVY_SPARE_GO;
    if (!pid || cvy_os_await_end(pid, 0) == -ETIMEDOUT || spare->pid != pid)
        return;
    spare->pid = 0;
    (void)atomic_compare_exchange_strong(&spare->state, &go, CVY_SPARE_NONE);
}

static bool claim_spare(struct cvy_spare *spare, uint32_t state)
{
    do
        if (atomic_compare_exchange_strong(&spare->state, &state, CVY_SPARE_CLAIMED))
            return true;
    while (state == CVY_SPARE_IDLE); /* it was BORN, and came up meanwhile */
    return false;
}

/* A living spare for `p`. Returns: its pid, 0 if there is none. */
static int use_spare(const struct covey_process *p)
{
    for (size_t i = 0; i < CVY_MOST_SPARES; i++) {
        struct cvy_spare *spare = &server.room->spares[i];
        uint32_t state = atomic_load(&spare->state);
        /* One that was just born, whose pid the kernel has written, need not come up. */
        int pid = __atomic_load_n(&spare->pid, __ATOMIC_ACQUIRE);
        if (state == CVY_SPARE_GO)
            free_if_dead(spare, pid);
        if (!pid || (state != CVY_SPARE_BORN && state != CVY_SPARE_IDLE) ||
            !claim_spare(spare, state))
            continue;
        struct cvy_os_exit ended;
        if (cvy_os_wait_child(pid, -1, 0, &ended) != -ETIMEDOUT) {
            spare->pid = 0; /* somebody killed it */
            atomic_store(&spare->state, CVY_SPARE_NONE);
            continue;
        }
        spare->process = cvy_ref_of(p);
        atomic_store(&spare->state, CVY_SPARE_GO);
        (void)cvy_os_futex_wake(&spare->state, 1);
        return pid;
    }
    return 0;
}

/* Last, as it then runs beside the child. A dead server shows here first. */
static void ask_for_spares(void)
{
    struct cvy_server_request refill = {.op = CVY_SERVER_REFILL};
    if (cvy_os_send(server.socket.fd, &refill, sizeof refill, NULL, 0) < 0)
        stop_server();
}

/* Returns: the child's pid; -EPIPE if the server is gone. */
static int await_answer(void)
{
    struct cvy_server_answer answer;
    ssize_t n =
        cvy_image_recv(server.pid, server.socket.fd, &answer, sizeof answer, INT64_MAX);
    if (n != (ssize_t)sizeof answer)
        return -EPIPE; /* dead, or out of step */
    server.room->cloned = 0;
    return answer.pid < 0 ? cvy_fail_os(answer.pid, "the fork server's clone")
                          : answer.pid;
}

/* While the server clones: may it serve this process at all, and what is the child to
 * take over? Returns: 0; -ESTALE if another server is needed. */
static int look_meanwhile(struct covey_process *p)
{
    struct cvy_os_identity now;
    cvy_os_identity_get(&now);
    if (memcmp(&now, &server.identity, sizeof now) != 0)
        return -ESTALE;
    cvy_settings_fill(&p->settings);
    return note_context(p);
}

/* The server is dead, or silent. A child that it made without telling is this start's if
 * it has passed the gate; if not it never will. */
static int without_answer(struct covey_process *p)
{
    int pid = give_up(p) ? __atomic_load_n(&server.room->cloned, __ATOMIC_ACQUIRE) : 0;
    if (!pid)
        return -EPIPE;
    server.room->cloned = 0;
    stop_server();
    return pid;
}

/* Returns: the pid of the child, for which the gate is open. -EPIPE: the server is dead;
 * -ESTALE: it is of another user or namespace; no child is left then. */
static int clone_through_gate(struct covey_process *p,
                              const struct cvy_server_request *request, const int *fds,
                              size_t count)
{
    if (!cvy_os_is_kept(&server.socket)) /* the program closed it, which ended it */
        return -EPIPE;
    atomic_store(&p->gate, CVY_GATE_SHUT);
    server.room->cloned = 0;
    /* A spare has no descriptors of the starter's, and ends with it until it comes up. */
    bool may_use = !count && cvy_process_has(p, CVY_PROCESS_DIES_WITH_PARENT);
    int spare = may_use ? use_spare(p) : 0, sent = 0;
    if (!spare)
        sent = cvy_os_send(server.socket.fd, request, sizeof *request, fds, count);
    if (sent == -EPIPE || sent == -ECONNRESET)
        return -EPIPE;
    if (sent < 0)
        return cvy_fail_os(sent, "asking the fork server");
    int r = look_meanwhile(p);
    if (r >= 0)
        open_gate(p); /* the child need not wait for what comes now */
    int pid = spare ? spare : await_answer();
    if (pid == -EPIPE)
        return without_answer(p);
    if (r >= 0 && spare)
        ask_for_spares();
    if (r >= 0)
        return pid;
    if (pid > 0) {
        (void)give_up(p);
        /* Killing it is quicker, but not allowed to who was another user when its server
         * started. */
        cvy_start_undo(pid);
    }
    return r;
}

/* A server that was killed, or is another user's by now, is replaced once. A child that a
 * dying server made without telling finds at the gate that it is not the one. */
static int request_child(struct covey_process *p, const int tail[2])
{
    struct cvy_server_request request;
    int fds[CVY_MOST_FDS + 2], r = 0;
    size_t count = 0;
    fill_request(p, &request, tail[0] >= 0);
    if (tail[0] >= 0) {
        fds[count++] = tail[0];
        fds[count++] = tail[1];
    }
    for (size_t i = 0; i < p->child.fd_count; i++)
        fds[count++] = p->child.fds[i];
    for (int attempt = 0; attempt < 2; attempt++) {
        r = server.pid ? 0 : start_server(p);
        if (r >= 0)
            r = clone_through_gate(p, &request, fds, count);
        if (r != -EPIPE && r != -ESTALE)
            return r;
        (void)covey_log(COVEY_LOG_INFO, "the fork server %s: starting a new one",
                        r == -EPIPE ? "died"
                                    : "is another user's or in other namespaces");
        stop_server();
    }
    return cvy_fail(COVEY_ESTART, "the fork server died twice");
}

int cvy_start_forkserver(struct covey_process *p, struct cvy_child *child)
{
    int tail[2] = {-1, -1}, r = 0;
    if (cvy_process_has(p, CVY_PROCESS_CAPTURE)) {
        r = cvy_os_pipe(tail);
        if (r < 0)
            return cvy_fail_os(r, "a pipe for its stderr");
    }
    (void)pthread_mutex_lock(&cvy_own()->server_mutex);
    r = request_child(p, tail);
    (void)pthread_mutex_unlock(&cvy_own()->server_mutex);
    cvy_os_close(tail[1]);
    if (r >= 0) {
        p->pid = r;
        cvy_member_set_pid(p->member, r);
        child->tail_fd = cvy_os_keep(tail[0]);
        r = cvy_start_waits(p) ? cvy_start_await_setup(p) : 0;
        if (r < 0)
            cvy_start_undo(p->pid);
        else
            return 0;
        child->tail_fd.fd = -1;
    }
    cvy_os_close(tail[0]);
    return r;
}
