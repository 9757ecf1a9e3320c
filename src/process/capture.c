/* SPDX-License-Identifier: MIT */
/* capture.c: the last bytes a child writes to its stderr.
 *
 *   child: 2 --> pipe --> reader thread --> the old 2, and the tail in shared memory
 *
 * Whatever the reader has not taken from the pipe when the child dies is taken by the
 * creator, who holds the read end too. A piece is read into shared memory and belongs to
 * the tail when `tail_written` counts it, so what the reader had in its hands is found
 * there as well: nothing is lost when a signal ends the child. It may be shown twice, as
 * showing a piece and counting it are two steps. The tail is a ring of CVY_TAIL_BYTES,
 * `tail_written` counts all bytes ever. */
#include <string.h>

#include "base/base.h"
#include "base/error.h"
#include "process/process.h"

/* The piece that is being read; what of `data` is not text is zero. */
struct piece {
    /* tail_written when it was begun, + 1; 0: there is none */
    _Atomic uint64_t follows;
    char data[CVY_PIECE_BYTES - sizeof(uint64_t)];
};

static struct covey_process *process;
static int from = -1, to = -1;

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

/* Take what is in the pipe. Returns: whether it has ended. */
static bool drain(struct covey_process *p, int read_end, int write_end)
{
    struct piece *piece = piece_of(p);
    ssize_t n;
    for (;;) {
        memset(piece->data, 0, sizeof piece->data);
        atomic_store(&piece->follows, atomic_load(&p->tail_written) + 1);
        n = cvy_os_read_now(read_end, piece->data, sizeof piece->data);
        if (n <= 0)
            break;
        (void)cvy_os_write_all(write_end, piece->data, (size_t)n);
        keep(p, piece->data, (size_t)n);
    }
    atomic_store(&piece->follows, 0);
    return n == 0;
}

/* The piece that the reader died over. */
static void finish_piece(struct covey_process *p, int write_end)
{
    struct piece *piece = piece_of(p);
    size_t size = sizeof piece->data;
    if (atomic_load(&piece->follows) != atomic_load(&p->tail_written) + 1)
        return;
    while (size && !piece->data[size - 1])
        size--;
    (void)cvy_os_write_all(write_end, piece->data, size);
    keep(p, piece->data, size);
}

static bool drain_own(void)
{
    (void)pthread_mutex_lock(&cvy_own()->capture_mutex);
    bool ended = drain(process, from, to);
    (void)pthread_mutex_unlock(&cvy_own()->capture_mutex);
    return ended;
}

static void *read_on(void *unused)
{
    while (cvy_os_poll_in(from, INT64_MAX) > 0 && !drain_own())
        continue;
    return unused;
}

CVY_CHILD_CODE void cvy_capture_forget(void)
{
    if (from >= 0) /* writing would copy a page */
        from = cvy_os_close(from);
    if (to >= 0)
        to = cvy_os_close(to);
}

int cvy_capture_begin(struct covey_process *p, int read_end, int write_end)
{
    process = p;
    from = read_end;
    to = cvy_os_dup(2, 3);
    if (to < 0) { /* stderr is closed: keep the tail, show nothing */
        to = cvy_os_open_null();
        if (to < 0)
            return cvy_fail_os(to, "capturing stderr: a descriptor");
    }
    int r = cvy_os_dup_to(write_end, 2);
    if (r < 0)
        return cvy_fail_os(r, "capturing stderr: dup2");
    cvy_os_close(write_end);
    r = cvy_os_run_aside(read_on, NULL);
    return r < 0 ? cvy_fail_os(r, "capturing stderr: a thread") : 0;
}

void cvy_capture_finish(void)
{
    if (from >= 0)
        (void)drain_own();
}

void cvy_capture_collect(struct covey_process *p, int read_end)
{
    if (read_end < 0)
        return;
    finish_piece(p, 2);
    (void)drain(p, read_end, 2);
}
