/* follow: followers are members who registered for the messages that are sent while they are not in
 * the room (XEP-0045 §7.10, docs/rooms.md). They get these on all their sessions, with the number
 * of messages that they have not seen, and their devices that are away are told. Followers are
 * accounts of this server only.
 *
 * While a follower is in the room, their home gets each message beside those of the audience
 * (FAN_ROOM_HERE). If one of the sessions in the room is connected, it has the message, and devices
 * whose session hibernates are told. If all of them hibernate (XEP-0198), nobody reads there: the
 * home gives the message back to the room, which counts it and sends it as to a follower who is not
 * in the room. So the room need not know which sessions hibernate. A session that was resumed and
 * acknowledged what had waited has seen all: its home tells the room.
 *
 * Messages count as read for a follower in the room, until the follower's client sends a marker
 * (XEP-0333); from then on only markers count. Followers have seen their own messages, and all
 * before these.
 *
 * The numbers are stored when a follower leaves, and when the room is unloaded or the node stops.
 * Limits: as many followers as affiliations; UNREAD_MAX; ROOMS_MAX rooms in an answer. */
#include "account/account.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "base/mem.h"
#include "base/metric.h"
#include "codec/xml_elem.h"
#include "codec/xml_write.h"
#include "core/audience.h"
#include "core/feature.h"
#include "home/fan.h"
#include "home/here.h"
#include "home/jids.h"
#include "home/question.h"
#include "muc/archive/history.h"
#include "muc/muc.h"
#include "muc/parts.h"
#include "muc/people/affiliation.h"
#include "muc/room/part.h"
#include "muc/room/room.h"
#include "muc/room/rooms.h"
#include "muc/state/store.h"
#include "session/session.h"
#include "store/store.h"
#include "talk/iq.h"
#include "talk/message.h"
#include "xmpp/archive_id.h"
#include "xmpp/form.h"
#include "xmpp/ns.h"
#include <stdlib.h>

enum {
    ROOMS_MAX = 2000,
    UNREAD_MAX = 1000000, /* messages that are counted for one follower */
    ROWS_MAX = 1000,      /* of one write */
    BEYOND_MAX = 1000,    /* messages that are counted after a crash */
    ROOM_ITEM_BYTES = 8 * JID_MAX,
    ANSWER_BYTES_MAX = 1 << 20
};

/* Data of an affiliate who follows; zero: of the others. */
struct follower {
    uint64_t upto;   /* unread was stored when this was the last archive id; 0: not yet */
    uint32_t unread; /* messages since the last that was seen */
    bool marks;      /* is here, and tells what was read */
    bool changed;    /* not stored as it is */
};
static unsigned follower_at;

static struct follower *follower_of(struct affiliate *a)
{
    ensure(a->follows);
    return affiliate_memory(a, follower_at);
}

/* Walks the affiliations of the room once more: 0.9 ms for 10,000, on a thread of the store. An
 * index that spared this would have to be kept up with each number that is stored. */
static struct store_stmt unread_stmt = {
    .name = "room.unread-get",
    .sql = "SELECT a.jid, a.unread, a.upto, a.marks FROM room r JOIN room_affiliation a"
           " ON a.room = r.id WHERE r.jid = $1 AND a.follows = 1",
    .params = "t",
    .cols = "tiii",
};
static struct store_stmt unread_put_stmt = {
    .name = "room.unread",
    .sql = "UPDATE room_affiliation SET unread = $3, upto = $4, marks = $5"
           " WHERE room = $1 AND jid = $2",
    .params = "itiii",
    .cols = "",
};
static struct store_stmt unread_list_stmt = {
    .name = "room.unread-list",
    .sql = "SELECT r.jid, a.unread FROM room_affiliation a JOIN room r ON r.id = a.room WHERE"
           " a.jid = $1 AND a.follows = 1 ORDER BY r.jid LIMIT $2",
    .params = "ti",
    .cols = "ti",
};

static struct store_stmt ids_beyond_stmt = {
    .name = "room.ids-beyond",
    .sql = "SELECT id FROM entry WHERE owner = $1 AND id > $2 AND flags < 2 ORDER BY id LIMIT $3",
    .params = "iii",
    .cols = "i",
};

static const struct store_migration migrations[] = { { 0 } };
static const struct store_schema schema = {
    .feature = "muc_follow",
    .migrations = migrations,
    .stmts = (struct store_stmt *const[]){ &unread_stmt, &unread_put_stmt, &unread_list_stmt,
                                           &ids_beyond_stmt, NULL },
};

