#include "core/audience.h"
#include "account/account.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "base/list.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/metric.h"
#include "core/feature.h"
#include "core/stage.h"
#include "home/frozen.h"
#include "home/here.h"
#include "home/message_wire.h"
#include "home/node.h"
#include "home/router.h"
#include "presence/presence.h"
#include "session/session_queue.h"
#include <assert.h>

static struct metric sends = {
    .name = "muster_audience_sends",
    .kind = METRIC_COUNTER,
    .help = "Stanzas that rooms sent to all who are in them, counted once for each worker.",
};
static struct metric deliveries = {
    .name = "muster_audience_deliveries",
    .kind = METRIC_COUNTER,
    .history = true,
    .help = "Stanzas of rooms given to sessions, one for each session.",
};

/* A session in a room, at the home of the session. */
struct member {
    struct crowd *crowd;
    struct session *session;
    struct list node; /* in what the slot of the session points to */
    uint32_t index;   /* in crowd.member */
    uint32_t seat;
    uint32_t room_node; /* 0: this one */
    uint8_t bits;
    uint16_t blob_len;
    char *blob; /* NULL: none */
    struct stanza *presence;
};

/* The sessions of one room that have their home here; there is at least one. */
struct crowd {
    slice name; /* in this block */
    struct member **member;
    uint32_t count, cap;
    char text[];
};

/* On each worker, from the first member on. */
struct crowds {
    struct map by_name;
};

static unsigned worker_slot, session_slot;

/* What the home of a room says to a worker. */
enum op {
    OP_ADD = 0,
    OP_SET = 1,
    OP_REMOVE = 2,
    OP_CLEAR = 3,
    OP_SEND = 4,
    OP_TELL = 5,
    OP_BACK = 6
};

struct word {
    uint8_t op; /* enum op */
    slice room;
    struct audience_member m;
    struct audience_whom whom;
    struct stanza *st;
    uint32_t node; /* that says it; 0: this one. Does not travel: the carrier knows it */
};

/* Lists of a worker. */

static slice crowd_key(const void *item) { return ((const struct crowd *)item)->name; }

static struct crowd *crowd_find(const struct worker *w, slice room)
{
    const struct crowds *c = *worker_state(w, worker_slot);
    return c == NULL ? NULL : map_get(&c->by_name, room);
}

static struct crowd *crowd_make(struct worker *w, slice room)
{
    struct crowds *c = *worker_state(w, worker_slot);
    if (c == NULL) {
        *worker_state(w, worker_slot) = c = mem_new(struct crowds);
        map_init(&c->by_name, crowd_key);
    }
    struct crowd *crowd = mem_zalloc(sizeof *crowd + room.len);
    memcpy(crowd->text, room.ptr, room.len);
    crowd->name = (slice){ crowd->text, room.len };
    map_put(&c->by_name, crowd);
    return crowd;
}

/* Walks the rooms of the session and the sessions of the room together, and stops at the end of the
 * shorter list: either may have thousands. */
static struct member *member_find(const struct crowd *crowd, const struct session *s)
{
    struct list *rooms = s->state_of[session_slot];
    uint32_t i = 0;
    ensure_debug(crowd == NULL || crowd->count > 0);
    if (rooms == NULL || crowd == NULL)
        return NULL;
    LIST_EACH (it, rooms) {
        struct member *m = CONTAINER_OF(it, struct member, node);
        if (m->crowd == crowd)
            return m;
        if (i == crowd->count)
            return NULL;
        if (crowd->member[i]->session == s)
            return crowd->member[i];
        i++;
    }
    return NULL;
}

