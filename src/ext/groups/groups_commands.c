#include "ext/groups/groups_commands.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/command.h"
#include "base/ensure.h"
#include "base/setting.h"
#include "base/utf8.h"
#include "ext/groups/groups.h"
#include "ext/groups/groups_lists.h"
#include "ext/groups/groups_table.h"
#include "home/duty.h"
#include "home/here.h"
#include "home/node.h"
#include "ops/profile_values.h"
#include "ops/users.h"
#include "presence/roster.h"
#include "presence/roster_account.h"
#include <stdlib.h>

enum {
    GROUPS_AUDIT_BYTES = 8192, /* more than an entry of the audit log has */
};

/* What a command was given, and what is there. A command reads first, and then writes with what it
 * knows: all are run at one home, but two can be under way, so statements are also right alone. */
struct groups_task {
    struct command_call *call;
    slice name;
    void (*run)(struct groups_task *t, const struct store_batch *found);
    int64_t groups, is_there, members, rules; /* of groups.look */
    slice users[GROUPS_TOGETHER];             /* sorted, each once */
    uint32_t user_count;
    const char *users_arg;           /* the argument that names them */
    const char *did;                 /* as the answer says it; NULL: "changed" */
    bool notes, whole;               /* what was before is read; all of it is noted */
    bool replaces;                   /* all other members go */
    slice seers[GROUPS_VIEWERS_MAX]; /* other groups that are to see it */
    uint32_t seer_count;
    bool grows;                       /* it may get members by this */
    uint32_t sizes_at, by_rule_count; /* statements of groups_look_sizes() */
};

static void groups_looked(void *arg, enum store_result result, const struct store_batch *b)
{
    struct groups_task *t = arg;
    if (result != STORE_OK) {
        command_fail_cause(t->call, err_of_store(result), NULL);
        return;
    }
    ensure(!t->call->ended && t->run != NULL);
    t->groups = store_int(b, 0, 0, 0);
    t->is_there = store_int(b, 0, 0, 1);
    t->members = store_int(b, 0, 0, 2);
    t->rules = store_int(b, 0, 0, 3);
    t->run(t, b);
}

static struct groups_task *groups_task_new(struct command_call *call,
                                           void (*run)(struct groups_task *t,
                                                       const struct store_batch *found))
{
    struct groups_task *t = arena_new(call->arena, struct groups_task, 1);
    t->call = call;
    t->name = command_arg(call, "name");
    t->run = run;
    return t;
}

/* Columns of a profile that a rule can be about; see the statement groups.members. */
static const char *const groups_fields[] = { "department", "template",      "email",  "given-name",
                                             "surname",    "directory-uri", "source", NULL };

static bool rule_begins(slice text)
{
    slice field, value;
    bool known = false;
    if (slice_cut(text, '=', &field, &value))
        for (const char *const *f = groups_fields; *f != NULL; f++)
            known = known || slice_is(field, *f);
    return known;
}

/* The first of several rules in one line: its value goes on until the next one begins. */
static bool rule_next(slice *rest, slice *field, slice *value)
{
    while (rest->len > 0 && rest->ptr[0] == ' ')
        *rest = slice_from(*rest, 1);
    slice rule = { rest->ptr, 1 };
    if (!rule_begins(*rest))
        return false;
    while (rule.len < rest->len &&
           !(rest->ptr[rule.len - 1] == ' ' && rule_begins(slice_from(*rest, rule.len))))
        rule.len++;
    *rest = slice_from(*rest, rule.len);
    while (rule.ptr[rule.len - 1] == ' ')
        rule.len--;
    return slice_cut(rule, '=', field, value);
}

static void groups_count_rule(struct groups_task *t, struct store_batch *b, slice field,
                              slice value)
{
    STORE_ADD(b, &groups_stmt_by_rule, 1, SV_T(field), SV_T(value));
    t->by_rule_count++;
}

/* Members of all other groups, of this one, and of what is given. Of very many rules, only so many
 * are counted. */
static void groups_look_sizes(struct groups_task *t, struct store_batch *b)
{
    const bool lists = slice_is(slice_of(t->users_arg), "members"); /* or one of each is given */
    slice domains = command_arg(t->call, lists ? "domains" : "domain"),
          rules = command_arg(t->call, lists ? "rules" : "rule"), field, value;
    t->sizes_at = store_stmt_count(b);
    STORE_ADD(b, &groups_stmt_others, 1, SV_T(t->name), SV_I(setting_int(&groups_members_max)));
    STORE_ADD(b, &groups_stmt_matched, 1, SV_T(t->name));
    while (t->by_rule_count < GROUPS_RULES_MAX && slice_word(&domains, &value))
        groups_count_rule(t, b, SLICE("domain"), value);
    while (t->by_rule_count < GROUPS_RULES_MAX && rule_next(&rules, &field, &value))
        groups_count_rule(t, b, field, value);
}

