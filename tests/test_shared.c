/* SPDX-License-Identifier: MIT */
/* Shared values and arrays: types, bounds, locks, and what a dead writer leaves. */
#include <wchar.h>

#include "process_help.h"

struct point {
    double x, y;
    int id;
};

/* ---- values ---- */

struct pair {
    covey_shared_value *number;
    covey_array *numbers;
};

static int change(struct covey_view arg)
{
    const struct pair *pair = arg.data;
    CHECK_OK(
        covey_shared_value_set(pair->number, &(double){3.1415927}, sizeof(double)));
    int *numbers = covey_array_data(pair->numbers);
    for (size_t i = 0; i < covey_array_len(pair->numbers); i++)
        numbers[i] = -numbers[i];
    return 0;
}

TEST_EACH_METHOD(child_changes_value_and_array)
{
    struct pair pair;
    int numbers[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, got[10];
    double number;
    CHECK_OK(covey_shared_value_create(&pair.number, 'd', NULL, NULL));
    CHECK_OK(covey_array_create(&pair.numbers, 'i', 10, numbers, NULL));
    CHECK_OK(covey_shared_value_get(pair.number, &number, sizeof number));
    CHECK(number == 0.0);
    CHECK_EQ(run(change, COVEY_VIEW_OF(pair), OPTS()), 0);
    CHECK_OK(covey_shared_value_get(pair.number, &number, sizeof number));
    CHECK(number == 3.1415927);
    CHECK_OK(covey_array_get(pair.numbers, 0, 10, got));
    for (int i = 0; i < 10; i++)
        CHECK_EQ(got[i], -i);
    covey_shared_value_free(pair.number);
    covey_array_free(pair.numbers);
}

static int add_thousand(struct covey_view arg)
{
    covey_shared_value *value = *(covey_shared_value *const *)arg.data;
    for (int i = 0; i < 1000; i++) {
        CHECK_OK(covey_shared_value_acquire(value, COVEY_FOREVER));
        *(long *)covey_shared_value_data(value) += 1;
        CHECK_OK(covey_shared_value_release(value));
    }
    return 0;
}

TEST_EACH_METHOD(additions_under_the_lock_are_all_kept)
{
    covey_shared_value *value;
    covey_process *p[3];
    CHECK_OK(covey_shared_value_create(&value, 'l', NULL, NULL));
    for (int i = 0; i < 3; i++)
        p[i] = started(add_thousand, COVEY_VIEW_OF(value), OPTS());
    for (int i = 0; i < 3; i++)
        CHECK_EQ(end_of(p[i]), 0);
    CHECK_EQ(*(long *)covey_shared_value_data(value), 3000);
    covey_shared_value_free(value);
}

static int die_writing(struct covey_view arg)
{
    covey_shared_value *value = *(covey_shared_value *const *)arg.data;
    CHECK_OK(covey_shared_value_acquire(value, COVEY_FOREVER));
    ((struct point *)covey_shared_value_data(value))->x = 1;
    raise(SIGKILL);
    return 0;
}

TEST_EACH_METHOD(value_of_a_dead_writer_is_flagged_once)
{
    covey_shared_value *value, *copy = NULL;
    struct point point = {5, 6, 7}, got;
    CHECK_OK(covey_shared_value_create_struct(&value, sizeof point, &point, NULL));
    CHECK_EQ(run(die_writing, COVEY_VIEW_OF(value), OPTS()), -SIGKILL);
    CHECK_EQ(covey_shared_value_get(value, &got, sizeof got), COVEY_ABANDONED);
    CHECK(got.x == 1 && got.y == 6);
    CHECK_EQ(covey_shared_value_get(value, &got, sizeof got), 0);
    CHECK_EQ(run(die_writing, COVEY_VIEW_OF(value), OPTS()), -SIGKILL);
    CHECK_EQ(covey_shared_value_copy(value, &copy), COVEY_ABANDONED);
    CHECK_EQ(covey_shared_value_get(copy, &got, sizeof got), 0);
    CHECK(got.x == 1 && got.y == 6);
    covey_shared_value_free(copy);
    covey_shared_value_free(value);
}

TEST(every_typecode_has_the_size_of_its_c_type)
{
    static const struct {
        char code;
        size_t size;
    } types[] = {
        {'c', sizeof(char)},  {'u', sizeof(wchar_t)},   {'b', sizeof(char)},
        {'B', sizeof(char)},  {'h', sizeof(short)},     {'H', sizeof(short)},
        {'i', sizeof(int)},   {'I', sizeof(int)},       {'l', sizeof(long)},
        {'L', sizeof(long)},  {'q', sizeof(long long)}, {'Q', sizeof(long long)},
        {'f', sizeof(float)}, {'d', sizeof(double)}};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        covey_shared_value *value;
        char zero[16] = {0};
        CHECK_EQ(covey_typecode_size(types[i].code), types[i].size);
        CHECK_OK(covey_shared_value_create(&value, types[i].code, NULL, NULL));
        CHECK_EQ(covey_shared_value_size(value), types[i].size);
        CHECK_EQ(covey_shared_value_typecode(value), types[i].code);
        CHECK_MEM_EQ(covey_shared_value_data(value), zero, types[i].size);
        covey_shared_value_free(value);
    }
    CHECK_EQ(covey_typecode_size('x'), 0);
}

