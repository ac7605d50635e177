#include "ext/privacy/privacy_viewer.h"
#include "base/arena.h"
#include "base/setting.h"
#include "core/feature.h"
#include "ext/privacy/privacy.h"
#include "ext/privacy/privacy_policy.h"
#include "ext/privacy/privacy_stages.h"
#include "ext/privacy/privacy_state.h"
#include "home/here.h"
#include "home/node.h"
#include "presence/presence.h"
#include "presence/roster.h"
#include "presence/roster_account.h"
#include "presence/roster_view.h"
#include "session/session.h"

enum { PEOPLE_MAX = 10000, WATCHING_MAX = 1000, WATCHER_BYTES_MAX = 128 };

static void privacy_viewer_say(struct command_call *call, const char *check, const char *found,
                               const char *result)
{
    command_row(call);
    command_text(call, "check", slice_of(check));
    command_text(call, "found", slice_of(found));
    command_text(call, "result", slice_of(result));
}

/* The availability of a session: its <show/>, or "Custom" if there is a status text. */
static const char *state_of(const struct session *s, struct arena *tmp)
{
    slice show = stanza_child_text(s->presence, KNOWN_SHOW, tmp);
    if (stanza_child_text(s->presence, KNOWN_STATUS, tmp).len > 0)
        return "Custom";
    if (slice_is(show, "away") || slice_is(show, "xa"))
        return "Away";
    return slice_is(show, "dnd") ? "Do Not Disturb" : "Available";
}

/* The session that speaks for the account: of the highest priority, the latest of these. watcher
 * ptr NULL: the user. */
static const struct session *speaker(const struct account *a, slice watcher)
{
    const struct session *best = NULL;
    SESSIONS_EACH (s, a) {
        bool seen = session_is_available(s) && (watcher.ptr == NULL || stage_view(s, watcher));
        if (seen && (best == NULL || s->priority >= best->priority))
            best = s;
    }
    return best;
}

static const char *status(const struct account *a, slice watcher, struct arena *tmp)
{
    const struct session *s = speaker(a, watcher);
    if (s == NULL)
        return "Unavailable";
    slice text = stanza_child_text(s->presence, KNOWN_STATUS, tmp);
    const char *state = state_of(s, tmp);
    return text.len == 0 ? state : arena_printf(tmp, "%s: %.*s", state, SLICE_ARG(text));
}

static void say_count(struct command_call *call, const char *check, uint32_t count,
                      const struct setting *limit)
{
    char most[32];
    setting_format(limit, most, sizeof most);
    const char *found = arena_printf(call->arena, "%u of %s", count, most);
    const char *warning = arena_printf(call->arena, "warning: more than %s allows", limit->name);
    privacy_viewer_say(call, check, found, count > setting_int(limit) ? warning : "");
}

/* A contact or watcher, with the names of groups that it has in the list; else `by`. */
static void say_person(struct command_call *call, const struct account *a, const char *check,
                       slice jid, const char *by)
{
    slice groups = roster_groups(a, jid, call->arena), group;
    const char *text = "";
    while (slice_cut(groups, '\0', &group, &groups))
        text = arena_printf(call->arena, "%s%s%.*s", text, *text == '\0' ? "" : ", ",
                            SLICE_ARG(group));
    privacy_viewer_say(call, check, slice_cstr(call->arena, jid), *text == '\0' ? by : text);
}

/* Each once, whatever groups it is in: those of the user, then those by groups of the server. */
static void say_contacts(struct command_call *call, const struct account *a)
{
    const struct roster *r = a->roster;
    uint32_t n = 0;
    slice jid;
    for (uint32_t i = 0; r != NULL && i < r->count && n < PEOPLE_MAX; i++)
        if ((r->items[i]->flags & ROSTER_LISTED) != 0) {
            say_person(call, a, "contact", roster_item_jid(r->items[i]), "");
            n++;
        }
    for (struct roster_at at = { 0 }; n < PEOPLE_MAX && roster_next_shared(a, &at, &jid); n++)
        say_person(call, a, "contact", jid, "");
}

