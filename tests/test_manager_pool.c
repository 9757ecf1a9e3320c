/* SPDX-License-Identifier: MIT */
/* Pools of managers, under every start method of managers and workers, with clients in C. */
#include "family.h"
#include "object_help.h"
#include "pool_functions.h"
#include "server_help.h"

static covey_manager *start(struct covey_manager_opts opts)
{
    covey_manager *manager = NULL;
    opts.size = sizeof opts;
    opts.method = check_method();
    threads_fork(); /* a manager in a thread has workers, too */
    CHECK_OK(covey_set_start_method(check_method(), 1)); /* that of workers */
    CHECK_OK(functions_register());
    CHECK_OK(covey_manager_start(&manager, &opts));
    return manager;
}

static covey_proxy *pool_of(covey_manager *manager, int workers)
{
    return created(manager, "Pool", covey_value_int(workers));
}

/* The functions by the names that Python's have in pickles. */
#define SQRT       covey_value_global("math", "sqrt")
#define MUL        covey_value_global("_operator", "mul")
#define SLEEP      covey_value_global("time", "sleep")
#define GETPID     covey_value_global("posix", "getpid")
#define ABORT      covey_value_global("posix", "abort")
#define LATE_ABORT covey_value_global("__main__", "late_abort")
#define GETENV     covey_value_global("os", "getenv")
#define ZEROS      covey_value_global("builtins", "bytes")
#define SETENV     covey_value_global("__main__", "setenv")

/* A call whose result has to have this repr. */
#define GIVES(proxy, wanted, method, ...)                                              \
    do {                                                                               \
        covey_value *given_ = NULL;                                                    \
        struct covey_bytes repr_ = {0};                                                \
        CHECK_OK(covey_proxy_call((proxy), &given_, (method), __VA_ARGS__));           \
        CHECK_OK(covey_value_repr(given_, &repr_));                                    \
        CHECK_STR_EQ((const char *)repr_.data, (wanted));                              \
        covey_value_free(given_);                                                      \
        covey_bytes_free(&repr_);                                                      \
    } while (0)

/* A call that has to raise this, with this in its text. */
#define RAISES(proxy, type, text, method, ...)                                         \
    do {                                                                               \
        CHECK_ERR(covey_proxy_call((proxy), NULL, (method), __VA_ARGS__),              \
                  COVEY_EREMOTE);                                                      \
        CHECK_STR_EQ(covey_proxy_error_type(), (type));                                \
        CHECK_STR_HAS(covey_proxy_error_text(), (text));                               \
    } while (0)

static covey_proxy *call_proxy(covey_proxy *pool, const char *method, covey_value *args)
{
    covey_proxy *made = NULL;
    CHECK(args);
    CHECK_OK(covey_proxy_call_proxy(pool, &made, method, args, NULL, COVEY_SEC(20)));
    return made;
}

static covey_value *pair(covey_value *function, covey_value *args)
{
    covey_value *both = NULL;
    CHECK_OK(covey_value_pack(&both, "(N, N)", function, args));
    return both;
}

static covey_value *numbers(int from, int to)
{
    covey_value *list = covey_value_list();
    for (int i = from; i < to; i++)
        CHECK_OK(covey_value_append(list, covey_value_int(i)));
    return list;
}

static int make_object(covey_request *request)
{
    int self = 0;
    CHECK_ERR(covey_request_return_object(request, "Pool", &self), -ENOTSUP);
    CHECK_ERR(covey_request_return_new(request, "list", NULL, NULL), -ENOTSUP);
    CHECK_STR_HAS(covey_error_detail(), "in a function");
    return covey_request_return(request, covey_value_str("no object"));
}

TEST_EACH_METHOD(a_function_makes_no_objects)
{
    CHECK_OK(covey_manager_register_function("__main__.make_object", make_object));
    covey_manager *manager = start((struct covey_manager_opts){0});
    covey_proxy *pool = pool_of(manager, 1);
    GIVES(pool, "'no object'", "apply", "(N)",
          covey_value_global("__main__", "make_object"));
    covey_proxy_free(pool);
    manager_end(manager);
}

