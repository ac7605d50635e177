#include "base/arena.h"
#include "base/command.h"
#include "base/ensure.h"
#include "base/log.h"
#include "base/mem.h"
#include "core/feature.h"
#include "gate/s2s/find/s2s_lists.h"
#include "gate/s2s/find/s2s_policy.h"
#include "gate/s2s/peer/s2s_peer.h"
#include "gate/s2s/s2s.h"
#include "gate/s2s/s2s_gate.h"
#include "gate/s2s/s2s_rows.h"
#include "home/duty.h"
#include "home/here.h"
#include "home/question.h"
#include "xmpp/jid.h"

/* Workers read the rows again. */

struct lists_changed {
    slice pattern;
};

struct rereading {
    struct worker *worker;
    struct message_from from;
    slice pattern; /* in this block */
};

/* Streams that are no longer allowed end; domains of the pattern that fail are tried at once. */
static void lists_apply(struct worker *w, slice pattern)
{
    struct s2s_gate *g = s2s_gate_of(w);
    struct s2s_peer *p;
    if (g == NULL)
        return;
    s2s_policy_changed(w, NULL);
    for (uint32_t i = 0; (p = map_next(&s2s_worker(g, w)->peers, &i)) != NULL;)
        if (s2s_pattern_matches(pattern, s2s_peer_remote(p)))
            (void)s2s_peer_try_again(p);
}

static void lists_read_again(void *arg, enum store_result result, const struct store_batch *b)
{
    struct rereading *r = arg;
    s2s_lists_take(r->worker, result, b);
    if (result == STORE_OK)
        lists_apply(r->worker, r->pattern);
    question_end(r->worker, &r->from);
    mem_free(&r);
}

static void lists_changed_run(struct worker *w, void *message, const struct message_from *from)
{
    slice pattern = ((const struct lists_changed *)message)->pattern;
    struct rereading *r = mem_zalloc(sizeof *r + pattern.len);
    char *at = (char *)(r + 1);
    r->worker = w;
    r->from = *from;
    r->pattern = slice_lay(&at, pattern);
    store_submit(s2s_lists_read(w), worker_loop(w), 0, lists_read_again, r);
}

static void lists_read_late(void *arg, enum store_result result, const struct store_batch *b)
{
    s2s_lists_take(arg, result, b);
    if (result == STORE_OK)
        lists_apply(arg, SLICE("*"));
}

static void lists_late(struct worker *w)
{
    store_submit(s2s_lists_read(w), worker_loop(w), 0, lists_read_late, w);
}

static void lists_start(struct worker *w) { s2s_lists_start(w, lists_late); }

static const struct message_field lists_changed_fields[] = {
    F_TEXT(struct lists_changed, pattern, S2S_PATTERN_MAX),
    { 0 },
};
static const struct message_row lists_message = {
    .id = 115,
    .scope = MESSAGE_CLUSTER,
    .name = "s2s-lists",
    .size = sizeof(struct lists_changed),
    .fields = lists_changed_fields,
    .run = lists_changed_run,
    .later = true,
};

static void lists_tell(struct worker *w, slice pattern, const struct asker *by)
{
    each_home(w, &lists_message, &(struct lists_changed){ pattern }, by);
}

/* As it is stored. */
static slice list_pattern(const struct command_call *call)
{
    slice pattern;
    bool right = s2s_pattern_read(command_arg(call, "pattern"), call->arena, &pattern);
    ensure(right); /* the row has checked it */
    return pattern;
}

/* It would have no effect: nothing for a domain of ours, or for an address, goes to another server.
 */
static bool pattern_is_idle(struct command_call *call)
{
    slice pattern = list_pattern(call);
    if (s2s_is_ours(call->worker, pattern))
        command_fail(call, E_CONFLICT, "%.*s is a domain of this server; give that of another one",
                     SLICE_ARG(pattern));
    else if (jid_is_address(pattern) && !setting_bool(&s2s_ip_literals))
        command_fail(call, E_CONFLICT,
                     "%.*s is an IP address; give a domain, or set s2s.ip-literals to on first",
                     SLICE_ARG(pattern));
    return call->ended;
}

