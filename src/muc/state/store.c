#include "muc/state/store.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "base/mem.h"
#include "base/metric.h"
#include "base/setting.h"
#include "home/here.h"
#include "home/node.h"
#include "muc/archive/archive.h"
#include "muc/archive/history.h"
#include "muc/people/affiliation.h"
#include "muc/room/config.h"
#include "muc/room/config_sealed.h"
#include "muc/room/makers.h"
#include "muc/room/metrics.h"
#include "muc/room/part.h"
#include "muc/room/room.h"
#include "muc/room/rooms.h"
#include "muc/room/settings.h"
#include "muc/state/life.h"
#include "muc/state/subject.h"
#include "xmpp/muc.h"
#include <stdatomic.h>

enum { SUBJECT_BYTES_MAX = 1 << 20 }; /* of the stanza */
enum { READERS_MAX = 16 };            /* parts that read when a room is loaded */

static const struct store_migration migrations[] = {
    { 1,
      "CREATE TABLE room(id INTEGER PRIMARY KEY, jid TEXT NOT NULL UNIQUE, domain TEXT NOT NULL,"
      " name TEXT NOT NULL, listed INTEGER NOT NULL, secret BLOB NOT NULL, config TEXT NOT NULL,"
      " subject TEXT NOT NULL, creator TEXT NOT NULL, created_us INTEGER NOT NULL);"
      "CREATE INDEX room_listed ON room(domain, listed, jid);"
      "CREATE TABLE room_affiliation(room INTEGER NOT NULL, jid TEXT NOT NULL,"
      " affiliation INTEGER NOT NULL, nick TEXT NOT NULL, reason TEXT NOT NULL,"
      " follows INTEGER NOT NULL, PRIMARY KEY(room, jid)) WITHOUT ROWID;"
      "CREATE INDEX room_affiliation_jid ON room_affiliation(jid, room);",
      "CREATE TABLE room(id BIGINT PRIMARY KEY, jid TEXT NOT NULL UNIQUE, domain TEXT NOT NULL,"
      " name TEXT NOT NULL, listed BIGINT NOT NULL, secret BYTEA NOT NULL, config TEXT NOT NULL,"
      " subject TEXT NOT NULL, creator TEXT NOT NULL, created_us BIGINT NOT NULL);"
      "CREATE INDEX room_listed ON room(domain, listed, jid);"
      "CREATE TABLE room_affiliation(room BIGINT NOT NULL, jid TEXT NOT NULL,"
      " affiliation BIGINT NOT NULL, nick TEXT NOT NULL, reason TEXT NOT NULL,"
      " follows BIGINT NOT NULL, PRIMARY KEY(room, jid));"
      "CREATE INDEX room_affiliation_jid ON room_affiliation(jid, room);" },
    /* of followers: how many messages are unread, of those up to this archive id; 0: not known */
    { 2,
      "ALTER TABLE room_affiliation ADD COLUMN unread INTEGER NOT NULL DEFAULT 0;"
      "ALTER TABLE room_affiliation ADD COLUMN upto INTEGER NOT NULL DEFAULT 0;",
      "ALTER TABLE room_affiliation ADD COLUMN unread BIGINT NOT NULL DEFAULT 0;"
      "ALTER TABLE room_affiliation ADD COLUMN upto BIGINT NOT NULL DEFAULT 0;" },
    /* whether only displayed markers count as seen */
    { 3, "ALTER TABLE room_affiliation ADD COLUMN marks INTEGER NOT NULL DEFAULT 0;",
      "ALTER TABLE room_affiliation ADD COLUMN marks BIGINT NOT NULL DEFAULT 0;" },
    { 0 }
};

