#include "base/arena.h"
#include "base/ensure.h"
#include "ext/import/import_group.h"
#include "ext/import/import_more.h"
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Each line is a room, something lost or part of a group, and an error says something. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char folder[] = "/tmp/muster-more-XXXXXX", path[sizeof folder + 16];
    struct arena *lasting = arena_create(0), *tmp = arena_create(0);
    struct source_groups groups;
    struct more *more = NULL;
    struct why why = { "" };
    struct source_found found = { 0 };
    enum source_unit unit;
    ensure(mkdtemp(folder) != NULL);
    snprintf(path, sizeof path, "%s/more.jsonl", folder);
    FILE *file = fopen(path, "w");
    ensure(file != NULL && fwrite(data, 1, size, file) == size && fclose(file) == 0);
    source_groups_init(&groups, lasting);
    ensure(more_open(&more, folder, &groups, &why) == OK);
    while ((unit = more_next(more, tmp, &found, &why)) != SOURCE_END && unit != SOURCE_ERROR) {
        ensure(unit == SOURCE_ROOM || (unit == SOURCE_LOST && found.text.len > 0));
        arena_reset(tmp);
    }
    ensure((unit == SOURCE_ERROR) == (why.text[0] != '\0'));
    more_close(&more);
    source_groups_fini(&groups);
    arena_destroy(&tmp);
    arena_destroy(&lasting);
    unlink(path);
    rmdir(folder);
    return 0;
}
