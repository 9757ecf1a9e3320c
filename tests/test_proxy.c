/* SPDX-License-Identifier: MIT */
/* Proxies of objects in the managers of every CPython of this machine: making and letting
 * go, errors, proxies in values, processes, threads, calls that are not awaited. */
#include "manager/client.h"
#include "proxy_help.h"

/* ---- managers ---- */

TEST_TIMEOUT(a_manager_is_found_by_any_address, 120)
{
    char path[64];
    snprintf(path, sizeof path, "/tmp/covey-test-proxy-%d", (int)getpid());
    const char *const addresses[] = {"127.0.0.1:0", path, "@covey-test-proxy"};
    EACH_PYTHON(p)
    for (int i = 0; i < (p->minor >= 8 ? 3 : 2); i++) {
        struct server s = server_start(p, STOCK, addresses[i]);
        covey_manager *m = manager_at(s.address, MD5_OF(p));
        CHECK_STR_EQ(covey_manager_address(m), s.address);
        covey_proxy *l = created(m, "list", numbers(3));
        CHECK_EQ(count_of(m), 1);
        holds(l, "[0, 1, 2]");
        covey_proxy_free(l);
        CHECK_EQ(count_of(m), 0);
        covey_manager_free(m);
        server_kill(&s);
        unlink(path);
    }
}

TEST_TIMEOUT(without_the_key_there_is_no_manager, 120)
{
    covey_manager *m = NULL;
    EACH_PYTHON(p)
    {
        struct server s = server_start(p, STOCK, "127.0.0.1:0");
        CHECK_ERR(
            covey_manager_connect(&m, s.address,
                                  COVEY_CONNECT_OPTS(.authkey = COVEY_VIEW("other", 5),
                                                     .allow_md5 = COVEY_ON),
                                  PATIENT),
            COVEY_EAUTH);
        CHECK_STR_HAS(covey_error_detail(), s.address);
        if (p->minor < 12)
            CHECK_ERR(covey_manager_connect(&m, s.address,
                                            COVEY_CONNECT_OPTS(.authkey = SECRET),
                                            PATIENT),
                      COVEY_EAUTH);
        server_kill(&s);
    }
    CHECK(!m);
}

TEST(nobody_there_is_an_error)
{
    covey_manager *m = NULL;
    CHECK_ERR(covey_manager_connect(&m, "127.0.0.1:1", NULL, PATIENT), -ECONNREFUSED);
    CHECK_ERR(covey_manager_connect(&m, "/tmp/covey-no-such", NULL, PATIENT), -ENOENT);
    CHECK_ERR(covey_manager_connect(&m, "no address", NULL, PATIENT), -EINVAL);
    CHECK_ERR(covey_manager_connect(&m, NULL, NULL, PATIENT), -EINVAL);
    CHECK_ERR(covey_manager_connect(NULL, "/tmp/x", NULL, PATIENT), -EINVAL);
    CHECK_ERR(covey_manager_connect(
                  &m, "/tmp/x",
                  COVEY_CONNECT_OPTS(.authkey = SECRET, .no_key = COVEY_ON), PATIENT),
              -EINVAL);
    CHECK(!m);
    CHECK(!covey_manager_address(NULL));
    covey_manager_free(NULL);
    covey_proxy_free(NULL);
    covey_reply_free(NULL);
    CHECK_ERR(covey_proxy_call(NULL, NULL, "x", NULL), -EINVAL);
    CHECK(!covey_proxy_type(NULL));
}

TEST_TIMEOUT(a_manager_tells_of_itself_and_ends, 120)
{
    EACH_PYTHON(p)
    {
        struct covey_bytes info = {0};
        struct server s = server_start(p, STOCK, "127.0.0.1:0");
        covey_manager *m = manager_at(s.address, MD5_OF(p));
        covey_proxy *l = created(m, "list", NULL);
        CHECK_OK(covey_manager_debug_info(m, &info));
        CHECK_STR_HAS((const char *)info.data, covey_proxy_ident(l));
        covey_bytes_free(&info);
        CHECK_OK(covey_manager_shutdown(m, PATIENT));
        python_ends(&s.beside, p, "");
        CHECK_ERR(covey_list_append(l, covey_value_int(1)), -ECONNREFUSED);
        covey_proxy_free(l);
        covey_manager_free(m);
    }
}

