/* SPDX-License-Identifier: MIT */
/* Named memory: making, opening and removing it, its sizes, names and options. Who its
 * users are is in test_memory_users.c. */
#include <sys/resource.h>

#include "memory_help.h"

#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))

/* ---- sizes ------------------------------------------------------------------------ */

static struct stat stat_of(const char *name)
{
    char path[300];
    struct stat info;

    snprintf(path, sizeof path, "/dev/shm/%s", name);
    CHECK_EQ(stat(path, &info), 0);
    return info;
}

TEST(created_memory_is_zero_and_has_the_size_asked_for)
{
    static const size_t sizes[] = {1, 8, 4095, 4096, 4097, 100000, 5 << 20};
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);

    for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
        covey_memory *memory = made("sized", sizes[i]);
        size_t size = 0, asked = 0, mapped = 0;
        char *bytes = covey_memory_data(memory, &size);

        CHECK_EQ(size, sizes[i]);
        CHECK_OK(covey_memory_size(memory, &asked));
        CHECK_EQ(asked, sizes[i]);
        CHECK_OK(covey_memory_mapped_size(memory, &mapped));
        CHECK_EQ(mapped, (size + page - 1) / page * page);
        CHECK_EQ((uintptr_t)bytes % page, 0);
        for (size_t at = 0; at < mapped; at++)
            CHECK_EQ(bytes[at], 0);
        memset(bytes, 'x', mapped);
        CHECK_EQ(stat_of("sized").st_size, size);
        covey_memory_free(memory);
    }
}

TEST(storage_is_reserved_at_creation)
{
    covey_memory *memory = made("reserved", 3000000);

    CHECK_GE(stat_of("reserved").st_blocks * 512, 3000000);
    covey_memory_free(memory);
}

TEST(sparse_memory_has_no_storage_before_it_is_touched)
{
    covey_memory *memory = NULL;
    const size_t size = (size_t)1 << 32;

    CHECK_OK(covey_memory_create(&memory, "sparse", size,
                                 COVEY_MEMORY_OPTS(.sparse = COVEY_ON)));
    CHECK_EQ(stat_of("sparse").st_blocks, 0);
    bytes_of(memory)[size - 1] = 'x';
    CHECK_LE(stat_of("sparse").st_blocks * 512, 2 << 20);
    covey_memory_free(memory);
}

TEST(opened_memory_is_the_same_and_has_its_real_size)
{
    covey_memory *memory = made("same", 5000), *other = opened("same");
    size_t size = 0;

    strcpy(bytes_of(memory), "hello");
    CHECK(bytes_of(memory) != bytes_of(other));
    CHECK_STR_EQ(covey_memory_data(other, &size), "hello");
    CHECK_EQ(size, 5000);
    CHECK_STR_EQ(covey_memory_name(other), "same");
    covey_memory_free(memory);
    covey_memory_free(other);
}

/* ---- names ------------------------------------------------------------------------ */

TEST(leading_slashes_of_a_name_do_not_count)
{
    covey_memory *memory = made("/slashed", 10), *other = opened("slashed"),
                 *third = opened("//slashed");

    CHECK_STR_EQ(covey_memory_name(memory), "slashed");
    CHECK_ERR(covey_memory_create(&other, "slashed", 10, NULL), -EEXIST);
    CHECK_STR_HAS(covey_error_detail(), "slashed");
    covey_memory_free(memory);
    covey_memory_free(other);
    covey_memory_free(third);
}

TEST(longest_name_works)
{
    char name[257] = "", longer[258];

    memset(name, 'n', 255);
    covey_memory *memory = made(name, 10);
    CHECK_STR_EQ(covey_memory_name(memory), name);
    snprintf(longer, sizeof longer, "/%s", name);
    covey_memory_free(opened(longer));
    snprintf(longer, sizeof longer, "%so", name);
    covey_memory *none = NULL;
    CHECK_ERR(covey_memory_create(&none, longer, 10, NULL), -ENAMETOOLONG);
    CHECK_ERR(covey_memory_open(&none, longer, NULL), -ENAMETOOLONG);
    CHECK_ERR(covey_memory_unlink_name(longer), -ENAMETOOLONG);
    CHECK(none == NULL);
    covey_memory_free(memory);
}

