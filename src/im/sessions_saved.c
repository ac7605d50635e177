#include "im/sessions_saved.h"
#include "auth/seal.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/rand.h"
#include "base/setting.h"
#include "home/here.h"
#include "home/node.h"
#include "home/question.h"
#include "im/account.h"
#include "im/feature.h"
#include "im/guest.h"
#include "im/presence.h"
#include "im/session_private.h"
#include "im/session_queue.h"
#include "im/session_repeats.h"
#include "im/session_wait.h"

static const struct store_migration migrations[] = {
    { 1,
      "CREATE TABLE saved_session(owner INTEGER NOT NULL, jid TEXT NOT NULL, resource TEXT NOT "
      "NULL,"
      " token BLOB NOT NULL, until_us INTEGER NOT NULL, counts BLOB NOT NULL, presence TEXT,"
      " PRIMARY KEY(owner, resource));"
      "CREATE TABLE saved_stanza(owner INTEGER NOT NULL, resource TEXT NOT NULL, seq INTEGER NOT "
      "NULL,"
      " archive_id INTEGER NOT NULL, at_us INTEGER NOT NULL, delayed INTEGER NOT NULL,"
      " stanza TEXT NOT NULL, PRIMARY KEY(owner, resource, seq)) WITHOUT ROWID;",
      "CREATE TABLE saved_session(owner BIGINT NOT NULL, jid TEXT NOT NULL, resource TEXT NOT NULL,"
      " token BYTEA NOT NULL, until_us BIGINT NOT NULL, counts BYTEA NOT NULL, presence TEXT,"
      " PRIMARY KEY(owner, resource));"
      "CREATE TABLE saved_stanza(owner BIGINT NOT NULL, resource TEXT NOT NULL, seq BIGINT NOT "
      "NULL,"
      " archive_id BIGINT NOT NULL, at_us BIGINT NOT NULL, delayed BIGINT NOT NULL,"
      " stanza TEXT NOT NULL, PRIMARY KEY(owner, resource, seq));" },
    { 2, "ALTER TABLE saved_session ADD COLUMN directed TEXT",
      "ALTER TABLE saved_session ADD COLUMN directed TEXT" },
    { 3,
      "CREATE TABLE saved_state(owner INTEGER NOT NULL, resource TEXT NOT NULL, feature TEXT NOT "
      "NULL, state BLOB NOT NULL, PRIMARY KEY(owner, resource, feature)) WITHOUT ROWID;",
      "CREATE TABLE saved_state(owner BIGINT NOT NULL, resource TEXT NOT NULL, feature TEXT NOT "
      "NULL, state BYTEA NOT NULL, PRIMARY KEY(owner, resource, feature));" },
    { 4, "ALTER TABLE saved_session ADD COLUMN repeats BLOB",
      "ALTER TABLE saved_session ADD COLUMN repeats BYTEA" },
    { 0 }
};

static struct store_stmt put_session = {
    .name = "session.put",
    .sql = "INSERT INTO saved_session(owner, jid, resource, token, until_us, counts, presence,"
           " directed, repeats) VALUES($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING",
    .params = "ittbibTTB",
    .cols = "",
};
static struct store_stmt put_stanza = {
    .name = "session.put-stanza",
    .sql = "INSERT INTO saved_stanza(owner, resource, seq, archive_id, at_us, delayed, stanza)"
           " VALUES($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING",
    .params = "itiiiit",
    .cols = "",
};
static struct store_stmt get_sessions = {
    .name = "session.saved",
    .sql = "SELECT owner, jid, resource, token, until_us, counts, presence, directed, repeats"
           " FROM saved_session ORDER BY owner, resource",
    .params = "",
    .cols = "ittbibTTB",
};
static struct store_stmt get_stanzas = {
    .name = "session.saved-stanzas",
    .sql = "SELECT seq, archive_id, at_us, delayed, stanza FROM saved_stanza WHERE owner = $1"
           " AND resource = $2 ORDER BY (seq - $3) & 4294967295",
    .params = "iti",
    .cols = "iiiit",
};
static struct store_stmt drop_session = {
    .name = "session.drop-one",
    .sql = "DELETE FROM saved_session WHERE owner = $1 AND resource = $2",
    .params = "it",
    .cols = "",
};
static struct store_stmt drop_stanzas_of = {
    .name = "session.drop-stanzas-of",
    .sql = "DELETE FROM saved_stanza WHERE owner = $1 AND resource = $2",
    .params = "it",
    .cols = "",
};
static struct store_stmt drop_sessions = {
    .name = "session.drop",
    .sql = "DELETE FROM saved_session",
    .params = "",
    .cols = "",
};
static struct store_stmt drop_stanzas = {
    .name = "session.drop-stanzas",
    .sql = "DELETE FROM saved_stanza",
    .params = "",
    .cols = "",
};
static struct store_stmt put_state = {
    .name = "session.put-state",
    .sql = "INSERT INTO saved_state(owner, resource, feature, state) VALUES($1, $2, $3, $4)"
           " ON CONFLICT DO NOTHING",
    .params = "ittb",
    .cols = "",
};
static struct store_stmt get_states = {
    .name = "session.saved-states",
    .sql = "SELECT feature, state FROM saved_state WHERE owner = $1 AND resource = $2",
    .params = "it",
    .cols = "tb",
};
static struct store_stmt drop_states_of = {
    .name = "session.drop-states-of",
    .sql = "DELETE FROM saved_state WHERE owner = $1 AND resource = $2",
    .params = "it",
    .cols = "",
};
static struct store_stmt drop_states = {
    .name = "session.drop-states",
    .sql = "DELETE FROM saved_state",
    .params = "",
    .cols = "",
};
static struct store_stmt *const stmts[] = {
    &put_session,     &put_stanza,    &get_sessions, &get_stanzas, &drop_session,
    &drop_stanzas_of, &drop_sessions, &drop_stanzas, &put_state,   &get_states,
    &drop_states_of,  &drop_states,   NULL
};

