#include "remote/outgoing_answer.h"
#include "account/account.h"
#include "account/guest.h"
#include "base/ensure.h"
#include "home/here.h"
#include "remote/outgoing_count.h"
#include "xmpp/stanza.h"

bool outgoing_is_answer(const struct account *a, const struct stanza *st)
{
    return st->arrived && st->kind == STANZA_MESSAGE && st->type == TYPE_ERROR &&
           account_stays(a) && !account_is_guest(a) && outgoing_is_heard(a->worker, st, a->id);
}

bool outgoing_answered(struct account *a, struct stanza *st, outgoing_answer_fn *keep)
{
    ensure(account_here(a));
    if (!outgoing_is_answer(a, st))
        return false;
    keep(a, stanza_ref(st));
    return true;
}

void outgoing_answer_taken(struct account *a, const struct stanza *st)
{
    ensure(account_here(a) && st->arrived && st->type == TYPE_ERROR);
    outgoing_heard(a->worker, st, a->id);
}
