#include "presence/directed.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "base/mem.h"
#include "codec/xml_elem.h"
#include "home/jids.h"
#include "xmpp/stanza.h"
#include <stdlib.h>

struct setting directed_max = {
    .name = "presence.directed-max",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_INT,
    .def = 4096,
    .min = 16,
    .max = 65536,
    .unit = "addresses",
    .doc = "How many addresses a client may have sent its presence to without being subscribed: "
           "above all the rooms that it is in at a time. The server remembers them, some 100 bytes "
           "each, to tell them when the client leaves. More are refused with policy-violation.",
};

enum { FEW = 8 }; /* addresses of a place that are looked for one by one */

/* One address: a resource, or the bare JID where it is empty. */
struct directed_target {
    struct directed_target *next, **at; /* at: what points to it */
    uint16_t len;                       /* at most JID_PART_MAX */
    char resource[];
};
struct directed_place {
    struct directed_target *first; /* a room has one */
    struct map *by_resource;       /* NULL: FEW are enough so far */
    uint32_t kept;                 /* bytes of the presence that a room keeps */
    uint16_t len;                  /* at most JID_MAX */
    bool room, entered;            /* entered: the room has said so, and by which nickname */
    char bare[];
};

static slice place_key(const void *item)
{
    const struct directed_place *p = item;
    return (slice){ p->bare, p->len };
}

static slice target_resource(const struct directed_target *t)
{
    return (slice){ t->resource, t->len };
}

static slice target_key(const void *item) { return target_resource(item); }

static slice resource_of(slice jid) { return jid_split(jid).resource; }

static struct directed_place *place_find(const struct directed *d, slice bare)
{
    return d == NULL ? NULL : map_get(&d->by_bare, bare);
}

static struct directed_place *place_make(struct directed **d, slice bare)
{
    if (*d == NULL) {
        *d = mem_new(struct directed);
        map_init(&(*d)->by_bare, place_key);
    }
    struct directed_place *p = mem_zalloc(sizeof *p + bare.len);
    p->len = (uint16_t)bare.len;
    memcpy(p->bare, bare.ptr, bare.len);
    map_put(&(*d)->by_bare, p);
    (*d)->bytes += sizeof *p + bare.len;
    return p;
}

static slice place_address(const struct directed_place *p, const struct directed_target *t,
                           char *buf)
{
    memcpy(buf, p->bare, p->len);
    if (t->len == 0)
        return (slice){ buf, p->len };
    buf[p->len] = '/';
    memcpy(buf + p->len + 1, t->resource, t->len);
    return (slice){ buf, p->len + 1u + t->len };
}

static void place_tell(const struct directed_place *p, const struct directed_target *t, bool there,
                       const struct directed_news *news)
{
    char text[JID_MAX];
    if (news != NULL)
        news->fn(news->arg, place_address(p, t, text), there);
}

static void target_index(struct directed_place *p, struct directed_target *added)
{
    unsigned count = 0;
    if (p->by_resource != NULL) {
        map_put(p->by_resource, added);
        return;
    }
    for (struct directed_target *t = p->first; t != NULL; t = t->next)
        count++;
    if (count <= FEW)
        return;
    p->by_resource = mem_new(struct map);
    map_init(p->by_resource, target_key);
    for (struct directed_target *t = p->first; t != NULL; t = t->next)
        map_put(p->by_resource, t);
}

static void target_put(struct directed *d, struct directed_place *p, slice resource,
                       const struct directed_news *news)
{
    struct directed_target *t = mem_alloc(sizeof *t + resource.len);
    t->len = (uint16_t)resource.len;
    if (resource.len > 0)
        memcpy(t->resource, resource.ptr, resource.len);
    t->next = p->first;
    t->at = &p->first;
    if (t->next != NULL)
        t->next->at = &t->next;
    p->first = t;
    target_index(p, t);
    d->count++;
    d->bytes += sizeof *t + t->len;
    place_tell(p, t, true, news);
}

