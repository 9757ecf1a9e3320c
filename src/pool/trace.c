/* SPDX-License-Identifier: MIT */
/* trace.c: a file in the format of Chrome's and Perfetto's viewers: a JSON array of
 * events, a row per worker, a slice per task. It is an array without its end until the pool
 * has ended, which viewers accept too. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/memory.h"
#include "pool/flow.h"

struct cvy_trace {
    FILE *file;
    int64_t start;
    uint64_t events;
    uint32_t rows; /* named so far */
};

/* "%p" becomes the process id. */
static void expand(char *to, size_t size, const char *path)
{
    const char *at = strstr(path, "%p");
    if (at)
        (void)snprintf(to, size, "%.*s%d%s", (int)(at - path), path, cvy_os_pid(),
                       at + 2);
    else
        (void)snprintf(to, size, "%s", path);
}

int cvy_trace_open(struct cvy_pool *pool, const char *path)
{
    char name[512];
    if (!path)
        path = getenv("COVEY_TRACE");
    if (!path || !path[0])
        return 0;
    expand(name, sizeof name, path);
    struct cvy_trace *trace = cvy_calloc(1, sizeof *trace);
    if (!trace)
        return cvy_fail(-ENOMEM, "covey_pool_create: no memory for a trace");
    trace->file = fopen(name, "we");
    if (!trace->file) {
        int error = errno;
        cvy_free(trace);
        return cvy_fail_os(-error, "covey_pool_create: the trace %s", name);
    }
    trace->start = cvy_os_now();
    (void)fputs("[\n", trace->file);
    pool->trace = trace;
    return 0;
}

static void put_string(FILE *file, const char *text)
{
    (void)fputc('"', file);
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if (c == '"' || c == '\\')
            (void)fprintf(file, "\\%c", c);
        else if (c < ' ' || c > '~')
            (void)fprintf(file, "\\u%04x", c);
        else
            (void)fputc(c, file);
    }
    (void)fputc('"', file);
}

static void begin_event(struct cvy_trace *trace)
{
    if (trace->events++)
        (void)fputs(",\n", trace->file);
}

static void name_rows(struct cvy_pool *pool, uint32_t line)
{
    struct cvy_trace *trace = pool->trace;
    for (; trace->rows < line; trace->rows++) {
        begin_event(trace);
        (void)fprintf(trace->file,
                      "{\"ph\":\"M\",\"name\":\"thread_name\",\"pid\":%d,\"tid\":%u,"
                      "\"args\":{\"name\":",
                      cvy_os_pid(), trace->rows + 1);
        char row[128];
        (void)snprintf(row, sizeof row, "%s worker %u", pool->name, trace->rows + 1);
        put_string(trace->file, row);
        (void)fputs("}}", trace->file);
    }
}

void cvy_trace_add(struct cvy_pool *pool, const struct cvy_done *done)
{
    static const char *const outcomes[] = {"none",      "ok",      "error",  "timeout",
                                           "cancelled", "crashed", "memory", "lost"};
    struct cvy_trace *trace = pool->trace;
    if (!trace || !done->line || !done->started)
        return;
    int64_t end = done->ended > done->started ? done->ended : cvy_os_now();
    name_rows(pool, done->line);
    begin_event(trace);
    (void)fprintf(trace->file,
                  "{\"ph\":\"X\",\"name\":\"item %llu\",\"cat\":\"%s\",\"pid\":%d,"
                  "\"tid\":%u,\"ts\":%.3f,\"dur\":%.3f,\"args\":{\"outcome\":\"%s\","
                  "\"worker\":%d,\"result_bytes\":%zu",
                  (unsigned long long)done->item, outcomes[done->outcome & 7],
                  cvy_os_pid(), done->line,
                  (double)(done->started - trace->start) / 1000,
                  (double)(end - done->started) / 1000, outcomes[done->outcome & 7],
                  done->pid, done->result.size);
    if (done->text[0]) {
        (void)fputs(",\"text\":", trace->file);
        put_string(trace->file, done->text);
    }
    (void)fputs("}}", trace->file);
}

void cvy_trace_close(struct cvy_pool *pool)
{
    (void)pthread_mutex_lock(&pool->lock);
    struct cvy_trace *trace = pool->trace;
    pool->trace = NULL;
    (void)pthread_mutex_unlock(&pool->lock);
    if (!trace)
        return;
    (void)fputs("\n]\n", trace->file);
    (void)fclose(trace->file);
    cvy_free(trace);
}
