#include "base/arena.h"
#include "base/ensure.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/setting.h"
#include "gate/s2s/find/s2s_lists.h"
#include "gate/s2s/link/s2s_in_private.h"
#include "gate/s2s/link/s2s_proof.h"
#include "gate/s2s/link/s2s_take.h"
#include "gate/s2s/link/s2s_unproved.h"
#include "gate/s2s/s2s_home.h"
#include "gate/s2s/s2s_rows.h"
#include "gate/stanza_limits.h"
#include "home/message.h"
#include "remote/remote_domains.h"

enum { UNPROVED_TOLD = 8 };

struct pair *pair_find(const struct s2s_in *s, slice remote, slice local)
{
    LIST_EACH (it, &s->pairs) {
        struct pair *p = CONTAINER_OF(it, struct pair, node);
        if (slice_eq(p->remote, remote) && slice_eq(p->local, local))
            return p;
    }
    return NULL;
}

struct pair *pair_add(struct s2s_in *s, slice remote, slice local)
{
    if (s->pair_count >= (s->x.state == STREAM_BOUND ? PAIRS_MAX : CLAIMED_MAX))
        return NULL;
    struct pair *p = mem_zalloc(sizeof *p + remote.len + local.len);
    char *at = (char *)(p + 1);
    p->how = "";
    p->since_us = loop_now_us(worker_loop(s->x.worker));
    p->remote = slice_lay(&at, remote);
    p->local = slice_lay(&at, local);
    list_append(&s->pairs, &p->node);
    s->pair_count++;
    return p;
}

void pair_remove(struct s2s_in *s, struct pair *p)
{
    ensure(s->pair_count > 0);
    list_remove(&p->node);
    s->pair_count--;
    mem_free(&p);
}

void pairs_forget(struct s2s_in *s)
{
    while (!list_empty(&s->pairs))
        pair_remove(s, CONTAINER_OF(s->pairs.next, struct pair, node));
}

void pair_is_proved(struct s2s_in *s, struct pair *p, const char *how)
{
    p->proved = true;
    p->how = how;
    s2s_unproved_forget(p->remote);
    s2s_news(s->x.worker, p->local, p->remote, NEWS_CAME);
    log_info(&log_s2s, LOG_EV("s2s.proved"), LOG_S("domain", p->remote), LOG_S("local", p->local),
             LOG_C("auth", how), LOG_C("tls", s->x.secure ? conn_tls_version(s->x.conn) : "none"),
             LOG_C("peer", conn_info_text(conn_info(s->x.conn)).text));
}

static void pairs_tell(const struct s2s_in *s, enum domain_sign sign)
{
    LIST_EACH (it, &s->pairs) {
        const struct pair *p = CONTAINER_OF(it, struct pair, node);
        if (p->proved)
            remote_domain_seen(s->x.worker, p->remote, sign);
    }
}

void pairs_broken(const struct s2s_in *s) { pairs_tell(s, DOMAIN_BROKEN); }
void pairs_resumed(const struct s2s_in *s) { pairs_tell(s, DOMAIN_RESUMED); }

slice pairs_first(const struct s2s_in *s)
{
    LIST_EACH (it, &s->pairs) {
        const struct pair *p = CONTAINER_OF(it, struct pair, node);
        if (p->proved)
            return slice_of(arena_printf(in_scratch(s), "%.*s/%.*s%s", SLICE_ARG(p->remote),
                                         SLICE_ARG(p->local), s->both ? "/both" : ""));
    }
    return SLICE("");
}

slice in_domain(const struct s2s_in *s, slice attr) { return s2s_attr_domain(&s->x, attr); }

void in_fail_for(struct s2s_in *s, slice remote, slice local, enum stream_error e, slice text)
{
    s->asked =
        &(struct in_asked){ remote.len > 0 ? remote : s->remote, local.len > 0 ? local : s->local };
    xstream_fail(&s->x, e, text);
    s->asked = NULL;
}

bool in_may_come_from(struct s2s_in *s, slice remote, slice local)
{
    struct why why;
    if (s2s_is_ours(s->x.worker, remote))
        in_fail_for(s, remote, local, XE_INVALID_FROM, SLICE("this domain is served here"));
    else if (!s2s_is_partner(s->x.worker, local, remote))
        in_fail_for(s, remote, local, XE_POLICY_VIOLATION,
                    SLICE("not a domain that may connect here"));
    else if (!s2s_tls_fits(s->x.conn, remote, &why))
        in_fail_for(s, remote, local, XE_POLICY_VIOLATION, slice_of(why.text));
    else
        return true;
    return false;
}

void in_is_not_admitted(struct s2s_in *s, slice remote, slice local, enum s2s_stage at,
                        const char *why)
{
    ensure(at != S2S_AT_NONE);
    if (s->unproved == UNPROVED_TOLD)
        return;
    s->unproved++;
    s2s_unproved(s->x.worker,
                 &(struct s2s_unproved_news){ remote, local,
                                              slice_of(conn_info_text(conn_info(s->x.conn)).text),
                                              slice_of(why), at });
}

void in_is_unproved(struct s2s_in *s, slice remote, slice local, const char *why)
{
    in_is_not_admitted(s, remote, local, S2S_AT_CERTIFICATE, why);
}

bool in_may_authenticate(const struct s2s_in *s)
{
    return s->x.secure || s2s_may_be_plain(s->remote);
}

void in_is_bound(struct s2s_in *s)
{
    ensure(s->pair_count > 0);
    const struct xml_limits limits = limits_of_peer(setting_int(&s2s_stanza_bytes));
    xml_reader_set_limits(&s->x.reader, &limits);
    xstream_timer(&s->x);
}
