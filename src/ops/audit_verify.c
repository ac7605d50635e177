#include "ops/audit_verify.h"
#include "auth/seal.h"
#include "base/alarm.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/command.h"
#include "base/ensure.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/setting.h"
#include "home/duty.h"
#include "home/here.h"
#include "io/timer.h"
#include "ops/audit_chain.h"
#include "store/store.h"

enum {
    PAGE_ROWS = 500,  /* of a command */
    WATCH_ROWS = 100, /* of a check by itself */
    PAUSE_MS = 10,
    FIRST_MS = 500,
    RETRY_MS = 60000
};
#define UNSEALED_MAX (INT64_C(1) << 40) /* no log has as many entries */
#define WHOLE_US     (INT64_C(7) * 24 * 3600 * 1000000)

struct alarm audit_broken_alarm = {
    .name = "audit.broken",
    .severity = ALARM_CRITICAL,
    .text = "The audit log is not as this server has written it.",
    .action =
        "Find out who had access to the database and to secrets.key. `audit verify` names the "
        "entry where the chain breaks; compare the entries before it with a copy elsewhere "
        "(audit.syslog, `audit export`, a backup). `audit verify --after ENTRY` checks the "
        "rest. Then acknowledge the alarm with a note.",
    .explanation = "Somebody has changed or removed entries in the database, so the log does not "
                   "prove any more who did what. It also looks so when secrets.key was replaced. "
                   "After `secrets reset` it is not raised, nor when secrets.key was away and is "
                   "back: `audit verify` says how many entries cannot be verified.",
    .raised_when = "The check after the start, that at intervals of audit.verify-every, or the "
                   "weekly check of all entries finds an entry that was changed, or that entries "
                   "are missing.",
    .cleared_when = "A check of all entries finds them whole, or `audit verify` does: the log was "
                    "restored, or what is broken was deleted after audit.keep.",
    .settings = "audit.verify-every",
    .lasts = true,
};

static void verify_every_changed(struct worker *w, const struct setting *unused);

struct setting audit_verify_every = {
    .name = "audit.verify-every",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_MS,
    .def = INT64_C(24) * 3600 * 1000,
    .min = 1000,
    .max = INT64_C(7) * 24 * 3600 * 1000,
    .allow_none = true,
    .changed = verify_every_changed,
    .doc = "How often the server verifies the new entries of the audit log by itself; all of them "
           "are verified after each start and once a week. What it finds raises the alarm "
           "audit.broken. `none`: only `audit verify` does it.",
};

void audit_broken_at(slice why) { alarm_raise(&audit_broken_alarm, why); }

/* A check, in pages. */
struct audit_check {
    struct worker *worker;
    int64_t first, last; /* 0: none yet */
    int64_t known;       /* an entry that was found whole before; 0: none */
    int64_t reset;       /* of struct audit_end; 0: none, or the ends are not looked at */
    int64_t unsealed;    /* entries that were written without the key */
    uint64_t known_us, last_us;
    bool all;  /* from the begin of the log */
    bool ends; /* whether the ends of the log are what the server has written, too */
    bool said; /* an entry says that the log was broken: `why` */
    char hash[AUDIT_HASH + 1], known_hash[AUDIT_HASH + 1];
    uint32_t rows;           /* of a page */
    struct timer *pause;     /* between pages; NULL: none */
    struct why why;          /* what is wrong, where err is E_CORRUPT */
    enum store_result store; /* of the last read */
    enum err err;
    void (*done)(struct audit_check *c);
};

static void check_say_row(struct audit_check *c, int64_t id, bool wrong)
{
    if (!wrong)
        why_set(&c->why,
                "entry %lld says that the log was not as the server had left it: entries before it "
                "were removed or changed, or secrets.key is another one; --after %lld checks the "
                "rest",
                (long long)id, (long long)id);
    else if (id == c->known)
        why_set(&c->why, "entry %lld is another one than at the check before", (long long)id);
    else if (id != c->last + 1 && c->last != 0)
        why_set(&c->why, "entry %lld follows entry %lld: what was between them is gone",
                (long long)id, (long long)c->last);
    else
        why_set(&c->why, "entry %lld is not what was written; the one before it is %lld",
                (long long)id, (long long)c->last);
}

