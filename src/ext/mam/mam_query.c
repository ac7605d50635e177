#include "ext/mam/mam_query.h"
#include "account/account.h"
#include "archive/query.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "base/setting.h"
#include "codec/xml_write.h"
#include "core/feature.h"
#include "ext/mam/mam.h"
#include "session/copies.h"
#include "session/session.h"
#include "session/session_queue.h"
#include "store/store.h"
#include "talk/archive_answer.h"
#include "xmpp/mam.h"

struct query {
    struct mam_query ask;
    struct archive_query find;
    struct copies copies;
    struct iq *iq;           /* held; everything here is in its arena */
    struct account *account; /* its and the asker's */
    uint64_t session;        /* id */
};

/* Its answer follows, which frees it. */
static struct iq *mam_query_end(const struct query *q)
{
    session_unclaim(q->iq->worker, q->session);
    return q->iq;
}

static struct stanza *mam_query_wrap(struct copies *c, const struct session *s, uint64_t id,
                                     uint64_t at_us, slice text)
{
    const struct query *q = CONTAINER_OF(c, struct query, copies);
    struct buf out;
    struct xml_write x;
    ensure(account_here(q->account) && account_is_pinned(q->account));
    xml_begin(&x, &out, XML_STANZA_MAX);
    mam_result_write(&x, &q->ask, id, at_us, text);
    return stanza_make_buf(STANZA_MESSAGE, TYPE_NORMAL, q->account->jid, session_jid(s),
                           (slice){ 0 }, &out);
}

static void mam_query_finish(struct query *q)
{
    struct buf out;
    struct xml_write x;
    xml_begin(&x, &out, XML_PART_MAX);
    archive_fin_write(&x, &q->find, 0, q->find.found_count);
    iq_result_buf(mam_query_end(q), &out);
}

static void mam_query_sent(struct copies *c, enum err e)
{
    struct query *q = CONTAINER_OF(c, struct query, copies);
    if (e == OK)
        mam_query_finish(q);
    else
        archive_unread(mam_query_end(q), e);
}

static void mam_query_found(struct archive_query *find, enum stanza_error e, slice text)
{
    struct query *q = CONTAINER_OF(find, struct query, find);
    uint64_t *ids = find->found;
    uint32_t count = find->found_count;
    if (e != SE_NONE) {
        iq_error(mam_query_end(q), e, text);
        return;
    }
    if (count == 0) {
        mam_query_finish(q);
        return;
    }
    if (q->ask.flip) { /* only the order is another (§4.3.5) */
        ids = arena_new(q->iq->tmp, uint64_t, count);
        for (uint32_t i = 0; i < count; i++)
            ids[i] = find->found[count - 1 - i];
    }
    q->copies = (struct copies){ .account = q->account,
                                 .session = q->session,
                                 .ids = ids,
                                 .count = count,
                                 .wrap = mam_query_wrap,
                                 .done = mam_query_sent,
                                 .settles = true };
    copies_send(&q->copies);
}

/* Whose archive it is, asks: §7.1. */
static bool mam_query_owner_asks(struct iq *iq)
{
    if (iq->target != IQ_TO_SELF)
        iq_error(iq, SE_FORBIDDEN, SLICE("an archive is its owner's"));
    return iq->target == IQ_TO_SELF;
}

void mam_query(struct iq *iq)
{
    if (!mam_query_owner_asks(iq))
        return;
    if (iq->session == NULL) {
        iq_error(iq, SE_RECIPIENT_UNAVAILABLE, (slice){ 0 });
        return;
    }
    if (!session_claim(iq->session)) {
        iq_error(iq, SE_RESOURCE_CONSTRAINT, SLICE("read the answers to the queries before"));
        return;
    }
    uint64_t session = iq->session->id;
    struct iq *held = iq_hold(iq);
    struct query *q = arena_new(held->tmp, struct query, 1);
    q->iq = held;
    q->account = held->account;
    q->session = session;
    mam_query_read(&q->ask, &held->payload,
                   (struct mam_limits){ (uint32_t)setting_int(&mam_page_default),
                                        (uint32_t)setting_int(&mam_page_max) },
                   held->tmp);
    q->find = (struct archive_query){ .worker = held->worker,
                                      .owner = held->account->id,
                                      .user = (uint64_t)held->account->id,
                                      .ask = &q->ask,
                                      .tmp = held->tmp,
                                      .done = mam_query_found };
    if (q->ask.error != SE_NONE)
        iq_error(mam_query_end(q), q->ask.error, q->ask.text);
    else
        archive_find(&q->find);
}

void mam_form_get(struct iq *iq)
{
    if (mam_query_owner_asks(iq))
        archive_form_answer(iq);
}

/* Metadata (§4.4): the first and the last message. XEP-0386 §4.2: the same for a client that binds
 * by Bind 2. */

void mam_bind2_load(struct account *a, struct store_batch *b)
{
    store_read_late(b, a->id);
    archive_ends_add(b, a->id);
}

void mam_bind2_loaded(struct session *s, const struct store_batch *b, struct buf *bound)
{
    struct xml_write x;
    ensure(session_here(s));
    xml_write_to(&x, bound);
    if (b != NULL)
        archive_ends_write(&x, b, 0);
}

void mam_metadata(struct iq *iq)
{
    if (mam_query_owner_asks(iq))
        archive_ends_answer(iq, iq->account->id, account_lane(iq->account));
}
