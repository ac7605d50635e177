#include "ext/mam/mam_retract.h"
#include "account/account.h"
#include "account/guest.h"
#include "archive/archive.h"
#include "archive/event.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/ensure.h"
#include "base/hash.h"
#include "base/map.h"
#include "base/mem.h"
#include "codec/xml_elem.h"
#include "codec/xml_write.h"
#include "ext/mam/mam_talk.h"
#include "home/here.h"
#include "home/host.h"
#include "home/router.h"
#include "home/ticket.h"
#include "session/session.h"
#include "session/session_input.h"
#include "talk/message.h"
#include "xmpp/jid.h"
#include "xmpp/ns.h"
#include "xmpp/retract.h"

enum { ID_MAX = 1023, TRIES = 10, RETRACTIONS_MAX = 512, RETRACTIONS_BYTES_MAX = 4 << 20 };

struct retraction {
    struct arena *arena; /* holds this, too */
    struct retract_line *line;
    struct retraction *next; /* in its line */
    struct mam_search search;
    struct account *account; /* where it was said, or did not come in; pinned */
    int64_t author;          /* its account; 0: none of ours */
    int64_t owner;           /* whose archive is looked at: the account's, then its author's */
    bool refused;            /* the account's own archive is not changed */
    bool told;               /* its sender has an error already, or gets none */
    slice target;            /* id of what is retracted */
    slice id;                /* of the message that retracts it */
    struct stanza *st;       /* the message that retracts it */
    struct origin origin;
    uint64_t at_us;
    struct stanza *tombstone; /* NULL: none is made yet */
    uint64_t entry;           /* archive id, for its addressee, of what it replaces; 0: none */
    unsigned tries;
};

/* What an author retracts, in order. The first one is under way. */
struct retract_line {
    slice author; /* on the heap */
    struct retraction *first, **tail;
    uint32_t count, bytes;
};

unsigned mam_retract_slot;

static void mam_retract_look(struct retraction *r);

static bool retraction_is_sent(const struct retraction *r) { return r->owner == r->author; }

static slice retract_line_key(const void *line)
{
    return ((const struct retract_line *)line)->author;
}

static struct map *retract_lines(struct worker *w)
{
    struct map *m = *worker_state(w, mam_retract_slot);
    if (m == NULL) {
        m = *worker_state(w, mam_retract_slot) = mem_new(struct map);
        map_init(m, retract_line_key);
    }
    return m;
}

/* An occupant of a room has its full JID: the others there are somebody else. */
static slice retract_author(const struct worker *w, const struct stanza *st)
{
    struct jid from = jid_split(stanza_from(st));
    return host_find(worker_node(w), from.domain, &(slice){ 0 }) != NULL ? from.full
                                                                         : stanza_from_bare(st);
}

static struct retract_line *retract_line_of(struct worker *w, const struct stanza *st)
{
    struct map *lines = retract_lines(w);
    slice author = retract_author(w, st);
    struct retract_line *line = map_get(lines, author);
    if (line == NULL) {
        line = mem_new(struct retract_line);
        line->author = slice_keep(author);
        line->tail = &line->first;
        map_put(lines, line);
    }
    return line;
}

static void retract_line_free(struct retract_line *line)
{
    ensure(line->first == NULL);
    slice_release(&line->author);
    mem_free(&line);
}

static void retraction_end(struct worker *w, struct retraction *r, enum store_result result)
{
    struct arena *arena = r->arena;
    if (result != STORE_OK && !r->told)
        route_error(w, r->st, SE_RESOURCE_CONSTRAINT,
                    SLICE("the message could not be retracted in the archive"));
    if (r->origin.session != 0)
        ticket_done(w, r->origin);
    stanza_unref(&r->st);
    stanza_unref(&r->tombstone);
    account_unpin(r->account);
    arena_destroy(&arena);
}

/* The next of the line goes on. If the database does not answer, all that wait have waited long
 * enough. */
static void mam_retract_end(struct retraction *r, enum store_result result)
{
    struct worker *w = r->account->worker;
    struct retract_line *line = r->line;
    bool all = result != STORE_OK && result != STORE_CONFLICT;
    ensure(account_is_pinned(r->account) && line->first == r);
    line->first = all ? NULL : r->next;
    line->count--;
    line->bytes -= r->st->bytes;
    if (!all)
        r->next = NULL;
    if (line->first != NULL) {
        mam_retract_look(line->first);
    } else {
        map_del(retract_lines(w), line->author);
        retract_line_free(line);
    }
    for (struct retraction *next; r != NULL; r = next) {
        next = r->next;
        retraction_end(w, r, result);
    }
}

static struct stanza *tombstone_of(const struct stanza *st, const struct retraction *r)
{
    struct buf content;
    struct xml_write x;
    char stamp[CLOCK_STAMP_LEN];
    clock_stamp(stamp, r->at_us);
    xml_begin(&x, &content, XML_PART_MAX);
    xml_open_with(&x, "retracted", NS_RETRACT, "stamp", slice_of(stamp));
    if (r->id.len <= ID_MAX)
        xml_attr(&x, "id", r->id);
    xml_close(&x);
    return stanza_make_buf(STANZA_MESSAGE, (enum stanza_type)st->type, stanza_from(st),
                           stanza_to(st), stanza_id(st), &content);
}

static void mam_retract_buried(void *arg, enum store_result result, const struct store_batch *b)
{
    struct retraction *r = arg;
    (void)b;
    ensure(account_is_pinned(r->account));
    if (result == STORE_OK && r->entry != 0)
        message_replaced(r->account, r->entry, r->tombstone);
    if (result == STORE_CONFLICT && ++r->tries < TRIES)
        mam_retract_look(r);
    else
        mam_retract_end(r, result);
}