static struct metric told = {
    .name = "muster_room_messages_to_absent",
    .kind = METRIC_COUNTER,
    .help = "Messages of rooms sent to members who follow the room and were not connected to it."
};

/* Something new to read: what corrects or retracts has a text as well, for clients that know no
 * better (XEP-0308, XEP-0424). */
static bool has_text(const struct stanza *st)
{
    struct elem e;
    return stanza_has(st, KNOWN(BODY) | KNOWN(ENCRYPTED)) &&
           !(stanza_has(st, KNOWN(PAYLOAD)) && (stanza_find(st, "replace", NS_CORRECT, &e) ||
                                                stanza_find(st, "retract", NS_RETRACT, &e)));
}

/* Storing. */

static void follow_put(struct store_batch *b, const struct room *r, struct affiliate *a)
{
    struct follower *f = follower_of(a);
    ensure(r->stored);
    f->upto = r->archive.last_id > 0 ? r->archive.last_id : 1;
    f->changed = false;
    STORE_ADD(b, &unread_put_stmt, STORE_ANY_ROWS, SV_I(r->id), SV_T(a->jid), SV_I(f->unread),
              SV_I(f->upto), SV_I(f->marks));
}

static void store_one(struct room *r, struct affiliate *a)
{
    if (!r->stored || !follower_of(a)->changed)
        return;
    struct store_batch *b = store_write(room_store(r), (uint64_t)r->id);
    follow_put(b, r, a);
    store_submit(b, room_loop(r), 0, NULL, NULL);
}

static void followers_store(struct room *r)
{
    struct store_batch *b = NULL;
    struct affiliate *a;
    unsigned rows = 0;
    if (r->state != ACTOR_READY || !r->stored)
        return;
    for (uint32_t i = 0; (a = map_next(&r->followers, &i)) != NULL;) {
        if (!follower_of(a)->changed)
            continue;
        if (b == NULL)
            b = store_write(room_store(r), (uint64_t)r->id);
        follow_put(b, r, a);
        if (++rows % ROWS_MAX != 0)
            continue;
        store_submit(b, room_loop(r), 0, NULL, NULL);
        b = NULL;
    }
    if (b != NULL)
        store_submit(b, room_loop(r), 0, NULL, NULL);
}

static void follow_store_room(struct room *r, void *arg)
{
    (void)arg;
    followers_store(r);
}

/* From there on a crash is made up for. */
static void follower_begins(struct room *r, struct affiliate *a)
{
    if (a == NULL || follower_of(a)->upto != 0)
        return;
    follower_of(a)->changed = true;
    store_one(r, a);
}

static void follow_configured(struct room *r, const struct room_configured *c)
{
    struct affiliate *a;
    for (uint32_t i = 0; !c->was_stored && r->stored && (a = map_next(&r->followers, &i)) != NULL;)
        follower_begins(r, a);
}

static void follow_affiliated(struct room *r, const struct room_affiliated *a)
{
    struct affiliate *is = room_affiliate(r, a->jid);
    if (is != NULL && !is->follows)
        *(struct follower *)affiliate_memory(is, follower_at) = (struct follower){ 0 };
    else
        follower_begins(r, is);
}

static void follow_worker_stop(struct worker *w) { rooms_each(w, follow_store_room, NULL); }

/* Loading. What makes no sense counts as nothing. What the archive has beyond what was stored was
 * said before a crash. */

static void follow_load(struct store_batch *b, slice room)
{
    STORE_ADD(b, &unread_stmt, STORE_ANY_ROWS, SV_T(room));
}

static void follow_read(struct room *r, const struct store_batch *b, unsigned first)
{
    for (uint32_t i = 0; i < store_row_count(b, first); i++) {
        int64_t unread = store_int(b, first, i, 1), upto = store_int(b, first, i, 2);
        struct affiliate *a = map_get(&r->followers, store_text(b, first, i, 0));
        if (a != NULL)
            *follower_of(a) = (struct follower){
                .unread = unread < 0 || unread > UNREAD_MAX ? 0 : (uint32_t)unread,
                .upto = upto < 0 ? 0 : (uint64_t)upto,
                .marks = store_int(b, first, i, 3) != 0,
            };
    }
}

static bool is_behind(const struct room *r, const struct follower *f)
{
    return f->upto != 0 && f->upto < r->archive.last_id;
}

