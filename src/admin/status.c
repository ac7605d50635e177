#include "admin/status.h"
#include "account/account.h"
#include "admin/control.h"
#include "admin/lifecycle.h"
#include "admin/metrics_text.h"
#include "base/alarm.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/command.h"
#include "base/list.h"
#include "base/metric.h"
#include "core/feature.h"
#include "home/here.h"
#include "home/node.h"
#include "io/work.h"
#include "ops/outside_users.h"
#include "session/sessions.h"
#include "xmpp/precis.h"
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

enum { PROC_BYTES_MAX = 4096, MEMORY_MS = 1000 };

/* A running `status` command: it visits all workers, then a helper thread, because reading the
 * memory figures makes the kernel walk all pages. Lives in the arena of its call. */
struct status {
    struct work work;
    struct timer timer; /* until it goes without the memory figures */
    struct command_call *call;
    uint64_t session_count, accounts;
    int64_t rss_kib, pss_kib; /* -1: unknown */
};

/* "Pss:    1234 kB" */
static int64_t proc_kib(slice text, slice key)
{
    slice line, rest = text;
    while (rest.len > 0) {
        slice_cut(rest, '\n', &line, &rest);
        if (slice_starts(line, key))
            return strtoll(line.ptr + key.len, NULL, 10);
    }
    return -1;
}

static void read_memory(struct work *work)
{
    struct status *st = CONTAINER_OF(work, struct status, work);
    char text[PROC_BYTES_MAX];
    int fd = open("/proc/self/smaps_rollup", O_RDONLY | O_CLOEXEC);
    ssize_t len = fd < 0 ? 0 : read(fd, text, sizeof text - 1);
    if (fd >= 0)
        close(fd);
    text[len > 0 ? len : 0] = '\0';
    st->rss_kib = proc_kib(slice_of(text), SLICE("Rss:"));
    st->pss_kib = proc_kib(slice_of(text), SLICE("Pss:"));
}

/* Names of the active alarms whose name starts with `prefix`; "" if there are none. */
static const char *active_alarms(struct arena *arena, const char *prefix)
{
    const char *text = "";
    for (struct alarm *a = alarm_first(); a != NULL; a = a->next) {
        if (atomic_load(&a->active) && slice_starts(slice_of(a->name), slice_of(prefix)))
            text = arena_printf(arena, "%s%s%s", text, *text != '\0' ? ", " : "", a->name);
    }
    return text;
}

/* What needs a restart: the details of the alarms NAME.restart, which name keys of the node file
 * and settings; "" if there are none. */
static const char *restart_needed(struct arena *arena)
{
    const char *text = "";
    for (struct alarm *a = alarm_first(); a != NULL; a = a->next) {
        char detail[ALARM_DETAIL_BYTES];
        const char *dot = strchr(a->name, '.');
        if (!atomic_load(&a->active) || dot == NULL || strcmp(dot, ".restart") != 0)
            continue;
        alarm_detail(a, detail, sizeof detail);
        text = arena_printf(arena, "%s%s%s", text, *text != '\0' ? ", " : "", detail);
    }
    return text;
}

static void add_domains(struct command_call *call, const struct node *n)
{
    const char *text = "";
    for (unsigned i = 0; i < n->domain_count; i++)
        text = arena_printf(call->arena, "%s%s%.*s", text, i > 0 ? ", " : "",
                            SLICE_ARG(n->domains[i]));
    command_text(call, "domains", slice_of(text));
}

/* Adds the kind of database and the progress of its check. */
static void add_database(struct command_call *call, const struct store *s)
{
    struct store_info info;
    store_info(s, &info);
    command_text(call, "database", slice_dup(call->arena, slice_of(info.database)));
    if (info.check_percent >= 0)
        command_text(call, "database_check",
                     slice_of(arena_printf(call->arena, "%d %%", info.check_percent)));
}

