#include "ext/mam/mam_events.h"
#include "archive/event.h"
#include "archive/reader.h"
#include "base/arena.h"
#include "base/clock.h"
#include "codec/xml_elem.h"
#include "ext/mam/mam_talk.h"
#include "home/here.h"
#include "xmpp/ns.h"
#include "xmpp/retract.h"
#include "xmpp/stanza.h"

enum { ROWS_DEFAULT = 100, ROWS_MAX = 1000 };

/* `o` is the message that the event is about, or that corrects. If a correction was retracted
 * itself, the event of that, `r`, has its words. The last row of the log stays when nobody has it,
 * and is empty. */
static struct store_stmt read_events = {
    .name = "mam.events",
    .sql = "SELECT m.id, m.at_us, coalesce(v.kind, 0), m.remote, coalesce(r.stanza, m.stanza),"
           " o.id, o.sender, o.sender_entry, o.rcpt, o.rcpt_entry FROM message m"
           " LEFT JOIN archive_event v ON v.id = m.id"
           " JOIN message o ON o.id = coalesce(v.about, m.id)"
           " LEFT JOIN archive_event t ON t.about = m.id LEFT JOIN message r ON r.id = t.id"
           " WHERE m.id > $1 AND (m.flags & 24) <> 0 AND m.stanza <> ''"
           " AND m.id <= " LOG_HORIZON " ORDER BY m.id LIMIT $2",
    .params = "ii",
    .cols = "iiiTtiiiii",
};
struct store_stmt *const mam_events_stmts[] = { &read_events, NULL };

struct event {
    int64_t id, at_us, kind, about;
    int64_t owner, entry; /* one that has the message in an archive; 0: nobody has */
    bool sent;            /* by the owner */
    slice by, stanza;
    slice corrects; /* the id, if it corrects; and the address that stands for its conversation */
    slice address;
    slice was; /* what was corrected; empty: it is not there */
};

/* In the arena of its call. */
struct listing {
    struct command_call *call;
    struct worker *worker;
    struct event *events;
    uint32_t count, at, limit; /* at: the next whose earlier version is looked for */
    bool more;
    int64_t last; /* of the rows that were read */
    struct mam_search search;
};

/* NULL: it is not a stanza, which what is in the log always is. */
static struct stanza *event_stanza(const struct listing *l, slice text)
{
    struct stanza *st;
    return stanza_load(&st, text, worker_xml(l->worker), l->call->arena) == OK ? st : NULL;
}

static bool event_in_room(const struct event *e) { return e->owner >= ROOM_ID_MIN; }

/* Who said it: a room has the author as `to`. */
static slice event_author(const struct event *e, const struct stanza *st)
{
    return event_in_room(e) ? stanza_to_bare(st) : stanza_from_bare(st);
}

static void add_body(struct command_call *call, const char *key, const struct stanza *st)
{
    if (st != NULL && stanza_has(st, KNOWN(BODY)))
        command_text(call, key, stanza_child_text(st, KNOWN_BODY, call->arena));
}

static const char *event_kind(const struct event *e)
{
    return e->kind == EVENT_MODERATED   ? "moderated"
           : e->kind == EVENT_RETRACTED ? "retracted"
                                        : "corrected";
}

static void add_event(const struct listing *l, const struct event *e)
{
    struct command_call *call = l->call;
    char stamp[CLOCK_STAMP_LEN];
    struct stanza *st = event_stanza(l, e->stanza);
    struct stanza *was = e->kind != 0 ? st : e->was.len > 0 ? event_stanza(l, e->was) : NULL;
    slice author = st != NULL ? event_author(e, st) : SLICE("");
    clock_stamp(stamp, (uint64_t)e->at_us);
    command_row(call);
    command_int(call, "id", e->id);
    command_text(call, "time", slice_of(stamp));
    command_text(call, "kind", slice_of(event_kind(e)));
    command_text(call, "by", e->by.len > 0 ? e->by : author);
    command_text(call, "author", author);
    if (st != NULL)
        command_text(call, "with", event_in_room(e) ? stanza_from_bare(st) : stanza_to_bare(st));
    if (e->about != 0)
        command_int(call, "about", e->about);
    add_body(call, "before", was);
    if (e->kind == 0)
        add_body(call, "after", st);
    if (was != NULL)
        command_text(call, "stanza", e->kind != 0 ? e->stanza : e->was);
    if (was != st)
        stanza_unref(&was);
    stanza_unref(&st);
}

