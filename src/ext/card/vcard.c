/* vcard: vcard-temp (XEP-0054): one card an account, readable by everybody who knows the address.
 * It is kept as the text that its owner sent and lives in the database only. For a user
 * who has stored none, it is made of the profile of the account (account/account_life.h). */
#include "account/account.h"
#include "account/account_life.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/command.h"
#include "base/ensure.h"
#include "base/mem.h"
#include "base/setting.h"
#include "base/utf8.h"
#include "codec/xml_elem.h"
#include "codec/xml_write.h"
#include "core/feature.h"
#include "core/portable.h"
#include "ext/card/cards.h"
#include "ext/card/photos.h"
#include "ext/card/vcard_photo.h"
#include "ext/ext.h"
#include "home/here.h"
#include "ops/users.h"
#include "xmpp/form.h"
#include "xmpp/ns.h"
#include <stdio.h>
#include <string.h>

static struct store_stmt vcard_larger = {
    .name = "vcard.larger",
    .sql = "SELECT count(*) FROM vcard WHERE length(xml) > $1",
    .params = "i",
    .cols = "i",
};
static const struct setting_impact vcard_larger_impact = { .stmt = &vcard_larger,
                                                           .what = "users with a larger vCard" };
static struct setting vcard_bytes_max = {
    .name = "vcard.bytes-max",
    .impact = &vcard_larger_impact,
    .scope = SCOPE_CLUSTER,
    .type = PARAM_BYTES,
    .def = 64 << 10,
    .min = 1 << 10,
    .max = 1 << 20,
    .doc = "The largest vCard (XEP-0054) that an account may store, its picture included. Stanzas "
           "have a limit of their own: c2s.stanza-bytes.",
};

static const struct store_migration vcard_migrations[] = {
    { 1, "CREATE TABLE vcard(owner INTEGER PRIMARY KEY, xml TEXT NOT NULL)",
      "CREATE TABLE vcard(owner BIGINT PRIMARY KEY, xml TEXT NOT NULL)" },
    { 2, "ALTER TABLE vcard ADD COLUMN told INTEGER NOT NULL DEFAULT 0",
      "ALTER TABLE vcard ADD COLUMN told BIGINT NOT NULL DEFAULT 0" },
    { 3, "CREATE INDEX vcard_untold ON vcard(owner) WHERE told = 0",
      "CREATE INDEX vcard_untold ON vcard(owner) WHERE told = 0" },
    /* Features see each card when it is stored. */
    { 4, "DROP INDEX vcard_untold; ALTER TABLE vcard DROP COLUMN told",
      "DROP INDEX vcard_untold; ALTER TABLE vcard DROP COLUMN told" },
    { 0 },
};

static struct store_stmt vcard_put = {
    .name = "vcard.put",
    .sql = "INSERT INTO vcard(owner, xml) VALUES($1, $2) "
           "ON CONFLICT(owner) DO UPDATE SET xml = excluded.xml",
    .params = "it",
    .cols = "",
};
static struct store_stmt vcard_load = {
    .name = "vcard.get",
    .sql = "SELECT coalesce(v.xml, ''), a.jid, a.given_name, a.surname, a.email, a.department"
           " FROM account a LEFT JOIN vcard v ON v.owner = a.id WHERE a.id = $1",
    .params = "i",
    .cols = "tttttt",
};
static struct store_stmt vcard_by_jid = {
    .name = "vcard.by-jid",
    .sql = "SELECT coalesce(v.xml, ''), a.jid, a.given_name, a.surname, a.email, a.department"
           " FROM account a LEFT JOIN vcard v ON v.owner = a.id WHERE a.jid = $1",
    .params = "t",
    .cols = "tttttt",
};
struct store_stmt vcard_own_stmt = {
    .name = "vcard.own",
    .sql = "SELECT xml FROM vcard WHERE owner = $1",
    .params = "i",
    .cols = "t",
};
static struct store_stmt vcard_delete = {
    .name = "vcard.delete",
    .sql = "DELETE FROM vcard WHERE owner = $1",
    .params = "i",
    .cols = "",
};
static const struct store_schema vcard_schema = {
    .feature = "vcard",
    .migrations = vcard_migrations,
    .stmts = (struct store_stmt *const[]){ &vcard_larger, &vcard_put, &vcard_load, &vcard_by_jid,
                                           &vcard_own_stmt, &vcard_delete, NULL },
};

