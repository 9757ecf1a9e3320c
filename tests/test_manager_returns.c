/* SPDX-License-Identifier: MIT */
/* Methods of a program's classes that return objects of any type. */
#include <pthread.h>

#include "object_help.h"
#include "process_help.h"

#define LONG COVEY_SEC(20)

static int maker_make(covey_request *request, void **ret_self)
{
    (void)request;
    *ret_self = NULL;
    return 0;
}

/* make(type, *args, **kwargs) */
static int maker_new(covey_request *request, void *self)
{
    const char *type = NULL;
    const covey_value *all = covey_request_args(request);
    covey_value *args = covey_value_tuple();
    (void)self;
    CHECK_OK(covey_value_get_str(covey_value_at(all, 0), &type, NULL));
    for (size_t i = 1; i < covey_value_count(all); i++)
        CHECK_OK(covey_value_append(args, covey_value_ref(covey_value_at(all, i))));
    return covey_request_return_new(
        request, type, args,
        covey_value_ref((covey_value *)(uintptr_t)covey_request_kwargs(request)));
}

static int maker_refused(covey_request *request, void *self)
{
    static const char *const unknown[] = {"NoSuchType", "Iterator", NULL};
    (void)self;
    for (int i = 0; i < 3; i++) {
        CHECK_ERR(covey_request_return_new(request, unknown[i], covey_value_tuple(),
                                           covey_value_dict()),
                  -EINVAL);
        CHECK_STR_HAS(covey_error_detail(), unknown[i] ? unknown[i] : "NULL");
    }
    CHECK_ERR(covey_request_return_new(request, "list", covey_value_list(), NULL),
              COVEY_ETYPE);
    CHECK_ERR(covey_request_return_new(request, "list", NULL, covey_value_tuple()),
              COVEY_ETYPE);
    return covey_request_return(request, covey_value_str("as before"));
}

/* What was to be made is forgotten. */
static int maker_replaced(covey_request *request, void *self)
{
    (void)self;
    for (int i = 0; i < 2; i++)
        CHECK_OK(covey_request_return_new(request, "list", NULL, NULL));
    return covey_request_return(request, covey_value_str("in its place"));
}

static int maker_failed(covey_request *request, void *self)
{
    (void)self;
    CHECK_OK(covey_request_return_new(request, "list", NULL, NULL));
    return -EDOM;
}

static const struct covey_method maker_methods[] = {
    {"make", maker_new, 0},        {"make_aside", maker_new, COVEY_METHOD_BLOCKS},
    {"refused", maker_refused, 0}, {"replaced", maker_replaced, 0},
    {"failed", maker_failed, 0},
};
static const struct covey_class maker_class = {
    .size = sizeof(struct covey_class),
    .methods = maker_methods,
    .method_count = 5,
    .create = maker_make,
};

static covey_manager *manager_start(enum covey_start_method method)
{
    covey_manager *manager;
    CHECK_OK(covey_manager_register("Maker", &maker_class, NULL));
    CHECK_OK(covey_manager_share("the_queue", "Queue", NULL));
    CHECK_OK(covey_manager_start(&manager, COVEY_MANAGER_OPTS(.method = method)));
    return manager;
}

static covey_proxy *returned(covey_proxy *maker, const char *method, const char *type,
                             covey_value *arg)
{
    covey_proxy *object = NULL;
    covey_value *args = NULL;
    CHECK_OK(arg ? covey_value_pack(&args, "(s, N)", type, arg)
                 : covey_value_pack(&args, "(s)", type));
    CHECK_OK(covey_proxy_call_proxy(maker, &object, method, args, NULL, LONG));
    CHECK_STR_EQ(covey_proxy_type(object), type);
    return object;
}

static void count_is(covey_manager *manager, size_t wanted)
{
    size_t count;
    CHECK_OK(covey_manager_count(manager, &count));
    CHECK_EQ(count, wanted);
}

static void makes_standard_objects(covey_manager *manager, covey_proxy *maker,
                                   const char *method)
{
    covey_value *arg;
    CHECK_OK(covey_value_pack(&arg, "[i, i]", 1, 2));
    covey_proxy *list = returned(maker, method, "list", arg);
    CHECK_OK(covey_list_append(list, covey_value_int(3)));
    holds(list, "[1, 2, 3]");
    covey_proxy *lock = returned(maker, method, "Lock", NULL);
    CHECK_OK(covey_proxy_lock_acquire(lock, COVEY_NOWAIT));
    CHECK_OK(covey_proxy_lock_release(lock));
    covey_proxy *other = returned(maker, method, "Maker", NULL);
    covey_proxy *inner = returned(other, "make", "dict", NULL);
    count_is(manager, 5);
    covey_proxy_free(list);
    covey_proxy_free(lock);
    covey_proxy_free(other);
    holds(inner, "{}");
    covey_proxy_free(inner);
    count_is(manager, 1);
}

TEST_EACH_METHOD(methods_return_new_objects_of_any_type)
{
    covey_manager *manager = manager_start(check_method());
    covey_proxy *maker = new_object(manager, "Maker");
    makes_standard_objects(manager, maker, "make");
    makes_standard_objects(manager, maker, "make_aside");
    covey_proxy_free(maker);
    manager_end(manager);
}

TEST(keywords_go_to_the_constructor)
{
    covey_manager *manager = manager_start(COVEY_FORK);
    covey_proxy *maker = new_object(manager, "Maker"), *names;
    covey_value *args, *kwargs;
    CHECK_OK(covey_value_pack(&args, "(s)", "Namespace"));
    CHECK_OK(covey_value_pack(&kwargs, "{s: i}", "x", 1));
    CHECK_OK(covey_proxy_call_proxy(maker, &names, "make", args, kwargs, LONG));
    holds(names, "Namespace(x=1)");
    covey_proxy_free(names);
    covey_proxy_free(maker);
    manager_end(manager);
}

