/* administrators: administrators of group chat, who are owners of every room (commands
 * `room-admin …`). The list is in the database; a set of its addresses is in memory for all
 * workers, replaced as a whole when the list changes. Rooms in which somebody of it is hear of the
 * change at once.
 *
 * Limit: ADMINISTRATORS_MAX of them. */
#include "account/account.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/command.h"
#include "base/ensure.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "core/feature.h"
#include "home/duty.h"
#include "home/here.h"
#include "home/node.h"
#include "home/question.h"
#include "home/texts.h"
#include "muc/muc.h"
#include "muc/parts.h"
#include "muc/people/affiliation.h"
#include "muc/people/find.h"
#include "muc/people/role.h"
#include "muc/people/show.h"
#include "muc/room/part.h"
#include "muc/room/room.h"
#include "muc/room/rooms.h"
#include "muc/room/settings.h"
#include "muc/state/reach.h"
#include "store/store.h"
#include "xmpp/muc.h"
#include <stdatomic.h>

/* The changes of the list, of the set and of the setting are told at the home of DUTY_ROOMS, so
 * that one follows the other. */

static void administrators_switched(struct worker *w, const struct setting *unused);

static struct setting muc_administrators_enabled = {
    .name = "muc.administrators-enabled",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_BOOL,
    .changed = administrators_switched,
    .doc = "Whether administrators of group chat are owners of every room.",
};

static const struct store_migration migrations[] = {
    { 1,
      "CREATE TABLE room_administrator(jid TEXT PRIMARY KEY, nick TEXT NOT NULL, "
      "description TEXT NOT NULL) WITHOUT ROWID",
      "CREATE TABLE room_administrator(jid TEXT PRIMARY KEY, nick TEXT NOT NULL, "
      "description TEXT NOT NULL)" },
    { 0 },
};
static struct store_stmt list_stmt = {
    .name = "room_administrator.list",
    .sql = "SELECT jid, nick, description FROM room_administrator ORDER BY jid",
    .params = "",
    .cols = "ttt",
};
/* One who is there already keeps what is not given (NULL). The account may be deleted meanwhile. */
static struct store_stmt put_stmt = {
    .name = "room_administrator.put",
    .sql = "INSERT INTO room_administrator(jid, nick, description) "
           "SELECT $1, COALESCE($2, ''), COALESCE($3, '') "
           "WHERE EXISTS(SELECT 1 FROM account WHERE jid = $1) "
           "AND (EXISTS(SELECT 1 FROM room_administrator WHERE jid = $1) "
           "OR (SELECT COUNT(*) FROM room_administrator) < $4) "
           "ON CONFLICT(jid) DO UPDATE SET nick = COALESCE($2, room_administrator.nick), "
           "description = COALESCE($3, room_administrator.description)",
    .params = "tTTi",
    .cols = "",
};
static struct store_stmt delete_stmt = {
    .name = "room_administrator.del",
    .sql = "DELETE FROM room_administrator WHERE jid = $1",
    .params = "t",
    .cols = "",
};
static struct store_stmt of_template_stmt = {
    .name = "room_administrator.of-template",
    .sql = "SELECT r.jid FROM room_administrator r JOIN account a ON a.jid = r.jid "
           "WHERE a.template = $1 ORDER BY r.jid",
    .params = "t",
    .cols = "t",
};
static const struct store_schema schema = {
    .feature = "muc_administrators",
    .migrations = migrations,
    .addresses =
        (const struct store_address[]){
            { "room_administrator", "jid", .kind = STORE_JID, .beside = "" }, { 0 } },
    .stmts = (struct store_stmt *const[]){ &list_stmt, &put_stmt, &delete_stmt, &of_template_stmt,
                                           NULL },
};

enum { ADMINISTRATORS_MAX = 1000, ADMINISTRATOR_TEXT_MAX = 1000, NEWS_BYTES_MAX = 8 << 20 };

/* The set: immutable once it is published; freed when every worker has passed by after it was
 * replaced. */
struct set {
    struct arena *arena;
    struct map members; /* a set of slices, in the arena */
};

static _Atomic(struct set *) current;

