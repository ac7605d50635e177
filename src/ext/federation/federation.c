/* federation: who may speak with whom across servers, beyond s2s.policy: rules of users and
 * departments, guests, services, blocked domains and addresses, and how much a foreign domain may
 * send.
 *
 * Where a rule is asked: for a pair of domains by the edge (foreign.pair); for single stanzas as
 * they come from a foreign stream (`arrives`) and as they leave for one (`leaves`), on
 * the worker that has them; for users at the home of the account, in the stages of core/stage.h.
 *
 * The database is read by worker 0 of each node into the book (federation_book.h), the first time
 * before its loop runs, so before streams are accepted and accounts loaded. If the database does
 * not answer then, no pair of domains may speak until it does. */
#include "ext/federation/federation.h"
#include "base/ensure.h"
#include "base/mem.h"
#include "base/metric.h"
#include "base/setting.h"
#include "codec/xml_elem.h"
#include "core/feature.h"
#include "ext/ext.h"
#include "ext/federation/federation_asked.h"
#include "ext/federation/federation_book.h"
#include "ext/federation/federation_domain.h"
#include "ext/federation/federation_file.h"
#include "ext/federation/federation_group.h"
#include "ext/federation/federation_rate.h"
#include "ext/federation/federation_stranger.h"
#include "ext/federation/federation_user.h"
#include "home/here.h"
#include "home/host.h"
#include "home/node.h"
#include "home/question.h"
#include "home/remote.h"
#include "io/timer.h"
#include "presence/presence.h"
#include "presence/roster.h"
#include "remote/foreign.h"
#include "session/session.h"
#include "store/store.h"
#include "talk/inviter.h"
#include "xmpp/ns.h"
#include "xmpp/subscription.h"

enum { AGAIN_MS = 5000 };

struct log_area log_federation = { .name = "federation" };
static unsigned worker_slot;
static struct federation_rates *federation_rates;

static void services_changed(struct worker *w, const struct setting *s);

static bool services_ok(slice words)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789-.";
    slice word;
    while (slice_word(&words, &word)) {
        for (size_t i = 0; i < word.len && !slice_is(word, "*"); i++)
            if (memchr(letters, word.ptr[i], sizeof letters - 1) == NULL)
                return false;
    }
    return true;
}

static struct setting services = {
    .name = "federation.services",
    .scope = SCOPE_DOMAIN,
    .type = PARAM_TEXT,
    .def_text = "*",
    .max = 1000,
    .many = true,
    .check = services_ok,
    .form = "first words of domains, lower case, separated by spaces; or *",
    .changed = services_changed,
    .doc = "Which services and components other servers reach: the first words of their domains, "
           "such as "
           "`conference pubsub`; `*` is all. An alias of group chat goes by its own first word. "
           "What users have at the domain itself is not a service.",
};
static struct setting stanza_rate = {
    .name = "federation.stanza-rate",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_INT,
    .def = 10000,
    .min = 10,
    .max = 1000000,
    .allow_none = true,
    .unit = "stanzas",
    .doc = "How many stanzas a second a node reads from one foreign domain, over all its streams. "
           "Beyond, they are read more slowly.",
};
static struct setting request_rate = {
    .name = "federation.subscription-rate",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_INT,
    .def = 600,
    .min = 1,
    .max = 1000000,
    .allow_none = true,
    .unit = "requests",
    .doc = "How many requests for presence subscriptions a minute a node takes from one foreign "
           "domain. More are refused with resource-constraint.",
};
static struct metric refused = {
    .name = "muster_federation_refused",
    .kind = METRIC_COUNTER,
    .label = "why",
    .values =
        (const char *const[]){ "blocked", "user", "subscriptions", "strangers", "approval", NULL },
    .help = "Stanzas from and to other servers that were refused: the address is blocked, the user "
            "may not, there were too many of the domain, or a stranger needs the approval of the "
            "user. Stanzas that are refused later, after they have waited, are not counted.",
};
enum { REFUSED_BLOCKED, REFUSED_USER, REFUSED_REQUESTS, REFUSED_STRANGERS, REFUSED_APPROVAL };

