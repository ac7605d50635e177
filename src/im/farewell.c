#include "im/farewell.h"
#include "base/arena.h"
#include "base/ensure.h"
#include "base/hash.h"
#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"
#include "home/ask.h"
#include "home/here.h"
#include "home/node.h"
#include "home/router.h"
#include "im/abroad.h"
#include "im/account.h"
#include "im/feature.h"
#include "im/foreign.h"
#include "im/roster.h"
#include "im/subscription.h"
#include "io/timer.h"
#include "xmpp/jid.h"
#include "xmpp/ns.h"

enum {
    ANSWER_MS = 60 * 1000, /* longer than stanzas wait for a server that cannot be reached */
    START_MS = 1000,       /* before the first words after a start */
    BACK_MS = 1000,        /* after a domain is back */
    PAUSE_MS = 50,         /* before the next page of a round */
    UNSUBSCRIBE = 1,       /* and the next two: in farewell.words, beside flags of the roster */
    UNSUBSCRIBED = 2,
    SUBSCRIBED = 16, /* there was a subscription, not only a request */
    WORDS_MAX = 31
};
static const uint64_t minute_us = 60ull * 1000000, day_us = 1440 * minute_us;
static const slice ping_xml = SLICE_INIT("<ping xmlns='" NS_PING "'/>");

/* Rows. */

/* clang-format off */
/* By the state of the contact. Who was only asked for approval learns nothing. The flags are
 * ROSTER_SEEN_BY_MAIL and ROSTER_ASKED_BY_MAIL. An account that gets another address keeps its mail
 * address. */
#define FAREWELL_WORDS                                                                             \
    "(CASE WHEN roster.state IN (1, 3, 4, 5, 7, 8) THEN 1 ELSE 0 END) + "                          \
    "(CASE WHEN roster.state IN (6, 7, 8) THEN 2 ELSE 0 END) + "                                   \
    "(CASE WHEN roster.state IN (4, 5, 6, 7, 8) THEN 16 ELSE 0 END) + (roster.flags & 12)"
/* Most of them. Others that are ours are left out when it is their turn. */
#define FAREWELL_ABROAD                                                                            \
    "roster.state NOT IN (0, 2) AND NOT EXISTS (SELECT 1 FROM account o WHERE o.jid = roster.jid)"
#define FAREWELL_MERGED                                                                            \
    " ON CONFLICT (sender, rcpt) DO UPDATE SET words = farewell.words | excluded.words, "          \
    "since = excluded.since, mail = CASE WHEN excluded.mail <> '' THEN excluded.mail "             \
    "ELSE farewell.mail END"
static struct store_stmt farewell_put = {
    .name = "farewell.put", .params = "tiit", .cols = "",
    .sql = "INSERT INTO farewell (sender, rcpt, words, since, mail) SELECT $1, roster.jid, "
           FAREWELL_WORDS ", $3, $4 FROM roster WHERE roster.owner = $2 AND " FAREWELL_ABROAD
           FAREWELL_MERGED,
};
static struct store_stmt farewell_done = {
    .name = "farewell.done", .params = "tti", .cols = "",
    .sql = "DELETE FROM farewell WHERE sender = $1 AND rcpt = $2 AND since <= $3",
};
static struct store_stmt farewell_dated = { /* those that a renaming has made */
    .name = "farewell.dated", .params = "i", .cols = "",
    .sql = "UPDATE farewell SET since = $1 WHERE since = 0",
};
/* Of domains that are not served any more nothing is said. */
static struct store_stmt farewell_old = {
    .name = "farewell.old", .params = "i", .cols = "",
    .sql = "DELETE FROM farewell WHERE since > 0 AND since < $1",
};
/* $2 is now: those that were to wait. */
static struct store_stmt farewell_due = {
    .name = "farewell.due", .params = "ti", .cols = "",
    .sql = "UPDATE farewell SET since = $2 WHERE sender = $1 AND since > $2",
};
/* Words under a mail address belong to the account ($1) that has this address as its own. */
#define FAREWELL_BY_MAIL                                                                           \
    "((CASE WHEN (words & 8) <> 0 THEN words & 1 ELSE 0 END) + "                                   \
    "(CASE WHEN (words & 4) <> 0 THEN words & 2 ELSE 0 END))"
