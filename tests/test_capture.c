/* SPDX-License-Identifier: MIT */
/* The last words of a child whose reader of them is killed at any point: kept as they
 * were, and shown. What the reader had in its hands may be shown twice. */
#include <sched.h>
#include <spawn.h>

#include "kill_points.h"
#include "os/faults.h"
#include "process_help.h"

#define WORDS "the first words, the last words\n"

/* ---- at each instruction ------------------------------------------------------ */

struct capture {
    covey_process *p;
    int tail[2], shown[2]; /* pipes: what the child writes, what the user sees */
    char why[128];
};

static void make_capture(void *context)
{
    struct capture *c = context;
    c->p =
        made(do_nothing, COVEY_NO_VIEW, COVEY_PROCESS_OPTS(.capture_stderr = COVEY_ON));
    CHECK_EQ(pipe2(c->tail, O_CLOEXEC), 0);
    CHECK_EQ(pipe2(c->shown, O_CLOEXEC | O_NONBLOCK), 0);
}

/* As in a child, but its thread cannot start; the victim is the reader. */
static void begin_capture(void *context)
{
    struct capture *c = context;
    CHECK_EQ(dup2(c->shown[1], 2), 2);
    cvy_faults_arm(3, 0); /* after dup and dup2 */
    CHECK_ERR(cvy_capture_begin(c->p, c->tail[0], c->tail[1]), -EAGAIN);
    CHECK_STR_EQ(cvy_faults_last(), "pthread_create");
    CHECK_EQ(write(2, WORDS, strlen(WORDS)), strlen(WORDS));
}

static void read_capture(void *context)
{
    (void)context;
    cvy_capture_finish();
}

static const char *check_capture(void *context)
{
    struct capture *c = context;
    char shown[256] = "", twice[] = WORDS WORDS;
    const char *tail = (char *)cvy_at(c->p->crash) + CVY_BACKTRACE_BYTES;
    int old = fcntl(2, F_DUPFD_CLOEXEC, 10);
    close(c->tail[1]);
    CHECK_EQ(dup2(c->shown[1], 2), 2);
    struct cvy_os_kept_fd rest = cvy_os_keep(c->tail[0]);
    cvy_capture_collect(c->p, &rest);
    cvy_capture_show();
    CHECK_EQ(dup2(old, 2), 2);
    ssize_t n = read(c->shown[0], shown, sizeof shown - 1);
    bool kept = atomic_load(&c->p->tail_written) == strlen(WORDS) &&
                memcmp(tail, WORDS, strlen(WORDS)) == 0;
    bool seen = strcmp(shown, WORDS) == 0 || strcmp(shown, twice) == 0;
    snprintf(c->why, sizeof c->why, "%d bytes are kept, %zd shown",
             (int)atomic_load(&c->p->tail_written), n);
    close(old);
    close(c->tail[0]);
    close(c->shown[0]);
    close(c->shown[1]);
    covey_process_free(c->p);
    return kept && seen ? NULL : c->why;
}

TEST_TIMEOUT(words_are_kept_wherever_their_reader_is_killed, 120)
{
    kill_points_need();
    struct capture capture = {0};
    struct kill_points points = {.name = "reading",
                                 .before = make_capture,
                                 .prepare = begin_capture,
                                 .operate = read_capture,
                                 .after = check_capture,
                                 .context = &capture};
    kill_points_run(&points, family_long(SANITIZED ? 80 : 200, 0));
}

/* ---- as it shows them --------------------------------------------------------- */

static int say_when_told(struct covey_view arg)
{
    struct shared *s = shared_of(arg);
    family_tell(&s->begun);
    family_await(&s->go, 1);
    (void)!write(2, WORDS, strlen(WORDS));
    family_pause();
}

/* Lets `signal` come to `pid` with the first byte that is shown, so that the reader never
 * comes back from showing it. */
static void trap(int fd, int pid, int signal)
{
    struct f_owner_ex owner = {F_OWNER_PID, pid};
    CHECK_EQ(fcntl(fd, F_SETOWN_EX, &owner), 0);
    CHECK_EQ(fcntl(fd, F_SETSIG, signal), 0);
    CHECK_EQ(fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_ASYNC), 0);
}

TEST_EACH_METHOD(words_are_kept_when_their_reader_is_killed_by_showing_them)
{
    static const int signals[] = {SIGKILL, SIGTERM};
    for (size_t i = 0; i < 2; i++) {
        struct shared *s = share();
        struct covey_process_report r;
        struct catcher c = catch_output(2);
        covey_process *p =
            started(say_when_told, COVEY_VIEW_OF(s), OPTS(.capture_stderr = COVEY_ON));
        family_await(&s->begun, 1);
        trap(c.pipe, pid_of(p), signals[i]);
        family_tell(&s->go);
        CHECK_EQ(exitcode_of(p), -signals[i]);
        CHECK_OK(covey_process_report(p, &r));
        CHECK_STR_EQ(caught(&c), WORDS WORDS);
        CHECK_STR_EQ(r.stderr_tail, WORDS);
        covey_process_free(p);
    }
}

/* ---- that nobody wants to see ------------------------------------------------- */

