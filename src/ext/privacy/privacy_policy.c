#include "ext/privacy/privacy_policy.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "base/mem.h"
#include "codec/xml_elem.h"
#include "codec/xml_write.h"
#include "ext/privacy/privacy.h"
#include "ext/privacy/privacy_stages.h"
#include "ext/privacy/privacy_state.h"
#include "home/here.h"
#include "home/host.h"
#include "io/timer.h"
#include "ops/users.h"
#include "presence/presence.h"
#include "presence/presence_pace.h"
#include "presence/roster.h"
#include "presence/roster_view.h"
#include "session/session.h"
#include "session/sessions.h"
#include "talk/iq.h"

#define NS_POLICY "urn:muster:policy:0"

enum { REFRESH_SESSIONS = 32, RULES_A_REQUEST_MAX = 1000, NOTE_BYTES_MAX = 32 << 10 };

static const char *const approvals[] = { "automatic", "ask", NULL };
enum { APPROVAL_AUTOMATIC, APPROVAL_ASK };

static void sharing_changed(struct worker *w, const struct setting *s);

/* clang-format off */
struct setting presence_sharing = {
    .name = "presence.sharing", .scope = SCOPE_CLUSTER,
    .type = PARAM_BOOL, .def = 1, .changed = sharing_changed,
    .doc = "Shares availability. Off: users see only their own. Other users, of this server and of "
           "others, see nothing. Rooms show who is in them, but not whether they are away or busy, "
           "nor their status text or client. Users may also turn it off for themselves.",
};
struct setting presence_approval = {
    .name = "presence.approval", .scope = SCOPE_CLUSTER, .type = PARAM_CHOICE,
    .def = APPROVAL_AUTOMATIC, .choices = approvals,
    .doc = "How subscription requests from users of the server's own domains are answered. "
           "`automatic`: they are granted at once, without asking the user. `ask`: the user is "
           "asked (RFC 6121). Requests from other domains are not granted by this setting. With "
           "both, a request is granted at once if the user is subscribed to its sender, or has "
           "asked to be. The user's own policy overrides this setting.",
};
/* clang-format on */

const char *const privacy_share_names[] = { "default", "on", "off", NULL };
const char *const privacy_others_names[] = { "default", "allow", "block", "ask", NULL };
static const char *const actions[] = { "allow", "block", "ask", "none", NULL };
enum { ACTION_NONE = 3 };

/* Index in a list of names, or -1. */
static int index_of(const char *const *names, slice name)
{
    for (int i = 0; names[i] != NULL; i++)
        if (slice_is(name, names[i]))
            return i;
    return -1;
}

/* Evaluation. */

bool policy_shares(const struct privacy *p)
{
    return setting_bool(&presence_sharing) && (p == NULL || p->share != SHARE_OFF);
}

bool policy_rule(const struct privacy *p, slice contact, struct rule *out)
{
    struct rule_peer peer = { .jid = contact };
    return p != NULL && p->policy != NULL && rules_match(p->policy, &peer, RULE_PRESENCE_OUT, out);
}

/* Blocked because there is no rule for the sender, whom the user has not put into the list: only
 * rules for that address count. A group of the server makes nobody a contact here, because its
 * members are the operator's choice and not the user's. */
static bool is_stranger(const struct account *a, const struct privacy *p, slice jid)
{
    struct rule rule;
    if (p == NULL || p->others != OTHERS_BLOCK || roster_is_listed(a, jid_bare_of(jid)))
        return false;
    return !policy_rule(p, jid, &rule) || rule.action != RULE_ALLOW;
}

bool policy_view(const struct account *a, const struct privacy *p, slice contact)
{
    struct rule rule;
    if (!policy_shares(p))
        return false;
    if (policy_rule(p, contact, &rule))
        return rule.action != RULE_DENY;
    return !is_stranger(a, p, contact);
}

/* Rooms that a session is in, and services of ours, are not strangers. */
static bool is_known_place(const struct account *a, slice from)
{
    struct jid jid = jid_split(from);
    slice rest;
    return presence_is_directed(a, from) || (!node_serves(account_node(a), jid.domain) &&
                                             host_find(account_node(a), jid.domain, &rest) != NULL);
}

/* A group lets the user see its members, who are strangers beside that. */
static bool is_news_of_group(const struct account *a, const struct stanza *st, slice from)
{
    return st->kind == STANZA_PRESENCE &&
           (st->type == TYPE_AVAILABLE || st->type == TYPE_UNAVAILABLE) &&
           roster_is_shared(a, jid_bare_of(from));
}

