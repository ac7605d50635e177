/* bookmark: bookmarks of registered members (setting muc.bookmark): users who register with a
 * persistent room get a bookmark, so that their clients enter it at login (XEP-0402). It is removed
 * with the registration, and with the room. The room tells the home of the account by a fan. There
 * the account sends itself the requests that its client would send, so that any feature that serves
 * bookmarks stores them. A bookmark that is there already is left as it is. Only accounts of this
 * server get bookmarks. Tasks of one account and room run one after the other, because each first
 * reads what is there. */
#include "account/account.h"
#include "account/guest.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "base/list.h"
#include "base/mem.h"
#include "base/setting.h"
#include "codec/xml_elem.h"
#include "codec/xml_write.h"
#include "core/feature.h"
#include "home/ask.h"
#include "home/fan.h"
#include "home/here.h"
#include "muc/muc.h"
#include "muc/parts.h"
#include "muc/people/affiliation.h"
#include "muc/room/config.h"
#include "muc/room/part.h"
#include "muc/room/room.h"
#include "xmpp/ns.h"

#define NS_BOOKMARKS "urn:xmpp:bookmarks:1"
#define NS_PUBSUB    "http://jabber.org/protocol/pubsub"

enum { ANSWER_MS = 60 * 1000 };

static struct setting bookmark = {
    .name = "muc.bookmark",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_BOOL,
    .doc = "Whether users who register with a persistent room get a bookmark of it, so that their "
           "clients enter the room at login (XEP-0402). It is removed when the registration ends, "
           "and when "
           "the room is destroyed.",
};

/* XEP-0402 §3.1: the item is named by the room, and says how to join it. */
static struct stanza *conference(const struct room *r, slice nick)
{
    slice name = r->config.text[ROOM_NAME];
    struct buf b;
    struct xml_write x;
    xml_begin(&x, &b, XML_PART_MAX);
    xml_open_with(&x, "conference", NS_BOOKMARKS, "autojoin", SLICE("true"));
    xml_attr(&x, "name", name.len > 0 ? name : jid_split(r->jid).local);
    xml_element(&x, "nick", nick);
    xml_close(&x);
    struct stanza *st = stanza_make(STANZA_MESSAGE, TYPE_NORMAL, r->jid, (slice){ "", 0 },
                                    (slice){ 0 }, buf_fit(&b));
    buf_fini(&b);
    return st;
}

/* A bookmark is only made for a user who asked: else an owner could note rooms for others, who
 * would enter them. */
static void bookmark_affiliated(struct room *r, const struct room_affiliated *a)
{
    const struct affiliate *one = room_affiliate(r, a->jid);
    enum registered is = one != NULL && one->nick.len > 0 ? REGISTERED : REGISTERED_NOT;
    bool wanted = is == REGISTERED ? a->applied : a->was_registered;
    struct fan f;
    if (!wanted || !r->stored || !setting_bool(&bookmark))
        return;
    struct stanza *st = conference(r, is == REGISTERED ? one->nick : (slice){ "", 0 });
    fan_begin(&f, r->worker, st, FAN_TAG(FAN_ROOM_BOOKMARK));
    fan_add_with(&f, a->jid, is);
    fan_end(&f);
    stanza_unref(&st);
}

/* A client that enters a room by its bookmark makes it anew. */
static void bookmark_destroyed(struct room *r)
{
    const struct affiliate *a;
    struct fan f;
    if (!setting_bool(&bookmark))
        return;
    struct stanza *st = conference(r, (slice){ "", 0 });
    fan_begin(&f, r->worker, st, FAN_TAG(FAN_ROOM_BOOKMARK));
    for (uint32_t i = 0; (a = map_next(&r->affiliates, &i)) != NULL;)
        if (a->nick.len > 0)
            fan_add_with(&f, a->jid, REGISTERED_NOT);
    fan_end(&f);
    stanza_unref(&st);
}

/* At the home of the account. */

struct task {
    struct list node; /* of the worker's tasks, in the order of arrival */
    struct worker *worker;
    struct account *account; /* pinned, when it is loaded */
    struct stanza *st;
    enum registered is;
    bool runs; /* else it waits for one in front of it */
    size_t bare_len;
    char bare[];
};

static unsigned slot;

static void bookmark_run(struct task *t);

static slice task_bare(const struct task *t) { return (slice){ t->bare, t->bare_len }; }

/* The first one of the same account and room. NULL: none, or the worker has ended. */
static struct task *first_like(const struct task *t)
{
    struct list *tasks = *worker_state(t->worker, slot);
    if (tasks == NULL)
        return NULL;
    LIST_EACH (it, tasks) {
        struct task *other = CONTAINER_OF(it, struct task, node);
        if (slice_eq(task_bare(other), task_bare(t)) &&
            slice_eq(stanza_from(other->st), stanza_from(t->st)))
            return other;
    }
    return NULL;
}

static void task_free(void *arg)
{
    struct task *t = arg;
    list_remove(&t->node);
    struct task *next = worker_stopping(t->worker) ? NULL : first_like(t);
    stanza_unref(&t->st);
    mem_free(&t);
    if (next != NULL)
        bookmark_run(next);
}

static void task_end(struct task *t)
{
    ensure(account_here(t->account) && account_is_pinned(t->account));
    account_unpin(t->account);
    task_free(t);
}

static void bookmark_send(struct task *t, enum stanza_type type, slice payload, ask_fn *then)
{
    struct account *a = t->account;
    const struct ask_request ask = { type, a->jid, a->jid, payload, ANSWER_MS, task_free, { 0 } };
    if (ask_send(a->worker, &ask, then, t) == NULL)
        task_end(t);
}

