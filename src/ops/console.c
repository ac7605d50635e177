#include "ops/console.h"
#include "account/account.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/command.h"
#include "base/ensure.h"
#include "base/hash.h"
#include "base/hex.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metric.h"
#include "base/rand.h"
#include "base/setting.h"
#include "core/feature.h"
#include "home/here.h"
#include "home/message.h"
#include "home/question.h"
#include "ops/access_table.h"
#include "ops/lockout.h"
#include "xmpp/jid.h"
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdio.h>

/* ONCE_MS: a browser asks for the password and repeats its command at once. */
enum { HASH_BYTES = 32, MS = 1000, ONCE_MS = 60 * 1000 };

static struct log_area log_console = { .name = "console" };
static struct setting console_idle = {
    .name = "console.idle",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_MS,
    .def = 30 * 60 * 1000,
    .min = 1000,
    .max = 24 * 3600 * 1000,
    .doc = "A session of the console ends when it was not used for so long.",
};
static struct setting console_session_time = {
    .name = "console.session-time",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_MS,
    .def = 12 * 3600 * 1000,
    .min = 1000,
    .max = INT64_C(30) * 24 * 3600 * 1000,
    .doc = "A session of the console ends so long after the login, even while it is used.",
};
static struct setting console_confirm_time = {
    .name = "console.confirm-time",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_MS,
    .def = 10 * 60 * 1000,
    .min = 0,
    .max = 24 * 3600 * 1000,
    .doc = "How long after the password was given a session of the console may run commands that "
           "musterctl asks about first, or that change administrators, settings or passwords of "
           "users. Later it must give the password again, which is good for one command at least. "
           "0: for each command.",
};

struct setting console_banner = {
    .name = "console.banner",
    .scope = SCOPE_NODE,
    .type = PARAM_TEXT,
    .max = 8192,
    .def_text = "",
    .doc = "A text that the console shows before and after the login, such as a legal warning.",
};
struct setting console_acknowledge = {
    .name = "console.acknowledge",
    .scope = SCOPE_NODE,
    .type = PARAM_BOOL,
    .def = 1,
    .doc = "A login to the console must say that console.banner was read, where there is one.",
};

static struct metric sessions_metric = {
    .name = "muster_console_sessions",
    .kind = METRIC_GAUGE,
    .help = "Sessions of the console. One that expired counts until its place is looked at.",
};

struct console_session {
    bool used;
    unsigned char hash[HASH_BYTES]; /* SHA-256 of the secret */
    char id[CONSOLE_ID_TEXT + 1], csrf[CONSOLE_SECRET_TEXT + 1];
    char host[CONSOLE_HOST_MAX + 1];
    char from[64];
    slice name, role; /* kept */
    int64_t generation;
    unsigned must;
    bool once; /* the password was given again, and no command has used that yet */
    uint64_t began_us, began_wall_us, used_us, proven_us; /* monotonic but for the second */
};

static struct console_session sessions[CONSOLE_SESSIONS_MAX];
static pthread_mutex_t sessions_lock = PTHREAD_MUTEX_INITIALIZER;

/* How often the sessions of an account were ended: a login that began before does not open one. Of
 * names that share a counter one delays the other at most. Under the lock, too. */
enum { ENDS_MAX = 1024 };
static int64_t ends[ENDS_MAX];

static int64_t *ends_of(slice name) { return &ends[hash_keyed(name) % ENDS_MAX]; }

static void session_drop(struct console_session *s)
{
    ensure(s->used);
    slice_release(&s->name);
    slice_release(&s->role);
    OPENSSL_cleanse(s, sizeof *s);
    metric_add(&sessions_metric, -1);
}

static void secret_hash(slice secret, unsigned char out[HASH_BYTES])
{
    unsigned char hash[EVP_MAX_MD_SIZE] = { 0 };
    EVP_Digest(secret.ptr, secret.len, hash, NULL, EVP_sha256(), NULL);
    memcpy(out, hash, HASH_BYTES);
}

static uint64_t us_of(const struct setting *s) { return (uint64_t)setting_int(s) * MS; }

/* When it ends if it is not used again. */
static bool console_has_ended(const struct console_session *s, uint64_t now_us)
{
    return now_us >= s->used_us + us_of(&console_idle) ||
           now_us >= s->began_us + us_of(&console_session_time) ||
           (s->must != 0 && now_us >= s->began_us + (uint64_t)CONSOLE_LIMITED_MS * MS);
}