static struct set *set_make(void)
{
    struct arena *arena = arena_create(0);
    struct set *s = arena_new(arena, struct set, 1);
    s->arena = arena;
    map_init(&s->members, map_key_slice);
    return s;
}

static void set_add(struct set *s, slice bare)
{
    slice *jid = arena_new(s->arena, slice, 1);
    *jid = slice_dup(s->arena, bare);
    if (map_get(&s->members, *jid) == NULL)
        map_put(&s->members, jid);
}

static bool is_of_ours(const struct worker *w, slice jid)
{
    return node_serves(worker_node(w), jid_split(jid).domain);
}

/* Administrators of a domain that was ours have no rights: another server may have it now. */
static struct set *set_read(const struct worker *w, const struct store_batch *b, unsigned stmt)
{
    struct set *s = set_make();
    for (uint32_t i = 0; i < store_row_count(b, stmt); i++)
        if (is_of_ours(w, store_text(b, stmt, i, 0)))
            set_add(s, store_text(b, stmt, i, 0));
    return s;
}

static void set_free(struct set *s)
{
    if (s == NULL)
        return;
    struct arena *arena = s->arena;
    map_fini(&s->members);
    arena_destroy(&arena);
}

static bool set_has(const struct set *s, slice bare)
{
    return s != NULL && map_get(&s->members, bare) != NULL;
}

/* Also while muc.administrators-enabled is off: it may be turned on. */
static bool administrators_has(slice bare)
{
    return set_has(atomic_load_explicit(&current, memory_order_acquire), bare);
}

static bool administrators_own(slice bare)
{
    return setting_bool(&muc_administrators_enabled) && administrators_has(bare);
}

static void administrators_of_template(struct store_batch *b, slice template)
{
    STORE_ADD(b, &of_template_stmt, STORE_ANY_ROWS, SV_T(template));
}

static const struct account_power administrators_power = {
    .name = "an administrator of group chat",
    .permission = "rooms.write",
    .has = administrators_has,
    .of_template = administrators_of_template,
};

/* Telling the rooms. */

struct news {
    struct set *was, *is;
    struct command_call *call; /* NULL: nobody waits */
    const char *said;
};

/* One occupant whose affiliation is not what it should be; false: there is none. */
static bool settle_one(struct room *r, const struct set *who)
{
    static const struct show plain;
    ensure(room_here(r) && room_is_pinned(r));
    LIST_EACH (it, &r->occupants) {
        const struct occupant *o = CONTAINER_OF(it, struct occupant, node);
        slice bare = seat_bare(occupant_seat(o));
        if (!set_has(who, bare) || room_affiliation(r, bare) == (enum affiliation)o->affiliation)
            continue;
        bare = slice_dup(room_scratch(r), bare);
        room_affiliation_changed(r, bare, &plain);
        return true;
    }
    return false;
}

static void tell_room(struct room *r, void *arg)
{
    room_pin(r);
    while (settle_one(r, arg))
        ;
    room_unpin(r);
}

/* To every worker: these are administrators now, or are none any more. */
struct news_sent {
    slice who;
};

static void news_run(struct worker *w, void *message, const struct message_from *from)
{
    slice rest = ((const struct news_sent *)message)->who, jid;
    struct set *who = set_make();
    (void)from;
    while (texts_next(&rest, &jid))
        set_add(who, jid);
    rooms_each(w, tell_room, who);
    set_free(who);
}

static const struct message_field news_fields[] = {
    F_TEXTS(struct news_sent, who, NEWS_BYTES_MAX),
    { 0 },
};
static const struct message_row news_message = {
    .id = 86,
    .scope = MESSAGE_CLUSTER,
    .name = "administrators",
    .size = sizeof(struct news_sent),
    .fields = news_fields,
    .run = news_run,
};

static void administrators_told(struct worker *w, void *arg)
{
    struct news *n = arg;
    (void)w;
    if (n->was != n->is)
        set_free(n->was);
    if (n->call != NULL)
        command_done(n->call, "%s", n->said);
    mem_free(&n);
}