TEST_TIMEOUT(a_restarted_manager_says_that_it_has_no_such_object, 120)
{
    EACH_PYTHON(p)
    {
        struct server s = server_start(p, STOCK, "127.0.0.1:0");
        covey_manager *m = NULL;
        CHECK_OK(covey_manager_connect(
            &m, s.address,
            COVEY_CONNECT_OPTS(.authkey = SECRET, .allow_md5 = MD5_OF(p),
                               .timeout = PATIENT, .reconnect = PATIENT),
            PATIENT));
        covey_proxy *l = created(m, "list", numbers(3));
        holds(l, "[0, 1, 2]");
        server_kill(&s);
        s = server_start(p, STOCK, s.address);
        CHECK_ERR(covey_list_append(l, covey_value_int(1)), -ESTALE);
        CHECK_STR_HAS(covey_error_detail(), "list.append at 127.0.0.1:");
        CHECK_STR_HAS(covey_error_detail(), covey_proxy_ident(l));
        CHECK_STR_HAS(covey_error_detail(), "perhaps it was restarted");
        covey_proxy *other = created(m, "list", numbers(2));
        holds(other, "[0, 1]");
        covey_proxy_free(other);
        covey_proxy_free(l);
        covey_manager_free(m);
        server_kill(&s);
    }
}

/* ---- texts and errors ---- */

static void texts(covey_manager *m, const struct python *p)
{
    char wanted[128];
    struct covey_bytes text = {0};
    covey_value *v = NULL;
    covey_proxy *l = created(m, "list", NULL), *q = created(m, "Queue", NULL);
    (void)p;
    snprintf(wanted, sizeof wanted, "<ListProxy object, typeid 'list' at %p>",
             (void *)l);
    CHECK_OK(covey_proxy_repr(l, &text));
    CHECK_STR_EQ((const char *)text.data, wanted);
    snprintf(wanted, sizeof wanted, "<AutoProxy[Queue] object, typeid 'Queue' at %p>",
             (void *)q);
    CHECK_OK(covey_proxy_repr(q, &text));
    CHECK_STR_EQ((const char *)text.data, wanted);
    CHECK_OK(covey_proxy_methods(l, &v));
    covey_value *name = covey_value_str("append");
    CHECK_EQ(covey_value_has(v, name), 1);
    covey_value_free(name);
    covey_value_free(v);
    covey_bytes_free(&text);
    covey_proxy_free(l);
    covey_proxy_free(q);
}

TEST_TIMEOUT(proxies_print_as_in_python, 120)
{
    with_each_manager(texts);
}

static void errors(covey_manager *m, const struct python *p)
{
    covey_value *v = NULL;
    covey_proxy *l = created(m, "list", NULL), *other = NULL;
    (void)p;
    CHECK_ERR(covey_proxy_call(l, &v, "pop", "()"), COVEY_EREMOTE);
    failed_by("IndexError", "pop from empty list");
    CHECK_EQ(covey_value_is(covey_value_class(covey_proxy_error_value()), "builtins",
                            "IndexError"),
             1);
    CHECK_STR_HAS(covey_error_detail(), "list.pop at 127.0.0.1:");
    CHECK_ERR(covey_proxy_call(l, &v, "no_such", "()"), COVEY_EREMOTE);
    CHECK_STR_EQ(covey_proxy_error_type(), "RemoteError");
    CHECK_STR_HAS(covey_proxy_error_text(), "Traceback");
    CHECK_STR_HAS(covey_error_detail(), "list.no_such at 127.0.0.1:");
    CHECK(!covey_proxy_error_value());
    CHECK_ERR(covey_proxy_call(l, &v, "append", "()"), COVEY_EREMOTE);
    CHECK_STR_EQ(covey_proxy_error_type(), "TypeError");
    CHECK_ERR(covey_proxy_call(l, &v, "append", "[i]", 1), COVEY_ETYPE);
    CHECK_ERR(covey_proxy_call(l, &v, "append", "(?)"), -EINVAL);
    CHECK_ERR(covey_proxy_call(l, &v, "", "()"), -EINVAL);
    CHECK_ERR(covey_proxy_create(&other, m, "no_such", NULL, NULL), COVEY_EREMOTE);
    CHECK_STR_HAS(covey_error_detail(), "no_such");
    CHECK_ERR(covey_proxy_create(&other, m, "list", covey_value_list(), NULL),
              COVEY_ETYPE);
    CHECK_ERR(covey_proxy_call_proxy(l, &other, "__len__", NULL, NULL, PATIENT),
              COVEY_ETYPE);
    CHECK(!other && !v);
    covey_proxy_free(l);
    CHECK_ERR(covey_proxy_call(l, &v, "pop", "()"), COVEY_EFREED);
    CHECK_STR_EQ(covey_proxy_error_type(), "");
}

