/* alias: further domains of group chat beside conference.<domain>: the one that the server makes of
 * the number of the node and the name of the cluster (setting muc.alias-automatic), and those that
 * operators add (commands `room-alias …`). Rooms can be made under each; a room belongs to the
 * domain that it was made under. Clients take the service that they are shown, or the last of
 * several, for new rooms: the domains that the server makes are in no list.
 *
 * The rows are in the database, the domains in the table of home/host.h. A made name that is made
 * otherwise now, or no longer, stays as an ordinary alias, so that its rooms are reached.
 *
 * Limit: HOST_DOMAINS_MAX aliases. */
#include "account/account.h"
#include "base/arena.h"
#include "base/command.h"
#include "base/ensure.h"
#include "base/log.h"
#include "base/setting.h"
#include "core/feature.h"
#include "home/duty.h"
#include "home/here.h"
#include "home/host.h"
#include "home/node.h"
#include "home/question.h"
#include "home/remote.h"
#include "muc/muc.h"
#include "muc/people/occupant.h"
#include "muc/people/show.h"
#include "muc/room/room.h"
#include "muc/room/rooms.h"
#include "ops/unserved.h"
#include "store/store.h"

static void automatic_changed(struct worker *w, const struct setting *unused);

static struct setting automatic = {
    .name = "muc.alias-automatic",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_BOOL,
    .def = 1,
    .changed = automatic_changed,
    .doc =
        "Gives group chat an additional domain on each node, "
        "conference-<node_id>-<cluster_id>.<domain>. Clients can use it, but do not see it in "
        "lists. Off: an existing one becomes an ordinary alias, which `room-alias del` can delete.",
};

static const struct store_migration migrations[] = {
    { 1,
      "CREATE TABLE room_alias(domain TEXT PRIMARY KEY, generated INTEGER NOT NULL, "
      "listed INTEGER NOT NULL) WITHOUT ROWID",
      "CREATE TABLE room_alias(domain TEXT PRIMARY KEY, generated BIGINT NOT NULL, "
      "listed BIGINT NOT NULL)" },
    { 0 },
};
static struct store_stmt list_stmt = {
    .name = "room_alias.list",
    .sql = "SELECT domain, generated, listed FROM room_alias ORDER BY domain",
    .params = "",
    .cols = "tii",
};
static struct store_stmt add_stmt = {
    .name = "room_alias.add",
    .sql = "INSERT INTO room_alias(domain, generated, listed) SELECT $1, 0, $2 "
           "WHERE (SELECT COUNT(*) FROM room_alias) < $3 ON CONFLICT(domain) DO NOTHING",
    .params = "tii",
    .cols = "",
};
static struct store_stmt generate_stmt = {
    .name = "room_alias.generate",
    .sql = "INSERT INTO room_alias(domain, generated, listed) VALUES($1, 1, 0) "
           "ON CONFLICT(domain) DO UPDATE SET generated = 1, listed = 0",
    .params = "t",
    .cols = "",
};
static struct store_stmt settle_stmt = {
    .name = "room_alias.settle",
    .sql = "UPDATE room_alias SET generated = 0 WHERE generated = 1",
    .params = "",
    .cols = "",
};
static struct store_stmt delete_stmt = {
    .name = "room_alias.del",
    .sql = "DELETE FROM room_alias WHERE domain = $1 AND generated = 0",
    .params = "t",
    .cols = "",
};
static struct store_stmt rooms_stmt = {
    .name = "room_alias.rooms",
    .sql = "SELECT domain, COUNT(*) FROM room GROUP BY domain ORDER BY domain",
    .params = "",
    .cols = "ti",
};
static struct store_stmt unserved_stmt = {
    .name = "room_alias.unserved",
    .sql = "SELECT domain, COUNT(*) FROM room WHERE domain NOT IN (SELECT domain FROM room_alias) "
           "GROUP BY domain ORDER BY domain",
    .params = "",
    .cols = "ti",
};
static struct store_stmt count_stmt = {
    .name = "room_alias.count",
    .sql = "SELECT COUNT(*) FROM room WHERE domain = $1",
    .params = "t",
    .cols = "i",
};
static const struct store_schema schema = {
    .feature = "muc_alias",
    .migrations = migrations,
    .addresses =
        (const struct store_address[]){
            { "room_alias", "domain", .kind = STORE_JID, .beside = "", .below = true }, { 0 } },
    .stmts = (struct store_stmt *const[]){ &list_stmt, &add_stmt, &generate_stmt, &settle_stmt,
                                           &delete_stmt, &rooms_stmt, &unserved_stmt, &count_stmt,
                                           NULL },
};