static struct store_stmt room_put = {
    .name = "room.put",
    .sql = "INSERT INTO room(id, jid, domain, name, listed, secret, config, subject, creator,"
           " created_us) SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10"
           " WHERE (SELECT count(*) FROM room WHERE id <> $1) < $11"
           " ON CONFLICT(id) DO UPDATE SET config = excluded.config",
    .params = "itttibtttii",
    .cols = "",
};
static struct store_stmt room_config_put = {
    .name = "room.config",
    .sql = "UPDATE room SET name = $2, listed = $3, config = $4 WHERE id = $1",
    .params = "itit",
    .cols = "",
};
struct store_stmt room_subject_put = {
    .name = "room.subject",
    .sql = "UPDATE room SET subject = $2 WHERE id = $1",
    .params = "it",
    .cols = "",
};
static struct store_stmt room_delete = {
    .name = "room.delete",
    .sql = "DELETE FROM room WHERE id = $1",
    .params = "i",
    .cols = "",
};
static struct store_stmt room_get_row = {
    .name = "room.get",
    .sql = "SELECT id, secret, config, subject, creator, created_us FROM room WHERE jid = $1",
    .params = "t",
    .cols = "ibttti",
};
static struct store_stmt affiliations_get = {
    .name = "room.affiliations",
    .sql = "SELECT a.jid, a.affiliation, a.nick, a.reason, a.follows FROM room r "
           "JOIN room_affiliation a ON a.room = r.id WHERE r.jid = $1",
    .params = "t",
    .cols = "titti",
};
static struct store_stmt affiliation_put = {
    .name = "room.affiliation",
    .sql = "INSERT INTO room_affiliation(room, jid, affiliation, nick, reason, follows)"
           " VALUES($1, $2, $3, $4, $5, $6) ON CONFLICT(room, jid) DO UPDATE SET"
           " affiliation = excluded.affiliation, nick = excluded.nick, reason = excluded.reason,"
           " follows = excluded.follows",
    .params = "ititti",
    .cols = "",
};
static struct store_stmt affiliation_delete = {
    .name = "room.affiliation-delete",
    .sql = "DELETE FROM room_affiliation WHERE room = $1 AND jid = $2",
    .params = "it",
    .cols = "",
};
static struct store_stmt affiliations_delete = {
    .name = "room.affiliations-delete",
    .sql = "DELETE FROM room_affiliation WHERE room = $1",
    .params = "i",
    .cols = "",
};
static struct store_stmt rooms_listed = {
    .name = "room.listed",
    .sql = "SELECT jid, name FROM room WHERE domain = $1 AND listed = 1 ORDER BY jid LIMIT $2",
    .params = "ti",
    .cols = "tt",
};
static struct store_stmt room_count = {
    .name = "room.count",
    .sql = "SELECT count(*) FROM room WHERE created_us < $1",
    .params = "i",
    .cols = "i",
};
static struct store_stmt room_affiliations_above = {
    .name = "room.affiliations-above",
    .sql = "SELECT count(*) FROM (SELECT room FROM room_affiliation GROUP BY room HAVING count(*) "
           "> $1) v",
    .params = "i",
    .cols = "i",
};
static struct store_stmt room_creators_above = {
    .name = "room.creators-above",
    .sql = "SELECT count(*) FROM (SELECT creator FROM room WHERE creator <> '' GROUP BY creator "
           "HAVING count(*) > $1) v",
    .params = "i",
    .cols = "i",
};
const struct setting_impact muc_affiliations_above = { .stmt = &room_affiliations_above,
                                                       .what = "rooms with more" };
const struct setting_impact muc_creators_above = { .stmt = &room_creators_above,
                                                   .what = "users who made more persistent rooms" };
static struct store_stmt *const stmts[] = { &room_put,
                                            &room_affiliations_above,
                                            &room_creators_above,
                                            &room_config_put,
                                            &room_subject_put,
                                            &room_delete,
                                            &room_get_row,
                                            &affiliations_get,
                                            &affiliation_put,
                                            &affiliation_delete,
                                            &affiliations_delete,
                                            &rooms_listed,
                                            &room_count,
                                            &room_makers,
                                            NULL };

static const struct store_address addresses[] = {
    { "room", "config", .kind = STORE_SEALED, .beside = "jid", .context = "?",
      .reseal = room_config_reseal },
    { "room", "jid", .kind = STORE_JID, .there = true },
    { "room", "domain", .kind = STORE_JID, .below = true },
    { "room", "subject", .kind = STORE_MARK, .not_alone = true,
      .mark = "'<stanza-id xmlns=''urn:xmpp:sid:0'' by='''" },
    { "room", "subject", .kind = STORE_MARK, .not_alone = true,
      .mark = "'<delay xmlns=''urn:xmpp:delay'' from='''" },
    { "room", "subject", .kind = STORE_START_TAG },
    { "room", "creator", .kind = STORE_JID },
    { "room_affiliation", "jid", .kind = STORE_JID, .beside = "room" },
    { 0 },
};
const struct store_schema room_schema = {
    .feature = "room", .migrations = migrations, .stmts = stmts, .addresses = addresses
};

/* Rooms of all kinds on this node: stored ones, and those in memory only. */
static _Atomic int64_t rooms;

static void count_rooms(int64_t by)
{
    atomic_fetch_add_explicit(&rooms, by, memory_order_relaxed);
    metric_add(&rooms_metric, by);
}

bool rooms_reserve(slice creator, struct why *why)
{
    int64_t max = setting_int(&muc_rooms_max);
    if (atomic_fetch_add_explicit(&rooms, 1, memory_order_relaxed) < max) {
        metric_add(&rooms_metric, 1);
        room_makers_count(creator, 1);
        return true;
    }
    atomic_fetch_sub_explicit(&rooms, 1, memory_order_relaxed);
    why_set(why, "there are %lld rooms, and muc.rooms-max allows no more", (long long)max);
    return false;
}

