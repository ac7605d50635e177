#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/command.h"
#include "base/ensure.h"
#include "base/map.h"
#include "base/setting.h"
#include "codec/xml_write.h"
#include "gate/s2s/find/s2s_find.h"
#include "gate/s2s/link/s2s_in.h"
#include "gate/s2s/link/s2s_unproved.h"
#include "gate/s2s/peer/s2s_peer.h"
#include "gate/s2s/s2s_domains.h"
#include "gate/s2s/s2s_rows.h"
#include "gate/s2s/s2s_trace.h"
#include "home/here.h"
#include "io/tls_cert.h"
#include "remote/foreign.h"
#include "remote/outgoing.h"

enum { ROWS_MAX = 10000, NAMES_SHOWN = 10 };
#define LINK_SHOWN 0xffffffffffffull /* its upper bits are the same for all, mostly */

static void show_add(struct command_call *call, const char *name, const char *value)
{
    command_row(call);
    command_text(call, "name", slice_of(name));
    command_text(call, "value", slice_of(value));
}

/* Certificates. */

static const char *const name_kinds[] = {
    [TLS_NAME_DNS] = "DNS name", [TLS_NAME_SRV] = "SRV name", [TLS_NAME_XMPP] = "XMPP address"
};

static void show_names(struct command_call *call, const struct tls_names *names)
{
    struct buf text;
    buf_init(&text, XML_PART_MAX);
    for (size_t i = 0; i < names->count && i < NAMES_SHOWN; i++)
        buf_printf(&text, "%s%.*s (%s)", i > 0 ? ", " : "", SLICE_ARG(names->name[i].text),
                   name_kinds[names->name[i].kind]);
    if (names->count > NAMES_SHOWN)
        buf_printf(&text, " and %zu more", names->count - NAMES_SHOWN);
    show_add(call, "names", slice_cstr(call->arena, buf_fit(&text)));
    buf_fini(&text);
}

static void show_match(struct command_call *call, const struct tls_names *names, slice domain)
{
    const struct tls_wanted wanted = { .domain = s2s_ascii(domain, call->arena),
                                       .unicode = domain,
                                       .service = SLICE("xmpp-server"),
                                       .xmpp = true,
                                       .wildcards = setting_bool(&s2s_wildcards) };
    const struct tls_name *name = tls_names_find(names, &wanted);
    show_add(call, "name that matches",
             name == NULL ? "none"
                          : arena_printf(call->arena, "%.*s (%s)", SLICE_ARG(name->text),
                                         name_kinds[name->kind]));
}

static void show_verdict(struct command_call *call, const struct conn *c)
{
    const struct tls_peer *peer = conn_tls_peer(c);
    if (peer != NULL && peer->verdict != TLS_NOT_SHOWN)
        show_add(call, "chain", peer->verdict == TLS_VERIFIED ? "verified" : peer->reason);
}

static void show_certificate(struct command_call *call, const struct conn *c, slice domain)
{
    struct tls_cert_facts facts;
    char until[CLOCK_STAMP_LEN];
    slice *chain;
    if (conn_tls_version(c) == NULL)
        return;
    show_add(call, "tls",
             arena_printf(call->arena, "%s, %s", conn_tls_version(c), conn_tls_cipher(c)));
    if (conn_tls_chain(c, call->arena, &chain) == 0 ||
        tls_cert_of_der(&facts, chain[0], call->arena) != OK) {
        show_add(call, "certificate", "none was shown");
        return;
    }
    clock_stamp(until, (uint64_t)(facts.not_after > 0 ? facts.not_after : 0) * 1000000);
    show_add(call, "certificate",
             arena_printf(call->arena, "%s, issued by %s, valid until %.10s", facts.subject,
                          facts.issuer, until));
    show_names(call, &facts.names);
    show_match(call, &facts.names, domain);
    show_verdict(call, c);
}

static slice link_name(const struct s2s_shown *s, struct arena *arena)
{
    ensure(s->link != 0);
    return slice_of(arena_printf(arena, "%u-%012llx", s->link_node,
                                 (unsigned long long)(s->link & LINK_SHOWN)));
}

