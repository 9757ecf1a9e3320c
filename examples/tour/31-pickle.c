/* SPDX-License-Identifier: MIT */
/* Pickles, which Python reads and writes too; what covey does not know is kept as it is. */
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

    /* What a Python manager answers when a method raised: ('#ERROR', IndexError(...)) */
    covey_value *args, *reply;
    must(covey_value_pack(&args, "(s)", "pop from empty list"));
    must(covey_value_pack(
        &reply, "(s, N)", "#ERROR",
        covey_value_call(covey_value_global("builtins", "IndexError"), args)));
    struct covey_bytes pickle = {0};
    must(covey_value_pickle(reply, &pickle));
    covey_value_free(reply);
    printf("%zu bytes, protocol %d\n", pickle.size, ((unsigned char *)pickle.data)[1]);

    /* Reading runs nothing, and takes no more memory than it may. */
    must(covey_value_unpickle(&reply, pickle.data, pickle.size,
                              COVEY_UNPICKLE_OPTS(.max_memory = 1 << 20)));
    print("read", reply);
    const covey_value *error = covey_value_at(reply, 1);
    if (covey_value_is(error, "builtins", "IndexError")) {
        struct covey_object parts;
        const char *message;
        must(covey_value_get_object(error, &parts));
        must(covey_value_unpack(parts.args, "(s)", &message));
        printf("IndexError says: %s\n", message);
    }
    covey_value_free(reply);

    /* Protocol 0, as Python 2 wrote it. */
    static const char old[] = "(lp0\nI42\naNaS'hello'\np1\na.";
    must(covey_value_unpickle(&reply, old, sizeof(old) - 1, NULL));
    print("old", reply);
    covey_value_free(reply);

    /* What is wrong, and where. */
    int r = covey_value_unpickle(&reply, pickle.data, 20, NULL);
    printf("%s: %s\n", covey_error_name(r), covey_error_detail());
    covey_bytes_free(&pickle);
}
