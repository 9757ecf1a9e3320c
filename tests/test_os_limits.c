/* SPDX-License-Identifier: MIT */
/* The system contract: processors, resource limits, control groups, exit. */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "os/linux/cgroup.h"
#include "os_help.h"

/* Limits cannot be taken back, so each is set in a child. */
static int in_child(void (*body)(void))
{
    pid_t pid = fork();

    if (pid == 0) {
        body();
        _exit(0);
    }
    return reap(pid);
}

/* ---- processors --------------------------------------------------------------- */

TEST(list_of_processors_is_checked)
{
    const char *good[] = {"0", "0-3", "0-3,6", "1,1,1", "8191", "5-5", "0,2-4,100"};
    const char *bad[] = {"",      "-",    "0-",      "-1",          "3-1", "1,",
                         ",1",    "1,,2", "a",       "1 ",          " 1",  "0x1",
                         "1-2-3", "8192", "0-99999", "99999999999", "1;2", "0-3,",
                         "1--2",  "0\n"};

    for (size_t i = 0; i < CVY_ARRAY_SIZE(good); i++)
        CHECK_EQ(cvy_os_check_cpus(good[i]), 0);
    for (size_t i = 0; i < CVY_ARRAY_SIZE(bad); i++) {
        CHECK_EQ(cvy_os_check_cpus(bad[i]), -EINVAL);
        CHECK_EQ(cvy_os_set_cpus(bad[i]), -EINVAL);
    }
    CHECK_EQ(cvy_os_check_cpus(NULL), -EINVAL);
}

/* A processor this process may run on, that is not `other`; -1 if there is none. */
static int some_cpu(int other)
{
    cpu_set_t set;

    CHECK_EQ(sched_getaffinity(0, sizeof(set), &set), 0);
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (cpu != other && CPU_ISSET((size_t)cpu, &set))
            return cpu;
    }
    return -1;
}

static void use_one_cpu(void)
{
    int cpu = some_cpu(-1);
    char list[32];
    size_t count = 0;

    snprintf(list, sizeof(list), "%d,8000-8191", cpu);
    CHECK_EQ(cvy_os_set_cpus(list), 0);
    CHECK_EQ(some_cpu(-1), cpu);
    CHECK_EQ(some_cpu(cpu), -1);
    CHECK_EQ(cvy_os_cpu_count(&count), 0);
    CHECK_EQ(count, 1);
    CHECK(!cvy_os_is_multicore());
    CHECK_EQ(cvy_os_set_cpus("8000"), -EINVAL); /* there is none */
    CHECK_EQ(some_cpu(-1), cpu);
}

TEST(process_runs_on_the_processors_of_the_list)
{
    size_t count = 0;

    CHECK_EQ(in_child(use_one_cpu), 0);
    CHECK_EQ(cvy_os_cpu_count(&count), 0);
    CHECK_GE(count, 1);
    CHECK_LE(count, (size_t)sysconf(_SC_NPROCESSORS_CONF));
    CHECK_EQ(cvy_os_is_multicore(), some_cpu(some_cpu(-1)) >= 0);
}

/* ---- resource limits ---------------------------------------------------------- */

static void check_limit(enum cvy_os_limit which, int resource, rlim_t value)
{
    struct rlimit limit;

    CHECK_EQ(cvy_os_set_limit(which, value), 0);
    CHECK_EQ(prlimit(0, (enum __rlimit_resource)resource, NULL, &limit), 0);
    CHECK_EQ(limit.rlim_cur, value);
    CHECK_EQ(limit.rlim_max, value + (which == CVY_OS_LIMIT_CPU));
}

static void set_limits(void)
{
    check_limit(CVY_OS_LIMIT_CPU, RLIMIT_CPU, 1000);
    check_limit(CVY_OS_LIMIT_DATA, RLIMIT_DATA, 1UL << 40);
    check_limit(CVY_OS_LIMIT_STACK, RLIMIT_STACK, 4 << 20);
    check_limit(CVY_OS_LIMIT_FILE, RLIMIT_FSIZE, 1 << 20);
    check_limit(CVY_OS_LIMIT_OPEN, RLIMIT_NOFILE, 100);
    check_limit(CVY_OS_LIMIT_CORE, RLIMIT_CORE, 0);
    CHECK_EQ(cvy_os_set_limit((enum cvy_os_limit)99, 0), -EINVAL);
}

TEST(limits_are_set_soft_and_hard)
{
    CHECK_EQ(in_child(set_limits), 0);
}