/* Adds the members of one set that are not in the other. */
static void news_add(struct buf *who, const struct set *of, const struct set *other)
{
    const slice *jid;
    for (uint32_t i = 0; of != NULL && (jid = map_next(&of->members, &i)) != NULL;)
        if (!set_has(other, *jid))
            texts_add(who, *jid);
}

/* At the home of DUTY_ROOMS. */
static void administrators_tell(struct worker *w, const struct news *what)
{
    struct news *n = mem_alloc(sizeof *n);
    struct buf who;
    *n = *what;
    buf_init(&who, NEWS_BYTES_MAX);
    ensure(duty_is_here(w, DUTY_ROOMS));
    news_add(&who, n->is, n->is == n->was ? NULL : n->was);
    if (n->is != n->was)
        news_add(&who, n->was, n->is);
    each_home(w, &news_message, &(struct news_sent){ buf_fit(&who) },
              &(struct asker){ .done = administrators_told, .arg = n });
    buf_fini(&who);
}

static void administrators_switched(struct worker *w, const struct setting *unused)
{
    struct set *now = atomic_load(&current);
    (void)unused;
    if (duty_is_here(w, DUTY_ROOMS))
        administrators_tell(w, &(struct news){ .was = now, .is = now });
}

static void administrators_are(struct worker *w, struct set *is, struct command_call *call,
                               const char *said)
{
    struct set *was = atomic_exchange(&current, is);
    administrators_tell(w, &(struct news){ was, is, call, said });
}

/* The list was read or changed: it is the last statement of the batch. At the home of DUTY_ROOMS.
 */
static void administrators_publish(struct worker *w, const struct store_batch *b, unsigned stmt,
                                   struct command_call *call, const char *said)
{
    administrators_are(w, set_read(w, b, stmt), call, said);
}

static void administrators_loaded(void *arg, enum store_result result, const struct store_batch *b)
{
    if (result == STORE_OK)
        administrators_publish(arg, b, 0, NULL, NULL);
    else
        log_error(&log_muc, LOG_EV("administrators.not_read"),
                  LOG_C("why", store_result_name(result)),
                  LOG_C("hint",
                        "group chat has no administrators until a restart; see alarm store.down"));
}

static void administrators_worker_start(struct worker *w)
{
    if (!duty_is_here(w, DUTY_ROOMS))
        return;
    struct store_batch *b = store_read(worker_store(w), 0);
    store_add(b, &list_stmt, STORE_ANY_ROWS, NULL, 0);
    store_run(b, administrators_loaded,
              w); /* the loop does not run yet: they are known before anybody asks */
}

static void administrators_worker_ended(struct worker *w)
{
    if (duty_is_here(w, DUTY_ROOMS))
        set_free(atomic_exchange(&current, NULL));
}

static void administrators_read_again(void *arg, enum store_result result,
                                      const struct store_batch *b);

/* A later account with that name is another user. */
static void administrators_removing(struct account *a, struct store_batch *b)
{
    STORE_ADD(b, &delete_stmt, STORE_ANY_ROWS, SV_T(a->jid));
}

static struct {
    unsigned writes; /* that answer with the list */
    bool deleted;    /* an account was, since they began: the list that comes may still have it */
} under_way;         /* at the home of DUTY_ROOMS */

static void administrators_write_begins(void) { under_way.writes++; }

static void administrators_write_ends(struct worker *w)
{
    ensure(duty_is_here(w, DUTY_ROOMS) && under_way.writes > 0);
    if (--under_way.writes > 0 || !under_way.deleted)
        return;
    under_way.deleted = false;
    struct store_batch *b = store_read(worker_store(w), 0);
    store_add(b, &list_stmt, STORE_ANY_ROWS, NULL, 0);
    administrators_write_begins();
    store_submit(b, worker_loop(w), 0, administrators_read_again, w);
}

static void administrators_read_again(void *arg, enum store_result result,
                                      const struct store_batch *b)
{
    administrators_loaded(arg, result, b);
    administrators_write_ends(arg);
}

