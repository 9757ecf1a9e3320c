/* SPDX-License-Identifier: MIT */
/**
 * value/unpickle.h: the machine that reads pickles: a stack of values, marks in it, and a
 * memo of values by number.
 *
 * All its functions return 0 or a negative code with the reason as detail. The caller of
 * an opcode puts the position before it, and makes COVEY_EPICKLE of codes that only say
 * that a value could not be made of what the pickle contains.
 */
#ifndef CVY_VALUE_UNPICKLE_H
#define CVY_VALUE_UNPICKLE_H

#include "base/error.h"
#include "value/heap.h"

#define CVY_UNPICKLE_OWN 16

struct cvy_unpickler {
    const unsigned char *data, *at, *end;
    struct cvy_heap heap;
    unsigned protocol; /* 0 until the pickle says which */
    bool stopped;
    covey_value **stack; /* places above `depth` may be anything */
    size_t depth, stack_capacity;
    size_t *marks; /* depths of the stack */
    size_t mark_count, mark_capacity;
    covey_value **memo; /* NULL where nothing was put; from `memo_end` on anything */
    size_t memo_count, memo_end, memo_capacity;
    /* Where stack and memo are as long as they are small; places are not set before their
     * use. */
    covey_value **own_stack, **own_memo;
};

typedef int cvy_unpickle_fn(struct cvy_unpickler *u);

/** The function for an opcode; NULL for a byte that is none. */
cvy_unpickle_fn *cvy_unpickle_opcode(unsigned char opcode);

/** Set the detail. Returns: COVEY_EPICKLE. */
static inline int cvy_unpickle_bad(const char *reason)
{
    cvy_fail(COVEY_EPICKLE, "%s", reason);
    return COVEY_EPICKLE;
}

/* ---- reading ----------------------------------------------------------------- */

/** The next `size` bytes. */
int cvy_unpickle_take(struct cvy_unpickler *u, size_t size, const unsigned char **ret);
/** The next `size` bytes, at most 8, as a little-endian number. */
int cvy_unpickle_number(struct cvy_unpickler *u, size_t size, uint64_t *ret);
/** The rest of the line; the newline is left out and skipped. */
int cvy_unpickle_line(struct cvy_unpickler *u, const char **ret, size_t *ret_size);

/* ---- stack and memo ------------------------------------------------------------ */

/** Push; takes the value. NULL: the code of the failure that made it NULL. */
int cvy_unpickle_push(struct cvy_unpickler *u, covey_value *value) COVEY_MUST_CHECK;
/** Pop a value above the last mark; it is the caller's. */
int cvy_unpickle_pop(struct cvy_unpickler *u, covey_value **ret) COVEY_MUST_CHECK;
/** The value on top, which stays. */
int cvy_unpickle_top(struct cvy_unpickler *u, covey_value **ret) COVEY_MUST_CHECK;
int cvy_unpickle_mark(struct cvy_unpickler *u) COVEY_MUST_CHECK;
/** Remove the last mark. `*ret` receives its depth: what is above lies on the stack yet. */
int cvy_unpickle_unmark(struct cvy_unpickler *u, size_t *ret) COVEY_MUST_CHECK;
/** Drop what lies above `depth`. */
void cvy_unpickle_drop_above(struct cvy_unpickler *u, size_t depth);
/** Take the value out of a place of the stack that will be dropped. */
covey_value *cvy_unpickle_take_from(struct cvy_unpickler *u, size_t place);
/** Push a tuple of what lies from `first` on, in its place. */
int cvy_unpickle_make_tuple(struct cvy_unpickler *u, size_t first) COVEY_MUST_CHECK;
/** Note what is on top under a number. */
int cvy_unpickle_put(struct cvy_unpickler *u, uint64_t number) COVEY_MUST_CHECK;
/** Push what was noted. */
int cvy_unpickle_get(struct cvy_unpickler *u, uint64_t number) COVEY_MUST_CHECK;

/* ---- helpers of opcodes -------------------------------------------------------- */

/** Whether this value may still be changed. Returns: 0; -ENOTSUP in a cycle. */
int cvy_unpickle_changing(covey_value *value) COVEY_MUST_CHECK;

/** Set the detail: `what` is not for such a value. Returns: COVEY_EPICKLE. */
int cvy_unpickle_no_target(const covey_value *value, const char *what);

/**
 * What a call makes, if covey knows it: set, slice, bytes of old protocols and the like.
 * Returns: 1 with a new value in `*ret`; 0 if it does not; an error.
 */
int cvy_unpickle_known(struct cvy_unpickler *u, const covey_value *callable,
                       const covey_value *args, covey_value **ret);

/* ---- opcodes ----------------------------------------------------------------- */

/** unpickle_text.c: those whose arguments are text, or strs of Python 2. */
cvy_unpickle_fn cvy_unpickle_int, cvy_unpickle_long, cvy_unpickle_float,
    cvy_unpickle_string, cvy_unpickle_unicode, cvy_unpickle_text_put,
    cvy_unpickle_text_get, cvy_unpickle_binstring, cvy_unpickle_short_binstring;

/** unpickle_containers.c */
cvy_unpickle_fn cvy_unpickle_append, cvy_unpickle_appends, cvy_unpickle_additems,
    cvy_unpickle_setitem, cvy_unpickle_setitems, cvy_unpickle_empty_list,
    cvy_unpickle_empty_dict, cvy_unpickle_empty_set, cvy_unpickle_list,
    cvy_unpickle_dict, cvy_unpickle_frozenset, cvy_unpickle_empty_tuple,
    cvy_unpickle_tuple, cvy_unpickle_tuple1, cvy_unpickle_tuple2, cvy_unpickle_tuple3;

/** unpickle_objects.c */
cvy_unpickle_fn cvy_unpickle_global, cvy_unpickle_stack_global, cvy_unpickle_reduce,
    cvy_unpickle_newobj, cvy_unpickle_newobj_ex, cvy_unpickle_inst, cvy_unpickle_obj,
    cvy_unpickle_build;

#endif
