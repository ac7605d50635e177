#include "cert/cert_commands.h"
#include "app/node_file.h"
#include "app/reload.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/command.h"
#include "base/ensure.h"
#include "base/list.h"
#include "base/setting.h"
#include "cert/cert_domains.h"
#include "cert/cert_import.h"
#include "cert/cert_note.h"
#include "cert/cert_store.h"
#include "core/feature.h"
#include "home/duty.h"
#include "home/here.h"
#include "home/host.h"
#include "io/tls.h"
#include "io/tls_cert.h"
#include "io/tls_cert_make.h"
#include "io/work.h"
#include "xmpp/precis.h"
#include <pthread.h>

static const char *const key_words[] = { "rsa:2048",   "rsa:3072",   "rsa:4096",
                                         "ecdsa:p256", "ecdsa:p384", NULL };
static const char *const name_words[] = { "services", "wildcard", "domain", NULL };
enum names_wanted { NAMES_SERVICES, NAMES_WILDCARD, NAMES_DOMAIN };

enum { PEM_BYTES_MAX = 512 * 1024, INSTALL_BYTES_MAX = 64 * 1024 };

static struct setting wildcards = {
    .name = "cert.wildcards",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_BOOL,
    .def = 0,
    .max = 1,
    .doc = "Whether `cert csr` and `cert self-signed` ask for *.DOMAIN instead of naming each "
           "service, where --names does not say it.",
};

/* One command, on a helper thread. Lives in the arena of its call. */
struct cert_job {
    struct work work;
    struct command_call *call;
    enum err (*run)(struct cert_job *j, struct why *why); /* on the helper thread */
    const char *data;
    const char **domain;
    size_t domain_count;
    struct tls_name *name; /* what a new certificate is to have */
    size_t name_count;
    const char *answer, *changed; /* changed NULL: nothing, so nothing is reloaded */
    struct why why;
    enum err err;
};

/* One at a time: they write the same files. Taken on helper threads only. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static bool job_replaces(const struct cert_job *j) { return command_flag(j->call, "replace"); }

static enum tls_key_kind job_key_kind(const struct cert_job *j)
{
    return (enum tls_key_kind)command_number(j->call, "key", TLS_ECDSA_P256);
}

static const char *job_path(const struct cert_job *j, const char *arg)
{
    slice path = command_arg(j->call, arg);
    return path.ptr != NULL ? slice_cstr(j->call->arena, path) : NULL;
}

static const char *job_domains(const struct cert_job *j)
{
    const char *text = "";
    for (size_t i = 0; i < j->domain_count; i++)
        text = arena_printf(j->call->arena, "%s%s%s", text, i > 0 ? ", " : "", j->domain[i]);
    return text;
}

/* The names of a new certificate. */

static void job_add_name(struct cert_job *j, enum tls_name_kind kind, const char *before,
                         slice domain)
{
    slice text = slice_of(arena_printf(j->call->arena, "%s%.*s", before, SLICE_ARG(domain)));
    for (size_t i = 0; i < j->name_count && i < TLS_NAMES_MAX; i++)
        if (j->name[i].kind == kind && slice_eq(j->name[i].text, text))
            return;
    if (j->name_count < TLS_NAMES_MAX)
        j->name[j->name_count] = (struct tls_name){ kind, text };
    j->name_count++; /* beyond the most: refused */
}

/* A domain under which other servers find us: RFC 6120 §13.7.1.2.1. id-on-xmppAddr (§13.7.1.4) is
 * for addresses of users and for servers of RFC 3920, RFC 9525 does not use it, and ejabberd 23.01
 * fails at it: only where it is asked for. */
static void job_add_domain(struct cert_job *j, slice domain, bool clients)
{
    slice ascii;
    if (precis_domain_ascii(domain, j->call->arena, &ascii) != OK)
        ascii = domain; /* an address in numbers */
    job_add_name(j, TLS_NAME_DNS, "", ascii);
    if (clients)
        job_add_name(j, TLS_NAME_SRV, "_xmpp-client.", ascii);
    job_add_name(j, TLS_NAME_SRV, "_xmpp-server.", ascii);
    if (command_flag(j->call, "xmpp_addr"))
        job_add_name(j, TLS_NAME_XMPP, "", domain);
}

