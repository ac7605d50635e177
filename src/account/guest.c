#include "account/guest.h"
#include "base/metric.h"
#include "base/rand.h"
#include "base/setting.h"
#include "codec/xml_elem.h"
#include "core/feature.h"
#include "home/here.h"
#include "home/host.h"
#include "home/node.h"
#include "xmpp/jid.h"
#include "xmpp/ns.h"
#include <stdio.h>

static bool guest_is_domain(const struct jid *j) { return jid_is_domain(j) && jid_is_bare(j); }

static bool are_domains(slice text) { return jid_words_suit(text, guest_is_domain); }

static struct setting guest_domains = {
    .name = "guest.domains",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_TEXT,
    .def_text = "",
    .max = 4096,
    .check = are_domains,
    .form = "domains, lower case, separated by spaces",
    .doc = "Domains, separated by spaces, that anybody may use without an account (SASL "
           "ANONYMOUS). Nothing is stored for guests.",
};
static struct setting guest_max = {
    .name = "guest.max",
    .scope = SCOPE_NODE,
    .type = PARAM_INT,
    .def = 100,
    .min = 1,
    .max = 1000000,
    .unit = "sessions",
    .doc = "How many guests may be connected to this node at a time.",
};
static struct setting guest_remote = {
    .name = "guest.remote",
    .scope = SCOPE_DOMAIN,
    .type = PARAM_BOOL,
    .def = 0,
    .doc = "Whether guests can communicate with domains other than their own and its services.",
};
static struct metric guests_now = { .name = "muster_guests",
                                    .kind = METRIC_GAUGE,
                                    .help = "Sessions of guests (SASL ANONYMOUS)." };
static _Atomic int64_t now;

bool guest_allowed(slice domain)
{
    slice one, rest = slice_of(setting_text(&guest_domains));
    while (slice_word(&rest, &one))
        if (slice_eq(one, domain))
            return true;
    return false;
}

bool guest_may_leave(slice domain) { return setting_bool_of(&guest_remote, domain); }

bool guest_room(void) { return now < setting_int(&guest_max); }

int64_t guest_id(void) { return -1 - (int64_t)(rand_u64() >> 1); }

enum { NAME_LEN = 6 + 16 };

void guest_name(char out[33])
{
    char random[17];
    rand_hex(random, 8);
    snprintf(out, 33, "guest-%s", random);
}

bool guest_is(slice bare)
{
    struct jid j = jid_split(bare);
    return j.local.len == NAME_LEN && slice_starts(j.local, SLICE("guest-")) &&
           guest_allowed(j.domain);
}

void guest_began(const struct session *s)
{
    if (!account_is_guest(s->account))
        return;
    now++;
    metric_add(&guests_now, 1);
}

void guest_ended(const struct session *s)
{
    if (!account_is_guest(s->account))
        return;
    now--;
    metric_add(&guests_now, -1);
}

static enum verdict no(struct refusal *why, slice text)
{
    why->error = SE_NOT_ALLOWED;
    why->text = text;
    return REFUSE;
}

/* The guest's domain, or one below it. */
static bool is_near(slice domain, slice own)
{
    return slice_eq(domain, own) ||
           (domain.len > own.len && domain.ptr[domain.len - own.len - 1] == '.' &&
            slice_eq(slice_from(domain, domain.len - own.len), own));
}

static bool is_subscription(const struct stanza *st)
{
    return st->kind == STANZA_PRESENCE && st->type >= TYPE_SUBSCRIBE &&
           st->type <= TYPE_UNSUBSCRIBED;
}

/* Requests that set nothing which would be stored. */
static bool is_passing(const struct elem *payload)
{
    return slice_is(payload->ns_uri, NS_SESSION) || slice_is(payload->ns_uri, NS_CARBONS);
}

/* Whether an account, the server or one of its services answers, and no client. */
static bool is_served(const struct account *a, const struct stanza *st)
{
    const struct node *n = worker_node(a->worker);
    struct jid to = jid_split(stanza_to(st));
    if (slice_eq(stanza_to_bare(st), a->jid) && to.resource.len > 0)
        return false; /* another session of the same guest, or this one */
    return slice_eq(stanza_to_bare(st), a->jid) ||
           (to.resource.len == 0 && node_serves(n, to.domain)) ||
           host_find(n, to.domain, &(slice){ 0 }) != NULL;
}

static enum verdict check_iq(const struct account *a, const struct stanza *st, struct refusal *why)
{
    struct elem payload;
    if (!stanza_payload(st, &payload))
        return PASS;
    if (slice_is(payload.ns_uri, "urn:xmpp:http:upload:0"))
        return no(why, SLICE("guests do not upload files"));
    if (st->type == TYPE_SET && !is_passing(&payload) && is_served(a, st))
        return no(why, SLICE("nothing is kept for guests"));
    return PASS;
}

static enum verdict guest_check(struct session *s, struct stanza **st, struct refusal *why)
{
    const struct account *a = s->account;
    if (!account_is_guest(a))
        return PASS;
    slice domain = jid_split(stanza_to(*st)).domain, own = jid_split(a->jid).domain;
    if (is_subscription(*st))
        return no(why, SLICE("guests have no contacts"));
    if (domain.len > 0 && !is_near(domain, own) && !guest_may_leave(own))
        return no(why, SLICE("guests reach their own domain only"));
    return (*st)->kind == STANZA_IQ ? check_iq(a, *st, why) : PASS;
}

static enum verdict guest_block(struct account *a, const struct stanza *st, struct refusal *why)
{
    if (account_is_guest(a) && is_subscription(st))
        return no(why, SLICE("guests have no contacts"));
    return PASS;
}

const struct feature guest_feature = {
    .name = "guest",
    .xeps =
        (const struct xep[]){
            { "0175", "1.2", "Best Practices for Use of SASL ANONYMOUS", "0.1.0",
              "stream/test_guest", NULL },
            { 0 },
        },
    .settings = (struct setting *const[]){ &guest_domains, &guest_max, &guest_remote, NULL },
    .metrics = (struct metric *const[]){ &guests_now, NULL },
    .stage.check = guest_check,
    .stage.block = guest_block,
};
