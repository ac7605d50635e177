/* An output for tests: its lines are read back. */
#pragma once
#include "base/arena.h"
#include "base/ensure.h"
#include "convert/output.h"
#include <ftw.h>
#include <jansson.h>
#include <stdlib.h>

enum { TEST_OUTPUT_FDS = 8 };
static char test_output_folder[sizeof "/tmp/muster-convert-XXXXXX"];

static inline void test_output_begin(struct output *o)
{
    struct why why;
    memcpy(test_output_folder, "/tmp/muster-convert-XXXXXX", sizeof test_output_folder);
    ensure(mkdtemp(test_output_folder) != NULL);
    ensure(output_open(o, test_output_folder, &why) == OK);
    o->progress = true; /* it tells nothing at the end */
}

static inline int test_output_remove(const char *path, const struct stat *st, int kind,
                                     struct FTW *at)
{
    (void)st, (void)kind, (void)at;
    return remove(path);
}

/* The lines, a list whose owner is the caller. */
static inline json_t *test_output_end(struct output *o)
{
    struct why why;
    char path[sizeof test_output_folder + 16];
    json_t *lines = json_array(), *line;
    ensure(output_close(o, &why) == OK);
    snprintf(path, sizeof path, "%s/more.jsonl", test_output_folder);
    FILE *more = fopen(path, "r");
    ensure(more != NULL);
    while ((line = json_loadf(more, JSON_DISABLE_EOF_CHECK, NULL)) != NULL) {
        ensure(json_is_object(line));
        json_array_append_new(lines, line);
    }
    ensure(feof(more));
    fclose(more);
    nftw(test_output_folder, test_output_remove, TEST_OUTPUT_FDS, FTW_DEPTH | FTW_PHYS);
    return lines;
}
