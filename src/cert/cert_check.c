#include "cert/cert_check.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/command.h"
#include "base/ensure.h"
#include "base/list.h"
#include "cert/cert_domains.h"
#include "cert/cert_ocsp.h"
#include "cert/cert_trust.h"
#include "cert/cert_watch.h"
#include "cert/certs.h"
#include "core/feature.h"
#include "home/duty.h"
#include "home/here.h"
#include "home/host.h"
#include "home/node.h"
#include "home/remote.h"
#include "io/tls_trust.h"
#include "io/work.h"
#include <inttypes.h>

enum { TEXT_BYTES_MAX = 64 * 1024, SERVICES_MAX = 1024, NAMELESS_MAX = 20 };

/* The domain of a service under one of ours. */
struct service {
    const char *domain, *parent;
};

/* A component, which may show any certificate that names it. */
struct nameless {
    const char *domain;
    bool named;
};

/* The domains and files to check, copied for a helper thread, which reads the files as they are
 * now. Lives in the arena of its call. */
struct cert_check {
    struct work work;
    struct command_call *call;
    struct cert_use *use;
    bool *revoked; /* of each: as it was loaded */
    bool *strange; /* of each: it is left of a domain that is not here any more */
    size_t use_count;
    struct service *service;
    size_t service_count;
    struct nameless *component;
    size_t component_count;
    int64_t now;
    struct buf mistakes, notes; /* a line each */
};

/* erlang-p1-xmpp 1.6.1, the library of ejabberd 23.01 in Debian 12, crashes when it trusts the
 * certificate of another server that has a domain as id-on-xmppAddr, and does not go on to
 * dialback. Addresses of users do it no harm. */
static void check_xmpp_names(struct cert_check *c, const struct cert_use *use)
{
    const struct tls_names *names = &use->facts.names;
    for (size_t i = 0; i < names->count; i++) {
        slice text = names->name[i].text;
        if (names->name[i].kind != TLS_NAME_XMPP || memchr(text.ptr, '@', text.len) != NULL)
            continue;
        buf_printf(&c->notes,
                   "%s: the certificate has the XMPP address %.*s (id-on-xmppAddr). Servers with "
                   "ejabberd 23.01 (Debian 12) fail at it: messages go neither there nor here. "
                   "Ask for a certificate without: `cert csr` without --xmpp-addr. Until then, "
                   "`s2s-demand set DOMAIN --auth dialback` lets such a server in.\n",
                   use->domains, SLICE_ARG(text));
        return;
    }
}

/* The certificate itself. false: the rest needs no look. */
static bool cert_check_leaf(struct cert_check *c, const struct cert_use *use)
{
    const struct tls_cert_facts *f = &use->facts;
    const char *fault = cert_fault(use, c->now, c->call->arena);
    if (fault != NULL)
        buf_printf(&c->mistakes, "%s: the certificate %s. Import another one: `cert import`.\n",
                   use->domains, fault);
    if (!use->known)
        return false;
    if (f->weak_key)
        buf_printf(&c->mistakes,
                   "%s: the key is weak (%s). Make a new one: `cert csr` or `cert self-signed`.\n",
                   use->domains, f->key);
    if (f->rare_key)
        buf_printf(&c->mistakes,
                   "%s: clients cannot use the key (%s). Make a new one: `cert csr` or `cert "
                   "self-signed`.\n",
                   use->domains, f->key);
    if (f->weak_signature)
        buf_printf(&c->mistakes,
                   "%s: the signature is weak (%s). Ask the issuer for a new certificate.\n",
                   use->domains, f->signature);
    if (!f->for_server)
        buf_printf(&c->mistakes,
                   "%s: the certificate is not for servers (extendedKeyUsage serverAuth). Ask the "
                   "issuer for one that is.\n",
                   use->domains);
    if (f->for_server && f->for_signatures && !f->for_client)
        buf_printf(&c->notes,
                   "%s: the certificate is not for clients (extendedKeyUsage clientAuth). Some "
                   "servers then do not accept SASL EXTERNAL, and ask by dialback instead.\n",
                   use->domains);
    if (cert_ocsp_misses(&use->chain))
        buf_printf(&c->mistakes,
                   "%s: the certificate demands OCSP answers (must-staple), and " CERT_OCSP_MISSING
                   ". Clients refuse it without.\n",
                   use->domains);
    check_xmpp_names(c, use);
    return true;
}

