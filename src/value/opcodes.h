/* SPDX-License-Identifier: MIT */
/**
 * value/opcodes.h: the opcodes of pickles, by the names of Python's pickletools.
 */
#ifndef CVY_VALUE_OPCODES_H
#define CVY_VALUE_OPCODES_H

enum cvy_opcode {
    CVY_MARK = '(',
    CVY_STOP = '.',
    CVY_POP = '0',
    CVY_POP_MARK = '1',
    CVY_DUP = '2',
    CVY_FLOAT = 'F',
    CVY_INT = 'I',
    CVY_BININT = 'J',
    CVY_BININT1 = 'K',
    CVY_LONG = 'L',
    CVY_BININT2 = 'M',
    CVY_NONE = 'N',
    CVY_PERSID = 'P',
    CVY_BINPERSID = 'Q',
    CVY_REDUCE = 'R',
    CVY_STRING = 'S',
    CVY_BINSTRING = 'T',
    CVY_SHORT_BINSTRING = 'U',
    CVY_UNICODE = 'V',
    CVY_BINUNICODE = 'X',
    CVY_APPEND = 'a',
    CVY_BUILD = 'b',
    CVY_GLOBAL = 'c',
    CVY_DICT = 'd',
    CVY_EMPTY_DICT = '}',
    CVY_APPENDS = 'e',
    CVY_GET = 'g',
    CVY_BINGET = 'h',
    CVY_INST = 'i',
    CVY_LONG_BINGET = 'j',
    CVY_LIST = 'l',
    CVY_EMPTY_LIST = ']',
    CVY_OBJ = 'o',
    CVY_PUT = 'p',
    CVY_BINPUT = 'q',
    CVY_LONG_BINPUT = 'r',
    CVY_SETITEM = 's',
    CVY_TUPLE = 't',
    CVY_EMPTY_TUPLE = ')',
    CVY_SETITEMS = 'u',
    CVY_BINFLOAT = 'G',
    /* protocol 2 */
    CVY_PROTO = 0x80,
    CVY_NEWOBJ = 0x81,
    CVY_EXT1 = 0x82,
    CVY_EXT2 = 0x83,
    CVY_EXT4 = 0x84,
    CVY_TUPLE1 = 0x85,
    CVY_TUPLE2 = 0x86,
    CVY_TUPLE3 = 0x87,
    CVY_NEWTRUE = 0x88,
    CVY_NEWFALSE = 0x89,
    CVY_LONG1 = 0x8a,
    CVY_LONG4 = 0x8b,
    /* protocol 3 */
    CVY_BINBYTES = 'B',
    CVY_SHORT_BINBYTES = 'C',
    /* protocol 4 */
    CVY_SHORT_BINUNICODE = 0x8c,
    CVY_BINUNICODE8 = 0x8d,
    CVY_BINBYTES8 = 0x8e,
    CVY_EMPTY_SET = 0x8f,
    CVY_ADDITEMS = 0x90,
    CVY_FROZENSET = 0x91,
    CVY_NEWOBJ_EX = 0x92,
    CVY_STACK_GLOBAL = 0x93,
    CVY_MEMOIZE = 0x94,
    CVY_FRAME = 0x95,
    /* protocol 5 */
    CVY_BYTEARRAY8 = 0x96,
    CVY_NEXT_BUFFER = 0x97,
    CVY_READONLY_BUFFER = 0x98
};

#endif