enum verdict policy_block(struct account *a, const struct stanza *st, slice from,
                          struct refusal *why)
{
    const struct privacy *p = privacy_of(a);
    bool presence = st->kind == STANZA_PRESENCE;
    ensure(account_here(a));
    if (presence && st->type == TYPE_AVAILABLE && !policy_shares(p) && !is_known_place(a, from))
        return DROP;
    bool answer = st->kind == STANZA_IQ && st->type != TYPE_GET && st->type != TYPE_SET;
    if (answer || (st->kind == STANZA_IQ && stanza_to_is_bare(st)) || !is_stranger(a, p, from) ||
        is_known_place(a, from) || is_news_of_group(a, st, from))
        return PASS; /* what is asked of the account is answered by the rules of each feature */
    if (why->again && st->kind == STANZA_MESSAGE && st->type == TYPE_ERROR)
        return PASS; /* it is this server's word about a message that was stored */
    why->error = SE_SERVICE_UNAVAILABLE;
    why->as_nobody = true;
    return presence || st->type == TYPE_ERROR ? DROP : REFUSE;
}

/* The first that applies decides: a rule for the address, a subscription or request between the
 * two, a rule for the domain, the user's rule for all others, and for local users the setting of
 * the server. If the result is to block, the user is asked. */
bool policy_permit(const struct account *a, slice contact)
{
    const struct privacy *p = privacy_of(a);
    const struct roster_item *item = roster_find(a->roster, contact);
    struct jid jid = jid_split(contact);
    struct rule rule;
    bool any = policy_rule(p, contact, &rule);
    if (any && slice_eq(rule.value, contact))
        return rule.action == RULE_ALLOW;
    if (item != NULL && (sub_sees(item->state) || sub_state_ask(item->state)))
        return true;
    if (any)
        return rule.action == RULE_ALLOW;
    if (p != NULL && p->others != OTHERS_DEFAULT)
        return p->others == OTHERS_ALLOW;
    return setting_int(&presence_approval) == APPROVAL_AUTOMATIC &&
           node_serves(account_node(a), jid.domain);
}

/* The setting was switched: contacts are told in small steps. Where availability is shared again,
 * each session waits for its turn (presence/presence_pace.h). */

struct refresh { /* one a worker, of the last switch */
    struct worker *worker;
    struct loop_defer defer;
    struct timer timer;
    uint32_t at, count;
    uint64_t ids[]; /* of sessions */
};

unsigned policy_refresh_slot;

static void refresh_session(struct session *s)
{
    const struct account *a = s->account;
    slice contact;
    enum stanza_type type =
        policy_shares(privacy_of(s->account)) ? TYPE_AVAILABLE : TYPE_UNAVAILABLE;
    ensure(session_here(s));
    for (struct roster_at at = { 0 }; roster_next(a, ROSTER_IS_SEEN, &at, &contact);)
        if (privacy_list_shows(s, contact)) /* else it was not seen before */
            presence_tell(s, contact, type);
    privacy_sharing_told(s);
    presence_in_rooms(s, type == TYPE_AVAILABLE);
    presence_views_changed(s->account);
}

static void refresh_end(struct worker *w)
{
    struct refresh *f = *worker_state(w, policy_refresh_slot);
    *worker_state(w, policy_refresh_slot) = NULL;
    if (f == NULL)
        return;
    loop_defer_cancel(&f->defer);
    timer_cancel(&f->timer);
    mem_free(&f);
}

static bool must_wait(const struct session *s)
{
    const struct account *a = s->account;
    bool tells = roster_next(a, ROSTER_IS_SEEN, &(struct roster_at){ 0 }, &(slice){ 0 }) ||
                 privacy_hears_remote(s, &(struct roster_at){ 0 }, &(slice){ 0 }) ||
                 session_directs_presence(s);
    return session_is_available(s) && tells && policy_shares(privacy_of(a)) &&
           !presence_pace_take(a->worker);
}

static void refresh_some(struct refresh *f)
{
    struct worker *w = f->worker;
    for (uint32_t told = 0; f->at < f->count; f->at++) {
        struct session *s = session_find(w, f->ids[f->at]);
        if (s == NULL)
            continue;
        if (told++ == REFRESH_SESSIONS) {
            loop_defer(worker_loop(w), &f->defer);
            return;
        }
        if (must_wait(s)) {
            timer_set(worker_loop(w), &f->timer, PRESENCE_PACE_MS);
            return;
        }
        refresh_session(s);
    }
    refresh_end(w);
}