/* Whether all groups have room for it: those that are there lose nobody by a new one. Of lists that
 * are replaced, only the new ones are counted. */
static bool groups_fit_together(struct groups_task *t, const struct store_batch *found)
{
    int64_t most = setting_int(&groups_members_max), all = setting_int(&groups_together_max);
    int64_t others = store_int(found, t->sizes_at, 0, 0),
            has = store_int(found, t->sizes_at + 1, 0, 0);
    int64_t gets = t->user_count + (t->replaces ? 0 : has);
    for (uint32_t i = 0; i < t->by_rule_count; i++)
        gets += store_int(found, t->sizes_at + 2 + i, 0, 0);
    gets = gets < most ? gets : most;
    if (gets <= has || others + gets <= all)
        return true;
    command_fail(t->call, E_LIMIT,
                 "nothing was changed: found %lld members of all other groups and %lld of this "
                 "one, allowed: %lld together (groups.together-max)",
                 (long long)others, (long long)gets, (long long)all);
    return false;
}

/* Behind what was written before it. */
static void groups_look(void *arg)
{
    struct groups_task *t = arg;
    struct worker *w = t->call->worker;
    ensure(worker_is_here(w) && !t->call->ended);
    struct store_batch *b = store_read(worker_store(w), groups_lane());
    STORE_ADD(b, &groups_stmt_look, 1, SV_T(t->name));
    for (uint32_t i = 0; i < t->user_count; i++)
        STORE_ADD(b, &groups_stmt_look_user, 1, SV_T(t->name), SV_T(t->users[i]));
    for (uint32_t i = 0; i < t->seer_count; i++)
        STORE_ADD(b, &groups_stmt_look, 1, SV_T(t->seers[i]));
    if (t->grows)
        groups_look_sizes(t, b);
    if (t->notes)
        STORE_ADD(b, &groups_stmt_show, STORE_ANY_ROWS, SV_T(t->name)); /* the last one */
    store_submit(b, worker_loop(w), STORE_UNTIL_DONE, groups_looked, t);
}

static bool groups_is_there(struct groups_task *t)
{
    return groups_is_known(t->call, t->is_there != 0);
}

static void groups_written(void *arg, enum store_result result, const struct store_batch *b)
{
    struct groups_task *t = arg;
    if (result != STORE_OK) {
        command_fail_cause(t->call, err_of_store(result), NULL);
        return;
    }
    (void)b;
    groups_changed(t->call, t->name, t->did != NULL ? t->did : "changed");
}

static struct store_batch *groups_write(struct groups_task *t)
{
    return store_write(worker_store(t->call->worker), groups_lane());
}

static void groups_submit(struct groups_task *t, struct store_batch *b)
{
    ensure(store_stmt_count(b) > 0 && store_stmt_count(b) <= STORE_PARTS_MAX);
    store_submit(b, worker_loop(t->call->worker), STORE_UNTIL_DONE, groups_written, t);
}

/* A word says who may see a group: `members`, `nobody`, domain:DOMAIN or group:NAME. */

static bool viewer_cut(slice word, slice *kind, slice *value)
{
    *kind = word;
    *value = SLICE("");
    if (slice_is(word, "members") || slice_is(word, "nobody"))
        return true;
    return slice_cut(word, ':', kind, value) && value->len > 0 &&
           (slice_is(*kind, "domain") || slice_is(*kind, "group"));
}

static bool are_viewers(slice text)
{
    slice word, kind, value;
    unsigned count = 0;
    while (slice_word(&text, &word)) {
        if (!viewer_cut(word, &kind, &value) || ++count > GROUPS_VIEWERS_MAX)
            return false;
    }
    return count > 0;
}

/* false: the call has failed. */
static bool groups_check_viewers(struct command_call *call)
{
    slice words = command_arg(call, "visible_to"), word, kind, value;
    while (slice_word(&words, &word))
        if (viewer_cut(word, &kind, &value) && slice_is(kind, "domain") &&
            !node_serves(worker_node(call->worker), value)) {
            call->culprit = "visible_to";
            command_fail(call, E_NOTFOUND,
                         "visible_to: found %.*s, allowed: a domain of this "
                         "server",
                         SLICE_ARG(value));
            return false;
        }
    return true;
}