/* The longest domain of ours that it is below, else the first. */
static slice alias_parent_of(const struct node *n, slice domain)
{
    slice best = { 0 };
    for (unsigned i = 0; i < n->domain_count; i++) {
        slice d = n->domains[i];
        if (domain.len > d.len + 1 && domain.ptr[domain.len - d.len - 1] == '.' &&
            slice_eq(slice_from(domain, domain.len - d.len), d) && d.len > best.len)
            best = d;
    }
    return best.len > 0 ? best : n->domains[0];
}

static bool is_below(const struct node *n, slice domain)
{
    slice parent = alias_parent_of(n, domain);
    return domain.len > parent.len && slice_eq(slice_from(domain, domain.len - parent.len), parent);
}

/* The rows are statement `stmt` of the batch. */
static void alias_publish(struct worker *w, const struct store_batch *b, unsigned stmt,
                          node_fn *done, void *arg)
{
    const struct host *h = host_labelled(SLICE(MUC_LABEL));
    struct arena *tmp = arena_create(0);
    uint32_t count = h == NULL ? 0 : store_row_count(b, stmt);
    struct host_domain *list = arena_new(tmp, struct host_domain, count + 1);

    for (uint32_t i = 0; i < count; i++) {
        slice domain = store_text(b, stmt, i, 0);
        list[i] = (struct host_domain){ .domain = domain,
                                        .parent = alias_parent_of(worker_node(w), domain),
                                        .listed = store_int(b, stmt, i, 2) != 0 };
    }
    host_domains_set(w, h, list, count, done, arg);
    arena_destroy(&tmp);
}

/* The name for a domain of ours; empty: it would be none. */
static slice made_name(const struct node *n, slice domain, struct arena *tmp)
{
    slice out;
    char *name =
        arena_printf(tmp, MUC_LABEL "-%u-%s.%.*s", (unsigned)n->id, n->cluster, SLICE_ARG(domain));
    return n->cluster[0] != '\0' && jid_prep_domain(slice_of(name), tmp, &out) == OK ? out
                                                                                     : (slice){ 0 };
}

static void renewed(void *arg, enum store_result result, const struct store_batch *b)
{
    if (result == STORE_OK)
        alias_publish(arg, b, store_stmt_count(b) - 1, NULL, NULL);
    else
        log_error(
            &log_muc, LOG_EV("alias.not_stored"), LOG_C("why", store_result_name(result)),
            LOG_C("hint", "the alias of this node is missing; restart when the database works"));
}

/* The domains change at the home of DUTY_ROOMS alone, so that one change follows the other. */
static void alias_renew(struct worker *w)
{
    struct arena *tmp = arena_create(0);
    struct store_batch *b = store_write(worker_store(w), 0);
    store_add(b, &settle_stmt, STORE_ANY_ROWS, NULL, 0);
    for (unsigned i = 0; setting_bool(&automatic) && i < worker_node(w)->domain_count; i++) {
        slice name = made_name(worker_node(w), worker_node(w)->domains[i], tmp);
        if (name.len > 0)
            STORE_ADD(b, &generate_stmt, STORE_ANY_ROWS, SV_T(name));
    }
    store_add(b, &list_stmt, STORE_ANY_ROWS, NULL, 0);
    store_submit(b, worker_loop(w), 0, renewed, w);
    arena_destroy(&tmp);
}

static void automatic_changed(struct worker *w, const struct setting *unused)
{
    (void)unused;
    if (duty_is_here(w, DUTY_ROOMS))
        alias_renew(w);
}

static void read_at_start(void *arg, enum store_result result, const struct store_batch *b)
{
    if (result == STORE_OK)
        alias_publish(arg, b, 0, NULL, NULL);
}

/* The loop does not run yet: what is known is there before anybody asks for it. */
static void alias_worker_start(struct worker *w)
{
    if (!duty_is_here(w, DUTY_ROOMS))
        return;
    struct store_batch *b = store_read(worker_store(w), 0);
    store_add(b, &list_stmt, STORE_ANY_ROWS, NULL, 0);
    store_run(b, read_at_start, w);
    alias_renew(w);
}

/* Commands. A task is in the arena of its call. */