/* Domains. */

/* The name of a service, alias or component in federation.services: the first word of its domain.
 * Empty: it is none. */
static slice federation_label(const struct worker *w, slice local, slice parent)
{
    const struct node *n = worker_node(w);
    slice rest, label;
    if (node_serves(n, local))
        return (slice){ 0 };
    if (slice_eq(parent, local) && !remote_known(w, local) && !remote_expected(w, local))
        return (slice){ 0 }; /* neither below a domain of ours, nor an alias or a component */
    (void)slice_cut(local, '.', &label, &rest);
    return label;
}

static bool service_is_reached(struct worker *w, slice local)
{
    slice parent = foreign_parent(worker_node(w), local), word;
    slice label = federation_label(w, local, parent);
    ensure(local.len > 0);
    if (label.len == 0)
        return true;
    slice words = setting_text_of(&services, parent);
    while (slice_word(&words, &word))
        if (slice_is(word, "*") || slice_eq(word, label))
            return true;
    return false;
}

static const struct foreign_ban *federation_pair(struct worker *w, slice local, slice remote)
{
    static const struct foreign_ban
        unread = { "the blocked domains could not be read from the database yet",
                   "Look whether the database answers: `musterctl status`.", NULL },
        listed = { "the file of federation.blocklist has it", "Take the domain out of the file.",
                   NULL },
        decided = { "it is blocked by an administrator or by reports",
                    "`musterctl federation list` shows the block, `musterctl federation allow` "
                    "ends it.",
                    NULL },
        unserved = { "federation.services leaves our service out",
                     "Add the first word of its domain to federation.services.",
                     "federation.services" };
    if (!federation_book_is_read())
        return &unread;
    if (federation_book_file_has_domain(remote))
        return &listed;
    if (federation_book_decided_has_domain(remote))
        return &decided;
    return service_is_reached(w, local) ? NULL : &unserved;
}

static uint64_t federation_pace_ms(const struct worker *w, slice remote)
{
    uint64_t us = federation_rate_stanza(federation_rates, remote, setting_int(&stanza_rate),
                                         loop_now_us(worker_loop(w)));
    return (us + 999) / 1000;
}

/* Stanzas. Errors and answers are never answered; of presence only a request is, and one that
 * enters a room: its client waits. */

static enum verdict federation_refused(const struct stanza *st, const struct refusal *why,
                                       unsigned reason)
{
    bool enters = st->type == TYPE_AVAILABLE && stanza_has(st, KNOWN(MUC));
    bool answered = st->kind == STANZA_PRESENCE ? st->type == TYPE_SUBSCRIBE || enters
                                                : st->type != TYPE_ERROR && st->type != TYPE_RESULT;
    metric_add_to(&refused, reason, why->again ? 0 : 1);
    return answered ? REFUSE : DROP;
}

static enum verdict federation_arrives(struct worker *w, const struct stanza *st,
                                       struct refusal *why)
{
    bool blocked = federation_book_blocks(stanza_from_bare(st));
    if (blocked && foreign_is_ending(st)) {
        why->bare = true; /* else the address would stay online, and in rooms */
        return PASS;
    }
    if (blocked) {
        why->error = SE_POLICY_VIOLATION;
        why->text = SLICE("this address is blocked here");
        return federation_refused(st, why, REFUSED_BLOCKED);
    }
    if (st->kind != STANZA_PRESENCE || st->type != TYPE_SUBSCRIBE ||
        federation_rate_request(federation_rates, jid_split(stanza_from_bare(st)).domain,
                                setting_int(&request_rate), loop_now_us(worker_loop(w))))
        return PASS;
    why->error = SE_RESOURCE_CONSTRAINT;
    why->text = SLICE("too many subscription requests from this domain");
    return federation_refused(st, why, REFUSED_REQUESTS);
}

