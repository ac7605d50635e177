#include "ext/mam/mam_fulltext.h"
#include "archive/archive.h"
#include "archive/reader.h"
#include "base/alarm.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/ensure.h"
#include "base/mem.h"
#include "codec/xml_elem.h"
#include "ext/mam/mam_quota.h"
#include "home/here.h"
#include "home/message.h"
#include "io/timer.h"
#include "store/words.h"
#include "xmpp/ns.h"
#include "xmpp/stanza.h"
#include <stdio.h>

#define PRIVATE "\xee\x80\x80" /* U+E000, which the tokenizer takes for a letter */

enum {
    STEP_ROWS = 256,
    STEP_BYTES = 2 << 20, /* five times that as vectors of short words, which a batch has to hold */
    TEXT_MAX = 32 << 10,
    MATCH_BYTES_MAX = 4 * TEXT_MAX,
    WORDS_MAX = 32,
    DELAY_MS = 250, /* from a message to the index, when nobody searches */
    CATCH_UP_US = 2000000,
    BUSY = 500,          /* messages within DELAY_MS: too busy to index in the background */
    POSTPONED_MAX = 2400 /* times DELAY_MS */
};

struct setting mam_fulltext = {
    .name = "archive.fulltext",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_BOOL,
    .def = 1,
    .doc = "Indexes the words of archived messages, so that users can search them (XEP-0431). "
           "Messages that arrive while it is off are indexed when it is turned on again.",
};

static struct store_stmt read_log = {
    .name = "fulltext.read",
    .sql = "SELECT id, sender, sender_entry, rcpt, rcpt_entry, flags, stanza FROM message"
           " WHERE" LOG_BEHIND("fulltext") " ORDER BY id LIMIT $1",
    .params = "i",
    .cols = "iiiiiit",
};
static struct store_stmt put_words = {
    .name = "fulltext.put",
    .sqlite = "INSERT INTO message_fts(rowid, words) VALUES($1, $2)",
    .pgsql = "INSERT INTO message_fts(id, words) VALUES($1, CAST($2 AS tsvector))",
    .params = "it",
    .cols = "",
};
/* Only what was indexed may be taken out, else the index would be wrong. */
static struct store_stmt drop_words = {
    .name = "fulltext.drop",
    .sqlite = "INSERT INTO message_fts(message_fts, rowid, words) SELECT 'delete', $1, $2"
              " WHERE $1 <= (SELECT position FROM reader WHERE name = 'fulltext')",
    .pgsql = "DELETE FROM message_fts WHERE id = $1 AND $2 <> ''",
    .params = "it",
    .cols = "",
};
/* Nor may what is not indexed yet be put in: the reader of the log will. */
static struct store_stmt put_words_again = {
    .name = "fulltext.again",
    .sqlite = "INSERT INTO message_fts(rowid, words) SELECT $1, $2"
              " WHERE $1 <= (SELECT position FROM reader WHERE name = 'fulltext')",
    .pgsql = "INSERT INTO message_fts(id, words) SELECT $1, CAST($2 AS tsvector)"
             " WHERE $1 <= (SELECT position FROM reader WHERE name = 'fulltext')",
    .params = "it",
    .cols = "",
};
/* A write, before which the store makes an index anew that a search has found damaged. */
static struct store_stmt look_words = {
    .name = "fulltext.look",
    .sql = "UPDATE reader SET position = position WHERE name = 'fulltext'",
    .params = "",
    .cols = "",
};
/* In the order of the log, which the index has; the ids of an archive rise with it but for messages
 * that were on their way at the same time. $6 is -1 for anybody. */
#define FOUND(id, matches, find)                                                                   \
    " FROM message_fts f JOIN message m ON m.id = " id " JOIN entry e ON e.owner = $1"             \
    " AND e.id = CASE WHEN m.rcpt = $1 AND m.rcpt_entry <> 0 THEN m.rcpt_entry"                    \
    " ELSE m.sender_entry END WHERE " matches " AND " id " > $2 AND " id " < $3"                   \
    " AND m.at_us >= $4 AND m.at_us <= $5 AND e.flags < 2 AND ($6 = -1 OR (e.peer = $6"            \
    " AND (e.peer <> 0 OR $7 = '' OR m.remote = $7)))" ARCHIVE_FULL_JID(find)