static struct store_stmt farewell_own = {
    .name = "farewell.own", .params = "t", .cols = "",
    .sql = "INSERT INTO farewell (sender, rcpt, words, since, mail) SELECT $1, rcpt, "
           FAREWELL_BY_MAIL " + (words & 16), since, '' FROM farewell "
           "WHERE mail = $1 AND mail <> '' AND " FAREWELL_BY_MAIL " <> 0" FAREWELL_MERGED,
};
static struct store_stmt farewell_owned = {
    .name = "farewell.owned", .params = "t", .cols = "",
    .sql = "UPDATE farewell SET words = words - (words & 12) - " FAREWELL_BY_MAIL ", mail = '' "
           "WHERE mail = $1 AND mail <> ''",
};
static struct store_stmt farewell_page = {
    .name = "farewell.page", .params = "tt", .cols = "ttiit",
    .sql = "SELECT sender, rcpt, words, since, mail FROM farewell WHERE (sender, rcpt) > ($1, $2) "
           "ORDER BY sender, rcpt LIMIT 64",
};
static struct store_stmt farewell_of = {
    .name = "farewell.of", .params = "t", .cols = "ttiit",
    .sql = "SELECT sender, rcpt, words, since, mail FROM farewell WHERE sender = $1 LIMIT 1000",
};
static struct store_stmt *const farewell_stmts[] = {
    &farewell_put, &farewell_done, &farewell_dated, &farewell_old, &farewell_due, &farewell_own,
    &farewell_owned, &farewell_page, &farewell_of, NULL
};
static const struct store_migration farewell_migrations[] = {
    { 1,
      "CREATE TABLE farewell (sender TEXT NOT NULL, rcpt TEXT NOT NULL, words INTEGER NOT NULL, "
      "since INTEGER NOT NULL, mail TEXT NOT NULL DEFAULT '', "
      "PRIMARY KEY (sender, rcpt)) WITHOUT ROWID;",
      "CREATE TABLE farewell (sender TEXT NOT NULL, rcpt TEXT NOT NULL, words BIGINT NOT NULL, "
      "since BIGINT NOT NULL, mail TEXT NOT NULL DEFAULT '', PRIMARY KEY (sender, rcpt));" },
    { 2, "CREATE INDEX farewell_mail ON farewell (mail) WHERE mail <> '';",
      "CREATE INDEX farewell_mail ON farewell (mail) WHERE mail <> '';" },
    { 0 }
};
/* Contacts on other servers know an account that gets another address by the old one: $1. */
#define FAREWELL_RENAMED                                                                           \
    "INSERT INTO farewell (sender, rcpt, words, since, mail) SELECT $1, roster.jid, "              \
    FAREWELL_WORDS ", 0, '' FROM roster JOIN account ON account.id = roster.owner "                \
    "WHERE account.jid IN ($1, $2) AND " FAREWELL_ABROAD FAREWELL_MERGED
static const struct store_schema farewell_schema = {
    .feature = "farewell", .migrations = farewell_migrations, .stmts = farewell_stmts,
    .addresses = (const struct store_address[]){
        { "farewell", "sender", .kind = STORE_JID, .beside = "rcpt", .not_alone = true },
        { "farewell", "rcpt", .kind = STORE_JID, .beside = "sender", .after = FAREWELL_RENAMED },
        { "farewell", "mail", .kind = STORE_JID, .not_alone = true },
        { 0 } },
};
/* clang-format on */

struct farewell_row {
    slice sender, rcpt;
    unsigned words;
    int64_t since; /* wall clock, in us; later than now: not before that */
    slice mail;    /* by which other servers knew the account, too; empty: by none */
};

static struct farewell_row farewell_row_of(const struct store_batch *b, unsigned stmt, uint32_t row)
{
    int64_t words = store_int(b, stmt, row, 2);
    return (struct farewell_row){ store_text(b, stmt, row, 0), store_text(b, stmt, row, 1),
                                  words > 0 && words <= WORDS_MAX ? (unsigned)words : 0,
                                  store_int(b, stmt, row, 3), store_text(b, stmt, row, 4) };
}

static struct farewell_row farewell_row_keep(struct arena *arena, const struct farewell_row *r)
{
    return (struct farewell_row){ slice_dup(arena, r->sender), slice_dup(arena, r->rcpt), r->words,
                                  r->since, slice_dup(arena, r->mail) };
}

