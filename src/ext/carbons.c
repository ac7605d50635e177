/* carbons: Message Carbons (XEP-0280): a client that asked for it gets a copy of every message of a
 * conversation that another client of its user sends or receives. Under multiple device messaging
 * these are the clients that take part.
 *
 * A copy is built once and shared by all who get it. If the client that the message was addressed
 * to never takes it, the clients with a copy are not given it again, and others are
 * (session_deliver_carbon). A client that is not there any more finds the message in the archive,
 * by the id that the copy has inside.
 *
 * Limit: COPIED_MAX sent messages an account are remembered, so that errors which answer them are
 * copied and others are not (§6.1). */
#include "account/account.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/metric.h"
#include "base/setting.h"
#include "codec/xml_elem.h"
#include "codec/xml_write.h"
#include "core/feature.h"
#include "ext/ext.h"
#include "home/here.h"
#include "home/trail.h"
#include "session/session_queue.h"
#include "xmpp/ns.h"

#define NS_CARBONS_RULES "urn:xmpp:carbons:rules:0"
#define NS_CONFERENCE    "jabber:x:conference"

enum { COPIED_MAX = 32 };

static struct setting plain_clients = {
    .name = "mdm.plain-clients",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_BOOL,
    .doc = "A message to one client of a user is also sent to the user's clients that do not "
           "support message carbons (XEP-0280).",
};
static struct metric mdm_sessions = {
    .name = "muster_mdm_sessions",
    .kind = METRIC_GAUGE,
    .help = "Sessions that get copies of what the user's other clients send and receive.",
    .also = "MDMSessions",
};
static struct metric copies = { .name = "muster_carbons",
                                .kind = METRIC_COUNTER,
                                .help = "Copies of messages given to other clients (XEP-0280)." };

/* What an account sent with copies, as hashes of addressee and id; NULL: nothing yet. */
struct copied {
    uint64_t seen[COPIED_MAX];
    uint32_t next;
};

static unsigned session_slot, account_slot;
static char on; /* the slot of a session that wants copies points here */

static bool wants(const struct session *s) { return s->state_of[session_slot] == &on; }

static void carbons_enable(struct session *s)
{
    ensure(session_here(s));
    if (!wants(s))
        metric_add(&mdm_sessions, 1);
    s->state_of[session_slot] = &on;
}

static void carbons_disable(struct session *s)
{
    ensure(session_here(s));
    if (wants(s))
        metric_add(&mdm_sessions, -1);
    s->state_of[session_slot] = NULL;
}

/* §4, §5: again is no error. */
static void turn(struct iq *iq)
{
    if (iq->target != IQ_TO_SELF || iq->session == NULL) {
        iq_error(iq, SE_NOT_ALLOWED, SLICE("a client may ask for its own copies only"));
        return;
    }
    if (slice_is(iq->payload.name, "enable"))
        carbons_enable(iq->session);
    else
        carbons_disable(iq->session);
    iq_result(iq, (slice){ 0 });
}

/* Inline in <bind/> (XEP-0386); whether it worked is not told. */
static void turn_inline(struct session *s, const struct elem *e, struct buf *bound)
{
    (void)e;
    (void)bound;
    carbons_enable(s);
}

/* §6.1: which messages. */

static uint64_t carbons_hash_of(slice jid, slice id)
{
    static const struct hash_key key = { 0x636172626f6e7331ull, 0x6572726f72736f66ull };
    return hash_with(&key, jid) * 31 + hash_with(&key, id);
}

static void carbons_remember(struct account *a, const struct stanza *st)
{
    struct copied *c = a->state_of[account_slot];
    ensure(account_here(a));
    if (st->id_len == 0)
        return;
    if (c == NULL)
        a->state_of[account_slot] = c = mem_new(struct copied);
    c->seen[c->next++ % COPIED_MAX] = carbons_hash_of(stanza_to(st), stanza_id(st));
}

