#include "ops/second_factor.h"
#include "account/account.h"
#include "auth/seal.h"
#include "auth/totp.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/command.h"
#include "base/ensure.h"
#include "base/hex.h"
#include "base/rand.h"
#include "base/setting.h"
#include "core/feature.h"
#include "home/duty.h"
#include "home/here.h"
#include "ops/access_table.h"
#include "ops/access_turn.h"
#include "ops/console.h"
#include <openssl/crypto.h>
#include <openssl/evp.h>

enum {
    RECOVERY_CODES = 10,
    RECOVERY_BYTES = 8,
    RECOVERY_TEXT = 2 * RECOVERY_BYTES,
    HASH_TEXT = 64
};

static bool are_roles(slice text)
{
    slice one;
    while (slice_word(&text, &one))
        if (!param_is_name(one))
            return false;
    return true;
}

static struct setting totp_roles = {
    .name = "admin.totp-roles",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_TEXT,
    .max = 1024,
    .def_text = "",
    .check = are_roles,
    .many = true,
    .form = "names of roles, separated by spaces",
    .doc = "Roles that log in to the console only with a second factor (`admin totp`). Whoever has "
           "such a role and no second factor makes one at the login first (admin.totp-enrol).",
};
static struct setting totp_enrol = {
    .name = "admin.totp-enrol",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_BOOL,
    .def = 1,
    .doc =
        "An administrator without a second factor whose role demands one (admin.totp-roles) makes "
        "it when they log in, with the password alone. Off: the login is refused until another "
        "administrator has made it with `admin totp`.",
};

static struct store_stmt factor_get = {
    .name = "factor.get",
    .sql = "SELECT secret, confirmed FROM admin_factor WHERE name = $1",
    .params = "t",
    .cols = "ti",
};
static struct store_stmt factor_begin = {
    .name = "factor.begin",
    .sql = "INSERT INTO admin_factor(name, secret, confirmed, step) VALUES($1, $2, 0, 0) "
           "ON CONFLICT(name) DO UPDATE SET secret = excluded.secret "
           "WHERE admin_factor.confirmed = 0",
    .params = "tt",
    .cols = "",
};
static struct store_stmt factor_confirm = {
    .name = "factor.confirm",
    .sql = "UPDATE admin_factor SET confirmed = 1, step = $2 WHERE name = $1 AND confirmed = 0",
    .params = "ti",
    .cols = "",
};
/* A code of this step or an older one is not good any more (RFC 6238 §5.2). */
static struct store_stmt factor_step = {
    .name = "factor.step",
    .sql = "UPDATE admin_factor SET step = $2 WHERE name = $1 AND step < $2",
    .params = "ti",
    .cols = "",
};
static struct store_stmt factor_drop = {
    .name = "factor.drop",
    .sql = "DELETE FROM admin_factor WHERE name = $1",
    .params = "t",
    .cols = "",
};
static struct store_stmt recovery_put = {
    .name = "factor.recovery-put",
    .sql = "INSERT INTO admin_recovery(name, hash) VALUES($1, $2)",
    .params = "tt",
    .cols = "",
};
static struct store_stmt recovery_use = {
    .name = "factor.recovery-use",
    .sql = "DELETE FROM admin_recovery WHERE name = $1 AND hash = $2",
    .params = "tt",
    .cols = "",
};
static struct store_stmt recovery_drop = {
    .name = "factor.recovery-drop",
    .sql = "DELETE FROM admin_recovery WHERE name = $1",
    .params = "t",
    .cols = "",
};
/* Names of administrators that are no accounts have no @. */
static const struct store_schema schema = {
    .feature = "second_factor",
    .addresses =
        (const struct store_address[]){
            { "admin_factor", "secret", .kind = STORE_SEALED, .beside = "name",
              .only = "name LIKE '%@%'", .context = "'totp ' || ?", /* factor_context() */
              .reseal = seal_again },
            { "admin_factor", "name", .kind = STORE_JID, .beside = "", .only = "name LIKE '%@%'" },
            { "admin_recovery", "name", .kind = STORE_JID, .beside = "hash",
              .only = "name LIKE '%@%'" },
            { 0 } },
    .stmts = (struct store_stmt *const[]){ &factor_get, &factor_begin, &factor_confirm,
                                           &factor_step, &factor_drop, &recovery_put, &recovery_use,
                                           &recovery_drop, NULL },
};

