#include "ext/groups/groups.h"
#include "account/account.h"
#include "account/account_life.h"
#include "account/shared.h"
#include "account/shared_change.h"
#include "base/arena.h"
#include "base/command.h"
#include "base/ensure.h"
#include "base/hash.h"
#include "base/list.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metric.h"
#include "base/setting.h"
#include "core/core.h"
#include "core/feature.h"
#include "ext/ext.h"
#include "ext/groups/groups_commands.h"
#include "ext/groups/groups_table.h"
#include "home/duty.h"
#include "home/here.h"
#include "home/node.h"
#include "home/question.h"
#include "io/timer.h"
#include <inttypes.h>
#include <pthread.h>

static struct log_area log_groups = { .name = "groups" };

enum {
    NEWS_MS = 500,   /* accounts that come in this time are one round */
    AGAIN_MS = 5000, /* after a failure */
};

static void limit_changed(struct worker *w, const struct setting *s);
static const struct setting_impact larger_impact = { .stmt = &groups_stmt_larger,
                                                     .what = "groups that are larger" };

/* clang-format off */
struct setting groups_max = {
    .name = "groups.max", .scope = SCOPE_CLUSTER, .type = PARAM_INT, .def = 200, .min = 1,
    .max = 5000, .unit = "groups",
    .doc = "How many groups of users there may be.",
};
struct setting groups_members_max = {
    .name = "groups.members-max", .scope = SCOPE_CLUSTER, .type = PARAM_INT, .def = 2000, .min = 1,
    .max = 50000, .unit = "members", .impact = &larger_impact,
    .doc = "How many members a group of users may have. Of a domain or a rule that matches more, "
           "the oldest accounts are in the group.",
    .changed = limit_changed,
};
struct setting groups_viewers_max = {
    .name = "groups.viewers-max", .scope = SCOPE_CLUSTER, .type = PARAM_INT, .def = 20000, .min = 1,
    .max = 100000, .unit = "users",
    .doc = "How many users of a domain may see the groups that are visible to the domain: the "
           "oldest accounts. Each of them gets the presence of all members.",
    .changed = limit_changed,
};
struct setting groups_together_max = {
    .name = "groups.together-max", .scope = SCOPE_CLUSTER, .type = PARAM_INT, .def = 200000,
    .min = 1, .max = 200000, .unit = "members",
    .doc = "How many members all groups of users may have together, and how many users the domains "
           "that may see groups. A change that needs more is refused. If accounts are made that "
           "need more, the newest are not in the largest groups.",
    .changed = limit_changed,
};
/* clang-format on */
static struct metric groups_rounds = {
    .name = "muster_groups_rounds",
    .kind = METRIC_COUNTER,
    .help = "Times that changes of groups were brought to all rosters.",
};

/* Rows. */

