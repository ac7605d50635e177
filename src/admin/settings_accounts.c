#include "admin/settings_accounts.h"
#include "admin/settings_candidate.h"
#include "admin/settings_change.h"
#include "admin/settings_history.h"
#include "admin/settings_private.h"
#include "base/arena.h"
#include "base/ensure.h"
#include "base/log.h"
#include "home/duty.h"
#include "home/here.h"
#include "im/account.h"
#include "ops/audit.h"
#include "ops/events.h"

/* Takes a word out of a list: each space is doubled before, so that words do not share one. */
struct store_stmt settings_without = {
    .name = "setting.without",
    .sql = "UPDATE setting SET value = trim(replace(replace(replace(' ' || value || ' ', ' ', "
           "'  '), ' ' || CAST($2 AS TEXT) || ' ', ''), '  ', ' ')) WHERE name = $1 AND "
           "replace(' ' || value || ' ', ' ' || CAST($2 AS TEXT) || ' ', '') <> "
           "' ' || value || ' '",
    .params = "tt",
    .cols = "",
};

/* The same in the history: to go back must not give a later account of that name anything. */
#define WITHOUT(column)                                                                            \
    column " = trim(replace(replace(replace(' ' || " column " || ' ', ' ', '  '), ' ' || "         \
           "CAST($2 AS TEXT) || ' ', ''), '  ', ' '))"
struct store_stmt settings_forget = {
    .name = "setting.forget",
    .sql = "UPDATE setting_change SET " WITHOUT("was") ", " WITHOUT("became") " WHERE name = $1",
    .params = "tt",
    .cols = "",
};

static slice without(slice list, slice word, struct arena *tmp)
{
    slice one;
    const char *text = "";
    while (slice_word(&list, &one))
        if (!slice_eq(one, word))
            text = arena_printf(tmp, "%s%s%.*s", text, *text == '\0' ? "" : " ", SLICE_ARG(one));
    return slice_of(text);
}

void settings_account_removing(struct account *a, struct store_batch *b)
{
    for (const struct setting *s = setting_first(); s != NULL; s = s->next)
        if (setting_has_accounts(s)) {
            STORE_ADD(b, &settings_without, STORE_ANY_ROWS, SV_T(slice_of(s->name)), SV_T(a->jid));
            STORE_ADD(b, &settings_forget, STORE_ANY_ROWS, SV_T(slice_of(s->name)), SV_T(a->jid));
        }
    settings_candidate_removing(a->jid, b);
}

/* The version: what is stored before it and after it is the same, since going back must not give
 * the next account of that name anything. */

static void left_done(struct settings_turn *t)
{
    settings_turn_over(t);
    arena_destroy(&t->arena);
}

static void left_committed(void *arg, enum store_result result, const struct store_batch *b)
{
    struct settings_turn *t = arg;
    (void)b;
    if (result == STORE_OK)
        settings_history_done(t);
    else
        log_warn(&log_settings, LOG_EV("setting.history"),
                 LOG_C("hint", "the history has no version for the account that a list lost"));
    left_done(t);
}

static void left_begin(struct settings_turn *t)
{
    const struct stored *item = settings_stored_find(t->item->setting);
    struct store_batch *b = settings_batch();
    if (item != NULL)
        t->item->value = slice_dup(t->arena, (slice){ item->value, item->len });
    settings_history_add(t, b);
    settings_history_item(t, b, t->item);
    store_submit(b, worker_loop(settings_writer), STORE_COMMIT_MS, left_committed, t);
}

static void record_left(struct setting *s)
{
    struct arena *arena = arena_create(0);
    struct settings_turn *t = arena_new(arena, struct settings_turn, 1);
    struct settings_item *item = arena_new(arena, struct settings_item, 1);
    *item = (struct settings_item){ .setting = s };
    *t = (struct settings_turn){
        .arena = arena,
        .begin = left_begin,
        .done = left_done,
        .kind = SETTINGS_DELETED,
        .item = item,
        .count = 1,
        .comment = slice_of(
            arena_printf(arena, "%s: an account was deleted; the audit log names it", s->name)),
    };
    settings_turn_take(t);
}

/* Gives the new value, to those who listen and to the audit log. */
static void tell_left(struct setting *s, slice before, slice jid, struct arena *tmp)
{
    slice now = slice_of(setting_text(s));
    event_tell(
        worker_here(), EVENT_SETTING_CHANGED, slice_of(s->name),
        (const struct event_field[]){ { "setting", slice_of(s->name) }, { "value", now }, { 0 } });
    audit_of_server("set",
                    slice_of(arena_printf(tmp, "setting=%s value=%.*s comment=%.*s was deleted",
                                          s->name, SLICE_ARG(now), SLICE_ARG(jid))),
                    before, now);
}

static bool names(slice list, slice jid)
{
    slice one;
    while (slice_word(&list, &one))
        if (slice_eq(one, jid))
            return true;
    return false;
}

static void take_out(struct setting *s, slice jid, struct arena *tmp)
{
    struct why why;
    const struct stored *item = settings_stored_find(s);
    slice before = slice_dup(tmp, slice_of(setting_text(s)));
    bool named = names(before, jid);
    if (item != NULL && names((slice){ item->value, item->len }, jid)) {
        settings_stored_put(s, without((slice){ item->value, item->len }, jid, tmp));
        record_left(s);
    }
    if (!named)
        return;
    if (s->locked) {
        log_warn(&log_settings, LOG_EV("setting.account_deleted"), LOG_C("name", s->name),
                 LOG_S("account", jid),
                 LOG_C("hint", "the node file still names this deleted account: take it out there "
                               "and reload, or the next user of this address has what the "
                               "setting gives"));
        return;
    }
    enum err e = setting_set(s, without(before, jid, tmp), &why);
    ensure(e == OK); /* a part of a list that is allowed */
    log_info(&log_settings, LOG_EV("setting.account_deleted"), LOG_C("name", s->name),
             LOG_S("account", jid));
    tell_left(s, before, jid, tmp);
}

void settings_account_deleted(struct worker *w, slice bare)
{
    if (!duty_is_here(w, DUTY_SETTINGS)) /* settings are changed on one worker */
        return;
    struct arena *tmp = arena_create(0);
    for (struct setting *s = setting_first(); s != NULL; s = s->next)
        if (setting_has_accounts(s))
            take_out(s, bare, tmp);
    arena_destroy(&tmp);
    settings_candidate_deleted(bare);
}
