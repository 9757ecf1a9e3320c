/* SPDX-License-Identifier: MIT */
/* Who dies with its parent, and who does not. */
#include "process_help.h"
#include "stepper.h"

/* How long a killed parent's processes may outlive it. */
#define SOON COVEY_SEC(1)

static enum covey_start_method method_in(const struct shared *s)
{
    enum covey_start_method method;
    CHECK_OK(covey_start_method_from_name(s->other_text, &method));
    return method;
}

static struct shared *share_method(void)
{
    struct shared *s = share();
    strcpy(s->other_text, covey_start_method_name(check_method()));
    return s;
}

static void check_gone_soon(const struct shared *s, int first, int last)
{
    int64_t deadline = cvy_os_deadline(SOON);
    for (int i = first; i <= last; i++) {
        int fd = cvy_os_pidfd_open(s->numbers[i]);
        CHECK(fd < 0 || cvy_os_poll_in(fd, deadline) == 1);
        cvy_os_close(fd);
    }
}

/* Each generation notes its pid, and starts the next one until there are four. */
static int start_generations(struct covey_view arg)
{
    struct shared *s = shared_of(arg);
    uint32_t i = atomic_fetch_add(&s->told, 1);
    s->numbers[i] = getpid();
    if (i < 3)
        (void)started(start_generations, arg,
                      COVEY_PROCESS_OPTS(.method = method_in(s)));
    family_tell(&s->begun);
    family_pause();
}

TEST_EACH_METHOD(killed_parent_leaves_no_process_behind)
{
    struct shared *s = share_method();
    covey_process *p = started(start_generations, COVEY_VIEW_OF(s), OPTS());
    family_await(&s->begun, 4);
    CHECK_OK(covey_process_kill(p));
    CHECK_EQ(end_of(p), -SIGKILL);
    check_gone_soon(s, 1, 3);
}

TEST_EACH_METHOD(killed_main_process_leaves_no_process_behind)
{
    struct shared *s = share_method();
    int pid = family_fork();
    if (pid == 0)
        start_generations(COVEY_VIEW_OF(s));
    family_await(&s->begun, 4);
    family_kill(pid);
    check_gone_soon(s, 1, 3);
}

static int note_pid_and_wait(struct covey_view arg)
{
    struct shared *s = shared_of(arg);
    s->numbers[1] = getpid();
    return run_until_told(arg);
}

static int start_one_to_stay(struct covey_view arg)
{
    (void)started(note_pid_and_wait, arg,
                  COVEY_PROCESS_OPTS(.method = method_in(shared_of(arg)),
                                     .die_with_parent = COVEY_OFF));
    family_await(&shared_of(arg)->begun, 1);
    raise(SIGKILL);
    return 0;
}

TEST_EACH_METHOD(child_may_outlive_its_parent_if_told)
{
    struct shared *s = share_method();
    CHECK_EQ(run(start_one_to_stay, COVEY_VIEW_OF(s), OPTS()), -SIGKILL);
    CHECK_EQ(kill(s->numbers[1], 0), 0);
    int fd = cvy_os_pidfd_open(s->numbers[1]);
    CHECK_EQ(cvy_os_poll_in(fd, cvy_os_deadline(COVEY_MSEC(100))), 0);
    family_tell(&s->go);
    CHECK_EQ(cvy_os_poll_in(fd, cvy_os_deadline(COVEY_SEC(20))), 1);
    cvy_os_close(fd);
}

/* ---- starts from threads ------------------------------------------------------ */

struct thread_start {
    struct shared *shared;
    enum covey_start_method method;
    covey_process *process;
};

static void *start_in_thread(void *argument)
{
    struct thread_start *t = argument;
    t->process = started(note_pid_and_wait, COVEY_VIEW_OF(t->shared),
                         COVEY_PROCESS_OPTS(.method = t->method));
    return NULL;
}

static covey_process *started_by_thread(struct shared *s,
                                        enum covey_start_method method)
{
    struct thread_start t = {s, method, NULL};
    forks_beside_threads();
    pthread_t thread;
    CHECK_EQ(pthread_create(&thread, NULL, start_in_thread, &t), 0);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    return t.process;
}

TEST_EACH_METHOD_AND_THREAD(child_outlives_the_thread_that_started_it)
{
    struct shared *s = share();
    s->numbers[0] = 7;
    for (uint32_t i = 1; i <= 3; i++) { /* the first of a fork server, and others */
        s->go = 0;
        covey_process *p = started_by_thread(s, check_method());
        family_await(&s->begun, i);
        CHECK_ERR(covey_process_join(p, COVEY_MSEC(50)), -ETIMEDOUT);
        family_tell(&s->go);
        CHECK_EQ(end_of(p), 7);
    }
}

