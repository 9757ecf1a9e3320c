/* SPDX-License-Identifier: MIT */
/* Values: who may change them, copies, errors that stick, depth, objects. */
#include <errno.h>
#include <pthread.h>

#include "value_help.h"

/* ---- sharing ----------------------------------------------------------------- */

TEST(a_value_that_others_hold_does_not_change)
{
    covey_value *list = numbers(2), *other = covey_value_ref(list), *copy;

    CHECK_ERR(covey_value_append(list, covey_value_int(9)), COVEY_ESTATE);
    CHECK_ERR(covey_value_insert(list, 0, covey_value_int(9)), COVEY_ESTATE);
    CHECK_ERR(covey_value_put_at(list, 0, covey_value_int(9)), COVEY_ESTATE);
    CHECK_ERR(covey_value_take_at(list, 0, NULL), COVEY_ESTATE);
    CHECK_ERR(covey_value_sort(list, 0), COVEY_ESTATE);
    CHECK_ERR(covey_value_clear(list), COVEY_ESTATE);
    CHECK_OK(covey_value_check(list));
    copy = covey_value_copy(list);
    CHECK_OK(covey_value_append(copy, covey_value_int(9)));
    is(copy, "[0, 1, 9]");
    covey_value_free(other);
    CHECK_OK(covey_value_append(list, covey_value_int(8)));
    is(list, "[0, 1, 8]");
}

TEST(a_value_in_another_does_not_change)
{
    covey_value *outer = covey_value_list(), *inner = numbers(1), *out;

    CHECK_OK(covey_value_append(outer, inner));
    CHECK_ERR(covey_value_append(inner, covey_value_int(1)), COVEY_ESTATE);
    CHECK_ERR(covey_value_append(inner, covey_value_ref(outer)), COVEY_ESTATE);
    CHECK_STR_HAS(covey_error_detail(), "in another");
    CHECK_OK(covey_value_take_at(outer, 0, &out));
    CHECK_OK(covey_value_append(out, covey_value_int(1)));
    CHECK_OK(covey_value_append(outer, out));
    is(outer, "[[0, 1]]");
}

TEST(nothing_contains_itself)
{
    covey_value *list = covey_value_list(), *dict = covey_value_dict();

    CHECK_ERR(covey_value_append(list, covey_value_ref(list)), COVEY_ESTATE);
    CHECK_ERR(covey_value_put_str(dict, "x", covey_value_ref(dict)), COVEY_ESTATE);
    covey_value_free(list);
    covey_value_free(dict);
}

/* What was refused is there yet, says why, and forgets it once it is cleared. */
static void is_refused_by_itself(covey_value *value, int r)
{
    CHECK_ERR(r, COVEY_ESTATE);
    CHECK_STR_HAS(covey_error_detail(), "in itself");
    CHECK_ERR(covey_value_check(value), COVEY_ESTATE);
    if (covey_value_kind(value) != COVEY_VALUE_OBJECT)
        CHECK_OK(covey_value_clear(value));
}

TEST(a_container_given_its_only_reference_stays)
{
    covey_value *list = numbers(1), *tuple = covey_value_tuple();
    covey_value *dict = covey_value_dict(), *set = covey_value_set();

    is_refused_by_itself(list, covey_value_append(list, list));
    is_refused_by_itself(list, covey_value_insert(list, 0, list));
    CHECK_OK(covey_value_append(list, covey_value_int(1)));
    is_refused_by_itself(list, covey_value_put_at(list, 0, list));
    is_refused_by_itself(list, covey_value_put_at(list, 9, list));
    is_refused_by_itself(tuple, covey_value_append(tuple, tuple));
    is_refused_by_itself(set, covey_value_add(set, set));
    is_refused_by_itself(dict, covey_value_put_str(dict, "x", dict));
    is_refused_by_itself(dict, covey_value_put_str(dict, NULL, dict));
    is_refused_by_itself(dict, covey_value_put(dict, dict, covey_value_none()));
    is_refused_by_itself(dict, covey_value_put(dict, dict, dict));
    CHECK_ERR(covey_value_put(dict, covey_value_ref(dict), dict), COVEY_ESTATE);
    CHECK_OK(covey_value_put_str(dict, "x", covey_value_int(1)));
    is(dict, "{'x': 1}");
    CHECK_ERR(covey_value_append(set, set), COVEY_ETYPE);
    CHECK_ERR(covey_value_put(list, list, list), COVEY_ETYPE);
    is(set, "set()");
    is(tuple, "()");
    is(list, "[]");
}

