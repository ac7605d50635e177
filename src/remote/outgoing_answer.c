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

static slice answer_domain(const struct stanza *st) { return jid_split(stanza_from(st)).domain; }

static bool answer_may_be(const struct account *a, const struct stanza *st)
{
    return st->arrived && st->kind == STANZA_MESSAGE && st->type == TYPE_ERROR &&
           account_stays(a) && !account_is_guest(a);
}

bool outgoing_is_answer(const struct account *a, const struct stanza *st)
{
    return answer_may_be(a, st) && outgoing_is_heard(a->worker, st, a->id);
}

/* It is looked up whether anything waits. */
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
    bool waits = r == STORE_OK && (archive_pending_count_of(b) > 0 || store_row_count(b, 1) > 0);
    bool known = outgoing_is_counted(a->worker, answer_domain(one->st), a->id);
    ensure(answers > 0 && a->storing > 0);
    answers--;
    a->storing--;
    if (account_stays(a) && (outgoing_is_answer(a, one->st) || (waits && !known)))
        one->keep(a, stanza_ref(one->st));
    stanza_unref(&one->st);
    mem_free(&one);
    account_unpin(a);
}

/* What memory learns meanwhile counts; it is read before this. */
static bool answer_look_up(struct account *a, struct stanza *st, outgoing_answer_fn *keep)
{
    struct worker *w = a->worker;
    if (answers >= OUTGOING_ANSWERS_MAX)
        return false;
    struct answer *one = mem_new(struct answer);
    *one = (struct answer){ a, stanza_ref(st), keep };
    answers++;
    a->storing++;
    account_pin(a);
    outgoing_count_learn(w, answer_domain(st), a->id);
    struct store_batch *b = store_read(worker_store(w), account_lane(a));
    archive_pending_count(b, answer_domain(st), a->id, INT64_MAX, 1);
    archive_pending_heard(b, answer_domain(st), a->id,
                          loop_wall_us(worker_loop(w)) - OUTGOING_HEARD_US);
    store_submit(b, worker_loop(w), READ_MS, answer_looked_up, one);
    return true;
}

bool outgoing_answered(struct account *a, struct stanza *st, outgoing_answer_fn *keep)
{
    ensure(account_here(a));
    if (!answer_may_be(a, st))
        return false;
    if (outgoing_is_answer(a, st)) {
        keep(a, stanza_ref(st));
        return true;
    }
    return !outgoing_is_counted(a->worker, answer_domain(st), a->id) && answer_look_up(a, st, keep);
}

void outgoing_answer_taken(struct account *a, const struct stanza *st)
{
    ensure(account_here(a) && st->arrived && st->type == TYPE_ERROR);
    outgoing_heard(a->worker, st, a->id);
}
