#include "gate/s2s/s2s_partner_care.h"
#include "gate/s2s/s2s_partner_private.h"

enum {
    PARTNER_SUSPECT_MAX = 3,
    WATCHED_MAX = 1000,
    WATCHED_MS = 10 * 60000 /* their rows may be gone */
};

/* What care is taken for. */

static uint32_t partner_watched_at(const struct partner *p, const struct outgoing_id *id)
{
    uint32_t at = 0;
    while (at < p->watched_len &&
           (p->watched[at].entry != id->entry || p->watched[at].sender != id->sender))
        at++;
    return at;
}

static void partner_watch(struct partner *p, const struct outgoing_id *id)
{
    if (id->entry == 0 || p->watched_len == WATCHED_MAX ||
        partner_watched_at(p, id) < p->watched_len)
        return;
    if (p->watched == NULL)
        p->watched = mem_alloc(WATCHED_MAX * sizeof *p->watched);
    p->watched[p->watched_len++] = *id;
    p->watched_us = loop_now_us(partner_loop(p)) + (uint64_t)WATCHED_MS * 1000;
}

void partner_watch_ends(struct partner *p, const struct outgoing_id *id)
{
    uint32_t at = partner_watched_at(p, id);
    if (at < p->watched_len)
        p->watched[at] = p->watched[--p->watched_len];
}

void partner_watch_none(struct partner *p)
{
    mem_free(&p->watched);
    p->watched_len = 0;
}

/* Some are in the database alone, perhaps behind messages of other senders: if care ended with
 * those, it would go among many again, and nobody could tell which of them it was. */
static bool partner_watches(const struct partner *p)
{
    return p->watched_len > 0 && s2s_mail_waits(&p->mail) &&
           loop_now_us(partner_loop(p)) < p->watched_us;
}

void partner_care_ends(struct partner *p)
{
    if (partner_watches(p))
        return;
    p->careful = false;
    partner_watch_none(p);
}

/* How a stream ends. */

void partner_offends(struct partner *p) { p->offended = true; }
void partner_breaks(struct partner *p) { p->broke = true; }
void partner_ended(struct partner *p) { p->orderly = true; }

static bool partner_suspects_again(struct partner *p, const struct s2s_sent *s)
{
    const void *st = s->id.entry == 0 ? s->st : NULL;
    if (p->suspect.streams == 0 || p->suspect.sender != s->id.sender ||
        p->suspect.entry != s->id.entry || p->suspect.st != st) {
        p->suspect.sender = s->id.sender;
        p->suspect.entry = s->id.entry;
        p->suspect.st = st;
        p->suspect.streams = 0;
    }
    if (++p->suspect.streams < PARTNER_SUSPECT_MAX)
        return false;
    p->suspect.streams = 0;
    return true;
}

bool partner_takes_care(struct partner *p)
{
    bool offended = p->offended, broke = p->broke, orderly = p->orderly, careful = p->careful;
    p->offended = p->broke = p->orderly = p->quick = false;
    if (p->unacked.written == 0 || partner_stopped(p) ||
        (!offended && !p->vain && !(broke && careful)))
        return false;
    if (orderly && !careful && partner_may_be_quick(p)) { /* no stanza was at fault */
        p->quick = true;
        return false;
    }
    p->careful = true; /* a break without a word counts only for what was sent alone */
    for (uint32_t i = 0; i < p->unacked.written; i++)
        partner_watch(p, &s2s_unacked_at(&p->unacked, i)->id);
    p->quick = offended && careful && partner_may_be_quick(p);
    return (offended || broke) && careful &&
           partner_suspects_again(p, s2s_unacked_first(&p->unacked));
}
