#include "gate/component_rows.h"
#include "account/account.h"
#include "auth/seal.h"
#include "base/arena.h"
#include "base/command.h"
#include "base/rand.h"
#include "component/component_shown.h"
#include "core/feature.h"
#include "gate/component.h"
#include "home/host.h"
#include "home/question.h"
#include "home/remote.h"
#include "remote/foreign.h"

enum {
    SECRET_MIN = 16,
    SECRET_MAX = 1000,
    SECRET_MADE = 24, /* random bytes */
    LEARN_ATTEMPTS = 3
};

struct metric component_streams = { .name = "muster_component_streams",
                                    .kind = METRIC_GAUGE,
                                    .help = "Open connections of components." };
struct metric component_stanzas = { .name = "muster_component_stanzas",
                                    .kind = METRIC_COUNTER,
                                    .label = "direction",
                                    .values = (const char *const[]){ "received", "sent", NULL },
                                    .help = "Stanzas read from components, or written to them." };
struct metric component_misaddressed_stanzas = {
    .name = "muster_component_misaddressed",
    .kind = METRIC_COUNTER,
    .help = "Stanzas of components that were refused because `from` or `to` is no address.",
};
struct metric component_refused = { .name = "muster_component_refused",
                                    .kind = METRIC_COUNTER,
                                    .help =
                                        "Components that were refused because of a wrong secret." };
struct log_area log_component = { .name = "component" };

static const struct store_migration migrations[] = {
    { 1, "CREATE TABLE component(domain TEXT PRIMARY KEY, secret TEXT NOT NULL) WITHOUT ROWID",
      "CREATE TABLE component(domain TEXT PRIMARY KEY, secret TEXT NOT NULL)" },
    { 2, "DELETE FROM component", "DELETE FROM component" }, /* from now on sealed */
    { 0 },
};
struct store_stmt component_secret = { .name = "component.secret",
                                       .sql = "SELECT secret FROM component WHERE domain = $1",
                                       .params = "t",
                                       .cols = "t" };
static struct store_stmt component_put = {
    .name = "component.put",
    .sql = "INSERT INTO component(domain, secret) VALUES($1, $2) "
           "ON CONFLICT(domain) DO UPDATE SET secret = excluded.secret",
    .params = "tt",
    .cols = ""
};
static struct store_stmt component_put_new = {
    .name = "component.put-new",
    .sql = "INSERT INTO component(domain, secret) VALUES($1, $2) ON CONFLICT(domain) DO NOTHING",
    .params = "tt",
    .cols = ""
};
static struct store_stmt component_put_secret = {
    .name = "component.put-secret",
    .sql = "UPDATE component SET secret = $2 WHERE domain = $1",
    .params = "tt",
    .cols = ""
};
static struct store_stmt component_delete = { .name = "component.delete",
                                              .sql = "DELETE FROM component WHERE domain = $1",
                                              .params = "t",
                                              .cols = "" };
/* Its rows of component/component_shown.h. It may be there again. */
static struct store_stmt component_forget = {
    .name = "component.forget",
    .sql = "DELETE FROM component_shown WHERE component = $1"
           " AND NOT EXISTS (SELECT 1 FROM component WHERE domain = $1)",
    .params = "t",
    .cols = "",
};
static struct store_stmt component_list = {
    .name = "component.list",
    .sql = "SELECT domain FROM component ORDER BY domain LIMIT 10000",
    .params = "",
    .cols = "t"
};
static const struct store_schema schema = {
    .feature = "component",
    .migrations = migrations,
    .addresses =
        (const struct store_address[]){
            { "component", "secret", .kind = STORE_SEALED, .beside = "domain",
              .context = "'component ' || ?", /* component_context() */
              .reseal = seal_again },
            { "component", "domain", .kind = STORE_JID, .there = true, .below = true },
            { 0 } },
    .stmts = (struct store_stmt *const[]){ &component_secret, &component_put, &component_put_new,
                                           &component_put_secret, &component_delete,
                                           &component_forget, &component_list, NULL },
};

/* Of a command; false: it was answered. */
static bool component_rows_domain_ok(struct command_call *call, slice domain)
{
    const struct worker *w = call->worker;
    if (!node_serves(worker_node(w), domain) &&
        host_find(worker_node(w), domain, &(slice){ 0 }) == NULL)
        return true;
    call->culprit = "domain"; /* it is not that the component is there */
    command_fail(call, E_EXISTS, "%.*s is served by this server itself", SLICE_ARG(domain));
    return false;
}

slice component_context(slice domain, struct arena *tmp)
{
    return slice_of(arena_printf(tmp, "component %.*s", SLICE_ARG(domain)));
}

static slice component_sealed(struct command_call *call, slice domain, slice secret)
{
    return seal(secret, component_context(domain, call->arena), call->arena);
}