static void status_done(struct work *work)
{
    struct status *st = CONTAINER_OF(work, struct status, work);
    struct command_call *call = st->call;
    const struct worker *w = call->worker;
    const struct node *n = worker_node(w);
    timer_cancel(&st->timer);
    const char *store = active_alarms(call->arena, "store.");
    const char *alarms = active_alarms(call->arena, "");
    const char *restart = restart_needed(call->arena);
    char end[LIFECYCLE_TEXT_MAX];
    command_row(call);
    command_text(call, "version", SLICE(MUSTER_VERSION));
    command_text(call, "node", slice_of(n->name));
    command_int(call, "uptime_s", (int64_t)((clock_wall_us() - n->start_wall_us) / 1000000));
    add_domains(call, n);
    command_int(call, "workers", n->worker_count);
    command_int(call, "sessions", (int64_t)st->session_count);
    command_int(call, "accounts_loaded", (int64_t)st->accounts);
    command_int(call, "rss_kib", st->rss_kib);
    command_int(call, "pss_kib", st->pss_kib);
    command_text(call, "store", slice_of(*store != '\0' ? store : "ok"));
    add_database(call, worker_store(w));
    command_text(call, "alarms", slice_of(*alarms != '\0' ? alarms : "none"));
    command_text(call, "restart_needed", slice_of(*restart != '\0' ? restart : "no"));
    lifecycle_scheduled(end);
    command_text(call, "end_scheduled", slice_of(end));
    command_done(call, "%s", "");
}

/* They wait for a disk: who asks for the status wants to know of it. */
static void do_without(struct timer *t, struct loop *loop)
{
    struct status *st = CONTAINER_OF(t, struct status, timer);
    const struct worker *w = st->call->worker;
    (void)loop;
    if (work_cancel(worker_work(w), &st->work))
        status_done(&st->work);
}

static void run_status(struct command_call *call)
{
    const struct worker *w = call->worker;
    command_row(call);
    command_int(call, "sessions", (int64_t)sessions_count(w) - outside_sessions(w));
    command_int(call, "accounts_loaded", (int64_t)accounts_count(w));
}

static void status_gathered(struct command_call *call)
{
    const struct worker *w = call->worker;
    struct status *st = arena_new(call->arena, struct status, 1);
    *st = (struct status){ .work = { .run = read_memory, .done = status_done },
                           .call = call,
                           .rss_kib = -1,
                           .pss_kib = -1 };
    for (const struct command_row *r = command_take_rows(call); r != NULL; r = r->next) {
        st->session_count += (uint64_t)command_row_int(r, "sessions");
        st->accounts += (uint64_t)command_row_int(r, "accounts_loaded");
    }
    if (work_submit(worker_work(w), worker_loop(w), &st->work) != OK) {
        status_done(&st->work); /* the helper threads are busy: leave out the memory figures */
        return;
    }
    st->timer.fn = do_without;
    timer_set(worker_loop(w), &st->timer, MEMORY_MS);
}

/* node list, domain list */

static void run_node_list(struct command_call *call)
{
    const struct worker *w = call->worker;
    const struct node *n = worker_node(w);
    char stamp[CLOCK_STAMP_LEN];
    clock_stamp(stamp, n->start_wall_us);
    command_row(call);
    command_text(call, "node", slice_of(n->name));
    command_text(call, "version", SLICE(MUSTER_VERSION));
    command_text(call, "started", slice_dup(call->arena, slice_of(stamp)));
    command_int(call, "workers", 1);
    command_int(call, "sessions", (int64_t)sessions_count(w) - outside_sessions(w));
    command_int(call, "accounts_loaded", (int64_t)accounts_count(w));
}

/* Each worker has told of itself: one row for those of a node. only.ptr NULL: of each node. */
static void nodes_add(struct command_call *call, slice only)
{
    static const char *const sums[] = { "workers", "sessions", "accounts_loaded" };
    static const char *const same[] = { "node", "version", "started" };
    const struct command_row *rows = command_take_rows(call);
    for (const struct command_row *r = rows; r != NULL; r = r->next) {
        slice node = command_row_text(r, "node");
        const struct command_row *first = rows;
        while (!slice_eq(command_row_text(first, "node"), node))
            first = first->next;
        if (first != r || (only.ptr != NULL && !slice_eq(only, node)))
            continue;
        command_row(call);
        for (size_t i = 0; i < sizeof same / sizeof *same; i++)
            command_text(call, same[i], command_row_text(r, same[i]));
        for (size_t i = 0; i < sizeof sums / sizeof *sums; i++) {
            int64_t sum = 0;
            for (const struct command_row *at = r; at != NULL; at = at->next)
                if (slice_eq(command_row_text(at, "node"), node))
                    sum += command_row_int(at, sums[i]);
            command_int(call, sums[i], sum);
        }
    }
}

static void nodes_gathered(struct command_call *call)
{
    nodes_add(call, (slice){ 0 });
    command_done_page(call, "node", (slice){ 0 }, UINT32_MAX);
}

