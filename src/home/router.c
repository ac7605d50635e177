#include "home/router.h"
#include "base/ensure.h"
#include "home/edge.h"
#include "home/here.h"
#include "home/host.h"
#include "home/message.h"
#include "home/node.h"
#include "home/remote.h"
#include "home/slots.h"
#include "home/ticket.h"
#include "home/trail.h"
#include "xmpp/promise.h"

static slice router_domain_of(slice bare)
{
    const char *at = memchr(bare.ptr, '@', bare.len);
    return at == NULL ? bare : slice_from(bare, (size_t)(at - bare.ptr) + 1);
}

/* Facts that the sender's home knows of a message. */
struct entry_of {
    uint64_t archive_id;
    int64_t owner;
    bool unshown; /* the sender does not archive it */
};

struct route {
    struct stanza *st;
    struct origin origin; /* session 0: nobody waits */
    uint64_t archive_id;  /* as in route() */
    int64_t sender;
};

/* Whether the home of the addressee reports it. A request is handled with its answer, within the
 * process: until then its sender is not read (session/session_input.c). */
static bool is_reported(const struct worker *w, uint32_t node, const struct stanza *st)
{
    return promise_of(st) == PROMISE_COMMITTED ||
           (node == worker_node(w)->id && stanza_is_request(st));
}

static enum routed route_away(struct worker *w, uint32_t node, unsigned worker, struct stanza *st,
                              struct origin origin, struct entry_of entry)
{
    bool shared = node_shares(worker_node(w), node);
    bool ticket = origin.session != 0 && is_reported(w, node, st);
    struct route route = { .st = st, .origin = origin };
    if (!ticket)
        route.origin.session = 0;
    if (shared) { /* the addressee's home stores the message with both entries */
        route.archive_id = entry.archive_id;
        route.sender = entry.owner;
    }
    bool keep = !shared && entry.archive_id != 0;
    ensure(entry.archive_id == 0 || entry.owner != 0);
    if (keep) /* each database has the entries of its own accounts (architecture §7) */
        worker_node(w)->destinations->keep_sent(w, st, ticket ? origin : ORIGIN_NONE,
                                                entry.archive_id, entry.owner, SENT_KEPT);
    if (node != worker_node(w)->id)
        trail_note(st, "routed", "to another node", (slice){ 0 });
    home_send_to(w, node, worker, &route_message, &route);
    if (!ticket)
        return ROUTED;
    return keep ? ROUTE_PENDING_TWO : ROUTE_PENDING;
}

/* What the edge that reaches other domains says of it, or what is known without asking that;
 * `text`: what its sender is told beside an error. */
static struct edge_word route_word(struct worker *w, slice domain, const struct stanza *st,
                                   const struct entry_of *entry, slice *text)
{
    if (remote_expected(w, domain)) { /* RFC 6120 §8.3.3.16 */
        *text = SLICE("the component that serves this domain is not connected");
        return (struct edge_word){ .error = SE_REMOTE_SERVER_TIMEOUT };
    }
    struct edge_word word = edge_foreign_word(w, domain, st);
    if (word.error == SE_NONE && !word.silent && entry->archive_id != 0 &&
        !worker_node(w)->destinations->sent_has_room(w, st, entry->owner)) {
        *text = SLICE("too many of your messages wait for other servers");
        word.error = SE_RESOURCE_CONSTRAINT;
    }
    return word;
}

/* Takes over st. */
static void route_refuse(struct worker *w, struct stanza *st, struct origin origin,
                         const struct edge_word *word, slice text)
{
    ensure(word->silent || word->error != SE_NONE);
    trail_note(st, "returned", word->silent ? "silently" : stanza_error_name(word->error),
               (slice){ 0 });
    if (!word->silent) {
        route_send(w, stanza_make_error(st, word->error, text));
        ticket_refused(w, origin);
    }
    stanza_unref(&st);
}

/* What is promised is that the database has it: the sender's own entry, and for another server the
 * row until that has confirmed it. */
static enum routed route_remote(struct worker *w, slice domain, struct stanza *st,
                                struct origin origin, struct entry_of entry)
{
    bool link = remote_known(w, domain);
    slice text = { "", 0 };
    struct edge_word word =
        link ? (struct edge_word){ 0 } : route_word(w, domain, st, &entry, &text);
    bool pending = !link && word.error == SE_NONE && !word.silent;
    bool keep = entry.archive_id != 0 && (pending || !entry.unshown);
    if (keep)
        worker_node(w)->destinations->keep_sent(w, st, origin, entry.archive_id, entry.owner,
                                                !pending        ? SENT_KEPT
                                                : entry.unshown ? SENT_UNSHOWN
                                                                : SENT_PENDING);
    if (link)
        remote_send(w, domain, st);
    else if (pending)
        edge_foreign(w, domain, st,
                     &(struct edge_kept){ .entry = entry.archive_id,
                                          .sender = entry.archive_id == 0 ? 0 : entry.owner,
                                          .unshown = entry.unshown,
                                          .bare = word.bare });
    else
        route_refuse(w, st, origin, &word, text);
    return keep && origin.session != 0 ? ROUTE_PENDING : ROUTED;
}