TEST(bad_names_are_refused)
{
    static const char *const names[] = {"",  "/",  "///", "a/b", "/a/b",
                                        ".", "..", "/..", "a/"};
    covey_memory *none = NULL;

    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        CHECK_ERR(covey_memory_create(&none, names[i], 10, NULL), -EINVAL);
        CHECK_ERR(covey_memory_open(&none, names[i], NULL), -EINVAL);
        CHECK_ERR(covey_memory_unlink_name(names[i]), -EINVAL);
    }
    CHECK_ERR(covey_memory_open(&none, NULL, NULL), -EINVAL);
    CHECK_ERR(covey_memory_unlink_name(NULL), -EINVAL);
    CHECK(none == NULL);
}

TEST(memory_gets_a_name_of_its_own)
{
    covey_memory *memories[200];

    for (size_t i = 0; i < ARRAY_SIZE(memories); i++) {
        memories[i] = made(NULL, 10);
        CHECK(exists(covey_memory_name(memories[i])));
        CHECK_STR_HAS(covey_memory_name(memories[i]), "covey_");
        *bytes_of(memories[i]) = (char)i;
    }
    for (size_t i = 0; i < ARRAY_SIZE(memories); i++) {
        CHECK_EQ(*bytes_of(memories[i]), (char)i);
        covey_memory_free(memories[i]);
    }
}

TEST(missing_name_is_an_error)
{
    covey_memory *none = NULL;

    CHECK_ERR(covey_memory_open(&none, "missing", NULL), -ENOENT);
    CHECK_STR_HAS(covey_error_detail(), "missing");
    CHECK_ERR(covey_memory_unlink_name("missing"), -ENOENT);
    CHECK(none == NULL);
}

/* ---- arguments -------------------------------------------------------------------- */

TEST(bad_arguments_are_refused)
{
    covey_memory *none = NULL, *memory = made("args", 10);
    size_t size = 7;

    CHECK_ERR(covey_memory_create(NULL, "x", 10, NULL), -EINVAL);
    CHECK_ERR(covey_memory_create(&none, "x", 0, NULL), -EINVAL);
    CHECK_ERR(covey_memory_create(&none, NULL, 0, NULL), -EINVAL);
    CHECK_ERR(covey_memory_create(&none, "x", SIZE_MAX, NULL), -ENOMEM);
    CHECK_ERR(covey_memory_open(NULL, "args", NULL), -EINVAL);
    CHECK(none == NULL);
    CHECK_ERR(covey_memory_size(NULL, &size), -EINVAL);
    CHECK_ERR(covey_memory_size(memory, NULL), -EINVAL);
    CHECK_ERR(covey_memory_mapped_size(NULL, &size), -EINVAL);
    CHECK_ERR(covey_memory_mapped_size(memory, NULL), -EINVAL);
    CHECK(covey_memory_data(NULL, &size) == NULL);
    CHECK(covey_memory_name(NULL) == NULL);
    CHECK_ERR(covey_memory_unlink(NULL), -EINVAL);
    CHECK_ERR(covey_memory_close(NULL), -EINVAL);
    CHECK_ERR(covey_memory_list(NULL, NULL), -EINVAL);
    CHECK_EQ(size, 7);
    covey_memory_free(NULL);
    covey_memory_free(memory);
}

TEST(bad_options_are_refused)
{
    covey_memory *none = NULL, *memory = made("opts", 10);
    struct covey_memory_opts unsized = {.keep = COVEY_ON};

    CHECK_ERR(covey_memory_create(&none, "x", 10, &unsized), -EINVAL);
    CHECK_ERR(
        covey_memory_create(&none, "x", 10, COVEY_MEMORY_OPTS(.readonly = COVEY_ON)),
        -EINVAL);
    CHECK_ERR(covey_memory_create(&none, "x", 10,
                                  COVEY_MEMORY_OPTS(.keep = (enum covey_switch)5)),
              -EINVAL);
    CHECK_ERR(
        covey_memory_create(&none, "x", 10, COVEY_MEMORY_OPTS(.permissions = 0400)),
        -EINVAL);
    CHECK_ERR(
        covey_memory_create(&none, "x", 10, COVEY_MEMORY_OPTS(.permissions = 01600)),
        -EINVAL);
    CHECK_ERR(covey_memory_open(&none, "opts", COVEY_MEMORY_OPTS(.keep = COVEY_ON)),
              -EINVAL);
    CHECK_ERR(covey_memory_open(&none, "opts", COVEY_MEMORY_OPTS(.sparse = COVEY_ON)),
              -EINVAL);
    CHECK_ERR(covey_memory_create(&none, "x", 10,
                                  COVEY_MEMORY_OPTS(.sparse = (enum covey_switch)5)),
              -EINVAL);
    CHECK_ERR(covey_memory_open(&none, "opts", COVEY_MEMORY_OPTS(.permissions = 0600)),
              -EINVAL);
    CHECK(none == NULL && !exists("x"));
    covey_memory_free(memory);
}