#define SQLITE_FOUND FOUND("f.rowid", "f.message_fts MATCH $11", "instr")
#define PGSQL_FOUND  FOUND("f.id", "f.words @@ CAST($11 AS tsquery)", "strpos")
static struct store_stmt find_first_words = {
    .name = "fulltext.first",
    .sqlite = "SELECT e.id" SQLITE_FOUND " ORDER BY f.rowid LIMIT $10",
    .pgsql = "SELECT e.id" PGSQL_FOUND " ORDER BY f.id LIMIT $10",
    .params = "iiiiiitttit",
    .cols = "i",
};
static struct store_stmt find_last_words = {
    .name = "fulltext.last",
    .sqlite = "SELECT e.id" SQLITE_FOUND " ORDER BY f.rowid DESC LIMIT $10",
    .pgsql = "SELECT e.id" PGSQL_FOUND " ORDER BY f.id DESC LIMIT $10",
    .params = "iiiiiitttit",
    .cols = "i",
};
static struct store_stmt count_words = {
    .name = "fulltext.count",
    .sqlite = "SELECT count(*) FROM (SELECT 1" SQLITE_FOUND " LIMIT $10) c",
    .pgsql = "SELECT count(*) FROM (SELECT 1" PGSQL_FOUND " LIMIT $10) c",
    .params = "iiiiiitttit",
    .cols = "i",
};
struct store_stmt *const mam_fulltext_stmts[] = {
    &read_log,    &put_words,  &drop_words, &put_words_again, &find_first_words, &find_last_words,
    &count_words, &look_words, NULL
};

/* Words. */

/* Without our private character, with which nobody may claim words for an account. */
static void mam_fulltext_add_text(struct buf *out, slice text)
{
    static const slice mark = SLICE_INIT(PRIVATE);
    while (text.len > 0 && out->len < TEXT_MAX) {
        const char *at = memmem(text.ptr, text.len, mark.ptr, mark.len);
        size_t len = at == NULL ? text.len : (size_t)(at - text.ptr);
        buf_append(out, text.ptr, len);
        buf_lit(out, " ");
        text = slice_from(text, at == NULL ? len : len + mark.len);
    }
}

static bool is_encrypted(const struct elem *e)
{
    static const char *const methods[] = { "eu.siacs.conversations.axolotl",
                                           "urn:xmpp:omemo:",
                                           "urn:xmpp:openpgp:",
                                           "urn:xmpp:eme:",
                                           "jabber:x:encrypted",
                                           NULL };
    for (unsigned i = 0; methods[i] != NULL; i++)
        if (slice_starts(e->ns_uri, slice_of(methods[i])))
            return true;
    return false;
}

static void cut_text(struct buf *out)
{
    if (out->len <= TEXT_MAX)
        return;
    out->len = TEXT_MAX;
    while (out->len > 0 && ((uint8_t)out->ptr[out->len] & 0xc0) == 0x80)
        out->len--;
}

/* A word that finds what is in the archive of this owner. */
static void add_owner(struct buf *out, int64_t id)
{
    buf_lit(out, " " PRIVATE);
    buf_int(out, id);
}

/* The same for the same message always: what is taken out of the index must be what went in.
 * false: nothing of it is indexed. */
static bool message_words(struct buf *out, const struct archive_line *m, struct arena *tmp)
{
    struct elem top, e;
    bool sent = m->sender_entry != 0,
         received = m->rcpt_entry != 0 && (m->flags & ENTRY_HIDDEN) == 0;
    buf_clear(out);
    if ((!sent && !received) || !elem_parse(&top, m->stanza, SLICE(NS_CLIENT)))
        return false;
    for (bool more = elem_first(&top, &e); more; more = elem_next(&e, &e)) {
        if (is_encrypted(&e))
            return false;
        if (elem_is(&e, "body", NS_CLIENT) || elem_is(&e, "subject", NS_CLIENT))
            mam_fulltext_add_text(out, elem_text(&e, tmp));
    }
    cut_text(out);
    if (out->len == 0)
        return false;
    if (sent)
        add_owner(out, m->sender);
    if (received && (!sent || m->rcpt != m->sender))
        add_owner(out, m->rcpt);
    return true;
}