/* In the slot of an account: words of the last one that had its address. */
struct held_words {
    struct farewell_row row; /* words 0: it is done */
    bool said;               /* and not answered yet */
};
struct held {
    struct arena *arena;
    uint32_t count;
    struct held_words *each;
};

/* In the slot of a worker. */
struct farewells {
    struct worker *worker;
    struct timer again;
    uint32_t pause_ms;
    uint64_t ended_us; /* the last round of all */
    unsigned rounds;   /* of deleted accounts */
    uint32_t holds;    /* accounts that have some */
    bool busy;         /* a round of all is under way */
    bool saying;       /* what leaves is a word of ours */
    bool stopped;
    struct list words, walks;    /* struct farewell_word, struct round */
    struct farewell_word *begun; /* it is being said, and not answered yet */
};

/* A walk through the rows: of all whose home is this worker, or of one address. */
struct round {
    struct list node; /* in farewells.walks */
    struct farewells *all;
    struct timer next; /* page */
    struct store_op *op;
    struct arena *arena, *kept; /* of the slices; for all of it */
    slice only;                 /* ptr NULL: all */
    slice sender, rcpt;         /* the last row that was read */
    struct map silent;          /* slices: domains that have not answered */
    unsigned waiting;           /* words without an answer */
    bool reading, more, failed;
};

struct farewell_word {
    struct list node;
    struct farewells *all;
    struct round *round; /* NULL: it went before a stanza of the next account */
    struct arena *arena; /* this is in it */
    struct farewell_row row;
    struct ask *ask;
};

static unsigned farewell_account, farewell_worker;

static struct farewells *farewells_of(const struct worker *w)
{
    return *worker_state(w, farewell_worker);
}

static bool farewells_stopped(const struct farewells *all)
{
    return all->stopped || worker_stopping(all->worker);
}

static struct held_words *hold_find(const struct farewells *all, slice sender, slice rcpt)
{
    const struct account *a = all->holds == 0 ? NULL : account_find(all->worker, sender);
    struct held *h = a == NULL ? NULL : a->state_of[farewell_account];
    for (uint32_t i = 0; h != NULL && i < h->count; i++)
        if (h->each[i].row.words != 0 && slice_eq(h->each[i].row.rcpt, rcpt))
            return &h->each[i];
    return NULL;
}

static void farewell_drop_row(struct farewells *all, const struct farewell_row *r)
{
    struct held_words *hold = hold_find(all, r->sender, r->rcpt);
    struct store_batch *b = store_write(worker_store(all->worker), hash_keyed(r->sender));
    STORE_ADD(b, &farewell_done, STORE_ANY_ROWS, SV_T(r->sender), SV_T(r->rcpt), SV_I(r->since));
    store_submit(b, worker_loop(all->worker), 0, NULL, NULL);
    if (hold != NULL)
        hold->row.words = 0;
}

/* Saying them. */

static void round_ends_word(struct round *r, bool failed);

/* What else is to be said there waits for the next round. */
static void round_hears_nothing(struct round *r, slice domain)
{
    ensure(domain.len > 0 && r->silent.count <= FAREWELL_SILENT);
    if (r->silent.count == FAREWELL_SILENT || map_get(&r->silent, domain) != NULL)
        return;
    slice *silent = arena_new(r->kept, slice, 1);
    *silent = slice_dup(r->kept, domain);
    map_put(&r->silent, silent);
}

static void word_end(struct farewell_word *word, enum abroad_answer answer)
{
    bool confirmed = answer == ABROAD_FROM_THERE;
    struct farewells *all = word->all;
    struct round *round = word->round;
    struct arena *arena = word->arena;
    struct held_words *hold = hold_find(all, word->row.sender, word->row.rcpt);
    ensure(worker_is_here(all->worker));
    list_remove(&word->node);
    if (all->begun == word)
        all->begun = NULL;
    if (hold != NULL)
        hold->said = false;
    if (confirmed)
        farewell_drop_row(all, &word->row);
    if (round != NULL && answer == ABROAD_FROM_HERE)
        round_hears_nothing(round, jid_split(word->row.rcpt).domain);
    arena_destroy(&arena);
    if (round != NULL)
        round_ends_word(round, !confirmed);
}

