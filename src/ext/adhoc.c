/* adhoc: Ad-Hoc Commands (XEP-0050): the command rows as forms in any client. Administrators
 * (setting admin.accounts) reach all of them at the server's address and at their own; others reach
 * those that are for an owner's own account, at both as well. Such a command asks for the account
 * if its caller may name another one.
 *
 * A command without arguments runs at once; one with arguments asks for them in one form. Other
 * forms that run the same commands are rows of features (core/command_form.h).
 *
 * Limits: those of sessions (ext/adhoc_session.h); ROWS_BYTES_MAX of an answer. */
#include "account/account.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/command.h"
#include "base/ensure.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/setting.h"
#include "codec/xml_elem.h"
#include "codec/xml_write.h"
#include "core/command_form.h"
#include "core/feature.h"
#include "ext/adhoc_session.h"
#include "ext/adhoc_words.h"
#include "ext/ext.h"
#include "home/command_run.h"
#include "home/here.h"
#include "home/message.h"
#include "ops/access.h"
#include "ops/audit_command.h"
#include "ops/command_late.h"
#include "ops/second_factor.h"
#include "xmpp/disco_info.h"
#include "xmpp/form.h"
#include "xmpp/ns.h"
#include <stdio.h>
#include <stdlib.h>

enum {
    ROWS_BYTES_MAX = 200 << 10,
    COLUMNS_MAX = 48,
    TITLE_BYTES_MAX = 96,
    WORDS_BYTES_MAX = 128 << 10, /* addresses in one argument */
    LISTED_MAX = 512
};
#define ROWS_ALL UINT32_MAX

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

/* The first of two words; commands of one word belong to the server. */
static slice adhoc_group_of(const struct command *c)
{
    const char *space = strchr(c->name, ' ');
    return space == NULL ? SLICE("server") : (slice){ c->name, (size_t)(space - c->name) };
}

/* For people: "User: creates an account". */
static void adhoc_title_of(char out[TITLE_BYTES_MAX], const struct command *c)
{
    slice group = adhoc_group_of(c), brief = command_brief(c->doc);
    snprintf(out, TITLE_BYTES_MAX, "%.*s: %.*s", SLICE_ARG(group), SLICE_ARG(brief));
    if (out[0] >= 'a' && out[0] <= 'z')
        out[0] = (char)(out[0] - 'a' + 'A');
    for (size_t i = 0; i < group.len; i++)
        if (out[i] == '-')
            out[i] = ' ';
    char *first = out + group.len + 2;
    if (*first >= 'A' && *first <= 'Z')
        *first = (char)(*first - 'A' + 'a');
}

/* What a node stands for. */
struct target {
    struct command *command;         /* NULL: there is none, or nobody may run it */
    const struct command_form *form; /* NULL: the row as it is */
};

static struct target target_form(const struct command_form *f)
{
    return (struct target){ f->command == NULL ? NULL : command_find(slice_of(f->command)), f };
}

static bool target_of(slice node, struct target *out)
{
    char name[64];
    *out = (struct target){ 0 };
    FEATURES_EACH (f, command_forms)
        for (const struct command_form *at = f->command_forms; at->node != NULL; at++)
            if (slice_is(node, at->node)) {
                *out = target_form(at);
                return at->command == NULL || out->command != NULL;
            }
    for (struct command *c = command_first(); c != NULL; c = c->next) {
        node_name(name, c);
        if (slice_eq(slice_of(name), node)) {
            out->command = c;
            return true;
        }
    }
    return false;
}

/* The account that sends it. Only users of this server, and those who ask their own account, have
 * an own one. Only who logged in here has a role, whatever gave it: an address says nothing if it
 * is of another server, as after a domain has moved there, or of a component that speaks for a
 * user. */
static struct principal adhoc_principal(const struct iq *iq)
{
    slice bare = stanza_from_bare(iq->st);
    struct principal p = {
        .kind = PRINCIPAL_ACCOUNT,
        .weak = !iq_by_password(iq),
        .actor = slice_of(arena_printf(iq->tmp, "xmpp:%.*s", SLICE_ARG(stanza_from(iq->st)))),
        .own = iq->sender != NULL || iq->target == IQ_TO_SELF ? bare : (slice){ 0 },
    };
    if (iq->session != NULL) {
        p.from = slice_dup(iq->tmp, slice_of(ip_print(&iq->session->peer).text));
        access_of_account(bare, iq->tmp, &p);
    }
    if (p.role.len > 0 && (factor_is_demanded(p.role) || factor_is_there(bare)))
        p.weak = true; /* XMPP asks for no second factor */
    return p;
}

