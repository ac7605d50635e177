#include "ops/audit.h"
#include "auth/seal.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/command.h"
#include "base/ensure.h"
#include "base/hash.h"
#include "base/hex.h"
#include "base/list.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metric.h"
#include "base/setting.h"
#include "base/utf8.h"
#include "core/feature.h"
#include "home/duty.h"
#include "home/here.h"
#include "home/message.h"
#include "home/question.h"
#include "io/timer.h"
#include "ops/audit_chain.h"
#include "ops/audit_command.h"
#include "ops/audit_job.h"
#include "ops/audit_verify.h"
#include "ops/events.h"
#include <openssl/evp.h>

enum {
    PENDING_MAX = 10000,
    BATCH_MAX = 100,
    RETRY_MS = 1000,
    SWEEP_MS = 3600 * 1000,
    ANSWER_MS = 2000, /* how long an answer waits for its entry */
    LIST_DEFAULT = 100,
    LIST_MAX = 10000,
    ANSWER_BYTES_MAX = 12 << 20, /* 16 MiB is the most that control.c sends */
    ROW_BYTES = 512,             /* of an entry without its texts */
    ESCAPED_BYTES = 6,           /* a byte in JSON, at most */
};

static struct metric entries_metric = { .name = "muster_audit_entries",
                                        .kind = METRIC_COUNTER,
                                        .label = "result",
                                        .values = (const char *const[]){ "stored", "lost", NULL },
                                        .help = "Entries of the audit log." };
static struct store_stmt older_stmt = {
    .name = "audit.older",
    .sql = "SELECT count(*) FROM audit_log WHERE at_us < $1",
    .params = "i",
    .cols = "i",
};
static const struct setting_impact older_impact = {
    .stmt = &older_stmt, .what = "entries that are older", .unit_us = 1000, .deletes = true
};
struct setting audit_keep = {
    .name = "audit.keep",
    .impact = &older_impact,
    .scope = SCOPE_CLUSTER,
    .type = PARAM_MS,
    .def = INT64_C(365) * 24 * 3600 * 1000,
    .min = INT64_C(24) * 3600 * 1000,
    .max = SETTING_NONE,
    .allow_none = true,
    .doc = "How long entries of the audit log are kept. `none`: forever.",
};

static const struct store_migration migrations[] = {
    { 1,
      "CREATE TABLE audit_log(id INTEGER PRIMARY KEY, at_us INTEGER NOT NULL, actor TEXT NOT NULL, "
      "peer TEXT NOT NULL, role TEXT NOT NULL, command TEXT NOT NULL, args TEXT NOT NULL, "
      "result TEXT NOT NULL, was TEXT NOT NULL, became TEXT NOT NULL, hash TEXT NOT NULL);"
      "CREATE TABLE audit_head(id INTEGER PRIMARY KEY, sealed TEXT NOT NULL)",
      "CREATE TABLE audit_log(id BIGINT PRIMARY KEY, at_us BIGINT NOT NULL, actor TEXT NOT NULL, "
      "peer TEXT NOT NULL, role TEXT NOT NULL, command TEXT NOT NULL, args TEXT NOT NULL, "
      "result TEXT NOT NULL, was TEXT NOT NULL, became TEXT NOT NULL, hash TEXT NOT NULL);"
      "CREATE TABLE audit_head(id BIGINT PRIMARY KEY, sealed TEXT NOT NULL)" },
    { 2, AUDIT_JOB_TABLE("INTEGER"), AUDIT_JOB_TABLE("BIGINT") },
    { 0 },
};
static struct store_stmt head_put = {
    .name = "audit.head-put",
    .sql = "INSERT INTO audit_head(id, sealed) VALUES(1, $1) "
           "ON CONFLICT(id) DO UPDATE SET sealed = excluded.sealed",
    .params = "t",
    .cols = "",
};
static struct store_stmt add_stmt = {
    .name = "audit.add",
    .sql = "INSERT INTO audit_log(id, at_us, actor, peer, role, command, args, result, was, became,"
           " hash) VALUES($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
    .params = "iittttttttt",
    .cols = "",
};
static struct store_stmt newest_stmt = {
    .name = "audit.newest",
    .sql = "SELECT id, at_us, actor, peer, role, command, args, result, was, became, hash "
           "FROM audit_log WHERE ($1 = '' OR actor = $1) AND ($2 = '' OR command = $2) "
           "AND id < $3 ORDER BY id DESC LIMIT $4",
    .params = "ttii",
    .cols = "iittttttttt",
};
/* The first that stays: the last one does in any case, since it has the end of the chain. */
static struct store_stmt stays_stmt = {
    .name = "audit.stays",
    .sql = "SELECT coalesce((SELECT min(id) FROM audit_log WHERE at_us >= $1), "
           "(SELECT max(id) FROM audit_log), CAST(0 AS BIGINT))",
    .params = "i",
    .cols = "i",
};
static struct store_stmt cut_stmt = {
    .name = "audit.cut",
    .sql = "DELETE FROM audit_log WHERE id < $1",
    .params = "i",
    .cols = "",
};
static const struct store_schema schema = {
    .feature = "audit",
    .migrations = migrations,
    .stmts = (struct store_stmt *const[]){ &audit_last_stmt, &audit_head_stmt, &head_put, &add_stmt,
                                           &audit_page_stmt, &newest_stmt, &stays_stmt, &cut_stmt,
                                           &older_stmt, &audit_job_put_stmt, &audit_job_told_stmt,
                                           &audit_job_ended_stmt, &audit_job_cut_stmt, NULL },
};

