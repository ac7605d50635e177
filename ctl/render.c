#include "ctl/render.h"
#include "base/arena.h"
#include "base/command.h"
#include "base/utf8.h"
#include <inttypes.h>

enum { COLUMNS_MAX = 32, GAP = 2 };

struct columns {
    const char *name[COLUMNS_MAX];
    size_t width[COLUMNS_MAX];
    size_t count;
};

/* Columns on a terminal, taken as one for each character. */
static size_t width_of(const char *text)
{
    size_t width = 0;
    for (; *text != '\0'; text++)
        width += ((unsigned char)*text & 0xc0) != 0x80;
    return width;
}

/* Control characters could steer the terminal. Line ends are kept where `multiline`. */
static const char *printable(struct arena *arena, slice text, const char *keep)
{
    char *out = slice_cstr(arena, text);
    for (char *c = out; c < out + text.len; c++) {
        bool control = (unsigned char)*c < ' ' || *c == 0x7f;
        if (control && (*c == '\0' || strchr(keep, *c) == NULL))
            *c = '?';
    }
    return out;
}

static const char *cell(struct arena *arena, const json_t *row, const char *column)
{
    const json_t *value = json_object_get(row, column);
    if (json_is_string(value))
        return printable(arena, (slice){ json_string_value(value), json_string_length(value) }, "");
    if (json_is_integer(value))
        return arena_printf(arena, "%" PRId64, (int64_t)json_integer_value(value));
    return json_is_true(value) ? "yes" : json_is_false(value) ? "no" : "";
}

static void choose_columns(struct columns *cols, const struct command *c, json_t *first)
{
    const char *key;
    json_t *value;
    for (size_t i = 0; c->columns != NULL && c->columns[i] != NULL && i < COLUMNS_MAX; i++)
        cols->name[cols->count++] = c->columns[i];
    if (cols->count > 0)
        return;
    json_object_foreach(first, key, value)
    {
        if (cols->count < COLUMNS_MAX)
            cols->name[cols->count++] = key;
    }
}

static void print_cell(FILE *out, const struct columns *cols, size_t i, const char *text)
{
    if (i + 1 == cols->count)
        fprintf(out, "%s\n", text);
    else
        fprintf(out, "%s%*s", text, (int)(cols->width[i] - width_of(text)) + GAP, "");
}

static void print_table(FILE *out, struct columns *cols, const json_t *rows, struct arena *arena)
{
    for (size_t i = 0; i < cols->count; i++) {
        cols->width[i] = width_of(cols->name[i]);
        for (size_t r = 0; r < json_array_size(rows); r++) {
            size_t width = width_of(cell(arena, json_array_get(rows, r), cols->name[i]));
            cols->width[i] = width > cols->width[i] ? width : cols->width[i];
        }
    }
    for (size_t i = 0; i < cols->count; i++)
        print_cell(out, cols, i, cols->name[i]);
    for (size_t r = 0; r < json_array_size(rows); r++) {
        for (size_t i = 0; i < cols->count; i++)
            print_cell(out, cols, i, cell(arena, json_array_get(rows, r), cols->name[i]));
    }
}

static void print_fields(FILE *out, const struct columns *cols, const json_t *row,
                         struct arena *arena)
{
    size_t width = 0;
    for (size_t i = 0; i < cols->count; i++) {
        size_t one = width_of(cols->name[i]);
        width = one > width ? one : width;
    }
    for (size_t i = 0; i < cols->count; i++)
        fprintf(out, "%-*s%s\n", (int)width + GAP, cols->name[i], cell(arena, row, cols->name[i]));
}

static void print_quoted(FILE *out, const char *text, bool formula)
{
    bool quote = text[strcspn(text, ",\"")] != '\0' || formula;
    fputs(quote ? "\"" : "", out);
    fputs(formula ? "'" : "", out);
    for (; *text != '\0'; text++) {
        if (*text == '"')
            fputc('"', out);
        fputc(*text, out);
    }
    fputs(quote ? "\"" : "", out);
}

void render_csv(FILE *out, const struct command *c, const json_t *reply)
{
    struct arena *arena = arena_create(0);
    const json_t *rows = json_object_get(reply, "rows");
    struct columns cols = { .count = 0 };
    if (json_array_size(rows) > 0)
        choose_columns(&cols, c, json_array_get(rows, 0));
    for (size_t i = 0; i < cols.count; i++)
        fprintf(out, "%s%s", cols.name[i], i + 1 < cols.count ? "," : "\r\n");
    for (size_t r = 0; r < json_array_size(rows); r++) {
        const json_t *row = json_array_get(rows, r);
        for (size_t i = 0; i < cols.count; i++) {
            const char *text = cell(arena, row, cols.name[i]);
            bool number = json_is_integer(json_object_get(row, cols.name[i]));
            print_quoted(out, text, !number && *text != '\0' && strchr("=+-@", *text) != NULL);
            fputs(i + 1 < cols.count ? "," : "\r\n", out);
        }
    }
    arena_destroy(&arena);
}

void render_reply(FILE *out, const struct command *c, const json_t *reply)
{
    struct arena *arena = arena_create(0);
    const json_t *rows = json_object_get(reply, "rows"), *text = json_object_get(reply, "text");
    struct columns cols = { .count = 0 };
    size_t count = json_array_size(rows);
    if (count > 0)
        choose_columns(&cols, c, json_array_get(rows, 0));
    if (count == 1 && c->columns == NULL)
        print_fields(out, &cols, json_array_get(rows, 0), arena);
    else if (cols.count > 0)
        print_table(out, &cols, rows, arena);
    size_t len = json_string_length(text);
    if (len > 0) {
        const char *shown = printable(arena, (slice){ json_string_value(text), len }, "\n\t");
        fprintf(out, "%s%s", shown, shown[len - 1] == '\n' ? "" : "\n");
    }
    arena_destroy(&arena);
}