static void job_add_service(const struct host *h, slice domain, void *arg)
{
    (void)h;
    job_add_domain(arg, domain, false);
}

static void job_add_components(struct cert_job *j, const struct cert_components *all, slice parent)
{
    for (size_t i = 0; i < all->count && j->name_count <= TLS_NAMES_MAX; i++)
        if (slice_eq(all->item[i].parent, parent))
            job_add_domain(j, all->item[i].domain, false);
}

/* On the worker, which knows the services. */
static void job_add_names(struct cert_job *j)
{
    bool also_wildcard = command_flag(j->call, "wildcard");
    int64_t wanted =
        command_number(j->call, "names",
                       setting_bool(&wildcards) || also_wildcard ? NAMES_WILDCARD : NAMES_SERVICES);
    struct cert_components components;
    slice ascii;
    cert_components(&components, j->call->worker, j->call->arena);
    j->name = arena_new(j->call->arena, struct tls_name, TLS_NAMES_MAX);
    ensure(j->domain_count <= TLS_NAMES_MAX);
    for (size_t i = 0; i < j->domain_count && j->name_count <= TLS_NAMES_MAX; i++) {
        slice domain = slice_of(j->domain[i]);
        bool ours = node_serves(worker_node(j->call->worker), domain);
        job_add_domain(j, domain, ours);
        if (!ours)
            continue;
        if ((wanted == NAMES_WILDCARD || also_wildcard) &&
            precis_domain_ascii(domain, j->call->arena, &ascii) == OK)
            job_add_name(j, TLS_NAME_DNS, "*.", ascii);
        if (wanted != NAMES_SERVICES)
            continue;
        host_each_listed(worker_node(j->call->worker), domain, job_add_service, j);
        job_add_components(j, &components, domain);
    }
}

/* cert csr */

static bool is_of_kind(slice key, enum tls_key_kind kind)
{
    char text[TLS_KEY_TEXT_BYTES];
    tls_key_text(key, text);
    return strcmp(text, tls_key_kind_name(kind)) == 0;
}

/* The key of a request that waits for its certificate stays: otherwise that would come for
 * nothing. */
static enum err job_request_key(struct cert_job *j, struct buf *key, struct why *why)
{
    const char *path = cert_store_request(j->call->arena, j->data, j->domain[0]);
    bool kept = cert_store_has(path) && !job_replaces(j);
    enum err e = kept ? tls_key_read(key, path, why) : tls_key_make(key, job_key_kind(j), why);
    if (e == OK && !kept)
        return cert_store_write(j->data, path, buf_fit(key), why);
    if (e == OK && command_arg(j->call, "key").ptr != NULL &&
        !is_of_kind(buf_slice(key), job_key_kind(j))) {
        why_set(why,
                "%s: an earlier request waits for its certificate, and its key is of another kind; "
                "--replace makes a new key, and the certificate of the earlier request is useless "
                "then",
                j->domain[0]);
        e = E_EXISTS;
    }
    return e;
}

static enum err job_csr(struct cert_job *j, struct why *why)
{
    struct buf key, request;
    tls_key_room(&key, TLS_KEY_BYTES_MAX);
    buf_init(&request, TLS_REQUEST_BYTES_MAX);
    enum err e = job_request_key(j, &key, why);
    if (e == OK)
        e = tls_request_make(&request, buf_fit(&key), &(struct tls_names){ j->name, j->name_count },
                             why);
    if (e == OK) { /* without the last line feed */
        slice pem = buf_fit(&request);
        j->answer = slice_cstr(j->call->arena, (slice){ pem.ptr, pem.len - 1 });
    }
    buf_fini(&request);
    tls_key_wipe(&key);
    return e;
}

/* cert import, cert self-signed */

/* The last check is the one that a start makes. */
static enum err job_try(struct cert_job *j, slice pem, struct why *why)
{
    const char *path = arena_printf(j->call->arena, "%s/certs/.new", j->data);
    struct tls_ctx *tls = NULL;
    struct why ignored;
    enum err e = cert_store_write(j->data, path, pem, why);
    if (e == OK)
        e = tls_ctx_create(&tls, &(struct tls_cert){ NULL, path, path }, 1, why);
    tls_ctx_unref(&tls);
    (void)!cert_store_remove(path, &ignored);
    return e;
}

