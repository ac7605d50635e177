/* Archive queries (XEP-0313 §4): in three steps, each a read of its own, so that a page costs
 * memory for its ids only and goes out in parts as the client takes them (design §4):
 *
 *   check   the addresses and ids that the query names: who is `with`, are the ids in the archive
 *   find    the ids of the page, and of one more to know whether it is complete
 *   send    the messages, each as a copy to the session that asked (im/copies.h)
 *
 * A message that waited for its owner is settled when the session has the copy (design §6).
 *
 * Times: archive ids are microseconds, minted when the message came. They are ahead of the time of
 * a message for up to CLOCK_SLACK_US after a crash, so a range of times is a wider range of ids and
 * a look at the messages within.
 *
 * Limits: settings archive.page-default and archive.page-max; IDS_MAX ids in a query; FIND_MS. */
#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/setting.h"
#include "codec/xml_elem.h"
#include "ext/mam.h"
#include "im/account.h"
#include "im/copies.h"
#include "im/feature.h"
#include "im/worker.h"
#include "xmpp/form.h"
#include "xmpp/ns.h"
#include "xmpp/rsm.h"
#include <stdlib.h>

enum {
    IDS_MAX = 256,
    QUERY_ID_MAX = 1023,
    COUNT_MAX = 10000, /* more are not counted */
    FIND_MS = 2000,    /* a filter that finds little in much is given up: others want to read */
    CLOCK_SLACK_US = 60 * 1000000
};

enum want_as { WANT_ID, WANT_AFTER, WANT_BEFORE };

struct query {
    struct copies copies;
    struct iq *iq; /* held; everything below is in its arena */
    struct worker *worker;
    struct account *account; /* its and the asker's */
    uint64_t session;        /* id */
    slice query_id;          /* ptr NULL: none */
    /* filter */
    int64_t start_us, end_us;
    struct jid with;        /* full.len 0: anybody */
    int64_t peer;           /* account id of `with`; 0: not one of ours */
    uint64_t after, before; /* archive ids, exclusive */
    const slice *ids;       /* as asked for; */
    unsigned id_count;      /* 0: not asked for */
    struct wanted {
        uint64_t id;
        enum want_as as;
    } wanted[IDS_MAX + 4];
    unsigned wanted_count;         /* ids that must be there */
    slice match;                   /* for the full-text index; empty: not asked for */
    int64_t after_msg, before_msg; /* of the log, exclusive: a search is in the log's order */
    enum fulltext_state index;
    struct rsm rsm;
    bool flip;
    /* result */
    uint64_t *found; /* ids of the page, rising; limit + 1 fit */
    uint32_t limit, found_count;
    bool complete;
    int64_t count; /* of all that match; -1: not known */
};

#define JOINED                                                                                     \
    " JOIN message m ON m.id = e.msg WHERE e.owner = $1 AND e.id > $2 AND e.id < $3"               \
    " AND e.flags < 2 AND m.at_us >= $4 AND m.at_us <= $5"
#define FOUND " FROM entry e" JOINED
/* Left alone, SQLite would walk over the whole archive in the order of ids. */
#define FOUND_WITH " FROM entry e INDEXED BY entry_peer" JOINED WITH
/* $8, $9: the begin of the stanza, and what follows its first value, for a full JID; else empty. */
#define FULL_JID                                                                                   \
    " AND ($8 = '' OR substr(m.stanza, 1, length($8)) = $8"                                        \
    " OR substr(m.stanza, 15 + instr(substr(m.stanza, 16), ''''), length($9)) = $9)"
/* $6 the peer; $7 its address if it is not one of ours. */
#define WITH " AND e.peer = $6 AND (e.peer <> 0 OR m.remote = $7)" FULL_JID

