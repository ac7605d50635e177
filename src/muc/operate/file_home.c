#include "muc/operate/file_home.h"
#include "account/account.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "base/mem.h"
#include "codec/xml_read.h"
#include "home/here.h"
#include "muc/room/config.h"
#include "muc/room/config_form.h"
#include "muc/room/config_sealed.h"
#include "muc/room/metrics.h"
#include "muc/room/part.h"
#include "muc/room/room.h"
#include "muc/room/room_line.h"
#include "muc/room/rooms.h"
#include "muc/room/settings.h"
#include "muc/state/reach.h"
#include "muc/state/store.h"
#include "ops/events.h"
#include "store/store.h"
#include "xmpp/muc.h"

enum { LINES_MAX = 8, PIECE_BYTES = 256 << 10 };

static const struct message_field answer_fields[] = {
    F_ERR(struct room_lines_answer, err),
    F_TEXT(struct room_lines_answer, why, sizeof((struct why *)NULL)->text),
    F_TEXT(struct room_lines_answer, lines, ROOM_LINES_BYTES_MAX),
    F_I64(struct room_lines_answer, owner),
    F_U64(struct room_lines_answer, until),
    F_U64(struct room_lines_answer, people),
    { 0 },
};
const struct message_row room_lines_answer_message = {
    .id = 99,
    .scope = MESSAGE_CLUSTER,
    .name = "room-lines-answer",
    .size = sizeof(struct room_lines_answer),
    .fields = answer_fields,
};

static void lines_answer_last(struct worker *w, const struct message_from *from,
                              struct room_lines_answer *a)
{
    question_answer(w, from, &room_lines_answer_message, a);
    question_end(w, from);
}

const struct room_lines *room_lines_of(int type)
{
    PARTS_EACH (p, lines)
        if (p->lines->type == type)
            return p->lines;
    return NULL;
}

/* Export. */

struct store_stmt room_there_stmt = {
    .name = "room.export-there",
    .sql = "SELECT 1 FROM room WHERE id = $1",
    .params = "i",
    .cols = "i",
};

struct lines_told {
    struct worker *worker;
    struct message_from from;
    bool numbers;      /* no lines */
    struct room *room; /* pinned */
    int64_t owner;
    uint64_t until, people;
    struct buf out;
    unsigned first[LINES_MAX]; /* where the reads of parts begin */
};

static bool lines_tell_one(const struct room_line *l, void *arg)
{
    struct lines_told *t = arg;
    bool written = room_line_write(&t->out, l);
    if (t->out.len < PIECE_BYTES)
        return written;
    question_answer(t->worker, &t->from, &room_lines_answer_message,
                    &(struct room_lines_answer){ .lines = buf_slice(&t->out) });
    buf_clear(&t->out);
    return written;
}

static void lines_tell_room(struct lines_told *t)
{
    const struct room *r = t->room;
    struct room_line l = {
        .type = LINE_ROOM, .jid = r->jid, .creator = r->creator, .at_us = r->created_us
    };
    struct buf config;
    buf_init(&config, ROOM_STORED_MAX);
    struct buf subject;
    buf_init(&subject, ROOM_LINE_MAX);
    room_config_store(&config, &r->config);
    if (r->subject != NULL)
        stanza_store(&subject, r->subject);
    l.config = buf_fit(&config);
    l.subject = buf_fit(&subject);
    memcpy(l.secret, r->secret, sizeof l.secret);
    lines_tell_one(&l, t);
    buf_fini(&subject);
    buf_fini(&config);
    const struct affiliate *a;
    for (uint32_t i = 0; (a = map_next(&r->affiliates, &i)) != NULL;)
        t->people +=
            lines_tell_one(&(struct room_line){ .type = LINE_AFFILIATION,
                                                .jid = a->jid,
                                                .affiliation = (enum affiliation)a->affiliation,
                                                .nick = a->nick,
                                                .reason = a->reason,
                                                .follows = a->follows },
                           t);
}

static void lines_tell(struct lines_told *t, const struct store_batch *b)
{
    unsigned n = 0;
    if (!t->numbers) {
        lines_tell_room(t);
        PARTS_EACH (p, lines)
            p->lines->write(t->room, b, t->first[n++], lines_tell_one, t);
    }
    lines_answer_last(t->worker, &t->from,
                      &(struct room_lines_answer){ .err = t->out.overflow ? E_LIMIT : OK,
                                                   .lines = buf_fit(&t->out),
                                                   .owner = t->owner,
                                                   .until = t->until,
                                                   .people = t->people });
}

