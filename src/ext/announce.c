/* announce: messages of administrators to users: announcements to all online users or all accounts,
 * a message of the day that each user gets once, and a welcome message for new accounts.
 *
 * The message of the day is in memory for the whole process. Each account that got it has a row,
 * which is read at login. Each new message has a higher number.
 *
 * Limits: ANNOUNCE_BYTES_MAX; accounts are walked through PAGE_MS after PAGE_MS. */
#include "ops/announce.h"
#include "account/account.h"
#include "auth/credentials.h"
#include "base/arena.h"
#include "base/command.h"
#include "base/ensure.h"
#include "base/mem.h"
#include "base/setting.h"
#include "core/command_form.h"
#include "core/feature.h"
#include "ext/ext.h"
#include "home/duty.h"
#include "home/here.h"
#include "home/question.h"
#include "home/ticket.h"
#include "io/timer.h"
#include "ops/jobs.h"
#include "ops/outside_users.h"
#include "session/session.h"
#include <stdatomic.h>

enum { PAGE_MS = 50 };

static struct setting announce_subject = {
    .name = "announce.subject",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_TEXT,
    .max = 200,
    .def_text = "Announcement",
    .told = true,
    .doc = "The subject of announcements, the message of the day and the welcome message.",
};
static struct setting announce_welcome = {
    .name = "announce.welcome",
    .scope = SCOPE_DOMAIN,
    .type = PARAM_TEXT,
    .max = 4000,
    .def_text = "",
    .told = true,
    .doc = "A message that every new account gets. Empty: none.",
};

static const struct store_migration migrations[] = {
    { 1,
      "CREATE TABLE motd(id INTEGER PRIMARY KEY, number INTEGER NOT NULL, text TEXT NOT NULL);"
      "CREATE TABLE motd_seen(owner INTEGER PRIMARY KEY, number INTEGER NOT NULL)",
      "CREATE TABLE motd(id BIGINT PRIMARY KEY, number BIGINT NOT NULL, text TEXT NOT NULL);"
      "CREATE TABLE motd_seen(owner BIGINT PRIMARY KEY, number BIGINT NOT NULL)" },
    { 0 },
};
static struct store_stmt motd_load = {
    .name = "motd.get",
    .sql = "SELECT number, text FROM motd WHERE id = 1",
    .params = "",
    .cols = "it",
};
static struct store_stmt motd_put = {
    .name = "motd.put",
    .sql = "INSERT INTO motd(id, number, text) VALUES(1, 1, $1) ON CONFLICT(id) DO UPDATE SET "
           "number = motd.number + 1, text = excluded.text RETURNING number",
    .params = "t",
    .cols = "i",
};
/* An empty one stays, so that numbers rise. */
static struct store_stmt motd_change = {
    .name = "motd.change",
    .sql = "UPDATE motd SET text = $1 WHERE id = 1 AND text <> '' RETURNING number",
    .params = "t",
    .cols = "i",
};
static struct store_stmt motd_seen = {
    .name = "motd.seen",
    .sql = "SELECT number FROM motd_seen WHERE owner = $1",
    .params = "i",
    .cols = "i",
};
static struct store_stmt motd_see = {
    .name = "motd.see",
    .sql = "INSERT INTO motd_seen(owner, number) SELECT $1, $2 FROM account WHERE id = $1 "
           "ON CONFLICT(owner) DO UPDATE SET number = excluded.number "
           "WHERE motd_seen.number < excluded.number",
    .params = "ii",
    .cols = "",
};
static struct store_stmt motd_forget = {
    .name = "motd.forget",
    .sql = "DELETE FROM motd_seen WHERE owner = $1",
    .params = "i",
    .cols = "",
};
static const struct store_schema schema = {
    .feature = "announce",
    .migrations = migrations,
    .stmts = (struct store_stmt *const[]){ &motd_load, &motd_put, &motd_change, &motd_seen,
                                           &motd_see, &motd_forget, NULL },
};

/* Written by the worker whose command was committed last; immutable, and old ones stay, as changes
 * are rare and readers hold no lock. */
