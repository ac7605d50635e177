#include "home/remote.h"
#include "base/ensure.h"
#include "base/hash.h"
#include "base/mem.h"
#include "home/ask.h"
#include "home/connection.h"
#include "home/duty.h"
#include "home/edge.h"
#include "home/message.h"
#include "home/node.h"
#include "home/question.h"
#include "home/router.h"
#include "home/worker.h"
#include "xmpp/jid.h"

struct remote {
    struct remote_link link[REMOTE_LINKS_MAX]; /* by node and id */
    uint8_t count;                             /* at most REMOTE_LINKS_MAX */
    uint16_t len;
    char domain[];
};

static slice remote_domain_of(const void *item)
{
    const struct remote *r = item;
    return (slice){ r->domain, r->len };
}

void remote_init(struct worker *w)
{
    map_init(&w->remotes, remote_domain_of);
    map_init(&w->expected, map_key_slice);
}

void remote_fini(struct worker *w)
{
    struct remote *r;
    for (uint32_t i = 0; (r = map_next(&w->remotes, &i)) != NULL;)
        mem_free(&r);
    map_fini(&w->remotes);
    slice *expected;
    for (uint32_t i = 0; (expected = map_next(&w->expected, &i)) != NULL;)
        mem_free(&expected);
    map_fini(&w->expected);
}

bool remote_known(const struct worker *w, slice domain)
{
    return map_get(&w->remotes, domain) != NULL;
}

bool remote_expected(const struct worker *w, slice domain)
{
    return map_get(&w->expected, domain) != NULL;
}

void remote_expect(struct worker *w, slice domain, bool on)
{
    slice *known = map_get(&w->expected, domain);
    if (on && known == NULL && w->expected.count < REMOTE_EXPECTED_MAX) {
        known = mem_alloc(sizeof *known + domain.len);
        *known = (slice){ (char *)(known + 1), domain.len };
        memcpy(known + 1, domain.ptr, domain.len);
        map_put(&w->expected, known);
    } else if (!on && known != NULL) {
        map_del(&w->expected, domain);
        mem_free(&known);
    }
}

void remote_each_expected(const struct worker *w, remote_expected_fn *fn, void *arg)
{
    const slice *known;
    for (uint32_t i = 0; (known = map_next(&w->expected, &i)) != NULL;)
        fn(*known, arg);
}

void remote_each(const struct worker *w, remote_fn *fn, void *arg)
{
    struct remote *r;
    for (uint32_t i = 0; (r = map_next(&w->remotes, &i)) != NULL;)
        fn(remote_domain_of(r), r->count, arg);
}

/* The change of a link. The home of DUTY_LINKS hears of it first and tells the others, so all hear
 * of all changes in one order. Who starts hears of links in another order than they came, so the
 * list is sorted: all choose the same link for a pair. */

struct link_change {
    slice domain;
    uint64_t link;
    uint8_t change; /* enum remote_change */
    uint32_t node;  /* of the link */
    uint8_t edge;   /* edge_number() on that node */
};

static bool remote_has(const struct remote *r, uint64_t link, uint32_t node)
{
    for (unsigned i = 0; i < r->count; i++)
        if (r->link[i].id == link && r->link[i].node == node)
            return true;
    return false;
}

static void remote_insert(struct remote *r, struct remote_link link)
{
    unsigned at = r->count++;
    ensure(at < REMOTE_LINKS_MAX);
    for (; at > 0; at--) {
        const struct remote_link *before = &r->link[at - 1];
        if (before->node < link.node || (before->node == link.node && before->id < link.id))
            break;
        r->link[at] = *before;
    }
    r->link[at] = link;
}

static enum err remote_add(struct worker *w, const struct link_change *n)
{
    struct remote *r = map_get(&w->remotes, n->domain);
    if (r != NULL && remote_has(r, n->link, n->node)) /* news and an answer can both name it */
        return OK;
    if (r != NULL && r->count == REMOTE_LINKS_MAX)
        return E_LIMIT;
    if (r == NULL) {
        r = mem_zalloc(sizeof *r + n->domain.len);
        r->len = (uint16_t)n->domain.len;
        memcpy(r->domain, n->domain.ptr, n->domain.len);
        map_put(&w->remotes, r);
    }
    remote_insert(r, (struct remote_link){ n->link, n->node, n->edge });
    return OK;
}

