#include "base/arena.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "xmpp/jid.h"
#include "xmpp/ns.h"
#include "xmpp/sasl2.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Any text as <authenticate/>: what is read is in its limits. */
static void read_sasl2(slice text)
{
    struct arena *tmp = arena_create(0);
    struct sasl2_request req;
    struct sasl2_refusal why;
    struct elem e;
    if (elem_parse(&e, text, SLICE(NS_SASL2))) {
        if (sasl2_read(&req, &e, tmp, &why) == OK) {
            ensure(req.mechanism.len > 0 && req.tag.len <= SASL2_TAG_MAX &&
                   req.agent.software.len <= SASL2_AGENT_MAX &&
                   req.agent.device.len <= SASL2_AGENT_MAX && req.count >= 0);
            ensure(!req.wants_token || sasl_mech_is_token(req.token_mech));
            struct buf bind;
            buf_init(&bind, 1 << 20);
            if (req.bind)
                elem_extract(&req.bind_elem, &bind);
            buf_fini(&bind);
        } else {
            ensure(why.text != NULL);
        }
    }
    arena_destroy(&tmp);
}

/* The first message and the last are cut at the first 0xff of the input: whatever they say, the
 * machine never accepts anyone (the keys fit no password), and every failure is final. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    if (data[0] == '<') {
        read_sasl2((slice){ (const char *)data, size });
        return 0;
    }
    struct sasl_binding binding = { .exporter_len = (data[1] & 1) != 0 ? 32 : 0,
                                    .end_point_len = (data[1] & 2) != 0 ? 32 : 0,
                                    .plus_offered = (data[1] & 4) != 0 };
    slice first, last, input = { (const char *)data + 2, size - 2 };
    bool two = slice_cut(input, (char)0xff, &first, &last);
    struct sasl *s = sasl_create((enum sasl_mech)(data[0] % SASL_MECH_COUNT), &binding,
                                 SLICE("example.com"), SLICE("servernonce"));
    enum sasl_step step = sasl_feed(s, first);
    struct scram_keys keys = { .salt_len = SCRAM_SALT_LEN, .iterations = 4096 };
    memset(keys.stored_key, 0x55, sizeof keys.stored_key);
    if (data[0] % SASL_MECH_COUNT == SASL_ANONYMOUS) { /* asks for nothing */
        sasl_destroy(&s);
        return 0;
    }
    if (data[0] % SASL_MECH_COUNT == SASL_EXTERNAL) { /* without a certificate */
        ensure(step == SASL_FAIL);
        sasl_destroy(&s);
        return 0;
    }
    ensure(step == SASL_NEED_KEYS || step == SASL_NEED_TOKENS || step == SASL_CHECK_PASSWORD ||
           step == SASL_FAIL);
    if (step != SASL_FAIL)
        ensure(sasl_user(s).len > 0 && sasl_user(s).len <= JID_PART_MAX);
    if (step == SASL_NEED_KEYS) {
        ensure(sasl_keys(s, &keys) == SASL_SEND && sasl_out(s).len > 0);
        step = two ? sasl_feed(s, last) : SASL_FAIL;
        ensure(step == SASL_FAIL);
    } else if (step == SASL_NEED_TOKENS) {
        struct sasl_token token = { SASL_HT_SHA_256_NONE, SLICE_INIT("unguessed"), false };
        ensure(sasl_tokens(s, &token, data[1] & 1) == SASL_FAIL);
    } else if (step == SASL_CHECK_PASSWORD) {
        ensure(sasl_password(s).len > 0);
        ensure(sasl_verdict(s, SASL_NOT_AUTHORIZED, false) == SASL_FAIL);
        ensure(sasl_password(s).len == 0);
    }
    if (step == SASL_FAIL && two)
        ensure(sasl_feed(s, last) == SASL_FAIL);
    sasl_destroy(&s);
    return 0;
}
