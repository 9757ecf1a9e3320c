/* SPDX-License-Identifier: MIT */
/* The system contract: time, futexes, the bell, memory. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "os_help.h"

/* ---- time --------------------------------------------------------------------- */

TEST(deadline_is_now_plus_timeout)
{
    int64_t before = cvy_os_now(), deadline = cvy_os_deadline(COVEY_SEC(1));

    CHECK_GT(before, 0);
    CHECK_GE(deadline, before + COVEY_SEC(1));
    CHECK_LE(deadline, cvy_os_now() + COVEY_SEC(1));
    CHECK_EQ(cvy_os_deadline(0), 0);
    CHECK_EQ(cvy_os_deadline(COVEY_NOWAIT), 0);
    CHECK_EQ(cvy_os_deadline(INT64_MIN), 0);
    CHECK_EQ(cvy_os_deadline(COVEY_FOREVER), INT64_MAX);
    CHECK_EQ(cvy_os_time_left(INT64_MAX), COVEY_FOREVER);
    CHECK_EQ(cvy_os_time_left(0), COVEY_NOWAIT);
    CHECK_EQ(cvy_os_time_left(before), COVEY_NOWAIT);
    CHECK_GT(cvy_os_time_left(deadline + COVEY_SEC(100)), COVEY_SEC(1));
    CHECK_EQ(cvy_os_deadline(COVEY_FOREVER - 1), INT64_MAX);
    cvy_os_yield();
    cvy_os_pause();
}

/* ---- futexes ------------------------------------------------------------------ */

TEST(futex_wait_looks_before_it_sleeps)
{
    cvy_word words[3] = {1, 2, 3};
    struct cvy_os_wait waits[3] = {{&words[0], 1}, {&words[1], 2}, {&words[2], 4}};

    CHECK_EQ(cvy_os_futex_waitv(&waits[2], 1, INT64_MAX), -EAGAIN);
    CHECK_EQ(cvy_os_futex_waitv(waits, 3, INT64_MAX), -EAGAIN);
    CHECK_EQ(cvy_os_futex_waitv(waits, 0, INT64_MAX), -EINVAL);
    CHECK_EQ(cvy_os_futex_waitv(waits, CVY_OS_MOST_WAITS + 1, INT64_MAX), -EINVAL);
    CHECK_EQ(cvy_os_futex_wake(&words[0], 1), 0);
}

TEST(futex_wait_ends_at_the_deadline)
{
    cvy_word words[2] = {1, 2};
    struct cvy_os_wait waits[2] = {{&words[0], 1}, {&words[1], 2}};

    for (unsigned n = 1; n <= 2; n++) {
        int64_t deadline = cvy_os_deadline(COVEY_MSEC(20));

        CHECK_EQ(cvy_os_futex_waitv(waits, n, 0), -ETIMEDOUT);
        CHECK_EQ(cvy_os_futex_waitv(waits, n, deadline), -ETIMEDOUT);
        CHECK_GE(cvy_os_now(), deadline);
    }
}

TEST(futex_wait_takes_as_many_words_as_the_kernel)
{
    cvy_word word = 1;
    struct cvy_os_wait waits[CVY_OS_MOST_WAITS];
    for (unsigned n = 1; n <= CVY_OS_MOST_WAITS; n++) {
        waits[n - 1] = (struct cvy_os_wait){&word, 1};
        CHECK_EQ(cvy_os_futex_waitv(waits, n, 0), -ETIMEDOUT);
    }
}

static void sleep_on_three(struct shared *shared)
{
    struct cvy_os_wait waits[3] = {
        {&shared->object, 0}, {&shared->gong, 0}, {&shared->bell, 0}};

    _exit(cvy_os_futex_waitv(waits, 3, INT64_MAX));
}

TEST(futex_wake_tells_which_word)
{
    struct shared *shared = share();
    cvy_word *words[3] = {&shared->object, &shared->gong, &shared->bell};

    CHECK(cvy_os_has_waitv());
    for (int i = 0; i < 3; i++) {
        pid_t pid = fork();

        if (pid == 0)
            sleep_on_three(shared);
        await_sleep(pid);
        CHECK_EQ(cvy_os_futex_wake(words[i], 5), 1);
        CHECK_EQ(reap(pid), i << 8);
    }
}