/* Changes are made at one place, the home of DUTY_LINKS, so that one follows the other. A task is
 * in the arena of its call. */
struct list_task {
    struct command_call *call;
    slice pattern, target;
    const char *said; /* NULL: a demand is deleted */
    const char *missing;
    unsigned at; /* the statement of the change in its batch: behind that which reads what was */
};

static const char *const tls_names[] = { "starttls", "direct", "none", NULL };
static const char *const auth_names[] = { "settings", "any", "certificate", "dialback", NULL };
static const char *const verify_names[] = { "settings", "on", "off", NULL };
static const char *const version_names[] = { "any", "1.2", "1.3", NULL };
static const uint8_t versions[] = { 0, 12, 13 };

static struct list_task *list_task_new(struct command_call *call, const char *said,
                                       const char *missing)
{
    struct list_task *t = arena_new(call->arena, struct list_task, 1);
    *t = (struct list_task){
        .call = call, .pattern = list_pattern(call), .said = said, .missing = missing
    };
    return t;
}

/* What counts in place of a demand that was deleted, by the rows as they are now. */
static void demand_is_deleted(struct command_call *call, slice pattern)
{
    struct s2s_levels at = s2s_levels_of(s2s_pattern_key(pattern));
    const struct s2s_listed *l = s2s_levels_next(&at);
    while (l != NULL && !l->demands)
        l = s2s_levels_next(&at);
    if (l == NULL)
        command_done(call, "the demand is deleted; the settings of federation apply");
    else
        command_done(call, "the demand is deleted; that of %.*s applies", SLICE_ARG(l->pattern));
}

static void list_task_told(struct worker *w, void *arg)
{
    const struct list_task *t = arg;
    ensure(worker_is_here(w));
    if (t->said != NULL)
        command_done(t->call, "%s", t->said);
    else
        demand_is_deleted(t->call, t->pattern);
}

static void list_task_changed(void *arg, enum store_result result, const struct store_batch *b)
{
    struct list_task *t = arg;
    if (result != STORE_OK)
        command_fail_cause(t->call, err_of_store(result), "it could not be stored");
    else if (store_changed(b, t->at) == 0)
        command_fail(t->call, E_NOTFOUND, "%s", t->missing);
    else
        lists_tell(t->call->worker, t->pattern,
                   &(struct asker){ .done = list_task_told, .arg = t });
}

static struct store_batch *list_task_batch(const struct list_task *t)
{
    const struct worker *w = t->call->worker;
    return store_write(worker_store(w), 0);
}

static void list_task_submit(struct list_task *t, struct store_batch *b, store_done_fn *done)
{
    const struct worker *w = t->call->worker;
    store_submit(b, worker_loop(w), STORE_UNTIL_DONE, done, t);
}

static slice route_target(const struct command_call *call)
{
    return slice_dup(call->arena, command_arg(call, "target"));
}

/* A name of a list by its index, which comes from the database. */
static slice name_at(const char *const *names, int64_t at)
{
    int64_t i = 0;
    while (names[i] != NULL && i < at)
        i++;
    return slice_of(names[i] != NULL ? names[i] : "");
}

/* Routes. */

/* The description is what an operator has written: it is quoted. */
static slice list_described(const struct list_task *t, const char *before, slice description)
{
    struct arena *arena = t->call->arena;
    slice text = command_changed_parts(
        arena, (const struct command_part[]){ { "description", description }, { 0 } });
    return slice_of(arena_printf(arena, "%s %.*s", before, SLICE_ARG(text)));
}

/* For the audit log; empty: there is none. */
static slice route_text(const struct list_task *t, const struct store_batch *b, unsigned stmt)
{
    if (store_row_count(b, stmt) == 0)
        return SLICE("");
    const char *before = arena_printf(
        t->call->arena,
        "priority=%lld weight=%lld tls=%.*s in_service=%s blocked=%s less_specific=%s",
        (long long)store_int(b, stmt, 0, 0), (long long)store_int(b, stmt, 0, 1),
        SLICE_ARG(name_at(tls_names, store_int(b, stmt, 0, 2))),
        store_int(b, stmt, 0, 3) != 0 ? "on" : "off", store_int(b, stmt, 0, 4) != 0 ? "on" : "off",
        store_int(b, stmt, 0, 5) != 0 ? "on" : "off");
    return list_described(t, before, store_text(b, stmt, 0, 6));
}