/* As if the client had asked for it by its name. */
TEST(a_shared_object_is_returned_to_all)
{
    covey_manager *manager = manager_start(COVEY_FORK);
    covey_proxy *maker = new_object(manager, "Maker");
    covey_proxy *one = returned(maker, "make", "the_queue", NULL);
    covey_proxy *same = returned(maker, "make_aside", "the_queue", NULL);
    covey_proxy *asked = new_object(manager, "the_queue");
    CHECK_STR_EQ(covey_proxy_ident(one), covey_proxy_ident(same));
    CHECK_STR_EQ(covey_proxy_ident(one), covey_proxy_ident(asked));
    CHECK_OK(covey_proxy_call(one, NULL, "put", "(i)", 1));
    covey_proxy_free(one);
    covey_proxy_free(asked);
    CHECK_OK(covey_proxy_call(same, NULL, "get_nowait", NULL));
    covey_proxy_free(same);
    covey_proxy_free(maker);
    count_is(manager, 0);
    manager_end(manager);
}

static void *put_one(void *queue)
{
    CHECK_OK(covey_proxy_call(queue, NULL, "put", "(i)", 1));
    return NULL;
}

/* It is told at once, though the connection has a call that waits, behind which the manager
 * is told that nobody wants the object. */
TEST(an_object_that_nobody_wants_goes)
{
    covey_manager *manager = manager_start(COVEY_FORK);
    covey_proxy *maker = new_object(manager, "Maker");
    covey_proxy *queue = new_object(manager, "Queue");
    covey_reply *made, *got;
    covey_value *args, *value = NULL;
    pthread_t thread;
    size_t count;
    CHECK_OK(covey_value_pack(&args, "(s)", "list"));
    CHECK_OK(covey_proxy_send(&made, maker, "make", args, NULL, LONG));
    CHECK_OK(covey_proxy_send(&got, queue, "get", NULL, NULL, LONG));
    CHECK_ERR(covey_reply_get(made, &value, LONG), COVEY_ETYPE);
    CHECK_STR_HAS(covey_error_detail(), "stays in the manager");
    covey_reply_free(made);
    CHECK_EQ(pthread_create(&thread, NULL, put_one, queue), 0);
    CHECK_OK(covey_reply_get(got, &value, LONG));
    CHECK_EQ(pthread_join(thread, NULL), 0);
    covey_value_free(value);
    covey_reply_free(got);
    do
        CHECK_OK(covey_manager_count(manager, &count));
    while (count > 2);
    CHECK_ERR(covey_proxy_call(maker, &value, "make", "(s)", "list"), COVEY_ETYPE);
    do
        CHECK_OK(covey_manager_count(manager, &count));
    while (count > 2);
    CHECK_EQ(count, 2);
    covey_proxy_free(queue);
    covey_proxy_free(maker);
    manager_end(manager);
}

/* The same of who creates one and cannot read the answer. */
TEST(an_object_of_which_the_answer_cannot_be_read_goes)
{
    covey_manager *manager = manager_start(COVEY_FORK), *strict;
    struct covey_bytes authkey = {0};
    covey_proxy *none;
    size_t count;
    CHECK_OK(covey_authkey(&authkey));
    CHECK_OK(covey_manager_connect(
        &strict, covey_manager_address(manager),
        COVEY_CONNECT_OPTS(.authkey = COVEY_VIEW(authkey.data, authkey.size),
                           .max_reply = 600),
        LONG));
    CHECK(covey_proxy_create(&none, strict, "dict", NULL, NULL) < 0);
    do
        CHECK_OK(covey_manager_count(manager, &count));
    while (count > 0);
    covey_bytes_free(&authkey);
    covey_manager_free(strict);
    manager_end(manager);
}

TEST(what_cannot_be_made_is_told)
{
    covey_manager *manager = manager_start(COVEY_FORK);
    covey_proxy *maker = new_object(manager, "Maker"), *none;
    static const char *const methods[] = {"make", "make_aside"};
    for (int i = 0; i < 2; i++) {
        covey_value *args;
        CHECK_OK(covey_value_pack(&args, "(s, i)", "list", 5));
        CHECK_ERR(covey_proxy_call_proxy(maker, &none, methods[i], args, NULL, LONG),
                  COVEY_EREMOTE);
        CHECK_STR_HAS(covey_error_detail(), "'int' object is not iterable");
    }
    count_is(manager, 1);
    covey_proxy_free(maker);
    manager_end(manager);
}

TEST(what_is_refused_or_replaced_is_not_made)
{
    covey_manager *manager = manager_start(COVEY_FORK);
    covey_proxy *maker = new_object(manager, "Maker");
    covey_value *text = NULL;
    const char *is;
    static const char *const methods[] = {"refused", "replaced"}, *const wanted[] = {
                                                                      "as before",
                                                                      "in its place"};
    for (int i = 0; i < 2; i++) {
        CHECK_OK(covey_proxy_call(maker, &text, methods[i], NULL));
        CHECK_OK(covey_value_get_str(text, &is, NULL));
        CHECK_STR_EQ(is, wanted[i]);
        covey_value_free(text);
    }
    CHECK_ERR(covey_proxy_call(maker, NULL, "failed", NULL), COVEY_EREMOTE);
    count_is(manager, 1);
    covey_proxy_free(maker);
    manager_end(manager);
}

CHECK_MAIN()