static void remove_link(struct worker *w, const struct link_change *n)
{
    struct remote *r = map_get(&w->remotes, n->domain);
    for (unsigned i = 0; r != NULL && i < r->count; i++) {
        if (r->link[i].id != n->link || r->link[i].node != n->node)
            continue;
        memmove(&r->link[i], &r->link[i + 1], (r->count - i - 1u) * sizeof r->link[0]);
        r->count--;
        break;
    }
    if (r != NULL && r->count == 0) {
        map_del(&w->remotes, n->domain);
        mem_free(&r);
    }
    asks_link_gone(w, (struct remote_link){ .id = n->link, .node = n->node });
}

static enum err link_change(struct worker *w, const struct link_change *n)
{
    if (n->change == REMOTE_UP)
        return remote_add(w, n);
    remove_link(w, n);
    return OK;
}

/* Only the worker that has a link announces it. */
static bool link_is_sound(struct worker *w, const void *message, const struct message_from *from)
{
    const struct link_change *n = message;
    (void)w;
    return n->link != 0 && n->node == from->node && connection_worker(n->link) == from->worker;
}

/* The home of DUTY_LINKS tells of all links. A worker may tell of its own: the home that they are
 * there, all that they are not. What goes to the domain is sent to a worker that is there, perhaps
 * one of ours; how many workers a node has is not known before it is there. */
static bool link_known_is_sound(struct worker *w, const void *message,
                                const struct message_from *from)
{
    const struct link_change *n = message;
    uint32_t teller;
    (void)duty_home(w->node, DUTY_LINKS, &teller);
    if (link_is_sound(w, message, from) &&
        (n->change == REMOTE_DOWN || duty_is_here(w, DUTY_LINKS)))
        return true;
    return from->node == teller && n->link != 0 && n->node != 0 &&
           (!node_is_there(w->node, n->node) ||
            connection_worker(n->link) < node_workers(w->node, n->node));
}

static const struct message_field link_fields[] = {
    F_BARE(struct link_change, domain),
    F_U64(struct link_change, link),
    F_U8(struct link_change, change, REMOTE_DOWN),
    F_U32(struct link_change, node, UINT32_MAX),
    F_U8(struct link_change, edge, EDGES_MAX - 1),
    { 0 },
};

/* Nobody would tell that a link is gone with a node that is gone already. */
static void link_known_run(struct worker *w, void *message, const struct message_from *from)
{
    const struct link_change *n = message;
    (void)from;
    if (n->change == REMOTE_DOWN || node_is_there(w->node, n->node))
        (void)link_change(w, n); /* as at the home of DUTY_LINKS */
}

const struct message_row link_known_message = {
    .id = 17,
    .scope = MESSAGE_CLUSTER,
    .name = "link-known",
    .size = sizeof(struct link_change),
    .fields = link_fields,
    .run = link_known_run,
    .sound = link_known_is_sound,
};

struct link_told {
    uint8_t err; /* enum err */
};
static const struct message_field link_told_fields[] = {
    F_ERR(struct link_told, err),
    { 0 },
};
const struct message_row link_told_message = {
    .id = 18,
    .scope = MESSAGE_CLUSTER,
    .name = "link-told",
    .size = sizeof(struct link_told),
    .fields = link_told_fields,
};

static void link_drop(void *arg) { mem_free(&arg); }

static void all_know(struct worker *w, void *arg)
{
    struct message_from *asker = arg;
    question_end(w, asker);
    mem_free(&asker);
}