TEST(memory_is_zero_whatever_lay_there)
{
    static const size_t sizes[] = {1, 100, 1792, 1793, 5000, 1 << 20, 3 << 20};
    for (int round = 0; round < 2; round++)
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            covey_array *array;
            CHECK_OK(covey_array_create(&array, 'b', sizes[i], NULL, NULL));
            unsigned char *data = covey_array_data(array);
            for (size_t k = 0; k < sizes[i]; k++)
                CHECK_EQ(data[k], 0);
            memset(data, 0xa5, sizes[i]);
            covey_array_free(array);
        }
}

TEST(data_is_aligned_as_asked)
{
    for (size_t align = 1; align <= 4096; align *= 2) {
        covey_shared_value *value;
        CHECK_OK(covey_shared_value_create_struct(&value, 24, NULL,
                                                  COVEY_SHARED_OPTS(.align = align)));
        CHECK_EQ((uintptr_t)covey_shared_value_data(value) % align, 0);
        covey_shared_value_free(value);
    }
    covey_shared_value *value;
    CHECK_ERR(
        covey_shared_value_create(&value, 'i', NULL, COVEY_SHARED_OPTS(.align = 3)),
        -EINVAL);
    CHECK_ERR(
        covey_shared_value_create(&value, 'i', NULL, COVEY_SHARED_OPTS(.align = 8192)),
        -EINVAL);
}

