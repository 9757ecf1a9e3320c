/* SPDX-License-Identifier: MIT */
/* Runs, blocks, objects and holds: what is taken comes back, and nothing else changes. */
#include "family.h"
#include "region/slot.h"

static cvy_ref take_run(uint64_t bytes)
{
    cvy_ref ref = 0;
    cvy_region_lock();
    CHECK_OK(cvy_run_take(bytes, CVY_RUN_MEMBER, cvy_member_owner(), &ref));
    cvy_region_unlock();
    return ref;
}

static void give_run(cvy_ref ref)
{
    cvy_region_lock();
    cvy_run_give(ref);
    cvy_region_unlock();
}

static cvy_ref take_block(uint32_t bytes)
{
    cvy_ref ref = 0;
    cvy_region_lock();
    CHECK_OK(cvy_block_take(bytes, &ref));
    cvy_region_unlock();
    return ref;
}

static void give_block(cvy_ref ref)
{
    cvy_region_lock();
    cvy_block_give(ref);
    cvy_region_unlock();
}

/* ---- runs and blocks ---- */

TEST(blocks_of_all_sizes_are_zeroed_and_apart)
{
    enum { COUNT = 600 };
    static const uint32_t sizes[] = {1,   64,  65,   128,  200, 256,
                                     500, 512, 1000, 1024, 2048};
    family_found(NULL);
    uint64_t before = family_usage().used;
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        cvy_ref blocks[COUNT];
        for (int i = 0; i < COUNT; i++) {
            blocks[i] = take_block(sizes[s]);
            unsigned char *bytes = cvy_at(blocks[i]);
            CHECK_EQ((uintptr_t)bytes % 64, 0);
            for (uint32_t k = 0; k < sizes[s]; k++)
                CHECK_EQ(bytes[k], 0);
            memset(bytes, i % 255 + 1, sizes[s]);
        }
        family_check();
        for (int i = 0; i < COUNT; i++) {
            unsigned char *bytes = cvy_at(blocks[i]);
            CHECK_EQ(bytes[0], i % 255 + 1);
            CHECK_EQ(bytes[sizes[s] - 1], i % 255 + 1);
            give_block(blocks[i]);
        }
        family_check();
    }
    /* One span of each class may stay. */
    CHECK_LE(family_usage().used, before + CVY_CLASSES * CVY_SPAN_PAGES * CVY_PAGE);
}

TEST(freed_neighbours_become_one_run)
{
    family_found(NULL);
    cvy_ref first = take_run(3 * CVY_PAGE), second = take_run(5 * CVY_PAGE);
    cvy_ref third = take_run(7 * CVY_PAGE), guard = take_run(1);
    CHECK_EQ(second - first, 3 * CVY_PAGE);
    CHECK_EQ(third - second, 5 * CVY_PAGE);
    give_run(first);
    give_run(third);
    family_check();
    give_run(second); /* joins with both sides */
    family_check();
    CHECK_EQ(take_run(15 * CVY_PAGE), first);
    give_run(first);
    give_run(guard);
    family_check();
}

/* A span that begins in the middle of what was another one finds its own start. */
TEST(spans_may_overlap_where_others_were)
{
    enum { SPANS = 4, MOST = 255 * SPANS };
    cvy_ref blocks[MOST];
    family_found(NULL);
    for (uint32_t shift = 1; shift < CVY_SPAN_PAGES; shift++) {
        for (int i = 0; i < MOST; i++)
            blocks[i] = take_block(64);
        for (int i = 0; i < MOST; i++)
            give_block(blocks[i]);
        cvy_ref run = take_run(shift * CVY_PAGE);
        for (int i = 0; i < MOST; i++) {
            blocks[i] = take_block(64);
            memset(cvy_at(blocks[i]), 0xff, 64);
        }
        family_check();
        for (int i = 0; i < MOST; i++)
            give_block(blocks[i]);
        give_run(run);
        family_check();
    }
}

struct piece {
    cvy_ref ref;
    uint64_t bytes;
    unsigned char mark;
    bool is_block;
};

