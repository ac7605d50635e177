#include "remote/outgoing_bounce.h"
#include "account/account.h"
#include "archive/archive.h"
#include "archive/pending.h"
#include "archive/recent.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "base/mem.h"
#include "codec/xml_write.h"
#include "core/stage.h"
#include "home/host.h"
#include "home/node.h"
#include "home/question.h"
#include "home/slots.h"
#include "home/trail.h"
#include "remote/outgoing_count.h"
#include "talk/message.h"
#include "xmpp/jid.h"
#include "xmpp/stanza.h"

/* To the home of the sender, who is the addressee of the error. */
struct bounce_sent {
    struct stanza *error;
    int64_t sender;
    uint64_t entry;
    bool unshown;
};

/* There. */
struct bounce {
    struct worker *worker;
    struct message_from from;
    struct stanza *error; /* as the sender gets it */
    struct stanza *first; /* as it was made: from the addressee */
    int64_t sender;
    uint64_t entry;
    bool unshown;
    struct account
        *account;        /* pinned, and the write is one of its `storing`; NULL: not in memory */
    uint64_t archive_id; /* of the error; 0: nobody is told */
};

static slice bounce_domain(const struct bounce *b)
{
    return jid_split(stanza_from(b->first)).domain;
}

static void bounce_answer(struct bounce *b, enum err e)
{
    question_answer(b->worker, &b->from, &outgoing_answer,
                    &(struct outgoing_answered){ (uint8_t)e });
    question_end(b->worker, &b->from);
}

static void bounce_free(struct bounce *b)
{
    if (b->account != NULL) {
        ensure(b->account->storing > 0);
        b->account->storing--;
        account_unpin(b->account);
    }
    stanza_unref(&b->error);
    stanza_unref(&b->first);
    mem_free(&b);
}

/* The error is in the database, or is not and never will be. */
static void bounce_ends(struct bounce *b, bool stored)
{
    struct account *a = b->account;
    if (a != NULL && stored) {
        recent_refused(&a->recents, b->error);
        message_kept(a, b->error, b->archive_id);
    } else if (a != NULL) {
        mailbox_settle(a, b->archive_id);
    }
    bounce_free(b);
}

static void bounce_outcome(void *arg, enum store_result r, const struct store_batch *batch)
{
    bounce_ends(arg, r == STORE_OK && store_row_count(batch, 0) > 0);
}

/* The write goes on after its deadline, and a read behind it tells what became of it. */
static void bounce_ask_outcome(struct bounce *b)
{
    struct store_batch *batch = store_read(worker_store(b->worker), (uint64_t)b->sender);
    store_read_late(batch, b->sender);
    STORE_ADD(batch, &archive_has, STORE_ANY_ROWS, SV_I(b->sender), SV_I(b->archive_id));
    store_submit(batch, worker_loop(b->worker), STORE_COMMIT_MS, bounce_outcome, b);
}

static void bounce_written(void *arg, enum store_result r, const struct store_batch *batch)
{
    struct bounce *b = arg;
    (void)batch;
    bounce_answer(b, r == STORE_CONFLICT ? E_NOTFOUND : err_of_store(r));
    if (r == STORE_OK)
        outgoing_count_settled(b->worker, bounce_domain(b), b->sender, 1);
    if (r == STORE_UNKNOWN && b->account != NULL)
        bounce_ask_outcome(b);
    else
        bounce_ends(b, r == STORE_OK);
}

/* A place in the mailbox, which nobody has yet: a delivery that reads the mailbox meanwhile takes
 * it from there if it is committed by then. */
static void bounce_open(struct bounce *b, struct account *a)
{
    b->account = a;
    account_pin(a);
    a->storing++;
    b->archive_id = mailbox_mint(a);
    mailbox_open(a, b->archive_id, ENTRY_OPEN);
    mailbox_from(a, b->archive_id, stanza_from_bare(b->error));
    if (b->unshown)
        mailbox_hide(a, b->archive_id);
    if (mailbox_is_stranger(a, stanza_from_bare(b->error)))
        mailbox_strange(a, b->archive_id);
    mailbox_quiet(a, b->archive_id);
}

static void bounce_add(const struct bounce *b, struct store_batch *batch)
{
    struct buf text;
    buf_init(&text, XML_STANZA_MAX);
    stanza_store(&text, b->error);
    if (b->account != NULL)
        mailbox_weigh(b->account, b->archive_id, text.len);
    archive_add(batch, &(struct archive_message){ .at_us = loop_wall_us(worker_loop(b->worker)),
                                                  .rcpt = b->sender,
                                                  .rcpt_entry = b->archive_id,
                                                  .flags = ENTRY_OFFLINE | MESSAGE_QUIET |
                                                           (b->unshown ? ENTRY_HIDDEN : 0u),
                                                  .remote = stanza_from_bare(b->error),
                                                  .stanza = buf_fit(&text) });
    buf_fini(&text);
}

/* The sender has blocked the addressee meanwhile, but the message was accepted before, and nothing
 * of the addressee is in the error: the server says it. */
