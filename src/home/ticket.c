#include "home/ticket.h"
#include "base/ensure.h"
#include "base/mem.h"
#include "home/message.h"
#include "home/node.h"
#include "home/router.h"
#include "home/slots.h"
#include "home/worker.h"

/* The count in the origin of a part says what is reported. That of a session counts its stanzas. */
enum { PART_DONE, PART_REFUSED };

struct join {
    uint64_t id; /* as of a session: no session has it */
    struct origin whole;
    struct origin *others; /* ticket_join_also(): they get the same report; NULL: none */
    uint32_t other_count;
    ticket_join_fn *done; /* NULL: the report to `whole` */
    void *arg;
    uint32_t awaited;
    uint32_t came;    /* some before they were counted: from inside of route() */
    uint32_t refused; /* of those that came, and of others that nobody awaited */
    bool open;
    bool cut; /* a node is gone: no more are awaited */
};

static slice join_key(const void *item)
{
    return (slice){ (const char *)&((const struct join *)item)->id, sizeof(uint64_t) };
}

void ticket_joins_init(struct worker *w) { map_init(&w->joins, join_key); }

void ticket_joins_fini(struct worker *w)
{
    struct join *j;
    for (uint32_t i = 0; (j = map_next(&w->joins, &i)) != NULL;) {
        mem_free(&j->others);
        mem_free(&j);
    }
    map_fini(&w->joins);
}

static struct join *ticket_join_find(const struct worker *w, struct origin part)
{
    return part.session == 0
               ? NULL
               : map_get(&w->joins, (slice){ (const char *)&part.session, sizeof part.session });
}

static void ticket_join_check(struct worker *w, struct join *j)
{
    if (j->open || (j->awaited > j->came && !j->cut))
        return;
    struct join ended = *j;
    map_del(&w->joins, join_key(j));
    mem_free(&j);
    if (ended.done != NULL)
        ended.done(w, ended.awaited > ended.came ? E_DOWN : OK, ended.refused, ended.arg);
    else
        ticket_done(w, ended.whole);
    for (uint32_t i = 0; i < ended.other_count; i++)
        ticket_done(w, ended.others[i]);
    mem_free(&ended.others);
}

/* One that is over; NULL: none. */
static struct join *ticket_join_cut(const struct worker *w)
{
    struct join *j;
    for (uint32_t i = 0; (j = map_next(&w->joins, &i)) != NULL;)
        if (j->cut && !j->open)
            return j;
    return NULL;
}

void ticket_joins_node_gone(struct worker *w)
{
    struct join *j;
    for (uint32_t i = 0; (j = map_next(&w->joins, &i)) != NULL;)
        j->cut = j->done != NULL;
    while ((j = ticket_join_cut(w)) != NULL) /* `done` may make others */
        ticket_join_check(w, j);
}

bool ticket_joins_of(const struct worker *w, unsigned slot)
{
    const struct join *j;
    for (uint32_t i = 0; (j = map_next(&w->joins, &i)) != NULL;)
        if (origin_slot(j->id) == slot)
            return true;
    return false;
}

/* One after the other, so that each of them is soon without joins and can move; not one whose
 * reports would be held. Slots of others are stepped over once in a round. NODE_SLOTS: all have
 * moved away. */
static unsigned ticket_slot_here(struct worker *w)
{
    unsigned found = NODE_SLOTS;
    uint32_t node;
    ensure(w->ticket_slot <= NODE_SLOTS + 1);
    for (unsigned i = 0; i < NODE_SLOTS; i++) {
        unsigned slot = (w->ticket_slot + i) % NODE_SLOTS;
        if (node_home_of_slot(w->node, slot, &node) != w->index || node != w->node->id)
            continue;
        found = slot;
        if (!slot_is_away(w, slot))
            break;
    }
    w->ticket_slot = found + 1;
    return found;
}

/* It is of one run of the worker that makes it: a counter is enough. The slot of the maker may have
 * moved away a moment ago: rooms do not move with it. lost: no report finds its way here; the id is
 * one that nobody else has. */
