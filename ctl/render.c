#include "ctl/render.h"
#include "base/arena.h"
#include "base/command.h"
#include "base/ensure.h"
#include "base/utf8.h"
#include "ctl/colour.h"
#include "ctl/wrap.h"
#include <inttypes.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

enum { COLUMNS_MAX = 48, GAP = 2, COLUMN_WIDTH_MIN = 12 };

struct columns {
    const char *name[COLUMNS_MAX];
    const char *title[COLUMNS_MAX]; /* NULL: the name */
    bool exact[COLUMNS_MAX];        /* times are shown whole */
    size_t width[COLUMNS_MAX];
    size_t word[COLUMNS_MAX]; /* width of the longest word: an address or a link stays whole */
    size_t count;
    bool coloured; /* ctl/colour.h */
};

static size_t larger(size_t a, size_t b) { return a > b ? a : b; }
static size_t width_of(const char *text) { return wrap_width(text, strlen(text)); }

/* Control characters could steer the terminal. Line ends are kept where `multiline`. */
static const char *printable(struct arena *arena, slice text, const char *keep)
{
    enum { ESCAPED = 3 }; /* bytes for one, at most */
    const unsigned char *c = (const unsigned char *)slice_cstr(arena, text), *end = c + text.len;
    char *out = arena_alloc(arena, ESCAPED * text.len + 1, 1), *to = out;
    while (c < end) { /* the text ends with a NUL */
        bool control = *c < ' ' || *c == 0x7f;
        uint32_t code;
        int len = utf8_decode((slice){ (const char *)c, (size_t)(end - c) }, &code);
        if (len > 1 && utf8_misleads(code)) {
            to += snprintf(to, 2 * ESCAPED + 1, "\\u%04" PRIx32, code);
            c += len;
        } else if (c[0] == 0xc2 && c[1] >= 0x80 && c[1] < 0xa0) { /* C1 (ISO 6429), in UTF-8 */
            *to++ = '?';
            *to++ = '?';
            c += 2;
        } else {
            *to++ = control && (*c == '\0' || strchr(keep, *c) == NULL) ? '?' : (char)*c;
            c++;
        }
    }
    *to = '\0';
    return out;
}

/* keep: control characters that stay in a text. */
static const char *cell_with(struct arena *arena, const json_t *row, const char *column,
                             const char *keep)
{
    const json_t *value = json_object_get(row, column);
    if (json_is_string(value))
        return printable(arena, (slice){ json_string_value(value), json_string_length(value) },
                         keep);
    if (json_is_integer(value))
        return arena_printf(arena, "%" PRId64, (int64_t)json_integer_value(value));
    return json_is_true(value) ? "yes" : json_is_false(value) ? "no" : "";
}

static const char *cell(struct arena *arena, const json_t *row, const char *column)
{
    return cell_with(arena, row, column, "");
}

enum { MINUTE = 60, HOUR = 3600, DAY = 86400 };

/* The unit that the name of a column ends in; its length with the underscore, or 0. */
static size_t unit_len(const char *column, const char *unit)
{
    size_t len = strlen(column), end = strlen(unit);
    return len > end && strcmp(column + len - end, unit) == 0 ? end : 0;
}

/* The name of a column for a person, whose cells have their units with them. */
static const char *heading(struct arena *arena, const struct columns *cols, size_t i)
{
    const char *column = cols->name[i];
    if (cols->title[i] != NULL)
        return cols->title[i];
    size_t unit = unit_len(column, "_s") + unit_len(column, "_kib");
    return slice_cstr(arena, (slice){ column, strlen(column) - unit });
}

static const char *duration(struct arena *arena, int64_t s)
{
    static const struct {
        int64_t one;
        const char *name;
    } units[] = { { DAY, "d" }, { HOUR, "h" }, { MINUTE, "min" }, { 1, "s" } };
    size_t i = 0;
    while (i < 3 && s < units[i].one)
        i++;
    int64_t whole = s / units[i].one, rest = i < 3 ? s % units[i].one / units[i + 1].one : 0;
    if (rest == 0)
        return arena_printf(arena, "%" PRId64 " %s", whole, units[i].name);
    return arena_printf(arena, "%" PRId64 " %s %" PRId64 " %s", whole, units[i].name, rest,
                        units[i + 1].name);
}

