/* SPDX-License-Identifier: MIT */
/* Managers in children, under every start method, with clients in C. */
#include "object_help.h"
#include "server_box.h"
#include "server_help.h"

static covey_manager *start(struct covey_manager_opts opts)
{
    covey_manager *manager = NULL;
    opts.size = sizeof opts;
    opts.method = check_method();
    box_register();
    CHECK_OK(covey_manager_start(&manager, &opts));
    return manager;
}

static covey_proxy *box_of(covey_manager *manager, covey_value *value)
{
    return created(manager, "Box", value);
}

static int64_t number_in(covey_proxy *box)
{
    covey_value *value;
    int64_t number = 0;
    CHECK_OK(covey_proxy_call(box, &value, "get", "()"));
    CHECK_OK(covey_value_get_int(value, &number));
    covey_value_free(value);
    return number;
}

TEST_EACH_METHOD_AND_THREAD(a_manager_has_the_classes_of_its_program)
{
    covey_manager *manager = start((struct covey_manager_opts){0});
    covey_proxy *box = box_of(manager, covey_value_int(7));
    CHECK_EQ(number_in(box), 7);
    CHECK_OK(covey_proxy_call(box, NULL, "set", "(i)", 8));
    CHECK_EQ(number_in(box), 8);
    CHECK_ERR(covey_proxy_call(box, NULL, "set", "()"), COVEY_EREMOTE);
    CHECK_STR_HAS(covey_error_detail(), "set() needs a value");
    covey_proxy_free(box);
    manager_end(manager);
}

TEST_EACH_METHOD(standard_types_are_there_unless_they_are_not_wanted)
{
    covey_proxy *list;
    covey_manager *manager = start((struct covey_manager_opts){0});
    list = new_object(manager, "list");
    CHECK_OK(covey_proxy_call(list, NULL, "append", "(i)", 1));
    covey_proxy_free(list);
    manager_end(manager);
    manager = start((struct covey_manager_opts){.standard_types = COVEY_OFF});
    CHECK_ERR(covey_proxy_create(&list, manager, "list", NULL, NULL), COVEY_EREMOTE);
    manager_end(manager);
}

TEST_EACH_METHOD(shared_objects_and_exposed_lists_go_to_the_child)
{
    static const char *const few[] = {"get"};
    covey_proxy *first, *second, *shut;
    covey_value *value;
    CHECK_OK(covey_manager_share("get_queue", "Queue", NULL));
    CHECK_OK(covey_manager_register(
        "Shut", &box_class, COVEY_REGISTER_OPTS(.exposed = few, .exposed_count = 1)));
    covey_manager *manager = start((struct covey_manager_opts){0});
    first = new_object(manager, "get_queue");
    second = new_object(manager, "get_queue");
    CHECK_OK(covey_proxy_call(first, NULL, "put", "(s)", "hello"));
    CHECK_OK(covey_proxy_call(second, &value, "get", "()"));
    covey_value_free(value);
    shut = new_object(manager, "Shut");
    CHECK_ERR(covey_proxy_call(shut, NULL, "set", "(i)", 1), COVEY_EREMOTE);
    covey_proxy_free(first);
    covey_proxy_free(second);
    covey_proxy_free(shut);
    manager_end(manager);
}

TEST_EACH_METHOD(a_name_that_is_registered_again_is_replaced)
{
    static const struct covey_method only_get[] = {{"get", box_get, 0}};
    struct covey_class cls = box_class;
    covey_proxy *list;
    cls.methods = only_get;
    cls.method_count = 1;
    CHECK_OK(covey_manager_register("list", &box_class, NULL));
    CHECK_OK(covey_manager_register("list", &cls, NULL));
    covey_manager *manager = start((struct covey_manager_opts){0});
    list = new_object(manager, "list");
    CHECK_ERR(covey_proxy_call(list, NULL, "append", "(i)", 1), COVEY_EREMOTE);
    CHECK_OK(covey_proxy_call(list, NULL, "get", "()"));
    covey_proxy_free(list);
    manager_end(manager);
}

