/* SPDX-License-Identifier: MIT */
/**
 * covey/memory.h: named shared memory, for programs that are no relatives, and lists in
 * it; what Python has as multiprocessing.shared_memory. C programs and stock Python
 * programs open each other's by name.
 *
 * Memory within a family needs none of this.
 *
 * A name that covey made lives as long as its users do: every process of covey's that has
 * the memory open, by whatever call, counts as one until it closes the memory or ends,
 * however it ends, and the last one removes the name when it closes it or exits. So
 * nobody removes what others use. When the last one is killed the name stays: it can be
 * opened, created anew by covey_memory_create, and removed by covey_memory_clean. Names
 * that others made, and those made with `.keep`, are removed by covey_memory_unlink only.
 * Programs without covey do not count as users.
 *
 * The defaults of covey/base.h hold. A handle belongs to its process and to its fork
 * children, which are users of their own; other processes are told the name. NULL for a
 * handle or for an answer is -EINVAL. One thread at a time closes or frees a handle.
 */
#ifndef COVEY_MEMORY_H
#define COVEY_MEMORY_H

#include <string.h>

#include <covey/base.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Shared memory that this process has open. */
typedef struct covey_memory covey_memory;

/** Options of create and open; zero means the default. */
struct covey_memory_opts {
    size_t size; /**< sizeof(struct covey_memory_opts); COVEY_MEMORY_OPTS fills it */
    enum covey_switch readonly; /**< open: map it for reading only, which needs no
                                     permission to write; default off */
    enum covey_switch keep;     /**< create: the name stays when no one uses it any
                                     more; default off */
    enum covey_switch sparse;   /**< create: storage comes page by page when it is
                                     touched, for memory that is mostly not: quick to
                                     make, but SIGBUS where none is left; default off */
    unsigned permissions;       /**< create: who may open it, as of open(2) and cut by
                                     the umask; default 0600, which it has to include */
};
#define COVEY_MEMORY_OPTS(...)                                                         \
    (&(struct covey_memory_opts){.size = sizeof(struct covey_memory_opts), __VA_ARGS__})

/**
 * Make shared memory of `size` bytes, all zero, and open it. It appears under its name as
 * a whole, and its storage is reserved: what is full is full now, not at a later access.
 * That takes some 0.3 ms per MiB, which later accesses save.
 *
 * `name`:   1 to 255 bytes without a slash, but for leading ones, which do not count:
 *           "a", "/a" and Python's SharedMemory("a") are the same. NULL: one of its own.
 * Returns:  0; -EEXIST if somebody uses that name, or it is not covey's to remove;
 *           -EINVAL for a size of 0, a bad name or bad options; -ENAMETOOLONG; -ENOSPC
 *           when /dev/shm has no room; -ENOMEM, also if it is more than the machine or
 *           the cgroup has; -EFBIG over RLIMIT_FSIZE; -ENOSYS where there is no /dev/shm;
 *           -EACCES; -EMFILE.
 * Blocks:   most 1 s, if another process that is about to remove this name was stopped.
 */
COVEY_API int
covey_memory_create(covey_memory **out, const char *name, size_t size,
                    const struct covey_memory_opts *opts) COVEY_MUST_CHECK;

/**
 * Open shared memory that exists, with the size it has, whoever made it.
 *
 * Returns:  0; -ENOENT; -EACCES; -EINVAL for a bad name or bad options; -ENAMETOOLONG;
 *           COVEY_ESTATE if it is empty, since who is making it is not ready or died
 *           meanwhile, as can happen with what others than covey make; -ENODEV if the
 *           name is no memory; -EBUSY if a process that is about to remove the name does
 *           not go on; -ENOMEM; -ENOSYS where there is no /dev/shm; -EMFILE.
 * Blocks:   most 100 ms while it is empty, most 1 s while it is about to be removed.
 */
COVEY_API int covey_memory_open(covey_memory **out, const char *name,
                                const struct covey_memory_opts *opts) COVEY_MUST_CHECK;

/**
 * Where the memory is in this process. Pages begin there; fork children have it at the
 * same address. It can be written unless it was opened with `.readonly`.
 *
 * `ret_size`: receives its size in bytes, may be NULL.
 * Returns:  a pointer, NULL once it is closed.
 */
COVEY_API void *covey_memory_data(const covey_memory *memory, size_t *ret_size);

