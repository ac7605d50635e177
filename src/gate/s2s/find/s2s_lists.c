#include "gate/s2s/find/s2s_lists.h"
#include "base/arena.h"
#include "base/ensure.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "gate/s2s/s2s_rows.h"
#include "home/here.h"
#include "io/timer.h"
#include "store/store.h"
#include "xmpp/jid.h"

/* The database. */

static const struct store_migration migrations[] = {
    { 1,
      "CREATE TABLE s2s_route(pattern TEXT NOT NULL, target TEXT NOT NULL, priority INTEGER NOT "
      "NULL, weight INTEGER NOT NULL, tls INTEGER NOT NULL, in_service INTEGER NOT NULL, blocked "
      "INTEGER NOT NULL, less_specific INTEGER NOT NULL, description TEXT NOT NULL, "
      "PRIMARY KEY(pattern, target)) WITHOUT ROWID;"
      "CREATE TABLE s2s_demand(pattern TEXT PRIMARY KEY, auth INTEGER NOT NULL, verify INTEGER NOT "
      "NULL, tls_min "
      "INTEGER NOT NULL, pins TEXT NOT NULL, description TEXT NOT NULL) WITHOUT ROWID",
      "CREATE TABLE s2s_route(pattern TEXT NOT NULL, target TEXT NOT NULL, priority BIGINT NOT "
      "NULL, weight BIGINT NOT NULL, tls BIGINT NOT NULL, in_service BIGINT NOT NULL, blocked "
      "BIGINT NOT NULL, less_specific BIGINT NOT NULL, description TEXT NOT NULL, "
      "PRIMARY KEY(pattern, target));"
      "CREATE TABLE s2s_demand(pattern TEXT PRIMARY KEY, auth BIGINT NOT NULL, verify BIGINT NOT "
      "NULL, tls_min BIGINT NOT "
      "NULL, pins TEXT NOT NULL, description TEXT NOT NULL)" },
    { 0 },
};
struct store_stmt s2s_route_list = {
    .name = "s2s_route.list",
    .sql = "SELECT pattern, target, priority, weight, tls, in_service, blocked, less_specific, "
           "description FROM s2s_route ORDER BY pattern, priority, target",
    .params = "",
    .cols = "ttiiiiiit",
};
struct store_stmt s2s_route_of_pattern = {
    .name = "s2s_route.of_pattern",
    .sql = "SELECT target FROM s2s_route WHERE pattern = $1",
    .params = "t",
    .cols = "t",
};
struct store_stmt s2s_route_one = {
    .name = "s2s_route.one",
    .sql = "SELECT priority, weight, tls, in_service, blocked, less_specific, description "
           "FROM s2s_route WHERE pattern = $1 AND target = $2",
    .params = "tt",
    .cols = "iiiiiit",
};
struct store_stmt s2s_route_add = {
    .name = "s2s_route.add",
    .sql = "INSERT INTO s2s_route(pattern, target, priority, weight, tls, in_service, blocked, "
           "less_specific, description) SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9 "
           "WHERE (SELECT COUNT(*) FROM s2s_route WHERE pattern = $1) < $10 "
           "AND (SELECT COUNT(*) FROM s2s_route) < $11 ON CONFLICT(pattern, target) DO NOTHING",
    .params = "ttiiiiiitii",
    .cols = "",
};
/* Leaves as it is what is not given (NULL). */
struct store_stmt s2s_route_set = {
    .name = "s2s_route.set",
    .sql = "UPDATE s2s_route SET priority = COALESCE($3, priority), weight = COALESCE($4, weight), "
           "tls = COALESCE($5, tls), in_service = COALESCE($6, in_service), "
           "blocked = COALESCE($7, blocked), less_specific = COALESCE($8, less_specific), "
           "description = COALESCE($9, description) WHERE pattern = $1 AND target = $2",
    .params = "ttIIIIIIT",
    .cols = "",
};
struct store_stmt s2s_route_del = { .name = "s2s_route.del",
                                    .sql = "DELETE FROM s2s_route WHERE pattern = $1 AND "
                                           "target = $2",
                                    .params = "tt",
                                    .cols = "" };
