/* SPDX-License-Identifier: MIT */
/**
 * types/help.h: what the standard types share: CPython's complaints about arguments, and
 * exceptions.
 *
 * Texts are those of CPython 3.13. What returns an int returns 0, CVY_RAISED or a negative
 * code, for a method to return.
 */
#ifndef CVY_MANAGER_TYPES_HELP_H
#define CVY_MANAGER_TYPES_HELP_H

#include "manager/class.h"
#include "value/number.h"

#include <covey/base.h>

/* ---- arguments ----------------------------------------------------------------- */
/* CPython has several kinds of functions, with a wording each. `cls` is the Python class;
 * what is found is borrowed from the call. */

static inline size_t cvy_arg_count(const struct cvy_call *call)
{
    return covey_value_count(call->args);
}

/** A method in C without arguments: "list.clear() takes no arguments (1 given)". */
int cvy_take_none(struct cvy_call *call, const char *cls) COVEY_MUST_CHECK;

/** One with one: "list.append() takes exactly one argument (2 given)". */
int cvy_take_one(struct cvy_call *call, const char *cls,
                 const covey_value **ret) COVEY_MUST_CHECK;

/** One with `least` to `most`: "pop expected at most 1 argument, got 2". Missing ones are
 * NULL. */
int cvy_take_some(struct cvy_call *call, const char *cls, size_t least, size_t most,
                  const covey_value **ret) COVEY_MUST_CHECK;

/** A method that stands for an operator: "expected 1 argument, got 2". `gap`: some have a
 * blank before that. */
int cvy_take_slot(struct cvy_call *call, size_t count, const char *gap,
                  const covey_value **ret) COVEY_MUST_CHECK;

/** A class in C that takes up to one: "list expected at most 1 argument, got 2". */
int cvy_take_made_of(struct cvy_call *call, const char *cls, bool kwds,
                     const covey_value **ret) COVEY_MUST_CHECK;

/** The parameters of a function in C that takes them by keyword too, all optional. */
int cvy_take_keywords(struct cvy_call *call, const char *function, size_t count,
                      const char *const names[],
                      const covey_value **ret) COVEY_MUST_CHECK;

/** Whether all keys of a dict of keywords, which may be NULL, are strs; TypeError. */
int cvy_check_names(struct cvy_call *call, const covey_value *kwds) COVEY_MUST_CHECK;

enum { CVY_PARAMS = 5 };

/** A function in Python. */
struct cvy_params {
    const char *function; /* qualified: "Queue.put" */
    unsigned self;        /* 1: it is a method, and counts the object */
    unsigned required, count;
    const char *names[CVY_PARAMS];
};

/** Its arguments: "Queue.put() missing 1 required positional argument: 'item'". Missing
 * ones are NULL. */
int cvy_take_params(struct cvy_call *call, const struct cvy_params *params,
                    const covey_value *ret[CVY_PARAMS]) COVEY_MUST_CHECK;

/** Those of a method in Python that has none but `self`. */
int cvy_take_no_params(struct cvy_call *call, const char *function) COVEY_MUST_CHECK;

/** An index of a method: "'str' object cannot be interpreted as an integer". */
int cvy_take_index(struct cvy_call *call, const covey_value *value,
                   int64_t *ret) COVEY_MUST_CHECK;

/** A subscript that is an int, as an index from 0 on of `count` items. `out_of_range` is
 * the text of the IndexError. */
int cvy_take_subscript(struct cvy_call *call, const covey_value *value, size_t count,
                       const char *out_of_range, size_t *ret) COVEY_MUST_CHECK;

struct cvy_slice;
/** A subscript that is a slice. */
int cvy_take_slice(struct cvy_call *call, const covey_value *value, size_t count,
                   struct cvy_slice *ret) COVEY_MUST_CHECK;

/** What a proxy of a list, dict or set of this manager stands for; else the value. */
const covey_value *cvy_look_through(struct cvy_call *call, const covey_value *value);

/** What one of Python's collections has that came as an object: of an OrderedDict,
 * defaultdict or Counter a dict, of a deque a list; `*ret` NULL: nothing. What other objects
 * give to who iterates over them is not known. Returns: whether it is one. */
bool cvy_collection_items(const covey_value *value, const covey_value **ret);

struct cvy_walk;
/** What can be walked, also through a proxy of a list, dict or set of this manager, and
 * collections that came as objects: "'int' object is not iterable". */
int cvy_take_walk(struct cvy_call *call, const covey_value *value,
                  struct cvy_walk *ret) COVEY_MUST_CHECK;

/** The name of a value's type for texts; of a proxy that of its class. */
const char *cvy_type_of(const covey_value *value);

/** Whether it is None or missing. */
static inline bool cvy_is_missing(const covey_value *value)
{
    return !value || covey_value_is_none(value);
}

/** `value` as a real number: an int, bool or float, ints clipped to what a double holds.
 * Returns: whether it is one. */
bool cvy_get_real(const covey_value *value, double *ret);

/* ---- results ------------------------------------------------------------------- */

/** Return `value` if making it gave 0 for `r`; else free it, and return `r`. */
int cvy_return_made(struct cvy_call *call, int r, covey_value *value);
/** Return None. */
int cvy_return_none(struct cvy_call *call);
int cvy_return_bool(struct cvy_call *call, bool truth);
int cvy_return_size(struct cvy_call *call, size_t size);
/** Return the text, which is freed. */
int cvy_return_text(struct cvy_call *call, int r, struct covey_bytes *text);
/** Return NotImplemented. */
int cvy_return_not_implemented(struct cvy_call *call);
/** Add the repr of a value to a text: proxies in it as Python shows them. */
int cvy_add_repr(struct cvy_call *call, const covey_value *value,
                 struct covey_bytes *text) COVEY_MUST_CHECK;
/** Return the repr of a value. */
int cvy_return_repr(struct cvy_call *call, const covey_value *value);
/** Return "<what object at 0x...>", with a number that is the object's. */
int cvy_return_address(struct cvy_call *call, const char *what, const void *object,
                       const char *rest);

/** Raise an exception of `builtins` with one argument. Takes it. */
int cvy_raise_one(struct cvy_call *call, const char *name, covey_value *argument);
/** The same with the repr of `value` followed by `rest` as text. */
int cvy_raise_about(struct cvy_call *call, const char *name, const covey_value *value,
                    const char *rest);
/** TypeError: "unhashable type: 'list'" for a value that is or has one. */
int cvy_raise_unhashable(struct cvy_call *call, const covey_value *value);
/** TypeError: "'<' not supported between instances of 'str' and 'int'". */
int cvy_raise_unordered(struct cvy_call *call, const char *operator,
                        const covey_value * a, const covey_value *b);

/* ---- objects whose state is a value -------------------------------------------- */

void cvy_state_free(void *self);
void cvy_state_visit(const void *self, cvy_visit_fn *fn, void *context);
int cvy_state_repr(struct cvy_call *call, void *self);
int cvy_state_value(struct cvy_call *call, void *self);

#endif