static void administrators_account_deleted(struct worker *w, slice bare)
{
    const struct set *was = atomic_load(&current);
    const slice *jid;
    if (!duty_is_here(w, DUTY_ROOMS))
        return;
    under_way.deleted |= under_way.writes > 0;
    if (!set_has(was, bare))
        return;
    struct set *is = set_make();
    for (uint32_t i = 0; (jid = map_next(&was->members, &i)) != NULL;)
        if (!slice_eq(*jid, bare))
            set_add(is, *jid);
    administrators_are(w, is, NULL, NULL);
}

/* Commands. A task is in the arena of its call. */

struct task {
    struct command_call *call;
    struct worker *worker; /* the home of DUTY_ROOMS */
    slice jid;
};

static struct store_val text_or_null(slice text) { return text.ptr == NULL ? SV_NULL : SV_T(text); }

static void administrators_refuse(struct task *t, const struct store_batch *b)
{
    if (store_row_count(b, 1) < ADMINISTRATORS_MAX)
        command_fail(t->call, E_NOTFOUND, "the account %.*s has been deleted meanwhile",
                     SLICE_ARG(t->jid));
    else
        command_fail(t->call, E_LIMIT,
                     "there are %d administrators of group chat, as many as "
                     "there may be; `room-admin del` removes one",
                     ADMINISTRATORS_MAX);
}

static void administrators_added(void *arg, enum store_result result, const struct store_batch *b)
{
    struct task *t = arg;
    struct worker *w = t->worker;
    if (result != STORE_OK)
        command_fail_cause(t->call, err_of_store(result), "it could not be stored");
    else if (store_changed(b, 0) == 0)
        administrators_refuse(t, b);
    else
        administrators_publish(t->worker, b, 1, t->call,
                               arena_printf(t->call->arena,
                                            "%.*s is an administrator of group chat",
                                            SLICE_ARG(t->jid)));
    administrators_write_ends(w);
}

static void add_known(void *arg)
{
    struct task *t = arg;
    struct store_batch *b = store_write(worker_store(t->worker), 0);
    STORE_ADD(b, &put_stmt, STORE_ANY_ROWS, SV_T(t->jid),
              text_or_null(command_arg(t->call, "nick")),
              text_or_null(command_arg(t->call, "description")), SV_I(ADMINISTRATORS_MAX));
    store_add(b, &list_stmt, STORE_ANY_ROWS, NULL, 0);
    administrators_write_begins();
    store_submit(b, worker_loop(t->worker), STORE_UNTIL_DONE, administrators_added, t);
}

static struct task *administrators_task_new(struct command_call *call)
{
    struct task *t = arena_new(call->arena, struct task, 1);
    *t = (struct task){ call, call->worker, command_arg(call, "jid") };
    return t;
}

static void administrators_run_add(struct command_call *call)
{
    struct task *t = administrators_task_new(call);
    if (!is_of_ours(call->worker, t->jid)) {
        command_fail(call, E_CONFLICT,
                     "%.*s is of another server; administrators of group chat have an account here",
                     SLICE_ARG(t->jid));
        return;
    }
    command_idle_while_off(call, muc_administrators_enabled.name, "on");
    operate_with_known(call, t->jid, add_known, t);
}

static void administrators_deleted(void *arg, enum store_result result, const struct store_batch *b)
{
    struct task *t = arg;
    struct worker *w = t->worker;
    if (result != STORE_OK)
        command_fail_cause(t->call, err_of_store(result), "it could not be deleted");
    else if (store_changed(b, 0) == 0)
        command_fail(t->call, E_NOTFOUND, "%.*s is no administrator of group chat",
                     SLICE_ARG(t->jid));
    else
        administrators_publish(t->worker, b, 1, t->call,
                               arena_printf(t->call->arena,
                                            "%.*s is no administrator of group chat any more",
                                            SLICE_ARG(t->jid)));
    administrators_write_ends(w);
}

static void administrators_run_del(struct command_call *call)
{
    struct task *t = administrators_task_new(call);
    struct store_batch *b = store_write(worker_store(t->worker), 0);
    STORE_ADD(b, &delete_stmt, STORE_ANY_ROWS, SV_T(t->jid));
    store_add(b, &list_stmt, STORE_ANY_ROWS, NULL, 0);
    administrators_write_begins();
    store_submit(b, worker_loop(t->worker), STORE_UNTIL_DONE, administrators_deleted, t);
}