static void refresh_deferred(struct loop_defer *d)
{
    refresh_some(CONTAINER_OF(d, struct refresh, defer));
}

static void refresh_timed(struct timer *t, struct loop *loop)
{
    (void)loop;
    refresh_some(CONTAINER_OF(t, struct refresh, timer));
}

static void sharing_changed(struct worker *w, const struct setting *unused)
{
    const struct session *s;
    struct refresh *f = mem_zalloc(sizeof *f + sessions_count(w) * sizeof f->ids[0]);
    (void)unused;
    refresh_end(w);
    *worker_state(w, policy_refresh_slot) = f;
    f->defer.fn = refresh_deferred;
    f->timer.fn = refresh_timed;
    f->worker = w;
    for (uint32_t i = 0; (s = sessions_next(w, &i)) != NULL;)
        if (session_is_available(s))
            f->ids[f->count++] = s->id;
    refresh_some(f);
}

void policy_worker_ended(struct worker *w) { refresh_end(w); }

/* Editing. */

/* Rules for an address come before those for a domain, a domain before what contains it: the rank
 * is the upper half of an order. */
static int64_t privacy_policy_rank_of(slice jid)
{
    int64_t labels = 1;
    for (size_t i = 0; i < jid.len; i++)
        labels += jid.ptr[i] == '.';
    return memchr(jid.ptr, '@', jid.len) == NULL ? 2048 - labels : 0; /* at most 1023 bytes */
}

/* That of its rule, or the one behind all others of its rank. */
static int64_t order_of(const struct privacy *p, slice jid)
{
    int64_t rank = privacy_policy_rank_of(jid);
    struct rule rule;
    if (policy_rule(p, jid, &rule) && slice_eq(rule.value, jid))
        return rule.order;
    uint32_t low = 0, high = p == NULL ? 0 : rules_count(p->policy);
    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        if (rules_at(p->policy, mid).order >> 32 <= rank)
            low = mid + 1;
        else
            high = mid;
    }
    if (low > 0 && rules_at(p->policy, low - 1).order >> 32 == rank)
        return rules_at(p->policy, low - 1).order + 1;
    return rank << 32;
}

/* What is asked for. */
struct edit {
    int share, others; /* -1: as it is */
    struct rule *puts, *drops;
    uint32_t put_count, drop_count;
    struct command_call *call;
    slice jid;
};

static const char *privacy_policy_action(const struct privacy *p, slice jid)
{
    struct rule rule;
    bool known = policy_rule(p, jid, &rule) && slice_eq(rule.value, jid);
    return actions[known ? rule.action : ACTION_NONE];
}

static void note_one(struct buf *before, struct buf *after, slice what, const char *was,
                     const char *is)
{
    command_changed_part(before, NULL, what);
    buf_printf(before, "=%s", was);
    command_changed_part(after, NULL, what);
    buf_printf(after, "=%s", is);
}

/* For the audit log: what is asked for, as it was and as it is to be. */
static void note_edit(const struct edit *e, const struct privacy *p)
{
    struct buf before, after;
    buf_init(&before, NOTE_BYTES_MAX);
    buf_init(&after, NOTE_BYTES_MAX);
    if (e->share >= 0)
        note_one(&before, &after, SLICE("share"),
                 privacy_share_names[p == NULL ? SHARE_DEFAULT : p->share],
                 privacy_share_names[e->share]);
    if (e->others >= 0)
        note_one(&before, &after, SLICE("others"),
                 privacy_others_names[p == NULL ? OTHERS_DEFAULT : p->others],
                 privacy_others_names[e->others]);
    for (uint32_t i = 0; i < e->put_count; i++)
        note_one(&before, &after, e->puts[i].value, privacy_policy_action(p, e->puts[i].value),
                 actions[e->puts[i].action]);
    for (uint32_t i = 0; i < e->drop_count; i++)
        note_one(&before, &after, e->drops[i].value, privacy_policy_action(p, e->drops[i].value),
                 actions[ACTION_NONE]);
    command_changed(e->call, buf_fit(&before), buf_fit(&after));
    buf_fini(&before);
    buf_fini(&after);
}

