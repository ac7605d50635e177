/* mail_address_text: the addresses of users in the XML text of a stanza, replaced by others. Pure.
 */
#pragma once
#include "base/slice.h"

enum { MAIL_ADDRESS_COLUMNS = 64 };

struct arena;
struct buf;

/* Another address for a bare JID, which is prepared; ptr NULL: it stays. */
typedef slice mail_address_fn(void *arg, slice bare);

/* Appends the text with other addresses in the attributes that name users (`from`, `to`, `jid`,
 * `by`, `publisher`, and `initiator` and `responder` of Jingle, XEP-0166), of the stanza and of all
 * that is in it; in the values of forms (XEP-0004) whose field or column has such a type or name;
 * in the XMPP URIs of references (XEP-0372); and in vCards (JABBERID of XEP-0054, impp of
 * XEP-0292). However an address is written, it is what the XML means and the rules of JIDs make of
 * it (RFC 7622). The resource of a full JID stays. Other character data is not touched. Text that
 * is no XML is copied from where that begins. Limit: MAIL_ADDRESS_COLUMNS columns of one form have
 * such a type. Returns whether something was replaced. */
bool mail_address_replace(struct buf *out, slice xml, mail_address_fn *fn, void *arg,
                          struct arena *tmp);