struct store_stmt s2s_demand_list = {
    .name = "s2s_demand.list",
    .sql = "SELECT pattern, auth, verify, tls_min, pins, description FROM s2s_demand "
           "ORDER BY pattern",
    .params = "",
    .cols = "tiiitt",
};
struct store_stmt s2s_demand_of_pattern = {
    .name = "s2s_demand.of_pattern",
    .sql = "SELECT auth, verify, tls_min, pins, description FROM s2s_demand WHERE pattern = $1",
    .params = "t",
    .cols = "iiitt",
};
struct store_stmt s2s_demand_add = {
    .name = "s2s_demand.add",
    .sql = "INSERT INTO s2s_demand(pattern, auth, verify, tls_min, pins, description) "
           "SELECT $1, $2, $3, $4, $5, $6 WHERE (SELECT COUNT(*) FROM s2s_demand) < $7 "
           "ON CONFLICT(pattern) DO NOTHING",
    .params = "tiiitti",
    .cols = "",
};
/* Leaves as it is what is not given (NULL), and all if the result would contradict itself: pins go
 * with certificates, and certificates with their verification. */
struct store_stmt s2s_demand_set = {
    .name = "s2s_demand.set",
    .sql = "UPDATE s2s_demand SET auth = COALESCE($2, auth), verify = COALESCE($3, verify), "
           "tls_min = COALESCE($4, tls_min), pins = COALESCE($5, pins), "
           "description = COALESCE($6, description) WHERE pattern = $1 "
           "AND (COALESCE($5, pins) = '' OR COALESCE($2, auth) = 2) "
           "AND (COALESCE($3, verify) <> 2 OR COALESCE($2, auth) <> 2)",
    .params = "tIIITT",
    .cols = "",
};
struct store_stmt s2s_demand_del = { .name = "s2s_demand.del",
                                     .sql = "DELETE FROM s2s_demand WHERE pattern = $1",
                                     .params = "t",
                                     .cols = "" };
const struct store_schema s2s_lists_schema = {
    .feature = "s2s-lists",
    .migrations = migrations,
    .stmts =
        (struct store_stmt *const[]){ &s2s_route_list, &s2s_route_of_pattern, &s2s_route_one,
                                      &s2s_route_add, &s2s_route_set, &s2s_route_del,
                                      &s2s_demand_list, &s2s_demand_of_pattern, &s2s_demand_add,
                                      &s2s_demand_set, &s2s_demand_del, NULL },
};

/* The copy of a worker. */

enum { READ_AGAIN_MS = 5000 };

/* now: NULL: the rows could not be read yet. */
struct lists_worker {
    struct worker *worker;
    struct lists *now;
    struct timer again; /* after a read that has failed */
    void (*read_again)(struct worker *w);
};

struct lists {
    struct arena *arena;
    struct map listed; /* struct s2s_listed by key */
};
unsigned s2s_lists_slot;

static struct lists_worker **lists_worker_of(struct worker *w)
{
    return (struct lists_worker **)(void *)worker_state(w, s2s_lists_slot);
}

static const struct lists *lists_here(void) { return (*lists_worker_of(worker_here()))->now; }

static slice listed_key(const void *item) { return ((const struct s2s_listed *)item)->key; }

static void lists_free(struct lists **pl)
{
    struct lists *l = *pl;
    *pl = NULL;
    if (l == NULL)
        return;
    struct arena *arena = l->arena;
    map_fini(&l->listed);
    arena_destroy(&arena);
}

slice s2s_pattern_key(slice pattern)
{
    return slice_starts(pattern, SLICE("*")) ? slice_from(pattern, 1) : pattern;
}

static struct s2s_listed *listed_get(struct lists *l, slice pattern)
{
    slice key = s2s_pattern_key(pattern);
    struct s2s_listed *one = map_get(&l->listed, key);
    if (one != NULL)
        return one;
    one = arena_new(l->arena, struct s2s_listed, 1);
    one->pattern = slice_dup(l->arena, pattern);
    one->key = slice_from(one->pattern, pattern.len - key.len);
    map_put(&l->listed, one);
    return one;
}

