/* SPDX-License-Identifier: MIT */
/*
 * Functions as module and offset, within one process and its fork children. What builds
 * and other processes make of it: code/variants.
 */
#include <errno.h>
#include <features.h>
#include <link.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "os/code.h"

typedef int number_fn(int);

int code_test_square(int x);

int code_test_square(int x)
{
    return x * x;
}

static int twice(int x)
{
    return 2 * x;
}

/* Through a volatile pointer the compiler does not put its own abs in. */
static cvy_code_fn *libc_function(void)
{
    number_fn *volatile fn = abs;

    return (cvy_code_fn *)fn;
}

static int call(cvy_code_fn *fn, int x)
{
    return ((number_fn *)fn)(x);
}

static struct cvy_code encoded(cvy_code_fn *fn)
{
    struct cvy_code code;

    CHECK_OK(cvy_code_encode(fn, &code));
    return code;
}

/* A reference to libc's abs as another process, where it lies elsewhere, would send it. */
static struct cvy_code foreign_libc(void)
{
    struct cvy_code code = encoded(libc_function());

    code.address = 0;
    return code;
}

TEST(functions_come_back)
{
    cvy_code_fn *const fns[] = {(cvy_code_fn *)code_test_square, (cvy_code_fn *)twice,
                                libc_function()};
    const int expected[] = {36, -12, 6};

    for (int i = 0; i < 3; i++) {
        const struct cvy_code code = encoded(fns[i]);
        cvy_code_fn *fn = NULL;

        CHECK_OK(cvy_code_decode(&code, &fn));
        CHECK_EQ((uintptr_t)fn, (uintptr_t)fns[i]);
        CHECK_EQ(call(fn, -6), expected[i]);
        CHECK_EQ(code.kind, i < 2 ? CVY_CODE_MAIN : CVY_CODE_SHARED);
    }
}

TEST(function_at_another_address_comes_back)
{
    const struct cvy_code code = foreign_libc();

    for (int i = 0; i < 3; i++) { /* searched, then guessed */
        cvy_code_fn *fn = NULL;

        CHECK_OK(cvy_code_decode(&code, &fn));
        CHECK_EQ((uintptr_t)fn, (uintptr_t)libc_function());
    }
}

TEST(code_is_the_same_bytes_each_time)
{
    const struct cvy_code a = encoded(libc_function()), b = encoded(libc_function());

    CHECK_MEM_EQ(&a, &b, sizeof a);
    for (size_t i = a.path_size; i < sizeof a.path; i++)
        CHECK_EQ(a.path[i], 0);
}

static void check_refused(cvy_code_fn *fn)
{
    struct cvy_code code, before;

    memset(&code, 0x5a, sizeof code);
    before = code;
    CHECK_ERR(cvy_code_encode(fn, &code), -EINVAL);
    CHECK_STR_HAS(covey_error_detail(), "lies in no program or shared object");
    CHECK_MEM_EQ(&code, &before, sizeof code);
}

TEST(what_lies_in_no_module_is_refused)
{
    static int data;
    int local = 0;
    char *heap = malloc(1 << 20);

    check_refused(NULL);
    check_refused((cvy_code_fn *)(uintptr_t)heap);
    check_refused((cvy_code_fn *)(uintptr_t)&local);
    check_refused((cvy_code_fn *)(uintptr_t)&data);
    check_refused((cvy_code_fn *)(uintptr_t)1);
    check_refused((cvy_code_fn *)UINTPTR_MAX);
    free(heap);
}

static void check_damaged(const struct cvy_code *code, int expected)
{
    cvy_code_fn *fn = NULL;

    CHECK_ERR(cvy_code_decode(code, &fn), expected);
    CHECK(fn == NULL);
    CHECK_NE(covey_error_detail()[0], 0);
}

TEST(damaged_code_is_refused)
{
    const struct cvy_code good = encoded(libc_function());
    struct cvy_code code = {0};

    check_damaged(&code, -EINVAL);
    memset(&code, 0xff, sizeof code);
    check_damaged(&code, -EINVAL);
    code = good;
    code.kind = 9;
    check_damaged(&code, -EINVAL);
    code = good;
    code.id_size = sizeof code.id + 1;
    check_damaged(&code, -EINVAL);
    code = good;
    code.path_size = sizeof code.path;
    check_damaged(&code, -EINVAL);
    code = good;
    memset(code.path, 'x', sizeof code.path);
    check_damaged(&code, -EINVAL);
}

TEST(offset_outside_of_code_is_refused)
{
    const uint64_t offsets[] = {0, 8, UINT64_MAX, 1ULL << 40};
    struct cvy_code code = encoded((cvy_code_fn *)twice);

    for (size_t i = 0; i < sizeof offsets / sizeof *offsets; i++) {
        code.offset = offsets[i];
        /* The headers may share a segment with code, or the program start at 0. */
        if (offsets[i] > 8)
            check_damaged(&code, -EINVAL);
    }
    code = foreign_libc();
    for (size_t i = 2; i < sizeof offsets / sizeof *offsets; i++) {
        code.offset = offsets[i];
        check_damaged(&code, -EINVAL);
    }
}

