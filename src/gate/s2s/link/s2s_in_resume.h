/* s2s_in_resume: what a stream of another server has brought, kept without the stream, and how
 * another stream resumes it (XEP-0198 §5): see gate/s2s/link/s2s_in_sm.h, which also has the
 * limits. Confined to the worker of the stream. */
#pragma once
#include "gate/s2s/link/s2s_in_flow.h"

struct elem;

/* The stream is without its flow. That is kept, if it has an id and is `resumable`. */
void flow_part(struct s2s_in *s, bool resumable);
void flow_keep_not(struct in_flow *f);
/* How long it is kept for a stream that resumes it; 0: it cannot be resumed. */
uint64_t flow_keep_ms(const struct in_flow *f);
/* The stream that wants it hears h, since nothing is under way or it has waited too long. */
void flow_answer(struct in_flow *f);
void sm_resume(struct s2s_in *s, const struct elem *e); /* <resume/> */

extern const struct message_row s2s_resume_message, s2s_resumed_message;