static void administrators_listed(void *arg, enum store_result result, const struct store_batch *b)
{
    struct command_call *call = arg;
    if (result != STORE_OK) {
        command_fail_cause(call, err_of_store(result), "the list cannot be read");
        return;
    }
    for (uint32_t i = 0; i < store_row_count(b, 0); i++) {
        command_row(call);
        command_text(call, "jid", store_text(b, 0, i, 0));
        command_text(call, "nick", store_text(b, 0, i, 1));
        command_text(call, "description", store_text(b, 0, i, 2));
    }
    command_done_listed_with(call, "jid",
                             setting_bool(&muc_administrators_enabled)
                                 ? ""
                                 : "muc.administrators-enabled is off: they are ordinary users");
}

static void administrators_run_list(struct command_call *call)
{
    struct worker *w = call->worker;
    struct store_batch *b = store_read(worker_store(w), 0);
    store_add(b, &list_stmt, STORE_ANY_ROWS, NULL, 0);
    store_submit(b, worker_loop(w), 0, administrators_listed, call);
}

static const struct command_arg add_args[] = {
    { .name = "jid",
      .kind = ARG_POSITIONAL,
      .type = PARAM_BARE,
      .doc = "address of a user: name@domain" },
    { .name = "nick",
      .kind = ARG_OPTION,
      .max = ADMINISTRATOR_TEXT_MAX,
      .doc = "nickname, for the list" },
    { .name = "description",
      .kind = ARG_OPTION,
      .max = ADMINISTRATOR_TEXT_MAX,
      .doc = "a note about the user, for the list" },
    { 0 },
};
static const struct command_arg del_args[] = {
    { .name = "jid",
      .kind = ARG_POSITIONAL,
      .type = PARAM_BARE,
      .doc = "address of a user: name@domain" },
    { 0 },
};
static struct command add_command = {
    .name = "room-admin add",
    .rest = "POST /room-admins",
    .effect = COMMAND_CHANGES,
    .area = "rooms",
    .args = add_args,
    .runs_at = COMMAND_DUTY,
    .duty = DUTY_ROOMS,
    .run = administrators_run_add,
    .doc = "Makes a user an administrator of group chat. Administrators are owners of every room, "
           "and have an account of this server. "
           "If the user is one already, changes nickname and description.",
};
static struct command del_command = {
    .name = "room-admin del",
    .rest = "DELETE /room-admins/{jid}",
    .effect = COMMAND_CHANGES,
    .area = "rooms",
    .args = del_args,
    .runs_at = COMMAND_DUTY,
    .duty = DUTY_ROOMS,
    .run = administrators_run_del,
    .doc = "Removes an administrator of group chat, at once.",
};
static struct command list_command = {
    .name = "room-admin list",
    .rest = "GET /room-admins",
    .effect = COMMAND_READS,
    .area = "rooms",
    .args = (const struct command_arg[]){ COMMAND_PAGE_ARGS("address"), { 0 } },
    .run = administrators_run_list,
    .doc = "Shows the administrators of group chat.",
    .columns =
        (const struct command_column[]){
            { .name = "jid", .type = PARAM_JID, .doc = "the administrator" },
            { .name = "nick", .doc = "nickname" },
            { .name = "description", .doc = "a note" },
            { 0 } },
};

const struct feature muc_administrators_feature = {
    .name = "muc_administrators",
    .parts = PART_ROOM,
    .schema = &schema,
    .power = &administrators_power,
    .settings = (struct setting *const[]){ &muc_administrators_enabled, NULL },
    .commands = (struct command *const[]){ &add_command, &del_command, &list_command, NULL },
    .worker.start = administrators_worker_start,
    .worker.ended = administrators_worker_ended,
    .account.disown = administrators_removing,
    .account.disowned = administrators_account_deleted,
    .messages = (const struct message_row *const[]){ &news_message, NULL },
};

const struct room_part administrators_part = {
    .name = "administrators",
    .owns = administrators_own,
};
