#include "ext/groups/groups_table.h"
#include "account/shared.h"
#include "base/alarm.h"
#include "base/arena.h"
#include "base/ensure.h"
#include "base/metric.h"
#include "base/setting.h"
#include "core/core.h"
#include "ext/groups/groups.h"
#include "home/here.h"
#include "home/node.h"
#include <stdlib.h>

/* clang-format off */
struct alarm groups_cut_alarm = {
    .name = "groups.cut",
    .severity = ALARM_WARNING,
    .text = "A group of users is larger than it may be.",
    .action = "Raise groups.members-max or groups.viewers-max, or narrow what the group is made "
              "of: see `group show`.",
    .explanation = "The newest accounts are not in the group, or do not see it.",
    .raised_when = "A domain or rule of a group matches more accounts than groups.members-max, or "
                   "a domain that may see groups has more than groups.viewers-max. Or all groups, "
                   "or all these domains, have together more than groups.together-max: then the "
                   "largest are cut.",
    .cleared_when = "No group is cut, or groups are away.",
    .settings = "groups.members-max groups.viewers-max groups.together-max",
};
/* clang-format on */
struct metric groups_count = {
    .name = "muster_groups",
    .kind = METRIC_GAUGE,
    .help = "Groups of users that stand in rosters.",
};
struct metric groups_people = {
    .name = "muster_groups_people",
    .kind = METRIC_GAUGE,
    .help = "Users who are in such a group or may see one.",
};

/* Rows. */

#define OF_DOMAIN(value)                                                                           \
    "substr(a.jid, length(a.jid) - length(" value ")) = '@' || " value " AND "                     \
    "length(a.jid) > length(" value ") + 1"
/* clang-format off */
#define MATCHES(field, value)                                                                      \
    "CASE " field " WHEN 'domain' THEN " OF_DOMAIN(value)                                          \
    " WHEN 'department' THEN a.department = " value " WHEN 'template' THEN a.template = " value    \
    " WHEN 'email' THEN a.email = " value " WHEN 'given-name' THEN a.given_name = " value          \
    " WHEN 'surname' THEN a.surname = " value " WHEN 'directory-uri' THEN a.directory_uri = "      \
    value " WHEN 'source' THEN a.source = " value " END "
/* Accounts that tests log in with are in a group only by name, and see none by their domain. */
#define NO_TEST "NOT EXISTS (SELECT 1 FROM test_user t WHERE t.account = a.id)"
#define BY_RULE "FROM shared_group_rule r JOIN account a ON " MATCHES("r.field", "r.value")        \
    " AND " NO_TEST " "
#define MEMBERS "(SELECT m.name, a.id, a.jid, a.given_name, a.surname FROM shared_group_member m " \
    "JOIN account a ON a.jid = m.jid "                                                             \
    "UNION SELECT r.name, a.id, a.jid, a.given_name, a.surname " BY_RULE ") u"
