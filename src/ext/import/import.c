#include "ext/import/import.h"
#include "account/account_life.h"
#include "auth/credentials.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/command.h"
#include "base/ensure.h"
#include "base/log.h"
#include "base/mem.h"
#include "codec/xml_read.h"
#include "ext/import/import_report.h"
#include "ext/import/import_room.h"
#include "ext/import/import_run.h"
#include "ext/import/import_store.h"
#include "home/here.h"
#include "home/node.h"
#include "ops/jobs.h"
#include "ops/templates.h"
#include "presence/roster_out.h"
#include "remote/foreign.h"
#include "store/store.h"
#include <ftw.h>
#include <stdatomic.h>
#include <stdio.h>

enum { DERIVE_LANE = 1, STEP_BYTES = 4 << 20, IMPORT_USERS_MAX = 1000000 };

struct log_area log_import = { .name = "import" };

static atomic_bool under_way;

/* On a helper thread. */

static void import_open(struct import *x)
{
    x->e = source_open(&x->source, x->path, &x->groups, &x->why);
}

/* There may be an import of what has only groups. */
static void import_over(struct import *x)
{
    x->over = true;
    if (x->found || x->groups.count > 0)
        return;
    x->e = E_NOTFOUND;
    why_set(&x->why,
            "%s: found no users, expected a file of XEP-0227 with a <user/> in a <host/>, or one "
            "that includes such files",
            x->path);
}

/* Behind those of the step; what it returns is where the next comes. */
static struct import_user **import_step_user(struct import *x, struct source_found *found,
                                             struct import_user **last)
{
    x->found = true;
    x->e = import_user_domain(found, x->domain, x->path, &x->why);
    if (x->e != OK)
        return last;
    *last = import_user_read(found, x->xml, x->arena);
    x->count++;
    return &(*last)->next;
}

static void import_step_run(struct work *w)
{
    struct import *x = CONTAINER_OF(w, struct import, work);
    struct import_user **last = &x->users;
    size_t bytes = 0;
    arena_reset(x->arena);
    x->users = NULL;
    x->count = x->lost_count = 0;
    x->room = (struct source_found){ 0 };
    if (x->source == NULL)
        import_open(x);
    /* Nobody is behind a piece of an account before that is stored. */
    unsigned most = x->pieces.jid.len > 0 ? 1 : STEP_USERS;
    bool piece = false;
    while (x->e == OK && !x->over && x->room.host.len == 0 && !piece &&
           x->count + x->lost_count < most && bytes < STEP_BYTES) {
        struct source_found found = { 0 };
        switch (source_next(x->source, x->arena, &found, &x->why)) {
        case SOURCE_USER:
            last = import_step_user(x, &found, last);
            piece = x->e == OK && CONTAINER_OF(last, struct import_user, next)->piece;
            bytes += found.xml.len;
            break;
        case SOURCE_ROOM:
            x->found = true;
            x->room = found;
            break;
        case SOURCE_LOST:
            x->lost[x->lost_count++] =
                (struct import_lost){ slice_cstr(x->arena, found.text), found.count };
            break;
        case SOURCE_END:
            import_over(x);
            break;
        case SOURCE_ERROR:
            x->e = E_SYNTAX;
            break;
        }
    }
}

static int import_remove_one(const char *path, const struct stat *st, int kind, struct FTW *at)
{
    (void)st, (void)kind, (void)at;
    return remove(path);
}