static const struct store_migration migrations[] = {
    { 1,
      "CREATE TABLE shared_group(name TEXT PRIMARY KEY, shown TEXT NOT NULL) WITHOUT ROWID;"
      "CREATE TABLE shared_group_member(name TEXT NOT NULL, jid TEXT NOT NULL, "
      "PRIMARY KEY(name, jid)) WITHOUT ROWID;"
      "CREATE INDEX shared_group_member_jid ON shared_group_member(jid);"
      "CREATE TABLE shared_group_rule(name TEXT NOT NULL, field TEXT NOT NULL, "
      "value TEXT NOT NULL, PRIMARY KEY(name, field, value)) WITHOUT ROWID;"
      "CREATE TABLE shared_group_viewer(name TEXT NOT NULL, kind TEXT NOT NULL, "
      "value TEXT NOT NULL, PRIMARY KEY(name, kind, value)) WITHOUT ROWID",
      "CREATE TABLE shared_group(name TEXT PRIMARY KEY, shown TEXT NOT NULL);"
      "CREATE TABLE shared_group_member(name TEXT NOT NULL, jid TEXT NOT NULL, "
      "PRIMARY KEY(name, jid));"
      "CREATE INDEX shared_group_member_jid ON shared_group_member(jid);"
      "CREATE TABLE shared_group_rule(name TEXT NOT NULL, field TEXT NOT NULL, "
      "value TEXT NOT NULL, PRIMARY KEY(name, field, value));"
      "CREATE TABLE shared_group_viewer(name TEXT NOT NULL, kind TEXT NOT NULL, "
      "value TEXT NOT NULL, PRIMARY KEY(name, kind, value))" },
    { 0 },
};
/* clang-format off */
struct store_stmt groups_stmt_put = {
    .name = "groups.put", .params = "tt", .cols = "",
    .sql = "INSERT INTO shared_group(name, shown) VALUES($1, $2)",
};
struct store_stmt groups_stmt_shown = {
    .name = "groups.shown", .params = "tt", .cols = "",
    .sql = "UPDATE shared_group SET shown = $2 WHERE name = $1",
};
struct store_stmt groups_stmt_drop = {
    .name = "groups.drop", .params = "t", .cols = "",
    .sql = "DELETE FROM shared_group WHERE name = $1",
};
struct store_stmt groups_stmt_drop_members = {
    .name = "groups.drop-members", .params = "t", .cols = "",
    .sql = "DELETE FROM shared_group_member WHERE name = $1",
};
struct store_stmt groups_stmt_drop_domains = {
    .name = "groups.drop-domains", .params = "t", .cols = "",
    .sql = "DELETE FROM shared_group_rule WHERE name = $1 AND field = 'domain'",
};
struct store_stmt groups_stmt_drop_rules = {
    .name = "groups.drop-rules", .params = "t", .cols = "",
    .sql = "DELETE FROM shared_group_rule WHERE name = $1 AND field <> 'domain'",
};
struct store_stmt groups_stmt_drop_viewers = {
    .name = "groups.drop-viewers", .params = "t", .cols = "",
    .sql = "DELETE FROM shared_group_viewer WHERE name = $1",
};
struct store_stmt groups_stmt_drop_viewed = {
    .name = "groups.drop-viewed", .params = "t", .cols = "",
    .sql = "DELETE FROM shared_group_viewer WHERE kind = 'group' AND value = $1",
};
struct store_stmt groups_stmt_viewer_put = {
    .name = "groups.viewer-put", .params = "ttt", .cols = "",
    .sql = "INSERT INTO shared_group_viewer(name, kind, value) SELECT g.name, $2, $3 "
           "FROM shared_group g WHERE g.name = $1 AND ($2 <> 'group' OR EXISTS(SELECT 1 "
           "FROM shared_group s WHERE s.name = $3)) ON CONFLICT(name, kind, value) DO NOTHING",
};
struct store_stmt groups_stmt_member_put = {
    .name = "groups.member-put", .params = "tt", .cols = "",
    .sql = "INSERT INTO shared_group_member(name, jid) SELECT g.name, a.jid FROM shared_group g, "
           "account a WHERE g.name = $1 AND a.jid = $2 ON CONFLICT(name, jid) DO NOTHING",
};
struct store_stmt groups_stmt_member_drop = {
    .name = "groups.member-drop", .params = "tt", .cols = "",
    .sql = "DELETE FROM shared_group_member WHERE name = $1 AND jid = $2",
};
static struct store_stmt stmt_places = {
    .name = "groups.places", .params = "t", .cols = "t",
    .sql = "SELECT name FROM shared_group_member WHERE jid = $1 ORDER BY name LIMIT 100",
};
static struct store_stmt groups_stmt_count = {
    .name = "groups.places-count", .params = "t", .cols = "i",
    .sql = "SELECT count(*) FROM shared_group_member WHERE jid = $1",
};
struct store_stmt groups_stmt_rule_put = {
    .name = "groups.rule-put", .params = "ttt", .cols = "",
    .sql = "INSERT INTO shared_group_rule(name, field, value) SELECT g.name, $2, $3 "
           "FROM shared_group g WHERE g.name = $1 ON CONFLICT(name, field, value) DO NOTHING",
};
struct store_stmt groups_stmt_rule_drop = {
    .name = "groups.rule-drop", .params = "ttt", .cols = "",
    .sql = "DELETE FROM shared_group_rule WHERE name = $1 AND field = $2 AND value = $3",
};
struct store_stmt groups_stmt_look = {
    .name = "groups.look", .params = "t", .cols = "iiii",
    .sql = "SELECT (SELECT count(*) FROM shared_group), "
           "(SELECT count(*) FROM shared_group WHERE name = $1), "
           "(SELECT count(*) FROM shared_group_member WHERE name = $1), "
           "(SELECT count(*) FROM shared_group_rule WHERE name = $1)",
};
struct store_stmt groups_stmt_look_user = {
    .name = "groups.look-user", .params = "tt", .cols = "ii",
    .sql = "SELECT (SELECT count(*) FROM account WHERE jid = $2), "
           "(SELECT count(*) FROM shared_group_member WHERE name = $1 AND jid = $2)",
};
struct store_stmt groups_stmt_list = {
    .name = "groups.list", .params = "ti", .cols = "ttii",
    .sql = "SELECT name, shown, "
           "(SELECT count(*) FROM shared_group_member m WHERE m.name = g.name), "
           "(SELECT count(*) FROM shared_group_rule r WHERE r.name = g.name) "
           "FROM shared_group g WHERE name > $1 ORDER BY name LIMIT $2",
};
struct store_stmt groups_stmt_show = {
    .name = "groups.show", .params = "t", .cols = "itt",
    .sql = "SELECT 0, 'shown', shown FROM shared_group WHERE name = $1 "
           "UNION ALL SELECT 1, kind, value FROM shared_group_viewer WHERE name = $1 "
           "UNION ALL SELECT 2, field, value FROM shared_group_rule WHERE name = $1 "
           "UNION ALL SELECT 3, 'member', jid FROM shared_group_member WHERE name = $1 "
           "ORDER BY 1, 2, 3",
};
struct store_stmt groups_stmt_named = {
    .name = "groups.named", .params = "tti", .cols = "t",
    .sql = "SELECT jid FROM shared_group_member WHERE name = $1 AND jid > $2 ORDER BY jid LIMIT $3",
};
static struct store_stmt stmt_forget = {
    .name = "groups.forget", .params = "t", .cols = "",
    .sql = "DELETE FROM shared_group_member WHERE jid = $1",
};
static struct store_stmt stmt_rename_rules = {
    .name = "groups.rename-rules", .params = "tt", .cols = "",
    .sql = "INSERT INTO shared_group_rule(name, field, value) SELECT name, field, $2 "
           "FROM shared_group_rule WHERE field = 'template' AND value = $1 "
           "ON CONFLICT(name, field, value) DO NOTHING",
};
static struct store_stmt stmt_drop_renamed = {
    .name = "groups.drop-renamed", .params = "t", .cols = "",
    .sql = "DELETE FROM shared_group_rule WHERE field = 'template' AND value = $1",
};
/* Of two transactions that fill a group, one waits for the other. */
static struct store_stmt stmt_hold = {
    .name = "groups.hold", .params = "t", .cols = "",
    .sql = "UPDATE shared_group SET shown = shown WHERE name = $1",
};
/* Changes nothing: a row, unless a group has $3 members by name. */
static struct store_stmt stmt_room = {
    .name = "groups.room", .params = "tti", .cols = "",
    .sql = "UPDATE account SET template = template WHERE jid = $2 AND NOT EXISTS(SELECT 1 FROM "
           "shared_group g WHERE g.name = $1 AND (SELECT count(*) FROM shared_group_member m "
           "WHERE m.name = g.name) >= $3)",
};
static const struct store_address addresses[] = {
    { "shared_group_member", "jid", .kind = STORE_JID, .beside = "name" },
    { "shared_group_rule", "value", .kind = STORE_JID, .beside = "name field",
      .only = "field = 'domain'", .not_alone = true },
    { "shared_group_viewer", "value", .kind = STORE_JID, .beside = "name kind",
      .only = "kind = 'domain'", .not_alone = true },
    { 0 },
};
/* clang-format on */
static const struct store_schema schema = {
    .feature = "groups",
    .migrations = migrations,
    .addresses = addresses,
    .stmts = (struct store_stmt *const[]){ &groups_stmt_groups,
                                           &groups_stmt_members,
                                           &groups_stmt_viewers,
                                           &groups_stmt_domains,
                                           &groups_stmt_follows,
                                           &groups_stmt_matched,
                                           &groups_stmt_larger,
                                           &groups_stmt_others,
                                           &groups_stmt_by_rule,
                                           &groups_stmt_in,
                                           &groups_stmt_too_many_see,
                                           &stmt_forget,
                                           &groups_stmt_count,
                                           &groups_stmt_put,
                                           &groups_stmt_shown,
                                           &groups_stmt_drop,
                                           &groups_stmt_drop_members,
                                           &groups_stmt_drop_domains,
                                           &groups_stmt_drop_rules,
                                           &groups_stmt_drop_viewers,
                                           &groups_stmt_drop_viewed,
                                           &groups_stmt_viewer_put,
                                           &groups_stmt_member_put,
                                           &groups_stmt_member_drop,
                                           &groups_stmt_rule_put,
                                           &groups_stmt_rule_drop,
                                           &groups_stmt_look,
                                           &groups_stmt_look_user,
                                           &groups_stmt_list,
                                           &groups_stmt_show,
                                           &groups_stmt_named,
                                           &stmt_places,
                                           &stmt_rename_rules,
                                           &stmt_drop_renamed,
                                           &stmt_hold,
                                           &stmt_room,
                                           NULL },
};

