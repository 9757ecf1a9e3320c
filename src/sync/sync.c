/* SPDX-License-Identifier: MIT */
/* sync.c: what the synchronization objects have in common: making, freeing, texts. */
#include "sync/sync.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "region/slot.h"
#include "region/undo.h"

int cvy_sync_begin(const void *out, const char *call)
{
    return out ? cvy_enter() : cvy_fail(-EINVAL, "%s: out is NULL", call);
}

int cvy_sync_create(enum cvy_kind kind, size_t size, const char *name, size_t name_at,
                    void **out)
{
    int r = cvy_object_create(kind, (uint32_t)size, 0, 0, out, NULL);
    if (r >= 0 && name)
        memcpy((char *)*out + name_at, name, strnlen(name, CVY_NAME_BYTES - 1));
    return r;
}

void cvy_sync_free(void *object, enum cvy_kind kind, const char *call)
{
    if (!object)
        return;
    int r = cvy_sync_enter(object, kind, call);
    if (r >= 0)
        r = cvy_object_release(object);
    if (r < 0)
        (void)covey_log(COVEY_LOG_WARNING, "%s", covey_error_detail());
}

int cvy_sync_text(struct covey_bytes *ret_text, const char *call, const char *format,
                  ...)
{
    char text[256];
    va_list args;
    if (!ret_text)
        return cvy_fail(-EINVAL, "%s: ret_text is NULL", call);
    va_start(args, format);
    int n = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    size_t size = cvy_min_size((size_t)n, sizeof text - 1);
    int r = covey_bytes_resize(ret_text, size + 1);
    if (r < 0)
        return r;
    memcpy(ret_text->data, text, size);
    ((char *)ret_text->data)[size] = 0;
    ret_text->size = size;
    return 0;
}

void cvy_sync_member_text(uint32_t member, char *text, size_t size)
{
    int pid = 0;
    if (member == CVY_OWNER_NOBODY)
        (void)snprintf(text, size, "somebody");
    else if (cvy_member_state(member, &pid) == CVY_MEMBER_FREE)
        (void)snprintf(text, size, "a process that has ended");
    else
        (void)snprintf(text, size, "%.60s (pid %d)",
                       cvy_member_at(CVY_INDEX_OF(member))->name, pid);
}

uint32_t cvy_sync_member_of(uint32_t slot_owner)
{
    uint32_t index = CVY_INDEX_OF(slot_owner);
    uint32_t member = cvy_load32(&cvy_slot_at(index)->member);
    return cvy_slot_owner(index) == slot_owner ? member : 0;
}
