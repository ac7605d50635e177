#include "remote/outgoing.h"
#include "archive/pending.h"
#include "base/arena.h"
#include "base/ensure.h"
#include "base/mem.h"
#include "home/here.h"
#include "home/node.h"
#include "home/question.h"
#include "remote/outgoing_count.h"
#include "xmpp/jid.h"
#include "xmpp/stanza.h"

_Static_assert((int)OUTGOING_PAGE == (int)PENDING_PAGE, "a page is one of the archive");
enum { ID_BYTES = 8, UNSHOWN_BIT = 63, READ_MS = 30000 };

/* What is said of messages of one sender, to its home. */
struct outgoing_told {
    slice domain;
    int64_t sender;
    uint8_t word;
    slice ids; /* ID_BYTES each, the lowest byte first; the highest bit: unshown */
};

static void outgoing_id_pack(char *out, const struct outgoing_id *id)
{
    uint64_t n = id->entry | (uint64_t)id->unshown << UNSHOWN_BIT;
    for (unsigned i = 0; i < ID_BYTES; i++)
        out[i] = (char)(n >> 8 * i & 0xff);
}

static struct outgoing_id outgoing_id_unpack(slice ids, unsigned at)
{
    uint64_t n = 0;
    for (unsigned i = 0; i < ID_BYTES; i++)
        n |= (uint64_t)(unsigned char)ids.ptr[at * ID_BYTES + i] << 8 * i;
    return (struct outgoing_id){ .entry = n & ~(1ull << UNSHOWN_BIT),
                                 .unshown = n >> UNSHOWN_BIT != 0 };
}

/* At the home of the sender. */
struct told {
    struct worker *worker;
    struct message_from from;
    bool read;
    uint16_t messages;
    uint16_t stmts; /* that settle them; at most 3 for each */
    int64_t sender;
    slice domain; /* on the heap */
};

/* So many have waited until now: two connections may confirm the same ones. */
static uint32_t told_settled(const struct told *t, const struct store_batch *b)
{
    uint32_t settled = 0;
    for (unsigned i = 0; i < t->stmts && settled < t->messages; i++)
        settled += store_changed(b, i) > 0;
    return settled;
}

static void outgoing_told_done(void *arg, enum store_result r, const struct store_batch *b)
{
    struct told *t = arg;
    enum err e = err_of_store(r);
    if (r == STORE_OK && t->read && store_row_count(b, 0) == 0)
        e = E_NOTFOUND;
    question_answer(t->worker, &t->from, &outgoing_answer,
                    &(struct outgoing_answered){ (uint8_t)e });
    question_end(t->worker, &t->from);
    if (r == STORE_OK && !t->read)
        outgoing_count_settled(t->worker, t->domain, t->sender, told_settled(t, b));
    slice_release(&t->domain);
    mem_free(&t);
}

static void outgoing_run(struct worker *w, void *message, const struct message_from *from)
{
    const struct outgoing_told *m = message;
    struct told *t = mem_new(struct told);
    *t = (struct told){ .worker = w,
                        .from = *from,
                        .read = m->word == OUTGOING_ASKED,
                        .messages = (uint16_t)(m->ids.len / ID_BYTES),
                        .sender = m->sender,
                        .domain = slice_keep(m->domain) };
    bool unshown = false;
    struct store_batch *b = t->read ? store_read(worker_store(w), (uint64_t)m->sender)
                                    : store_write(worker_store(w), (uint64_t)m->sender);
    for (unsigned i = 0; i < m->ids.len / ID_BYTES; i++) {
        struct outgoing_id id = outgoing_id_unpack(m->ids, i);
        if (t->read)
            archive_pending_has(b, m->domain, m->sender, id.entry);
        else
            t->stmts += (uint16_t)archive_pending_settle(b, m->domain, m->sender, id.entry,
                                                         id.unshown, false);
        unshown |= id.unshown;
    }
    if (unshown && !t->read)
        archive_pending_sweep(b);
    /* If a write did not wait for its outcome, it would be said again, behind the first. */
    store_submit(b, worker_loop(w), t->read ? 0 : STORE_COMMIT_MS, outgoing_told_done, t);
}

static bool outgoing_is_sound(struct worker *w, const void *message,
                              const struct message_from *from)
{
    const struct outgoing_told *m = message;
    (void)w, (void)from;
    return m->sender > 0 && m->ids.len > 0 && m->ids.len % ID_BYTES == 0 &&
           (m->word == OUTGOING_CONFIRMED || m->ids.len == ID_BYTES);
}