/* §3.1 for the owner; to others "no vCard" and "no such user" must look the same (§3.3). */
static void vcard_answer_none(struct iq *iq)
{
    if (iq->target == IQ_TO_SELF)
        iq_error(iq, SE_ITEM_NOT_FOUND, (slice){ 0 });
    else
        iq_error(iq, SE_SERVICE_UNAVAILABLE, (slice){ 0 });
}

static const char *vcard_end_of(slice s) { return s.ptr + s.len; }

/* The card with this in the place of its photo, or at its end if it has none; `photo` empty:
 * without one. */
static void write_with_photo(struct buf *out, const struct elem *card, slice photo)
{
    struct elem e;
    const char *from = card->whole.ptr;
    bool empty = vcard_end_of(card->whole) == vcard_end_of(card->start_tag); /* <vCard .../> */
    for (bool more = elem_first(card, &e); more; more = elem_next(&e, &e)) {
        if (!elem_is(&e, "PHOTO", NS_VCARD))
            continue;
        buf_append(out, from, (size_t)(e.whole.ptr - from));
        buf_add(out, photo);
        photo = (slice){ 0 };
        from = vcard_end_of(e.whole);
    }
    if (empty && photo.len > 0) {
        buf_append(out, from, (size_t)(vcard_end_of(card->start_tag) - from) - 2);
        buf_lit(out, ">");
        buf_add(out, photo);
        buf_lit(out, "</vCard>"); /* escaped */
        return;
    }
    const char *close = empty ? vcard_end_of(card->whole) : vcard_end_of(card->content);
    buf_append(out, from, (size_t)(close - from));
    buf_add(out, photo);
    buf_append(out, close, (size_t)(vcard_end_of(card->whole) - close));
}

/* A photo that was published leaves an empty element behind, which keeps its place. */
#define PHOTO_PLACE "<PHOTO/>"

static bool is_place(const struct elem *card)
{
    struct elem photo, child;
    return elem_child(card, "PHOTO", NS_VCARD, &photo) && !elem_first(&photo, &child);
}

/* The photo of a card, if it is an image: not a link, and not an empty one, by which clients say
 * that there is none (XEP-0153 §4.3). */
static bool has_image(const struct elem *card, struct elem *photo, struct arena *tmp)
{
    struct elem binval;
    if (!elem_child(card, "PHOTO", NS_VCARD, photo) ||
        !elem_child(photo, "BINVAL", NS_VCARD, &binval))
        return false;
    slice text = elem_text(&binval, tmp);
    for (size_t i = 0; i < text.len; i++)
        if ((unsigned char)text.ptr[i] > ' ')
            return true;
    return false;
}

/* A read under way: the card comes first, then its photo. */
struct reading {
    struct iq *iq;
    slice card; /* in the arena of the request; empty: none */
};

static void photo_found(void *arg, enum stanza_error e, slice photo)
{
    struct reading *r = arg;
    struct iq *iq = r->iq;
    struct elem card;
    struct buf out;
    slice text = r->card.len > 0 ? r->card : SLICE("<vCard xmlns='" NS_VCARD "'/>");
    ensure(iq->held);
    if (e != SE_NONE) {
        iq_error(iq, e, (slice){ 0 });
        return;
    }
    if (!elem_parse(&card, text, SLICE(NS_CLIENT)) || (photo.len == 0 && !is_place(&card))) {
        if (r->card.len == 0)
            vcard_answer_none(iq);
        else
            iq_result(iq, r->card);
        return;
    }
    buf_init(&out, XML_STANZA_MAX);
    write_with_photo(&out, &card, photo);
    iq_result_buf(iq, &out);
}

