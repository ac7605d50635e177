/* owner: what the owner of a room asks of it by IQ (XEP-0045 §10.1, §10.2, §10.9): its
 * configuration as a form, an answer to that, the end of the room. */
#include "base/arena.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "base/map.h"
#include "base/mem.h"
#include "codec/xml_elem.h"
#include "codec/xml_write.h"
#include "core/feature.h"
#include "muc/muc.h"
#include "muc/people/affiliation.h"
#include "muc/people/find.h"
#include "muc/people/portion.h"
#include "muc/people/show.h"
#include "muc/room/config.h"
#include "muc/room/config_form.h"
#include "muc/room/part.h"
#include "muc/room/room.h"
#include "muc/room/rooms.h"
#include "muc/room/settings.h"
#include "muc/state/change.h"
#include "muc/talk/answer.h"
#include "xmpp/form.h"
#include "xmpp/jid.h"
#include "xmpp/muc.h"
#include "xmpp/ns.h"

/* A request on its way; in the arena of its held IQ. */
struct request {
    struct iq *iq;
    enum room_editor by;
};

/* Whether the request is for its sender to make (§10.2, §10.9: else forbidden). If not, it is
 * answered. */
static bool admitted(struct request *q, const struct room *r, enum affiliation_act act)
{
    slice bare = stanza_from_bare(q->iq->st);
    q->by = muc_is_administrator(bare) ? EDITOR_ADMIN : EDITOR_OWNER;
    if (affiliation_may(room_affiliation(r, bare), act))
        return true;
    iq_error(q->iq, SE_FORBIDDEN, SLICE("only owners of the room may do that"));
    return false;
}

/* The form. */

static const slice *people_of(const struct room *r, enum affiliation a, unsigned *count,
                              struct arena *tmp)
{
    struct affiliate *one;
    unsigned n = 0;
    for (uint32_t i = 0; (one = map_next(&r->affiliates, &i)) != NULL;)
        n += one->affiliation == a;
    slice *jid = arena_new(tmp, slice, n + 1);
    *count = 0;
    for (uint32_t i = 0; (one = map_next(&r->affiliates, &i)) != NULL;)
        if (one->affiliation == a)
            jid[(*count)++] = one->jid;
    ensure(*count == n);
    return jid;
}

static void owner_get(struct iq *iq)
{
    struct room *r = room_of_iq(iq);
    struct request q = { .iq = iq };
    struct room_people people = { .has_owners = true, .has_admins = true };
    struct buf out;
    struct xml_write x;
    if (!admitted(&q, r, ACT_CONFIGURE))
        return;
    people.owner = people_of(r, AFF_OWNER, &people.owner_count, iq->tmp);
    people.admin = people_of(r, AFF_ADMIN, &people.admin_count, iq->tmp);
    xml_begin(&x, &out, XML_STANZA_MAX);
    xml_open(&x, "query", NS_MUC_OWNER);
    room_config_form(&x, &r->config, &people, r->jid, q.by);
    iq_result_xml(iq, &x);
}

/* Those whom the form names, or names no longer (§10.2): a former owner is an administrator, a
 * former administrator a member, unless the other list says where they are. */

static void owner_name(struct map *named, const slice *list, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        if (map_get(named, list[i]) == NULL)
            map_put(named, (void *)&list[i]);
}

/* The affiliation of each user while the edits are gathered. A room may have far more people than
 * one change may have edits. */
struct edits {
    const struct room *room;
    const struct room_people *people;
    struct map owners, admins; /* sets: those whom the form names */
    struct map edited;         /* the edits by JID */
    struct affiliation_edit *edit;
    uint32_t count; /* at most one more than room_commit() takes, which is refused */
};

