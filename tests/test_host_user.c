/* SPDX-License-Identifier: MIT */
/* Hosts that change their user or have raised privileges, and programs that somebody runs
 * as if they were covey's children. */
#include <grp.h>
#include <libgen.h>
#include <limits.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "host.h"

#define NOBODY 65534

static void need_root(void)
{
    if (geteuid() != 0)
        SKIP("needs root to become another user");
}

/* ---- dropping privileges ---- */

static void drop(void)
{
    CHECK_EQ(setgroups(0, NULL), 0);
    CHECK_EQ(setresgid(NOBODY, NOBODY, NOBODY), 0);
    CHECK_EQ(setresuid(NOBODY, NOBODY, NOBODY), 0);
}

static int tell_user(struct covey_view arg)
{
    struct shared *s = shared_of(arg);
    s->numbers[0] = (int32_t)geteuid();
    s->numbers[1] = (int32_t)getegid();
    s->numbers[2] = getgroups(0, NULL);
    s->numbers[3] = (int32_t)getuid();
    return 0;
}

static void check_user(int id, int groups)
{
    struct shared *s = share();
    host_ends(host_start(tell_user, COVEY_VIEW_OF(s)), 0);
    CHECK_EQ(s->numbers[0], id);
    CHECK_EQ(s->numbers[1], id);
    CHECK_EQ(s->numbers[3], id);
    if (groups >= 0)
        CHECK_EQ(s->numbers[2], groups);
}

TEST_EACH_METHOD(processes_have_the_user_that_the_host_has_now)
{
    need_root();
    check_user(0, -1);
    check_user(0, -1);
    drop();
    check_user(NOBODY, 0);
    check_user(NOBODY, 0);
}

TEST(spares_of_another_user_are_replaced)
{
    need_root();
    struct shared *s = share();
    CHECK_OK(covey_set_forkserver_spares(3));
    for (int i = 0; i < 6; i++) {
        if (i == 3)
            drop();
        const int32_t expected = i < 3 ? 0 : NOBODY;
        host_ends(started(tell_user, COVEY_VIEW_OF(s),
                          COVEY_PROCESS_OPTS(.method = COVEY_FORKSERVER)),
                  0);
        CHECK_EQ(s->numbers[0], expected);
        CHECK_EQ(s->numbers[3], expected);
    }
}

/* Back and forth, as servers do that act for their users. An image that is run with two
 * users is one with raised privileges, and no child. */
TEST_EACH_METHOD(effective_user_may_change_again_and_again)
{
    need_root();
    if (SANITIZED)
        SKIP("the sanitizers cannot look into a process with two users");
    struct shared *s = share();
    for (int i = 0; i < 4; i++) {
        const int32_t id = i % 2 ? 0 : NOBODY;
        CHECK_EQ(seteuid((uid_t)id), 0);
        covey_process *p = made(tell_user, COVEY_VIEW_OF(s), OPTS(.name = NULL));
        if (id && check_method() != COVEY_FORK) {
            CHECK_ERR(covey_process_start(p), -EPERM);
            CHECK_STR_HAS(covey_error_detail(), "raised privileges");
            covey_process_free(p);
            continue;
        }
        CHECK_OK(covey_process_start(p));
        host_ends(p, 0);
        CHECK_EQ(s->numbers[0], id);
    }
    CHECK_EQ(seteuid(0), 0);
}

/* ---- ends of hosts and processes of different users ---- */

static int drop_and_stay(struct covey_view arg)
{
    drop();
    family_tell(&shared_of(arg)->begun);
    family_pause();
}

static int stay(struct covey_view arg)
{
    family_tell(&shared_of(arg)->begun);
    family_pause();
}

/* Between the test and its host. */
struct stage {
    cvy_word up, watched;
    int32_t pid;
    covey_target_fn *target;
    enum covey_switch lifeline;
    struct shared *shared; /* between the host and its process */
};

static void *start_on_stage(void *arg)
{
    struct stage *stage = arg;
    stage->pid = pid_of(started(stage->target, COVEY_VIEW_OF(stage->shared),
                                OPTS(.die_with_parent = stage->lifeline)));
    return NULL;
}

/* The host does `act` and is killed: the process is gone within a second. It was started
 * by the first thread if it has to watch the life-line, else by another one. */