static void plan_edit(struct privacy_change *c, const struct privacy *p)
{
    struct edit *e = c->request;
    if (e->call != NULL)
        note_edit(e, p);
    uint32_t fresh = 0;
    int64_t given = 0;
    for (uint32_t i = 0; i < e->put_count; i++) {
        struct rule old;
        bool known =
            policy_rule(p, e->puts[i].value, &old) && slice_eq(old.value, e->puts[i].value);
        e->puts[i].order = order_of(p, e->puts[i].value) + (known ? 0 : given);
        given += known ? 0 : 1;
        fresh += known ? 0 : 1;
    }
    for (uint32_t i = 0; i < e->drop_count; i++)
        e->drops[i].order = order_of(p, e->drops[i].value);
    if (!privacy_has_room(c, p, fresh, 0))
        return;
    if (e->put_count > 0)
        c->delta[c->count++] =
            (struct privacy_delta){ .op = PRIVACY_ADD, .rules = e->puts, .count = e->put_count };
    if (e->drop_count > 0)
        c->delta[c->count++] =
            (struct privacy_delta){ .op = PRIVACY_DROP, .rules = e->drops, .count = e->drop_count };
    ensure(c->count < sizeof c->delta / sizeof c->delta[0]);
    uint8_t share = p == NULL ? SHARE_DEFAULT : p->share;
    uint8_t others = p == NULL ? OTHERS_DEFAULT : p->others;
    if (e->share >= 0 || e->others >= 0)
        c->delta[c->count++] =
            (struct privacy_delta){ .op = PRIVACY_POLICY,
                                    .share = e->share >= 0 ? (uint8_t)e->share : share,
                                    .others = e->others >= 0 ? (uint8_t)e->others : others };
}

static struct edit *edit_new(struct privacy_change *c, uint32_t rules)
{
    struct edit *e = arena_new(c->arena, struct edit, 1);
    e->share = e->others = -1;
    e->puts = arena_new(c->arena, struct rule, rules + 1);
    e->drops = arena_new(c->arena, struct rule, rules + 1);
    c->request = e;
    c->plan = plan_edit;
    return e;
}

static void edit_add(struct edit *e, slice jid, int action)
{
    struct rule rule = { .value = jid, .type = RULE_JID, .kinds = RULE_PRESENCE_OUT };
    rule.action = (uint8_t)action;
    if (action == ACTION_NONE)
        e->drops[e->drop_count++] = rule;
    else
        e->puts[e->put_count++] = rule;
}

/* An attribute of names: -1: absent; -2: unknown. */
static int choice_attr(const struct elem *e, const char *name, const char *const *names,
                       struct arena *tmp)
{
    slice value = elem_attr(e, name, tmp);
    if (value.ptr == NULL)
        return -1;
    int at = index_of(names, value);
    return at < 0 ? -2 : at;
}

static bool rule_named(const struct edit *e, slice jid)
{
    for (uint32_t i = 0; i < e->put_count; i++)
        if (slice_eq(e->puts[i].value, jid))
            return true;
    for (uint32_t i = 0; i < e->drop_count; i++)
        if (slice_eq(e->drops[i].value, jid))
            return true;
    return false;
}

static struct refusal parse_rule(const struct privacy_change *c, struct edit *e,
                                 const struct elem *child)
{
    struct jid jid;
    if (!elem_is(child, "rule", NS_POLICY))
        return (struct refusal){ .error = SE_BAD_REQUEST,
                                 .text = SLICE("a policy has rules only") };
    int action = choice_attr(child, "action", actions, c->arena);
    if (action < 0)
        return (struct refusal){ .error = SE_BAD_REQUEST,
                                 .text = SLICE("a rule has an action: allow, block, ask or none") };
    if (jid_parse(&jid, elem_attr(child, "jid", c->arena), c->arena) != OK || !jid_is_bare(&jid))
        return (struct refusal){ .error = SE_JID_MALFORMED,
                                 .text = SLICE(
                                     "a rule is for an address or a domain, without resource") };
    if (rule_named(e, jid.full))
        return (struct refusal){ .error = SE_BAD_REQUEST,
                                 .text = SLICE("two rules for one address") };
    edit_add(e, jid.full, action);
    return (struct refusal){ .error = SE_NONE };
}

