/* SPDX-License-Identifier: MIT */
/* The fork server: its life, its spares, what it does beforehand, and that its children
 * are their starter's in every respect. */
#include <dlfcn.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "process_help.h"

#define SERVER_OPTS(...) COVEY_PROCESS_OPTS(.method = COVEY_FORKSERVER, __VA_ARGS__)

/* The fork server's pid: the only child of ours that covey does not list. */
static int server_pid(void)
{
    char pids[1024];
    read_children(pids, sizeof pids);
    return atoi(pids);
}

/* How many children this process has, of whatever kind. */
static int count_children(void)
{
    char pids[1024];
    int count = 0;
    read_children(pids, sizeof pids);
    for (size_t i = 0; pids[i]; i++)
        count += pids[i] == ' ';
    return count;
}

/* ---- its life ----------------------------------------------------------------- */

TEST(children_are_the_starters_own)
{
    siginfo_t info = {0};
    covey_process *p = started(do_nothing, COVEY_NO_VIEW, SERVER_OPTS());
    CHECK_EQ(waitid(P_PID, (id_t)pid_of(p), &info, WEXITED | WNOWAIT), 0);
    CHECK_EQ(info.si_pid, pid_of(p));
    CHECK_EQ(end_of(p), 0);
}

TEST(server_that_was_killed_is_replaced)
{
    CHECK_OK(covey_set_forkserver_spares(0));
    struct shared *s = share();
    covey_process *p = started(run_until_told, COVEY_VIEW_OF(s), SERVER_OPTS());
    int first = server_pid();
    CHECK_NE(first, pid_of(p));
    family_await(&s->begun, 1);
    CHECK_EQ(kill(first, SIGKILL), 0);
    await_gone(first);
    CHECK_OK(covey_set_log_level(COVEY_LOG_OFF));
    CHECK_EQ(run(do_nothing, COVEY_NO_VIEW, SERVER_OPTS()), 0);
    CHECK_EQ(count_children(), 2); /* the old server is reaped */
    s->numbers[0] = 8;
    family_tell(&s->go);
    CHECK_EQ(end_of(p), 8); /* its children are not concerned */
    CHECK_NE(server_pid(), first);
}

/* ---- forks of the program's own, beside a start --------------------------------- */

/* A fork in another thread while a start has its socket pair open: the child has both ends,
 * of which nobody tells it, and keeps them. */
static atomic_bool bystander_wanted;
static int bystander;

static void make_bystander(void)
{
    forks_beside_threads();
    bystander = fork();
    if (bystander == 0)
        for (;;)
            pause();
}

int socketpair(int domain, int type, int protocol, int ends[2])
    __attribute__((visibility("default")));
int socketpair(int domain, int type, int protocol, int ends[2])
{
    int r = (int)syscall(SYS_socketpair, domain, type, protocol, ends);
    if (r == 0 && atomic_exchange(&bystander_wanted, false))
        make_bystander();
    return r;
}

/* The server's pid, with the bystander about, which is older. */
static int server_beside_bystander(void)
{
    char pids[1024];
    read_children(pids, sizeof pids);
    char *rest = NULL, *at = strtok_r(pids, " ", &rest);
    while (at && atoi(at) == bystander)
        at = strtok_r(NULL, " ", &rest);
    CHECK(at != NULL);
    return at ? atoi(at) : -1;
}

TEST(server_that_was_killed_is_replaced_though_a_fork_has_its_socket)
{
    CHECK_OK(covey_set_forkserver_spares(0));
    CHECK_OK(covey_set_log_level(COVEY_LOG_OFF));
    (void)share();
    atomic_store(&bystander_wanted, true);
    CHECK_EQ(run(do_nothing, COVEY_NO_VIEW, SERVER_OPTS()), 0);
    CHECK(!atomic_load(&bystander_wanted));
    int first = server_beside_bystander();
    CHECK_EQ(kill(first, SIGKILL), 0);
    await_gone(first);
    CHECK_EQ(run(do_nothing, COVEY_NO_VIEW, SERVER_OPTS()), 0);
    CHECK_NE(server_beside_bystander(), first);
    family_kill(bystander);
}

