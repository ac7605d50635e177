#include "ext/mam/mam_retract.h"
#include "archive/archive.h"
#include "archive/event.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/ensure.h"
#include "codec/xml_elem.h"
#include "codec/xml_write.h"
#include "ext/mam/mam_talk.h"
#include "home/here.h"
#include "home/router.h"
#include "home/ticket.h"
#include "im/account.h"
#include "im/message.h"
#include "im/session.h"
#include "im/session_input.h"
#include "xmpp/ns.h"

#define NS_RETRACT_OLD "urn:xmpp:message-retract:0" /* until version 0.3, within <apply-to/> */

enum { ID_MAX = 1023, TRIES = 10 };

#define RETRACTED(index, find)                                                                     \
    "SELECT " ARCHIVE_LINE_COLUMNS                                                                 \
    " FROM " MAM_TALK(index) " JOIN message m ON m.id = e.msg"                                     \
                             " WHERE " MAM_TALK_IS " AND " find                                    \
                             "(m.stanza, $5) > 0 ORDER BY m.id DESC LIMIT $6"
static struct store_stmt find_retracted = {
    .name = "mam.retracted",
    .sqlite = RETRACTED(" INDEXED BY entry_peer", "instr"),
    .pgsql = RETRACTED("", "strpos"),
    .params = "itiiti",
    .cols = "iiiiiit",
};
struct store_stmt *const mam_retract_stmts[] = { &find_retracted, NULL };

struct retraction {
    struct arena *arena;     /* holds this, too */
    struct account *account; /* pinned */
    slice target;            /* id of what is retracted */
    slice id;                /* of the message that retracts it */
    struct stanza *st;       /* the message that retracts it */
    struct origin origin;
    uint64_t at_us;
    struct stanza *tombstone; /* NULL: none is made yet */
    uint64_t entry;           /* archive id, for its addressee, of what it replaces */
    unsigned tries;
    bool sent; /* on its author's side */
};

static void mam_retract_look(struct retraction *r);

static void mam_retract_end(struct retraction *r, enum store_result result)
{
    struct arena *arena = r->arena;
    struct worker *w = r->account->worker;
    ensure(account_is_pinned(r->account));
    if (result != STORE_OK)
        route_error(w, r->st, SE_RESOURCE_CONSTRAINT,
                    SLICE("the message could not be retracted in the archive"));
    if (r->origin.session != 0)
        ticket_done(w, r->origin);
    stanza_unref(&r->st);
    stanza_unref(&r->tombstone);
    account_unpin(r->account);
    arena_destroy(&arena);
}

static struct stanza *tombstone_of(const struct stanza *st, const struct retraction *r)
{
    struct buf content;
    struct xml_write x;
    char stamp[CLOCK_STAMP_LEN];
    clock_stamp(stamp, r->at_us);
    xml_begin(&x, &content, XML_PART_MAX);
    xml_open_with(&x, "retracted", NS_RETRACT, "stamp", slice_of(stamp));
    if (r->id.len <= ID_MAX)
        xml_attr(&x, "id", r->id);
    xml_close(&x);
    return stanza_make_buf(STANZA_MESSAGE, (enum stanza_type)st->type, stanza_from(st),
                           stanza_to(st), stanza_id(st), &content);
}

static void mam_retract_buried(void *arg, enum store_result result, const struct store_batch *b)
{
    struct retraction *r = arg;
    (void)b;
    ensure(account_is_pinned(r->account));
    if (result == STORE_OK && !r->sent)
        message_replaced(r->account, r->entry, r->tombstone);
    if (result == STORE_CONFLICT && ++r->tries < TRIES)
        mam_retract_look(r);
    else
        mam_retract_end(r, result);
}