struct task {
    struct command_call *call;
    struct worker *worker; /* the home of DUTY_ROOMS */
    slice domain;
    const char *said;
    bool forced;
    int64_t rooms;
};

static struct task *alias_task_new(struct command_call *call)
{
    struct task *t = arena_new(call->arena, struct task, 1);
    *t =
        (struct task){ .call = call, .worker = call->worker, .domain = command_arg(call, "alias") };
    return t;
}

static void alias_done(struct worker *w, void *arg)
{
    struct task *t = arg;
    (void)w;
    command_done(t->call, "%s", t->said);
}

static bool is_service(const struct node *n, slice domain)
{
    slice label, parent;
    return slice_cut(domain, '.', &label, &parent) && node_serves(n, parent) &&
           host_labelled(label) != NULL;
}

static bool is_free(struct command_call *call, slice domain)
{
    const struct worker *w = call->worker;
    slice parent;
    const char *taken = NULL;
    if (node_serves(worker_node(w), domain))
        taken = "is a domain of users here; an alias is another one";
    else if (is_service(worker_node(w), domain))
        taken = "is a service of this server";
    else if (host_find(worker_node(w), domain, &parent) != NULL)
        taken = "is an alias already; one is unique in the cluster";
    else if (remote_known(w, domain))
        taken = "is a component's";
    if (taken != NULL)
        command_fail(call, E_EXISTS, "%.*s %s", SLICE_ARG(domain), taken);
    return taken == NULL;
}

static void alias_added(void *arg, enum store_result result, const struct store_batch *b)
{
    struct task *t = arg;
    bool below = is_below(worker_node(t->worker), t->domain);
    ensure(worker_is_here(t->worker));
    if (result != STORE_OK) {
        command_fail_cause(t->call, err_of_store(result), "it could not be stored");
        return;
    }
    if (store_changed(b, 0) == 0) {
        command_fail(t->call, E_LIMIT, "there are %d aliases, as many as there may be",
                     HOST_DOMAINS_MAX);
        return;
    }
    t->said = arena_printf(t->call->arena, "rooms can be made at %.*s%s%.*s", SLICE_ARG(t->domain),
                           below ? ""
                                 : "; a name below a domain of users is recommended, such as "
                                   "chat.",
                           below ? 0 : (int)worker_node(t->worker)->domains[0].len,
                           worker_node(t->worker)->domains[0].ptr);
    alias_publish(t->worker, b, 1, alias_done, t);
}

static void alias_run_add(struct command_call *call)
{
    struct task *t = alias_task_new(call);
    if (!is_free(call, t->domain))
        return;
    command_idle_while_off(call, "muc.enabled", "on");
    struct store_batch *b = store_write(worker_store(t->worker), 0);
    STORE_ADD(b, &add_stmt, STORE_ANY_ROWS, SV_T(t->domain), SV_I(!command_flag(call, "unlisted")),
              SV_I(HOST_DOMAINS_MAX));
    store_add(b, &list_stmt, STORE_ANY_ROWS, NULL, 0);
    store_submit(b, worker_loop(t->worker), STORE_UNTIL_DONE, alias_added, t);
}

/* Deletion: rooms under it are counted; then the row goes, then the domain, then who is in a room
 * there. */

struct alias_left {
    slice domain;
};
static const struct message_field alias_left_fields[] = { F_BARE(struct alias_left, domain),
                                                          { 0 } };

static void leave_room(struct room *r, void *arg)
{
    static const struct show gone = { .codes = "332" }; /* XEP-0045 §15.6.2 */
    const struct alias_left *left = arg;
    if (slice_eq(jid_split(r->jid).domain, left->domain))
        room_leave_all(r, &gone);
}

static void alias_left_run(struct worker *w, void *message, const struct message_from *from)
{
    (void)from;
    rooms_each(w, leave_room, message);
}

static const struct message_row alias_left_message = {
    .id = 89,
    .scope = MESSAGE_CLUSTER,
    .name = "alias-left",
    .size = sizeof(struct alias_left),
    .fields = alias_left_fields,
    .run = alias_left_run,
};

static void unpublished(struct worker *w, void *arg)
{
    const struct task *t = arg;
    each_home(w, &alias_left_message, &(struct alias_left){ t->domain },
              &(struct asker){ .done = alias_done, .arg = arg });
}

