/* mdm: multiple device messaging: whether conversations follow users over all their devices, and
 * who is their active client (docs/messaging.md). The copies themselves are message carbons, the
 * quiet mode is client state indication; with mdm.enabled off neither copies anything: messages to
 * a user fork to all clients until one replies, then go to that one only.
 *
 * Limit: FORKS_MAX conversations an account whose replying client is remembered; the oldest is
 * forgotten and forks again. */
#include "account/account.h"
#include "base/buf.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/setting.h"
#include "codec/xml_elem.h"
#include "codec/xml_write.h"
#include "core/feature.h"
#include "ext/ext.h"
#include "session/sessions.h"
#include "xmpp/ns.h"

#define NS_MDM "urn:muster:mdm:0"

enum { FORKS_MAX = 64 };

static struct setting mdm_enabled = {
    .name = "mdm.enabled",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_BOOL,
    .def = 1,
    .doc = "Multiple device messaging: conversations follow a user over all connected clients. "
           "Off: a message goes to all clients of its recipient until one of them replies, then to "
           "that one only, and message carbons are refused.",
};

/* Who replied to whom. */
struct forks {
    struct {
        uint64_t contact; /* hash of the bare JID; 0: none */
        uint64_t session;
    } of[FORKS_MAX];
    uint32_t next;
};
static unsigned slot;

static uint64_t mdm_hash_of(slice contact)
{
    static const struct hash_key key = { 0x666f726b20746f20ull, 0x77686f2073706f6bull };
    return hash_with(&key, contact) | 1;
}

static bool is_conversation(const struct stanza *st)
{
    return st->kind == STANZA_MESSAGE && (st->type == TYPE_CHAT || st->type == TYPE_NORMAL);
}

static void replied(struct account *a, const struct passage *p)
{
    if (setting_bool(&mdm_enabled) || p->way != PASSAGE_SENT || p->session == NULL ||
        !is_conversation(p->st) || !stanza_has(p->st, KNOWN(BODY) | KNOWN(ENCRYPTED)))
        return;
    struct forks *f = a->state_of[slot];
    uint64_t contact = mdm_hash_of(stanza_to_bare(p->st));
    unsigned i = 0;
    if (f == NULL)
        a->state_of[slot] = f = mem_new(struct forks);
    while (i < FORKS_MAX && f->of[i].contact != contact)
        i++;
    if (i == FORKS_MAX)
        i = f->next++ % FORKS_MAX;
    f->of[i].contact = contact;
    f->of[i].session = p->session->id;
}

/* The session that replied to this contact, if it would still get its messages. */
static const struct session *replier(const struct account *a, slice contact)
{
    const struct forks *f = a->state_of[slot];
    uint64_t hash = mdm_hash_of(contact);
    for (unsigned i = 0; f != NULL && i < FORKS_MAX; i++) {
        if (f->of[i].contact != hash)
            continue;
        SESSIONS_EACH (s, a) {
            if (s->id == f->of[i].session)
                return session_gets_messages(s) ? s : NULL;
        }
        return NULL;
    }
    return NULL;
}

static bool takes(const struct session *s, const struct stanza *st)
{
    if (setting_bool(&mdm_enabled) || st->kind != STANZA_MESSAGE)
        return true;
    if (stanza_has(st, KNOWN(CARBON)))
        return false;
    if (!stanza_to_is_bare(st) && slice_eq(stanza_to_bare(st), s->account->jid))
        return slice_eq(stanza_to(st), session_jid(s));
    const struct session *only =
        is_conversation(st) ? replier(s->account, stanza_from_bare(st)) : NULL;
    return only == NULL || only == s;
}

/* XEP-0280 §4: a policy forbids it. */
static enum verdict mdm_check(struct session *s, struct stanza **st, struct refusal *why)
{
    struct elem e;
    (void)s;
    if (setting_bool(&mdm_enabled) || (*st)->kind != STANZA_IQ || (*st)->type != TYPE_SET ||
        !stanza_payload(*st, &e) || !elem_is(&e, "enable", NS_CARBONS))
        return PASS;
    why->error = SE_FORBIDDEN;
    why->text = SLICE("multiple device messaging is turned off here");
    return REFUSE;
}

/* Tells a new session who the active client is, which it cannot know yet. */
static void active_get(struct iq *iq)
{
    const struct session *s = session_active(iq->account);
    struct buf b;
    struct xml_write x;
    xml_begin(&x, &b, XML_PART_MAX);
    xml_open(&x, "active", NS_MDM);
    if (s != NULL)
        xml_attr(&x, "jid", session_jid(s));
    iq_result_xml(iq, &x);
}

static void mdm_unload(struct account *a)
{
    struct forks *f = a->state_of[slot];
    mem_free(&f);
    a->state_of[slot] = NULL;
}

static const struct disco_form mdm_form = {
    NS_MDM,
    (const struct disco_form_field[]){
        { "enabled", &mdm_enabled }, { "active-time", &session_active_time }, { 0 } },
};

static const struct iq_rule mdm_rules[] = {
    { TYPE_GET, NS_MDM, "active", IQ_TO_SELF, active_get },
    { 0 },
};

const struct feature mdm_feature = {
    .name = "mdm",
    .disco_account = (const char *const[]){ NS_MDM, NULL },
    .form = &mdm_form,
    .iq = mdm_rules,
    .settings = (struct setting *const[]){ &mdm_enabled, NULL },
    .account.slot = &slot,
    .account.unload = mdm_unload,
    .stage.check = mdm_check,
    .stage.takes = takes,
    .stage.carbon = replied,
};
