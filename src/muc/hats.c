/* hats: what somebody is in a room beside role and affiliation (XEP-0317): a URI and a title, given
 * and taken by administrators of the room with the commands of §3.2 and §3.3, and told in the
 * presence of who wears it. They are of the person, by bare JID, in the room or not; those of a
 * stored room are stored with it.
 *
 * Limits: ROOM_HATS_MAX in a room, HATS_WORN_MAX of one person, HAT_TEXT_MAX bytes a URI or title.
 */
#include "base/arena.h"
#include "base/buf.h"
#include "base/mem.h"
#include "im/feature.h"
#include "im/worker.h"
#include "muc/muc.h"
#include "muc/private.h"
#include "xmpp/form.h"
#include "xmpp/ns.h"

#define NODE_DON  "urn:xmpp:hats:commands:don"
#define NODE_DOFF "urn:xmpp:hats:commands:doff"
#define FORM_HATS "urn:xmpp:hats:commands"

enum { HATS_WORN_MAX = 8, HAT_TEXT_MAX = 255, ANSWER_BYTES_MAX = 64 * 1024 };

struct room_hat {
    struct room_hat *next;
    slice jid, uri, title; /* in this block */
};

static const struct store_migration migrations[] = {
    { 1,
      "CREATE TABLE room_hat(room INTEGER NOT NULL, jid TEXT NOT NULL, uri TEXT NOT NULL, title"
      " TEXT NOT NULL, PRIMARY KEY(room, jid, uri)) WITHOUT ROWID",
      "CREATE TABLE room_hat(room BIGINT NOT NULL, jid TEXT NOT NULL, uri TEXT NOT NULL, title"
      " TEXT NOT NULL, PRIMARY KEY(room, jid, uri))" },
    { 0 }
};
static struct store_stmt put = {
    .name = "room.hat",
    .sql = "INSERT INTO room_hat(room, jid, uri, title) VALUES($1, $2, $3, $4)"
           " ON CONFLICT(room, jid, uri) DO UPDATE SET title = excluded.title",
    .params = "ittt",
    .cols = "",
};
static struct store_stmt delete = {
    .name = "room.hat-delete",
    .sql = "DELETE FROM room_hat WHERE room = $1 AND jid = $2 AND uri = $3",
    .params = "itt",
    .cols = "",
};
static struct store_stmt delete_all = {
    .name = "room.hats-delete",
    .sql = "DELETE FROM room_hat WHERE room = $1",
    .params = "i",
    .cols = "",
};
struct store_stmt room_hats_get = {
    .name = "room.hats",
    .sql = "SELECT h.jid, h.uri, h.title FROM room r JOIN room_hat h ON h.room = r.id WHERE "
           "r.jid = $1",
    .params = "t",
    .cols = "ttt",
};
static const struct store_schema schema = {
    .feature = "room_hat",
    .migrations = migrations,
    .stmts = (struct store_stmt *const[]){ &put, &delete, &delete_all, &room_hats_get, NULL },
};

static slice lay(char **at, slice s)
{
    slice out = { *at, s.len };
    if (s.len > 0)
        memcpy(*at, s.ptr, s.len);
    *at += s.len;
    return out;
}

static struct room_hat **hat_find(struct room *r, slice jid, slice uri)
{
    struct room_hat **at = &r->hats;
    while (*at != NULL && !(slice_eq((*at)->jid, jid) && slice_eq((*at)->uri, uri)))
        at = &(*at)->next;
    return at;
}

static void hat_remove(struct room *r, slice jid, slice uri)
{
    struct room_hat **at = hat_find(r, jid, uri), *h = *at;
    if (h == NULL)
        return;
    *at = h->next;
    mem_free(&h);
}

static void hat_put(struct room *r, slice jid, slice uri, slice title)
{
    hat_remove(r, jid, uri);
    struct room_hat *h = mem_alloc(sizeof *h + jid.len + uri.len + title.len), **at = &r->hats;
    char *text = (char *)(h + 1);
    while (*at != NULL)
        at = &(*at)->next;
    *h = (struct room_hat){ NULL, lay(&text, jid), lay(&text, uri), lay(&text, title) };
    *at = h;
}

void room_hats_free(struct room *r)
{
    while (r->hats != NULL) {
        struct room_hat *h = r->hats;
        r->hats = h->next;
        mem_free(&h);
    }
}

void room_hats_loaded(struct room *r, const struct store_batch *b, unsigned at)
{
    room_hats_free(r);
    for (uint32_t i = 0; i < store_row_count(b, at) && i < ROOM_HATS_MAX; i++)
        hat_put(r, store_text(b, at, i, 0), store_text(b, at, i, 1), store_text(b, at, i, 2));
}

void room_hats_store(struct store_batch *b, const struct room *r)
{
    for (const struct room_hat *h = r->hats; h != NULL; h = h->next)
        room_hat_store(b, r->id, h->jid, h->uri, h->title);
}

void room_hats_remove(struct store_batch *b, const struct room *r)
{
    STORE_ADD(b, &delete_all, STORE_ANY_ROWS, SV_I(r->id));
}

