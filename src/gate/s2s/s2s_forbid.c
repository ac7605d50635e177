#include "gate/s2s/s2s_forbid.h"
#include "base/ensure.h"
#include "gate/s2s/s2s_judge.h"
#include "gate/s2s/s2s_partner_private.h"
#include "im/foreign.h"

/* Else its inbox is judged as it is written, or as another partner is given it. */
static bool forbid_may(const struct partner *p)
{
    return p->state != ACTOR_READY && !partner_stopped(p) && !p->diverts;
}

/* The next stored ones of the inbox, behind those that were judged. */
static void forbid_page(struct partner *p, struct outgoing_page *page, struct outgoing_line *lines)
{
    uint32_t passed = 0;
    *page = (struct outgoing_page){ .error = OK, .lines = lines };
    for (const struct actor_item *it = p->actor.inbox; it != NULL && page->count < OUTGOING_PAGE;
         it = it->next) {
        struct s2s_sent s = partner_item(it);
        if (s.id.entry != 0 && passed++ >= p->forbid.judged)
            lines[page->count++] =
                (struct outgoing_line){ .id = s.id, .at_us = s.at_us, .st = s.st };
    }
}

struct forbidden {
    const struct outgoing_page *page;
    const struct edge_word *words;
    unsigned at; /* of the page, whose lines are in the order of the inbox */
};

static bool forbid_takes(struct actor *a, const struct actor_item *item, void *arg)
{
    struct partner *p = partner_of(a);
    struct forbidden *f = arg;
    struct s2s_sent s = partner_item(item);
    unsigned at = f->at;
    ensure(at <= f->page->count);
    while (at < f->page->count && (f->page->lines[at].id.entry != s.id.entry ||
                                   f->page->lines[at].id.sender != s.id.sender))
        at++;
    if (at == f->page->count)
        return false;
    f->at = at + 1;
    if (edge_word_goes(&f->words[at])) {
        p->forbid.judged++;
        return false;
    }
    atomic_fetch_sub(&p->gate->waiting_bytes, s.st->bytes);
    s2s_mail_refuse(&p->mail, &s, &f->words[at]);
    return true;
}

static void forbid_go_on(struct partner *p);

static void forbid_judged(void *arg, const struct outgoing_page *page,
                          const struct edge_word *words)
{
    struct partner *p = arg;
    struct forbidden f = { page, words, 0 };
    p->forbid.judge = NULL;
    if (!forbid_may(p))
        return;
    actor_pin(&p->actor);
    actor_pick(&p->actor, forbid_takes, &f);
    if (p->doubt.inbox > p->actor.inbox_stanzas)
        p->doubt.inbox = p->actor.inbox_stanzas;
    partner_inbox_shrank(p);
    forbid_go_on(p);
    actor_unpin(&p->actor);
}

static void forbid_go_on(struct partner *p)
{
    struct outgoing_line lines[OUTGOING_PAGE];
    struct outgoing_page page;
    ensure(forbid_may(p) && p->forbid.judge == NULL);
    if (p->forbid.version != foreign_version()) { /* all are judged, once more perhaps */
        p->forbid.version = foreign_version();
        p->forbid.judged = 0;
    }
    forbid_page(p, &page, lines);
    if (page.count == 0)
        return;
    struct s2s_judge *judge = s2s_judge_page(p->worker, &page, forbid_judged, p);
    if (judge != NULL)
        p->forbid.judge = judge;
}

bool partner_forbids(struct partner *p)
{
    actor_pin(&p->actor);
    if (forbid_may(p) && p->forbid.judge == NULL && p->forbid.version != foreign_version() &&
        (p->doubt.inbox > 0 || p->doubt.inbox_version != foreign_version()))
        forbid_go_on(p);
    s2s_mail_expire(&p->mail);
    actor_unpin(&p->actor);
    return true;
}