static void groups_add_viewers(struct groups_task *t, struct store_batch *b)
{
    slice words = command_arg(t->call, "visible_to"), word, kind, value;
    if (words.len == 0)
        words = SLICE("members");
    STORE_ADD(b, &groups_stmt_drop_viewers, STORE_ANY_ROWS, SV_T(t->name));
    while (slice_word(&words, &word))
        if (viewer_cut(word, &kind, &value))
            STORE_ADD(b, &groups_stmt_viewer_put, STORE_ANY_ROWS, SV_T(t->name), SV_T(kind),
                      SV_T(value));
}

/* Looks also whether groups that are to see it are there: of one that is misspelt nobody would
 * know why it sees nothing. */
/* Notes also which of these rules are about no account; of very many rules only the first. */
static void groups_look_rules(struct groups_task *t, slice rules)
{
    struct profile_value value[PROFILE_VALUES_MAX];
    unsigned count = 0;
    while (count < PROFILE_VALUES_MAX &&
           rule_next(&rules, &value[count].field, &value[count].value))
        count++;
    if (count > 0)
        profile_values_note(t->call, value, count, groups_look, t);
    else
        groups_look(t);
}

static void groups_look_seers(struct groups_task *t)
{
    slice words = command_arg(t->call, "visible_to"), word, kind, value;
    while (slice_word(&words, &word))
        if (viewer_cut(word, &kind, &value) && slice_is(kind, "group") &&
            !slice_eq(value, t->name)) {
            ensure(t->seer_count < GROUPS_VIEWERS_MAX); /* are_viewers() */
            t->seers[t->seer_count++] = value;
        }
    groups_look_rules(t, command_arg(t->call, "rules"));
}

static bool groups_seers_are_there(struct groups_task *t, const struct store_batch *found)
{
    for (uint32_t i = 0; i < t->seer_count; i++)
        if (store_int(found, 1 + t->user_count + i, 0, 1) == 0) {
            t->call->culprit = "visible_to";
            command_fail(t->call, E_NOTFOUND,
                         "visible_to: group:%.*s: there is no such group; `group list` shows all",
                         SLICE_ARG(t->seers[i]));
            return false;
        }
    return true;
}

/* The name in rosters is bound by what clients may write there. */
static bool groups_check_shown(struct command_call *call)
{
    slice shown = command_arg(call, "shown");
    if ((int64_t)shown.len <= setting_int(&roster_name_bytes))
        return true;
    call->culprit = "shown";
    command_fail(call, E_LIMIT, "shown: found %zu bytes, allowed: up to %lld (roster.name-bytes)",
                 shown.len, (long long)setting_int(&roster_name_bytes));
    return false;
}

static bool rule_fits(slice value) { return value.len > 0 && value.len <= GROUPS_VALUE_BYTES_MAX; }

static bool are_rules(slice text)
{
    slice field, value;
    bool fit = true;
    while (rule_next(&text, &field, &value))
        fit = fit && rule_fits(value);
    return fit && text.len == 0;
}

static bool is_rule(slice text)
{
    slice field, value, rest = text;
    return rule_next(&rest, &field, &value) && rule_fits(value) && rest.len == 0 &&
           field.len + 1 + value.len == text.len;
}

/* Members by name. */

static int groups_by_address(const void *a, const void *b)
{
    return slice_compare(*(const slice *)a, *(const slice *)b);
}

/* Those that an argument names. false: they are too many. */
static bool groups_parse_users(struct groups_task *t, const char *arg)
{
    slice users = command_arg(t->call, arg), user;
    uint32_t count = 0;
    ensure(t->user_count == 0);
    t->users_arg = arg;
    while (slice_word(&users, &user)) {
        if (count == GROUPS_TOGETHER) {
            t->call->culprit = arg;
            command_fail(t->call, E_LIMIT, "found too many users, allowed: %d at once",
                         GROUPS_TOGETHER);
            return false;
        }
        t->users[count++] = user;
    }
    qsort(t->users, count, sizeof *t->users, groups_by_address);
    for (uint32_t i = 0; i < count; i++)
        if (i == 0 || !slice_eq(t->users[i], t->users[t->user_count - 1]))
            t->users[t->user_count++] = t->users[i];
    return true;
}

/* How many of them are not in the group by name; UINT32_MAX: one is no account here, and the call
 * has failed. */
static uint32_t groups_count_new(struct groups_task *t, const struct store_batch *found)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < t->user_count; i++) {
        if (store_int(found, i + 1, 0, 0) == 0) {
            t->call->culprit = t->users_arg;
            command_fail(t->call, E_NOTFOUND, "nothing was changed: there is no account %.*s",
                         SLICE_ARG(t->users[i]));
            return UINT32_MAX;
        }
        count += store_int(found, i + 1, 0, 1) == 0;
    }
    return count;
}

