/* SPDX-License-Identifier: MIT */
/* The standard objects of managers: covey's own, and those of every CPython of this
 * machine. */
#include "proxy_help.h"

static covey_value *texts(const char *a, const char *b)
{
    covey_value *list = NULL;
    CHECK_OK(covey_value_pack(&list, "[s, s]", a, b));
    return list;
}

/* ---- lists ---- */

static void change_list(covey_manager *m, const struct python *p)
{
    size_t n = 0;
    covey_value *v = NULL;
    (void)p;
    covey_proxy *l = created(m, "list", numbers(3));
    CHECK_OK(covey_list_append(l, covey_value_str("x")));
    CHECK_OK(covey_list_extend(l, texts("y", "z")));
    CHECK_OK(covey_list_insert(l, -1, covey_value_float(0.5)));
    holds(l, "[0, 1, 2, 'x', 'y', 0.5, 'z']");
    CHECK_OK(covey_list_set(l, 0, covey_value_none()));
    CHECK_OK(covey_list_delete(l, -2));
    CHECK_OK(covey_list_pop(l, -1, &v));
    is(v, "'z'");
    CHECK_OK(covey_list_pop(l, 0, NULL));
    CHECK_OK(covey_list_remove(l, covey_value_int(2)));
    holds(l, "[1, 'x', 'y']");
    CHECK_OK(covey_list_count(l, &n));
    CHECK_EQ(n, 3);
    CHECK_OK(covey_list_clear(l));
    holds(l, "[]");
    covey_proxy_free(l);
}

TEST_TIMEOUT(a_list_is_changed, 120)
{
    with_each_manager(change_list);
}

static void read_list(covey_manager *m, const struct python *p)
{
    size_t n = 0, position = 0;
    covey_value *v = NULL;
    (void)p;
    covey_proxy *l = created(m, "list", numbers(5));
    CHECK_OK(covey_list_get(l, -1, &v));
    is(v, "4");
    CHECK_OK(covey_list_slice(l, 1, COVEY_OPEN, 2, &v));
    is(v, "[1, 3]");
    CHECK_OK(covey_list_slice(l, COVEY_OPEN, -1, COVEY_OPEN, &v));
    is(v, "[0, 1, 2, 3]");
    CHECK_OK(covey_list_reversed(l, &v));
    is(v, "[4, 3, 2, 1, 0]");
    CHECK_OK(covey_list_concat(l, texts("a", "b"), &v));
    is(v, "[0, 1, 2, 3, 4, 'a', 'b']");
    CHECK_OK(covey_list_repeat(l, 2, &v));
    is(v, "[0, 1, 2, 3, 4, 0, 1, 2, 3, 4]");
    CHECK_OK(covey_proxy_copy(l, &v));
    is(v, "[0, 1, 2, 3, 4]");
    CHECK_OK(covey_list_index(l, covey_value_int(3), &n));
    CHECK_EQ(n, 3);
    CHECK_OK(covey_list_occurrences(l, covey_value_int(3), &n));
    CHECK_EQ(n, 1);
    CHECK_EQ(covey_list_contains(l, covey_value_int(4)), 1);
    CHECK_EQ(covey_list_contains(l, covey_value_int(5)), 0);
    for (int64_t i = 0; covey_list_next(l, &position, &v) == 1; i++) {
        CHECK(covey_value_equal(v, covey_value_int(i)));
        covey_value_free(v);
    }
    CHECK_EQ(position, 5);
    covey_proxy_free(l);
}

TEST_TIMEOUT(a_list_is_read, 120)
{
    with_each_manager(read_list);
}

static void order_list(covey_manager *m, const struct python *p)
{
    (void)p;
    covey_proxy *l = created(m, "list", numbers(5));
    CHECK_OK(covey_list_set_slice(l, 1, 3, COVEY_OPEN, numbers(1)));
    holds(l, "[0, 0, 3, 4]");
    CHECK_OK(covey_list_sort(l, 1));
    holds(l, "[4, 3, 0, 0]");
    CHECK_OK(covey_list_sort(l, 0));
    CHECK_OK(covey_list_reverse(l));
    holds(l, "[4, 3, 0, 0]");
    CHECK_OK(covey_list_delete_slice(l, COVEY_OPEN, COVEY_OPEN, 2));
    holds(l, "[3, 0]");
    CHECK_OK(covey_list_append(l, covey_value_str("x")));
    CHECK_ERR(covey_list_sort(l, 0), COVEY_ETYPE);
    covey_proxy_free(l);
}