/* All workers know the domains of components, connected or not (home/remote.h). */
struct component_there {
    slice domain;
    bool anew; /* it has another secret: connections with the old one end */
};

static void component_there_run(struct worker *w, void *message, const struct message_from *from)
{
    const struct component_there *m = message;
    bool was_there = remote_expected(w, m->domain);
    (void)from;
    remote_expect(w, m->domain, true);
    if (!was_there)
        foreign_changed(w); /* it may have been that of another server */
    if (m->anew)
        component_end(w, m->domain, SLICE("this component has another secret now"));
    component_shown_again(w, m->domain);
}

static const struct message_field component_there_fields[] = {
    F_BARE(struct component_there, domain),
    F_BOOL(struct component_there, anew),
    { 0 },
};
static const struct message_row component_there_message = {
    .id = 112,
    .scope = MESSAGE_CLUSTER,
    .name = "component-there",
    .size = sizeof(struct component_there),
    .fields = component_there_fields,
    .run = component_there_run,
};

static void components_learned(void *arg, enum store_result result, const struct store_batch *b)
{
    for (uint32_t i = 0; result == STORE_OK && i < store_row_count(b, 0); i++)
        remote_expect(arg, store_text(b, 0, i, 0), true);
}

/* The loop does not run yet: the domains are known before the first stanza to them, which would be
 * looked for elsewhere. */
static void components_learn(struct worker *w)
{
    enum store_result result;
    unsigned attempts = 0;
    do {
        struct store_batch *b = store_read(worker_store(w), 0);
        store_add(b, &component_list, STORE_ANY_ROWS, NULL, 0);
        result = store_run(b, components_learned, w);
    } while (result != STORE_OK && ++attempts < LEARN_ATTEMPTS);
    if (result != STORE_OK)
        log_error(&log_component, LOG_EV("component.domains"),
                  LOG_C("why", store_result_name(result)), LOG_I("worker", worker_index(w)),
                  LOG_C("hint", "domains of components that are not connected are taken for those "
                                "of other servers; when the database works, restart"));
}

static void added_everywhere(struct worker *w, void *arg)
{
    struct command_call *call = arg;
    (void)w;
    command_done(call, "%.*s may connect with this secret", SLICE_ARG(command_arg(call, "domain")));
}

static void component_tells_all(struct command_call *call, enum store_result result, bool anew)
{
    if (result != STORE_OK)
        command_fail_cause(call, err_of_store(result), NULL);
    else
        each_home(call->worker, &component_there_message,
                  &(struct component_there){ command_arg(call, "domain"), anew },
                  &(struct asker){ .done = added_everywhere, .arg = call });
}

/* Whoever gives the same secret again changes nothing. */
static void component_rows_added(void *arg, enum store_result result, const struct store_batch *b)
{
    struct command_call *call = arg;
    slice before, context = component_context(command_arg(call, "domain"), call->arena);
    bool is_there = result == STORE_OK && store_row_count(b, 0) > 0;
    bool same = is_there && unseal(&before, store_text(b, 0, 0, 0), context, call->arena) &&
                slice_eq(before, command_arg(call, "secret"));
    component_tells_all(call, result, is_there && !same);
}

struct deletion {
    struct command_call *call;
    slice domain;
};

struct component_gone {
    slice domain;
};

static void component_gone_run(struct worker *w, void *message, const struct message_from *from)
{
    slice domain = ((const struct component_gone *)message)->domain;
    (void)from;
    remote_expect(w, domain, false);
    component_end(w, domain, SLICE("this component was deleted"));
}

static const struct message_field component_gone_fields[] = {
    F_BARE(struct component_gone, domain),
    { 0 },
};
static const struct message_row component_gone_message = {
    .id = 66,
    .scope = MESSAGE_CLUSTER,
    .name = "component-gone",
    .size = sizeof(struct component_gone),
    .fields = component_gone_fields,
    .run = component_gone_run,
};

static void component_rows_forgotten(void *arg, enum store_result result,
                                     const struct store_batch *b)
{
    struct deletion *d = arg;
    (void)b;
    if (result != STORE_OK) {
        command_fail_cause(d->call, err_of_store(result), NULL);
        return;
    }
    command_done(d->call, "component %.*s deleted, and disconnected if it was connected",
                 SLICE_ARG(d->domain));
}

/* Until a worker heard of it, its sessions were given rows. */
static void ended_everywhere(struct worker *w, void *arg)
{
    struct deletion *d = arg;
    struct store_batch *b = store_write(worker_store(w), 0);
    STORE_ADD(b, &component_forget, STORE_ANY_ROWS, SV_T(d->domain));
    store_submit(b, worker_loop(w), STORE_UNTIL_DONE, component_rows_forgotten, d);
}

