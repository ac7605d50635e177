#include "talk/message.h"
#include "account/account.h"
#include "account/guest.h"
#include "archive/archive.h"
#include "archive/event.h"
#include "archive/recent.h"
#include "archive/sent.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metric.h"
#include "base/setting.h"
#include "codec/xml_write.h"
#include "core/core.h"
#include "core/rows.h"
#include "core/stage.h"
#include "home/here.h"
#include "home/node.h"
#include "home/router.h"
#include "home/ticket.h"
#include "home/trail.h"
#include "presence/roster.h"
#include "remote/foreign.h"
#include "remote/outgoing_answer.h"
#include "session/given.h"
#include "session/session_queue.h"
#include "talk/offline.h"
#include "xmpp/delivery.h"
#include "xmpp/ns.h"

struct setting im_durable_ack = {
    .name = "im.durable-ack",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_BOOL,
    .def = 1,
    .doc =
        "Stores every message before it is acknowledged. Off: messages to connected users are not "
        "stored at all, and an acknowledgement then only means that they were queued; messages to "
        "absent users are stored as before. Users of other servers count as connected, also while "
        "their server is away: when this one stops, what waits for them is lost.",
};
struct setting mailbox_unsettled_max = {
    .name = "mailbox.unsettled-max",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_INT,
    .def = 10000,
    .min = 1,
    .max = 1000000,
    .allow_none = true,
    .unit = "messages",
    .doc = "Messages that may wait for one account. More are refused with resource-constraint.",
};
struct setting mailbox_unsettled_bytes = {
    .name = "mailbox.unsettled-bytes",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_BYTES,
    .def = 128 << 20,
    .min = 64 << 10,
    .max = 1ll << 40,
    .allow_none = true,
    .doc = "How much the messages that wait for one account may take together; each counts 128 "
           "bytes more than its size. More are refused with resource-constraint.",
};
struct setting mailbox_stranger_share = {
    .name = "mailbox.stranger-share",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_INT,
    .def = 10,
    .min = 1,
    .max = 100,
    .unit = "percent",
    .doc =
        "Percentage of mailbox.unsettled-max, and of mailbox.unsettled-bytes, that users who are "
        "not contacts of the account may fill together. Further messages from them are refused, "
        "so that strangers cannot block the messages of contacts. The same part of sm.queue-bytes "
        "is what they may send to a client that reads slowly. 100: contacts and strangers are "
        "treated alike.",
};
struct setting mailbox_tell_strangers = {
    .name = "mailbox.tell-strangers",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_BOOL,
    .def = 1,
    .doc = "Whether users who are not in the recipient's contact list are told by an error that "
           "their message cannot be delivered. On: a user notices that an address was mistyped or "
           "that a mailbox is full, and no message is lost silently. Off: there is no such error, "
           "also to users of other servers, so nobody finds out which addresses exist.",
};
static struct metric messages_in = { .name = "muster_messages_received",
                                     .kind = METRIC_COUNTER,
                                     .history = true,
                                     .help = "Messages that reached the home of their addressee." };
static struct metric messages_stored = { .name = "muster_messages_stored",
                                         .kind = METRIC_COUNTER,
                                         .history = true,
                                         .help = "Messages written to the archive." };
static struct metric messages_refused = { .name = "muster_messages_refused",
                                          .kind = METRIC_COUNTER,
                                          .history = true,
                                          .help = "Messages that were answered with an error." };
struct metric *const message_metrics[] = { &messages_in, &messages_stored, &messages_refused,
                                           &stanza_bytes, NULL };

static struct log_area log_message = { .name = "message" };
struct log_area *const message_logs[] = { &log_message, NULL };

static const char *im_message_type_of(const struct stanza *st)
{
    const char *name = stanza_type_name((enum stanza_type)st->type);
    return name == NULL ? "normal" : name;
}

/* Logs addresses and the outcome, never the text (`musterctl log trace message on`). */
static void im_message_log(const char *event, const struct stanza *st, const char *why,
                           unsigned sessions)
{
    log_trace(&log_message, LOG_C("event", event), LOG_S("from", stanza_from(st)),
              LOG_S("to", stanza_to(st)), LOG_C("type", im_message_type_of(st)),
              LOG_S("id", stanza_id(st)), LOG_C("why", why), LOG_I("sessions", sessions));
}

void message_trace(const char *event, const struct stanza *st, const char *why, unsigned sessions)
{
    im_message_log(event, st, why, sessions);
    trail_note(st, event + sizeof "message." - 1, why, (slice){ 0 });
}