TEST_EACH_METHOD_AND_THREAD(a_pool_calls_registered_functions)
{
    covey_manager *manager = start((struct covey_manager_opts){0});
    covey_proxy *pool = pool_of(manager, 2);
    GIVES(pool, "4.0", "apply", "(N, (i))", SQRT, 16);
    GIVES(pool, "[1.0, 2.0, 3.0]", "map", "(N, [i, i, i])", SQRT, 1, 4, 9);
    GIVES(pool, "[2, 12]", "starmap", "(N, [(i, i), (i, i)])", MUL, 1, 2, 3, 4);
    GIVES(pool, "[]", "map", "(N, [])", SQRT);
    GIVES(pool, "(1+2j)", "apply", "(N, (d), {s: d})",
          covey_value_global("builtins", "complex"), 1.0, "imag", 2.0);
    RAISES(pool, "ValueError", "math domain error", "map", "(N, [i, i])", SQRT, 1, -1);
    RAISES(pool, "NotImplementedError", "'os.system'", "apply", "(N, (s))",
           covey_value_global("os", "system"), "true");
    RAISES(pool, "TypeError", "'int' object is not callable", "apply", "(i)", 5);
    RAISES(pool, "ValueError", "Pool is still running", "join", "()");
    GIVES(pool, "None", "close", "()");
    RAISES(pool, "ValueError", "Pool not running", "apply", "(N)", GETPID);
    GIVES(pool, "None", "join", "()");
    GIVES(pool, "None", "join", "()");
    GIVES(pool, "None", "terminate", "()");
    covey_proxy_free(pool);
    manager_end(manager);
}

TEST_EACH_METHOD(results_come_when_they_are_asked_for)
{
    covey_manager *manager = start((struct covey_manager_opts){0});
    covey_proxy *pool = pool_of(manager, 2);
    covey_proxy *result = call_proxy(pool, "map_async", pair(SQRT, numbers(0, 3)));
    GIVES(result, "None", "wait", "()");
    GIVES(result, "True", "ready", "()");
    GIVES(result, "True", "successful", "()");
    GIVES(result, "[0.0, 1.0, 1.4142135623730951]", "get", "()");
    GIVES(result, "[0.0, 1.0, 1.4142135623730951]", "get", "(i)", 1);
    covey_proxy_free(result);
    result = call_proxy(pool, "apply_async", pair(SLEEP, numbers(100, 101)));
    GIVES(result, "False", "ready", "()");
    RAISES(result, "ValueError", "not ready", "successful", "()");
    RAISES(result, "TimeoutError", "", "get", "(d)", 0.05);
    GIVES(result, "None", "wait", "(d)", 0.05);
    GIVES(pool, "None", "terminate", "()");
    RAISES(result, "RuntimeError", "the pool was terminated", "get", "()");
    GIVES(result, "False", "successful", "()");
    covey_proxy_free(result);
    covey_proxy_free(pool);
    manager_end(manager);
}

TEST_EACH_METHOD(iterators_give_results_one_by_one)
{
    covey_manager *manager = start((struct covey_manager_opts){0});
    covey_proxy *pool = pool_of(manager, 2);
    covey_proxy *it = call_proxy(pool, "imap", pair(SQRT, numbers(-1, 2)));
    RAISES(it, "ValueError", "math domain error", "__next__", "()");
    GIVES(it, "0.0", "__next__", "()");
    GIVES(it, "1.0", "__next__", "(i)", 10);
    RAISES(it, "StopIteration", "", "__next__", "()");
    RAISES(it, "AttributeError", "", "close", "()");
    covey_proxy_free(it);
    it = call_proxy(pool, "imap_unordered", pair(SQRT, numbers(4, 5)));
    GIVES(it, "2.0", "__next__", "()");
    RAISES(it, "StopIteration", "", "__next__", "()");
    covey_proxy_free(it);
    it = call_proxy(pool, "imap", pair(SLEEP, numbers(100, 101)));
    RAISES(it, "TimeoutError", "", "__next__", "(d)", 0.05);
    covey_proxy_free(it);
    covey_proxy_free(pool);
    manager_end(manager);
}

TEST_EACH_METHOD(a_worker_that_is_killed_is_an_error_and_no_hang)
{
    covey_manager *manager = start((struct covey_manager_opts){0});
    covey_proxy *pool = pool_of(manager, 2);
    covey_proxy *it;
    RAISES(pool, "RuntimeError", "SIGKILL", "apply", "(N)", ABORT);
    RAISES(pool, "RuntimeError", "posix.abort", "map", "(N, [(), ()])", ABORT);
    GIVES(pool, "1.0", "apply", "(N, (i))", SQRT, 1);
    it = call_proxy(pool, "imap", pair(ABORT, numbers(0, 1)));
    RAISES(it, "RuntimeError", "SIGKILL", "__next__", "()");
    RAISES(it, "StopIteration", "", "__next__", "()");
    GIVES(pool, "[1.0, 2.0]", "map", "(N, [i, i])", SQRT, 1, 4);
    covey_proxy_free(it);
    covey_proxy_free(pool);
    manager_end(manager);
}

