/* SPDX-License-Identifier: MIT */
/* A sanitizer's report fails the test in whichever of its processes it is made, also in
 * one whose exit code nobody looks at. */
#include "check_internal.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define __SANITIZE_ADDRESS__ 1
#elif __has_feature(thread_sanitizer)
#define __SANITIZE_THREAD__ 1
#endif
#endif

#if defined(__SANITIZE_ADDRESS__)
#include <pthread.h>
#include <sanitizer/common_interface_defs.h>
#include <sched.h>

/* Tests crash processes on purpose and expect the plain exit by signal. */
COVEY_API const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "handle_segv=0:handle_sigbus=0:handle_sigfpe=0:handle_sigill=0:"
           "detect_stack_use_after_return=1";
}

static void on_death(void)
{
    check_note("a sanitizer ended the process, see its report on stderr");
}

void check_watch_sanitizers(void)
{
    __sanitizer_set_death_callback(on_death);
}

/* A thread that comes up takes locks of the sanitizer's allocator, which a child forked
 * meanwhile has for ever. So who makes a thread goes on when it is up; the linker puts this
 * before pthread_create. */
struct beginning {
    void *(*run)(void *arg);
    void *arg;
    _Atomic bool *is_up;
};

static void *begin_thread(void *memory)
{
    const struct beginning begin = *(struct beginning *)memory;
    atomic_store(begin.is_up, true);
    return begin.run(begin.arg);
}

int __real_pthread_create(pthread_t *, const pthread_attr_t *, void *(*)(void *),
                          void *);
int __wrap_pthread_create(pthread_t *, const pthread_attr_t *, void *(*)(void *),
                          void *);
int __wrap_pthread_create(pthread_t *ret_thread, const pthread_attr_t *attr,
                          void *(*run)(void *), void *arg)
{
    _Atomic bool is_up = false;
    struct beginning begin = {run, arg, &is_up};
    int r = __real_pthread_create(ret_thread, attr, begin_thread, &begin);
    while (r == 0 && !atomic_load(&is_up))
        sched_yield();
    return r;
}

#elif defined(__SANITIZE_THREAD__)

COVEY_API const char *__tsan_default_options(void);
const char *__tsan_default_options(void)
{
    return "handle_segv=0:handle_sigbus=0:handle_sigfpe=0:handle_sigill=0:"
           "die_after_fork=0:report_signal_unsafe=0:" /* backtraces load libgcc */
           "atexit_sleep_ms=20"; /* not a second for each of thousands of processes */
}

/* It does not see covey close descriptors, which goes past libc, and takes it for a race
 * when another thread gets the number next, or a test closes what has it then. */
COVEY_API const char *__tsan_default_suppressions(void);
const char *__tsan_default_suppressions(void)
{
    return "race_top:interceptor_open\n"
           "race_top:interceptor_fopen\n"
           "race_top:interceptor_opendir\n"
           "race_top:interceptor_dup\n"
           "race_top:interceptor_pipe\n"
           "race_top:interceptor_socket\n"
           "race_top:interceptor_eventfd\n"
           "race_top:interceptor_epoll_create\n"
           "race:check_descriptors\n"
           "race:several_are_under_way_at_the_same_time\n"
           "race:close_all_and_go_on\n";
}

COVEY_API void __tsan_on_report(void *report);
void __tsan_on_report(void *report)
{
    (void)report;
    check_note("ThreadSanitizer made a report, see stderr");
}

void check_watch_sanitizers(void)
{
}

#else

void check_watch_sanitizers(void)
{
}

#endif