static bool answers_copied(const struct account *a, const struct stanza *st)
{
    const struct copied *c = a->state_of[account_slot];
    uint64_t hash = carbons_hash_of(stanza_from(st), stanza_id(st));
    for (unsigned i = 0; c != NULL && st->id_len > 0 && i < COPIED_MAX; i++)
        if (c->seen[i] == hash)
            return true;
    return false;
}

static bool is_invitation(const struct stanza *st)
{
    struct elem x, invite;
    if (stanza_child(st, KNOWN_MUC_USER, &x) && elem_child(&x, "invite", NS_MUC_USER, &invite))
        return true;
    return stanza_has(st, KNOWN(PAYLOAD)) && stanza_find(st, "x", NS_CONFERENCE, &x);
}

/* Calls (XEP-0353 §3) are told to all devices. */
static bool is_call(const struct stanza *st)
{
    struct elem e;
    for (unsigned i = 0; stanza_has(st, KNOWN(PAYLOAD)) && i < st->child_count; i++)
        if (st->child[i].known == KNOWN_PAYLOAD &&
            elem_parse_within(&e, (slice){ st->content + st->child[i].at, st->child[i].len },
                              SLICE(NS_CLIENT), (slice){ st->other, st->other_len }) &&
            slice_is(e.ns_uri, NS_JINGLE_MESSAGE))
            return true;
    return false;
}

static bool is_eligible(const struct account *a, const struct passage *p)
{
    const uint64_t talk = KNOWN(BODY) | KNOWN(CHAT_STATE) | KNOWN(RECEIPT) |
                          KNOWN(RECEIPT_REQUEST) | KNOWN(MARKER) | KNOWN(MARKABLE) |
                          KNOWN(ENCRYPTED) | KNOWN(STORE);
    const struct stanza *st = p->st;
    if ((p->known & (KNOWN(PRIVATE) | KNOWN(NO_COPY) | KNOWN(CARBON))) != 0)
        return false;
    if (st->type == TYPE_ERROR)
        return p->way == PASSAGE_RECEIVED && answers_copied(a, st);
    if (st->type != TYPE_CHAT && st->type != TYPE_NORMAL)
        return false;
    if (stanza_has(st, KNOWN(MUC_USER)) && p->way == PASSAGE_RECEIVED)
        return is_invitation(st); /* a room tells all clients that are in it itself */
    return st->type == TYPE_CHAT || stanza_has(st, talk) || is_call(st) || is_invitation(st);
}

/* §7, §8. */
static struct stanza *copy_of(const struct account *a, const struct passage *p)
{
    const char *name = p->way == PASSAGE_SENT ? "sent" : "received";
    bool told = p->archive_id != 0 && !mailbox_hides(a, p->archive_id);
    struct stanza_note note = { .archive_id = p->archive_id, .by = a->jid };
    struct buf b;
    struct xml_write x;
    xml_begin(&x, &b, XML_STANZA_MAX);
    xml_open(&x, name, NS_CARBONS);
    xml_open(&x, "forwarded", NS_FORWARD);
    stanza_forward(xml_content(&x), p->st, told ? &note : NULL);
    xml_close_all(&x);
    return stanza_make_buf(STANZA_MESSAGE, (enum stanza_type)p->st->type, a->jid, a->jid,
                           (slice){ 0 }, &b);
}

/* By the rules of RFC 6121 §8.5.2. */
static bool carbons_receives(const struct session *s, const struct stanza *st)
{
    return session_gets_messages(s) && stage_takes(s, st);
}

static bool lacks(const struct session *s, const struct passage *p)
{
    if (s == p->session)
        return false;
    if (p->way == PASSAGE_SENT)
        return true;
    return stage_takes(s, p->st) && (p->session != NULL || !carbons_receives(s, p->st));
}

