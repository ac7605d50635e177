#include "base/setting.h"
#include "base/ensure.h"
#include "base/list.h"
#include "base/mem.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

enum { VALUE_BYTES_MAX = 160 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* the list of rows, and of texts */
static struct setting *settings;

/* Readers on other threads may keep a text for any time, so texts are never freed. A text that is
 * set again is reused. */
struct kept_text {
    struct kept_text *next;
    char text[];
};
static struct kept_text *kept_texts;

size_t setting_range(const struct setting *s, char *out, size_t cap)
{
    return param_range(&s->param, out, cap);
}

const char *setting_scope_name(const struct setting *s)
{
    static const char *const names[SCOPES] = { "unsaid", "cluster", "node", "domain" };
    return names[s->scope];
}

static size_t setting_copy_text(const char *text, char *out, size_t cap)
{
    size_t len = strlen(text) < cap ? strlen(text) : cap - 1;
    memcpy(out, text, len);
    out[len] = '\0';
    return len;
}

size_t setting_format(const struct setting *s, char *out, size_t cap)
{
    ensure(cap > 0);
    if (setting_is_open(s))
        s = s->general;
    if (!setting_is_text(s))
        return param_format(&s->param, setting_int(s), out, cap);
    bool hidden = s->type == PARAM_SECRET && *setting_text(s) != '\0';
    return setting_copy_text(hidden ? PARAM_SECRET_SHOWN : setting_text(s), out, cap);
}

enum err setting_check(const struct setting *s, slice text, struct why *why)
{
    int64_t value;
    return param_check(&s->param, text, &value, why);
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
        if (param_check(&s->param, change[i].value, &value, &why) == OK)
            return value;
    }
    return setting_int(s);
}

static enum err refuse_pair(const struct setting *s, int64_t value, const char *allowed,
                            const struct setting *other, int64_t limit, struct why *why)
{
    char found[VALUE_BYTES_MAX], is[VALUE_BYTES_MAX];
    param_format(&s->param, value, found, sizeof found);
    param_format(&other->param, limit, is, sizeof is);
    why_set(why, "%s: found %s, allowed %s %s, which is %s", s->name, found, allowed, other->name,
            is);
    return E_CONFLICT;
}

enum err setting_agree(const struct setting_change *change, size_t count, struct why *why)
{
    for (const struct setting *s = setting_first(); s != NULL; s = s->next) {
        bool low_changed = false, high_changed = false;
        if (s->not_above == NULL)
            continue;
        const struct setting *above = CONTAINER_OF(s->not_above, struct setting, param);
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

static _Atomic uint32_t changes;
static void (*setting_listener)(void);

uint32_t setting_changes(void) { return atomic_load(&changes); }
void setting_listen(void (*listener)(void)) { setting_listener = listener; }

static void setting_note(struct setting *s)
{
    if (s->changed == NULL)
        return;
    atomic_store(&s->changed_at, atomic_fetch_add(&changes, 1) + 1);
    if (setting_listener != NULL)
        setting_listener();
}

/* Whether it differs from before. */
static bool setting_store_text(struct setting *s, slice text)
{
    if (slice_is(text, setting_text(s)))
        return false;
    bool is_default = slice_is(text, s->def_text);
    atomic_store(&s->text, is_default ? s->def_text : keep_text(text));
    return true;
}

/* The value of a row for one domain counts from when it says so, thus after it is there. */
static void setting_put(struct setting *s, int64_t value, slice text)
{
    bool news = setting_is_text(s) ? setting_store_text(s, text)
                                   : atomic_exchange(&s->value, value) != value;
    if (s->general != NULL && !atomic_exchange(&s->own, true))
        news = true;
    if (news)
        setting_note(s);
}

enum err setting_set(struct setting *s, slice text, struct why *why)
{
    int64_t value;
    enum err e = param_check(&s->param, text, &value, why);
    if (e != OK)
        return e;
    setting_put(s, value, text);
    return OK;
}

void setting_reset(struct setting *s)
{
    if (s->general == NULL)
        setting_put(s, s->def, slice_of(setting_is_text(s) ? s->def_text : ""));
    else if (atomic_exchange(&s->own, false))
        setting_note(s);
}

/* The row for a domain; NULL: none. */
static const struct setting *setting_row(const struct setting *general, slice domain)
{
    const struct setting *own = general->domains;
    while (own != NULL && !slice_eq(own->domain, domain))
        own = own->domains;
    return own;
}

const struct setting *setting_of(const struct setting *s, slice domain)
{
    const struct setting *own = setting_row(s, domain);
    return own != NULL && !setting_is_open(own) ? own : s;
}

static void setting_check_row(const struct setting *s)
{
    struct why why;
    if (s->scope == SCOPE_UNSAID) {
        fprintf(stderr, "setting %s: its row does not say its scope\n", s->name);
        abort();
    }
    if (setting_is_text(s)) {
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
    atomic_store(&s->value, setting_is_text(s) ? 0 : s->def);
    atomic_store(&s->text, s->def_text);
    pthread_mutex_lock(&lock);
    struct setting **at = &settings;
    while (*at != NULL && strcmp((*at)->name, s->name) < 0)
        at = &(*at)->next;
    ensure(*at == NULL || strcmp((*at)->name, s->name) != 0);
    s->next = *at;
    *at = s;
    pthread_mutex_unlock(&lock);
}

void settings_check(void)
{
    for (const struct setting *s = settings; s != NULL; s = s->next)
        setting_check_row(s);
}

bool setting_bool_somewhere(const struct setting *s)
{
    bool on = setting_bool(s);
    for (const struct setting *own = s->domains; own != NULL && !on; own = own->domains)
        on = !setting_is_open(own) && setting_bool(own);
    return on;
}

static void setting_add_row(struct setting *general, slice domain)
{
    size_t len = strlen(general->name) + 1 + domain.len;
    struct setting *own = mem_zalloc(sizeof *own + len + 1);
    char *name = (char *)(own + 1);
    snprintf(name, len + 1, "%s@%.*s", general->name, SLICE_ARG(domain));
    ensure(general->not_above == NULL); /* pairs would have to agree in each domain */
    *own = (struct setting){ .param = general->param,
                             .def_text = general->def_text,
                             .scope = general->scope,
                             .restart = general->restart,
                             .impact = general->impact,
                             .told = general->told,
                             .local = general->local,
                             .changed = general->changed,
                             .reloads = general->reloads,
                             .domains = general->domains,
                             .general = general,
                             .domain = { name + len - domain.len, domain.len } };
    own->name = name;
    general->domains = own;
    setting_register(own);
}

void setting_add_domain(slice domain)
{
    for (struct setting *s = settings; s != NULL; s = s->next)
        if (s->scope == SCOPE_DOMAIN && s->general == NULL && setting_row(s, domain) == NULL)
            setting_add_row(s, domain);
}

struct setting *setting_first(void) { return settings; }

struct setting *setting_find(slice name)
{
    struct setting *s = settings;
    while (s != NULL && !slice_is(name, s->name))
        s = s->next;
    return s;
}