/* At the home of DUTY_LINKS. */
static void link_run(struct worker *w, void *message, const struct message_from *from)
{
    struct link_told told = { (uint8_t)link_change(w, message) };
    question_answer(w, from, &link_told_message, &told);
    if (told.err != OK) {
        question_end(w, from);
        return;
    }
    struct message_from *asker = mem_new(struct message_from);
    *asker = *from;
    each_home(w, &link_known_message, message,
              &(struct asker){ .done = all_know, .arg = asker, .drop = link_drop });
}

const struct message_row link_message = {
    .id = 16,
    .scope = MESSAGE_CLUSTER,
    .name = "link",
    .size = sizeof(struct link_change),
    .fields = link_fields,
    .run = link_run,
    .sound = link_is_sound,
    .answer = &link_told_message,
    .later = true,
};

/* A node that starts asks for the links that are there. Changes come by the same FIFO as the
 * answer, so one that is behind it here was made behind it there. If it is the home of DUTY_LINKS
 * itself, each worker tells it of its own links, and it tells all others. */

static bool link_is_of(const struct worker *w, const struct remote_link *link)
{
    return link->node == w->node->id && connection_worker(link->id) == w->index;
}

static void links_asked_run(struct worker *w, void *message, const struct message_from *from)
{
    const bool all = duty_is_here(w, DUTY_LINKS);
    struct remote *r;
    (void)message;
    for (uint32_t i = 0; (r = map_next(&w->remotes, &i)) != NULL;)
        for (unsigned k = 0; k < r->count; k++)
            if (all || link_is_of(w, &r->link[k]))
                question_answer(w, from, &link_known_message,
                                &(struct link_change){ .domain = remote_domain_of(r),
                                                       .link = r->link[k].id,
                                                       .change = REMOTE_UP,
                                                       .node = r->link[k].node,
                                                       .edge = r->link[k].edge });
}

const struct message_row links_asked_message = {
    .id = 34,
    .scope = MESSAGE_CLUSTER,
    .name = "links-asked",
    .size = sizeof(struct message_nothing),
    .fields = message_no_fields,
    .run = links_asked_run,
    .answer = &link_known_message,
};

static void links_heard(struct worker *w, void *arg, void *answer, const struct message_from *from)
{
    (void)arg, (void)from;
    if (link_change(w, answer) == OK && duty_is_here(w, DUTY_LINKS))
        each_home(w, &link_known_message, answer, &(struct asker){ 0 });
}

void remote_learn(struct worker *w)
{
    const struct asker asker = { .gather = links_heard };
    uint32_t node;
    unsigned worker = duty_home(w->node, DUTY_LINKS, &node);
    if (duty_is_here(w, DUTY_LINKS))
        each_home(w, &links_asked_message, &(struct message_nothing){ 0 }, &asker);
    else if (node != w->node->id)
        home_ask_at(w, node, worker, &links_asked_message, &(struct message_nothing){ 0 }, &asker);
}

void remote_node_gone(struct worker *w, uint32_t node)
{
    struct remote *r;
    for (uint32_t i = 0; (r = map_next(&w->remotes, &i)) != NULL;)
        for (unsigned k = r->count; k-- > 0;) { /* the last one takes it along */
            const struct remote_link link = r->link[k];
            if (link.node == node)
                remove_link(w, &(struct link_change){
                                   .domain = remote_domain_of(r), .link = link.id, .node = node });
        }
}

struct announcement {
    struct link_change news;
    enum err err;
    remote_done_fn *done; /* NULL: nobody waits */
    char domain[];
};

static void announcement_heard(struct worker *w, void *arg, void *answer,
                               const struct message_from *from)
{
    (void)w, (void)from;
    ((struct announcement *)arg)->err = ((const struct link_told *)answer)->err;
}

static void announcement_lost(struct worker *w, void *arg)
{
    (void)w;
    ((struct announcement *)arg)->err = E_DOWN;
}

/* The home of DUTY_LINKS may have told the others that the link is up before it was gone, or tell
 * them yet if it is only slow: then it runs this behind that. */