static covey_value *an_instance(void)
{
    return covey_value_instance(covey_value_global("m", "C"), covey_value_tuple());
}

TEST(an_object_given_its_only_reference_stays)
{
    covey_value *object = an_instance(), *dict = covey_value_dict();

    is_refused_by_itself(object, covey_value_append(object, object));
    covey_value_free(object);
    object = an_instance();
    is_refused_by_itself(object, covey_value_put(object, object, object));
    covey_value_free(object);
    object = an_instance();
    is_refused_by_itself(object, covey_value_put_str(object, "x", object));
    covey_value_free(object);
    object = an_instance();
    is_refused_by_itself(object, covey_value_put_state(object, object));
    covey_value_free(object);
    object = an_instance();
    is_refused_by_itself(object, covey_value_put_kwargs(object, object));
    covey_value_free(object);
    CHECK_ERR(covey_value_put_state(dict, dict), COVEY_ETYPE);
    CHECK_ERR(covey_value_put_kwargs(dict, dict), COVEY_ETYPE);
    is(dict, "{}");
}

TEST(copies_of_all_kinds_are_independent)
{
    covey_value *dict, *set = covey_value_set(), *tuple, *object, *copy;

    CHECK_OK(covey_value_pack(&dict, "{s:[i]}", "a", 1));
    copy = covey_value_copy(dict);
    CHECK_OK(covey_value_put_str(copy, "b", covey_value_none()));
    is(copy, "{'a': [1], 'b': None}");
    is(dict, "{'a': [1]}");

    CHECK_OK(covey_value_add(set, covey_value_int(1)));
    copy = covey_value_copy(set);
    CHECK_OK(covey_value_add(copy, covey_value_int(2)));
    is(copy, "{1, 2}");
    is(set, "{1}");

    CHECK_OK(covey_value_pack(&tuple, "(i)", 1));
    copy = covey_value_copy(tuple);
    CHECK_OK(covey_value_append(copy, covey_value_int(2)));
    is(copy, "(1, 2)");
    is(tuple, "(1,)");

    object = covey_value_instance(covey_value_global("m", "C"), covey_value_tuple());
    CHECK_OK(covey_value_append(object, covey_value_int(1)));
    CHECK_OK(covey_value_put_str(object, "k", covey_value_int(1)));
    copy = covey_value_copy(object);
    CHECK_OK(covey_value_append(copy, covey_value_int(2)));
    CHECK_OK(covey_value_put_str(copy, "l", covey_value_int(2)));
    is(copy, "<m.C() items=[1, 2] pairs={'k': 1, 'l': 2}>");
    is(object, "<m.C() items=[1] pairs={'k': 1}>");

    copy = covey_value_copy(covey_value_none());
    CHECK(copy == covey_value_none());
    CHECK(!covey_value_copy(NULL));
}

static void *use_shared(void *shared)
{
    uint64_t hash, first = 0;

    for (int i = 0; i < 20000; i++) {
        covey_value *mine = covey_value_ref(shared);

        CHECK_OK(covey_value_hash(mine, &hash));
        CHECK(!first || hash == first);
        first = hash;
        CHECK(covey_value_equal(mine, shared));
        covey_value_free(mine);
    }
    return NULL;
}

TEST(threads_share_values)
{
    pthread_t threads[3];
    covey_value *shared;

    CHECK_OK(covey_value_pack(&shared, "(s, (i, s), d)", "text", 7, "more", 0.5));
    for (int i = 0; i < 3; i++)
        CHECK_EQ(pthread_create(&threads[i], NULL, use_shared, shared), 0);
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    is(shared, "('text', (7, 'more'), 0.5)");
}

