#include "gate/s2s/s2s_gate.h"
#include "base/setting.h"
#include "gate/s2s/s2s.h"
#include "gate/s2s/s2s_lists.h"
#include "gate/s2s/s2s_policy.h"
#include "gate/s2s/s2s_rows.h"
#include "home/host.h"
#include "home/remote.h"
#include "io/tls.h"

struct s2s_gate *s2s_gate_of(const struct worker *w) { return edge_own(worker_node(w), &s2s_edge); }

struct tls_ctx *s2s_tls(struct s2s_gate *g)
{
    pthread_mutex_lock(&g->lock);
    struct tls_ctx *tls = tls_ctx_ref(g->tls);
    pthread_mutex_unlock(&g->lock);
    return tls;
}

static bool s2s_policy_lets(slice domain)
{
    bool listed = false;
    switch ((enum s2s_policy)setting_int(&s2s_policy)) {
    case S2S_OFF:
        return false;
    case S2S_OPEN:
        return true;
    case S2S_ALLOW:
    case S2S_DENY:
        listed = s2s_patterns_match(slice_of(setting_text(&s2s_domains)), domain);
        break;
    }
    return listed == (setting_int(&s2s_policy) == S2S_ALLOW);
}

bool s2s_may(slice domain) { return s2s_policy_lets(domain) && !s2s_is_blocked(domain); }

bool s2s_is_ours(struct worker *w, slice domain)
{
    return node_serves(worker_node(w), domain) || remote_known(w, domain) ||
           remote_expected(w, domain) || host_find(worker_node(w), domain, &(slice){ 0 }) != NULL;
}

bool s2s_is_partner(struct worker *w, slice domain)
{
    return !s2s_is_ours(w, domain) && !s2s_is_address(domain) && s2s_may(domain);
}