TEST(futex_wake_wakes_as_many_as_asked)
{
    struct shared *shared = share();
    pid_t pids[3];

    for (int i = 0; i < 3; i++) {
        pids[i] = fork();
        if (pids[i] == 0)
            _exit(cvy_os_futex_waitv(&(struct cvy_os_wait){&shared->object, 0}, 1,
                                     INT64_MAX));
        await_sleep(pids[i]);
    }
    CHECK_EQ(cvy_os_futex_wake(&shared->object, 2), 2);
    CHECK_EQ(cvy_os_futex_wake(&shared->object, 2), 1);
    for (int i = 0; i < 3; i++)
        CHECK_EQ(reap(pids[i]), 0);
}

static void ignore_signal(int signal)
{
    (void)signal;
}

TEST(futex_wait_tells_of_a_signal)
{
    struct shared *shared = share();
    struct sigaction action = {.sa_handler = ignore_signal};
    struct cvy_os_wait waits[2] = {{&shared->object, 0}, {&shared->bell, 0}};

    for (unsigned n = 1; n <= 2; n++) {
        pid_t pid = fork();

        if (pid == 0) {
            sigaction(SIGUSR1, &action, NULL);
            _exit(cvy_os_futex_waitv(waits, n, INT64_MAX) == -EINTR ? 0 : 1);
        }
        await_sleep(pid);
        kill(pid, SIGUSR1);
        CHECK_EQ(reap(pid), 0);
    }
}

TEST(waitv_that_is_denied_is_missed)
{
    const int errors[] = {ENOSYS, EPERM, EACCES, ENOENT};

    for (size_t i = 0; i < CVY_ARRAY_SIZE(errors); i++) {
        pid_t pid = fork();

        if (pid == 0) {
            cvy_word words[2] = {1, 2};
            struct cvy_os_wait waits[2] = {{&words[0], 1}, {&words[1], 2}};

            deny(449, errors[i]);
            CHECK(!cvy_os_has_waitv());
            CHECK_EQ(cvy_os_futex_waitv(waits, 2, INT64_MAX), -ENOSYS);
            CHECK_EQ(cvy_os_futex_waitv(waits, 1, 0), -ETIMEDOUT);
            _exit(0);
        }
        CHECK_EQ(reap(pid), 0);
    }
}

TEST(waitv_that_is_denied_later_is_missed)
{
    cvy_word words[2] = {1, 2};
    struct cvy_os_wait waits[2] = {{&words[0], 1}, {&words[1], 2}};
    pid_t pid;

    CHECK(cvy_os_has_waitv());
    pid = fork();
    if (pid == 0) {
        deny(449, EPERM);
        CHECK_EQ(cvy_os_futex_waitv(waits, 2, INT64_MAX), -ENOSYS);
        CHECK(!cvy_os_has_waitv());
        _exit(0);
    }
    CHECK_EQ(reap(pid), 0);
    CHECK(cvy_os_has_waitv());
}

/* ---- threads and the bell ----------------------------------------------------- */

static void *tell_tid(void *ret_tid)
{
    *(int *)ret_tid = cvy_os_tid();
    return NULL;
}

TEST(ids_are_the_systems)
{
    pthread_t thread;
    int tid = 0;

    CHECK_EQ(cvy_os_pid(), getpid());
    CHECK_EQ(cvy_os_ppid(), getppid());
    CHECK_EQ(cvy_os_tid(), getpid());
    CHECK_EQ(pthread_create(&thread, NULL, tell_tid, &tid), 0);
    pthread_join(thread, NULL);
    CHECK_GT(tid, 0);
    CHECK_NE(tid, getpid());
}

TEST(name_is_what_ps_shows)
{
    char name[16] = "";

    cvy_os_set_comm("covey-test-with-a-long-name");
    CHECK_EQ(prctl(PR_GET_NAME, name), 0);
    CHECK_STR_EQ(name, "covey-test-with");
}

static pid_t start_sleeper(struct shared *shared)
{
    pid_t pid = fork();

    if (pid == 0)
        sleep_on_three(shared);
    await_sleep(pid);
    return pid;
}

/* The bell is the third word. */
static void check_rang(pid_t sleeper)
{
    CHECK_EQ(reap(sleeper), 2 << 8);
}

static void arm_and_pause(struct shared *shared)
{
    CHECK_EQ(cvy_os_arm_bell(&shared->bell), 0);
    raise_word(&shared->ready);
    for (;;)
        pause();
}

