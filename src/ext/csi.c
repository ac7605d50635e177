/* csi: Client State Indication (XEP-0352), which is also the quiet mode of multiple device
 * messaging: while its client is in the background, a session is paused (session/session.h) and
 * what comes for it is sorted here into what goes out at once, with all that waits before it, what
 * waits, and what nobody misses. It ends with <active/>; a resumed stream begins active.
 *
 * What flushes the buffer in quiet mode: an IQ, a message while the user has no active client on
 * another device (session_active()), and the buffer limit session.pause-buffer. */
#include "account/account.h"
#include "base/arena.h"
#include "base/ensure.h"
#include "base/metric.h"
#include "base/setting.h"
#include "base/word.h"
#include "codec/xml_elem.h"
#include "core/audience.h"
#include "core/feature.h"
#include "ext/ext.h"
#include "home/here.h"
#include "session/session_queue.h"
#include "session/sessions.h"
#include "xmpp/ns.h"

#define NS_CSI       "urn:xmpp:csi:0"
#define NS_REFERENCE "urn:xmpp:reference:0"

enum { MESSAGES_BY_ACTIVITY, MESSAGES_AT_ONCE, MESSAGES_HOLD };
static const char *const message_choices[] = { "active-elsewhere", "at-once", "hold", NULL };
enum { ROOMS_BY_MENTION, ROOMS_AS_MESSAGES, ROOMS_HOLD };
static const char *const room_choices[] = { "mentions", "as-messages", "hold", NULL };
static const char *const presence_choices[] = { "hold", "at-once", NULL };
static const char *const state_choices[] = { "drop", "hold", "at-once", NULL };

static struct setting csi_messages = {
    .name = "csi.messages",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_CHOICE,
    .choices = message_choices,
    .doc = "Messages with content for a client that is in the background (XEP-0352, quiet mode of "
           "multiple device messaging): they wait while the user has an active client on another "
           "device, or are sent at once, or always wait.",
};
static struct setting csi_rooms = {
    .name = "csi.rooms",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_CHOICE,
    .choices = room_choices,
    .doc = "Messages of rooms for a client that is in the background. mentions: csi.messages "
           "applies to messages that contain the user's nickname or mention them (XEP-0372), the "
           "others wait. as-messages: csi.messages applies to all. hold: all wait.",
};
static struct setting csi_presence = {
    .name = "csi.presence",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_CHOICE,
    .choices = presence_choices,
    .doc = "Presence for a client that is in the background: the last of each contact waits, or it "
           "is sent at once.",
};
static struct setting csi_chat_states = {
    .name = "csi.chat-states",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_CHOICE,
    .choices = state_choices,
    .doc = "Typing notifications (XEP-0085) for a client that is in the background: they are "
           "dropped, wait, or are sent at once.",
};
static struct metric quiet_sessions = {
    .name = "muster_mdm_quiet_mode_sessions",
    .kind = METRIC_GAUGE,
    .help = "Sessions whose client is in the background.",
    .also = "MDMQuietModeSessions",
};
static struct metric silent_sessions = {
    .name = "muster_mdm_silent_mode_sessions",
    .kind = METRIC_GAUGE,
    .help = "Those of them for which stanzas have been kept back since anything was last sent.",
    .also = "MDMSilentModeSessions",
};

/* Bits in the slot of a session. */
enum { QUIET = 1, SILENT = 2 };
static unsigned slot;

static void set_bits(struct session *s, uintptr_t bits)
{
    ensure(session_here(s) && bits <= (QUIET | SILENT));
    uintptr_t was = (uintptr_t)s->state_of[slot];
    metric_add(&quiet_sessions, (int64_t)(bits & QUIET) - (int64_t)(was & QUIET));
    metric_add(&silent_sessions, (int64_t)(bits >> 1) - (int64_t)(was >> 1));
    s->state_of[slot] = (void *)bits;
}

static void inactive(struct session *s)
{
    if (s->state_of[slot] == NULL)
        set_bits(s, QUIET);
    session_pause(s, PAUSE_QUIET);
}

