#include "remote/outgoing_count.h"
#include "archive/pending.h"
#include "archive/sent.h"
#include "base/ensure.h"
#include "base/hash.h"
#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/setting.h"
#include "core/feature.h"
#include "home/here.h"
#include "remote/outgoing_bounce.h"
#include "xmpp/jid.h"
#include "xmpp/stanza.h"

enum {
    READ_MS = 30000,
    AGAIN_US = 5 * 1000000 /* a full one is read again so often */
};

static struct setting kept_max = {
    .name = "s2s.kept-max",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_INT,
    .def = 10000,
    .min = 1,
    .max = 10000000,
    .unit = "messages",
    .doc = "How many stored messages of one user, or of one room, may wait for another domain that "
           "does not take them or cannot be reached (s2s.keep-for), and for all such domains ten "
           "times as many. More are refused with resource-constraint.",
};

/* Of a user: what its counts add up to. */
struct total {
    int64_t sender; /* key */
    uint32_t counts;
    uint64_t messages;
};
struct count {
    struct list node; /* in counts.used */
    struct counts *all;
    struct total *total;
    struct store_op *op; /* it is being read */
    uint64_t read_us;    /* loop time when that began */
    uint64_t heard_us;   /* loop time when some ended to wait; 0: none has */
    uint32_t *ids;       /* hashes of addresses and ids, oldest first: an error may answer each */
    uint32_t ids_len, ids_cap;
    uint32_t forgotten; /* so many may be answered whose ids a restart has forgotten */
    bool fresh;         /* its first read is under way: what that finds was sent before */
    int64_t since;      /* what has changed since `read_us` */
    uint32_t messages;
    uint16_t len;
    char key[]; /* `len` bytes: the sender, and the domain */
};
struct counts {
    struct worker *worker;
    struct map map, totals;
    struct list used; /* the one that was used last is the last */
};

static unsigned slot;

static slice count_key(const void *item)
{
    const struct count *c = item;
    return (slice){ c->key, c->len };
}

static slice total_key(const void *item)
{
    return (slice){ (const char *)&((const struct total *)item)->sender, sizeof(int64_t) };
}

static struct counts *outgoing_counts(const struct worker *w)
{
    ensure(worker_is_here(w));
    return *worker_state(w, slot);
}

enum { KEY_MAX = sizeof(int64_t) + JID_PART_MAX };
static slice count_make_key(char key[KEY_MAX], slice domain, int64_t sender)
{
    ensure(domain.len <= JID_PART_MAX);
    memcpy(key, &sender, sizeof sender);
    memcpy(key + sizeof sender, domain.ptr, domain.len);
    return (slice){ key, sizeof sender + domain.len };
}

static void count_set(struct count *c, int64_t messages)
{
    messages = messages < 0 ? 0 : messages;
    c->total->messages += (uint64_t)messages - c->messages;
    c->messages = (uint32_t)messages;
}

static void count_free(struct count *c)
{
    struct total *t = c->total;
    ensure(t->counts > 0 && t->messages >= c->messages);
    store_cancel(&c->op);
    count_set(c, 0);
    if (--t->counts == 0) {
        map_del(&c->all->totals, total_key(t));
        mem_free(&t);
    }
    map_del(&c->all->map, count_key(c));
    list_remove(&c->node);
    mem_free(&c->ids);
    mem_free(&c);
}

static uint64_t counts_now(const struct counts *all)
{
    return loop_now_us(worker_loop(all->worker));
}

static bool count_is_heard(const struct count *c)
{
    return c->heard_us != 0 && counts_now(c->all) - c->heard_us < OUTGOING_HEARD_US;
}

static void count_use(struct count *c)
{
    list_remove(&c->node);
    list_append(&c->all->used, &c->node);
}

/* Those of no more use, behind the one that was used longest ago: two for each that comes. */
static void counts_trim(struct counts *all)
{
    for (unsigned i = 0; i < 2 && !list_empty(&all->used); i++) {
        struct count *c = CONTAINER_OF(all->used.next, struct count, node);
        if (c->messages > 0 || c->op != NULL || count_is_heard(c))
            return;
        count_free(c);
    }
}

