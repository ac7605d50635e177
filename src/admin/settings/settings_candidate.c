/* settings_candidate: settings that an operator edits before they are applied at once. A candidate
 * belongs to its author, is stored, and remembers for each setting which version of it its author
 * saw. */
#include "admin/settings/settings_candidate.h"
#include "admin/settings/settings_change.h"
#include "admin/settings/settings_history.h"
#include "admin/settings/settings_impact.h"
#include "admin/settings/settings_private.h"
#include "admin/settings/settings_shown.h"
#include "admin/settings/settings_statements.h"
#include "auth/seal.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/ensure.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "home/duty.h"
#include "home/here.h"
#include "ops/owner.h"

enum { CANDIDATE_BYTES_MAX = 256 << 10, CONFIRM_MS_MAX = 24 * 3600 * 1000, COUNTS_MS = 10000 };

struct setting settings_candidates_max = {
    .name = "config.candidates-max",
    .type = PARAM_INT,
    .scope = SCOPE_CLUSTER,
    .def = 20,
    .min = 1,
    .max = 1000,
    .unit = "candidates",
    .doc = "How many operators may have settings that they have edited and not yet applied. Each "
           "may have 256 KiB of values.",
};

struct entry {
    struct entry *next; /* those of one owner are together, in the order of editing */
    struct setting *setting;
    const char *owner;
    int64_t base; /* the version that had changed the setting last */
    int64_t at_us;
    bool is_default;
    size_t len;
    char text[]; /* the value, and the owner with its NUL */
};
static struct entry *entries;

static const char *owner_of(const struct command_call *call)
{
    return slice_cstr(call->arena, owner_of_call(call));
}

static slice entry_value(const struct entry *e)
{
    return e->is_default ? (slice){ 0 } : (slice){ e->text, e->len };
}

/* name ptr NULL: any. */
static struct entry **entry_find(const char *owner, slice name)
{
    struct entry **at = &entries;
    while (*at != NULL && (strcmp((*at)->owner, owner) != 0 ||
                           (name.ptr != NULL && !slice_is(name, (*at)->setting->name))))
        at = &(*at)->next;
    return at;
}

static void entry_remove(struct entry **at)
{
    struct entry *gone = *at;
    ensure(gone != NULL);
    *at = gone->next;
    mem_free(&gone);
}

static void entry_put(const char *owner, struct setting *s, slice value, int64_t base,
                      int64_t at_us)
{
    struct entry **at = entry_find(owner, slice_of(s->name));
    size_t room = strlen(owner) + 1;
    struct entry *e = mem_alloc(sizeof *e + value.len + room);
    if (*at != NULL)
        entry_remove(at);
    *e = (struct entry){ *at, s, e->text + value.len, base, at_us, value.ptr == NULL, value.len };
    if (value.len > 0)
        memcpy(e->text, value.ptr, value.len);
    memcpy(e->text + value.len, owner, room);
    *at = e;
}

/* Takes an account out of a list; the text behind the value stays where it is. */
static void entry_leave(struct entry *e, slice bare, struct arena *tmp)
{
    slice left = settings_list_without(entry_value(e), bare, tmp);
    ensure(left.len <= e->len);
    memcpy(e->text, left.ptr, left.len);
    e->len = left.len;
}

/* A change of a candidate that this node cannot apply: it is shown, and stands in the way until it
 * can be applied, is edited again, or is dropped. */
struct stray {
    struct stray *next;
    int64_t at_us;
    const char *owner, *name;
    slice value; /* as it is stored; ptr NULL: the default */
    char text[]; /* of these */
};
static struct stray *strays;

static void stray_put(slice owner, slice name, slice value, int64_t at_us)
{
    struct stray *s = mem_zalloc(sizeof *s + owner.len + 1 + name.len + 1 + value.len);
    char *at = s->text;
    memcpy(at, owner.ptr, owner.len);
    s->owner = at;
    at += owner.len + 1;
    memcpy(at, name.ptr, name.len);
    s->name = at;
    at += name.len + 1;
    if (value.len > 0)
        memcpy(at, value.ptr, value.len);
    s->value = (slice){ value.ptr != NULL ? at : NULL, value.len };
    s->at_us = at_us;
    s->next = strays;
    strays = s;
}

