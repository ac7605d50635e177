/* report: who is connected with which devices (command "session report"). The kind of a device is
 * in the capabilities of its client (presence/caps.h). */
#include "account/account.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/command.h"
#include "core/feature.h"
#include "ext/ext.h"
#include "home/here.h"
#include "home/node.h"
#include "ops/outside_users.h"
#include "presence/caps.h"

enum { ROWS_MAX = 50000 };

struct count {
    struct command_call *call;
    const char *node;
    bool totals;
    int64_t users, with_one, with_more, session_count;
    unsigned rows;
    char time[CLOCK_STAMP_LEN];
};

static const struct caps_client *client_of(struct session *s)
{
    static const struct caps_client unknown = { .device = "unknown" };
    const struct caps_client *c = caps_client(s);
    return c == NULL ? &unknown : c;
}

static bool same_kind(struct session *s, struct session *t)
{
    const struct caps_client *a = client_of(s), *b = client_of(t);
    return strcmp(a->device, b->device) == 0 && strcmp(a->software, b->software) == 0;
}

static void report_add_row(struct count *c, struct session *s, unsigned sessions)
{
    const struct caps_client *client = client_of(s);
    command_row(c->call);
    command_text(c->call, "node", slice_of(c->node));
    command_text(c->call, "user", s->account->jid);
    command_text(c->call, "device", slice_of(client->device));
    command_text(c->call, "software", slice_of(client->software));
    command_int(c->call, "sessions", sessions);
    command_text(c->call, "time", slice_of(c->time));
}

/* One row for each kind of client that the user has. */
static void count_account(struct count *c, const struct account *a)
{
    unsigned sessions = 0;
    SESSIONS_EACH (s, a) {
        unsigned alike = 0, before = 0;
        sessions++;
        SESSIONS_EACH (other, a) {
            if (!same_kind(s, other))
                continue;
            alike++;
            before += other->since_us < s->since_us ||
                      (other->since_us == s->since_us && other->id < s->id);
        }
        if (before > 0 || c->totals)
            continue;
        if (c->rows++ < ROWS_MAX)
            report_add_row(c, s, alike);
        else
            c->call->left_out++;
    }
    c->users += sessions > 0;
    c->with_one += sessions == 1;
    c->with_more += sessions > 1;
    c->session_count += sessions;
}

static void report_add_totals(const struct count *c)
{
    command_row(c->call);
    command_text(c->call, "node", slice_of(c->node));
    command_int(c->call, "users", c->users);
    command_int(c->call, "one_device", c->with_one);
    command_int(c->call, "several_devices", c->with_more);
    command_int(c->call, "sessions", c->session_count);
    command_text(c->call, "time", slice_of(c->time));
}

/* Of each worker the totals, too. */
static void report_run_report(struct command_call *call)
{
    const struct worker *w = call->worker;
    const struct account *a;
    struct count c = { .call = call,
                       .totals = command_flag(call, "totals"),
                       .node = worker_node(w)->name };
    clock_stamp(c.time, loop_wall_us(worker_loop(w)));
    for (uint32_t i = 0; (a = accounts_next(w, &i)) != NULL;)
        if (session_next(a, NULL) != NULL && !outside_is_test(a))
            count_account(&c, a);
    report_add_totals(&c);
}

static void report_add_up(struct count *c, const struct command_row *r)
{
    c->users += command_row_int(r, "users");
    c->with_one += command_row_int(r, "one_device");
    c->with_more += command_row_int(r, "several_devices");
    c->session_count += command_row_int(r, "sessions");
}

static void report_gathered(struct command_call *call)
{
    const struct worker *w = call->worker;
    struct count c = { .call = call, .node = worker_node(w)->name };
    struct command_row *r = command_take_rows(call), *next;
    for (; r != NULL; r = next) {
        next = r->next;
        if (command_row_text(r, "users").ptr != NULL)
            report_add_up(&c, r);
        else
            command_keep_row(call, r);
    }
    command_limit_rows(call, ROWS_MAX);
    clock_stamp(c.time, loop_wall_us(worker_loop(w)));
    if (command_flag(call, "totals"))
        report_add_totals(&c);
    if (call->left_out > 0)
        command_done(call, "%llu rows, of which %d are shown; --totals counts all",
                     (unsigned long long)(ROWS_MAX + call->left_out), ROWS_MAX);
    else
        command_done(call, "users: %lld, sessions: %lld", (long long)c.users,
                     (long long)c.session_count);
}

static const struct command_arg report_args[] = {
    { .name = "totals",
      .kind = ARG_FLAG,
      .type = PARAM_BOOL,
      .doc = "only numbers: users, sessions, and users with several devices" },
    { 0 },
};
static struct command session_report = {
    .name = "session report",
    .effect = COMMAND_READS,
    .area = "sessions",
    .args = report_args,
    .runs_at = COMMAND_EACH,
    .run = report_run_report,
    .gathered = report_gathered,
    .doc = "Shows who is connected with which kinds of clients: a row for each user and kind. The "
           "kind is what the client announces in service discovery: pc, phone, tablet, web and "
           "others, or \"unknown\". With `musterctl --csv` it is a table for spreadsheets.",
    .record = true,
    .columns =
        (const struct command_column[]){
            { .name = "node", .doc = "name of the node" },
            { .name = "user", .optional = true, .type = PARAM_USER, .doc = "the user" },
            { .name = "device", .optional = true, .doc = "kind of the client: pc, phone, ..." },
            { .name = "software", .optional = true, .doc = "name of the client" },
            { .name = "users",
              .optional = true,
              .type = PARAM_INT,
              .doc = "users who are connected" },
            { .name = "one_device",
              .optional = true,
              .type = PARAM_INT,
              .doc = "of these, with one session" },
            { .name = "several_devices",
              .optional = true,
              .type = PARAM_INT,
              .doc = "of these, with several sessions" },
            { .name = "sessions", .type = PARAM_INT, .doc = "their sessions" },
            { .name = "time", .type = PARAM_STAMP, .doc = "when it was counted" },
            { 0 } },
};

const struct feature report_feature = {
    .name = "report",
    .commands = (struct command *const[]){ &session_report, NULL },
};
