/* SPDX-License-Identifier: MIT */
/* Initializers of managers: what they do, and their ends of all kinds. */
#include <errno.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "object_help.h"
#include "process_help.h"
#include "server_box.h"
#include "server_help.h"

#define PATIENT COVEY_SEC(20)

enum fate {
    RETURNS,
    FAILS_BY_CALL,
    EXITS,
    EXITS_BY_COVEY,
    EXITS_AT_ONCE,
    IS_KILLED,
    CRASHES,
    LEAVES_A_CHILD,
    HANGS
};

/* The argument of the initializer `act`. */
struct act {
    struct shared *s;
    enum fate fate;
    int result;
};

/* Which has a hold of all that this process has, and does not end with it. */
static void leave_a_child(struct shared *s)
{
    covey_process *child =
        started(run_until_told, COVEY_VIEW_OF(s),
                COVEY_PROCESS_OPTS(.method = COVEY_FORK, .die_with_parent = COVEY_OFF));
    s->numbers[1] = pid_of(child);
    family_await(&s->begun, 1);
}

static int act(struct covey_view arg)
{
    const struct rlimit no_core = {0, 0};
    const struct act *a = arg.data;
    switch (a->fate) {
    case FAILS_BY_CALL:
        return covey_manager_register("Late", NULL, NULL);
    case EXITS:
        exit(3);
    case EXITS_BY_COVEY:
        covey_exit(4);
    case LEAVES_A_CHILD:
        leave_a_child(a->s);
        _exit(5);
    case EXITS_AT_ONCE:
        _exit(6);
    case IS_KILLED:
        raise(SIGKILL);
        break;
    case CRASHES:
        (void)setrlimit(RLIMIT_CORE, &no_core);
        raise(SIGSEGV);
        break;
    case HANGS:
        family_await(&a->s->go, 1);
        break;
    case RETURNS:
        break;
    }
    return a->result;
}

static int start_with(covey_manager **out, covey_target_fn *fn, struct covey_view arg,
                      covey_nsec timeout)
{
    return covey_manager_start(
        out, COVEY_MANAGER_OPTS(.method = check_method(), .initializer = fn,
                                .initarg = arg, .start_timeout = timeout));
}

/* What stays for later starts is there. */
static void start_one_before(void)
{
    CHECK(share());
    CHECK_EQ(run(do_nothing, COVEY_NO_VIEW, OPTS(0)), 0);
}

/* It does not start, this is why, and nothing is left. */
static void fails(struct act a, const char *why)
{
    covey_manager *none = NULL;
    uint64_t objects = family_usage().objects;
    CHECK_ERR(start_with(&none, act, COVEY_VIEW_OF(a), 0), COVEY_ESTART);
    CHECK(!none);
    CHECK_STR_HAS(covey_error_detail(), "covey_manager_start: ");
    CHECK_STR_HAS(covey_error_detail(), why);
    CHECK_EQ(family_usage().objects, objects);
}

/* ---- what it does ---- */

struct first {
    struct shared *s;
    char text[41]; /* of no even size */
};

static int note_where(struct covey_view arg)
{
    const struct first *f = arg.data;
    CHECK_EQ(arg.size, sizeof *f);
    CHECK_EQ((uintptr_t)arg.data % 16, 0);
    f->s->numbers[0] = getpid();
    snprintf(f->s->text, sizeof f->s->text, "%s in %s", f->text,
             covey_process_name(covey_current_process()));
    family_tell(&f->s->told);
    return 0;
}

TEST_EACH_METHOD_AND_THREAD(it_runs_once_in_the_manager)
{
    covey_manager *m = NULL;
    covey_process *child;
    size_t count;
    struct first f = {share(), "told"};
    CHECK_OK(start_with(&m, note_where, COVEY_VIEW_OF(f), 0));
    CHECK_EQ(atomic_load(&f.s->told), 1); /* before anybody could connect */
    CHECK_STR_EQ(f.s->text, "told in Manager-1");
    CHECK_OK(covey_active_children(&child, 1, &count));
    CHECK_EQ(count, 1);
    CHECK_EQ(f.s->numbers[0],
             check_method() == COVEY_THREAD ? (int)getpid() : pid_of(child));
    manager_end(m);
    CHECK_EQ(atomic_load(&f.s->told), 1);
}

