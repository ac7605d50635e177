#include "muc/state/change.h"
#include "base/arena.h"
#include "base/ensure.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/setting.h"
#include "io/timer.h"
#include "muc/archive/archive.h"
#include "muc/people/affiliation.h"
#include "muc/people/occupant.h"
#include "muc/people/role.h"
#include "muc/people/show.h"
#include "muc/room/config.h"
#include "muc/room/config_form.h"
#include "muc/room/makers.h"
#include "muc/room/metrics.h"
#include "muc/room/part.h"
#include "muc/room/room.h"
#include "muc/room/rooms.h"
#include "muc/room/settings.h"
#include "muc/state/life.h"
#include "muc/state/store.h"
#include "ops/events.h"
#include "store/store.h"
#include "xmpp/muc.h"
#include "xmpp/nickname.h"

enum { EDITS_LOGGED_MAX = 16 };

struct room_change {
    struct actor_change base; /* first */
    struct arena *arena;      /* of the edits and texts */
    struct room_delta delta;
    bool due;       /* it counts in changes_due */
    bool submitted; /* to the store */
    room_done_fn *done;
    void *arg;
};

static void change_free(struct room_change *c)
{
    if (c->delta.config != NULL)
        room_config_fini(c->delta.config);
    mem_free(&c->delta.config);
    arena_destroy(&c->arena);
    mem_free(&c);
}

void changes_drop(struct room *r)
{
    struct actor_change *c;
    while ((c = actor_take_change(&r->actor)) != NULL)
        change_free((struct room_change *)c);
    r->changes_due = 0;
}

static slice change_keep(struct arena *a, slice s) { return s.ptr == NULL ? s : slice_dup(a, s); }

/* A request without changes only waits for its turn (room_turn). */
static bool changes_something(const struct room_delta *d)
{
    return d->config != NULL || d->edit_count > 0 || d->unlock || d->destroy;
}

static struct room_change *change_create(const struct room_delta *d)
{
    struct room_change *c = mem_new(struct room_change);
    struct arena *a = c->arena = arena_create(256);
    struct affiliation_edit *edit = arena_new(a, struct affiliation_edit, d->edit_count + 1);

    c->delta = *d;
    c->delta.edit = edit;
    c->due = changes_something(d);
    for (uint32_t i = 0; i < d->edit_count; i++) {
        edit[i] = d->edit[i];
        edit[i].jid = change_keep(a, d->edit[i].jid);
        edit[i].nick = change_keep(a, d->edit[i].nick);
        edit[i].reason = change_keep(a, d->edit[i].reason);
    }
    c->delta.actor = change_keep(a, d->actor);
    c->delta.by = change_keep(a, d->by);
    c->delta.reason = change_keep(a, d->reason);
    c->delta.alternate = change_keep(a, d->alternate);
    c->delta.password = change_keep(a, d->password);
    return c;
}

static slice edit_key(const void *item) { return ((const struct affiliation_edit *)item)->jid; }

/* How many owners and affiliations the edits add. One address may stand in several of them. */
static void change_count_people(const struct room *r, const struct room_delta *d, int64_t *owners,
                                int64_t *total)
{
    struct map edited;
    map_init(&edited, edit_key);
    for (uint32_t i = 0; i < d->edit_count; i++) {
        struct affiliation_edit *e = &d->edit[i];
        const struct affiliation_edit *before = map_del(&edited, e->jid);
        const struct affiliate *a = room_affiliate(r, e->jid);
        unsigned was = before != NULL ? before->affiliation : a != NULL ? a->affiliation : AFF_NONE;
        *owners += (e->affiliation == AFF_OWNER) - (was == AFF_OWNER);
        *total += (e->affiliation != AFF_NONE) - (was != AFF_NONE);
        map_put(&edited, e);
    }
    map_fini(&edited);
}

static bool is_too_long(const struct room *r, const struct room_delta *d)
{
    int64_t grows = 0;
    for (uint32_t i = 0; i < d->edit_count; i++)
        grows += room_edit_growth(r, &d->edit[i]);
    return grows > 0 && room_makers_bytes(r) + grows > setting_int(&muc_affiliations_bytes);
}

/* How many affiliations there will be, and how long their list; owners too. */
static enum err check_people(const struct room *r, const struct room_delta *d, bool stores)
{
    int64_t owners = r->owners, total = r->affiliates.count;
    change_count_people(r, d, &owners, &total);
    if (owners < 1 && r->owners > 0 && !d->ownerless)
        return E_CONFLICT; /* §10.4: the last owner stays */
    bool more = total > (int64_t)r->affiliates.count;
    if (total > setting_int(&muc_affiliations_max) && more)
        return E_LIMIT;
    if (is_too_long(r, d))
        return E_LIMIT;
    /* the rows of a room that becomes persistent are one transaction */
    return !r->stored && total > ROOM_EDITS_MAX && (more || stores) ? E_LIMIT : OK;
}

