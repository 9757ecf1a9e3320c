/* SPDX-License-Identifier: MIT */
/* Semaphores, bounded and not: counting, limits, waiting, and what makes them signals. */
#include "sync/sync.h"
#include "sync_help.h"

#define MOST 2147483647u

static covey_semaphore *semaphore_made(unsigned value)
{
    covey_semaphore *semaphore = NULL;
    CHECK_OK(covey_semaphore_create(&semaphore, value, NULL));
    return semaphore;
}

static covey_bounded_semaphore *bounded_made(unsigned value)
{
    covey_bounded_semaphore *semaphore = NULL;
    CHECK_OK(covey_bounded_semaphore_create(&semaphore, value, NULL));
    return semaphore;
}

static unsigned value_of(covey_semaphore *semaphore)
{
    unsigned value = 4711;
    CHECK_EQ(covey_semaphore_get_value(semaphore, &value), 0);
    return value;
}

static unsigned bounded_value_of(covey_bounded_semaphore *semaphore)
{
    unsigned value = 4711;
    CHECK_EQ(covey_bounded_semaphore_get_value(semaphore, &value), 0);
    return value;
}

/* ---- making ------------------------------------------------------------------- */

TEST(semaphore_has_the_permits_it_was_made_with)
{
    static const unsigned values[] = {0, 1, 2, 100, MOST};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        covey_semaphore *s = semaphore_made(values[i]);
        covey_bounded_semaphore *b = bounded_made(values[i]);
        CHECK_EQ(value_of(s), values[i]);
        CHECK_EQ(bounded_value_of(b), values[i]);
        CHECK_EQ(covey_semaphore_locked(s), values[i] == 0);
        CHECK_EQ(covey_bounded_semaphore_locked(b), values[i] == 0);
        CHECK_REPR(semaphore, s, "<Semaphore(value=%u)>", values[i]);
        CHECK_REPR(bounded_semaphore, b, "<BoundedSemaphore(value=%u, maxvalue=%u)>",
                   values[i], values[i]);
        covey_semaphore_free(s);
        covey_bounded_semaphore_free(b);
    }
    covey_semaphore_free(NULL);
    covey_bounded_semaphore_free(NULL);
}

TEST(bad_options_make_no_semaphore)
{
    const struct covey_semaphore_opts no_size = {.signal = COVEY_ON};
    const struct covey_semaphore_opts no_switch = {.size = sizeof no_switch,
                                                   .signal = (enum covey_switch)7};
    covey_semaphore *s = NULL;
    covey_bounded_semaphore *b = NULL;
    CHECK_ERR(covey_semaphore_create(NULL, 1, NULL), -EINVAL);
    CHECK_ERR(covey_bounded_semaphore_create(NULL, 1, NULL), -EINVAL);
    CHECK_ERR(covey_semaphore_create(&s, 1, &no_size), -EINVAL);
    CHECK_ERR(covey_bounded_semaphore_create(&b, 1, &no_size), -EINVAL);
    CHECK_ERR(covey_semaphore_create(&s, 1, &no_switch), -EINVAL);
    CHECK_ERR(covey_bounded_semaphore_create(&b, 1, &no_switch), -EINVAL);
    CHECK_STR_HAS(covey_error_detail(), ".signal is none of COVEY_ON, COVEY_OFF, 0");
    CHECK_ERR(covey_semaphore_create(&s, MOST + 1, NULL), -EOVERFLOW);
    CHECK_ERR(covey_bounded_semaphore_create(&b, MOST + 1, NULL), -EOVERFLOW);
    CHECK_ERR(covey_semaphore_create(&s, UINT32_MAX, NULL), -EOVERFLOW);
    CHECK(s == NULL && b == NULL);
}

TEST(semaphores_cost_what_the_header_says)
{
    covey_semaphore *a = semaphore_made(1), *b = semaphore_made(1);
    CHECK_EQ((char *)b - (char *)a, 704);
    covey_semaphore_free(a);
    covey_semaphore_free(b);
}