static void target_take(struct directed *d, struct directed_place *p, struct directed_target *t,
                        const struct directed_news *news)
{
    ensure(t != NULL && d->count > 0);
    place_tell(p, t, false, news);
    *t->at = t->next;
    if (t->next != NULL)
        t->next->at = t->at;
    if (p->by_resource != NULL)
        map_del(p->by_resource, target_resource(t));
    if (p->first == NULL && p->by_resource != NULL) {
        map_fini(p->by_resource);
        mem_free(&p->by_resource);
    }
    d->bytes -= sizeof *t + t->len;
    mem_free(&t);
    d->count--;
}

static void targets_clear(struct directed *d, struct directed_place *p,
                          const struct directed_news *news)
{
    while (p->first != NULL)
        target_take(d, p, p->first, news);
}

/* The last place takes the list with it. */
static void place_drop_if_empty(struct directed **d, struct directed_place *p)
{
    if (p->first != NULL)
        return;
    (*d)->bytes -= sizeof *p + p->len + p->kept;
    map_del(&(*d)->by_bare, place_key(p));
    mem_free(&p);
    if ((*d)->count > 0)
        return;
    map_fini(&(*d)->by_bare);
    mem_free(d);
}

static struct directed_target *target_find(const struct directed_place *p, slice resource)
{
    struct directed_target *t = p->first;
    if (p->by_resource != NULL)
        return map_get(p->by_resource, resource);
    while (t != NULL && !slice_eq(target_resource(t), resource))
        t = t->next;
    return t;
}

/* A room gets this nickname in the place of another one. */
static void target_replace(struct directed *d, struct directed_place *p, slice nick,
                           const struct directed_news *news)
{
    if (p->first != NULL && p->first->next == NULL && slice_eq(target_resource(p->first), nick))
        return;
    targets_clear(d, p, news);
    target_put(d, p, nick, news);
}

enum err directed_add(struct directed **d, slice jid, enum directed_kind kind,
                      const struct directed_news *news)
{
    slice resource = resource_of(jid);
    struct directed_place *p = place_find(*d, jid_bare_of(jid));
    bool more = p == NULL || (!p->room && target_find(p, resource) == NULL);
    if (more && *d != NULL && (*d)->count >= (uint64_t)setting_int(&directed_max))
        return E_LIMIT;
    if (p == NULL)
        p = place_make(d, jid_bare_of(jid));
    p->room = p->room || kind == DIRECTED_ROOM;
    if (p->room && p->first != NULL && (p->entered || resource.len == 0))
        return OK;
    if (p->room)
        target_replace(*d, p, resource, news);
    else if (target_find(p, resource) == NULL)
        target_put(*d, p, resource, news);
    return OK;
}

void directed_keeps(struct directed *d, slice jid, uint32_t bytes)
{
    struct directed_place *p = place_find(d, jid_bare_of(jid));
    if (p == NULL || !p->room)
        return;
    d->bytes = d->bytes - p->kept + bytes;
    p->kept = bytes;
}

void directed_remove(struct directed **d, slice jid, const struct directed_news *news)
{
    struct directed_place *p = place_find(*d, jid_bare_of(jid));
    if (p == NULL)
        return;
    struct directed_target *t = p->room ? p->first : target_find(p, resource_of(jid));
    if (t != NULL)
        target_take(*d, p, t, news);
    place_drop_if_empty(d, p);
}

static void place_free(struct directed *d, struct directed_place *p)
{
    targets_clear(d, p, NULL);
    mem_free(&p);
}

void directed_free(struct directed **d)
{
    struct directed_place *p;
    for (uint32_t i = 0; *d != NULL && (p = map_next(&(*d)->by_bare, &i)) != NULL;)
        place_free(*d, p);
    if (*d != NULL)
        map_fini(&(*d)->by_bare);
    mem_free(d);
}

/* What a room says of the presence that it sends (XEP-0045 §15.6.2). */
enum { OWN = 1, RENAMED = 2 };

static unsigned said_of(const struct stanza *st)
{
    struct elem x, e;
    unsigned said = 0;
    if (!stanza_child(st, KNOWN_MUC_USER, &x))
        return 0;
    for (bool more = elem_first(&x, &e); more; more = elem_next(&e, &e)) {
        slice code = slice_is(e.name, "status") ? elem_attr_raw(&e, "code") : (slice){ 0 };
        said |= slice_is(code, "110") ? OWN : slice_is(code, "303") ? RENAMED : 0;
    }
    return said;
}