/* What a client itself sends is answered, presence too. */
static enum verdict client_refused(const struct stanza *st)
{
    return st->type == TYPE_ERROR || st->type == TYPE_RESULT ? DROP : REFUSE;
}

static enum verdict user_refused(const struct account *a, const struct stanza *st,
                                 struct refusal *why)
{
    why->error = SE_NOT_ALLOWED;
    why->text = federation_refusal(a);
    metric_add_to(&refused, REFUSED_USER, why->again ? 0 : 1);
    return client_refused(st);
}

static enum verdict address_refused(const struct stanza *st, struct refusal *why)
{
    why->error = SE_POLICY_VIOLATION;
    why->text = SLICE(FOREIGN_NOT_ADDRESS);
    return federation_refused(st, why, REFUSED_BLOCKED);
}

/* The last look: at what the server sends in the name of an account, such as probes. */
static enum verdict federation_leaves(struct worker *w, const struct stanza *st,
                                      struct refusal *why)
{
    const struct account *a = account_find(w, stanza_from_bare(st));
    bool blocked = st->type != TYPE_ERROR && federation_book_blocks(stanza_to_bare(st));
    bool may = !blocked && (a == NULL || federation_may(a, stanza_to_bare(st)));
    if (may || foreign_is_ending(st)) {
        why->bare = !may;
        if (a != NULL && !why->again && stanza_is_request(st))
            federation_asked_goes(a, st);
        return PASS;
    }
    if (blocked)
        return address_refused(st, why);
    if (st->type == TYPE_ERROR || st->type == TYPE_RESULT)
        return PASS; /* what an address without an account would answer, too */
    enum verdict v = user_refused(a, st, why);
    return st->kind == STANZA_PRESENCE && st->type != TYPE_SUBSCRIBE ? DROP : v;
}

/* Strangers. a: NULL: nobody has the address. */

/* Presence is never answered: no address of a user is a room. Unavailable presence passes without
 * its content. */
static enum verdict stranger_refused(const struct stanza *st, struct refusal *why, unsigned reason)
{
    if (st->kind != STANZA_PRESENCE)
        return federation_refused(st, why, reason);
    metric_add_to(&refused, reason, 1);
    why->bare = st->type == TYPE_UNAVAILABLE;
    return why->bare ? PASS : DROP;
}

static enum verdict stranger_comes(struct worker *w, const struct account *a,
                                   const struct stanza *st, struct refusal *why)
{
    switch (federation_stranger(federation_rates, w, a, st)) {
    case STRANGER_UNAPPROVED:
        why->error = SE_SUBSCRIPTION_REQUIRED;
        why->text = SLICE("messages here need approval: request a subscription first, and write "
                          "again when it is granted");
        return stranger_refused(st, why, REFUSED_APPROVAL);
    case STRANGER_TOO_MANY:
        why->error = SE_RESOURCE_CONSTRAINT;
        why->text = SLICE("too many strangers of this domain write to users here");
        return stranger_refused(st, why, REFUSED_STRANGERS);
    case STRANGER_HEARD:
        break;
    }
    return PASS;
}

static enum verdict federation_to_nobody(struct worker *w, const struct stanza *st,
                                         struct refusal *why)
{
    return stranger_comes(w, NULL, st, why);
}

/* Users. */

/* The error to a message or a request that the user sent while that was allowed, perhaps of this
 * server: it has waited for the other one. Requests are known by the addresses of both sides as
 * they are, which are never those of acquaintances: the one of a session has a resource. */
static bool is_late_error(const struct account *a, const struct stanza *st)
{
    bool iq = st->kind == STANZA_IQ;
    const struct federation_pair pair = { iq ? stanza_to(st) : a->jid,
                                          iq ? stanza_from(st) : stanza_from_bare(st) };
    return st->kind != STANZA_PRESENCE && st->type == TYPE_ERROR &&
           federation_rate_is_met(federation_rates, &pair);
}