TEST(locks_are_as_asked)
{
    covey_shared_value *value;
    covey_lock *lock;
    covey_rlock *rlock;
    CHECK_OK(covey_lock_create(&lock, NULL));
    CHECK_OK(covey_rlock_create(&rlock, NULL));
    CHECK_OK(
        covey_shared_value_create(&value, 'i', NULL, COVEY_SHARED_OPTS(.lock = lock)));
    CHECK_OK(covey_shared_value_acquire(value, COVEY_FOREVER));
    CHECK_EQ(covey_lock_locked(lock), 1);
    CHECK_OK(covey_shared_value_release(value));
    CHECK(covey_shared_value_get_lock(value) == NULL);
    covey_shared_value_free(value);
    CHECK_OK(covey_shared_value_create(&value, 'i', NULL,
                                       COVEY_SHARED_OPTS(.rlock = rlock)));
    CHECK(covey_shared_value_get_lock(value) == rlock);
    covey_shared_value_free(value);
    CHECK_OK(covey_shared_value_create(&value, 'i', NULL, NULL));
    covey_rlock *own = covey_shared_value_get_lock(value);
    CHECK_OK(covey_rlock_acquire(own, COVEY_FOREVER));
    CHECK_OK(covey_shared_value_set(value, &(int){5}, sizeof(int))); /* recursive */
    CHECK_OK(covey_rlock_release(own));
    CHECK_ERR(covey_shared_value_release(value), COVEY_ENOTOWNER);
    covey_shared_value_free(value);
    CHECK_OK(covey_shared_value_create(&value, 'i', NULL,
                                       COVEY_SHARED_OPTS(.synchronized = COVEY_OFF)));
    CHECK_OK(covey_shared_value_set(value, &(int){5}, sizeof(int)));
    CHECK_ERR(covey_shared_value_acquire(value, COVEY_FOREVER), COVEY_ESTATE);
    CHECK_ERR(covey_shared_value_release(value), COVEY_ESTATE);
    covey_shared_value_free(value);
    CHECK_ERR(covey_shared_value_create(
                  &value, 'i', NULL,
                  COVEY_SHARED_OPTS(.lock = lock, .synchronized = COVEY_OFF)),
              -EINVAL);
    CHECK_ERR(covey_shared_value_create(
                  &value, 'i', NULL, COVEY_SHARED_OPTS(.lock = lock, .rlock = rlock)),
              -EINVAL);
    covey_lock_free(lock);
    covey_rlock_free(rlock);
}

TEST(copies_are_of_their_own)
{
    covey_shared_value *value, *copy;
    covey_array *array, *other;
    CHECK_OK(covey_shared_value_create(&value, 'i', &(int){42}, NULL));
    CHECK_OK(covey_shared_value_copy(value, &copy));
    CHECK_OK(covey_shared_value_set(value, &(int){1}, sizeof(int)));
    CHECK_EQ(*(int *)covey_shared_value_data(copy), 42);
    CHECK_EQ(covey_shared_value_typecode(copy), 'i');
    CHECK_OK(covey_array_create(&array, 'h', 3, (short[]){1, 2, 3}, NULL));
    CHECK_OK(covey_array_copy(array, &other));
    CHECK_MEM_EQ(covey_array_data(other), ((short[]){1, 2, 3}), 6);
    CHECK_ERR(covey_array_copy(array, NULL), -EINVAL);
    covey_shared_value_free(value);
    covey_shared_value_free(copy);
    covey_array_free(array);
    covey_array_free(other);
}

/* ---- a value's own lock, by itself ---- */

/* Both can be used, and nothing else was counted as gone. */
static void check_usable(covey_shared_value *value, uint64_t objects)
{
    int got = 0;
    CHECK_EQ(family_usage().objects, objects);
    CHECK_OK(covey_shared_value_set(value, &(int){7}, sizeof got));
    CHECK_OK(covey_shared_value_get(value, &got, sizeof got));
    CHECK_EQ(got, 7);
    covey_rlock *lock = covey_shared_value_get_lock(value);
    CHECK_OK(covey_rlock_acquire(lock, COVEY_NOWAIT));
    CHECK_OK(covey_rlock_release(lock));
    family_check();
}

TEST(condition_over_a_values_lock_leaves_the_value)
{
    covey_shared_value *value;
    covey_condition *condition;
    CHECK_OK(covey_shared_value_create(&value, 'i', NULL, NULL));
    uint64_t objects = family_usage().objects;
    for (int i = 0; i < 3; i++) {
        CHECK_OK(covey_condition_create(
            &condition,
            COVEY_CONDITION_OPTS(.rlock = covey_shared_value_get_lock(value))));
        CHECK_EQ(family_usage().objects, objects + 1);
        CHECK_OK(covey_shared_value_acquire(value, COVEY_NOWAIT));
        CHECK_OK(covey_condition_notify_all(condition));
        CHECK_OK(covey_condition_release(condition));
        covey_condition_free(condition);
        check_usable(value, objects);
    }
    covey_shared_value_free(value);
    CHECK_EQ(family_usage().objects, objects - 1);
}