static void mam_fulltext_add_row(struct store_batch *b, const struct store_stmt *stmt, int rows,
                                 int64_t id, slice words)
{
    struct buf vector;
    if (!store_is_pgsql(store_of(b)) || stmt == &drop_words) {
        STORE_ADD(b, stmt, rows, SV_I(id), SV_T(words));
        return;
    }
    buf_init(&vector, STORE_BATCH_BYTES_MAX);
    words_vector(&vector, words);
    STORE_ADD(b, stmt, rows, SV_I(id), SV_T(buf_fit(&vector)));
    buf_fini(&vector);
}

static void mam_fulltext_add_words(struct store_batch *b, const struct store_stmt *stmt,
                                   const struct archive_line *m, struct arena *tmp)
{
    struct buf words;
    buf_init(&words, STORE_BATCH_BYTES_MAX);
    if (message_words(&words, m, tmp))
        mam_fulltext_add_row(b, stmt, STORE_ANY_ROWS, m->id, buf_fit(&words));
    buf_fini(&words);
}

static void mam_fulltext_forget(struct store_batch *b, const struct archive_line *m,
                                struct arena *tmp)
{
    mam_fulltext_add_words(b, &drop_words, m, tmp);
}

static void again(struct store_batch *b, const struct archive_line *m, struct arena *tmp)
{
    mam_fulltext_add_words(b, &put_words_again, m, tmp);
}

static bool has_letters(slice word)
{
    for (size_t i = 0; i < word.len; i++) {
        char c = word.ptr[i];
        if ((uint8_t)c >= 0x80 || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
            (c >= 'A' && c <= 'Z'))
            return true;
    }
    return false;
}

/* "word" "word" …: each a phrase for the tokenizer, all of which have to be there. */
static void add_phrase(struct buf *out, const struct store *store, slice word)
{
    if (store_is_pgsql(store)) {
        words_phrase(out, word);
        return;
    }
    buf_lit(out, " \"");
    buf_add(out, word);
    buf_lit(out, "\"");
}

static slice mam_fulltext_match(struct worker *w, int64_t owner, slice text, struct arena *tmp)
{
    struct buf out, plain;
    char mark[32];
    slice rest, word;
    unsigned words = 0, count;
    buf_init(&out, MATCH_BYTES_MAX);
    buf_init(&plain, MATCH_BYTES_MAX);
    mam_fulltext_add_text(&plain, text);
    cut_text(&plain);
    for (size_t i = 0; i < plain.len; i++)
        if ((uint8_t)plain.ptr[i] <= ' ' || plain.ptr[i] == '"')
            plain.ptr[i] = ' ';
    rest = buf_fit(&plain);
    snprintf(mark, sizeof mark, PRIVATE "%lld", (long long)owner);
    add_phrase(&out, worker_store(w), slice_of(mark));
    while (words < WORDS_MAX && rest.len > 0) {
        slice_cut(rest, ' ', &word, &rest);
        if (!has_letters(word))
            continue;
        add_phrase(&out, worker_store(w), words_first(word, WORDS_MAX - words, &count));
        words += count > 0 ? count : 1;
    }
    slice found = words == 0 ? (slice){ 0 } : slice_dup(tmp, buf_fit(&out));
    buf_fini(&plain);
    buf_fini(&out);
    return found;
}

/* Following the log. */

struct feed {
    struct log_reading log; /* first */
    struct timer timer;
    int64_t target;         /* log id to come to; 0: the end of the log */
    uint64_t until_us;      /* monotonic; 0: as long as it takes */
    archive_words_fn *done; /* NULL: in the background */
    void *arg;
};