static void active(struct session *s)
{
    set_bits(s, 0);
    session_unpause(s, PAUSE_QUIET);
}

static void inactive_inline(struct session *s, const struct elem *e, struct buf *bound)
{
    (void)e;
    (void)bound;
    inactive(s);
}

static void csi_forget(struct session *s) { set_bits(s, 0); }

/* How important a message is to a user who does not look at the client. */
enum { CONTENT = 1, CALL = 2, STATE = 4, OTHER = 8 };

static unsigned csi_kind_of(const struct elem *e)
{
    static const char *const content[] = { "body", "encrypted", "openpgp", "error" };
    if (slice_is(e->ns_uri, NS_CHAT_STATES))
        return STATE;
    if (slice_is(e->ns_uri, NS_JINGLE_MESSAGE))
        return CALL;
    if (slice_is(e->ns_uri, NS_HINTS) || slice_is(e->ns_uri, NS_SID) || slice_is(e->name, "thread"))
        return 0;
    for (size_t i = 0; i < sizeof content / sizeof *content; i++)
        if (slice_is(e->name, content[i]))
            return CONTENT;
    if (slice_is(e->ns_uri, NS_MUC_USER) || slice_is(e->ns_uri, NS_OOB))
        return CONTENT;
    return OTHER;
}

static unsigned kinds_of_copy(const struct stanza *st)
{
    struct elem copy, forwarded, message, e;
    unsigned kinds = 0;
    if (!stanza_child(st, KNOWN_CARBON, &copy) ||
        !elem_child(&copy, "forwarded", NS_FORWARD, &forwarded) ||
        !elem_child(&forwarded, "message", NS_CLIENT, &message))
        return CONTENT;
    for (bool more = elem_first(&message, &e); more; more = elem_next(&e, &e))
        kinds |= csi_kind_of(&e);
    return kinds;
}

static unsigned kinds_of(const struct stanza *st)
{
    unsigned kinds = 0;
    if (stanza_has(st, KNOWN(CARBON)))
        return kinds_of_copy(st);
    for (unsigned i = 0; i < st->child_count; i++) {
        struct elem e;
        if (elem_parse_within(&e, (slice){ st->content + st->child[i].at, st->child[i].len },
                              SLICE(NS_CLIENT), (slice){ st->other, st->other_len }))
            kinds |= csi_kind_of(&e);
    }
    return kinds;
}

static enum hold of_content(const struct session *s)
{
    switch (setting_int(&csi_messages)) {
    case MESSAGES_AT_ONCE:
        return HOLD_SEND;
    case MESSAGES_HOLD:
        return HOLD_KEEP;
    default: /* a quiet session is not the active one */
        return session_active(s->account) != NULL ? HOLD_KEEP : HOLD_SEND;
    }
}

/* XEP-0372 §3.2: by the real address, or by that in the room. */
static bool csi_mentions(const struct session *s, slice occupant, const struct elem *e,
                         struct arena *tmp)
{
    slice uri = elem_attr(e, "uri", tmp), jid;
    if (!elem_is(e, "reference", NS_REFERENCE) || !slice_is(elem_attr_raw(e, "type"), "mention") ||
        !slice_starts(uri, SLICE("xmpp:")))
        return false;
    slice_cut(slice_from(uri, 5), '?', &jid, &uri);
    return slice_eq_nocase(jid, session_bare(s)) || slice_eq(jid, occupant);
}

/* Where nothing is known of the room (of another server), all messages may be for the user. */
static bool is_for_user(const struct session *s, const struct stanza *st)
{
    slice room = stanza_from_bare(st), nick = audience_nick(s, room);
    struct arena *tmp = loop_scratch(worker_loop(s->account->worker));
    struct elem e;
    if (nick.len == 0 || word_is_in(stanza_child_text(st, KNOWN_BODY, tmp), nick, tmp))
        return true;
    slice occupant = slice_of(arena_printf(tmp, "%.*s/%.*s", SLICE_ARG(room), SLICE_ARG(nick)));
    return stanza_find(st, "reference", NS_REFERENCE, &e) && csi_mentions(s, occupant, &e, tmp);
}