struct motd {
    struct motd *before; /* so that it is known who owns it */
    int64_t number;
    size_t len;
    char text[];
};
static _Atomic(struct motd *) motd_now;

static const struct motd *motd_current(void)
{
    const struct motd *m = atomic_load_explicit(&motd_now, memory_order_acquire);
    return m == NULL || m->len == 0 ? NULL : m;
}

static const char *motd_text(void)
{
    const struct motd *m = motd_current();
    return m == NULL ? "" : m->text;
}

static void motd_set(int64_t number, slice text)
{
    struct motd *before = atomic_load(&motd_now);
    struct motd *m = mem_alloc(sizeof *m + text.len + 1);
    *m = (struct motd){ .number = number, .len = text.len };
    if (text.len > 0)
        memcpy(m->text, text.ptr, text.len);
    m->text[text.len] = '\0';
    do {
        if (before != NULL && before->number > number) { /* set by somebody else meanwhile */
            mem_free(&m);
            return;
        }
        m->before = before;
    } while (!atomic_compare_exchange_weak(&motd_now, &before, m));
}

static slice content_of(struct arena *arena, slice text)
{
    return announce_content(arena, slice_of(setting_text(&announce_subject)), text);
}

static void ext_announce_say(struct account *a, slice text)
{
    struct arena *arena = arena_create(0);
    announce_to(a->worker, a->jid, content_of(arena, text), ORIGIN_NONE);
    arena_destroy(&arena);
}

/* Sends the message of the day to an account that has not got it. The row is written first, so that
 * a crash in between does not send it twice. */
struct offer {
    struct account *account; /* pinned */
    const struct motd *motd;
};

static void offer_end(struct offer *o)
{
    account_unpin(o->account);
    mem_free(&o);
}

static void offer_written(void *arg, enum store_result result, const struct store_batch *b)
{
    struct offer *o = arg;
    const struct motd *m = o->motd;
    ensure(account_here(o->account) && account_is_pinned(o->account));
    if (result == STORE_OK && store_changed(b, 0) > 0 && o->account->state == ACTOR_READY)
        ext_announce_say(o->account, (slice){ m->text, m->len });
    offer_end(o);
}

static void offer_read(void *arg, enum store_result result, const struct store_batch *b)
{
    struct offer *o = arg;
    const struct account *a = o->account;
    ensure(account_here(a) && account_is_pinned(a));
    if (result != STORE_OK || a->state != ACTOR_READY ||
        (store_row_count(b, 0) > 0 && store_int(b, 0, 0, 0) >= o->motd->number)) {
        offer_end(o);
        return;
    }
    struct store_batch *write = store_write(worker_store(a->worker), account_lane(a));
    STORE_ADD(write, &motd_see, STORE_ANY_ROWS, SV_I(a->id), SV_I(o->motd->number));
    store_submit(write, worker_loop(a->worker), 0, offer_written, o);
}

static void offer_motd(struct account *a)
{
    const struct motd *m = motd_current();
    if (m == NULL || outside_is_test(a))
        return;
    struct offer *o = mem_new(struct offer);
    struct store_batch *b = store_read(worker_store(a->worker), account_lane(a));
    *o = (struct offer){ a, m };
    account_pin(a);
    STORE_ADD(b, &motd_seen, STORE_ANY_ROWS, SV_I(a->id));
    store_submit(b, worker_loop(a->worker), 0, offer_read, o);
}

static void ext_announce_available(struct session *s) { offer_motd(s->account); }

static void ext_announce_removing(struct account *a, struct store_batch *b)
{
    STORE_ADD(b, &motd_forget, STORE_ANY_ROWS, SV_I(a->id));
}

static struct list paging; /* struct task: announcements whose next page waits */

static void motd_loaded(void *arg, enum store_result result, const struct store_batch *b)
{
    (void)arg;
    if (result == STORE_OK && store_row_count(b, 0) > 0)
        motd_set(store_int(b, 0, 0, 0), store_text(b, 0, 0, 1));
}