/* ---- options ---------------------------------------------------------------------- */

/* The permissions with which the page at `address` is mapped, "rw-s" or so. */
static void read_mapping(const void *address, char ret_permissions[5])
{
    FILE *file = fopen("/proc/self/maps", "re");
    char line[512];
    unsigned long from, to;

    CHECK(file != NULL);
    ret_permissions[0] = '\0';
    while (fgets(line, sizeof line, file)) {
        char permissions[5];

        if (sscanf(line, "%lx-%lx %4s", &from, &to, permissions) == 3 &&
            from == (uintptr_t)address)
            memcpy(ret_permissions, permissions, 5);
    }
    fclose(file);
}

TEST(readonly_memory_is_mapped_so)
{
    covey_memory *memory = made("readonly", 10), *reader = NULL;
    char permissions[5];

    strcpy(bytes_of(memory), "text");
    CHECK_OK(covey_memory_open(&reader, "readonly",
                               COVEY_MEMORY_OPTS(.readonly = COVEY_ON)));
    read_mapping(bytes_of(reader), permissions);
    CHECK_STR_EQ(permissions, "r--s");
    CHECK_STR_EQ(bytes_of(reader), "text");
    read_mapping(bytes_of(memory), permissions);
    CHECK_STR_EQ(permissions, "rw-s");
    covey_memory_free(memory);
    CHECK(exists("readonly")); /* a reader is a user */
    covey_memory_free(reader);
}

static int be_nobody(void *unused)
{
    covey_memory *memory = NULL;

    (void)unused;
    CHECK_EQ(setgid(65534), 0);
    CHECK_EQ(setuid(65534), 0);
    CHECK_ERR(covey_memory_open(&memory, "others", NULL), -EACCES);
    CHECK_ERR(
        covey_memory_open(&memory, "private", COVEY_MEMORY_OPTS(.readonly = COVEY_ON)),
        -EACCES);
    CHECK_OK(
        covey_memory_open(&memory, "others", COVEY_MEMORY_OPTS(.readonly = COVEY_ON)));
    CHECK_STR_EQ(bytes_of(memory), "for all");
    CHECK_ERR(covey_memory_unlink(memory), -EACCES);
    CHECK_ERR(covey_memory_unlink_name("writable"), -EPERM);
    CHECK_ERR(covey_memory_create(&memory, "private", 10, NULL), -EEXIST);
    covey_memory_free(memory);
    covey_memory *own = made("own", 10);
    covey_memory_free(own);
    CHECK_OK(covey_memory_clean(NULL, NULL));
    return 0;
}

TEST(permissions_are_for_other_users)
{
    covey_memory *others = NULL, *writable = NULL, *private = made("private", 10);

    if (getuid() != 0)
        SKIP("no root to become another user");
    umask(022);
    CHECK_OK(covey_memory_create(&others, "others", 10,
                                 COVEY_MEMORY_OPTS(.permissions = 0666)));
    CHECK_EQ(stat_of("others").st_mode & 0777, 0644);
    umask(0);
    CHECK_OK(covey_memory_create(&writable, "writable", 10,
                                 COVEY_MEMORY_OPTS(.permissions = 0666)));
    CHECK_EQ(stat_of("writable").st_mode & 0777, 0666);
    CHECK_EQ(stat_of("private").st_mode & 0777, 0600);
    strcpy(bytes_of(others), "for all");
    CHECK_EQ(end_of(forked(be_nobody, NULL)), 0);
    covey_memory_free(others);
    covey_memory_free(writable);
    covey_memory_free(private);
}