struct audit_entry {
    struct list node;
    struct arena *arena;
    struct message_from asker; /* who waits until it is stored; question 0: nobody */
    struct audit_texts t;
};

static void head_add(struct store_batch *b, const struct audit_end *end)
{
    struct arena *tmp = arena_create(0);
    ensure(end->first <= end->number);
    if (seal_ready())
        STORE_ADD(b, &head_put, 1,
                  SV_T(seal(audit_head_text(end, tmp), SLICE(AUDIT_HEAD_CONTEXT), tmp)));
    arena_destroy(&tmp);
}

static struct worker *chain_worker;

/* At the home of the duty: one batch is under way at a time. */
static struct chain {
    struct list pending; /* the first `writing` of them are under way */
    unsigned count, writing, lost;
    bool known; /* whether `last` is the end of the table */
    bool busy;
    bool ending;                 /* the loop has ended */
    struct audit_end last, next; /* the second: after what is under way */
    struct audit_end sealed;     /* what the head says, while it is compared with older entries */
    bool resets;                 /* an AUDIT_RESET is pending */
    struct timer retry, sweep, patience;
} chain;

static bool looked; /* this process has compared the ends with the head */
static void (*on_stored)(void);
static void chain_go_on(void);

void audit_on_stored(void (*stored)(void)) { on_stored = stored; }

static void entry_answer(struct audit_entry *e)
{
    question_end(chain_worker, &e->asker);
    e->asker.question = 0;
}

/* Nobody waits longer: the database has failed, or takes too long. */
static void answer_all(void)
{
    LIST_EACH (it, &chain.pending)
        entry_answer(CONTAINER_OF(it, struct audit_entry, node));
}

static void patience_over(struct timer *t, struct loop *loop)
{
    (void)t, (void)loop;
    answer_all();
}

static void entry_free(struct audit_entry *e)
{
    struct arena *arena = e->arena;
    if (!chain.ending)
        entry_answer(e);
    list_remove(&e->node);
    chain.count--;
    arena_destroy(&arena);
}

static void chain_tell(const struct audit_texts *t, int64_t id)
{
    char number[24];
    const slice *x = t->text;
    snprintf(number, sizeof number, "%lld", (long long)id);
    event_tell(chain_worker, EVENT_AUDIT_ENTRY, SLICE("audit"),
               (const struct event_field[]){ { "id", slice_of(number) },
                                             { "actor", x[0] },
                                             { "from", x[1] },
                                             { "role", x[2] },
                                             { "command", x[3] },
                                             { "args", x[4] },
                                             { "result", x[5] },
                                             { "before", x[6] },
                                             { "after", x[7] },
                                             { 0 } });
}

static void chain_written(void)
{
    int64_t id = chain.last.number;
    LIST_EACH (it, &chain.pending) {
        if (id == chain.next.number || chain.ending)
            break;
        chain_tell(&CONTAINER_OF(it, struct audit_entry, node)->t, ++id);
    }
    metric_add_to(&entries_metric, 0, chain.writing);
    for (; chain.writing > 0; chain.writing--)
        entry_free(CONTAINER_OF(chain.pending.next, struct audit_entry, node));
    chain.last = chain.next;
    chain.resets = chain.resets && chain.last.reset == 0;
    if (on_stored != NULL && !chain.ending)
        on_stored();
}

static struct audit_entry *chain_push(const struct audit_texts *t);

static struct audit_entry *chain_push_own(const char *command, const char *args, enum err e)
{
    return chain_push(&(struct audit_texts){ .at_us = clock_wall_us(),
                                             .text = { SLICE_INIT("server"),
                                                       { 0 },
                                                       { 0 },
                                                       slice_of(command),
                                                       slice_of(args),
                                                       slice_of(err_name(e)) } });
}

