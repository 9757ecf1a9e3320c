/* SPDX-License-Identifier: MIT */
/* What waits in the standard types of managers, who owns it, and where budgets end. The
 * plain methods are compared with CPython's by manager/types_differential. */
#include "types_help.h"

/* ---- locks --------------------------------------------------------------------- */

TEST(a_lock_passes_from_one_to_the_next_in_order)
{
    struct job first, second, third;

    begin(&cvy_type_lock, NULL);
    gives(&here, "acquire", NULL, "True");
    waits(&first, &there, "acquire", NULL);
    waits(&second, &here, "acquire", args("True 9000.5"));
    waits(&third, &there, "acquire", args("True 0.000001"));
    cvy_parking_run(&parking, cvy_os_now() + 1000 * 1000);
    goes_on(&third, "False");
    gives(&here, "acquire", args("False"), "False");
    gives(&here, "release", NULL, "None");
    goes_on(&first, "True");
    gives(&here, "release", NULL, "None"); /* not its owner: Python does not mind */
    goes_on(&second, "True");
    gives(&here, "release", NULL, "None");
    gives(&here, "release", NULL, "RuntimeError('release unlocked lock')");
    finish();
}

TEST(what_a_session_that_ends_holds_is_released)
{
    const struct cvy_class *classes[] = {&cvy_type_lock, &cvy_type_rlock,
                                         &cvy_type_condition};
    struct job job;

    for (size_t i = 0; i < 3; i++) {
        begin(classes[i], NULL);
        gives(&there, "acquire", NULL, "True");
        waits(&job, &here, "acquire", NULL);
        cvy_session_end(&there);
        cvy_parking_run(&parking, cvy_os_now());
        goes_on(&job, "True");
        gives(&here, "release", NULL, "None");
        finish();
    }
}

TEST(an_rlock_belongs_to_a_session)
{
    struct job job;

    begin(&cvy_type_rlock, NULL);
    gives(&here, "acquire", NULL, "True");
    gives(&here, "acquire", args("False"), "True");
    gives(&there, "release", NULL, "RuntimeError('cannot release un-acquired lock')");
    waits(&job, &there, "acquire", NULL);
    gives(&here, "release", NULL, "None");
    CHECK_EQ(done_count, 0);
    gives(&here, "release", NULL, "None");
    goes_on(&job, "True");
    gives(&there, "locked", NULL, "True");
    finish();
}

TEST(a_call_whose_session_ends_waits_no_more)
{
    struct job job, next;

    begin(&cvy_type_lock, NULL);
    gives(&here, "acquire", NULL, "True");
    waits(&job, &there, "acquire", NULL);
    waits(&next, &there, "acquire", NULL);
    cvy_cancel(&job.call);
    end(&job);
    gives(&here, "release", NULL, "None");
    goes_on(&next, "True");
    finish();
}

TEST(semaphores_count_and_wake_as_many_as_they_can)
{
    struct job jobs[3];

    begin(&cvy_type_semaphore, args("1"));
    gives(&here, "acquire", NULL, "True");
    for (int i = 0; i < 3; i++)
        waits(&jobs[i], &there, "acquire", NULL);
    gives(&here, "release", args("2"), "None");
    goes_on(&jobs[0], "True");
    goes_on(&jobs[1], "True");
    gives(&here, "acquire", args("True 0"), "False");
    gives(&here, "release", args("2"), "None");
    goes_on(&jobs[2], "True");
    gives(&here, "acquire", args("False"), "True");
    gives(&here, "acquire", args("False"), "False");
    finish();
    begin(&cvy_type_bounded_semaphore, NULL);
    gives(&here, "release", NULL, "ValueError('Semaphore released too many times')");
    finish();
}

/* The other session acquires it once more and ends. */
static void acquires_and_ends(void)
{
    gives(&there, "acquire", NULL, "True");
    cvy_session_end(&there);
}

