#include "notify/webhook_queue.h"
#include "base/arena.h"
#include "base/ensure.h"
#include "base/hash.h"
#include "base/mem.h"
#include "codec/http_reply.h"
#include "ops/events.h"

struct list webhooks_all;
static struct {
    bool read; /* webhooks, and what waits for them: nothing is written or sent before */
    unsigned count, waiting; /* waiting: items of all */
    int64_t last_hook, last_item;
} hooks;

/* Lists of kinds. */

static uint32_t kinds_of_word(slice word)
{
    uint32_t kinds = 0;
    bool group = word.len > 1 && word.ptr[word.len - 1] == '*' && word.ptr[word.len - 2] == '.';
    for (unsigned i = 0; i < EVENT_KINDS; i++) {
        slice name = slice_of(event_row((enum event_kind)i)->name);
        if (slice_is(word, "*") || slice_eq(word, name) ||
            (group && slice_starts(name, (slice){ word.ptr, word.len - 1 })))
            kinds |= UINT32_C(1) << i;
    }
    return kinds;
}

uint32_t webhook_kinds(slice events)
{
    slice word, rest = events;
    uint32_t kinds = 0;
    while (slice_word(&rest, &word)) {
        uint32_t some = kinds_of_word(word);
        if (some == 0)
            return 0;
        kinds |= some;
    }
    return kinds;
}

bool webhook_events_ok(slice events) { return webhook_kinds(events) != 0; }

bool webhook_url_ok(slice url)
{
    struct http_uri uri;
    bool secure;
    return url.len <= WEBHOOK_URL_MAX && webhook_uri(&uri, url, &secure);
}

static void kinds_changed(void)
{
    uint32_t kinds = hooks.read ? 0 : UINT32_MAX;
    LIST_EACH (it, &webhooks_all)
        kinds |= CONTAINER_OF(it, struct webhook, node)->kinds;
    events_want(kinds);
}

/* Webhooks. */

struct webhook *webhook_find(int64_t id)
{
    LIST_EACH (it, &webhooks_all) {
        struct webhook *h = CONTAINER_OF(it, struct webhook, node);
        if (h->id == id)
            return h;
    }
    return NULL;
}

int64_t webhook_new_id(void) { return hooks.count < WEBHOOKS_MAX ? ++hooks.last_hook : 0; }

const char *webhook_context(int64_t id, struct arena *arena)
{
    return arena_printf(arena, "webhook %lld", (long long)id);
}

static slice item_subject(const void *item)
{
    const struct webhook_item *i = item;
    return (slice){ (const char *)&i->subject, sizeof i->subject };
}

void webhook_put(int64_t id, slice url, slice events, slice secret, uint64_t created_us)
{
    struct arena *arena = arena_create(0);
    struct webhook *h = arena_new(arena, struct webhook, 1);
    *h = (struct webhook){ .arena = arena,
                           .id = id,
                           .url = slice_dup(arena, url),
                           .events = slice_dup(arena, events),
                           .secret = slice_dup(arena, secret),
                           .kinds = webhook_kinds(events),
                           .created_us = created_us };
    list_init(&h->items);
    list_init(&h->first);
    map_init(&h->last, item_subject);
    list_append(&webhooks_all, &h->node);
    hooks.last_hook = id > hooks.last_hook ? id : hooks.last_hook;
    hooks.count++;
    kinds_changed();
}

void webhook_free(struct webhook *h)
{
    struct arena *arena = h->arena;
    ensure(h->flights == 0 && list_empty(&h->items) && list_empty(&h->first));
    map_fini(&h->last);
    mem_wipe((char *)(uintptr_t)h->secret.ptr, h->secret.len);
    arena_destroy(&arena);
}

void webhook_remove(struct webhook *h)
{
    list_remove(&h->node);
    hooks.count--;
    h->deleted = true;
    webhook_forget_items(h);
    kinds_changed();
    if (h->flights == 0)
        webhook_free(h);
}

/* What waits for them. */

struct webhook_item *webhook_item_add(int64_t id, struct webhook *h, slice subject, uint64_t at_us)
{
    struct webhook_item *i = mem_new(struct webhook_item);
    *i = (struct webhook_item){ .id = id, .subject = hash_keyed(subject), .at_us = at_us };
    list_append(&h->items, &i->node);
    i->before = map_del(&h->last, item_subject(i));
    map_put(&h->last, i);
    if (i->before != NULL)
        i->before->behind = i;
    else
        list_append(&h->first, &i->first);
    h->waiting++;
    hooks.waiting++;
    return i;
}

void webhook_waits(struct webhook *h, const struct webhook_row *row)
{
    struct webhook_item *i = webhook_item_add(row->id, h, row->subject, row->at_us);
    i->attempts = row->attempts;
    hooks.last_item = row->id;
}

void webhook_item_free(struct webhook *h, struct webhook_item *i)
{
    ensure(h->waiting > 0 && hooks.waiting > 0);
    if (i->before != NULL)
        i->before->behind = i->behind;
    else
        list_remove(&i->first);
    if (i->behind != NULL)
        i->behind->before = i->before;
    else
        map_del(&h->last, item_subject(i));
    if (i->before == NULL && i->behind != NULL)
        list_append(&h->first, &i->behind->first);
    else if (i->before != NULL && i->behind == NULL)
        map_put(&h->last, i->before);
    list_remove(&i->node);
    h->waiting--;
    hooks.waiting--;
    mem_free(&i);
}

void webhook_forget_items(struct webhook *h)
{
    struct list *next;
    for (struct list *at = h->items.next; at != &h->items; at = next) {
        struct webhook_item *i = CONTAINER_OF(at, struct webhook_item, node);
        next = at->next;
        if (!i->flying)
            webhook_item_free(h, i);
    }
}

int64_t webhook_new_item_id(void) { return ++hooks.last_item; }

unsigned webhooks_waiting(void) { return hooks.waiting; }

int64_t webhooks_first_waiting(void)
{
    int64_t first = hooks.last_item + 1;
    LIST_EACH (it, &webhooks_all) {
        const struct webhook *h = CONTAINER_OF(it, struct webhook, node);
        if (list_empty(&h->items))
            continue;
        const struct webhook_item *i = CONTAINER_OF(h->items.next, struct webhook_item, node);
        first = i->id < first ? i->id : first;
    }
    return first;
}

/* Begin and end. */

bool webhooks_are_read(void) { return hooks.read; }

void webhooks_set_read(void)
{
    hooks.read = true;
    kinds_changed();
}

void webhook_queue_start(void)
{
    list_init(&webhooks_all);
    kinds_changed();
}

void webhook_end(struct webhook *h)
{
    while (!list_empty(&h->items))
        webhook_item_free(h, CONTAINER_OF(h->items.next, struct webhook_item, node));
    webhook_free(h);
}

void webhook_queue_stop(void)
{
    while (!list_empty(&webhooks_all)) {
        struct webhook *h = CONTAINER_OF(webhooks_all.next, struct webhook, node);
        list_remove(&h->node);
        webhook_end(h);
    }
    hooks.read = false;
}