const char *groups_too_many(int64_t members, struct arena *arena)
{
    return arena_printf(arena, "found %lld members by name, allowed: %lld (groups.members-max)",
                        (long long)members, (long long)setting_int(&groups_members_max));
}

uint64_t groups_lane(void) { return hash_keyed(SLICE("groups")); }

/* News: something that groups are made of has changed. Brought to the home of the duty. */

static void groups_news_run(struct worker *w, void *message, const struct message_from *from);
static const struct message_row news_message = {
    .id = 172,
    .scope = MESSAGE_CLUSTER,
    .name = "groups-news",
    .size = sizeof(struct message_nothing),
    .fields = message_no_fields,
    .run = groups_news_run,
};

static void tell_news(struct worker *w)
{
    duty_send(w, DUTY_GROUPS, &news_message, &(struct message_nothing){ 0 });
}

/* One worker of a node reads for it; while the node starts, whichever is first. */
static pthread_mutex_t first_lock = PTHREAD_MUTEX_INITIALIZER;

struct reading {
    struct worker *worker;
    struct message_from from;
};

static void groups_table_read(struct worker *w, enum store_result result,
                              const struct store_batch *b)
{
    if (result == STORE_OK) {
        shared_offer(w, groups_table_made(w, b));
        return;
    }
    log_error(&log_groups, LOG_EV("groups.unread"), LOG_C("why", store_result_name(result)),
              LOG_C("hint", "rosters stay as they are; it is tried again"));
    tell_news(w);
}