static slice cert_job_note(const struct cert_job *j)
{
    return cert_note_stored(j->call->arena, j->data, j->domain, j->domain_count);
}

static enum err job_store(struct cert_job *j, slice pem, struct why *why)
{
    struct arena *arena = j->call->arena;
    slice before = cert_job_note(j);
    struct cert_file *file = arena_new(arena, struct cert_file, j->domain_count);
    ensure(j->domain_count > 0);
    for (size_t i = 0; i < j->domain_count; i++)
        file[i] = (struct cert_file){ cert_store_pair(arena, j->data, j->domain[i]), pem };
    enum err e = job_try(j, pem, why);
    if (e == OK)
        e = cert_store_replace(file, j->domain_count, why);
    if (e != OK)
        return e;
    j->changed = "the certificate is in the data folder";
    command_changed(j->call, before, cert_job_note(j));
    return OK;
}

static enum err job_import_with(struct cert_job *j, const struct cert_import *in, struct why *why)
{
    struct why ignored;
    struct cert_import_found found;
    struct buf pem;
    tls_key_room(&pem, PEM_BYTES_MAX);
    enum err e = cert_import_check(in, &pem, &found, why);
    if (e == OK)
        e = job_store(j, buf_fit(&pem), why);
    if (e == OK && found.used != NULL)
        (void)!cert_store_remove(found.used, &ignored); /* the pair has the key now */
    if (e == OK)
        j->answer = arena_printf(j->call->arena, "%s: the certificate is in use%s", job_domains(j),
                                 found.notes);
    tls_key_wipe(&pem);
    return e;
}

static enum err job_import_as(struct cert_job *j, struct cert_import *in, struct why *why)
{
    struct node_file *file = NULL;
    enum err e = cert_store_node_file(&file, why);
    in->file = file;
    in->domain = j->domain;
    in->domain_count = j->domain_count;
    in->arena = j->call->arena;
    if (e == OK)
        e = job_import_with(j, in, why);
    node_file_free(&file);
    return e;
}

static enum err job_import(struct cert_job *j, struct why *why)
{
    struct cert_import in = { .certificate = job_path(j, "file"), .key = job_path(j, "key") };
    return job_import_as(j, &in, why);
}

static enum err job_install(struct cert_job *j, struct why *why)
{
    struct cert_import in = { .certificate = "certificate",
                              .text = command_arg(j->call, "certificate") };
    enum err e = job_import_as(j, &in, why);
    if (e != E_AUTH && e != E_NOTFOUND)
        return e;
    j->call->culprit = "certificate";
    return E_SYNTAX; /* who asks may: it is the text that is at fault */
}

/* A certificate of an authority is not thrown away by mistake. */
static enum err job_may_sign(const struct cert_job *j, const struct node_file *file,
                             const char *domain, struct why *why)
{
    struct tls_cert_facts facts;
    struct why ignored;
    const char *pair = cert_store_pair(j->call->arena, j->data, domain);
    enum err e = cert_import_allowed(file, domain, why);
    if (e != OK || job_replaces(j) || !cert_store_has(pair) ||
        (tls_cert_read(&facts, pair, j->call->arena, &ignored) == OK && facts.self_signed))
        return e;
    why_set(why, "%s: has a certificate that was imported; --replace gives it up", domain);
    return E_EXISTS;
}

static enum err job_sign(struct cert_job *j, struct why *why)
{
    struct buf pem;
    tls_key_room(&pem, PEM_BYTES_MAX);
    enum err e = tls_key_make(&pem, job_key_kind(j), why);
    if (e == OK)
        e = tls_self_sign(&pem, buf_slice(&pem), &(struct tls_names){ j->name, j->name_count },
                          why);
    if (e == OK)
        e = job_store(j, buf_fit(&pem), why);
    tls_key_wipe(&pem);
    return e;
}