/* A manager's handler of SIGTERM is none of its workers'. */
TEST_EACH_METHOD(a_worker_dies_of_signals_that_end_managers)
{
    covey_manager *manager = start((struct covey_manager_opts){0});
    covey_proxy *pool = pool_of(manager, 1);
    RAISES(pool, "RuntimeError", "SIGTERM", "apply", "(N, (i))",
           covey_value_global("_signal", "raise_signal"), SIGTERM);
    GIVES(pool, "1.0", "apply", "(N, (i))", SQRT, 1);
    covey_proxy_free(pool);
    manager_end(manager);
}

static void add_pool_args(covey_value **args, covey_value *function, const char *name,
                          const char *value)
{
    CHECK_OK(covey_value_pack(args, "(i, N, (s, s))", 1, function, name, value));
}

TEST_EACH_METHOD(initializers_run_in_each_worker)
{
    covey_manager *manager = start((struct covey_manager_opts){0});
    covey_proxy *pool;
    covey_value *args;
    add_pool_args(&args, SETENV, "COVEY_TEST_POOL", "ready");
    CHECK_OK(covey_proxy_create(&pool, manager, "Pool", args, NULL));
    GIVES(pool, "'ready'", "apply", "(N, (s))", GETENV, "COVEY_TEST_POOL");
    RAISES(pool, "RuntimeError", "SIGKILL", "apply", "(N)", ABORT);
    GIVES(pool, "'ready'", "apply", "(N, (s))", GETENV, "COVEY_TEST_POOL");
    covey_proxy_free(pool);
    add_pool_args(&args, SETENV, "=", "is no name");
    CHECK_OK(covey_proxy_create(&pool, manager, "Pool", args, NULL));
    RAISES(pool, "RuntimeError", "workers keep dying", "apply", "(N)", GETPID);
    covey_proxy_free(pool);
    add_pool_args(&args, covey_value_global("os", "_exit"), "", "");
    CHECK_ERR(covey_proxy_create(&pool, manager, "Pool", args, NULL), COVEY_EREMOTE);
    CHECK_STR_HAS(covey_error_detail(), "no function 'os._exit' registered");
    manager_end(manager);
}

TEST_EACH_METHOD(workers_are_replaced_after_so_many_chunks)
{
    covey_manager *manager = start((struct covey_manager_opts){0});
    covey_proxy *pool;
    covey_value *args, *first, *second;
    int64_t pids[2] = {0};
    CHECK_OK(covey_value_pack(&args, "(i, z, (), i)", 1, NULL, 1));
    CHECK_OK(covey_proxy_create(&pool, manager, "Pool", args, NULL));
    CHECK_OK(covey_proxy_call(pool, &first, "apply", "(N)", GETPID));
    CHECK_OK(covey_proxy_call(pool, &second, "apply", "(N)", GETPID));
    CHECK_OK(covey_value_get_int(first, &pids[0]));
    CHECK_OK(covey_value_get_int(second, &pids[1]));
    CHECK_NE(pids[0], pids[1]);
    covey_value_free(first);
    covey_value_free(second);
    covey_proxy_free(pool);
    manager_end(manager);
}

TEST_EACH_METHOD(a_manager_has_no_more_workers_than_it_may)
{
    covey_manager *manager = start((struct covey_manager_opts){.max_workers = 3});
    covey_proxy *pool = pool_of(manager, 2), *second;
    covey_value *args;
    CHECK_OK(covey_value_pack(&args, "(i)", 2));
    CHECK_ERR(covey_proxy_create(&second, manager, "Pool", args, NULL), COVEY_EREMOTE);
    CHECK_STR_HAS(covey_error_detail(), "limit of 3");
    GIVES(pool, "None", "terminate", "()");
    second = pool_of(manager, 3);
    GIVES(second, "0.0", "apply", "(N, (i))", SQRT, 0);
    covey_proxy_free(second);
    covey_proxy_free(pool);
    manager_end(manager);
}

/* ---- ends ---- */