static void reading_done(void *arg, enum store_result result, const struct store_batch *b)
{
    struct reading *r = arg;
    pthread_mutex_lock(&first_lock);
    groups_table_read(r->worker, result, b);
    pthread_mutex_unlock(&first_lock);
    question_end(r->worker, &r->from);
    mem_free(&r);
}

static void read_run(struct worker *w, void *message, const struct message_from *from)
{
    (void)message;
    if (worker_index(w) != 0) {
        question_end(w, from);
        return;
    }
    struct reading *r = mem_new(struct reading);
    struct store_batch *b = store_read(worker_store(w), groups_lane());
    *r = (struct reading){ w, *from };
    groups_reads_add(b);
    store_submit(b, worker_loop(w), 0, reading_done, r);
}

static const struct message_row read_message = {
    .id = 171,
    .scope = MESSAGE_CLUSTER,
    .name = "groups-read",
    .size = sizeof(struct message_nothing),
    .fields = message_no_fields,
    .run = read_run,
    .later = true,
};

/* Rounds, at the home of the duty. */

enum round { ROUND_NONE, ROUND_READ, ROUND_TAKE, ROUND_SHOW };

struct rounds {
    struct worker *worker;
    enum round round;
    bool again;           /* there was news since the round read */
    struct list waiting;  /* struct waiting: of the next round */
    struct list answered; /* of this round */
    struct timer timer;
};
struct waiting {
    struct list node;
    struct command_call *call;
    slice name;      /* of the group */
    const char *did; /* "added" */
};
static unsigned worker_slot;

