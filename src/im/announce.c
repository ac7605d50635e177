#include "im/announce.h"
#include "base/arena.h"
#include "base/buf.h"
#include "codec/xml_elem.h"
#include "home/worker.h"
#include "im/account.h"
#include "im/router.h"
#include "im/session.h"
#include "im/session_queue.h"

enum { CONTENT_BYTES_MAX = 8 * ANNOUNCE_BYTES_MAX };

slice announce_content(struct arena *arena, slice subject, slice text)
{
    struct buf out;
    buf_init(&out, CONTENT_BYTES_MAX);
    if (subject.len > 0) {
        buf_lit(&out, "<subject>");
        xml_escape_clean(&out, subject);
        buf_lit(&out, "</subject>");
    }
    buf_lit(&out, "<body>");
    xml_escape_clean(&out, text);
    buf_lit(&out, "</body>");
    slice content = slice_dup(arena, buf_slice(&out));
    buf_fini(&out);
    return content;
}

static slice domain_of(slice bare)
{
    slice local, domain;
    return slice_cut(bare, '@', &local, &domain) ? domain : bare;
}

void announce_to(struct worker *w, slice bare, slice content)
{
    route_send(
        w, stanza_make(STANZA_MESSAGE, TYPE_NORMAL, domain_of(bare), bare, (slice){ 0 }, content));
}

struct headline {
    struct arena *arena;
    slice content;
    tour_fn *done;
    void *arg;
};

static void tell_worker(struct worker *w, void *arg)
{
    const struct headline *h = arg;
    struct session *s;
    for (uint32_t i = 0; (s = map_next(&w->sessions, &i)) != NULL;) {
        if (!s->available)
            continue;
        struct stanza *st = stanza_make(STANZA_MESSAGE, TYPE_HEADLINE, domain_of(session_bare(s)),
                                        session_jid(s), (slice){ 0 }, h->content);
        session_deliver(s, st, 0, 0);
        stanza_unref(&st);
    }
}

static void told(struct worker *w, void *arg)
{
    struct headline *h = arg;
    struct arena *arena = h->arena;
    if (h->done != NULL)
        h->done(w, h->arg);
    arena_destroy(&arena);
}

void announce_online(struct worker *w, slice content, tour_fn *done, void *arg)
{
    struct arena *arena = arena_create(0);
    struct headline *h = arena_new(arena, struct headline, 1);
    *h = (struct headline){ arena, slice_dup(arena, content), done, arg };
    node_tour(w, tell_worker, told, h);
}