static void component_fail_missing(struct command_call *call)
{
    command_fail(call, E_NOTFOUND, "there is no such component; `component list` shows all");
}

/* Whoever read the secret before is told by the message. */
static void component_rows_deleted(void *arg, enum store_result result, const struct store_batch *b)
{
    struct deletion *d = arg;
    struct command_call *call = d->call;
    if (result != STORE_OK)
        command_fail_cause(call, err_of_store(result), NULL);
    else if (store_changed(b, 0) == 0)
        component_fail_missing(call);
    else
        each_home(call->worker, &component_gone_message, &(struct component_gone){ d->domain },
                  &(struct asker){ .done = ended_everywhere, .arg = d });
}

/* The generated secret is shown once. */
struct making {
    struct command_call *call;
    slice domain;
    char secret[2 * SECRET_MADE + 1];
};

static void component_rows_made(const struct making *m, enum store_result result, bool anew)
{
    if (result == STORE_OK) {
        command_row(m->call);
        command_text(m->call, "domain", m->domain);
        command_text(m->call, "secret", slice_of(m->secret));
    }
    component_tells_all(m->call, result, anew);
}

static void component_rows_made_new(void *arg, enum store_result result,
                                    const struct store_batch *b)
{
    const struct making *m = arg;
    if (result != STORE_OK || store_changed(b, 0) > 0)
        component_rows_made(m, result, false);
    else
        command_done(m->call,
                     "%.*s is there already, and its secret has not changed; `component secret` "
                     "makes another one",
                     SLICE_ARG(m->domain));
}

static void component_rows_made_another(void *arg, enum store_result result,
                                        const struct store_batch *b)
{
    const struct making *m = arg;
    if (result != STORE_OK || store_changed(b, 0) > 0)
        component_rows_made(m, result, true);
    else
        component_fail_missing(m->call);
}

static void make_secret(struct command_call *call, slice domain, const struct store_stmt *stmt,
                        store_done_fn *done)
{
    struct worker *w = call->worker;
    struct making *m = arena_new(call->arena, struct making, 1);
    *m = (struct making){ .call = call, .domain = domain };
    rand_hex(m->secret, SECRET_MADE);
    struct store_batch *b = store_write(worker_store(w), 0);
    STORE_ADD(b, stmt, STORE_ANY_ROWS, SV_T(domain),
              SV_T(component_sealed(call, domain, slice_of(m->secret))));
    store_submit(b, worker_loop(w), STORE_UNTIL_DONE, done, m);
}

static bool component_may_have_secret(struct command_call *call, slice domain)
{
    if (!component_rows_domain_ok(call, domain))
        return false;
    if (!seal_ready())
        command_fail(call, E_DOWN,
                     "the key in secrets.key cannot be used; `alarm list` says what to do");
    return !call->ended;
}

static void component_rows_run_add(struct command_call *call)
{
    struct worker *w = call->worker;
    slice domain = command_arg(call, "domain"), secret = command_arg(call, "secret");
    if (!component_may_have_secret(call, domain))
        return;
    if (secret.len == 0) {
        make_secret(call, domain, &component_put_new, component_rows_made_new);
        return;
    }
    struct store_batch *b = store_write(worker_store(w), 0);
    STORE_ADD(b, &component_secret, STORE_ANY_ROWS, SV_T(domain));
    STORE_ADD(b, &component_put, 1, SV_T(domain), SV_T(component_sealed(call, domain, secret)));
    store_submit(b, worker_loop(w), STORE_UNTIL_DONE, component_rows_added, call);
}

static void component_rows_run_secret(struct command_call *call)
{
    slice domain = command_arg(call, "domain");
    if (component_may_have_secret(call, domain))
        make_secret(call, domain, &component_put_secret, component_rows_made_another);
}

static void component_rows_run_del(struct command_call *call)
{
    struct worker *w = call->worker;
    slice domain = command_arg(call, "domain");
    if (!component_rows_domain_ok(call, domain))
        return;
    struct store_batch *b = store_write(worker_store(w), 0);
    struct deletion *d = arena_new(call->arena, struct deletion, 1);
    *d = (struct deletion){ call, domain };
    STORE_ADD(b, &component_delete, STORE_ANY_ROWS, SV_T(domain));
    STORE_ADD(b, &component_forget, STORE_ANY_ROWS, SV_T(domain));
    store_submit(b, worker_loop(w), STORE_UNTIL_DONE, component_rows_deleted, d);
}

struct links {
    slice domain;
    unsigned count;
};

static void count_links(slice domain, unsigned links, void *arg)
{
    struct links *l = arg;
    if (slice_eq(domain, l->domain))
        l->count = links;
}

