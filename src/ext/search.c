/* search: Jabber Search (XEP-0055) at search.<domain>: users of that domain with this name,
 * nickname or email address in the vCard (XEP-0054), or this address, which stands for a nickname
 * and an email address as well: users without a vCard are found by it.
 *
 * A row of the table `directory` is made of a vCard in the transaction that stores it; before there
 * is one, of the profile of the account, in the transaction that changes that. Users who do
 * not want to be found say so in the vCard, by <CLASS><PRIVATE/></CLASS> or <CONFIDENTIAL/>.
 * Accounts that are disabled are not found.
 *
 * A term means what begins with it, whatever the case; with a `*` in it, what looks like that, `*`
 * standing for anything. All terms must fit. Limits: search.rows-max, search.length-min;
 * TEXT_BYTES_MAX of a field; searches of one user that wait, and FIND_MS for each, by the store
 * (store_read_long). */
#include "account/account.h"
#include "account/account_life.h"
#include "account/guest.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "base/hash.h"
#include "base/setting.h"
#include "codec/xml_elem.h"
#include "codec/xml_write.h"
#include "core/feature.h"
#include "ext/ext.h"
#include "home/here.h"
#include "home/host.h"
#include "home/node.h"
#include "xmpp/form.h"
#include "xmpp/ns.h"
#include "xmpp/precis.h"

#define NS_SEARCH "jabber:iq:search"

enum { TEXT_BYTES_MAX = 256, FIELDS = 4, FIND_MS = 2000 };
enum { PATTERN_BYTES_MAX = PRECIS_OUTPUT_MAX * 2 + 1 };

static struct setting search_enabled = {
    .name = "search.enabled",
    .scope = SCOPE_DOMAIN,
    .type = PARAM_BOOL,
    .def = 1,
    .min = 0,
    .max = 1,
    .doc = "Whether users can find each other at search.<domain> (XEP-0055): by "
           "user name and address, and by the names, nickname and email address of the vCard.",
};
static const char *const access_choices[] = { "server", "domain", NULL };
enum { ACCESS_SERVER, ACCESS_DOMAIN };
static struct setting search_access = {
    .name = "search.access",
    .scope = SCOPE_DOMAIN,
    .type = PARAM_CHOICE,
    .def = ACCESS_SERVER,
    .min = 0,
    .max = 1,
    .choices = access_choices,
    .doc = "Who may search for the users of a domain: everybody with an account on this server, or "
           "only users of the same domain. A user whose vCard has the class private or "
           "confidential is never found.",
};
static struct setting search_rows_max = {
    .name = "search.rows-max",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_INT,
    .def = 50,
    .min = 1,
    .max = 1000,
    .unit = "users",
    .doc = "How many users a search finds at most.",
};
static struct setting search_length_min = {
    .name = "search.length-min",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_INT,
    .def = 2,
    .min = 1,
    .max = 20,
    .unit = "characters",
    .doc = "How many characters besides `*` a search term must have, so that nobody can read the "
           "whole directory letter by letter.",
};

