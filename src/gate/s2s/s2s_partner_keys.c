#include "gate/s2s/s2s_partner_keys.h"
#include "gate/s2s/s2s_partner_private.h"
#include "gate/s2s/s2s_verify.h"
#include "home/question.h"

enum { QUESTIONS_MAX = 256 };

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
    question_answer(p->worker, &q->from, &s2s_verified_message,
                    &(struct s2s_verified){ (uint8_t)v });
    question_end(p->worker, &q->from);
    ensure(p->question_count > 0);
    list_remove(&q->node);
    p->question_count--;
    mem_free(&q);
}

enum s2s_verdict partner_why_not_asked(const struct partner *p)
{
    return p->blame == SE_REMOTE_SERVER_NOT_FOUND ? S2S_NOWHERE : S2S_UNKNOWN;
}

void partner_keys_fail(struct partner *p)
{
    LIST_EACH (it, &p->questions)
        question_close(p, CONTAINER_OF(it, struct question, node), partner_why_not_asked(p));
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

bool partner_keys_full(const struct partner *p) { return p->question_count == QUESTIONS_MAX; }

void partner_keys_add(struct partner *p, const struct s2s_verify *v,
                      const struct message_from *from)
{
    ensure(!partner_keys_full(p));
    struct question *q = mem_zalloc(sizeof *q + v->stream_id.len + v->key.len);
    q->from = *from;
    q->id_len = (uint16_t)v->stream_id.len;
    q->key_len = (uint16_t)v->key.len;
    memcpy(q->text, v->stream_id.ptr, v->stream_id.len);
    memcpy(q->text + q->id_len, v->key.ptr, v->key.len);
    list_append(&p->questions, &q->node);
    p->question_count++;
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
