#include "xmpp/mam.h"
#include "base/buf.h"
#include "base/clock.h"
#include "codec/xml_elem.h"
#include "codec/xml_write.h"
#include "xmpp/archive_id.h"
#include "xmpp/form.h"
#include "xmpp/ns.h"
#include "xmpp/rsm.h"

/* Reading. */

static const char *const fields[] = {
    "with", "start", "end", "before-id", "after-id", "ids", "include-groupchat", MAM_FULLTEXT_FIELD,
    NULL
};

/* An id that is not one of ours, or not there, is answered the same way (§4.1.3). */
static void want(struct mam_query *q, struct form *f, slice text, enum mam_want_as as)
{
    struct mam_want *w = &q->want[q->want_count];
    if (!archive_id_read(text, &w->id)) {
        form_wrong(f, SE_ITEM_NOT_FOUND, "no such id in the archive");
        return;
    }
    w->as = as;
    q->want_count++;
    if (as == MAM_WANT_AFTER && w->id > q->after)
        q->after = w->id;
    if (as == MAM_WANT_BEFORE && w->id < q->before)
        q->before = w->id;
}

static void read_ids(struct mam_query *q, struct form *f)
{
    const slice *ids;
    if (!form_values(f, "ids", &ids, &q->id_count) || q->id_count == 0)
        return;
    if (q->id_count > MAM_IDS_MAX) {
        form_wrong(f, SE_BAD_REQUEST, "at most %d ids can be asked for at once", MAM_IDS_MAX);
        return;
    }
    for (unsigned i = 0; i < q->id_count; i++)
        want(q, f, ids[i], MAM_WANT_ID);
}

static void read_form(struct mam_query *q, struct form *f)
{
    slice id;
    bool groupchat;
    if (!form_expect(f, NS_MAM) || !form_only(f, fields, SE_FEATURE_NOT_IMPLEMENTED))
        return;
    read_ids(q, f);
    form_jid(f, "with", &q->with);
    form_time(f, "start", &q->start_us);
    form_time(f, "end", &q->end_us);
    form_bool(f, "include-groupchat", &groupchat); /* an archive has them, or has none */
    if (form_text(f, "after-id", &id))
        want(q, f, id, MAM_WANT_AFTER);
    if (form_text(f, "before-id", &id))
        want(q, f, id, MAM_WANT_BEFORE);
    if (form_text(f, MAM_FULLTEXT_FIELD, &q->words) && q->words.len > 0 && q->id_count > 0)
        form_wrong(f, SE_BAD_REQUEST, "ids are not searched");
    if (f->error == SE_NOT_ACCEPTABLE) /* it is a query, not a form to be filled in again */
        f->error = SE_BAD_REQUEST;
}

static void read_rsm(struct mam_query *q, struct form *f, const struct elem *query,
                     struct mam_limits limits)
{
    const char *why;
    struct rsm r;
    if (!rsm_parse(&r, query, f->tmp, &why)) {
        form_wrong(f, SE_BAD_REQUEST, "%s", why);
        return;
    }
    if (r.place == RSM_INDEX) /* XEP-0059 §2.6 */
        form_wrong(f, SE_FEATURE_NOT_IMPLEMENTED, "pages are asked for by id");
    if (r.place == RSM_AFTER)
        want(q, f, r.id, MAM_WANT_AFTER);
    if (r.place == RSM_BEFORE)
        want(q, f, r.id, MAM_WANT_BEFORE);
    q->backwards = r.place == RSM_BEFORE || r.place == RSM_LAST;
    q->open = r.place == RSM_FIRST || r.place == RSM_LAST;
    q->limit = r.max == UINT32_MAX ? limits.page : r.max;
    if (q->limit > limits.page_max)
        q->limit = limits.page_max;
}

void mam_query_read(struct mam_query *out, const struct elem *query, struct mam_limits limits,
                    struct arena *tmp)
{
    struct elem e;
    struct form f; /* notes what is wrong, even if there is none */
    *out = (struct mam_query){ .start_us = INT64_MIN, .end_us = INT64_MAX, .before = INT64_MAX };
    form_parse_child(&f, query, tmp);
    if (f.error == SE_NONE && f.field != NULL)
        read_form(out, &f);
    if (elem_attr_raw(query, "node").ptr != NULL) /* §5.1.3: only of pubsub archives */
        form_wrong(&f, SE_ITEM_NOT_FOUND, "the archive has no nodes");
    slice id = elem_attr_raw(query, "queryid");
    if (id.len > MAM_QUERY_ID_MAX)
        form_wrong(&f, SE_BAD_REQUEST, "the queryid is too long");
    if (id.ptr != NULL)
        out->id = elem_attr(query, "queryid", tmp);
    out->flip = elem_child(query, "flip-page", NS_MAM, &e);
    read_rsm(out, &f, query, limits);
    out->error = f.error;
    out->text = f.text;
}