struct store_stmt groups_stmt_groups = {
    .name = "groups.all", .params = "", .cols = "tt",
    .sql = "SELECT name, shown FROM shared_group ORDER BY name LIMIT 5000",
};
struct store_stmt groups_stmt_members = {
    .name = "groups.members", .params = "i", .cols = "tittt",
    .sql = "SELECT name, id, jid, given_name, surname FROM (SELECT name, id, jid, given_name, "
           "surname, row_number() OVER (PARTITION BY name ORDER BY id) AS place FROM " MEMBERS " "
           "ORDER BY place, name LIMIT $1) c ORDER BY name, id",
};
/* Groups that an account is in, as long as each and all together have no more than they may. */
struct store_stmt groups_stmt_in = {
    .name = "groups.in", .params = "tii", .cols = "t",
    .sql = "SELECT name FROM (SELECT name, jid, place FROM (SELECT name, jid, row_number() OVER "
           "(PARTITION BY name ORDER BY id) AS place FROM " MEMBERS ") p "
           "ORDER BY place, name LIMIT $3) c WHERE jid = $1 AND place <= $2",
};
/* How many all other groups have together, each at most as many as it may. */
struct store_stmt groups_stmt_others = {
    .name = "groups.others", .params = "ti", .cols = "i",
    .sql = "SELECT CAST(coalesce(sum(CASE WHEN n < $2 THEN n ELSE $2 END), 0) AS BIGINT) FROM "
           "(SELECT name, count(*) AS n FROM (SELECT m.name, a.id FROM shared_group_member m "
           "JOIN account a ON a.jid = m.jid UNION SELECT r.name, a.id " BY_RULE ") u "
           "WHERE name <> $1 GROUP BY name) c",
};
/* Accounts that a rule matches. */
struct store_stmt groups_stmt_by_rule = {
    .name = "groups.by-rule", .params = "tt", .cols = "i",
    .sql = "SELECT count(*) FROM account a JOIN (SELECT CAST($1 AS TEXT) AS field, "
           "CAST($2 AS TEXT) AS value) r ON " MATCHES("r.field", "r.value")
           " AND " NO_TEST,
};
/* Those of one group, also beyond its limit. */
struct store_stmt groups_stmt_matched = {
    .name = "groups.matched", .params = "t", .cols = "i",
    .sql = "SELECT count(*) FROM (SELECT a.id FROM shared_group_member m "
           "JOIN account a ON a.jid = m.jid WHERE m.name = $1 "
           "UNION SELECT a.id " BY_RULE "WHERE r.name = $1) a",
};
/* Groups that have more than this, also beyond their limit. */
struct store_stmt groups_stmt_larger = {
    .name = "groups.larger", .params = "i", .cols = "i",
    .sql = "SELECT count(*) FROM (SELECT name FROM (SELECT m.name, a.id "
           "FROM shared_group_member m JOIN account a ON a.jid = m.jid "
           "UNION SELECT r.name, a.id " BY_RULE ") u GROUP BY name HAVING count(*) > $1) c",
};
/* Domains that see one group, with more accounts than may. */
struct store_stmt groups_stmt_too_many_see = {
    .name = "groups.too-many-see", .params = "ti", .cols = "ti",
    .sql = "SELECT v.value, count(*) FROM shared_group_viewer v "
           "JOIN account a ON " OF_DOMAIN("v.value") " AND " NO_TEST
           " WHERE v.name = $1 AND v.kind = 'domain' "
           "GROUP BY v.value HAVING count(*) > $2 ORDER BY v.value",
};
struct store_stmt groups_stmt_viewers = {
    .name = "groups.viewers", .params = "", .cols = "ttt",
    .sql = "SELECT name, kind, value FROM shared_group_viewer ORDER BY name, kind, value",
};
struct store_stmt groups_stmt_domains = {
    .name = "groups.domains", .params = "i", .cols = "tit",
    .sql = "SELECT value, id, jid FROM (SELECT v.value, a.id, a.jid, row_number() OVER "
           "(PARTITION BY v.value ORDER BY a.id) AS place FROM (SELECT DISTINCT value FROM "
           "shared_group_viewer WHERE kind = 'domain') v JOIN account a ON " OF_DOMAIN("v.value")
           " AND " NO_TEST " ORDER BY place, value LIMIT $1) c ORDER BY value, id",
};
struct store_stmt groups_stmt_follows = {
    .name = "groups.follows", .params = "", .cols = "i",
    .sql = "SELECT (SELECT count(*) FROM shared_group_rule) + "
           "(SELECT count(*) FROM shared_group_viewer WHERE kind = 'domain')",
};
/* clang-format on */

/* In the order of groups_reads_add(). */
enum { READ_GROUPS, READ_MEMBERS, READ_VIEWERS, READ_DOMAINS, READ_FOLLOWS };

/* See groups_follow_accounts(). */
static _Atomic bool groups_follow;

bool groups_follow_accounts(void) { return atomic_load(&groups_follow); }