/* ---- counting ------------------------------------------------------------------ */

TEST(acquire_takes_one_and_release_gives_many)
{
    covey_semaphore *s = semaphore_made(3);
    for (unsigned left = 3; left-- > 0;) {
        CHECK_EQ(covey_semaphore_acquire(s, COVEY_NOWAIT), 0);
        CHECK_EQ(value_of(s), left);
    }
    CHECK_EQ(covey_semaphore_locked(s), 1);
    CHECK_ERR(covey_semaphore_acquire(s, COVEY_NOWAIT), -ETIMEDOUT);
    CHECK_ERR(covey_semaphore_acquire(s, 0), -ETIMEDOUT);
    CHECK_EQ(covey_semaphore_release(s, 2), 0);
    CHECK_EQ(value_of(s), 2);
    CHECK_ERR(covey_semaphore_release(s, 0), -EINVAL);
    CHECK_EQ(covey_semaphore_release(s, 5), 0); /* more than there were at first */
    CHECK_EQ(value_of(s), 7);
    CHECK_REPR(semaphore, s, "<Semaphore(value=7)>");
    CHECK_ERR(covey_semaphore_get_value(s, NULL), -EINVAL);
    CHECK_ERR(covey_semaphore_repr(s, NULL), -EINVAL);
    covey_semaphore_free(s);
}

TEST(semaphore_never_has_more_than_2_31_permits)
{
    covey_semaphore *s = semaphore_made(MOST - 1);
    CHECK_ERR(covey_semaphore_release(s, 2), -EOVERFLOW);
    CHECK_ERR(covey_semaphore_release(s, UINT32_MAX), -EOVERFLOW);
    CHECK_EQ(value_of(s), MOST - 1);
    CHECK_EQ(covey_semaphore_release(s, 1), 0);
    CHECK_ERR(covey_semaphore_release(s, 1), -EOVERFLOW);
    CHECK_STR_HAS(covey_error_detail(), "more than 2^31 - 1 permits");
    CHECK_EQ(covey_semaphore_acquire(s, COVEY_NOWAIT), 0);
    CHECK_EQ(value_of(s), MOST - 1);
    covey_semaphore_free(s);
    s = semaphore_made(0);
    CHECK_EQ(covey_semaphore_release(s, MOST), 0);
    CHECK_EQ(value_of(s), MOST);
    covey_semaphore_free(s);
}

TEST(bounded_semaphore_never_exceeds_its_first_value)
{
    covey_bounded_semaphore *s = bounded_made(3);
    CHECK_ERR(covey_bounded_semaphore_release(s, 1), COVEY_ERELEASED);
    CHECK_STR_HAS(covey_error_detail(), "covey_bounded_semaphore_release");
    CHECK_EQ(covey_bounded_semaphore_acquire(s, COVEY_NOWAIT), 0);
    CHECK_EQ(covey_bounded_semaphore_acquire(s, COVEY_NOWAIT), 0);
    CHECK_ERR(covey_bounded_semaphore_release(s, 3), COVEY_ERELEASED);
    CHECK_ERR(covey_bounded_semaphore_release(s, UINT32_MAX), COVEY_ERELEASED);
    CHECK_ERR(covey_bounded_semaphore_release(s, 0), -EINVAL);
    CHECK_EQ(bounded_value_of(s), 1);
    CHECK_REPR(bounded_semaphore, s, "<BoundedSemaphore(value=1, maxvalue=3)>");
    CHECK_EQ(covey_bounded_semaphore_release(s, 2), 0);
    CHECK_ERR(covey_bounded_semaphore_release(s, 1), COVEY_ERELEASED);
    CHECK_EQ(bounded_value_of(s), 3);
    CHECK_ERR(covey_bounded_semaphore_get_value(s, NULL), -EINVAL);
    CHECK_ERR(covey_bounded_semaphore_repr(s, NULL), -EINVAL);
    covey_bounded_semaphore_free(s);
    s = bounded_made(0);
    CHECK_ERR(covey_bounded_semaphore_release(s, 1), COVEY_ERELEASED);
    CHECK_ERR(covey_bounded_semaphore_acquire(s, COVEY_NOWAIT), -ETIMEDOUT);
    covey_bounded_semaphore_free(s);
}

