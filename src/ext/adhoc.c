/* adhoc: Ad-Hoc Commands (XEP-0050): the command rows as forms in any client. Administrators
 * (setting admin.accounts) reach all of them at the server's address; everybody reaches those that
 * are for an owner's own account, there and at his own address.
 *
 * A command without arguments runs at once; one with arguments asks for them in one form. The
 * session between form and answer is a signed text in `sessionid`, so nothing is kept for it.
 *
 * Limits: SESSION_US from form to answer; ROWS_BYTES_MAX of an answer. */
#include "base/arena.h"
#include "base/buf.h"
#include "base/command.h"
#include "base/hex.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/rand.h"
#include "base/setting.h"
#include "codec/xml_elem.h"
#include "ext/admins.h"
#include "ext/ext.h"
#include "im/account.h"
#include "im/feature.h"
#include "im/node.h"
#include "im/worker.h"
#include "xmpp/disco_info.h"
#include "xmpp/form.h"
#include "xmpp/ns.h"
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>

#define NS_COMMANDS "http://jabber.org/protocol/commands"

enum {
    SESSION_US = 600 * 1000000,
    ROWS_BYTES_MAX = 200 << 10,
    KEY_BYTES = 32,
    MAC_BYTES = 16,
    COLUMNS_MAX = 24
};

static bool are_accounts(slice text)
{
    struct arena *tmp = arena_create(0);
    bool right = true;
    while (text.len > 0 && right) {
        struct jid jid;
        slice one;
        slice_cut(text, ' ', &one, &text);
        right = one.len == 0 || (jid_parse(&jid, one, tmp) == OK && jid.local.len > 0 &&
                                 jid.resource.len == 0 && slice_eq(jid.full, one));
    }
    arena_destroy(&tmp);
    return right;
}

static struct setting admin_accounts = {
    .name = "admin.accounts",
    .type = SET_STRING,
    .max = 4096,
    .def_text = "",
    .check = are_accounts,
    .form = "addresses of accounts, lower case, separated by spaces",
    .doc = "Accounts, separated by spaces, that may run every command from their clients (ad-hoc "
           "commands, XEP-0050) as `musterctl` does.",
};
static struct log_area log_adhoc = { .name = "adhoc" };
static char session_key[KEY_BYTES]; /* of this process */

bool admins_has(slice bare)
{
    slice one, rest = slice_of(setting_text(&admin_accounts));
    while (rest.len > 0) {
        slice_cut(rest, ' ', &one, &rest);
        if (one.len > 0 && slice_eq(one, bare))
            return true;
    }
    return false;
}

/* A node is the name of the command with hyphens: "user-add", unless a XEP gives it another. */
static void node_name(char out[64], const struct command *c)
{
    if (c->node != NULL) {
        snprintf(out, 64, "%s", c->node);
        return;
    }
    snprintf(out, 64, "%s", c->name);
    for (char *at = out; *at != '\0'; at++)
        if (*at == ' ')
            *at = '-';
}

static struct command *command_of(slice node)
{
    char name[64];
    for (struct command *c = command_first(); c != NULL; c = c->next) {
        node_name(name, c);
        if (slice_eq(slice_of(name), node))
            return c;
    }
    return NULL;
}

/* Who asks, and for what: at the own address only what is for owners. */
static bool may_run(const struct iq *iq, const struct command *c)
{
    bool own = c->access == COMMAND_OWN;
    if (iq->target == IQ_TO_SELF)
        return own;
    return iq->target == IQ_TO_SERVER &&
           (own ? iq->sender != NULL : admins_has(stanza_from_bare(iq->st)));
}

/* The account argument of a command for owners is who asks. */
static bool is_own_argument(const struct command *c, const struct command_arg *arg)
{
    return c->access == COMMAND_OWN && strcmp(arg->name, "jid") == 0;
}

static bool asks_something(const struct command *c)
{
    for (const struct command_arg *a = c->args; a != NULL && a->name != NULL; a++)
        if (!is_own_argument(c, a))
            return true;
    return false;
}