void groups_reads_add(struct store_batch *b)
{
    store_add(b, &groups_stmt_groups, STORE_ANY_ROWS, NULL, 0);
    STORE_ADD(b, &groups_stmt_members, STORE_ANY_ROWS, SV_I(setting_int(&groups_together_max)));
    store_add(b, &groups_stmt_viewers, STORE_ANY_ROWS, NULL, 0);
    STORE_ADD(b, &groups_stmt_domains, STORE_ANY_ROWS, SV_I(setting_int(&groups_together_max)));
    store_add(b, &groups_stmt_follows, STORE_ANY_ROWS, NULL, 0);
}

uint32_t groups_number(const struct shared *t, slice name)
{
    for (uint32_t i = 0; t != NULL && i < t->group_count; i++)
        if (slice_eq(t->groups[i].name, name))
            return i;
    return UINT32_MAX;
}

struct making {
    const struct node *node;
    const struct store_batch *b;
    struct shared *table;
    struct arena *tmp;
    slice *domains; /* set number group_count + i is of domain i */
    uint32_t domain_count;
    slice cut; /* what has more people than it may; ptr NULL: nothing */
};

/* Rows are in the order of the groups. UINT32_MAX: of a group that is gone. */
static uint32_t group_at(const struct making *m, slice name, uint32_t from)
{
    for (uint32_t i = from; i < m->table->group_count; i++)
        if (slice_eq(m->table->groups[i].name, name))
            return i;
    return UINT32_MAX;
}

static bool groups_is_served(const struct making *m, slice jid)
{
    return node_serves(m->node, jid_split(jid).domain);
}

static slice full_name(const struct making *m, uint32_t row)
{
    slice given = store_text(m->b, READ_MEMBERS, row, 3);
    slice surname = store_text(m->b, READ_MEMBERS, row, 4);
    if (given.len == 0 || surname.len == 0)
        return given.len == 0 ? surname : given;
    return slice_of(arena_printf(m->tmp, "%.*s %.*s", SLICE_ARG(given), SLICE_ARG(surname)));
}

/* Of a set are `count` rows there, the most of all. The rows are those of the first places of each:
 * where all are cut, it is at this place or the next. */
static bool are_cut(const struct making *m, unsigned read, uint32_t count, int64_t most)
{
    return store_row_count(m->b, read) >= setting_int(&groups_together_max) && count <= most;
}

static void make_members(struct making *m)
{
    uint32_t group = 0, rows = store_row_count(m->b, READ_MEMBERS);
    ensure(m->table->people_count == 0); /* sets are filled in their order */
    uint32_t place = 0, places = 0;      /* of the group; of the largest */
    slice last = { 0 };
    int64_t most = setting_int(&groups_members_max);
    for (uint32_t i = 0; i < rows; i++) {
        slice name = store_text(m->b, READ_MEMBERS, i, 0),
              jid = store_text(m->b, READ_MEMBERS, i, 2);
        place = slice_eq(name, last) ? place + 1 : 1;
        places = place > places ? place : places;
        last = name;
        uint32_t of = group_at(m, name, group);
        if (of == UINT32_MAX || !groups_is_served(m, jid))
            continue;
        group = of;
        if (m->table->sets[of].count < most)
            shared_put(m->table, of, jid, full_name(m, i));
        else
            m->cut = name;
    }
    if (are_cut(m, READ_MEMBERS, places, most))
        m->cut = SLICE("all together");
}

static uint32_t domain_set(const struct making *m, slice domain)
{
    uint32_t i = 0;
    while (i < m->domain_count && !slice_eq(m->domains[i], domain))
        i++;
    return i == m->domain_count ? UINT32_MAX : m->table->group_count + i;
}

