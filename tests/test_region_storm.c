/* SPDX-License-Identifier: MIT */
/* Members killed at random moments while all of them work on the region: the others go on,
 * and in the end nothing is missing and nothing is left. */
#include "family.h"

enum { WORKERS = 5, OBJECTS = 16 };

/* What the parent holds for all of them, and how much they did. */
struct storm {
    void *objects[OBJECTS];
    _Atomic uint64_t operations;
    cvy_word stop;
};

/* What one worker holds. */
struct own {
    void *objects[OBJECTS];
    cvy_ref runs[OBJECTS];
};

static void change_object(struct own *own, uint64_t i)
{
    if (!own->objects[i]) {
        cvy_ref ref = 0;
        uint64_t body = random_below(3) ? random_below(20 * CVY_PAGE) : 0;
        CHECK_OK(cvy_object_create(CVY_KIND_TEST, (uint32_t)random_below(1985) + 64, 0,
                                   body, &own->objects[i], &ref));
        if (body)
            memset(cvy_at(ref), 0x5a, body);
        return;
    }
    if (random_below(2)) {
        if (own->runs[i])
            cvy_object_give_run(own->runs[i]);
        own->runs[i] = 0;
        if (random_below(2)) {
            CHECK_OK(cvy_object_add_run(own->objects[i], random_below(9 * CVY_PAGE) + 1,
                                        &own->runs[i]));
            return;
        }
    }
    CHECK_OK(cvy_object_release(own->objects[i]));
    own->objects[i] = NULL;
    own->runs[i] = 0;
}

static void make_and_release_member(void)
{
    uint32_t member = 0;
    CHECK_OK(cvy_member_new("storm", &member));
    CHECK_OK(cvy_holds_copy(cvy_member_owner(), member));
    cvy_member_release(member, NULL, NULL);
}

static void one_operation(struct storm *storm, struct own *own)
{
    void *shared = storm->objects[random_below(OBJECTS)];
    switch (random_below(16)) {
    case 0:
        make_and_release_member();
        break;
    case 1:
        cvy_members_sweep();
        break;
    case 2:
        cvy_region_trim();
        break;
    case 3:
    case 4:
    case 5:
        CHECK_OK(covey_hold(shared));
        if (random_below(4))
            CHECK_OK(cvy_object_release(shared));
        break;
    default:
        change_object(own, random_below(OBJECTS));
    }
}

static _Noreturn void work(struct storm *storm, uint64_t seed)
{
    struct own own = {0};
    random_state = seed * 2654435761u + 1;
    CHECK_OK(cvy_enter());
    while (!atomic_load(&storm->stop)) {
        one_operation(storm, &own);
        atomic_fetch_add(&storm->operations, 1);
    }
    _exit(0);
}

static int start_worker(struct storm *storm, uint64_t seed)
{
    int pid = family_fork();
    if (pid == 0)
        work(storm, seed);
    return pid;
}

static void run_storm(struct storm *storm, int64_t length)
{
    int pids[WORKERS];
    uint64_t seed = 1;
    long kills = 0;
    int64_t end = cvy_os_now() + length;
    for (int i = 0; i < WORKERS; i++)
        pids[i] = start_worker(storm, seed++);
    while (cvy_os_now() < end) {
        uint64_t i = random_below(WORKERS);
        int64_t moment = cvy_os_now() + (int64_t)random_below(2000000);
        while (cvy_os_now() < moment)
            cvy_os_yield();
        family_kill(pids[i]);
        pids[i] = start_worker(storm, seed++);
        kills++;
        CHECK_OK(covey_hold(storm->objects[i]));
        CHECK_OK(cvy_object_release(storm->objects[i]));
    }
    family_tell(&storm->stop);
    for (int i = 0; i < WORKERS; i++)
        family_join(pids[i]);
    fprintf(stderr, "%ld kills, %llu operations\n", kills,
            (unsigned long long)storm->operations);
}

static void storm_with(const struct covey_family_opts *opts, int64_t length)
{
    family_found(opts);
    random_state = 4711;
    struct storm *storm = family_shared(sizeof *storm);
    for (int i = 0; i < OBJECTS; i++)
        storm->objects[i] = family_object(64, 0);
    struct covey_family_usage before = family_usage(), after;
    run_storm(storm, length);
    family_check();
    after = family_usage();
    CHECK_EQ(after.members, before.members);
    CHECK_EQ(after.threads, before.threads);
    CHECK_EQ(after.objects, before.objects);
    CHECK_EQ(after.used, before.used);
    for (int i = 0; i < OBJECTS; i++) {
        CHECK_EQ(((struct cvy_object *)storm->objects[i])->holds, 1);
        CHECK_OK(cvy_object_release(storm->objects[i]));
    }
    CHECK_EQ(family_usage().objects, 0);
    family_check();
}

/* Slices are too long to help, so what hangs is a wake-up that nobody sent. */
TEST_TIMEOUT(kill_storm_leaves_nothing, 120)
{
    storm_with(COVEY_FAMILY_OPTS(.slice = COVEY_SEC(2)), COVEY_SEC(family_long(2, 60)));
}

/* Few records and little memory, so that all of it is used again and again. */
TEST_TIMEOUT(kill_storm_in_a_small_region_leaves_nothing, 120)
{
    storm_with(COVEY_FAMILY_OPTS(.reservation = 64 * MIB, .slice = COVEY_SEC(2)),
               COVEY_SEC(family_long(2, 60)));
}

TEST_TIMEOUT(kill_storm_without_bell_leaves_nothing, 120)
{
    storm_with(COVEY_FAMILY_OPTS(.bell = COVEY_OFF), COVEY_SEC(family_long(1, 30)));
}

CHECK_MAIN()