/* The same of a subscription request, or its contact has ended it. */
static bool is_request_error(const struct account *a, const struct stanza *st)
{
    const struct roster_item *item = roster_find(a->roster, stanza_from_bare(st));
    return st->kind == STANZA_PRESENCE && st->type == TYPE_ERROR && stanza_to_is_bare(st) &&
           item != NULL && sub_state_ask(item->state);
}

static enum verdict federation_block_stage(struct account *a, const struct stanza *st,
                                           struct refusal *why)
{
    slice from = stanza_from_bare(st);
    bool foreign = foreign_is(a->worker, jid_split(from).domain);
    bool answers = st->kind == STANZA_IQ && (st->type == TYPE_RESULT || st->type == TYPE_ERROR);
    if (foreign && answers && federation_asked_ends(a, st))
        return DROP;
    slice other = foreign ? from : inviter_find(a->worker, st, a->jid);
    if (other.len == 0)
        return PASS; /* nobody of another server has to do with it */
    enum verdict v = why->again ? PASS : stranger_comes(a->worker, a, st, why);
    if (v != PASS)
        return v;
    bool may = federation_may(a, other);
    if (may || foreign_is_ending(st)) {
        why->bare = why->bare || !may;
        return PASS;
    }
    bool own_word = why->again && st->kind == STANZA_MESSAGE && st->type == TYPE_ERROR;
    if (foreign && (own_word || is_late_error(a, st) ||
                    is_request_error(a, st))) /* own_word: of a message that was stored */
        return PASS;
    metric_add_to(&refused, REFUSED_USER, why->again ? 0 : 1);
    why->error = SE_SERVICE_UNAVAILABLE;
    why->as_nobody = true; /* else the answer would tell that there is an account */
    why->for_now = true;
    if (st->kind == STANZA_PRESENCE)
        return st->type == TYPE_PROBE ? REFUSE : DROP;
    return st->type == TYPE_ERROR || st->type == TYPE_RESULT ? DROP : REFUSE;
}

/* Unavailable presence goes where presence went before, else it would be a way to reach others. */
static enum verdict ending_check(const struct account *a, struct stanza **st)
{
    if ((*st)->type == TYPE_UNAVAILABLE && !presence_is_directed(a, stanza_to(*st)))
        return DROP;
    *st = foreign_pass(*st, &(struct refusal){ .bare = true });
    return PASS;
}

typedef bool bars_fn(const struct account *a, slice to);
static bool user_bars(const struct account *a, slice to) { return !federation_may(a, to); }
static bool book_bars(const struct account *a, slice to)
{
    return foreign_is(a->worker, jid_split(to).domain) && federation_book_blocks(to);
}

/* Whether a message asks a room here to pass something on (XEP-0045 §7.8.2) to an address that
 * `bars` keeps from the user. */
static bool is_passed_on(const struct account *a, const struct stanza *st, bars_fn *bars)
{
    struct elem x, e;
    if (st->kind != STANZA_MESSAGE || !stanza_child(st, KNOWN_MUC_USER, &x))
        return false;
    for (bool more = elem_first(&x, &e); more; more = elem_next(&e, &e)) {
        struct arena *tmp = loop_scratch(worker_loop(a->worker));
        struct jid to;
        if ((elem_is(&e, "invite", NS_MUC_USER) || elem_is(&e, "decline", NS_MUC_USER)) &&
            jid_parse(&to, elem_attr(&e, "to", tmp), tmp) == OK && bars(a, jid_bare(&to)))
            return true;
    }
    return false;
}