static void ext_announce_worker_start(struct worker *w)
{
    if (!duty_is_here(w, DUTY_ANNOUNCE))
        return;
    ensure(worker_is_here(w));
    list_init(&paging);
    struct store_batch *b = store_read(worker_store(w), 0);
    store_add(b, &motd_load, STORE_ANY_ROWS, NULL, 0);
    store_submit(b, worker_loop(w), 0, motd_loaded, NULL);
}

static void ext_announce_created(struct worker *w, slice bare)
{
    slice text = setting_text_of(&announce_welcome, jid_split(bare).domain);
    if (text.len == 0)
        return;
    struct arena *arena = arena_create(0);
    announce_to(w, bare, content_of(arena, text), ORIGIN_NONE);
    arena_destroy(&arena);
}

/* Commands; in the arena of their call. */

struct task {
    struct command_call *call;
    uint64_t job; /* 0: it is none */
    struct worker *worker;
    slice content, text;
    char *after; /* the account where the next page begins */
    long long told;
    struct origin part;   /* ends when all whom it was sent to have it on disk */
    enum err end;         /* of reading the accounts */
    const char *canceled; /* as job_canceled() */
    struct list node;     /* in paging */
    struct timer timer;
};

static struct task *ext_announce_task_new(struct command_call *call, slice text)
{
    struct task *t = arena_new(call->arena, struct task, 1);
    *t = (struct task){ .call = call, .worker = call->worker, .text = text };
    t->content = content_of(call->arena, text);
    return t;
}

static void online_told(struct worker *w, void *arg)
{
    struct task *t = arg;
    (void)w;
    command_done(t->call, "sent to all online users");
}

static void all_told(struct worker *w, enum err e, uint32_t refused, void *arg)
{
    struct task *t = arg;
    enum err end = t->end != OK ? t->end : e;
    const char *why = t->canceled != NULL ? t->canceled
                      : t->end != OK      ? "the others could not be read"
                      : e != OK           ? "a node ended, and some of them may not have it"
                      : refused == 0      ? ""
                                          : "the others refused it, or their mailboxes are full";
    const char *gap = *why != '\0' ? "; " : "";
    long long told = t->told - refused;
    ensure(worker_is_here(w));
    if (end == OK)
        command_done(t->call, "accounts that it was sent to: %lld%s%s", told, gap, why);
    else
        command_fail(t->call, end, "accounts that it was sent to: %lld%s%s", told, gap, why);
}

static void page(void *arg, enum err e, const struct credentials_row *rows, uint32_t count);

static void next_page(struct timer *timer, struct loop *loop)
{
    struct task *t = CONTAINER_OF(timer, struct task, timer);
    (void)loop;
    list_remove(&t->node);
    credentials_list(worker_auth(t->worker), (slice){ "", 0 }, slice_of(t->after), page, t);
}

static void page(void *arg, enum err e, const struct credentials_row *rows, uint32_t count)
{
    struct task *t = arg;
    ensure(worker_is_here(t->worker) && count <= CREDENTIALS_PAGE_MAX);
    t->canceled = e == OK && count > 0 ? job_canceled(t->job) : NULL;
    t->end = t->canceled != NULL ? E_CANCELED : e;
    for (uint32_t i = 0; i < count && t->end == OK; i++) {
        if (rows[i].disabled)
            continue;
        announce_to(t->worker, rows[i].jid, t->content, t->part);
        t->told++;
    }
    job_tell(t->job, "accounts: %lld", t->told);
    if (t->end != OK || count < CREDENTIALS_PAGE_MAX) {
        ticket_join_close(t->worker, t->part);
        return;
    }
    t->after = slice_cstr(t->call->arena, rows[count - 1].jid);
    list_append(&paging, &t->node);
    timer_set(worker_loop(t->worker), &t->timer, PAGE_MS);
}

static void ext_announce_worker_stop(struct worker *w)
{
    struct list *it;
    while (duty_is_here(w, DUTY_ANNOUNCE) && (it = list_pop(&paging)) != NULL)
        timer_cancel(&CONTAINER_OF(it, struct task, node)->timer);
}