static struct store_stmt find_first = {
    .name = "mam.first",
    .sql = "SELECT e.id" FOUND " ORDER BY e.id LIMIT $6",
    .params = "iiiiii",
    .cols = "i",
};
static struct store_stmt find_last = {
    .name = "mam.last",
    .sql = "SELECT e.id" FOUND " ORDER BY e.id DESC LIMIT $6",
    .params = "iiiiii",
    .cols = "i",
};
static struct store_stmt find_first_with = {
    .name = "mam.first-with",
    .sqlite = "SELECT e.id" FOUND_WITH " ORDER BY e.id LIMIT $10",
    .params = "iiiiiittti",
    .cols = "i",
};
static struct store_stmt find_last_with = {
    .name = "mam.last-with",
    .sqlite = "SELECT e.id" FOUND_WITH " ORDER BY e.id DESC LIMIT $10",
    .params = "iiiiiittti",
    .cols = "i",
};
static struct store_stmt count_all = {
    .name = "mam.count",
    .sql = "SELECT count(*) FROM (SELECT 1" FOUND " LIMIT $6) c",
    .params = "iiiiii",
    .cols = "i",
};
static struct store_stmt count_with = {
    .name = "mam.count-with",
    .sqlite = "SELECT count(*) FROM (SELECT 1" FOUND_WITH " LIMIT $10) c",
    .params = "iiiiiittti",
    .cols = "i",
};
/* In the order of the log, which the index has; the ids of an archive rise with it but for messages
 * that were on their way at the same time. $6 is -1 for anybody. */
#define WORDS                                                                                      \
    " FROM message_fts f JOIN message m ON m.id = f.rowid JOIN entry e ON e.owner = $1"            \
    " AND e.id = CASE WHEN m.rcpt = $1 AND m.rcpt_entry <> 0 THEN m.rcpt_entry"                    \
    " ELSE m.sender_entry END WHERE f.message_fts MATCH $11 AND f.rowid > $2 AND f.rowid < $3"     \
    " AND m.at_us >= $4 AND m.at_us <= $5 AND e.flags < 2 AND ($6 = -1 OR (e.peer = $6"            \
    " AND (e.peer <> 0 OR m.remote = $7)))" FULL_JID
static struct store_stmt find_first_words = {
    .name = "mam.first-words",
    .sqlite = "SELECT e.id" WORDS " ORDER BY f.rowid LIMIT $10",
    .params = "iiiiiitttit",
    .cols = "i",
};
static struct store_stmt find_last_words = {
    .name = "mam.last-words",
    .sqlite = "SELECT e.id" WORDS " ORDER BY f.rowid DESC LIMIT $10",
    .params = "iiiiiitttit",
    .cols = "i",
};
static struct store_stmt count_words = {
    .name = "mam.count-words",
    .sqlite = "SELECT count(*) FROM (SELECT 1" WORDS " LIMIT $10) c",
    .params = "iiiiiitttit",
    .cols = "i",
};
static struct store_stmt find_peer = {
    .name = "mam.peer",
    .sql = "SELECT coalesce((SELECT id FROM account WHERE jid = $1),"
           " (SELECT max(id) FROM former WHERE jid = $1), 0)",
    .params = "t",
    .cols = "i",
};
static struct store_stmt find_id = {
    .name = "mam.id",
    .sql = "SELECT id, msg FROM entry WHERE owner = $1 AND id = $2 AND flags < 2",
    .params = "ii",
    .cols = "ii",
};
static struct store_stmt read_ends = {
    .name = "mam.ends",
    .sql = "SELECT e.id, m.at_us FROM entry e JOIN message m ON m.id = e.msg WHERE e.owner = $1"
           " AND (e.id = (SELECT min(id) FROM entry WHERE owner = $1 AND flags < 2)"
           " OR e.id = (SELECT max(id) FROM entry WHERE owner = $1 AND flags < 2)) ORDER BY e.id",
    .params = "i",
    .cols = "ii",
};
struct store_stmt *const mam_query_stmts[] = {
    &find_first, &find_last, &find_first_with,  &find_last_with,  &count_all,   &count_with,
    &find_peer,  &find_id,   &find_first_words, &find_last_words, &count_words, &read_ends,
    NULL
};

static void send_page(struct query *q);

