#include "operate/doctor.h"
#include "admin/control_json.h"
#include "admin/settings/settings.h"
#include "app/node_check.h"
#include "app/node_file.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/command.h"
#include "base/ensure.h"
#include "base/list.h"
#include "base/setting.h"
#include "cert/cert_ocsp.h"
#include "cert/cert_watch.h"
#include "cert/certs.h"
#include "core/feature.h"
#include "gate/s2s/find/s2s_policy.h"
#include "gate/s2s/s2s_rows.h"
#include "home/duty.h"
#include "home/here.h"
#include "io/loop.h"
#include "io/resolve.h"
#include "io/tls_trust.h"
#include "io/work.h"
#include "notify/outbound.h"
#include "operate/doctor_check.h"
#include "operate/doctor_net.h"
#include "xmpp/jid.h"

/* One run; lives in the arena of its call. One at a time. */
struct doctor {
    struct work work;
    struct command_call *call;
    struct node_file *file; /* NULL: it has mistakes */
    struct buf mistakes;
    struct doctor_net *net; /* NULL: DNS is not asked yet */
    const char *revoked;    /* of struct doctor_look */
};
static struct doctor *doctor_now;  /* at the home of the duty; NULL: none runs */
static atomic_bool doctor_stopped; /* also looked at by the helper thread */

/* How it ends: with a failure if there is an error, so that scripts see it. */
static void doctor_end(struct command_call *call)
{
    unsigned errors = 0, warnings = 0;
    for (const struct command_row *r = call->rows; r != NULL; r = r->next) {
        errors += slice_is(command_row_text(r, "state"), "error");
        warnings += slice_is(command_row_text(r, "state"), "warning");
    }
    if (errors > 0)
        command_fail(call, E_CONFLICT, "errors: %u, warnings: %u", errors, warnings);
    else
        command_done(call, "errors: 0, warnings: %u", warnings);
}

/* In the server: files on a helper thread, then the network on the loop. */

static void doctor_over(struct doctor *d)
{
    struct node_file *file = d->file;
    struct command_call *call = d->call;
    ensure(doctor_now == d);
    doctor_now = NULL;
    buf_fini(&d->mistakes);
    doctor_end(call); /* frees d */
    node_file_free(&file);
}

static void doctor_net_over(void *arg) { doctor_over(arg); }

static void doctor_read(struct work *work)
{
    struct doctor *d = CONTAINER_OF(work, struct doctor, work);
    if (node_file_load(&d->file, node_file_own_path(), &d->mistakes) == OK)
        doctor_check_all(d->call, d->file,
                         &(struct doctor_look){ .place = DOCTOR_IN_SERVER,
                                                .revoked = d->revoked,
                                                .stop = &doctor_stopped });
}

static void doctor_has_read(struct work *work)
{
    struct doctor *d = CONTAINER_OF(work, struct doctor, work);
    struct worker *w = d->call->worker;
    struct resolver *resolver = outbound_resolver(w);
    slice line, rest = buf_slice(&d->mistakes);
    ensure(worker_is_here(w));
    if (work->skipped || doctor_stopped) {
        doctor_add(d->call, "server", DOCTOR_ERROR, "the server ends", "run it again");
    } else if (d->file != NULL && resolver != NULL) {
        d->net = doctor_net_start(&(struct doctor_net_options){ .call = d->call,
                                                                .file = d->file,
                                                                .loop = worker_loop(w),
                                                                .resolver = resolver,
                                                                .done = doctor_net_over,
                                                                .arg = d });
        return;
    }
    while (rest.len > 0) {
        slice_cut(rest, '\n', &line, &rest);
        doctor_add(d->call, "node file", DOCTOR_ERROR, slice_cstr(d->call->arena, line),
                   "correct the line, then: systemctl reload muster");
    }
    doctor_over(d);
}

/* Of the certificates in use, as struct doctor_look has them. */
static const char *doctor_revoked(struct arena *arena)
{
    const struct cert_uses *uses = cert_watch_uses();
    const char *found = NULL;
    for (size_t i = 0; uses != NULL && i < uses->count; i++) {
        const struct cert_use *use = &uses->item[i];
        if (use->known && cert_ocsp_revoked(use->facts.fingerprint))
            found = arena_printf(arena, "%s%s%s", found != NULL ? found : "",
                                 found != NULL ? ", " : "", use->domains);
    }
    return found;
}

