/* SPDX-License-Identifier: MIT */
/**
 * os/code.h: where a function lies, in a form that holds in another process of the
 * same build, whatever its address space looks like: module, build and offset.
 *
 * Every kind of function can travel, static ones too: of the program, of a shared object,
 * of a plug-in. What cannot: code made at run time, and shared objects in a namespace of
 * dlmopen. The functions of this header may be called in a fork child of a threaded
 * program; only a shared object that is not at the place it has in the encoding process,
 * and cvy_code_describe, need the loader's lock there.
 */
#ifndef CVY_OS_CODE_H
#define CVY_OS_CODE_H

#include <stddef.h>
#include <stdint.h>

enum cvy_code_kind {
    CVY_CODE_NONE, /**< what zeroed memory is; decodes to an error */
    CVY_CODE_MAIN, /**< in the program itself */
    CVY_CODE_SHARED
};

#define CVY_CODE_ID_SIZE   20
#define CVY_CODE_PATH_SIZE 460

/** Bytes behind the end of `path` are 0. May be copied freely. */
struct cvy_code {
    uint64_t offset;      /**< from the module's load base */
    uint64_t address;     /**< in the encoding process: a fork child has it there too */
    uint64_t module_size; /**< from base to the end of the last segment */
    uint16_t kind;        /**< enum cvy_code_kind */
    uint16_t path_size;   /**< without its 0 */
    uint16_t reserved;
    uint8_t stand_in; /**< 1: the module has no build-id, `id` is a hash instead */
    uint8_t id_size;
    uint8_t id[CVY_CODE_ID_SIZE];
    char path
        [CVY_CODE_PATH_SIZE]; /**< the module's file; of the program: for messages */
};
_Static_assert(sizeof(struct cvy_code) == 512, "travels in shared memory");

/** Any function pointer, cast. */
typedef void cvy_code_fn(void);

/**
 * Say where `fn` lies.
 * Returns: 0; -EINVAL if it lies in no program or shared object (made at run time, NULL,
 *          no function at all); -ENAMETOOLONG if its file's path has no room.
 */
int cvy_code_encode(cvy_code_fn *fn, struct cvy_code *ret_code);

/**
 * Find the function in this process. A shared object that is not here yet is loaded from
 * its path and stays; its constructors run, unless it is another build.
 * Returns: 0; COVEY_EBUILD if program or shared object are other builds here; -ENOENT if
 *          the file is missing; -ELIBACC if it cannot be loaded; -EINVAL if `code` is
 *          damaged or its offset is no code.
 */
int cvy_code_decode(const struct cvy_code *code, cvy_code_fn **ret_fn);

/**
 * What identifies the build of the program: its build-id of at most CVY_CODE_ID_SIZE
 * bytes (a longer one is folded), or a hash of what is loaded of its file.
 * Returns: 0; -EMSGSIZE if it does not fit.
 */
int cvy_code_build_id(uint8_t *ret_id, size_t capacity, size_t *ret_size);

/** For messages: "square+0x0 in /usr/bin/prog" where the loader knows a name, else
 * "prog+0x1234". Always terminated, cut to fit. */
void cvy_code_describe(const struct cvy_code *code, char *text, size_t size);

#endif