TEST(kept_name_stays_until_it_is_unlinked)
{
    covey_memory *memory = NULL;

    CHECK_OK(
        covey_memory_create(&memory, "kept", 10, COVEY_MEMORY_OPTS(.keep = COVEY_ON)));
    strcpy(bytes_of(memory), "kept");
    covey_memory_free(memory);
    CHECK(exists("kept"));
    CHECK_OK(covey_memory_clean(NULL, NULL));
    CHECK_ERR(covey_memory_create(&memory, "kept", 10, NULL), -EEXIST);
    memory = opened("kept");
    CHECK_STR_EQ(bytes_of(memory), "kept");
    covey_memory_free(memory);
    CHECK_OK(covey_memory_unlink_name("/kept"));
    CHECK(!exists("kept"));
}

/* ---- closing and unlinking -------------------------------------------------------- */

TEST(close_is_idempotent_and_leaves_name_and_sizes)
{
    covey_memory *memory = made("closed", 5000);
    size_t size = 0, mapped = 0;

    CHECK_OK(covey_memory_close(memory));
    CHECK_OK(covey_memory_close(memory));
    CHECK(!exists("closed"));
    CHECK(covey_memory_data(memory, &size) == NULL);
    CHECK_EQ(size, 0);
    CHECK_STR_EQ(covey_memory_name(memory), "closed");
    CHECK_OK(covey_memory_size(memory, &size));
    CHECK_OK(covey_memory_mapped_size(memory, &mapped));
    CHECK_EQ(size, 5000);
    CHECK_EQ(mapped, 8192);
    covey_memory_free(memory);
}

TEST(unlinked_memory_stays_with_those_who_have_it)
{
    covey_memory *memory = made("unlinked", 10), *other = opened("unlinked"), *none;

    CHECK_OK(covey_memory_unlink(memory));
    CHECK(!exists("unlinked"));
    CHECK_ERR(covey_memory_unlink(memory), -ENOENT);
    CHECK_ERR(covey_memory_unlink(other), -ENOENT);
    CHECK_ERR(covey_memory_open(&none, "unlinked", NULL), -ENOENT);
    strcpy(bytes_of(memory), "still");
    CHECK_STR_EQ(bytes_of(other), "still");
    covey_memory_free(memory);
    covey_memory_free(other);
}

TEST(new_memory_under_an_old_name_is_none_of_the_old_ones_business)
{
    covey_memory *old = made("reused", 10);

    CHECK_OK(covey_memory_unlink(old));
    covey_memory *new = made("reused", 20);
    CHECK_ERR(covey_memory_unlink(old), -ENOENT);
    covey_memory_free(old);
    CHECK(exists("reused"));
    covey_memory_free(opened("reused"));
    covey_memory_free(new);
    CHECK(!exists("reused"));
}

TEST(unlink_after_the_last_close_is_fine_once)
{
    covey_memory *memory = made("late", 10);

    CHECK_OK(covey_memory_close(memory));
    CHECK_OK(covey_memory_unlink(memory));
    CHECK_ERR(covey_memory_unlink(memory), -ENOENT);
    covey_memory_free(memory);
    memory = made("late", 10);
    covey_memory *other = opened("late");
    CHECK_OK(covey_memory_close(memory));
    CHECK(exists("late"));
    CHECK_OK(covey_memory_unlink(memory)); /* the name is still this memory's */
    CHECK(!exists("late"));
    covey_memory_free(memory);
    covey_memory_free(other);
}

/* ---- what is there ---------------------------------------------------------------- */

struct seen {
    int used, unused, calls;
    bool opens;
    size_t bytes;
    int result;
};

static int see(void *ctx, const struct covey_memory_entry *entry)
{
    struct seen *seen = ctx;

    seen->calls++;
    if (seen->opens) /* they may be opened and removed in between */
        covey_memory_free(opened(entry->name));
    if (!strcmp(entry->name, "listed"))
        seen->used += entry->in_use;
    if (!strcmp(entry->name, "orphan"))
        seen->unused += !entry->in_use;
    seen->bytes += entry->bytes;
    return seen->result;
}

TEST(list_tells_what_covey_made)
{
    struct seen seen = {0};
    covey_memory *memory = made("listed", 5000), *kept = NULL;
    int foreign = shm_open("/foreign", O_CREAT | O_EXCL | O_RDWR, 0600);

    CHECK_GE(foreign, 0);
    CHECK_OK(
        covey_memory_create(&kept, "kept", 10, COVEY_MEMORY_OPTS(.keep = COVEY_ON)));
    make_orphan("orphan");
    CHECK_OK(covey_memory_list(see, &seen));
    CHECK_EQ(seen.used, 1);
    CHECK_EQ(seen.unused, 1);
    CHECK_EQ(seen.calls, 2);
    CHECK_EQ(seen.bytes, 5100);
    seen = (struct seen){.result = -77};
    CHECK_EQ(covey_memory_list(see, &seen), -77);
    CHECK_EQ(seen.calls, 1);
    close(foreign);
    CHECK_EQ(shm_unlink("/foreign"), 0);
    CHECK_OK(covey_memory_unlink(kept));
    covey_memory_free(kept);
    covey_memory_free(memory);
    seen = (struct seen){.opens = true};
    CHECK_OK(covey_memory_list(see, &seen));
    CHECK_EQ(seen.calls, 1);
    CHECK(!exists("orphan"));
}

