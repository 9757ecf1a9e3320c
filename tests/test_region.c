/* SPDX-License-Identifier: MIT */
/* The region as a whole: founding it, its options, what it needs of the system, and what a
 * child needs to map it. */
#include <fcntl.h>
#include <sys/resource.h>

#include "family.h"
#include "region/wait.h"

#define GIB (UINT64_C(1) << 30)

static void limit(int which, rlim_t value)
{
    struct rlimit l;
    CHECK_EQ(getrlimit((__rlimit_resource_t)which, &l), 0);
    l.rlim_cur = value;
    CHECK_EQ(setrlimit((__rlimit_resource_t)which, &l), 0);
}

static void skip_on_valgrind(void)
{
    const char *preload = getenv("LD_PRELOAD");
    if (preload && strstr(preload, "vgpreload"))
        SKIP("valgrind answers for the address space itself");
}

/* ---- options ---- */

TEST(bad_options_are_refused_by_name)
{
    struct covey_family_opts none = {0}, no_size = {.budget = 1};
    struct {
        struct covey_family_opts opts;
        uint64_t newer;
    } longer = {{.size = sizeof longer}, 1};
    CHECK_ERR(covey_family_configure(NULL), -EINVAL);
    CHECK_ERR(covey_family_configure(&none), -EINVAL);
    CHECK_ERR(covey_family_configure(&no_size), -EINVAL);
    CHECK_STR_HAS(covey_error_detail(), "covey_family_configure");
    CHECK_ERR(covey_family_configure(&longer.opts), -EINVAL);
    longer.newer = 0;
    CHECK_OK(covey_family_configure(&longer.opts));
    static const size_t reservations[] = {1,        4096,     8 * MIB,
                                          17 * MIB, 48 * GIB, 2048 * GIB};
    for (size_t i = 0; i < sizeof reservations / sizeof *reservations; i++) {
        CHECK_ERR(
            covey_family_configure(COVEY_FAMILY_OPTS(.reservation = reservations[i])),
            -EINVAL);
        CHECK_STR_HAS(covey_error_detail(), "reservation");
    }
    CHECK_ERR(covey_family_configure(COVEY_FAMILY_OPTS(.slice = -1)), -EINVAL);
    CHECK_STR_HAS(covey_error_detail(), "slice");
    CHECK_ERR(covey_family_configure(COVEY_FAMILY_OPTS(.bell = (enum covey_switch)2)),
              -EINVAL);
    CHECK_STR_HAS(covey_error_detail(), "bell");
    CHECK_ERR(
        covey_family_configure(COVEY_FAMILY_OPTS(.core_dump = (enum covey_switch) - 2)),
        -EINVAL);
    CHECK_STR_HAS(covey_error_detail(), "core_dump");
    CHECK(!cvy_head);
}

TEST(options_hold_from_the_start_of_the_family)
{
    struct covey_family_usage usage = {.members = 1};
    CHECK_OK(covey_family_usage(&usage)); /* asking founds none */
    CHECK_EQ(usage.members, 0);
    CHECK_EQ(usage.reservation, 0);
    family_found(COVEY_FAMILY_OPTS(.reservation = 32 * MIB, .budget = 3 * MIB));
    usage = family_usage();
    CHECK_EQ(usage.reservation, 32 * MIB);
    CHECK_EQ(usage.budget, 3 * MIB);
    CHECK_EQ(usage.members, 1);
    CHECK_EQ(usage.threads, 1);
    CHECK_EQ(usage.objects, 0);
    CHECK_ERR(covey_family_configure(COVEY_FAMILY_OPTS(.budget = MIB)), COVEY_ESTATE);
}

TEST(every_reservation_has_room_for_its_parts)
{
    for (uint64_t size = 16 * MIB; size <= 16 * GIB; size *= 2) {
        int pid = family_fork();
        if (pid == 0) {
            CHECK_OK(covey_family_configure(COVEY_FAMILY_OPTS(.reservation = size)));
            CHECK_OK(cvy_enter());
            CHECK_GE(cvy_head->slot_limit, size < GIB ? 1024 : 65535);
            CHECK_LE(cvy_head->heap + cvy_head->heap_pages * CVY_PAGE, size);
            CHECK_GE(cvy_head->heap_pages * CVY_PAGE, size - size / 4);
            memset(cvy_at(cvy_head->heap + (cvy_head->heap_pages - 1) * CVY_PAGE), 1,
                   CVY_PAGE);
            family_check();
            _exit(0);
        }
        family_join(pid);
    }
}

TEST(idle_family_costs_little)
{
    family_found(NULL);
    CHECK_LE(family_usage().resident, 64 * 1024);
    CHECK_EQ(family_usage().used, 0);
}

/* ---- what the system may refuse ---- */