static void route_changed(void *arg, enum store_result result, const struct store_batch *b)
{
    struct list_task *t = arg;
    ensure(t->at == 1);
    if (result == STORE_OK)
        command_changed(t->call, route_text(t, b, 0), route_text(t, b, 2));
    list_task_changed(t, result, b);
}

static void route_add_read(const struct list_task *t, struct store_batch *b)
{
    STORE_ADD(b, &s2s_route_one, STORE_ANY_ROWS, SV_T(t->pattern), SV_T(t->target));
}

static bool routes_have(const struct store_batch *b, slice target)
{
    for (uint32_t i = 0; i < store_row_count(b, 1); i++)
        if (slice_eq(store_text(b, 1, i, 0), target))
            return true;
    return false;
}

static void route_added(void *arg, enum store_result result, const struct store_batch *b)
{
    struct list_task *t = arg;
    if (result != STORE_OK || store_changed(b, 0) > 0) {
        list_task_changed(t, result, b);
    } else if (routes_have(b, t->target)) {
        command_fail(t->call, E_EXISTS,
                     "%.*s has a route to %.*s already; `s2s-route set` changes it",
                     SLICE_ARG(t->pattern), SLICE_ARG(t->target));
    } else {
        bool of_pattern = store_row_count(b, 1) >= S2S_ROUTES_OF_PATTERN;
        int most = of_pattern ? S2S_ROUTES_OF_PATTERN : S2S_ROUTES_MAX;
        log_error(&log_s2s, LOG_EV("s2s.routes"), LOG_S("pattern", t->pattern), LOG_I("most", most),
                  LOG_C("why", "there are as many static routes as there may be"));
        command_fail(t->call, E_LIMIT,
                     "found %d routes%s, allowed are no more; `s2s-route del` deletes one", most,
                     of_pattern ? " of this pattern" : " in all");
    }
}

/* A route without a port asks for SRV records, which whoever only forgot the port has not made. */
static void note_service(struct command_call *call)
{
    struct s2s_target t;
    if (!s2s_target_read(&t, command_arg(call, "target")) || t.kind != S2S_TARGET_SERVICE)
        return;
    const char *both =
        t.one ? "" : arena_printf(call->arena, ", _xmpps-server._tcp.%.*s", SLICE_ARG(t.host));
    command_note(call, arena_printf(call->arena,
                                    "%.*s has no port, so the DNS is asked for its SRV records: "
                                    "_xmpp%s-server._tcp.%.*s%s",
                                    SLICE_ARG(command_arg(call, "target")),
                                    t.one && t.tls ? "s" : "", SLICE_ARG(t.host), both));
}

static void run_route_add(struct command_call *call)
{
    if (pattern_is_idle(call))
        return;
    struct list_task *t = list_task_new(call, "the route applies to new connections", "");
    struct store_batch *b = list_task_batch(t);
    slice description = command_arg(call, "description");
    t->target = route_target(call);
    note_service(call);
    if (command_number(call, "blocked", 0) == 0)
        command_idle_while_off(call, "s2s.policy", "open");
    STORE_ADD(b, &s2s_route_add, STORE_ANY_ROWS, SV_T(t->pattern), SV_T(t->target),
              SV_I(command_number(call, "priority", 1)), SV_I(command_number(call, "weight", 1)),
              SV_I(command_number(call, "tls", S2S_ROUTE_STARTTLS)),
              SV_I(command_number(call, "in_service", 1)), SV_I(command_number(call, "blocked", 0)),
              SV_I(command_number(call, "less_specific", 1)),
              SV_T(description.ptr != NULL ? description : SLICE("")), SV_I(S2S_ROUTES_OF_PATTERN),
              SV_I(S2S_ROUTES_MAX));
    STORE_ADD(b, &s2s_route_of_pattern, STORE_ANY_ROWS, SV_T(t->pattern));
    list_task_submit(t, b, route_added);
}

static struct store_val number_or_null(const struct command_call *call, const char *name)
{
    return command_arg(call, name).ptr == NULL ? SV_NULL : SV_I(command_number(call, name, 0));
}

