/* mail_address: other servers know users by the mail addresses of their profiles. Behind the
 * streams everything has the address of the account: `outward` and `inward` replace
 * `from` and `to` of stanzas as they leave and as they come, and nothing else.
 *
 * A mail address is used if its domain is that of the account, and no other account has it, as its
 * mail address or as its own. It is not used for any of those that share it, and an alarm names
 * them. No account is made whose own address is the mail address of another one.
 *
 * The book of addresses is one for the process. Worker 0 of each node reads it from the database, a
 * page at a time: the first time before its loop runs, then a second after profiles have changed.
 * Limit: the addresses of ACCOUNTS_MAX accounts. */
#include "account/account.h"
#include "base/alarm.h"
#include "base/arena.h"
#include "base/ensure.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/setting.h"
#include "core/feature.h"
#include "ext/ext.h"
#include "home/here.h"
#include "home/question.h"
#include "io/timer.h"
#include "store/store.h"
#include "xmpp/jid.h"
#include "xmpp/stanza.h"
#include <pthread.h>
#include <stdio.h>

enum { ACCOUNTS_MAX = 500000, PAGE_ROWS = 2000, SOON_MS = 1000, AGAIN_MS = 5000 };

static void mail_setting_changed(struct worker *w, const struct setting *s);

static struct setting mail_address = {
    .name = "federation.mail-address",
    .scope = SCOPE_DOMAIN,
    .type = PARAM_BOOL,
    .def = 0,
    .changed = mail_setting_changed,
    .doc = "Whether other servers know users by the mail addresses of their profiles (`user set "
           "--email`). It counts for users whose mail address is in the domain of the account and "
           "belongs to nobody else. Other servers still reach the address of the account, and see "
           "answers from the mail address. Contacts that were made before must add the new one.",
};
static struct alarm unused_alarm = {
    .name = "federation.mail-address",
    .severity = ALARM_WARNING,
    .text = "A mail address is not used with other servers.",
    .action = "Give each account its own mail address: `musterctl user set USER --email ADDRESS`. "
              "If there are too many, switch federation.mail-address off for a domain.",
    .explanation = "Users are known to other servers by their mail addresses "
                   "(federation.mail-address). An address of two accounts cannot name either of "
                   "them. The table of addresses is in memory and has a limit.",
    .raised_when = "Two accounts of a domain with federation.mail-address have the same mail "
                   "address, or more than 500,000 accounts have one.",
    .cleared_when = "Each mail address belongs to one account, and all have room.",
    .settings = "federation.mail-address",
    .also = "DuplicateDirectoryURI",
};
static struct log_area log_mail_address = { .name = "mail-address" };
static unsigned worker_slot;

/* The last column: how many other accounts have this address as their own. */
static struct store_stmt stmt_page = {
    .name = "mail-address.page",
    .sql = "SELECT a.id, a.jid, a.email, (SELECT count(*) FROM account b "
           "WHERE b.jid = lower(a.email) AND b.id <> a.id) FROM account a "
           "WHERE a.id > $1 AND a.email <> '' ORDER BY a.id LIMIT 2000",
    .params = "i",
    .cols = "itti",
};
static struct store_stmt *const stmts[] = { &stmt_page, NULL };
static const struct store_schema schema = { .feature = "mail-address", .stmts = stmts };

/* The book. */

struct name {
    slice jid, mail; /* bare */
    bool shared;     /* of several accounts: it is not used */
};
static slice name_jid(const void *item) { return ((const struct name *)item)->jid; }
static slice name_mail(const void *item) { return ((const struct name *)item)->mail; }

struct book {
    struct arena *arena;
    struct map by_jid, by_mail;          /* the first has those that are in use, the second all */
    uint32_t shared;                     /* addresses that are not in use */
    char unused[2 * ALARM_DETAIL_BYTES]; /* one of them, and why; empty: all are */
};

static struct {
    pthread_rwlock_t lock;
    struct book *book; /* guarded by it; NULL: not read yet */
} names = { .lock = PTHREAD_RWLOCK_INITIALIZER };

static struct book *book_create(void)
{
    struct book *b = mem_new(struct book);
    b->arena = arena_create(64 << 10);
    map_init(&b->by_jid, name_jid);
    map_init(&b->by_mail, name_mail);
    return b;
}

static void book_free(struct book **at)
{
    struct book *b = *at;
    *at = NULL;
    if (b == NULL)
        return;
    map_fini(&b->by_jid);
    map_fini(&b->by_mail);
    arena_destroy(&b->arena);
    mem_free(&b);
}

