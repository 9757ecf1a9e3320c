/* SPDX-License-Identifier: MIT */
/**
 * covey/shared.h: typed values and arrays in the family's memory.
 *
 * A shared value is one C object, an array many of one type, both of fixed size, zeroed
 * or copied from what is given. Each comes with an rlock of its own, a lock of the user's,
 * or none (`.synchronized = COVEY_OFF`, what Python calls RawValue and RawArray). The
 * calls that read and write take the lock by themselves; a change that depends on what
 * was there needs it around both:
 *
 *     covey_shared_value_acquire(v, COVEY_FOREVER);
 *     *(long *)covey_shared_value_data(v) += 1;
 *     covey_shared_value_release(v);
 *
 * When a process died holding the lock, the next call that takes it returns
 * COVEY_ABANDONED: what it was writing may be half-written.
 *
 * The defaults of covey/base.h hold, and those of covey/sync.h for what is no such object
 * or was freed. Pointers to shared values and arrays are valid in every process of the
 * family, and so are pointers to their data.
 */
#ifndef COVEY_SHARED_H
#define COVEY_SHARED_H

#include <covey/base.h>
#include <covey/sync.h>

#ifdef __cplusplus
extern "C" {
#endif

/** One typed value in shared memory. */
typedef struct covey_shared_value covey_shared_value;
/** Many values of one type in shared memory. */
typedef struct covey_array covey_array;

/** Options of shared values and arrays; zero means the default. */
struct covey_shared_opts {
    /** sizeof(struct covey_shared_opts); COVEY_SHARED_OPTS fills it. */
    size_t size;
    /** Shown by covey_family_describe; its first 31 bytes count. */
    const char *name;
    /** The lock to use; only one of these two, and it must live as long. Default: an
     * rlock of its own. */
    covey_lock *lock;
    covey_rlock *rlock;
    /** Off: no lock. */
    enum covey_switch synchronized;
    /** Of a struct: a power of two up to 4096; default: the largest one that divides its
     * size, at most 64. */
    size_t align;
};
#define COVEY_SHARED_OPTS(...)                                                         \
    (&(struct covey_shared_opts){.size = sizeof(struct covey_shared_opts), __VA_ARGS__})

/* ---- type codes ------------------------------------------------------------- */

/**
 * The size of a value of a type code, those of Python's `array` and `multiprocessing`:
 * c char, u wchar_t, b B signed and unsigned char, h H short, i I int, l L long,
 * q Q long long, f float, d double.
 *
 * Returns:  a number of bytes; 0 for an unknown code.
 */
COVEY_API size_t covey_typecode_size(char typecode);

/* ---- shared value ----------------------------------------------------------- */

/**
 * Make a value of the type `typecode`.
 *
 * `initial`: where its first value is copied from; NULL: zero.
 * Returns:  0; -EINVAL for an unknown type code or bad options; -ENOMEM when the family's
 *           budget is used up.
 */
COVEY_API int
covey_shared_value_create(covey_shared_value **out, char typecode, const void *initial,
                          const struct covey_shared_opts *opts) COVEY_MUST_CHECK;

/**
 * Make a value of any C type: a struct, for instance. It holds no pointers but such as
 * covey hands out.
 *
 * `size`:   in bytes, at least 1.
 * Returns:  as covey_shared_value_create; -EOVERFLOW for about 2^63 bytes and more.
 */
COVEY_API int
covey_shared_value_create_struct(covey_shared_value **out, size_t size,
                                 const void *initial,
                                 const struct covey_shared_opts *opts) COVEY_MUST_CHECK;

/**
 * Where the value lies, the same address in every process of the family.
 *
 * Returns:  a pointer, valid while anybody holds the value; NULL on error.
 */
COVEY_API void *covey_shared_value_data(covey_shared_value *value);

/** The size of the value. Returns:  bytes; 0 on error. */
COVEY_API size_t covey_shared_value_size(covey_shared_value *value);

/** Its type code. Returns:  the code; 0 if it was made from a size, and on error. */
COVEY_API char covey_shared_value_typecode(covey_shared_value *value);

/**
 * Copy the value to `to` under its lock.
 *
 * `size`:   must be the value's.
 * Returns:  0; COVEY_ABANDONED, with the value copied; -EINVAL for another size; -EINTR.
 * Blocks:   while another process has the lock.
 */
COVEY_API int covey_shared_value_get(covey_shared_value *value, void *to, size_t size);

/**
 * Set the value from `from` under its lock.
 *
 * `size`:   must be the value's.
 * Returns:  0; COVEY_ABANDONED, with the value set; -EINVAL for another size; -EINTR.
 * Blocks:   while another process has the lock.
 */
COVEY_API int covey_shared_value_set(covey_shared_value *value, const void *from,
                                     size_t size);

/**
 * Acquire its lock.
 *
 * Returns:  as covey_rlock_acquire; COVEY_ESTATE if it has none.
 * Blocks:   at most `timeout`.
 */
COVEY_API int covey_shared_value_acquire(covey_shared_value *value, covey_nsec timeout);

/** Release its lock. Returns:  as covey_rlock_release; COVEY_ESTATE if it has none. */
COVEY_API int covey_shared_value_release(covey_shared_value *value);

/**
 * Its lock, where that is an rlock: the value's own or the one given.
 *
 * Returns:  the lock, else NULL. Who holds the value's own, or makes a condition of it,
 *           holds the value by that; it is freed as often as it was given to covey_hold.
 */
COVEY_API covey_rlock *covey_shared_value_get_lock(covey_shared_value *value);

/**
 * Make another value of the same type and content, with an rlock of its own.
 *
 * Returns:  0; COVEY_ABANDONED, with the copy made; -ENOMEM; -EINTR.
 * Blocks:   while another process has the lock.
 */
COVEY_API int covey_shared_value_copy(covey_shared_value *value,
                                      covey_shared_value **out) COVEY_MUST_CHECK;

/** Drop this process's hold; NULL is fine. */
COVEY_API void covey_shared_value_free(covey_shared_value *value);

/* ---- array ------------------------------------------------------------------ */

/**
 * Make an array of `count` values of the type `typecode`.
 *
 * `initial`: where they are copied from; NULL: all zero.
 * Returns:  0; -EINVAL for an unknown type code or bad options; -EOVERFLOW for about
 *           2^63 bytes and more; -ENOMEM when the family's budget is used up.
 */
COVEY_API int covey_array_create(covey_array **out, char typecode, size_t count,
                                 const void *initial,
                                 const struct covey_shared_opts *opts) COVEY_MUST_CHECK;

/**
 * Make an array of `count` elements of any C type, of `size` bytes each.
 *
 * Returns:  as covey_array_create.
 */
COVEY_API int
covey_array_create_struct(covey_array **out, size_t size, size_t count,
                          const void *initial,
                          const struct covey_shared_opts *opts) COVEY_MUST_CHECK;

/**
 * Where the elements lie, one after another; the same address in every process.
 *
 * Returns:  a pointer, valid while anybody holds the array; NULL on error.
 */
COVEY_API void *covey_array_data(covey_array *array);

/** How many elements it has. Returns:  their number; 0 on error. */
COVEY_API size_t covey_array_len(covey_array *array);

/** The size of an element. Returns:  bytes; 0 on error. */
COVEY_API size_t covey_array_item_size(covey_array *array);

/** Its type code. Returns:  the code; 0 if it was made from a size, and on error. */
COVEY_API char covey_array_typecode(covey_array *array);

/**
 * Where element `index` lies; negative counts from the end, -1 is the last.
 *
 * Returns:  a pointer; NULL if there is no such element, or on error.
 */
COVEY_API void *covey_array_at(covey_array *array, ptrdiff_t index);

/**
 * Copy `count` elements from `index` on to `to`, under the lock. Negative counts from the
 * end.
 *
 * Returns:  0; COVEY_ABANDONED, with the elements copied; -ERANGE if there are not so many;
 *           -EINTR.
 * Blocks:   while another process has the lock.
 */
COVEY_API int covey_array_get(covey_array *array, ptrdiff_t index, size_t count,
                              void *to);

/**
 * Set `count` elements from `index` on, under the lock. Negative counts from the end.
 *
 * Returns:  0; COVEY_ABANDONED, with the elements set; -ERANGE, nothing is set if there are
 *           not so many; -EINTR.
 * Blocks:   while another process has the lock.
 */
COVEY_API int covey_array_set(covey_array *array, ptrdiff_t index, size_t count,
                              const void *from);

/**
 * Read an array of type 'c' as a string: up to its first NUL, or all of it.
 *
 * Returns:  0; COVEY_ABANDONED; -EINVAL for another type; -ENOMEM; -EINTR. `ret_text` ends
 *           with a NUL that its size omits.
 * Blocks:   while another process has the lock.
 */
COVEY_API int covey_array_get_string(covey_array *array, struct covey_bytes *ret_text);

/**
 * Set an array of type 'c' to the bytes of `text`, and a NUL if there is room.
 *
 * Returns:  0; COVEY_ABANDONED; -EINVAL for another type; -ERANGE if it is too long; -EINTR.
 * Blocks:   while another process has the lock.
 */
COVEY_API int covey_array_set_string(covey_array *array, struct covey_view text);

/**
 * Acquire its lock.
 *
 * Returns:  as covey_rlock_acquire; COVEY_ESTATE if it has none.
 * Blocks:   at most `timeout`.
 */
COVEY_API int covey_array_acquire(covey_array *array, covey_nsec timeout);

/** Release its lock. Returns:  as covey_rlock_release; COVEY_ESTATE if it has none. */
COVEY_API int covey_array_release(covey_array *array);

/**
 * Its lock, where that is an rlock: the array's own or the one given.
 *
 * Returns:  the lock, else NULL. Who holds the array's own, or makes a condition of it,
 *           holds the array by that; it is freed as often as it was given to covey_hold.
 */
COVEY_API covey_rlock *covey_array_get_lock(covey_array *array);

/**
 * Make another array of the same type and content, with an rlock of its own.
 *
 * Returns:  0; COVEY_ABANDONED, with the copy made; -ENOMEM; -EINTR.
 * Blocks:   while another process has the lock.
 */
COVEY_API int covey_array_copy(covey_array *array, covey_array **out) COVEY_MUST_CHECK;

/** Drop this process's hold; NULL is fine. */
COVEY_API void covey_array_free(covey_array *array);

#ifdef __cplusplus
}
#endif

#endif