static const struct store_migration migrations[] = {
    { 1,
      "CREATE TABLE directory(owner INTEGER PRIMARY KEY, first TEXT NOT NULL, last TEXT NOT NULL, "
      "nick TEXT NOT NULL, email TEXT NOT NULL, first_key TEXT NOT NULL, last_key TEXT NOT NULL, "
      "nick_key TEXT NOT NULL, email_key TEXT NOT NULL)",
      "CREATE TABLE directory(owner BIGINT PRIMARY KEY, first TEXT NOT NULL, last TEXT NOT NULL, "
      "nick TEXT NOT NULL, email TEXT NOT NULL, first_key TEXT NOT NULL, last_key TEXT NOT NULL, "
      "nick_key TEXT NOT NULL, email_key TEXT NOT NULL)" },
    { 2, "ALTER TABLE directory ADD COLUMN hidden INTEGER NOT NULL DEFAULT 0",
      "ALTER TABLE directory ADD COLUMN hidden BIGINT NOT NULL DEFAULT 0" },
    /* own: made of the user's vCard, and not of the profile of the account. */
    { 3, "ALTER TABLE directory ADD COLUMN own INTEGER NOT NULL DEFAULT 1",
      "ALTER TABLE directory ADD COLUMN own BIGINT NOT NULL DEFAULT 1" },
    { 0 },
};
static struct store_stmt directory_put = {
    .name = "directory.put",
    .sql = "INSERT INTO directory(owner, first, last, nick, email, first_key, last_key, nick_key, "
           "email_key, hidden) VALUES($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) "
           "ON CONFLICT(owner) DO UPDATE SET own = 1, hidden = excluded.hidden, "
           "first = excluded.first, last = excluded.last, nick = excluded.nick, "
           "email = excluded.email, first_key = excluded.first_key, last_key = excluded.last_key, "
           "nick_key = excluded.nick_key, email_key = excluded.email_key",
    .params = "itttttttti",
    .cols = "",
};
/* Of a user who has stored no vCard: what is NULL stays. */
static struct store_stmt directory_profile = {
    .name = "directory.profile",
    .sql = "INSERT INTO directory(owner, first, last, nick, email, first_key, last_key, nick_key, "
           "email_key, hidden, own) SELECT id, coalesce($2, ''), coalesce($3, ''), '', "
           "coalesce($4, ''), coalesce($5, ''), coalesce($6, ''), '', coalesce($7, ''), 0, 0 "
           "FROM account WHERE jid = $1 "
           "ON CONFLICT(owner) DO UPDATE SET first = coalesce($2, directory.first), "
           "last = coalesce($3, directory.last), email = coalesce($4, directory.email), "
           "first_key = coalesce($5, directory.first_key), "
           "last_key = coalesce($6, directory.last_key), "
           "email_key = coalesce($7, directory.email_key) WHERE directory.own = 0",
    .params = "tTTTTTT",
    .cols = "",
};
static struct store_stmt directory_delete = {
    .name = "directory.delete",
    .sql = "DELETE FROM directory WHERE owner = $1",
    .params = "i",
    .cols = "",
};
static struct store_stmt directory_find = {
    .name = "directory.find",
    .sql = "SELECT a.jid, coalesce(d.first, ''), coalesce(d.last, ''), coalesce(d.nick, ''), "
           "coalesce(d.email, '') FROM account a LEFT JOIN directory d ON d.owner = a.id "
           "WHERE a.disabled = 0 "
           "AND NOT EXISTS (SELECT 1 FROM test_user t WHERE t.account = a.id) AND "
           "coalesce(d.hidden, 0) = 0 AND a.jid LIKE '%@' || $1 "
           "AND ($2 = '' OR d.first_key LIKE $2 ESCAPE '\\') "
           "AND ($3 = '' OR d.last_key LIKE $3 ESCAPE '\\') "
           "AND ($4 = '' OR d.nick_key LIKE $4 ESCAPE '\\' OR "
           "substr(a.jid, 1, length(a.jid) - length($1) - 1) LIKE $4 ESCAPE '\\') "
           "AND ($5 = '' OR d.email_key LIKE $5 ESCAPE '\\' OR a.jid LIKE $5 ESCAPE '\\') "
           "ORDER BY a.jid LIMIT $6",
    .params = "ttttti",
    .cols = "ttttt",
};
static const struct store_schema schema = {
    .feature = "search",
    .migrations = migrations,
    .stmts = (struct store_stmt *const[]){ &directory_put, &directory_profile, &directory_delete,
                                           &directory_find, NULL },
};

/* The fields of §2.1, in the order of the columns. */
static const char *const names[FIELDS] = { "first", "last", "nick", "email" };
static const struct form_row form_rows[FIELDS] = {
    { .var = "first", .type = FORM_TEXT_SINGLE, .label = "Given name" },
    { .var = "last", .type = FORM_TEXT_SINGLE, .label = "Family name" },
    { .var = "nick", .type = FORM_TEXT_SINGLE, .label = "Nickname or user name" },
    { .var = "email", .type = FORM_TEXT_SINGLE, .label = "Email address or address for chat" },
};
static const char instructions[] =
    "Fill in one or more fields. A field finds what begins with it; a * stands for anything.";