#define NO_ROUTE "this pattern has no route to this target; `s2s-route list` shows all"

static void run_route_set(struct command_call *call)
{
    struct list_task *t = list_task_new(call, "the route is changed", NO_ROUTE);
    struct store_batch *b = list_task_batch(t);
    slice description = command_arg(call, "description");
    if (command_number(call, "blocked", 0) == 0)
        command_idle_while_off(call, "s2s.policy", "open");
    t->at = 1;
    t->target = route_target(call);
    route_add_read(t, b);
    STORE_ADD(b, &s2s_route_set, STORE_ANY_ROWS, SV_T(t->pattern), SV_T(t->target),
              number_or_null(call, "priority"), number_or_null(call, "weight"),
              number_or_null(call, "tls"), number_or_null(call, "in_service"),
              number_or_null(call, "blocked"), number_or_null(call, "less_specific"),
              description.ptr != NULL ? SV_T(description) : SV_NULL);
    route_add_read(t, b);
    list_task_submit(t, b, route_changed);
}

static void run_route_del(struct command_call *call)
{
    struct list_task *t =
        list_task_new(call, "the route is deleted; streams that use it stay", NO_ROUTE);
    struct store_batch *b = list_task_batch(t);
    t->at = 1;
    t->target = route_target(call);
    route_add_read(t, b);
    STORE_ADD(b, &s2s_route_del, STORE_ANY_ROWS, SV_T(t->pattern), SV_T(t->target));
    route_add_read(t, b);
    list_task_submit(t, b, route_changed);
}

static bool list_is_read(struct command_call *call, enum store_result result)
{
    if (result != STORE_OK)
        command_fail_cause(call, err_of_store(result), "the list cannot be read");
    return result == STORE_OK;
}

static void routes_listed(void *arg, enum store_result result, const struct store_batch *b)
{
    struct command_call *call = arg;
    if (!list_is_read(call, result))
        return;
    for (uint32_t i = 0; i < store_row_count(b, 0); i++) {
        command_row(call);
        command_text(call, "pattern", slice_dup(call->arena, store_text(b, 0, i, 0)));
        command_text(call, "target", slice_dup(call->arena, store_text(b, 0, i, 1)));
        command_int(call, "priority", store_int(b, 0, i, 2));
        command_int(call, "weight", store_int(b, 0, i, 3));
        command_text(call, "tls", name_at(tls_names, store_int(b, 0, i, 4)));
        command_bool(call, "in_service", store_int(b, 0, i, 5) != 0);
        command_bool(call, "blocked", store_int(b, 0, i, 6) != 0);
        command_bool(call, "less_specific", store_int(b, 0, i, 7) != 0);
        command_text(call, "description", slice_dup(call->arena, store_text(b, 0, i, 8)));
    }
    command_done(call, "%s", "");
}

static void list_read(struct command_call *call, struct store_stmt *stmt, store_done_fn *done)
{
    const struct worker *w = call->worker;
    struct store_batch *b = store_read(worker_store(w), 0);
    store_add(b, stmt, STORE_ANY_ROWS, NULL, 0);
    store_submit(b, worker_loop(w), 0, done, call);
}

static void run_route_list(struct command_call *call)
{
    list_read(call, &s2s_route_list, routes_listed);
}

/* Demands. */

static const char *version_of(int64_t tls_min)
{
    for (size_t i = 0; i < sizeof versions; i++)
        if (versions[i] == tls_min)
            return version_names[i];
    return version_names[0];
}

/* In small letters, without colons, and with one space between two. */
static slice plain_pins(struct command_call *call)
{
    slice text = command_arg(call, "pin");
    char *out = arena_alloc(call->arena, 1, text.len + 1);
    size_t len = 0;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (c == ':' || (c == ' ' && (len == 0 || out[len - 1] == ' ')))
            continue;
        out[len++] = c >= 'A' && c <= 'F' ? (char)(c - 'A' + 'a') : c;
    }
    return (slice){ out, len > 0 && out[len - 1] == ' ' ? len - 1 : len };
}