/* By the nickname that the room says; above the limit it is forgotten. */
static void entered(struct directed **d, const struct stanza *st, enum directed_kind kind,
                    const struct directed_news *news)
{
    struct directed_place *p = place_find(*d, stanza_from_bare(st));
    slice nick = resource_of(stanza_from(st));
    if ((p == NULL ? kind == DIRECTED_USER : !p->room) || nick.len == 0)
        return;
    if (p == NULL && directed_add(d, stanza_from(st), kind, news) != OK)
        return;
    p = place_find(*d, stanza_from_bare(st));
    p->entered = true;
    target_replace(*d, p, nick, news);
}

void directed_answer(struct directed **d, const struct stanza *st, enum directed_kind kind,
                     const struct directed_news *news)
{
    if (st->type == TYPE_AVAILABLE) {
        if ((said_of(st) & OWN) != 0)
            entered(d, st, kind, news);
        return;
    }
    struct directed_place *p = place_find(*d, stanza_from_bare(st));
    if (p == NULL || (st->type != TYPE_UNAVAILABLE && st->type != TYPE_ERROR))
        return;
    unsigned said = st->type == TYPE_UNAVAILABLE ? said_of(st) : 0;
    if ((said & RENAMED) != 0 || (st->type == TYPE_ERROR && p->entered))
        return;
    if (target_find(p, resource_of(stanza_from(st))) != NULL || (p->room && (said & OWN) != 0))
        directed_remove(d, stanza_from(st), news);
}

bool directed_has(const struct directed *d, slice bare) { return place_find(d, bare) != NULL; }

bool directed_is_entered(const struct directed_at *at) { return at->place->entered; }

bool directed_next(const struct directed *d, struct directed_at *at, char *buf, slice *jid)
{
    if (d == NULL)
        return false;
    if (at->next == NULL) {
        at->place = map_next(&d->by_bare, &at->slot);
        if (at->place == NULL)
            return false;
        at->next = at->place->first;
    }
    const struct directed_target *t = at->next;
    at->next = t->next;
    *jid = place_address(at->place, t, buf);
    return true;
}

bool directed_reaches(const struct directed *d, slice jid)
{
    struct directed_place *p = place_find(d, jid_bare_of(jid));
    slice resource = resource_of(jid);
    return p != NULL && (p->room || resource.len == 0 || target_find(p, resource) != NULL ||
                         target_find(p, (slice){ 0 }) != NULL);
}

struct directed_saved {
    slice jid;
    uint32_t bits;
};

static int directed_order(const void *a, const void *b)
{
    return slice_compare(((const struct directed_saved *)a)->jid,
                         ((const struct directed_saved *)b)->jid);
}

void directed_save(const struct directed *d, struct buf *out, struct arena *tmp)
{
    char text[JID_MAX];
    slice jid;
    uint32_t n = 0;
    struct directed_saved *all = arena_new(tmp, struct directed_saved, d == NULL ? 0 : d->count);
    for (struct directed_at at = { 0 }; directed_next(d, &at, text, &jid);)
        all[n++] = (struct directed_saved){ slice_dup(tmp, jid),
                                            (at.place->room ? DIRECTED_IS_ROOM : 0u) |
                                                (at.place->entered ? DIRECTED_ENTERED : 0u) };
    if (n > 0)
        qsort(all, n, sizeof *all, directed_order);
    for (uint32_t i = 0; i < n; i++)
        jids_add(out, all[i].jid, all[i].bits);
}

void directed_load(struct directed **d, slice packed)
{
    slice jid;
    uint32_t bits;
    while (jids_next(&packed, &jid, &bits)) {
        bool room = (bits & DIRECTED_IS_ROOM) != 0;
        if (directed_add(d, jid, room ? DIRECTED_ROOM : DIRECTED_USER, NULL) != OK)
            return;
        place_find(*d, jid_bare_of(jid))->entered |= (bits & DIRECTED_ENTERED) != 0;
    }
}