void rooms_release(slice creator)
{
    count_rooms(-1);
    room_makers_count(creator, -1);
}

static void muc_store_counted(void *arg, enum store_result result, const struct store_batch *b)
{
    (void)arg;
    if (result == STORE_OK && store_row_count(b, 0) == 1) {
        count_rooms(store_int(b, 0, 0, 0));
        metric_add(&rooms_persistent_metric, store_int(b, 0, 0, 0));
        for (uint32_t i = 0; i < store_row_count(b, 1); i++)
            room_makers_count(store_text(b, 1, i, 0), store_int(b, 1, i, 1));
    }
}

void rooms_count_stored(struct worker *w)
{
    struct store_batch *b = store_read(worker_store(w), 0);
    /* those that are made from now on count themselves */
    STORE_ADD(b, &room_count, STORE_ANY_ROWS, SV_I(worker_node(w)->start_wall_us));
    STORE_ADD(b, &room_makers, STORE_ANY_ROWS, SV_I(worker_node(w)->start_wall_us));
    store_submit(b, worker_loop(w), 0, muc_store_counted, NULL);
}

/* Loading. The rows may be damaged: what makes no sense is left out. */

static void muc_store_load_affiliations(struct room *r, const struct store_batch *b)
{
    struct arena *tmp = room_scratch(r);
    for (uint32_t i = 0; i < store_row_count(b, 1); i++) {
        int64_t affiliation = store_int(b, 1, i, 1);
        struct jid jid;
        if (affiliation < AFF_OUTCAST || affiliation > AFF_OWNER || affiliation == AFF_NONE ||
            jid_parse(&jid, store_text(b, 1, i, 0), tmp) != OK)
            continue;
        affiliate_put(r, &(struct affiliation_edit){ .jid = jid_bare(&jid),
                                                     .affiliation = (enum affiliation)affiliation,
                                                     .nick = store_text(b, 1, i, 2),
                                                     .reason = store_text(b, 1, i, 3),
                                                     .follows = store_int(b, 1, i, 4) != 0 });
    }
}

static void muc_store_load_row(struct room *r, const struct store_batch *b)
{
    struct arena *tmp = room_scratch(r);
    slice secret = store_text(b, 0, 0, 1), subject = store_text(b, 0, 0, 3),
          creator = store_text(b, 0, 0, 4);
    r->id = store_int(b, 0, 0, 0);
    r->stored = true;
    if (secret.len == sizeof r->secret)
        memcpy(r->secret, secret.ptr, sizeof r->secret);
    struct room_config config;
    room_config_unseal(&config, store_text(b, 0, 0, 2), r->jid, tmp);
    room_config_keep(&r->config, &config);
    if (subject.len > 0 && stanza_load(&r->subject, subject, worker_xml(r->worker), tmp) != OK)
        r->subject = NULL;
    r->creator = slice_keep(creator);
    r->created_us = (uint64_t)store_int(b, 0, 0, 5);
    muc_store_load_affiliations(r, b);
    room_makers_weigh(r);
    room_archive_init(&r->archive, r->worker, r->id, r->jid);
    room_history_init(&r->history);
}

void room_read_begin(struct room *r) { r->reads++; }

void room_read_end(struct room *r)
{
    ensure(r->reads > 0 && r->state == ACTOR_LOADING);
    if (--r->reads == 0)
        actor_loaded(&r->actor, OK);
}

static void history_loaded(struct room_archive *a, enum err e, void *arg)
{
    struct room *r = arg;
    (void)a;
    if (e != OK) { /* it is read as a whole when somebody asks again */
        r->reads = 0;
        room_clear(r);
        actor_loaded(&r->actor, E_DOWN);
        return;
    }
    room_makers_weigh_history(r);
    ROOM_EMIT(catch_up, r);
    room_read_end(r);
}

/* The reads by which a room is loaded: where those of the parts begin. */
struct room_reads {
    struct room *room;
    unsigned first[READERS_MAX];
};

static void muc_store_loaded(void *arg, enum store_result result, const struct store_batch *b)
{
    struct room_reads *reads = arg;
    struct room *r = reads->room;
    unsigned n = 0;
    if (result != STORE_OK) {
        actor_loaded(&r->actor, E_DOWN);
    } else if (store_row_count(b, 0) != 1) {
        actor_loaded(&r->actor, E_NOTFOUND);
    } else {
        muc_store_load_row(r, b);
        PARTS_EACH (p, loaded)
            p->loaded(r, b, reads->first[n++]);
        room_read_begin(r);
        room_history_load(&r->history, &r->archive, &r->recents, room_history_max(&r->config),
                          history_loaded, r);
    }
    mem_free(&reads);
}