static void ends_with_killed_host(covey_target_fn *target, void (*act)(void),
                                  enum covey_switch lifeline)
{
    struct stage *stage = family_shared(sizeof *stage);
    need_root();
    int host = family_fork();
    if (host == 0) {
        pthread_t thread;
        stage->target = target;
        stage->lifeline = lifeline;
        stage->shared = share();
        if (lifeline == COVEY_ON) {
            (void)start_on_stage(stage);
        } else {
            CHECK_EQ(pthread_create(&thread, NULL, start_on_stage, stage), 0);
            CHECK_EQ(pthread_join(thread, NULL), 0);
        }
        family_await(&stage->shared->begun, 1);
        family_tell(&stage->up);
        family_await(&stage->watched, 1);
        act();
        (void)raise(SIGKILL);
    }
    family_await(&stage->up, 1);
    int watch = cvy_os_pidfd_open(stage->pid);
    family_tell(&stage->watched);
    CHECK_EQ(host_wait(host), -SIGKILL);
    CHECK_EQ(cvy_os_poll_in(watch, cvy_os_deadline(COVEY_SEC(1))), 1);
    close(watch);
}

static void nothing(void)
{
}

/* A process that became another user does not outlive the host. */
TEST_EACH_METHOD(process_that_drops_its_user_ends_with_a_killed_host)
{
    ends_with_killed_host(drop_and_stay, nothing, COVEY_UNSET);
    ends_with_killed_host(drop_and_stay, nothing, COVEY_ON);
}

/* Nor does one that is more privileged than the host is by now. */
TEST_EACH_METHOD(process_of_the_former_user_ends_with_a_killed_host)
{
    ends_with_killed_host(stay, drop, COVEY_UNSET);
    ends_with_killed_host(stay, drop, COVEY_ON);
}

/* ---- another program ---- */