/* The certificates behind it. */
static void check_chain(struct cert_check *c, const struct cert_use *use)
{
    for (size_t i = 1; i < use->chain.count; i++) {
        const struct tls_cert_facts *f = &use->chain.item[i];
        if (f->weak_key || f->weak_signature)
            buf_printf(&c->mistakes,
                       "%s: the chain has \"%s\" with a weak key or signature (%s, %s). Get the "
                       "current chain from the issuer.\n",
                       use->domains, f->subject, f->key, f->signature);
    }
    const char *fault = use->facts.for_server ? tls_chain_fault(&use->chain, c->call->arena) : NULL;
    if (fault != NULL) {
        buf_printf(&c->mistakes, "%s: clients refuse the chain: %s.\n", use->domains, fault);
        return;
    }
    const char *last = use->chain.item[tls_chain_last(&use->chain)].issuer;
    struct tls_trust *own = tls_trusted_get(cert_trusted(CERT_TRUST_FEDERATION));
    enum tls_chain_end end = tls_chain_leads(&use->chain, own);
    tls_trust_unref(&own);
    bool only_here =
        end == TLS_CHAIN_TRUSTED && tls_chain_leads(&use->chain, NULL) != TLS_CHAIN_TRUSTED;
    if (use->facts.self_signed)
        buf_printf(&c->mistakes,
                   "%s: the certificate is self-signed. Clients warn their users, and other "
                   "servers refuse it. Get one from an authority: `cert csr`.\n",
                   use->domains);
    else if (end == TLS_CHAIN_OPEN)
        buf_printf(&c->mistakes,
                   "%s: the chain ends at \"%s\", which is neither in the file nor known to this "
                   "machine. Import the whole chain (fullchain.pem).\n",
                   use->domains, last);
    else if (only_here)
        buf_printf(&c->notes,
                   "%s: the chain ends at \"%s\", which this server trusts only by `cert-trust "
                   "list`. Clients and other servers must be told to trust it, too.\n",
                   use->domains, last);
    else if (end == TLS_CHAIN_PRIVATE)
        buf_printf(&c->notes,
                   "%s: the chain ends at \"%s\", which this machine does not trust. Clients and "
                   "other servers must be told to trust it.\n",
                   use->domains, last);
}

/* Other servers connect to the domain of a service, such as conference.a.test. */
static void check_services(struct cert_check *c, const struct cert_use *use, const char *domain)
{
    const char *missing = "";
    for (size_t i = 0; i < c->service_count; i++) {
        const struct service *s = &c->service[i];
        if (strcmp(s->parent, domain) == 0 && !cert_names(&use->facts, s->domain, c->call->arena))
            missing = arena_printf(c->call->arena, "%s%s%s", missing, *missing != '\0' ? ", " : "",
                                   s->domain);
    }
    if (*missing != '\0')
        buf_printf(&c->notes,
                   "%s: the certificate does not name the services %s. Users of other servers "
                   "cannot reach them; `cert csr` asks for their names, too.\n",
                   domain, missing);
}

static void cert_check_name_components(struct cert_check *c, const struct tls_cert_facts *facts)
{
    for (size_t i = 0; i < c->component_count; i++)
        c->component[i].named =
            c->component[i].named || cert_names(facts, c->component[i].domain, c->call->arena);
}

static void cert_check_components(struct cert_check *c)
{
    const char *text = "";
    size_t count = 0;
    for (size_t i = 0; i < c->component_count; i++)
        if (!c->component[i].named && ++count <= NAMELESS_MAX)
            text = arena_printf(c->call->arena, "%s%s%s", text, count > 1 ? ", " : "",
                                c->component[i].domain);
    if (count > NAMELESS_MAX)
        text = arena_printf(c->call->arena, "%s and %zu more", text, count - NAMELESS_MAX);
    if (count > 0)
        buf_printf(&c->notes,
                   "No certificate names the components %s. Users of other servers cannot reach "
                   "them. `cert csr DOMAIN` asks for the names of those below DOMAIN, too, and "
                   "`cert csr COMPONENT` for a certificate of one component.\n",
                   text);
}

/* Nobody asks for its domain, but components may show it. */
static void cert_check_strange(struct cert_check *c, const struct cert_use *use)
{
    buf_printf(&c->notes,
               "%s: this server has no such domain and no such component, but a certificate for "
               "it. Delete it if it is not needed any more: `cert del`.\n",
               use->domains);
    if (use->known)
        cert_check_name_components(c, &use->facts);
}