static void parse_edit(struct privacy_change *c)
{
    struct elem *policy = &c->iq->payload, child;
    uint32_t count = 0;
    for (bool any = elem_first(policy, &child); any; any = elem_next(&child, &child))
        count++;
    struct edit *e = edit_new(c, count <= RULES_A_REQUEST_MAX ? count : 0);
    e->share = choice_attr(policy, "share", privacy_share_names, c->arena);
    e->others = choice_attr(policy, "others", privacy_others_names, c->arena);
    if (e->share == -2 || e->others == -2 || count > RULES_A_REQUEST_MAX) {
        c->why.error = SE_BAD_REQUEST;
        c->why.text = count > RULES_A_REQUEST_MAX
                          ? SLICE("at most 1000 rules a request")
                          : SLICE("share is default, on or off; others is default, allow, block "
                                  "or ask");
        return;
    }
    for (bool any = elem_first(policy, &child); any && c->why.error == SE_NONE;
         any = elem_next(&child, &child))
        c->why = parse_rule(c, e, &child);
}

void policy_edit(struct iq *iq)
{
    struct privacy_change *c = privacy_change_new(iq);
    parse_edit(c);
    if (c->why.error != SE_NONE)
        privacy_change_answer(c, E_DENIED);
    else
        privacy_change_run(c->iq->account, c);
}

static void privacy_policy_forgotten(struct privacy_change *c, enum err e)
{
    (void)e;
    privacy_change_end(c);
}

void policy_forget(struct account *a, slice bare)
{
    struct rule rule;
    bool any = policy_rule(privacy_of(a), bare, &rule) && slice_eq(rule.value, bare);
    ensure(account_here(a));
    if (!any && a->actor.change_count == 0) /* which may bring one */
        return;
    struct privacy_change *c = privacy_change_new(NULL);
    struct edit *e = edit_new(c, 1);
    edit_add(e, slice_dup(c->arena, bare), ACTION_NONE);
    c->done = privacy_policy_forgotten;
    privacy_change_run(a, c);
}

void policy_get(struct iq *iq)
{
    const struct privacy *p = privacy_of(iq->account);
    struct buf out;
    struct xml_write x;
    xml_begin(&x, &out, XML_STANZA_MAX);
    xml_open(&x, "policy", NS_POLICY);
    xml_attr(&x, "share", slice_of(privacy_share_names[p == NULL ? SHARE_DEFAULT : p->share]));
    xml_attr(&x, "others", slice_of(privacy_others_names[p == NULL ? OTHERS_DEFAULT : p->others]));
    for (uint32_t i = 0; p != NULL && i < rules_count(p->policy); i++) {
        struct rule rule = rules_at(p->policy, i);
        xml_open_with(&x, "rule", NULL, "jid", rule.value);
        xml_attr(&x, "action", slice_of(actions[rule.action]));
        xml_close(&x);
    }
    iq_result_xml(iq, &x);
}

/* Commands. */

void privacy_task_run(struct command_call *call, account_fn *fn)
{
    struct privacy_task *t = arena_new(call->arena, struct privacy_task, 1);
    *t = (struct privacy_task){ .call = call, .bare = command_arg(call, "jid") };
    account_with(call->worker, t->bare, fn, t);
}

bool privacy_task_ready(const struct privacy_task *t, const struct account *a, enum err e)
{
    if (e == OK && a->state == ACTOR_READY)
        return true;
    if (users_there(t->call, a, e))
        users_fail_disabled(t->call, t->bare);
    return false;
}

static void show_row(struct command_call *call, const char *kind, slice what, const char *value)
{
    command_row(call);
    command_text(call, "kind", slice_of(kind));
    command_text(call, "what", slice_dup(call->arena, what));
    command_text(call, "is", slice_of(value));
}

static void privacy_policy_show(struct account *a, enum err e, void *arg)
{
    const struct privacy_task *t = arg;
    struct command_call *call = t->call;
    ensure(account_here(a));
    if (!privacy_task_ready(t, a, e))
        return;
    const struct privacy *p = privacy_of(a);
    show_row(call, "default", SLICE("share"),
             privacy_share_names[p == NULL ? SHARE_DEFAULT : p->share]);
    show_row(call, "default", SLICE("others"),
             privacy_others_names[p == NULL ? OTHERS_DEFAULT : p->others]);
    for (uint32_t i = 0; p != NULL && i < rules_count(p->policy); i++) {
        struct rule rule = rules_at(p->policy, i);
        show_row(call, "rule", rule.value, actions[rule.action]);
    }
    command_done(call, "%s", "");
}

static void privacy_policy_run_show(struct command_call *call)
{
    privacy_task_run(call, privacy_policy_show);
}