/* Nobody is asked for an object with fewer arguments than were meant. */
static void lacking(covey_manager *m, const struct python *p)
{
    covey_proxy *l = NULL;
    covey_value *args = covey_value_tuple(), *kwargs = covey_value_dict();
    size_t before = count_of(m);
    (void)p;
    CHECK_ERR(covey_value_append(args, covey_value_str("\xff")), -EILSEQ);
    CHECK_ERR(covey_value_put_str(kwargs, "x", covey_value_str("\xff")), -EILSEQ);
    CHECK_ERR(covey_proxy_create(&l, m, "list", args, NULL), -EILSEQ);
    CHECK_ERR(covey_proxy_create(&l, m, "list", NULL, kwargs), -EILSEQ);
    CHECK(!l);
    CHECK_EQ(count_of(m), before);
}

TEST_TIMEOUT(arguments_that_are_not_whole_make_nothing, 120)
{
    with_each_manager(lacking);
}

TEST_TIMEOUT(errors_say_what_python_said, 120)
{
    with_each_manager(errors);
}

static const char custom[] =
    SERVER "q = queue.Queue()\n"
           "class Maths(object):\n"
           "    def add(self, a, b=10): return a + b\n"
           "    def unpicklable(self): return threading.Lock()\n"
           "    def fail(self): raise ZeroDivisionError('by', 0)\n"
           "    def squares(self, n): return (i * i for i in range(n))\n"
           "    def sleep(self): threading.Event().wait()\n"
           "    def _hidden(self): pass\n"
           "class M(SyncManager): pass\n"
           "M.register('get_queue', callable=lambda: q)\n"
           "M.register('Maths', Maths, method_to_typeid={'squares': 'Iterator'},\n"
           "    exposed=['add', 'unpicklable', 'fail', 'squares', 'sleep'])\n"
           "serve(M)\n";

static void use_custom(covey_manager *m)
{
    covey_value *v = NULL, *kwargs = NULL, *args = NULL;
    covey_proxy *squares = NULL, *maths = created(m, "Maths", NULL);
    CHECK_OK(covey_proxy_call(maths, &v, "add", "(i, i)", 1, 2));
    is(v, "3");
    CHECK_OK(covey_value_pack(&args, "(i)", 1));
    CHECK_OK(covey_value_pack(&kwargs, "{s: i}", "b", 5));
    CHECK_OK(covey_proxy_call_values(maths, &v, "add", args, kwargs, PATIENT));
    is(v, "6");
    CHECK_ERR(covey_proxy_call(maths, &v, "fail", NULL), COVEY_EREMOTE);
    failed_by("ZeroDivisionError", "('by', 0)");
    CHECK_ERR(covey_proxy_call(maths, &v, "unpicklable", NULL), COVEY_EREMOTE);
    CHECK_STR_EQ(covey_proxy_error_type(), "RemoteError");
    CHECK_STR_HAS(covey_proxy_error_text(), "Unserializable message: ");
    CHECK_ERR(covey_proxy_call(maths, &v, "_hidden", NULL), COVEY_EREMOTE);
    CHECK_OK(covey_value_pack(&args, "(i)", 3));
    CHECK_OK(covey_proxy_call_proxy(maths, &squares, "squares", args, NULL, PATIENT));
    for (int i = 0; i < 3; i++) {
        CHECK_EQ(covey_proxy_next(squares, &v), 1);
        CHECK(covey_value_equal(v, covey_value_int(i * i)));
        covey_value_free(v);
    }
    CHECK_EQ(covey_proxy_next(squares, &v), 0);
    covey_proxy_free(squares);
    covey_proxy_free(maths);
}

