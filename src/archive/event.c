#include "archive/event.h"
#include "archive/words.h"
#include "base/ensure.h"
#include "codec/xml_elem.h"
#include "xmpp/ns.h"
#include "xmpp/stanza.h"

struct store_stmt archive_event_put = {
    .name = "archive-event.put",
    .sql = "INSERT INTO archive_event(about, id, kind, more) SELECT CASE WHEN $1 = 0 THEN"
           " (SELECT max(id) FROM message WHERE id < $2) ELSE $1 END, $2, $3, $4",
    .params = "iiii",
    .cols = "",
};

struct store_stmt archive_event_change = {
    .name = "archive.change",
    .sql = "UPDATE message SET stanza = $2, flags = flags | $6 WHERE id = $1 AND flags = $3"
           " AND sender_entry = $4 AND rcpt_entry = $5",
    .params = "itiiii",
    .cols = "",
};
unsigned archive_kind(const struct stanza *st)
{
    struct elem e;
    return st->kind == STANZA_MESSAGE && stanza_has(st, KNOWN(PAYLOAD)) &&
                   stanza_find(st, "replace", NS_CORRECT, &e) && elem_attr_raw(&e, "id").len > 0
               ? MESSAGE_CORRECTS
               : 0;
}

void archive_event_add(struct store_batch *b, int64_t about, const struct archive_event *e,
                       slice was, size_t len)
{
    ensure(e->kind == EVENT_RETRACTED || e->kind == EVENT_MODERATED);
    archive_add(b, &(struct archive_message){
                       .at_us = e->at_us, .flags = MESSAGE_EVENT, .remote = e->by, .stanza = was });
    STORE_ADD(b, &archive_event_put, 1, SV_I(about), SV_LAST, SV_I(e->kind),
              SV_I((int64_t)was.len - (int64_t)len));
}

void archive_retract(struct store_batch *b, const struct archive_line *m, slice tombstone,
                     const struct archive_event *e, struct arena *tmp)
{
    ensure(m->id > 0 && (m->flags & (MESSAGE_EVENT | MESSAGE_RETRACTED)) == 0);
    unsigned flags = MESSAGE_QUIET;
    if (m->sender_entry != 0 || (m->flags & ENTRY_HIDDEN) == 0) {
        flags |= MESSAGE_RETRACTED;
        archive_event_add(b, m->id, e, m->stanza, tombstone.len);
    }
    STORE_ADD(b, &archive_event_change, 1, SV_I(m->id), SV_T(tombstone), SV_I(m->flags),
              SV_I(m->sender_entry), SV_I(m->rcpt_entry), SV_I(flags));
    archive_words_forget(b, m, tmp);
}