enum routed route_arrived(struct worker *w, struct stanza *st, struct origin origin,
                          uint64_t archive_id, int64_t sender_id)
{
    slice domain = router_domain_of(stanza_to_bare(st));
    if (node_serves(worker_node(w), domain))
        return worker_node(w)->destinations->account(w, st, origin, archive_id, sender_id);
    const struct host *h = host_find(worker_node(w), domain, &(slice){ 0 });
    if (h != NULL)
        return worker_node(w)->destinations->service(w, h, st, origin);
    route_error(w, st, SE_REMOTE_SERVER_NOT_FOUND, (slice){ 0 }); /* switched off since */
    stanza_unref(&st);
    return ROUTED;
}

static void route_run(struct worker *w, void *message, const struct message_from *from)
{
    struct route r = *(const struct route *)message;
    (void)from;
    ((struct route *)message)->st = NULL;
    if (route_arrived(w, r.st, r.origin, r.archive_id, r.sender) == ROUTED && r.origin.session != 0)
        ticket_done(w, r.origin);
}

static unsigned route_slot(const void *message)
{
    return node_slot(stanza_to_bare(((const struct route *)message)->st));
}

static void route_unplaced(struct worker *w, void *message)
{
    const struct route *r = message;
    ticket_refused(w, r->origin);
    route_error(w, r->st, SE_RESOURCE_CONSTRAINT, SLICE("the home of the address is moving"));
    if (r->origin.session != 0)
        ticket_done(w, r->origin);
}

static bool route_is_sound(struct worker *w, const void *message, const struct message_from *from)
{
    const struct route *r = message;
    bool shared = node_shares(worker_node(w), from->node);
    return r->st->to_len > 0 && r->st->from_len > 0 &&
           origin_slot(r->origin.session) < NODE_SLOTS && (r->archive_id == 0 || r->sender > 0) &&
           (shared || (r->archive_id == 0 && r->sender == 0));
}

static const struct message_field route_fields[] = {
    F_STANZA(struct route, st),
    F_U64(struct route, origin.session),
    F_U32(struct route, origin.count, UINT32_MAX),
    F_U64(struct route, archive_id),
    F_I64(struct route, sender),
    { 0 },
};
const struct message_row route_message = {
    .id = 2,
    .scope = MESSAGE_CLUSTER,
    .name = "route",
    .size = sizeof(struct route),
    .fields = route_fields,
    .run = route_run,
    .sound = route_is_sound,
    .slot = route_slot,
    .unplaced = route_unplaced,
};

/* To where its home is, on this node or another. */
static enum routed route_home(struct worker *w, struct stanza *st, struct origin origin,
                              struct entry_of entry)
{
    uint32_t node;
    unsigned worker = node_home(worker_node(w), stanza_to_bare(st), &node);
    if (node == worker_node(w)->id && worker == worker_index(w) && !slots_are_moving(w))
        return route_arrived(w, st, origin, entry.archive_id, entry.owner);
    return route_away(w, node, worker, st, origin, entry);
}

/* A service keeps no entry of who writes to it; what it does with the message is another report. */
static enum routed route_service(struct worker *w, struct stanza *st, struct origin origin,
                                 struct entry_of entry)
{
    if (entry.archive_id == 0)
        return route_home(w, st, origin, entry);
    worker_node(w)->destinations->keep_sent(w, st, origin, entry.archive_id, entry.owner,
                                            SENT_KEPT);
    enum routed routed = route_home(w, st, origin, (struct entry_of){ .owner = entry.owner });
    if (origin.session == 0)
        return routed;
    return routed == ROUTED ? ROUTE_PENDING : ROUTE_PENDING_TWO;
}

enum routed route(struct worker *w, struct stanza *st, struct origin origin, uint64_t archive_id,
                  int64_t sender_id)
{
    const struct node *n = worker_node(w);
    const struct entry_of entry = { .archive_id = archive_id, .owner = sender_id };
    slice bare = stanza_to_bare(st), domain = router_domain_of(bare);
    ensure(bare.len > 0);
    bool ours = node_serves(n, domain);

    if (!ours && (remote_known(w, domain) || host_find(n, domain, &(slice){ 0 }) == NULL))
        return route_remote(w, domain, st, origin, entry);
    if (ours && domain.len == bare.len)
        return n->destinations->server(w, st, origin);
    return ours ? route_home(w, st, origin, entry) : route_service(w, st, origin, entry);
}

bool route_is_foreign(struct worker *w, const struct stanza *st)
{
    slice domain = router_domain_of(stanza_to_bare(st));
    return !node_serves(worker_node(w), domain) && !remote_known(w, domain) &&
           host_find(worker_node(w), domain, &(slice){ 0 }) == NULL;
}

enum routed route_unshown(struct worker *w, struct stanza *st, struct origin origin, uint64_t id,
                          int64_t sender_id)
{
    ensure(id != 0 && sender_id != 0);
    return route_remote(w, router_domain_of(stanza_to_bare(st)), st, origin,
                        (struct entry_of){ id, sender_id, true });
}

bool route_keeps_both(struct worker *w, const struct stanza *st)
{
    uint32_t node;
    slice bare = stanza_to_bare(st);
    if (!node_serves(worker_node(w), router_domain_of(bare)))
        return false;
    node_home(worker_node(w), bare, &node);
    return node_shares(worker_node(w), node);
}

void route_send(struct worker *w, struct stanza *st)
{
    if (st != NULL)
        (void)route(w, st, ORIGIN_NONE, 0, 0);
}

void route_error(struct worker *w, const struct stanza *st, enum stanza_error e, slice text)
{
    struct stanza *reply = stanza_make_error(st, e, text);
    if (reply == NULL)
        return;
    trail_note(st, "refused", stanza_error_name(e), (slice){ 0 });
    route_send(w, reply);
}