/**
 * The name, without a leading slash, as SharedMemory.name is in Python.
 *
 * Returns:  a string that lives as long as the handle; NULL for NULL.
 */
COVEY_API const char *covey_memory_name(const covey_memory *memory);

/**
 * How many bytes it has: what its maker asked for. It stays known after a close.
 *
 * Returns:  0; -EINVAL.
 */
COVEY_API int covey_memory_size(const covey_memory *memory, size_t *ret_size);

/**
 * How many bytes are mapped: its size, rounded up to whole pages. Those behind its size
 * are zero at first, and what is written there is shared, but not kept by all systems.
 *
 * Returns:  0, also after a close; -EINVAL.
 */
COVEY_API int covey_memory_mapped_size(const covey_memory *memory, size_t *ret_size);

/**
 * Remove the name, if it still is this memory's. Those who have it open keep it; nobody
 * can open it any more. It works after a close, too.
 *
 * Returns:  0, also if closing this handle has removed the name, the first time; -ENOENT;
 *           -EACCES or -EPERM if it is another user's; -EBUSY as in covey_memory_open.
 * Blocks:   most 1 s, if another process that is removing this name was stopped.
 */
COVEY_API int covey_memory_unlink(covey_memory *memory);

/**
 * Remove a name, whoever made it and uses it.
 *
 * Returns:  0; -ENOENT; -EINVAL for a bad name; -ENAMETOOLONG; -ENOSYS; -EACCES or
 *           -EPERM; -EBUSY as in covey_memory_open; -EMFILE.
 * Blocks:   as covey_memory_unlink.
 */
COVEY_API int covey_memory_unlink_name(const char *name);

/**
 * Use the memory no more: it is unmapped, and the last user removes the name as said at
 * the top. The handle still tells name and sizes. Twice is fine.
 *
 * Returns:  0; -EINVAL; when the name could not be looked after, for instance -EMFILE:
 *           it is closed nevertheless, and the name may be left to covey_memory_clean.
 * Blocks:   as covey_memory_unlink.
 */
COVEY_API int covey_memory_close(covey_memory *memory);

/**
 * Close the memory, and drop the handle; NULL is fine.
 *
 * Blocks:   as covey_memory_unlink.
 */
COVEY_API void covey_memory_free(covey_memory *memory);

/* ---- what is there ---------------------------------------------------------- */

/** A name in the machine's shared memory. */
struct covey_memory_entry {
    const char *name;
    size_t bytes; /**< its size */
    int in_use;   /**< 0: all its users have died */
};

/** Told of one name, which is valid during the call; not 0 ends the list. It may open or
 * remove what it is told of. */
typedef int covey_memory_list_fn(void *ctx, const struct covey_memory_entry *entry);

/**
 * Call `fn(ctx, ...)` for each name that covey made, without `.keep`, and that this
 * process may open, in no order.
 *
 * Returns:  0, or what `fn` returned; -EINVAL; -ENOSYS; -ENOMEM; -EMFILE, -ENFILE, also when
 *           some names were told.
 */
COVEY_API int covey_memory_list(covey_memory_list_fn *fn, void *ctx);

/**
 * Remove the names that covey made, without `.keep`, whose users have all died.
 *
 * `prefix`: only names that begin so; NULL or "": all that this process may remove.
 * `ret_count`: receives how many they were, may be NULL.
 * Returns:  0; -ENOSYS; -ENOMEM; -EMFILE, -ENFILE, also when some were removed.
 */
COVEY_API int covey_memory_clean(const char *prefix, size_t *ret_count);

/* ---- a shareable list ------------------------------------------------------- */

/**
 * A list of a fixed number of items in shared memory: Python's ShareableList, in
 * CPython's own layout (3.9 and later), so that C and Python programs share one.
 *
 * Each item has a slot of a fixed size: 8 bytes for none, bool, int and float, and for
 * text what it had at creation, rounded up to the next multiple of 8. Other kinds and
 * values of any item may follow as long as they fit.
 *
 * Items are read and written without a lock, as in Python. An int, float, bool or none
 * that is set where one of the same kind was is one store, which never tears. For all
 * else that is written while others read or write that item, have a lock of your own.
 */
typedef struct covey_shareable_list covey_shareable_list;

/** What an item is. */
enum covey_item_kind {
    COVEY_ITEM_NONE = 0,
    COVEY_ITEM_BOOL,
    COVEY_ITEM_INT,
    COVEY_ITEM_FLOAT,
    COVEY_ITEM_STR, /**< UTF-8 */
    COVEY_ITEM_BYTES
};

