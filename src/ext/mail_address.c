/* mail_address: other servers know users by the mail addresses of their profiles. Behind the
 * streams everything has the address of the account: foreign.outward and foreign.inward replace
 * addresses as stanzas leave and as they come, in the stanza and in what it carries.
 *
 * A mail address is used if its domain is that of the account, and no other account has it, as its
 * mail address or as its own. It is not used for any of those that share it, and an alarm names
 * them. No account is made whose own address is the mail address of another one.
 *
 * The book of addresses is one for the process. Worker 0 of each node reads it from the database, a
 * page at a time: the first time before its loop runs, then when profiles have changed. A deleted
 * account stays in it for a minute, because its farewells are still on their way. Its memory: the
 * addresses of ACCOUNTS_MAX accounts at the most. */
#include "base/alarm.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/command.h"
#include "base/ensure.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/setting.h"
#include "codec/xml_read.h"
#include "ext/ext.h"
#include "ext/mail_address_text.h"
#include "home/here.h"
#include "home/node.h"
#include "home/question.h"
#include "im/account.h"
#include "im/feature.h"
#include "im/foreign.h"
#include "io/timer.h"
#include "ops/users.h"
#include "store/store.h"
#include "xmpp/jid.h"
#include "xmpp/stanza.h"
#include <pthread.h>
#include <stdio.h>

enum {
    ACCOUNTS_MAX = 500000,
    PAGE_ROWS = 2000,
    SOON_MS = 100,
    AGAIN_MS = 5000,
    REST = 20, /* it reads for one part of its time in so many, while profiles change */
    FAREWELL_US = 60 * 1000000,
    GONE_MAX = 10000,
    STANZA_BYTES_MAX = 64u << 20
};

static void setting_news(struct worker *w, const struct setting *s);

static struct setting mail_address = {
    .name = "federation.mail-address",
    .scope = SCOPE_DOMAIN,
    .type = PARAM_BOOL,
    .def = 0,
    .changed = setting_news,
    .doc =
        "Whether other servers know users by the mail addresses of their profiles (`user set "
        "--email`). It counts for users whose mail address is in the domain of the account and "
        "belongs to nobody else. Contacts that were made before still see the address of the "
        "account, which other servers still reach. Off again: mail addresses are not reached any "
        "more, and contacts who know one must add the address of the account instead.",
};
static struct alarm shared_alarm = {
    .name = "federation.mail-address",
    .severity = ALARM_WARNING,
    .text = "A mail address is not used with other servers, because it belongs to several "
            "accounts.",
    .action = "Give each account its own mail address: `musterctl user set USER --email ADDRESS`.",
    .explanation =
        "Users are known to other servers by their mail addresses (federation.mail-address). An "
        "address of two accounts cannot name either of them.",
    .raised_when =
        "Two accounts of a domain with federation.mail-address have the same mail address.",
    .cleared_when = "Each mail address belongs to one account.",
    .settings = "federation.mail-address",
    .also = "DuplicateDirectoryURI",
};
static struct alarm full_alarm = {
    .name = "federation.mail-address-limit",
    .severity = ALARM_ERROR,
    .text = "More than 500,000 accounts have mail addresses; those of the others are not used "
            "with other servers.",
    .action = "Remove the mail addresses of accounts that need none, or switch "
              "federation.mail-address off for a domain.",
    .explanation = "The table of mail addresses is in memory and has a limit.",
    .raised_when = "More accounts have mail addresses than the table has room for.",
    .cleared_when = "The number is below the limit again.",
    .settings = "federation.mail-address",
};
static struct log_area log_mail_address = { .name = "mail-address" };
static unsigned worker_slot;

