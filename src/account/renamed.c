#include "account/renamed.h"
#include "account/account.h"
#include "base/arena.h"
#include "base/ensure.h"
#include "base/mem.h"
#include "core/core.h"
#include "home/here.h"
#include "home/host.h"
#include "home/node.h"
#include "home/remote.h"
#include "home/router.h"
#include "home/texts.h"
#include "presence/directed.h"
#include "presence/presence.h"
#include "presence/roster_account.h"
#include "presence/roster_view.h"
#include "session/session.h"
#include "xmpp/jid.h"
#include "xmpp/stanza.h"

struct renamed_word {
    struct renamed_word *next;
    slice was, to;
};
/* What the clients of an account may list. */
struct renamed_list {
    struct renamed_list *next;
    slice account, names;
};
struct renamed_words {
    struct arena *arena;
    struct renamed_word *first;
    struct renamed_list *lists;
};

static struct renamed_words *renamed_of(struct worker *w)
{
    struct renamed_words *all = core_of(w)->renamed;
    if (all == NULL) {
        all = core_of(w)->renamed = mem_new(struct renamed_words);
        *all = (struct renamed_words){ .arena = arena_create(0) };
    }
    return all;
}

static void renamed_add(struct worker *w, slice was, slice to)
{
    struct renamed_words *all = renamed_of(w);
    struct renamed_word *word = arena_new(all->arena, struct renamed_word, 1);
    *word =
        (struct renamed_word){ all->first, slice_dup(all->arena, was), slice_dup(all->arena, to) };
    all->first = word;
}

void renamed_session(struct session *s, slice was)
{
    struct worker *w = s->account->worker;
    const struct node *n = worker_node(w);
    const bool served = node_serves(n, jid_split(was).domain);
    char text[JID_MAX];
    slice to, parent;
    ensure(session_here(s) && was.len > 0);
    for (struct directed_at at = { 0 };
         s->directed != NULL && directed_next(s->directed, &at, text, &to);) {
        slice domain = jid_split(to).domain;
        if (host_find(n, domain, &parent) != NULL)
            continue;
        if (!remote_expected(w, domain) && (served || node_serves(n, domain)))
            renamed_add(w, was, to);
        directed_remove(&s->directed, to, NULL);
    }
}

/* All sessions of an account were kept by the same stop, so they have the same names. */
void renamed_contacts(const struct session *s, slice names)
{
    struct renamed_words *all = renamed_of(s->account->worker);
    ensure(session_here(s));
    if (!s->interested || (all->lists != NULL && slice_eq(all->lists->account, s->account->jid)))
        return;
    struct renamed_list *list = arena_new(all->arena, struct renamed_list, 1);
    *list = (struct renamed_list){ all->lists, slice_dup(all->arena, s->account->jid),
                                   slice_dup(all->arena, names) };
    all->lists = list;
}

static void renamed_push(struct account *a, slice names)
{
    slice name;
    while (texts_next(&names, &name)) {
        roster_push_shared(a, name);
        if (roster_is_contact(a, name))
            presence_probe(a, name);
    }
}

void renamed_say(struct worker *w)
{
    const struct renamed_words *all = core_of(w)->renamed;
    ensure(worker_is_here(w));
    if (all == NULL)
        return;
    for (const struct renamed_word *word = all->first; word != NULL; word = word->next)
        route_send(w, stanza_make(STANZA_PRESENCE, TYPE_UNAVAILABLE, word->was, word->to,
                                  (slice){ 0 }, (slice){ 0 }));
    for (const struct renamed_list *list = all->lists; list != NULL; list = list->next) {
        struct account *a = account_find(w, list->account);
        if (a != NULL && a->state == ACTOR_READY)
            renamed_push(a, list->names);
    }
    renamed_fini(w);
}

void renamed_fini(struct worker *w)
{
    struct renamed_words *all = core_of(w)->renamed;
    if (all == NULL)
        return;
    arena_destroy(&all->arena);
    mem_free(&core_of(w)->renamed);
}