static void lists_add_route(struct lists *l, const struct store_batch *b, uint32_t row)
{
    struct s2s_listed *one = listed_get(l, store_text(b, 0, row, 0));
    struct s2s_route *r = arena_new(l->arena, struct s2s_route, 1);
    *r = (struct s2s_route){ .next = one->routes,
                             .target = slice_dup(l->arena, store_text(b, 0, row, 1)),
                             .priority = (uint16_t)store_int(b, 0, row, 2),
                             .weight = (uint16_t)store_int(b, 0, row, 3),
                             .tls = (uint8_t)store_int(b, 0, row, 4),
                             .in_service = store_int(b, 0, row, 5) != 0,
                             .blocked = store_int(b, 0, row, 6) != 0,
                             .less_specific = store_int(b, 0, row, 7) != 0 };
    one->routes = r;
    one->serves = one->serves || r->in_service;
    one->blocked = one->blocked || (r->blocked && r->in_service);
    one->ends = one->ends || !r->less_specific;
}

static void lists_add_demand(struct lists *l, const struct store_batch *b, uint32_t row)
{
    struct s2s_listed *one = listed_get(l, store_text(b, 1, row, 0));
    one->demands = true;
    one->auth = (uint8_t)store_int(b, 1, row, 1);
    one->verify = (uint8_t)store_int(b, 1, row, 2);
    one->tls_min = (uint8_t)store_int(b, 1, row, 3);
    one->pins = slice_dup(l->arena, store_text(b, 1, row, 4));
}

struct store_batch *s2s_lists_read(struct worker *w)
{
    struct store_batch *b = store_read(worker_store(w), 0);
    store_add(b, &s2s_route_list, STORE_ANY_ROWS, NULL, 0);
    store_add(b, &s2s_demand_list, STORE_ANY_ROWS, NULL, 0);
    return b;
}

void s2s_lists_take(struct worker *w, enum store_result result, const struct store_batch *b)
{
    struct lists_worker *lw = *lists_worker_of(w);
    if (result != STORE_OK) {
        log_error(&log_s2s, LOG_EV("s2s.lists"), LOG_C("why", store_result_name(result)),
                  LOG_C("hint", lw->now != NULL
                                    ? "static routes and demands are as before; they are read "
                                      "again in 5 seconds"
                                    : "no stanzas go to other servers until static routes and "
                                      "demands can be read; that is tried each 5 seconds"));
        timer_set(worker_loop(w), &lw->again, READ_AGAIN_MS);
        return;
    }
    struct arena *arena = arena_create(0);
    struct lists *l = arena_new(arena, struct lists, 1);
    l->arena = arena;
    map_init(&l->listed, listed_key);
    for (uint32_t i = 0; i < store_row_count(b, 0); i++)
        lists_add_route(l, b, i);
    for (uint32_t i = 0; i < store_row_count(b, 1); i++)
        lists_add_demand(l, b, i);
    timer_cancel(&lw->again);
    lists_free(&lw->now);
    lw->now = l;
}

static void lists_read_at_start(void *arg, enum store_result result, const struct store_batch *b)
{
    s2s_lists_take(arg, result, b);
}

static void lists_again(struct timer *t, struct loop *loop)
{
    struct lists_worker *lw = CONTAINER_OF(t, struct lists_worker, again);
    (void)loop;
    ensure(worker_is_here(lw->worker));
    lw->read_again(lw->worker);
}

/* The loop does not run yet: the rows are known before anybody asks. */
void s2s_lists_start(struct worker *w, void (*read_again)(struct worker *w))
{
    struct lists_worker *lw = mem_zalloc(sizeof *lw);
    ensure(*lists_worker_of(w) == NULL);
    lw->worker = w;
    lw->read_again = read_again;
    lw->again.fn = lists_again;
    *lists_worker_of(w) = lw;
    store_run(s2s_lists_read(w), lists_read_at_start, w);
}

void s2s_lists_ended(struct worker *w)
{
    struct lists_worker **lw = lists_worker_of(w);
    if (*lw == NULL)
        return; /* the node did not get so far */
    timer_cancel(&(*lw)->again);
    lists_free(&(*lw)->now);
    mem_free(lw);
}

/* Questions to the copy. */

struct s2s_levels s2s_levels_of(slice domain)
{
    const struct lists *l = lists_here();
    return (struct s2s_levels){ .lists = l != NULL && l->listed.count > 0 ? l : NULL,
                                .rest = domain };
}