TEST(small_address_space_is_a_clear_error)
{
    skip_on_valgrind();
    limit(RLIMIT_AS, 4 * GIB);
    CHECK_ERR(cvy_enter(), -ENOMEM);
    CHECK_STR_HAS(covey_error_detail(), "ulimit -v");
    CHECK(!cvy_head);
    if (!family_is_sanitized()) { /* which has more than that in use by itself */
        CHECK_OK(covey_family_configure(COVEY_FAMILY_OPTS(.reservation = 64 * MIB)));
        CHECK_OK(cvy_enter());
        cvy_region_abandon();
    }
    limit(RLIMIT_AS, RLIM_INFINITY);
}

TEST(largest_reservation_that_fits_is_taken)
{
    if (family_is_sanitized())
        SKIP("sanitizers need more address space than that");
    skip_on_valgrind();
    limit(RLIMIT_AS, 100 * GIB);
    CHECK_OK(cvy_enter());
    CHECK_EQ(cvy_head->reservation, 64 * GIB);
    cvy_region_abandon();
}

/* memfds count as files. */
TEST(limit_on_file_sizes_makes_the_reservation_smaller)
{
    limit(RLIMIT_FSIZE, 100 * GIB);
    CHECK_OK(cvy_enter());
    CHECK_EQ(cvy_head->reservation, 64 * GIB);
    cvy_region_abandon();
}

TEST(too_small_a_limit_on_file_sizes_is_a_clear_error)
{
    limit(RLIMIT_FSIZE, MIB);
    CHECK_ERR(cvy_enter(), -EFBIG);
    CHECK_STR_HAS(covey_error_detail(), "founding the family");
}

TEST(no_descriptors_left_is_a_clear_error)
{
    limit(RLIMIT_NOFILE, 0);
    CHECK_ERR(cvy_enter(), -EMFILE);
    CHECK_STR_HAS(covey_error_detail(), "founding the family");
    CHECK(!cvy_head);
    limit(RLIMIT_NOFILE, 1024);
    CHECK_OK(cvy_enter()); /* and nothing is spoilt */
    cvy_region_abandon();
}

TEST(taken_addresses_are_gone_round)
{
    static const uint64_t bases[] = {UINT64_C(0x200000000000), UINT64_C(0x4000000000)};
    int fd = cvy_os_memfd_create("test", CVY_PAGE);
    for (int i = 0; i < 2; i++)
        (void)cvy_os_map_at((void *)(uintptr_t)bases[i], CVY_PAGE, fd, false);
    cvy_os_close(fd);
    CHECK_OK(covey_family_configure(COVEY_FAMILY_OPTS(.reservation = GIB)));
    int r = cvy_enter();
    if (r < 0) /* ThreadSanitizer has no third place */
        CHECK_STR_HAS(covey_error_detail(), "address");
    else
        cvy_region_abandon();
}

/* ---- children that map it ---- */

/* Be a process that does not have the region, as after exec. */
static void forget_region(int *ret_fd, struct cvy_region_ticket *ret_ticket)
{
    int fd = -1;
    CHECK_OK(cvy_region_ticket(ret_ticket, &fd));
    *ret_fd = cvy_os_dup(fd, 3);
    CHECK_GE(*ret_fd, 0);
    cvy_region_abandon();
}

TEST(child_maps_it_at_the_same_address)
{
    family_found(NULL);
    uint32_t *object = family_object(128, 0);
    object[16] = 4711;
    int pid = family_fork();
    if (pid == 0) {
        struct cvy_region_ticket ticket;
        int fd;
        forget_region(&fd, &ticket);
        CHECK_OK(cvy_region_map(&ticket, fd));
        CHECK_OK(covey_hold(object));
        CHECK_EQ(object[16], 4711);
        CHECK_EQ(family_usage().members, 2);
        family_object(64, 0);
        _exit(0);
    }
    family_join(pid);
    CHECK_EQ(family_usage().objects, 1);
    CHECK_OK(cvy_object_release(object));
}

TEST(address_taken_in_the_child_is_a_clear_error)
{
    skip_on_valgrind();
    family_found(NULL);
    int pid = family_fork();
    if (pid == 0) {
        struct cvy_region_ticket ticket;
        char name[32];
        int fd;
        forget_region(&fd, &ticket);
        void *in_the_way = (void *)(uintptr_t)(ticket.base + 7 * MIB);
        CHECK(mmap(in_the_way, CVY_PAGE, PROT_READ,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1,
                   0) == in_the_way);
        CHECK_ERR(cvy_region_map(&ticket, fd), -EEXIST);
        snprintf(name, sizeof name, "%p", (void *)(uintptr_t)ticket.base);
        CHECK_STR_HAS(covey_error_detail(), name);
        CHECK_STR_HAS(covey_error_detail(), "something else");
        CHECK(!cvy_head);
        _exit(0);
    }
    family_join(pid);
}

