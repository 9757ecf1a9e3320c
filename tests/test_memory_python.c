/* SPDX-License-Identifier: MIT */
/* Named memory and lists shared with stock Python programs, of each version there is. */
#include "memory_help.h"
#include "python_help.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* What scripts begin with. `mine` makes or opens memory that Python's resource tracker
 * does not know of, `argv` are the arguments. */
#define PRELUDE                                                                        \
    "import sys\n"                                                                     \
    "from multiprocessing import shared_memory, resource_tracker\n"                    \
    "argv = sys.argv[1:]\n"                                                            \
    "def mine(shm):\n"                                                                 \
    "    resource_tracker.unregister(shm._name, 'shared_memory')\n"                    \
    "    return shm\n"                                                                 \
    "def attempt(f):\n"                                                                \
    "    try:\n"                                                                       \
    "        return f()\n"                                                             \
    "    except Exception as e:\n"                                                     \
    "        return type(e).__name__\n"

static void each_python(int oldest, void (*fn)(const struct python *python))
{
    struct python pythons[16] = {0};
    size_t count = pythons_find(oldest, pythons, COUNT(pythons));

    for (size_t i = 0; i < count; i++) {
        fprintf(stderr, "with Python 3.%d\n", pythons[i].minor);
        fn(&pythons[i]);
    }
}

/* ---- memory ----------------------------------------------------------------------- */

static void open_by_python(const struct python *python)
{
    covey_memory *memory = made("ours", 5000);

    strcpy(bytes_of(memory), "from C");
    python_prints(python,
                  PRELUDE "m = mine(shared_memory.SharedMemory(argv[0]))\n"
                          "print(m.size, m.name, bytes(m.buf[:6]))\n"
                          "m.buf[4990:5000] = b'from there'\n"
                          "m.close()",
                  "ours", "", "5000 ours b'from C'");
    CHECK_MEM_EQ(bytes_of(memory) + 4990, "from there", 10);
    CHECK(exists("ours"));
    covey_memory_free(memory);
    python_prints(python,
                  PRELUDE "print(attempt(lambda: shared_memory.SharedMemory(argv[0])))",
                  "ours", "", "FileNotFoundError");
}

TEST_TIMEOUT(python_opens_what_covey_made, 120)
{
    each_python(8, open_by_python);
}

static void open_of_python(const struct python *python)
{
    size_t size = 0;
    char output[PYTHON_OUTPUT], name[256];

    CHECK_EQ(python_run(python,
                        PRELUDE
                        "m = mine(shared_memory.SharedMemory(create=True, size=777))\n"
                        "m.buf[:11] = b'from Python'\n"
                        "print(m.name)",
                        "", "", output),
             0);
    snprintf(name, sizeof name, "%.255s", output);
    covey_memory *memory = opened(name);
    CHECK_STR_EQ(covey_memory_data(memory, &size), "from Python");
    CHECK_EQ(size, 777);
    CHECK_STR_EQ(covey_memory_name(memory), name);
    CHECK_OK(covey_memory_close(memory));
    CHECK(exists(name)); /* it is not covey's to remove */
    CHECK_ERR(covey_memory_create(&memory, name, 10, NULL), -EEXIST);
    CHECK_OK(covey_memory_unlink(memory));
    CHECK(!exists(name));
    covey_memory_free(memory);
}

TEST_TIMEOUT(covey_opens_what_python_made, 120)
{
    each_python(8, open_of_python);
}

static void compare_names(const struct python *python)
{
    static const char *const names[] = {"a", "/a", "//a"};

    for (size_t i = 0; i < COUNT(names); i++) {
        covey_memory *memory = made(names[i], 100);

        python_prints(
            python,
            PRELUDE "for n in ('a', '/a', '//a'):\n"
                    "    m = mine(shared_memory.SharedMemory(n))\n"
                    "    print(m.name, end=' ')\n"
                    "print(attempt(lambda: shared_memory.SharedMemory('a', True, 5)))",
            "", "", "a /a //a FileExistsError");
        covey_memory_free(memory);
    }
}