/* It is not as the server left it. The entry stays, and `audit verify` names it. */
static void chain_say_broken(const struct audit_end *end)
{
    char found[128];
    audit_broken_at(SLICE("its ends are not as the server left them"));
    snprintf(found, sizeof found, "first=%lld last=%lld hash=%.16s", (long long)end->first,
             (long long)end->number, end->hash);
    log_error(&log_audit, LOG_EV("audit.broken"), LOG_C("found", found),
              LOG_C("hint", "the audit log is not as this server left it: somebody has changed the "
                            "database, or secrets.key is another one; see `audit verify`"));
    chain_push_own(AUDIT_BROKEN, found, E_CORRUPT);
}

static struct audit_texts reset_texts(const struct audit_end *end, struct arena *arena)
{
    return (struct audit_texts){
        .at_us = clock_wall_us(),
        .text = { SLICE_INIT("server"),
                  { 0 },
                  { 0 },
                  SLICE_INIT(AUDIT_RESET),
                  slice_of(arena_printf(arena, "first=%lld last=%lld hash=%.16s",
                                        (long long)end->first, (long long)end->number, end->hash)),
                  slice_of(err_name(OK)) }
    };
}

/* `secrets reset` has given the old key up, and this process made another one. That is no break
 * that has to be found out about, but the log says it for as long as older entries are there.
 * Somebody who has only the database cannot do this: the file of the key has to be gone. It counts
 * at the first look of a process, before which nothing was sealed with the new key. */
static void chain_reset(const struct audit_end *end)
{
    struct arena *tmp = arena_create(0);
    struct audit_texts t = reset_texts(end, tmp);
    chain.resets = true;
    chain_push(&t);
    log_warn(&log_audit, LOG_EV("audit.reset"), LOG_I("entries", end->number - end->first + 1),
             LOG_C("hint",
                   "secrets.key was made anew, so nobody can say whether the entries of the "
                   "audit log until now are as they were written"));
    arena_destroy(&tmp);
}

static void chain_unfit(const struct audit_end *end, bool first_look)
{
    if (chain.resets)
        return; /* it is not written yet */
    if (first_look && seal_is_new())
        chain_reset(end);
    else
        chain_say_broken(end);
}

/* It is written before those that wait. */
static void chain_to_front(struct audit_entry *e)
{
    ensure(chain.writing == 0);
    list_remove(&e->node);
    list_prepend(&chain.pending, &e->node);
}

/* A process without the key says so before all that it writes. */
static void chain_unsealed(void) { chain_to_front(chain_push_own(AUDIT_UNSEALED, "", OK)); }

/* The sealed entries are whole, and the entry behind them says that the server had no key. Nothing
 * proves the entries since then, as anybody who has the database can write such entries. An entry
 * says so, and the ends are sealed again. */
static void chain_seal_again(void)
{
    char found[64];
    snprintf(found, sizeof found, "first=%lld last=%lld", (long long)(chain.sealed.number + 1),
             (long long)chain.last.number);
    chain.last.reset = chain.sealed.reset;
    chain_to_front(chain_push_own(AUDIT_SEALED, found, OK));
    log_warn(&log_audit, LOG_EV("audit.sealed"),
             LOG_I("entries", chain.last.number - chain.sealed.number),
             LOG_C("hint", "secrets.key is back; nobody can say whether the entries of the audit "
                           "log from the time without it are as they were written"));
}

static void retry_due(struct timer *t, struct loop *loop)
{
    (void)t, (void)loop;
    chain_go_on();
}

static void chain_wait(enum store_result result)
{
    log_error(&log_audit, LOG_EV("audit.waits"), LOG_C("why", store_result_name(result)),
              LOG_I("entries", chain.count),
              LOG_C("hint", "entries wait in memory until the database works"));
    chain.known = false;
    if (chain.ending)
        return;
    answer_all();
    timer_set(worker_loop(chain_worker), &chain.retry, RETRY_MS);
    audit_wake(false);
}

static void chain_stored(void *arg, enum store_result result, const struct store_batch *b)
{
    (void)arg, (void)b;
    chain.busy = false;
    if (result == STORE_OK) {
        chain_written();
        chain_go_on();
    } else {
        chain_wait(result);
    }
}

static struct audit_end chain_end_of(const struct store_batch *b)
{
    struct audit_end end = { 0 };
    if (store_row_count(b, 0) == 0)
        return end;
    end.number = store_int(b, 0, 0, 0);
    end.first = store_int(b, 0, 0, 2);
    snprintf(end.hash, sizeof end.hash, "%.*s", SLICE_ARG(store_text(b, 0, 0, 1)));
    return end;
}