void room_hats_forget(struct room *r, slice bare)
{
    for (struct room_hat **at = &r->hats; *at != NULL;) {
        struct room_hat *h = *at;
        if (slice_eq(h->jid, bare)) {
            *at = h->next;
            mem_free(&h);
        } else {
            at = &h->next;
        }
    }
}

void room_hats_each(const struct room *r, room_hat_fn *fn, void *arg)
{
    for (const struct room_hat *h = r->hats; h != NULL; h = h->next)
        fn(h->jid, h->uri, h->title, arg);
}

void room_hat_store(struct store_batch *b, int64_t room, slice jid, slice uri, slice title)
{
    STORE_ADD(b, &put, 1, SV_I(room), SV_T(jid), SV_T(uri), SV_T(title));
}

/* §3.1 */
void room_hats_write(struct buf *out, const struct room *r, slice bare)
{
    bool any = false;
    for (const struct room_hat *h = r->hats; h != NULL; h = h->next) {
        if (!slice_eq(h->jid, bare))
            continue;
        if (!any)
            buf_lit(out, "<hats xmlns='" NS_HATS "'>");
        any = true;
        buf_lit(out, "<hat uri='");
        xml_escape(out, h->uri);
        buf_lit(out, "' title='");
        xml_escape(out, h->title);
        buf_lit(out, "'/>");
    }
    if (any)
        buf_lit(out, "</hats>");
}

/* A change, on its way to the database or there already. */
struct change {
    struct room *room; /* pinned */
    struct iq *iq;     /* held */
    bool on;
    slice node, session, jid, uri, title; /* in this block */
};

static void answer(struct iq *iq, slice node, slice session, const char *status, slice inner)
{
    struct buf out;
    buf_init(&out, ANSWER_BYTES_MAX);
    buf_lit(&out, "<command xmlns='" NS_COMMANDS "' node='");
    xml_escape(&out, node);
    buf_lit(&out, "' sessionid='");
    xml_escape(&out, session);
    buf_printf(&out, "' status='%s'>", status);
    buf_add(&out, inner);
    buf_lit(&out, "</command>");
    iq_result(iq, buf_slice(&out));
    buf_fini(&out);
}

static void show_wearer(struct room *r, slice bare)
{
    room_pin(r);
    LIST_EACH (it, &r->occupants) {
        struct occupant *o = CONTAINER_OF(it, struct occupant, node);
        if (!slice_eq(seat_bare(occupant_seat(o)), bare))
            continue;
        occupant_changed(r, o);
        room_show(r, o, &(struct show){ 0 });
    }
    room_unpin(r);
}

static void applied(struct change *c, enum store_result result)
{
    struct room *r = c->room;
    if (result == STORE_OK && r->state == ROOM_READY) {
        if (c->on)
            hat_put(r, c->jid, c->uri, c->title);
        else
            hat_remove(r, c->jid, c->uri);
        answer(c->iq, c->node, c->session, "completed", (slice){ 0 });
        show_wearer(r, c->jid);
    } else {
        iq_error(c->iq, SE_RESOURCE_CONSTRAINT, SLICE("the hat could not be stored now"));
    }
    room_unpin(r);
    mem_free(&c);
}

static void committed(void *arg, enum store_result result, const struct store_batch *b)
{
    (void)b;
    applied(arg, result);
}

static void commit(struct iq *iq, struct room *r, const struct change *what)
{
    struct change *c = mem_alloc(sizeof *c + what->node.len + what->session.len + what->jid.len +
                                 what->uri.len + what->title.len);
    char *at = (char *)(c + 1);
    *c = (struct change){ .room = r, .iq = iq_hold(iq), .on = what->on };
    c->node = lay(&at, what->node);
    c->session = lay(&at, what->session);
    c->jid = lay(&at, what->jid);
    c->uri = lay(&at, what->uri);
    c->title = lay(&at, what->title);
    room_pin(r);
    if (!r->stored) {
        applied(c, STORE_OK);
        return;
    }
    struct store_batch *b = store_write(r->worker->store, (uint64_t)r->id);
    if (c->on)
        STORE_ADD(b, &put, 1, SV_I(r->id), SV_T(c->jid), SV_T(c->uri), SV_T(c->title));
    else
        STORE_ADD(b, &delete, STORE_ANY_ROWS, SV_I(r->id), SV_T(c->jid), SV_T(c->uri));
    store_submit(b, r->worker->loop, 0, committed, c);
}

static bool is_uri(slice s)
{
    const char *colon = s.len == 0 ? NULL : memchr(s.ptr, ':', s.len);
    return colon != NULL && colon != s.ptr && memchr(s.ptr, ' ', s.len) == NULL;
}

bool room_hat_is_right(slice uri, slice title)
{
    return is_uri(uri) && uri.len <= HAT_TEXT_MAX && title.len <= HAT_TEXT_MAX;
}