static void make_domains(struct making *m)
{
    uint32_t rows = store_row_count(m->b, READ_DOMAINS), set = UINT32_MAX, place = 0, places = 0;
    int64_t most = setting_int(&groups_viewers_max);
    slice last = { 0 };
    for (uint32_t i = 0; i < rows; i++) {
        slice name = store_text(m->b, READ_DOMAINS, i, 0);
        place = slice_eq(name, last) ? place + 1 : 1;
        places = place > places ? place : places;
        if (place == 1)
            set = domain_set(m, name);
        last = name;
        if (set == UINT32_MAX)
            continue;
        if (m->table->sets[set].count < most)
            shared_put(m->table, set, store_text(m->b, READ_DOMAINS, i, 2), (slice){ 0 });
        else
            m->cut = name;
    }
    if (are_cut(m, READ_DOMAINS, places, most))
        m->cut = SLICE("all domains together");
}

static void make_viewers(struct making *m)
{
    uint32_t group = 0;
    for (uint32_t i = 0; i < store_row_count(m->b, READ_VIEWERS); i++) {
        uint32_t of = group_at(m, store_text(m->b, READ_VIEWERS, i, 0), group);
        slice kind = store_text(m->b, READ_VIEWERS, i, 1);
        slice value = store_text(m->b, READ_VIEWERS, i, 2);
        if (of == UINT32_MAX)
            continue;
        group = of;
        uint32_t set = slice_is(kind, "members")  ? of
                       : slice_is(kind, "domain") ? domain_set(m, value)
                                                  : group_at(m, value, 0);
        if (set != UINT32_MAX)
            shared_group_show(m->table, of, set);
    }
}

/* Domains that the node serves, in the order of the rows of READ_DOMAINS: by their bytes. */
static int by_bytes(const void *a, const void *b)
{
    return slice_compare(*(const slice *)a, *(const slice *)b);
}

static void find_domains(struct making *m)
{
    uint32_t rows = store_row_count(m->b, READ_VIEWERS), count = 0;
    slice *all = arena_new(m->tmp, slice, rows + 1);
    for (uint32_t i = 0; i < rows; i++)
        if (slice_is(store_text(m->b, READ_VIEWERS, i, 1), "domain") &&
            node_serves(m->node, store_text(m->b, READ_VIEWERS, i, 2)))
            all[count++] = store_text(m->b, READ_VIEWERS, i, 2);
    qsort(all, count, sizeof *all, by_bytes);
    for (uint32_t i = 0; i < count; i++)
        if (m->domain_count == 0 || !slice_eq(all[m->domain_count - 1], all[i]))
            all[m->domain_count++] = all[i];
    m->domains = all;
}

static void note_sizes(const struct making *m, const struct shared *was)
{
    metric_add(&groups_count,
               (int64_t)m->table->group_count - (was == NULL ? 0 : was->group_count));
    metric_add(&groups_people,
               (int64_t)m->table->people_count - (was == NULL ? 0 : was->people_count));
    if (m->cut.ptr != NULL)
        alarm_raise(&groups_cut_alarm, m->cut);
    else
        alarm_clear(&groups_cut_alarm);
}

/* Of no groups there is no table. */
struct shared *groups_table_made(struct worker *w, const struct store_batch *b)
{
    struct making m = { .node = worker_node(w), .b = b, .tmp = arena_create(0) };
    uint32_t groups = store_row_count(b, READ_GROUPS);
    ensure(store_stmt_count(b) == READ_FOLLOWS + 1);
    find_domains(&m);
    m.table = shared_create(groups, groups + m.domain_count);
    for (uint32_t i = 0; i < groups; i++)
        shared_group_name(m.table, i, store_text(b, READ_GROUPS, i, 0),
                          store_text(b, READ_GROUPS, i, 1));
    make_members(&m);
    make_domains(&m);
    make_viewers(&m);
    shared_seal(m.table);
    note_sizes(&m, core_of(node_worker(worker_node(w), 0))->shared.next);
    atomic_store(&groups_follow, store_int(b, READ_FOLLOWS, 0, 0) > 0);
    arena_destroy(&m.tmp);
    if (groups == 0)
        shared_unref(&m.table);
    return m.table;
}