static void run_announce(struct command_call *call)
{
    struct task *t = ext_announce_task_new(call, command_arg(call, "text"));
    t->after = slice_cstr(call->arena, SLICE(""));
    t->timer.fn = next_page;
    if (command_flag(call, "all")) {
        t->job = job_begin(call);
        t->part = ticket_join_for(t->worker, (slice){ "", 0 }, all_told, t);
        next_page(&t->timer, worker_loop(t->worker));
    } else {
        announce_online(t->worker, t->content, online_told, t);
    }
}

static void offer_run(struct worker *w, void *message, const struct message_from *from)
{
    struct account *a;
    (void)message, (void)from;
    ensure(worker_is_here(w));
    for (uint32_t i = 0; (a = accounts_next(w, &i)) != NULL;)
        if (a->state == ACTOR_READY && account_available(a) > 0)
            offer_motd(a);
}

static const struct message_row offer_message = {
    .id = 45,
    .scope = MESSAGE_CLUSTER,
    .name = "motd-offer",
    .size = sizeof(struct message_nothing),
    .fields = message_no_fields,
    .run = offer_run,
};

static void motd_done(struct worker *w, void *arg)
{
    struct task *t = arg;
    (void)w;
    command_done(t->call, t->text.len > 0 ? "the message of the day is set"
                                          : "the message of the day is deleted");
}

static void motd_written(void *arg, enum store_result result, const struct store_batch *b)
{
    struct task *t = arg;
    if (result != STORE_OK) {
        command_fail_cause(t->call, err_of_store(result), "the message of the day was not stored");
    } else if (store_row_count(b, 0) == 0) {
        if (t->text.len > 0)
            command_fail(t->call, E_NOTFOUND,
                         "there is no message of the day; `motd set` sets one");
        else
            command_done(t->call, "there was no message of the day");
    } else {
        motd_set(store_int(b, 0, 0, 0), t->text);
        each_home(t->worker, &offer_message, &(struct message_nothing){ 0 },
                  &(struct asker){ .done = motd_done, .arg = t });
    }
}

static void motd_write(struct command_call *call, const struct store_stmt *stmt, slice text)
{
    struct worker *w = call->worker;
    struct store_batch *b = store_write(worker_store(w), 0);
    STORE_ADD(b, stmt, STORE_ANY_ROWS, SV_T(text));
    store_submit(b, worker_loop(w), STORE_UNTIL_DONE, motd_written,
                 ext_announce_task_new(call, text));
}

static void run_motd_set(struct command_call *call)
{
    motd_write(call, &motd_put, command_arg(call, "text"));
}

static void run_motd_edit(struct command_call *call)
{
    motd_write(call, &motd_change, command_arg(call, "text"));
}

static void run_motd_del(struct command_call *call) { motd_write(call, &motd_change, SLICE("")); }

static void run_motd_show(struct command_call *call)
{
    const struct motd *m = motd_current();
    if (m != NULL) {
        command_row(call);
        command_int(call, "number", m->number);
        command_text(call, "text", slice_of(m->text));
    }
    command_done(call, m == NULL ? "there is none" : "%s", "");
}