/* What is shared is of the type that there was then. */
TEST_EACH_METHOD(a_shared_class_outlives_its_name)
{
    static const struct covey_method only_get[] = {{"get", box_get, 0}};
    struct covey_class cls = box_class;
    covey_proxy *shared, *box;
    cls.methods = only_get;
    cls.method_count = 1;
    box_register();
    CHECK_OK(covey_manager_share("get_box", "Box", NULL));
    CHECK_OK(covey_manager_register("Box", &cls, NULL));
    covey_manager *manager = NULL;
    CHECK_OK(
        covey_manager_start(&manager, COVEY_MANAGER_OPTS(.method = check_method())));
    shared = new_object(manager, "get_box");
    CHECK_OK(covey_proxy_call(shared, NULL, "set", "(i)", 5));
    CHECK_EQ(number_in(shared), 5);
    box = new_object(manager, "Box");
    CHECK_ERR(covey_proxy_call(box, NULL, "set", "(i)", 5), COVEY_EREMOTE);
    covey_proxy_free(shared);
    covey_proxy_free(box);
    manager_end(manager);
}

TEST_EACH_METHOD_AND_THREAD(a_class_can_be_shared_by_its_own_name)
{
    box_register();
    CHECK_OK(covey_manager_share("Box", "Box", NULL));
    covey_manager *manager = NULL;
    CHECK_OK(
        covey_manager_start(&manager, COVEY_MANAGER_OPTS(.method = check_method())));
    covey_proxy *first = new_object(manager, "Box"),
                *second = new_object(manager, "Box");
    CHECK_OK(covey_proxy_call(first, NULL, "set", "(i)", 5));
    CHECK_EQ(number_in(second), 5);
    covey_proxy_free(first);
    covey_proxy_free(second);
    manager_end(manager);
}

TEST_EACH_METHOD(limits_and_keys_go_to_the_child)
{
    covey_manager *manager = start((struct covey_manager_opts){
        .address = "127.0.0.1:0",
        .authkey = COVEY_VIEW("of its own", 10),
        .max_objects = 1,
        .name = "Keeper",
    });
    covey_manager *other;
    covey_proxy *box = box_of(manager, covey_value_int(1)), *second;
    CHECK_ERR(covey_proxy_create(&second, manager, "Box", NULL, NULL), COVEY_EREMOTE);
    CHECK_STR_HAS(covey_error_detail(), "the manager has 1 objects");
    CHECK_ERR(covey_manager_connect(&other, covey_manager_address(manager), NULL,
                                    COVEY_SEC(20)),
              COVEY_EAUTH);
    covey_proxy_free(box);
    manager_end(manager);
}

TEST_EACH_METHOD(a_manager_that_cannot_listen_says_why)
{
    covey_manager *manager = NULL;
    CHECK_ERR(
        covey_manager_start(&manager, COVEY_MANAGER_OPTS(.method = check_method(),
                                                         .address = "/nowhere/socket")),
        -ENOENT);
    CHECK_STR_HAS(covey_error_detail(), "/nowhere/socket");
    CHECK_ERR(covey_manager_start(
                  &manager, COVEY_MANAGER_OPTS(.method = check_method(), .name = "")),
              -EINVAL);
    CHECK_ERR(covey_manager_start(NULL, COVEY_MANAGER_OPTS(.method = check_method())),
              -EINVAL);
    CHECK(!manager);
}

TEST_EACH_METHOD(a_killed_manager_is_noticed_and_reaped)
{
    covey_manager *manager = start((struct covey_manager_opts){0});
    covey_proxy *box = box_of(manager, covey_value_int(1));
    covey_process *child;
    size_t count;
    int pid;
    CHECK_OK(covey_active_children(&child, 1, &count));
    CHECK_EQ(count, 1);
    CHECK_STR_EQ(covey_process_name(child), "Manager-1");
    CHECK_OK(covey_process_pid(child, &pid));
    CHECK_EQ(kill(pid, SIGKILL), 0);
    CHECK_LT(covey_proxy_call(box, NULL, "get", "()"), 0);
    CHECK_OK(covey_manager_shutdown(manager, COVEY_SEC(20)));
    covey_proxy_free(box);
    covey_manager_free(manager);
}

/* ---- parents that end ---- */