static void copy_to_others(struct account *a, const struct passage *p)
{
    struct stanza *copy = NULL;
    unsigned count = 0;
    ensure(account_here(a));
    SESSIONS_EACH (s, a) {
        if (!wants(s) || !lacks(s, p))
            continue;
        if (copy == NULL && (copy = copy_of(a, p)) == NULL)
            break;
        if (!stage_takes(s, copy))
            continue;
        if (p->way == PASSAGE_RECEIVED)
            session_deliver_carbon(s, copy, session_jid(s), p->archive_id);
        else
            session_deliver_to(s, copy, session_jid(s));
        trail_note(p->st, "copied", "carbon", session_jid(s)); /* the copy itself has no id */
        count++;
    }
    if (count > 0 && p->way == PASSAGE_SENT)
        carbons_remember(a, p->st);
    if (copy != NULL)
        metric_add(&copies, count);
    stanza_unref(&copy);
}

static void give_to_plain(struct account *a, const struct passage *p)
{
    SESSIONS_EACH (s, a) {
        if (s != p->session && !wants(s) && carbons_receives(s, p->st))
            session_deliver_carbon(s, p->st, a->jid, p->archive_id);
    }
}

/* A fast test for each message, whether any session may need a copy. A single session needs one if
 * its priority is negative and the message is for the bare address. */
static bool has_others(const struct account *a, const struct passage *p)
{
    const struct session *only = session_next(a, NULL);
    if (only == NULL)
        return false;
    if (session_next(a, only) != NULL)
        return true;
    return only != p->session && (p->way == PASSAGE_SENT || !session_gets_messages(only));
}

static void carbons_passed(struct account *a, const struct passage *p)
{
    bool to_oneself = slice_eq(stanza_to_bare(p->st), stanza_from_bare(p->st));
    if ((p->way == PASSAGE_SENT && to_oneself) || !has_others(a, p) || !is_eligible(a, p))
        return; /* note to oneself: the message itself comes to all */
    copy_to_others(a, p);
    if (p->way == PASSAGE_RECEIVED && p->session != NULL && setting_bool(&plain_clients))
        give_to_plain(a, p);
}

/* Events. */

static void carbons_unload(struct account *a)
{
    struct copied *c = a->state_of[account_slot];
    mem_free(&c);
    a->state_of[account_slot] = NULL;
}

static void carbons_save(const struct session *s, struct buf *out)
{
    if (wants(s))
        buf_lit(out, "on");
}

static void carbons_restore(struct session *s, slice saved)
{
    if (slice_is(saved, "on"))
        carbons_enable(s);
}

enum { ANYBODY = IQ_TO_SELF | IQ_TO_ACCOUNT | IQ_TO_SERVER };

static const struct iq_rule carbons_rules[] = {
    { TYPE_SET, NS_CARBONS, "enable", ANYBODY, turn },
    { TYPE_SET, NS_CARBONS, "disable", ANYBODY, turn },
    { 0 },
};

const struct feature carbons_feature = {
    .name = "carbons",
    .disco = (const char *const[]){ NS_CARBONS, NS_CARBONS_RULES, NULL },
    .iq = carbons_rules,
    .bind2 = (const struct bind2_rule[]){ { NS_CARBONS, "enable", turn_inline, NULL }, { 0 } },
    .xeps =
        (const struct xep[]){ { "0280", "0.11.0", "Message Carbons", "0.1.0", "im/test_carbons",
                                "which messages: as urn:xmpp:carbons:rules:0 of later versions" },
                              { 0 } },
    .settings = (struct setting *const[]){ &plain_clients, NULL },
    .metrics = (struct metric *const[]){ &mdm_sessions, &copies, NULL },
    .account.slot = &account_slot,
    .session.slot = &session_slot,
    .account.unload = carbons_unload,
    .session.freed = carbons_disable,
    .session.save = carbons_save,
    .session.restore = carbons_restore,
    .stage.carbon = carbons_passed,
};