/* The vCard of a user who has stored none: what the account says. */

static void add_part(struct xml_write *x, const char *name, slice text)
{
    if (text.len == 0)
        return;
    xml_open(x, name, NULL);
    xml_text_clean(x, text);
    xml_close(x);
}

/* FN is required (RFC 2426 §3.1.1): the name, else what is left of the mail address, by which
 * other servers may know the account, or of its own. */
static void write_profile(struct xml_write *x, slice jid, const struct user_profile *p)
{
    xml_open(x, "vCard", NS_VCARD);
    xml_open(x, "FN", NULL);
    xml_text_clean(x, p->given_name);
    xml_text(x, p->given_name.len > 0 && p->surname.len > 0 ? SLICE(" ") : SLICE(""));
    xml_text_clean(x, p->surname);
    if (p->given_name.len == 0 && p->surname.len == 0)
        xml_text_clean(x, jid_split(p->email.len > 0 ? p->email : jid).local);
    xml_close(x);
    if (p->given_name.len > 0 || p->surname.len > 0) {
        xml_open(x, "N", NULL);
        add_part(x, "FAMILY", p->surname);
        add_part(x, "GIVEN", p->given_name);
        xml_close(x);
    }
    if (p->email.len > 0) {
        xml_open(x, "EMAIL", NULL);
        xml_empty(x, "INTERNET", NULL);
        add_part(x, "USERID", p->email);
        xml_close(x);
    }
    if (p->department.len > 0) {
        xml_open(x, "ORG", NULL);
        add_part(x, "ORGUNIT", p->department);
        xml_close(x);
    }
    xml_close(x);
}

/* In the arena; empty: nothing is known. */
static slice vcard_of_profile(const struct store_batch *b, struct arena *tmp)
{
    struct buf card;
    struct xml_write x;
    const struct user_profile p = { .given_name = store_text(b, 0, 0, 2),
                                    .surname = store_text(b, 0, 0, 3),
                                    .email = store_text(b, 0, 0, 4),
                                    .department = store_text(b, 0, 0, 5) };
    if (p.given_name.len + p.surname.len + p.email.len + p.department.len == 0)
        return (slice){ 0 };
    xml_begin(&x, &card, XML_STORED_MAX);
    write_profile(&x, store_text(b, 0, 0, 1), &p);
    slice text = slice_dup(tmp, buf_fit(&card));
    buf_fini(&card);
    return text;
}

static void vcard_found(void *arg, enum store_result result, const struct store_batch *b)
{
    struct iq *iq = arg;
    ensure(iq->held && iq->account != NULL);
    if (result != STORE_OK) {
        iq_error(iq, stanza_error_of(err_of_store(result)), (slice){ 0 });
        return;
    }
    struct reading *r = arena_new(iq->tmp, struct reading, 1);
    *r = (struct reading){ iq, { 0 } };
    if (store_row_count(b, 0) > 0)
        r->card = store_text(b, 0, 0, 0).len > 0 ? slice_dup(iq->tmp, store_text(b, 0, 0, 0))
                                                 : vcard_of_profile(b, iq->tmp);
    if (vcard_photos() != NULL)
        vcard_photos()->get(iq->account, photo_found, r);
    else
        photo_found(r, SE_NONE, (slice){ 0 });
}

static void vcard_get(struct iq *iq)
{
    if (iq->account == NULL) {
        vcard_answer_none(iq);
        return;
    }
    struct store_batch *b = store_read(worker_store(iq->worker), account_lane(iq->account));
    STORE_ADD(b, &vcard_load, STORE_ANY_ROWS, SV_I(iq->account->id));
    struct iq *held = iq_hold(iq);
    store_submit(b, worker_loop(held->worker), 0, vcard_found, held);
}

