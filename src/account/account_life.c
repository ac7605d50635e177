#include "account/account_life.h"
#include "account/account.h"
#include "archive/archive.h"
#include "archive/leave.h"
#include "auth/credentials.h"
#include "base/ensure.h"
#include "base/mem.h"
#include "core/feature.h"
#include "home/here.h"
#include "home/question.h"
#include "session/given.h"
#include "session/session.h"
#include "talk/message.h"
#include "xmpp/jid.h"

/* The account came to be. */
struct created {
    slice jid;
    bool disabled;
};

static void created_run(struct worker *w, void *message, const struct message_from *from)
{
    const struct created *c = message;
    (void)from;
    account_forget(w, c->jid);
    EMIT(account.created, w, c->jid);
    if (c->disabled)
        EMIT(account.left_disabled, w, c->jid);
}

static unsigned created_slot(const void *message)
{
    return node_slot(((const struct created *)message)->jid);
}

static const struct message_field created_fields[] = {
    F_BARE(struct created, jid),
    F_BOOL(struct created, disabled),
    { 0 },
};
const struct message_row account_created_message = {
    .id = 22,
    .scope = MESSAGE_CLUSTER,
    .name = "account-created",
    .size = sizeof(struct created),
    .fields = created_fields,
    .run = created_run,
    .slot = created_slot,
};

void account_created(struct worker *w, slice bare, bool disabled)
{
    char text[JID_MAX]; /* it may be in what is forgotten */
    ensure(bare.len <= sizeof text);
    struct created c = { .jid = { memcpy(text, bare.ptr, bare.len), bare.len }, disabled };
    home_send(w, bare, &account_created_message, &c);
}

unsigned account_end_sessions(struct account *a, const struct session *keep, enum session_end why)
{
    unsigned ended = 0;
    struct list *at = a->sessions.next;
    ensure(account_here(a));
    account_pin(a);
    while (at != &a->sessions) {
        struct session *s = CONTAINER_OF(at, struct session, node);
        if (s == keep) {
            at = at->next;
            continue;
        }
        session_end(s, why); /* what it hands over may end others: begin again */
        ended++;
        at = a->sessions.next;
    }
    account_unpin(a);
    return ended;
}

void account_access_revoked(struct account *a, const struct session *keep, const uint8_t *device)
{
    if (a->state == ACTOR_READY)
        EMIT(account.access_revoked, a, keep, device);
}

unsigned account_password_changed(struct account *a, const struct session *keep, int64_t generation)
{
    if (generation > a->generation)
        a->generation = generation; /* streams that know the old one only do not bind any more */
    unsigned ended = account_end_sessions(a, keep, END_PASSWORD);
    account_access_revoked(a, keep, NULL);
    return ended;
}

struct store_stmt account_put_disabled = {
    .name = "account.disable",
    .sql = "UPDATE account SET disabled = $2 WHERE id = $1",
    .params = "ii",
    .cols = "",
};

/* Deletion and disabling: mutations, so that they stand in order with the others. */

struct removal {
    struct actor_change base; /* first */
    void (*done)(void *arg, enum err e);
    void (*left)(void *arg);
    void *arg;
    const struct account_look *look; /* NULL: nobody wants to know */
};

/* An account has one removal at a time: another request is answered with E_AGAIN, and NULL is
 * returned. Stanzas that come from now on are refused, since they would be stored behind the
 * removal. */
static struct removal *removal_begin(struct account *a, enum account_removing what,
                                     void (*done)(void *arg, enum err e), void *arg)
{
    ensure(account_here(a) && done != NULL);
    if (a->removing) {
        done(arg, E_AGAIN);
        return NULL;
    }
    struct removal *r = mem_new(struct removal);
    *r = (struct removal){ .base.actor = &a->actor, .done = done, .arg = arg };
    a->removing = (uint8_t)what;
    return r;
}

void account_inherit(struct store_batch *b, slice jid) { EMIT(account.inherit, b, jid); }

static enum err removal_prepare(struct actor_change *base)
{
    struct account *a = account_of(base->actor);
    if (a->state != ACTOR_READY)
        return E_NOTFOUND;
    const struct removal *r = (const struct removal *)base;
    base->batch = store_write(worker_store(a->worker), account_lane(a));
    if (r->look != NULL)
        r->look->reads(base->batch, r->arg);
    archive_disown(base->batch, a->id, a->jid);
    EMIT(account.remove, a, base->batch);
    if (a->removing == REMOVING_DELETES)
        EMIT(account.disown, a, base->batch);
    if (a->removing == REMOVING_DELETES)
        credentials_add_delete(base->batch, a->id);
    else
        credentials_add_empty(base->batch, a->id, a->jid, loop_wall_us(worker_loop(a->worker)),
                              account_inherit);
    return OK;
}

void account_forget_past(struct account *a)
{
    recent_free(&a->recents);
    given_free(a);
}

/* Releases the state of features. Later stanzas find no such account. */
static void become_absent(struct account *a)
{
    ensure(account_here(a) && account_is_pinned(a));
    EMIT(account.unload, a);
    mailbox_fini(a);
    a->mailbox = (struct mailbox){ 0 };
    actor_become(&a->actor, ACTOR_ABSENT);
}