/* A retraction (XEP-0424) and reactions (XEP-0444) say something of an earlier message. What body
 * they have is for clients that do not know them (XEP-0428). */
static bool is_about_another(const struct stanza *st)
{
    struct elem e;
    return stanza_has(st, KNOWN(PAYLOAD)) && (stanza_find(st, "retract", NS_RETRACT, &e) ||
                                              stanza_find(st, "reactions", NS_REACTIONS, &e) ||
                                              stanza_find(st, "apply-to", NS_FASTEN, &e));
}

/* Messages for one account that are on their way to the disk. A store that works takes so many
 * within a second. Beyond, their senders are asked to wait, before the message is shown to anybody.
 */
enum { STORING_MAX = 16384 };

static void storing(struct account *a)
{
    a->storing++;
    account_pin(a);
}

static void storing_end(struct account *a)
{
    ensure(a->storing > 0);
    a->storing--;
    account_unpin(a);
}

/* A message on its way to the disk. */
struct pending {
    struct list node;        /* in the core's `storing` */
    struct account *account; /* storing() */
    struct stanza *st;
    struct origin origin;
    uint64_t archive_id;
    int64_t origin_hash;
    bool sent;   /* the row is the entry of its sender, too */
    bool hidden; /* the addressee does not archive it: it is stored until it is delivered */
};

static void note_archived(const struct pending *p)
{
    if (p->sent)
        trail_note(p->st, "archived", "by its sender", stanza_from_bare(p->st));
    trail_note(p->st, p->hidden ? "stored" : "archived",
               p->hidden ? "until it is delivered" : "by its addressee", p->account->jid);
}

static void pending_end(struct pending *p, enum err e)
{
    if (e != OK) {
        mailbox_settle(p->account, p->archive_id); /* there is nothing to deliver later */
        recent_drop(&p->account->recents,
                    p->origin_hash); /* or its repeat would be taken for a copy */
    }
    list_remove(&p->node);
    stanza_unref(&p->st);
    storing_end(p->account);
    mem_free(&p);
}

void messages_forget(struct worker *w)
{
    struct list *node;
    while ((node = list_pop(&core_of(w)->storing)) != NULL) {
        struct pending *p = CONTAINER_OF(node, struct pending, node);
        stanza_unref(&p->st);
        mem_free(&p);
    }
}

/* It is in the archive; or the owner has it, and where it did not belong there it is gone. */
static bool im_message_arrived(const struct account *a, uint64_t archive_id,
                               const struct store_batch *b)
{
    return store_row_count(b, 0) > 0 || mailbox_state(a, archive_id) == ENTRY_SETTLED;
}

/* However long it took: until then the message is in the mailbox as if it were stored, and its
 * sender hears nothing (architecture §6). */
static void im_message_stored(void *arg, enum store_result result, const struct store_batch *b)
{
    struct pending *p = arg;
    struct worker *w = p->account->worker;
    (void)b;
    if (result != STORE_OK) {
        metric_add(&messages_refused, 1);
        message_trace("message.not-stored", p->st, store_result_name(result), 0);
        route_error(w, p->st, SE_RESOURCE_CONSTRAINT, SLICE("the message could not be stored"));
        ticket_refused(w, p->origin);
    } else {
        note_archived(p);
    }
    if (p->origin.session != 0)
        ticket_done(w, p->origin);
    pending_end(p, err_of_store(result));
}

struct incoming {
    struct stanza *st;
    struct origin origin;
    uint64_t sender_entry, archive_id;
    int64_t sender_id, origin_hash;
    uint64_t known;  /* as it came */
    unsigned at;     /* where ARCHIVE goes on */
    bool unarchived; /* ARCHIVE has said so */
    bool nobody;     /* the account is to look as if it did not exist */
    bool quiet;      /* its addressee would not call it a message */
    bool answers; /* an error for what the account has written (remote/outgoing_answer.h): kept */
};

static unsigned flags_of(const struct account *a, const struct incoming *in)
{
    return ENTRY_OFFLINE | (mailbox_hides(a, in->archive_id) ? ENTRY_HIDDEN : 0u) |
           (in->quiet ? MESSAGE_QUIET : 0u) | archive_kind(in->st);
}

