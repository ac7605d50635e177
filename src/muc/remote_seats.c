/* remote_seats: seats of users of other servers outlast a planned restart. At an orderly end they
 * are written to the database; at the next start each worker reads the rows of the rooms whose home
 * it is, and deletes them. A seat that was saved no longer ago than s2s.lost-after is taken again
 * silently, if the room is stored, and its user is asked (room_ask_remote()). Where the room is
 * gone, the user hears that it has been removed (XEP-0045 §11.2, status 332). After a crash nobody
 * is told (XEP-0410).
 *
 * Limit: the presence of a worker's seats, an eighth of what may wait for the database; others, and
 * those with more than PRESENCE_MAX bytes, are forgotten by a restart. */
#include "base/arena.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "core/feature.h"
#include "home/here.h"
#include "home/node.h"
#include "muc/join.h"
#include "muc/muc.h"
#include "muc/people/find.h"
#include "muc/people/occupant.h"
#include "muc/room/room.h"
#include "muc/room/rooms.h"
#include "muc/talk/bounce.h"
#include "remote/foreign.h"
#include "remote/remote_domains.h"
#include "store/store.h"
#include "xmpp/jid.h"
#include <stdatomic.h>

enum {
    PRESENCE_MAX = 65536,                 /* bytes of one that is saved */
    PRESENCE_TEXT_MAX = 2 * PRESENCE_MAX, /* the same with escaped addresses */
    BATCH_ROWS = 512,                     /* of one batch */
    BATCH_BYTES = 1 << 20,                /* so long at most, or with one row */
    PAGE_ROWS = 128,                      /* read at a time */
    ROW_BYTES = 3 * JID_MAX               /* of addresses in a row, about */
};

static const struct store_migration migrations[] = {
    { 1,
      "CREATE TABLE room_remote(room TEXT NOT NULL, jid TEXT NOT NULL, nick TEXT NOT NULL,"
      " saved_us INTEGER NOT NULL, role INTEGER NOT NULL, hidden INTEGER NOT NULL,"
      " presence TEXT NOT NULL, PRIMARY KEY(room, jid)) WITHOUT ROWID;",
      "CREATE TABLE room_remote(room TEXT NOT NULL, jid TEXT NOT NULL, nick TEXT NOT NULL,"
      " saved_us BIGINT NOT NULL, role BIGINT NOT NULL, hidden BIGINT NOT NULL,"
      " presence TEXT NOT NULL, PRIMARY KEY(room, jid));" },
    { 0 }
};
static struct store_stmt seat_put = {
    .name = "room.remote-put",
    .sql = "INSERT INTO room_remote(room, jid, nick, saved_us, role, hidden, presence)"
           " VALUES($1, $2, $3, $4, $5, $6, $7) ON CONFLICT(room, jid) DO UPDATE SET"
           " nick = excluded.nick, saved_us = excluded.saved_us, role = excluded.role,"
           " hidden = excluded.hidden, presence = excluded.presence",
    .params = "tttiiit",
    .cols = "",
};
static struct store_stmt seat_delete = {
    .name = "room.remote-delete",
    .sql = "DELETE FROM room_remote WHERE room = $1 AND jid = $2",
    .params = "tt",
    .cols = "",
};
static struct store_stmt seats_page = {
    .name = "room.remote-page",
    .sql = "SELECT room, jid, nick, saved_us, role, hidden, presence FROM room_remote"
           " WHERE (room, jid) > ($1, $2) ORDER BY room, jid LIMIT $3",
    .params = "tti",
    .cols = "tttiiit",
};
static struct store_stmt *const stmts[] = { &seat_put, &seat_delete, &seats_page, NULL };
static const struct store_address addresses[] = {
    { "room_remote", "room", .kind = STORE_JID, .beside = "jid" },
    { "room_remote", "jid", .kind = STORE_JID, .beside = "room" },
    { "room_remote", "presence", .kind = STORE_START_TAG },
    { 0 },
};
static const struct store_schema schema = {
    .feature = "muc_remote_seats", .migrations = migrations, .stmts = stmts, .addresses = addresses
};

/* The end. */

/* What asked to enter may have the password of the room, and nobody is shown it. */
static bool is_request(enum known_child known, const struct elem *e, void *arg)
{
    (void)e;
    (void)arg;
    return known == KNOWN_MUC;
}

struct saving {
    struct worker *worker;
    struct store_batch *batch; /* NULL: none is begun */
    size_t left, bytes;        /* of presence; of the batch, about */
};

static void saving_submit(struct saving *save)
{
    if (save->batch != NULL)
        store_submit(save->batch, worker_loop(save->worker), 0, NULL, NULL);
    save->batch = NULL;
    save->bytes = 0;
}

static void seat_write(struct saving *save, const struct room *r, const struct seat *s,
                       slice presence)
{
    const struct occupant *o = s->occupant;
    if (save->batch != NULL &&
        (store_stmt_count(save->batch) >= BATCH_ROWS || save->bytes + presence.len > BATCH_BYTES))
        saving_submit(save);
    if (save->batch == NULL)
        save->batch = store_write(worker_store(save->worker), hash_keyed(r->jid));
    STORE_ADD(save->batch, &seat_put, STORE_ANY_ROWS, SV_T(r->jid), SV_T(s->jid), SV_T(o->nick),
              SV_I(loop_wall_us(worker_loop(save->worker))), SV_I(o->role), SV_I(o->hidden),
              SV_T(presence));
    save->bytes += ROW_BYTES + presence.len;
    save->left -= presence.len;
}