/* A folder that was made for this import alone goes with it. */
static void import_close_run(struct work *w)
{
    struct import *x = CONTAINER_OF(w, struct import, work);
    bool folder = x->source != NULL && source_is_folder(x->source);
    source_close(&x->source);
    if (folder && x->once)
        nftw(x->path, import_remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

/* On x->worker. */

static bool import_did(const struct import *x)
{
    return !x->dry && x->imported + x->rooms + x->making.imported > 0;
}

static void import_answer(struct import *x)
{
    const char *numbers = arena_printf(
        x->lasting,
        "users %s: %llu, there already: %llu, refused: %llu; what does not come "
        "along: %llu",
        x->dry ? "that would be imported" : "imported", (unsigned long long)x->imported,
        (unsigned long long)x->there, (unsigned long long)x->refused, (unsigned long long)x->left);
    if (x->disabled > 0)
        numbers = arena_printf(x->lasting, "%s; disabled: %llu", numbers,
                               (unsigned long long)x->disabled);
    if (x->rooms + x->rooms_there + x->rooms_refused > 0)
        numbers = arena_printf(x->lasting, "%s; rooms %s: %llu, there already: %llu, refused: %llu",
                               numbers, x->dry ? "that would be imported" : "imported",
                               (unsigned long long)x->rooms, (unsigned long long)x->rooms_there,
                               (unsigned long long)x->rooms_refused);
    if (x->groups.count > 0)
        numbers = arena_printf(
            x->lasting, "%s; groups %s: %llu, there already: %llu, refused: %llu", numbers,
            x->dry ? "that would be imported" : "imported", (unsigned long long)x->making.imported,
            (unsigned long long)x->making.there, (unsigned long long)x->making.refused);
    if (x->e != OK)
        command_fail(x->call, x->e, "%s; %s", x->why.text, numbers);
    else if (x->refused + x->rooms_refused + x->making.refused > 0)
        command_fail(x->call, import_did(x) ? E_PART : E_CONFLICT, "%s", numbers);
    else
        command_done(x->call, "%s", numbers);
}

static void import_closed(struct work *w)
{
    struct import *x = CONTAINER_OF(w, struct import, work);
    ensure(x->source == NULL && x->pending == 0 && x->abandoning == 0);
    atomic_store(&under_way, false);
    import_answer(x);
    map_fini(&x->seen);
    map_fini(&x->domains);
    source_groups_fini(&x->groups);
    xml_work_destroy(&x->xml);
    arena_destroy(&x->arena);
    arena_destroy(&x->lasting);
    mem_free(&x);
}

static void import_pieces_check(struct import *x)
{
    struct import_user lost;
    if (import_pieces_broken(x, &lost))
        import_refuse(x, &lost,
                      "its last part is missing: the <user/> behind one with <continues/>");
}

static void import_close(struct import *x)
{
    x->work.run = import_close_run;
    x->work.done = import_closed;
    if (work_submit(worker_work(x->worker), worker_loop(x->worker), &x->work) == OK)
        return;
    import_close_run(&x->work);
    import_closed(&x->work);
}

/* Accounts that are there already count for the offer, too. */
static void import_report_keys(struct import *x)
{
    const struct import_seen *domain;
    for (uint32_t i = 0; (domain = map_next(&x->domains, &i)) != NULL;) {
        unsigned lacked = hashes_lacked(&domain->lacking);
        unsigned offered = hashes_complete(domain->jid) & ~lacked;
        if (lacked == 0)
            continue;
        const char *names = hashes_names(lacked, x->lasting);
        const char *others = offered == 0 ? "" : hashes_names(offered, x->lasting);
        import_report(x, domain->jid,
                      arena_printf(x->lasting,
                                   "accounts without keys for %s: %llu; until they have them, "
                                   "clients of the domain are offered %s%sPLAIN (docs/import.md)",
                                   names, (unsigned long long)domain->lacking.accounts, others,
                                   offered == 0 ? "only " : " and "),
                      (slice){ 0 });
    }
}

void import_end(struct import *x)
{
    import_pieces_check(x);
    import_report_keys(x);
    import_tell(x);
    if (!x->dry && x->imported > 0)
        roster_out_later(x->worker); /* lists that do not agree: those who came first ask */
    x->ended = true;
    if (x->abandoning == 0)
        import_close(x);
}

static void import_abandoned(struct import *x)
{
    if (x->ended)
        import_close(x);
}

/* A step: what is known of its users, ids, the users. */

static void import_next_step(struct import *x);

/* Accounts that are new do not come into these. */
static void import_report_missing_groups(struct import *x)
{
    const char *missing = x->template == NULL
                              ? NULL
                              : templates_missing(x->worker, x->template->groups, x->call->arena);
    if (missing != NULL)
        import_report(x, SLICE(""),
                      "groups of the template that are there no more:", slice_of(missing));
}

static void import_given(void *arg, enum err e, const char *lacks)
{
    struct import *x = arg;
    (void)e; /* what is not known is not said */
    if (lacks != NULL)
        import_report(x, SLICE(""), lacks, (slice){ 0 });
    import_end(x);
}

static void import_finish(struct import *x)
{
    if (x->e == OK && !x->dry && x->template != NULL && x->newest.len > 0)
        templates_lacks(x->worker, &(struct templates_ask){ .template = x->template,
                                                            .jid = x->newest,
                                                            .arena = x->lasting,
                                                            .fn = import_given,
                                                            .arg = x });
    else
        import_end(x);
}

void import_room_end(struct import *x)
{
    if (x->e == OK && x->over && x->groups.count > 0)
        import_groups_start(x, import_finish);
    else if (x->e != OK || x->over)
        import_finish(x);
    else
        import_next_step(x);
}

/* The users of a step are done. */
void import_step_end(struct import *x)
{
    if (x->e == OK && x->room.host.len > 0 && !import_canceled(x))
        import_room(x);
    else
        import_room_end(x);
}

/* Those that are there: each is emptied by the command that deletes users, at its home. Its address
 * stays taken until the new one is there, which has the profile of the old one, its roles,
 * affiliations and places in groups. */

static void import_replace(struct import *x);

static void deleted_back(struct command_return *r)
{
    struct import *x = CONTAINER_OF(r, struct import, back);
    for (struct import_user *u = x->users; u != NULL; u = u->next) {
        if (u->id == 0)
            continue;
        u->replaces = x->del.err == OK;
        u->id = 0;
        if (x->del.err != OK && x->del.err != E_NOTFOUND)
            import_refuse(x, u, slice_cstr(x->arena, x->del.text));
        break;
    }
    arena_destroy(&x->del.arena);
    import_replace(x);
}

static void user_deleted(struct command_call *call, void *arg)
{
    struct import *x = arg;
    (void)call;
    command_return(&x->back, x->worker, deleted_back);
}

/* The next that has an id: it is another's. */
static void import_replace(struct import *x)
{
    static const slice names[] = { SLICE_INIT("jid"), SLICE_INIT("keep_address") };
    struct import_user *u = x->users;
    struct why why;
    while (u != NULL && u->id == 0)
        u = u->next;
    if (u == NULL) {
        import_reserve(x);
        return;
    }
    x->del = (struct command_call){ .command = command_find(SLICE("user del")),
                                    .arena = arena_create(0),
                                    .worker = x->worker,
                                    .who = x->call->who,
                                    .finished = user_deleted,
                                    .arg = x };
    ensure(x->del.command != NULL);
    const slice values[] = { u->jid, SLICE("true") };
    if (command_bind(&x->del, names, values, 2, &why) == OK) {
        command_run(&x->del);
        return;
    }
    u->id = 0;
    import_refuse(x, u, slice_cstr(x->arena, slice_of(why.text)));
    arena_destroy(&x->del.arena);
    import_replace(x);
}

/* Keys, of those who will be stored. It is the same kind of work as TLS handshakes, and their
 * threads do it, one for each worker: in a lane of its own, so that handshakes have every second
 * turn. */

static void import_derive_run(struct work *w)
{
    import_user_derive(CONTAINER_OF(w, struct import_user, derive));
}

static void import_derived(struct import *x)
{
    ensure(x->pending > 0);
    if (--x->pending == 0)
        import_replace(x);
}

static void import_derive_done(struct work *w)
{
    import_derived(CONTAINER_OF(w, struct import_user, derive)->of);
}

static void import_derive(struct import *x)
{
    ensure(!x->dry && x->pending == 0);
    x->pending = 1;
    for (struct import_user *u = x->users; u != NULL; u = u->next) {
        if (u->jid.len == 0 || u->password.len == 0)
            continue;
        u->of = x;
        u->derive = (struct work){ .run = import_derive_run,
                                   .done = import_derive_done,
                                   .lane = DERIVE_LANE };
        x->pending++;
        if (work_submit(worker_node(x->worker)->handshakes, worker_loop(x->worker), &u->derive) ==
            OK)
            continue;
        x->pending--;
        u->id = 0;
        import_refuse(x, u, "the server stops, or is too busy; run it again");
    }
    import_derived(x);
}

/* The users of the step who are not refused. */
static void import_users(struct import *x)
{
    if (x->dry)
        import_dry(x);
    else
        import_derive(x);
}

static struct store_stmt known_stmt = {
    .name = "import.known",
    .sql = "SELECT id, given_name, surname, email, department, directory_uri, template"
           ", disabled FROM account WHERE jid = $1",
    .params = "t",
    .cols = "itttttti",
};

static void import_known(struct import *x, struct import_user *u, const struct store_batch *b,
                         unsigned at)
{
    slice text[6];
    for (unsigned i = 0; i < 6; i++)
        text[i] = slice_dup(x->arena, store_text(b, at, 0, i + 1));
    u->id = store_int(b, at, 0, 0);
    u->disabled |= store_int(b, at, 0, 7) == DISABLED_BY_OPERATOR;
    u->profile = (struct user_profile){ .given_name = text[0],
                                        .surname = text[1],
                                        .email = text[2],
                                        .department = text[3],
                                        .directory_uri = text[4],
                                        .template = text[5] };
}

/* There is no such account yet, and there must be none. */
static void import_new(struct import *x, struct import_user *u)
{
    static const char why[] = "it is the mail address of %.*s (federation.mail-address)";
    slice owner = foreign_known_by(u->jid, x->arena);
    if (owner.ptr != NULL)
        import_refuse(x, u, arena_printf(x->arena, why, SLICE_ARG(owner)));
}

static void known_read(void *arg, enum store_result result, const struct store_batch *b)
{
    struct import *x = arg;
    unsigned at = 0;
    if (result != STORE_OK) {
        x->e = err_of_store(result);
        why_set(&x->why, "the accounts cannot be read: %s", err_text(x->e));
        import_end(x);
        return;
    }
    for (struct import_user *u = x->users; u != NULL; u = u->next) {
        if (u->jid.len == 0 || u->follows)
            continue;
        if (store_row_count(b, at++) == 0) {
            import_new(x, u);
            continue;
        }
        if (x->replace) {
            import_known(x, u, b, at - 1);
            continue;
        }
        x->there++;
        import_report(x, u->jid, "is there already; --replace replaces it", (slice){ 0 });
        u->jid = (slice){ 0 };
    }
    import_users(x);
}

static const char *import_problem(struct import *x, const struct import_user *u)
{
    if (u->problem != NULL)
        return u->problem;
    if (!node_serves(worker_node(x->worker), jid_split(u->jid).domain))
        return "its domain is none of this server";
    if (map_get(&x->seen, u->jid) != NULL)
        return "it is in the source for the second time";
    return x->seen.count >= IMPORT_USERS_MAX ? "the source has more than 1,000,000 users" : NULL;
}

static void import_note_user(struct import *x, const struct import_user *u)
{
    struct import_seen *seen = arena_new(x->lasting, struct import_seen, 1);
    seen->jid = slice_dup(x->lasting, u->jid);
    map_put(&x->seen, seen);
    slice domain = jid_split(seen->jid).domain;
    if (map_get(&x->domains, domain) != NULL)
        return;
    seen = arena_new(x->lasting, struct import_seen, 1);
    seen->jid = domain;
    map_put(&x->domains, seen);
}

static void import_step_done(struct work *w)
{
    struct import *x = CONTAINER_OF(w, struct import, work);
    struct store_batch *b = store_read(worker_store(x->worker), 0);
    import_tell_progress(x);
    for (unsigned i = 0; i < x->lost_count; i++) {
        x->left += x->lost[i].count;
        import_report(x, SLICE(""), x->lost[i].what, (slice){ 0 });
    }
    import_pieces_check(x);
    for (struct import_user *u = x->users; u != NULL; u = u->next) {
        if (import_piece_follows(x, u))
            continue;
        const char *problem = import_problem(x, u);
        if (problem != NULL) {
            import_refuse(x, u, problem);
            continue;
        }
        import_note_user(x, u);
        if (u->piece)
            import_piece_begins(x, u);
        STORE_ADD(b, &known_stmt, STORE_ANY_ROWS, SV_T(u->jid));
    }
    if (store_stmt_count(b) > 0) {
        store_submit(b, worker_loop(x->worker), 0, known_read, x);
        return;
    }
    store_drop(&b);
    import_users(x);
}

static void import_next_step(struct import *x)
{
    if (import_canceled(x)) {
        import_end(x);
        return;
    }
    x->work.run = import_step_run;
    x->work.done = import_step_done;
    if (work_submit(worker_work(x->worker), worker_loop(x->worker), &x->work) == OK)
        return;
    x->e = E_AGAIN;
    why_set(&x->why, "the server is too busy; run it again");
    import_end(x);
}

static void import_begin(struct command_call *call, const struct import_from *from,
                         const struct account_template *template)
{
    if (atomic_exchange(&under_way, true)) {
        command_fail(call, E_AGAIN,
                     "an import is under way already; `job list` tells how far it is");
        return;
    }
    struct import *x = mem_new(struct import);
    x->call = call;
    x->job = job_begin(call);
    x->worker = call->worker;
    x->abandoned = import_abandoned;
    x->path = slice_cstr(call->arena, from->path);
    x->once = from->once;
    x->domain = from->domain;
    x->dry = command_flag(call, "dry_run");
    x->replace = command_flag(call, "replace");
    x->template = template;
    x->xml = xml_work_create();
    x->arena = arena_create(0);
    x->lasting = arena_create(0);
    x->told_us = loop_now_us(worker_loop(x->worker));
    source_groups_init(&x->groups, x->lasting);
    map_init(&x->seen, map_key_slice);
    map_init(&x->domains, map_key_slice);
    import_note_progress(x);
    import_report_missing_groups(x);
    import_next_step(x);
}

struct import_waiting {
    struct command_call *call;
    struct import_from from;
};

static void import_template_read(void *arg, enum err e, const struct account_template *template)
{
    const struct import_waiting *i = arg;
    if (e == OK)
        import_begin(i->call, &i->from, template);
    else
        templates_fail(i->call, e);
}

void import_run(struct command_call *call, const struct import_from *from)
{
    slice template = command_arg(call, "template");
    if (template.len == 0) {
        import_begin(call, from, NULL);
        return;
    }
    struct import_waiting *i = arena_new(call->arena, struct import_waiting, 1);
    *i = (struct import_waiting){ call, *from };
    templates_read(call->worker, template, call->arena, import_template_read, i);
}

static struct store_stmt *const import_stmts[] = { &known_stmt, &import_groups_account,
                                                   IMPORT_STORE_STMTS, NULL };
/* Accounts that do not exist yet, of which messages are stored already. */
static const struct store_migration import_migrations[] = {
    { 1, "CREATE TABLE import_part(owner INTEGER PRIMARY KEY, jid TEXT NOT NULL)",
      "CREATE TABLE import_part(owner BIGINT PRIMARY KEY, jid TEXT NOT NULL)" },
    { 2, "CREATE TABLE import_new(owner INTEGER PRIMARY KEY, source TEXT NOT NULL)",
      "CREATE TABLE import_new(owner BIGINT PRIMARY KEY, source TEXT NOT NULL)" },
    { 3, "CREATE TABLE import_group(name TEXT PRIMARY KEY) WITHOUT ROWID",
      "CREATE TABLE import_group(name TEXT PRIMARY KEY)" },
    { 4, "DROP TABLE import_new; DROP TABLE import_group",
      "DROP TABLE import_new; DROP TABLE import_group" },
    { 0 },
};
static const struct store_address import_addresses[] = {
    { "import_part", "jid", .kind = STORE_JID },
    { 0 },
};
const struct store_schema import_schema = { .feature = "import",
                                            .migrations = import_migrations,
                                            .stmts = import_stmts,
                                            .addresses = import_addresses };
