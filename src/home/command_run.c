#include "home/command_run.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "base/list.h"
#include "base/setting.h"
#include "home/command_far.h"
#include "home/duty.h"
#include "home/here.h"
#include "home/host.h"
#include "home/message.h"
#include "home/node.h"
#include "home/remote.h"

static const char *served_domains(const struct node *n, struct arena *arena)
{
    const char *text = "";
    for (unsigned i = 0; i < n->domain_count; i++)
        text = arena_printf(arena, "%s%s%.*s", text, i > 0 ? ", " : "", SLICE_ARG(n->domains[i]));
    return text;
}

#define ROOMS_LABEL "conference" /* also the category of a service of rooms (XEP-0045 §6.1) */

static bool has_rooms(const struct node *n, slice domain)
{
    slice parent;
    const struct host *h = host_find(n, domain, &parent);
    return h != NULL && strcmp(h->category, ROOMS_LABEL) == 0;
}

static const struct node *command_node(const struct command_call *call)
{
    return worker_node(call->worker);
}

static bool is_below_ours(const struct node *n, slice domain)
{
    slice label, above = domain;
    while (slice_cut(above, '.', &label, &above))
        if (node_serves(n, above))
            return true;
    return false;
}

bool command_domain_served(struct command_call *call, slice domain)
{
    const struct node *n = command_node(call);
    slice parent;
    if (node_serves(n, domain))
        return true;
    const char *domains = served_domains(n, call->arena);
    if (remote_expected(call->worker, domain))
        command_fail(call, E_NOTFOUND, "found %.*s, the domain of a component; domains are %s",
                     SLICE_ARG(domain), domains);
    else if (host_find(n, domain, &parent) != NULL)
        command_fail(call, E_NOTFOUND, "found %.*s, a service of %.*s; domains are %s",
                     SLICE_ARG(domain), SLICE_ARG(parent), domains);
    else if (is_below_ours(n, domain)) /* of services there are no others */
        command_fail(call, E_NOTFOUND,
                     "domain %.*s is not served here; domains are %s; if it is a component, add "
                     "it with `component add %.*s`, otherwise to `domains` in the node file",
                     SLICE_ARG(domain), domains, SLICE_ARG(domain));
    else
        command_fail(
            call, E_NOTFOUND,
            "domain %.*s is not served here; domains are %s; add it to `domains` in the node file, "
            "or with `component add` if it is a component",
            SLICE_ARG(domain), domains);
    return false;
}

static bool command_run_domain_ok(struct command_call *call, enum param_type type, bool unserved,
                                  slice text, slice *out)
{
    if (jid_prep_domain(text, call->arena, out) == OK)
        return type == PARAM_DOMAIN || unserved || command_domain_served(call, *out);
    command_fail(call, E_SYNTAX, "found %.*s, allowed: a domain such as %s%.*s", SLICE_ARG(text),
                 type == PARAM_DOMAIN ? "chat." : "", SLICE_ARG(command_node(call)->domains[0]));
    return false;
}

/* A session of an account, or all of them. */
static bool session_ok(struct command_call *call, slice text, bool unserved, struct jid *out)
{
    const struct node *n = command_node(call);
    if (jid_parse(out, text, call->arena) == OK && !jid_is_domain(out))
        return unserved || command_domain_served(call, out->domain);
    command_fail(call, E_SYNTAX, "found %.*s, allowed: an address such as alice@%.*s%s%s",
                 SLICE_ARG(text), SLICE_ARG(n->domains[0]),
                 n->domain_count > 1 ? "; domains are " : "",
                 n->domain_count > 1 ? served_domains(n, call->arena) : "");
    return false;
}

static bool user_ok(struct command_call *call, slice text, bool unserved, struct jid *out)
{
    if (!session_ok(call, text, unserved, out))
        return false;
    if (jid_is_bare(out))
        return true;
    slice bare = jid_bare(out);
    command_fail(call, E_SYNTAX, "found %.*s, allowed: an account without resource: %.*s",
                 SLICE_ARG(text), SLICE_ARG(bare));
    return false;
}

/* An address of any server. */
static bool jid_ok(struct command_call *call, enum param_type type, slice text, struct jid *out)
{
    bool fine = jid_parse(out, text, call->arena) == OK;
    if (fine && (type == PARAM_JID || (out->local.len > 0 && jid_is_bare(out))))
        return true;
    command_fail(call, E_SYNTAX, "found %.*s, allowed: an address%s", SLICE_ARG(text),
                 type == PARAM_JID ? "" : " name@domain");
    return false;
}

