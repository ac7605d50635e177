#include "account/account_frozen.h"
#include "account/account.h"
#include "account/guest.h"
#include "account/renamed.h"
#include "auth/seal.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "base/rand.h"
#include "core/feature.h"
#include "home/connection.h"
#include "home/frozen.h"
#include "home/node.h"
#include "home/texts.h"
#include "presence/directed.h"
#include "presence/presence.h"
#include "session/behind.h"
#include "session/given.h"
#include "session/link.h"
#include "session/session_input.h"
#include "session/session_queue.h"
#include "session/session_repeats.h"
#include "session/session_struct.h"
#include "session/session_wait.h"
#include "store/renaming.h"
#include "talk/offline.h"
#include <assert.h>

/* Records: the account, then its sessions, oldest first; behind each its queue and its states. */

struct frozen_account {
    int64_t id;
    uint64_t at_us; /* wall clock of the freezing */
};
static const struct message_field account_fields[] = {
    F_I64(struct frozen_account, id),
    F_U64(struct frozen_account, at_us),
    { 0 },
};
static const struct frozen_row account_row = {
    FROZEN_OWN, "account", sizeof(struct frozen_account), account_fields, NULL, NULL
};

enum { NAMES_BYTES_MAX = 16 * 1024 };
struct frozen_session {
    slice jid;
    slice token; /* sealed; empty: it cannot be resumed */
    uint32_t for_ms;
    uint32_t in_base, out_base, h, out_count, out_acked;
    uint32_t sent; /* of its queue */
    bool resumable, available, interested, collects;
    uint8_t hidden, priority, resume_max_s;
    struct stanza *presence;
    slice directed;
    slice repeats;
    uint64_t since_us;
    bool away; /* contacts were told so: `presence` is the own of the client */
    slice given;
    struct offline_saved offline;
    slice was;   /* its address before it was renamed, by which it is known; empty: it was not */
    slice names; /* packed (home/texts.h): of accounts renamed meanwhile, which it may list */
};
static const struct message_field session_fields[] = {
    F_FULL(struct frozen_session, jid),
    F_TEXT(struct frozen_session, token, SEAL_PLAIN_MAX),
    F_U32(struct frozen_session, for_ms, UINT32_MAX),
    F_U32(struct frozen_session, in_base, UINT32_MAX),
    F_U32(struct frozen_session, out_base, UINT32_MAX),
    F_U32(struct frozen_session, h, UINT32_MAX),
    F_U32(struct frozen_session, out_count, UINT32_MAX),
    F_U32(struct frozen_session, out_acked, UINT32_MAX),
    F_U32(struct frozen_session, sent, UINT32_MAX),
    F_BOOL(struct frozen_session, resumable),
    F_BOOL(struct frozen_session, available),
    F_BOOL(struct frozen_session, interested),
    F_BOOL(struct frozen_session, collects),
    F_U8(struct frozen_session, hidden, SESSION_HIDDEN_UNTIL_PRESENCE),
    F_U8(struct frozen_session, priority, UINT8_MAX),
    F_U8(struct frozen_session, resume_max_s, RESUME_MAX_S),
    F_STANZA_OR_NONE(struct frozen_session, presence),
    F_JIDS(struct frozen_session, directed),
    F_BYTES(struct frozen_session, repeats, UINT32_MAX),
    F_U64(struct frozen_session, since_us),
    F_BOOL(struct frozen_session, away),
    F_BYTES(struct frozen_session, given, UINT32_MAX),
    F_U64(struct frozen_session, offline.read_to),
    F_U64(struct frozen_session, offline.began),
    F_U64(struct frozen_session, offline.owed),
    F_TEXT(struct frozen_session, was, JID_MAX),
    F_TEXTS(struct frozen_session, names, NAMES_BYTES_MAX),
    { 0 },
};
/* When that is too much, its client has to log in anew. */
static void session_may_list(struct frozen_session *s, const struct renaming *renaming,
                             struct arena *tmp)
{
    struct buf names;
    buf_init(&names, NAMES_BYTES_MAX);
    buf_add(&names, s->names);
    texts_add(&names, slice_of(renaming->old));
    texts_add(&names, slice_of(renaming->to));
    if (names.overflow)
        s->token = (slice){ 0 };
    else
        s->names = slice_dup(tmp, buf_slice(&names));
    buf_fini(&names);
}