/* The directory. */

/* The text of a card's element, or of one below it; cut between characters. */
static slice card_text(const struct elem *card, const char *name, const char *below,
                       struct arena *tmp)
{
    struct elem e, inner;
    slice text = { "", 0 };
    if (elem_child(card, name, NS_VCARD, &e)) {
        if (below == NULL)
            text = elem_text(&e, tmp);
        else if (elem_child(&e, below, NS_VCARD, &inner))
            text = elem_text(&inner, tmp);
    }
    size_t len = text.len < TEXT_BYTES_MAX ? text.len : TEXT_BYTES_MAX;
    while (len < text.len && len > 0 && ((uint8_t)text.ptr[len] & 0xc0) == 0x80)
        len--;
    return (slice){ text.ptr, len };
}

static slice search_key_of(slice text, struct arena *tmp)
{
    slice key;
    return text.len > 0 && precis_fold(text, tmp, &key) == OK ? key : SLICE("");
}

static bool search_is_private(const struct elem *card)
{
    struct elem class, kind;
    return elem_child(card, "CLASS", NS_VCARD, &class) &&
           (elem_child(&class, "PRIVATE", NS_VCARD, &kind) ||
            elem_child(&class, "CONFIDENTIAL", NS_VCARD, &kind));
}

static void put_card(int64_t owner, const struct elem *card, struct store_batch *b)
{
    bool hidden = search_is_private(card);
    struct arena *tmp = arena_create(0);
    const slice text[FIELDS] = { card_text(card, "N", "GIVEN", tmp),
                                 card_text(card, "N", "FAMILY", tmp),
                                 card_text(card, "NICKNAME", NULL, tmp),
                                 card_text(card, "EMAIL", "USERID", tmp) };
    struct store_val vals[2 + 2 * FIELDS] = { SV_I(owner) };
    for (unsigned i = 0; i < FIELDS; i++) {
        vals[1 + i] = SV_T(hidden ? SLICE("") : text[i]);
        vals[1 + FIELDS + i] = SV_T(hidden ? SLICE("") : search_key_of(text[i], tmp));
    }
    vals[1 + 2 * FIELDS] = SV_I(hidden);
    store_add(b, &directory_put, STORE_ANY_ROWS, vals, 2 + 2 * FIELDS);
    arena_destroy(&tmp);
}

static void search_profile(struct store_batch *b, slice jid, const struct user_profile *p)
{
    const slice text[] = { p->given_name, p->surname, p->email };
    struct store_val vals[7] = { SV_T(jid) };
    struct arena *tmp = arena_create(0);
    for (unsigned i = 0; i < 3; i++) {
        vals[1 + i] = text[i].ptr == NULL ? SV_NULL : SV_T(text[i]);
        vals[4 + i] = text[i].ptr == NULL ? SV_NULL : SV_T(search_key_of(text[i], tmp));
    }
    store_add(b, &directory_profile, STORE_ANY_ROWS, vals, 7);
    arena_destroy(&tmp);
}

static void search_removing(struct account *a, struct store_batch *b)
{
    STORE_ADD(b, &directory_delete, STORE_ANY_ROWS, SV_I(a->id));
}

/* Searching. */

struct query {
    slice term[FIELDS]; /* as given; empty: not asked for */
    bool form;          /* by a data form: answered by one */
};

static bool may_search(const struct iq *iq)
{
    slice parent;
    struct jid from = jid_split(stanza_from(iq->st));
    ensure(iq->target == IQ_TO_HOST);
    if (from.local.len == 0 || !node_serves(worker_node(iq->worker), from.domain) ||
        guest_is(jid_bare(&from)))
        return false;
    return host_find(worker_node(iq->worker), stanza_to(iq->st), &parent) != NULL &&
           (setting_int_of(&search_access, parent) == ACCESS_SERVER ||
            slice_eq(parent, from.domain));
}