/* A process that has a manager, says where, and ends as `how` says. */
static void parent_of_a_manager(int how, enum covey_switch outlive, char address[256])
{
    int ends[2], status;
    size_t size = 0;
    CHECK_EQ(pipe(ends), 0);
    fflush(NULL);
    int pid = fork();
    CHECK_GE(pid, 0);
    if (!pid) {
        covey_manager *manager = start(
            (struct covey_manager_opts){.authkey = SERVER_KEY, .outlive = outlive});
        const char *at = covey_manager_address(manager);
        CHECK_EQ(write(ends[1], at, strlen(at) + 1), (ssize_t)strlen(at) + 1);
        if (how == SIGKILL)
            pause();
        exit(0);
    }
    close(ends[1]);
    while (size < 256 && read(ends[0], address + size, 1) == 1 && address[size])
        size++;
    close(ends[0]);
    if (how)
        CHECK_EQ(kill(pid, how), 0);
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK_EQ(status, how);
}

static int connect_there(const char *address, covey_conn **conn)
{
    return covey_client_connect(conn, address, COVEY_CLIENT_OPTS(.authkey = SERVER_KEY),
                                COVEY_SEC(20));
}

TEST_EACH_METHOD(a_manager_ends_with_its_starter)
{
    char address[256];
    covey_conn *conn;
    parent_of_a_manager(0, COVEY_OFF, address);
    CHECK_LT(connect_there(address, &conn), 0);
    parent_of_a_manager(0, COVEY_ON, address);
    CHECK_LT(connect_there(address, &conn), 0);
    parent_of_a_manager(SIGKILL, COVEY_OFF, address);
    while (connect_there(address, &conn) == 0)
        covey_conn_free(conn);
}

TEST_EACH_METHOD(a_manager_outlives_a_killed_starter_if_it_is_told_to)
{
    struct server server = {0};
    covey_value *value;
    parent_of_a_manager(SIGKILL, COVEY_ON, server.address);
    control_ok(&server, "dummy", NULL);
    covey_conn *conn = server_connect(&server);
    REQUEST(conn, NULL, "shutdown", "()");
    REPLIES(conn, "#RETURN", "None");
    REPLIES(conn, "#RETURN", "None");
    CHECK_EQ(covey_conn_recv_value(conn, &value, NULL, COVEY_SEC(20)), COVEY_EEOF);
    covey_conn_free(conn);
    while (waitpid(-1, NULL, WNOHANG) > 0) /* it was the test's to reap, an orphan */
        continue;
}

/* ---- nesting ---- */

TEST_EACH_METHOD(proxies_in_containers_keep_objects_and_cycles_do_not)
{
    size_t count;
    covey_manager *manager = start((struct covey_manager_opts){0});
    covey_proxy *outer, *inner;
    covey_value *value;
    outer = new_object(manager, "list");
    inner = new_object(manager, "list");
    CHECK_OK(covey_proxy_to_value(inner, &value));
    CHECK_OK(covey_proxy_call(outer, NULL, "append", "(N)", value));
    CHECK_OK(covey_proxy_to_value(outer, &value));
    CHECK_OK(covey_proxy_call(inner, NULL, "append", "(N)", value));
    CHECK_OK(covey_proxy_call(inner, NULL, "append", "(s)", "kept"));
    covey_proxy_free(inner);
    CHECK_OK(covey_manager_count(manager, &count));
    CHECK_EQ(count, 2);
    CHECK_OK(covey_proxy_call(outer, &value, "__getitem__", "(i)", 0));
    CHECK_OK(covey_proxy_from_value(&inner, manager, value));
    covey_value_free(value);
    CHECK_OK(covey_proxy_call(inner, &value, "pop", "()"));
    covey_value_free(value);
    covey_proxy_free(inner);
    covey_proxy_free(outer);
    do
        CHECK_OK(covey_manager_count(manager, &count));
    while (count > 0);
    manager_end(manager);
}