/* name ptr NULL: any. */
static struct stray **stray_find(const char *owner, slice name)
{
    struct stray **at = &strays;
    while (*at != NULL &&
           (strcmp((*at)->owner, owner) != 0 || (name.ptr != NULL && !slice_is(name, (*at)->name))))
        at = &(*at)->next;
    return at;
}

static void stray_remove(struct stray **at)
{
    struct stray *gone = *at;
    ensure(gone != NULL);
    *at = gone->next;
    mem_free(&gone);
}

static void strays_forget(const char *owner, slice name)
{
    struct stray **at;
    while (*(at = stray_find(owner, name)) != NULL)
        stray_remove(at);
}

static const char *stray_why(const struct stray *s)
{
    const struct setting *general = settings_of_all(slice_of(s->name));
    if (setting_find(slice_of(s->name)) != NULL && !seal_ready())
        return "its value cannot be decrypted, as the key in secrets.key cannot be used; `alarm "
               "list` says what to do, or `config drop` it";
    if (setting_find(slice_of(s->name)) != NULL)
        return "its value cannot be decrypted; `config edit` it again, or `config drop` it";
    if (general != NULL && general->scope == SCOPE_DOMAIN)
        return "this node does not serve such a domain; add it to `domains` in the node file and "
               "restart the server, or `config drop` it";
    return "this version has no such setting; `config drop` it";
}

void settings_candidate_forget(const char *owner)
{
    struct entry **at;
    while (*(at = entry_find(owner, (slice){ 0 })) != NULL)
        entry_remove(at);
    strays_forget(owner, (slice){ 0 });
}

static void strays_sweep(struct store_batch **b)
{
    struct stray **at = &strays;
    while (*at != NULL) {
        slice owner = slice_of((*at)->owner);
        if (owner_may(owner, "settings.write")) {
            at = &(*at)->next;
            continue;
        }
        if (*b == NULL)
            *b = settings_batch();
        STORE_ADD(*b, &settings_candidate_del, STORE_ANY_ROWS, SV_T(owner),
                  SV_T(slice_of((*at)->name)));
        stray_remove(at);
    }
}

/* Drops candidates of owners that may not change settings any more. */
void settings_candidate_sweep(void)
{
    struct entry **at = &entries;
    struct store_batch *b = NULL;
    ensure(settings_writer != NULL);
    strays_sweep(&b);
    while (*at != NULL) {
        slice owner = slice_of((*at)->owner);
        if (owner_may(owner, "settings.write")) {
            at = &(*at)->next;
            continue;
        }
        if (b == NULL)
            b = settings_batch();
        STORE_ADD(b, &settings_candidate_del, STORE_ANY_ROWS, SV_T(owner),
                  SV_T(slice_of((*at)->setting->name)));
        entry_remove(at);
    }
    if (b != NULL)
        store_submit(b, worker_loop(settings_writer), 0, NULL, NULL);
}

/* An account is deleted: whoever gets its address next has no candidate, and is named in none. */
void settings_candidate_removing(slice bare, struct store_batch *b)
{
    static const char *const via[] = { "xmpp", "console" };
    struct arena *tmp = arena_create(0);
    for (unsigned i = 0; i < sizeof via / sizeof via[0]; i++)
        STORE_ADD(b, &settings_candidate_clear, STORE_ANY_ROWS,
                  SV_T(slice_of(arena_printf(tmp, "%s:%.*s", via[i], SLICE_ARG(bare)))));
    arena_destroy(&tmp);
}

void settings_candidate_deleted(slice bare)
{
    struct arena *tmp = arena_create(0);
    struct entry **at = &entries;
    while (*at != NULL) {
        if (owner_is_account(slice_of((*at)->owner), bare)) {
            entry_remove(at);
            continue;
        }
        if (setting_has_accounts((*at)->setting))
            entry_leave(*at, bare, tmp);
        at = &(*at)->next;
    }
    arena_destroy(&tmp);
    for (struct stray **s = &strays; *s != NULL;)
        if (owner_is_account(slice_of((*s)->owner), bare))
            stray_remove(s);
        else
            s = &(*s)->next;
}

