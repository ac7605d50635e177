/* report: who is connected with which devices (command "session report"). What a device is, its
 * client says: by the identity in disco#info (XEP-0030) of the capabilities that its presence
 * announces (XEP-0115). The first session of a worker whose client announces some is asked, the
 * others are taken to be like it.
 *
 * Confined to the worker. Limit: KINDS_MAX capabilities a worker are known; clients that announce
 * others are of an unknown kind until one of those is used no more. */
#include "base/arena.h"
#include "base/clock.h"
#include "base/command.h"
#include "base/map.h"
#include "base/mem.h"
#include "codec/xml_elem.h"
#include "ext/ext.h"
#include "im/account.h"
#include "im/ask.h"
#include "im/feature.h"
#include "im/node.h"
#include "im/users.h"
#include "im/worker.h"
#include "xmpp/ns.h"
#include <stdio.h>

enum { KINDS_MAX = 500, KEY_BYTES_MAX = 512, ANSWER_MS = 30000, ROWS_MAX = 50000 };

/* A kind of client. */
struct kind {
    unsigned refs; /* sessions, and a question under way */
    uint16_t key_len;
    char device[16], software[64];
    char key[]; /* node and hash of its capabilities */
};
struct kinds {
    struct map map;
};

static unsigned worker_slot, session_slot;

static slice kind_key(const void *item)
{
    const struct kind *k = item;
    return (slice){ k->key, k->key_len };
}

static struct kinds *kinds_of(struct worker *w)
{
    struct kinds *k = w->state_of[worker_slot];
    if (k == NULL) {
        w->state_of[worker_slot] = k = mem_new(struct kinds);
        map_init(&k->map, kind_key);
    }
    return k;
}

/* When there is no room, what no session uses goes. */
static bool make_room(struct kinds *all)
{
    struct kind *k;
    for (uint32_t i = 0; all->map.count >= KINDS_MAX && (k = map_next(&all->map, &i)) != NULL;)
        if (k->refs == 0) {
            map_del(&all->map, kind_key(k));
            mem_free(&k);
        }
    return all->map.count < KINDS_MAX;
}

static void copy(char *out, size_t cap, slice text)
{
    size_t n = text.len < cap - 1 ? text.len : cap - 1;
    while (n > 0 && n < text.len && ((unsigned char)text.ptr[n] & 0xc0) == 0x80)
        n--; /* not within a character */
    if (n > 0)
        memcpy(out, text.ptr, n);
    out[n] = '\0';
}

static void answered(struct worker *w, void *arg, const struct stanza *reply)
{
    struct arena *tmp = loop_scratch(w->loop);
    struct kind *k = arg;
    struct elem query, e;
    k->refs--;
    if (reply == NULL || reply->type != TYPE_RESULT || !stanza_payload(reply, &query) ||
        !elem_is(&query, "query", NS_DISCO_INFO))
        return;
    for (bool more = elem_first(&query, &e); more; more = elem_next(&e, &e)) {
        if (!elem_is(&e, "identity", NS_DISCO_INFO) ||
            !slice_is(elem_attr(&e, "category", tmp), "client"))
            continue;
        copy(k->device, sizeof k->device, elem_attr(&e, "type", tmp));
        copy(k->software, sizeof k->software, elem_attr(&e, "name", tmp));
        return;
    }
}

static void ask(struct session *s, struct kind *k)
{
    struct worker *w = s->account->worker;
    struct buf payload;
    buf_init(&payload, 8 * KEY_BYTES_MAX);
    buf_lit(&payload, "<query xmlns='" NS_DISCO_INFO "' node='");
    xml_escape(&payload, kind_key(k));
    buf_lit(&payload, "'/>");
    struct ask_request request = { .type = TYPE_GET,
                                   .from = jid_split(session_bare(s)).domain,
                                   .to = session_jid(s),
                                   .payload = buf_slice(&payload),
                                   .timeout_ms = ANSWER_MS };
    if (ask_send(w, &request, answered, k) != NULL)
        k->refs++;
    buf_fini(&payload);
}

static void forget(struct session *s)
{
    struct kind *k = s->state_of[session_slot];
    if (k != NULL)
        k->refs--;
    s->state_of[session_slot] = NULL;
}

static void available(struct session *s)
{
    struct worker *w = s->account->worker;
    struct arena *tmp = loop_scratch(w->loop);
    struct elem caps;
    forget(s);
    if (s->presence == NULL || !stanza_child(s->presence, KNOWN_CAPS, &caps))
        return;
    slice node = elem_attr(&caps, "node", tmp), ver = elem_attr(&caps, "ver", tmp);
    if (node.len == 0 || ver.len == 0 || node.len + ver.len >= KEY_BYTES_MAX)
        return;
    slice key = slice_of(arena_printf(tmp, "%.*s#%.*s", SLICE_ARG(node), SLICE_ARG(ver)));
    struct kinds *all = kinds_of(w);
    struct kind *k = map_get(&all->map, key);
    if (k == NULL) {
        if (!make_room(all))
            return;
        k = mem_zalloc(sizeof *k + key.len);
        k->key_len = (uint16_t)key.len;
        memcpy(k->key, key.ptr, key.len);
        map_put(&all->map, k);
    }
    k->refs++;
    s->state_of[session_slot] = k;
    if (k->device[0] == '\0' && k->refs == 1)
        ask(s, k);
}