/* ---- errors that stick --------------------------------------------------------- */

TEST(an_error_sticks_until_the_container_is_cleared)
{
    covey_value *list = numbers(1), *outer = covey_value_list();
    struct covey_bytes bytes = {0};

    CHECK_ERR(covey_value_append(list, covey_value_str("\xff")), -EILSEQ);
    CHECK_OK(covey_value_append(list, covey_value_int(1)));
    CHECK_ERR(covey_value_check(list), -EILSEQ);
    CHECK_STR_HAS(covey_error_detail(), "not UTF-8");
    CHECK_ERR(covey_value_append(NULL, covey_value_range(0, 0, 0)), -EINVAL);
    CHECK_ERR(covey_value_check(list), -EILSEQ);
    CHECK_STR_HAS(covey_error_detail(), "could not be added to this list");
    CHECK_ERR(covey_value_pickle(list, &bytes), -EILSEQ);
    CHECK_ERR(covey_value_repr(list, &bytes), -EILSEQ);
    CHECK(!covey_value_copy(list));
    CHECK_OK(covey_value_clear(list));
    CHECK_OK(covey_value_check(list));
    CHECK_ERR(covey_value_put(list, covey_value_int(1), covey_value_int(1)),
              COVEY_ETYPE);
    CHECK_OK(covey_value_check(list));
    CHECK_ERR(covey_value_insert(list, 0, NULL), COVEY_ETYPE);
    CHECK_ERR(covey_value_append(outer, list), COVEY_ETYPE);
    CHECK_ERR(covey_value_check(outer), COVEY_ETYPE);
    covey_value_free(outer);
    covey_bytes_free(&bytes);
}

TEST(failures_pass_through_nested_makers)
{
    covey_value *dict = covey_value_dict();
    covey_value *args = covey_value_tuple();

    CHECK_ERR(covey_value_put(dict, covey_value_str("\xff"), covey_value_none()),
              -EILSEQ);
    CHECK_ERR(covey_value_check(dict), -EILSEQ);
    CHECK_OK(covey_value_clear(dict));
    CHECK_ERR(covey_value_put_str(dict, "x", covey_value_range(1, 2, 0)), -EINVAL);
    covey_value_append(args, NULL);
    failed(covey_value_call(covey_value_global("m", "f"), args), -EINVAL);
    failed(covey_value_call(covey_value_global("m", "\xff"), covey_value_tuple()),
           -EILSEQ);
    covey_value_free(dict);
}

/* ---- depth ------------------------------------------------------------------- */

TEST(nesting_ends_at_the_documented_depth)
{
    covey_value *value = nested(COVEY_VALUE_DEPTH_MAX), *outer = covey_value_list();
    covey_value *again = nested(COVEY_VALUE_DEPTH_MAX);
    covey_value *object =
        covey_value_call(covey_value_global("m", "f"), covey_value_tuple());
    struct covey_bytes bytes = {0};
    enum covey_order order;

    CHECK_EQ(covey_value_equal(value, again), 1);
    CHECK_OK(covey_value_compare(value, again, &order));
    CHECK_OK(covey_value_repr(value, &bytes));
    CHECK_EQ(bytes.size, 2 * COVEY_VALUE_DEPTH_MAX);
    CHECK_OK(covey_value_pickle(value, &bytes));
    covey_value_free(again);
    CHECK_OK(covey_value_unpickle(&again, bytes.data, bytes.size, NULL));
    CHECK_EQ(covey_value_equal(value, again), 1);
    CHECK_ERR(covey_value_append(outer, value), -EMSGSIZE);
    CHECK_ERR(covey_value_check(outer), -EMSGSIZE);
    CHECK_ERR(covey_value_append(object, again), -EMSGSIZE);
    CHECK_ERR(covey_value_put_str(object, "x", nested(COVEY_VALUE_DEPTH_MAX - 1)),
              -EMSGSIZE);
    CHECK_ERR(covey_value_put_state(object, nested(COVEY_VALUE_DEPTH_MAX)), -EMSGSIZE);
    covey_value_free(outer);
    covey_value_free(object);
    covey_bytes_free(&bytes);
}