static enum verdict federation_check(struct session *s, struct stanza **st, struct refusal *why)
{
    const struct account *a = s->account;
    slice to = stanza_to_bare(*st);
    if (to.len == 0)
        return PASS;
    if (!foreign_is(a->worker, jid_split(to).domain)) {
        if (is_passed_on(a, *st, user_bars))
            return user_refused(a, *st, why);
        if (is_passed_on(a, *st, book_bars))
            return address_refused(*st, why);
        federation_stranger_met(federation_rates, a, *st);
        return PASS;
    }
    bool may = federation_may(a, to), blocked = federation_book_blocks(to);
    if ((!may || blocked) && foreign_is_ending(*st))
        return ending_check(a, st);
    if (!may)
        return user_refused(a, *st, why);
    if (blocked) {
        address_refused(*st, why);
        return client_refused(*st);
    }
    federation_stranger_met(federation_rates, a, *st);
    if (stanza_is_request(*st)) {
        federation_asked_anew(s, *st);
        federation_rate_met(federation_rates,
                            &(struct federation_pair){ stanza_from(*st), stanza_to(*st) },
                            loop_now_us(worker_loop(a->worker)));
    }
    return PASS;
}

static bool federation_sends(const struct account *a, const struct stanza *st)
{
    if (foreign_is_ending(st))
        return true;
    if (!federation_may(a, stanza_to_bare(st)) || is_passed_on(a, st, user_bars))
        return false;
    federation_stranger_met(federation_rates, a, st);
    return true;
}

static bool federation_view(const struct session *s, slice contact)
{
    return federation_may(s->account, contact);
}

static bool federation_shows(const struct account *a, slice contact)
{
    return federation_may(a, contact);
}

/* The book. */

/* At worker 0 of a node. */
struct federation_worker {
    struct worker *worker;
    struct federation_watch *watch; /* of federation_file.c */
    struct timer reload;
    struct store_op *op; /* the book is being read from the database */
    bool again;          /* it has changed since */
    uint64_t reads;      /* that have begun */
    struct list waits;   /* struct book_wait: as many as commands are under way, on all nodes */
};

/* A command that is done when its change applies: behind a read that has begun after it. */
struct book_wait {
    struct list node;
    struct message_from from;
    uint64_t read;
};

static struct federation_worker *federation_worker(const struct worker *w)
{
    return *worker_state(w, worker_slot);
}

static void federation_apply_run(struct worker *w, void *message, const struct message_from *from)
{
    (void)message, (void)from;
    foreign_changed(w);
    federation_users_refresh(w);
}

const struct message_row federation_apply_message = {
    .id = 119,
    .scope = MESSAGE_PROCESS,
    .name = "federation.apply",
    .size = sizeof(struct message_nothing),
    .fields = message_no_fields,
    .run = federation_apply_run,
};

static void services_changed(struct worker *w, const struct setting *s)
{
    (void)s;
    foreign_changed(w);
}

static bool book_take(enum store_result result, const struct store_batch *b)
{
    if (result != STORE_OK)
        return false;
    federation_domains_read(b, 0);
    federation_groups_read(b, 1);
    federation_book_put_read();
    return true;
}

static void book_told(struct federation_worker *fw)
{
    ensure(worker_is_here(fw->worker) && fw->op == NULL);
    LIST_EACH (it, &fw->waits) {
        struct book_wait *b = CONTAINER_OF(it, struct book_wait, node);
        ensure(b->read <= fw->reads + 1);
        if (b->read > fw->reads)
            continue;
        list_remove(&b->node);
        question_end(fw->worker, &b->from);
        mem_free(&b);
    }
}

static void book_read(void *arg, enum store_result result, const struct store_batch *b)
{
    struct federation_worker *fw = arg;
    ensure(worker_is_here(fw->worker));
    ensure(fw->op != NULL);
    fw->op = NULL;
    if (book_take(result, b))
        federation_apply(fw->worker);
    book_told(fw);
    if (result != STORE_OK || fw->again)
        timer_set(worker_loop(fw->worker), &fw->reload, result == STORE_OK ? 1 : AGAIN_MS);
    fw->again = false;
}

