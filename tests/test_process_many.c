/* SPDX-License-Identifier: MIT */
/* Many starts leave nothing behind, and many processes may run at once. With CHECK_LONG=1
 * ten times as many. */
#include <sys/resource.h>

#include "fds.h"
#include "process_help.h"

/* Private memory of this process, in bytes. */
static long private_bytes(void)
{
    long pages = 0, resident = 0, shared = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    CHECK(file && fscanf(file, "%ld %ld %ld", &pages, &resident, &shared) == 3);
    fclose(file);
    return (resident - shared) * sysconf(_SC_PAGESIZE);
}

static int say_a_word(struct covey_view arg)
{
    family_tell(&shared_of(arg)->told);
    return 3;
}

static void start_one(struct shared *s, int i)
{
    covey_process *p = started(say_a_word, COVEY_VIEW_OF(s), OPTS());
    int fd;
    if (i % 3 == 0)
        CHECK_OK(covey_process_sentinel(p, &fd));
    if (i % 5 == 0) {
        covey_process_free(p); /* while it runs, or not any more */
        return;
    }
    CHECK_EQ(end_of(p), 3);
}

static void start_many(struct shared *s, int count)
{
    size_t left = 1;
    for (int i = 0; i < count; i++)
        start_one(s, i);
    while (cvy_children())
        CHECK_OK(covey_active_children(NULL, 0, &left));
}

TEST_EACH_METHOD_TIMEOUT(starts_and_ends_leave_everything_as_it_was, 240)
{
    struct shared *s = share();
    int count = (int)family_long(1000, 10000);
    start_many(s, 50);
    int descriptors = count_fds();
    struct covey_family_usage before = family_usage(), after;
    long memory = private_bytes();
    start_many(s, count);
    after = family_usage();
    CHECK_EQ(s->told, 50 + count);
    CHECK_EQ(count_fds(), descriptors);
    CHECK_LE(after.used, before.used + 32768); /* less than 33 bytes per process */
    CHECK_EQ(after.objects, before.objects);
    CHECK_EQ(after.members, before.members);
    CHECK_EQ(after.threads, before.threads);
    if (!SANITIZED) /* which keeps what was freed */
        CHECK_LT(private_bytes() - memory, 1 << 20);
}

TEST_TIMEOUT(many_processes_are_started_before_the_first_is_joined, 240)
{
    struct shared *s = share();
    int count = (int)family_long(1000, 10000);
    covey_process **all = calloc((size_t)count, sizeof(*all));
    if (!all)
        abort();
    for (int i = 0; i < count; i++)
        all[i] = started(say_a_word, COVEY_VIEW_OF(s), NULL);
    for (int i = 0; i < count; i++)
        CHECK_EQ(end_of(all[i]), 3);
    CHECK_EQ(s->told, count);
    free(all);
}

TEST_EACH_METHOD_TIMEOUT(many_processes_run_at_once, 120)
{
    enum { COUNT = 60 };
    struct shared *s = share();
    covey_process *all[COUNT];
    for (int i = 0; i < COUNT; i++)
        all[i] = started(run_until_told, COVEY_VIEW_OF(s), OPTS());
    family_await(&s->begun, COUNT);
    CHECK_EQ(family_usage().members, COUNT + 1);
    family_tell(&s->go);
    for (int i = COUNT - 1; i >= 0; i--)
        CHECK_EQ(end_of(all[i]), 0);
}

static void *start_ten(void *arg)
{
    for (int i = 0; i < 10; i++)
        CHECK_EQ(run(say_a_word, COVEY_VIEW_OF(arg), OPTS()), 3);
    return NULL;
}

TEST_EACH_METHOD_TIMEOUT(threads_may_start_at_once, 120)
{
    struct shared *s = share();
    pthread_t threads[6];
    forks_beside_threads();
    for (int i = 0; i < 6; i++)
        CHECK_EQ(pthread_create(&threads[i], NULL, start_ten, s), 0);
    for (int i = 0; i < 6; i++)
        CHECK_EQ(pthread_join(threads[i], NULL), 0);
    CHECK_EQ(s->told, 60);
}

TEST_EACH_METHOD(failed_starts_leave_nothing)
{
    int fd = 700;
    uint64_t used = 0, objects = 0;
    CHECK_EQ(run(do_nothing, COVEY_NO_VIEW, OPTS()), 0);
    for (int i = 0; i < 100; i++) {
        covey_process *p =
            made(do_nothing, COVEY_NO_VIEW,
                 check_method() == COVEY_FORK ? OPTS(.cpus = "1000")
                                              : OPTS(.fds = &fd, .fd_count = 1));
        CHECK_LT(covey_process_start(p), 0);
        covey_process_free(p);
        struct covey_family_usage now = family_usage();
        if (i == 10) {
            used = now.used;
            objects = now.objects;
        }
        if (i > 10)
            CHECK(now.used == used && now.objects == objects && now.members == 1);
    }
}

/* ---- few descriptors ----------------------------------------------------------- */

/* The limit under which so many more may be opened. */
static rlim_t limit_that_leaves(int free_ones)
{
    int fd = 0;
    for (; free_ones >= 0; fd++)
        free_ones -= fcntl(fd, F_GETFD) < 0;
    return (rlim_t)fd - 1;
}

/* LeakSanitizer opens files at the end. */
static int raise_limit(struct covey_view unused)
{
    struct rlimit limit;
    (void)unused;
    CHECK_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = limit.rlim_max;
    CHECK_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
    return 0;
}

TEST_EACH_METHOD(start_without_free_descriptors_is_a_clean_error)
{
    struct rlimit limit;
    int failures = 0;
    CHECK_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
    CHECK_EQ(run(do_nothing, COVEY_NO_VIEW, OPTS()), 0);
    for (int free_ones = 0;; free_ones++) {
        CHECK_LT(free_ones, 40);
        cvy_forkserver_stop();
        int descriptors = count_fds();
        struct rlimit few = {limit_that_leaves(free_ones), limit.rlim_max};
        covey_process *p =
            made(raise_limit, COVEY_NO_VIEW, OPTS(.capture_stderr = COVEY_ON));
        CHECK_EQ(setrlimit(RLIMIT_NOFILE, &few), 0);
        int r = covey_process_start(p);
        if (r == 0)
            CHECK_OK(covey_process_join(p, COVEY_FOREVER));
        CHECK_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
        CHECK_EQ(family_usage().members, 1);
        if (r == 0) {
            CHECK_EQ(end_of(p), 0);
            break;
        }
        failures++;
        CHECK(r == -EMFILE || r == COVEY_ESTART);
        CHECK_STR_HAS(covey_error_detail(), "starting Process-");
        covey_process_free(p);
        cvy_forkserver_stop();
        CHECK_EQ(count_fds(), descriptors);
        CHECK_EQ(waitpid(-1, NULL, WNOHANG), -1);
    }
    CHECK_GT(failures, 0);
}

CHECK_MAIN()