static int is_without_argument(struct covey_view arg)
{
    return arg.size ? 1 : 0;
}

TEST_EACH_METHOD_AND_THREAD(it_needs_no_argument)
{
    covey_manager *m = NULL;
    CHECK_OK(start_with(&m, is_without_argument, COVEY_NO_VIEW, 0));
    manager_end(m);
}

/* ---- what it registers ---- */

static int twice(covey_request *request)
{
    int64_t number = 0;
    int r =
        covey_value_get_int(covey_value_at(covey_request_args(request), 0), &number);
    return r < 0 ? r : covey_request_return(request, covey_value_int(2 * number));
}

/* A class of its own, a function, and an object of its starter's class. */
static int register_late(struct covey_view unused)
{
    (void)unused;
    CHECK_OK(covey_manager_register("Late", &box_class, NULL));
    CHECK_OK(covey_manager_share("get_box", "Box", NULL));
    CHECK_OK(covey_manager_register_function("__main__.twice", twice));
    return 0;
}

static void gives(covey_proxy *proxy, int64_t wanted, const char *method,
                  covey_value *args)
{
    covey_value *value = NULL;
    int64_t number = 0;
    CHECK_OK(covey_proxy_call_values(proxy, &value, method, args, NULL, PATIENT));
    CHECK_OK(covey_value_get_int(value, &number));
    CHECK_EQ(number, wanted);
    covey_value_free(value);
}

TEST_EACH_METHOD_AND_THREAD(what_it_registers_the_manager_has)
{
    covey_manager *m = NULL;
    covey_value *args;
    threads_fork(); /* a manager in a thread has workers, too */
    box_register();
    CHECK_OK(start_with(&m, register_late, COVEY_NO_VIEW, 0));
    covey_proxy *late = created(m, "Late", covey_value_int(7)),
                *one = new_object(m, "get_box"), *same = new_object(m, "get_box"),
                *pool = created(m, "Pool", covey_value_int(1));
    gives(late, 7, "get", NULL);
    CHECK_OK(covey_proxy_call(one, NULL, "set", "(i)", 8));
    gives(same, 8, "get", NULL);
    CHECK_OK(covey_value_pack(&args, "(N, (i))",
                              covey_value_global("__main__", "twice"), 21));
    gives(pool, 42, "apply", args);
    covey_proxy_free(late);
    covey_proxy_free(one);
    covey_proxy_free(same);
    covey_proxy_free(pool);
    manager_end(m);
}

/* Only what was registered in this process goes to its later managers. */
TEST_EACH_METHOD_AND_THREAD(others_have_what_it_registers_only_in_threads)
{
    covey_manager *m = NULL;
    covey_proxy *late = NULL;
    box_register();
    CHECK_OK(start_with(&m, register_late, COVEY_NO_VIEW, 0));
    manager_end(m);
    CHECK_OK(covey_manager_start(&m, COVEY_MANAGER_OPTS(.method = check_method())));
    CHECK_EQ(covey_proxy_create(&late, m, "Late", NULL, NULL),
             check_method() == COVEY_THREAD ? 0 : COVEY_EREMOTE);
    covey_proxy_free(late);
    manager_end(m);
}

static int replace_box(struct covey_view unused)
{
    static const struct covey_method only_get[] = {{"get", box_get, 0}};
    struct covey_class cls = box_class;
    (void)unused;
    cls.methods = only_get;
    cls.method_count = 1;
    CHECK_OK(covey_manager_register("Box", &cls, NULL));
    return 0;
}

TEST_EACH_METHOD_AND_THREAD(it_may_replace_what_its_starter_has)
{
    covey_manager *m = NULL;
    box_register();
    CHECK_OK(start_with(&m, replace_box, COVEY_NO_VIEW, 0));
    covey_proxy *box = created(m, "Box", covey_value_int(7));
    gives(box, 7, "get", NULL);
    CHECK_ERR(covey_proxy_call(box, NULL, "set", "(i)", 8), COVEY_EREMOTE);
    covey_proxy_free(box);
    manager_end(m);
}