/** A value of an item. */
struct covey_shareable_item {
    enum covey_item_kind kind;
    int64_t integer;        /**< of an int, and of a bool, 0 or 1 */
    double real;            /**< of a float */
    struct covey_view text; /**< of str and bytes */
};

/** The item None. Returns: the item. */
static inline struct covey_shareable_item covey_item_none(void)
{
    struct covey_shareable_item item = {COVEY_ITEM_NONE, 0, 0, {NULL, 0}};
    return item;
}

/** The item True if `value` is not 0, else False. Returns: the item. */
static inline struct covey_shareable_item covey_item_bool(int value)
{
    struct covey_shareable_item item = {COVEY_ITEM_BOOL, value != 0, 0, {NULL, 0}};
    return item;
}

/** An int; Python's, too, has 64 bits here. Returns: the item. */
static inline struct covey_shareable_item covey_item_int(int64_t value)
{
    struct covey_shareable_item item = {COVEY_ITEM_INT, value, 0, {NULL, 0}};
    return item;
}

/** A float. Returns: the item. */
static inline struct covey_shareable_item covey_item_float(double value)
{
    struct covey_shareable_item item = {COVEY_ITEM_FLOAT, 0, value, {NULL, 0}};
    return item;
}

/** The str `text`, in UTF-8, up to its zero byte; set the struct by hand for one that has
 * such bytes in it. Returns: the item, which borrows the text. */
static inline struct covey_shareable_item covey_item_str(const char *text)
{
    struct covey_shareable_item item = {COVEY_ITEM_STR, 0, 0, {NULL, 0}};
    item.text.data = text;
    item.text.size = strlen(text);
    return item;
}

/** The bytes `size` at `data`. Returns: the item, which borrows them. */
static inline struct covey_shareable_item covey_item_bytes(const void *data,
                                                           size_t size)
{
    struct covey_shareable_item item = {COVEY_ITEM_BYTES, 0, 0, {NULL, 0}};
    item.text.data = data;
    item.text.size = size;
    return item;
}

/**
 * Make a list of `count` items, which are copied, in new shared memory.
 *
 * Python programs see a str or bytes without the zero bytes at its end; C programs get
 * them, until a Python program sets that item.
 *
 * Returns:  0; -EILSEQ for a str that is not UTF-8; -EMSGSIZE for text of more than
 *           9,999,991 bytes, or 999,999 if it ends in zero bytes; -EINVAL for a kind that
 *           does not exist; the errors of covey_memory_create.
 * Blocks:   as covey_memory_create.
 */
COVEY_API int
covey_shareable_list_create(covey_shareable_list **out, const char *name,
                            const struct covey_shareable_item *items, size_t count,
                            const struct covey_memory_opts *opts) COVEY_MUST_CHECK;

/**
 * Open a list that exists, of a C or a Python program.
 *
 * Returns:  0; COVEY_EPROTOCOL if the memory holds no list; the errors of
 *           covey_memory_open.
 * Blocks:   as covey_memory_open.
 */
COVEY_API int
covey_shareable_list_open(covey_shareable_list **out, const char *name,
                          const struct covey_memory_opts *opts) COVEY_MUST_CHECK;

/**
 * Make a list of its own, with the same items and slots of the same sizes.
 *
 * Returns:  0; -EINVAL; COVEY_ECLOSED; COVEY_EPROTOCOL if somebody has destroyed the
 *           list; the errors of covey_memory_create.
 * Blocks:   as covey_memory_create.
 */
COVEY_API int
covey_shareable_list_copy(covey_shareable_list **out, const covey_shareable_list *list,
                          const char *name,
                          const struct covey_memory_opts *opts) COVEY_MUST_CHECK;

/**
 * The memory that the list is in, for its name and size; unlink it by that, too.
 *
 * Returns:  a handle that lives as long as the list, and is not to be closed or freed;
 *           NULL for NULL.
 */
COVEY_API covey_memory *covey_shareable_list_memory(const covey_shareable_list *list);

/**
 * How many items it has.
 *
 * Returns:  0; -EINVAL; COVEY_ECLOSED.
 */
COVEY_API int covey_shareable_list_len(const covey_shareable_list *list,
                                       size_t *ret_count);

