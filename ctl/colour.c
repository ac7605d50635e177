#include "ctl/colour.h"
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define RED    "\033[31m"
#define GREEN  "\033[32m"
#define YELLOW "\033[33m"

static const char *const columns[] = { "level", "result", "severity", "state", "status", NULL };

static const struct {
    const char *text, *colour;
} words[] = {
    { "Failure", RED },        { "Success", GREEN }, { "blocked", RED },     { "canceled", YELLOW },
    { "connecting", YELLOW },  { "critical", RED },  { "disabled", YELLOW }, { "diverted", YELLOW },
    { "done", GREEN },         { "error", RED },     { "failed", RED },      { "good", GREEN },
    { "hibernating", YELLOW }, { "ok", GREEN },      { "online", GREEN },    { "queued", YELLOW },
    { "revoked", RED },        { "running", GREEN }, { "unknown", YELLOW },  { "up", GREEN },
    { "waiting", YELLOW },     { "warn", YELLOW },   { "warning", YELLOW },  { NULL, NULL },
};

bool colour_is_on(FILE *out)
{
    const char *none = getenv("NO_COLOR"), *term = getenv("TERM");
    return (none == NULL || *none == '\0') && term != NULL && strcmp(term, "dumb") != 0 &&
           isatty(fileno(out));
}

const char *colour_of(const char *column, const char *text)
{
    const char *const *known = columns;
    while (*known != NULL && strcmp(*known, column) != 0)
        known++;
    for (size_t i = 0; *known != NULL && words[i].text != NULL; i++)
        if (strcmp(words[i].text, text) == 0)
            return words[i].colour;
    return NULL;
}
