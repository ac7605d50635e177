#include "base/command.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "base/list.h"
#include "base/log.h"
#include "base/log_record.h"
#include "base/setting.h"
#include "base/utf8.h"
#include <inttypes.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct command *commands;

/* The argument's index in its row, or -1. */
static int arg_index(const struct command *c, slice name)
{
    for (int i = 0; c->args != NULL && c->args[i].name != NULL; i++) {
        if (slice_is(name, c->args[i].name))
            return i;
    }
    return -1;
}

bool command_has_arg(const struct command *c, const char *name)
{
    return arg_index(c, slice_of(name)) >= 0;
}

bool command_is_reason(slice text)
{
    unsigned seen = 0;
    uint32_t c;
    for (int len; text.len > 0; text = slice_from(text, (size_t)len)) {
        len = utf8_decode(text, &c);
        if (len <= 0)
            return false;
        seen += utf8_is_blank(c) ? 0 : 1;
    }
    return seen >= 3;
}

const struct command_column *command_column_find(const struct command_column *columns, slice name)
{
    while (columns != NULL && columns->name != NULL && !slice_is(name, columns->name))
        columns++;
    return columns == NULL || columns->name == NULL ? NULL : columns;
}

static bool command_name_fits(const char *name)
{
    size_t len = strlen(name);
    return len <= COMMAND_NAME_MAX && strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_") == len;
}

static bool command_names_fit(const struct command *c)
{
    bool fit = true;
    for (const struct command_arg *a = c->args; a != NULL && a->name != NULL; a++)
        fit = fit && command_name_fits(a->name);
    for (const struct command_column *at = c->columns; at != NULL && at->name != NULL; at++)
        fit = fit && command_name_fits(at->name);
    return fit;
}

struct command_hyphened command_hyphened(const char *name)
{
    struct command_hyphened h = { { 0 } };
    ensure(command_name_fits(name));
    for (size_t i = 0; name[i] != '\0'; i++)
        h.text[i] = name[i] == '_' ? '-' : name[i];
    return h;
}

/* Counts the arguments and checks their own rules. */
static size_t command_check_args(const struct command *c)
{
    size_t count = 0;
    bool optional_seen = false;
    for (const struct command_arg *a = c->args; a != NULL && a->name != NULL; a++) {
        ensure(a->kind != ARG_POSITIONAL || !optional_seen);
        ensure((a->kind != ARG_FLAG || a->type == PARAM_BOOL) &&
               (!command_arg_is_of_secrets(a) || command_arg_is_secret(a)) && a->doc != NULL);
        optional_seen = optional_seen || a->kind == ARG_OPTIONAL;
        count++;
    }
    return count;
}

/* Times of one table are compared with each other: all are exact, or none is. */
static bool command_stamps_agree(const struct command *c)
{
    unsigned stamps = 0, exact = 0;
    for (const struct command_column *col = c->columns; col != NULL && col->name != NULL; col++) {
        stamps += col->type == PARAM_STAMP;
        exact += col->exact;
    }
    return exact == 0 || exact == stamps;
}

void command_permission(const struct command *c, char *out, size_t cap)
{
    int len = snprintf(out, cap, "%s.%s", c->area, c->effect == COMMAND_READS ? "read" : "write");
    ensure(len > 0 && (size_t)len < cap);
}

/* Two paths that are not the same, but would be with the same names of arguments. */
static bool command_paths_clash(slice a, slice b)
{
    if (slice_eq(a, b))
        return false;
    while (a.len > 0 && b.len > 0) {
        slice one, other;
        slice_cut(a, '/', &one, &a);
        slice_cut(b, '/', &other, &b);
        bool names = slice_starts(one, SLICE("{")) && slice_starts(other, SLICE("{"));
        if (!names && !slice_eq(one, other))
            return false;
    }
    return a.len == 0 && b.len == 0;
}