static void count_beyond(void *arg, enum store_result result, const struct store_batch *b)
{
    struct room *r = arg;
    struct affiliate *a;
    uint32_t rows = result == STORE_OK ? store_row_count(b, 0) : 0;
    ensure(room_here(r) && r->reads > 0);
    for (uint32_t i = 0; (a = map_next(&r->followers, &i)) != NULL;) {
        struct follower *f = follower_of(a);
        if (!is_behind(r, f))
            continue;
        uint32_t first = 0;
        while (first < rows && (uint64_t)store_int(b, 0, first, 0) <= f->upto)
            first++;
        f->unread += rows - first;
        f->changed = true;
    }
    room_read_end(r);
}

static void follow_catch_up(struct room *r)
{
    struct affiliate *a;
    uint64_t first = UINT64_MAX;
    for (uint32_t i = 0; (a = map_next(&r->followers, &i)) != NULL;) {
        const struct follower *f = follower_of(a);
        if (is_behind(r, f) && f->upto < first)
            first = f->upto;
    }
    if (first == UINT64_MAX)
        return;
    room_read_begin(r);
    struct store_batch *b = store_read(room_store(r), (uint64_t)r->id);
    store_read_late(b, r->id);
    STORE_ADD(b, &ids_beyond_stmt, STORE_ANY_ROWS, SV_I(r->id), SV_I(first), SV_I(BEYOND_MAX));
    store_submit(b, room_loop(r), 0, count_beyond, r);
}

/* Who is here, and what has been seen. */

static void saw_all(struct follower *f)
{
    f->changed = true;
    f->unread = 0;
}

/* After a planned restart the follower has seen no more than before. */
static void follow_seated(struct room *r, struct seat *s, bool back)
{
    struct affiliate *a = map_get(&r->followers, seat_bare(s));
    if (a == NULL || back)
        return;
    saw_all(follower_of(a));
    follower_of(a)->marks = false;
}

static void follow_leaves(struct room *r, const struct seat *s, bool ends)
{
    struct affiliate *a = map_get(&r->followers, seat_bare(s));
    (void)ends;
    if (a != NULL && a->here == 0)
        store_one(r, a);
}

/* XEP-0333 §4: the marked message and all before it were displayed. One that the room cannot place
 * is the last. */
static bool marked(struct room *r, slice bare, const struct stanza *st)
{
    struct affiliate *a = map_get(&r->followers, bare);
    struct elem e;
    uint64_t id;
    if (a == NULL || !stanza_find(st, "displayed", NS_CHAT_MARKERS, &e))
        return false;
    bool placed = archive_id_read(elem_attr_raw(&e, "id"), &id) && id < r->archive.last_id;
    struct follower *f = follower_of(a);
    saw_all(f);
    if (placed)
        f->unread = room_history_since(&r->history, id, bare);
    f->marks = a->here > 0;
    return true;
}

static bool follow_outside(struct room *r, const struct stanza *st)
{
    return marked(r, stanza_from_bare(st), st);
}

/* Messages. */

static void follow_said(struct room *r, const struct room_said *said)
{
    struct stanza *st = said->st;
    slice speaker = said->speaker;
    const uint64_t worth =
        KNOWN(BODY) | KNOWN(ENCRYPTED) | KNOWN(OOB) | KNOWN(SUBJECT) | KNOWN(PAYLOAD);
    struct affiliate *a;
    struct fan fan, here;
    if (!said->kept || r->followers.count == 0)
        return;
    bool text = has_text(st);
    (void)marked(r, speaker, st);
    fan_begin(&fan, r->worker, st, FAN_TAG(FAN_ROOM_MESSAGE));
    fan_begin(&here, r->worker, st, FAN_TAG(FAN_ROOM_HERE));
    for (uint32_t i = 0; (a = map_next(&r->followers, &i)) != NULL;) {
        struct follower *f = follower_of(a);
        f->changed = true;
        if (text && slice_eq(a->jid, speaker))
            f->unread = 0;
        else if (text && f->unread < UNREAD_MAX && (a->here == 0 || f->marks))
            f->unread++;
        if (!stanza_has(st, worth))
            continue;
        if (a->here == 0)
            fan_add_with(&fan, a->jid, f->unread);
        else if (!slice_eq(a->jid, speaker))
            fan_add(&here, a->jid);
    }
    fan_end(&fan);
    fan_end(&here);
}