static enum affiliation affiliation_by(const struct edits *e, slice jid, enum affiliation is)
{
    const struct room_people *p = e->people;
    if (p->has_owners && map_get(&e->owners, jid) != NULL)
        return AFF_OWNER;
    if (p->has_owners && is == AFF_OWNER)
        is = AFF_ADMIN;
    else if (is == AFF_OWNER)
        return is;
    if (p->has_admins && map_get(&e->admins, jid) != NULL)
        return AFF_ADMIN;
    return p->has_admins && is == AFF_ADMIN ? AFF_MEMBER : is;
}

static slice owner_edit_key(const void *item)
{
    return ((const struct affiliation_edit *)item)->jid;
}

static void add_edits(struct edits *e, const slice *jid, unsigned count)
{
    for (unsigned i = 0; i < count && e->count <= ROOM_EDITS_MAX; i++) {
        const struct affiliate *known = room_affiliate(e->room, jid[i]);
        enum affiliation is = known != NULL ? (enum affiliation)known->affiliation : AFF_NONE;
        enum affiliation to = affiliation_by(e, jid[i], is);
        if (to == is || map_get(&e->edited, jid[i]) != NULL)
            continue;
        e->edit[e->count] = room_edit(e->room, jid[i], to);
        map_put(&e->edited, &e->edit[e->count++]);
    }
}

static void edit_people(struct edits *e, struct arena *tmp)
{
    const struct room_people *p = e->people;
    unsigned owners, admins;
    if (!p->has_owners && !p->has_admins)
        return;
    const slice *owner = people_of(e->room, AFF_OWNER, &owners, tmp);
    const slice *admin = people_of(e->room, AFF_ADMIN, &admins, tmp);
    unsigned most = owners + admins + p->owner_count + p->admin_count;
    e->edit =
        arena_new(tmp, struct affiliation_edit, most <= ROOM_EDITS_MAX ? most : ROOM_EDITS_MAX + 1);
    map_init(&e->owners, map_key_slice);
    map_init(&e->admins, map_key_slice);
    map_init(&e->edited, owner_edit_key);
    owner_name(&e->owners, p->owner, p->owner_count);
    owner_name(&e->admins, p->admin, p->admin_count);
    add_edits(e, p->owner, p->owner_count);
    add_edits(e, p->admin, p->admin_count);
    add_edits(e, owner, owners);
    add_edits(e, admin, admins);
    map_fini(&e->owners);
    map_fini(&e->admins);
    map_fini(&e->edited);
}

/* Changes. */

static void owner_answer(struct iq *iq, enum err e)
{
    if (e == E_LIMIT) /* §10.1.3: it violates a policy of the service */
        iq_error(iq, SE_NOT_ACCEPTABLE,
                 SLICE("too many people would have an affiliation with this room"));
    else if (e == E_AGAIN)
        iq_error(iq, SE_NOT_ACCEPTABLE,
                 SLICE("there are as many persistent rooms as there may be"));
    else
        room_answer(iq, e);
}

static void owner_shown(struct room *r, enum err e, void *arg)
{
    const struct request *q = arg;
    (void)r;
    ensure(q->iq->held);
    owner_answer(q->iq, e);
}

/* §10.2.1: those who are in the room are told first. */
static void owner_changed(struct room *r, enum err e, void *arg)
{
    if (e == OK)
        room_when_shown(r, owner_shown, arg);
    else
        owner_shown(r, e, arg);
}

/* The nickname of who asks, if in the room. */
static slice owner_nick_of(const struct request *q, const struct room *r)
{
    const struct seat *s = room_seat(r, stanza_from(q->iq->st));
    return s == NULL ? (slice){ 0 } : occupant_shown_nick(s->occupant);
}

static void configure(struct request *q, struct room *r, struct form *f)
{
    struct iq *iq = q->iq;
    struct room_config next = r->config;
    struct room_people people;
    struct edits edits = { .room = r, .people = &people };
    next.own = NULL;
    if (!room_config_read(&next, &people, f, q->by)) {
        iq_error(iq, f->error, f->text);
        return;
    }
    edit_people(&edits, iq->tmp);
    struct room_delta d = { .edit = edits.edit,
                            .edit_count = edits.count,
                            .actor = owner_nick_of(q, r),
                            .by = stanza_from_bare(iq->st) };
    struct why why;
    if (room_reconfigure(r, &next, &d, &why))
        room_commit(r, &d, owner_changed, q);
    else
        iq_error(iq, SE_NOT_ACCEPTABLE, slice_of(why.text));
}

