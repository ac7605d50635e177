#include "base/ensure.h"
#include "base/log.h"
#include "base/mem.h"
#include "gate/s2s/s2s_in_private.h"
#include "gate/s2s/s2s_rows.h"

enum { CLAIMED_MAX = 8 /* while none of them is proved */ };

struct pair *pair_find(const struct s2s_in *s, slice remote, slice local)
{
    LIST_EACH (it, &s->pairs) {
        struct pair *p = CONTAINER_OF(it, struct pair, node);
        if (slice_eq(pair_remote(p), remote) && slice_eq(pair_local(p), local))
            return p;
    }
    return NULL;
}

struct pair *pair_add(struct s2s_in *s, slice remote, slice local)
{
    if (s->pair_count >= (s->x.state == STREAM_BOUND ? PAIRS_MAX : CLAIMED_MAX))
        return NULL;
    struct pair *p = mem_zalloc(sizeof *p + remote.len + local.len);
    p->how = "";
    p->since_us = loop_now_us(worker_loop(s->x.worker));
    p->remote_len = (uint16_t)remote.len;
    p->local_len = (uint16_t)local.len;
    memcpy(p->text, remote.ptr, remote.len);
    memcpy(p->text + remote.len, local.ptr, local.len);
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
    log_info(&log_s2s, LOG_EV("s2s.proved"), LOG_S("domain", pair_remote(p)),
             LOG_S("local", pair_local(p)), LOG_C("auth", how),
             LOG_C("tls", s->x.secure ? conn_tls_version(s->x.conn) : "none"),
             LOG_C("peer", conn_info_text(conn_info(s->x.conn)).text));
}
