/* webhook_queue: the webhooks, and the queue of each: the events that wait for its receiver, those
 * of one subject in order. An event here is its place in the queue alone; its body is in the
 * database. Nothing is written or sent here. At the home of DUTY_WEBHOOKS. */
#pragma once
#include "base/list.h"
#include "base/map.h"
#include "base/slice.h"
#include "notify/webhook_post.h"
#include <stdbool.h>
#include <stdint.h>

struct arena;

enum { WEBHOOKS_MAX = 32, WEBHOOK_URL_MAX = 1000, WEBHOOK_SECRET_MAX = 1000 };

struct webhook {
    struct list node;
    struct arena *arena;
    int64_t id;
    slice url, events, secret; /* in the arena; secret empty: it cannot be read */
    uint32_t kinds;
    struct list items;             /* all that wait, by id */
    struct list first;             /* of those, the first one of each subject */
    struct map last;               /* and the last one */
    uint64_t created_us, taken_us; /* of the wall clock */
    uint64_t due_us;
    uint64_t taken;     /* since the start */
    unsigned waiting;   /* items */
    unsigned unstored;  /* events for it that are not in the database yet */
    unsigned flights;   /* under way */
    unsigned failures;  /* connections that failed, since one succeeded */
    unsigned refusals;  /* requests that were not taken, since one was */
    uint64_t leaves_us; /* it was deleted: until then it hears of that; 0: it was not */
    bool deleted;       /* freed when nothing is under way */
    char why[WEBHOOK_WHY_BYTES];
};

/* An event in the queue of a webhook. Its body is in the database. */
struct webhook_item {
    struct list node, first;
    struct webhook_item *before, *behind; /* of the same subject */
    int64_t id;
    uint64_t subject, at_us, due_us; /* subject: a hash; at_us: of the wall clock, due_us not */
    unsigned attempts;
    bool flying;
};

/* "user.*; alarm.raised", "*": as bits; 0: it is no such list. */
uint32_t webhook_kinds(slice events);
bool webhook_url_ok(slice url);
bool webhook_events_ok(slice events);

extern struct list webhooks_all; /* struct webhook, by id; at the home of the duty */
void webhook_queue_start(void);  /* none is read yet */
void webhook_queue_stop(void);   /* nothing is under way; frees all */
/* The webhooks, and what waits for them. false: nothing can be said or changed yet. */
bool webhooks_are_read(void);
void webhooks_set_read(void);
struct webhook *webhook_find(int64_t id);
int64_t webhook_new_id(void); /* 0: there are WEBHOOKS_MAX */
/* It is stored. */
void webhook_put(int64_t id, slice url, slice events, slice secret, uint64_t created_us);
const char *webhook_context(int64_t id, struct arena *arena); /* that its secret is sealed in */
/* It gets no events any more. Freed, or `deleted` until nothing of it is under way. */
void webhook_remove(struct webhook *h);
void webhook_free(struct webhook *h); /* it was removed, and nothing of it is under way any more */
void webhook_end(struct webhook *h);  /* the same, with what waits for it */

/* A row of the queue in the database. They are read in the order of their ids. */
struct webhook_row {
    int64_t id;
    slice subject;
    uint64_t at_us; /* of the wall clock */
    unsigned attempts;
};
void webhook_waits(struct webhook *h, const struct webhook_row *row);
int64_t webhook_new_item_id(void);
/* Behind all others. */
struct webhook_item *webhook_item_add(int64_t id, struct webhook *h, slice subject, uint64_t at_us);
void webhook_item_free(struct webhook *h, struct webhook_item *i);
void webhook_forget_items(struct webhook *h); /* those that are not under way */
unsigned webhooks_waiting(void);              /* items of all */
int64_t webhooks_first_waiting(void);         /* the lowest id of these; none: the next new one */