static void word_answered(struct worker *w, void *arg, const struct stanza *reply)
{
    struct farewell_word *word = arg;
    (void)w;
    word->ask = NULL;
    word_end(word, abroad_answer_of(reply));
}

/* Who asks. A server is asked in the name of the domain, from which it gets stanzas in the order in
 * which they are sent, whoever sends them: what rules and the next account say of the contact does
 * not hold for it. A component has several connections, one for each pair of addresses. */
static slice word_asker(const struct farewells *all, const struct farewell_row *r)
{
    bool foreign = foreign_is(all->worker, jid_split(r->rcpt).domain);
    return foreign ? jid_split(r->sender).domain : r->sender;
}

/* Whether the ping may leave. Nothing is counted. */
static bool word_may_go(struct farewells *all, const struct farewell_row *r)
{
    slice domain = jid_split(r->rcpt).domain, asker = word_asker(all, r);
    if (!abroad_pair(all->worker, jid_split(r->sender).domain, domain))
        return false;
    if (!foreign_is(all->worker, domain))
        return true;
    struct stanza *ping = stanza_make(STANZA_IQ, TYPE_GET, asker, r->rcpt, (slice){ 0 }, ping_xml);
    struct edge_word word = foreign_leaves(all->worker, ping, true);
    stanza_unref(&ping);
    return edge_word_goes(&word);
}

/* A subscription is bound to the address that was asked for. That of the mail may be another
 * account's by now, whose own words go under it. */
static slice word_sender(const struct farewell_row *r, unsigned by_mail, struct arena *tmp)
{
    if ((r->words & by_mail) == 0)
        return r->sender;
    slice other = r->mail.len > 0 ? foreign_known_by(r->mail, tmp) : (slice){ 0 };
    return other.ptr == NULL || slice_eq(other, r->sender) ? r->mail : (slice){ 0 };
}

static void word_route(struct farewells *all, const struct farewell_row *r, enum stanza_type type)
{
    unsigned by_mail = type == TYPE_UNSUBSCRIBE ? ROSTER_ASKED_BY_MAIL : ROSTER_SEEN_BY_MAIL;
    slice sender = word_sender(r, by_mail, loop_scratch(worker_loop(all->worker)));
    if (sender.len == 0)
        return;
    struct stanza *st =
        stanza_make(STANZA_PRESENCE, type, sender, r->rcpt, (slice){ 0 }, (slice){ 0 });
    st->named = (uint8_t)NAMED_ACCOUNT; /* as it is */
    route_send(all->worker, st);
}

/* Sessions of an account whose address was changed, or whose node was killed, have not said that
 * they have gone, so it is said for all of them (RFC 6121 §3.2.1). asked: the contact has asked the
 * next account of the address. */
static void words_route(struct farewells *all, const struct farewell_row *r, bool asked)
{
    if ((r->words & UNSUBSCRIBE) != 0)
        word_route(all, r, TYPE_UNSUBSCRIBE);
    if ((r->words & UNSUBSCRIBED) == 0)
        return;
    word_route(all, r, TYPE_UNAVAILABLE);
    if (!asked)
        word_route(all, r, TYPE_UNSUBSCRIBED);
}

/* Those that are still true. a: who has the address, perhaps nobody: a direction of a subscription
 * that it has with the contact is its own. */
static unsigned words_left(const struct account *a, const struct farewell_row *r)
{
    const struct roster_item *item =
        a->state == ACTOR_READY ? roster_find(a->roster, r->rcpt) : NULL;
    unsigned own = item == NULL ? 0
                                : (sub_sees(item->state) ? UNSUBSCRIBE : 0u) |
                                      (sub_is_seen(item->state) ? UNSUBSCRIBED : 0u);
    unsigned left = r->words & ~own;
    return own == 0 || (left & (UNSUBSCRIBE | UNSUBSCRIBED)) != 0 ? left : 0;
}

/* The words, and the ping behind them. a: who has the address, perhaps nobody. asks: its open
 * request is said again behind them, which end it. */
