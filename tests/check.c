/* SPDX-License-Identifier: MIT */
/* The half of the harness that runs inside tests: checks, and how a failed one gets
 * from any process of the test to the runner. */
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "check_internal.h"

struct check_report *check_report;
struct check_test *check_tests;
int (*check_at_end)(char *why, size_t size);

static enum covey_start_method method;
static const char *const method_names[] = {"default", "fork", "spawn", "forkserver",
                                           "thread"};

/* ---- the report -------------------------------------------------------------- */

static void map_report(int fd)
{
    void *map =
        mmap(NULL, sizeof *check_report, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (map != MAP_FAILED)
        check_report = map;
}

void check_report_create(void)
{
    char path[64];
    int fd = memfd_create("check", MFD_CLOEXEC);
    if (fd < 0 || ftruncate(fd, sizeof *check_report) < 0) {
        perror("check: memfd");
        exit(2);
    }
    map_report(fd);
    snprintf(path, sizeof path, "/proc/%d/fd/%d", (int)getpid(), fd);
    setenv("CHECK_REPORT", path, 1);
}

/* In a re-executed child of a test: find the runner's report again. */
static void attach_report(void)
{
    const char *path = getenv("CHECK_REPORT");
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (fd >= 0) {
        map_report(fd);
        close(fd);
    }
}

static void add_note(const char *text, size_t length)
{
    if (write(STDERR_FILENO, text, length) < 0)
        length += 0; /* the report is what counts */
    if (!check_report)
        return;
    unsigned at = atomic_fetch_add(&check_report->used, (unsigned)length);
    if (at < sizeof check_report->text && length < sizeof check_report->text - at)
        memcpy(check_report->text + at, text, length);
}

COVEY_PRINTF(2, 0)
static void note(const char *where, const char *format, va_list args)
{
    char text[1024];
    size_t length = (size_t)snprintf(text, sizeof text - 1, "%s", where);
    length += (size_t)vsnprintf(text + length, sizeof text - 1 - length, format, args);
    if (length > sizeof text - 2)
        length = sizeof text - 2;
    text[length++] = '\n';
    add_note(text, length);
}

void check_note(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    note("", format, args);
    va_end(args);
}

/* ---- checks ------------------------------------------------------------------ */

void check_failed(const char *file, int line, const char *format, ...)
{
    char where[256];
    va_list args;
    snprintf(where, sizeof where, "%s:%d: pid %d: ", file, line, (int)getpid());
    va_start(args, format);
    note(where, format, args);
    va_end(args);
    _exit(1);
}

void check_strings(const char *file, int line, const char *what, const char *a,
                   const char *b)
{
    if (!a || !b || strcmp(a, b) != 0)
        check_failed(file, line, "%s: \"%s\" and \"%s\"", what, a ? a : "(null)",
                     b ? b : "(null)");
}

void check_contains(const char *file, int line, const char *what, const char *text,
                    const char *part)
{
    if (!text || !strstr(text, part))
        check_failed(file, line, "%s: \"%s\" and \"%s\"", what, text ? text : "(null)",
                     part);
}

void check_bytes(const char *file, int line, const char *what, const void *a,
                 const void *b, size_t size)
{
    const unsigned char *left = a, *right = b;
    for (size_t i = 0; i < size; i++)
        if (left[i] != right[i])
            check_failed(file, line, "%s: at byte %zu of %zu: %#x and %#x", what, i,
                         size, left[i], right[i]);
}

void check_result(const char *file, int line, const char *what, int result)
{
    if (result < 0)
        check_failed(file, line, "%s gave %s (%d): %s", what, covey_error_name(result),
                     result, covey_error_detail());
}

void check_code(const char *file, int line, const char *what, int result,
                const char *expected_name, int expected)
{
    if (result != expected)
        check_failed(file, line, "%s gave %s (%d), not %s: %s", what,
                     covey_error_name(result), result, expected_name,
                     covey_error_detail());
}

void check_skip(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(check_report->skip_reason, sizeof check_report->skip_reason, format,
              args);
    va_end(args);
    exit(CHECK_SKIPPED);
}

/* ---- start methods ----------------------------------------------------------- */

enum covey_start_method check_method(void)
{
    return method;
}

const char *check_method_name(enum covey_start_method which)
{
    return method_names[which];
}

void check_set_method(enum covey_start_method which)
{
    method = which;
    setenv("CHECK_METHOD", method_names[which], 1);
}

static void attach_method(void)
{
    const char *name = getenv("CHECK_METHOD");
    for (unsigned i = 0; name && i < sizeof method_names / sizeof *method_names; i++)
        if (strcmp(name, method_names[i]) == 0)
            method = (enum covey_start_method)i;
}

/* ---- registration ------------------------------------------------------------ */

void check_register(struct check_test *test)
{
    struct check_test **at = &check_tests;
    while (*at && (*at)->line < test->line)
        at = &(*at)->next;
    test->next = *at;
    *at = test;
}

void check_attach(void)
{
    check_watch_sanitizers();
    attach_report();
    attach_method();
}

/* A child under spawn and forkserver comes through here too: it needs the report before
 * covey_init, which does not return in it. */
int check_main(int argc, char **argv)
{
    check_attach();
    covey_init(argc, argv);
    return check_run(argc, argv);
}