/* An administrator also finds all commands at the own bare address, because clients look for
 * commands there (XEP-0133 §3). */
static bool adhoc_allowed(const struct iq *iq, const struct target *t, struct why *why)
{
    struct principal p;
    if (iq->target != IQ_TO_SELF && iq->target != IQ_TO_SERVER) {
        why_set(why, "commands are run at the address of the server");
        return false;
    }
    p = adhoc_principal(iq);
    if (t->command == NULL) { /* which nobody may run */
        why_set(why, "only administrators may run this command");
        return p.role.len > 0;
    }
    if (t->form != NULL) /* is about others */
        p.own = (slice){ 0 };
    return command_allowed(t->command, &p, why) == OK;
}

static bool may_run(const struct iq *iq, const struct target *t)
{
    struct why why;
    return adhoc_allowed(iq, t, &why);
}

/* The account of a command that users have for their own one. */
static bool is_own_argument(const struct command *c, const struct command_arg *arg)
{
    return c->access == COMMAND_OWN && strcmp(arg->name, "jid") == 0;
}

/* A caller who may run it for other accounts, too, is asked for the account; but not where a XEP
 * defines a command that runs at once. */
static bool asks_for_own(const struct iq *iq, const struct command *c)
{
    struct principal p = adhoc_principal(iq);
    struct why why;
    p.own = (slice){ 0 };
    return c->node == NULL && command_allowed(c, &p, &why) == OK;
}

static bool asks_argument(const struct iq *iq, const struct command *c, const struct command_arg *a)
{
    return !is_own_argument(c, a) || asks_for_own(iq, c);
}

static bool asks_something(const struct iq *iq, const struct target *t)
{
    if (t->form != NULL)
        return t->form->fields != NULL;
    for (const struct command_arg *a = t->command->args; a != NULL && a->name != NULL; a++)
        if (asks_argument(iq, t->command, a))
            return true;
    return false;
}

/* §4.4 */
static void adhoc_refuse(struct iq *iq, enum stanza_error e, const char *condition, slice text)
{
    iq_error_with(iq, e, text,
                  slice_of(arena_printf(iq->tmp, "<%s xmlns='" NS_COMMANDS "'/>", condition)));
}

/* What is answered. */

static void open_answer(struct xml_write *x, slice node, slice session, const char *status)
{
    xml_open_with(x, "command", NS_COMMANDS, "node", node);
    xml_attr(x, "sessionid", session);
    xml_attr(x, "status", slice_of(status));
}

static void add_note(struct xml_write *x, const char *type, slice text)
{
    if (text.len == 0)
        return;
    xml_open_with(x, "note", NULL, "type", slice_of(type));
    xml_text_clean(x, text);
    xml_close(x);
}

/* The options that can be removed (struct command.empties), as values of the field REMOVE. */
#define REMOVE "remove"

static bool adhoc_is_removed(const struct command_arg *a)
{
    return a->kind == ARG_OPTION && a->choices == NULL && a->type == PARAM_TEXT;
}

static void ask_removed(struct xml_write *x, const struct command *c)
{
    struct form_option options[COMMAND_ARGS_MAX + 1] = { 0 };
    struct form_row row = {
        .var = REMOVE, .label = ADHOC_REMOVE_LABEL, .type = FORM_LIST_MULTI, .options = options
    };
    size_t n = 0;
    for (const struct command_arg *a = c->args; a->name != NULL; a++)
        if (adhoc_is_removed(a))
            options[n++] = (struct form_option){ a->name, a->doc };
    form_ask(x, &row);
}

static const struct form_option *adhoc_options(const struct command_arg *a, struct arena *tmp)
{
    static const struct form_option on_off[] = { { "on", NULL }, { "off", NULL }, { 0 } };
    size_t n = 0;
    if (a->kind == ARG_OPTION && a->choices == NULL && a->type == PARAM_BOOL)
        return on_off;
    while (a->choices != NULL && a->choices[n] != NULL)
        n++;
    struct form_option *options = arena_new(tmp, struct form_option, n + 1);
    for (size_t i = 0; i < n; i++)
        options[i] = (struct form_option){ a->choices[i], NULL };
    return n > 0 ? options : NULL;
}

