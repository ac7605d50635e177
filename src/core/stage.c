#include "core/stage.h"
#include "account/account.h"
#include "base/ensure.h"
#include "base/mem.h"
#include "core/feature.h"
#include "core/stage_wait.h"
#include "home/trail.h"

/* The functions of each stage, ended by NULL: a message passes all of them. */
static stage_check_fn **checks;
static stage_block_fn **blocks;
static stage_takes_fn **takes;
static stage_archive_fn **archives;
static stage_sends_fn **send_fns;
static stage_view_fn **views;
static stage_show_fn **shows;
static stage_permit_fn **permits;
static stage_passage_fn **carbons;
static stage_hold_fn **hold_fns;

#define GATHER(into, member)                                                                       \
    do {                                                                                           \
        unsigned n_ = 0;                                                                           \
        mem_free(&(into));                                                                         \
        (into) = mem_zalloc((FEATURES_COUNT(member) + 1) * sizeof *(into));                        \
        FEATURES_EACH (each, member)                                                               \
            (into)[n_++] = each->member;                                                           \
        ensure(n_ == FEATURES_COUNT(member));                                                      \
    } while (0)

void stages_set(void)
{
    GATHER(checks, stage.check);
    GATHER(blocks, stage.block);
    GATHER(takes, stage.takes);
    GATHER(archives, stage.archive);
    GATHER(send_fns, stage.sends);
    GATHER(views, stage.view);
    GATHER(shows, stage.show);
    GATHER(permits, stage.permit);
    GATHER(carbons, stage.carbon);
    GATHER(hold_fns, stage.hold);
}

/* A feature adds and removes children. Where a stanza goes is its sender's word: directed presence
 * that lost its `to` would be a broadcast (RFC 6121 §4.6.3). */
bool stage_is_alike(const struct stanza *before, const struct stanza *after)
{
    return before->kind == after->kind && before->type == after->type &&
           slice_eq(stanza_to(before), stanza_to(after)) &&
           slice_eq(stanza_from(before), stanza_from(after));
}

enum verdict stage_check(struct session *s, struct stanza **st, struct refusal *why, unsigned *at)
{
    enum verdict v = PASS;
    struct stanza *before = stanza_ref(*st);
    while (v == PASS && checks[*at] != NULL) {
        v = checks[(*at)++](s, st, why);
        if (v == WAIT)
            v = stage_wait_asked(s->account->worker, st, why);
    }
    ensure(before == *st || stage_is_alike(before, *st));
    stanza_unref(&before);
    return v;
}

enum verdict stage_block(struct account *a, const struct stanza *st, struct refusal *why)
{
    enum verdict v = PASS;
    if (blocks[0] == NULL || slice_eq(stanza_from_bare(st), a->jid))
        return PASS;
    for (stage_block_fn **fn = blocks; v == PASS && *fn != NULL; fn++)
        v = (*fn)(a, st, why);
    return v;
}

enum stage_since stage_since(struct account *a, const struct stanza *st)
{
    enum stage_since since = SINCE_FREE;
    if (blocks[0] == NULL || slice_eq(stanza_from_bare(st), a->jid))
        return SINCE_FREE;
    for (stage_block_fn **fn = blocks; *fn != NULL; fn++) {
        struct refusal why = { .error = SE_SERVICE_UNAVAILABLE, .again = true };
        if ((*fn)(a, st, &why) == PASS || why.error != SE_SERVICE_UNAVAILABLE)
            continue;
        if (!why.for_now)
            return SINCE_BLOCKED;
        since = SINCE_WAITS;
    }
    return since;
}

bool stage_takes(const struct session *s, const struct stanza *st)
{
    for (stage_takes_fn **fn = takes; *fn != NULL; fn++)
        if (!(*fn)(s, st))
            return false;
    return true;
}

enum verdict stage_archive(struct account *a, const struct stanza *st, slice contact, unsigned *at)
{
    enum verdict v = PASS;
    while (v == PASS && archives[*at] != NULL) {
        v = archives[(*at)++](a, st, contact);
        if (v == WAIT)
            v = stage_wait_asked(a->worker, NULL, NULL);
    }
    ensure(v != REFUSE);
    return v;
}

bool stage_sends(const struct account *a, const struct stanza *st)
{
    for (stage_sends_fn **fn = send_fns; *fn != NULL; fn++)
        if (!(*fn)(a, st))
            return false;
    return true;
}

bool stage_view(const struct session *s, slice contact)
{
    if ((views[0] == NULL && !s->hidden) || slice_eq(contact, session_bare(s)))
        return true;
    if (s->hidden)
        return false;
    for (stage_view_fn **fn = views; *fn != NULL; fn++)
        if (!(*fn)(s, contact))
            return false;
    return true;
}

bool stage_show(const struct account *a, slice contact)
{
    if (shows[0] == NULL || slice_eq(contact, a->jid))
        return true;
    for (stage_show_fn **fn = shows; *fn != NULL; fn++)
        if (!(*fn)(a, contact))
            return false;
    return true;
}

bool stage_permit(const struct account *a, slice contact)
{
    for (stage_permit_fn **fn = permits; *fn != NULL; fn++)
        if ((*fn)(a, contact))
            return true;
    return false;
}

bool stage_kept(struct account *a, const struct passage *p)
{
    ensure(account_here(a));
    return feature_one.archive != NULL && feature_one.archive->kept(a, p);
}

void stage_carbon(struct account *a, const struct passage *p)
{
    for (stage_passage_fn **fn = carbons; *fn != NULL; fn++)
        (*fn)(a, p);
}

void stage_push(struct account *a, const struct passage *p) { EMIT_ONE(push, passed, a, p); }

enum hold stage_hold(struct session *s, const struct stanza *st)
{
    enum hold strongest = hold_fns[0] == NULL ? HOLD_SEND : HOLD_DROP;
    for (stage_hold_fn **fn = hold_fns; *fn != NULL; fn++) {
        enum hold h = (*fn)(s, st);
        strongest = h > strongest ? h : strongest;
    }
    return strongest;
}

void stage_refuse(struct worker *w, struct stanza *st, const struct refusal *why)
{
    struct stanza *reply =
        stanza_make_error_with(st, why->error, why->type, why->text, why->app_xml);
    if (reply != NULL)
        trail_note(st, "refused", stanza_error_name(why->error), (slice){ 0 });
    route_send(w, reply);
    stanza_unref(&st);
}