static void alias_deleted(void *arg, enum store_result result, const struct store_batch *b)
{
    struct task *t = arg;
    ensure(worker_is_here(t->worker) && t->rooms >= 0);
    if (result != STORE_OK) {
        command_fail_cause(t->call, err_of_store(result), "it could not be deleted");
        return;
    }
    if (store_changed(b, 0) == 0) {
        command_fail(t->call, E_NOTFOUND, "there is no alias %.*s that may be deleted",
                     SLICE_ARG(t->domain));
        return;
    }
    t->said = t->rooms == 0 ? "deleted"
                            : arena_printf(t->call->arena,
                                           "deleted; rooms under it that are not reached any more: "
                                           "%lld",
                                           (long long)t->rooms);
    alias_publish(t->worker, b, 1, unpublished, t);
}

static void delete_now(struct task *t)
{
    struct store_batch *b = store_write(worker_store(t->worker), 0);
    STORE_ADD(b, &delete_stmt, STORE_ANY_ROWS, SV_T(t->domain));
    store_add(b, &list_stmt, STORE_ANY_ROWS, NULL, 0);
    store_submit(b, worker_loop(t->worker), STORE_UNTIL_DONE, alias_deleted, t);
}

static void alias_counted(void *arg, enum store_result result, const struct store_batch *b)
{
    struct task *t = arg;
    if (result != STORE_OK) {
        command_fail_cause(t->call, err_of_store(result), "the rooms under it cannot be counted");
        return;
    }
    t->rooms += store_int(b, 0, 0, 0);
    if (t->rooms > 0 && !t->forced)
        command_fail(
            t->call, E_CONFLICT,
            "rooms of %.*s that could no longer be reached: %lld; --force deletes it anyway",
            SLICE_ARG(t->domain), (long long)t->rooms);
    else
        delete_now(t);
}

/* Ad hoc rooms under it, on each worker. */
struct rooms_counted {
    slice domain; /* of the question */
    uint64_t rooms;
};
static const struct message_field rooms_counted_fields[] = {
    F_BARE(struct rooms_counted, domain),
    F_U64(struct rooms_counted, rooms),
    { 0 },
};
static const struct message_row rooms_counted_message = {
    .id = 90,
    .scope = MESSAGE_CLUSTER,
    .name = "rooms-counted",
    .size = sizeof(struct rooms_counted),
    .fields = rooms_counted_fields,
};

static void count_adhoc(struct room *r, void *arg)
{
    struct rooms_counted *c = arg;
    c->rooms += !r->stored && slice_eq(jid_split(r->jid).domain, c->domain);
}

static void rooms_count_run(struct worker *w, void *message, const struct message_from *from)
{
    struct rooms_counted *c = message;
    rooms_each(w, count_adhoc, c);
    question_answer(w, from, &rooms_counted_message, c);
}

static const struct message_row rooms_count_message = {
    .id = 91,
    .scope = MESSAGE_CLUSTER,
    .name = "rooms-count",
    .size = sizeof(struct rooms_counted),
    .fields = rooms_counted_fields,
    .run = rooms_count_run,
    .answer = &rooms_counted_message,
};

static void rooms_counted(struct worker *w, void *arg, void *answer,
                          const struct message_from *from)
{
    struct task *t = arg;
    (void)w, (void)from;
    t->rooms += (int64_t)((const struct rooms_counted *)answer)->rooms;
}

static void count_stored(struct worker *w, void *arg)
{
    struct task *t = arg;
    struct store_batch *b = store_read(worker_store(w), 0);
    STORE_ADD(b, &count_stmt, STORE_ANY_ROWS, SV_T(t->domain));
    store_submit(b, worker_loop(w), 0, alias_counted, t);
}

/* Whether it is there, and may go. */
static void alias_looked_up(void *arg, enum store_result result, const struct store_batch *b)
{
    struct task *t = arg;
    if (result != STORE_OK) {
        command_fail_cause(t->call, err_of_store(result), "the aliases cannot be read");
        return;
    }
    for (uint32_t i = 0; i < store_row_count(b, 0); i++) {
        if (!slice_eq(store_text(b, 0, i, 0), t->domain))
            continue;
        if (store_int(b, 0, i, 1) != 0)
            command_fail(t->call, E_CONFLICT,
                         "%.*s is made by the server; `set muc.alias-automatic off` makes it an "
                         "ordinary one",
                         SLICE_ARG(t->domain));
        else
            each_home(t->worker, &rooms_count_message, &(struct rooms_counted){ t->domain, 0 },
                      &(struct asker){ .gather = rooms_counted, .done = count_stored, .arg = t });
        return;
    }
    command_fail(t->call, E_NOTFOUND, "there is no alias %.*s; `room-alias list` shows all",
                 SLICE_ARG(t->domain));
}