static void events_end(const struct listing *l)
{
    for (uint32_t i = 0; i < l->count; i++)
        add_event(l, &l->events[i]);
    if (l->more)
        command_done_more_number(l->call, l->last);
    else
        command_done(l->call, "%s", l->count > 0 ? "" : "there are none");
}

static void events_fail(const struct listing *l, enum store_result r)
{
    command_fail(l->call, err_of_store(r),
                 r == STORE_CONFLICT ? "these are too many bytes; ask for less with --limit"
                                     : "the log could not be read");
}

/* The id that a message corrects; empty: it corrects nothing. */
static slice event_corrects(const struct stanza *st, struct arena *tmp)
{
    struct elem e;
    return archive_kind(st) != 0 && stanza_find(st, "replace", NS_CORRECT, &e)
               ? elem_attr(&e, "id", tmp)
               : SLICE("");
}

/* In a room all are one conversation. */
static bool event_same_talk(const struct listing *l, const struct event *e, const struct stanza *st,
                            const struct stanza *earlier)
{
    return event_in_room(e) ? slice_eq(event_author(e, earlier), event_author(e, st))
                            : mam_same_talk(l->worker, st, earlier, e->sent);
}

static void event_look(struct listing *l);

static bool event_found(struct mam_search *s, const struct archive_line *m, slice said,
                        const struct stanza *earlier)
{
    struct listing *l = s->arg;
    struct event *e = &l->events[l->at];
    struct arena *tmp = loop_scratch(worker_loop(l->worker));
    struct stanza *st;
    if (stanza_load(&st, e->stanza, worker_xml(l->worker), tmp) != OK)
        return false;
    bool is =
        event_same_talk(l, e, st, earlier) && (retract_has_id(earlier, e->corrects, tmp) ||
                                               slice_eq(event_corrects(earlier, tmp), e->corrects));
    stanza_unref(&st);
    if (is) {
        e->about = m->id;
        e->was = slice_dup(l->call->arena, said);
        l->at++;
        event_look(l);
    }
    return is;
}

static void event_not_found(struct mam_search *s, enum store_result result)
{
    struct listing *l = s->arg;
    if (result != STORE_OK) {
        events_fail(l, result);
        return;
    }
    l->at++;
    event_look(l);
}

/* Looks for what the next of the messages corrects, one after another. */
static void event_look(struct listing *l)
{
    while (l->at < l->count && (l->events[l->at].kind != 0 || l->events[l->at].entry == 0))
        l->at++;
    if (l->at == l->count) {
        events_end(l);
        return;
    }
    const struct event *e = &l->events[l->at];
    l->search = (struct mam_search){ .worker = l->worker,
                                     .arg = l,
                                     .owner = e->owner,
                                     .address = e->address,
                                     .id = e->corrects,
                                     .before = (uint64_t)e->entry,
                                     .found = event_found,
                                     .end = event_not_found };
    mam_search(&l->search);
}

static struct event event_of(const struct store_batch *b, uint32_t row, struct arena *arena)
{
    struct event e = { .id = store_int(b, 0, row, 0),
                       .at_us = store_int(b, 0, row, 1),
                       .kind = store_int(b, 0, row, 2),
                       .stanza = slice_dup(arena, store_text(b, 0, row, 4)) };
    int64_t sender = store_int(b, 0, row, 6), rcpt = store_int(b, 0, row, 8);
    int64_t sent = store_int(b, 0, row, 7), received = store_int(b, 0, row, 9);
    bool there = received != 0;
    if (e.kind != 0) {
        e.by = slice_dup(arena, store_text(b, 0, row, 3));
        e.about = store_int(b, 0, row, 5);
    }
    e.owner = there ? rcpt : sender;
    e.entry = there ? received : sent;
    e.sent = !there;
    return e;
}

