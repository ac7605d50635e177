#include "remote/outgoing_answer.h"
#include "account/account.h"
#include "account/guest.h"
#include "archive/pending.h"
#include "base/ensure.h"
#include "base/mem.h"
#include "home/here.h"
#include "remote/outgoing_count.h"
#include "xmpp/jid.h"
#include "xmpp/stanza.h"

enum { READ_MS = 30000 };

static bool answer_may_be(const struct account *a, const struct stanza *st)
{
    return st->arrived && st->kind == STANZA_MESSAGE && st->type == TYPE_ERROR &&
           account_stays(a) && !account_is_guest(a);
}

bool outgoing_is_answer(const struct account *a, const struct stanza *st)
{
    return answer_may_be(a, st) && outgoing_is_heard(a->worker, st, a->id);
}

/* The database is asked what waits: memory knows that before this is done. */
struct answer {
    struct account *account; /* pinned, and this is one of its `storing` */
    struct stanza *st;
    outgoing_answer_fn *keep;
};
static _Thread_local unsigned answers; /* of this worker */

static void answer_looked_up(void *arg, enum store_result r, const struct store_batch *b)
{
    struct answer *one = arg;
    struct account *a = one->account;
    (void)r, (void)b;
    ensure(answers > 0 && a->storing > 0);
    answers--;
    a->storing--;
    if (outgoing_is_answer(a, one->st))
        one->keep(a, stanza_ref(one->st));
    stanza_unref(&one->st);
    mem_free(&one);
    account_unpin(a);
}

static bool answer_look_up(struct account *a, struct stanza *st, outgoing_answer_fn *keep)
{
    slice domain = jid_split(stanza_from(st)).domain;
    if (answers >= OUTGOING_ANSWERS_MAX || !outgoing_count_learn(a->worker, domain, a->id))
        return false;
    struct answer *one = mem_new(struct answer);
    *one = (struct answer){ a, stanza_ref(st), keep };
    answers++;
    a->storing++;
    account_pin(a);
    struct store_batch *b = store_read(worker_store(a->worker), (uint64_t)a->id);
    archive_pending_count(b, domain, a->id, INT64_MAX, 1);
    store_submit(b, worker_loop(a->worker), READ_MS, answer_looked_up, one);
    return true;
}

bool outgoing_answered(struct account *a, struct stanza *st, outgoing_answer_fn *keep)
{
    ensure(account_here(a));
    if (!answer_may_be(a, st) || !outgoing_is_answer(a, st))
        return answer_may_be(a, st) && answer_look_up(a, st, keep);
    keep(a, stanza_ref(st));
    return true;
}

void outgoing_answer_taken(struct account *a, const struct stanza *st)
{
    ensure(account_here(a) && st->arrived && st->type == TYPE_ERROR);
    outgoing_heard(a->worker, st, a->id);
}
