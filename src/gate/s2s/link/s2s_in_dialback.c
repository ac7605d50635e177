#include "base/buf.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/setting.h"
#include "codec/xml_elem.h"
#include "codec/xml_write.h"
#include "gate/s2s/find/s2s_lists.h"
#include "gate/s2s/link/s2s_in_back.h"
#include "gate/s2s/link/s2s_in_private.h"
#include "gate/s2s/link/s2s_proof.h"
#include "gate/s2s/peer/s2s_keys.h"
#include "gate/s2s/s2s_rows.h"
#include "home/question.h"
#include "remote/foreign.h"
#include "xmpp/ns.h"

/* Keys of a stream that has proved another pair, or several: denied, and those of domains that
 * could not be asked. Each costs a connection to that domain. */
enum { DENIED_MAX = 8, UNJUDGED_MAX = 64 };

/* An answer with a type, and with an error what it is. */
struct in_answer {
    const char *name, *type;
    slice from, to, id;
    enum stanza_error error; /* with the type "error" */
};

static void in_dialback_answer(struct s2s_in *s, const struct in_answer *a)
{
    struct buf b;
    struct xml_write w;
    if (s->x.end_sent)
        return;
    xml_begin(&w, &b, XML_PART_MAX);
    xml_open(&w, a->name, NULL);
    xml_attr(&w, "xmlns:db", SLICE(NS_DIALBACK));
    xml_attr(&w, "from", a->from);
    xml_attr(&w, "to", a->to);
    xml_attr_some(&w, "id", a->id);
    xml_attr(&w, "type", slice_of(a->type));
    if (a->error != SE_NONE)
        stanza_error_write(&w, a->error, NULL, (slice){ 0 });
    xml_close(&w);
    xstream_write_buf(&s->x, &b);
}

static void in_result_refuse(struct s2s_in *s, slice remote, slice local, enum stanza_error e)
{
    in_dialback_answer(
        s, &(struct in_answer){
               .name = "db:result", .type = "error", .from = local, .to = remote, .error = e });
}

void s2s_in_say_result(struct s2s_in *s, const struct pair *p, const char *type)
{
    in_dialback_answer(s,
                       &(struct in_answer){
                           .name = "db:result", .type = type, .from = p->local, .to = p->remote });
}

struct checking {
    struct worker *worker;
    uint64_t stream;
    enum s2s_verdict verdict;
    slice remote, local;          /* in this block */
    char id[2 * IN_ID_BYTES + 1]; /* of the stream: another one begins with TLS and with EXTERNAL */
};

static void verdict_heard(struct worker *w, void *arg, void *answer,
                          const struct message_from *from)
{
    (void)w, (void)from;
    ((struct checking *)arg)->verdict =
        (enum s2s_verdict)((const struct s2s_verified *)answer)->verdict;
}

static void in_is_proved(struct s2s_in *s, struct pair *p, const char *how)
{
    pair_is_proved(s, p, how);
    s2s_in_say_result(s, p, "valid");
    if (s->x.state == STREAM_FEATURES) {
        xstream_now(&s->x, STREAM_PASSED_ON);
        in_is_bound(s);
    } else if (s->back != NULL) {
        s2s_back_offer(s);
    }
}

/* XEP-0220 §2.4: who cannot prove one domain has no business to go on, unless another one was. */
static void in_is_not_proved(struct s2s_in *s, struct pair *p, enum s2s_verdict v)
{
    slice remote = slice_dup(in_scratch(s), p->remote), local = slice_dup(in_scratch(s), p->local);
    if (v == S2S_UNKNOWN || v == S2S_NOWHERE) { /* XEP-0220 §2.5 */
        in_result_refuse(s, remote, local,
                         v == S2S_NOWHERE ? SE_REMOTE_SERVER_NOT_FOUND : SE_REMOTE_SERVER_TIMEOUT);
        in_is_not_admitted(s, remote, local, S2S_AT_AUTHENTICATION,
                           v == S2S_NOWHERE
                               ? "there is no server of the domain to ask about its key"
                               : "the server of the domain could not be asked about its key");
    } else {
        log_warn(&log_s2s, LOG_EV("s2s.forged"), LOG_S("domain", remote), LOG_S("local", local),
                 LOG_C("why", "the server of the domain denies the key"),
                 LOG_C("peer", conn_info_text(conn_info(s->x.conn)).text));
        metric_add(&s2s_refused, 1);
        s2s_in_say_result(s, p, "invalid");
    }
    pair_remove(s, p);
    if (v != S2S_INVALID) {
        if (++s->unjudged == UNJUDGED_MAX)
            in_fail_for(s, remote, local, XE_POLICY_VIOLATION,
                        SLICE("too many keys of domains that cannot be asked"));
    } else if (s->x.state == STREAM_FEATURES)
        xstream_close(&s->x, (slice){ 0 });
    else if (++s->denied == DENIED_MAX)
        in_fail_for(s, remote, local, XE_NOT_AUTHORIZED, SLICE("too many keys were denied"));
}

