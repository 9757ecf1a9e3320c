/* SPDX-License-Identifier: MIT */
/* shareable_list.c: the calls of a shareable list; slots.c has its layout. */
#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/memory.h"
#include "memory/memory.h"
#include "memory/slots.h"

struct covey_shareable_list {
    covey_memory *memory;
    struct cvy_slots slots;
};

/* ---- making and opening ---------------------------------------------------------- */

static int fail_item(int code, const char *call, size_t index)
{
    if (code == COVEY_EPROTOCOL)
        return cvy_fail(code, "%s: item %zu is not as Python has it", call, index);
    if (code == -EILSEQ)
        return cvy_fail(code, "%s: item %zu is a str but not UTF-8", call, index);
    if (code == -EMSGSIZE)
        return cvy_fail(code, "%s: the text is too long for item %zu", call, index);
    return cvy_fail(code, "%s: item %zu is of no kind there is", call, index);
}

static int check_items(const struct covey_shareable_item *items, size_t count,
                       const char *call)
{
    if (count && !items)
        return cvy_fail(-EINVAL, "%s: the items are NULL", call);
    for (size_t i = 0; i < count; i++) {
        int r = cvy_item_check(&items[i]);

        if (r < 0)
            return fail_item(r, call, i);
    }
    return 0;
}

static int new_list(covey_shareable_list **ret_list, const char *call)
{
    *ret_list = cvy_calloc(1, sizeof(**ret_list));
    return *ret_list ? 0 : cvy_fail(-ENOMEM, "%s: no memory", call);
}

/* What a new list is filled with. */
struct content {
    covey_shareable_list *list;
    const struct covey_shareable_item *items;
    size_t count, size;
    const void *copied; /* instead of items: the bytes of another list */
};

/* Before anybody else sees the memory. */
static int fill(void *data, void *context)
{
    const struct content *content = context;

    if (content->copied) {
        memcpy(data, content->copied, content->size);
        return cvy_slots_read(&content->list->slots, data, content->size);
    }
    cvy_slots_write(&content->list->slots, data, content->size, content->items,
                    content->count);
    return 0;
}

static int create(covey_shareable_list **out, const char *name, struct content *content,
                  const struct covey_memory_opts *opts, const char *call)
{
    int r = new_list(&content->list, call);

    if (r < 0)
        return r;
    r = cvy_memory_create(&content->list->memory, name, content->size, opts, call, fill,
                          content);
    if (r < 0)
        cvy_free(content->list);
    else
        *out = content->list;
    return r;
}

int covey_shareable_list_create(covey_shareable_list **out, const char *name,
                                const struct covey_shareable_item *items, size_t count,
                                const struct covey_memory_opts *opts)
{
    static const char call[] = "covey_shareable_list_create";
    struct content content = {NULL, items, count, 0, NULL};
    int r;

    if (!out)
        return cvy_fail(-EINVAL, "%s: no room for the handle", call);
    r = check_items(items, count, call);
    if (r < 0)
        return r;
    content.size = cvy_slots_need(items, count);
    if (!content.size)
        return cvy_fail(-ENOMEM, "%s: %zu items are too many", call, count);
    return create(out, name, &content, opts, call);
}

/* Look at the list in its memory. When it is none the handle is freed. */
static int read_list(covey_shareable_list *list, const char *call)
{
    size_t size = 0;
    void *base = covey_memory_data(list->memory, &size);
    int r = cvy_slots_read(&list->slots, base, size);

    if (r < 0) {
        r = cvy_fail(r, "%s: '%s' holds no list of covey, or of Python 3.9 or later",
                     call, covey_memory_name(list->memory));
        covey_shareable_list_free(list);
    }
    return r;
}

int covey_shareable_list_open(covey_shareable_list **out, const char *name,
                              const struct covey_memory_opts *opts)
{
    static const char call[] = "covey_shareable_list_open";
    covey_shareable_list *list;
    int r;

    if (!out)
        return cvy_fail(-EINVAL, "%s: no room for the handle", call);
    r = new_list(&list, call);
    if (r < 0)
        return r;
    r = covey_memory_open(&list->memory, name, opts);
    if (r < 0) {
        cvy_free(list);
        return r;
    }
    r = read_list(list, call);
    if (r == 0)
        *out = list;
    return r;
}

