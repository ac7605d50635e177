#include "ext/federation/federation_domain.h"
#include "account/account.h"
#include "base/alarm.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/command.h"
#include "base/ensure.h"
#include "base/setting.h"
#include "ext/federation/federation.h"
#include "ext/federation/federation_book.h"
#include "home/here.h"
#include "home/node.h"
#include "remote/foreign.h"
#include "store/store.h"
#include <inttypes.h>
#include <stdio.h>

enum {
    DAY_S = 86400,
    KEPT_DAYS = 30,
    DOMAINS_MAX = 10000,
    DOMAINS_BYTES_MAX = FEDERATION_LIST_BYTES,
    REPORTED_MAX = DOMAINS_MAX / 2, /* blocked by reports: the rest is for administrators */
    USER_REPORTS_MAX = 200          /* domains that count for one user */
};
/* In the database. */
enum domain_state { DOMAIN_REPORTED = 1, DOMAIN_BLOCKED = 2 };
static slice state_name(int64_t state)
{
    static const char *const names[] = { "", "reported", "blocked" };
    bool sound = state >= DOMAIN_REPORTED && state <= DOMAIN_BLOCKED;
    return slice_of(names[sound ? state : 0]);
}

struct setting federation_reports_block = {
    .name = "federation.reports-to-block",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_INT,
    .def = PARAM_NONE,
    .min = 1,
    .max = 100000,
    .allow_none = true,
    .unit = "users",
    .doc = "When so many users have reported addresses of another domain for spam or abuse "
           "(XEP-0377) within 24 hours, that domain is blocked until an administrator decides "
           "(`federation allow` or `federation block`). none: reports block nothing.",
};
struct alarm federation_reported_alarm = {
    .name = "federation.reported",
    .severity = ALARM_WARNING,
    .text = "A domain is blocked because users have reported addresses of it.",
    .action = "Look at `musterctl report list` and `musterctl federation list`, then decide with "
              "`musterctl federation allow DOMAIN` or `musterctl federation block DOMAIN`.",
    .explanation =
        "If enough users report addresses of a domain as spam or abuse, the server blocks it "
        "until an administrator decides.",
    .raised_when = "Reports have blocked a domain.",
    .cleared_when = "An administrator has decided about each such domain.",
    .settings = "federation.reports-to-block",
};

struct store_stmt federation_domains_all = {
    .name = "federation.domains",
    .sql = "SELECT domain, state, at_us, reports FROM federation_domain ORDER BY domain "
           "LIMIT 10000",
    .params = "",
    .cols = "tiii",
};
static struct store_stmt stmt_prune = {
    .name = "federation.reports-prune",
    .sql = "DELETE FROM federation_report WHERE at_us < $1",
    .params = "i",
    .cols = "",
};
static struct store_stmt stmt_report = {
    .name = "federation.report",
    .sql = "INSERT INTO federation_report(domain, owner, at_us) SELECT v.d, v.o, v.t FROM "
           "(SELECT CAST($1 AS TEXT) AS d, CAST($2 AS BIGINT) AS o, CAST($3 AS BIGINT) AS t) AS v "
           "WHERE (SELECT count(*) FROM federation_report r WHERE r.owner = $2 AND r.domain <> $1) "
           "< $4 ON CONFLICT(domain, owner) DO UPDATE SET at_us = excluded.at_us",
    .params = "tiii",
    .cols = "",
};
/* $1 domain, $2 now, $3 since when reports count, $4 how many are needed, $5 how many domains
 * reports may block. */