static bool pin_ok(slice pin)
{
    size_t digits = 0;
    for (size_t i = 0; i < pin.len; i++) {
        if (pin.ptr[i] == ':')
            continue;
        if (strchr("0123456789abcdefABCDEF", pin.ptr[i]) == NULL || pin.ptr[i] == '\0')
            return false;
        digits++;
    }
    return digits == S2S_PIN_LEN;
}

static bool pins_ok(slice text)
{
    slice pin;
    unsigned count = 0;
    while (slice_word(&text, &pin))
        if (!pin_ok(pin) || ++count > S2S_PINS_MAX)
            return false;
    return count > 0;
}

/* "none" takes them away. */
static bool pins_or_none_ok(slice text) { return slice_is(text, "none") || pins_ok(text); }

/* Nothing was changed, since the pattern has a demand that does not go with this one. */
static void demand_conflicts(struct command_call *call, const struct store_batch *b)
{
    slice pins = store_text(b, 0, 0, 3);
    int64_t auth = command_number(call, "auth", store_int(b, 0, 0, 0));
    if (pins.len > 0 && command_arg(call, "pin").ptr == NULL && auth != S2S_AUTH_CERTIFICATE)
        command_fail(call, E_CONFLICT,
                     "this demand has pins, which are about certificates; give --pin none, too");
    else
        command_fail(call, E_CONFLICT,
                     "--auth certificate and --verify off contradict each other; change both");
}

/* For the audit log; empty: there is none. */
static slice demand_text(const struct list_task *t, const struct store_batch *b, unsigned stmt)
{
    if (store_row_count(b, stmt) == 0)
        return SLICE("");
    const char *before =
        arena_printf(t->call->arena, "auth=%.*s verify=%.*s tls_min=%s pins=%.*s",
                     SLICE_ARG(name_at(auth_names, store_int(b, stmt, 0, 0))),
                     SLICE_ARG(name_at(verify_names, store_int(b, stmt, 0, 1))),
                     version_of(store_int(b, stmt, 0, 2)), SLICE_ARG(store_text(b, stmt, 0, 3)));
    return list_described(t, before, store_text(b, stmt, 0, 4));
}

static void demand_add_read(const struct list_task *t, struct store_batch *b)
{
    STORE_ADD(b, &s2s_demand_of_pattern, STORE_ANY_ROWS, SV_T(t->pattern));
}

static void demand_deleted(void *arg, enum store_result result, const struct store_batch *b)
{
    struct list_task *t = arg;
    ensure(t->at == 1);
    if (result == STORE_OK)
        command_changed(t->call, demand_text(t, b, 0), SLICE(""));
    list_task_changed(t, result, b);
}

static void demand_changed(void *arg, enum store_result result, const struct store_batch *b)
{
    struct list_task *t = arg;
    if (result == STORE_OK)
        command_changed(t->call, demand_text(t, b, 0), demand_text(t, b, 3));
    if (result == STORE_OK && store_changed(b, 1) == 0 && store_changed(b, 2) == 0 &&
        store_row_count(b, 0) > 0)
        demand_conflicts(t->call, b);
    else if (result == STORE_OK && store_changed(b, 2) > 0)
        lists_tell(t->call->worker, t->pattern,
                   &(struct asker){ .done = list_task_told, .arg = t });
    else
        list_task_changed(t, result, b);
}

/* What is given contradicts itself. */
static bool demand_is_wrong(struct command_call *call, bool pinned)
{
    int64_t auth = command_number(call, "auth", pinned ? S2S_AUTH_CERTIFICATE : S2S_AUTH_SETTINGS);
    if (pinned && auth != S2S_AUTH_CERTIFICATE) {
        command_fail(call, E_CONFLICT,
                     "--pin is about certificates: leave out --auth, or give --auth certificate");
        return true;
    }
    if (auth == S2S_AUTH_CERTIFICATE &&
        command_number(call, "verify", S2S_VERIFY_ON) == S2S_VERIFY_OFF) {
        command_fail(call, E_CONFLICT,
                     "--auth certificate and --verify off contradict each other; leave out one");
        return true;
    }
    return false;
}

