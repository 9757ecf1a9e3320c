/* SPDX-License-Identifier: MIT */
/* A progress bar that leaves no trace, for people who watch. */
#include <stdio.h>
#include <unistd.h>

#include "demo.h"

enum { BAR_WIDTH = 40 };

struct demo_progress demo_progress_start(const char *label)
{
    int watched = isatty(STDOUT_FILENO);
    return (struct demo_progress){label, watched ? -1 : 101};
}

void demo_progress_show(void *ctx, size_t done, size_t total)
{
    struct demo_progress *bar = ctx;
    int percent = total ? (int)(100 * done / total) : 100;
    if (percent <= bar->last_percent)
        return;
    bar->last_percent = percent;
    char cells[BAR_WIDTH + 1] = {0};
    for (int i = 0; i < BAR_WIDTH; i++)
        cells[i] = i * 100 < percent * BAR_WIDTH ? '#' : '.';
    printf("\r  %-24s [%s] %3d %%", bar->label, cells, percent);
    fflush(stdout);
}

void demo_progress_end(struct demo_progress *bar)
{
    if (bar->last_percent >= 0 && bar->last_percent <= 100)
        printf("\r\033[K"); /* clears the line */
    fflush(stdout);
}