static struct store_stmt stmt_judge = {
    .name = "federation.judge",
    .sql = "INSERT INTO federation_domain(domain, state, at_us, reports) "
           "SELECT v.d, 1, v.t, v.n FROM (SELECT CAST($1 AS TEXT) AS d, CAST($2 AS BIGINT) AS t, "
           "count(*) AS n FROM federation_report r WHERE r.domain = $1 AND r.at_us > $3) AS v "
           "WHERE v.n >= $4 "
           "AND (SELECT count(*) FROM federation_domain f WHERE f.state = 1) < $5 "
           "ON CONFLICT(domain) DO NOTHING",
    .params = "tiiii",
    .cols = "",
};
static struct store_stmt stmt_state = {
    .name = "federation.state",
    .sql = "SELECT state FROM federation_domain WHERE domain = $1",
    .params = "t",
    .cols = "i",
};
static struct store_stmt stmt_decide = {
    .name = "federation.decide",
    .sql = "INSERT INTO federation_domain(domain, state, at_us, reports) SELECT v.d, v.s, v.t, 0 "
           "FROM (SELECT CAST($1 AS TEXT) AS d, CAST($2 AS BIGINT) AS s, CAST($3 AS BIGINT) AS t) "
           "AS v WHERE (SELECT count(*) FROM federation_domain WHERE domain <> $1) < 10000 "
           "ON CONFLICT(domain) DO UPDATE SET state = excluded.state, at_us = excluded.at_us",
    .params = "tii",
    .cols = "",
};
static struct store_stmt stmt_allow = {
    .name = "federation.allow",
    .sql = "DELETE FROM federation_domain WHERE domain = $1",
    .params = "t",
    .cols = "",
};
static struct store_stmt stmt_forget = {
    .name = "federation.reports-forget",
    .sql = "DELETE FROM federation_report WHERE domain = $1",
    .params = "t",
    .cols = "",
};
static struct store_stmt stmt_counts = {
    .name = "federation.report-counts",
    .sql = "SELECT domain, count(*), max(at_us) FROM federation_report WHERE at_us > $1 "
           "GROUP BY domain ORDER BY 2 DESC, 1 LIMIT 1000",
    .params = "i",
    .cols = "tii",
};
struct store_stmt *const federation_domain_stmts[] = { &federation_domains_all,
                                                       &stmt_prune,
                                                       &stmt_report,
                                                       &stmt_judge,
                                                       &stmt_state,
                                                       &stmt_decide,
                                                       &stmt_allow,
                                                       &stmt_forget,
                                                       &stmt_counts,
                                                       NULL };

/* The book: those that are blocked. */
void federation_domains_read(const struct store_batch *b, unsigned stmt)
{
    struct federation_list *list = NULL;
    struct why why = { "" };
    struct buf text;
    char detail[2 * ALARM_DETAIL_BYTES];
    int64_t waiting = 0;
    buf_init(&text, DOMAINS_BYTES_MAX);
    for (uint32_t i = 0; i < store_row_count(b, stmt); i++) {
        int64_t state = store_int(b, stmt, i, 1);
        slice domain = store_text(b, stmt, i, 0);
        buf_add(&text, domain);
        buf_lit(&text, "\n");
        if (state == DOMAIN_REPORTED && waiting++ == 0)
            snprintf(detail, sizeof detail, "%.*s", SLICE_ARG(domain));
    }
    if (federation_list_read(&list, buf_fit(&text), &why) == OK)
        federation_book_put_decided(list);
    else
        log_error(&log_federation, LOG_EV("federation.domains"), LOG_C("why", why.text));
    buf_fini(&text);
    if (waiting > 0)
        alarm_raise(&federation_reported_alarm, slice_of(detail));
    else
        alarm_clear(&federation_reported_alarm);
}

/* Reports. */

static void domain_judged(void *arg, enum store_result result, const struct store_batch *b)
{
    struct account *a = arg;
    ensure(account_is_pinned(a));
    unsigned last = result == STORE_OK ? store_stmt_count(b) - 1 : 0;
    if (result != STORE_OK)
        log_warn(&log_federation, LOG_EV("federation.report"),
                 LOG_C("why", store_result_name(result)));
    else if (last == 2 && store_changed(b, last) > 0)
        federation_reload(a->worker, NULL, NULL);
    account_unpin(a);
}

void federation_domain_reported(struct account *a, slice jid)
{
    slice domain = jid_split(jid).domain;
    int64_t needed = setting_int(&federation_reports_block);
    ensure(account_here(a));
    if (!foreign_is(a->worker, domain))
        return;
    int64_t now = (int64_t)clock_wall_us();
    struct store_batch *b = store_write(worker_store(a->worker), 0);
    STORE_ADD(b, &stmt_prune, STORE_ANY_ROWS, SV_I(now - (int64_t)KEPT_DAYS * DAY_S * 1000000));
    STORE_ADD(b, &stmt_report, STORE_ANY_ROWS, SV_T(domain), SV_I(a->id), SV_I(now),
              SV_I(USER_REPORTS_MAX));
    if (needed != PARAM_NONE)
        STORE_ADD(b, &stmt_judge, STORE_ANY_ROWS, SV_T(domain), SV_I(now),
                  SV_I(now - (int64_t)DAY_S * 1000000), SV_I(needed), SV_I(REPORTED_MAX));
    account_pin(a);
    store_submit(b, worker_loop(a->worker), 0, domain_judged, a);
}

/* Commands. */