static void fill_piece(struct piece *p)
{
    p->is_block = random_below(3) != 0;
    p->bytes = p->is_block
                   ? 1 + random_below(2048)
                   : 1 + random_below(random_below(20) ? 16 * CVY_PAGE : 4 * MIB);
    p->ref = p->is_block ? take_block((uint32_t)p->bytes) : take_run(p->bytes);
    p->mark = (unsigned char)random_below(256);
    memset(cvy_at(p->ref), p->mark, p->bytes);
}

static void empty_piece(struct piece *p)
{
    const unsigned char *bytes = cvy_at(p->ref);
    CHECK_EQ(bytes[0], p->mark);
    CHECK_EQ(bytes[p->bytes / 2], p->mark);
    CHECK_EQ(bytes[p->bytes - 1], p->mark);
    if (p->is_block)
        give_block(p->ref);
    else
        give_run(p->ref);
    p->ref = 0;
}

TEST(random_takes_and_gives_keep_the_tables_right)
{
    enum { PIECES = 400 };
    static struct piece pieces[PIECES];
    family_found(NULL);
    uint64_t before = family_usage().used;
    long rounds = family_long(20000, 2000000);
    for (long i = 0; i < rounds; i++) {
        struct piece *p = &pieces[random_below(PIECES)];
        if (p->ref)
            empty_piece(p);
        else
            fill_piece(p);
        if (i % 256 == 0)
            family_check();
    }
    for (int i = 0; i < PIECES; i++)
        if (pieces[i].ref)
            empty_piece(&pieces[i]);
    family_check();
    CHECK_LE(family_usage().used, before + CVY_CLASSES * CVY_SPAN_PAGES * CVY_PAGE);
}

/* ---- memory goes back ---- */

TEST(trim_gives_free_memory_back)
{
    family_found(NULL);
    uint64_t before = family_usage().resident;
    cvy_ref run = take_run(32 * MIB);
    memset(cvy_at(run), 1, 32 * MIB);
    CHECK_GE(family_usage().resident, before + 32 * MIB);
    give_run(run);
    CHECK_GE(family_usage().resident,
             before + 32 * MIB); /* kept: it will be wanted again */
    cvy_region_trim();
    CHECK_LE(family_usage().resident, before + MIB);
    family_check();
}

TEST(more_than_is_worth_keeping_goes_back_at_once)
{
    family_found(NULL);
    const uint64_t keep = (uint64_t)CVY_KEEP_PAGES * CVY_PAGE;
    uint64_t before = family_usage().resident;
    cvy_ref runs[3];
    for (int i = 0; i < 3; i++) {
        runs[i] = take_run(keep * 3 / 4);
        memset(cvy_at(runs[i]), 1, keep * 3 / 4);
    }
    for (int i = 0; i < 3; i++)
        give_run(runs[i]);
    CHECK_LE(family_usage().resident, before + keep + MIB);
    family_check();
    CHECK_EQ(cvy_head->dirty_pages * CVY_PAGE, keep * 3 / 4);
}

TEST(a_small_budget_keeps_little)
{
    family_found(COVEY_FAMILY_OPTS(.budget = 8 * MIB));
    cvy_ref run = take_run(7 * MIB);
    memset(cvy_at(run), 1, 7 * MIB);
    give_run(run);
    CHECK_LE(family_usage().resident, 3 * MIB);
    family_check();
}

/* ---- the budget ---- */