void settings_candidate_applied(struct settings_turn *t, struct store_batch *b)
{
    STORE_ADD(b, &settings_candidate_clear, STORE_ANY_ROWS, SV_T(slice_of(t->candidate)));
}

static void candidates_loaded(void *arg, enum store_result result, const struct store_batch *b)
{
    struct arena *tmp = arena_create(0);
    (void)arg;
    for (uint32_t i = 0; result == STORE_OK && i < store_row_count(b, 0); i++) {
        struct setting *s = setting_find(store_text(b, 0, i, 1));
        slice value = store_text(b, 0, i, 2);
        if (s == NULL || (setting_is_secret(s) && value.ptr != NULL &&
                          !unseal(&value, value, settings_context(s, tmp), tmp))) {
            stray_put(store_text(b, 0, i, 0), store_text(b, 0, i, 1), value, store_int(b, 0, i, 4));
            continue;
        }
        entry_put(slice_cstr(tmp, store_text(b, 0, i, 0)), s, value, store_int(b, 0, i, 3),
                  store_int(b, 0, i, 4));
    }
    arena_destroy(&tmp);
}

enum err settings_candidates_load(struct store *store, struct why *why)
{
    struct store_batch *b = store_read(store, 0);
    store_add(b, &settings_candidate_all, STORE_ANY_ROWS, NULL, 0);
    enum store_result result = store_run(b, candidates_loaded, NULL);
    if (result == STORE_OK)
        return OK;
    why_set(why, "the candidates of settings cannot be read: %s", store_result_name(result));
    return E_DOWN;
}

/* The first of a candidate that has nothing else. */
static bool candidate_is_only(const struct stray *s)
{
    return *entry_find(s->owner, (slice){ 0 }) == NULL && *stray_find(s->owner, (slice){ 0 }) == s;
}

/* How many others have one, and how many bytes this one has beside a setting. */
static void candidate_measure(const char *owner, const struct setting *except, int64_t *others,
                              size_t *bytes)
{
    *others = 0;
    *bytes = 0;
    for (const struct entry *e = entries; e != NULL; e = e->next) {
        if (strcmp(e->owner, owner) == 0)
            *bytes += e->setting != except ? e->len : 0;
        else
            *others += *entry_find(e->owner, (slice){ 0 }) == e; /* its first */
    }
    for (const struct stray *s = strays; s != NULL; s = s->next)
        if (strcmp(s->owner, owner) == 0)
            *bytes += s->value.len;
        else
            *others += candidate_is_only(s);
}

/* Edit. */

static bool candidate_has_room(struct settings_turn *t, const char *owner,
                               const struct settings_item *item)
{
    int64_t others;
    size_t bytes;
    settings_candidate_sweep();
    candidate_measure(owner, item->setting, &others, &bytes);
    if (others >= setting_int(&settings_candidates_max))
        settings_turn_fail(t, E_LIMIT,
                           "there are as many candidates as config.candidates-max allows; `config "
                           "candidate` lists them");
    else if (bytes + item->value.len > CANDIDATE_BYTES_MAX)
        settings_turn_fail(t, E_LIMIT, "the values of a candidate may have 256 KiB together");
    else
        return true;
    return false;
}

static void edit_done(struct settings_turn *t)
{
    const struct settings_turn own = *t;
    strays_forget(t->arg, slice_of(t->item->setting->name));
    entry_put(t->arg, t->item->setting, t->item->value, t->version, t->at_us);
    command_done(own.call,
                 "%s: in the candidate; `config diff` shows it, `config apply` applies it",
                 own.item->setting->name);
    settings_turn_over(t);
}

static void edit_begin(struct settings_turn *t)
{
    const struct settings_item *item = t->item;
    struct setting *s = item->setting;
    const struct settings_touch *last = settings_last(s);
    slice stored = item->value;
    struct why why;
    if (!settings_item_ok(t->call, s, item->value, &why)) {
        bool may = settings_item_ok(t->call, s, (slice){ 0 }, &(struct why){ 0 });
        settings_turn_fail(t, may ? E_SYNTAX : E_DENIED, why.text);
        return;
    }
    if (!candidate_has_room(t, t->arg, item))
        return;
    t->version = last != NULL ? last->version : 0;
    t->at_us = (int64_t)clock_wall_us();
    if (setting_is_secret(s) && stored.ptr != NULL)
        stored = seal(stored, settings_context(s, t->arena), t->arena);
    struct store_batch *b = settings_batch();
    STORE_ADD(b, &settings_candidate_put, 1, SV_T(slice_of((const char *)t->arg)),
              SV_T(slice_of(s->name)), stored.ptr != NULL ? SV_T(stored) : SV_NULL,
              SV_I(t->version), SV_I(t->at_us));
    settings_commit(t, b);
}