/* False: it corrected another, and its own words are gone, because nobody archived them. */
static bool event_prepare(const struct listing *l, struct event *e)
{
    struct arena *arena = l->call->arena;
    struct stanza *st = e->kind == 0 ? event_stanza(l, e->stanza) : NULL;
    if (st != NULL) {
        bool to = e->sent && !event_in_room(e);
        e->corrects = slice_dup(arena, event_corrects(st, arena));
        e->address = slice_dup(arena, to ? stanza_to_bare(st) : event_author(e, st));
    }
    stanza_unref(&st);
    return e->kind != 0 || e->corrects.len > 0;
}

static void events_read(void *arg, enum store_result result, const struct store_batch *b)
{
    struct listing *l = arg;
    if (result != STORE_OK) {
        events_fail(l, result);
        return;
    }
    uint32_t rows = store_row_count(b, 0);
    l->more = rows > l->limit;
    rows = l->more ? l->limit : rows;
    l->events = arena_new(l->call->arena, struct event, rows + 1);
    for (uint32_t i = 0; i < rows; i++) {
        struct event e = event_of(b, i, l->call->arena);
        l->last = e.id;
        if (event_prepare(l, &e))
            l->events[l->count++] = e;
    }
    event_look(l);
}

static void run_events(struct command_call *call)
{
    struct listing *l = arena_new(call->arena, struct listing, 1);
    *l = (struct listing){ .call = call,
                           .worker = call->worker,
                           .limit = (uint32_t)command_number(call, "limit", ROWS_DEFAULT) };
    struct store_batch *b = store_read(worker_store(l->worker), 0);
    STORE_ADD(b, &read_events, STORE_ANY_ROWS, SV_I(command_number(call, "after", 0)),
              SV_I(l->limit + 1));
    store_submit(b, worker_loop(l->worker), 0, events_read, l);
}

struct command mam_events_command = {
    .name = "archive events",
    .effect = COMMAND_READS,
    .area = "compliance",
    .audited = true,
    .reasoned = true,
    .args =
        (const struct command_arg[]){
            { .name = "after",
              .kind = ARG_OPTION,
              .type = PARAM_INT,
              .min = 0,
              .max = INT64_MAX,
              .doc = "begin after this event" },
            COMMAND_LIMIT_ARG(ROWS_MAX, "show at most this number; 100 if not given"),
            COMMAND_REASON_ARG,
            { 0 } },
    .run = run_events,
    .doc =
        "Lists corrections and retractions: who made them, when, and what stood there before. They "
        "are in the order in which they were committed, and go with the messages that they are "
        "about. No user sees these words any more, so whoever is not at the control socket must "
        "state a "
        "reason.",
    .columns =
        (const struct command_column[]){
            { .name = "id", .type = PARAM_INT, .doc = "number of the event in the log" },
            { .name = "time", .type = PARAM_STAMP, .doc = "when it was stored" },
            { .name = "kind",
              .doc = "corrected or retracted (by its author), or moderated (by a moderator)" },
            { .name = "by", .type = PARAM_JID, .doc = "who did it" },
            { .name = "author", .type = PARAM_JID, .doc = "who wrote the message" },
            { .name = "with",
              .optional = true,
              .type = PARAM_JID,
              .doc = "to whom, or in which room" },
            { .name = "about",
              .optional = true,
              .type = PARAM_INT,
              .doc = "number of that message in the log, if it is there" },
            { .name = "before", .optional = true, .doc = "its text before" },
            { .name = "after", .optional = true, .doc = "its text after a correction" },
            { .name = "stanza",
              .optional = true,
              .wide = true,
              .doc = "the whole stanza before, as XML" },
            { 0 } },
};
