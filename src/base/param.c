#include "base/param.h"
#include "base/ensure.h"
#include "base/units.h"
#include "base/utf8.h"
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

enum { RANGE_BYTES_MAX = 320, FOUND_BYTES_MAX = 64 };

const char *param_type_name(enum param_type type)
{
    static const char *const names[PARAM_TYPES] = {
        [PARAM_TEXT] = "string",   [PARAM_BOOL] = "bool", [PARAM_INT] = "int",
        [PARAM_BYTES] = "bytes",   [PARAM_MS] = "time",   [PARAM_CHOICE] = "choice",
        [PARAM_SECRET] = "secret", [PARAM_PATH] = "path", [PARAM_STAMP] = "timestamp",
        [PARAM_DOMAIN] = "domain", [PARAM_JID] = "jid",   [PARAM_HOME_DOMAIN] = "served-domain",
        [PARAM_BARE] = "bare-jid", [PARAM_USER] = "user", [PARAM_SESSION] = "session",
        [PARAM_ROOM] = "room",
    };
    return names[type];
}

const char *const *param_choices(const struct param *p)
{
    static const char *const on_off[] = { "on", "off", NULL };
    return p->type == PARAM_BOOL ? on_off : p->choices;
}

bool param_is_absolute(slice path) { return slice_starts(path, SLICE("/")); }

bool param_is_name(slice text)
{
    for (size_t i = 0; i < text.len; i++)
        if (strchr("abcdefghijklmnopqrstuvwxyz0123456789-_.", text.ptr[i]) == NULL)
            return false;
    return text.len > 0 && text.ptr[0] != '-' && !slice_is(text, ".") && !slice_is(text, "..");
}

/* A bounded text under construction; what does not fit is dropped. */
struct out {
    char *text;
    size_t len, cap;
};

static void __attribute__((format(printf, 2, 3))) param_add(struct out *o, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int len = vsnprintf(o->text + o->len, o->cap - o->len, fmt, ap);
    va_end(ap);
    ensure(len >= 0);
    size_t room = o->cap - 1 - o->len;
    o->len += (size_t)len < room ? (size_t)len : room;
}

static void add_with_unit(struct out *o, const struct unit *units, int64_t value)
{
    const struct unit *best = units_best(units, value);
    if (value == 0)
        param_add(o, "0");
    else
        param_add(o, "%" PRId64 "%s", value / best->factor, best->name);
}

static bool counts_days(const struct param *p)
{
    return p->type == PARAM_INT && p->unit != NULL && strcmp(p->unit, "days") == 0;
}

static void param_add_value(struct out *o, const struct param *p, int64_t value)
{
    if (p->allow_none && value == PARAM_NONE)
        param_add(o, "none");
    else if (p->type == PARAM_BOOL)
        param_add(o, "%s", value != 0 ? "on" : "off");
    else if (p->type == PARAM_CHOICE)
        param_add(o, "%s", p->choices[value]);
    else if (p->type == PARAM_MS)
        add_with_unit(o, units_time, value);
    else if (p->type == PARAM_BYTES)
        add_with_unit(o, units_bytes, value);
    else
        param_add(o, "%" PRId64 "%s", value, counts_days(p) && value != 0 ? "d" : "");
}

size_t param_format(const struct param *p, int64_t value, char *out, size_t cap)
{
    ensure(cap > 0);
    struct out o = { .text = out, .cap = cap };
    out[0] = '\0';
    param_add_value(&o, p, value);
    return o.len;
}

static void add_limits(struct out *o, const struct param *p)
{
    if (param_is_text(p) && p->max == 0) {
        param_add(o, "%s", p->form != NULL ? p->form : "text");
        return;
    }
    if (param_is_text(p))
        param_add(o, "text of ");
    if (p->max >= PARAM_NONE)
        param_add(o, "at least ");
    param_add_value(o, p, p->min);
    if (p->max < PARAM_NONE) {
        param_add(o, " to ");
        param_add_value(o, p, p->max);
    }
    if (param_is_text(p))
        param_add(o, " bytes");
    if (p->form != NULL)
        param_add(o, ": %s", p->form);
    if (p->not_above != NULL)
        param_add(o, ", not above %s", p->not_above->name);
    if (p->allow_none)
        param_add(o, ", or none");
}

