#include "ext/groups/groups_lists.h"
#include "account/shared.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/command.h"
#include "base/ensure.h"
#include "base/first_few.h"
#include "base/hex.h"
#include "core/core.h"
#include "ext/groups/groups.h"
#include "ext/groups/groups_table.h"
#include "home/here.h"
#include "home/node.h"
#include "ops/users.h"
#include "xmpp/jid.h"
#include <openssl/evp.h>
#include <openssl/sha.h>

/* Members as one text: with the other texts it fits into the body of a request that sends all of
 * them back. */
enum { GROUPS_WORDS_BYTES = 128 * 1024, GROUPS_TEXT_BYTES = GROUPS_WORDS_BYTES + 64 };

static const struct shared *groups_table(const struct command_call *call)
{
    return core_of(call->worker)->shared.now;
}

static void groups_listed(void *arg, enum store_result result, const struct store_batch *b)
{
    struct command_call *call = arg;
    const struct shared *table = groups_table(call);
    if (result != STORE_OK) {
        command_fail_cause(call, err_of_store(result), NULL);
        return;
    }
    uint32_t count = store_row_count(b, 0), shown = command_page_limit(call);
    shown = count < shown ? count : shown;
    for (uint32_t i = 0; i < shown; i++) {
        uint32_t number = groups_number(table, store_text(b, 0, i, 0));
        command_row(call);
        command_text(call, "name", slice_dup(call->arena, store_text(b, 0, i, 0)));
        command_text(call, "shown", slice_dup(call->arena, store_text(b, 0, i, 1)));
        command_int(call, "named", store_int(b, 0, i, 2));
        command_int(call, "rules", store_int(b, 0, i, 3));
        command_int(call, "members", number == UINT32_MAX ? 0 : table->sets[number].count);
    }
    if (count > shown)
        command_done_more(call, slice_dup(call->arena, store_text(b, 0, shown - 1, 0)));
    else
        command_done(call, "%s", "");
}

void groups_run_list(struct command_call *call)
{
    struct worker *w = call->worker;
    struct store_batch *b = store_read(worker_store(w), groups_lane());
    slice after = command_arg(call, "after");
    STORE_ADD(b, &groups_stmt_list, STORE_ANY_ROWS, SV_T(after.len > 0 ? after : SLICE("")),
              SV_I(command_page_limit(call) + 1));
    store_submit(b, worker_loop(w), 0, groups_listed, call);
}

/* One of its texts: as much as there is space for, and how many more there are. */
struct groups_words {
    struct buf text;
    uint32_t more, count;
};
enum groups_part { PART_VISIBLE, PART_MEMBERS, PART_DOMAINS, PART_RULES, PART_MISSING, PARTS };
static const char *const part_columns[PARTS] = { [PART_VISIBLE] = "visible_to",
                                                 [PART_MEMBERS] = "members",
                                                 [PART_DOMAINS] = "domains",
                                                 [PART_RULES] = "rules",
                                                 [PART_MISSING] = "missing" };

static void groups_word(struct groups_words *w, slice what, const char *mark, slice value)
{
    w->count++;
    if (w->more > 0 || w->text.len + what.len + value.len + 2 > GROUPS_WORDS_BYTES)
        w->more++;
    else
        buf_printf(&w->text, "%s%.*s%s%.*s", w->text.len > 0 ? " " : "", SLICE_ARG(what), mark,
                   SLICE_ARG(value));
}

/* A row of groups.show. Those of a domain stay when the node file has it no longer: it may come
 * back. */
static void groups_show_row(struct groups_words *words, const struct node *node, int64_t kind,
                            slice what, slice value)
{
    bool member = kind == GROUPS_ROW_MEMBER, domain = slice_is(what, "domain");
    const char *mark = kind == GROUPS_ROW_VIEWER && value.len > 0 ? ":"
                       : kind == GROUPS_ROW_RULE && !domain       ? "="
                                                                  : "";
    enum groups_part part = kind == GROUPS_ROW_VIEWER ? PART_VISIBLE
                            : member                  ? PART_MEMBERS
                            : domain                  ? PART_DOMAINS
                                                      : PART_RULES;
    if (*mark == '\0' && kind > GROUPS_ROW_VIEWER)
        what = SLICE("");
    groups_word(&words[part], what, mark, value);
    if ((domain || member) && !node_serves(node, member ? jid_split(value).domain : value))
        groups_word(&words[PART_MISSING], what, mark, value);
}

/* A list of members that is too long is left out: part of it would be taken for the whole, and sent
 * back. The digest changes when the members do, so that a change of what was read can be refused.
 */
static void groups_show_number(struct command_call *call, uint32_t count,
                               const struct store_batch *b)
{
    unsigned char sha[SHA256_DIGEST_LENGTH];
    char digest[2 * SHA256_DIGEST_LENGTH + 1];
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    ensure(ctx != NULL && EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) == 1);
    for (uint32_t i = 0; i < store_row_count(b, 0); i++) {
        slice jid = store_text(b, 0, i, 2);
        if (store_int(b, 0, i, 0) == GROUPS_ROW_MEMBER)
            ensure(EVP_DigestUpdate(ctx, jid.ptr, jid.len) == 1 &&
                   EVP_DigestUpdate(ctx, " ", 1) == 1);
    }
    ensure(EVP_DigestFinal_ex(ctx, sha, NULL) == 1);
    EVP_MD_CTX_free(ctx);
    hex_encode(digest, (slice){ (const char *)sha, sizeof sha });
    command_int(call, "named", count);
    command_text(call, "digest", slice_of(digest));
}