static void domain_applies(struct worker *w, void *arg)
{
    struct command_call *call = arg;
    slice domain = command_arg(call, "domain");
    (void)w;
    command_done(call, "%.*s is %s", SLICE_ARG(domain),
                 call->command == &federation_block ? "blocked" : "not blocked any more");
}

static void domain_decided(void *arg, enum store_result result, const struct store_batch *b)
{
    struct command_call *call = arg;
    bool blocks = call->command == &federation_block;
    slice domain = command_arg(call, "domain");
    if (result != STORE_OK) {
        command_fail_cause(call, err_of_store(result), NULL);
        return;
    }
    if (store_changed(b, 1) == 0) {
        if (blocks)
            command_fail(call, E_LIMIT,
                         "%d domains are listed, which is the most; `federation allow` removes "
                         "one, or use the file federation.blocklist",
                         DOMAINS_MAX);
        else
            command_fail(call, E_NOTFOUND,
                         "%.*s is not in the list of blocked domains; `federation list` shows it",
                         SLICE_ARG(domain));
        return;
    }
    bool was = store_row_count(b, 0) > 0;
    command_changed(call, was ? state_name(store_int(b, 0, 0, 0)) : SLICE(""),
                    blocks ? state_name(DOMAIN_BLOCKED) : SLICE(""));
    federation_reload(call->worker, domain_applies, call);
}

/* A domain, or `*.` and a domain, as it is stored. */
static bool domain_pattern(slice text, struct arena *arena, slice *pattern, slice *domain)
{
    bool below = slice_starts(text, SLICE("*."));
    if (jid_prep_domain(below ? slice_from(text, 2) : text, arena, domain) != OK ||
        memchr(domain->ptr, '*', domain->len) != NULL || memchr(domain->ptr, ' ', domain->len) ||
        (below && !jid_may_have_below(*domain)))
        return false;
    *pattern = below ? slice_of(arena_printf(arena, "*.%.*s", SLICE_ARG(*domain))) : *domain;
    return true;
}

static bool domain_pattern_ok(slice text)
{
    struct arena *tmp = arena_create(0);
    slice pattern, domain;
    bool ok = domain_pattern(text, tmp, &pattern, &domain);
    arena_destroy(&tmp);
    return ok;
}

static void domain_run_decide(struct command_call *call)
{
    struct worker *w = call->worker;
    slice pattern, domain;
    bool read = domain_pattern(command_arg(call, "domain"), call->arena, &pattern, &domain);
    ensure(read); /* the row has checked it */
    if (!foreign_is(w, domain)) {
        command_fail(call, E_SYNTAX, "%.*s is a domain of this server, not a foreign one",
                     SLICE_ARG(domain));
        return;
    }
    struct store_batch *b = store_write(worker_store(w), 0);
    STORE_ADD(b, &stmt_state, STORE_ANY_ROWS, SV_T(pattern)); /* what was before */
    if (call->command == &federation_block) {
        STORE_ADD(b, &stmt_decide, STORE_ANY_ROWS, SV_T(pattern), SV_I(DOMAIN_BLOCKED),
                  SV_I(clock_wall_us()));
    } else {
        command_idle_while_off(call, "s2s.policy", "open");
        STORE_ADD(b, &stmt_allow, STORE_ANY_ROWS, SV_T(pattern));
        STORE_ADD(b, &stmt_forget, STORE_ANY_ROWS, SV_T(pattern));
    }
    store_submit(b, worker_loop(w), STORE_UNTIL_DONE, domain_decided, call);
}

static void domain_add_stamp(struct command_call *call, const char *key, int64_t at_us)
{
    char stamp[CLOCK_STAMP_LEN];
    clock_stamp(stamp, (uint64_t)at_us);
    command_text(call, key, slice_dup(call->arena, slice_of(stamp)));
}

static void domains_are_listed(void *arg, enum store_result result, const struct store_batch *b)
{
    struct command_call *call = arg;
    if (result != STORE_OK) {
        command_fail_cause(call, err_of_store(result), NULL);
        return;
    }
    for (uint32_t i = 0; i < store_row_count(b, 0); i++) {
        command_row(call);
        command_text(call, "domain", slice_dup(call->arena, store_text(b, 0, i, 0)));
        command_text(call, "state", state_name(store_int(b, 0, i, 1)));
        command_int(call, "reports", store_int(b, 0, i, 3));
        domain_add_stamp(call, "since", store_int(b, 0, i, 2));
    }
    command_done_listed_with(call, "domain",
                             arena_printf(call->arena, "patterns in the blocklist file: %" PRIu32,
                                          federation_book_file_count()));
}

