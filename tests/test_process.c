/* SPDX-License-Identifier: MIT */
/* Process objects: who is who, what state they are in, what may be asked when. */
#include <sys/resource.h>

#include "process_help.h"

/* ---- names -------------------------------------------------------------------- */

TEST_EACH_METHOD_AND_THREAD(names_count_the_objects_made)
{
    covey_process *a = made(do_nothing, COVEY_NO_VIEW, OPTS());
    covey_process *b = made(do_nothing, COVEY_NO_VIEW, OPTS());
    CHECK_STR_EQ(covey_process_name(a), "Process-1");
    CHECK_STR_EQ(covey_process_name(b), "Process-2");
    covey_process_free(b); /* never started, its number is used up all the same */
    b = made(do_nothing, COVEY_NO_VIEW, OPTS(.name = "named"));
    CHECK_STR_EQ(covey_process_name(b), "named");
    covey_process_free(b);
    b = made(do_nothing, COVEY_NO_VIEW, OPTS());
    CHECK_STR_EQ(covey_process_name(b), "Process-4");
    covey_process_free(b);
    CHECK_OK(covey_process_start(a));
    CHECK_EQ(end_of(a), 0);
}

static int tell_name(struct covey_view arg)
{
    struct shared *s = shared_of(arg);
    strcpy(s->text, covey_process_name(covey_current_process()));
    return 0;
}

static int start_second(struct covey_view arg)
{
    enum covey_start_method method;
    CHECK_OK(covey_start_method_from_name(shared_of(arg)->other_text, &method));
    const struct covey_process_opts *opts = COVEY_PROCESS_OPTS(.method = method);
    covey_process *first = made(do_nothing, COVEY_NO_VIEW, opts);
    CHECK_EQ(run(tell_name, arg, opts), 0);
    covey_process_free(first);
    return 0;
}

TEST_EACH_METHOD_AND_THREAD(grandchildren_are_named_after_their_parents)
{
    struct shared *s = share();
    strcpy(s->other_text, covey_start_method_name(check_method()));
    CHECK_EQ(run(start_second, COVEY_VIEW_OF(s), OPTS()), 0);
    CHECK_STR_EQ(s->text, "Process-1:2");
    CHECK_EQ(run(start_second, COVEY_VIEW_OF(s), OPTS(.name = "other")), 0);
    CHECK_STR_EQ(s->text, "Process-2:2");
}

static int start_chain(struct covey_view arg)
{
    struct shared *s = shared_of(arg);
    if (--s->numbers[0] == 0)
        return tell_name(arg);
    return run(start_chain, arg, COVEY_PROCESS_OPTS(.method = COVEY_FORK));
}

TEST(names_of_many_generations_are_cut)
{
    struct shared *s = share();
    s->numbers[0] = 45;
    CHECK_EQ(run(start_chain, COVEY_VIEW_OF(s), COVEY_PROCESS_OPTS()), 0);
    CHECK_STR_HAS(s->text, "Process-1:1:1:1:1:1");
    CHECK_LT(strlen(s->text), 64);
}

TEST_EACH_METHOD_AND_THREAD(names_need_not_be_unique)
{
    struct shared *s = share();
    covey_process *a = started(tell_name, COVEY_VIEW_OF(s), OPTS(.name = "twin"));
    covey_process *b = started(run_until_told, COVEY_VIEW_OF(s), OPTS(.name = "twin"));
    CHECK_EQ(end_of(a), 0);
    CHECK_STR_EQ(s->text, "twin");
    family_tell(&s->go);
    CHECK_EQ(end_of(b), 0);
}

TEST_EACH_METHOD_AND_THREAD(renaming_before_the_start_reaches_the_child)
{
    struct shared *s = share();
    char longest[65];
    covey_process *p = made(tell_name, COVEY_VIEW_OF(s), OPTS());
    memset(longest, 'n', 64);
    longest[64] = 0;
    CHECK_ERR(covey_process_set_name(p, longest), -EINVAL);
    longest[63] = 0;
    CHECK_OK(covey_process_set_name(p, longest));
    CHECK_OK(covey_process_start(p));
    CHECK_EQ(exitcode_of(p), 0);
    CHECK_STR_EQ(s->text, longest);
    CHECK_OK(covey_process_set_name(p, "short"));
    CHECK_STR_EQ(covey_process_name(p), "short");
    covey_process_free(p);
}