static covey_queue *kept;

static int keep_queue(struct covey_view arg)
{
    kept = *(covey_queue *const *)arg.data;
    return covey_hold(kept);
}

static int kept_get(covey_request *request, void *self)
{
    struct covey_bytes got = {0};
    (void)self;
    int r = covey_queue_get(kept, &got, PATIENT);
    if (r >= 0)
        r = covey_request_return(request,
                                 covey_value_int(*(const unsigned char *)got.data));
    covey_bytes_free(&got);
    return r;
}

static const struct covey_method kept_methods[] = {
    {"get", kept_get, COVEY_METHOD_BLOCKS}};
static const struct covey_class kept_class = {.size = sizeof(struct covey_class),
                                              .methods = kept_methods,
                                              .method_count = 1,
                                              .create = box_make,
                                              .destroy = box_free};

/* Its starter lets go of it. */
TEST_EACH_METHOD(what_it_holds_the_manager_keeps)
{
    covey_manager *m = NULL;
    covey_queue *queue;
    CHECK_OK(covey_queue_create(&queue, 0, NULL));
    CHECK_OK(covey_manager_register("Kept", &kept_class, NULL));
    CHECK_OK(start_with(&m, keep_queue, COVEY_VIEW_OF(queue), 0));
    CHECK_OK(covey_queue_put(queue, COVEY_VIEW("\5", 1), PATIENT));
    covey_queue_free(queue);
    covey_proxy *proxy = new_object(m, "Kept");
    gives(proxy, 5, "get", NULL);
    covey_proxy_free(proxy);
    manager_end(m);
}

/* The starter is a process of its own, and killed. */
TEST_EACH_METHOD(a_manager_that_outlives_its_starter_has_it_too)
{
    struct server server = {0};
    int ends[2], status;
    char ident[64];
    CHECK_EQ(pipe(ends), 0);
    fflush(NULL);
    int pid = fork();
    CHECK_GE(pid, 0);
    if (!pid) {
        covey_manager *m = NULL;
        box_register();
        CHECK_OK(covey_manager_start(
            &m, COVEY_MANAGER_OPTS(.method = check_method(), .authkey = SERVER_KEY,
                                   .outlive = COVEY_ON, .initializer = register_late)));
        const char *at = covey_manager_address(m);
        CHECK_EQ(write(ends[1], at, strlen(at) + 1), (ssize_t)strlen(at) + 1);
        pause();
    }
    close(ends[1]);
    for (size_t i = 0; read(ends[0], server.address + i, 1) == 1 && server.address[i];)
        i++;
    close(ends[0]);
    CHECK_EQ(kill(pid, SIGKILL), 0);
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    server_create(&server, "Late", ident);
    covey_conn *conn = server_connect(&server);
    REQUEST(conn, NULL, "shutdown", "()");
    REPLIES(conn, "#RETURN", "None");
    covey_conn_free(conn);
    while (waitpid(-1, NULL, 0) > 0) /* it was the test's to reap, an orphan */
        continue;
}

/* ---- how it fails ---- */

TEST_EACH_METHOD_AND_THREAD(what_it_returns_is_told)
{
    start_one_before();
    fails((struct act){.result = 42}, "the initializer returned 42");
    fails((struct act){.result = -7}, "the initializer returned -7");
    fails((struct act){.fate = FAILS_BY_CALL},
          "the initializer returned -22: covey_manager_register: the class is NULL");
}

TEST_EACH_METHOD(how_it_ends_the_process_is_told)
{
    start_one_before();
    fails((struct act){.fate = EXITS}, "(pid ");
    CHECK_STR_HAS(covey_error_detail(), ") ended with exit code 3");
    fails((struct act){.fate = EXITS_BY_COVEY}, "ended with exit code 4");
    fails((struct act){.fate = EXITS_AT_ONCE}, "ended with exit code 6");
    fails((struct act){.fate = IS_KILLED}, "ended with signal SIGKILL");
    fails((struct act){.fate = CRASHES}, "ended with signal SIGSEGV");
}