static void word_say(struct farewells *all, struct account *a, const struct farewell_row *r,
                     struct round *round, bool asks)
{
    const struct roster_item *item =
        a->state == ACTOR_READY ? roster_find(a->roster, r->rcpt) : NULL;
    struct arena *arena = arena_create(0);
    struct farewell_word *word = arena_new(arena, struct farewell_word, 1);
    struct held_words *hold = hold_find(all, r->sender, r->rcpt);
    *word = (struct farewell_word){
        .all = all, .round = round, .arena = arena, .row = farewell_row_keep(arena, r)
    };
    word->row.words = words_left(a, r);
    ensure(word->row.words != 0 && !farewells_stopped(all));
    list_append(&all->words, &word->node);
    if (hold != NULL)
        hold->said = true;
    const struct ask_request ping = { .type = TYPE_GET,
                                      .from = word_asker(all, &word->row),
                                      .to = word->row.rcpt,
                                      .home = word->row.sender,
                                      .payload = ping_xml,
                                      .timeout_ms = ANSWER_MS };
    bool was = all->saying;
    all->saying = true;
    words_route(all, &word->row, item != NULL && sub_state_pending_in(item->state));
    all->begun = word;
    struct ask *ask = ask_send(all->worker, &ping, word_answered, word);
    if (asks && item != NULL && sub_state_ask(item->state))
        subscription_send(a, subscription_stanza(a, r->rcpt, SUB_SUBSCRIBE));
    all->saying = was;
    if (all->begun != word)
        return; /* it was answered at once */
    all->begun = NULL;
    word->ask = ask;
    if (ask == NULL)
        word_end(word, ABROAD_FROM_ANYWHERE);
}

/* Whether the row is still to be said; else it is dropped. a: who has the address, perhaps
 * nobody. */
static bool word_is_due(struct farewells *all, const struct account *a,
                        const struct farewell_row *r)
{
    uint64_t now = loop_wall_us(worker_loop(all->worker));
    uint64_t kept_us = (r->words & SUBSCRIBED) != 0 ? FAREWELL_DAYS * day_us : day_us;
    bool old = r->since > 0 && now > (uint64_t)r->since && now - (uint64_t)r->since > kept_us;
    if (!old && words_left(a, r) != 0 && abroad_is_other(all->worker, jid_split(r->rcpt).domain))
        return true;
    farewell_drop_row(all, r);
    return false;
}

/* A row of a page. */
struct pending {
    struct round *round;
    struct arena *arena; /* this is in it */
    struct farewell_row row;
};

static void pending_say(struct account *a, enum err e, void *arg)
{
    struct pending *p = arg;
    struct arena *arena = p->arena;
    struct farewells *all = p->round->all;
    const struct held_words *hold = hold_find(all, p->row.sender, p->row.rcpt);
    if (e != OK || farewells_stopped(all) || (hold != NULL && hold->said)) {
        round_ends_word(p->round, true);
    } else if (!word_is_due(all, a, &p->row)) {
        round_ends_word(p->round, false);
    } else if (!word_may_go(all, &p->row)) {
        round_ends_word(p->round, true);
    } else {
        word_say(all, a, &p->row, p->round, true);
    }
    arena_destroy(&arena);
}

/* Rounds. */

/* Unless it is sooner. */
static void farewells_later(struct farewells *all, uint64_t ms)
{
    const struct loop *loop = worker_loop(all->worker);
    if (farewells_stopped(all) ||
        (timer_is_set(&all->again) && timer_left_ms(loop, &all->again) <= ms))
        return;
    timer_set(worker_loop(all->worker), &all->again, ms);
}

static void round_free(struct round *r)
{
    list_remove(&r->node);
    map_fini(&r->silent);
    arena_destroy(&r->arena);
    arena_destroy(&r->kept);
    mem_free(&r);
}

static void farewell_round_end(struct round *r)
{
    struct farewells *all = r->all;
    if (r->only.ptr != NULL) {
        ensure(all->rounds > 0);
        all->rounds--;
        if (r->failed && all->pause_ms == 0)
            farewells_later(all, FAREWELL_MIN_MS);
    } else {
        all->busy = false;
        all->ended_us = loop_now_us(worker_loop(all->worker));
        all->pause_ms = !r->failed                            ? 0
                        : all->pause_ms == 0                  ? FAREWELL_MIN_MS
                        : all->pause_ms < FAREWELL_MAX_MS / 2 ? 2 * all->pause_ms
                                                              : FAREWELL_MAX_MS;
        farewells_later(all, all->pause_ms == 0 ? FAREWELL_MAX_MS : all->pause_ms);
    }
    round_free(r);
}

