#include "cert/tls_settings.h"
#include "app/features.h"
#include "app/reload.h"
#include "base/alarm.h"
#include "base/buf.h"
#include "base/command.h"
#include "base/log.h"
#include "base/setting.h"
#include "cert/certs.h"
#include "core/feature.h"
#include "home/duty.h"
#include "home/here.h"
#include "io/tls_policy.h"
#include "io/tls_revoke.h"
#include <stdio.h>

static const char *const version_words[] = { "1.2", "1.3", NULL };

enum { TEXT_BYTES_MAX = 8192 };

static struct alarm policy_alarm = {
    .name = "tls.policy",
    .severity = ALARM_ERROR,
    .text = "Settings of TLS do not agree with each other, so not all of them apply.",
    .action = "Correct the settings tls.* in the node file or by `musterctl set`. `musterctl tls "
              "list` shows what applies.",
    .explanation =
        "Settings of TLS are checked together, because lists of ciphers depend on versions.",
    .raised_when = "Two settings contradict each other.",
    .cleared_when = "The settings agree.",
};
static struct alarm keys_alarm = {
    .name = "tls.keys",
    .severity = ALARM_WARNING,
    .text = "No cipher of TLS 1.2 works with the key of a certificate: clients that have only "
            "this version cannot connect.",
    .action = "Add ciphers for this kind of key to tls.*-ciphers, or set the least version to 1.3.",
    .explanation = "A cipher of TLS 1.2 works only with one kind of key: RSA or ECDSA.",
    .raised_when = "A certificate has a key for which the policy has no cipher of TLS 1.2.",
    .cleared_when = "Each certificate has a cipher, or TLS 1.2 is off.",
};

static void tls_setting_changed(struct worker *w, const struct setting *s)
{
    (void)s;
    if (duty_is_here(w, DUTY_CERTS))
        reload_soon();
}

static bool ciphers_ok(slice text) { return tls_cipher_unknown(text).len == 0; }
static bool suites_ok(slice text) { return tls_suite_unknown(text).len == 0; }
static bool groups_ok(slice text) { return tls_group_unknown(text).len == 0; }

#define VERSION_ROW(context, end, number, above, text)                                             \
    {                                                                                              \
        .name = "tls." context "-" end "-version", .scope = SCOPE_CLUSTER, .type = PARAM_CHOICE,   \
        .def = (number), .max = TLS_1_3, .choices = version_words, .not_above = (above),           \
        .reloads = true, .changed = tls_setting_changed, .doc = text                               \
    }
#define LIST_ROW(context, what, value, ok, bad, words, text)                                       \
    {                                                                                              \
        .name = "tls." context "-" what, .scope = SCOPE_CLUSTER, .type = PARAM_TEXT,               \
        .def_text = (value), .min = 1, .max = TLS_LIST_BYTES_MAX, .many = true, .check = (ok),     \
        .culprit = (bad), .form = words, .reloads = true, .changed = tls_setting_changed,          \
        .doc = text                                                                                \
    }
#define CIPHERS_FORM "names of ciphers of TLS 1.2 with ECDHE, as `openssl ciphers -v` shows them"
#define SUITES_FORM  "names of cipher suites of TLS 1.3, as TLS_AES_128_GCM_SHA256"
#define GROUPS_FORM                                                                                \
    "names of groups, each once: X25519, X448, P-256, P-384, P-521, with one of these also "       \
    "ffdhe3072, ffdhe4096, ffdhe6144, ffdhe8192"

/* Whether the certificates of peers are revoked. */

static const char *const revocation_words[] = { "off", "stapled", "asked", "required", NULL };

static void revocation_apply(void);

static void revocation_changed(struct worker *w, const struct setting *s)
{
    (void)w, (void)s;
    revocation_apply();
}

#define REVOCATION_ROW(context, text)                                                              \
    {                                                                                              \
        .name = "tls." context "-revocation", .scope = SCOPE_CLUSTER, .type = PARAM_CHOICE,        \
        .def = TLS_REVOKE_STAPLED, .max = TLS_REVOKE_REQUIRED, .choices = revocation_words,        \
        .changed = revocation_changed, .doc = text                                                 \
    }

