#include "gate/s2s/s2s_partner_room.h"
#include "base/ensure.h"
#include "base/log.h"
#include "base/metric.h"
#include "base/setting.h"
#include "gate/s2s/s2s_partner_private.h"
#include "gate/s2s/s2s_rows.h"
#include "xmpp/jid.h"

struct metric s2s_overflows = {
    .name = "muster_s2s_overflows",
    .kind = METRIC_COUNTER,
    .help = "Stanzas for other servers that went back to their senders or were dropped, since too "
            "many waited (s2s.queue-stanzas, s2s.queue-bytes, s2s.queue-total).",
};

#define ROOM_WHY "too many stanzas wait for this server ("
static const struct partner_limit stanzas = { &s2s_queue_stanzas, ROOM_WHY "s2s.queue-stanzas)" },
                                  bytes = { &s2s_queue_bytes, ROOM_WHY "s2s.queue-bytes)" },
                                  total = { &s2s_queue_total, ROOM_WHY "s2s.queue-total)" };

/* A server that does not hear a farewell shows a ghost, and nothing repeats it: that has twice the
 * room. */
bool partner_room_for(struct partner *p, const struct stanza *st)
{
    const struct actor *a = &p->actor;
    if (a->inbox_stanzas + p->behind.count >= (uint64_t)setting_int(&s2s_queue_stanzas)
                                                  << partner_is_farewell(st))
        p->full = &stanzas;
    else if (a->inbox_bytes + p->unacked.bytes + st->bytes >
             (uint64_t)setting_int(&s2s_queue_bytes))
        p->full = &bytes;
    else if (atomic_load(&p->gate->waiting_bytes) + st->bytes > setting_int(&s2s_queue_total))
        p->full = &total;
    else
        p->full = NULL;
    return p->full == NULL;
}

/* Of the bytes, up to half are of what is not confirmed. */
bool partner_room_is_ample(const struct partner *p)
{
    const struct actor *a = &p->actor;
    return a->inbox_stanzas < (uint64_t)setting_int(&s2s_queue_stanzas) / 2 &&
           a->inbox_bytes < (uint64_t)setting_int(&s2s_queue_bytes) / 4;
}

bool partner_room_keeps(struct partner *p, const struct s2s_sent *s)
{
    bool handed_over = p->behind.shares != 0;
    if ((handed_over || partner_is_farewell(s->st)) &&
        s2s_behind_keeps(&p->behind, s, p->doubt.inbox_version))
        return true;
    p->full = &stanzas;
    return false;
}

/* A flood is refused stanza by stanza, and one line each would hide all else of the log. */
static void partner_room_tell(struct partner *p, const struct stanza *st)
{
    enum { AGAIN_US = 60 * 1000 * 1000 };
    uint64_t now_us = loop_now_us(partner_loop(p));
    if (p->overflow_told_us != 0 && now_us - p->overflow_told_us < AGAIN_US)
        return;
    log_warn(&log_s2s, LOG_EV("s2s.overflow"), LOG_S("domain", jid_split(stanza_to(st)).domain),
             LOG_S("local", jid_split(stanza_from(st)).domain),
             LOG_I("queue", p->actor.inbox_stanzas), LOG_C("setting", p->full->setting->name),
             LOG_I("refused", p->overflows - p->overflows_told),
             LOG_C("hint", "its server takes them too slowly or not at all; senders get an error: "
                           "`s2s show` shows the stream"));
    p->overflow_told_us = now_us;
    p->overflows_told = p->overflows;
}

void partner_room_refuses(struct partner *p, const struct stanza *st)
{
    ensure(p != NULL && st != NULL);
    if (p->full == NULL) /* by the bound of any queue in memory */
        p->full = &bytes;
    p->overflows++;
    metric_add(&s2s_overflows, 1);
    partner_room_tell(p, st);
}

void partner_room_show(const struct partner *p, struct s2s_shown *out)
{
    out->overflows = p->overflows;
    if (p->full != NULL && out->why.len == 0 &&
        (p->actor.inbox_stanzas > 0 || p->unacked.len > 0)) {
        out->stage = S2S_AT_LINK;
        out->why = slice_of(p->full->why);
    }
}