static void lines_parts_read(void *arg, enum store_result result, const struct store_batch *b)
{
    struct lines_told *t = arg;
    enum err e = result != STORE_OK                              ? E_DOWN
                 : t->room->stored && room_is(t->room, t->owner) ? OK
                                                                 : E_NOTFOUND;
    if (e == OK)
        lines_tell(t, b);
    else
        lines_answer_last(t->worker, &t->from, &(struct room_lines_answer){ .err = (uint8_t)e });
    buf_fini(&t->out);
    room_unpin(t->room);
    mem_free(&t);
}

/* The read waits for the messages that were submitted: they are in the archive when it is done. */
static void lines_read_parts(struct lines_told *t)
{
    struct store_batch *b = store_read(worker_store(t->worker), (uint64_t)t->owner);
    unsigned n = 0;
    STORE_ADD(b, &room_there_stmt, STORE_ANY_ROWS, SV_I(t->owner));
    PARTS_EACH (p, lines) {
        ensure(n < LINES_MAX);
        t->first[n++] = store_stmt_count(b);
        if (p->lines->read != NULL)
            p->lines->read(b, t->room);
    }
    store_submit(b, worker_loop(t->worker), 0, lines_parts_read, t);
}

static void lines_room_reached(struct room *r, enum err e, void *arg)
{
    struct lines_told *t = arg;
    if (e == OK && r->state == ACTOR_READY && r->stored) {
        t->room = r;
        room_pin(r);
        t->owner = r->id;
        t->until = r->archive.last_id;
        buf_init(&t->out, ROOM_LINES_BYTES_MAX);
        lines_read_parts(t);
        return;
    }
    if (e == OK)
        e = r->state == ACTOR_READY ? E_UNSUPPORTED : E_NOTFOUND;
    lines_answer_last(t->worker, &t->from, &(struct room_lines_answer){ .err = (uint8_t)e });
    mem_free(&t);
}

static void lines_asked_run(struct worker *w, void *message, const struct message_from *from)
{
    struct lines_told *t = mem_new(struct lines_told);
    const struct room_lines_asked *asked = message;
    t->worker = w;
    t->from = *from;
    t->numbers = asked->numbers;
    operate_reach(w, asked->room, lines_room_reached, t);
}

static const struct message_field asked_fields[] = {
    F_BARE(struct room_lines_asked, room),
    F_BOOL(struct room_lines_asked, numbers),
    { 0 },
};
const struct message_row room_lines_asked_message = {
    .id = 98,
    .scope = MESSAGE_CLUSTER,
    .name = "room-lines-asked",
    .size = sizeof(struct room_lines_asked),
    .fields = asked_fields,
    .run = lines_asked_run,
    .answer = &room_lines_answer_message,
    .later = true,
    .slow = true,
};

/* Import. */

static struct store_stmt unnote_stmt = {
    .name = "room.import-made",
    .sql = "DELETE FROM room_import WHERE owner = $1",
    .params = "i",
    .cols = "",
};
static struct store_stmt room_stmt = {
    .name = "room.import",
    .sql = "INSERT INTO room(id, jid, domain, name, listed, secret, config, subject, creator,"
           " created_us) SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10"
           " WHERE (SELECT count(*) FROM room) < $11",
    .params = "itttibtttii",
    .cols = "",
};
struct store_stmt *const room_home_stmts[] = { &room_there_stmt, &unnote_stmt, &room_stmt, NULL };

struct lines_taken {
    struct worker *worker;
    struct message_from from;
    struct arena *arena;
    struct xml_work *xml;
    struct room_lines_given given; /* in the arena */
    slice creator;
    struct room *target; /* pinned */
};

static void lines_take_end(struct lines_taken *t, enum err e, const char *why)
{
    lines_answer_last(t->worker, &t->from,
                      &(struct room_lines_answer){ .err = (uint8_t)e, .why = slice_of(why) });
    xml_work_destroy(&t->xml);
    arena_destroy(&t->arena);
    mem_free(&t);
}

static void lines_take_committed(void *arg, enum store_result result, const struct store_batch *b)
{
    struct lines_taken *t = arg;
    struct room *r = t->target;
    (void)b;
    if (result == STORE_OK) {
        room_load(r);
        metric_add(&rooms_persistent_metric, 1);
        event_tell(r->worker, EVENT_ROOM_CREATED, r->jid,
                   (const struct event_field[]){ { "jid", r->jid }, { 0 } });
    } else {
        rooms_release(t->creator);
        actor_loaded(&r->actor, result == STORE_CONFLICT ? E_NOTFOUND : err_of_store(result));
    }
    room_unpin(r);
    lines_take_end(t, err_of_store(result),
                   result == STORE_OK         ? ""
                   : result == STORE_CONFLICT ? "muc.persistent-max allows no more rooms"
                                              : "the database does not answer");
}