/* The title that the hat has on others here, else the end of its URI. */
static slice title_of(const struct room *r, slice uri)
{
    for (const struct room_hat *h = r->hats; h != NULL; h = h->next)
        if (slice_eq(h->uri, uri))
            return h->title;
    size_t at = uri.len;
    while (at > 0 && uri.ptr[at - 1] != '#' && uri.ptr[at - 1] != '/' && uri.ptr[at - 1] != ':')
        at--;
    return at < uri.len ? slice_from(uri, at) : uri;
}

static bool has_room_for(const struct room *r, slice jid)
{
    unsigned all = 0, worn = 0;
    for (const struct room_hat *h = r->hats; h != NULL; h = h->next) {
        all++;
        worn += slice_eq(h->jid, jid);
    }
    return all < ROOM_HATS_MAX && worn < HATS_WORN_MAX;
}

static bool read_change(struct form *f, struct room *r, struct change *c)
{
    struct jid jid;
    if (!form_jid(f, "accountjid", &jid) || !form_text(f, "hat", &c->uri))
        return form_wrong(f, SE_BAD_REQUEST, "the fields 'accountjid' and 'hat' are needed");
    c->jid = jid_bare(&jid);
    (void)form_text(f, "title", &c->title);
    if (f->error != SE_NONE)
        return false;
    if (jid.local.len == 0 || !room_hat_is_right(c->uri, c->title))
        return form_wrong(f, SE_NOT_ACCEPTABLE,
                          "a hat is a URI of at most %d bytes, on somebody's head", HAT_TEXT_MAX);
    bool worn = *hat_find(r, c->jid, c->uri) != NULL;
    if (!c->on && !worn)
        return form_wrong(f, SE_ITEM_NOT_FOUND, "this person does not wear this hat");
    if (c->on && !worn && !has_room_for(r, c->jid))
        return form_wrong(f, SE_RESOURCE_CONSTRAINT, "there are too many hats");
    c->title = c->title.len > 0 ? c->title : title_of(r, c->uri);
    return true;
}

static void ask(struct iq *iq, const struct change *c)
{
    static const struct form_row jid = {
        "accountjid", FORM_JID_SINGLE, "User address", NULL, NULL, NULL, true
    };
    static const struct form_row hat = {
        "hat", FORM_TEXT_SINGLE, "The hat, a URI", NULL, NULL, NULL, true
    };
    static const struct form_row title = {
        "title", FORM_TEXT_SINGLE, "Its title, as people read it", NULL, NULL, NULL, false
    };
    struct buf b;
    buf_init(&b, ANSWER_BYTES_MAX);
    form_open(&b, FORM_FORM, FORM_HATS);
    form_title(&b, c->on ? "Assigning a hat" : "Taking a hat");
    form_ask(&b, &jid);
    form_ask(&b, &hat);
    if (c->on)
        form_ask(&b, &title);
    form_close(&b);
    answer(iq, c->node, SLICE("hats"), "executing", buf_slice(&b));
    buf_fini(&b);
}

static void command(struct iq *iq)
{
    struct room *r = room_find(iq->worker, stanza_to(iq->st));
    struct change c = { .node = elem_attr(&iq->payload, "node", iq->tmp),
                        .session = elem_attr(&iq->payload, "sessionid", iq->tmp) };
    struct form f;

    c.on = slice_is(c.node, NODE_DON);
    if (r == NULL || (!c.on && !slice_is(c.node, NODE_DOFF)))
        iq_error(iq, SE_ITEM_NOT_FOUND, (slice){ 0 });
    else if (room_affiliation(r, stanza_from_bare(iq->st)) < AFF_ADMIN)
        iq_error(iq, SE_FORBIDDEN, SLICE("only administrators of the room give hats"));
    else if (slice_is(elem_attr(&iq->payload, "action", iq->tmp), "cancel"))
        answer(iq, c.node, c.session, "canceled", (slice){ 0 });
    else if (!form_parse_child(&f, &iq->payload, iq->tmp) && f.error == SE_NONE)
        ask(iq, &c);
    else if (f.error != SE_NONE || !form_expect(&f, FORM_HATS) || !read_change(&f, r, &c))
        iq_error(iq, f.error, f.text);
    else
        commit(iq, r, &c);
}

void room_hats_items(struct buf *out, const struct room *r, slice bare)
{
    if (room_affiliation(r, bare) < AFF_ADMIN)
        return;
    buf_lit(out, "<item jid='");
    xml_escape(out, r->jid);
    buf_lit(out, "' node='" NODE_DON "' name='Give somebody a hat'/><item jid='");
    xml_escape(out, r->jid);
    buf_lit(out, "' node='" NODE_DOFF "' name='Take a hat from somebody'/>");
}

static const struct iq_rule rules[] = {
    { TYPE_SET, NS_COMMANDS, "command", IQ_TO_ROOM, command },
    { 0 },
};

const struct feature muc_hats_feature = {
    .name = "muc_hats",
    .iq = rules,
    .xeps =
        (const struct xep[]){ { "0317", "0.2", "Hats", "0.1.0", "test_muc_hats", NULL }, { 0 } },
    .schema = &schema,
};