static struct member *member_make(struct crowd *crowd, struct session *s)
{
    struct list *rooms = s->state_of[session_slot];
    struct member *m = mem_new(struct member);
    ensure(session_here(s) && crowd->count <= crowd->cap);
    if (rooms == NULL) {
        s->state_of[session_slot] = rooms = mem_new(struct list);
        list_init(rooms);
    }
    if (crowd->count == crowd->cap) {
        crowd->cap = crowd->cap == 0 ? 2 : crowd->cap * 2;
        crowd->member = mem_realloc(crowd->member, crowd->cap * sizeof(struct member *));
    }
    m->crowd = crowd;
    m->session = s;
    m->index = crowd->count;
    crowd->member[crowd->count++] = m;
    list_append(rooms, &m->node);
    return m;
}

static void member_put(struct member *m, const struct audience_member *from)
{
    m->seat = from->seat;
    m->bits = from->bits;
    if (from->blob.len > 0 && from->blob.len <= AUDIENCE_BLOB_MAX) {
        mem_free(&m->blob);
        m->blob = mem_alloc(from->blob.len);
        memcpy(m->blob, from->blob.ptr, from->blob.len);
        m->blob_len = (uint16_t)from->blob.len;
    }
    if (from->presence != NULL) {
        stanza_unref(&m->presence);
        m->presence = stanza_ref(from->presence);
    }
}

/* The last one takes the crowd with it. */
static void member_free(struct worker *w, struct member *m)
{
    struct crowd *crowd = m->crowd;
    struct crowds *c = *worker_state(w, worker_slot);
    struct list *rooms = m->session->state_of[session_slot];
    struct member *last = crowd->member[--crowd->count];
    crowd->member[m->index] = last;
    last->index = m->index;
    list_remove(&m->node);
    if (list_empty(rooms)) {
        m->session->state_of[session_slot] = NULL;
        mem_free(&rooms);
    }
    stanza_unref(&m->presence);
    mem_free(&m->blob);
    mem_free(&m);
    if (crowd->count > 0)
        return;
    map_del(&c->by_name, crowd->name);
    mem_free(&crowd->member);
    mem_free(&crowd);
}

/* Also while something waits for its account: what a room says does not wait behind that. */
static struct session *find_session(struct worker *w, slice jid)
{
    struct jid parts = jid_split(jid);
    struct account *a = account_find(w, jid_bare(&parts));
    return a == NULL || parts.resource.len == 0 ? NULL : account_session(a, parts.resource);
}

/* At the worker of the members. */

/* One that is not on the list is added, whatever the room believes: it may have moved here. One
 * that has ended meanwhile is not: its unavailable presence is on the way to the room. */
static void audience_put_word(struct worker *w, const struct word *word)
{
    struct session *s = find_session(w, word->m.jid);
    if (s == NULL)
        return;
    struct crowd *crowd = crowd_find(w, word->room);
    struct member *m = member_find(crowd, s);
    if (m == NULL)
        m = member_make(crowd != NULL ? crowd : crowd_make(w, word->room), s);
    member_put(m, &word->m);
    m->room_node = word->node;
}

static struct member *audience_named(struct worker *w, const struct word *word)
{
    const struct session *s = find_session(w, word->m.jid);
    return s == NULL ? NULL : member_find(crowd_find(w, word->room), s);
}

static void take_off(struct worker *w, const struct word *word)
{
    struct member *m = audience_named(w, word);
    if (m != NULL)
        member_free(w, m);
}

static void clear(struct worker *w, const struct word *word)
{
    struct crowd *crowd = crowd_find(w, word->room);
    for (uint32_t left = crowd == NULL ? 0 : crowd->count; left > 0; left--)
        member_free(w, crowd->member[0]);
}

static bool audience_give(struct session *s, struct stanza *st)
{
    ensure_debug(session_here(s));
    if (s->state == SESSION_ENDED || /* it hears nothing of how others learn of its end */
        stage_block(s->account, st, &(struct refusal){ 0 }) != PASS || !stage_takes(s, st))
        return false;
    session_deliver_to(s, st, session_jid(s));
    return true;
}

