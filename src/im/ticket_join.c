#include "im/ticket_join.h"
#include "base/mem.h"
#include "home/node.h"
#include "home/worker.h"
#include "im/session.h"
#include "im/session_input.h"

struct join {
    uint64_t id; /* as of a session: no session has it */
    struct origin whole;
    uint32_t awaited;
    uint32_t came; /* some before they were counted: from inside of route() */
    bool open;
};

static slice join_key(const void *item)
{
    return (slice){ (const char *)&((const struct join *)item)->id, sizeof(uint64_t) };
}

void ticket_joins_init(struct worker *w) { map_init(&w->joins, join_key); }

void ticket_joins_fini(struct worker *w)
{
    struct join *j;
    for (uint32_t i = 0; (j = map_next(&w->joins, &i)) != NULL;)
        mem_free(&j);
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
    if (j->open || j->awaited > j->came)
        return;
    struct origin whole = j->whole;
    map_del(&w->joins, join_key(j));
    mem_free(&j);
    ticket_done(w, whole);
}

struct origin ticket_join(struct worker *w, struct origin whole)
{
    if (whole.session == 0)
        return ORIGIN_NONE;
    struct join *j = mem_new(struct join);
    *j = (struct join){ .id = ++w->next_id << 16 | w->index, .whole = whole, .open = true };
    map_put(&w->joins, j);
    return (struct origin){ .session = j->id, .node = w->node->id };
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
    j->open = false;
    ticket_join_check(w, j);
}

void ticket_join_done(struct worker *w, struct origin part)
{
    struct join *j = ticket_join_find(w, part);
    if (j == NULL)
        return;
    j->came++;
    ticket_join_check(w, j);
}