/* An address that comes back is no other one. */
static void session_renames(void *record, const struct renaming *renaming, struct arena *tmp)
{
    struct frozen_session *s = record;
    if (!renaming_means(renaming, s->jid)) {
        if (s->interested && !renaming->domain)
            session_may_list(s, renaming, tmp);
        return;
    }
    if (s->was.len == 0)
        s->was = s->jid;
    else if (slice_eq(renaming_of(renaming, s->jid, tmp), s->was))
        s->was = (slice){ 0 };
}
static const struct frozen_row session_row = {
    FROZEN_OWN + 1, "session", sizeof(struct frozen_session), session_fields, NULL, session_renames
};

/* Behind a session that moves to another node: what a restart cannot keep. */
struct frozen_carried {
    uint64_t id, stream; /* the stream that carries it; 0: none does */
    uint32_t node;       /* of the stream */
    uint32_t in_count, out_asked, output_bytes;
    slice tickets, repeats;
    slice device, peer;
    uint64_t quiet_us, unspoken_us; /* since its client was active; spoke: 0: it never did */
    uint8_t sm, paused;
    bool held, secure, by_token;
};
enum { DEVICE_BYTES = sizeof((struct session *)NULL)->device };
static const struct message_field carried_fields[] = {
    F_U64(struct frozen_carried, id),
    F_U64(struct frozen_carried, stream),
    F_U32(struct frozen_carried, node, UINT32_MAX),
    F_U32(struct frozen_carried, in_count, UINT32_MAX),
    F_U32(struct frozen_carried, out_asked, UINT32_MAX),
    F_U32(struct frozen_carried, output_bytes, UINT32_MAX),
    F_BYTES(struct frozen_carried, tickets, UINT32_MAX),
    F_BYTES(struct frozen_carried, repeats, UINT32_MAX),
    F_BYTES(struct frozen_carried, device, DEVICE_BYTES),
    F_BYTES(struct frozen_carried, peer, sizeof(struct ip_text)),
    F_U64(struct frozen_carried, quiet_us),
    F_U64(struct frozen_carried, unspoken_us),
    F_U8(struct frozen_carried, sm, 2),
    F_U8(struct frozen_carried, paused, PAUSE_QUIET | PAUSE_SLOW),
    F_BOOL(struct frozen_carried, held),
    F_BOOL(struct frozen_carried, secure),
    F_BOOL(struct frozen_carried, by_token),
    { 0 },
};
static const struct frozen_row carried_row = {
    FROZEN_OWN + 4, "carried", sizeof(struct frozen_carried), carried_fields, NULL, NULL
};

struct frozen_queued {
    struct stanza *st; /* NULL: it was one that cannot be read */
    uint64_t archive_id, at_us;
    uint32_t seq;
    bool delayed;
    bool waits; /* a carbon copy of what nobody has taken */
    uint8_t to;
    bool answered;
};
static const struct message_field queued_fields[] = {
    F_STANZA_OR_NONE(struct frozen_queued, st),
    F_U64(struct frozen_queued, archive_id),
    F_U64(struct frozen_queued, at_us),
    F_U32(struct frozen_queued, seq, UINT32_MAX),
    F_BOOL(struct frozen_queued, delayed),
    F_BOOL(struct frozen_queued, waits),
    F_U8(struct frozen_queued, to, QUEUED_CARBON_BARE),
    F_BOOL(struct frozen_queued, answered),
    { 0 },
};
static const struct frozen_row queued_row = {
    FROZEN_OWN + 2, "queued", sizeof(struct frozen_queued), queued_fields, NULL, NULL
};

