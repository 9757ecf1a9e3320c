/* SPDX-License-Identifier: MIT */
/* What a child gets from its starter: argument, holds, standard streams, key, log, and the
 * options that shape it. */
#include <sys/resource.h>
#include <sys/stat.h>

#include "process_help.h"

/* ---- arguments ---------------------------------------------------------------- */

static unsigned char pattern(size_t i)
{
    return (unsigned char)(i * 7 + i / 251);
}

static int check_argument(struct covey_view arg)
{
    const unsigned char *bytes = arg.data;
    CHECK_EQ((uintptr_t)arg.data % 16, 0);
    CHECK_EQ(arg.data == NULL, arg.size == 0);
    for (size_t i = 0; i < arg.size; i++)
        if (bytes[i] != pattern(i))
            return 2;
    return (int)(arg.size % 251);
}

TEST_EACH_METHOD_AND_THREAD(argument_arrives_whole_aligned_and_as_it_was)
{
    static const size_t sizes[] = {0, 1, 15, 16, 255, 256, 257, 4097, 1 << 20};
    uint64_t used = 0;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        unsigned char *bytes = malloc(sizes[i] + 1);
        if (!bytes)
            abort();
        for (size_t j = 0; j < sizes[i]; j++)
            bytes[j] = pattern(j);
        covey_process *p = made(check_argument, COVEY_VIEW(bytes, sizes[i]), OPTS());
        memset(bytes, 0, sizes[i] + 1); /* it was copied */
        free(bytes);
        CHECK_OK(covey_process_start(p));
        CHECK_EQ(end_of(p), sizes[i] % 251);
        if (i == 0)
            used = family_usage().used;
    }
    CHECK_EQ(family_usage().used, used);
}

TEST(argument_needs_bytes_for_its_size)
{
    covey_process *p = NULL;
    CHECK_ERR(covey_process_create(&p, do_nothing, COVEY_VIEW(NULL, 1), NULL), -EINVAL);
    CHECK(p == NULL);
}

TEST(argument_beyond_the_budget_is_an_error)
{
    covey_process *p = NULL;
    CHECK_OK(covey_family_configure(COVEY_FAMILY_OPTS(.budget = 16 << 20)));
    size_t size = 64 << 20;
    char *bytes = calloc(1, size);
    CHECK_ERR(covey_process_create(&p, do_nothing, COVEY_VIEW(bytes, size), NULL),
              -ENOMEM);
    CHECK_STR_HAS(covey_error_detail(), "budget");
    CHECK_EQ(run(do_nothing, COVEY_VIEW(bytes, 1 << 20), NULL), 0);
    free(bytes);
}

/* ---- holds -------------------------------------------------------------------- */

struct held {
    struct shared *shared;
    void *objects[2];
};

/* Whether it can use the objects after its starter has let go of them. */
static int look_at_objects(struct covey_view arg)
{
    const struct held *h = arg.data;
    int alive = 0;
    family_tell(&h->shared->begun);
    family_await(&h->shared->go, 1);
    for (int i = 0; i < 2; i++) {
        int r = cvy_object_check(h->objects[i], CVY_KIND_TEST, "test");
        CHECK(r == 0 || r == COVEY_EFREED);
        alive |= (r == 0) << i;
    }
    return alive;
}

static int run_with_objects(const void *const *holds)
{
    struct held h = {share(), {family_object(64, 0), family_object(64, 100000)}};
    const void *wanted[16] = {NULL};
    for (int i = 0; holds && i < 2; i++)
        wanted[i] = holds[i] == (const void *)1 ? h.objects[1] : holds[i];
    struct covey_process_opts *opts = OPTS();
    memcpy(opts->holds, wanted, sizeof wanted);
    covey_process *p = started(look_at_objects, COVEY_VIEW_OF(h), opts);
    family_await(&h.shared->begun, 1);
    CHECK_OK(cvy_object_release(h.objects[0]));
    CHECK_OK(cvy_object_release(h.objects[1]));
    family_tell(&h.shared->go);
    return end_of(p);
}