void room_load(struct room *r)
{
    ensure(r->state == ACTOR_LOADING && r->reads == 0);
    struct store_batch *b = store_read(room_store(r), 0);
    store_read_turn(b, hash_keyed(r->jid));
    struct room_reads *reads = mem_new(struct room_reads);
    unsigned n = 0;
    reads->room = r;
    STORE_ADD(b, &room_get_row, STORE_ANY_ROWS, SV_T(r->jid));
    STORE_ADD(b, &affiliations_get, STORE_ANY_ROWS, SV_T(r->jid));
    PARTS_EACH (p, load) {
        ensure(n < READERS_MAX);
        reads->first[n++] = store_stmt_count(b);
        p->load(b, r->jid);
    }
    store_submit(b, room_loop(r), 0, muc_store_loaded, reads);
}

static slice text_or_empty(slice s) { return s.ptr == NULL ? SLICE("") : s; }

void room_store_edit(struct store_batch *b, const struct room *r, const struct affiliation_edit *e)
{
    const struct affiliation_edit whole = room_edit_whole(r, e);
    if (e->affiliation == AFF_NONE)
        STORE_ADD(b, &affiliation_delete, STORE_ANY_ROWS, SV_I(r->id), SV_T(e->jid));
    else
        STORE_ADD(b, &affiliation_put, 1, SV_I(r->id), SV_T(e->jid), SV_I(e->affiliation),
                  SV_T(text_or_empty(whole.nick)), SV_T(text_or_empty(whole.reason)),
                  SV_I(e->follows && e->affiliation >= AFF_MEMBER));
}

void room_store_config(struct store_batch *b, const struct room *r, const struct room_config *c)
{
    struct buf text;
    buf_init(&text, ROOM_STORED_MAX);
    room_config_seal(&text, c, r->jid, room_scratch(r));
    STORE_ADD(b, &room_config_put, 1, SV_I(r->id), SV_T(text_or_empty(c->text[ROOM_NAME])),
              SV_I(c->listed), SV_T(buf_fit(&text)));
    buf_fini(&text);
}

void room_store_all(struct store_batch *b, const struct room *r, const struct room_config *c)
{
    slice secret = { (const char *)r->secret, sizeof r->secret };
    struct buf text;
    buf_init(&text, ROOM_STORED_MAX);
    struct buf subject;
    buf_init(&subject, SUBJECT_BYTES_MAX);
    room_config_seal(&text, c, r->jid, room_scratch(r));
    if (r->subject != NULL)
        stanza_store(&subject, r->subject);
    STORE_ADD(b, &room_put, 1, SV_I(r->id), SV_T(r->jid), SV_T(jid_split(r->jid).domain),
              SV_T(text_or_empty(c->text[ROOM_NAME])), SV_I(c->listed), SV_B(secret),
              SV_T(buf_fit(&text)), SV_T(text_or_empty(buf_fit(&subject))), SV_T(r->creator),
              SV_I(r->created_us), SV_I(setting_int(&muc_persistent_max)));
    const struct affiliate *a;
    for (uint32_t i = 0; (a = map_next(&r->affiliates, &i)) != NULL;) {
        const struct affiliation_edit edit = room_edit(r, a->jid, (enum affiliation)a->affiliation);
        room_store_edit(b, r, &edit);
    }
    ROOM_EMIT(store, b, r);
    buf_fini(&subject);
    buf_fini(&text);
}

void room_store_remove(struct store_batch *b, const struct room *r)
{
    STORE_ADD(b, &room_delete, STORE_ANY_ROWS, SV_I(r->id));
    STORE_ADD(b, &affiliations_delete, STORE_ANY_ROWS, SV_I(r->id));
    room_archive_doom(b, &r->archive);
    ROOM_EMIT(remove, b, r);
}

static void muc_store_written(void *arg, enum store_result result, const struct store_batch *b)
{
    (void)result;
    (void)b;
    room_unpin(arg);
}

void room_store_beside(struct room *r)
{
    if (!r->beside)
        return;
    room_pin(r);
    room_subject_store(r);
    struct store_batch *b = store_write(room_store(r), (uint64_t)r->id);
    PARTS_EACH (p, store) {
        p->remove(b, r);
        p->store(b, r);
    }
    store_submit(b, room_loop(r), 0, muc_store_written, r);
}

void rooms_read_listed(struct worker *w, slice domain, int64_t max, store_done_fn *done, void *arg)
{
    struct store_batch *b = store_read(worker_store(w), 0);
    STORE_ADD(b, &rooms_listed, STORE_ANY_ROWS, SV_T(domain), SV_I(max));
    store_submit(b, worker_loop(w), 0, done, arg);
}
