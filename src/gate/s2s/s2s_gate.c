#include "gate/s2s/s2s_gate.h"
#include "base/ensure.h"
#include "base/setting.h"
#include "gate/s2s/s2s.h"
#include "gate/s2s/s2s_lists.h"
#include "gate/s2s/s2s_policy.h"
#include "gate/s2s/s2s_rows.h"
#include "home/host.h"
#include "home/remote.h"
#include "im/foreign.h"
#include "io/tls.h"

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

bool s2s_policy_allows(struct worker *w, slice local, slice remote)
{
    bool listed;
    ensure(local.len > 0);
    slice parent = foreign_parent(worker_node(w), local);
    enum s2s_policy policy = (enum s2s_policy)setting_int(policy_of(w, local));
    switch (policy) {
    case S2S_OPEN:
        break;
    case S2S_ALLOW:
    case S2S_DENY:
        listed = s2s_patterns_match(setting_text_of(&s2s_domains, parent), remote);
        if (listed == (policy == S2S_ALLOW))
            break;
        return false;
    case S2S_OFF:
    default:
        return false;
    }
    return !s2s_is_blocked(remote);
}

bool s2s_may(struct worker *w, slice local, slice remote) { return foreign_pair(w, local, remote); }

bool s2s_is_ours(struct worker *w, slice domain)
{
    return node_serves(worker_node(w), domain) || remote_known(w, domain) ||
           remote_expected(w, domain) || host_find(worker_node(w), domain, &(slice){ 0 }) != NULL;
}

bool s2s_is_partner(struct worker *w, slice local, slice remote)
{
    return !s2s_is_ours(w, remote) && !s2s_is_address(remote) && s2s_may(w, local, remote);
}