TEST_TIMEOUT(how_it_ends_a_thread_is_told, 30)
{
    struct act a = {.fate = EXITS_BY_COVEY};
    covey_manager *none = NULL;
    CHECK_ERR(covey_manager_start(
                  &none, COVEY_MANAGER_OPTS(.method = COVEY_THREAD, .initializer = act,
                                            .initarg = COVEY_VIEW_OF(a))),
              COVEY_ESTART);
    CHECK_STR_HAS(covey_error_detail(), "ended with exit code 4");
}

/* Its child has what the manager would have told by. */
TEST_EACH_METHOD(its_end_is_seen_although_its_children_live)
{
    struct act a = {.s = share(), .fate = LEAVES_A_CHILD};
    covey_manager *none = NULL;
    int64_t begin = cvy_os_now();
    CHECK_ERR(start_with(&none, act, COVEY_VIEW_OF(a), PATIENT), COVEY_ESTART);
    CHECK_STR_HAS(covey_error_detail(), "ended with exit code 5");
    CHECK_LT(cvy_os_now() - begin, PATIENT / 2);
    family_tell(&a.s->go);
    await_gone(a.s->numbers[1]);
    (void)waitpid(a.s->numbers[1], NULL, 0); /* it may be the test's, an orphan */
}

TEST_EACH_METHOD(one_that_hangs_has_the_time_to_start)
{
    struct act a = {.s = share(), .fate = HANGS};
    covey_manager *none = NULL;
    int64_t begin = cvy_os_now();
    CHECK_ERR(start_with(&none, act, COVEY_VIEW_OF(a), COVEY_MSEC(700)), COVEY_ESTART);
    CHECK_STR_HAS(covey_error_detail(), "Manager-1 took too long");
    CHECK_GE(cvy_os_now() - begin, COVEY_MSEC(700));
    CHECK_LT(cvy_os_now() - begin, COVEY_SEC(10));
}

static int wait_a_while(struct covey_view unused)
{
    (void)unused;
    usleep(300000);
    return 0;
}

TEST_TIMEOUT(a_thread_that_is_late_ends, 30)
{
    covey_manager *none = NULL;
    CHECK_ERR(
        covey_manager_start(&none, COVEY_MANAGER_OPTS(.method = COVEY_THREAD,
                                                      .initializer = wait_a_while,
                                                      .start_timeout = COVEY_MSEC(50))),
        COVEY_ESTART);
    CHECK_STR_HAS(covey_error_detail(), "Manager-1 took too long");
}

static int tell_end(struct covey_view arg)
{
    family_tell(&shared_of(arg)->ended);
    return 0;
}

static int fail_with_a_hook(struct covey_view arg)
{
    CHECK_OK(covey_at_exit(tell_end, arg, 0));
    return 1;
}

TEST_EACH_METHOD(a_manager_whose_initializer_fails_ends_in_order)
{
    covey_manager *none = NULL;
    struct shared *s = share();
    CHECK_ERR(start_with(&none, fail_with_a_hook, COVEY_VIEW_OF(s), 0), COVEY_ESTART);
    CHECK_EQ(atomic_load(&s->ended), 1);
}

TEST_EACH_METHOD_AND_THREAD(bad_options_are_refused)
{
    covey_manager *none = NULL;
    void *heap = malloc(1);
    covey_target_fn *nowhere;
    memcpy(&nowhere, &heap, sizeof nowhere);
    CHECK_ERR(start_with(&none, act, COVEY_VIEW(NULL, 8), 0), -EINVAL);
    CHECK_ERR(start_with(&none, nowhere, COVEY_NO_VIEW, 0), -EINVAL);
    CHECK_STR_HAS(covey_error_detail(), "a function of the program");
    CHECK_ERR(covey_manager_serve_forever(COVEY_MANAGER_OPTS(.initializer = act)),
              -EINVAL);
    CHECK_STR_HAS(covey_error_detail(), ".initializer is for a manager in a child");
    CHECK(!none);
    free(heap);
}

CHECK_MAIN()