TEST(permits_of_a_session_that_ends_come_back)
{
    struct job job;

    begin(&cvy_type_semaphore, args("3"));
    for (int i = 0; i < 3; i++)
        gives(&there, "acquire", NULL, "True");
    gives(&there, "release", NULL, "None");
    gives(&here, "acquire", NULL, "True");
    waits(&job, &here, "acquire", NULL);
    cvy_session_end(&there); /* which has two */
    cvy_parking_run(&parking, cvy_os_now());
    goes_on(&job, "True");
    gives(&here, "acquire", args("False"), "True");
    gives(&here, "acquire", args("False"), "False");
    gives(&here, "release", args("3"), "None");
    CHECK_EQ(here.watch_count, 0);
    finish();
    begin(&cvy_type_bounded_semaphore, args("1"));
    acquires_and_ends();
    gives(&here, "release", NULL, "ValueError('Semaphore released too many times')");
    gives(&here, "acquire", args("False"), "True");
    finish();
}

TEST(permits_of_a_signal_are_used_up)
{
    begin(&cvy_type_semaphore, args("0")); /* a signal from the beginning */
    gives(&here, "release", NULL, "None");
    acquires_and_ends();
    gives(&here, "acquire", args("False"), "False");
    finish();
    begin(&cvy_type_semaphore, args("2"));
    gives(&there, "acquire", NULL, "True");
    gives(&there, "acquire", NULL, "True");
    gives(&here, "release", NULL, "None"); /* what another has: from now on */
    CHECK_EQ(there.watch_count, 0);
    acquires_and_ends();
    gives(&here, "acquire", args("False"), "False");
    finish();
    begin(&cvy_type_semaphore, args("2"));
    gives(&there, "acquire", NULL, "True");
    gives(&there, "release", args("2"), "None"); /* more than it has */
    acquires_and_ends();
    gives(&here, "acquire", args("False"), "True");
    gives(&here, "acquire", args("False"), "True");
    gives(&here, "acquire", args("False"), "False");
    finish();
}

/* ---- conditions, events, barriers ---------------------------------------------- */

TEST(a_notified_condition_returns_with_its_lock)
{
    struct job first, second;

    begin(&cvy_type_condition, NULL);
    gives(&here, "wait", NULL, "RuntimeError('cannot wait on un-acquired lock')");
    gives(&here, "notify", NULL, "RuntimeError('cannot notify on un-acquired lock')");
    gives(&here, "acquire", NULL, "True");
    waits_notified(&first, &here);
    gives(&there, "acquire", NULL, "True"); /* it was released wholly */
    waits(&second, &there, "wait", args("1000.5"));
    gives(&there, "acquire", NULL, "True");
    gives(&there, "notify", NULL, "None");
    CHECK_EQ(done_count, 0); /* the lock is not free */
    cvy_parking_run(&parking, cvy_os_now() + COVEY_SEC(2000));
    CHECK_EQ(done_count, 0); /* and who waited in vain waits for it, too */
    gives(&there, "release", NULL, "None");
    goes_on(&first, "True");
    gives(&here, "release", NULL, "None");
    CHECK_EQ(done_count, 0); /* it was acquired twice */
    gives(&here, "release", NULL, "None");
    goes_on(&second, "False");
    gives(&there, "wait", args("0"), "False");
    gives(&there, "notify_all", NULL, "None");
    gives(&there, "release", NULL, "None");
    finish();
}

TEST(notify_wakes_as_many_as_it_is_told)
{
    struct job jobs[3];

    begin(&cvy_type_condition, NULL);
    for (int i = 0; i < 3; i++) {
        waits_notified(&jobs[i], &there);
    }
    gives(&here, "acquire", NULL, "True");
    gives(&here, "notify", args("a"),
          "TypeError(\"'>' not supported between instances of 'str' and 'int'\")");
    gives(&here, "notify", args("2"), "None");
    gives(&here, "release", NULL, "None");
    goes_on(&jobs[0], "True");
    gives(&there, "release", NULL, "None");
    goes_on(&jobs[1], "True");
    gives(&there, "notify_all", NULL, "None");
    gives(&there, "release", NULL, "None");
    goes_on(&jobs[2], "True");
    finish();
}

TEST(an_event_lets_all_go_on)
{
    struct job jobs[2], late;

    begin(&cvy_type_event, NULL);
    waits(&jobs[0], &here, "wait", NULL);
    waits(&jobs[1], &there, "wait", args("9000.5"));
    waits(&late, &there, "wait", args("1000.5"));
    cvy_parking_run(&parking, cvy_os_now() + COVEY_SEC(2000));
    goes_on(&late, "False");
    gives(&here, "set", NULL, "None");
    goes_on(&jobs[0], "True");
    goes_on(&jobs[1], "True");
    gives(&here, "wait", NULL, "True");
    gives(&here, "clear", NULL, "None");
    gives(&here, "wait", args("0"), "False");
    finish();
}