static void raise_limit_without_privileges(void)
{
    if (geteuid() == 0)
        CHECK_EQ(setresuid(65534, 65534, 65534), 0);
    CHECK_EQ(cvy_os_set_limit(CVY_OS_LIMIT_OPEN, 100), 0);
    CHECK_EQ(cvy_os_set_limit(CVY_OS_LIMIT_OPEN, 101), -EPERM);
    CHECK_EQ(cvy_os_set_limit(CVY_OS_LIMIT_OPEN, 99), 0);
}

TEST(limit_over_the_hard_one_needs_privileges)
{
    CHECK_EQ(in_child(raise_limit_without_privileges), 0);
}

static void burn_a_second(void)
{
    CHECK_EQ(cvy_os_set_limit(CVY_OS_LIMIT_CORE, 0), 0);
    CHECK_EQ(cvy_os_set_limit(CVY_OS_LIMIT_CPU, 1), 0);
    for (volatile long i = 0;; i++)
        continue;
}

TEST(process_over_its_time_is_told_so)
{
    CHECK_EQ(in_child(burn_a_second), SIGXCPU);
}

/* ---- control groups, from files of our own ------------------------------------ */

static char top[64];

static int remove_one(const char *path, const struct stat *info, int type,
                      struct FTW *place)
{
    (void)info, (void)type, (void)place;
    return remove(path);
}

static void make_top(void)
{
    snprintf(top, sizeof(top), "/tmp/cgroup-XXXXXX");
    CHECK(mkdtemp(top) != NULL);
}

