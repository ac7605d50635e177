#include "ext/privacy/privacy_blocking.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/ensure.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "codec/xml_elem.h"
#include "codec/xml_write.h"
#include "core/feature.h"
#include "ext/privacy/privacy.h"
#include "ext/privacy/privacy_policy.h"
#include "ext/privacy/privacy_stages.h"
#include "ext/privacy/privacy_state.h"
#include "home/here.h"
#include "presence/roster.h"
#include "presence/subscription.h"
#include "session/session.h"
#include "talk/iq.h"
#include "xmpp/jid.h"
#include "xmpp/ns.h"

#define NS_BLOCKING "urn:xmpp:blocking"

enum {
    ITEMS_A_REQUEST_MAX = 1000,
    REPORT_BYTES_MAX = 4096,
    REPORTS_SHOWN = 500,
    REPORTS_SHOWN_MAX = 1000,
    REPORTS_NOTED = 20, /* of those that are deleted, for the audit log */
    REASON_NOTE_MAX = 64,
    NOTE_BYTES_MAX = 3 * COMMAND_CHANGED_MAX /* the last one may be beyond what is kept */
};

/* Rows of reports. */

/* clang-format off */
struct setting reports_max = {
    .name = "privacy.reports-max", .scope = SCOPE_CLUSTER,
    .type = PARAM_INT, .def = 1000, .min = 0, .max = 100000,
    .unit = "reports",
    .doc = "How many reports of spam and abuse (XEP-0377) are kept of one user. Further "
           "ones are not kept, but the reported contacts are blocked all the same.",
};
struct store_stmt report_stmts[5] = {
    { .name = "report.put", .params = "iittttti", .cols = "",
      .sql = "INSERT INTO report(owner, at_us, reporter, jid, reason, text, ids) "
             "SELECT $1, $2, $3, $4, $5, $6, $7 "
             "WHERE (SELECT count(*) FROM report WHERE owner = $1) < $8" },
    { .name = "report.page", .params = "iti", .cols = "iittttt",
      .sql = "SELECT id, at_us, reporter, jid, reason, text, ids FROM report WHERE id > $1 AND "
             "($2 = '' OR jid = $2) ORDER BY id LIMIT $3" },
    { .name = "report.drop", .params = "i", .cols = "",
      .sql = "DELETE FROM report WHERE id = $1" },
    { .name = "report.drop-to", .params = "i", .cols = "",
      .sql = "DELETE FROM report WHERE id <= $1" },
    { .name = "report.was", .params = "iii", .cols = "iittti",
      .sql = "SELECT id, at_us, reporter, jid, reason, CAST(length(text) AS BIGINT) FROM report "
             "WHERE id >= $1 AND id <= $2 ORDER BY id DESC LIMIT $3" },
};
/* clang-format on */

struct report {
    slice jid, reason, text, ids;
};

static void report_store(struct store_batch *b, const struct account *a, const struct report *r)
{
    STORE_ADD(b, &report_stmts[0], STORE_ANY_ROWS, SV_I(a->id), SV_I(clock_wall_us()), SV_T(a->jid),
              SV_T(r->jid), SV_T(r->reason), SV_T(r->text), SV_T(r->ids),
              SV_I(setting_int(&reports_max)));
}

/* Requests. */

struct request {
    struct rule *rules; /* what is blocked or unblocked */
    uint32_t count;
    struct report *reports;
    uint32_t report_count;
};

static bool privacy_blocking_refuse(struct privacy_change *c, enum stanza_error e, slice text)
{
    c->why.error = e;
    c->why.text = text;
    return false;
}

static bool has_jid(const struct request *r, slice jid)
{
    for (uint32_t i = 0; i < r->count; i++)
        if (slice_eq(r->rules[i].value, jid))
            return true;
    return false;
}

