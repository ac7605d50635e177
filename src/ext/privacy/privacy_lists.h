/* privacy_lists: Privacy Lists (XEP-0016). A list is replaced as a whole. Orders that blocking gave
 * (XEP-0191) are below nought; a client sees such a list numbered anew. */
#pragma once
#include "talk/iq.h"

#define NS_PRIVACY "jabber:iq:privacy"

struct elem;
struct privacy_delta;
struct rules;
struct xml_write;

extern const struct iq_rule privacy_iq[]; /* of lists, blocking and policies */
/* A <list/> that no client sent: false, *why says what is wrong. Everything is in the arena. */
bool privacy_lists_read(struct arena *tmp, const struct elem *list, struct privacy_delta *out,
                        slice *why);
void privacy_lists_write(struct xml_write *x, const struct rules *r); /* that has rules */