TEST_TIMEOUT(classes_of_the_managers_own, 120)
{
    EACH_PYTHON(p)
    {
        covey_value *v = NULL;
        struct server s = server_start(p, custom, "127.0.0.1:0");
        covey_manager *m = manager_at(s.address, MD5_OF(p));
        use_custom(m);
        /* Two proxies of one queue that everybody shares. */
        covey_proxy *a = created(m, "get_queue", NULL),
                    *b = created(m, "get_queue", NULL);
        CHECK_STR_EQ(covey_proxy_ident(a), covey_proxy_ident(b));
        CHECK_OK(covey_proxy_queue_put(a, covey_value_str("x"), PATIENT));
        covey_proxy_free(a);
        CHECK_OK(covey_proxy_queue_get(b, &v, PATIENT));
        is(v, "'x'");
        covey_proxy_free(b);
        covey_manager_free(m);
        server_kill(&s);
    }
}

/* ---- proxies in values ---- */

static covey_value *value_of(covey_proxy *proxy)
{
    covey_value *v = NULL;
    CHECK_OK(covey_proxy_to_value(proxy, &v));
    CHECK_EQ(covey_value_is_proxy(v), 1);
    return v;
}

static void nest_dict(covey_manager *m, const struct python *p)
{
    covey_value *v = NULL;
    covey_proxy *back = NULL, *l = created(m, "list", NULL);
    covey_proxy *d = created(m, "dict", NULL);
    (void)p;
    CHECK_OK(covey_list_append(l, value_of(d)));
    CHECK_OK(covey_dict_set(d, covey_value_str("a"), covey_value_int(1)));
    covey_proxy_free(d);
    CHECK_OK(covey_list_get(l, 0, &v));
    CHECK_EQ(covey_value_is_proxy(v), 1);
    CHECK_OK(covey_proxy_from_value(&back, m, v));
    covey_value_free(v);
    holds(back, "{'a': 1}");
    CHECK_STR_EQ(covey_proxy_type(back), "dict");
    covey_proxy_free(back);
    v = covey_value_int(1);
    CHECK_ERR(covey_proxy_from_value(&back, m, v), COVEY_EPROTOCOL);
    CHECK_EQ(covey_value_is_proxy(v), 0);
    covey_value_free(v);
    covey_proxy_free(l);
}

TEST_TIMEOUT(a_list_holds_a_dict_itself, 120)
{
    with_each_manager(nest_dict);
}

static void nest_queue(covey_manager *m, const struct python *p)
{
    covey_value *v = NULL;
    covey_proxy *back = NULL, *l = created(m, "list", NULL);
    covey_proxy *q = created(m, "Queue", NULL);
    int r = covey_list_append(l, value_of(q));
    /* There AutoProxy does not take what RebuildProxy gives it. */
    if (p->minor < 9 && r < 0) {
        CHECK_STR_HAS(covey_error_detail(), "manager_owned");
    } else {
        CHECK_OK(r);
        CHECK_OK(covey_proxy_call_proxy(l, &back, "__getitem__",
                                        cvy_remote_args1(covey_value_int(0)), NULL,
                                        PATIENT));
        CHECK_OK(covey_proxy_queue_put(back, covey_value_int(7), PATIENT));
        CHECK_OK(covey_proxy_queue_get(q, &v, PATIENT));
        is(v, "7");
        covey_proxy_free(back);
    }
    covey_proxy_free(q);
    covey_proxy_free(l);
}

TEST_TIMEOUT(a_list_holds_a_queue_itself, 120)
{
    with_each_manager(nest_queue);
}

/* ---- processes and threads ---- */

struct task {
    covey_proxy *list, *dict;
};

static int add_and_square(struct covey_view arg)
{
    const struct task *t = arg.data;
    covey_value *v = NULL;
    int64_t number;
    CHECK_OK(covey_list_get(t->list, 0, &v));
    CHECK_OK(covey_value_get_int(v, &number));
    covey_value_free(v);
    CHECK_OK(covey_list_set(t->list, 0, covey_value_int(number * number)));
    CHECK_OK(covey_dict_set(
        t->dict, covey_value_str(covey_process_name(covey_current_process())),
        covey_value_int(number)));
    return 0;
}