static struct setting servers_revocation = REVOCATION_ROW(
    "servers", "How it is found out whether the certificate of another server is revoked, beside "
               "lists in the trust store. stapled: by the OCSP answer that it shows. asked: if it "
               "shows none, the responder or the list that the certificate names is asked, and so "
               "are those of its authorities below the trusted one. A server about which nobody "
               "answers is accepted. required: as asked, but such a server is refused. off: an "
               "answer that it shows does not count either.");
static struct setting clients_revocation = REVOCATION_ROW(
    "clients", "How it is found out whether the certificate of a client that logs in with it is "
               "revoked, beside lists in the trust store. off and stapled: not at all. asked: the "
               "responder or the list that the certificate names is asked, and so are those of its "
               "authorities below the trusted one. If nobody answers, the certificate is accepted. "
               "required: then it is refused.");

static void revocation_apply(void)
{
    tls_revocation_set(TLS_SERVERS, (enum tls_revocation)setting_int(&servers_revocation));
    tls_revocation_set(TLS_CLIENTS, (enum tls_revocation)setting_int(&clients_revocation));
}

/* The rows of one context. */
struct context_rows {
    struct setting max, min, ciphers, suites, groups;
};
#define CONTEXT_ROWS(context, at, peers)                                                           \
    {                                                                                              \
        .max = VERSION_ROW(context, "max", TLS_1_3, NULL,                                          \
                           "The highest version of TLS for " peers "."),                           \
        .min = VERSION_ROW(context, "min", TLS_1_2, &rows[at].max.param,                           \
                           "The least version of TLS for " peers "."),                             \
        .ciphers = LIST_ROW(context, "ciphers", TLS_CIPHERS_DEFAULT, ciphers_ok,                   \
                            tls_cipher_unknown, CIPHERS_FORM,                                      \
                            "The ciphers of TLS 1.2 for " peers ", the preferred one first."),     \
        .suites = LIST_ROW(                                                                        \
            context, "suites", TLS_SUITES_DEFAULT, suites_ok, tls_suite_unknown, SUITES_FORM,      \
            "The cipher suites of TLS 1.3 for " peers ", the preferred one first."),               \
        .groups = LIST_ROW(                                                                        \
            context, "groups", TLS_GROUPS_DEFAULT, groups_ok, tls_group_unknown, GROUPS_FORM,      \
            "The groups for the key exchange of TLS with " peers ", the preferred one first."),    \
    }

static struct context_rows rows[TLS_CONTEXTS] = {
    [TLS_CLIENTS] = CONTEXT_ROWS("clients", TLS_CLIENTS, "clients on the listeners c2s"),
    [TLS_HTTPS] = CONTEXT_ROWS("https", TLS_HTTPS, "the listener https"),
    [TLS_SERVERS] = CONTEXT_ROWS("servers", TLS_SERVERS, "other servers, in both directions"),
    [TLS_RELAY] = CONTEXT_ROWS("relay", TLS_RELAY,
                               "the relay of mails, receivers of webhooks, and that of syslog"),
};

static struct tls_policy context_policy(enum tls_context context)
{
    const struct context_rows *r = &rows[context];
    return (struct tls_policy){ .min = (enum tls_version)setting_int(&r->min),
                                .max = (enum tls_version)setting_int(&r->max),
                                .ciphers = setting_text(&r->ciphers),
                                .suites = setting_text(&r->suites),
                                .groups = setting_text(&r->groups) };
}

/* A node file and a stored value may disagree: nobody gets less than the least version. */
static void policy_agree(struct tls_policy *p, struct why *why)
{
    if (p->min <= p->max)
        return;
    why_set(why, "the least version is above the highest, so %s alone applies",
            version_words[p->min]);
    p->max = p->min;
}

void tls_settings_apply(struct why *refused)
{
    *refused = (struct why){ "" };
    char detail[sizeof(struct why) + 16] = "";
    revocation_apply();
    for (unsigned i = 0; i < TLS_CONTEXTS; i++) {
        struct why why = { "" };
        const char *name = tls_context_name((enum tls_context)i);
        struct tls_policy p = context_policy((enum tls_context)i);
        policy_agree(&p, &why);
        bool set = tls_policy_set((enum tls_context)i, &p, &why) == OK;
        if (why.text[0] == '\0')
            continue;
        snprintf(detail, sizeof detail, "%s: %s", name, why.text);
        if (!set)
            why_set(refused, "%s", detail);
        log_error(&log_server, LOG_EV("tls.policy"), LOG_C("context", name), LOG_C("why", why.text),
                  LOG_C("hint", set ? "correct the settings tls.*"
                                    : "what applied before goes on; correct the settings tls.*"));
    }
    if (detail[0] != '\0')
        alarm_raise(&policy_alarm, slice_of(detail));
    else
        alarm_clear(&policy_alarm);
}