/* ---- asking ---------------------------------------------------------------------- */

static int check_list(const covey_shareable_list *list, const void *answer,
                      const char *call)
{
    if (!list || !answer)
        return cvy_fail(-EINVAL, "%s: %s", call,
                        list ? "no room for the answer" : "there is no list");
    if (!list->slots.base)
        return cvy_fail(COVEY_ECLOSED, "%s: '%s' is closed", call,
                        covey_memory_name(list->memory));
    return 0;
}

int covey_shareable_list_copy(covey_shareable_list **out,
                              const covey_shareable_list *list, const char *name,
                              const struct covey_memory_opts *opts)
{
    static const char call[] = "covey_shareable_list_copy";
    struct content content = {0};
    int r = check_list(list, out, call);

    if (r < 0)
        return r;
    content.copied = list->slots.base;
    content.size = list->slots.size;
    return create(out, name, &content, opts, call);
}

covey_memory *covey_shareable_list_memory(const covey_shareable_list *list)
{
    return list ? list->memory : NULL;
}

int covey_shareable_list_len(const covey_shareable_list *list, size_t *ret_count)
{
    int r = check_list(list, ret_count, "covey_shareable_list_len");

    if (r == 0)
        *ret_count = list->slots.count;
    return r;
}

int covey_shareable_list_format(const covey_shareable_list *list,
                                struct covey_bytes *ret_text)
{
    struct covey_bytes text = {0};
    char format[9];
    int r = check_list(list, ret_text, "covey_shareable_list_format");

    if (r == 0)
        r = cvy_bytes_append(&text, "", 1);
    text.size = 0;
    for (size_t i = 0; r == 0 && i < list->slots.count; i++) {
        cvy_slot_format(&list->slots, i, format);
        r = cvy_bytes_append(&text, format, strlen(format) + 1);
        text.size -= r == 0; /* the zero at the end does not count */
    }
    if (r == 0) {
        struct covey_bytes old = *ret_text;

        *ret_text = text;
        text = old;
    }
    covey_bytes_free(&text);
    return r;
}

/* ---- reading --------------------------------------------------------------------- */

/* The place that `index`, from either end, is about. */
static int find_place(const covey_shareable_list *list, ptrdiff_t index,
                      const void *answer, size_t *ret_index, const char *call)
{
    size_t from_end = index < 0 ? (size_t)0 - (size_t)index : 0, count;
    int r = check_list(list, answer, call);

    if (r < 0)
        return r;
    count = list->slots.count;
    if (index < 0 ? from_end > count : (size_t)index >= count)
        return cvy_fail(-ERANGE, "%s: there is no item %td among %zu", call, index,
                        count);
    *ret_index = index < 0 ? count - from_end : (size_t)index;
    return 0;
}

/* Copy the text of a slot, a zero behind it, and let the item point to the copy. */
static int copy_text(const struct cvy_slot *slot, struct covey_bytes *buffer,
                     struct covey_shareable_item *item)
{
    char *text;
    size_t size = item->text.size;
    int r = cvy_bytes_reserve(buffer, size + 1);

    if (r < 0)
        return r;
    text = buffer->data;
    memcpy(text, item->text.data, size);
    while (!slot->is_exact && size && !text[size - 1])
        size--;
    text[size] = 0;
    buffer->size = size;
    item->text = COVEY_VIEW(text, size);
    return 0;
}

/* Read an item, text as it is, valid or not. */
static int get_raw(const covey_shareable_list *list, size_t index,
                   struct covey_bytes *buffer, struct covey_shareable_item *ret_item,
                   const char *call)
{
    struct covey_shareable_item item = covey_item_none();
    struct cvy_slot slot;
    int r = cvy_slot_find(&list->slots, index, &slot);

    if (r < 0)
        return fail_item(r, call, index);
    item = cvy_slot_get(&slot);
    if (item.kind == COVEY_ITEM_STR || item.kind == COVEY_ITEM_BYTES) {
        if (!buffer)
            return cvy_fail(-EINVAL, "%s: item %zu is text, and there is no buffer",
                            call, index);
        r = copy_text(&slot, buffer, &item);
        if (r < 0)
            return r;
    }
    *ret_item = item;
    return 0;
}

