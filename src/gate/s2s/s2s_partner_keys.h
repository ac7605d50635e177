/* s2s_partner_keys: what a partner asks the server of its domain about keys of dialback, for
 * streams that say they are of that domain (XEP-0220 §2.1.2). Questions wait for the stream of the
 * partner: gate/s2s/s2s_verify.h brings them. Limit: QUESTIONS_MAX of a partner. Confined to the
 * worker of the partner. */
#pragma once
#include "gate/s2s/s2s_partner.h"
#include "home/message.h"

struct s2s_verify;

bool partner_keys_full(const struct partner *p);
/* There is room. The answer goes to `from`. */
void partner_keys_add(struct partner *p, const struct s2s_verify *v,
                      const struct message_from *from);
enum s2s_verdict partner_why_not_asked(const struct partner *p); /* it is down */
/* The next question for the server of the domain, which was not asked yet; false: none. */
struct partner_question {
    slice stream_id, key;
};
bool partner_next_question(struct partner *p, struct partner_question *q);
bool partner_is_asking(const struct partner *p); /* questions were asked, and not answered */
/* Its answer. false: that was not asked. */
bool partner_answer(struct partner *p, slice stream_id, enum s2s_verdict v);
void partner_keys_fail(struct partner *p); /* nobody can be asked */
/* The stream on which they were asked is gone: they are asked once more on the next one. */
void partner_keys_again(struct partner *p);
void partner_keys_anew(struct partner *p); /* that host was none: the next one is asked */
void partner_keys_drop(struct partner *p); /* the process ends */
extern const struct message_row s2s_verified_message;