static bool is_meant(const struct member *m, const struct audience_whom *whom)
{
    return (m->bits & whom->mask) == whom->want && (whom->only == 0 || m->seat == whom->only) &&
           (whom->except == 0 || m->seat != whom->except);
}

static void send_here(struct worker *w, const struct word *word)
{
    const struct crowd *crowd = crowd_find(w, word->room);
    int64_t given = 0;
    for (uint32_t i = 0; crowd != NULL && i < crowd->count; i++)
        if (is_meant(crowd->member[i], &word->whom))
            given += audience_give(crowd->member[i]->session, word->st);
    metric_add(&sends, 1);
    metric_add(&deliveries, given);
}

static void tell_here(struct worker *w, const struct word *word)
{
    struct session *s = find_session(w, word->m.jid);
    if (s == NULL)
        return;
    if (word->st->kind == STANZA_PRESENCE)
        presence_answered(s, word->st);
    metric_add(&deliveries, audience_give(s, word->st));
}

static void come_back(struct worker *w, const struct word *word)
{
    EMIT_ONE(rooms, back, w, word->room, &word->m);
}

static void audience_hear(struct worker *w, const struct word *word)
{
    static void (*const hearing[])(struct worker * w, const struct word *word) = {
        [OP_ADD] = audience_put_word, [OP_SET] = audience_put_word, [OP_REMOVE] = take_off,
        [OP_CLEAR] = clear,           [OP_SEND] = send_here,        [OP_TELL] = tell_here,
        [OP_BACK] = come_back,
    };
    hearing[word->op](w, word);
}

/* Between workers. */

static void audience_run(struct worker *w, void *message, const struct message_from *from)
{
    struct word *word = message;
    word->node = from->node == worker_node(w)->id ? 0 : from->node;
    audience_hear(w, word);
}

/* A presence of the session that it names, to the room: the room answers to it. */
static bool back_is_sound(const struct word *word)
{
    const struct stanza *st = word->m.presence;
    return st != NULL && st->kind == STANZA_PRESENCE && st->type == TYPE_AVAILABLE &&
           slice_eq(stanza_from(st), word->m.jid) && slice_eq(stanza_to_bare(st), word->room);
}

/* Each word has what it is about. */
static bool audience_is_sound(struct worker *w, const void *message,
                              const struct message_from *from)
{
    const struct word *word = message;
    (void)w, (void)from;
    bool named = word->op != OP_CLEAR && word->op != OP_SEND;
    bool says = word->op == OP_SEND || word->op == OP_TELL;
    return (!named || word->m.jid.len > 0) && (!says || word->st != NULL) &&
           (word->op != OP_BACK || back_is_sound(word));
}

static const struct message_field audience_fields[] = {
    F_U8(struct word, op, OP_BACK),
    F_BARE(struct word, room),
    F_FULL_OR_NONE(struct word, m.jid),
    F_U32(struct word, m.seat, UINT32_MAX),
    F_U8(struct word, m.bits, UINT8_MAX),
    F_BYTES(struct word, m.blob, AUDIENCE_BLOB_MAX),
    F_STANZA_OR_NONE(struct word, m.presence),
    F_U8(struct word, whom.mask, UINT8_MAX),
    F_U8(struct word, whom.want, UINT8_MAX),
    F_U32(struct word, whom.only, UINT32_MAX),
    F_U32(struct word, whom.except, UINT32_MAX),
    F_STANZA_OR_NONE(struct word, st),
    { 0 },
};
static const struct message_row audience_message = {
    .id = 10,
    .scope = MESSAGE_CLUSTER,
    .name = "audience",
    .size = sizeof(struct word),
    .fields = audience_fields,
    .run = audience_run,
    .sound = audience_is_sound,
};

static void audience_say(struct worker *w, uint32_t node, unsigned to, const struct word *word)
{
    struct word copy;
    if (to == worker_index(w) && node == worker_node(w)->id) {
        audience_hear(w, word);
        return;
    }
    message_copy(&audience_message, &copy, word);
    home_send_to(w, node, to, &audience_message, &copy);
}