struct frozen_state {
    slice feature; /* one that this server does not have is passed over */
    slice bytes;
};
enum { STATE_BYTES_MAX = 1 << 20, FEATURE_BYTES_MAX = 64 };
static const struct message_field state_fields[] = {
    F_TEXT(struct frozen_state, feature, FEATURE_BYTES_MAX),
    F_BYTES(struct frozen_state, bytes, STATE_BYTES_MAX),
    { 0 },
};
static slice *state_inside(void *record, const struct frozen_row *const **row)
{
    struct frozen_state *state = record;
    FEATURES_EACH (f, session.records)
        if (slice_is(state->feature, f->name)) {
            *row = f->session.records;
            return &state->bytes;
        }
    return NULL;
}

static const struct frozen_row state_row = {
    FROZEN_OWN + 3, "state", sizeof(struct frozen_state), state_fields, state_inside, NULL
};

static const struct frozen_row *const account_rows[] = { &account_row, &session_row, &queued_row,
                                                         &state_row,   &carried_row, NULL };
const struct frozen_kind account_frozen = { .version = 1, .row = account_rows };

/* Freezing. */

/* One that cannot be resumed ends with the process, but those who saw it are told when they are
 * back: it is kept for that alone. Guests have no contacts. */
static bool is_seen(const struct session *s)
{
    return !account_is_guest(s->account) && (s->available || s->directed != NULL);
}

bool session_is_frozen(const struct session *s)
{
    return s->state == SESSION_HIBERNATING && (s->sm == 2 || is_seen(s));
}

static slice token_context(int64_t account, slice jid, struct arena *tmp)
{
    slice resource = jid_split(jid).resource;
    return slice_of(
        arena_printf(tmp, "session %lld %.*s", (long long)account, SLICE_ARG(resource)));
}

/* Without the key of the node, none: the session cannot be resumed. */
static slice token_sealed(const struct session *s, struct arena *tmp)
{
    slice token = { (const char *)s->token, sizeof s->token };
    if (s->sm != 2 || !seal_ready())
        return (slice){ 0 };
    return seal(token, token_context(s->account->id, s->jid, tmp), tmp);
}

/* A thawed one waits so much longer, until session_all_are_back(). That takes less than half of it,
 * and no other session waits so long. */
enum { EARLIEST_MS = 1000, THAWING_MS = 600 * 1000 };
static_assert(RESUME_MAX_S * 1000 < THAWING_MS / 2, "a thawed session is known by its timer");

/* Before its end, if its client does not come back. */
static uint64_t left_ms(const struct session *s)
{
    uint64_t most = session_resumable_ms(s);
    uint64_t left = timer_left_ms(worker_loop(s->account->worker), &s->timer);
    if (!session_expires(s)) /* it had a stream when the node stopped */
        return most;
    if (left > THAWING_MS / 2)
        left = left > THAWING_MS ? left - THAWING_MS : 0;
    return left < most ? left : most;
}

/* What waits behind offline messages is saved at the end of the queue. */
static uint32_t behind_count(const struct session *s)
{
    uint32_t count = 0;
    for (uint32_t i = 0; s->behind != NULL && behind_next(s->behind, &i) != NULL;)
        count++;
    return count;
}

static void freeze_behind(const struct session *s, struct buf *out)
{
    const struct queued *q;
    uint32_t seq = s->out_count;
    for (uint32_t i = 0; s->behind != NULL && (q = behind_next(s->behind, &i)) != NULL;)
        frozen_add(out, &queued_row,
                   &(struct frozen_queued){ .st = q->st,
                                            .at_us = q->at_us,
                                            .seq = ++seq,
                                            .delayed = q->at_us != 0,
                                            .to = q->to });
}