static struct pending *store_message(struct account *a, const struct incoming *in)
{
    struct worker *w = a->worker;
    struct pending *p = mem_alloc(sizeof *p);
    *p = (struct pending){ .account = a,
                           .st = stanza_ref(in->st),
                           .origin = in->origin,
                           .archive_id = in->archive_id,
                           .origin_hash = in->origin_hash,
                           .sent = in->sender_entry != 0,
                           .hidden = mailbox_hides(a, in->archive_id) };
    list_append(&core_of(w)->storing, &p->node);
    if (in->answers)
        outgoing_answer_taken(a, in->st);
    struct buf text;
    buf_init(&text, XML_STANZA_MAX);
    stanza_store(&text, in->st);
    mailbox_weigh(a, in->archive_id, text.len);
    struct store_batch *b = store_write(worker_store(w), account_lane(a));
    archive_add(b, &(struct archive_message){
                       .at_us = loop_wall_us(worker_loop(w)),
                       .sender = in->sender_id,
                       .rcpt = a->id,
                       .sender_entry = in->sender_entry,
                       .rcpt_entry = in->archive_id,
                       .flags = flags_of(a, in),
                       .origin = in->origin_hash,
                       .remote = in->sender_id == 0 ? stanza_from_bare(in->st) : (slice){ 0 },
                       .stanza = buf_fit(&text) });
    buf_fini(&text);
    storing(a);
    metric_add(&messages_stored, 1);
    store_submit(b, worker_loop(w), STORE_UNTIL_DONE, im_message_stored, p);
    return p;
}

/* true: a feature reports to the origin in the place of the message's own write. */
static bool kept(struct account *a, const struct incoming *in, enum passage_way way)
{
    struct passage p = { .st = in->st,
                         .known = in->st->known,
                         .origin = in->origin,
                         .way = way,
                         .sender = in->sender_id };
    return stage_kept(a, &p);
}

/* A repeat is handled when the first copy is committed: a read of the same lane comes behind it,
 * and finds it or not. */
struct repeat {
    struct account *account; /* storing() */
    struct stanza *st;
    struct origin origin;
    int64_t origin_hash;
    uint64_t first; /* archive id */
};

static void repeat_done(void *arg, enum store_result result, const struct store_batch *b)
{
    struct repeat *r = arg;
    struct worker *w = r->account->worker;
    bool known =
        recent_find(&r->account->recents, r->origin_hash, loop_wall_us(worker_loop(w))) == r->first;
    if (result != STORE_OK || !known || !im_message_arrived(r->account, r->first, b))
        route_error(w, r->st, SE_RESOURCE_CONSTRAINT, SLICE("the message could not be stored"));
    if (r->origin.session != 0)
        ticket_done(w, r->origin);
    stanza_unref(&r->st);
    storing_end(r->account);
    mem_free(&r);
}

static enum routed repeated(struct account *a, struct incoming *in, uint64_t first)
{
    message_trace("message.repeated", in->st, "", 0);
    if (in->origin.session == 0) {
        stanza_unref(&in->st);
        return ROUTED;
    }
    struct repeat *r = mem_alloc(sizeof *r);
    *r = (struct repeat){ a, in->st, in->origin, in->origin_hash, first };
    struct store_batch *b = store_read(worker_store(a->worker), account_lane(a));
    store_read_late(b, a->id);
    STORE_ADD(b, &archive_has, STORE_ANY_ROWS, SV_I(a->id), SV_I(first));
    storing(a);
    store_submit(b, worker_loop(a->worker), STORE_COMMIT_MS, repeat_done, r);
    if (kept(a, in, PASSAGE_RECEIVED))
        r->origin = ORIGIN_NONE;
    return ROUTE_PENDING;
}

/* What the addressee does not keep counts as sent, too: the sender's other clients know it by its
 * id in the sender's archive. */
static enum routed im_message_not_kept(struct account *a, struct incoming *in)
{
    bool keep = in->sender_entry != 0;
    bool more = in->sender_id != 0 && message_storable(in->st) && kept(a, in, PASSAGE_REFUSED);
    if (keep)
        archive_keep_sent(a->worker, in->st, more ? ORIGIN_NONE : in->origin, in->sender_entry,
                          in->sender_id, SENT_KEPT);
    stanza_unref(&in->st);
    return (keep || more) && in->origin.session != 0 ? ROUTE_PENDING : ROUTED;
}

static enum routed not_accepted(struct account *a, struct incoming *in)
{
    ticket_refused(a->worker, in->origin);
    return im_message_not_kept(a, in);
}

static bool im_message_receives(const struct session *s, const struct stanza *st)
{
    return s->available && s->priority >= 0 && stage_takes(s, st);
}

/* To all sessions of non-negative priority, or the one that was asked for. A session that still
 * gets its offline messages finds the stored ones there, in order. */