static void audience_say_to(struct worker *w, unsigned slot, const struct word *word)
{
    uint32_t node;
    unsigned to = node_home_of_slot(worker_node(w), slot, &node);
    audience_say(w, node, to, word);
}

/* At the home of the room. */

void audience_init(struct audience *a, struct worker *w, slice name)
{
    *a = (struct audience){ .worker = w, .name = name };
}

/* The workers that are home to a slot with members, each once; this node is the first. */
struct audience_homes {
    unsigned nodes;
    struct audience_home {
        uint32_t node;
        uint64_t workers; /* a bit for each */
    } at[BUS_NODES_MAX];
};

static_assert(NODE_WORKERS_MAX <= 64, "each worker of a node has a bit");

/* false: there is no such home, since no cluster has so many nodes, and no node so many workers.
 * What a registry says of nodes that are gone is not for us to trust. */
static bool audience_homes_add(struct audience_homes *h, uint32_t node, unsigned worker)
{
    unsigned i = 1;
    while (i < h->nodes && h->at[i].node != node)
        i++;
    if (i == BUS_NODES_MAX || worker >= NODE_WORKERS_MAX)
        return false;
    if (i == h->nodes)
        h->at[h->nodes++] = (struct audience_home){ .node = node };
    h->at[i].workers |= 1ull << worker;
    return true;
}

static void audience_homes_find(const struct audience *a, struct audience_homes *h)
{
    const struct node *n = worker_node(a->worker);
    unsigned nowhere = 0;
    uint64_t here = 0, all = n->bus == NULL ? UINT64_MAX >> (64 - n->worker_count) : 0;
    h->nodes = 1;
    for (uint32_t i = 0; i < a->places && (here != all || all == 0); i++) {
        uint32_t node;
        unsigned worker = node_home_of_slot(n, a->place[i].slot, &node);
        if (node == n->id)
            here |= 1ull << worker;
        else
            nowhere += !audience_homes_add(h, node, worker);
    }
    if (nowhere > 0)
        log_warn(&log_frames, LOG_EV("audience.nowhere"), LOG_S("room", a->name),
                 LOG_I("slots", nowhere),
                 LOG_C("hint", "the registry gives these slots to nodes that cannot be; their "
                               "sessions do not hear the room"));
    h->at[0] = (struct audience_home){ n->id, here };
}

static void say_all(struct audience *a, const struct word *word)
{
    struct audience_homes h;
    audience_homes_find(a, &h);
    for (unsigned i = 0; i < h.nodes; i++)
        for (uint64_t left = h.at[i].workers; left != 0; left &= left - 1)
            audience_say(a->worker, h.at[i].node, (unsigned)__builtin_ctzll(left), word);
}

/* The slot of a session of ours; false: it is no address of one. */
static bool audience_slot_of(const struct audience *a, slice jid, unsigned *slot)
{
    struct jid parts = jid_split(jid);
    if (parts.resource.len == 0 || !fan_is_local(worker_node(a->worker), jid_bare(&parts)))
        return false;
    *slot = node_slot(jid_bare(&parts));
    return true;
}

/* Its place, or where the next one will be. */
static uint32_t audience_place_of(const struct audience *a, unsigned slot)
{
    uint32_t i = 0;
    while (i < a->places && a->place[i].slot != slot)
        i++;
    return i;
}

bool audience_add(struct audience *a, const struct audience_member *m)
{
    unsigned slot;
    if (!audience_slot_of(a, m->jid, &slot))
        return false;
    uint32_t at = audience_place_of(a, slot);
    if (at == a->places) {
        a->place = mem_realloc(a->place, ++a->places * sizeof *a->place);
        a->place[at] = (struct audience_place){ .slot = slot };
    }
    a->place[at].count++;
    audience_say_to(a->worker, slot, &(struct word){ .op = OP_ADD, .room = a->name, .m = *m });
    return true;
}