/* One that were not told would be killed, after a second. Who is told needs less, unless the
 * machine is busy. */
TEST(server_is_told_to_end_though_a_fork_has_its_socket)
{
    covey_nsec took = COVEY_FOREVER;
    (void)share();
    for (int i = 0; i < 10 && took >= COVEY_SEC(1); i++) {
        atomic_store(&bystander_wanted, true);
        CHECK_EQ(run(do_nothing, COVEY_NO_VIEW, SERVER_OPTS()), 0);
        int64_t begin = cvy_os_now();
        cvy_forkserver_stop();
        took = cvy_os_now() - begin;
        family_kill(bystander);
    }
    CHECK_LT(took, COVEY_SEC(1));
}

TEST(image_that_ends_without_a_word_is_noticed_though_a_fork_has_its_socket)
{
    CHECK_OK(covey_set_executable("/bin/false"));
    (void)share();
    covey_process *p =
        made(do_nothing, COVEY_NO_VIEW, COVEY_PROCESS_OPTS(.method = COVEY_SPAWN));
    atomic_store(&bystander_wanted, true);
    CHECK_ERR(covey_process_start(p), COVEY_ESTART);
    CHECK_STR_HAS(covey_error_detail(), "the child ended with exit code 1");
    family_kill(bystander);
    covey_process_free(p);
}

/* ---- killed at any time --------------------------------------------------------- */

static atomic_bool killing;
static atomic_int kills,
    kills_in_vain; /* the latter: since a child last came through */

/* Longer and longer while nothing comes through, since a busy machine needs more time for a
 * start than any that is chosen here. */
static void pause_between_kills(int usec)
{
    int times = (SANITIZED ? 20 : 1) * (1 + atomic_fetch_add(&kills_in_vain, 1) / 8);
    usleep((useconds_t)(usec * times));
}

static void note_that_one_ran(int *ran)
{
    ++*ran;
    atomic_store(&kills_in_vain, 0);
}

/* Kills the server again and again, or what was started while there was none. */
static void *kill_first_child(void *unused)
{
    while (atomic_load(&killing)) {
        int pid = server_pid();
        if (pid > 0 && kill(pid, SIGKILL) == 0)
            atomic_fetch_add(&kills, 1);
        pause_between_kills(100 + atomic_load(&kills) * 37 % 80 * 100);
    }
    return unused;
}

enum { VICTIMS = 16 };
static int victims[VICTIMS]; /* those killed last; 0 none */

/* The same for the server and its spares, which are children of this process, too. */
static void *kill_any_child(void *unused)
{
    char pids[1024];
    for (unsigned n = 0; atomic_load(&killing); n++) {
        read_children(pids, sizeof pids);
        char *rest = NULL, *at = strtok_r(pids, " ", &rest);
        for (unsigned skip = n % 3; at && skip; skip--)
            at = strtok_r(NULL, " ", &rest);
        if (at && atoi(at) > 0 && kill(atoi(at), SIGKILL) == 0)
            victims[atomic_fetch_add(&kills, 1) % VICTIMS] = atoi(at);
        pause_between_kills(200 + (int)(n * 37 % 80 * 50));
    }
    return unused;
}

static void *kill_myself(void *pause)
{
    int64_t end = cvy_os_deadline(COVEY_USEC(*(int *)pause));
    while (cvy_os_now() < end)
        cvy_os_yield();
    (void)kill(getpid(), SIGKILL);
    return pause;
}