/* Use up a value: its depth is `depth`, as others are nested around it. */
static void is_deep(covey_value *value, int depth)
{
    for (; depth < COVEY_VALUE_DEPTH_MAX; depth++) {
        covey_value *outer = covey_value_list();

        CHECK_OK(covey_value_append(outer, value));
        value = outer;
    }
    covey_value_free(value);
}

enum { DEEP = COVEY_VALUE_DEPTH_MAX - 1 };

TEST(what_held_deep_values_is_as_deep_as_what_is_left)
{
    covey_value *list = covey_value_list(), *dict = covey_value_dict(), *key, *copy;

    CHECK_OK(covey_value_append(list, nested(DEEP)));
    CHECK_OK(covey_value_take_at(list, 0, NULL));
    copy = covey_value_copy(list);
    is_deep(list, 1);
    is_deep(copy, 1);
    list = numbers(3);
    CHECK_OK(covey_value_append(list, nested(3)));
    CHECK_OK(covey_value_put_at(list, 0, nested(DEEP)));
    CHECK_OK(covey_value_put_at(list, 0, covey_value_none()));
    is_deep(covey_value_copy(list), 4);
    CHECK_OK(covey_value_put_str(dict, "x", nested(DEEP)));
    CHECK_OK(covey_value_put_str(dict, "y", list));
    key = covey_value_str("x");
    CHECK_OK(covey_value_take(dict, key, NULL));
    is_deep(covey_value_copy(dict), 5);
    CHECK_OK(covey_value_put_str(dict, "x", nested(DEEP)));
    CHECK_OK(covey_value_put_str(dict, "x", key));
    is_deep(dict, 5);
}

TEST(objects_that_held_deep_values_are_as_deep_as_what_is_left)
{
    covey_value *object = an_instance();

    CHECK_OK(covey_value_put_state(object, nested(DEEP)));
    CHECK_OK(covey_value_put_state(object, nested(2)));
    is_deep(covey_value_copy(object), 3);
    CHECK_OK(covey_value_put_str(object, "x", nested(DEEP - 1)));
    CHECK_OK(covey_value_put_str(object, "x", nested(3)));
    is_deep(object, 5);
}

/* Who holds it does not matter, nor that it is nested by several at once. */
static void *nest_shared(void *list)
{
    is_deep(covey_value_ref(list), 4);
    return NULL;
}

TEST(what_threads_share_is_as_deep_as_what_is_left)
{
    covey_value *list = covey_value_list();
    pthread_t threads[3];

    CHECK_OK(covey_value_append(list, nested(3)));
    CHECK_OK(covey_value_append(list, nested(DEEP)));
    CHECK_OK(covey_value_take_at(list, 1, NULL));
    for (int i = 0; i < 3; i++)
        CHECK_EQ(pthread_create(&threads[i], NULL, nest_shared, list), 0);
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    covey_value_free(list);
}

static void *use_deep(void *unused)
{
    covey_value *value = nested(COVEY_VALUE_DEPTH_MAX), *again = NULL;
    struct covey_bytes bytes = {0};
    uint64_t hash;

    (void)unused;
    CHECK_OK(covey_value_pickle(value, &bytes));
    CHECK_OK(covey_value_unpickle(&again, bytes.data, bytes.size, NULL));
    CHECK_EQ(covey_value_equal(value, again), 1);
    CHECK_ERR(covey_value_hash(value, &hash), COVEY_ETYPE);
    CHECK_OK(covey_value_repr(value, &bytes));
    covey_value_free(value);
    covey_value_free(again);
    covey_bytes_free(&bytes);
    return NULL;
}

/* The sanitizers' frames are larger. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { STACK = 8 << 20 };
#else
enum { STACK = 512 << 10 };
#endif

TEST(the_deepest_values_fit_a_small_stack)
{
    pthread_attr_t attr;
    pthread_t thread;

    pthread_attr_init(&attr);
    CHECK_EQ(pthread_attr_setstacksize(&attr, STACK), 0);
    CHECK_EQ(pthread_create(&thread, &attr, use_deep, NULL), 0);
    pthread_join(thread, NULL);
    pthread_attr_destroy(&attr);
}

/* ---- objects ----------------------------------------------------------------- */