/* At the home of a follower. */

static void follow_hear(struct account *a, struct stanza *st, uint32_t unread)
{
    struct buf out;
    struct xml_write x;
    xml_begin(&x, &out, XML_PART_MAX);
    xml_open(&x, "unread", NS_ROOMS);
    xml_attr_int(&x, "count", unread);
    xml_close(&x);
    struct stanza *own = stanza_append_to(st, a->jid, buf_fit(&out));
    buf_fini(&out);
    metric_add(&told, 1);
    message_pass(a, own, audience_has);
    stanza_unref(&own);
}

struct heard {
    struct stanza *st;
    uint32_t unread;
};

static void follow_loaded(struct account *a, enum err e, void *arg)
{
    struct heard *h = arg;
    if (e == OK)
        follow_hear(a, h->st, h->unread);
    stanza_unref(&h->st);
    mem_free(&h);
}

/* Accounts without sessions are loaded, too: they may have devices to notify. */
static void follow_arrived(struct worker *w, slice bare, uint32_t number, struct stanza *st,
                           slice tag)
{
    (void)tag;
    struct account *a = account_find(w, bare);
    if (a != NULL) {
        follow_hear(a, st, number);
        return;
    }
    struct heard *h = mem_alloc(sizeof *h);
    *h = (struct heard){ stanza_ref(st), number };
    account_with(w, bare, follow_loaded, h);
}

/* A word of the home of a follower in the room to it. */
struct follower_word {
    slice room, bare;
    struct stanza *unseen; /* a message that no session in the room could read; NULL: all is seen */
};

static void unseen(struct room *r, struct affiliate *a, struct stanza *st)
{
    struct follower *f = follower_of(a);
    struct fan fan;
    ensure(room_here(r) && f->unread <= UNREAD_MAX);
    f->changed = true;
    if (has_text(st) && !f->marks && f->unread < UNREAD_MAX)
        f->unread++;
    fan_begin(&fan, r->worker, st, FAN_TAG(FAN_ROOM_MESSAGE));
    fan_add_with(&fan, a->jid, f->unread);
    fan_end(&fan);
}

static void follower_word_run(struct worker *w, void *message, const struct message_from *from)
{
    const struct follower_word *word = message;
    struct room *r = room_find(w, word->room);
    struct affiliate *a = r == NULL ? NULL : map_get(&r->followers, word->bare);
    (void)from;
    if (a == NULL)
        return;
    if (word->unseen != NULL)
        unseen(r, a, word->unseen);
    else if (!follower_of(a)->marks)
        saw_all(follower_of(a));
}

static bool follower_word_is_sound(struct worker *w, const void *message,
                                   const struct message_from *from)
{
    const struct follower_word *word = message;
    const struct stanza *st = word->unseen;
    (void)w, (void)from;
    return st == NULL || (st->kind == STANZA_MESSAGE && slice_eq(stanza_from_bare(st), word->room));
}

static unsigned follower_word_slot(const void *message)
{
    return node_slot(((const struct follower_word *)message)->room);
}

static const struct message_field follower_word_fields[] = {
    F_BARE(struct follower_word, room),
    F_BARE(struct follower_word, bare),
    F_STANZA_OR_NONE(struct follower_word, unseen),
    { 0 },
};
static const struct message_row follower_word_message = {
    .id = 87,
    .scope = MESSAGE_CLUSTER,
    .name = "follower-word",
    .size = sizeof(struct follower_word),
    .fields = follower_word_fields,
    .run = follower_word_run,
    .sound = follower_word_is_sound,
    .slot = follower_word_slot,
};

/* A session that hibernates, or did, while rooms count messages in its queue as unread. */
struct sleeper {
    bool resumed;
    uint32_t upto; /* resumed: outbound count of the last one */
};
static unsigned sleeper_slot;

static struct sleeper *sleeper_of(const struct session *s) { return s->state_of[sleeper_slot]; }

static void sleeper_begin(struct session *s)
{
    ensure(session_here(s));
    if (sleeper_of(s) == NULL)
        s->state_of[sleeper_slot] = mem_new(struct sleeper);
}

static void sleeper_end(struct session *s)
{
    struct sleeper *sleeper = sleeper_of(s);
    mem_free(&sleeper);
    s->state_of[sleeper_slot] = NULL;
    s->awaited = false;
}