static bool room_ok(struct command_call *call, slice text, struct jid *out)
{
    const struct node *n = command_node(call);
    if (jid_parse(out, text, call->arena) != OK || out->local.len == 0 || !jid_is_bare(out)) {
        command_fail(call, E_SYNTAX, "found %.*s, allowed: a room such as tea@%s.%.*s",
                     SLICE_ARG(text), ROOMS_LABEL, SLICE_ARG(n->domains[0]));
        return false;
    }
    if (has_rooms(n, out->domain))
        return true;
    const struct setting *off = hosts_switched_off(ROOMS_LABEL);
    if (off != NULL) {
        command_fail(call, E_CONFLICT, "there are no rooms while %s is off: `musterctl set %s on`",
                     off->name, off->name);
        return false;
    }
    command_fail(call, E_NOTFOUND,
                 "there are no rooms at %.*s, but at %s.%.*s and others; `room-alias list` shows "
                 "them; `room-alias add %.*s` makes rooms reachable whose domain is not served",
                 SLICE_ARG(out->domain), ROOMS_LABEL, SLICE_ARG(n->domains[0]),
                 SLICE_ARG(out->domain));
    return false;
}

slice command_setting_name(slice text, struct arena *arena)
{
    slice general, domain, prepared;
    if (!slice_cut(text, '@', &general, &domain) || jid_prep_domain(domain, arena, &prepared) != OK)
        return text;
    return slice_of(arena_printf(arena, "%.*s@%.*s", SLICE_ARG(general), SLICE_ARG(prepared)));
}

/* unserved: an account, or a domain of accounts, may also be one that is not served. */
static bool address_ok(struct command_call *call, enum param_type type, bool unserved, slice text,
                       slice *prepared)
{
    struct jid jid;
    bool fine = true;
    switch (type) {
    case PARAM_DOMAIN:
    case PARAM_HOME_DOMAIN:
        return command_run_domain_ok(call, type, unserved, text, prepared);
    case PARAM_JID:
    case PARAM_BARE:
        fine = jid_ok(call, type, text, &jid);
        break;
    case PARAM_USER:
        fine = user_ok(call, text, unserved, &jid);
        break;
    case PARAM_SESSION:
        fine = session_ok(call, text, false, &jid);
        break;
    case PARAM_ROOM:
        fine = room_ok(call, text, &jid);
        break;
    default:
        *prepared = text;
        return true;
    }
    if (fine)
        *prepared = jid.full;
    return fine;
}

bool command_address_ok(struct command_call *call, enum param_type type, slice text,
                        slice *prepared)
{
    return address_ok(call, type, false, text, prepared);
}

enum { SEVERAL_BYTES_MAX = 256 * 1024 };

/* Several domains, but with commas between them. */
static bool spaced_ok(struct command_call *call, enum param_type type, slice one)
{
    bool domain = type == PARAM_DOMAIN || type == PARAM_HOME_DOMAIN;
    if (!domain || memchr(one.ptr, ',', one.len) == NULL)
        return true;
    command_fail(call, E_SYNTAX, "found %.*s, allowed: domains with spaces between them",
                 SLICE_ARG(one));
    return false;
}

static bool several_ok(struct command_call *call, enum param_type type, slice *list)
{
    slice one, rest = *list, prepared = { 0 };
    struct buf text;
    bool fine = true;
    ensure(!call->ended);
    buf_init(&text, SEVERAL_BYTES_MAX);
    while (fine && slice_word(&rest, &one)) {
        fine = spaced_ok(call, type, one) && command_address_ok(call, type, one, &prepared);
        if (fine && text.len > 0)
            buf_add(&text, SLICE(" "));
        if (fine)
            buf_add(&text, prepared);
    }
    if (fine && text.overflow)
        command_fail(call, E_LIMIT, "found more than %d KiB of addresses",
                     SEVERAL_BYTES_MAX / 1024);
    fine = fine && !text.overflow;
    if (fine)
        *list = (slice){ slice_cstr(call->arena, buf_slice(&text)), text.len };
    buf_fini(&text);
    return fine;
}

static bool addresses_ok(struct command_call *call)
{
    const struct command_arg *rows = call->command->args;
    for (size_t i = 0; rows != NULL && rows[i].name != NULL; i++) {
        slice *text = &call->args[i];
        if (text->ptr == NULL)
            continue;
        call->culprit = rows[i].name; /* the call may be freed when it has failed */
        ensure(!rows[i].many || rows[i].refers != REFERS_SETTING);
        if (rows[i].refers == REFERS_SETTING)
            *text = command_setting_name(*text, call->arena);
        else if (rows[i].many ? !several_ok(call, rows[i].type, text)
                              : !address_ok(call, rows[i].type, rows[i].unserved, *text, text))
            return false;
        call->culprit = NULL;
    }
    return true;
}