static void book_add(struct book *b, slice jid, slice mail, bool taken)
{
    struct name *n = arena_new(b->arena, struct name, 1), *other = map_get(&b->by_mail, mail);
    *n = (struct name){ .jid = slice_dup(b->arena, jid), .mail = slice_dup(b->arena, mail) };
    n->shared = taken || other != NULL;
    b->shared += n->shared && (other == NULL || !other->shared);
    if (n->shared)
        snprintf(b->unused, sizeof b->unused, "%.*s: %.*s and %.*s", SLICE_ARG(mail),
                 SLICE_ARG(jid), SLICE_ARG(taken ? mail : other->jid));
    if (other == NULL) {
        map_put(&b->by_mail, n);
    } else if (!other->shared) {
        other->shared = true;
        map_del(&b->by_jid, other->jid);
    }
    if (!n->shared)
        map_put(&b->by_jid, n);
}

static void book_take_page(struct book *book, const struct store_batch *b)
{
    struct arena *tmp = arena_create(0);
    for (uint32_t i = 0; i < store_row_count(b, 0); i++) {
        slice jid = store_text(b, 0, i, 1);
        struct jid mail;
        arena_reset(tmp);
        if (!setting_bool_of(&mail_address, jid_split(jid).domain) ||
            jid_parse(&mail, store_text(b, 0, i, 2), tmp) != OK || !jid_is_bare(&mail) ||
            jid_is_domain(&mail) || !slice_eq(mail.domain, jid_split(jid).domain) ||
            slice_eq(mail.full, jid))
            continue;
        if (book->by_mail.count < ACCOUNTS_MAX)
            book_add(book, jid, mail.full, store_int(b, 0, i, 3) > 0);
        else
            snprintf(book->unused, sizeof book->unused, "%.*s: more than %d accounts have one",
                     SLICE_ARG(mail.full), ACCOUNTS_MAX);
    }
    arena_destroy(&tmp);
}

/* Takes it over. */
static void book_use(struct book *b)
{
    if (b->unused[0] != '\0')
        alarm_raise(&unused_alarm, slice_of(b->unused));
    else
        alarm_clear(&unused_alarm);
    log_info(&log_mail_address, LOG_EV("mail-address.read"), LOG_I("used", b->by_jid.count),
             LOG_I("shared", b->shared));
    pthread_rwlock_wrlock(&names.lock);
    struct book *old = names.book;
    names.book = b;
    pthread_rwlock_unlock(&names.lock);
    book_free(&old);
}

enum { NAME_MAIL = 1, NAME_OWNER = 2, NAME_CLAIMED = 4 };

/* The mail address of an account; the account that has a mail address, or that claims it at least.
 * ptr NULL: none. */
static slice name_find(struct arena *tmp, slice bare, int what)
{
    slice other = { 0 };
    pthread_rwlock_rdlock(&names.lock);
    const struct book *b = names.book;
    const struct name *n =
        b == NULL ? NULL : map_get(what == NAME_MAIL ? &b->by_jid : &b->by_mail, bare);
    if (n != NULL && (!n->shared || what == NAME_CLAIMED))
        other = slice_dup(tmp, what == NAME_MAIL ? n->mail : n->jid);
    pthread_rwlock_unlock(&names.lock);
    return other;
}

static slice mail_known_by(slice bare, struct arena *tmp)
{
    return name_find(tmp, bare, NAME_CLAIMED);
}

/* Stanzas. */

static slice name_replace(struct arena *tmp, slice jid, int what)
{
    struct jid j = jid_split(jid);
    slice other = name_find(tmp, jid_bare_of(jid), what);
    return other.ptr == NULL || j.resource.len == 0
               ? other
               : slice_of(arena_printf(tmp, "%.*s/%.*s", SLICE_ARG(other), SLICE_ARG(j.resource)));
}

/* NULL: it is the same. */
static struct stanza *mail_replace(const struct stanza *st, int what)
{
    struct arena *tmp = arena_create(0);
    slice from = name_replace(tmp, stanza_from(st), what);
    slice to = name_replace(tmp, stanza_to(st), what);
    struct stanza *other =
        from.ptr == NULL && to.ptr == NULL ? NULL : stanza_readdress(st, from, to);
    arena_destroy(&tmp);
    return other;
}

static struct stanza *mail_outward(struct worker *w, const struct stanza *st)
{
    (void)w;
    return mail_replace(st, NAME_MAIL);
}

static struct stanza *mail_inward(struct worker *w, struct stanza *st)
{
    struct stanza *other = mail_replace(st, NAME_OWNER);
    (void)w;
    if (other == NULL)
        return st;
    stanza_unref(&st);
    return other;
}

