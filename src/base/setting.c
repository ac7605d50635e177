#include "base/setting.h"
#include "base/ensure.h"
#include "base/mem.h"
#include "base/units.h"
#include "base/utf8.h"
#include <inttypes.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>

enum { VALUE_BYTES_MAX = 160, FOUND_BYTES_MAX = 64 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* the list of rows, and of texts */
static struct setting *settings;

/* Readers on other threads may keep a text for any time, so texts are never freed. A text that is
 * set again is reused. */
struct kept_text {
    struct kept_text *next;
    char text[];
};
static struct kept_text *kept_texts;

/* A bounded text under construction; what does not fit is dropped. */
struct out {
    char *text;
    size_t len, cap;
};

static void __attribute__((format(printf, 2, 3))) add(struct out *o, const char *fmt, ...)
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
        add(o, "0");
    else
        add(o, "%" PRId64 "%s", value / best->factor, best->name);
}

static void add_value(struct out *o, const struct setting *s, int64_t value)
{
    if (s->allow_none && value == SETTING_NONE) {
        add(o, "none");
        return;
    }
    switch (s->type) {
    case SET_BOOL:
        add(o, "%s", value != 0 ? "on" : "off");
        break;
    case SET_CHOICE:
        add(o, "%s", s->choices[value]);
        break;
    case SET_MS:
        add_with_unit(o, units_time, value);
        break;
    case SET_BYTES:
        add_with_unit(o, units_bytes, value);
        break;
    case SET_INT:
    case SET_STRING:
        add(o, "%" PRId64, value);
        break;
    }
}

static void add_limits(struct out *o, const struct setting *s)
{
    if (s->type == SET_STRING)
        add(o, "text of ");
    if (s->max >= SETTING_NONE)
        add(o, "at least ");
    add_value(o, s, s->min);
    if (s->max < SETTING_NONE) {
        add(o, " to ");
        add_value(o, s, s->max);
    }
    if (s->type == SET_STRING)
        add(o, " bytes");
    if (s->form != NULL)
        add(o, ": %s", s->form);
    if (s->not_above != NULL)
        add(o, ", not above %s", s->not_above->name);
    if (s->allow_none)
        add(o, ", or none");
}

static void add_choices(struct out *o, const struct setting *s)
{
    add(o, "one of: ");
    for (const char *const *c = s->choices; *c != NULL; c++)
        add(o, "%s%s", c == s->choices ? "" : ", ", *c);
    if (s->allow_none)
        add(o, ", none");
}

size_t setting_range(const struct setting *s, char *out, size_t cap)
{
    ensure(cap > 0);
    struct out o = { .text = out, .cap = cap };
    out[0] = '\0';
    if (s->type == SET_BOOL)
        add(&o, "on or off");
    else if (s->type == SET_CHOICE)
        add_choices(&o, s);
    else
        add_limits(&o, s);
    return o.len;
}

size_t setting_format(const struct setting *s, char *out, size_t cap)
{
    ensure(cap > 0);
    struct out o = { .text = out, .cap = cap };
    out[0] = '\0';
    if (s->type == SET_STRING)
        add(&o, "%s", s->secret && *setting_text(s) != '\0' ? "(secret)" : setting_text(s));
    else
        add_value(&o, s, setting_int(s));
    return o.len;
}

/* Refuses `text`; `note` says what is wrong with it, or is empty. */
static enum err refuse(const struct setting *s, enum err e, slice text, const char *note,
                       struct why *why)
{
    char found[FOUND_BYTES_MAX + 1], range[VALUE_BYTES_MAX];
    if (s->secret)
        text = SLICE("(secret)");
    size_t len = text.len < FOUND_BYTES_MAX ? text.len : FOUND_BYTES_MAX;
    len = utf8_valid_len((slice){ text.ptr, len });
    for (size_t i = 0; i < len; i++)
        found[i] = (unsigned char)text.ptr[i] < ' ' ? '?' : text.ptr[i];
    found[len] = '\0';
    setting_range(s, range, sizeof range);
    why_set(why, "%s: found \"%s\"%s, allowed %s", s->name, found, note, range);
    return e;
}

