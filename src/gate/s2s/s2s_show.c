#include "gate/s2s/s2s_show.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/command.h"
#include "base/ensure.h"
#include "base/setting.h"
#include "codec/xml_write.h"
#include "gate/s2s/find/s2s_find.h"
#include "gate/s2s/link/s2s_in.h"
#include "gate/s2s/link/s2s_unproved.h"
#include "gate/s2s/peer/s2s_peer.h"
#include "gate/s2s/peer/s2s_peer_show.h"
#include "gate/s2s/s2s_domains.h"
#include "gate/s2s/s2s_rows.h"
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

slice s2s_link_name(const struct s2s_shown *s, struct arena *arena)
{
    ensure(s->link != 0);
    return slice_of(arena_printf(arena, "%u-%012llx", s->link_node,
                                 (unsigned long long)(s->link & LINK_SHOWN)));
}

static const char *show_link(struct command_call *call, const struct s2s_shown *s)
{
    return s->link == 0
               ? ""
               : arena_printf(call->arena, ", link %.*s", SLICE_ARG(s2s_link_name(s, call->arena)));
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

/* What the home of the domain remembers. */
static void show_unproved(struct command_call *call)
{
    struct s2s_unproved last;
    char stamp[CLOCK_STAMP_LEN];
    uint64_t now = loop_wall_us(worker_loop(call->worker));
    if (!s2s_unproved_is_at(call->worker, command_arg(call, "domain")) ||
        !s2s_unproved_of(command_arg(call, "domain"), now, &last))
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
    if (worker_index(w) == 0)
        show_counts(call);
    show_unproved(call);
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

struct command s2s_show_command = {
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