static void deliver_live(struct account *a, struct session *match, struct stanza *st,
                         uint64_t known, uint64_t archive_id)
{
    const char *event;
    struct passage p = { st, known, match, archive_id, ORIGIN_NONE, 0, PASSAGE_RECEIVED, 0 };
    LIST_EACH (it, &a->sessions) {
        struct session *s = CONTAINER_OF(it, struct session, node);
        bool mine = match != NULL ? s == match : im_message_receives(s, st);
        if (!mine)
            continue;
        if (s->flushing && archive_id != 0) {
            offline_owes(s, st, archive_id);
            continue;
        }
        session_deliver(s, st, archive_id, 0);
        p.taken++;
    }
    event = p.taken > 0       ? "message.delivered"
            : archive_id != 0 ? "message.waits"
                              : "message.dropped";
    message_trace(event, st, archive_id != 0 ? "stored" : "not stored", p.taken);
    stage_carbon(a, &p);
    stage_push(a, &p);
}

static bool any_ready(const struct account *a, const struct session *match, const struct stanza *st)
{
    if (match != NULL)
        return !match->flushing;
    LIST_EACH (it, &a->sessions) {
        const struct session *s = CONTAINER_OF(it, struct session, node);
        if (im_message_receives(s, st) && !s->flushing)
            return true;
    }
    return false;
}

/* RFC 6121 §8.5.1: silence and an error are both right for an account that does not exist. A user
 * who is on no roster gets silence from all accounts, also a user of another server; but groupchat
 * messages have to be refused (§8.5.2.1.1). Services and components of ours need errors: rooms
 * remove occupants by them. Rooms elsewhere have those of groupchat messages. */
static bool learns(const struct account *a, const struct incoming *in)
{
    const struct stanza *st = in->st;
    slice local, domain;
    if (setting_bool(&mailbox_tell_strangers) || st->type == TYPE_GROUPCHAT ||
        !slice_cut(stanza_from_bare(st), '@', &local, &domain) ||
        (!node_serves(worker_node(a->worker), domain) && !foreign_is(a->worker, domain)))
        return true;
    if (!account_stays(a) || in->nobody)
        return false;
    return slice_eq(stanza_from_bare(st), a->jid) ||
           (roster_count(a) > 0 && !mailbox_is_stranger(a, stanza_from_bare(st)));
}

static enum routed im_message_refuse(struct account *a, struct incoming *in, enum stanza_error e,
                                     slice text)
{
    metric_add(&messages_refused, 1);
    im_message_log("message.refused", in->st, stanza_error_name(e), 0);
    route_error(a->worker, in->st, e, text);
    return not_accepted(a, in);
}

/* The same for what depends on the account, about which strangers learn nothing. */
static enum routed refuse_known(struct account *a, struct incoming *in, enum stanza_error e,
                                slice text)
{
    if (learns(a, in))
        return im_message_refuse(a, in, e, text);
    metric_add(&messages_refused, 1);
    message_trace("message.refused", in->st, "silently", 0);
    return not_accepted(a, in);
}

static enum routed message_wait(struct account *a, const struct incoming *in);

static bool mailbox_has_room(const struct account *a, const struct stanza *st)
{
    return !mailbox_full(a) &&
           !(mailbox_is_stranger(a, stanza_from_bare(st)) && mailbox_full_of_strangers(a));
}

/* ready: a session takes it at once. An error that finds no room still goes to who is there. */
static bool worth_keeping(const struct account *a, const struct incoming *in, bool ready)
{
    if (in->answers)
        return a->storing < STORING_MAX && mailbox_has_room(a, in->st);
    return message_storable(in->st) && (setting_bool(&im_durable_ack) || !ready);
}

/* Stores (unless the setting says otherwise) and delivers. */
static enum routed accept_message(struct account *a, struct session *match, struct incoming *in)
{
    struct stanza *st = in->st;
    bool ready = any_ready(a, match, st);
    bool guest = account_is_guest(a);
    bool keep = !guest && worth_keeping(a, in, ready);
    bool more = a->storing < STORING_MAX;
    uint64_t now_us = loop_wall_us(worker_loop(a->worker));
    uint64_t first = keep && more ? recent_find(&a->recents, in->origin_hash, now_us) : 0;

