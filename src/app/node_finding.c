#include "app/node_finding.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/ensure.h"
#include <stdarg.h>
#include <stdio.h>

enum { LINE_BYTES_MAX = 4096 };

void node_findings_init(struct node_findings *f, struct arena *arena)
{
    *f = (struct node_findings){ .arena = arena };
    f->end = &f->first;
}

void node_find(struct node_findings *f, enum node_kind kind, enum node_weight weight,
               const char *path, const char *fmt, ...)
{
    struct node_finding *found = arena_new(f->arena, struct node_finding, 1);
    char line[LINE_BYTES_MAX];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    ensure(kind < NODE_KINDS && *f->end == NULL);
    *found = (struct node_finding){ .kind = kind,
                                    .weight = weight,
                                    .path = slice_cstr(f->arena, slice_of(path)),
                                    .text = slice_cstr(f->arena, slice_of(line)) };
    *f->end = found;
    f->end = &found->next;
}

void node_findings_write(const struct node_findings *f, enum node_weight weight, struct buf *out)
{
    for (const struct node_finding *found = f->first; found != NULL; found = found->next)
        if (found->weight == weight)
            buf_printf(out, "%s\n", found->text);
}
