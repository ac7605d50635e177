/* abroad_seats: seats of users of other servers outlast this process. Nobody else would tell them
 * that a room does not know them any more; sessions of our own accounts bring their seats with them
 * (im/restart.h).
 *
 * Each such seat has a row in the database, which names the run of the server that wrote it. At an
 * orderly end the rows get what is needed to take the seat again. At the next start each worker
 * reads the rows of other runs, of the rooms whose home it is. A seat that was saved no longer ago
 * than s2s.lost-after is taken again silently, if the room is stored. The user may have left
 * meanwhile, so it is sent an empty message, and an error puts it out (muc/talk/bounce.h). After a
 * crash, and where the room is gone, the user hears that the room has removed it (XEP-0045
 * §11.2, status 332): who enters again has the messages in between from the history.
 *
 * Limits: SEATS_MAX rows of a worker; other seats are forgotten by a restart, as all are when the
 * database does not take their rows. */
#include "base/arena.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "base/hash.h"
#include "base/list.h"
#include "base/log.h"
#include "base/mem.h"
#include "home/here.h"
#include "home/node.h"
#include "home/router.h"
#include "im/abroad.h"
#include "im/feature.h"
#include "im/foreign.h"
#include "io/timer.h"
#include "muc/join.h"
#include "muc/muc.h"
#include "muc/parts.h"
#include "muc/people/find.h"
#include "muc/people/occupant.h"
#include "muc/room/part.h"
#include "muc/room/room.h"
#include "muc/room/rooms.h"
#include "store/store.h"
#include "xmpp/jid.h"
#include "xmpp/ns.h"
#include <stdatomic.h>

enum {
    SEATS_MAX = 20000,
    PRESENCE_MAX = 65536,                 /* bytes of one that is saved */
    PRESENCE_TEXT_MAX = 2 * PRESENCE_MAX, /* the same with escaped addresses */
    BATCH_ROWS = 512,                     /* of one batch */
    BATCH_BYTES = 1 << 20,                /* so long at most, or with one row */
    PAGE_ROWS = 128,                      /* read at a time */
    FIRST_MS = 1000,                      /* from the start to the first that is told */
    AT_ONCE = 64,                         /* that are told */
    PAUSE_MS = 100,                       /* before the next */
    ROW_BYTES = 3 * JID_MAX,              /* of addresses in a row, about */
};

static const struct store_migration migrations[] = {
    { 1,
      "CREATE TABLE room_abroad(room TEXT NOT NULL, jid TEXT NOT NULL, nick TEXT NOT NULL,"
      " run INTEGER NOT NULL, saved_us INTEGER NOT NULL, role INTEGER NOT NULL,"
      " hidden INTEGER NOT NULL, presence TEXT NOT NULL, PRIMARY KEY(room, jid)) WITHOUT ROWID;",
      "CREATE TABLE room_abroad(room TEXT NOT NULL, jid TEXT NOT NULL, nick TEXT NOT NULL,"
      " run BIGINT NOT NULL, saved_us BIGINT NOT NULL, role BIGINT NOT NULL,"
      " hidden BIGINT NOT NULL, presence TEXT NOT NULL, PRIMARY KEY(room, jid));" },
    { 0 }
};
static struct store_stmt seat_put = {
    .name = "room.abroad-put",
    .sql = "INSERT INTO room_abroad(room, jid, nick, run, saved_us, role, hidden, presence)"
           " VALUES($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT(room, jid) DO UPDATE SET"
           " nick = excluded.nick, run = excluded.run, saved_us = excluded.saved_us,"
           " role = excluded.role, hidden = excluded.hidden, presence = excluded.presence",
    .params = "tttiiiit",
    .cols = "",
};
static struct store_stmt seat_delete = {
    .name = "room.abroad-delete",
    .sql = "DELETE FROM room_abroad WHERE room = $1 AND jid = $2",
    .params = "tt",
    .cols = "",
};
static struct store_stmt seat_delete_old = {
    .name = "room.abroad-delete-old",
    .sql = "DELETE FROM room_abroad WHERE room = $1 AND jid = $2 AND run <> $3",
    .params = "tti",
    .cols = "",
};
static struct store_stmt seats_page = {
    .name = "room.abroad-page",
    .sql = "SELECT room, jid, nick, saved_us, role, hidden, presence FROM room_abroad"
           " WHERE (room, jid) > ($1, $2) AND run <> $3 ORDER BY room, jid LIMIT $4",
    .params = "ttii",
    .cols = "tttiiit",
};
static struct store_stmt *const stmts[] = { &seat_put, &seat_delete, &seat_delete_old, &seats_page,
                                            NULL };
