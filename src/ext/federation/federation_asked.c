#include "ext/federation/federation_asked.h"
#include "base/ensure.h"
#include "base/hash.h"
#include "base/list.h"
#include "base/mem.h"
#include "ext/federation/federation_book.h"
#include "ext/federation/federation_user.h"
#include "home/here.h"
#include "io/timer.h"
#include "remote/foreign.h"
#include "session/session.h"
#include "session/session_queue.h"
#include <string.h>

struct asked {
    struct list node;
    uint64_t at_us; /* loop time */
    bool answered;  /* by an error of this server */
    uint16_t to_len, id_len;
    char text[]; /* the address, and the id behind it */
};
struct asked_list {
    struct list all; /* struct asked, the oldest first */
    unsigned count;
    unsigned next;                /* of `answered`, a ring */
    uint64_t answered[ASKED_MAX]; /* hashes of the address that was asked and the id; 0: none */
};

unsigned federation_asked_slot;

static slice asked_to(const struct asked *q) { return (slice){ q->text, q->to_len }; }
static slice asked_id(const struct asked *q) { return (slice){ q->text + q->to_len, q->id_len }; }

static struct asked_list *asked_list_of(const struct session *s)
{
    return s->state_of[federation_asked_slot];
}

/* The session of ours that asks, or is answered. NULL: there is none. */
static struct session *asked_session(const struct account *a, slice address, size_t bare_len)
{
    ensure(account_here(a) && bare_len <= address.len);
    return bare_len == address.len ? NULL : account_session(a, slice_from(address, bare_len + 1u));
}

static void asked_forget(struct asked_list *l, struct asked *q)
{
    ensure(l->count > 0 && list_linked(&q->node));
    list_remove(&q->node);
    l->count--;
    mem_free(&q);
}

static void asked_has_answer(struct asked_list *l, uint64_t key)
{
    l->answered[l->next] = key;
    l->next = (l->next + 1) % ASKED_MAX;
}

/* Where `answered` has it; ASKED_MAX: nowhere. */
static unsigned asked_answered_at(const struct asked_list *l, uint64_t key)
{
    unsigned at = 0;
    while (at < ASKED_MAX && l->answered[at] != key)
        at++;
    return at;
}

static struct asked_list *asked_list_made(struct session *s)
{
    struct asked_list *l = asked_list_of(s);
    if (l == NULL) {
        s->state_of[federation_asked_slot] = l = mem_new(struct asked_list);
        list_init(&l->all);
    }
    return l;
}

void federation_asked_anew(const struct session *s, const struct stanza *st)
{
    struct asked_list *l = asked_list_of(s);
    if (l == NULL)
        return;
    unsigned at = asked_answered_at(l, hash_keyed_pair(stanza_to(st), stanza_id(st)));
    if (at < ASKED_MAX)
        l->answered[at] = 0;
}

void federation_asked_goes(const struct account *a, const struct stanza *st)
{
    slice to = stanza_to(st), id = stanza_id(st);
    struct session *s = asked_session(a, stanza_from(st), st->from_bare_len);
    if (s == NULL || id.len > ASKED_ID_MAX)
        return;
    struct asked_list *l = asked_list_made(s);
    if (l->count == ASKED_MAX)
        asked_forget(l, CONTAINER_OF(l->all.next, struct asked, node));
    struct asked *q = mem_zalloc(sizeof *q + to.len + id.len);
    q->at_us = loop_now_us(worker_loop(a->worker));
    q->to_len = (uint16_t)to.len;
    q->id_len = (uint16_t)id.len;
    memcpy(q->text, to.ptr, to.len);
    memcpy(q->text + to.len, id.ptr, id.len);
    list_append(&l->all, &q->node);
    l->count++;
}

bool federation_asked_ends(const struct account *a, const struct stanza *st)
{
    const struct session *s = asked_session(a, stanza_to(st), st->to_bare_len);
    struct asked_list *l = s == NULL ? NULL : asked_list_of(s);
    if (l == NULL)
        return false;
    uint64_t key = hash_keyed_pair(stanza_from(st), stanza_id(st));
    LIST_EACH (it, &l->all) {
        struct asked *q = CONTAINER_OF(it, struct asked, node);
        if (!slice_eq(asked_id(q), stanza_id(st)) || !slice_eq(asked_to(q), stanza_from(st)))
            continue;
        bool answered = q->answered;
        asked_forget(l, q);
        asked_has_answer(l, key);
        return answered;
    }
    return asked_answered_at(l, key) < ASKED_MAX;
}

/* What keeps it from leaving now. SE_NONE: nothing. */
static enum stanza_error asked_refusal(const struct account *a, slice to, slice *text)
{
    struct jid jid = jid_split(to);
    if (!foreign_pair(a->worker, jid_split(a->jid).domain, jid.domain)) {
        *text = SLICE("this server does not communicate with that domain");
        return SE_NOT_ALLOWED;
    }
    if (!federation_may(a, jid_bare_of(to))) {
        *text = federation_refusal(a);
        return SE_NOT_ALLOWED;
    }
    if (!federation_book_blocks(jid_bare_of(to)))
        return SE_NONE;
    *text = SLICE(FOREIGN_NOT_ADDRESS);
    return SE_POLICY_VIOLATION;
}

static void asked_answer(struct session *s, const struct asked *q, enum stanza_error e, slice text)
{
    struct stanza *request =
        stanza_make(STANZA_IQ, TYPE_GET, session_jid(s), asked_to(q), asked_id(q), (slice){ 0 });
    struct stanza *error = stanza_make_error(request, e, text);
    session_deliver(s, error, 0, 0);
    stanza_unref(&error);
    stanza_unref(&request);
}

static void asked_judge(struct session *s)
{
    struct asked_list *l = asked_list_of(s);
    const struct account *a = s->account;
    uint64_t now = loop_now_us(worker_loop(a->worker));
    if (l == NULL)
        return;
    LIST_EACH (it, &l->all) {
        struct asked *q = CONTAINER_OF(it, struct asked, node);
        slice text, domain = jid_split(asked_to(q)).domain;
        if (now - q->at_us >= ASKED_FOR_MS * 1000ull) {
            asked_forget(l, q);
            continue;
        }
        enum stanza_error e = q->answered || !foreign_is(a->worker, domain)
                                  ? SE_NONE
                                  : asked_refusal(a, asked_to(q), &text);
        if (e == SE_NONE)
            continue;
        q->answered = true;
        asked_answer(s, q, e, text);
    }
}

void federation_asked_judge(struct account *a)
{
    ensure(account_here(a));
    SESSIONS_EACH (s, a)
        asked_judge(s);
}

void federation_asked_free(struct session *s)
{
    struct asked_list *l = asked_list_of(s);
    if (l == NULL)
        return;
    while (!list_empty(&l->all))
        asked_forget(l, CONTAINER_OF(l->all.next, struct asked, node));
    mem_free(&s->state_of[federation_asked_slot]);
}
