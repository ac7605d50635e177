#include "gate/s2s/s2s_verify.h"
#include "gate/s2s/s2s_connections.h"
#include "gate/s2s/s2s_partner_keys.h"
#include "gate/s2s/s2s_partner_private.h"
#include "home/question.h"
#include "xmpp/dialback.h"

enum { ASKED_MAX = 256 /* partners of a node that are made only to be asked */ };

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
        *verdict = partner_why_not_asked(*p);
        return false;
    }
    if (partner_keys_full(*p))
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
        question_answer(w, from, &s2s_verified_message, &(struct s2s_verified){ (uint8_t)verdict });
        question_end(w, from);
        return;
    }
    partner_keys_add(p, v, from);
    partner_begin(p);
}

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