static void component_rows_listed(void *arg, enum store_result result, const struct store_batch *b)
{
    struct command_call *call = arg;
    if (result != STORE_OK) {
        command_fail_cause(call, err_of_store(result), NULL);
        return;
    }
    for (uint32_t i = 0; i < store_row_count(b, 0); i++) {
        struct links l = { store_text(b, 0, i, 0), 0 };
        remote_each(call->worker, count_links, &l);
        command_row(call);
        command_text(call, "domain", slice_dup(call->arena, l.domain));
        command_int(call, "connections", l.count);
    }
    command_done_listed(call, "domain");
}

static void component_rows_run_list(struct command_call *call)
{
    struct worker *w = call->worker;
    struct store_batch *b = store_read(worker_store(w), 0);
    store_add(b, &component_list, STORE_ANY_ROWS, NULL, 0);
    store_submit(b, worker_loop(w), 0, component_rows_listed, call);
}

static const struct command_column component_made_columns[] = {
    { .name = "domain", .type = PARAM_DOMAIN, .refers = REFERS_COMPONENT, .doc = "the domain" },
    { .name = "secret", .doc = "the secret that was made" },
    { 0 },
};
static struct command command_add = {
    .name = "component add",
    .rest = "PUT /components/{domain}",
    .effect = COMMAND_CHANGES,
    .area = "components",
    .args =
        (const struct command_arg[]){
            { .name = "domain",
              .kind = ARG_POSITIONAL,
              .type = PARAM_DOMAIN,
              .refers = REFERS_COMPONENT,
              .doc = "the domain that it serves" },
            { .name = "secret",
              .kind = ARG_SECRET_MADE,
              .type = PARAM_SECRET,
              .min = SECRET_MIN,
              .max = SECRET_MAX,
              .doc = "its secret, 16 to 1000 bytes" },
            { 0 },
        },
    .run = component_rows_run_add,
    .doc = "Lets an external component serve a domain (XEP-0114), or gives it this secret; "
           "connections made with another one end. Without a secret the server makes one for a "
           "new component and shows it, and changes nothing of one that is there.",
    .columns = component_made_columns,
};
static struct command command_secret = {
    .name = "component secret",
    .rest = "POST /components/{domain}/secret",
    .effect = COMMAND_CHANGES,
    .area = "components",
    .args =
        (const struct command_arg[]){
            { .name = "domain",
              .kind = ARG_POSITIONAL,
              .type = PARAM_DOMAIN,
              .refers = REFERS_COMPONENT,
              .doc = "the domain that it serves" },
            { 0 },
        },
    .run = component_rows_run_secret,
    .doc = "Makes a new secret for a component, and shows it. The old one is no longer valid, and "
           "connections that were made with it end.",
    .columns = component_made_columns,
};
static struct command command_del = {
    .name = "component del",
    .rest = "DELETE /components/{domain}",
    .effect = COMMAND_CHANGES,
    .area = "components",
    .args =
        (const struct command_arg[]){
            { .name = "domain",
              .kind = ARG_POSITIONAL,
              .type = PARAM_DOMAIN,
              .refers = REFERS_COMPONENT,
              .doc = "the domain that it serves" },
            { 0 },
        },
    .run = component_rows_run_del,
    .doc = "Deletes a component's secret and ends its connections.",
};
static struct command command_show = {
    .name = "component list",
    .rest = "GET /components",
    .effect = COMMAND_READS,
    .area = "components",
    .args = (const struct command_arg[]){ COMMAND_PAGE_ARGS("domain"), { 0 } },
    .run = component_rows_run_list,
    .doc = "Lists the components that may connect. Shows how many connections each has.",
    .columns =
        (const struct command_column[]){
            { .name = "domain",
              .type = PARAM_DOMAIN,
              .refers = REFERS_COMPONENT,
              .doc = "the domain" },
            { .name = "connections", .type = PARAM_INT, .doc = "its connections" },
            { 0 } },
};

const struct feature component_feature = {
    .name = "component",
    .parts = PART_MESSAGE | PART_PRESENCE,
    .xeps = (const struct xep[]){ { "0114", "1.6", "Jabber Component Protocol", "0.1.0",
                                    "services/test_component", NULL },
                                  { 0 } },
    .schema = &schema,
    .worker.start = components_learn,
    .commands = (struct command *const[]){ &command_add, &command_secret, &command_del,
                                           &command_show, NULL },
    .metrics =
        (struct metric *const[]){ &component_streams, &component_stanzas,
                                  &component_misaddressed_stanzas, &component_refused, NULL },
    .logs = (struct log_area *const[]){ &log_component, NULL },
    .messages = (const struct message_row *const[]){ &component_gone_message,
                                                     &component_there_message, NULL },
};