TEST_TIMEOUT(a_list_is_ordered_and_sliced, 120)
{
    with_each_manager(order_list);
}

static void break_list(covey_manager *m, const struct python *p)
{
    covey_value *v = NULL;
    size_t n = 7;
    (void)p;
    covey_proxy *l = created(m, "list", NULL);
    CHECK_ERR(covey_list_get(l, 0, &v), -ENOENT);
    failed_by("IndexError", "list index out of range");
    CHECK_ERR(covey_list_pop(l, -1, &v), -ENOENT);
    CHECK_STR_HAS(covey_error_detail(), "IndexError: pop from empty list");
    CHECK_ERR(covey_list_remove(l, covey_value_int(1)), -ENOENT);
    CHECK_ERR(covey_list_set(l, 0, covey_value_int(1)), -ENOENT);
    CHECK_ERR(covey_list_delete(l, 0), -ENOENT);
    CHECK_STR_HAS(covey_error_detail(),
                  "IndexError: list assignment index out of range");
    CHECK_ERR(covey_list_index(l, covey_value_int(1), &n), -ENOENT);
    CHECK_ERR(covey_list_extend(l, covey_value_int(1)), COVEY_ETYPE);
    CHECK_ERR(covey_list_slice(l, 0, 0, 0, &v), -EINVAL);
    CHECK_ERR(covey_list_append(l, covey_value_str("\xff")), -EILSEQ);
    CHECK_ERR(covey_list_insert(l, 0, covey_value_str("\xff")), -EILSEQ);
    CHECK(!v);
    CHECK_EQ(n, 7);
    CHECK_OK(covey_list_count(l, &n));
    CHECK_EQ(n, 0);
    CHECK_STR_EQ(covey_proxy_error_type(), "");
    covey_proxy_free(l);
}

TEST_TIMEOUT(errors_of_lists_have_codes, 120)
{
    with_each_manager(break_list);
}

/* ---- dicts ---- */

static void use_dict(covey_manager *m, const struct python *p)
{
    covey_value *v = NULL;
    size_t n = 0;
    (void)p;
    covey_proxy *d = created(m, "dict", NULL);
    CHECK_OK(covey_dict_set(d, covey_value_int(1), covey_value_str("1")));
    CHECK_OK(covey_dict_set(d, covey_value_str("2"), covey_value_int(2)));
    CHECK_OK(covey_dict_set(d, covey_value_float(0.25), covey_value_none()));
    holds(d, "{1: '1', '2': 2, 0.25: None}");
    CHECK_OK(covey_dict_get(d, covey_value_str("2"), &v));
    is(v, "2");
    CHECK_OK(covey_dict_get_or(d, covey_value_int(9), covey_value_int(3), &v));
    is(v, "3");
    CHECK_OK(covey_dict_setdefault(d, covey_value_int(1), covey_value_int(3), &v));
    is(v, "'1'");
    CHECK_EQ(covey_dict_contains(d, covey_value_float(1)), 1);
    CHECK_EQ(covey_dict_contains(d, covey_value_int(9)), 0);
    CHECK_OK(covey_dict_keys(d, &v));
    is(v, "[1, '2', 0.25]");
    CHECK_OK(covey_dict_values(d, &v));
    is(v, "['1', 2, None]");
    CHECK_OK(covey_dict_items(d, &v));
    is(v, "[(1, '1'), ('2', 2), (0.25, None)]");
    CHECK_OK(covey_dict_delete(d, covey_value_str("2")));
    CHECK_OK(covey_dict_popitem(d, &v));
    is(v, "(0.25, None)");
    CHECK_OK(covey_value_pack(&v, "{s: i}", "k", 7));
    CHECK_OK(covey_dict_update(d, v));
    CHECK_OK(covey_dict_pop(d, covey_value_int(1), NULL));
    CHECK_OK(covey_proxy_copy(d, &v));
    is(v, "{'k': 7}");
    CHECK_ERR(covey_dict_get(d, covey_value_int(1), &v), -ENOENT);
    failed_by("KeyError", "1");
    CHECK_ERR(covey_dict_delete(d, covey_value_int(1)), -ENOENT);
    CHECK_ERR(covey_dict_pop(d, covey_value_int(1), &v), -ENOENT);
    failed_by("KeyError", "1");
    CHECK_ERR(covey_dict_set(d, covey_value_list(), covey_value_none()), COVEY_ETYPE);
    CHECK_OK(covey_dict_clear(d));
    CHECK_OK(covey_dict_count(d, &n));
    CHECK_EQ(n, 0);
    CHECK_ERR(covey_dict_popitem(d, &v), -ENOENT);
    covey_proxy_free(d);
}