static const struct store_address addresses[] = {
    { "room_abroad", "room", .kind = STORE_JID, .beside = "jid" },
    { "room_abroad", "jid", .kind = STORE_JID, .beside = "room" },
    { "room_abroad", "presence", .kind = STORE_START_TAG },
    { 0 },
};
static const struct store_schema schema = {
    .feature = "muc_abroad_seats", .migrations = migrations, .stmts = stmts, .addresses = addresses
};

/* A seat of an earlier run: it is taken again, or its user is to be told that it is gone. */
struct earlier {
    struct list node; /* in seats_abroad.loading, then in .earlier */
    struct worker *worker;
    slice room, jid, nick; /* in this block */
    bool back;
};
/* Seats of a worker. */
struct seats_abroad {
    struct worker *worker;
    struct store_batch *due; /* rows that change in this tick; NULL: none */
    size_t due_bytes;
    struct loop_defer submit;
    struct list loading; /* their rooms are being loaded */
    struct list earlier;
    struct timer timer;
    uint32_t rows; /* seats with a row */
};
static unsigned slot;

static struct seats_abroad *seats_abroad_of(const struct worker *w)
{
    ensure(worker_is_here(w));
    return *worker_state(w, slot);
}

static int64_t seats_run(const struct worker *w) { return (int64_t)worker_node(w)->start_wall_us; }

/* Rows. All of a worker are in one order. */

static uint64_t seats_lane(void) { return hash_keyed(SLICE("room_abroad")); }

static void seats_submit(struct loop_defer *d)
{
    struct seats_abroad *all = CONTAINER_OF(d, struct seats_abroad, submit);
    struct store_batch *b = all->due;
    all->due = NULL;
    all->due_bytes = 0;
    if (b != NULL)
        store_submit(b, worker_loop(all->worker), 0, NULL, NULL);
}

static struct store_batch *seats_due(struct seats_abroad *all, size_t bytes)
{
    if (all->due != NULL &&
        (store_stmt_count(all->due) >= BATCH_ROWS || all->due_bytes + bytes > BATCH_BYTES))
        seats_submit(&all->submit);
    if (all->due == NULL)
        all->due = store_write(worker_store(all->worker), seats_lane());
    all->due_bytes += bytes;
    loop_defer(worker_loop(all->worker), &all->submit);
    return all->due;
}

static void seat_write(struct room *r, const struct seat *s, uint64_t saved_us, slice presence)
{
    const struct occupant *o = s->occupant;
    struct seats_abroad *all = seats_abroad_of(r->worker);
    STORE_ADD(seats_due(all, ROW_BYTES + presence.len), &seat_put, STORE_ANY_ROWS, SV_T(r->jid),
              SV_T(s->jid), SV_T(o->nick), SV_I(seats_run(r->worker)), SV_I(saved_us),
              SV_I(o->role), SV_I(o->hidden), SV_T(presence));
}

static void seats_seated(struct room *r, struct seat *s, bool back)
{
    struct seats_abroad *all = seats_abroad_of(r->worker);
    (void)back;
    ensure(!s->written);
    if (!list_linked(&s->away) || all->rows >= SEATS_MAX ||
        !foreign_is(r->worker, jid_split(s->jid).domain))
        return;
    s->written = true;
    all->rows++;
    seat_write(r, s, 0, SLICE(""));
}