TEST_EACH_METHOD(child_is_born_with_the_holds_of_its_starter)
{
    (void)share(); /* whatever a test keeps for itself is there before */
    CHECK_EQ(run_with_objects(NULL), 3);
    uint64_t used = family_usage().used, objects = family_usage().objects;
    CHECK_EQ(run_with_objects(NULL), 3);
    CHECK_EQ(family_usage().objects, objects + 1); /* the words it shares */
    CHECK_LT(family_usage().used, used + 20000);   /* and not what the child held */
}

TEST_EACH_METHOD(listed_holds_replace_those_of_the_starter)
{
    const void *const second[2] = {(const void *)1, NULL};
    const void *const none[2] = {COVEY_NO_HOLDS, NULL};
    CHECK_EQ(run_with_objects(second), 2);
    CHECK_EQ(run_with_objects(none), 0);
}

TEST_EACH_METHOD(bad_object_among_the_holds_is_an_error_of_start)
{
    CHECK_OK(cvy_enter());
    void *object = family_object(64, 0);
    int local = 0;
    covey_process *p = made(do_nothing, COVEY_NO_VIEW, OPTS(.holds = {object, &local}));
    uint64_t members = family_usage().members;
    CHECK_ERR(covey_process_start(p), -EINVAL);
    CHECK_STR_HAS(covey_error_detail(), "starting Process-1 by");
    covey_process_free(p);
    p = made(do_nothing, COVEY_NO_VIEW, OPTS(.holds = {object}));
    CHECK_OK(cvy_object_release(object));
    CHECK_ERR(covey_process_start(p), COVEY_EFREED);
    CHECK_EQ(family_usage().members, members);
    covey_process_free(p);
}

/* ---- standard streams --------------------------------------------------------- */

static int read_stdin(struct covey_view arg)
{
    char byte = 0;
    ssize_t n = read(0, &byte, 1);
    (void)arg;
    return n == 1 ? byte : (int)n;
}

TEST_EACH_METHOD(stdin_is_the_null_device_unless_kept)
{
    int ends[2], old = fcntl(0, F_DUPFD_CLOEXEC, 3);
    CHECK_EQ(pipe2(ends, O_CLOEXEC), 0);
    CHECK_EQ(write(ends[1], "k", 1), 1);
    CHECK_EQ(dup2(ends[0], 0), 0);
    CHECK_EQ(run(read_stdin, COVEY_NO_VIEW, OPTS()), 0);
    CHECK_EQ(run(read_stdin, COVEY_NO_VIEW, OPTS(.keep_stdin = COVEY_ON)), 'k');
    cvy_forkserver_stop();
    close(ends[0]);
    close(ends[1]);
    if (old < 0) {
        close(0);
        return;
    }
    dup2(old, 0);
    close(old);
}

/* 0: closed, 1: the null device, 2: something else */
static int kind_of(int fd)
{
    struct stat info, null;
    if (fstat(fd, &info) < 0)
        return 0;
    CHECK_EQ(stat("/dev/null", &null), 0);
    return info.st_rdev == null.st_rdev ? 1 : 2;
}

static int tell_streams(struct covey_view arg)
{
    struct shared *s = shared_of(arg);
    for (int fd = 0; fd < 3; fd++)
        s->numbers[fd] = kind_of(fd);
    return 0;
}

static void start_without_streams(struct shared *s)
{
    for (int fd = 0; fd < 3; fd++)
        close(fd);
    covey_process *p = NULL;
    if (covey_process_create(&p, tell_streams, COVEY_VIEW_OF(s), OPTS()) < 0 ||
        covey_process_start(p) < 0 || covey_process_join(p, COVEY_FOREVER) < 0) {
        strcpy(s->text, covey_error_detail());
        _exit(1);
    }
    int code = -1;
    (void)covey_process_exitcode(p, &code);
    s->numbers[3] = code;
    exit(0);
}

TEST_EACH_METHOD(start_works_where_the_low_descriptors_are_closed)
{
    struct shared *s = share();
    int pid = family_fork(), status;
    if (pid == 0)
        start_without_streams(s);
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK_STR_EQ(s->text, "");
    CHECK_EQ(status, 0);
    CHECK_EQ(s->numbers[3], 0);
    CHECK_EQ(s->numbers[0], 1);
    CHECK_NE(s->numbers[1], 2); /* nothing of ours, where a program prints */
    CHECK_NE(s->numbers[2], 2);
}