static const struct message_field outgoing_fields[] = {
    F_BARE(struct outgoing_told, domain),
    F_I64(struct outgoing_told, sender),
    F_U8(struct outgoing_told, word, OUTGOING_ASKED),
    F_BYTES(struct outgoing_told, ids, OUTGOING_MANY *ID_BYTES),
    { 0 },
};
static const struct message_field outgoing_answer_fields[] = {
    F_ERR(struct outgoing_answered, err),
    { 0 },
};
const struct message_row outgoing_answer = {
    .id = 101,
    .scope = MESSAGE_CLUSTER,
    .name = "outgoing-answer",
    .size = sizeof(struct outgoing_answered),
    .fields = outgoing_answer_fields,
};
const struct message_row outgoing_message = {
    .id = 100,
    .scope = MESSAGE_CLUSTER,
    .name = "outgoing",
    .size = sizeof(struct outgoing_told),
    .fields = outgoing_fields,
    .run = outgoing_run,
    .sound = outgoing_is_sound,
    .answer = &outgoing_answer,
    .later = true,
};

/* Who says it. */
struct telling {
    outgoing_fn *done;
    void *arg;
    enum err error;
};

static void telling_answer(struct worker *w, void *arg, void *answer,
                           const struct message_from *from)
{
    (void)w, (void)from;
    ((struct telling *)arg)->error = (enum err)((const struct outgoing_answered *)answer)->err;
}

static void telling_end(struct worker *w, void *arg)
{
    struct telling t = *(struct telling *)arg;
    (void)w;
    mem_free(&arg);
    t.done(t.arg, t.error);
}

static void telling_drop(void *arg) { mem_free(&arg); }

void outgoing_total(struct store_batch *b, slice domain)
{
    archive_pending_total(b, domain, OUTGOING_TOTAL_MAX);
}

void outgoing_all(struct store_batch *b) { archive_pending_all(b, OUTGOING_TOTAL_MAX); }

void outgoing_totals(struct store_batch *b) { archive_pending_totals(b, OUTGOING_TOTAL_MAX); }

void outgoing_ask(const struct outgoing_pair *pair, const struct outgoing_id *id,
                  const struct message_row *row, void *message, outgoing_fn *done, void *arg)
{
    struct worker *w = pair->worker;
    uint32_t node;
    unsigned home = node_home_of_slot(worker_node(w), id->slot, &node);
    struct telling *t = mem_new(struct telling);
    ensure(row->answer == &outgoing_answer);
    *t = (struct telling){ done, arg, E_DOWN };
    home_ask_at(
        w, node, home, row, message,
        &(struct asker){
            .gather = telling_answer, .done = telling_end, .arg = t, .drop = telling_drop });
}

void outgoing_tell(const struct outgoing_pair *pair, const struct outgoing_id *ids, unsigned count,
                   enum outgoing_word word, outgoing_fn *done, void *arg)
{
    char packed[OUTGOING_MANY * ID_BYTES];
    ensure(count > 0 && count <= OUTGOING_MANY && (count == 1 || word == OUTGOING_CONFIRMED));
    for (unsigned i = 0; i < count; i++) {
        ensure(ids[i].sender == ids[0].sender && ids[i].entry != 0);
        outgoing_id_pack(packed + i * ID_BYTES, &ids[i]);
    }
    outgoing_ask(pair, &ids[0], &outgoing_message,
                 &(struct outgoing_told){ .domain = pair->remote,
                                          .sender = ids[0].sender,
                                          .word = (uint8_t)word,
                                          .ids = { packed, count * ID_BYTES } },
                 done, arg);
}

/* Pages. */

struct outgoing_read {
    struct worker *worker;
    struct store_op *op;
    outgoing_page_fn *done;
    void *arg;
    slice local; /* in this block */
};

/* From this domain of ours: the rows are those of all. */
static bool outgoing_is_from(const struct outgoing_read *r, slice from)
{
    return slice_eq(jid_split(from).domain, r->local);
}

/* false: it is from another domain of ours. A sender that is no account has its address in the
 * stanza alone; if that is damaged, the row ends with whoever reads it first. */
static bool outgoing_line_read(const struct outgoing_read *r, struct outgoing_line *line,
                               const struct archive_pending *p)
{
    struct worker *w = r->worker;
    slice from = p->from;
    if (from.ptr != NULL && !outgoing_is_from(r, from))
        return false;
    *line = (struct outgoing_line){ .at_us = p->at_us };
    if (stanza_load(&line->st, p->stanza, worker_xml(w), loop_scratch(worker_loop(w))) != OK)
        line->st = NULL;
    if (from.ptr == NULL && line->st != NULL)
        from = stanza_from_bare(line->st);
    line->id = (struct outgoing_id){ .sender = p->sender,
                                     .entry = p->id,
                                     .slot = (uint16_t)node_slot(from),
                                     .unshown = p->unshown };
    if (p->from.ptr == NULL && line->st != NULL && !outgoing_is_from(r, from)) {
        stanza_unref(&line->st);
        return false;
    }
    if (p->taken_back)
        stanza_unref(&line->st);
    return true;
}