static struct rounds *rounds_of(struct worker *w)
{
    struct rounds **r = (struct rounds **)worker_state(w, worker_slot);
    if (*r == NULL) {
        *r = mem_new(struct rounds);
        (*r)->worker = w;
        list_init(&(*r)->waiting);
        list_init(&(*r)->answered);
    }
    return *r;
}

static void round_next(struct worker *w, void *arg);

static void round_ask(struct rounds *r, const struct message_row *row, void *message)
{
    each_home(r->worker, row, message, &(struct asker){ .done = round_next, .arg = r });
}

static void round_begin(struct rounds *r)
{
    ensure(r->round == ROUND_NONE && list_empty(&r->answered));
    timer_cancel(&r->timer);
    r->again = false;
    r->round = ROUND_READ;
    for (struct list *first; (first = list_pop(&r->waiting)) != NULL;)
        list_append(&r->answered, first);
    round_ask(r, &read_message, &(struct message_nothing){ 0 });
}

static void timer_fired(struct timer *t, struct loop *loop)
{
    struct rounds *r = CONTAINER_OF(t, struct rounds, timer);
    (void)loop;
    if (r->round == ROUND_NONE)
        round_begin(r);
}

/* Those that a limit leaves out are told to whoever makes the change: the alarm is for others. */
static void groups_told(void *arg, enum store_result result, const struct store_batch *b)
{
    const struct waiting *w = arg;
    struct command_call *call = w->call;
    const char *text = arena_printf(call->arena, "%.*s: %s", SLICE_ARG(w->name), w->did);
    const struct shared *table = core_of(call->worker)->shared.now;
    uint32_t number = groups_number(table, w->name);
    if (result != STORE_OK || number == UINT32_MAX) {
        command_done(call, "%s", text);
        return;
    }
    int64_t matched = store_int(b, 0, 0, 0), most = setting_int(&groups_members_max);
    uint32_t in = table->sets[number].count;
    if (in >= most && matched > in)
        text = arena_printf(call->arena,
                            "%s; only the %" PRIu32 " oldest of %lld accounts that match are in it "
                            "(groups.members-max)",
                            text, in, (long long)matched);
    for (uint32_t i = 0; i < store_row_count(b, 1); i++)
        if (node_serves(worker_node(call->worker), store_text(b, 1, i, 0)))
            text =
                arena_printf(call->arena,
                             "%s; only the %lld oldest of %lld accounts of %.*s see it "
                             "(groups.viewers-max)",
                             text, (long long)setting_int(&groups_viewers_max),
                             (long long)store_int(b, 1, i, 1), SLICE_ARG(store_text(b, 1, i, 0)));
    command_done(call, "%s", text);
}

/* It is in the arena of its call. */
static void groups_count_left_out(struct worker *worker, struct waiting *w)
{
    struct store_batch *b = store_read(worker_store(worker), groups_lane());
    STORE_ADD(b, &groups_stmt_matched, 1, SV_T(w->name));
    STORE_ADD(b, &groups_stmt_too_many_see, STORE_ANY_ROWS, SV_T(w->name),
              SV_I(setting_int(&groups_viewers_max)));
    store_submit(b, worker_loop(worker), 0, groups_told, w);
}

static void round_end(struct rounds *r)
{
    ensure(r->round == ROUND_SHOW);
    r->round = ROUND_NONE;
    metric_add(&groups_rounds, 1);
    for (struct list *first; (first = list_pop(&r->answered)) != NULL;)
        groups_count_left_out(r->worker, CONTAINER_OF(first, struct waiting, node));
    if (!list_empty(&r->waiting))
        round_begin(r);
    else if (r->again)
        timer_set(worker_loop(r->worker), &r->timer, NEWS_MS);
}

static void round_next(struct worker *w, void *arg)
{
    struct rounds *r = arg;
    (void)w;
    ensure(r->round != ROUND_NONE);
    if (r->round == ROUND_SHOW) {
        round_end(r);
        return;
    }
    r->round++;
    round_ask(r, &shared_message,
              &(struct shared_do){ r->round == ROUND_TAKE ? SHARED_TAKE : SHARED_SHOW });
}

