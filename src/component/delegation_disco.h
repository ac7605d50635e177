/* delegation_disco: service discovery where namespaces are delegated (XEP-0355 §7.2): the features
 * that the server would show for such a namespace are replaced by those of the component, which is
 * asked each time. A delegation with attributes only adds, since the server still answers all other
 * requests of the namespace. A component that is not connected, does not answer in time, or has too
 * much to answer (component/delegation.h) has none.
 *
 * Asked for are the server, by users of ours, and the bare JIDs of users of ours. The answer to a
 * node is never changed, so it agrees with the hash that the node names (XEP-0115). */
#pragma once
#include "talk/iq.h"
#include "xmpp/disco_info.h"

/* What the server shows by itself; in `tmp`. */
typedef struct disco_info *delegation_info_fn(struct arena *tmp);

/* A disco#info request without a node to the server or to an account: true if it is held. It is
 * answered when the components have. */
bool delegation_nests(struct iq *iq, delegation_info_fn *make);