static enum err job_self_signed(struct cert_job *j, struct why *why)
{
    struct node_file *file = NULL;
    enum err e = cert_store_node_file(&file, why);
    for (size_t i = 0; e == OK && i < j->domain_count; i++)
        e = job_may_sign(j, file, j->domain[i], why);
    node_file_free(&file);
    if (e == OK)
        e = job_sign(j, why);
    j->answer = arena_printf(j->call->arena,
                             "%s: a self-signed certificate is in use; clients ask their users "
                             "whether to trust it",
                             job_domains(j));
    return e;
}

/* cert del */

static enum err job_del(struct cert_job *j, struct why *why)
{
    struct node_file *file = NULL;
    const char *pair = cert_store_pair(j->call->arena, j->data, j->domain[0]);
    if (!cert_store_has(pair)) {
        why_set(why, "%s: found no certificate of `cert import` or `cert self-signed`",
                j->domain[0]);
        return E_NOTFOUND;
    }
    slice before = cert_job_note(j);
    enum err e = cert_store_node_file(&file, why);
    node_file_free(&file);
    if (e == OK)
        e = cert_store_remove(pair, why);
    if (e != OK)
        return e;
    j->changed = "the certificate is deleted";
    command_changed(j->call, before, cert_job_note(j));
    j->answer = arena_printf(j->call->arena,
                             "%s: the certificate and its key are deleted; `cert list` shows the "
                             "one that is in use now",
                             j->domain[0]);
    return OK;
}

/* The way to the helper thread and back. */

static void cert_job_work(struct work *work)
{
    struct cert_job *j = CONTAINER_OF(work, struct cert_job, work);
    pthread_mutex_lock(&lock);
    j->err = j->run(j, &j->why);
    pthread_mutex_unlock(&lock);
}

static void cert_job_done(struct work *work)
{
    struct cert_job *j = CONTAINER_OF(work, struct cert_job, work);
    if (j->err == OK && j->changed != NULL)
        reload_for(j->call, j->answer, j->changed);
    else if (j->err == OK)
        command_done(j->call, "%s", j->answer);
    else
        command_fail(j->call, j->err, "%s", j->why.text);
}

static bool job_has_domain(const struct cert_job *j, slice domain)
{
    for (size_t i = 0; i < j->domain_count; i++)
        if (slice_is(domain, j->domain[i]))
            return true;
    return false;
}

static void job_fail_too_many(struct cert_job *j)
{
    command_fail(j->call, E_LIMIT,
                 "found more than %d names; give fewer domains, or --names wildcard",
                 TLS_NAMES_MAX);
}

/* false: the command has failed. */
static bool job_take_domains(struct cert_job *j, slice list)
{
    slice one, rest = list;
    j->domain = arena_new(j->call->arena, const char *, TLS_NAMES_MAX);
    while (slice_word(&rest, &one)) {
        if (!cert_domain_ok(j->call, one))
            return false;
        if (job_has_domain(j, one))
            continue;
        if (j->domain_count == TLS_NAMES_MAX) {
            job_fail_too_many(j);
            return false;
        }
        j->domain[j->domain_count++] = slice_cstr(j->call->arena, one);
    }
    return true;
}

/* NULL: the command has failed. */
static struct cert_job *cert_job_make(struct command_call *call, const char *domains,
                                      enum err (*run)(struct cert_job *j, struct why *why))
{
    const struct worker *w = call->worker;
    struct cert_job *j = arena_new(call->arena, struct cert_job, 1);
    *j = (struct cert_job){ .work = { .run = cert_job_work, .done = cert_job_done },
                            .call = call,
                            .run = run,
                            .data = worker_node(w)->data };
    ensure(j->data != NULL && duty_is_here(w, DUTY_CERTS));
    return job_take_domains(j, command_arg(call, domains)) ? j : NULL;
}

static void cert_job_submit(struct cert_job *j)
{
    const struct worker *w = j->call->worker;
    if (j->domain_count == 0)
        command_fail(j->call, E_SYNTAX, "domains: found none, allowed: the server's domains");
    else if (j->name_count > TLS_NAMES_MAX)
        job_fail_too_many(j);
    else if (work_submit(worker_work(w), worker_loop(w), &j->work) != OK)
        command_fail(j->call, E_AGAIN, "all helper threads are busy; try again");
}

