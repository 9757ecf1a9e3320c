/* SPDX-License-Identifier: MIT */
/* The opcodes of pickles: plain values, stack and memo, and the table of all. */
#include <errno.h>
#include <string.h>

#include "base/error.h"
#include "value/number.h"
#include "value/opcodes.h"
#include "value/text.h"
#include "value/unpickle.h"

/* ---- plain values -------------------------------------------------------------- */

static int op_none(struct cvy_unpickler *u)
{
    return cvy_unpickle_push(u, covey_value_none());
}

static int op_true(struct cvy_unpickler *u)
{
    return cvy_unpickle_push(u, covey_value_bool(1));
}

static int op_false(struct cvy_unpickler *u)
{
    return cvy_unpickle_push(u, covey_value_bool(0));
}

static int read_int(struct cvy_unpickler *u, size_t size)
{
    uint64_t number;
    int r = cvy_unpickle_number(u, size, &number);

    if (r < 0)
        return r;
    return cvy_unpickle_push(
        u, cvy_int(&u->heap, size == 4 ? (int32_t)(uint32_t)number : (int64_t)number));
}

static int op_binint(struct cvy_unpickler *u)
{
    return read_int(u, 4);
}

static int op_binint1(struct cvy_unpickler *u)
{
    return read_int(u, 1);
}

static int op_binint2(struct cvy_unpickler *u)
{
    return read_int(u, 2);
}

static int read_long(struct cvy_unpickler *u, size_t size_size)
{
    const unsigned char *bytes;
    uint64_t size;
    int r;

    if ((r = cvy_unpickle_number(u, size_size, &size)) < 0)
        return r;
    if (size > INT32_MAX)
        return cvy_unpickle_bad("an int has a negative size");
    if ((r = cvy_unpickle_take(u, size, &bytes)) < 0)
        return r;
    return cvy_unpickle_push(u, cvy_int_from_bytes(&u->heap, bytes, size));
}

static int op_long1(struct cvy_unpickler *u)
{
    return read_long(u, 1);
}

static int op_long4(struct cvy_unpickler *u)
{
    return read_long(u, 4);
}

static int op_binfloat(struct cvy_unpickler *u)
{
    const unsigned char *bytes;
    uint64_t bits = 0;
    double number;
    int r = cvy_unpickle_take(u, 8, &bytes);

    if (r < 0)
        return r;
    for (int i = 0; i < 8; i++)
        bits = bits << 8 | bytes[i];
    memcpy(&number, &bits, sizeof(number));
    return cvy_unpickle_push(u, cvy_float(&u->heap, number));
}

/* A text whose size is told by `size_size` bytes. */
static int read_text(struct cvy_unpickler *u, unsigned kind, size_t size_size)
{
    const unsigned char *bytes;
    uint64_t size;
    int r;

    if ((r = cvy_unpickle_number(u, size_size, &size)) < 0 ||
        (r = cvy_unpickle_take(u, size, &bytes)) < 0)
        return r;
    return cvy_unpickle_push(u, kind == COVEY_VALUE_STR
                                    ? cvy_str(&u->heap, (const char *)bytes, size)
                                    : cvy_bytes(&u->heap, kind, bytes, size));
}

static int op_short_binunicode(struct cvy_unpickler *u)
{
    return read_text(u, COVEY_VALUE_STR, 1);
}

static int op_binunicode(struct cvy_unpickler *u)
{
    return read_text(u, COVEY_VALUE_STR, 4);
}

static int op_binunicode8(struct cvy_unpickler *u)
{
    return read_text(u, COVEY_VALUE_STR, 8);
}

static int op_short_binbytes(struct cvy_unpickler *u)
{
    return read_text(u, COVEY_VALUE_BYTES, 1);
}

static int op_binbytes(struct cvy_unpickler *u)
{
    return read_text(u, COVEY_VALUE_BYTES, 4);
}

static int op_binbytes8(struct cvy_unpickler *u)
{
    return read_text(u, COVEY_VALUE_BYTES, 8);
}