static int rename_self(struct covey_view arg)
{
    struct shared *s = shared_of(arg);
    CHECK_OK(covey_process_set_name(covey_current_process(), "renamed"));
    CHECK_OK(covey_log_to_stderr(COVEY_LOG_INFO));
    struct catcher c = catch_output(2);
    (void)covey_log(COVEY_LOG_INFO, "hello");
    strcpy(s->text, caught(&c));
    CHECK_OK(covey_set_log_level(COVEY_LOG_OFF));
    return 0;
}

TEST_EACH_METHOD_AND_THREAD(process_may_rename_itself)
{
    struct shared *s = share();
    covey_process *p = started(rename_self, COVEY_VIEW_OF(s), OPTS());
    CHECK_EQ(exitcode_of(p), 0);
    CHECK_STR_EQ(covey_process_name(p), "renamed");
    CHECK_STR_EQ(s->text, "[INFO/renamed] hello\n");
    covey_process_free(p);
}

/* ---- oneself and one's parent ------------------------------------------------- */

TEST(main_process_is_itself)
{
    covey_process *self = covey_current_process();
    int pid = 0, code, fd;
    struct covey_bytes text = {0};
    CHECK_STR_EQ(covey_process_name(self), "MainProcess");
    CHECK_EQ(pid_of(self), getpid());
    CHECK(self == covey_current_process());
    CHECK(covey_parent_process() == NULL);
    CHECK_EQ(covey_process_is_alive(self), 1);
    CHECK_EQ(covey_process_daemon(self), 0);
    CHECK_ERR(covey_process_join(self, COVEY_NOWAIT), COVEY_ESTATE);
    CHECK_ERR(covey_process_exitcode(self, &code), COVEY_ENOTOWNER);
    CHECK_ERR(covey_process_sentinel(self, &fd), -ENOTSUP);
    CHECK_ERR(covey_process_terminate(self), COVEY_ENOTOWNER);
    CHECK_ERR(covey_process_close(self), COVEY_ENOTOWNER);
    CHECK_ERR(covey_process_set_daemon(self, 1), COVEY_ENOTOWNER);
    CHECK_ERR(covey_process_start(self), COVEY_ENOTOWNER);
    CHECK_OK(covey_process_repr(self, &text));
    check_text(text.data, "<Process name='MainProcess' pid=%d parent=%d started>",
               (int)getpid(), (int)getppid());
    covey_bytes_free(&text);
    covey_process_free(self); /* lives as long as the process */
    CHECK(self == covey_current_process());
    CHECK_OK(covey_process_pid(self, &pid));
}

static int check_self(struct covey_view arg)
{
    struct shared *s = shared_of(arg);
    covey_process *self = covey_current_process(), *parent = covey_parent_process();
    struct covey_bytes text = {0};
    bool thread = pid_of(parent) == getpid();
    int code;
    CHECK_STR_EQ(covey_process_name(self), "Process-1");
    CHECK_EQ(pid_of(self), thread ? gettid() : getpid());
    CHECK_EQ(covey_process_is_alive(self), 1);
    CHECK_ERR(covey_process_join(self, COVEY_NOWAIT), COVEY_ESTATE);
    CHECK_ERR(covey_process_exitcode(self, &code), thread ? -EBUSY : COVEY_ENOTOWNER);
    CHECK_STR_EQ(covey_process_name(parent), "MainProcess");
    CHECK_EQ(pid_of(parent), s->numbers[1]);
    CHECK_EQ(covey_process_is_alive(parent), 1);
    CHECK_ERR(covey_process_join(parent, COVEY_MSEC(5)),
              thread ? COVEY_ESTATE : -ETIMEDOUT);
    CHECK_ERR(covey_process_terminate(parent), COVEY_ENOTOWNER);
    CHECK_ERR(covey_process_exitcode(parent, &code), COVEY_ENOTOWNER);
    CHECK_OK(covey_process_repr(self, &text));
    check_text(text.data, "<Process name='Process-1' pid=%d parent=%d started>",
               thread ? gettid() : getpid(), s->numbers[1]);
    if (!thread) {
        CHECK_EQ(getppid(), s->numbers[1]); /* also under forkserver */
        covey_process_free(self);           /* no hold of the program's */
        covey_process_free(parent);
        CHECK(self == covey_current_process());
        CHECK_STR_EQ(covey_process_name(self), "Process-1");
        CHECK_STR_EQ(covey_process_name(covey_parent_process()), "MainProcess");
    }
    covey_bytes_free(&text);
    return 0;
}