TEST_TIMEOUT(a_dict_is_used, 120)
{
    with_each_manager(use_dict);
}

static void iterate_dict(covey_manager *m, const struct python *p)
{
    covey_value *v = NULL;
    covey_proxy *it = NULL, *d = created(m, "dict", NULL);
    for (int i = 0; i < 3; i++)
        CHECK_OK(covey_dict_set(d, covey_value_int(i), covey_value_none()));
    if (p->minor < 7) /* dict proxies have __iter__ from 3.7 on */
        goto end;
    CHECK_OK(covey_dict_iterate(d, &it));
    CHECK_STR_EQ(covey_proxy_type(it), "Iterator");
    for (int i = 0; i < 3; i++) {
        CHECK_EQ(covey_proxy_next(it, &v), 1);
        CHECK(covey_value_equal(v, covey_value_int(i)));
        covey_value_free(v);
    }
    CHECK_EQ(covey_proxy_next(it, &v), 0);
    covey_proxy_free(it);
    CHECK_OK(covey_dict_iterate(d, &it));
    CHECK_OK(covey_dict_clear(d));
    CHECK_ERR(covey_proxy_next(it, &v), COVEY_ESTATE);
    covey_proxy_free(it);
    CHECK_ERR(covey_proxy_call(d, &v, "__iter__", "()"), COVEY_ETYPE);
    CHECK_EQ(count_of(m), 1);
end:
    covey_proxy_free(d);
}

TEST_TIMEOUT(a_dict_is_iterated_over, 120)
{
    with_each_manager(iterate_dict);
}

/* ---- the others ---- */

static void use_values(covey_manager *m, const struct python *p)
{
    covey_value *v = NULL, *args = NULL;
    covey_proxy *value, *array;
    size_t n = 0;
    (void)p;
    covey_proxy *space = created(m, "Namespace", NULL);
    CHECK_OK(covey_namespace_set(space, "x", covey_value_int(1)));
    CHECK_OK(covey_namespace_get(space, "x", &v));
    is(v, "1");
    holds(space, "Namespace(x=1)");
    CHECK_OK(covey_namespace_delete(space, "x"));
    CHECK_ERR(covey_namespace_get(space, "x", &v), -ENOENT);
    CHECK_STR_EQ(covey_proxy_error_type(), "AttributeError");
    CHECK_ERR(covey_namespace_delete(space, "x"), -ENOENT);
    CHECK_STR_EQ(covey_proxy_error_type(), "AttributeError");
    CHECK_OK(covey_value_pack(&args, "(s, i)", "i", 5));
    CHECK_OK(covey_proxy_create(&value, m, "Value", args, NULL));
    CHECK_OK(covey_proxy_value_set(value, covey_value_int(6)));
    CHECK_OK(covey_proxy_value_get(value, &v));
    is(v, "6");
    CHECK_OK(covey_value_pack(&args, "(s, [i, i])", "i", 1, 2));
    CHECK_OK(covey_proxy_create(&array, m, "Array", args, NULL));
    CHECK_OK(covey_list_set(array, 1, covey_value_int(9)));
    CHECK_OK(covey_list_get(array, 1, &v));
    is(v, "9");
    CHECK_OK(covey_list_count(array, &n));
    CHECK_EQ(n, 2);
    CHECK_ERR(covey_list_set(array, 0, covey_value_str("x")), COVEY_ETYPE);
    covey_proxy_free(array);
    covey_proxy_free(value);
    covey_proxy_free(space);
}