static void chain_looked_back(void *arg, enum store_result result, const struct store_batch *b)
{
    (void)arg;
    chain.busy = false;
    if (result != STORE_OK) {
        chain_wait(result);
        return;
    }
    struct audit_texts next = { 0 };
    bool goes_on = store_row_count(b, 0) == 2 && store_int(b, 0, 0, 0) == chain.sealed.number &&
                   slice_is(store_text(b, 0, 0, 10), chain.sealed.hash);
    if (goes_on)
        audit_texts_of(b, 1, &next);
    if (goes_on && slice_is(next.text[3], AUDIT_UNSEALED))
        chain_seal_again();
    else
        chain_say_broken(&chain.last);
    looked = true;
    chain_go_on();
}

/* Whether the head may be of the time before the key was away. Entries can only have come since, as
 * nothing is cut off without the key: at its end the log is read once more. */
static bool chain_looks_back(const struct store_batch *b)
{
    const struct audit_end *sealed = &chain.sealed;
    if (looked || chain.resets || !audit_head_read(b, 1, &chain.sealed) ||
        sealed->first != chain.last.first || sealed->number == 0 ||
        sealed->number >= chain.last.number)
        return false;
    struct store_batch *read = store_read(worker_store(chain_worker), hash_keyed(SLICE("audit")));
    STORE_ADD(read, &audit_page_stmt, STORE_ANY_ROWS, SV_I(sealed->number - 1), SV_I(2));
    chain.busy = true;
    if (chain.ending)
        (void)store_run(read, chain_looked_back, NULL);
    else
        store_submit(read, worker_loop(chain_worker), 0, chain_looked_back, NULL);
    return true;
}

/* What was under way when the database went away may have been committed. */
static void chain_last(void *arg, enum store_result result, const struct store_batch *b)
{
    (void)arg;
    chain.busy = false;
    if (result != STORE_OK) {
        chain_wait(result);
        return;
    }
    struct audit_end last = chain_end_of(b);
    if (chain.writing > 0 && last.number == chain.next.number &&
        strcmp(last.hash, chain.next.hash) == 0)
        chain_written();
    chain.writing = 0;
    chain.known = true;
    bool fits = audit_head_fits(b, 1, &last);
    chain.last = last;
    if (!fits && chain_looks_back(b))
        return;
    if (!fits)
        chain_unfit(&last, !looked);
    else if (!looked && !seal_ready())
        chain_unsealed();
    looked = true;
    chain_go_on();
}

static void chain_append(struct store_batch *b, struct audit_end *end, const struct audit_texts *t)
{
    const slice *x = t->text;
    char hash[AUDIT_HASH + 1];
    end->number++;
    end->first = end->first == 0 ? end->number : end->first;
    if (slice_is(x[3], AUDIT_RESET))
        end->reset = end->number;
    audit_hash(hash, slice_of(end->hash), end->number, t);
    memcpy(end->hash, hash, sizeof hash);
    STORE_ADD(b, &add_stmt, 1, SV_I(end->number), SV_I((int64_t)t->at_us), SV_T(x[0]), SV_T(x[1]),
              SV_T(x[2]), SV_T(x[3]), SV_T(x[4]), SV_T(x[5]), SV_T(x[6]), SV_T(x[7]),
              SV_T(slice_of(hash)));
    if (t->job != 0)
        STORE_ADD(b, &audit_job_ended_stmt, STORE_ANY_ROWS, SV_I((int64_t)t->job));
}

static struct store_batch *chain_batch(unsigned max)
{
    struct store_batch *b = store_write(worker_store(chain_worker), hash_keyed(SLICE("audit")));
    chain.next = chain.last;
    chain.writing = 0;
    LIST_EACH (it, &chain.pending) {
        if (chain.writing == max)
            break;
        chain_append(b, &chain.next, &CONTAINER_OF(it, struct audit_entry, node)->t);
        chain.writing++;
    }
    head_add(b, &chain.next);
    return b;
}

static void add_reads(struct store_batch *b)
{
    store_add(b, &audit_last_stmt, STORE_ANY_ROWS, NULL, 0);
    store_add(b, &audit_head_stmt, STORE_ANY_ROWS, NULL, 0);
}

static void chain_read(void)
{
    struct worker *w = chain_worker;
    struct store_batch *b = store_read(worker_store(w), hash_keyed(SLICE("audit")));
    ensure(!chain.busy && !chain.known);
    chain.busy = true;
    add_reads(b);
    store_submit(b, worker_loop(w), 0, chain_last, NULL);
}

