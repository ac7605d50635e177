#include "base/err.h"
#include <assert.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>

static const struct {
    const char *name, *text;
} texts[] = {
    [OK] = { "ok", "done" },
    [E_AGAIN] = { "again", "not now, try again later" },
    [E_EOF] = { "eof", "the peer has closed" },
    [E_LIMIT] = { "limit", "a limit would be exceeded" },
    [E_PROTO] = { "proto", "the peer broke the protocol" },
    [E_SYNTAX] = { "syntax", "malformed input" },
    [E_AUTH] = { "auth", "credentials are wrong or missing" },
    [E_DENIED] = { "denied", "not allowed" },
    [E_NOTFOUND] = { "notfound", "no such thing" },
    [E_EXISTS] = { "exists", "already there" },
    [E_CONFLICT] = { "conflict", "lost against another change" },
    [E_TIMEOUT] = { "timeout", "no answer in time" },
    [E_CANCELED] = { "canceled", "given up" },
    [E_IO] = { "io", "the operating system refused" },
    [E_FULL] = { "full", "no space left" },
    [E_DOWN] = { "down", "the database is not available; `alarm list` says why" },
    [E_CORRUPT] = { "corrupt", "stored data is damaged" },
    [E_UNSUPPORTED] = { "unsupported", "not offered" },
    [E_INTERNAL] = { "internal", "internal error" },
    [E_OUTSIDE] = { "outside", "another server failed" },
    [E_PART] = { "part", "a part of it was done" },
};
static_assert(sizeof texts / sizeof texts[0] == ERR_COUNT, "one text an error");

static bool err_known(enum err e) { return (unsigned)e < ERR_COUNT; }

const char *err_name(enum err e) { return texts[err_known(e) ? e : E_INTERNAL].name; }
const char *err_text(enum err e) { return texts[err_known(e) ? e : E_INTERNAL].text; }

void why_set(struct why *why, const char *fmt, ...)
{
    if (why == NULL)
        return;
    va_list ap;
    va_start(ap, fmt);
    if (vsnprintf(why->text, sizeof why->text, fmt, ap) < 0)
        why->text[0] = '\0';
    va_end(ap);
}
