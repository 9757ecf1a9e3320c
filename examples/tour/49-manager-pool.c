/* SPDX-License-Identifier: MIT */
/* A pool in a manager: clients name functions as Python does, and its workers call those
 * that the manager's program has registered. */
#include <signal.h>

#include "tour.h"

static int is_prime(int64_t n)
{
    for (int64_t i = 2; i * i <= n; i++)
        if (n % i == 0)
            return 0;
    return n > 1;
}

/* primes.count(start, stop) */
static int count_primes(covey_request *request)
{
    int64_t start, stop, count = 0;
    int r = covey_value_unpack(covey_request_args(request), "(L, L)", &start, &stop);
    if (r < 0)
        return r;
    if (start > stop)
        return covey_request_raise(request, "ValueError", "%d is after %d", (int)start,
                                   (int)stop);
    for (int64_t n = start; n < stop; n++)
        count += is_prime(n);
    return covey_request_return(request, covey_value_int(count));
}

/* primes.crash() */
static int crash(covey_request *request)
{
    (void)request;
    return raise(SIGKILL);
}

static void print(covey_value *value)
{
    struct covey_bytes text = {0};
    must(covey_value_repr(value, &text));
    printf("%s\n", (const char *)text.data);
    covey_bytes_free(&text);
    covey_value_free(value);
}

int main(int argc, char **argv)
{
    covey_init(argc, argv);
    must(covey_manager_register_function("primes.count", count_primes));
    must(covey_manager_register_function("primes.crash", crash));

    covey_manager *manager;
    covey_proxy *pool, *later;
    covey_value *workers, *ranges, *counts;
    must(covey_manager_start(&manager, NULL));
    must(covey_value_pack(&workers, "(i)", 2));
    must(covey_proxy_create(&pool, manager, "Pool", workers, NULL));

    must(covey_value_pack(&ranges, "[(i, i), (i, i), (i, i)]", 0, 100, 100, 200, 0,
                          100000));
    must(covey_proxy_pool_starmap(pool, covey_value_global("primes", "count"), ranges,
                                  0, &counts));
    print(counts);

    must(covey_value_pack(&ranges, "[(i, i)]", 200, 100));
    must(covey_proxy_pool_starmap_async(
        &later, pool, covey_value_global("primes", "count"), ranges, 0));
    if (covey_proxy_result_get(later, NULL, COVEY_FOREVER) < 0)
        printf("%s: %s\n", covey_proxy_error_type(), covey_proxy_error_text());
    covey_proxy_free(later);

    if (covey_proxy_pool_apply(pool, covey_value_global("primes", "crash"), NULL, NULL,
                               NULL) < 0)
        printf("a worker died: %s\n", covey_proxy_error_type());
    if (covey_proxy_pool_apply(pool, covey_value_global("os", "remove"), NULL, NULL,
                               NULL) < 0)
        printf("%s: %s\n", covey_proxy_error_type(), covey_proxy_error_text());

    must(covey_proxy_pool_close(pool));
    must(covey_proxy_pool_join(pool));
    covey_proxy_free(pool);
    must(covey_manager_shutdown(manager, COVEY_SEC(10)));
    covey_manager_free(manager);
}