/* How many entries the arguments of an AUDIT_SEALED name: "first=7 last=9". More than there are is
 * what somebody else has written into the log while the key was away. */
static int64_t check_unsealed(slice args)
{
    slice first, last;
    int64_t from, to;
    bool fits = slice_cut(args, ' ', &first, &last) && slice_starts(first, SLICE("first=")) &&
                slice_starts(last, SLICE("last=")) && slice_int(slice_from(first, 6), &from) &&
                slice_int(slice_from(last, 5), &to);
    return fits && from > 0 && to >= from && to <= UNSEALED_MAX ? to - from + 1 : 0;
}

/* The first that is there begins the chain: what was before it is cut off. */
static bool check_row(struct audit_check *c, const struct store_batch *b, uint32_t row)
{
    char hash[AUDIT_HASH + 1];
    struct audit_texts t;
    int64_t id = store_int(b, 0, row, 0);
    slice stored = store_text(b, 0, row, 10);
    audit_texts_of(b, row, &t);
    audit_hash(hash, slice_of(c->hash), id, &t);
    bool begins = c->first == 0 && id != 1;
    bool wrong = (!begins && (id != c->last + 1 || !slice_is(stored, hash))) ||
                 stored.len != AUDIT_HASH || (id == c->known && !slice_is(stored, c->known_hash));
    if (wrong || slice_is(t.text[3], AUDIT_BROKEN))
        check_say_row(c, id, wrong);
    if (wrong) {
        c->err = E_CORRUPT;
        return false;
    }
    c->said = c->said || slice_is(t.text[3], AUDIT_BROKEN); /* what is behind it is checked, too */
    if (slice_is(t.text[3], AUDIT_SEALED))
        c->unsealed += check_unsealed(t.text[4]);
    c->first = c->first == 0 ? id : c->first;
    c->last = id;
    c->last_us = t.at_us;
    memcpy(c->hash, stored.ptr, AUDIT_HASH);
    return true;
}

/* The entry that the check before has seen last is gone, and is not old enough to be cut off. */
static bool check_known_is_gone(const struct audit_check *c, int64_t first)
{
    int64_t keep_ms = setting_int(&audit_keep);
    bool kept = keep_ms >= PARAM_NONE || c->known_us + (uint64_t)keep_ms * 1000 > clock_wall_us();
    return c->known > 0 && (c->last < c->known || first == 0 || (kept && first > c->known));
}

static void check_say_ends(struct why *why, const struct audit_end *end)
{
    why_set(why,
            "found entries %lld to %lld, which is not what the server has written: some are "
            "missing at the begin or the end, or all were written anew",
            (long long)end->first, (long long)end->number);
}

/* The last page was read with the head and the ends. */
static void check_ends(struct audit_check *c, const struct store_batch *b)
{
    struct audit_end end = { .first = c->first, .number = c->last };
    memcpy(end.hash, c->hash, sizeof end.hash);
    if (!c->all)
        end.first = store_row_count(b, 2) > 0 ? store_int(b, 2, 0, 2) : 0;
    bool gone = check_known_is_gone(c, end.first),
         fits = !gone && (!c->ends || audit_head_fits(b, 1, &end));
    c->reset = end.reset;
    if (fits && !c->said)
        return;
    c->err = E_CORRUPT;
    if (gone)
        why_set(&c->why, "entries up to %lld were there at the check before, and are gone",
                (long long)c->known);
    else if (!fits)
        check_say_ends(&c->why, &end);
}

