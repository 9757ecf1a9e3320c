/* SPDX-License-Identifier: MIT */
/* Processes that are threads: ends other than by return, of the thread and of its process. */
#include "process_help.h"

static int exit_as_thread(struct covey_view arg)
{
    family_await(&shared_of(arg)->go, 1);
    exit(4);
}

static int wait_for_a_sibling(struct covey_view arg)
{
    (void)cvy_process_wait(*(covey_process *const *)arg.data, INT64_MAX);
    return 0;
}

/* The end waits for its threads, one of which called exit(), and one waits for that. */
static void start_threads(struct covey_view arg)
{
    const struct covey_process_opts *opts = COVEY_PROCESS_OPTS(.method = COVEY_THREAD);
    covey_process *p = started(exit_as_thread, arg, opts);
    (void)started(wait_for_a_sibling, COVEY_VIEW_OF(p), opts);
}

static int be_ended_by_a_thread(struct covey_view arg)
{
    start_threads(arg);
    family_tell(&shared_of(arg)->go);
    family_pause();
}

static int let_a_thread_exit(struct covey_view arg)
{
    family_tell(&shared_of(arg)->go);
    return 0;
}

static int end_while_a_thread_exits(struct covey_view arg)
{
    start_threads(arg);
    CHECK_OK(covey_at_exit(let_a_thread_exit, arg, 0));
    return 5;
}

TEST_EACH_METHOD(exit_of_a_thread_ends_its_process)
{
    struct shared *s = share();
    CHECK_EQ(run(be_ended_by_a_thread, COVEY_VIEW_OF(s), OPTS()), 4);
    atomic_store(&s->go, 0);
    CHECK_EQ(run(end_while_a_thread_exits, COVEY_VIEW_OF(s), OPTS()), 5);
}

static pthread_t thread_to_cancel;

static int end_by_pthread_exit(struct covey_view arg)
{
    family_await(&shared_of(arg)->go, 1);
    pthread_exit(NULL);
}

static int wait_to_be_cancelled(struct covey_view arg)
{
    thread_to_cancel = pthread_self();
    family_tell(&shared_of(arg)->begun);
    while (pause() < 0)
        continue;
    return 0;
}

TEST(thread_that_does_not_return_ends_as_well)
{
    struct shared *s = share();
    const struct covey_process_opts *opts = COVEY_PROCESS_OPTS(.method = COVEY_THREAD);
    int fd = -1;
    covey_process *p = started(end_by_pthread_exit, COVEY_VIEW_OF(s), opts);
    CHECK_OK(covey_process_sentinel(p, &fd));
    family_tell(&s->go);
    CHECK_EQ(cvy_os_poll_in(fd, INT64_MAX), 1);
    CHECK_EQ(end_of(p), 255);

    p = started(wait_to_be_cancelled, COVEY_VIEW_OF(s), opts);
    family_await(&s->begun, 1);
    CHECK_EQ(pthread_cancel(thread_to_cancel), 0);
    CHECK_EQ(end_of(p), 255);
}

static int fork_in_a_thread(struct covey_view arg)
{
    struct shared *s = shared_of(arg);
    int pid = family_fork(), status = 0;
    if (pid == 0 && s->numbers[0])
        covey_exit(7);
    if (pid == 0)
        return 7;
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    family_tell(&s->begun);
    family_await(&s->go, 1);
    return 3;
}

/* A fork of a thread's is no thread of its parent's. */
TEST(end_of_a_threads_fork_is_not_the_threads)
{
    for (int by_exit = 0; by_exit < 2; by_exit++) {
        struct shared *s = share();
        s->numbers[0] = by_exit;
        covey_process *p = started(fork_in_a_thread, COVEY_VIEW_OF(s),
                                   COVEY_PROCESS_OPTS(.method = COVEY_THREAD));
        family_await(&s->begun, 1);
        CHECK_EQ(covey_process_is_alive(p), 1);
        family_tell(&s->go);
        CHECK_EQ(end_of(p), 3);
    }
}

CHECK_MAIN()