/* A time ("2026-11-20T23:14:38.537176Z") as how long ago it was, or in local time; exact: as it is,
 * up to milliseconds. NULL: it is none. */
static const char *when_shown(struct arena *arena, const char *text, bool exact)
{
    enum { STAMP_LEN = 27, TO_MILLISECONDS = 23 };
    struct tm tm = { 0 };
    char local[32];
    if (strlen(text) != STAMP_LEN || text[STAMP_LEN - 1] != 'Z' ||
        strptime(text, "%Y-%m-%dT%H:%M:%S.", &tm) == NULL)
        return NULL;
    if (exact)
        return arena_printf(arena, "%.*sZ", TO_MILLISECONDS, text);
    time_t when = timegm(&tm), ago = time(NULL) - when;
    if (ago >= 0 && ago < DAY)
        return arena_printf(arena, "%d %s ago",
                            (int)(ago / (ago < MINUTE ? 1
                                         : ago < HOUR ? MINUTE
                                                      : HOUR)),
                            ago < MINUTE ? "s"
                            : ago < HOUR ? "min"
                                         : "h");
    strftime(local, sizeof local, "%Y-%m-%d %H:%M", localtime_r(&when, &tm));
    return arena_printf(arena, "%s", local);
}

/* A cell for a person: times and amounts are short. */
static const char *render_shown(struct arena *arena, const json_t *row, const struct columns *cols,
                                size_t i)
{
    const char *column = cols->name[i];
    const json_t *value = json_object_get(row, column);
    const char *text = cell(arena, row, column), *last = strrchr(text, ' ');
    if (json_is_integer(value) && unit_len(column, "_s") > 0)
        return duration(arena, json_integer_value(value));
    if (json_is_integer(value) && unit_len(column, "_kib") > 0)
        return arena_printf(arena, "%.1f MiB", (double)json_integer_value(value) / 1024);
    const char *when = when_shown(arena, last == NULL ? text : last + 1, cols->exact[i]);
    if (when == NULL)
        return text;
    return last == NULL ? when : arena_printf(arena, "%.*s %s", (int)(last - text), text, when);
}

static void add_column(struct columns *cols, const struct command_column *at)
{
    ensure(cols->count < COLUMNS_MAX);
    cols->title[cols->count] = at->title;
    cols->exact[cols->count] = at->exact;
    cols->name[cols->count++] = at->name;
}

static bool is_in_a_row(const json_t *rows, const char *column)
{
    for (size_t r = 0; r < json_array_size(rows); r++)
        if (json_object_get(json_array_get(rows, r), column) != NULL)
            return true;
    return false;
}

static bool rows_differ(const json_t *rows, const char *column)
{
    const json_t *first = json_object_get(json_array_get(rows, 0), column);
    for (size_t r = 1; r < json_array_size(rows); r++)
        if (!json_equal(json_object_get(json_array_get(rows, r), column), first))
            return true;
    return false;
}

static bool column_is_shown(const struct command *c, const struct command_column *at,
                            const json_t *reply)
{
    const json_t *rows = json_object_get(reply, "rows");
    if (at->apart && !c->record && json_object_get(reply, "nodes") == NULL &&
        !rows_differ(rows, at->name))
        return false;
    return (c->record || !at->wide) && (!at->optional || is_in_a_row(rows, at->name));
}

/* Chooses those that a row has; of a table only those that are not wide, and the node if there are
 * several. */
static void choose_columns(struct columns *cols, const struct command *c, const json_t *reply)
{
    for (const struct command_column *at = c->columns; at != NULL && at->name != NULL; at++)
        if (column_is_shown(c, at, reply))
            add_column(cols, at);
}

/* For a program the columns do not depend on the rows. */
static void all_columns(struct columns *cols, const struct command *c)
{
    for (const struct command_column *at = c->columns; at != NULL && at->name != NULL; at++)
        add_column(cols, at);
}

static size_t longest_word(const char *text)
{
    size_t found = 0;
    while (*text != '\0') {
        size_t len = strcspn(text, " ");
        found = larger(found, wrap_width(text, len));
        text += len + strspn(text + len, " ");
    }
    return found;
}

