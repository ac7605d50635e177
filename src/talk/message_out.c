#include "talk/message_out.h"
#include "account/account.h"
#include "account/guest.h"
#include "archive/recent.h"
#include "base/ensure.h"
#include "base/mem.h"
#include "base/setting.h"
#include "home/here.h"
#include "home/router.h"
#include "session/session_wait.h"
#include "talk/message.h"
#include "xmpp/delivery.h"
#include "xmpp/stanza.h"

/* Whether it is stored, and for the first time. A repeat has an entry already, and the sender's
 * other clients know it, unless the first copy was returned. */
static bool is_repeat(struct account *a, const struct stanza *st)
{
    struct loop *loop = worker_loop(a->worker);
    return recent_said(&a->recents, st, recent_origin(st, loop_scratch(loop)), loop_wall_us(loop));
}

/* What one says to oneself has one entry: as received (XEP-0313 §5.1.1). A test that fails leaves
 * nothing behind: it waits for another server in memory only. */
static bool message_keeps_sent(const struct account *a, const struct stanza *st)
{
    return !account_is_guest(a) && !a->removing && setting_bool(&im_durable_ack) &&
           message_storable(st) && !stanza_has(st, KNOWN(TEST)) &&
           !slice_eq(stanza_to_bare(st), a->jid);
}

/* What one says in a room of another server is that room's to archive. Here it is kept until that
 * server has confirmed it. */
static bool message_waits_for_room(const struct account *a, const struct stanza *st)
{
    return st->type == TYPE_GROUPCHAT && message_room_storable(st) && !account_is_guest(a) &&
           !a->removing && setting_bool(&im_durable_ack) && !stanza_has(st, KNOWN(TEST)) &&
           route_is_foreign(a->worker, st);
}

static bool message_is_kept(struct account *a, struct stanza *st, struct origin origin)
{
    return stage_kept(a, &(struct passage){
                             .st = st, .known = st->known, .origin = origin, .way = PASSAGE_SENT });
}

/* s: NULL: no client of the account sends it. archived: by ARCHIVE; not before that is remembered
 * that it was said. */
static unsigned message_send(struct account *a, struct session *s, struct stanza *st,
                             struct origin origin, bool keep, bool archived)
{
    bool again = keep && is_repeat(a, st);
    ensure(account_here(a) && st->kind == STANZA_MESSAGE);
    bool unshown = (keep && !archived && !again && route_is_foreign(a->worker, st)) ||
                   message_waits_for_room(a, st);
    uint64_t entry = keep && archived && !again ? mailbox_mint(a) : 0;
    message_trace("message.sent", st,
                  again        ? "repeated"
                  : entry == 0 ? "not for its sender's archive"
                               : "",
                  0);
    if (!again)
        stage_carbon(a,
                     &(struct passage){ st, st->known, s, entry, ORIGIN_NONE, 0, PASSAGE_SENT, 0 });
    bool more = keep && message_is_kept(a, st, origin);
    unsigned reports = unshown
                           ? route_unshown(a->worker, st, origin, mailbox_mint(a), a->id)
                           : route(a->worker, st, origin, entry, account_is_guest(a) ? 0 : a->id);
    return reports + (unsigned)more;
}

unsigned message_archived(struct session *s, struct stanza *st, struct origin origin, unsigned at,
                          enum verdict v)
{
    bool keep = message_keeps_sent(s->account, st);
    if (v == PASS && keep)
        v = stage_archive(s->account, st, stanza_to(st), &at);
    if (v != WAIT)
        return message_send(s->account, s, st, origin, keep, v == PASS);
    session_wait_ask(
        s, &(struct session_waiting){ .st = st, .archive = true, .at = at, .origin = origin });
    return ROUTE_PENDING;
}

unsigned message_from_session(struct session *s, struct stanza *st, struct origin origin)
{
    return message_archived(s, st, origin, 0, PASS);
}

/* A message in the name of an account waits at ARCHIVE. */
struct named_message {
    struct stage_pause pause;
    struct account *account; /* pinned */
    struct stanza *st;
};

static void named_message_go_on(struct stage_pause *p, enum verdict v, struct stanza *st,
                                const struct refusal *why)
{
    struct named_message *n = CONTAINER_OF(p, struct named_message, pause);
    struct account *a = n->account;
    (void)why;
    ensure(st == NULL && v != REFUSE);
    if (account_stays(a))
        message_send(a, NULL, n->st, ORIGIN_NONE, true, v == PASS);
    else
        stanza_unref(&n->st);
    mem_free(&n);
    account_unpin(a);
}

static void named_message_drop(struct stage_pause *p)
{
    struct named_message *n = CONTAINER_OF(p, struct named_message, pause);
    stanza_unref(&n->st);
    mem_free(&n);
}

void message_in_name(struct account *a, struct stanza *st)
{
    unsigned at = 0;
    bool keep = message_keeps_sent(a, st);
    enum verdict v = keep ? stage_archive(a, st, stanza_to(st), &at) : PASS;
    ensure(account_here(a) && account_stays(a));
    if (v != WAIT) {
        message_send(a, NULL, st, ORIGIN_NONE, keep, v == PASS);
        return;
    }
    struct named_message *n = mem_new(struct named_message);
    n->account = a;
    n->st = st;
    account_pin(a);
    stage_pause_begin(&n->pause, a->worker, named_message_go_on);
    n->pause.drop = named_message_drop;
}