TEST(server_may_be_killed_at_any_time)
{
    CHECK_OK(covey_set_forkserver_spares(0));
    pthread_t killer;
    int ran = 0, code;
    int64_t end = cvy_os_deadline(COVEY_SEC(20));
    CHECK_OK(covey_set_log_level(COVEY_LOG_OFF));
    atomic_store(&killing, true);
    CHECK_EQ(pthread_create(&killer, NULL, kill_first_child, NULL), 0);
    while ((ran < 50 || atomic_load(&kills) < 50) && cvy_os_now() < end) {
        covey_process *p = made(do_nothing, COVEY_NO_VIEW, SERVER_OPTS());
        int r = covey_process_start(p);
        CHECK(r == 0 || r == COVEY_ESTART);
        if (r == 0) {
            code = exitcode_of(p);
            CHECK(code == 0 || code == -SIGKILL);
            if (code == 0)
                note_that_one_ran(&ran);
        }
        covey_process_free(p);
    }
    atomic_store(&killing, false);
    CHECK_EQ(pthread_join(killer, NULL), 0);
    CHECK_GT(ran, 0);
    CHECK_EQ(run(do_nothing, COVEY_NO_VIEW, SERVER_OPTS()), 0);
    CHECK_EQ(count_children(), 1); /* none that a dying server did not tell of */
}

TEST(server_ignores_signals_meant_for_its_starter)
{
    CHECK_EQ(run(do_nothing, COVEY_NO_VIEW, SERVER_OPTS()), 0);
    int pid = server_pid();
    CHECK_EQ(kill(pid, SIGINT), 0);
    CHECK_EQ(kill(pid, SIGTERM), 0);
    CHECK_EQ(kill(pid, SIGHUP), 0);
    CHECK_EQ(run(do_nothing, COVEY_NO_VIEW, SERVER_OPTS()), 0);
    CHECK_EQ(server_pid(), pid);
}

TEST(server_ends_with_its_starter)
{
    struct shared *s = share();
    for (int i = 0; i < 2; i++) {
        int status, pid = family_fork();
        if (pid == 0) {
            CHECK_OK(covey_set_forkserver_spares(3));
            CHECK_EQ(run(do_nothing, COVEY_NO_VIEW, SERVER_OPTS()), 0);
            s->numbers[i] = server_pid();
            if (i)
                raise(SIGKILL);
            exit(0);
        }
        CHECK_EQ(waitpid(pid, &status, 0), pid);
        CHECK_EQ(status, i ? SIGKILL : 0);
        await_gone(s->numbers[i]);
    }
}

static int start_below(struct covey_view arg)
{
    struct shared *s = shared_of(arg);
    if (s->numbers[0]-- == 0)
        return 6;
    return run(start_below, arg, SERVER_OPTS());
}

TEST(every_process_may_have_a_server)
{
    struct shared *s = share();
    s->numbers[0] = 3;
    CHECK_EQ(run(start_below, COVEY_VIEW_OF(s), SERVER_OPTS()), 6);
}

TEST(server_that_cannot_start_is_an_error_of_start)
{
    CHECK_OK(covey_set_executable("/nonexistent"));
    covey_process *p = made(do_nothing, COVEY_NO_VIEW, SERVER_OPTS());
    CHECK_ERR(covey_process_start(p), -ENOENT);
    CHECK_STR_EQ(covey_error_detail(),
                 "starting Process-1 by forkserver: its fork server: "
                 "exec of /nonexistent: No such file or directory");
    covey_process_free(p);
}

/* ---- spares ------------------------------------------------------------------- */

static void await_children(int count)
{
    int64_t deadline = cvy_os_deadline(COVEY_SEC(20));
    while (count_children() != count && cvy_os_now() < deadline)
        cvy_os_yield();
    CHECK_EQ(count_children(), count);
}

static int tell_pid(struct covey_view arg)
{
    shared_of(arg)->numbers[1] = getpid();
    return 3;
}

TEST(spares_are_used_and_filled_up_again)
{
    struct shared *s = share();
    char before[1024];
    CHECK_ERR(covey_set_forkserver_spares(65), -EINVAL);
    CHECK_OK(covey_set_forkserver_spares(2));
    CHECK_EQ(run(do_nothing, COVEY_NO_VIEW, SERVER_OPTS()), 0);
    await_children(3);
    for (int used = 0, i = 0; used < 5; i++) {
        CHECK_LT(i, 1000);
        read_children(before, sizeof before);
        CHECK_EQ(run(tell_pid, COVEY_VIEW_OF(s), SERVER_OPTS()), 3);
        char pid[16];
        snprintf(pid, sizeof pid, "%d ", s->numbers[1]);
        used += strstr(before, pid) != NULL; /* it was there beforehand, and ready */
        await_children(3);
    }
    CHECK_OK(covey_set_forkserver_spares(0));
}

