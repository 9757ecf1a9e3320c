/* SPDX-License-Identifier: MIT */
/* Start methods: which one is the default, what program is run, and what a start says
 * when that program is not the right one. */
#include <sys/socket.h>
#include <sys/stat.h>

#include "process/message.h"
#include "process_help.h"

/* ---- the default -------------------------------------------------------------- */

static int method_of(covey_process *p)
{
    int method = (int)p->method;
    covey_process_free(p);
    return method;
}

static enum covey_start_method get(int allow_none)
{
    enum covey_start_method method = (enum covey_start_method)77;
    CHECK_OK(covey_get_start_method(allow_none, &method));
    return method;
}

TEST(all_methods_are_known_by_name)
{
    const enum covey_start_method *all;
    enum covey_start_method method;
    size_t count;
    CHECK_OK(covey_get_all_start_methods(&all, &count));
    CHECK_EQ(count, 4);
    CHECK_EQ(all[0], COVEY_FORK); /* the default one */
    CHECK_STR_EQ(covey_start_method_name(COVEY_FORK), "fork");
    CHECK_STR_EQ(covey_start_method_name(COVEY_SPAWN), "spawn");
    CHECK_STR_EQ(covey_start_method_name(COVEY_FORKSERVER), "forkserver");
    CHECK_STR_EQ(covey_start_method_name(COVEY_THREAD), "thread");
    CHECK(covey_start_method_name(COVEY_DEFAULT_METHOD) == NULL);
    CHECK(covey_start_method_name((enum covey_start_method)5) == NULL);
    CHECK(covey_start_method_name((enum covey_start_method) - 1) == NULL);
    for (size_t i = 0; i < count; i++) {
        CHECK_OK(
            covey_start_method_from_name(covey_start_method_name(all[i]), &method));
        CHECK_EQ(method, all[i]);
    }
    CHECK_ERR(covey_start_method_from_name("Fork", &method), -EINVAL);
    CHECK_ERR(covey_start_method_from_name("", &method), -EINVAL);
    CHECK_ERR(covey_start_method_from_name(NULL, &method), -EINVAL);
    CHECK_ERR(covey_start_method_from_name("fork", NULL), -EINVAL);
    CHECK_ERR(covey_get_all_start_methods(NULL, &count), -EINVAL);
    CHECK_ERR(covey_get_all_start_methods(&all, NULL), -EINVAL);
    CHECK_ERR(covey_get_start_method(0, NULL), -EINVAL);
}

TEST(method_is_chosen_once_unless_forced)
{
    CHECK_EQ(get(1), COVEY_DEFAULT_METHOD);
    CHECK_ERR(covey_set_start_method((enum covey_start_method)9, 0), -EINVAL);
    CHECK_ERR(covey_set_start_method(COVEY_DEFAULT_METHOD, 0), -EINVAL);
    CHECK_OK(covey_set_start_method(COVEY_SPAWN, 0));
    CHECK_EQ(get(1), COVEY_SPAWN);
    CHECK_ERR(covey_set_start_method(COVEY_FORK, 0), COVEY_ESTATE);
    CHECK_STR_HAS(covey_error_detail(), "spawn");
    CHECK_ERR(covey_set_start_method((enum covey_start_method)9, 0), COVEY_ESTATE);
    CHECK_ERR(covey_set_start_method((enum covey_start_method)9, 1), -EINVAL);
    CHECK_OK(covey_set_start_method(COVEY_THREAD, 1));
    CHECK_EQ(get(0), COVEY_THREAD);
    CHECK_OK(covey_set_start_method(COVEY_DEFAULT_METHOD, 1));
    CHECK_EQ(get(1), COVEY_DEFAULT_METHOD);
    CHECK_OK(covey_set_start_method(COVEY_FORK, 0));
}

TEST(asking_and_using_fix_the_method)
{
    CHECK_EQ(get(0), COVEY_FORK);
    CHECK_ERR(covey_set_start_method(COVEY_SPAWN, 0), COVEY_ESTATE);
    CHECK_OK(covey_set_start_method(COVEY_DEFAULT_METHOD, 1));
    CHECK_EQ(method_of(made(do_nothing, COVEY_NO_VIEW, NULL)), COVEY_FORK);
    CHECK_ERR(covey_set_start_method(COVEY_SPAWN, 0), COVEY_ESTATE);
    CHECK_OK(covey_set_start_method(COVEY_DEFAULT_METHOD, 1));
    const struct covey_process_opts *spawn = COVEY_PROCESS_OPTS(.method = COVEY_SPAWN);
    CHECK_EQ(method_of(made(do_nothing, COVEY_NO_VIEW, spawn)), COVEY_SPAWN);
    CHECK_EQ(get(1), COVEY_DEFAULT_METHOD); /* of that process only */
    CHECK_OK(covey_set_start_method(COVEY_SPAWN, 0));
    CHECK_EQ(run(do_nothing, COVEY_NO_VIEW, NULL), 0);
}