/* In the place of all nodes the one that the call names. */
static void node_gathered(struct command_call *call)
{
    nodes_add(call, command_arg(call, "node"));
    if (call->rows != NULL)
        command_done(call, "%s", "");
    else
        command_fail(call, E_NOTFOUND,
                     "there is no such node, or it does not answer; `node list` "
                     "shows those that do");
}

static void domain_add(struct command_call *call, unsigned i)
{
    const struct node *n = worker_node(call->worker);
    slice ascii;
    command_row(call);
    command_text(call, "domain", n->domains[i]);
    command_text(call, "ascii",
                 precis_domain_ascii(n->domains[i], call->arena, &ascii) == OK ? ascii
                                                                               : n->domains[i]);
    command_bool(call, "first", i == 0);
}

static void run_domain_list(struct command_call *call)
{
    for (unsigned i = 0; i < worker_node(call->worker)->domain_count; i++)
        domain_add(call, i);
    command_done(call, "%s", "");
}

static void run_domain_show(struct command_call *call)
{
    const struct node *n = worker_node(call->worker);
    for (unsigned i = 0; i < n->domain_count; i++)
        if (slice_eq(n->domains[i], command_arg(call, "domain")))
            domain_add(call, i);
    if (call->rows != NULL)
        command_done(call, "%s", "");
    else
        command_fail(call, E_NOTFOUND, "%.*s: no domain of this server; `domain list` shows all",
                     SLICE_ARG(command_arg(call, "domain")));
}

static void metrics_scraped(struct command_call *call, enum metrics_format format)
{
    struct buf out;
    buf_init(&out, METRICS_BYTES_MAX);
    metrics_text(&out, format);
    command_done(call, "%.*s", SLICE_ARG(buf_fit(&out)));
    buf_fini(&out);
}

/* Of a histogram how often something was observed, and the sum. */
static void add_metric(struct command_call *call, const struct metric *m, unsigned value)
{
    int64_t count = 0;
    unsigned cells = m->kind == METRIC_HISTOGRAM ? metric_buckets(m) + 1 : 1;
    for (unsigned cell = 0; cell < cells; cell++)
        count += metric_read_cell(m, value, cell);
    command_row(call);
    command_text(call, "name", slice_of(m->name));
    command_text(call, "type", slice_of(metric_type(m)));
    if (m->label != NULL)
        command_text(call, "label",
                     slice_of(arena_printf(call->arena, "%s=%s", m->label, m->values[value])));
    command_int(call, "value", count);
    if (m->kind == METRIC_HISTOGRAM)
        command_int(call, "sum", metric_read_cell(m, value, cells));
    command_text(call, "help", slice_of(m->help));
}

static void run_metrics(struct command_call *call)
{
    slice format = command_arg(call, "format");
    if (slice_is(format, "prometheus") || slice_is(format, "openmetrics")) {
        metrics_scraped(call,
                        slice_is(format, "prometheus") ? METRICS_PROMETHEUS : METRICS_OPENMETRICS);
        return;
    }
    for (const struct metric *m = metric_first(); m != NULL; m = m->next)
        for (unsigned value = 0; value < metric_there(m); value++)
            add_metric(call, m, value);
    command_done(call, "%s", "");
}