TEST_TIMEOUT(namespace_value_and_array, 120)
{
    with_each_manager(use_values);
}

static void use_queue(covey_manager *m, const struct python *p)
{
    covey_value *v = NULL;
    size_t n = 9;
    (void)p;
    covey_proxy *q = created(m, "Queue", covey_value_int(2));
    CHECK_ERR(covey_proxy_queue_get(q, &v, COVEY_NOWAIT), -ETIMEDOUT);
    CHECK_STR_EQ(covey_proxy_error_type(), "Empty");
    CHECK_ERR(covey_proxy_queue_get(q, &v, COVEY_MSEC(10)), -ETIMEDOUT);
    CHECK_OK(covey_proxy_queue_put(q, covey_value_int(1), COVEY_NOWAIT));
    CHECK_OK(covey_proxy_queue_put(q, covey_value_int(2), COVEY_FOREVER));
    CHECK_EQ(covey_proxy_queue_full(q), 1);
    CHECK_ERR(covey_proxy_queue_put(q, covey_value_int(3), COVEY_MSEC(10)), -ETIMEDOUT);
    CHECK_STR_EQ(covey_proxy_error_type(), "Full");
    CHECK_OK(covey_proxy_queue_count(q, &n));
    CHECK_EQ(n, 2);
    CHECK_OK(covey_proxy_queue_get(q, &v, COVEY_FOREVER));
    is(v, "1");
    CHECK_OK(covey_proxy_queue_get(q, &v, PATIENT));
    is(v, "2");
    CHECK_EQ(covey_proxy_queue_empty(q), 1);
    covey_proxy_free(q);
    q = created(m, "JoinableQueue", NULL);
    CHECK_OK(covey_proxy_queue_put(q, covey_value_int(1), PATIENT));
    CHECK_OK(covey_proxy_queue_get(q, &v, PATIENT));
    CHECK_OK(covey_proxy_queue_done(q));
    CHECK_ERR(covey_proxy_queue_done(q), -EINVAL);
    CHECK_OK(covey_proxy_queue_join(q));
    covey_proxy_free(q);
}

TEST_TIMEOUT(queues_of_a_manager, 120)
{
    with_each_manager(use_queue);
}

/* What is in it is got before. */
static void shut_queue(covey_manager *m, const struct python *p)
{
    covey_value *v = NULL;
    if (p->minor < 13)
        return;
    covey_proxy *q = created(m, "Queue", NULL);
    CHECK_OK(covey_proxy_queue_put(q, covey_value_int(1), PATIENT));
    CHECK_OK(covey_proxy_call(q, NULL, "shutdown", "()"));
    CHECK_ERR(covey_proxy_queue_put(q, covey_value_int(2), PATIENT), COVEY_ECLOSED);
    CHECK_STR_EQ(covey_proxy_error_type(), "ShutDown");
    CHECK_OK(covey_proxy_queue_get(q, &v, PATIENT));
    is(v, "1");
    CHECK_ERR(covey_proxy_queue_get(q, &v, PATIENT), COVEY_ECLOSED);
    covey_proxy_free(q);
}

TEST_TIMEOUT(a_queue_that_is_shut_down_is_closed, 120)
{
    with_each_manager(shut_queue);
}

/* Another thread: locks there belong to threads, as connections do. */
struct other {
    covey_proxy *lock, *event;
    int while_held, after;
};

static void *other_thread(void *arg)
{
    struct other *o = arg;
    o->while_held = covey_proxy_lock_acquire(o->lock, COVEY_NOWAIT);
    CHECK_ERR(covey_proxy_lock_acquire(o->lock, COVEY_MSEC(10)), -ETIMEDOUT);
    CHECK_OK(covey_proxy_event_set(o->event));
    o->after = covey_proxy_lock_acquire(o->lock, PATIENT);
    CHECK_OK(covey_proxy_lock_release(o->lock));
    return NULL;
}