static void add_choices(struct out *o, const struct param *p)
{
    param_add(o, "one of: ");
    for (const char *const *c = p->choices; *c != NULL; c++)
        param_add(o, "%s%s", c == p->choices ? "" : ", ", *c);
    if (p->allow_none)
        param_add(o, ", none");
}

size_t param_range(const struct param *p, char *out, size_t cap)
{
    ensure(cap > 0);
    struct out o = { .text = out, .cap = cap };
    out[0] = '\0';
    if (p->type == PARAM_BOOL)
        param_add(&o, "%s", p->form != NULL ? p->form : "on or off");
    else if (p->type == PARAM_CHOICE)
        add_choices(&o, p);
    else
        add_limits(&o, p);
    return o.len;
}

/* Refuses `text`; `note` says what is wrong with it, or is empty. */
static enum err param_refuse(const struct param *p, enum err e, slice text, const char *note,
                             struct why *why)
{
    static const char cut[] = "…";
    char found[FOUND_BYTES_MAX + sizeof cut], range[RANGE_BYTES_MAX];
    if (p->type == PARAM_SECRET)
        text = SLICE(PARAM_SECRET_SHOWN);
    size_t len = utf8_head(text, FOUND_BYTES_MAX).len;
    for (size_t i = 0; i < len; i++)
        found[i] = (unsigned char)text.ptr[i] < ' ' ? '?' : text.ptr[i];
    bool long_one = text.len > FOUND_BYTES_MAX;
    memcpy(found + len, long_one ? cut : "", long_one ? sizeof cut : 1);
    param_range(p, range, sizeof range);
    why_set(why, "%s: found \"%s\"%s, allowed %s", p->name, found, note, range);
    return e;
}

static enum err refuse_length(const struct param *p, size_t len, struct why *why)
{
    char range[RANGE_BYTES_MAX];
    param_range(p, range, sizeof range);
    why_set(why, "%s: found %zu bytes, allowed %s", p->name, len, range);
    return E_LIMIT;
}

static enum err parse_units(const struct param *p, slice text, const struct unit *units,
                            int64_t alone, int64_t *value, struct why *why)
{
    const char *known = units == units_time
                            ? " with an unknown unit (there are ms, s, min, h, d, w)"
                            : " with an unknown unit (there are B, kB, KiB, MB, "
                              "MiB, GB, GiB, TB, TiB)";
    switch (units_parse(text, units, alone, value)) {
    case UNITS_OK:
        return OK;
    case UNITS_UNKNOWN:
        return param_refuse(p, E_SYNTAX, text, known, why);
    case UNITS_MISSING:
        return param_refuse(p, E_SYNTAX, text, " without a unit (ms, s, min, h, d or w)", why);
    case UNITS_OVERFLOW:
        return param_refuse(p, E_LIMIT, text, "", why);
    case UNITS_SYNTAX:
        break;
    }
    return param_refuse(p, E_SYNTAX, text, "", why);
}

/* A number without a unit means seconds, unless the default or a bound of the setting is not a
 * whole number of seconds. */
static int64_t alone_is(const struct param *p)
{
    enum { SECOND_MS = 1000 };
    bool whole = p->min % SECOND_MS == 0 && (p->def % SECOND_MS == 0 || p->def == PARAM_NONE) &&
                 (p->max % SECOND_MS == 0 || p->max >= PARAM_NONE);
    return whole ? SECOND_MS : 0;
}

