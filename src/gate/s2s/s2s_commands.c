#include "gate/s2s/s2s_commands.h"
#include "base/arena.h"
#include "base/command.h"
#include "base/ensure.h"
#include "base/map.h"
#include "base/setting.h"
#include "gate/s2s/find/s2s_find.h"
#include "gate/s2s/link/s2s_in.h"
#include "gate/s2s/link/s2s_unproved.h"
#include "gate/s2s/peer/s2s_peer.h"
#include "gate/s2s/peer/s2s_peer_show.h"
#include "gate/s2s/s2s_domains.h"
#include "gate/s2s/s2s_rows.h"
#include "gate/s2s/s2s_show.h"
#include "gate/s2s/s2s_trace.h"
#include "home/here.h"
#include "remote/outgoing.h"

enum { ROWS_MAX = 10000 };

/* Whether a command is about this domain: the one that was given, or any. */
static bool commands_about(const struct command_call *call, slice remote)
{
    slice domain = command_arg(call, "domain");
    return domain.ptr == NULL || slice_eq(domain, remote);
}

static bool commands_room(struct command_call *call, uint32_t *rows)
{
    if (*rows == ROWS_MAX) {
        call->left_out++;
        return false;
    }
    ++*rows;
    return true;
}

static void commands_add(struct command_call *call, const struct s2s_shown *s)
{
    command_row(call);
    command_text(call, "domain", s->remote);
    command_text(call, "local", s->local);
    command_text(call, "direction", slice_of(s->direction));
    command_text(call, "state", slice_of(s->state));
    command_int(call, "since_s", (int64_t)s->since_s);
    command_int(call, "queue", s->queue);
    command_text(call, "tls", slice_of(s->tls));
    command_text(call, "auth", slice_of(s->auth));
    if (s->link != 0)
        command_text(call, "link", s2s_link_name(s, call->arena));
    if (s->peer != NULL)
        command_text(call, "peer", slice_dup(call->arena, slice_of(conn_info_text(s->peer).text)));
    if (s->host.len > 0)
        command_text(call, "host", slice_dup(call->arena, s->host));
    if (s->stage != S2S_AT_NONE)
        command_text(call, "stage", slice_of(s2s_stage_name(s->stage)));
    if (s->why.len > 0)
        command_text(call, "why", slice_dup(call->arena, s->why));
}

struct listing {
    struct command_call *call;
    uint32_t rows;
};

static void commands_show(const struct s2s_shown *shown, void *arg)
{
    struct listing *l = arg;
    if (commands_about(l->call, shown->remote) && commands_room(l->call, &l->rows))
        commands_add(l->call, shown);
}

/* Of all that this process remembers, what this worker is the home of. */
static void commands_show_refused(slice domain, const struct s2s_unproved *last, void *arg)
{
    struct listing *l = arg;
    uint64_t now = loop_wall_us(worker_loop(l->call->worker));
    if (!s2s_unproved_is_at(l->call->worker, domain))
        return;
    commands_show(
        &(struct s2s_shown){
            .remote = slice_dup(l->call->arena, domain),
            .local = slice_dup(l->call->arena, slice_of(last->local)),
            .direction = "in",
            .state = "refused",
            .since_s = now > last->at_us ? (now - last->at_us) / 1000000 : 0,
            .tls = "",
            .auth = "",
            .stage = last->stage,
            .why = slice_of(arena_printf(l->call->arena, "%s (from %s)", last->why, last->peer)) },
        l);
}

/* On each worker. */
static void run_s2s_list(struct command_call *call)
{
    struct worker *w = call->worker;
    struct s2s_gate *g = s2s_gate_of(w);
    struct listing l = { call, 0 };
    struct s2s_peer *p;
    if (g == NULL)
        return;
    for (uint32_t i = 0; (p = map_next(&s2s_worker(g, w)->peers, &i)) != NULL;)
        s2s_peer_show(p, commands_show, &l);
    LIST_EACH (it, &s2s_worker(g, w)->in.all)
        s2s_in_show(s2s_in_of(CONTAINER_OF(it, struct xstream, node)), commands_show, &l);
    s2s_unproved_each(loop_wall_us(worker_loop(w)), commands_show_refused, &l);
}

struct domain_total {
    slice domain; /* first: the key */
    int64_t count;
};