static void sleeper_saw(const struct session *s, slice room)
{
    home_send(s->account->worker, room, &follower_word_message,
              &(struct follower_word){ .room = room, .bare = session_bare(s) });
}

static void follow_took(struct session *s)
{
    struct sleeper *sleeper = sleeper_of(s);
    ensure(session_here(s));
    if (sleeper == NULL || s->state != SESSION_ATTACHED)
        return;
    if (!sleeper->resumed) /* all that waited is in the queue, with its final numbers */
        *sleeper = (struct sleeper){ .resumed = true, .upto = s->out_count };
    s->awaited = true;
    if ((int32_t)(s->out_acked - sleeper->upto) < 0)
        return;
    audience_rooms_each(s, sleeper_saw);
    sleeper_end(s);
}

/* Perhaps again, before the client had all. */
static void follow_hibernates(struct session *s)
{
    ensure(s->state == SESSION_HIBERNATING);
    if (sleeper_of(s) != NULL)
        *sleeper_of(s) = (struct sleeper){ 0 };
    s->awaited = false;
}

static void follow_session_save(const struct session *s, struct buf *out)
{
    if (sleeper_of(s) != NULL)
        buf_lit(out, "unseen");
}

static void follow_session_restore(struct session *s, slice saved)
{
    if (!slice_is(saved, "unseen"))
        return;
    sleeper_begin(s);
    s->awaited = true; /* its stream may still carry it */
}

/* Where the account has no sessions, the room is about to hear that they ended. */
static void follow_here_arrived(struct worker *w, slice bare, uint32_t number, struct stanza *st,
                                slice tag)
{
    struct account *a = account_find(w, bare);
    slice room = stanza_from_bare(st);
    (void)number, (void)tag;
    if (a != NULL && audience_reads(a, room)) {
        if (!has_text(st))
            return;
        struct stanza *own = stanza_readdress(st, (slice){ 0 }, a->jid);
        message_alert_dormant(a, own);
        stanza_unref(&own);
        return;
    }
    if (a != NULL) {
        SESSIONS_EACH (s, a) {
            if (audience_has(s, room))
                sleeper_begin(s);
        }
    }
    home_send(w, room, &follower_word_message,
              &(struct follower_word){ room, bare, stanza_ref(st) });
}

/* All rooms of one who asks (docs/rooms.md): stored ones, and where they are in memory, what they
 * know there. */

struct room_count {
    slice jid;
    uint32_t unread;
};

struct asked {
    struct iq *iq; /* held; the rest is in its arena */
    slice bare;
    struct room_count *room;
    uint32_t count;
};

struct unread_asked {
    slice bare, rooms; /* with their places in the list (home/jids.h) */
};

struct unread_told {
    uint32_t place, unread;
};
static const struct message_field unread_told_fields[] = {
    F_U32(struct unread_told, place, ROOMS_MAX - 1),
    F_U32(struct unread_told, unread, UINT32_MAX),
    { 0 },
};
static const struct message_row unread_told_message = {
    .id = 81,
    .scope = MESSAGE_CLUSTER,
    .name = "unread-told",
    .size = sizeof(struct unread_told),
    .fields = unread_told_fields,
};

static void unread_asked_run(struct worker *w, void *message, const struct message_from *from)
{
    struct unread_asked *q = message;
    struct unread_told known;
    slice jid;
    while (jids_next(&q->rooms, &jid, &known.place)) {
        const struct room *r = room_find(w, jid);
        struct affiliate *a = r == NULL ? NULL : map_get(&r->followers, q->bare);
        known.unread = a == NULL ? 0 : follower_of(a)->unread;
        if (r != NULL)
            question_answer(w, from, &unread_told_message, &known);
    }
}

static const struct message_field unread_asked_fields[] = {
    F_BARE(struct unread_asked, bare),
    F_JIDS(struct unread_asked, rooms),
    { 0 },
};
static const struct message_row unread_asked_message = {
    .id = 80,
    .scope = MESSAGE_CLUSTER,
    .name = "unread-asked",
    .size = sizeof(struct unread_asked),
    .fields = unread_asked_fields,
    .run = unread_asked_run,
    .answer = &unread_told_message,
};

static void unread_heard(struct worker *w, void *arg, void *answer, const struct message_from *from)
{
    const struct unread_told *known = answer;
    struct asked *q = arg;
    (void)w, (void)from;
    if (known->place < q->count)
        q->room[known->place].unread = known->unread;
}