static struct feed background;
static atomic_bool running, stored_more;
static _Atomic uint32_t kicks; /* messages since the last look */
static uint32_t postponed;     /* of the background */

static const struct log_reader mam_fulltext_reader;

static void mam_fulltext_due(struct timer *t, struct loop *loop)
{
    /* merging the index holds up the store's writer: rather when few wait for it */
    if (atomic_exchange(&kicks, 0) > BUSY && ++postponed < POSTPONED_MAX) {
        timer_set(loop, t, DELAY_MS);
        return;
    }
    postponed = 0;
    atomic_store(&stored_more, false);
    log_read(&CONTAINER_OF(t, struct feed, timer)->log);
}

static void start_background(struct worker *w)
{
    bool idle = false;
    if (!setting_bool(&mam_fulltext))
        alarm_clear(&mam_index_alarm);
    if (!setting_bool(&mam_fulltext) || !atomic_compare_exchange_strong(&running, &idle, true))
        return;
    background.log = (struct log_reading){ .reader = &mam_fulltext_reader, .worker = w };
    background.timer.fn = mam_fulltext_due;
    timer_set(worker_loop(w), &background.timer, DELAY_MS);
}

/* A damaged index. */

struct alarm mam_index_alarm = {
    .name = "archive.index",
    .severity = ALARM_WARNING,
    .text = "The index of words in archives was damaged, and is made anew.",
    .action =
        "Wait. Until the alarm clears, searches do not find all messages, and say so. Look "
        "for what damaged it: the disk, or another program that wrote to the database. SQLite "
        "does not notice each damage: if searches miss messages without this alarm, make the "
        "index anew by hand, see \"Words that searches do not find\" in operate.md.",
    .explanation = "The index has only what the archives have, too. So it was dropped, and the "
                   "words of all messages are read again in the background. All else goes on.",
    .raised_when = "SQLite has found that tables of the index contradict each other, are missing, "
                   "or are of another version.",
    .cleared_when = "The new index has all messages, or archive.fulltext is off.",
    .settings = "archive.fulltext",
};
static atomic_bool index_emptied;
static struct node *_Atomic index_node; /* NULL: no worker has started */

static void index_looked(void *arg, enum store_result result, const struct store_batch *b)
{
    struct worker *w = arg;
    (void)result, (void)b;
    atomic_store(&stored_more, true); /* also for what reads the log now, behind all of it */
    start_background(w);
}

void mam_fulltext_look(struct worker *w)
{
    atomic_store(&index_node, worker_node(w));
    if (!atomic_exchange(&index_emptied, false) || !setting_bool(&mam_fulltext))
        return;
    alarm_raise(&mam_index_alarm, SLICE("searches do not find all until it is complete"));
    struct store_batch *b = store_write(worker_store(w), 0);
    store_add(b, &look_words, STORE_ANY_ROWS, NULL, 0);
    store_submit(b, worker_loop(w), 0, index_looked, w);
}

static void index_news_run(struct worker *w, void *message, const struct message_from *from)
{
    (void)message, (void)from;
    mam_fulltext_look(w);
}

const struct message_row mam_index_message = {
    .id = 166,
    .scope = MESSAGE_PROCESS,
    .name = "index-emptied",
    .size = sizeof(struct message_nothing),
    .fields = message_no_fields,
    .run = index_news_run,
};

static void mam_fulltext_emptied(void)
{
    struct node *n = atomic_load(&index_node);
    atomic_store(&index_emptied, true);
    if (n != NULL)
        home_post(n, 0, &mam_index_message);
}

const struct store_index mam_index = {
    .table = "message_fts",
    .reader = "fulltext",
    .create = MAM_INDEX_CREATE,
    .emptied = mam_fulltext_emptied,
};

static void mam_fulltext_stored(struct worker *w)
{
    mam_quota_stored(w);
    atomic_fetch_add_explicit(&kicks, 1, memory_order_relaxed);
    if (!atomic_load_explicit(&stored_more, memory_order_relaxed))
        atomic_store(&stored_more, true);
    if (!atomic_load_explicit(&running, memory_order_relaxed))
        start_background(w);
}

