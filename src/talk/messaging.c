#include "talk/messaging.h"
#include "base/ensure.h"

struct setting messaging_enabled = {
    .name = "im.enabled",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_BOOL,
    .def = 1,
    .doc =
        "Instant messages are delivered. Off: they are refused with not-allowed, messages without "
        "text (typing notifications) are dropped, and rooms cannot be entered. Presence, rosters "
        "and all else are not affected.",
};

bool messaging_is_im(const struct stanza *st)
{
    if (st->kind != STANZA_MESSAGE)
        return false;
    return st->type == TYPE_CHAT || st->type == TYPE_GROUPCHAT ||
           (st->type == TYPE_NORMAL && stanza_has(st, KNOWN(BODY) | KNOWN(ENCRYPTED)));
}

/* Of services a headline is an announcement; of people it is a message like others. */
static bool is_written_headline(const struct stanza *st)
{
    return st->kind == STANZA_MESSAGE && st->type == TYPE_HEADLINE &&
           stanza_has(st, KNOWN(BODY) | KNOWN(ENCRYPTED));
}

enum verdict messaging_takes(const struct stanza *st, struct refusal *why)
{
    ensure(why != NULL);
    if (setting_bool(&messaging_enabled) || !(messaging_is_im(st) || is_written_headline(st)))
        return PASS;
    if (!stanza_has(st, KNOWN(BODY) | KNOWN(ENCRYPTED) | KNOWN(SUBJECT) | KNOWN(OOB)))
        return DROP;
    why->error = SE_NOT_ALLOWED;
    why->text = SLICE("instant messaging is turned off here");
    return REFUSE;
}

enum verdict messaging_takes_entry(struct refusal *why)
{
    if (setting_bool(&messaging_enabled))
        return PASS;
    why->error = SE_NOT_ALLOWED;
    why->text = SLICE("instant messaging is turned off here, and rooms with it");
    return REFUSE;
}