static void run_demand_set(struct command_call *call)
{
    struct list_task *t = list_task_new(call, "the demand applies to new connections",
                                        "found no demand; give --auth, --verify, --tls-min or "
                                        "--pin");
    slice description = command_arg(call, "description"), pin = command_arg(call, "pin");
    bool pinned = pin.ptr != NULL && !slice_is(pin, "none");
    slice pins = pinned ? plain_pins(call) : SLICE("");
    if (pattern_is_idle(call) || demand_is_wrong(call, pinned))
        return;
    command_idle_while_off(call, "s2s.policy", "open");
    int64_t auth = command_number(call, "auth", pinned ? S2S_AUTH_CERTIFICATE : 0),
            verify = command_number(call, "verify", S2S_VERIFY_SETTINGS),
            tls_min = versions[command_number(call, "tls_min", 0)];
    bool some = pin.ptr != NULL || command_arg(call, "auth").ptr != NULL ||
                command_arg(call, "verify").ptr != NULL || command_arg(call, "tls_min").ptr != NULL;
    struct store_batch *b = list_task_batch(t);
    t->at = 1;
    demand_add_read(t, b);
    STORE_ADD(b, &s2s_demand_set, STORE_ANY_ROWS, SV_T(t->pattern),
              pinned ? SV_I(auth) : number_or_null(call, "auth"), number_or_null(call, "verify"),
              command_arg(call, "tls_min").ptr == NULL ? SV_NULL : SV_I(tls_min),
              pin.ptr == NULL ? SV_NULL : SV_T(pins),
              description.ptr != NULL ? SV_T(description) : SV_NULL);
    STORE_ADD(b, &s2s_demand_add, STORE_ANY_ROWS, SV_T(t->pattern), SV_I(auth), SV_I(verify),
              SV_I(tls_min), SV_T(pins), SV_T(description.ptr != NULL ? description : SLICE("")),
              SV_I(some ? S2S_DEMANDS_MAX : 0));
    demand_add_read(t, b);
    if (some)
        t->missing = "found 10000 demands, allowed are no more; `s2s-demand del` deletes one";
    list_task_submit(t, b, demand_changed);
}

static void run_demand_del(struct command_call *call)
{
    struct list_task *t =
        list_task_new(call, NULL, "this pattern has no demand; `s2s-demand list` shows all");
    struct store_batch *b = list_task_batch(t);
    t->at = 1;
    demand_add_read(t, b);
    STORE_ADD(b, &s2s_demand_del, STORE_ANY_ROWS, SV_T(t->pattern));
    list_task_submit(t, b, demand_deleted);
}

static void demands_listed(void *arg, enum store_result result, const struct store_batch *b)
{
    struct command_call *call = arg;
    if (!list_is_read(call, result))
        return;
    for (uint32_t i = 0; i < store_row_count(b, 0); i++) {
        command_row(call);
        command_text(call, "pattern", slice_dup(call->arena, store_text(b, 0, i, 0)));
        command_text(call, "auth", name_at(auth_names, store_int(b, 0, i, 1)));
        command_text(call, "verify", name_at(verify_names, store_int(b, 0, i, 2)));
        command_text(call, "tls_min", slice_of(version_of(store_int(b, 0, i, 3))));
        command_text(call, "pins", slice_dup(call->arena, store_text(b, 0, i, 4)));
        command_text(call, "description", slice_dup(call->arena, store_text(b, 0, i, 5)));
    }
    command_done_listed(call, "pattern");
}

static void run_demand_list(struct command_call *call)
{
    list_read(call, &s2s_demand_list, demands_listed);
}

/* The rows. */

#define PATTERN_ARG                                                                                \
    {                                                                                              \
        .name = "pattern", .kind = ARG_POSITIONAL, .max = S2S_PATTERN_MAX,                         \
        .check = list_pattern_ok, .form = S2S_PATTERN_FORM, .doc = "the domains that it is about"  \
    }
#define TARGET_ARG                                                                                 \
    {                                                                                              \
        .name = "target", .kind = ARG_POSITIONAL, .max = S2S_PATTERN_MAX, .check = s2s_target_ok,  \
        .form = S2S_TARGET_FORM,                                                                   \
        .doc = "where their server is: a name or address with a port, or a name with SRV records"  \
    }
