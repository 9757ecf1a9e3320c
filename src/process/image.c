/* SPDX-License-Identifier: MIT */
/* image.c: a fresh run of this program as a child or fork server, both ends of it.
 *
 * The starter runs the program with the argument --covey-child and one socket as
 * descriptor 3. covey_init of the new image makes sure that the socket is its parent's,
 * that both are the same build and user, maps the region and goes to work. Whatever fails
 * there is replied, and becomes the result of the starter's call; an image that never
 * replies ends as an error by its exit or by the time-out. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/base.h"
#include "base/error.h"
#include "base/log.h"
#include "process/message.h"
#include "region/member.h"

/* ---- the starter's end ---- */

static int fill_common(struct cvy_start_message *m)
{
    size_t size = 0;
    m->magic = CVY_START_MAGIC;
    cvy_settings_fill(&m->settings);
    int r = cvy_code_build_id(m->build, sizeof m->build, &size);
    m->build_size = (uint32_t)size;
    return r;
}

static int run_image(const char *title, int socket)
{
    char argument[] = CVY_CHILD_ARGUMENT, name[128], program[256];
    char *argv[] = {program, argument, name, NULL};
    snprintf(program, sizeof program, "%s", cvy_init_argv0());
    snprintf(name, sizeof name, "%s", title);
    int pid = cvy_os_spawn(cvy_executable(), argv, socket);
    if (pid < 0)
        return cvy_fail_os(pid, "exec of %s",
                           cvy_executable() ? cvy_executable() : "/proc/self/exe");
    return pid;
}

/* It hung up without a word: say how it ended. */
static int explain_silence(int pid)
{
    struct cvy_os_exit ended;
    char how[48];
    int64_t soon = cvy_os_deadline(COVEY_SEC(1));
    if (cvy_os_wait_child(pid, -1, soon, &ended) < 0) {
        cvy_start_undo(pid);
        return cvy_fail(COVEY_ESTART, "the child closed its socket before covey_init");
    }
    cvy_process_how(ended.status, how, sizeof how);
    return cvy_fail(COVEY_ESTART,
                    "the child ended with %s before it reached covey_init%s", how,
                    ended.status == 127 ? " (a library may be missing)" : "");
}

/* A look costs a system call, and who ends closes its socket in all but rare cases. */
#define LOOK_EVERY COVEY_MSEC(20)

ssize_t cvy_image_recv(int pid, int socket, void *data, size_t size, int64_t deadline)
{
    size_t fds = 0;
    int ready = 0;
    for (bool ended = false; ready == 0 && !ended;) {
        if (cvy_os_now() >= deadline)
            return -ETIMEDOUT;
        int64_t until = cvy_min_i64(deadline, cvy_os_deadline(LOOK_EVERY));
        ready = cvy_os_poll_in(socket, until);
        if (ready == 0 && cvy_os_await_end(pid, 0) != -ETIMEDOUT) {
            ended = true; /* what it said before is there by now */
            ready = cvy_os_poll_in(socket, 0);
        }
    }
    if (ready <= 0)
        return ready;
    ssize_t n = cvy_os_recv(socket, data, size, NULL, 0, &fds, deadline);
    return n == -ECONNRESET ? 0 : n;
}

static int await_reply(int pid, int socket, covey_nsec timeout)
{
    struct cvy_start_reply reply;
    ssize_t n =
        cvy_image_recv(pid, socket, &reply, sizeof reply, cvy_os_deadline(timeout));
    if (n == (ssize_t)sizeof reply && reply.code >= 0)
        return 0;
    if (n == 0)
        return explain_silence(pid);
    cvy_start_undo(pid);
    if (n == -ETIMEDOUT)
        return cvy_fail(
            COVEY_ESTART,
            "the child did not reach covey_init within %.3g s (start_timeout)",
            (double)timeout / 1e9);
    if (n != (ssize_t)sizeof reply)
        return n < 0 ? cvy_fail_os((int)n, "the child's reply")
                     : cvy_fail(COVEY_ESTART, "the child's reply has %zd bytes", n);
    reply.text[sizeof reply.text - 1] = 0;
    return cvy_fail(reply.code, "%s", reply.text);
}