static void ask_argument(struct xml_write *x, const struct command_arg *a, slice value,
                         struct arena *tmp)
{
    struct form_row row = { .var = a->name, .label = a->doc, .options = adhoc_options(a, tmp) };
    row.required = a->kind == ARG_POSITIONAL;
    row.type = a->kind == ARG_FLAG        ? FORM_BOOLEAN
               : a->lines                 ? FORM_TEXT_MULTI
               : command_arg_is_secret(a) ? FORM_TEXT_PRIVATE
               : row.options != NULL      ? FORM_LIST_SINGLE
               : a->many                  ? FORM_TEXT_MULTI
                                          : FORM_TEXT_SINGLE;
    if (value.len > 0)
        form_ask_value(x, &row, value);
    else
        form_ask(x, &row);
}

/* The values that are there already: words, or lines. */
static void adhoc_ask_field(struct xml_write *x, const struct command_ask *f)
{
    const struct setting *s = f->setting == NULL ? NULL : setting_find(slice_of(f->setting));
    slice one, rest = slice_of(s != NULL            ? setting_text(s)
                               : f->offered != NULL ? f->offered()
                                                    : "");
    form_ask_open(x, &f->row);
    while (rest.len > 0) {
        slice_cut(rest, f->use == USE_WORDS ? ' ' : '\n', &one, &rest);
        if (one.len > 0 || f->use == USE_LINES)
            form_value(x, one);
    }
    form_field_close(x);
}

static void ask_arguments(struct xml_write *x, const struct iq *iq, const struct command *c)
{
    char title[TITLE_BYTES_MAX];
    adhoc_title_of(title, c);
    form_open_titled(x, FORM_FORM, NULL, title, c->doc);
    for (const struct command_arg *a = c->args; a->name != NULL; a++)
        if (asks_argument(iq, c, a))
            ask_argument(x, a, is_own_argument(c, a) ? stanza_from_bare(iq->st) : (slice){ 0 },
                         iq->tmp);
    if (c->empties)
        ask_removed(x, c);
}

static void adhoc_ask(struct iq *iq, const struct target *t, slice node)
{
    struct buf out;
    struct xml_write x;
    xml_begin(&x, &out, XML_STANZA_MAX);
    open_answer(&x, node, adhoc_session_make(iq, node), "executing");
    xml_raw(&x, SLICE("<actions execute='complete'><complete/></actions>"));
    if (t->form == NULL) {
        ask_arguments(&x, iq, t->command);
    } else {
        form_open_titled(&x, FORM_FORM, t->form->form_type, t->form->title, t->form->instructions);
        for (const struct command_ask *f = t->form->fields; f->row.var != NULL; f++)
            adhoc_ask_field(&x, f);
    }
    form_close(&x);
    iq_result_xml(iq, &x);
}

/* A command under way, once or for each of some addresses. */
struct run {
    struct command_call call;
    struct target target;
    struct iq *iq; /* held; NULL: it was answered while a call ran */
    struct worker *worker;
    struct command_return ended;
    struct command_late late;
    slice names[COMMAND_ARGS_MAX], values[COMMAND_ARGS_MAX];
    size_t count;
    const slice *each; /* values of the argument at `each_at`, one a call */
    unsigned each_count, each_next, failed;
    size_t each_at;
    slice why; /* of those that failed */
};

/* The columns of a table: those that are not wide and in its first line, or in every line. */
static unsigned columns_of(const struct command_call *call, const char *column[COLUMNS_MAX])
{
    unsigned n = 0;
    const struct command_column *c = call->command->columns;
    for (; c != NULL && c->name != NULL && n < COLUMNS_MAX; c++)
        if (!c->wide && (!c->optional || command_row_text(call->rows, c->name).ptr != NULL))
            column[n++] = c->name;
    return n;
}

static void adhoc_add_row(struct xml_write *x, const struct command_row *r,
                          const char *const *column, unsigned count)
{
    form_item_open(x);
    for (unsigned c = 0; c < count; c++)
        for (uint32_t i = 0; i < r->count; i++)
            if (strcmp(r->fields[i].key, column[c]) == 0)
                form_put(x, column[c], r->fields[i].str);
    form_item_close(x);
}

/* The fields of the one row, where a XEP defines them. */
static void add_fields(struct xml_write *x, const struct command_call *call)
{
    form_open(x, FORM_RESULT, call->command->form_type);
    for (uint32_t i = 0; call->rows != NULL && i < call->rows->count; i++)
        form_put(x, command_hyphened(call->rows->fields[i].key).text, call->rows->fields[i].str);
    form_close(x);
}