TEST_EACH_METHOD_AND_THREAD(child_knows_itself_and_its_parent)
{
    struct shared *s = share();
    s->numbers[1] = getpid();
    CHECK_EQ(run(check_self, COVEY_VIEW_OF(s), OPTS()), 0);
    CHECK_STR_EQ(covey_process_name(covey_current_process()), "MainProcess");
}

static int wait_for_parent(struct covey_view arg)
{
    struct shared *s = shared_of(arg);
    covey_process *parent = covey_parent_process();
    CHECK_EQ(covey_process_is_alive(parent), 1);
    s->numbers[1] = getpid();
    family_tell(&s->begun);
    CHECK_OK(covey_process_join(parent, COVEY_SEC(20)));
    CHECK_EQ(covey_process_is_alive(parent), 0);
    CHECK_OK(covey_process_join(parent, COVEY_NOWAIT));
    CHECK_STR_EQ(covey_process_name(parent), "Process-1");
    family_tell(&s->ended);
    return 0;
}

static int start_watcher_and_die(struct covey_view arg)
{
    struct shared *s = shared_of(arg);
    enum covey_start_method method;
    CHECK_OK(covey_start_method_from_name(s->other_text, &method));
    (void)started(wait_for_parent, arg,
                  COVEY_PROCESS_OPTS(.method = method, .die_with_parent = COVEY_OFF));
    family_await(&s->begun, 1);
    raise(SIGKILL);
    return 0;
}

TEST_EACH_METHOD(child_can_wait_for_its_parents_end)
{
    struct shared *s = share();
    strcpy(s->other_text, covey_start_method_name(check_method()));
    CHECK_EQ(run(start_watcher_and_die, COVEY_VIEW_OF(s), OPTS()), -SIGKILL);
    family_await(&s->ended, 1);
    await_gone(s->numbers[1]);
}

/* ---- states ------------------------------------------------------------------- */

TEST_EACH_METHOD_AND_THREAD(what_can_be_asked_depends_on_the_state)
{
    struct shared *s = share();
    struct covey_process_report report;
    int code = 77, pid = 77, fd = 77;
    covey_process *p = made(run_until_told, COVEY_VIEW_OF(s), OPTS());
    CHECK_EQ(covey_process_is_alive(p), 0);
    CHECK_ERR(covey_process_pid(p, &pid), COVEY_ENOTSTARTED);
    CHECK_ERR(covey_process_exitcode(p, &code), COVEY_ENOTSTARTED);
    CHECK_ERR(covey_process_sentinel(p, &fd), COVEY_ENOTSTARTED);
    CHECK_ERR(covey_process_join(p, COVEY_FOREVER), COVEY_ENOTSTARTED);
    CHECK_ERR(covey_process_terminate(p), COVEY_ENOTSTARTED);
    CHECK_ERR(covey_process_kill(p), COVEY_ENOTSTARTED);
    CHECK_ERR(covey_process_interrupt(p), COVEY_ENOTSTARTED);
    CHECK_ERR(covey_process_report(p, &report), COVEY_ENOTSTARTED);
    CHECK_STR_HAS(covey_error_detail(), "Process-1");

    CHECK_OK(covey_process_start(p));
    CHECK_EQ(covey_process_is_alive(p), 1);
    CHECK_ERR(covey_process_exitcode(p, &code), -EBUSY);
    CHECK_ERR(covey_process_report(p, &report), -EBUSY);
    CHECK_ERR(covey_process_start(p), COVEY_ESTATE);
    CHECK_ERR(covey_process_set_daemon(p, 1), COVEY_ESTATE);
    CHECK_ERR(covey_process_close(p), COVEY_ESTATE);
    CHECK_EQ(code, 77);
    CHECK_EQ(pid, 77);
    CHECK_EQ(fd, 77);
    CHECK_GT(pid_of(p), 0);
    s->numbers[0] = 5;
    family_tell(&s->go);
    CHECK_OK(covey_process_join(p, COVEY_FOREVER));
    CHECK_EQ(covey_process_is_alive(p), 0);
    CHECK_EQ(exitcode_of(p), 5); /* joined any number of times */
    CHECK_OK(covey_process_join(p, COVEY_NOWAIT));
    CHECK_ERR(covey_process_start(p), COVEY_ESTATE);
    CHECK_ERR(covey_process_set_daemon(p, 1), COVEY_ESTATE);
    covey_process_free(p);
}