static void round_page(void *arg, enum store_result result, const struct store_batch *b);

static void round_read(struct timer *t, struct loop *loop)
{
    struct round *r = CONTAINER_OF(t, struct round, next);
    struct store_batch *b =
        store_read(worker_store(r->all->worker), r->only.ptr == NULL ? 0 : hash_keyed(r->only));
    STORE_ADD(b, &farewell_page, STORE_ANY_ROWS, SV_T(r->sender), SV_T(r->rcpt));
    r->reading = true;
    r->op = store_submit(b, loop, 0, round_page, r);
}

/* The next page does not wait for all answers to this one. */
static void round_go_on(struct round *r)
{
    ensure(worker_is_here(r->all->worker));
    if (r->reading)
        return;
    if (!r->more || farewells_stopped(r->all)) {
        if (r->waiting == 0)
            farewell_round_end(r);
    } else if (r->waiting <= FAREWELL_UNANSWERED - FAREWELL_PAGE && !timer_is_set(&r->next)) {
        timer_set(worker_loop(r->all->worker), &r->next, PAUSE_MS);
    }
}

static void round_ends_word(struct round *r, bool failed)
{
    ensure(r->waiting > 0);
    r->failed |= failed;
    r->waiting--;
    round_go_on(r);
}

/* Another walk may be the one of this row, or nobody has this address now: the row stays. */
static bool round_means(const struct round *r, slice sender)
{
    const struct worker *w = r->all->worker;
    return (r->only.ptr == NULL || slice_eq(sender, r->only)) && node_is_home(w, sender) &&
           node_serves(worker_node(w), jid_split(sender).domain);
}

/* Its account was emptied, and may get back what it had. Later times are those of a clock that was
 * wrong. */
static bool row_is_early(const struct farewells *all, const struct farewell_row *row)
{
    int64_t early_us = row->since - (int64_t)loop_wall_us(worker_loop(all->worker));
    return early_us > 0 && early_us <= (int64_t)(FAREWELL_EMPTIED_MINUTES * minute_us);
}

static void round_begin_row(struct round *r, const struct farewell_row *row)
{
    if (row_is_early(r->all, row))
        return;
    if (map_get(&r->silent, jid_split(row->rcpt).domain) != NULL) {
        r->failed = true;
        return;
    }
    struct arena *arena = arena_create(0);
    struct pending *p = arena_new(arena, struct pending, 1);
    *p = (struct pending){ r, arena, farewell_row_keep(arena, row) };
    r->waiting++;
    account_with(r->all->worker, p->row.sender, pending_say, p);
}

static void round_page(void *arg, enum store_result result, const struct store_batch *b)
{
    struct round *r = arg;
    uint32_t rows = result == STORE_OK ? store_row_count(b, 0) : 0;
    struct arena *arena = arena_create(0);
    r->op = NULL;
    r->more = rows == FAREWELL_PAGE;
    r->failed |= result != STORE_OK;
    for (uint32_t i = 0; i < rows; i++) {
        struct farewell_row row = farewell_row_of(b, 0, i);
        if (r->only.ptr != NULL && !slice_eq(row.sender, r->only))
            r->more = false;
        else if (round_means(r, row.sender))
            round_begin_row(r, &row);
    }
    r->only = slice_dup(arena, r->only);
    r->sender = rows == 0 ? SLICE("") : slice_dup(arena, store_text(b, 0, rows - 1, 0));
    r->rcpt = rows == 0 ? SLICE("") : slice_dup(arena, store_text(b, 0, rows - 1, 1));
    arena_destroy(&r->arena);
    r->arena = arena;
    r->reading = false; /* it has been gone through */
    round_go_on(r);
}

/* only: ptr NULL: all. */
static void farewell_round_begin(struct farewells *all, slice only)
{
    struct round *r = mem_new(struct round);
    r->all = all;
    r->next.fn = round_read;
    map_init(&r->silent, map_key_slice);
    r->arena = arena_create(0);
    r->kept = arena_create(0);
    r->only = slice_dup(r->arena, only);
    r->sender = only.ptr == NULL ? SLICE("") : r->only;
    r->rcpt = SLICE("");
    r->more = true;
    list_append(&all->walks, &r->node);
    round_read(&r->next, worker_loop(all->worker));
}

