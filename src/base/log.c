/* SPDX-License-Identifier: MIT */
/*
 * The log.
 *
 * No lock of ours: a fork child never finds one taken. A line is made on the stack and
 * written by one fwrite to stderr, which is unbuffered, hence by one write(2); glibc's
 * fork gives the child a fresh lock for that stream.
 *
 * Level and destination are unset until first use, when COVEY_LOG is read; whoever sets
 * them explicitly wins over the environment, also if both happen at once.
 *
 * The hook is a pair of words that readers must see together. A new pair goes into the
 * next of a few places and is published by its number; a reader checks afterwards that
 * its place was not reused while it read.
 */
#include "base/log.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/base.h"
#include "base/error.h"

enum { LINE_SIZE = 2048, NAME_SIZE = 64, UNSET = -1 };

static atomic_int log_level = UNSET;
static atomic_int log_to_stderr = UNSET;

enum { HOOK_PLACES = 16 };
static struct {
    _Atomic(covey_log_fn *) fn;
    _Atomic(void *) ctx;
} hooks[HOOK_PLACES];
static atomic_uint hooks_claimed; /* numbers given to writers, the last one's hook */
static atomic_uint hook_current;  /* number of the hook in force; 0: none was set yet */

static const char *(*_Atomic process_name)(void);
static void (*_Atomic write_line)(const char *line, size_t size);
static _Thread_local char thread_name[NAME_SIZE]
    __attribute__((tls_model("initial-exec")));

static const struct {
    int level;
    const char *name;
} level_names[] = {
    {COVEY_LOG_SUBDEBUG, "SUBDEBUG"},
    {COVEY_LOG_DEBUG, "DEBUG"},
    {COVEY_LOG_INFO, "INFO"},
    {COVEY_LOG_SUBWARNING, "SUBWARNING"},
    {COVEY_LOG_WARNING, "WARNING"},
    {COVEY_LOG_ERROR, "ERROR"},
    {50, "CRITICAL"},
    {COVEY_LOG_OFF, "OFF"},
};

/* The level that COVEY_LOG asks for, by name or number; UNSET if it is not there. Other
 * text asks for a log without saying which. */
static int environment_level(void)
{
    const char *text = secure_getenv("COVEY_LOG");
    char *end;
    long number;

    if (!text || !*text)
        return UNSET;
    number = strtol(text, &end, 10);
    if (!*end && number >= 0)
        return number < COVEY_LOG_OFF ? (int)number : COVEY_LOG_OFF;
    for (size_t i = 0; i < CVY_ARRAY_SIZE(level_names); i++) {
        if (!strcasecmp(text, level_names[i].name))
            return level_names[i].level;
    }
    return COVEY_LOG_INFO;
}

/* Fill in what nobody has set, by compare-and-swap: an explicit setting stays. */
CVY_CHILD_CODE static void read_environment(void)
{
    int wanted, unset = UNSET;

    if (atomic_load(&log_level) != UNSET && atomic_load(&log_to_stderr) != UNSET)
        return;
    wanted = environment_level();
    atomic_compare_exchange_strong(&log_level, &unset,
                                   wanted == UNSET ? COVEY_LOG_WARNING : wanted);
    unset = UNSET;
    atomic_compare_exchange_strong(&log_to_stderr, &unset, wanted != UNSET);
}

static void set_hook(covey_log_fn *fn, void *ctx)
{
    unsigned number = atomic_fetch_add(&hooks_claimed, 1) + 1;
    unsigned current = atomic_load(&hook_current);

    atomic_store(&hooks[number % HOOK_PLACES].fn, fn);
    atomic_store(&hooks[number % HOOK_PLACES].ctx, ctx);
    while ((int)(number - current) > 0 &&
           !atomic_compare_exchange_weak(&hook_current, &current, number))
        continue;
}

/* The hook in force and its context; NULL if there is none. */
static covey_log_fn *get_hook(void **ret_ctx)
{
    covey_log_fn *fn;
    unsigned number;

    do {
        number = atomic_load(&hook_current);
        fn = atomic_load(&hooks[number % HOOK_PLACES].fn);
        *ret_ctx = atomic_load(&hooks[number % HOOK_PLACES].ctx);
    } while (atomic_load(&hooks_claimed) - number >= HOOK_PLACES);
    return fn;
}