static void remove_top(void)
{
    CHECK_EQ(nftw(top, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
}

/* Make folders on the way to `path` below the top, and the file with the text. */
COVEY_PRINTF(2, 3) static void put_file(const char *path, const char *format, ...)
{
    char full[256];
    va_list args;
    FILE *file;

    snprintf(full, sizeof(full), "%s/%s", top, path);
    for (char *slash = strchr(full + strlen(top) + 1, '/'); slash;
         slash = strchr(slash + 1, '/')) {
        *slash = 0;
        CHECK(mkdir(full, 0700) == 0 || errno == EEXIST);
        *slash = '/';
    }
    file = fopen(full, "we");
    CHECK(file != NULL);
    va_start(args, format);
    vfprintf(file, format, args);
    va_end(args);
    CHECK_EQ(fclose(file), 0);
}

static uint64_t limit_of(uint64_t (*read_limit)(const struct cvy_cgroup_source *source))
{
    char membership[128], mounts[128];
    struct cvy_cgroup_source source = {membership, mounts};

    snprintf(membership, sizeof(membership), "%s/cgroup", top);
    snprintf(mounts, sizeof(mounts), "%s/mountinfo", top);
    return read_limit(&source);
}

#define MEMORY() limit_of(cvy_cgroup_memory)
#define CPUS()   limit_of(cvy_cgroup_cpus)
/* Compared here, as the harness takes numbers for signed. */
#define CHECK_NONE(limit) CHECK((limit) == UINT64_MAX)

/* A mount of version 2 at the top's folder "v2". */
static void mount_v2(const char *root)
{
    put_file("mountinfo",
             "23 1 8:1 / / rw,relatime shared:1 - ext4 /dev/root rw\n"
             "31 23 0:28 %s %s/v2 rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n",
             root, top);
}

TEST(smallest_limit_on_the_way_up_counts)
{
    make_top();
    mount_v2("/");
    put_file("cgroup", "0::/a/b/c\n");
    put_file("v2/a/b/c/memory.max", "max\n");
    put_file("v2/a/b/memory.max", "70000\n");
    put_file("v2/a/memory.max", "50000\n");
    put_file("v2/a/b/c/cpu.max", "250000 100000\n");
    put_file("v2/a/cpu.max", "max 100000\n");
    CHECK_EQ(MEMORY(), 50000);
    CHECK_EQ(CPUS(), 3);
    put_file("v2/a/b/c/memory.max", "40000\n");
    put_file("v2/cpu.max", "100000 100000\n");
    CHECK_EQ(MEMORY(), 40000);
    CHECK_EQ(CPUS(), 1);
    put_file("v2/cpu.max", "1000 100000\n");
    CHECK_EQ(CPUS(), 1); /* at least */
    remove_top();
}

TEST(group_at_the_top_has_a_limit_too)
{
    make_top();
    mount_v2("/");
    put_file("cgroup", "0::/\n");
    put_file("v2/memory.max", "1234\n");
    CHECK_EQ(MEMORY(), 1234);
    CHECK_NONE(CPUS());
    remove_top();
}

TEST(container_sees_its_part_of_the_groups)
{
    make_top();
    mount_v2("/docker/x");
    put_file("v2/memory.max", "1000\n");
    put_file("v2/inner/memory.max", "900\n");
    put_file("cgroup", "0::/docker/x\n");
    CHECK_EQ(MEMORY(), 1000);
    put_file("cgroup", "0::/docker/x/inner\n");
    CHECK_EQ(MEMORY(), 900);
    put_file("cgroup", "0::/docker/xinner\n"); /* not below the mount */
    CHECK_EQ(MEMORY(), 1000);
    put_file("cgroup", "0::/../../outside\n");
    CHECK_EQ(MEMORY(), 1000);
    remove_top();
}

static void mount_v1(void)
{
    put_file("mountinfo",
             "32 31 0:29 / %s/cpu rw,relatime - cgroup cgroup rw,cpu,cpuacct\n"
             "33 31 0:30 / %s/cpuset rw,relatime - cgroup cgroup rw,cpuset\n"
             "35 31 0:32 / %s/memory rw,relatime - cgroup cgroup rw,memory\n"
             "41 31 0:38 / %s/v2 rw,relatime - cgroup2 cgroup2 rw\n",
             top, top, top, top);
    put_file("cgroup",
             "5:cpuset:/s\n4:memory:/a/b\n2:cpuacct,cpu:/c\n1:name=systemd:/\n0::/u\n");
}

TEST(version_1_has_a_hierarchy_per_controller)
{
    make_top();
    mount_v1();
    put_file("memory/a/memory.limit_in_bytes", "7777\n");
    put_file("memory/a/b/memory.limit_in_bytes", "9223372036854771712\n");
    put_file("cpu/c/cpu.cfs_quota_us", "150000\n");
    put_file("cpu/c/cpu.cfs_period_us", "50000\n");
    CHECK_EQ(MEMORY(), 7777);
    CHECK_EQ(CPUS(), 3);
    put_file("cpu/c/cpu.cfs_quota_us", "-1\n");
    CHECK_NONE(CPUS());
    put_file("v2/u/memory.max", "5\n"); /* both versions at once */
    put_file("v2/u/cpu.max", "1 1\n");
    CHECK_EQ(MEMORY(), 5);
    CHECK_EQ(CPUS(), 1);
    remove_top();
}

TEST(what_cannot_be_read_is_no_limit)
{
    make_top();
    CHECK_NONE(MEMORY());
    put_file("cgroup", "0::/a\n");
    CHECK_NONE(MEMORY());
    mount_v2("/");
    CHECK_NONE(MEMORY());
    put_file("v2/a/memory.max", "%s", "");
    put_file("v2/a/cpu.max", "%s", "100000");
    CHECK_NONE(MEMORY());
    CHECK_NONE(CPUS());
    put_file("v2/a/cpu.max", "%s", "100000 0\n");
    CHECK_NONE(CPUS());
    put_file("v2/a/memory.max", "%s", "garbage\n");
    CHECK_NONE(MEMORY());
    put_file("cgroup", "%s", "no colon\n0:\n\n::\n");
    CHECK_NONE(MEMORY());
    put_file("mountinfo", "%s", "1\n\n1 2 3 4 5\n- cgroup2\n1 2 3 / / rw - cgroup2");
    CHECK_NONE(MEMORY());
    remove_top();
}

TEST(long_lines_of_other_mounts_do_not_matter)
{
    static char options[9000];

    make_top();
    memset(options, 'x', sizeof(options) - 1);
    put_file("mountinfo",
             "23 1 8:1 / / rw - overlay overlay lowerdir=%s\n"
             "31 23 0:28 / %s/v2 rw - cgroup2 cgroup2 rw",
             options, top);
    put_file("cgroup", "%s", "0::/a"); /* no newline at the end */
    put_file("v2/a/memory.max", "123");
    CHECK_EQ(MEMORY(), 123);
    remove_top();
}

TEST(memory_limit_is_at_most_the_ram)
{
    struct sysinfo info;

    CHECK_EQ(sysinfo(&info), 0);
    CHECK_GT(cvy_os_memory_limit(), 1 << 20);
    CHECK_LE(cvy_os_memory_limit(), (uint64_t)info.totalram * info.mem_unit);
}

/* ---- exit --------------------------------------------------------------------- */

static void print_at_exit(void)
{
    _exit(99);
}

static void exit_at_once(void)
{
    atexit(print_at_exit);
    cvy_os_exit(7);
}

TEST(exit_runs_no_handlers)
{
    CHECK_EQ(in_child(exit_at_once), 7 << 8);
}

CHECK_MAIN()