TEST(objects_given_by_keyword_live_on)
{
    covey_manager *manager = start((struct covey_manager_opts){0});
    covey_proxy *dict = NULL, *list = NULL;
    covey_value *inner = NULL, *kwargs = NULL, *value = NULL;
    dict = new_object(manager, "dict");
    list = new_object(manager, "list");
    CHECK_OK(covey_proxy_to_value(list, &inner));
    CHECK_OK(covey_value_pack(&kwargs, "{s: N}", "k", inner));
    CHECK_OK(
        covey_proxy_call_values(dict, NULL, "update", NULL, kwargs, COVEY_SEC(20)));
    covey_proxy_free(list);
    CHECK_OK(covey_dict_get(dict, covey_value_str("k"), &value));
    CHECK_OK(covey_proxy_from_value(&list, manager, value));
    CHECK_OK(covey_list_append(list, covey_value_int(1)));
    covey_value_free(value);
    covey_proxy_free(list);
    covey_proxy_free(dict);
    manager_end(manager);
}

/* The list lost its last reference before the dict lets go of it. */
TEST(objects_go_with_the_last_value_that_has_them)
{
    covey_manager *manager = start((struct covey_manager_opts){0});
    covey_proxy *dict = NULL, *list = NULL;
    covey_value *value = NULL;
    size_t count;
    dict = new_object(manager, "dict");
    list = new_object(manager, "list");
    CHECK_OK(covey_proxy_to_value(list, &value));
    CHECK_OK(covey_dict_set(dict, covey_value_str("k"), value));
    covey_proxy_free(list);
    CHECK_OK(covey_manager_count(manager, &count));
    CHECK_EQ(count, 2);
    CHECK_OK(covey_dict_clear(dict));
    CHECK_OK(covey_manager_count(manager, &count));
    CHECK_EQ(count, 1);
    covey_proxy_free(dict);
    manager_end(manager);
}

/* ---- proxies that change hands ---- */

struct maker {
    covey_manager *manager;
    covey_queue *made, *held;
    int by_method; /* the proxy is a method's result */
};

static covey_proxy *half_of(covey_proxy *box)
{
    covey_proxy *half = NULL;
    covey_value *args;
    CHECK_OK(covey_value_pack(&args, "(i)", 5));
    CHECK_OK(covey_proxy_call_proxy(box, &half, "split", args, NULL, COVEY_SEC(20)));
    covey_proxy_free(box);
    return half;
}

static int make_for_others(struct covey_view arg)
{
    const struct maker *m = arg.data;
    struct covey_bytes byte = {0};
    covey_proxy *box = box_of(m->manager, covey_value_int(5));
    if (m->by_method)
        box = half_of(box);
    CHECK_OK(covey_queue_put(m->made, COVEY_VIEW_OF(box), COVEY_SEC(20)));
    CHECK_OK(covey_queue_get(m->held, &byte, COVEY_SEC(20)));
    covey_bytes_free(&byte);
    covey_proxy_free(box);
    return 0;
}

static void outlives_its_maker(int by_method)
{
    struct maker m = {.manager = start((struct covey_manager_opts){0}),
                      .by_method = by_method};
    covey_process *child;
    covey_proxy *box;
    struct covey_bytes got = {0};
    size_t count;
    CHECK_OK(covey_queue_create(&m.made, 0, NULL));
    CHECK_OK(covey_queue_create(&m.held, 0, NULL));
    CHECK_OK(covey_process_create(&child, make_for_others, COVEY_VIEW_OF(m),
                                  COVEY_PROCESS_OPTS(.method = check_method())));
    CHECK_OK(covey_process_start(child));
    CHECK_OK(covey_queue_get(m.made, &got, COVEY_SEC(20)));
    memcpy(&box, got.data, sizeof box);
    CHECK_OK(covey_hold(box));
    CHECK_OK(covey_queue_put(m.held, COVEY_VIEW("", 1), COVEY_SEC(20)));
    CHECK_OK(covey_process_join(child, COVEY_FOREVER));
    covey_process_free(child);
    CHECK_OK(covey_manager_count(m.manager, &count)); /* it has seen the end by then */
    CHECK_EQ(count, 1);
    CHECK_EQ(number_in(box), 5);
    covey_proxy_free(box);
    CHECK_OK(covey_manager_count(m.manager, &count));
    CHECK_EQ(count, 0);
    covey_bytes_free(&got);
    covey_queue_free(m.made);
    covey_queue_free(m.held);
    manager_end(m.manager);
}