static void freeze_session(const struct session *s, struct buf *out, struct arena *tmp)
{
    struct buf directed, repeats, given;
    ensure(s->queue_unsent <= s->queue_len);
    buf_init(&directed, FROZEN_BYTES_MAX);
    buf_init(&repeats, FROZEN_BYTES_MAX);
    buf_init(&given, FROZEN_BYTES_MAX);
    directed_save(s->directed, &directed, tmp);
    repeats_save(s, &repeats);
    given_save(s->account, s->id, &given);
    frozen_add(out, &session_row,
               &(struct frozen_session){ .jid = s->jid,
                                         .token = token_sealed(s, tmp),
                                         .for_ms = (uint32_t)left_ms(s),
                                         .in_base = s->in_base,
                                         .out_base = s->out_base,
                                         .h = s->h,
                                         .out_count = s->out_count + behind_count(s),
                                         .out_acked = s->out_acked,
                                         .sent = s->queue_len - s->queue_unsent,
                                         .resumable = s->sm == 2,
                                         .available = s->available,
                                         .interested = s->interested,
                                         .collects = s->collects,
                                         .hidden = s->hidden,
                                         .priority = (uint8_t)s->priority,
                                         .resume_max_s = s->resume_max_s,
                                         .presence = !s->available      ? NULL
                                                     : s->awake != NULL ? s->awake
                                                                        : s->presence,
                                         .directed = buf_fit(&directed),
                                         .repeats = buf_fit(&repeats),
                                         .since_us = s->since_us,
                                         .away = s->awake != NULL,
                                         .given = buf_fit(&given),
                                         .offline = offline_save(s) });
    buf_fini(&directed);
    buf_fini(&repeats);
    buf_fini(&given);
}

static void freeze_queue(const struct session *s, struct buf *out)
{
    for (uint32_t i = 0; i < s->queue_len; i++) {
        const struct queued *q = session_queue_at(s, i);
        bool waits = q->archive_id != 0 && mailbox_state(s->account, q->archive_id) == ENTRY_OPEN;
        frozen_add(out, &queued_row,
                   &(struct frozen_queued){ .st = q->st,
                                            .archive_id = q->archive_id,
                                            .at_us = q->at_us,
                                            .seq = q->seq,
                                            .delayed = q->delayed,
                                            .waits = waits,
                                            .to = q->to,
                                            .answered = q->answered });
    }
    freeze_behind(s, out);
}

static void freeze_states(const struct session *s, struct buf *out)
{
    struct buf state;
    buf_init(&state, STATE_BYTES_MAX);
    FEATURES_EACH (f, session.save) {
        buf_clear(&state);
        f->session.save(s, &state);
        if (state.len > 0 && !state.overflow)
            frozen_add(out, &state_row,
                       &(struct frozen_state){ slice_of(f->name), buf_slice(&state) });
    }
    buf_fini(&state);
}

static void freeze_head(const struct account *a, struct buf *out)
{
    ensure(account_here(a));
    frozen_add(out, &account_row,
               &(struct frozen_account){ a->id, loop_wall_us(worker_loop(a->worker)) });
}

void account_freeze(const struct actor *actor, struct buf *out)
{
    const struct account *a = CONTAINER_OF(actor, const struct account, actor);
    struct arena *tmp = arena_create(0);
    freeze_head(a, out);
    LIST_EACH (it, &a->sessions) {
        const struct session *s = CONTAINER_OF(it, const struct session, node);
        if (!session_is_frozen(s))
            continue;
        freeze_session(s, out, tmp);
        if (s->sm == 2)
            freeze_queue(s, out);
        freeze_states(s, out);
    }
    arena_destroy(&tmp);
}

static void freeze_carried(const struct session *s, struct buf *out)
{
    const uint64_t now = loop_now_us(worker_loop(s->account->worker));
    const bool attached = s->state == SESSION_ATTACHED, device = device_is_known(s->device);
    const struct ip_text peer = ip_print(&s->peer);
    struct buf tickets, repeats;
    buf_init(&tickets, FROZEN_BYTES_MAX);
    buf_init(&repeats, FROZEN_BYTES_MAX);
    session_tickets_save(s, &tickets);
    repeats_pack(s, &repeats);
    frozen_add(out, &carried_row,
               &(struct frozen_carried){
                   .id = s->id,
                   .stream = attached ? s->link.id : 0,
                   .node = attached ? s->link.node : 0,
                   .in_count = s->in_count,
                   .out_asked = s->out_asked,
                   .output_bytes = s->output_bytes,
                   .tickets = buf_fit(&tickets),
                   .repeats = buf_fit(&repeats),
                   .device = { (const char *)s->device, device ? sizeof s->device : 0 },
                   .peer = slice_of(peer.text),
                   .quiet_us = now - s->active_us,
                   .unspoken_us = s->spoke_us == 0 ? 0 : now - s->spoke_us + 1,
                   .sm = s->sm,
                   .paused = s->paused,
                   .held = s->holds != 0,
                   .secure = s->secure,
                   .by_token = s->by_token });
    buf_fini(&tickets);
    buf_fini(&repeats);
}

