/* sift: Stanza Interception and Filtering Technology (XEP-0273): a session says which stanzas it
 * does not want. What it does not take is treated as if the session were not there: messages go to
 * the others or wait, requests are answered by the server, presence is asked for again later.
 * Answers to its own requests and errors always pass.
 *
 * State of the session, made on demand, kept across resumption and planned restarts. Limits:
 * SIFT_BYTES_MAX of a request, ALLOW_MAX payloads in it. */
#include "account/account.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "base/mem.h"
#include "codec/xml_elem.h"
#include "core/feature.h"
#include "ext/ext.h"
#include "home/here.h"
#include "presence/presence.h"
#include "talk/offline.h"

#define NS_SIFT "urn:xmpp:sift:1"

enum { SIFT_BYTES_MAX = 8192, ALLOW_MAX = 64, ARENA_BYTES = 512 };
enum sift_sender { SENDER_ALL, SENDER_LOCAL, SENDER_OTHERS, SENDER_REMOTE, SENDER_SELF };
enum sift_recipient { RECIPIENT_ALL, RECIPIENT_BARE, RECIPIENT_FULL };

static const char *const kinds[] = {
    [STANZA_MESSAGE] = "message", [STANZA_PRESENCE] = "presence", [STANZA_IQ] = "iq"
};
enum { KINDS = sizeof kinds / sizeof kinds[0] };
static const char *const senders[] = { "all", "local", "others", "remote", "self", NULL };
static const char *const recipients[] = { "all", "bare", "full", NULL };

struct sift_kind {
    bool on;
    uint8_t sender, recipient;
    uint8_t first, count; /* of sift.allow: payloads that pass; at most ALLOW_MAX */
};
struct sift_allow {
    const char *name, *ns;
};
struct sift {
    struct arena *arena; /* of all of it */
    struct sift_kind kind[KINDS];
    struct sift_allow *allow;
    slice xml; /* the request, for a planned restart */
};

static unsigned slot;

static struct sift *sift_of(const struct session *s) { return s->state_of[slot]; }

static void sift_freed(struct session *s)
{
    struct sift *sift = sift_of(s);
    s->state_of[slot] = NULL;
    if (sift != NULL)
        arena_destroy(&(struct arena *){ sift->arena });
}

/* Sifting (§3.3). */

static bool sender_matches(const struct session *s, const struct stanza *st, unsigned sender)
{
    struct jid from = jid_split(stanza_from(st)), own = jid_split(session_jid(s));
    bool self = slice_eq(jid_bare(&from), session_bare(s));
    bool local = slice_eq(from.domain, own.domain);
    switch ((enum sift_sender)sender) {
    case SENDER_LOCAL:
        return local;
    case SENDER_OTHERS:
        return !self;
    case SENDER_REMOTE:
        return !local;
    case SENDER_SELF:
        return self;
    default:
        return true;
    }
}

/* A broadcast has no `to`: it is for the account. */
static bool recipient_matches(const struct stanza *st, unsigned recipient)
{
    return recipient == RECIPIENT_ALL || stanza_to_is_bare(st) == (recipient == RECIPIENT_BARE);
}

static bool is_allowed(const struct sift *sift, const struct sift_kind *k, const struct stanza *st)
{
    struct elem payload;
    for (unsigned i = k->first; i < k->first + (unsigned)k->count; i++)
        if (stanza_find(st, sift->allow[i].name, sift->allow[i].ns, &payload))
            return true;
    return false;
}

/* What sifting is about: messages, notifications of presence, requests. */
static bool is_sifted(const struct stanza *st)
{
    if (st->kind == STANZA_IQ)
        return stanza_is_request(st);
    if (st->kind == STANZA_PRESENCE)
        return st->type == TYPE_AVAILABLE || st->type == TYPE_UNAVAILABLE;
    return st->type != TYPE_ERROR;
}

static bool sift_takes(const struct session *s, const struct stanza *st)
{
    const struct sift *sift = sift_of(s);
    if (sift == NULL || st->from_len == 0 || st->kind >= KINDS || !is_sifted(st))
        return true;
    const struct sift_kind *k = &sift->kind[st->kind];
    return !k->on || !sender_matches(s, st, k->sender) || !recipient_matches(st, k->recipient) ||
           is_allowed(sift, k, st);
}

/* Requests. */

/* Index of an attribute's value among the names, 0 where it is absent; -1: unknown. */
static int choice(const struct elem *e, const char *attr, const char *const *names,
                  struct arena *tmp)
{
    slice value = elem_attr(e, attr, tmp);
    if (value.ptr == NULL)
        return 0;
    for (int i = 0; names[i] != NULL; i++)
        if (slice_is(value, names[i]))
            return i;
    return -1;
}