/* Archive ids are decimal numbers as clients see them. */
static bool read_id(slice text, uint64_t *out)
{
    int64_t id;
    if (text.len == 0 || text.ptr[0] < '1' || text.ptr[0] > '9' || !slice_int(text, &id))
        return false;
    *out = (uint64_t)id;
    return true;
}

/* Its answer follows, which frees it. */
static struct iq *end(const struct query *q)
{
    session_unclaim(q->worker, q->session);
    return q->iq;
}

static void fail(const struct query *q, enum store_result r)
{
    iq_error(end(q), stanza_error_of(err_of_store(r)), (slice){ 0 });
}

/* Reading the query. */

static const char *const fields[] = {
    "with",         "start", "end", "before-id", "after-id", "ids", "include-groupchat",
    FULLTEXT_FIELD, NULL
};

/* An id that is not one of ours, or not there, is answered the same way (§4.1.3). */
static void want(struct query *q, struct form *f, slice text, enum want_as as)
{
    struct wanted *w = &q->wanted[q->wanted_count];
    if (!read_id(text, &w->id)) {
        form_wrong(f, SE_ITEM_NOT_FOUND, "no such id in the archive");
        return;
    }
    w->as = as;
    q->wanted_count++;
    if (as == WANT_AFTER && w->id > q->after)
        q->after = w->id;
    if (as == WANT_BEFORE && w->id < q->before)
        q->before = w->id;
}

static void read_ids(struct query *q, struct form *f)
{
    if (!form_values(f, "ids", &q->ids, &q->id_count) || q->id_count == 0)
        return;
    if (q->id_count > IDS_MAX) {
        form_wrong(f, SE_BAD_REQUEST, "at most %d ids can be asked for at once", IDS_MAX);
        return;
    }
    for (unsigned i = 0; i < q->id_count; i++)
        want(q, f, q->ids[i], WANT_ID);
}

static void read_words(struct query *q, struct form *f, slice text)
{
    q->match = fulltext_match(q->account->id, text, q->iq->tmp);
    if (!setting_bool(&mam_fulltext))
        form_wrong(f, SE_FEATURE_NOT_IMPLEMENTED, "there is no full-text search here");
    else if (q->match.len == 0)
        form_wrong(f, SE_BAD_REQUEST, "there is no word to search for");
    else if (q->id_count > 0)
        form_wrong(f, SE_BAD_REQUEST, "ids are not searched");
}

static void read_form(struct query *q, struct form *f)
{
    slice id;
    bool groupchat;
    if (!form_expect(f, NS_MAM) || !form_only(f, fields, SE_FEATURE_NOT_IMPLEMENTED))
        return;
    read_ids(q, f);
    form_jid(f, "with", &q->with);
    form_time(f, "start", &q->start_us);
    form_time(f, "end", &q->end_us);
    form_bool(f, "include-groupchat", &groupchat); /* there are none */
    if (form_text(f, "after-id", &id))
        want(q, f, id, WANT_AFTER);
    if (form_text(f, "before-id", &id))
        want(q, f, id, WANT_BEFORE);
    if (form_text(f, FULLTEXT_FIELD, &id) && id.len > 0)
        read_words(q, f, id);
    if (f->error == SE_NOT_ACCEPTABLE) /* it is a query, not a form to be filled in again */
        f->error = SE_BAD_REQUEST;
}

static void read_rsm(struct query *q, struct form *f)
{
    const char *why;
    if (!rsm_parse(&q->rsm, &q->iq->payload, q->iq->tmp, &why)) {
        form_wrong(f, SE_BAD_REQUEST, "%s", why);
        return;
    }
    if (q->rsm.place == RSM_INDEX) /* XEP-0059 §2.6 */
        form_wrong(f, SE_FEATURE_NOT_IMPLEMENTED, "pages are asked for by id");
    if (q->rsm.place == RSM_AFTER)
        want(q, f, q->rsm.id, WANT_AFTER);
    if (q->rsm.place == RSM_BEFORE)
        want(q, f, q->rsm.id, WANT_BEFORE);
}