/* XEP-0377 §4: the reason must be there; what is not understood is left out. */
static bool parse_report(struct privacy_change *c, const struct elem *e, slice jid)
{
    struct request *r = c->request;
    struct elem child;
    struct buf ids;
    struct report *report = &r->reports[r->report_count];
    *report = (struct report){ .jid = jid, .text = SLICE("") };
    report->reason = elem_attr(e, "reason", c->arena);
    if (report->reason.len == 0 || report->reason.len > REPORT_BYTES_MAX)
        return privacy_blocking_refuse(c, SE_BAD_REQUEST, SLICE("a report has a reason"));
    buf_init(&ids, REPORT_BYTES_MAX);
    for (bool any = elem_first(e, &child); any; any = elem_next(&child, &child)) {
        if (elem_is(&child, "text", NS_REPORTING) && report->text.len == 0)
            report->text = elem_text(&child, c->arena);
        if (elem_is(&child, "stanza-id", NS_SID)) {
            buf_add(&ids, elem_attr(&child, "id", c->arena));
            buf_lit(&ids, " ");
        }
    }
    report->ids = slice_dup(c->arena, ids.len == 0 ? SLICE("") : buf_slice(&ids));
    bool fits = report->text.len <= REPORT_BYTES_MAX && !ids.overflow;
    buf_fini(&ids);
    if (!fits)
        return privacy_blocking_refuse(c, SE_NOT_ACCEPTABLE,
                                       SLICE("a report is at most 4096 bytes long"));
    r->report_count++;
    return true;
}

static bool privacy_blocking_parse_item(struct privacy_change *c, const struct elem *item)
{
    struct request *r = c->request;
    struct jid jid;
    struct elem report;
    if (!elem_is(item, "item", NS_BLOCKING))
        return privacy_blocking_refuse(c, SE_BAD_REQUEST, SLICE("items only"));
    if (jid_parse(&jid, elem_attr(item, "jid", c->arena), c->arena) != OK)
        return privacy_blocking_refuse(c, SE_JID_MALFORMED,
                                       SLICE("the jid of an item is not an address"));
    if (slice_eq(jid_bare(&jid), c->iq->account->jid))
        return privacy_blocking_refuse(c, SE_NOT_ALLOWED, SLICE("users cannot block themselves"));
    if (elem_child(item, "report", NS_REPORTING, &report) && !parse_report(c, &report, jid.full))
        return false;
    if (!has_jid(r, jid.full))
        r->rules[r->count++] = (struct rule){
            .value = jid.full, .type = RULE_JID, .action = RULE_DENY, .kinds = RULE_ALL
        };
    return true;
}

static bool privacy_blocking_parse(struct privacy_change *c)
{
    struct elem item;
    uint32_t count = 0;
    for (bool any = elem_first(&c->iq->payload, &item); any; any = elem_next(&item, &item))
        count++;
    if (count > ITEMS_A_REQUEST_MAX)
        return privacy_blocking_refuse(c, SE_NOT_ACCEPTABLE, SLICE("at most 1000 items a request"));
    struct request *r = arena_new(c->arena, struct request, 1);
    r->rules = arena_new(c->arena, struct rule, count + 1);
    r->reports = arena_new(c->arena, struct report, count + 1);
    c->request = r;
    for (bool any = elem_first(&c->iq->payload, &item); any; any = elem_next(&item, &item))
        if (!privacy_blocking_parse_item(c, &item))
            return false;
    return true;
}

static slice blocklist_name(const struct privacy *p)
{
    return p == NULL || p->standard == NULL ? SLICE(PRIVACY_BLOCKLIST) : rules_name(p->standard);
}

/* §3: what is blocked comes first in the list. What is blocked already stays where it is. */
static void plan_block(struct privacy_change *c, const struct privacy *p)
{
    struct request *r = c->request;
    const struct rules *list = p == NULL ? NULL : p->standard;
    slice name = blocklist_name(p);
    if (list == NULL)
        list = privacy_list(p, name);
    int64_t order = rules_order_first(list);
    struct rule *fresh = arena_new(c->arena, struct rule, r->count);
    uint32_t count = 0;
    struct rule old;
    for (uint32_t i = 0; i < r->count; i++) {
        if (rules_find_block(list, r->rules[i].value, INT64_MIN, &old))
            continue;
        fresh[count] = r->rules[i];
        fresh[count++].order = order--;
    }
    ensure(count <= r->count);
    if (!privacy_has_room(c, p, count, 0) || count == 0)
        return;
    c->delta[c->count++] =
        (struct privacy_delta){ .op = PRIVACY_ADD, .list = name, .rules = fresh, .count = count };
    if (p == NULL || p->standard == NULL)
        c->delta[c->count++] = (struct privacy_delta){ .op = PRIVACY_DEFAULT, .list = name };
}