/* Leaves its words in the pipe. */
static int be_killed_before_they_are_read(struct covey_view arg)
{
    (void)arg;
    (void)pthread_mutex_lock(&cvy_own()->capture_mutex);
    (void)!write(2, WORDS, strlen(WORDS));
    raise(SIGKILL);
    return 0;
}

static void have_killed_and_reported(void)
{
    struct covey_process_report r;
    covey_process *p = started(be_killed_before_they_are_read, COVEY_NO_VIEW,
                               OPTS(.capture_stderr = COVEY_ON));
    CHECK_EQ(exitcode_of(p), -SIGKILL);
    CHECK_OK(covey_process_report(p, &r));
    CHECK_STR_EQ(r.stderr_tail, WORDS);
    covey_process_free(p);
}

TEST_EACH_METHOD(words_that_nobody_reads_do_not_kill_the_starter)
{
    struct catcher c = catch_output(2);
    close(c.pipe);
    c.pipe = -1;
    have_killed_and_reported();
    (void)caught(&c);
}

/* The full pipe takes nothing more. */
TEST_EACH_METHOD(words_that_cannot_be_shown_do_not_hold_a_join_up)
{
    static const char many[65536];
    struct catcher c = catch_output(2);
    CHECK_EQ(write(2, many, sizeof many), sizeof many);
    have_killed_and_reported();
    close(c.pipe);
    c.pipe = -1;
    (void)caught(&c);
}

/* ---- whose reader or writer is another ---------------------------------------- */

#define MANY 100000 /* more than a pipe holds */

static void write_many(void)
{
    static char many[MANY];
    memset(many, 'm', sizeof many);
    CHECK_EQ(write(2, many, sizeof many), sizeof many);
}

/* stderr is where nothing is looked at. */
static int hide(void)
{
    int old = fcntl(2, F_DUPFD_CLOEXEC, 10),
        null = open("/dev/null", O_RDWR | O_CLOEXEC);
    CHECK_EQ(dup2(null, 2), 2);
    close(null);
    return old;
}

static void show_again(int old)
{
    cvy_forkserver_stop(); /* which has the null device as stderr, too */
    CHECK_EQ(dup2(old, 2), 2);
    close(old);
}

static int write_after_replacing(struct covey_view arg)
{
    (void)arg;
    closefrom(3);
    CHECK_EQ(memfd_create("a file of its own", MFD_CLOEXEC), 3);
    for (int fd = 4; fd < 60; fd++)
        CHECK_EQ(dup(3), fd);
    CHECK_EQ(write(3, "12345", 5), 5);
    CHECK_EQ(lseek(3, 0, SEEK_SET), 0);
    write_many();
    CHECK_EQ(lseek(3, 0, SEEK_CUR), 0);
    CHECK_EQ(lseek(3, 0, SEEK_END), 5);
    return 7;
}

TEST_EACH_METHOD(captured_process_may_close_all_descriptors)
{
    struct covey_process_report r;
    int old = hide();
    covey_process *p =
        started(write_after_replacing, COVEY_NO_VIEW, OPTS(.capture_stderr = COVEY_ON));
    CHECK_EQ(exitcode_of(p), 7);
    show_again(old);
    CHECK_OK(covey_process_report(p, &r));
    CHECK_EQ(strspn(r.stderr_tail, "m"), CVY_TAIL_BYTES);
    covey_process_free(p);
}

static int leave_a_writer(struct covey_view arg)
{
    struct shared *s = shared_of(arg);
    fflush(NULL);
    int pid = fork();
    if (pid == 0) {
        family_await(&s->go, 1);
        write_many();
        family_tell(&s->ended);
        family_pause();
    }
    s->numbers[1] = pid;
    _exit(6);
}

TEST_EACH_METHOD(fork_of_a_captured_process_may_write_after_its_end)
{
    struct shared *s = share();
    int old = hide();
    CHECK_EQ(run(leave_a_writer, COVEY_VIEW_OF(s), OPTS(.capture_stderr = COVEY_ON)),
             6);
    show_again(old);
    family_tell(&s->go);
    family_await(&s->ended, 1);
    CHECK_EQ(kill(s->numbers[1], SIGKILL), 0);
}

/* By a program that the fork handlers do not reach. */
static int leave_a_flood(struct covey_view arg)
{
    char sh[] = "sh", c[] = "-c", command[] = "exec yes 1>&2";
    char *argv[] = {sh, c, command, NULL};
    int pid;
    CHECK_EQ(posix_spawn(&pid, "/bin/sh", NULL, NULL, argv, environ), 0);
    shared_of(arg)->numbers[1] = pid;
    (void)pthread_mutex_lock(&cvy_own()->capture_mutex); /* the pipe becomes full */
    while (cvy_os_readable(2) < 4096)
        sched_yield();
    raise(SIGKILL);
    return 0;
}

TEST_EACH_METHOD(flood_of_a_captured_process_does_not_hold_a_join_up)
{
    struct shared *s = share();
    int old = hide();
    CHECK_EQ(run(leave_a_flood, COVEY_VIEW_OF(s), OPTS(.capture_stderr = COVEY_ON)),
             -SIGKILL);
    show_again(old);
    await_gone(s->numbers[1]); /* nobody reads what it writes */
}

CHECK_MAIN()