static slice factor_context(slice name, struct arena *arena)
{
    return slice_of(arena_printf(arena, "totp %.*s", SLICE_ARG(name)));
}

void factor_add_read(struct store_batch *b, slice name)
{
    STORE_ADD(b, &factor_get, STORE_ANY_ROWS, SV_T(name));
}

bool factor_of(const struct store_batch *b, slice name, struct arena *arena, struct factor *out)
{
    ensure(store_row_count(b, 0) <= 1); /* its key */
    *out = (struct factor){ .name = slice_dup(arena, name) };
    if (store_row_count(b, 0) == 0)
        return true;
    out->confirmed = store_int(b, 0, 0, 1) != 0;
    return seal_ready() &&
           unseal(&out->secret, store_text(b, 0, 0, 0), factor_context(name, arena), arena);
}

/* As it was shown, or with other cases and signs between. */
static bool recovery_hash(slice code, char out[HASH_TEXT + 1])
{
    char text[RECOVERY_TEXT];
    unsigned char hash[EVP_MAX_MD_SIZE] = { 0 };
    size_t len = 0;
    for (size_t i = 0; i < code.len; i++) {
        char c = code.ptr[i] >= 'A' && code.ptr[i] <= 'F' ? (char)(code.ptr[i] + 32) : code.ptr[i];
        if (c == '-' || c == ' ')
            continue;
        if (len == RECOVERY_TEXT || !((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f')))
            return false;
        text[len++] = c;
    }
    if (len != RECOVERY_TEXT || EVP_Digest(text, len, hash, NULL, EVP_sha256(), NULL) != 1)
        return false;
    hex_encode(out, (slice){ (const char *)hash, HASH_TEXT / 2 });
    return true;
}

struct store_batch *factor_use(struct worker *w, const struct factor *f, slice code)
{
    char hash[HASH_TEXT + 1];
    int64_t step = totp_find(f->secret, code, totp_step(clock_wall_us()));
    bool recovers = step < 0 && recovery_hash(code, hash);
    if (step < 0 && !recovers)
        return NULL;
    ensure(worker_is_here(w) && f->confirmed);
    struct store_batch *b = store_write(worker_store(w), 0);
    if (recovers)
        STORE_ADD(b, &recovery_use, STORE_ANY_ROWS, SV_T(f->name), SV_T(slice_of(hash)));
    else
        STORE_ADD(b, &factor_step, STORE_ANY_ROWS, SV_T(f->name), SV_I(step));
    return b;
}

bool factor_is_there(slice name)
{
    bool there = access_has_factor(access_table_begin(), name);
    access_table_end();
    return there;
}

bool factor_is_demanded(slice role)
{
    slice one, rest = slice_of(setting_text(&totp_roles));
    while (slice_word(&rest, &one))
        if (slice_eq(one, role))
            return true;
    return false;
}

bool factor_may_enrol(void) { return setting_bool(&totp_enrol); }

void factor_add_drop(struct store_batch *b, slice name)
{
    STORE_ADD(b, &factor_drop, STORE_ANY_ROWS, SV_T(name));
    STORE_ADD(b, &recovery_drop, STORE_ANY_ROWS, SV_T(name));
}

/* Commands. */

/* The name of the call; false: it has failed. Of somebody who can do more, nobody changes it. */
static bool factor_name(struct command_call *call, slice *name)
{
    struct principal who = { 0 };
    int64_t generation;
    if (!console_name(command_arg(call, "name"), call->arena, name) ||
        !console_role(*name, call->arena, &who, &generation))
        command_fail(call, E_NOTFOUND,
                     "%.*s: no such administrator, and no account with a role, or it is disabled; "
                     "`admin list` shows all",
                     SLICE_ARG(*name));
    else
        (void)access_may_change(call, *name, who.grants, (slice){ 0 });
    return !call->ended;
}

static void turn_totp(struct command_call *call)
{
    unsigned char secret[TOTP_SECRET_BYTES];
    char text[TOTP_BASE32_TEXT + 1];
    slice name;
    if (!factor_name(call, &name))
        return;
    if (!seal_ready()) {
        command_fail(call, E_DOWN, "secrets cannot be stored: see the alarm secrets.key");
        return;
    }
    rand_bytes(secret, sizeof secret);
    totp_base32(secret, text);
    struct store_batch *b = access_change(call);
    STORE_ADD(b, &factor_begin, STORE_ANY_ROWS, SV_T(name),
              SV_T(seal((slice){ (const char *)secret, sizeof secret },
                        factor_context(name, call->arena), call->arena)));
    OPENSSL_cleanse(secret, sizeof secret);
    command_row(call);
    command_text(call, "secret", slice_dup(call->arena, slice_of(text)));
    command_text(call, "uri",
                 slice_of(arena_printf(call->arena,
                                       "otpauth://totp/Muster:%.*s?secret=%s&issuer="
                                       "Muster",
                                       SLICE_ARG(name), text)));
    OPENSSL_cleanse(text, sizeof text);
    access_submit(call, b, name, "give the secret to the app; `admin totp-confirm` turns it on",
                  "it has a second factor already; `admin totp-remove` ends that first");
}

static void run_totp(struct command_call *call) { access_in_turn(call, turn_totp); }

/* Ten new recovery codes, in rows of the call. */
static void add_recovery(struct command_call *call, struct store_batch *b, slice name)
{
    char code[RECOVERY_TEXT + 1], hash[HASH_TEXT + 1];
    STORE_ADD(b, &recovery_drop, STORE_ANY_ROWS, SV_T(name));
    for (unsigned i = 0; i < RECOVERY_CODES; i++) {
        rand_hex(code, RECOVERY_BYTES);
        (void)recovery_hash(slice_of(code), hash);
        STORE_ADD(b, &recovery_put, 1, SV_T(name), SV_T(slice_of(hash)));
        command_row(call);
        command_text(call, "code",
                     slice_of(arena_printf(call->arena, "%.4s-%.4s-%.4s-%.4s", code, code + 4,
                                           code + 8, code + 12)));
    }
    OPENSSL_cleanse(code, sizeof code);
}

struct confirming {
    struct command_call *call;
    slice name;
    int64_t step;
};

/* In its turn. */
static void confirm_write(void *arg)
{
    struct confirming *c = arg;
    struct command_call *call = c->call;
    if (!factor_name(call, &c->name))
        return;
    struct store_batch *b = access_change(call);
    STORE_ADD(b, &factor_confirm, 1, SV_T(c->name), SV_I(c->step));
    add_recovery(call, b, c->name);
    access_submit(call, b, c->name,
                  "the second factor is on; keep the recovery codes, they are not shown again", "");
}

static void confirm_read(void *arg, enum store_result result, const struct store_batch *b)
{
    struct confirming *c = arg;
    struct command_call *call = c->call;
    struct factor f;
    ensure(worker_is_here(call->worker) && !call->ended);
    if (result != STORE_OK)
        command_fail_cause(call, err_of_store(result), "the secret could not be read");
    else if (!factor_of(b, c->name, call->arena, &f))
        command_fail(call, E_DOWN, "the secret cannot be used: see the alarm secrets.key");
    if (call->ended)
        return;
    if (store_row_count(b, 0) == 0 || f.confirmed) {
        command_fail(call, E_NOTFOUND, "%.*s has no secret to confirm; `admin totp` makes one",
                     SLICE_ARG(c->name));
        return;
    }
    int64_t step = totp_find(f.secret, command_arg(call, "code"), totp_step(clock_wall_us()));
    if (step < 0) {
        command_fail(call, E_AUTH,
                     "found a code that is not of this secret now; look at the clocks of the "
                     "server and of the app");
        return;
    }
    c->step = step;
    access_in_turn_with(call, confirm_write, c);
}

static void run_totp_confirm(struct command_call *call)
{
    struct worker *w = call->worker;
    struct confirming *c = arena_new(call->arena, struct confirming, 1);
    c->call = call;
    if (!factor_name(call, &c->name))
        return;
    struct store_batch *b = store_read(worker_store(w), 0);
    factor_add_read(b, c->name);
    store_submit(b, worker_loop(w), 0, confirm_read, c);
}

static void turn_totp_remove(struct command_call *call)
{
    slice name;
    if (!factor_name(call, &name))
        return;
    struct store_batch *b = access_change(call);
    factor_add_drop(b, name);
    access_submit(call, b, name, "the second factor is off", "it has no second factor");
}

static void run_totp_remove(struct command_call *call) { access_in_turn(call, turn_totp_remove); }

static void turn_recovery(struct command_call *call)
{
    slice name;
    if (!factor_name(call, &name))
        return;
    if (!factor_is_there(name)) {
        command_fail(call, E_NOTFOUND, "%.*s has no second factor; `admin totp` begins one",
                     SLICE_ARG(name));
        return;
    }
    struct store_batch *b = access_change(call);
    add_recovery(call, b, name);
    access_submit(call, b, name, "the recovery codes before these are not good any more",
                  "these are the first");
}

static void run_recovery(struct command_call *call) { access_in_turn(call, turn_recovery); }

#define NAME_ARG                                                                                   \
    {                                                                                              \
        .name = "name", .kind = ARG_POSITIONAL, .min = 1, .max = CONSOLE_NAME_MAX,                 \
        .refers = REFERS_ADMIN, .doc = "the administrator, or an account with a role"              \
    }
#define CHANGE                                                                                     \
    .effect = COMMAND_CHANGES, .area = "admins", .runs_at = COMMAND_DUTY, .duty = DUTY_ACCESS
#define CODE_COLUMNS                                                                               \
    (const struct command_column[])                                                                \
    {                                                                                              \
        { .name = "code", .doc = "a recovery code, good once instead of a code" }, { 0 }           \
    }

static struct command admin_totp = {
    .name = "admin totp",
    CHANGE,
    .args = (const struct command_arg[]){ NAME_ARG, { 0 } },
    .run = run_totp,
    .doc = "Makes the secret of a second factor (RFC 6238). It is not asked for before it was "
           "confirmed with a code.",
    .columns = (const struct command_column[]){ { .name = "secret", .doc = "for the app" },
                                                { .name = "uri", .doc = "the same, to scan" },
                                                { 0 } },
};
static struct command admin_totp_confirm = {
    .name = "admin totp-confirm",
    CHANGE,
    .args = (const struct command_arg[]){ NAME_ARG,
                                          { .name = "code",
                                            .kind = ARG_POSITIONAL,
                                            .type = PARAM_SECRET,
                                            .min = 1,
                                            .max = TOTP_TEXT_MAX,
                                            .doc = "the code that the app shows" },
                                          { 0 } },
    .run = run_totp_confirm,
    .doc = "Turns a second factor on with a first code; shows ten recovery codes.",
    .columns = CODE_COLUMNS,
};
static struct command admin_totp_remove = {
    .name = "admin totp-remove",
    CHANGE,
    .args = (const struct command_arg[]){ NAME_ARG, { 0 } },
    .run = run_totp_remove,
    .doc = "Takes the second factor away; with its recovery codes.",
    .asks = "The next login needs the password only.",
};
static struct command admin_recovery_codes = {
    .name = "admin recovery-codes",
    CHANGE,
    .args = (const struct command_arg[]){ NAME_ARG, { 0 } },
    .run = run_recovery,
    .doc = "Shows ten new recovery codes; those before are not good any more.",
    .columns = CODE_COLUMNS,
};

/* An account is deleted: whoever gets its address next has no second factor. */
static void factor_remove(struct account *a, struct store_batch *b) { factor_add_drop(b, a->jid); }

const struct feature second_factor_feature = {
    .name = "second_factor",
    .parts = PART_ACCOUNT,
    .schema = &schema,
    .settings = (struct setting *const[]){ &totp_roles, &totp_enrol, NULL },
    .commands = (struct command *const[]){ &admin_totp, &admin_totp_confirm, &admin_totp_remove,
                                           &admin_recovery_codes, NULL },
    .account.disown = factor_remove,
};
