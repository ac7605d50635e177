#include "home/host.h"
#include "base/arena.h"
#include "base/ensure.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/setting.h"
#include "home/here.h"
#include "home/node.h"
#include <stdatomic.h>
#include <stdio.h>

static const struct host **hosts;
static unsigned host_count;

void hosts_clear(void)
{
    mem_free(&hosts);
    host_count = 0;
}

void hosts_add(const struct host *rows)
{
    for (const struct host *h = rows; h->label != NULL; h++) {
        ensure(h->label[0] != '\0');
        hosts = mem_realloc(hosts, (host_count + 1) * sizeof *hosts);
        hosts[host_count++] = h;
    }
}

static bool host_enabled(const struct host *h, slice parent)
{
    return h->enabled == NULL || setting_bool_of(h->enabled, parent);
}

const struct setting *hosts_switched_off(const char *category)
{
    for (size_t i = 0; i < host_count; i++)
        if (strcmp(hosts[i]->category, category) == 0 && hosts[i]->enabled != NULL &&
            !setting_bool_somewhere(hosts[i]->enabled))
            return hosts[i]->enabled;
    return NULL;
}

/* The other domains. A set is immutable once it is published; the one before it is freed when every
 * worker has passed by. */

struct other {
    slice domain, parent; /* parent: of the node, which lives longer */
    const struct host *host;
    bool listed;
    bool ended; /* it has been taken away: nothing is served there any more */
};
struct others {
    struct arena *arena;
    struct map domains;
};
static _Atomic(struct others *) others;

static slice other_key(const void *item) { return ((const struct other *)item)->domain; }

static struct others *others_now(void)
{
    return atomic_load_explicit(&others, memory_order_acquire);
}

static const struct other *other_find(slice domain)
{
    const struct others *o = others_now();
    return o == NULL ? NULL : map_get(&o->domains, domain);
}

static struct others *others_new(void)
{
    struct arena *arena = arena_create(0);
    struct others *o = arena_new(arena, struct others, 1);
    o->arena = arena;
    map_init(&o->domains, other_key);
    return o;
}

static void others_free(struct others *o)
{
    if (o == NULL)
        return;
    struct arena *arena = o->arena;
    map_fini(&o->domains);
    arena_destroy(&arena);
}

static void others_put(struct others *o, const struct other *in)
{
    if (o->domains.count >= HOST_DOMAINS_MAX || map_get(&o->domains, in->domain) != NULL)
        return;
    struct other *copy = arena_new(o->arena, struct other, 1);
    *copy = *in;
    copy->domain = slice_dup(o->arena, in->domain);
    map_put(&o->domains, copy);
}

static slice host_parent_of(const struct node *n, slice parent)
{
    for (unsigned i = 0; i < n->domain_count; i++)
        if (slice_eq(n->domains[i], parent))
            return n->domains[i];
    return n->domains[0];
}

/* Of those before: first what is served by other hosts, then what has ended, as far as there is
 * room. */
static void others_keep(struct others *is, const struct others *was, const struct host *h,
                        bool ended)
{
    const struct other *other;
    for (uint32_t i = 0; was != NULL && (other = map_next(&was->domains, &i)) != NULL;) {
        struct other kept = *other;
        kept.ended = other->ended || other->host == h;
        kept.listed = other->listed && !kept.ended;
        if (kept.ended == ended)
            others_put(is, &kept);
    }
}

struct replaced {
    struct others *was;
    gathered_fn *done;
    void *arg;
};

/* All of them have then seen the new table: they pass by here. */
static void pass_run(struct worker *w, void *message, const struct message_from *from)
{
    (void)w, (void)message, (void)from;
}

const struct message_row pass_message = {
    .id = 15,
    .scope = MESSAGE_PROCESS,
    .name = "pass",
    .size = sizeof(struct message_nothing),
    .fields = message_no_fields,
    .run = pass_run,
};

static void host_passed(struct worker *w, void *arg)
{
    struct replaced *r = arg;
    others_free(r->was);
    if (r->done != NULL)
        r->done(w, r->arg);
    mem_free(&r);
}

void host_domains_set(struct worker *w, const struct host *h, const struct host_domain *list,
                      unsigned count, gathered_fn *done, void *arg)
{
    struct others *was = others_now(), *is = others_new();
    struct replaced *r = mem_new(struct replaced);
    others_keep(is, was, h, false);
    for (unsigned i = 0; i < count; i++)
        others_put(is, &(struct other){ .domain = list[i].domain,
                                        .parent = host_parent_of(worker_node(w), list[i].parent),
                                        .host = h,
                                        .listed = list[i].listed });
    others_keep(is, was, h, true);
    atomic_store(&others, is);
    *r = (struct replaced){ was, done, arg };
    each_home(w, &pass_message, &(struct message_nothing){ 0 },
              &(struct asker){ .done = host_passed, .arg = r });
}

void host_domains_forget(void) { others_free(atomic_exchange(&others, NULL)); }

const struct host *host_labelled(slice label)
{
    for (unsigned i = 0; i < host_count; i++)
        if (slice_is(label, hosts[i]->label))
            return hosts[i];
    return NULL;
}

const struct host *host_find(const struct node *n, slice domain, slice *parent)
{
    slice label;
    const struct host *h;
    if (slice_cut(domain, '.', &label, parent) && node_serves(n, *parent) &&
        (h = host_labelled(label)) != NULL && host_enabled(h, *parent))
        return h;
    const struct other *other = other_find(domain);
    if (other == NULL || other->ended || !host_enabled(other->host, other->parent))
        return NULL;
    *parent = other->parent;
    return other->host;
}

bool host_has(const struct node *n, slice domain)
{
    slice label, parent;
    return other_find(domain) != NULL || (slice_cut(domain, '.', &label, &parent) &&
                                          node_serves(n, parent) && host_labelled(label) != NULL);
}

static bool host_is_listed(const struct host *h, slice parent)
{
    return h != NULL && !h->hidden && host_enabled(h, parent);
}

/* Its name is that of a service below a domain of ours, which is the one that answers: the domain
 * was not served when the alias was made. */
static bool other_is_hidden(const struct node *n, const struct other *other)
{
    slice label, parent;
    return slice_cut(other->domain, '.', &label, &parent) && node_serves(n, parent) &&
           host_is_listed(host_labelled(label), parent);
}

void host_each_listed(const struct node *n, slice parent, host_fn *fn, void *arg)
{
    const struct others *now = others_now();
    char domain[JID_PART_MAX + 1];
    for (unsigned i = 0; i < host_count; i++) {
        const struct host *h = hosts[i];
        int len = host_is_listed(h, parent)
                      ? snprintf(domain, sizeof domain, "%s.%.*s", h->label, SLICE_ARG(parent))
                      : 0;
        if (len > 0 && (size_t)len < sizeof domain)
            fn(h, (slice){ domain, (size_t)len }, arg);
    }
    const struct other *other;
    for (uint32_t i = 0; now != NULL && (other = map_next(&now->domains, &i)) != NULL;)
        if (other->listed && slice_eq(other->parent, parent) && host_enabled(other->host, parent) &&
            !other_is_hidden(n, other))
            fn(other->host, other->domain, arg);
}