static void follow_answer(struct worker *w, void *arg)
{
    struct asked *q = arg;
    struct buf out;
    struct xml_write x;
    (void)w;
    xml_begin(&x, &out, XML_STANZA_MAX);
    xml_open(&x, "rooms", NS_ROOMS);
    for (uint32_t i = 0; i < q->count; i++) {
        if (q->room[i].unread == 0 || out.len + ROOM_ITEM_BYTES > ANSWER_BYTES_MAX)
            continue;
        xml_open_with(&x, "room", NULL, "jid", q->room[i].jid);
        xml_attr_int(&x, "unread", q->room[i].unread);
        xml_close(&x);
    }
    iq_result_xml(q->iq, &x);
}

/* Rooms in memory know better than the rows. */
static void ask_rooms(struct asked *q)
{
    struct buf rooms;
    buf_init(&rooms, SIZE_MAX / 8);
    for (uint32_t i = 0; i < q->count; i++)
        jids_add(&rooms, q->room[i].jid, i);
    each_home(q->iq->worker, &unread_asked_message,
              &(struct unread_asked){ q->bare, buf_fit(&rooms) },
              &(struct asker){ .gather = unread_heard, .done = follow_answer, .arg = q });
    buf_fini(&rooms);
}

static void follow_listed(void *arg, enum store_result result, const struct store_batch *b)
{
    struct asked *q = arg;
    struct iq *iq = q->iq;
    if (result != STORE_OK) {
        iq_error(iq, SE_RESOURCE_CONSTRAINT, SLICE("the database is away"));
        return;
    }
    q->count = store_row_count(b, 0);
    q->room = arena_new(iq->tmp, struct room_count, q->count + 1);
    for (uint32_t i = 0; i < q->count; i++)
        q->room[i] = (struct room_count){ slice_dup(iq->tmp, store_text(b, 0, i, 0)),
                                          (uint32_t)store_int(b, 0, i, 1) };
    ask_rooms(q);
}

static void follow_rooms_get(struct iq *iq)
{
    struct iq *held = iq_hold(iq);
    struct asked *q = arena_new(held->tmp, struct asked, 1);
    *q = (struct asked){ .iq = held, .bare = slice_dup(held->tmp, stanza_from_bare(held->st)) };
    struct store_batch *b = store_read(worker_store(held->worker), 0);
    store_read_turn(b, hash_keyed(q->bare));
    STORE_ADD(b, &unread_list_stmt, STORE_ANY_ROWS, SV_T(q->bare), SV_I(ROOMS_MAX));
    store_submit(b, worker_loop(held->worker), 0, follow_listed, q);
}

const struct feature muc_follow_feature = {
    .name = "muc_follow",
    .parts = PART_ROOM,
    .schema = &schema,
    .metrics = (struct metric *const[]){ &told, NULL },
    .fans = (const struct fan_tag[]){ { FAN_ROOM_HERE, follow_here_arrived },
                                      { FAN_ROOM_MESSAGE, follow_arrived },
                                      { 0 } },
    .session = { .slot = &sleeper_slot,
                 .hibernates = follow_hibernates,
                 .resumed = follow_took,
                 .took = follow_took,
                 .freed = sleeper_end,
                 .save = follow_session_save,
                 .restore = follow_session_restore },
    .worker.stop = follow_worker_stop,
    .messages = (const struct message_row *const[]){ &unread_asked_message, &unread_told_message,
                                                     &follower_word_message, NULL },
};

/* In the registration form; the name of the field is the one that clients know from servers which
 * had it first. */
static const struct form_row follow_row = { "{http://tigase.org/protocol/muc}offline",
                                            FORM_BOOLEAN,
                                            "Send messages while I am not in the room",
                                            NULL,
                                            NULL,
                                            NULL,
                                            false };

const struct room_part follow_part = {
    .name = "follow",
    .disco = (const char *const[]){ "http://tigase.org/protocol/muc#offline", NULL },
    .in_affiliates = &(const struct affiliate_memory){ sizeof(struct follower), &follower_at },
    .load = follow_load,
    .loaded = follow_read,
    .catch_up = follow_catch_up,
    .unloading = followers_store,
    .configured = follow_configured,
    .affiliated = follow_affiliated,
    .seated = follow_seated,
    .leaves = follow_leaves,
    .said = follow_said,
    .outside = follow_outside,
    .rooms_get = follow_rooms_get,
    .follow_row = &follow_row,
};