bool command_rest_clashes(const char *a, const char *b)
{
    slice verb, path, other, one, two, rest = slice_of(a);
    bool clashes = false;
    while (rest.len > 0) {
        slice_cut(rest, ',', &one, &rest);
        slice_word(&one, &verb);
        slice_word(&one, &path);
        for (slice others = slice_of(b); others.len > 0;) {
            slice_cut(others, ',', &two, &others);
            slice_word(&two, &verb);
            slice_word(&two, &other);
            clashes = clashes || command_paths_clash(path, other);
        }
    }
    return clashes;
}

static bool command_rest_is_own(const struct command *c)
{
    for (const struct command *at = commands; at != NULL; at = at->next)
        if (at != c && c->rest != NULL && at->rest != NULL &&
            command_rest_clashes(c->rest, at->rest))
            return false;
    return true;
}

static bool command_shows_loss(const struct command *c)
{
    const struct command *shows = command_find(slice_of(c->loses));
    return c->asks != NULL && c->home != NULL && shows != NULL && shows->columns != NULL &&
           shows->effect == COMMAND_READS && command_has_arg(shows, c->home);
}

static void command_check(const struct command *c)
{
    ensure(c->area != NULL && strspn(c->area, "abcdefghijklmnopqrstuvwxyz") == strlen(c->area));
    ensure(c->effect == COMMAND_READS || c->effect == COMMAND_CHANGES);
    ensure((c->runs_at == COMMAND_EACH) == (c->gathered != NULL));
    ensure((c->runs_at == COMMAND_DUTY) == (c->duty != 0));
    ensure(c->home == NULL || command_has_arg(c, c->home));
    ensure(c->loses == NULL || command_shows_loss(c));
    ensure(c->file == NULL || (c->columns != NULL && c->columns[0].name != NULL &&
                               c->columns[1].name == NULL && c->effect == COMMAND_READS));
    ensure(!c->reasoned || (c->audited && command_has_arg(c, "reason")));
    ensure(c->run != NULL && command_check_args(c) <= COMMAND_ARGS_MAX);
    ensure(command_stamps_agree(c));
    ensure(command_names_fit(c));
    ensure(command_brief(c->doc).len <= COMMAND_BRIEF_MAX);
    ensure(command_rest_is_own(c));
}

void commands_check(void)
{
    for (const struct command *c = commands; c != NULL; c = c->next)
        command_check(c);
}

void command_register(struct command *c)
{
    pthread_mutex_lock(&lock);
    struct command **at = &commands;
    while (*at != NULL && strcmp((*at)->name, c->name) < 0)
        at = &(*at)->next;
    ensure(*at == NULL || strcmp((*at)->name, c->name) != 0);
    c->next = *at;
    *at = c;
    pthread_mutex_unlock(&lock);
}

struct command *command_first(void) { return commands; }

slice command_brief(const char *doc)
{
    static const char ends[] = ".:;(";
    size_t len = strcspn(doc, ends);
    while (doc[len] == '.' && doc[len + 1] != '\0' && doc[len + 1] != ' ')
        len += 1 + strcspn(doc + len + 1, ends); /* the dot of a name, such as muc.enabled */
    while (len > 0 && doc[len - 1] == ' ')
        len--;
    return (slice){ doc, len };
}

struct command *command_find(slice name)
{
    struct command *c = commands;
    while (c != NULL && !slice_is(name, c->name))
        c = c->next;
    return c;
}

slice command_arg(const struct command_call *c, const char *name)
{
    int i = arg_index(c->command, slice_of(name));
    ensure(i >= 0);
    return c->args[i];
}

bool command_flag(const struct command_call *c, const char *name)
{
    return command_number(c, name, 0) != 0;
}

int64_t command_number(const struct command_call *c, const char *name, int64_t missing)
{
    int i = arg_index(c->command, slice_of(name));
    ensure(i >= 0);
    return c->args[i].ptr == NULL ? missing : c->values[i];
}