static bool groups_has_room(struct groups_task *t, int64_t members)
{
    if (members <= setting_int(&groups_members_max))
        return true;
    t->call->culprit = t->users_arg;
    command_fail(t->call, E_LIMIT, "nothing was changed: %s",
                 groups_too_many(members, t->call->arena));
    return false;
}

static void groups_add_members(struct groups_task *t, struct store_batch *b)
{
    for (uint32_t i = 0; i < t->user_count; i++)
        STORE_ADD(b, &groups_stmt_member_put, STORE_ANY_ROWS, SV_T(t->name), SV_T(t->users[i]));
}

/* `members`, `domains` and `rules` of group add and group set: each that is given stands in the
 * place of all that the group had of its kind. */

static bool groups_is_given(const struct groups_task *t, const char *arg)
{
    return command_arg(t->call, arg).ptr != NULL;
}

/* How many domains and rules there will be. found: what the group is made of, if `replaces`. */
static uint32_t groups_count_rules(const struct groups_task *t, const struct store_batch *found)
{
    slice domains = command_arg(t->call, "domains"), rules = command_arg(t->call, "rules");
    slice one, value;
    uint32_t count = 0, shows = store_stmt_count(found) - 1;
    ensure(t->notes || !t->replaces);
    while (slice_word(&domains, &one))
        count++;
    while (rule_next(&rules, &one, &value))
        count++;
    for (uint32_t i = 0; t->replaces && i < store_row_count(found, shows); i++) {
        bool domain = slice_is(store_text(found, shows, i, 1), "domain");
        count += store_int(found, shows, i, 0) == GROUPS_ROW_RULE &&
                 !groups_is_given(t, domain ? "domains" : "rules");
    }
    return count;
}

static bool groups_members_fit(struct groups_task *t, const struct store_batch *found)
{
    if (groups_count_new(t, found) == UINT32_MAX || !groups_has_room(t, t->user_count))
        return false;
    uint32_t rules = groups_count_rules(t, found);
    if (rules >= GROUPS_RULES_MAX)
        command_fail(
            t->call, E_LIMIT,
            "nothing was changed: found %u domains and rules, allowed: up to %d in a group", rules,
            GROUPS_RULES_MAX - 1);
    return rules < GROUPS_RULES_MAX && (!t->grows || groups_fit_together(t, found));
}

/* The earlier values of the arguments that are given, or of the whole group. */
static void groups_note_before(const struct groups_task *t, const struct store_batch *found,
                               struct buf *out)
{
    static const char *const args[] = { [GROUPS_ROW_SHOWN] = "shown",
                                        [GROUPS_ROW_VIEWER] = "visible_to",
                                        [GROUPS_ROW_RULE] = "rules",
                                        [GROUPS_ROW_MEMBER] = "members" };
    uint32_t shows = store_stmt_count(found) - 1;
    for (uint32_t i = 0; i < store_row_count(found, shows) && !out->overflow; i++) {
        int64_t row = store_int(found, shows, i, 0);
        slice what = store_text(found, shows, i, 1), value = store_text(found, shows, i, 2);
        bool domain = row == GROUPS_ROW_RULE && slice_is(what, "domain");
        ensure(row >= GROUPS_ROW_SHOWN && row <= GROUPS_ROW_MEMBER);
        if (!t->whole && !groups_is_given(t, domain ? "domains" : args[row]))
            continue;
        if (row == GROUPS_ROW_VIEWER)
            buf_printf(out, "%svisible_to=%.*s%s%.*s", out->len > 0 ? " " : "", SLICE_ARG(what),
                       value.len > 0 ? ":" : "", SLICE_ARG(value));
        else
            command_changed_part(
                out, row == GROUPS_ROW_MEMBER ? NULL : slice_cstr(t->call->arena, what), value);
    }
}

/* The values of the arguments that are given, or all those of a new group. */
static void groups_note_after(const struct groups_task *t, struct buf *out)
{
    slice shown = command_arg(t->call, "shown"), viewers = command_arg(t->call, "visible_to"),
          domains = command_arg(t->call, "domains"), rules = command_arg(t->call, "rules"), one,
          value;
    if (t->whole || shown.ptr != NULL)
        command_changed_part(out, "shown", shown.len > 0 ? shown : t->name);
    if (viewers.len == 0 && (t->whole || viewers.ptr != NULL))
        viewers = SLICE("members");
    while (slice_word(&viewers, &one) && !out->overflow)
        command_changed_part(out, "visible_to", one);
    while (slice_word(&domains, &one) && !out->overflow)
        command_changed_part(out, "domain", one);
    while (rule_next(&rules, &one, &value) && !out->overflow)
        command_changed_part(out, slice_cstr(t->call->arena, one), value);
    for (uint32_t i = 0; i < t->user_count && !out->overflow; i++)
        command_changed_part(out, NULL, t->users[i]);
}