/* ---- waiting ------------------------------------------------------------------- */

TEST(acquire_of_an_empty_semaphore_times_out)
{
    covey_semaphore *s;
    CHECK_OK(covey_semaphore_create(&s, 1, COVEY_SEMAPHORE_OPTS(.name = "seats")));
    CHECK_OK(covey_semaphore_acquire(s, COVEY_FOREVER));
    int64_t start = cvy_os_now();
    CHECK_ERR(covey_semaphore_acquire(s, COVEY_MSEC(30)), -ETIMEDOUT);
    CHECK_GE(cvy_os_now() - start, COVEY_MSEC(30));
    CHECK_STR_HAS(covey_error_detail(),
                  "covey_semaphore_acquire: semaphore seats has no permit");
    CHECK_EQ(value_of(s), 0);
    CHECK_OK(covey_semaphore_release(s, 1));
    covey_semaphore_free(s);
}

static int acquire_one(struct covey_view arg)
{
    struct stage *s = stage_of(arg);
    CHECK_EQ(covey_semaphore_acquire(s->object, COVEY_FOREVER), 0);
    family_tell(&s->told);
    family_await(&s->go, 1);
    CHECK_EQ(covey_semaphore_release(s->object, 1), 0);
    return 0;
}

TEST_EACH_METHOD_AND_THREAD(release_of_n_wakes_n)
{
    struct stage *s = stage_made();
    covey_semaphore *semaphore = s->object = semaphore_made(0);
    covey_process *processes[5];
    for (int i = 0; i < 5; i++)
        processes[i] = acting(acquire_one, s);
    await_sleepers(semaphore, 5);
    CHECK_OK(covey_semaphore_release(semaphore, 2));
    family_await(&s->told, 2);
    await_sleepers(semaphore, 3);
    CHECK_EQ(s->told, 2);
    CHECK_OK(covey_semaphore_release(semaphore, 1));
    family_await(&s->told, 3);
    CHECK_EQ(value_of(semaphore), 0);
    family_tell(&s->go); /* each of the three lets another in */
    for (int i = 0; i < 5; i++)
        CHECK_EQ(end_of(processes[i]), 0);
    CHECK_EQ(value_of(semaphore), 3);
    covey_semaphore_free(semaphore);
}

static int take_turns(struct covey_view arg)
{
    struct stage *s = stage_of(arg);
    for (int i = 0; i < 2000; i++) {
        CHECK_EQ(covey_bounded_semaphore_acquire(s->object, COVEY_FOREVER), 0);
        CHECK_LE(atomic_fetch_add(&s->counter, 1), 2);
        atomic_fetch_sub(&s->counter, 1);
        CHECK_EQ(covey_bounded_semaphore_release(s->object, 1), 0);
    }
    return 0;
}

TEST_EACH_METHOD_AND_THREAD(no_more_are_inside_than_there_are_permits)
{
    struct stage *s = stage_made();
    s->object = bounded_made(3);
    covey_process *processes[5];
    for (int i = 0; i < 5; i++)
        processes[i] = acting(take_turns, s);
    for (int i = 0; i < 5; i++)
        CHECK_EQ(end_of(processes[i]), 0);
    CHECK_EQ(bounded_value_of(s->object), 3);
    covey_bounded_semaphore_free(s->object);
}

/* ---- by whom ------------------------------------------------------------------- */

static int give_three(struct covey_view arg)
{
    CHECK_EQ(covey_semaphore_release(stage_of(arg)->object, 3), 0);
    return 0;
}

