/* SPDX-License-Identifier: MIT */
/* Named memory where the place for it is full, missing, or of another kind. */
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/vfs.h>

#include "memory_help.h"
#include "os_help.h"

/* Another file system at `path`, in a name space of this test's. */
static void mount_over(const char *path, const char *options)
{
    if (unshare(CLONE_NEWNS) < 0 ||
        mount("none", "/", "none", MS_REC | MS_SLAVE, "") < 0 ||
        mount("test", path, "tmpfs", MS_NOSUID | MS_NODEV, options) < 0)
        SKIP("no privilege to mount");
}

static bool is_empty(void)
{
    struct statfs info;

    CHECK_EQ(statfs("/dev/shm", &info), 0);
    return info.f_blocks == info.f_bfree;
}

/* ---- full ------------------------------------------------------------------------- */

TEST(full_place_is_an_error_at_creation)
{
    covey_memory *none = NULL;

    mount_over("/dev/shm", "size=1m");
    CHECK_ERR(covey_memory_create(&none, "large", (1 << 20) + 1, NULL), -ENOSPC);
    CHECK_STR_HAS(covey_error_detail(), "large");
    CHECK(none == NULL && is_empty());
    covey_memory *memory = made("fits", 700000);
    CHECK_ERR(covey_memory_create(&none, "second", 700000, NULL), -ENOSPC);
    memset(bytes_of(memory), 1, 700000); /* no SIGBUS */
    covey_memory_free(memory);
    CHECK(is_empty());
}

TEST(place_without_room_for_names_is_an_error)
{
    covey_memory *memories[8] = {NULL};
    int r = 0, i = 0;

    mount_over("/dev/shm", "nr_inodes=4");
    for (; r == 0 && i < 8; i++)
        r = covey_memory_create(&memories[i], NULL, 10, NULL);
    CHECK_ERR(r, -ENOSPC);
    for (i = 0; i < 8; i++)
        covey_memory_free(memories[i]);
}

/* ---- missing ---------------------------------------------------------------------- */

static int see_nothing(void *ctx, const struct covey_memory_entry *entry)
{
    (void)ctx;
    (void)entry;
    return -77;
}

TEST(missing_place_is_an_error_that_says_so)
{
    covey_memory *memory = made("before", 10), *none = NULL;
    covey_shareable_list *list = NULL;

    covey_memory_free(memory);
    mount_over("/dev", "");
    CHECK_ERR(covey_memory_create(&none, "x", 10, NULL), -ENOSYS);
    CHECK_STR_HAS(covey_error_detail(), "/dev/shm");
    CHECK_ERR(covey_memory_open(&none, "x", NULL), -ENOSYS);
    CHECK_STR_HAS(covey_error_detail(), "/dev/shm");
    CHECK_ERR(covey_memory_unlink_name("x"), -ENOSYS);
    CHECK_ERR(covey_memory_list(see_nothing, NULL), -ENOSYS);
    CHECK_ERR(covey_memory_clean(NULL, NULL), -ENOSYS);
    CHECK_ERR(covey_shareable_list_create(&list, "x", NULL, 0, NULL), -ENOSYS);
    CHECK(none == NULL && list == NULL);
}

TEST(place_that_goes_away_is_no_error_for_those_who_leave)
{
    covey_memory *memory = made("gone", 10);

    mount_over("/dev", "");
    strcpy(bytes_of(memory), "still");
    CHECK_ERR(covey_memory_unlink(memory), -ENOSYS);
    CHECK_OK(covey_memory_close(memory));
    covey_memory_free(memory);
    CHECK_EQ(umount2("/dev", MNT_DETACH), 0);
    CHECK_OK(covey_memory_clean("gone", NULL));
}

TEST(readonly_place_is_an_error)
{
    covey_memory *none = NULL;

    mount_over("/dev/shm", "");
    CHECK_EQ(mount(NULL, "/dev/shm", NULL, MS_REMOUNT | MS_RDONLY, ""), 0);
    CHECK_ERR(covey_memory_create(&none, "x", 10, NULL), -EROFS);
}

/* ---- of another kind -------------------------------------------------------------- */

static void use_all(void)
{
    covey_memory *memory = made("one", 5000), *none = NULL;
    size_t count = 0;

    CHECK_ERR(covey_memory_create(&none, "one", 10, NULL), -EEXIST);
    covey_memory *other = opened("one"), *own = made(NULL, 1 << 20);
    memset(bytes_of(own), 1, 1 << 20);
    strcpy(bytes_of(memory), "text");
    CHECK_STR_EQ(bytes_of(other), "text");
    covey_memory_free(own);
    covey_memory_free(memory);
    CHECK(exists("one"));
    covey_memory_free(other);
    CHECK(!exists("one"));
    make_orphan("two");
    CHECK_OK(covey_memory_clean("two", &count));
    CHECK_EQ(count, 1);
}

/* Files without a name cannot be linked: they get a hidden one first. */
TEST(files_that_cannot_be_linked_are_renamed)
{
    deny(SYS_linkat, EPERM);
    use_all();
}

/* From now on a descriptor alone cannot be linked, as before Linux 6.10. */
static void deny_linking_by_descriptor(void)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_linkat, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[4])),
        BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, AT_EMPTY_PATH, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOENT),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {CVY_ARRAY_SIZE(code), code};

    CHECK_EQ(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    CHECK_EQ(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
}

TEST(files_are_linked_by_proc)
{
    deny_linking_by_descriptor();
    deny(SYS_renameat2, EIO);
    use_all();
}

TEST(files_are_made_without_proc)
{
    deny(SYS_linkat, ENOENT);
    use_all();
}

/* As file systems do that reserve nothing. */
TEST(storage_is_written_where_it_cannot_be_reserved)
{
    deny(SYS_fallocate, EOPNOTSUPP);
    use_all();
    covey_memory *memory = made("written", 100001);
    struct stat info;
    CHECK_EQ(stat("/dev/shm/written", &info), 0);
    CHECK_EQ(info.st_size, 100001);
    CHECK_GE(info.st_blocks * 512, 100001);
    covey_memory_free(memory);
}

TEST(full_place_is_an_error_also_when_storage_is_written)
{
    covey_memory *none = NULL;

    mount_over("/dev/shm", "size=1m");
    deny(SYS_fallocate, EOPNOTSUPP);
    deny(SYS_linkat, EPERM);
    CHECK_ERR(covey_memory_create(&none, "large", 2 << 20, NULL), -ENOSPC);
    CHECK(is_empty());
}

/* What unlink() calls. */
#ifndef SYS_unlink
#define SYS_unlink SYS_unlinkat
#endif

static void die_with_a_draft(void *unused)
{
    struct covey_memory *memory = NULL;

    (void)unused;
    deny(SYS_linkat, EPERM);
    covey_memory_free(made("first", 10)); /* finds out that it has to be hidden */
    deny(SYS_renameat2, EIO);
    deny(SYS_unlink, EIO); /* what is made now cannot be taken back */
    CHECK_ERR(covey_memory_create(&memory, "second", 10, NULL), -EIO);
}

TEST(hidden_leftovers_are_cleaned)
{
    struct holder holder = hold(die_with_a_draft, NULL, false);
    size_t count = 0;

    CHECK(!is_bare());
    kill_holder(&holder);
    CHECK_OK(covey_memory_clean(NULL, &count));
    CHECK_EQ(count, 1);
    CHECK(is_bare());
}

CHECK_MAIN()
