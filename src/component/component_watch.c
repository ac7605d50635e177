#include "component/component_watch.h"
#include "account/account.h"
#include "base/ensure.h"
#include "base/hash.h"
#include "base/mem.h"
#include "bus/bus.h"
#include "component/component_rights.h"
#include "core/feature.h"
#include "home/message.h"
#include "home/node.h"
#include "home/remote.h"
#include "home/router.h"
#include "presence/roster.h"
#include "presence/roster_view.h"
#include "session/sessions.h"
#include "xmpp/jid.h"

/* Nobody waits for a component that is not there: its presence comes when it does. */
static void watch_send(struct worker *w, const struct stanza *st, slice component)
{
    if (remote_known(w, component))
        route_send(w, stanza_readdress(st, (slice){ 0 }, component));
}

static slice watch_host(const struct account *a) { return jid_split(a->jid).domain; }

/* Who is invisible (XEP-0186 §3.1) is that to components, too. */
void component_watch_presence(struct session *s, struct stanza *st)
{
    struct component_rights r;
    slice component;
    if (!component_watchers_any() || s->hidden != SESSION_SHOWN)
        return;
    slice list = component_rights_list(watch_host(s->account));
    while (component_rights_next(&list, &component, &r))
        if (r.presence)
            watch_send(s->account->worker, st, component);
}

void component_watch_roster(struct account *a, const struct stanza *push)
{
    struct component_rights r;
    slice component;
    ensure(account_here(a));
    ensure(push->kind == STANZA_IQ && push->to_len == 0);
    if (!component_watchers_any())
        return;
    slice list = component_rights_list(watch_host(a));
    while (component_rights_next(&list, &component, &r))
        if (r.push && remote_known(a->worker, component))
            route_send(a->worker, stanza_change(push, &(struct stanza_change){ .from = a->jid,
                                                                               .to = component }));
}

/* Presence of contacts. */

/* The presence of a contact that was copied last. Contacts may share an entry by their hashes; then
 * the same presence may be copied again. */
struct heard {
    uint64_t who;  /* hash of the user's domain and the contact, odd; 0: nobody */
    uint64_t what; /* hash of its content; HEARD_GONE: unavailable */
};
enum { HEARD_GONE = 0 };

/* Of a worker; made on demand. */
struct watch_heard {
    struct heard of[WATCH_CONTACTS];
};

unsigned component_watch_slot;

static struct heard *watch_heard_of(struct worker *w, uint64_t who)
{
    struct watch_heard *all = *worker_state(w, component_watch_slot);
    if (all == NULL)
        all = *worker_state(w, component_watch_slot) = mem_zalloc(sizeof *all);
    return &all->of[(who >> 1) % WATCH_CONTACTS];
}

static bool watch_is_presence(const struct stanza *st)
{
    return st->kind == STANZA_PRESENCE && st->type <= TYPE_UNAVAILABLE &&
           !stanza_has(st, KNOWN(MUC_USER));
}

/* Whether the component does not have presence of the contact already: its own users, and users of
 * ours whom it sees anyway. */
static bool watch_is_unseen(const struct worker *w, slice contact, slice component)
{
    struct component_rights theirs;
    slice domain = jid_split(contact).domain;
    return !slice_eq(domain, component) &&
           !(node_serves(worker_node(w), domain) && component_rights(domain, component, &theirs) &&
             theirs.presence);
}

/* Both domains give the same privileges. So a component that sees presence of the user's contacts
 * sees the contact's own presence already. */
static bool watch_has_same_rights(const struct worker *w, slice user, slice contact)
{
    slice host = jid_split(user).domain, domain = jid_split(contact).domain;
    return node_serves(worker_node(w), domain) &&
           slice_eq(component_rights_list(host), component_rights_list(domain));
}

/* Few of those that have the right may be connected, so that is asked first. */
static bool watch_goes_to(const struct worker *w, slice component, const struct component_rights *r,
                          const struct stanza *st)
{
    return r->contacts && remote_known(w, component) &&
           watch_is_unseen(w, stanza_from(st), component);
}

/* The first presence of a new contact comes before the change that lets the account see it is
 * committed. */
static bool watch_is_contact(const struct account *a, slice contact)
{
    const struct roster_item *item = roster_find(a->roster, contact);
    return (item != NULL && sub_state_ask(item->state)) || roster_sees(a, contact);
}

/* Whether this presence is to be copied. Unavailable presence may come because the contact is none
 * any more: then it is copied if the component has seen the contact. */