void audience_set(struct audience *a, const struct audience_member *m)
{
    unsigned slot;
    if (audience_slot_of(a, m->jid, &slot))
        audience_say_to(a->worker, slot, &(struct word){ .op = OP_SET, .room = a->name, .m = *m });
}

void audience_remove(struct audience *a, slice jid)
{
    unsigned slot;
    uint32_t at;
    if (!audience_slot_of(a, jid, &slot) || (at = audience_place_of(a, slot)) == a->places)
        return;
    if (--a->place[at].count == 0)
        a->place[at] = a->place[--a->places];
    if (a->places == 0)
        mem_free(&a->place);
    audience_say_to(a->worker, slot,
                    &(struct word){ .op = OP_REMOVE, .room = a->name, .m = { .jid = jid } });
}

void audience_send(struct audience *a, struct stanza *st, const struct audience_whom *whom)
{
    struct word word = { .op = OP_SEND, .room = a->name, .st = st };
    if (whom != NULL)
        word.whom = *whom;
    say_all(a, &word);
}

void audience_tell(struct audience *a, slice jid, struct stanza *st)
{
    unsigned slot;
    if (audience_slot_of(a, jid, &slot))
        audience_say_to(
            a->worker, slot,
            &(struct word){ .op = OP_TELL, .room = a->name, .m = { .jid = jid }, .st = st });
    else
        route_send(a->worker, stanza_readdress(st, (slice){ 0 }, jid));
}

void audience_fini(struct audience *a)
{
    /* when the node ends, the lists end with their workers */
    if (!worker_stopping(a->worker) && worker_here() == a->worker)
        say_all(a, &(struct word){ .op = OP_CLEAR, .room = a->name });
    mem_free(&a->place);
    a->places = 0;
}

/* At the home of a session. */

slice audience_nick(const struct session *s, slice room)
{
    const struct member *m = member_find(crowd_find(s->account->worker, room), s);
    if (m == NULL || m->presence == NULL || stanza_to_is_bare(m->presence))
        return (slice){ 0 };
    return slice_from(stanza_to(m->presence), m->presence->to_bare_len + 1u);
}

bool audience_has(const struct session *s, slice room)
{
    return member_find(crowd_find(s->account->worker, room), s) != NULL;
}

bool audience_reads(const struct account *a, slice room)
{
    SESSIONS_EACH (s, a) {
        if (s->state == SESSION_ATTACHED && audience_has(s, room))
            return true;
    }
    return false;
}

void audience_rooms_each(const struct session *s, void (*fn)(const struct session *s, slice room))
{
    const struct list *rooms = s->state_of[session_slot];
    ensure(session_here(s));
    if (rooms == NULL)
        return;
    LIST_EACH (it, rooms)
        fn(s, CONTAINER_OF(it, struct member, node)->crowd->name);
}

static void audience_session_freed(struct session *s)
{
    for (struct list *rooms; (rooms = s->state_of[session_slot]) != NULL;)
        member_free(s->account->worker, CONTAINER_OF(rooms->next, struct member, node));
}

/* What freezes with a session: a record of each membership. */

struct frozen_seat {
    slice room;
    slice blob;
    struct stanza *presence; /* without `from`, which is the session; NULL: none */
};
static const struct message_field seat_fields[] = {
    F_BARE(struct frozen_seat, room),
    F_BYTES(struct frozen_seat, blob, AUDIENCE_BLOB_MAX),
    F_STANZA_OR_NONE(struct frozen_seat, presence),
    { 0 },
};
static const struct frozen_row seat_row = { FROZEN_OWN,  "seat", sizeof(struct frozen_seat),
                                            seat_fields, NULL,   NULL };
static const struct frozen_row *const seat_rows[] = { &seat_row, NULL };