static void fields_get(struct iq *iq)
{
    struct buf out;
    struct xml_write x;
    if (!may_search(iq)) {
        iq_error(iq, SE_FORBIDDEN, SLICE("only users with an account on this server may search"));
        return;
    }
    xml_begin(&x, &out, XML_PART_MAX);
    xml_open(&x, "query", NS_SEARCH);
    xml_element(&x, "instructions", slice_of(instructions));
    for (unsigned i = 0; i < FIELDS; i++)
        xml_empty(&x, names[i], NULL);
    form_open_titled(&x, FORM_FORM, NS_SEARCH, "User Directory", instructions);
    for (unsigned i = 0; i < FIELDS; i++)
        form_ask(&x, &form_rows[i]);
    form_close(&x);
    iq_result_xml(iq, &x);
}

/* false: the request is answered. */
static bool read_query(struct iq *iq, struct query *q)
{
    struct form f = { 0 };
    struct elem e;
    *q = (struct query){ .form = form_parse_child(&f, &iq->payload, iq->tmp) };
    if (q->form && form_expect(&f, NS_SEARCH))
        for (unsigned i = 0; i < FIELDS; i++)
            form_text(&f, names[i], &q->term[i]);
    if (f.error != SE_NONE) {
        iq_error(iq, f.error, f.text);
        return false;
    }
    for (unsigned i = 0; i < FIELDS && !q->form; i++)
        if (elem_child(&iq->payload, names[i], NS_SEARCH, &e))
            q->term[i] = elem_text(&e, iq->tmp);
    return true;
}

static int64_t characters(slice term)
{
    int64_t n = 0;
    for (size_t i = 0; i < term.len; i++)
        n += term.ptr[i] != '*' && ((uint8_t)term.ptr[i] & 0xc0) != 0x80;
    return n;
}

/* For LIKE, whose own wildcards stand for themselves; empty: it cannot be searched for. */
static slice pattern(slice term, struct arena *tmp)
{
    struct buf out;
    slice folded;
    bool wild = memchr(term.ptr, '*', term.len) != NULL;
    if (term.len > TEXT_BYTES_MAX || precis_fold(term, tmp, &folded) != OK)
        return (slice){ "", 0 };
    buf_init(&out, PATTERN_BYTES_MAX);
    for (size_t i = 0; i < folded.len; i++) {
        char c = folded.ptr[i];
        if (c == '%' || c == '_' || c == '\\')
            buf_lit(&out, "\\");
        buf_append(&out, c == '*' ? "%" : &c, 1);
    }
    if (!wild)
        buf_lit(&out, "%");
    slice text = slice_dup(tmp, buf_fit(&out));
    buf_fini(&out);
    return text;
}

/* What is asked for, as patterns. false: the request is answered. */
static bool read_patterns(struct iq *iq, const struct query *q, slice out[FIELDS])
{
    unsigned asked = 0;
    int64_t least = setting_int(&search_length_min);
    for (unsigned i = 0; i < FIELDS; i++) {
        out[i] = SLICE("");
        if (q->term[i].len == 0)
            continue;
        asked++;
        if (characters(q->term[i]) < least) {
            iq_error(iq, SE_NOT_ACCEPTABLE,
                     slice_of(arena_printf(iq->tmp, "%s: at least %lld characters are needed",
                                           names[i], (long long)least)));
            return false;
        }
        out[i] = pattern(q->term[i], iq->tmp);
        if (out[i].len == 0) {
            iq_error(iq, SE_NOT_ACCEPTABLE,
                     slice_of(arena_printf(iq->tmp, "%s cannot be searched for", names[i])));
            return false;
        }
    }
    if (asked == 0) /* XEP-0055 §2.1: nothing is found: an empty <query/> */
        iq_result(iq, SLICE("<query xmlns='" NS_SEARCH "'/>"));
    return asked > 0;
}