/* What is wrong with the query is noted in the form, even if there is none. */
static void read_query(struct query *q, struct form *f)
{
    struct elem e;
    struct iq *iq = q->iq;
    form_parse_child(f, &iq->payload, iq->tmp);
    if (f->error == SE_NONE && f->field != NULL)
        read_form(q, f);
    if (elem_attr_raw(&iq->payload, "node").ptr != NULL) /* §5.1.3: only of pubsub archives */
        form_wrong(f, SE_ITEM_NOT_FOUND, "the archive has no nodes");
    slice query_id = elem_attr_raw(&iq->payload, "queryid");
    if (query_id.len > QUERY_ID_MAX)
        form_wrong(f, SE_BAD_REQUEST, "the queryid is too long");
    if (query_id.ptr != NULL)
        q->query_id = elem_attr(&iq->payload, "queryid", iq->tmp);
    q->flip = elem_child(&iq->payload, "flip-page", NS_MAM, &e);
    read_rsm(q, f);
    uint32_t most = (uint32_t)setting_int(&mam_page_max);
    q->limit = q->rsm.max == UINT32_MAX ? (uint32_t)setting_int(&mam_page_default) : q->rsm.max;
    if (q->limit > most)
        q->limit = most;
}

/* Finding. */

static bool backwards(const struct query *q)
{
    return q->rsm.place == RSM_BEFORE || q->rsm.place == RSM_LAST;
}

/* How a stanza with this full JID as `from` begins, and what follows the value of `from` if it is
 * the `to`: stanza_store() writes from and to first, with the quotes in them escaped. */
static void full_jid_texts(const struct query *q, slice *from, slice *to)
{
    struct buf text;
    *from = *to = SLICE("");
    if (q->with.resource.len == 0)
        return;
    buf_init(&text, 8 * JID_MAX);
    buf_lit(&text, "<message from='");
    xml_escape(&text, q->with.full);
    buf_lit(&text, "'");
    *from = slice_dup(q->iq->tmp, buf_slice(&text));
    buf_clear(&text);
    buf_lit(&text, "' to='");
    xml_escape(&text, q->with.full);
    buf_lit(&text, "'");
    *to = slice_dup(q->iq->tmp, buf_slice(&text));
    buf_fini(&text);
}

struct range {
    uint64_t after, before;
    uint32_t limit;
};

static void add_find(const struct query *q, struct store_batch *b, const struct store_stmt *all,
                     const struct store_stmt *with, struct range r)
{
    slice from, to;
    if (q->with.full.len == 0) {
        STORE_ADD(b, all, STORE_ANY_ROWS, SV_I(q->account->id), SV_I(r.after), SV_I(r.before),
                  SV_I(q->start_us), SV_I(q->end_us), SV_I(r.limit));
        return;
    }
    full_jid_texts(q, &from, &to);
    STORE_ADD(b, with, STORE_ANY_ROWS, SV_I(q->account->id), SV_I(r.after), SV_I(r.before),
              SV_I(q->start_us), SV_I(q->end_us), SV_I(q->peer), SV_T(jid_bare(&q->with)),
              SV_T(from), SV_T(to), SV_I(r.limit));
}

static int by_id(const void *a, const void *b)
{
    uint64_t x = ((const struct wanted *)a)->id, y = ((const struct wanted *)b)->id;
    return (x > y) - (x < y);
}

/* Cuts to the page: one more than its limit was looked for, and the other way round if backwards.
 */
static void cut_page(struct query *q)
{
    q->complete = q->found_count <= q->limit;
    if (q->complete && (q->rsm.place == RSM_FIRST || q->rsm.place == RSM_LAST))
        q->count = q->found_count;
    if (!q->complete)
        q->found_count = q->limit;
    for (uint32_t i = 0; backwards(q) && i < q->found_count / 2; i++) {
        uint64_t *one = &q->found[i], *other = &q->found[q->found_count - 1 - i], id = *one;
        *one = *other;
        *other = id;
    }
}