static enum err disabling_prepare(struct actor_change *base)
{
    struct account *a = account_of(base->actor);
    if (a->state != ACTOR_READY)
        return E_NOTFOUND;
    base->batch = store_write(worker_store(a->worker), account_lane(a));
    STORE_ADD(base->batch, &account_put_disabled, 1, SV_I(a->id), SV_I(ACCOUNT_DISABLED));
    return OK;
}

static void disabling_apply(struct actor_change *base, enum err e)
{
    struct removal *r = (struct removal *)base;
    struct account *a = account_of(base->actor);
    r->done(r->arg, e); /* first: the one who asked may sit in one of the sessions */
    if (e == OK) {
        a->disabled = true;
        account_end_sessions(a, NULL, END_DISABLED);
        struct store_batch *b = store_write(worker_store(a->worker), account_lane(a));
        mailbox_save(a, b); /* what the sessions still settled */
        store_submit(b, worker_loop(a->worker), 0, NULL, NULL);
        become_absent(a);
    }
    a->removing = REMOVING_NOT; /* now: what its sessions hand over is refused, too */
    mem_free(&r);
}

void account_with_unasked(struct worker *w, slice bare, account_fn *fn, void *arg)
{
    struct account *a = account_seek(w, bare);
    if (a == NULL || a->state != ACTOR_READY || a->actor.pauses == 0) {
        account_with(w, bare, fn, arg);
        return;
    }
    account_pin(a);
    fn(a, OK, arg);
    if (a->removing)
        messages_refuse_waiting(a);
    account_unpin(a);
}

void account_admit(struct worker *w, slice bare, account_fn *fn, void *arg)
{
    struct account *a = account_seek(w, bare);
    if (a == NULL)
        a = account_make(w, bare, 0);
    a->admitted = a->admitted || a->state != ACTOR_READY;
    a->actor.unsure = a->actor.unsure || a->state == ACTOR_ABSENT;
    account_with(w, bare, fn, arg);
}

void account_disable(struct account *a, void (*done)(void *arg, enum err e), void *arg)
{
    struct removal *r = removal_begin(a, REMOVING_DISABLES, done, arg);
    if (r == NULL)
        return;
    r->base.prepare = disabling_prepare;
    r->base.apply = disabling_apply;
    account_change(a, &r->base);
}

struct account_gone {
    slice bare;
    bool kept; /* the address: an empty account has it */
};

static void account_gone_run(struct worker *w, void *message, const struct message_from *from)
{
    const struct account_gone *gone = message;
    (void)from;
    EMIT(account.deleted, w, gone->bare);
    if (gone->kept)
        EMIT(account.left_disabled, w, gone->bare);
    else
        EMIT(account.disowned, w, gone->bare);
}

static const struct message_field account_gone_fields[] = {
    F_BARE(struct account_gone, bare),
    F_BOOL(struct account_gone, kept),
    { 0 },
};
const struct message_row account_gone_message = {
    .id = 23,
    .scope = MESSAGE_CLUSTER,
    .name = "account-gone",
    .size = sizeof(struct account_gone),
    .fields = account_gone_fields,
    .run = account_gone_run,
};

/* When its sessions have ended. `bare` is freed. */
static void account_gone_tell(struct worker *w, slice *bare, enum account_removing how)
{
    each_home(w, &account_gone_message, &(struct account_gone){ *bare, how == REMOVING_EMPTIES },
              &(struct asker){ 0 });
    mem_free(&bare);
}

static void removal_left(void *arg, enum err e)
{
    struct removal *r = arg;
    (void)e; /* what is still there goes with the next pass over the archive */
    if (r->left != NULL)
        r->left(r->arg);
    mem_free(&r);
}

static void removal_apply(struct actor_change *base, enum err e)
{
    struct removal *r = (struct removal *)base;
    struct account *a = account_of(base->actor);
    struct worker *w = a->worker;
    int64_t owner = a->id;
    if (e == OK) {
        slice *bare = slice_box(a->jid);
        if (r->look != NULL)
            r->look->found(base->found, r->arg);
        r->done(r->arg, OK); /* first: the one who asked may sit in one of the sessions */
        a->disabled = a->removing == REMOVING_EMPTIES;
        account_end_sessions(a, NULL, END_REMOVED);
        become_absent(a);
        account_forget_past(a); /* whoever has the address next may find it in memory: pinned */
        account_gone_tell(w, bare, (enum account_removing)a->removing);
    } else {
        r->done(r->arg, e);
        if (a->admitted && a->state == ACTOR_READY) { /* it is disabled as before */
            a->disabled = true;
            account_end_sessions(a, NULL, END_DISABLED);
            become_absent(a);
        }
    }
    a->admitted = false;
    a->removing = REMOVING_NOT;
    if (e == OK)
        archive_clear(w, owner, NULL, removal_left, r);
    else
        mem_free(&r);
}

void account_remove_looked_at(struct account *a, enum account_removing what,
                              const struct account_look *look, void (*done)(void *arg, enum err e),
                              void (*left)(void *arg), void *arg)
{
    ensure(what == REMOVING_DELETES || what == REMOVING_EMPTIES);
    struct removal *r = removal_begin(a, what, done, arg);
    if (r == NULL)
        return;
    r->left = left;
    r->look = look;
    r->base.prepare = removal_prepare;
    r->base.apply = removal_apply;
    account_change(a, &r->base);
}

void account_remove(struct account *a, enum account_removing what,
                    void (*done)(void *arg, enum err e), void (*left)(void *arg), void *arg)
{
    account_remove_looked_at(a, what, NULL, done, left, arg);
}
