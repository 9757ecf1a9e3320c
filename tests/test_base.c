/* SPDX-License-Identifier: MIT */
/* The base layer: results, details, bytes, memory hooks, log. Each test has a process of
 * its own, so each finds the log and the allocator as they are at the start. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/base.h"
#include "base/bytes.h"
#include "base/error.h"
#include "base/log.h"
#include "base/memory.h"
#include "check.h"

/* ---- results ------------------------------------------------------------------ */

TEST(own_codes_have_name_text_and_exception)
{
    CHECK_STR_EQ(covey_error_name(COVEY_ECLOSED), "COVEY_ECLOSED");
    CHECK_STR_EQ(covey_strerror(COVEY_ECLOSED), "closed");
    CHECK_STR_EQ(covey_error_python(COVEY_ECLOSED), "ValueError");
    CHECK_STR_EQ(covey_error_name(COVEY_ESTART), "COVEY_ESTART");
    CHECK_STR_EQ(covey_error_python(COVEY_EBROKEN), "BrokenBarrierError");
#define HAS_ALL(code, name, text, python)                                              \
    CHECK_STR_EQ(covey_error_name(COVEY_##name), "COVEY_" #name);                      \
    CHECK_STR_EQ(covey_strerror(COVEY_##name), text);                                  \
    CHECK_STR_EQ(covey_error_python(COVEY_##name), python);                            \
    CHECK_LT(COVEY_##name, -4095);
    COVEY_ERROR_MAP(HAS_ALL)
}

TEST(success_and_remark_have_names)
{
    CHECK_STR_EQ(covey_error_name(0), "0");
    CHECK_STR_EQ(covey_strerror(0), "success");
    CHECK_STR_EQ(covey_error_python(0), "");
    CHECK_STR_EQ(covey_error_name(COVEY_ABANDONED), "COVEY_ABANDONED");
    CHECK_STR_HAS(covey_strerror(COVEY_ABANDONED), "died");
    CHECK_STR_EQ(covey_error_python(COVEY_ABANDONED), "");
}

TEST(every_errno_has_a_name_and_text)
{
    CHECK_STR_EQ(covey_error_name(-EINVAL), "EINVAL");
    CHECK_STR_EQ(covey_strerror(-EINVAL), "Invalid argument");
    CHECK_STR_EQ(covey_error_name(-ENOTSUP), "ENOTSUP");
    CHECK_STR_EQ(covey_error_name(-ETIMEDOUT), "ETIMEDOUT");
    CHECK_STR_EQ(covey_error_name(-EHWPOISON), "EHWPOISON");
    for (int error = 1; error <= EHWPOISON; error++) {
        if (error == 41 || error == 58) /* Linux has no such numbers */
            continue;
        CHECK(covey_error_name(-error)[0] == 'E');
        CHECK(strstr(covey_strerror(-error), "nknown") == NULL);
    }
}

TEST(unknown_codes_say_so)
{
    const int unknown[] = {-41,   -58, -4095, -4096,     -5000,
                           -5999, 1,   42,    INT32_MAX, INT32_MIN};

    for (size_t i = 0; i < CVY_ARRAY_SIZE(unknown); i++) {
        CHECK_STR_EQ(covey_error_name(unknown[i]), "unknown");
        CHECK_STR_HAS(covey_strerror(unknown[i]), "unknown");
        CHECK(covey_error_python(unknown[i])[0]);
    }
}

TEST(errno_maps_to_pythons_exceptions)
{
    CHECK_STR_EQ(covey_error_python(-ETIMEDOUT), "TimeoutError");
    CHECK_STR_EQ(covey_error_python(-ENOENT), "FileNotFoundError");
    CHECK_STR_EQ(covey_error_python(-EPERM), "PermissionError");
    CHECK_STR_EQ(covey_error_python(-EPIPE), "BrokenPipeError");
    CHECK_STR_EQ(covey_error_python(-EAGAIN), "BlockingIOError");
    CHECK_STR_EQ(covey_error_python(-EINVAL), "ValueError");
    CHECK_STR_EQ(covey_error_python(-ENOMEM), "MemoryError");
    CHECK_STR_EQ(covey_error_python(-EMFILE), "OSError");
    CHECK_STR_EQ(covey_error_python(-4095), "OSError");
    CHECK_STR_EQ(covey_error_python(-4096), "RuntimeError");
}

/* ---- the detail --------------------------------------------------------------- */

TEST(detail_is_empty_at_first)
{
    CHECK_STR_EQ(covey_error_detail(), "");
}

TEST(fail_sets_the_detail_and_returns_the_code)
{
    errno = EDOM;
    CHECK_EQ(cvy_fail(COVEY_ECLOSED, "queue %d is closed", 7), COVEY_ECLOSED);
    CHECK_STR_EQ(covey_error_detail(), "queue 7 is closed");
    CHECK_EQ(cvy_fail_os(-ENOENT, "open %s", "x"), -ENOENT);
    CHECK_STR_EQ(covey_error_detail(), "open x: No such file or directory");
    CHECK_EQ(cvy_fail_os(COVEY_EBROKEN, "barrier"), COVEY_EBROKEN);
    CHECK_STR_EQ(covey_error_detail(), "barrier: broken");
    CHECK_EQ(errno, EDOM);
}

TEST(detail_prefix_goes_in_front)
{
    cvy_detail_prefix("start %s", "Process-1");
    CHECK_STR_EQ(covey_error_detail(), "start Process-1");
    cvy_fail_os(-EMFILE, "pipe");
    cvy_detail_prefix("start %s", "Process-1");
    CHECK_STR_EQ(covey_error_detail(), "start Process-1: pipe: Too many open files");
}

TEST(detail_may_use_itself)
{
    cvy_fail(-EINVAL, "inner");
    cvy_fail(-EINVAL, "outer %s", covey_error_detail());
    CHECK_STR_EQ(covey_error_detail(), "outer inner");
    cvy_detail_prefix("again %s", covey_error_detail());
    CHECK_STR_EQ(covey_error_detail(), "again outer inner: outer inner");
}

TEST(detail_is_cut_and_is_one_line)
{
    char longer[2000];

    memset(longer, 'x', sizeof(longer) - 1);
    longer[sizeof(longer) - 1] = 0;
    cvy_fail_os(-EINVAL, "%s", longer);
    CHECK_EQ(strlen(covey_error_detail()), CVY_DETAIL_SIZE - 1);
    cvy_detail_prefix("front");
    CHECK_EQ(strlen(covey_error_detail()), CVY_DETAIL_SIZE - 1);
    CHECK_EQ(strncmp(covey_error_detail(), "front: xxx", 10), 0);
    cvy_fail_os(-EINVAL, "%s", longer); /* of both, the reason stays whole */
    CHECK_STR_HAS(covey_error_detail(), "xxx: Invalid argument");
    CHECK_EQ(strlen(covey_error_detail()), CVY_DETAIL_SIZE - 1);
    cvy_fail(-EINVAL, "two\nlines\tand more\n\n");
    CHECK_STR_EQ(covey_error_detail(), "two lines and more");
}

static void *fail_in_thread(void *unused)
{
    (void)unused;
    CHECK_STR_EQ(covey_error_detail(), "");
    cvy_fail(-EINVAL, "of the thread");
    CHECK_STR_EQ(covey_error_detail(), "of the thread");
    return NULL;
}

TEST(each_thread_has_its_detail)
{
    pthread_t thread;

    cvy_fail(-EINVAL, "of main");
    CHECK_EQ(pthread_create(&thread, NULL, fail_in_thread, NULL), 0);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    CHECK_STR_EQ(covey_error_detail(), "of main");
}

/* ---- bytes -------------------------------------------------------------------- */

TEST(resize_keeps_what_was_there)
{
    struct covey_bytes bytes = {0};
    void *data;

    CHECK_OK(covey_bytes_resize(&bytes, 5));
    CHECK_EQ(bytes.size, 5);
    CHECK_GE(bytes.capacity, 5);
    memcpy(bytes.data, "abcde", 5);
    CHECK_OK(covey_bytes_resize(&bytes, 100000));
    CHECK_EQ(bytes.size, 100000);
    CHECK_MEM_EQ(bytes.data, "abcde", 5);
    data = bytes.data;
    CHECK_OK(covey_bytes_resize(&bytes, 2));
    CHECK_OK(covey_bytes_resize(&bytes, 100000));
    CHECK(bytes.data == data);
    covey_bytes_free(&bytes);
    CHECK(bytes.data == NULL);
    CHECK_EQ(bytes.size + bytes.capacity, 0);
}

TEST(bytes_of_no_size_and_free_twice_are_fine)
{
    struct covey_bytes bytes = {0};

    CHECK_OK(covey_bytes_resize(&bytes, 0));
    CHECK(bytes.data == NULL);
    covey_bytes_free(&bytes);
    covey_bytes_free(&bytes);
    covey_bytes_free(NULL);
}

TEST(resize_beyond_memory_leaves_bytes_alone)
{
    struct covey_bytes bytes = {0};

    CHECK_OK(cvy_bytes_append(&bytes, "abc", 3));
    CHECK_ERR(covey_bytes_resize(&bytes, SIZE_MAX), -ENOMEM);
    CHECK_STR_HAS(covey_error_detail(), "bytes");
    CHECK_ERR(cvy_bytes_append(&bytes, "abc", SIZE_MAX), -ENOMEM);
    CHECK_EQ(bytes.size, 3);
    CHECK_MEM_EQ(bytes.data, "abc", 3);
    covey_bytes_free(&bytes);
}

TEST(bytes_grow_by_appending)
{
    struct covey_bytes bytes = {0};
    size_t moves = 0, capacity = 0;

    for (unsigned i = 0; i < 100000; i++) {
        CHECK_OK(cvy_bytes_append(&bytes, &(char){(char)i}, 1));
        moves += bytes.capacity != capacity;
        capacity = bytes.capacity;
    }
    CHECK_EQ(bytes.size, 100000);
    CHECK_LT(moves, 20);
    for (unsigned i = 0; i < 100000; i++)
        CHECK_EQ(((char *)bytes.data)[i], (char)i);
    CHECK_OK(cvy_bytes_append(&bytes, NULL, 0));
    CHECK_EQ(bytes.size, 100000);
    covey_bytes_free(&bytes);
}

TEST(bytes_format_adds_text_with_an_end)
{
    struct covey_bytes bytes = {0};

    CHECK_OK(cvy_bytes_format(&bytes, "<%s", "Process"));
    CHECK_OK(cvy_bytes_format(&bytes, " pid=%d>", 12));
    CHECK_STR_EQ((char *)bytes.data, "<Process pid=12>");
    CHECK_EQ(bytes.size, 16);
    CHECK_OK(cvy_bytes_format(&bytes, "%500s", "x"));
    CHECK_EQ(bytes.size, 516);
    CHECK_EQ(((char *)bytes.data)[516], 0);
    covey_bytes_free(&bytes);
}

/* ---- memory ------------------------------------------------------------------- */

static size_t live, refuse_over = SIZE_MAX;

static void *count_malloc(size_t size)
{
    void *memory = size > refuse_over ? NULL : malloc(size);

    live += memory != NULL;
    return memory;
}

static void *count_realloc(void *memory, size_t size)
{
    if (size > refuse_over)
        return NULL;
    live += memory == NULL;
    return realloc(memory, size);
}

static void count_free(void *memory)
{
    live--;
    free(memory);
}

TEST(all_memory_comes_from_the_programs_allocator)
{
    char *text, *zeros;

    CHECK_OK(covey_set_allocator(count_malloc, count_realloc, count_free));
    text = cvy_strdup("text");
    zeros = cvy_calloc(3, 5);
    CHECK_STR_EQ(text, "text");
    CHECK_MEM_EQ(zeros, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 15);
    CHECK_EQ(live, 2);
    text = cvy_realloc(text, 1000);
    CHECK_STR_EQ(text, "text");
    cvy_free(text);
    cvy_free(zeros);
    cvy_free(NULL);
    CHECK_EQ(live, 0);
}

TEST(allocator_is_fixed_by_the_first_allocation)
{
    CHECK_ERR(covey_set_allocator(count_malloc, NULL, count_free), -EINVAL);
    CHECK_ERR(covey_set_allocator(NULL, count_realloc, NULL), -EINVAL);
    CHECK_OK(covey_set_allocator(count_malloc, count_realloc, count_free));
    CHECK_OK(covey_set_allocator(NULL, NULL, NULL));
    cvy_free(cvy_malloc(1));
    CHECK_EQ(live, 0);
    CHECK_ERR(covey_set_allocator(count_malloc, count_realloc, count_free),
              COVEY_ESTATE);
    CHECK_ERR(covey_set_allocator(NULL, NULL, NULL), COVEY_ESTATE);
    CHECK_STR_HAS(covey_error_detail(), "already");
}

TEST(memory_that_is_refused_is_an_error)
{
    struct covey_bytes bytes = {0};

    refuse_over = 100;
    CHECK_OK(covey_set_allocator(count_malloc, count_realloc, count_free));
    CHECK(cvy_malloc(101) == NULL);
    CHECK(cvy_calloc(2, 51) == NULL);
    CHECK(cvy_calloc(SIZE_MAX, 2) == NULL);
    CHECK_OK(covey_bytes_resize(&bytes, 60));
    CHECK_OK(covey_bytes_resize(&bytes, 99)); /* twice 64 is refused, 99 is not */
    CHECK_ERR(covey_bytes_resize(&bytes, 101), -ENOMEM);
    CHECK_EQ(bytes.size, 99);
    covey_bytes_free(&bytes);
    CHECK_EQ(live, 0);
}

TEST(memory_of_no_size_can_be_freed)
{
    void *a = cvy_malloc(0), *b = cvy_calloc(0, 7), *c = cvy_realloc(NULL, 0);

    CHECK(a && b && c);
    cvy_free(a);
    cvy_free(b);
    cvy_free(c);
}

/* ---- log ---------------------------------------------------------------------- */

/* stderr becomes a pipe that keeps writes apart. */
struct capture {
    int read_end, stderr_copy;
};

static struct capture capture_start(void)
{
    struct capture capture;
    int ends[2];

    CHECK_EQ(pipe2(ends, O_CLOEXEC | O_DIRECT | O_NONBLOCK), 0);
    capture.read_end = ends[0];
    capture.stderr_copy = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 10);
    CHECK_EQ(dup2(ends[1], STDERR_FILENO), STDERR_FILENO);
    close(ends[1]);
    return capture;
}

/* The next write as text; "" if there is none. */
static const char *capture_next(const struct capture *capture)
{
    static char text[8192];
    ssize_t size = read(capture->read_end, text, sizeof(text) - 1);

    text[size > 0 ? size : 0] = 0;
    return text;
}

static void capture_end(struct capture *capture)
{
    dup2(capture->stderr_copy, STDERR_FILENO);
    close(capture->stderr_copy);
    close(capture->read_end);
}

TEST(log_is_silent_until_asked)
{
    struct capture capture = capture_start();

    CHECK_OK(covey_log(COVEY_LOG_ERROR, "text"));
    CHECK_OK(covey_set_log_level(COVEY_LOG_DEBUG));
    CHECK_OK(covey_log(COVEY_LOG_ERROR, "text"));
    CHECK(!cvy_log_is_on(COVEY_LOG_ERROR));
    CHECK_STR_EQ(capture_next(&capture), "");
    capture_end(&capture);
}

static const char *process_1(void)
{
    return "Process-1";
}

TEST(log_line_has_level_and_process_name)
{
    struct capture capture = capture_start();

    CHECK_OK(covey_log_to_stderr(COVEY_LOG_INFO));
    errno = EDOM;
    CHECK_OK(covey_log(COVEY_LOG_INFO, "child %d started", 3));
    CHECK_EQ(errno, EDOM);
    CHECK_STR_EQ(capture_next(&capture), "[INFO/MainProcess] child 3 started\n");
    cvy_log_ask_process_name(process_1);
    covey_log(COVEY_LOG_SUBWARNING, "text\n");
    CHECK_STR_EQ(capture_next(&capture), "[SUBWARNING/Process-1] text\n");
    covey_log(42, "two\nlines");
    CHECK_STR_EQ(capture_next(&capture), "[Level 42/Process-1] two lines\n");
    cvy_log_set_thread_name("Process-2");
    covey_log(COVEY_LOG_ERROR, "text");
    CHECK_STR_EQ(capture_next(&capture), "[ERROR/Process-2] text\n");
    cvy_log_set_thread_name(NULL);
    covey_log(COVEY_LOG_WARNING, "text");
    CHECK_STR_EQ(capture_next(&capture), "[WARNING/Process-1] text\n");
    capture_end(&capture);
}

/* In a child: log to a pipe without a reader, while SIGPIPE is as said. Returns: the status;
 * what it exits with is whether SIGPIPE is pending then. */
static int status_of_lost_log(void (*prepare)(void))
{
    int ends[2], status = -1;
    sigset_t pending;
    pid_t pid;

    CHECK_EQ(pipe(ends), 0);
    pid = fork();
    if (pid == 0) {
        close(ends[0]);
        dup2(ends[1], STDERR_FILENO);
        covey_log_to_stderr(COVEY_LOG_INFO);
        if (prepare)
            prepare();
        errno = EDOM;
        covey_log(COVEY_LOG_ERROR, "nobody reads this");
        if (errno != EDOM)
            _exit(10);
        sigpending(&pending);
        _exit(sigismember(&pending, SIGPIPE));
    }
    close(ends[0]);
    close(ends[1]);
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    return status;
}

static void block_pipe_signal(void)
{
    sigset_t only;

    sigemptyset(&only);
    sigaddset(&only, SIGPIPE);
    sigprocmask(SIG_BLOCK, &only, NULL);
}

static void have_pipe_signal_pending(void)
{
    block_pipe_signal();
    raise(SIGPIPE);
}

TEST(log_without_a_reader_is_no_signal)
{
    CHECK_EQ(status_of_lost_log(NULL), 0);
    CHECK_EQ(status_of_lost_log(block_pipe_signal), 0);
    CHECK_EQ(WEXITSTATUS(status_of_lost_log(have_pipe_signal_pending)), 1);
}

TEST(log_drops_lines_below_the_level)
{
    struct capture capture = capture_start();

    CHECK_OK(covey_log_to_stderr(0)); /* keeps WARNING */
    covey_log(COVEY_LOG_SUBWARNING, "dropped");
    covey_log(COVEY_LOG_WARNING, "kept");
    CHECK_STR_EQ(capture_next(&capture), "[WARNING/MainProcess] kept\n");
    CHECK_OK(covey_log_to_stderr(COVEY_LOG_SUBDEBUG));
    covey_log(4, "dropped");
    covey_log(COVEY_LOG_SUBDEBUG, "kept");
    CHECK_STR_EQ(capture_next(&capture), "[SUBDEBUG/MainProcess] kept\n");
    CHECK_OK(covey_set_log_level(COVEY_LOG_OFF));
    covey_log(COVEY_LOG_OFF + 1, "dropped");
    CHECK_ERR(covey_set_log_level(-1), -EINVAL);
    covey_log(COVEY_LOG_ERROR, "dropped");
    CHECK_STR_EQ(capture_next(&capture), "");
    capture_end(&capture);
}

static const char *long_name(void)
{
    static char name[100];

    memset(name, 'n', sizeof(name) - 1);
    return name;
}

TEST(long_log_line_is_cut_and_written_at_once)
{
    static char longer[5000];
    struct capture capture = capture_start();
    const char *line;

    memset(longer, 'x', sizeof(longer) - 1);
    cvy_log_ask_process_name(long_name);
    covey_log_to_stderr(COVEY_LOG_INFO);
    covey_log(COVEY_LOG_INFO, "%s", longer);
    line = capture_next(&capture);
    CHECK_EQ(strlen(line), 2048);
    CHECK_EQ(line[2047], '\n');
    CHECK_EQ(strchr(line, ']') - line, 6 + 63);
    CHECK_STR_EQ(capture_next(&capture), "");
    capture_end(&capture);
}

static char hooked[2100];
static int hooked_level, hooked_count;

static void hook(void *ctx, int level, const char *line)
{
    snprintf(hooked, sizeof(hooked), "%s%s", (char *)ctx, line);
    hooked_level = level;
    hooked_count++;
}

TEST(log_hook_replaces_stderr)
{
    struct capture capture = capture_start();
    char context[] = "> ";

    CHECK_OK(covey_set_log_hook(hook, context));
    covey_log(COVEY_LOG_WARNING, "text\n");
    CHECK_STR_EQ(hooked, "> [WARNING/MainProcess] text");
    CHECK_EQ(hooked_level, COVEY_LOG_WARNING);
    CHECK_STR_EQ(capture_next(&capture), "");
    CHECK_OK(covey_log_to_stderr(0)); /* back to stderr */
    covey_log(COVEY_LOG_WARNING, "text");
    CHECK_EQ(hooked_count, 1);
    CHECK_STR_EQ(capture_next(&capture), "[WARNING/MainProcess] text\n");
    covey_set_log_hook(hook, context);
    CHECK_EQ(cvy_log_get_state().to_stderr, 1); /* for spawned children */
    CHECK_OK(covey_set_log_hook(NULL, NULL));
    CHECK_EQ(cvy_log_get_state().to_stderr, 0);
    covey_log(COVEY_LOG_ERROR, "nobody hears");
    CHECK_EQ(hooked_count, 1);
    CHECK_STR_EQ(capture_next(&capture), "");
    capture_end(&capture);
}

TEST(log_state_travels_to_a_child)
{
    struct cvy_log_state state = {COVEY_LOG_DEBUG, 1};
    struct capture capture = capture_start();

    CHECK_EQ(cvy_log_get_state().level, COVEY_LOG_WARNING);
    CHECK_EQ(cvy_log_get_state().to_stderr, 0);
    cvy_log_set_state(state);
    covey_log(COVEY_LOG_DEBUG, "text");
    CHECK_STR_EQ(capture_next(&capture), "[DEBUG/MainProcess] text\n");
    CHECK_EQ(cvy_log_get_state().level, COVEY_LOG_DEBUG);
    capture_end(&capture);
}

/* The level that COVEY_LOG=`text` sets, 0 if it does not turn the log on; in a child,
 * since it is looked at once. */
static int level_from_environment(const char *text)
{
    int status;
    pid_t pid = fork();

    if (pid == 0) {
        setenv("COVEY_LOG", text, 1);
        _exit(cvy_log_get_state().to_stderr ? cvy_log_get_state().level : 0);
    }
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK(WIFEXITED(status));
    return WEXITSTATUS(status);
}

TEST(environment_turns_the_log_on)
{
    CHECK_EQ(level_from_environment("INFO"), COVEY_LOG_INFO);
    CHECK_EQ(level_from_environment("subdebug"), COVEY_LOG_SUBDEBUG);
    CHECK_EQ(level_from_environment("OFF"), COVEY_LOG_OFF);
    CHECK_EQ(level_from_environment("17"), 17);
    CHECK_EQ(level_from_environment("99999"), COVEY_LOG_OFF);
    CHECK_EQ(level_from_environment("yes please"), COVEY_LOG_INFO);
    CHECK_EQ(level_from_environment("-3"), COVEY_LOG_INFO);
    CHECK_EQ(level_from_environment(""), 0);
}

TEST(program_wins_over_the_environment)
{
    setenv("COVEY_LOG", "DEBUG", 1);
    CHECK_OK(covey_set_log_level(COVEY_LOG_ERROR));
    CHECK_EQ(cvy_log_get_state().level, COVEY_LOG_ERROR);
    CHECK_EQ(cvy_log_get_state().to_stderr, 1);
    covey_set_log_hook(NULL, NULL);
    CHECK_EQ(cvy_log_get_state().to_stderr, 0);
}

/* ---- log and threads ---------------------------------------------------------- */

static atomic_bool stop;

/* Each of these goes with one context: the next byte of the same array. */
static char pairs[2];

static void hook_0(void *ctx, int level, const char *line)
{
    (void)level, (void)line;
    CHECK(ctx == &pairs[0]);
}

static void hook_1(void *ctx, int level, const char *line)
{
    (void)level, (void)line;
    CHECK(ctx == &pairs[1]);
}

static void *change_hooks(void *unused)
{
    (void)unused;
    while (!atomic_load(&stop)) {
        covey_set_log_hook(hook_0, &pairs[0]);
        covey_set_log_hook(hook_1, &pairs[1]);
    }
    return NULL;
}

TEST(hook_and_context_stay_together)
{
    pthread_t threads[2];

    for (int i = 0; i < 2; i++)
        CHECK_EQ(pthread_create(&threads[i], NULL, change_hooks, NULL), 0);
    for (int i = 0; i < 50000; i++)
        covey_log(COVEY_LOG_ERROR, "%d", i);
    atomic_store(&stop, true);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
}

static void *log_much(void *unused)
{
    (void)unused;
    while (!atomic_load(&stop)) {
        covey_log(COVEY_LOG_ERROR, "from a thread");
        cvy_fail_os(-EINVAL, "from a thread");
    }
    return NULL;
}

TEST(fork_child_of_a_logging_program_can_log)
{
    struct capture capture = capture_start();
    pthread_t threads[2];
    int status;

    covey_log_to_stderr(COVEY_LOG_INFO);
    fcntl(STDERR_FILENO, F_SETFL, O_NONBLOCK); /* a full pipe is not what is tested */
    for (int i = 0; i < 2; i++)
        CHECK_EQ(pthread_create(&threads[i], NULL, log_much, NULL), 0);
    for (int i = 0; i < 50; i++) {
        pid_t pid = fork();

        if (pid == 0) {
            covey_log(COVEY_LOG_ERROR, "from a child");
            _exit(cvy_fail_os(-EINVAL, "from a child") != -EINVAL);
        }
        CHECK_EQ(waitpid(pid, &status, 0), pid);
        CHECK_EQ(status, 0);
    }
    atomic_store(&stop, true);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    capture_end(&capture);
}

/* ---- helpers ------------------------------------------------------------------ */

TEST(helpers_compute)
{
    struct {
        int first, second;
    } pair;
    char text[] = "a\nb\t \r\n";

    CHECK(CVY_CONTAINER_OF(&pair.second, __typeof__(pair), second) == &pair);
    CHECK_EQ(cvy_round_up(0, 16), 0);
    CHECK_EQ(cvy_round_up(1, 16), 16);
    CHECK_EQ(cvy_round_up(16, 16), 16);
    CHECK_EQ(cvy_min_i64(-1, 1), -1);
    CHECK(cvy_max_u64(1, UINT64_MAX) == UINT64_MAX);
    cvy_flatten(text);
    CHECK_STR_EQ(text, "a b");
    CHECK_EQ(sizeof(COVEY_NO_VIEW), sizeof(struct covey_view));
    CHECK_EQ(COVEY_VIEW_OF(pair).size, sizeof(pair));
}

CHECK_MAIN()