static void chain_go_on(void)
{
    if (chain.busy || chain.ending)
        return;
    if (chain.count == 0) {
        if (chain.known)
            audit_wake(true);
        return;
    }
    if (!chain.known) {
        chain_read();
        return;
    }
    chain.busy = true;
    store_submit(chain_batch(BATCH_MAX), worker_loop(chain_worker), 0, chain_stored, NULL);
}

static struct audit_entry *chain_push(const struct audit_texts *t)
{
    struct arena *arena = arena_create(0);
    struct audit_entry *e = arena_new(arena, struct audit_entry, 1);
    e->arena = arena;
    e->t.at_us = t->at_us;
    e->t.job = t->job;
    for (unsigned i = 0; i < AUDIT_FIELDS; i++)
        e->t.text[i] = t->text[i].ptr == NULL ? SLICE("") : slice_dup(arena, t->text[i]);
    list_append(&chain.pending, &e->node);
    chain.count++;
    return e;
}

static void chain_say_lost(uint64_t at_us)
{
    char count[32];
    snprintf(count, sizeof count, "entries=%u", chain.lost);
    chain.lost = 0;
    chain_push(&(struct audit_texts){ .at_us = at_us,
                                      .text = { SLICE_INIT("server"),
                                                { 0 },
                                                { 0 },
                                                SLICE_INIT("audit lost"),
                                                slice_of(count),
                                                SLICE_INIT("full") } });
}

static void audit_arrived(struct worker *w, void *message, const struct message_from *from)
{
    const struct audit_texts *t = message;
    ensure(w == chain_worker);
    if (chain.count >= PENDING_MAX) {
        chain.lost++;
        metric_add_to(&entries_metric, 1, 1);
        question_end(w, from);
        return;
    }
    if (chain.lost > 0)
        chain_say_lost(t->at_us);
    chain_push(t)->asker = *from;
    if (from->question != 0 && !timer_is_set(&chain.patience))
        timer_set(worker_loop(w), &chain.patience, ANSWER_MS);
    chain_go_on();
}

static const struct message_field audit_fields[] = {
    F_U64(struct audit_texts, at_us),
    F_TEXT(struct audit_texts, text[0], AUDIT_ACTOR_MAX),
    F_TEXT(struct audit_texts, text[1], AUDIT_ACTOR_MAX),
    F_TEXT(struct audit_texts, text[2], AUDIT_ACTOR_MAX),
    F_TEXT(struct audit_texts, text[3], AUDIT_ACTOR_MAX),
    F_TEXT(struct audit_texts, text[4], 2 * AUDIT_BYTES_MAX),
    F_TEXT(struct audit_texts, text[5], AUDIT_ACTOR_MAX),
    F_TEXT(struct audit_texts, text[6], COMMAND_CHANGED_MAX),
    F_TEXT(struct audit_texts, text[7], COMMAND_CHANGED_MAX),
    F_U64(struct audit_texts, job),
    { 0 },
};
const struct message_row audit_message = {
    .id = 139,
    .scope = MESSAGE_CLUSTER,
    .name = "audit-entry",
    .size = sizeof(struct audit_texts),
    .fields = audit_fields,
    .run = audit_arrived,
    .later = true,
};

/* Where the head does not fit, a tool leaves it so: the server finds it at its start. But it knows
 * of a key that it has made. */
struct tool_read {
    struct audit_end end;
    bool fits;
};

static void tool_end(void *arg, enum store_result result, const struct store_batch *b)
{
    struct tool_read *r = arg;
    if (result != STORE_OK)
        return;
    r->end = chain_end_of(b);
    r->fits = audit_head_fits(b, 1, &r->end);
}

static void tool_reset(struct store_batch *b, struct audit_end *end)
{
    struct arena *tmp = arena_create(0);
    struct audit_texts t = reset_texts(end, tmp);
    t.text[1] = t.text[2] = SLICE("");
    chain_append(b, end, &t);
    arena_destroy(&tmp);
}

static void tool_unsealed(struct store_batch *b, struct audit_end *end)
{
    chain_append(b, end,
                 &(struct audit_texts){ .at_us = clock_wall_us(),
                                        .text = { SLICE_INIT("server"), SLICE_INIT(""),
                                                  SLICE_INIT(""), SLICE_INIT(AUDIT_UNSEALED),
                                                  SLICE_INIT(""), slice_of(err_name(OK)),
                                                  SLICE_INIT(""), SLICE_INIT("") } });
}