/* Whether nobody gets a nickname that another has, or two in this change get the same: two requests
 * for it may have been under way at once. */
static enum err check_names(const struct room *r, const struct room_delta *d)
{
    struct arena *tmp = room_scratch(r);
    struct map names;
    enum err e = OK;
    map_init(&names, map_key_slice);
    for (uint32_t i = 0; e == OK && i < d->edit_count; i++) {
        const struct affiliation_edit *edit = &d->edit[i];
        if (edit->nick.len == 0 || edit->affiliation <= AFF_NONE)
            continue;
        slice *one = arena_new(tmp, slice, 1);
        *one = nickname_key(edit->nick, tmp);
        if (map_get(&names, *one) != NULL || room_nick_reserved(r, edit->nick, edit->jid))
            e = E_EXISTS;
        else
            map_put(&names, one);
    }
    map_fini(&names);
    return e;
}

static void keep_newcomers(const struct room *r, struct room_delta *d)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < d->edit_count; i++)
        if (room_affiliation(r, d->edit[i].jid) == AFF_NONE)
            d->edit[n++] = d->edit[i];
    d->edit_count = n;
}

static enum err change_base_prepare(struct actor_change *base)
{
    struct room_change *c = (struct room_change *)base;
    struct room *r = room_of(base->actor);
    const struct room_delta *d = &c->delta;
    bool stores = d->config == NULL ? r->stored : d->config->persistent;
    ensure(room_here(r) && base->batch == NULL);

    if (r->state != ACTOR_READY)
        return E_NOTFOUND;
    if (d->newcomers)
        keep_newcomers(r, &c->delta);
    if (d->edit_count > ROOM_EDITS_MAX)
        return E_LIMIT;
    enum err e = check_people(r, d, stores);
    if (e == OK)
        e = check_names(r, d);
    if (e != OK)
        return e;
    if (!r->stored && (!stores || d->destroy))
        return OK;
    if (d->config == NULL && d->edit_count == 0 && !d->destroy)
        return OK;
    struct store_batch *b = base->batch = store_write(room_store(r), (uint64_t)r->id);
    c->submitted = true;
    r->beside = false;
    if (d->destroy || !stores) {
        room_store_remove(b, r);
        return OK;
    }
    if (!r->stored)
        room_store_all(b, r, d->config);
    else if (d->config != NULL)
        room_store_config(b, r, d->config);
    for (uint32_t i = 0; i < d->edit_count; i++)
        room_store_edit(b, r, &d->edit[i]);
    return OK;
}

static struct show change_shown(const struct room_change *c)
{
    return (struct show){ .actor_nick = c->delta.actor,
                          .reason = c->delta.reason,
                          .alternate = c->delta.alternate,
                          .password = c->delta.password };
}

static void change_tell(const struct room *r, enum event_kind kind)
{
    event_tell(r->worker, kind, r->jid, (const struct event_field[]){ { "jid", r->jid }, { 0 } });
}

/* §10.9: everybody leaves, and is told where to go. */
static void change_destroy(struct room_change *c)
{
    struct room *r = room_of(c->base.actor);
    struct show how = change_shown(c);
    ensure(room_is_pinned(r));
    how.destroyed = true;
    room_leave_all(r, &how);
    log_info(&log_muc, LOG_EV("room.destroyed"), LOG_S("room", r->jid), LOG_S("by", c->delta.by));
    if (r->stored) {
        room_archive_end(&r->archive);
        metric_add(&rooms_persistent_metric, -1);
        change_tell(r, EVENT_ROOM_DESTROYED);
        ROOM_EMIT(destroyed, r);
    }
    r->stored = false; /* it counts no more */
    room_end(r);
}

/* §10.2.1: what those who are in have to know. */
static void change_announce(struct room *r, unsigned diff)
{
    unsigned code[ROOM_CODES_MAX];
    /* the owner who configures a new room is told about privacy */
    unsigned n = room_diff_codes(r->locked ? diff & DIFF_PRIVACY : diff, &r->config, code);
    if (n > 0)
        room_announce(r, code, n);
}

static void apply_config(struct room_change *c)
{
    struct room *r = room_of(c->base.actor);
    struct room_config was = r->config;
    struct room_configured what = { .was = &was, .was_stored = r->stored };
    ensure(c->delta.config != NULL && room_is_pinned(r));

    r->config = *c->delta.config;
    mem_free(&c->delta.config);
    what.diff = room_config_diff(&was, &r->config);
    metric_add(&rooms_persistent_metric, (int)r->config.persistent - (int)r->stored);
    r->stored = r->config.persistent;
    if (what.was_stored && !r->stored) {
        room_archive_end(&r->archive);
        change_tell(r, EVENT_ROOM_DESTROYED);
    } else if (!what.was_stored && r->stored) {
        change_tell(r, EVENT_ROOM_CREATED);
        room_archive_begin(&r->archive);
        room_store_beside(r);
    }
    ROOM_EMIT(configured, r, &what);
    change_announce(r, what.diff);
    room_config_applied(r, what.diff);
    ROOM_EMIT(announced, r, &what);
    room_config_fini(&was);
}