TEST(environment_names_the_default_method)
{
    covey_process *p = NULL;
    enum covey_start_method method;
    setenv("COVEY_START_METHOD", "nosuch", 1);
    CHECK_ERR(covey_get_start_method(0, &method), -EINVAL);
    CHECK_STR_EQ(covey_error_detail(),
                 "COVEY_START_METHOD: there is no start method 'nosuch'");
    CHECK_ERR(covey_process_create(&p, do_nothing, COVEY_NO_VIEW, NULL), -EINVAL);
    CHECK_EQ(get(1), COVEY_DEFAULT_METHOD);
    CHECK_EQ(run(do_nothing, COVEY_NO_VIEW, COVEY_PROCESS_OPTS(.method = COVEY_FORK)),
             0);
    for (int i = COVEY_FORK; i <= COVEY_THREAD; i++) {
        CHECK_OK(covey_set_start_method(COVEY_DEFAULT_METHOD, 1));
        setenv("COVEY_START_METHOD",
               covey_start_method_name((enum covey_start_method)i), 1);
        CHECK_EQ(method_of(made(do_nothing, COVEY_NO_VIEW, NULL)), i);
        CHECK_EQ(get(0), i);
    }
    CHECK_OK(covey_set_start_method(COVEY_DEFAULT_METHOD, 1));
    CHECK_OK(covey_set_start_method(COVEY_FORK, 0)); /* wins over the environment */
    CHECK_EQ(get(0), COVEY_FORK);
    CHECK_OK(covey_set_start_method(COVEY_DEFAULT_METHOD, 1));
    setenv("COVEY_START_METHOD", "", 1);
    CHECK_EQ(get(0), COVEY_FORK);
}

static int tell_method(struct covey_view arg)
{
    (void)arg;
    return (int)get(1);
}

TEST_EACH_METHOD(chosen_method_is_the_childs_default)
{
    CHECK_EQ(run(tell_method, COVEY_NO_VIEW, OPTS()), COVEY_DEFAULT_METHOD);
    CHECK_OK(covey_set_start_method(COVEY_THREAD, 0));
    CHECK_EQ(run(tell_method, COVEY_NO_VIEW, OPTS()), COVEY_THREAD);
    CHECK_OK(covey_set_start_method(COVEY_SPAWN, 1));
    CHECK_EQ(run(tell_method, COVEY_NO_VIEW, OPTS()), COVEY_SPAWN);
}

static int start_next(struct covey_view arg)
{
    struct shared *s = shared_of(arg);
    enum covey_start_method method = (enum covey_start_method)s->numbers[s->numbers[9]];
    family_tell(&s->told);
    forks_beside_threads();
    if (s->numbers[9]++ == 3)
        return 5;
    return run(start_next, arg, COVEY_PROCESS_OPTS(.method = method));
}

TEST(methods_mix_over_generations)
{
    struct shared *s = share();
    uint32_t ran = 0;
    forks_beside_threads();
    for (int i = 0; i < 64; i++) {
        int methods[] = {COVEY_FORK + i % 4, COVEY_FORK + i / 4 % 4,
                         COVEY_FORK + i / 16};
        memcpy(s->numbers, methods, sizeof methods);
        s->numbers[9] = 0;
        CHECK_EQ(start_next(COVEY_VIEW_OF(s)), 5);
        CHECK_EQ(s->told, ran += 4);
    }
}

/* ---- the program that is run -------------------------------------------------- */

/* A program that lies beside this one. */
static const char *beside(const char *name)
{
    static char path[PATH_MAX + 64];
    ssize_t n = readlink("/proc/self/exe", path, PATH_MAX);
    CHECK(n > 0);
    path[n] = 0;
    strcpy(strrchr(path, '/') + 1, name);
    return path;
}

