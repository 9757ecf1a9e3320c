/* SPDX-License-Identifier: MIT */
/*
 * Function addresses as module and offset.
 *
 * Guarantees: what decode returns is an address in an executable segment of a module that
 * is loaded now and is of the build that encode saw. Nothing learnt earlier is trusted: a
 * remembered address is a guess, and the module found there is looked at again, so a
 * plug-in that was closed, rebuilt and opened again never gives a stale function.
 *
 * No lock is taken here, and a fork in the middle of anything leaves nothing behind but
 * a slower way.
 */
#include "os/code.h"

#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/base.h"
#include "base/error.h"
#include "os/modules.h"

_Static_assert(CVY_CODE_ID_SIZE == CVY_OS_BUILD_SIZE, "an id is copied whole");

/* ---- builds ----------------------------------------------------------------- */

#define HEX_SIZE 20

/* The first 16 digits; what tools print begins with them. */
static const char *hex(const uint8_t *id, size_t size, char text[HEX_SIZE])
{
    size_t i;

    for (i = 0; i < size && i < 8; i++)
        snprintf(text + 2 * i, 3, "%02x", id[i]);
    snprintf(text + 2 * i, HEX_SIZE - 2 * i, "%s", size > 8 ? "..." : "");
    return text;
}

static bool is_build(const struct cvy_code *code, uint64_t module_size,
                     const struct cvy_os_build *build)
{
    return code->id_size == build->size && code->stand_in == build->stand_in &&
           code->module_size == module_size &&
           memcmp(code->id, build->id, sizeof code->id) == 0;
}

static int fail_build(const struct cvy_code *code, const struct cvy_os_build *here)
{
    char ours[HEX_SIZE], theirs[HEX_SIZE];

    return cvy_fail(COVEY_EBUILD,
                    "%s: this process has build %s, the caller has build %s",
                    code->path, hex(here->id, here->size, ours),
                    hex(code->id, code->id_size, theirs));
}

/* ---- encode ----------------------------------------------------------------- */

/* All but the function itself. */
static int encode_module(const struct cvy_os_module *module, struct cvy_code *code)
{
    struct cvy_os_build build;
    int r;

    memset(code, 0, sizeof *code);
    r = cvy_os_module_path(module, code->path, sizeof code->path);
    if (r < 0)
        return cvy_fail_os(r, "the path of shared object %s", module->name);
    cvy_os_module_build(module, &build);
    code->module_size = module->size;
    code->kind = module->is_main ? CVY_CODE_MAIN : CVY_CODE_SHARED;
    code->path_size = (uint16_t)strlen(code->path);
    code->stand_in = build.stand_in;
    code->id_size = build.size;
    memcpy(code->id, build.id, sizeof code->id);
    return 0;
}

enum { UNKNOWN, BEING_WRITTEN, KNOWN };

static struct cvy_code program; /* valid when KNOWN, then constant; offset is 0 */
static _Atomic uint32_t program_state;

/* The program never changes, so its build is found out once. Returns: what is remembered,
 * or `local`, if somebody is just writing that. */
CVY_CHILD_CODE static const struct cvy_code *program_code(struct cvy_code *local)
{
    struct cvy_os_module module;
    uint32_t expected = UNKNOWN;

    /* Pairs with the store below. */
    if (atomic_load_explicit(&program_state, memory_order_acquire) == KNOWN)
        return &program;
    cvy_os_module_main(&module);
    (void)encode_module(&module, local); /* does not fail: its path is cut */
    if (!atomic_compare_exchange_strong(&program_state, &expected, BEING_WRITTEN))
        return local;
    program = *local;
    atomic_store_explicit(&program_state, KNOWN, memory_order_release);
    return &program;
}

int cvy_code_encode(cvy_code_fn *fn, struct cvy_code *ret_code)
{
    const uintptr_t address = (uintptr_t)fn;
    struct cvy_os_module module;
    struct cvy_code local;
    const struct cvy_code *code = &local;
    int r;

    if (cvy_os_module_at(address, &module) < 0)
        return cvy_fail(-EINVAL,
                        "function 0x%" PRIxPTR " lies in no program or shared object",
                        address);
    if (module.is_main) {
        code = program_code(&local);
    } else {
        r = encode_module(&module, &local);
        if (r < 0)
            return r;
    }
    *ret_code = *code;
    ret_code->offset = address - module.base;
    ret_code->address = address;
    return 0;
}

int cvy_code_build_id(uint8_t *ret_id, size_t capacity, size_t *ret_size)
{
    struct cvy_code local;
    const struct cvy_code *code = program_code(&local);

    if (code->id_size > capacity)
        return cvy_fail(-EMSGSIZE, "the program's build-id has %d bytes",
                        code->id_size);
    memcpy(ret_id, code->id, code->id_size);
    *ret_size = code->id_size;
    return 0;
}