int covey_log_to_stderr(int level)
{
    read_environment();
    if (level > 0)
        atomic_store(&log_level, level);
    atomic_store(&log_to_stderr, 1);
    set_hook(NULL, NULL);
    return 0;
}

int covey_set_log_level(int level)
{
    if (level < 0)
        return cvy_fail(-EINVAL, "set_log_level: %d is no level", level);
    read_environment();
    atomic_store(&log_level, level);
    return 0;
}

int covey_set_log_hook(covey_log_fn *fn, void *ctx)
{
    read_environment();
    if (!fn)
        atomic_store(&log_to_stderr, 0);
    set_hook(fn, ctx);
    return 0;
}

struct cvy_log_state cvy_log_get_state(void)
{
    read_environment();
    return (struct cvy_log_state){atomic_load(&log_level), atomic_load(&log_to_stderr)};
}

CVY_CHILD_CODE void cvy_log_set_state(struct cvy_log_state state)
{
    /* Most children have it; writing would copy a page. */
    if (atomic_load(&log_level) != state.level)
        atomic_store(&log_level, state.level);
    if (atomic_load(&log_to_stderr) != state.to_stderr)
        atomic_store(&log_to_stderr, state.to_stderr);
}

/* Copies at most 63 bytes and fills up with zeros. */
static void copy_name(char *out, const char *name)
{
    size_t i = 0;

    for (; i < NAME_SIZE - 1 && name[i]; i++)
        out[i] = name[i];
    for (; i < NAME_SIZE; i++)
        out[i] = 0;
}

void cvy_log_ask_process_name(const char *(*fn)(void))
{
    atomic_store(&process_name, fn);
}

void cvy_log_write_by(void (*fn)(const char *line, size_t size))
{
    atomic_store(&write_line, fn);
}

void cvy_log_set_thread_name(const char *name)
{
    copy_name(thread_name, name ? name : "");
}

static void get_name(char *out)
{
    const char *(*ask)(void) = atomic_load(&process_name);
    const char *name = thread_name[0] ? thread_name : ask ? ask() : NULL;

    copy_name(out, name ? name : "MainProcess");
}

/* Write "[LEVEL/name] " and return its length. */
static size_t format_head(char *line, int level)
{
    char name[NAME_SIZE];
    int length = -1;

    get_name(name);
    for (size_t i = 0; i < CVY_ARRAY_SIZE(level_names); i++) {
        if (level_names[i].level == level)
            length = snprintf(line, LINE_SIZE, "[%s/%s] ", level_names[i].name, name);
    }
    if (length < 0)
        length = snprintf(line, LINE_SIZE, "[Level %d/%s] ", level, name);
    return length < 0 ? 0 : (size_t)length;
}

static void to_stderr(const char *line, size_t size)
{
    void (*fn)(const char *, size_t) = atomic_load(&write_line);
    int cancel;

    (void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);
    if (fn)
        fn(line, size);
    else
        (void)fwrite(line, 1, size, stderr);
    (void)pthread_setcancelstate(cancel, NULL);
}

CVY_CHILD_CODE int cvy_log_is_on(int level)
{
    void *ctx;
    int lowest;

    read_environment();
    lowest = atomic_load(&log_level);
    if (level < lowest || lowest >= COVEY_LOG_OFF)
        return 0;
    return atomic_load(&log_to_stderr) == 1 || get_hook(&ctx) != NULL;
}

int covey_log(int level, const char *format, ...)
{
    char line[LINE_SIZE + 1]; /* one more for the newline */
    int saved_errno = errno;
    covey_log_fn *hook;
    void *ctx;
    size_t length;
    va_list args;

    if (!cvy_log_is_on(level))
        return 0;
    length = format_head(line, level);
    va_start(args, format);
    if (vsnprintf(line + length, LINE_SIZE - length, format, args) < 0)
        line[length] = 0;
    va_end(args);
    cvy_flatten(line);
    hook = get_hook(&ctx);
    if (hook) {
        hook(ctx, level, line);
    } else if (atomic_load(&log_to_stderr) == 1) {
        length = strlen(line);
        line[length] = '\n';
        to_stderr(line, length + 1);
    }
    errno = saved_errno;
    return 0;
}
