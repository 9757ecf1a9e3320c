/* SPDX-License-Identifier: MIT */
/* Values through queues: they arrive equal, and what is no pickle is told and gone. */
#include "process_help.h"
#include "value_help.h"

static covey_queue *queue_new(void)
{
    covey_queue *q;
    CHECK_OK(covey_queue_create(&q, 0, COVEY_QUEUE_OPTS(.name = "values")));
    return q;
}

static covey_value *large_value(void)
{
    covey_value *list = numbers(1000);
    CHECK_OK(covey_value_append(list, covey_value_str("behind a thousand")));
    return list;
}

static covey_value *very_large_value(void)
{
    static char bytes[400000];
    memset(bytes, 'b', sizeof bytes);
    return covey_value_bytes(bytes, sizeof bytes);
}

typedef covey_value *make_fn(void);
static covey_value *small_value(void)
{
    covey_value *dict = covey_value_dict();
    CHECK_OK(covey_value_put_str(dict, "pi", covey_value_float(3.25)));
    CHECK_OK(covey_value_put_str(dict, "none", covey_value_none()));
    return dict;
}

static make_fn *const makers[] = {small_value, large_value, very_large_value};
enum { MAKERS = 3, ROUNDS = 20 };

static int put_values(struct covey_view arg)
{
    covey_queue *q = *(covey_queue *const *)arg.data;
    for (int i = 0; i < MAKERS * ROUNDS; i++) {
        covey_value *value = makers[i % MAKERS]();
        CHECK_OK(covey_queue_put_value(q, value, COVEY_FOREVER));
        covey_value_free(value);
    }
    return 0;
}

TEST_EACH_METHOD(values_of_all_sizes_arrive_equal)
{
    covey_queue *q = queue_new();
    covey_process *p = started(put_values, COVEY_VIEW_OF(q), OPTS());
    for (int i = 0; i < MAKERS * ROUNDS; i++) {
        covey_value *got, *wanted = makers[i % MAKERS]();
        CHECK_OK(covey_queue_get_value(q, &got, COVEY_FOREVER, NULL));
        CHECK_EQ(covey_value_equal(got, wanted), 1);
        covey_value_free(got);
        covey_value_free(wanted);
    }
    CHECK_EQ(end_of(p), 0);
    covey_queue_free(q);
}

TEST(what_is_no_pickle_is_told_and_gone)
{
    static const char cut[] = "\x80\x04K";
    covey_queue *q = queue_new();
    covey_value *value, *wanted = covey_value_int(7);
    CHECK_OK(covey_queue_put(q, COVEY_VIEW("no pickle", 9), COVEY_NOWAIT));
    CHECK_OK(covey_queue_put(q, COVEY_NO_VIEW, COVEY_NOWAIT));
    CHECK_OK(covey_queue_put(q, COVEY_VIEW(cut, 3), COVEY_NOWAIT));
    CHECK_OK(covey_queue_put_value(q, wanted, COVEY_NOWAIT));
    for (int i = 0; i < 3; i++) {
        CHECK_ERR(covey_queue_get_value(q, &value, COVEY_NOWAIT, NULL), COVEY_EPICKLE);
        CHECK_STR_HAS(covey_error_detail(), "from queue values is gone");
    }
    CHECK_OK(covey_queue_get_value(q, &value, COVEY_NOWAIT, NULL));
    CHECK_EQ(covey_value_equal(value, wanted), 1);
    covey_value_free(value);
    covey_value_free(wanted);
    CHECK_ERR(covey_queue_get_value(q, &value, COVEY_NOWAIT, NULL), -ETIMEDOUT);
    CHECK_OK(covey_queue_close(q));
    CHECK_ERR(covey_queue_get_value(q, &value, COVEY_NOWAIT, NULL), COVEY_ECLOSED);
    covey_queue_free(q);
}

TEST(values_are_limited)
{
    covey_queue *q = queue_new();
    covey_value *value = numbers(100);
    size_t count;
    CHECK_OK(covey_queue_put_value(q, value, COVEY_NOWAIT));
    CHECK_OK(covey_queue_put_value(q, value, COVEY_NOWAIT));
    covey_value_free(value);
    CHECK_ERR(covey_queue_get_value(q, &value, COVEY_NOWAIT,
                                    COVEY_UNPICKLE_OPTS(.max_depth = SIZE_MAX)),
              -EINVAL);
    CHECK_ERR(covey_queue_get_value(q, NULL, COVEY_NOWAIT, NULL), -EINVAL);
    CHECK_OK(covey_queue_count(q, &count));
    CHECK_EQ(count, 2); /* a bad call takes nothing */
    CHECK_ERR(covey_queue_get_value(q, &value, COVEY_NOWAIT,
                                    COVEY_UNPICKLE_OPTS(.max_count = 50)),
              -EMSGSIZE);
    CHECK_STR_HAS(covey_error_detail(), "is gone: pickle of");
    CHECK_OK(covey_queue_get_value(q, &value, COVEY_NOWAIT,
                                   COVEY_UNPICKLE_OPTS(.max_count = 200)));
    CHECK_EQ(covey_value_count(value), 100);
    covey_value_free(value);
    covey_queue_free(q);
}

