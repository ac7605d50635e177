#include "base/ensure.h"
#include "xmpp/scram_client.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Whatever a server says: no crash, and no proof without the password. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    slice text = { (const char *)data, size };
    struct scram_client *c =
        scram_client_create(SCRAM_SHA_256, SLICE("user"), SLICE("pencil"), SLICE("r0"));
    if (scram_client_challenge(c, text) == OK)
        ensure(scram_client_final(c).len > 0);
    ensure(!scram_client_is_proved(c, text));
    scram_client_free(&c);
    return 0;
}