TEST_EACH_METHOD(a_proxy_outlives_the_process_that_made_it)
{
    outlives_its_maker(0);
}

TEST_EACH_METHOD(a_proxy_outlives_the_process_whose_call_returned_it)
{
    outlives_its_maker(1);
}

/* ---- objects that methods return ---- */

static int thing_make(covey_request *request, void **ret_self)
{
    (void)request;
    *ret_self = calloc(1, sizeof(int));
    return *ret_self ? 0 : -ENOMEM;
}

static int things_destroyed; /* in the manager */

static void thing_free(void *self)
{
    things_destroyed++;
    free(self);
}

static int thing_destroyed(covey_request *request, void *self)
{
    (void)self;
    return covey_request_return(request, covey_value_int(things_destroyed));
}

/* What is refused is the method's still. */
static int thing_refused(covey_request *request, void *self)
{
    static const char *const unknown[] = {"NoSuchThing", "list", NULL};
    int *other = calloc(1, sizeof *other);
    (void)self;
    for (int i = 0; i < 3; i++) {
        CHECK_ERR(covey_request_return_object(request, unknown[i], other), -EINVAL);
        CHECK_STR_HAS(covey_error_detail(), unknown[i] ? unknown[i] : "NULL");
    }
    free(other);
    return covey_request_return(request, covey_value_str("as before"));
}

/* What is taken is the manager's, though nothing comes of it. */
static int thing_replaced(covey_request *request, void *self)
{
    (void)self;
    for (int i = 0; i < 2; i++)
        CHECK_OK(covey_request_return_object(request, "Thing", calloc(1, sizeof(int))));
    return covey_request_return(request, covey_value_str("in its place"));
}

static int thing_failed(covey_request *request, void *self)
{
    (void)self;
    CHECK_OK(covey_request_return_object(request, "Thing", calloc(1, sizeof(int))));
    return -EDOM;
}

static int thing_raised(covey_request *request, void *self)
{
    (void)self;
    CHECK_OK(covey_request_return_object(request, "Thing", calloc(1, sizeof(int))));
    return covey_request_raise(request, "KeyError", NULL);
}

static const struct covey_method thing_methods[] = {
    {"destroyed", thing_destroyed, 0}, {"refused", thing_refused, 0},
    {"replaced", thing_replaced, 0},   {"failed", thing_failed, 0},
    {"raised", thing_raised, 0},
};
static const struct covey_class thing_class = {
    .size = sizeof(struct covey_class),
    .methods = thing_methods,
    .method_count = sizeof thing_methods / sizeof *thing_methods,
    .create = thing_make,
    .destroy = thing_free,
};

static void gives(covey_proxy *thing, const char *method, covey_value *wanted)
{
    covey_value *value = NULL;
    CHECK_OK(covey_proxy_call(thing, &value, method, "()"));
    CHECK(covey_value_equal(value, wanted));
    covey_value_free(value);
    covey_value_free(wanted);
}

TEST_EACH_METHOD(an_object_is_the_methods_until_it_is_taken)
{
    covey_proxy *thing;
    CHECK_OK(covey_manager_register("Thing", &thing_class, NULL));
    covey_manager *manager = start((struct covey_manager_opts){0});
    CHECK_OK(covey_proxy_create(&thing, manager, "Thing", NULL, NULL));
    gives(thing, "refused", covey_value_str("as before"));
    gives(thing, "destroyed", covey_value_int(0));
    gives(thing, "replaced", covey_value_str("in its place"));
    gives(thing, "destroyed", covey_value_int(2));
    CHECK_ERR(covey_proxy_call(thing, NULL, "failed", "()"), COVEY_EREMOTE);
    gives(thing, "destroyed", covey_value_int(3));
    CHECK_ERR(covey_proxy_call(thing, NULL, "raised", "()"), COVEY_EREMOTE);
    CHECK_STR_EQ(covey_proxy_error_type(), "KeyError");
    gives(thing, "destroyed", covey_value_int(4));
    covey_proxy_free(thing);
    manager_end(manager);
}