/* found: of one that is there. is_left: it is there then. */
static void groups_note(const struct groups_task *t, const struct store_batch *found, bool is_left)
{
    struct buf before, after;
    buf_init(&before, GROUPS_AUDIT_BYTES);
    buf_init(&after, GROUPS_AUDIT_BYTES);
    if (found != NULL)
        groups_note_before(t, found, &before);
    if (is_left)
        groups_note_after(t, &after);
    ensure(!before.overflow || before.len > COMMAND_CHANGED_MAX); /* which cuts it */
    ensure(!after.overflow || after.len > COMMAND_CHANGED_MAX);
    command_changed(t->call, buf_slice(&before), buf_slice(&after));
    buf_fini(&before);
    buf_fini(&after);
}

static void groups_add_rules(struct groups_task *t, struct store_batch *b)
{
    slice domains = command_arg(t->call, "domains"), rules = command_arg(t->call, "rules");
    slice one, value;
    while (slice_word(&domains, &one))
        STORE_ADD(b, &groups_stmt_rule_put, STORE_ANY_ROWS, SV_T(t->name), SV_T(SLICE("domain")),
                  SV_T(one));
    while (rule_next(&rules, &one, &value))
        STORE_ADD(b, &groups_stmt_rule_put, STORE_ANY_ROWS, SV_T(t->name), SV_T(one), SV_T(value));
}

static void groups_replace_members(struct groups_task *t, struct store_batch *b)
{
    ensure(t->replaces && t->is_there != 0);
    if (groups_is_given(t, "members"))
        STORE_ADD(b, &groups_stmt_drop_members, STORE_ANY_ROWS, SV_T(t->name));
    if (groups_is_given(t, "domains"))
        STORE_ADD(b, &groups_stmt_drop_domains, STORE_ANY_ROWS, SV_T(t->name));
    if (groups_is_given(t, "rules"))
        STORE_ADD(b, &groups_stmt_drop_rules, STORE_ANY_ROWS, SV_T(t->name));
    groups_add_members(t, b);
    groups_add_rules(t, b);
}

/* group add, set, del */

static void groups_add(struct groups_task *t, const struct store_batch *found)
{
    slice shown = command_arg(t->call, "shown");
    ensure(t->name.len > 0);
    if (t->is_there != 0) {
        command_fail(t->call, E_EXISTS, "%.*s: there is such a group already", SLICE_ARG(t->name));
        return;
    }
    if (t->groups >= setting_int(&groups_max)) {
        command_fail(t->call, E_LIMIT, "there are %lld groups, which is the most (groups.max)",
                     (long long)t->groups);
        return;
    }
    if (!groups_seers_are_there(t, found) || !groups_members_fit(t, found))
        return;
    struct store_batch *b = groups_write(t);
    STORE_ADD(b, &groups_stmt_put, 1, SV_T(t->name), SV_T(shown.len > 0 ? shown : t->name));
    groups_add_viewers(t, b);
    groups_add_members(t, b);
    groups_add_rules(t, b);
    groups_note(t, NULL, true);
    t->did = "added";
    groups_submit(t, b);
}

static void groups_run_add(struct command_call *call)
{
    struct groups_task *t = groups_task_new(call, groups_add);
    t->grows = true;
    t->whole = true;
    if (groups_check_viewers(call) && groups_check_shown(call) && groups_parse_users(t, "members"))
        groups_look_seers(t);
}

static void groups_set(struct groups_task *t, const struct store_batch *found)
{
    slice shown = command_arg(t->call, "shown");
    if (!groups_is_there(t) || !groups_seers_are_there(t, found) || !groups_members_fit(t, found))
        return;
    groups_note(t, found, true);
    struct store_batch *b = groups_write(t);
    if (shown.ptr != NULL)
        STORE_ADD(b, &groups_stmt_shown, 1, SV_T(t->name), SV_T(shown.len > 0 ? shown : t->name));
    if (command_arg(t->call, "visible_to").ptr != NULL)
        groups_add_viewers(t, b);
    if (t->replaces)
        groups_replace_members(t, b);
    groups_submit(t, b);
}