/* §10.1.3: canceling the first configuration destroys the room. */
static void owner_cancel(struct request *q, struct room *r)
{
    struct room_delta gone = { .destroy = true, .by = stanza_from_bare(q->iq->st) };
    if (r->locked)
        room_commit(r, &gone, owner_changed, q);
    else
        owner_answer(q->iq, OK);
}

static void owner_destroy(struct request *q, struct room *r, const struct elem *e)
{
    struct arena *tmp = q->iq->tmp;
    struct room_delta d = { .destroy = true,
                            .actor = owner_nick_of(q, r),
                            .by = stanza_from_bare(q->iq->st) };
    struct elem child;
    struct jid venue;
    slice jid = elem_attr(e, "jid", tmp);
    if (jid.len > 0 && jid_parse(&venue, jid, tmp) != OK) {
        iq_error(q->iq, SE_JID_MALFORMED, SLICE("'jid' of <destroy/> is not an address"));
        return;
    }
    if (jid.len > 0)
        d.alternate = venue.full;
    if (elem_child(e, "reason", NS_MUC_OWNER, &child))
        d.reason = elem_text(&child, tmp);
    if (elem_child(e, "password", NS_MUC_OWNER, &child))
        d.password = elem_text(&child, tmp);
    if (d.reason.len > ROOM_TEXT_MAX || d.password.len > ROOM_TEXT_MAX) /* all are told */
        iq_error(q->iq, SE_NOT_ACCEPTABLE, SLICE("the reason or the password is too long"));
    else
        room_commit(r, &d, owner_changed, q);
}

static unsigned count_destroy(const struct elem *query)
{
    struct elem e;
    unsigned n = 0;
    for (bool more = elem_first(query, &e); more; more = elem_next(&e, &e))
        n += elem_is(&e, "destroy", NS_MUC_OWNER);
    return n;
}

/* A form is read against the configuration that it changes. */
static void owner_run(struct room *r, enum err err, void *arg)
{
    struct request *q = arg;
    struct iq *iq = q->iq;
    struct elem e;
    struct form f;
    bool ends = elem_child(&iq->payload, "destroy", NS_MUC_OWNER, &e);
    ensure(room_here(r) && iq->held);
    if (err != OK) {
        owner_answer(iq, err);
        return;
    }
    if (!admitted(q, r, ends ? ACT_DESTROY : ACT_CONFIGURE))
        return;
    if (count_destroy(&iq->payload) > 1)
        iq_error(iq, SE_BAD_REQUEST, SLICE("a room ends once"));
    else if (ends)
        owner_destroy(q, r, &e);
    else if (!form_parse_child(&f, &iq->payload, iq->tmp))
        iq_error(iq, SE_BAD_REQUEST,
                 f.error != SE_NONE ? f.text : SLICE("neither a form nor <destroy/> is there"));
    else if (f.kind == FORM_CANCEL)
        owner_cancel(q, r);
    else
        configure(q, r, &f);
}

static void owner_set(struct iq *iq)
{
    struct room *r = room_of_iq(iq);
    if (r == NULL)
        return;
    struct iq *held = iq_hold(iq);
    struct request *q = arena_new(held->tmp, struct request, 1);
    q->iq = held;
    room_turn(r, owner_run, q);
}

static const struct iq_rule rules[] = {
    { TYPE_GET, NS_MUC_OWNER, "query", IQ_TO_ROOM, owner_get },
    { TYPE_SET, NS_MUC_OWNER, "query", IQ_TO_ROOM, owner_set },
    { 0 },
};

const struct feature muc_owner_feature = {
    .name = "muc_owner",
    .iq = rules,
};
