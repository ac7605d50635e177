#include "im/presence_over.h"
#include "im/account.h"
#include "im/directed.h"
#include "im/roster.h"
#include "im/roster_view.h"
#include "im/session.h"
#include "im/stage.h"
#include "xmpp/jid.h"

bool presence_is_over(const struct account *a, slice resource, slice jid)
{
    const struct session *s = account_session(a, resource);
    slice bare = jid_bare_of(jid);
    return s == NULL || (!directed_reaches(s->directed, jid) &&
                         !(s->available && s->hidden == SESSION_SHOWN && roster_is_seen(a, bare) &&
                           stage_view(s, bare)));
}