/* The entry of which a page goes on is gone, though older ones are there: it was not cut off. */
static bool page_goes_on_nowhere(const struct store_batch *b, int64_t after, int64_t oldest)
{
    return after > 0 && oldest > 0 && oldest <= after && store_row_count(b, 0) > 0 &&
           store_int(b, 0, 0, 0) != after;
}

/* What the entry before the page says is no fault of the page. */
static bool page_rows_fit(const struct store_batch *b, uint32_t rows, int64_t after,
                          struct audit_fault *fault)
{
    struct audit_check c = { 0 };
    for (uint32_t row = 0; row < rows; row++) {
        if (check_row(&c, b, row) && (!c.said || c.last == after)) {
            c.said = false;
            continue;
        }
        *fault = (struct audit_fault){ .at = store_int(b, 0, row, 0), .why = c.why };
        return false;
    }
    return true;
}

bool audit_page_fits(const struct store_batch *b, uint32_t rows, int64_t after,
                     struct audit_fault *fault)
{
    struct audit_end end = { 0 };
    *fault = (struct audit_fault){ 0 };
    if (store_row_count(b, 2) > 0) {
        slice hash = store_text(b, 2, 0, 1);
        end = (struct audit_end){ .number = store_int(b, 2, 0, 0), .first = store_int(b, 2, 0, 2) };
        memcpy(end.hash, hash.ptr, hash.len < AUDIT_HASH ? hash.len : AUDIT_HASH);
    }
    if (page_goes_on_nowhere(b, after, end.first)) {
        fault->at = store_int(b, 0, 0, 0);
        why_set(&fault->why, "entry %lld is there, but entry %lld is gone", (long long)fault->at,
                (long long)after);
        return false;
    }
    if (!page_rows_fit(b, rows, after, fault))
        return false;
    if (audit_head_fits(b, 1, &end))
        return true;
    check_say_ends(&fault->why, &end);
    return false;
}

/* More bytes than a page of entries has that the server writes. */
static void check_too_large(struct audit_check *c)
{
    c->err = E_CORRUPT;
    c->store = STORE_OK;
    why_set(&c->why, "entries behind %lld cannot be read: they are larger than the server writes",
            (long long)c->last);
}

static void check_read_page(struct audit_check *c);

static void check_page_read(void *arg, enum store_result result, const struct store_batch *b)
{
    struct audit_check *c = arg;
    bool fine = result == STORE_OK;
    c->store = result;
    if (result == STORE_CONFLICT)
        check_too_large(c);
    else if (!fine)
        c->err = err_of_store(result);
    for (uint32_t row = 0; fine && row < store_row_count(b, 0); row++)
        fine = check_row(c, b, row);
    bool more = fine && store_row_count(b, 0) == c->rows;
    if (fine && !more)
        check_ends(c, b);
    if (!more)
        c->done(c);
    else if (c->pause != NULL)
        timer_set(worker_loop(c->worker), c->pause, PAUSE_MS);
    else
        check_read_page(c);
}

static void check_read_page(struct audit_check *c)
{
    struct store_batch *b = store_read(worker_store(c->worker), hash_keyed(SLICE("audit")));
    STORE_ADD(b, &audit_page_stmt, STORE_ANY_ROWS, SV_I(c->last), SV_I(c->rows));
    store_add(b, &audit_head_stmt, STORE_ANY_ROWS, NULL, 0);
    store_add(b, &audit_last_stmt, STORE_ANY_ROWS, NULL, 0);
    store_submit(b, worker_loop(c->worker), 0, check_page_read, c);
}

/* By itself. */
static struct {
    struct audit_check check;
    struct timer timer;   /* of the next page, or the next check */
    bool under_way;       /* a check is */
    bool again;           /* it has found something, which is looked at once more */
    bool broken;          /* the last check has found something: the next is of all entries */
    int64_t verified;     /* the last entry that was found whole; 0: none yet */
    uint64_t verified_us; /* when it was made */
    char hash[AUDIT_HASH + 1];
    uint64_t whole_us; /* when all were verified */
} watch;