TEST(used_up_budget_names_the_biggest_and_loses_nothing)
{
    family_found(COVEY_FAMILY_OPTS(.budget = 8 * MIB));
    void *big = family_object(64, 5 * MIB), *small = family_object(64, MIB);
    void *more = NULL;
    cvy_ref ref = 0;
    char name[32];
    uint64_t used = family_usage().used, objects = family_usage().objects;
    CHECK_ERR(cvy_object_create(CVY_KIND_TEST, 64, 0, 4 * MIB, &more, &ref), -ENOMEM);
    snprintf(name, sizeof name, "%p with 5120 KiB", big);
    CHECK_STR_HAS(covey_error_detail(), name);
    snprintf(name, sizeof name, "%p with 1024 KiB", small);
    CHECK_STR_HAS(covey_error_detail(), name);
    CHECK_STR_HAS(covey_error_detail(), "8192 KiB");
    CHECK_ERR(cvy_object_add_run(small, 4 * MIB, &ref), -ENOMEM);
    CHECK(!more && !ref);
    family_check();
    CHECK_EQ(family_usage().used, used);
    CHECK_EQ(family_usage().objects, objects);
    CHECK_OK(cvy_object_release(big));
    CHECK_OK(cvy_object_create(CVY_KIND_TEST, 64, 0, 4 * MIB, &more, &ref));
    CHECK_OK(cvy_object_release(more));
    CHECK_OK(cvy_object_release(small));
    family_check();
}

/* Every refusal on the way takes back what it began. */
TEST(creation_fails_whole_until_the_last_page_is_free)
{
    enum { MOST = 1000 };
    void *objects[MOST];
    cvy_ref ref = 0;
    int count = 0;
    family_found(COVEY_FAMILY_OPTS(.budget = MIB));
    while (count < MOST && cvy_object_create(CVY_KIND_TEST, 512, 0, 3 * CVY_PAGE,
                                             &objects[count], &ref) == 0)
        count++;
    CHECK(count > 50 && count < MOST);
    for (int i = 0; i < 100; i++)
        CHECK_ERR(cvy_object_create(CVY_KIND_TEST, 512, 0, 3 * CVY_PAGE,
                                    &objects[count], &ref),
                  -ENOMEM);
    CHECK_EQ(family_usage().objects, count);
    while (count)
        CHECK_OK(cvy_object_release(objects[--count]));
    family_check();
    CHECK_EQ(family_usage().objects, 0);
}

/* ---- objects ---- */

TEST(freed_and_foreign_pointers_are_told_apart)
{
    static int not_ours;
    family_found(NULL);
    void *object = family_object(64, 0), *other = family_object(64, 0);
    CHECK_OK(cvy_object_check(object, CVY_KIND_TEST, "covey_test_get"));
    CHECK_ERR(cvy_object_check(NULL, CVY_KIND_TEST, "covey_test_get"), -EINVAL);
    CHECK_STR_HAS(covey_error_detail(), "covey_test_get");
    CHECK_ERR(cvy_object_check(&not_ours, CVY_KIND_TEST, "covey_test_get"), -EINVAL);
    CHECK_ERR(cvy_object_check((char *)object + 8, CVY_KIND_TEST, "f"), -EINVAL);
    CHECK_ERR(cvy_object_check(object, CVY_KIND_POOL, "f"), -EINVAL);
    CHECK_ERR(covey_hold(&not_ours), -EINVAL);
    CHECK_ERR(covey_hold(NULL), -EINVAL);
    CHECK_OK(cvy_object_release(object));
    CHECK_ERR(cvy_object_check(object, CVY_KIND_TEST, "covey_test_get"), COVEY_EFREED);
    CHECK_STR_HAS(covey_error_detail(), "covey_test_get");
    CHECK_ERR(covey_hold(object), COVEY_EFREED);
    CHECK_ERR(cvy_object_release(object), -EINVAL);
    CHECK_OK(cvy_object_release(other));
}

TEST(objects_of_every_kind_can_be_held)
{
    static const enum cvy_kind kinds[] = {CVY_KIND_PROCESS, CVY_KIND_POOL,
                                          CVY_KIND_SERVER, CVY_KIND_TEST};
    void *object = NULL;
    family_found(NULL);
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        CHECK_OK(cvy_object_create(kinds[i], 64, 0, 0, &object, NULL));
        CHECK_OK(covey_hold(object));
        CHECK_OK(cvy_object_release(object));
        CHECK_OK(cvy_object_release(object));
    }
    CHECK_ERR(cvy_object_create(CVY_KIND_GRAVE, 64, 0, 0, &object, NULL), -EINVAL);
    CHECK_EQ(family_usage().objects, 0);
}