static bool list_pattern_ok(slice text)
{
    struct arena *tmp = arena_create(0);
    slice pattern;
    bool right = s2s_pattern_ok(text) && s2s_pattern_read(text, tmp, &pattern) &&
                 pattern.len <= S2S_PATTERN_MAX;
    arena_destroy(&tmp);
    return right;
}

#define DESCRIPTION_ARG                                                                            \
    {                                                                                              \
        .name = "description", .kind = ARG_OPTION, .max = S2S_PATTERN_MAX, .doc = "a note"         \
    }
#define ROUTE_NUMBER(is, text)                                                                     \
    {                                                                                              \
        .name = is, .kind = ARG_OPTION, .type = PARAM_INT, .min = 1, .max = UINT16_MAX,            \
        .doc = text                                                                                \
    }
#define ROUTE_SWITCH(is, text)                                                                     \
    {                                                                                              \
        .name = is, .kind = ARG_OPTION, .type = PARAM_BOOL, .doc = text                            \
    }

static const struct command_arg route_args[] = {
    PATTERN_ARG,
    TARGET_ARG,
    ROUTE_NUMBER("priority", "the lowest is tried first; 1 for a new route"),
    ROUTE_NUMBER("weight", "its share among routes of the same priority; 1 for a new route"),
    { .name = "tls",
      .kind = ARG_OPTION,
      .type = PARAM_CHOICE,
      .choices = tls_names,
      .doc = "starttls (a new route), direct (TLS from the first byte), or none: then dialback "
             "without TLS is enough" },
    ROUTE_SWITCH("in_service", "off: the route is passed over; on for a new route"),
    ROUTE_SWITCH("blocked", "on: stanzas to and from these domains are refused"),
    ROUTE_SWITCH("less_specific", "on, as for a new route: when all routes of the pattern fail, "
                                  "less specific patterns and then the DNS are tried"),
    DESCRIPTION_ARG,
    { 0 },
};
static const struct command_arg route_names[] = { PATTERN_ARG, TARGET_ARG, { 0 } };

