#include "base/ensure.h"
#include "xmpp/jid.h"
#include "xmpp/sasl.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The first message and the last are cut at the first 0xff of the input: whatever they say, the
 * machine never accepts anyone (the keys fit no password), and every failure is final. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    struct sasl_binding binding = { .exporter_len = (data[1] & 1) != 0 ? 32 : 0,
                                    .end_point_len = (data[1] & 2) != 0 ? 32 : 0,
                                    .plus_offered = (data[1] & 4) != 0 };
    slice first, last, input = { (const char *)data + 2, size - 2 };
    bool two = slice_cut(input, (char)0xff, &first, &last);
    struct sasl *s = sasl_create((enum sasl_mech)(data[0] % SASL_MECH_COUNT), &binding,
                                 SLICE("example.com"), SLICE("servernonce"));
    enum sasl_step step = sasl_feed(s, true, first);
    struct scram_keys keys = { .salt_len = SCRAM_SALT_LEN, .iterations = 4096 };
    memset(keys.stored_key, 0x55, sizeof keys.stored_key);
    ensure(step == SASL_NEED_KEYS || step == SASL_CHECK_PASSWORD || step == SASL_FAIL);
    if (step != SASL_FAIL)
        ensure(sasl_user(s).len > 0 && sasl_user(s).len <= JID_PART_MAX);
    if (step == SASL_NEED_KEYS) {
        ensure(sasl_keys(s, &keys) == SASL_SEND && sasl_out(s).len > 0);
        step = two ? sasl_feed(s, true, last) : SASL_FAIL;
        ensure(step == SASL_FAIL);
    } else if (step == SASL_CHECK_PASSWORD) {
        ensure(sasl_password(s).len > 0);
        ensure(sasl_verdict(s, SASL_NOT_AUTHORIZED, false) == SASL_FAIL);
        ensure(sasl_password(s).len == 0);
    }
    if (step == SASL_FAIL && two)
        ensure(sasl_feed(s, true, last) == SASL_FAIL);
    sasl_destroy(&s);
    return 0;
}