TEST(bell_rings_when_a_process_is_killed)
{
    struct shared *shared = share();
    pid_t sleeper = start_sleeper(shared), victim = fork();

    if (victim == 0)
        arm_and_pause(shared);
    await_word(&shared->ready, 1);
    kill(victim, SIGKILL);
    check_rang(sleeper);
    reap(victim);
    CHECK_EQ(atomic_load(&shared->bell), 0);
}

TEST(bell_rings_when_a_process_exits)
{
    struct shared *shared = share();
    pid_t sleeper = start_sleeper(shared), victim = fork();

    if (victim == 0) {
        cvy_os_arm_bell(&shared->bell);
        _exit(0);
    }
    check_rang(sleeper);
    reap(victim);
}

TEST(bell_rings_when_a_process_executes_another_program)
{
    struct shared *shared = share();
    pid_t sleeper = start_sleeper(shared), victim = fork();

    if (victim == 0) {
        cvy_os_arm_bell(&shared->bell);
        execl("/bin/sleep", "sleep", "60", (char *)NULL);
        _exit(1);
    }
    check_rang(sleeper);
    kill(victim, SIGKILL);
    reap(victim);
}

static void *arm_and_end(void *argument)
{
    struct shared *shared = argument;

    CHECK_EQ(cvy_os_arm_bell(&shared->bell), 0);
    return NULL;
}

TEST(bell_rings_when_a_thread_ends)
{
    struct shared *shared = share();
    pid_t sleeper = start_sleeper(shared);
    pthread_t thread;

    CHECK_EQ(pthread_create(&thread, NULL, arm_and_end, shared), 0);
    pthread_join(thread, NULL);
    check_rang(sleeper);
}

/* Also in a grandchild by fork, from a thread other than main. */
static void *fork_victim(void *argument)
{
    struct shared *shared = argument;
    pid_t pid;

    CHECK_EQ(cvy_os_arm_bell(&shared->bell), 0);
    pid = fork();
    if (pid == 0)
        arm_and_pause(shared);
    await_word(&shared->ready, 1);
    CHECK_EQ(cvy_os_arm_bell(NULL), 0);
    kill(pid, SIGKILL);
    reap(pid);
    return NULL;
}

TEST(bell_rings_for_a_fork_child_that_arms_again)
{
    struct shared *shared = share();
    pid_t sleeper = start_sleeper(shared);
    pthread_t thread;

    CHECK_EQ(pthread_create(&thread, NULL, fork_victim, shared), 0);
    pthread_join(thread, NULL);
    check_rang(sleeper);
}

TEST(bell_is_inherited_by_a_fork_child)
{
    struct shared *shared = share();
    pid_t sleeper = start_sleeper(shared), victim;

    CHECK_EQ(cvy_os_arm_bell(&shared->bell), 0);
    victim = fork();
    if (victim == 0)
        _exit(0);
    check_rang(sleeper);
    reap(victim);
    CHECK_EQ(cvy_os_arm_bell(NULL), 0);
}

/* Whether the bell rings within a short time after this process's child ended. */
static int rang_shortly(struct shared *shared)
{
    struct cvy_os_wait wait = {&shared->bell, 0};

    return cvy_os_futex_waitv(&wait, 1, cvy_os_deadline(COVEY_MSEC(100)));
}

TEST(bell_that_is_disarmed_does_not_ring)
{
    struct shared *shared = share();
    pid_t victim = fork();

    if (victim == 0) {
        cvy_os_arm_bell(&shared->bell);
        cvy_os_arm_bell(NULL);
        cvy_os_rearm_bell();
        await_word(&shared->ready, 1);
        _exit(0);
    }
    raise_word(&shared->ready);
    CHECK_EQ(rang_shortly(shared), -ETIMEDOUT);
    reap(victim);
}