enum err audit_of_tool(struct store *store, slice actor, const char *command, slice args)
{
    struct tool_read r = { 0 };
    struct store_batch *b = store_read(store, 0);
    add_reads(b);
    enum store_result result = store_run(b, tool_end, &r);
    if (result == STORE_OK) {
        b = store_write(store, 0);
        if (!r.fits && seal_is_new()) {
            tool_reset(b, &r.end);
            r.fits = true;
        }
        if (!seal_ready())
            tool_unsealed(b, &r.end);
        chain_append(
            b, &r.end,
            &(struct audit_texts){ .at_us = clock_wall_us(),
                                   .text = { utf8_head(actor, AUDIT_ACTOR_MAX), SLICE(""),
                                             SLICE("administrator"), slice_of(command),
                                             utf8_head(args, AUDIT_BYTES_MAX),
                                             slice_of(err_name(OK)), SLICE(""), SLICE("") } });
        if (r.fits)
            head_add(b, &r.end);
        result = store_run(b, NULL, NULL);
    }
    return err_of_store(result);
}

static void sweep_done(void *arg, enum store_result result, const struct store_batch *b)
{
    (void)arg, (void)b;
    chain.busy = false;
    chain.known = false; /* it is read again, with its new begin */
    if (result == STORE_OK)
        chain_go_on();
    else
        chain_wait(result);
}

static void sweep_read(void *arg, enum store_result result, const struct store_batch *b)
{
    (void)arg;
    struct audit_end end = chain.last;
    chain.busy = false;
    if (result != STORE_OK || store_int(b, 0, 0, 0) <= end.first) {
        chain_go_on();
        return;
    }
    chain.busy = true;
    end.first = store_int(b, 0, 0, 0);
    struct store_batch *write = store_write(worker_store(chain_worker), hash_keyed(SLICE("audit")));
    STORE_ADD(write, &cut_stmt, STORE_ANY_ROWS, SV_I(end.first));
    head_add(write, &end);
    store_submit(write, worker_loop(chain_worker), 0, sweep_done, NULL);
}

/* For the first time at the start, when the ends of the chain are read and compared. */
static void sweep_due(struct timer *timer, struct loop *loop)
{
    int64_t keep_ms = setting_int(&audit_keep);
    bool waits = chain.busy || !chain.known;
    timer_set(loop, timer, waits ? RETRY_MS : SWEEP_MS);
    if (!chain.busy && !chain.known)
        chain_read();
    if (waits || keep_ms >= PARAM_NONE || !seal_ready())
        return;
    struct store_batch *b = store_read(worker_store(chain_worker), hash_keyed(SLICE("audit")));
    STORE_ADD(b, &stays_stmt, 1, SV_I((int64_t)clock_wall_us() - keep_ms * 1000));
    chain.busy = true;
    store_submit(b, loop, 0, sweep_read, NULL);
}

static void audit_start(struct worker *w)
{
    if (!duty_is_here(w, DUTY_AUDIT))
        return;
    chain = (struct chain){ .retry = { .fn = retry_due },
                            .sweep = { .fn = sweep_due },
                            .patience = { .fn = patience_over } };
    list_init(&chain.pending);
    audit_wait_begin();
    chain_worker = w;
    timer_set(worker_loop(w), &chain.sweep, 0);
    audit_watch_start(w);
}

static void chain_last_written(void *arg, enum store_result result, const struct store_batch *b)
{
    (void)arg, (void)b;
    if (result == STORE_OK)
        chain_written();
    else
        chain.known = false;
}

/* The loop has ended, and what is under way is not heard of any more: the table says what became of
 * it. Then the rest is written. */
static void audit_stop(struct worker *w)
{
    if (chain_worker != w)
        return;
    timer_cancel(&chain.retry);
    timer_cancel(&chain.sweep);
    timer_cancel(&chain.patience);
    audit_watch_stop();
    chain.ending = true;
    if (chain.count > 0 && (chain.busy || !chain.known)) {
        struct store_batch *b = store_read(worker_store(w), hash_keyed(SLICE("audit")));
        add_reads(b);
        (void)store_run(b, chain_last, NULL);
    }
    while (chain.count > 0 && chain.known)
        (void)store_run(chain_batch(BATCH_MAX), chain_last_written, NULL);
    if (chain.count > 0)
        log_error(&log_audit, LOG_EV("audit.lost"), LOG_I("entries", chain.count),
                  LOG_C("hint", "the database did not work; they are in this log only"));
    while (!list_empty(&chain.pending))
        entry_free(CONTAINER_OF(chain.pending.next, struct audit_entry, node));
    chain_worker = NULL;
}

/* Commands. */

static struct command audit_list;

static void audit_fail(struct command_call *call, enum store_result result)
{
    command_fail_cause(call, err_of_store(result), NULL);
}