TEST_EACH_METHOD_TIMEOUT(children_use_their_starters_proxies, 240)
{
    EACH_PYTHON(p)
    {
        struct server s = server_start(p, STOCK, "127.0.0.1:0");
        covey_manager *m = manager_at(s.address, MD5_OF(p));
        struct task t = {created(m, "list", NULL), created(m, "dict", NULL)};
        CHECK_OK(covey_list_append(t.list, covey_value_int(3)));
        CHECK_EQ(run(add_and_square, COVEY_VIEW_OF(t), OPTS(.name = "one")), 0);
        CHECK_EQ(run(add_and_square, COVEY_VIEW_OF(t), OPTS(.name = "two")), 0);
        holds(t.list, "[81]");
        holds(t.dict, "{'one': 3, 'two': 9}");
        CHECK_EQ(count_of(m), 2);
        covey_proxy_free(t.list);
        CHECK_EQ(count_of(m), 1);
        covey_proxy_free(t.dict);
        CHECK_EQ(count_of(m), 0);
        covey_manager_free(m);
        server_kill(&s);
    }
}

/* The last of a family's holders tells the manager, also if it is a child that just ends. */
static int hold_last(struct covey_view arg)
{
    struct shared *s = shared_of(arg);
    covey_proxy *list;
    memcpy(&list, s->text, sizeof list);
    family_tell(&s->begun);
    family_await(&s->go, 1);
    CHECK_OK(covey_list_append(list, covey_value_int(1)));
    return 0;
}

TEST_EACH_METHOD_TIMEOUT(the_last_holder_gives_the_reference_back, 120)
{
    EACH_PYTHON(p)
    {
        struct shared *shared = share();
        struct server s = server_start(p, STOCK, "127.0.0.1:0");
        covey_manager *m = manager_at(s.address, MD5_OF(p));
        covey_proxy *list = created(m, "list", NULL);
        memcpy(shared->text, &list, sizeof list);
        covey_process *child = started(hold_last, COVEY_VIEW_OF(shared), OPTS(0));
        family_await(&shared->begun, 1);
        covey_proxy_free(list);
        CHECK_EQ(count_of(m), 1);
        family_tell(&shared->go);
        CHECK_EQ(end_of(child), 0);
        CHECK_EQ(count_of(m), 0);
        covey_manager_free(m);
        server_kill(&s);
    }
}

/* One that is killed cannot tell; who asks the manager next does. */
TEST_EACH_METHOD_TIMEOUT(a_killed_last_holders_references_are_given_back, 120)
{
    if (check_method() == COVEY_THREAD)
        return;
    EACH_PYTHON(p)
    {
        struct shared *shared = share();
        struct server s = server_start(p, STOCK, "127.0.0.1:0");
        covey_manager *m = manager_at(s.address, MD5_OF(p));
        covey_proxy *list = created(m, "list", NULL), *other = created(m, "dict", NULL);
        memcpy(shared->text, &list, sizeof list);
        covey_process *child = started(hold_last, COVEY_VIEW_OF(shared), OPTS(0));
        family_await(&shared->begun, 1);
        covey_proxy_free(list);
        CHECK_EQ(count_of(m), 2);
        CHECK_OK(covey_process_kill(child));
        CHECK_EQ(end_of(child), -SIGKILL);
        CHECK_EQ(count_of(m), 2); /* and gives back what it hears of */
        CHECK_EQ(count_of(m), 1);
        CHECK_ERR(covey_list_append(list, covey_value_int(1)), COVEY_EFREED);
        covey_proxy_free(other);
        CHECK_EQ(count_of(m), 0);
        covey_manager_free(m);
        server_kill(&s);
    }
}

static int square_item(struct covey_call *call)
{
    covey_proxy *const *list = covey_call_arg(call, NULL);
    covey_value *v = NULL;
    int64_t number;
    int64_t index = (int64_t)covey_call_index(call);
    CHECK_OK(covey_list_get(*list, index, &v));
    CHECK_OK(covey_value_get_int(v, &number));
    covey_value_free(v);
    return covey_list_set(*list, index, covey_value_int(number * number));
}