    if (first != 0) /* however full it is: its first copy is in there */
        return repeated(a, in, first);
    if (ready && st->type != TYPE_ERROR && mailbox_is_crowded(a, st))
        return refuse_known(a, in, SE_RESOURCE_CONSTRAINT,
                            SLICE("too much waits for a client of this account"));
    if (!keep) {
        deliver_live(a, match, st, in->known, 0);
        if (guest)
            return im_message_not_kept(a, in); /* the sender's copy is kept in any case */
        stanza_unref(&st);
        return ROUTED;
    }
    if (!more)
        return refuse_known(a, in, SE_RESOURCE_CONSTRAINT,
                            SLICE("too many messages for this account are being stored"));
    bool stranger = mailbox_is_stranger(a, stanza_from_bare(st));
    if (!mailbox_has_room(a, st))
        return refuse_known(a, in, SE_RESOURCE_CONSTRAINT,
                            SLICE("too many messages wait for this account"));
    enum verdict archived =
        in->unarchived || in->answers ? DROP : stage_archive(a, st, stanza_from(st), &in->at);
    if (archived == WAIT)
        return message_wait(a, in);
    in->archive_id = mailbox_mint(a);
    if (in->origin_hash != 0)
        recent_put(&a->recents, in->origin_hash, in->archive_id);
    mailbox_open(a, in->archive_id, ready ? ENTRY_TAKEN : ENTRY_OPEN);
    mailbox_from(a, in->archive_id, stanza_from_bare(st));
    if (archived != PASS)
        mailbox_hide(a, in->archive_id);
    if (stranger)
        mailbox_strange(a, in->archive_id);
    in->quiet = !message_notifies(st) || is_about_another(st);
    if (in->quiet)
        mailbox_quiet(a, in->archive_id);
    struct pending *p = store_message(a, in);
    if (kept(a, in, PASSAGE_RECEIVED))
        p->origin = ORIGIN_NONE;
    deliver_live(a, match, st, in->known, in->archive_id);
    stanza_unref(&st);
    return in->origin.session != 0 ? ROUTE_PENDING : ROUTED;
}

/* nobody: the account is to look as if it did not exist */
static enum delivery_have what_there_is(const struct account *a, bool nobody,
                                        const struct session *match)
{
    if (!account_stays(a) || nobody)
        return HAVE_NO_ACCOUNT;
    if (match != NULL)
        return HAVE_MATCH;
    if (account_receivers(a) > 0)
        return HAVE_SOME;
    return account_available(a) > 0 ? HAVE_NEGATIVE : HAVE_NONE;
}

/* Elements that only the server may add (architecture §5) are removed: ids of this archive
 * (XEP-0359 §5), our delay stamps (XEP-0203 §5), copies (XEP-0280 §11); elements meant for servers
 * (§9); and, from local accounts, elements that only rooms may send. */
static bool im_message_forged(enum known_child known, const struct elem *e, void *arg)
{
    const struct account *a = arg;
    struct arena *tmp = loop_scratch(worker_loop(a->worker));
    switch (known) {
    case KNOWN_STANZA_ID:
        return slice_eq(elem_attr(e, "by", tmp), a->jid);
    case KNOWN_DELAY:
        return node_serves(account_node(a), elem_attr(e, "from", tmp));
    case KNOWN_PAYLOAD: /* what a room tells of an invitation to the stage BLOCK alone */
        return elem_is(e, "inviter", NS_ROOMS);
    default:
        return true;
    }
}

static struct stanza *without_forgeries(struct account *a, struct stanza *st)
{
    uint64_t known = KNOWN(STANZA_ID) | KNOWN(DELAY) | KNOWN(CARBON) | KNOWN(PRIVATE);
    struct jid from = jid_split(stanza_from(st));
    if (from.local.len > 0 && node_serves(account_node(a), from.domain))
        known |= KNOWN(MUC_USER);
    else if (stanza_has(st, KNOWN(MUC_USER)))
        known |= KNOWN(PAYLOAD);
    return stanza_without(st, known, im_message_forged, a);
}

/* One that does not take it is not there for it. */
static struct session *matching(const struct account *a, const struct stanza *st)
{
    struct session *s = account_session(a, slice_from(stanza_to(st), st->to_bare_len + 1u));
    return s != NULL && stage_takes(s, st) ? s : NULL;
}

void message_kept(struct account *a, struct stanza *st, uint64_t archive_id)
{
    struct session *match = stanza_to_is_bare(st) ? NULL : matching(a, st);
    if (!account_stays(a) || mailbox_state(a, archive_id) != ENTRY_OPEN)
        return;
    if (any_ready(a, match, st))
        mailbox_set(a, archive_id, ENTRY_TAKEN);
    deliver_live(a, match, st, st->known, archive_id);
}

/* It answers what the account has written, and its client is gone (remote/outgoing_answer.h). */
static void message_answer(struct account *a, struct stanza *st)
{
    struct incoming in = { .st = st, .known = st->known, .answers = true };
    ensure(account_here(a) && account_stays(a) && st->type == TYPE_ERROR);
    (void)accept_message(a, stanza_to_is_bare(st) ? NULL : matching(a, st), &in);
}