static const struct store_address addresses[] = {
    { "saved_session", "jid", .kind = STORE_JID },
    { "saved_session", "presence", .kind = STORE_START_TAG },
    { "saved_session", "directed", .kind = STORE_JID_LIST, .separator = '\n' },
    { "saved_stanza", "stanza", .kind = STORE_START_TAG },
    { 0 },
};
const struct store_schema sessions_schema = {
    .feature = "session", .migrations = migrations, .stmts = stmts, .addresses = addresses
};

/* The counts of a session as they are kept. */
struct counts {
    uint32_t in_base, out_base, h, out_count, out_acked, queue_sent;
    int32_t priority;
    uint8_t available, interested, hidden, collects, resumable, resume_max_s;
};

enum { SAVE_ROWS = 500, SAVE_BYTES_MAX = 64 << 20, STATE_BYTES_MAX = 1 << 20 };

static void save_states(const struct session *s, struct store_batch *b)
{
    struct account *a = s->account;
    struct buf state;
    buf_init(&state, STATE_BYTES_MAX);
    FEATURES_EACH (f, session.save) {
        buf_clear(&state);
        f->session.save(s, &state);
        if (state.len > 0 && !state.overflow)
            STORE_ADD(b, &put_state, STORE_ANY_ROWS, SV_I(a->id), SV_T(session_resource(s)),
                      SV_T(slice_of(f->name)), SV_B(buf_slice(&state)));
    }
    buf_fini(&state);
}

static slice token_context(int64_t owner, slice resource, struct arena *tmp)
{
    return slice_of(arena_printf(tmp, "session %lld %.*s", (long long)owner, SLICE_ARG(resource)));
}

/* Sealed. Without the key of the node, none: the session cannot be resumed. */
static slice token_sealed(const struct session *s, struct arena *tmp)
{
    slice token = { (const char *)s->token, sizeof s->token };
    return !seal_ready()
               ? SLICE("")
               : seal(token, token_context(s->account->id, session_resource(s), tmp), tmp);
}

