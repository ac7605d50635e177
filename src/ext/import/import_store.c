#include "ext/import/import_store.h"
#include "account/account_life.h"
#include "archive/words.h"
#include "auth/credentials.h"
#include "base/arena.h"
#include "base/ensure.h"
#include "base/hex.h"
#include "base/rand.h"
#include "core/feature.h"
#include "core/portable.h"
#include "ext/import/import.h"
#include "ext/import/import_report.h"
#include "ext/import/import_run.h"
#include "home/duty.h"
#include "home/here.h"
#include "ops/templates.h"
#include "ops/users_profile.h"
#include "xmpp/jid.h"

/* An account with more statements is no transaction of the store. */
enum { STATEMENTS_MAX = STORE_PARTS_MAX - 1 };

/* One user who is being stored: batches that go before, one after the other, then the account. */
struct before {
    struct before *next;
    struct store_batch *batch;
};
struct storing {
    struct import *x;
    struct import_user *user;
    struct before *before, **last;
    bool noted; /* there were some */
    struct store_batch *batch;
};

struct porting {
    struct portable base; /* first */
    struct import *x;
    struct storing *to; /* NULL: a dry run */
};

static void import_lost(struct portable *p, const char *what, slice which)
{
    struct import *x = ((struct porting *)p)->x;
    x->left++;
    import_report(x, p->jid, what, which);
}

static struct store_batch *import_before(struct portable *p)
{
    struct storing *s = ((struct porting *)p)->to;
    struct before *n = arena_new(p->tmp, struct before, 1);
    ensure(s != NULL && p->id > 0);
    n->batch = store_write(worker_store(s->x->worker), credentials_lane(p->jid));
    STORE_ADD(n->batch, &import_part_note, STORE_ANY_ROWS, SV_I(p->id), SV_T(p->jid));
    *s->last = n;
    s->last = &n->next;
    s->noted = true;
    return n->batch;
}

static bool import_asks(const struct import_user *u, const struct portable_part *p)
{
    return p->in_pieces || !u->piece;
}

static bool import_is_taken(const struct import_user *u, const struct elem *e)
{
    if (u->piece
            ? elem_is(e, "continues", NS_PIE_MORE)
            : elem_is(e, "scram-credentials", NS_PIE_SCRAM) || elem_is(e, "disabled", NS_PIE_MORE))
        return true;
    FEATURES_EACH (f, portable)
        for (const struct portable_name *n = f->portable->takes; n->name != NULL; n++)
            if (import_asks(u, f->portable) && elem_is(e, n->name, n->ns))
                return true;
    return false;
}

/* XEP-0227: what is not known is ignored, and the operator is told. */
static void import_take(struct import *x, struct import_user *u, struct storing *to)
{
    struct elem e;
    ensure(u->jid.len > 0 && (to == NULL) == x->dry);
    struct porting p = { .base = { .jid = u->jid,
                                   .id = u->id,
                                   .first_id = x->first_id,
                                   .now_us = loop_wall_us(worker_loop(x->worker)),
                                   .user = &u->user,
                                   .piece = u->piece,
                                   .tmp = x->arena,
                                   .batch = to == NULL ? NULL : to->batch,
                                   .before = to == NULL ? NULL : import_before,
                                   .lost = import_lost },
                         .x = x,
                         .to = to };
    if (u->follows) {
        p.base.last_entry = x->pieces.last_entry;
        p.base.offline = x->pieces.offline;
    }
    if (u->note != NULL)
        import_lost(&p.base, u->note, (slice){ 0 });
    if (u->has == 0 && !u->piece)
        import_lost(&p.base, "a password: nobody can log in before `user password` sets one",
                    (slice){ 0 });
    if (u->disabled_there && !u->piece)
        import_report_disabled(x, u->jid);
    FEATURES_EACH (f, portable)
        if (import_asks(u, f->portable))
            f->portable->take(&p.base);
    if (u->piece) {
        x->pieces.last_entry = p.base.last_entry;
        x->pieces.offline = p.base.offline;
    }
    for (bool more = elem_first(&u->user, &e); more; more = elem_next(&e, &e))
        if (elem_is(&e, "lost", NS_PIE_MORE))
            import_lost(&p.base, slice_cstr(x->arena, elem_text(&e, x->arena)), (slice){ 0 });
        else if (!import_is_taken(u, &e))
            import_lost(&p.base, arena_printf(x->arena, "an element <%.*s/> of", SLICE_ARG(e.name)),
                        e.ns_uri);
}

/* Storing. */

