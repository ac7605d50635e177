/* hats: titles of users in a room (XEP-0317): a URI and a text, which administrators of the room
 * give and take with the commands of §3.5 and §3.6. They are sent in the user's presence. A hat
 * belongs to a bare JID, in the room or not, and is stored with a persistent room. Owners define
 * the hats to choose from (§3.2, §3.3), which are stored without an address. All who may enter can
 * list these. Colours (hats#hue) are not kept.
 *
 * Limits: ROOM_HATS_MAX in a room, HATS_WORN_MAX of one person, HATS_DEFINED_MAX to choose from,
 * HAT_TEXT_MAX bytes a URI or title. */
#include "base/arena.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "base/hash.h"
#include "base/mem.h"
#include "codec/xml_elem.h"
#include "codec/xml_write.h"
#include "core/feature.h"
#include "muc/muc.h"
#include "muc/parts.h"
#include "muc/people/affiliation.h"
#include "muc/people/find.h"
#include "muc/people/occupant.h"
#include "muc/people/portion.h"
#include "muc/people/show.h"
#include "muc/room/part.h"
#include "muc/room/room.h"
#include "muc/room/room_line.h"
#include "muc/room/rooms.h"
#include "muc/state/store.h"
#include "store/store.h"
#include "xmpp/disco_info.h"
#include "xmpp/form.h"
#include "xmpp/muc.h"
#include "xmpp/ns.h"
#include <inttypes.h>

#define FORM_HATS   "urn:xmpp:hats:commands"
#define FIELD_JID   "hats#jid"
#define FIELD_URI   "hats#uri"
#define FIELD_TITLE "hats#title"

enum {
    ROOM_HATS_MAX = 1000,
    HATS_WORN_MAX = 8,
    HATS_DEFINED_MAX = 64,
    HAT_TEXT_MAX = 255,
    LIST_BYTES_MAX = 1 << 20,
    ITEM_BYTES_MAX = 16 * 1024
};

struct room_hat {
    struct room_hat *next;
    slice jid, uri, title; /* in this block; jid empty: to choose from */
};