static void sessions_saved_add_session(struct store_batch *b, const struct session *s)
{
    const struct account *a = s->account;
    uint64_t until = loop_wall_us(worker_loop(a->worker)) + session_resumable_ms(s) * 1000;
    struct counts counts;
    struct buf presence, directed, repeats;
    ensure(s->queue_unsent <= s->queue_len);

    memset(&counts, 0, sizeof counts);
    counts.in_base = s->in_base;
    counts.out_base = s->out_base;
    counts.h = s->h;
    counts.out_count = s->out_count;
    counts.out_acked = s->out_acked;
    counts.queue_sent = s->queue_len - s->queue_unsent;
    counts.priority = s->priority;
    counts.available = s->available;
    counts.interested = s->interested;
    counts.hidden = s->hidden;
    counts.collects = s->collects;
    counts.resumable = s->sm == 2;
    counts.resume_max_s = s->resume_max_s;
    buf_init(&presence, SAVE_BYTES_MAX);
    buf_init(&directed, SAVE_BYTES_MAX);
    buf_init(&repeats, SAVE_BYTES_MAX);
    if (s->presence != NULL)
        stanza_store(&presence, s->awake != NULL ? s->awake : s->presence);
    presence_directed_save(s, &directed);
    repeats_save(s, &repeats);
    /* rows of an earlier end may not be read yet */
    STORE_ADD(b, &drop_session, STORE_ANY_ROWS, SV_I(a->id), SV_T(session_resource(s)));
    STORE_ADD(b, &drop_stanzas_of, STORE_ANY_ROWS, SV_I(a->id), SV_T(session_resource(s)));
    STORE_ADD(b, &drop_states_of, STORE_ANY_ROWS, SV_I(a->id), SV_T(session_resource(s)));
    save_states(s, b);
    STORE_ADD(b, &put_session, STORE_ANY_ROWS, SV_I(a->id), SV_T(a->jid), SV_T(session_resource(s)),
              SV_B(token_sealed(s, loop_scratch(worker_loop(a->worker)))), SV_I(until),
              SV_B(((slice){ (const char *)&counts, sizeof counts })),
              presence.len == 0 ? SV_NULL : SV_T(buf_fit(&presence)),
              directed.len == 0 ? SV_NULL : SV_T(buf_fit(&directed)),
              repeats.len == 0 ? SV_NULL : SV_B(buf_fit(&repeats)));
    buf_fini(&presence);
    buf_fini(&directed);
    buf_fini(&repeats);
}

/* One that cannot be resumed ends with the process, but those who saw it are told when they are
 * back: it is kept for that alone. Guests have no contacts. */
static bool is_seen(const struct session *s)
{
    return !account_is_guest(s->account) && (s->available || s->directed != NULL);
}

/* How a stanza was queued, as one number. */
enum { BIT_DELAYED = 1, BIT_WAITS = 2, TO_SHIFT = 2 };

static int64_t bits_of(const struct account *a, const struct queued *q)
{
    /* a carbon copy of what nobody has taken */
    bool waits = q->archive_id != 0 && mailbox_state(a, q->archive_id) == ENTRY_OPEN;
    return (q->delayed ? BIT_DELAYED : 0) | (waits ? BIT_WAITS : 0) | q->to << TO_SHIFT;
}

static void sessions_saved_save(const struct session *s)
{
    struct account *a = s->account;
    uint32_t queued = s->sm == 2 ? s->queue_len : 0;
    struct store_batch *b = store_write(worker_store(a->worker), account_lane(a));
    struct buf text;
    ensure(session_here(s));
    buf_init(&text, SAVE_BYTES_MAX);
    sessions_saved_add_session(b, s);
    for (uint32_t i = 0; i < queued; i++) {
        const struct queued *q = session_queue_at(s, i);
        if (i % SAVE_ROWS == SAVE_ROWS - 1) { /* a batch is bounded; the lane keeps them in order */
            store_submit(b, worker_loop(a->worker), 0, NULL, NULL);
            b = store_write(worker_store(a->worker), account_lane(a));
        }
        buf_clear(&text);
        stanza_store(&text, q->st);
        STORE_ADD(b, &put_stanza, STORE_ANY_ROWS, SV_I(a->id), SV_T(session_resource(s)),
                  SV_I(q->seq), SV_I(q->archive_id), SV_I(q->at_us), SV_I(bits_of(a, q)),
                  SV_T(buf_fit(&text)));
    }
    buf_fini(&text);
    store_submit(b, worker_loop(a->worker), 0, NULL, NULL);
}

static void save_account(struct account *a)
{
    struct worker *w = a->worker;
    struct store_batch *b = store_write(worker_store(w), account_lane(a));
    ensure(account_here(a));
    if (!mailbox_clean(a))
        mailbox_save(a, b);
    EMIT(account.stopping, a, b);
    if (store_stmt_count(b) > 0)
        store_submit(b, worker_loop(w), 0, NULL, NULL);
    else
        store_drop(&b);
}

