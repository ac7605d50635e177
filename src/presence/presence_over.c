#include "presence/presence_over.h"
#include "account/account.h"
#include "core/stage.h"
#include "presence/directed.h"
#include "presence/roster.h"
#include "presence/roster_view.h"
#include "session/session.h"
#include "xmpp/jid.h"

bool presence_is_over(const struct account *a, slice resource, slice jid)
{
    const struct session *s = account_session(a, resource);
    slice bare = jid_bare_of(jid);
    return s == NULL || (!directed_reaches(s->directed, jid) &&
                         !(s->available && s->hidden == SESSION_SHOWN && roster_is_seen(a, bare) &&
                           stage_view(s, bare)));
}