static int pid_of_worker(covey_proxy *pool)
{
    covey_value *value;
    int64_t pid = 0;
    CHECK_OK(covey_proxy_call(pool, &value, "apply", "(N)", GETPID));
    CHECK_OK(covey_value_get_int(value, &pid));
    covey_value_free(value);
    return (int)pid;
}

TEST_EACH_METHOD(a_pool_ends_with_its_last_reference)
{
    covey_manager *manager = start((struct covey_manager_opts){0});
    covey_proxy *pool = pool_of(manager, 1);
    int pid = pid_of_worker(pool);
    covey_proxy *result =
        call_proxy(pool, "apply_async", pair(SLEEP, numbers(100, 101)));
    covey_proxy_free(pool);
    RAISES(result, "TimeoutError", "", "get", "(d)", 0.05); /* it keeps the pool */
    CHECK_EQ(kill(pid, 0), 0);
    covey_proxy_free(result);
    await_gone(pid);
    manager_end(manager);
}

TEST_EACH_METHOD(what_is_asked_for_comes_though_the_pool_is_not_referred_to)
{
    covey_manager *manager = start((struct covey_manager_opts){0});
    covey_proxy *pool = pool_of(manager, 1);
    int pid = pid_of_worker(pool);
    covey_proxy *result = call_proxy(pool, "map_async", pair(SQRT, numbers(0, 2)));
    covey_proxy_free(pool);
    GIVES(result, "[0.0, 1.0]", "get", "()");
    await_gone(pid);
    GIVES(result, "[0.0, 1.0]", "get", "()");
    covey_proxy_free(result);
    manager_end(manager);
}

TEST_EACH_METHOD(a_manager_that_is_shut_down_ends_its_pools)
{
    covey_manager *manager = start((struct covey_manager_opts){0});
    covey_proxy *pool = pool_of(manager, 1);
    int pid = pid_of_worker(pool);
    covey_proxy *result =
        call_proxy(pool, "apply_async", pair(SLEEP, numbers(100, 101)));
    manager_end(manager);
    await_gone(pid);
    covey_proxy_free(result);
    covey_proxy_free(pool);
}

TEST_EACH_METHOD(workers_end_with_a_manager_that_is_killed)
{
    covey_manager *manager = start((struct covey_manager_opts){0});
    covey_proxy *pool = pool_of(manager, 1);
    int pid = pid_of_worker(pool);
    CHECK_EQ(kill(manager_pid(), SIGKILL), 0);
    await_gone(pid);
    CHECK_OK(covey_manager_shutdown(manager, COVEY_SEC(20)));
    covey_proxy_free(pool);
    covey_manager_free(manager);
}

/* Workers by fork have copies of what the manager has, and are to let go of it. */
TEST_EACH_METHOD(clients_whom_the_manager_leaves_see_that)
{
    struct server server = {0};
    covey_manager *manager = start((struct covey_manager_opts){.authkey = SERVER_KEY});
    covey_value *value;
    snprintf(server.address, sizeof server.address, "%s",
             covey_manager_address(manager));
    covey_conn *early = server_connect(&server);
    covey_proxy *pool = pool_of(manager, 2);
    GIVES(pool, "[0.0, 1.0]", "map", "(N, [i, i])", SQRT, 0, 1);
    REQUEST(early, NULL, "dummy", "()");
    REPLIES(early, "#RETURN", "None");
    CHECK_EQ(covey_conn_recv_value(early, &value, NULL, COVEY_SEC(20)), COVEY_EEOF);
    covey_conn_free(early);
    covey_proxy_free(pool);
    manager_end(manager);
}

/* ---- many ---- */

TEST_EACH_METHOD(what_a_request_makes_of_its_arguments_is_limited)
{
    covey_manager *manager = start(
        (struct covey_manager_opts){.max_message = 1 << 20, .max_bytes = 1 << 20});
    covey_proxy *pool = pool_of(manager, 1);
    static char megabyte[900000];
    covey_value *list = covey_value_list();
    covey_value *text = covey_value_bytes(megabyte, sizeof megabyte), *args;
    for (int i = 0; i < 10; i++)
        CHECK_OK(covey_value_append(list, covey_value_ref(text)));
    CHECK_OK(covey_value_pack(&args, "(N, N, i)", covey_value_global("builtins", "len"),
                              list, 1));
    CHECK_ERR(covey_proxy_call_values(pool, NULL, "map", args, NULL, COVEY_SEC(20)),
              COVEY_EREMOTE);
    CHECK_STR_EQ(covey_proxy_error_type(), "MemoryError");
    GIVES(pool, "[900000]", "map", "(N, [N])", covey_value_global("builtins", "len"),
          text);
    covey_proxy_free(pool);
    manager_end(manager);
}