static pthread_mutex_t *make_robust(void)
{
    pthread_mutex_t *mutex = mmap(NULL, sizeof(pthread_mutex_t), PROT_READ | PROT_WRITE,
                                  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pthread_mutexattr_t attributes;

    CHECK(mutex != MAP_FAILED);
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    CHECK_EQ(pthread_mutex_init(mutex, &attributes), 0);
    return mutex;
}

TEST(bell_is_armed_again_after_robust_mutexes)
{
    struct shared *shared = share();
    pthread_mutex_t *mutex = make_robust();
    pid_t sleeper = start_sleeper(shared), victim;

    cvy_os_rearm_bell(); /* before the first arming: nothing */
    victim = fork();
    if (victim == 0) {
        cvy_os_arm_bell(&shared->bell);
        pthread_mutex_lock(mutex);
        cvy_os_rearm_bell();
        _exit(0);
    }
    check_rang(sleeper);
    reap(victim);
    CHECK_EQ(pthread_mutex_lock(mutex), EOWNERDEAD); /* both work */
}

TEST(bell_test_of_the_kernel_works)
{
    struct shared *shared = share();

    CHECK_EQ(cvy_os_bell_rings(&shared->bell, cvy_os_deadline(COVEY_SEC(5))), 1);
}

/* ---- memory ------------------------------------------------------------------- */

enum { MIB = 1 << 20 };

/* Where nothing is mapped. */
static void *free_place(uint64_t size)
{
    void *place = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    CHECK(place != MAP_FAILED);
    munmap(place, size);
    return place;
}

TEST(memory_file_is_sparse_and_sealed)
{
    struct cvy_os_file_id id, other;
    int fd = cvy_os_memfd_create("test", 1024UL * MIB);
    int fd2 = cvy_os_memfd_create("test", MIB);

    CHECK_GE(fd, 0);
    CHECK_EQ(fcntl(fd, F_GETFD), FD_CLOEXEC);
    CHECK_EQ(lseek(fd, 0, SEEK_END), (off_t)1024 * MIB);
    CHECK(ftruncate(fd, 0) < 0 && errno == EPERM);
    CHECK(ftruncate(fd, (off_t)2048 * MIB) < 0 && errno == EPERM);
    CHECK(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE) < 0 && errno == EPERM);
    CHECK_EQ(cvy_os_file_id(fd, &id), 0);
    CHECK_EQ(id.resident, 0);
    CHECK_EQ(cvy_os_file_id(fd2, &other), 0);
    CHECK(id.device == other.device && id.inode != other.inode);
    CHECK_EQ(cvy_os_file_id(-1, &id), -EBADF);
    cvy_os_close(fd);
    cvy_os_close(fd2);
}

TEST(memory_file_over_a_limit_is_an_error_not_a_signal)
{
    pid_t pid = fork();

    if (pid == 0) {
        struct rlimit limit = {MIB, RLIM_INFINITY};

        setrlimit(RLIMIT_FSIZE, &limit);
        CHECK_EQ(cvy_os_memfd_create("test", MIB + 1), -EFBIG);
        CHECK_EQ(cvy_os_memfd_create("test", UINT64_MAX), -EFBIG);
        CHECK_GE(cvy_os_memfd_create("test", MIB), 0);
        _exit(0);
    }
    CHECK_EQ(reap(pid), 0);
}

TEST(mapping_is_where_it_was_asked_for)
{
    int fd = cvy_os_memfd_create("test", 64 * MIB);
    char *place = free_place(64 * MIB);

    CHECK_EQ(cvy_os_map_at(place, 64 * MIB, fd, false), 0);
    place[64 * MIB - 1] = 7;
    CHECK_EQ(cvy_os_map_at(place + 32 * MIB, MIB, fd, false), -EEXIST);
    CHECK_EQ(place[64 * MIB - 1], 7);
    CHECK_EQ(cvy_os_unmap(place, 64 * MIB), 0);
    CHECK_EQ(cvy_os_map_at(place, 64 * MIB, fd, false), 0);
    CHECK_EQ(place[64 * MIB - 1], 7);
    CHECK_EQ(cvy_os_unmap(place, 64 * MIB), 0);
    CHECK_EQ(cvy_os_unmap(place + 1, 64 * MIB), -EINVAL);
    CHECK_EQ(cvy_os_map_at(place + 1, MIB, fd, false), -EINVAL);
    CHECK_EQ(cvy_os_map_at(place, MIB, -1, false), -EBADF);
    cvy_os_close(fd);
}

TEST(mapping_beyond_the_address_limit_is_an_error)
{
    pid_t pid = fork();

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    if (pid == 0)
        _exit(0); /* their shadow memory is over any limit */
#endif
    if (pid == 0) {
        int fd = cvy_os_memfd_create("test", 4096UL * MIB);
        struct rlimit limit = {1024UL * MIB, RLIM_INFINITY};

        setrlimit(RLIMIT_AS, &limit);
        CHECK_EQ(cvy_os_map_at((void *)0x300000000000, 4096UL * MIB, fd, false),
                 -ENOMEM);
        _exit(0);
    }
    CHECK_EQ(reap(pid), 0);
}

