#include "remote/foreign.h"
#include "base/ensure.h"
#include "codec/xml_elem.h"
#include "core/feature.h"
#include "home/here.h"
#include "home/host.h"
#include "home/remote.h"
#include "xmpp/ns.h"

bool foreign_is(const struct worker *w, slice domain)
{
    const struct node *n = worker_node(w);
    return !node_serves(n, domain) && host_find(n, domain, &(slice){ 0 }) == NULL &&
           !remote_known(w, domain) && !remote_expected(w, domain);
}

const struct foreign_ban *foreign_ban(struct worker *w, slice local, slice remote)
{
    const struct foreign_ban *ban = NULL;
    FEATURES_EACH (f, foreign.pair)
        if (ban == NULL)
            ban = f->foreign.pair(w, local, remote);
    return ban;
}

bool foreign_pair(struct worker *w, slice local, slice remote)
{
    return foreign_ban(w, local, remote) == NULL;
}

bool foreign_separates(struct worker *w, slice local, slice remote)
{
    return foreign_is(w, remote) && !foreign_pair(w, local, remote);
}

enum verdict foreign_arrives(struct worker *w, const struct stanza *st, struct refusal *why)
{
    ensure(worker_is_here(w) && st->from_len > 0);
    return feature_one.policy == NULL ? PASS : feature_one.policy->arrives(w, st, why);
}

/* again: nothing is counted. */
static struct edge_word foreign_judge(struct worker *w, const struct stanza *st, bool again)
{
    struct refusal why = { .error = SE_POLICY_VIOLATION, .again = again };
    enum verdict v = PASS;
    ensure(worker_is_here(w) && st->to_len > 0);
    if (feature_one.policy != NULL)
        v = feature_one.policy->leaves(w, st, &why);
    return v == PASS     ? (struct edge_word){ .bare = why.bare }
           : v == REFUSE ? (struct edge_word){ .error = why.error }
                         : (struct edge_word){ .silent = true };
}

enum verdict foreign_to_nobody(struct worker *w, const struct stanza *st, struct refusal *why)
{
    ensure(worker_is_here(w));
    return feature_one.policy == NULL ? PASS : feature_one.policy->to_nobody(w, st, why);
}

uint64_t foreign_pace_ms(const struct worker *w, slice remote)
{
    ensure(worker_is_here(w));
    return feature_one.policy == NULL ? 0 : feature_one.policy->pace_ms(w, remote);
}

struct edge_word foreign_leaves(struct worker *w, const struct stanza *st)
{
    return foreign_judge(w, st, false);
}

bool foreign_bars(struct worker *w, slice from, slice to)
{
    if (!foreign_pair(w, jid_split(from).domain, jid_split(to).domain))
        return false;
    struct stanza *probe =
        stanza_make(STANZA_PRESENCE, TYPE_PROBE, from, to, (slice){ 0 }, (slice){ 0 });
    struct edge_word word = foreign_judge(w, probe, true);
    stanza_unref(&probe);
    return !edge_word_goes(&word);
}

struct stanza *foreign_outward(struct worker *w, const struct stanza *st)
{
    ensure(worker_is_here(w));
    return feature_one.addresses == NULL ? NULL : feature_one.addresses->outward(w, st);
}

struct stanza *foreign_inward(struct worker *w, struct stanza *st)
{
    ensure(worker_is_here(w));
    return feature_one.addresses == NULL ? st : feature_one.addresses->inward(w, st);
}

slice foreign_known_by(slice bare, struct arena *tmp)
{
    return feature_one.addresses == NULL ? (slice){ 0 }
                                         : feature_one.addresses->known_by(bare, tmp);
}

void foreign_changed(struct worker *w) { EMIT(foreign.changed, w); }

bool foreign_is_ending(const struct stanza *st)
{
    return st->kind == STANZA_PRESENCE &&
           (st->type == TYPE_UNAVAILABLE || st->type == TYPE_UNSUBSCRIBE ||
            st->type == TYPE_UNSUBSCRIBED);
}

/* A room tells that one has left it (XEP-0045 §7.14): clients believe it by this alone. */
static bool is_own_leave(const struct stanza *st)
{
    struct elem x, e;
    if (st->kind != STANZA_PRESENCE || st->type != TYPE_UNAVAILABLE ||
        !stanza_child(st, KNOWN_MUC_USER, &x))
        return false;
    for (bool more = elem_first(&x, &e); more; more = elem_next(&e, &e))
        if (elem_is(&e, "status", NS_MUC_USER) && slice_is(elem_attr_raw(&e, "code"), "110"))
            return true;
    return false;
}

struct stanza *foreign_pass(struct stanza *st, const struct refusal *why)
{
    static const char left[] = "<x xmlns='" NS_MUC_USER "'><item affiliation='none' role='none'/>"
                               "<status code='110'/></x>";
    if (!why->bare || st->child_count == 0)
        return st;
    struct stanza *bare =
        stanza_make(st->kind, (enum stanza_type)st->type, stanza_from(st), stanza_to(st),
                    stanza_id(st), is_own_leave(st) ? slice_of(left) : (slice){ 0 });
    ensure(stage_is_alike(st, bare));
    stanza_unref(&st);
    return bare;
}

struct stanza *foreign_goes(struct stanza *st, const struct edge_word *word)
{
    ensure(edge_word_goes(word));
    return foreign_pass(st, &(struct refusal){ .bare = word->bare });
}

slice foreign_parent(const struct node *n, slice local)
{
    slice parent, rest = local;
    if (!node_serves(n, local) && host_find(n, local, &parent) != NULL)
        return parent;
    while (!node_serves(n, rest)) {
        slice label;
        if (!slice_cut(rest, '.', &label, &rest))
            return local;
    }
    ensure(rest.len > 0 && rest.len <= local.len);
    return rest;
}