TEST_EACH_METHOD_AND_THREAD(anybody_may_release)
{
    struct stage *s = stage_made();
    covey_semaphore *semaphore = s->object = semaphore_made(1);
    CHECK_OK(covey_semaphore_acquire(semaphore, COVEY_FOREVER));
    CHECK_EQ(act_alone(give_three, s), 0);
    CHECK_EQ(value_of(semaphore), 3);
    for (int i = 0; i < 3; i++)
        CHECK_EQ(covey_semaphore_acquire(semaphore, COVEY_NOWAIT), 0);
    CHECK_ERR(covey_semaphore_acquire(semaphore, COVEY_NOWAIT), -ETIMEDOUT);
    covey_semaphore_free(semaphore);
}

static int acquire_and_end(struct covey_view arg)
{
    struct stage *s = stage_of(arg);
    for (int i = 0; i < s->numbers[0]; i++)
        CHECK_EQ(covey_semaphore_acquire(s->object, COVEY_FOREVER), 0);
    return 0;
}

TEST_EACH_METHOD(permits_of_a_process_that_ended_come_back)
{
    struct stage *s = stage_made();
    covey_semaphore *semaphore = s->object = semaphore_made(3);
    s->numbers[0] = 2;
    for (int i = 0; i < 20; i++) {
        CHECK_EQ(act_alone(acquire_and_end, s), 0);
        CHECK_EQ(value_of(semaphore), 3);
        CHECK_EQ(covey_semaphore_locked(semaphore), 0);
    }
    s->numbers[0] = 3;
    CHECK_EQ(act_alone(acquire_and_end, s), 0);
    CHECK_EQ(covey_semaphore_locked(semaphore), 0);
    CHECK_REPR(semaphore, semaphore, "<Semaphore(value=3)>");
    CHECK_EQ(act_alone(acquire_and_end, s), 0);
    for (int i = 0; i < 3; i++)
        CHECK_EQ(covey_semaphore_acquire(semaphore, COVEY_NOWAIT), 0);
    CHECK_ERR(covey_semaphore_acquire(semaphore, COVEY_NOWAIT), -ETIMEDOUT);
    covey_semaphore_free(semaphore);
}

static void check_a_signal_keeps(struct stage *s, covey_semaphore *semaphore)
{
    s->object = semaphore;
    s->numbers[0] = 1;
    unsigned before = value_of(semaphore);
    CHECK_EQ(act_alone(acquire_and_end, s), 0);
    CHECK_EQ(value_of(semaphore), before - 1);
    for (unsigned i = 1; i < before; i++)
        CHECK_EQ(covey_semaphore_acquire(semaphore, COVEY_NOWAIT), 0);
    CHECK_ERR(covey_semaphore_acquire(semaphore, COVEY_NOWAIT), -ETIMEDOUT);
    covey_semaphore_free(semaphore);
}

TEST_EACH_METHOD(permits_of_a_signal_are_used_up)
{
    struct stage *s = stage_made();
    covey_semaphore *semaphore;
    CHECK_OK(covey_semaphore_create(&semaphore, 2,
                                    COVEY_SEMAPHORE_OPTS(.signal = COVEY_ON)));
    check_a_signal_keeps(s, semaphore);
    semaphore = semaphore_made(0);
    CHECK_OK(covey_semaphore_release(semaphore, 2));
    check_a_signal_keeps(s, semaphore);
    semaphore = semaphore_made(2);
    CHECK_OK(covey_semaphore_release(semaphore, 1)); /* it holds none */
    check_a_signal_keeps(s, semaphore);
    semaphore = semaphore_made(2);
    CHECK_OK(covey_semaphore_acquire(semaphore, COVEY_NOWAIT));
    CHECK_OK(covey_semaphore_release(semaphore, 2)); /* it holds one */
    CHECK_OK(covey_semaphore_acquire(semaphore, COVEY_NOWAIT));
    CHECK_OK(covey_semaphore_release(semaphore, 1)); /* for ever */
    check_a_signal_keeps(s, semaphore);
}