static void groups_show_words(struct command_call *call, struct groups_words *words,
                              const struct store_batch *b)
{
    for (unsigned i = 0; i < PARTS; i++) {
        struct buf *text = &words[i].text;
        if (i == PART_MEMBERS && words[i].more > 0) {
            groups_show_number(call, words[i].count, b);
        } else if (i != PART_MISSING || text->len > 0) {
            if (words[i].more > 0)
                buf_printf(text, " and %u more", words[i].more);
            command_text(call, part_columns[i],
                         text->len > 0 ? slice_dup(call->arena, buf_fit(text)) : SLICE(""));
        }
        buf_fini(text);
    }
}

bool groups_is_known(struct command_call *call, bool is_there)
{
    if (!is_there)
        command_fail(call, E_NOTFOUND, "%.*s: there is no such group; `group list` shows all",
                     SLICE_ARG(command_arg(call, "name")));
    return is_there;
}

static void groups_shown(void *arg, enum store_result result, const struct store_batch *b)
{
    struct command_call *call = arg;
    struct groups_words words[PARTS] = { 0 };
    if (result != STORE_OK) {
        command_fail_cause(call, err_of_store(result), NULL);
        return;
    }
    if (!groups_is_known(call, store_row_count(b, 0) > 0))
        return;
    for (unsigned i = 0; i < PARTS; i++)
        buf_init(&words[i].text, GROUPS_TEXT_BYTES);
    command_row(call);
    command_text(call, "name", command_arg(call, "name"));
    for (uint32_t i = 0; i < store_row_count(b, 0); i++) {
        slice value = store_text(b, 0, i, 2);
        if (store_int(b, 0, i, 0) == 0)
            command_text(call, "shown", slice_dup(call->arena, value));
        else
            groups_show_row(words, worker_node(call->worker), store_int(b, 0, i, 0),
                            store_text(b, 0, i, 1), value);
    }
    groups_show_words(call, words, b);
    const struct shared *table = groups_table(call);
    uint32_t number = groups_number(table, command_arg(call, "name"));
    command_int(call, "now", number == UINT32_MAX ? 0 : table->sets[number].count);
    command_done(call, "%s", "");
}

void groups_run_show(struct command_call *call)
{
    const struct worker *w = call->worker;
    struct store_batch *b = store_read(worker_store(w), groups_lane());
    STORE_ADD(b, &groups_stmt_show, STORE_ANY_ROWS, SV_T(command_arg(call, "name")));
    store_submit(b, worker_loop(w), 0, groups_shown, call);
}

/* Those who are in it now. */
static void groups_add_members_now(struct command_call *call, struct first_few *page)
{
    const struct shared *table = groups_table(call);
    uint32_t number = groups_number(table, command_arg(call, "name"));
    for (uint32_t i = 0; number != UINT32_MAX && i < table->sets[number].count; i++)
        first_few_add(page, table->people[table->sets[number].at[i]]->jid, NULL);
}

static void groups_members_found(void *arg, enum store_result result, const struct store_batch *b)
{
    struct command_call *call = arg;
    struct first_few page;
    if (result != STORE_OK) {
        command_fail_cause(call, err_of_store(result), NULL);
        return;
    }
    if (!groups_is_known(call, store_int(b, 0, 0, 1) > 0))
        return;
    users_page_begin(&page, call);
    if (!command_flag(call, "named"))
        groups_add_members_now(call, &page);
    else
        for (uint32_t i = 0; i < store_row_count(b, 1); i++)
            first_few_add(&page, store_text(b, 1, i, 0), NULL);
    first_few_sort(&page);
    for (uint32_t i = 0; i < users_page_count(call, &page); i++) {
        command_row(call);
        command_text(call, "jid", page.item[i].key);
    }
    users_page_done(call, &page);
}

void groups_run_member_list(struct command_call *call)
{
    const struct worker *w = call->worker;
    slice name = command_arg(call, "name"), after = command_arg(call, "after");
    struct store_batch *b = store_read(worker_store(w), groups_lane());
    STORE_ADD(b, &groups_stmt_look, 1, SV_T(name));
    if (command_flag(call, "named"))
        STORE_ADD(b, &groups_stmt_named, STORE_ANY_ROWS, SV_T(name),
                  SV_T(after.len > 0 ? after : SLICE("")), SV_I(command_page_limit(call) + 1));
    store_submit(b, worker_loop(w), 0, groups_members_found, call);
}

/* Sets beyond the groups say who sees them. */
static void groups_of_user(void *arg, enum store_result result, const struct store_batch *b)
{
    struct command_call *call = arg;
    slice jid = command_arg(call, "jid");
    if (result != STORE_OK) {
        command_fail_cause(call, err_of_store(result), NULL);
        return;
    }
    if (store_int(b, 0, 0, 0) == 0) {
        users_fail_missing(call, jid);
        return;
    }
    const struct shared *table = groups_table(call);
    const struct shared_person *user = shared_here(table, jid);
    for (uint32_t i = 0; user != NULL && i < user->sets.count; i++) {
        if (user->sets.at[i] >= table->group_count)
            continue;
        const struct shared_group *group = &table->groups[user->sets.at[i]];
        command_row(call);
        command_text(call, "name", slice_dup(call->arena, group->name));
        command_text(call, "shown", slice_dup(call->arena, group->shown));
    }
    command_done(call, "%s", "");
}

void groups_run_of_user(struct command_call *call)
{
    ensure(worker_is_here(call->worker));
    struct store_batch *b = store_read(worker_store(call->worker), 0);
    STORE_ADD(b, &groups_stmt_look_user, 1, SV_T(SLICE("")), SV_T(command_arg(call, "jid")));
    store_submit(b, worker_loop(call->worker), 0, groups_of_user, call);
}