static covey_value *two(covey_value *first, covey_value *second)
{
    covey_value *tuple = covey_value_tuple();

    CHECK_OK(covey_value_append(tuple, first));
    CHECK_OK(covey_value_append(tuple, second));
    return tuple;
}

TEST(who_waits_no_time_for_a_condition_lets_others_have_the_lock)
{
    struct job other, job;

    begin(&cvy_type_condition, NULL);
    gives(&here, "acquire", NULL, "True");
    gives(&here, "acquire", NULL, "True");
    gives(&here, "wait", args("0"), "False");
    waits(&other, &there, "acquire", NULL);
    waits(&job, &here, "wait", args("0"));
    goes_on(&other, "True");
    gives(&there, "notify", NULL, "None");
    gives(&there, "release", NULL, "None");
    goes_on(&job, "False");
    gives(&here, "release", NULL, "None");
    gives(&here, "release", NULL, "None");
    gives(&here, "release", NULL, "RuntimeError('cannot release un-acquired lock')");
    finish();
}

TEST(a_barrier_opens_for_all_parties_again_and_again)
{
    struct job jobs[2];

    begin(&cvy_type_barrier, args("3"));
    for (int round = 0; round < 2; round++) {
        waits(&jobs[0], &here, "wait", NULL);
        waits(&jobs[1], &there, "wait", args("9000.5"));
        gives(&here, "__getattribute__", name("n_waiting"), "2");
        gives(&here, "wait", NULL, "2");
        goes_on(&jobs[0], "0");
        goes_on(&jobs[1], "1");
        gives(&here, "__getattribute__", name("n_waiting"), "0");
    }
    finish();
}

TEST(a_barrier_breaks_by_abort_reset_and_time)
{
    const char *broken = "threading.BrokenBarrierError()";
    struct job job, other;

    begin(&cvy_type_barrier, args("3"));
    waits(&job, &here, "wait", NULL);
    gives(&there, "abort", NULL, "None");
    goes_on(&job, broken);
    gives(&there, "wait", NULL, broken);
    gives(&there, "__getattribute__", name("broken"), "True");
    gives(&there, "reset", NULL, "None");
    waits(&job, &here, "wait", NULL);
    gives(&there, "reset", NULL, "None");
    goes_on(&job, broken);
    gives(&there, "__getattribute__", name("broken"), "False");
    waits(&other, &here, "wait", NULL);
    waits(&job, &here, "wait", args("1000.5"));
    cvy_parking_run(&parking, cvy_os_now() + COVEY_SEC(2000));
    goes_on(&job, broken);
    goes_on(&other, broken);
    gives(&there, "__getattribute__", name("broken"), "True");
    finish();
}

static covey_value *one(covey_value *value)
{
    covey_value *tuple = covey_value_tuple();

    CHECK_OK(covey_value_append(tuple, value));
    return tuple;
}

TEST(a_time_that_cannot_be_added_leaves_a_barrier_as_it_is)
{
    unsigned char huge[200] = {[198] = 1};
    struct job job;

    begin(&cvy_type_barrier, args("3"));
    waits(&job, &there, "wait", NULL);
    gives(&here, "wait", one(covey_value_complex(0, 1)),
          "TypeError(\"'>' not supported between instances of 'complex' and 'int'\")");
    gives(&here, "wait", one(covey_value_int_bytes(huge, sizeof(huge))),
          "OverflowError('int too large to convert to float')");
    gives(&here, "__getattribute__", name("n_waiting"), "1");
    gives(&here, "abort", NULL, "None");
    goes_on(&job, "threading.BrokenBarrierError()");
    finish();
}

TEST(who_leaves_a_barrier_gives_its_place_to_another)
{
    struct job gone, job;

    begin(&cvy_type_barrier, args("2"));
    waits(&gone, &there, "wait", NULL);
    cvy_cancel(&gone.call);
    end(&gone);
    waits(&job, &here, "wait", NULL);
    gives(&there, "wait", NULL, "1");
    goes_on(&job, "0");
    finish();
}