TEST(killed_spares_are_passed_over)
{
    char pids[1024];
    CHECK_OK(covey_set_forkserver_spares(3));
    CHECK_EQ(run(do_nothing, COVEY_NO_VIEW, SERVER_OPTS()), 0);
    await_children(4);
    int server = server_pid();
    read_children(pids, sizeof pids);
    for (char *at = strtok(pids, " "); at; at = strtok(NULL, " "))
        if (atoi(at) != server) {
            CHECK_EQ(kill(atoi(at), SIGKILL), 0);
            await_gone(atoi(at));
        }
    for (int i = 0; i < 5; i++)
        CHECK_EQ(run(do_nothing, COVEY_NO_VIEW, SERVER_OPTS()), 0);
}

TEST(spares_outlive_a_killed_server)
{
    CHECK_OK(covey_set_forkserver_spares(4));
    CHECK_OK(covey_set_log_level(COVEY_LOG_OFF));
    CHECK_EQ(run(do_nothing, COVEY_NO_VIEW, SERVER_OPTS()), 0);
    await_children(5);
    int server = server_pid();
    CHECK_EQ(kill(server, SIGKILL), 0);
    await_gone(server);
    for (int i = 0; i < 10; i++)
        CHECK_EQ(run(do_nothing, COVEY_NO_VIEW, SERVER_OPTS()), 0);
    CHECK_NE(server_pid(), server);
}

static int say_pid(struct covey_view arg)
{
    shared_of(arg)->numbers[1] = getpid();
    family_tell(&shared_of(arg)->begun);
    return 0;
}

/* Whatever is killed, and when: the start says what became of it, and nothing stays. */
TEST(spares_may_be_killed_at_any_time)
{
    pthread_t killer;
    int ran = 0;
    int64_t end = cvy_os_deadline(COVEY_SEC(20));
    CHECK_OK(covey_set_log_level(COVEY_LOG_OFF));
    CHECK_OK(covey_set_forkserver_spares(2));
    atomic_store(&kills, 0);
    atomic_store(&killing, true);
    CHECK_EQ(pthread_create(&killer, NULL, kill_any_child, NULL), 0);
    while ((ran < 50 || atomic_load(&kills) < 100) && cvy_os_now() < end) {
        covey_process *p = made(do_nothing, COVEY_NO_VIEW, SERVER_OPTS());
        int r = covey_process_start(p);
        CHECK(r == 0 || r == COVEY_ESTART);
        if (r == 0) {
            int code = exitcode_of(p);
            CHECK(code == 0 || code == -SIGKILL);
            if (code == 0)
                note_that_one_ran(&ran);
        }
        covey_process_free(p);
    }
    atomic_store(&killing, false);
    CHECK_EQ(pthread_join(killer, NULL), 0);
    CHECK_GT(ran, 0);
    for (int i = 0; i < VICTIMS; i++)
        if (victims[i])
            await_gone(victims[i]); /* who was killed may run for a moment still */
    for (int i = 0; i < 5; i++)
        CHECK_EQ(run(do_nothing, COVEY_NO_VIEW, SERVER_OPTS()), 0);
    await_children(3);
}

/* The kernel's word reaches spares and children at whatever point of a start. */
TEST(starter_may_be_killed_at_any_time)
{
    for (int i = 0; i < 30; i++) {
        int status, pid = family_fork();
        if (pid == 0) {
            CHECK_OK(covey_set_forkserver_spares(2));
            CHECK_EQ(run(do_nothing, COVEY_NO_VIEW, SERVER_OPTS()), 0);
            pthread_t killer;
            static int pause;
            pause = i * 50;
            CHECK_EQ(pthread_create(&killer, NULL, kill_myself, &pause), 0);
            for (;;)
                (void)started(run_for_ever, COVEY_NO_VIEW, SERVER_OPTS());
        }
        CHECK_EQ(waitpid(pid, &status, 0), pid);
        CHECK_EQ(status, SIGKILL);
    }
}