static void lines_take_room(struct lines_taken *t, struct store_batch *b, const struct room_line *l)
{
    struct room_config c;
    struct buf text;
    room_config_load(&c, l->config, t->arena);
    c.persistent = true;
    buf_init(&text, ROOM_STORED_MAX);
    room_config_seal(&text, &c, l->jid, t->arena);
    slice name = c.text[ROOM_NAME].ptr == NULL ? SLICE("") : c.text[ROOM_NAME];
    STORE_ADD(b, &room_stmt, 1, SV_I(t->given.owner), SV_T(l->jid), SV_T(jid_split(l->jid).domain),
              SV_T(name), SV_I(c.listed),
              SV_B(((slice){ (const char *)l->secret, sizeof l->secret })), SV_T(buf_fit(&text)),
              SV_T(l->subject), SV_T(l->creator), SV_I(l->at_us),
              SV_I(setting_int(&muc_persistent_max)));
    buf_fini(&text);
    t->creator = l->creator;
}

/* The room, then lines of its parts. */
static enum err lines_take_all(struct lines_taken *t, struct store_batch *b, struct why *why)
{
    slice line, rest = t->given.lines;
    for (bool first = true; slice_cut(rest, '\n', &line, &rest); first = false) {
        struct room_line l;
        enum err e = room_line_read(&l, line, t->xml, t->arena, why);
        const struct room_lines *lines = e == OK ? room_lines_of((int)l.type) : NULL;
        if (e != OK)
            return e;
        if (first && l.type == LINE_ROOM && slice_eq(l.jid, t->given.room))
            lines_take_room(t, b, &l);
        else if (!first && lines != NULL)
            lines->store(b, t->given.owner, &l, t->arena);
        else
            return E_SYNTAX;
    }
    STORE_ADD(b, &unnote_stmt, 1, SV_I(t->given.owner));
    return OK;
}

/* Nobody makes a room of that name from here: what comes for it waits. It would not wait for a
 * change of the room, so this is none (architecture §3, Rooms). */
static void lines_take(struct lines_taken *t, struct room *r)
{
    struct why why = { 0 };
    struct store_batch *b = store_write(worker_store(t->worker), (uint64_t)t->given.owner);
    enum err e = lines_take_all(t, b, &why);
    if (e == OK && !rooms_reserve(t->creator, &why))
        e = E_LIMIT;
    if (e != OK) {
        store_drop(&b);
        lines_take_end(t, e, why.text);
        return;
    }
    room_pin(r);
    t->target = r;
    actor_become(&r->actor, ACTOR_LOADING);
    store_submit(b, worker_loop(t->worker), STORE_UNTIL_DONE, lines_take_committed, t);
}

static void lines_take_reached(struct room *r, enum err e, void *arg)
{
    struct lines_taken *t = arg;
    if (e != OK)
        lines_take_end(t, e, err_text(e));
    else if (r->state != ACTOR_ABSENT)
        lines_take_end(t, E_EXISTS, "there is such a room");
    else if (t->given.lines.len == 0)
        lines_take_end(t, OK, "");
    else
        lines_take(t, r);
}

static void lines_given_run(struct worker *w, void *message, const struct message_from *from)
{
    const struct room_lines_given *given = message;
    struct lines_taken *t = mem_new(struct lines_taken);
    t->worker = w;
    t->from = *from;
    t->arena = arena_create(0);
    t->xml = xml_work_create();
    t->given = (struct room_lines_given){ slice_dup(t->arena, given->room),
                                          slice_dup(t->arena, given->lines), given->owner };
    operate_reach(w, t->given.room, lines_take_reached, t);
}

static const struct message_field given_fields[] = {
    F_BARE(struct room_lines_given, room),
    F_TEXT(struct room_lines_given, lines, ROOM_LINES_BYTES_MAX),
    F_I64(struct room_lines_given, owner),
    { 0 },
};
const struct message_row room_lines_given_message = {
    .id = 95,
    .scope = MESSAGE_CLUSTER,
    .name = "room-lines-given",
    .size = sizeof(struct room_lines_given),
    .fields = given_fields,
    .run = lines_given_run,
    .answer = &room_lines_answer_message,
    .later = true,
    .slow = true,
};