/* A conflict if it was changed meanwhile: by its author again, or as its addressee is deleted. */
static void mam_retract_bury(struct retraction *r, const struct archive_line *m,
                             const struct stanza *st)
{
    struct worker *w = r->account->worker;
    struct store_batch *b = store_write(worker_store(w), r->search.lane);
    struct buf text;
    r->tombstone = tombstone_of(st, r);
    r->entry = (uint64_t)m->rcpt_entry;
    buf_init(&text, STORE_BATCH_BYTES_MAX);
    stanza_store(&text, r->tombstone);
    archive_retract(b, m, buf_fit(&text),
                    &(struct archive_event){ .kind = EVENT_RETRACTED, .at_us = r->at_us },
                    r->arena);
    archive_edit(b);
    buf_fini(&text);
    store_submit(b, worker_loop(w), 0, mam_retract_buried, r);
}

static bool mam_retract_found(struct mam_search *s, const struct archive_line *m, slice said,
                              const struct stanza *st)
{
    struct retraction *r = s->arg;
    struct worker *w = r->account->worker;
    struct elem e;
    (void)said;
    ensure(account_here(r->account) && account_is_pinned(r->account));
    if (!retract_has_id(st, r->target, loop_scratch(worker_loop(w))) ||
        !mam_same_talk(w, r->st, st, retraction_is_sent(r)))
        return false;
    stanza_unref(&r->tombstone); /* of a try before */
    bool theirs = r->refused && m->rcpt_entry != 0;
    bool already = (m->flags & MESSAGE_RETRACTED) != 0 ||
                   stanza_find(st, "retracted", NS_RETRACT, &e); /* nobody had it in an archive */
    if (already && !theirs && m->rcpt_entry != 0) { /* perhaps by a write that was given up */
        r->tombstone = tombstone_of(st, r);
        message_replaced(r->account, (uint64_t)m->rcpt_entry, r->tombstone);
    }
    if (theirs || already)
        mam_retract_end(r, STORE_OK);
    else
        mam_retract_bury(r, m, st);
    return true;
}

static void mam_retract_not_found(struct mam_search *s, enum store_result result)
{
    struct retraction *r = s->arg;
    if (result == STORE_OK && r->author != 0 && !retraction_is_sent(r)) {
        r->owner = r->author;
        mam_retract_look(r);
    } else {
        mam_retract_end(r, result);
    }
}

static void mam_retract_look(struct retraction *r)
{
    bool sent = retraction_is_sent(r);
    r->search =
        (struct mam_search){ .worker = r->account->worker,
                             .arg = r,
                             .owner = r->owner,
                             .address = sent ? stanza_to_bare(r->st) : stanza_from_bare(r->st),
                             .id = r->target,
                             .user = hash_keyed(r->line->author),
                             .lane = (uint64_t)r->owner,
                             .before = INT64_MAX,
                             .found = mam_retract_found,
                             .end = mam_retract_not_found };
    mam_search(&r->search);
}

static void retract_line_join(struct retract_line *line, struct retraction *r)
{
    ensure(r->next == NULL && account_is_pinned(r->account));
    r->line = line;
    *line->tail = r;
    line->tail = &r->next;
    line->bytes += r->st->bytes;
    if (++line->count == 1)
        mam_retract_look(r);
}

bool mam_retract(struct account *a, const struct passage *p)
{
    struct worker *w = a->worker;
    slice target = retract_target(p->st, loop_scratch(worker_loop(w)));
    if (target.len == 0 || target.len > ID_MAX ||
        (p->way == PASSAGE_SENT && route_keeps_both(w, p->st)))
        return false;
    struct retract_line *line = retract_line_of(w, p->st);
    bool told = p->way == PASSAGE_REFUSED && !account_is_guest(a); /* a guest has the message */
    if (line->count == RETRACTIONS_MAX || line->bytes > RETRACTIONS_BYTES_MAX) {
        if (!told)
            route_error(w, p->st, SE_RESOURCE_CONSTRAINT,
                        SLICE("too many retractions wait: send this one again later"));
        return false;
    }
    struct arena *arena = arena_create(0);
    struct retraction *r = arena_new(arena, struct retraction, 1);
    int64_t author = p->way == PASSAGE_SENT ? a->id : p->sender;
    /* An account that is being deleted refuses it, too, but nobody has its archive any more. */
    bool refused = told && a->removing < REMOVING_EMPTIES;
    *r = (struct retraction){ .arena = arena,
                              .account = a,
                              .author = author,
                              .owner = refused ? author : a->id,
                              .refused = refused,
                              .told = told,
                              .target = slice_dup(arena, target),
                              .id = slice_dup(arena, stanza_id(p->st)),
                              .st = stanza_ref(p->st),
                              .origin = p->origin,
                              .at_us = loop_wall_us(worker_loop(w)) };
    account_pin(a);
    retract_line_join(line, r);
    return p->origin.session != 0;
}

void mam_retract_stop(struct worker *w)
{
    struct map *lines = *worker_state(w, mam_retract_slot);
    struct retract_line *line;
    if (lines == NULL)
        return;
    for (uint32_t i = 0; (line = map_next(lines, &i)) != NULL;) {
        for (struct retraction *r = line->first, *next; r != NULL; r = next) {
            next = r->next;
            stanza_unref(&r->st);
            stanza_unref(&r->tombstone);
            arena_destroy(&(struct arena *){ r->arena });
        }
        line->first = NULL;
        retract_line_free(line);
    }
    map_fini(lines);
    mem_free(&lines);
    *worker_state(w, mam_retract_slot) = NULL;
}