/* Names for messages: "jid, force". A sentence that is longer than why.text is cut at its end, so
 * the names come last. */
enum { NAMES_BYTES_MAX = 1024, FOUND_BYTES_MAX = 64 };

static slice command_shown(slice found)
{
    return found.len > FOUND_BYTES_MAX ? (slice){ found.ptr, FOUND_BYTES_MAX } : found;
}

static enum err command_fail_unknown(const struct command *c, slice name, struct why *why)
{
    struct buf names;
    buf_init(&names, NAMES_BYTES_MAX);
    for (const struct command_arg *a = c->args; a != NULL && a->name != NULL; a++) {
        bool meant = slice_is(name, command_hyphened(a->name).text);
        if (meant)
            buf_clear(&names);
        buf_printf(&names, "%s%s", names.len > 0 ? ", " : "", a->name);
        if (meant)
            break;
    }
    name = command_shown(name);
    slice allowed = names.len > 0 ? buf_fit(&names) : SLICE("no arguments");
    why_set(why, "%s: found argument \"%.*s\", allowed %.*s", c->name, SLICE_ARG(name),
            SLICE_ARG(allowed));
    buf_fini(&names);
    return E_SYNTAX;
}

/* Bytes that no argument has: they would garble a log or a terminal, and XML has no way to say
 * them. */
static bool command_is_text(slice value)
{
    for (size_t i = 0; i < value.len; i++) {
        unsigned char c = (unsigned char)value.ptr[i];
        if (c == 0x7f || (c < ' ' && c != '\t' && c != '\n' && c != '\r'))
            return false;
    }
    return utf8_valid(value);
}

static enum err bind_one(struct command_call *c, slice name, slice value, struct why *why)
{
    int i = arg_index(c->command, name);
    if (i < 0)
        return command_fail_unknown(c->command, name, why);
    const struct command_arg *a = &c->command->args[i];
    struct command_hyphened typed = command_hyphened(a->name);
    struct param shown = a->param;
    if (c->typed)
        shown.name = typed.text;
    else if (a->type == PARAM_BOOL) /* as JSON has it */
        shown.form = "true or false";
    if (c->args[i].ptr != NULL) {
        why_set(why, "%s: %s: found twice, allowed once", c->command->name, shown.name);
        return E_SYNTAX;
    }
    if (!command_is_text(value)) {
        why_set(why, "%s: %s: found a control character, or no UTF-8, allowed text",
                c->command->name, shown.name);
        return E_SYNTAX;
    }
    if (value.len == 0 && a->type == PARAM_PATH) { /* as of a script whose variable is not set */
        why_set(why, "%s: %s: found nothing, allowed a path", c->command->name, shown.name);
        return E_SYNTAX;
    }
    if (value.len == 0)
        value = a->kind == ARG_FLAG ? SLICE("true") : SLICE("");
    c->args[i] = slice_dup(c->arena, value);
    struct why found;
    bool makes = a->kind == ARG_SECRET_MADE && value.len == 0;
    enum err e = makes ? OK : param_check(&shown, c->args[i], &c->values[i], &found);
    if (e != OK)
        why_set(why, "%s: %s", c->command->name, found.text);
    return e;
}

enum err command_bind(struct command_call *c, const slice *names, const slice *values, size_t count,
                      struct why *why)
{
    for (size_t i = 0; i < COMMAND_ARGS_MAX; i++)
        c->args[i] = (slice){ 0 };
    for (size_t i = 0; i < count; i++) {
        enum err e = bind_one(c, names[i], values[i], why);
        if (e != OK) {
            c->culprit = slice_cstr(c->arena, names[i]);
            return e;
        }
    }
    const struct command_arg *rows = c->command->args;
    for (int i = 0; rows != NULL && rows[i].name != NULL; i++) {
        if (rows[i].kind == ARG_POSITIONAL && c->args[i].ptr == NULL) {
            c->culprit = rows[i].name;
            why_set(why, "%s: %s is missing: %s", c->command->name,
                    c->typed ? command_hyphened(rows[i].name).text : rows[i].name, rows[i].doc);
            return E_SYNTAX;
        }
    }
    return OK;
}