/* others: how many other accounts have this address as their own. */
static struct store_stmt stmt_page = {
    .name = "mail-address.page",
    .sql = "SELECT a.id, a.jid, a.email, (SELECT count(*) FROM account b "
           "WHERE b.jid = lower(a.email) AND b.id <> a.id) FROM account a "
           "WHERE a.id > $1 AND a.email <> '' ORDER BY a.id LIMIT 2000",
    .params = "i",
    .cols = "itti",
};
static struct store_stmt stmt_of = {
    .name = "mail-address.of",
    .sql = "SELECT email FROM account WHERE jid = $1",
    .params = "t",
    .cols = "t",
};
/* $3: the setting for the domain, $4. */
static struct store_stmt stmt_owner = {
    .name = "mail-address.owner",
    .sql = "SELECT a.jid FROM account a WHERE lower(a.email) = $1 AND a.jid <> $2 AND "
           "substr(a.jid, length(a.jid) - length($4)) = '@' || $4 AND 'on' = coalesce((SELECT "
           "s.value FROM setting s WHERE s.name = $3), (SELECT s.value FROM setting s WHERE s.name "
           "= 'federation.mail-address'))"
           " LIMIT 1",
    .params = "tttt",
    .cols = "t",
};
static struct store_stmt *const stmts[] = { &stmt_page, &stmt_of, &stmt_owner, NULL };
static const struct store_schema schema = { .feature = "mail-address", .stmts = stmts };

/* The book. */

struct name {
    slice jid, mail;  /* bare */
    uint64_t gone_us; /* the account is deleted, since then; 0: it is not */
    bool shared;
};
static slice name_jid(const void *item) { return ((const struct name *)item)->jid; }
static slice name_mail(const void *item) { return ((const struct name *)item)->mail; }

struct book {
    struct arena *arena;
    struct map by_jid, by_mail; /* the first has those that are in use, the second all */
    uint32_t shared, gone;
    char first[2 * ALARM_DETAIL_BYTES]; /* of those that are shared: for the alarm */
};

static struct {
    pthread_rwlock_t lock;
    struct book *book;  /* guarded by it; NULL: not read yet, or nobody needs it */
    _Atomic bool empty; /* nothing is to be replaced */
    _Atomic bool read;  /* once at least */
} names = { .lock = PTHREAD_RWLOCK_INITIALIZER, .empty = true };

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

static void book_share(struct book *b, const struct name *n, slice with)
{
    if (b->shared++ == 0)
        snprintf(b->first, sizeof b->first, "%.*s: %.*s and %.*s", SLICE_ARG(n->mail),
                 SLICE_ARG(n->jid), SLICE_ARG(with));
}

static void book_add(struct book *b, slice jid, slice mail, bool taken)
{
    struct name *n = arena_new(b->arena, struct name, 1), *other = map_get(&b->by_mail, mail);
    *n = (struct name){ .jid = slice_dup(b->arena, jid), .mail = slice_dup(b->arena, mail) };
    n->shared = taken || other != NULL;
    if (n->shared)
        book_share(b, n, taken ? mail : other->jid);
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
    }
    arena_destroy(&tmp);
}

/* Accounts that were in the book before, and are deleted now. */
static void book_keep_gone(struct book *b, const struct book *old, uint64_t now)
{
    const struct name *n;
    for (uint32_t i = 0; old != NULL && (n = map_next(&old->by_jid, &i)) != NULL;) {
        if (n->gone_us == 0 || now - n->gone_us > FAREWELL_US || b->gone == GONE_MAX ||
            map_get(&b->by_jid, n->jid) != NULL || map_get(&b->by_mail, n->mail) != NULL)
            continue;
        struct name *copy = arena_new(b->arena, struct name, 1);
        *copy = (struct name){ slice_dup(b->arena, n->jid), slice_dup(b->arena, n->mail),
                               n->gone_us, false };
        map_put(&b->by_jid, copy);
        b->gone++;
    }
}

static void book_alarms(const struct book *b)
{
    if (b->by_mail.count == ACCOUNTS_MAX)
        alarm_raise(&full_alarm, (slice){ 0 });
    else
        alarm_clear(&full_alarm);
    if (b->shared > 0)
        alarm_raise(&shared_alarm, slice_of(b->first));
    else
        alarm_clear(&shared_alarm);
    log_info(&log_mail_address, LOG_EV("mail-address.read"), LOG_I("used", b->by_jid.count),
             LOG_I("shared", b->shared));
}