static void run_edit(struct command_call *call)
{
    struct setting *s = settings_named(call);
    slice value = command_arg(call, "value");
    if (s == NULL)
        return;
    if ((value.ptr == NULL) != command_flag(call, "default")) {
        command_fail(call, E_SYNTAX, "%s: give either a value or --default", s->name);
        return;
    }
    struct settings_turn *t = arena_new(call->arena, struct settings_turn, 1);
    struct settings_item *item = arena_new(call->arena, struct settings_item, 1);
    *item = (struct settings_item){ .setting = s, .value = value };
    *t = (struct settings_turn){ .call = call,
                                 .arena = call->arena,
                                 .begin = edit_begin,
                                 .done = edit_done,
                                 .arg = (void *)(uintptr_t)owner_of(call),
                                 .item = item,
                                 .count = 1 };
    settings_turn_take(t);
}

/* Drop. */

struct drop {
    const char *owner;
    slice name; /* of the setting; ptr NULL: all */
};

static void drop_done(struct settings_turn *t)
{
    const struct drop *d = t->arg;
    if (d->name.ptr == NULL)
        settings_candidate_forget(d->owner);
    else if (*entry_find(d->owner, d->name) != NULL)
        entry_remove(entry_find(d->owner, d->name));
    strays_forget(d->owner, d->name);
    command_done(t->call, "%s", "dropped; no setting was changed");
    settings_turn_over(t);
}

static void drop_begin(struct settings_turn *t)
{
    const struct drop *d = t->arg;
    slice owner = slice_of(d->owner);
    if (*entry_find(d->owner, d->name) == NULL && *stray_find(d->owner, d->name) == NULL) {
        settings_turn_fail(t, E_NOTFOUND, "no such candidate; `config candidate` lists them");
        return;
    }
    struct store_batch *b = settings_batch();
    if (d->name.ptr == NULL)
        STORE_ADD(b, &settings_candidate_clear, STORE_ANY_ROWS, SV_T(owner));
    else
        STORE_ADD(b, &settings_candidate_del, STORE_ANY_ROWS, SV_T(owner), SV_T(d->name));
    settings_commit(t, b);
}

static void candidate_run_drop(struct command_call *call)
{
    slice name = command_arg(call, "setting"), owner = command_arg(call, "owner");
    struct settings_turn *t = arena_new(call->arena, struct settings_turn, 1);
    struct drop *d = arena_new(call->arena, struct drop, 1);
    *d = (struct drop){ owner.ptr != NULL ? owner.ptr : owner_of(call), name };
    bool known = name.ptr == NULL || *stray_find(d->owner, name) != NULL;
    if (!known && settings_named(call) == NULL)
        return;
    *t = (struct settings_turn){
        .call = call, .arena = call->arena, .begin = drop_begin, .done = drop_done, .arg = d
    };
    settings_turn_take(t);
}

/* Difference, and who has one. */

/* The person who changed the setting after the candidate was based on it; NULL: nobody. */
static const char *conflict_of(const struct entry *e, struct arena *tmp)
{
    const struct settings_touch *last = settings_last(e->setting);
    char value[SETTING_BYTES_MAX], at[CLOCK_STAMP_LEN];
    if (last == NULL || last->version <= e->base)
        return NULL;
    setting_format(e->setting, value, sizeof value);
    clock_stamp(at, (uint64_t)last->at_us);
    return arena_printf(tmp, "set to %s by %s from %s at %s (version %lld)", value,
                        settings_who(slice_of(last->actor), tmp),
                        settings_from(slice_of(last->actor), tmp), at, (long long)last->version);
}