static enum err parse_units(const struct setting *s, slice text, const struct unit *units,
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
        return refuse(s, E_SYNTAX, text, known, why);
    case UNITS_MISSING:
        return refuse(s, E_SYNTAX, text, " without a unit (ms, s, min, h, d or w)", why);
    case UNITS_OVERFLOW:
        return refuse(s, E_LIMIT, text, "", why);
    case UNITS_SYNTAX:
        break;
    }
    return refuse(s, E_SYNTAX, text, "", why);
}

/* A number without a unit means seconds, unless the default or a bound of the setting is not a
 * whole number of seconds. */
static int64_t alone_is(const struct setting *s)
{
    enum { SECOND_MS = 1000 };
    bool whole = s->min % SECOND_MS == 0 && (s->def % SECOND_MS == 0 || s->def == SETTING_NONE) &&
                 (s->max % SECOND_MS == 0 || s->max >= SETTING_NONE);
    return whole ? SECOND_MS : 0;
}

/* A number. Days can also be written as a time: "30d", "4 weeks". */
static enum err parse_int(const struct setting *s, slice text, int64_t *value, struct why *why)
{
    enum { DAY_MS = 86400000 };
    if (slice_int(text, value))
        return OK;
    if (s->unit == NULL || strcmp(s->unit, "days") != 0)
        return refuse(s, E_SYNTAX, text, "", why);
    enum err e = parse_units(s, text, units_time, DAY_MS, value, why);
    if (e != OK)
        return e;
    if (*value % DAY_MS != 0)
        return refuse(s, E_SYNTAX, text, ", which is not a number of whole days", why);
    *value /= DAY_MS;
    return OK;
}

static enum err parse_bool(const struct setting *s, slice text, int64_t *value, struct why *why)
{
    static const char *const words[] = { "off", "on", "false", "true", "no", "yes" };
    for (int i = 0; i < (int)(sizeof words / sizeof words[0]); i++) {
        if (slice_is(text, words[i])) {
            *value = i & 1;
            return OK;
        }
    }
    return refuse(s, E_SYNTAX, text, "", why);
}

static enum err parse_choice(const struct setting *s, slice text, int64_t *value, struct why *why)
{
    for (int64_t i = 0; s->choices[i] != NULL; i++) {
        if (slice_is(text, s->choices[i])) {
            *value = i;
            return OK;
        }
    }
    return refuse(s, E_SYNTAX, text, "", why);
}

/* Valid UTF-8 without control characters but line feed and tab; the value is its length. */
static enum err parse_string(const struct setting *s, slice text, int64_t *value, struct why *why)
{
    bool clean = utf8_valid(text);
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        clean = clean && ((unsigned char)c >= ' ' || c == '\n' || c == '\t') && c != 0x7f;
    }
    if (!clean)
        return refuse(s, E_SYNTAX, text, ", which is not plain UTF-8 text", why);
    if (s->check != NULL && !s->check(text))
        return refuse(s, E_SYNTAX, text, "", why);
    *value = (int64_t)text.len;
    return OK;
}

static enum err parse(const struct setting *s, slice text, int64_t *value, struct why *why)
{
    switch (s->type) {
    case SET_BOOL:
        return parse_bool(s, text, value, why);
    case SET_CHOICE:
        return parse_choice(s, text, value, why);
    case SET_STRING:
        return parse_string(s, text, value, why);
    case SET_MS:
        return parse_units(s, text, units_time, alone_is(s), value, why);
    case SET_BYTES:
        return parse_units(s, text, units_bytes, 1, value, why);
    case SET_INT:
        break;
    }
    return parse_int(s, text, value, why);
}

static bool has_limits(const struct setting *s)
{
    return s->type != SET_BOOL && s->type != SET_CHOICE;
}

static enum err check(const struct setting *s, slice text, int64_t *value, struct why *why)
{
    if (s->allow_none && slice_is(text, "none")) {
        *value = SETTING_NONE;
        return OK;
    }
    enum err e = parse(s, text, value, why);
    if (e != OK)
        return e;
    if (has_limits(s) && (*value < s->min || *value > s->max || *value >= SETTING_NONE))
        return refuse(s, E_LIMIT, text, "", why);
    return OK;
}

enum err setting_check(const struct setting *s, slice text, struct why *why)
{
    int64_t value;
    return check(s, text, &value, why);
}