/* ---- descriptors -------------------------------------------------------------- */

static int write_to_numbers(struct covey_view arg)
{
    const int *numbers = arg.data;
    for (size_t i = 0; i < arg.size / sizeof *numbers; i++)
        if (write(numbers[i], &(char){(char)('a' + i % 26)}, 1) != 1)
            return (int)i + 1;
    return 0;
}

/* Count of descriptors that arrive, as numbers from `first` on. */
static void check_inherited(int first, size_t count)
{
    int ends[2], numbers[60], moved;
    char text[65] = "";
    CHECK_EQ(pipe2(ends, O_CLOEXEC), 0);
    moved = fcntl(ends[1], F_DUPFD_CLOEXEC, 300);
    CHECK_GE(moved, 300);
    for (size_t i = 0; i < count; i++) {
        numbers[i] = first + (int)i;
        CHECK_EQ(fcntl(numbers[i], F_GETFD), -1);
        CHECK_EQ(dup3(moved, numbers[i], O_CLOEXEC), numbers[i]);
    }
    CHECK_EQ(run(write_to_numbers, COVEY_VIEW(numbers, count * sizeof *numbers),
                 OPTS(.fds = numbers, .fd_count = count)),
             0);
    CHECK_EQ(read(ends[0], text, 64), count);
    for (size_t i = 0; i < count; i++) {
        CHECK_EQ(text[i], (char)('a' + i % 26));
        close(numbers[i]);
    }
    close(moved);
    close(ends[0]);
    close(ends[1]);
}

TEST_EACH_METHOD(listed_descriptors_have_the_same_numbers)
{
    check_inherited(40, 1);
    check_inherited(20, 5);
    check_inherited(100, 60);
}

static int spawn_another(struct covey_view arg)
{
    (void)arg;
    return run(do_nothing, COVEY_NO_VIEW, COVEY_PROCESS_OPTS(.method = COVEY_SPAWN));
}

/* Also where covey has its own descriptors. */
TEST_EACH_METHOD(child_with_low_descriptors_can_spawn)
{
    int numbers[20];
    for (size_t i = 0; i < 20; i++)
        numbers[i] = fcntl(2, F_DUPFD_CLOEXEC, 3);
    CHECK_EQ(run(spawn_another, COVEY_NO_VIEW, OPTS(.fds = numbers, .fd_count = 20)),
             0);
    for (size_t i = 0; i < 20; i++)
        close(numbers[i]);
}

static int is_closed(struct covey_view arg)
{
    return fcntl(*(const int *)arg.data, F_GETFD) < 0;
}

TEST_EACH_METHOD(other_descriptors_stay_behind_but_under_fork)
{
    int fd = dup2(2, 90); /* not close-on-exec */
    CHECK_EQ(fd, 90);
    CHECK_EQ(run(is_closed, COVEY_VIEW_OF(fd), OPTS()), check_method() != COVEY_FORK);
    close(fd);
}

TEST_EACH_METHOD(bad_descriptors_are_refused)
{
    covey_process *p = NULL;
    int fds[61] = {3};
    CHECK_ERR(covey_process_create(&p, do_nothing, COVEY_NO_VIEW,
                                   OPTS(.fds = fds, .fd_count = 61)),
              -EINVAL);
    CHECK_ERR(covey_process_create(&p, do_nothing, COVEY_NO_VIEW, OPTS(.fd_count = 1)),
              -EINVAL);
    for (fds[0] = -1; fds[0] < 3; fds[0]++)
        CHECK_ERR(covey_process_create(&p, do_nothing, COVEY_NO_VIEW,
                                       OPTS(.fds = fds, .fd_count = 1)),
                  -EINVAL);
    fds[0] = 400;
    p = made(do_nothing, COVEY_NO_VIEW, OPTS(.fds = fds, .fd_count = 1));
    CHECK_ERR(covey_process_start(p), check_method() == COVEY_FORK ? 0 : -EBADF);
    if (check_method() == COVEY_FORK) /* it has what its starter has */
        CHECK_EQ(exitcode_of(p), 0);
    covey_process_free(p);
}