/* How many rows had room, or ROWS_ALL. */
static uint32_t add_table(struct xml_write *x, const struct command_call *call)
{
    const char *column[COLUMNS_MAX];
    struct form_row rows[COLUMNS_MAX] = { 0 };
    uint32_t shown = 0;
    if (call->rows == NULL)
        return ROWS_ALL;
    unsigned n = columns_of(call, column);
    if (call->command->form_type != NULL) {
        add_fields(x, call);
        return ROWS_ALL;
    }
    for (unsigned i = 0; i < n; i++)
        rows[i] = (struct form_row){ .var = column[i], .label = column[i] };
    char title[TITLE_BYTES_MAX];
    adhoc_title_of(title, call->command);
    form_open_titled(x, FORM_RESULT, NULL, title, NULL);
    form_reported(x, rows, n);
    const struct command_row *r = call->rows;
    for (; r != NULL && x->out->len < ROWS_BYTES_MAX / 2; r = r->next, shown++)
        adhoc_add_row(x, r, column, n);
    form_close(x);
    return r == NULL ? ROWS_ALL : shown;
}

static slice result_value(const struct command_row *r, const struct command_result *at)
{
    return at->name == NULL || slice_is(command_row_text(r, "name"), at->name)
               ? command_row_text(r, at->column)
               : (slice){ 0 };
}

/* As XEP-0133 §9.2 registers it; several values need a type that has several (XEP-0004 §3.3). */
static enum form_type result_type(const struct run *run, const struct command_result *at)
{
    unsigned values = 0;
    slice var = slice_of(at->var);
    if (var.len > 4 && slice_is(slice_from(var, var.len - 4), "jids"))
        return FORM_JID_MULTI;
    for (const struct command_row *r = run->call.rows; r != NULL && values < 2; r = r->next)
        values += result_value(r, at).len > 0;
    return values < 2 ? FORM_TEXT_SINGLE : FORM_TEXT_MULTI;
}

static uint32_t add_results(struct xml_write *x, const struct run *run)
{
    const struct command_form *form = run->target.form;
    bool all = true;
    if (form->results == NULL && form->write == NULL)
        return ROWS_ALL;
    form_open(x, FORM_RESULT, run->target.form->form_type);
    for (const struct command_result *at = form->results; at != NULL && at->var != NULL; at++) {
        const struct command_row *r = run->call.rows;
        form_put_open(x, at->var, result_type(run, at));
        for (; r != NULL && x->out->len < ROWS_BYTES_MAX / 2; r = r->next) {
            slice value = result_value(r, at);
            if (value.len > 0)
                form_value(x, value);
        }
        form_field_close(x);
        all = all && r == NULL;
    }
    if (form->write != NULL)
        form->write(x, &run->call);
    form_close(x);
    return all ? ROWS_ALL : 0;
}

/* Not all rows had room: with fewer, the call says the place behind those that are shown. */
static void adhoc_note_cut(struct xml_write *x, const struct command_call *call, uint32_t shown)
{
    const char *text = "There are more lines than a stanza can hold.";
    if (shown > 0 && adhoc_has_pages(call->command))
        text = arena_printf(call->arena,
                            "The first %u lines are shown: a stanza can hold no more. Run it again "
                            "with the limit %u: the answer then says where to go on.",
                            shown, shown);
    add_note(x, "warn", slice_of(text));
}

static void run_free(struct run *run)
{
    ensure(run->call.arena != NULL);
    arena_destroy(&run->call.arena);
    mem_free(&run);
}

/* A command that ran is completed, with a note of type "error" if it failed (§4.3). A command that
 * was not run gets a stanza error. */
static void run_answer(struct run *run)
{
    const struct command_call *call = &run->call;
    struct iq *iq = run->iq;
    struct buf out;
    struct xml_write x;
    slice node = elem_attr(&iq->payload, "node", iq->tmp);
    bool rows = run->target.form == NULL, any = run->failed == 0 || run->failed < run->each_count;
    bool shows = any || (rows && call->command->report);
    xml_begin(&x, &out, XML_STANZA_MAX);
    open_answer(&x, node, adhoc_session_of(iq, node), "completed");
    uint32_t shown = !shows ? ROWS_ALL : rows ? add_table(&x, call) : add_results(&x, run);
    if (run->failed > 0 && any && run->each_count > 0)
        add_note(&x, "error",
                 slice_of(arena_printf(iq->tmp, "%.*s; done for the other %u", SLICE_ARG(run->why),
                                       run->each_count - run->failed)));
    else if (run->failed > 0)
        add_note(&x, "error", run->why);
    else if (run->each_count <= 1 && (shown == ROWS_ALL || !adhoc_has_pages(call->command)))
        add_note(&x, "info", rows ? adhoc_words_done(call) : call->text);
    if (shown != ROWS_ALL)
        adhoc_note_cut(&x, call, shown);
    iq_result_xml(iq, &x);
    run_free(run);
}