/* The value of `s` after the changes; *changed: whether one of them is for it. */
static int64_t value_with(const struct setting *s, const struct setting_change *change,
                          size_t count, bool *changed)
{
    struct why why;
    int64_t value;
    for (size_t i = 0; i < count; i++) {
        if (change[i].setting != s)
            continue;
        *changed = true;
        if (change[i].value.ptr == NULL)
            return s->def;
        if (check(s, change[i].value, &value, &why) == OK)
            return value;
    }
    return setting_int(s);
}

static enum err refuse_pair(const struct setting *s, int64_t value, const char *allowed,
                            const struct setting *other, int64_t limit, struct why *why)
{
    char found[VALUE_BYTES_MAX], is[VALUE_BYTES_MAX];
    struct out o = { .text = found, .cap = sizeof found }, p = { .text = is, .cap = sizeof is };
    add_value(&o, s, value);
    add_value(&p, other, limit);
    why_set(why, "%s: found %s, allowed %s %s, which is %s", s->name, found, allowed, other->name,
            is);
    return E_CONFLICT;
}

enum err setting_agree(const struct setting_change *change, size_t count, struct why *why)
{
    for (const struct setting *s = setting_first(); s != NULL; s = s->next) {
        const struct setting *above = s->not_above;
        bool low_changed = false, high_changed = false;
        if (above == NULL)
            continue;
        int64_t low = value_with(s, change, count, &low_changed);
        int64_t high = value_with(above, change, count, &high_changed);
        if (low <= high || (count > 0 && !low_changed && !high_changed))
            continue;
        return low_changed || !high_changed ? refuse_pair(s, low, "at most", above, high, why)
                                            : refuse_pair(above, high, "at least", s, low, why);
    }
    return OK;
}

static const char *keep_text(slice text)
{
    pthread_mutex_lock(&lock);
    struct kept_text *kept = kept_texts;
    while (kept != NULL && !slice_is(text, kept->text))
        kept = kept->next;
    if (kept == NULL) {
        kept = mem_zalloc(sizeof *kept + text.len + 1);
        if (text.len > 0)
            memcpy(kept->text, text.ptr, text.len);
        kept->next = kept_texts;
        kept_texts = kept;
    }
    pthread_mutex_unlock(&lock);
    return kept->text;
}

static void store_value(struct setting *s, int64_t value)
{
    if (atomic_exchange(&s->value, value) != value && s->changed != NULL)
        s->changed(s);
}

static void store_text(struct setting *s, slice text)
{
    if (slice_is(text, setting_text(s)))
        return;
    bool is_default = slice_is(text, s->def_text);
    atomic_store(&s->text, is_default ? s->def_text : keep_text(text));
    if (s->changed != NULL)
        s->changed(s);
}

enum err setting_set(struct setting *s, slice text, struct why *why)
{
    int64_t value;
    enum err e = check(s, text, &value, why);
    if (e != OK)
        return e;
    if (s->type == SET_STRING)
        store_text(s, text);
    else
        store_value(s, value);
    return OK;
}

void setting_reset(struct setting *s)
{
    if (s->type == SET_STRING)
        store_text(s, slice_of(s->def_text));
    else
        store_value(s, s->def);
}

/* The default of a row must pass the row's own check. */
static void check_row(const struct setting *s)
{
    struct why why;
    if (s->type == SET_STRING) {
        ensure(!s->allow_none && s->def_text != NULL);
        ensure(setting_check(s, slice_of(s->def_text), &why) == OK);
        return;
    }
    char text[VALUE_BYTES_MAX];
    size_t len = setting_format(s, text, sizeof text);
    ensure(s->min <= s->max);
    ensure(setting_check(s, (slice){ text, len }, &why) == OK);
}

void setting_register(struct setting *s)
{
    atomic_store(&s->value, s->type == SET_STRING ? 0 : s->def);
    atomic_store(&s->text, s->def_text);
    check_row(s);
    pthread_mutex_lock(&lock);
    struct setting **at = &settings;
    while (*at != NULL && strcmp((*at)->name, s->name) < 0)
        at = &(*at)->next;
    ensure(*at == NULL || strcmp((*at)->name, s->name) != 0);
    s->next = *at;
    *at = s;
    pthread_mutex_unlock(&lock);
}

struct setting *setting_first(void) { return settings; }

struct setting *setting_find(slice name)
{
    struct setting *s = settings;
    while (s != NULL && !slice_is(name, s->name))
        s = s->next;
    return s;
}