void sessions_save(struct worker *w)
{
    struct session *s;
    struct account *a;
    unsigned count = 0;
    for (uint32_t i = 0; (s = sessions_next(w, &i)) != NULL;) {
        if (s->state != SESSION_HIBERNATING || (s->sm != 2 && !is_seen(s)))
            continue;
        session_wait_drop(s); /* its client says it again */
        sessions_saved_save(s);
        count += s->sm == 2;
    }
    for (uint32_t i = 0; (a = accounts_next(w, &i)) != NULL;)
        if (a->state == ACTOR_READY && !account_is_guest(a) &&
            (!mailbox_clean(a) || !list_empty(&a->sessions)))
            save_account(a);
    if (count > 0)
        log_info(&log_session, LOG_EV("sessions.saved"), LOG_I("count", count));
}

/* Restoring: one session after the other is read and given to its home on this node; the rows are
 * deleted when all are done, so a crash in between repeats it. Everything is in one arena, which
 * one thread uses at a time. */

struct saved_stanza {
    uint64_t archive_id, at_us;
    uint32_t seq;
    bool delayed, waits;
    uint8_t to;
    slice text;
};

struct saved_state {
    slice feature, state;
};

struct saved {
    struct saved *next;
    struct restoring *all;
    int64_t owner;
    slice jid, resource, presence, directed, repeats;
    uint8_t token[16];
    uint64_t until_us;
    struct counts counts;
    struct saved_stanza *stanza;
    struct saved_state *state;
    uint32_t stanza_count, state_count;
};

enum { EARLIEST_US = 1000000, RESTORING_MAX = 64 }; /* sessions whose queues are read at a time */

struct restoring {
    struct arena *arena;
    struct worker *worker;
    struct saved *first, *at; /* at: the next one */
    unsigned under_way, count;
    bool any;    /* rows */
    bool others; /* rows of sessions whose home is another node, which restores them */
    bool failed; /* something could not be read: the rows stay for the next start */
    _Atomic bool *done;
};

static void sessions_saved_read_more(struct restoring *r);

static void load_queue(struct session *s, const struct saved *v)
{
    struct worker *w = s->account->worker;
    for (uint32_t i = 0; i < v->stanza_count; i++) {
        const struct saved_stanza *q = &v->stanza[i];
        struct stanza *st;
        if (stanza_load(&st, q->text, worker_xml(w), loop_scratch(worker_loop(w))) != OK)
            continue;
        s->out_count = q->seq;
        session_queue_push(s, st, q->archive_id, q->at_us);
        session_queue_at(s, s->queue_len - 1)->delayed = q->delayed;
        session_queue_at(s, s->queue_len - 1)->to = q->to;
        if (q->archive_id != 0 && !q->waits)
            mailbox_set(s->account, q->archive_id, ENTRY_TAKEN);
        stanza_unref(&st);
    }
    s->out_count = v->counts.out_count;
}

static void load_states(struct session *s, const struct saved *v)
{
    FEATURES_EACH (f, session.restore)
        for (uint32_t i = 0; i < v->state_count; i++)
            if (slice_is(v->state[i].feature, f->name))
                f->session.restore(s, v->state[i].state);
}

static void sessions_saved_restore(struct account *a, const struct saved *v)
{
    struct worker *w = a->worker;
    uint64_t now = loop_wall_us(worker_loop(w));
    ensure(account_here(a));
    if (a->state != ACTOR_READY || account_session(a, v->resource) != NULL)
        return;
    struct session *s = session_create(a, v->resource);
    memcpy(s->token, v->token, sizeof s->token);
    s->sm = v->counts.resumable ? 2 : 0;
    s->resume_max_s = v->counts.resume_max_s;
    s->in_base = v->counts.in_base;
    s->out_base = v->counts.out_base;
    s->in_count = s->h = s->h_told = s->h_asked = v->counts.h;
    s->out_acked = s->out_asked = v->counts.out_acked;
    repeats_restore(s, v->repeats);
    load_queue(s, v);
    /* not before all are back, or some would not hear of the end */
    session_hibernate(s, v->until_us > now + EARLIEST_US ? (v->until_us - now) / 1000
                                                         : EARLIEST_US / 1000);
    if (v->counts.queue_sent < s->queue_len)
        s->queue_unsent = s->queue_len - v->counts.queue_sent;
    s->interested = v->counts.interested;
    s->hidden = v->counts.hidden;
    s->collects = v->counts.collects;
    if (v->presence.len > 0 && v->counts.available &&
        stanza_load(&s->presence, v->presence, worker_xml(w), loop_scratch(worker_loop(w))) == OK) {
        s->available = true;
        s->priority = (int8_t)v->counts.priority;
    }
    presence_directed_load(s, v->directed);
    load_states(s, v);
    if (session_queue_fits(s))
        v->all->count += s->sm == 2;
    else
        session_end(s, END_EXPIRED);
}

