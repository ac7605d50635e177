#include "gate/c2s_attempts.h"
#include "base/arena.h"
#include "base/log.h"

enum { JID_SHOWN = 256 };

void attempts_add(struct stream *s, const struct auth_attempt *one)
{
    struct stream_auth *a = s->auth;
    struct auth_attempt *kept = arena_new(a->arena, struct auth_attempt, 1);
    slice jid = one->jid;
    if (jid.len > JID_SHOWN)
        jid.len = JID_SHOWN;
    *kept = (struct auth_attempt){ .next = a->attempts,
                                   .failure = one->failure,
                                   .text = slice_cstr(a->arena, slice_of(one->text)),
                                   .mech = one->mech,
                                   .tls = one->tls,
                                   .device = slice_cstr(a->arena, slice_of(one->device)),
                                   .peer = stream_address(s),
                                   .jid = slice_dup(a->arena, jid) };
    a->attempts = kept;
}

void attempts_passed(struct stream *s)
{
    struct stream_auth *a = s->auth;
    const struct auth_attempt *last = a->attempts;
    unsigned count = 0;
    if (last == NULL)
        return;
    for (const struct auth_attempt *at = last; at != NULL; at = at->next)
        count++;
    log_info(&log_c2s, LOG_EV("auth.retried"), LOG_I("failed", count),
             LOG_C("reason", sasl_failure_name(last->failure)), LOG_C("text", last->text),
             LOG_S("jid", last->jid), LOG_C("mech", last->mech), LOG_C("peer", last->peer.text));
    a->attempts = NULL;
}

static struct auth_attempt *oldest_first(struct auth_attempt *newest)
{
    struct auth_attempt *first = NULL;
    while (newest != NULL) {
        struct auth_attempt *next = newest->next;
        newest->next = first;
        first = newest;
        newest = next;
    }
    return first;
}

void attempts_failed(struct stream *s)
{
    for (const struct auth_attempt *at = oldest_first(s->auth->attempts); at != NULL; at = at->next)
        log_at(&log_c2s, at->failure == SASL_ABORTED ? LOG_INFO : LOG_WARN, LOG_EV("auth.fail"),
               LOG_C("reason", sasl_failure_name(at->failure)), LOG_C("text", at->text),
               LOG_S("jid", at->jid), LOG_C("mech", at->mech), LOG_C("peer", at->peer.text),
               LOG_C("tls", at->tls), LOG_C("device", at->device));
    s->auth->attempts = NULL;
}