/* ---- queues -------------------------------------------------------------------- */

TEST(items_go_to_those_who_wait_in_order)
{
    struct job first, second, late;

    begin(&cvy_type_queue, NULL);
    waits(&first, &here, "get", NULL);
    waits(&second, &there, "get", args("True 9000.5"));
    waits(&late, &there, "get", args("True 1000.5"));
    cvy_parking_run(&parking, cvy_os_now() + COVEY_SEC(2000));
    goes_on(&late, "queue.Empty()");
    gives(&here, "put", args("1"), "None");
    goes_on(&first, "1");
    gives(&here, "put", args("2"), "None");
    goes_on(&second, "2");
    gives(&here, "get_nowait", NULL, "queue.Empty()");
    finish();
}

TEST(a_full_queue_keeps_putters_until_there_is_room)
{
    struct job first, second, late;

    begin(&cvy_type_joinable_queue, args("1"));
    gives(&here, "put", args("1"), "None");
    gives(&here, "put_nowait", args("9"), "queue.Full()");
    waits(&first, &there, "put", args("2"));
    waits(&second, &there, "put", args("3"));
    waits(&late, &there, "put", args("4 True 1000.5"));
    cvy_parking_run(&parking, cvy_os_now() + COVEY_SEC(2000));
    goes_on(&late, "queue.Full()");
    gives(&here, "get", NULL, "1");
    goes_on(&first, "None");
    gives(&here, "get", NULL, "2");
    goes_on(&second, "None");
    waits(&first, &there, "join", NULL);
    for (int i = 0; i < 3; i++)
        gives(&here, "task_done", NULL, "None");
    goes_on(&first, "None");
    gives(&here, "task_done", NULL, "ValueError('task_done() called too many times')");
    finish();
}

TEST(a_queue_that_is_shut_down_lets_all_go)
{
    struct job getter, putter, joiner;

    begin(&cvy_type_queue, args("1"));
    waits(&getter, &there, "get", NULL);
    gives(&here, "shutdown", NULL, "None");
    goes_on(&getter, "queue.ShutDown()");
    gives(&here, "put", args("1"), "queue.ShutDown()");
    finish();
    begin(&cvy_type_queue, args("1"));
    gives(&here, "put", args("1"), "None");
    waits(&putter, &there, "put", args("2"));
    waits(&joiner, &there, "join", NULL);
    gives(&here, "shutdown", args("True"), "None");
    goes_on(&putter, "queue.ShutDown()");
    goes_on(&joiner, "None");
    gives(&here, "get", NULL, "queue.ShutDown()");
    finish();
}

TEST(a_time_that_is_too_long_is_refused_when_somebody_has_to_wait)
{
    const char *refused = "OverflowError('timestamp out of range for platform time_t')";

    begin(&cvy_type_queue, args("1"));
    gives(&here, "get", args("True 10000000000"), refused);
    gives(&here, "put", args("5 True 10000000000.0"), "None");
    gives(&here, "put", args("6 True 10000000000.0"), refused);
    gives(&here, "get", args("True 10000000000"), "5");
    finish();
}

TEST(a_limit_that_is_no_number_is_refused_where_it_is_looked_at)
{
    begin(&cvy_type_queue, name("a"));
    gives(&here, "get_nowait", NULL, "queue.Empty()");
    gives(&here, "put_nowait", args("1"),
          "TypeError(\"'>' not supported between instances of 'str' and 'int'\")");
    gives(&here, "full", NULL,
          "TypeError(\"'<' not supported between instances of 'int' and 'str'\")");
    finish();
}

/* ---- sets ---------------------------------------------------------------------- */

/* Arguments by a format with one number, which is 1. */
static covey_value *with_one(const char *format)
{
    covey_value *tuple;

    CHECK_OK(covey_value_pack(&tuple, format, 1));
    return tuple;
}

TEST(what_a_set_has_is_looked_for_until_all_is_found)
{
    begin(&cvy_type_set, with_one("([i])"));
    gives(&here, "issubset", with_one("([i, []])"), "True");
    gives(&here, "issubset", with_one("([[], i])"),
          "TypeError(\"unhashable type: 'list'\")");
    gives(&here, "intersection", with_one("([i, []])"), "{1}");
    gives(&here, "intersection_update", with_one("([i, []])"), "None");
    finish();
}