static void say_watchers(struct command_call *call, const struct account *a)
{
    uint32_t n = 0;
    slice jid;
    for (struct roster_at at = { 0 }; n < PEOPLE_MAX && roster_next(a, ROSTER_IS_SEEN, &at, &jid);
         n++)
        say_person(call, a, "watcher", jid,
                   roster_sees_own(a, jid, ROSTER_IS_SEEN) ? "" : "by a group");
}

/* Those that watch for a while, subscribers excepted: each once. */
struct watching {
    const struct account *account;
    slice seen[WATCHING_MAX];
    uint32_t count;
};

static void note_watcher(slice bare, void *arg)
{
    struct watching *w = arg;
    for (uint32_t i = 0; i < w->count; i++)
        if (slice_eq(w->seen[i], bare))
            return;
    if (w->count < WATCHING_MAX && !roster_is_seen(w->account, bare))
        w->seen[w->count++] = bare;
}

static struct watching *watching(const struct account *a, struct arena *arena)
{
    struct watching *w = arena_new(arena, struct watching, 1);
    w->account = a;
    EMIT_ONE(watch, watched_by, a, note_watcher, w);
    return w;
}

static bool privacy_viewer_watches(const struct account *a, slice bare, struct arena *arena)
{
    const struct watching *w = watching(a, arena);
    for (uint32_t i = 0; i < w->count; i++)
        if (slice_eq(w->seen[i], bare))
            return true;
    return false;
}

static void say_account(struct command_call *call, const struct account *a)
{
    const struct worker *w = a->worker;
    privacy_viewer_say(call, "status", status(a, (slice){ 0 }, call->arena), "");
    SESSIONS_EACH (s, a) {
        const char *jid = slice_cstr(call->arena, session_jid(s));
        privacy_viewer_say(call, "session", jid,
                           !session_is_available(s) ? "Unavailable"
                           : s->hidden              ? "invisible"
                                                    : state_of(s, call->arena));
    }
    say_count(call, "contacts", roster_count(a), &roster_contacts_max);
    if (command_flag(call, "contacts"))
        say_contacts(call, a);
    const struct watching *now = watching(a, call->arena);
    say_count(call, "watchers", (a->roster == NULL ? 0 : a->roster->seen) + now->count,
              &roster_watchers_max);
    if (command_flag(call, "watchers")) {
        say_watchers(call, a);
        for (uint32_t i = 0; i < now->count; i++)
            privacy_viewer_say(call, "watcher", slice_cstr(call->arena, now->seen[i]),
                               "for a while");
    }
    privacy_viewer_say(call, "server", worker_node(w)->name, "");
}

/* Rule by rule. */

/* A rule of the policy in its own words: its order is nobody's choice. */
static const char *policy_text(struct arena *arena, const struct rule *r)
{
    static const char *const actions[] = { "allow", "block", "ask" };
    return arena_printf(arena, "%s %.*s", actions[r->action], SLICE_ARG(r->value));
}

static const char *rule_text(struct arena *arena, const struct rule *r)
{
    static const char *const types[] = { "everyone", "address", "group", "subscription" };
    static const char *const actions[] = { "allow", "deny", "ask" };
    return arena_printf(arena, "%s %s%s%.*s (order %lld)", actions[r->action], types[r->type],
                        r->value.len > 0 ? " " : "", SLICE_ARG(r->value), (long long)r->order);
}

static void explain_policy(struct command_call *call, const struct account *a, slice watcher)
{
    const struct privacy *p = privacy_of(a);
    struct rule rule;
    bool server = setting_bool(&presence_sharing), own = p == NULL || p->share != SHARE_OFF;
    privacy_viewer_say(call, presence_sharing.name, server ? "on" : "off", server ? "" : "hidden");
    privacy_viewer_say(call, "user shares",
                       privacy_share_names[p == NULL ? SHARE_DEFAULT : p->share],
                       own ? "" : "hidden");
    bool any = policy_rule(p, watcher, &rule);
    privacy_viewer_say(call, "user's rule", any ? policy_text(call->arena, &rule) : "none",
                       any && rule.action == RULE_DENY ? "hidden" : "");
    if (!any) {
        bool shown = !policy_shares(p) || policy_view(a, p, watcher);
        privacy_viewer_say(call, "user on others",
                           privacy_others_names[p == NULL ? OTHERS_DEFAULT : p->others],
                           shown ? "" : "hidden: no contact");
    }
}