static int op_bytearray8(struct cvy_unpickler *u)
{
    return read_text(u, COVEY_VALUE_BYTEARRAY, 8);
}

/* ---- stack and memo ------------------------------------------------------------ */

static int op_pop(struct cvy_unpickler *u)
{
    covey_value *value;
    size_t depth;
    int r;

    if (u->mark_count && u->marks[u->mark_count - 1] == u->depth)
        return cvy_unpickle_unmark(u, &depth);
    if ((r = cvy_unpickle_pop(u, &value)) < 0)
        return r;
    /* A call for its effect on an argument, which would be lost. */
    if (cvy_is_kind(value, COVEY_VALUE_OBJECT) && cvy_as_object(value)->calls)
        r = cvy_fail(-ENOTSUP, "the result of a call is dropped");
    covey_value_free(value);
    return r;
}

static int op_pop_mark(struct cvy_unpickler *u)
{
    size_t depth;
    int r = cvy_unpickle_unmark(u, &depth);

    if (r == 0)
        cvy_unpickle_drop_above(u, depth);
    return r;
}

static int op_dup(struct cvy_unpickler *u)
{
    covey_value *value;
    int r = cvy_unpickle_top(u, &value);

    return r < 0 ? r : cvy_unpickle_push(u, cvy_ref_private(value));
}

static int read_put(struct cvy_unpickler *u, size_t size)
{
    uint64_t number;
    int r = cvy_unpickle_number(u, size, &number);

    return r < 0 ? r : cvy_unpickle_put(u, number);
}

static int read_get(struct cvy_unpickler *u, size_t size)
{
    uint64_t number;
    int r = cvy_unpickle_number(u, size, &number);

    return r < 0 ? r : cvy_unpickle_get(u, number);
}

static int op_binput(struct cvy_unpickler *u)
{
    return read_put(u, 1);
}

static int op_long_binput(struct cvy_unpickler *u)
{
    return read_put(u, 4);
}

static int op_memoize(struct cvy_unpickler *u)
{
    return cvy_unpickle_put(u, u->memo_count);
}

static int op_binget(struct cvy_unpickler *u)
{
    return read_get(u, 1);
}

static int op_long_binget(struct cvy_unpickler *u)
{
    return read_get(u, 4);
}

/* ---- the rest ---------------------------------------------------------------- */

static int op_proto(struct cvy_unpickler *u)
{
    uint64_t protocol;
    int r = cvy_unpickle_number(u, 1, &protocol);

    if (r < 0)
        return r;
    if (protocol > 5)
        return cvy_fail(COVEY_EPICKLE, "protocol %u is not known", (unsigned)protocol);
    u->protocol = (unsigned)protocol;
    return 0;
}

static int op_frame(struct cvy_unpickler *u)
{
    uint64_t size;
    int r = cvy_unpickle_number(u, 8, &size);

    if (r == 0 && size > (size_t)(u->end - u->at))
        r = cvy_unpickle_bad("a frame is longer than what is left");
    return r;
}

static int op_stop(struct cvy_unpickler *u)
{
    covey_value *value;
    int r = cvy_unpickle_top(u, &value);

    u->stopped = true;
    return r;
}

static int op_persid(struct cvy_unpickler *u)
{
    (void)u;
    return cvy_fail(-ENOTSUP, "persistent ids are not supported");
}

static int op_ext(struct cvy_unpickler *u)
{
    (void)u;
    return cvy_fail(-ENOTSUP, "extension codes are not supported");
}

static int op_buffer(struct cvy_unpickler *u)
{
    (void)u;
    return cvy_fail(-ENOTSUP, "out-of-band buffers are not supported");
}