/* The items to unblock: all (§3.5), or the named ones. It is not an error if one is not blocked. */
static uint32_t find_blocked(const struct request *r, const struct rules *list, struct rule *gone)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < r->count; i++)
        for (int64_t at = INT64_MIN; rules_find_block(list, r->rules[i].value, at, &gone[count]);)
            at = gone[count++].order;
    for (uint32_t i = 0; r->count == 0 && i < rules_count(list); i++) {
        gone[count] = rules_at(list, i);
        count += rule_blocks(&gone[count]);
    }
    return count;
}

static void plan_unblock(struct privacy_change *c, const struct privacy *p)
{
    struct request *r = c->request;
    const struct rules *list = p == NULL ? NULL : p->standard;
    struct rule *gone = arena_new(c->arena, struct rule, rules_count(list) + r->count + 1);
    uint32_t count = find_blocked(r, list, gone);
    if (count == 0)
        return;
    ensure(list != NULL); /* something of it is blocked */
    slice name = slice_dup(c->arena, rules_name(list));
    if (count == rules_count(list))
        c->delta[c->count++] = (struct privacy_delta){ .op = PRIVACY_DEFAULT };
    c->delta[c->count++] =
        (struct privacy_delta){ .op = PRIVACY_DROP, .list = name, .rules = gone, .count = count };
}

static void privacy_blocking_add(struct xml_write *x, slice jid)
{
    xml_empty_with(x, "item", NULL, "jid", jid);
}

/* §3.3: to all resources that have asked for the list: what the client said, without reports. */
static void privacy_blocking_push(const struct privacy_change *c, const char *what)
{
    const struct request *r = c->request;
    struct buf out;
    struct xml_write x;
    ensure(c->iq->held && account_here(c->iq->account));
    xml_begin(&x, &out, XML_STANZA_MAX);
    xml_open(&x, what, NS_BLOCKING);
    for (uint32_t i = 0; i < r->count; i++)
        privacy_blocking_add(&x, r->rules[i].value);
    xml_close(&x);
    SESSIONS_EACH (s, c->iq->account) {
        const struct privacy_session *ps = privacy_session(s);
        if (ps != NULL && ps->asked)
            privacy_push(s, &out);
    }
    buf_fini(&out);
}

static void blocked(struct privacy_change *c, enum err e)
{
    const struct request *r = c->request;
    if (e == OK)
        privacy_blocking_push(c, "block");
    for (uint32_t i = 0; e == OK && i < r->report_count; i++)
        EMIT_ONE(policy, reported, c->iq->account, r->reports[i].jid);
    privacy_change_answer(c, e);
}

static bool is_unblocked(const struct request *r, slice contact)
{
    for (uint32_t i = 0; i < r->count; i++)
        if (slice_eq(jid_bare_of(r->rules[i].value), contact) ||
            slice_eq(r->rules[i].value, jid_split(contact).domain))
            return true;
    return r->count == 0; /* all */
}

/* The answer to a subscription request was dropped, perhaps. */
static void unblocked_ask_again(const struct privacy_change *c)
{
    const struct account *a = c->iq->account;
    const struct roster *r = a->roster;
    ensure(account_here(a));
    for (uint32_t i = 0; r != NULL && i < r->count; i++) {
        slice contact = roster_item_jid(r->items[i]);
        if (is_unblocked(c->request, contact))
            subscription_ask_again(a, contact);
    }
}

static void unblocked(struct privacy_change *c, enum err e)
{
    if (e == OK) {
        privacy_blocking_push(c, "unblock");
        unblocked_ask_again(c);
    }
    privacy_change_answer(c, e);
}

static void store_reports(struct privacy_change *c, struct store_batch *b)
{
    const struct request *r = c->request;
    ensure(c->iq != NULL && c->iq->account != NULL);
    for (uint32_t i = 0; i < r->report_count; i++)
        report_store(b, c->iq->account, &r->reports[i]);
}

void blocking_block(struct iq *iq)
{
    struct privacy_change *c = privacy_change_new(iq);
    bool fine = privacy_blocking_parse(c);
    if (fine && ((struct request *)c->request)->count == 0)
        fine = privacy_blocking_refuse(c, SE_BAD_REQUEST, SLICE("nobody is named to be blocked"));
    if (!fine) {
        privacy_change_answer(c, E_DENIED);
        return;
    }
    c->plan = plan_block;
    c->done = blocked;
    if (((struct request *)c->request)->report_count > 0)
        c->store = store_reports;
    privacy_change_run(c->iq->account, c);
}