static const char *show_link(struct command_call *call, const struct s2s_shown *s)
{
    return s->link == 0
               ? ""
               : arena_printf(call->arena, ", link %.*s", SLICE_ARG(link_name(s, call->arena)));
}

static void show_peer(struct command_call *call, const struct s2s_shown *s)
{
    if (s->peer != NULL)
        show_add(call, "address",
                 arena_printf(call->arena, "%s%s%.*s", conn_info_text(s->peer).text,
                              s->host.len > 0 ? ", dialled as " : "", SLICE_ARG(s->host)));
}

struct showing {
    struct command_call *call;
    const struct conn *last; /* of the line before: lines of one connection follow each other */
};

static const char *show_overflows(struct command_call *call, const struct s2s_shown *s)
{
    return s->overflows == 0
               ? ""
               : arena_printf(
                     call->arena,
                     "; %llu found no room, and went back to their senders or were dropped",
                     (unsigned long long)s->overflows);
}

static void show_stream(const struct s2s_shown *s, void *arg)
{
    struct showing *show = arg;
    struct command_call *call = show->call;
    if (!slice_eq(command_arg(call, "domain"), s->remote))
        return;
    bool again = s->conn != NULL && s->conn == show->last;
    show->last = s->conn;
    bool in = strcmp(s->direction, "in") == 0, out = strcmp(s->direction, "out") == 0;
    show_add(call,
             in    ? "stream from it"
             : out ? "stream to it"
                   : "stream for keys",
             arena_printf(call->arena, "%s %.*s: %s for %llu s%s%s%s%s%s", in ? "to" : "from",
                          SLICE_ARG(s->local), s->state, (unsigned long long)s->since_s,
                          *s->tls != '\0' ? ", " : "", s->tls, *s->auth != '\0' ? ", by " : "",
                          s->auth, show_link(call, s)));
    show_peer(call, s);
    if (out)
        show_add(call, "queue",
                 arena_printf(call->arena, "%u stanzas wait%s%s", s->queue,
                              s->stored ? ", and stored messages" : "", show_overflows(call, s)));
    if (s->conn != NULL && !again)
        show_certificate(call, s->conn, s->remote);
    show_add(call, "unacknowledged", arena_printf(call->arena, "%u stanzas", s->unacked));
    if (s->why.len > 0)
        show_add(
            call, "last failure",
            arena_printf(call->arena, "%s: %.*s", s2s_stage_name(s->stage), SLICE_ARG(s->why)));
}

/* What this node has counted. */
static void show_counts(struct command_call *call)
{
    struct s2s_domain_counts c;
    char stamp[CLOCK_STAMP_LEN];
    const char *node = worker_node(call->worker)->name;
    if (!s2s_domain_counts(command_arg(call, "domain"), &c))
        return;
    show_add(call, "counted",
             arena_printf(call->arena,
                          "%llu stanzas sent, %llu received, %llu streams, %llu failures (node %s)",
                          (unsigned long long)c.sent, (unsigned long long)c.received,
                          (unsigned long long)c.up, (unsigned long long)c.failures, node));
    if (c.held_ms > 0)
        show_add(call, "held",
                 arena_printf(call->arena,
                              "what it sent was read %llu s later, for federation.stanza-rate",
                              (unsigned long long)(c.held_ms + 999) / 1000));
    if (c.failing_us == 0)
        return;
    clock_stamp(stamp, c.failing_us);
    show_add(call, "failing since", arena_printf(call->arena, "%s", stamp));
}

static void show_unproved(struct command_call *call)
{
    struct s2s_unproved last;
    char stamp[CLOCK_STAMP_LEN];
    uint64_t now = loop_wall_us(worker_loop(call->worker));
    if (!s2s_unproved_of(command_arg(call, "domain"), now, &last))
        return;
    clock_stamp(stamp, last.at_us);
    show_add(call, "last refused",
             arena_printf(call->arena, "%s, from %s: %s%s", stamp, last.peer,
                          last.stage == S2S_AT_CERTIFICATE
                              ? "its certificate does not prove the domain: "
                              : "",
                          last.why));
}

