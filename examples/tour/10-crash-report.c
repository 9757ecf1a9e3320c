/* SPDX-License-Identifier: MIT */
/* A child crashes: what it said last, by what signal it died, and where. */
#include <signal.h>
#include <unistd.h>

#include "tour.h"

/* In a function of its own, and not inlined, so that the backtrace shows it. */
__attribute__((noinline)) static void fall_over(volatile int *where)
{
    *where = 1;
}

static int careless(struct covey_view arg)
{
    const uintptr_t *address = arg.data;
    fprintf(stderr, "opening the file\nno such file, I go on all the same\n");
    fall_over((volatile int *)*address);
    return 0;
}

static size_t lines(const char *text)
{
    size_t count = 0;
    for (; *text; text++)
        count += *text == '\n';
    return count;
}

int main(int argc, char **argv)
{
    covey_init(argc, argv);

    uintptr_t address = 64; /* nothing is there */
    covey_process *process;
    struct covey_process_report report;
    must(covey_process_create(
        &process, careless, COVEY_VIEW_OF(address),
        COVEY_PROCESS_OPTS(.name = "careless", .capture_stderr = COVEY_ON)));
    must(covey_process_start(process));
    must(covey_process_join(process, COVEY_FOREVER));
    must(covey_process_report(process, &report));

    printf("report: %s\n", report.text);
    printf("died by SIGSEGV: %s\n", report.exitcode == -SIGSEGV ? "yes" : "no");
    printf("its last words:\n%s", report.stderr_tail);
    printf("a backtrace of several lines: %s\n",
           lines(report.backtrace) > 1 ? "yes" : "no");
    fprintf(stderr, "%s", report.backtrace);
    covey_process_free(process);
}
