/* c2s_sasl2: SASL2 (XEP-0388): its profile, and what a client asks for along with its login:
 * upgrades of its password's hashes (XEP-0480), resumption (XEP-0198 §6), a resource (XEP-0386),
 * tokens (XEP-0484).
 *
 * After the mechanism: upgrades, one after the other -> the stream moves to the home of its account
 * -> the device and its tokens are written -> resumption -> binding -> <success/> and features. The
 * stream takes no input from the move on, so what its client pipelined is read when it is bound. */
#pragma once
#include "base/slice.h"
#include "xmpp/sasl.h"

struct buf;
struct device_tokens;
struct elem;
struct stream;

/* Appends <authentication/>. mechanisms: elements; tokens: mechanisms of XEP-0484, a bit each. */
void sasl2_offer(struct buf *out, slice mechanisms, uint32_t tokens);
void sasl2_unit(struct stream *s, const struct elem *e); /* of NS_SASL2 */
void sasl2_arrived(struct stream *s); /* the stream is at the home of the account: goes on */
/* Goes on with the tokens of the account that were looked up. */
enum sasl_step sasl2_tokens(struct stream *s, const struct device_tokens *t);
const uint8_t *sasl2_device(const struct stream *s); /* its id, of the client; NULL: not said */