void account_freeze_whole(const struct account *a, struct buf *out)
{
    struct arena *tmp = arena_create(0);
    frozen_begin(out, &account_frozen);
    freeze_head(a, out);
    LIST_EACH (it, &a->sessions) {
        const struct session *s = CONTAINER_OF(it, const struct session, node);
        freeze_session(s, out, tmp);
        freeze_carried(s, out);
        freeze_queue(s, out);
        freeze_states(s, out);
    }
    frozen_end(out);
    arena_destroy(&tmp);
}

/* Thawing: all records are looked at, then used. */

static bool is_available(const struct stanza *st)
{
    return st->kind == STANZA_PRESENCE && st->type == TYPE_AVAILABLE;
}

static bool session_is_sound(const struct account *a, const struct frozen_session *s,
                             struct why *why)
{
    if (!slice_eq(jid_bare_of(s->jid), a->jid)) {
        why_set(why, "found a session of %.*s", SLICE_ARG(s->jid));
        return false;
    }
    if ((s->presence != NULL && !is_available(s->presence)) || s->repeats.len % REPEAT_BYTES != 0) {
        why_set(why, "the session %.*s has a presence or repeats that are none", SLICE_ARG(s->jid));
        return false;
    }
    return true;
}

/* The id of record `index` is one, which no record in front of it has. */
static bool carried_id_is_new(const struct frozen *f, uint32_t index)
{
    const struct frozen_carried *c = f->record[index].data, *other;
    for (uint32_t i = 0; i < index; i++)
        if (f->record[i].row == &carried_row && (other = f->record[i].data)->id == c->id)
            return false;
    return c->id != 0;
}

static bool carried_stream_is_sound(const struct node *n, const struct frozen_carried *c)
{
    return (c->stream == 0) == (c->node == 0) &&
           (c->node != n->id || connection_worker(c->stream) < n->worker_count);
}

/* Of this slot, and carried by a stream that can be. */
static bool carried_is_sound(const struct account *a, const struct frozen_session *s,
                             const struct frozen_carried *c)
{
    return origin_slot(c->id) == node_slot(a->jid) &&
           !origin_is_join((struct origin){ .session = c->id }) && (c->sm == 2) == s->resumable &&
           carried_stream_is_sound(account_node(a), c) &&
           (c->device.len == 0 || c->device.len == DEVICE_BYTES) &&
           c->tickets.len == (uint64_t)(c->in_count - s->h) * TICKET_BYTES &&
           repeats_are_packed(c->repeats) && session_find(a->worker, c->id) == NULL;
}

/* The entry of that index in the queue, behind the one numbered `last`, and not above what was
 * counted. Those that went out before <enabled/> have lower numbers than any that the client can
 * acknowledge; they are written. */
static bool queued_is_sound(const struct frozen_session *s, uint32_t index, uint32_t last,
                            const struct frozen_queued *q)
{
    bool counted = q->seq - s->out_acked - 1 < s->out_count - s->out_acked;
    return (int32_t)(s->out_count - q->seq) >= 0 && (index == 0 || (int32_t)(q->seq - last) > 0) &&
           (counted || index < s->sent);
}

static enum err thaw_check(const struct account *a, const struct frozen *f, struct why *why)
{
    const struct frozen_session *s = NULL;
    uint32_t last = 0, index = 0;
    bool queue = false; /* the session may have one */
    if (f->count == 0 || f->record[0].row != &account_row ||
        ((const struct frozen_account *)f->record[0].data)->id != a->id) {
        why_set(why, "they do not begin with account %lld", (long long)a->id);
        return E_CORRUPT;
    }
    for (uint32_t i = 1; i < f->count; i++) {
        const struct frozen_record *r = &f->record[i];
        const struct frozen_queued *q = r->data;
        if (r->row == &session_row) {
            s = r->data;
            if (!session_is_sound(a, s, why))
                return E_CORRUPT;
            index = 0;
            queue = s->resumable;
        } else if (s != NULL && r->row == &carried_row && f->record[i - 1].data == s &&
                   carried_is_sound(a, s, r->data) && carried_id_is_new(f, i)) {
            queue = true;
        } else if (s == NULL || r->row == &account_row || r->row == &carried_row ||
                   (r->row == &queued_row && !(queue && queued_is_sound(s, index, last, q)))) {
            why_set(why, "record %u (%s) is out of place", i, r->row->name);
            return E_CORRUPT;
        } else if (r->row == &queued_row) {
            last = q->seq;
            index++;
        }
    }
    return OK;
}