static void seats_leaves(struct room *r, const struct seat *s, bool ends)
{
    struct seats_abroad *all = seats_abroad_of(r->worker);
    (void)ends;
    if (!s->written)
        return;
    ensure(all->rows > 0);
    all->rows--;
    STORE_ADD(seats_due(all, ROW_BYTES), &seat_delete, STORE_ANY_ROWS, SV_T(r->jid), SV_T(s->jid));
}

static void seats_renamed(struct room *r, const struct occupant *o, slice was)
{
    (void)was;
    LIST_EACH (it, &o->seats) {
        const struct seat *s = CONTAINER_OF(it, const struct seat, node);
        if (s->written)
            seat_write(r, s, 0, SLICE(""));
    }
}

/* The end. */

/* What asked to enter may have the password of the room, and nobody is shown it. */
static bool is_request(enum known_child known, const struct elem *e, void *arg)
{
    (void)e;
    (void)arg;
    return known == KNOWN_MUC;
}

static void seats_save_room(struct room *r, void *arg)
{
    size_t *left = arg;
    struct buf text;
    ensure(room_here(r) && room_is_stopping(r));
    buf_init(&text, PRESENCE_TEXT_MAX);
    LIST_EACH (it, &r->away) {
        const struct seat *s = CONTAINER_OF(it, const struct seat, away);
        buf_clear(&text);
        if (s->ghost || !s->written || s->presence->bytes > PRESENCE_MAX)
            continue;
        struct stanza *shown =
            stanza_without(stanza_ref(s->presence), KNOWN(MUC), is_request, NULL);
        stanza_store(&text, shown);
        stanza_unref(&shown);
        slice presence = buf_fit(&text);
        if (presence.len > *left)
            continue;
        *left -= presence.len;
        seat_write(r, s, loop_wall_us(room_loop(r)), presence);
    }
    buf_fini(&text);
}

static void seats_save(struct worker *w)
{
    size_t left = STORE_QUEUE_BYTES_MAX / 8 / worker_node(w)->worker_count;
    rooms_each(w, seats_save_room, &left);
    seats_submit(&seats_abroad_of(w)->submit);
}

/* The start. */

static void earlier_free(struct earlier *e)
{
    list_remove(&e->node);
    mem_free(&e);
}

/* A message without content: see muc/parts/abroad.c. */
static void earlier_tell(const struct earlier *e)
{
    struct worker *w = e->worker;
    struct room *r = room_find(w, e->room);
    bool here = r != NULL && room_seat(r, e->jid) != NULL;
    if (here && e->back) {
        route_send(w, stanza_make(STANZA_MESSAGE, TYPE_GROUPCHAT, e->room, e->jid, (slice){ 0 },
                                  SLICE("<no-store xmlns='" NS_HINTS "'/>")));
    } else if (!here && !e->back) { /* else it has entered again */
        struct arena *tmp = loop_scratch(worker_loop(w));
        room_tell_shutdown(
            w, slice_of(arena_printf(tmp, "%.*s/%.*s", SLICE_ARG(e->room), SLICE_ARG(e->nick))),
            e->jid);
    }
    STORE_ADD(seats_due(seats_abroad_of(w), ROW_BYTES), &seat_delete_old, STORE_ANY_ROWS,
              SV_T(e->room), SV_T(e->jid), SV_I(seats_run(w)));
}

static void earlier_due(struct timer *t, struct loop *loop)
{
    struct seats_abroad *all = CONTAINER_OF(t, struct seats_abroad, timer);
    for (unsigned n = 0; n < AT_ONCE && !list_empty(&all->earlier); n++) {
        struct earlier *e = CONTAINER_OF(all->earlier.next, struct earlier, node);
        earlier_tell(e);
        earlier_free(e);
    }
    if (!list_empty(&all->earlier))
        timer_set(loop, t, PAUSE_MS);
}