/* How a start by that program fails: the code, and a part of the detail. */
static void check_program(const char *program, int code, const char *part)
{
    struct covey_process_opts *opts = OPTS(.start_timeout = COVEY_SEC(20));
    const char *how = getenv("PROCESS_PROGRAM");
    if (how && strcmp(how, "pause") == 0)
        opts->start_timeout = COVEY_MSEC(50);
    CHECK_OK(covey_set_executable(program));
    covey_process *p = made(do_nothing, COVEY_NO_VIEW, opts);
    CHECK_ERR(covey_process_start(p), code);
    CHECK_STR_HAS(covey_error_detail(), part);
    CHECK_STR_HAS(covey_error_detail(), "starting Process-");
    CHECK_STR_HAS(covey_error_detail(), covey_start_method_name(check_method()));
    CHECK_EQ(waitpid(-1, NULL, WNOHANG), -1); /* no child is left */
    CHECK_EQ(family_usage().members, 1);
    CHECK_EQ(covey_process_is_alive(p), 0);
    CHECK_OK(covey_set_executable(NULL));
    unsetenv("PROCESS_PROGRAM");
    CHECK_OK(covey_process_start(p)); /* may be tried again */
    CHECK_EQ(end_of(p), 0);
    cvy_forkserver_stop();
}

#define TEST_BY_EXEC(name)                                                             \
    CHECK_TEST_(name, 1U << COVEY_SPAWN | 1U << COVEY_FORKSERVER, 30)

TEST_BY_EXEC(program_that_cannot_be_run_is_an_error_of_start)
{
    char path[] = "/tmp/covey-test-XXXXXX";
    int fd = mkstemp(path);
    check_program("/nonexistent/program", -ENOENT, "exec of /nonexistent/program");
    check_program("/tmp", -EACCES, "exec of /tmp");
    check_program(path, -EACCES, "Permission denied");
    CHECK_EQ(fchmod(fd, 0700), 0);
    CHECK_EQ(write(fd, "no program\n", 11), 11);
    close(fd);
    check_program(path, -ENOEXEC, "Exec format error");
    unlink(path);
}

TEST_BY_EXEC(program_that_is_no_covey_program_is_an_error_of_start)
{
    struct catcher c = catch_output(2); /* where cat complains */
    check_program("/bin/true", COVEY_ESTART,
                  "exit code 0 before it reached covey_init");
    check_program("/bin/cat", COVEY_ESTART, "exit code 1 before it reached covey_init");
    (void)caught(&c);
}

TEST_BY_EXEC(program_that_does_not_call_covey_init_is_an_error_of_start)
{
    setenv("PROCESS_PROGRAM", "exit", 1);
    check_program(beside("process_no_init"), COVEY_ESTART,
                  "exit code 9 before it reached");
    setenv("PROCESS_PROGRAM", "die", 1);
    check_program(beside("process_no_init"), COVEY_ESTART, "SIGKILL before it reached");
    setenv("PROCESS_PROGRAM", "close", 1);
    check_program(beside("process_no_init"), COVEY_ESTART, "closed its socket before");
    setenv("PROCESS_PROGRAM", "pause", 1);
    check_program(beside("process_no_init"), COVEY_ESTART,
                  "within 0.05 s (start_timeout)");
}

TEST_BY_EXEC(program_of_another_build_is_an_error_of_start)
{
    check_program(beside("process_program"), COVEY_EBUILD, "its starter is build ");
}

static int tell_program(struct covey_view arg)
{
    struct shared *s = shared_of(arg);
    CHECK_GT(readlink("/proc/self/exe", s->text, sizeof s->text - 1), 0);
    return 0;
}

static void copy_file(const char *from, const char *to)
{
    char block[65536];
    ssize_t n;
    int in = open(from, O_RDONLY | O_CLOEXEC);
    int out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0700);
    CHECK(in >= 0 && out >= 0);
    while ((n = read(in, block, sizeof block)) > 0)
        CHECK_EQ(write(out, block, (size_t)n), n);
    close(in);
    close(out);
}

TEST_BY_EXEC(another_copy_of_the_program_works)
{
    struct shared *s = share();
    char path[64];
    snprintf(path, sizeof path, "/tmp/covey-test-copy-%d", (int)getpid());
    copy_file("/proc/self/exe", path);
    CHECK_OK(covey_set_executable(path));
    CHECK_EQ(run(tell_program, COVEY_VIEW_OF(s), OPTS()), 0);
    CHECK_STR_EQ(s->text, path);
    unlink(path);
    CHECK_OK(covey_set_executable(NULL));
    cvy_forkserver_stop();
    CHECK_EQ(run(tell_program, COVEY_VIEW_OF(s), OPTS()), 0);
    CHECK_STR_EQ(strrchr(s->text, '/'), "/test_methods");
    CHECK_ERR(covey_set_executable(""), -EINVAL);
}

/* ---- covey_init --------------------------------------------------------------- */