static int get(const covey_shareable_list *list, size_t index,
               struct covey_bytes *buffer, struct covey_shareable_item *ret_item,
               const char *call)
{
    struct covey_shareable_item item = covey_item_none();
    int r = get_raw(list, index, buffer, &item, call);

    if (r < 0)
        return r;
    if (item.kind == COVEY_ITEM_STR && !cvy_is_utf8(item.text.data, item.text.size))
        return fail_item(-EILSEQ, call, index);
    *ret_item = item;
    return 0;
}

/* Whether a text is valid is known of a copy: other processes may change the slot at any
 * time. A caller's buffer gets what is, and stays as it was otherwise. */
static void take_or_leave(struct covey_bytes *buffer, struct covey_bytes *copy,
                          bool is_taken)
{
    if (is_taken && copy->data) {
        covey_bytes_free(buffer);
        *buffer = *copy;
    } else {
        covey_bytes_free(copy);
    }
}

int covey_shareable_list_get(const covey_shareable_list *list, ptrdiff_t index,
                             struct covey_bytes *buffer,
                             struct covey_shareable_item *ret_item)
{
    static const char call[] = "covey_shareable_list_get";
    struct covey_bytes copy = {0};
    size_t at = 0;
    int r = find_place(list, index, ret_item, &at, call);

    if (r < 0)
        return r;
    r = get(list, at, buffer ? &copy : NULL, ret_item, call);
    take_or_leave(buffer, &copy, r == 0);
    return r;
}

static int find_slot(const covey_shareable_list *list, ptrdiff_t index,
                     const void *answer, size_t *ret_index, struct cvy_slot *ret_slot,
                     const char *call)
{
    int r = find_place(list, index, answer, ret_index, call);

    if (r < 0)
        return r;
    r = cvy_slot_find(&list->slots, *ret_index, ret_slot);
    return r < 0 ? fail_item(r, call, *ret_index) : 0;
}

/* Read an item of one kind that is no text. */
static int get_plain(const covey_shareable_list *list, ptrdiff_t index,
                     enum covey_item_kind kind, struct covey_shareable_item *ret_item,
                     const void *answer, const char *call)
{
    struct cvy_slot slot;
    size_t at = 0;
    int r = find_slot(list, index, answer, &at, &slot, call);

    if (r < 0)
        return r;
    if (slot.kind != kind)
        return cvy_fail(-EINVAL, "%s: item %zu is of another kind", call, at);
    *ret_item = cvy_slot_get(&slot);
    return 0;
}

int covey_shareable_list_get_int(const covey_shareable_list *list, ptrdiff_t index,
                                 int64_t *ret_value)
{
    struct covey_shareable_item item = covey_item_none();
    int r = get_plain(list, index, COVEY_ITEM_INT, &item, ret_value,
                      "covey_shareable_list_get_int");

    if (r == 0)
        *ret_value = item.integer;
    return r;
}

int covey_shareable_list_get_float(const covey_shareable_list *list, ptrdiff_t index,
                                   double *ret_value)
{
    struct covey_shareable_item item = covey_item_none();
    int r = get_plain(list, index, COVEY_ITEM_FLOAT, &item, ret_value,
                      "covey_shareable_list_get_float");

    if (r == 0)
        *ret_value = item.real;
    return r;
}

int covey_shareable_list_get_bool(const covey_shareable_list *list, ptrdiff_t index,
                                  int *ret_value)
{
    struct covey_shareable_item item = covey_item_none();
    int r = get_plain(list, index, COVEY_ITEM_BOOL, &item, ret_value,
                      "covey_shareable_list_get_bool");

    if (r == 0)
        *ret_value = (int)item.integer;
    return r;
}

/* Read text: a valid str, or the bytes of a str or bytes. */
static int get_text(const covey_shareable_list *list, ptrdiff_t index,
                    struct covey_bytes *buffer, bool wants_str, const char *call)
{
    struct covey_shareable_item item = covey_item_none();
    struct covey_bytes copy = {0};
    struct cvy_slot slot;
    size_t at = 0;
    int r = find_slot(list, index, buffer, &at, &slot, call);