static void vcard_stored(void *arg, enum store_result result, const struct store_batch *b)
{
    struct iq *iq = arg;
    (void)b;
    ensure(iq->held);
    if (result == STORE_OK)
        iq_result(iq, (slice){ 0 });
    else
        iq_error(iq, stanza_error_of(err_of_store(result)), (slice){ 0 });
}

static void store_card(struct iq *iq, slice card)
{
    ensure(iq->held && iq->account != NULL);
    if (!account_stays(iq->account)) { /* since the photo was published */
        iq_error(iq, SE_SERVICE_UNAVAILABLE, ACCOUNT_LEAVES);
        return;
    }
    struct store_batch *b = store_write(worker_store(iq->worker), account_lane(iq->account));
    STORE_ADD(b, &vcard_put, 1, SV_I(iq->account->id), SV_T(card));
    EMIT_ONE(profiles, card, iq->account->id, &iq->payload, b);
    store_submit(b, worker_loop(iq->worker), 0, vcard_stored, iq);
}

/* The photo has its own place now. */
static void vcard_photo_set(void *arg, enum stanza_error e)
{
    struct iq *iq = arg;
    struct buf card, bare;
    struct elem root, photo;
    ensure(iq->held);
    if (e != SE_NONE) {
        iq_error(iq, e, SLICE("the photo could not be published"));
        return;
    }
    buf_init(&card, XML_STORED_MAX);
    buf_init(&bare, XML_STORED_MAX);
    elem_extract(&iq->payload, &card);
    bool parsed = elem_parse(&root, buf_slice(&card), SLICE(NS_CLIENT));
    if (parsed && has_image(&root, &photo, iq->tmp))
        write_with_photo(&bare, &root, SLICE(PHOTO_PLACE));
    else
        buf_add(&bare, buf_slice(&card));
    if (card.overflow || bare.overflow)
        iq_error(iq, SE_POLICY_VIOLATION, SLICE("the vCard is too long"));
    else
        store_card(iq, buf_slice(&bare));
    buf_fini(&card);
    buf_fini(&bare);
}

static void vcard_set(struct iq *iq)
{
    if (iq->target != IQ_TO_SELF) {
        iq_error(iq, SE_FORBIDDEN, SLICE("a vCard is changed by its owner only")); /* §3.2 */
        return;
    }
    struct buf card;
    struct elem photo;
    buf_init(&card, (size_t)setting_int(&vcard_bytes_max));
    elem_extract(&iq->payload, &card);
    if (card.overflow) {
        iq_error(iq, SE_POLICY_VIOLATION,
                 slice_of(arena_printf(iq->tmp, "a vCard may have at most %zu bytes", card.max)));
    } else if (vcard_photos() != NULL) {
        struct iq *held = iq_hold(iq);
        bool some = has_image(&held->payload, &photo, held->tmp);
        vcard_photos()->set(held->account, some ? &photo : NULL, vcard_photo_set, held);
    } else {
        store_card(iq_hold(iq), buf_slice(&card));
    }
    buf_fini(&card);
}

static void vcard_remove(struct account *a, struct store_batch *b)
{
    STORE_ADD(b, &vcard_delete, STORE_ANY_ROWS, SV_I(a->id));
}

/* Accounts that come and go (core/portable.h). The photo of a card that comes stays in it until its
 * owner sets another one. Without a card it is made of the one of vCard4. */

static void vcard_port_card(struct portable *p, const struct elem *card)
{
    struct buf xml;
    ensure(card->whole.len > 0);
    buf_init(&xml, (size_t)setting_int(&vcard_bytes_max));
    elem_extract(card, &xml);
    if (xml.overflow) {
        p->lost(p, "a vCard longer than vcard.bytes-max", (slice){ 0 });
    } else if (p->batch != NULL) {
        STORE_ADD(p->batch, &vcard_put, 1, SV_I(p->id), SV_T(buf_slice(&xml)));
        EMIT_ONE(profiles, card, p->id, card, p->batch);
    }
    buf_fini(&xml);
}