static const char *cell_colour(const struct columns *cols, size_t i, const char *text)
{
    const char *colour = cols->coloured ? colour_of(cols->name[i], text) : NULL;
    return colour != NULL ? colour : "";
}

static const char *colour_end(const char *colour) { return *colour != '\0' ? COLOUR_PLAIN : ""; }

/* One row; a cell that is longer than its column goes on in the next line. What the row is about,
 * its first cell, has a line of its own instead of a broken word. */
static void print_row(FILE *out, const struct columns *cols, const char **text)
{
    const char *colour[COLUMNS_MAX];
    bool more = true;
    for (size_t i = 0; i < cols->count; i++)
        colour[i] = cell_colour(cols, i, text[i]);
    if (cols->count > 1 && longest_word(text[0]) > cols->width[0]) {
        fprintf(out, "%s\n", text[0]);
        text[0] = "";
    }
    while (more) {
        size_t behind = 0; /* spaces that are due before the next text */
        more = false;
        for (size_t i = 0; i < cols->count; i++) {
            size_t skip, len = wrap_line(text[i], cols->width[i], false, &skip);
            if (len > 0)
                fprintf(out, "%*s%s%.*s%s", (int)behind, "", colour[i], (int)len, text[i],
                        colour_end(colour[i]));
            behind = (len > 0 ? 0 : behind) + cols->width[i] + GAP - wrap_width(text[i], len);
            text[i] += len + skip;
            more = more || *text[i] != '\0';
        }
        fputc('\n', out);
    }
}

static size_t table_width(const struct columns *cols)
{
    size_t sum = 0;
    for (size_t i = 0; i < cols->count; i++)
        sum += cols->width[i] + (i > 0 ? GAP : 0);
    return sum;
}

/* The widest column that can be narrower without breaking a word, but for the first one, see
 * print_row(); cols->count: none can. */
static size_t widest(const struct columns *cols)
{
    size_t found = cols->count;
    for (size_t i = 0; i < cols->count; i++)
        if (cols->width[i] > COLUMN_WIDTH_MIN && (i == 0 || cols->width[i] > cols->word[i]) &&
            (found == cols->count || cols->width[i] > cols->width[found]))
            found = i;
    return found;
}

/* Takes width from the widest columns until the table fits; false: it cannot. */
static bool fit(struct columns *cols, size_t terminal)
{
    while (table_width(cols) > terminal) {
        size_t column = widest(cols);
        if (column == cols->count)
            return false;
        cols->width[column]--;
    }
    return true;
}

static void measure_cell(struct columns *cols, size_t i, const char *text)
{
    cols->width[i] = larger(cols->width[i], width_of(text));
    cols->word[i] = larger(cols->word[i], longest_word(text));
}

/* As wide as their texts. */
static void measure(struct columns *cols, const json_t *rows, struct arena *arena)
{
    for (size_t i = 0; i < cols->count; i++) {
        measure_cell(cols, i, heading(arena, cols, i));
        for (size_t r = 0; r < json_array_size(rows); r++)
            measure_cell(cols, i, render_shown(arena, json_array_get(rows, r), cols, i));
    }
}

static void print_table(FILE *out, const struct columns *cols, const json_t *rows,
                        struct arena *arena)
{
    const char *text[COLUMNS_MAX];
    for (size_t i = 0; i < cols->count; i++)
        text[i] = heading(arena, cols, i);
    fputs(cols->coloured ? COLOUR_BOLD : "", out);
    print_row(out, cols, text);
    fputs(cols->coloured ? COLOUR_PLAIN : "", out);
    for (size_t r = 0; r < json_array_size(rows); r++) {
        for (size_t i = 0; i < cols->count; i++)
            text[i] = render_shown(arena, json_array_get(rows, r), cols, i);
        print_row(out, cols, text);
    }
}

/* Each field in lines of its own, and an empty line between rows. */
static void print_fields(FILE *out, const struct columns *cols, const json_t *rows, size_t terminal,
                         struct arena *arena)
{
    size_t width = 0;
    for (size_t i = 0; i < cols->count; i++)
        width = larger(width, width_of(heading(arena, cols, i)));
    for (size_t r = 0; r < json_array_size(rows); r++) {
        fputs(r > 0 ? "\n" : "", out);
        for (size_t i = 0; i < cols->count; i++) {
            const char *text = render_shown(arena, json_array_get(rows, r), cols, i);
            const char *colour = cell_colour(cols, i, text);
            fprintf(out, "%-*s%s", (int)width + GAP, heading(arena, cols, i), colour);
            wrap_print(out, text, width + GAP, terminal);
            fputs(colour_end(colour), out);
        }
    }
}