static enum hold of_room(const struct session *s, const struct stanza *st)
{
    int64_t rooms = setting_int(&csi_rooms);
    if (rooms == ROOMS_AS_MESSAGES || (rooms == ROOMS_BY_MENTION && is_for_user(s, st)))
        return of_content(s);
    return HOLD_KEEP;
}

static enum hold of_message(const struct session *s, const struct stanza *st)
{
    static const enum hold of_states[] = { HOLD_DROP, HOLD_KEEP, HOLD_SEND };
    unsigned kinds = kinds_of(st);
    if (st->type == TYPE_GROUPCHAT && stanza_has(st, KNOWN(SUBJECT)) &&
        !stanza_has(st, KNOWN(BODY)))
        return HOLD_SEND; /* the last of what is sent to who enters a room (XEP-0045 §7.2.15) */
    if ((kinds & CALL) != 0)
        return HOLD_SEND; /* it rings on all devices, now */
    if ((kinds & CONTENT) != 0)
        return st->type == TYPE_GROUPCHAT ? of_room(s, st) : of_content(s);
    if (kinds == STATE)
        return of_states[setting_int(&csi_chat_states)];
    return HOLD_KEEP;
}

/* The client's own presence in a room (XEP-0045 §7.2.2): it waits for that, in the background too,
 * when it enters its rooms again behind a reconnection. */
static bool is_own_place(const struct stanza *st)
{
    struct elem x, e;
    if (!stanza_child(st, KNOWN_MUC_USER, &x))
        return false;
    for (bool more = elem_first(&x, &e); more; more = elem_next(&e, &e))
        if (slice_is(e.name, "status") && slice_is(elem_attr_raw(&e, "code"), "110"))
            return true;
    return false;
}

static enum hold rule(const struct session *s, const struct stanza *st)
{
    if (st->kind == STANZA_MESSAGE)
        return of_message(s, st);
    if (st->kind != STANZA_PRESENCE)
        return HOLD_SEND;
    if (st->type == TYPE_ERROR || is_own_place(st))
        return HOLD_SEND;
    if (st->type > TYPE_UNAVAILABLE) /* somebody asks to subscribe */
        return of_content(s);
    return setting_int(&csi_presence) == 0 ? HOLD_KEEP : HOLD_SEND;
}

/* With this one all that waits is sent. */
static bool csi_is_last(const struct session *s)
{
    return session_queue_unsent(s) + 1 >= setting_int(&session_pause_buffer);
}

static enum hold hold(struct session *s, const struct stanza *st)
{
    enum hold h = rule(s, st);
    if (h != HOLD_DROP)
        set_bits(s, h == HOLD_KEEP && !csi_is_last(s) ? QUIET | SILENT : QUIET);
    return h;
}

const struct feature csi_feature = {
    .name = "csi",
    .stream_feature = "<csi xmlns='" NS_CSI "'/>",
    .nonzas = (const struct nonza[]){ { NONZA_CSI_ACTIVE, NS_CSI, "active", active },
                                      { NONZA_CSI_INACTIVE, NS_CSI, "inactive", inactive },
                                      { 0 } },
    .bind2 = (const struct bind2_rule[]){ { NS_CSI, "inactive", inactive_inline, NULL }, { 0 } },
    .xeps =
        (const struct xep[]){
            { "0352", "0.2", "Client State Indication", "0.1.0", "stream/test_csi", NULL }, { 0 } },
    .settings = (struct setting *const[]){ &csi_messages, &csi_rooms, &csi_presence,
                                           &csi_chat_states, NULL },
    .metrics = (struct metric *const[]){ &quiet_sessions, &silent_sessions, NULL },
    .session.slot = &slot,
    .session.resumed = csi_forget,
    .session.freed = csi_forget,
    .stage.hold = hold,
};