static void call_next(struct run *run);

static void call_audited(struct worker *w, void *arg)
{
    struct run *run = arg;
    const struct command_call *call = &run->call;
    (void)w;
    if (call->err != OK) {
        slice sep = run->failed++ > 0 ? SLICE("; ") : SLICE("");
        slice said = run->target.form == NULL ? adhoc_words_failed(call) : call->text;
        if (run->why.len < ADHOC_TEXT_BYTES_MAX)
            run->why = slice_of(arena_printf(call->arena, "%.*s%.*s%.*s", SLICE_ARG(run->why),
                                             SLICE_ARG(sep), SLICE_ARG(said)));
    }
    if (run->each_next < run->each_count)
        call_next(run);
    else if (run->iq != NULL)
        run_answer(run);
    else
        run_free(run);
}

static void call_ended(struct command_return *r)
{
    struct run *run = CONTAINER_OF(r, struct run, ended);
    command_late_over(&run->late);
    audit_command_then(&run->call, call_audited, run);
}

static void adhoc_finished(struct command_call *call, void *arg)
{
    struct run *run = arg;
    (void)call;
    ensure(run->worker != NULL && worker_here() != NULL);
    command_return(&run->ended, run->worker, call_ended);
}

/* The calls for the other addresses go on, too. */
static void adhoc_late(struct command_late *late, const char *text)
{
    struct run *run = CONTAINER_OF(late, struct run, late);
    struct iq *iq = run->iq;
    struct buf out;
    struct xml_write x;
    if (iq == NULL)
        return;
    slice node = elem_attr(&iq->payload, "node", iq->tmp);
    run->iq = NULL;
    xml_begin(&x, &out, XML_PART_MAX);
    open_answer(&x, node, adhoc_session_of(iq, node), "completed");
    add_note(&x, "error", slice_of(text));
    iq_result_xml(iq, &x);
}

static void adhoc_run_call(struct run *run)
{
    command_late_watch(&run->late, &run->call, adhoc_late);
    command_run(&run->call);
}

/* The next address, with the rows that are there already. What was bound once can be bound again.
 */
static void call_next(struct run *run)
{
    struct why why;
    struct command_call *call = &run->call;
    run->values[run->each_at] = run->each[run->each_next++];
    call->ended = false;
    call->err = command_bind(call, run->names, run->values, run->count, &why);
    ensure(call->err == OK);
    call->worker = run->worker;
    adhoc_run_call(run);
}

/* The values of a field as words, or as lines. */
static slice adhoc_joined(struct form *f, const char *var, const slice *value, unsigned count,
                          const char *between, struct arena *arena)
{
    struct buf out;
    buf_init(&out, WORDS_BYTES_MAX);
    for (unsigned i = 0; i < count; i++) {
        if (i > 0)
            buf_add(&out, slice_of(between));
        buf_add(&out, value[i]);
    }
    if (out.overflow)
        form_wrong(f, SE_NOT_ACCEPTABLE, "%s: found more than %d KiB of addresses", var,
                   WORDS_BYTES_MAX / 1024);
    slice text = out.overflow ? (slice){ 0 } : slice_dup(arena, buf_slice(&out));
    buf_fini(&out);
    return text;
}

/* A text that is no address is refused when it is bound. f NULL: there is no form. */
static slice adhoc_own_value(const struct iq *iq, struct form *f, const struct command_arg *a)
{
    slice text;
    struct jid jid;
    if (f == NULL || !form_text(f, a->name, &text) || text.len == 0)
        return stanza_from_bare(iq->st);
    return form_jid(f, a->name, &jid) ? jid.full : text;
}

static bool adhoc_has_value(const struct run *run, const char *name)
{
    size_t i = 0;
    while (i < run->count && !slice_is(run->names[i], name))
        i++;
    return i < run->count;
}