static void alias_run_del(struct command_call *call)
{
    struct task *t = alias_task_new(call);
    struct store_batch *b = store_read(worker_store(t->worker), 0);
    t->forced = command_flag(call, "force");
    store_add(b, &list_stmt, STORE_ANY_ROWS, NULL, 0);
    store_submit(b, worker_loop(t->worker), 0, alias_looked_up, t);
}

static void alias_listed(void *arg, enum store_result result, const struct store_batch *b)
{
    struct command_call *call = arg;
    const struct worker *w = call->worker;
    if (result != STORE_OK) {
        command_fail_cause(call, err_of_store(result), "the aliases cannot be read");
        return;
    }
    for (uint32_t i = 0; i < store_row_count(b, 0); i++) {
        slice domain = store_text(b, 0, i, 0);
        bool generated = store_int(b, 0, i, 1) != 0;
        command_row(call);
        command_text(call, "alias", domain);
        command_text(call, "domain", alias_parent_of(worker_node(w), domain));
        command_text(call, "made", generated ? SLICE("by the server") : SLICE("by hand"));
        command_bool(call, "listed", store_int(b, 0, i, 2) != 0);
    }
    command_done_listed(call, "alias");
}

static void alias_run_list(struct command_call *call)
{
    struct worker *w = call->worker;
    struct store_batch *b = store_read(worker_store(w), 0);
    store_add(b, &list_stmt, STORE_ANY_ROWS, NULL, 0);
    store_submit(b, worker_loop(w), 0, alias_listed, call);
}

/* The report: domains of stored rooms, those of ad hoc rooms, and aliases without rooms. */

struct tally {
    struct tally *next;
    slice domain;
    int64_t stored, adhoc;
};
struct report {
    struct command_call *call;
    struct tally *first;
};

static struct tally *tally_of(struct report *r, slice domain)
{
    struct tally **at = &r->first;
    while (*at != NULL && !slice_eq((*at)->domain, domain))
        at = &(*at)->next;
    if (*at == NULL) {
        *at = arena_new(r->call->arena, struct tally, 1);
        (*at)->domain = slice_dup(r->call->arena, domain);
    }
    return *at;
}

static void tally_room(struct room *r, void *arg)
{
    if (!r->stored)
        tally_of(arg, jid_split(r->jid).domain)->adhoc++;
}

static void tally_read(void *arg, enum store_result result, const struct store_batch *b)
{
    struct report *r = arg;
    struct command_call *call = r->call;
    const struct worker *w = call->worker;
    if (result != STORE_OK) {
        command_fail_cause(call, err_of_store(result), "the rooms cannot be counted");
        return;
    }
    for (uint32_t i = 0; i < store_row_count(b, 0); i++)
        tally_of(r, store_text(b, 0, i, 0))->stored = store_int(b, 0, i, 1);
    for (uint32_t i = 0; i < store_row_count(b, 1); i++)
        tally_of(r, store_text(b, 1, i, 0));
    for (const struct tally *t = r->first; t != NULL; t = t->next) {
        slice parent;
        command_row(call);
        command_text(call, "alias", t->domain);
        command_bool(call, "served", host_find(worker_node(w), t->domain, &parent) != NULL);
        command_int(call, "persistent", t->stored);
        command_int(call, "adhoc", t->adhoc);
    }
    command_done(call, "%s", "");
}

static struct report *report_new(struct command_call *call)
{
    const struct worker *w = call->worker;
    struct report *r = arena_new(call->arena, struct report, 1);
    r->call = call;
    for (unsigned i = 0; i < worker_node(w)->domain_count; i++)
        tally_of(r, slice_of(arena_printf(call->arena, MUC_LABEL ".%.*s",
                                          SLICE_ARG(worker_node(w)->domains[i]))));
    return r;
}

static void alias_run_report(struct command_call *call)
{
    struct report r = { .call = call };
    rooms_each(call->worker, tally_room, &r);
    for (const struct tally *t = r.first; t != NULL; t = t->next) {
        command_row(call);
        command_text(call, "alias", t->domain);
        command_int(call, "adhoc", t->adhoc);
    }
}