/* A change of a candidate, and what it would do. */
struct count {
    struct count *next;
    const struct setting *setting;
    slice was, now;   /* as they are shown */
    slice value;      /* that the candidate had */
    int64_t at_us;    /* when it was edited */
    const char *text; /* "users with more contacts: 312"; empty: nothing is counted */
    bool deletes;     /* so many, or perhaps some, are deleted */
};

/* Counts in the database what is above the new limits of a candidate, one after the other, each for
 * SETTINGS_COUNT_MS at most and all for COUNTS_MS. The candidate may change meanwhile: entries are
 * found again by their settings. */
struct counting {
    struct command_call *call;
    const char *owner;
    void (*done)(struct counting *c);
    const struct setting *at; /* that is counted, or the next one */
    uint64_t end_us;
    struct count *first, **tail;
};

static void counting_go_on(struct counting *c);

/* count < 0: it is not known. */
static void counting_add(struct counting *c, const struct entry *e, int64_t count,
                         const char *unknown)
{
    struct arena *arena = c->call->arena;
    const struct setting_impact *impact = e->setting->impact;
    struct count *one = arena_new(arena, struct count, 1);
    char was[SETTING_BYTES_MAX];
    setting_format(e->setting, was, sizeof was);
    *one = (struct count){ .setting = e->setting,
                           .was = slice_dup(arena, slice_of(was)),
                           .now = settings_show(e->setting, entry_value(e), arena),
                           .value = slice_dup(arena, entry_value(e)),
                           .at_us = e->at_us,
                           .text = unknown };
    if (impact != NULL)
        one->text = settings_impact_text(impact, count, unknown, arena);
    one->deletes =
        count != 0 &&
        settings_lowers(&(struct settings_item){ .setting = e->setting, .value = entry_value(e) });
    *c->tail = one;
    c->tail = &one->next;
}

static void counted(void *arg, enum store_result result, const struct store_batch *b)
{
    struct counting *c = arg;
    bool known = result == STORE_OK && store_row_count(b, 0) == 1;
    ensure(c->at != NULL && c->at->impact != NULL);
    const struct entry *e = *entry_find(c->owner, slice_of(c->at->name));
    if (e != NULL)
        counting_add(c, e, known ? store_int(b, 0, 0, 0) : -1, "could not be counted in time");
    c->at = c->at->next;
    counting_go_on(c);
}

static void counting_go_on(struct counting *c)
{
    int64_t value;
    for (; c->at != NULL; c->at = c->at->next) {
        const struct entry *e = *entry_find(c->owner, slice_of(c->at->name));
        if (e == NULL)
            continue;
        if (!settings_impact_at(c->at, entry_value(e), &value) || clock_mono_us() > c->end_us) {
            counting_add(c, e, -1, c->at->impact == NULL ? "" : "not counted");
            continue;
        }
        settings_impact_count(c->call->worker, c->at, value, counted, c);
        return;
    }
    c->done(c);
}

static void counting_begin(struct command_call *call, void (*done)(struct counting *c))
{
    struct counting *c = arena_new(call->arena, struct counting, 1);
    *c = (struct counting){ .call = call,
                            .owner = owner_of(call),
                            .done = done,
                            .at = setting_first(),
                            .end_us = clock_mono_us() + COUNTS_MS * 1000 };
    c->tail = &c->first;
    counting_go_on(c);
}

static void count_row(struct command_call *call, const struct count *one, const char *was,
                      const char *now)
{
    command_row(call);
    command_text(call, "setting", slice_of(one->setting->name));
    command_text(call, was, one->was);
    command_text(call, now, one->now);
    command_text(call, "impact", slice_of(one->text));
}

/* Of all that is counted: another value, or another setting, gives another one, and a restart the
 * same. Of a secret, the time when it was edited stands for it, since the text could be guessed at.
 */
static slice shown_text(const struct counting *c)
{
    static const struct hash_key key = { 0, 0 };
    uint64_t sum = 0;
    for (const struct count *one = c->first; one != NULL; one = one->next) {
        slice value = one->value;
        if (value.ptr != NULL && setting_is_secret(one->setting))
            value = (slice){ (const char *)&one->at_us, sizeof one->at_us };
        sum = sum * 31 + hash_with(&key, slice_of(one->setting->name));
        sum = sum * 31 + (value.ptr == NULL ? 1 : hash_with(&key, value));
    }
    return slice_of(arena_printf(c->call->arena, "%016llx", (unsigned long long)sum));
}