TEST(value_lives_as_long_as_a_condition_over_its_lock)
{
    covey_shared_value *value;
    covey_condition *condition;
    CHECK_OK(covey_shared_value_create(&value, 'i', NULL, NULL));
    uint64_t objects = family_usage().objects;
    covey_rlock *lock = covey_shared_value_get_lock(value);
    CHECK_OK(covey_condition_create(&condition, COVEY_CONDITION_OPTS(.rlock = lock)));
    covey_shared_value_free(value);
    check_usable(value, objects + 1);
    CHECK_OK(covey_condition_acquire(condition, COVEY_NOWAIT));
    CHECK_EQ(covey_rlock_locked(lock), 1);
    CHECK_OK(covey_condition_release(condition));
    covey_condition_free(condition);
    CHECK_EQ(family_usage().objects, objects - 1);
    CHECK_ERR(covey_rlock_acquire(lock, COVEY_NOWAIT), COVEY_EFREED);
    family_check();
}

TEST(hold_of_a_lock_is_one_of_its_value)
{
    covey_shared_value *value;
    covey_array *array;
    CHECK_OK(covey_shared_value_create(&value, 'i', NULL, NULL));
    CHECK_OK(covey_array_create(&array, 'i', 3, NULL, NULL));
    uint64_t objects = family_usage().objects;
    covey_rlock *lock = covey_shared_value_get_lock(value),
                *other = covey_array_get_lock(array);
    CHECK_OK(covey_hold(lock));
    CHECK_OK(covey_hold(other));
    covey_rlock_free(lock);
    covey_rlock_free(lock); /* not held as such any more, which is told */
    check_usable(value, objects);
    covey_array_free(array);
    CHECK_EQ(covey_array_len(array), 3);
    covey_array_free(array); /* neither */
    CHECK_OK(covey_rlock_acquire(other, COVEY_NOWAIT));
    CHECK_OK(covey_rlock_release(other));
    covey_rlock_free(other);
    check_usable(value, objects - 1);
    covey_shared_value_free(value);
    family_check();
}

TEST(lock_of_a_freed_value_is_freed)
{
    covey_shared_value *value;
    covey_array *neighbour; /* so that the memory stays as it was */
    covey_condition *condition;
    CHECK_OK(covey_array_create(&neighbour, 'i', 3, NULL, NULL));
    CHECK_OK(covey_shared_value_create(&value, 'i', NULL, NULL));
    covey_rlock *lock = covey_shared_value_get_lock(value);
    covey_shared_value_free(value);
    CHECK_ERR(covey_rlock_acquire(lock, COVEY_NOWAIT), COVEY_EFREED);
    CHECK_ERR(covey_rlock_locked(lock), COVEY_EFREED);
    CHECK_ERR(covey_hold(lock), COVEY_EFREED);
    CHECK_ERR(covey_condition_create(&condition, COVEY_CONDITION_OPTS(.rlock = lock)),
              COVEY_EFREED);
    covey_rlock_free(lock);
    covey_array_free(neighbour);
    family_check();
}

struct locked {
    struct shared *shared;
    covey_rlock *locks[12];
};

static int hold_locks(struct covey_view arg)
{
    const struct locked *l = arg.data;
    for (int i = 0; i < 12; i += 2)
        CHECK_OK(covey_hold(l->locks[i]));
    for (int i = 0; i < 12; i += 4)
        covey_rlock_free(l->locks[i]);
    family_tell(&l->shared->begun);
    family_pause();
}