/* A conflict if it was changed meanwhile: by the other side, or by its author again. */
static void mam_retract_bury(struct retraction *r, const struct archive_line *m,
                             const struct stanza *st)
{
    struct worker *w = r->account->worker;
    struct store_batch *b = store_write(worker_store(w), account_lane(r->account));
    struct buf text;
    stanza_unref(&r->tombstone);
    r->tombstone = tombstone_of(st, r);
    r->entry = (uint64_t)m->rcpt_entry;
    buf_init(&text, STORE_BATCH_BYTES_MAX);
    stanza_store(&text, r->tombstone);
    archive_retract(b, m, buf_fit(&text),
                    &(struct archive_event){ .kind = EVENT_RETRACTED, .at_us = r->at_us },
                    r->arena);
    archive_edit(b);
    buf_fini(&text);
    store_submit(b, worker_loop(w), 0, mam_retract_buried, r);
}

static void candidates_read(void *arg, enum store_result result, const struct store_batch *b)
{
    struct retraction *r = arg;
    struct worker *w = r->account->worker;
    uint32_t rows = result == STORE_OK ? store_row_count(b, 0) : 0;
    bool done = false, waits = false;
    ensure(account_here(r->account) && account_is_pinned(r->account));
    for (uint32_t i = 0; i < rows && !done; i++) {
        struct archive_line m = archive_line_of(b, 0, i);
        struct elem e;
        struct stanza *st;
        if (stanza_load(&st, m.stanza, worker_xml(w), r->arena) != OK)
            continue;
        done = mam_has_id(st, r->target, r->arena) && mam_same_talk(w, r->st, st, r->sent);
        bool theirs = r->sent && m.rcpt_entry != 0;
        waits = done && !theirs && !stanza_find(st, "retracted", NS_RETRACT, &e);
        if (waits)
            mam_retract_bury(r, &m, st);
        stanza_unref(&st);
    }
    if (!waits)
        mam_retract_end(r, result);
}

/* The id that a message retracts; empty: it retracts nothing. */
static slice retracts(const struct stanza *st, struct arena *tmp)
{
    struct elem e, inner;
    if (!stanza_has(st, KNOWN(PAYLOAD)))
        return (slice){ 0 };
    if (stanza_find(st, "retract", NS_RETRACT, &e) ||
        (stanza_find(st, "apply-to", NS_FASTEN, &e) &&
         elem_child(&e, "retract", NS_RETRACT_OLD, &inner)))
        return elem_attr(&e, "id", tmp);
    return (slice){ 0 };
}

static void mam_retract_look(struct retraction *r)
{
    struct account *a = r->account;
    struct store_batch *b = store_read(worker_store(a->worker), account_lane(a));
    struct buf escaped;
    buf_init(&escaped, XML_PART_MAX);
    xml_escape(&escaped, r->target);
    store_read_late(b, a->id);
    STORE_ADD(b, &find_retracted, STORE_ANY_ROWS, SV_I(a->id),
              SV_T(r->sent ? stanza_to_bare(r->st) : stanza_from_bare(r->st)), SV_I(INT64_MAX),
              SV_I(MAM_LOOK_BACK), SV_T(buf_fit(&escaped)), SV_I(MAM_CANDIDATES));
    buf_fini(&escaped);
    store_submit(b, worker_loop(a->worker), 0, candidates_read, r);
}

bool mam_retract(struct account *a, const struct passage *p)
{
    struct worker *w = a->worker;
    slice target = retracts(p->st, loop_scratch(worker_loop(w)));
    if (target.len == 0 || target.len > ID_MAX)
        return false;
    struct arena *arena = arena_create(0);
    struct retraction *r = arena_new(arena, struct retraction, 1);
    *r = (struct retraction){ .arena = arena,
                              .account = a,
                              .target = slice_dup(arena, target),
                              .id = slice_dup(arena, stanza_id(p->st)),
                              .st = stanza_ref(p->st),
                              .origin = p->origin,
                              .at_us = loop_wall_us(worker_loop(w)),
                              .sent = p->way == PASSAGE_SENT };
    account_pin(a);
    mam_retract_look(r);
    return p->origin.session != 0;
}
