#include "gate/s2s/s2s_partner_keys.h"
#include "gate/s2s/s2s_connections.h"
#include "gate/s2s/s2s_partner_private.h"
#include "home/question.h"
#include "xmpp/dialback.h"

enum {
    QUESTIONS_MAX = 256, /* of one partner */
    ASKED_MAX = 256      /* partners of a node that are made only to be asked */
};

/* A key that the server of the domain is to be asked about. */
struct question {
    struct list node; /* in partner.questions */
    struct message_from from;
    bool asked;
    bool again; /* the stream on which it was asked has ended */
    uint16_t id_len, key_len;
    char text[]; /* stream id, key */
};

static slice question_id(const struct question *q) { return (slice){ q->text, q->id_len }; }

static void question_close(struct partner *p, struct question *q, enum s2s_verdict v)
{
    question_answer(p->worker, &q->from, s2s_verify_message.answer,
                    &(struct s2s_verified){ (uint8_t)v });
    question_end(p->worker, &q->from);
    ensure(p->question_count > 0);
    list_remove(&q->node);
    p->question_count--;
    mem_free(&q);
}

static enum s2s_verdict why_not_asked(const struct partner *p)
{
    return p->blame == SE_REMOTE_SERVER_NOT_FOUND ? S2S_NOWHERE : S2S_UNKNOWN;
}

void partner_keys_fail(struct partner *p)
{
    LIST_EACH (it, &p->questions)
        question_close(p, CONTAINER_OF(it, struct question, node), why_not_asked(p));
}

void partner_keys_again(struct partner *p)
{
    LIST_EACH (it, &p->questions) {
        struct question *q = CONTAINER_OF(it, struct question, node);
        if (q->asked && q->again) {
            question_close(p, q, S2S_UNKNOWN);
        } else if (q->asked) {
            q->again = true;
            q->asked = false;
        }
    }
}

bool partner_next_question(struct partner *p, struct partner_question *out)
{
    LIST_EACH (it, &p->questions) {
        struct question *q = CONTAINER_OF(it, struct question, node);
        if (q->asked)
            continue;
        q->asked = true;
        *out = (struct partner_question){ .stream_id = question_id(q),
                                          .key = { q->text + q->id_len, q->key_len } };
        return true;
    }
    return false;
}

bool partner_is_asking(const struct partner *p)
{
    LIST_EACH (it, &p->questions)
        if (CONTAINER_OF(it, struct question, node)->asked)
            return true;
    return false;
}

bool partner_answer(struct partner *p, slice stream_id, enum s2s_verdict v)
{
    LIST_EACH (it, &p->questions) {
        struct question *q = CONTAINER_OF(it, struct question, node);
        if (q->asked && slice_eq(question_id(q), stream_id)) {
            question_close(p, q, v);
            return true;
        }
    }
    return false;
}

void partner_keys_anew(struct partner *p)
{
    LIST_EACH (it, &p->questions)
        CONTAINER_OF(it, struct question, node)->asked = false;
}

void partner_keys_drop(struct partner *p)
{
    LIST_EACH (it, &p->questions) {
        struct question *q = CONTAINER_OF(it, struct question, node);
        list_remove(it);
        mem_free(&q);
    }
}

/* From the streams. */

/* false: *verdict says why. */
static bool verify_taken(struct worker *w, const struct s2s_verify *v, struct partner **p,
                         enum s2s_verdict *verdict)
{
    struct s2s_gate *g = s2s_gate_of(w);
    *verdict = S2S_UNKNOWN;
    if (g == NULL || s2s_worker(g, w)->out.stopped)
        return false;
    *p = partner_asker(w, v);
    if (partner_is_down(*p)) {
        *verdict = why_not_asked(*p);
        return false;
    }
    if ((*p)->question_count == QUESTIONS_MAX)
        return false;
    if (!(*p)->fresh && (*p)->state != ACTOR_ABSENT)
        return true;
    if (atomic_load(&g->asked_only) < ASKED_MAX) {
        partner_asked_only(*p, true);
        return true;
    }
    if ((*p)->fresh)
        partner_forget(*p);
    return false;
}

static void dialback_verify_run(struct worker *w, void *message, const struct message_from *from)
{
    const struct s2s_verify *v = message;
    struct partner *p;
    enum s2s_verdict verdict;
    if (!verify_taken(w, v, &p, &verdict)) {
        question_answer(w, from, s2s_verify_message.answer,
                        &(struct s2s_verified){ (uint8_t)verdict });
        question_end(w, from);
        return;
    }
    struct question *q = mem_zalloc(sizeof *q + v->stream_id.len + v->key.len);
    q->from = *from;
    q->id_len = (uint16_t)v->stream_id.len;
    q->key_len = (uint16_t)v->key.len;
    memcpy(q->text, v->stream_id.ptr, v->stream_id.len);
    memcpy(q->text + q->id_len, v->key.ptr, v->key.len);
    list_append(&p->questions, &q->node);
    p->question_count++;
    partner_begin(p);
}

static const struct message_field verified_fields[] = {
    F_U8(struct s2s_verified, verdict, S2S_NOWHERE),
    { 0 },
};
const struct message_row s2s_verified_message = {
    .id = 69,
    .scope = MESSAGE_CLUSTER,
    .name = "dialback-verified",
    .size = sizeof(struct s2s_verified),
    .fields = verified_fields,
};

static bool verify_is_sound(struct worker *w, const void *message, const struct message_from *from)
{
    const struct s2s_verify *m = message;
    (void)w, (void)from;
    return s2s_pair_is_sound(m->local, m->remote);
}

enum { KEY_BYTES_MAX = 1024 };
static const struct message_field verify_fields[] = {
    F_BARE(struct s2s_verify, local),
    F_BARE(struct s2s_verify, remote),
    F_TEXT(struct s2s_verify, stream_id, DIALBACK_ID_MAX),
    F_TEXT(struct s2s_verify, key, KEY_BYTES_MAX),
    F_BOOL(struct s2s_verify, both),
    { 0 },
};
const struct message_row s2s_verify_message = {
    .id = 68,
    .scope = MESSAGE_CLUSTER,
    .name = "dialback-verify",
    .size = sizeof(struct s2s_verify),
    .fields = verify_fields,
    .run = dialback_verify_run,
    .sound = verify_is_sound,
    .answer = &s2s_verified_message,
    .later = true,
    .slow = true,
};