/* Takes it over: when the lock is released, another node of the process may replace and free it.
 * Returns how many deleted accounts it has. */
static uint32_t book_use(struct book *b, uint64_t now)
{
    pthread_rwlock_wrlock(&names.lock);
    struct book *old = names.book;
    book_keep_gone(b, old, now);
    uint32_t gone = b->gone;
    atomic_store(&names.empty, b->by_jid.count == 0);
    atomic_store(&names.read, true);
    book_alarms(b);
    names.book = b;
    pthread_rwlock_unlock(&names.lock);
    book_free(&old);
    return gone;
}

static slice name_find(struct arena *tmp, slice bare, bool outward)
{
    slice other = { 0 };
    pthread_rwlock_rdlock(&names.lock);
    const struct book *b = names.book;
    const struct name *n = map_get(outward ? &b->by_jid : &b->by_mail, bare);
    if (n != NULL && !n->shared)
        other = slice_dup(tmp, outward ? n->mail : n->jid);
    pthread_rwlock_unlock(&names.lock);
    return other;
}

/* Also of one that several accounts have: it was used before, perhaps. */
static slice mail_known_by(slice bare, struct arena *tmp)
{
    slice account = { 0 };
    pthread_rwlock_rdlock(&names.lock);
    const struct name *n = names.book == NULL ? NULL : map_get(&names.book->by_mail, bare);
    if (n != NULL && n->gone_us == 0)
        account = slice_dup(tmp, n->jid);
    pthread_rwlock_unlock(&names.lock);
    return account;
}

/* Stanzas. */

struct mail_address {
    struct worker *worker;
    struct xml_work *xml; /* that of the worker is in use when a stanza is written */
    struct timer reload;  /* this and below: at worker 0 */
    bool forgets;         /* it is set for nothing but what is to be forgotten */
    struct store_op *op;
    struct book *made; /* of the pages that were read */
    int64_t last;      /* id of the account */
    uint64_t since_us;
    bool again, full;
    bool late; /* the first book of this node could not be read at the start */
};

static struct mail_address *mail_of(const struct worker *w)
{
    return *worker_state(w, worker_slot);
}

/* How the addresses of one stanza are replaced. */
struct naming {
    struct arena *tmp;
    slice stays; /* bare JID; ptr NULL: none */
};

static slice outward_name(void *arg, slice bare)
{
    const struct naming *n = arg;
    return slice_eq(bare, n->stays) ? (slice){ 0 } : name_find(n->tmp, bare, true);
}

static slice inward_name(void *arg, slice bare)
{
    const struct naming *n = arg;
    return name_find(n->tmp, bare, false);
}

/* Without what it carries: if that has grown too much. */
static struct stanza *replace_ends(const struct stanza *st, mail_address_fn *fn, struct naming *n)
{
    struct arena *tmp = n->tmp;
    slice from = fn(n, stanza_from_bare(st)), to = fn(n, stanza_to_bare(st));
    struct jid f = jid_split(stanza_from(st)), t = jid_split(stanza_to(st));
    const char *slash;
    slash = f.resource.len > 0 ? "/" : "";
    if (from.ptr != NULL)
        from = slice_of(
            arena_printf(tmp, "%.*s%s%.*s", SLICE_ARG(from), slash, SLICE_ARG(f.resource)));
    slash = t.resource.len > 0 ? "/" : "";
    if (to.ptr != NULL)
        to = slice_of(arena_printf(tmp, "%.*s%s%.*s", SLICE_ARG(to), slash, SLICE_ARG(t.resource)));
    return stanza_readdress(st, from, to);
}