/**
 * Read an item. `index` counts from the end if it is negative, -1 being the last.
 * Text is copied into `buffer`, to which the item points; a zero byte that does not
 * count follows it. `buffer` may be NULL where the item is no text.
 *
 * Returns:  0; -ERANGE if there is no such index; -EILSEQ for a str that Python has cut
 *           within a character (it makes its slots by characters, and cuts without a
 *           word); COVEY_EPROTOCOL if the slot makes no sense; -ENOMEM; -EINVAL;
 *           COVEY_ECLOSED.
 */
COVEY_API int covey_shareable_list_get(const covey_shareable_list *list,
                                       ptrdiff_t index, struct covey_bytes *buffer,
                                       struct covey_shareable_item *ret_item);

/**
 * Read an item that is an int.
 *
 * Returns:  as covey_shareable_list_get; -EINVAL if it is of another kind.
 */
COVEY_API int covey_shareable_list_get_int(const covey_shareable_list *list,
                                           ptrdiff_t index, int64_t *ret_value);

/**
 * Read an item that is a float.
 *
 * Returns:  as covey_shareable_list_get; -EINVAL if it is of another kind.
 */
COVEY_API int covey_shareable_list_get_float(const covey_shareable_list *list,
                                             ptrdiff_t index, double *ret_value);

/**
 * Read an item that is a bool.
 *
 * Returns:  as covey_shareable_list_get; -EINVAL if it is of another kind.
 */
COVEY_API int covey_shareable_list_get_bool(const covey_shareable_list *list,
                                            ptrdiff_t index, int *ret_value);

/**
 * Read an item that is a str; a zero byte follows it in `ret_text` that does not count.
 *
 * Returns:  as covey_shareable_list_get; -EINVAL if it is of another kind.
 */
COVEY_API int covey_shareable_list_get_str(const covey_shareable_list *list,
                                           ptrdiff_t index,
                                           struct covey_bytes *ret_text);

/**
 * Read the bytes of an item that is bytes, or a str, valid UTF-8 or not.
 *
 * Returns:  as covey_shareable_list_get; -EINVAL if it is of another kind.
 */
COVEY_API int covey_shareable_list_get_bytes(const covey_shareable_list *list,
                                             ptrdiff_t index,
                                             struct covey_bytes *ret_bytes);

/**
 * Set an item, to the same kind or another. When it fails the old one is still there.
 *
 * Returns:  0; -ERANGE if there is no such index; -EMSGSIZE if the text is longer than
 *           the slot, or ends in zero bytes and is longer than 999,999 bytes; -EILSEQ for
 *           a str that is not UTF-8; -EACCES if the list was opened with `.readonly`;
 *           COVEY_EPROTOCOL if the slot makes no sense; -EINVAL; COVEY_ECLOSED.
 */
COVEY_API int covey_shareable_list_set(covey_shareable_list *list, ptrdiff_t index,
                                       struct covey_shareable_item item);

/**
 * The formats of all items in the words of Python's struct, one after another, as
 * ShareableList.format gives them. Text that ends in zero bytes has its own size and a
 * blank, "3s ", instead of the slot's: that is how its end is known.
 *
 * Returns:  0; -EINVAL; COVEY_ECLOSED; -ENOMEM.
 */
COVEY_API int covey_shareable_list_format(const covey_shareable_list *list,
                                          struct covey_bytes *ret_text);

/**
 * How many items are equal to `item`, in Python's sense: 1, 1.0 and True are equal, str
 * and bytes never are.
 *
 * Returns:  0; the errors of covey_shareable_list_get.
 */
COVEY_API int covey_shareable_list_count(const covey_shareable_list *list,
                                         struct covey_shareable_item item,
                                         size_t *ret_count);

/**
 * The index of the first item that is equal to `item` in that sense.
 *
 * Returns:  0; -ENOENT if there is none; the errors of covey_shareable_list_get.
 */
COVEY_API int covey_shareable_list_index(const covey_shareable_list *list,
                                         struct covey_shareable_item item,
                                         size_t *ret_index);

/**
 * Use the list no more, as covey_memory_close does. Twice is fine.
 *
 * Returns:  as covey_memory_close.
 * Blocks:   as covey_memory_unlink.
 */
COVEY_API int covey_shareable_list_close(covey_shareable_list *list);

/**
 * Close the list, and drop the handle; NULL is fine.
 *
 * Blocks:   as covey_memory_unlink.
 */
COVEY_API void covey_shareable_list_free(covey_shareable_list *list);

#ifdef __cplusplus
}
#endif

#endif