/* BLOCK lets it in. */
static enum routed message_take(struct account *a, struct incoming *in)
{
    struct stanza *st = in->st;
    enum delivery_to to = stanza_to_is_bare(st) ? TO_BARE : TO_FULL;
    struct session *match = NULL;
    in->answers = !in->nobody && outgoing_is_answer(a, st);
    if (to == TO_FULL && !in->nobody)
        match = matching(a, st);
    enum delivery_have have = what_there_is(a, in->nobody, match);
    enum delivery rule = delivery_rule(STANZA_MESSAGE, (enum stanza_type)st->type, to, have);
    if (rule == DELIVER_AS_BARE) {
        match = NULL;
        have = what_there_is(a, in->nobody, NULL);
        rule = delivery_rule(STANZA_MESSAGE, (enum stanza_type)st->type, TO_BARE, have);
    }
    switch (rule) {
    case DELIVER_ALL:
    case DELIVER_MATCH:
        return accept_message(a, match, in);
    case DELIVER_STORE:
        if (message_storable(st) && !account_is_guest(a))
            return accept_message(a, NULL, in);
        if (stanza_has(st, KNOWN(BODY))) /* the sender wanted it said, and it will not be */
            return refuse_known(a, in, SE_SERVICE_UNAVAILABLE, (slice){ 0 });
        break;
    case DELIVER_ERROR:
        return refuse_known(a, in, SE_SERVICE_UNAVAILABLE, (slice){ 0 });
    default:
        break;
    }
    if (st->type != TYPE_ERROR || in->nobody || !outgoing_answered(a, st, message_answer))
        message_trace("message.dropped", st, "nobody is there for it", 0);
    return not_accepted(a, in);
}

/* It waits at ARCHIVE, and all that comes to the account waits behind it. */
struct message_waiting {
    struct stage_pause pause;
    struct account *account;
    struct incoming in;
};

static void message_go_on(struct stage_pause *p, enum verdict v, struct stanza *st,
                          const struct refusal *why)
{
    struct message_waiting *mw = CONTAINER_OF(p, struct message_waiting, pause);
    struct account *a = mw->account;
    struct incoming in = mw->in;
    (void)why;
    ensure(st == NULL && v != REFUSE);
    mem_free(&mw);
    in.unarchived = v != PASS;
    actor_mark(&a->actor);
    actor_unpause(&a->actor);
    if (message_take(a, &in) == ROUTED && in.origin.session != 0)
        ticket_done(a->worker, in.origin);
    actor_go_on(&a->actor);
}

void messages_refuse_waiting(struct account *a)
{
    struct stage_pause *p;
    const struct map *all = &core_of(a->worker)->waits.map;
    ensure(account_here(a) && a->removing);
    account_pin(a);
    for (uint32_t i = 0; (p = map_next(all, &i)) != NULL;) {
        if (p->go != message_go_on || CONTAINER_OF(p, struct message_waiting, pause)->account != a)
            continue;
        stage_pause_late(p);
        i = 0; /* the inbox was handled, which may have ended others */
    }
    account_unpin(a);
}

static void message_wait_drop(struct stage_pause *p)
{
    struct message_waiting *mw = CONTAINER_OF(p, struct message_waiting, pause);
    stanza_unref(&mw->in.st);
    mem_free(&mw);
}

static enum routed message_wait(struct account *a, const struct incoming *in)
{
    struct message_waiting *mw = mem_new(struct message_waiting);
    mw->account = a;
    mw->in = *in;
    actor_pause(&a->actor);
    stage_pause_begin(&mw->pause, a->worker, message_go_on);
    mw->pause.drop = message_wait_drop;
    return in->origin.session != 0 ? ROUTE_PENDING : ROUTED;
}

/* A message that BLOCK refuses as if there were no account gets the answer of an address without
 * one, which features may say. */
static enum verdict message_judge(struct account *a, const struct stanza *st, struct refusal *why)
{
    struct refusal nobody = { .error = SE_SERVICE_UNAVAILABLE };
    if (a->state != ACTOR_READY)
        return foreign_to_nobody(a->worker, st, why);
    enum verdict v = stage_block(a, st, why);
    if (v != REFUSE || !why->as_nobody)
        return v;
    v = foreign_to_nobody(a->worker, st, &nobody);
    if (v == PASS)
        return REFUSE;
    *why = nobody;
    return v;
}