int cvy_exec_image(struct cvy_start_message *m, const int *fds, size_t fd_count,
                   const char *title, covey_nsec timeout, int *ret_socket,
                   void (*on_pid)(void *ctx, int pid), void *ctx)
{
    int ends[2] = {-1, -1}, all[CVY_MOST_FDS + 4], region = -1, pid = -1;
    int r = cvy_region_ticket(&m->ticket, &region);
    if (r >= 0)
        r = fill_common(m);
    if (r < 0)
        return r;
    all[0] = region;
    for (size_t i = 0; i < fd_count; i++)
        all[i + 1] = fds[i];
    r = cvy_os_socketpair(ends);
    if (r < 0)
        return cvy_fail_os(r, "a socket pair");
    r = cvy_os_send(ends[0], m, sizeof *m, all, fd_count + 1);
    if (r < 0)
        r = cvy_fail_os(r, "sending the start message");
    else
        r = pid = run_image(title, ends[1]);
    cvy_os_close(ends[1]);
    if (r >= 0) {
        if (on_pid)
            on_pid(ctx, pid);
        r = await_reply(pid, ends[0], timeout);
    }
    if (r >= 0 && ret_socket)
        *ret_socket = ends[0];
    else
        cvy_os_close(ends[0]);
    return r < 0 ? r : pid;
}

/* ---- the image's end ---- */

int cvy_place_fds(const int *received, const int32_t *numbers, size_t count, int **keep,
                  size_t keep_count)
{
    int above = 3, copies[CVY_MOST_FDS];
    for (size_t i = 0; i < count; i++)
        above = numbers[i] >= above ? numbers[i] + 1 : above;
    for (size_t i = 0; i < keep_count; i++) {
        int moved = *keep[i] < 0 ? -1 : cvy_os_dup(*keep[i], above);
        if (*keep[i] >= 0 && moved < 0)
            return cvy_fail_os(moved, "descriptors for the child");
        cvy_os_close(*keep[i]);
        *keep[i] = moved;
    }
    for (size_t i = 0; i < count; i++) {
        copies[i] = cvy_os_dup(received[i], above);
        if (copies[i] < 0)
            return cvy_fail_os(copies[i], "descriptors for the child");
    }
    for (size_t i = 0; i < count; i++)
        cvy_os_close(received[i]);
    for (size_t i = 0; i < count; i++) {
        int r = cvy_os_dup_to(copies[i], numbers[i]);
        cvy_os_close(copies[i]);
        if (r < 0)
            return cvy_fail_os(r, "descriptor %d for the child", (int)numbers[i]);
    }
    return 0;
}

void cvy_settings_fill(struct cvy_settings *s)
{
    struct cvy_log_state log = cvy_log_get_state();
    s->log_level = log.level;
    s->log_to_stderr = log.to_stderr;
    s->method = cvy_method_chosen();
    s->authkey_size = (uint32_t)cvy_self_authkey(s->authkey);
}

CVY_CHILD_CODE void cvy_settings_take(const struct cvy_settings *s)
{
    struct cvy_log_state log = {s->log_level, s->log_to_stderr};
    cvy_log_set_state(log);
    cvy_method_inherit((enum covey_start_method)s->method);
    cvy_self_take_authkey(s->authkey, cvy_min_size(s->authkey_size, sizeof s->authkey));
}

/* A child that was run has its start message from the beginning, whatever became of the
 * starter. */
static ssize_t take_message(int socket, struct cvy_start_message *m, int *fds,
                            size_t *ret_count, int64_t deadline)
{
    return cvy_os_recv(socket, m, sizeof *m, fds, CVY_MOST_FDS + 4, ret_count,
                       deadline);
}

static int no_child(int socket)
{
    return cvy_fail(COVEY_ESTATE,
                    "covey_init: %s, but no parent of this user at descriptor %d: not "
                    "started by covey",
                    CVY_CHILD_ARGUMENT, socket);
}

/* Only a socket of the parent's, who is the same user, makes an image a child. One whose
 * starter died meanwhile must not go on as if it were the program. */
static int check_socket(int socket)
{
    struct cvy_os_peer peer;
    struct cvy_start_message m;
    int fds[CVY_MOST_FDS + 4];
    size_t count = 0;
    if (cvy_os_is_secure())
        return cvy_fail(-EPERM,
                        "covey_init: a program with raised privileges is no child");
    int r = cvy_os_peer(socket, &peer);
    if (r == -EBADF || r == -ENOTSOCK || (r >= 0 && peer.uid != getuid()))
        return no_child(socket);
    if (r >= 0 && peer.pid == cvy_os_ppid())
        return 0;
    if (take_message(socket, &m, fds, &count, 0) == (ssize_t)sizeof m &&
        m.magic == CVY_START_MAGIC)
        cvy_os_exit(1);
    return no_child(socket);
}