static void worker_ended(struct worker *w)
{
    struct kinds *all = w->state_of[worker_slot];
    struct kind *k;
    if (all == NULL)
        return;
    for (uint32_t i = 0; (k = map_next(&all->map, &i)) != NULL;) {
        map_del(&all->map, kind_key(k));
        mem_free(&k);
    }
    map_fini(&all->map);
    mem_free(&all);
}

/* session report */

struct count {
    struct command_call *call;
    const char *node;
    bool totals;
    unsigned users, with_one, with_more, sessions, rows;
    char time[CLOCK_STAMP_LEN];
};

static const struct kind *kind_of(const struct session *s)
{
    static const struct kind unknown = { .device = "", .software = "" };
    const struct kind *k = s->state_of[session_slot];
    return k == NULL ? &unknown : k;
}

static bool same_kind(const struct session *s, const struct session *t)
{
    const struct kind *a = kind_of(s), *b = kind_of(t);
    return strcmp(a->device, b->device) == 0 && strcmp(a->software, b->software) == 0;
}

static void add_row(struct count *c, const struct session *s, unsigned sessions)
{
    const struct kind *k = kind_of(s);
    command_row(c->call);
    command_text(c->call, "node", slice_of(c->node));
    command_text(c->call, "user", s->account->jid);
    command_text(c->call, "device", k->device[0] == '\0' ? SLICE("unknown") : slice_of(k->device));
    command_text(c->call, "software", slice_of(k->software));
    command_int(c->call, "sessions", sessions);
    command_text(c->call, "time", slice_of(c->time));
}

/* One row for each kind of client that the user has. */
static void count_account(struct count *c, const struct account *a)
{
    unsigned sessions = 0;
    LIST_EACH (it, &a->sessions) {
        const struct session *s = CONTAINER_OF(it, struct session, node);
        unsigned alike = 0, before = 0;
        sessions++;
        LIST_EACH (at, &a->sessions) {
            const struct session *other = CONTAINER_OF(at, struct session, node);
            if (!same_kind(s, other))
                continue;
            alike++;
            before += other->since_us < s->since_us ||
                      (other->since_us == s->since_us && other->id < s->id);
        }
        if (before == 0 && !c->totals && c->rows++ < ROWS_MAX)
            add_row(c, s, alike);
    }
    c->users += sessions > 0;
    c->with_one += sessions == 1;
    c->with_more += sessions > 1;
    c->sessions += sessions;
}

static void count_worker(struct worker *w, void *arg)
{
    struct count *c = arg;
    const struct account *a;
    for (uint32_t i = 0; (a = map_next(&w->accounts, &i)) != NULL;)
        if (!list_empty(&a->sessions))
            count_account(c, a);
}

static void count_done(struct worker *w, void *arg)
{
    struct count *c = arg;
    (void)w;
    if (c->totals) {
        command_row(c->call);
        command_text(c->call, "node", slice_of(c->node));
        command_int(c->call, "users", c->users);
        command_int(c->call, "one_device", c->with_one);
        command_int(c->call, "several_devices", c->with_more);
        command_int(c->call, "sessions", c->sessions);
        command_text(c->call, "time", slice_of(c->time));
    }
    if (c->rows > ROWS_MAX)
        command_done(c->call, "%u rows, of which %d are shown; --totals counts all", c->rows,
                     ROWS_MAX);
    else
        command_done(c->call, "users: %u, sessions: %u", c->users, c->sessions);
}

static void run_report(struct command_call *call)
{
    struct worker *w = call->worker;
    struct count *c = arena_new(call->arena, struct count, 1);
    c->call = call;
    c->node = w->node->name;
    c->totals = command_flag(call, "totals");
    clock_stamp(c->time, loop_wall_us(w->loop));
    node_tour(w, count_worker, count_done, c);
}

static const struct command_arg report_args[] = {
    { "totals", ARG_FLAG, "how many users and sessions, and users with several devices", NULL },
    { 0 },
};
static struct command session_report = {
    .name = "session report",
    .args = report_args,
    .run = run_report,
    .doc = "Who is connected with which devices: a row for each user and kind of client. The kind "
           "is what the client says in service discovery: pc, phone, tablet, web and others; "
           "\"unknown\" if it says nothing. With the option --csv of musterctl it is a table for "
           "spreadsheets.",
};

static void start(void)
{
    worker_slot = worker_state_slot();
    session_slot = session_state_slot();
}

const struct feature report_feature = {
    .name = "report",
    .commands = (struct command *const[]){ &session_report, NULL },
    .start = start,
    .worker_ended = worker_ended,
    .session_available = available,
    .session_resumed = available,
    .session_freed = forget,
};
