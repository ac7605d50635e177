/* pubsub_op: requests under way: from the IQ to its answer (see pubsub_private.h). */
#pragma once
#include "codec/xml_write.h"
#include "ext/pubsub/pubsub_private.h"
#include "store/store.h"

struct buf;

void ps_request(struct iq *iq, struct ps_service *s); /* holds it */
/* As the account itself; see ps_own(). */
void ps_own_request(struct ps_service *s, slice pubsub_xml, ps_own_fn *done, void *arg);
/* As somebody who waits for no answer. */
void ps_request_from(struct ps_service *s, slice from, slice pubsub_xml);
/* Calls fn once: when the service is ready, or with an error. */
void ps_when_ready(struct ps_service *s, ps_call_fn *fn, void *arg);
/* One that has waited in the inbox of its service. */
void ps_request_call(struct actor *a, actor_any_fn *fn, enum err e, void *op);
enum ps_step ps_fail(struct ps_op *op, enum stanza_error e, const char *condition, slice text);
enum ps_step ps_fail_with(struct ps_op *op, const struct ps_error *e);
enum ps_step ps_no_room(struct ps_op *op); /* for what the maker of a node wants to store */
enum ps_step ps_answer(struct ps_op *op, slice payload);
enum ps_step ps_answer_buf(struct ps_op *op, struct buf *out); /* ends the buffer */
static inline enum ps_step ps_answer_xml(struct ps_op *op,
                                         struct xml_write *x) /* all elements, too */
{
    xml_close_all(x);
    return ps_answer_buf(op, x->out);
}
/* What looks at all nodes of a service is paid by the client that asks. */
void ps_charge_look(const struct ps_service *s, slice client);
slice ps_from_bare(const struct ps_op *op);
struct ps_limits ps_limits_of(const struct ps_service *s);
/* A request of the server itself about a node, without an answer. */
void ps_node_request(struct ps_service *s, enum ps_verb verb, slice node, slice from);
