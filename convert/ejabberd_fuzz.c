#include "base/arena.h"
#include "base/ensure.h"
#include "convert/ejabberd_rows.h"
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A dump with any rows: each unit is an account, or a room with a file or a reason, and there is an
 * end. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[64];
    void *source = NULL;
    struct why why = { "" };
    enum source_unit unit = SOURCE_END;
    int fd = memfd_create("dump", MFD_CLOEXEC);
    ensure(fd >= 0 && write(fd, "{tables,[]}.\n", 13) == 13);
    ensure(size == 0 || write(fd, data, size) == (ssize_t)size);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (source_ejabberd.open(&source, path, &why) != OK) {
        ensure(why.text[0] != '\0' && source == NULL);
        close(fd);
        return 0;
    }
    struct arena *tmp = arena_create(0);
    do {
        struct source_found out = { .folder = "/tmp" };
        unit = source_ejabberd.next(source, tmp, &out, &why);
        ensure(unit != SOURCE_USER || out.text.len > 0 || out.xml.len > 0);
        if (unit == SOURCE_ROOM) {
            ensure((out.text.len > 0) == (out.file < 0));
            if (out.file >= 0)
                close(out.file);
        }
        arena_reset(tmp);
    } while (unit != SOURCE_END && unit != SOURCE_ERROR);
    struct source_groups groups;
    source_groups_init(&groups, tmp);
    ensure(source_ejabberd.groups(source, &groups, &why) == OK || why.text[0] != '\0');
    arena_destroy(&tmp);
    source_ejabberd.close(&source);
    close(fd);
    return 0;
}