static void import_is_new(struct import *x, const struct import_user *u)
{
    struct import_seen *seen = map_get(&x->seen, u->jid);
    ensure(seen != NULL);
    struct import_seen *domain = map_get(&x->domains, jid_split(u->jid).domain);
    ensure(domain != NULL);
    hashes_count(&domain->lacking, import_user_lacks(u), 1);
    seen->is_new = x->dry ? u->id == 0 : !u->replaces;
    if (u->follows)
        x->pieces = (struct import_pieces){ 0 };
    if (seen->is_new)
        x->newest = seen->jid;
    x->imported++;
}

static void storing_drop(struct storing *s)
{
    for (; s->before != NULL; s->before = s->before->next)
        store_drop(&s->before->batch);
    if (s->batch != NULL)
        store_drop(&s->batch);
}

static void storing_abandon(struct storing *s)
{
    import_abandon(s->x, s->user->id);
    s->x->pieces.noted = s->x->pieces.noted && !s->user->follows;
}

static void import_one_ended(struct import *x)
{
    if (--x->pending == 0)
        import_step_end(x);
}

static void import_conflict_known(void *arg, enum err e, const char *text)
{
    const struct storing *s = arg;
    if (e == E_LIMIT)
        import_refuse(s->x, s->user, text);
    else if (e == E_NOTFOUND)
        import_refuse(s->x, s->user, "its template was renamed or deleted meanwhile");
    else if (e == E_CONFLICT)
        import_refuse(s->x, s->user,
                      "a group of its template was full for a moment, or it has more than 16 MiB "
                      "beside its archive; run it again, or with a lower pep.bytes-max, which "
                      "leaves out the items beyond it");
    else
        import_refuse(s->x, s->user,
                      "its account was made meanwhile, or it has more than 16 MiB beside its "
                      "archive; a lower pep.bytes-max leaves out the items beyond it");
    import_one_ended(s->x);
}

/* The store does not tell what stands against it. */
static void import_conflict(struct storing *s)
{
    struct import *x = s->x;
    if (x->template != NULL)
        templates_refused(x->worker, &(struct templates_ask){ .template = x->template,
                                                              .jid = s->user->jid,
                                                              .arena = x->arena,
                                                              .fn = import_conflict_known,
                                                              .arg = s });
    else
        import_conflict_known(s, OK, NULL);
}

static void import_stored_end(struct storing *s, enum store_result result)
{
    struct import *x = s->x;
    ensure(x->pending > 0 && worker_is_here(x->worker));
    storing_drop(s);
    if (result != STORE_OK && s->noted)
        storing_abandon(s);
    if (result == STORE_OK && s->user->piece) {
        import_piece_kept(x, s->user, s->noted);
    } else if (result == STORE_OK) {
        import_is_new(x, s->user);
        hashes_stored(s->user->jid, import_user_lacks(s->user));
        account_created(x->worker, s->user->jid, s->user->disabled);
        if (x->template != NULL)
            templates_added(x->worker);
    } else if (result == STORE_CONFLICT) {
        import_conflict(s);
        return;
    } else {
        x->e = err_of_store(result);
        why_set(&x->why, "%.*s: the database does not take it (%s); run it again",
                SLICE_ARG(s->user->jid), err_text(x->e));
    }
    import_one_ended(x);
}

/* The messages were added some time ago. What looked for them since has not found these. */
static void user_stored(void *arg, enum store_result result, const struct store_batch *b)
{
    struct storing *s = arg;
    (void)b;
    ensure(s->x->pending > 0 && !s->x->dry);
    archive_words_stored(s->x->worker);
    import_stored_end(arg, result);
}

static void storing_next(struct storing *s);

static void before_stored(void *arg, enum store_result result, const struct store_batch *b)
{
    struct storing *s = arg;
    (void)b;
    ensure(s->x->pending > 0 && !s->x->dry);
    archive_words_stored(s->x->worker);
    if (result == STORE_OK)
        storing_next(arg);
    else
        import_stored_end(arg, result);
}

static void storing_next(struct storing *s)
{
    struct store_batch *b = s->before != NULL ? s->before->batch : s->batch;
    bool last = s->before == NULL;
    if (b == NULL) { /* of a piece */
        import_stored_end(s, STORE_OK);
        return;
    }
    if (last)
        s->batch = NULL;
    else
        s->before = s->before->next;
    store_submit(b, worker_loop(s->x->worker), STORE_UNTIL_DONE, last ? user_stored : before_stored,
                 s);
}

static void storing_template(struct storing *s, const struct account_template *t)
{
    users_profile_add(s->batch, s->user->jid,
                      &(struct user_profile){ .department = t->department, .template = t->name });
    templates_add(s->batch, s->user->jid, t);
    s->user->disabled |= t->disabled;
}