static void count_was_read(void *arg, enum store_result r, const struct store_batch *b)
{
    struct count *c = arg;
    ensure(worker_is_here(c->all->worker) && c->op != NULL);
    c->op = NULL;
    if (r == STORE_OK)
        count_set(c, archive_pending_count_of(b) + c->since);
    if (r == STORE_OK && c->fresh)
        c->forgotten += (uint32_t)archive_pending_count_of(b);
    c->fresh = false;
    if (c->messages == 0 && !count_is_heard(c))
        count_free(c);
}

/* Counts the rows before that id. The ids of a sender rise, so what is written meanwhile is not
 * counted twice. */
static void count_read(struct count *c, slice domain, int64_t sender, uint64_t before)
{
    struct worker *w = c->all->worker;
    ensure(c->op == NULL);
    struct store_batch *b = store_read(worker_store(w), (uint64_t)sender);
    archive_pending_count(b, domain, sender, before, (uint32_t)setting_int(&kept_max) + 1);
    c->since = 0;
    c->read_us = counts_now(c->all);
    c->op = store_submit(b, worker_loop(w), READ_MS, count_was_read, c);
}

/* The messages that an error may answer, by address and id. They are few: searched one by one. */

static uint32_t count_id_of(slice to, slice id)
{
    return (uint32_t)(hash_keyed(to) + 3 * hash_keyed(id));
}

/* ids_len: it is not there. */
static uint32_t count_place_of(const struct count *c, const struct stanza *error)
{
    uint32_t at = 0, id = count_id_of(stanza_from_bare(error), stanza_id(error));
    while (at < c->ids_len && c->ids[at] != id)
        at++;
    return at;
}

static void count_forget(struct count *c, uint32_t at)
{
    ensure(at < c->ids_len);
    c->ids_len--;
    memmove(c->ids + at, c->ids + at + 1, (c->ids_len - at) * sizeof *c->ids);
}

static void count_said(struct count *c, const struct stanza *st)
{
    if (c->ids_len == OUTGOING_ANSWERED_MAX)
        count_forget(c, 0);
    if (c->ids_len == c->ids_cap) {
        c->ids_cap = c->ids_cap == 0 ? 4 : 2 * c->ids_cap;
        c->ids = mem_realloc(c->ids, c->ids_cap * sizeof *c->ids);
    }
    c->ids[c->ids_len++] = count_id_of(stanza_to_bare(st), stanza_id(st));
}

static struct count *count_find(struct counts *all, slice domain, int64_t sender)
{
    char key[KEY_MAX];
    return map_get(&all->map, count_make_key(key, domain, sender));
}

static struct count *count_new(struct counts *all, slice domain, int64_t sender, uint64_t before)
{
    char text[KEY_MAX];
    slice key = count_make_key(text, domain, sender);
    counts_trim(all);
    if (all->map.count == OUTGOING_COUNTS_MAX)
        count_free(CONTAINER_OF(all->used.next, struct count, node));
    struct count *c = mem_zalloc(sizeof *c + key.len);
    c->all = all;
    c->fresh = true;
    c->len = (uint16_t)key.len;
    memcpy(c->key, key.ptr, key.len);
    c->total = map_get(&all->totals, (slice){ (const char *)&sender, sizeof sender });
    if (c->total == NULL) {
        c->total = mem_new(struct total);
        c->total->sender = sender;
        map_put(&all->totals, c->total);
    }
    c->total->counts++;
    map_put(&all->map, c);
    list_append(&all->used, &c->node);
    count_read(c, domain, sender, before);
    return c;
}

static slice domain_to(const struct stanza *st) { return jid_split(stanza_to(st)).domain; }

