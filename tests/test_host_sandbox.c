/* SPDX-License-Identifier: MIT */
/* Hosts in which something is missing: as process 1 of a namespace, without /proc or
 * /dev/shm, and under filters of system calls. */
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "host.h"

#ifndef SYS_futex_waitv
#define SYS_futex_waitv 449
#endif
#ifndef SYS_clone3
#define SYS_clone3 435
#endif
#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif
#ifndef SYS_pidfd_send_signal
#define SYS_pidfd_send_signal 424
#endif

/* ---- what has to work everywhere ---- */

static int crash(struct covey_view arg)
{
    (void)arg;
    (void)raise(SIGKILL);
    return 0;
}

static int triple_task(struct covey_call *call)
{
    const int *x = covey_call_arg(call, NULL);
    int y = 3 * *x;
    return covey_call_return(call, &y, sizeof y);
}

static void use_pool(void)
{
    enum { COUNT = 100 };
    int in[COUNT], out[COUNT];
    covey_pool *pool = NULL;
    for (int i = 0; i < COUNT; i++)
        in[i] = i;
    CHECK_OK(covey_pool_create(&pool, 2, COVEY_POOL_OPTS(.method = check_method())));
    CHECK_OK(covey_pool_map(pool, triple_task, in, sizeof *in, out, sizeof *out, COUNT,
                            NULL));
    for (int i = 0; i < COUNT; i++)
        CHECK_EQ(out[i], 3 * i);
    covey_pool_free(pool);
}

static int run_one_of_ones_own(struct covey_view arg)
{
    (void)arg;
    host_run(4);
    return 5;
}

static void *run_in_thread(void *arg)
{
    host_run(6);
    return arg;
}

static void use_covey(void)
{
    int fd = -1;
    pthread_t thread;
    size_t count = 99;
    host_run(3);
    host_ends(host_start(crash, COVEY_NO_VIEW), -SIGKILL);
    covey_process *p = host_start(host_sleep, COVEY_NO_VIEW);
    CHECK_OK(covey_process_sentinel(p, &fd));
    CHECK_EQ(cvy_os_poll_in(fd, cvy_os_deadline(COVEY_MSEC(10))), 0);
    CHECK_ERR(covey_process_join(p, COVEY_MSEC(10)), -ETIMEDOUT);
    CHECK_EQ(covey_process_is_alive(p), 1);
    CHECK_OK(covey_process_terminate(p));
    CHECK_EQ(cvy_os_poll_in(fd, cvy_os_deadline(COVEY_SEC(20))), 1);
    host_ends(p, -SIGTERM);
    host_ends(host_start(run_one_of_ones_own, COVEY_NO_VIEW), 5);
    CHECK_EQ(pthread_create(&thread, NULL, run_in_thread, NULL), 0);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    use_pool();
    CHECK_OK(covey_active_children(NULL, 0, &count));
    CHECK_EQ(count, 0);
    CHECK_EQ(family_usage().members, 1);
}

/* ---- namespaces ---- */

/* What looks for leaks at each end needs /proc and the numbers of processes there. */
static void need_no_proc(void)
{
    if (SANITIZED)
        SKIP("the sanitizers need /proc");
}

static void need(int flags, const char *what)
{
    if (unshare(flags) < 0)
        SKIP("%s: %s", what, strerror(errno));
    if (flags & CLONE_NEWNS)
        CHECK_EQ(mount("none", "/", "none", MS_REC | MS_PRIVATE, ""), 0);
}

/* In a process that is the first of its namespace. */
static void as_process_1(void (*prepare)(void))
{
    need_no_proc();
    need(CLONE_NEWPID | CLONE_NEWNS, "a PID namespace");
    int pid = family_fork();
    if (pid == 0) {
        CHECK_EQ(getpid(), 1);
        CHECK_EQ(unshare(CLONE_NEWNS), 0);
        prepare();
        use_covey();
        exit(0);
    }
    CHECK_EQ(host_wait(pid), 0);
}

static void mount_proc(void)
{
    CHECK_EQ(mount("proc", "/proc", "proc", 0, ""), 0);
}

static void hide_proc(void)
{
    CHECK_EQ(mount("none", "/proc", "tmpfs", 0, ""), 0);
}

static void keep_proc(void)
{
}

TEST_EACH_METHOD(host_is_process_1)
{
    as_process_1(mount_proc);
}

TEST_EACH_METHOD(host_is_process_1_without_proc)
{
    as_process_1(hide_proc);
}