/* Reading, on worker 0. */

struct mail_reading {
    struct worker *worker;
    struct timer reload;
    struct store_op *op;
    struct book *made; /* of the pages that were read; NULL: it is not read now */
    int64_t last;      /* id of the account */
    bool again;        /* something has changed since it began */
};

static void mail_soon(struct mail_reading *m, uint64_t ms)
{
    m->again = m->op != NULL;
    if (m->op == NULL && !timer_is_set(&m->reload))
        timer_set(worker_loop(m->worker), &m->reload, ms);
}

static struct store_batch *mail_batch(struct mail_reading *m)
{
    struct store_batch *b = store_read(worker_store(m->worker), 0);
    if (m->made == NULL) {
        m->made = book_create();
        m->last = 0;
    }
    STORE_ADD(b, &stmt_page, STORE_ANY_ROWS, SV_I(m->last));
    return b;
}

static void mail_take(void *arg, enum store_result result, const struct store_batch *b)
{
    struct mail_reading *m = arg;
    uint32_t count = result == STORE_OK ? store_row_count(b, 0) : 0;
    m->op = NULL;
    if (result != STORE_OK) {
        book_free(&m->made);
        mail_soon(m, AGAIN_MS);
        return;
    }
    book_take_page(m->made, b);
    if (count == PAGE_ROWS) {
        m->last = store_int(b, 0, count - 1, 0);
        return;
    }
    book_use(m->made);
    m->made = NULL;
}

static void mail_page(void *arg, enum store_result result, const struct store_batch *b)
{
    struct mail_reading *m = arg;
    mail_take(m, result, b);
    if (m->made != NULL)
        m->op = store_submit(mail_batch(m), worker_loop(m->worker), 0, mail_page, m);
    else if (m->again)
        mail_soon(m, SOON_MS);
}

static void mail_reload(struct timer *t, struct loop *loop)
{
    struct mail_reading *m = CONTAINER_OF(t, struct mail_reading, reload);
    ensure(m->op == NULL && m->made == NULL);
    m->op = store_submit(mail_batch(m), loop, 0, mail_page, m);
}

/* The loop does not run yet, and no stream is open. */
static void addresses_start(struct worker *w)
{
    struct mail_reading *m = *worker_state(w, worker_slot) = mem_new(struct mail_reading);
    m->worker = w;
    m->reload.fn = mail_reload;
    if (worker_index(w) == 0)
        do
            (void)store_run(mail_batch(m), mail_take, m);
        while (m->made != NULL);
}

static void mail_stop(struct worker *w)
{
    struct mail_reading *m = *worker_state(w, worker_slot);
    timer_cancel(&m->reload);
    store_cancel(&m->op);
    book_free(&m->made);
}

static void addresses_ended(struct worker *w) { mem_free(worker_state(w, worker_slot)); }

static void mail_setting_changed(struct worker *w, const struct setting *s)
{
    (void)s;
    if (worker_index(w) == 0)
        mail_soon(*worker_state(w, worker_slot), SOON_MS);
}

static void mail_reload_run(struct worker *w, void *message, const struct message_from *from)
{
    (void)message, (void)from;
    mail_setting_changed(w, NULL);
}

static const struct message_row reload_message = {
    .id = 120,
    .scope = MESSAGE_CLUSTER,
    .name = "mail-address.reload",
    .size = sizeof(struct message_nothing),
    .fields = message_no_fields,
    .run = mail_reload_run,
};

static void mail_profile_changed(struct worker *w, slice bare)
{
    if (setting_bool_of(&mail_address, jid_split(bare).domain))
        each_home(w, &reload_message, &(struct message_nothing){ 0 }, &(struct asker){ 0 });
}

const struct feature mail_address_feature = {
    .name = "mail-address",
    .parts = PART_MESSAGE | PART_PRESENCE | PART_REQUEST | PART_ACCOUNT,
    .settings = (struct setting *const[]){ &mail_address, NULL },
    .alarms = (struct alarm *const[]){ &unused_alarm, NULL },
    .logs = (struct log_area *const[]){ &log_mail_address, NULL },
    .messages = (const struct message_row *const[]){ &reload_message, NULL },
    .schema = &schema,
    .account.profile_changed = mail_profile_changed,
    .account.created = mail_profile_changed,
    .account.deleted = mail_profile_changed,
    .worker.slot = &worker_slot,
    .worker.start = addresses_start,
    .worker.stop = mail_stop,
    .worker.ended = addresses_ended,
    .one.addresses = &(const struct foreign_addresses){ .outward = mail_outward,
                                                        .inward = mail_inward,
                                                        .known_by = mail_known_by },
};