TEST_TIMEOUT(names_mean_the_same_to_python, 120)
{
    each_python(8, compare_names);
}

static void unlink_by_python(const struct python *python)
{
    covey_memory *memory = made("ours", 10), *none = NULL;

    python_prints(python, PRELUDE "shared_memory.SharedMemory(argv[0]).unlink()",
                  "ours", "", "");
    CHECK(!exists("ours"));
    CHECK_ERR(covey_memory_open(&none, "ours", NULL), -ENOENT);
    CHECK_ERR(covey_memory_unlink(memory), -ENOENT);
    strcpy(bytes_of(memory), "still");
    CHECK_OK(covey_memory_close(memory));
    covey_memory_free(memory);
}

TEST_TIMEOUT(name_that_python_unlinks_is_gone_and_the_memory_stays, 120)
{
    each_python(8, unlink_by_python);
}

/* What Python does to memory that it only opened, and how to prevent it. */
static void exit_of_python(const struct python *python)
{
    covey_memory *memory = made("ours", 10);
    char output[PYTHON_OUTPUT];

    CHECK_EQ(python_run(python, PRELUDE "m = shared_memory.SharedMemory(argv[0])",
                        "ours", "", output),
             0);
    CHECK(!exists("ours"));
    CHECK_STR_HAS(output, "resource_tracker");
    CHECK_OK(covey_memory_close(memory));
    covey_memory_free(memory);

    memory = made("ours", 10);
    if (python->minor >= 13) {
        python_prints(python,
                      PRELUDE "m = shared_memory.SharedMemory(argv[0], track=False)",
                      "ours", "", "");
        CHECK(exists("ours"));
    }
    python_prints(python, PRELUDE "m = mine(shared_memory.SharedMemory(argv[0]))",
                  "ours", "", "");
    CHECK(exists("ours"));
    covey_memory_free(memory);
}

TEST_TIMEOUT(tracker_of_python_removes_what_it_knows_of, 120)
{
    each_python(8, exit_of_python);
}

/* ---- lists ------------------------------------------------------------------------ */

/* The same items in both languages. */
#define PYTHON_ITEMS                                                                   \
    "items = [None, True, False, 0, -1, 2**63-1, -2**63, 0.1, -0.0, float('inf'), ''," \
    " 'a', '1234567', '12345678', '123456789abcdef', b'', b'\\xff\\x00\\x80',"         \
    " b'12345678', 'a\\x00b']\n"

static size_t c_items(struct covey_shareable_item items[32])
{
    const struct covey_shareable_item all[] = {
        covey_item_none(),
        covey_item_bool(1),
        covey_item_bool(0),
        covey_item_int(0),
        covey_item_int(-1),
        covey_item_int(INT64_MAX),
        covey_item_int(INT64_MIN),
        covey_item_float(0.1),
        covey_item_float(-0.0),
        covey_item_float(__builtin_inf()),
        covey_item_str(""),
        covey_item_str("a"),
        covey_item_str("1234567"),
        covey_item_str("12345678"),
        covey_item_str("123456789abcdef"),
        covey_item_bytes("", 0),
        covey_item_bytes("\xff\0\x80", 3),
        covey_item_bytes("12345678", 8),
        {.kind = COVEY_ITEM_STR, .text = {"a\0b", 3}},
    };

    memcpy(items, all, sizeof all);
    return COUNT(all);
}

static void check_items(const covey_shareable_list *list,
                        const struct covey_shareable_item *items, size_t count)
{
    struct covey_bytes buffer = {0};
    size_t length = 0;

    CHECK_OK(covey_shareable_list_len(list, &length));
    CHECK_EQ(length, count);
    for (size_t i = 0; i < count; i++) {
        struct covey_shareable_item item;

        CHECK_OK(covey_shareable_list_get(list, (ptrdiff_t)i, &buffer, &item));
        CHECK_EQ(item.kind, items[i].kind);
        CHECK_EQ(item.integer, items[i].integer);
        CHECK(same_float(item.real, items[i].real));
        CHECK_EQ(item.text.size, items[i].text.size);
        if (item.text.size)
            CHECK_MEM_EQ(item.text.data, items[i].text.data, item.text.size);
    }
    covey_bytes_free(&buffer);
}