static void cert_check_one(struct cert_check *c, size_t at)
{
    struct cert_use use;
    const struct cert_use *loaded = &c->use[at];
    int64_t soon = cert_notice_days();
    cert_use_again(&use, loaded, c->call->arena);
    if (c->strange[at]) {
        cert_check_strange(c, &use);
        return;
    }
    if (!cert_check_leaf(c, &use))
        return;
    bool same = loaded->known && strcmp(loaded->facts.fingerprint, use.facts.fingerprint) == 0;
    if (same && c->revoked[at])
        buf_printf(&c->mistakes,
                   "%s: the certificate " CERT_OCSP_REVOKED ". Get a new one: `cert csr`.\n",
                   use.domains);
    cert_check_name_components(c, &use.facts);
    const struct tls_cert_facts *first = cert_first_end(&use.chain);
    int64_t days = cert_days_left(first, c->now);
    if (days >= 0 && days < soon && first == &use.chain.item[0])
        buf_printf(&c->notes, "%s: the certificate expires in %s. Renew it.\n", use.domains,
                   cert_days_print(days).text);
    else if (days >= 0 && days < soon)
        buf_printf(&c->notes,
                   "%s: the issuer \"%s\" in the chain expires in %s. Get the current chain "
                   "from the issuer.\n",
                   use.domains, first->subject, cert_days_print(days).text);
    check_chain(c, &use);
    for (size_t i = 0; i < use.domain_count; i++)
        check_services(c, &use, use.domain[i]);
    if (loaded->known && !same)
        buf_printf(&c->notes,
                   "%s: %s has changed and is not in use yet. Run `musterctl server reload`.\n",
                   use.domains, use.certificate);
}

static void cert_check_work(struct work *work)
{
    struct cert_check *c = CONTAINER_OF(work, struct cert_check, work);
    for (size_t i = 0; i < c->use_count; i++)
        cert_check_one(c, i);
    cert_check_components(c);
}

static struct command findings_command;

static void findings_add(struct command_call *call, slice lines, bool refused)
{
    slice one;
    while (lines.len > 0) {
        slice_cut(lines, '\n', &one, &lines);
        command_row(call);
        command_bool(call, "refused", refused);
        command_text(call, "text", slice_dup(call->arena, one));
    }
}

static void cert_check_done(struct work *work)
{
    struct cert_check *c = CONTAINER_OF(work, struct cert_check, work);
    struct buf mistakes = c->mistakes, notes = c->notes; /* the call's arena ends below */
    slice first = buf_slice(&mistakes), second = buf_slice(&notes);
    if (mistakes.overflow || notes.overflow)
        command_fail(c->call, E_LIMIT, "there is more to say than an answer holds; give a domain");
    else if (c->call->command == &findings_command) {
        findings_add(c->call, first, true);
        findings_add(c->call, second, false);
        command_done(c->call, "%s",
                     first.len > 0 ? "" : "nothing that clients or other servers refuse today");
    } else if (first.len > 0) /* without the last line feed */
        command_fail(c->call, E_AUTH, "%.*s%.*s", SLICE_ARG(second), (int)first.len - 1, first.ptr);
    else
        command_done(c->call, "%.*snothing that clients or other servers refuse today",
                     SLICE_ARG(second));
    buf_fini(&mistakes);
    buf_fini(&notes);
}

/* The certificate of one domain, or with all its domains. The texts are copied: a reload may free
 * those that are in use. */
static void cert_check_take(struct cert_check *c, const struct cert_use *use, slice only)
{
    struct arena *arena = c->call->arena;
    struct cert_use *to = &c->use[c->use_count];
    const char **names = arena_new(arena, const char *, use->domain_count);
    size_t count = 0;
    for (size_t i = 0; i < use->domain_count; i++)
        if (only.ptr == NULL || slice_is(only, use->domain[i]))
            names[count++] = slice_cstr(arena, slice_of(use->domain[i]));
    if (count == 0)
        return;
    *to = (struct cert_use){
        .domain = names,
        .domain_count = count,
        .domains = only.ptr != NULL ? names[0] : slice_cstr(arena, slice_of(use->domains)),
        .certificate = slice_cstr(arena, slice_of(use->certificate)),
        .key = slice_cstr(arena, slice_of(use->key)),
        .source = use->source,
        .known = use->known,
    };
    slice first = slice_of(names[0]);
    c->strange[c->use_count] = !node_serves(worker_node(c->call->worker), first) &&
                               !remote_expected(c->call->worker, first);
    if (use->known) {
        to->facts.fingerprint = slice_cstr(arena, slice_of(use->facts.fingerprint));
        c->revoked[c->use_count] = cert_ocsp_revoked(use->facts.fingerprint);
    }
    c->use_count++;
}

static bool is_served_with(const struct cert_use *use, slice domain)
{
    for (size_t i = 0; i < use->domain_count; i++)
        if (slice_is(domain, use->domain[i]))
            return true;
    return false;
}

struct taking {
    struct cert_check *check;
    const char *parent;
};