/* The way of a command. Where it runs, the addresses are checked: a domain may go while it travels.
 */

struct command_sent {
    void *call;
};

static const struct message_field command_fields[] = {
    F_LOCAL(struct command_sent, call),
    { 0 },
};

void command_run_here(struct worker *w, struct command_call *call)
{
    call->worker = w;
    if (addresses_ok(call))
        call->command->run(call);
}

static void command_arrived(struct worker *w, void *message, const struct message_from *from)
{
    (void)from;
    command_run_here(w, ((const struct command_sent *)message)->call);
}

const struct message_row command_message = {
    .id = 26,
    .scope = MESSAGE_PROCESS,
    .name = "command",
    .size = sizeof(struct command_sent),
    .fields = command_fields,
    .run = command_arrived,
};

struct command_ended {
    void *way;
};

static const struct message_field ended_fields[] = {
    F_LOCAL(struct command_ended, way),
    { 0 },
};

static void command_ended_run(struct worker *w, void *message, const struct message_from *from)
{
    struct command_return *r = ((const struct command_ended *)message)->way;
    (void)from;
    ensure(r->to == w);
    r->fn(r);
}

const struct message_row command_ended_message = {
    .id = 47,
    .scope = MESSAGE_PROCESS,
    .name = "command-ended",
    .size = sizeof(struct command_ended),
    .fields = ended_fields,
    .run = command_ended_run,
};

static void command_goes_back(struct loop_defer *d)
{
    struct command_return *r = CONTAINER_OF(d, struct command_return, defer);
    if (worker_here() == r->to)
        r->fn(r);
    else
        home_send_to(worker_here(), 0, worker_index(r->to), &command_ended_message,
                     &(struct command_ended){ r });
}

void command_return(struct command_return *r, struct worker *to,
                    void (*fn)(struct command_return *r))
{
    /* A call that ends when the loop has ended could not go back. */
    ensure(to != NULL && worker_here() != NULL && loop_here() == worker_loop(worker_here()));
    r->to = to;
    r->fn = fn;
    r->defer.fn = command_goes_back;
    loop_defer(loop_here(), &r->defer);
}

/* Begins its way later in this tick: it must not end what asked for it from inside. */
struct command_trip {
    struct loop_defer defer;
    struct command_call *call;
    unsigned to;
};

static void command_depart(struct loop_defer *d)
{
    struct command_trip *trip = CONTAINER_OF(d, struct command_trip, defer);
    struct worker *w = trip->call->worker;
    home_send_to(w, 0, trip->to, &command_message, &(struct command_sent){ trip->call });
}

static void command_send(struct command_call *call, unsigned to)
{
    struct worker *w = call->worker;
    struct command_trip *trip = arena_new(call->arena, struct command_trip, 1);
    *trip = (struct command_trip){ { .fn = command_depart }, call, to };
    loop_defer(worker_loop(w), &trip->defer);
}

static void run_at(struct command_call *call, uint32_t node, unsigned worker)
{
    struct worker *w = call->worker;
    if (node == worker_node(w)->id)
        command_send(call, worker);
    else
        command_far(call, node, worker);
}

static void run_at_duty(struct command_call *call)
{
    const struct worker *w = call->worker;
    uint32_t node;
    unsigned worker = duty_home(worker_node(w), (enum duty)call->command->duty, &node);
    run_at(call, node, worker);
}

static void run_at_home(struct command_call *call, slice text)
{
    struct worker *w = call->worker;
    struct jid jid;
    uint32_t node;
    if (jid_parse(&jid, text, call->arena) != OK) {
        command_run_here(w, call); /* which says what is wrong */
        return;
    }
    unsigned home = node_home(worker_node(w), jid_bare(&jid), &node);
    run_at(call, node, home);
}

/* Whether the row is for users and their own account, and is switched on at their domain. */
static bool allows_own(const struct command *c, const struct principal *p)
{
    return c->access == COMMAND_OWN && p->own.len > 0 &&
           (c->own_if == NULL || setting_bool(setting_of(c->own_if, jid_split(p->own).domain)));
}

static enum err refuse_lack(const struct command *c, const struct principal *p,
                            const char *permission, struct why *why)
{
    bool narrow = p->kind != PRINCIPAL_NONE && grants_permission(p->grants, permission);
    if (c->access == COMMAND_OWN && c->own_if != NULL && p->own.len > 0)
        why_set(why, "users may not run %s here: %s is off", c->name,
                setting_of(c->own_if, jid_split(p->own).domain)->name);
    else if (p->kind == PRINCIPAL_ACCOUNT && p->own.len == 0)
        why_set(why, "only users of this server may run that");
    else if (p->role.len == 0)
        why_set(why,
                "%s needs the permission %s, and %.*s has no role; an administrator gives one: "
                "`admin add JID ROLE`",
                c->name, permission, SLICE_ARG(p->actor));
    else if (narrow)
        why_set(why,
                "%s needs the permission %s, which the role %.*s has, but not the scope of this "
                "token; an administrator makes one with another scope: `token add`",
                c->name, permission, SLICE_ARG(p->role));
    else
        why_set(why,
                "%s needs the permission %s, which the role %.*s does not have; `role list` shows "
                "those that have it, an administrator gives them",
                c->name, permission, SLICE_ARG(p->role));
    return E_DENIED;
}

