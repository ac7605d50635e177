#include "muc/archive/request.h"
#include "archive/page.h"
#include "archive/query.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/hash.h"
#include "codec/xml_write.h"
#include "muc/archive/archive.h"
#include "muc/archive/recorder.h"
#include "talk/archive_answer.h"
#include "talk/iq.h"
#include "xmpp/mam.h"
#include "xmpp/ns.h"

enum { READERS_MAX = 64, READERS_EACH_MAX = 4, PAGE_DEFAULT = 50 };

struct request {
    struct list node; /* in recorder.requests */
    struct recorder *recorder;
    struct iq *iq; /* held; all this is in its arena */
    enum room_sight sight;
    struct mam_query ask;
    struct archive_query find;
    struct archive_page page;
};

/* Its answer follows, which frees it. */
static struct iq *archive_request_end(struct request *q)
{
    list_remove(&q->node);
    q->recorder->request_count--;
    return q->iq;
}

/* Up to the quote that ends a value; false: there is none. */
static bool cut_value(slice text, slice *value, slice *rest)
{
    return slice_cut(text, '\'', value, rest);
}

/* As stanza_store() wrote it, `from` first, then `to`: the latter is who said it, and told only to
 * those who may know (§5.1.2). */
static void write_message(const struct archive_page *p, struct xml_write *x, slice text)
{
    static const slice open = SLICE_INIT("<message from='"), to = SLICE_INIT(" to='"),
                       close = SLICE_INIT("</message>");
    const struct request *q = CONTAINER_OF(p, struct request, page);
    slice from, sender = { 0 };
    if (!slice_starts(text, open) || text.len < open.len + close.len ||
        !cut_value(slice_from(text, open.len), &from, &text))
        return; /* it was taken out of the archive (§3.2) */
    if (slice_starts(text, to) && !cut_value(slice_from(text, to.len), &sender, &text))
        return;
    if (text.len < close.len)
        return;
    text.len -= close.len;
    /* pieces of a stored stanza, which are escaped */
    struct buf *out = xml_content(x);
    buf_lit(out, "<message xmlns='" NS_CLIENT "' from='"); /* escaped */
    buf_add(out, from);
    buf_lit(out, "'");
    buf_add(out, text);
    if (q->sight == SIGHT_JIDS && sender.len > 0) {
        buf_lit(out, "<x xmlns='" NS_MUC_USER "'><item jid='"); /* escaped */
        buf_add(out, sender);
        buf_lit(out, "'/></x>"); /* escaped */
    }
    buf_add(out, close);
}

static void archive_request_finish(struct request *q, uint32_t first, uint32_t count)
{
    struct buf out;
    struct xml_write x;
    xml_begin(&x, &out, XML_PART_MAX);
    archive_fin_write(&x, &q->find, first, count);
    iq_result_buf(archive_request_end(q), &out);
}

static void archive_request_sent(struct archive_page *p, enum err e)
{
    struct request *q = CONTAINER_OF(p, struct request, page);
    if (e == OK)
        archive_request_finish(q, p->first, p->count);
    else
        archive_unread(archive_request_end(q), e);
}

static void archive_request_found(struct archive_query *find, enum stanza_error e, slice text)
{
    struct request *q = CONTAINER_OF(find, struct request, find);
    if (e != SE_NONE) {
        iq_error(archive_request_end(q), e, text);
        return;
    }
    if (find->found_count == 0) {
        archive_request_finish(q, 0, 0);
        return;
    }
    q->page = (struct archive_page){ .query = find,
                                     .from = find->room,
                                     .to = stanza_from(q->iq->st),
                                     .write = write_message,
                                     .done = archive_request_sent };
    archive_page_send(&q->page);
}

static bool may_look(struct iq *iq, struct room_reader who)
{
    if (who.sight == SIGHT_NONE)
        iq_error(iq, SE_FORBIDDEN, SLICE("the archive of the room is not for you"));
    return who.sight != SIGHT_NONE;
}

static bool archive_request_too_many(const struct recorder *r, slice asker)
{
    unsigned own = 0;
    LIST_EACH (it, &r->requests) {
        const struct request *q = CONTAINER_OF(it, struct request, node);
        own += slice_eq(stanza_from_bare(q->iq->st), asker); /* whatever client asks */
    }
    return own >= READERS_EACH_MAX || r->request_count >= READERS_MAX;
}

/* §4.1.1: users who may not know the authors cannot search for them. */
static bool may_name(const struct request *q)
{
    const struct jid *with = &q->ask.with;
    return q->sight == SIGHT_JIDS || with->full.len == 0 || slice_eq(jid_bare(with), q->find.room);
}

void room_archive_query(const struct room_archive *a, struct iq *iq, struct room_reader who)
{
    struct recorder *r = recorder_of(a->worker);
    if (!may_look(iq, who))
        return;
    if (who.page_max == 0) { /* an empty page that is not the last one would be asked for again */
        iq_error(iq, SE_NOT_ALLOWED, SLICE("no messages of this room are given out"));
        return;
    }
    if (archive_request_too_many(r, stanza_from_bare(iq->st))) {
        iq_error(iq, SE_RESOURCE_CONSTRAINT, SLICE("wait for the answers to the queries before"));
        return;
    }
    struct iq *held = iq_hold(iq);
    struct request *q = arena_new(held->tmp, struct request, 1);
    uint32_t most = who.page_max < ARCHIVE_PAGE_MAX ? who.page_max : ARCHIVE_PAGE_MAX;
    q->iq = held;
    q->recorder = r;
    q->sight = who.sight;
    list_append(&r->requests, &q->node);
    r->request_count++;
    mam_query_read(&q->ask, &held->payload, (struct mam_limits){ PAGE_DEFAULT, most }, held->tmp);
    q->find = (struct archive_query){ .worker = a->worker,
                                      .owner = a->owner,
                                      .user = hash_keyed(stanza_from_bare(held->st)),
                                      .room = slice_dup(held->tmp, a->jid),
                                      .ask = &q->ask,
                                      .tmp = held->tmp,
                                      .done = archive_request_found };
    if (q->ask.error != SE_NONE)
        iq_error(archive_request_end(q), q->ask.error, q->ask.text);
    else if (!may_name(q))
        iq_error(archive_request_end(q), SE_FORBIDDEN,
                 SLICE("this room does not tell who said what"));
    else
        archive_find(&q->find);
}

void room_archive_form(struct iq *iq, struct room_reader who)
{
    if (may_look(iq, who))
        archive_form_answer(iq);
}

void room_archive_metadata(const struct room_archive *a, struct iq *iq, struct room_reader who)
{
    if (may_look(iq, who))
        archive_ends_answer(iq, a->owner, (uint64_t)a->owner);
}