static bool watch_note(const struct account *a, const struct stanza *st)
{
    uint64_t who = hash_keyed_pair(watch_host(a), stanza_from(st)) | 1;
    uint64_t what =
        st->type == TYPE_UNAVAILABLE ? (uint64_t)HEARD_GONE : hash_keyed(stanza_content(st)) | 1;
    struct heard *h = watch_heard_of(a->worker, who);
    bool known = h->who == who;
    if (!watch_is_contact(a, stanza_from_bare(st)) &&
        (what != HEARD_GONE || !known || h->what == HEARD_GONE))
        return false;
    if (known && h->what == what)
        return false;
    *h = (struct heard){ who, what };
    return true;
}

void component_watch_contact(struct account *a, struct stanza *st)
{
    struct component_rights r;
    slice component;
    ensure(account_here(a));
    if (!component_watch_wants(a->worker, a->jid, st) || !watch_note(a, st))
        return;
    slice list = component_rights_list(watch_host(a));
    while (component_rights_next(&list, &component, &r))
        if (watch_goes_to(a->worker, component, &r, st))
            route_send(a->worker, stanza_readdress(st, (slice){ 0 }, component));
}

bool component_watch_wants(const struct worker *w, slice bare, const struct stanza *st)
{
    struct component_rights r;
    slice component;
    if (!component_watchers_of_contacts() || !watch_is_presence(st) ||
        watch_has_same_rights(w, bare, stanza_from(st)))
        return false;
    slice list = component_rights_list(jid_split(bare).domain);
    while (component_rights_next(&list, &component, &r))
        if (watch_goes_to(w, component, &r, st))
            return true;
    return false;
}

void component_watch_forget(struct worker *w)
{
    struct watch_heard *all = *worker_state(w, component_watch_slot);
    mem_free(&all);
    *worker_state(w, component_watch_slot) = NULL;
}

/* What there is when a component comes. */

static bool watch_asks(const struct session *s, slice component)
{
    struct component_rights r;
    return s->available && s->hidden == SESSION_SHOWN &&
           component_rights(watch_host(s->account), component, &r) && r.contacts;
}

/* By one session of each account: its first that may ask. */
static bool watch_is_asker(const struct session *s, slice component)
{
    if (!watch_asks(s, component))
        return false;
    SESSIONS_EACH (other, s->account)
        if (watch_asks(other, component))
            return other == s;
    return false;
}

static void watch_contacts_begin(struct worker *w, slice component)
{
    const struct session *s;
    slice contact;
    component_watch_forget(w);
    if (!component_watchers_of_contacts())
        return;
    for (uint32_t i = 0; (s = sessions_next(w, &i)) != NULL;) {
        if (!watch_is_asker(s, component))
            continue;
        for (struct roster_at at = { 0 }; roster_next(s->account, ROSTER_SEES, &at, &contact);)
            if (watch_is_unseen(w, contact, component))
                route_send(w, stanza_make(STANZA_PRESENCE, TYPE_PROBE, session_jid(s), contact,
                                          (slice){ 0 }, (slice){ 0 }));
    }
}

struct watch_began {
    slice component;
};

static void watch_began_run(struct worker *w, void *message, const struct message_from *from)
{
    const struct watch_began *m = message;
    struct component_rights r;
    const struct session *s;
    (void)from;
    for (uint32_t i = 0; (s = sessions_next(w, &i)) != NULL;)
        if (s->available && s->hidden == SESSION_SHOWN && s->presence != NULL &&
            component_rights(watch_host(s->account), m->component, &r) && r.presence)
            watch_send(w, s->presence, m->component);
    watch_contacts_begin(w, m->component);
}

static const struct message_field watch_began_fields[] = {
    F_BARE(struct watch_began, component),
    { 0 },
};
const struct message_row component_watches_message = {
    .id = 39,
    .scope = MESSAGE_CLUSTER,
    .name = "component-watches",
    .size = sizeof(struct watch_began),
    .fields = watch_began_fields,
    .run = watch_began_run,
};

void component_watch_begins(struct worker *w, slice component)
{
    uint32_t nodes[BUS_NODES_MAX];
    const struct node *n = worker_node(w);
    if (!component_watchers_any())
        return;
    unsigned count = node_all(n, nodes);
    for (unsigned i = 0; i < count; i++)
        for (unsigned k = 0; k < node_workers(n, nodes[i]); k++)
            home_send_to(w, nodes[i], k, &component_watches_message,
                         &(struct watch_began){ component });
}
