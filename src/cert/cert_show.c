#include "cert/cert_show.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/command.h"
#include "cert/cert_domains.h"
#include "cert/cert_watch.h"
#include "cert/certs.h"
#include "core/feature.h"
#include "home/duty.h"

static const char *names_of_kind(const struct tls_names *names, enum tls_name_kind kind,
                                 struct arena *arena)
{
    const char *text = "";
    for (size_t i = 0; i < names->count; i++)
        if (names->name[i].kind == kind)
            text = arena_printf(arena, "%s%s%.*s", text, *text != '\0' ? ", " : "",
                                SLICE_ARG(names->name[i].text));
    return text;
}

static const char *list_of(const char *const *item, size_t count, struct arena *arena)
{
    const char *text = "";
    for (size_t i = 0; i < count; i++)
        text = arena_printf(arena, "%s%s%s", text, i > 0 ? ", " : "", item[i]);
    return text;
}

static void add_stamp(struct command_call *call, const char *key, int64_t when)
{
    char stamp[CLOCK_STAMP_LEN] = "";
    if (when > 0)
        clock_stamp(stamp, (uint64_t)when * 1000000);
    command_text(call, key, slice_of(stamp));
}

static void cert_show_add(struct command_call *call, const struct cert_use *use, const char *domain,
                          size_t depth)
{
    const struct tls_cert_facts *f = &use->chain.item[depth];
    int64_t now = (int64_t)(clock_wall_us() / 1000000);
    command_row(call);
    command_text(call, "domain", slice_of(domain));
    command_int(call, "depth", (int64_t)depth);
    command_text(call, "subject", slice_of(f->subject));
    command_text(call, "issuer", slice_of(f->issuer));
    command_text(call, "names", slice_of(list_of(f->name, f->name_count, call->arena)));
    command_text(call, "srv_names", slice_of(names_of_kind(&f->names, TLS_NAME_SRV, call->arena)));
    command_text(call, "xmpp_names",
                 slice_of(names_of_kind(&f->names, TLS_NAME_XMPP, call->arena)));
    command_text(call, "key", slice_of(f->key));
    command_text(call, "signature", slice_of(f->signature));
    add_stamp(call, "not_before", f->not_before);
    add_stamp(call, "not_after", f->not_after);
    command_int(call, "days_left", use->known ? cert_days_left(f, now) : 0);
    command_text(call, "fingerprint", slice_of(f->fingerprint));
    command_text(call, "source", slice_of(cert_source_name(use->source)));
    command_text(call, "certificate", slice_of(use->certificate));
}

/* Says of a domain just that its certificate cannot be read. */
static void cert_show_add_unread(struct command_call *call, const struct cert_use *use,
                                 const char *domain)
{
    static const struct tls_cert_facts none = {
        .subject = "cannot be read", .issuer = "", .key = "", .signature = "", .fingerprint = ""
    };
    struct cert_use unread = *use;
    unread.chain = (struct tls_chain){ &none, 1 };
    cert_show_add(call, &unread, domain, 0);
}

static void cert_show_run(struct command_call *call)
{
    const struct cert_uses *uses = cert_watch_uses();
    slice only = command_arg(call, "domain");
    if (only.ptr != NULL && !cert_domain_ok(call, only))
        return;
    for (size_t i = 0; uses != NULL && i < uses->count; i++) {
        const struct cert_use *use = &uses->item[i];
        for (size_t d = 0; d < use->domain_count; d++) {
            if (only.ptr != NULL && !slice_is(only, use->domain[d]))
                continue;
            if (!use->known)
                cert_show_add_unread(call, use, use->domain[d]);
            for (size_t depth = 0; depth < use->chain.count; depth++)
                cert_show_add(call, use, use->domain[d], depth);
        }
    }
    command_done(call, "%s", "");
}

static const struct command_arg one_domain[] = {
    { .name = "domain",
      .kind = ARG_OPTIONAL,
      .type = PARAM_DOMAIN,
      .refers = REFERS_HOSTED,
      .doc = "one of the server's domains, or one of a component; the default is all" },
    { 0 },
};

static struct command show_command = {
    .name = "cert show",
    .rest = "GET /certificates/chains",
    .effect = COMMAND_READS,
    .area = "certificates",
    .args = one_domain,
    .runs_at = COMMAND_DUTY,
    .duty = DUTY_CERTS,
    .run = cert_show_run,
    .doc = "Shows the certificates in use, with their chains. Each domain has a row for each "
           "certificate. They were loaded at the last start, import or reload.",
    .columns =
        (const struct command_column[]){
            { .name = "domain", .doc = "the domain" },
            { .name = "depth",
              .type = PARAM_INT,
              .doc = "place in the chain: 0 is the certificate of the domain" },
            { .name = "subject", .doc = "its subject, or \"cannot be read\"" },
            { .name = "issuer", .doc = "who issued it" },
            { .name = "names", .doc = "DNS names in it" },
            { .name = "srv_names", .wide = true, .doc = "SRV names in it (RFC 4985)" },
            { .name = "xmpp_names", .wide = true, .doc = "XMPP addresses in it (RFC 6120)" },
            { .name = "key", .doc = "type and size of its key" },
            { .name = "signature", .wide = true, .doc = "how it is signed" },
            { .name = "not_before", .wide = true, .type = PARAM_STAMP, .doc = "valid from" },
            { .name = "not_after", .wide = true, .type = PARAM_STAMP, .doc = "valid until" },
            { .name = "days_left",
              .type = PARAM_INT,
              .unit = "days",
              .doc = "days until it expires; below zero: it has expired" },
            { .name = "fingerprint", .wide = true, .doc = "SHA-256 of the certificate" },
            { .name = "source",
              .doc = "where it is from: node file, data folder (`cert import`, `cert self-signed`) "
                     "or self-signed (made at the first start)" },
            { .name = "certificate", .wide = true, .type = PARAM_PATH, .doc = "its file" },
            { 0 } },
};

const struct feature cert_show_feature = {
    .name = "cert-show",
    .commands = (struct command *const[]){ &show_command, NULL },
};