void blocking_unblock(struct iq *iq)
{
    struct privacy_change *c = privacy_change_new(iq);
    if (!privacy_blocking_parse(c)) {
        privacy_change_answer(c, E_DENIED);
        return;
    }
    c->plan = plan_unblock;
    c->done = unblocked;
    privacy_change_run(c->iq->account, c);
}

void blocking_get(struct iq *iq)
{
    const struct privacy *p = privacy_of(iq->account);
    const struct rules *list = p == NULL ? NULL : p->standard;
    struct buf out;
    struct xml_write x;
    xml_begin(&x, &out, XML_STANZA_MAX);
    xml_open(&x, "blocklist", NS_BLOCKING);
    for (uint32_t i = 0; i < rules_count(list); i++) {
        struct rule rule = rules_at(list, i);
        if (rule_blocks(&rule))
            privacy_blocking_add(&x, rule.value);
    }
    xml_close(&x);
    if (iq->session != NULL)
        privacy_session_new(iq->session)->asked = true;
    iq_result_buf(iq, &out);
}

/* Commands. */

static uint32_t reports_limit(const struct command_call *call)
{
    return (uint32_t)command_number(call, "limit", REPORTS_SHOWN);
}

static void privacy_blocking_listed(void *arg, enum store_result result,
                                    const struct store_batch *b)
{
    struct command_call *call = arg;
    uint32_t rows = store_row_count(b, 0), limit = reports_limit(call);
    char stamp[CLOCK_STAMP_LEN];
    if (result != STORE_OK) {
        command_fail_cause(call, err_of_store(result), "the reports could not be read");
        return;
    }
    for (uint32_t i = 0; i < rows && i < limit; i++) {
        command_row(call);
        command_int(call, "id", store_int(b, 0, i, 0));
        clock_stamp(stamp, (uint64_t)store_int(b, 0, i, 1));
        command_text(call, "created", slice_of(stamp));
        command_text(call, "reporter", store_text(b, 0, i, 2));
        command_text(call, "jid", store_text(b, 0, i, 3));
        command_text(call, "reason", store_text(b, 0, i, 4));
        command_text(call, "text", store_text(b, 0, i, 5));
        command_text(call, "stanza_ids", store_text(b, 0, i, 6));
    }
    if (rows > limit)
        command_done_more_number(call, store_int(b, 0, limit - 1, 0));
    else
        command_done(call, "%s", "");
}

static void privacy_blocking_run_list(struct command_call *call)
{
    struct worker *w = call->worker;
    slice jid = command_arg(call, "jid");
    struct store_batch *b = store_read(worker_store(w), 0);
    STORE_ADD(b, &report_stmts[1], STORE_ANY_ROWS, SV_I(command_number(call, "after", 0)),
              SV_T(jid.ptr == NULL ? SLICE("") : jid), SV_I(reports_limit(call) + 1));
    store_submit(b, worker_loop(w), 0, privacy_blocking_listed, call);
}

/* The newest of those that are deleted, without what their reporters wrote. */
static slice reports_note(struct arena *arena, const struct store_batch *b, int64_t count)
{
    struct buf out;
    uint32_t rows = store_row_count(b, 0);
    buf_init(&out, NOTE_BYTES_MAX);
    if (count > 1)
        buf_printf(&out, "%lld reports, the newest:", (long long)count);
    for (uint32_t i = 0; i < rows && out.len < COMMAND_CHANGED_MAX; i++) {
        char created[CLOCK_STAMP_LEN];
        clock_stamp(created, (uint64_t)store_int(b, 0, i, 1));
        buf_printf(&out, "%sid=%lld created=%s", out.len > 0 ? " " : "",
                   (long long)store_int(b, 0, i, 0), created);
        command_changed_part(&out, "reporter", store_text(b, 0, i, 2));
        command_changed_part(&out, "jid", store_text(b, 0, i, 3));
        command_changed_part(&out, "reason", utf8_head(store_text(b, 0, i, 4), REASON_NOTE_MAX));
        buf_printf(&out, " text=(%lld characters)", (long long)store_int(b, 0, i, 5));
    }
    slice text = slice_dup(arena, buf_fit(&out));
    buf_fini(&out);
    return text;
}