/* NULL: it is the same. */
static struct stanza *replace(struct worker *w, const struct stanza *st, mail_address_fn *fn,
                              slice stays)
{
    struct naming n = { .stays = stays };
    struct stanza *other = NULL;
    struct buf in, out;
    if (atomic_load_explicit(&names.empty, memory_order_acquire))
        return NULL;
    n.tmp = arena_create(0);
    buf_init(&in, STANZA_BYTES_MAX);
    buf_init(&out, STANZA_BYTES_MAX);
    stanza_store(&in, st);
    if (mail_address_replace(&out, buf_fit(&in), fn, &n, n.tmp) &&
        stanza_load(&other, buf_fit(&out), mail_of(w)->xml, n.tmp) != OK)
        other = replace_ends(st, fn, &n);
    buf_fini(&in);
    buf_fini(&out);
    arena_destroy(&n.tmp);
    return other;
}

/* The id of a request says by which address its sender has asked. Answers repeat it (RFC 6120
 * §8.1.3), so they come from that address (§8.1.2.1) also if the client answers, on whatever node,
 * and however late. An id that looks so already gets such a head, too, so that nobody can choose
 * the address that others see. */
enum { ASKED_HEAD = 8 };
static const char asked_heads[][ASKED_HEAD + 1] = {
    [NAMED_USUAL] = "named-0:",
    [NAMED_ACCOUNT] = "named-1:",
    [NAMED_MAIL] = "named-2:",
};

/* false: it has no head. */
static bool asked_read(slice id, enum stanza_named *named)
{
    for (unsigned i = NAMED_USUAL; i <= NAMED_MAIL; i++)
        if (slice_starts(id, slice_of(asked_heads[i]))) {
            *named = (enum stanza_named)i;
            return true;
        }
    return false;
}

/* Takes over st. */
static struct stanza *asked_mark(struct stanza *st, enum stanza_named named)
{
    struct arena *tmp;
    struct stanza *other;
    enum stanza_named head;
    st->named = (uint8_t)named;
    if (st->kind != STANZA_IQ || st->type == TYPE_RESULT || st->type == TYPE_ERROR ||
        st->id_len == 0 || (named == NAMED_USUAL && !asked_read(stanza_id(st), &head)))
        return st;
    tmp = arena_create(0);
    slice id = slice_of(arena_printf(tmp, "%s%.*s", asked_heads[named], SLICE_ARG(stanza_id(st))));
    other = stanza_change(st, &(struct stanza_change){ .id = id });
    arena_destroy(&tmp);
    stanza_unref(&st);
    return other;
}

static enum stanza_named name_of(slice bare)
{
    enum stanza_named named = NAMED_USUAL;
    if (atomic_load_explicit(&names.empty, memory_order_acquire))
        return named;
    pthread_rwlock_rdlock(&names.lock);
    const struct name *n = map_get(&names.book->by_mail, bare);
    if (map_get(&names.book->by_jid, bare) != NULL)
        named = NAMED_ACCOUNT;
    else if (n != NULL && !n->shared)
        named = NAMED_MAIL;
    pthread_rwlock_unlock(&names.lock);
    return named;
}

static bool mail_renames(struct worker *w, slice bare)
{
    (void)w;
    return name_of(bare) == NAMED_ACCOUNT;
}

static struct stanza *mail_outward(struct worker *w, const struct stanza *st)
{
    enum stanza_named named = (enum stanza_named)st->named;
    slice id = stanza_id(st);
    bool headed = st->kind == STANZA_IQ && (st->type == TYPE_RESULT || st->type == TYPE_ERROR) &&
                  asked_read(id, &named);
    struct stanza *other =
        replace(w, st, outward_name, named == NAMED_ACCOUNT ? stanza_from_bare(st) : (slice){ 0 });
    if (headed) {
        struct stanza *renamed = other;
        other = stanza_change(renamed != NULL ? renamed : st,
                              &(struct stanza_change){ .id = slice_from(id, ASKED_HEAD) });
        stanza_unref(&renamed);
    }
    return other;
}

static struct stanza *mail_inward(struct worker *w, struct stanza *st)
{
    enum stanza_named named = name_of(stanza_to_bare(st));
    struct stanza *other = replace(w, st, inward_name, (slice){ 0 });
    if (other != NULL) {
        stanza_unref(&st);
        st = other;
    }
    return asked_mark(st, named);
}