/* ---- options that shape the child ---------------------------------------------- */

static size_t first_processor(void)
{
    cpu_set_t set;
    size_t cpu = 0;
    CHECK_EQ(sched_getaffinity(0, sizeof set, &set), 0);
    while (!CPU_ISSET(cpu, &set))
        cpu++;
    return cpu;
}

static int tell_processors(struct covey_view arg)
{
    cpu_set_t set;
    CHECK_EQ(sched_getaffinity(0, sizeof set, &set), 0);
    return CPU_ISSET(*(const size_t *)arg.data, &set) ? CPU_COUNT(&set) : -1;
}

TEST_EACH_METHOD(child_runs_on_the_given_processors)
{
    size_t cpu = first_processor();
    char list[32];
    covey_process *p = NULL;
    snprintf(list, sizeof list, "%zu", cpu);
    CHECK_EQ(run(tell_processors, COVEY_VIEW_OF(cpu), OPTS(.cpus = list)), 1);
    CHECK_ERR(covey_process_create(&p, do_nothing, COVEY_NO_VIEW, OPTS(.cpus = "two")),
              -EINVAL);
    p = made(do_nothing, COVEY_NO_VIEW, OPTS(.cpus = "1000"));
    CHECK_LT(covey_process_start(p), 0);
    CHECK_STR_HAS(covey_error_detail(), "processors");
    covey_process_free(p);
}

static int tell_limits(struct covey_view arg)
{
    static const int which[] = {RLIMIT_CPU,   RLIMIT_DATA,   RLIMIT_STACK,
                                RLIMIT_FSIZE, RLIMIT_NOFILE, RLIMIT_CORE};
    struct shared *s = shared_of(arg);
    for (int i = 0; i < 6; i++) {
        struct rlimit limit;
        CHECK_EQ(getrlimit((__rlimit_resource_t)which[i], &limit), 0);
        s->numbers[i] = (int)limit.rlim_cur;
    }
    return 0;
}

TEST_EACH_METHOD(child_has_the_given_limits)
{
    struct shared *s = share();
    struct covey_limits limits = {.cpu_seconds = 100,
                                  .data_bytes = SANITIZED ? 0 : 1 << 30,
                                  .stack_bytes = 1 << 20,
                                  .file_bytes = 1 << 29,
                                  .open_files = 50,
                                  .core_dumps = COVEY_OFF};
    CHECK_EQ(run(tell_limits, COVEY_VIEW_OF(s), OPTS(.limits = limits)), 0);
    CHECK_EQ(s->numbers[0], 100);
    if (!SANITIZED) /* which needs more than one can give it */
        CHECK_EQ(s->numbers[1], 1 << 30);
    CHECK_EQ(s->numbers[2], 1 << 20);
    CHECK_EQ(s->numbers[3], 1 << 29);
    CHECK_EQ(s->numbers[4], 50);
    CHECK_EQ(s->numbers[5], 0);
}

static int work_on(struct covey_view arg)
{
    volatile unsigned n = 0;
    (void)arg;
    for (;;)
        n++;
    return 0;
}

static int write_much(struct covey_view arg)
{
    char path[] = "/tmp/covey-test-XXXXXX", block[4096] = "";
    int fd = mkstemp(path);
    (void)arg;
    unlink(path);
    while (write(fd, block, sizeof block) > 0)
        continue;
    return errno == EFBIG ? 1 : 2;
}

TEST(limits_end_a_child_that_goes_beyond)
{
    const struct covey_process_opts *cpu =
        COVEY_PROCESS_OPTS(.limits = {.cpu_seconds = 1, .core_dumps = COVEY_OFF});
    const struct covey_process_opts *file =
        COVEY_PROCESS_OPTS(.limits = {.file_bytes = 16384, .core_dumps = COVEY_OFF});
    covey_process *p = started(work_on, COVEY_NO_VIEW, cpu);
    CHECK_EQ(run(write_much, COVEY_NO_VIEW, file), -SIGXFSZ);
    CHECK_EQ(end_of(p), -SIGXCPU);
}

