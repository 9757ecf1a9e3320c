/* SPDX-License-Identifier: MIT */
/*
 * Word statistics of all regular files below a folder, one task per file. A file that
 * cannot be read or that is binary is reported and hurts nobody. What the processes
 * count must be what one process counts.
 */
#include "words.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "demo.h"

#include <covey.h>

enum { MOST_NAMED = 5, LARGEST = 5 };

static int count_task(struct covey_call *call)
{
    const struct words_file *file = covey_call_arg(call, NULL);
    struct words_count count;
    words_count(file->path, &count);
    return covey_call_return(call, &count, sizeof count);
}

static double count_alone(const struct words_list *list, struct words_count *counts)
{
    struct demo_progress bar = demo_progress_start("single process");
    double begin = demo_clock();
    for (size_t i = 0; i < list->count; i++) {
        words_count(list->files[i].path, &counts[i]);
        demo_progress_show(&bar, i + 1, list->count);
    }
    double seconds = demo_clock() - begin;
    demo_progress_end(&bar);
    return seconds;
}

static int count_pooled(const struct words_list *list, struct words_count *counts,
                        size_t workers, double *ret_seconds)
{
    covey_pool *pool;
    struct demo_progress bar = demo_progress_start("processes");
    double begin = demo_clock();
    int r = covey_pool_create(&pool, workers, NULL);
    if (r < 0)
        return demo_failed("covey_pool_create", r);
    r = covey_pool_map(
        pool, count_task, list->files, sizeof *list->files, counts, sizeof *counts,
        list->count,
        COVEY_MAP_OPTS(.progress = demo_progress_show, .progress_ctx = &bar));
    covey_pool_free(pool);
    demo_progress_end(&bar);
    if (r < 0)
        return demo_failed("covey_pool_map", r);
    *ret_seconds = demo_clock() - begin;
    return EXIT_SUCCESS;
}

/* ---- what is printed ----------------------------------------------------------- */

static int is_text(const struct words_count *count)
{
    return !count->error && !count->binary;
}

/* Name the first few files that were left out and say how many there are. */
static void print_left_out(const struct words_list *list,
                           const struct words_count *counts)
{
    size_t left_out = 0;
    for (size_t i = 0; i < list->count; i++) {
        if (is_text(&counts[i]) || ++left_out > MOST_NAMED)
            continue;
        printf("  left out %s: %s\n", list->files[i].path,
               counts[i].error ? strerror(counts[i].error) : "binary");
    }
    if (left_out > MOST_NAMED)
        printf("  left out %zu more\n", left_out - MOST_NAMED);
}

static void print_line(uint64_t lines, uint64_t words, uint64_t bytes, const char *what)
{
    printf("  %10" PRIu64 " %10" PRIu64 " %11" PRIu64 "  %s\n", lines, words, bytes,
           what);
}

static void print_largest(const struct words_list *list,
                          const struct words_count *counts)
{
    size_t largest[LARGEST], kept = 0;
    for (size_t i = 0; i < list->count; i++) {
        if (!is_text(&counts[i]))
            continue;
        size_t at = kept;
        while (at > 0 && counts[largest[at - 1]].words < counts[i].words)
            at--;
        if (at == LARGEST)
            continue;
        kept += kept < LARGEST;
        memmove(largest + at + 1, largest + at, (kept - at - 1) * sizeof *largest);
        largest[at] = i;
    }
    for (size_t k = 0; k < kept; k++) {
        const struct words_count *count = &counts[largest[k]];
        print_line(count->lines, count->words, count->bytes,
                   list->files[largest[k]].path);
    }
}

static void print_table(const struct words_list *list, const struct words_count *counts)
{
    struct words_count sum = {0};
    size_t texts = 0, binary = 0, unreadable = 0;
    for (size_t i = 0; i < list->count; i++) {
        unreadable += counts[i].error != 0;
        binary += counts[i].binary != 0;
        texts += (size_t)is_text(&counts[i]);
        if (is_text(&counts[i]))
            words_add(&sum, &counts[i]);
    }
    print_left_out(list, counts);
    printf("  %10s %10s %11s  %s\n", "lines", "words", "bytes", "file");
    print_largest(list, counts);
    char label[96];
    snprintf(label, sizeof label, "all %zu text files", texts);
    print_line(sum.lines, sum.words, sum.bytes, label);
    printf("  longest word: %" PRIu64 " characters, %s%s\n", sum.longest, sum.example,
           sum.longest >= sizeof sum.example ? "..." : "");
    printf("  not counted: %zu binary, %zu unreadable, %zu skipped\n", binary,
           unreadable, list->skipped);
    printf("  hash of all words: %016" PRIx64 "\n", sum.hash);
}

/* ---- both ways ----------------------------------------------------------------- */

static int count_both(const struct demo_opts *opts, const struct words_list *list,
                      struct words_count *right, struct words_count *counts)
{
    double pooled = 0;
    double alone = count_alone(list, right);
    int status = count_pooled(list, counts, opts->workers, &pooled);
    if (status != EXIT_SUCCESS)
        return status;
    print_table(list, counts);
    printf("  %-24s %9.3f s\n  %-24s %9.3f s\n", "single process", alone, "processes",
           pooled);
    for (size_t i = 0; i < list->count; i++)
        if (memcmp(&right[i], &counts[i], sizeof *right) != 0) {
            printf("  %s: the counts differ\n", list->files[i].path);
            status = EXIT_FAILURE;
        }
    if (status == EXIT_SUCCESS)
        printf("  both counted the same\n");
    return status;
}

int demo_words(const struct demo_opts *opts)
{
    struct words_list list;
    printf("Words of the files below %s, one task per file\n", opts->folder);
    int r = words_list(opts->folder, &list);
    if (r < 0) {
        printf("  %s: %s\n", opts->folder, strerror(-r));
        return EXIT_FAILURE;
    }
    struct words_count *right = calloc(list.count + 1, sizeof *right);
    struct words_count *counts = calloc(list.count + 1, sizeof *counts);
    int status = EXIT_FAILURE;
    if (right && counts)
        status = count_both(opts, &list, right, counts);
    free(counts);
    free(right);
    free(list.files);
    return status;
}