enum routed message_to_account(struct account *a, struct stanza *st, struct origin origin,
                               uint64_t sender_entry, int64_t sender_id)
{
    struct arena *tmp = loop_scratch(worker_loop(a->worker));

    metric_add(&messages_in, 1);
    if (st->type == TYPE_ERROR)
        recent_refused(&a->recents, st);
    struct incoming in = { .st = st,
                           .origin = origin,
                           .sender_entry = sender_entry,
                           .sender_id = sender_id,
                           .known = st->known };
    struct refusal why = { .error = SE_SERVICE_UNAVAILABLE };
    switch (message_judge(a, st, &why)) {
    case REFUSE:
        if (why.not_strangers)
            return refuse_known(a, &in, why.error, why.text);
        if (why.as_nobody) {
            message_trace("message.blocked", st, "as if there were no account", 0);
            in.nobody = true;
            break;
        }
        metric_add(&messages_refused, 1);
        message_trace("message.blocked", st, stanza_error_name(why.error), 0);
        stage_refuse(a->worker, stanza_ref(st), &why);
        return not_accepted(a, &in);
    case DROP:
        message_trace("message.blocked", st, "silently", 0);
        return not_accepted(a, &in);
    default:
        break;
    }
    in.st = st = without_forgeries(a, st);
    in.origin_hash = recent_origin(st, tmp);
    if ((in.known & KNOWN(CARBON)) != 0 && st->child_count == 0) { /* it was nothing else */
        stanza_unref(&st);
        return ROUTED;
    }
    return message_take(a, &in);
}

static bool lets_pass(struct account *a, const struct stanza *st)
{
    return account_stays(a) && stage_block(a, st, &(struct refusal){ 0 }) == PASS;
}

void message_pass(struct account *a, struct stanza *st, message_has_fn *has)
{
    struct passage p = { .st = st, .known = st->known, .way = PASSAGE_RECEIVED };
    if (!lets_pass(a, st))
        return;
    LIST_EACH (it, &a->sessions) {
        struct session *s = CONTAINER_OF(it, struct session, node);
        if (!im_message_receives(s, st) || has(s, stanza_from_bare(st)))
            continue;
        session_deliver_to(s, st, a->jid); /* one of many: nobody inherits it */
        p.taken++;
    }
    message_trace("message.passed", st, "not stored", p.taken);
    stage_push(a, &p);
}

void message_alert(struct account *a, struct stanza *st)
{
    if (lets_pass(a, st))
        stage_push(a, &(struct passage){ .st = st, .known = st->known, .way = PASSAGE_RECEIVED });
}

void message_alert_dormant(struct account *a, struct stanza *st)
{
    struct passage p = { .st = st, .known = st->known, .way = PASSAGE_DORMANT };
    if (lets_pass(a, st))
        stage_push(a, &p);
}

/* What is in no mailbox goes the way it would go now, without the session that ended. To a bare JID
 * every session got its own when it came: only those that were bound later lack it. */
static void hand_over_passing(struct account *a, struct stanza *st, uint64_t at_us)
{
    if (st->type == TYPE_ERROR) {
        (void)outgoing_answered(a, st, message_answer);
        return;
    }
    bool bare = stanza_to_is_bare(st);
    enum delivery_have have = what_there_is(a, false, NULL);
    enum stanza_type type = (enum stanza_type)st->type;
    enum delivery rule = delivery_rule(STANZA_MESSAGE, type, bare ? TO_BARE : TO_FULL, have);
    if (rule == DELIVER_AS_BARE)
        rule = delivery_rule(STANZA_MESSAGE, type, TO_BARE, have);
    if (rule == DELIVER_ALL) {
        LIST_EACH (it, &a->sessions) {
            struct session *s = CONTAINER_OF(it, struct session, node);
            if (im_message_receives(s, st) && (!bare || s->since_us > at_us))
                session_deliver(s, st, 0, at_us);
        }
    } else if (rule == DELIVER_STORE && message_storable(st)) {
        accept_message(a, NULL, &(struct incoming){ .st = stanza_ref(st), .known = st->known });
    } else if (rule == DELIVER_ERROR || (rule == DELIVER_STORE && stanza_has(st, KNOWN(BODY)))) {
        im_message_refuse(a, &(struct incoming){ .st = stanza_ref(st) }, SE_RECIPIENT_UNAVAILABLE,
                          (slice){ 0 });
    }
}

/* A copy of what went to another session. */
static bool any_was_given(const struct account *a, uint64_t archive_id)
{
    LIST_EACH (it, &a->sessions)
        if (given_to(a, archive_id, CONTAINER_OF(it, struct session, node)->id))
            return true;
    return false;
}

