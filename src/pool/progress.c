/* SPDX-License-Identifier: MIT */
/* progress.c: a bar on a terminal, as the progress function of a map. */
#include <stdio.h>
#include <string.h>

#include "base/base.h"
#include "os/os.h"

#include <covey/pool.h>

#define CELLS 24

/* Of the map that this thread waits in. */
static _Thread_local struct {
    void *title;
    size_t total, done;
    int64_t start;
} shown __attribute__((tls_model("initial-exec")));

static void put_time(char *to, size_t size, double seconds)
{
    long s = (long)(seconds + 0.5);
    if (s >= 3600)
        (void)snprintf(to, size, "%ld:%02ld:%02ld", s / 3600, s / 60 % 60, s % 60);
    else
        (void)snprintf(to, size, "%ld:%02ld", s / 60, s % 60);
}

void covey_progress_bar(void *title, size_t done, size_t total)
{
    char bar[CELLS + 1], left[32] = "--:--";
    if (!cvy_os_is_terminal(stderr))
        return;
    int64_t now = cvy_os_now();
    if (!shown.start || shown.title != title || shown.total != total ||
        done < shown.done) {
        shown.title = title;
        shown.total = total;
        shown.start = now;
    }
    shown.done = done;
    double seconds = (double)(now - shown.start) / 1e9;
    double rate = seconds > 0 ? (double)done / seconds : 0;
    size_t cells = total ? done * CELLS / total : CELLS;
    memset(bar, '.', CELLS);
    memset(bar, '#', cells);
    bar[CELLS] = 0;
    if (done < total && rate > 0)
        put_time(left, sizeof left, (double)(total - done) / rate);
    else if (done == total)
        put_time(left, sizeof left, seconds);
    (void)fprintf(stderr, "\r%s%s[%s] %3zu %% %zu/%zu %.3g/s %s ",
                  title ? (const char *)title : "", title ? " " : "", bar,
                  total ? done * 100 / total : 100, done, total, rate, left);
    if (done == total) {
        (void)fputc('\n', stderr);
        shown.start = 0;
    }
    (void)fflush(stderr);
}