static void earlier_wait(struct earlier *e)
{
    struct seats_abroad *all = seats_abroad_of(e->worker);
    list_remove(&e->node);
    list_append(&all->earlier, &e->node);
    if (!timer_is_set(&all->timer))
        timer_set(worker_loop(e->worker), &all->timer, FIRST_MS);
}

/* Behind room_restore(), which has given it its seat or told it that there is none. */
static void earlier_is_back(struct room *r, enum err e, void *arg)
{
    (void)r;
    (void)e;
    earlier_wait(arg);
}

static struct earlier *earlier_make(struct worker *w, slice room, slice jid, slice nick)
{
    struct earlier *e = mem_zalloc(sizeof *e + room.len + jid.len + nick.len);
    char *at = (char *)(e + 1);
    e->worker = w;
    e->room = slice_lay(&at, room);
    e->jid = slice_lay(&at, jid);
    e->nick = slice_lay(&at, nick);
    list_append(&seats_abroad_of(w)->loading, &e->node);
    return e;
}

/* The columns of seats_page. */
enum { COL_ROOM, COL_JID, COL_NICK, COL_SAVED, COL_ROLE, COL_HIDDEN, COL_PRESENCE };

static bool is_fresh(struct worker *w, int64_t saved_us)
{
    int64_t away_us = (int64_t)loop_wall_us(worker_loop(w)) - saved_us;
    return saved_us > 0 && away_us < (int64_t)abroad_lost_ms() * 1000;
}

/* The seat that a row describes is taken again. false: it cannot be. */
static bool earlier_restore(struct earlier *e, const struct store_batch *b, uint32_t row)
{
    struct worker *w = e->worker;
    struct arena *tmp = loop_scratch(worker_loop(w));
    slice remote = jid_split(e->jid).domain, local = jid_split(e->room).domain;
    const char blob[] = { (char)store_int(b, 0, row, COL_ROLE),
                          (char)store_int(b, 0, row, COL_HIDDEN) };
    struct audience_member m = { .jid = e->jid, .blob = { blob, sizeof blob } };
    if (!is_fresh(w, store_int(b, 0, row, COL_SAVED)) || !foreign_is(w, remote) ||
        !foreign_pair(w, local, remote) || foreign_bars(w, e->room, jid_bare_of(e->jid)) ||
        !rooms_serve(worker_node(w), e->room) ||
        stanza_load(&m.presence, store_text(b, 0, row, COL_PRESENCE), worker_xml(w), tmp) != OK)
        return false;
    bool sound = m.presence->kind == STANZA_PRESENCE && m.presence->type == TYPE_AVAILABLE &&
                 slice_eq(stanza_from(m.presence), e->jid) &&
                 slice_eq(stanza_to_bare(m.presence), e->room);
    if (sound) {
        room_restore(w, e->room, &m);
        e->back = true;
        room_with(w, e->room, earlier_is_back, e);
    }
    stanza_unref(&m.presence);
    return sound;
}

/* Reads the rows, page by page; this step of the node's life lasts until all are read. */
struct reading {
    struct worker *worker;
    unsigned back, gone;
};

static void seats_read_page(struct reading *r, slice room, slice jid);

static void seats_read_end(struct reading *r, enum store_result result)
{
    if (result != STORE_OK)
        log_warn(&log_muc, LOG_EV("room.seats-not-read"), LOG_C("why", store_result_name(result)),
                 LOG_C("hint", "users of other servers are not told that they are no longer in "
                               "rooms; their clients find out when they ask"));
    if (r->back + r->gone > 0)
        log_info(&log_muc, LOG_EV("room.seats"), LOG_I("back", r->back), LOG_I("gone", r->gone));
    atomic_fetch_sub(&worker_node(r->worker)->life_left, 1);
    mem_free(&r);
}

