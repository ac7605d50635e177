#include "im/foreign.h"
#include "base/ensure.h"
#include "codec/xml_elem.h"
#include "home/here.h"
#include "home/host.h"
#include "home/question.h"
#include "home/remote.h"
#include "im/account.h"
#include "im/contact_name.h"
#include "im/feature.h"
#include "xmpp/ns.h"
#include <stdatomic.h>

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
    enum verdict v = PASS;
    ensure(worker_is_here(w) && st->from_len > 0);
    FEATURES_EACH (f, foreign.arrives)
        if (v == PASS)
            v = f->foreign.arrives(w, st, why);
    return v;
}

/* By which address its sender is known where it goes. At the home of that. */
static enum stanza_named leaves_named(struct worker *w, const struct stanza *st)
{
    const struct account *a;
    if (st->named != NAMED_USUAL || !foreign_renames(w, stanza_from_bare(st)))
        return (enum stanza_named)st->named;
    a = account_find(w, stanza_from_bare(st));
    return a == NULL ? NAMED_USUAL : contact_name_of(a->roster, st);
}

struct edge_word foreign_leaves(struct worker *w, const struct stanza *st, bool again)
{
    struct refusal why = { .error = SE_POLICY_VIOLATION, .again = again };
    enum verdict v = PASS;
    ensure(worker_is_here(w) && st->to_len > 0);
    FEATURES_EACH (f, foreign.leaves)
        if (v == PASS)
            v = f->foreign.leaves(w, st, &why);
    return v == PASS     ? (struct edge_word){ .bare = why.bare, .named = leaves_named(w, st) }
           : v == REFUSE ? (struct edge_word){ .error = why.error }
                         : (struct edge_word){ .silent = true };
}

enum verdict foreign_to_nobody(struct worker *w, const struct stanza *st, struct refusal *why)
{
    enum verdict v = PASS;
    FEATURES_EACH (f, foreign.to_nobody)
        if (v == PASS)
            v = f->foreign.to_nobody(w, st, why);
    return v;
}

uint64_t foreign_pace_ms(const struct worker *w, slice remote)
{
    uint64_t ms = 0, most = 0;
    FEATURES_EACH (f, foreign.pace_ms) {
        ms = f->foreign.pace_ms(w, remote);
        most = ms > most ? ms : most;
    }
    return most;
}

bool foreign_bars(struct worker *w, slice from, slice to)
{
    if (!foreign_pair(w, jid_split(from).domain, jid_split(to).domain))
        return false;
    struct stanza *probe =
        stanza_make(STANZA_PRESENCE, TYPE_PROBE, from, to, (slice){ 0 }, (slice){ 0 });
    struct edge_word word = foreign_leaves(w, probe, true);
    stanza_unref(&probe);
    return !edge_word_goes(&word);
}

struct stanza *foreign_outward(struct worker *w, const struct stanza *st)
{
    struct stanza *other = NULL;
    ensure(worker_is_here(w));
    FEATURES_EACH (f, foreign.outward)
        if (other == NULL)
            other = f->foreign.outward(w, st);
    return other;
}

struct stanza *foreign_inward(struct worker *w, struct stanza *st)
{
    ensure(worker_is_here(w));
    FEATURES_EACH (f, foreign.inward)
        st = f->foreign.inward(w, st);
    return st;
}

bool foreign_renames(struct worker *w, slice bare)
{
    FEATURES_EACH (f, foreign.renames)
        if (f->foreign.renames(w, bare))
            return true;
    return false;
}

slice foreign_known_by(slice bare, struct arena *tmp)
{
    slice account = { 0 };
    FEATURES_EACH (f, foreign.known_by)
        if (account.ptr == NULL)
            account = f->foreign.known_by(bare, tmp);
    return account;
}

enum err foreign_known_in(struct store *store, slice bare, slice but, struct arena *arena,
                          slice *owner)
{
    enum err e = OK;
    *owner = (slice){ 0 };
    FEATURES_EACH (f, foreign.known_in)
        if (e == OK && owner->ptr == NULL)
            e = f->foreign.known_in(store, bare, but, arena, owner);
    return e;
}

static _Atomic uint64_t version;

uint64_t foreign_version(void) { return atomic_load(&version); }

void foreign_version_grows(struct worker *w)
{
    atomic_fetch_add(&version, 1);
    EMIT(foreign.version_grown, w);
}

static void version_run(struct worker *w, void *message, const struct message_from *from)
{
    (void)message, (void)from;
    foreign_version_grows(w);
}

const struct message_row foreign_version_message = {
    .id = 131,
    .scope = MESSAGE_CLUSTER,
    .name = "foreign-version",
    .size = sizeof(struct message_nothing),
    .fields = message_no_fields,
    .run = version_run,
};

void foreign_version_grows_everywhere(struct worker *w)
{
    foreign_version_grows(w);
    each_home(w, &foreign_version_message, &(struct message_nothing){ 0 }, &(struct asker){ 0 });
}

/* All are told behind what this worker has let go by the old rules. */
void foreign_changed(struct worker *w)
{
    foreign_version_grows_everywhere(w);
    EMIT(foreign.before_changed, w);
    EMIT(foreign.changed, w);
}

bool foreign_is_farewell(const struct stanza *st)
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
    bare->named = st->named;
    ensure(stage_is_alike(st, bare));
    stanza_unref(&st);
    return bare;
}

struct stanza *foreign_goes(struct stanza *st, const struct edge_word *word)
{
    ensure(edge_word_goes(word));
    st = foreign_pass(st, &(struct refusal){ .bare = word->bare });
    if (st->named == word->named)
        return st;
    struct stanza *named = stanza_readdress(st, (slice){ 0 }, (slice){ 0 }); /* others have st */
    named->named = (uint8_t)word->named;
    stanza_unref(&st);
    return named;
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