/* Whether the mapping at `place` has `flag` in smaps. */
static bool has_flag(const void *place, const char *flag)
{
    FILE *file = fopen("/proc/self/smaps", "re");
    char line[512], start[32];
    bool ours = false, found = false;

    snprintf(start, sizeof(start), "%zx-", (size_t)place);
    CHECK(file != NULL);
    while (fgets(line, sizeof(line), file)) {
        if (!strncmp(line, start, strlen(start)))
            ours = true;
        else if (ours && !strncmp(line, "VmFlags:", 8)) {
            found = strstr(line, flag) != NULL;
            break;
        }
    }
    fclose(file);
    CHECK(ours);
    return found;
}

TEST(mapping_is_in_core_dumps_only_if_asked)
{
    int fd = cvy_os_memfd_create("test", MIB);
    void *place = free_place(MIB);

    CHECK_EQ(cvy_os_map_at(place, MIB, fd, false), 0);
    CHECK(has_flag(place, " dd"));
    cvy_os_unmap(place, MIB);
    CHECK_EQ(cvy_os_map_at(place, MIB, fd, true), 0);
    CHECK(!has_flag(place, " dd"));
    cvy_os_unmap(place, MIB);
    cvy_os_close(fd);
}

TEST(pages_are_populated_and_given_back)
{
    int fd = cvy_os_memfd_create("test", 4 * MIB);
    char *place = free_place(4 * MIB);
    struct cvy_os_file_id id;

    CHECK_EQ(cvy_os_map_at(place, 4 * MIB, fd, false), 0);
    CHECK_EQ(cvy_os_populate(place, 2 * MIB), 0);
    CHECK_EQ(cvy_os_file_id(fd, &id), 0);
    CHECK_EQ(id.resident, 2 * MIB);
    memset(place, 1, 2 * MIB);
    CHECK_EQ(cvy_os_punch(place, MIB), 0);
    CHECK_EQ(cvy_os_file_id(fd, &id), 0);
    CHECK_EQ(id.resident, MIB);
    CHECK_EQ(place[0], 0);
    CHECK_EQ(place[MIB], 1);
    CHECK_EQ(cvy_os_punch(place + 1, MIB), -EINVAL);
    cvy_os_unmap(place, 4 * MIB);
    CHECK_LT(cvy_os_populate(place, MIB), 0);
    CHECK_LT(cvy_os_punch(place, MIB), 0);
    cvy_os_close(fd);
}

/* Every size and place around the ends of cache lines; nothing else is written. */
TEST(copy_past_caches_copies_what_it_should)
{
    enum { SIZE = 512 };
    unsigned char from[SIZE], to[SIZE], right[SIZE];

    for (size_t i = 0; i < SIZE; i++)
        from[i] = (unsigned char)(i * 7 + 1);
    for (size_t at = 0; at < 66; at++)
        for (size_t size = 0; size < 300; size++) {
            memset(to, 0, sizeof to);
            memset(right, 0, sizeof right);
            memcpy(right + at, from + size % 5, size);
            cvy_os_copy_past_caches(to + at, from + size % 5, size);
            CHECK_MEM_EQ(to, right, sizeof to);
        }
}

TEST(wipe_page_is_zero_in_a_fork_child)
{
    void *page = NULL;
    char *bytes;
    pid_t pid;

    CHECK_EQ(cvy_os_wipe_page(&page), 0);
    bytes = page;
    CHECK_EQ(bytes[0], 0);
    bytes[0] = 1;
    pid = fork();
    if (pid == 0) {
        CHECK_EQ(bytes[0], 0);
        bytes[0] = 2;
        if (fork() == 0)
            _exit(bytes[0]);
        wait(NULL);
        _exit(bytes[0] != 2);
    }
    CHECK_EQ(reap(pid), 0);
    CHECK_EQ(bytes[0], 1);
    cvy_os_unmap(page, cvy_os_page_size());
}

TEST(page_size_is_a_power_of_two)
{
    CHECK_GE(cvy_os_page_size(), 4096);
    CHECK_EQ(cvy_os_page_size() & (cvy_os_page_size() - 1), 0);
}

CHECK_MAIN()