static void groups_run_set(struct command_call *call)
{
    struct groups_task *t = groups_task_new(call, groups_set);
    t->replaces = groups_is_given(t, "members") || groups_is_given(t, "domains") ||
                  groups_is_given(t, "rules");
    t->grows = t->replaces;
    t->notes = true;
    if (!groups_is_given(t, "shown") && !groups_is_given(t, "visible_to") && !t->replaces)
        command_fail(call, E_SYNTAX,
                     "found nothing to change, allowed: --shown, --visible-to, --members, "
                     "--domains, --rules");
    else if (groups_check_viewers(call) && groups_check_shown(call) &&
             groups_parse_users(t, "members"))
        groups_look_seers(t);
}

static void groups_del(struct groups_task *t, const struct store_batch *found)
{
    if (!groups_is_there(t))
        return;
    groups_note(t, found, false);
    struct store_batch *b = groups_write(t);
    STORE_ADD(b, &groups_stmt_drop, STORE_ANY_ROWS, SV_T(t->name));
    STORE_ADD(b, &groups_stmt_drop_members, STORE_ANY_ROWS, SV_T(t->name));
    STORE_ADD(b, &groups_stmt_drop_domains, STORE_ANY_ROWS, SV_T(t->name));
    STORE_ADD(b, &groups_stmt_drop_rules, STORE_ANY_ROWS, SV_T(t->name));
    STORE_ADD(b, &groups_stmt_drop_viewers, STORE_ANY_ROWS, SV_T(t->name));
    STORE_ADD(b, &groups_stmt_drop_viewed, STORE_ANY_ROWS, SV_T(t->name));
    t->did = "deleted";
    groups_submit(t, b);
}

static void groups_run_del(struct command_call *call)
{
    struct groups_task *t = groups_task_new(call, groups_del);
    t->notes = true;
    t->whole = true;
    groups_look(t);
}

/* group-member add, del */

static void groups_run_members(struct command_call *call,
                               void (*run)(struct groups_task *t, const struct store_batch *found),
                               slice rules_to_note, bool grows)
{
    struct groups_task *t = groups_task_new(call, run);
    t->grows = grows;
    if (!groups_parse_users(t, "users"))
        return;
    if (t->user_count > 0 || command_arg(call, "domain").len > 0 ||
        command_arg(call, "rule").len > 0)
        groups_look_rules(t, rules_to_note);
    else
        command_fail(call, E_SYNTAX, "found nobody, allowed: users, --domain, --rule");
}

/* The domain and the rule of a command, as rows. */
static void groups_write_rules(struct groups_task *t, struct store_batch *b,
                               const struct store_stmt *stmt)
{
    slice domain = command_arg(t->call, "domain"), rule = command_arg(t->call, "rule"), field,
          value;
    if (domain.len > 0)
        STORE_ADD(b, stmt, STORE_ANY_ROWS, SV_T(t->name), SV_T(SLICE("domain")), SV_T(domain));
    if (rule.len > 0 && slice_cut(rule, '=', &field, &value))
        STORE_ADD(b, stmt, STORE_ANY_ROWS, SV_T(t->name), SV_T(field), SV_T(value));
}

static bool groups_fits(struct groups_task *t, const struct store_batch *found)
{
    uint32_t more = groups_count_new(t, found);
    if (more == UINT32_MAX || !groups_has_room(t, t->members + more))
        return false;
    if (t->rules + 2 > GROUPS_RULES_MAX &&
        (command_arg(t->call, "domain").len > 0 || command_arg(t->call, "rule").len > 0))
        command_fail(t->call, E_LIMIT,
                     "nothing was changed: a group has up to %d domains and rules",
                     GROUPS_RULES_MAX - 1);
    return !t->call->ended && groups_fit_together(t, found);
}

static void groups_member_add(struct groups_task *t, const struct store_batch *found)
{
    if (!groups_is_there(t) || !groups_fits(t, found))
        return;
    struct store_batch *b = groups_write(t);
    groups_add_members(t, b);
    groups_write_rules(t, b, &groups_stmt_rule_put);
    groups_submit(t, b);
}

static void groups_run_member_add(struct command_call *call)
{
    groups_run_members(call, groups_member_add, command_arg(call, "rule"), true);
}

static void groups_member_del(struct groups_task *t, const struct store_batch *found)
{
    if (!groups_is_there(t))
        return;
    for (uint32_t i = 0; i < t->user_count; i++)
        if (store_int(found, i + 1, 0, 1) == 0) {
            t->call->culprit = t->users_arg;
            command_fail(t->call, E_NOTFOUND,
                         "nothing was changed: %.*s is no member by name; `group show` says by "
                         "what others are",
                         SLICE_ARG(t->users[i]));
            return;
        }
    struct store_batch *b = groups_write(t);
    for (uint32_t i = 0; i < t->user_count; i++)
        STORE_ADD(b, &groups_stmt_member_drop, STORE_ANY_ROWS, SV_T(t->name), SV_T(t->users[i]));
    groups_write_rules(t, b, &groups_stmt_rule_drop);
    groups_submit(t, b);
}

