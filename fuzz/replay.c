/* SPDX-License-Identifier: MIT */
/* replay FOLDER: runs a fuzz target on the files there, without a fuzzer. TAP. */
#include <dirent.h>

#include "fuzz.h"

static int is_shown(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

static void run(const char *folder, const char *name)
{
    static uint8_t data[1 << 20];
    char path[4096];
    FILE *file;

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    file = fopen(path, "rb");
    MUST(file);
    LLVMFuzzerTestOneInput(data, fread(data, 1, sizeof(data), file));
    fclose(file);
}

int main(int argc, char **argv)
{
    struct dirent **entries;
    int count;

    MUST(argc == 2);
    count = scandir(argv[1], &entries, is_shown, alphasort);
    MUST(count > 0);
    printf("1..%d\n", count);
    for (int i = 0; i < count; i++) {
        run(argv[1], entries[i]->d_name);
        printf("ok %d %s\n", i + 1, entries[i]->d_name);
        free(entries[i]);
    }
    free(entries);
    return 0;
}