static void hex(const unsigned char *bytes, size_t size, char *text)
{
    for (size_t i = 0; i < size; i++)
        snprintf(text + 2 * i, 3, "%02x", bytes[i]);
}

static int check_build(const struct cvy_start_message *m)
{
    unsigned char own[CVY_CODE_ID_SIZE];
    char mine[2 * CVY_CODE_ID_SIZE + 1] = "", theirs[2 * CVY_CODE_ID_SIZE + 1] = "";
    size_t size = 0;
    int r = cvy_code_build_id(own, sizeof own, &size);
    if (r < 0)
        return r;
    if (size == m->build_size && memcmp(own, m->build, size) == 0)
        return 0;
    hex(own, size, mine);
    hex(m->build, cvy_min_size(m->build_size, sizeof m->build), theirs);
    return cvy_fail(COVEY_EBUILD,
                    "the program run is build %s, its starter is build %s", mine,
                    theirs);
}

static void reply_failure(int socket, int code)
{
    struct cvy_start_reply reply = {.code = code};
    snprintf(reply.text, sizeof reply.text, "%s", covey_error_detail());
    (void)cvy_os_send(socket, &reply, sizeof reply, NULL, 0);
}

static void be_child(const struct cvy_start_message *m, int socket, const int *fds)
{
    struct covey_process *p = cvy_at(m->object);
    struct cvy_child_plan plan = {.process = p,
                                  .member = m->member,
                                  .lifeline = -1,
                                  .stderr_read = -1,
                                  .stderr_write = -1,
                                  .reply = socket,
                                  .by_exec = true,
                                  .owns_lifeline = true};
    size_t next = 0;
    if (m->has_lifeline)
        plan.lifeline = fds[next++];
    if (m->has_tail) {
        plan.stderr_read = fds[next++];
        plan.stderr_write = fds[next++];
    }
    int *keep[] = {&plan.lifeline, &plan.stderr_read, &plan.stderr_write, &plan.reply};
    int r = cvy_place_fds(fds + next, m->fd_numbers, m->fd_count, keep,
                          m->fd_count ? CVY_ARRAY_SIZE(keep) : 0);
    if (r < 0) {
        reply_failure(plan.reply, r);
        cvy_os_exit(1);
    }
    cvy_child_live(&plan);
}

static size_t expected_fds(const struct cvy_start_message *m)
{
    return 1u + (m->has_lifeline ? 1u : 0u) + (m->has_tail ? 2u : 0u) + m->fd_count;
}

/* The region's descriptor goes above all that the child shall have under its number. */
static int take_region(const struct cvy_start_message *m, int fd)
{
    int above = 3;
    for (uint32_t i = 0; i < m->fd_count; i++)
        above = m->fd_numbers[i] >= above ? m->fd_numbers[i] + 1 : above;
    int moved = cvy_os_dup(fd, above);
    if (moved < 0)
        return cvy_fail_os(moved, "a descriptor for the family's memory");
    cvy_os_close(fd);
    return cvy_region_map(&m->ticket, moved);
}

int cvy_image_live(int argc, char **argv)
{
    struct cvy_start_message m;
    int fds[CVY_MOST_FDS + 4], socket = 3;
    size_t count = 0;
    if (argc < 2 || strcmp(argv[1], CVY_CHILD_ARGUMENT) != 0)
        return 0;
    int r = check_socket(socket);
    if (r < 0)
        return r;
    int kept = cvy_os_dup(socket, 4); /* the first was open over exec */
    cvy_os_close(socket);
    ssize_t n = take_message(kept, &m, fds, &count, cvy_os_deadline(COVEY_SEC(1)));
    if (n == 0 || n == -ETIMEDOUT) {
        cvy_os_close(kept);
        return no_child(socket);
    }
    if (n != (ssize_t)sizeof m || m.magic != CVY_START_MAGIC ||
        m.fd_count > CVY_MOST_FDS || count != expected_fds(&m)) {
        r = n < 0 ? cvy_fail_os((int)n, "receiving the start message")
                  : cvy_fail(COVEY_EBUILD, "the start message is of another covey");
        reply_failure(kept, r);
        cvy_os_exit(1);
    }
    cvy_settings_take(&m.settings);
    r = check_build(&m);
    if (r >= 0)
        r = take_region(&m, fds[0]);
    if (r < 0) {
        reply_failure(kept, r);
        cvy_os_exit(1);
    }
    if (m.role == CVY_ROLE_SERVER)
        cvy_server_live(m.object, kept, fds[1]);
    be_child(&m, kept, fds + 1);
    return 0;
}