static bool others_got(const struct account *a, const struct stanza *st, uint64_t at_us)
{
    LIST_EACH (it, &a->sessions) {
        const struct session *s = CONTAINER_OF(it, struct session, node);
        if (stanza_to_is_bare(st) && im_message_receives(s, st) && s->since_us <= at_us)
            return true;
    }
    return false;
}

/* An error says that nobody got it: not if another session did, or will by resumption. Headlines
 * are never answered (RFC 6121 §5.2.2). */
void message_bounce(struct account *a, struct session *ended, struct stanza *st,
                    uint64_t archive_id, uint64_t at_us)
{
    if (st->type == TYPE_HEADLINE)
        return;
    if (st->type == TYPE_ERROR) { /* it goes back to nobody: it waits */
        message_hand_over(a, ended, st, archive_id, at_us);
        return;
    }
    if (archive_id != 0) {
        bool settled = mailbox_state(a, archive_id) == ENTRY_SETTLED;
        if (settled || session_queued_elsewhere(a, ended, archive_id, false))
            return;
        mailbox_settle(a, archive_id);
        if (any_was_given(a, archive_id))
            return;
        recent_drop(
            &a->recents,
            recent_origin(st, loop_scratch(worker_loop(a->worker)))); /* it may be sent again */
    } else if (others_got(a, st, at_us)) {
        return;
    }
    route_error(a->worker, st, SE_RECIPIENT_UNAVAILABLE, (slice){ 0 });
}

/* The client that requested the copy did not take it. If no other client has the message, it waits
 * again. */
void message_copy_lost(struct account *a, struct session *ended, uint64_t archive_id)
{
    if (archive_id != 0 && mailbox_state(a, archive_id) == ENTRY_TAKEN &&
        !session_queued_elsewhere(a, ended, archive_id, false))
        mailbox_set(a, archive_id, ENTRY_OPEN);
}

void message_replaced(struct account *a, uint64_t archive_id, struct stanza *st)
{
    mailbox_quiet(a, archive_id);
    LIST_EACH (it, &a->sessions) {
        struct session *s = CONTAINER_OF(it, struct session, node);
        session_queue_replace(s, archive_id, st);
        offline_reread(s);
    }
}

/* How other clients of the account that receive messages have this one: one that is connected but
 * not available shows it, perhaps, but does not take it in place of those that will come. Taken
 * copies do not count while one that lacks it gets its offline messages: it finds it there. */
enum had { HAD_BY_NONE, HAD_QUEUED, HAD_TAKEN };
static enum had had_by_receivers(const struct account *a, const struct session *ended,
                                 const struct stanza *st, uint64_t archive_id)
{
    enum had had = HAD_BY_NONE;
    bool finds = false;
    LIST_EACH (it, &a->sessions) {
        struct session *s = CONTAINER_OF(it, struct session, node);
        if (s == ended || s->state == SESSION_ENDED || !im_message_receives(s, st))
            continue;
        if (session_queued(s, archive_id))
            return HAD_QUEUED;
        if (given_to(a, archive_id, s->id))
            had = HAD_TAKEN;
        else if (s->flushing)
            finds = true;
    }
    return finds ? HAD_BY_NONE : had;
}

void message_hand_over(struct account *a, struct session *ended, struct stanza *st,
                       uint64_t archive_id, uint64_t at_us)
{
    unsigned taken = 0;
    if (archive_id == 0) {
        hand_over_passing(a, st, at_us);
        return;
    }
    if (mailbox_state(a, archive_id) == ENTRY_SETTLED ||
        session_queued_elsewhere(a, ended, archive_id, true))
        return;
    LIST_EACH (it, &a->sessions) {
        struct session *s = CONTAINER_OF(it, struct session, node);
        if (s == ended || s->state == SESSION_ENDED || !im_message_receives(s, st) || s->flushing ||
            session_queued(s, archive_id) || given_to(a, archive_id, s->id))
            continue;
        session_deliver(s, st, archive_id, at_us);
        taken++;
    }
    enum had had = taken > 0 ? HAD_BY_NONE : had_by_receivers(a, ended, st, archive_id);
    message_trace("message.handed-over", st,
                  taken > 0            ? ""
                  : had != HAD_BY_NONE ? "others have it"
                                       : "it waits",
                  taken);
    if (had == HAD_TAKEN)
        mailbox_settle(a, archive_id);
    else if (taken == 0 && had == HAD_BY_NONE)
        mailbox_set(a, archive_id, ENTRY_OPEN);
}