/* A page's memory goes back when nothing lives there: the neighbours must still count. */
TEST_EACH_METHOD(killed_holder_of_locks_takes_no_neighbour_with_it)
{
    struct locked l = {.shared = share()};
    covey_shared_value *values[12];
    covey_lock *neighbour, *others[60];
    CHECK_OK(covey_lock_create(&neighbour, NULL));
    CHECK_OK(covey_lock_acquire(neighbour, COVEY_NOWAIT));
    for (int i = 0; i < 12; i++) {
        CHECK_OK(covey_shared_value_create(&values[i], 'i', NULL, NULL));
        l.locks[i] = covey_shared_value_get_lock(values[i]);
    }
    for (int i = 0; i < 60; i++) /* on to other pages */
        CHECK_OK(covey_lock_create(&others[i], NULL));
    struct covey_process_opts *opts = OPTS();
    memcpy(opts->holds, l.locks, sizeof l.locks);
    covey_process *p = started(hold_locks, COVEY_VIEW_OF(l), opts);
    family_await(&l.shared->begun, 1);
    uint64_t objects = family_usage().objects - 2; /* less the process and a value */
    covey_shared_value_free(values[11]);
    check_usable(values[11], objects + 2);
    CHECK_OK(covey_process_kill(p));
    CHECK_EQ(end_of(p), -SIGKILL);
    family_check();
    CHECK_EQ(family_usage().objects, objects);
    CHECK_ERR(covey_rlock_acquire(l.locks[11], COVEY_NOWAIT), COVEY_EFREED);
    for (int i = 0; i < 11; i++) {
        check_usable(values[i], objects - (uint64_t)i);
        covey_shared_value_free(values[i]);
    }
    CHECK_EQ(covey_lock_locked(neighbour), 1);
    CHECK_OK(covey_lock_release(neighbour));
    for (int i = 0; i < 60; i++)
        covey_lock_free(others[i]);
    covey_lock_free(neighbour);
    family_check();
}

/* ---- arrays ---- */

TEST(array_is_bounds_checked)
{
    covey_array *array;
    int got[3], *last;
    CHECK_OK(covey_array_create(&array, 'i', 3, (int[]){10, 11, 12}, NULL));
    CHECK_EQ(covey_array_len(array), 3);
    CHECK_EQ(covey_array_item_size(array), 4);
    last = covey_array_at(array, -1);
    CHECK_EQ(*last, 12);
    CHECK_EQ(*(int *)covey_array_at(array, -3), 10);
    CHECK(covey_array_at(array, 3) == NULL);
    CHECK(covey_array_at(array, -4) == NULL);
    CHECK(covey_array_at(array, PTRDIFF_MIN) == NULL);
    CHECK_STR_HAS(covey_error_detail(), "array index out of range");
    CHECK_OK(covey_array_get(array, -2, 2, got));
    CHECK_EQ(got[0], 11);
    CHECK_EQ(got[1], 12);
    CHECK_ERR(covey_array_get(array, 2, 2, got), -ERANGE);
    CHECK_ERR(covey_array_set(array, 1, 3, got), -ERANGE);
    CHECK_ERR(covey_array_set(array, -4, 1, got), -ERANGE);
    CHECK_OK(covey_array_set(array, 3, 0, NULL));
    CHECK_ERR(covey_array_get(array, 0, 1, NULL), -EINVAL);
    CHECK_OK(covey_array_set(array, 1, 2, (int[]){-1, -2}));
    CHECK_MEM_EQ(covey_array_data(array), ((int[]){10, -1, -2}), 12);
    covey_array_free(array);
}

/* Also from and to the array itself. */
TEST(array_elements_may_be_moved)
{
    enum { COUNT = 1000 };
    covey_array *array;
    int numbers[COUNT];
    for (int i = 0; i < COUNT; i++)
        numbers[i] = i;
    CHECK_OK(covey_array_create(&array, 'i', COUNT, numbers, NULL));
    CHECK_OK(covey_array_set(array, 1, COUNT - 1, covey_array_data(array)));
    CHECK_MEM_EQ(covey_array_at(array, 1), numbers, sizeof numbers - sizeof *numbers);
    CHECK_OK(covey_array_get(array, 1, COUNT - 1, covey_array_data(array)));
    CHECK_MEM_EQ(covey_array_data(array), numbers, sizeof numbers - sizeof *numbers);
    covey_array_free(array);
}