/* Each part would be pickled, only to be refused: the loop would do nothing else. */
TEST_EACH_METHOD(parts_that_are_refused_keep_nobody_waiting)
{
    enum { PARTS = 50000 };
    covey_manager *manager = start(
        (struct covey_manager_opts){.max_message = 1 << 20, .max_bytes = 4 << 20});
    covey_proxy *pool = pool_of(manager, 1), *list;
    static char most_of_a_megabyte[900000];
    covey_value *text =
        covey_value_bytes(most_of_a_megabyte, sizeof most_of_a_megabyte);
    covey_value *items = covey_value_list();
    for (int i = 0; i < PARTS; i++)
        CHECK_OK(covey_value_append(items, covey_value_ref(text)));
    covey_proxy *it =
        call_proxy(pool, "imap", pair(covey_value_global("builtins", "len"), items));
    list = new_object(manager, "list");
    GIVES(list, "0", "__len__", "()");
    for (int i = 0; i < 5; i++)
        GIVES(it, "900000", "__next__", "()");
    for (int i = 0; i < 100; i++)
        RAISES(it, "MemoryError", "more memory than the manager grants", "__next__",
               "()");
    covey_value_free(text);
    covey_proxy_free(it);
    covey_proxy_free(list);
    covey_proxy_free(pool);
    manager_end(manager);
}

TEST_EACH_METHOD(many_parts_end_with_their_pool)
{
    enum { PARTS = 100000 };
    covey_manager *manager = start((struct covey_manager_opts){0});
    covey_proxy *pool = pool_of(manager, 1);
    covey_proxy *it = call_proxy(pool, "imap", pair(SLEEP, numbers(100, 100 + PARTS)));
    covey_proxy *dropped =
        call_proxy(pool, "imap_unordered", pair(SLEEP, numbers(100, 100 + PARTS)));
    covey_proxy *faulty = /* after all others, in many turns */
        call_proxy(pool, "imap", pair(covey_value_int(5), numbers(0, PARTS)));
    covey_proxy_free(dropped);
    GIVES(pool, "None", "terminate", "()");
    for (int i = 0; i < 10; i++)
        RAISES(it, "RuntimeError", "the pool was terminated", "__next__", "()");
    RAISES(faulty, "RuntimeError", "the pool was terminated", "__next__", "()");
    covey_proxy_free(faulty);
    covey_proxy_free(it);
    covey_proxy_free(pool);
    manager_end(manager);
}

TEST_EACH_METHOD(a_turn_goes_on_with_parts_that_fail_in_the_next)
{
    enum { PARTS = 5000 };
    covey_manager *manager = start((struct covey_manager_opts){0});
    covey_proxy *pool = pool_of(manager, 1);
    covey_proxy *it =
        call_proxy(pool, "imap", pair(covey_value_int(5), numbers(0, PARTS)));
    for (int i = 0; i < PARTS; i++)
        RAISES(it, "TypeError", "'int' object is not callable", "__next__", "()");
    RAISES(it, "StopIteration", "", "__next__", "()");
    GIVES(pool, "1.0", "apply", "(N, (i))", SQRT, 1);
    covey_proxy_free(it);
    covey_proxy_free(pool);
    manager_end(manager);
}

TEST_EACH_METHOD(parts_are_charged)
{
    enum { PARTS = 50000 };
    covey_manager *manager =
        start((struct covey_manager_opts){.max_bytes = 800 * 1000});
    covey_proxy *pool = pool_of(manager, 1);
    covey_value *args = pair(SQRT, numbers(0, PARTS));
    CHECK_ERR(covey_proxy_call_values(pool, NULL, "imap", args, NULL, COVEY_SEC(20)),
              COVEY_EREMOTE);
    CHECK_STR_EQ(covey_proxy_error_type(), "MemoryError");
    GIVES(pool, "1.0", "apply", "(N, (i))", SQRT, 1);
    covey_proxy_free(pool);
    manager_end(manager);
}