static const struct count *first_deleting(const struct counting *c)
{
    const struct count *one = c->first;
    while (one != NULL && !one->deletes)
        one = one->next;
    return one;
}

static void diff_done(struct settings_turn *t)
{
    const struct count *one = first_deleting(t->arg);
    if (one != NULL)
        command_done(t->call,
                     "%s would delete: %s; only `config apply --accept` applies this candidate",
                     one->setting->name, one->text);
    else
        command_done(t->call, "%s", "");
}

static void diff_refused(struct settings_turn *t, const char *text)
{
    command_done(t->call, "`config apply` would be refused: %s", text);
}

static void apply_begin(struct settings_turn *t);

/* The checks of `config apply` say whether it would be refused. They wait for no change. */
static void diff_check(struct counting *c)
{
    struct settings_turn *t = arena_new(c->call->arena, struct settings_turn, 1);
    *t = (struct settings_turn){ .call = c->call,
                                 .arena = c->call->arena,
                                 .begin = apply_begin,
                                 .done = diff_done,
                                 .refused = diff_refused,
                                 .arg = c,
                                 .kind = SETTINGS_APPLY,
                                 .candidate = c->owner };
    apply_begin(t);
}

static void stray_row(struct counting *c, const struct stray *s)
{
    struct command_call *call = c->call;
    const struct setting *general = settings_of_all(slice_of(s->name)),
                         *own = setting_find(slice_of(s->name));
    command_row(call);
    command_text(call, "setting", slice_dup(call->arena, slice_of(s->name)));
    command_text(call, "now", SLICE(""));
    command_text(call, "candidate",
                 settings_show(own != NULL ? own : general, s->value, call->arena));
    command_text(call, "impact", SLICE(""));
    command_text(call, "restart", SLICE("no"));
    command_text(call, "conflict", slice_of(stray_why(s)));
    command_text(call, "shown", shown_text(c));
}

static void diff_counted(struct counting *c)
{
    for (const struct count *one = c->first; one != NULL; one = one->next) {
        const struct entry *e = *entry_find(c->owner, slice_of(one->setting->name));
        const char *conflict = e != NULL ? conflict_of(e, c->call->arena) : NULL;
        const char *restart = one->setting->restart;
        count_row(c->call, one, "now", "candidate");
        command_text(c->call, "restart", slice_of(restart != NULL ? restart : "no"));
        command_text(c->call, "conflict", slice_of(conflict != NULL ? conflict : ""));
        command_text(c->call, "shown", shown_text(c));
    }
    for (const struct stray *s = strays; s != NULL; s = s->next)
        if (strcmp(s->owner, c->owner) == 0)
            stray_row(c, s);
    if (c->call->rows != NULL)
        diff_check(c);
    else
        command_done(c->call, "your candidate is empty");
}

static void run_diff(struct command_call *call) { counting_begin(call, diff_counted); }

static void candidate_row(struct command_call *call, const char *owner)
{
    int64_t count = 0, at = 0;
    for (const struct entry *e = entries; e != NULL; e = e->next) {
        if (strcmp(e->owner, owner) != 0)
            continue;
        count++;
        at = e->at_us > at ? e->at_us : at;
    }
    for (const struct stray *s = strays; s != NULL; s = s->next) {
        if (strcmp(s->owner, owner) != 0)
            continue;
        count++;
        at = s->at_us > at ? s->at_us : at;
    }
    command_row(call);
    command_text(call, "owner", slice_dup(call->arena, slice_of(owner)));
    command_int(call, "settings", count);
    settings_stamp(call, "edited", at);
}

static void run_candidate(struct command_call *call)
{
    settings_candidate_sweep();
    for (const struct entry *e = entries; e != NULL; e = e->next)
        if (*entry_find(e->owner, (slice){ 0 }) == e)
            candidate_row(call, e->owner);
    for (const struct stray *s = strays; s != NULL; s = s->next)
        if (candidate_is_only(s))
            candidate_row(call, s->owner);
    command_done(call, "%s", call->rows != NULL ? "" : "nobody has a candidate");
}

/* Apply. */