TEST_EACH_METHOD_AND_THREAD(closed_object_keeps_only_its_names)
{
    struct covey_process_report report;
    struct covey_bytes text = {0};
    int n;
    covey_process *p = started(do_nothing, COVEY_NO_VIEW, OPTS());
    CHECK_OK(covey_process_join(p, COVEY_FOREVER));
    CHECK_OK(covey_process_close(p));
    CHECK_OK(covey_process_close(p));
    CHECK_ERR(covey_process_pid(p, &n), COVEY_ECLOSED);
    CHECK_ERR(covey_process_exitcode(p, &n), COVEY_ECLOSED);
    CHECK_ERR(covey_process_sentinel(p, &n), COVEY_ECLOSED);
    CHECK_ERR(covey_process_is_alive(p), COVEY_ECLOSED);
    CHECK_ERR(covey_process_join(p, COVEY_NOWAIT), COVEY_ECLOSED);
    CHECK_ERR(covey_process_start(p), COVEY_ECLOSED);
    CHECK_ERR(covey_process_terminate(p), COVEY_ECLOSED);
    CHECK_ERR(covey_process_kill(p), COVEY_ECLOSED);
    CHECK_ERR(covey_process_interrupt(p), COVEY_ECLOSED);
    CHECK_ERR(covey_process_report(p, &report), COVEY_ECLOSED);
    CHECK_ERR(covey_process_set_daemon(p, 1), COVEY_ECLOSED);
    CHECK_STR_EQ(covey_process_name(p), "Process-1");
    CHECK_OK(covey_process_set_name(p, "old"));
    CHECK_EQ(covey_process_daemon(p), 0);
    CHECK_OK(covey_process_repr(p, &text));
    check_text(text.data, "<Process name='old' parent=%d closed>", (int)getpid());
    covey_bytes_free(&text);
    covey_process_free(p);
}

TEST(unstarted_object_may_be_closed)
{
    covey_process *p = made(do_nothing, COVEY_NO_VIEW, NULL);
    CHECK_OK(covey_process_close(p));
    CHECK_ERR(covey_process_start(p), COVEY_ECLOSED);
    covey_process_free(p);
}