/* What looks like a pointer to an object but leads into one is refused, whatever is there. */
TEST(hold_of_an_objects_middle_is_refused)
{
    family_found(NULL);
    char *object = family_object(256, 0);
    memset(object + sizeof(struct cvy_object), 0x41, 256 - sizeof(struct cvy_object));
    CHECK_ERR(covey_hold(object + 64), -EINVAL);
    CHECK_OK(cvy_object_release(object));
    family_check();
}

TEST(object_addresses_come_again_only_after_the_whole_area)
{
    family_found(COVEY_FAMILY_OPTS(.reservation = 16 * MIB));
    const uint64_t area = cvy_head->object_bytes;
    void *first = family_object(64, 0), *kept = family_object(64, 0);
    CHECK_OK(cvy_object_release(first));
    uint64_t created = 0;
    for (void *object = NULL; object != first; created += 64) {
        object = family_object(64, 0);
        CHECK(object != kept);
        if (object == first)
            CHECK_GE(created, area / 2);
        else
            CHECK_ERR(cvy_object_check(first, CVY_KIND_TEST, "f"), COVEY_EFREED);
        CHECK_OK(cvy_object_release(object));
        CHECK_LE(created, 2 * area);
        if (created == area)
            CHECK_OK(cvy_object_release(kept)); /* its page held `first` back */
    }
    family_check();
    CHECK_LE(family_usage().resident, MIB);
}

/* All pages but the current one are in use, on which nothing lives: it is taken again, and
 * what is new on it stays. */
TEST(last_page_of_a_full_area_is_used_again)
{
    family_found(COVEY_FAMILY_OPTS(.reservation = 16 * MIB));
    const uint64_t pages = cvy_head->object_bytes / CVY_PAGE;
    for (uint64_t i = 0; i < pages - 1; i++)
        for (int half = 0; half < 2; half++)
            family_object(2048, 0);
    for (int i = 0; i < 100; i++) {
        void *object = family_object(1408, 0);
        CHECK_OK(cvy_object_check(object, CVY_KIND_TEST, "new"));
        CHECK_EQ(((struct cvy_object *)object)->size, 1408);
        CHECK_OK(cvy_object_release(object));
    }
    family_check();
}

TEST(full_objects_area_is_a_clear_error)
{
    void *object = NULL;
    int r = 0;
    family_found(COVEY_FAMILY_OPTS(.reservation = 16 * MIB));
    while (r == 0)
        r = cvy_object_create(CVY_KIND_TEST, 2048, 0, 0, &object, NULL);
    CHECK_ERR(r, -ENOMEM);
    CHECK_STR_HAS(covey_error_detail(), "objects");
    CHECK_EQ(family_usage().objects, cvy_head->object_bytes / 2048);
    CHECK_OK(cvy_object_release(object));
    family_check();
}

TEST(ten_thousand_objects_and_none_left)
{
    enum { COUNT = 10000 };
    static void *objects[COUNT];
    family_found(NULL);
    CHECK_OK(cvy_object_release(family_object(64, 1)));
    cvy_region_trim();
    struct covey_family_usage before = family_usage();
    for (int i = 0; i < COUNT; i++)
        objects[i] = family_object(64 + (uint32_t)i % 4 * 64, i % 10 ? 0 : CVY_PAGE);
    CHECK_EQ(family_usage().objects, before.objects + COUNT);
    family_check();
    for (int i = 0; i < COUNT; i++)
        CHECK_OK(cvy_object_release(objects[(i * 7919L) % COUNT]));
    family_check();
    cvy_region_trim();
    struct covey_family_usage after = family_usage();
    CHECK_EQ(after.objects, before.objects);
    CHECK_EQ(after.used, before.used);
    CHECK_LE(after.resident, before.resident + 512 * 1024); /* touched tables stay */
}

