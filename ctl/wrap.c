#include "ctl/wrap.h"
#include <string.h>

static bool begins_character(char c) { return ((unsigned char)c & 0xc0) != 0x80; }

size_t wrap_width(const char *text, size_t len)
{
    size_t width = 0;
    for (size_t i = 0; i < len; i++)
        width += begins_character(text[i]);
    return width;
}

size_t wrap_line(const char *text, size_t width, bool whole, size_t *skip)
{
    size_t at = 0, columns = 0, space = 0;
    *skip = 0;
    while (text[at] != '\0') {
        bool word_goes_on = whole && space == 0 && text[at] != ' ';
        if (begins_character(text[at]) && columns >= width && !word_goes_on)
            break;
        if (text[at] == ' ')
            space = at;
        columns += begins_character(text[at]);
        at++;
    }
    if (text[at] == '\0')
        return at;
    if (text[at] != ' ' && space > 0)
        at = space;
    while (text[at + *skip] == ' ')
        ++*skip;
    return at;
}

void wrap_print(FILE *out, const char *text, size_t indent, size_t width)
{
    size_t skip, room = width > indent ? width - indent : 1;
    size_t len = wrap_line(text, room, true, &skip);
    fprintf(out, "%.*s\n", (int)len, text);
    for (text += len + skip; *text != '\0'; text += len + skip) {
        len = wrap_line(text, room, true, &skip);
        fprintf(out, "%*s%.*s\n", (int)indent, "", (int)len, text);
    }
}