/* One that shall outlive its starter does so from the moment its start returns. */
TEST(child_outlives_a_starter_that_ends_at_once)
{
    struct shared *s = share();
    for (int i = 0; i < 10; i++) {
        int status, pid = family_fork();
        if (pid == 0) {
            CHECK_EQ(run(do_nothing, COVEY_NO_VIEW, SERVER_OPTS()), 0);
            (void)started(say_pid, COVEY_VIEW_OF(s),
                          SERVER_OPTS(.die_with_parent = COVEY_OFF));
            raise(SIGKILL);
        }
        CHECK_EQ(waitpid(pid, &status, 0), pid);
        family_await(&s->begun, (uint32_t)i + 1);
        await_gone(s->numbers[1]);
    }
}

/* ---- preload ------------------------------------------------------------------ */

static int inits, init_pid;
static char init_text[32];

static int init_server(struct covey_view arg)
{
    inits++;
    init_pid = getpid();
    CHECK_EQ((uintptr_t)arg.data % 16, 0);
    memcpy(init_text, arg.data, arg.size);
    return 0;
}

static int look_at_preloads(struct covey_view arg)
{
    struct shared *s = shared_of(arg);
    CHECK_EQ(inits, 1); /* once, in the server */
    CHECK_NE(init_pid, getpid());
    strcpy(s->text, init_text);
    s->numbers[1] = init_pid;
    void *object = dlopen(s->other_text, RTLD_NOW | RTLD_NOLOAD);
    CHECK(object != NULL);
    int *count = dlsym(object, "preload_count");
    return count ? *count : 77;
}

TEST(server_loads_objects_and_calls_a_function_beforehand)
{
    struct shared *s = share();
    CHECK(readlink("/proc/self/exe", s->other_text, 1900) > 0);
    strcpy(strrchr(s->other_text, '/') + 1, "process_preload.so");
    const char *objects[] = {s->other_text};
    CHECK_OK(covey_set_forkserver_preload(objects, 1, NULL, COVEY_NO_VIEW));
    CHECK_OK(
        covey_set_forkserver_preload(objects, 1, init_server, COVEY_VIEW("hello", 6)));
    for (int i = 0; i < 3; i++) {
        CHECK_EQ(run(look_at_preloads, COVEY_VIEW_OF(s), SERVER_OPTS()), 1);
        CHECK_STR_EQ(s->text, "hello");
        CHECK_EQ(s->numbers[1], server_pid());
    }
    CHECK_ERR(covey_set_forkserver_preload(NULL, 0, NULL, COVEY_NO_VIEW), COVEY_ESTATE);
}

static int refuse(struct covey_view arg)
{
    (void)arg;
    return 5;
}

TEST(preload_that_fails_is_an_error_of_start)
{
    const char *objects[] = {"/nonexistent/object.so"}, *none[] = {NULL};
    CHECK_ERR(covey_set_forkserver_preload(none, 1, NULL, COVEY_NO_VIEW), -EINVAL);
    CHECK_ERR(covey_set_forkserver_preload(NULL, 1, NULL, COVEY_NO_VIEW), -EINVAL);
    CHECK_ERR(covey_set_forkserver_preload(NULL, 0, refuse, COVEY_VIEW(NULL, 4)),
              -EINVAL);
    CHECK_OK(covey_set_forkserver_preload(objects, 1, NULL, COVEY_NO_VIEW));
    covey_process *p = made(do_nothing, COVEY_NO_VIEW, SERVER_OPTS());
    CHECK_LT(covey_process_start(p), 0);
    CHECK_STR_HAS(covey_error_detail(), "preloading /nonexistent/object.so");
    CHECK_OK(covey_set_forkserver_preload(NULL, 0, refuse, COVEY_NO_VIEW));
    CHECK_ERR(covey_process_start(p), COVEY_ESTART);
    CHECK_STR_HAS(covey_error_detail(), "the preload function returned 5");
    CHECK_EQ(count_children(), 0);
    CHECK_OK(covey_set_forkserver_preload(NULL, 0, NULL, COVEY_NO_VIEW));
    CHECK_OK(covey_process_start(p));
    CHECK_EQ(end_of(p), 0);
}