void command_keep_row(struct command_call *c, struct command_row *r)
{
    ensure(!c->ended);
    if (c->tail == NULL)
        c->tail = &c->rows;
    r->next = NULL;
    *c->tail = r;
    c->tail = &r->next;
}

void command_row(struct command_call *c)
{
    command_keep_row(c, arena_new(c->arena, struct command_row, 1));
}

struct command_row *command_take_rows(struct command_call *c)
{
    struct command_row *rows = c->rows;
    ensure(!c->ended && !c->part);
    c->rows = NULL;
    c->tail = NULL;
    return rows;
}

void command_limit_rows(struct command_call *c, uint32_t max)
{
    struct command_row *r = command_take_rows(c), *next;
    ensure(max > 0);
    for (uint32_t n = 0; r != NULL; r = next, n++) {
        next = r->next;
        if (n < max)
            command_keep_row(c, r);
        else
            c->left_out++;
    }
}

slice command_row_text(const struct command_row *r, const char *key)
{
    ensure(r != NULL && r->count <= r->cap);
    for (uint32_t i = 0; i < r->count; i++)
        if (strcmp(r->fields[i].key, key) == 0)
            return r->fields[i].str;
    return (slice){ 0 };
}

int64_t command_row_int(const struct command_row *r, const char *key)
{
    int64_t value = 0;
    return slice_int(command_row_text(r, key), &value) ? value : 0;
}

static const struct command_column *command_column_of(const struct command_call *c, slice key)
{
    ensure(!c->part || c->command->runs_at == COMMAND_EACH);
    bool part = c->part && c->command->parts != NULL;
    return command_column_find(part ? c->command->parts : c->command->columns, key);
}

/* Whether the call has a column of that name that may hold such a value. */
static bool has_column(const struct command_call *c, const struct command_field *f)
{
    const struct command_column *at = command_column_of(c, slice_of(f->key));
    if (at == NULL)
        return false;
    bool number = at->type == PARAM_INT;
    return f->kind == FIELD_BOOL  ? at->type == PARAM_BOOL
           : f->kind == FIELD_INT ? number
                                  : param_is_text(&at->param) || (number && at->choices != NULL);
}

static void add_field(struct command_call *c, const struct command_field *f)
{
    enum { FIELDS_FIRST = 8 };
    ensure(!c->ended && c->rows != NULL && has_column(c, f));
    struct command_row *row = CONTAINER_OF(c->tail, struct command_row, next);
    if (row->count == row->cap) {
        uint32_t cap = row->cap > 0 ? row->cap * 2 : FIELDS_FIRST;
        struct command_field *fields = arena_new(c->arena, struct command_field, cap);
        for (uint32_t i = 0; i < row->count; i++)
            fields[i] = row->fields[i];
        row->fields = fields;
        row->cap = cap;
    }
    row->fields[row->count++] = *f;
}

void command_text(struct command_call *c, const char *key, slice value)
{
    if (value.ptr == NULL)
        value = SLICE("");
    add_field(c, &(struct command_field){ key, slice_dup(c->arena, value), FIELD_TEXT });
}

void command_int(struct command_call *c, const char *key, int64_t value)
{
    slice text = slice_of(arena_printf(c->arena, "%" PRId64, value));
    add_field(c, &(struct command_field){ key, text, FIELD_INT });
}

void command_bool(struct command_call *c, const char *key, bool value)
{
    slice text = value ? SLICE("true") : SLICE("false");
    add_field(c, &(struct command_field){ key, text, FIELD_BOOL });
}

