/* SPDX-License-Identifier: MIT */
/* Memory for messages of queues: the family's, that the dead still have in their hands, and
 * the program's own for those that are got. */
#include "channel/queue.h"
#include "process_help.h"

static covey_queue *queue_new(void)
{
    covey_queue *q;
    CHECK_OK(covey_queue_create(&q, 0, NULL));
    return q;
}

/* Nobody has taken notice of the death when the memory is asked for. */
TEST(reserve_takes_what_the_dead_had)
{
    family_found(COVEY_FAMILY_OPTS(.budget = 8 * MIB));
    covey_queue *q = queue_new();
    struct covey_loan loan;
    cvy_word *full = family_shared(sizeof *full);
    int pid = family_fork();
    if (!pid) {
        while (covey_queue_reserve(q, MIB, &loan) >= 0)
            continue;
        family_tell(full);
        family_pause();
    }
    family_await(full, 1);
    CHECK_ERR(covey_queue_reserve(q, MIB, &loan), -ENOMEM);
    family_kill(pid);
    CHECK_OK(covey_queue_reserve(q, MIB, &loan));
    covey_queue_done(q, &loan);
    covey_queue_free(q);
}

struct view {
    covey_queue *q;
    cvy_word begun, go, given;
};

/* Views the message, and gives its memory back when it is told to. */
static int viewer(struct view *view)
{
    struct covey_loan loan;
    int pid = family_fork();
    if (!pid) {
        CHECK_OK(covey_queue_view(view->q, &loan, COVEY_FOREVER));
        family_tell(&view->begun);
        family_await(&view->go, 1);
        covey_queue_done(view->q, &loan);
        family_tell(&view->given);
        family_pause();
    }
    family_await(&view->begun, 1);
    return pid;
}

/* Between a try that failed and the look whether anybody else has memory, the only one
 * gives it back; and maybe ends. */
static void check_given_back_behind_the_try(bool ends)
{
    family_found(COVEY_FAMILY_OPTS(.budget = 5 * MIB));
    struct view *view = family_shared(sizeof *view);
    struct cvy_shortage shortage = {0};
    struct covey_loan loan;
    view->q = queue_new();
    CHECK_OK(covey_queue_reserve(view->q, 3 * MIB, &loan));
    CHECK_OK(covey_queue_commit(view->q, &loan, 3 * MIB));
    int pid = viewer(view);
    cvy_ref extent = 0;
    CHECK_OK(cvy_shortage_wait(&shortage, &view->q->ring, &view->q->space, true,
                               INT64_MAX, 0));
    CHECK_LT(cvy_extent_take(3 * MIB, &extent), 0);
    family_tell(&view->go);
    family_await(&view->given, 1);
    if (ends)
        family_kill(pid);
    CHECK_OK(cvy_shortage_wait(&shortage, &view->q->ring, &view->q->space, !ends,
                               INT64_MAX, 0));
    CHECK_OK(cvy_extent_take(3 * MIB, &extent));
    /* Now it is here, and nobody gives any back. */
    CHECK_OK(cvy_shortage_wait(&shortage, &view->q->ring, &view->q->space, !ends,
                               INT64_MAX, 0));
    CHECK_ERR(cvy_shortage_wait(&shortage, &view->q->ring, &view->q->space, !ends,
                                INT64_MAX, 0),
              -ENOMEM);
    cvy_extent_give(extent);
    if (!ends)
        family_kill(pid);
    covey_queue_free(view->q);
}

TEST(memory_given_back_behind_a_try_is_found)
{
    check_given_back_behind_the_try(false);
}

TEST(memory_that_the_last_other_had_is_found)
{
    check_given_back_behind_the_try(true);
}

/* ---- the program's ---- */

/* An allocator that refuses from a number of large blocks on. */
#define LARGE ((size_t)100 << 10)
static size_t large_blocks, most_large_blocks = SIZE_MAX;

static void *some_realloc(void *memory, size_t size)
{
    if (size >= LARGE && ++large_blocks > most_large_blocks)
        return NULL;
    return realloc(memory, size);
}

static void *some_malloc(size_t size)
{
    return some_realloc(NULL, size);
}

#define MANY 1000

/* One of 200 KiB comes, with room for MANY. Returns: how much was allocated for them. */
static size_t get_one_of_many(covey_queue *q, struct covey_bytes *got)
{
    static char large[200 << 10];
    size_t count, capacity = 0;
    CHECK_OK(covey_queue_put(q, COVEY_VIEW_OF(large), COVEY_NOWAIT));
    CHECK_OK(covey_queue_get_many(q, got, MANY, COVEY_NOWAIT, &count));
    CHECK_EQ(count, 1);
    CHECK_EQ(got->size, sizeof large);
    for (int i = 0; i < MANY; i++) {
        if (i)
            CHECK_EQ(got[i].size, 0);
        capacity += got[i].capacity;
    }
    return capacity;
}

static void free_many(struct covey_bytes *got)
{
    for (int i = 0; i < MANY; i++)
        covey_bytes_free(&got[i]);
}

TEST(one_large_message_does_not_make_many_targets_large)
{
    static struct covey_bytes got[MANY];
    covey_queue *q = queue_new();
    CHECK_LE(get_one_of_many(q, got), 2 * MIB);
    free_many(got);
    covey_queue_free(q);
}

TEST(small_messages_make_all_targets_ready)
{
    static struct covey_bytes got[MANY];
    static struct covey_view messages[MANY];
    covey_queue *q = queue_new();
    size_t count;
    for (int i = 0; i < MANY; i++)
        messages[i] = COVEY_VIEW("message", 7);
    CHECK_OK(covey_queue_put_many(q, messages, MANY, COVEY_NOWAIT, NULL));
    CHECK_OK(covey_queue_get_many(q, got, MANY, COVEY_NOWAIT, &count));
    CHECK_EQ(count, MANY);
    CHECK_MEM_EQ(got[MANY - 1].data, "message", 7);
    free_many(got);
    covey_queue_free(q);
}

TEST(without_memory_for_more_the_first_message_is_got)
{
    static struct covey_bytes got[MANY];
    CHECK_OK(covey_set_allocator(some_malloc, some_realloc, free));
    covey_queue *q = queue_new();
    most_large_blocks = 1;
    CHECK_LE(get_one_of_many(q, got), 500 << 10);
    most_large_blocks = SIZE_MAX;
    free_many(got);
    covey_queue_free(q);
}

TEST(without_memory_for_the_first_message_it_stays)
{
    static struct covey_bytes got[MANY];
    static char large[200 << 10];
    size_t count = 1;
    CHECK_OK(covey_set_allocator(some_malloc, some_realloc, free));
    covey_queue *q = queue_new();
    CHECK_OK(covey_queue_put(q, COVEY_VIEW_OF(large), COVEY_NOWAIT));
    most_large_blocks = large_blocks;
    CHECK_ERR(covey_queue_get_many(q, got, MANY, COVEY_NOWAIT, &count), -ENOMEM);
    CHECK_EQ(count, 0);
    most_large_blocks = SIZE_MAX;
    CHECK_OK(covey_queue_get_many(q, got, MANY, COVEY_NOWAIT, &count));
    CHECK_EQ(count, 1);
    free_many(got);
    covey_queue_free(q);
}

CHECK_MAIN()