TEST(object_with_many_runs_goes_as_a_whole)
{
    family_found(NULL);
    CHECK_OK(cvy_object_release(family_object(64, 0)));
    uint64_t before = family_usage().used;
    struct cvy_object *object = family_object(64, 100 * CVY_PAGE);
    cvy_ref some = 0, ref = 0;
    for (int i = 0; i < 500; i++) {
        CHECK_OK(cvy_object_add_run(object, 1 + random_below(64 * 1024), &ref));
        if (i == 250)
            some = ref;
    }
    cvy_object_give_run(some);
    family_check();
    CHECK_EQ(family_usage().used, before + object->run_pages * CVY_PAGE);
    CHECK_OK(cvy_object_release(object));
    family_check();
    CHECK_EQ(family_usage().used, before);
}

/* ---- holds ---- */

TEST(object_lives_as_long_as_it_is_held)
{
    family_found(NULL);
    void *object = family_object(64, 0);
    CHECK_OK(covey_hold(object));
    CHECK_OK(covey_hold(object));
    for (int i = 0; i < 2; i++) {
        CHECK_OK(cvy_object_release(object));
        CHECK_OK(cvy_object_check(object, CVY_KIND_TEST, "f"));
    }
    CHECK_OK(cvy_object_release(object));
    CHECK_ERR(cvy_object_check(object, CVY_KIND_TEST, "f"), COVEY_EFREED);
}

TEST(killed_holders_holds_are_dropped)
{
    family_found(NULL);
    cvy_word *held = family_shared(sizeof *held);
    void *object = family_object(64, CVY_PAGE);
    int pid = family_fork();
    if (pid == 0) {
        CHECK_OK(covey_hold(object));
        CHECK_OK(covey_hold(object));
        family_object(64, CVY_PAGE);
        family_tell(held);
        family_pause();
    }
    family_await(held, 1);
    CHECK_OK(cvy_object_release(object));
    CHECK_OK(cvy_object_check(object, CVY_KIND_TEST, "f")); /* the child holds it */
    CHECK_EQ(family_usage().objects, 2);
    family_kill(pid);
    struct covey_family_usage usage = family_usage();
    CHECK_EQ(usage.objects, 0);
    CHECK_EQ(usage.members, 1);
    CHECK_EQ(usage.threads, 1);
    CHECK_EQ(usage.deaths, 1);
    CHECK_ERR(cvy_object_check(object, CVY_KIND_TEST, "f"), COVEY_EFREED);
    family_check();
}

TEST(extents_of_the_dead_come_back)
{
    family_found(NULL);
    cvy_word *ready = family_shared(sizeof *ready);
    uint64_t before = family_usage().used;
    int pid = family_fork();
    if (pid == 0) {
        CHECK_OK(cvy_enter());
        for (int i = 0; i < 100; i++)
            take_run(1 + random_below(100000));
        family_tell(ready);
        family_pause();
    }
    family_await(ready, 1);
    CHECK_GE(family_usage().used, before + 100 * CVY_PAGE);
    family_kill(pid);
    CHECK_EQ(family_usage().used, before);
    family_check();
}

/* Nobody has looked for the dead yet; what they held is there when it is needed. */
TEST(memory_of_the_unmourned_counts_as_free)
{
    family_found(COVEY_FAMILY_OPTS(.budget = 8 * MIB));
    void *object = family_object(64, 0);
    cvy_ref ref = 0;
    for (int i = 0; i < 3; i++) {
        int pid = family_fork();
        if (pid == 0) {
            CHECK_OK(cvy_enter());
            family_object(64, 6 * MIB);
            raise(SIGKILL);
        }
        CHECK_EQ(waitpid(pid, NULL, 0), pid);
        if (i == 2)
            CHECK_OK(cvy_object_add_run(object, 5 * MIB, &ref));
    }
    CHECK_OK(cvy_object_release(object));
    CHECK_EQ(family_usage().objects, 0);
    family_check();
}