static void groups_run_member_del(struct command_call *call)
{
    groups_run_members(call, groups_member_del, SLICE(""), false);
}

/* Rows. */

/* clang-format off */
#define CHANGE                                                                                     \
    .effect = COMMAND_CHANGES, .area = "groups", .runs_at = COMMAND_DUTY, .duty = DUTY_GROUPS
#define READ                                                                                       \
    .effect = COMMAND_READS, .area = "groups", .runs_at = COMMAND_DUTY, .duty = DUTY_GROUPS
#define NAME_ARG(of)                                                                               \
    { .name = "name", .kind = ARG_POSITIONAL, .min = 1, .max = GROUPS_NAME_BYTES_MAX,              \
      .refers = (of),                                                                              \
      .check = shared_is_name, .form = PARAM_NAME,                   \
      .doc = "name of the group" }
#define GROUP_ARGS                                                                                 \
    { .name = "shown", .kind = ARG_OPTION, .max = GROUPS_SHOWN_BYTES_MAX, .check = utf8_is_line,   \
      .example = "Sales team",                                                                     \
      .form = "one line without control characters",                                               \
      .doc = "what the group is called in the rosters of users; else its name" },                  \
    { .name = "visible_to", .kind = ARG_OPTION, .many = true, .check = are_viewers,                \
      .form = "words such as members, nobody, domain:example.org, group:sales",                    \
      .doc = "who sees the group in the roster: members, all of a domain, the members of "         \
             "another group, or nobody" },                                                         \
    { .name = "members", .kind = ARG_OPTION, .type = PARAM_USER, .many = true,                     \
      .doc = "addresses of all accounts that are in the group by name, separated by spaces; up "   \
             "to 2000" },                                                                          \
    { .name = "domains", .kind = ARG_OPTION, .type = PARAM_HOME_DOMAIN, .many = true,              \
      .doc = "domains of which all accounts are in the group, separated by spaces" },              \
    { .name = "rules", .kind = ARG_OPTION, .listed = true, .check = are_rules,                     \
      .form = "rules such as department=Field Sales source=ldap",                                  \
      .doc = "values of profiles by which accounts are in the group, one or more rules" }
/* A member or rule that is taken out may be of a domain that the node file has no longer. */
#define MEMBER_ARGS(users_type, domain_type)                                                       \
    { .name = "users", .kind = ARG_OPTIONAL, .type = (users_type), .many = true,                   \
      .example = "alice@example.org",                                                              \
      .doc = "addresses of accounts, separated by spaces; up to 2000" },                           \
    { .name = "domain", .kind = ARG_OPTION, .type = (domain_type),                                 \
      .doc = "all accounts of this domain, also those that are made later" },                      \
    { .name = "rule", .kind = ARG_OPTION, .max = GROUPS_VALUE_BYTES_MAX, .check = is_rule,         \
      .form = "department=VALUE, or template, email, given-name, surname, directory-uri or source",\
      .doc = "all accounts whose profile has this value: department=Sales" }
/* clang-format on */

