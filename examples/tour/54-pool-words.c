/* SPDX-License-Identifier: MIT */
/* The words of a text with their lengths, each by a task of its own; then tasks that sleep,
 * at most four at a time. */
#include <string.h>
#include <time.h>

#include "tour.h"

enum { WORDS = 32 };

static int length_of(struct covey_call *call)
{
    size_t size;
    (void)covey_call_arg(call, &size);
    return covey_call_return(call, &size, sizeof size);
}

static int sleep_and_tell(struct covey_call *call)
{
    char text[32];
    const int *number = covey_call_arg(call, NULL);
    nanosleep(&(struct timespec){0, 20000000}, NULL);
    int n = snprintf(text, sizeof text, "task %d has slept", *number);
    return covey_call_return(call, text, (size_t)n);
}

static void show_words(covey_pool *pool, const char *text)
{
    covey_result *results[WORDS];
    struct covey_view words[WORDS];
    struct covey_bytes got = {0};
    size_t n = 0;
    for (; *text && n < WORDS; text += strspn(text, " ")) {
        words[n] = COVEY_VIEW(text, strcspn(text, " "));
        must(covey_pool_apply_async(&results[n], pool, length_of, words[n], NULL));
        text += words[n++].size;
    }
    for (size_t i = 0; i < n; i++) {
        must(covey_result_get(results[i], &got, COVEY_SEC(20)));
        printf("%.*s %zu\n", (int)words[i].size, (const char *)words[i].data,
               *(size_t *)got.data);
        covey_result_free(results[i]);
    }
    covey_bytes_free(&got);
}

int main(int argc, char **argv)
{
    covey_init(argc, argv);

    covey_result *results[5];
    struct covey_bytes got = {0};
    covey_pool *pool;
    must(covey_pool_create(&pool, 4, NULL));
    show_words(pool, "the quick brown fox jumps");
    for (int i = 0; i < 5; i++)
        must(covey_pool_apply_async(&results[i], pool, sleep_and_tell, COVEY_VIEW_OF(i),
                                    NULL));
    for (int i = 0; i < 5; i++) {
        must(covey_result_get(results[i], &got, COVEY_SEC(20)));
        printf("%.*s\n", (int)got.size, (const char *)got.data);
        covey_result_free(results[i]);
    }
    covey_bytes_free(&got);
    covey_pool_free(pool);
}