TEST(character_arrays_are_strings)
{
    covey_array *array, *numbers;
    struct covey_bytes text = {0};
    CHECK_OK(covey_array_create(&array, 'c', 5, "hi\0\0\0", NULL));
    CHECK_OK(covey_array_set_string(array, COVEY_VIEW("abc", 3)));
    CHECK_OK(covey_array_get_string(array, &text));
    CHECK_STR_EQ(text.data, "abc");
    CHECK_EQ(text.size, 3);
    CHECK_OK(covey_array_set_string(array, COVEY_VIEW("abcde", 5)));
    CHECK_OK(covey_array_get_string(array, &text));
    CHECK_STR_EQ(text.data, "abcde");
    CHECK_ERR(covey_array_set_string(array, COVEY_VIEW("abcdef", 6)), -ERANGE);
    CHECK_ERR(covey_array_set_string(array, COVEY_VIEW(NULL, 1)), -EINVAL);
    CHECK_OK(covey_array_create(&numbers, 'i', 5, NULL, NULL));
    CHECK_ERR(covey_array_get_string(numbers, &text), -EINVAL);
    CHECK_ERR(covey_array_set_string(numbers, COVEY_NO_VIEW), -EINVAL);
    covey_bytes_free(&text);
    covey_array_free(array);
    covey_array_free(numbers);
}

TEST(bad_arguments_are_told)
{
    covey_shared_value *value;
    covey_array *array;
    covey_lock *lock;
    CHECK_ERR(covey_shared_value_create(NULL, 'i', NULL, NULL), -EINVAL);
    CHECK_ERR(covey_shared_value_create(&value, 'x', NULL, NULL), -EINVAL);
    CHECK_STR_HAS(covey_error_detail(), "bad typecode 'x'");
    CHECK_ERR(covey_shared_value_create(&value, 0, NULL, NULL), -EINVAL);
    CHECK_ERR(covey_shared_value_create_struct(&value, 0, NULL, NULL), -EINVAL);
    CHECK_ERR(
        covey_shared_value_create(
            &value, 'i', NULL, COVEY_SHARED_OPTS(.synchronized = (enum covey_switch)7)),
        -EINVAL);
    CHECK_STR_HAS(covey_error_detail(), ".synchronized is none of COVEY_ON, COVEY_OFF");
    CHECK_ERR(covey_shared_value_create_struct(&value, SIZE_MAX, NULL, NULL),
              -EOVERFLOW);
    CHECK_ERR(covey_array_create(&array, 'd', SIZE_MAX / 4, NULL, NULL), -EOVERFLOW);
    CHECK_ERR(covey_array_create(&array, 'd', SIZE_MAX / 64, NULL, NULL), -ENOMEM);
    CHECK_OK(covey_shared_value_create(&value, 'i', NULL, NULL));
    CHECK_ERR(covey_shared_value_get(value, &(long){0}, sizeof(long)), -EINVAL);
    CHECK_ERR(covey_shared_value_get(value, NULL, sizeof(int)), -EINVAL);
    CHECK_ERR(covey_shared_value_get(NULL, &(int){0}, sizeof(int)), -EINVAL);
    CHECK_OK(covey_lock_create(&lock, NULL));
    CHECK_ERR(covey_shared_value_get((covey_shared_value *)lock, &(int){0}, 4),
              -EINVAL);
    covey_lock_free(lock);
    covey_shared_value_free(value);
    CHECK_ERR(covey_shared_value_get(value, &(int){0}, sizeof(int)), COVEY_EFREED);
    CHECK(covey_shared_value_data(value) == NULL);
    covey_shared_value_free(NULL);
    covey_array_free(NULL);
    CHECK_OK(covey_array_create(&array, 'i', 0, NULL, NULL));
    CHECK_EQ(covey_array_len(array), 0);
    covey_array_free(array);
}

CHECK_MAIN()