bool command_field(struct command_call *c, slice key, slice text)
{
    const struct command_column *at = command_column_of(c, key);
    int64_t number;
    if (at == NULL)
        return false;
    struct command_field f = { at->name, slice_dup(c->arena, text), FIELD_TEXT };
    if (at->type == PARAM_BOOL && (slice_is(text, "true") || slice_is(text, "false")))
        f.kind = FIELD_BOOL;
    else if (at->type == PARAM_INT && slice_int(text, &number))
        f.kind = FIELD_INT;
    if (!has_column(c, &f))
        return false;
    if (f.str.ptr == NULL)
        f.str = SLICE("");
    add_field(c, &f);
    return true;
}

void command_note(struct command_call *c, const char *line)
{
    ensure(!c->ended);
    c->note = line == NULL      ? c->note
              : c->note == NULL ? arena_printf(c->arena, "%s", line)
                                : arena_printf(c->arena, "%s\n%s", c->note, line);
}

void command_idle_while_off(struct command_call *c, const char *setting, const char *on)
{
    const struct setting *s = setting_find(slice_of(setting));
    if (s != NULL && !setting_bool_somewhere(s))
        command_note(c, arena_printf(c->arena,
                                     "%s is off, so this has no effect yet: `musterctl set %s %s`",
                                     setting, setting, on));
}

static void __attribute__((format(printf, 3, 0)))
command_end(struct command_call *c, enum err e, const char *fmt, va_list ap)
{
    ensure(!c->ended);
    c->ended = true;
    c->err = e;
    const char *text = arena_vprintf(c->arena, fmt, ap);
    if (e == OK && c->note != NULL)
        text = arena_printf(c->arena, "%s%s%s", text, *text != '\0' ? "\n" : "", c->note);
    if (c->incomplete)
        text = arena_printf(c->arena, "%s%s" COMMAND_INCOMPLETE, text, *text != '\0' ? "; " : "");
    c->text = slice_of(text);
    c->finished(c, c->arg); /* may free the call */
}

void command_done(struct command_call *c, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    command_end(c, OK, fmt, ap);
    va_end(ap);
}

void command_done_more(struct command_call *c, slice last)
{
    c->next = slice_dup(c->arena, last);
    command_done(c, "there are more: go on with --after %.*s", SLICE_ARG(c->next));
}

void command_done_more_number(struct command_call *c, int64_t last)
{
    command_done_more(c, slice_of(arena_printf(c->arena, "%" PRId64, last)));
}

struct command_place_of {
    slice key;
    struct command_row *row;
};

static int command_by_key(const void *a, const void *b)
{
    const struct command_place_of *x = a, *y = b;
    return slice_compare(x->key, y->key);
}

/* Where the next page begins; ptr NULL: there is none. */
static slice command_keep_page(struct command_call *c, const char *key, slice after, uint32_t max)
{
    struct command_row *next, *rows = command_take_rows(c);
    uint32_t count = 0, n = 0;
    ensure(max > 0);
    for (const struct command_row *r = rows; r != NULL; r = r->next)
        count++;
    struct command_place_of *all = arena_new(c->arena, struct command_place_of, count + 1);
    for (struct command_row *r = rows; r != NULL; r = next) {
        slice text = command_row_text(r, key);
        next = r->next;
        if (slice_compare(text, after) > 0)
            all[n++] = (struct command_place_of){ text, r };
    }
    qsort(all, n, sizeof *all, command_by_key);
    for (uint32_t i = 0; i < n && i < max; i++)
        command_keep_row(c, all[i].row);
    return n > max ? all[max - 1].key : (slice){ 0 };
}

static void command_done_kept(struct command_call *c, slice next, const char *text)
{
    if (next.ptr != NULL)
        command_done_more(c, next);
    else
        command_done(c, "%s", text);
}

void command_done_page(struct command_call *c, const char *key, slice after, uint32_t max)
{
    command_done_kept(c, command_keep_page(c, key, after, max), "");
}