static void take_removed(struct run *run, struct form *f)
{
    const slice *names;
    unsigned count = 0;
    (void)form_values(f, REMOVE, &names, &count);
    for (unsigned i = 0; i < count; i++) {
        const struct command_arg *a = run->target.command->args;
        while (a->name != NULL && !slice_is(names[i], a->name))
            a++;
        if (a->name == NULL || !adhoc_is_removed(a))
            form_wrong(f, SE_NOT_ACCEPTABLE, "%s: %.*s is none of the options", REMOVE,
                       SLICE_ARG(names[i]));
        else if (adhoc_has_value(run, a->name))
            form_wrong(f, SE_NOT_ACCEPTABLE, "%s: %s has a new value, or is there twice", REMOVE,
                       a->name);
        else {
            run->names[run->count] = slice_of(a->name);
            run->values[run->count++] = SLICE("");
        }
    }
}

/* The arguments of a row, by their names. A flag is a boolean field. */
static void take_arguments(struct iq *iq, struct run *run, struct form *f)
{
    const struct command *c = run->target.command;
    bool form = form_parse_child(f, &iq->payload, iq->tmp);
    for (const struct command_arg *a = c->args; a != NULL && a->name != NULL; a++) {
        slice text = { 0 };
        const slice *many;
        unsigned count = 0;
        bool set = false;
        if (is_own_argument(c, a))
            text = adhoc_own_value(iq, form ? f : NULL, a);
        else if (form && a->kind == ARG_FLAG && form_bool(f, a->name, &set))
            text = set ? SLICE("true") : (slice){ 0 };
        else if (form && (a->many || a->lines) && form_values(f, a->name, &many, &count))
            text = adhoc_joined(f, a->name, many, count, a->lines ? "\n" : " ", run->call.arena);
        else if (form && a->kind != ARG_FLAG && !a->many && !a->lines)
            form_text(f, a->name, &text);
        if (text.len == 0)
            continue;
        run->names[run->count] = slice_of(a->name);
        run->values[run->count++] = text;
    }
    if (form && c->empties)
        take_removed(run, f);
}

static bool is_option(const struct form_option *o, slice value)
{
    while (o->value != NULL && !slice_is(value, o->value))
        o++;
    return o->value != NULL;
}

/* One field as the text of an argument; empty: none. */
static slice adhoc_value_of(struct form *f, const struct command_ask *field, struct run *run)
{
    const char *var = field->row.var;
    const slice *many;
    unsigned count = 0;
    struct jid jid;
    slice text = { 0 };
    switch (field->use) {
    case USE_VALUE:
        if (form_text(f, var, &text) && text.len > 0 && field->row.options != NULL &&
            !is_option(field->row.options, text))
            form_wrong(f, SE_NOT_ACCEPTABLE, "%s: %.*s is none of the options", var,
                       SLICE_ARG(text));
        break;
    case USE_JID:
        if (form_jid(f, var, &jid))
            text = jid.full;
        break;
    case USE_LINES:
        form_lines(f, var, &text);
        break;
    case USE_SAME:
        form_text(f, var, &text);
        break;
    case USE_EACH:
        if (form_jids(f, var, &many, &count) && count > 0) {
            run->each = many;
            run->each_count = count;
            run->each_at = run->count;
            text = many[0];
        }
        break;
    case USE_WORDS:
        if (form_jids(f, var, &many, &count))
            text = adhoc_joined(f, var, many, count, " ", run->call.arena);
        break;
    }
    return field->none != NULL && slice_is(text, field->none) ? (slice){ 0 } : text;
}

/* What was retyped, against the argument that it repeats. */
static void check_same(const struct run *run, struct form *f, const struct command_ask *field,
                       slice text)
{
    for (size_t i = 0; i < run->count; i++)
        if (slice_is(run->names[i], field->arg) && !slice_eq(run->values[i], text))
            form_wrong(f, SE_NOT_ACCEPTABLE, "%s is not what %s is", field->row.var, field->arg);
}

static void take_fields(struct iq *iq, struct run *run, struct form *f)
{
    const struct command_form *form = run->target.form;
    for (const char *const *at = form->fixed; at != NULL && *at != NULL; at += 2) {
        run->names[run->count] = slice_of(at[0]);
        run->values[run->count++] = slice_of(at[1]);
    }
    if (form->fields == NULL || !form_parse_child(f, &iq->payload, iq->tmp))
        return;
    if (f->form_type.len > 0 && !slice_is(f->form_type, run->target.form->form_type))
        form_wrong(f, SE_BAD_REQUEST, "the form is of another type");
    for (const struct command_ask *field = form->fields; field->row.var != NULL; field++) {
        slice text = adhoc_value_of(f, field, run);
        const char *name = field->arg;
        if (text.len == 0 && field->row.required)
            form_wrong(f, SE_BAD_REQUEST, "%s is missing", field->row.var);
        if (field->use == USE_SAME && text.len > 0)
            check_same(run, f, field, text);
        if (text.len == 0 && field->use == USE_WORDS) {
            name = "default";
            text = SLICE("true");
        }
        if (text.len == 0 || field->use == USE_SAME)
            continue;
        run->names[run->count] = slice_of(name);
        run->values[run->count++] = text;
    }
}