static void thaw_token(struct session *s, slice sealed, struct arena *tmp)
{
    slice token;
    if (unseal(&token, sealed, token_context(s->account->id, s->jid, tmp), tmp) &&
        token.len == sizeof s->token)
        memcpy(s->token, token.ptr, token.len);
    else /* nobody has it: the session waits for its end, and gives its messages back */
        rand_bytes(s->token, sizeof s->token);
}

static void thaw_queued(struct session *s, const struct frozen_queued *q, bool sent)
{
    if (q->st == NULL)
        return;
    session_queue_push(s, q->st, q->archive_id, q->at_us);
    struct queued *last = session_queue_at(s, s->queue_len - 1);
    last->seq = q->seq;
    last->delayed = q->delayed;
    ensure(s->queue_index == NULL); /* it would have counted it as its own */
    last->to = q->to;
    last->answered = q->answered;
    if (!sent)
        s->queue_unsent++;
    if (q->archive_id != 0 && !q->waits)
        mailbox_set(s->account, q->archive_id, ENTRY_TAKEN);
}

static void thaw_state(struct session *s, const struct frozen_state *state)
{
    FEATURES_EACH (f, session.restore)
        if (slice_is(state->feature, f->name))
            f->session.restore(s, state->bytes);
}

/* The clock may be wrong now, or have been wrong then. */
static uint64_t thaw_ms(const struct session *s, const struct frozen_session *v, uint64_t at_us)
{
    uint64_t now = loop_wall_us(worker_loop(s->account->worker));
    uint64_t gone_ms = now > at_us ? (now - at_us) / 1000 : 0, most = session_resumable_ms(s);
    uint64_t left = v->for_ms > gone_ms ? v->for_ms - gone_ms : 0;
    return left < most ? left : most;
}

void session_all_are_back(struct session *s)
{
    struct loop *loop = worker_loop(s->account->worker);
    uint64_t left = timer_left_ms(loop, &s->timer);
    if (s->state != SESSION_HIBERNATING || left <= THAWING_MS / 2)
        return;
    if (s->sm == 0) {
        session_end(s, END_SHUTDOWN);
        return;
    }
    left = left > THAWING_MS ? left - THAWING_MS : 0;
    timer_set(loop, &s->timer, left > EARLIEST_MS ? left : EARLIEST_MS);
}

static void thaw_presence(struct session *s, const struct frozen_session *v)
{
    s->available = v->available && v->presence != NULL; /* or it cannot be read */
    if (!s->available)
        return;
    s->priority = (int8_t)v->priority;
    if (v->away)
        s->awake = stanza_ref(v->presence);
    s->presence = v->away ? presence_shown_away(v->presence) : stanza_ref(v->presence);
}

/* Its stream may have ended with its node meanwhile: then it was lost. */
static void thaw_carried(struct session *s, const struct frozen_session *v,
                         const struct frozen_carried *c, uint64_t at_us)
{
    const struct worker *w = s->account->worker;
    const uint64_t now = loop_now_us(worker_loop(w));
    const bool attached = c->stream != 0 && node_is_there(worker_node(w), c->node);
    s->sm = c->sm;
    s->out_asked = c->out_asked;
    s->output_bytes = c->output_bytes;
    s->paused = c->paused;
    s->holds = c->held ? HOLD_UNFINISHED : 0;
    s->secure = c->secure;
    s->by_token = c->by_token;
    if (c->device.len > 0)
        memcpy(s->device, c->device.ptr, sizeof s->device);
    s->peer = ip_parse(c->peer);
    s->active_us = now > c->quiet_us ? now - c->quiet_us : 0;
    if (c->unspoken_us != 0)
        s->spoke_us = now > c->unspoken_us ? now - c->unspoken_us : 1;
    repeats_unpack(s, c->repeats);
    if (attached)
        s->link = (struct link){ .id = c->stream, .node = c->node };
    else
        session_hibernate(s, thaw_ms(s, v, at_us));
    session_tickets_restore(s, c->in_count, c->tickets);
}