static void key_checked(struct worker *w, void *arg)
{
    struct checking *c = arg;
    struct s2s_worker *sw = s2s_worker(s2s_gate_of(w), w);
    struct s2s_in *s =
        map_get(&sw->in_by_id, (slice){ (const char *)&c->stream, sizeof c->stream });
    struct pair *p = NULL;
    if (s != NULL && s->x.state != STREAM_CLOSED && strcmp(s->id, c->id) == 0)
        p = pair_find(s, c->remote, c->local);
    if (p != NULL && !p->proved) {
        if (c->verdict == S2S_VALID)
            in_is_proved(s, p, "dialback");
        else
            in_is_not_proved(s, p, c->verdict);
    }
    mem_free(&c);
}

static void in_check_key(struct s2s_in *s, const struct pair *p, slice key)
{
    struct checking *c = mem_zalloc(sizeof *c + p->remote.len + p->local.len);
    char *at = (char *)(c + 1);
    c->worker = s->x.worker;
    c->stream = s->x.id;
    c->verdict = S2S_UNKNOWN;
    c->remote = slice_lay(&at, p->remote);
    c->local = slice_lay(&at, p->local);
    memcpy(c->id, s->id, sizeof c->id);
    struct s2s_verify v = {
        .local = p->local, .remote = p->remote, .stream_id = slice_of(s->id), .key = key
    };
    home_ask(s->x.worker, v.remote, &s2s_verify_message, &v,
             &(struct asker){ .gather = verdict_heard, .done = key_checked, .arg = c });
}

/* Another domain of a server that is authenticated, which its certificate names: nobody needs to be
 * asked about the key (XEP-0344). */
static bool in_is_of_certificate(const struct s2s_in *s, slice remote, struct why *why)
{
    why_set(why, "its stream has no TLS, or no other domain is proved on it");
    return s->x.state == STREAM_BOUND && s->x.secure &&
           s2s_certificate_proves(s->x.conn, remote, in_scratch(s), why);
}

/* Whether a domain may be proved here. On a stream that others use, only it is refused (XEP-0220
 * §2.5), unless it is one of ours. */
static bool in_may_add(struct s2s_in *s, slice remote, slice local)
{
    struct why why;
    bool by_key = s2s_demand_of(remote).dialback;
    if (s->x.state == STREAM_BOUND && !s2s_is_ours(s->x.worker, remote)) {
        const struct foreign_ban *ban = s2s_ban(s->x.worker, local, remote);
        if (!by_key && !in_is_of_certificate(s, remote, &why))
            in_is_unproved(s, remote, local, why.text);
        else if (ban != NULL)
            in_is_not_admitted(s, remote, local, S2S_AT_POLICY, ban->why);
        else if (!s2s_tls_fits(s->x.conn, remote, &why))
            in_is_not_admitted(s, remote, local, S2S_AT_TLS, why.text);
        else
            return true;
        in_result_refuse(s, remote, local, SE_POLICY_VIOLATION);
        return false;
    }
    if (by_key)
        return in_may_come_from(s, remote, local);
    if (s->x.secure && s->unproved == 0 &&
        !s2s_certificate_proves(s->x.conn, remote, in_scratch(s), &why))
        in_is_unproved(s, remote, local, why.text);
    in_fail_for(s, remote, local, XE_NOT_AUTHORIZED, SLICE("dialback is not offered"));
    return false;
}