static void one_is_done(struct restoring *r)
{
    r->under_way--;
    sessions_saved_read_more(r);
}

struct session_back {
    void *saved; /* struct saved, of the worker that reads; it stays until the question is over */
};

struct session_restoring {
    struct saved *saved;
    struct message_from from;
};

static void restore_ready(struct account *a, enum err e, void *arg)
{
    struct session_restoring *r = arg;
    struct worker *w = a->worker;
    ensure(account_here(a) && r->saved != NULL);
    if (e == OK)
        sessions_saved_restore(a, r->saved);
    question_end(w, &r->from);
    mem_free(&r);
}

static void session_back_run(struct worker *w, void *message, const struct message_from *from)
{
    struct session_restoring *r = mem_new(struct session_restoring);
    *r = (struct session_restoring){ ((const struct session_back *)message)->saved, *from };
    account_with(w, r->saved->jid, restore_ready, r);
}

static const struct message_field session_back_fields[] = {
    F_LOCAL(struct session_back, saved),
    { 0 },
};
const struct message_row session_back_message = {
    .id = 19,
    .scope = MESSAGE_PROCESS,
    .name = "session-back",
    .size = sizeof(struct session_back),
    .fields = session_back_fields,
    .run = session_back_run,
    .later = true,
};

static void restored_back(struct worker *w, void *arg)
{
    (void)w;
    one_is_done(arg);
}

static void stanzas_read(void *arg, enum store_result result, const struct store_batch *b)
{
    struct saved *v = arg;
    struct restoring *r = v->all;
    uint32_t node;
    if (result != STORE_OK) { /* without its queue it would not be the session that was saved */
        r->failed = true;
        r->at = NULL;
        one_is_done(r);
        return;
    }
    v->stanza_count = store_row_count(b, 0);
    v->stanza = arena_new(r->arena, struct saved_stanza, v->stanza_count);
    for (uint32_t i = 0; i < v->stanza_count; i++) {
        int64_t bits = store_int(b, 0, i, 3), to = bits >> TO_SHIFT;
        v->stanza[i] =
            (struct saved_stanza){ .seq = (uint32_t)store_int(b, 0, i, 0),
                                   .archive_id = (uint64_t)store_int(b, 0, i, 1),
                                   .at_us = (uint64_t)store_int(b, 0, i, 2),
                                   .delayed = (bits & BIT_DELAYED) != 0,
                                   .waits = (bits & BIT_WAITS) != 0,
                                   .to = (uint8_t)(to <= QUEUED_CARBON_BARE ? to : QUEUED_OWN),
                                   .text = slice_dup(r->arena, store_text(b, 0, i, 4)) };
    }
    v->state_count = store_row_count(b, 1);
    v->state = arena_new(r->arena, struct saved_state, v->state_count);
    for (uint32_t i = 0; i < v->state_count; i++)
        v->state[i] = (struct saved_state){ slice_dup(r->arena, store_text(b, 1, i, 0)),
                                            slice_dup(r->arena, store_text(b, 1, i, 1)) };
    unsigned home = node_home(worker_node(r->worker), v->jid, &node);
    home_ask_at(r->worker, 0, home, &session_back_message, &(struct session_back){ v },
                &(struct asker){ .done = restored_back, .arg = r });
}

/* All sessions are restored. Those that were saved only to say goodbye now send unavailable
 * presence to contacts and rooms. */
static void end_rest_run(struct worker *w, void *message, const struct message_from *from)
{
    struct session *s;
    (void)message, (void)from;
    for (uint32_t i = 0; (s = sessions_next(w, &i)) != NULL;)
        if (s->state == SESSION_HIBERNATING && s->sm == 0)
            session_end(s, END_SHUTDOWN);
}

const struct message_row end_rest_message = {
    .id = 20,
    .scope = MESSAGE_PROCESS,
    .name = "sessions-rest",
    .size = sizeof(struct message_nothing),
    .fields = message_no_fields,
    .run = end_rest_run,
};

static void rest_ended(struct worker *w, void *arg)
{
    struct restoring *r = arg;
    (void)w;
    atomic_store(r->done, true);
    arena_destroy(&r->arena);
    mem_free(&r);
}