static void alias_report_gathered(struct command_call *call)
{
    const struct worker *w = call->worker;
    struct report *r = report_new(call);
    struct store_batch *b = store_read(worker_store(w), 0);
    for (const struct command_row *row = command_take_rows(call); row != NULL; row = row->next)
        tally_of(r, command_row_text(row, "alias"))->adhoc += command_row_int(row, "adhoc");
    store_add(b, &rooms_stmt, STORE_ANY_ROWS, NULL, 0);
    store_add(b, &list_stmt, STORE_ANY_ROWS, NULL, 0);
    store_submit(b, worker_loop(w), 0, tally_read, r);
}

static const struct command_arg add_args[] = {
    { .name = "alias",
      .kind = ARG_POSITIONAL,
      .type = PARAM_DOMAIN,
      .doc = "a domain that is not used otherwise, such as chat.<domain>" },
    { .name = "unlisted",
      .kind = ARG_FLAG,
      .type = PARAM_BOOL,
      .doc = "clients can use it, but do not see it in lists" },
    { 0 },
};
static const struct command_arg del_args[] = {
    { .name = "alias", .kind = ARG_POSITIONAL, .type = PARAM_DOMAIN, .doc = "the domain" },
    { .name = "force",
      .kind = ARG_FLAG,
      .type = PARAM_BOOL,
      .doc = "also if it has rooms, which cannot be reached then" },
    { 0 },
};
static struct command add_command = {
    .name = "room-alias add",
    .rest = "POST /room-aliases",
    .effect = COMMAND_CHANGES,
    .area = "rooms",
    .args = add_args,
    .runs_at = COMMAND_DUTY,
    .duty = DUTY_ROOMS,
    .run = alias_run_add,
    .doc = "Adds another domain for group chat. Rooms can be made there as at conference.<domain>.",
};
static struct command del_command = {
    .name = "room-alias del",
    .rest = "DELETE /room-aliases/{alias}",
    .effect = COMMAND_CHANGES,
    .area = "rooms",
    .args = del_args,
    .runs_at = COMMAND_DUTY,
    .duty = DUTY_ROOMS,
    .run = alias_run_del,
    .doc = "Deletes an alias. Its persistent rooms stay in the database and return when the alias "
           "is added again.",
};
static struct command list_command = {
    .name = "room-alias list",
    .rest = "GET /room-aliases",
    .effect = COMMAND_READS,
    .area = "rooms",
    .args = (const struct command_arg[]){ COMMAND_PAGE_ARGS("alias"), { 0 } },
    .run = alias_run_list,
    .doc = "Lists the aliases of group chat: their names, the domain of the server that each "
           "belongs to, and whether clients see them.",
    .columns =
        (const struct command_column[]){
            { .name = "alias", .type = PARAM_DOMAIN, .doc = "the domain" },
            { .name = "domain",
              .type = PARAM_DOMAIN,
              .doc = "the domain of users that it belongs to" },
            { .name = "made", .doc = "by the server, or by hand" },
            { .name = "listed", .type = PARAM_BOOL, .doc = "whether clients see it" },
            { 0 } },
};
static struct command report_command = {
    .name = "room-alias report",
    .effect = COMMAND_READS,
    .area = "rooms",
    .runs_at = COMMAND_EACH,
    .run = alias_run_report,
    .gathered = alias_report_gathered,
    .doc = "Counts the rooms in each domain of group chat. Deleted aliases are included.",
    .columns =
        (const struct command_column[]){
            { .name = "alias", .type = PARAM_DOMAIN, .doc = "the domain" },
            { .name = "served", .type = PARAM_BOOL, .doc = "whether rooms can be reached there" },
            { .name = "persistent", .type = PARAM_INT, .doc = "persistent rooms" },
            { .name = "adhoc", .type = PARAM_INT, .doc = "ad hoc rooms" },
            { 0 } },
};

static void alias_start(void) { unserved_rooms(&unserved_stmt, MUC_LABEL); }

const struct feature muc_alias_feature = {
    .name = "muc_alias",
    .start = alias_start,
    .parts = PART_ROOM,
    .schema = &schema,
    .settings = (struct setting *const[]){ &automatic, NULL },
    .commands = (struct command *const[]){ &add_command, &del_command, &list_command,
                                           &report_command, NULL },
    .messages = (const struct message_row *const[]){ &alias_left_message, &rooms_count_message,
                                                     &rooms_counted_message, NULL },
    .worker.start = alias_worker_start,
};