static bool earlier_is_sound(slice room, slice jid, slice nick, struct arena *tmp)
{
    struct jid r, j;
    return jid_parse(&r, room, tmp) == OK && r.local.len > 0 && r.resource.len == 0 &&
           jid_parse(&j, jid, tmp) == OK && j.resource.len > 0 && nick.len > 0;
}

/* The rows may be damaged: what makes no sense stays where it is. So do those of rooms whose domain
 * is not served now: nobody can be told anything in its name before it is served again. */
static void seats_read_row(struct reading *r, const struct store_batch *b, uint32_t row)
{
    slice room = store_text(b, 0, row, COL_ROOM), jid = store_text(b, 0, row, COL_JID);
    if (!node_is_home(r->worker, room) || !rooms_serve(worker_node(r->worker), room) ||
        !earlier_is_sound(room, jid, store_text(b, 0, row, COL_NICK),
                          loop_scratch(worker_loop(r->worker))))
        return;
    struct earlier *e = earlier_make(r->worker, room, jid, store_text(b, 0, row, COL_NICK));
    if (earlier_restore(e, b, row)) {
        r->back++;
        return;
    }
    r->gone++;
    earlier_wait(e);
}

static void seats_page_read(void *arg, enum store_result result, const struct store_batch *b)
{
    struct reading *r = arg;
    uint32_t rows = store_row_count(b, 0);
    ensure(worker_is_here(r->worker) && rows <= PAGE_ROWS);
    for (uint32_t i = 0; i < rows; i++)
        seats_read_row(r, b, i);
    if (rows == PAGE_ROWS)
        seats_read_page(r, store_text(b, 0, rows - 1, COL_ROOM),
                        store_text(b, 0, rows - 1, COL_JID));
    else
        seats_read_end(r, result);
}

static void seats_read_page(struct reading *r, slice room, slice jid)
{
    struct store_batch *b = store_read(worker_store(r->worker), 0);
    STORE_ADD(b, &seats_page, STORE_ANY_ROWS, SV_T(room), SV_T(jid), SV_I(seats_run(r->worker)),
              SV_I(PAGE_ROWS));
    store_submit(b, worker_loop(r->worker), 0, seats_page_read, r);
}

static void seats_restore(struct worker *w)
{
    struct reading *r = mem_new(struct reading);
    *r = (struct reading){ .worker = w };
    atomic_fetch_add(&worker_node(w)->life_left, 1);
    seats_read_page(r, SLICE(""), SLICE(""));
}

static void seats_start(struct worker *w)
{
    struct seats_abroad *all = *worker_state(w, slot) = mem_new(struct seats_abroad);
    all->worker = w;
    all->submit.fn = seats_submit;
    all->timer.fn = earlier_due;
    list_init(&all->loading);
    list_init(&all->earlier);
}

static void seats_stop(struct worker *w)
{
    struct seats_abroad *all = seats_abroad_of(w);
    timer_cancel(&all->timer);
    loop_defer_cancel(&all->submit);
    store_drop(&all->due);
}

static void seats_ended(struct worker *w)
{
    struct seats_abroad *all = *worker_state(w, slot);
    if (all == NULL)
        return;
    while (!list_empty(&all->loading))
        earlier_free(CONTAINER_OF(all->loading.next, struct earlier, node));
    while (!list_empty(&all->earlier))
        earlier_free(CONTAINER_OF(all->earlier.next, struct earlier, node));
    mem_free(worker_state(w, slot));
}

const struct room_part abroad_seats_part = {
    .name = "abroad_seats",
    .seated = seats_seated,
    .leaves = seats_leaves,
    .renamed = seats_renamed,
};

const struct feature muc_abroad_seats_feature = {
    .name = "muc_abroad_seats",
    .parts = PART_ROOM,
    .schema = &schema,
    .worker.slot = &slot,
    .worker.start = seats_start,
    .worker.stop = seats_stop,
    .worker.ended = seats_ended,
    .worker.restore = seats_restore,
    .worker.save = seats_save,
};