TEST(clean_removes_what_only_the_dead_have_used)
{
    size_t count = 7;
    covey_memory *memory = made("a-used", 10);
    int foreign = shm_open("/a-foreign", O_CREAT | O_EXCL | O_RDWR, 0600);

    make_orphan("a-orphan");
    make_orphan("a-other");
    make_orphan("b-orphan");
    CHECK_OK(covey_memory_clean("/a-", &count));
    CHECK_EQ(count, 2);
    CHECK(!exists("a-orphan") && !exists("a-other") && exists("b-orphan"));
    CHECK(exists("a-used") && exists("a-foreign"));
    CHECK_OK(covey_memory_clean("", &count));
    CHECK_EQ(count, 1);
    CHECK_OK(covey_memory_clean(NULL, NULL));
    CHECK(exists("a-used") && exists("a-foreign"));
    close(foreign);
    CHECK_OK(covey_memory_unlink_name("a-foreign"));
    covey_memory_free(memory);
}

/* ---- what others made ------------------------------------------------------------- */

TEST(memory_of_others_is_opened_and_never_removed)
{
    int fd = shm_open("/by-hand", O_CREAT | O_EXCL | O_RDWR, 0600);
    size_t size = 0;

    CHECK_EQ(ftruncate(fd, 777), 0);
    CHECK_EQ(pwrite(fd, "by hand", 8, 0), 8);
    close(fd);
    covey_memory *memory = opened("by-hand");
    CHECK_STR_EQ(covey_memory_data(memory, &size), "by hand");
    CHECK_EQ(size, 777);
    covey_memory_free(memory);
    CHECK(exists("by-hand"));
    CHECK_ERR(covey_memory_create(&memory, "by-hand", 10, NULL), -EEXIST);
    memory = opened("by-hand");
    CHECK_OK(covey_memory_unlink(memory));
    CHECK(!exists("by-hand"));
    covey_memory_free(memory);
}

TEST(empty_memory_is_an_error_until_its_maker_is_ready)
{
    int fd = shm_open("/empty", O_CREAT | O_EXCL | O_RDWR, 0600);
    covey_memory *memory = NULL;

    CHECK_ERR(covey_memory_open(&memory, "empty", NULL), COVEY_ESTATE);
    CHECK_STR_HAS(covey_error_detail(), "empty");
    CHECK_ERR(covey_memory_create(&memory, "empty", 10, NULL), -EEXIST);
    CHECK_EQ(ftruncate(fd, 100), 0);
    close(fd);
    memory = opened("empty");
    covey_memory_free(memory);
    CHECK_OK(covey_memory_unlink_name("empty"));
}

TEST(empty_memory_can_be_unlinked)
{
    close(shm_open("/empty", O_CREAT | O_EXCL | O_RDWR, 0600));
    CHECK_OK(covey_memory_unlink_name("empty"));
    CHECK(!exists("empty"));
}

static int size_it_later(void *unused)
{
    int fd = shm_open("/growing", O_RDWR, 0);

    (void)unused;
    usleep(5000);
    return ftruncate(fd, 100) < 0;
}

TEST(open_waits_for_a_maker_that_is_not_ready)
{
    covey_memory *memory = NULL;
    int r;

    close(shm_open("/growing", O_CREAT | O_EXCL | O_RDWR, 0600));
    pid_t pid = forked(size_it_later, NULL);
    while ((r = covey_memory_open(&memory, "growing", NULL)) == COVEY_ESTATE)
        continue;
    CHECK_OK(r);
    covey_memory_free(memory);
    CHECK_EQ(end_of(pid), 0);
    CHECK_OK(covey_memory_unlink_name("growing"));
}