/* Looks at all, each in the same time. */
static struct console_session *find_secret(slice secret, uint64_t now_us)
{
    unsigned char hash[HASH_BYTES];
    struct console_session *found = NULL;
    secret_hash(secret, hash);
    for (unsigned i = 0; i < CONSOLE_SESSIONS_MAX; i++)
        if (sessions[i].used && CRYPTO_memcmp(sessions[i].hash, hash, HASH_BYTES) == 0)
            found = &sessions[i];
    if (found != NULL && console_has_ended(found, now_us)) {
        session_drop(found);
        found = NULL;
    }
    return found;
}

/* A free place: of a name that has too many, or where none is free, that which was not used for the
 * longest time. */
static struct console_session *find_place(slice name, uint64_t now_us)
{
    struct console_session *own = NULL, *any = NULL, *unused = NULL;
    unsigned count = 0;
    for (unsigned i = 0; i < CONSOLE_SESSIONS_MAX; i++) {
        struct console_session *s = &sessions[i];
        if (s->used && console_has_ended(s, now_us))
            session_drop(s);
        if (!s->used) {
            unused = unused == NULL ? s : unused;
            continue;
        }
        if (any == NULL || s->used_us < any->used_us)
            any = s;
        if (!slice_eq(s->name, name))
            continue;
        count++;
        if (own == NULL || s->used_us < own->used_us)
            own = s;
    }
    ensure(any != NULL || unused != NULL);
    struct console_session *place = count >= CONSOLE_EACH_MAX ? own : unused != NULL ? unused : any;
    if (place->used)
        session_drop(place);
    ensure(!place->used);
    return place;
}

bool console_role(slice name, struct arena *arena, struct principal *out, int64_t *generation)
{
    *generation = 0;
    if (memchr(name.ptr, '@', name.len) == NULL)
        return access_of_person(name, arena, out, generation);
    access_of_account(name, arena, out);
    return out->role.len > 0;
}

bool console_name(slice text, struct arena *arena, slice *out)
{
    struct jid jid;
    *out = text;
    if (memchr(text.ptr, '@', text.len) == NULL)
        return text.len <= ACCESS_NAME_MAX && param_is_name(text);
    if (jid_parse(&jid, text, arena) != OK || jid.local.len == 0 || !jid_is_bare(&jid))
        return false;
    *out = jid.full;
    return true;
}

slice console_actor(struct arena *arena, slice name, const char *id)
{
    return slice_of(
        arena_printf(arena, "console:%.*s%s%s", SLICE_ARG(name), *id != '\0' ? "/" : "", id));
}

struct console_age console_age(slice name)
{
    struct arena *arena = arena_create(0);
    struct principal who = { 0 };
    struct console_age age = { 0 };
    ensure(name.len > 0);
    pthread_mutex_lock(&sessions_lock);
    age.ends = *ends_of(name);
    pthread_mutex_unlock(&sessions_lock);
    (void)console_role(name, arena, &who, &age.generation);
    arena_destroy(&arena);
    return age;
}

/* It may log in, and what its password was compared with is what it has now. */
static bool console_is_same(slice name, struct console_age age, struct arena *arena,
                            struct principal *who)
{
    int64_t generation;
    return console_role(name, arena, who, &generation) && generation == age.generation &&
           *ends_of(name) == age.ends;
}

bool console_open(const struct console_login *l, char secret[CONSOLE_SECRET_TEXT + 1])
{
    struct arena *arena = arena_create(0);
    struct principal who = { 0 };
    uint64_t now_us = clock_mono_us();
    ensure(l->name.len > 0);
    pthread_mutex_lock(&sessions_lock);
    bool may = console_is_same(l->name, l->age, arena, &who) && l->host.len <= CONSOLE_HOST_MAX;
    if (may) {
        struct console_session *s = find_place(l->name, now_us);
        rand_hex(secret, CONSOLE_SECRET_BYTES);
        rand_hex(s->csrf, CONSOLE_SECRET_BYTES);
        rand_hex(s->id, CONSOLE_ID_TEXT / 2);
        secret_hash(slice_of(secret), s->hash);
        snprintf(s->host, sizeof s->host, "%.*s", SLICE_ARG(l->host));
        snprintf(s->from, sizeof s->from, "%.*s", SLICE_ARG(l->from));
        s->name = slice_keep(l->name);
        s->role = slice_keep(who.role);
        s->generation = l->age.generation;
        s->must = l->must;
        s->began_us = s->used_us = s->proven_us = now_us;
        s->began_wall_us = clock_wall_us();
        s->used = true;
        metric_add(&sessions_metric, 1);
    }
    pthread_mutex_unlock(&sessions_lock);
    arena_destroy(&arena);
    return may;
}