static void *take(void *semaphore)
{
    CHECK_EQ(covey_semaphore_acquire(semaphore, COVEY_FOREVER), 0);
    return NULL;
}

TEST(permits_of_a_thread_that_ended_are_still_the_processs)
{
    covey_semaphore *semaphore = semaphore_made(2);
    run_thread(take, semaphore);
    CHECK_EQ(value_of(semaphore), 1);
    CHECK_EQ(covey_semaphore_acquire(semaphore, COVEY_NOWAIT), 0);
    CHECK_ERR(covey_semaphore_acquire(semaphore, COVEY_MSEC(20)), -ETIMEDOUT);
    CHECK_EQ(covey_semaphore_release(semaphore, 2), 0);
    CHECK_EQ(value_of(semaphore), 2);
    covey_semaphore_free(semaphore);
}

/* ---- who has them ------------------------------------------------------------ */

/* Two threads of a process look for its entry. When the one takes it, the place before it is
 * taken, and when the other takes it that place is free: it is not to get a second. */
TEST(owner_has_one_entry_also_when_an_earlier_place_becomes_free)
{
    static struct cvy_table table;
    CHECK(cvy_self() != NULL);
    uint32_t me = cvy_member_owner(),
             other = CVY_OWNER(CVY_INDEX_OF(me) + CVY_TABLE_INLINE, 1);
    cvy_entry_is_free_fn *is_free = cvy_entry_member_is_dead;
    cvy_entry *before = cvy_table_search(&table, other, is_free, NULL);
    CHECK(before == cvy_table_first(&table, me));
    atomic_store(before, cvy_entry_of(me, 0)); /* of one who lives */
    cvy_entry *mine = cvy_table_search(&table, other, is_free, NULL);
    CHECK(mine != NULL && mine != before);
    atomic_store(before, 0);
    CHECK(cvy_table_search(&table, other, is_free, NULL) == mine);
    CHECK_EQ(atomic_load(before), 0);
}

/* ---- many ---------------------------------------------------------------------- */

static int use_and_stay(struct covey_view arg)
{
    struct stage *s = stage_of(arg);
    for (int i = 0; i < 5; i++) {
        CHECK_EQ(covey_bounded_semaphore_acquire(s->object, COVEY_FOREVER), 0);
        CHECK_EQ(covey_bounded_semaphore_release(s->object, 1), 0);
    }
    CHECK_EQ(covey_bounded_semaphore_acquire(s->object, COVEY_FOREVER), 0);
    family_tell(&s->begun);
    family_await(&s->go, 1);
    if (atomic_fetch_add(&s->counter, 1) % 2)
        CHECK_EQ(covey_bounded_semaphore_release(s->object, 1), 0);
    return 0;
}

TEST_TIMEOUT(two_hundred_processes_use_one_semaphore, 120)
{
    enum { COUNT = 200 };
    struct stage *s = stage_made();
    covey_process *processes[COUNT];
    s->object = bounded_made(COUNT);
    for (int i = 0; i < COUNT; i++)
        processes[i] = started(use_and_stay, COVEY_VIEW_OF(s), NULL);
    family_await(&s->begun, COUNT);
    CHECK_EQ(bounded_value_of(s->object), 0);
    CHECK_ERR(covey_bounded_semaphore_acquire(s->object, COVEY_NOWAIT), -ETIMEDOUT);
    family_tell(&s->go);
    for (int i = 0; i < COUNT; i++)
        CHECK_EQ(end_of(processes[i]), 0);
    CHECK_EQ(bounded_value_of(s->object), COUNT); /* half were given back by the end */
    covey_bounded_semaphore_free(s->object);
}

CHECK_MAIN()