static bool bind_arguments(struct iq *iq, struct run *run, struct why *why)
{
    struct form f = { 0 };
    if (run->target.form == NULL)
        take_arguments(iq, run, &f);
    else
        take_fields(iq, run, &f);
    if (f.error != SE_NONE) {
        why_set(why, "%.*s", SLICE_ARG(f.text));
        return false;
    }
    return command_bind(&run->call, run->names, run->values, run->count, why) == OK;
}

/* The values of the form must outlive the call, because each address uses them again. */
static void keep_values(struct run *run)
{
    slice *each = arena_new(run->call.arena, slice, run->each_count + 1);
    ensure(run->each_count == 0 || run->each != NULL);
    for (size_t i = 0; i < run->count; i++)
        run->values[i] = slice_dup(run->call.arena, run->values[i]);
    for (unsigned i = 0; i < run->each_count; i++)
        each[i] = slice_dup(run->call.arena, run->each[i]);
    run->each = each;
    run->each_next = 1;
}

/* A user without a role has none to misuse: that is not in the audit log, which they could fill. */
static void refuse_person(struct iq *iq, struct command_call *call, const struct why *why)
{
    call->err = E_DENIED;
    if (call->command != NULL && call->who.role.len > 0)
        audit_command(call);
    iq_error(iq, SE_FORBIDDEN, slice_dup(iq->tmp, slice_of(why->text)));
}

static void adhoc_run_command(struct iq *iq, const struct target *t)
{
    struct run *run = mem_new(struct run);
    struct principal p;
    struct why why;
    ensure(t->command != NULL);
    run->worker = iq->worker;
    run->target = *t;
    run->call = (struct command_call){ .command = t->command,
                                       .arena = arena_create(0),
                                       .worker = iq->worker,
                                       .finished = adhoc_finished,
                                       .arg = run };
    p = adhoc_principal(iq);
    run->call.who = principal_dup(&p, run->call.arena);
    if (t->form != NULL)
        run->call.who.own = (slice){ 0 };
    if (!bind_arguments(iq, run, &why)) {
        adhoc_refuse(iq, SE_BAD_REQUEST, "bad-payload",
                     slice_of(arena_printf(iq->tmp, "%s", why.text)));
        run_free(run);
        return;
    }
    if (t->command->access == COMMAND_OWN && command_owner_allowed(&run->call, &why) != OK) {
        refuse_person(iq, &run->call, &why);
        run_free(run);
        return;
    }
    keep_values(run);
    adhoc_session_ended(iq);
    run->iq = iq_hold(iq);
    adhoc_run_call(run);
}

static void adhoc_cancel(struct iq *iq, slice node)
{
    struct buf out;
    struct xml_write x;
    adhoc_session_ended(iq);
    xml_begin(&x, &out, XML_PART_MAX);
    open_answer(&x, node, elem_attr(&iq->payload, "sessionid", iq->tmp), "canceled");
    iq_result_xml(iq, &x);
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
    struct target t;
    struct why why;
    if (!target_of(node, &t)) {
        iq_error(iq, SE_ITEM_NOT_FOUND, SLICE("there is no such command"));
        return;
    }
    if (!adhoc_allowed(iq, &t, &why)) {
        struct command_call call = { .command = t.command,
                                     .arena = iq->tmp,
                                     .who = adhoc_principal(iq) };
        refuse_person(iq, &call, &why);
        return;
    }
    if (t.command == NULL) {
        iq_error(iq, SE_NOT_ALLOWED, slice_of(t.form->refusal));
        return;
    }
    enum adhoc_session session = adhoc_session_check(iq, node);
    enum action action = action_of(iq);
    if (session == SESSION_BAD)
        adhoc_refuse(iq, SE_BAD_REQUEST, "bad-sessionid", (slice){ 0 });
    else if (session == SESSION_EXPIRED)
        adhoc_refuse(iq, SE_NOT_ALLOWED, "session-expired", (slice){ 0 });
    else if (action == ACTION_UNKNOWN)
        adhoc_refuse(iq, SE_BAD_REQUEST, "malformed-action", (slice){ 0 });
    else if (action == ACTION_BACK || (action == ACTION_CANCEL && session == SESSION_NONE))
        adhoc_refuse(iq, SE_BAD_REQUEST, "bad-action", (slice){ 0 });
    else if (action == ACTION_CANCEL)
        adhoc_cancel(iq, node);
    else if (session == SESSION_NONE && asks_something(iq, &t))
        adhoc_ask(iq, &t, node);
    else
        adhoc_run_command(iq, &t);
}