static void run_csr(struct command_call *call)
{
    struct cert_job *j = cert_job_make(call, "domains", job_csr);
    if (j == NULL)
        return;
    job_add_names(j);
    cert_job_submit(j);
}

static void cert_commands_run_import(struct command_call *call)
{
    struct cert_job *j = cert_job_make(call, "domains", job_import);
    if (j == NULL)
        return;
    if (command_arg(call, "file").ptr == NULL)
        command_fail(call, E_SYNTAX, "--file is missing: the file with the certificate");
    else
        cert_job_submit(j);
}

static void run_install(struct command_call *call)
{
    struct cert_job *j = cert_job_make(call, "domains", job_install);
    if (j == NULL)
        return;
    if (command_arg(call, "certificate").len > 0) {
        cert_job_submit(j);
        return;
    }
    call->culprit = "certificate";
    command_fail(call, E_SYNTAX, "certificate is missing: the certificate with its chain, PEM");
}

static void run_self_signed(struct command_call *call)
{
    struct cert_job *j = cert_job_make(call, "domains", job_self_signed);
    if (j == NULL)
        return;
    job_add_names(j);
    cert_job_submit(j);
}

static void cert_commands_run_del(struct command_call *call)
{
    struct cert_job *j = cert_job_make(call, "domain", job_del);
    if (j != NULL)
        cert_job_submit(j);
}

#define DOMAINS_ARG                                                                                \
    {                                                                                              \
        .name = "domains", .kind = ARG_POSITIONAL, .type = PARAM_DOMAIN, .many = true,             \
        .doc = "one or more domains, of the server or of components, which one certificate is for" \
    }
#define KEY_ARG                                                                                    \
    {                                                                                              \
        .name = "key", .kind = ARG_OPTION, .type = PARAM_CHOICE, .choices = key_words,             \
        .def = TLS_ECDSA_P256, .doc = "type and size of a new key; the default is ecdsa:p256"      \
    }
#define NAMES_ARG                                                                                  \
    {                                                                                              \
        .name = "names", .kind = ARG_OPTION, .type = PARAM_CHOICE, .choices = name_words,          \
        .doc = "the names in it: services has each domain and its services, such as "              \
               "conference.DOMAIN, and components below it, wildcard has DOMAIN and *.DOMAIN, "    \
               "domain only DOMAIN; the default is services, or wildcard if cert.wildcards is on"  \
    }
#define WILDCARD_ARG                                                                               \
    {                                                                                              \
        .name = "wildcard", .kind = ARG_FLAG, .type = PARAM_BOOL,                                  \
        .doc = "also *.DOMAIN, beside the names that are wanted; alone only DOMAIN and *.DOMAIN"   \
    }
#define XMPP_ADDR_ARG                                                                              \
    {                                                                                              \
        .name = "xmpp_addr", .kind = ARG_FLAG, .type = PARAM_BOOL,                                 \
        .doc = "also id-on-xmppAddr for each domain (RFC 6120), which an authority or an old "     \
               "server may want; servers with ejabberd 23.01 then cannot be reached"               \
    }

static struct command csr_command = {
    .name = "cert csr",
    .rest = "POST /certificates/requests",
    .effect = COMMAND_CHANGES,
    .area = "certificates",
    .args =
        (const struct command_arg[]){
            DOMAINS_ARG,
            KEY_ARG,
            NAMES_ARG,
            WILDCARD_ARG,
            XMPP_ADDR_ARG,
            { .name = "replace",
              .kind = ARG_FLAG,
              .type = PARAM_BOOL,
              .doc = "makes a new key even if an earlier request waits for its certificate" },
            { 0 },
        },
    .runs_at = COMMAND_DUTY,
    .duty = DUTY_CERTS,
    .run = run_csr,
    .doc = "Makes a key and a request for a certificate (PKCS #10). The key stays in the data "
           "folder, and the answer is the request: `musterctl cert csr example.org >example.csr`. "
           "Give it to an authority, and take what comes back into use with `cert import`, or from "
           "elsewhere with `cert install`. Until then a "
           "further request uses the same key. The request has DNS names and SRV names, and is for "
           "servers and clients.",
};