/* out: the child of a <pubsub/> of this namespace that is about the node of vCard4; it refers to
 * that <pubsub/>, which is given back, too. */
static bool vcard_port_of_node(const struct portable *p, const char *name, const char *ns,
                               struct elem *pubsub, struct elem *out)
{
    for (bool more = elem_first(p->user, pubsub); more; more = elem_next(pubsub, pubsub))
        for (bool has = elem_is(pubsub, "pubsub", ns) && elem_first(pubsub, out); has;
             has = elem_next(out, out))
            if (elem_is(out, name, ns) && slice_is(elem_attr(out, "node", p->tmp), VCARD_NODE))
                return true;
    return false;
}

/* Everybody may read a vCard: only a node that is open to all becomes one. */
static bool vcard_port_is_open(const struct portable *p)
{
    struct elem pubsub, configure;
    struct form f;
    slice access;
    return vcard_port_of_node(p, "configure", NS_PUBSUB_OWNER, &pubsub, &configure) &&
           form_parse_child(&f, &configure, p->tmp) &&
           form_text(&f, "pubsub#access_model", &access) && slice_is(access, "open");
}

/* Of servers that keep vCard4 alone, as Prosody does. */
static void vcard_port_vcard4(struct portable *p)
{
    struct elem pubsub, items, item, child, card;
    slice text = { 0 };
    if (!vcard_port_of_node(p, "items", NS_PUBSUB, &pubsub, &items))
        return;
    for (bool more = elem_first(&items, &item); more; more = elem_next(&item, &item))
        if (elem_child(&item, "vcard", NS_VCARD4, &child))
            text = card_of_vcard4(&child, p->tmp);
    if (!elem_parse(&card, text, SLICE(NS_CLIENT)))
        return;
    if (vcard_port_is_open(p))
        vcard_port_card(p, &card);
    else
        p->lost(p, "a vCard for clients that know no vCard4: not everybody may read that",
                (slice){ 0 });
}

static void vcard_port_take(struct portable *p)
{
    struct elem card;
    if (elem_child(p->user, "vCard", NS_VCARD, &card))
        vcard_port_card(p, &card);
    else
        vcard_port_vcard4(p);
}

static void vcard_port_read(const struct portable_out *o, struct store_batch *b)
{
    STORE_ADD(b, &vcard_own_stmt, STORE_ANY_ROWS, SV_I(o->id));
}

static bool vcard_port_give(struct portable_out *o, const struct store_batch *b, unsigned first)
{
    if (store_row_count(b, first) > 0)
        xml_raw(o->x, store_text(b, first, 0, 0));
    return false;
}

static const struct portable_part vcard_portable = {
    .takes = (const struct portable_name[]){ { "vCard", NS_VCARD }, { 0 } },
    .take = vcard_port_take,
    .read = vcard_port_read,
    .give = vcard_port_give,
};

/* `user vcard` */

enum { SHOWN_DEPTH_MAX = 8, SHOWN_BYTES_MAX = 1000, SHOWN_ROWS_MAX = 500, SHOWN_PATH_MAX = 256 };

struct vcard_shown {
    struct command_call *call;
    unsigned rows;
    char path[SHOWN_PATH_MAX]; /* of the element: ADR/LOCALITY; a longer one is cut */
};

/* White space stands between elements. */
static bool vcard_has_text(slice text)
{
    for (size_t i = 0; i < text.len; i++)
        if (strchr(" \t\r\n", text.ptr[i]) == NULL)
            return true;
    return false;
}

/* Of a long text, such as a picture, only its size. */
static void vcard_show_text(struct vcard_shown *s, slice text)
{
    struct arena *arena = s->call->arena;
    slice path = { s->path, strlen(s->path) };
    path.len = utf8_valid_len(path);
    s->rows++;
    command_row(s->call);
    command_text(s->call, "name", slice_dup(arena, path));
    command_text(s->call, "value",
                 text.len <= SHOWN_BYTES_MAX
                     ? text
                     : slice_of(arena_printf(arena, "(%zu bytes)", text.len)));
}