static void keys_tell(const struct cert_use *use, unsigned context, struct buf *text)
{
    enum tls_key_fit fit = tls_policy_key((enum tls_context)context, use->facts.key);
    if (fit == TLS_KEY_FITS || text->len > 0)
        return;
    buf_printf(text, "%s: %s has no cipher for the key %s of %s",
               tls_context_name((enum tls_context)context),
               fit == TLS_KEY_NEVER ? "tls.*-ciphers" : "TLS 1.2", use->facts.key, use->domains);
}

void tls_settings_look(const struct cert_uses *uses)
{
    struct buf text;
    buf_init(&text, TEXT_BYTES_MAX);
    for (size_t i = 0; i < uses->count; i++)
        for (unsigned c = 0; uses->item[i].known && c < TLS_SERVED; c++)
            keys_tell(&uses->item[i], c, &text);
    if (text.len > 0)
        alarm_raise(&keys_alarm, buf_fit(&text));
    else
        alarm_clear(&keys_alarm);
    buf_fini(&text);
}

static void tls_list_run(struct command_call *call)
{
    static const char *const peers[TLS_CONTEXTS] = {
        [TLS_CLIENTS] = "cert-trust list --for clients, where c2s.certificate-login is on",
        [TLS_HTTPS] = "no certificate is asked for",
        [TLS_SERVERS] = "cert-trust list --for federation",
        [TLS_RELAY] = "cert-trust list --for federation, where mail.user is set",
    };
    for (unsigned i = 0; i < TLS_CONTEXTS; i++) {
        struct tls_policy_text p;
        tls_policy_get(&p, (enum tls_context)i);
        command_row(call);
        command_text(call, "context", slice_of(tls_context_name((enum tls_context)i)));
        command_text(call, "min", slice_of(version_words[p.min]));
        command_text(call, "max", slice_of(version_words[p.max]));
        command_text(call, "ciphers", slice_of(p.ciphers));
        command_text(call, "suites", slice_of(p.suites));
        command_text(call, "groups", slice_of(p.groups));
        command_text(call, "peers", slice_of(peers[i]));
    }
    command_done(call, "%s", "");
}

static struct command list_command = {
    .name = "tls list",
    .rest = "GET /tls",
    .effect = COMMAND_READS,
    .area = "certificates",
    .run = tls_list_run,
    .doc = "Lists what TLS accepts now: versions, ciphers and groups, for each kind of peer. The "
           "settings tls.CONTEXT-* change it, for example `musterctl set tls.clients-min-version "
           "1.3`.",
    .columns =
        (const struct command_column[]){
            { .name = "context", .doc = "the kind of peer" },
            { .name = "min", .doc = "the least version" },
            { .name = "max", .doc = "the highest version" },
            { .name = "ciphers", .wide = true, .doc = "ciphers of TLS 1.2" },
            { .name = "suites", .wide = true, .doc = "cipher suites of TLS 1.3" },
            { .name = "groups", .doc = "groups for the key exchange" },
            { .name = "peers", .doc = "whose certificates are trusted" },
            { 0 } },
};

#define ROWS_OF(at)                                                                                \
    &rows[at].min, &rows[at].max, &rows[at].ciphers, &rows[at].suites, &rows[at].groups

const struct feature tls_settings_feature = {
    .name = "tls",
    .settings = (struct setting *const[]){ ROWS_OF(TLS_CLIENTS), ROWS_OF(TLS_HTTPS),
                                           ROWS_OF(TLS_SERVERS), ROWS_OF(TLS_RELAY),
                                           &servers_revocation, &clients_revocation, NULL },
    .commands = (struct command *const[]){ &list_command, NULL },
    .alarms = (struct alarm *const[]){ &policy_alarm, &keys_alarm, NULL },
};
