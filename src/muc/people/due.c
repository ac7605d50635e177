#include "muc/people/due.h"
#include "base/mem.h"
#include "muc/room/room.h"
#include "xmpp/stanza.h"

struct due *due_add(struct room *r, slice actor_nick, slice reason)
{
    struct due *d = mem_zalloc(sizeof *d + actor_nick.len + reason.len);
    char *at = (char *)(d + 1);
    d->actor_nick = slice_lay(&at, actor_nick);
    d->reason = slice_lay(&at, reason);
    list_append(&r->due, &d->node);
    return d;
}

void due_free(struct due *d)
{
    if (d->occupant != NULL)
        d->occupant->due = NULL;
    list_remove(&d->node);
    stanza_unref(&d->left[0]);
    stanza_unref(&d->left[1]);
    stanza_unref(&d->said);
    mem_free(&d);
}

void due_drop(struct occupant *o)
{
    if (o->due != NULL)
        due_free(o->due);
}

void dues_free(struct room *r)
{
    while (!list_empty(&r->due))
        due_free(CONTAINER_OF(r->due.next, struct due, node));
}