/* Rows of an answer; one more that is read says that there are others. */
static uint32_t audit_limit(const struct command_call *call)
{
    return (uint32_t)command_number(call, "limit",
                                    call->command == &audit_list ? LIST_DEFAULT : LIST_MAX);
}

static void audit_row(struct command_call *call, const struct store_batch *b, uint32_t row)
{
    static const char *const names[AUDIT_FIELDS] = { "actor", "from",   "role",   "command",
                                                     "args",  "result", "before", "after" };
    char stamp[CLOCK_STAMP_LEN];
    struct audit_texts t;
    audit_texts_of(b, row, &t);
    clock_stamp(stamp, t.at_us);
    command_row(call);
    command_int(call, "id", store_int(b, 0, row, 0));
    command_text(call, "time", slice_dup(call->arena, slice_of(stamp)));
    for (unsigned i = 0; i < AUDIT_FIELDS; i++)
        command_text(call, names[i], slice_dup(call->arena, t.text[i]));
    command_text(call, "hash", slice_dup(call->arena, store_text(b, 0, row, 10)));
}

static size_t audit_row_bytes(const struct store_batch *b, uint32_t row)
{
    struct audit_texts t;
    size_t bytes = ROW_BYTES;
    audit_texts_of(b, row, &t);
    for (unsigned i = 0; i < AUDIT_FIELDS; i++)
        bytes += t.text[i].len * ESCAPED_BYTES;
    return bytes;
}

/* Without the row that says that there are others. An answer with many long entries ends before it
 * is too long: at least one entry fits. */
static uint32_t audit_shown(const struct command_call *call, const struct store_batch *b,
                            uint32_t skipped)
{
    uint32_t count = store_row_count(b, 0) - skipped, limit = audit_limit(call);
    uint32_t shown = 0, most = count > limit ? limit : count;
    size_t bytes = 0;
    while (shown < most && (bytes += audit_row_bytes(b, skipped + shown)) <= ANSWER_BYTES_MAX)
        shown++;
    return shown;
}

static void audit_rows_end(struct command_call *call, const struct store_batch *b, uint32_t end)
{
    if (store_row_count(b, 0) > end)
        command_done_more_number(call, store_int(b, 0, end - 1, 0));
    else
        command_done(call, "%s", "");
}

static void audit_listed(void *arg, enum store_result result, const struct store_batch *b)
{
    struct command_call *call = arg;
    if (result != STORE_OK) {
        audit_fail(call, result);
        return;
    }
    uint32_t end = audit_shown(call, b, 0);
    for (uint32_t row = 0; row < end; row++)
        audit_row(call, b, row);
    audit_rows_end(call, b, end);
}

static slice argument_or_empty(struct command_call *call, const char *name)
{
    slice text = command_arg(call, name);
    return text.ptr == NULL ? SLICE("") : text;
}

static void run_audit_list(struct command_call *call)
{
    struct worker *w = call->worker;
    struct store_batch *b = store_read(worker_store(w), hash_keyed(SLICE("audit")));
    STORE_ADD(b, &newest_stmt, STORE_ANY_ROWS, SV_T(argument_or_empty(call, "actor")),
              SV_T(argument_or_empty(call, "command")),
              SV_I(command_number(call, "after", INT64_MAX)), SV_I(audit_limit(call) + 1));
    store_submit(b, worker_loop(w), 0, audit_listed, call);
}

/* The entry before the first one was read, too, if it is there: the chain of this page is that of
 * the page before. */
static void audit_exported(void *arg, enum store_result result, const struct store_batch *b)
{
    struct command_call *call = arg;
    int64_t after = command_number(call, "after", 0);
    struct audit_fault fault;
    if (result != STORE_OK) {
        audit_fail(call, result);
        return;
    }
    uint32_t skipped = after > 0 && store_row_count(b, 0) > 0 && store_int(b, 0, 0, 0) == after;
    uint32_t end = skipped + audit_shown(call, b, skipped);
    bool fits = audit_page_fits(b, end, after, &fault);
    for (uint32_t row = skipped; row < end; row++) {
        audit_row(call, b, row);
        if (!fits && store_int(b, 0, row, 0) == fault.at)
            command_text(call, "fault", slice_dup(call->arena, slice_of(fault.why.text)));
    }
    if (!fits)
        command_note(call, arena_printf(call->arena, "the chain is broken: %s", fault.why.text));
    audit_rows_end(call, b, end);
}

struct exporting {
    struct audit_waiter waiter; /* first */
    struct command_call *call;
};