TEST(an_intersection_has_the_items_of_the_other_or_the_smaller_set)
{
    covey_value *small = covey_value_set(), *large = covey_value_set();

    CHECK_OK(covey_value_add(small, covey_value_bool(1)));
    CHECK_OK(covey_value_add(large, covey_value_bool(1)));
    CHECK_OK(covey_value_add(large, covey_value_int(2)));
    begin(&cvy_type_set, with_one("([i])"));
    gives(&here, "intersection", with_one("([p])"), "{True}");
    gives(&here, "intersection", one(small), "{True}");
    gives(&here, "intersection", one(large), "{1}");
    finish();
}

/* ---- names --------------------------------------------------------------------- */

TEST(names_of_attributes_and_keywords_are_strs)
{
    covey_value *dict = covey_value_dict(), *none = covey_value_tuple();
    struct cvy_call call;
    void *self = NULL;

    CHECK_OK(covey_value_put(dict, covey_value_int(1), covey_value_int(2)));
    cvy_call_begin(&call, &parking, &here, &subject, none, dict);
    CHECK_EQ(cvy_type_namespace.create(&call, &self), CVY_RAISED);
    is(covey_value_ref(call.reply), "TypeError('keywords must be strings')");
    CHECK_EQ(cvy_type_dict.create(&call, &self), CVY_RAISED);
    CHECK_EQ(cvy_type_queue.create(&call, &self), CVY_RAISED);
    cvy_call_end(&call);
    begin(&cvy_type_namespace, NULL);
    gives(&here, "__setattr__", two(covey_value_str("__dict__"), dict),
          "TypeError('keywords must be strings')");
    gives(&here, "__repr__", NULL, "'Namespace()'");
    covey_value_free(none);
    finish();
}

/* ---- budgets ------------------------------------------------------------------- */

/* A method raises MemoryError or RuntimeError. */
static void is_too_much(const char *method, covey_value *given)
{
    struct job job;
    const covey_value *class;

    CHECK_EQ(start(&job, &here, method, given), CVY_RAISED);
    class = covey_value_class(job.call.reply);
    CHECK(covey_value_is(class, "builtins", "MemoryError") ||
          covey_value_is(class, "builtins", "RuntimeError"));
    end(&job);
}

/* [[[...]*2]*2]*2, of which a pickle has some bytes per level. */
static covey_value *bomb(void)
{
    covey_value *value = covey_value_list(), *pair;

    for (int i = 0; i < 60; i++) {
        CHECK_OK(covey_value_pack(&pair, "[O, N]", value, value));
        value = pair;
    }
    return value;
}

TEST(no_request_takes_more_than_its_budget)
{
    struct job job;

    begin(&cvy_type_list, NULL);
    gives(&here, "append", one(bomb()), "None");
    is_too_much("__repr__", NULL);
    is_too_much("__contains__", one(bomb()));
    is_too_much("remove", one(bomb()));
    is_too_much("index", one(bomb()));
    gives(&here, "append", one(bomb()), "None");
    is_too_much("sort", NULL);
    is_too_much("__imul__", args("4611686018427387904"));
    is_too_much("__mul__", args("1000000000"));
    is_too_much("extend", one(covey_value_range(0, INT64_MAX, 1)));
    gives(&here, "__len__", NULL, "2");
    CHECK_EQ(start(&job, &here, "#GETVALUE", NULL), 0);
    CHECK_EQ(covey_value_count(job.call.reply), 2);
    end(&job);
    gives(&here, "clear", NULL, "None");
    finish();
}

TEST(a_container_may_grow_beyond_what_a_request_may_take)
{
    struct cvy_call call;
    covey_value *item = args("7");

    begin(&cvy_type_list, NULL);
    for (int i = 0; i < 100000; i++) {
        cvy_call_begin(&call, &parking, &here, &subject, item, NULL);
        call.budget.limit = 64;
        CHECK_EQ(cvy_call_run(&call, "append"), 0);
        cvy_call_end(&call);
    }
    gives(&here, "__len__", NULL, "100000");
    finish();
    covey_value_free(item);
}

CHECK_MAIN()