static void set_done(struct privacy_change *c, enum err e)
{
    struct edit *edit = c->request;
    ensure(edit->call != NULL);
    if (c->why.error != SE_NONE)
        command_fail(edit->call, E_LIMIT, "%.*s", SLICE_ARG(c->why.text));
    else if (e != OK)
        command_fail_cause(edit->call, e, NULL);
    else
        command_done(edit->call, "policy of %.*s changed", SLICE_ARG(edit->jid));
    privacy_change_end(c);
}

/* The rules that the call gives. false: it has failed. */
static bool set_rules(struct command_call *call, struct edit *edit)
{
    for (int i = 0; actions[i] != NULL; i++) {
        slice text = command_arg(call, actions[i]);
        if (text.ptr == NULL)
            continue;
        struct jid jid = jid_split(text);
        call->culprit = actions[i];
        if (!jid_is_bare(&jid)) {
            command_fail(call, E_SYNTAX, "found %.*s, allowed: an address or a domain",
                         SLICE_ARG(text));
            return false;
        }
        if (rule_named(edit, text)) {
            command_fail(call, E_SYNTAX,
                         "found %.*s for the second time, allowed: one of allow, "
                         "block, ask and none for each address",
                         SLICE_ARG(text));
            return false;
        }
        edit_add(edit, text, i);
    }
    call->culprit = NULL;
    if (edit->share >= 0 || edit->others >= 0 || edit->put_count + edit->drop_count > 0)
        return true;
    command_fail(call, E_SYNTAX, "say what changes: share, others, or the rule for an address");
    return false;
}

static void privacy_policy_set(struct account *a, enum err e, void *arg)
{
    const struct privacy_task *t = arg;
    struct command_call *call = t->call;
    ensure(account_here(a));
    if (!privacy_task_ready(t, a, e))
        return;
    struct privacy_change *c = privacy_change_new(NULL);
    struct edit *edit = edit_new(c, ACTION_NONE + 1);
    edit->call = call;
    edit->jid = t->bare;
    c->done = set_done;
    edit->share = index_of(privacy_share_names, command_arg(call, "share"));
    edit->others = index_of(privacy_others_names, command_arg(call, "others"));
    if (set_rules(call, edit))
        privacy_change_run(a, c);
    else
        privacy_change_end(c);
}

static void privacy_policy_run_set(struct command_call *call)
{
    privacy_task_run(call, privacy_policy_set);
}

static const struct command_arg show_args[] = {
    COMMAND_USER_ARG,
    { 0 },
};
static const struct command_arg set_args[] = {
    COMMAND_USER_ARG,
    { .name = "share",
      .kind = ARG_OPTION,
      .type = PARAM_CHOICE,
      .choices = privacy_share_names,
      .example = "off",
      .doc = "whether anybody sees the user's availability" },
    { .name = "others",
      .kind = ARG_OPTION,
      .type = PARAM_CHOICE,
      .choices = privacy_others_names,
      .doc = "what applies to users without a rule" },
    { .name = "allow",
      .kind = ARG_OPTION,
      .type = PARAM_JID,
      .doc = "address or domain that always sees the user" },
    { .name = "block",
      .kind = ARG_OPTION,
      .type = PARAM_JID,
      .doc = "address or domain that never sees the user" },
    { .name = "ask",
      .kind = ARG_OPTION,
      .type = PARAM_JID,
      .doc = "address or domain that the user must approve" },
    { .name = "none",
      .kind = ARG_OPTION,
      .type = PARAM_JID,
      .doc = "address or domain whose rule is removed" },
    { 0 },
};
struct command policy_show = {
    .name = "policy show",
    .rest = "GET /users/{jid}/policy",
    .effect = COMMAND_READS,
    .area = "policies",
    .args = show_args,
    .home = "jid",
    .run = privacy_policy_run_show,
    .doc = "Shows the policy of a user: who can see their availability.",
    .columns =
        (const struct command_column[]){
            { .name = "kind", .doc = "default or rule" },
            { .name = "what", .doc = "share or others; of a rule, its address" },
            { .name = "is", .doc = "what applies to it" },
            { 0 } },
};
struct command policy_set = {
    .name = "policy set",
    .rest = "PATCH /users/{jid}/policy",
    .effect = COMMAND_CHANGES,
    .area = "policies",
    .args = set_args,
    .home = "jid",
    .run = privacy_policy_run_set,
    .doc = "Changes the policy of a user: who can see their availability. The policy overrides the "
           "settings of the server. Sessions and contacts see the effect at once.",
};
