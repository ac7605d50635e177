#include "ops/devices.h"
#include "account/account.h"
#include "account/account_life.h"
#include "auth/devices.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/command.h"
#include "base/ensure.h"
#include "base/log.h"
#include "base/mem.h"
#include "core/feature.h"
#include "home/here.h"
#include "ops/users.h"
#include "session/sessions.h"

static struct log_area log_devices = { .name = "devices" };

/* Revoking. */

typedef void devices_revoked_fn(void *arg, enum err e, unsigned sessions);

struct revocation {
    struct worker *worker;
    devices_revoked_fn *done;
    void *arg;
    int64_t generation;
    uint8_t id[DEVICE_ID_LEN];
    size_t len;
    char jid[];
};

static unsigned end_sessions(struct account *a, const uint8_t id[DEVICE_ID_LEN])
{
    unsigned ended = 0;
    struct session *s = session_next(a, NULL);
    ensure(account_here(a));
    account_pin(a);
    while (s != NULL) {
        if (memcmp(s->device, id, DEVICE_ID_LEN) != 0) {
            s = session_next(a, s);
            continue;
        }
        session_end(s, END_REVOKED); /* what it hands over may end others: begin again */
        ended++;
        s = session_next(a, NULL);
    }
    account_unpin(a);
    return ended;
}

static void revoked_home(struct account *a, enum err e, void *arg)
{
    struct revocation *r = arg;
    unsigned ended = 0;
    ensure(r->done != NULL && account_here(a));
    if (e == OK) {
        if (r->generation > a->generation)
            a->generation = r->generation;
        ended = end_sessions(a, r->id);
        account_access_revoked(a, NULL, r->id);
    }
    r->done(r->arg, e, ended);
    mem_free(&r);
}

static void im_devices_revoked(void *arg, enum err e, int64_t generation)
{
    struct revocation *r = arg;
    r->generation = generation;
    if (e == OK) {
        account_with(r->worker, (slice){ r->jid, r->len }, revoked_home, r);
        return;
    }
    r->done(r->arg, e, 0);
    mem_free(&r);
}

/* Revokes a device: its tokens are deleted, logins under way refused, its sessions ended; how many
 * of them is told. At the home of the account. E_NOTFOUND: it has no such device. */
static void devices_revoke(struct worker *w, slice bare, const uint8_t id[DEVICE_ID_LEN],
                           devices_revoked_fn *done, void *arg)
{
    struct revocation *r = mem_alloc(sizeof *r + bare.len);
    ensure(worker_is_here(w) && done != NULL);
    *r = (struct revocation){ .worker = w, .done = done, .arg = arg, .len = bare.len };
    memcpy(r->id, id, DEVICE_ID_LEN);
    memcpy(r->jid, bare.ptr, bare.len);
    (void)device_revoke(worker_auth(w), bare, id, im_devices_revoked, r);
}

/* Commands; in the arena of their call. */

struct task {
    struct command_call *call;
    struct worker *home;
    slice jid;
    uint8_t id[DEVICE_ID_LEN];
};

static bool is_connected(const struct task *t, const uint8_t id[DEVICE_ID_LEN])
{
    const struct account *a = account_find(t->home, t->jid);
    if (a == NULL)
        return false;
    SESSIONS_EACH (s, a) {
        if (s->state == SESSION_ATTACHED && memcmp(s->device, id, DEVICE_ID_LEN) == 0)
            return true;
    }
    return false;
}

static void im_devices_listed(void *arg, enum err e, const struct device_row *rows, uint32_t count)
{
    struct task *t = arg;
    struct command_call *call = t->call;
    if (e != OK) {
        command_fail(call, e, "the devices could not be read: %s", err_text(e));
        return;
    }
    for (uint32_t i = 0; i < count; i++) {
        char id[DEVICE_ID_TEXT];
        device_id_format(id, rows[i].id);
        command_row(call);
        command_text(call, "id", slice_of(id));
        command_text(call, "software", rows[i].software);
        command_text(call, "device", rows[i].device);
        command_text(call, "address", rows[i].address);
        users_add_time(call, "created", rows[i].created_us);
        users_add_time(call, "seen", rows[i].seen_us);
        if (rows[i].expires_us != 0)
            users_add_time(call, "token_until", rows[i].expires_us);
        else
            command_text(call, "token_until", SLICE(""));
        command_bool(call, "connected", is_connected(t, rows[i].id));
    }
    command_done(call, "%s", "");
}

static void im_devices_list_ready(struct account *a, enum err e, void *arg)
{
    struct task *t = arg;
    ensure(account_here(a) && a->worker == t->home);
    if (users_there(t->call, a, e))
        (void)device_list(worker_auth(t->home), t->jid, im_devices_listed, t);
}

