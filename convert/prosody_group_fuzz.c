#include "base/arena.h"
#include "base/ensure.h"
#include "base/utf8.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Names and members are texts that are not empty, no two names are the same, limits hold, and an
 * error says something. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena *arena = arena_create(0);
    struct source_groups groups;
    struct why why = { "" };
    uint32_t count = 0, members = 0;
    source_groups_init(&groups, arena);
    enum err e = prosody_groups_read(&groups, (slice){ (const char *)data, size }, &why);
    ensure((e == OK) == (why.text[0] == '\0') && utf8_valid(slice_of(why.text)));
    for (const struct source_group *g = groups.first; g != NULL; g = g->next) {
        count++;
        ensure(g->name.len > 0 && utf8_valid(g->name) && g->to_members != g->to_all);
        for (const struct source_text *m = g->members; m != NULL; m = m->next) {
            members++;
            ensure(m->text.len > 0 && utf8_valid(m->text));
        }
        for (const struct source_group *o = g->next; o != NULL && count < 100; o = o->next)
            ensure(!slice_eq(g->name, o->name));
    }
    ensure(count == groups.count && count <= SOURCE_GROUPS_MAX);
    ensure(members == groups.members && members <= SOURCE_MEMBERS_MAX);
    arena_destroy(&arena);
    return 0;
}
