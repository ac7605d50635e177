#include "app/asks_first.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "base/mem.h"
#include "codec/xml_write.h"
#include "home/ask.h"
#include "im/account.h"
#include "im/feature.h"
#include "im/session.h"
#include "im/stage_wait.h"
#include <stdlib.h>

#ifdef MUSTER_DEBUG
enum { ANSWER_MS = 600 * 1000 };

static void asks_first_answered(struct worker *w, void *arg, const struct stanza *reply)
{
    uint64_t *number = arg;
    bool pass = reply != NULL && reply->type == TYPE_RESULT;
    ensure(*number > 0); /* it was taken before anybody was asked */
    ensure(reply == NULL || reply->kind == STANZA_IQ);
    stage_answer(w, *number, pass ? PASS : REFUSE, NULL,
                 &(struct refusal){ .error = SE_POLICY_VIOLATION });
    mem_free(&number);
}

static void asks_first_drop(void *number) { mem_free(&number); }

static enum verdict asks_first_check(struct session *s, struct stanza **st, struct refusal *why)
{
    const char *domain = getenv("MUSTER_ASKS_FIRST");
    struct worker *w = s->account->worker;
    struct buf message;
    if (domain == NULL || (*st)->kind != STANZA_MESSAGE)
        return PASS;
    uint64_t *number = mem_new(uint64_t);
    *number = stage_wait(w, &(struct stage_late){ ANSWER_MS, REFUSE, *why });
    buf_init(&message, XML_STANZA_MAX);
    stanza_forward(&message, *st, NULL);
    struct ask *ask = ask_send(w,
                               &(struct ask_request){ .type = TYPE_GET,
                                                      .from = s->account->jid,
                                                      .to = slice_of(domain),
                                                      .payload = buf_fit(&message),
                                                      .timeout_ms = ANSWER_MS,
                                                      .drop = asks_first_drop },
                               asks_first_answered, number);
    buf_fini(&message);
    if (ask == NULL)
        asks_first_answered(w, number, NULL);
    return WAIT;
}

const struct feature asks_first_feature = { .name = "asks-first", .stage.check = asks_first_check };
#endif