/* Writing. */

/* §4.1.5: none is required, and ids are not listed. */
static const struct form_row rows[] = {
    { .var = "with", .type = FORM_JID_SINGLE },
    { .var = "start", .type = FORM_TEXT_SINGLE },
    { .var = "end", .type = FORM_TEXT_SINGLE },
    { .var = "before-id", .type = FORM_TEXT_SINGLE },
    { .var = "after-id", .type = FORM_TEXT_SINGLE },
    { .var = "ids",
      .type = FORM_LIST_MULTI,
      .extra = "<validate xmlns='" NS_DATA_VALIDATE "' datatype='xs:string'><open/></validate>" },
    { .var = "include-groupchat", .type = FORM_BOOLEAN },
    { .var = MAM_FULLTEXT_FIELD, .type = FORM_TEXT_SINGLE },
};

void mam_form_write(struct xml_write *x)
{
    xml_open(x, "query", NS_MAM);
    form_open(x, FORM_FORM, NS_MAM);
    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++)
        form_ask(x, &rows[i]);
    form_close(x);
    xml_close(x);
}

static void write_id(struct xml_write *x, uint64_t id)
{
    char text[ARCHIVE_ID_LEN];
    archive_id_write(text, id);
    xml_attr(x, "id", (slice){ text, sizeof text });
}

void mam_result_open(struct xml_write *x, const struct mam_query *q, uint64_t id, uint64_t at_us)
{
    char stamp[CLOCK_STAMP_LEN];
    clock_stamp(stamp, at_us);
    xml_open(x, "result", NS_MAM);
    if (q->id.ptr != NULL)
        xml_attr(x, "queryid", q->id);
    write_id(x, id);
    xml_open(x, "forwarded", NS_FORWARD);
    xml_empty_with(x, "delay", NS_DELAY, "stamp", slice_of(stamp));
}

void mam_result_close(struct xml_write *x)
{
    xml_close(x);
    xml_close(x);
}

void mam_result_write(struct xml_write *x, const struct mam_query *q, uint64_t id, uint64_t at_us,
                      slice text)
{
    static const slice tag = SLICE_INIT("<message");
    mam_result_open(x, q, id, at_us);
    if (slice_starts(text, tag)) {
        xml_raw(x, SLICE("<message xmlns='" NS_CLIENT "'"));
        xml_raw(x, slice_from(text, tag.len));
    }
    mam_result_close(x);
}

void mam_fin_write(struct xml_write *x, const struct mam_fin *fin)
{
    char first[ARCHIVE_ID_LEN], last[ARCHIVE_ID_LEN];
    struct rsm_page page = { .index = -1, .count = fin->count };
    if (fin->first != 0) {
        archive_id_write(first, fin->first);
        archive_id_write(last, fin->last);
        page.first = (slice){ first, sizeof first };
        page.last = (slice){ last, sizeof last };
        if (fin->count >= 0)
            page.index = 0;
    }
    xml_open(x, "fin", NS_MAM);
    if (fin->complete)
        xml_attr(x, "complete", SLICE("true"));
    if (fin->unstable)
        xml_attr(x, "stable", SLICE("false"));
    rsm_write(x, &page);
    xml_close(x);
}

static void write_end(struct xml_write *x, const char *name, const struct mam_end *end)
{
    char stamp[CLOCK_STAMP_LEN];
    clock_stamp(stamp, end->at_us);
    xml_open(x, name, NULL);
    write_id(x, end->id);
    xml_attr(x, "timestamp", slice_of(stamp));
    xml_close(x);
}

void mam_metadata_write(struct xml_write *x, const struct mam_end *first,
                        const struct mam_end *last)
{
    xml_open(x, "metadata", NS_MAM);
    if (first != NULL) {
        write_end(x, "start", first);
        write_end(x, "end", last);
    }
    xml_close(x);
}