static void cert_check_add_service(const struct host *h, slice domain, void *arg)
{
    const struct taking *t = arg;
    struct cert_check *c = t->check;
    (void)h;
    if (c->service_count < SERVICES_MAX)
        c->service[c->service_count++] =
            (struct service){ slice_cstr(c->call->arena, domain), t->parent };
}

/* All, or those below one domain of ours. What other domains show them counts as it was loaded. */
static void cert_check_take_components(struct cert_check *c, const struct cert_uses *uses,
                                       slice only)
{
    struct cert_components all;
    cert_components(&all, c->call->worker, c->call->arena);
    c->component = arena_new(c->call->arena, struct nameless, all.count + 1);
    for (size_t i = 0; i < all.count && c->component_count < SERVICES_MAX; i++)
        if (only.ptr == NULL || slice_eq(all.item[i].parent, only) ||
            slice_eq(all.item[i].domain, only))
            c->component[c->component_count++] = (struct nameless){ all.item[i].domain.ptr, false };
    for (size_t i = 0; only.ptr != NULL && uses != NULL && i < uses->count; i++)
        if (uses->item[i].known && !is_served_with(&uses->item[i], only))
            cert_check_name_components(c, &uses->item[i].facts);
}

static void cert_check_run(struct command_call *call)
{
    const struct worker *w = call->worker;
    const struct cert_uses *uses = cert_watch_uses();
    struct cert_check *c = arena_new(call->arena, struct cert_check, 1);
    *c = (struct cert_check){ .work = { .run = cert_check_work, .done = cert_check_done },
                              .call = call,
                              .now = (int64_t)(clock_wall_us() / 1000000) };
    ensure(duty_is_here(w, DUTY_CERTS));
    slice only = command_arg(call, "domain");
    if (only.ptr != NULL && !cert_domain_ok(call, only))
        return;
    size_t count = uses != NULL ? uses->count : 0;
    c->use = arena_new(call->arena, struct cert_use, count + 1);
    c->revoked = arena_new(call->arena, bool, count + 1);
    c->strange = arena_new(call->arena, bool, count + 1);
    c->service = arena_new(call->arena, struct service, SERVICES_MAX);
    for (size_t i = 0; i < count; i++)
        cert_check_take(c, &uses->item[i], only);
    cert_check_take_components(c, uses, only);
    for (size_t i = 0; i < c->use_count; i++)
        for (size_t d = 0; d < c->use[i].domain_count; d++)
            host_each_listed(worker_node(w), slice_of(c->use[i].domain[d]), cert_check_add_service,
                             &(struct taking){ c, c->use[i].domain[d] });
    buf_init(&c->mistakes, TEXT_BYTES_MAX);
    buf_init(&c->notes, TEXT_BYTES_MAX);
    if (work_submit(worker_work(w), worker_loop(w), &c->work) != OK)
        command_fail(call, E_AGAIN, "all helper threads are busy; try again");
}

static const struct command_arg cert_check_args[] = {
    { .name = "domain",
      .kind = ARG_OPTIONAL,
      .type = PARAM_DOMAIN,
      .refers = REFERS_HOSTED,
      .doc = "one of the server's domains, or one of a component; the default is all" },
    { 0 },
};

static struct command check_command = {
    .name = "cert check",
    .access = COMMAND_LOCAL,
    .effect = COMMAND_READS,
    .area = "certificates",
    .args = cert_check_args,
    .runs_at = COMMAND_DUTY,
    .duty = DUTY_CERTS,
    .run = cert_check_run,
    .doc = "Says what clients and other servers will refuse: names that are missing, also those of "
           "services and components, dates, OCSP answers, the chain, weak keys, wrong usage, "
           "constraints of issuers. Each line says what to do. It fails (exit status 1) if one of "
           "them is refused, not for what is only a note.",
};

static struct command findings_command = {
    .name = "cert findings",
    .rest = "GET /certificates/findings",
    .effect = COMMAND_READS,
    .area = "certificates",
    .args = cert_check_args,
    .runs_at = COMMAND_DUTY,
    .duty = DUTY_CERTS,
    .run = cert_check_run,
    .doc = "Lists what clients and other servers will refuse. It is what `cert check` says on the "
           "machine of the server, with its notes.",
    .columns =
        (const struct command_column[]){
            { .name = "refused",
              .type = PARAM_BOOL,
              .doc = "whether clients or other servers refuse the certificate for it" },
            { .name = "text", .doc = "what it is, and what to do" },
            { 0 } },
};

const struct feature cert_check_feature = {
    .name = "cert-check",
    .commands = (struct command *const[]){ &check_command, &findings_command, NULL },
};