static bool console_is_proven(const struct console_session *s, uint64_t now_us)
{
    ensure(s->used);
    return now_us < s->proven_us + us_of(&console_confirm_time) ||
           (s->once && now_us < s->proven_us + (uint64_t)ONCE_MS * MS);
}

static void view_of(const struct console_session *s, uint64_t now_us, struct console_view *out)
{
    memcpy(out->id, s->id, sizeof out->id);
    memcpy(out->csrf, s->csrf, sizeof out->csrf);
    uint64_t most_us = us_of(&console_session_time);
    if (s->must != 0 && most_us > (uint64_t)CONSOLE_LIMITED_MS * MS)
        most_us = (uint64_t)CONSOLE_LIMITED_MS * MS;
    out->expires_us = s->began_wall_us + most_us;
    out->must = s->must;
    out->proven = console_is_proven(s, now_us);
}

static bool role_is_same(const struct console_session *s, struct arena *arena,
                         struct principal *who)
{
    int64_t generation;
    return console_role(s->name, arena, who, &generation) && slice_eq(who->role, s->role) &&
           generation == s->generation;
}

/* Behind its role. */
static void fill_principal(const struct console_session *s, struct arena *arena,
                           struct principal *who)
{
    bool account = memchr(s->name.ptr, '@', s->name.len) != NULL;
    ensure(s->used);
    who->kind = PRINCIPAL_ADMIN;
    who->generation = s->generation;
    who->actor = console_actor(arena, s->name, s->id);
    who->from = slice_dup(arena, slice_of(s->from));
    who->own = account && s->must == 0 ? slice_dup(arena, s->name) : (slice){ 0 };
    if (s->must != 0)
        who->grants = SLICE("");
}

enum err console_find(slice secret, slice host, struct arena *arena, bool uses,
                      struct principal *who, struct console_view *out)
{
    uint64_t now_us = clock_mono_us();
    enum err e = E_AUTH;
    *who = (struct principal){ 0 };
    pthread_mutex_lock(&sessions_lock);
    struct console_session *s = find_secret(secret, now_us);
    if (s != NULL && !role_is_same(s, arena, who)) {
        session_drop(s);
        s = NULL;
    }
    if (s != NULL && slice_is(host, s->host)) {
        s->used_us = uses ? now_us : s->used_us;
        view_of(s, now_us, out);
        out->name = slice_dup(arena, s->name);
        fill_principal(s, arena, who);
        e = OK;
    } else {
        *who = (struct principal){ 0 };
    }
    pthread_mutex_unlock(&sessions_lock);
    return e;
}

void console_prove(slice secret)
{
    pthread_mutex_lock(&sessions_lock);
    struct console_session *s = find_secret(secret, clock_mono_us());
    if (s != NULL) {
        s->proven_us = clock_mono_us();
        s->once = true;
    }
    pthread_mutex_unlock(&sessions_lock);
}

bool console_spend(slice secret)
{
    pthread_mutex_lock(&sessions_lock);
    uint64_t now_us = clock_mono_us();
    struct console_session *s = find_secret(secret, now_us);
    bool proven = s != NULL && console_is_proven(s, now_us);
    if (s != NULL)
        s->once = false;
    pthread_mutex_unlock(&sessions_lock);
    return proven;
}

bool console_end(slice secret)
{
    pthread_mutex_lock(&sessions_lock);
    struct console_session *s = find_secret(secret, clock_mono_us());
    bool there = s != NULL;
    if (there)
        session_drop(s);
    pthread_mutex_unlock(&sessions_lock);
    return there;
}

static void sessions_end(slice name)
{
    ensure(name.len > 0);
    pthread_mutex_lock(&sessions_lock);
    *ends_of(name) += 1;
    for (unsigned i = 0; i < CONSOLE_SESSIONS_MAX; i++)
        if (sessions[i].used && slice_eq(sessions[i].name, name))
            session_drop(&sessions[i]);
    pthread_mutex_unlock(&sessions_lock);
}