static void apply_edit(struct room_change *c, const struct affiliation_edit *e)
{
    struct room *r = room_of(c->base.actor);
    struct show how = change_shown(c);
    const struct affiliate *before = room_affiliate(r, e->jid);
    struct room_affiliated what = { .jid = e->jid,
                                    .was = room_affiliation(r, e->jid),
                                    .is = e->affiliation,
                                    .was_registered = before != NULL && before->nick.len > 0,
                                    .applied = c->delta.applied,
                                    .quiet = c->delta.quiet,
                                    .by = c->delta.by };
    affiliate_put(r, e);
    if (e->reason.ptr != NULL)
        how.reason = e->reason;
    what.here = room_affiliation_changed(r, e->jid, &how);
    ROOM_EMIT(affiliated, r, &what);
}

/* Logs changes by occupants. Commands of operators are logged as commands. */
static void log_change(const struct room_change *c)
{
    const struct room *r = room_of(c->base.actor);
    const struct room_delta *d = &c->delta;
    if (d->by.len == 0 || d->destroy)
        return;
    if (d->config != NULL)
        log_info(&log_muc, LOG_EV("room.configured"), LOG_S("room", r->jid), LOG_S("by", d->by));
    if (d->edit_count > EDITS_LOGGED_MAX) {
        log_info(&log_muc, LOG_EV("room.affiliations"), LOG_S("room", r->jid),
                 LOG_I("count", d->edit_count), LOG_S("by", d->by));
        return;
    }
    for (uint32_t i = 0; i < d->edit_count; i++)
        log_info(&log_muc, LOG_EV("room.affiliation"), LOG_S("room", r->jid),
                 LOG_S("jid", d->edit[i].jid),
                 LOG_S("affiliation", affiliation_name(d->edit[i].affiliation)),
                 LOG_S("by", d->by));
}

static void change_apply_all(struct room_change *c)
{
    struct room *r = room_of(c->base.actor);
    const struct room_delta *d = &c->delta;
    log_change(c);
    if (d->destroy) {
        change_destroy(c);
        return;
    }
    if (d->config != NULL)
        apply_config(c);
    if (d->unlock) {
        r->locked = false;
        timer_cancel(&r->lock);
    }
    for (uint32_t i = 0; i < d->edit_count; i++)
        apply_edit(c, &d->edit[i]);
    room_makers_weigh(r);
}

static void change_base_end(struct actor_change *base, enum err e)
{
    struct room_change *c = (struct room_change *)base;
    struct room *r = room_of(base->actor);
    ensure(room_here(r) && r->changes_due >= c->due);
    if (e == E_CONFLICT &&
        c->submitted) /* a row count was not met: the limit of persistent rooms */
        e = E_AGAIN;
    r->changes_due -= c->due;
    if (c->delta.committed != NULL)
        c->delta.committed(r, e, c->arg);
    if (e == OK)
        change_apply_all(c);
    if (c->done != NULL)
        c->done(r, e, c->arg);
    change_free(c);
}

void room_commit(struct room *r, const struct room_delta *d, room_done_fn *done, void *arg)
{
    ensure(room_here(r));
    ensure(d->edit_count == 0 || d->edit != NULL);
    ensure(!d->destroy || d->config == NULL);
    struct room_change *c = change_create(d);
    c->base.prepare = change_base_prepare;
    c->base.apply = change_base_end;
    c->done = done;
    c->arg = arg;
    r->changes_due += c->due;
    actor_change(&r->actor, &c->base);
}

void room_turn(struct room *r, room_done_fn *fn, void *arg)
{
    static const struct room_delta nothing;
    if (r->changes_due == 0)
        fn(r, OK, arg);
    else
        room_commit(r, &nothing, fn, arg);
}

bool room_reconfigure(const struct room *r, const struct room_config *next, struct room_delta *d,
                      struct why *why)
{
    /* the form tells owners; administrators of group chat may set all else against the settings */
    if (next->persistent && !r->config.persistent && !setting_bool(&muc_persistent)) {
        why_set(why, "no new rooms are persistent here: the setting muc.persistent is off");
        return false;
    }
    /* a new room may be persistent by its configuration and not be stored yet */
    if (room_config_diff(&r->config, next) != 0 || next->persistent != r->stored) {
        d->config = mem_new(struct room_config);
        room_config_keep(d->config, next);
    }
    d->unlock = true;
    return true;
}