static void run_s2s_show(struct command_call *call)
{
    struct worker *w = call->worker;
    struct s2s_gate *g = s2s_gate_of(w);
    struct showing show = { call, NULL };
    struct s2s_peer *p;
    if (g == NULL)
        return;
    if (worker_index(w) == 0) {
        show_counts(call);
        show_unproved(call);
    }
    for (uint32_t i = 0; (p = map_next(&s2s_worker(g, w)->peers, &i)) != NULL;)
        s2s_peer_show(p, show_stream, &show);
    LIST_EACH (it, &s2s_worker(g, w)->in.all)
        s2s_in_show(s2s_in_of(CONTAINER_OF(it, struct xstream, node)), show_stream, &show);
}

static const char *show_policy_text(struct command_call *call, const struct foreign_ban *ban)
{
    return ban == NULL ? "allowed" : arena_printf(call->arena, "not allowed: %s", ban->why);
}

/* One line if it is the same for all domains of ours. */
static void show_policy(struct command_call *call, slice domain)
{
    struct worker *w = call->worker;
    const struct node *n = worker_node(w);
    const struct foreign_ban *first = s2s_ban(w, n->domains[0], domain);
    unsigned same = 0;
    for (unsigned i = 0; i < n->domain_count; i++)
        same += s2s_ban(w, n->domains[i], domain) == first;
    if (s2s_is_ours(w, domain) || same == n->domain_count) {
        show_add(call, "policy",
                 s2s_is_ours(w, domain) ? first->why : show_policy_text(call, first));
        return;
    }
    for (unsigned i = 0; i < n->domain_count; i++)
        show_add(call, "policy",
                 arena_printf(call->arena, "%.*s: %s", SLICE_ARG(n->domains[i]),
                              show_policy_text(call, s2s_ban(w, n->domains[i], domain))));
}

static void show_pending(void *arg, enum store_result result, const struct store_batch *b)
{
    struct command_call *call = arg;
    if (result != STORE_OK) {
        command_fail_cause(call, err_of_store(result), NULL);
        return;
    }
    int64_t count = store_int(b, 0, 0, 0);
    show_add(call, "stored",
             arena_printf(call->arena, "%lld%s messages are not confirmed", (long long)count,
                          count == OUTGOING_TOTAL_MAX ? " or more" : ""));
    command_done(call, "%s", "");
}

static void s2s_show_gathered(struct command_call *call)
{
    struct worker *w = call->worker;
    slice domain = command_arg(call, "domain");
    command_limit_rows(call, ROWS_MAX);
    if (call->rows == NULL)
        show_add(call, "state", "no stream, and nothing waits");
    show_policy(call, domain);
    struct store_batch *b = store_read(worker_store(w), 0);
    outgoing_total(b, domain);
    store_submit(b, worker_loop(w), 0, show_pending, call);
}

static struct command s2s_show_command = {
    .name = "s2s show",
    .rest = "GET /federation/domains/{domain}",
    .effect = COMMAND_READS,
    .area = "federation",
    .args = (const struct command_arg[]){ { .name = "domain",
                                            .kind = ARG_POSITIONAL,
                                            .type = PARAM_DOMAIN,
                                            .refers = REFERS_PARTNER,
                                            .doc = "the domain of another server" },
                                          { 0 } },
    .runs_at = COMMAND_EACH,
    .run = run_s2s_show,
    .gathered = s2s_show_gathered,
    .doc = "Shows all that is known of a domain. This is its streams, what waits for it, the last "
           "failure, certificates, what was counted, and the policy.",
    .columns =
        (const struct command_column[]){
            { .name = "name",
              .doc = "stream to it, stream from it, or stream for keys (only questions about its "
                     "dialback keys), and of this stream: address, queue, tls, certificate, "
                     "names, name that matches, chain, unacknowledged, last failure (tls to "
                     "chain once for all streams of one link, as in `s2s list`); then "
                     "counted, held, failing since, last refused (of its streams to this server), "
                     "state, "
                     "policy, stored" },
            { .name = "value", .doc = "what is known" },
            { 0 } },
};

/* The list, and what changes streams. */

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
        command_text(call, "link", link_name(s, call->arena));
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

static void commands_show_refused(slice domain, const struct s2s_unproved *last, void *arg)
{
    struct listing *l = arg;
    uint64_t now = loop_wall_us(worker_loop(l->call->worker));
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
    if (worker_index(w) == 0)
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
