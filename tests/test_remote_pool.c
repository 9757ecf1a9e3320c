/* SPDX-License-Identifier: MIT */
/* Pools of managers by their calls in C: covey's own, and those of every CPython of this
 * machine. */
#include "pool_functions.h"
#include "proxy_help.h"

/* Before it, pools complain by AssertionError. */
#define FIRST_VALUE_ERROR 7

static covey_value *sqrt_of(void)
{
    return covey_value_global("math", "sqrt");
}

static covey_value *pairs(void)
{
    covey_value *list = NULL;
    CHECK_OK(covey_value_pack(&list, "[(i, i), (i, i)]", 2, 3, 4, 5));
    return list;
}

static covey_value *number(int n)
{
    covey_value *args = NULL;
    CHECK_OK(covey_value_pack(&args, "(i)", n));
    return args;
}

static void wait_for_results(covey_manager *m, const struct python *p)
{
    covey_value *v = NULL, *real = covey_value_dict();
    covey_proxy *pool = created(m, "Pool", covey_value_int(2));
    CHECK_OK(covey_proxy_pool_apply(pool, sqrt_of(), number(16), NULL, &v));
    is(v, "4.0");
    CHECK_OK(covey_value_put(real, covey_value_str("real"), covey_value_float(1)));
    CHECK_OK(covey_proxy_pool_apply(pool, covey_value_global("builtins", "complex"),
                                    NULL, real, &v));
    is(v, "(1+0j)");
    CHECK_OK(covey_proxy_pool_map(pool, sqrt_of(), numbers(2), 0, &v));
    is(v, "[0.0, 1.0]");
    CHECK_OK(covey_proxy_pool_starmap(pool, covey_value_global("_operator", "mul"),
                                      pairs(), 1, &v));
    is(v, "[6, 20]");
    CHECK_ERR(covey_proxy_pool_apply(pool, sqrt_of(), number(-1), NULL, NULL), -EINVAL);
    failed_by("ValueError", "math domain error");
    if (p->minor >= FIRST_VALUE_ERROR) {
        CHECK_ERR(covey_proxy_pool_join(pool), -EINVAL);
        failed_by("ValueError", "Pool is still running");
    }
    CHECK_OK(covey_proxy_pool_close(pool));
    CHECK_ERR(covey_proxy_pool_map(pool, sqrt_of(), numbers(1), 0, NULL), -EINVAL);
    failed_by("ValueError", "Pool not running");
    CHECK_OK(covey_proxy_pool_join(pool));
    CHECK_OK(covey_proxy_pool_terminate(pool));
    covey_proxy_free(pool);
}

TEST_TIMEOUT(results_are_waited_for, 120)
{
    CHECK_OK(functions_register());
    with_each_manager(wait_for_results);
}

static void ask_for_results(covey_manager *m, const struct python *p)
{
    covey_value *v = NULL;
    covey_proxy *pool = created(m, "Pool", covey_value_int(2)), *result;
    CHECK_OK(covey_proxy_pool_map_async(&result, pool, sqrt_of(), numbers(3), 2));
    CHECK_OK(covey_proxy_result_wait(result, PATIENT));
    CHECK_EQ(covey_proxy_result_ready(result), 1);
    CHECK_EQ(covey_proxy_result_successful(result), 1);
    CHECK_OK(covey_proxy_result_get(result, &v, COVEY_NOWAIT));
    is(v, "[0.0, 1.0, 1.4142135623730951]");
    covey_proxy_free(result);
    CHECK_OK(covey_proxy_pool_starmap_async(
        &result, pool, covey_value_global("_operator", "mul"), pairs(), 0));
    CHECK_OK(covey_proxy_result_get(result, &v, COVEY_FOREVER));
    is(v, "[6, 20]");
    covey_proxy_free(result);
    CHECK_OK(covey_proxy_pool_apply_async(
        &result, pool, covey_value_global("time", "sleep"), number(100), NULL));
    CHECK_ERR(covey_proxy_result_wait(result, COVEY_MSEC(5)), -ETIMEDOUT);
    CHECK_ERR(covey_proxy_result_get(result, NULL, COVEY_MSEC(5)), -ETIMEDOUT);
    CHECK_EQ(covey_proxy_result_ready(result), 0);
    if (p->minor >= FIRST_VALUE_ERROR)
        CHECK_ERR(covey_proxy_result_successful(result), -EINVAL);
    CHECK_OK(covey_proxy_pool_terminate(pool));
    covey_proxy_free(result);
    covey_proxy_free(pool);
}

TEST_TIMEOUT(results_are_asked_for_later, 120)
{
    CHECK_OK(functions_register());
    with_each_manager(ask_for_results);
}

static void go_through_results(covey_manager *m, const struct python *p)
{
    covey_value *v = NULL;
    covey_proxy *pool = created(m, "Pool", covey_value_int(2)), *it;
    (void)p;
    CHECK_OK(covey_proxy_pool_imap(&it, pool, sqrt_of(), numbers(2)));
    CHECK_EQ(covey_proxy_next_within(it, &v, PATIENT), 1);
    is(v, "0.0");
    CHECK_EQ(covey_proxy_next(it, &v), 1);
    is(v, "1.0");
    CHECK_EQ(covey_proxy_next_within(it, &v, PATIENT), 0);
    CHECK_EQ(covey_proxy_next(it, &v), 0);
    covey_proxy_free(it);
    CHECK_OK(covey_proxy_pool_imap_unordered(&it, pool, sqrt_of(), number(-1)));
    CHECK_ERR(covey_proxy_next_within(it, &v, COVEY_FOREVER), -EINVAL);
    failed_by("ValueError", "math domain error");
    CHECK_EQ(covey_proxy_next(it, &v), 0);
    covey_proxy_free(it);
    CHECK_OK(covey_proxy_pool_imap(&it, pool, covey_value_global("time", "sleep"),
                                   number(100)));
    CHECK_ERR(covey_proxy_next_within(it, &v, COVEY_MSEC(5)), -ETIMEDOUT);
    CHECK_OK(covey_proxy_pool_terminate(pool));
    covey_proxy_free(it);
    covey_proxy_free(pool);
}

TEST_TIMEOUT(results_come_one_by_one, 120)
{
    CHECK_OK(functions_register());
    with_each_manager(go_through_results);
}

CHECK_MAIN()