/* ---- guesses ---------------------------------------------------------------- */

/*
 * Where functions of shared objects were found earlier. A guess is two words that are
 * written without a lock; they belong together if they XOR to the key.
 */
#define GUESSES 64

static struct {
    _Atomic uint64_t address;
    _Atomic uint64_t check; /* address ^ key */
} guesses[GUESSES];

static uint64_t key_of(const struct cvy_code *code)
{
    uint64_t key = code->offset ^ code->module_size << 32, word;

    for (size_t i = 0; i + sizeof word <= sizeof code->id; i += sizeof word) {
        memcpy(&word, code->id + i, sizeof word);
        key = (key ^ word) * 0x9e3779b97f4a7c15U;
        key ^= key >> 32;
    }
    /* The padding makes whole words of it. */
    for (size_t i = 0; i < code->path_size; i += sizeof word) {
        word = 0;
        memcpy(&word, code->path + i,
               sizeof code->path - i < sizeof word ? sizeof code->path - i
                                                   : sizeof word);
        key = (key ^ word) * 0x9e3779b97f4a7c15U;
        key ^= key >> 32;
    }
    return key;
}

static uintptr_t guess(uint64_t key)
{
    const size_t i = key % GUESSES;
    const uint64_t address =
        atomic_load_explicit(&guesses[i].address, memory_order_relaxed);
    const uint64_t check =
        atomic_load_explicit(&guesses[i].check, memory_order_relaxed);

    return (address ^ check) == key ? (uintptr_t)address : 0;
}

static void learn(uint64_t key, uintptr_t address)
{
    const size_t i = key % GUESSES;

    atomic_store_explicit(&guesses[i].address, address, memory_order_relaxed);
    atomic_store_explicit(&guesses[i].check, address ^ key, memory_order_relaxed);
}

/* Whether the function lies at `address` now. With `by_path`, a copy of the same shared
 * object under another path is not good enough. */
static bool lies_at(const struct cvy_code *code, uintptr_t address, bool by_path)
{
    struct cvy_os_module module;
    struct cvy_os_build build;

    if (address == 0 || cvy_os_module_at(address, &module) < 0 || module.is_main ||
        address - module.base != code->offset || module.size != code->module_size)
        return false;
    if (by_path && module.name[0] == '/' && strcmp(module.name, code->path) != 0)
        return false;
    cvy_os_module_build(&module, &build);
    return is_build(code, module.size, &build);
}

/* ---- decode ----------------------------------------------------------------- */

static bool is_whole(const struct cvy_code *code)
{
    return (code->kind == CVY_CODE_MAIN || code->kind == CVY_CODE_SHARED) &&
           code->id_size > 0 && code->id_size <= sizeof code->id &&
           code->path_size < sizeof code->path && code->path[code->path_size] == '\0';
}

struct search {
    const struct cvy_code *code;
    uintptr_t base; /* if not 0, look at the module there only */
    bool found;     /* sets address, is_code */
    bool is_other;  /* sets other */
    bool is_code;
    uintptr_t address;
    struct cvy_os_build other; /* the build of what stands under the same path */
};

static int look_at(void *ctx, const struct cvy_os_module *module)
{
    struct search *search = ctx;
    const struct cvy_code *code = search->code;
    const bool same_path = strcmp(module->name, code->path) == 0;
    struct cvy_os_build build;

    if (module->is_main || (search->base != 0 && search->base != module->base))
        return 0;
    cvy_os_module_build(module, &build);
    if (!is_build(code, module->size, &build)) {
        if (same_path || search->base != 0) {
            search->is_other = true;
            search->other = build;
        }
        return 0;
    }
    if (search->found && !same_path)
        return 0;
    search->found = true;
    search->address = module->base + (uintptr_t)code->offset;
    search->is_code = cvy_os_module_is_code(module, code->offset);
    return same_path;
}

/* Loads the shared object and looks at it. */
static int load(struct search *search)
{
    const struct cvy_code *code = search->code;
    struct cvy_os_build build = {0};
    char why[256];
    void *handle;
    int r, file = cvy_os_file_build(code->path, &build);

    if (file == 0 && build.size != 0 && !code->stand_in &&
        !is_build(code, code->module_size, &build))
        return fail_build(code, &build);
    r = cvy_os_module_load(code->path, &handle, &search->base, why, sizeof why);
    if (r == -ENOSYS)
        return cvy_fail(-ELIBACC, "%s: a static program cannot load it", code->path);
    if (r < 0)
        return cvy_fail(file == -ENOENT ? -ENOENT : r, "load %s: %s", code->path,
                        r == -ELIBACC ? why : "out of memory");
    cvy_os_modules_each(look_at, search);
    if (search->found)
        return 0;
    cvy_os_module_unload(handle);
    return fail_build(code, &search->other);
}