/* A number. Days can also be written as a time: "30d", "4 weeks". */
static enum err param_parse_int(const struct param *p, slice text, int64_t *value, struct why *why)
{
    enum { DAY_MS = 86400000 };
    if (slice_int(text, value))
        return OK;
    if (!counts_days(p))
        return param_refuse(p, E_SYNTAX, text, "", why);
    enum err e = parse_units(p, text, units_time, DAY_MS, value, why);
    if (e != OK)
        return e;
    if (*value % DAY_MS != 0)
        return param_refuse(p, E_SYNTAX, text, ", which is not a number of whole days", why);
    *value /= DAY_MS;
    return OK;
}

static enum err parse_bool(const struct param *p, slice text, int64_t *value, struct why *why)
{
    static const char *const words[] = { "off", "on", "false", "true", "no", "yes" };
    for (int i = 0; i < (int)(sizeof words / sizeof words[0]); i++) {
        if (slice_is(text, words[i])) {
            *value = i & 1;
            return OK;
        }
    }
    return param_refuse(p, E_SYNTAX, text, "", why);
}

static enum err param_parse_choice(const struct param *p, slice text, int64_t *value,
                                   struct why *why)
{
    for (int64_t i = 0; p->choices[i] != NULL; i++) {
        if (slice_is(text, p->choices[i])) {
            *value = i;
            return OK;
        }
    }
    return param_refuse(p, E_SYNTAX, text, "", why);
}

/* U+FFFE and U+FFFF, which XML cannot have. */
static bool is_no_character(slice text)
{
    return slice_starts(text, SLICE("\xef\xbf\xbe")) || slice_starts(text, SLICE("\xef\xbf\xbf"));
}

/* Valid UTF-8 of characters, without controls but line feed and tab; the value is its length. */
static enum err parse_string(const struct param *p, slice text, int64_t *value, struct why *why)
{
    bool clean = utf8_valid(text);
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        clean = clean && ((unsigned char)c >= ' ' || c == '\n' || c == '\t' || c == '\r') &&
                c != 0x7f && !is_no_character(slice_from(text, i));
    }
    if (!clean)
        return param_refuse(p, E_SYNTAX, text, ", which is not plain UTF-8 text", why);
    if (p->type == PARAM_SECRET && slice_is(text, PARAM_SECRET_SHOWN))
        return param_refuse(p, E_SYNTAX, text, ", which is only shown in its place", why);
    if (p->check != NULL && !p->check(text))
        return param_refuse(p, E_SYNTAX, p->culprit != NULL ? p->culprit(text) : text, "", why);
    *value = (int64_t)text.len;
    return OK;
}

static enum err param_parse(const struct param *p, slice text, int64_t *value, struct why *why)
{
    if (param_is_text(p))
        return parse_string(p, text, value, why);
    switch (p->type) {
    case PARAM_BOOL:
        return parse_bool(p, text, value, why);
    case PARAM_CHOICE:
        return param_parse_choice(p, text, value, why);
    case PARAM_MS:
        return parse_units(p, text, units_time, alone_is(p), value, why);
    case PARAM_BYTES:
        return parse_units(p, text, units_bytes, 1, value, why);
    default:
        return param_parse_int(p, text, value, why);
    }
}

/* What a number without a unit was taken for. */
static const char *taken_as(const struct param *p, slice text)
{
    int64_t number;
    if (!slice_int(text, &number) || number == 0)
        return "";
    return p->type == PARAM_MS ? " (seconds)" : counts_days(p) ? " (days)" : "";
}

static bool has_limits(const struct param *p)
{
    return p->type != PARAM_BOOL && p->type != PARAM_CHOICE && !(param_is_text(p) && p->max == 0);
}

enum err param_check(const struct param *p, slice text, int64_t *value, struct why *why)
{
    if (p->allow_none && slice_is(text, "none")) {
        *value = PARAM_NONE;
        return OK;
    }
    enum err e = param_parse(p, text, value, why);
    if (e != OK)
        return e;
    if (has_limits(p) && (*value < p->min || *value > p->max || *value >= PARAM_NONE))
        return param_is_text(p) ? refuse_length(p, text.len, why)
                                : param_refuse(p, E_LIMIT, text, taken_as(p, text), why);
    return OK;
}