TEST(a_new_member_gets_copies_of_the_holds_but_private_ones)
{
    family_found(NULL);
    void *shared = family_object(64, 0), *private = NULL;
    uint32_t member = 0;
    CHECK_OK(
        cvy_object_create(CVY_KIND_TEST, 64, CVY_OBJECT_PRIVATE, 0, &private, NULL));
    CHECK_OK(cvy_member_new("child", &member));
    CHECK_OK(cvy_holds_copy(cvy_member_owner(), member));
    CHECK_OK(cvy_object_release(shared));
    CHECK_OK(cvy_object_release(private));
    CHECK_OK(cvy_object_check(shared, CVY_KIND_TEST, "f"));
    CHECK_ERR(cvy_object_check(private, CVY_KIND_TEST, "f"), COVEY_EFREED);
    cvy_member_release(member, NULL, NULL);
    CHECK_ERR(cvy_object_check(shared, CVY_KIND_TEST, "f"), COVEY_EFREED);
    CHECK_EQ(family_usage().members, 1);
    family_check();
}

/* Copying is one hold after another; where the budget ends it stops, and what was copied
 * goes with the member. */
TEST(holds_that_do_not_fit_fail_and_leave_nothing)
{
    enum { COUNT = 3000 };
    static void *objects[COUNT];
    family_found(COVEY_FAMILY_OPTS(.budget = MIB));
    uint32_t member = 0;
    cvy_ref rest = 0;
    for (int i = 0; i < COUNT; i++)
        objects[i] = family_object(64, 0);
    CHECK_OK(cvy_member_new("child", &member));
    CHECK_OK(cvy_object_add_run(objects[0],
                                MIB - family_usage().used - 5 * 4 * CVY_PAGE, &rest));
    CHECK_ERR(cvy_holds_copy(cvy_member_owner(), member), -ENOMEM);
    cvy_member_release(member, NULL, NULL);
    for (int i = 0; i < COUNT; i++)
        CHECK_OK(cvy_object_release(objects[i]));
    CHECK_EQ(family_usage().objects, 0);
    family_check();
}

/* ---- costs ---- */

enum { ROUNDS = 20000 };

static void create_and_release(uint64_t body)
{
    CHECK_OK(cvy_object_release(family_object(64, body)));
}

static void create_and_release_small(void)
{
    create_and_release(0);
}

static void create_and_release_big(void)
{
    create_and_release(MIB);
}

static void hold_and_release(void)
{
    static void *object;
    if (!object)
        object = family_object(64, 0);
    CHECK_OK(covey_hold(object));
    CHECK_OK(cvy_object_release(object));
}

static void lock_and_unlock(void)
{
    cvy_region_lock();
    cvy_region_unlock();
}

static void make_and_release_member(void)
{
    uint32_t member = 0;
    CHECK_OK(cvy_member_new("x", &member));
    cvy_member_release(member, NULL, NULL);
}

static void detach_and_attach(void)
{
    cvy_slot_detach(cvy_thread_owner());
    cvy_thread.epoch = 0;
    CHECK_OK(cvy_enter());
}

/* Prints what docs/design/region.md says; the limit is only against mistakes. */
TEST(operations_cost_little)
{
    static const struct {
        const char *name;
        void (*operation)(void);
    } rows[] = {{"lock, unlock", lock_and_unlock},
                {"hold, release", hold_and_release},
                {"create, release", create_and_release_small},
                {"create, release with 1 MiB", create_and_release_big},
                {"new member, release", make_and_release_member},
                {"thread leaves, attaches", detach_and_attach}};
    family_found(NULL);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        for (int k = 0; k < ROUNDS / 10; k++)
            rows[i].operation();
        int64_t start = cvy_os_now();
        for (int k = 0; k < ROUNDS; k++)
            rows[i].operation();
        int64_t each = (cvy_os_now() - start) / ROUNDS;
        fprintf(stderr, "%-28s %6lld ns\n", rows[i].name, (long long)each);
        CHECK_LT(each, COVEY_MSEC(1));
    }
}

CHECK_MAIN()