TEST_EACH_METHOD_AND_THREAD(freed_object_is_recognized)
{
    struct shared *s = share();
    struct covey_bytes text = {0};
    int n;
    covey_process *p = made(do_nothing, COVEY_NO_VIEW, OPTS());
    covey_process_free(p);
    CHECK_ERR(covey_process_start(p), COVEY_EFREED);
    CHECK_ERR(covey_process_is_alive(p), COVEY_EFREED);
    CHECK_ERR(covey_process_pid(p, &n), COVEY_EFREED);
    CHECK_ERR(covey_process_daemon(p), COVEY_EFREED);
    CHECK_ERR(covey_process_repr(p, &text), COVEY_EFREED);
    CHECK(covey_process_name(p) == NULL);
    covey_process_free(p);

    /* Freed while it runs: it goes on, and is no more to be used all the same. */
    p = started(run_until_told, COVEY_VIEW_OF(s), OPTS());
    covey_process_free(p);
    CHECK_ERR(covey_process_is_alive(p), COVEY_EFREED);
    CHECK_ERR(covey_process_join(p, COVEY_NOWAIT), COVEY_EFREED);
    CHECK(covey_process_name(p) == NULL);
    covey_process_free(p);
    family_await(&s->begun, 1);
    family_tell(&s->go);
    size_t left = 1;
    while (cvy_children())
        CHECK_OK(covey_active_children(NULL, 0, &left));
    CHECK_EQ(left, 0);
    CHECK_ERR(covey_process_is_alive(p), COVEY_EFREED);
}

/* ---- text --------------------------------------------------------------------- */

static void check_repr(covey_process *p, const char *end)
{
    static struct covey_bytes text;
    char pid[32] = "";
    int number;
    if (covey_process_pid(p, &number) >= 0)
        snprintf(pid, sizeof pid, " pid=%d", number);
    CHECK_OK(covey_process_repr(p, &text));
    check_text(text.data, "<Process name='%s'%s parent=%d %s>", covey_process_name(p),
               pid, (int)getpid(), end);
    CHECK_EQ(text.size, strlen(text.data));
}

TEST_EACH_METHOD(repr_tells_state_and_signal)
{
    struct shared *s = share();
    covey_process *p = made(run_for_ever, COVEY_VIEW_OF(s), OPTS(.daemon = COVEY_ON));
    check_repr(p, "initial daemon");
    CHECK_OK(covey_process_start(p));
    check_repr(p, "started daemon");
    CHECK_OK(covey_process_terminate(p));
    CHECK_EQ(exitcode_of(p), -SIGTERM);
    check_repr(p, "stopped exitcode=-SIGTERM daemon");
    CHECK_OK(covey_process_close(p));
    check_repr(p, "closed daemon");
    covey_process_free(p);
}

static int raise_realtime(struct covey_view arg)
{
    (void)arg;
    raise(SIGRTMIN);
    return 0;
}

TEST_EACH_METHOD_AND_THREAD(repr_tells_exit_codes)
{
    struct shared *s = share();
    covey_process *p = started(run_until_told, COVEY_VIEW_OF(s), OPTS(.name = "it's"));
    check_repr(p, "started");
    s->numbers[0] = 3;
    family_tell(&s->go);
    CHECK_EQ(exitcode_of(p), 3);
    check_repr(p, "stopped exitcode=3");
    covey_process_free(p);
    p = started(do_nothing, COVEY_NO_VIEW, OPTS());
    CHECK_EQ(exitcode_of(p), 0);
    check_repr(p, "stopped exitcode=0");
    covey_process_free(p);
    if (check_method() == COVEY_THREAD)
        return;
    p = started(raise_realtime, COVEY_NO_VIEW, OPTS());
    CHECK_EQ(exitcode_of(p), -SIGRTMIN);
    check_repr(p, "stopped exitcode=-34");
    covey_process_free(p);
}

/* ---- objects of other processes ----------------------------------------------- */