static void bounce_in_own_name(struct bounce *b)
{
    slice own = jid_split(stanza_to(b->error)).domain;
    ensure(b->error->type == TYPE_ERROR && own.len > 0);
    stanza_unref(&b->error);
    b->error = stanza_readdress(b->first, own, stanza_to(b->first));
}

/* It is disabled, so its mailbox is not in memory: when it is enabled again, it has the error. */
static bool bounce_sender_may_return(const struct bounce *b, const struct account *a)
{
    return a->disabled && !a->removing && (a->id == 0 || a->id == b->sender);
}

static void bounce_account(struct account *a, enum err e, void *arg)
{
    struct bounce *b = arg;
    if (e != OK) {
        bounce_answer(b, e);
        bounce_free(b);
        return;
    }
    if (account_stays(a) && a->id == b->sender) {
        if (stage_since(a, b->error) == SINCE_BLOCKED)
            bounce_in_own_name(b);
        bounce_open(b, a);
    } else if (bounce_sender_may_return(b, a)) { /* whom it has blocked is not in memory, either */
        bounce_in_own_name(b);
        b->archive_id = mailbox_mint(a);
    }
    struct store_batch *batch = store_write(worker_store(b->worker), (uint64_t)b->sender);
    (void)archive_pending_settle(batch, bounce_domain(b), b->sender, b->entry, b->unshown, true);
    if (b->archive_id != 0)
        bounce_add(b, batch);
    if (b->unshown)
        archive_pending_sweep(batch);
    /* If it did not wait for the outcome, the message could be sent, and returned by this write. */
    store_submit(batch, worker_loop(b->worker), STORE_COMMIT_MS, bounce_written, b);
}

/* The sender is a room, which tells the occupant who has said it. It has no mailbox: a crash
 * between the write and that loses the error. */
static void bounce_service_written(void *arg, enum store_result r, const struct store_batch *batch)
{
    struct bounce *b = arg;
    (void)batch;
    bounce_answer(b, r == STORE_CONFLICT ? E_NOTFOUND : err_of_store(r));
    if (r == STORE_OK) {
        outgoing_count_settled(b->worker, bounce_domain(b), b->sender, 1);
        route_send(b->worker, stanza_ref(b->error));
    }
    bounce_free(b);
}

static void bounce_to_service(struct bounce *b)
{
    struct store_batch *batch = store_write(worker_store(b->worker), (uint64_t)b->sender);
    (void)archive_pending_settle(batch, bounce_domain(b), b->sender, b->entry, b->unshown, true);
    store_submit(batch, worker_loop(b->worker), STORE_COMMIT_MS, bounce_service_written, b);
}

static void bounce_run(struct worker *w, void *message, const struct message_from *from)
{
    struct bounce_sent *m = message;
    struct bounce *b = mem_new(struct bounce);
    *b = (struct bounce){ .worker = w,
                          .from = *from,
                          .error = m->error,
                          .first = stanza_ref(m->error),
                          .sender = m->sender,
                          .entry = m->entry,
                          .unshown = m->unshown };
    m->error = NULL;
    if (slot_is_away(w, node_slot(stanza_to_bare(b->error))))
        bounce_account(NULL, E_DOWN, b);
    else if (host_find(worker_node(w), jid_split(stanza_to(b->error)).domain, &(slice){ 0 }))
        bounce_to_service(b);
    else
        account_with(w, stanza_to_bare(b->error), bounce_account, b);
}

static bool bounce_is_sound(struct worker *w, const void *message, const struct message_from *from)
{
    const struct bounce_sent *m = message;
    (void)w, (void)from;
    return m->error->kind == STANZA_MESSAGE && m->error->type == TYPE_ERROR &&
           m->error->from_len > 0 && m->error->to_len > 0 && m->sender > 0 && m->entry > 0 &&
           m->entry < INT64_MAX;
}

static const struct message_field bounce_fields[] = {
    F_STANZA(struct bounce_sent, error),
    F_I64(struct bounce_sent, sender),
    F_U64(struct bounce_sent, entry),
    F_BOOL(struct bounce_sent, unshown),
    { 0 },
};
const struct message_row outgoing_bounce_message = {
    .id = 137,
    .scope = MESSAGE_CLUSTER,
    .name = "outgoing-bounce",
    .size = sizeof(struct bounce_sent),
    .fields = bounce_fields,
    .run = bounce_run,
    .sound = bounce_is_sound,
    .answer = &outgoing_answer,
    .later = true,
};

void outgoing_bounce(const struct outgoing_pair *pair, const struct outgoing_id *id,
                     struct stanza *error, outgoing_fn *done, void *arg)
{
    ensure(id->entry != 0);
    if (error == NULL) {
        outgoing_tell(pair, id, 1, OUTGOING_CONFIRMED, done, arg);
        return;
    }
    trail_error(error, "returned", pair->remote);
    outgoing_ask(pair, id, &outgoing_bounce_message,
                 &(struct bounce_sent){ error, id->sender, id->entry, id->unshown }, done, arg);
}