static void drop_restored(struct worker *w, const struct saved *v)
{
    struct store_batch *b = store_write(worker_store(w), (uint64_t)v->owner);
    STORE_ADD(b, &drop_session, STORE_ANY_ROWS, SV_I(v->owner), SV_T(v->resource));
    STORE_ADD(b, &drop_stanzas_of, STORE_ANY_ROWS, SV_I(v->owner), SV_T(v->resource));
    STORE_ADD(b, &drop_states_of, STORE_ANY_ROWS, SV_I(v->owner), SV_T(v->resource));
    store_submit(b, worker_loop(w), 0, NULL, NULL);
}

static void sessions_saved_finished(struct restoring *r)
{
    if (r->count > 0)
        log_info(&log_session, LOG_EV("sessions.restored"), LOG_I("count", r->count));
    if (r->any && !r->others && !r->failed) {
        struct store_batch *b = store_write(worker_store(r->worker), 0);
        store_add(b, &drop_sessions, STORE_ANY_ROWS, NULL, 0);
        store_add(b, &drop_stanzas, STORE_ANY_ROWS, NULL, 0);
        store_add(b, &drop_states, STORE_ANY_ROWS, NULL, 0);
        store_submit(b, worker_loop(r->worker), 0, NULL, NULL);
    }
    for (const struct saved *v = r->first; r->others && !r->failed && v != NULL; v = v->next)
        drop_restored(r->worker, v);
    each_home(r->worker, &end_rest_message, &(struct message_nothing){ 0 },
              &(struct asker){ .done = rest_ended, .arg = r });
}

static void sessions_saved_read_more(struct restoring *r)
{
    for (; r->at != NULL && r->under_way < RESTORING_MAX; r->at = r->at->next) {
        struct store_batch *b = store_read(worker_store(r->worker), 0);
        STORE_ADD(b, &get_stanzas, STORE_ANY_ROWS, SV_I(r->at->owner), SV_T(r->at->resource),
                  SV_I(r->at->counts.out_acked));
        STORE_ADD(b, &get_states, STORE_ANY_ROWS, SV_I(r->at->owner), SV_T(r->at->resource));
        store_submit(b, worker_loop(r->worker), 0, stanzas_read, r->at);
        r->under_way++;
    }
    if (r->under_way == 0)
        sessions_saved_finished(r);
}

static void sessions_read(void *arg, enum store_result result, const struct store_batch *b)
{
    struct restoring *r = arg;
    struct saved **last = &r->first;
    uint32_t node;
    r->failed = result != STORE_OK;
    r->any = !r->failed && store_row_count(b, 0) > 0;
    for (uint32_t i = 0; r->any && i < store_row_count(b, 0); i++) {
        slice token, counts = store_text(b, 0, i, 5);
        struct saved *v = arena_new(r->arena, struct saved, 1);
        (void)node_home(worker_node(r->worker), store_text(b, 0, i, 1), &node);
        if (node != worker_node(r->worker)->id) {
            r->others = true;
            continue;
        }
        if (counts.len != sizeof v->counts)
            continue; /* of another version: the client logs in anew */
        v->all = r;
        v->owner = store_int(b, 0, i, 0);
        v->jid = slice_dup(r->arena, store_text(b, 0, i, 1));
        v->resource = slice_dup(r->arena, store_text(b, 0, i, 2));
        if (unseal(&token, store_text(b, 0, i, 3), token_context(v->owner, v->resource, r->arena),
                   r->arena) &&
            token.len == sizeof v->token)
            memcpy(v->token, token.ptr, token.len);
        else /* nobody has it: the session waits for its end, and gives its messages back */
            rand_bytes(v->token, sizeof v->token);
        v->until_us = (uint64_t)store_int(b, 0, i, 4);
        memcpy(&v->counts, counts.ptr, counts.len);
        v->presence = slice_dup(r->arena, store_text(b, 0, i, 6));
        v->directed = slice_dup(r->arena, store_text(b, 0, i, 7));
        v->repeats = slice_dup(r->arena, store_text(b, 0, i, 8));
        *last = v;
        last = &v->next;
    }
    r->at = r->first;
    sessions_saved_read_more(r);
}

void sessions_restore(struct worker *w, void *done)
{
    struct restoring *r = mem_new(struct restoring);
    r->arena = arena_create(0);
    r->worker = w;
    r->done = done;
    struct store_batch *b = store_read(worker_store(w), 0);
    store_add(b, &get_sessions, STORE_ANY_ROWS, NULL, 0);
    store_submit(b, worker_loop(w), 0, sessions_read, r);
}