bool outgoing_has_room(struct worker *w, const struct stanza *st, int64_t sender)
{
    slice domain = domain_to(st);
    struct counts *all = outgoing_counts(w);
    uint64_t max = (uint64_t)setting_int(&kept_max);
    if (all == NULL) /* the worker ends */
        return true;
    struct count *c = count_find(all, domain, sender);
    struct total *t = map_get(&all->totals, (slice){ (const char *)&sender, sizeof sender });
    if ((c == NULL || c->messages < max) && (t == NULL || t->messages < OUTGOING_DOMAINS * max))
        return true;
    if (c != NULL && c->op == NULL && counts_now(all) - c->read_us >= AGAIN_US)
        count_read(c, domain, sender, INT64_MAX);
    return false;
}

void outgoing_keep_sent(struct worker *w, struct stanza *st, struct origin origin, uint64_t entry,
                        int64_t sender, enum sent_how how)
{
    struct counts *all = outgoing_counts(w);
    if (how != SENT_KEPT && all != NULL) {
        slice domain = domain_to(st);
        struct count *c = count_find(all, domain, sender);
        if (c == NULL)
            c = count_new(all, domain, sender, entry);
        count_use(c);
        c->since++;
        count_said(c, st);
        count_set(c, (int64_t)c->messages + 1);
    }
    archive_keep_sent(w, st, origin, entry, sender, how);
}

void outgoing_count_settled(struct worker *w, slice domain, int64_t sender, uint32_t messages)
{
    struct counts *all = outgoing_counts(w);
    struct count *c = all == NULL ? NULL : count_find(all, domain, sender);
    if (all == NULL) /* the worker ends */
        return;
    if (c == NULL) { /* since a restart */
        c = count_new(all, domain, sender, INT64_MAX);
        c->forgotten = messages;
    } else {
        c->since -= messages;
        count_set(c, (int64_t)c->messages - messages);
    }
    c->heard_us = counts_now(all);
    count_use(c);
}

static struct count *count_that_is_heard(const struct worker *w, const struct stanza *error,
                                         int64_t sender)
{
    struct counts *all = outgoing_counts(w);
    struct count *c =
        all == NULL ? NULL : count_find(all, jid_split(stanza_from(error)).domain, sender);
    return c != NULL && (c->messages > 0 || count_is_heard(c)) ? c : NULL;
}

bool outgoing_is_heard(const struct worker *w, const struct stanza *error, int64_t sender)
{
    const struct count *c = count_that_is_heard(w, error, sender);
    return c != NULL && (c->forgotten > 0 || count_place_of(c, error) < c->ids_len);
}

void outgoing_heard(struct worker *w, const struct stanza *error, int64_t sender)
{
    struct count *c = count_that_is_heard(w, error, sender);
    uint32_t at = c == NULL ? 0 : count_place_of(c, error);
    if (c != NULL && at < c->ids_len)
        count_forget(c, at);
    else if (c != NULL && c->forgotten > 0)
        c->forgotten--;
}

bool outgoing_count_learn(struct worker *w, slice domain, int64_t sender)
{
    struct counts *all = outgoing_counts(w);
    const struct count *c = all == NULL ? NULL : count_find(all, domain, sender);
    if (all == NULL || (c != NULL && !c->fresh))
        return false;
    if (c == NULL)
        (void)count_new(all, domain, sender, INT64_MAX);
    return true;
}

static void counts_start(struct worker *w)
{
    struct counts *all = mem_new(struct counts);
    all->worker = w;
    map_init(&all->map, count_key);
    map_init(&all->totals, total_key);
    list_init(&all->used);
    *worker_state(w, slot) = all;
}

static void counts_stop(struct worker *w)
{
    struct counts *all = outgoing_counts(w);
    while (!list_empty(&all->used))
        count_free(CONTAINER_OF(all->used.next, struct count, node));
    map_fini(&all->map);
    map_fini(&all->totals);
    mem_free(&all);
    *worker_state(w, slot) = NULL;
}

const struct feature outgoing_feature = {
    .name = "outgoing",
    .parts = PART_MESSAGE,
    .settings = (struct setting *const[]){ &kept_max, NULL },
    .messages = (const struct message_row *const[]){ &outgoing_bounce_message, NULL },
    .worker.slot = &slot,
    .worker.start = counts_start,
    .worker.stop = counts_stop,
};