static struct command import_command = {
    .name = "cert import",
    .effect = COMMAND_CHANGES,
    .area = "certificates",
    .access = COMMAND_LOCAL,
    .args =
        (const struct command_arg[]){
            DOMAINS_ARG,
            { .name = "file",
              .kind = ARG_OPTION,
              .type = PARAM_PATH,
              .doc = "the certificate with its chain, PEM; it must be given" },
            { .name = "key",
              .kind = ARG_OPTION,
              .type = PARAM_PATH,
              .doc = "file of the server's host with its key, PEM; the default is a key in the "
                     "same file, "
                     "or the one of `cert csr`" },
            { 0 },
        },
    .runs_at = COMMAND_DUTY,
    .duty = DUTY_CERTS,
    .run = cert_commands_run_import,
    .doc =
        "Takes a certificate into use without a restart. Key, chain, names and dates are checked "
        "before anything changes. It is copied to the data folder. It counts for these domains "
        "instead of tls.certificate of the node file; where tls.domains of the node file has a "
        "certificate for a domain, that one counts and the import is refused. The node file is "
        "read again, too, as by `server reload`.",
};

/* For those who are not at the server's host. The key may be in the text, so that is a secret. */
static struct command install_command = {
    .name = "cert install",
    .rest = "POST /certificates",
    .effect = COMMAND_CHANGES,
    .area = "certificates",
    .asks = "The certificate that the domains have now is replaced.",
    .args =
        (const struct command_arg[]){
            DOMAINS_ARG,
            { .name = "certificate",
              .kind = ARG_SECRET,
              .type = PARAM_SECRET,
              .max = INSTALL_BYTES_MAX,
              .lines = true,
              .example = "-----BEGIN CERTIFICATE-----\n...",
              .doc = "the certificate with its chain, PEM, and its key if that was not made "
                     "here for a request" },
            { 0 },
        },
    .runs_at = COMMAND_DUTY,
    .duty = DUTY_CERTS,
    .run = run_install,
    .doc = "Takes a certificate into use that is given as text. It is checked as by `cert import`. "
           "A key that is not in the text is the one of `cert csr`, or that of the certificate "
           "before. `musterctl cert install example.org --stdin <example.pem` reads the text from "
           "a file. Neither text nor key is in logs or answers.",
};

static struct command self_signed_command = {
    .name = "cert self-signed",
    .effect = COMMAND_CHANGES,
    .area = "certificates",
    .access = COMMAND_LOCAL,
    .args =
        (const struct command_arg[]){
            DOMAINS_ARG,
            KEY_ARG,
            NAMES_ARG,
            WILDCARD_ARG,
            XMPP_ADDR_ARG,
            { .name = "replace",
              .kind = ARG_FLAG,
              .type = PARAM_BOOL,
              .doc = "also in place of a certificate that was imported" },
            { 0 },
        },
    .runs_at = COMMAND_DUTY,
    .duty = DUTY_CERTS,
    .run = run_self_signed,
    .doc = "Makes a self-signed certificate. It is for tests and internal networks. "
           "It is in use at once, for ten years. The node file is read again, too, as by `server "
           "reload`.",
};

static struct command del_command = {
    .name = "cert del",
    .effect = COMMAND_CHANGES,
    .area = "certificates",
    .access = COMMAND_LOCAL,
    .asks = "The certificate and its key are deleted.",
    .args =
        (const struct command_arg[]){
            { .name = "domain",
              .kind = ARG_POSITIONAL,
              .type = PARAM_DOMAIN,
              .doc = "one of the server's domains, or one of a component" },
            { 0 },
        },
    .runs_at = COMMAND_DUTY,
    .duty = DUTY_CERTS,
    .run = cert_commands_run_del,
    .doc = "Deletes a certificate that was imported or made here. The domain "
           "then has the certificate of the node file, or the self-signed one of the server.",
};

const struct feature cert_commands_feature = {
    .name = "cert-commands",
    .settings = (struct setting *const[]){ &wildcards, NULL },
    .commands = (struct command *const[]){ &csr_command, &import_command, &install_command,
                                           &self_signed_command, &del_command, NULL },
};
