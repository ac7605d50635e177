#include "operate/asks_first.h"
#include "account/account.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "base/mem.h"
#include "codec/xml_write.h"
#include "core/feature.h"
#include "core/stage_wait.h"
#include "home/ask.h"
#include "session/session.h"
#include <stdlib.h>

#ifdef MUSTER_DEBUG
enum { ANSWER_MS = 600 * 1000 };

struct asks_first {
    uint64_t number;
    enum verdict otherwise; /* than a result */
};

static void asks_first_answered(struct worker *w, void *arg, const struct stanza *reply)
{
    struct asks_first *af = arg;
    bool pass = reply != NULL && reply->type == TYPE_RESULT;
    ensure(af->number > 0); /* it was taken before anybody was asked */
    ensure(reply == NULL || reply->kind == STANZA_IQ);
    stage_answer(w, af->number, pass ? PASS : af->otherwise, NULL,
                 &(struct refusal){ .error = SE_POLICY_VIOLATION });
    mem_free(&af);
}

static void asks_first_drop(void *arg) { mem_free(&arg); }

/* The question has the message in it. */
static enum verdict asks_first_ask(const struct account *a, const char *domain,
                                   const struct stanza *st, enum verdict otherwise)
{
    struct buf message;
    struct asks_first *af = mem_new(struct asks_first);
    ensure(domain[0] != '\0' && a->jid.len > 0);
    *af = (struct asks_first){
        stage_wait(a->worker, &(struct stage_late){ .ms = ANSWER_MS,
                                                    .verdict = otherwise,
                                                    .why = { .error = SE_POLICY_VIOLATION } }),
        otherwise
    };
    buf_init(&message, XML_STANZA_MAX);
    stanza_forward(&message, st, NULL);
    struct ask *ask = ask_send(a->worker,
                               &(struct ask_request){ .type = TYPE_GET,
                                                      .from = a->jid,
                                                      .to = slice_of(domain),
                                                      .payload = buf_fit(&message),
                                                      .timeout_ms = ANSWER_MS,
                                                      .drop = asks_first_drop },
                               asks_first_answered, af);
    buf_fini(&message);
    if (ask == NULL)
        asks_first_answered(a->worker, af, NULL);
    return WAIT;
}

static enum verdict asks_first_check(struct session *s, struct stanza **st, struct refusal *why)
{
    const char *domain = getenv("MUSTER_ASKS_FIRST");
    (void)why;
    if (domain == NULL || (*st)->kind != STANZA_MESSAGE)
        return PASS;
    return asks_first_ask(s->account, domain, *st, REFUSE);
}

static enum verdict asks_first_archive(struct account *a, const struct stanza *st, slice contact)
{
    const char *domain = getenv("MUSTER_ASKS_ARCHIVE");
    (void)contact;
    return domain == NULL ? PASS : asks_first_ask(a, domain, st, DROP);
}

const struct feature asks_first_feature = { .name = "asks-first",
                                            .stage.check = asks_first_check,
                                            .stage.archive = asks_first_archive };
#endif
