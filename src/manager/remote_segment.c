/* SPDX-License-Identifier: MIT */
/* remote_segment.c: named memory that a manager looks after, for its clients.
 *
 * A manager of covey's answers True when it has begun to look after a name, and is a user
 * of it from then on. A stock one answers None and is none, so the name has to stay without
 * users. */
#include <errno.h>
#include <string.h>

#include "base/error.h"
#include "manager/client.h"
#include "memory/memory.h"

#include <covey/segment.h>

static int enter(const covey_manager *manager, const char *call)
{
    return cvy_sync_enter(manager, CVY_KIND_MANAGER, call);
}

/* What the last line of a manager's traceback says. */
static int code_of(const char *text)
{
    if (strstr(text, "' unrecognized"))
        return -ENOTSUP;
    if (strstr(text, "FileNotFoundError: ") || strstr(text, "ValueError: "))
        return -ENOENT;
    return strstr(text, "MemoryError: ") ? -ENOMEM : COVEY_EREMOTE;
}

static int ask(covey_manager *manager, covey_value **out, const char *method,
               const char *name)
{
    covey_value *args = name ? cvy_remote_args1(covey_value_str(name)) : NULL;
    int r = cvy_remote_ask(manager, out, method, args, NULL);
    if (r == COVEY_EREMOTE)
        r = code_of(covey_proxy_error_text());
    if (r == -ENOTSUP)
        return cvy_fail(r, "manager %s looks after no memory", manager->address);
    return r;
}

static int track(covey_manager *manager, covey_memory *memory)
{
    covey_value *answer = NULL;
    int r = ask(manager, &answer, "track_segment", covey_memory_name(memory));
    if (r >= 0 && covey_value_kind(answer) == COVEY_VALUE_NONE)
        r = cvy_memory_keep(memory);
    covey_value_free(answer);
    return r;
}

int covey_segment_track(covey_manager *manager, covey_memory *memory)
{
    static const char call[] = "covey_segment_track";
    int r = enter(manager, call);
    if (r >= 0 && !memory)
        r = cvy_fail(-EINVAL, "%s: there is no memory", call);
    return r < 0 ? r : track(manager, memory);
}

int covey_segment_create(covey_memory **out, covey_manager *manager, const char *name,
                         size_t size, const struct covey_memory_opts *opts)
{
    static const char call[] = "covey_segment_create";
    covey_memory *memory = NULL;
    int r = enter(manager, call);
    if (r >= 0 && !out)
        r = cvy_fail(-EINVAL, "%s: out is NULL", call);
    if (r >= 0)
        r = covey_memory_create(&memory, name, size, opts);
    if (r < 0)
        return r;
    r = track(manager, memory);
    if (r < 0) {
        cvy_memory_undo(memory);
        covey_memory_free(memory);
        return r;
    }
    *out = memory;
    return 0;
}

int covey_segment_create_list(covey_shareable_list **out, covey_manager *manager,
                              const char *name,
                              const struct covey_shareable_item *items, size_t count,
                              const struct covey_memory_opts *opts)
{
    static const char call[] = "covey_segment_create_list";
    covey_shareable_list *list = NULL;
    int r = enter(manager, call);
    if (r >= 0 && !out)
        r = cvy_fail(-EINVAL, "%s: out is NULL", call);
    if (r >= 0)
        r = covey_shareable_list_create(&list, name, items, count, opts);
    if (r < 0)
        return r;
    r = track(manager, covey_shareable_list_memory(list));
    if (r < 0) {
        cvy_memory_undo(covey_shareable_list_memory(list));
        covey_shareable_list_free(list);
        return r;
    }
    *out = list;
    return 0;
}

int covey_segment_release(covey_manager *manager, const char *name)
{
    static const char call[] = "covey_segment_release";
    covey_value *nothing = NULL;
    int r = enter(manager, call);
    if (r >= 0 && !name)
        r = cvy_fail(-EINVAL, "%s: the name is NULL", call);
    while (r >= 0 && *name == '/')
        name++;
    if (r >= 0)
        r = ask(manager, &nothing, "release_segment", name);
    covey_value_free(nothing);
    return r;
}

int covey_segment_names(covey_manager *manager, covey_value **out)
{
    static const char call[] = "covey_segment_names";
    int r = enter(manager, call);
    if (r >= 0 && !out)
        r = cvy_fail(-EINVAL, "%s: out is NULL", call);
    return r < 0 ? r : ask(manager, out, "list_segments", NULL);
}