void groups_changed(struct command_call *call, slice name, const char *did)
{
    struct rounds *r = rounds_of(call->worker);
    ensure(duty_is_here(call->worker, DUTY_GROUPS));
    struct waiting *w = arena_new(call->arena, struct waiting, 1);
    w->call = call;
    w->name = name;
    w->did = did;
    list_append(&r->waiting, &w->node);
    if (r->round == ROUND_NONE)
        round_begin(r);
}

static void groups_news_run(struct worker *w, void *message, const struct message_from *from)
{
    struct rounds *r = rounds_of(w);
    ensure(worker_is_here(w));
    (void)message, (void)from;
    r->again = true;
    r->timer.fn = timer_fired;
    if (r->round == ROUND_NONE && !timer_is_set(&r->timer))
        timer_set(worker_loop(w), &r->timer, NEWS_MS);
}

/* All groups are made again by the new limit. That waits for no more news. */
static void limit_changed(struct worker *w, const struct setting *s)
{
    (void)s;
    if (!duty_is_here(w, DUTY_GROUPS))
        return;
    struct rounds *r = rounds_of(w);
    r->timer.fn = timer_fired;
    r->again = true;
    if (r->round == ROUND_NONE)
        round_begin(r);
}

/* Events. */

static void groups_account_news(struct worker *w, slice bare)
{
    if (groups_follow_accounts() || shared_find(core_of(w)->shared.now, bare) != NULL)
        tell_news(w);
}

static void groups_disowned(struct worker *w, slice bare)
{
    /* Whoever marks a person brings a table behind that, in which the mark is not. */
    bool gone = shared_gone(core_of(w)->shared.now, bare);
    if (gone || (node_is_home(w, bare) && groups_follow_accounts()))
        tell_news(w);
}

static void groups_disown(struct account *a, struct store_batch *b)
{
    STORE_ADD(b, &stmt_forget, STORE_ANY_ROWS, SV_T(a->jid));
}

/* A group that is gone takes nobody; one that is full ends the transaction. */
static void groups_template(struct store_batch *b, slice jid, const struct account_template *t)
{
    slice rest = t->groups, name;
    while (slice_word(&rest, &name)) {
        STORE_ADD(b, &stmt_hold, STORE_ANY_ROWS, SV_T(name));
        STORE_ADD(b, &stmt_room, 1, SV_T(name), SV_T(jid), SV_I(setting_int(&groups_members_max)));
        STORE_ADD(b, &groups_stmt_member_put, STORE_ANY_ROWS, SV_T(name), SV_T(jid));
    }
}

static void groups_template_limits(struct store_batch *b, const struct account_template *t)
{
    slice rest = t->groups, name;
    while (slice_word(&rest, &name))
        STORE_ADD(b, &groups_stmt_look, 1, SV_T(name));
}

static const char *groups_template_refusal(const struct store_batch *b, unsigned *at,
                                           const struct account_template *t, int64_t more,
                                           struct arena *arena)
{
    const char *text = NULL;
    slice rest = t->groups, name;
    while (slice_word(&rest, &name)) {
        unsigned stmt = (*at)++;
        int64_t is_there = store_int(b, stmt, 0, 1), members = store_int(b, stmt, 0, 2) + more;
        if (text == NULL && is_there != 0 && members >= setting_int(&groups_members_max))
            text = arena_printf(arena, "the group %.*s of the template: %s", SLICE_ARG(name),
                                groups_too_many(members + 1, arena));
    }
    return text;
}

static void groups_template_given(struct store_batch *b, slice jid,
                                  const struct account_template *t)
{
    if (t->groups.len == 0)
        return;
    STORE_ADD(b, &groups_stmt_in, STORE_ANY_ROWS, SV_T(jid), SV_I(setting_int(&groups_members_max)),
              SV_I(setting_int(&groups_together_max)));
    groups_template_limits(b, t);
}

static bool groups_row_names(const struct store_batch *b, unsigned stmt, slice name)
{
    for (uint32_t i = 0; i < store_row_count(b, stmt); i++)
        if (slice_eq(store_text(b, stmt, i, 0), name))
            return true;
    return false;
}