static void apply_done(struct settings_turn *t)
{
    const char *waits = settings_waiting(t->arena);
    const struct counting *c = t->arg;
    for (const struct count *one = c->first; t->version != 0 && one != NULL; one = one->next)
        count_row(t->call, one, "before", "now");
    if (t->version == 0)
        command_done(t->call, "the settings have these values already");
    else if (waits != NULL)
        command_done(t->call, "%.*s",
                     SLICE_ARG(settings_words(t, "settings changed: %zu; %s", t->count, waits)));
    else
        command_done(t->call, "%.*s",
                     SLICE_ARG(settings_words(t, "version %lld; settings changed: %zu",
                                              (long long)t->version, t->count)));
    settings_turn_over(t);
}

/* The counted value is what is applied. */
static bool was_counted(const struct counting *c, const struct entry *e)
{
    const struct count *one = c->first;
    slice value = entry_value(e);
    ensure(c->at == NULL); /* all of it is counted */
    while (one != NULL && one->setting != e->setting)
        one = one->next;
    return one != NULL && (one->value.ptr == NULL) == (value.ptr == NULL) &&
           slice_eq(one->value, value);
}

static void apply_begin(struct settings_turn *t)
{
    size_t count = 0;
    const struct stray *stray = *stray_find(t->candidate, (slice){ 0 });
    if (stray != NULL) {
        settings_turn_fail(t, E_CONFLICT,
                           arena_printf(t->arena, "%s: %s", stray->name, stray_why(stray)));
        return;
    }
    for (const struct entry *e = entries; e != NULL; e = e->next)
        count += strcmp(e->owner, t->candidate) == 0;
    if (count == 0) {
        settings_turn_fail(t, E_NOTFOUND, "your candidate is empty; `config edit` changes it");
        return;
    }
    t->item = arena_new(t->arena, struct settings_item, count);
    for (const struct entry *e = entries; e != NULL; e = e->next) {
        if (strcmp(e->owner, t->candidate) != 0)
            continue;
        const char *conflict = conflict_of(e, t->arena);
        if (conflict != NULL) {
            settings_turn_fail(t, E_CONFLICT,
                               arena_printf(t->arena,
                                            "%s: %s, after you edited it; `config edit` it again, "
                                            "or `config drop` it",
                                            e->setting->name, conflict));
            return;
        }
        if (!was_counted(t->arg, e)) {
            settings_turn_fail(t, E_CONFLICT, "your candidate was edited meanwhile; try again");
            return;
        }
        t->item[t->count++] =
            (struct settings_item){ .setting = e->setting,
                                    .value = slice_dup(t->arena, entry_value(e)) };
    }
    ensure(t->count == count);
    settings_change(t);
}

static void apply_counted(struct counting *c)
{
    struct command_call *call = c->call;
    const struct count *one = first_deleting(c);
    slice shown = command_arg(call, "shown");
    ensure(c->at == NULL && !call->ended);
    if (shown.ptr != NULL && c->first != NULL && !slice_eq(shown, shown_text(c))) {
        command_fail(call, E_CONFLICT,
                     "nothing was changed: your candidate is not the one that was shown, as it was "
                     "edited meanwhile; look at it again");
        return;
    }
    if (one != NULL && !command_flag(call, "accept")) {
        command_fail(call, E_CONFLICT, "%s",
                     settings_impact_refusal(one->setting, one->text, call->arena));
        return;
    }
    struct settings_turn *t = arena_new(call->arena, struct settings_turn, 1);
    slice comment = command_arg(call, "comment");
    *t = (struct settings_turn){ .call = call,
                                 .arena = call->arena,
                                 .begin = apply_begin,
                                 .done = apply_done,
                                 .arg = c,
                                 .kind = SETTINGS_APPLY,
                                 .confirm_ms = (uint64_t)command_number(call, "confirm", 0),
                                 .comment = comment.ptr != NULL ? comment : SLICE(""),
                                 .candidate = owner_of(call) };
    settings_turn_take(t);
}

static void run_apply(struct command_call *call) { counting_begin(call, apply_counted); }

#define AT_SETTINGS .area = "settings", .runs_at = COMMAND_DUTY, .duty = DUTY_SETTINGS