enum err command_allowed(const struct command *c, const struct principal *p, struct why *why)
{
    char permission[COMMAND_PERMISSION_MAX];
    command_permission(c, permission, sizeof permission);
    if (c->access == COMMAND_LOCAL && principal_is_remote(p)) {
        why_set(why, "%s runs only with musterctl on the machine of the server", c->name);
        return E_DENIED;
    }
    if (p->weak && c->effect == COMMAND_CHANGES && strcmp(c->area, "admins") == 0) {
        why_set(why, "%s: %s", c->name, PRINCIPAL_WEAK);
        return E_DENIED;
    }
    bool may = principal_may(p, permission);
    if (may && c->also_permission != NULL && !principal_may(p, c->also_permission))
        return refuse_lack(c, p, c->also_permission, why);
    return may || allows_own(c, p) ? OK : refuse_lack(c, p, permission, why);
}

static bool lacks_reason(const struct command_call *call)
{
    return call->command->reasoned && principal_is_remote(&call->who) &&
           command_arg(call, "reason").len == 0;
}

static bool path_is_inside(const char *folder, slice path)
{
    slice own = slice_without_end(slice_of(folder), '/', 1), name;
    ensure(path.ptr != NULL);
    if (own.len == 0 || !slice_starts(path, own) || path.len < own.len + 2 ||
        path.ptr[own.len] != '/')
        return false;
    name = slice_from(path, own.len + 1);
    return name.ptr[0] != '.' && memchr(name.ptr, '/', name.len) == NULL;
}

/* Files of the host are not for those who are elsewhere, but those of one folder. */
static enum err paths_allowed(struct command_call *call, struct why *why)
{
    const struct command *c = call->command;
    if (c->inside == NULL || !principal_is_remote(&call->who))
        return OK;
    const char *folder = setting_text(c->inside);
    for (unsigned i = 0; c->args != NULL && c->args[i].name != NULL; i++) {
        if (c->args[i].type != PARAM_PATH || call->args[i].ptr == NULL ||
            path_is_inside(folder, call->args[i]))
            continue;
        why_set(why,
                "%s is not in %s, the only folder that commands from elsewhere may use; give "
                "%s/NAME, or run the command with musterctl on the machine of the server",
                c->args[i].name, folder, folder);
        call->culprit = c->args[i].name;
        return E_DENIED;
    }
    return OK;
}

enum err command_owner_allowed(const struct command_call *call, struct why *why)
{
    char permission[COMMAND_PERMISSION_MAX];
    ensure(call->command->access != COMMAND_LOCAL || !principal_is_remote(&call->who));
    command_permission(call->command, permission, sizeof permission);
    if (principal_may(&call->who, permission) || slice_eq(command_arg(call, "jid"), call->who.own))
        return OK;
    why_set(why, "%s: %.*s may run it for their own account only", call->command->name,
            SLICE_ARG(call->who.own));
    return E_DENIED;
}

static enum err call_allowed(struct command_call *call, struct why *why)
{
    enum err e = command_allowed(call->command, &call->who, why);
    if (e == OK && lacks_reason(call)) {
        why_set(why, "%s: reason is missing: say why you read this; the audit log keeps it",
                call->command->name);
        call->culprit = "reason";
        return E_SYNTAX;
    }
    if (e == OK)
        e = command_owner_allowed(call, why);
    return e == OK ? paths_allowed(call, why) : e;
}

void command_run(struct command_call *call)
{
    const struct command *c = call->command;
    struct worker *w = call->worker;
    struct why why;
    enum err e = call_allowed(call, &why);
    ensure(!call->ended);
    if (e != OK) {
        command_fail(call, e, "%s", why.text);
        return;
    }
    slice home = c->home != NULL ? command_arg(call, c->home) : (slice){ 0 };
    if (home.ptr != NULL)
        run_at_home(call, home);
    else if (c->runs_at == COMMAND_DUTY)
        run_at_duty(call);
    else if (c->runs_at != COMMAND_EACH)
        command_run_here(w, call);
    else if (addresses_ok(call))
        command_everywhere(call);
}