static void watch_in(uint64_t ms) { timer_set(worker_loop(watch.check.worker), &watch.timer, ms); }

static void watch_next(void)
{
    int64_t every_ms = setting_int(&audit_verify_every);
    if (every_ms < PARAM_NONE)
        watch_in((uint64_t)every_ms);
}

static void watch_whole(struct audit_check *c)
{
    watch.verified = c->last;
    watch.verified_us = c->last_us;
    memcpy(watch.hash, c->hash, sizeof watch.hash);
    if (!c->all)
        return;
    watch.whole_us = loop_now_us(worker_loop(c->worker));
    log_info(&log_audit, LOG_EV("audit.verified"), LOG_C("result", err_name(OK)),
             LOG_I("entries", c->last > 0 ? c->last - c->first + 1 : 0));
    alarm_clear(&audit_broken_alarm);
}

static void audit_watch_begin(void);

/* While it is read, old entries may be cut off, and its head does not fit then: what is wrong is
 * wrong twice. */
static void audit_watch_done(struct audit_check *c)
{
    watch.under_way = false;
    watch.broken = c->err == E_CORRUPT || (watch.broken && c->err != OK);
    if (c->err == OK)
        watch_whole(c);
    if (c->err == E_CORRUPT && !watch.again) {
        watch.again = true;
        audit_watch_begin();
        return;
    }
    watch.again = false;
    if (c->err == E_CORRUPT) {
        log_error(&log_audit, LOG_EV("audit.verified"), LOG_C("result", err_name(c->err)),
                  LOG_C("why", c->why.text));
        audit_broken_at(slice_of(c->why.text));
    }
    if (c->err == OK || c->err == E_CORRUPT) {
        watch_next();
        return;
    }
    log_warn(&log_audit, LOG_EV("audit.unverified"), LOG_C("why", err_text(c->err)));
    watch_in(RETRY_MS);
}

static void audit_watch_begin(void)
{
    struct audit_check *c = &watch.check;
    uint64_t now_us = loop_now_us(worker_loop(c->worker));
    bool all = watch.broken || watch.verified == 0 || now_us - watch.whole_us >= (uint64_t)WHOLE_US;
    ensure(!watch.under_way);
    watch.under_way = true;
    *c = (struct audit_check){ .worker = c->worker,
                               .known = watch.verified,
                               .known_us = watch.verified_us,
                               .last_us = watch.verified_us,
                               .all = all,
                               .ends = true,
                               .rows = WATCH_ROWS,
                               .pause = &watch.timer,
                               .done = audit_watch_done };
    memcpy(c->known_hash, watch.hash, sizeof c->known_hash);
    if (!all) { /* goes on behind what is known */
        c->first = c->last = watch.verified;
        memcpy(c->hash, watch.hash, sizeof c->hash);
    }
    check_read_page(c);
}

static void audit_watch_due(struct timer *t, struct loop *loop)
{
    (void)t, (void)loop;
    if (watch.under_way)
        check_read_page(&watch.check);
    else if (!audit_has_begun())
        watch_in(FIRST_MS);
    else
        audit_watch_begin();
}

static void verify_every_changed(struct worker *w, const struct setting *unused)
{
    (void)unused;
    if (!duty_is_here(w, DUTY_AUDIT) || watch.check.worker != w || watch.under_way)
        return;
    timer_cancel(&watch.timer);
    watch_next();
}

void audit_watch_start(struct worker *w)
{
    memset(&watch, 0, sizeof watch);
    watch.check.worker = w;
    watch.timer.fn = audit_watch_due;
    if (setting_int(&audit_verify_every) < PARAM_NONE)
        watch_in(FIRST_MS);
}

void audit_watch_stop(void)
{
    timer_cancel(&watch.timer);
    watch.check.worker = NULL;
}

