#include "im/contact_name.h"
#include "im/account.h"
#include "im/foreign.h"

static bool contact_axis_lives(enum contact_axis axis, uint8_t state)
{
    enum sub_state s = (enum sub_state)state;
    return axis == CONTACT_SEES ? sub_is_seen(s) || sub_state_pending_in(s)
                                : sub_sees(s) || sub_state_ask(s);
}

static uint8_t contact_axis_flag(enum contact_axis axis)
{
    return axis == CONTACT_SEES ? ROSTER_SEEN_BY_MAIL : ROSTER_ASKED_BY_MAIL;
}

/* Of that direction alone. */
static enum stanza_named contact_name_at(const struct roster_item *item, enum contact_axis axis)
{
    if (item == NULL || !contact_axis_lives(axis, item->state))
        return NAMED_USUAL;
    return (item->flags & contact_axis_flag(axis)) != 0 ? NAMED_MAIL : NAMED_ACCOUNT;
}

enum stanza_named contact_name(const struct roster *r, slice contact, enum contact_axis axis)
{
    const struct roster_item *item = roster_find(r, contact);
    enum stanza_named named = contact_name_at(item, axis);
    return named != NAMED_USUAL
               ? named
               : contact_name_at(item, axis == CONTACT_SEES ? CONTACT_SEEN : CONTACT_SEES);
}

enum stanza_named contact_name_of(const struct roster *r, const struct stanza *st)
{
    bool wish =
        st->kind == STANZA_PRESENCE &&
        (st->type == TYPE_SUBSCRIBE || st->type == TYPE_UNSUBSCRIBE || st->type == TYPE_PROBE);
    return contact_name(r, stanza_to_bare(st), wish ? CONTACT_SEEN : CONTACT_SEES);
}

bool contact_name_is_other(const struct roster *r, const struct stanza *st, enum contact_axis axis)
{
    enum stanza_named known = contact_name_at(roster_find(r, stanza_from_bare(st)), axis);
    return known != NAMED_USUAL && st->named != NAMED_USUAL && known != st->named;
}

static void contact_name_note(struct roster_delta *d, enum contact_axis axis, bool by_mail)
{
    uint8_t flag = contact_axis_flag(axis);
    d->flags = (uint8_t)(by_mail ? d->flags | flag : d->flags & ~flag);
}

void contact_name_asked_by_it(struct roster_delta *d, enum stanza_named named)
{
    if (named != NAMED_USUAL)
        contact_name_note(d, CONTACT_SEES, named == NAMED_MAIL);
}

void contact_name_asked_by_us(const struct account *a, struct roster_delta *d,
                              enum stanza_named named)
{
    bool known = named != NAMED_USUAL || !foreign_is(a->worker, jid_split(d->jid).domain);
    contact_name_note(d, CONTACT_SEEN,
                      known ? named == NAMED_MAIL : foreign_renames(a->worker, a->jid));
}

void contact_name_fit(struct roster_delta *d)
{
    for (unsigned axis = CONTACT_SEES; axis <= CONTACT_SEEN; axis++)
        if (!contact_axis_lives((enum contact_axis)axis, d->state))
            contact_name_note(d, (enum contact_axis)axis, false);
}