static const struct command_arg announce_args[] = {
    { .name = "text",
      .kind = ARG_POSITIONAL,
      .min = 1,
      .max = ANNOUNCE_BYTES_MAX,
      .doc = "what to say" },
    { .name = "all",
      .kind = ARG_FLAG,
      .type = PARAM_BOOL,
      .doc = "to all accounts; users who are offline get it at their next login" },
    { 0 },
};
static const struct command_arg text_args[] = {
    { .name = "text",
      .kind = ARG_POSITIONAL,
      .min = 1,
      .max = ANNOUNCE_BYTES_MAX,
      .doc = "what it says" },
    { 0 },
};
static struct command announce_command = {
    .name = "announce",
    .rest = "POST /announcements",
    .effect = COMMAND_CHANGES,
    .area = "announcements",
    .args = announce_args,
    .runs_at = COMMAND_DUTY,
    .duty = DUTY_ANNOUNCE,
    .job = true,
    .run = run_announce,
    .doc = "Sends a message to all online users, or to all accounts.",
};
static struct command motd_set_command = {
    .name = "motd set",
    .rest = "PUT /motd",
    .effect = COMMAND_CHANGES,
    .area = "announcements",
    .args = text_args,
    .run = run_motd_set,
    .doc = "Sets the message of the day. Each user gets it once, now or at the next login.",
};
static struct command motd_edit_command = {
    .name = "motd edit",
    .effect = COMMAND_CHANGES,
    .area = "announcements",
    .args = text_args,
    .run = run_motd_edit,
    .doc =
        "Changes the message of the day. Users who have already received it do not get it again.",
};
static struct command motd_del_command = {
    .name = "motd del",
    .rest = "DELETE /motd",
    .effect = COMMAND_CHANGES,
    .area = "announcements",
    .run = run_motd_del,
    .doc = "Deletes the message of the day.",
};
static struct command motd_show_command = {
    .name = "motd show",
    .rest = "GET /motd",
    .effect = COMMAND_READS,
    .area = "announcements",
    .run = run_motd_show,
    .doc = "Shows the message of the day.",
    .columns =
        (const struct command_column[]){
            { .name = "number", .type = PARAM_INT, .doc = "its number" },
            { .name = "text", .doc = "what it says" },
            { 0 } },
};

/* Their forms (XEP-0133 §4.23 to §4.28). */

static const struct command_ask announcement[] = {
    COMMAND_NEED("announcement", FORM_TEXT_MULTI, "Announcement", .use = USE_LINES, .arg = "text"),
    COMMAND_ASK_END,
};
static const struct command_ask motd[] = {
    COMMAND_NEED("motd", FORM_TEXT_MULTI, "Message of the day", .use = USE_LINES, .arg = "text"),
    COMMAND_ASK_END,
};
static const struct command_ask motd_again[] = {
    COMMAND_NEED("motd", FORM_TEXT_MULTI, "Message of the day", .use = USE_LINES, .arg = "text",
                 .offered = motd_text),
    COMMAND_ASK_END,
};
static const struct command_ask welcome[] = {
    COMMAND_NEED("welcome", FORM_TEXT_MULTI, "Welcome message", .use = USE_LINES, .arg = "value",
                 .setting = "announce.welcome"),
    COMMAND_ASK_END,
};
static const struct command_form forms[] = {
    { ADMIN_NODE("announce"), .title = "Making an Announcement",
      .instructions = "It goes to all who are online.", .command = "announce",
      .fields = announcement },
    { ADMIN_NODE("set-motd"), .title = "Setting the Message of the Day",
      .instructions = "Everybody gets it once: now, or at the next login.", .command = "motd set",
      .fields = motd },
    { ADMIN_NODE("edit-motd"), .title = "Editing the Message of the Day",
      .instructions = "Those who got it already do not get it again.", .command = "motd edit",
      .fields = motd_again },
    { ADMIN_NODE("delete-motd"), .title = "Deleting the Message of the Day",
      .command = "motd del" },
    { ADMIN_NODE("set-welcome"), .title = "Setting the Welcome Message",
      .instructions = "It goes to every new account.", .command = "set",
      .fixed = COMMAND_FIXED("setting", "announce.welcome"), .fields = welcome },
    { ADMIN_NODE("delete-welcome"), .title = "Deleting the Welcome Message", .command = "set",
      .fixed = COMMAND_FIXED("setting", "announce.welcome", "default", "true") },
    { 0 },
};

const struct feature announce_feature = {
    .name = "announce",
    .schema = &schema,
    .settings = (struct setting *const[]){ &announce_subject, &announce_welcome, NULL },
    .commands = (struct command *const[]){ &announce_command, &motd_set_command, &motd_edit_command,
                                           &motd_del_command, &motd_show_command, NULL },
    .command_forms = forms,
    .worker.start = ext_announce_worker_start,
    .worker.stop = ext_announce_worker_stop,
    .account.created = ext_announce_created,
    .account.remove = ext_announce_removing,
    .session.available = ext_announce_available,
    .messages = (const struct message_row *const[]){ &offer_message, NULL },
};