void mam_fulltext_stop(struct worker *w)
{
    atomic_store(&index_node, NULL);
    if (background.log.worker == w) {
        timer_cancel(&background.timer);
        background.log.worker = NULL;
        atomic_store(&running, false);
    }
}

/* What was stored since the last look is indexed next time. */
static void mam_fulltext_end(struct feed *f, enum archive_words_state state)
{
    if (f->done != NULL) {
        f->done(f->arg, state);
        mem_free(&f);
        return;
    }
    struct worker *w = f->log.worker;
    if (state == WORDS_CURRENT && !atomic_load(&stored_more))
        alarm_clear(&mam_index_alarm);
    atomic_store(&running, false);
    if (atomic_load(&stored_more) && !worker_stopping(w))
        start_background(w);
}

/* A search goes on until it has seen what was there when it began, unless that takes too long. */
static bool mam_fulltext_goes_on(struct feed *f)
{
    if (f->done != NULL && f->target == 0)
        f->target = f->log.horizon;
    return !worker_stopping(f->log.worker) && (f->done == NULL || f->log.position < f->target) &&
           (f->until_us == 0 || clock_mono_us() <= f->until_us);
}

static uint32_t mam_fulltext_step(struct log_reading *l, const struct store_batch *rows,
                                  struct store_batch *b)
{
    uint32_t i = 0, count = store_row_count(rows, LOG_ROWS);
    if (!mam_fulltext_goes_on((struct feed *)l))
        return 0;
    for (size_t bytes = 0; i < count && bytes < STEP_BYTES; i++)
        bytes += store_text(rows, LOG_ROWS, i, 6).len;
    struct arena *tmp = arena_create(0);
    struct buf words;
    buf_init(&words, STORE_BATCH_BYTES_MAX);
    for (uint32_t k = 0; k < i; k++) {
        struct archive_line m = archive_line_of(rows, LOG_ROWS, k);
        arena_reset(tmp);
        if (message_words(&words, &m, tmp))
            mam_fulltext_add_row(b, &put_words, 1, m.id, buf_fit(&words));
    }
    buf_fini(&words);
    arena_destroy(&tmp);
    return i;
}

static void mam_fulltext_stepped(struct log_reading *l, enum log_step how)
{
    struct feed *f = (struct feed *)l;
    switch (how) {
    case LOG_STEPPED:
    case LOG_AGAIN: /* another worker: from there, then */
        if (f->done == NULL && atomic_load(&kicks) > BUSY)
            timer_set(worker_loop(l->worker), &f->timer, DELAY_MS);
        else
            log_read(l);
        break;
    case LOG_CURRENT:
        mam_fulltext_end(f, WORDS_CURRENT);
        break;
    case LOG_LEFT:
        mam_fulltext_end(f, f->done != NULL && l->position >= f->target ? WORDS_CURRENT
                                                                        : WORDS_BEHIND);
        break;
    case LOG_FAILED:
        mam_fulltext_end(f, WORDS_BEHIND);
        break;
    }
}

static const struct log_reader mam_fulltext_reader = {
    .name = "fulltext",
    .from = &read_log,
    .rows = STEP_ROWS,
    .step = mam_fulltext_step,
    .done = mam_fulltext_stepped,
};

static void mam_fulltext_catch_up(struct worker *w, uint64_t lane, archive_words_fn *done,
                                  void *arg)
{
    struct feed *f = mem_new(struct feed);
    ensure(worker_is_here(w) && done != NULL);
    f->log = (struct log_reading){ .reader = &mam_fulltext_reader, .worker = w, .lane = lane };
    f->until_us = clock_mono_us() + CATCH_UP_US;
    f->done = done;
    f->arg = arg;
    log_read(&f->log);
}

const struct archive_words mam_words = {
    .enabled = &mam_fulltext,
    .first = &find_first_words,
    .last = &find_last_words,
    .count = &count_words,
    .match = mam_fulltext_match,
    .catch_up = mam_fulltext_catch_up,
    .stored = mam_fulltext_stored,
    .forget = mam_fulltext_forget,
    .again = again,
};