/* It may be proved here. */
static void in_take_key(struct s2s_in *s, slice remote, slice local, slice key)
{
    struct why why;
    struct pair *p = pair_find(s, remote, local);
    if (p != NULL && p->proved) {
        s2s_in_say_result(s, p, "valid");
    } else if (p != NULL) {
        return; /* it is being checked: one answer is to come, not one for each key */
    } else if ((p = pair_add(s, remote, local)) == NULL) {
        in_result_refuse(s, remote, local, SE_RESOURCE_CONSTRAINT);
        in_is_not_admitted(s, remote, local, S2S_AT_POLICY,
                           "its stream has too many pairs of domains");
    } else if (in_is_of_certificate(s, remote, &why)) {
        in_is_proved(s, p, "certificate");
    } else {
        in_check_key(s, p, key);
    }
}

/* A key of a server that wants to speak for a domain (XEP-0220 §2.1.1). */
static void in_result(struct s2s_in *s, const struct elem *e, slice remote, slice local)
{
    slice key = elem_text(e, in_scratch(s));
    if (elem_attr_raw(e, "type").ptr != NULL) {
        in_fail_for(s, remote, local, XE_NOT_AUTHORIZED, SLICE("dialback is not offered"));
    } else if (key.len == 0 || key.len > DIALBACK_ID_MAX || remote.len == 0 || local.len == 0) {
        in_fail_for(s, remote, local, XE_IMPROPER_ADDRESSING,
                    SLICE("a result needs from, to and a key"));
    } else if (!s2s_is_ours(s->x.worker, local)) {
        in_result_refuse(s, remote, local, SE_ITEM_NOT_FOUND);
        in_is_not_admitted(s, remote, local, S2S_AT_POLICY,
                           "the domain that it asks for is not served here");
    } else if (!s->x.secure && !s2s_may_be_plain(remote)) {
        in_result_refuse(s, remote, local, SE_POLICY_VIOLATION);
        in_is_not_admitted(s, remote, local, S2S_AT_TLS, "it has no TLS (s2s.require-tls)");
    } else if (in_may_add(s, remote, local)) {
        in_take_key(s, remote, local, key);
    }
}

/* Another server asks whether a key is ours (XEP-0220 §2.1.2). */
static void in_verify(struct s2s_in *s, const struct elem *e, slice remote, slice local)
{
    struct arena *tmp = in_scratch(s);
    struct dialback d = { remote, local, elem_attr(e, "id", tmp) };
    struct in_answer a = {
        .name = "db:verify", .type = "error", .from = local, .to = remote, .id = d.stream_id
    };
    if (elem_attr_raw(e, "type").ptr != NULL || d.stream_id.len == 0 ||
        d.stream_id.len > DIALBACK_ID_MAX || remote.len == 0 || local.len == 0) {
        in_fail_for(s, remote, local, XE_IMPROPER_ADDRESSING,
                    SLICE("a question needs from, to and id"));
    } else {
        if (!s2s_is_ours(s->x.worker, local))
            a.error = SE_ITEM_NOT_FOUND;
        else
            a.type = s2s_key_is_right(elem_text(e, tmp), &d, tmp) ? "valid" : "invalid";
        in_dialback_answer(s, &a);
    }
}

bool s2s_in_dialback(struct s2s_in *s, const struct elem *e)
{
    struct arena *tmp = in_scratch(s);
    if (!slice_is(e->ns_uri, NS_DIALBACK))
        return false;
    slice remote = in_domain(s, elem_attr(e, "from", tmp)),
          local = in_domain(s, elem_attr(e, "to", tmp));
    if (!in_may_authenticate(s))
        in_fail_for(s, remote, local, XE_POLICY_VIOLATION,
                    SLICE("TLS is required here (s2s.require-tls)"));
    else if (slice_is(e->name, "result"))
        in_result(s, e, remote, local);
    else if (slice_is(e->name, "verify"))
        in_verify(s, e, remote, local);
    else
        return false;
    return true;
}
