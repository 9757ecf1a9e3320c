/* SPDX-License-Identifier: MIT */
/* capture.c: the last bytes a child writes to its stderr.
 *
 *   child: 2 --> pipe --> reader thread --> the old 2, and the tail in shared memory
 *
 * The reader has a table of descriptors of its own: what the child closes or replaces
 * does not concern it. Processes that the program forks there have the old 2 again, since
 * they may outlive the reader, and a pipe that nobody reads would stop them for ever.
 *
 * Whatever the reader has not taken from the pipe when the child dies is taken by the
 * creator, who holds the read end too. A piece is read into shared memory and belongs to
 * the tail when `tail_written` counts it, so what the reader had in its hands is found
 * there as well: nothing is lost when a signal ends the child. It may be shown twice, as
 * showing a piece and counting it are two steps. The creator takes what is there once, as
 * a process that the child left behind may write without end, and shows it without a
 * lock, not waiting for ever for who reads its stderr. The tail is a ring of
 * CVY_TAIL_BYTES, `tail_written` counts all bytes ever. */
#include <string.h>

#include "base/base.h"
#include "base/error.h"
#include "base/memory.h"
#include "process/process.h"

/* The piece that is being read; what of `data` is not text is zero. */
struct piece {
    /* tail_written when it was begun, + 1; 0: there is none */
    _Atomic uint64_t follows;
    char data[CVY_PIECE_BYTES - sizeof(uint64_t)];
};

/* The pipe, and where what comes from it is shown. */
struct ends {
    struct cvy_os_kept_fd from, to;
};

static struct covey_process *process;
static struct ends ends = {{.fd = -1}, {.fd = -1}};
static cvy_word reads, finishes; /* the reader: has begun; shall stop */

/* What the starter found after a child's end and has to show when it holds no lock. */
struct unshown {
    struct unshown *next;
    size_t size;
    char data[];
};
static _Thread_local struct unshown *unshown __attribute__((tls_model("initial-exec")));
#define PATIENCE COVEY_SEC(1)

static struct piece *piece_of(const struct covey_process *p)
{
    return (void *)((char *)cvy_at(p->crash) + CVY_BACKTRACE_BYTES + CVY_TAIL_BYTES);
}

static void keep(struct covey_process *p, const char *data, size_t size)
{
    char *ring = (char *)cvy_at(p->crash) + CVY_BACKTRACE_BYTES;
    uint64_t written = atomic_load(&p->tail_written);
    for (size_t i = 0; i < size;) {
        size_t at = (written + i) % CVY_TAIL_BYTES;
        size_t n = cvy_min_size(size - i, CVY_TAIL_BYTES - at);
        memcpy(ring + at, data + i, n);
        i += n;
    }
    atomic_store(&p->tail_written, written + size);
}

/* Take what is in the pipe now. Returns: whether it has ended. */
static bool drain(struct covey_process *p, const struct ends *e)
{
    struct piece *piece = piece_of(p);
    ssize_t n = 0, left = cvy_os_readable(e->from.fd);
    do {
        memset(piece->data, 0, sizeof piece->data);
        atomic_store(&piece->follows, atomic_load(&p->tail_written) + 1);
        n = cvy_os_is_kept(&e->from)
                ? cvy_os_read_now(e->from.fd, piece->data, sizeof piece->data)
                : 0;
        if (n <= 0)
            break;
        if (cvy_os_is_kept(&e->to))
            (void)cvy_os_write_all(e->to.fd, piece->data, (size_t)n);
        keep(p, piece->data, (size_t)n);
        left -= n;
    } while (left > 0);
    atomic_store(&piece->follows, 0);
    return n == 0;
}

static bool drain_own(const struct ends *e)
{
    (void)pthread_mutex_lock(&cvy_own()->capture_mutex);
    bool ended = drain(process, e);
    (void)pthread_mutex_unlock(&cvy_own()->capture_mutex);
    return ended;
}

static void *read_on(void *unused)
{
    struct ends own = ends;
    if (cvy_os_own_descriptors(own.from.fd, own.to.fd) >= 0)
        own = (struct ends){cvy_os_keep(0), cvy_os_keep(1)};
    atomic_store(&reads, 1);
    (void)cvy_os_futex_wake(&reads, 1);
    while (cvy_os_poll_in(own.from.fd, INT64_MAX) > 0 && !atomic_load(&finishes) &&
           !drain_own(&own))
        continue;
    return unused;
}