struct console_ended {
    slice name;
};
static const struct message_field ended_fields[] = {
    F_TEXT(struct console_ended, name, CONSOLE_NAME_MAX),
    { 0 },
};

static void console_ended_run(struct worker *w, void *message, const struct message_from *from)
{
    (void)from;
    if (worker_index(w) == 0)
        sessions_end(((const struct console_ended *)message)->name);
}

static const struct message_row console_ended_message = {
    .id = 150,
    .scope = MESSAGE_CLUSTER,
    .name = "console-ended",
    .size = sizeof(struct console_ended),
    .fields = ended_fields,
    .run = console_ended_run,
};

void console_end_name(struct worker *w, slice name)
{
    ensure(worker_is_here(w) && name.len > 0 && name.len <= CONSOLE_NAME_MAX);
    sessions_end(name);
    each_home(w, &console_ended_message, &(struct console_ended){ name }, &(struct asker){ 0 });
}

/* The password of an account is another one. */
static void console_revoked(struct account *a, const struct session *keep, const uint8_t *device)
{
    (void)keep;
    ensure(account_here(a));
    if (device == NULL)
        console_end_name(a->worker, a->jid);
}

static void console_deleted(struct worker *w, slice bare)
{
    if (worker_index(w) == 0)
        sessions_end(bare);
}

/* Those whose owner is deleted, disabled, or has another role end at once, not when they are used
 * next: until then they would be listed. */
static void console_access_changed(struct worker *w)
{
    struct arena *arena = arena_create(0);
    struct principal who;
    ensure(worker_is_here(w));
    pthread_mutex_lock(&sessions_lock);
    for (unsigned i = 0; i < CONSOLE_SESSIONS_MAX; i++) {
        who = (struct principal){ 0 };
        if (sessions[i].used && !role_is_same(&sessions[i], arena, &who))
            session_drop(&sessions[i]);
    }
    pthread_mutex_unlock(&sessions_lock);
    arena_destroy(&arena);
}

/* Commands: each node has its own sessions, which the process has once. */

static void run_sessions(struct command_call *call)
{
    struct worker *w = call->worker;
    ensure(worker_is_here(w));
    uint64_t now_us = clock_mono_us(), wall_us = clock_wall_us();
    char stamp[CLOCK_STAMP_LEN];
    if (worker_index(w) != 0)
        return;
    pthread_mutex_lock(&sessions_lock);
    for (unsigned i = 0; i < CONSOLE_SESSIONS_MAX; i++) {
        const struct console_session *s = &sessions[i];
        if (!s->used || console_has_ended(s, now_us))
            continue;
        command_row(call);
        command_text(call, "id", slice_dup(call->arena, slice_of(s->id)));
        command_text(call, "name", slice_dup(call->arena, s->name));
        command_text(call, "role", slice_dup(call->arena, s->role));
        command_text(call, "from", slice_dup(call->arena, slice_of(s->from)));
        clock_stamp(stamp, s->began_wall_us);
        command_text(call, "since", slice_dup(call->arena, slice_of(stamp)));
        clock_stamp(stamp, wall_us - (now_us - s->used_us));
        command_text(call, "used", slice_dup(call->arena, slice_of(stamp)));
        command_bool(call, "limited", s->must != 0);
    }
    pthread_mutex_unlock(&sessions_lock);
}

static void console_gathered(struct command_call *call)
{
    command_done(call, "%s", call->rows == NULL ? "there are none" : "");
}

static void run_end_session(struct command_call *call)
{
    struct worker *w = call->worker;
    if (worker_index(w) != 0)
        return;
    pthread_mutex_lock(&sessions_lock);
    for (unsigned i = 0; i < CONSOLE_SESSIONS_MAX; i++) {
        struct console_session *s = &sessions[i];
        struct principal owner = { 0 };
        int64_t generation;
        if (!s->used || !slice_is(command_arg(call, "id"), s->id))
            continue;
        (void)console_role(s->name, call->arena, &owner, &generation);
        bool may = access_covers(&call->who, owner.grants);
        if (may)
            session_drop(s);
        command_row(call);
        command_int(call, "ended", may);
    }
    pthread_mutex_unlock(&sessions_lock);
}

