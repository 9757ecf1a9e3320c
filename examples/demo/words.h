/* SPDX-License-Identifier: MIT */
/* words.h: the list of files and what is counted in each. */
#ifndef WORDS_H
#define WORDS_H

#include <stddef.h>
#include <stdint.h>

/** One task: fixed in size, so that a pool maps over an array of them. */
struct words_file {
    char path[1024];
};

/** What one file holds, or all of them together. */
struct words_count {
    uint64_t bytes;
    uint64_t lines;
    uint64_t words;   /**< runs of letters, digits and underscores */
    uint64_t hash;    /**< of all words, whatever their order */
    uint64_t longest; /**< length of the longest word */
    int32_t error;    /**< an errno value: it could not be read */
    uint32_t binary;  /**< 1: it holds a NUL byte and was not counted */
    char example[64]; /**< the longest word, the first of several, cut at 63 */
};

/** The regular files below a folder, in the order of their paths. */
struct words_list {
    struct words_file *files;
    size_t count;
    size_t skipped; /**< folders that cannot be read, paths that are too long */
};

/**
 * List the files; what has to be skipped is printed.
 * Returns:  0; -errno if the folder itself cannot be read; -ENOMEM.
 */
int words_list(const char *folder, struct words_list *ret_list);

/** Count one file. */
void words_count(const char *path, struct words_count *ret_count);

/** Add a file's count, which is neither an error nor binary, to the sum. */
void words_add(struct words_count *sum, const struct words_count *file);

#endif