TEST(objects_tell_class_arguments_and_state)
{
    covey_value *state, *kwargs, *error, *token, *args;
    const char *module, *name;
    struct covey_object parts;

    CHECK_OK(covey_value_pack(&args, "(s, i)", "text", 3));
    error = covey_value_call(covey_value_global("builtins", "ValueError"), args);
    CHECK_EQ(covey_value_is(error, "builtins", "ValueError"), 1);
    CHECK_EQ(covey_value_is(error, "builtins", "KeyError"), 0);
    CHECK_EQ(covey_value_is(error, NULL, "KeyError"), 0);
    CHECK_OK(covey_value_get_global(covey_value_class(error), &module, &name));
    CHECK_STR_EQ(module, "builtins");
    CHECK_STR_EQ(name, "ValueError");
    CHECK_OK(covey_value_get_object(error, &parts));
    CHECK(parts.calls && parts.args == args && !parts.state && !parts.kwargs);
    is(error, "ValueError('text', 3)");

    token = covey_value_instance(
        covey_value_global("multiprocessing.managers", "Token"), covey_value_tuple());
    CHECK_OK(covey_value_pack(&state, "(s, (s, i), s)", "list", "127.0.0.1", 5, "7f"));
    CHECK_OK(covey_value_put_state(token, covey_value_none()));
    CHECK_OK(covey_value_put_state(token, state));
    CHECK_OK(covey_value_pack(&kwargs, "{s: i}", "a", 1));
    CHECK_OK(covey_value_put_kwargs(token, kwargs));
    CHECK_OK(covey_value_get_object(token, &parts));
    CHECK(!parts.calls && parts.state == state && parts.kwargs == kwargs);
    is(token, "<multiprocessing.managers.Token() kwargs={'a': 1} "
              "state=('list', ('127.0.0.1', 5), '7f')>");
}

TEST(objects_refuse_what_does_not_fit)
{
    covey_value *error, *other;

    failed(covey_value_call(covey_value_int(1), covey_value_tuple()), COVEY_ETYPE);
    failed(covey_value_instance(covey_value_global("m", "C"), covey_value_list()),
           COVEY_ETYPE);
    error = covey_value_call(covey_value_global("m", "f"), covey_value_tuple());
    CHECK_ERR(covey_value_put_kwargs(error, covey_value_dict()), COVEY_ETYPE);
    CHECK_ERR(covey_value_check(error), COVEY_ETYPE);
    covey_value_free(error);
    error = covey_value_call(covey_value_global("m", "f"), covey_value_tuple());
    other = covey_value_ref(error);
    CHECK_ERR(covey_value_append(error, covey_value_none()), COVEY_ESTATE);
    CHECK_ERR(covey_value_put_str(error, "x", covey_value_none()), COVEY_ESTATE);
    CHECK_ERR(covey_value_put_state(error, covey_value_none()), COVEY_ESTATE);
    CHECK_ERR(covey_value_put_kwargs(error, covey_value_dict()), COVEY_ESTATE);
    covey_value_free(other);
    CHECK_ERR(covey_value_put_state(error, NULL), COVEY_ESTATE);
    covey_value_free(error);
    CHECK(!covey_value_class(covey_value_none()));
    CHECK_EQ(covey_value_is(covey_value_none(), "builtins", "NoneType"), 0);
}

TEST(items_of_an_object_that_somebody_took_do_not_change)
{
    covey_value *object =
        covey_value_instance(covey_value_global("m", "C"), covey_value_tuple());
    struct covey_object parts;
    covey_value *taken;

    CHECK_OK(covey_value_append(object, covey_value_int(1)));
    CHECK_OK(covey_value_get_object(object, &parts));
    taken = covey_value_ref(parts.items);
    CHECK_OK(covey_value_append(object, covey_value_int(2)));
    is(taken, "[1]");
    is(object, "<m.C() items=[1, 2]>");
}

CHECK_MAIN()