static enum stanza_error parse_kind(struct sift *sift, const struct elem *e, struct sift_kind *k,
                                    unsigned *allowed)
{
    struct arena *arena = sift->arena;
    struct elem child;
    int sender = choice(e, "sender", senders, arena);
    int recipient = choice(e, "recipient", recipients, arena);
    if (k->on || sender < 0 || recipient < 0)
        return SE_BAD_REQUEST;
    *k = (struct sift_kind){ .on = true,
                             .sender = (uint8_t)sender,
                             .recipient = (uint8_t)recipient,
                             .first = (uint8_t)*allowed };
    for (bool any = elem_first(e, &child); any; any = elem_next(&child, &child)) {
        if (!elem_is(&child, "allow", NS_SIFT)) /* matching beyond §3.1.4 */
            return SE_FEATURE_NOT_IMPLEMENTED;
        slice name = elem_attr(&child, "name", arena), ns = elem_attr(&child, "ns", arena);
        if (name.len == 0 || ns.len == 0)
            return SE_BAD_REQUEST;
        if (*allowed == ALLOW_MAX)
            return SE_NOT_ACCEPTABLE;
        sift->allow[(*allowed)++] =
            (struct sift_allow){ slice_cstr(arena, name), slice_cstr(arena, ns) };
        k->count++;
    }
    return SE_NONE;
}

static enum stanza_error sift_parse(struct sift *sift, const struct elem *request)
{
    struct elem child;
    unsigned allowed = 0;
    sift->allow = arena_new(sift->arena, struct sift_allow, ALLOW_MAX);
    for (bool any = elem_first(request, &child); any; any = elem_next(&child, &child)) {
        unsigned i = 0;
        while (i < KINDS && !elem_is(&child, kinds[i], NS_SIFT))
            i++;
        if (i == KINDS)
            return SE_BAD_REQUEST;
        enum stanza_error e = parse_kind(sift, &child, &sift->kind[i], &allowed);
        if (e != SE_NONE)
            return e;
    }
    return SE_NONE;
}

/* NULL: `error` says why. */
static struct sift *sift_new(const struct elem *request, enum stanza_error *error)
{
    struct arena *arena = arena_create(ARENA_BYTES);
    struct sift *sift = arena_new(arena, struct sift, 1);
    struct buf xml;
    sift->arena = arena;
    buf_init(&xml, SIFT_BYTES_MAX);
    elem_extract(request, &xml);
    *error = xml.overflow ? SE_NOT_ACCEPTABLE : sift_parse(sift, request);
    sift->xml = slice_dup(arena, buf_slice(&xml));
    buf_fini(&xml);
    if (*error == SE_NONE)
        return sift;
    arena_destroy(&arena);
    return NULL;
}

static bool sifts(const struct sift *sift, enum stanza_kind kind)
{
    return sift != NULL && sift->kind[kind].on;
}

/* §4: sends the state that was held back meanwhile. */
static void sift_catch_up(struct session *s, bool messages, bool presence)
{
    ensure(session_here(s));
    if (presence)
        presence_resync(s);
    if (messages)
        offline_priority_changed(s);
}

static void sift_set(struct iq *iq)
{
    struct session *s = iq->session;
    enum stanza_error error;
    struct elem child;
    if (s == NULL) {
        iq_error(iq, SE_UNEXPECTED_REQUEST, SLICE("sifting belongs to a session"));
        return;
    }
    bool messages = sifts(sift_of(s), STANZA_MESSAGE),
         presence = sifts(sift_of(s), STANZA_PRESENCE);
    struct sift *sift = sift_new(&iq->payload, &error);
    if (sift == NULL) {
        iq_error(iq, error, (slice){ 0 });
        return;
    }
    sift_freed(s);
    s->state_of[slot] = sift;
    if (!elem_first(&iq->payload, &child)) /* §3.4: none at all */
        sift_freed(s);
    iq_result(iq, (slice){ 0 });
    sift_catch_up(s, messages, presence);
}

static void sift_save(const struct session *s, struct buf *out)
{
    ensure(session_here(s));
    if (sift_of(s) != NULL)
        buf_add(out, sift_of(s)->xml);
}

static void sift_restore(struct session *s, slice saved)
{
    struct elem request;
    enum stanza_error error;
    if (elem_parse(&request, saved, SLICE("")) && elem_is(&request, "sift", NS_SIFT))
        s->state_of[slot] = sift_new(&request, &error);
}

static const struct iq_rule sift_rules[] = {
    { TYPE_SET, NS_SIFT, "sift", IQ_TO_SELF, sift_set },
    { 0 },
};
static const char *const sift_disco[] = {
    NS_SIFT,
    "urn:xmpp:sift:stanzas:iq",
    "urn:xmpp:sift:stanzas:message",
    "urn:xmpp:sift:stanzas:presence",
    "urn:xmpp:sift:senders:all",
    "urn:xmpp:sift:senders:local",
    "urn:xmpp:sift:senders:others",
    "urn:xmpp:sift:senders:remote",
    "urn:xmpp:sift:senders:self",
    "urn:xmpp:sift:recipients:all",
    "urn:xmpp:sift:recipients:bare",
    "urn:xmpp:sift:recipients:full",
    "urn:xmpp:sift:payloads:qname",
    NULL,
};
static const struct xep sift_xeps[] = {
    { "0273", "0.3", "Stanza Interception and Filtering Technology (SIFT)", "0.1.0", "im/test_sift",
      NULL },
    { 0 },
};

const struct feature sift_feature = {
    .name = "sift",
    .disco = sift_disco,
    .iq = sift_rules,
    .xeps = sift_xeps,
    .session.slot = &slot,
    .session.freed = sift_freed,
    .session.save = sift_save,
    .session.restore = sift_restore,
    .stage.takes = sift_takes,
};