static void search_write_items(struct xml_write *x, const struct store_batch *b, uint32_t rows)
{
    for (uint32_t r = 0; r < rows; r++) {
        xml_open_with(x, "item", NULL, "jid", store_text(b, 0, r, 0));
        for (unsigned i = 0; i < FIELDS; i++) {
            xml_open(x, names[i], NULL);
            xml_text_clean(x, store_text(b, 0, r, 1 + i));
            xml_close(x);
        }
        xml_close(x);
    }
}

static void write_table(struct xml_write *x, const struct store_batch *b, uint32_t rows)
{
    struct form_row columns[1 + FIELDS] = {
        { .var = "jid", .type = FORM_JID_SINGLE, .label = "Address" },
    };
    for (unsigned i = 0; i < FIELDS; i++)
        columns[1 + i] = form_rows[i];
    form_open(x, FORM_RESULT, NS_SEARCH);
    form_reported(x, columns, 1 + FIELDS);
    for (uint32_t r = 0; r < rows; r++) {
        form_item_open(x);
        for (unsigned i = 0; i <= FIELDS; i++)
            form_put(x, columns[i].var, store_text(b, 0, r, i));
        form_item_close(x);
    }
    form_close(x);
}

static void search_found(void *arg, enum store_result result, const struct store_batch *b)
{
    struct iq *iq = arg;
    struct elem form;
    struct buf out;
    struct xml_write x;
    ensure(iq->held);
    if (result != STORE_OK) {
        iq_error(iq, stanza_error_of(err_of_store(result)), (slice){ 0 });
        return;
    }
    uint32_t rows = store_row_count(b, 0);
    xml_begin(&x, &out, XML_STANZA_MAX);
    xml_open(&x, "query", NS_SEARCH);
    if (rows > 0 && elem_child(&iq->payload, "x", NS_DATA, &form))
        write_table(&x, b, rows);
    else
        search_write_items(&x, b, rows); /* §2.1: none is an empty <query/> */
    iq_result_xml(iq, &x);
}

static void search_set(struct iq *iq)
{
    struct query q;
    slice like[FIELDS], domain;
    if (!may_search(iq)) {
        iq_error(iq, SE_FORBIDDEN, SLICE("only users with an account on this server may search"));
        return;
    }
    if (!read_query(iq, &q) || !read_patterns(iq, &q, like))
        return;
    host_find(worker_node(iq->worker), stanza_to(iq->st), &domain);
    struct store_batch *b = store_read(worker_store(iq->worker), 0);
    STORE_ADD(b, &directory_find, STORE_ANY_ROWS, SV_T(domain), SV_T(like[0]), SV_T(like[1]),
              SV_T(like[2]), SV_T(like[3]), SV_I(setting_int(&search_rows_max)));
    store_read_long(b, hash_keyed(stanza_from_bare(iq->st)), FIND_MS);
    struct iq *held = iq_hold(iq);
    store_submit(b, worker_loop(held->worker), 0, search_found, held);
}

static const struct iq_rule rules[] = {
    { TYPE_GET, NS_SEARCH, "query", IQ_TO_HOST, fields_get },
    { TYPE_SET, NS_SEARCH, "query", IQ_TO_HOST, search_set },
    { 0 },
};
static const struct host hosts[] = {
    { .label = "search",
      .category = "directory",
      .type = "user",
      .name = "User Directory",
      .disco = (const char *const[]){ NS_SEARCH, NS_DATA, NULL },
      .enabled = &search_enabled,
      .iq = rules },
    { 0 },
};

const struct feature search_feature = {
    .name = "search",
    .hosts = hosts,
    .schema = &schema,
    .settings = (struct setting *const[]){ &search_enabled, &search_access, &search_rows_max,
                                           &search_length_min, NULL },
    .xeps =
        (const struct xep[]){
            { "0055", "1.2", "Jabber Search", "0.1.0", "services/test_search", NULL },
            { 0 },
        },
    .account.remove = search_removing,
    .one.profiles = &(const struct profile_index){ .profile = search_profile, .card = put_card },
};
