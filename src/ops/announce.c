#include "ops/announce.h"
#include "account/account.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "codec/xml_elem.h"
#include "codec/xml_write.h"
#include "home/question.h"
#include "home/router.h"
#include "home/ticket.h"
#include "ops/outside_users.h"
#include "session/session.h"
#include "session/session_queue.h"
#include "session/sessions.h"

enum { CONTENT_BYTES_MAX = 8 * ANNOUNCE_BYTES_MAX };

slice announce_content(struct arena *arena, slice subject, slice text)
{
    struct buf out;
    struct xml_write x;
    xml_begin(&x, &out, CONTENT_BYTES_MAX);
    if (subject.len > 0) {
        xml_open(&x, "subject", NULL);
        xml_text_clean(&x, subject);
        xml_close(&x);
    }
    xml_open(&x, "body", NULL);
    xml_text_clean(&x, text);
    xml_close(&x);
    slice content = slice_dup(arena, buf_fit(&out));
    buf_fini(&out);
    return content;
}

static slice announce_domain_of(slice bare)
{
    slice local, domain;
    return slice_cut(bare, '@', &local, &domain) ? domain : bare;
}

void announce_to(struct worker *w, slice bare, slice content, struct origin part)
{
    struct stanza *st = stanza_make(STANZA_MESSAGE, TYPE_NORMAL, announce_domain_of(bare), bare,
                                    (slice){ 0 }, content);
    if (st != NULL && route(w, st, part, 0, 0) != ROUTED)
        ticket_join_more(w, part);
}

struct headline {
    slice content;
};

static void headline_run(struct worker *w, void *message, const struct message_from *from)
{
    const struct headline *h = message;
    struct session *s;
    (void)from;
    ensure(worker_is_here(w));
    for (uint32_t i = 0; (s = sessions_next(w, &i)) != NULL;) {
        if (!session_is_available(s) || outside_is_test(s->account))
            continue;
        struct stanza *st =
            stanza_make(STANZA_MESSAGE, TYPE_HEADLINE, announce_domain_of(session_bare(s)),
                        session_jid(s), (slice){ 0 }, h->content);
        session_deliver(s, st, 0, 0);
        stanza_unref(&st);
    }
}

static const struct message_field headline_fields[] = {
    F_BYTES(struct headline, content, CONTENT_BYTES_MAX),
    { 0 },
};
const struct message_row headline_message = {
    .id = 13,
    .scope = MESSAGE_CLUSTER,
    .name = "headline",
    .size = sizeof(struct headline),
    .fields = headline_fields,
    .run = headline_run,
};

void announce_online(struct worker *w, slice content, gathered_fn *done, void *arg)
{
    each_home(w, &headline_message, &(struct headline){ content },
              &(struct asker){ .done = done, .arg = arg });
}
