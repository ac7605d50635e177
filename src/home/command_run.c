#include "home/command_run.h"
#include "base/arena.h"
#include "home/duty.h"
#include "home/here.h"
#include "home/host.h"
#include "home/node.h"

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

static bool home_domain_ok(struct command_call *call, slice domain)
{
    const struct node *n = command_node(call);
    if (node_serves(n, domain))
        return true;
    command_fail(
        call, E_NOTFOUND,
        "domain %.*s is not served here; domains are %s; add it to `domains` in the node file",
        SLICE_ARG(domain), served_domains(n, call->arena));
    return false;
}

static bool command_run_domain_ok(struct command_call *call, enum param_type type, slice text,
                                  slice *out)
{
    if (jid_prep_domain(text, call->arena, out) == OK)
        return type == PARAM_DOMAIN || home_domain_ok(call, *out);
    command_fail(call, E_SYNTAX, "found %.*s, allowed: a domain such as %s%.*s", SLICE_ARG(text),
                 type == PARAM_DOMAIN ? "chat." : "", SLICE_ARG(command_node(call)->domains[0]));
    return false;
}

/* A session of one of our accounts, or all of them. */
static bool session_ok(struct command_call *call, slice text, struct jid *out)
{
    const struct node *n = command_node(call);
    if (jid_parse(out, text, call->arena) == OK && !jid_is_domain(out))
        return home_domain_ok(call, out->domain);
    command_fail(call, E_SYNTAX, "found %.*s, allowed: an address such as alice@%.*s%s%s",
                 SLICE_ARG(text), SLICE_ARG(n->domains[0]),
                 n->domain_count > 1 ? "; domains are " : "",
                 n->domain_count > 1 ? served_domains(n, call->arena) : "");
    return false;
}

static bool user_ok(struct command_call *call, slice text, struct jid *out)
{
    if (!session_ok(call, text, out))
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
    command_fail(call, E_NOTFOUND,
                 "there are no rooms at %.*s, but at %s.%.*s and others; `room-alias list` shows "
                 "them",
                 SLICE_ARG(out->domain), ROOMS_LABEL, SLICE_ARG(n->domains[0]));
    return false;
}

bool command_address_ok(struct command_call *call, enum param_type type, slice text,
                        slice *prepared)
{
    struct jid jid;
    bool fine = true;
    switch (type) {
    case PARAM_DOMAIN:
    case PARAM_HOME_DOMAIN:
        return command_run_domain_ok(call, type, text, prepared);
    case PARAM_JID:
    case PARAM_BARE:
        fine = jid_ok(call, type, text, &jid);
        break;
    case PARAM_USER:
        fine = user_ok(call, text, &jid);
        break;
    case PARAM_SESSION:
        fine = session_ok(call, text, &jid);
        break;
    case PARAM_ROOM:
        fine = room_ok(call, text, &jid);
        break;
    default:
        return true;
    }
    if (fine)
        *prepared = jid.full;
    return fine;
}

static bool several_ok(struct command_call *call, enum param_type type, slice *list)
{
    slice one, rest = *list, prepared = { 0 };
    const char *text = "";
    while (slice_word(&rest, &one)) {
        if (!command_address_ok(call, type, one, &prepared))
            return false;
        text = arena_printf(call->arena, "%s%s%.*s", text, *text == '\0' ? "" : " ",
                            SLICE_ARG(prepared));
    }
    *list = slice_of(text);
    return true;
}

static bool addresses_ok(struct command_call *call)
{
    const struct command_arg *rows = call->command->args;
    for (size_t i = 0; rows != NULL && rows[i].name != NULL; i++) {
        slice *text = &call->args[i];
        if (text->ptr == NULL)
            continue;
        if (rows[i].many ? !several_ok(call, rows[i].type, text)
                         : !command_address_ok(call, rows[i].type, *text, text))
            return false;
    }
    return true;
}

/* Where it runs, the addresses are checked: a domain may go while the command travels. */
static void run_here(struct worker *w, void *arg)
{
    struct command_call *call = arg;
    call->worker = w;
    if (addresses_ok(call))
        call->command->run(call);
}

static void run_at_home(struct command_call *call, slice text)
{
    struct worker *w = call->worker;
    struct jid jid;
    uint32_t node;
    if (jid_parse(&jid, text, call->arena) != OK) {
        run_here(w, call); /* which says what is wrong */
        return;
    }
    unsigned home = node_home(worker_node(w), jid_bare(&jid), &node);
    if (node == worker_node(w)->id)
        node_call(worker_node(w), home, run_here, call);
    else
        command_fail(call, E_UNSUPPORTED, "%.*s belongs to node %u; run the command there",
                     SLICE_ARG(text), node);
}

static void run_on_each(struct worker *w, void *arg)
{
    struct command_call *call = arg;
    call->worker = w;
    call->command->run(call);
}

static void run_gathered(struct worker *w, void *arg)
{
    struct command_call *call = arg;
    call->worker = w;
    call->command->gathered(call);
}

void command_run(struct command_call *call)
{
    const struct command *c = call->command;
    struct worker *w = call->worker;
    slice home = c->home != NULL ? command_arg(call, c->home) : (slice){ 0 };
    if (home.ptr != NULL)
        run_at_home(call, home);
    else if (c->runs_at == COMMAND_DUTY)
        node_call(worker_node(w), duty_home(worker_node(w), (enum duty)c->duty), run_here, call);
    else if (c->runs_at != COMMAND_EACH)
        run_here(w, call);
    else if (addresses_ok(call))
        node_tour(w, run_on_each, run_gathered, call);
}