static int find_shared(const struct cvy_code *code, uintptr_t *ret_address)
{
    struct search search = {.code = code};
    int r;

    cvy_os_modules_each(look_at, &search);
    if (!search.found && search.is_other)
        return fail_build(code, &search.other);
    if (!search.found && strchr(code->path, '/') == NULL)
        return cvy_fail(-ENOENT, "%s: not in this process", code->path);
    if (!search.found) {
        r = load(&search);
        if (r < 0)
            return r;
    }
    if (!search.is_code)
        return cvy_fail(-EINVAL, "offset 0x%" PRIx64 " of %s is no code", code->offset,
                        code->path);
    *ret_address = search.address;
    return 0;
}

static int decode_shared(const struct cvy_code *code, uintptr_t *ret_address)
{
    uintptr_t address = (uintptr_t)code->address;
    uint64_t key;
    int r;

    if (!lies_at(code, address, true)) {
        key = key_of(code);
        address = guess(key);
        if (!lies_at(code, address, false)) {
            r = find_shared(code, &address);
            if (r < 0)
                return r;
            learn(key, address);
        }
    }
    *ret_address = address;
    return 0;
}

static int fail_program_build(const struct cvy_code *code, const struct cvy_code *here)
{
    struct cvy_os_build build = {here->id_size, here->stand_in, {0}};
    struct cvy_code copy = *code;

    if (!is_whole(&copy))
        return cvy_fail(-EINVAL, "damaged reference to a function");
    memcpy(build.id, here->id, sizeof build.id);
    return fail_build(&copy, &build);
}

CVY_CHILD_CODE static int decode_main(const struct cvy_code *code,
                                      uintptr_t *ret_address)
{
    struct cvy_code local;
    const struct cvy_code *here = program_code(&local);
    const uint64_t offset = code->offset;
    struct cvy_os_module module;

    if (code->id_size != here->id_size || code->stand_in != here->stand_in ||
        code->module_size != here->module_size ||
        memcmp(code->id, here->id, sizeof code->id) != 0)
        return fail_program_build(code, here);
    cvy_os_module_main(&module);
    if (!cvy_os_module_is_code(&module, offset))
        return cvy_fail(-EINVAL, "offset 0x%" PRIx64 " of %s is no code", offset,
                        here->path);
    *ret_address = module.base + (uintptr_t)offset;
    return 0;
}

CVY_CHILD_CODE int cvy_code_decode(const struct cvy_code *code, cvy_code_fn **ret_fn)
{
    uintptr_t address = 0;
    struct cvy_code copy;
    int r;

    if (code->kind == CVY_CODE_MAIN) {
        r = decode_main(code, &address);
    } else {
        /* What is in shared memory may change while it is looked at. */
        copy = *code;
        if (!is_whole(&copy))
            return cvy_fail(-EINVAL, "damaged reference to a function");
        r = decode_shared(&copy, &address);
    }
    if (r == 0)
        *ret_fn = (cvy_code_fn *)address;
    return r;
}

/* ---- names ------------------------------------------------------------------ */

/* Where the function lies here, without loading anything; 0 if it does not. */
static uintptr_t present_at(const struct cvy_code *code)
{
    struct search search = {.code = code};
    struct cvy_os_module module;
    struct cvy_code local;

    if (code->kind == CVY_CODE_MAIN) {
        const struct cvy_code *here = program_code(&local);

        cvy_os_module_main(&module);
        return memcmp(code->id, here->id, sizeof code->id) == 0
                   ? module.base + (uintptr_t)code->offset
                   : 0;
    }
    cvy_os_modules_each(look_at, &search);
    return search.found ? search.address : 0;
}

void cvy_code_describe(const struct cvy_code *code, char *text, size_t size)
{
    const char *name = NULL, *file;
    uint64_t distance = 0;
    uintptr_t address;

    if (!is_whole(code)) {
        snprintf(text, size, "no function");
        return;
    }
    address = present_at(code);
    if (address != 0)
        name = cvy_os_symbol_at(address, &distance);
    if (name != NULL) {
        snprintf(text, size, "%s+0x%" PRIx64 " in %s", name, distance, code->path);
        return;
    }
    file = strrchr(code->path, '/');
    snprintf(text, size, "%s+0x%" PRIx64, file != NULL ? file + 1 : code->path,
             code->offset);
}