static void audience_save(const struct session *s, struct buf *out)
{
    const struct list *rooms = s->state_of[session_slot];
    ensure(session_here(s));
    if (rooms == NULL)
        return;
    LIST_EACH (it, rooms) {
        const struct member *m = CONTAINER_OF(it, struct member, node);
        struct frozen_seat seat = { .room = m->crowd->name, .blob = { m->blob, m->blob_len } };
        size_t len = out->len;
        if (m->presence != NULL)
            seat.presence = stanza_readdress(m->presence, SLICE(""), (slice){ 0 });
        frozen_add(out, &seat_row, &seat);
        stanza_unref(&seat.presence);
        if (out->overflow) { /* what fits is kept */
            out->overflow = false;
            out->len = len;
            return;
        }
    }
}

/* The presence of this session to an occupant of that room; NULL if it is none. */
static struct stanza *seat_presence_of(const struct session *s, const struct frozen_seat *seat)
{
    const struct stanza *st = seat->presence;
    if (st == NULL || st->kind != STANZA_PRESENCE || st->type != TYPE_AVAILABLE ||
        !slice_eq(stanza_to_bare(st), seat->room))
        return NULL;
    return stanza_readdress(st, session_jid(s), (slice){ 0 });
}

static void restore_seat(struct session *s, const struct frozen_seat *seat)
{
    struct worker *w = s->account->worker;
    struct word word = { .op = OP_BACK,
                         .room = seat->room,
                         .m = { .jid = session_jid(s), .blob = seat->blob } };
    ensure(session_here(s));
    word.m.presence = seat_presence_of(s, seat);
    if (word.m.presence != NULL)
        audience_say_to(w, node_slot(seat->room), &word);
    stanza_unref(&word.m.presence);
}

/* The rooms have them, one by one, when they have answered. */
static void audience_restore(struct session *s, slice bytes)
{
    struct worker *w = s->account->worker;
    struct frozen_reading r = {
        .row = seat_rows, .xml = worker_xml(w), .tmp = loop_scratch(worker_loop(w)), .rest = bytes
    };
    struct frozen_record record;
    struct why why;
    for (; frozen_next(&r, &record, &why) == OK; frozen_drop(&record))
        if (record.row == &seat_row)
            restore_seat(s, record.data);
}

/* Those who are in rooms of that node are in none of these now. From the last one on, since another
 * takes the place of one that goes, and with the only one goes the crowd. */
static void crowd_lose(struct worker *w, struct crowd *crowd, uint32_t node)
{
    for (uint32_t i = crowd->count; i-- > 0;)
        if (crowd->member[i]->room_node == node)
            member_free(w, crowd->member[i]);
}

static void audience_node_gone(struct worker *w, uint32_t node)
{
    const struct crowds *c = *worker_state(w, worker_slot);
    struct crowd *crowd;
    ensure(node != 0); /* rooms of this one */
    for (uint32_t i = 0; c != NULL && (crowd = map_next(&c->by_name, &i)) != NULL;)
        crowd_lose(w, crowd, node);
}

static void audience_worker_ended(struct worker *w)
{
    struct crowds *c = *worker_state(w, worker_slot);
    if (c != NULL)
        map_fini(&c->by_name); /* it is empty: the sessions are gone */
    mem_free(&c);
    *worker_state(w, worker_slot) = NULL;
}

const struct feature audience_feature = {
    .name = "audience",
    .parts = PART_ROOM,
    .metrics = (struct metric *const[]){ &sends, &deliveries, NULL },
    .session.slot = &session_slot,
    .worker.slot = &worker_slot,
    .session.freed = audience_session_freed,
    .session.save = audience_save,
    .session.restore = audience_restore,
    .session.records = seat_rows,
    .worker.ended = audience_worker_ended,
    .worker.node_gone = audience_node_gone,
    .messages = (const struct message_row *const[]){ &audience_message, NULL },
};