static const char *program_path(void)
{
    static char path[PATH_MAX + 32];
    char self[PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    CHECK(length > 0);
    self[length] = '\0';
    snprintf(path, sizeof path, "%s/host_program", dirname(self));
    return path;
}

/* Run it, with `socket` (-1: nothing) as descriptor 3, and give what it prints. */
static const char *run_program(const char *path, char *const argv[], int socket,
                               int uid)
{
    static char text[4096];
    int ends[2];
    size_t size = 0;
    ssize_t n;
    CHECK_EQ(pipe2(ends, O_CLOEXEC), 0);
    int pid = family_fork();
    if (pid == 0) {
        int copy = socket < 0 ? -1 : fcntl(socket, F_DUPFD_CLOEXEC, 10);
        CHECK_EQ(dup2(ends[1], 1), 1);
        if (copy >= 0)
            CHECK_EQ(dup2(copy, 3), 3);
        else
            close(3);
        if (uid >= 0)
            CHECK_EQ(setresuid((uid_t)uid, (uid_t)uid, (uid_t)uid), 0);
        execv(path, argv);
        check_failed(__FILE__, __LINE__, "exec of %s: %s", path, strerror(errno));
    }
    close(ends[1]);
    while ((n = read(ends[0], text + size, sizeof text - 1 - size)) > 0)
        size += (size_t)n;
    text[size] = 0;
    close(ends[0]);
    CHECK_EQ(host_wait(pid), 0);
    return text;
}

static char program_name[] = "program", child_argument[] = "--covey-child",
            title[] = "Process-1", run_word[] = "run";

TEST(program_run_by_hand_as_a_child_says_so)
{
    char *const argv[] = {program_name, child_argument, title, NULL};
    const char *text = run_program(program_path(), argv, -1, -1);
    CHECK_STR_HAS(text, "init COVEY_ESTATE: ");
    CHECK_STR_HAS(text, "not started by covey");
}

/* Refused as a child, it goes on as a program; that must not multiply. */
TEST_EACH_METHOD(program_run_by_hand_as_a_child_starts_none_like_it)
{
    char method[16];
    char *const argv[] = {program_name, child_argument, run_word, method, NULL};
    snprintf(method, sizeof method, "%s", covey_start_method_name(check_method()));
    const char *text = run_program(program_path(), argv, -1, -1);
    CHECK_STR_HAS(text, "init COVEY_ESTATE: ");
    CHECK_STR_HAS(text,
                  check_method() == COVEY_FORK ? "exit code 5" : "\nCOVEY_ESTATE: ");
}

/* A socket pair of this process's own: the right parent and user, but no message. */
TEST(socket_without_a_message_makes_no_child)
{
    char *const argv[] = {program_name, child_argument, title, NULL};
    const int types[] = {SOCK_SEQPACKET, SOCK_STREAM, SOCK_DGRAM};
    for (size_t i = 0; i < 3; i++) {
        int ends[2];
        CHECK_EQ(socketpair(AF_UNIX, types[i] | SOCK_CLOEXEC, 0, ends), 0);
        const char *text = run_program(program_path(), argv, ends[1], -1);
        CHECK_STR_HAS(text, "init COVEY_ESTATE: ");
        close(ends[0]);
        close(ends[1]);
    }
}

TEST(other_descriptors_make_no_child)
{
    char *const argv[] = {program_name, child_argument, title, NULL};
    int null = open("/dev/zero", O_RDWR | O_CLOEXEC);
    int inet = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK_STR_HAS(run_program(program_path(), argv, null, -1), "init COVEY_ESTATE: ");
    if (inet >= 0)
        CHECK_STR_HAS(run_program(program_path(), argv, inet, -1),
                      "init COVEY_ESTATE: ");
    close(null);
    close(inet);
}

TEST(socket_of_another_user_makes_no_child)
{
    need_root();
    char *const argv[] = {program_name, child_argument, title, NULL};
    int ends[2];
    CHECK_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
    CHECK_EQ(write(ends[0], "hello", 5), 5);
    char copy[] = "/tmp/covey-host-XXXXXX";
    char command[2 * PATH_MAX];
    CHECK(mkdtemp(copy) != NULL);
    snprintf(command, sizeof command, "cp '%s' %s/program && chmod 755 %s",
             program_path(), copy, copy);
    CHECK_EQ(system(command), 0);
    snprintf(command, sizeof command, "%s/program", copy);
    const char *text = run_program(command, argv, ends[1], NOBODY);
    CHECK_STR_HAS(text, "init COVEY_ESTATE: ");
    CHECK_EQ(unlink(command), 0);
    CHECK_EQ(rmdir(copy), 0);
    close(ends[0]);
    close(ends[1]);
}

/* ---- a setuid program ---- */

struct raised {
    char folder[32], path[64];
};

static void install_raised(struct raised *raised)
{
    char command[2 * PATH_MAX];
    need_root();
    strcpy(raised->folder, "/tmp/covey-host-XXXXXX");
    CHECK(mkdtemp(raised->folder) != NULL);
    snprintf(raised->path, sizeof raised->path, "%s/program", raised->folder);
    snprintf(command, sizeof command, "cp '%s' %s && chmod 755 %s && chmod 4755 %s",
             program_path(), raised->path, raised->folder, raised->path);
    CHECK_EQ(system(command), 0);
}

static void remove_raised(const struct raised *raised)
{
    CHECK_EQ(unlink(raised->path), 0);
    CHECK_EQ(rmdir(raised->folder), 0);
}

TEST(program_with_raised_privileges_is_never_a_child)
{
    struct raised raised;
    char *const argv[] = {program_name, child_argument, title, NULL};
    int ends[2];
    install_raised(&raised);
    CHECK_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
    const char *text = run_program(raised.path, argv, ends[1], NOBODY);
    remove_raised(&raised);
    if (strstr(text, "no parent of this user"))
        SKIP("set-user-ID programs have no effect in /tmp here");
    CHECK_STR_HAS(text, "init EPERM: ");
    CHECK_STR_HAS(text, "raised privileges");
    close(ends[0]);
    close(ends[1]);
}

/* It may start processes by fork; its images would not be children. */
TEST_EACH_METHOD(program_with_raised_privileges_starts_by_fork_only)
{
    struct raised raised;
    char method[16];
    char *const argv[] = {program_name, run_word, method, NULL};
    snprintf(method, sizeof method, "%s", covey_start_method_name(check_method()));
    install_raised(&raised);
    const char *text = run_program(raised.path, argv, -1, NOBODY);
    remove_raised(&raised);
    CHECK_STR_HAS(text, "init 0: ");
    if (check_method() == COVEY_FORK) {
        CHECK_STR_HAS(text, "exit code 5");
    } else {
        CHECK_STR_HAS(text, "EPERM: ");
        CHECK_STR_HAS(text, "raised privileges");
    }
}

CHECK_MAIN()