/* The account, but for what features have of it. */
static void storing_account(struct storing *s)
{
    struct import *x = s->x;
    const struct import_user *u = s->user;
    credentials_port(s->batch,
                     &(struct credentials_ported){ .jid = u->jid,
                                                   .id = u->id,
                                                   .now_us = loop_wall_us(worker_loop(x->worker)),
                                                   .keys = u->keys,
                                                   .has = u->has,
                                                   .inherit = u->replaces ? account_inherit : NULL,
                                                   .disabled = u->disabled },
                     x->arena);
    if (u->replaces)
        EMIT_ONE(profiles, profile, s->batch, u->jid, &u->profile);
    else if (x->template != NULL)
        storing_template(s, x->template);
}

static void import_store(struct import *x, struct import_user *u)
{
    struct storing *s = arena_new(x->arena, struct storing, 1);
    *s = (struct storing){ .x = x, .user = u, .noted = u->follows && x->pieces.noted };
    s->last = &s->before;
    ensure(u->id > 0 && u->jid.len > 0);
    if (!u->piece) {
        s->batch = store_write(worker_store(x->worker), credentials_lane(u->jid));
        storing_account(s);
    }
    import_take(x, u, s);
    if (!u->piece && s->noted)
        STORE_ADD(s->batch, &import_part_done, 1, SV_I(u->id));
    if (!u->piece && store_stmt_count(s->batch) > STATEMENTS_MAX) {
        storing_drop(s);
        if (u->follows && x->pieces.noted)
            storing_abandon(s);
        import_refuse(
            x, u,
            "it has more rows than a transaction can have; a lower roster.contacts-max or "
            "pep.bytes-max leaves out what is beyond");
        return;
    }
    x->pending++;
    storing_next(s);
}

/* b: their ids, but those of users who follow. */
static void import_store_users(struct import *x, const struct store_batch *b)
{
    unsigned at = 0;
    x->pending = 1;
    for (struct import_user *u = x->users; u != NULL; u = u->next) {
        if (u->jid.len == 0)
            continue;
        u->id = u->follows ? x->pieces.id : store_int(b, at, 0, 0);
        at += u->follows ? 0 : 2;
        x->first_id = x->first_id == 0 ? u->id : x->first_id;
        import_store(x, u);
    }
    if (--x->pending == 0)
        import_step_end(x);
}

static void import_reserved(void *arg, enum store_result result, const struct store_batch *b)
{
    struct import *x = arg;
    ensure(!x->dry && x->pending == 0);
    if (result == STORE_OK) {
        import_store_users(x, b);
        return;
    }
    x->e = err_of_store(result);
    why_set(&x->why, "the database gives no ids: %s", err_text(x->e));
    import_end(x);
}

void import_reserve(struct import *x)
{
    struct store_batch *b = store_write(worker_store(x->worker), 0);
    for (const struct import_user *u = x->users; u != NULL; u = u->next) {
        uint8_t random[8];
        char hex[sizeof random * 2 + 1];
        rand_bytes(random, sizeof random);
        hex_encode(hex, (slice){ (const char *)random, sizeof random });
        if (u->jid.len > 0 && !u->follows)
            credentials_reserve(b, slice_of(arena_printf(x->arena, " import %s", hex)));
    }
    if (store_stmt_count(b) > 0) {
        store_submit(b, worker_loop(x->worker), 0, import_reserved, x);
        return;
    }
    store_drop(&b);
    import_store_users(x, NULL);
}

static void import_dry_one(struct import *x, struct import_user *u, const struct store_batch *b)
{
    bool from_template = b != NULL && u->id == 0 && !u->piece;
    const char *full = NULL;
    import_take(x, u, NULL);
    if (from_template)
        full = templates_refusal(b, 0, x->template, x->from_template, x->arena);
    if (full != NULL) {
        import_refuse(x, u, full);
        return;
    }
    x->from_template += from_template;
    if (u->piece)
        import_piece_kept(x, u, false);
    else
        import_is_new(x, u);
}

/* b: the limits of the template; NULL: there is none. */
static void import_dry_users(struct import *x, const struct store_batch *b)
{
    for (struct import_user *u = x->users; u != NULL; u = u->next)
        if (u->jid.len > 0)
            import_dry_one(x, u, b);
    import_step_end(x);
}

static void import_limits_read(void *arg, enum store_result result, const struct store_batch *b)
{
    struct import *x = arg;
    ensure(x->dry && x->template != NULL);
    if (result == STORE_OK) {
        import_dry_users(x, b);
        return;
    }
    x->e = err_of_store(result);
    why_set(&x->why, "the limits of the template cannot be read: %s", err_text(x->e));
    import_end(x);
}

void import_dry(struct import *x)
{
    struct store_batch *b = NULL;
    if (x->template != NULL) {
        b = store_read(worker_store(x->worker), 0);
        templates_limits(b, x->template);
    }
    if (b != NULL && store_stmt_count(b) > 0) {
        store_submit(b, worker_loop(x->worker), 0, import_limits_read, x);
        return;
    }
    if (b != NULL)
        store_drop(&b);
    import_dry_users(x, NULL);
}
