#include "base/command_options.h"
#include "base/buf.h"
#include "base/command.h"
#include <ctype.h>
#include <string.h>

/* "--visible-to" at the begin of `text` as the argument "visible_to" of the command; length of what
 * it replaces, or 0. */
static size_t option_at(const struct command *c, slice text, const struct command_arg **out)
{
    for (const struct command_arg *a = c->args; a != NULL && a->name != NULL; a++) {
        struct command_hyphened option = command_hyphened(a->name);
        size_t len = 2 + strlen(option.text);
        slice behind = slice_from(text, len < text.len ? len : text.len);
        if (text.len >= len && memcmp(text.ptr, "--", 2) == 0 &&
            memcmp(text.ptr + 2, option.text, len - 2) == 0 &&
            (behind.len == 0 || (behind.ptr[0] != '-' && !isalnum((unsigned char)behind.ptr[0])))) {
            *out = a;
            return len;
        }
    }
    return 0;
}

enum { COMMAND_WORDS_MAX = 4 };

/* The command whose name is at the begin of `line`; *rest: what is behind that. NULL: none is. */
static const struct command *command_at(slice line, slice *rest)
{
    const struct command *found = NULL;
    size_t len = 0;
    for (unsigned words = 0; words < COMMAND_WORDS_MAX && len < line.len; words++) {
        len += len > 0 ? 1 : 0;
        while (len < line.len && line.ptr[len] != ' ')
            len++;
        const struct command *c = command_find((slice){ line.ptr, len });
        if (c != NULL) {
            found = c;
            *rest = slice_from(line, len);
        }
    }
    return found;
}

/* A line for musterctl, "musterctl alarm list --all", as it is said elsewhere: "`alarm list` with
 * `all`". False: it has no options of a command, and stays as it is. */
static bool line_named(struct buf *out, slice line, command_option_fn *name)
{
    const struct command_arg *a;
    slice rest, word, start = slice_starts(line, SLICE("musterctl ")) ? slice_from(line, 10) : line;
    const struct command *c = command_at(start, &rest);
    if (c == NULL)
        return false;
    const char *joint = " with";
    size_t begin = out->len;
    buf_lit(out, "`");
    buf_append(out, start.ptr, start.len - rest.len);
    bool named = false;
    while (rest.len > 0) {
        slice_cut(rest, ' ', &word, &rest);
        if (word.len == 0)
            continue;
        bool option = slice_starts(word, SLICE("--"));
        if (option && option_at(c, word, &a) != word.len) {
            out->len = begin;
            return false;
        }
        if (option) {
            buf_printf(out, "%s%s ", named ? "" : "`", joint);
            name(out, a);
            joint = " and";
            named = true;
        } else {
            buf_printf(out, " %.*s", SLICE_ARG(word));
        }
    }
    if (!named)
        out->len = begin;
    return named;
}

void command_options_named(struct buf *out, const struct command *c, slice text,
                           command_option_fn *name)
{
    const struct command_arg *a;
    slice line, behind;
    bool quoted = false;
    while (text.len > 0) {
        bool quote = text.ptr[0] == '`';
        slice from = slice_from(text, quote ? 1 : 0);
        if (quote && !quoted && slice_cut(from, '`', &line, &behind) &&
            line_named(out, line, name)) {
            text = behind;
            continue;
        }
        size_t len = quoted ? 0 : option_at(c, from, &a);
        if (len > 0 && quote) /* an option alone */
            len = from.len > len && from.ptr[len] == '`' ? len + 2 : 0;
        quoted = quoted != (quote && len == 0);
        if (len > 0)
            name(out, a);
        else
            buf_append(out, text.ptr, 1);
        text = slice_from(text, len > 0 ? len : 1);
    }
}