CVY_CHILD_CODE void cvy_capture_forget(void)
{
    if (ends.from.fd < 0) /* writing would copy a page */
        return;
    cvy_os_close_kept(&ends.from);
    cvy_os_close_kept(&ends.to);
}

static _Thread_local bool may_stay __attribute__((tls_model("initial-exec")));

void cvy_capture_fork_begins(const struct covey_process *p)
{
    if (ends.from.fd >= 0)
        may_stay = cvy_process_has(p, CVY_PROCESS_DIES_WITH_PARENT);
}

void cvy_capture_fork_ends(void)
{
    if (may_stay)
        may_stay = false;
}

/* In a process that a captured one forked. */
static void go_back(void)
{
    struct cvy_os_kept_fd is = cvy_os_keep(2);
    if (!may_stay && ends.from.fd >= 0 && is.device == ends.from.device &&
        is.inode == ends.from.inode && cvy_os_is_kept(&ends.to))
        (void)cvy_os_dup_to(ends.to.fd, 2);
    cvy_capture_fork_ends();
    cvy_capture_forget();
}

static void guard_against_forks(void)
{
    static bool guarded; /* also in a fork child */
    if (!guarded)
        guarded = pthread_atfork(NULL, NULL, go_back) == 0;
}

int cvy_capture_begin(struct covey_process *p, int read_end, int write_end)
{
    int to = cvy_os_dup(2, 3);
    if (to < 0) { /* stderr is closed: keep the tail, show nothing */
        to = cvy_os_open_null();
        if (to < 0)
            return cvy_fail_os(to, "capturing stderr: a descriptor");
    }
    process = p;
    ends = (struct ends){cvy_os_keep(read_end), cvy_os_keep(to)};
    int r = cvy_os_dup_to(write_end, 2);
    if (r < 0)
        return cvy_fail_os(r, "capturing stderr: dup2");
    cvy_os_close(write_end);
    guard_against_forks();
    atomic_store(&reads, 0);
    atomic_store(&finishes, 0);
    r = cvy_os_run_aside(read_on, NULL);
    while (r >= 0 && !atomic_load(&reads))
        (void)cvy_os_futex_wait_for(&reads, 0, COVEY_FOREVER);
    return r < 0 ? cvy_fail_os(r, "capturing stderr: a thread") : 0;
}

/* Where the child closed what this needs the creator takes what the reader has left. */
void cvy_capture_finish(void)
{
    if (!cvy_os_is_kept(&ends.from) || !cvy_os_is_kept(&ends.to))
        return;
    atomic_store(&finishes, 1);
    (void)drain_own(&ends);
}

/* ---- the creator ---- */

/* The piece that the reader died over. */
static size_t size_of_piece(struct covey_process *p)
{
    const struct piece *piece = piece_of(p);
    size_t size = sizeof piece->data;
    if (atomic_load(&piece->follows) != atomic_load(&p->tail_written) + 1)
        return 0;
    while (size && !piece->data[size - 1])
        size--;
    return size;
}

void cvy_capture_collect(struct covey_process *p, const struct cvy_os_kept_fd *read_end)
{
    int there = cvy_os_is_kept(read_end) ? cvy_os_readable(read_end->fd) : 0;
    size_t most = there > 0 ? (size_t)there : 0, size = size_of_piece(p);
    struct unshown *text = cvy_malloc(sizeof *text + size + most);
    if (!text)
        return;
    memcpy(text->data, piece_of(p)->data, size);
    while (most) {
        ssize_t n = cvy_os_read_now(read_end->fd, text->data + size, most);
        if (n <= 0)
            break;
        size += (size_t)n;
        most -= (size_t)n;
    }
    keep(p, text->data, size);
    text->size = size;
    text->next = unshown;
    unshown = text;
}

void cvy_capture_show(void)
{
    for (struct unshown *text = unshown, *next; text; text = next) {
        next = text->next;
        (void)cvy_os_write_patiently(2, text->data, text->size, PATIENCE);
        cvy_free(text);
    }
    unshown = NULL;
}