TEST_EACH_METHOD(child_of_a_thread_dies_with_the_process)
{
    struct shared *s = share_method();
    int pid = family_fork();
    if (pid == 0) {
        (void)started_by_thread(s, check_method());
        if (fork() == 0) { /* holds whatever it inherited, and knows nothing of covey */
            s->numbers[2] = getpid();
            family_tell(&s->told);
            family_pause();
        }
        family_pause();
    }
    family_await(&s->begun, 1);
    family_await(&s->told, 1);
    family_kill(pid);
    check_gone_soon(s, 1, 1);
    CHECK_EQ(kill(s->numbers[2], SIGKILL), 0);
}

/* ---- a starter that is killed as soon as its child may begin -------------------- */

static struct stepper_progress *starter_progress;
static covey_process *_Atomic *to_start;

static int note_pid(struct covey_view arg)
{
    shared_of(arg)->numbers[1] = getpid();
    return 0;
}

static void make_survivor(void *context)
{
    CHECK_OK(covey_set_forkserver_spares(0));
    CHECK_EQ(
        run(do_nothing, COVEY_NO_VIEW, COVEY_PROCESS_OPTS(.method = COVEY_FORKSERVER)),
        0); /* its server is there */
    struct shared *s = context;
    atomic_store(to_start, made(note_pid, COVEY_VIEW_OF(s),
                                COVEY_PROCESS_OPTS(.method = COVEY_FORKSERVER,
                                                   .die_with_parent = COVEY_OFF)));
}

static void start_survivor(void *unused)
{
    (void)unused;
    CHECK_OK(covey_process_start(atomic_load(to_start)));
    raise(SIGKILL);
}

/* The youngest child of a process. */
static int youngest_of(int pid)
{
    char path[64];
    int child = 0, next;
    snprintf(path, sizeof path, "/proc/%d/task/%d/children", pid, pid);
    FILE *file = fopen(path, "re");
    CHECK(file != NULL);
    while (fscanf(file, "%d", &next) == 1)
        child = next;
    fclose(file);
    return child;
}

/* Step by step, until the clone waits. */
static void step_to_gate(struct stepper *starter)
{
    for (bool waits = false; !waits;) {
        CHECK_EQ(stepper_step(starter, INT64_MAX), STEPPER_STEPPED);
        int64_t end = cvy_os_deadline(COVEY_MSEC(20));
        while (starter->called && !waits && cvy_os_now() < end)
            waits = atomic_load(&atomic_load(to_start)->gate) == CVY_GATE_WAITED_AT;
        CHECK(!stepper_is_done(starter));
    }
}

/* The clone of a fork server is about to see that it may begin when its starter dies. */
TEST(child_at_the_gate_outlives_a_starter_that_opened_it)
{
    struct shared *s = share();
    void *place = NULL;
    if (!stepper_works())
        SKIP("processes may not be traced here");
    place = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(place != MAP_FAILED);
    starter_progress = place;
    to_start = (void *)((char *)place + 64);
    struct stepper starter = {.name = "starter",
                              .prepare = make_survivor,
                              .operate = start_survivor,
                              .context = s,
                              .any_call = true,
                              .progress = starter_progress};
    CHECK_OK(stepper_start(&starter));
    step_to_gate(&starter);
    int status, child = youngest_of(starter.pid);
    CHECK_EQ(kill(child, SIGSTOP), 0);
    while (stepper_state_of(child) != 'T')
        sched_yield();
    stepper_stop(&starter);
    CHECK_EQ(kill(starter.pid, SIGCONT), 0);
    CHECK_EQ(waitpid(starter.pid, &status, 0), starter.pid);
    CHECK_EQ(status, SIGKILL);
    CHECK_EQ(kill(child, SIGCONT), 0);
    await_gone(child);
    CHECK_EQ(s->numbers[1], child);
    munmap(place, 4096);
}

static covey_process *left_by_main;

static void *outlive_main(void *argument)
{
    struct shared *s = argument;
    char path[64], state = 0;
    snprintf(path, sizeof path, "/proc/self/task/%d/stat", (int)getpid());
    for (int i = 0; i < 20 && state != 'Z'; i++) { /* the first thread may linger */
        FILE *file = fopen(path, "re");
        if (!file || fscanf(file, "%*d %*s %c", &state) != 1)
            state = 'Z';
        if (file)
            fclose(file);
        usleep(5000);
    }
    CHECK_EQ(covey_process_is_alive(left_by_main), 1);
    family_tell(&s->go);
    _exit(end_of(left_by_main));
}

TEST_EACH_METHOD(child_outlives_a_first_thread_that_ends)
{
    struct shared *s = share_method();
    int status, pid = family_fork();
    s->numbers[0] = 7;
    if (pid == 0) {
        pthread_t thread;
        left_by_main = started(note_pid_and_wait, COVEY_VIEW_OF(s), OPTS());
        family_await(&s->begun, 1);
        CHECK_EQ(pthread_create(&thread, NULL, outlive_main, s), 0);
        pthread_exit(NULL);
    }
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK_EQ(status, 7 << 8);
}

CHECK_MAIN()