uint32_t command_page_limit(const struct command_call *c)
{
    return (uint32_t)command_number(c, "limit", COMMAND_PAGE_MAX);
}

void command_done_listed(struct command_call *c, const char *key)
{
    command_done_listed_with(c, key, "");
}

void command_done_listed_with(struct command_call *c, const char *key, const char *text)
{
    command_done_kept(c, command_keep_page(c, key, command_arg(c, "after"), command_page_limit(c)),
                      text);
}

const char *command_outcome(enum err e)
{
    return e == E_TIMEOUT ? "it may still happen, so look before you do it again"
                          : "nothing was changed";
}

void command_fail_cause(struct command_call *c, enum err e, const char *what)
{
    bool open = e == E_TIMEOUT && c->command->effect == COMMAND_CHANGES;
    command_fail(c, e, "%s%s%s%s%s", what != NULL ? what : "", what != NULL ? ": " : "",
                 err_text(e), open ? "; " : "", open ? command_outcome(e) : "");
}

void command_fail(struct command_call *c, enum err e, const char *fmt, ...)
{
    ensure(e != OK);
    va_list ap;
    va_start(ap, fmt);
    command_end(c, e, fmt, ap);
    va_end(ap);
}

/* Whether it is what users are told, either always or for the setting that the call names. */
static bool is_told(const struct command_call *call, size_t i)
{
    const struct command_arg *rows = call->command->args;
    if (command_arg_is_message(&rows[i]))
        return true;
    for (size_t j = 0; j < i; j++) {
        slice general, domain; /* in any writing: all domains are told the same */
        if (rows[j].refers != REFERS_SETTING)
            continue;
        slice_cut(call->args[j], '@', &general, &domain);
        const struct setting *s = setting_find(general);
        if (s != NULL && s->told)
            return rows[i].kind != ARG_FLAG;
    }
    return false;
}

/* What a reader does not see, or sees in another order than it is in. */
static bool audit_hides(uint32_t cp)
{
    return cp < 0x20 || (cp >= 0x7f && cp < 0xa0) || utf8_misleads(cp);
}

/* Adds a text, of which such characters are codes, except those of `kept`. Returns how many bytes
 * of it are there: not more than fit into `room`. escaped: characters that get a backslash. */
static size_t audit_text(struct buf *out, slice text, const char *kept, const char *escaped,
                         size_t room)
{
    size_t at = 0;
    uint32_t cp;
    ensure(kept != NULL && escaped != NULL);
    for (int len; at < text.len; at += (size_t)len) {
        char code[12];
        slice one = slice_from(text, at);
        len = utf8_decode(one, &cp);
        if (len <= 0)
            break;
        one.len = (size_t)len;
        if (cp > 0 && cp < 0x80 && strchr(escaped, (int)cp) != NULL)
            one = (slice){ code, (size_t)snprintf(code, sizeof code, "\\%c", (char)cp) };
        else if (audit_hides(cp) && (cp == 0 || cp >= 0x80 || strchr(kept, (int)cp) == NULL))
            one = (slice){ code, (size_t)snprintf(code, sizeof code, "\\u%04x", (unsigned)cp) };
        if (one.len > room)
            break;
        room -= one.len;
        buf_add(out, one);
    }
    return at;
}

static bool audit_quotes(slice value, const char *marks)
{
    uint32_t cp;
    for (int len; value.len > 0; value = slice_from(value, (size_t)len)) {
        len = utf8_decode(value, &cp);
        if (len <= 0 || audit_hides(cp) || (cp < 0x80 && strchr(marks, (int)cp) != NULL))
            return true;
    }
    return false;
}

/* A long one is cut, so that what comes behind it is there. One with spaces, quotes or characters
 * that are not seen is quoted, so that nothing in it looks like another argument. room: bytes. */