/* By a command. */
struct verify {
    struct audit_check check; /* first */
    struct audit_waiter waiter;
    struct command_call *call;
};

static void verify_end(struct command_call *call, const struct audit_check *c)
{
    int64_t before = c->reset > c->first ? c->reset - c->first : 0;
    int64_t unproven = before + c->unsealed, most = c->last - c->first + 1;
    unproven = unproven < most ? unproven : most;
    if (!c->all || !seal_ready()) {
        command_done(call, "the chain is whole; whether entries are missing at its begin or end "
                           "was not checked");
        return;
    }
    command_int(call, "unproven", unproven);
    if (unproven == 0)
        command_done(call, "the chain is whole");
    else if (before == 0)
        command_done(call,
                     "the chain is whole; whether entries of a time without secrets.key are as "
                     "they were written is not known: %lld",
                     (long long)unproven);
    else
        command_done(call,
                     "the chain is whole from entry %lld on, which says that secrets.key was made "
                     "anew; whether the %lld before it are as they were written is not known",
                     (long long)c->reset, (long long)before);
}

static void audit_verify_done(struct audit_check *c)
{
    struct command_call *call = ((struct verify *)c)->call;
    if (c->store != STORE_OK) {
        command_fail_cause(call, c->err, NULL);
        return;
    }
    command_row(call);
    command_int(call, "first", c->first);
    command_int(call, "last", c->last);
    command_text(call, "hash", slice_of(c->hash));
    if (c->err != OK) {
        command_text(call, "broken", slice_of(c->why.text));
        command_fail(call, c->err, "%s", c->why.text);
        return;
    }
    if (c->all) { /* somebody has looked: what an earlier check has seen is done with */
        watch.verified = 0;
        alarm_clear(&audit_broken_alarm);
    }
    verify_end(call, c);
}

static void audit_verify_begin(struct audit_waiter *a)
{
    check_read_page(&CONTAINER_OF(a, struct verify, waiter)->check);
}

static void run_audit_verify(struct command_call *call)
{
    struct verify *v = arena_new(call->arena, struct verify, 1);
    int64_t after = command_number(call, "after", 0);
    *v = (struct verify){ .call = call,
                          .waiter.fn = audit_verify_begin,
                          .check = { .worker = call->worker,
                                     .last = after,
                                     .all = after == 0,
                                     .ends = after == 0,
                                     .rows = PAGE_ROWS,
                                     .done = audit_verify_done } };
    audit_wait(&v->waiter);
}

struct command audit_verify_command = {
    .name = "audit verify",
    .rest = "GET /audit/verification",
    .effect = COMMAND_READS,
    .area = "audit",
    .runs_at = COMMAND_DUTY,
    .duty = DUTY_AUDIT,
    .record = true,
    .report = true,
    .finds = true,
    .args = (const struct command_arg[]){ AUDIT_BEHIND_ARG, { 0 } },
    .run = run_audit_verify,
    .doc =
        "Checks the chain of the audit log. Entries that were changed or removed are found, also "
        "at its begin and its end; it fails then. That somebody put back an older end of the log, "
        "or an older copy of the whole database, is seen only if you compare the last number and "
        "hash with those that you kept elsewhere.",
    .columns =
        (const struct command_column[]){
            { .name = "first", .type = PARAM_INT, .doc = "the oldest entry; 0: there is none" },
            { .name = "last",
              .type = PARAM_INT,
              .doc = "the newest entry; of a broken chain, the last before the break" },
            { .name = "hash", .doc = "its hash" },
            { .name = "unproven",
              .type = PARAM_INT,
              .optional = true,
              .doc = "entries of before `secrets reset`, or of a time without secrets.key, which "
                     "cannot be verified" },
            { .name = "broken",
              .optional = true,
              .doc = "where the chain breaks; only if it does" },
            { 0 } },
};