/* Full with members by rules, or all groups together: the transaction counts neither. */
static const char *groups_template_lacks(const struct store_batch *b, unsigned *at,
                                         const struct account_template *t, struct arena *arena)
{
    const char *names = NULL;
    slice rest = t->groups, name;
    if (rest.len == 0)
        return NULL;
    unsigned in = (*at)++;
    while (slice_word(&rest, &name))
        if (store_int(b, (*at)++, 0, 1) != 0 && !groups_row_names(b, in, name))
            names = arena_printf(arena, "%s %.*s", names == NULL ? "" : names, SLICE_ARG(name));
    return names == NULL ? NULL
                         : arena_printf(arena,
                                        "groups of the template that are full, so that the newest "
                                        "accounts are not in them (groups.members-max, "
                                        "groups.together-max):%s",
                                        names);
}

static void groups_template_renamed(struct store_batch *b, slice from, slice to)
{
    STORE_ADD(b, &stmt_rename_rules, STORE_ANY_ROWS, SV_T(from), SV_T(to));
    STORE_ADD(b, &stmt_drop_renamed, STORE_ANY_ROWS, SV_T(from));
}

static void groups_account_noted(struct store_batch *b, slice jid)
{
    STORE_ADD(b, &stmt_places, STORE_ANY_ROWS, SV_T(jid));
}

static void groups_account_note(const struct store_batch *b, unsigned *at, struct buf *out)
{
    unsigned places = (*at)++;
    size_t end = out->len + ACCOUNT_NOTE_MAX;
    for (uint32_t i = 0; i < store_row_count(b, places); i++) {
        slice name = store_text(b, places, i, 0);
        if (out->len + sizeof " group=" + name.len <= end)
            buf_printf(out, "%sgroup=%.*s", out->len > 0 ? " " : "", SLICE_ARG(name));
    }
}

/* No client is let in before the groups are known: the first worker of the node that is here
 * reads, the others wait for it. */
struct first {
    struct worker *worker;
};

static void first_done(void *arg, enum store_result result, const struct store_batch *b)
{
    groups_table_read(((struct first *)arg)->worker, result, b);
}

static void groups_start(struct worker *w)
{
    struct worker *leader = node_worker(worker_node(w), 0);
    pthread_mutex_lock(&first_lock);
    if (!core_of(leader)->shared.offered) {
        struct store_batch *b = store_read(worker_store(w), 0);
        groups_reads_add(b);
        (void)store_run(b, first_done, &(struct first){ w });
    }
    shared_begin(w);
    pthread_mutex_unlock(&first_lock);
}

static void groups_ended(struct worker *w)
{
    struct rounds *r = *worker_state(w, worker_slot);
    if (r != NULL)
        timer_cancel(&r->timer);
    mem_free(&r);
    *worker_state(w, worker_slot) = NULL;
}

static const struct template_part template_part = {
    .limits = groups_template_limits,
    .refusal = groups_template_refusal,
    .given = groups_template_given,
    .lacks = groups_template_lacks,
    .renamed = groups_template_renamed,
    .done = tell_news,
    .noted = groups_account_noted,
    .note = groups_account_note,
};

const struct feature groups_feature = {
    .name = "groups",
    .parts = PART_ACCOUNT | PART_PRESENCE,
    .schema = &schema,
    .facts = (const struct account_fact[]){ { "shared groups", &groups_stmt_count, 0 }, { 0 } },
    .settings = (struct setting *const[]){ &groups_max, &groups_members_max, &groups_viewers_max,
                                           &groups_together_max, NULL },
    .commands = groups_commands,
    .metrics = (struct metric *const[]){ &groups_count, &groups_people, &groups_rounds, NULL },
    .alarms = (struct alarm *const[]){ &groups_cut_alarm, NULL },
    .logs = (struct log_area *const[]){ &log_groups, NULL },
    .messages = (const struct message_row *const[]){ &read_message, &news_message, NULL },
    .account.template = groups_template,
    .account.created = groups_account_news,
    .account.profile_changed = groups_account_news,
    .account.disown = groups_disown,
    .account.disowned = groups_disowned,
    .worker.slot = &worker_slot,
    .worker.start = groups_start,
    .worker.ended = groups_ended,
    .one.templates = &template_part,
};