static void audit_value(struct buf *out, slice value, const char *marks, size_t room)
{
    bool quoted = audit_quotes(value, marks);
    buf_printf(out, "%s", quoted ? "\"" : "");
    size_t shown = audit_text(out, value, "", quoted ? "\"\\" : "", room / 2);
    buf_printf(out, "%s", quoted ? "\"" : "");
    if (shown < value.len)
        buf_printf(out, "... (%zu bytes)", value.len);
}

void command_changed_part(struct buf *out, const char *name, slice value)
{
    ensure(name == NULL || *name != '\0');
    bool first = out->len == 0 || out->ptr[out->len - 1] == '\n';
    buf_printf(out, "%s%s%s", first ? "" : " ", name != NULL ? name : "", name != NULL ? "=" : "");
    audit_value(out, value, name != NULL ? " \"" : " \"=", AUDIT_BYTES_MAX);
}

enum { CHANGED_PARTS_MAX = 2 * COMMAND_CHANGED_MAX };

slice command_changed_parts(struct arena *arena, const struct command_part *parts)
{
    struct buf out;
    buf_init(&out, CHANGED_PARTS_MAX);
    for (const struct command_part *p = parts; p->name != NULL && out.len < COMMAND_CHANGED_MAX;
         p++)
        command_changed_part(&out, p->name, p->value);
    slice text = slice_dup(arena, utf8_head(buf_fit(&out), COMMAND_CHANGED_MAX));
    buf_fini(&out);
    return text;
}

/* A line feed parts the values of several settings. */
slice command_changed_text(const struct command_call *c, slice text)
{
    struct buf out;
    buf_init(&out, COMMAND_CHANGED_MAX);
    (void)audit_text(&out, text, "\n", "", COMMAND_CHANGED_MAX);
    slice copy = slice_dup(c->arena, buf_fit(&out));
    buf_fini(&out);
    return copy;
}

void command_changed(struct command_call *c, slice before, slice after)
{
    ensure(!c->ended);
    c->before = command_changed_text(c, before);
    c->after = command_changed_text(c, after);
}

bool command_is_audited(const struct command_call *c)
{
    return !c->recorded &&
           (c->command->effect == COMMAND_CHANGES || c->command->audited || c->err == E_DENIED);
}

/* The name of a setting is no secret, but a word that names none may be one. */
static bool audit_shows(const struct command_call *call, size_t i)
{
    const struct command_arg *a = &call->command->args[i];
    if (call->args[i].ptr == NULL || command_arg_is_secret(a))
        return false;
    return !call->discreet || (a->refers == REFERS_SETTING && setting_find(call->args[i]) != NULL);
}

void command_audit_args(const struct command_call *call, struct buf *args)
{
    const struct command_arg *rows = call->command->args;
    for (size_t i = 0; rows != NULL && rows[i].name != NULL; i++) {
        if (!audit_shows(call, i))
            continue;
        buf_printf(args, "%s%s=", args->len > 0 ? " " : "", rows[i].name);
        if (is_told(call, i))
            buf_printf(args, "(%zu bytes)", call->args[i].len);
        else
            audit_value(args,
                        rows[i].noted != NULL ? rows[i].noted(call->arena, call->args[i])
                                              : call->args[i],
                        " \"", AUDIT_BYTES_MAX - args->len);
    }
}

void command_audit(const struct command_call *call, struct log_area *area)
{
    struct buf args;
    buf_init(&args, AUDIT_BYTES_MAX);
    command_audit_args(call, &args);
    log_record(area, call->command->effect == COMMAND_READS ? LOG_DEBUG : LOG_INFO,
               LOG_EV("admin.command"), LOG_S("actor", call->who.actor),
               LOG_C("command", call->command->name), LOG_C("result", err_name(call->err)),
               LOG_S("args", buf_slice(&args))); /* fits: audit_value() cuts long ones */
    buf_fini(&args);
}