static void compare_layouts(const struct python *python)
{
    struct covey_shareable_item items[32];
    size_t count = c_items(items), size = 0, other_size = 0;
    covey_shareable_list *ours = NULL, *theirs = NULL;
    struct covey_bytes format = {0};
    char wanted[1024];

    CHECK_OK(covey_shareable_list_create(&ours, "ours", items, count, NULL));
    CHECK_OK(covey_shareable_list_format(ours, &format));
    snprintf(wanted, sizeof wanted, "19 True True %s", (char *)format.data);
    python_prints(python,
                  PRELUDE PYTHON_ITEMS
                  "def exact(a): return [(type(x), repr(x)) for x in a]\n"
                  "t = shared_memory.ShareableList(items, name='theirs'); mine(t.shm)\n"
                  "o = shared_memory.ShareableList(name='ours'); mine(o.shm)\n"
                  "print(len(o), exact(o) == exact(items), o.format == t.format, "
                  "o.format)",
                  "", "", wanted);
    CHECK_OK(covey_shareable_list_open(&theirs, "theirs", NULL));
    check_items(theirs, items, count);
    void *bytes = covey_memory_data(covey_shareable_list_memory(ours), &size);
    void *others = covey_memory_data(covey_shareable_list_memory(theirs), &other_size);
    CHECK_EQ(size, other_size);
    CHECK_MEM_EQ(bytes, others, size);
    CHECK_OK(covey_memory_unlink(covey_shareable_list_memory(theirs)));
    covey_shareable_list_free(ours);
    covey_shareable_list_free(theirs);
    covey_bytes_free(&format);
}

TEST_TIMEOUT(lists_are_the_same_byte_by_byte, 120)
{
    each_python(9, compare_layouts);
}

/* Each sets every kind over every kind, and the other reads it. */
static void set_by_both(const struct python *python)
{
    const struct covey_shareable_item values[] = {
        covey_item_none(),         covey_item_bool(1),         covey_item_int(-7),
        covey_item_float(2.5),     covey_item_str("12345678"), covey_item_str("é€"),
        covey_item_bytes("\0x", 2)};
    struct covey_shareable_item items[COUNT(values) * COUNT(values)];
    covey_shareable_list *list = NULL;

    for (size_t i = 0; i < COUNT(items); i++)
        items[i] = values[i / COUNT(values)];
    CHECK_OK(covey_shareable_list_create(&list, "ours", items, COUNT(items), NULL));
    for (size_t i = 0; i < COUNT(items); i++) {
        items[i] = values[i % COUNT(values)];
        CHECK_OK(covey_shareable_list_set(list, (ptrdiff_t)i, items[i]));
    }
    python_prints(python,
                  PRELUDE "v = [None, True, -7, 2.5, '12345678', 'é€', b'\\x00x']\n"
                          "l = shared_memory.ShareableList(name='ours'); mine(l.shm)\n"
                          "def exact(a): return [(type(x), x) for x in a]\n"
                          "print(exact(l) == exact(v * 7))\n"
                          "for i in range(49):\n"
                          "    l[i] = v[(i + i // 7) % 7]",
                  "", "", "True");
    for (size_t i = 0; i < COUNT(items); i++)
        items[i] = values[(i + i / COUNT(values)) % COUNT(values)];
    check_items(list, items, COUNT(items));
    covey_shareable_list_free(list);
}

TEST_TIMEOUT(each_reads_what_the_other_sets, 120)
{
    each_python(9, set_by_both);
}

