/* Rules from any bytes, put and dropped in any order, against a list that is walked through. */
#include "base/ensure.h"
#include "xmpp/jid.h"
#include "xmpp/rules.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { RULES_MAX = 64, ORDERS = 16 };

static const slice values[] = {
    SLICE_INIT("a@b.c.d/r"), SLICE_INIT("a@b.c.d"), SLICE_INIT("b.c.d/r"), SLICE_INIT("b.c.d"),
    SLICE_INIT("c.d"),       SLICE_INIT("d"),       SLICE_INIT("a@c.d"),   SLICE_INIT("x.d"),
};
static const slice peers[] = {
    SLICE_INIT("a@b.c.d/r"), SLICE_INIT("a@b.c.d"), SLICE_INIT("b.c.d/r"), SLICE_INIT("b.c.d"),
    SLICE_INIT("z@b.c.d/r"), SLICE_INIT("a@c.d/q"), SLICE_INIT("d"),       SLICE_INIT("a@x.d"),
};
static const slice words[] = { SLICE_INIT("none"), SLICE_INIT("to"), SLICE_INIT("from"),
                               SLICE_INIT("both") };

/* Each place of the model is an order; kinds 0: no rule. */
static struct rule model[ORDERS];

/* XEP-0016 §2.1, as it is written. */
static bool jid_fits(slice value, slice peer)
{
    struct jid v = jid_split(value), p = jid_split(peer);
    if (v.local.len > 0 || v.resource.len > 0)
        return slice_eq(value, peer) || (v.resource.len == 0 && slice_eq(value, jid_bare(&p)));
    if (slice_eq(v.domain, p.domain))
        return true;
    return p.domain.len > v.domain.len && p.domain.ptr[p.domain.len - v.domain.len - 1] == '.' &&
           slice_eq(slice_from(p.domain, p.domain.len - v.domain.len), v.domain);
}

static bool fits(const struct rule *r, const struct rule_peer *peer)
{
    switch ((enum rule_type)r->type) {
    case RULE_JID:
        return jid_fits(r->value, peer->jid);
    case RULE_GROUP:
        return slice_is(r->value, "to"); /* the group that every peer is in */
    case RULE_SUBSCRIPTION:
        return slice_eq(r->value, peer->subscription);
    case RULE_EVERYONE:
        break;
    }
    return true;
}

static void compare(const struct rules *r, uint8_t byte)
{
    struct rule_peer peer = { peers[byte % 8], SLICE("xx\0to"), words[byte >> 3 & 3] };
    enum rule_kind kind = (enum rule_kind)(1 << (byte >> 5) % 5);
    struct rule found;
    peer.groups.len++; /* the literal's own NUL ends the last group */
    bool any = rules_match(r, &peer, kind, &found);
    unsigned i = 0;
    while (i < ORDERS && ((model[i].kinds & kind) == 0 || !fits(&model[i], &peer)))
        i++;
    ensure(any == (i < ORDERS));
    ensure(!any || found.order == model[i].order);
    ensure(rules_deny(r, &peer, kind) == (any && found.action == RULE_DENY));
}

static void put(struct rules *r, uint8_t one, uint8_t two)
{
    struct rule rule = { .order = one % ORDERS, .type = one >> 4 & 3, .action = one >> 6 & 1 };
    rule.kinds = (uint8_t)(two >> 3 == 0 ? RULE_ALL : two >> 3);
    if (rule.type == RULE_JID)
        rule.value = values[two % 8];
    else if (rule.type != RULE_EVERYONE)
        rule.value = words[two % 4];
    rules_put(r, &rule);
    model[rule.order] = rule;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct rules *r = rules_create(SLICE("x"));
    uint32_t count = 0;
    memset(model, 0, sizeof model);
    for (size_t i = 0; i + 3 <= size && i < RULES_MAX * 3u; i += 3) {
        if (data[i] % 4 == 3) {
            ensure(rules_drop(r, data[i + 1] % ORDERS) == (model[data[i + 1] % ORDERS].kinds != 0));
            model[data[i + 1] % ORDERS].kinds = 0;
        } else {
            put(r, data[i + 1], data[i + 2]);
        }
        compare(r, data[i]);
        compare(r, data[i + 2]);
    }
    for (unsigned i = 0; i < ORDERS; i++)
        count += model[i].kinds != 0;
    ensure(rules_count(r) == count);
    rules_destroy(&r);
    return 0;
}