static void announce_none(struct worker *w, struct link_change *news)
{
    uint32_t node;
    unsigned worker = duty_home(w->node, DUTY_LINKS, &node);
    news->change = REMOTE_DOWN;
    each_home(w, &link_known_message, news, &(struct asker){ 0 });
    home_ask_at(w, node, worker, &link_message, news, &(struct asker){ 0 });
}

static void announced(struct worker *w, void *arg)
{
    struct announcement *n = arg;
    if (n->err == E_DOWN)
        announce_none(w, &n->news);
    if (n->done != NULL)
        n->done(w, n->news.domain, n->news.link, n->err);
    mem_free(&n);
}

static struct announcement *announcement_make(const struct link_change *news, remote_done_fn *done)
{
    struct announcement *n = mem_zalloc(sizeof *n + news->domain.len);
    memcpy(n->domain, news->domain.ptr, news->domain.len);
    n->news = *news;
    n->news.domain.ptr = n->domain;
    n->done = done;
    return n;
}

void remote_announce(struct worker *w, slice domain, const struct edge *edge, uint64_t link,
                     enum remote_change change, remote_done_fn *done)
{
    struct link_change news = { domain, link, (uint8_t)change, w->node->id,
                                edge_number(w->node, edge) };
    const struct asker asker = { announcement_heard, announced, announcement_make(&news, done),
                                 announcement_lost, link_drop };
    uint32_t node;
    unsigned worker = duty_home(w->node, DUTY_LINKS, &node);
    ensure(link != 0 && connection_worker(link) == w->index);
    if (change == REMOTE_DOWN) /* the home of DUTY_LINKS could ask before it hears of this */
        remove_link(w, &news);
    home_ask_at(w, node, worker, &link_message, &news, &asker);
}

struct remote_sent {
    struct stanza *st;
    uint64_t link;
    uint8_t edge; /* edge_number() here */
};

/* Takes over sent->st. Another node may have told of a link that no edge has here. */
static void remote_hand_over(struct worker *w, struct remote_sent *sent)
{
    if (connection_worker(sent->link) != w->index ||
        !edge_remote(w, sent->edge, sent->link, sent->st)) {
        route_error(w, sent->st, SE_REMOTE_SERVER_TIMEOUT,
                    SLICE("the connection to this domain broke"));
        stanza_unref(&sent->st);
    }
    sent->st = NULL;
}

static void remote_run(struct worker *w, void *message, const struct message_from *from)
{
    (void)from;
    remote_hand_over(w, message);
}

static const struct message_field remote_fields[] = {
    F_STANZA(struct remote_sent, st),
    F_U64(struct remote_sent, link),
    F_U8(struct remote_sent, edge, EDGES_MAX - 1),
    { 0 },
};
const struct message_row remote_message = {
    .id = 9,
    .scope = MESSAGE_CLUSTER,
    .name = "remote",
    .size = sizeof(struct remote_sent),
    .fields = remote_fields,
    .run = remote_run,
};

static const struct remote_link *remote_choose(const struct remote *r, slice from_bare,
                                               slice to_bare)
{
    uint64_t pair = hash_keyed(from_bare) ^ hash_keyed(to_bare) * 3;
    ensure(r != NULL && r->count > 0);
    return &r->link[pair % r->count];
}

struct remote_link remote_link_for(const struct worker *w, slice from_bare, slice to)
{
    struct jid jid = jid_split(to);
    const struct remote *r = map_get(&w->remotes, jid.domain);
    return r == NULL ? (struct remote_link){ 0 } : *remote_choose(r, from_bare, jid_bare(&jid));
}

void remote_send(struct worker *w, slice domain, struct stanza *st)
{
    const struct remote_link *link =
        remote_choose(map_get(&w->remotes, domain), stanza_from_bare(st), stanza_to_bare(st));
    const unsigned worker = connection_worker(link->id);
    const bool other_node = link->node != 0 && link->node != w->node->id;
    struct remote_sent sent = { st, link->id, link->edge };
    if (other_node || worker != w->index)
        home_send_to(w, link->node, worker, &remote_message, &sent);
    else
        remote_hand_over(w, &sent);
}