static void use_in_pool(covey_manager *m, const struct python *p)
{
    covey_proxy *in[8], *list = created(m, "list", numbers(8));
    covey_pool *pool = NULL;
    (void)p;
    for (int i = 0; i < 8; i++)
        in[i] = list;
    CHECK_OK(covey_pool_create(&pool, 2, NULL));
    CHECK_OK(covey_pool_map(pool, square_item, in, sizeof *in, NULL, 0, 8, NULL));
    covey_pool_free(pool);
    holds(list, "[0, 1, 4, 9, 16, 25, 36, 49]");
    covey_proxy_free(list);
}

TEST_TIMEOUT(tasks_of_pools_use_proxies, 120)
{
    with_each_manager(use_in_pool);
}

#define THREADS 4
#define ROUNDS  50

struct worker {
    covey_proxy *list;
    int number;
};

static void *work(void *arg)
{
    const struct worker *w = arg;
    for (int i = 0; i < ROUNDS; i++) {
        covey_value *v = NULL;
        CHECK_OK(covey_list_append(w->list, covey_value_int(w->number)));
        CHECK_OK(covey_list_get(w->list, 0, &v));
        covey_value_free(v);
        CHECK_ERR(covey_list_get(w->list, 100000, &v), -ENOENT);
        CHECK_STR_EQ(covey_proxy_error_type(), "IndexError");
    }
    return NULL;
}