/* Python takes zeros off the end, and counts characters for a slot. */
static void faults_of_python(const struct python *python)
{
    const struct covey_shareable_item items[] = {covey_item_bytes("x\0\0", 3),
                                                 covey_item_str("ééééééé"),
                                                 covey_item_bytes("0123456789\0", 11)};
    covey_shareable_list *list = NULL, *theirs = NULL;
    struct covey_bytes text = {0};

    CHECK_OK(covey_shareable_list_create(&list, "ours", items, 3, NULL));
    check_items(list, items, 3);
    python_prints(
        python,
        PRELUDE "l = shared_memory.ShareableList(name='ours'); mine(l.shm)\n"
                "print(list(l), l.format)\n"
                "l[2] = b'0123456789abcdef'\n"
                "t = shared_memory.ShareableList(['ééééééé', 'xéééééé'], "
                "name='theirs')\n"
                "mine(t.shm)\n"
                "print(t[0], attempt(lambda: t[1]))",
        "", "", "[b'x', 'ééééééé', b'0123456789'] 3s 16s11s \néééé UnicodeDecodeError");
    CHECK_OK(covey_shareable_list_get_bytes(list, 2, &text));
    CHECK_EQ(text.size, 16);
    CHECK_OK(covey_shareable_list_open(&theirs, "theirs", NULL));
    CHECK_OK(covey_shareable_list_get_str(theirs, 0, &text));
    CHECK_STR_EQ(text.data, "éééé");
    CHECK_ERR(covey_shareable_list_get_str(theirs, 1, &text), -EILSEQ);
    CHECK_OK(covey_shareable_list_get_bytes(theirs, 1, &text));
    CHECK_MEM_EQ(text.data, "xééé\xc3", 8);
    CHECK_OK(covey_memory_unlink(covey_shareable_list_memory(theirs)));
    covey_bytes_free(&text);
    covey_shareable_list_free(list);
    covey_shareable_list_free(theirs);
}

TEST_TIMEOUT(text_that_python_cuts_is_whole_in_c, 120)
{
    each_python(9, faults_of_python);
}

static void compare_errors(const struct python *python)
{
    const struct covey_shareable_item items[] = {covey_item_int(1),
                                                 covey_item_str("12345")};
    covey_shareable_list *list = NULL;
    size_t index = 0;

    CHECK_OK(covey_shareable_list_create(&list, "ours", items, 2, NULL));
    python_prints(python,
                  PRELUDE
                  "l = shared_memory.ShareableList(name='ours'); mine(l.shm)\n"
                  "def put(i, v): l[i] = v\n"
                  "print(attempt(lambda: put(1, '123456789')),\n"
                  "      attempt(lambda: put(0, b'123456789')),\n"
                  "      attempt(lambda: l[2]), attempt(lambda: put(2, 1)),\n"
                  "      attempt(lambda: l.index(5)), l.count(True), l.index(1.0))",
                  "", "", "ValueError ValueError IndexError IndexError ValueError 1 0");
    CHECK_ERR(covey_shareable_list_set(list, 1, covey_item_str("123456789")),
              -EMSGSIZE);
    CHECK_ERR(covey_shareable_list_set(list, 0, covey_item_bytes("123456789", 9)),
              -EMSGSIZE);
    CHECK_ERR(covey_shareable_list_set(list, 2, covey_item_int(1)), -ERANGE);
    CHECK_ERR(covey_shareable_list_index(list, covey_item_int(5), &index), -ENOENT);
    CHECK_OK(covey_shareable_list_count(list, covey_item_bool(1), &index));
    CHECK_EQ(index, 1);
    CHECK_OK(covey_shareable_list_index(list, covey_item_float(1), &index));
    CHECK_EQ(index, 0);
    check_items(list, items, 2);
    covey_shareable_list_free(list);
}

TEST_TIMEOUT(errors_are_where_python_has_them, 120)
{
    each_python(9, compare_errors);
}

static void old_list(const struct python *python)
{
    covey_shareable_list *list = NULL;

    if (python->minor > 8)
        return;
    python_prints(python,
                  PRELUDE "l = shared_memory.ShareableList([1, 'a'], name='old')\n"
                          "mine(l.shm)",
                  "", "", "");
    CHECK_ERR(covey_shareable_list_open(&list, "old", NULL), COVEY_EPROTOCOL);
    CHECK_STR_HAS(covey_error_detail(), "3.9");
    CHECK_OK(covey_memory_unlink_name("old"));
}

TEST_TIMEOUT(lists_of_older_pythons_are_refused, 120)
{
    each_python(8, old_list);
}

CHECK_MAIN()