static struct store_batch *book_batch(const struct worker *w)
{
    struct store_batch *b = store_read(worker_store(w), 0);
    store_add(b, &federation_domains_all, STORE_ANY_ROWS, NULL, 0);
    store_add(b, &federation_groups_all, STORE_ANY_ROWS, NULL, 0);
    return b;
}

static void book_read_first(void *arg, enum store_result result, const struct store_batch *b)
{
    struct federation_worker *fw = arg;
    if (!book_take(result, b))
        timer_set(worker_loop(fw->worker), &fw->reload, AGAIN_MS);
}

static void book_reload(struct timer *t, struct loop *loop)
{
    struct federation_worker *fw = CONTAINER_OF(t, struct federation_worker, reload);
    ensure(worker_is_here(fw->worker));
    if (fw->op != NULL) {
        fw->again = true;
        return;
    }
    fw->reads++;
    fw->op = store_submit(book_batch(fw->worker), loop, 0, book_read, fw);
}

static void federation_reload_run(struct worker *w, void *message, const struct message_from *from)
{
    struct federation_worker *fw = federation_worker(w);
    (void)message;
    if (fw == NULL) {
        question_end(w, from);
        return;
    }
    struct book_wait *wait = mem_new(struct book_wait);
    wait->from = *from;
    wait->read = fw->reads + 1;
    list_append(&fw->waits, &wait->node);
    book_reload(&fw->reload, worker_loop(w));
}

const struct message_row federation_reload_message = {
    .id = 118,
    .scope = MESSAGE_CLUSTER,
    .name = "federation.reload",
    .size = sizeof(struct message_nothing),
    .fields = message_no_fields,
    .run = federation_reload_run,
    .later = true,
};

/* The statements of all files. */
static struct store_stmt *stmts[32];

static void federation_gather(struct store_stmt *const *list, unsigned *n)
{
    for (; *list != NULL; list++) {
        ensure(*n + 1 < sizeof stmts / sizeof stmts[0]);
        stmts[(*n)++] = *list;
    }
}

static void federation_begin(void)
{
    unsigned n = 0;
    federation_gather(federation_user_stmts, &n);
    federation_gather(federation_group_stmts, &n);
    federation_gather(federation_domain_stmts, &n);
    if (federation_rates == NULL)
        federation_rates = federation_rates_create();
}

static void federation_worker_start(struct worker *w)
{
    if (worker_index(w) != 0)
        return;
    struct federation_worker *fw = mem_new(struct federation_worker);
    *worker_state(w, worker_slot) = fw;
    fw->worker = w;
    fw->reload.fn = book_reload;
    list_init(&fw->waits);
    (void)store_run(book_batch(w), book_read_first, fw); /* the loop does not run yet */
    federation_file_start(w, &fw->watch);
}

static void federation_worker_stop(struct worker *w)
{
    struct federation_worker *fw = federation_worker(w);
    if (fw == NULL)
        return;
    timer_cancel(&fw->reload);
    store_cancel(&fw->op);
    LIST_EACH (it, &fw->waits) {
        struct book_wait *b = CONTAINER_OF(it, struct book_wait, node);
        list_remove(&b->node);
        mem_free(&b);
    }
    federation_file_stop(&fw->watch);
    *worker_state(w, worker_slot) = NULL;
    mem_free(&fw);
}

/* Rows. */