static void commands_totals(struct map *out, struct arena *arena, const struct store_batch *b)
{
    for (uint32_t row = 0; row < store_row_count(b, 0); row++) {
        struct domain_total *t = arena_new(arena, struct domain_total, 1);
        t->domain = slice_dup(arena, store_text(b, 0, row, 0));
        t->count = store_int(b, 0, row, 1);
        map_put(out, t);
    }
}

static void commands_stored(void *arg, enum store_result result, const struct store_batch *b)
{
    struct command_call *call = arg;
    struct map totals;
    if (result != STORE_OK) {
        command_fail_cause(call, err_of_store(result), NULL);
        return;
    }
    map_init(&totals, map_key_slice);
    commands_totals(&totals, call->arena, b);
    for (struct command_row *next, *r = command_take_rows(call); r != NULL; r = next) {
        next = r->next;
        command_keep_row(call, r);
        if (!slice_is(command_row_text(r, "direction"), "out"))
            continue;
        const struct domain_total *t = map_get(&totals, command_row_text(r, "domain"));
        command_int(call, "stored", t != NULL ? t->count : 0);
    }
    map_fini(&totals);
    command_done(call, "%s",
                 call->rows != NULL || setting_bool_somewhere(&s2s_policy)
                     ? ""
                     : "federation is off; s2s.policy switches it on (docs/federation.md)");
}

static void s2s_list_gathered(struct command_call *call)
{
    ensure(!call->part);
    command_limit_rows(call, ROWS_MAX);
    struct store_batch *b = store_read(worker_store(call->worker), 0);
    outgoing_totals(b);
    store_submit(b, worker_loop(call->worker), 0, commands_stored, call);
}

/* How many streams and peers each worker found. */
static const struct command_column count_parts[] = {
    { .name = "count", .type = PARAM_INT, .doc = "how many there were" },
    { 0 },
};
static const struct command_column close_parts[] = {
    { .name = "count", .type = PARAM_INT, .doc = "how many there were" },
    { .name = "next_s",
      .type = PARAM_INT,
      .unit = "s",
      .doc = "when the first of those that wait is tried again; 0: none waits" },
    { 0 },
};

static int64_t commands_count(struct command_call *call)
{
    int64_t count = 0;
    for (const struct command_row *r = command_take_rows(call); r != NULL; r = r->next)
        count += command_row_int(r, "count");
    return count;
}

static void run_s2s_close(struct command_call *call)
{
    struct worker *w = call->worker;
    struct s2s_gate *g = s2s_gate_of(w);
    slice domain = command_arg(call, "domain");
    int64_t count = 0;
    if (g == NULL)
        return;
    count += s2s_peers_each(w, domain, s2s_peer_close);
    LIST_EACH (it, &s2s_worker(g, w)->in.all)
        count += s2s_in_close(s2s_in_of(CONTAINER_OF(it, struct xstream, node)), domain);
    command_row(call);
    command_int(call, "count", count);
    command_int(call, "next_s", s2s_peers_next_s(w, domain));
}

static void s2s_close_gathered(struct command_call *call)
{
    int64_t count = 0, next_s = 0;
    for (const struct command_row *r = command_take_rows(call); r != NULL; r = r->next) {
        int64_t s = command_row_int(r, "next_s");
        count += command_row_int(r, "count");
        next_s = s > 0 && (next_s == 0 || s < next_s) ? s : next_s;
    }
    if (count > 0)
        command_done(call, "closed streams: %lld", (long long)count);
    else if (next_s > 0)
        command_fail(call, E_NOTFOUND,
                     "there is no stream with this domain yet: the next attempt is in %lld s; "
                     "`s2s retry` begins it now",
                     (long long)next_s);
    else
        command_fail(call, E_NOTFOUND, "no stream with this domain; `s2s list` shows all");
}

static void run_s2s_retry(struct command_call *call)
{
    struct worker *w = call->worker;
    struct s2s_gate *g = s2s_gate_of(w);
    slice domain = command_arg(call, "domain");
    int64_t count = 0;
    if (g == NULL)
        return;
    s2s_find_forget(g, w, domain);
    count += s2s_peers_each(w, domain, s2s_peer_try_again);
    command_row(call);
    command_int(call, "count", count);
}

