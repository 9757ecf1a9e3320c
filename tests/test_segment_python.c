/* SPDX-License-Identifier: MIT */
/* Segments of covey's manager for stock CPython, and of CPython's for C. */
#include "memory_names.h"
#include "proxy_help.h"

/* The resource tracker removes at the end of a client what that has made. */
#define FORGET                                                                         \
    "from multiprocessing import resource_tracker\n"                                   \
    "def forget(m): resource_tracker.unregister(m._name, 'shared_memory')\n"

static const char client[] =
    "import sys\n"
    "from multiprocessing.managers import SharedMemoryManager\n" FORGET
    "m = SharedMemoryManager(sys.argv[1].replace('@', '\\0'), authkey=b'secret')\n"
    "m.connect()\n"
    "s = m.SharedMemory(100)\n"
    "s.buf[:5] = b'hello'\n"
    "forget(s)\n"
    "l = m.ShareableList([1, 'two', None])\n"
    "forget(l.shm)\n"
    "print(s.name, l.shm.name)\n"
    "s.close(); l.shm.close()\n";

static void with_covey(const struct python *p, covey_manager *m)
{
    char output[PYTHON_OUTPUT], wanted[300], name[64], list_name[64];
    struct covey_bytes text = {0};
    covey_shareable_list *list;
    covey_memory *memory;
    covey_value *names;
    int status = python_run(p, client, covey_manager_address(m), "", output);
    if (status || sscanf(output, "%63s %63s", name, list_name) != 2)
        check_failed(__FILE__, __LINE__, "%s: %#x, %s", p->path, status, output);
    CHECK_OK(covey_segment_names(m, &names));
    CHECK_OK(covey_value_repr(names, &text));
    snprintf(wanted, sizeof wanted, "['%s', '%s']", name, list_name);
    CHECK_STR_EQ((const char *)text.data, wanted);
    covey_bytes_free(&text);
    covey_value_free(names);
    CHECK_OK(covey_memory_open(&memory, name, NULL));
    CHECK_MEM_EQ(covey_memory_data(memory, NULL), "hello", 5);
    covey_memory_free(memory);
    CHECK_OK(covey_shareable_list_open(&list, list_name, NULL));
    CHECK_OK(covey_shareable_list_get_str(list, 1, &text));
    CHECK_STR_EQ((const char *)text.data, "two");
    covey_bytes_free(&text);
    covey_shareable_list_free(list);
    CHECK_OK(covey_segment_release(m, name));
    CHECK(!exists(name) && exists(list_name));
    CHECK_OK(covey_segment_release(m, list_name));
}

TEST_TIMEOUT(cpython_has_its_memory_looked_after_by_covey, 120)
{
    covey_manager *m;
    CHECK_OK(covey_manager_start(&m, COVEY_MANAGER_OPTS(.authkey = SECRET,
                                                        .allow_md5 = COVEY_ON,
                                                        .segments = COVEY_ON)));
    EACH_PYTHON(p)
    {
        if (p->minor >= 9) /* 3.8 lays lists out otherwise */
            with_covey(p, m);
    }
    manager_end(m);
}

#define STOCK_SEGMENTS                                                                 \
    SERVER "from multiprocessing.managers import SharedMemoryManager\n"                \
           "serve(SharedMemoryManager)\n"

static void with_stock(const struct python *p)
{
    struct server s = server_start(p, STOCK_SEGMENTS, "@covey-test-segments");
    covey_manager *m = manager_at(s.address, MD5_OF(p));
    const struct covey_shareable_item item = covey_item_int(1);
    covey_shareable_list *list;
    struct covey_bytes text = {0};
    covey_memory *memory;
    covey_value *names;
    int status;
    CHECK_OK(covey_segment_create(&memory, m, "one", 10, NULL));
    covey_memory_free(memory);
    CHECK(exists("one")); /* though CPython is no user of it */
    CHECK_OK(covey_segment_create_list(&list, m, "two", &item, 1, NULL));
    covey_shareable_list_free(list);
    CHECK_OK(covey_segment_names(m, &names));
    CHECK_OK(covey_value_repr(names, &text));
    CHECK_STR_EQ((const char *)text.data, "['one', 'two']");
    covey_bytes_free(&text);
    covey_value_free(names);
    CHECK_OK(covey_segment_release(m, "/one"));
    CHECK(!exists("one"));
    CHECK_ERR(covey_segment_release(m, "one"), -ENOENT);
    CHECK_OK(covey_manager_shutdown(m, PATIENT));
    CHECK(!exists("two"));
    covey_manager_free(m);
    CHECK_EQ(waitpid(s.beside.pid, &status, 0), s.beside.pid);
    close(s.beside.out);
}

TEST_TIMEOUT(cpython_looks_after_memory_of_c, 120)
{
    EACH_PYTHON(p)
    {
        if (p->minor >= 8)
            with_stock(p);
    }
}

CHECK_MAIN()