/* Whose numbers are not those of this namespace. */
TEST_EACH_METHOD(host_is_process_1_with_the_proc_of_others)
{
    as_process_1(keep_proc);
}

TEST_EACH_METHOD(host_has_no_proc)
{
    need_no_proc();
    need(CLONE_NEWNS, "a mount namespace");
    int pid = family_fork();
    if (pid == 0) {
        CHECK_EQ(unshare(CLONE_NEWNS), 0);
        hide_proc();
        use_covey();
        exit(0);
    }
    CHECK_EQ(host_wait(pid), 0);
}

TEST_EACH_METHOD(host_has_no_dev_shm)
{
    need(CLONE_NEWNS, "a mount namespace");
    CHECK_EQ(umount2("/dev/shm", MNT_DETACH), 0);
    CHECK_EQ(mount("none", "/dev/shm", "tmpfs", MS_RDONLY, ""), 0);
    use_covey();
}

/* Its processes are the first of a namespace that it is not in itself. */
TEST(host_enters_a_pid_namespace_for_its_children)
{
    need_no_proc();
    need(CLONE_NEWPID, "a PID namespace");
    int code = 3;
    covey_process *p = started(host_return_arg, COVEY_VIEW_OF(code),
                               COVEY_PROCESS_OPTS(.name = "one"));
    host_ends(p, code);
}

static void write_map(const char *path, unsigned id)
{
    char text[64];
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    int length = snprintf(text, sizeof text, "0 %u 1", id);
    CHECK_GE(fd, 0);
    CHECK_EQ(write(fd, text, (size_t)length), length);
    close(fd);
}

TEST_EACH_METHOD(host_is_root_of_a_user_namespace)
{
    const unsigned uid = getuid();
    if (uid == 0)
        CHECK_EQ(setresuid(65534, 65534, 65534), 0);
    CHECK_EQ(prctl(PR_SET_DUMPABLE, 1), 0); /* its /proc/self is its own again */
    const unsigned now = getuid();
    need(CLONE_NEWUSER | CLONE_NEWNS, "a user namespace");
    write_map("/proc/self/uid_map", now);
    CHECK_EQ(getuid(), 0);
    use_covey();
}

/* ---- filters ---- */

static const int denied[] = {SYS_futex_waitv, SYS_clone3, SYS_pidfd_open,
                             SYS_pidfd_send_signal};

/* From now on, in this process and all it starts, those calls give `error`. */
static void deny_all(unsigned error)
{
    enum { COUNT = sizeof denied / sizeof *denied };
    struct sock_filter code[COUNT + 3];
    struct sock_fprog program = {COUNT + 3, code};
    code[0] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
                                           offsetof(struct seccomp_data, nr));
    for (unsigned i = 0; i < COUNT; i++)
        code[i + 1] =
            (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)denied[i],
                                         (unsigned char)(COUNT - i), 0);
    code[COUNT + 1] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    code[COUNT + 2] =
        (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error);
    CHECK_EQ(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    CHECK_EQ(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
}

TEST_EACH_METHOD(filter_says_that_calls_do_not_exist)
{
    deny_all(ENOSYS);
    CHECK_EQ(cvy_os_pidfd_open(getpid()), -ENOSYS);
    use_covey();
}

/* libc starts no thread where clone3 is forbidden rather than missing. */
TEST_EACH_METHOD(filter_forbids_calls)
{
    deny_all(EPERM);
    CHECK_EQ(cvy_os_pidfd_open(getpid()), -EPERM);
    host_run(3);
    host_ends(host_start(crash, COVEY_NO_VIEW), -SIGKILL);
    covey_process *p = host_start(host_sleep, COVEY_NO_VIEW);
    CHECK_ERR(covey_process_join(p, COVEY_MSEC(10)), -ETIMEDOUT);
    CHECK_OK(covey_process_terminate(p));
    host_ends(p, -SIGTERM);
    host_ends(host_start(run_one_of_ones_own, COVEY_NO_VIEW), 5);
    use_pool();
}

/* The filter comes when processes run already. */
TEST_EACH_METHOD(filter_comes_late)
{
    covey_process *p = host_start(host_sleep, COVEY_NO_VIEW);
    host_run(1);
    deny_all(ENOSYS);
    CHECK_ERR(covey_process_join(p, COVEY_MSEC(10)), -ETIMEDOUT);
    CHECK_OK(covey_process_terminate(p));
    host_ends(p, -SIGTERM);
    use_pool();
    host_run(2);
}

CHECK_MAIN()