/* Run a program; its output, and what it ended with. `fd` >= 0 is its descriptor 3. */
static const char *output_of(const char *program, const char *a, const char *b, int fd,
                             int *ret_status)
{
    struct catcher c = catch_output(1);
    int pid = family_fork();
    if (pid == 0) {
        if (fd >= 0)
            dup2(fd, 3);
        execl(program, program, a, b, (char *)NULL);
        _exit(99);
    }
    CHECK_EQ(waitpid(pid, ret_status, 0), pid);
    return caught(&c);
}

TEST(without_covey_init_there_is_fork_only)
{
    int status;
    CHECK_STR_EQ(output_of(beside("process_no_init"), "fork", NULL, -1, &status),
                 "ok\n");
    CHECK_STR_EQ(output_of(beside("process_no_init"), "thread", NULL, -1, &status),
                 "ok\n");
    const char *text = output_of(beside("process_no_init"), "spawn", NULL, -1, &status);
    CHECK_STR_HAS(text, "COVEY_ESTATE\n");
    CHECK_STR_HAS(text,
                  "spawn needs covey_init(argc, argv) as the first line of main()");
    text = output_of(beside("process_no_init"), "forkserver", NULL, -1, &status);
    CHECK_STR_HAS(text, "COVEY_ESTATE\n");
    CHECK_STR_HAS(text, "forkserver needs covey_init");
}

TEST(program_with_covey_init_starts_by_all_methods)
{
    int status;
    for (int i = COVEY_FORK; i <= COVEY_THREAD; i++) {
        const char *name = covey_start_method_name((enum covey_start_method)i);
        CHECK_STR_EQ(output_of(beside("process_program"), name, NULL, -1, &status),
                     "ok\n");
        CHECK_EQ(status, 0);
    }
}

TEST(covey_init_is_not_fooled_by_its_own_argument)
{
    int status, ends[2];
    char byte;
    const char *program = beside("process_program");
    CHECK_STR_EQ(output_of(program, "--covey-child", "init", -1, &status),
                 "COVEY_ESTATE\n");
    CHECK_EQ(status, 0);
    CHECK_EQ(pipe2(ends, O_CLOEXEC), 0);
    CHECK_STR_EQ(output_of(program, "--covey-child", "init", ends[0], &status),
                 "COVEY_ESTATE\n");
    CHECK_EQ(status, 0);
    close(ends[0]);
    close(ends[1]);

    /* A socket of its parent, but with something else in it. */
    CHECK_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
    CHECK_EQ(write(ends[0], "hello", 5), 5);
    CHECK_STR_EQ(output_of(program, "--covey-child", "init", ends[1], &status), "");
    CHECK_EQ(status, 1 << 8);
    CHECK_EQ(recv(ends[0], &byte, 1, MSG_DONTWAIT | MSG_TRUNC), sizeof(int32_t) + 252);
    shutdown(ends[0], SHUT_WR); /* or with nothing in it any more */
    CHECK_STR_EQ(output_of(program, "--covey-child", "init", ends[1], &status),
                 "COVEY_ESTATE\n");
    CHECK_EQ(status, 0);
    close(ends[0]);
    close(ends[1]);
}

/* A process that runs the program as its child, and dies before that gets there. */
static void run_and_die(const char *program, int go)
{
    struct cvy_start_message m = {.magic = CVY_START_MAGIC};
    int ends[2], starter = getpid();
    char byte;
    CHECK_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
    CHECK_EQ(write(ends[0], &m, sizeof m), sizeof m);
    if (fork() > 0)
        _exit(0);
    while (getppid() == starter)
        sched_yield();
    CHECK_EQ(read(go, &byte, 1), 0);
    dup2(ends[1], 3);
    execl(program, program, "--covey-child", "init", (char *)NULL);
    _exit(99);
}

TEST(child_whose_starter_is_dead_is_not_taken_for_the_program)
{
    const char *program = beside("process_program");
    int go[2];
    CHECK_EQ(pipe2(go, O_CLOEXEC), 0);
    struct catcher c = catch_output(1);
    int pid = family_fork();
    if (pid == 0) {
        close(go[1]);
        run_and_die(program, go[0]);
    }
    family_join(pid);
    close(go[0]);
    close(go[1]);
    CHECK_STR_EQ(caught(&c), "");
}

TEST(covey_init_wants_arguments)
{
    char name[] = "name", *argv[] = {name, NULL};
    CHECK_ERR(covey_init(-1, argv), -EINVAL);
    CHECK_ERR(covey_init(1, NULL), -EINVAL);
    CHECK_OK(covey_init(0, NULL));
    CHECK_OK(covey_init(1, argv));
}

CHECK_MAIN()