static void farewells_again(struct timer *t, struct loop *loop)
{
    struct farewells *all = CONTAINER_OF(t, struct farewells, again);
    (void)loop;
    if (all->busy || farewells_stopped(all))
        return;
    all->busy = true;
    farewell_round_begin(all, (slice){ 0 });
}

/* Accounts. */

/* The address by which other servers know it, if that is another one; in the arena. */
static slice farewell_mail(struct worker *w, slice jid, struct arena *arena)
{
    struct stanza *st =
        stanza_make(STANZA_PRESENCE, TYPE_UNAVAILABLE, jid, jid, (slice){ 0 }, (slice){ 0 });
    struct stanza *outward = foreign_outward(w, st);
    slice mail = outward == NULL ? SLICE("") : slice_dup(arena, stanza_from_bare(outward));
    stanza_unref(&outward);
    stanza_unref(&st);
    return mail;
}

static void farewell_remove(struct account *a, struct store_batch *b)
{
    struct arena *arena = arena_create(0);
    uint64_t since = loop_wall_us(worker_loop(a->worker));
    ensure(account_here(a) && a->id > 0);
    if (a->removing == REMOVING_EMPTIES)
        since += FAREWELL_EMPTIED_MINUTES * minute_us;
    STORE_ADD(b, &farewell_put, STORE_ANY_ROWS, SV_T(a->jid), SV_I(a->id), SV_I((int64_t)since),
              SV_T(farewell_mail(a->worker, a->jid, arena)));
    arena_destroy(&arena);
}

/* Of one that keeps its address nothing is said for a while: it may be filled again at once. */
static void farewell_disowned(struct worker *w, slice bare)
{
    struct farewells *all = farewells_of(w);
    if (!node_is_home(w, bare) || farewells_stopped(all))
        return;
    if (all->rounds == FAREWELL_ROUNDS) {
        farewells_later(all, FAREWELL_MIN_MS);
        return;
    }
    all->rounds++;
    farewell_round_begin(all, bare);
}

/* The next owner of a mail address has it as its own. An account that was emptied is filled again,
 * so what its new list does not have is ended now. */
static void farewell_created(struct worker *w, slice bare)
{
    struct store_batch *b = store_write(worker_store(w), hash_keyed(bare));
    STORE_ADD(b, &farewell_own, STORE_ANY_ROWS, SV_T(bare));
    STORE_ADD(b, &farewell_owned, STORE_ANY_ROWS, SV_T(bare));
    STORE_ADD(b, &farewell_due, STORE_ANY_ROWS, SV_T(bare),
              SV_I((int64_t)loop_wall_us(worker_loop(w))));
    store_submit(b, worker_loop(w), 0, NULL, NULL);
    farewell_disowned(w, bare); /* which reads behind it */
}

/* One that was emptied is not filled again: it is for somebody else now. */
static void farewell_enabled(struct worker *w, slice bare)
{
    if (!node_is_home(w, bare) || farewells_stopped(farewells_of(w)))
        return;
    struct store_batch *b = store_write(worker_store(w), hash_keyed(bare));
    STORE_ADD(b, &farewell_due, STORE_ANY_ROWS, SV_T(bare),
              SV_I((int64_t)loop_wall_us(worker_loop(w))));
    store_submit(b, worker_loop(w), 0, NULL, NULL);
    farewell_disowned(w, bare); /* which reads behind it */
}

static void farewell_load(struct account *a, struct store_batch *b)
{
    STORE_ADD(b, &farewell_of, STORE_ANY_ROWS, SV_T(a->jid));
}

static void farewell_loaded(struct account *a, const struct store_batch *b, unsigned first)
{
    uint32_t rows = store_row_count(b, first);
    if (rows == 0)
        return;
    struct held *h = mem_new(struct held);
    h->arena = arena_create(0);
    h->each = arena_new(h->arena, struct held_words, rows);
    for (uint32_t i = 0; i < rows; i++) {
        struct farewell_row row = farewell_row_of(b, first, i);
        h->each[h->count++].row = farewell_row_keep(h->arena, &row);
    }
    a->state_of[farewell_account] = h;
    farewells_of(a->worker)->holds++;
}