static struct command s2s_route_add_command = {
    .name = "s2s-route add",
    .rest = "POST /federation/routes",
    .effect = COMMAND_CHANGES,
    .area = "federation",
    .args = route_args,
    .runs_at = COMMAND_DUTY,
    .duty = DUTY_LINKS,
    .run = run_route_add,
    .doc = "Adds a static route. It says where the server of some domains is, before the DNS is "
           "asked. Of several patterns the most specific one counts first.",
};
static struct command s2s_route_set_command = {
    .name = "s2s-route set",
    .rest = "PATCH /federation/routes/{pattern}/{target}",
    .effect = COMMAND_CHANGES,
    .area = "federation",
    .args = route_args,
    .runs_at = COMMAND_DUTY,
    .duty = DUTY_LINKS,
    .run = run_route_set,
    .doc = "Changes a static route. Options that are not given stay as they are.",
};
static struct command s2s_route_del_command = {
    .name = "s2s-route del",
    .rest = "DELETE /federation/routes/{pattern}/{target}",
    .effect = COMMAND_CHANGES,
    .area = "federation",
    .args = route_names,
    .runs_at = COMMAND_DUTY,
    .duty = DUTY_LINKS,
    .run = run_route_del,
    .doc = "Deletes a static route. Streams that use it stay; `s2s close` ends them.",
};
static struct command s2s_route_list_command = {
    .name = "s2s-route list",
    .rest = "GET /federation/routes",
    .effect = COMMAND_READS,
    .area = "federation",
    .run = run_route_list,
    .doc = "Lists the static routes.",
    .columns =
        (const struct command_column[]){
            { .name = "pattern", .doc = "the domains that it is about" },
            { .name = "target", .doc = "where their server is" },
            { .name = "priority", .type = PARAM_INT, .doc = "the lowest is tried first" },
            { .name = "weight",
              .type = PARAM_INT,
              .doc = "its share among routes of the same priority" },
            { .name = "tls", .doc = "starttls, direct or none" },
            { .name = "in_service", .type = PARAM_BOOL, .doc = "off: it is passed over" },
            { .name = "blocked", .type = PARAM_BOOL, .doc = "whether stanzas are refused" },
            { .name = "less_specific",
              .type = PARAM_BOOL,
              .doc = "whether less specific patterns and the DNS are tried when it fails" },
            { .name = "description", .doc = "a note" },
            { 0 } },
};
static struct command s2s_demand_set_command = {
    .name = "s2s-demand set",
    .rest = "PUT /federation/demands/{pattern}",
    .effect = COMMAND_CHANGES,
    .area = "federation",
    .args =
        (const struct command_arg[]){
            PATTERN_ARG,
            { .name = "auth",
              .kind = ARG_OPTION,
              .type = PARAM_CHOICE,
              .choices = auth_names,
              .doc = "what must prove the domain: certificate, dialback, any of both, or what "
                     "s2s.dialback says (settings)" },
            { .name = "verify",
              .kind = ARG_OPTION,
              .type = PARAM_CHOICE,
              .choices = verify_names,
              .doc =
                  "whether a server that this one connects to must show a valid certificate: on, "
                  "off, or what s2s.verify-certificates says (settings)" },
            { .name = "tls_min",
              .kind = ARG_OPTION,
              .type = PARAM_CHOICE,
              .choices = version_names,
              .doc = "the oldest version of TLS; any: as TLS is allowed at all" },
            { .name = "pin",
              .kind = ARG_OPTION,
              .max = S2S_PINS_MAX * 100,
              .many = true,
              .check = pins_or_none_ok,
              .form = "1 to 8 fingerprints of 64 hexadecimal digits, spaces between them, or none",
              .doc = "SHA-256 of the only certificates that are accepted, also self-signed ones; "
                     "none: take the pins away" },
            DESCRIPTION_ARG,
            { 0 },
        },
    .runs_at = COMMAND_DUTY,
    .duty = DUTY_LINKS,
    .run = run_demand_set,
    .doc =
        "Sets the demands on the servers of some domains. They count in place of the settings of "
        "federation, in both directions, for new connections. Options that are not given stay as "
        "they are. --auth settings, --verify settings and --tls-min any make an exception from a "
        "demand on more domains.",
};
static struct command s2s_demand_del_command = {
    .name = "s2s-demand del",
    .rest = "DELETE /federation/demands/{pattern}",
    .effect = COMMAND_CHANGES,
    .area = "federation",
    .args = (const struct command_arg[]){ PATTERN_ARG, { 0 } },
    .runs_at = COMMAND_DUTY,
    .duty = DUTY_LINKS,
    .run = run_demand_del,
    .doc = "Deletes the demand of a pattern. The demand of the next less specific pattern applies "
           "then, or else the settings of federation.",
};
static struct command s2s_demand_list_command = {
    .name = "s2s-demand list",
    .rest = "GET /federation/demands",
    .effect = COMMAND_READS,
    .area = "federation",
    .args = (const struct command_arg[]){ COMMAND_PAGE_ARGS("pattern"), { 0 } },
    .run = run_demand_list,
    .doc = "Lists what the servers of some domains must show.",
    .columns =
        (const struct command_column[]){
            { .name = "pattern", .doc = "the domains that it is about" },
            { .name = "auth", .doc = "settings, any, certificate or dialback" },
            { .name = "verify", .wide = true, .doc = "settings, on or off" },
            { .name = "tls_min", .doc = "the oldest version of TLS" },
            { .name = "pins", .doc = "SHA-256 of the certificates" },
            { .name = "description", .doc = "a note" },
            { 0 } },
};

const struct feature s2s_lists_feature = {
    .name = "s2s-lists",
    .parts = PART_MESSAGE | PART_PRESENCE,
    .schema = &s2s_lists_schema,
    .commands = (struct command *const[]){ &s2s_route_add_command, &s2s_route_set_command,
                                           &s2s_route_del_command, &s2s_route_list_command,
                                           &s2s_demand_set_command, &s2s_demand_del_command,
                                           &s2s_demand_list_command, NULL },
    .messages = (const struct message_row *const[]){ &lists_message, NULL },
    .worker.slot = &s2s_lists_slot,
    .worker.start = lists_start,
    .worker.ended = s2s_lists_ended,
};