static const struct store_migration migrations[] = {
    { 1,
      "CREATE TABLE federation_user(owner INTEGER PRIMARY KEY, mode INTEGER NOT NULL, "
      "domains TEXT NOT NULL);"
      "CREATE TABLE federation_group(name TEXT PRIMARY KEY, mode INTEGER NOT NULL, "
      "domains TEXT NOT NULL) WITHOUT ROWID;"
      "CREATE TABLE federation_report(domain TEXT NOT NULL, owner INTEGER NOT NULL, "
      "at_us INTEGER NOT NULL, PRIMARY KEY(domain, owner)) WITHOUT ROWID;"
      "CREATE INDEX federation_report_owner ON federation_report(owner);"
      "CREATE INDEX federation_report_at ON federation_report(at_us);"
      "CREATE TABLE federation_domain(domain TEXT PRIMARY KEY, state INTEGER NOT NULL, "
      "at_us INTEGER NOT NULL, reports INTEGER NOT NULL) WITHOUT ROWID;",
      "CREATE TABLE federation_user(owner BIGINT PRIMARY KEY, mode BIGINT NOT NULL, "
      "domains TEXT NOT NULL);"
      "CREATE TABLE federation_group(name TEXT PRIMARY KEY, mode BIGINT NOT NULL, "
      "domains TEXT NOT NULL);"
      "CREATE TABLE federation_report(domain TEXT NOT NULL, owner BIGINT NOT NULL, "
      "at_us BIGINT NOT NULL, PRIMARY KEY(domain, owner));"
      "CREATE INDEX federation_report_owner ON federation_report(owner);"
      "CREATE INDEX federation_report_at ON federation_report(at_us);"
      "CREATE TABLE federation_domain(domain TEXT PRIMARY KEY, state BIGINT NOT NULL, "
      "at_us BIGINT NOT NULL, reports BIGINT NOT NULL);" },
    { 0 }
};
static const struct store_schema schema = { .feature = "federation",
                                            .migrations = migrations,
                                            .stmts = stmts };

static const struct foreign_policy policy = {
    .arrives = federation_arrives,
    .leaves = federation_leaves,
    .to_nobody = federation_to_nobody,
    .pace_ms = federation_pace_ms,
    .reported = federation_domain_reported,
    .regrouped = federation_users_regrouped,
};

const struct feature federation_feature = {
    .name = "federation",
    .start = federation_begin,
    .parts = PART_MESSAGE | PART_PRESENCE | PART_REQUEST | PART_ACCOUNT,
    .settings =
        (struct setting *const[]){ &federation_users, &services, &federation_blocklist,
                                   &federation_reports_block, &stanza_rate, &request_rate,
                                   &federation_stranger_rate, &federation_stranger_messages, NULL },
    .commands = (struct command *const[]){ &federation_set, &federation_show, &federation_group_set,
                                           &federation_group_del, &federation_group_list,
                                           &federation_block, &federation_allow, &federation_listed,
                                           &federation_reports, NULL },
    .metrics = (struct metric *const[]){ &refused, NULL },
    .alarms =
        (struct alarm *const[]){ &federation_blocklist_alarm, &federation_blocklist_unread_alarm,
                                 &federation_reported_alarm, NULL },
    .logs = (struct log_area *const[]){ &log_federation, NULL },
    .messages = (const struct message_row *const[]){ &federation_reload_message,
                                                     &federation_apply_message, NULL },
    .schema = &schema,
    .account.slot = &federation_user_slot,
    .account.load = federation_user_load,
    .account.loaded = federation_user_loaded,
    .account.unload = federation_user_unload,
    .account.remove = federation_user_remove,
    .account.disown = federation_user_disown,
    .account.inherit = federation_user_inherit,
    .account.template = federation_user_template,
    .account.profile_changed = federation_user_profile,
    .session.slot = &federation_asked_slot,
    .session.freed = federation_asked_free,
    .worker.slot = &worker_slot,
    .worker.start = federation_worker_start,
    .worker.stop = federation_worker_stop,
    .stage.check = federation_check,
    .stage.block = federation_block_stage,
    .stage.sends = federation_sends,
    .stage.view = federation_view,
    .stage.show = federation_shows,
    .foreign.pair = federation_pair,
    .foreign.changed = federation_users_judge,
    .one.policy = &policy,
};