static uint64_t ticket_join_id(struct worker *w, slice maker, bool *lost)
{
    const uint64_t join = 1ull << ORIGIN_JOIN_SHIFT, apart = join >> 1;
    const bool is_home = maker.len > 0 && node_is_home(w, maker);
    const uint64_t slot = is_home ? node_slot(maker) : ticket_slot_here(w);
    *lost = slot == NODE_SLOTS;
    return (*lost ? apart : slot << ORIGIN_SLOT_SHIFT) | join | (++w->next_id & (apart - 1));
}

static struct origin ticket_join_put(struct worker *w, slice maker, struct join with)
{
    struct join *j = mem_new(struct join);
    ensure((with.done != NULL) == (with.whole.session == 0));
    *j = with;
    j->id = ticket_join_id(w, maker, &j->cut);
    j->open = true;
    map_put(&w->joins, j);
    return (struct origin){ .session = j->id };
}

struct origin ticket_join(struct worker *w, slice maker, struct origin whole)
{
    if (whole.session == 0)
        return ORIGIN_NONE;
    return ticket_join_put(w, maker, (struct join){ .whole = whole });
}

struct origin ticket_join_for(struct worker *w, slice maker, ticket_join_fn *done, void *arg)
{
    return ticket_join_put(w, maker, (struct join){ .done = done, .arg = arg });
}

bool ticket_join_also(struct worker *w, struct origin part, struct origin other)
{
    struct join *j = ticket_join_find(w, part);
    if (j == NULL)
        return false;
    ensure(j->done == NULL && other.session != 0);
    j->others = mem_realloc(j->others, (j->other_count + 1) * sizeof *j->others);
    j->others[j->other_count++] = other;
    return true;
}

void ticket_join_more(struct worker *w, struct origin part)
{
    struct join *j = ticket_join_find(w, part);
    if (j != NULL)
        j->awaited++;
}

void ticket_join_close(struct worker *w, struct origin part)
{
    struct join *j = ticket_join_find(w, part);
    if (j == NULL)
        return;
    ensure(j->open);
    j->open = false;
    ticket_join_check(w, j);
}

static void part_done(struct worker *w, struct origin part)
{
    struct join *j = ticket_join_find(w, part);
    if (j == NULL)
        return;
    if (part.count == PART_REFUSED) {
        j->refused++;
        return;
    }
    j->came++;
    ticket_join_check(w, j);
}

void ticket_refused(struct worker *w, struct origin o)
{
    if (origin_is_join(o))
        ticket_done(w, (struct origin){ o.session, PART_REFUSED });
}

/* To the home of the session or join that a stanza came from: it is handled. */
struct ticket_sent {
    uint64_t session;
    uint32_t count;
};

static void ticket_arrived(struct worker *w, struct origin o)
{
    if (!w->node->destinations->ticket(w, o))
        part_done(w, o);
}

void ticket_done(struct worker *w, struct origin o)
{
    uint32_t node;
    unsigned home = node_home_of_slot(w->node, origin_slot(o.session), &node);
    if (home != w->index || node != w->node->id || slots_are_moving(w))
        home_send_to(w, node, home, &ticket_message,
                     &(struct ticket_sent){ .session = o.session, .count = o.count });
    else
        ticket_arrived(w, o);
}

static bool ticket_is_sound(struct worker *w, const void *message, const struct message_from *from)
{
    (void)w, (void)from;
    return origin_slot(((const struct ticket_sent *)message)->session) < NODE_SLOTS;
}

static void ticket_run(struct worker *w, void *message, const struct message_from *from)
{
    const struct ticket_sent *t = message;
    (void)from;
    ticket_arrived(w, (struct origin){ t->session, t->count });
}

static unsigned ticket_slot(const void *message)
{
    return origin_slot(((const struct ticket_sent *)message)->session);
}

static const struct message_field ticket_fields[] = {
    F_U64(struct ticket_sent, session),
    F_U32(struct ticket_sent, count, UINT32_MAX),
    { 0 },
};
const struct message_row ticket_message = {
    .id = 3,
    .scope = MESSAGE_CLUSTER,
    .name = "ticket",
    .size = sizeof(struct ticket_sent),
    .fields = ticket_fields,
    .run = ticket_run,
    .sound = ticket_is_sound,
    .slot = ticket_slot,
};