static void found(void *arg, enum store_result r, const struct store_batch *b)
{
    struct query *q = arg;
    if (r != STORE_OK) {
        fail(q, r);
        return;
    }
    q->found_count = 0;
    for (unsigned s = 0; s < store_stmt_count(b) && q->limit > 0; s++)
        for (uint32_t i = 0; i < store_row_count(b, s) && q->found_count <= q->limit; i++)
            q->found[q->found_count++] = (uint64_t)store_int(b, s, i, 0);
    if (q->limit > 0) {
        cut_page(q);
    } else { /* only the count was asked for (XEP-0059 §2.7) */
        int64_t n = store_int(b, 0, 0, 0);
        q->complete = n == 0;
        q->count = n <= COUNT_MAX ? n : -1;
    }
    send_page(q);
}

/* The ids that were asked for, in their order in the archive; each once. */
static void add_find_ids(struct query *q, struct store_batch *b)
{
    unsigned added = 0;
    qsort(q->wanted, q->id_count, sizeof *q->wanted, by_id);
    for (unsigned k = 0; k < q->id_count && added <= q->limit; k++) {
        unsigned at = backwards(q) ? q->id_count - 1 - k : k;
        uint64_t id = q->wanted[at].id;
        bool again = at > 0 && id == q->wanted[at - 1].id;
        if (again || id <= q->after || id >= q->before)
            continue;
        add_find(q, b, &find_first, &find_first_with, (struct range){ id - 1, id + 1, 1 });
        added++;
    }
}

static void add_find_words(const struct query *q, struct store_batch *b,
                           const struct store_stmt *stmt, uint32_t limit)
{
    slice from, to;
    bool with = q->with.full.len > 0;
    full_jid_texts(q, &from, &to);
    STORE_ADD(b, stmt, STORE_ANY_ROWS, SV_I(q->account->id), SV_I(q->after_msg),
              SV_I(q->before_msg), SV_I(q->start_us), SV_I(q->end_us), SV_I(with ? q->peer : -1),
              SV_T(with ? jid_bare(&q->with) : SLICE("")), SV_T(from), SV_T(to), SV_I(limit),
              SV_T(q->match));
}

static void find_words(struct query *q, struct store_batch *b)
{
    if (q->limit == 0)
        add_find_words(q, b, &count_words, COUNT_MAX + 1);
    else
        add_find_words(q, b, backwards(q) ? &find_last_words : &find_first_words, q->limit + 1);
    store_submit(b, q->worker->loop, FIND_MS, found, q);
}

static void find(struct query *q, struct store_batch *b)
{
    struct range r = { q->after, q->before, q->limit + 1 };
    if (q->start_us > 0 && (uint64_t)q->start_us > r.after + CLOCK_SLACK_US)
        r.after = (uint64_t)q->start_us - CLOCK_SLACK_US;
    if (q->end_us >= 0 && (uint64_t)q->end_us < r.before - CLOCK_SLACK_US - 1)
        r.before = (uint64_t)q->end_us + CLOCK_SLACK_US;
    q->found = arena_new(q->iq->tmp, uint64_t, q->limit + 1);
    if (q->match.len > 0) {
        find_words(q, b);
        return;
    }
    if (q->limit == 0)
        add_find(q, b, &count_all, &count_with, (struct range){ r.after, r.before, COUNT_MAX + 1 });
    else if (q->id_count > 0)
        add_find_ids(q, b);
    else if (backwards(q))
        add_find(q, b, &find_last, &find_last_with, r);
    else
        add_find(q, b, &find_first, &find_first_with, r);
    store_submit(b, q->worker->loop, FIND_MS, found, q);
}

static void checked(void *arg, enum store_result r, const struct store_batch *b)
{
    struct query *q = arg;
    if (r != STORE_OK) {
        fail(q, r);
        return;
    }
    for (unsigned i = 0; i < q->wanted_count; i++) {
        if (store_row_count(b, i) == 0) { /* §4.1.3, §4.3.2 */
            iq_error(end(q), SE_ITEM_NOT_FOUND, SLICE("no such id in the archive"));
            return;
        }
        int64_t msg = store_int(b, i, 0, 1);
        if (q->wanted[i].as == WANT_AFTER && msg > q->after_msg)
            q->after_msg = msg;
        if (q->wanted[i].as == WANT_BEFORE && msg < q->before_msg)
            q->before_msg = msg;
    }
    if (q->with.full.len > 0)
        q->peer = store_int(b, q->wanted_count, 0, 0);
    find(q, store_read(q->worker->store, 0));
}