static void use_locks(covey_manager *m, const struct python *p)
{
    static const char *const kinds[] = {"Lock", "RLock", "Semaphore",
                                        "BoundedSemaphore"};
    pthread_t thread;
    (void)p;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        struct other o = {created(m, kinds[i], NULL), created(m, "Event", NULL), 0, 1};
        CHECK_OK(covey_proxy_lock_acquire(o.lock, COVEY_FOREVER));
        if (i == 1)
            CHECK_OK(covey_proxy_lock_acquire(o.lock, COVEY_NOWAIT));
        CHECK_EQ(pthread_create(&thread, NULL, other_thread, &o), 0);
        CHECK_OK(covey_proxy_event_wait(o.event, COVEY_FOREVER));
        CHECK_OK(covey_proxy_lock_release(o.lock));
        if (i == 1)
            CHECK_OK(covey_proxy_lock_release(o.lock));
        CHECK_EQ(pthread_join(thread, NULL), 0);
        CHECK_EQ(o.while_held, -ETIMEDOUT);
        CHECK_EQ(o.after, 0);
        if (i == 3)
            CHECK_ERR(covey_proxy_lock_release(o.lock), -EINVAL);
        else if (i < 2)
            CHECK_ERR(covey_proxy_lock_release(o.lock), COVEY_ESTATE);
        covey_proxy_free(o.lock);
        covey_proxy_free(o.event);
    }
}

TEST_TIMEOUT(locks_belong_to_threads, 120)
{
    with_each_manager(use_locks);
}

struct signals {
    covey_proxy *condition, *ready, *barrier;
    size_t index;
};

static void *notifier(void *arg)
{
    struct signals *s = arg;
    CHECK_OK(covey_proxy_event_wait(s->ready, PATIENT));
    CHECK_OK(covey_proxy_lock_acquire(s->condition, PATIENT));
    CHECK_OK(covey_proxy_condition_notify(s->condition, 1));
    CHECK_OK(covey_proxy_condition_notify_all(s->condition));
    CHECK_OK(covey_proxy_lock_release(s->condition));
    CHECK_OK(covey_proxy_barrier_wait(s->barrier, PATIENT, &s->index));
    return NULL;
}

static void use_signals(covey_manager *m, const struct python *p)
{
    pthread_t thread;
    size_t index = 9;
    struct signals s = {created(m, "Condition", NULL), created(m, "Event", NULL),
                        created(m, "Barrier", covey_value_int(2)), 9};
    (void)p;
    CHECK_EQ(covey_proxy_event_is_set(s.ready), 0);
    CHECK_ERR(covey_proxy_event_wait(s.ready, COVEY_MSEC(5)), -ETIMEDOUT);
    CHECK_ERR(covey_proxy_condition_wait(s.condition, COVEY_NOWAIT), COVEY_ESTATE);
    CHECK_ERR(covey_proxy_condition_notify(s.condition, 1), COVEY_ESTATE);
    CHECK_ERR(covey_proxy_condition_notify_all(s.condition), COVEY_ESTATE);
    CHECK_OK(covey_proxy_lock_acquire(s.condition, PATIENT));
    CHECK_ERR(covey_proxy_condition_wait(s.condition, COVEY_MSEC(5)), -ETIMEDOUT);
    CHECK_EQ(pthread_create(&thread, NULL, notifier, &s), 0);
    CHECK_OK(covey_proxy_event_set(s.ready));
    CHECK_OK(covey_proxy_condition_wait(s.condition, PATIENT));
    CHECK_OK(covey_proxy_lock_release(s.condition));
    CHECK_OK(covey_proxy_barrier_wait(s.barrier, PATIENT, &index));
    CHECK_EQ(pthread_join(thread, NULL), 0);
    CHECK_EQ(index + s.index, 1);
    CHECK_OK(covey_proxy_event_clear(s.ready));
    CHECK_EQ(covey_proxy_event_is_set(s.ready), 0);
    CHECK_ERR(covey_proxy_barrier_wait(s.barrier, COVEY_MSEC(5), NULL), COVEY_EBROKEN);
    CHECK_OK(covey_proxy_barrier_reset(s.barrier));
    CHECK_OK(covey_proxy_barrier_abort(s.barrier));
    CHECK_ERR(covey_proxy_barrier_wait(s.barrier, PATIENT, NULL), COVEY_EBROKEN);
    covey_proxy_free(s.condition);
    covey_proxy_free(s.ready);
    covey_proxy_free(s.barrier);
}

TEST_TIMEOUT(conditions_events_and_barriers, 120)
{
    with_each_manager(use_signals);
}

CHECK_MAIN()