static struct command group_add = {
    .name = "group add",
    .rest = "POST /groups, PUT /groups/{name}",
    CHANGE,
    .args = (const struct command_arg[]){ NAME_ARG(REFERS_NOTHING), GROUP_ARGS, { 0 } },
    .run = groups_run_add,
    .doc = "Makes a group of users that stands in rosters: of those who may see it, at first "
           "its members. Nobody is asked, and users cannot remove it. `group-member add` puts more "
           "users into it.",
};
static struct command group_set = {
    .name = "group set",
    .rest = "PATCH /groups/{name}",
    CHANGE,
    .args = (const struct command_arg[]){ NAME_ARG(REFERS_GROUP), GROUP_ARGS, { 0 } },
    .run = groups_run_set,
    .doc = "Changes a group: its name, who may see it, or who is in it. Options that are not "
           "given stay as they are. Members, domains and rules that are given replace those that "
           "the group had.",
};
static struct command group_del = {
    .name = "group del",
    .rest = "DELETE /groups/{name}",
    CHANGE,
    .asks = "This takes the group out of all rosters.",
    .args = (const struct command_arg[]){ NAME_ARG(REFERS_GROUP), { 0 } },
    .run = groups_run_del,
    .doc = "Deletes a group of users. It goes from all rosters; contacts that users added "
           "themselves stay.",
};
static struct command group_list = {
    .name = "group list",
    .rest = "GET /groups",
    READ,
    .args = (const struct command_arg[]){ COMMAND_PAGE_ARGS("group"), { 0 } },
    .run = groups_run_list,
    .doc = "Lists the groups of users that stand in rosters, by name.",
    .columns =
        (const struct command_column[]){
            { .name = "name", .refers = REFERS_GROUP, .doc = "the group" },
            { .name = "shown", .doc = "what it is called in rosters" },
            { .name = "named", .type = PARAM_INT, .doc = "members by name" },
            { .name = "rules", .type = PARAM_INT, .doc = "domains and rules" },
            { .name = "members", .type = PARAM_INT, .doc = "users who are in it now" },
            { 0 } },
};
static struct command group_show = {
    .name = "group show",
    .rest = "GET /groups/{name}",
    READ,
    .record = true,
    .args = (const struct command_arg[]){ NAME_ARG(REFERS_GROUP), { 0 } },
    .run = groups_run_show,
    .doc = "Shows what a group is made of, and who may see it. `group-member list` shows the users "
           "who are in it now by all that.",
    .columns =
        (const struct command_column[]){
            { .name = "name", .refers = REFERS_GROUP, .doc = "the group" },
            { .name = "shown", .doc = "what it is called in rosters" },
            { .name = "visible_to", .doc = "who sees it" },
            { .name = "members",
              .optional = true,
              .doc = "accounts that are in it by name; missing: they are too many for one text" },
            { .name = "named",
              .optional = true,
              .type = PARAM_INT,
              .doc = "how many those are, if they are missing: `group-member list --named`" },
            { .name = "digest",
              .optional = true,
              .wide = true,
              .doc = "SHA-256 that changes when they do, if they are missing" },
            { .name = "domains", .doc = "domains of which all accounts are in it" },
            { .name = "rules", .doc = "values of profiles by which accounts are in it" },
            { .name = "missing",
              .optional = true,
              .doc = "those of domains that this server does not have, which count for nothing" },
            { .name = "now",
              .moves = true,
              .type = PARAM_INT,
              .doc = "users who are in it now: `group-member list`" },
            { 0 } },
};
static struct command member_add = {
    .name = "group-member add",
    .rest = "POST /groups/{name}/members",
    CHANGE,
    .args = (const struct command_arg[]){ NAME_ARG(REFERS_GROUP),
                                          MEMBER_ARGS(PARAM_USER, PARAM_HOME_DOMAIN),
                                          { 0 } },
    .run = groups_run_member_add,
    .doc = "Puts users into a group: by name, by domain, or by what their profiles say. Who is "
           "online sees it at once. Nothing changes if one of the accounts is missing.",
};
static struct command member_del = {
    .name = "group-member del",
    .rest = "DELETE /groups/{name}/members",
    CHANGE,
    .args = (const struct command_arg[]){ NAME_ARG(REFERS_GROUP),
                                          MEMBER_ARGS(PARAM_BARE, PARAM_DOMAIN),
                                          { 0 } },
    .run = groups_run_member_del,
    .doc = "Takes users out of a group: by name, or the domain or rule that has put them there.",
};
static struct command member_list = {
    .name = "group-member list",
    .rest = "GET /groups/{name}/members",
    READ,
    .args =
        (const struct command_arg[]){
            NAME_ARG(REFERS_GROUP),
            { .name = "named",
              .kind = ARG_FLAG,
              .type = PARAM_BOOL,
              .doc = "only those by name, also of domains that this server does not have" },
            COMMAND_PAGE_ARGS("address"),
            { 0 } },
    .run = groups_run_member_list,
    .doc = "Lists the users who are in a group now: by name, by a domain or by a rule. `group "
           "show` says by what.",
    .columns =
        (const struct command_column[]){
            { .name = "jid", .type = PARAM_USER, .doc = "the account" }, { 0 } },
};
static struct command of_user = {
    .name = "user groups",
    .rest = "GET /users/{jid}/groups",
    READ,
    .args = (const struct command_arg[]){ COMMAND_USER_ARG, { 0 } },
    .run = groups_run_of_user,
    .doc = "Lists the groups that a user is in now: by name, by a domain or by a rule.",
    .columns =
        (const struct command_column[]){
            { .name = "name", .refers = REFERS_GROUP, .doc = "the group" },
            { .name = "shown", .doc = "what it is called in rosters" },
            { 0 } },
};
struct command *const groups_commands[] = { &group_add,  &group_set,  &group_del,  &group_list,
                                            &group_show, &member_add, &member_del, &member_list,
                                            &of_user,    NULL };