/* Sending. */

static void write_result(struct buf *out, const struct query *q, uint64_t id, uint64_t at_us,
                         slice stanza)
{
    static const slice tag = SLICE_INIT("<message");
    char stamp[CLOCK_STAMP_LEN];
    clock_stamp(stamp, at_us);
    buf_lit(out, "<result xmlns='" NS_MAM "'");
    if (q->query_id.ptr != NULL) {
        buf_lit(out, " queryid='");
        xml_escape(out, q->query_id);
        buf_lit(out, "'");
    }
    buf_printf(out,
               " id='%llu'><forwarded xmlns='" NS_FORWARD "'><delay xmlns='" NS_DELAY
               "' stamp='%s'/>",
               (unsigned long long)id, stamp);
    if (slice_starts(stanza, tag)) { /* else it was taken out of the archive (§3.2) */
        buf_lit(out, "<message xmlns='" NS_CLIENT "'");
        buf_add(out, slice_from(stanza, tag.len));
    }
    buf_lit(out, "</forwarded></result>");
}

static struct stanza *wrap(struct copies *c, const struct session *s, uint64_t id, uint64_t at_us,
                           slice text)
{
    const struct query *q = CONTAINER_OF(c, struct query, copies);
    struct buf out;
    buf_init(&out, STORE_RESULT_BYTES_MAX);
    write_result(&out, q, id, at_us, text);
    struct stanza *st = stanza_make(STANZA_MESSAGE, TYPE_NORMAL, q->account->jid, session_jid(s),
                                    (slice){ 0 }, buf_slice(&out));
    buf_fini(&out);
    return st;
}

static slice id_text(struct arena *tmp, uint64_t id)
{
    return slice_of(arena_printf(tmp, "%llu", (unsigned long long)id));
}

static void finish(struct query *q)
{
    struct arena *tmp = q->iq->tmp;
    struct buf out;
    struct rsm_page page = { .index = -1, .count = q->count };
    if (q->found_count > 0) {
        page.first = id_text(tmp, q->found[0]);
        page.last = id_text(tmp, q->found[q->found_count - 1]);
        if (q->count >= 0)
            page.index = 0;
    }
    buf_init(&out, 4096);
    buf_lit(&out, "<fin xmlns='" NS_MAM "'");
    if (q->complete)
        buf_lit(&out, " complete='true'");
    if (q->index == FULLTEXT_BEHIND) /* §4.3.2 */
        buf_lit(&out, " stable='false'");
    buf_lit(&out, ">");
    rsm_write(&out, &page);
    buf_lit(&out, "</fin>");
    iq_result(end(q), buf_slice(&out));
    buf_fini(&out);
}

static void sent(struct copies *c, enum err e)
{
    struct query *q = CONTAINER_OF(c, struct query, copies);
    if (e == OK)
        finish(q);
    else
        iq_error(end(q), stanza_error_of(e), (slice){ 0 });
}

static void send_page(struct query *q)
{
    uint64_t *ids = q->found;
    if (q->found_count == 0) {
        finish(q);
        return;
    }
    if (q->flip) { /* only the order is another (§4.3.5) */
        ids = arena_new(q->iq->tmp, uint64_t, q->found_count);
        for (uint32_t i = 0; i < q->found_count; i++)
            ids[i] = q->found[q->found_count - 1 - i];
    }
    q->copies = (struct copies){ .account = q->account,
                                 .session = q->session,
                                 .ids = ids,
                                 .count = q->found_count,
                                 .wrap = wrap,
                                 .done = sent,
                                 .settles = true };
    copies_send(&q->copies);
}