/* The commands, in the order in which they are listed. */
enum act {
    HAT_ASSIGN,
    HAT_UNASSIGN,
    HAT_CREATE,
    HAT_DESTROY,
    HAT_LIST,
    HAT_LIST_ASSIGNED,
    HAT_ACTS
};
static const struct {
    const char *node, *name, *title; /* of the command, of its form */
    enum affiliation least;
} commands[HAT_ACTS] = {
    { FORM_HATS ":assign", "Give somebody a hat", "Assigning a hat", AFF_ADMIN },
    { FORM_HATS ":unassign", "Take a hat from somebody", "Taking a hat", AFF_ADMIN },
    { FORM_HATS ":create", "Define a hat", "Defining a hat", AFF_OWNER },
    { FORM_HATS ":destroy", "Remove a hat, and take it from all", "Removing a hat", AFF_OWNER },
    { FORM_HATS ":list", "List the hats to choose from", "Hats", AFF_NONE },
    { FORM_HATS ":list-assigned", "List who wears which hat", "Hats and who wears them",
      AFF_ADMIN },
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
    .sql = "INSERT INTO room_hat(room, jid, uri, title) SELECT $1, $2, $3, $4" ROOM_EXISTS
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
static struct store_stmt delete_uri = {
    .name = "room.hat-destroy",
    .sql = "DELETE FROM room_hat WHERE room = $1 AND uri = $2",
    .params = "it",
    .cols = "",
};
static struct store_stmt retitle_all = {
    .name = "room.hat-retitle",
    .sql = "UPDATE room_hat SET title = $3 WHERE room = $1 AND uri = $2",
    .params = "itt",
    .cols = "",
};
static struct store_stmt delete_all = {
    .name = "room.hats-delete",
    .sql = "DELETE FROM room_hat WHERE room = $1",
    .params = "i",
    .cols = "",
};
static struct store_stmt hats_get = {
    .name = "room.hats",
    .sql = "SELECT h.jid, h.uri, h.title FROM room r JOIN room_hat h ON h.room = r.id WHERE "
           "r.jid = $1",
    .params = "t",
    .cols = "ttt",
};
static struct store_stmt forget_stmt = {
    .name = "room.forget-hats",
    .sql = "DELETE FROM room_hat WHERE jid = $1",
    .params = "t",
    .cols = "",
};
static const struct store_schema schema = {
    .feature = "room_hat",
    .migrations = migrations,
    .addresses =
        (const struct store_address[]){
            { "room_hat", "jid", .kind = STORE_JID, .beside = "room uri" }, { 0 } },
    .stmts = (struct store_stmt *const[]){ &put, &delete, &delete_uri, &retitle_all, &delete_all,
                                           &hats_get, &forget_stmt, NULL },
};

/* At the slot of the room. */
struct room_hats {
    struct room_hat *first; /* NULL: none; in the order of giving */
};
static unsigned hats_slot;

static const struct room_hat *hats_first(const struct room *r)
{
    const struct room_hats *hats = *room_slot(r, hats_slot);
    return hats == NULL ? NULL : hats->first;
}

static struct room_hat **hats_made(struct room *r)
{
    struct room_hats *hats = *room_slot(r, hats_slot);
    if (hats == NULL)
        hats = *room_slot(r, hats_slot) = mem_new(struct room_hats);
    return &hats->first;
}

static struct room_hat **hat_find(struct room *r, slice jid, slice uri)
{
    struct room_hat **at = hats_made(r);
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

static struct room_hat *hat_new(slice jid, slice uri, slice title)
{
    struct room_hat *h = mem_alloc(sizeof *h + jid.len + uri.len + title.len);
    char *text = (char *)(h + 1);
    *h = (struct room_hat){ NULL, slice_lay(&text, jid), slice_lay(&text, uri),
                            slice_lay(&text, title) };
    return h;
}

static void hat_put(struct room *r, slice jid, slice uri, slice title)
{
    hat_remove(r, jid, uri);
    struct room_hat **at = hats_made(r);
    while (*at != NULL)
        at = &(*at)->next;
    *at = hat_new(jid, uri, title);
}

static void hats_clear(struct room *r)
{
    struct room_hats *hats = *room_slot(r, hats_slot);
    while (hats != NULL && hats->first != NULL) {
        struct room_hat *h = hats->first;
        hats->first = h->next;
        mem_free(&h);
    }
    mem_free(room_slot(r, hats_slot));
}

static void hats_load(struct store_batch *b, slice room)
{
    STORE_ADD(b, &hats_get, STORE_ANY_ROWS, SV_T(room));
}

static void hats_loaded(struct room *r, const struct store_batch *b, unsigned at)
{
    hats_clear(r);
    for (uint32_t i = 0; i < store_row_count(b, at) && i < ROOM_HATS_MAX; i++)
        hat_put(r, store_text(b, at, i, 0), store_text(b, at, i, 1), store_text(b, at, i, 2));
}

static void hat_store(struct store_batch *b, int64_t room, slice jid, slice uri, slice title)
{
    STORE_ADD(b, &put, 1, SV_I(room), SV_T(jid), SV_T(uri), SV_T(title));
}

static void hats_store(struct store_batch *b, const struct room *r)
{
    for (const struct room_hat *h = hats_first(r); h != NULL; h = h->next)
        hat_store(b, r->id, h->jid, h->uri, h->title);
}

static void hats_remove(struct store_batch *b, const struct room *r)
{
    STORE_ADD(b, &delete_all, STORE_ANY_ROWS, SV_I(r->id));
}

static void hats_forget_rows(struct store_batch *b, slice bare)
{
    STORE_ADD(b, &forget_stmt, STORE_ANY_ROWS, SV_T(bare));
}

static void hats_forget(struct room *r, slice bare)
{
    if (hats_first(r) == NULL)
        return;
    for (struct room_hat **at = hats_made(r); *at != NULL;) {
        struct room_hat *h = *at;
        if (slice_eq(h->jid, bare)) {
            *at = h->next;
            mem_free(&h);
        } else {
            at = &h->next;
        }
    }
}

/* In files. */

static void hats_write_lines(const struct room *r, const struct store_batch *b, unsigned first,
                             room_line_fn *write, void *arg)
{
    (void)b, (void)first;
    for (const struct room_hat *h = hats_first(r); h != NULL; h = h->next)
        write(
            &(struct room_line){
                .type = LINE_HAT, .jid = h->jid, .uri = h->uri, .title = h->title },
            arg);
}

static bool hats_is_uri(slice s)
{
    const char *colon = s.len == 0 ? NULL : memchr(s.ptr, ':', s.len);
    return colon != NULL && colon != s.ptr && memchr(s.ptr, ' ', s.len) == NULL;
}

static bool hats_line_fits(const struct room_line *l, uint32_t count, struct arena *tmp,
                           struct why *why)
{
    (void)tmp;
    if (count < ROOM_HATS_MAX && hats_is_uri(l->uri) && l->uri.len <= HAT_TEXT_MAX &&
        l->title.len <= HAT_TEXT_MAX)
        return true;
    why_set(why, "allowed: at most %d hats, which are URIs with titles", ROOM_HATS_MAX);
    return false;
}

static void hats_line_store(struct store_batch *b, int64_t room, const struct room_line *l,
                            struct arena *tmp)
{
    (void)tmp;
    hat_store(b, room, l->jid, l->uri, l->title);
}

static const struct room_lines hats_lines = {
    .type = LINE_HAT,
    .write = hats_write_lines,
    .fits = hats_line_fits,
    .store = hats_line_store,
};

/* §3.1 */
static void hats_write(struct xml_write *x, const struct room *r, slice bare)
{
    bool any = false;
    for (const struct room_hat *h = hats_first(r); h != NULL; h = h->next) {
        if (!slice_eq(h->jid, bare))
            continue;
        if (!any)
            xml_open(x, "hats", NS_HATS);
        any = true;
        xml_open_with(x, "hat", NULL, "uri", h->uri);
        xml_attr(x, "title", h->title);
        xml_close(x);
    }
    if (any)
        xml_close(x);
}

/* A change, on its way to the database or there already. */
struct change {
    struct room *room; /* pinned */
    int64_t room_id;
    struct iq *iq; /* held */
    enum act act;
    slice node, session, jid, uri, title; /* in this block */
};

/* A form may follow inside, and the end. */
static void hats_open(struct xml_write *x, struct buf *out, const struct change *c, slice session,
                      const char *status)
{
    xml_begin(x, out, XML_STANZA_MAX);
    xml_open_with(x, "command", NS_COMMANDS, "node", c->node);
    xml_attr(x, "sessionid", session);
    xml_attr(x, "status", slice_of(status));
}

static void hats_answer(struct iq *iq, const struct change *c, const char *status)
{
    struct buf out;
    struct xml_write x;
    hats_open(&x, &out, c, c->session, status);
    iq_result_xml(iq, &x);
}

static void show_wearer(struct room *r, slice bare)
{
    for (struct occupant *o = room_occupant_of(r, bare); o != NULL; o = occupant_before(o)) {
        occupant_changed(o);
        room_show_in_turn(r, o, &(struct show){ 0 });
    }
}

static const struct room_hat *hat_of(const struct room *r, slice uri)
{
    const struct room_hat *h = hats_first(r);
    while (h != NULL && !slice_eq(h->uri, uri))
        h = h->next;
    return h;
}

static void hats_destroy(struct room *r, slice uri)
{
    const struct room_hat *h;
    room_pin(r);
    while ((h = hat_of(r, uri)) != NULL) {
        slice jid = slice_dup(room_scratch(r), h->jid);
        hat_remove(r, jid, uri);
        show_wearer(r, jid);
    }
    room_unpin(r);
}

/* §3.2: users with this hat get the new title. */
static void retitle(struct room *r, slice uri, slice title)
{
    room_pin(r);
    for (struct room_hat **at = hats_made(r); *at != NULL; at = &(*at)->next) {
        struct room_hat *h = *at;
        if (h->jid.len == 0 || !slice_eq(h->uri, uri) || slice_eq(h->title, title))
            continue;
        *at = hat_new(h->jid, uri, title);
        (*at)->next = h->next;
        mem_free(&h);
        show_wearer(r, (*at)->jid);
    }
    room_unpin(r);
}

static void hats_applied(struct change *c, enum store_result result)
{
    struct room *r = c->room;
    ensure(room_here(r) && room_is_pinned(r) && c->iq->held);
    if (result == STORE_OK && room_is(r, c->room_id)) {
        r->beside = true;
        if (c->act == HAT_DESTROY)
            hats_destroy(r, c->uri);
        else if (c->act == HAT_UNASSIGN)
            hat_remove(r, c->jid, c->uri);
        else
            hat_put(r, c->jid, c->uri, c->title);
        if (c->act == HAT_CREATE)
            retitle(r, c->uri, c->title);
        hats_answer(c->iq, c, "completed");
        if (c->act == HAT_CREATE || c->act == HAT_DESTROY) /* §3.2, §3.3: what to choose from */
            room_announce(r, &(unsigned){ 104 }, 1);
        else
            show_wearer(r, c->jid);
    } else {
        iq_error(c->iq, SE_RESOURCE_CONSTRAINT, SLICE("the hat could not be stored now"));
    }
    room_unpin(r);
    mem_free(&c);
}

static void hats_committed(void *arg, enum store_result result, const struct store_batch *b)
{
    (void)b;
    hats_applied(arg, result);
}

static void hats_commit(struct iq *iq, struct room *r, const struct change *what)
{
    struct change *c = mem_alloc(sizeof *c + what->node.len + what->session.len + what->jid.len +
                                 what->uri.len + what->title.len);
    char *at = (char *)(c + 1);
    ensure(what->act < HAT_LIST && what->jid.ptr != NULL);
    *c = (struct change){ .room = r, .room_id = r->id, .iq = iq_hold(iq), .act = what->act };
    c->node = slice_lay(&at, what->node);
    c->session = slice_lay(&at, what->session);
    c->jid = slice_lay(&at, what->jid);
    c->uri = slice_lay(&at, what->uri);
    c->title = slice_lay(&at, what->title);
    room_pin(r);
    if (!r->stored) {
        hats_applied(c, STORE_OK);
        return;
    }
    struct store_batch *b = store_write(room_store(r), (uint64_t)r->id);
    if (c->act == HAT_DESTROY)
        STORE_ADD(b, &delete_uri, STORE_ANY_ROWS, SV_I(r->id), SV_T(c->uri));
    else if (c->act == HAT_UNASSIGN)
        STORE_ADD(b, &delete, STORE_ANY_ROWS, SV_I(r->id), SV_T(c->jid), SV_T(c->uri));
    else
        STORE_ADD(b, &put, 1, SV_I(r->id), SV_T(c->jid), SV_T(c->uri), SV_T(c->title));
    if (c->act == HAT_CREATE)
        STORE_ADD(b, &retitle_all, STORE_ANY_ROWS, SV_I(r->id), SV_T(c->uri), SV_T(c->title));
    store_submit(b, room_loop(r), 0, hats_committed, c);
}

/* The title that the hat has here, else the end of its URI. */
static slice hats_title_of(const struct room *r, slice uri)
{
    const struct room_hat *h = hat_of(r, uri);
    if (h != NULL)
        return h->title;
    size_t at = uri.len;
    while (at > 0 && uri.ptr[at - 1] != '#' && uri.ptr[at - 1] != '/' && uri.ptr[at - 1] != ':')
        at--;
    return at < uri.len ? slice_from(uri, at) : uri;
}

static bool has_room_for(const struct room *r, slice jid)
{
    unsigned all = 0, worn = 0;
    for (const struct room_hat *h = hats_first(r); h != NULL; h = h->next) {
        all++;
        worn += slice_eq(h->jid, jid);
    }
    return all < ROOM_HATS_MAX && worn < (jid.len > 0 ? HATS_WORN_MAX : HATS_DEFINED_MAX);
}

static bool read_wearer(struct form *f, struct change *c)
{
    struct jid jid;
    if (!form_jid(f, FIELD_JID, &jid))
        return form_wrong(f, SE_BAD_REQUEST, "the field '" FIELD_JID "' is needed");
    if (jid.local.len == 0)
        return form_wrong(f, SE_NOT_ACCEPTABLE, "a hat is on somebody's head");
    c->jid = jid_bare(&jid);
    return true;
}

static bool hats_is_there(struct room *r, const struct change *c)
{
    return c->act == HAT_DESTROY ? hat_of(r, c->uri) != NULL : *hat_find(r, c->jid, c->uri) != NULL;
}

static bool read_change(struct form *f, struct room *r, struct change *c)
{
    bool takes = c->act == HAT_UNASSIGN || c->act == HAT_DESTROY;
    c->jid = (slice){ "", 0 };
    if (c->act <= HAT_UNASSIGN && !read_wearer(f, c))
        return false;
    if (!form_text(f, FIELD_URI, &c->uri))
        return form_wrong(f, SE_BAD_REQUEST, "the field '" FIELD_URI "' is needed");
    (void)form_text(f, FIELD_TITLE, &c->title);
    if (f->error != SE_NONE)
        return false;
    if (!hats_is_uri(c->uri) || c->uri.len > HAT_TEXT_MAX || c->title.len > HAT_TEXT_MAX)
        return form_wrong(f, SE_NOT_ACCEPTABLE,
                          "a hat is a URI of at most %d bytes, like its title", HAT_TEXT_MAX);
    if (takes && !hats_is_there(r, c))
        return form_wrong(f, SE_ITEM_NOT_FOUND, "there is no such hat, or not on this person");
    if (!takes && !hats_is_there(r, c) && !has_room_for(r, c->jid))
        return form_wrong(f, SE_RESOURCE_CONSTRAINT, "there are too many hats");
    c->title = c->title.len > 0 ? c->title : hats_title_of(r, c->uri);
    return true;
}

/* §3.5: one of those that are defined, if any is. */
static void ask_hat(struct xml_write *x, const struct room *r, const struct change *c,
                    struct arena *tmp)
{
    struct form_option *option = arena_new(tmp, struct form_option, HATS_DEFINED_MAX + 1);
    struct form_row row = { .var = FIELD_URI, .label = "The hat, a URI", .required = true };
    unsigned n = 0;
    for (const struct room_hat *h = hats_first(r); h != NULL && n < HATS_DEFINED_MAX; h = h->next)
        if (h->jid.len == 0)
            option[n++] = (struct form_option){ arena_printf(tmp, "%.*s", SLICE_ARG(h->uri)),
                                                arena_printf(tmp, "%.*s", SLICE_ARG(h->title)) };
    ensure(n <= HATS_DEFINED_MAX);
    option[n] = (struct form_option){ 0 };
    row.type = n > 0 && c->act != HAT_CREATE ? FORM_LIST_SINGLE : FORM_TEXT_SINGLE;
    row.options = row.type == FORM_LIST_SINGLE ? option : NULL;
    form_ask(x, &row);
}

static void hats_ask(struct iq *iq, const struct room *r, const struct change *c)
{
    static const struct form_row jid = {
        FIELD_JID, FORM_JID_SINGLE, "User address", NULL, NULL, NULL, true
    };
    static const struct form_row title = {
        FIELD_TITLE, FORM_TEXT_SINGLE, "Its title, as people read it", NULL, NULL, NULL, false
    };
    struct buf b;
    struct xml_write x;
    hats_open(&x, &b, c, SLICE("hats"), "executing");
    form_open_titled(&x, FORM_FORM, FORM_HATS, commands[c->act].title, NULL);
    if (c->act <= HAT_UNASSIGN)
        form_ask(&x, &jid);
    ask_hat(&x, r, c, iq->tmp);
    if (c->act == HAT_ASSIGN || c->act == HAT_CREATE)
        form_ask(&x, &title);
    form_close(&x);
    iq_result_xml(iq, &x);
}

/* §3.4 those to choose from, or §3.7 those that are worn. */
static void hats_list(struct iq *iq, const struct room *r, const struct change *c)
{
    static const struct form_row columns[] = {
        { FIELD_URI, FORM_TEXT_SINGLE, "The hat, a URI", NULL, NULL, NULL, false },
        { FIELD_TITLE, FORM_TEXT_SINGLE, "Title", NULL, NULL, NULL, false },
        { FIELD_JID, FORM_TEXT_SINGLE, "User who has the hat", NULL, NULL, NULL, false },
    };
    bool worn = c->act == HAT_LIST_ASSIGNED;
    struct buf b;
    struct xml_write x;
    hats_open(&x, &b, c, c->session, "completed");
    form_open_titled(&x, FORM_RESULT, FORM_HATS, commands[c->act].title, NULL);
    form_reported(&x, columns, worn ? 3 : 2);
    for (const struct room_hat *h = hats_first(r); h != NULL; h = h->next) {
        if (b.len + ITEM_BYTES_MAX > LIST_BYTES_MAX)
            break;
        if (worn != (h->jid.len > 0))
            continue;
        form_item_open(&x);
        form_put(&x, FIELD_URI, h->uri);
        form_put(&x, FIELD_TITLE, h->title);
        if (worn)
            form_put(&x, FIELD_JID, h->jid);
        form_item_close(&x);
    }
    form_close(&x);
    iq_result_xml(iq, &x);
}

/* §2: another one when the list is another; the order does not matter. */
static void hats_info(struct disco_info *d, const struct room *r, struct arena *tmp)
{
    static const struct hash_key key = { 0x68617473, 0 };
    uint64_t sum = 0;
    bool any = false;
    for (const struct room_hat *h = hats_first(r); h != NULL; h = h->next) {
        if (h->jid.len > 0)
            continue;
        any = true;
        sum ^= hash_with(
            &key, slice_of(arena_printf(tmp, "%.*s %.*s", SLICE_ARG(h->uri), SLICE_ARG(h->title))));
    }
    if (any)
        disco_add_value(disco_add_field(d, SLICE("hats#hash")),
                        slice_of(arena_printf(tmp, "%016" PRIx64, sum)));
}

static bool may(const struct room *r, const struct stanza *st, enum act act)
{
    ensure(act < HAT_ACTS);
    return room_affiliation(r, stanza_from_bare(st)) >= commands[act].least && room_admits(r, st);
}

static enum act act_of(slice node)
{
    unsigned i = 0;
    while (i < HAT_ACTS && !slice_is(node, commands[i].node))
        i++;
    return (enum act)i;
}

static void hats_command(struct iq *iq)
{
    struct room *r = room_of_iq(iq);
    struct change c = { .node = elem_attr(&iq->payload, "node", iq->tmp),
                        .session = elem_attr(&iq->payload, "sessionid", iq->tmp) };
    c.act = act_of(c.node);
    struct form f;
    if (c.act == HAT_ACTS)
        iq_error(iq, SE_ITEM_NOT_FOUND, (slice){ 0 });
    else if (!may(r, iq->st, c.act))
        iq_error(iq, SE_FORBIDDEN,
                 SLICE("owners define hats, administrators of the room give them"));
    else if (slice_is(elem_attr(&iq->payload, "action", iq->tmp), "cancel"))
        hats_answer(iq, &c, "canceled");
    else if (c.act >= HAT_LIST)
        hats_list(iq, r, &c);
    else if (!form_parse_child(&f, &iq->payload, iq->tmp) && f.error == SE_NONE)
        hats_ask(iq, r, &c);
    else if (f.error != SE_NONE || !form_expect(&f, FORM_HATS) || !read_change(&f, r, &c))
        iq_error(iq, f.error, f.text);
    else
        hats_commit(iq, r, &c);
}

static void hats_items(struct xml_write *x, const struct room *r, const struct stanza *st)
{
    for (unsigned i = 0; i < HAT_ACTS; i++) {
        if (!may(r, st, (enum act)i))
            continue;
        xml_open_with(x, "item", NULL, "jid", r->jid);
        xml_attr(x, "node", slice_of(commands[i].node));
        xml_attr(x, "name", slice_of(commands[i].name));
        xml_close(x);
    }
}

static const struct iq_rule rules[] = {
    { TYPE_SET, NS_COMMANDS, "command", IQ_TO_ROOM, hats_command },
    { 0 },
};

const struct feature muc_hats_feature = {
    .name = "muc_hats",
    .iq = rules,
    .xeps = (const struct xep[]){ { "0317", "0.3.0", "Hats", "0.1.0", "rooms/test_hats",
                                    "without colours (hats#hue)" },
                                  { 0 } },
    .schema = &schema,
};

const struct room_part hats_part = {
    .name = "hats",
    .slot = &hats_slot,
    .disco = (const char *const[]){ NS_HATS, NULL },
    .load = hats_load,
    .loaded = hats_loaded,
    .store = hats_store,
    .remove = hats_remove,
    .clear = hats_clear,
    .presence = hats_write,
    .forget_rows = hats_forget_rows,
    .forget = hats_forget,
    .info = hats_info,
    .items = hats_items,
    .lines = &hats_lines,
};