    if (r < 0)
        return r;
    if (slot.kind != COVEY_ITEM_STR && (wants_str || slot.kind != COVEY_ITEM_BYTES))
        return cvy_fail(-EINVAL, "%s: item %zu is of another kind", call, at);
    item = cvy_slot_get(&slot);
    if (!wants_str)
        return copy_text(&slot, buffer, &item);
    r = copy_text(&slot, &copy, &item);
    if (r == 0 && !cvy_is_utf8(copy.data, copy.size))
        r = fail_item(-EILSEQ, call, at);
    take_or_leave(buffer, &copy, r == 0);
    return r;
}

int covey_shareable_list_get_str(const covey_shareable_list *list, ptrdiff_t index,
                                 struct covey_bytes *ret_text)
{
    return get_text(list, index, ret_text, true, "covey_shareable_list_get_str");
}

int covey_shareable_list_get_bytes(const covey_shareable_list *list, ptrdiff_t index,
                                   struct covey_bytes *ret_bytes)
{
    return get_text(list, index, ret_bytes, false, "covey_shareable_list_get_bytes");
}

/* ---- writing --------------------------------------------------------------------- */

int covey_shareable_list_set(covey_shareable_list *list, ptrdiff_t index,
                             struct covey_shareable_item item)
{
    static const char call[] = "covey_shareable_list_set";
    size_t at = 0;
    int r = find_place(list, index, list, &at, call);

    if (r < 0)
        return r;
    if (!cvy_memory_is_writable(list->memory))
        return cvy_fail(-EACCES, "%s: '%s' was opened for reading only", call,
                        covey_memory_name(list->memory));
    r = cvy_item_check(&item);
    if (r == 0)
        r = cvy_slot_set(&list->slots, at, &item);
    return r < 0 ? fail_item(r, call, at) : 0;
}

/* ---- searching ------------------------------------------------------------------- */

/* What is searched for need not be possible in a list, only readable. */
static int check_search(const covey_shareable_list *list,
                        const struct covey_shareable_item *item, const void *answer,
                        const char *call)
{
    int r = check_list(list, answer, call);

    if (r == 0 && cvy_item_check(item) == -EINVAL)
        r = cvy_fail(-EINVAL, "%s: the item is of no kind there is, or has no text",
                     call);
    return r;
}

/* Go through the list from `*index` on, to the next item that is equal, or its end. */
static int search(const covey_shareable_list *list,
                  const struct covey_shareable_item *item, struct covey_bytes *buffer,
                  size_t *index, const char *call)
{
    struct covey_shareable_item entry = covey_item_none();

    for (; *index < list->slots.count; ++*index) {
        int r = get(list, *index, buffer, &entry, call);

        if (r < 0)
            return r;
        if (cvy_item_equals(&entry, item))
            break;
    }
    return 0;
}

int covey_shareable_list_count(const covey_shareable_list *list,
                               struct covey_shareable_item item, size_t *ret_count)
{
    static const char call[] = "covey_shareable_list_count";
    struct covey_bytes buffer = {0};
    size_t count = 0, at = 0;
    int r = check_search(list, &item, ret_count, call);

    if (r < 0)
        return r;
    while ((r = search(list, &item, &buffer, &at, call)) == 0 &&
           at < list->slots.count) {
        count++;
        at++;
    }
    if (r == 0)
        *ret_count = count;
    covey_bytes_free(&buffer);
    return r;
}

int covey_shareable_list_index(const covey_shareable_list *list,
                               struct covey_shareable_item item, size_t *ret_index)
{
    static const char call[] = "covey_shareable_list_index";
    struct covey_bytes buffer = {0};
    size_t at = 0;
    int r = check_search(list, &item, ret_index, call);

    if (r < 0)
        return r;
    r = search(list, &item, &buffer, &at, call);
    covey_bytes_free(&buffer);
    if (r < 0)
        return r;
    if (at == list->slots.count)
        return cvy_fail(-ENOENT, "%s: no item of '%s' is equal to that", call,
                        covey_memory_name(list->memory));
    *ret_index = at;
    return 0;
}

/* ---- the end --------------------------------------------------------------------- */

int covey_shareable_list_close(covey_shareable_list *list)
{
    if (!list)
        return cvy_fail(-EINVAL, "covey_shareable_list_close: there is no list");
    list->slots.base = NULL;
    return covey_memory_close(list->memory);
}

void covey_shareable_list_free(covey_shareable_list *list)
{
    if (!list)
        return;
    covey_memory_free(list->memory);
    cvy_free(list);
}
