/* SPDX-License-Identifier: MIT */
/**
 * os/modules.h: the program and the shared objects of this process, as the dynamic loader
 * knows them. A second page of the contract that os.h begins, and its defaults hold,
 * except that functions marked "Loader" take the loader's lock. A fork child of a
 * threaded program in which another thread held that lock at the fork waits for ever
 * there: glibc does not give it back. So nothing on the way of a function that the child
 * has had since the fork is marked.
 */
#ifndef CVY_OS_MODULES_H
#define CVY_OS_MODULES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** A view, valid while the module stays loaded. Offsets count from `base`. */
struct cvy_os_module {
    uintptr_t base;      /**< 0 in a program that is not position-independent */
    uint64_t size;       /**< from base to the end of its last segment */
    uint64_t code_start; /**< its first executable segment, */
    uint64_t code_end;   /**< and its end */
    const char *name;    /**< as the loader spells it; "" for the program */
    const void *headers; /**< program headers */
    size_t header_count;
    bool is_main;   /**< the program itself */
    bool more_code; /**< it has further executable segments */
};

#define CVY_OS_BUILD_SIZE 20

/** What tells a build from another one of the same program or shared object. */
struct cvy_os_build {
    uint8_t size;     /**< bytes of `id` in use, never 0 for a module */
    uint8_t stand_in; /**< 1: the linker left no build-id, this is a hash instead */
    uint8_t id[CVY_OS_BUILD_SIZE];
};

/** The program itself. */
void cvy_os_module_main(struct cvy_os_module *ret_module);
/** The module in whose executable segment `address` lies. -ENOENT.
 * Loader: before glibc 2.35, or when the module's headers are not at its start. */
int cvy_os_module_at(uintptr_t address, struct cvy_os_module *ret_module);

typedef int cvy_os_module_fn(void *ctx, const struct cvy_os_module *module);
/** Call `fn` for each module, the program first, until it returns other than 0.
 * Returns: what the last call returned. Loader: for the whole time. */
int cvy_os_modules_each(cvy_os_module_fn *fn, void *ctx);

/** Whether `offset` lies in an executable segment. */
bool cvy_os_module_is_code(const struct cvy_os_module *module, uint64_t offset);
/** Its build-id; without one, a hash: of the program, over what the loader maps of its
 * file; of a shared object, over its layout (headers and table of functions). An id
 * longer than there is room keeps 12 bytes and a hash of all. */
void cvy_os_module_build(const struct cvy_os_module *module,
                         struct cvy_os_build *ret_build);
/** The absolute path of its file, or its name if it has no file. The program's is for
 * messages only and is cut where it does not fit; else -ENAMETOOLONG. */
int cvy_os_module_path(const struct cvy_os_module *module, char *path, size_t capacity);

/** The build-id in a file; size 0 if it has none. -errno of opening it, -ENOEXEC. */
int cvy_os_file_build(const char *path, struct cvy_os_build *ret_build);

/**
 * Load a shared object, and run its constructors.
 * Returns: 0 and its base; -ENOSYS in a program that cannot, -ELIBACC with the loader's
 *          text in `why`. Loader.
 */
int cvy_os_module_load(const char *path, void **ret_handle, uintptr_t *ret_base,
                       char *why, size_t why_size);
/** What a loaded shared object has by this name; NULL if nothing. Loader. */
void *cvy_os_module_symbol(void *handle, const char *name);
/** Loader. */
void cvy_os_module_unload(void *handle);

/** The name of the dynamic symbol that `address` belongs to, and how far behind its start
 * it lies; NULL if the loader knows none. Loader. */
const char *cvy_os_symbol_at(uintptr_t address, uint64_t *ret_distance);

#endif