/* Elements with a text, one more than is shown: then it is told that there are more. */
static void vcard_show_parts(struct vcard_shown *s, const struct elem *of, unsigned depth)
{
    struct elem child;
    size_t len = strlen(s->path);
    for (bool any = elem_first(of, &child); any && s->rows <= SHOWN_ROWS_MAX;
         any = elem_next(&child, &child)) {
        snprintf(s->path + len, sizeof s->path - len, "%s%.*s", len == 0 ? "" : "/",
                 SLICE_ARG(child.name));
        if (depth < SHOWN_DEPTH_MAX)
            vcard_show_parts(s, &child, depth + 1);
        slice text = elem_text(&child, s->call->arena);
        if (vcard_has_text(text))
            vcard_show_text(s, text);
        s->path[len] = '\0';
    }
}

static void vcard_shown(void *arg, enum store_result result, const struct store_batch *b)
{
    struct command_call *call = arg;
    struct elem card;
    if (result != STORE_OK) {
        command_fail_cause(call, err_of_store(result), "the vCard could not be read");
        return;
    }
    if (store_row_count(b, 0) == 0) {
        users_fail_missing(call, command_arg(call, "jid"));
        return;
    }
    slice text = store_text(b, 0, 0, 0);
    bool own = text.len > 0;
    text = own ? slice_dup(call->arena, text) : vcard_of_profile(b, call->arena);
    if (text.len > 0 && elem_parse(&card, text, SLICE(NS_CLIENT)))
        vcard_show_parts(&(struct vcard_shown){ .call = call }, &card, 0);
    command_limit_rows(call, SHOWN_ROWS_MAX);
    command_done(call, "%s",
                 own            ? ""
                 : text.len > 0 ? "the user has stored none; this one is made of the profile"
                                : "the user has stored none");
}

static void run_user_vcard(struct command_call *call)
{
    ensure(worker_is_here(call->worker));
    struct store_batch *b = store_read(worker_store(call->worker), 0);
    STORE_ADD(b, &vcard_by_jid, STORE_ANY_ROWS, SV_T(command_arg(call, "jid")));
    store_submit(b, worker_loop(call->worker), 0, vcard_shown, call);
}

static struct command user_vcard = {
    .name = "user vcard",
    .rest = "GET /users/{jid}/vcard",
    .effect = COMMAND_READS,
    .area = "users",
    .args = (const struct command_arg[]){ COMMAND_USER_ARG, { 0 } },
    .run = run_user_vcard,
    .doc = "Shows the vCard of a user: as others get it, without a photo that is an avatar.",
    .columns =
        (const struct command_column[]){
            { .name = "name", .doc = "the element, such as ADR/LOCALITY" },
            { .name = "value", .doc = "its text; of a long one its size" },
            { 0 } },
};

static const struct iq_rule vcard_rules[] = {
    { TYPE_GET, NS_VCARD, "vCard", IQ_TO_SELF | IQ_TO_ACCOUNT, vcard_get },
    { TYPE_SET, NS_VCARD, "vCard", IQ_TO_SELF | IQ_TO_ACCOUNT | IQ_TO_SERVER, vcard_set },
    { 0 },
};

static const char *const vcard_disco[] = { NS_VCARD, NULL };
static struct setting *const vcard_settings[] = { &vcard_bytes_max, NULL };

const struct feature vcard_feature = {
    .name = "vcard",
    .xeps =
        (const struct xep[]){
            { "0054", "1.3.0", "vcard-temp", "0.1.0", "services/test_services", NULL },
            { 0 },
        },
    .disco = vcard_disco,
    .disco_account = vcard_disco,
    .iq = vcard_rules,
    .schema = &vcard_schema,
    .settings = vcard_settings,
    .commands = (struct command *const[]){ &user_vcard, &vcard_photo_command, NULL },
    .portable = &vcard_portable,
    .account.remove = vcard_remove,
};