/* A worker is not asked how much it gives. */
TEST_EACH_METHOD(results_are_limited_as_all_that_is_kept)
{
    if (family_is_sanitized())
        return; /* there nobody knows what is allocated */
    covey_manager *manager = start(
        (struct covey_manager_opts){.max_memory = 32 << 20, .max_reply = 4 << 20});
    covey_proxy *pool = pool_of(manager, 1);
    covey_value *sizes = covey_value_list(), *args;
    for (int i = 0; i < 100; i++)
        CHECK_OK(covey_value_append(sizes, covey_value_int(1 << 20)));
    CHECK_OK(covey_value_pack(&args, "(N, N, i)", ZEROS, sizes, 1));
    RAISES(pool, "MemoryError", "the most is", "apply", "(N, (i))", ZEROS, 5 << 20);
    covey_proxy *result = call_proxy(pool, "map_async", args);
    RAISES(result, "MemoryError", "more memory than it may", "get", "()");
    GIVES(pool, "1.0", "apply", "(N, (i))", SQRT, 1);
    covey_proxy_free(result);
    covey_proxy_free(pool);
    manager_end(manager);
}

TEST_EACH_METHOD_TIMEOUT(nobody_waits_for_those_who_wait, 60)
{
    enum { WAITERS = 200 };
    struct server server = {0};
    covey_manager *manager = start((struct covey_manager_opts){.authkey = SERVER_KEY});
    covey_proxy *pool = pool_of(manager, 1), *list;
    covey_proxy *busy = call_proxy(pool, "map_async", pair(LATE_ABORT, numbers(0, 1)));
    covey_conn *waiting[WAITERS];
    const char *ident = covey_proxy_ident(pool);
    snprintf(server.address, sizeof server.address, "%s",
             covey_manager_address(manager));
    for (int i = 0; i < WAITERS; i++) {
        waiting[i] = server_session(&server, "waits");
        REQUEST(waiting[i], ident, "apply", "(N, (i))", SQRT, i * i);
    }
    list = new_object(manager, "list");
    GIVES(list, "0", "__len__", "()");
    for (int i = 0; i < WAITERS; i++) {
        char number[16];
        snprintf(number, sizeof number, "%d.0", i);
        REPLIES(waiting[i], "#RETURN", number);
        covey_conn_free(waiting[i]);
    }
    RAISES(busy, "RuntimeError", "SIGKILL", "get", "()");
    covey_proxy_free(busy);
    covey_proxy_free(list);
    covey_proxy_free(pool);
    manager_end(manager);
}

TEST_EACH_METHOD_TIMEOUT(long_inputs_go_in_parts, 60)
{
    enum { ITEMS = 20000 };
    covey_manager *manager = start((struct covey_manager_opts){0});
    covey_proxy *pool = pool_of(manager, 2);
    covey_value *args = pair(SQRT, numbers(0, ITEMS)), *list;
    double last = 0;
    CHECK_OK(covey_proxy_call_values(pool, &list, "map", args, NULL, COVEY_SEC(30)));
    CHECK_EQ(covey_value_count(list), ITEMS);
    CHECK_OK(covey_value_get_float(covey_value_at(list, 10000), &last));
    CHECK(last == 100.0);
    covey_value_free(list);
    CHECK_OK(covey_value_pack(&args, "(N, N, i)", SQRT, numbers(0, ITEMS), 1));
    CHECK_OK(covey_proxy_call_values(pool, &list, "map", args, NULL, COVEY_SEC(30)));
    CHECK_EQ(covey_value_count(list), ITEMS);
    covey_value_free(list);
    covey_proxy_free(pool);
    manager_end(manager);
}

TEST_EACH_METHOD(a_manager_without_functions_has_no_pools)
{
    covey_manager *manager;
    covey_proxy *pool;
    CHECK_OK(
        covey_manager_start(&manager, COVEY_MANAGER_OPTS(.method = check_method())));
    CHECK_ERR(covey_proxy_create(&pool, manager, "Pool", NULL, NULL), COVEY_EREMOTE);
    CHECK_STR_HAS(covey_error_detail(), "registered no functions");
    manager_end(manager);
}

TEST(names_and_functions_are_checked)
{
    CHECK_ERR(covey_manager_register_function(NULL, function_sqrt), -EINVAL);
    CHECK_ERR(covey_manager_register_function("", function_sqrt), -EINVAL);
    CHECK_ERR(covey_manager_register_function(".sqrt", function_sqrt), -EINVAL);
    CHECK_ERR(covey_manager_register_function("math.", function_sqrt), -EINVAL);
    CHECK_ERR(covey_manager_register_function("math.sqrt", NULL), -EINVAL);
    CHECK_OK(covey_manager_register_function("math.sqrt", function_sqrt));
}

CHECK_MAIN()