static void doctor_run(struct command_call *call)
{
    const struct worker *w = call->worker;
    if (doctor_now != NULL || doctor_stopped) {
        command_fail(call, E_AGAIN, doctor_stopped ? "the server ends" : "it runs already");
        return;
    }
    struct doctor *d = arena_new(call->arena, struct doctor, 1);
    *d = (struct doctor){ .work = { .run = doctor_read, .done = doctor_has_read, .may_skip = true },
                          .call = call,
                          .revoked = doctor_revoked(call->arena) };
    buf_init(&d->mistakes, CHECK_BYTES_MAX);
    if (work_submit(worker_work(w), worker_loop(w), &d->work) == OK)
        doctor_now = d;
    else
        command_fail(call, E_AGAIN, "all helper threads are busy; try again");
}

static void doctor_stop(void)
{
    struct doctor *d = doctor_now;
    doctor_stopped = true;
    if (d == NULL || d->net == NULL)
        return; /* a helper has it, and gives it back */
    doctor_net_cancel(d->net);
    doctor_add(d->call, "server", DOCTOR_ERROR, "the server ends", "run it again");
    doctor_over(d);
}

static void doctor_worker_start(struct worker *w)
{
    if (duty_is_here(w, DUTY_CERTS))
        outbound_at_stop(doctor_stop);
}

static const struct command_column doctor_columns[] = {
    { .name = "check", .doc = "what was looked at" },
    { .name = "state", .doc = "ok, unknown, warning or error" },
    { .name = "found", .doc = "what was found" },
    { .name = "remedy", .doc = "the command that mends it, or what to do; empty: nothing" },
    { 0 },
};

static struct command doctor_command = {
    .name = "doctor",
    .effect = COMMAND_READS,
    .area = "server",
    .runs_at = COMMAND_DUTY,
    .duty = DUTY_CERTS, /* where the resolver of short errands is */
    .offline = true,
    .report = true,
    .finds = true,
    .args = (const struct command_arg[]){ { 0 } },
    .run = doctor_run,
    .doc =
        "Looks for what is wrong with this node: DNS records of each domain and whether they "
        "lead here, certificates, ports, permissions, database, disk, memory, clock, and limits "
        "of the kernel. Each row says what was found and, if something is wrong, what mends "
        "it. It fails if there is an error. While no server runs, musterctl looks itself; run "
        "it as root or as the user of the server. It does so, too, if the server does not answer "
        "within 5 seconds, or if you may not use its control socket. Changes nothing.",
    .columns = doctor_columns,
};

static void doctor_outside_run(struct command_call *call)
{
    command_fail(
        call, E_UNSUPPORTED,
        "only musterctl does this, on the machine from which the domain is to be looked at");
}

static struct command outside_command = {
    .name = "doctor outside",
    .effect = COMMAND_READS,
    .area = "server",
    .access = COMMAND_LOCAL,
    .offline = true,
    .report = true,
    .args = (const struct command_arg[]){ { .name = "domain",
                                            .kind = ARG_POSITIONAL,
                                            .type = PARAM_DOMAIN,
                                            .doc = "of a server, which may run anywhere" },
                                          { .name = "dns",
                                            .kind = ARG_OPTION,
                                            .max = 1000,
                                            .check = s2s_dns_servers_ok,
                                            .form = S2S_DNS_SERVERS_FORM,
                                            .doc = "name servers to ask, such as one outside; "
                                                   "without it: those of the system" },
                                          { 0 } },
    .run = doctor_outside_run,
    .doc = "Looks how others find a domain, from this machine: its DNS records, whether a server "
           "speaks XMPP at the ports that they lead to, and whether its certificate names the "
           "domain, is valid and is trusted by this machine. musterctl does it itself, without a "
           "server and without a node file: run it on a machine outside of the network of the "
           "server. It fails if there is an error.",
    .columns = doctor_columns,
};

const struct feature doctor_feature = {
    .name = "doctor",
    .commands = (struct command *const[]){ &doctor_command, &outside_command, NULL },
    .worker.start = doctor_worker_start,
};

/* While no server runs. */

struct offline_doctor {
    struct doctor_look look;
    struct loop *loop;
    bool ended;
};