static void use_threads(covey_manager *m, const struct python *p)
{
    pthread_t threads[THREADS];
    struct worker workers[THREADS];
    covey_proxy *list = created(m, "list", NULL);
    (void)p;
    for (int i = 0; i < THREADS; i++) {
        workers[i] = (struct worker){list, i};
        CHECK_EQ(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
    }
    for (int i = 0; i < THREADS; i++)
        CHECK_EQ(pthread_join(threads[i], NULL), 0);
    for (int i = 0; i < THREADS; i++) {
        size_t n = 0;
        CHECK_OK(covey_list_occurrences(list, covey_value_int(i), &n));
        CHECK_EQ(n, ROUNDS);
    }
    covey_proxy_free(list);
}

TEST_TIMEOUT(threads_use_one_proxy, 120)
{
    with_each_manager(use_threads);
}

/* ---- calls that are not awaited ---- */

#define MANY 300

static covey_value *one(covey_value *value)
{
    covey_value *args = NULL;
    CHECK_OK(covey_value_pack(&args, "(N)", value));
    return args;
}

static void pipeline(covey_manager *m, const struct python *p)
{
    covey_reply *replies[MANY], *last = NULL;
    covey_value *v = NULL;
    covey_proxy *list = created(m, "list", NULL);
    (void)p;
    for (int i = 0; i < MANY; i++)
        CHECK_OK(covey_proxy_send(&replies[i], list, "append", one(covey_value_int(i)),
                                  NULL, PATIENT));
    CHECK_OK(covey_proxy_send(&last, list, "pop", NULL, NULL, PATIENT));
    covey_reply_free(replies[7]); /* nobody waits for it */
    CHECK_OK(covey_reply_get(last, &v, PATIENT));
    is(v, "299");
    CHECK_ERR(covey_reply_get(last, &v, PATIENT), COVEY_ESTATE);
    covey_reply_free(last);
    for (int i = 0; i < MANY; i++) {
        if (i == 7)
            continue;
        CHECK_OK(covey_reply_get(replies[i], &v, PATIENT));
        is(v, "None");
        covey_reply_free(replies[i]);
    }
    CHECK_OK(covey_proxy_send(&last, list, "index", one(covey_value_int(-1)), NULL,
                              PATIENT));
    CHECK_OK(covey_list_append(list, covey_value_int(0)));
    CHECK_ERR(covey_reply_get(last, &v, PATIENT), COVEY_EREMOTE);
    CHECK_STR_EQ(covey_proxy_error_type(), "ValueError");
    covey_reply_free(last);
    covey_proxy_free(list);
}

TEST_TIMEOUT(calls_are_sent_before_others_are_answered, 120)
{
    with_each_manager(pipeline);
}

/* More than sockets hold goes both ways: nobody may wait for the other for ever. */
static void pipeline_large(covey_manager *m, const struct python *p)
{
    enum { COUNT = 40, BYTES = 300000 };
    covey_reply *replies[COUNT];
    covey_value *v = NULL;
    char *data = calloc(1, BYTES);
    CHECK(data != NULL);
    covey_proxy *d = created(m, "dict", NULL);
    (void)p;
    for (int i = 0; i < COUNT; i++) {
        covey_value *args = NULL;
        CHECK_OK(covey_value_pack(&args, "(i, y#)", i, data, (size_t)BYTES));
        CHECK_OK(covey_proxy_send(&replies[i], d, "setdefault", args, NULL, PATIENT));
    }
    for (int i = 0; i < COUNT; i++) {
        CHECK_OK(covey_reply_get(replies[i], &v, PATIENT));
        CHECK_EQ(covey_value_count(v), BYTES);
        covey_value_free(v);
        covey_reply_free(replies[i]);
    }
    free(data);
    covey_proxy_free(d);
}

TEST_TIMEOUT(large_calls_and_answers_do_not_stop_each_other, 120)
{
    with_each_manager(pipeline_large);
}

/* ---- a manager that does not answer, or dies ---- */

static void *kill_it(void *arg)
{
    struct server *s = arg;
    covey_manager *m = manager_at(s->address, COVEY_ON);
    char ready[8];
    python_line(&s->beside, ready, sizeof ready); /* it is in the middle of the call */
    server_kill(s);
    covey_manager_free(m);
    return NULL;
}

static const char sleeper[] = SERVER "class Sleeper(object):\n"
                                     "    def sleep(self):\n"
                                     "        print('here')\n"
                                     "        threading.Event().wait()\n"
                                     "class M(SyncManager): pass\n"
                                     "M.register('Sleeper', Sleeper)\n"
                                     "serve(M)\n";

TEST_TIMEOUT(a_manager_that_is_killed_is_told_of, 120)
{
    EACH_PYTHON(p)
    {
        pthread_t thread;
        covey_value *v = NULL;
        struct server s = server_start(p, sleeper, "127.0.0.1:0");
        covey_manager *m = manager_at(s.address, MD5_OF(p));
        covey_proxy *proxy = created(m, "Sleeper", NULL);
        CHECK_EQ(pthread_create(&thread, NULL, kill_it, &s), 0);
        CHECK_ERR(covey_proxy_call(proxy, &v, "sleep", NULL), COVEY_EEOF);
        CHECK_STR_HAS(covey_error_detail(), "Sleeper.sleep at 127.0.0.1:");
        CHECK_STR_HAS(covey_error_detail(), "died");
        CHECK_EQ(pthread_join(thread, NULL), 0);
        CHECK_ERR(covey_proxy_call(proxy, &v, "sleep", NULL), -ECONNREFUSED);
        covey_proxy_free(proxy);
        covey_manager_free(m);
    }
}

static void run_out_of_time(covey_manager *m)
{
    covey_reply *reply = NULL;
    covey_value *v = NULL;
    covey_proxy *maths = created(m, "Maths", NULL), *list = created(m, "list", NULL);
    CHECK_OK(covey_proxy_send(&reply, maths, "sleep", NULL, NULL, PATIENT));
    CHECK_ERR(covey_reply_get(reply, &v, COVEY_MSEC(5)), -ETIMEDOUT);
    CHECK_ERR(covey_reply_get(reply, &v, COVEY_NOWAIT), -ETIMEDOUT);
    CHECK_ERR(covey_proxy_call_values(list, NULL, "append", one(covey_value_int(1)),
                                      NULL, COVEY_MSEC(5)),
              -ETIMEDOUT);
    CHECK_ERR(covey_reply_get(reply, &v, PATIENT), -ECANCELED);
    covey_reply_free(reply);
    /* Over a new connection. */
    CHECK_OK(covey_proxy_call(maths, &v, "add", "(i)", 1));
    is(v, "11");
    covey_proxy_free(list);
    covey_proxy_free(maths);
}

TEST_TIMEOUT(calls_that_run_out_of_time_hold_up_no_others, 120)
{
    EACH_PYTHON(p)
    {
        struct server s = server_start(p, custom, "127.0.0.1:0");
        covey_manager *m = manager_at(s.address, MD5_OF(p));
        run_out_of_time(m);
        covey_manager_free(m);
        server_kill(&s);
    }
}

CHECK_MAIN()