static void audit_export_begin(struct audit_waiter *a)
{
    struct command_call *call = ((struct exporting *)a)->call;
    struct worker *w = call->worker;
    int64_t after = command_number(call, "after", 0);
    struct store_batch *b = store_read(worker_store(w), hash_keyed(SLICE("audit")));
    STORE_ADD(b, &audit_page_stmt, STORE_ANY_ROWS, SV_I(after - (after > 0)),
              SV_I(audit_limit(call) + 2));
    store_add(b, &audit_head_stmt, STORE_ANY_ROWS, NULL, 0);
    store_add(b, &audit_last_stmt, STORE_ANY_ROWS, NULL, 0);
    store_submit(b, worker_loop(w), 0, audit_exported, call);
}

static void run_audit_export(struct command_call *call)
{
    struct exporting *e = arena_new(call->arena, struct exporting, 1);
    *e = (struct exporting){ .waiter.fn = audit_export_begin, .call = call };
    audit_wait(&e->waiter);
}

/* Columns of `audit list`; an export says more. */
#define ENTRY_COLUMNS                                                                              \
    { .name = "id", .type = PARAM_INT, .doc = "number of the entry" },                             \
        { .name = "time", .type = PARAM_STAMP, .exact = true, .doc = "when the command ended" },   \
        { .name = "actor", .doc = "who ran it" },                                                  \
        { .name = "from",                                                                          \
          .doc = "address of the client; empty: at the server, or a user of another one" },        \
        { .name = "role", .wide = true, .doc = "role of the actor" },                              \
        { .name = "command", .doc = "the command" },                                               \
        { .name = "args", .doc = "its arguments, without secrets" },                               \
        { .name = "result", .doc = "ok, the error, or interrupted" },                              \
        { .name = "before", .wide = true, .doc = "the value before, if the command knows it" },    \
        { .name = "after", .wide = true, .doc = "the value after, or the result of a job" },       \
    {                                                                                              \
        .name = "hash", .wide = true, .doc = "SHA-256 of this entry and the hash before it"        \
    }

static const struct command_column entry_columns[] = { ENTRY_COLUMNS, { 0 } };
static const struct command_column exported_columns[] = {
    ENTRY_COLUMNS,
    { .name = "fault",
      .optional = true,
      .doc = "why the chain breaks at this entry; entries behind it are not checked" },
    { 0 },
};

static struct command audit_list = {
    .name = "audit list",
    .rest = "GET /audit",
    .effect = COMMAND_READS,
    .area = "audit",
    .runs_at = COMMAND_DUTY,
    .duty = DUTY_AUDIT,
    .args =
        (const struct command_arg[]){
            { .name = "actor", .kind = ARG_OPTION, .doc = "only of this actor" },
            { .name = "command", .kind = ARG_OPTION, .doc = "only of this command" },
            { .name = "after",
              .kind = ARG_OPTION,
              .type = PARAM_INT,
              .min = 1,
              .max = PARAM_NONE,
              .doc = "go on behind the entry of this number, with older ones" },
            COMMAND_LIMIT_ARG(LIST_MAX, "at most this number of entries"),
            { 0 } },
    .run = run_audit_list,
    .doc = "Shows the newest entries of the audit log: who changed what, and what was refused.",
    .columns = entry_columns,
};
static struct command audit_export = {
    .name = "audit export",
    .rest = "GET /audit/export",
    .effect = COMMAND_READS,
    .area = "audit",
    .audited = true,
    .runs_at = COMMAND_DUTY,
    .duty = DUTY_AUDIT,
    .args =
        (const struct command_arg[]){ AUDIT_BEHIND_ARG,
                                      COMMAND_LIMIT_ARG(LIST_MAX, "at most this number of entries"),
                                      { 0 } },
    .run = run_audit_export,
    .doc = "Exports the audit log, the oldest entries first. An answer with many long entries ends "
           "early, and says behind which entry to go on. The export has an entry itself. If the "
           "chain of these entries is broken, it says where. `audit verify` checks all entries.",
    .columns = exported_columns,
};
const struct feature audit_feature = {
    .name = "audit",
    .schema = &schema,
    .settings = (struct setting *const[]){ &audit_keep, &audit_verify_every, NULL },
    .alarms = (struct alarm *const[]){ &audit_broken_alarm, NULL },
    .commands =
        (struct command *const[]){ &audit_list, &audit_export, &audit_verify_command, NULL },
    .metrics = (struct metric *const[]){ &entries_metric, NULL },
    .logs = (struct log_area *const[]){ &log_audit, &audit_log_commands, NULL },
    .messages = (const struct message_row *const[]){ &audit_message, NULL },
    .worker.start = audit_start,
    .worker.stop = audit_stop,
};