/* The keys of "a.b.test": itself, ".b.test", ".test", ""; of an address: itself, "". */
const struct s2s_listed *s2s_levels_next(struct s2s_levels *at)
{
    const struct lists *l = at->lists;
    const struct s2s_listed *one = NULL;
    while (l != NULL && one == NULL && !at->over) {
        slice key = at->rest;
        one = map_get(&l->listed, key);
        at->over = key.len == 0;
        size_t next = jid_is_address(key) ? key.len : key.ptr[0] == '.';
        while (next < key.len && key.ptr[next] != '.')
            next++;
        at->rest = slice_from(key, next);
    }
    return one;
}

bool s2s_has_route(slice domain)
{
    const struct lists *l = lists_here();
    const struct s2s_listed *one = l != NULL ? map_get(&l->listed, domain) : NULL;
    return one != NULL && one->serves;
}

bool s2s_is_blocked(slice domain)
{
    struct s2s_levels l = s2s_levels_of(domain);
    const struct s2s_listed *one;
    if (lists_here() == NULL)
        return true;
    while ((one = s2s_levels_next(&l)) != NULL)
        if (one->serves || one->ends)
            return one->blocked;
    return false;
}

/* Demands. */

static void demand_by_row(struct s2s_demand *d, const struct s2s_listed *l)
{
    if (l->auth != S2S_AUTH_SETTINGS) {
        d->external = l->auth != S2S_AUTH_DIALBACK;
        d->dialback = l->auth != S2S_AUTH_CERTIFICATE;
    }
    d->tls_min = l->tls_min == 13 ? "TLSv1.3" : NULL;
    d->pins = l->pins;
    if (l->verify != S2S_VERIFY_SETTINGS)
        d->verify = l->verify == S2S_VERIFY_ON;
    if (l->auth == S2S_AUTH_CERTIFICATE)
        d->verify = true;
    d->firm = l->tls_min > 0 || l->pins.len > 0 || l->auth == S2S_AUTH_CERTIFICATE ||
              l->verify == S2S_VERIFY_ON;
    d->tls = d->tls || d->firm;
    d->plain = d->plain && !d->firm;
}

static bool demand_has_plain_route(const struct s2s_route *first)
{
    for (const struct s2s_route *r = first; r != NULL; r = r->next)
        if (r->in_service && r->tls == S2S_ROUTE_NONE)
            return true;
    return false;
}

struct s2s_demand s2s_demand_of(slice domain)
{
    struct s2s_demand d = { .tls = setting_bool(&s2s_require_tls),
                            .verify = setting_bool(&s2s_verify),
                            .external = true,
                            .dialback = setting_bool(&s2s_dialback) };
    struct s2s_levels at = s2s_levels_of(domain);
    const struct s2s_listed *l, *demand = NULL, *routes = NULL;
    bool ended = false;
    while ((l = s2s_levels_next(&at)) != NULL) {
        demand = demand == NULL && l->demands ? l : demand;
        routes = routes == NULL && !ended && l->serves ? l : routes;
        ended = ended || l->ends;
    }
    d.plain = routes != NULL && demand_has_plain_route(routes->routes);
    if (demand != NULL)
        demand_by_row(&d, demand);
    return d;
}

const char *s2s_demand_advice(slice domain, enum s2s_stage stage)
{
    bool pinned = stage == S2S_AT_CERTIFICATE && s2s_demand_of(domain).pins.len > 0;
    if (stage == S2S_AT_CERTIFICATE && !pinned && !setting_bool(&s2s_wildcards))
        return "If it names the server by a wildcard only, s2s.wildcards must be on here. Else the "
               "other operator must renew or correct the certificate, or replace it if it is "
               "revoked; or only its authority is not known here: `musterctl cert-trust add`.";
    if (!pinned)
        return s2s_stage_advice(stage);
    return "The server shows another certificate than the one that `musterctl s2s-demand list` "
           "has. Ask the other operator whether that is right; if so, change the pin: `musterctl "
           "s2s-demand set PATTERN --pin SHA-256`.";
}

bool s2s_may_be_plain(slice domain)
{
    struct s2s_demand d = s2s_demand_of(domain);
    return !d.tls || d.plain;
}