size_t render_terminal(FILE *out)
{
    struct winsize size;
    if (isatty(fileno(out)) && ioctl(fileno(out), TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
        return size.ws_col;
    return SIZE_MAX;
}

/* A row alone that does not fit is shown as its fields. So are several rows that do not fit even
 * with narrow columns. Nothing breaks a word, so that addresses and links can be copied. */
static void print_rows(FILE *out, const struct command *c, const json_t *reply, struct arena *arena)
{
    const json_t *rows = json_object_get(reply, "rows");
    struct columns cols = { .count = 0 };
    size_t terminal = render_terminal(out);
    cols.coloured = colour_is_on(out);
    choose_columns(&cols, c, reply);
    measure(&cols, rows, arena);
    bool alone = json_array_size(rows) == 1;
    if (alone ? !c->record && table_width(&cols) <= terminal : fit(&cols, terminal))
        print_table(out, &cols, rows, arena);
    else
        print_fields(out, &cols, rows, terminal, arena);
}

static void print_quoted(FILE *out, const char *text, bool formula)
{
    bool quote = text[strcspn(text, ",\"\n\t")] != '\0' || formula;
    fputs(quote ? "\"" : "", out);
    fputs(formula ? "'" : "", out);
    for (; *text != '\0'; text++) {
        if (*text == '"')
            fputc('"', out);
        fputc(*text, out);
    }
    fputs(quote ? "\"" : "", out);
}

void render_lines(FILE *out, const struct command *c, const json_t *reply)
{
    const json_t *row;
    size_t i;
    json_array_foreach(json_object_get(reply, "rows"), i, row)
    {
        const json_t *line = json_object_get(row, c->columns[0].name);
        fwrite(json_string_value(line), 1, json_string_length(line), out);
        fputc('\n', out);
    }
}

void render_csv(FILE *out, const struct command *c, const json_t *reply)
{
    struct arena *arena = arena_create(0);
    const json_t *rows = json_object_get(reply, "rows");
    struct columns cols = { .count = 0 };
    all_columns(&cols, c);
    for (size_t i = 0; i < cols.count; i++)
        fprintf(out, "%s%s", cols.name[i], i + 1 < cols.count ? "," : "\r\n");
    for (size_t r = 0; r < json_array_size(rows); r++) {
        const json_t *row = json_array_get(rows, r);
        for (size_t i = 0; i < cols.count; i++) {
            const char *text = cell_with(arena, row, cols.name[i], "\n\t");
            bool number = json_is_integer(json_object_get(row, cols.name[i]));
            print_quoted(out, text, !number && *text != '\0' && strchr("=+-@", *text) != NULL);
            fputs(i + 1 < cols.count ? "," : "\r\n", out);
        }
    }
    arena_destroy(&arena);
}

void render_found(FILE *out, const struct command *c, const json_t *reply)
{
    struct arena *arena = arena_create(0);
    const json_t *rows = json_object_get(reply, "rows");
    if (json_array_size(rows) > 0)
        print_rows(out, c, reply, arena);
    arena_destroy(&arena);
}

void render_reply(FILE *out, const struct command *c, const json_t *reply)
{
    struct arena *arena = arena_create(0);
    const json_t *rows = json_object_get(reply, "rows"), *text = json_object_get(reply, "text");
    size_t count = json_array_size(rows);
    if (count > 0)
        print_rows(out, c, reply, arena);
    size_t len = json_string_length(text);
    if (len > 0) {
        const char *said = printable(arena, (slice){ json_string_value(text), len }, "\n\t");
        fprintf(out, "%s%s", said, said[len - 1] == '\n' ? "" : "\n");
    } else if (count == 0 && c->columns != NULL && !c->record) {
        fprintf(stderr, "nothing to list\n"); /* not among the rows that a script counts */
    }
    arena_destroy(&arena);
}