TEST(small_address_space_of_a_child_is_a_clear_error)
{
    skip_on_valgrind();
    family_found(NULL);
    int pid = family_fork();
    if (pid == 0) {
        struct cvy_region_ticket ticket;
        int fd;
        forget_region(&fd, &ticket);
        limit(RLIMIT_AS, 4 * GIB);
        CHECK_ERR(cvy_region_map(&ticket, fd), -ENOMEM);
        CHECK_STR_HAS(covey_error_detail(), "ulimit -v");
        _exit(0);
    }
    family_join(pid);
}

TEST(memory_of_another_layout_is_refused)
{
    family_found(NULL);
    int pid = family_fork();
    if (pid == 0) {
        struct cvy_region_ticket ticket;
        int fd;
        cvy_head->layout++;
        forget_region(&fd, &ticket);
        CHECK_ERR(cvy_region_map(&ticket, fd), COVEY_EBUILD);
        CHECK_STR_HAS(covey_error_detail(), "layout");
        _exit(0);
    }
    family_join(pid);
    cvy_head->layout--;
}

/* ---- the descriptor ---- */

TEST(closed_descriptor_is_found_before_it_is_passed)
{
    family_found(NULL);
    struct cvy_region_ticket ticket;
    int fd = -1, other = -1;
    CHECK_OK(cvy_region_ticket(&ticket, &fd));
    CHECK_EQ(ticket.base, (uintptr_t)cvy_head);
    int kept = dup(fd);
    close(fd);
    CHECK_ERR(cvy_region_ticket(&ticket, &other), COVEY_ESTATE);
    CHECK_STR_HAS(covey_error_detail(), "closed");
    CHECK_OK(cvy_object_release(family_object(64, 1))); /* the rest goes on */
    CHECK_EQ(dup2(kept, fd), fd);                       /* for the end of the test */
    close(kept);
}

TEST(replaced_descriptor_is_found_before_it_is_passed)
{
    family_found(NULL);
    struct cvy_region_ticket ticket;
    int fd = -1, other = -1;
    CHECK_OK(cvy_region_ticket(&ticket, &fd));
    int kept = dup(fd), exe = open("/proc/self/exe", O_RDONLY);
    CHECK_EQ(dup2(exe, fd), fd);
    CHECK_ERR(cvy_region_ticket(&ticket, &other), COVEY_ESTATE);
    CHECK_STR_HAS(covey_error_detail(), "another file");
    CHECK_EQ(family_usage().resident, 0); /* not that other file's */
    CHECK_EQ(dup2(kept, fd), fd);
    close(kept);
    close(exe);
}

TEST(descriptor_is_sealed_and_closes_on_exec)
{
    family_found(NULL);
    struct cvy_region_ticket ticket;
    int fd = -1;
    CHECK_OK(cvy_region_ticket(&ticket, &fd));
    CHECK(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    CHECK_EQ(ftruncate(fd, 4096), -1);
    signal(SIGXFSZ, SIG_IGN); /* where there is a limit, too */
    CHECK_EQ(ftruncate(fd, (off_t)(2 * cvy_head->reservation)), -1);
}

/* ---- core dumps ---- */

/* Whether the kernel would write the region's mapping into a core dump. */
static bool is_dumped(void)
{
    char line[1024], start[32];
    bool here = false, dumped = true, found = false;
    FILE *maps = fopen("/proc/self/smaps", "re");
    CHECK(maps != NULL);
    snprintf(start, sizeof start, "%lx-", (unsigned long)(uintptr_t)cvy_head);
    while (fgets(line, sizeof line, maps)) {
        if (strncmp(line, start, strlen(start)) == 0)
            here = true;
        if (here && strncmp(line, "VmFlags:", 8) == 0) {
            found = true;
            dumped = strstr(line, " dd") == NULL;
            break;
        }
    }
    fclose(maps);
    CHECK(found);
    return dumped;
}

static bool is_dumped_in_child(void)
{
    int status = 0, pid = family_fork();
    if (pid == 0) {
        struct cvy_region_ticket ticket;
        int fd;
        forget_region(&fd, &ticket);
        CHECK_OK(cvy_region_map(&ticket, fd));
        _exit(is_dumped() ? 10 : 11);
    }
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) >= 10);
    return WEXITSTATUS(status) == 10;
}

TEST(region_stays_out_of_core_dumps)
{
    family_found(NULL);
    CHECK(!is_dumped());
    CHECK(!is_dumped_in_child());
}

TEST(region_is_in_core_dumps_when_asked)
{
    family_found(COVEY_FAMILY_OPTS(.core_dump = COVEY_ON));
    CHECK(is_dumped());
    CHECK(is_dumped_in_child());
}

CHECK_MAIN()