static void seats_save_room(struct room *r, void *arg)
{
    struct saving *save = arg;
    struct buf text;
    ensure(room_here(r) && room_is_stopping(r));
    buf_init(&text, PRESENCE_TEXT_MAX);
    LIST_EACH (it, &r->away) {
        const struct seat *s = CONTAINER_OF(it, const struct seat, away);
        buf_clear(&text);
        if (s->ghost || s->presence->bytes > PRESENCE_MAX ||
            !foreign_is(r->worker, jid_split(s->jid).domain))
            continue;
        struct stanza *shown =
            stanza_without(stanza_ref(s->presence), KNOWN(MUC), is_request, NULL);
        stanza_store(&text, shown);
        stanza_unref(&shown);
        slice presence = buf_fit(&text);
        if (presence.len <= save->left)
            seat_write(save, r, s, presence);
    }
    buf_fini(&text);
}

static void seats_save(struct worker *w)
{
    struct saving save = { .worker = w,
                           .left = STORE_QUEUE_BYTES_MAX / 8 / worker_node(w)->worker_count };
    rooms_each(w, seats_save_room, &save);
    saving_submit(&save);
}

/* The start. */

/* The columns of seats_page. */
enum { COL_ROOM, COL_JID, COL_NICK, COL_SAVED, COL_ROLE, COL_HIDDEN, COL_PRESENCE };

/* Behind room_restore(), which has given it its seat or told it that there is none. */
static void earlier_is_back(struct room *r, enum err e, void *arg)
{
    slice jid = slice_of(arg);
    const struct seat *s = e != OK ? NULL : room_seat(r, jid);
    if (s != NULL && list_linked(&s->away))
        room_ask_remote(r, s);
    mem_free(&arg);
}

static bool is_fresh(struct worker *w, int64_t saved_us)
{
    int64_t away_us = (int64_t)loop_wall_us(worker_loop(w)) - saved_us;
    return saved_us > 0 && away_us < (int64_t)remote_domain_lost_ms() * 1000;
}

/* The seat that a row describes is taken again. false: it cannot be. */
static bool earlier_restore(struct worker *w, const struct store_batch *b, uint32_t row)
{
    struct arena *tmp = loop_scratch(worker_loop(w));
    slice room = store_text(b, 0, row, COL_ROOM), jid = store_text(b, 0, row, COL_JID);
    slice remote = jid_split(jid).domain, local = jid_split(room).domain;
    const char blob[] = { (char)store_int(b, 0, row, COL_ROLE),
                          (char)store_int(b, 0, row, COL_HIDDEN) };
    struct audience_member m = { .jid = jid, .blob = { blob, sizeof blob } };
    if (!is_fresh(w, store_int(b, 0, row, COL_SAVED)) || !foreign_is(w, remote) ||
        !foreign_pair(w, local, remote) || foreign_bars(w, room, jid_bare_of(jid)) ||
        stanza_load(&m.presence, store_text(b, 0, row, COL_PRESENCE), worker_xml(w), tmp) != OK)
        return false;
    bool sound = m.presence->kind == STANZA_PRESENCE && m.presence->type == TYPE_AVAILABLE &&
                 slice_eq(stanza_from(m.presence), jid) &&
                 slice_eq(stanza_to_bare(m.presence), room);
    if (sound) {
        char *kept = mem_zalloc(jid.len + 1);
        memcpy(kept, jid.ptr, jid.len);
        room_restore(w, room, &m);
        room_with(w, room, earlier_is_back, kept);
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
    struct worker *w = r->worker;
    struct arena *tmp = loop_scratch(worker_loop(w));
    slice room = store_text(b, 0, row, COL_ROOM), jid = store_text(b, 0, row, COL_JID);
    slice nick = store_text(b, 0, row, COL_NICK);
    if (!node_is_home(w, room) || !rooms_serve(worker_node(w), room) ||
        !earlier_is_sound(room, jid, nick, tmp))
        return;
    if (earlier_restore(w, b, row)) {
        r->back++;
    } else {
        r->gone++;
        room_tell_shutdown(
            w, slice_of(arena_printf(tmp, "%.*s/%.*s", SLICE_ARG(room), SLICE_ARG(nick))), jid);
    }
    struct store_batch *done = store_write(worker_store(w), hash_keyed(room));
    STORE_ADD(done, &seat_delete, STORE_ANY_ROWS, SV_T(room), SV_T(jid));
    store_submit(done, worker_loop(w), 0, NULL, NULL);
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
    STORE_ADD(b, &seats_page, STORE_ANY_ROWS, SV_T(room), SV_T(jid), SV_I(PAGE_ROWS));
    store_submit(b, worker_loop(r->worker), 0, seats_page_read, r);
}

static void seats_restore(struct worker *w)
{
    struct reading *r = mem_new(struct reading);
    *r = (struct reading){ .worker = w };
    atomic_fetch_add(&worker_node(w)->life_left, 1);
    seats_read_page(r, SLICE(""), SLICE(""));
}

const struct feature muc_remote_seats_feature = {
    .name = "muc_remote_seats",
    .parts = PART_ROOM,
    .schema = &schema,
    .worker.restore = seats_restore,
    .worker.save = seats_save,
};