/* Entries of the owner that are late are put in place by the first read (design §7). */
static void start(struct query *q)
{
    struct store_batch *b = store_read(q->worker->store, account_lane(q->account));
    store_read_late(b, q->account->id);
    if (q->wanted_count == 0 && q->with.full.len == 0) {
        find(q, b);
        return;
    }
    for (unsigned i = 0; i < q->wanted_count; i++)
        STORE_ADD(b, &find_id, STORE_ANY_ROWS, SV_I(q->account->id), SV_I(q->wanted[i].id));
    if (q->with.full.len > 0)
        STORE_ADD(b, &find_peer, STORE_ANY_ROWS, SV_T(jid_bare(&q->with)));
    store_submit(b, q->worker->loop, 0, checked, q);
}

static void indexed(void *arg, enum fulltext_state state)
{
    struct query *q = arg;
    q->index = state;
    start(q);
}

/* Whose archive it is, asks: §7.1. */
static bool owner_asks(struct iq *iq)
{
    if (iq->target != IQ_TO_SELF)
        iq_error(iq, SE_FORBIDDEN, SLICE("an archive is its owner's"));
    return iq->target == IQ_TO_SELF;
}

void mam_query(struct iq *iq)
{
    struct form f;
    if (!owner_asks(iq))
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
    q->worker = held->worker;
    q->account = held->account;
    q->session = session;
    q->start_us = INT64_MIN;
    q->end_us = INT64_MAX;
    q->before = INT64_MAX;
    q->before_msg = INT64_MAX;
    q->count = -1;
    read_query(q, &f);
    if (f.error != SE_NONE)
        iq_error(end(q), f.error, f.text);
    else if (q->match.len > 0)
        fulltext_catch_up(q->worker, account_lane(q->account), indexed, q);
    else
        start(q);
}

/* Metadata (§4.4): the first and the last message. */

static void write_end(struct buf *out, const char *name, const struct store_batch *b, unsigned stmt,
                      uint32_t row)
{
    char stamp[CLOCK_STAMP_LEN];
    clock_stamp(stamp, (uint64_t)store_int(b, stmt, row, 1));
    buf_printf(out, "<%s id='%lld' timestamp='%s'/>", name, (long long)store_int(b, stmt, row, 0),
               stamp);
}

static void write_metadata(struct buf *out, const struct store_batch *b, unsigned stmt)
{
    uint32_t rows = store_row_count(b, stmt);
    buf_lit(out, "<metadata xmlns='" NS_MAM "'>");
    if (rows > 0) {
        write_end(out, "start", b, stmt, 0);
        write_end(out, "end", b, stmt, rows - 1);
    }
    buf_lit(out, "</metadata>");
}

/* XEP-0386 §4.2: the same for a client that binds by Bind 2. */

void mam_bind2_load(struct account *a, struct store_batch *b)
{
    store_read_late(b, a->id);
    STORE_ADD(b, &read_ends, STORE_ANY_ROWS, SV_I(a->id));
}

void mam_bind2_loaded(struct session *s, const struct store_batch *b, unsigned first,
                      struct buf *bound)
{
    (void)s;
    if (b != NULL)
        write_metadata(bound, b, first);
}

static void ends_read(void *arg, enum store_result r, const struct store_batch *b)
{
    struct iq *iq = arg;
    struct buf out;
    if (r != STORE_OK) {
        iq_error(iq, stanza_error_of(err_of_store(r)), (slice){ 0 });
        return;
    }
    buf_init(&out, 4096);
    write_metadata(&out, b, 0);
    iq_result(iq, buf_slice(&out));
    buf_fini(&out);
}

void mam_metadata(struct iq *iq)
{
    if (!owner_asks(iq))
        return;
    struct account *a = iq->account;
    struct iq *held = iq_hold(iq);
    struct store_batch *b = store_read(a->worker->store, account_lane(a));
    store_read_late(b, a->id);
    STORE_ADD(b, &read_ends, STORE_ANY_ROWS, SV_I(a->id));
    store_submit(b, a->worker->loop, 0, ends_read, held);
}
