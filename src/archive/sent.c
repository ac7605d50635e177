#include "archive/sent.h"
#include "archive/archive.h"
#include "archive/event.h"
#include "archive/recent.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "base/mem.h"
#include "codec/xml_write.h"
#include "home/here.h"
#include "home/ticket.h"
#include "home/trail.h"
#include "xmpp/stanza.h"

/* The sender's own copy. If it cannot be stored, the message is sent anyway and the sender is not
 * told. */
struct sent {
    struct worker *worker;
    struct stanza *st;
    struct origin origin;
    enum sent_how how;
};

static void sent_stored(void *arg, enum store_result result, const struct store_batch *b)
{
    struct sent *s = arg;
    slice owner = stanza_from_bare(s->st);
    (void)b;
    if (result != STORE_OK)
        trail_note(s->st, "not-stored", store_result_name(result), owner);
    else if (s->how == SENT_UNSHOWN)
        trail_note(s->st, "stored", "until it is delivered", owner);
    else
        trail_note(s->st, "archived", "by its sender", owner);
    stanza_unref(&s->st);
    if (s->origin.session != 0)
        ticket_done(s->worker, s->origin);
    mem_free(&s);
}

void archive_keep_sent(struct worker *w, struct stanza *st, struct origin origin, uint64_t entry,
                       int64_t sender_id, enum sent_how how)
{
    ensure(entry != 0 && sender_id != 0);
    struct sent *s = mem_alloc(sizeof *s);
    *s = (struct sent){ w, stanza_ref(st), origin, how };
    struct buf text;
    buf_init(&text, XML_STANZA_MAX);
    stanza_store(&text, st);
    struct store_batch *b = store_write(worker_store(w), (uint64_t)sender_id);
    archive_add(
        b, &(struct archive_message){ .at_us = loop_wall_us(worker_loop(w)),
                                      .sender = sender_id,
                                      .sender_entry = how == SENT_UNSHOWN ? 0 : entry,
                                      .pending_out = how == SENT_KEPT ? 0 : entry,
                                      .flags = archive_kind(st),
                                      .origin = recent_origin(st, loop_scratch(worker_loop(w))),
                                      .remote = stanza_to_bare(st),
                                      .stanza = buf_fit(&text) });
    buf_fini(&text);
    store_submit(b, worker_loop(w), STORE_UNTIL_DONE, sent_stored, s);
}