static void s2s_retry_gathered(struct command_call *call)
{
    struct s2s_domain_counts c;
    bool fails = s2s_domain_counts(command_arg(call, "domain"), &c) && c.failing_us != 0;
    if (commands_count(call) > 0)
        command_done(call, "%s", "the next attempt is under way, or begins now");
    else if (fails) /* as `s2s show` says */
        command_done(call, "%s", "nothing waits for it; the next stanza begins an attempt at once");
    else
        command_done(call, "%s",
                     "this domain is not known to fail; what the DNS says of it is asked again");
}

static const struct command_arg one_domain[] = {
    { .name = "domain",
      .kind = ARG_POSITIONAL,
      .type = PARAM_DOMAIN,
      .refers = REFERS_PARTNER,
      .doc = "the domain of another server" },
    { 0 },
};

static struct command s2s_list = {
    .name = "s2s list",
    .rest = "GET /federation/streams",
    .effect = COMMAND_READS,
    .area = "federation",
    .args = (const struct command_arg[]){ { .name = "domain",
                                            .kind = ARG_OPTIONAL,
                                            .type = PARAM_DOMAIN,
                                            .refers = REFERS_PARTNER,
                                            .doc = "only the streams with this domain" },
                                          { 0 } },
    .runs_at = COMMAND_EACH,
    .run = run_s2s_list,
    .gathered = s2s_list_gathered,
    .doc = "Lists the streams with other servers. Shows why there is none where one is needed.",
    .columns =
        (const struct command_column[]){
            { .name = "domain",
              .type = PARAM_DOMAIN,
              .refers = REFERS_PARTNER,
              .doc = "the domain of the other server" },
            { .name = "local", .type = PARAM_DOMAIN, .doc = "the domain of this server" },
            { .name = "direction",
              .doc = "out: stanzas to it, in: from it, keys: only questions about its dialback "
                     "keys; a stream of both directions is in two lines" },
            { .name = "state",
              .doc =
                  "up, connecting, queued (s2s.connecting), waiting (for the next attempt), "
                  "failed, diverted (to another of s2s.connections), checking (its dialback), or "
                  "refused (its certificate, or a further domain on its stream, the last time that "
                  "it came; for a day)" },
            { .name = "since_s", .type = PARAM_INT, .unit = "s", .doc = "since when" },
            { .name = "queue", .type = PARAM_INT, .doc = "stanzas that wait in memory" },
            { .name = "stored",
              .type = PARAM_INT,
              .optional = true,
              .doc = "messages in the database that this domain has not confirmed, of all domains "
                     "of this server; those in the queue count, too" },
            { .name = "tls", .doc = "version of TLS" },
            { .name = "auth", .doc = "what has proved the domain: certificate or dialback" },
            { .name = "link",
              .optional = true,
              .doc = "the connection that it is on: its node, and a number there; lines with "
                     "the same one share it" },
            { .name = "peer",
              .optional = true,
              .wide = true,
              .doc = "the address of the other server, as the log has it" },
            { .name = "host",
              .optional = true,
              .wide = true,
              .doc = "the host and port that were dialled, of a connection that this server made" },
            { .name = "stage",
              .optional = true,
              .doc = "where the last attempt has failed, as `s2s trace` names it" },
            { .name = "why", .optional = true, .doc = "why the last attempt has failed" },
            { 0 } },
};
static struct command s2s_close = {
    .name = "s2s close",
    .rest = "DELETE /federation/domains/{domain}/streams",
    .effect = COMMAND_CHANGES,
    .area = "streams",
    .args = one_domain,
    .runs_at = COMMAND_EACH,
    .run = run_s2s_close,
    .gathered = s2s_close_gathered,
    .parts = close_parts,
    .doc = "Closes the streams with a domain. They are made again when there is something to send.",
};
static struct command s2s_retry = {
    .name = "s2s retry",
    .rest = "POST /federation/domains/{domain}/retry",
    .effect = COMMAND_CHANGES,
    .area = "streams",
    .args = one_domain,
    .runs_at = COMMAND_EACH,
    .run = run_s2s_retry,
    .gathered = s2s_retry_gathered,
    .parts = count_parts,
    .doc =
        "Tries a domain again that failed. The next attempt begins at once, and what the DNS said "
        "is forgotten.",
};

struct command *const s2s_commands[] = { &s2s_list,  &s2s_show_command, &s2s_trace_command,
                                         &s2s_close, &s2s_retry,        NULL };