struct command settings_edit_command = {
    .name = "config edit",
    .rest = "PUT /settings/candidate/{setting}",
    .effect = COMMAND_CHANGES,
    AT_SETTINGS,
    .args = (const struct command_arg[]){ SETTINGS_NAME_ARG, SETTINGS_VALUE_ARGS, { 0 } },
    .run = run_edit,
    .doc = "Puts a change of a setting into your candidate. Nothing changes until `config apply`.",
};
struct command settings_drop_command = {
    .name = "config drop",
    .rest = "DELETE /settings/candidate, DELETE /settings/candidate/{setting}",
    .effect = COMMAND_CHANGES,
    AT_SETTINGS,
    .args = (const struct command_arg[]){ { .name = "setting",
                                            .kind = ARG_OPTIONAL,
                                            .refers = REFERS_SETTING,
                                            .doc = "only this setting" },
                                          { .name = "owner",
                                            .kind = ARG_OPTION,
                                            .doc = "of another operator; the list of candidates "
                                                   "has the names" },
                                          { 0 } },
    .run = candidate_run_drop,
    .doc = "Takes one setting, or all, out of your candidate.",
};
struct command settings_diff_command = {
    .name = "config diff",
    .rest = "GET /settings/candidate",
    .effect = COMMAND_READS,
    AT_SETTINGS,
    .args = (const struct command_arg[]){ { 0 } },
    .run = run_diff,
    .doc =
        "Shows your candidate: what each setting is now, what it would be, and how many users are "
        "above a new limit. It also says why `config apply` would be refused.",
    .columns =
        (const struct command_column[]){
            { .name = "setting", .doc = "its name" },
            { .name = "now", .doc = "its value" },
            { .name = "candidate", .doc = "the value that it would have" },
            { .name = "restart", .doc = "what must be restarted afterwards, or no" },
            { .name = "impact",
              .moves = true,
              .doc = "how many are above a new limit when this is asked: an estimate" },
            { .name = "conflict",
              .doc = "who changed it after you edited it, or why it cannot be applied" },
            { .name = "shown",
              .wide = true,
              .doc = "for `config apply --shown`: the same on all lines, and another one after "
                     "each edit" },
            { 0 } },
};
struct command settings_candidate_command = {
    .name = "config candidate",
    .rest = "GET /settings/candidates",
    .effect = COMMAND_READS,
    AT_SETTINGS,
    .args = (const struct command_arg[]){ { 0 } },
    .run = run_candidate,
    .doc = "Lists who has edited settings that are not applied yet.",
    .columns =
        (const struct command_column[]){
            { .name = "owner", .doc = "whose it is" },
            { .name = "settings", .type = PARAM_INT, .doc = "how many settings are in it" },
            { .name = "edited", .type = PARAM_STAMP, .doc = "when it was edited last" },
            { 0 } },
};
struct command settings_apply_command = {
    .name = "config apply",
    .rest = "POST /settings/candidate/apply",
    .effect = COMMAND_CHANGES,
    AT_SETTINGS,
    .args = (const struct command_arg[]){ { .name = "confirm",
                                            .kind = ARG_OPTION,
                                            .type = PARAM_MS,
                                            .min = 1000,
                                            .max = CONFIRM_MS_MAX,
                                            .doc = "roll it back unless an operator confirms it "
                                                   "within this time" },
                                          SETTINGS_ACCEPT_ARG,
                                          { .name = "shown",
                                            .kind = ARG_OPTION,
                                            .min = 16,
                                            .max = 16,
                                            .doc = "only if your candidate is still the one whose "
                                                   "differences were shown with this text" },
                                          SETTINGS_COMMENT_ARG,
                                          { 0 } },
    .run = run_apply,
    .doc = "Applies your candidate: all of it at once, or nothing. What is above a new limit is "
           "counted before, as by `config diff`. What would delete something that is stored needs "
           "--accept. Until a change with --confirm is confirmed or rolled back, also by a restart "
           "in between, no other is accepted.",
    .columns =
        (const struct command_column[]){
            { .name = "setting", .doc = "its name" },
            { .name = "before", .doc = "its value until then" },
            { .name = "now", .doc = "its value" },
            { .name = "impact", .doc = "how many were above a new limit: an estimate" },
            { 0 } },
};