static int use_foreign(struct covey_view arg)
{
    struct shared *s = shared_of(arg);
    covey_process *const *objects = (covey_process *const *)(void *)s->other_text;
    struct covey_process_report report;
    struct covey_bytes text = {0};
    int n;
    for (int i = 0; i < 2; i++) {
        covey_process *p = objects[i];
        CHECK_ERR(covey_process_start(p), COVEY_ENOTOWNER);
        CHECK_ERR(covey_process_join(p, COVEY_NOWAIT), COVEY_ENOTOWNER);
        CHECK_ERR(covey_process_is_alive(p), COVEY_ENOTOWNER);
        CHECK_ERR(covey_process_exitcode(p, &n), COVEY_ENOTOWNER);
        CHECK_ERR(covey_process_sentinel(p, &n), COVEY_ENOTOWNER);
        CHECK_ERR(covey_process_terminate(p), COVEY_ENOTOWNER);
        CHECK_ERR(covey_process_kill(p), COVEY_ENOTOWNER);
        CHECK_ERR(covey_process_interrupt(p), COVEY_ENOTOWNER);
        CHECK_ERR(covey_process_close(p), COVEY_ENOTOWNER);
        CHECK_ERR(covey_process_set_daemon(p, 1), COVEY_ENOTOWNER);
        CHECK_ERR(covey_process_set_name(p, "mine"), COVEY_ENOTOWNER);
        CHECK_ERR(covey_process_report(p, &report), COVEY_ENOTOWNER);
        CHECK_EQ(covey_process_daemon(p), 0);
        CHECK_STR_EQ(covey_process_name(p), i ? "runs" : "waits");
        CHECK_EQ(covey_process_pid(p, &n), i ? 0 : COVEY_ENOTSTARTED);
        CHECK_OK(covey_process_repr(p, &text));
        CHECK_STR_HAS(text.data, " unknown>");
        covey_process_free(p); /* it has no hold to drop */
    }
    covey_bytes_free(&text);
    return 0;
}

TEST_EACH_METHOD(object_is_operated_by_its_creator_only)
{
    struct shared *s = share();
    covey_process **objects = (covey_process **)(void *)s->other_text;
    objects[0] = made(do_nothing, COVEY_NO_VIEW, OPTS(.name = "waits"));
    objects[1] = started(run_until_told, COVEY_VIEW_OF(s), OPTS(.name = "runs"));
    CHECK_EQ(run(use_foreign, COVEY_VIEW_OF(s), OPTS()), 0);
    family_tell(&s->go);
    CHECK_EQ(end_of(objects[1]), 0);
    CHECK_OK(covey_process_start(objects[0]));
    CHECK_EQ(end_of(objects[0]), 0);
}

/* ---- what is no process object ------------------------------------------------- */

static void check_refused(covey_process *p, int code)
{
    struct covey_process_report report;
    struct covey_bytes text = {0};
    int n = 77;
    CHECK_ERR(covey_process_start(p), code);
    CHECK_ERR(covey_process_join(p, COVEY_NOWAIT), code);
    CHECK_ERR(covey_process_is_alive(p), code);
    CHECK_ERR(covey_process_exitcode(p, &n), code);
    CHECK_ERR(covey_process_pid(p, &n), code);
    CHECK(covey_process_name(p) == NULL);
    CHECK_ERR(covey_process_set_name(p, "x"), code);
    CHECK_ERR(covey_process_daemon(p), code);
    CHECK_ERR(covey_process_set_daemon(p, 1), code);
    CHECK_ERR(covey_process_sentinel(p, &n), code);
    CHECK_ERR(covey_process_terminate(p), code);
    CHECK_ERR(covey_process_kill(p), code);
    CHECK_ERR(covey_process_interrupt(p), code);
    CHECK_ERR(covey_process_close(p), code);
    CHECK_ERR(covey_process_repr(p, &text), code);
    CHECK_ERR(covey_process_report(p, &report), code);
    covey_process_free(p);
    CHECK_EQ(n, 77);
    CHECK(text.data == NULL);
}

TEST(what_is_no_process_object_is_refused)
{
    struct shared *s = share();
    char text[4096] = "";
    check_refused(NULL, -EINVAL);
    check_refused((covey_process *)(void *)text, -EINVAL);
    check_refused((covey_process *)(void *)s, -EINVAL);
    check_refused(family_object(64, 0), -EINVAL);
    covey_process *p = made(do_nothing, COVEY_NO_VIEW, NULL);
    check_refused((covey_process *)(void *)((char *)p + 8), -EINVAL);
    covey_process_free(p);
    check_refused(p, COVEY_EFREED);
}

static void create_without_a_family(int code, const char *detail)
{
    covey_process *p = NULL;
    CHECK_ERR(covey_process_create(&p, do_nothing, COVEY_NO_VIEW, NULL), code);
    CHECK_STR_HAS(covey_error_detail(), detail);
    CHECK(p == NULL);
}