static void outgoing_page_read(void *arg, enum store_result result, const struct store_batch *b)
{
    struct outgoing_read *r = arg;
    struct outgoing_line lines[PENDING_PAGE];
    uint32_t rows = result == STORE_OK ? store_row_count(b, 0) : 0;
    struct outgoing_page page = { .error = err_of_store(result),
                                  .lines = lines,
                                  .more = rows == PENDING_PAGE };
    for (uint32_t i = 0; i < rows; i++) {
        struct archive_pending p = archive_pending_of(b, i);
        struct outgoing_line *line = &lines[page.count];
        page.last = (struct outgoing_id){ .sender = p.sender, .entry = p.id };
        page.count += outgoing_line_read(r, line, &p);
    }
    outgoing_page_fn *done = r->done;
    void *of = r->arg;
    mem_free(&r);
    done(of, &page);
    for (unsigned i = 0; i < page.count; i++)
        stanza_unref(&lines[i].st);
}

struct outgoing_read *outgoing_read(const struct outgoing_pair *pair,
                                    const struct outgoing_id *behind, uint64_t before_us,
                                    outgoing_page_fn *done, void *arg)
{
    struct worker *w = pair->worker;
    struct outgoing_read *r = mem_zalloc(sizeof *r + pair->local.len);
    char *at = (char *)(r + 1);
    r->worker = w;
    r->done = done;
    r->arg = arg;
    r->local = slice_lay(&at, pair->local);
    struct store_batch *b = store_read(worker_store(w), 0);
    archive_pending_read(b, pair->remote, behind->sender, behind->entry, before_us);
    r->op = store_submit(b, worker_loop(w), READ_MS, outgoing_page_read, r);
    return r;
}

void outgoing_cancel(struct outgoing_read **pr)
{
    struct outgoing_read *r = *pr;
    *pr = NULL;
    if (r == NULL)
        return;
    store_cancel(&r->op);
    mem_free(&r);
}

/* Pairs of domains. */

enum { FIND_AGAIN_MS = 5000 };

static void outgoing_find_begin(struct outgoing_find *f);
static void outgoing_find_behind(struct outgoing_find *f, slice domain, int64_t sender);

static void outgoing_find_due(struct timer *t, struct loop *loop)
{
    (void)loop;
    outgoing_find_begin(CONTAINER_OF(t, struct outgoing_find, timer));
}

static void outgoing_pair_found(struct outgoing_find *f, const struct archive_pending_pair *p)
{
    struct stanza *st = NULL;
    slice from = p->from;
    if (from.ptr == NULL && p->stanza.ptr != NULL &&
        stanza_load(&st, p->stanza, worker_xml(f->worker), loop_scratch(worker_loop(f->worker))) ==
            OK)
        from = stanza_from_bare(st);
    if (from.ptr != NULL)
        f->found(&(struct outgoing_pair){
            .worker = f->worker, .local = jid_split(from).domain, .remote = p->domain });
    stanza_unref(&st);
}

static void outgoing_pairs_read(void *arg, enum store_result r, const struct store_batch *b)
{
    struct outgoing_find *f = arg;
    f->op = NULL;
    if (r != STORE_OK) {
        timer_set(worker_loop(f->worker), &f->timer, FIND_AGAIN_MS);
        return;
    }
    uint32_t rows = store_row_count(b, 0);
    for (uint32_t i = 0; i < rows; i++) {
        struct archive_pending_pair p = archive_pending_pair_of(b, i);
        outgoing_pair_found(f, &p);
    }
    if (rows == PENDING_PAGE) {
        struct archive_pending_pair last = archive_pending_pair_of(b, rows - 1);
        outgoing_find_behind(f, last.domain, last.sender);
    } else if (f->again) {
        outgoing_find_begin(f);
    }
}

static void outgoing_find_behind(struct outgoing_find *f, slice domain, int64_t sender)
{
    struct store_batch *b = store_read(worker_store(f->worker), 0);
    archive_pending_pairs(b, domain, sender);
    f->op = store_submit(b, worker_loop(f->worker), READ_MS, outgoing_pairs_read, f);
}

static void outgoing_find_begin(struct outgoing_find *f)
{
    f->again = false;
    outgoing_find_behind(f, SLICE(""), 0);
}

void outgoing_find(struct outgoing_find *f, struct worker *w, outgoing_found_fn *found)
{
    bool under_way = f->op != NULL;
    f->worker = w;
    f->found = found;
    f->timer.fn = outgoing_find_due;
    timer_cancel(&f->timer);
    if (under_way)
        f->again = true;
    else
        outgoing_find_begin(f);
}

void outgoing_find_stop(struct outgoing_find *f)
{
    store_cancel(&f->op);
    timer_cancel(&f->timer);
}
