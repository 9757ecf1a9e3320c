/* SPDX-License-Identifier: MIT */
/* Values as Python has them: made, looked into, changed, compared and printed. */
#include "tour.h"

static void print(const char *what, const covey_value *value)
{
    struct covey_bytes text = {0};
    must(covey_value_repr(value, &text));
    printf("%s: %s\n", what, (char *)text.data);
    covey_bytes_free(&text);
}

int main(int argc, char **argv)
{
    covey_init(argc, argv);

    /* By a format, or piece by piece: then errors stick, and are asked for once. */
    covey_value *job;
    must(covey_value_pack(&job, "{s: s, s: (i, i), s: z}", "name", "resize", "size",
                          640, 480, "owner", NULL));
    covey_value *tags = covey_value_set();
    covey_value_add(tags, covey_value_str("photo"));
    covey_value_add(tags, covey_value_str("h\xc3\xa9"));
    covey_value_add(tags, covey_value_str("photo"));
    covey_value_put_str(job, "tags", tags);
    must(covey_value_check(job));
    print("job", job);

    /* Apart again: nothing is written unless all of it fits. */
    const char *name;
    int width, height, priority = 5;
    must(covey_value_unpack(job, "{s: s, s: (i, i) | s: i}", "name", &name, "size",
                            &width, &height, "priority", &priority));
    printf("%s to %d x %d, priority %d\n", name, width, height, priority);

    const covey_value *key, *value;
    for (size_t at = 0; covey_value_next(job, &at, &key, &value);)
        printf("%s ", covey_value_type(value));
    printf("\n");

    /* Who shares a value never sees it change: change a copy. */
    covey_value *shared = covey_value_ref(job);
    int r = covey_value_put_str(shared, "name", covey_value_str("crop"));
    printf("%s\n", covey_error_name(r));
    covey_value *copy = covey_value_copy(job);
    must(covey_value_put_str(copy, "name", covey_value_str("crop")));
    print("copy", covey_value_find_str(copy, "name"));
    print("job", covey_value_find_str(job, "name"));
    covey_value_free(shared);
    covey_value_free(copy);
    covey_value_free(job);

    /* Numbers are equal by value, as in Python, and ints have any size. */
    covey_value *one = covey_value_float(1.0);
    covey_value *large = covey_value_int_text("1000000000000000000000000000000");
    printf("1.0 == True: %d\n", covey_value_equal(one, covey_value_bool(1)));
    print("large", large);
    covey_value_free(one);
    covey_value_free(large);
}