TEST(creating_says_why_there_is_no_family)
{
    int pid = family_fork();
    if (pid == 0) {
        struct rlimit limit, none = {0};
        CHECK_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
        none.rlim_max = limit.rlim_max;
        CHECK_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
        create_without_a_family(-EMFILE, "Too many open files");
        CHECK_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
        cvy_attach_no_more();
        create_without_a_family(COVEY_ESTATE, "");
        _exit(0);
    }
    family_join(pid);
}

TEST(answers_need_room)
{
    covey_process *p = started(do_nothing, COVEY_NO_VIEW, NULL);
    CHECK_OK(covey_process_join(p, COVEY_FOREVER));
    CHECK_ERR(covey_process_pid(p, NULL), -EINVAL);
    CHECK_ERR(covey_process_exitcode(p, NULL), -EINVAL);
    CHECK_ERR(covey_process_sentinel(p, NULL), -EINVAL);
    CHECK_ERR(covey_process_repr(p, NULL), -EINVAL);
    CHECK_ERR(covey_process_report(p, NULL), -EINVAL);
    CHECK_ERR(covey_process_set_name(p, NULL), -EINVAL);
    CHECK_ERR(covey_process_set_name(p, ""), -EINVAL);
    CHECK_ERR(covey_active_children(NULL, 1, &(size_t){0}), -EINVAL);
    CHECK_ERR(covey_active_children(&p, 1, NULL), -EINVAL);
    CHECK_ERR(covey_cpu_count(NULL), -EINVAL);
    CHECK_ERR(covey_family_usage(NULL), -EINVAL);
    CHECK_ERR(covey_hold(NULL), -EINVAL);
    covey_process_free(p);
    covey_process_free(NULL);
}

/* ---- active children ---------------------------------------------------------- */

TEST_EACH_METHOD_AND_THREAD(active_children_are_those_that_run)
{
    struct shared *s = share();
    covey_process *list[4] = {NULL};
    size_t count = 77;
    CHECK_OK(covey_active_children(list, 4, &count));
    CHECK_EQ(count, 0);
    covey_process *a = started(run_until_told, COVEY_VIEW_OF(s), OPTS());
    covey_process *b = started(run_until_told, COVEY_VIEW_OF(s), OPTS());
    covey_process *c = made(do_nothing, COVEY_NO_VIEW, OPTS());
    CHECK_OK(covey_active_children(list, 4, &count));
    CHECK_EQ(count, 2);
    CHECK((list[0] == a && list[1] == b) || (list[0] == b && list[1] == a));
    list[1] = NULL;
    CHECK_OK(covey_active_children(list, 1, &count));
    CHECK_EQ(count, 2);
    CHECK(list[1] == NULL);
    CHECK_OK(covey_active_children(NULL, 0, &count));
    CHECK_EQ(count, 2);
    family_tell(&s->go);
    while (count > 0) /* which also reaps */
        CHECK_OK(covey_active_children(list, 4, &count));
    CHECK_EQ(waitid(P_ALL, 0, &(siginfo_t){0}, WEXITED | WNOHANG | WNOWAIT),
             check_method() == COVEY_FORKSERVER ? 0 : -1); /* the server is there */
    CHECK_EQ(end_of(a), 0);
    CHECK_EQ(end_of(b), 0);
    covey_process_free(c);
}

static int count_children(struct covey_view arg)
{
    size_t count = 77;
    (void)arg;
    CHECK_OK(covey_active_children(NULL, 0, &count));
    return (int)count;
}

TEST_EACH_METHOD(children_of_a_parent_are_not_its_childs)
{
    struct shared *s = share();
    covey_process *p = started(run_until_told, COVEY_VIEW_OF(s), OPTS());
    CHECK_EQ(run(count_children, COVEY_NO_VIEW, OPTS()), 0);
    family_tell(&s->go);
    CHECK_EQ(end_of(p), 0);
}

CHECK_MAIN()