TEST(what_is_no_memory_is_refused)
{
    covey_memory *memory = NULL;
    const struct covey_memory_opts *readonly = COVEY_MEMORY_OPTS(.readonly = COVEY_ON);

    CHECK_EQ(mkdir("/dev/shm/folder", 0700), 0);
    CHECK_EQ(mkfifo("/dev/shm/fifo", 0600), 0);
    CHECK_EQ(symlink("/etc/passwd", "/dev/shm/link"), 0);
    CHECK_ERR(covey_memory_open(&memory, "folder", NULL), -EISDIR);
    CHECK_ERR(covey_memory_open(&memory, "folder", readonly), -ENODEV);
    CHECK_ERR(covey_memory_open(&memory, "fifo", NULL), -ENODEV);
    CHECK_ERR(covey_memory_open(&memory, "link", NULL), -ELOOP);
    CHECK_ERR(covey_memory_create(&memory, "folder", 10, NULL), -EEXIST);
    CHECK_ERR(covey_memory_create(&memory, "link", 10, NULL), -EEXIST);
    CHECK_OK(covey_memory_clean(NULL, NULL));
    CHECK_EQ(rmdir("/dev/shm/folder"), 0);
    CHECK_EQ(unlink("/dev/shm/fifo"), 0);
    CHECK_EQ(unlink("/dev/shm/link"), 0);
}

/* ---- limits of the process -------------------------------------------------------- */

TEST(size_over_the_file_limit_is_an_error_and_no_signal)
{
    struct rlimit limit = {100000, 100000};
    covey_memory *memory = NULL;

    CHECK_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);
    CHECK_ERR(covey_memory_create(&memory, "limited", 100001, NULL), -EFBIG);
    CHECK(!exists("limited"));
    covey_memory_free(made("limited", 100000));
}

TEST(more_than_the_machine_has_is_an_error)
{
    covey_memory *memory = NULL;

    CHECK_ERR(covey_memory_create(&memory, "huge", (size_t)1 << 50, NULL), -ENOMEM);
    CHECK(!exists("huge"));
}

static void limit_descriptors(rlim_t most, struct rlimit *before)
{
    struct rlimit limit;

    CHECK_EQ(getrlimit(RLIMIT_NOFILE, before), 0);
    limit = (struct rlimit){most, before->rlim_max};
    CHECK_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

TEST(without_descriptors_nothing_is_made_and_a_close_says_what_is_left)
{
    covey_memory *memory = made("left", 10), *none = NULL;
    struct rlimit before;
    size_t count = 0;

    limit_descriptors(0, &before);
    CHECK_ERR(covey_memory_create(&none, "x", 10, NULL), -EMFILE);
    CHECK_ERR(covey_memory_open(&none, "left", NULL), -EMFILE);
    CHECK_ERR(covey_memory_list(see, &count), -EMFILE);
    CHECK_ERR(covey_memory_clean(NULL, &count), -EMFILE);
    CHECK_ERR(covey_memory_close(memory), -EMFILE);
    CHECK_STR_HAS(covey_error_detail(), "left");
    CHECK(covey_memory_data(memory, NULL) == NULL);
    CHECK_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
    CHECK(exists("left"));
    CHECK_OK(covey_memory_clean("left", &count));
    CHECK_EQ(count, 1);
    covey_memory_free(memory);
}

static int count_name(void *count, const struct covey_memory_entry *entry)
{
    (void)entry;
    ++*(int *)count;
    return 0;
}

/* Also where the folder can be opened and no name in it. */
TEST(names_are_not_left_out_for_lack_of_descriptors)
{
    covey_memory *memory = made("seen", 10);
    struct rlimit before;
    int r = -EMFILE;

    for (rlim_t most = 0; r < 0; most++) {
        int count = 0;
        limit_descriptors(most, &before);
        r = covey_memory_list(count_name, &count);
        CHECK_EQ(covey_memory_clean("seen", NULL), r);
        CHECK_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
        CHECK(r == -EMFILE || (r == 0 && count == 1));
    }
    covey_memory_free(memory);
}

TEST(open_memory_costs_no_descriptor)
{
    covey_memory *memories[100];
    struct rlimit before;

    limit_descriptors(20, &before);
    for (size_t i = 0; i < ARRAY_SIZE(memories); i++)
        memories[i] = made(NULL, 10);
    for (size_t i = 0; i < ARRAY_SIZE(memories); i++)
        covey_memory_free(memories[i]);
    CHECK_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
}

CHECK_MAIN()