static struct task *task_of(struct command_call *call)
{
    struct task *t = arena_new(call->arena, struct task, 1);
    *t = (struct task){ .call = call, .home = call->worker, .jid = command_arg(call, "jid") };
    return t;
}

static void im_devices_run_list(struct command_call *call)
{
    struct task *t = task_of(call);
    account_with(t->home, t->jid, im_devices_list_ready, t);
}

static void revoke_done(void *arg, enum err e, unsigned sessions)
{
    struct task *t = arg;
    char id[DEVICE_ID_TEXT];
    device_id_format(id, t->id);
    if (e == E_NOTFOUND) {
        command_fail(t->call, e, "%.*s has no device %s; `device list` shows all",
                     SLICE_ARG(t->jid), id);
        return;
    }
    if (e != OK) {
        users_fail_cause(t->call, t->jid, e);
        return;
    }
    log_info(&log_devices, LOG_EV("device.revoked"), LOG_S("jid", t->jid), LOG_C("device", id),
             LOG_I("sessions", sessions), LOG_S("actor", t->call->who.actor));
    command_done(t->call, "device %s revoked, sessions ended: %u", id, sessions);
}

static void run_revoke(struct command_call *call)
{
    slice id = command_arg(call, "id");
    struct task *t = task_of(call);
    if (device_id_parse(t->id, id) == OK)
        devices_revoke(t->home, t->jid, t->id, revoke_done, t);
    else
        command_fail(call, E_SYNTAX, "found %.*s, allowed: an id as `device list` shows it",
                     SLICE_ARG(id));
}

static const struct command_arg list_args[] = {
    COMMAND_USER_ARG,
    { 0 },
};
static const struct command_arg revoke_args[] = {
    COMMAND_USER_ARG,
    { .name = "id",
      .kind = ARG_POSITIONAL,
      .example = "d4565fa7-4d72-4749-b3d3-740edbf87770",
      .doc = "id of the device, from the list of devices" },
    { 0 },
};
static struct command device_list_command = {
    .name = "device list",
    .rest = "GET /users/{jid}/devices",
    .effect = COMMAND_READS,
    .area = "devices",
    .access = COMMAND_OWN,
    .args = list_args,
    .home = "jid",
    .run = im_devices_run_list,
    .doc = "Shows the devices of an account (clients that log in with a device id, XEP-0388), the "
           "most recent first, and until when they can log in without the password (XEP-0484). An "
           "account has up to 64; a new one replaces the one that was not seen for the longest "
           "time.",
    .columns =
        (const struct command_column[]){
            { .name = "id", .doc = "its id" },
            { .name = "software", .doc = "name of the client" },
            { .name = "device", .doc = "name of the device" },
            { .name = "address", .doc = "address of its last login" },
            { .name = "created", .type = PARAM_STAMP, .doc = "first login" },
            { .name = "seen", .type = PARAM_STAMP, .doc = "last login" },
            { .name = "token_until",
              .type = PARAM_STAMP,
              .doc = "until when its token is valid; empty: it has none" },
            { .name = "connected", .type = PARAM_BOOL, .doc = "whether it is connected" },
            { 0 } },
};
static struct command device_revoke_command = {
    .name = "device revoke",
    .rest = "DELETE /users/{jid}/devices/{id}",
    .effect = COMMAND_CHANGES,
    .area = "devices",
    .access = COMMAND_OWN,
    .args = revoke_args,
    .home = "jid",
    .run = run_revoke,
    .doc = "Deletes the tokens of a device and ends its sessions. It can log in again with the "
           "password.",
};

/* A planned restart: so that a revoked device does not resume. */
static void device_save(const struct session *s, struct buf *out)
{
    if (device_is_known(s->device))
        buf_append(out, s->device, DEVICE_ID_LEN);
}

static void device_restore(struct session *s, slice saved)
{
    if (saved.len == DEVICE_ID_LEN)
        memcpy(s->device, saved.ptr, DEVICE_ID_LEN);
}

static struct store_stmt devices_stmt_with_tokens = {
    .name = "devices.with-tokens",
    .sql = "SELECT count(DISTINCT f.device) FROM account a JOIN fast_token f ON f.account = a.id "
           "WHERE a.jid = $1",
    .params = "t",
    .cols = "i",
};
static const struct store_schema devices_schema = {
    .feature = "devices",
    .stmts = (struct store_stmt *const[]){ &devices_stmt_with_tokens, NULL },
};

const struct feature devices_feature = {
    .name = "devices",
    .schema = &devices_schema,
    .facts = (const struct account_fact[]){ { "devices with tokens", &devices_stmt_with_tokens, 0 },
                                            { 0 } },
    .commands = (struct command *const[]){ &device_list_command, &device_revoke_command, NULL },
    .logs = (struct log_area *const[]){ &log_devices, NULL },
    .session.save = device_save,
    .session.restore = device_restore,
};
