#include "gate/s2s/peer/s2s_keys.h"
#include "gate/s2s/peer/s2s_peer_private.h"
#include "gate/s2s/s2s_home.h"
#include "home/question.h"
#include "xmpp/dialback.h"

enum { KEY_BYTES_MAX = 1024 };

/* A key that the server of the domain is to be asked about. */
struct question {
    struct list node; /* in peer.keys.questions */
    struct message_from from;
    bool asked;
    slice id, key; /* id: of the stream; in this block */
};

static void question_close(struct s2s_peer *p, struct question *q, enum s2s_verdict v)
{
    question_answer(p->worker, &q->from, &s2s_verified_message,
                    &(struct s2s_verified){ (uint8_t)v });
    question_end(p->worker, &q->from);
    ensure(p->keys.count > 0);
    list_remove(&q->node);
    p->keys.count--;
    mem_free(&q);
}

static enum s2s_verdict keys_why_not(const struct s2s_peer *p)
{
    return p->blame.error == SE_REMOTE_SERVER_NOT_FOUND ? S2S_NOWHERE : S2S_UNKNOWN;
}

void s2s_keys_fail(struct s2s_peer *p)
{
    LIST_EACH (it, &p->keys.questions)
        question_close(p, CONTAINER_OF(it, struct question, node), keys_why_not(p));
}

bool s2s_keys_next(struct s2s_peer *p, struct s2s_question *out)
{
    LIST_EACH (it, &p->keys.questions) {
        struct question *q = CONTAINER_OF(it, struct question, node);
        if (q->asked)
            continue;
        q->asked = true;
        *out = (struct s2s_question){ q->id, q->key };
        return true;
    }
    return false;
}

bool s2s_keys_are_left(const struct s2s_peer *p) { return p->keys.count > 0; }

bool s2s_keys_answer(struct s2s_peer *p, slice stream_id, enum s2s_verdict v)
{
    LIST_EACH (it, &p->keys.questions) {
        struct question *q = CONTAINER_OF(it, struct question, node);
        if (q->asked && slice_eq(q->id, stream_id)) {
            question_close(p, q, v);
            return true;
        }
    }
    return false;
}

void s2s_keys_anew(struct s2s_peer *p)
{
    LIST_EACH (it, &p->keys.questions)
        CONTAINER_OF(it, struct question, node)->asked = false;
}

void s2s_keys_drop(struct s2s_peer *p)
{
    LIST_EACH (it, &p->keys.questions) {
        struct question *q = CONTAINER_OF(it, struct question, node);
        list_remove(it);
        mem_free(&q);
    }
}

static void keys_add(struct s2s_peer *p, const struct s2s_verify *v,
                     const struct message_from *from)
{
    struct question *q = mem_zalloc(sizeof *q + v->stream_id.len + v->key.len);
    char *at = (char *)(q + 1);
    q->from = *from;
    q->id = slice_lay(&at, v->stream_id);
    q->key = slice_lay(&at, v->key);
    list_append(&p->keys.questions, &q->node);
    p->keys.count++;
}

static void dialback_verify_run(struct worker *w, void *message, const struct message_from *from)
{
    const struct s2s_verify *v = message;
    struct s2s_peer *p =
        s2s_is_ended(w) ? NULL : s2s_peer_make(w, v->local, v->remote, true, (slice){ 0 });
    if (p == NULL || p->keys.count == KEYS_MAX || peer_pauses(p)) {
        enum s2s_verdict verdict = p != NULL && peer_pauses(p) ? keys_why_not(p) : S2S_UNKNOWN;
        question_answer(w, from, &s2s_verified_message, &(struct s2s_verified){ (uint8_t)verdict });
        question_end(w, from);
        return;
    }
    keys_add(p, v, from);
    s2s_peer_event(p, PEER_WANTED);
}

static bool verify_is_sound(struct worker *w, const void *message, const struct message_from *from)
{
    const struct s2s_verify *m = message;
    (void)w, (void)from;
    return s2s_pair_is_sound(m->local, m->remote);
}

static const struct message_field verify_fields[] = {
    F_BARE(struct s2s_verify, local),
    F_BARE(struct s2s_verify, remote),
    F_TEXT(struct s2s_verify, stream_id, DIALBACK_ID_MAX),
    F_TEXT(struct s2s_verify, key, KEY_BYTES_MAX),
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