TEST(other_build_of_the_program_is_refused)
{
    struct cvy_code code = encoded((cvy_code_fn *)twice);

    memset(code.id, 0xab, code.id_size);
    check_damaged(&code, COVEY_EBUILD);
    CHECK_STR_HAS(covey_error_detail(), "this process has build ");
    CHECK_STR_HAS(covey_error_detail(), "the caller has build abababab");
}

TEST(other_build_of_a_shared_object_is_refused)
{
    struct cvy_code code = foreign_libc();

    memset(code.id, 0xab, code.id_size);
    check_damaged(&code, COVEY_EBUILD);
    CHECK_STR_HAS(covey_error_detail(), code.path);
    CHECK_STR_HAS(covey_error_detail(), "the caller has build abababab");
}

TEST(missing_shared_object_is_named)
{
    static const char path[] = "/nonexistent/plugin.so";
    struct cvy_code code = foreign_libc();

    memset(code.id, 0xab, code.id_size);
    memset(code.path, 0, sizeof code.path);
    memcpy(code.path, path, sizeof path);
    code.path_size = sizeof path - 1;
    check_damaged(&code, -ENOENT);
    CHECK_STR_HAS(covey_error_detail(), path);
}

TEST(build_id_tells_its_size)
{
    uint8_t id[CVY_CODE_ID_SIZE], again[CVY_CODE_ID_SIZE];
    size_t size = 0, size_again = 0;

    CHECK_OK(cvy_code_build_id(id, sizeof id, &size));
    CHECK_OK(cvy_code_build_id(again, sizeof again, &size_again));
    CHECK_GT(size, 0);
    CHECK_EQ(size, size_again);
    CHECK_MEM_EQ(id, again, size);
    CHECK_ERR(cvy_code_build_id(id, size - 1, &size), -EMSGSIZE);
}

TEST(description_names_the_function)
{
    const struct cvy_code program = encoded((cvy_code_fn *)twice),
                          libc = encoded(libc_function()), none = {0};
    char text[600], small[8];

    cvy_code_describe(&libc, text, sizeof text);
    CHECK_STR_HAS(text, libc.path);
    CHECK_STR_HAS(text, "abs+0x0 in ");
    cvy_code_describe(&program, text, sizeof text);
    CHECK_STR_HAS(text, "test_code");
    cvy_code_describe(&none, text, sizeof text);
    CHECK_STR_EQ(text, "no function");
    cvy_code_describe(&libc, small, sizeof small);
    CHECK_EQ(strlen(small), sizeof small - 1);
}

static void *travel_often(void *arg)
{
    const struct cvy_code foreign = foreign_libc();

    (void)arg;
    for (int i = 0; i < 20000; i++) {
        cvy_code_fn *const from = i % 2 ? (cvy_code_fn *)twice : libc_function();
        const struct cvy_code code = encoded(from);
        cvy_code_fn *fn;

        CHECK_OK(cvy_code_decode(&code, &fn));
        CHECK_EQ((uintptr_t)fn, (uintptr_t)from);
        CHECK_OK(cvy_code_decode(&foreign, &fn));
        CHECK_EQ((uintptr_t)fn, (uintptr_t)libc_function());
    }
    return NULL;
}

TEST(threads_do_not_disturb_each_other)
{
    pthread_t threads[4];

    for (size_t i = 0; i < 4; i++)
        CHECK_EQ(pthread_create(&threads[i], NULL, travel_often, NULL), 0);
    for (size_t i = 0; i < 4; i++)
        CHECK_EQ(pthread_join(threads[i], NULL), 0);
}

/* ---- fork while another thread has the loader's lock ------------------------ */

static sem_t locked, unlock;

static int stay(struct dl_phdr_info *info, size_t size, void *data)
{
    (void)info;
    (void)size;
    (void)data;
    sem_post(&locked);
    while (sem_wait(&unlock) < 0)
        ;
    return 1;
}

static void *hold_loader(void *arg)
{
    dl_iterate_phdr(stay, arg);
    return NULL;
}

/* Returns: 0 when all went well. */
static int travel_in_child(void)
{
    cvy_code_fn *const fns[] = {(cvy_code_fn *)twice, libc_function()};

    for (int i = 0; i < 2; i++) {
        struct cvy_code code;
        cvy_code_fn *fn;

        if (cvy_code_encode(fns[i], &code) < 0 || cvy_code_decode(&code, &fn) < 0 ||
            fn != fns[i])
            return 1;
    }
    return cvy_code_encode(NULL, &(struct cvy_code){0}) == -EINVAL ? 0 : 2;
}

TEST(fork_child_needs_no_lock_of_the_loader)
{
    pthread_t thread;
    int status;
    pid_t pid;

#if !__GLIBC_PREREQ(2, 35)
    SKIP("glibc before 2.35 has no lookup without a lock");
#endif
    CHECK_EQ(sem_init(&locked, 0, 0), 0);
    CHECK_EQ(sem_init(&unlock, 0, 0), 0);
    CHECK_EQ(pthread_create(&thread, NULL, hold_loader, NULL), 0);
    while (sem_wait(&locked) < 0)
        ;
    pid = fork();
    if (pid == 0) {
        alarm(10);
        _exit(travel_in_child());
    }
    sem_post(&unlock);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK_EQ(status, 0);
}

CHECK_MAIN()