/* Until the book was read once, an address could leave that is to stay inside. */
static const struct foreign_ban *mail_pair(struct worker *w, slice local, slice remote)
{
    static const struct foreign_ban unread = {
        "the mail addresses of users could not be read from the database yet",
        "Look whether the database answers: `musterctl status`.", NULL
    };
    (void)remote;
    return atomic_load(&names.read) ||
                   !setting_bool_of(&mail_address, foreign_parent(worker_node(w), local))
               ? NULL
               : &unread;
}

/* Reading. */

static void mail_read_page(struct mail_address *m);

static void mail_soon(struct mail_address *m, uint64_t ms)
{
    if (m->op != NULL)
        m->again = true;
    else if (!timer_is_set(&m->reload) || m->forgets)
        timer_set(worker_loop(m->worker), &m->reload, ms);
    m->forgets = false;
}

static struct store_batch *mail_batch(const struct mail_address *m)
{
    struct store_batch *b = store_read(worker_store(m->worker), 0);
    STORE_ADD(b, &stmt_page, STORE_ANY_ROWS, SV_I(m->last));
    return b;
}

/* true: the next page is wanted. */
static bool mail_take(struct mail_address *m, const struct store_batch *b)
{
    uint32_t count = store_row_count(b, 0);
    book_take_page(m->made, b);
    if (count > 0)
        m->last = store_int(b, 0, count - 1, 0);
    return count == PAGE_ROWS && m->made->by_mail.count < ACCOUNTS_MAX;
}

static void mail_apply_run(struct worker *w, void *message, const struct message_from *from)
{
    (void)message, (void)from;
    foreign_changed(w);
}

static const struct message_row apply_message = {
    .id = 122,
    .scope = MESSAGE_PROCESS,
    .name = "mail-address.apply",
    .size = sizeof(struct message_nothing),
    .fields = message_no_fields,
    .run = mail_apply_run,
};

/* Every worker of the node has streams, which had to wait for a book if it could not be read at
 * once. Returns as book_use(). */
static uint32_t mail_taken(struct mail_address *m)
{
    uint32_t gone = book_use(m->made, loop_wall_us(worker_loop(m->worker)));
    bool late = m->late;
    m->made = NULL;
    m->late = false;
    if (late)
        each_home(m->worker, &apply_message, &(struct message_nothing){ 0 }, &(struct asker){ 0 });
    return gone;
}

static void mail_page(void *arg, enum store_result result, const struct store_batch *b)
{
    struct mail_address *m = arg;
    uint64_t took_ms = (loop_now_us(worker_loop(m->worker)) - m->since_us) / 1000;
    m->op = NULL;
    if (result != STORE_OK) {
        book_free(&m->made);
        mail_soon(m, AGAIN_MS);
    } else if (mail_take(m, b)) {
        mail_read_page(m);
    } else {
        uint32_t gone = mail_taken(m);
        if (m->again || gone > 0)
            mail_soon(m, m->again ? SOON_MS + REST * took_ms : FAREWELL_US / 1000);
        m->forgets = !m->again;
    }
}

static void mail_read_page(struct mail_address *m)
{
    m->op = store_submit(mail_batch(m), worker_loop(m->worker), 0, mail_page, m);
}

static void mail_reload(struct timer *t, struct loop *loop)
{
    struct mail_address *m = CONTAINER_OF(t, struct mail_address, reload);
    ensure(m->op == NULL && m->made == NULL);
    m->made = book_create();
    m->last = 0;
    m->again = false;
    m->since_us = loop_now_us(loop);
    if (setting_bool_somewhere(&mail_address))
        mail_read_page(m);
    else
        (void)mail_taken(m);
}

static void first_page(void *arg, enum store_result result, const struct store_batch *b)
{
    struct mail_address *m = arg;
    m->again = result == STORE_OK && mail_take(m, b);
    if (result != STORE_OK)
        book_free(&m->made);
}