static int tell_group(struct covey_view arg)
{
    (void)arg;
    return getpgrp() == getpid();
}

TEST_EACH_METHOD(child_may_have_a_group_of_its_own)
{
    CHECK_EQ(run(tell_group, COVEY_NO_VIEW, OPTS()), 0);
    CHECK_EQ(run(tell_group, COVEY_NO_VIEW, OPTS(.new_group = COVEY_ON)), 1);
}

TEST(thread_refuses_options_of_processes)
{
    covey_process *p = NULL;
    int fd = 3;
#define REFUSED(...)                                                                   \
    CHECK_ERR(                                                                         \
        covey_process_create(&p, do_nothing, COVEY_NO_VIEW,                            \
                             COVEY_PROCESS_OPTS(.method = COVEY_THREAD, __VA_ARGS__)), \
        -ENOTSUP)
    REFUSED(.new_group = COVEY_ON);
    REFUSED(.capture_stderr = COVEY_ON);
    REFUSED(.cpus = "0");
    REFUSED(.fds = &fd, .fd_count = 1);
    REFUSED(.limits = {.open_files = 10});
#undef REFUSED
}

TEST(bad_options_are_refused)
{
    covey_process *p = NULL;
    char name[65];
    memset(name, 'n', 64);
    name[64] = 0;
    struct covey_process_opts no_size = {.name = "x"}, old = {.size = 8};
    struct {
        struct covey_process_opts opts;
        uint64_t more[2];
    } newer = {.opts = {.size = sizeof newer}};
#define REFUSED(opts)                                                                  \
    CHECK_ERR(covey_process_create(&p, do_nothing, COVEY_NO_VIEW, (opts)), -EINVAL)
    REFUSED(COVEY_PROCESS_OPTS(.name = ""));
    REFUSED(COVEY_PROCESS_OPTS(.name = name));
    REFUSED(COVEY_PROCESS_OPTS(.method = (enum covey_start_method)5));
    REFUSED(COVEY_PROCESS_OPTS(.method = (enum covey_start_method) - 1));
    REFUSED(COVEY_PROCESS_OPTS(.start_timeout = -1));
    REFUSED(COVEY_PROCESS_OPTS(.cpus = ""));
    REFUSED(&no_size);
    newer.more[1] = 1; /* an option that this library does not know */
    REFUSED(&newer.opts);
#undef REFUSED
    CHECK(p == NULL);
    CHECK_OK(covey_process_create(&p, do_nothing, COVEY_NO_VIEW, &old));
    covey_process_free(p); /* shorter: the rest is default */
    newer.more[1] = 0;
    CHECK_OK(covey_process_create(&p, do_nothing, COVEY_NO_VIEW, &newer.opts));
    covey_process_free(p);
    covey_target_fn *fn = (covey_target_fn *)(uintptr_t)16;
    CHECK_ERR(covey_process_create(&p, fn, COVEY_NO_VIEW, NULL), -EINVAL);
    CHECK_ERR(covey_process_create(NULL, do_nothing, COVEY_NO_VIEW, NULL), -EINVAL);
}

/* ---- key and log -------------------------------------------------------------- */

static int compare_key(struct covey_view arg)
{
    struct covey_bytes key = {0};
    CHECK_OK(covey_authkey(&key));
    CHECK_EQ(key.size, arg.size);
    CHECK_MEM_EQ(key.data, arg.data, arg.size);
    CHECK_OK(covey_set_authkey(COVEY_VIEW("other", 5))); /* of this process only */
    covey_bytes_free(&key);
    return 0;
}

static int tell_key(struct covey_view arg)
{
    struct covey_bytes key = {0};
    CHECK_OK(covey_authkey(&key));
    CHECK_EQ(key.size, 32);
    memcpy(shared_of(arg)->text, key.data, 32);
    covey_bytes_free(&key);
    return 0;
}