static void offline_ended(struct command_call *call, void *arg)
{
    struct offline_doctor *o = arg;
    (void)call;
    o->ended = true;
}

static void offline_net_over(void *arg) { loop_stop(((struct offline_doctor *)arg)->loop); }

static enum err offline_look_net(struct command_call *call, const struct node_file *file,
                                 const char *servers, struct tls_trust *outside, struct why *why)
{
    struct offline_doctor *o = call->arg;
    struct resolver *resolver = NULL;
    o->loop = loop_create(0);
    enum err e = resolver_create(&resolver, o->loop, *servers != '\0' ? servers : NULL, why);
    if (e == OK) {
        doctor_net_start(&(struct doctor_net_options){ .call = call,
                                                       .file = file,
                                                       .loop = o->loop,
                                                       .resolver = resolver,
                                                       .outside = outside,
                                                       .done = offline_net_over,
                                                       .arg = o });
        loop_run(o->loop);
    }
    resolver_destroy(&resolver);
    loop_destroy(&o->loop);
    return e;
}

enum err doctor_offline(const char *config, const char *control, enum doctor_server server,
                        struct buf *line, struct why *why)
{
    struct offline_doctor o = {
        .look = { .place = DOCTOR_BESIDE, .server = server, .control = control }
    };
    struct node_file *file = NULL;
    struct buf mistakes;
    struct command_call call = {
        .command = &doctor_command, .arena = arena_create(0), .finished = offline_ended, .arg = &o
    };
    buf_init(&mistakes, CHECK_BYTES_MAX);
    enum err e = node_file_load(&file, config, &mistakes);
    if (e == OK && node_check_as_service(file) != NULL) { /* it sees what the server will see */
        o.look.place = DOCTOR_AS_SERVER;
        node_file_free(&file);
        e = node_file_load(&file, config, &mistakes);
    }
    if (e == OK) {
        settings_fix(file->settings.item, file->settings.count);
        doctor_check_all(&call, file, &o.look);
        e = offline_look_net(&call, file, setting_text(&s2s_dns_servers), NULL, why);
    } else {
        why_set(why, "%.*s", SLICE_ARG(buf_fit(&mistakes)));
        e = E_SYNTAX;
    }
    if (e == OK) {
        doctor_end(&call);
        ensure(o.ended);
        control_reply(line, &call);
    }
    node_file_free(&file);
    buf_fini(&mistakes);
    arena_destroy(&call.arena);
    return e;
}

/* Any server is looked at as one that listens for all, at the ports of the standard. */
enum err doctor_outside(slice domain, slice dns, struct buf *line, struct why *why)
{
    static const struct node_listen c2s = { .address = "0.0.0.0:5222" },
                                    c2s_tls = { .address = "0.0.0.0:5223" },
                                    s2s = { .address = "0.0.0.0:5269" },
                                    s2s_tls = { .address = "0.0.0.0:5270" };
    struct offline_doctor o = { 0 };
    struct command_call call = {
        .command = &outside_command, .arena = arena_create(0), .finished = offline_ended, .arg = &o
    };
    struct tls_trust *trust = NULL;
    slice prepared;
    enum err e = jid_prep_domain(domain, call.arena, &prepared);
    if (e == OK && jid_is_address(prepared)) {
        why_set(why, "domain: found the address %.*s, allowed a domain such as example.org",
                SLICE_ARG(prepared));
        e = E_SYNTAX;
    } else if (e == OK) {
        const char *name = slice_cstr(call.arena, prepared);
        const struct node_file file = { .domains = { &name, 1 },
                                        .c2s = { &c2s, 1 },
                                        .c2s_tls = { &c2s_tls, 1 },
                                        .s2s = { &s2s, 1 },
                                        .s2s_tls = { &s2s_tls, 1 } };
        e = tls_trust_create(&trust, NULL, NULL, why);
        if (e == OK)
            e = offline_look_net(&call, &file, slice_cstr(call.arena, dns), trust, why);
    } else {
        why_set(why, "domain: found \"%.*s\", allowed a domain", SLICE_ARG(domain));
        e = E_SYNTAX;
    }
    if (e == OK) {
        doctor_end(&call);
        ensure(o.ended);
        control_reply(line, &call);
    }
    tls_trust_unref(&trust);
    arena_destroy(&call.arena);
    return e;
}