static void explain_session(struct command_call *call, const struct session *s, slice watcher)
{
    const struct rules *list = privacy_in_force(privacy_of(s->account), s);
    struct arena *arena = call->arena;
    const char *name = arena_printf(arena, "session %.*s", SLICE_ARG(session_resource(s)));
    struct rule_peer peer = privacy_peer(s->account, list, watcher);
    struct rule rule;
    if (s->hidden)
        privacy_viewer_say(call, name, "invisible", "hidden");
    if (list != NULL) {
        bool any = rules_match(list, &peer, RULE_PRESENCE_OUT, &rule);
        const char *found = arena_printf(arena, "list \"%.*s\": %s", SLICE_ARG(rules_name(list)),
                                         any ? rule_text(arena, &rule) : "no rule");
        privacy_viewer_say(call, name, found, any && rule.action == RULE_DENY ? "hidden" : "");
    }
    FEATURES_EACH (f, stage.view)
        if (f->stage.view != privacy_view && !f->stage.view(s, watcher))
            privacy_viewer_say(call, name, f->name, "hidden");
    privacy_viewer_say(call, name, session_is_available(s) ? state_of(s, arena) : "Unavailable",
                       session_is_available(s) && stage_view(s, watcher) ? "shown" : "hidden");
}

static void privacy_viewer_explain(struct command_call *call, const struct account *a,
                                   slice watcher)
{
    bool self = slice_eq(watcher, a->jid);
    bool subscribed = self || roster_is_seen(a, watcher);
    bool for_a_while = !subscribed && privacy_viewer_watches(a, watcher, call->arena);
    privacy_viewer_say(call, "subscription",
                       self ? "the same user" : sub_state_subscription(roster_state(a, watcher)),
                       subscribed || for_a_while ? "" : "hidden: not subscribed");
    if (for_a_while)
        privacy_viewer_say(call, "watches for a while", "yes", "");
    if (!self)
        explain_policy(call, a, watcher);
    SESSIONS_EACH (s, a)
        explain_session(call, s, watcher);
    privacy_viewer_say(call, "sees",
                       subscribed || for_a_while ? status(a, watcher, call->arena) : "Unavailable",
                       "");
}

static void privacy_viewer_view(struct account *a, enum err e, void *arg)
{
    const struct privacy_task *t = arg;
    struct command_call *call = t->call;
    slice text = command_arg(call, "watcher");
    if (!privacy_task_ready(t, a, e))
        return;
    if (text.ptr == NULL) {
        say_account(call, a);
    } else {
        struct jid watcher = jid_split(text);
        privacy_viewer_explain(call, a, jid_bare(&watcher));
    }
    command_done(call, "%s", "");
}

static void run_view(struct command_call *call) { privacy_task_run(call, privacy_viewer_view); }

static const struct command_arg view_args[] = {
    COMMAND_USER_ARG,
    { .name = "watcher",
      .kind = ARG_OPTION,
      .type = PARAM_JID,
      .max = WATCHER_BYTES_MAX,
      .doc = "show what this address sees, and why" },
    { .name = "contacts",
      .kind = ARG_FLAG,
      .type = PARAM_BOOL,
      .doc = "list the user's contacts with their groups, also those by groups of users" },
    { .name = "watchers",
      .kind = ARG_FLAG,
      .type = PARAM_BOOL,
      .doc = "list the users who see this user, also those by groups of users" },
    { 0 },
};
struct command presence_view = {
    .name = "presence view",
    .rest = "GET /users/{jid}/presence",
    .effect = COMMAND_READS,
    .area = "policies",
    .args = view_args,
    .home = "jid",
    .run = run_view,
    .doc = "Shows a user's availability, contacts and watchers. With --watcher, shows what that "
           "address sees, and which rules decide that.",
    .columns = (const struct command_column[]){ { .name = "check", .doc = "what was looked at" },
                                                { .name = "found", .doc = "what was found" },
                                                { .name = "result", .doc = "what follows from it" },
                                                { 0 } },
};
