#include "gate/s2s/s2s_gate.h"
#include "base/ensure.h"
#include "base/setting.h"
#include "gate/s2s/find/s2s_lists.h"
#include "gate/s2s/find/s2s_policy.h"
#include "gate/s2s/s2s.h"
#include "gate/s2s/s2s_rows.h"
#include "home/host.h"
#include "home/remote.h"
#include "io/tls.h"
#include "remote/foreign.h"
#include "xmpp/jid.h"

struct s2s_gate *s2s_gate_of(const struct worker *w) { return edge_own(worker_node(w), &s2s_edge); }

struct tls_ctx *s2s_tls(struct s2s_gate *g)
{
    pthread_mutex_lock(&g->lock);
    struct tls_ctx *tls = tls_ctx_ref(g->tls);
    pthread_mutex_unlock(&g->lock);
    return tls;
}

/* The row that holds for a domain of ours, also a service or component. */
static const struct setting *policy_of(struct worker *w, slice local)
{
    return setting_of(&s2s_policy, foreign_parent(worker_node(w), local));
}

bool s2s_federates(struct worker *w, slice local)
{
    return setting_int(policy_of(w, local)) != S2S_OFF;
}

const struct foreign_ban *s2s_policy_bans(struct worker *w, slice local, slice remote)
{
    static const struct foreign_ban
        number = { "it is an IP address in place of a domain, and s2s.ip-literals is off",
                   "Give the name of the domain, or set s2s.ip-literals to on.", NULL },
        off = { "s2s.policy is off: no other server is reached",
                "Set s2s.policy to open, or to allow and name the domain in s2s.domains.",
                "s2s.policy" },
        unlisted = { "s2s.policy is allow, and s2s.domains does not name it",
                     "Add the domain to s2s.domains.", "s2s.domains" },
        listed = { "s2s.policy is deny, and s2s.domains names it",
                   "Take the domain out of s2s.domains.", "s2s.domains" },
        blocked = { "a static route blocks it",
                    "`musterctl s2s-route list` shows the route; `musterctl s2s-route set PATTERN "
                    "TARGET --blocked off` ends the block.",
                    NULL },
        component = { "a component of this server has the domain",
                      "`musterctl component del` deletes it.", NULL };
    ensure(local.len > 0);
    if (remote_expected(w, remote))
        return &component;
    if (jid_is_address(remote) && !setting_bool(&s2s_ip_literals))
        return &number;
    slice parent = foreign_parent(worker_node(w), local);
    enum s2s_policy policy = (enum s2s_policy)setting_int(policy_of(w, local));
    bool lists = (policy == S2S_ALLOW || policy == S2S_DENY) &&
                 s2s_patterns_match(setting_text_of(&s2s_domains, parent), remote);
    if (policy == S2S_ALLOW && !lists)
        return &unlisted;
    if (policy == S2S_DENY && lists)
        return &listed;
    if (policy == S2S_OFF)
        return &off;
    return s2s_is_blocked(remote) ? &blocked : NULL;
}

bool s2s_may(struct worker *w, slice local, slice remote) { return foreign_pair(w, local, remote); }

bool s2s_is_ours(struct worker *w, slice domain)
{
    return node_serves(worker_node(w), domain) || remote_known(w, domain) ||
           remote_expected(w, domain) || host_find(worker_node(w), domain, &(slice){ 0 }) != NULL;
}

bool s2s_was_ours(struct worker *w, slice domain)
{
    return s2s_is_ours(w, domain) || host_has(worker_node(w), domain);
}

const struct foreign_ban *s2s_ban(struct worker *w, slice local, slice remote)
{
    static const struct foreign_ban ours = { "this domain is served here",
                                             "Give the domain of another server.", NULL };
    return s2s_is_ours(w, remote) ? &ours : foreign_ban(w, local, remote);
}

bool s2s_is_partner(struct worker *w, slice local, slice remote)
{
    return s2s_ban(w, local, remote) == NULL;
}