/* Discovery (§3.1, §3.2). */

static void list_one(struct xml_write *x, const struct iq *iq, const char *node, slice name)
{
    xml_open_with(x, "item", NULL, "jid", stanza_to_bare(iq->st));
    xml_attr(x, "node", slice_of(node));
    xml_attr(x, "name", name);
    xml_close(x);
}

static int by_group(const void *a, const void *b)
{
    const struct command *x = *(const struct command *const *)a;
    const struct command *y = *(const struct command *const *)b;
    int order = slice_compare(adhoc_group_of(x), adhoc_group_of(y));
    return order != 0 ? order : strcmp(x->name, y->name);
}

/* Group by group: clients show the list as it comes. */
static void list_rows(struct xml_write *x, const struct iq *iq)
{
    const struct command *found[LISTED_MAX];
    char node[64], title[TITLE_BYTES_MAX];
    size_t count = 0;
    for (struct command *c = command_first(); c != NULL && count < LISTED_MAX; c = c->next)
        if (may_run(iq, &(struct target){ .command = c }))
            found[count++] = c;
    qsort(found, count, sizeof *found, by_group);
    for (size_t i = 0; i < count; i++) {
        node_name(node, found[i]);
        adhoc_title_of(title, found[i]);
        list_one(x, iq, node, slice_of(title));
    }
}

static bool list_commands(struct iq *iq)
{
    struct buf out;
    struct xml_write x;
    xml_begin(&x, &out, XML_STANZA_MAX);
    xml_open_with(&x, "query", NS_DISCO_ITEMS, "node", SLICE(NS_COMMANDS));
    list_rows(&x, iq);
    FEATURES_EACH (f, command_forms)
        for (const struct command_form *at = f->command_forms; at->node != NULL; at++) {
            struct target t = target_form(at);
            if (t.command != NULL && may_run(iq, &t))
                list_one(&x, iq, at->node, slice_of(at->title));
        }
    iq_result_xml(iq, &x);
    return true;
}

/* t NULL: the list itself. */
static bool adhoc_describe(struct iq *iq, slice node, const struct target *t)
{
    struct disco_info *d = arena_new(iq->tmp, struct disco_info, 1);
    struct buf out;
    struct xml_write x;
    char title[TITLE_BYTES_MAX] = "";
    if (t != NULL && t->form == NULL && t->command != NULL)
        adhoc_title_of(title, t->command);
    if (t != NULL && !may_run(iq, t)) {
        iq_error(iq, SE_FORBIDDEN, (slice){ 0 });
        return true;
    }
    disco_add_identity(d, SLICE("automation"),
                       t == NULL ? SLICE("command-list") : SLICE("command-node"),
                       t == NULL         ? SLICE("")
                       : t->form != NULL ? slice_of(t->form->title)
                                         : slice_of(title));
    disco_add_feature(d, SLICE(NS_COMMANDS));
    disco_add_feature(d, SLICE(NS_DATA));
    xml_begin(&x, &out, XML_STANZA_MAX);
    disco_write_info(&x, d, node);
    iq_result_buf(iq, &out);
    return true;
}

static bool adhoc_discover(struct iq *iq, slice node)
{
    bool items = slice_is(iq->payload.ns_uri, NS_DISCO_ITEMS), list = slice_is(node, NS_COMMANDS);
    struct target t;
    if (iq->target != IQ_TO_SERVER && iq->target != IQ_TO_SELF)
        return false;
    if (list)
        return items ? list_commands(iq) : adhoc_describe(iq, node, NULL);
    return !items && node.len > 0 && target_of(node, &t) && adhoc_describe(iq, node, &t);
}

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
            { "0050", "1.2", "Ad-Hoc Commands", "0.1.0", "services/test_adhoc", NULL },
            { "0068", "1.3.0", "Field Standardization for Data Forms", "0.1.0", "form_test", NULL },
            { 0 },
        },
    .start = adhoc_sessions_start,
    .worker.slot = &adhoc_sessions_slot,
    .worker.ended = adhoc_sessions_end,
    .disco_get = adhoc_discover,
};