/* The loop does not run yet, and no stream is open. */
static void mail_read_first(struct mail_address *m)
{
    m->made = book_create();
    m->again = setting_bool_somewhere(&mail_address);
    while (m->again)
        (void)store_run(mail_batch(m), first_page, m);
    m->late = m->made == NULL;
    if (m->late)
        mail_soon(m, AGAIN_MS);
    else
        (void)book_use(m->made, 0);
    m->made = NULL;
}

static void mail_start(struct worker *w)
{
    struct mail_address *m = mem_new(struct mail_address);
    *worker_state(w, worker_slot) = m;
    m->worker = w;
    m->xml = xml_work_create();
    m->reload.fn = mail_reload;
    if (worker_index(w) == 0)
        mail_read_first(m);
}

static void mail_stop(struct worker *w)
{
    struct mail_address *m = mail_of(w);
    timer_cancel(&m->reload);
    store_cancel(&m->op);
    book_free(&m->made);
}

static void mail_ended(struct worker *w)
{
    struct mail_address *m = mail_of(w);
    if (m == NULL) /* it has not started */
        return;
    *worker_state(w, worker_slot) = NULL;
    xml_work_destroy(&m->xml);
    mem_free(&m);
}

/* News. */

static void reload_run(struct worker *w, void *message, const struct message_from *from)
{
    (void)message, (void)from;
    if (worker_index(w) == 0)
        mail_soon(mail_of(w), SOON_MS);
}

static const struct message_row reload_message = {
    .id = 120,
    .scope = MESSAGE_CLUSTER,
    .name = "mail-address.reload",
    .size = sizeof(struct message_nothing),
    .fields = message_no_fields,
    .run = reload_run,
};

static void profile_news(struct worker *w, slice bare)
{
    if (setting_bool_of(&mail_address, jid_split(bare).domain))
        each_home(w, &reload_message, &(struct message_nothing){ 0 }, &(struct asker){ 0 });
}

static void setting_news(struct worker *w, const struct setting *s)
{
    (void)s;
    if (worker_index(w) == 0)
        mail_soon(mail_of(w), SOON_MS);
}

static void account_gone(struct worker *w, slice bare)
{
    struct name *n;
    if (worker_index(w) != 0 || atomic_load(&names.empty))
        return;
    pthread_rwlock_wrlock(&names.lock);
    n = map_get(&names.book->by_jid, bare);
    if (n != NULL)
        n->gone_us = loop_wall_us(worker_loop(w));
    pthread_rwlock_unlock(&names.lock);
    mail_soon(mail_of(w), SOON_MS);
}

/* Without a server. */

struct owner_read {
    struct arena *arena;
    slice owner;
    enum err error;
};

static void owner_found(void *arg, enum store_result result, const struct store_batch *b)
{
    struct owner_read *r = arg;
    r->error = err_of_store(result);
    if (result == STORE_OK && store_row_count(b, 0) > 0)
        r->owner = slice_dup(r->arena, store_text(b, 0, 0, 0));
}

static enum err mail_known_in(struct store *store, slice bare, slice but, struct arena *arena,
                              slice *owner)
{
    struct owner_read r = { .arena = arena };
    slice domain = jid_split(bare).domain;
    slice of_domain =
        slice_of(arena_printf(arena, "%s@%.*s", mail_address.name, SLICE_ARG(domain)));
    struct store_batch *b = store_read(store, 0);
    STORE_ADD(b, &stmt_owner, STORE_ANY_ROWS, SV_T(bare), SV_T(but), SV_T(of_domain), SV_T(domain));
    (void)store_run(b, owner_found, &r);
    *owner = r.owner;
    return r.error;
}

/* Command. */

/* Of several accounts, or the address of another one. */
static bool mail_is_shared(slice mail)
{
    pthread_rwlock_rdlock(&names.lock);
    const struct name *n = names.book == NULL ? NULL : map_get(&names.book->by_mail, mail);
    bool shared = n != NULL && n->shared;
    pthread_rwlock_unlock(&names.lock);
    return shared;
}

