#include "base/arena.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "io/tls_cert_make.h"
#include "io/tls_ocsp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { TEXT_MAX = 1 << 16, NOW = 1800000000 };

/* A certificate that is its own issuer is enough of a chain to ask about. */
static const struct tls_chain *chain_once(void)
{
    static struct tls_cert_facts facts[2];
    static struct tls_chain chain = { facts, 0 };
    const struct tls_name name = { TLS_NAME_DNS, SLICE("a.test") };
    struct tls_chain one;
    struct buf key, pem;
    struct why why;
    if (chain.count > 0)
        return &chain;
    struct arena *arena = arena_create(0);
    tls_key_room(&key, TLS_KEY_BYTES_MAX);
    buf_init(&pem, TEXT_MAX);
    enum err e = tls_key_make(&key, TLS_ECDSA_P256, &why);
    if (e == OK)
        e = tls_self_sign(&pem, buf_fit(&key), &(struct tls_names){ &name, 1 }, &why);
    if (e == OK)
        e = tls_chain_of_pem(&one, buf_fit(&pem), 1, "made", arena, &why);
    ensure(e == OK);
    facts[0] = facts[1] = one.item[0];
    chain.count = 2; /* the arena stays */
    tls_key_wipe(&key);
    buf_fini(&pem);
    return &chain;
}

/* Whatever comes, nobody has signed it: no answer is believed. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tls_ocsp out;
    struct why why = { "" };
    enum err e = tls_ocsp_read(&out, (slice){ (const char *)data, size }, chain_once(), NOW, &why);
    ensure(e != OK && why.text[0] != '\0');
    return 0;
}