TEST_EACH_METHOD(key_that_nobody_asked_for_is_handed_down)
{
    struct shared *s = share();
    struct covey_bytes key = {0};
    CHECK_EQ(run(tell_key, COVEY_VIEW_OF(s), OPTS(0)), 0);
    CHECK_OK(covey_authkey(&key));
    CHECK_MEM_EQ(s->text, key.data, 32);
    covey_bytes_free(&key);
}

TEST_EACH_METHOD(key_is_handed_down)
{
    struct covey_bytes key = {0}, again = {0};
    char longest[257] = "k";
    CHECK_OK(covey_authkey(&key));
    CHECK_EQ(key.size, 32);
    CHECK_EQ(run(compare_key, COVEY_VIEW(key.data, key.size), OPTS()), 0);
    CHECK_OK(covey_authkey(&again));
    CHECK_MEM_EQ(key.data, again.data, 32);
    CHECK_ERR(covey_set_authkey(COVEY_VIEW(longest, 257)), -EINVAL);
    CHECK_ERR(covey_set_authkey(COVEY_NO_VIEW), -EINVAL);
    CHECK_OK(covey_set_authkey(COVEY_VIEW(longest, 256)));
    CHECK_EQ(run(compare_key, COVEY_VIEW(longest, 256), OPTS()), 0);
    CHECK_OK(covey_set_authkey(COVEY_VIEW("s", 1)));
    CHECK_EQ(run(compare_key, COVEY_VIEW("s", 1), OPTS()), 0);
    CHECK_ERR(covey_authkey(NULL), -EINVAL);
    covey_bytes_free(&key);
    covey_bytes_free(&again);
}

static int log_lines(struct covey_view arg)
{
    (void)arg;
    (void)covey_log(COVEY_LOG_DEBUG, "unheard");
    (void)covey_log(COVEY_LOG_INFO, "heard %d", 1);
    (void)covey_log(COVEY_LOG_ERROR, "loud");
    return 0;
}

TEST_EACH_METHOD_AND_THREAD(log_goes_where_the_starters_goes)
{
    struct catcher c = catch_output(2);
    CHECK_EQ(run(log_lines, COVEY_NO_VIEW, OPTS()), 0);
    CHECK_OK(covey_log_to_stderr(COVEY_LOG_INFO));
    CHECK_EQ(run(log_lines, COVEY_NO_VIEW, OPTS()), 0);
    CHECK_OK(covey_set_log_level(COVEY_LOG_ERROR));
    CHECK_EQ(run(log_lines, COVEY_NO_VIEW, OPTS()), 0);
    const char *text = caught(&c);
    bool thread = check_method() == COVEY_THREAD;
    CHECK(!strstr(text, "Process-1]"));
    CHECK(!strstr(text, "unheard"));
    CHECK_STR_HAS(text, "[INFO/Process-2] heard 1\n");
    CHECK_STR_HAS(text, "[ERROR/Process-2] loud\n");
    if (!thread) {
        CHECK_STR_HAS(text, "[INFO/Process-2] child process Process-2 begins\n");
        CHECK_STR_HAS(text, "[INFO/Process-2] process exiting with exit code 0\n");
    }
    CHECK(!strstr(text, "[INFO/Process-3]"));
    CHECK_STR_HAS(text, "[ERROR/Process-3] loud\n");
    CHECK_OK(covey_set_log_level(COVEY_LOG_OFF));
}

static int log_below(struct covey_view arg)
{
    (void)arg;
    return run(log_lines, COVEY_NO_VIEW,
               COVEY_PROCESS_OPTS(.method = COVEY_FORK, .name = "Below"));
}

TEST(child_of_a_thread_logs_under_its_own_name)
{
    struct catcher c = catch_output(2);
    CHECK_OK(covey_log_to_stderr(COVEY_LOG_ERROR));
    CHECK_EQ(run(log_below, COVEY_NO_VIEW, COVEY_PROCESS_OPTS(.method = COVEY_THREAD)),
             0);
    CHECK_STR_HAS(caught(&c), "[ERROR/Below] loud\n");
    CHECK_OK(covey_set_log_level(COVEY_LOG_OFF));
}

CHECK_MAIN()