/* Why other servers know the account by its own address. */
static const char *mail_unused_why(struct arena *arena, slice jid, slice email)
{
    slice domain = jid_split(jid).domain;
    struct jid mail;
    if (!setting_bool_of(&mail_address, domain))
        return "federation.mail-address is off for this domain";
    if (email.len == 0)
        return "the account has no mail address: `musterctl user set USER --email ADDRESS`";
    if (jid_parse(&mail, email, arena) != OK || !jid_is_bare(&mail) || jid_is_domain(&mail))
        return arena_printf(arena, "%.*s is no XMPP address", SLICE_ARG(email));
    if (!slice_eq(mail.domain, domain))
        return arena_printf(arena,
                            "%.*s is in another domain: what leaves for a user of %.*s does so on "
                            "a stream of that domain, where other servers accept no other sender",
                            SLICE_ARG(mail.full), SLICE_ARG(domain));
    if (slice_eq(mail.full, jid))
        return "the mail address is the same";
    if (mail_is_shared(mail.full))
        return arena_printf(arena, "%.*s belongs to several accounts", SLICE_ARG(mail.full));
    return "the addresses are being read, or more than 500,000 accounts have one";
}

static void address_read(void *arg, enum store_result result, const struct store_batch *b)
{
    struct command_call *call = arg;
    slice jid = command_arg(call, "jid");
    if (result != STORE_OK) {
        command_fail_cause(call, err_of_store(result), NULL);
        return;
    }
    if (store_row_count(b, 0) == 0) {
        users_fail_missing(call, jid);
        return;
    }
    slice email = slice_dup(call->arena, store_text(b, 0, 0, 0));
    slice used = name_find(call->arena, jid, true);
    command_row(call);
    command_text(call, "account", jid);
    command_text(call, "address", used.ptr != NULL ? used : jid);
    command_text(call, "why",
                 used.ptr != NULL ? SLICE("the mail address of the account")
                                  : slice_of(mail_unused_why(call->arena, jid, email)));
    command_done(call, "%s", "");
}

static void address_run(struct command_call *call)
{
    struct store_batch *b = store_read(worker_store(call->worker), 0);
    STORE_ADD(b, &stmt_of, STORE_ANY_ROWS, SV_T(command_arg(call, "jid")));
    store_submit(b, worker_loop(call->worker), 0, address_read, call);
}

static struct command address_show = {
    .name = "federation address",
    .effect = COMMAND_READS,
    .area = "federation",
    .args = (const struct command_arg[]){ COMMAND_USER_ARG, { 0 } },
    .home = "jid",
    .run = address_run,
    .doc = "Shows by which address other servers know a user, and why. Contacts from before the "
           "mail address still see that of the account.",
    .columns =
        (const struct command_column[]){ { .name = "account", .doc = "address of the account" },
                                         { .name = "address", .doc = "what other servers see" },
                                         { .name = "why", .doc = "why it is this one" },
                                         { 0 } },
};

const struct feature mail_address_feature = {
    .name = "mail-address",
    .parts = PART_MESSAGE | PART_PRESENCE | PART_REQUEST | PART_ACCOUNT,
    .settings = (struct setting *const[]){ &mail_address, NULL },
    .commands = (struct command *const[]){ &address_show, NULL },
    .alarms = (struct alarm *const[]){ &shared_alarm, &full_alarm, NULL },
    .logs = (struct log_area *const[]){ &log_mail_address, NULL },
    .messages = (const struct message_row *const[]){ &apply_message, &reload_message, NULL },
    .schema = &schema,
    .account.profile_changed = profile_news,
    .account.created = profile_news,
    .account.deleted = account_gone,
    .worker.slot = &worker_slot,
    .worker.start = mail_start,
    .worker.stop = mail_stop,
    .worker.ended = mail_ended,
    .foreign.pair = mail_pair,
    .foreign.outward = mail_outward,
    .foreign.inward = mail_inward,
    .foreign.renames = mail_renames,
    .foreign.known_by = mail_known_by,
    .foreign.known_in = mail_known_in,
};