/* Sessions: time, and a keyed hash over it, the client and the node. */

static void session_mac(char out[2 * MAC_BYTES + 1], const struct iq *iq, slice node, slice time)
{
    unsigned char mac[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    slice from = stanza_from(iq->st);
    char *text = arena_printf(iq->tmp, "%.*s\n%.*s\n%.*s", SLICE_ARG(time), SLICE_ARG(from),
                              SLICE_ARG(node));
    HMAC(EVP_sha256(), session_key, KEY_BYTES, (const unsigned char *)text, strlen(text), mac,
         &len);
    hex_encode(out, (slice){ (const char *)mac, MAC_BYTES });
}

static slice session_make(const struct iq *iq, slice node)
{
    char mac[2 * MAC_BYTES + 1];
    const char *time =
        arena_printf(iq->tmp, "%llu", (unsigned long long)loop_wall_us(iq->worker->loop));
    session_mac(mac, iq, node, slice_of(time));
    return slice_of(arena_printf(iq->tmp, "%s.%s", time, mac));
}

enum session_state_of { SESSION_NONE, SESSION_BAD, SESSION_EXPIRED, SESSION_GOOD };

static enum session_state_of session_check(const struct iq *iq, slice node)
{
    char mac[2 * MAC_BYTES + 1];
    slice time, given, id = elem_attr(&iq->payload, "sessionid", iq->tmp);
    int64_t at;
    if (id.len == 0)
        return SESSION_NONE;
    if (!slice_cut(id, '.', &time, &given) || given.len != 2 * MAC_BYTES || !slice_int(time, &at))
        return SESSION_BAD;
    session_mac(mac, iq, node, time);
    if (CRYPTO_memcmp(mac, given.ptr, given.len) != 0)
        return SESSION_BAD;
    return loop_wall_us(iq->worker->loop) - (uint64_t)at > SESSION_US ? SESSION_EXPIRED
                                                                      : SESSION_GOOD;
}

/* §4.4 */
static void refuse(struct iq *iq, enum stanza_error e, const char *condition, slice text)
{
    iq_error_with(iq, e, text,
                  slice_of(arena_printf(iq->tmp, "<%s xmlns='" NS_COMMANDS "'/>", condition)));
}

/* What is answered. */

static void open_answer(struct buf *out, slice node, slice session, const char *status)
{
    buf_lit(out, "<command xmlns='" NS_COMMANDS "' node='");
    xml_escape(out, node);
    buf_lit(out, "' sessionid='");
    xml_escape(out, session);
    buf_printf(out, "' status='%s'>", status);
}

static void add_note(struct buf *out, const char *type, slice text)
{
    if (text.len == 0)
        return;
    buf_printf(out, "<note type='%s'>", type);
    xml_escape_clean(out, text);
    buf_lit(out, "</note>");
}

static void ask_argument(struct buf *out, const struct command_arg *a, struct arena *tmp)
{
    struct form_row row = { .var = a->name, .label = a->doc };
    unsigned n = 0;
    row.required = a->kind == ARG_POSITIONAL;
    row.type = a->kind == ARG_FLAG     ? FORM_BOOLEAN
               : a->kind == ARG_SECRET ? FORM_TEXT_PRIVATE
               : a->choices != NULL    ? FORM_LIST_SINGLE
                                       : FORM_TEXT_SINGLE;
    while (a->choices != NULL && a->choices[n] != NULL)
        n++;
    if (n > 0) {
        struct form_option *options = arena_new(tmp, struct form_option, n + 1);
        for (unsigned i = 0; i < n; i++)
            options[i] = (struct form_option){ a->choices[i], NULL };
        row.options = options;
    }
    form_ask(out, &row);
}

static void ask(struct iq *iq, const struct command *c, slice node)
{
    struct buf out;
    buf_init(&out, ROWS_BYTES_MAX);
    open_answer(&out, node, session_make(iq, node), "executing");
    buf_lit(&out, "<actions execute='complete'><complete/></actions>");
    form_open(&out, FORM_FORM, NULL);
    form_title(&out, c->name);
    form_instructions(&out, c->doc);
    for (const struct command_arg *a = c->args; a->name != NULL; a++)
        if (!is_own_argument(c, a))
            ask_argument(&out, a, iq->tmp);
    form_close(&out);
    buf_lit(&out, "</command>");
    iq_result(iq, buf_slice(&out));
    buf_fini(&out);
}

/* A command under way. */
struct run {
    struct command_call call;
    struct iq *iq; /* held */
    struct worker *worker;
    char actor[JID_MAX + 8];
};

/* The columns of a table: those of the row, or the keys of its first line. */
static unsigned columns_of(const struct command_call *call, const char *column[COLUMNS_MAX])
{
    unsigned n = 0;
    const struct command_row *first = call->rows;
    for (const char *const *c = call->command->columns; c != NULL && *c != NULL; c++)
        if (n < COLUMNS_MAX)
            column[n++] = *c;
    for (uint32_t i = 0; n == 0 && first != NULL && i < first->count && i < COLUMNS_MAX; i++)
        column[i] = first->fields[i].key;
    if (n == 0 && first != NULL)
        n = first->count < COLUMNS_MAX ? first->count : COLUMNS_MAX;
    return n;
}

static void add_row(struct buf *out, const struct command_row *r, const char *const *column,
                    unsigned count)
{
    form_item_open(out);
    for (unsigned c = 0; c < count; c++)
        for (uint32_t i = 0; i < r->count; i++)
            if (strcmp(r->fields[i].key, column[c]) == 0)
                form_put(out, column[c], r->fields[i].str);
    form_item_close(out);
}

/* The fields of the one row, where a XEP defines them. */
static void add_fields(struct buf *out, const struct command_call *call)
{
    form_open(out, FORM_RESULT, call->command->form_type);
    for (uint32_t i = 0; call->rows != NULL && i < call->rows->count; i++)
        form_put(out, call->rows->fields[i].key, call->rows->fields[i].str);
    form_close(out);
}

/* false: not all rows had room. */
static bool add_table(struct buf *out, const struct command_call *call)
{
    const char *column[COLUMNS_MAX];
    struct form_row rows[COLUMNS_MAX] = { 0 };
    unsigned n = columns_of(call, column);
    if (call->rows == NULL)
        return true;
    if (call->command->form_type != NULL) {
        add_fields(out, call);
        return true;
    }
    for (unsigned i = 0; i < n; i++)
        rows[i] = (struct form_row){ .var = column[i], .label = column[i] };
    form_open(out, FORM_RESULT, NULL);
    form_title(out, call->command->name);
    form_reported(out, rows, n);
    const struct command_row *r = call->rows;
    for (; r != NULL && out->len < ROWS_BYTES_MAX / 2; r = r->next)
        add_row(out, r, column, n);
    form_close(out);
    return r == NULL;
}

static void answer(struct worker *w, void *arg)
{
    struct run *run = arg;
    const struct command_call *call = &run->call;
    struct iq *iq = run->iq;
    struct buf out;
    char node[64];
    (void)w;
    command_audit(call, &log_adhoc);
    node_name(node, call->command);
    buf_init(&out, ROWS_BYTES_MAX);
    open_answer(&out, slice_of(node), session_make(iq, slice_of(node)), "completed");
    if (call->err != OK) {
        add_note(&out, "error", call->text);
    } else {
        add_note(&out, "info", call->text);
        if (!add_table(&out, call))
            add_note(&out, "warn", SLICE("There are more lines than a stanza can hold."));
    }
    buf_lit(&out, "</command>");
    if (out.overflow)
        iq_error(iq, SE_RESOURCE_CONSTRAINT, SLICE("the answer is too long for a stanza"));
    else
        iq_result(iq, buf_slice(&out));
    buf_fini(&out);
    arena_destroy(&run->call.arena);
    mem_free(&run);
}

static void finished(struct command_call *call, void *arg)
{
    struct run *run = arg;
    (void)call;
    node_call(run->worker->node, run->worker->index, answer, run);
}

/* The values of the form as arguments. A flag is a boolean field. */
static bool arguments_of(struct iq *iq, const struct command *c, struct run *run, struct why *why)
{
    slice names[COMMAND_ARGS_MAX], values[COMMAND_ARGS_MAX];
    size_t n = 0;
    struct form f = { 0 };
    bool form = form_parse_child(&f, &iq->payload, iq->tmp);
    for (const struct command_arg *a = c->args; a != NULL && a->name != NULL; a++) {
        slice text = { 0 };
        bool set = false;
        if (is_own_argument(c, a))
            text = stanza_from_bare(iq->st);
        else if (form && a->kind == ARG_FLAG && form_bool(&f, a->name, &set))
            text = set ? SLICE("true") : (slice){ 0 };
        else if (form && a->kind != ARG_FLAG)
            form_text(&f, a->name, &text);
        if (text.len == 0)
            continue;
        names[n] = slice_of(a->name);
        values[n++] = text;
    }
    if (f.error != SE_NONE) {
        why_set(why, "%.*s", SLICE_ARG(f.text));
        return false;
    }
    return command_bind(&run->call, names, values, n, why) == OK;
}

static void run_command(struct iq *iq, struct command *c)
{
    struct run *run = mem_new(struct run);
    struct why why;
    snprintf(run->actor, sizeof run->actor, "xmpp:%.*s", SLICE_ARG(stanza_from(iq->st)));
    run->worker = iq->worker;
    run->call = (struct command_call){ .command = c,
                                       .arena = arena_create(0),
                                       .worker = iq->worker,
                                       .actor = slice_of(run->actor),
                                       .finished = finished,
                                       .arg = run };
    if (!arguments_of(iq, c, run, &why)) {
        refuse(iq, SE_BAD_REQUEST, "bad-payload", slice_of(arena_printf(iq->tmp, "%s", why.text)));
        arena_destroy(&run->call.arena);
        mem_free(&run);
        return;
    }
    run->iq = iq_hold(iq);
    c->run(&run->call);
}

static void cancel(struct iq *iq, slice node)
{
    struct buf out;
    buf_init(&out, 8192);
    open_answer(&out, node, elem_attr(&iq->payload, "sessionid", iq->tmp), "canceled");
    buf_lit(&out, "</command>");
    iq_result(iq, buf_slice(&out));
    buf_fini(&out);
}

enum action { ACTION_RUN, ACTION_CANCEL, ACTION_BACK, ACTION_UNKNOWN };

/* §3.4: with one form there is nothing before it, and what comes next is its end. */
static enum action action_of(const struct iq *iq)
{
    slice action = elem_attr(&iq->payload, "action", iq->tmp);
    if (action.len == 0 || slice_is(action, "execute") || slice_is(action, "complete") ||
        slice_is(action, "next"))
        return ACTION_RUN;
    if (slice_is(action, "prev"))
        return ACTION_BACK;
    return slice_is(action, "cancel") ? ACTION_CANCEL : ACTION_UNKNOWN;
}

static void execute(struct iq *iq)
{
    slice node = elem_attr(&iq->payload, "node", iq->tmp);
    struct command *c = command_of(node);
    if (c == NULL) {
        iq_error(iq, SE_ITEM_NOT_FOUND, SLICE("there is no such command"));
        return;
    }
    if (!may_run(iq, c)) {
        iq_error(iq, SE_FORBIDDEN, SLICE("only administrators may run this command"));
        return;
    }
    enum session_state_of session = session_check(iq, node);
    enum action action = action_of(iq);
    if (session == SESSION_BAD)
        refuse(iq, SE_BAD_REQUEST, "bad-sessionid", (slice){ 0 });
    else if (session == SESSION_EXPIRED)
        refuse(iq, SE_NOT_ALLOWED, "session-expired", (slice){ 0 });
    else if (action == ACTION_UNKNOWN)
        refuse(iq, SE_BAD_REQUEST, "malformed-action", (slice){ 0 });
    else if (action == ACTION_BACK || (action == ACTION_CANCEL && session == SESSION_NONE))
        refuse(iq, SE_BAD_REQUEST, "bad-action", (slice){ 0 });
    else if (action == ACTION_CANCEL)
        cancel(iq, node);
    else if (session == SESSION_NONE && asks_something(c))
        ask(iq, c, node);
    else
        run_command(iq, c);
}

/* Discovery (§3.1, §3.2). */

static bool list_commands(struct iq *iq)
{
    struct buf out;
    char node[64];
    buf_init(&out, ROWS_BYTES_MAX);
    buf_lit(&out, "<query xmlns='" NS_DISCO_ITEMS "' node='" NS_COMMANDS "'>");
    for (struct command *c = command_first(); c != NULL; c = c->next) {
        if (!may_run(iq, c))
            continue;
        node_name(node, c);
        buf_lit(&out, "<item jid='");
        xml_escape(&out, stanza_to_bare(iq->st));
        buf_printf(&out, "' node='%s' name='", node);
        xml_escape(&out, slice_of(c->doc));
        buf_lit(&out, "'/>");
    }
    buf_lit(&out, "</query>");
    iq_result(iq, buf_slice(&out));
    buf_fini(&out);
    return true;
}

static bool describe(struct iq *iq, slice node, const struct command *c)
{
    struct disco_info *d = arena_new(iq->tmp, struct disco_info, 1);
    struct buf out;
    if (c != NULL && !may_run(iq, c)) {
        iq_error(iq, SE_FORBIDDEN, (slice){ 0 });
        return true;
    }
    disco_add_identity(d, SLICE("automation"),
                       c == NULL ? SLICE("command-list") : SLICE("command-node"),
                       c == NULL ? SLICE("") : slice_of(c->name));
    disco_add_feature(d, SLICE(NS_COMMANDS));
    disco_add_feature(d, SLICE(NS_DATA));
    buf_init(&out, 16384);
    disco_write_info(&out, d, node);
    iq_result(iq, buf_slice(&out));
    buf_fini(&out);
    return true;
}

static bool discover(struct iq *iq, slice node)
{
    bool items = slice_is(iq->payload.ns_uri, NS_DISCO_ITEMS), list = slice_is(node, NS_COMMANDS);
    const struct command *c = list || node.len == 0 ? NULL : command_of(node);
    if ((iq->target != IQ_TO_SERVER && iq->target != IQ_TO_SELF) || (!list && c == NULL))
        return false;
    if (items && list)
        return list_commands(iq);
    return !items && describe(iq, node, c);
}

static void start(void) { rand_bytes(session_key, sizeof session_key); }

static const struct iq_rule rules[] = {
    { TYPE_SET, NS_COMMANDS, "command", IQ_TO_SERVER | IQ_TO_SELF, execute },
    { 0 },
};
static const char *const disco[] = { NS_COMMANDS, NULL };

const struct feature adhoc_feature = {
    .name = "adhoc",
    .disco = disco,
    .disco_account = disco,
    .iq = rules,
    .xeps =
        (const struct xep[]){
            { "0004", "2.13.1", "Data Forms", "0.1.0", "form_test", NULL },
            { "0050", "1.2", "Ad-Hoc Commands", "0.1.0", "test_adhoc", NULL },
            { "0068", "1.3.0", "Field Standardization for Data Forms", "0.1.0", "form_test", NULL },
            { 0 },
        },
    .settings = (struct setting *const[]){ &admin_accounts, NULL },
    .logs = (struct log_area *const[]){ &log_adhoc, NULL },
    .start = start,
    .disco_get = discover,
};