static struct session *thaw_session(struct account *a, const struct frozen_session *v,
                                    const struct frozen_carried *c, uint64_t at_us)
{
    struct worker *w = a->worker;
    struct session *s = session_create(a, jid_split(v->jid).resource);
    if (c != NULL)
        session_take_id(s, c->id);
    thaw_token(s, v->token, loop_scratch(worker_loop(w)));
    s->sm = v->resumable ? 2 : 0;
    s->resume_max_s = v->resume_max_s;
    s->in_base = v->in_base;
    s->out_base = v->out_base;
    s->in_count = s->h = s->h_told = s->h_asked = v->h;
    s->out_count = v->out_count;
    s->out_acked = s->out_asked = v->out_acked;
    s->interested = v->interested;
    s->hidden = v->hidden;
    s->collects = v->collects;
    thaw_presence(s, v);
    repeats_restore(s, v->repeats);
    directed_load(&s->directed, v->directed);
    if (v->was.len > 0)
        renamed_session(s, v->was);
    if (v->names.len > 0)
        renamed_contacts(s, v->names);
    given_restore(a, s->id, v->given);
    offline_restore(s, v->offline);
    if (v->since_us != 0)
        s->since_us = v->since_us;
    if (c != NULL)
        thaw_carried(s, v, c, at_us);
    else
        session_hibernate(s, THAWING_MS + thaw_ms(s, v, at_us));
    return s;
}

enum err account_thaw(struct actor *actor, const struct frozen *f, struct why *why)
{
    struct account *a = account_of(actor);
    enum err e = thaw_check(a, f, why);
    ensure(account_here(a));
    if (e != OK)
        return e;
    const struct frozen_account *head = f->record[0].data;
    for (uint32_t i = 1; i < f->count;) {
        const struct frozen_session *v = f->record[i].data;
        bool there = account_session(a, jid_split(v->jid).resource) != NULL;
        const bool carried = i + 1 < f->count && f->record[i + 1].row == &carried_row;
        const struct frozen_carried *c = carried ? f->record[i + 1].data : NULL;
        struct session *s = there ? NULL : thaw_session(a, v, c, head->at_us);
        uint32_t index = 0;
        for (i += carried ? 2 : 1; i < f->count && f->record[i].row != &session_row; i++) {
            if (s != NULL && f->record[i].row == &queued_row)
                thaw_queued(s, f->record[i].data, index++ < v->sent);
            else if (s != NULL)
                thaw_state(s, f->record[i].data);
        }
        if (s != NULL && s->state == SESSION_HIBERNATING && !session_queue_fits(s))
            session_end(s, END_EXPIRED);
    }
    return OK;
}

void account_frozen_close(struct worker *w, slice bytes)
{
    struct arena *tmp = arena_create(0);
    struct frozen_reading r = {
        .row = account_rows, .xml = worker_xml(w), .tmp = tmp, .rest = bytes
    };
    struct frozen_record record;
    struct why why;
    while (frozen_next(&r, &record, &why) == OK) {
        const struct frozen_carried *c = record.row == &carried_row ? record.data : NULL;
        if (c != NULL && c->stream != 0 && origin_slot(c->id) < NODE_SLOTS &&
            carried_stream_is_sound(worker_node(w), c) && node_is_there(worker_node(w), c->node))
            link_send_down(
                w, &(struct link){ .id = c->stream, .node = c->node },
                &(struct down){ .kind = DOWN_CLOSE, .end = END_SHUTDOWN, .session = c->id });
        frozen_drop(&record);
    }
    arena_destroy(&tmp);
}