static void farewell_unload(struct account *a)
{
    struct held *h = a->state_of[farewell_account];
    if (h == NULL)
        return;
    arena_destroy(&h->arena);
    mem_free(&h);
    a->state_of[farewell_account] = NULL;
    ensure(farewells_of(a->worker)->holds > 0);
    farewells_of(a->worker)->holds--;
}

/* What the next account of the address sends goes behind them. */
static enum verdict farewell_leaves(struct worker *w, const struct stanza *st, struct refusal *why)
{
    struct farewells *all = farewells_of(w);
    if (why->again || all == NULL || all->saying || farewells_stopped(all))
        return PASS;
    const struct held_words *hold = hold_find(all, stanza_from_bare(st), stanza_to_bare(st));
    struct account *a = hold == NULL ? NULL : account_find(w, stanza_from_bare(st));
    bool asks = st->kind != STANZA_PRESENCE || st->type != TYPE_SUBSCRIBE;
    if (hold != NULL && !hold->said && word_is_due(all, a, &hold->row) &&
        word_may_go(all, &hold->row))
        word_say(all, a, &hold->row, NULL, asks);
    return PASS;
}

/* Workers. */

static void farewell_start(struct worker *w)
{
    struct farewells *all = *worker_state(w, farewell_worker) = mem_new(struct farewells);
    all->worker = w;
    all->again.fn = farewells_again;
    list_init(&all->words);
    list_init(&all->walks);
    timer_set(worker_loop(w), &all->again, START_MS);
    if (worker_index(w) != 0)
        return;
    struct store_batch *b = store_write(worker_store(w), 0);
    int64_t now = (int64_t)loop_wall_us(worker_loop(w));
    STORE_ADD(b, &farewell_dated, STORE_ANY_ROWS, SV_I(now));
    STORE_ADD(b, &farewell_old, STORE_ANY_ROWS, SV_I(now - (int64_t)(FAREWELL_DAYS * day_us)));
    store_submit(b, worker_loop(w), 0, NULL, NULL);
}

static void farewell_stop(struct worker *w)
{
    struct farewells *all = farewells_of(w);
    all->stopped = true;
    timer_cancel(&all->again);
    LIST_EACH (it, &all->words)
        ask_cancel(&CONTAINER_OF(it, struct farewell_word, node)->ask);
    LIST_EACH (it, &all->walks) {
        struct round *r = CONTAINER_OF(it, struct round, node);
        timer_cancel(&r->next);
        store_cancel(&r->op);
    }
}

static void farewell_ended(struct worker *w)
{
    struct farewells *all = farewells_of(w);
    if (all == NULL)
        return;
    while (!list_empty(&all->words)) {
        struct arena *arena =
            CONTAINER_OF(list_pop(&all->words), struct farewell_word, node)->arena;
        arena_destroy(&arena);
    }
    while (!list_empty(&all->walks))
        round_free(CONTAINER_OF(all->walks.next, struct round, node));
    mem_free(&all);
    *worker_state(w, farewell_worker) = NULL;
}

static void farewell_domain_back(struct worker *w, slice domain)
{
    struct farewells *all = farewells_of(w);
    uint64_t ended_ms = (loop_now_us(worker_loop(w)) - all->ended_us) / 1000;
    (void)domain;
    if (all->pause_ms != 0 && !all->busy)
        farewells_later(all, ended_ms < FAREWELL_MIN_MS - BACK_MS ? FAREWELL_MIN_MS - ended_ms
                                                                  : BACK_MS);
}

const struct feature farewell_feature = {
    .name = "farewell",
    .parts = PART_PRESENCE | PART_ACCOUNT,
    .schema = &farewell_schema,
    .account.slot = &farewell_account,
    .account.load = farewell_load,
    .account.loaded = farewell_loaded,
    .account.unload = farewell_unload,
    .account.created = farewell_created,
    .account.remove = farewell_remove,
    .account.disowned = farewell_disowned,
    .account.enabled = farewell_enabled,
    .foreign.leaves = farewell_leaves,
    .worker.slot = &farewell_worker,
    .worker.start = farewell_start,
    .worker.stop = farewell_stop,
    .worker.ended = farewell_ended,
    .worker.domain_back = farewell_domain_back,
};