static void domains_run_list(struct command_call *call)
{
    const struct worker *w = call->worker;
    struct store_batch *b = store_read(worker_store(w), 0);
    store_add(b, &federation_domains_all, STORE_ANY_ROWS, NULL, 0);
    store_submit(b, worker_loop(w), 0, domains_are_listed, call);
}

static void reports_counted(void *arg, enum store_result result, const struct store_batch *b)
{
    struct command_call *call = arg;
    if (result != STORE_OK) {
        command_fail_cause(call, err_of_store(result), NULL);
        return;
    }
    for (uint32_t i = 0; i < store_row_count(b, 0); i++) {
        command_row(call);
        command_text(call, "domain", slice_dup(call->arena, store_text(b, 0, i, 0)));
        command_int(call, "users", store_int(b, 0, i, 1));
        domain_add_stamp(call, "last", store_int(b, 0, i, 2));
    }
    command_done_listed(call, "domain");
}

static void reports_run(struct command_call *call)
{
    const struct worker *w = call->worker;
    int64_t days = command_number(call, "days", 1);
    struct store_batch *b = store_read(worker_store(w), 0);
    STORE_ADD(b, &stmt_counts, STORE_ANY_ROWS,
              SV_I((int64_t)clock_wall_us() - days * DAY_S * 1000000));
    store_submit(b, worker_loop(w), 0, reports_counted, call);
}

static const struct command_arg domain_args[] = {
    { .name = "domain",
      .kind = ARG_POSITIONAL,
      .type = PARAM_TEXT,
      .min = 1,
      .max = JID_PART_MAX,
      .refers = REFERS_PARTNER,
      .check = domain_pattern_ok,
      .form = "a domain, *.DOMAIN for all below it, or an IP address in full",
      .example = "partner.example",
      .doc = "domain of another server; *.DOMAIN is all below it" },
    { 0 },
};
static const struct command_arg reports_args[] = {
    { .name = "days",
      .kind = ARG_OPTION,
      .type = PARAM_INT,
      .min = 1,
      .max = KEPT_DAYS,
      .doc = "reports of so many days; the default is 1" },
    COMMAND_PAGE_ARGS("domain"),
    { 0 },
};
struct command federation_block = {
    .name = "federation block",
    .rest = "PUT /federation/blocked/{domain}",
    .effect = COMMAND_CHANGES,
    .area = "federation",
    .args = domain_args,
    .run = domain_run_decide,
    .doc = "Blocks a domain of another server. No user and no service reaches it; its streams "
           "end.",
};
struct command federation_allow = {
    .name = "federation allow",
    .rest = "DELETE /federation/blocked/{domain}",
    .effect = COMMAND_CHANGES,
    .area = "federation",
    .args = domain_args,
    .run = domain_run_decide,
    .doc = "Ends the block of a domain and forgets the reports of it. s2s.policy and the file "
           "federation.blocklist apply to the domain as before.",
};
struct command federation_listed = {
    .name = "federation list",
    .rest = "GET /federation/blocked",
    .effect = COMMAND_READS,
    .area = "federation",
    .args = (const struct command_arg[]){ COMMAND_PAGE_ARGS("domain"), { 0 } },
    .run = domains_run_list,
    .doc = "Lists the foreign domains that are blocked: by administrators, or by reports.",
    .columns =
        (const struct command_column[]){
            { .name = "domain", .doc = "the domain" },
            { .name = "state", .doc = "blocked, or reported: blocked until you decide" },
            { .name = "reports",
              .type = PARAM_INT,
              .unit = "users",
              .doc = "how many users had reported it" },
            { .name = "since", .type = PARAM_STAMP, .doc = "when it was decided" },
            { 0 } },
};
struct command federation_reports = {
    .name = "federation reports",
    .rest = "GET /federation/reports",
    .effect = COMMAND_READS,
    .area = "federation",
    .args = reports_args,
    .run = reports_run,
    .doc = "Counts reports of spam and abuse by foreign domain (XEP-0377): how many users have "
           "reported addresses of it. `report list` shows single reports.",
    .columns =
        (const struct command_column[]){
            { .name = "domain", .doc = "the domain" },
            { .name = "users",
              .type = PARAM_INT,
              .unit = "users",
              .doc = "how many users have reported it" },
            { .name = "last", .type = PARAM_STAMP, .doc = "when it was reported last" },
            { 0 } },
};