/* ---- the starter's surroundings, under all methods ------------------------------ */

static int tell_surroundings(struct covey_view arg)
{
    struct shared *s = shared_of(arg);
    const char *word = getenv("COVEY_TEST_WORD");
    struct rlimit limit;
    cpu_set_t cpus;
    sigset_t mask;
    CHECK(getcwd(s->text, sizeof s->text) != NULL);
    strcpy(s->other_text, word ? word : "(unset)");
    mode_t old = umask(0);
    umask(old);
    s->numbers[0] = (int)old;
    CHECK_EQ(sigprocmask(SIG_BLOCK, NULL, &mask), 0);
    s->numbers[1] = sigismember(&mask, SIGUSR1) | sigismember(&mask, SIGUSR2) << 1 |
                    sigismember(&mask, SIGTERM) << 2;
    CHECK_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
    s->numbers[2] = (int)limit.rlim_cur;
    CHECK_EQ(sched_getaffinity(0, sizeof cpus, &cpus), 0);
    s->numbers[3] = CPU_COUNT(&cpus);
    return 0;
}

static void check_surroundings(struct shared *s, const char *word, int mask, int files,
                               int cpus)
{
    char cwd[PATH_MAX];
    mode_t old = umask(0);
    umask(old);
    CHECK_EQ(run(tell_surroundings, COVEY_VIEW_OF(s), OPTS()), 0);
    CHECK_STR_EQ(s->text, getcwd(cwd, sizeof cwd));
    CHECK_STR_EQ(s->other_text, word);
    CHECK_EQ(s->numbers[0], old);
    CHECK_EQ(s->numbers[1], mask);
    CHECK_EQ(s->numbers[2], files);
    CHECK_EQ(s->numbers[3], cpus);
}

TEST_EACH_METHOD(child_has_the_starters_surroundings_at_the_start)
{
    struct shared *s = share();
    struct rlimit limit, lower;
    cpu_set_t all, one;
    sigset_t usr1, none;
    CHECK_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
    lower = (struct rlimit){200, limit.rlim_max};
    CHECK_EQ(sched_getaffinity(0, sizeof all, &all), 0);
    size_t cpu = 0;
    while (!CPU_ISSET(cpu, &all))
        cpu++;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    sigemptyset(&none);
    sigemptyset(&usr1);
    sigaddset(&usr1, SIGUSR1);
    int count = CPU_COUNT(&all), files = (int)limit.rlim_cur;
    check_surroundings(s, "(unset)", 0, files, count);

    CHECK_EQ(chdir("/usr"), 0);
    umask(0137);
    setenv("COVEY_TEST_WORD", "one", 1);
    CHECK_EQ(sigprocmask(SIG_SETMASK, &usr1, NULL), 0);
    CHECK_EQ(setrlimit(RLIMIT_NOFILE, &lower), 0);
    CHECK_EQ(sched_setaffinity(0, sizeof one, &one), 0);
    check_surroundings(s, "one", 1, 200, 1);

    CHECK_EQ(chdir("/"), 0);
    umask(022);
    setenv("COVEY_TEST_WORD", "two", 1);
    CHECK_EQ(sigprocmask(SIG_SETMASK, &none, NULL), 0);
    CHECK_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
    CHECK_EQ(sched_setaffinity(0, sizeof all, &all), 0);
    check_surroundings(s, "two", 0, files, count);
    unsetenv("COVEY_TEST_WORD");
    check_surroundings(s, "(unset)", 0, files, count);
}

/* ---- the working folder --------------------------------------------------------- */

/* Which one it is, as a name may be another's by now. */
static void tell_folder(uint64_t folder[2])
{
    struct stat info;
    CHECK_EQ(stat(".", &info), 0);
    folder[0] = info.st_dev;
    folder[1] = info.st_ino;
}

