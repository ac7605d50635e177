#include "im/remote.h"
#include "base/hash.h"
#include "base/mem.h"
#include "home/message.h"
#include "home/worker.h"
#include "im/gate.h"
#include "im/router.h"

struct remote {
    uint64_t link[REMOTE_LINKS_MAX];
    uint8_t count; /* at most REMOTE_LINKS_MAX */
    uint16_t len;
    char domain[];
};

static slice domain_of(const void *item)
{
    const struct remote *r = item;
    return (slice){ r->domain, r->len };
}

void remote_init(struct worker *w) { map_init(&w->remotes, domain_of); }

void remote_fini(struct worker *w)
{
    struct remote *r;
    for (uint32_t i = 0; (r = map_next(&w->remotes, &i)) != NULL;)
        mem_free(&r);
    map_fini(&w->remotes);
}

bool remote_known(const struct worker *w, slice domain)
{
    return map_get(&w->remotes, domain) != NULL;
}

void remote_each(const struct worker *w, remote_fn *fn, void *arg)
{
    struct remote *r;
    for (uint32_t i = 0; (r = map_next(&w->remotes, &i)) != NULL;)
        fn(domain_of(r), r->count, arg);
}

/* The change of a link, on its way through all workers. */
struct announcement {
    uint64_t link;
    enum remote_change change;
    enum err err;
    remote_done_fn *done;
    size_t len;
    char domain[];
};

static enum err add(struct worker *w, const struct announcement *n)
{
    slice domain = { n->domain, n->len };
    struct remote *r = map_get(&w->remotes, domain);
    if (r != NULL && r->count == REMOTE_LINKS_MAX)
        return E_LIMIT;
    if (r == NULL) {
        r = mem_zalloc(sizeof *r + domain.len);
        r->len = (uint16_t)domain.len;
        memcpy(r->domain, domain.ptr, domain.len);
        map_put(&w->remotes, r);
    }
    r->link[r->count++] = n->link;
    return OK;
}

static void remove_link(struct worker *w, const struct announcement *n)
{
    slice domain = { n->domain, n->len };
    struct remote *r = map_get(&w->remotes, domain);
    for (unsigned i = 0; r != NULL && i < r->count; i++) {
        if (r->link[i] != n->link)
            continue;
        memmove(&r->link[i], &r->link[i + 1], (r->count - i - 1u) * sizeof r->link[0]);
        r->count--;
        break;
    }
    if (r != NULL && r->count == 0) {
        map_del(&w->remotes, domain);
        mem_free(&r);
    }
}

static void announce_here(struct worker *w, void *arg)
{
    struct announcement *n = arg;
    if (n->change == REMOTE_DOWN)
        remove_link(w, n);
    else if (n->err == OK) /* the first worker has the word: all have the same list */
        n->err = add(w, n);
}

static void announced(struct worker *w, void *arg)
{
    struct announcement *n = arg;
    if (n->done != NULL)
        n->done(w, n->link, n->err);
    mem_free(&n);
}

void remote_announce(struct worker *w, slice domain, uint64_t link, enum remote_change change,
                     remote_done_fn *done)
{
    struct announcement *n = mem_alloc(sizeof *n + domain.len);
    *n = (struct announcement){ .link = link, .change = change, .done = done, .len = domain.len };
    memcpy(n->domain, domain.ptr, domain.len);
    node_tour(w, announce_here, announced, n);
}

struct remote_sent {
    struct stanza *st;
    uint64_t link;
};

static void remote_run(struct worker *w, void *message, const struct message_from *from)
{
    struct remote_sent *sent = message;
    struct stanza *st = sent->st;
    (void)from;
    sent->st = NULL;
    w->node->gate->remote(w, sent->link, st);
}

static const struct message_field remote_fields[] = {
    F_STANZA(struct remote_sent, st),
    F_U64(struct remote_sent, link),
    { 0 },
};
const struct message_row remote_message = {
    .id = 9,
    .scope = MESSAGE_PROCESS,
    .name = "remote",
    .size = sizeof(struct remote_sent),
    .fields = remote_fields,
    .run = remote_run,
};

void remote_send(struct worker *w, slice domain, struct stanza *st)
{
    const struct remote *r = map_get(&w->remotes, domain);
    uint64_t pair = hash_keyed(stanza_from_bare(st)) ^ hash_keyed(stanza_to_bare(st)) * 3;
    uint64_t link = r->link[pair % r->count];
    unsigned worker = link & 0xffff;
    if (worker == w->index) {
        w->node->gate->remote(w, link, st);
        return;
    }
    home_send_to(w, 0, worker, &remote_message, &(struct remote_sent){ st, link });
}

void remote_bounce(struct worker *w, struct stanza *st)
{
    route_error(w, st, SE_REMOTE_SERVER_TIMEOUT, SLICE("the connection to this domain broke"));
    stanza_unref(&st);
}