static cvy_unpickle_fn *const opcodes[256] = {
    [CVY_MARK] = cvy_unpickle_mark,
    [CVY_STOP] = op_stop,
    [CVY_POP] = op_pop,
    [CVY_POP_MARK] = op_pop_mark,
    [CVY_DUP] = op_dup,
    [CVY_FLOAT] = cvy_unpickle_float,
    [CVY_INT] = cvy_unpickle_int,
    [CVY_BININT] = op_binint,
    [CVY_BININT1] = op_binint1,
    [CVY_LONG] = cvy_unpickle_long,
    [CVY_BININT2] = op_binint2,
    [CVY_NONE] = op_none,
    [CVY_PERSID] = op_persid,
    [CVY_BINPERSID] = op_persid,
    [CVY_REDUCE] = cvy_unpickle_reduce,
    [CVY_STRING] = cvy_unpickle_string,
    [CVY_BINSTRING] = cvy_unpickle_binstring,
    [CVY_SHORT_BINSTRING] = cvy_unpickle_short_binstring,
    [CVY_UNICODE] = cvy_unpickle_unicode,
    [CVY_BINUNICODE] = op_binunicode,
    [CVY_APPEND] = cvy_unpickle_append,
    [CVY_BUILD] = cvy_unpickle_build,
    [CVY_GLOBAL] = cvy_unpickle_global,
    [CVY_DICT] = cvy_unpickle_dict,
    [CVY_EMPTY_DICT] = cvy_unpickle_empty_dict,
    [CVY_APPENDS] = cvy_unpickle_appends,
    [CVY_GET] = cvy_unpickle_text_get,
    [CVY_BINGET] = op_binget,
    [CVY_INST] = cvy_unpickle_inst,
    [CVY_LONG_BINGET] = op_long_binget,
    [CVY_LIST] = cvy_unpickle_list,
    [CVY_EMPTY_LIST] = cvy_unpickle_empty_list,
    [CVY_OBJ] = cvy_unpickle_obj,
    [CVY_PUT] = cvy_unpickle_text_put,
    [CVY_BINPUT] = op_binput,
    [CVY_LONG_BINPUT] = op_long_binput,
    [CVY_SETITEM] = cvy_unpickle_setitem,
    [CVY_TUPLE] = cvy_unpickle_tuple,
    [CVY_EMPTY_TUPLE] = cvy_unpickle_empty_tuple,
    [CVY_SETITEMS] = cvy_unpickle_setitems,
    [CVY_BINFLOAT] = op_binfloat,
    [CVY_PROTO] = op_proto,
    [CVY_NEWOBJ] = cvy_unpickle_newobj,
    [CVY_EXT1] = op_ext,
    [CVY_EXT2] = op_ext,
    [CVY_EXT4] = op_ext,
    [CVY_TUPLE1] = cvy_unpickle_tuple1,
    [CVY_TUPLE2] = cvy_unpickle_tuple2,
    [CVY_TUPLE3] = cvy_unpickle_tuple3,
    [CVY_NEWTRUE] = op_true,
    [CVY_NEWFALSE] = op_false,
    [CVY_LONG1] = op_long1,
    [CVY_LONG4] = op_long4,
    [CVY_BINBYTES] = op_binbytes,
    [CVY_SHORT_BINBYTES] = op_short_binbytes,
    [CVY_SHORT_BINUNICODE] = op_short_binunicode,
    [CVY_BINUNICODE8] = op_binunicode8,
    [CVY_BINBYTES8] = op_binbytes8,
    [CVY_EMPTY_SET] = cvy_unpickle_empty_set,
    [CVY_ADDITEMS] = cvy_unpickle_additems,
    [CVY_FROZENSET] = cvy_unpickle_frozenset,
    [CVY_NEWOBJ_EX] = cvy_unpickle_newobj_ex,
    [CVY_STACK_GLOBAL] = cvy_unpickle_stack_global,
    [CVY_MEMOIZE] = op_memoize,
    [CVY_FRAME] = op_frame,
    [CVY_BYTEARRAY8] = op_bytearray8,
    [CVY_NEXT_BUFFER] = op_buffer,
    [CVY_READONLY_BUFFER] = op_buffer,
};

cvy_unpickle_fn *cvy_unpickle_opcode(unsigned char opcode)
{
    return opcodes[opcode];
}