static int note_folder(struct covey_view arg)
{
    tell_folder((uint64_t *)(void *)shared_of(arg)->text);
    return 0;
}

static void check_folder(struct shared *s, covey_process *p)
{
    uint64_t mine[2], its[2];
    memset(s->text, 0, sizeof its);
    CHECK_OK(covey_process_start(p));
    CHECK_EQ(end_of(p), 0);
    tell_folder(mine);
    memcpy(its, s->text, sizeof its);
    CHECK_EQ(its[0], mine[0]);
    CHECK_EQ(its[1], mine[1]);
}

TEST_EACH_METHOD(folder_that_has_anothers_former_name_is_told_apart)
{
    struct shared *s = share();
    char folder[] = "/tmp/covey-test-XXXXXX", moved[64];
    CHECK(mkdtemp(folder) != NULL);
    snprintf(moved, sizeof moved, "%s-moved", folder);
    CHECK_EQ(chdir(folder), 0);
    check_folder(s, made(note_folder, COVEY_VIEW_OF(s), OPTS()));
    CHECK_EQ(rename(folder, moved), 0);
    check_folder(s, made(note_folder, COVEY_VIEW_OF(s), OPTS()));
    CHECK_EQ(mkdir(folder, 0700), 0);
    check_folder(s, made(note_folder, COVEY_VIEW_OF(s), OPTS())); /* the moved one */
    CHECK_EQ(chdir(folder), 0);
    check_folder(s, made(note_folder, COVEY_VIEW_OF(s), OPTS()));
    CHECK_EQ(chdir("/"), 0);
    CHECK_EQ(rmdir(folder), 0);
    CHECK_EQ(rmdir(moved), 0);
}

TEST_EACH_METHOD(folder_without_a_name_is_handed_down)
{
    struct shared *s = share();
    char folder[] = "/tmp/covey-test-XXXXXX";
    CHECK_EQ(run(do_nothing, COVEY_NO_VIEW, OPTS()), 0);
    CHECK(mkdtemp(folder) != NULL);
    CHECK_EQ(chdir(folder), 0);
    CHECK_EQ(rmdir(folder), 0);
    check_folder(s, made(note_folder, COVEY_VIEW_OF(s), OPTS()));
}

/* In a folder of this thread's alone, which nobody else can find. */
static void *start_where_nobody_finds(void *p)
{
    char folder[] = "/tmp/covey-test-XXXXXX";
    if (unshare(CLONE_FS) < 0)
        SKIP("threads may have no folder of their own here");
    CHECK(mkdtemp(folder) != NULL);
    CHECK_EQ(chdir(folder), 0);
    CHECK_EQ(rmdir(folder), 0);
    CHECK_ERR(covey_process_start(p), COVEY_ESTART);
    CHECK_STR_HAS(covey_error_detail(),
                  "the starter's working folder, which has no path");
    return NULL;
}

TEST(start_after_one_that_failed_has_the_folder_of_now)
{
    struct shared *s = share();
    pthread_t thread;
    CHECK_EQ(run(do_nothing, COVEY_NO_VIEW, SERVER_OPTS()), 0);
    covey_process *p = made(note_folder, COVEY_VIEW_OF(s), SERVER_OPTS());
    CHECK_EQ(pthread_create(&thread, NULL, start_where_nobody_finds, p), 0);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    check_folder(s, p);
}

TEST_EACH_METHOD(child_starts_also_where_the_working_folder_is_gone)
{
    char folder[] = "/tmp/covey-test-XXXXXX";
    CHECK(mkdtemp(folder) != NULL);
    CHECK_EQ(run(do_nothing, COVEY_NO_VIEW, OPTS()), 0);
    CHECK_EQ(chdir(folder), 0);
    CHECK_EQ(rmdir(folder), 0);
    CHECK_EQ(run(do_nothing, COVEY_NO_VIEW, OPTS()), 0);
}

CHECK_MAIN()
