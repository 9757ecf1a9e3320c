/* SPDX-License-Identifier: MIT */
/*
 * check: the test harness. Each test runs in a process of its own, under a runner that
 * is its subreaper, and leaves nothing behind: no open descriptor, no child, no orphan,
 * no name in /dev/shm. Output is TAP on stdout; what a test prints goes to stderr.
 *
 *     TEST(get_returns_closed_after_drain)
 *     {
 *         CHECK_EQ(covey_foo(), 0);
 *     }
 *     CHECK_MAIN()
 *
 * A failed check ends the process it stands in and fails the test, in whichever
 * descendant of the test it happens, also in one that nobody waits for.
 *
 * Command line: test names (shell patterns), --list, --method fork|spawn|forkserver|thread.
 * Environment:  CHECK_TIMEOUT multiplies all time limits, CHECK_GDB=1 prints backtraces
 *               of the processes of a test that hangs.
 */
#ifndef CHECK_H
#define CHECK_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <covey.h>

/* ---- declaring tests -------------------------------------------------------- */

#define TEST(name)                  CHECK_TEST_(name, 0, 30)
#define TEST_TIMEOUT(name, seconds) CHECK_TEST_(name, 0, seconds)

/* Run once per start method, which check_method() tells. */
#define TEST_EACH_METHOD(name) CHECK_TEST_(name, CHECK_PROCESSES, 30)
#define TEST_EACH_METHOD_TIMEOUT(name, seconds)                                        \
    CHECK_TEST_(name, CHECK_PROCESSES, seconds)
#define TEST_EACH_METHOD_AND_THREAD(name)                                              \
    CHECK_TEST_(name, CHECK_PROCESSES | 1U << COVEY_THREAD, 30)

#define CHECK_MAIN()                                                                   \
    int main(int argc, char **argv)                                                    \
    {                                                                                  \
        return check_main(argc, argv);                                                 \
    }

/* ---- in a test -------------------------------------------------------------- */

#define CHECK(cond)        ((cond) ? (void)0 : check_failed(__FILE__, __LINE__, "%s", #cond))
#define CHECK_EQ(a, b)     CHECK_COMPARE_(a, ==, b)
#define CHECK_NE(a, b)     CHECK_COMPARE_(a, !=, b)
#define CHECK_LT(a, b)     CHECK_COMPARE_(a, <, b)
#define CHECK_LE(a, b)     CHECK_COMPARE_(a, <=, b)
#define CHECK_GT(a, b)     CHECK_COMPARE_(a, >, b)
#define CHECK_GE(a, b)     CHECK_COMPARE_(a, >=, b)
#define CHECK_STR_EQ(a, b) check_strings(__FILE__, __LINE__, #a " == " #b, (a), (b))
/* `part` occurs in `text`. */
#define CHECK_STR_HAS(text, part)                                                      \
    check_contains(__FILE__, __LINE__, #text " has " #part, (text), (part))
#define CHECK_MEM_EQ(a, b, size)                                                       \
    check_bytes(__FILE__, __LINE__, #a " == " #b, (a), (b), (size))
/* A covey call went well, which includes a remark; else prints code and detail. */
#define CHECK_OK(call) check_result(__FILE__, __LINE__, #call, (call))
/* A covey call returned just this code. */
#define CHECK_ERR(call, code)                                                          \
    check_code(__FILE__, __LINE__, #call, (call), #code, (code))
/* Ends the test without a verdict; the reason's test must be listed in tests/may-skip. */
#define SKIP(...) check_skip(__VA_ARGS__)

/* The start method that this run of a TEST_EACH_METHOD is for. */
enum covey_start_method check_method(void);

/* For a program that tests execute by themselves and that has a main of its own: makes
 * its failed checks count. check_main does it too. */
void check_attach(void);

/* Called after the test's body; gives 0, or -1 with a reason. It may shut the library
 * down, so that what is looked at afterwards is what it leaves behind. */
extern int (*check_at_end)(char *why, size_t size);

/* ---- behind the macros ------------------------------------------------------ */

struct check_test {
    const char *name;
    void (*body)(void);
    unsigned methods; /* a bit per start method; 0: not about methods, runs once */
    int seconds;
    int line; /* keeps source order whatever order constructors run in */
    struct check_test *next;
};

#define CHECK_PROCESSES (1U << COVEY_FORK | 1U << COVEY_SPAWN | 1U << COVEY_FORKSERVER)

#define CHECK_TEST_(name, methods, seconds)                                            \
    static void name(void);                                                            \
    __attribute__((constructor)) static void check_register_##name(void)               \
    {                                                                                  \
        static struct check_test test = {                                              \
            #name, name, methods, seconds, __LINE__, NULL};                            \
        check_register(&test);                                                         \
    }                                                                                  \
    static void name(void)

/* Everything is compared as a signed 64-bit number, pointers too. */
#define CHECK_COMPARE_(a, op, b)                                                       \
    do {                                                                               \
        const intmax_t check_a_ = (intmax_t)(a), check_b_ = (intmax_t)(b);             \
        if (!(check_a_ op check_b_))                                                   \
            check_failed(__FILE__, __LINE__, "%s: %jd and %jd", #a " " #op " " #b,     \
                         check_a_, check_b_);                                          \
    } while (0)

int check_main(int argc, char **argv);
void check_register(struct check_test *test);
_Noreturn void check_failed(const char *file, int line, const char *format, ...)
    COVEY_PRINTF(3, 4);
void check_strings(const char *file, int line, const char *what, const char *a,
                   const char *b);
void check_contains(const char *file, int line, const char *what, const char *text,
                    const char *part);
void check_bytes(const char *file, int line, const char *what, const void *a,
                 const void *b, size_t size);
void check_result(const char *file, int line, const char *what, int result);
void check_code(const char *file, int line, const char *what, int result,
                const char *expected_name, int expected);
_Noreturn void check_skip(const char *format, ...) COVEY_PRINTF(1, 2);

#endif