TEST(an_empty_message_is_no_pickle)
{
    covey_queue *q = queue_new();
    covey_value *value = NULL;
    CHECK_OK(covey_queue_put(q, COVEY_VIEW("", 0), COVEY_NOWAIT));
    CHECK_ERR(covey_queue_get_value(q, &value, COVEY_NOWAIT, NULL), COVEY_EPICKLE);
    CHECK_STR_HAS(covey_error_detail(),
                  "pickle of 0 bytes, at byte 0: it ends too early");
    CHECK(!value);
    covey_queue_free(q);
}

TEST(a_value_with_an_error_is_not_put)
{
    covey_queue *q = queue_new();
    covey_value *list = covey_value_list();
    CHECK_ERR(covey_queue_put_value(q, NULL, COVEY_NOWAIT), -EINVAL);
    CHECK(covey_value_append(list, covey_value_int_text("no number")) < 0);
    CHECK(covey_queue_put_value(q, list, COVEY_NOWAIT) < 0);
    CHECK_EQ(covey_queue_empty(q), 1);
    covey_value_free(list);
    covey_queue_free(q);
}

static int work_off_values(struct covey_view arg)
{
    covey_joinable_queue *q = *(covey_joinable_queue *const *)arg.data;
    covey_value *value = NULL;
    int r;
    while ((r = covey_joinable_queue_get_value(q, &value, COVEY_FOREVER, NULL)) !=
           COVEY_ECLOSED) {
        if (r >= 0)
            covey_value_free(value);
        CHECK_OK(covey_joinable_queue_task_done(q));
    }
    return 0;
}

TEST_EACH_METHOD(joinable_queues_take_values)
{
    covey_joinable_queue *q;
    CHECK_OK(covey_joinable_queue_create(&q, 0, NULL));
    covey_process *p = started(work_off_values, COVEY_VIEW_OF(q), OPTS());
    covey_value *value = numbers(10);
    for (int i = 0; i < 100; i++) {
        CHECK_OK(covey_joinable_queue_put_value(q, value, COVEY_FOREVER));
        CHECK_OK(covey_joinable_queue_put(q, COVEY_VIEW("?", 1), COVEY_FOREVER));
    }
    covey_value_free(value);
    CHECK_OK(covey_joinable_queue_join(q, COVEY_FOREVER));
    CHECK_OK(covey_queue_close(covey_joinable_queue_queue(q)));
    CHECK_EQ(end_of(p), 0);
    covey_joinable_queue_free(q);
}

static int echo_value(struct covey_view arg)
{
    covey_simple_queue *const *q = arg.data;
    covey_value *value;
    CHECK_OK(covey_simple_queue_get_value(q[0], &value, NULL));
    CHECK_OK(covey_simple_queue_put_value(q[1], value));
    covey_value_free(value);
    return 0;
}

TEST_EACH_METHOD(simple_queues_take_values)
{
    covey_simple_queue *q[2];
    CHECK_OK(covey_simple_queue_create(&q[0]));
    CHECK_OK(covey_simple_queue_create(&q[1]));
    covey_process *p = started(echo_value, COVEY_VIEW_OF(q), OPTS());
    covey_value *value = large_value(), *got;
    CHECK_OK(covey_simple_queue_put_value(q[0], value));
    CHECK_OK(covey_simple_queue_get_value(q[1], &got, NULL));
    CHECK_EQ(covey_value_equal(value, got), 1);
    covey_value_free(value);
    covey_value_free(got);
    CHECK_EQ(end_of(p), 0);
    covey_simple_queue_free(q[0]);
    covey_simple_queue_free(q[1]);
}

/* It ends as soon as it has put its value: whoever finds the queue empty, and then nobody
 * left, has to look once more. */
static int put_and_end(struct covey_view arg)
{
    covey_simple_queue *const *q = arg.data;
    covey_value *value = covey_value_int(42);
    CHECK_OK(covey_simple_queue_put_value(*q, value));
    covey_value_free(value);
    return 0;
}

TEST(what_the_last_producer_puts_is_taken)
{
    for (int i = 0; i < 300; i++) {
        covey_simple_queue *q;
        covey_value *got;
        CHECK_OK(covey_simple_queue_create(&q));
        covey_process *p = started(put_and_end, COVEY_VIEW_OF(q), NULL);
        CHECK_OK(covey_simple_queue_get_value(q, &got, NULL));
        covey_value_free(got);
        CHECK_EQ(end_of(p), 0);
        covey_simple_queue_free(q);
    }
}

CHECK_MAIN()