static void privacy_blocking_dropped(void *arg, enum store_result result,
                                     const struct store_batch *b)
{
    struct command_call *call = arg;
    int64_t count = result == STORE_OK ? store_changed(b, 1) : 0;
    if (result != STORE_OK) {
        command_fail_cause(call, err_of_store(result), "the reports could not be deleted");
    } else if (count == 0) {
        command_fail(call, E_NOTFOUND, "there is no such report; `report list` shows all");
    } else {
        command_changed(call, reports_note(call->arena, b, count), SLICE(""));
        command_done(call, "reports deleted: %lld", (long long)count);
    }
}

static void run_drop(struct command_call *call)
{
    struct worker *w = call->worker;
    struct store_batch *b = store_write(worker_store(w), 1);
    bool older = command_flag(call, "older");
    int64_t id = command_number(call, "id", 0);
    STORE_ADD(b, &report_stmts[4], STORE_ANY_ROWS, SV_I(older ? 0 : id), SV_I(id),
              SV_I(REPORTS_NOTED));
    STORE_ADD(b, &report_stmts[older ? 3 : 2], STORE_ANY_ROWS, SV_I(id));
    store_submit(b, worker_loop(w), STORE_UNTIL_DONE, privacy_blocking_dropped, call);
}

static const struct command_arg list_args[] = {
    { .name = "jid",
      .kind = ARG_OPTION,
      .type = PARAM_JID,
      .doc = "only reports about this address" },
    { .name = "after",
      .kind = ARG_OPTION,
      .type = PARAM_INT,
      .max = PARAM_NONE,
      .doc = "begin after this report" },
    COMMAND_LIMIT_ARG(REPORTS_SHOWN_MAX, "show at most this number; 500 if not given"),
    { 0 },
};
/* What `blocking_get` answers. */
static void privacy_blocking_show(struct account *a, enum err e, void *arg)
{
    const struct privacy_task *t = arg;
    ensure(account_here(a));
    if (!privacy_task_ready(t, a, e))
        return;
    const struct privacy *p = privacy_of(a);
    const struct rules *r = p != NULL ? p->standard : NULL;
    for (uint32_t i = 0; i < rules_count(r); i++) {
        struct rule rule = rules_at(r, i);
        if (!rule_blocks(&rule))
            continue;
        command_row(t->call);
        command_text(t->call, "jid", slice_dup(t->call->arena, rule.value));
    }
    command_done_listed(t->call, "jid");
}

static void privacy_blocking_run_show(struct command_call *call)
{
    privacy_task_run(call, privacy_blocking_show);
}

struct command user_blocked = {
    .name = "user blocked",
    .rest = "GET /users/{jid}/blocked",
    .effect = COMMAND_READS,
    .area = "policies",
    .args = (const struct command_arg[]){ COMMAND_USER_ARG, COMMAND_PAGE_ARGS("address"), { 0 } },
    .home = "jid",
    .run = privacy_blocking_run_show,
    .doc = "Lists the addresses that a user has blocked (XEP-0191).",
    .columns =
        (const struct command_column[]){
            { .name = "jid", .type = PARAM_JID, .doc = "the address or domain" }, { 0 } },
};

static const struct command_arg drop_args[] = {
    { .name = "id",
      .kind = ARG_POSITIONAL,
      .type = PARAM_INT,
      .max = PARAM_NONE,
      .doc = "number of the report" },
    { .name = "older",
      .kind = ARG_FLAG,
      .type = PARAM_BOOL,
      .doc = "also delete all earlier reports" },
    { 0 },
};
struct command report_list = {
    .name = "report list",
    .rest = "GET /reports",
    .effect = COMMAND_READS,
    .area = "reports",
    .args = list_args,
    .run = privacy_blocking_run_list,
    .doc = "Shows what users have reported as spam or abuse (XEP-0377), oldest first.",
    .columns =
        (const struct command_column[]){
            { .name = "id", .type = PARAM_INT, .doc = "its number" },
            { .name = "created", .type = PARAM_STAMP, .doc = "when it was made" },
            { .name = "reporter", .type = PARAM_JID, .doc = "who made it" },
            { .name = "jid", .type = PARAM_JID, .doc = "who is reported" },
            { .name = "reason", .doc = "spam or abuse" },
            { .name = "text", .doc = "what the reporter wrote" },
            { .name = "stanza_ids", .doc = "ids of messages" },
            { 0 } },
};
struct command report_drop = {
    .name = "report del",
    .rest = "DELETE /reports/{id}",
    .effect = COMMAND_CHANGES,
    .area = "reports",
    .args = drop_args,
    .run = run_drop,
    .doc = "Deletes a report.",
};