static void console_session_ended(struct command_call *call)
{
    const struct command_row *rows = command_take_rows(call);
    if (rows == NULL)
        command_fail(call, E_NOTFOUND, "there is no such session; `admin sessions` shows all");
    else if (command_row_int(rows, "ended") == 0)
        command_fail(call, E_DENIED,
                     "its owner has a permission that you do not have; somebody who has it can do "
                     "this");
    else
        command_done(call, "session %.*s ended", SLICE_ARG(command_arg(call, "id")));
}

static void run_admin_unlock(struct command_call *call)
{
    struct worker *w = call->worker;
    if (worker_index(w) != 0 || !lockout_end(command_arg(call, "name"), clock_mono_us()))
        return;
    command_row(call);
    command_int(call, "ended", 1);
}

static void admin_unlocked(struct command_call *call)
{
    const struct command_row *rows = command_take_rows(call);
    slice name = command_arg(call, "name");
    if (rows == NULL)
        command_fail(call, E_NOTFOUND, "%.*s is not locked", SLICE_ARG(name));
    else
        command_done(call, "%.*s may log in again", SLICE_ARG(name));
}

static const struct command_column ended_parts[] = {
    { .name = "ended", .type = PARAM_INT, .doc = "how many" },
    { 0 },
};
static struct command admin_sessions = {
    .name = "admin sessions",
    .effect = COMMAND_READS,
    .area = "admins",
    .runs_at = COMMAND_EACH,
    .args = (const struct command_arg[]){ { 0 } },
    .run = run_sessions,
    .gathered = console_gathered,
    .doc = "Lists the sessions of the console.",
    .rest = "GET /admin-sessions",
    .columns =
        (const struct command_column[]){
            { .name = "id", .doc = "by which it is ended" },
            { .name = "name", .doc = "the administrator, or the account" },
            { .name = "role", .doc = "its role" },
            { .name = "from", .doc = "the address it logged in from" },
            { .name = "since", .type = PARAM_STAMP, .doc = "when it logged in" },
            { .name = "used", .type = PARAM_STAMP, .doc = "its last request" },
            { .name = "limited",
              .type = PARAM_BOOL,
              .doc = "whether it can only make a second factor or change the password" },
            { 0 } },
};
static struct command admin_end_session = {
    .name = "admin end-session",
    .effect = COMMAND_CHANGES,
    .area = "admins",
    .runs_at = COMMAND_EACH,
    .args = (const struct command_arg[]){ { .name = "id",
                                            .kind = ARG_POSITIONAL,
                                            .min = 1,
                                            .max = CONSOLE_ID_TEXT,
                                            .doc = "its id, as the list shows it" },
                                          { 0 } },
    .run = run_end_session,
    .gathered = console_session_ended,
    .parts = ended_parts,
    .doc = "Ends a session of the console.",
    .rest = "DELETE /admin-sessions/{id}",
};
static struct command admin_unlock = {
    .name = "admin unlock",
    .effect = COMMAND_CHANGES,
    .area = "admins",
    .runs_at = COMMAND_EACH,
    .args = (const struct command_arg[]){ { .name = "name",
                                            .kind = ARG_POSITIONAL,
                                            .min = 1,
                                            .max = CONSOLE_NAME_MAX,
                                            .refers = REFERS_ADMIN,
                                            .doc = "the administrator, or the account" },
                                          { 0 } },
    .run = run_admin_unlock,
    .gathered = admin_unlocked,
    .parts = ended_parts,
    .doc = "Lets a locked name log in to the console again.",
    .rest = "DELETE /admins/{name}/lock",
};

const struct feature console_feature = {
    .name = "console",
    .parts = PART_ACCOUNT,
    .settings =
        (struct setting *const[]){ &console_idle, &console_session_time, &console_confirm_time,
                                   &console_banner, &console_acknowledge, &lockout_failures,
                                   &lockout_window, &lockout_time, NULL },
    .commands =
        (struct command *const[]){ &admin_sessions, &admin_end_session, &admin_unlock, NULL },
    .messages = (const struct message_row *const[]){ &console_ended_message, NULL },
    .metrics = (struct metric *const[]){ &sessions_metric, NULL },
    .logs = (struct log_area *const[]){ &log_console, NULL },
    .account.access_revoked = console_revoked,
    .account.deleted = console_deleted,
    .worker.access_changed = console_access_changed,
};