static struct command status_command = {
    .name = "status",
    .rest = "GET /status",
    .effect = COMMAND_READS,
    .area = "server",
    .runs_at = COMMAND_EACH,
    .run = run_status,
    .gathered = status_gathered,
    .doc =
        "Shows the state of the server: version, sessions, memory, database, active alarms, what "
        "needs a restart, and a stop or restart that is scheduled.",
    .record = true,
    .columns =
        (const struct command_column[]){
            { .name = "version", .doc = "version of the server" },
            { .name = "node", .doc = "name of the node" },
            { .name = "uptime_s", .type = PARAM_INT, .unit = "s", .doc = "time since the start" },
            { .name = "domains", .doc = "domains of users" },
            { .name = "workers", .type = PARAM_INT, .doc = "threads that serve" },
            { .name = "sessions",
              .type = PARAM_INT,
              .doc = "sessions of clients, without those of tests" },
            { .name = "accounts_loaded", .type = PARAM_INT, .doc = "accounts in memory" },
            { .name = "rss_kib",
              .type = PARAM_INT,
              .unit = "KiB",
              .doc = "memory of the process; -1: not known" },
            { .name = "pss_kib",
              .type = PARAM_INT,
              .unit = "KiB",
              .doc = "the same, shared pages in parts; -1: not known" },
            { .name = "store", .doc = "ok, or active alarms of the database" },
            { .name = "database", .doc = "kind and version of the database" },
            { .name = "database_check", .optional = true, .doc = "progress of its check" },
            { .name = "alarms", .doc = "active alarms, or none" },
            { .name = "restart_needed", .doc = "settings that wait for a restart, or no" },
            { .name = "end_scheduled", .doc = "a stop or restart that is scheduled" },
            { 0 } },
};
static const struct command_column node_columns[] = {
    { .name = "node", .doc = "its name" },
    { .name = "version", .doc = "version of the server" },
    { .name = "started", .type = PARAM_STAMP, .doc = "when it was started" },
    { .name = "workers", .type = PARAM_INT, .doc = "threads that serve" },
    { .name = "sessions", .type = PARAM_INT, .doc = "sessions of clients, without those of tests" },
    { .name = "accounts_loaded", .type = PARAM_INT, .doc = "accounts in memory" },
    { 0 }
};
static struct command node_list_command = {
    .name = "node list",
    .rest = "GET /nodes",
    .effect = COMMAND_READS,
    .area = "server",
    .runs_at = COMMAND_EACH,
    .run = run_node_list,
    .gathered = nodes_gathered,
    .doc = "Lists the nodes of the server by name. One that does not answer is missing, and the "
           "answer says so.",
    .columns = node_columns,
};
static struct command node_show_command = {
    .name = "node show",
    .rest = "GET /nodes/{node}",
    .effect = COMMAND_READS,
    .area = "server",
    .runs_at = COMMAND_EACH,
    .args =
        (const struct command_arg[]){
            { .name = "node", .kind = ARG_POSITIONAL, .min = 1, .max = 255, .doc = "its name" },
            { 0 } },
    .run = run_node_list,
    .gathered = node_gathered,
    .record = true,
    .doc = "Shows a node of the server.",
    .columns = node_columns,
};
static const struct command_column domain_columns[] = {
    { .name = "domain", .type = PARAM_DOMAIN, .refers = REFERS_SERVED_DOMAIN, .doc = "the domain" },
    { .name = "ascii", .doc = "the same with A-labels, as the DNS has it" },
    { .name = "first", .type = PARAM_BOOL, .doc = "whether it is used where no other is given" },
    { 0 }
};
static struct command domain_list_command = {
    .name = "domain list",
    .rest = "GET /domains",
    .effect = COMMAND_READS,
    .area = "server",
    .run = run_domain_list,
    .doc = "Lists the domains of users, as the node file has them.",
    .columns = domain_columns,
};
static struct command domain_show_command = {
    .name = "domain show",
    .rest = "GET /domains/{domain}",
    .effect = COMMAND_READS,
    .area = "server",
    .args = (const struct command_arg[]){ { .name = "domain",
                                            .kind = ARG_POSITIONAL,
                                            .type = PARAM_DOMAIN,
                                            .refers = REFERS_SERVED_DOMAIN,
                                            .doc = "the domain, also with A-labels" },
                                          { 0 } },
    .run = run_domain_show,
    .record = true,
    .doc = "Shows a domain of users.",
    .columns = domain_columns,
};
static struct command metrics_command = {
    .name = "metrics",
    .rest = "GET /metrics",
    .effect = COMMAND_READS,
    .area = "server",
    .args =
        (const struct command_arg[]){
            { .name = "format",
              .kind = ARG_OPTION,
              .type = PARAM_CHOICE,
              .choices = (const char *const[]){ "table", "prometheus", "openmetrics", NULL },
              .doc = "format of the output; the default is table" },
            { 0 },
        },
    .run = run_metrics,
    .doc = "Shows all counters and gauges. In the format of Prometheus, the names of counters end "
           "in _total, and times are in seconds.",
    .columns =
        (const struct command_column[]){
            { .name = "name", .doc = "its name" },
            { .name = "type", .doc = "counter, gauge or histogram" },
            { .name = "label", .optional = true, .doc = "what it counts apart" },
            { .name = "value",
              .type = PARAM_INT,
              .doc = "its value; of a histogram how often it was observed" },
            { .name = "sum",
              .optional = true,
              .type = PARAM_INT,
              .doc = "of a histogram the sum of what was observed" },
            { .name = "help", .doc = "what it counts" },
            { 0 } },
};

const struct feature status_feature = {
    .name = "status",
    .commands = (struct command *const[]){ &status_command, &metrics_command, &node_list_command,
                                           &node_show_command, &domain_list_command,
                                           &domain_show_command, NULL },
    .logs = (struct log_area *const[]){ &log_admin, NULL },
};