/* ---- with several addresses ---- */

/* "0.0.0.0:5000" as it calls itself is "127.0.0.1:5000" to its clients. */
static covey_manager *reached_otherwise(covey_manager *manager, struct covey_view key)
{
    covey_manager *client;
    char address[64];
    const char *port = strrchr(covey_manager_address(manager), ':');
    snprintf(address, sizeof address, "127.0.0.1%s", port);
    CHECK_OK(covey_manager_connect(&client, address, COVEY_CONNECT_OPTS(.authkey = key),
                                   COVEY_SEC(20)));
    return client;
}

TEST(what_is_in_an_object_lives_whatever_its_managers_address_is)
{
    const struct covey_view key = COVEY_VIEW("several addresses", 17);
    covey_manager *manager;
    covey_proxy *back;
    covey_value *value;
    CHECK_OK(covey_manager_start(
        &manager, COVEY_MANAGER_OPTS(.address = "0.0.0.0:0", .authkey = key)));
    covey_manager *client = reached_otherwise(manager, key);
    covey_proxy *list = new_object(client, "list"), *dict = new_object(client, "dict");
    CHECK_OK(covey_dict_set(dict, covey_value_str("a"), covey_value_int(1)));
    CHECK_OK(covey_proxy_to_value(dict, &value));
    CHECK_OK(covey_list_append(list, value));
    covey_proxy_free(dict);
    CHECK_OK(covey_list_get(list, 0, &value));
    CHECK_OK(covey_proxy_from_value(&back, client, value));
    covey_value_free(value);
    CHECK_OK(covey_dict_get(back, covey_value_str("a"), &value));
    covey_value_free(value);
    covey_proxy_free(back);
    CHECK_OK(covey_proxy_call(list, NULL, "clear", "()"));
    covey_proxy_free(list);
    covey_manager_free(client);
    manager_end(manager);
}

/* ---- the last holder is killed ---- */

static covey_event *box_gone;

static void box_free_and_tell(void *self)
{
    box_free(self);
    (void)covey_event_set(box_gone);
}

static int make_and_wait(struct covey_view arg)
{
    const struct maker *m = arg.data;
    covey_proxy *box = box_of(m->manager, covey_value_int(5));
    CHECK_EQ(number_in(box), 5); /* it has a connection now, whose end is seen */
    CHECK_OK(covey_queue_put(m->made, COVEY_VIEW_OF(box), COVEY_SEC(20)));
    for (;;)
        pause();
    return 0;
}

/* Nobody asks the manager for anything: it sees the end of its client by itself. */
TEST(a_manager_of_the_family_hears_of_its_killed_clients_proxies)
{
    struct covey_class class = box_class;
    struct covey_bytes got = {0};
    struct maker m = {0};
    covey_process *child;
    covey_proxy *box;
    class.destroy = box_free_and_tell;
    CHECK_OK(covey_event_create(&box_gone, NULL));
    CHECK_OK(covey_manager_register("Box", &class, NULL));
    CHECK_OK(covey_manager_start(&m.manager, COVEY_MANAGER_OPTS(.method = COVEY_FORK)));
    CHECK_OK(covey_queue_create(&m.made, 0, NULL));
    CHECK_OK(covey_process_create(&child, make_and_wait, COVEY_VIEW_OF(m),
                                  COVEY_PROCESS_OPTS(.method = COVEY_FORK)));
    CHECK_OK(covey_process_start(child));
    CHECK_OK(covey_queue_get(m.made, &got, COVEY_SEC(20)));
    memcpy(&box, got.data, sizeof box);
    CHECK_EQ(number_in(box), 5); /* borrowing, not holding */
    CHECK_OK(covey_process_kill(child));
    CHECK_OK(covey_event_wait(box_gone, COVEY_SEC(20)));
    CHECK_OK(covey_process_join(child, COVEY_FOREVER));
    CHECK_ERR(covey_proxy_call(box, NULL, "get", "()"), COVEY_EFREED);
    covey_process_free(child);
    covey_bytes_free(&got);
    covey_queue_free(m.made);
    manager_end(m.manager);
    covey_event_free(box_gone);
}

CHECK_MAIN()