static void bookmark_done(struct worker *w, void *arg, const struct stanza *reply)
{
    (void)w;
    (void)reply;
    task_end(arg);
}

/* Ends within the start tag of <item>. */
static void open_request(struct xml_write *x, struct buf *b, const char *verb, slice room)
{
    xml_begin(x, b, XML_PART_MAX);
    xml_open(x, "pubsub", NS_PUBSUB);
    xml_open_with(x, verb, NULL, "node", SLICE(NS_BOOKMARKS));
    if (strcmp(verb, "retract") == 0)
        xml_attr(x, "notify", SLICE("true"));
    xml_open_with(x, "item", NULL, "id", room);
}

static void bookmark_put(struct task *t)
{
    struct buf b;
    struct xml_write x;
    open_request(&x, &b, "publish", stanza_from(t->st));
    xml_raw(&x, stanza_content(t->st));
    xml_close(&x);
    xml_close(&x);
    xml_raw(&x, SLICE("<publish-options><x xmlns='" NS_DATA
                      "' type='submit'><field var='FORM_TYPE' type='hidden'><value>" NS_PUBSUB
                      "#publish-options</value></field><field var='pubsub#persist_items'><value>"
                      "true</value></field><field var='pubsub#max_items'><value>max</value></field>"
                      "<field var='pubsub#send_last_published_item'><value>never</value></field>"
                      "<field var='pubsub#access_model'><value>whitelist</value></field></x>"
                      "</publish-options>"));
    xml_close(&x);
    bookmark_send(t, TYPE_SET, buf_fit(&b), bookmark_done);
    buf_fini(&b);
}

static void bookmark_drop(struct task *t)
{
    struct buf b;
    struct xml_write x;
    open_request(&x, &b, "retract", stanza_from(t->st));
    xml_close_all(&x);
    bookmark_send(t, TYPE_SET, buf_fit(&b), bookmark_done);
    buf_fini(&b);
}

/* The node or the item may not be there. Adding and removing take the same steps, so a registration
 * that ends at once leaves no bookmark. */
static void bookmark_was_read(struct worker *w, void *arg, const struct stanza *reply)
{
    struct task *t = arg;
    struct elem pubsub, items, item;
    (void)w;
    bool there = reply != NULL && reply->type == TYPE_RESULT &&
                 stanza_find(reply, "pubsub", NS_PUBSUB, &pubsub) &&
                 elem_child(&pubsub, "items", NS_PUBSUB, &items) &&
                 elem_child(&items, "item", NS_PUBSUB, &item);
    ensure(account_is_pinned(t->account));
    if (reply != NULL && t->is == REGISTERED_NOT)
        bookmark_drop(t);
    else if (reply != NULL && !there)
        bookmark_put(t);
    else
        task_end(t);
}

static void bookmark_loaded(struct account *a, enum err e, void *arg)
{
    struct task *t = arg;
    struct buf b;
    struct xml_write x;
    ensure(account_here(a) && t->account == NULL);
    if (e != OK || a->state != ACTOR_READY || account_is_guest(a)) {
        task_free(t);
        return;
    }
    t->account = a;
    account_pin(a);
    open_request(&x, &b, "items", stanza_from(t->st));
    xml_close_all(&x);
    bookmark_send(t, TYPE_GET, buf_fit(&b), bookmark_was_read);
    buf_fini(&b);
}

static void bookmark_run(struct task *t)
{
    t->runs = true;
    account_with(t->worker, task_bare(t), bookmark_loaded, t);
}

static void bookmark_arrived(struct worker *w, slice bare, uint32_t number, struct stanza *st,
                             slice tag)
{
    (void)tag;
    struct task *t = mem_zalloc(sizeof *t + bare.len);
    t->worker = w;
    t->st = stanza_ref(st);
    t->is = number == REGISTERED ? REGISTERED : REGISTERED_NOT;
    t->bare_len = bare.len;
    memcpy(t->bare, bare.ptr, bare.len);
    list_append(*worker_state(w, slot), &t->node);
    if (first_like(t) == t)
        bookmark_run(t);
}

static void bookmark_worker_start(struct worker *w)
{
    struct list *tasks = mem_new(struct list);
    list_init(tasks);
    *worker_state(w, slot) = tasks;
}

/* Running ones are freed by what they wait for. */
static void bookmark_worker_ended(struct worker *w)
{
    struct list *tasks = *worker_state(w, slot), *node;
    while (tasks != NULL && (node = list_pop(tasks)) != NULL) {
        struct task *t = CONTAINER_OF(node, struct task, node);
        if (t->runs)
            continue;
        stanza_unref(&t->st);
        mem_free(&t);
    }
    mem_free(&tasks);
    *worker_state(w, slot) = NULL;
}

const struct feature muc_bookmark_feature = {
    .name = "muc_bookmark",
    .parts = PART_ROOM | PART_ACCOUNT,
    .settings = (struct setting *const[]){ &bookmark, NULL },
    .fans = (const struct fan_tag[]){ { FAN_ROOM_BOOKMARK, bookmark_arrived }, { 0 } },
    .worker.slot = &slot,
    .worker.start = bookmark_worker_start,
    .worker.ended = bookmark_worker_ended,
};

const struct room_part bookmark_part = { .name = "bookmark",
                                         .affiliated = bookmark_affiliated,
                                         .destroyed = bookmark_destroyed };
